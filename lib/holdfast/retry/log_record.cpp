#include <holdfast/retry/log_record.hpp>

namespace holdfast::retry {

std::string_view to_string(log_level level) noexcept {
    switch (level) {
    case log_level::debug: return "debug";
    case log_level::info: return "info";
    case log_level::warn: return "warn";
    case log_level::error: return "error";
    }
    return "?";
}

} // namespace holdfast::retry
