#include <holdfast/runtime/runtime.hpp>

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/runtime_state.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace holdfast {

// Gates that nobody is at, and that have nothing to tell, are let go of; not each time, as there may be many.
std::shared_ptr<runtime::shared_breaker> runtime::shared::breaker_at(const endpoint& where) {
    if (breakers.size() >= purge_at) {
        std::erase_if(breakers, [](const auto& each) {
            return each.second.use_count() == 1 && !each.second->breaker.is_open();
        });
        purge_at = std::max<std::size_t>(64, 2 * breakers.size());
    }
    auto& found = breakers[where];
    if (!found)
        found = std::make_shared<shared_breaker>(where);
    return found;
}

net::awaitable<runtime::attempt> runtime::begin_attempt(endpoint where, retry::endpoint_breaker::kind who,
                                                        time_point due, bool held) {
    return begin_attempt_in(*this, std::move(where), who, due, held);
}

net::awaitable<runtime::attempt> runtime::begin_attempt_in(runtime self, endpoint where,
                                                           retry::endpoint_breaker::kind who, time_point due,
                                                           bool held) {
    const auto world = self.shared_;
    const auto me = std::make_shared<waiter>(self);
    attempt mine;
    mine.world_ = world;
    std::uint64_t wakes = 0;
    {
        const std::lock_guard lock(world->mutex);
        mine.breaker_ = world->breaker_at(where);
        // The endpoint came back while this one's owner was busy: it need not wait for its old time.
        if (held && !mine.breaker_->breaker.is_open())
            due = std::min(due, self.now());
        mine.ticket_ = mine.breaker_->breaker.enter(who, due, held);
        mine.breaker_->waiting.push_back(me);
        wakes = mine.breaker_->wakes;
    }
    // The place in the list goes with the coroutine's frame, also when that is destroyed while it waits.
    struct departure {
        shared& world;
        std::shared_ptr<shared_breaker> breaker;
        std::shared_ptr<waiter> me;
        ~departure() {
            const std::lock_guard lock(world.mutex);
            breaker->waiting.remove(me);
        }
    } const departure{*world, mine.breaker_, me};
    co_await wait_for_breaker(self, mine, me);
    if (!mine.shared_failure_)
        co_await wait_to_connect(self, mine, me);
    if (mine.shared_failure_)
        world->count(metric::shared_failures);
    const std::lock_guard lock(world->mutex);
    mine.woken_ = mine.breaker_->wakes != wakes;
    co_return mine;
}

net::awaitable<void> runtime::wait_for_breaker(runtime self, attempt& mine, std::shared_ptr<waiter> me) {
    for (;;) {
        using verdict = retry::endpoint_breaker::answer::verdict;
        retry::endpoint_breaker::answer answer;
        {
            const std::lock_guard lock(self.shared_->mutex);
            answer = mine.breaker_->breaker.ask(mine.ticket_, self.now());
            mine.is_probe_ = mine.breaker_->breaker.is_open();
        }
        if (answer.kind == verdict::shared_failure)
            mine.shared_failure_ = std::move(answer.result);
        if (answer.kind != verdict::wait)
            co_return;
        me->alarm.expires_at(answer.until);
        co_await me->alarm.async_wait(net::as_tuple(net::use_awaitable));
        co_await throw_if_cancelled();
    }
}

// A place among all who connect; given back unless used.
struct runtime::connect_place {
    explicit connect_place(shared& w) : world(w) {
        const std::lock_guard lock(world.mutex);
        reserved = world.connects.reserve(world.clock->now());
    }
    ~connect_place() {
        if (used)
            return;
        const std::lock_guard lock(world.mutex);
        world.connects.give_back(reserved);
    }

    shared& world;
    retry::connect_limiter::reservation reserved;
    bool used = false;
};

net::awaitable<void> runtime::wait_to_connect(runtime self, attempt& mine, std::shared_ptr<waiter> me) {
    connect_place place(*self.shared_);
    for (bool waited = false;; waited = true) {
        auto ready = time_point::max();
        {
            const std::lock_guard lock(self.shared_->mutex);
            auto& breaker = mine.breaker_->breaker;
            // Another's attempt failed while this one waited: it would only meet the same.
            if (breaker.is_open() && !mine.is_probe_) {
                mine.shared_failure_ = breaker.last_failure();
                breaker.leave(mine.ticket_);
                co_return;
            }
            ready = self.shared_->connects.ready_at(place.reserved, self.now());
            place.used = ready <= self.now();
        }
        if (place.used)
            co_return;
        if (!waited)
            self.shared_->count(metric::connect_waits);
        me->alarm.expires_at(ready);
        co_await me->alarm.async_wait(net::as_tuple(net::use_awaitable));
        co_await throw_if_cancelled();
    }
}

void runtime::wake(const endpoint& where) {
    const std::lock_guard lock(shared_->mutex);
    const auto found = shared_->breakers.find(where);
    if (found == shared_->breakers.end())
        return;
    found->second->breaker.wake(now());
    ++found->second->wakes;
    found->second->wake_all();
}

namespace {

runtime::breaker_state state_of(const retry::endpoint_breaker& breaker) {
    runtime::breaker_state state;
    state.open = breaker.is_open();
    state.probing = breaker.probing();
    state.waiting = breaker.waiting();
    state.since = breaker.since();
    state.last = breaker.last_failure();
    state.last_at = breaker.last_failed_at();
    return state;
}

} // namespace

std::optional<runtime::breaker_state> runtime::breaker_of(const endpoint& where) const {
    const std::lock_guard lock(shared_->mutex);
    const auto found = shared_->breakers.find(where);
    if (found == shared_->breakers.end())
        return std::nullopt;
    return state_of(found->second->breaker);
}

std::vector<std::pair<endpoint, runtime::breaker_state>> runtime::breakers() const {
    std::vector<std::pair<endpoint, breaker_state>> all;
    const std::lock_guard lock(shared_->mutex);
    for (const auto& [where, each] : shared_->breakers)
        all.emplace_back(where, state_of(each->breaker));
    return all;
}

runtime::attempt::attempt(attempt&& other) noexcept
    : world_(std::move(other.world_)), breaker_(std::exchange(other.breaker_, nullptr)),
      ticket_(other.ticket_), is_probe_(other.is_probe_), woken_(other.woken_),
      shared_failure_(std::move(other.shared_failure_)) {}

runtime::attempt& runtime::attempt::operator=(attempt&& other) noexcept {
    std::swap(world_, other.world_);
    std::swap(breaker_, other.breaker_);
    std::swap(ticket_, other.ticket_);
    std::swap(is_probe_, other.is_probe_);
    std::swap(woken_, other.woken_);
    std::swap(shared_failure_, other.shared_failure_);
    return *this;
}

runtime::attempt::~attempt() {
    end(false, [](retry::endpoint_breaker& breaker, retry::endpoint_breaker::ticket mine, time_point) {
        breaker.leave(mine);
    });
}

void runtime::attempt::succeeded() {
    end(true, [](retry::endpoint_breaker& breaker, retry::endpoint_breaker::ticket mine, time_point now) {
        breaker.succeeded(mine, now);
    });
}

void runtime::attempt::failed(const failure& f) {
    end(retry::shows_endpoint_alive(f),
        [&](retry::endpoint_breaker& breaker, retry::endpoint_breaker::ticket mine, time_point now) {
            breaker.failed(mine, f, now);
        });
}

template <class How>
void runtime::attempt::end(bool answered, How how) {
    if (!breaker_)
        return;
    const auto breaker = std::exchange(breaker_, nullptr);
    {
        const std::lock_guard lock(world_->mutex);
        const auto before = breaker->breaker.version();
        const bool was_open = breaker->breaker.is_open();
        how(breaker->breaker, ticket_, world_->clock->now());
        // At a breaker that is closed and stays so nobody waits for another: a thousand who connect must not
        // wake each other a thousand times.
        if (breaker->breaker.version() != before && (was_open || breaker->breaker.is_open()))
            breaker->wake_all();
    }
    if (!answered || !world_->in_trouble.load(std::memory_order_relaxed))
        return;
    world_->tell(
        [&](auto& incidents, time_point now) { return incidents.reached(to_string(breaker->where), now); });
}

} // namespace holdfast
