// One connection, one exchange: a request, then a whole response (`fetch`) or an endless body (`open`).
#pragma once

#include <holdfast/http/proxy.hpp>
#include <holdfast/http/request.hpp>
#include <holdfast/http/response_parser.hpp>
#include <holdfast/http/tls.hpp>
#include <holdfast/http/url.hpp>
#include <holdfast/runtime/runtime.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::http {

/// The header deadline of calls, and of streams that begin with a greeting.
inline constexpr duration default_header_deadline = seconds(10);

/// How long each step may take; zero: no limit.
struct deadlines {
    /// From the start to an established connection: the look-up, all addresses, a proxy and its tunnel.
    duration connect = seconds(10);
    duration tls = seconds(10); ///< of https://, from there to established TLS
    /// From there to the whole response head. Not set: default_header_deadline; of an event stream without a
    /// greeting its stall timeout, see stream::source_config.
    std::optional<duration> header;
    duration exchange = seconds(30); ///< of fetch() as a whole
};

/// How exchanges are carried: the same for all of one client or stream.
struct transport {
    transport() = default; // no aggregate, see request

    http::deadlines deadlines;
    std::shared_ptr<const tls_context> tls; ///< of https://; null: the system's trust
    proxy_rules proxies;                    ///< none: origins are reached directly
};

/// Sees to it that `how` can carry https:// where `origin` is such: without a context it gets one with the
/// system's trust, for all exchanges by it. Some 20 ms of work, once. Errors: those of make_tls_context().
[[nodiscard]] result<void> see_to_trust(transport& how, const endpoint& origin);

/// A whole response.
struct response {
    response() = default; // no aggregate, see header

    response_head head;
    std::string body;
};

/// A response whose head has come; the body is read piece by piece, as it was sent: nothing is decompressed
/// (see refuse_compressed()). However slowly or endlessly a server sends, a step takes no longer than its
/// deadline, and no more is kept of it than its limits and 16 KiB.
///
/// Default constructed or moved from, it may only be assigned to, closed and destroyed. Destruction closes
/// the connection. Thread safety: confined to its runtime's executor.
class body_stream {
public:
    body_stream() = default;
    body_stream(body_stream&&) noexcept;
    body_stream& operator=(body_stream&&) noexcept;
    ~body_stream();

    [[nodiscard]] const response_head& head() const noexcept;

    /// Waits for more of the body, at the longest until `deadline`, which chunk extensions and trailers do
    /// not put off. The pieces are views that hold until the next read() or destruction. No pieces: the body
    /// has ended as it should, now and at every further read(). One read at a time: another one throws
    /// std::logic_error. Errors: stalled (nothing came by `deadline`), cut (the connection ended in the
    /// middle; over TLS also an end without close_notify that only the connection's end could tell),
    /// malformed, body_too_large, header_too_large (trailers, or one chunk's extensions), closed. After an
    /// error only close() is useful. Cancellation (terminal): operation_aborted; nothing is lost, read() may
    /// be called again.
    [[nodiscard]] net::awaitable<result<std::span<const std::string_view>>> read(time_point deadline);

    /// Closes at once; a pending read ends with errc::closed. Idempotent.
    void close() noexcept;

private:
    friend struct exchange_access;
    struct impl;
    explicit body_stream(std::shared_ptr<impl> state) noexcept;
    std::shared_ptr<impl> impl_;
};

/// Connects to `where`, or to the proxy that `how.proxies` gives for it, sends `what`, and waits for the
/// response head, whatever its status; interim responses (1xx) are passed over. Without `how.tls`, https://
/// has a context with the system's trust made for this exchange, some 20 ms of work.
///
/// Errors: those of connecting (class refused, unreachable, dns, tls, timeout, local), header_timeout, cut
/// (the connection ended before the head was whole), malformed, header_too_large, invalid_request. What fails
/// at a proxy names it in words, never its credentials, and two failures are a proxy's own: its answer to
/// CONNECT when that is no 2xx, and a 407 to any request (http_status or throttled with its status, headers
/// and body, as make_status_failure() judges them: 407 is final, 502 503 504 are transient).
/// `failure::connected` is false for what fails before the origin can have heard the request. Cancellation
/// (terminal): at once, operation_aborted; the connection is closed.
[[nodiscard]] net::awaitable<result<body_stream>> open(runtime world, url where, request what, transport how,
                                                       response_limits bounds);

/// The same, which must be done by `until` as a whole.
[[nodiscard]] net::awaitable<result<body_stream>>
open_until(runtime world, url where, request what, transport how, response_limits bounds, time_point until);

/// A whole exchange. Errors: those of open(), exchange_timeout, body_too_large. Any status is a success here.
/// `bounds.body` bounds the body. Cancellation (terminal): at once, operation_aborted.
[[nodiscard]] net::awaitable<result<response>> fetch(runtime world, url where, request what, transport how,
                                                     response_limits bounds);

/// Reads what is left of a body, which must have come by `until`. Errors: those of body_stream::read(), but
/// exchange_timeout, with the head's status, where that would be stalled; body_too_large: it is more than
/// `most` bytes.
[[nodiscard]] net::awaitable<result<std::string>> read_whole(body_stream& body, std::size_t most,
                                                             time_point until);

/// Reads what is left of an error's body, at the longest for `patience`, at most 4 KiB: for a failure's
/// report.
[[nodiscard]] net::awaitable<std::string> read_error_body(runtime& world, body_stream& body,
                                                          duration patience);

} // namespace holdfast::http
