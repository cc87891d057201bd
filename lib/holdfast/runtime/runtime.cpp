#include <holdfast/runtime/runtime.hpp>

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/context_bound.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <list>
#include <map>
#include <mutex>
#include <random>
#include <stdexcept>
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
    return wait_in(world_, waiting_, until);
}

net::awaitable<void> condition_variable::wait_in(runtime world, std::shared_ptr<waiters> all,
                                                 time_point until) {
    const auto me = all->emplace(all->end(), world.clock(), world.executor());
    // The place in the list goes with the coroutine's frame, also when that is destroyed while it waits.
    struct departure {
        waiters& all;
        waiters::iterator me;
        ~departure() { all.erase(me); }
    } const departure{*all, me};
    me->expires_at(until);
    co_await me->async_wait(net::as_tuple(net::use_awaitable));
    co_await throw_if_cancelled();
}

void condition_variable::notify_all() noexcept {
    for (auto& each : *waiting_)
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

// Those who wait may be on other strands: each is woken on its own, unless its context ends.
struct runtime::gate_waiter {
    explicit gate_waiter(const runtime& on) : home(on), alarm(home.clock(), home.executor()) {}

    void wake(const std::shared_ptr<gate_waiter>& self) const {
        home.post([self] { self->alarm.cancel(); });
    }

    runtime home;
    timer alarm;
    time_point until = time_point::max(); ///< of who writes the incidents; guarded by shared::mutex
};

// Guarded by shared::mutex.
struct runtime::shared_gate {
    explicit shared_gate(const endpoint& at) : where(at) {}

    void wake_all() const {
        for (const auto& each : waiting)
            each->wake(each);
    }

    const endpoint where;
    retry::gate gate;
    std::uint64_t wakes = 0;
    std::list<std::shared_ptr<gate_waiter>> waiting;
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
    std::map<endpoint, std::shared_ptr<shared_gate>> gates;
    std::size_t purge_at = 64; ///< so many gates
    retry::incident_log incidents;
    std::list<std::shared_ptr<gate_waiter>> writers; ///< the first writes the incidents
    retry::connect_limiter connects;
    retry::retry_budget retries;

    [[nodiscard]] std::shared_ptr<shared_gate> gate_at(const endpoint& where);

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

// --- the log

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
    const auto me = std::make_shared<gate_waiter>(self);
    // The place in the list goes with the coroutine's frame; who is then the first takes over.
    struct presence {
        shared& world;
        std::shared_ptr<gate_waiter> me;
        presence(shared& w, std::shared_ptr<gate_waiter> who) : world(w), me(std::move(who)) {
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

// --- metrics

void runtime::count(metric which, std::uint64_t n) noexcept {
    shared_->count(which, n);
}

void runtime::uncount(metric which, std::uint64_t n) noexcept {
    shared_->counts[static_cast<std::size_t>(which)].fetch_sub(n, std::memory_order_relaxed);
}

std::uint64_t runtime::value(metric which) const noexcept {
    return shared_->counts[static_cast<std::size_t>(which)].load(std::memory_order_relaxed);
}

// --- the world itself

runtime::runtime(net::any_io_executor executor, log_sink sink, shared_limits limits)
    : runtime(std::move(executor), make_system_clock(), make_tcp_network(), std::random_device()(),
              std::move(sink), limits) {}

runtime::runtime(net::any_io_executor executor, std::unique_ptr<holdfast::clock> time,
                 std::unique_ptr<holdfast::network> wires, std::uint64_t seed, log_sink sink,
                 shared_limits limits)
    : shared_(std::make_shared<shared>(limits)) {
    if (!executor || !time || !wires)
        throw std::logic_error("a runtime needs an executor, a clock and a network");
    shared_->clock = std::move(time);
    shared_->network = std::move(wires);
    shared_->sink = std::move(sink);
    // The services of timers are there before the strand's own: a context ends the latest first.
    timer(*shared_->clock, executor);
    strand_ = std::make_shared<strand>(std::move(executor), seed);
}

runtime::runtime(runtime& other, net::any_io_executor executor) : shared_(other.shared_) {
    timer(*shared_->clock, executor);
    strand_ = std::make_shared<strand>(std::move(executor), other.random());
}

runtime::runtime(const runtime&) = default;
runtime& runtime::operator=(const runtime&) = default;
runtime::~runtime() = default;

const net::any_io_executor& runtime::executor() const noexcept {
    return strand_->executor;
}

bool runtime::ended() const noexcept {
    return strand_->ended;
}

void runtime::post(std::function<void()> what) const {
    const std::lock_guard lock(strand_->mutex);
    if (!strand_->ended)
        net::post(strand_->executor, std::move(what));
}

std::uint64_t runtime::random() {
    return strand_->random();
}

holdfast::clock& runtime::clock() noexcept {
    return *shared_->clock;
}

holdfast::network& runtime::network() noexcept {
    return *shared_->network;
}

time_point runtime::now() const {
    return shared_->clock->now();
}

wall_time runtime::wall_now() const {
    return shared_->clock->wall_now();
}

net::awaitable<void> runtime::sleep_until(time_point when) {
    return sleep_in(*this, when);
}

net::awaitable<void> runtime::sleep_in(runtime self, time_point when) {
    timer rest(self.clock(), self.executor());
    rest.expires_at(when);
    co_await rest.async_wait(net::as_tuple(net::use_awaitable));
    co_await throw_if_cancelled();
}

// --- connecting and retrying

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

// --- the gate

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
