#include "trace.hpp"

#include "output.hpp"

#include <holdfast/http/ascii.hpp>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string_view>

namespace holdfast::app {

namespace {

// Authorization, Proxy-Authorization, Cookie, Set-Cookie, X-Api-Key, X-Auth-Token; access_token, sig, ...:
// rather one too many.
bool may_be_secret(std::string_view name) {
    const std::string known = http::to_lower(name);
    constexpr std::string_view parts[] = {"auth", "cookie", "credential", "jwt", "key",  "pass",
                                          "pwd",  "secret", "session",    "sig", "token"};
    return std::any_of(std::begin(parts), std::end(parts),
                       [&](std::string_view part) { return known.find(part) != std::string::npos; });
}

/// A name may be written with %XX.
std::string decoded(std::string_view text) {
    std::string plain;
    for (; !text.empty(); text.remove_prefix(1)) {
        unsigned char byte = 0;
        const bool escaped =
            text.size() >= 3 && text.front() == '%' &&
            std::from_chars(text.data() + 1, text.data() + 3, byte, 16).ptr == text.data() + 3;
        plain += escaped ? static_cast<char>(byte) : text.front();
        text.remove_prefix(escaped ? 2 : 0);
    }
    return plain;
}

/// A URL, or a part of it, without its userinfo and the values in its query that may be secret.
std::string without_secrets(std::string_view url) {
    const auto path = std::min(url.find_first_of("?#"), url.size());
    std::string shown(url.substr(0, path));
    if (const auto begin = shown.find("//"); begin != std::string::npos) {
        const auto authority = shown.substr(begin + 2, shown.find('/', begin + 2) - begin - 2);
        if (const auto at = authority.rfind('@'); at != std::string::npos)
            shown.replace(begin + 2, at, "***");
    }
    for (auto rest = url.substr(path); !rest.empty();) {
        const auto next = std::min(rest.find_first_of("?#&;", 1), rest.size());
        const auto pair = rest.substr(0, next);
        const auto equals = pair.find('=');
        const bool hidden =
            equals != std::string_view::npos && may_be_secret(decoded(pair.substr(1, equals - 1)));
        shown.append(hidden ? pair.substr(0, equals + 1) : pair).append(hidden ? "***" : "");
        rest.remove_prefix(next);
    }
    return shown;
}

bool is_url(std::string_view name) {
    return http::iequals(name, "Location") || http::iequals(name, "Content-Location") ||
           http::iequals(name, "Referer");
}

std::string field_line(const header& field) {
    if (may_be_secret(field.name))
        return field.name + ": ***";
    return field.name + ": " + (is_url(field.name) ? without_secrets(field.value) : field.value);
}

std::string marked(char mark, const std::string& line) {
    return std::string(1, mark) + (line.empty() ? "" : " " + printable_line(line)) + '\n';
}

} // namespace

std::string request_lines(const http::request& what, const http::url& where) {
    std::string lines = marked('>', what.method + ' ' + without_secrets(what.target) + " HTTP/1.1");
    for (const auto& each : what.headers)
        lines += marked('>', field_line(each));
    const auto* const host = http::find_header(what.headers, "Host");
    const bool at_home = host && host->value == where.host_header();
    if (where.has_userinfo && at_home && !http::find_header(what.headers, "Authorization"))
        lines += marked('>', field_line({"Authorization", {}}));
    lines += marked('>', {});
    if (!what.body.empty())
        lines += marked('>', "(" + std::to_string(what.body.size()) + " bytes)");
    return lines;
}

std::string head_lines(const http::response_head& head) {
    std::string lines = marked('<', "HTTP/1.1 " + std::to_string(head.status) + ' ' + head.reason);
    for (const auto& each : head.headers)
        lines += marked('<', field_line(each));
    return lines + marked('<', {});
}

} // namespace holdfast::app
