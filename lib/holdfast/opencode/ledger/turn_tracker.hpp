// The truth about the turns of one root session: takes inputs, and returns what is to be done. Joins the
// ledger, the judge, the narrator, the approvals and the deadlines. Pure: no I/O, no clock; `now` is an
// argument. Not for users.
#pragma once

#include <holdfast/opencode/ledger/action.hpp>
#include <holdfast/opencode/ledger/approvals.hpp>
#include <holdfast/opencode/ledger/deadlines.hpp>
#include <holdfast/opencode/ledger/judge.hpp>
#include <holdfast/opencode/ledger/narrator.hpp>
#include <holdfast/opencode/ledger/session_ledger.hpp>
#include <holdfast/opencode/turn_tracker.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::opencode::ledger {

/// Every turn opened is settled exactly once, by a settlement that is the last event delivered with its
/// message id.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class turn_tracker {
public:
    turn_tracker(const std::string& session_id, const tracker_options& options);
    ~turn_tracker();
    turn_tracker(const turn_tracker&) = delete;
    turn_tracker& operator=(const turn_tracker&) = delete;

    // --- what the owner does; each is described in opencode/turn_tracker.hpp
    [[nodiscard]] actions open(const std::string& message, time_point now);
    [[nodiscard]] actions posted(std::string_view message, time_point now, bool once);
    [[nodiscard]] actions adopt(const std::string& message, time_point now);
    [[nodiscard]] actions close(std::string_view message, settlement how);
    [[nodiscard]] actions abort_requested(time_point now);
    [[nodiscard]] actions abort_accepted();
    [[nodiscard]] actions follow();
    [[nodiscard]] actions moved();

    // --- what the stream does
    [[nodiscard]] actions attached();
    [[nodiscard]] actions interrupted(const retry::failure& why, unsigned next_attempt, duration retry_in,
                                      time_point now);
    [[nodiscard]] actions broken_off(const retry::failure& why, time_point now);
    [[nodiscard]] actions hear(event e, time_point now);

    // --- snapshots
    /// To be asked for before the first request of one.
    [[nodiscard]] position begin_snapshot() const noexcept { return ledger_.at(); }
    /// `by_capture`: where there is no stream, what it shows is told at once.
    [[nodiscard]] actions merge(snapshot s, position begun, bool by_capture, time_point now);
    [[nodiscard]] actions snapshot_failed(time_point now);

    [[nodiscard]] actions tick(time_point now);

    // --- what is known
    [[nodiscard]] const session_ledger& facts() const noexcept { return ledger_; }
    [[nodiscard]] bool is_heard(const std::string& message) const { return audience_.has(message); }
    [[nodiscard]] bool has_open_turns() const noexcept { return !audience_.empty(); }
    [[nodiscard]] actions told_so_far() const;
    struct pending_check {
        std::string message;
        std::string why;
    };
    [[nodiscard]] std::vector<pending_check> unsettled() const;

private:
    /// The input that is being taken in.
    struct input {
        std::string trigger; ///< an event's type, or "snapshot": what a settlement names
        time_point now{};
    };

    [[nodiscard]] actions done();
    void progressed(time_point now);

    // turns
    void admit();
    void take_up(turn_facts& t);
    void evaluate(const occasion& seen = {});
    void apply(turn_facts& t, judgement j);
    void doubt(turn_facts& t);
    void settle(const std::string& id, settlement s);
    void settle_merged(const std::string& by, const settlement& end);
    void deliver_end(const turn_facts& t, const settlement& s, bool cut_short);
    [[nodiscard]] settlement make_settlement(const turn_facts& t, const judgement& j) const;
    [[nodiscard]] bool ends_one_to_verify(const std::string& by) const;
    void settle_deleted();
    void forget_all();
    void watch_unanswered();
    void set_aside_context();
    void set_graces();
    [[nodiscard]] duration grace_of(const turn_facts& t) const;

    // events
    void hold(event& e);
    void take_held();
    void drop_held();
    void take(event& e);
    void dispatch(event& e);
    struct own_events;
    struct common_events;
    void set_status(const session_status& s);
    void approval_answered(std::string_view request, const std::string& reply, bool rejected);

    void take(snapshot& s, position begun, bool by_capture, time_point now);
    void break_off(const retry::failure& why, time_point now);
    [[nodiscard]] bool watches_quiet() const;
    [[nodiscard]] bool wants_snapshot() const;
    [[nodiscard]] std::string reason(const turn_facts& t) const;

    tracker_options options_;
    session_ledger ledger_;
    audience audience_;
    narrator narrator_;
    approvals approvals_;
    deadlines deadlines_;
    judge judge_;
    input input_;
    std::map<std::string, settlement> deferred_; ///< ends with a later turn, before its own post was answered
    std::vector<event> held_;                    ///< of a stream whose gap is not repaired yet
    std::size_t held_bytes_ = 0;
    bool unseen_ = false; ///< followed, and what happened before this stream began is not known yet
    bool moved_ = false; ///< while turns are open: an abort reaches the session where it is, not what it left
    bool out_of_reach_ = false; ///< the server did not answer since it last told anything by a snapshot
};

} // namespace holdfast::opencode::ledger
