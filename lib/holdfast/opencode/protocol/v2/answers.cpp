#include <holdfast/opencode/protocol/v2/answers.hpp>

#include <holdfast/opencode/json_reader.hpp>
#include <holdfast/opencode/protocol/v2/wire.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

namespace holdfast::opencode::v2 {

namespace {

namespace json = boost::json;

constexpr std::string_view data = "data";

/// The list in {"data":[...]}, each entry read by `read`.
template <class T, class Read>
result<std::vector<T>> parse_each(const json::value& v, Read read) {
    json_reader in(v, {});
    const auto* list = in.array(data);
    if (!list)
        in.missing(data);
    if (!in.ok())
        return in.error();
    std::vector<T> all;
    for (std::size_t i = 0; i < list->size(); ++i) {
        auto one = read((*list)[i], indexed(data, i));
        if (!one)
            return one.error();
        all.push_back(std::move(*one));
    }
    return all;
}

result<session_row> parse_one_session(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    session_row row;
    row.info.id = in.required_id("id");
    row.info.parent_id = in.id("parentID");
    row.info.title = in.string("title");
    row.info.directory = in.nested("location").string("directory");
    const auto time = in.nested("time");
    row.info.updated_ms = time.integer("updated").value_or(0);
    row.info.archived_ms = time.integer("archived");
    row.outcome = in.string("outcome");
    row.idle_ms = time.integer("idle").value_or(0);
    return in.finish(std::move(row));
}

result<inbox_item> parse_item(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    inbox_item item{in.required_id("id"), kind_of_input(in.string("type")), in.string("delivery")};
    return in.finish(std::move(item));
}

message_row::kind kind_of_row(std::string_view type) {
    if (type == wire::user)
        return message_row::kind::prompt;
    if (type == wire::assistant)
        return message_row::kind::answer;
    if (type == wire::idle)
        return message_row::kind::idle;
    return type == wire::synthetic ? message_row::kind::synthetic : message_row::kind::other;
}

/// 2.x calls a tool's state by what was told of it last.
std::string state_of(std::string_view status) {
    if (status == "completed" || status == "error" || status == "running")
        return std::string(status);
    return "pending";
}

message_part parse_tool(const json_reader& in) {
    message_part p;
    p.what = message_part::kind::tool;
    p.id = in.string("id");
    p.name = in.string("name");
    const auto state = in.nested("state");
    p.state = state_of(state.string("status"));
    p.error = parse_error(value_at(state, "error")).message;
    return p;
}

std::vector<message_part> parse_content(const json::array* content) {
    std::vector<message_part> all;
    std::uint64_t texts = 0;
    std::uint64_t reasonings = 0;
    for (std::size_t i = 0; content && i < content->size(); ++i) {
        const json_reader in((*content)[i], {});
        const auto type = in.string("type");
        if (type == "tool") {
            if (auto tool = parse_tool(in); is_usable_id(tool.id))
                all.push_back(std::move(tool));
            continue;
        }
        const bool is_text = type == "text";
        if (!is_text && type != "reasoning")
            continue;
        message_part p;
        p.what = is_text ? message_part::kind::text : message_part::kind::reasoning;
        p.ordinal = is_text ? texts++ : reasonings++;
        p.text = in.string("text");
        all.push_back(std::move(p));
    }
    return all;
}

result<message_row> parse_row(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    message_row row;
    row.id = in.required_id("id");
    row.what = kind_of_row(in.required_string("type"));
    row.created_ms = in.nested("time").integer("created").value_or(0);
    row.completed_ms = in.nested("time").integer("completed");
    row.finish = in.string("finish");
    if (in.object("error"))
        row.error = parse_error(value_at(in, "error"));
    row.outcome = in.string("outcome");
    row.tokens = parse_tokens(value_at(in, "tokens"));
    row.cost = in.number("cost");
    row.parts = parse_content(in.array("content"));
    return in.finish(std::move(row));
}

} // namespace

result<std::string> parse_version(const json::value& v) {
    json_reader in(v, {});
    auto version = in.required_string("version");
    return in.finish(std::move(version));
}

result<session_row> parse_session(const json::value& v) {
    const json_reader in(v, {});
    return parse_one_session(value_at(in, data), data);
}

result<std::vector<session_row>> parse_sessions(const json::value& v) {
    return parse_each<session_row>(v, parse_one_session);
}

result<std::set<std::string>> parse_active(const json::value& v) {
    json_reader in(v, {});
    const auto* object = in.object(data);
    if (!object)
        in.missing(data);
    std::set<std::string> all;
    for (std::size_t i = 0; object && i < object->size(); ++i)
        if (const auto id = (object->begin() + static_cast<std::ptrdiff_t>(i))->key(); is_usable_id(id))
            all.emplace(id);
    return in.finish(std::move(all));
}

result<std::vector<inbox_item>> parse_inbox(const json::value& v) {
    return parse_each<inbox_item>(v, parse_item);
}

result<message_rows> parse_messages(const json::value& v) {
    auto rows = parse_each<message_row>(v, parse_row);
    if (!rows)
        return rows.error();
    const auto cursor = json_reader(v, {}).nested("cursor");
    return message_rows{std::move(*rows), cursor.string("previous"), cursor.string("next")};
}

result<message_row> parse_message(const json::value& v) {
    const json_reader in(v, {});
    return parse_row(value_at(in, data), data);
}

result<std::vector<permission_request>> parse_permissions(const json::value& v) {
    return parse_each<permission_request>(v, parse_permission);
}

result<std::vector<form>> parse_forms(const json::value& v) {
    return parse_each<form>(v, parse_form);
}

result<std::string> parse_accepted(const json::value& v) {
    auto in = json_reader(v, {}).nested(data);
    auto id = in.required_id("id");
    return in.finish(std::move(id));
}

bool parse_interrupted(const json::value& v) {
    const json_reader in(v, {});
    return !in.find("interrupted") || in.boolean("interrupted");
}

namespace {

struct refusal_word {
    std::string_view said;
    refusal means;
};

constexpr refusal_word refusal_words[] = {
    {"SessionNotFoundError", refusal::no_session},
    {"MessageNotFoundError", refusal::no_message},
    {"PermissionNotFoundError", refusal::no_request},
    {"FormNotFoundError", refusal::no_request},
    {"FormAlreadySettledError", refusal::answered},
    {"ConflictError", refusal::conflict},
    {"InvalidRequestError", refusal::invalid},
    {"FormInvalidAnswerError", refusal::invalid},
    {"LocationNotFoundError", refusal::invalid},
    {"UnauthorizedError", refusal::unauthorized},
    {"service_starting", refusal::starting},
    {"service_stopping", refusal::starting},
    {"service_failed", refusal::broken},
};

constexpr std::string_view refusal_names[] = {
    "unknown",  "no session", "no message",   "no such request", "answered before",
    "conflict", "invalid",    "unauthorized", "starting",        "broken"};

} // namespace

refusal parse_refusal(std::string_view body) {
    const auto parsed = parse_json(body);
    if (!parsed)
        return refusal::unknown;
    const json_reader in(*parsed, {});
    const auto said = in.find("_tag") ? in.string("_tag") : in.string("code");
    const auto* const found = std::find_if(std::begin(refusal_words), std::end(refusal_words),
                                           [&](const refusal_word& each) { return each.said == said; });
    return found == std::end(refusal_words) ? refusal::unknown : found->means;
}

std::string_view to_string(refusal r) noexcept {
    return refusal_names[static_cast<std::size_t>(r)];
}

} // namespace holdfast::opencode::v2
