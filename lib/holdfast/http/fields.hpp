// What single response fields mean. Pure; needs no Asio.
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

/// Why the body of a response with these fields cannot be read: it has a Content-Encoding or a Transfer-Encoding
/// other than identity and chunked, though none was asked for. Nothing when it can. The failure is
/// errc::compressed, class content_type, so final, and names the field and the coding, escaped.
[[nodiscard]] std::optional<failure> refuse_compressed(const std::vector<header>& response_fields);

/// How long Retry-After asks to wait: whole seconds, or an HTTP date in any of its three forms (RFC 9110,
/// section 5.6.7) compared with `now`. A date in the past is 0; what does not fit is duration::max(). Nothing
/// for anything else: such a field is to be ignored.
[[nodiscard]] std::optional<duration> parse_retry_after(std::string_view value, wall_time now) noexcept;

/// A `Date` or another HTTP date in any of its three forms; `now` tells the century of the one with a two-digit year.
/// Nothing for anything else.
[[nodiscard]] std::optional<wall_time> parse_date(std::string_view value, wall_time now) noexcept;

} // namespace holdfast::http
