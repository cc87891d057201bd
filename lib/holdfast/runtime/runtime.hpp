// runtime: what the library takes from the world (clocks, network, randomness, the log) and how it lives in
// it (abort_source, with_deadline, task_scope, mailbox). One `runtime` object owns what is shared: the
// circuit breakers of endpoints, the pace of connecting and of retries, the incidents behind the log, and the
// counters.
#pragma once

#include <holdfast/endpoint.hpp>
#include <holdfast/retry/connect_limiter.hpp>
#include <holdfast/retry/endpoint_breaker.hpp>
#include <holdfast/retry/incident_log.hpp>
#include <holdfast/retry/retry_budget.hpp>
#include <holdfast/runtime/clock.hpp>
#include <holdfast/runtime/log.hpp>
#include <holdfast/runtime/metrics.hpp>
#include <holdfast/runtime/network.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace holdfast {

/// What all runtimes of one world keep to together.
struct shared_limits {
    retry::incident_limits incidents; ///< of the log
    retry::connect_limits connects;   ///< of all connections, whoever opens them
    retry::retry_allowance retries;   ///< of calls, see runtime::may_retry()
};

/// What the library takes from the world. Pass one to everything.
///
/// Lifetime: a cheap handle. A copy is the same runtime, and all objects made with it hold one: what they
/// share lives as long as the last of them, so a runtime, the objects made with it and its io_context may be
/// destroyed in any order, also while operations are pending. Pending operations end with the io_context,
/// without completing. From the beginning of its destruction on nothing calls the sink or any other function
/// that a caller gave; what is still held then may only be asked, and destroyed.
///
/// Thread safety: a runtime, and all objects made with it, are confined to its executor (a single-threaded
/// io_context, or a strand); wake(), breaker_of(), breakers(), count(), uncount() and value() may be called
/// from any thread. Several threads use several runtimes, one a strand, made from a first one: they share its
/// clock, network, log, breakers, limits and counters.
class runtime {
public:
    /// The real world: system clocks, TCP, a seed from the system.
    explicit runtime(net::any_io_executor executor, log_sink sink = {}, shared_limits limits = {});

    /// Any world, for tests: `seed` decides every random draw.
    runtime(net::any_io_executor executor, std::unique_ptr<holdfast::clock> time,
            std::unique_ptr<holdfast::network> wires, std::uint64_t seed, log_sink sink = {},
            shared_limits limits = {});

    /// The same world for another strand. The clock, the network and the sink of `other`, which need not
    /// outlive this one, must be fit for several threads: those of the real world are, a sink is called from
    /// every strand.
    runtime(runtime& other, net::any_io_executor executor);
    runtime(const runtime&);
    runtime& operator=(const runtime&);
    ~runtime();

    /// Empty once its context is being destroyed.
    [[nodiscard]] const net::any_io_executor& executor() const noexcept;
    /// Its execution context is being destroyed, or was. From any thread.
    [[nodiscard]] bool ended() const noexcept;
    /// Runs `what` on the executor, later; never after ended(). From any thread.
    void post(std::function<void()> what) const;

    [[nodiscard]] holdfast::clock& clock() noexcept;
    [[nodiscard]] holdfast::network& network() noexcept;
    [[nodiscard]] time_point now() const;
    [[nodiscard]] wall_time wall_now() const;

    /// Uniform over all 64-bit values.
    [[nodiscard]] std::uint64_t random();

    // The log. What is written goes through one retry::incident_log, so that it says each thing once; each of
    // these calls also writes what is due by then. Without a sink nothing is kept. Lines of several threads
    // may come to the sink in another order than they were made.

    /// Any record that is not about something that fails, or works again.
    void log(const log_record& record) const;
    /// Something failed: the endpoint, session or caller's thing that the record names. Its repeats are debug
    /// records.
    void report(const log_record& record) const;
    /// `record.endpoint` answers, and its `record.session` (else its stream, else `record.tag`) is well. The
    /// record is written when it has an event. That an endpoint answers is told by attempt::succeeded()
    /// already.
    void recovered(const log_record& record) const;
    /// Whether anything fails, or did lately. If not, recovered() has nothing to do but to write its record:
    /// who would make a record for it alone need not.
    [[nodiscard]] bool in_trouble() const noexcept;
    /// Nobody will ask `record.endpoint` any more, or, where it names one, its `record.session` alone.
    void left(const log_record& record) const;

    /// Writes the log's summaries, and all that becomes due, when it is due, until it is cancelled. Of
    /// several at a time, of all runtimes of one world, one does so and the others stand by. Cancellation
    /// (terminal): at once, operation_aborted.
    [[nodiscard]] net::awaitable<void> write_incidents();

    /// Counts, for a gauge upwards.
    void count(metric which, std::uint64_t n = 1) noexcept;
    /// A gauge goes down.
    void uncount(metric which, std::uint64_t n = 1) noexcept;
    [[nodiscard]] std::uint64_t value(metric which) const noexcept;

    /// Waits until `when`. Cancellation (terminal): at once, as the exception operation_aborted.
    [[nodiscard]] net::awaitable<void> sleep_until(time_point when);
    [[nodiscard]] net::awaitable<void> sleep_for(duration d) { return sleep_until(later(now(), d)); }

    /// Ends every wait for the breaker of this endpoint: the caller knows that it is back.
    void wake(const endpoint& where);

    /// network().connect(), counted. One that fails by this machine's own fault (errc::local) pauses all
    /// connecting (see retry::connect_limiter).
    [[nodiscard]] net::awaitable<result<std::unique_ptr<connection>>> connect(endpoint where);

    /// A first try of a call is sent: it earns a part of a retry.
    void first_try() noexcept;
    /// Waits until the retry budget allows one retry; false: it never does.
    /// Cancellation (terminal): at once, operation_aborted; nothing is used up.
    [[nodiscard]] net::awaitable<bool> may_retry();

private:
    struct shared_breaker;
    struct shared; ///< what the runtimes of one world share
    struct strand; ///< what the copies of one runtime share

public:
    /// One attempt at an endpoint, admitted by its breaker. Destroyed unreported, it reports "no result".
    class attempt {
    public:
        attempt() = default;
        attempt(attempt&& other) noexcept;
        attempt& operator=(attempt&& other) noexcept;
        ~attempt();

        /// Set when this attempt must not be made: another's probe failed, and this is its failure.
        [[nodiscard]] const std::optional<failure>& shared_failure() const noexcept {
            return shared_failure_;
        }

        /// Whether there was a wake() while this one waited.
        [[nodiscard]] bool woken() const noexcept { return woken_; }

        /// The endpoint answered: its breaker closes, and its incident in the log is over.
        void succeeded();
        /// See retry::endpoint_breaker::failed(). This machine's own faults (errc::local) do not reach the
        /// breaker. A failure that only a working endpoint can cause ends its incident in the log too.
        void failed(const failure& f);

    private:
        friend class runtime;
        template <class How>
        void end(bool answered, How how);

        std::shared_ptr<shared> world_;
        std::shared_ptr<shared_breaker> breaker_; ///< none: reported, or never admitted
        retry::endpoint_breaker::ticket ticket_ = 0;
        bool is_probe_ = false;
        bool woken_ = false;
        std::optional<failure> shared_failure_;
    };

    /// Waits until the breaker of `where` admits an attempt, not before `due` (see retry::endpoint_breaker),
    /// then for a place among all who connect (see retry::connect_limiter). If the breaker opens during the
    /// second wait, the attempt receives that failure. Cancellation (terminal): at once; nothing is counted,
    /// and the place is given back.
    [[nodiscard]] net::awaitable<attempt> begin_attempt(endpoint where, retry::endpoint_breaker::kind who,
                                                        time_point due, bool held);

    /// The state of an endpoint's circuit breaker, for display.
    struct breaker_state {
        breaker_state() = default; // no aggregate, see header

        bool open = false;       ///< open or half-open
        bool probing = false;    ///< half-open: a probe is under way
        std::size_t waiting = 0; ///< those whose attempt is under way are not counted
        time_point since{};      ///< since when it is open; meaningful while it is, as are the next
        failure last;
        time_point last_at{}; ///< when that was seen
    };
    /// Nothing: nobody waits for it or attempts, and it is closed.
    [[nodiscard]] std::optional<breaker_state> breaker_of(const endpoint& where) const;
    /// All that breaker_of() knows, in the order of their endpoints.
    [[nodiscard]] std::vector<std::pair<endpoint, breaker_state>> breakers() const;

private:
    struct waiter;
    struct connect_place;
    // Coroutines hold a copy: this one may be destroyed while they wait.
    [[nodiscard]] static net::awaitable<void> write_incidents_of(runtime self);
    [[nodiscard]] static net::awaitable<void> sleep_in(runtime self, time_point when);
    [[nodiscard]] static net::awaitable<result<std::unique_ptr<connection>>> connect_in(runtime self,
                                                                                        endpoint where);
    [[nodiscard]] static net::awaitable<bool> may_retry_in(runtime self);
    [[nodiscard]] static net::awaitable<attempt> begin_attempt_in(runtime self, endpoint where,
                                                                  retry::endpoint_breaker::kind who,
                                                                  time_point due, bool held);
    [[nodiscard]] static net::awaitable<void> wait_for_breaker(runtime self, attempt& mine,
                                                               std::shared_ptr<waiter> me);
    [[nodiscard]] static net::awaitable<void> wait_to_connect(runtime self, attempt& mine,
                                                              std::shared_ptr<waiter> me);

    std::shared_ptr<strand> strand_;
    std::shared_ptr<shared> shared_;
};

/// Counts one in a gauge for as long as it lives.
class counted {
public:
    counted(const runtime& world, metric gauge) : world_(world), gauge_(gauge) { world_->count(gauge); }
    counted(counted&& other) noexcept
        : world_(std::exchange(other.world_, std::nullopt)), gauge_(other.gauge_) {}
    counted& operator=(counted&& other) noexcept {
        std::swap(world_, other.world_);
        std::swap(gauge_, other.gauge_);
        return *this;
    }
    ~counted() {
        if (world_)
            world_->uncount(gauge_);
    }

private:
    std::optional<runtime> world_;
    metric gauge_;
};

} // namespace holdfast
