// One gate per endpoint, shared by all streams and calls to it: the circuit breaker. Pure; the waiting is
// done by `runtime`.
//
// Clear: everyone passes at their own time. Suspect (an endpoint failure was seen): one attempt at a time is
// the probe, taken by whoever is due first; all others that are held ride on its result. A success clears the
// gate and lets all who are held go at once.
//
//     ticket t = gate.enter(kind::stream, due, held);
//     answer a = gate.ask(t, now);
//
// While the answer is `wait`, ask again at `until` and whenever version() has changed. After `go`, attempt,
// then say succeeded(t, now), failed(t, f, now) or leave(t).
#pragma once

#include <holdfast/retry/failure.hpp>
#include <holdfast/time.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

namespace holdfast::retry {

/// The gate of one endpoint.
///
/// A suspect gate lets one probe through at a time. When it fails and the endpoint is to blame, those who
/// wait are told so in place of attempting themselves: the failure is handed once to each stream that is held
/// or due, and to each call; a call's probe is handed to calls alone. Attempts that were already under way
/// when the gate became suspect hand nothing on. No failed probe reaches one wait twice.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class gate {
public:
    using ticket = std::uint64_t;

    /// Who asks. A call has no schedule of its own: it probes at once or rides; its failed probe is not
    /// counted against the streams that wait, and a stream that is due goes before it.
    enum class kind { stream, call };

    struct answer {
        enum class verdict {
            go,   ///< attempt now, then report succeeded() or failed()
            wait, ///< ask again at `until`, or when notified of a change
            ride, ///< another's probe failed: `result` counts as one's own failure
        };
        verdict what = verdict::wait;
        time_point until = time_point::max();
        std::optional<failure> result;
    };

    /// Begins to wait. `due`: not before this time by one's own schedule. `held`: one's last failure blamed
    /// the endpoint, so the endpoint's recovery ends the wait early.
    [[nodiscard]] ticket enter(kind who, time_point due, bool held);

    /// What this waiter may do now. `ride` ends its ticket. `go` ends its waiting: the ticket lives until the
    /// attempt is reported or left, and asking meanwhile says `go` again. Throws std::out_of_range for a
    /// ticket that has ended.
    [[nodiscard]] answer ask(ticket t, time_point now);

    /// Stops waiting, or ends an attempt without a result (cancelled): if it was the probe, another may be.
    /// Idempotent.
    void leave(ticket t) noexcept;

    /// The attempt reached the endpoint: a suspect gate is cleared, all who are held may go.
    /// Ignored, as failed() is, for a ticket that has ended.
    void succeeded(ticket t, time_point now);

    /// The attempt failed. A failure that blames the endpoint makes it suspect; the probe's is handed to
    /// those who ride. One that shows the endpoint alive (shows_endpoint_alive) clears the gate as a success
    /// does. Any other, like a cut, leaves the gate as it is and lets another probe.
    void failed(ticket t, const failure& f, time_point now);

    /// Clears the gate and lets everyone go at once, whatever their schedule (the caller knows that something
    /// changed). Attempts under way go on.
    void wake(time_point now) noexcept;

    [[nodiscard]] bool suspect() const noexcept { return suspect_; }
    [[nodiscard]] bool probing() const noexcept { return probe_.has_value(); }
    /// How many wait, those not counted whose attempt is under way.
    [[nodiscard]] std::size_t waiting() const noexcept;
    /// Since when the endpoint is suspect, and what was seen last, and when; meaningful while suspect().
    [[nodiscard]] time_point since() const noexcept { return since_; }
    [[nodiscard]] const failure& last_failure() const noexcept { return last_; }
    [[nodiscard]] time_point last_failed_at() const noexcept { return last_at_; }

    /// Changes whenever someone who was told to wait may now go or ride: all who wait must ask() again.
    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }

private:
    struct waiter {
        kind who = kind::stream;
        time_point due{};
        bool held = false;
        bool attempting = false;
        std::optional<failure> ride{};
    };

    void open(time_point now) noexcept;
    void suspect_by(const failure& f, time_point now);
    void hand_on(const failure& f, kind prober, time_point now);
    [[nodiscard]] bool must_yield(const waiter& w, time_point now) const noexcept;

    std::map<ticket, waiter> waiters_;
    std::optional<ticket> probe_;
    ticket next_ = 1;
    bool suspect_ = false;
    time_point since_{};
    failure last_;
    time_point last_at_{};
    std::uint64_t version_ = 0;
};

} // namespace holdfast::retry
