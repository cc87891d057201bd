// What REST answers and events carry: JSON to plain structs. Input: a JSON text.
#include "fuzz.hpp"

#include <holdfast/opencode/event.hpp>
#include <holdfast/opencode/types.hpp>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <cmath>

namespace {

namespace json = boost::json;
using namespace holdfast;
using namespace holdfast::fuzz;
using namespace holdfast::opencode;

// --- the text

/// Boost.JSON alone, with the library's limits, without its mending.
std::optional<json::value> plain_json(std::string_view text) {
    json::parse_options options;
    options.max_depth = 512;
    options.allow_invalid_utf8 = true;
    error_code ec;
    auto v = json::parse(text, ec, {}, options);
    if (ec)
        return std::nullopt;
    return v;
}

/// "0e400" is no number to Boost.JSON, and so not equal to itself.
bool has_no_number(const json::value& v) {
    return !(v == v);
}

void check_text(const result<json::value>& found, std::string_view text) {
    if (!found) {
        hold(found.error().code == errc::bad_json, "what is no JSON is refused as such", text);
        hold(!plain_json(text), "whatever is JSON is taken", text);
        return;
    }
    if (const auto plain = plain_json(text))
        hold(*plain == *found || has_no_number(*plain), "what needs no mending is not changed", text);
    else
        hold(text.find("\\u") != std::string_view::npos || text.find_first_of("eE") != std::string_view::npos,
             "only surrogates and exponents are mended", text);
}

// --- the same JSON in other words

/// The members of every object in reverse, and one more that nobody knows.
json::value rearranged(const json::value& v) {
    if (const auto* array = v.if_array()) {
        json::array other;
        for (const auto& each : *array)
            other.push_back(rearranged(each));
        return other;
    }
    const auto* object = v.if_object();
    if (!object)
        return v;
    json::object other;
    other["_unknown"] = {{"id", 1}, {"type", nullptr}};
    for (auto it = object->end(); it != object->begin();) {
        --it;
        other[it->key()] = rearranged(it->value());
    }
    return other;
}

/// An error that could not be read is kept as it was written, so it may differ by its order.
bool is_raw(const api_error& e) {
    return e.name == "UnknownError" && (e.message.empty() || e.message[0] == '{' || e.message[0] == '[');
}

void forget_raw(std::optional<api_error>& e) {
    if (e && is_raw(*e))
        e->message.clear();
}
void forget_raw(message_info& m) {
    forget_raw(m.error);
}
void forget_raw(message& m) {
    forget_raw(m.info.error);
}
template <class T>
void forget_raw(T&) {}

bool operator_equal(const message& a, const message& b) {
    return a.info == b.info && a.parts == b.parts;
}
template <class T>
bool operator_equal(const T& a, const T& b) {
    return a == b;
}

template <class T>
void check_path(const result<T>& found, std::string_view path) {
    if (found)
        return;
    hold(found.error().code == errc::missing_field, "what lacks a field is refused as such");
    hold(found.error().message.find(path) != std::string::npos, "a refusal names the path of what is missing",
         found.error().message);
}

template <class T>
void check(result<T> (*parse)(const json::value&, std::string_view), const json::value& v,
           const json::value& other) {
    auto found = parse(v, "at.path[7]");
    auto again = parse(other, "at.path[7]");
    check_path(found, "at.path[7]");
    hold(found.has_value() == again.has_value(), "neither order nor unknown members matter");
    if (!found)
        return;
    forget_raw(*found);
    forget_raw(*again);
    hold(operator_equal(*found, *again), "neither order nor unknown members change what is read");
}

// --- what is read is within its range

void check_error(const api_error& e) {
    hold(!e.name.empty(), "an error has a name", e.message);
    hold(e.status == 0 || (e.status >= 100 && e.status <= 999), "an error's status has three digits", e.name);
}

void check_ranges(const json::value& v) {
    if (const auto status = parse_status(v, "x"))
        hold(status->state == session_status::kind::retry ||
                 (status->attempt == 0 && status->message.empty()),
             "only a retry has an attempt");
    if (const auto m = parse_message_info(v, "x")) {
        hold(std::isfinite(m->cost), "a cost is a number");
        if (m->error)
            check_error(*m->error);
    }
    if (const auto m = parse_message(v, "x"))
        hold(m->parts.size() == v.as_object().at("parts").as_array().size(), "every part is read");
    check_error(parse_api_error(v));
}

/// A thing that REST gives is read the same when an event carries it.
void check_as_event(const json::value& v, std::string_view text) {
    const std::string properties(text);
    if (const auto info = parse_message_info(v, "properties.info")) {
        const auto e = parse_event(R"({"type":"message.updated","properties":{"info":)" + properties + "}}");
        hold(e && std::get<message_updated>(*e).info == *info, "a message is the same in an event", text);
    }
    if (const auto p = parse_part(v, "properties.part")) {
        const auto e =
            parse_event(R"({"type":"message.part.updated","properties":{"part":)" + properties + "}}");
        hold(e && std::get<part_updated>(*e).part == *p, "a part is the same in an event", text);
    }
    if (const auto s = parse_session(v, "properties.info")) {
        const auto e = parse_event(R"({"type":"session.created","properties":{"info":)" + properties + "}}");
        hold(e && std::get<session_created>(*e).info == *s, "a session is the same in an event", text);
    }
    if (const auto r = parse_permission(v, "properties")) {
        const auto e = parse_event(R"({"type":"permission.asked","properties":)" + properties + "}");
        hold(e && std::get<permission_asked>(*e).request == *r, "a permission is the same in an event", text);
    }
    if (const auto r = parse_question(v, "properties")) {
        const auto e = parse_event(R"({"type":"question.asked","properties":)" + properties + "}");
        hold(e && std::get<question_asked>(*e).request == *r, "a question is the same in an event", text);
    }
}

std::size_t depth_at_most(std::string_view text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return c == '{' || c == '['; }));
}

void check_value(const json::value& v, std::string_view text) {
    const auto other = rearranged(v);
    check(parse_session, v, other);
    check(parse_status, v, other);
    check(parse_message_info, v, other);
    check(parse_part, v, other);
    check(parse_message, v, other);
    check(parse_permission, v, other);
    check(parse_question, v, other);
    check_ranges(v);
    if (depth_at_most(text) < 500) // inside an event it is deeper
        check_as_event(v, text);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto text = as_text(data, size);
    const auto v = parse_json(text);
    check_text(v, text);

    const auto error = parse_error_body(text);
    check_error(error);
    if (!v)
        same(error.message, text, "an error that cannot be read is kept as it came");
    else
        check_value(*v, text);
    // A list, as GET /session/:id/message and its like answer.
    if (const auto* list = v ? v->if_array() : nullptr)
        for (const auto& each : *list)
            check_ranges(each);
    (void)parse_event(text);
    return 0;
}
