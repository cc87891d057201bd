// What a tracker wants done, kept until who drives it asks. Pure. Not for users.
#pragma once

#include <holdfast/opencode/ledger/action.hpp>
#include <holdfast/time.hpp>

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace holdfast::opencode::detail {

struct kept_actions {
    std::vector<ledger::deliver> outputs;
    std::vector<std::string> reposts;
    std::vector<std::string> opened;
    std::optional<time_point> deadline; ///< when time is to pass
    bool wants_snapshot = false;
    bool abort_due = false;
    bool is_void = false; ///< the snapshot merged last

    void take(ledger::actions all) {
        wants_snapshot = false;
        deadline.reset();
        for (auto& a : all)
            std::visit([&](auto& each) { keep(each); }, a);
    }

private:
    void keep(ledger::opened& a) { opened.push_back(std::move(a.message)); }
    void keep(ledger::deliver& a) { outputs.push_back(std::move(a)); }
    void keep(ledger::repost& a) { reposts.push_back(std::move(a.message)); }
    void keep(ledger::abort_again&) { abort_due = true; }
    void keep(ledger::fetch_snapshot&) { wants_snapshot = true; }
    void keep(ledger::snapshot_void&) { is_void = true; }
    void keep(ledger::wake_at& a) { deadline = a.when; }
};

} // namespace holdfast::opencode::detail
