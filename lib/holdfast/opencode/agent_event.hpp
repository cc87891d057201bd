// What the owner of a turn is told, in order, and how the turn ended.
#pragma once

#include <holdfast/opencode/types.hpp>
#include <holdfast/retry/failure.hpp>
#include <holdfast/time.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace holdfast::opencode {

/// A piece of the answer: together, the deltas of a part are its text, each character once.
struct text_event {
    std::string part;
    std::string delta;
    friend bool operator==(const text_event&, const text_event&) = default;
};
struct reasoning_event {
    std::string part;
    std::string delta;
    friend bool operator==(const reasoning_event&, const reasoning_event&) = default;
};
/// A tool of the turn's own changed its state; told once for each state and title.
struct tool_event {
    std::string id; ///< the call's id, as permission asks name it
    std::string name;
    std::string state; ///< "pending", "running", "completed", "error"
    std::string title;
    friend bool operator==(const tool_event&, const tool_event&) = default;
};
/// An approval, of this session or of a child; delivered once while it waits, and once more when it is
/// answered or withdrawn: `reply` is set then. One that a rule of ours decides is delivered once, as answered
/// (`by_rule`), when the answer is on its way; again only where something else became of it.
struct permission_event {
    permission_request request;
    std::optional<std::string> reply; ///< "once", "always", "reject", or "withdrawn"
    bool by_rule = false; ///< the reply is that of server_config::ask_rules; nobody else may reply
    friend bool operator==(const permission_event&, const permission_event&) = default;
};
struct question_event {
    question_request request;
    std::optional<std::string> reply; ///< "answered", "rejected", or "withdrawn"
    friend bool operator==(const question_event&, const question_event&) = default;
};
/// The server waits before it asks the model again.
struct retry_event {
    unsigned attempt = 0;
    std::string message;
    std::int64_t next_ms = 0; ///< ms since the epoch, the server's clock
    friend bool operator==(const retry_event&, const retry_event&) = default;
};
/// From `now` until then, as far as the two clocks agree; zero when that is past.
[[nodiscard]] duration wait_of(const retry_event& e, wall_time now) noexcept;
/// Tokens and cost of a finished message of the turn.
struct usage_event {
    std::string message;
    token_usage tokens;
    double cost = 0;
    friend bool operator==(const usage_event&, const usage_event&) = default;
};
/// What a turn has used, as far as its finished messages tell. Sums stay at the largest number rather than
/// wrap.
struct turn_usage {
    turn_usage() = default;

    std::uint64_t steps = 0; ///< finished messages of the model; a compaction is one, too
    token_usage tokens;
    double cost = 0; ///< in the server's currency (US dollars)

    void add(const usage_event& message) noexcept;
    friend bool operator==(const turn_usage&, const turn_usage&) = default;
};
/// Nothing new for a while; the server was asked, and says `status`.
struct quiet_event {
    duration lasted{};
    std::string status; ///< "busy", "retry", "idle", or "unreachable"
    friend bool operator==(const quiet_event&, const quiet_event&) = default;
};
/// The stream broke; it will be had again.
struct interrupted_event {
    retry::failure failure;
    unsigned attempt = 1; ///< the next one
    duration retry_in{};
    friend bool operator==(const interrupted_event&, const interrupted_event&) = default;
};
/// The stream was repaired (missing = false, before the text that it brings), or text proved lost (missing =
/// true).
struct gap_event {
    retry::failure_class cls = retry::failure_class::cut;
    duration lasted{};
    bool missing = false;
    friend bool operator==(const gap_event&, const gap_event&) = default;
};

enum class outcome {
    completed,
    failed, ///< the server says so
    aborted,
    rejected, ///< ended by a rejected permission or question
    lost,     ///< the truth cannot be had
    detached, ///< we stopped watching; it may go on
};
[[nodiscard]] std::string_view to_string(outcome o) noexcept;

/// Why a turn was settled as it was: the closed list.
enum class rule {
    message_finished,    ///< its last message is finished and the session is not busy
    message_error,       ///< its last message carries an error
    message_interrupted, ///< its last message is completed with neither finish nor error
    compaction_failed,   ///< the context overflowed and could not be compacted
    tool_rejected,       ///< its last message ended at a rejected tool
    superseded,          ///< an answer to a later prompt began; closed by its own last message
    merged,              ///< answered together with a later prompt, whose end is its own
    abort_requested,     ///< never answered, and we had asked for the abort
    session_aborted,     ///< never answered, and the session was aborted
    session_error,       ///< never answered, and the server reported an error
    not_accepted,        ///< the server does not know the prompt, and reported an error
    never_answered,      ///< no answer, no error, and the session is not busy
    unfinished,          ///< its answer stopped without an end (the server was restarted)
    session_deleted,
    gave_up,     ///< the server stayed out of reach
    server_gone, ///< the caller said so
    not_posted,  ///< the prompt could not be posted
    detached,
};
[[nodiscard]] std::string_view to_string(rule r) noexcept;

enum class reprompt { yes, no, unknown };
[[nodiscard]] std::string_view to_string(reprompt r) noexcept;

/// The limits that a caller may set for its turns, see turn_limits.hpp.
enum class turn_limit { none, deadline, no_progress, tokens, cost, max_steps, retry_wait };
[[nodiscard]] std::string_view to_string(turn_limit l) noexcept;

/// The error of a settlement: the server's own, or a failure to reach it.
struct settlement_error {
    std::string cls; ///< a `failure_class` by name, or "server" for what the server itself reported
    std::string name;
    std::string message;
    int status = 0;
    friend bool operator==(const settlement_error&, const settlement_error&) = default;
};

/// How a turn ended. Told exactly once, last.
struct settlement {
    opencode::outcome outcome = opencode::outcome::lost;
    std::optional<settlement_error>
        error;        ///< also of never_answered and unfinished: the directory cannot be read
    std::string text; ///< the ended text parts of the turn's last assistant message, joined
    opencode::rule rule = opencode::rule::never_answered;
    std::string event;       ///< what decided it: an event's type, "snapshot", or "" (our own decision)
    std::string merged_into; ///< the later prompt's message id, for rule `merged`
    reprompt safe_to_reprompt = reprompt::unknown;
    turn_limit limit = turn_limit::none; ///< the limit of its own that it passed, and for which we aborted it
    std::size_t text_dropped =
        0;            ///< bytes that `text` lacks at its beginning, see tracker_options::followed_text
    turn_usage usage; ///< of the session's own messages; that of child sessions is not counted
    friend bool operator==(const settlement&, const settlement&) = default;
};

using agent_event =
    std::variant<text_event, reasoning_event, tool_event, permission_event, question_event, retry_event,
                 usage_event, quiet_event, interrupted_event, gap_event, settlement>;

/// What happens in a followed session, whoever prompts it.
struct session_event {
    std::string session;
    std::string message; ///< the turn: the message id of its prompt
    agent_event event;
    friend bool operator==(const session_event&, const session_event&) = default;
};

} // namespace holdfast::opencode
