// One structured record of what happened, as the library hands it to whoever writes the log.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::retry {

enum class log_level { debug, info, warn, error };

[[nodiscard]] std::string_view to_string(log_level level) noexcept;

/// One record. Empty members are absent. Text that came from a server is untrusted: who writes it must escape
/// it.
struct log_record {
    log_record() = default; // no aggregate, see header

    log_level level = log_level::info;
    std::string event;       ///< what happened, a dotted name: "stream.interrupted", "turn.settled", ...
    std::string endpoint;    ///< "http://127.0.0.1:4096"
    std::string session;     ///< an OpenCode session id
    std::string tag;         ///< the caller's own name for the thing
    std::string error_class; ///< `failure_class` by name
    std::string error_message;
    unsigned failures = 0; ///< consecutive failures, 0 when there are none
    std::string action;    ///< what is done about it: "retry", "give_up", "wait", ...
    std::optional<long long> retry_in_ms;
    unsigned suppressed = 0; ///< equal records not written before this one
};

} // namespace holdfast::retry
