#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/event.hpp>
#include <holdfast/opencode/protocol/v2/event.hpp>
#include <support/recordings.hpp>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <chrono>
#include <filesystem>
#include <random>
#include <string>
#include <utility>

namespace json = boost::json;
using namespace holdfast;
using namespace holdfast::opencode;
using namespace holdfast::test;

namespace {

// --- the same answers from the whole JSON

std::string string_at(const json::value* v, std::string_view name) {
    const auto* o = v ? v->if_object() : nullptr;
    const auto* found = o ? o->if_contains(name) : nullptr;
    const auto* s = found ? found->if_string() : nullptr;
    return s ? std::string(s->data(), s->size()) : std::string();
}

const json::value* member(const json::value* v, std::string_view name) {
    const auto* o = v ? v->if_object() : nullptr;
    return o ? o->if_contains(name) : nullptr;
}

bool has_string(const json::value* v, std::string_view name) {
    const auto* found = member(v, name);
    return found && found->is_string();
}

event_head peek_by_parsing(std::string_view text) {
    const auto parsed = parse_json(text);
    if (!parsed || !parsed->is_object())
        return {};
    const auto* whole = &*parsed;
    const auto* payload = member(whole, "payload");
    const bool wrapped = payload && payload->is_object() && !has_string(whole, "type");
    const auto* e = wrapped ? payload : whole;
    if (!has_string(e, "type"))
        return {};
    event_head head;
    head.type = string_at(e, "type");
    const auto* properties = member(e, "properties");
    head.session_id = string_at(properties, "sessionID");
    if (head.session_id.empty() && head.type.starts_with("session."))
        head.session_id = string_at(member(properties, "info"), "id");
    if (head.session_id.empty() && head.type == "message.updated")
        head.session_id = string_at(member(properties, "info"), "sessionID");
    if (head.session_id.empty() && head.type == "message.part.updated")
        head.session_id = string_at(member(properties, "part"), "sessionID");
    if (wrapped) {
        head.directory = string_at(whole, "directory");
        head.sync_twin = head.type == "sync";
    }
    return head;
}

void check_agreement(std::string_view text) {
    auto found = peek(text);
    const auto expected = peek_by_parsing(text);
    // The body is judged by what it says.
    if (!found.type.empty()) {
        const auto body = parse_json(found.body);
        BOOST_TEST_REQUIRE(body.has_value(), text);
        BOOST_TEST(string_at(&*body, "type") == found.type, text);
    }
    found.body = {};
    BOOST_TEST((found == expected), text << "\n  found '" << found.type << "' '" << found.session_id << "' '"
                                         << found.directory << "'\n  not '" << expected.type << "' '"
                                         << expected.session_id << "' '" << expected.directory << "'");
}

// --- random JSON that is likely to hit

class generator {
public:
    explicit generator(unsigned seed) : random_(seed) {}

    std::string object() { return make_object(0); }

    std::string broken() {
        auto text = object();
        const auto at = pick(text.size());
        switch (pick(4)) {
        case 0: return text.substr(0, at);
        case 1: return text + text.substr(at);
        case 2: text.erase(at, 1); return text;
        default: text[at] = "{}[]\",:\\x0-e."[pick(13)]; return text;
        }
    }

private:
    std::size_t pick(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
    bool chance(int percent) { return pick(100) < static_cast<std::size_t>(percent); }
    template <std::size_t N>
    std::string one_of(const char* const (&all)[N]) {
        return all[pick(N)];
    }

    std::string space() {
        static const char* const all[] = {"", "", "", " ", "\n", "\t \r\n"};
        return one_of(all);
    }

    std::string quoted(const std::string& text) {
        std::string out = "\"";
        for (const char c : text) {
            char escaped[7];
            std::snprintf(escaped, sizeof escaped, chance(50) ? "\\u%04x" : "\\u%04X",
                          static_cast<unsigned>(c));
            out += chance(8) ? std::string(escaped) : std::string(1, c);
        }
        return out + '"';
    }

    /// Names that mean something at this depth, and now and then any.
    std::string key(int depth) {
        static const char* const outer[] = {"type", "properties", "payload", "directory"};
        static const char* const inner[] = {"type", "properties", "sessionID", "info", "part"};
        static const char* const deep[] = {"sessionID", "id", "info", "part"};
        static const char* const any[] = {"type", "properties", "sessionID", "info", "payload",
                                          "data", "Type",       "type ",     "x"};
        if (chance(15))
            return one_of(any);
        return depth == 0 ? one_of(outer) : depth == 1 ? one_of(inner) : one_of(deep);
    }

    std::string value_of(const std::string& key, int depth) {
        const bool holds = key == "properties" || key == "payload" || key == "info" || key == "part";
        if (chance(15))
            return value(depth);
        return holds ? make_object(depth) : string_value();
    }

    std::string string_value() {
        static const char* const all[] = {"session.updated",
                                          "message.updated",
                                          "message.part.updated",
                                          "pty.created",
                                          "sync",
                                          "ses_1",
                                          "ses_2",
                                          "",
                                          "/srv/s1",
                                          "session.error"};
        static const char* const odd[] = {R"("\"type\":\"x\"")", R"("\ud83d\ude00")",    R"("\ud800")",
                                          R"("\udc00\ud800x")",  R"("}{][,:")",          R"("\\")",
                                          R"("\u0000")",         "\"\xf0\x9f\x98\x80\"", R"("\/\b\f\n\r\t")"};
        return chance(75) ? quoted(one_of(all)) : one_of(odd);
    }

    std::string scalar() {
        static const char* const all[] = {
            "null", "true", "false", "0", "-1.5e+3", "1e400", "12345678901234567890"};
        return one_of(all);
    }

    std::string value(int depth) {
        if (depth < 5 && chance(45))
            return make_object(depth);
        if (depth < 5 && chance(15))
            return make_array(depth);
        return chance(75) ? string_value() : scalar();
    }

    std::string make_array(int depth) {
        std::string out = "[" + space();
        for (std::size_t i = pick(4); i-- > 0;)
            out += value(depth + 1) + space() + (i ? "," : "");
        return out + "]";
    }

    std::string make_object(int depth) {
        std::string out = "{" + space();
        for (std::size_t i = depth > 4 ? 0 : pick(6); i-- > 0;) {
            const auto name = key(depth);
            out += quoted(name) + space() + ":" + space() + value_of(name, depth + 1) + space() +
                   (i ? "," + space() : "");
        }
        return out + "}" + (depth == 0 ? space() : "");
    }

    std::mt19937 random_;
};

std::string session_of_text(std::string_view text) {
    return peek(text).session_id;
}

} // namespace

BOOST_AUTO_TEST_CASE(it_agrees_with_a_full_parse_on_every_recorded_event) {
    std::size_t seen = 0;
    for (const auto& path : all_recordings())
        for (const auto& data : recorded_data(path)) {
            check_agreement(data);
            ++seen;
        }
    BOOST_TEST(seen > 1000u);
}

BOOST_AUTO_TEST_CASE(it_agrees_with_a_full_parse_on_random_objects) {
    generator g(1);
    std::size_t events = 0;
    std::size_t sessions = 0;
    for (int i = 0; i < 12000; ++i) {
        const auto text = g.object();
        check_agreement(text);
        events += !peek(text).type.empty();
        sessions += !peek(text).session_id.empty();
    }
    BOOST_TEST(events > 3000u); // the generator does hit
    BOOST_TEST(sessions > 300u);
}

BOOST_AUTO_TEST_CASE(it_agrees_with_a_full_parse_on_what_is_broken) {
    generator g(2);
    for (int i = 0; i < 8000; ++i)
        check_agreement(g.broken());
}

BOOST_AUTO_TEST_CASE(every_beginning_of_an_event_is_no_event) {
    const std::string whole =
        R"({"directory":"/d","payload":{"type":"x","properties":{"sessionID":"s","n":[1,-2.5e1,{"a":true}]}}})";
    BOOST_TEST(peek(whole).type == "x");
    for (std::size_t n = 0; n < whole.size(); ++n)
        BOOST_TEST(peek(std::string_view(whole).substr(0, n)).type.empty(), n);
}

BOOST_AUTO_TEST_CASE(what_the_grammar_forbids_is_no_event) {
    for (const char* value :
         {"\"a\nb\"", "\"\x01\"", "01", "1.", ".5", "+1", "1e", "-", "tru", "nulll", "\"\\q\"", "\"\\u12g4\"",
          "[1,]", "[1 2]", "{\"a\"}", "{\"a\":1,}", "{1:2}", "[}", "'a'"})
        BOOST_TEST(peek(R"({"type":"t","x":)" + std::string(value) + "}").type == "", value);
    BOOST_TEST(peek(R"({"type":"t"} x)").type == "");
    BOOST_TEST(peek(R"({"type":"t","x":{"a":1,})").type == ""); // no brace ends two objects
    BOOST_TEST(peek(" \n{\"type\":\"t\"}\t ").type == "t");
}

BOOST_AUTO_TEST_CASE(keys_come_in_any_order_and_may_be_escaped) {
    BOOST_TEST(session_of_text(R"({"properties":{"x":1,"sessionID":"ses_1"},"id":"e","type":"t"})") ==
               "ses_1");
    const auto head = peek(R"({"\u0074ype":"a\u002eb","properties":{"session\u0049D":"ses_\u0031"}})");
    BOOST_TEST(head.type == "a.b");
    BOOST_TEST(head.session_id == "ses_1");
}

BOOST_AUTO_TEST_CASE(what_only_looks_alike_is_passed_over) {
    BOOST_TEST(
        session_of_text(
            R"({"type":"t","properties":{"part":{"properties":{"sessionID":"no"},"text":"\"sessionID\":\"no\""}}})") ==
        "");
    BOOST_TEST(peek(R"({"properties":{"type":"no"}})").type == "");
    BOOST_TEST(peek(R"(["type"])").type == "");
    BOOST_TEST(peek(R"({"type":1})").type == "");
}

BOOST_AUTO_TEST_CASE(the_last_of_duplicate_keys_counts) {
    BOOST_TEST(peek(R"({"type":"a","type":"b"})").type == "b");
    BOOST_TEST(session_of_text(
                   R"({"type":"t","properties":{"sessionID":"a"},"properties":{"sessionID":"b"}})") == "b");
    BOOST_TEST(session_of_text(R"({"type":"t","properties":{"sessionID":"a"},"properties":{}})") == "");
}

BOOST_AUTO_TEST_CASE(older_servers_places_are_known_and_a_pty_is_no_session) {
    BOOST_TEST(session_of_text(R"({"type":"session.updated","properties":{"info":{"id":"ses_1"}}})") ==
               "ses_1");
    BOOST_TEST(
        session_of_text(
            R"({"type":"message.updated","properties":{"info":{"id":"msg_1","sessionID":"ses_1"}}})") ==
        "ses_1");
    BOOST_TEST(
        session_of_text(
            R"({"type":"message.part.updated","properties":{"part":{"id":"prt_1","sessionID":"ses_1"}}})") ==
        "ses_1");
    BOOST_TEST(session_of_text(R"({"type":"pty.created","properties":{"info":{"id":"pty_1"}}})") == "");
    BOOST_TEST(session_of_text(R"({"type":"message.updated","properties":{"info":{"id":"msg_1"}}})") == "");
}

BOOST_AUTO_TEST_CASE(a_wrapped_event_is_unwrapped_and_its_twin_is_named) {
    const auto head = peek(
        R"({"directory":"/srv","project":"p","payload":{"id":"e","type":"t","properties":{"sessionID":"s"}}})");
    BOOST_TEST(head.type == "t");
    BOOST_TEST(head.session_id == "s");
    BOOST_TEST(head.directory == "/srv");
    BOOST_TEST(head.body == R"({"id":"e","type":"t","properties":{"sessionID":"s"}})");
    BOOST_TEST(!head.sync_twin);
    BOOST_TEST(peek(R"({"payload":{"type":"sync","syncEvent":{"type":"t.1"}}})").sync_twin);
    BOOST_TEST(peek(R"({"payload":{"type":"server.connected","properties":{}}})").type == "server.connected");
    BOOST_TEST(!peek(R"({"type":"sync","payload":{"type":"t"}})")
                    .sync_twin); // not wrapped: it has a type of its own
}

BOOST_AUTO_TEST_CASE(any_depth_takes_linear_time_and_no_stack) {
    const std::size_t deep = 2'000'000;
    const std::string text = R"({"type":"t","x":)" + std::string(deep, '[') + std::string(deep, ']') + "}";
    BOOST_TEST(peek(text).type == "t");
    BOOST_TEST(peek(std::string_view(text).substr(0, deep)).type == "");
    std::string mixed = R"({"x":)";
    for (int i = 0; i < 5000; ++i)
        mixed += i % 3 ? "[" : R"({"a":)";
    mixed += "1";
    for (int i = 5000; i-- > 0;)
        mixed += i % 3 ? "]" : "}";
    BOOST_TEST(peek(mixed + R"(,"type":"t"})").type == "t");
    mixed.back() = mixed.back() == ']' ? '}' : ']';
    BOOST_TEST(peek(mixed + R"(,"type":"t"})").type == "");
}

BOOST_AUTO_TEST_CASE(every_escape_stands_for_its_character_and_what_follows_it_stays) {
    const std::pair<const char*, std::string> rows[] = {
        {R"(a\\\"b)", "a\\\"b"},
        {R"(\"\\\/\b\f\n\r\t.)", "\"\\/\b\f\n\r\t."},
        {R"(\u0041\u0062z)", "Abz"},
        {R"(\u007f\u0080.)", "\x7f\xc2\x80."},
        {R"(\u07ff\u0800.)", "\xdf\xbf\xe0\xa0\x80."},
        {R"(\uFFFF.)", "\xef\xbf\xbf."},
        {R"(\ud800\udc00.)", "\xf0\x90\x80\x80."},
        {R"(\uD83D\uDE00x)", "\xf0\x9f\x98\x80x"},
        {R"(\udbff\udfff)", "\xf4\x8f\xbf\xbf"},
        {R"(\ud7ff\ue000.)", "\xed\x9f\xbf\xee\x80\x80."},
        {R"(\ud800x)", "\xef\xbf\xbdx"},
        {R"(\ud800)", "\xef\xbf\xbd"},
        {R"(\udc00\ud800.)", "\xef\xbf\xbd\xef\xbf\xbd."},
        {R"(\udfff.)", "\xef\xbf\xbd."},
        {R"(\ud800\ue000.)", "\xef\xbf\xbd\xee\x80\x80."},
        {R"(\ud800\udbff.)", "\xef\xbf\xbd\xef\xbf\xbd."},
        {R"(\ud800\n.....)", "\xef\xbf\xbd\n....."},
        {R"(\ud800-udc00)", "\xef\xbf\xbd-udc00"},
    };
    for (const auto& [written, meant] : rows)
        BOOST_TEST(peek(R"({"type":")" + std::string(written) + R"("})").type == meant, written);
}

BOOST_AUTO_TEST_CASE(every_kind_of_value_is_passed_over) {
    for (const char* value : {"true",
                              "false",
                              "null",
                              "0",
                              "-0",
                              "10",
                              "-12.5",
                              "1e5",
                              "1E+5",
                              "2.5e-10",
                              "0.0",
                              "\"\"",
                              "[]",
                              "{}",
                              "[[],{}]",
                              " [ 1 , 2 ] ",
                              "{ \"a\" : { } , \"b\" : [ ] }",
                              "{\"\\u0061\":1}",
                              "\"\\u00e4\"",
                              "\"\\u00AF\""})
        BOOST_TEST(peek(R"({"x":)" + std::string(value) + R"(,"type":"t"})").type == "t", value);
}

BOOST_AUTO_TEST_CASE(brackets_match_at_any_depth) {
    std::mt19937 random(3);
    for (const std::size_t depth : {1, 63, 64, 65, 66, 127, 128, 129, 511, 512, 513, 577, 641}) {
        std::string opening, closing;
        for (std::size_t i = 0; i < depth; ++i) {
            const bool object = random() % 2 != 0;
            opening += object ? "{\"a\":" : "[";
            closing.insert(closing.begin(), object ? '}' : ']');
        }
        const auto event = [&](const std::string& end) {
            return R"({"type":"t","x":)" + opening + '1' + end + '}';
        };
        BOOST_TEST(peek(event(closing)).type == "t", depth);
        for (auto& bracket : closing) {
            const char right = std::exchange(bracket, bracket == '}' ? ']' : '}');
            BOOST_TEST_REQUIRE(peek(event(closing)).type == "", depth);
            bracket = right;
        }
    }
}

BOOST_AUTO_TEST_CASE(an_event_of_2_x_is_peeked_at_by_its_data) {
    struct row {
        std::string text;
        std::string type;
        std::string session;
    };
    const row rows[] = {
        {R"({"id":"evt_1","type":"session.text.delta","data":{"sessionID":"ses_1","delta":"{\"sessionID\":\"no\"}"}})",
         "session.text.delta", "ses_1"},
        {R"({"data":{"x":{"sessionID":"no"},"sessionID":"ses_\u0031"},"type":"session.step.started"})",
         "session.step.started", "ses_1"},
        {R"({"type":"form.created","data":{"form":{"id":"frm_1","sessionID":"ses_2"}}})", "form.created",
         "ses_2"},
        {R"({"type":"server.connected","data":{}})", "server.connected", ""},
        {R"({"type":"odd","data":7})", "odd", ""},
        {R"({"type":7,"data":{"sessionID":"ses_1"}})", "", ""},
        {R"({"type":"cut","data":{"sessionID":"ses_1")", "", ""},
        {R"({"type":"two"} {})", "", ""},
    };
    for (const auto& r : rows) {
        const auto head = peek_2(r.text);
        BOOST_TEST_CONTEXT(r.text) {
            BOOST_TEST(head.type == r.type);
            BOOST_TEST(head.session_id == r.session);
            BOOST_TEST((r.type.empty() || head.body == r.text));
        }
    }
}

// By the recordings: the same as who reads the whole of it.
BOOST_AUTO_TEST_CASE(every_recorded_event_of_2_x_is_peeked_at_as_it_is_read) {
    std::size_t seen = 0;
    for (const auto& file : std::filesystem::directory_iterator(data_folder() / "opencode2")) {
        if (file.path().extension() != ".sse")
            continue;
        for (const auto& data : recorded_data(file.path())) {
            const auto whole = v2::parse_event(data);
            if (!whole || whole->session.empty())
                continue;
            const auto head = peek_2(data);
            BOOST_TEST(head.type == whole->type);
            BOOST_TEST(head.session_id == whole->session);
            ++seen;
        }
    }
    BOOST_TEST(seen > 1000u);
}
