#include <holdfast/runtime/runtime.hpp>

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/condition_variable.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <list>
#include <utility>

namespace holdfast {

// --- cancellation.hpp

net::awaitable<void> throw_if_cancelled() {
    // Named first: g++ 12 miscompiles a member of what is awaited inside a condition.
    const auto state = co_await net::this_coro::cancellation_state;
    if (state.cancelled() != net::cancellation_type::none)
        throw boost::system::system_error(net::error::operation_aborted);
}

bool detail::is_abort(const std::exception_ptr& thrown) noexcept {
    if (!thrown)
        return false;
    try {
        std::rethrow_exception(thrown);
    } catch (const boost::system::system_error& e) {
        return e.code() == net::error::operation_aborted;
    } catch (...) {
        return false;
    }
}

// --- condition_variable.hpp

net::awaitable<void> condition_variable::wait(time_point until) {
    const auto me = waiting_.emplace(waiting_.end(), world_.clock(), world_.executor());
    // The place in the list goes with the coroutine's frame, also when that is destroyed while it waits.
    struct departure {
        std::list<timer>& all;
        std::list<timer>::iterator me;
        ~departure() { all.erase(me); }
    } const departure{waiting_, me};
    me->expires_at(until);
    co_await me->async_wait(net::as_tuple(net::use_awaitable));
    co_await throw_if_cancelled();
}

void condition_variable::notify_all() noexcept {
    for (auto& each : waiting_)
        each.cancel();
}

// --- log.hpp

std::string what_of(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "not a std::exception";
    }
}

// --- runtime.hpp

// Guarded by shared::mutex. Those who wait may be on other strands: each is woken on its own.
struct runtime::shared_gate {
    struct waiter {
        waiter(holdfast::clock& time, net::any_io_executor on) : executor(on), alarm(time, std::move(on)) {}
        net::any_io_executor executor;
        timer alarm;
    };

    retry::gate gate;
    std::list<std::shared_ptr<waiter>> waiting;

    void wake_all() const {
        for (const auto& each : waiting)
            net::post(each->executor, [each] { each->alarm.cancel(); });
    }
};

// Gates that nobody is at, and that have nothing to tell, are let go of.
std::shared_ptr<runtime::shared_gate> runtime::shared::gate_at(const endpoint& where) {
    std::erase_if(gates, [](const auto& each) { return each.second.use_count() == 1 && !each.second->gate.suspect(); });
    auto& found = gates[where];
    if (!found)
        found = std::make_shared<shared_gate>();
    return found;
}

runtime::runtime(net::any_io_executor executor, log_sink sink)
    : runtime(std::move(executor), make_system_clock(), make_tcp_network(), std::random_device()(),
              std::move(sink)) {}

runtime::runtime(net::any_io_executor executor, std::unique_ptr<holdfast::clock> time,
                 std::unique_ptr<holdfast::network> wires, std::uint64_t seed, log_sink sink)
    : executor_(std::move(executor)), shared_(std::make_shared<shared>()), random_(seed) {
    shared_->clock = std::move(time);
    shared_->network = std::move(wires);
    shared_->sink = std::move(sink);
}

runtime::runtime(runtime& other, net::any_io_executor executor)
    : executor_(std::move(executor)), shared_(other.shared_), random_(other.random()) {}

runtime::~runtime() = default;

net::awaitable<void> runtime::sleep_until(time_point when) {
    timer rest(*shared_->clock, executor_);
    rest.expires_at(when);
    co_await rest.async_wait(net::as_tuple(net::use_awaitable));
    co_await throw_if_cancelled();
}

net::awaitable<runtime::attempt> runtime::pass_gate(endpoint where, retry::gate::kind who, time_point due,
                                                    bool held) {
    const auto world = shared_;
    const auto me = std::make_shared<shared_gate::waiter>(*world->clock, executor_);
    attempt mine;
    mine.world_ = world;
    {
        const std::lock_guard lock(world->mutex);
        mine.gate_ = world->gate_at(where);
        // The endpoint came back while this one's owner was busy: it need not wait for its old time.
        if (held && !mine.gate_->gate.suspect())
            due = std::min(due, now());
        mine.ticket_ = mine.gate_->gate.enter(who, due, held);
        mine.gate_->waiting.push_back(me);
    }
    // The place in the list goes with the coroutine's frame, also when that is destroyed while it waits.
    struct departure {
        shared& world;
        std::shared_ptr<shared_gate> gate;
        std::shared_ptr<shared_gate::waiter> me;
        ~departure() {
            const std::lock_guard lock(world.mutex);
            gate->waiting.remove(me);
        }
    } const departure{*world, mine.gate_, me};
    for (;;) {
        using verdict = retry::gate::answer::verdict;
        auto answer = ask(mine);
        if (answer.what == verdict::ride)
            mine.ridden_ = std::move(answer.result);
        if (answer.what != verdict::wait)
            co_return mine;
        me->alarm.expires_at(answer.until);
        co_await me->alarm.async_wait(net::as_tuple(net::use_awaitable));
        co_await throw_if_cancelled();
    }
}

retry::gate::answer runtime::ask(const attempt& mine) const {
    const std::lock_guard lock(shared_->mutex);
    return mine.gate_->gate.ask(mine.ticket_, now());
}

void runtime::wake(const endpoint& where) {
    const std::lock_guard lock(shared_->mutex);
    const auto found = shared_->gates.find(where);
    if (found == shared_->gates.end())
        return;
    found->second->gate.wake(now());
    found->second->wake_all();
}

std::optional<runtime::gate_state> runtime::gate_of(const endpoint& where) const {
    const std::lock_guard lock(shared_->mutex);
    const auto found = shared_->gates.find(where);
    if (found == shared_->gates.end())
        return std::nullopt;
    const auto& gate = found->second->gate;
    gate_state state;
    state.suspect = gate.suspect();
    state.probing = gate.probing();
    state.waiting = gate.waiting();
    state.since = gate.since();
    state.last = gate.last_failure();
    return state;
}

runtime::attempt::attempt(attempt&& other) noexcept
    : world_(std::move(other.world_)), gate_(std::exchange(other.gate_, nullptr)), ticket_(other.ticket_),
      ridden_(std::move(other.ridden_)) {}

runtime::attempt& runtime::attempt::operator=(attempt&& other) noexcept {
    std::swap(world_, other.world_);
    std::swap(gate_, other.gate_);
    std::swap(ticket_, other.ticket_);
    std::swap(ridden_, other.ridden_);
    return *this;
}

runtime::attempt::~attempt() {
    end([](retry::gate& gate, retry::gate::ticket mine, time_point) { gate.leave(mine); });
}

void runtime::attempt::succeeded() {
    end([](retry::gate& gate, retry::gate::ticket mine, time_point now) { gate.succeeded(mine, now); });
}

void runtime::attempt::failed(const failure& f) {
    end([&](retry::gate& gate, retry::gate::ticket mine, time_point now) { gate.failed(mine, f, now); });
}

template <class How>
void runtime::attempt::end(How how) {
    if (!gate_)
        return;
    const std::lock_guard lock(world_->mutex);
    const auto gate = std::exchange(gate_, nullptr);
    const auto before = gate->gate.version();
    how(gate->gate, ticket_, world_->clock->now());
    if (gate->gate.version() != before)
        gate->wake_all();
}

} // namespace holdfast
