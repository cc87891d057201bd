// The read-only HTTP port of `holdfast watch`: what it shows to people, to Prometheus, and to whoever follows
// its events.
#pragma once

#include "watch/event_ring.hpp"

#include <holdfast/runtime/runtime.hpp>

#include <boost/json/object.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::app {

struct watch_port_config {
    std::string host = "127.0.0.1"; ///< an address, or "localhost"; one that is not loopback needs a token
    unsigned short port = 0;        ///< 0: a free one
    /// When set, every request but those for /livez and /readyz needs `Authorization: Bearer TOKEN`.
    std::string token;
    /// Names allowed in Host besides loopback's, and the address that a connection came in at: "name", with
    /// the right port or none, or "name:port", exactly so. Case does not count.
    std::vector<std::string> hosts;
    std::size_t viewers = 64;              ///< of /events at once
    duration heartbeat = seconds(15);      ///< /events says something at least so often
    duration head_deadline = seconds(5);   ///< for a request's head, counted from when it is waited for
    duration write_deadline = seconds(30); ///< for a viewer to take what is sent; then it is cut
};

/// What the port shows. Called on the executor for each request; what they throw is logged, and answered with
/// status 500.
struct watch_sources {
    std::function<boost::json::object()> status;
    std::function<std::string()> not_ready; ///< why, for a person; empty: ready
    std::function<std::string()> metrics;   ///< Prometheus' text format 0.0.4
};

/// Serves GET and HEAD of / /status /metrics /livez /readyz /events, over HTTP/1.1 or 1.0, without TLS.
///
/// /events is an event stream (HTML Standard, section 9.2): `retry` and the position once, then the events of
/// the ring, each with its id; comments as heartbeats. With Last-Event-ID it goes on after that one; see
/// event_ring::viewer for gaps. It ends when the viewer's side ends.
///
/// Limits: a head of 8 KiB; no bodies, and a request that has one ends its connection, whatever the answer
/// is; 64 connections and the viewers. One more ends the connection that waits longest for its client to ask;
/// where there is none, or no descriptor is left, it gets a health check (/livez, /readyz) or 503, and is
/// ended. A request's head, an answer, and each piece of /events have deadlines. A Host that is not allowed
/// is answered with 421, against DNS rebinding; no answer has a CORS field.
///
/// Thread safety: confined to the runtime's executor. The sources, the ring and the runtime must outlive it;
/// it must outlive run().
class watch_port {
public:
    watch_port(runtime& world, watch_port_config config, watch_sources sources, event_ring& ring);
    ~watch_port();
    watch_port(const watch_port&) = delete;
    watch_port& operator=(const watch_port&) = delete;

    /// Binds, and queues connections from here on. Where it listens, or why it does not: the failure's
    /// message is a sentence for a person. Once.
    [[nodiscard]] result<endpoint> listen();

    /// Serves until stop() or cancellation (terminal), then ends within a second, with all that it started:
    /// viewers' streams end cleanly, as far as they take it. After listen(). Throws nothing, also when
    /// cancelled.
    [[nodiscard]] net::awaitable<void> run();

    /// Idempotent.
    void stop();

    /// How many follow /events now.
    [[nodiscard]] std::size_t viewers() const noexcept;

private:
    class machine;
    std::unique_ptr<machine> machine_;
};

} // namespace holdfast::app
