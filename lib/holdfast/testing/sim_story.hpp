// Time and stories of the simulated server: a list of what happens when, and coroutines that wait in it.
// Single threaded, without I/O; destroying a story takes everything it waits for out of the list.
// Not for users.
#pragma once

#include <holdfast/time.hpp>

#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <utility>

namespace holdfast::testing::detail {

/// What happens when. Entries of the same moment run in the order in which they were added.
class timeline {
public:
    using key = std::pair<time_point, std::uint64_t>;

    [[nodiscard]] time_point now() const { return now_; }
    void now(time_point t) { now_ = t; }

    key at(time_point when, std::function<void()> what) {
        const key k{when < now_ ? now_ : when, ++count_};
        entries_.emplace(k, std::move(what));
        return k;
    }
    key after(duration d, std::function<void()> what) { return at(later(now_, d), std::move(what)); }
    void cancel(const key& k) { entries_.erase(k); }
    void clear() { entries_.clear(); }

    [[nodiscard]] std::optional<time_point> next() const {
        if (entries_.empty())
            return std::nullopt;
        return entries_.begin()->first.first;
    }

    /// Runs the first entry, at its own time.
    void run_one() {
        auto first = entries_.extract(entries_.begin());
        if (first.key().first > now_)
            now_ = first.key().first;
        first.mapped()();
    }

private:
    std::map<key, std::function<void()>> entries_;
    time_point now_{};
    std::uint64_t count_ = 0;
};

/// A coroutine that begins when it is started or awaited, and is destroyed with its object wherever it waits.
class story {
public:
    struct promise_type;
    using handle = std::coroutine_handle<promise_type>;

    struct hand_back {
        bool await_ready() const noexcept { return false; }
        std::coroutine_handle<> await_suspend(handle h) const noexcept;
        void await_resume() const noexcept {}
    };

    struct promise_type {
        std::coroutine_handle<> caller;
        std::exception_ptr thrown;

        story get_return_object() { return story(handle::from_promise(*this)); }
        std::suspend_always initial_suspend() noexcept { return {}; }
        hand_back final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() {
            if (!caller)
                throw;
            thrown = std::current_exception();
        }
    };

    story() = default;
    story(story&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    story& operator=(story&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~story() {
        if (handle_)
            handle_.destroy();
    }

    /// Runs it to its first wait. For the outermost story; others are awaited.
    void start() { handle_.resume(); }

    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
        handle_.promise().caller = caller;
        return handle_;
    }
    void await_resume() {
        if (handle_.promise().thrown)
            std::rethrow_exception(handle_.promise().thrown);
    }

private:
    explicit story(handle h) : handle_(h) {}

    handle handle_;
};

inline std::coroutine_handle<> story::hand_back::await_suspend(handle h) const noexcept {
    if (h.promise().caller)
        return h.promise().caller;
    return std::noop_coroutine();
}

/// co_await pause(line, d): waits in the list.
class pause {
public:
    pause(timeline& line, duration d) : line_(line), length_(d) {}
    pause(const pause&) = delete;
    pause& operator=(const pause&) = delete;
    ~pause() {
        if (entry_)
            line_.cancel(*entry_);
    }

    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) {
        entry_ = line_.after(length_, [this, h] {
            entry_.reset();
            h.resume();
        });
    }
    void await_resume() const noexcept {}

private:
    timeline& line_;
    duration length_;
    std::optional<timeline::key> entry_;
};

/// A place where one story waits until somebody opens it. Opening resumes through the list, never inline.
class gate {
public:
    explicit gate(timeline& line) : line_(&line) {}
    gate(const gate&) = delete;
    gate& operator=(const gate&) = delete;
    ~gate() {
        if (entry_)
            line_->cancel(*entry_);
    }

    void open() {
        if (open_)
            return;
        open_ = true;
        if (waiting_)
            entry_ = line_->after(duration::zero(), [this] {
                entry_.reset();
                waiting_.resume();
            });
    }

    bool await_ready() const noexcept { return open_; }
    void await_suspend(std::coroutine_handle<> h) { waiting_ = h; }
    void await_resume() const noexcept {}

private:
    timeline* line_;
    std::coroutine_handle<> waiting_;
    std::optional<timeline::key> entry_;
    bool open_ = false;
};

} // namespace holdfast::testing::detail
