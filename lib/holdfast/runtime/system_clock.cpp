#include <holdfast/runtime/clock.hpp>

#include <holdfast/runtime/context_bound.hpp>

#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <stdexcept>
#include <utility>

namespace holdfast {
namespace {

class system_timer final : public timer_base, detail::context_bound {
public:
    // The timer's service is there before that of what is bound: a context ends the latest first.
    explicit system_timer(const net::any_io_executor& executor) : system_timer(executor, made_on(executor)) {}
    ~system_timer() override { leave(); }

    void expires_at(time_point when) override {
        if (timer_)
            timer_->expires_at(when);
    }

    void cancel() noexcept override {
        try {
            if (timer_)
                timer_->cancel();
        } catch (const boost::system::system_error&) { // NOLINT(bugprone-empty-catch)
            // The reactor refuses: then the wait ends by its time.
        }
    }

    void async_wait(net::any_completion_handler<void(boost::system::error_code)> handler) override {
        if (timer_)
            timer_->async_wait(std::move(handler));
    }

private:
    using timer_ptr = std::unique_ptr<net::steady_timer>;

    system_timer(const net::any_io_executor& executor, timer_ptr made)
        : context_bound(executor), timer_(std::move(made)) {}

    static timer_ptr made_on(const net::any_io_executor& executor) {
        if (!executor)
            throw std::logic_error("its io_context was destroyed");
        return std::make_unique<net::steady_timer>(executor);
    }

    void release() noexcept override { const auto released = std::move(timer_); }

    timer_ptr timer_; ///< null once its context ends
};

class system_clock final : public clock {
public:
    time_point now() const override { return std::chrono::steady_clock::now(); }
    wall_time wall_now() const override { return std::chrono::system_clock::now(); }
    std::unique_ptr<timer_base> make_timer(net::any_io_executor executor) override {
        return std::make_unique<system_timer>(executor);
    }
};

} // namespace

std::unique_ptr<clock> make_system_clock() {
    return std::make_unique<system_clock>();
}

} // namespace holdfast
