// How a turn of a 2.x server ended, if it did: rules over the ledger, in the order in which they apply. Pure.
// Not for users.
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/opencode/protocol/v2/session_ledger.hpp>
#include <holdfast/time.hpp>

#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace holdfast::opencode::v2 {

/// How long the judge waits for what may still come.
struct graces {
    /// After the greeting: a restarted service may still take a turn up by itself.
    duration restart = seconds(10);
    /// After a snapshot that says idle: the terminal comes later than that.
    duration terminal = seconds(5);
};

struct judgement {
    enum class kind {
        open,   ///< nothing can be said yet
        parked, ///< it waits in the inbox, and nothing runs: it runs with the next prompt
        ends,   ///< by `outcome` and `why`
        joined, ///< it ends when `into` does, and as that does
        wait,   ///< a snapshot begun at `until` or later decides
    };
    judgement::kind what = kind::open;
    opencode::outcome outcome = opencode::outcome::lost;
    opencode::rule why = rule::never_answered;
    std::optional<api_error> error;
    reprompt safe = reprompt::no;
    std::string into;
    time_point until{};
    std::string_view by; ///< the rule of the table

    friend bool operator==(const judgement&, const judgement&) = default;
};
/// "completed by message_finished (answered)", "wait", ...
std::ostream& operator<<(std::ostream& out, const judgement& j);

/// What the rules look at.
struct turn_case {
    const session_ledger& ledger;
    const input_facts& turn;
    session_ledger::work work; ///< of a promoted prompt
    graces grace;
    time_point now{};
    bool can_cancel_queued = true; ///< see dialect
};

/// A row of the table: the first that applies decides.
struct turn_rule {
    std::string_view name;
    std::string_view protocol; ///< the row of WIRE.md that it comes from
    bool (*applies)(const turn_case&);
    judgement (*says)(const turn_case&);
};

[[nodiscard]] std::span<const turn_rule> turn_rules();

class judge {
public:
    judge(const session_ledger& ledger, graces grace, bool can_cancel_queued)
        : ledger_(ledger), grace_(grace), can_cancel_queued_(can_cancel_queued) {}

    [[nodiscard]] judgement decide(const input_facts& turn, time_point now) const;

private:
    const session_ledger& ledger_;
    graces grace_;
    bool can_cancel_queued_;
};

} // namespace holdfast::opencode::v2
