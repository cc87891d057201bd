// retry: decisions over time. Failure classes, backoff, the circuit breaker of an endpoint. Everything in
// this room is pure: `now` and random numbers are arguments, nothing waits, nothing does I/O, nothing needs
// Asio.
//
// This header: what went wrong, judged once, where it happened.
#pragma once

#include <holdfast/error.hpp>
#include <holdfast/header.hpp>
#include <holdfast/time.hpp>

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::retry {

/// The closed list of what can go wrong with a connection, a stream or a call. The class, not a text,
/// decides.
enum class failure_class {
    refused,      ///< every address refused
    unreachable,  ///< no route to the host
    timeout,      ///< connect, header, greeting or exchange deadline passed
    dns,          ///< the name did not resolve
    tls,          ///< TLS could not be established
    http_status,  ///< an error status
    throttled,    ///< 429, or 503 with Retry-After
    content_type, ///< not what was asked for
    early_end,    ///< a clean end of a stream that was not healthy, see is_healthy()
    ended,        ///< a clean end of a healthy stream: no failure
    cut,          ///< ended in the middle of something, also before the head was whole
    stall,        ///< no byte for the stall timeout
    protocol,     ///< not HTTP, not JSON, not the protocol
    too_large,    ///< over a limit
    local,        ///< our own fault: descriptors, memory, a bad argument
};

/// "refused", "early_end", ...: the names used in logs and in the commands' output.
[[nodiscard]] std::string_view to_string(failure_class c) noexcept;

/// How much of an error's body a failure keeps, in bytes.
inline constexpr std::size_t max_failure_body = 4096;

/// One failure: its class and cause, and what the server said, beside the code.
struct failure {
    failure() = default; // no aggregate, see header

    failure_class cls = failure_class::local;
    error_code code;
    int status = 0;                      ///< the HTTP status, 0 when there was none
    std::string message;                 ///< one sentence for a person, without the body
    std::vector<header> headers;         ///< of the response that had this status, untrusted
    std::string body;                    ///< the first `max_failure_body` bytes of an error's body, untrusted
    std::optional<duration> retry_after; ///< what the server asked for, already bounded below by 0
    bool connected = false;              ///< a connection was had before it failed
    /// Of a header timeout: the server was to answer at once, as with a call, or a stream that begins with a
    /// greeting. False: it may send its head with its first event, so its silence blames nobody.
    bool answer_was_due = true;

    friend bool operator==(const failure&, const failure&) = default;
};

/// boost::system::result, but a compiler warns where one is ignored (clang also behind a co_await, g++ 12 not
/// there).
template <class T>
class [[nodiscard]] result : public boost::system::result<T, failure> {
public:
    using boost::system::result<T, failure>::result;
};

/// What `result::value()` does when there is none: throws boost::system::system_error with the failure's code
/// and message. Asking for a value unchecked is misuse.
[[noreturn]] void throw_exception_from_error(const failure& f, const boost::source_location& where);

/// The class of a code of `errc`; anything else is `local`. What this build or the caller cannot do (https,
/// a bad URL, a closed object) is `local` too: no server is to blame.
[[nodiscard]] failure_class classify(error_code code) noexcept;

/// A failure of this library's own: class by the code, message by the code and `detail`.
[[nodiscard]] failure make_failure(errc code, std::string detail = {}, bool connected = false);

/// A failure by an HTTP status: 429 and 503 with Retry-After are `throttled`, everything else is
/// `http_status`. A Retry-After is kept with any status; a negative one counts as 0. The body is cut to
/// `max_failure_body`.
[[nodiscard]] failure make_status_failure(int status, std::string body, std::optional<duration> retry_after,
                                          std::vector<header> headers = {});

/// True for what waiting does not heal: every status below 500 but 408 425 429 (so 204 and, as redirects are
/// not followed, 3xx), a wrong Content-Type, limits passed, and the codes of `protocol` and `local` that are
/// `condition::permanent` (another server, the caller's own errors). 5xx and everything below HTTP are
/// transient.
[[nodiscard]] bool is_final(const failure& f) noexcept;

/// True for failures of the endpoint, which every stream and call to it would meet: refused, unreachable,
/// dns, tls, connect timeout, header timeout where the answer was due, 502 503 504. Others stay with the
/// stream that met them.
[[nodiscard]] bool blames_endpoint(const failure& f) noexcept;

/// True for failures that only a working endpoint can cause, as it answered: other statuses, a wrong type, an
/// early end, a missing greeting, a stall of an open stream, an answer that is malformed or over a limit.
/// Neither this nor blames_endpoint(): a cut, an exchange timeout before any status, a header timeout where
/// no answer was due, and local failures; they tell nothing about the endpoint.
[[nodiscard]] bool shows_endpoint_alive(const failure& f) noexcept;

} // namespace holdfast::retry

namespace holdfast {
using retry::failure;
using retry::failure_class;
using retry::make_failure;
using retry::make_status_failure;
using retry::result;
} // namespace holdfast
