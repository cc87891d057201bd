// What both simulated servers are held to by the recordings that they play.
#pragma once

#include "support/event_tokens.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace holdfast::test {

/// Each recording is in one of the two lists, once.
template <class Played>
void check_each_is_named_once(const std::vector<Played>& played,
                              const std::map<std::string, std::string>& not_played,
                              const std::vector<std::filesystem::path>& recordings) {
    std::set<std::string> known;
    for (const auto& r : played)
        BOOST_TEST(known.insert(r.name).second, r.name << " is named twice");
    for (const auto& [name, why] : not_played)
        BOOST_TEST(known.insert(name).second, name << " is named twice");
    for (const auto& path : recordings)
        BOOST_TEST(known.erase(path.stem().string()) == 1u, path.stem() << " is in neither list");
    for (const auto& name : known)
        BOOST_ERROR("there is no recording " << name);
}

/// `recorded(r)` and `simulated(r, seed)` are the tokens of each session.
template <class Played, class Recorded, class Simulated>
void check_some_seed_gives_the_same(const std::vector<Played>& played, Recorded recorded,
                                    Simulated simulated) {
    for (const auto& r : played) {
        BOOST_TEST_CONTEXT(r.name) {
            const auto real = recorded(r);
            bool same = false;
            for (std::uint64_t seed = 1; seed <= 60 && !same; ++seed)
                same = simulated(r, seed) == real;
            BOOST_TEST(same, r.name << "\nrecorded:\n"
                                    << show(real) << "\nplayed:\n"
                                    << show(simulated(r, 1)));
        }
    }
}

/// The sets of keys that objects of each kind were seen with.
using shapes = std::map<std::string, std::set<std::set<std::string>>>;

inline std::set<std::string> keys(const json::object& o) {
    std::set<std::string> out;
    for (const auto& member : o)
        out.emplace(member.key());
    return out;
}

inline std::string list(const std::set<std::set<std::string>>& sets) {
    std::string out;
    for (const auto& one : sets) {
        out += "  {";
        for (const auto& key : one)
            out += " " + key;
        out += " }\n";
    }
    return out;
}

/// Simulated objects of a kind have no set of keys that the real ones lack.
inline void check_sets(const std::string& kind, const std::set<std::set<std::string>>& real,
                       const std::set<std::set<std::string>>& simulated) {
    const bool known = std::includes(real.begin(), real.end(), simulated.begin(), simulated.end());
    BOOST_TEST(known, kind << "\nrecorded:\n" << list(real) << "simulated:\n" << list(simulated));
}

} // namespace holdfast::test
