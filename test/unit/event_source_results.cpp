// Answers that are no stream, where they are results: one JSON text, no content, an id alone. In virtual
// time.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <holdfast/stream/ndjson.hpp>
#include <holdfast/stream/resume.hpp>

#include <string>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using test::lines;
using test::response;
using test::send;
using test::sse_head;
using test::sse_response;

namespace {

// As an MCP client posts.
struct fixture : test::source_fixture {
    fixture() {
        config.method = "POST";
        config.body = "{}";
        config.answers = stream::answers::json;
    }
};

const auto no_body = "Content-Length: 0\r\n\r\n"s;
const auto json_head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n"s;

test::script then_end(std::string bytes) {
    return {send(std::move(bytes)), send(test::last_chunk())};
}

} // namespace

CO_TEST_CASE(a_json_text_is_a_result_with_its_head_and_nothing_is_asked_again, fixture) {
    for (const std::string type : {"application/json", "application/json; charset=utf-8", "Application/JSON",
                                   "application/problem+json"}) {
        for (const int status : {200, 201}) {
            server.play({send(response(status, type, "{\"id\":1}", "Mcp-Session-Id: s\r\n"))});
            const auto got = co_await next();
            BOOST_TEST(got == "answered " + std::to_string(status) + " {\"id\":1}", type);
            BOOST_TEST_REQUIRE(last.head != nullptr);
            BOOST_TEST(last.head->find("Mcp-Session-Id") == "s");
            const auto after = co_await next(2);
            CHECK_LINES(after, {"end", "end"});
            source.reset();
        }
    }
    BOOST_TEST(server.requests().size() == 8u);
    BOOST_TEST(server.requests().back().header("Accept") == "text/event-stream, application/json");
}

CO_TEST_CASE(an_answer_without_content_is_a_result_of_its_own, fixture) {
    for (const auto& [head, told] : std::vector<std::pair<std::string, std::string>>{
             {"HTTP/1.1 202 Accepted\r\n" + no_body, "answered 202 "},
             {"HTTP/1.1 202 Accepted\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok",
              "answered 202 ok"},
             {"HTTP/1.1 204 No Content\r\n\r\n", "answered 204 "},
             {"HTTP/1.1 200 OK\r\n" + no_body, "answered 200 "},
         }) {
        server.play({send(head)});
        const auto got = co_await next(2);
        CHECK_LINES(got, {told, "end"});
        source.reset();
    }
    server.play({send("HTTP/1.1 202 Accepted\r\n\r\n"), test::finish(milliseconds(1))});
    const auto until_the_end = co_await next();
    BOOST_TEST(until_the_end == "answered 202 ");
}

CO_TEST_CASE(a_stream_is_a_stream_whatever_else_would_be_a_result, fixture) {
    server.play({send(sse_response("data: x\n\n"))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "event x"});
    source.reset();
    config.framing = stream::ndjson;
    server.play({send(response(200, "application/json", "{}\n"))});
    const auto json_lines = co_await next(2);
    CHECK_LINES(json_lines, {"opened 1", "event {}"});
    source.reset();
    config.framing = stream::event_stream;
    config.any_type = true;
    server.play({send(response(202, "application/json", "data: x\n\n"))});
    const auto any = co_await next(2);
    CHECK_LINES(any, {"opened 1", "event x"});
}

CO_TEST_CASE(what_is_neither_stream_nor_result_is_a_failure, fixture) {
    for (const auto& [answer, told] : std::vector<std::pair<std::string, std::string>>{
             {response(200, "text/html", "<p>"), "gave up content_type after 1"},
             {response(200, "application/jsonx", "{}"), "gave up content_type after 1"},
             {response(400, "application/json", "{\"error\":1}"), "gave up http_status after 1"},
         }) {
        server.play({send(answer)});
        const auto got = co_await next();
        BOOST_TEST(got == told);
        BOOST_TEST(!last.failure.body.empty());
        source.reset();
    }
}

CO_TEST_CASE(unless_it_is_asked_for_no_answer_but_a_stream_is_a_result, fixture) {
    config.answers = stream::answers::stream;
    for (const auto& [answer, told] : std::vector<std::pair<std::string, std::string>>{
             {response(200, "application/json", "{}"), "gave up content_type after 1"},
             {"HTTP/1.1 202 Accepted\r\n" + no_body, "gave up http_status after 1"},
             {"HTTP/1.1 204 No Content\r\n\r\n", "gave up http_status after 1"},
         }) {
        server.play({send(answer)});
        const auto got = co_await next();
        BOOST_TEST(got == told);
        source.reset();
    }
}

CO_TEST_CASE(an_answer_has_a_limit, fixture) {
    config.answer_limit = 7;
    server.play({send(json_head + "{\"a\":1}")});
    const auto fits = co_await next();
    BOOST_TEST(fits == "answered 200 {\"a\":1}");
    source.reset();
    config.answer_limit = 6;
    server.play({send(json_head + "{\"a\":"), send("1}", milliseconds(1))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"gave up too_large after 1", "end"});
    BOOST_TEST(last.failure.code == error_code(errc::body_too_large));
}

CO_TEST_CASE(an_answer_must_be_whole_in_time_however_slowly_it_comes, fixture) {
    test::script slow{send(json_head)};
    for (int n = 0; n < 6; ++n)
        slow.push_back(send("1", seconds(9)));
    for (const bool repeat : {false, true}) {
        config.repeat_unsafe = repeat;
        server.play(slow);
        const auto begin = rt.now();
        const auto got = co_await next();
        BOOST_TEST(got == (repeat ? "interrupted timeout next 2 in 1000" : "gave up timeout after 1"));
        BOOST_TEST(to_ms(rt.now() - begin) == 30'000);
        source.reset();
    }
    config.transport.deadlines.exchange = duration::zero();
    slow.push_back(send("1", seconds(9)));
    server.play(slow);
    const auto patient = co_await next();
    BOOST_TEST(patient == "answered 200 1111111");
}

CO_TEST_CASE(an_answer_that_was_cut_is_asked_for_again_where_that_is_safe, fixture) {
    const test::script cut{send(json_head + "{"), test::reset(milliseconds(1))};
    server.play(cut);
    const auto posted = co_await next(2);
    CHECK_LINES(posted, {"gave up cut after 1", "end"});
    source.reset();
    config.method = "GET";
    config.body.clear();
    server.play(cut);
    server.play({send(json_head + "{\"a\":1}")});
    const auto got = co_await next(3);
    CHECK_LINES(got, {"interrupted cut next 2 in 1000", "answered 200 {\"a\":1}", "end"});
    BOOST_TEST(world.logs().back().event == "stream.answered");
}

CO_TEST_CASE(an_answer_that_was_cancelled_in_its_middle_is_not_asked_for_again, fixture) {
    server.play({send(json_head + "{")});
    const auto reader = scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(1));
    scope.cancel(reader);
    co_await turn();
    const auto got = co_await next(2);
    CHECK_LINES(got, {"gave up cut after 1", "end"});
    BOOST_TEST(server.requests().size() == 1u);
}

CO_TEST_CASE(a_source_that_is_closed_in_the_middle_of_an_answer_tells_nothing, fixture) {
    server.play({send(json_head + "{"), send("\"a\":1}", seconds(2))});
    scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(1));
    source->close();
    co_await turn();
    CHECK_LINES(told, {"end"});
}

CO_TEST_CASE(an_answer_after_failures_ends_the_trouble, fixture) {
    server.play({});
    config.method = "GET";
    config.body.clear();
    server.play({send("HTTP/1.1 500 Oops\r\n" + no_body)});
    server.play({send(json_head + "{\"a\":1}")});
    config.transport.deadlines.header = seconds(5);
    const auto got = co_await next(3);
    CHECK_LINES(got, {"interrupted timeout next 2 in 1000", "interrupted http_status next 3 in 2000",
                      "answered 200 {\"a\":1}"});
    const auto all = logged();
    CHECK_LINES(all,
                {"warn stream.interrupted timeout 1 retry", "info incident.recovered timeout 1 recovered",
                 "warn stream.interrupted http_status 2 retry",
                 "info incident.recovered http_status 1 recovered", "debug stream.answered  2 end"});
}

CO_TEST_CASE(an_id_without_an_event_then_an_end_is_no_failure_but_something_to_resume_from, fixture) {
    stream::resume_by_get(config);
    server.play(then_end(sse_response("retry: 500\nid: 7\n\n")));
    server.play({send(sse_response("id: 8\ndata: answer\n\n"))});
    const auto got = co_await next(4);
    CHECK_LINES(got, {"opened 1", "interrupted ended next 1 in 500", "opened 1", "event answer"});
    BOOST_TEST(server.requests().at(1).text.starts_with("GET "));
    BOOST_TEST(server.requests().at(1).header("Last-Event-ID") == "7");
}

CO_TEST_CASE(a_server_that_sends_an_id_alone_each_time_is_asked_for_ever, fixture) {
    stream::resume_by_get(config);
    for (int n = 1; n <= 20; ++n)
        server.play(then_end(sse_response("retry: 500\nid: " + std::to_string(n) + "\n\n")));
    for (int n = 1; n <= 20; ++n) {
        const auto got = co_await next(2);
        BOOST_TEST(got.back() == "interrupted ended next 1 in 500");
    }
}

CO_TEST_CASE(an_end_without_even_an_id_is_an_early_end, fixture) {
    config.method = "GET";
    config.body.clear();
    server.play(then_end(sse_head()));
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "interrupted early_end next 2 in 1000"});
    BOOST_TEST(source->last_event_id() == "");
}
