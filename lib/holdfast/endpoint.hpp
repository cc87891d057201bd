// Where a server listens: the key by which connections, breakers and incidents are shared.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <utility>

namespace holdfast {

/// A server's address. `host` is lower case, a name or a literal; IPv6 literals without brackets. What
/// listens on a Unix socket keeps the host and port of its URL, which say who is meant; the path says where
/// that is.
struct endpoint {
    endpoint() = default;
    endpoint(std::string s, std::string h, std::uint16_t p)
        : scheme(std::move(s)), host(std::move(h)), port(p) {}

    std::string scheme; ///< "http" or "https"
    std::string host;
    std::uint16_t port = 0;
    std::string unix_socket; ///< a path; empty: it is reached by TCP

    friend auto operator<=>(const endpoint&, const endpoint&) = default;
    friend bool operator==(const endpoint&, const endpoint&) = default;
};

/// "http://127.0.0.1:4096"; an IPv6 literal is put in brackets. With a Unix socket: "http://localhost:80
/// (unix:/path)".
[[nodiscard]] std::string to_string(const endpoint& where);

} // namespace holdfast
