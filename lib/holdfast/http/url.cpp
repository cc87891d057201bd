#include <holdfast/http/url.hpp>

#include <holdfast/http/ascii.hpp>

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>

namespace holdfast::http {
namespace {

constexpr std::size_t longest_host = 255;
constexpr std::size_t longest_quote = 200;

bool is_unreserved(char c) {
    return is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

bool is_host_char(char c) {
    return is_alphanumeric(c) || c == '-' || c == '.' || c == '_';
}

void append_escaped(std::string& out, char c) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += digits[byte >> 4];
    out += digits[byte & 15];
}

bool is_scheme(std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return is_alphanumeric(c) || c == '+' || c == '-' || c == '.'; });
}

/// A malformed URL may hold the "@" anywhere, so all between the scheme and the last one goes.
std::string without_userinfo(std::string_view text) {
    const auto at = text.rfind('@');
    if (at == std::string_view::npos)
        return std::string(text);
    const auto authority = text.find("://");
    const bool has_scheme = authority < at && is_scheme(text.substr(0, authority));
    return std::string(text.substr(0, has_scheme ? authority + 3 : 0)) + "***" + std::string(text.substr(at));
}

/// What was given, fit for a message: in quotes, escaped, cut, and without anything that may be a password.
std::string quoted(std::string_view text) {
    const std::string shown = without_userinfo(text);
    std::string quote = "\"";
    for (const char c : shown.substr(0, longest_quote)) {
        if (is_graphic(c) && c != '"')
            quote += c;
        else
            append_escaped(quote, c);
    }
    return quote + (shown.size() > longest_quote ? "...\"" : "\"");
}

failure invalid(std::string_view text, std::string_view why) {
    return make_failure(errc::invalid_url, quoted(text) + ": " + std::string(why));
}

std::uint16_t default_port(std::string_view scheme) {
    return scheme == "https" ? 443 : 80;
}

std::optional<std::uint16_t> port_of(const boost::urls::url_view& parts, std::string_view scheme) {
    const std::string_view digits = parts.port();
    if (digits.empty())
        return default_port(scheme);
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc() || end != digits.data() + digits.size() || port == 0)
        return std::nullopt;
    return port;
}

/// The host in the form of `endpoint`, or empty when it is none that can be connected to.
std::string host_of(const boost::urls::url_view& parts) {
    switch (parts.host_type()) {
    case boost::urls::host_type::ipv6: return parts.host_ipv6_address().to_string();
    case boost::urls::host_type::ipv4: return parts.host_ipv4_address().to_string();
    case boost::urls::host_type::name: {
        const std::string_view name = parts.encoded_host();
        if (name.size() <= longest_host && std::all_of(name.begin(), name.end(), is_host_char))
            return to_lower(name);
        return {};
    }
    default: return {};
    }
}

bool has_control(std::string_view text) {
    return std::any_of(text.begin(), text.end(), is_control);
}

std::optional<failure> read_server(const boost::urls::url_view& parts, std::string_view text, url& into) {
    into.where.host = host_of(parts);
    if (into.where.host.empty())
        return invalid(text, "needs a host that is a plain name or an IP address");
    const auto port = port_of(parts, into.where.scheme);
    if (!port)
        return invalid(text, "the port must be from 1 to 65535");
    into.where.port = *port;
    return std::nullopt;
}

std::optional<failure> read_target(const boost::urls::url_view& parts, std::string_view text, url& into) {
    const std::string_view path = parts.encoded_path();
    // Boost.URL 1.81 takes what is no port or host for a path: "http://h:-1", "http://a@b@c".
    if (!path.empty() && !path.starts_with('/'))
        return invalid(text, "malformed host or port");
    into.target = path.empty() ? "/" : path;
    if (parts.has_query())
        into.target += '?' + std::string(parts.encoded_query());
    return std::nullopt;
}

std::optional<failure> read_credentials(const boost::urls::url_view& parts, std::string_view text,
                                        url& into) {
    into.user = parts.user();
    into.password = parts.password();
    into.has_userinfo = !into.user.empty() || !into.password.empty();
    // RFC 7617: neither can be sent by Basic authentication.
    if (has_control(into.user) || has_control(into.password) || into.user.find(':') != std::string::npos)
        return invalid(text, "a colon in the user name, or a control character in the credentials");
    return std::nullopt;
}

std::string bracketed(const std::string& host) {
    return host.find(':') == std::string::npos ? host : '[' + host + ']';
}

} // namespace

std::string url::host_header() const {
    std::string value = bracketed(where.host);
    if (where.port != default_port(where.scheme))
        value += ':' + std::to_string(where.port);
    return value;
}

std::string url::redacted() const {
    std::string text = where.scheme + "://";
    if (!password.empty())
        text += percent_encode(user) + ":***@";
    else if (has_userinfo)
        text += "***@";
    return text + host_header() + target;
}

url url::with_path(std::string_view path_and_query) const {
    url other = *this;
    other.target.resize(std::min(other.target.find('?'), other.target.size()));
    if (other.target.ends_with('/'))
        other.target.pop_back();
    other.target += path_and_query;
    return other;
}

result<url> parse_url(std::string_view text) {
    if (!std::all_of(text.begin(), text.end(), is_graphic))
        return invalid(text, "spaces, control characters and non-ASCII text must be percent-encoded");
    const auto authority = text.find("://");
    if (authority == std::string_view::npos)
        return invalid(text, "must begin with http:// or https://");

    url parsed;
    parsed.where.scheme = to_lower(text.substr(0, authority));
    if (parsed.where.scheme != "http" && parsed.where.scheme != "https")
        return make_failure(errc::unsupported_scheme, quoted(text));

    const auto parts = boost::urls::parse_uri(text);
    if (!parts)
        return invalid(text, "malformed");
    if (auto bad = read_server(*parts, text, parsed))
        return *std::move(bad);
    if (auto bad = read_target(*parts, text, parsed))
        return *std::move(bad);
    if (auto bad = read_credentials(*parts, text, parsed))
        return *std::move(bad);
    return parsed;
}

std::string percent_encode(std::string_view text) {
    std::string encoded;
    encoded.reserve(text.size());
    for (const char c : text) {
        if (is_unreserved(c))
            encoded += c;
        else
            append_escaped(encoded, c);
    }
    return encoded;
}

} // namespace holdfast::http
