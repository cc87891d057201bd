#include <holdfast/http/request.hpp>

#include <holdfast/http/ascii.hpp>
#include <holdfast/version.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

namespace holdfast::http {
namespace {

bool is_target(std::string_view text) {
    return text.starts_with('/') &&
           std::all_of(text.begin(), text.end(), [](char c) { return is_graphic(c) && c != '#'; });
}

/// A bad name up to where it goes wrong: what follows may be a secret in the wrong place.
std::string nameable(std::string_view name) {
    return '"' + std::string(name.begin(), std::find_if_not(name.begin(), name.end(), is_token_char)) + '"';
}

std::size_t count(const std::vector<header>& headers, std::string_view name) {
    return static_cast<std::size_t>(std::count_if(headers.begin(), headers.end(),
                                                  [&](const header& h) { return iequals(h.name, name); }));
}

std::optional<failure> check_header(const header& h) {
    if (!is_token(h.name))
        return make_failure(errc::invalid_request, "the name of header " + nameable(h.name));
    if (!is_field_value(h.value))
        return make_failure(errc::invalid_request, "the value of header \"" + h.name + '"');
    if (iequals(h.name, "Content-Length") || iequals(h.name, "Transfer-Encoding"))
        return make_failure(errc::invalid_request, "header \"" + h.name + "\" is not the caller's to set");
    if (iequals(h.name, "Proxy-Authorization"))
        return make_failure(errc::invalid_request,
                            "header \"" + h.name + "\": credentials of a proxy belong in its URL");
    return std::nullopt;
}

std::optional<failure> check(const request& what, std::string_view target) {
    if (!is_token(what.method))
        return make_failure(errc::invalid_request, "the method");
    if (!is_target(target))
        return make_failure(errc::invalid_request, "the target");
    for (const header& h : what.headers) {
        if (auto bad = check_header(h))
            return bad;
    }
    if (count(what.headers, "Host") > 1)
        return make_failure(errc::invalid_request, "more than one header \"Host\"");
    return std::nullopt;
}

bool has_content(const request& what) {
    return !what.body.empty() || what.method == "POST" || what.method == "PUT" || what.method == "PATCH";
}

void append(std::string& head, std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
}

std::string base64(std::string_view bytes) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (; !bytes.empty(); bytes.remove_prefix(std::min<std::size_t>(3, bytes.size()))) {
        const std::size_t n = std::min<std::size_t>(3, bytes.size());
        std::uint32_t group = 0;
        for (std::size_t i = 0; i < 3; ++i)
            group = group << 8 | (i < n ? static_cast<unsigned char>(bytes[i]) : 0u);
        for (std::size_t i = 0; i < 4; ++i)
            text += i <= n ? digits[group >> (18 - 6 * i) & 63] : '=';
    }
    return text;
}

/// What a request says to a proxy on its way; all empty: it goes there directly.
struct hop {
    std::string origin;      ///< goes before the target, which is then in absolute form
    std::string credentials; ///< for the proxy
};

std::string credentials_for(const url& proxy) {
    return proxy.has_userinfo ? basic_authorization(proxy.user, proxy.password) : std::string();
}

result<std::string> serialize_over(const hop& by, const request& what, const url& where) {
    const std::string& target = what.target.empty() ? where.target : what.target;
    if (auto bad = check(what, target))
        return *std::move(bad);

    std::string text = what.method + ' ' + by.origin + target + " HTTP/1.1\r\n";
    if (!find_header(what.headers, "Host"))
        append(text, "Host", where.host_header());
    if (!by.credentials.empty())
        append(text, "Proxy-Authorization", by.credentials);
    for (const header& h : what.headers)
        append(text, h.name, h.value);
    if (!find_header(what.headers, "Accept-Encoding"))
        append(text, "Accept-Encoding", "identity");
    if (!find_header(what.headers, "User-Agent"))
        append(text, "User-Agent", user_agent());
    if (where.has_userinfo && !find_header(what.headers, "Authorization"))
        append(text, "Authorization", basic_authorization(where.user, where.password));
    if (has_content(what))
        append(text, "Content-Length", std::to_string(what.body.size()));
    return text + "\r\n" + what.body;
}

} // namespace

const header* find_header(const std::vector<header>& headers, std::string_view name) noexcept {
    const auto found =
        std::find_if(headers.begin(), headers.end(), [&](const header& h) { return iequals(h.name, name); });
    return found == headers.end() ? nullptr : &*found;
}

bool is_safe(std::string_view method) noexcept {
    return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE";
}

std::string_view user_agent() noexcept {
    return "holdfast/" HOLDFAST_VERSION;
}

result<std::string> serialize(const request& what, const url& where) {
    return serialize_over({}, what, where);
}

result<std::string> serialize_for_proxy(const request& what, const url& where, const url& proxy) {
    return serialize_over({where.where.scheme + "://" + where.host_header(), credentials_for(proxy)}, what,
                          where);
}

std::string serialize_connect(const endpoint& origin, const url& proxy) {
    const std::string place = to_string(origin).substr(origin.scheme.size() + 3); // the port is always told
    std::string text = "CONNECT " + place + " HTTP/1.1\r\n";
    append(text, "Host", place);
    if (proxy.has_userinfo)
        append(text, "Proxy-Authorization", credentials_for(proxy));
    return text + "\r\n";
}

std::string basic_authorization(std::string_view user, std::string_view password) {
    return "Basic " + base64(std::string(user) + ':' + std::string(password));
}

} // namespace holdfast::http
