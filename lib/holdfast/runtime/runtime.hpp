// runtime: what the library takes from the world (clocks, network, randomness, the log) and how it lives in it
// (abort_source, with_deadline, task_scope, mailbox). One `runtime` object owns what is shared: the endpoint gates.
#pragma once

#include <holdfast/endpoint.hpp>
#include <holdfast/retry/gate.hpp>
#include <holdfast/runtime/clock.hpp>
#include <holdfast/runtime/log.hpp>
#include <holdfast/runtime/network.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>

namespace holdfast {

/// What the library takes from the world. Pass one to everything; it must outlive all that uses it, also the
/// coroutines that wait: let what was started with it end (server::stop(), then run() returns) before it is destroyed.
///
/// Thread safety: a runtime, and all objects made with it, are confined to its executor (a single-threaded
/// io_context, or a strand); wake() and gate_of() may be called from any thread. Several threads use several
/// runtimes, one a strand, made from a first one: they share its clock, network, log sink and gates.
class runtime {
public:
    /// The real world: system clocks, TCP, a seed from the system.
    explicit runtime(net::any_io_executor executor, log_sink sink = {});

    /// Any world, for tests: `seed` decides every random draw.
    runtime(net::any_io_executor executor, std::unique_ptr<holdfast::clock> time,
            std::unique_ptr<holdfast::network> wires, std::uint64_t seed, log_sink sink = {});

    /// The same world for another strand. The clock, the network and the sink of `other`, which need not outlive this
    /// one, must be fit for several threads: those of the real world are, a sink is called from every strand.
    runtime(runtime& other, net::any_io_executor executor);
    ~runtime();

    runtime(const runtime&) = delete;
    runtime& operator=(const runtime&) = delete;

    [[nodiscard]] const net::any_io_executor& executor() const noexcept { return executor_; }
    [[nodiscard]] holdfast::clock& clock() noexcept { return *shared_->clock; }
    [[nodiscard]] holdfast::network& network() noexcept { return *shared_->network; }
    [[nodiscard]] time_point now() const { return shared_->clock->now(); }
    [[nodiscard]] wall_time wall_now() const { return shared_->clock->wall_now(); }

    /// Uniform over all 64-bit values.
    [[nodiscard]] std::uint64_t random() { return random_(); }

    void log(const log_record& record) const {
        if (shared_->sink)
            shared_->sink(record);
    }

    /// Waits until `when`. Cancellation (terminal): at once, as the exception operation_aborted.
    [[nodiscard]] net::awaitable<void> sleep_until(time_point when);
    [[nodiscard]] net::awaitable<void> sleep_for(duration d) { return sleep_until(later(now(), d)); }

    /// Ends every wait at the gate of this endpoint: the caller knows that it is back.
    void wake(const endpoint& where);

private:
    struct shared_gate;

    /// What the runtimes of one world share.
    struct shared {
        std::unique_ptr<holdfast::clock> clock;
        std::unique_ptr<holdfast::network> network;
        log_sink sink;
        std::mutex mutex; ///< for all below
        std::map<endpoint, std::shared_ptr<shared_gate>> gates;

        [[nodiscard]] std::shared_ptr<shared_gate> gate_at(const endpoint& where);
    };

public:
    /// The pass through an endpoint's gate for one attempt; reports "no result" when destroyed unreported.
    class attempt {
    public:
        attempt() = default;
        attempt(attempt&& other) noexcept;
        attempt& operator=(attempt&& other) noexcept;
        ~attempt();

        /// Set when this attempt may not be made because another's probe failed in its place.
        [[nodiscard]] const std::optional<failure>& ridden() const noexcept { return ridden_; }

        void succeeded();
        void failed(const failure& f);

    private:
        friend class runtime;
        template <class How>
        void end(How how);

        std::shared_ptr<shared> world_;
        std::shared_ptr<shared_gate> gate_; ///< none: reported, or never entered
        retry::gate::ticket ticket_ = 0;
        std::optional<failure> ridden_;
    };

    /// Waits at the gate of `where` until an attempt may be made, not before `due` (see retry::gate).
    /// Cancellation (terminal): at once; nothing is counted.
    [[nodiscard]] net::awaitable<attempt> pass_gate(endpoint where, retry::gate::kind who, time_point due, bool held);

    /// The state of an endpoint's gate, for display.
    struct gate_state {
        bool suspect = false;
        bool probing = false;    ///< an attempt of a suspect endpoint is under way
        std::size_t waiting = 0; ///< those not counted whose attempt is under way
        time_point since{};      ///< since when it is suspect; meaningful while it is, as is the next
        failure last;
    };
    /// Nothing: nobody is at its gate, and it is not suspect.
    [[nodiscard]] std::optional<gate_state> gate_of(const endpoint& where) const;

private:
    [[nodiscard]] retry::gate::answer ask(const attempt& mine) const;

    net::any_io_executor executor_;
    std::shared_ptr<shared> shared_;
    std::mt19937_64 random_;
};

} // namespace holdfast
