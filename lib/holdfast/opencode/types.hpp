// opencode: what OpenCode says and means. This header: the protocol's things as plain structs. Unknown fields
// are ignored; a missing one that the protocol promises is an error that names its path.
#pragma once

#include <holdfast/retry/failure.hpp>

#include <boost/json/fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::opencode {

/// Bytes of an id; those of OpenCode have about thirty.
inline constexpr std::size_t max_id_size = 256;

/// Whether this may be the id of a session, message or request: not empty, not longer than max_id_size, and
/// not "." or
/// "..", which would make a path lead elsewhere. What a server tells of anything else is refused.
[[nodiscard]] constexpr bool is_usable_id(std::string_view id) noexcept {
    return !id.empty() && id.size() <= max_id_size && id != "." && id != "..";
}

/// Bytes that are kept of the text of an error.
inline constexpr std::size_t max_error_text = 64u << 10;

/// An error as a message, an event or an error body carries it.
struct api_error {
    std::string name;    ///< "MessageAbortedError", "ContextOverflowError", "APIError", ...
    std::string message; ///< untrusted text, at most max_error_text bytes of it
    int status = 0;      ///< the model provider's HTTP status where one is told, else 0

    friend bool operator==(const api_error&, const api_error&) = default;
};

inline constexpr std::string_view aborted_error = "MessageAbortedError";
inline constexpr std::string_view overflow_error = "ContextOverflowError";

struct token_usage {
    std::uint64_t input = 0;
    std::uint64_t output = 0;
    std::uint64_t reasoning = 0;
    std::uint64_t cache_read = 0;
    std::uint64_t cache_write = 0;

    friend bool operator==(const token_usage&, const token_usage&) = default;
};

struct session_info {
    std::string id;
    std::string parent_id; ///< empty for a root session
    std::string directory; ///< as the server normalised it: subscribe with this one
    std::string title;
    std::string version;
    std::int64_t updated_ms = 0; ///< when it was last prompted or changed, on the server's clock; 0: not told
    std::optional<std::int64_t> archived_ms{}; ///< when it was archived; nothing: it is not

    friend bool operator==(const session_info&, const session_info&) = default;
};

struct session_status {
    enum class kind { idle, busy, retry };
    kind state = kind::idle;
    unsigned attempt = 0;     ///< of a retry
    std::string message;      ///< of a retry, untrusted
    std::int64_t next_ms = 0; ///< of a retry: ms since the epoch, on the server's clock

    friend bool operator==(const session_status&, const session_status&) = default;
};

/// Of the sessions that are not idle, by id.
using session_statuses = std::map<std::string, session_status>;

struct message_info {
    std::string id;
    std::string session_id;
    std::string parent_id; ///< the user message that an assistant message answers
    bool assistant = false;
    std::string mode; ///< "compaction" for a summary that the server made for itself
    bool summary = false;
    std::int64_t created_ms = 0;
    std::optional<std::int64_t> completed_ms;
    std::string finish; ///< "stop", "length", "tool-calls", "error"; empty while open or when interrupted
    std::optional<api_error> error;
    token_usage tokens;
    double cost = 0;

    [[nodiscard]] bool finished() const noexcept { return completed_ms.has_value() || error.has_value(); }

    friend bool operator==(const message_info&, const message_info&) = default;
};

struct part {
    std::string id;
    std::string message_id;
    std::string session_id;
    std::string type; ///< "text", "reasoning", "tool", "step-start", "step-finish", "compaction", "file", ...
    std::string text; ///< of text and reasoning; "" while the part runs
    bool ended = false;     ///< time.end is set: `text` is final
    bool synthetic = false; ///< a text that the server itself put under a user message
    bool automatic =
        false; ///< of a compaction: the server itself began it, and goes on with the turn afterwards
    // Of a tool part:
    std::string tool;
    std::string call_id;
    std::string state; ///< "pending", "running", "completed", "error"
    std::string title;
    std::string error;         ///< of state "error", untrusted
    std::string child_session; ///< of a task tool: the session that it started

    friend bool operator==(const part&, const part&) = default;
};

struct message {
    message_info info;
    std::vector<part> parts;
};

struct permission_request {
    std::string id;
    std::string session_id; ///< a child's own id where a child asks
    std::string permission; ///< "bash", "edit", ...
    std::vector<std::string> patterns;
    std::string call_id; ///< of the tool part that waits for it

    friend bool operator==(const permission_request&, const permission_request&) = default;
};

struct question_option {
    std::string label;
    std::string description;

    friend bool operator==(const question_option&, const question_option&) = default;
};

struct question {
    std::string text;
    std::string header;
    bool multiple = false;
    std::vector<question_option> options;

    friend bool operator==(const question&, const question&) = default;
};

struct question_request {
    std::string id;
    std::string session_id;
    std::vector<question> questions;
    std::string call_id;

    friend bool operator==(const question_request&, const question_request&) = default;
};

// From JSON. `path` prefixes the name of what is missing: "message[3].info.id".
[[nodiscard]] result<session_info> parse_session(const boost::json::value& v, std::string_view path);
[[nodiscard]] result<session_status> parse_status(const boost::json::value& v, std::string_view path);
[[nodiscard]] result<message_info> parse_message_info(const boost::json::value& v, std::string_view path);
[[nodiscard]] result<part> parse_part(const boost::json::value& v, std::string_view path);
/// A message with its info alone; null `parts`: it has none, which is an error for parse_message().
[[nodiscard]] result<message> parse_message_head(const boost::json::value& v, std::string_view path,
                                                 const boost::json::array*& parts);
[[nodiscard]] result<message> parse_message(const boost::json::value& v, std::string_view path);
[[nodiscard]] result<permission_request> parse_permission(const boost::json::value& v, std::string_view path);
[[nodiscard]] result<question_request> parse_question(const boost::json::value& v, std::string_view path);
/// Never fails: what cannot be read becomes name "UnknownError" with the raw text as its message. Takes all
/// four shapes of error bodies ({name,data}, {_tag,...}, {error:{...}} and plain text).
[[nodiscard]] api_error parse_api_error(const boost::json::value& v);
[[nodiscard]] api_error parse_error_body(std::string_view body);

/// Parses JSON text with the library's limits (depth 512, 300,000 values, 50,000 members of one object) and
/// mends lone surrogate escapes ("\ud800" becomes U+FFFD), which Boost.JSON would refuse. Errors: bad_json,
/// body_too_large.
[[nodiscard]] result<boost::json::value> parse_json(std::string_view text);

} // namespace holdfast::opencode
