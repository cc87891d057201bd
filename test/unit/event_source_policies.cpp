// What a stream does by policy: ends, limits, comments, who gives up when, and what is counted. In virtual
// time.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using stream::clean_end;
using stream::oversized;
using test::chunk;
using test::last_chunk;
using test::lines;
using test::place;
using test::response;
using test::send;
using test::sse_head;
using test::sse_response;

using fixture = test::source_fixture;

namespace {

// As in Retry-After: RFC 9110, section 5.6.7.
std::string http_date(wall_time when) {
    const auto day = std::chrono::floor<std::chrono::days>(when);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss time(std::chrono::floor<seconds>(when - day));
    static const std::vector<std::string> days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const std::vector<std::string> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const auto two = [](auto n) {
        return (n < 10 ? "0" : "") + std::to_string(n);
    };
    return days[std::chrono::weekday(day).c_encoding()] + ", " + two(static_cast<unsigned>(date.day())) +
           ' ' + months[static_cast<unsigned>(date.month()) - 1] + ' ' +
           std::to_string(static_cast<int>(date.year())) + ' ' + two(time.hours().count()) + ':' +
           two(time.minutes().count()) + ':' + two(time.seconds().count()) + " GMT";
}

} // namespace

// --- what a clean end means

CO_TEST_CASE(where_a_clean_end_is_the_end_it_is_told_and_nothing_is_asked_again, fixture) {
    config.clean_end = clean_end::done;
    const std::vector<test::script> answers{
        {send(sse_response("data: x\n\n")), send(last_chunk(), seconds(1))},
        {send(sse_response("data: x\n\n")), send(last_chunk(), seconds(50))},
        {send(response(200, "text/event-stream", "data: x\n\n"))},
        {send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n"),
         test::finish(seconds(1))},
    };
    for (const auto& each : answers) {
        const auto tried = attempts();
        server.play(each);
        const auto got = co_await next(4);
        CHECK_LINES(got, {"opened 1", "event x", "done", "end"});
        BOOST_TEST(!source->is_open());
        BOOST_TEST(source->statistics().interruptions == 0u);
        co_await rt.sleep_for(std::chrono::hours(1));
        const auto after = co_await next();
        BOOST_TEST(after == "end");
        BOOST_TEST(attempts() == tried + 1);
        BOOST_TEST(world.net().open_connections() == 0u);
        source.reset();
    }
}

CO_TEST_CASE(a_cut_is_no_clean_end, fixture) {
    config.clean_end = clean_end::done;
    server.play({send(sse_response("data: x\n\n")), test::finish(seconds(1))});
    server.play({send(sse_response("data: y\n\ndata: unfinished\n")), send(last_chunk(), seconds(1))});
    const auto got = co_await all();
    CHECK_LINES(
        got, {"opened 1", "event x", "interrupted cut next 2 in 1000", "opened 2", "event y", "done", "end"});
}

CO_TEST_CASE(a_done_stream_is_logged_once_and_is_no_failure, fixture) {
    config.clean_end = clean_end::done;
    server.play({send(sse_head() + last_chunk())});
    co_await all();
    CHECK_LINES(logged(), {"info stream.done  0 end"});
}

CO_TEST_CASE(a_post_that_is_done_is_done, fixture) {
    config.clean_end = clean_end::done;
    config.method = "POST";
    server.play({send(response(200, "text/event-stream", "data: x\n\n"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"opened 1", "event x", "done", "end"});
}

// --- who gives up when

CO_TEST_CASE(statuses_are_final_or_not_as_the_policy_says, fixture) {
    config.policy.statuses.final_too = {503};
    config.policy.statuses.transient_too = {404, 204};
    server.play({send(response(404, "", ""))});
    server.play({send(response(204, "", ""))});
    server.play({send(response(500, "", ""))});
    server.play({send(response(503, "", "", "Retry-After: 1\r\n"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"interrupted http_status next 2 in 1000", "interrupted http_status next 3 in 2000",
                      "interrupted http_status next 4 in 4000", "gave up throttled after 4", "end"});
}

CO_TEST_CASE(a_first_failure_is_the_last_where_asked_but_not_after_the_stream_was_open, fixture) {
    config.policy.first_failure_final = true;
    world.net().stop_listening(place);
    const auto first = co_await all();
    CHECK_LINES(first, {"gave up refused after 1", "end"});
    source.reset();
    world.net().listen(place, server);
    server.play({send(sse_head()), test::reset(seconds(1))});
    server.play({test::reset()});
    server.play({send(sse_head())});
    const auto later = co_await next(4);
    CHECK_LINES(later,
                {"opened 1", "interrupted cut next 2 in 1000", "interrupted cut next 3 in 2000", "opened 3"});
}

CO_TEST_CASE(a_run_of_failures_ends_with_the_time_it_may_take, fixture) {
    config.policy.max_elapsed = seconds(10);
    config.policy.max_attempts = retry::unlimited;
    server.play({send(sse_head()), send(last_chunk(), seconds(50))});
    server.play_ever_after({test::reset()});
    const auto got = co_await all();
    CHECK_LINES(got, {"opened 1", "interrupted ended next 1 in 1000", "interrupted cut next 2 in 1000",
                      "interrupted cut next 3 in 2000", "interrupted cut next 4 in 4000",
                      "gave up cut after 4", "end"});
    BOOST_TEST(elapsed_ms() == 58000);
}

CO_TEST_CASE(the_retry_field_is_ignored_where_asked, fixture) {
    config.policy.heed_retry_field = false;
    server.play({send(sse_response("retry: 20000\n\n")), test::reset(seconds(1))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "interrupted cut next 2 in 1000"});
}

CO_TEST_CASE(retry_after_as_a_date_is_heeded_once, fixture) {
    const auto when = http_date(rt.wall_now() + seconds(40));
    server.play({send(response(503, "", "", "Retry-After: " + when + "\r\n"))});
    server.play({send(response(503, "", ""))});
    const auto got = co_await next(2);
    BOOST_TEST((got[0] == "interrupted throttled next 2 in 40000" ||
                got[0] == "interrupted throttled next 2 in 39000"),
               got[0]);
    BOOST_TEST(got[1] == "interrupted http_status next 3 in 2000");
}

// --- what is told

CO_TEST_CASE(the_opened_item_carries_the_whole_head, fixture) {
    server.play(
        {send("HTTP/1.1 200 Fine\r\nContent-Type: text/event-stream\r\nX-One: 1\r\nx-one: 2\r\n\r\n")});
    co_await next();
    BOOST_TEST_REQUIRE((last.head != nullptr));
    BOOST_TEST(last.head->status == 200);
    BOOST_TEST(last.head->reason == "Fine");
    BOOST_TEST(last.head->find("X-ONE") == "1");
    BOOST_TEST(last.head->headers.size() == 3u);
}

CO_TEST_CASE(a_failure_carries_the_status_the_fields_and_the_first_4_kib_of_the_body, fixture) {
    const std::string body(10000, 'x');
    const std::vector<std::pair<int, std::string>> rows{
        {500, "text/plain"}, {404, "text/plain"}, {200, "text/html"}};
    for (const auto& [status, type] : rows) {
        server.play({send(response(status, type, body, "X-Request-Id: 42\r\n"))});
        co_await next();
        BOOST_TEST(last.failure.status == status);
        BOOST_TEST(last.failure.body == body.substr(0, 4096));
        BOOST_TEST(last.failure.connected);
        bool found = false;
        for (const auto& each : last.failure.headers)
            found = found || each == header{"X-Request-Id", "42"};
        BOOST_TEST(found);
        source.reset();
    }
}

CO_TEST_CASE(comments_are_told_where_asked_for, fixture) {
    const auto answer = sse_response(": one\ndata: a\n:two\n\n:\n\n");
    server.play({send(answer)});
    const auto without = co_await next(2);
    CHECK_LINES(without, {"opened 1", "event a"});
    BOOST_TEST(!source->try_next().has_value());
    BOOST_TEST(source->statistics().comments == 0u);
    source.reset();
    config.comments = true;
    server.play({send(answer)});
    const auto with = co_await next(5);
    CHECK_LINES(with, {"opened 1", "comment one", "comment two", "event a", "comment "});
    BOOST_TEST(source->statistics().comments == 3u);
    BOOST_TEST(source->statistics().events == 1u);
}

CO_TEST_CASE(a_comment_is_no_greeting_also_when_it_is_told, fixture) {
    config.comments = true;
    config.greeting_timeout = seconds(15);
    server.play({send(sse_response(": here\n"))});
    const auto got = co_await next(3);
    CHECK_LINES(got, {"opened 1", "comment here", "interrupted timeout next 2 in 1000"});
}

CO_TEST_CASE(a_comment_may_be_cut_into_any_number_of_reads, fixture) {
    config.comments = true;
    for (const std::size_t slice : {1u, 2u, 7u}) {
        world.net().slice(slice);
        server.play({send(sse_response("data: a\n: comment\ndata: b\n\n: last\n"))});
        const auto got = co_await next(4);
        CHECK_LINES(got, {"opened 1", "comment comment", "event a\nb", "comment last"});
        source.reset();
    }
}

CO_TEST_CASE(the_tap_sees_all_bytes_of_the_body_and_nothing_else, fixture) {
    std::string seen;
    config.tap = [&seen](std::string_view piece) {
        seen += piece;
    };
    for (const std::size_t slice : {1u, 5u, 1000u}) {
        world.net().slice(slice);
        seen.clear();
        server.play(
            {send(sse_response("data: a\r\n\r\n: x\n")), send(chunk("data: b\n\n")), send(last_chunk())});
        co_await next(4);
        BOOST_TEST(seen == "data: a\r\n\r\n: x\ndata: b\n\n");
        BOOST_TEST(source->statistics().bytes == seen.size());
        source.reset();
    }
}

CO_TEST_CASE(what_the_tap_throws_is_told_and_harms_nothing, fixture) {
    config.tap = [](std::string_view) {
        throw std::runtime_error("disk full");
    };
    server.play({send(sse_response("data: a\n\n"))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "event a"});
    BOOST_TEST(world.logs().at(0).event == "stream.tap_threw");
    BOOST_TEST(world.logs().at(0).error_message.find("disk full") != std::string::npos);
}

// --- what is too large

CO_TEST_CASE(an_oversized_event_is_skipped_where_asked_and_the_stream_goes_on, fixture) {
    config.oversized = oversized::skip;
    config.limits.event = 100;
    const std::string huge(300000, 'x');
    server.play({send(sse_response("data: fine\n\nid: 7\ndata: " + huge + "\n\ndata: on\n\n")),
                 test::reset(seconds(1))});
    server.play({send(sse_head())});
    const auto got = co_await next(6);
    CHECK_LINES(got, {"opened 1", "event fine", "skipped " + error_code(errc::event_too_large).message(),
                      "event on", "interrupted cut next 2 in 1000", "opened 2"});
    BOOST_TEST(source->statistics().skipped == 1u);
    BOOST_TEST(source->statistics().events == 2u);
    BOOST_TEST(server.requests().at(1).header("Last-Event-ID") == "7"); // not fetched again
}

CO_TEST_CASE(what_is_skipped_says_which_limit_it_passed_and_is_a_warning_once, fixture) {
    config.oversized = oversized::skip;
    config.limits.line = 50;
    config.limits.data_lines = 2;
    server.play(
        {send(sse_response(":" + std::string(60, 'x') + "\ndata: 1\ndata: 2\ndata: 3\n\ndata: on\n\n"))});
    co_await next(2);
    BOOST_TEST(last.failure.code == error_code(errc::line_too_long));
    BOOST_TEST((last.failure.cls == failure_class::too_large));
    const auto got = co_await next(2);
    BOOST_TEST(got.back() == "event on");
    CHECK_LINES(logged(), {"warn stream.skipped too_large 0 skip", "debug stream.skipped too_large 0 skip"});
}

CO_TEST_CASE(without_skipping_each_limit_is_final_and_asked_for_once, fixture) {
    const std::vector<std::pair<std::string, errc>> rows{
        {":" + std::string(200, 'x'), errc::line_too_long},
        {"data: " + std::string(110, 'x'), errc::event_too_large},
        {"data\ndata\ndata\n", errc::too_many_lines},
    };
    config.limits = {.line = 150, .event = 100, .data_lines = 2, .id = 10};
    for (const auto& [bytes, limit] : rows) {
        const auto tried = attempts();
        server.play({send(sse_response(bytes))});
        const auto got = co_await next(3);
        CHECK_LINES(got, {"opened 1", "gave up too_large after 1", "end"});
        BOOST_TEST(last.failure.code == error_code(limit));
        co_await rt.sleep_for(std::chrono::hours(1));
        BOOST_TEST(attempts() == tried + 1);
        source.reset();
    }
}

CO_TEST_CASE(junk_without_end_is_read_on_and_what_comes_behind_it_is_told, fixture) {
    for (const char* junk : {":\n", "x\r\n", "\n", "retry: 99\n"}) {
        std::string much;
        while (much.size() < (4u << 20))
            much += junk;
        server.play({send(sse_response(much + "data: on\n\n"))});
        const auto got = co_await next(2);
        CHECK_LINES(got, {"opened 1", "event on"});
        source.reset();
    }
}

// --- what is counted

CO_TEST_CASE(statistics_tell_what_a_source_has_done, fixture) {
    begin();
    const auto& counted = source->statistics();
    BOOST_TEST(counted.attempts == 0u);
    BOOST_TEST((counted.last_byte == time_point{}));
    server.play({test::reset()});
    server.play(
        {send(sse_response("data: 1\n\n")), send(chunk("data: 2\n\n"), seconds(2)), test::reset(seconds(3))});
    co_await next();
    BOOST_TEST(counted.attempts == 1u);
    BOOST_TEST(counted.opened == 0u);
    BOOST_TEST(counted.interruptions == 1u);
    BOOST_TEST_REQUIRE(counted.last_failure.has_value());
    BOOST_TEST((counted.last_failure->cls == failure_class::cut));
    co_await next(3);
    BOOST_TEST(counted.attempts == 2u);
    BOOST_TEST(counted.opened == 1u);
    BOOST_TEST(counted.events == 2u);
    BOOST_TEST(counted.bytes == 18u);
    BOOST_TEST((counted.open_since == start + seconds(1)));
    BOOST_TEST((counted.last_byte == start + seconds(3)));
    co_await next();
    BOOST_TEST(!counted.open_since.has_value());
    BOOST_TEST(counted.interruptions == 2u);
    BOOST_TEST(counted.skipped + counted.comments + counted.redirects == 0u);
}

CO_TEST_CASE(a_shared_failure_is_an_interruption_but_no_attempt, fixture) {
    auto failing = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::stream, rt.now(), false);
    failing.failed(make_failure(errc::refused));
    auto probe = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::stream, rt.now(), false);
    scope.spawn(tell_all());
    co_await turn();
    probe.failed(make_failure(errc::refused));
    co_await turn();
    BOOST_TEST(source->statistics().attempts == 0u);
    BOOST_TEST(source->statistics().interruptions == 1u);
    source->close();
    co_await scope.join();
}

CO_TEST_CASE(a_closed_stream_is_not_open_since_any_time, fixture) {
    server.play({send(sse_head())});
    co_await next();
    BOOST_TEST(source->statistics().open_since.has_value());
    source->close();
    BOOST_TEST(!source->statistics().open_since.has_value());
}
