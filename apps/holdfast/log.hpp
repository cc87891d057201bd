// The log of a command: records on stderr, as text for people or as JSON for programs.
#pragma once

#include "output.hpp"

#include <holdfast/runtime/log.hpp>

namespace holdfast::app {

enum class log_format { text, json };

/// A sink that writes each record of `lowest` or above to `to`, on a line of its own, escaped. `to` must
/// outlive it. It may be copied, and used from any thread as long as only sinks use `to`.
[[nodiscard]] log_sink log_to(output& to, log_format format, log_level lowest);

/// The record as one for debugging, because the product itself tells what it says.
[[nodiscard]] log_record lowered(log_record record);

} // namespace holdfast::app
