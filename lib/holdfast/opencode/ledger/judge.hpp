// How a turn ended, if it did: rules over the ledger, in the order in which they apply. For servers up
// to 1.18. Not for users.
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/opencode/ledger/narrator.hpp>
#include <holdfast/opencode/ledger/session_ledger.hpp>

#include <optional>
#include <span>
#include <string_view>

namespace holdfast::opencode::ledger {

/// What makes us look at a turn: an event, or a snapshot that was begun at a position.
struct occasion {
    std::optional<position> snapshot_begun;

    /// A snapshot just merged answers what was asked by then.
    [[nodiscard]] bool answers(position asked) const { return snapshot_begun && asked <= *snapshot_begun; }
};

struct judgement {
    enum class kind {
        open,   ///< nothing can be said yet
        ends,   ///< by `outcome` and `why`
        verify, ///< the same, but it is only inferred: a snapshot begun from now on decides
        repost, ///< the prompt is to be posted once more, and waited for anew
        aside,  ///< it is no turn, unless an answer names it
    };
    judgement::kind what = kind::open;
    opencode::outcome outcome = opencode::outcome::lost;
    opencode::rule why = rule::never_answered;
    std::optional<api_error> error;
    std::string_view by; ///< the rule of the table
};

/// What the rules look at.
struct turn_case {
    const session_ledger& ledger;
    const audience& listeners;
    const turn_facts& turn;
    occasion seen;
    position grace_over = 0;              ///< zero: it is not
    const message_record* last = nullptr; ///< answer, summaries too
    const message_record* own = nullptr;  ///< the last that is no summary
};

/// A row of the table: the first that applies decides.
struct turn_rule {
    /// What a decision needs.
    enum class proof {
        none,     ///< it is confirmed: the server says so
        snapshot, ///< it is inferred: by a snapshot begun after that
        second,   ///< a snapshot's messages may be newer than its status: by a second one, or by an unbroken
                  ///< stream
    };
    std::string_view name;
    std::string_view protocol; ///< the row of PROTOCOL.md that it comes from
    bool (*applies)(const turn_case&);
    judgement (*says)(const turn_case&);
    turn_rule::proof needs = proof::none;
};

/// What a finished message stands for.
struct message_rule {
    std::string_view name;
    std::string_view protocol;
    bool (*applies)(const turn_case&, const message_record&);
    judgement (*says)(const turn_case&, const message_record&);
};

[[nodiscard]] std::span<const turn_rule> turn_rules();
[[nodiscard]] std::span<const message_rule> message_rules();

class judge {
public:
    judge(const session_ledger& ledger, const audience& listeners) : ledger_(ledger), audience_(listeners) {}

    [[nodiscard]] judgement decide(const turn_facts& t, const occasion& seen, position grace_over) const;
    /// What the last answer of its own stands for; it is finished.
    [[nodiscard]] judgement by_own_answer(const turn_facts& t) const;
    /// Its end, when it comes, is not known, and nothing is at work on it.
    [[nodiscard]] bool is_unanswered(const turn_facts& t) const;
    /// A prompt of somebody else that is no turn yet, though all prompts are.
    [[nodiscard]] bool is_pending(const turn_facts& t) const;
    /// The stream goes on, but what happened before it does is not known yet.
    [[nodiscard]] bool awaits_repair() const;
    [[nodiscard]] reprompt safety(const turn_facts& t, outcome o, rule r, bool moved) const;

private:
    [[nodiscard]] turn_case look_at(const turn_facts& t, const occasion& seen, position grace_over) const;
    const session_ledger& ledger_;
    const audience& audience_;
};

} // namespace holdfast::opencode::ledger
