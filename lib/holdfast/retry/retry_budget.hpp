// How many retries of REST calls (snapshots, captures) there may be, so that retries never become the load.
// Pure; the waiting is done by `runtime`.
#pragma once

#include <holdfast/retry/pace.hpp>
#include <holdfast/time.hpp>

#include <cstdint>

namespace holdfast::retry {

/// The settings of a retry_budget.
struct retry_allowance {
    unsigned percent = 20;      ///< retries for each hundred first tries
    unsigned per_second = 10;   ///< retries besides, saved up for at most one second; 0: none besides
    unsigned most_saved = 1000; ///< retries earned by first tries and not yet used, at most
};

/// Says when the next retry may be sent. First tries are always free.
///
/// In any span of time w there are no more retries than most_saved + percent / 100 * (first tries in w) +
/// per_second * (w + 1 s), and from the beginning no more than percent / 100 * (first tries) + per_second *
/// (w + 1 s).
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class retry_budget {
public:
    explicit retry_budget(retry_allowance allowance = {}) noexcept;

    struct grant {
        time_point ready{};  ///< not before; time_point::max(): there is none, and none was taken
        bool earned = false; ///< paid by first tries
        pace::place place;   ///< where not earned
    };

    /// A first try is sent.
    void first_try() noexcept;

    /// Takes leave to retry once: at once while first tries have earned it, else at the next free place of
    /// those that there are besides.
    [[nodiscard]] grant retry(time_point now);

    /// The retry was not sent (cancelled, or no longer wanted).
    void give_back(const grant& unused);

private:
    retry_allowance allowance_;
    pace besides_;
    std::uint64_t earned_ = 0; ///< in hundredths of a retry
};

} // namespace holdfast::retry
