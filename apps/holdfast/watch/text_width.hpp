// How wide text is on a terminal, and text of an exact width.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace holdfast::app {

/// Untrusted text as one line for a terminal: as printable_line(), but each run of white space is one space.
[[nodiscard]] std::string one_line(std::string_view untrusted);

/// The columns that printable text takes, by the C library's wcwidth(): wide characters take two, combining
/// ones none.
[[nodiscard]] std::size_t width_of(std::string_view printable);

/// Printable text in exactly `width` columns: cut with an ellipsis, or filled with spaces.
[[nodiscard]] std::string fitted(std::string_view printable, std::size_t width);
/// The same, but of text that is too long the end is kept.
[[nodiscard]] std::string fitted_end(std::string_view printable, std::size_t width);
/// The same as fitted(), with the spaces on the left.
[[nodiscard]] std::string fitted_right(std::string_view printable, std::size_t width);

} // namespace holdfast::app
