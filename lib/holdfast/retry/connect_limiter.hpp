// How fast connections are opened, whoever wants them: so many a second over all endpoints, and none for a
// while when this machine itself is at its end. Pure; the waiting is done by `runtime`.
//
//     auto mine = limiter.reserve(now);
//
// Until limiter.ready_at(mine, now) <= now, wait until then and ask again; then connect. Who gives up waiting
// gives the place back. After the attempt say local_fault(now) when it failed by a local fault, else
// local_success().
#pragma once

#include <holdfast/retry/pace.hpp>
#include <holdfast/time.hpp>

#include <cstdint>

namespace holdfast::retry {

/// The settings of a connect_limiter.
struct connect_limits {
    unsigned per_second = 500;                  ///< in the long run; 0: no limit
    unsigned burst = 100;                       ///< at once, after a while of fewer
    duration local_pause = milliseconds(250);   ///< after a local fault; doubled while such faults go on
    duration longest_local_pause = seconds(10); ///< no pause of its own is longer
};

/// Says when the next connection may be opened.
///
/// A local fault (out of descriptors, of memory, of ports: `failure_class::local`) tells nothing about the
/// endpoint: no breaker learns of it. It stops all connecting for a while instead, those who have a
/// place too, and afterwards they come one by one, not in a burst.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class connect_limiter {
public:
    explicit connect_limiter(connect_limits limits = {}) noexcept;

    struct reservation {
        pace::place place;
        std::uint64_t pause = 0; ///< how many pauses there had been
    };

    /// Takes the next place.
    [[nodiscard]] reservation reserve(time_point now);

    /// When the holder of this place may connect, at the earliest; at or before `now`: it may, and the place
    /// is used up. A pause since the reservation gives it another place.
    [[nodiscard]] time_point ready_at(reservation& mine, time_point now);

    /// The place was not used (the wait was cancelled): it goes to the next who asks.
    void give_back(const reservation& unused);

    /// No connection before `when`; a pause under way is never shortened.
    void pause_until(time_point when, time_point now);

    /// An attempt met a local fault: pauses, each time twice as long as the last, until local_success(). The
    /// faults of attempts that were already under way when the pause began do not lengthen it.
    void local_fault(time_point now);

    /// An attempt got past this machine, however it ended.
    void local_success() noexcept { fault_pause_ = duration::zero(); }

    /// Until when nobody may connect; at or before `now`: no pause.
    [[nodiscard]] time_point paused_until() const noexcept { return paused_until_; }

private:
    connect_limits limits_;
    pace pace_;
    time_point paused_until_ = time_point::min();
    std::uint64_t pauses_ = 0;
    duration fault_pause_{}; ///< the last one that a fault made; zero: none since a success
};

} // namespace holdfast::retry
