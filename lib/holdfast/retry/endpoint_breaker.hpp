// The circuit breaker of one endpoint, shared by all streams and calls to it. Pure; `runtime` does the
// waiting.
//
// Closed: everyone attempts at their own time. Open (an endpoint failure was seen): one attempt at a time is
// the probe, made by whoever is due first; all others that are held receive its failure. While the probe is
// under way the breaker is half-open. A success closes the breaker, and all who are held go at once.
//
//     ticket t = breaker.enter(kind::stream, due, held);
//     answer a = breaker.ask(t, now);
//
// While the answer is `wait`, ask again at `until` and whenever version() has changed. After `go`, attempt,
// then report succeeded(t, now), failed(t, f, now) or leave(t).
#pragma once

#include <holdfast/retry/failure.hpp>
#include <holdfast/time.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

namespace holdfast::retry {

/// The circuit breaker of one endpoint.
///
/// An open breaker admits one probe at a time. When the probe fails and the endpoint is to blame, those who
/// wait receive that failure instead of attempting themselves: each stream that is held or due, and each
/// call, once. A call's failed probe is shared with calls alone. Attempts that were already under way when
/// the breaker opened share nothing. No wait receives two failures of probes.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class endpoint_breaker {
public:
    using ticket = std::uint64_t;

    /// The kind of an attempt. A call has no schedule of its own: it probes at once or receives a shared
    /// failure. Its failed probe is not counted against the streams that wait, and a stream that is due goes
    /// before it.
    enum class kind { stream, call };

    struct answer {
        enum class verdict {
            go,             ///< attempt now, then report succeeded() or failed()
            wait,           ///< ask again at `until`, or when notified of a change
            shared_failure, ///< another's probe failed: `result` counts as one's own failure
        };
        verdict kind = verdict::wait;
        time_point until = time_point::max();
        std::optional<failure> result;
    };

    /// Begins to wait. `due`: not before this time by one's own schedule. `held`: one's last failure blamed
    /// the endpoint, so the endpoint's recovery ends the wait early.
    [[nodiscard]] ticket enter(kind who, time_point due, bool held);

    /// What this waiter may do now. `shared_failure` ends its ticket. `go` ends its waiting: the ticket lives
    /// until the attempt is reported or left, and asking meanwhile returns `go` again. Throws
    /// std::out_of_range for a ticket that has ended.
    [[nodiscard]] answer ask(ticket t, time_point now);

    /// Stops waiting, or ends an attempt without a result (cancelled): if it was the probe, another may be.
    /// Idempotent.
    void leave(ticket t) noexcept;

    /// The attempt reached the endpoint: an open breaker closes, and all who are held may go.
    /// Ignored, as failed() is, for a ticket that has ended.
    void succeeded(ticket t, time_point now);

    /// The attempt failed. A failure that blames the endpoint opens the breaker; the probe's is shared with
    /// those who wait. A failure that shows the endpoint alive (shows_endpoint_alive) closes it as a success
    /// does. Any other, like a cut, leaves the breaker as it is and admits another probe.
    void failed(ticket t, const failure& f, time_point now);

    /// Closes the breaker and lets everyone go at once, whatever their schedule (the caller knows that
    /// something changed). Attempts under way go on.
    void wake(time_point now) noexcept;

    /// Open or half-open.
    [[nodiscard]] bool is_open() const noexcept { return open_; }
    /// Half-open: a probe is under way.
    [[nodiscard]] bool probing() const noexcept { return probe_.has_value(); }
    /// How many wait. Those whose attempt is under way are not counted.
    [[nodiscard]] std::size_t waiting() const noexcept;
    /// Since when the breaker is open, the last failure and its time; meaningful while is_open().
    [[nodiscard]] time_point since() const noexcept { return since_; }
    [[nodiscard]] const failure& last_failure() const noexcept { return last_; }
    [[nodiscard]] time_point last_failed_at() const noexcept { return last_at_; }

    /// Changes whenever the answer of somebody who waits may have changed: all who wait must ask() again.
    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }

private:
    struct waiter {
        kind who = kind::stream;
        time_point due{};
        bool held = false;
        bool attempting = false;
        std::optional<failure> shared{};
    };

    void close(time_point now) noexcept;
    void open_by(const failure& f, time_point now);
    void share(const failure& f, kind prober, time_point now);
    [[nodiscard]] bool must_yield(const waiter& w, time_point now) const noexcept;

    std::map<ticket, waiter> waiters_;
    std::optional<ticket> probe_;
    ticket next_ = 1;
    bool open_ = false;
    time_point since_{};
    failure last_;
    time_point last_at_{};
    std::uint64_t version_ = 0;
};

} // namespace holdfast::retry
