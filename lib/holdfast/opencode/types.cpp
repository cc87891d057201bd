#include <holdfast/opencode/types.hpp>

#include <holdfast/opencode/json_reader.hpp>
#include <holdfast/opencode/wire.hpp>

#include <boost/json/serializer.hpp>

#include <algorithm>

namespace holdfast::opencode {

namespace json = boost::json;
namespace field = wire::field;

namespace {

/// Nobody can decide on more than so many patterns, questions or options at once.
constexpr std::size_t max_answers = 1000;

std::string too_many(std::string_view name) {
    return std::string(name) + ", of which it has more than " + std::to_string(max_answers);
}

std::vector<std::string> strings_of(const json::value* v) {
    std::vector<std::string> all;
    if (!v)
        return all;
    if (const auto* s = v->if_string())
        all.emplace_back(s->data(), s->size());
    if (const auto* a = v->if_array())
        for (const auto& item : *a)
            if (const auto* s = item.if_string())
                all.emplace_back(s->data(), s->size());
    return all;
}

void parse_tool_state(json_reader& in, part& p) {
    p.tool = in.required_string(field::tool);
    p.call_id = in.string(field::call_id);
    auto state = in.nested(field::state);
    p.state = state.string(field::status);
    if (p.state.empty())
        in.missing("state.status");
    p.title = state.string(field::title);
    p.error = beginning_of(state, field::error);
    p.child_session = state.nested("metadata").string("sessionId");
}

question parse_one_question(json_reader& in) {
    question q;
    q.text = in.required_string("question");
    q.header = in.string("header");
    q.multiple = in.boolean("multiple");
    const auto* options = in.array("options");
    if (options && options->size() > max_answers)
        in.missing(too_many("options"));
    else if (options)
        for (const auto& option : *options) {
            const json_reader each(option, {});
            q.options.push_back({each.string("label"), each.string("description")});
        }
    return q;
}

/// As it would be written, no more of it than is kept.
std::string beginning_of_json(const json::value& v) {
    std::string text(max_error_text, ' ');
    json::serializer writer;
    writer.reset(&v);
    text.resize(writer.read(text.data(), text.size()).size());
    return text;
}

api_error unreadable(std::string_view text) {
    return {std::string(wire::unknown_error), beginning_of(text), 0};
}

} // namespace

result<session_info> parse_session(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    session_info s;
    s.id = in.required_id(field::id);
    s.parent_id = in.id(field::parent_id);
    s.directory = in.required_string(field::directory);
    s.title = in.string(field::title);
    s.version = in.string("version");
    const auto time = in.nested(field::time);
    s.updated_ms = time.integer("updated").value_or(0);
    if (const auto archived = time.integer("archived"); archived && *archived > 0)
        s.archived_ms = archived;
    return in.finish(std::move(s));
}

result<session_status> parse_status(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    session_status s;
    const auto type = in.required_string(field::type);
    // A kind that is not known yet is something other than idle.
    s.state = type == wire::status::idle    ? session_status::kind::idle
              : type == wire::status::retry ? session_status::kind::retry
                                            : session_status::kind::busy;
    if (s.state == session_status::kind::retry) {
        s.attempt = static_cast<unsigned>(std::min<std::uint64_t>(in.count("attempt"), 1u << 30));
        s.message = beginning_of(in, field::message);
        s.next_ms = in.integer("next").value_or(0);
    }
    return in.finish(std::move(s));
}

result<message_info> parse_message_info(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    message_info m;
    m.id = in.required_id(field::id);
    m.session_id = in.required_id(field::session_id);
    m.assistant = in.required_string("role") == wire::role_assistant;
    const auto time = in.nested(field::time);
    if (const auto created = time.integer("created"))
        m.created_ms = *created;
    else
        in.missing("time.created");
    if (!m.assistant)
        return in.finish(std::move(m)); // a user message's `summary` is something else
    m.parent_id = in.required_string(field::parent_id);
    m.mode = in.string("mode");
    m.summary = in.boolean("summary");
    m.completed_ms = time.integer("completed");
    m.finish = in.string("finish");
    if (const auto* error = in.find(field::error); error && !error->is_null())
        m.error = parse_api_error(*error);
    m.tokens = tokens_in(in.nested("tokens"));
    m.cost = in.number("cost");
    return in.finish(std::move(m));
}

result<part> parse_part(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    part p;
    p.id = in.required_id(field::id);
    p.message_id = in.required_id(field::message_id);
    p.session_id = in.required_id(field::session_id);
    p.type = in.required_string(field::type);
    p.text = in.string(field::text);
    p.ended = in.nested(field::time).integer("end").has_value();
    p.synthetic = in.boolean("synthetic");
    p.automatic = in.boolean("auto");
    if (p.type == wire::part::tool)
        parse_tool_state(in, p);
    return in.finish(std::move(p));
}

result<message> parse_message_head(const json::value& v, std::string_view path, const json::array*& parts) {
    const json_reader in(v, path);
    if (!in.ok())
        return in.error();
    static const json::value nothing;
    const auto* info = in.find(field::info);
    auto parsed = parse_message_info(info ? *info : nothing, in.path_of(field::info));
    if (!parsed)
        return parsed.error();
    message m;
    m.info = std::move(*parsed);
    parts = in.array(field::parts);
    if (!parts)
        return retry::make_failure(errc::missing_field, in.path_of(field::parts));
    return m;
}

result<message> parse_message(const json::value& v, std::string_view path) {
    const json::array* parts = nullptr;
    auto m = parse_message_head(v, path, parts);
    if (!m)
        return m;
    const auto parts_path = json_reader(v, path).path_of(field::parts);
    for (std::size_t i = 0; i < parts->size(); ++i) {
        auto p = parse_part((*parts)[i], indexed(parts_path, i));
        if (!p)
            return p.error();
        m->parts.push_back(std::move(*p));
    }
    return m;
}

result<permission_request> parse_permission(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    permission_request r;
    r.id = in.required_id(field::id);
    r.session_id = in.required_id(field::session_id);
    // Older servers: "type" and "pattern" (one or several), and the call's id at the top.
    r.permission = in.find("permission") ? in.string("permission") : in.string(field::type);
    if (r.permission.empty())
        in.missing("permission");
    r.patterns = strings_of(in.find("patterns") ? in.find("patterns") : in.find("pattern"));
    if (r.patterns.size() > max_answers)
        in.missing(too_many("patterns"));
    r.call_id =
        in.object(field::tool) ? in.nested(field::tool).string(field::call_id) : in.string(field::call_id);
    return in.finish(std::move(r));
}

result<question_request> parse_question(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    question_request r;
    r.id = in.required_id(field::id);
    r.session_id = in.required_id(field::session_id);
    r.call_id = in.nested(field::tool).string(field::call_id);
    const auto* questions = in.array(field::questions);
    if (!questions)
        in.missing(field::questions);
    else if (questions->size() > max_answers)
        in.missing(too_many(field::questions));
    if (!in.ok())
        return in.error();
    for (std::size_t i = 0; i < questions->size(); ++i) {
        json_reader each((*questions)[i], indexed(in.path_of(field::questions), i));
        r.questions.push_back(parse_one_question(each));
        if (!each.ok())
            return each.error();
    }
    return in.finish(std::move(r));
}

api_error parse_api_error(const json::value& v) {
    if (v.is_null())
        return unreadable({});
    // {"error":{...}} and {"error":"text"}, at most a few deep
    const json::value* inner = &v;
    for (int depth = 0; depth < 4; ++depth) {
        const auto* object = inner->if_object();
        if (!object || object->contains(field::name) || object->contains(field::tag))
            break;
        const auto* nested = object->if_contains(field::error);
        if (!nested || !(nested->is_object() || nested->is_string()))
            break;
        inner = nested;
    }
    if (const auto* text = inner->if_string())
        return unreadable({text->data(), text->size()});
    const json_reader in(*inner, {});
    const auto data = in.nested(field::data);
    api_error e;
    e.name = beginning_of(in, field::name);
    if (e.name.empty())
        e.name = beginning_of(in, field::tag);
    e.message = beginning_of(data, field::message);
    if (e.message.empty())
        e.message = beginning_of(in, field::message);
    if (e.name.empty() && e.message.empty())
        return unreadable(beginning_of_json(v));
    if (e.name.empty())
        e.name = in.string(field::type);
    if (e.name.empty())
        e.name = wire::unknown_error;
    const auto status = data.integer(field::status_code).value_or(0);
    if (status >= 100 && status <= 999)
        e.status = static_cast<int>(status);
    return e;
}

api_error parse_error_body(std::string_view body) {
    const auto parsed = parse_json(body);
    if (!parsed || !(parsed->is_object() || parsed->is_string()))
        return unreadable(body);
    auto e = parse_api_error(*parsed);
    // The body as it came, rather than as it would be written again.
    if (parsed->is_object() && e == unreadable(beginning_of_json(*parsed)))
        e.message = beginning_of(body);
    return e;
}

} // namespace holdfast::opencode
