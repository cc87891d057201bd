// What single response fields mean. Pure; needs no Asio. Not for users.
#pragma once

#include <holdfast/header.hpp>
#include <holdfast/retry/failure.hpp>
#include <holdfast/time.hpp>

#include <optional>
#include <string_view>
#include <vector>

namespace holdfast::http {

/// True when a Content-Type's value is of the media type `expected` ("text/event-stream"), whatever its
/// parameters. ASCII case and surrounding blanks do not matter.
[[nodiscard]] bool is_media_type(std::string_view content_type, std::string_view expected) noexcept;

/// The media type that all Content-Type fields together say, in lower case and without parameters: the last
/// valid one that is not */* (Fetch, "extract a MIME type"; a list in one field is the same as several
/// fields). Empty: there is none.
[[nodiscard]] std::string media_type_of(const std::vector<header>& fields);

/// The compression that the Content-Encoding fields say, in lower case, of gzip, x-gzip, deflate, br, zstd,
/// compress and x-compress; of several, all of them in order, apart by ", ". Empty: none.
[[nodiscard]] std::string compression_of(const std::vector<header>& response_fields);

/// Why the body of a response with these fields cannot be read: it is compressed, though that was not asked
/// for (Content-Encoding gzip, x-gzip, deflate, br, zstd, compress or x-compress), or has a Transfer-Encoding
/// other than identity and chunked. Another Content-Encoding changes nothing: servers put "none" or a charset
/// there. Nothing when it can be read. The caller names in `undone` the compression that it undoes itself
/// (as compression_of() returns it), which is then no reason. The failure is errc::compressed, class
/// content_type, so final, and names the field and the coding, escaped.
[[nodiscard]] std::optional<failure> refuse_compressed(const std::vector<header>& response_fields,
                                                       std::string_view undone = {});

/// How long Retry-After asks to wait: seconds, or an HTTP date in any of its three forms (RFC 9110,
/// section 5.6.7) compared with `now`. Servers also send fractions ("2.6", ".5"), which are rounded up to
/// whole seconds. A date in the past is 0; what does not fit is duration::max(). Nothing for anything else:
/// such a field is to be ignored.
[[nodiscard]] std::optional<duration> parse_retry_after(std::string_view value, wall_time now) noexcept;

/// How long the fields of a response ask to wait: retry-after-ms or x-ms-retry-after-ms (milliseconds,
/// fractions rounded up), which are more exact, else Retry-After. A field without a meaning is ignored.
/// Nothing: none asks.
[[nodiscard]] std::optional<duration> retry_wait(const std::vector<header>& response_fields,
                                                 wall_time now) noexcept;

/// A `Date` or another HTTP date in any of its three forms; `now` tells the century of the one with a
/// two-digit year. Nothing for anything else, as for a year that wall_time does not reach (1677 to 2262).
[[nodiscard]] std::optional<wall_time> parse_date(std::string_view value, wall_time now) noexcept;

} // namespace holdfast::http
