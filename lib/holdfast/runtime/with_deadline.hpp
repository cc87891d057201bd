// An operation that must be done by a moment.
#pragma once

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/runtime.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <optional>

namespace holdfast {

namespace detail {

// Asio 1.26 ends the process when a spawned coroutine is cancelled before its first suspension and then
// finishes without one: suspend first.
template <class T>
net::awaitable<T> suspended_first(net::awaitable<T> op) {
    co_await net::post(co_await net::this_coro::executor, net::use_awaitable);
    co_return co_await std::move(op);
}

inline net::awaitable<bool> then_true(net::awaitable<void> op) {
    co_await std::move(op);
    co_return true;
}

} // namespace detail

/// The result of `op`, or nullopt when `limit` expired or was cancelled first: `op` is then cancelled, and
/// has ended when this returns. A result that came in the same turn is not lost. Throws what `op` throws. T
/// must be default constructible. Cancellation (terminal): cancels `op`, throws operation_aborted. `limit`
/// must outlive the call.
template <class T>
[[nodiscard]] net::awaitable<std::optional<T>> until_timer(timer& limit, net::awaitable<T> op) {
    const auto executor = co_await net::this_coro::executor;
    auto root = detail::suspended_first<T>(std::move(op));
    auto group = net::experimental::make_parallel_group(
        net::co_spawn(executor, std::move(root), net::deferred), limit.async_wait(net::deferred));
    auto done = co_await group.async_wait(net::experimental::wait_for_one(), net::use_awaitable);
    co_await throw_if_cancelled();
    const bool in_time = std::get<0>(done)[0] == 0;
    const std::exception_ptr thrown = std::get<1>(done);
    if (!in_time && detail::is_abort(thrown))
        co_return std::nullopt;
    if (thrown)
        std::rethrow_exception(thrown);
    co_return std::optional<T>(std::move(std::get<2>(done)));
}

/// The result of `op`, or nullopt when `deadline` came first. Else as until_timer().
template <class T>
[[nodiscard]] net::awaitable<std::optional<T>> with_deadline(runtime world, time_point deadline,
                                                             net::awaitable<T> op) {
    timer limit(world.clock(), co_await net::this_coro::executor);
    limit.expires_at(deadline);
    co_return co_await until_timer<T>(limit, std::move(op));
}

/// Whether `op` was done by `deadline`. Else as above.
[[nodiscard]] inline net::awaitable<bool> with_deadline(runtime world, time_point deadline,
                                                        net::awaitable<void> op) {
    const auto done = co_await with_deadline<bool>(world, deadline, detail::then_true(std::move(op)));
    co_return done.has_value();
}

} // namespace holdfast
