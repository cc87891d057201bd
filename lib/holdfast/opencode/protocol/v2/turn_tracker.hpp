// The truth about the turns of one root session of a 2.x server: takes inputs, and returns what is to be
// done. Joins the ledger, the judge and what was told. Pure: no I/O, no clock; `now` is an argument.
// Not for users.
#pragma once

#include <holdfast/opencode/ledger/action.hpp>
#include <holdfast/opencode/protocol/v2/judge.hpp>
#include <holdfast/opencode/protocol/v2/session_ledger.hpp>
#include <holdfast/opencode/protocol/v2/told_text.hpp>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace holdfast::opencode::v2 {

struct tracker_options {
    graces grace;
    bool can_cancel_queued = true; ///< see dialect
    bool adopt_prompts = false;    ///< a turn for each prompt that appears on the stream
    /// Events kept from the greeting to the snapshot that repairs the gap before it; beyond that it is as
    /// though the stream had broken once more.
    std::size_t max_held = 8192;
    std::size_t max_asks = 256; ///< permissions and forms that wait at once; others are not told
};

/// Every turn opened is settled exactly once, by a settlement that is the last event delivered with its
/// message id. What each function does is described in opencode/turn_tracker.hpp.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class turn_tracker {
public:
    turn_tracker(std::string session, tracker_options options);

    // --- what the owner does
    [[nodiscard]] ledger::actions open(const std::string& prompt);
    [[nodiscard]] ledger::actions posted(const std::string& prompt, time_point now);
    [[nodiscard]] ledger::actions close(const std::string& prompt, settlement how);
    [[nodiscard]] ledger::actions abort_requested();
    [[nodiscard]] ledger::actions abort_accepted(time_point now);
    /// The open turns that wait in the inbox, and that an abort is to take out of it.
    [[nodiscard]] std::vector<std::string> to_cancel() const;

    // --- what the stream does
    /// The greeting. A snapshot is wanted, if anything went on before.
    [[nodiscard]] ledger::actions attached(time_point now);
    [[nodiscard]] ledger::actions interrupted(const retry::failure& why, unsigned next_attempt,
                                              duration retry_in, time_point now);
    /// Of the session itself, or of a child.
    [[nodiscard]] ledger::actions hear(event e, time_point now);

    // --- snapshots
    [[nodiscard]] position begin_snapshot() const noexcept { return ledger_.at(); }
    [[nodiscard]] ledger::actions merge(const snapshot& s, position begun, time_point begun_at,
                                        time_point now);
    [[nodiscard]] ledger::actions tick(time_point now);

    // --- what is known
    [[nodiscard]] const session_ledger& facts() const noexcept { return ledger_; }
    [[nodiscard]] bool has_open_turns() const;
    /// The session itself or a known child.
    [[nodiscard]] bool owns(std::string_view session) const;
    struct pending_check {
        std::string message;
        std::string why;
    };
    [[nodiscard]] std::vector<pending_check> unsettled(time_point now) const;

private:
    struct ask { // an approval that waits
        std::variant<permission_request, question_request> request;
        std::string session;
        position known = 0;
    };
    struct taker;

    // events
    void take(const event& e);
    void take_child(const event& e);
    void take_approval(const event& e);
    void tell_tool(const tool_changed& e);
    void tell_part(const part_key& key, const told& t);
    void tell_usage(step_facts& s, const token_usage& tokens, double cost);

    // approvals
    void ask_for(ask a);
    void answer(std::string_view request, const std::string& reply);
    void withdraw(std::string_view session);
    void merge_asks(const snapshot& s, position begun);

    // snapshots
    void tell_rows(const snapshot& s);
    void tell_row(const message_row& row);

    // turns
    void take_up(input_facts& p);
    [[nodiscard]] std::string owner_of(std::string_view message) const;
    [[nodiscard]] std::string at_work() const;
    void tell(const std::string& turn, agent_event e);
    void tell_all(const agent_event& e);
    void evaluate(time_point now);
    bool evaluate_once(time_point now);
    [[nodiscard]] bool is_open(std::string_view prompt) const;
    void settle(input_facts& p, const judgement& j, const input_facts& by);
    void settle_joined(const std::string& into, const settlement& end);
    void deliver(input_facts& p, settlement s);
    [[nodiscard]] settlement make_settlement(const input_facts& p, const judgement& j) const;
    void delete_all();
    void schedule(time_point now);
    [[nodiscard]] ledger::actions done(time_point now);

    session_ledger ledger_;
    tracker_options options_;
    judge judge_;
    std::map<std::string, std::string, std::less<>> parents_; ///< of the sessions below the root
    std::map<std::string, ask, std::less<>> asks_;
    std::map<std::string, position> parked_; ///< turns that were told so, and when the session had stopped
    std::map<std::string, turn_usage> used_;
    std::vector<event> held_;
    bool holds_ = false;              ///< a gap is not repaired yet
    std::optional<std::int64_t> seq_; ///< the last of the session's own log
    time_point broken_at_{};
    retry::failure_class broken_by_ = retry::failure_class::cut;
    std::string trigger_; ///< what a settlement names: an event's type, or "snapshot"
    ledger::actions out_;
    std::optional<time_point> wants_; ///< when a snapshot is to be begun
};

} // namespace holdfast::opencode::v2
