// When a run that nobody streams is looked at again: the state that one captured run has between two
// snapshots. Pure; the snapshots are taken by `capture`.
//
//     state.at(where);
//     if (state.may_try(now)) // take a snapshot, then say succeeded() or failed(f, now, random)
#pragma once

#include <holdfast/endpoint.hpp>
#include <holdfast/retry/policy.hpp>
#include <holdfast/time.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace holdfast::opencode {

/// An outage that has lasted for `from` is looked at no more often than this.
struct capture_stretch {
    duration from{};
    duration every{};

    friend bool operator==(const capture_stretch&, const capture_stretch&) = default;
};

/// The policy of one captured run. By default exactly retry::capture(): 10 20 40 60 60 ... s, refused 20 40
/// 60 60 ... s.
struct capture_policy {
    retry::policy retry = retry::capture();
    std::vector<capture_stretch>
        stretches; ///< by rising `from`, the last that applies counts; none: never stretched
};

/// From a minute on an outage is left alone for as long again as it has lasted, up to 20 minutes: at most 80
/// attempts in a day, with the schedules of retry::capture() and a jitter of none or equal.
[[nodiscard]] std::vector<capture_stretch> doubling_stretches();

/// From an hour on every 5 minutes, from six hours on every 20: at most 180 attempts in a day, with the exact
/// schedules of retry::capture().
[[nodiscard]] std::vector<capture_stretch> hourly_stretches();

/// The schedule of one captured run. A run that is streamed asks nothing of it: it is never delayed.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class capture_state {
public:
    explicit capture_state(capture_policy policy = {});

    /// What a failure is to those who were told of the last one. The class decides, never the text.
    enum class news {
        first,   ///< none was told since a success, or since it moved
        changed, ///< of another class than the last
        repeat,
    };

    struct verdict {
        news what = news::first;
        bool stop =
            false; ///< waiting will not heal it (401, 404, ...): no further attempt before wake() or a move
        duration delay{}; ///< else before the next attempt

        friend bool operator==(const verdict&, const verdict&) = default;
    };

    /// Where the run's server is now. Another endpoint than before clears all: the old one's failures are not
    /// the new one's.
    void at(const endpoint& where);

    /// Whether it may be looked at now: there was no failure, or its delay is over; exactly then it is.
    [[nodiscard]] bool may_try(time_point now) const noexcept { return now >= next_try_; }

    /// It was looked at: clears all.
    void succeeded() noexcept;

    /// It could not be looked at, or another's attempt at the same endpoint failed in its place. `random` is
    /// uniform over all 64-bit values. The delay is the policy's, Retry-After heeded, and no shorter than the
    /// stretch of an outage so long asks (which is not spread by jitter).
    verdict failed(const retry::failure& f, time_point now, std::uint64_t random);

    /// The caller knows that something changed: may be tried at once, and the schedule begins anew. The next
    /// failure of the same class is no news.
    void wake() noexcept;

    /// Consecutive failures since the last success, move or wake().
    [[nodiscard]] unsigned failures() const noexcept { return schedule_.failures(); }
    /// The first of these; nothing when there are none.
    [[nodiscard]] std::optional<time_point> failing_since() const noexcept { return failing_since_; }
    /// Not before; time_point::min(): at any time; time_point::max(): see verdict::stop.
    [[nodiscard]] time_point next_try() const noexcept { return next_try_; }

    /// The last failure since a success or move, without the server's headers and body, and when it was.
    struct last_failure {
        retry::failure why;
        time_point when{};
    };
    [[nodiscard]] const std::optional<last_failure>& last() const noexcept { return last_; }

private:
    [[nodiscard]] duration stretched(duration age) const noexcept;

    std::vector<capture_stretch> stretches_;
    retry::schedule schedule_;
    std::optional<endpoint> where_;
    std::optional<time_point> failing_since_;
    std::optional<last_failure> last_;
    time_point next_try_ = time_point::min();
};

} // namespace holdfast::opencode
