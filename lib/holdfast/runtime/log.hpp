// Structured log records. The library never prints: it hands records to the sink of its `runtime`.
#pragma once

#include <holdfast/retry/log_record.hpp>

#include <exception>
#include <functional>
#include <string>

namespace holdfast {

using retry::log_level;
using retry::log_record;

/// What an exception says of itself, for `log_record::error_message`.
[[nodiscard]] std::string what_of(const std::exception_ptr& error) noexcept;

/// Called on the executor of the object that logs; must not block or throw.
using log_sink = std::function<void(const log_record&)>;

} // namespace holdfast
