// When a run that nobody streams is looked at again: the state that one captured run has between two
// snapshots. Pure; the snapshots are taken by `capture`. Not for users.
//
//     state.at(where);
//     if (state.may_try(now)) // take a snapshot, then say succeeded() or failed(f, now, random)
#pragma once

#include <holdfast/endpoint.hpp>
#include <holdfast/retry/policy.hpp>
#include <holdfast/time.hpp>

#include <cstdint>
#include <optional>

namespace holdfast::opencode {

/// The schedule of one captured run, by default exactly retry::capture(): 10 20 40 60 60 ... s, refused 20 40
/// 60 60 ... s. A run that is streamed asks nothing of it: it is never delayed.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class capture_state {
public:
    explicit capture_state(retry::policy policy = retry::capture());

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
    /// uniform over all 64-bit values. The delay is the policy's, Retry-After and stretches heeded. A status
    /// that is final by the policy stops it; an answer that makes no sense does not, the next one may.
    verdict failed(const retry::failure& f, time_point now, std::uint64_t random);

    /// The caller knows that something changed: may be tried at once, and the schedule begins anew. The next
    /// failure of the same class is no news.
    void wake() noexcept;

    /// Consecutive failures since the last success, move or wake().
    [[nodiscard]] unsigned failures() const noexcept { return schedule_.failures(); }
    /// The first of these; nothing when there are none.
    [[nodiscard]] std::optional<time_point> failing_since() const noexcept {
        return schedule_.failing_since();
    }
    /// Not before; time_point::min(): at any time; time_point::max(): see verdict::stop.
    [[nodiscard]] time_point next_try() const noexcept { return next_try_; }

    /// The last failure since a success or move, without the server's headers and body, and when it was.
    struct last_failure {
        retry::failure why;
        time_point when{};
    };
    [[nodiscard]] const std::optional<last_failure>& last() const noexcept { return last_; }

private:
    retry::schedule schedule_;
    std::optional<endpoint> where_;
    std::optional<last_failure> last_;
    time_point next_try_ = time_point::min();
};

} // namespace holdfast::opencode
