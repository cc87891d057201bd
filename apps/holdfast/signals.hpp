// SIGINT and SIGTERM, as a command takes them.
#pragma once

#include "command.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <csignal>
#include <functional>
#include <utility>

namespace holdfast::app {

[[nodiscard]] inline exit_code exit_code_of(int signal) {
    return signal == SIGTERM ? exit_terminated : exit_interrupted;
}

/// Calls `on_signal` for each SIGINT and SIGTERM until stop(). Keeps the io_context busy meanwhile.
class signals {
public:
    signals(boost::asio::io_context& io, std::function<void(int)> on_signal)
        : set_(io, SIGINT, SIGTERM), on_signal_(std::move(on_signal)) {
        wait();
    }

    void stop() { set_.cancel(); }

private:
    void wait() {
        set_.async_wait([this](boost::system::error_code ec, int number) {
            if (ec)
                return;
            wait();
            on_signal_(number);
        });
    }

    boost::asio::signal_set set_;
    std::function<void(int)> on_signal_;
};

} // namespace holdfast::app
