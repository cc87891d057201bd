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
std::shared_ptr<runtime::shared_gate> runtime::shared::gate_at(const endpoint& where) {
    if (gates.size() >= purge_at) {
        std::erase_if(gates, [](const auto& each) {
            return each.second.use_count() == 1 && !each.second->gate.suspect();
        });
        purge_at = std::max<std::size_t>(64, 2 * gates.size());
    }
    auto& found = gates[where];
    if (!found)
        found = std::make_shared<shared_gate>(where);
    return found;
}

net::awaitable<runtime::attempt> runtime::pass_gate(endpoint where, retry::gate::kind who, time_point due,
                                                    bool held) {
    return pass_gate_of(*this, std::move(where), who, due, held);
}

net::awaitable<runtime::attempt> runtime::pass_gate_of(runtime self, endpoint where, retry::gate::kind who,
                                                       time_point due, bool held) {
    const auto world = self.shared_;
    const auto me = std::make_shared<gate_waiter>(self);
    attempt mine;
    mine.world_ = world;
    std::uint64_t wakes = 0;
    {
        const std::lock_guard lock(world->mutex);
        mine.gate_ = world->gate_at(where);
        // The endpoint came back while this one's owner was busy: it need not wait for its old time.
        if (held && !mine.gate_->gate.suspect())
            due = std::min(due, self.now());
        mine.ticket_ = mine.gate_->gate.enter(who, due, held);
        mine.gate_->waiting.push_back(me);
        wakes = mine.gate_->wakes;
    }
    // The place in the list goes with the coroutine's frame, also when that is destroyed while it waits.
    struct departure {
        shared& world;
        std::shared_ptr<shared_gate> gate;
        std::shared_ptr<gate_waiter> me;
        ~departure() {
            const std::lock_guard lock(world.mutex);
            gate->waiting.remove(me);
        }
    } const departure{*world, mine.gate_, me};
    co_await wait_at_gate(self, mine, me);
    if (!mine.ridden_)
        co_await wait_to_connect(self, mine, me);
    if (mine.ridden_)
        world->count(metric::gate_rides);
    const std::lock_guard lock(world->mutex);
    mine.woken_ = mine.gate_->wakes != wakes;
    co_return mine;
}

net::awaitable<void> runtime::wait_at_gate(runtime self, attempt& mine, std::shared_ptr<gate_waiter> me) {
    for (;;) {
        using verdict = retry::gate::answer::verdict;
        retry::gate::answer answer;
        {
            const std::lock_guard lock(self.shared_->mutex);
            answer = mine.gate_->gate.ask(mine.ticket_, self.now());
            mine.is_probe_ = mine.gate_->gate.suspect();
        }
        if (answer.what == verdict::ride)
            mine.ridden_ = std::move(answer.result);
        if (answer.what != verdict::wait)
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

net::awaitable<void> runtime::wait_to_connect(runtime self, attempt& mine, std::shared_ptr<gate_waiter> me) {
    connect_place place(*self.shared_);
    for (bool waited = false;; waited = true) {
        auto ready = time_point::max();
        {
            const std::lock_guard lock(self.shared_->mutex);
            auto& gate = mine.gate_->gate;
            // Another's attempt failed while this one waited: it would only meet the same.
            if (gate.suspect() && !mine.is_probe_) {
                mine.ridden_ = gate.last_failure();
                gate.leave(mine.ticket_);
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
    const auto found = shared_->gates.find(where);
    if (found == shared_->gates.end())
        return;
    found->second->gate.wake(now());
    ++found->second->wakes;
    found->second->wake_all();
}

namespace {

runtime::gate_state state_of(const retry::gate& gate) {
    runtime::gate_state state;
    state.suspect = gate.suspect();
    state.probing = gate.probing();
    state.waiting = gate.waiting();
    state.since = gate.since();
    state.last = gate.last_failure();
    state.last_at = gate.last_failed_at();
    return state;
}

} // namespace

std::optional<runtime::gate_state> runtime::gate_of(const endpoint& where) const {
    const std::lock_guard lock(shared_->mutex);
    const auto found = shared_->gates.find(where);
    if (found == shared_->gates.end())
        return std::nullopt;
    return state_of(found->second->gate);
}

std::vector<std::pair<endpoint, runtime::gate_state>> runtime::gates() const {
    std::vector<std::pair<endpoint, gate_state>> all;
    const std::lock_guard lock(shared_->mutex);
    for (const auto& [where, each] : shared_->gates)
        all.emplace_back(where, state_of(each->gate));
    return all;
}

runtime::attempt::attempt(attempt&& other) noexcept
    : world_(std::move(other.world_)), gate_(std::exchange(other.gate_, nullptr)), ticket_(other.ticket_),
      is_probe_(other.is_probe_), woken_(other.woken_), ridden_(std::move(other.ridden_)) {}

runtime::attempt& runtime::attempt::operator=(attempt&& other) noexcept {
    std::swap(world_, other.world_);
    std::swap(gate_, other.gate_);
    std::swap(ticket_, other.ticket_);
    std::swap(is_probe_, other.is_probe_);
    std::swap(woken_, other.woken_);
    std::swap(ridden_, other.ridden_);
    return *this;
}

runtime::attempt::~attempt() {
    end(false, [](retry::gate& gate, retry::gate::ticket mine, time_point) { gate.leave(mine); });
}

void runtime::attempt::succeeded() {
    end(true, [](retry::gate& gate, retry::gate::ticket mine, time_point now) { gate.succeeded(mine, now); });
}

void runtime::attempt::failed(const failure& f) {
    end(retry::shows_endpoint_alive(f),
        [&](retry::gate& gate, retry::gate::ticket mine, time_point now) { gate.failed(mine, f, now); });
}

template <class How>
void runtime::attempt::end(bool answered, How how) {
    if (!gate_)
        return;
    const auto gate = std::exchange(gate_, nullptr);
    {
        const std::lock_guard lock(world_->mutex);
        const auto before = gate->gate.version();
        const bool was_suspect = gate->gate.suspect();
        how(gate->gate, ticket_, world_->clock->now());
        // At a gate that is clear and stays so nobody waits for another: a thousand who connect must not wake
        // each other a thousand times.
        if (gate->gate.version() != before && (was_suspect || gate->gate.suspect()))
            gate->wake_all();
    }
    if (!answered || !world_->in_trouble.load(std::memory_order_relaxed))
        return;
    world_->tell(
        [&](auto& incidents, time_point now) { return incidents.reached(to_string(gate->where), now); });
}

} // namespace holdfast
