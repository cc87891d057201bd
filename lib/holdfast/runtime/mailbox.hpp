// A queue between a producer that never waits and one coroutine that does. Asio 1.26's channels lose values when
// cancelled or closed; this one does not.
#pragma once

#include <holdfast/runtime/condition_variable.hpp>

#include <deque>
#include <optional>
#include <utility>

namespace holdfast {

/// First in, first out, without a bound.
template <class T>
class fifo {
public:
    void push(T item) { items_.push_back(std::move(item)); }
    [[nodiscard]] std::optional<T> pop() {
        if (items_.empty())
            return std::nullopt;
        std::optional<T> first(std::move(items_.front()));
        items_.pop_front();
        return first;
    }

private:
    std::deque<T> items_;
};

/// `Queue` decides what is kept: push(T), and pop() as optional<T>.
///
/// Thread safety: confined to the runtime's executor. Must outlive its taker.
template <class T, class Queue = fifo<T>>
class mailbox {
public:
    explicit mailbox(runtime& world, Queue queue = {}) : queue_(std::move(queue)), changed_(world) {}

    /// Never waits. After close() it does nothing.
    void put(T item) {
        if (closed_)
            return;
        queue_.push(std::move(item));
        if (changed_.has_waiters())
            changed_.notify_all();
    }

    /// Nothing more comes; what is there can still be taken. Idempotent.
    void close() noexcept {
        closed_ = true;
        changed_.notify_all();
    }

    /// The next item; nullopt when it is closed and empty. One call at a time.
    /// Cancellation (terminal): operation_aborted; no item is lost.
    [[nodiscard]] net::awaitable<std::optional<T>> take() {
        for (;;) {
            if (auto item = queue_.pop())
                co_return item;
            if (closed_)
                co_return std::nullopt;
            co_await changed_.wait();
        }
    }

    /// What is there without waiting.
    [[nodiscard]] std::optional<T> try_take() { return queue_.pop(); }

    [[nodiscard]] bool closed() const noexcept { return closed_; }
    [[nodiscard]] Queue& queue() noexcept { return queue_; }

private:
    Queue queue_;
    condition_variable changed_;
    bool closed_ = false;
};

} // namespace holdfast
