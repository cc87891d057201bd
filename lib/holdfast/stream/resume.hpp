// Ready-made resumptions: how services have a stream go on by another request than the first.
#pragma once

#include <holdfast/stream/event_source.hpp>

namespace holdfast::stream {

/// As MCP of 2025-11-25 (Streamable HTTP) resumes the answer to a POST: once there is a last event id, the
/// request is a GET of the same URL with Last-Event-ID, without the body and the fields that describe it
/// (Content-*). All other fields stay, Accept, Mcp-Session-Id and Authorization among them. Until there is an
/// id a POST that may have been heard is not sent again (see `repeat_unsafe`).
///
/// A `next_request` that is set already is called first.
void resume_by_get(source_config& config);

/// As OpenAI's Responses API resumes a stream that was begun by a POST with `"background": true`: a GET of
/// that URL with the response's id behind its path and `stream=true&starting_after=N` in its query, where N
/// is the `sequence_number` of the last event. The id is that of the last event that had one in
/// `response.id`, as `response.created` does. Where no event told both, the request stays as it is, so a POST
/// that may have been heard is not sent again. An id that has other than letters, digits, `-`, `_` and `.` is
/// not taken.
///
/// A `judge` and a `next_request` that are set already are called as before.
void resume_by_starting_after(source_config& config);

} // namespace holdfast::stream
