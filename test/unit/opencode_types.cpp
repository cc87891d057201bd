#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/types.hpp>

#include <boost/json/value.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

BOOST_AUTO_TEST_CASE(a_message_has_its_parts_in_the_servers_order) {
    const auto m =
        parse_message(json_of(R"({"info":)" + std::string(assistant) +
                              R"(,"parts":[{"id":"p2","messageID":"m","sessionID":"s","type":"text"},)"
                              R"({"id":"p1","messageID":"m","sessionID":"s","type":"text"}]})"),
                      "message");
    BOOST_TEST_REQUIRE(m.has_value());
    BOOST_TEST_REQUIRE(m->parts.size() == 2u);
    BOOST_TEST(m->parts[0].id == "p2");
    BOOST_TEST(m->parts[1].id == "p1");
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
    BOOST_TEST(!parse_json(R"("\ud800\)").has_value());
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
    const auto quoted = json_of(R"(["\"1e99999999999", -1e99999999999])"); // nor does a quote in it end it
    BOOST_TEST(quoted.as_array()[0].as_string() == "\"1e99999999999");
    BOOST_TEST(std::isinf(quoted.as_array()[1].as_double()));
}

BOOST_AUTO_TEST_CASE(zero_with_any_exponent_is_zero_and_a_cost_is_finite) {
    const auto read = [](std::string_view cost, std::string_view created = "1") {
        return parse_message_info(
            json_of(R"({"id":"m","sessionID":"s","role":"assistant","parentID":"u","cost":)" +
                    std::string(cost) + R"(,"time":{"created":)" + std::string(created) + "}}"),
            "info");
    };
    BOOST_TEST(read("0e400").value().cost == 0); // Boost.JSON makes it 0 times infinity
    BOOST_TEST(read("-0E400").value().cost == 0);
    BOOST_TEST(read("1e400").value().cost == std::numeric_limits<double>::max());
    BOOST_TEST(read("-1e400").value().cost == std::numeric_limits<double>::lowest());
    BOOST_TEST(read("0.5", "0e400").value().created_ms == 0);
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

BOOST_AUTO_TEST_CASE(a_count_is_the_nearest_that_there_is_to_any_number) {
    constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    const std::pair<const char*, std::uint64_t> rows[] = {
        {"0", 0},
        {"1", 1},
        {"7", 7},
        {"2.9", 2},
        {"-1", 0},
        {"-1e300", 0},
        {"1e300", most},
        {"9223372036854775807", most},
        {"9223372036854775808", most},
        {"18446744073709551615", most},
        {"true", 0},
        {R"("5")", 0},
        {"null", 0},
    };
    for (const auto& [number, expected] : rows) {
        const auto m = parse_message_info(
            json_of(R"({"id":"m","sessionID":"s","role":"assistant","parentID":"u","time":{"created":1},
                        "tokens":{"input":)" +
                    std::string(number) + "}}"),
            "info");
        BOOST_TEST_REQUIRE(m.has_value());
        BOOST_TEST(m->tokens.input == expected, number);
    }
}

BOOST_AUTO_TEST_CASE(a_time_is_any_whole_number_and_nothing_else) {
    const std::pair<const char*, std::optional<std::int64_t>> rows[] = {
        {"20", 20},
        {"-20", -20},
        {"20.5", 20},
        {"-1e300", std::numeric_limits<std::int64_t>::min()},
        {R"("20")", std::nullopt},
        {"null", std::nullopt},
    };
    for (const auto& [number, expected] : rows) {
        const auto m = parse_message_info(
            json_of(
                R"({"id":"m","sessionID":"s","role":"assistant","parentID":"u","time":{"created":1,"completed":)" +
                std::string(number) + "}}"),
            "info");
        BOOST_TEST_REQUIRE(m.has_value());
        BOOST_TEST((m->completed_ms == expected), number);
    }
}

BOOST_AUTO_TEST_CASE(a_cost_may_be_a_whole_number_or_absent) {
    const auto cost = [](std::string_view said) {
        return parse_message_info(
                   json_of(
                       R"({"id":"m","sessionID":"s","role":"assistant","parentID":"u","time":{"created":1})" +
                       std::string(said) + "}"),
                   "info")
            ->cost;
    };
    BOOST_TEST(cost("") == 0);
    BOOST_TEST(cost(R"(,"cost":3)") == 3);
    BOOST_TEST(cost(R"(,"cost":0.25)") == 0.25);
    BOOST_TEST(cost(R"(,"cost":"much")") == 0);
}

BOOST_AUTO_TEST_CASE(an_assistant_message_may_carry_its_error) {
    const auto message = [](std::string_view error) {
        return *parse_message_info(
            json_of(
                R"({"id":"m","sessionID":"s","role":"assistant","parentID":"u","time":{"created":1},"summary":true,"error":)" +
                std::string(error) + "}"),
            "info");
    };
    BOOST_TEST(message("null").summary);
    BOOST_TEST(!message("null").error.has_value());
    BOOST_TEST(
        (message(R"({"name":"MessageAbortedError"})").error == api_error{"MessageAbortedError", "", 0}));
}

BOOST_AUTO_TEST_CASE(the_attempt_of_a_retry_is_bounded_and_its_rest_may_be_absent) {
    const auto status = [](std::string_view said) {
        return *parse_status(json_of(R"({"type":"retry")" + std::string(said) + "}"), "status");
    };
    BOOST_TEST(status(R"(,"attempt":1e300)").attempt == 1u << 30);
    BOOST_TEST(status(R"(,"attempt":1073741823)").attempt == (1u << 30) - 1);
    BOOST_TEST((status("") == session_status{session_status::kind::retry, 0, "", 0}));
}

BOOST_AUTO_TEST_CASE(what_a_permission_is_for_may_be_one_pattern_or_several_strings) {
    const auto patterns = [](std::string_view said) {
        return parse_permission(
                   json_of(R"({"id":"p","sessionID":"s","permission":"bash")" + std::string(said) + "}"),
                   "permission")
            ->patterns;
    };
    using strings = std::vector<std::string>;
    BOOST_TEST((patterns("") == strings{}));
    BOOST_TEST((patterns(R"(,"pattern":"a")") == strings{"a"}));
    BOOST_TEST((patterns(R"(,"patterns":["a",5,null,"b"])") == strings{"a", "b"}));
    BOOST_TEST((patterns(R"(,"patterns":{"a":"b"})") == strings{}));
    BOOST_TEST(names(complaint(parse_permission(json_of(R"({"id":"p","sessionID":"s"})"), "permission")),
                     "permission.permission"));
}

BOOST_AUTO_TEST_CASE(a_question_may_have_no_options_but_must_have_questions) {
    const auto q = parse_question(
        json_of(R"({"id":"q","sessionID":"s","questions":[{"question":"Why?"},{"question":"How?",
                                    "options":[{"label":"Well"},5]}]})"),
        "question");
    BOOST_TEST_REQUIRE(q.has_value());
    BOOST_TEST((q->questions == std::vector<question>{{"Why?", "", false, {}},
                                                      {"How?", "", false, {{"Well", ""}, {"", ""}}}}));
    BOOST_TEST(names(complaint(parse_question(json_of(R"({"id":"q","sessionID":"s"})"), "question")),
                     "question.questions"));
}

BOOST_AUTO_TEST_CASE(a_tool_part_without_a_state_says_so) {
    BOOST_TEST(names(
        complaint(parse_part(
            json_of(R"({"id":"p","messageID":"m","sessionID":"s","type":"tool","tool":"bash","state":{}})"),
            "part")),
        "part.state.status"));
    BOOST_TEST(names(complaint(parse_part(json_of("5"), "part")), "part"));
    BOOST_TEST(names(complaint(parse_message(json_of("5"), "message[0]")), "message[0]"));
}

BOOST_AUTO_TEST_CASE(of_what_is_missing_the_first_is_named) {
    BOOST_TEST(complaint(parse_session(json_of("{}"), "session")) ==
               complaint(parse_session(json_of(R"({"directory":5})"), "session")));
    BOOST_TEST(names(complaint(parse_session(json_of("5"), "")), "an object"));
}

BOOST_AUTO_TEST_CASE(only_a_status_of_three_digits_is_one) {
    const std::pair<const char*, int> rows[] = {{"99", 0},   {"100", 100}, {"404", 404}, {"999", 999},
                                                {"1000", 0}, {"-500", 0},  {"0", 0}};
    for (const auto& [said, expected] : rows)
        BOOST_TEST(
            parse_error_body(R"({"name":"E","data":{"statusCode":)" + std::string(said) + "}}").status ==
                expected,
            said);
}

BOOST_AUTO_TEST_CASE(an_error_is_looked_for_a_few_objects_deep) {
    std::string body = R"({"name":"E"})";
    for (int depth = 0; depth < 4; ++depth)
        body = R"({"error":)" + body + "}";
    BOOST_TEST(parse_error_body(body).name == "E");
    body = R"({"error":)" + body + "}";
    BOOST_TEST((parse_error_body(body) == api_error{"UnknownError", body, 0}));
    BOOST_TEST((parse_error_body(R"({"error":5})") == api_error{"UnknownError", R"({"error":5})", 0}));
    BOOST_TEST((parse_error_body("null") == api_error{"UnknownError", "null", 0}));
    // What has a name of its own is not looked into.
    BOOST_TEST(parse_error_body(R"({"name":"outer","error":{"name":"inner"}})").name == "outer");
    BOOST_TEST(parse_error_body(R"({"_tag":"outer","error":{"name":"inner"}})").name == "outer");
}

BOOST_AUTO_TEST_CASE(the_message_of_an_error_is_that_of_its_data_and_its_name_may_be_its_type) {
    BOOST_TEST((parse_error_body(R"({"name":"E","message":"outer","data":{"message":"inner"}})") ==
                api_error{"E", "inner", 0}));
    BOOST_TEST((parse_error_body(R"({"message":"m"})") == api_error{"UnknownError", "m", 0}));
}

namespace {

std::string list_of(std::size_t count, std::string_view item) {
    std::string all = "[";
    for (std::size_t n = 0; n < count; ++n)
        all.append(n == 0 ? "" : ",").append(item);
    return all + "]";
}

} // namespace

BOOST_AUTO_TEST_CASE(approvals_with_more_than_a_thousand_choices_are_refused) {
    const auto permission = [](std::size_t patterns) {
        return complaint(
            parse_permission(json_of(R"({"id":"per_1","sessionID":"s","permission":"bash","patterns":)" +
                                     list_of(patterns, R"("a")") + "}"),
                             "ask"));
    };
    const auto question = [](std::size_t questions, std::size_t options) {
        const auto one =
            R"({"question":"q","header":"h","options":)" + list_of(options, R"({"label":"l"})") + "}";
        return complaint(parse_question(
            json_of(R"({"id":"que_1","sessionID":"s","questions":)" + list_of(questions, one) + "}"), "ask"));
    };
    BOOST_TEST(permission(1000) == "none");
    BOOST_TEST(names(permission(1001), "patterns, of which it has more than 1000"));
    BOOST_TEST(question(1000, 1) == "none");
    BOOST_TEST(names(question(1001, 1), "questions, of which it has more than 1000"));
    BOOST_TEST(question(1, 1000) == "none");
    BOOST_TEST(names(question(1, 1001), "options, of which it has more than 1000"));
}

BOOST_AUTO_TEST_CASE(a_message_with_an_unreadable_part_is_refused_by_the_parts_path) {
    const auto text = std::string(R"({"info":)") + assistant + R"(,"parts":[{"id":7}]})";
    BOOST_TEST(names(complaint(parse_message(json_of(text), "message")), "message.parts[0]"));
}
