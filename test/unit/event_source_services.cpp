// What services ask beyond the standard: streams resumed by another request, and failures told inside a
// stream. In virtual time.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <holdfast/stream/ndjson.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using test::chunk;
using test::last_chunk;
using test::lines;
using test::place;
using test::response;
using test::send;
using test::sse_head;
using test::sse_response;

namespace {

struct fixture : test::source_fixture {
    lines resumed_from; // what each next_request was given: id, type, data

    // As MCP of 2025 resumes: a POST, then a GET with its id.
    void resume_by_get() {
        config.method = "POST";
        config.body = "{}";
        config.next_request = [this](std::string_view last_id, const sse::event& last,
                                     http::request& what) -> net::awaitable<result<void>> {
            resumed_from.push_back(std::string(last_id) + ' ' + std::string(last.type) + ' ' +
                                   std::string(last.data));
            if (!last_id.empty()) {
                what.method = "GET";
                what.body.clear();
            }
            co_return result<void>();
        };
    }

    // As services tell of failures in a stream.
    void fail_on_errors() {
        config.judge = [](const sse::event& what) -> std::optional<retry::failure> {
            if (what.type == "error")
                return retry::make_status_failure(529, std::string(what.data), {});
            if (what.type == "wait")
                return retry::make_status_failure(429, {}, seconds(20));
            if (what.type == "auth_revoked")
                return retry::make_failure(errc::stalled, "revoked", true);
            if (what.type == "bad")
                return retry::make_status_failure(400, std::string(what.data), {});
            return std::nullopt;
        };
    }

    [[nodiscard]] std::string request_line(std::size_t n) const {
        const auto& text = server.requests().at(n).text;
        return text.substr(0, text.find(' '));
    }
};

test::script then_end(std::string bytes) {
    return {send(std::move(bytes)), send(last_chunk())};
}

test::script then_cut(std::string bytes) {
    return {send(std::move(bytes)), test::reset(milliseconds(1))};
}

} // namespace

// --- next_request resumes

CO_TEST_CASE(a_post_is_resumed_by_a_get_with_its_last_id, fixture) {
    resume_by_get();
    server.play(then_end(sse_response("retry: 40\nid: 7\ndata:\n\n")));
    server.play({send(sse_response("id: 8\ndata: answer\n\n"))});
    const auto got = co_await next(5);
    CHECK_LINES(got, {"opened 1", "event ", "interrupted ended next 1 in 40", "opened 1", "event answer"});
    BOOST_TEST(request_line(0) == "POST");
    BOOST_TEST(request_line(1) == "GET");
    BOOST_TEST(server.requests().at(1).header("Last-Event-ID") == "7");
    BOOST_TEST(!server.requests().at(1).has_header("Content-Length"));
}

CO_TEST_CASE(a_stream_that_was_resumed_once_is_resumed_for_ever, fixture) {
    resume_by_get();
    for (int n = 1; n <= 20; ++n)
        server.play(then_cut(sse_response("id: " + std::to_string(n) + "\ndata: x\n\n")));
    for (int n = 1; n <= 20; ++n) {
        const auto got = co_await next(3);
        BOOST_TEST(got.back().starts_with("interrupted cut"), got.back());
    }
    for (std::size_t n = 1; n < 20; ++n)
        BOOST_TEST(server.requests().at(n).header("Last-Event-ID") == std::to_string(n));
}

CO_TEST_CASE(a_post_without_anything_to_resume_from_is_not_sent_again, fixture) {
    resume_by_get();
    server.play(then_cut(sse_head()));
    const auto got = co_await all();
    CHECK_LINES(got, {"opened 1", "gave up cut after 1", "end"});
    BOOST_TEST(server.requests().size() == 1u);
}

CO_TEST_CASE(a_post_that_is_not_resumed_otherwise_gives_up_with_what_failed_and_is_not_sent, fixture) {
    config.method = "POST";
    unsigned calls = 0;
    config.next_request = [&calls](std::string_view, const sse::event&,
                                   http::request& what) -> net::awaitable<result<void>> {
        ++calls;
        what.headers.emplace_back("X-Call", std::to_string(calls));
        co_return result<void>();
    };
    server.play(then_cut(sse_response("data: x\n\n")));
    const auto got = co_await all();
    CHECK_LINES(got, {"opened 1", "event x", "interrupted cut next 2 in 1000", "gave up cut after 1", "end"});
    BOOST_TEST(last.failure.message.ends_with("; not sent again, as POST may change something"),
               last.failure.message);
    BOOST_TEST(calls == 2u);
    BOOST_TEST(server.requests().size() == 1u);
    BOOST_TEST(attempts() == 1u);
}

CO_TEST_CASE(a_resumed_stream_never_goes_back_to_the_post, fixture) {
    bool resumes = false;
    config.method = "POST";
    config.next_request = [&resumes](std::string_view, const sse::event&,
                                     http::request& what) -> net::awaitable<result<void>> {
        if (resumes)
            what.method = "GET";
        co_return result<void>();
    };
    server.play(then_cut(sse_response("id: 1\ndata: x\n\n")));
    server.play(then_cut(sse_response("id: 2\ndata: y\n\n")));
    co_await next(2);
    resumes = true;
    co_await next(3);
    resumes = false;
    const auto got = co_await next(3);
    CHECK_LINES(got, {"interrupted cut next 2 in 2000", "gave up cut after 1", "end"});
    BOOST_TEST(server.requests().size() == 2u);
}

CO_TEST_CASE(an_unsafe_request_that_may_be_repeated_is, fixture) {
    resume_by_get();
    config.repeat_unsafe = true;
    server.play(then_cut(sse_head()));
    server.play({send(sse_head())});
    const auto got = co_await next(3);
    CHECK_LINES(got, {"opened 1", "interrupted cut next 2 in 1000", "opened 2"});
    BOOST_TEST(request_line(1) == "POST");
}

CO_TEST_CASE(a_post_that_was_cancelled_is_resumed_where_there_is_an_id, fixture) {
    resume_by_get();
    config.headers = {{"Last-Event-ID", "5"}};
    config.next_request = [](std::string_view, const sse::event&,
                             http::request& what) -> net::awaitable<result<void>> {
        static bool again = false;
        if (again)
            what.method = "GET";
        again = true;
        co_return result<void>();
    };
    server.play({});
    const auto reader = scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(1));
    scope.cancel(reader);
    co_await turn();
    server.play({send(sse_head())});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"interrupted cut next 2 in 1000", "opened 2"});
    BOOST_TEST(request_line(1) == "GET");
}

CO_TEST_CASE(next_request_is_given_the_last_id_and_the_last_event_as_a_copy, fixture) {
    resume_by_get();
    const std::string large(3u << 20, 'x');
    server.play(then_cut(
        sse_response("id: a\nevent: one\ndata: 1\n\nid: b\nevent: two\ndata: " + large + "\n\nid: c\n\n")));
    server.play(then_cut(sse_head()));
    server.play({send(sse_head())});
    co_await next(4);
    co_await next(3);
    BOOST_TEST_REQUIRE(resumed_from.size() == 3u);
    BOOST_TEST(resumed_from[0] == "  ");
    BOOST_TEST((resumed_from[1] == "c two " + large));
    BOOST_TEST((resumed_from[2] == "c two " + large));
}

CO_TEST_CASE(another_target_resumes_a_stream_by_a_number_in_its_events, fixture) {
    config.next_request = [](std::string_view, const sse::event& last,
                             http::request& what) -> net::awaitable<result<void>> {
        if (!last.type.empty())
            what.target = "/responses/r1?stream=true&starting_after=" + std::string(last.data);
        co_return result<void>();
    };
    server.play(then_cut(sse_response("data: 1\n\ndata: 2\n\n")));
    server.play({send(sse_head())});
    co_await next(5);
    BOOST_TEST(server.requests().at(0).target() == "/event");
    BOOST_TEST(server.requests().at(1).target() == "/responses/r1?stream=true&starting_after=2");
}

// --- judge

CO_TEST_CASE(an_event_that_is_a_failure_is_handed_out_and_then_fails_by_its_class, fixture) {
    struct row {
        std::string type, then;
    };
    for (const auto& [type, then] : std::vector<row>{{"error", "interrupted http_status next 2 in 1000"},
                                                     {"wait", "interrupted throttled next 2 in 20000"},
                                                     {"auth_revoked", "interrupted stall next 2 in 1000"},
                                                     {"bad", "gave up http_status after 1"}}) {
        fail_on_errors();
        server.play({send(sse_response("data: a\n\nevent: " + type + "\ndata: why\n\ndata: dropped\n\n"))});
        const auto got = co_await next(4);
        CHECK_LINES(got, {"opened 1", "event a", "event why", then});
        BOOST_TEST(last.failure.connected);
        BOOST_TEST(!source->is_open());
        BOOST_TEST(source->statistics().events == 2u);
        source.reset();
    }
}

CO_TEST_CASE(an_event_that_is_a_failure_is_the_same_wherever_its_bytes_are_cut, fixture) {
    const std::string stream = "id: 4\nevent: error\ndata: {\"error\":1}\n\ndata: dropped\n\n";
    for (std::size_t at = 1; at < stream.size(); ++at) {
        fail_on_errors();
        server.play({send(sse_head() + chunk(stream.substr(0, at))),
                     send(chunk(stream.substr(at)), milliseconds(1))});
        const auto got = co_await next(3);
        CHECK_LINES(got, {"opened 1", "event {\"error\":1}", "interrupted http_status next 2 in 1000"});
        BOOST_TEST(last.failure.body == "{\"error\":1}");
        BOOST_TEST(source->last_event_id() == "4");
        source.reset();
    }
}

CO_TEST_CASE(a_stream_of_failures_alone_is_given_up_by_the_policy, fixture) {
    fail_on_errors();
    server.play_ever_after({send(sse_response("event: error\ndata: overloaded\n\n"))});
    const auto got = co_await all();
    BOOST_TEST(got.size() == 22u);
    BOOST_TEST(got.at(got.size() - 2) == "gave up http_status after 7");
    BOOST_TEST(attempts() == 7u);
}

CO_TEST_CASE(a_failure_behind_progress_is_the_first_of_a_new_run, fixture) {
    fail_on_errors();
    server.play_ever_after({send(sse_response("data: x\n\nevent: error\ndata: overloaded\n\n"))});
    for (int n = 0; n < 20; ++n) {
        const auto got = co_await next(4);
        BOOST_TEST(got.back().starts_with("interrupted http_status next 2"), got.back());
    }
}

CO_TEST_CASE(an_event_that_asks_to_connect_again_is_an_end_and_not_asked_for_ever_without_progress, fixture) {
    config.judge = [](const sse::event& what) -> std::optional<retry::failure> {
        if (what.type == "bye")
            return retry::make_failure(errc::ended);
        return std::nullopt;
    };
    server.play({send(sse_response("data: x\n\nevent: bye\ndata: 1\n\n"))});
    server.play_ever_after({send(sse_response("event: bye\ndata: 1\n\n"))});
    const auto got = co_await all();
    BOOST_TEST(got.at(3) == "interrupted ended next 1 in 1000");
    BOOST_TEST(got.at(got.size() - 2) == "gave up early_end after 7");
}

CO_TEST_CASE(an_event_that_a_clean_end_completes_is_judged_too, fixture) {
    for (const auto end : {stream::clean_end::reconnect, stream::clean_end::done}) {
        fail_on_errors();
        config.flush_at_end = true;
        config.clean_end = end;
        server.play(then_end(sse_response("event: error\ndata: why")));
        const auto got = co_await next(3);
        CHECK_LINES(got, {"opened 1", "event why", "interrupted http_status next 2 in 1000"});
        source.reset();
    }
}

CO_TEST_CASE(a_post_that_failed_inside_its_stream_is_not_sent_again, fixture) {
    fail_on_errors();
    config.method = "POST";
    server.play({send(sse_response("event: error\ndata: overloaded\n\n"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"opened 1", "event overloaded", "gave up http_status after 1", "end"});
}

CO_TEST_CASE(what_judge_throws_is_told_and_counts_as_a_failure, fixture) {
    config.judge = [](const sse::event&) -> std::optional<retry::failure> {
        throw std::runtime_error("no idea");
    };
    server.play({send(sse_response("data: x\n\n"))});
    const auto got = co_await next(3);
    CHECK_LINES(got, {"opened 1", "event x", "interrupted local next 2 in 1000"});
    BOOST_TEST(last.failure.message.find("judge threw: no idea") != std::string::npos, last.failure.message);
    BOOST_TEST(world.logs().at(0).event == "stream.judge_threw");
}

CO_TEST_CASE(a_close_from_within_judge_is_heeded, fixture) {
    config.judge = [this](const sse::event&) -> std::optional<retry::failure> {
        source->close();
        return retry::make_failure(errc::stalled);
    };
    server.play({send(sse_response("data: x\n\ndata: y\n\n"))});
    const auto got = co_await all();
    BOOST_TEST(got.back() == "end");
    BOOST_TEST(attempts() == 1u);
}

CO_TEST_CASE(the_judgement_waits_for_the_next_call_and_survives_its_cancellation, fixture) {
    fail_on_errors();
    server.play({send(sse_response("event: error\ndata: why\n\n"))});
    co_await next(2);
    BOOST_TEST(source->is_open());
    BOOST_TEST(last.event.data == "why");
    const auto told_next = source->try_next();
    BOOST_TEST_REQUIRE(told_next.has_value());
    BOOST_TEST(test::to_line(*told_next) == "interrupted http_status next 2 in 1000");
}

// --- framings

CO_TEST_CASE(json_lines_are_read_as_events_and_resumed_by_the_last_one, fixture) {
    config.framing = stream::ndjson;
    config.next_request = [](std::string_view, const sse::event& last,
                             http::request& what) -> net::awaitable<result<void>> {
        if (!last.type.empty())
            what.target = "/watch?after=" + std::string(last.data);
        co_return result<void>();
    };
    const auto head = "HTTP/1.1 200 OK\r\nContent-Type: application/json;stream=watch\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n"s;
    server.play({send(head + chunk("1\n2") + chunk("2\n3")), test::reset(milliseconds(1))});
    server.play({send(head + chunk("4\n"))});
    const auto got = co_await next(6);
    CHECK_LINES(got,
                {"opened 1", "event 1", "event 22", "interrupted cut next 2 in 1000", "opened 2", "event 4"});
    BOOST_TEST(server.requests().at(0).header("Accept") == "application/x-ndjson, application/json");
    BOOST_TEST(server.requests().at(1).target() == "/watch?after=22");
}

CO_TEST_CASE(an_event_stream_is_none_of_json_lines_and_the_other_way_round, fixture) {
    server.play({send(response(200, "application/x-ndjson", "{}\n"))});
    const auto as_events = co_await all();
    CHECK_LINES(as_events, {"gave up content_type after 1", "end"});
    source.reset();
    told.clear();
    config.framing = stream::ndjson;
    server.play({send(sse_head())});
    const auto as_lines = co_await all();
    CHECK_LINES(as_lines, {"gave up content_type after 1", "end"});
}

CO_TEST_CASE(limits_skips_and_a_last_line_are_those_of_event_streams, fixture) {
    config.framing = stream::ndjson;
    config.limits.line = 3;
    config.oversized = stream::oversized::skip;
    config.flush_at_end = true;
    config.clean_end = stream::clean_end::done;
    server.play({send(response(200, "application/x-ndjson", "1\n12345\n2\n3"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"opened 1", "event 1", "skipped " + error_code(errc::line_too_long).message(),
                      "event 2", "event 3", "done", "end"});
}

CO_TEST_CASE(a_source_without_a_parser_is_misuse, fixture) {
    config.framing = nullptr;
    BOOST_CHECK_THROW(begin(), std::logic_error);
    config.framing = [](const sse::limits&, const sse::options&) {
        return std::unique_ptr<stream::framing>();
    };
    BOOST_CHECK_THROW(begin(), std::logic_error);
    co_return;
}
