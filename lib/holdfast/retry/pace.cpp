#include <holdfast/retry/pace.hpp>

#include <algorithm>

namespace holdfast::retry {
namespace {

/// A second's part, rounded up: never more places than promised.
duration interval_of(unsigned per_second) {
    if (per_second == 0)
        return duration::zero();
    const duration second = seconds(1);
    return duration((second.count() + per_second - 1) / per_second);
}

} // namespace

pace::pace(unsigned per_second, unsigned burst) noexcept
    : interval_(interval_of(per_second)), saved_(interval_ * (std::max(burst, 1u) - 1)) {}

pace::pace(unsigned per_second, unsigned burst, time_point first) noexcept : pace(per_second, burst) {
    next_ = later(first, saved_);
}

pace::place pace::take(time_point now) {
    if (interval_ == duration::zero())
        return {std::max(now, next_), std::max(now, next_)};
    // Used at `a`, a place keeps the promise while a <= booked <= a + saved_, and no two are closer than
    // interval_.
    free_.erase(free_.begin(), free_.lower_bound(now));
    time_point booked;
    if (!free_.empty()) {
        booked = *free_.begin();
        free_.erase(free_.begin());
    } else {
        booked = std::max(next_, now);
        next_ = later(booked, interval_);
    }
    return {std::max(now, booked - saved_), booked};
}

void pace::give_back(const place& unused) {
    if (interval_ > duration::zero())
        free_.insert(unused.booked);
}

} // namespace holdfast::retry
