// The facts of one root session, in the order in which they were learned: prompts, messages, parts, statuses,
// errors, aborts, breaks of the stream, snapshots. It knows no owner and decides nothing: what was so, and
// since when, are queries over positions. Not for users.
#pragma once

#include <holdfast/opencode/event.hpp>
#include <holdfast/opencode/ledger/family.hpp>
#include <holdfast/opencode/ledger/transcript.hpp>
#include <holdfast/retry/failure.hpp>

#include <deque>
#include <limits>
#include <list>
#include <map>
#include <set>
#include <utility>

namespace holdfast::opencode::ledger {

/// A prompt of which something is, or was, waited for.
struct turn_facts {
    enum class origin {
        ours,    ///< opened before its post, or taken up
        others,  ///< somebody else's
        settled, ///< somebody else's, or one that was settled here before: followed only for the sake of
                 ///< others
    };

    std::string id;
    turn_facts::origin from = origin::ours;
    position opened = 0;
    position posted = 0;   ///< the server accepted it
    position adopted = 0;  ///< taken up: what came before was told to nobody here
    position released = 0; ///< its owner detached from it
    position reposted = 0; ///< it was to be posted once more
    position missed = 0;   ///< something of it did not come, though the stream did not break
    position doubted = 0; ///< how it ended was only inferred, and is to be verified by a snapshot begun later
    bool posted_twice = false; ///< more than one POST of it was under way: the later one may run it once more
    std::set<std::string> rejected_calls;
    std::string
        overtaken_by; ///< the later turn whose answer also answers this one, when it was looked at last
};

/// An error that carries no message id.
struct error_fact {
    /// What it can be about. One of the session's own is about what is at work; while nothing is, it can only
    /// be about a prompt that the server does not take.
    enum class scope { unknown_prompt, work, overflow };
    position at = 0;
    api_error error;
    error_fact::scope about = scope::unknown_prompt;
    std::string writing;    ///< the answer that was being written then
    std::string claimed_by; ///< the turn whose answer tells this error to be its own
    bool claimed = false;   ///< by that one, or by an answer to nobody here
    bool sure = false;      ///< no prompt was unknown to the server that it may have been about
    position idle = 0;      ///< the session was said to be so first after it
    position answer = 0;    ///< one was begun first after it

    /// The loop went on: it was not the end of those that wait for an answer.
    [[nodiscard]] bool was_survived() const noexcept { return answer != 0 && (idle == 0 || answer < idle); }
};

/// An abort ends every turn whose prompt the server had by then.
struct abort_fact {
    position at = 0;
    std::optional<std::int64_t> before_ms; ///< of one found in messages: it ends what was created before that
    bool guessed = false; ///< somebody's turn ended as one does that is aborted in a retry wait
};

/// The last so many ids that were put in, each with that of the prompt it belongs to, where that matters.
class recent_ids {
public:
    void insert(const std::string& id, std::string prompt = {});
    void erase(const std::string& id) { ids_.erase(id); }
    void erase_those_of(const std::string& prompt);
    [[nodiscard]] bool contains(const std::string& id) const { return ids_.contains(id); }
    /// Empty: none, or it is not among them.
    [[nodiscard]] std::string prompt_of(const std::string& id) const;

private:
    std::map<std::string, std::string> ids_;
    std::deque<std::string> order_; ///< oldest first
};

class session_ledger {
public:
    struct limits {
        std::size_t max_children = 1000;
        std::size_t max_turns = 128;
        bool follows = false;  ///< every prompt is a turn of its own
        bool recorded = false; ///< all that there is comes on the stream
    };
    /// The stream as it was learned of.
    struct stream_facts {
        bool attached = false;
        position begun = 0;    ///< the present one, or the last
        position broken = 0;   ///< last
        position disposed = 0; ///< ended last by the server itself: its instance, and whatever waited there
        position repaired = 0; ///< a snapshot told last what the present one could not
        position shown = 0;    ///< a snapshot told last what there is, with or without a stream
    };
    struct status_facts {
        std::optional<session_status> now; ///< nothing: not known
        position told = 0;                 ///< last, by an event
        position busy = 0;                 ///< told last to be so
        position working = 0;              ///< known last to be so
        position begun = 0;                ///< went last from idle, or from not known, to work
    };

    session_ledger(std::string root, limits l);

    // --- positions
    position advance() noexcept { return ++at_; }
    [[nodiscard]] position at() const noexcept { return at_; }
    /// How much was new so far.
    [[nodiscard]] std::uint64_t news() const noexcept { return news_; }
    void note_news() noexcept { ++news_; }

    // --- turns
    turn_facts& open(std::string id, turn_facts::origin from);
    /// Forgets a turn, and its messages, but for its prompt, which keeps its place in the order.
    void forget(const std::string& id);
    void forget_all();
    void let_go_unseen(const std::string& id);
    /// No turn, unless an answer names it.
    void set_aside(const std::string& id);
    /// Whether its events are delivered: it is ours, or all prompts are followed, and nobody detached from
    /// it.
    [[nodiscard]] bool is_to_be_told(const turn_facts& t) const;
    [[nodiscard]] turn_facts* find_turn(std::string_view id);
    [[nodiscard]] const turn_facts* find_turn(std::string_view id) const;
    [[nodiscard]] std::list<turn_facts>& turns() noexcept { return turns_; }
    [[nodiscard]] const std::list<turn_facts>& turns() const noexcept { return turns_; }
    void remember_settled(const std::string& id) { settled_.insert(id); }
    [[nodiscard]] bool was_settled(const std::string& id) const { return settled_.contains(id); }
    /// Prompts of others are no turns yet, as there were too many at once.
    [[nodiscard]] bool left_turns_out() const noexcept { return left_turns_out_; }
    [[nodiscard]] bool follows() const noexcept { return limits_.follows; }
    [[nodiscard]] bool is_recorded() const noexcept { return limits_.recorded; }
    [[nodiscard]] bool has_room() const noexcept { return turns_.size() < limits_.max_turns; }
    void follow() noexcept { limits_.follows = true; }

    // --- what the stream tells
    void attach();
    void break_stream(bool by_server);
    void overflow_held() { stream_.begun = at_; } ///< as though it had broken here once more
    void note_status(const session_status& s); ///< by an event; what it means for the present: set_status()
    void note_busy(const session_status& s);
    void note_idle();
    /// True: it is new.
    bool set_status(const session_status& s);
    void lose_status() { status_.now.reset(); }
    void note_error(const api_error& error, bool own);
    void note_abort(std::optional<std::int64_t> before_ms = {}, bool guessed = false);
    void note_abort_requested() { aborts_.requested = at_; }
    void note_abort_accepted() { aborts_.accepted = aborts_.requested; }
    /// What is completed without a word was aborted in a retry wait, and so was what waited behind it.
    void note_interruption(const message_record& last);

    // --- messages and parts
    void merge_info(message_record& m, const message_info& info, bool from_snapshot);
    /// Its text is taken out of it. Null: it says nothing of a part.
    part_record* merge_part(message_record& m, part& p, bool from_stream);
    /// Null: it adds nothing to what is known.
    part_record* merge_delta(message_record& m, part_delta e);
    /// Their texts are taken out of them.
    void merge_message(message& m);
    /// The messages from the first that concerns an open turn on: what is older is history. `status`: before
    /// they were read; `after`: after that, where it was asked for.
    void merge_messages(std::vector<message>& messages, const session_status& status,
                        const std::optional<session_status>& after = {});
    /// Of a message that was thought to be over: its prompt is a turn after all, to be told whole.
    void note_work_on(const std::string& message);
    /// At most so many bytes of text came since it was last asked.
    [[nodiscard]] std::size_t take_text_merged() noexcept { return std::exchange(text_merged_, 0); }
    void repaired() { stream_.repaired = stream_.shown = at_; }
    void captured() { stream_.shown = at_; }

    [[nodiscard]] transcript& said() noexcept { return said_; }
    [[nodiscard]] const transcript& said() const noexcept { return said_; }
    [[nodiscard]] family& sessions() noexcept { return family_; }
    [[nodiscard]] const family& sessions() const noexcept { return family_; }
    [[nodiscard]] const stream_facts& stream() const noexcept { return stream_; }
    [[nodiscard]] const status_facts& status() const noexcept { return status_; }
    [[nodiscard]] bool knows_history() const noexcept { return history_known_; }

    // --- queries: the session
    [[nodiscard]] bool is_idle() const {
        return status_.now && status_.now->state == session_status::kind::idle;
    }
    [[nodiscard]] bool is_busy() const {
        return status_.now && status_.now->state != session_status::kind::idle;
    }

    // --- queries: a turn
    [[nodiscard]] bool prompt_seen(const turn_facts& t) const;
    [[nodiscard]] bool server_knows(const turn_facts& t) const;
    /// Nothing was missed of it up to now, or a snapshot has told it.
    [[nodiscard]] bool is_unbroken(const turn_facts& t) const;
    /// All of it up to now is known. A turn in flight that is adopted has a past: it is told after that.
    [[nodiscard]] bool is_whole(const turn_facts& t) const;
    /// Since it was opened no stream broke.
    [[nodiscard]] bool was_heard_throughout(const turn_facts& t) const;
    [[nodiscard]] bool was_disposed(const turn_facts& t) const {
        return t.posted != 0 && stream_.disposed > t.posted;
    }
    [[nodiscard]] bool was_at_work(const turn_facts& t) const { return status_.working >= t.opened; }
    /// Ours is one from its post. A prompt of others once an answer names it, or that of a later one is for
    /// it too; or, while it is the newest one without an answer, once the session goes to work, or an error
    /// or an abort of the session comes.
    [[nodiscard]] bool has_work(const turn_facts& t) const;
    /// The server has stored it, and nothing tells that work on it has begun, or never will.
    [[nodiscard]] bool is_unbegun(const turn_facts& t) const;
    [[nodiscard]] bool abort_asked(const turn_facts& t) const { return aborts_.requested > t.opened; }
    [[nodiscard]] bool abort_accepted(const turn_facts& t) const { return aborts_.accepted > t.opened; }
    /// It was aborted, and no answer of it was begun since.
    [[nodiscard]] bool was_aborted(const turn_facts& t,
                                   position by = std::numeric_limits<position>::max()) const;
    [[nodiscard]] bool was_perhaps_aborted(const turn_facts& t) const;
    /// The first error since it was opened that no other turn claims; null for none.
    [[nodiscard]] const error_fact* first_error(const turn_facts& t) const;
    /// The first of the session's own that is about this turn.
    [[nodiscard]] const error_fact* own_error(const turn_facts& t) const;
    /// That error came before the session was aborted, if it was.
    [[nodiscard]] bool came_before_abort(const error_fact& e, const turn_facts& t) const {
        return !was_aborted(t, e.at);
    }
    /// Its context was full, and the compaction that follows has not begun.
    [[nodiscard]] bool has_overflowed(const turn_facts& t) const;
    [[nodiscard]] bool ran_a_tool(const turn_facts& t) const;
    /// One of the message's tools ended because somebody said no.
    [[nodiscard]] bool was_rejected(const turn_facts& t, const message_record& m) const;
    /// The first answer to a later turn that closes this one, as it was begun after its own last; null for
    /// none.
    [[nodiscard]] const message_record* overtaking(const turn_facts& t) const;

private:
    void claim(const api_error& error, const std::string& owner);
    [[nodiscard]] bool is_claimed(const api_error& error) const;
    [[nodiscard]] bool is_about(const error_fact& e, const turn_facts& t) const;
    [[nodiscard]] bool matches(const abort_fact& a, const turn_facts& t, position by) const;
    void become_prompt(message_record& m);
    void know_prompt(message_record& m);
    void know_answer(message_record& m, bool from_snapshot);
    void resume(const std::string& prompt);
    void resume_those_let_fall_with(const message_record& prompt);
    void resume_those_at_work(const std::vector<message*>& sorted, const session_status& status);
    void know_end(message_record& m, bool from_snapshot);
    void miss_beginning(const message_record& m);
    void merge_tool(part_record& record, const part& p, const std::string& turn);
    void merge_text(part_record& record, part& p, bool from_stream);
    static void replace_text(part_record& record, std::string text);
    [[nodiscard]] bool is_over_with_its_turn(const message_record& m) const;
    [[nodiscard]] bool may_answer_an_earlier(const message_record& m) const;
    void remember_history(const std::vector<message*>& sorted, const session_status& status,
                          const std::optional<session_status>& after);

    limits limits_;
    family family_;
    position at_ = 0;
    std::uint64_t news_ = 0;
    std::list<turn_facts> turns_; ///< in the order in which they were opened
    transcript said_;
    stream_facts stream_;
    status_facts status_;
    struct {
        std::vector<error_fact> told;
        std::deque<std::pair<api_error, std::string>>
            claimed; ///< those that an answer told to be its own, and whose
    } errors_;
    struct {
        std::vector<abort_fact> seen;
        position requested = 0; ///< by us, last
        position accepted = 0;  ///< the request that was
    } aborts_;
    recent_ids settled_;           ///< messages of turns that are over: heard of again, they are no news
    recent_ids history_;           ///< messages that were over when the following began; unfinished ones too
    std::set<std::string> let_go_; ///< prompts detached from before the server reported them
    delta_joiner joiner_;
    std::size_t text_merged_ = 0;
    bool left_turns_out_ = false;
    bool history_known_ = false;
};

} // namespace holdfast::opencode::ledger
