// A TCP proxy on loopback that stands between a client and a real server and breaks things on demand.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::test {

/// Forwards every connection it accepts to a port of 127.0.0.1, from a thread of its own.
///
/// Faults apply to all connections, or only to streams: a connection is a stream from its first request
/// line for an event stream (`/event`, `/global/event`) on. With `scope::streams` the REST calls of the same
/// client work on.
///
/// Thread safety: every member may be called from any thread. A control has taken effect when it returns:
/// nothing that is read after it is forwarded by the old rules.
class fault_proxy {
public:
    enum class scope { all, streams };

    enum class ending {
        reset, ///< RST: the client's read fails
        clean  ///< FIN: the client sees the end of the data
    };

    enum class side { client, server };

    /// Listens on a free port.
    explicit fault_proxy(unsigned short target_port);
    ~fault_proxy();
    fault_proxy(const fault_proxy&) = delete;
    fault_proxy& operator=(const fault_proxy&) = delete;

    [[nodiscard]] unsigned short port() const noexcept;
    [[nodiscard]] std::string url() const; ///< without a slash at the end

    /// New connections go to this port.
    void target(unsigned short port);

    /// Ends the connections that are open now. @return how many there were.
    std::size_t cut(ending how = ending::reset, scope what = scope::all);

    /// Closes the listener, so that connecting is refused, or opens it again on the same port. What is
    /// open already stays so.
    void refuse(bool on);

    /// Resets each new stream as soon as its request line is known; REST works on.
    void refuse_streams(bool on);

    /// Answers each new stream with this status, an empty body and the end, instead of forwarding it; 0: no
    /// more. REST works on.
    void answer_streams(int status);

    /// Accepts and keeps connections, and forwards nothing either way. What arrives meanwhile waits.
    void black_hole(bool on, scope what = scope::all);

    /// Forwards nothing from the server to the client.
    void stall(bool on, scope what = scope::all);

    /// Cuts the stream that first reaches this many bytes of response body (chunk framing counted) from now
    /// on: exactly so many are forwarded. Once; open streams count from this call.
    void cut_stream_after(std::size_t bytes, ending how = ending::reset);

    /// When such a cut was last made; nothing: never.
    [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> cut_at() const;

    /// Ends one direction of every open connection: the one towards this side. The other goes on, until the
    /// side that was told the end leaves too.
    void half_close(side towards, scope what = scope::all);

    /// Delays each piece from the server by this much.
    void latency(std::chrono::milliseconds time);

    /// Forwards at most this many bytes at a time, in both directions; 0: as they come.
    void slice(std::size_t bytes);

    /// Forwards at most this many bytes a second from the server to the client, for each connection; 0: as
    /// they come.
    void bandwidth(std::size_t bytes_per_second);

    /// Passes on the end of a connection, whichever side ended it, only so much later. A reset is passed on
    /// at once.
    void slow_close(std::chrono::milliseconds time);

    /// How many connections were ever accepted.
    [[nodiscard]] std::size_t accepted() const;

    /// How many requests had this path (without a query), counted when their request line arrives here,
    /// whether they were forwarded or not; of the first 100 paths that came. Requests after the first on a
    /// kept connection are counted if they are sent after an answer to the one before has begun.
    [[nodiscard]] std::size_t requests(std::string_view path) const;

    /// How many connections of this kind are open now.
    [[nodiscard]] std::size_t open(scope what = scope::all) const;

private:
    class relay;
    std::unique_ptr<relay> relay_;
};

} // namespace holdfast::test
