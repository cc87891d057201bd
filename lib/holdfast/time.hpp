// Time, as the library's types name it. Nothing here reads a clock.
#pragma once

#include <chrono>

namespace holdfast {

using duration = std::chrono::steady_clock::duration;
/// A moment on the steady clock of a `runtime` (real or virtual).
using time_point = std::chrono::steady_clock::time_point;
/// A moment on the wall clock, for ids and dates only.
using wall_time = std::chrono::system_clock::time_point;

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

/// Whole milliseconds of a duration, rounded down.
[[nodiscard]] constexpr long long to_ms(duration d) {
    return std::chrono::duration_cast<milliseconds>(d).count();
}

/// `t + d` without overflow: a far future stays the far future.
[[nodiscard]] constexpr time_point later(time_point t, duration d) {
    return t > time_point() && d > time_point::max() - t ? time_point::max() : t + d;
}

/// How long it is until `t`, without overflow: zero when `t` is over, time_point::min() included.
[[nodiscard]] constexpr duration time_until(time_point t, time_point now) {
    return t > now ? t - now : duration::zero();
}

} // namespace holdfast
