// The truth about the turns of one root session: takes events and snapshots, gives agent events and
// settlements. Pure: no I/O, no clock; `now` is an argument. DESIGN of the rules: see `rule` in
// agent_event.hpp.
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/opencode/event.hpp>
#include <holdfast/time.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::opencode {

/// What the server said of one root session by REST. Taken in this order: status, messages, the status once
/// more, permissions, questions.
struct snapshot {
    snapshot() = default; // no aggregate, see header

    [[nodiscard]] bool is_at_work(const std::string& session) const {
        return at_work && at_work->contains(session);
    }

    session_status status; ///< of the root session
    /// The same, read after the messages; nothing: it was not asked for. Only with it is an answer without an
    /// end history when the following begins.
    std::optional<session_status> status_after;
    bool session_known = true;          ///< false: 404, the session was deleted
    std::vector<message> messages;      ///< the latest, ascending
    std::vector<session_info> children; ///< of the root session, all levels
    /// Which sessions were at work, these children among them; null: none.
    std::shared_ptr<const session_statuses> at_work;
    std::vector<part> child_tools;               ///< the latest of those children that ask for something
    std::vector<permission_request> permissions; ///< of the root and its children
    std::vector<question_request> questions;
};

struct tracker_options {
    duration start_grace =
        seconds(5); ///< how long an unfinished or missing answer of a session that is not busy is waited for
    /// The same of a prompt that the server has stored, in a session not at work since, where nothing tells
    /// of an error or an abort: a cold instance on a busy machine was seen to begin after 48 s. No less than
    /// start_grace.
    duration unbegun_grace = seconds(60);
    duration abort_grace =
        seconds(1); ///< the same once we have asked the server to abort: it answers such turns no more
    duration quiet_after = seconds(
        30); ///< no progress for so long: ask the server; again after each further such time. Zero: never
    std::size_t max_children = 1000; ///< of one root session, all levels: what else is said to be one is none
    std::size_t max_asks =
        256; ///< permissions and questions that wait at once: others are told when these are answered
    /// What those ask for, in bytes; one alone may be larger. 0: only their number is bounded.
    std::size_t ask_bytes = 8u << 20;
    std::size_t max_turns = 128; ///< of others' prompts at once: later ones are turns when those are over
    /// Bytes of text and reasoning that are kept of turns that are only followed, of one session together;
    /// the rest is told as it comes, and then dropped from its beginning. What is kept at the end is
    /// settlement::text. 0: all is kept. Of turns that are prompted or adopted here all is.
    std::size_t followed_text = 16u << 20;
    /// What is kept of a stream until the gap before it is repaired, in bytes; beyond it, as beyond 8,192
    /// events, it is as though the stream had broken once more. 0: only their number is bounded.
    std::size_t held_bytes = 8u << 20;
    bool adopt_prompts = false; ///< open a turn for each prompt that appears on the stream (for recordings)
};

/// Follows one root session: the turns that its owner opened, what each says, and how each ends.
///
/// Events and snapshots enter through the same door. An event that comes between attached() and the snapshot
/// that repairs the gap before it is kept (at most 8,192 of them, see also tracker_options::held_bytes;
/// beyond that it is as though the stream had broken once more) and taken after it, so it does not matter
/// whether the owner buffers them too. What is known of closed turns is dropped, except the ids of the last
/// 4,096 prompts.
///
/// Every turn opened is settled exactly once, by a settlement that is the last output with its message id.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class turn_tracker {
public:
    turn_tracker(std::string session_id, tracker_options options = {});
    ~turn_tracker();
    turn_tracker(turn_tracker&&) noexcept;
    turn_tracker& operator=(turn_tracker&&) noexcept;

    /// One thing to tell the owner of the turn `message` (the prompt's id); without a message it is an
    /// approval of the session's own, which no turn waits for.
    struct output {
        std::string message;
        agent_event event;
        bool ours = true; ///< of our turn, or of a child that it started: rules may answer it
    };

    // --- what the owner does
    /// Opens a turn before its prompt is posted. Nothing is decided before posted().
    void open(std::string message_id, time_point now);
    /// The server accepted the prompt (or it is known to be there: adopted). `once` is false when an earlier
    /// POST of it may still be on its way.
    void posted(std::string_view message_id, time_point now, bool once = true);
    /// Opens a turn whose prompt is with the server already. Nothing is told of it before the next snapshot,
    /// which wants_snapshot() asks for.
    void adopt(std::string message_id, time_point now);
    /// Settles an open turn by our own decision (not_posted, gave_up, server_gone, detached). Idempotent.
    void close(std::string_view message_id, outcome o, rule r, std::optional<settlement_error> error,
               reprompt safe, time_point now);
    /// We ask the server to abort: a turn open now that is never answered ends as aborted.
    void abort_requested(time_point now);
    /// It said that it did: from now on abort_grace is enough for those.
    void abort_accepted();
    /// From now on each prompt of the session is a turn of its own, whoever posts it, as though it were
    /// adopted; but those that are over when the next snapshot is taken are history, of which nothing is
    /// told. Idempotent.
    void follow();

    // --- what the stream does
    void attached(time_point now); ///< an unbroken stream begins
    void interrupted(const retry::failure& why, unsigned next_attempt, duration retry_in, time_point now);
    /// The same, when no further attempt is made: the settlements tell it.
    void broken_off(const retry::failure& why, time_point now);
    void on_event(event e, time_point now); ///< of the root session, of a child, or without a session
    /// Merges a snapshot, taken after attached(). `taken` is what begin_snapshot() returned before the first
    /// request. False: the session became busy meanwhile, nothing was merged, take another.
    struct mark {
        std::uint64_t position = 0; ///< how much was taken in by then
    };
    [[nodiscard]] mark begin_snapshot() const noexcept;
    bool on_snapshot(snapshot s, mark taken, time_point now);
    /// The same where no stream is had: what the snapshot shows is told at once.
    bool on_capture(snapshot s, mark taken, time_point now);
    /// The snapshot that was due could not be had.
    void snapshot_failed(const retry::failure& why, time_point now);
    /// Lets time pass: grace periods and quiet checks.
    void tick(time_point now);

    // --- what it wants
    [[nodiscard]] bool wants_snapshot() const noexcept;
    [[nodiscard]] std::optional<time_point> next_deadline() const noexcept; ///< when to tick()
    [[nodiscard]] std::vector<output> take_outputs();
    /// Prompts that the server accepted and, after their grace, does not know, or let fall when it ended the
    /// loop in which they waited (OpenCode #21524; a rejected ask), without having reported an error: each is
    /// to be posted once more, with the same ids, before it is called lost. Told once a turn.
    [[nodiscard]] std::vector<std::string> take_reposts();
    /// True once when the server, abort_grace after we had it abort, is at work on such a turn (its prompt
    /// came after what the abort ended): it is to be asked again. Again after each further start_grace.
    [[nodiscard]] bool take_abort();
    /// What the open turns have told so far, pieces of one part joined: for one who listens from now on.
    [[nodiscard]] std::vector<output> told_so_far() const;
    /// The turns that were opened since it was last asked.
    [[nodiscard]] std::vector<std::string> take_opened();

    // --- what is known
    [[nodiscard]] bool has_open_turns() const noexcept;
    [[nodiscard]] bool is_open(std::string_view message_id) const noexcept;
    [[nodiscard]] bool
    owns_session(std::string_view session_id) const noexcept; ///< the root or a known child
    /// Child sessions that are at work, as they were told last, while the session itself is not.
    [[nodiscard]] std::size_t background() const;
    /// Prompts of others are not turns yet, as there were too many at once: the next snapshot should have
    /// them again.
    [[nodiscard]] bool left_turns_out() const noexcept;
    /// 0: the root itself, 1: one of its children, ...; nothing: none of them.
    [[nodiscard]] std::optional<unsigned> depth_of(std::string_view session_id) const;
    struct pending_check {
        std::string message;
        std::string why;
    };
    /// The open turns, and what would be needed to settle each ("no assistant message", ...): for recordings.
    [[nodiscard]] std::vector<pending_check> unsettled() const;

private:
    struct state;
    std::unique_ptr<state> state_;
};

} // namespace holdfast::opencode
