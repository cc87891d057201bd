#include <holdfast/retry/retry_budget.hpp>

#include <algorithm>

namespace holdfast::retry {
namespace {

constexpr std::uint64_t whole = 100; ///< hundredths in one retry

} // namespace

retry_budget::retry_budget(retry_allowance allowance) noexcept
    : allowance_(allowance), besides_(allowance.per_second, allowance.per_second) {}

void retry_budget::first_try() noexcept {
    earned_ = std::min(earned_ + allowance_.percent, allowance_.most_saved * whole);
}

retry_budget::grant retry_budget::retry(time_point now) {
    if (earned_ >= whole) {
        earned_ -= whole;
        return {now, true, {}};
    }
    if (allowance_.per_second == 0)
        return {time_point::max(), false, {}};
    const auto place = besides_.take(now);
    return {place.ready, false, place};
}

void retry_budget::give_back(const grant& unused) {
    if (unused.earned)
        earned_ = std::min(earned_ + whole, allowance_.most_saved * whole);
    else if (unused.ready != time_point::max())
        besides_.give_back(unused.place);
}

} // namespace holdfast::retry
