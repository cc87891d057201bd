// A server of real sockets that says exactly what a test wants said, byte by byte.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::test {

/// A request, as it came.
struct heard {
    std::size_t number = 0; ///< how many connections were accepted before its own
    std::string head;       ///< with the empty line
    std::string body;

    [[nodiscard]] std::string method() const;
    [[nodiscard]] std::string target() const;
    /// The value of a header field, or empty.
    [[nodiscard]] std::string header(std::string_view name) const;
};

/// What a connection is told, and how it ends.
struct reply {
    enum class ending {
        close, ///< a clean end
        reset, ///< TCP RST
        hold   ///< stays open, silent, until the client leaves
    };

    std::string bytes;
    ending end = ending::close;
    std::chrono::milliseconds lasting{}; ///< the time between the bytes and the end
};

/// A whole response with a Content-Length.
[[nodiscard]] reply answer(int status, std::string_view type, std::string_view body,
                           std::string_view more_fields = {});
/// An event stream (ended by the connection's end) that holds `events`.
[[nodiscard]] reply event_stream(std::string_view events, reply::ending end = reply::ending::close,
                                 std::chrono::milliseconds lasting = {});
/// Nothing is answered.
[[nodiscard]] reply silence();

/// One request a connection, on a free port of 127.0.0.1, on a thread of its own.
///
/// Thread safety: every member may be called from any thread.
class raw_server {
public:
    /// Called on the server's thread for each request.
    using handler = std::function<reply(const heard&)>;

    explicit raw_server(handler what);
    /// The n-th connection is told the n-th reply; those beyond, the last one.
    explicit raw_server(std::vector<reply> script);
    ~raw_server();
    raw_server(const raw_server&) = delete;
    raw_server& operator=(const raw_server&) = delete;

    [[nodiscard]] unsigned short port() const noexcept;
    /// "http://127.0.0.1:PORT" and the path.
    [[nodiscard]] std::string url(std::string_view path = {}) const;

    [[nodiscard]] std::vector<heard> requests() const;
    /// @return whether so many requests came within the deadline.
    [[nodiscard]] bool wait_requests(std::size_t count, std::chrono::milliseconds deadline) const;

    /// From here on connections are refused, and those that are open are cut.
    void stop();

private:
    class machine;
    std::unique_ptr<machine> machine_;
};

/// An address where a connection is neither made nor refused.
class black_hole {
public:
    black_hole();
    ~black_hole();
    black_hole(const black_hole&) = delete;
    black_hole& operator=(const black_hole&) = delete;

    [[nodiscard]] std::string url() const;

private:
    std::vector<int> sockets_;
    unsigned short port_ = 0;
};

} // namespace holdfast::test
