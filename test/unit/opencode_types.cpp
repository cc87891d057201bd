#define BOOST_TEST_MODULE opencode_types
#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/types.hpp>

#include <boost/json/value.hpp>

#include <cmath>

using namespace holdfast;
using namespace holdfast::opencode;

namespace {

boost::json::value json_of(std::string_view text) {
    auto v = parse_json(text);
    BOOST_TEST_REQUIRE(v.has_value(), text);
    return std::move(*v);
}

std::string string_of(std::string_view text) {
    const auto v = json_of(text);
    BOOST_TEST_REQUIRE(v.is_string());
    return std::string(v.get_string());
}

template <class T>
std::string complaint(const result<T>& r) {
    return r ? "none" : r.error().message;
}

bool names(const std::string& message, std::string_view path) {
    return message.find(path) != std::string::npos;
}

const char* const assistant =
    R"({"id":"m1","parentID":"u1","role":"assistant","mode":"build","cost":0.5,"sessionID":"s1","finish":"stop",
        "tokens":{"total":18,"input":11,"output":7,"reasoning":1,"cache":{"write":2,"read":3}},
        "time":{"created":10,"completed":20}})";

} // namespace

BOOST_AUTO_TEST_CASE(a_session_is_read) {
    const auto s = parse_session(
        json_of(R"({"id":"s1","parentID":"s0","directory":"/d","title":"t","version":"1.18.33","new":[1]})"),
        "session");
    BOOST_TEST_REQUIRE(s.has_value());
    BOOST_TEST((*s == session_info{"s1", "s0", "/d", "t", "1.18.33"}));
}

BOOST_AUTO_TEST_CASE(an_assistant_message_is_read) {
    const auto m = parse_message_info(json_of(assistant), "info");
    BOOST_TEST_REQUIRE(m.has_value());
    BOOST_TEST(m->assistant);
    BOOST_TEST(m->parent_id == "u1");
    BOOST_TEST(m->finish == "stop");
    BOOST_TEST(m->finished());
    BOOST_TEST(m->completed_ms.value() == 20);
    BOOST_TEST((m->tokens == token_usage{11, 7, 1, 3, 2}));
    BOOST_TEST(m->cost == 0.5);
    BOOST_TEST(!m->error.has_value());
}

BOOST_AUTO_TEST_CASE(a_user_message_s_summary_is_not_an_assistant_s) {
    const auto m = parse_message_info(
        json_of(R"({"id":"m","sessionID":"s","role":"user","time":{"created":1},"summary":{"diffs":[]}})"),
        "info");
    BOOST_TEST_REQUIRE(m.has_value());
    BOOST_TEST(!m->assistant);
    BOOST_TEST(!m->summary);
}

BOOST_AUTO_TEST_CASE(a_tool_part_is_read_and_its_input_is_not) {
    const auto p = parse_part(
        json_of(
            R"({"id":"p","messageID":"m","sessionID":"s","type":"tool","tool":"task","callID":"c","state":{"status":"running",
                    "title":"sub job","input":{"n":1e400,"big":123456789012345678901234567890},"metadata":{"sessionId":"ses_child"}}})"),
        "part");
    BOOST_TEST_REQUIRE(p.has_value());
    BOOST_TEST(p->tool == "task");
    BOOST_TEST(p->call_id == "c");
    BOOST_TEST(p->state == "running");
    BOOST_TEST(p->title == "sub job");
    BOOST_TEST(p->child_session == "ses_child");
}

BOOST_AUTO_TEST_CASE(a_text_part_has_ended_when_its_time_says_so) {
    const auto part_of = [](std::string_view time) {
        return *parse_part(
            json_of(
                R"({"id":"p","messageID":"m","sessionID":"s","type":"text","text":"x","synthetic":true,"time":)" +
                std::string(time) + "}"),
            "part");
    };
    BOOST_TEST(!part_of(R"({"start":1})").ended);
    BOOST_TEST(part_of(R"({"start":1,"end":2})").ended);
    BOOST_TEST(part_of("{}").synthetic);
}

BOOST_AUTO_TEST_CASE(a_message_names_the_part_that_lacks_something) {
    const std::string info = R"({"info":)" + std::string(assistant);
    BOOST_TEST(names(
        complaint(parse_message(
            json_of(info + R"(,"parts":[{"id":"p","messageID":"m","sessionID":"s","type":"text"},{}]})"),
            "message[3]")),
        "message[3].parts[1].id"));
    BOOST_TEST(names(complaint(parse_message(json_of(info + "}"), "message")), "message.parts"));
    BOOST_TEST(names(complaint(parse_message(json_of(R"({"parts":[]})"), "message")), "message.info"));
    BOOST_TEST(names(complaint(parse_session(json_of("{}"), "session")), "session.id"));
    BOOST_TEST(names(complaint(parse_session(json_of(R"({"id":5})"), "")), "id"));
    BOOST_TEST(names(
        complaint(parse_question(json_of(R"({"id":"q","sessionID":"s","questions":[{}]})"), "question[0]")),
        "question[0].questions[0].question"));
    const auto code = parse_session(json_of("{}"), "session").error().code;
    BOOST_TEST((code == errc::missing_field));
}

BOOST_AUTO_TEST_CASE(every_shape_of_an_error_is_read) {
    const std::pair<const char*, api_error> rows[] = {
        {R"({"name":"NotFoundError","data":{"message":"Session not found"}})",
         {"NotFoundError", "Session not found", 0}},
        {R"({"name":"APIError","data":{"message":"bad key","statusCode":401}})",
         {"APIError", "bad key", 401}},
        {R"({"_tag":"PermissionNotFoundError","requestID":"r","message":"gone"})",
         {"PermissionNotFoundError", "gone", 0}},
        {R"({"_tag":"UnauthorizedError"})", {"UnauthorizedError", "", 0}},
        {R"({"error":{"name":"APIError","data":{"message":"no"}}})", {"APIError", "no", 0}},
        {R"({"error":{"type":"unknown","message":"HTTP transport failed"}})",
         {"unknown", "HTTP transport failed", 0}},
        {R"({"error":"plain words"})", {"UnknownError", "plain words", 0}},
        {R"("just a string")", {"UnknownError", "just a string", 0}},
        {R"({"success":false})", {"UnknownError", R"({"success":false})", 0}},
        {R"({ "success" : false })", {"UnknownError", R"({ "success" : false })", 0}}, // as it came
        {"[1]", {"UnknownError", "[1]", 0}},
        {"Internal Server Error", {"UnknownError", "Internal Server Error", 0}},
        {"<!doctype html><p>no", {"UnknownError", "<!doctype html><p>no", 0}},
        {R"({"name":)", {"UnknownError", R"({"name":)", 0}},
        {"", {"UnknownError", "", 0}},
        {R"({"name":"E","data":{"message":"m","statusCode":1e99}})", {"E", "m", 0}},
    };
    for (const auto& [body, expected] : rows) {
        const auto found = parse_error_body(body);
        BOOST_TEST((found == expected),
                   body << ": '" << found.name << "' '" << found.message << "' " << found.status);
    }
}

BOOST_AUTO_TEST_CASE(lone_surrogates_are_mended_and_pairs_are_kept) {
    const std::pair<const char*, const char*> rows[] = {
        {R"("\ud83d\ude00")", "\xf0\x9f\x98\x80"},
        {R"("\uD83D\uDE00")", "\xf0\x9f\x98\x80"},
        {R"("a\ud800b")", "a\xef\xbf\xbd"
                          "b"},
        {R"("\udc00")", "\xef\xbf\xbd"},
        {R"("\uD800")", "\xef\xbf\xbd"},
        {R"("\ud800\ud83d\ude00")", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
        {R"("\ud800\u0041")", "\xef\xbf\xbd"
                              "A"},
        {R"("\\ud800")", "\\ud800"}, // a backslash, then plain letters
        {R"("\\\ud800")", "\\\xef\xbf\xbd"},
        {R"("\ud800\\")", "\xef\xbf\xbd\\"},
    };
    for (const auto& [text, expected] : rows)
        BOOST_TEST(string_of(text) == expected, text);
    BOOST_TEST(!parse_json(R"("\ud8)").has_value());
    BOOST_TEST(!parse_json(R"("\ud8zz")").has_value());
}

BOOST_AUTO_TEST_CASE(numbers_of_any_size_are_taken) {
    for (const char* text :
         {"1e400", "-1e400", "1e99999999999999", "[1E+99999999999, 2e-99999999999]",
          R"({"e1e99":"1e99999999999"})", "0e99999999999", "123456789012345678901234567890"})
        BOOST_TEST(parse_json(text).has_value(), text);
    BOOST_TEST(std::isinf(json_of("1e99999999999").as_double()));
    BOOST_TEST(json_of("[5e-99999999999]").as_array()[0].as_double() == 0);
    const auto beside = json_of(R"(["1e99999999999", 1e99999999999])"); // what stands in a string stays
    BOOST_TEST(beside.as_array()[0].as_string() == "1e99999999999");
}

BOOST_AUTO_TEST_CASE(depth_is_bounded_at_512) {
    const auto nested = [](std::size_t n) {
        return std::string(n, '[') + std::string(n, ']');
    };
    BOOST_TEST(parse_json(nested(512)).has_value());
    BOOST_TEST(!parse_json(nested(513)).has_value());
    const auto f = parse_json(nested(513)).error();
    BOOST_TEST((f.code == errc::bad_json));
}

BOOST_AUTO_TEST_CASE(what_is_no_json_is_refused) {
    for (const char* text : {"", "{", "{}x", "nul", "01", "\"\n\"", "{\"a\":}", "[1,]"})
        BOOST_TEST(!parse_json(text).has_value(), text);
}
