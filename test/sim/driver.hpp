// One run of a scenario: a world, its servers, the library, and users of the library's public API who do what
// the scenario says and write down all that they are told.
#pragma once

#include "invariants.hpp"
#include "observations.hpp"
#include "scenario.hpp"
#include "support/protocol_rows.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace holdfast::sim {

/// One thing that is broken on purpose, for sweeps: the n-th (from 1) of its kind.
struct sabotage {
    enum class kind { connect, read, write, suspension, callback };
    sabotage::kind what = kind::connect;
    std::size_t nth = 1;
};

struct run_options {
    bool timeline = false;
    std::optional<sabotage> sabotaged;
    bool rows = false; ///< which cases of the protocol came to pass is found out
};

struct run_result {
    sim::observations seen;
    sim::complaints complaints;
    std::vector<std::string> timeline; ///< "virtual ms  who  what", when asked for
    std::uint64_t digest = 0;          ///< of all that was told: the same for the same seed
    bool struck = false;               ///< the sabotage came to pass
    std::set<test::row> rows;          ///< when asked for
};

/// Runs a scenario to its end and checks it.
[[nodiscard]] run_result run(const scenario& what, const run_options& how = {});

} // namespace holdfast::sim
