// The look at an event for routing, compared with a full parse of its JSON. Input: the data of one event.
#include "fuzz.hpp"

#include <holdfast/opencode/event.hpp>

#include <boost/json/value.hpp>

namespace {

namespace json = boost::json;
using namespace holdfast;
using namespace holdfast::fuzz;
using namespace holdfast::opencode;

const json::value* member(const json::value* of, std::string_view name) {
    const auto* object = of ? of->if_object() : nullptr;
    return object ? object->if_contains(name) : nullptr;
}

std::optional<std::string> string_member(const json::value* of, std::string_view name) {
    const auto* found = member(of, name);
    const auto* text = found ? found->if_string() : nullptr;
    return text ? std::optional(std::string(text->data(), text->size())) : std::nullopt;
}

/// The head as its documentation words it, from the JSON as a whole.
event_head head_of(const json::value& whole) {
    const auto* payload = member(&whole, "payload");
    const bool wrapped = payload && payload->is_object() && !string_member(&whole, "type");
    const auto* event = wrapped ? payload : &whole;
    const auto type = string_member(event, "type");
    event_head head;
    if (!type)
        return head;
    head.type = *type;
    const auto* properties = member(event, "properties");
    head.session_id = string_member(properties, "sessionID").value_or("");
    if (head.session_id.empty() && type->starts_with("session."))
        head.session_id = string_member(member(properties, "info"), "id").value_or("");
    if (head.session_id.empty() && *type == "message.updated")
        head.session_id = string_member(member(properties, "info"), "sessionID").value_or("");
    if (head.session_id.empty() && *type == "message.part.updated")
        head.session_id = string_member(member(properties, "part"), "sessionID").value_or("");
    if (wrapped) {
        head.directory = string_member(&whole, "directory").value_or("");
        head.sync_twin = *type == "sync";
    }
    return head;
}

std::string told(const event_head& h) {
    return "type=" + shown(h.type) + " session=" + shown(h.session_id) + " directory=" + shown(h.directory) +
           (h.sync_twin ? " twin" : "");
}

event_head without_body(event_head head) {
    head.body = {};
    return head;
}

/// A full parse has a bound on depth, the look has none.
bool may_be_too_deep(std::string_view text) {
    return std::count_if(text.begin(), text.end(), [](char c) { return c == '{' || c == '['; }) > 500;
}

/// The body is the event object itself, unwrapped.
void check_body(const event_head& head, std::string_view text) {
    hold(head.body.data() >= text.data() && head.body.data() + head.body.size() <= text.data() + text.size(),
         "the body is a view of the text", text);
    const auto inner = peek(head.body);
    same(inner.type, head.type, "the body says the same type");
    same(inner.session_id, head.session_id, "the body says the same session");
    same(inner.body, head.body, "the body of a body is the body itself");
}

std::string today(std::string type) {
    return type == "permission.updated" ? "permission.asked" : type;
}

void check_event(const event_head& head) {
    const auto parsed = parse_event(head.body);
    if (parsed) {
        same(type_of(*parsed), today(head.type), "the whole event has the type of its head");
        (void)session_of(*parsed);
    } else {
        hold(parsed.error().code == errc::missing_field, "an event that peek() takes may only lack something",
             head.body);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const own_buffer buffer(as_text(data, size));
    const auto text = buffer.view();
    const auto head = peek(text);
    if (!head.type.empty())
        check_body(head, text);
    if (may_be_too_deep(text))
        return 0;
    const auto whole = parse_json(text);
    same(without_body(head), whole ? head_of(*whole) : event_head{},
         "peek() says what a full parse says, the last of duplicate keys counting", told);
    if (!head.type.empty())
        check_event(head);
    return 0;
}
