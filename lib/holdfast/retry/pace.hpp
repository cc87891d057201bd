// So many a second, and a few at once: the token bucket under the connect limiter and the retry budget. Pure.
#pragma once

#include <holdfast/time.hpp>

#include <set>

namespace holdfast::retry {

/// Gives out places in time, `burst` at once and `per_second` in the long run: in no span of time w do more
/// than burst + w * per_second places fall due. A place that was given back goes to the next who asks, as
/// long as that keeps the promise.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class pace {
public:
    /// `per_second` 0: no limit at all. A `burst` of 0 counts as 1.
    pace(unsigned per_second, unsigned burst) noexcept;

    /// No place before `first`, and none saved up by then: from there on they come one by one.
    pace(unsigned per_second, unsigned burst, time_point first) noexcept;

    struct place {
        time_point ready{};  ///< not before
        time_point booked{}; ///< which place it is; between `ready` and `ready` plus the span of a burst
    };

    /// The earliest place. It is taken, whatever becomes of it, until given back.
    [[nodiscard]] place take(time_point now);

    /// The place will not be used. Each place at most once; one that is past is not given out again.
    void give_back(const place& unused);

private:
    duration interval_; ///< between two places in the long run; zero: no limit
    duration saved_;    ///< how far ahead of its booked time a place may be used: the span of a burst
    time_point next_ = time_point::min(); ///< the first place that was never booked
    std::set<time_point> free_;           ///< booked places that were given back, all before next_
};

} // namespace holdfast::retry
