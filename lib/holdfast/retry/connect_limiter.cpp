#include <holdfast/retry/connect_limiter.hpp>

#include <algorithm>

namespace holdfast::retry {

connect_limiter::connect_limiter(connect_limits limits) noexcept
    : limits_(limits), pace_(limits.per_second, limits.burst) {}

connect_limiter::reservation connect_limiter::reserve(time_point now) {
    return {pace_.take(std::max(now, paused_until_)), pauses_};
}

time_point connect_limiter::ready_at(reservation& mine, time_point now) {
    if (mine.pause != pauses_)
        mine = reserve(now);
    return mine.place.ready;
}

void connect_limiter::give_back(const reservation& unused) {
    // Places from before a pause were called off with it.
    if (unused.pause == pauses_)
        pace_.give_back(unused.place);
}

void connect_limiter::pause_until(time_point when, time_point now) {
    if (when <= now || when <= paused_until_)
        return;
    paused_until_ = when;
    ++pauses_;
    pace_ = pace(limits_.per_second, limits_.burst, when);
}

void connect_limiter::local_fault(time_point now) {
    if (now < paused_until_)
        return;
    const duration longest = limits_.longest_local_pause;
    fault_pause_ = fault_pause_ == duration::zero() ? std::min(limits_.local_pause, longest)
                   : fault_pause_ > longest / 2     ? longest
                                                    : fault_pause_ * 2;
    pause_until(later(now, fault_pause_), now);
}

} // namespace holdfast::retry
