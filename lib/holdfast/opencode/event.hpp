// The events of an OpenCode stream: first a cheap look for routing, then the whole for those that want it.
#pragma once

#include <holdfast/opencode/types.hpp>

#include <boost/json/fwd.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace holdfast::opencode {

/// What routing needs, peeked from the bytes without building JSON.
struct event_head {
    std::string type;       ///< empty when the bytes are not a JSON object with a string "type"
    std::string session_id; ///< empty when the event carries none
    std::string directory;  ///< of /global/event's wrapping, else empty
    bool sync_twin = false; ///< /global/event's second copy of a durable event: skip it
    std::string_view body;  ///< the bytes of the event object itself {id,type,properties}, unwrapped

    friend bool operator==(const event_head&, const event_head&) = default;
};

/// Right for any valid JSON object: keys in any order, escaped keys and values, nested look-alikes, the last
/// of duplicate keys. The session id is properties.sessionID; for older servers properties.info.id
/// (session.*), properties.info.sessionID (message.updated), properties.part.sessionID
/// (message.part.updated); never the info of pty.*. Linear time, no allocation beyond the three strings.
/// Invalid JSON gives an empty type.
[[nodiscard]] event_head peek(std::string_view json);
/// The same of an event of 2.x: {id,type,data}. The session id is data.sessionID, of forms
/// data.form.sessionID.
[[nodiscard]] event_head peek_2(std::string_view json);

// The events that mean something for a session. `other` is everything else.
struct server_connected {};
struct server_heartbeat {};
struct instance_disposed {
    std::string directory;
};
struct session_created {
    session_info info;
};
struct session_updated {
    session_info info;
};
struct session_deleted {
    std::string session_id;
};
struct status_changed {
    std::string session_id;
    session_status status;
};
struct session_idle {
    std::string session_id;
};
struct session_error {
    std::string session_id; ///< may be empty
    api_error error;
};
struct session_compacted {
    std::string session_id;
};
struct message_updated {
    message_info info;
};
struct message_removed {
    std::string session_id;
    std::string message_id;
};
struct part_updated {
    opencode::part part;
};
struct part_delta {
    std::string session_id;
    std::string message_id;
    std::string part_id;
    std::string field; ///< "text" for text and for reasoning
    std::string delta;
    unsigned low =
        0; ///< the second half (a surrogate) of a character that the delta before began; not in `delta`
    unsigned high = 0; ///< the first half of one that the next delta goes on with; not in `delta`
};

/// Puts together the characters that a server cut in two between deltas.
/// Thread safety: distinct objects safe, shared objects unsafe.
class delta_joiner {
public:
    /// The text of a part's next delta; a half without the other becomes U+FFFD.
    [[nodiscard]] std::string join(part_delta e);

private:
    std::map<std::string, unsigned> begun_; ///< the half that waits, by part
};
struct part_removed {
    std::string session_id;
    std::string message_id;
    std::string part_id;
};
struct permission_asked {
    permission_request request;
};
struct permission_replied {
    std::string session_id;
    std::string request_id;
    std::string reply; ///< "once", "always", "reject"
};
struct question_asked {
    question_request request;
};
struct question_answered { ///< replied or rejected
    std::string session_id;
    std::string request_id;
    bool rejected = false;
};
/// Anything else: what nobody here needs, and types that are not known yet.
struct other_event {
    std::string type;
    std::string session_id;
};

using event =
    std::variant<other_event, server_connected, server_heartbeat, instance_disposed, session_created,
                 session_updated, session_deleted, status_changed, session_idle, session_error,
                 session_compacted, message_updated, message_removed, part_updated, part_delta, part_removed,
                 permission_asked, permission_replied, question_asked, question_answered>;

/// Parses an unwrapped event object. An event of a known type that lacks what the protocol promises is an
/// error (missing_field, with the path); an unknown type is `other_event`. Older servers' shapes are
/// understood: a message.part.updated with a `delta` beside the part gives the part (its text is whole
/// there).
[[nodiscard]] result<event> parse_event(std::string_view json);
/// The same, of an object that parse_json() or the like has made of `text`.
[[nodiscard]] result<event> parse_event(const boost::json::value& whole, std::string_view text);

/// The type of an event as the server names it today ("message.updated").
[[nodiscard]] std::string_view type_of(const event& e) noexcept;

/// The session an event belongs to, empty for none.
[[nodiscard]] std::string_view session_of(const event& e) noexcept;

} // namespace holdfast::opencode
