// Cancellation as the library uses it: terminal only, always surfacing as the exception operation_aborted.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <utility>

namespace holdfast {

namespace net = boost::asio;

/// Throws operation_aborted when the current coroutine was cancelled. For use right after a wait whose own
/// result does not tell.
[[nodiscard]] net::awaitable<void> throw_if_cancelled();

namespace detail {

/// True for operation_aborted.
[[nodiscard]] bool is_abort(const std::exception_ptr& thrown) noexcept;

} // namespace detail

/// A latched request to stop, with many listeners: what turns one request into many slot emissions. Unlike a
/// cancellation_signal it is not an edge: who registers late is told at once.
///
/// Thread safety: confined to its executor. Listeners are called inside request(), and must not throw.
class abort_source {
    using listeners = std::map<std::uint64_t, std::function<void()>>;

public:
    /// Keeps its listener registered for as long as it lives.
    class registration {
    public:
        registration() = default;
        registration(registration&& other) noexcept
            : source_(std::exchange(other.source_, {})), id_(other.id_) {}
        registration& operator=(registration&& other) noexcept {
            release();
            source_ = std::exchange(other.source_, {});
            id_ = other.id_;
            return *this;
        }
        ~registration() { release(); }

        void release() noexcept {
            if (const auto alive = source_.lock())
                alive->erase(id_);
            source_.reset();
        }

    private:
        friend class abort_source;
        std::weak_ptr<listeners> source_;
        std::uint64_t id_ = 0;
    };

    [[nodiscard]] bool requested() const noexcept { return requested_; }

    /// Calls every listener once. Idempotent.
    void request() {
        if (std::exchange(requested_, true))
            return;
        const auto alive = listeners_;
        while (!alive->empty()) {
            const auto listener = alive->extract(alive->begin());
            listener.mapped()();
        }
    }

    /// Registers `listener`, or calls it at once when the request was already made.
    [[nodiscard]] registration on_request(std::function<void()> listener) {
        registration r;
        if (requested_) {
            listener();
            return r;
        }
        r.id_ = next_++;
        r.source_ = listeners_;
        listeners_->emplace(r.id_, std::move(listener));
        return r;
    }

private:
    bool requested_ = false;
    std::uint64_t next_ = 1;
    std::shared_ptr<listeners> listeners_ = std::make_shared<listeners>();
};

} // namespace holdfast
