// Health is progress: what servers of the field do, and how long a stream holds on to them. In virtual time.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using stream::clean_end;
using stream::item;
using test::chunk;
using test::elsewhere;
using test::last_chunk;
using test::lines;
using test::place;
using test::response;
using test::send;
using test::sse_head;
using test::sse_response;

namespace {

struct fixture : test::source_fixture {
    std::size_t lines_of_a_person() {
        return static_cast<std::size_t>(
            std::count_if(world.logs().begin(), world.logs().end(),
                          [](const auto& each) { return each.level >= log_level::info; }));
    }

    // Reads on for so long; the last item as a line.
    net::awaitable<std::string> hold_for(duration how_long) {
        const auto until = rt.now() + how_long;
        std::string line;
        while (rt.now() < until) {
            line = co_await next();
            if (line == "end")
                co_return line;
        }
        co_return line;
    }

    net::awaitable<std::string> to_the_end() {
        std::string line, before;
        while (line != "end") {
            before = line;
            line = co_await next();
        }
        co_return before;
    }
};

test::script then_cut(std::string bytes, duration after = {}) {
    return {send(std::move(bytes)), test::finish(after)}; // without the last chunk
}
test::script then_end(std::string bytes, duration after = {}) {
    return {send(std::move(bytes)), send(last_chunk(), after)};
}

// A day of many connections costs much with sanitizers, or where nothing is optimized, and a part shows the
// same.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr auto day = std::chrono::hours(1);
#else
constexpr auto day = std::chrono::hours(24);
#endif
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr duration busy_day = day;
#else
constexpr duration busy_day = minutes(20);
#endif

} // namespace

// --- progress

CO_TEST_CASE(a_stream_that_ends_cleanly_after_each_event_is_asked_as_often_as_it_says_for_ever, fixture) {
    struct row {
        milliseconds asked;
        duration lasting;
    };
    for (const auto& [asked, lasting] :
         std::vector<row>{{milliseconds(300), busy_day}, {milliseconds(9000), day}}) {
        server.play_ever_after(
            then_end(sse_response("retry: " + std::to_string(asked.count()) + "\nid: 1\ndata: x\n\n")));
        const auto before = attempts();
        const auto last_line = co_await hold_for(lasting);
        BOOST_TEST(last_line != "end");
        const auto expected = lasting / asked;
        BOOST_TEST(attempts() - before >= static_cast<std::size_t>(expected - 2));
        BOOST_TEST(attempts() - before <= static_cast<std::size_t>(expected + 2));
        BOOST_TEST(lines_of_a_person() == 0u);
        BOOST_TEST(server.requests().back().header("Last-Event-ID") == "1");
        source.reset();
    }
}

CO_TEST_CASE(a_stream_that_a_platform_cuts_after_some_events_goes_on_for_ever, fixture) {
    std::string five;
    for (int n = 1; n <= 5; ++n)
        five += "id: " + std::to_string(n) + "\ndata: x\n\n";
    server.play_ever_after({send(sse_response(five)), test::finish(milliseconds(1500))});
    const auto last_line = co_await hold_for(day);
    BOOST_TEST(last_line != "end");
    BOOST_TEST(attempts() >= static_cast<std::size_t>(day / milliseconds(2500) - 2));
    BOOST_TEST(lines_of_a_person() <= 60u);
    BOOST_TEST(server.requests().back().header("Last-Event-ID") == "5");
}

CO_TEST_CASE(a_platform_that_cuts_at_55_seconds_in_the_middle_of_an_event_costs_nothing_but_that_event,
             fixture) {
    server.play_ever_after({send(sse_response("id: 1\ndata: x\n\n")),
                            send(chunk("id: 2\ndata: unfin"), seconds(54)), test::finish(seconds(1))});
    for (int n = 0; n < 20; ++n) {
        const auto got = co_await next(3);
        CHECK_LINES(got, {n == 0 ? "opened 1" : "opened 2", "event x", "interrupted cut next 2 in 1000"});
        BOOST_TEST(last.left == "");
    }
    BOOST_TEST(server.requests().back().header("Last-Event-ID") == "1");
}

CO_TEST_CASE(a_healthy_clean_end_is_no_incident, fixture) {
    server.play_ever_after(then_end(sse_response("data: x\n\n"), seconds(2)));
    co_await next(9);
    const auto all = logged();
    BOOST_TEST(all.size() == 3u);
    for (const auto& each : all)
        BOOST_TEST(each.starts_with("debug stream."), each);
}

CO_TEST_CASE(a_stream_of_a_head_alone_is_given_up_at_the_seventh_failure_however_it_ends, fixture) {
    for (const auto& [what, script] : std::vector<std::pair<std::string, test::script>>{
             {"early_end", then_end(sse_head())},
             {"early_end", then_end(sse_head(), milliseconds(4999))},
             {"cut", then_cut(sse_head())},
             {"cut", then_cut(sse_head(), seconds(59))},
             {"stall", {send(sse_head())}},
             {"early_end", then_end(sse_response("retry: 20\nid: 7\n\n"))},
             {"early_end", then_end(sse_response(": a comment\n\n"))},
             {"cut", then_cut(sse_response(": a comment\n\n"), seconds(1))},
             {"early_end", then_end(sse_response("{\"error\":\"no\"}\n"))},
         }) {
        server.play_ever_after(script);
        const auto before = co_await to_the_end();
        BOOST_TEST(before == "gave up " + what + " after 7");
        source.reset();
    }
}

CO_TEST_CASE(silence_is_no_life_but_a_stream_that_a_peer_ends_after_a_minute_of_talk_was_alive, fixture) {
    // A stall of its own would otherwise be a life of 60 s.
    server.play_ever_after({send(sse_response(": hi\n\n")), send(chunk(": hi\n\n"), seconds(20))});
    const auto before = co_await to_the_end();
    BOOST_TEST(before == "gave up stall after 7");
    source.reset();
    server.play_ever_after(
        {send(sse_head()), send(chunk(": hi\n\n"), seconds(50)), test::finish(seconds(50))});
    for (int n = 0; n < 20; ++n) {
        const auto got = co_await next(2);
        BOOST_TEST(got.back() == "interrupted cut next 2 in 1000");
    }
}

CO_TEST_CASE(events_at_once_and_a_hang_up_at_once_are_asked_for_ever_less_often, fixture) {
    for (const bool clean : {true, false}) {
        server.play_ever_after(clean ? then_end(sse_response("data: x\n\n"))
                                     : then_cut(sse_response("data: x\n\n")));
        for (const int wait : {1, 2, 4, 8, 16, 30, 30, 30}) {
            const auto got = co_await next(3);
            BOOST_TEST(got.back() == (clean ? "interrupted ended next 1 in " : "interrupted cut next 2 in ") +
                                         std::to_string(wait * 1000));
        }
        server.play(then_end(sse_response("data: x\n\n"), seconds(1)));
        co_await next(3);
        const auto got = co_await next(3);
        BOOST_TEST(got.back().ends_with(" in 1000"), got.back());
        source.reset();
    }
}

CO_TEST_CASE(a_day_of_hammering_is_few_attempts_and_few_lines, fixture) {
    server.play_ever_after(then_cut(sse_response("data: x\n\n")));
    co_await hold_for(day);
    BOOST_TEST(attempts() <= static_cast<std::size_t>(day / seconds(30)) + 6u);
    BOOST_TEST(lines_of_a_person() <= 60u);
}

CO_TEST_CASE(a_wake_ends_a_guarded_wait_and_the_guard_stays, fixture) {
    server.play_ever_after(then_end(sse_response("data: x\n\n")));
    co_await next(3 * 5);
    BOOST_TEST(to_ms(last.retry_in) == 16000);
    const auto before = elapsed_ms();
    source->wake();
    co_await next(3);
    BOOST_TEST(elapsed_ms() == before);
    BOOST_TEST(to_ms(last.retry_in) == 30000);
}

CO_TEST_CASE(progress_ends_the_elapsed_time_of_a_run, fixture) {
    config.policy.max_elapsed = seconds(5);
    config.policy.max_attempts = retry::unlimited;
    server.play_ever_after(then_cut(sse_response("data: x\n\n")));
    const auto line = co_await hold_for(minutes(10));
    BOOST_TEST(line != "end");
    BOOST_TEST(attempts() < 30u); // the guard waits longer than such a run may take
}

// --- where a greeting is expected

CO_TEST_CASE(a_stream_of_a_greeting_alone_is_given_up_at_the_seventh_failure, fixture) {
    config.greeting_timeout = seconds(15);
    for (const auto& [what, script] : std::vector<std::pair<std::string, test::script>>{
             {"early_end", then_end(sse_response("data: hello\n\n"))},
             {"cut", then_cut(sse_response("data: hello\n\n"), seconds(30))},
             {"cut",
              {send(sse_head()), send(chunk("data: hello\n\n"), seconds(14)), test::reset(seconds(14))}},
             {"stall", {send(sse_response("data: hello\n\n"))}},
             {"cut", then_cut(sse_response(": beat\ndata: hello\n\n: beat\n\n"), seconds(4))},
             {"cut",
              {send(sse_response("data: hello\n\n")), send(chunk("data: beat\n\n"), seconds(5)),
               test::reset()}},
             {"timeout", {send(sse_head()), send(chunk(": beat\n\n"), seconds(10))}},
         }) {
        server.play_ever_after(script);
        const auto before = co_await to_the_end();
        BOOST_TEST(before == "gave up " + what + " after 7");
        source.reset();
    }
}

CO_TEST_CASE(a_heartbeat_later_than_five_seconds_is_progress_be_it_an_event_or_a_comment, fixture) {
    config.greeting_timeout = seconds(15);
    for (const auto* beat : {"data: beat\n\n", ": beat\n\n", ":\n"}) {
        server.play_ever_after({send(sse_response("data: hello\n\n")), send(chunk(beat), milliseconds(5001)),
                                test::finish(seconds(20))});
        const auto line = co_await hold_for(minutes(20));
        BOOST_TEST(line != "end");
        BOOST_TEST(source->statistics().comments == 0u); // none was asked for
        source.reset();
    }
}

CO_TEST_CASE(an_owner_says_what_is_progress_behind_a_greeting, fixture) {
    config.greeting_timeout = seconds(15);
    server.play_ever_after(then_cut(sse_response("data: hello\n\ndata: work\n\n"), seconds(2)));
    for (int n = 0; n < 20; ++n) {
        const auto got = co_await next(3);
        CHECK_LINES(got, {n == 0 ? "opened 1" : "opened 2", "event hello", "event work"});
        source->note_progress();
        const auto end = co_await next();
        BOOST_TEST(end == "interrupted cut next 2 in 1000");
    }
}

CO_TEST_CASE(a_hub_knows_progress_by_its_routes, test::hub_fixture) {
    config.source.greeting_timeout = seconds(15);
    auto a = subscribe("a");
    // Of a session that nobody follows: still what the stream is held for.
    server.play_ever_after(then_cut(sse_response(test::events({"hello", "b: x"})), seconds(2)));
    start_hub();
    co_await at(minutes(10));
    BOOST_TEST(!over);
    server.play_ever_after(then_cut(sse_response(test::events({"hello", "observed", "noise"})), seconds(2)));
    co_await at(minutes(20));
    BOOST_TEST(over);
    BOOST_TEST(told_to("a").back() == "done with it");
    co_await scope.join();
}

// --- heads that take their time

CO_TEST_CASE(a_server_may_send_its_head_with_its_first_event, fixture) {
    for (const auto wait : {milliseconds(11500), milliseconds(30000), milliseconds(59999)}) {
        server.play({send(sse_response("data: x\n\n"), wait)});
        const auto got = co_await next(2);
        CHECK_LINES(got, {"opened 1", "event x"});
        source.reset();
    }
}

CO_TEST_CASE(without_a_greeting_the_stall_timeout_governs_the_head_and_its_silence_blames_nobody, fixture) {
    struct row {
        duration stall, waits;
    };
    for (const auto& [stall, waits] : std::vector<row>{{seconds(60), seconds(60)},
                                                       {seconds(20), seconds(20)},
                                                       {seconds(3), seconds(10)},
                                                       {std::chrono::hours(1), std::chrono::hours(1)}}) {
        config.stall_timeout = stall;
        server.play({});
        const auto before = elapsed_ms();
        const auto got = co_await next();
        BOOST_TEST(got == "interrupted timeout next 2 in 1000");
        BOOST_TEST(last.failure.code == error_code(errc::header_timeout));
        BOOST_TEST(elapsed_ms() - before == to_ms(waits));
        BOOST_TEST(!retry::blames_endpoint(last.failure));
        const auto breaker = rt.breaker_of(place);
        BOOST_TEST((!breaker || !breaker->open));
        source.reset();
    }
}

CO_TEST_CASE(a_header_deadline_that_is_set_holds_for_any_stream, fixture) {
    for (const auto greeting : {seconds(0), seconds(15)}) {
        config.greeting_timeout = greeting;
        config.transport.deadlines.header = seconds(4);
        server.play({});
        const auto before = elapsed_ms();
        co_await next();
        BOOST_TEST(elapsed_ms() - before == 4000);
        BOOST_TEST(retry::blames_endpoint(last.failure) == (greeting != seconds(0)));
        source->wake();
        source.reset();
    }
}

CO_TEST_CASE(where_nothing_stalls_a_head_may_come_after_hours, fixture) {
    config.stall_timeout = duration::zero();
    server.play({send(sse_response("data: x\n\n"), std::chrono::hours(5))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "event x"});
}

CO_TEST_CASE(where_a_greeting_is_expected_a_head_that_does_not_come_opens_the_breaker, fixture) {
    config.greeting_timeout = seconds(15);
    server.play({});
    co_await next();
    BOOST_TEST(elapsed_ms() == 10000);
    BOOST_TEST(retry::blames_endpoint(last.failure));
    BOOST_TEST_REQUIRE(rt.breaker_of(place).has_value());
    BOOST_TEST(rt.breaker_of(place)->open);
}

// --- retry:

CO_TEST_CASE(a_short_retry_field_does_not_cost_the_patience_of_the_policy, fixture) {
    server.play(then_cut(sse_response("retry: 50\ndata: x\n\n"), seconds(2)));
    co_await next(3);
    world.net().stop_listening(place);
    const auto away = co_await next(3);
    CHECK_LINES(away, {"interrupted refused next 3 in 2000", "interrupted refused next 4 in 4000",
                       "interrupted refused next 5 in 8000"});
    world.net().listen(place, server);
    server.play({send(sse_head())});
    const auto back = co_await next();
    BOOST_TEST(back == "opened 5");
}

CO_TEST_CASE(a_retry_field_holds_until_the_next_one_also_for_connections_without_one, fixture) {
    server.play(then_end(sse_response("retry: 300\ndata: x\n\n")));
    for (int n = 0; n < 3; ++n)
        server.play(then_end(sse_response("data: x\n\n")));
    server.play(then_end(sse_response("retry: 4000\n\ndata: x\n\n")));
    for (const auto* wait : {"300", "300", "300", "300", "4000"}) {
        const auto got = co_await next(3);
        BOOST_TEST(got.back() == "interrupted ended next 1 in "s + wait);
    }
}

CO_TEST_CASE(another_endpoint_forgets_what_the_first_one_asked, fixture) {
    test::scripted_server other(world, elsewhere);
    server.play(then_end(sse_response("retry: 20000\ndata: x\n\n"), seconds(2)));
    other.play_ever_after(then_end(sse_response("data: y\n\n"), seconds(2)));
    const auto first = co_await next(3);
    BOOST_TEST(first.back() == "interrupted ended next 1 in 20000");
    url = http::parse_url("http://b.test/event").value();
    const auto before = elapsed_ms();
    const auto second = co_await next(3);
    BOOST_TEST(elapsed_ms() - before == 2000); // it waits out nothing
    BOOST_TEST(second.back() == "interrupted ended next 1 in 1000");
    // Nor does the first remember.
    server.play(then_end(sse_response("data: x\n\n"), seconds(2)));
    url = http::parse_url("http://a.test/event").value();
    const auto third = co_await next(3);
    BOOST_TEST(third.back() == "interrupted ended next 1 in 1000");
    source.reset();
}

// --- waits that fields ask for

CO_TEST_CASE(fractions_and_milliseconds_of_retry_after_are_honoured, fixture) {
    server.play({send(response(503, "", "", "Retry-After: 2.6\r\n"))});
    server.play({send(response(429, "", "", "retry-after-ms: 2400\r\n"))});
    server.play({send(response(429, "", "", "retry-after-ms: 4400\r\nRetry-After: 60\r\n"))});
    const auto got = co_await next(3);
    CHECK_LINES(got, {"interrupted throttled next 2 in 3000", "interrupted throttled next 3 in 2400",
                      "interrupted throttled next 4 in 4400"});
}

// --- long ids

CO_TEST_CASE(an_id_of_8_kib_comes_back_and_a_longer_one_is_reported_once_and_costs_nothing, fixture) {
    const std::string longest(8192, 'i');
    const std::string too_long(8193, 'j');
    server.play(then_cut(sse_response("id: " + longest + "\ndata: 1\n\n"), seconds(2)));
    std::string many;
    for (int n = 0; n < 100; ++n)
        many += "id: " + too_long + std::string(static_cast<std::size_t>(n), 'j') + "\ndata: 2\n\n";
    server.play(then_cut(sse_response(many), seconds(2)));
    server.play({send(sse_head())});
    co_await next(3 + 1 + 100 + 1 + 1);
    BOOST_TEST(test::to_line(last) == "opened 2");
    BOOST_TEST(source->statistics().events == 101u);
    BOOST_TEST(source->statistics().long_ids == 100u);
    for (const std::size_t n : {1u, 2u})
        BOOST_TEST((server.requests().at(n).header("Last-Event-ID") == longest));
    const auto all = logged();
    BOOST_TEST(std::count(all.begin(), all.end(), "warn stream.id_too_long too_large 1 skip") == 1);
    BOOST_TEST(std::count_if(all.begin(), all.end(), [](const auto& each) {
                   return each.find("id_too_long") != std::string::npos;
               }) == 1);
}

// --- what is left at an end

CO_TEST_CASE(the_end_says_what_was_left_that_is_no_event, fixture) {
    struct row {
        std::string body, left;
    };
    for (const auto& each : std::vector<row>{
             {"data: x\n\n", ""},
             {"data: x\n\ndata: unfinished", "data: unfinished"},
             {"data: x\n\ndata: unfinished\n", "data: unfinished"},
             {R"({"error":{"message":"no such model"}})", R"({"error":{"message":"no such model"}})"},
             {"{\n  \"error\": \"no\"\n}\n", R"({ "error": "no" })"},
             {"<html>\x1b[2J\x07\n", "<html>\x1b[2J\x07"},
         })
        for (const bool done : {false, true}) {
            config.clean_end = done ? clean_end::done : clean_end::reconnect;
            server.play({send(response(200, "text/event-stream", each.body))});
            std::string line;
            do
                line = co_await next();
            while (line.starts_with("opened") || line.starts_with("event"));
            BOOST_TEST(line == (done                               ? "done"
                                : each.body.starts_with("data: x") ? "interrupted ended next 1 in 1000"
                                                                   : "interrupted early_end next 2 in 1000"));
            BOOST_TEST(last.left == each.left);
            const auto& said = done ? world.logs().back().error_message : last.failure.message;
            BOOST_TEST((said.find("left bytes that are no event") != std::string::npos) == !each.left.empty(),
                       said);
            BOOST_TEST((each.left.empty() || each.left.starts_with("<") || said.ends_with(": " + each.left)),
                       said);
            BOOST_TEST(said.find('\x1b') == std::string::npos);
            source.reset();
        }
}

CO_TEST_CASE(a_clean_end_delivers_the_event_under_way_where_asked_and_a_cut_never_does, fixture) {
    config.flush_at_end = true;
    for (const bool done : {false, true})
        for (const std::string bytes :
             {"id: 7\ndata: [DONE]", "id: 7\ndata: [DONE]\n", "id: 7\ndata: [DONE]\n: bye"}) {
            config.clean_end = done ? clean_end::done : clean_end::reconnect;
            server.play({send(response(200, "text/event-stream", "data: x\n\n" + bytes))});
            const auto got = co_await next(4);
            CHECK_LINES(got, {"opened 1", "event x", "event [DONE]",
                              done ? "done" : "interrupted ended next 1 in 1000"});
            BOOST_TEST(last.left == "");
            BOOST_TEST(source->last_event_id() == "7");
            source.reset();
        }
    config.clean_end = clean_end::reconnect;
    server.play(then_cut(sse_response("data: x\n\ndata: [DONE]\n"), seconds(2)));
    const auto got = co_await next(3);
    CHECK_LINES(got, {"opened 1", "event x", "interrupted cut next 2 in 1000"});
    source.reset();
    // It is progress as any event, and a comment behind it is told where asked for.
    config.comments = true;
    server.play({send(response(200, "text/event-stream", "data: [DONE]\n: bye"))});
    const auto told = co_await next(4);
    CHECK_LINES(told, {"opened 1", "comment bye", "event [DONE]", "interrupted ended next 1 in 1000"});
    source.reset();
    server.play({send(response(200, "text/event-stream", "{}"))});
    const auto none = co_await next(2);
    CHECK_LINES(none, {"opened 1", "interrupted early_end next 2 in 1000"});
    BOOST_TEST(last.left == "{}");
}
