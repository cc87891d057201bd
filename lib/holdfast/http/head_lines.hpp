// The lines of a response's head, one by one: what each says, or which rule it breaks. Pure. Not for users.
#pragma once

#include <holdfast/header.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::http {

/// Bytes that a server sent, fit for a message: in quotes, all but printable ASCII as \xNN, cut after 60.
[[nodiscard]] std::string quoted_bytes(std::string_view bytes);

// What follows is a part of response_parser. Each function returns the broken rule, with the bytes that break
// it as quoted_bytes() shows them; nothing: the line is good. A line comes without its line end.

/// "HTTP/1.x", blanks, three digits from 100 on; behind them nothing, or blanks and a reason of any bytes but
/// CR and NUL (RFC 9112, section 4: the parts may be told apart by any blanks).
[[nodiscard]] std::optional<std::string> read_status_line(std::string_view line, int& status,
                                                          std::string& reason);

/// A field, added to `fields`, or a further line of the last one (RFC 9112, section 5.2), which is joined by
/// a blank.
[[nodiscard]] std::optional<std::string> read_field_line(std::string_view line, std::vector<header>& fields);

/// How long the body is.
struct body_framing {
    bool chunked = false;
    std::optional<std::uint64_t> length; ///< neither: up to the connection's end
};

/// By all Content-Length and Transfer-Encoding fields together: a list in one field is the same as several
/// fields (RFC 9110, section 5.3). The same length said again counts once, and so does chunked, as curl, Node
/// and browsers take it. Ambiguous, and so broken: two lengths, a length beside a transfer coding, chunked
/// before another coding.
[[nodiscard]] std::optional<std::string> read_framing(const std::vector<header>& fields,
                                                      body_framing& framing);

} // namespace holdfast::http
