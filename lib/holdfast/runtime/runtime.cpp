#include <holdfast/runtime/runtime.hpp>

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/runtime_state.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <random>
#include <stdexcept>
#include <utility>

namespace holdfast {

namespace {

// A context destroys its latest service first: that of timers has to be there before the strand's own.
void make_timer_service(clock& time, const net::any_io_executor& executor) {
    [[maybe_unused]] const timer first(time, executor);
}

} // namespace

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
    make_timer_service(*shared_->clock, executor);
    strand_ = std::make_shared<strand>(std::move(executor), seed);
}

runtime::runtime(runtime& other, net::any_io_executor executor) : shared_(other.shared_) {
    make_timer_service(*shared_->clock, executor);
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

} // namespace holdfast
