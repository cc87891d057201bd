#include "watch/request.hpp"

#include <holdfast/http/ascii.hpp>

#include <boost/asio/ip/address.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <array>
#include <cstdint>

namespace holdfast::app {

namespace {

namespace net = boost::asio;
namespace beast_http = boost::beast::http;
using boost::system::error_code;
using net::ip::tcp;

std::array<unsigned char, SHA256_DIGEST_LENGTH> digest_of(std::string_view text) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    return digest;
}

/// Takes as long wherever they differ, and whatever their lengths are.
bool same_secret(std::string_view given, std::string_view secret) {
    const auto one = digest_of(given);
    const auto other = digest_of(secret);
    return ::CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

struct authority {
    std::string_view host; ///< an IPv6 literal in its brackets
    std::string_view port; ///< empty: none
};

authority split(std::string_view text) {
    const auto colon = text.find(':', text.starts_with('[') ? text.find(']') : 0);
    if (colon == std::string_view::npos)
        return {text, {}};
    return {text.substr(0, colon), text.substr(colon + 1)};
}

std::optional<net::ip::address> literal(std::string_view host) {
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed)
        host = host.substr(1, host.size() - 2);
    error_code failed;
    auto address = net::ip::make_address(host, failed);
    if (failed || address.is_v6() != bracketed)
        return std::nullopt;
    return address;
}

net::ip::address unmapped(const net::ip::address& address) {
    if (address.is_v6() && address.to_v6().is_v4_mapped())
        return net::ip::make_address_v4(net::ip::v4_mapped, address.to_v6());
    return address;
}

} // namespace

std::optional<watch_request> parse_watch_request(std::string_view head) {
    beast_http::request_parser<beast_http::empty_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(watch_head_limit));
    parser.body_limit(boost::none); // no body is ever read: each is refused
    error_code failed;
    const auto used = parser.put(net::buffer(head), failed);
    if (failed || !parser.is_header_done() || used != head.size())
        return std::nullopt;
    const auto& fields = parser.get();
    const std::string_view target(fields.target().data(), fields.target().size());
    const auto text_of = [&fields](beast_http::field name) {
        const auto value = fields[name];
        return std::string(value.data(), value.size());
    };
    const bool old = fields.version() < 11;
    const auto hosts = fields.count(beast_http::field::host);
    if (!target.starts_with('/') || hosts > 1 || (hosts == 0 && !old) ||
        fields.count(beast_http::field::authorization) > 1)
        return std::nullopt;

    watch_request asked;
    asked.method = std::string(fields.method_string().data(), fields.method_string().size());
    asked.path = target.substr(0, target.find('?'));
    asked.keep_alive = !old && parser.keep_alive();
    asked.chunks = !old;
    asked.has_body = fields.count(beast_http::field::transfer_encoding) > 0 || !parser.is_done();
    if (hosts > 0)
        asked.host = text_of(beast_http::field::host);
    asked.authorization = text_of(beast_http::field::authorization);
    asked.last_event_id = std::string(fields["Last-Event-ID"]);
    return asked;
}

bool bears(std::string_view authorization, std::string_view token) {
    constexpr std::string_view scheme = "Bearer ";
    return http::iequals(authorization.substr(0, scheme.size()), scheme) &&
           same_secret(http::trim(authorization.substr(scheme.size())), token);
}

bool answers_to(std::string_view host_field, const std::vector<std::string>& names,
                const tcp::endpoint& here) {
    const auto [host, port] = split(host_field);
    const bool right_port = port.empty() || port == std::to_string(here.port());
    for (const auto& name : names)
        if (http::iequals(name, host_field) || (right_port && http::iequals(name, host)))
            return true;
    if (!right_port)
        return false;
    const auto address = literal(host);
    return http::iequals(host, "localhost") ||
           (address && (address->is_loopback() || *address == unmapped(here.address())));
}

} // namespace holdfast::app
