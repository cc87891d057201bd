// A second tracker beside the one that drives a session: it gets the same inputs, and what it makes of them
// is compared. It asks for nothing: no network, random number or time.
#pragma once

#include <holdfast/opencode/turn_tracker.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace holdfast::sim {

/// What was compared in one run.
struct shadow_report {
    std::size_t turns = 0;
    std::size_t equal = 0;
    std::vector<std::string> differences; ///< one a turn: what differs first
    std::vector<std::string> trace;       ///< of each input, when asked for
    bool tracing = false;
};

/// For tracker_options. What is found is in the report once the sessions are gone.
[[nodiscard]] opencode::make_witness make_shadow(std::shared_ptr<shadow_report> into);

} // namespace holdfast::sim
