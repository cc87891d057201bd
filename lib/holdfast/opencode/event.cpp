#include <holdfast/opencode/event.hpp>

#include <holdfast/http/ascii.hpp>
#include <holdfast/opencode/json_reader.hpp>
#include <holdfast/opencode/wire.hpp>

#include <boost/json/value.hpp>

#include <array>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace holdfast::opencode {

namespace json = boost::json;
namespace field = wire::field;

namespace {

using http::is_digit;
bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// Which containers are open, one bit each, without recursion and, up to the usual depth, without allocation.
class nesting {
public:
    void push(bool object) {
        if (depth_ % 64 == 0 && depth_ / 64 >= near_.size())
            far_.push_back(0);
        auto& word = word_at(depth_);
        const std::uint64_t bit = std::uint64_t{1} << (depth_ % 64);
        word = object ? word | bit : word & ~bit;
        ++depth_;
    }
    void pop() {
        --depth_;
        if (depth_ % 64 == 0 && depth_ / 64 >= near_.size())
            far_.pop_back();
    }
    [[nodiscard]] bool empty() const { return depth_ == 0; }
    [[nodiscard]] bool in_object() { return (word_at(depth_ - 1) >> ((depth_ - 1) % 64) & 1) != 0; }

private:
    std::uint64_t& word_at(std::size_t bit) {
        const std::size_t word = bit / 64;
        return word < near_.size() ? near_[word] : far_[word - near_.size()];
    }

    std::array<std::uint64_t, 8> near_{};
    std::vector<std::uint64_t> far_;
    std::size_t depth_ = 0;
};

/// A string as it stands between its quotes.
struct raw_string {
    std::string_view text;
    bool escaped = false;
};

void append_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
        out += static_cast<char>(code);
    } else if (code < 0x800) {
        out += static_cast<char>(0xc0 | code >> 6);
        out += static_cast<char>(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        out += static_cast<char>(0xe0 | code >> 12);
        out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
        out += static_cast<char>(0x80 | (code & 0x3f));
    } else {
        out += static_cast<char>(0xf0 | code >> 18);
        out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
        out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
        out += static_cast<char>(0x80 | (code & 0x3f));
    }
}

unsigned hex4(std::string_view digits) {
    unsigned value = 0;
    for (const char c : digits)
        value = value * 16 + static_cast<unsigned>(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    return value;
}

/// The text of a string that was found well-formed. A surrogate without a partner becomes U+FFFD.
std::string unescape(raw_string s) {
    if (!s.escaped)
        return std::string(s.text);
    std::string out;
    out.reserve(s.text.size());
    for (std::size_t i = 0; i < s.text.size(); ++i) {
        if (s.text[i] != '\\') {
            out += s.text[i];
            continue;
        }
        switch (const char c = s.text[++i]) {
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'n': out += '\n'; break;
        case 'r': out += '\r'; break;
        case 't': out += '\t'; break;
        case 'u': {
            unsigned code = hex4(s.text.substr(i + 1, 4));
            i += 4;
            const bool high = code >= 0xd800 && code <= 0xdbff;
            const auto next = s.text.substr(i + 1);
            if (high && next.size() >= 6 && next[0] == '\\' && next[1] == 'u') {
                const unsigned low = hex4(next.substr(2, 4));
                if (low >= 0xdc00 && low <= 0xdfff) {
                    append_utf8(out, 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00));
                    i += 6;
                    break;
                }
            }
            if (code >= 0xd800 && code <= 0xdfff)
                code = 0xfffd;
            append_utf8(out, code);
            break;
        }
        default: out += c; // a quote, a backslash, a slash
        }
    }
    return out;
}

constexpr std::size_t longest_name = 16; // of the members that peek() looks for, with room

bool is_name(raw_string key, std::string_view name) {
    if (!key.escaped)
        return key.text == name;
    return key.text.size() <= 6 * longest_name && unescape(key) == name;
}

/// The first byte that means something in a string, if any: a quote, a backslash, or one that may not be
/// there.
const char* skip_plain(const char* at, const char* end) {
    constexpr std::uint64_t ones = 0x0101010101010101;
    constexpr std::uint64_t tops = 0x8080808080808080;
    const auto has_zero = [](std::uint64_t word) {
        return (word - ones) & ~word & tops;
    };
    for (std::uint64_t word = 0; end - at >= 8; at += 8) { // eight at a time: most of a stream is text
        std::memcpy(&word, at, sizeof word);
        const auto below_space = (word - ones * 0x20) & ~word & tops;
        if ((has_zero(word ^ (ones * '"')) | has_zero(word ^ (ones * '\\')) | below_space) != 0)
            break;
    }
    while (at != end && *at != '"' && *at != '\\' && static_cast<unsigned char>(*at) >= 0x20)
        ++at;
    return at;
}

/// Reads JSON by its grammar (RFC 8259), forward only. Every function consumes what it names, or says false.
class scanner {
public:
    explicit scanner(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

    [[nodiscard]] const char* position() const { return at_; }

    void skip_space() {
        while (at_ != end_ && is_space(*at_))
            ++at_;
    }
    [[nodiscard]] bool at_end() const { return at_ == end_; }
    [[nodiscard]] bool sees(char c) const { return at_ != end_ && *at_ == c; }
    bool take(char c) {
        if (!sees(c))
            return false;
        ++at_;
        return true;
    }

    bool string(raw_string& out) {
        if (!take('"'))
            return false;
        const char* begin = at_;
        out.escaped = false;
        for (;;) {
            at_ = skip_plain(at_, end_);
            if (at_ == end_ || static_cast<unsigned char>(*at_) < 0x20)
                return false;
            if (*at_++ == '"') {
                out.text = std::string_view(begin, static_cast<std::size_t>(at_ - 1 - begin));
                return true;
            }
            out.escaped = true;
            if (!escape())
                return false;
        }
    }

    /// Any value, however deep.
    bool value() {
        nesting open;
        for (;;) {
            skip_space();
            bool opened = false;
            if (sees('{') || sees('[')) {
                const bool object = *at_++ == '{';
                skip_space();
                if (!take(object ? '}' : ']')) {
                    open.push(object);
                    opened = true;
                }
            } else if (!scalar()) {
                return false;
            }
            if (!opened && !close_and_separate(open))
                return false;
            if (open.empty())
                return true;
            if (open.in_object() && !key())
                return false;
        }
    }

    /// The members of an object, one by one. `member(key)` consumes the value.
    template <class Member>
    bool object(Member member) {
        if (!take('{'))
            return false;
        skip_space();
        if (take('}'))
            return true;
        do {
            skip_space();
            raw_string name;
            if (!string(name))
                return false;
            skip_space();
            if (!take(':'))
                return false;
            skip_space();
            if (!member(name))
                return false;
            skip_space();
        } while (take(','));
        return take('}');
    }

private:
    bool escape() {
        if (at_ == end_)
            return false;
        const char c = *at_++;
        if (c != 'u')
            return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
        for (int i = 0; i < 4; ++i, ++at_)
            if (at_ == end_ || !std::isxdigit(static_cast<unsigned char>(*at_)))
                return false;
        return true;
    }

    bool scalar() {
        raw_string ignored;
        if (sees('"'))
            return string(ignored);
        if (sees('t'))
            return word("true");
        if (sees('f'))
            return word("false");
        if (sees('n'))
            return word("null");
        return number();
    }

    bool word(std::string_view w) {
        if (std::string_view(at_, static_cast<std::size_t>(end_ - at_)).substr(0, w.size()) != w)
            return false;
        at_ += w.size();
        return true;
    }

    bool digits() {
        if (at_ == end_ || !is_digit(*at_))
            return false;
        while (at_ != end_ && is_digit(*at_))
            ++at_;
        return true;
    }

    bool number() {
        take('-');
        if (!take('0') && !digits())
            return false;
        if (take('.') && !digits())
            return false;
        if (!take('e') && !take('E'))
            return true;
        if (!take('+'))
            take('-');
        return digits();
    }

    bool key() {
        raw_string ignored;
        skip_space();
        if (!string(ignored))
            return false;
        skip_space();
        return take(':');
    }

    /// After a value: closes what ends here; true when the outermost is closed or a comma promises another
    /// value.
    bool close_and_separate(nesting& open) {
        while (!open.empty()) {
            skip_space();
            if (take(','))
                return true;
            if (!take(open.in_object() ? '}' : ']'))
                return false;
            open.pop();
        }
        return true;
    }

    const char* at_;
    const char* end_;
};

/// The strings of one event object that routing may need; each is that of the last of its name.
struct event_strings {
    raw_string type;
    raw_string session_id;
    raw_string info_id;
    raw_string info_session_id;
    raw_string part_session_id;
    std::string_view whole;
    bool has_type = false;
};

bool string_or_other(scanner& in, raw_string& out, bool* found = nullptr) {
    out = {};
    const bool is_string = in.sees('"');
    if (found)
        *found = is_string;
    return is_string ? in.string(out) : in.value();
}

bool read_info(scanner& in, event_strings& e) {
    e.info_id = e.info_session_id = {};
    if (!in.sees('{'))
        return in.value();
    return in.object([&](raw_string key) {
        if (is_name(key, field::id))
            return string_or_other(in, e.info_id);
        if (is_name(key, field::session_id))
            return string_or_other(in, e.info_session_id);
        return in.value();
    });
}

bool read_part(scanner& in, event_strings& e) {
    e.part_session_id = {};
    if (!in.sees('{'))
        return in.value();
    return in.object([&](raw_string key) {
        if (is_name(key, field::session_id))
            return string_or_other(in, e.part_session_id);
        return in.value();
    });
}

bool read_properties(scanner& in, event_strings& e) {
    e.session_id = e.info_id = e.info_session_id = e.part_session_id = {};
    if (!in.sees('{'))
        return in.value();
    return in.object([&](raw_string key) {
        if (is_name(key, field::session_id))
            return string_or_other(in, e.session_id);
        if (is_name(key, field::info))
            return read_info(in, e);
        if (is_name(key, field::part))
            return read_part(in, e);
        return in.value();
    });
}

bool read_event(scanner& in, event_strings& e) {
    e = {};
    const char* begin = in.position();
    const bool ok = in.object([&](raw_string key) {
        if (is_name(key, field::type))
            return string_or_other(in, e.type, &e.has_type);
        if (is_name(key, field::properties))
            return read_properties(in, e);
        return in.value();
    });
    e.whole = std::string_view(begin, static_cast<std::size_t>(in.position() - begin));
    return ok;
}

/// Of 2.x: {id, type, data}. A form tells its session itself.
bool read_data(scanner& in, event_strings& e) {
    e.session_id = e.part_session_id = {};
    if (!in.sees('{'))
        return in.value();
    return in.object([&](raw_string key) {
        if (is_name(key, field::session_id))
            return string_or_other(in, e.session_id);
        if (is_name(key, field::form))
            return read_part(in, e);
        return in.value();
    });
}

/// The outermost object: an event, or /global/event's wrapping of one.
struct outer {
    event_strings own;
    event_strings payload;
    bool has_payload = false;
    raw_string directory;
};

bool read_outer(scanner& in, outer& o) {
    in.skip_space();
    const char* begin = in.position();
    const bool ok = in.object([&](raw_string key) {
        if (is_name(key, field::type))
            return string_or_other(in, o.own.type, &o.own.has_type);
        if (is_name(key, field::properties))
            return read_properties(in, o.own);
        if (is_name(key, field::directory))
            return string_or_other(in, o.directory);
        if (is_name(key, field::payload)) {
            o.has_payload = in.sees('{');
            return o.has_payload ? read_event(in, o.payload) : in.value();
        }
        return in.value();
    });
    if (!ok)
        return false;
    o.own.whole = std::string_view(begin, static_cast<std::size_t>(in.position() - begin));
    in.skip_space();
    return in.at_end();
}

/// Where older servers put the session id.
raw_string session_id_of(const event_strings& e, std::string_view type) {
    if (!e.session_id.text.empty())
        return e.session_id;
    if (type.starts_with(wire::type::session_prefix))
        return e.info_id;
    if (type == wire::type::message_updated)
        return e.info_session_id;
    if (type == wire::type::part_updated)
        return e.part_session_id;
    return {};
}

} // namespace

event_head peek(std::string_view text) {
    scanner in(text);
    outer o;
    if (!read_outer(in, o))
        return {};
    const bool wrapped = o.has_payload && !o.own.has_type;
    const auto& e = wrapped ? o.payload : o.own;
    if (!e.has_type)
        return {};
    event_head head;
    head.type = unescape(e.type);
    head.session_id = unescape(session_id_of(e, head.type));
    head.body = e.whole;
    if (wrapped) {
        head.directory = unescape(o.directory);
        head.sync_twin = head.type == wire::type::sync;
    }
    return head;
}

event_head peek_2(std::string_view text) {
    scanner in(text);
    in.skip_space();
    event_strings e;
    const bool ok = in.object([&](raw_string key) {
        if (is_name(key, field::type))
            return string_or_other(in, e.type, &e.has_type);
        if (is_name(key, field::data))
            return read_data(in, e);
        return in.value();
    });
    in.skip_space();
    if (!ok || !in.at_end() || !e.has_type)
        return {};
    event_head head;
    head.type = unescape(e.type);
    head.session_id = unescape(e.session_id.text.empty() ? e.part_session_id : e.session_id);
    head.body = text;
    return head;
}

// --- the whole event

namespace {

using parsed_event = result<event>;

const json::value& at(const json_reader& in, std::string_view name) {
    static const json::value nothing;
    const auto* v = in.find(name);
    return v ? *v : nothing;
}

/// Wraps what a parse_* function made into an event of type E.
template <class E, class T>
parsed_event as(result<T> parsed) {
    if (!parsed)
        return parsed.error();
    return event(E{std::move(*parsed)});
}

constexpr std::size_t longest_directory = 4096; // as of any system

std::string first_of(const json_reader& in, std::string_view name, std::string_view older_name) {
    auto s = in.string(name);
    return s.empty() ? in.string(older_name) : s;
}

/// The session id, also where older servers of this type of event have it.
std::string session_id_in(json_reader& in, std::string_view older_object = {},
                          std::string_view older_name = {}) {
    auto id = in.string(field::session_id);
    if (id.empty() && !older_object.empty())
        id = in.nested(older_object).string(older_name);
    if (id.empty())
        in.missing(field::session_id);
    return id;
}

parsed_event parse_session_event(std::string_view type, json_reader& in) {
    if (type == wire::type::session_created)
        return as<session_created>(parse_session(at(in, field::info), in.path_of(field::info)));
    if (type == wire::type::session_updated)
        return as<session_updated>(parse_session(at(in, field::info), in.path_of(field::info)));
    if (type == wire::type::session_error)
        return event(session_error{in.string(field::session_id), parse_api_error(at(in, field::error))});
    if (type == wire::type::session_status) {
        auto id = session_id_in(in);
        auto status = parse_status(at(in, field::status), in.path_of(field::status));
        if (!status)
            return status.error();
        return in.finish(event(status_changed{std::move(id), std::move(*status)}));
    }
    if (type == wire::type::session_deleted) {
        auto id = session_id_in(in, field::info, field::id);
        return in.finish(event(session_deleted{std::move(id)}));
    }
    if (type == wire::type::session_idle) {
        auto id = session_id_in(in);
        return in.finish(event(session_idle{std::move(id)}));
    }
    if (type == wire::type::session_compacted) {
        auto id = session_id_in(in);
        return in.finish(event(session_compacted{std::move(id)}));
    }
    return event(other_event{std::string(type), first_of(in, field::session_id, {})});
}

/// The delta of a message.part.delta as it is written there.
raw_string raw_delta(std::string_view text) {
    raw_string delta;
    scanner in(text);
    in.skip_space();
    in.object([&](raw_string key) {
        if ((!is_name(key, field::properties) && !is_name(key, field::data)) || !in.sees('{'))
            return in.value();
        return in.object([&](raw_string name) {
            return is_name(name, "delta") ? string_or_other(in, delta) : in.value();
        });
    });
    return delta;
}

/// The unit of a \u escape that stands at `at`; 0: there is none.
unsigned unit_at(std::string_view text, std::size_t at) {
    const auto escape = text.substr(std::min(at, text.size()), 6);
    const bool is_escape = escape.size() == 6 && escape.starts_with("\\u");
    const auto begin = text.substr(0, at).find_last_not_of('\\') + 1; // of the backslashes before it
    return is_escape && (at - begin) % 2 == 0 ? hex4(escape.substr(2)) : 0;
}

constexpr std::string_view replacement = "\xef\xbf\xbd"; // U+FFFD, which parse_json() put there

// What is cut in two there has become U+FFFD at the ends of the delta.
void take_halves(part_delta& e, raw_string written) {
    if (!written.escaped)
        return;
    const auto first = unit_at(written.text, 0);
    if (first >= 0xdc00 && first <= 0xdfff && e.delta.starts_with(replacement)) {
        e.low = first;
        e.delta.erase(0, replacement.size());
    }
    const auto size = written.text.size();
    const auto last = size < 6 ? 0 : unit_at(written.text, size - 6);
    if (last >= 0xd800 && last <= 0xdbff && e.delta.ends_with(replacement)) {
        e.high = last;
        e.delta.resize(e.delta.size() - replacement.size());
    }
}

parsed_event parse_message_event(std::string_view type, json_reader& in, std::string_view text) {
    if (type == wire::type::message_updated)
        return as<message_updated>(parse_message_info(at(in, field::info), in.path_of(field::info)));
    if (type == wire::type::part_updated)
        return as<part_updated>(parse_part(at(in, field::part), in.path_of(field::part)));
    if (type == wire::type::message_removed) {
        message_removed e{session_id_in(in), in.required_id(field::message_id)};
        return in.finish(event(std::move(e)));
    }
    if (type == wire::type::part_removed) {
        part_removed e{session_id_in(in), in.required_id(field::message_id), in.required_id(field::part_id)};
        return in.finish(event(std::move(e)));
    }
    part_delta e;
    e.session_id = session_id_in(in);
    e.message_id = in.required_id(field::message_id);
    e.part_id = in.required_id(field::part_id);
    e.field = in.string("field");
    e.delta = in.required_string("delta");
    if (in.ok() && text.find("\\u") != std::string_view::npos)
        take_halves(e, raw_delta(text));
    return in.finish(event(std::move(e)));
}

parsed_event parse_ask_event(std::string_view type, const json::value& properties, json_reader& in) {
    if (type == wire::type::permission_asked || type == wire::type::permission_updated)
        return as<permission_asked>(parse_permission(properties, field::properties));
    if (type == wire::type::question_asked)
        return as<question_asked>(parse_question(properties, field::properties));
    auto session = session_id_in(in);
    auto request = first_of(in, field::request_id, field::permission_id);
    if (request.empty())
        in.missing(field::request_id);
    if (type == wire::type::permission_replied) {
        auto reply = first_of(in, field::reply, field::response);
        if (reply.empty())
            in.missing(field::reply);
        return in.finish(event(permission_replied{std::move(session), std::move(request), std::move(reply)}));
    }
    const bool rejected = type == wire::type::question_rejected;
    return in.finish(event(question_answered{std::move(session), std::move(request), rejected}));
}

bool is_message_event(std::string_view type) {
    return type == wire::type::message_updated || type == wire::type::message_removed ||
           type == wire::type::part_updated || type == wire::type::part_removed ||
           type == wire::type::part_delta;
}

bool is_ask_event(std::string_view type) {
    return type == wire::type::permission_asked || type == wire::type::permission_updated ||
           type == wire::type::permission_replied || type == wire::type::question_asked ||
           type == wire::type::question_replied || type == wire::type::question_rejected;
}

} // namespace

std::string delta_joiner::join(part_delta e) {
    if (e.delta.empty() && e.low == 0 && e.high == 0)
        return {};
    const auto waiting = begun_.find(e.part_id);
    const unsigned high = waiting == begun_.end() ? 0 : waiting->second;
    if (waiting != begun_.end())
        begun_.erase(waiting);
    std::string text;
    if (high != 0 && e.low != 0)
        append_utf8(text, 0x10000 + ((high - 0xd800) << 10) + (e.low - 0xdc00));
    else if (high != 0 || e.low != 0)
        text = replacement;
    if (e.high != 0) {
        if (begun_.size() >= 64)
            begun_.clear(); // parts that ended so are never asked for again
        begun_[e.part_id] = e.high;
    }
    return text.empty() ? std::move(e.delta) : text + e.delta;
}

result<event> parse_event(std::string_view text) {
    const auto parsed = parse_json(text);
    if (!parsed)
        return parsed.error();
    return parse_event(*parsed, text);
}

result<event> parse_event(const json::value& whole, std::string_view text) {
    json_reader head(whole, {});
    const auto type = head.required_string(field::type);
    if (!head.ok())
        return head.error();
    // /api/event says "data" where the others say "properties".
    const auto name = head.find(field::properties) ? field::properties : field::data;
    const auto& properties = at(head, name);
    auto in = head.nested(name);
    if (type == wire::type::server_connected)
        return event(server_connected{});
    if (type == wire::type::server_heartbeat)
        return event(server_heartbeat{});
    if (type == wire::type::instance_disposed)
        return event(instance_disposed{in.string(field::directory).substr(0, longest_directory)});
    if (is_message_event(type))
        return parse_message_event(type, in, text);
    if (is_ask_event(type))
        return parse_ask_event(type, properties, in);
    if (type.starts_with(wire::type::session_prefix))
        return parse_session_event(type, in);
    return event(other_event{type, in.string(field::session_id)});
}

namespace {

template <class E>
constexpr bool has_session_id = requires(const E& e) { e.session_id; };
template <class E>
constexpr bool has_info = requires(const E& e) { e.info; };
template <class E>
constexpr bool has_request = requires(const E& e) { e.request; };

} // namespace

std::string_view type_of(const event& e) noexcept {
    struct names {
        std::string_view operator()(const other_event& o) const { return o.type; }
        std::string_view operator()(const server_connected&) const { return wire::type::server_connected; }
        std::string_view operator()(const server_heartbeat&) const { return wire::type::server_heartbeat; }
        std::string_view operator()(const instance_disposed&) const { return wire::type::instance_disposed; }
        std::string_view operator()(const session_created&) const { return wire::type::session_created; }
        std::string_view operator()(const session_updated&) const { return wire::type::session_updated; }
        std::string_view operator()(const session_deleted&) const { return wire::type::session_deleted; }
        std::string_view operator()(const status_changed&) const { return wire::type::session_status; }
        std::string_view operator()(const session_idle&) const { return wire::type::session_idle; }
        std::string_view operator()(const session_error&) const { return wire::type::session_error; }
        std::string_view operator()(const session_compacted&) const { return wire::type::session_compacted; }
        std::string_view operator()(const message_updated&) const { return wire::type::message_updated; }
        std::string_view operator()(const message_removed&) const { return wire::type::message_removed; }
        std::string_view operator()(const part_updated&) const { return wire::type::part_updated; }
        std::string_view operator()(const part_delta&) const { return wire::type::part_delta; }
        std::string_view operator()(const part_removed&) const { return wire::type::part_removed; }
        std::string_view operator()(const permission_asked&) const { return wire::type::permission_asked; }
        std::string_view operator()(const permission_replied&) const {
            return wire::type::permission_replied;
        }
        std::string_view operator()(const question_asked&) const { return wire::type::question_asked; }
        std::string_view operator()(const question_answered& a) const {
            return a.rejected ? wire::type::question_rejected : wire::type::question_replied;
        }
    };
    return std::visit(names{}, e);
}

std::string_view session_of(const event& e) noexcept {
    return std::visit(
        [](const auto& each) -> std::string_view {
            using E = std::decay_t<decltype(each)>;
            if constexpr (has_session_id<E>)
                return each.session_id;
            else if constexpr (std::is_same_v<E, part_updated>)
                return each.part.session_id;
            else if constexpr (std::is_same_v<E, message_updated>)
                return each.info.session_id;
            else if constexpr (has_info<E>)
                return each.info.id;
            else if constexpr (has_request<E>)
                return each.request.session_id;
            else
                return {};
        },
        e);
}

} // namespace holdfast::opencode
