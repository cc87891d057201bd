#include "trace.hpp"

#include "output.hpp"

#include <holdfast/http/ascii.hpp>

#include <algorithm>
#include <string_view>

namespace holdfast::app {

namespace {

// Authorization, Proxy-Authorization, Cookie, Set-Cookie, X-Api-Key, X-Auth-Token, ...: rather one too many.
bool may_be_secret(std::string_view name) {
    const std::string known = http::to_lower(name);
    constexpr std::string_view parts[] = {"auth", "cookie", "key", "password", "secret", "token"};
    return std::any_of(std::begin(parts), std::end(parts),
                       [&](std::string_view part) { return known.find(part) != std::string::npos; });
}

std::string field_line(const header& field) {
    return field.name + ": " + (may_be_secret(field.name) ? "***" : field.value);
}

std::string marked(char mark, const std::string& line) {
    return std::string(1, mark) + (line.empty() ? "" : " " + printable_line(line)) + '\n';
}

} // namespace

std::string request_lines(const http::request& what, const http::url& where) {
    std::string lines = marked('>', what.method + ' ' + what.target + " HTTP/1.1");
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
