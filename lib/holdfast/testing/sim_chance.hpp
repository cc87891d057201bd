// Chance, ids and the wall clock of a simulated server: all of it from one seed and the list of what happens
// when. Not for users.
#pragma once

#include <holdfast/testing/sim_story.hpp>
#include <holdfast/time.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::testing::detail {

class chance {
public:
    chance(std::uint64_t seed, wall_time epoch, const timeline& line)
        : epoch_(epoch), line_(line), draws_(seed) {}

    /// From zero, below `below`.
    std::uint64_t draw(std::uint64_t below);
    duration between(milliseconds least, milliseconds most);
    bool happens(double probability);
    std::string random_text(std::size_t size, std::string_view alphabet);

    /// "msg_0123456789abXXXXXXXXXXXXXX": those made later are greater.
    std::string ascending(std::string_view prefix);
    /// Those made later are less.
    std::string descending(std::string_view prefix);
    std::string call_id();
    std::string error_reference();

    [[nodiscard]] std::int64_t wall_ms() const;
    /// The moment at which the wall clock shows the epoch.
    void origin(time_point t) { origin_ = t; }

private:
    wall_time epoch_;
    const timeline& line_;
    std::mt19937_64 draws_;
    time_point origin_{};
    std::int64_t last_id_ms_ = 0;
    std::uint64_t ids_in_ms_ = 0;
};

/// Out of a list that has it.
template <class T>
[[nodiscard]] std::unique_ptr<T> take_by_id(std::vector<std::unique_ptr<T>>& all, std::string_view id) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return each->id == id; });
    auto taken = std::move(*found);
    all.erase(found);
    return taken;
}

} // namespace holdfast::testing::detail
