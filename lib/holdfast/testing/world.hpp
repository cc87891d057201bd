// A whole simulated world in one object: an executor, virtual time, an in-memory network, a seed and a log
// that remembers.
#pragma once

#include <holdfast/runtime/runtime.hpp>
#include <holdfast/testing/memory_network.hpp>
#include <holdfast/testing/virtual_clock.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <vector>

namespace holdfast::testing {

/// Thrown by world::run() when the coroutine can never go on: nobody would ever wake it.
class stuck : public std::logic_error {
public:
    stuck() : std::logic_error("stuck: the coroutine waits, and nothing is left that could wake it") {}
};

/// Thrown by world::settle() when handlers follow one another without end and without time passing.
class restless : public std::logic_error {
public:
    restless() : std::logic_error("restless: handlers follow one another for ever at one moment") {}
};

class world {
public:
    explicit world(std::uint64_t seed = 1, shared_limits limits = {});
    ~world();

    [[nodiscard]] runtime& rt() noexcept { return runtime_; }
    [[nodiscard]] virtual_clock& time() noexcept { return *clock_; }
    [[nodiscard]] memory_network& net() noexcept { return *network_; }
    [[nodiscard]] net::io_context& io() noexcept { return io_; }
    [[nodiscard]] std::vector<log_record>& logs() noexcept { return logs_; }

    /// Called whenever nothing is ready any more, before time passes: a step.
    void on_step(std::function<void()> told) { step_ = std::move(told); }
    /// Called after each handler.
    void on_handler(std::function<void()> told) { handler_ = std::move(told); }
    /// Called with each record of the log, when it is written.
    void on_log(log_sink told) { log_ = std::move(told); }

    /// Runs what is ready, and lets time pass, until `done` holds. Throws `stuck` when it never will, also
    /// when `limit` of virtual time has passed.
    void run_until(const std::function<bool()>& done, duration limit = std::chrono::hours(48));

    /// Runs what is ready and lets `d` pass.
    void run_for(duration d);

    /// Runs what is ready, without letting time pass.
    void settle();

    /// Runs a coroutine to its end, and returns its result.
    template <class T>
    T run(net::awaitable<T> body) {
        std::exception_ptr error;
        std::optional<T> value;
        bool done = false;
        net::co_spawn(io_, std::move(body), [&](std::exception_ptr e, T v) {
            error = e;
            value = std::move(v);
            done = true;
        });
        run_until([&] { return done; });
        if (error)
            std::rethrow_exception(error);
        return std::move(*value);
    }

    void run(net::awaitable<void> body);

private:
    struct parts {
        explicit parts(net::io_context& io);
        std::unique_ptr<virtual_clock> clock;
        std::unique_ptr<memory_network> network;
    };

    net::io_context io_;
    parts parts_; // handed to the runtime
    virtual_clock* clock_;
    memory_network* network_;
    std::vector<log_record> logs_;
    std::function<void()> step_;
    std::function<void()> handler_;
    log_sink log_;
    runtime runtime_;
};

} // namespace holdfast::testing
