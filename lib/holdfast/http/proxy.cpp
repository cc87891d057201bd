#include <holdfast/http/proxy.hpp>

#include <holdfast/http/ascii.hpp>

#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <system_error>
#include <utility>

namespace holdfast::http {
namespace {

using boost::asio::ip::address;

constexpr std::uint16_t default_proxy_port = 1080;

template <class Number>
std::optional<Number> parse_number(std::string_view digits) {
    Number value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size())
        return std::nullopt;
    return value;
}

std::optional<address> parse_address(std::string_view text) {
    boost::system::error_code ec;
    const auto parsed = boost::asio::ip::make_address(std::string(text), ec);
    return ec ? std::nullopt : std::optional(parsed);
}

/// The bits of an address, from the first on.
std::vector<unsigned char> bytes_of(const address& from) {
    if (from.is_v4()) {
        const auto bytes = from.to_v4().to_bytes();
        return {bytes.begin(), bytes.end()};
    }
    const auto bytes = from.to_v6().to_bytes();
    return {bytes.begin(), bytes.end()};
}

/// True when the first `count` bits are the same, of two addresses of one family.
bool same_beginning(const address& a, const address& b, std::size_t count) {
    const auto left = bytes_of(a);
    const auto right = bytes_of(b);
    if (left.size() != right.size() || count > left.size() * 8)
        return false;
    for (std::size_t bit = 0; bit < count; ++bit) {
        const auto mask = static_cast<unsigned char>(0x80 >> bit % 8);
        if ((left[bit / 8] & mask) != (right[bit / 8] & mask))
            return false;
    }
    return true;
}

std::string_view without_last_dot(std::string_view name) {
    if (name.ends_with('.'))
        name.remove_suffix(1);
    return name;
}

bool is_in_domain(std::string_view name, std::string_view domain) {
    if (domain.starts_with("*."))
        domain.remove_prefix(1);
    if (domain.starts_with('.'))
        domain.remove_prefix(1);
    name = without_last_dot(name);
    domain = without_last_dot(domain);
    if (domain.empty() || name.size() < domain.size())
        return false;
    const auto rest = name.substr(0, name.size() - domain.size());
    return iequals(name.substr(rest.size()), domain) && (rest.empty() || rest.ends_with('.'));
}

bool is_in_block(const address& host, std::string_view block) {
    const auto slash = block.find('/');
    const auto base = parse_address(block.substr(0, slash));
    const auto bits = parse_number<std::size_t>(block.substr(slash + 1));
    return base && bits && same_beginning(host, *base, *bits);
}

/// "host:8080" and "[::1]:8080" taken apart; a bare IPv6 literal has no port.
struct host_and_port {
    std::string_view host;
    std::optional<std::string_view> port;
};

host_and_port split_rule(std::string_view rule) {
    const auto colon = rule.rfind(':');
    const bool bracketed = rule.starts_with('[');
    host_and_port parts{rule, std::nullopt};
    if (colon != std::string_view::npos && (bracketed ? rule[colon - 1] == ']' : rule.find(':') == colon))
        parts = {rule.substr(0, colon), rule.substr(colon + 1)};
    if (bracketed && parts.host.ends_with(']'))
        parts.host = parts.host.substr(1, parts.host.size() - 2);
    return parts;
}

bool covers(std::string_view rule, const endpoint& origin) {
    if (rule == "*")
        return true;
    const auto host = parse_address(origin.host);
    if (rule.find('/') != std::string_view::npos)
        return host && is_in_block(*host, rule);
    const auto parts = split_rule(rule);
    if (parts.port && parse_number<std::uint16_t>(*parts.port) != origin.port)
        return false;
    return host ? parse_address(parts.host) == host : is_in_domain(origin.host, parts.host);
}

bool names_port(std::string_view url_with_scheme) {
    auto authority = url_with_scheme.substr(url_with_scheme.find("://") + 3);
    authority = authority.substr(0, authority.find_first_of("/?#"));
    const auto digits = authority.find_last_not_of("0123456789");
    return digits != std::string_view::npos && authority[digits] == ':' && digits + 1 < authority.size();
}

/// The first of `names` that is set, and its value.
struct variable {
    std::string name;
    std::string value;
};

std::optional<variable> first_set(const environment& variables, std::initializer_list<const char*> names) {
    for (const char* const name : names) {
        if (auto value = variables(name); value && !value->empty())
            return variable{name, std::move(*value)};
    }
    return std::nullopt;
}

result<std::optional<url>> proxy_of(const environment& variables, std::initializer_list<const char*> names) {
    const auto found = first_set(variables, names);
    if (!found)
        return std::optional<url>();
    auto proxy = parse_proxy(found->value);
    if (!proxy) {
        auto why = proxy.error();
        why.message = "the variable " + found->name + ": " + why.message;
        return why;
    }
    return std::optional(std::move(*proxy));
}

std::vector<std::string> words_of(std::string_view list) {
    std::vector<std::string> words;
    constexpr std::string_view apart = ", \t";
    while (!list.empty()) {
        const auto begin = std::min(list.find_first_not_of(apart), list.size());
        const auto end = std::min(list.find_first_of(apart, begin), list.size());
        if (begin != end)
            words.emplace_back(list.substr(begin, end - begin));
        list.remove_prefix(end);
    }
    return words;
}

} // namespace

std::optional<url> proxy_rules::proxy_for(const endpoint& origin) const {
    const auto& proxy = origin.scheme == "https" ? for_https : for_http;
    const auto is_exempt = [&](const std::string& rule) {
        return covers(rule, origin);
    };
    if (!proxy || std::any_of(bypass.begin(), bypass.end(), is_exempt))
        return std::nullopt;
    return proxy;
}

result<url> parse_proxy(std::string_view text) {
    const bool has_scheme = text.find("://") != std::string_view::npos;
    const auto whole = has_scheme ? std::string(text) : "http://" + std::string(text);
    auto proxy = parse_url(whole);
    if (!proxy)
        return proxy.error();
    if (proxy->where.scheme != "http")
        return make_failure(errc::unsupported_scheme,
                            proxy->redacted() + ": a proxy is spoken to by http:// alone");
    if (!names_port(whole))
        proxy->where.port = default_proxy_port;
    proxy->target = "/";
    return proxy;
}

result<proxy_rules> proxies_of(const environment& variables) {
    auto for_https = proxy_of(variables, {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"});
    if (!for_https)
        return for_https.error();
    auto for_http = proxy_of(variables, {"http_proxy", "all_proxy", "ALL_PROXY"});
    if (!for_http)
        return for_http.error();
    proxy_rules rules;
    rules.for_https = std::move(*for_https);
    rules.for_http = std::move(*for_http);
    if (const auto exempt = first_set(variables, {"no_proxy", "NO_PROXY"}))
        rules.bypass = words_of(exempt->value);
    return rules;
}

} // namespace holdfast::http
