#include <holdfast/runtime/clock.hpp>

#include <boost/asio/steady_timer.hpp>

namespace holdfast {
namespace {

class system_timer final : public timer_base {
public:
    explicit system_timer(net::any_io_executor executor) : timer_(std::move(executor)) {}

    void expires_at(time_point when) override { timer_.expires_at(when); }

    void cancel() noexcept override {
        try {
            timer_.cancel();
        } catch (const boost::system::system_error&) {
            // The reactor refuses: then the wait ends by its time.
        }
    }

    void async_wait(net::any_completion_handler<void(boost::system::error_code)> handler) override {
        timer_.async_wait(std::move(handler));
    }

private:
    net::steady_timer timer_;
};

class system_clock final : public clock {
public:
    time_point now() const override { return std::chrono::steady_clock::now(); }
    wall_time wall_now() const override { return std::chrono::system_clock::now(); }
    std::unique_ptr<timer_base> make_timer(net::any_io_executor executor) override {
        return std::make_unique<system_timer>(std::move(executor));
    }
};

} // namespace

std::unique_ptr<clock> make_system_clock() {
    return std::make_unique<system_clock>();
}

} // namespace holdfast
