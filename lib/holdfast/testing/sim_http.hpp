// The server's side of HTTP/1.1 for the simulated server: requests out of bytes, responses into bytes. Small
// on purpose: it speaks what clients of an agent server send, and refuses the rest. Not for users.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::testing::detail {

struct http_request {
    std::string method;
    std::string path;                           ///< still percent-encoded, without the query
    std::map<std::string, std::string> query;   ///< decoded; the last of equal names
    std::map<std::string, std::string> headers; ///< names in lower case
    std::string body;
    bool keep_alive = true;
    bool http_1_0 = false;

    [[nodiscard]] std::string_view header(const std::string& lower_case_name) const;
    /// The path's segments, decoded; empty ones (doubled or trailing slashes) left out.
    [[nodiscard]] std::vector<std::string> segments() const;
};

/// Requests out of bytes that come cut anywhere.
class http_reader {
public:
    void put(std::string_view bytes) { buffer_.append(bytes); }

    /// The next whole request, if there is one.
    [[nodiscard]] std::optional<http_request> next();
    /// What came is not HTTP; nothing more is read.
    [[nodiscard]] bool broken() const { return broken_; }
    /// True once for each request whose client waits for "100 Continue" before it sends the body.
    [[nodiscard]] bool wants_continue() { return std::exchange(wants_continue_, false); }

private:
    bool read_head();
    bool read_plain_body();
    bool read_chunked_body();

    std::string buffer_;
    std::optional<http_request> request_; // its head is read, its body is not
    std::size_t body_left_ = 0;
    bool chunked_ = false;
    bool broken_ = false;
    bool wants_continue_ = false;
};

using http_headers = std::vector<std::pair<std::string, std::string>>;

[[nodiscard]] std::string percent_decode(std::string_view text, bool plus_is_space = false);
/// Nothing if `text` is not base64.
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);
/// base64url without padding.
[[nodiscard]] std::string base64url(std::string_view bytes);

/// A whole response with Content-Length.
[[nodiscard]] std::string http_response(unsigned status, std::string_view content_type, std::string_view body,
                                        const http_headers& more = {}, bool keep_alive = true);
/// The value of a `Date`.
[[nodiscard]] std::string http_date(std::int64_t wall_ms);
/// The head of an event stream, as the real server writes it.
[[nodiscard]] std::string http_stream_head(bool chunked);
/// "59\r\n": what stands before a chunk's bytes.
[[nodiscard]] std::string http_chunk_head(std::size_t size);

} // namespace holdfast::testing::detail
