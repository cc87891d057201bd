// Waiting for a change, with a deadline: what coroutines of one executor use to tell each other.
#pragma once

#include <holdfast/runtime/runtime.hpp>

#include <list>

namespace holdfast {

/// Always re-check the predicate after wait(): wake-ups may be spurious, and only readiness is told.
///
/// Thread safety: confined to the runtime's executor. Must outlive its waiters.
class condition_variable {
public:
    explicit condition_variable(runtime& world) : world_(world) {}
    condition_variable(const condition_variable&) = delete;
    condition_variable& operator=(const condition_variable&) = delete;

    /// Waits for notify_all(), at the longest until `until`. Cancellation (terminal): operation_aborted.
    [[nodiscard]] net::awaitable<void> wait(time_point until = time_point::max());

    /// Wakes all who wait now.
    void notify_all() noexcept;

    [[nodiscard]] bool has_waiters() const noexcept { return !waiting_.empty(); }

private:
    runtime& world_;
    std::list<timer> waiting_;
};

} // namespace holdfast
