// A queue between a producer that never waits and one coroutine that does. Asio 1.26's channels lose values
// when cancelled or closed; this one does not.
#pragma once

#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/one_at_a_time.hpp>

#include <deque>
#include <memory>
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
/// Thread safety: confined to the runtime's executor. Its destruction closes it.
template <class T, class Queue = fifo<T>>
class mailbox {
public:
    explicit mailbox(const runtime& world, Queue queue = {})
        : state_(std::make_shared<state>(world, std::move(queue))) {}
    ~mailbox() { close(); }
    mailbox(const mailbox&) = delete;
    mailbox& operator=(const mailbox&) = delete;

    /// Never waits. After close() it does nothing.
    void put(T item) {
        if (state_->closed)
            return;
        state_->queue.push(std::move(item));
        if (state_->changed.has_waiters())
            state_->changed.notify_all();
    }

    /// Nothing more comes; what is there can still be taken. Idempotent.
    void close() noexcept {
        state_->closed = true;
        state_->changed.notify_all();
    }

    /// The next item; nullopt when it is closed and empty. One call at a time: another one throws
    /// std::logic_error. Cancellation (terminal): operation_aborted; no item is lost.
    [[nodiscard]] net::awaitable<std::optional<T>> take() { return take_from(state_); }

    /// What is there without waiting.
    [[nodiscard]] std::optional<T> try_take() { return state_->queue.pop(); }

    [[nodiscard]] bool closed() const noexcept { return state_->closed; }
    [[nodiscard]] Queue& queue() noexcept { return state_->queue; }

private:
    struct state {
        state(const runtime& world, Queue q) : queue(std::move(q)), changed(world) {}

        Queue queue;
        condition_variable changed;
        bool closed = false;
        detail::one_at_a_time takers;
    };

    // The state outlives the mailbox, which may be destroyed while one waits.
    [[nodiscard]] static net::awaitable<std::optional<T>> take_from(std::shared_ptr<state> from) {
        const detail::one_at_a_time::call mine(from->takers, "another call waits for the next item already");
        for (;;) {
            if (auto item = from->queue.pop())
                co_return item;
            if (from->closed)
                co_return std::nullopt;
            co_await from->changed.wait();
        }
    }

    std::shared_ptr<state> state_;
};

} // namespace holdfast
