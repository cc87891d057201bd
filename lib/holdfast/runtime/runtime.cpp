#include <holdfast/runtime/runtime.hpp>

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/condition_variable.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
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

std::string_view to_string(log_level level) noexcept {
    switch (level) {
    case log_level::debug: return "debug";
    case log_level::info: return "info";
    case log_level::warn: return "warn";
    case log_level::error: return "error";
    }
    return "?";
}

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

struct runtime::attempt::shared_gate {
    explicit shared_gate(runtime& w) : world(w), changed(w) {}

    runtime& world;
    retry::gate gate;
    condition_variable changed;
};

runtime::runtime(net::any_io_executor executor, log_sink sink)
    : runtime(std::move(executor), make_system_clock(), make_tcp_network(), std::random_device()(),
              std::move(sink)) {}

runtime::runtime(net::any_io_executor executor, std::unique_ptr<holdfast::clock> time,
                 std::unique_ptr<holdfast::network> wires, std::uint64_t seed, log_sink sink)
    : executor_(std::move(executor)), clock_(std::move(time)), network_(std::move(wires)), random_(seed),
      sink_(std::move(sink)) {}

runtime::~runtime() = default;

net::awaitable<void> runtime::sleep_until(time_point when) {
    timer rest(*clock_, executor_);
    rest.expires_at(when);
    co_await rest.async_wait(net::as_tuple(net::use_awaitable));
    co_await throw_if_cancelled();
}

net::awaitable<runtime::attempt> runtime::pass_gate(endpoint where, retry::gate::kind who, time_point due,
                                                    bool held) {
    // Gates that nobody is at, and that have nothing to tell, are let go of.
    std::erase_if(gates_, [](const auto& each) { return each.second.use_count() == 1 && !each.second->gate.suspect(); });
    auto& shared = gates_[where];
    if (!shared)
        shared = std::make_shared<attempt::shared_gate>(*this);
    // The endpoint came back while this one's owner was busy: it need not wait for its old time.
    if (held && !shared->gate.suspect())
        due = std::min(due, now());
    attempt mine;
    mine.gate_ = shared;
    mine.ticket_ = shared->gate.enter(who, due, held);
    const auto gate = shared; // the map may grow meanwhile
    for (;;) {
        const auto answer = gate->gate.ask(mine.ticket_, now());
        using verdict = retry::gate::answer::verdict;
        if (answer.what == verdict::go)
            co_return mine;
        if (answer.what == verdict::ride) {
            mine.ridden_ = answer.result;
            co_return mine;
        }
        co_await gate->changed.wait(answer.until);
    }
}

void runtime::wake(const endpoint& where) {
    const auto found = gates_.find(where);
    if (found == gates_.end())
        return;
    found->second->gate.wake(now());
    found->second->changed.notify_all();
}

const retry::gate* runtime::gate_of(const endpoint& where) const noexcept {
    const auto found = gates_.find(where);
    return found == gates_.end() ? nullptr : &found->second->gate;
}

runtime::attempt::attempt(attempt&& other) noexcept
    : gate_(std::exchange(other.gate_, nullptr)), ticket_(other.ticket_), ridden_(std::move(other.ridden_)) {}

runtime::attempt& runtime::attempt::operator=(attempt&& other) noexcept {
    std::swap(gate_, other.gate_);
    std::swap(ticket_, other.ticket_);
    std::swap(ridden_, other.ridden_);
    return *this;
}

runtime::attempt::~attempt() {
    if (!gate_)
        return;
    const auto before = gate_->gate.version();
    gate_->gate.leave(ticket_);
    if (gate_->gate.version() != before)
        gate_->changed.notify_all();
}

void runtime::attempt::succeeded() {
    if (const auto gate = std::exchange(gate_, nullptr)) {
        gate->gate.succeeded(ticket_, gate->world.now());
        gate->changed.notify_all();
    }
}

void runtime::attempt::failed(const failure& f) {
    if (const auto gate = std::exchange(gate_, nullptr)) {
        gate->gate.failed(ticket_, f, gate->world.now());
        gate->changed.notify_all();
    }
}

} // namespace holdfast
