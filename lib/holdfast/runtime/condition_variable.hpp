// Waiting for a change, with a deadline: what coroutines of one executor use to tell each other.
#pragma once

#include <holdfast/runtime/runtime.hpp>

#include <list>
#include <memory>

namespace holdfast {

/// Always re-check the predicate after wait(): wake-ups may be spurious, and only readiness is told.
///
/// Thread safety: confined to the runtime's executor. Who waits when it is destroyed is woken by nothing but
/// its time and its cancellation.
class condition_variable {
public:
    explicit condition_variable(const runtime& world) : world_(world) {}
    condition_variable(const condition_variable&) = delete;
    condition_variable& operator=(const condition_variable&) = delete;

    /// Waits for notify_all(), at the longest until `until`. Cancellation (terminal): operation_aborted.
    [[nodiscard]] net::awaitable<void> wait(time_point until = time_point::max());

    /// Wakes all who wait now.
    void notify_all() noexcept;

    [[nodiscard]] bool has_waiters() const noexcept { return !waiting_->empty(); }

private:
    using waiters = std::list<timer>;
    [[nodiscard]] static net::awaitable<void> wait_in(runtime world, std::shared_ptr<waiters> all,
                                                      time_point until);

    runtime world_;
    std::shared_ptr<waiters> waiting_ = std::make_shared<waiters>();
};

} // namespace holdfast
