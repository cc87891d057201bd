// Every name of the protocol that the library says or understands, in one place: event types, field names,
// routes and the values that decide something. Source: the server's own API description, version 1.18.33.
// Not for users.
#pragma once

#include <string_view>

namespace holdfast::opencode::wire {

/// Values of an event's "type".
namespace type {
inline constexpr std::string_view server_connected = "server.connected";
inline constexpr std::string_view server_heartbeat = "server.heartbeat";
inline constexpr std::string_view instance_disposed = "server.instance.disposed";
inline constexpr std::string_view session_prefix = "session.";
inline constexpr std::string_view session_created = "session.created";
inline constexpr std::string_view session_updated = "session.updated";
inline constexpr std::string_view session_deleted = "session.deleted";
inline constexpr std::string_view session_status = "session.status";
inline constexpr std::string_view session_idle = "session.idle";
inline constexpr std::string_view session_error = "session.error";
inline constexpr std::string_view session_compacted = "session.compacted";
inline constexpr std::string_view message_updated = "message.updated";
inline constexpr std::string_view message_removed = "message.removed";
inline constexpr std::string_view part_updated = "message.part.updated";
inline constexpr std::string_view part_delta = "message.part.delta";
inline constexpr std::string_view part_removed = "message.part.removed";
inline constexpr std::string_view permission_asked = "permission.asked";
inline constexpr std::string_view permission_updated =
    "permission.updated"; ///< older servers' permission.asked
inline constexpr std::string_view permission_replied = "permission.replied";
inline constexpr std::string_view question_asked = "question.asked";
inline constexpr std::string_view question_replied = "question.replied";
inline constexpr std::string_view question_rejected = "question.rejected";
inline constexpr std::string_view sync = "sync"; ///< /global/event's second copy of a durable event
} // namespace type

/// Names of JSON members.
namespace field {
inline constexpr std::string_view type = "type";
inline constexpr std::string_view payload = "payload";
inline constexpr std::string_view directory = "directory";
inline constexpr std::string_view properties = "properties";
inline constexpr std::string_view data = "data";
inline constexpr std::string_view info = "info";
inline constexpr std::string_view part = "part";
inline constexpr std::string_view form = "form"; ///< of 2.x
inline constexpr std::string_view id = "id";
inline constexpr std::string_view session_id = "sessionID";
inline constexpr std::string_view message_id = "messageID";
inline constexpr std::string_view part_id = "partID";
inline constexpr std::string_view parent_id = "parentID";
inline constexpr std::string_view request_id = "requestID";
inline constexpr std::string_view permission_id = "permissionID"; ///< older servers' requestID
inline constexpr std::string_view call_id = "callID";
inline constexpr std::string_view reply = "reply";
inline constexpr std::string_view response = "response"; ///< older servers' reply
inline constexpr std::string_view status = "status";
inline constexpr std::string_view error = "error";
inline constexpr std::string_view message = "message";
inline constexpr std::string_view name = "name";
inline constexpr std::string_view tag = "_tag";
inline constexpr std::string_view status_code = "statusCode";
inline constexpr std::string_view time = "time";
inline constexpr std::string_view text = "text";
inline constexpr std::string_view title = "title";
inline constexpr std::string_view state = "state";
inline constexpr std::string_view tool = "tool";
inline constexpr std::string_view questions = "questions";
inline constexpr std::string_view parts = "parts";
} // namespace field

/// Values of a part's "type".
namespace part {
inline constexpr std::string_view text = "text";
inline constexpr std::string_view reasoning = "reasoning";
inline constexpr std::string_view tool = "tool";
inline constexpr std::string_view compaction = "compaction";
inline constexpr std::string_view step_start = "step-start"; ///< of each try of the model
} // namespace part

/// Values of a tool's "status".
namespace tool {
inline constexpr std::string_view pending = "pending";
inline constexpr std::string_view running = "running";
inline constexpr std::string_view completed = "completed";
inline constexpr std::string_view error = "error";
} // namespace tool

/// Values of a session status' "type". A session that is idle is absent from GET /session/status.
namespace status {
inline constexpr std::string_view idle = "idle";
inline constexpr std::string_view busy = "busy";
inline constexpr std::string_view retry = "retry";
} // namespace status

inline constexpr std::string_view role_assistant = "assistant";
inline constexpr std::string_view mode_compaction = "compaction";
inline constexpr std::string_view finish_tool_calls = "tool-calls";
inline constexpr std::string_view finish_error = "error";
inline constexpr std::string_view reply_once = "once";
inline constexpr std::string_view reply_always = "always";
inline constexpr std::string_view reply_reject = "reject";
inline constexpr std::string_view unknown_error = "UnknownError";

/// How a tool's error begins when its permission was rejected, and what it is when its question was.
inline constexpr std::string_view permission_rejected_text =
    "The user rejected permission to use this specific tool call";
inline constexpr std::string_view question_dismissed_text = "The user dismissed this question";
/// The synthetic text that the shell route puts under a user message of its own: no turn.
inline constexpr std::string_view shell_text = "The following tool was executed by the user";

/// Paths; the ones of a session or request are put together around its id.
namespace route {
inline constexpr std::string_view health = "/global/health";
inline constexpr std::string_view event = "/event";
inline constexpr std::string_view global_event = "/global/event";
inline constexpr std::string_view session = "/session";
inline constexpr std::string_view session_status = "/session/status";
inline constexpr std::string_view children = "/children";
inline constexpr std::string_view message = "/message";
inline constexpr std::string_view prompt_async = "/prompt_async";
inline constexpr std::string_view abort = "/abort";
inline constexpr std::string_view permission = "/permission";
inline constexpr std::string_view question = "/question";
inline constexpr std::string_view reply = "/reply";
inline constexpr std::string_view reject = "/reject";
inline constexpr std::string_view instance_dispose = "/instance/dispose";
inline constexpr std::string_view global_dispose = "/global/dispose";
} // namespace route

} // namespace holdfast::opencode::wire
