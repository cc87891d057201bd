// The table that `holdfast watch` shows: rows in, lines of text out. Pure.
#pragma once

#include "output.hpp"
#include "watch/board.hpp"

#include <holdfast/time.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::app {

struct table_look {
    std::size_t width = 80;
    std::size_t height = 24;
    bool filled = true; ///< the foot stands on the last line; else right under the rows
    /// Printable text in a style, as output::paint(). Empty: no colours.
    std::function<std::string(style, std::string_view)> paint;
};

/// At most `look.height` lines, each at most `look.width` columns wide: totals, the rows, and the latest log
/// lines (untrusted, the newest last). With more rows than lines those that matter most are shown, in their
/// order, and how many more there are.
[[nodiscard]] std::vector<std::string> table_lines(const std::vector<board_row>& rows,
                                                   const board_totals& totals,
                                                   const std::vector<std::string>& log, time_point begun,
                                                   time_point now, const table_look& look);

/// "5 s", "12 min", "3 h", "4 d": the largest whole unit.
[[nodiscard]] std::string age(duration d);

/// "stream", "capture", "capture, 20 s ago", "retry in 12 s (refused, 5th)", "trying again (refused, 5th)",
/// "connecting", "authentication failed".
[[nodiscard]] std::string connection_words(const board_row& row, time_point now);

} // namespace holdfast::app
