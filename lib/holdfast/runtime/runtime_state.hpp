// What the runtimes of one world share, and what the copies of one runtime share. Not for users.
#pragma once

#include <holdfast/runtime/context_bound.hpp>
#include <holdfast/runtime/runtime.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <utility>

namespace holdfast {

// Those who wait may be on other strands: each is woken on its own, unless its context ends.
struct runtime::waiter {
    explicit waiter(const runtime& on) : home(on), alarm(home.clock(), home.executor()) {}

    void wake(const std::shared_ptr<waiter>& self) const {
        home.post([self] { self->alarm.cancel(); });
    }

    runtime home;
    timer alarm;
    time_point until = time_point::max(); ///< of who writes the incidents; guarded by shared::mutex
};

// Guarded by shared::mutex.
struct runtime::shared_breaker {
    explicit shared_breaker(const endpoint& at) : where(at) {}

    void wake_all() const {
        for (const auto& each : waiting)
            each->wake(each);
    }

    const endpoint where;
    retry::endpoint_breaker breaker;
    std::uint64_t wakes = 0;
    std::list<std::shared_ptr<waiter>> waiting;
};

struct runtime::shared {
    explicit shared(const shared_limits& limits)
        : incidents(limits.incidents), connects(limits.connects), retries(limits.retries) {}

    std::unique_ptr<holdfast::clock> clock;
    std::unique_ptr<holdfast::network> network;
    log_sink sink;
    std::array<std::atomic<std::uint64_t>, metric_count> counts{};
    std::atomic<bool> in_trouble = false; ///< whether `incidents` has subjects

    std::mutex mutex; ///< for all below
    std::map<endpoint, std::shared_ptr<shared_breaker>> breakers;
    std::size_t purge_at = 64; ///< so many breakers
    retry::incident_log incidents;
    std::list<std::shared_ptr<waiter>> writers; ///< the first writes the incidents
    retry::connect_limiter connects;
    retry::retry_budget retries;

    [[nodiscard]] std::shared_ptr<shared_breaker> breaker_at(const endpoint& where);

    void count(metric which, std::uint64_t n = 1) noexcept {
        counts[static_cast<std::size_t>(which)].fetch_add(n, std::memory_order_relaxed);
    }

    template <class How>
    void tell(How how);
    void incidents_changed();
    void write(const retry::incident_log::lines& lines);
};

// The executor goes with its context: a strand must not outlive it.
struct runtime::strand final : detail::context_bound {
    strand(net::any_io_executor on, std::uint64_t seed)
        : context_bound(on), executor(std::move(on)), random(seed) {}
    ~strand() override { leave(); }

    void announce() noexcept override {
        const std::lock_guard lock(mutex);
        ended = true;
    }
    void release() noexcept override { executor = net::any_io_executor(); }

    net::any_io_executor executor;
    std::mt19937_64 random;
    std::atomic<bool> ended = false;
    std::mutex mutex; ///< nothing is posted after `ended`
};

// The sink is called outside the lock: it may take its time, or log.
template <class How>
void runtime::shared::tell(How how) {
    if (!sink)
        return;
    retry::incident_log::lines lines;
    {
        const std::lock_guard lock(mutex);
        lines = how(incidents, clock->now());
        incidents_changed();
    }
    write(lines);
}

} // namespace holdfast
