// JSON lines as a framing: one JSON text a line, as Kubernetes (watch), Ollama and Docker send them.
//
//     config.framing = stream::ndjson;
#pragma once

#include <holdfast/stream/framing.hpp>

#include <memory>
#include <string_view>

namespace holdfast::stream {

/// Each line is an event of type "message", its data the line without its LF or CRLF; whether it is JSON is
/// the reader's to find out. Lines of blanks alone (keepalives) are passed over, and so is a byte order mark
/// at the start. There are no ids, comments or retry times: what last_event_id() was set to is sent as it is,
/// and a stream is resumed by `next_request` and its last event.
///
/// A line may have min(limits::line, limits::event) bytes, its end not counted. One byte more is
/// line_too_long or event_too_large, whichever limit is the smaller, found as soon as that byte is in; where
/// skips are asked for, the line is left out. A last line without its LF is left() at a clean end, or an
/// event, by `flush_at_end`.
[[nodiscard]] std::unique_ptr<framing> ndjson(const sse::limits& bounds, const sse::options& wanted);

/// The media types (lower case, without parameters) that servers give such streams: application/x-ndjson,
/// application/ndjson, application/jsonl, application/x-jsonlines, application/stream+json, and
/// application/json.
[[nodiscard]] bool is_ndjson_type(std::string_view media_type) noexcept;

} // namespace holdfast::stream
