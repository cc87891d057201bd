// What a 2.x server answers: sessions, the inbox, messages, permissions, forms, errors. Pure. Not for users.
#pragma once

#include <holdfast/opencode/protocol/v2/event.hpp>

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::opencode::v2 {

struct session_row {
    session_info info;
    std::string outcome;      ///< of the last execution that told one: not after a rejection. Empty: not told
    std::int64_t idle_ms = 0; ///< when that ended, on the server's clock; 0: not told
};

/// A prompt, or another input, that waits.
struct inbox_item {
    std::string id;
    input_kind kind = input_kind::other;
    std::string delivery;
    friend bool operator==(const inbox_item&, const inbox_item&) = default;
};

/// A part of an answer, in the order of the message. Its ordinal counts those of its kind before it.
struct message_part {
    enum class kind { text, reasoning, tool };
    message_part::kind what = kind::text;
    std::uint64_t ordinal = 0;
    std::string text; ///< "" while it runs
    std::string id;   ///< of a tool: its call
    std::string name;
    std::string state; ///< as 1.x: "pending", "running", "completed", "error"
    std::string error; ///< untrusted
    friend bool operator==(const message_part&, const message_part&) = default;
};

/// A row of GET .../message.
struct message_row {
    /// `idle` closes an execution (2.0.26, but not where that ended as "shutdown").
    enum class kind { prompt, answer, idle, synthetic, other };
    std::string id;
    message_row::kind what = kind::other;
    std::int64_t created_ms = 0; ///< of a prompt: its promotion. On the clock of events; 0: not told
    std::optional<std::int64_t> completed_ms;
    std::string finish; ///< "stop", "tool-calls", "error", ...
    std::optional<api_error> error;
    std::string outcome; ///< of an idle row: "succeeded", "failed", "interrupted"
    token_usage tokens;
    double cost = 0;
    std::vector<message_part> parts;
};

struct message_rows {
    std::vector<message_row> rows; ///< in the order of the answer
    std::string previous;          ///< cursors; empty: none
    std::string next;
};

/// Errors of each: missing_field, with the path of what the protocol promises and is not there.
[[nodiscard]] result<std::string> parse_version(const boost::json::value& v);
[[nodiscard]] result<session_row> parse_session(const boost::json::value& v);
[[nodiscard]] result<std::vector<session_row>> parse_sessions(const boost::json::value& v);
/// Those at work in this process.
[[nodiscard]] result<std::set<std::string>> parse_active(const boost::json::value& v);
[[nodiscard]] result<std::vector<inbox_item>> parse_inbox(const boost::json::value& v);
[[nodiscard]] result<message_rows> parse_messages(const boost::json::value& v);
[[nodiscard]] result<message_row> parse_message(const boost::json::value& v);
[[nodiscard]] result<std::vector<permission_request>> parse_permissions(const boost::json::value& v);
[[nodiscard]] result<std::vector<form>> parse_forms(const boost::json::value& v);
/// The id that the server has stored a prompt under.
[[nodiscard]] result<std::string> parse_accepted(const boost::json::value& v);
/// Whether an interrupt ended anything; an answer without a body does not tell: true.
[[nodiscard]] bool parse_interrupted(const boost::json::value& v);

/// What an error's body says, by its _tag or its code. `unknown`: neither; an empty body is that of a path
/// that the server has not.
enum class refusal {
    unknown,
    no_session,
    no_message,
    no_request, ///< a permission or a form that is not there, or no longer
    answered,   ///< a form that was answered before
    conflict,   ///< an id that is of another session, or of another prompt
    invalid,    ///< the request itself: not to be sent again
    unauthorized,
    starting, ///< or stopping: to be asked again
    broken,   ///< the server could not be started
};
[[nodiscard]] refusal parse_refusal(std::string_view body);
[[nodiscard]] std::string_view to_string(refusal r) noexcept;

} // namespace holdfast::opencode::v2
