// The least HTTP client that a test can do with, so that a server, a proxy or a recording can be looked at
// without the library under test.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::test {

struct http_answer {
    int status = 0;
    std::string head;
    std::string body;
};

/// One request on a connection of its own, to a port of 127.0.0.1; `more_fields` are whole lines, each with
/// CR LF at its end. Throws boost::system::system_error when the connection fails or the deadline passes.
http_answer http_call(unsigned short port, std::string_view method, std::string_view target,
                      std::string_view body = {}, std::string_view more_fields = {},
                      std::chrono::milliseconds deadline = std::chrono::seconds(30));

/// An event stream that is read as the test asks for events: the JSON of one after the other.
///
/// Thread safety: none.
class plain_event_stream {
public:
    /// Connects and waits for the response head. Throws boost::system::system_error as http_call() does.
    plain_event_stream(unsigned short port, std::string_view target, std::string_view more_fields = {},
                       std::chrono::milliseconds deadline = std::chrono::seconds(10));

    [[nodiscard]] int status() const noexcept;

    /// The data of the next event; nothing when the stream has ended, failed, or is silent for the deadline.
    /// error() tells which.
    std::optional<std::string> next(std::chrono::milliseconds deadline = std::chrono::seconds(10));

    /// Reads on until `wanted` accepts an event's data.
    std::optional<std::string> next(const std::function<bool(std::string_view)>& wanted,
                                    std::chrono::milliseconds deadline = std::chrono::seconds(30));

    /// Why the last next() gave nothing: eof (with the last chunk or without it), a socket error, or
    /// timed_out.
    [[nodiscard]] boost::system::error_code error() const noexcept;

private:
    void read_more(std::chrono::milliseconds deadline);

    boost::asio::io_context context_;
    boost::asio::ip::tcp::socket socket_;
    boost::system::error_code error_;
    int status_ = 0;
    bool ended_ = false; ///< the last chunk has come
    std::string raw_;    ///< bytes not yet unchunked
    std::string text_;   ///< body not yet handed out
};

} // namespace holdfast::test
