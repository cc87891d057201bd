#include <holdfast/opencode/types.hpp>

#include <holdfast/opencode/json_reader.hpp>
#include <holdfast/opencode/wire.hpp>

#include <boost/json/error.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <cctype>

namespace holdfast::opencode {

namespace json = boost::json;
namespace field = wire::field;

namespace {

constexpr std::size_t max_depth = 512;
constexpr std::size_t max_exponent_digits = 9; // Boost.JSON refuses exponents that do not fit an int

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// The code unit of the "\uXXXX" at `at`, if there is one.
std::optional<unsigned> escaped_unit(std::string_view text, std::size_t at) {
    if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u')
        return std::nullopt;
    unsigned unit = 0;
    for (const char c : text.substr(at + 2, 4)) {
        if (!std::isxdigit(static_cast<unsigned char>(c)))
            return std::nullopt;
        unit = unit * 16 + static_cast<unsigned>(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return unit;
}

bool is_high_surrogate(unsigned unit) {
    return unit >= 0xd800 && unit <= 0xdbff;
}
bool is_low_surrogate(unsigned unit) {
    return unit >= 0xdc00 && unit <= 0xdfff;
}

bool may_hold_surrogates(std::string_view text) {
    return text.find("\\ud") != std::string_view::npos || text.find("\\uD") != std::string_view::npos;
}

/// Puts U+FFFD where a surrogate has no partner.
std::string mend_surrogates(std::string_view text) {
    std::string mended(text);
    for (std::size_t at = mended.find('\\'); at != std::string::npos; at = mended.find('\\', at)) {
        const auto unit = escaped_unit(mended, at);
        if (!unit) {
            at += 2;
            if (at >= mended.size())
                break;
            continue;
        }
        if (is_high_surrogate(*unit)) {
            const auto next = escaped_unit(mended, at + 6);
            if (next && is_low_surrogate(*next)) {
                at += 12;
                continue;
            }
        }
        if (is_high_surrogate(*unit) || is_low_surrogate(*unit))
            mended.replace(at + 2, 4, "fffd");
        at += 6;
    }
    return mended;
}

/// Shortens exponents that Boost.JSON refuses. They occur only in what a model wrote, which nobody reads
/// here.
std::string mend_exponents(std::string_view text) {
    std::string mended;
    mended.reserve(text.size());
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        mended += c;
        if (in_string) {
            if (c == '\\' && i + 1 < text.size())
                mended += text[++i];
            else if (c == '"')
                in_string = false;
            continue;
        }
        if (c == '"')
            in_string = true;
        if ((c != 'e' && c != 'E') || i == 0 || !is_digit(text[i - 1]))
            continue;
        if (i + 1 < text.size() && (text[i + 1] == '+' || text[i + 1] == '-'))
            mended += text[++i];
        std::size_t digits = 0;
        for (; i + 1 < text.size() && is_digit(text[i + 1]); ++i, ++digits)
            if (digits < max_exponent_digits)
                mended += text[i + 1];
    }
    return mended;
}

json::parse_options options() {
    json::parse_options o;
    o.max_depth = max_depth;
    o.allow_invalid_utf8 = true; // what is printed is sanitised; an ill-formed byte must not cost an event
    return o;
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

token_usage parse_tokens(const json_reader& in) {
    token_usage t;
    t.input = in.count("input");
    t.output = in.count("output");
    t.reasoning = in.count("reasoning");
    const auto cache = in.nested("cache");
    t.cache_read = cache.count("read");
    t.cache_write = cache.count("write");
    return t;
}

void parse_tool_state(json_reader& in, part& p) {
    p.tool = in.required_string(field::tool);
    p.call_id = in.string(field::call_id);
    auto state = in.nested(field::state);
    p.state = state.string(field::status);
    if (p.state.empty())
        in.missing("state.status");
    p.title = state.string(field::title);
    p.error = state.string(field::error);
    p.child_session = state.nested("metadata").string("sessionId");
}

question parse_one_question(json_reader& in) {
    question q;
    q.text = in.required_string("question");
    q.header = in.string("header");
    q.multiple = in.boolean("multiple");
    if (const auto* options = in.array("options"))
        for (const auto& option : *options) {
            const json_reader each(option, {});
            q.options.push_back({each.string("label"), each.string("description")});
        }
    return q;
}

std::string indexed(std::string_view path, std::size_t i) {
    return std::string(path) + '[' + std::to_string(i) + ']';
}

api_error unreadable(std::string_view text) {
    return {std::string(wire::unknown_error), std::string(text), 0};
}

} // namespace

result<session_info> parse_session(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    session_info s;
    s.id = in.required_string(field::id);
    s.parent_id = in.string(field::parent_id);
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
        s.message = in.string(field::message);
        s.next_ms = in.integer("next").value_or(0);
    }
    return in.finish(std::move(s));
}

result<message_info> parse_message_info(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    message_info m;
    m.id = in.required_string(field::id);
    m.session_id = in.required_string(field::session_id);
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
    m.tokens = parse_tokens(in.nested("tokens"));
    m.cost = in.number("cost");
    return in.finish(std::move(m));
}

result<part> parse_part(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    part p;
    p.id = in.required_string(field::id);
    p.message_id = in.required_string(field::message_id);
    p.session_id = in.required_string(field::session_id);
    p.type = in.required_string(field::type);
    p.text = in.string(field::text);
    p.ended = in.nested(field::time).integer("end").has_value();
    p.synthetic = in.boolean("synthetic");
    p.automatic = in.boolean("auto");
    if (p.type == wire::part::tool)
        parse_tool_state(in, p);
    return in.finish(std::move(p));
}

result<message> parse_message(const json::value& v, std::string_view path) {
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
    const auto* parts = in.array(field::parts);
    if (!parts)
        return retry::make_failure(errc::missing_field, in.path_of(field::parts));
    for (std::size_t i = 0; i < parts->size(); ++i) {
        auto p = parse_part((*parts)[i], indexed(in.path_of(field::parts), i));
        if (!p)
            return p.error();
        m.parts.push_back(std::move(*p));
    }
    return m;
}

result<permission_request> parse_permission(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    permission_request r;
    r.id = in.required_string(field::id);
    r.session_id = in.required_string(field::session_id);
    // Older servers: "type" and "pattern" (one or several), and the call's id at the top.
    r.permission = in.find("permission") ? in.string("permission") : in.string(field::type);
    if (r.permission.empty())
        in.missing("permission");
    r.patterns = strings_of(in.find("patterns") ? in.find("patterns") : in.find("pattern"));
    r.call_id =
        in.object(field::tool) ? in.nested(field::tool).string(field::call_id) : in.string(field::call_id);
    return in.finish(std::move(r));
}

result<question_request> parse_question(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    question_request r;
    r.id = in.required_string(field::id);
    r.session_id = in.required_string(field::session_id);
    r.call_id = in.nested(field::tool).string(field::call_id);
    const auto* questions = in.array(field::questions);
    if (!questions)
        in.missing(field::questions);
    for (std::size_t i = 0; questions && i < questions->size(); ++i) {
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
    e.name = in.string(field::name);
    if (e.name.empty())
        e.name = in.string(field::tag);
    e.message = data.string(field::message);
    if (e.message.empty())
        e.message = in.string(field::message);
    if (e.name.empty() && e.message.empty())
        return unreadable(json::serialize(v));
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
    if (parsed->is_object() && e == unreadable(json::serialize(*parsed)))
        e.message = body;
    return e;
}

result<json::value> parse_json(std::string_view text) {
    std::string mended;
    if (may_hold_surrogates(text))
        text = mended = mend_surrogates(text);
    error_code ec;
    auto v = json::parse(text, ec, {}, options());
    if (ec == json::error::exponent_overflow) {
        ec.clear();
        v = json::parse(mend_exponents(text), ec, {}, options());
    }
    if (ec)
        return retry::make_failure(errc::bad_json, ec.message());
    return v;
}

} // namespace holdfast::opencode
