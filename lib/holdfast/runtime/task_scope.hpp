// Structured concurrency: an owner for every coroutine that runs beside another.
#pragma once

#include <holdfast/runtime/condition_variable.hpp>

#include <boost/asio/cancellation_signal.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <list>
#include <memory>

namespace holdfast {

/// Owns the coroutines that it spawns: they end when cancelled, and join() waits for all.
///
/// A child that throws (anything but operation_aborted after a cancel) is reported to the handler, never
/// dropped. Thread safety: confined to the runtime's executor. Destroying a scope with children that run is a
/// misuse: join first (asserted). Children that are destroyed with their io_context have ended.
class task_scope {
public:
    using error_handler = std::function<void(std::exception_ptr)>;

    task_scope(const runtime& world, error_handler on_error);
    ~task_scope();
    task_scope(const task_scope&) = delete;
    task_scope& operator=(const task_scope&) = delete;

    /// Names one child; cancel(id) ends it alone.
    using id = std::uint64_t;

    /// Starts a child at the next turn of the executor. After cancel() nothing starts any more.
    id spawn(net::awaitable<void> child);

    void cancel(id child);
    /// Cancels all children, now and for ever. Idempotent.
    void cancel() noexcept;

    /// Waits until no child is left. Cancellation (terminal): operation_aborted, and the children run on: a
    /// root that was cancelled resets its cancellation state before it joins.
    [[nodiscard]] net::awaitable<void> join();

    [[nodiscard]] std::size_t size() const noexcept;

private:
    struct shared;
    std::shared_ptr<shared> shared_;
};

} // namespace holdfast
