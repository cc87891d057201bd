// One connection, one exchange: a request, then a whole response (`fetch`) or an endless body (`open`).
#pragma once

#include <holdfast/http/request.hpp>
#include <holdfast/http/response_parser.hpp>
#include <holdfast/http/url.hpp>
#include <holdfast/runtime/runtime.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::http {

/// How long each step may take; zero: no limit.
struct deadlines {
    duration connect = seconds(10);  ///< from the start to an established connection
    duration header = seconds(10);   ///< from the connection to the whole response head
    duration exchange = seconds(30); ///< of fetch() as a whole
};

/// A whole response.
struct response {
    response_head head;
    std::string body;
};

/// A response whose head has come; the body is read piece by piece.
///
/// Thread safety: confined to its runtime's executor. Destruction closes the connection.
class body_stream {
public:
    body_stream() = default;
    body_stream(body_stream&&) noexcept;
    body_stream& operator=(body_stream&&) noexcept;
    ~body_stream();

    [[nodiscard]] const response_head& head() const noexcept;

    /// Waits for more of the body, at the longest until `deadline`. The pieces are views that hold until the
    /// next read() or destruction. No pieces: the body has ended as it should. Errors: stalled (nothing came
    /// by `deadline`), cut, malformed, body_too_large, header_too_large, closed. Cancellation (terminal):
    /// operation_aborted; nothing is lost, read() may be called again.
    [[nodiscard]] net::awaitable<result<std::span<const std::string_view>>> read(time_point deadline);

    /// Closes at once; a pending read ends with errc::closed. Idempotent.
    void close() noexcept;

private:
    friend struct exchange_access;
    struct impl;
    explicit body_stream(std::shared_ptr<impl> state) noexcept;
    std::shared_ptr<impl> impl_;
};

/// Connects to `where`, sends `what`, and waits for the response head, whatever its status.
/// Errors: those of connecting (class refused, unreachable, dns, timeout, local), header_timeout, cut (the
/// connection ended before the head was whole), malformed, header_too_large, invalid_request,
/// tls_not_supported. Cancellation (terminal): at once, operation_aborted; the connection is closed.
[[nodiscard]] net::awaitable<result<body_stream>> open(runtime& world, url where, request what,
                                                       deadlines limits, response_limits bounds);

/// A whole exchange. Errors: those of open(), exchange_timeout, body_too_large. Any status is a success here.
/// `bounds.body` bounds the body. Cancellation (terminal): at once, operation_aborted.
[[nodiscard]] net::awaitable<result<response>> fetch(runtime& world, url where, request what,
                                                     deadlines limits, response_limits bounds);

/// Reads what is left of an error's body, at the longest for `patience`, at most 4 KiB: for a failure's
/// report.
[[nodiscard]] net::awaitable<std::string> read_error_body(runtime& world, body_stream& body,
                                                          duration patience);

} // namespace holdfast::http
