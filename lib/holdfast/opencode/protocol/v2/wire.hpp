// Every name of 2.x that the library says or understands, in one place: event types, members, values that
// decide something. Source: WIRE.md, sections 5 and 9. Routes are in requests.cpp. Not for users.
#pragma once

#include <string_view>

namespace holdfast::opencode::v2::wire {

namespace type {
inline constexpr std::string_view server_connected = "server.connected";
inline constexpr std::string_view created = "session.created";
inline constexpr std::string_view deleted = "session.deleted";
inline constexpr std::string_view renamed = "session.renamed";
inline constexpr std::string_view admitted = "session.input.admitted";   ///< before 2.0.0
inline constexpr std::string_view enqueued = "session.inbox.enqueued";   ///< since
inline constexpr std::string_view promoted = "session.input.promoted";   ///< before 2.0.0
inline constexpr std::string_view delivered = "session.inbox.delivered"; ///< since
inline constexpr std::string_view cancelled = "session.inbox.cancelled";
inline constexpr std::string_view execution_started = "session.execution.started";
inline constexpr std::string_view succeeded = "session.execution.succeeded";
inline constexpr std::string_view failed = "session.execution.failed";
inline constexpr std::string_view interrupted = "session.execution.interrupted";
inline constexpr std::string_view step_started = "session.step.started";
inline constexpr std::string_view step_ended = "session.step.ended";
inline constexpr std::string_view step_failed = "session.step.failed";
inline constexpr std::string_view retry = "session.retry.scheduled";
inline constexpr std::string_view text_prefix = "session.text.";
inline constexpr std::string_view reasoning_prefix = "session.reasoning.";
inline constexpr std::string_view part_started = "started";
inline constexpr std::string_view part_delta = "delta";
inline constexpr std::string_view part_ended = "ended";
inline constexpr std::string_view tool_input = "session.tool.input.started";
inline constexpr std::string_view tool_called = "session.tool.called";
inline constexpr std::string_view tool_success = "session.tool.success";
inline constexpr std::string_view tool_failed = "session.tool.failed";
inline constexpr std::string_view compaction_failed = "session.compaction.failed";
inline constexpr std::string_view permission_asked = "permission.asked";
inline constexpr std::string_view permission_replied = "permission.replied";
inline constexpr std::string_view form_created = "form.created";
inline constexpr std::string_view form_replied = "form.replied";
inline constexpr std::string_view form_cancelled = "form.cancelled";
} // namespace type

inline constexpr std::string_view tool_calls = "tool-calls"; ///< a step's finish: the turn goes on
inline constexpr std::string_view finish_error = "error";
inline constexpr std::string_view aborted = "aborted"; ///< an error's type: interrupted or rejected
inline constexpr std::string_view reject = "reject";
inline constexpr std::string_view reason_user = "user";
inline constexpr std::string_view reason_shutdown = "shutdown"; ///< of a rejection too
inline constexpr std::string_view user = "user";
inline constexpr std::string_view synthetic = "synthetic";
inline constexpr std::string_view compaction = "compaction";
inline constexpr std::string_view assistant = "assistant";
inline constexpr std::string_view idle = "idle";

/// A tool's error where its permission was rejected, or its form refused.
inline constexpr std::string_view permission_declined = "The user declined this tool call";
inline constexpr std::string_view form_dismissed = "The user dismissed this question";

} // namespace holdfast::opencode::v2::wire
