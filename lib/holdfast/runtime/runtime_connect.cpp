#include <holdfast/runtime/runtime.hpp>

#include <holdfast/runtime/runtime_state.hpp>

#include <memory>
#include <utility>

namespace holdfast {

net::awaitable<result<std::unique_ptr<connection>>> runtime::connect(endpoint where) {
    return connect_in(*this, std::move(where));
}

net::awaitable<result<std::unique_ptr<connection>>> runtime::connect_in(runtime self, endpoint where) {
    const auto world = self.shared_;
    auto connecting = world->network->connect(std::move(where));
    auto made = co_await std::move(connecting);
    world->count(made ? metric::connections_opened : metric::connections_failed);
    const std::lock_guard lock(world->mutex);
    if (made || made.error().code != errc::local) {
        world->connects.local_success();
    } else {
        const auto before = world->connects.paused_until();
        world->connects.local_fault(world->clock->now());
        if (world->connects.paused_until() != before)
            world->count(metric::local_pauses);
    }
    co_return std::move(made);
}

void runtime::first_try() noexcept {
    const std::lock_guard lock(shared_->mutex);
    shared_->retries.first_try();
}

net::awaitable<bool> runtime::may_retry() {
    return may_retry_in(*this);
}

net::awaitable<bool> runtime::may_retry_in(runtime self) {
    const auto world = self.shared_;
    struct leave {
        shared& world;
        retry::retry_budget::grant grant;
        bool used = false;
        explicit leave(shared& w) : world(w) {
            const std::lock_guard lock(world.mutex);
            grant = world.retries.retry(world.clock->now());
        }
        ~leave() {
            if (used)
                return;
            const std::lock_guard lock(world.mutex);
            world.retries.give_back(grant);
        }
    } mine(*world);
    if (mine.grant.ready == time_point::max())
        co_return false;
    if (mine.grant.ready > self.now()) {
        world->count(metric::retry_waits);
        co_await self.sleep_until(mine.grant.ready);
    }
    mine.used = true;
    co_return true;
}

} // namespace holdfast
