// The log of a command: records on stderr, as text for people or as JSON for programs.
#pragma once

#include <holdfast/runtime/log.hpp>

namespace holdfast::app {

enum class log_format { text, json };

/// A sink that writes each record of `lowest` or above on a line of its own, escaped. It may be copied, and
/// used from any thread.
[[nodiscard]] log_sink stderr_log(log_format format, log_level lowest);

/// The record as one for debugging, because the product itself tells what it says.
[[nodiscard]] log_record lowered(log_record record);

} // namespace holdfast::app
