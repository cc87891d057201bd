// Figures about figures: percentiles, and whether something grows.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace holdfast::test {

/// The smallest value that at least `percent` of all values do not exceed; 0 when there are none.
inline double percentile(std::vector<double> values, double percent) {
    if (values.empty())
        return 0;
    std::sort(values.begin(), values.end());
    const auto rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
    return values[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

/// How much values taken at equal distances grow from one to the next, and between which bounds that is known
/// (two standard errors to each side).
struct trend {
    double slope = 0;
    double low = 0;
    double high = 0;
};

/// The median of the slopes between any two values (Theil and Sen), and the bounds that follow from how many
/// of these slopes may go the other way by chance (Kendall). A burst moves neither, and nothing is said of
/// how the noise is spread; but values that hang together with their neighbours look surer than they are.
/// Fewer than three values have no trend.
inline trend trend_of(const std::vector<double>& values) {
    if (values.size() < 3)
        return {};
    std::vector<double> slopes;
    for (std::size_t i = 0; i < values.size(); ++i)
        for (std::size_t j = i + 1; j < values.size(); ++j)
            slopes.push_back((values[j] - values[i]) / static_cast<double>(j - i));
    std::sort(slopes.begin(), slopes.end());
    const auto n = static_cast<double>(values.size());
    const auto all = static_cast<double>(slopes.size());
    const double by_chance = 2 * std::sqrt(n * (n - 1) * (2 * n + 5) / 18);
    const auto at = [&](double rank) {
        return slopes[static_cast<std::size_t>(std::clamp(std::floor(rank), 0.0, all - 1))];
    };
    return {at(all / 2), at((all - by_chance) / 2), at((all + by_chance) / 2)};
}

/// Whether values grow by more than `allowed` from one to the next, beyond noise, all in all and in each
/// half: what leaks does so all the time; a pool that a burst has made larger for good is a step, in one
/// half.
inline bool grows(const std::vector<double>& values, double allowed) {
    const auto half = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    const auto leaks = [&](const std::vector<double>& some) {
        const auto found = trend_of(some);
        return found.low > 0 && found.slope > allowed;
    };
    return leaks(values) && leaks({values.begin(), half}) && leaks({half, values.end()});
}

/// The least of each block of `size` values; what is left at the end is dropped. Bursts come and go: what
/// never goes away again is what grows.
inline std::vector<double> block_least(const std::vector<double>& values, std::size_t size) {
    std::vector<double> least;
    for (std::size_t begin = 0; begin + size <= values.size(); begin += size) {
        const auto first = values.begin() + static_cast<std::ptrdiff_t>(begin);
        least.push_back(*std::min_element(first, first + static_cast<std::ptrdiff_t>(size)));
    }
    return least;
}

} // namespace holdfast::test
