#include <holdfast/opencode/protocol/v2/event.hpp>

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

constexpr std::size_t most_entries = 1000; // of one permission or form: as of 1.x

std::vector<std::string> strings_of(const json::array* list) {
    std::vector<std::string> all;
    for (std::size_t i = 0; list && i < std::min(list->size(), most_entries); ++i)
        if (const auto* s = (*list)[i].if_string())
            all.emplace_back(s->data(), s->size());
    return all;
}

std::string message_of(json_reader& in) {
    return in.required_id("assistantMessageID");
}

/// The id of an input, in both spellings.
std::string input_of(json_reader& in) {
    return in.find("inboxID") ? in.required_id("inboxID") : in.required_id("inputID");
}

// --- one function a type

fact read_created(json_reader& in) {
    return session_created{in.id("parentID"), in.nested("location").string("directory")};
}
fact read_deleted(json_reader&) {
    return session_deleted{};
}
fact read_renamed(json_reader& in) {
    return session_renamed{in.string("title")};
}
fact read_admitted(json_reader& in) {
    const auto item = in.nested(in.find("item") ? "item" : "input");
    return input_admitted{input_of(in), kind_of_input(item.string("type")), item.string("delivery")};
}
fact read_promoted(json_reader& in) {
    return input_promoted{input_of(in)};
}
fact read_cancelled(json_reader& in) {
    return input_cancelled{input_of(in)};
}
fact read_execution_started(json_reader&) {
    return execution_started{};
}
fact read_succeeded(json_reader&) {
    return execution_ended{};
}
fact read_failed(json_reader& in) {
    return execution_ended{execution_ended::how::failed, {}, parse_error(value_at(in, "error"))};
}
fact read_interrupted(json_reader& in) {
    return execution_ended{execution_ended::how::interrupted, in.string("reason"), {}};
}
fact read_step_started(json_reader& in) {
    return step_started{message_of(in)};
}
fact read_step_ended(json_reader& in) {
    return step_ended{message_of(in), in.string("finish"), parse_tokens(value_at(in, "tokens")),
                      in.number("cost")};
}
fact read_step_failed(json_reader& in) {
    return step_failed{message_of(in), parse_error(value_at(in, "error"))};
}
fact read_retry(json_reader& in) {
    const auto attempt = std::min<std::uint64_t>(in.count("attempt"), 1'000'000);
    return retry_scheduled{message_of(in), static_cast<unsigned>(attempt), in.integer("at").value_or(0),
                           parse_error(value_at(in, "error")).message};
}
fact read_tool_input(json_reader& in) {
    return tool_changed{message_of(in), in.required_id("id"), in.string("name"), "pending", {}};
}
fact read_tool_called(json_reader& in) {
    return tool_changed{message_of(in), in.required_id("id"), {}, "running", {}};
}
fact read_tool_success(json_reader& in) {
    return tool_changed{message_of(in), in.required_id("id"), {}, "completed", {}};
}
fact read_tool_failed(json_reader& in) {
    return tool_changed{
        message_of(in), in.required_id("id"), {}, "error", parse_error(value_at(in, "error")).message};
}
fact read_compaction_failed(json_reader& in) {
    return compaction_failed{parse_error(value_at(in, "error"))};
}
fact read_replied(json_reader& in) {
    return permission_replied{in.required_id("requestID"), in.required_string("reply")};
}
fact read_form_replied(json_reader& in) {
    return form_answered{in.required_id("id"), false};
}
fact read_form_cancelled(json_reader& in) {
    return form_answered{in.required_id("id"), true};
}

struct known_type {
    std::string_view name;
    fact (*read)(json_reader&);
};

constexpr known_type known_types[] = {
    {wire::type::created, read_created},
    {wire::type::deleted, read_deleted},
    {wire::type::renamed, read_renamed},
    {wire::type::admitted, read_admitted},
    {wire::type::enqueued, read_admitted},
    {wire::type::promoted, read_promoted},
    {wire::type::delivered, read_promoted},
    {wire::type::cancelled, read_cancelled},
    {wire::type::execution_started, read_execution_started},
    {wire::type::succeeded, read_succeeded},
    {wire::type::failed, read_failed},
    {wire::type::interrupted, read_interrupted},
    {wire::type::step_started, read_step_started},
    {wire::type::step_ended, read_step_ended},
    {wire::type::step_failed, read_step_failed},
    {wire::type::retry, read_retry},
    {wire::type::tool_input, read_tool_input},
    {wire::type::tool_called, read_tool_called},
    {wire::type::tool_success, read_tool_success},
    {wire::type::tool_failed, read_tool_failed},
    {wire::type::compaction_failed, read_compaction_failed},
    {wire::type::permission_replied, read_replied},
    {wire::type::form_replied, read_form_replied},
    {wire::type::form_cancelled, read_form_cancelled},
};

const known_type* find_type(std::string_view name) {
    const auto* const found = std::find_if(std::begin(known_types), std::end(known_types),
                                           [&](const known_type& each) { return each.name == name; });
    return found == std::end(known_types) ? nullptr : found;
}

/// What a part's type says behind "session.text." or "session.reasoning."; nothing: it is none.
std::optional<std::pair<part_kind, std::string_view>> part_type(std::string_view type) {
    for (const auto& [kind, prefix] : {std::pair(part_kind::text, wire::type::text_prefix),
                                       std::pair(part_kind::reasoning, wire::type::reasoning_prefix)})
        if (type.starts_with(prefix))
            return std::pair(kind, type.substr(prefix.size()));
    return std::nullopt;
}

fact read_part(part_kind kind, std::string_view what, json_reader& in) {
    part_key key{message_of(in), kind, in.count("ordinal")};
    if (what == wire::type::part_started)
        return part_started{std::move(key)};
    if (what == wire::type::part_delta)
        return part_delta{std::move(key), in.required_string("delta")};
    if (what == wire::type::part_ended)
        return part_ended{std::move(key), in.required_string("text")};
    return other{};
}

/// A fact that is an object of its own; it tells its session itself.
template <class Fact, class T>
result<event> whole(event e, result<T> read) {
    if (!read)
        return read.error();
    e.what = Fact{std::move(*read)};
    return e;
}

} // namespace

std::string to_string(const part_key& key) {
    return key.message + (key.kind == part_kind::text ? "/text/" : "/reasoning/") +
           std::to_string(key.ordinal);
}

input_kind kind_of_input(std::string_view type) noexcept {
    if (type == wire::user)
        return input_kind::prompt;
    if (type == wire::synthetic)
        return input_kind::synthetic;
    return type == wire::compaction ? input_kind::compaction : input_kind::other;
}

api_error parse_error(const json::value& v) {
    const json_reader in(v, {});
    api_error e;
    e.name = beginning_of(in, "type");
    e.message = beginning_of(in, "message");
    const auto status = in.integer("status").value_or(0);
    if (status >= 100 && status <= 999)
        e.status = static_cast<int>(status);
    return e;
}

token_usage parse_tokens(const json::value& v) {
    return tokens_in(json_reader(v, {}));
}

result<permission_request> parse_permission(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    permission_request r;
    r.id = in.required_id("id");
    r.session_id = in.required_id("sessionID");
    r.permission = in.required_string("action");
    r.patterns = strings_of(in.array("resources"));
    r.call_id = in.nested("source").string("id");
    return in.finish(std::move(r));
}

result<form> parse_form(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    form f;
    f.request.id = in.required_id("id");
    f.request.session_id = in.required_id("sessionID");
    f.request.call_id = in.nested("metadata").nested("tool").string("id");
    const auto* fields = in.array("fields");
    for (std::size_t i = 0; fields && i < std::min(fields->size(), most_entries); ++i) {
        json_reader each((*fields)[i], indexed(in.path_of("fields"), i));
        question q;
        q.header = each.string("title");
        q.text = each.string("description");
        q.multiple = each.string("type") != "string";
        const auto* options = each.array("options");
        for (std::size_t k = 0; options && k < std::min(options->size(), most_entries); ++k) {
            const json_reader option((*options)[k], {});
            q.options.push_back({option.string("label"), option.string("description")});
        }
        f.keys.push_back(each.required_string("key"));
        f.request.questions.push_back(std::move(q));
        if (!each.ok())
            return each.error();
    }
    return in.finish(std::move(f));
}

result<event> parse_event(std::string_view text) {
    const auto parsed = parse_json(text);
    if (!parsed)
        return parsed.error();
    return read_event(*parsed);
}

result<event> read_event(const json::value& whole_event) {
    json_reader head(whole_event, {});
    event e;
    e.type = head.required_string("type");
    if (!head.ok())
        return head.error();
    if (e.type == wire::type::server_connected) {
        e.what = greeting{};
        return e;
    }
    e.created_ms = head.integer("created").value_or(0);
    auto in = head.nested("data");
    e.session = in.string("sessionID");
    if (head.object("durable"))
        e.seq = head.nested("durable").integer("seq");
    if (e.type == wire::type::permission_asked)
        return whole<permission_asked>(std::move(e), parse_permission(value_at(head, "data"), "data"));
    if (e.type == wire::type::form_created) {
        e.session = in.nested("form").string("sessionID");
        return whole<form_created>(std::move(e), parse_form(value_at(in, "form"), "data.form"));
    }
    const auto part = part_type(e.type);
    const auto* known = part ? nullptr : find_type(e.type);
    if (!part && !known)
        return e;
    if (!is_usable_id(e.session))
        in.missing("sessionID");
    e.what = part ? read_part(part->first, part->second, in) : known->read(in);
    return in.finish(std::move(e));
}

int protocol_of(const json::value& whole_event) {
    const json_reader head(whole_event, {});
    const auto type = head.string("type");
    if (head.find("properties") || head.find("payload"))
        return 1;
    const json_reader in(value_at(head, "data"), {});
    if (type == wire::type::created)
        return in.find("info") ? 1 : 2;
    if (type == wire::type::permission_asked)
        return in.find("action") ? 2 : 1;
    for (const std::string_view old : {"message.", "question.", "session.next.", "session.status",
                                       "session.idle", "session.error", "session.updated"})
        if (type.starts_with(old))
            return 1;
    return find_type(type) && type != wire::type::deleted && type != wire::type::permission_replied ? 2
           : part_type(type) || type == wire::type::form_created                                    ? 2
                                                                                                    : 0;
}

} // namespace holdfast::opencode::v2
