// Clocks and timers, real or virtual, behind one interface.
#pragma once

#include <holdfast/time.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/system/error_code.hpp>

#include <memory>

namespace holdfast {

namespace net = boost::asio;

/// One timer. Thread safety: distinct objects safe, shared objects unsafe.
class timer_base {
public:
    virtual ~timer_base() = default;
    /// Sets the expiry; a pending wait completes with operation_aborted.
    virtual void expires_at(time_point when) = 0;
    /// Completes a pending wait with operation_aborted.
    virtual void cancel() noexcept = 0;
    /// Completes at the expiry, through the handler's executor, never inline. One wait at a time.
    /// Per-operation cancellation: terminal, partial and total.
    virtual void async_wait(net::any_completion_handler<void(boost::system::error_code)> handler) = 0;
};

/// Where time comes from. Thread safety: now() and wall_now() may be called from any thread on the real
/// clock; a virtual clock belongs to its one thread.
class clock {
public:
    virtual ~clock() = default;
    [[nodiscard]] virtual time_point now() const = 0;
    [[nodiscard]] virtual wall_time wall_now() const = 0;
    [[nodiscard]] virtual std::unique_ptr<timer_base> make_timer(net::any_io_executor executor) = 0;
};

/// A timer with awaitable waits.
class timer {
public:
    timer(clock& source, net::any_io_executor executor) : impl_(source.make_timer(std::move(executor))) {}

    void expires_at(time_point when) { impl_->expires_at(when); }
    void cancel() noexcept { impl_->cancel(); }

    /// Initiating function: completes with `void(error_code)`.
    template <class CompletionToken>
    auto async_wait(CompletionToken&& token) {
        return net::async_initiate<CompletionToken, void(boost::system::error_code)>(
            [impl = impl_.get()](auto handler) { impl->async_wait(std::move(handler)); }, token);
    }

private:
    std::unique_ptr<timer_base> impl_;
};

/// The system's steady and wall clock, with Asio's timers.
[[nodiscard]] std::unique_ptr<clock> make_system_clock();

} // namespace holdfast
