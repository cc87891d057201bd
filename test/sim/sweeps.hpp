// n-th failure sweeps: in a few scenarios without any trouble of their own, the 1st, 2nd, ... network
// operation fails, the reader is cancelled at the 1st, 2nd, ... step, the 1st, 2nd, ... callback of the
// user's throws, until a run passes untouched. What must hold is what must hold always.
#pragma once

#include "driver.hpp"

#include <functional>
#include <string>

namespace holdfast::sim {

struct sweep_step {
    std::string scenario;
    sabotage what;
    run_result ran;
};

/// Runs them all; `each` is told of every run that was struck.
void sweep(const std::function<void(const sweep_step&)>& each);

/// "plain turn", "connect" and the like, and a number: one step of a sweep again, with its timeline.
[[nodiscard]] run_result repeat_step(const std::string& scenario, const std::string& kind, std::size_t nth);

[[nodiscard]] std::string to_string(sabotage::kind what);

} // namespace holdfast::sim
