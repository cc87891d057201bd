// A request to the port of `holdfast watch`: how it is read, and who may ask. Pure.
#pragma once

#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::app {

/// The largest head of a request, in bytes, its empty line included.
inline constexpr std::size_t watch_head_limit = 8u << 10;

struct watch_request {
    std::string method;
    std::string path;        ///< without its query
    bool keep_alive = false; ///< the client wants to ask more
    bool chunks = false;     ///< the client understands chunked coding: HTTP/1.1
    bool has_body = false;   ///< or may have: bytes of it must never be read as a request
    std::optional<std::string> host;
    std::string authorization;
    std::string last_event_id;

    [[nodiscard]] bool head_only() const { return method == "HEAD"; }
    [[nodiscard]] bool is_health_check() const { return path == "/livez" || path == "/readyz"; }
    /// Whether another request may follow on the connection.
    [[nodiscard]] bool may_be_followed() const { return keep_alive && !has_body; }
};

/// Reads a whole head: everything up to the first empty line, included. Beast's parser decides what is HTTP;
/// nullopt also for what no client should send to an origin server: a target that is no path, no Host or
/// several, several Authorization fields.
[[nodiscard]] std::optional<watch_request> parse_watch_request(std::string_view head);

/// Whether `authorization` is "Bearer TOKEN", compared in constant time.
[[nodiscard]] bool bears(std::string_view authorization, std::string_view token);

/// Whether a Host field names this server, which the connection reached at `here`: by loopback, by that
/// address, or by one of `names` ("name" with the right port or none, "name:port" exactly). A name can be
/// pointed at us by an attacker (DNS rebinding), an address cannot.
[[nodiscard]] bool answers_to(std::string_view host_field, const std::vector<std::string>& names,
                              const boost::asio::ip::tcp::endpoint& here);

} // namespace holdfast::app
