// The events of /api/event, as facts of a session. Both spellings of what was renamed before 2.0.0 are
// understood. Pure. Not for users.
#pragma once

#include <holdfast/opencode/types.hpp>

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace holdfast::opencode::v2 {

/// What an input of a session is. Only a prompt of somebody is a turn.
enum class input_kind { prompt, synthetic, compaction, other };

/// Text and reasoning of one message are counted each from zero.
enum class part_kind { text, reasoning };

/// A part of an answer: 2.x has no ids for them.
struct part_key {
    std::string message;
    part_kind kind = part_kind::text;
    std::uint64_t ordinal = 0;
    friend auto operator<=>(const part_key&, const part_key&) = default;
};
/// "msg_1/text/0".
[[nodiscard]] std::string to_string(const part_key& key);

/// A form: what 1.x calls a question. Each field is answered under its key.
struct form {
    question_request request;
    std::vector<std::string> keys; ///< one for each question
    friend bool operator==(const form&, const form&) = default;
};

struct greeting {};
struct session_created {
    std::string parent; ///< empty: a root session
    std::string directory;
};
struct session_deleted {};
struct session_renamed {
    std::string title; ///< untrusted
};
struct input_admitted {
    std::string id;
    input_kind kind = input_kind::other;
    std::string delivery; ///< "steer", "queue"
};
struct input_promoted {
    std::string id;
};
struct input_cancelled {
    std::string id;
};
struct execution_started {};
/// The terminal: exactly one for each execution.
struct execution_ended {
    enum class how { succeeded, failed, interrupted };
    how what = how::succeeded;
    std::string reason; ///< of interrupted: "user", "shutdown", "superseded", "inactivity"
    std::optional<api_error> error;
};
struct step_started {
    std::string message;
};
struct step_ended {
    std::string message;
    std::string finish;
    token_usage tokens;
    double cost = 0;
};
struct step_failed {
    std::string message;
    api_error error;
};
struct retry_scheduled {
    std::string message;
    unsigned attempt = 0;
    std::int64_t at_ms = 0;
    std::string why; ///< untrusted
};
struct part_started {
    part_key part;
};
struct part_delta {
    part_key part;
    std::string delta;
};
struct part_ended {
    part_key part;
    std::string text;
};
struct tool_changed {
    std::string message;
    std::string id;
    std::string name;  ///< only told when its input begins
    std::string state; ///< as 1.x calls them: "pending", "running", "completed", "error"
    std::string error; ///< untrusted
};
struct compaction_failed {
    api_error error;
};
struct permission_asked {
    permission_request request;
};
struct permission_replied {
    std::string request;
    std::string reply;
};
struct form_created {
    v2::form form;
};
struct form_answered {
    std::string request;
    bool cancelled = false;
};
/// What nobody here needs, and types that are not known yet.
struct other {};

using fact =
    std::variant<other, greeting, session_created, session_deleted, session_renamed, input_admitted,
                 input_promoted, input_cancelled, execution_started, execution_ended, step_started,
                 step_ended, step_failed, retry_scheduled, part_started, part_delta, part_ended, tool_changed,
                 compaction_failed, permission_asked, permission_replied, form_created, form_answered>;

struct event {
    std::string type;
    std::string session; ///< data.sessionID; empty: of none. Never told by the location
    /// Of a durable event: its number in the session's log. It orders, and tells one that was had before;
    /// holes are normal.
    std::optional<std::int64_t> seq;
    fact what;
    std::int64_t created_ms = 0; ///< on the server's clock, by which its messages are dated too; 0: not told
};

/// An event of a known type that lacks what it promises is an error (missing_field, with the path); one of an
/// unknown type, or an unknown member, is passed over. Other errors: those of parse_json().
[[nodiscard]] result<event> parse_event(std::string_view json);
[[nodiscard]] result<event> read_event(const boost::json::value& whole);

/// An error as an event or a message of 2.x carries it: {type, message, status}.
[[nodiscard]] api_error parse_error(const boost::json::value& v);
[[nodiscard]] result<permission_request> parse_permission(const boost::json::value& v, std::string_view path);
[[nodiscard]] result<form> parse_form(const boost::json::value& v, std::string_view path);
[[nodiscard]] input_kind kind_of_input(std::string_view type) noexcept;
[[nodiscard]] token_usage parse_tokens(const boost::json::value& v);

/// Which protocol an event of a recording is of: 1, 2, or 0 where it could be of either (the greeting of
/// /api/event is the same in 1.18).
[[nodiscard]] int protocol_of(const boost::json::value& whole);

} // namespace holdfast::opencode::v2
