// Bytes to one HTTP/1.1 response, without I/O. As liberal as curl, Node and browsers are together, and as RFC
// 9112 allows a recipient to be: lines may end with LF alone, a status line may lack its reason and the blank
// before it.
#pragma once

#include <holdfast/http/request.hpp>
#include <holdfast/retry/failure.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::http {

/// The head of a response.
struct response_head {
    response_head() = default; // no aggregate, see header

    int status = 0; ///< 100 to 999
    std::string reason;
    std::vector<header> headers; ///< in order, names as sent

    /// The value of the first header of that name (ASCII case ignored), or empty.
    [[nodiscard]] std::string_view find(std::string_view name) const noexcept;
};

/// Bounds on a response. 0 is no limit (but one field of a head never exceeds 64 KiB).
struct response_limits {
    /// Bytes of the head (interim ones before it included), of the trailers, and of one chunk's extensions,
    /// each.
    std::size_t header = 16u << 10;
    std::size_t body = 128u << 20; ///< bytes of the body; an event stream has none
};

/// Parses one response, given piece by piece. Interim responses (1xx but 101) before it are passed over; of
/// all else nothing is kept but the head and, at most `response_limits::header` bytes long, what is not yet
/// whole. Thread safety: distinct objects safe, shared objects unsafe.
class response_parser {
public:
    /// `head_request`: the answer to HEAD has no body, whatever its head says.
    explicit response_parser(response_limits limits, bool head_request = false);
    ~response_parser();
    response_parser(response_parser&&) noexcept;
    response_parser& operator=(response_parser&&) noexcept;

    /// Feeds bytes; after an error, no more. The payload in them is appended to `body` as views of `bytes`.
    /// Errors: malformed, header_too_large, body_too_large. Bytes after a complete response are ignored (one
    /// connection, one exchange).
    [[nodiscard]] error_code put(std::string_view bytes, std::vector<std::string_view>& body);

    /// The peer has ended the connection. Error `cut` when the response was not whole.
    [[nodiscard]] error_code put_end();

    /// After `malformed`: which rule is broken, and the bytes that break it, escaped; else empty.
    [[nodiscard]] const std::string& complaint() const noexcept;

    [[nodiscard]] bool head_complete() const noexcept;
    [[nodiscard]] bool complete() const noexcept;
    [[nodiscard]] const response_head& head() const noexcept; ///< meaningful when head_complete()

private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

} // namespace holdfast::http
