// The truth about the turns of one root session of a 2.x server: takes inputs, and returns what is to be
// done. Joins the ledger, the judge and what was told. Pure: no I/O, no clock; `now` is an argument.
// Not for users.
#pragma once

#include <holdfast/opencode/ledger/action.hpp>
#include <holdfast/opencode/protocol/v2/judge.hpp>
#include <holdfast/opencode/protocol/v2/session_ledger.hpp>
#include <holdfast/opencode/protocol/v2/told_text.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
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
    std::size_t max_asks = 256;      ///< permissions and forms that wait at once; others are not told
    std::size_t max_children = 1000; ///< sessions below the root, all levels
    duration quiet_after{};          ///< no progress for so long: ask the server. Zero: never
    bool tell_strays = false;        ///< approvals that no turn waits for, without a turn
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
    [[nodiscard]] ledger::actions adopt(const std::string& prompt, time_point now);
    [[nodiscard]] ledger::actions close(const std::string& prompt, settlement how);
    [[nodiscard]] ledger::actions follow(time_point now);
    [[nodiscard]] ledger::actions abort_requested();
    [[nodiscard]] ledger::actions abort_accepted(time_point now);
    /// The open turns that wait in the inbox, and that an abort is to take out of it.
    [[nodiscard]] std::vector<std::string> to_cancel() const;
    /// It was taken back, and will not be promoted.
    [[nodiscard]] ledger::actions taken_back(const std::string& prompt, time_point now);

    // --- what the stream does
    /// The greeting. A snapshot is wanted, if anything went on before.
    [[nodiscard]] ledger::actions attached(time_point now);
    [[nodiscard]] ledger::actions interrupted(const retry::failure& why, unsigned next_attempt,
                                              duration retry_in, time_point now);
    [[nodiscard]] ledger::actions broken_off(const retry::failure& why, time_point now);
    /// Of the session itself, or of a child.
    [[nodiscard]] ledger::actions hear(event e, time_point now);

    // --- snapshots
    [[nodiscard]] position begin_snapshot() const noexcept { return ledger_.at(); }
    [[nodiscard]] ledger::actions merge(const snapshot& s, position begun, time_point begun_at,
                                        time_point now);
    [[nodiscard]] ledger::actions snapshot_failed(time_point now);
    [[nodiscard]] ledger::actions tick(time_point now);

    // --- what is known
    [[nodiscard]] const session_ledger& facts() const noexcept { return ledger_; }
    [[nodiscard]] bool has_open_turns() const;
    /// The session itself or a known child.
    [[nodiscard]] bool owns(std::string_view session) const;
    [[nodiscard]] std::vector<std::string> children() const;
    [[nodiscard]] bool is_open(std::string_view prompt) const;
    [[nodiscard]] bool knows_history() const noexcept { return follows_ && !unseen_; }
    [[nodiscard]] const std::optional<session_status>& status() const noexcept { return status_; }
    [[nodiscard]] std::size_t background() const;
    [[nodiscard]] std::size_t waiting() const;
    [[nodiscard]] std::optional<unsigned> depth_of(std::string_view session) const;
    [[nodiscard]] std::vector<ledger::deliver> told_so_far() const;
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
        std::string turn{}; ///< that was told; empty: none
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
    void tell_ask(const ask& a, std::optional<std::string> reply);
    void tell_asks_left_by(const std::string& turn);
    void ask_for(ask a);
    void answer(std::string_view request, const std::string& reply);
    void withdraw(std::string_view session);
    void merge_asks(const snapshot& s, position begun);

    // snapshots
    void note_status(session_status::kind now);
    void merge_status(const snapshot& s, position begun);
    void take_up_found(time_point now);
    [[nodiscard]] bool was_over(const input_facts& p, time_point now) const;
    void tell_rows(const snapshot& s);
    void tell_row(const message_row& row);

    // turns
    void take_up(input_facts& p);
    void take_up_of_others(input_facts& p);
    void remember(const std::string& prompt);
    void break_off(const retry::failure& why, time_point now);
    [[nodiscard]] std::optional<time_point> quiet_at() const;
    void tell_quiet(std::string_view status, time_point now);
    [[nodiscard]] std::string owner_of(std::string_view message) const;
    [[nodiscard]] std::string at_work() const;
    void tell(const std::string& turn, agent_event e);
    void tell_all(const agent_event& e);
    void evaluate(time_point now);
    bool evaluate_once(time_point now);
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
    std::set<std::string, std::less<>> children_at_work_;
    std::set<std::string, std::less<>> our_children_; ///< begun by our turns
    std::set<std::string, std::less<>> others_;       ///< open turns of other people's prompts
    std::set<std::string, std::less<>> known_;        ///< prompts that were turns, or history
    std::deque<std::string> known_in_order_;
    std::map<std::string, position> asked_; ///< our open turns, and when they were opened
    std::optional<session_status> status_;
    position status_at_ = 0;
    bool follows_ = false;
    bool unseen_ = false;               ///< followed, and what was over is not told apart yet
    bool must_look_ = false;            ///< a snapshot is wanted, whatever the judge says
    std::optional<time_point> look_at_; ///< what an interrupt should have ended by then is looked at
    time_point progress_{};
    time_point quiet_told_{};
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
