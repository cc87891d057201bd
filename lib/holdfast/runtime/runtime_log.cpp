#include <holdfast/runtime/runtime.hpp>

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/runtime_state.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>
#include <utility>

namespace holdfast {

// Under the lock.
void runtime::shared::incidents_changed() {
    in_trouble.store(incidents.subjects() != 0, std::memory_order_relaxed);
    if (writers.empty())
        return;
    const auto& writer = writers.front();
    const auto due = incidents.due();
    if (due < writer->until) {
        writer->until = due;
        writer->wake(writer);
    }
}

void runtime::shared::write(const retry::incident_log::lines& lines) {
    for (const auto& each : lines) {
        if (each.level != log_level::debug) {
            count(metric::log_lines);
            count(metric::log_lines_suppressed, each.suppressed);
        }
        sink(each);
    }
}

void runtime::log(const log_record& record) const {
    if (!ended())
        shared_->tell([&](auto& incidents, time_point now) { return incidents.note(record, now); });
}

void runtime::report(const log_record& record) const {
    if (!ended())
        shared_->tell([&](auto& incidents, time_point now) { return incidents.trouble(record, now); });
}

void runtime::recovered(const log_record& record) const {
    if (ended() || (record.event.empty() && !in_trouble()))
        return;
    shared_->tell([&](auto& incidents, time_point now) { return incidents.success(record, now); });
}

bool runtime::in_trouble() const noexcept {
    return shared_->in_trouble.load(std::memory_order_relaxed);
}

void runtime::left(const log_record& record) const {
    if (!ended() && in_trouble())
        shared_->tell([&](auto& incidents, time_point now) { return incidents.leave(record, now); });
}

net::awaitable<void> runtime::write_incidents() {
    return write_incidents_of(*this);
}

net::awaitable<void> runtime::write_incidents_of(runtime self) {
    const auto world = self.shared_;
    const auto me = std::make_shared<waiter>(self);
    // The place in the list goes with the coroutine's frame; who is then the first takes over.
    struct presence {
        shared& world;
        std::shared_ptr<waiter> me;
        presence(shared& w, std::shared_ptr<waiter> who) : world(w), me(std::move(who)) {
            const std::lock_guard lock(world.mutex);
            world.writers.push_back(me);
        }
        ~presence() {
            const std::lock_guard lock(world.mutex);
            const bool was_first = world.writers.front() == me;
            world.writers.remove(me);
            if (was_first && !world.writers.empty())
                world.writers.front()->wake(world.writers.front());
        }
    } const presence(*world, me);
    for (;;) {
        auto until = time_point::max();
        world->tell([&](auto& incidents, time_point now) {
            retry::incident_log::lines lines;
            if (world->writers.front() == me) {
                lines = incidents.poll(now);
                until = me->until = incidents.due();
            }
            return lines;
        });
        me->alarm.expires_at(until);
        co_await me->alarm.async_wait(net::as_tuple(net::use_awaitable));
        co_await throw_if_cancelled();
    }
}

} // namespace holdfast
