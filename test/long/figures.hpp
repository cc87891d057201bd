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

/// A straight line through values taken at equal distances: how much they grow from one to the next, and
/// between which bounds that is known (two standard errors to each side).
struct trend {
    double slope = 0;
    double low = 0;
    double high = 0;
};

/// Least squares. Fewer than three values have no trend.
inline trend trend_of(const std::vector<double>& values) {
    trend result;
    const auto n = static_cast<double>(values.size());
    if (values.size() < 3)
        return result;
    const double mean_x = (n - 1) / 2;
    double mean_y = 0;
    for (const double y : values)
        mean_y += y / n;
    double xx = 0, xy = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double x = static_cast<double>(i) - mean_x;
        xx += x * x;
        xy += x * (values[i] - mean_y);
    }
    result.slope = xy / xx;
    double residue = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double x = static_cast<double>(i) - mean_x;
        residue += std::pow(values[i] - mean_y - result.slope * x, 2);
    }
    const double error = std::sqrt(residue / (n - 2) / xx);
    result.low = result.slope - 2 * error;
    result.high = result.slope + 2 * error;
    return result;
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
