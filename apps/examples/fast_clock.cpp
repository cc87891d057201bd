// A clock of one's own: time passes N times as fast, so that a backoff of minutes can be watched in seconds.
//
//     example-fast_clock http://127.0.0.1:1/ 600
#include <holdfast/stream/event_source.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <iostream>

using namespace holdfast;

class fast_clock final : public holdfast::clock {
public:
    explicit fast_clock(int factor) : factor_(factor) {}

    time_point now() const override { return begin_ + (real_->now() - begin_) * factor_; }
    wall_time wall_now() const override { return real_->wall_now(); }
    std::unique_ptr<timer_base> make_timer(net::any_io_executor executor) override {
        return std::make_unique<fast_timer>(*this, real_->make_timer(std::move(executor)));
    }

private:
    class fast_timer final : public timer_base {
    public:
        fast_timer(const fast_clock& of, std::unique_ptr<timer_base> real)
            : of_(of), real_(std::move(real)) {}
        void expires_at(time_point when) override {
            real_->expires_at(when == time_point::max() ? when
                                                        : of_.begin_ + (when - of_.begin_) / of_.factor_);
        }
        void cancel() noexcept override { real_->cancel(); }
        void async_wait(net::any_completion_handler<void(boost::system::error_code)> handler) override {
            real_->async_wait(std::move(handler));
        }

    private:
        const fast_clock& of_; // a runtime's clock outlives its timers
        std::unique_ptr<timer_base> real_;
    };

    std::unique_ptr<holdfast::clock> real_ = make_system_clock();
    time_point begin_ = real_->now();
    int factor_;
};

net::awaitable<void> hold(runtime& world, stream::source_config config) {
    const auto begin = world.now();
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next())
        std::cout << to_ms(world.now() - begin) / 1000 << " s: " << item->failure.message << '\n'
                  << std::flush;
}

int main(int argc, char** argv) {
    const auto where = http::parse_url(argc == 3 ? argv[1] : "");
    const int factor = argc == 3 ? std::atoi(argv[2]) : 0;
    if (!where || factor <= 0) {
        std::cerr << "usage: example-fast_clock URL FACTOR\n";
        return 2;
    }
    stream::source_config config;
    config.locate = [where] {
        return stream::location{stream::location::state::up, *where};
    };
    net::io_context io;
    runtime world(io.get_executor(), std::make_unique<fast_clock>(factor), make_tcp_network(), 1);
    net::co_spawn(io, hold(world, std::move(config)), [](std::exception_ptr) {});
    io.run();
}
