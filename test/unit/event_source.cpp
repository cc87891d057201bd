// One stream, held: subscribe, read, reconnect, give up, in virtual time.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using stream::event_source;
using stream::item;
using stream::location;
using test::chunk;
using test::elsewhere;
using test::last_chunk;
using test::lines;
using test::place;
using test::response;
using test::send;
using test::sse_head;
using test::sse_response;
using test::to_line;
using behaviour = testing::memory_network::behaviour;

using fixture = test::source_fixture;

// --- the story in order

CO_TEST_CASE(events_come_in_order_between_opened_and_interrupted, fixture) {
    server.play({send(sse_response("data: 1\n\ndata: 2\n\nda")), send(chunk("ta: 3\n\n"), seconds(1)),
                 send(last_chunk(), seconds(9))});
    const auto got = co_await next(5);
    CHECK_LINES(got, {"opened 1", "event 1", "event 2", "event 3", "interrupted ended next 1 in 1000"});
    BOOST_TEST(elapsed_ms() == 10000);
}

CO_TEST_CASE(an_item_says_all_that_is_known, fixture) {
    server.play({send(sse_response("event: greeting\nid: 7\ndata: hello\n\n"))});
    co_await next(2);
    BOOST_TEST(last.event.type == "greeting");
    BOOST_TEST(last.event.data == "hello");
    BOOST_TEST(last.event.id == "7");
    BOOST_TEST(source->last_event_id() == "7");
    BOOST_TEST(source->is_open());
}

CO_TEST_CASE(the_opened_item_carries_the_status, fixture) {
    server.play({send(sse_head())});
    co_await next();
    BOOST_TEST(last.head->status == 200);
}

CO_TEST_CASE(any_slicing_of_the_network_gives_the_same_events, fixture) {
    for (const std::size_t slice : {1u, 3u, 1000u}) {
        world.net().slice(slice);
        server.play({send(sse_response("data: one\r\n\r\n: comment\r\ndata: two\r\n\r\n"))});
        const auto got = co_await next(3);
        CHECK_LINES(got, {"opened 1", "event one", "event two"});
        source.reset();
    }
}

CO_TEST_CASE(try_next_hands_out_what_is_left_of_a_read_and_nothing_else, fixture) {
    server.play({send(sse_response("data: 1\n\ndata: 2\n\n"))});
    co_await next(2);
    const auto second = source->try_next();
    BOOST_TEST_REQUIRE(second.has_value());
    BOOST_TEST(second->event.data == "2");
    BOOST_TEST(!source->try_next().has_value());
}

CO_TEST_CASE(a_dead_port_is_tried_seven_times_and_given_up, fixture) {
    world.net().stop_listening(place);
    const auto got = co_await all();
    CHECK_LINES(got, {"interrupted refused next 2 in 1000", "interrupted refused next 3 in 2000",
                      "interrupted refused next 4 in 4000", "interrupted refused next 5 in 8000",
                      "interrupted refused next 6 in 16000", "interrupted refused next 7 in 30000",
                      "gave up refused after 7", "end"});
    BOOST_TEST(attempts() == 7u);
    BOOST_TEST(elapsed_ms() == 61000);
    const auto after = co_await next();
    BOOST_TEST(after == "end");
}

CO_TEST_CASE(the_attempts_are_counted_from_one_and_anew_after_health, fixture) {
    server.play({test::reset()});
    server.play({test::reset()});
    server.play({send(sse_head()), send(last_chunk(), seconds(5))});
    server.play({send(sse_head())});
    const auto got = co_await next(5);
    CHECK_LINES(got, {"interrupted cut next 2 in 1000", "interrupted cut next 3 in 2000", "opened 3",
                      "interrupted ended next 1 in 1000", "opened 1"});
}

CO_TEST_CASE(a_clean_end_is_early_before_five_seconds_and_healthy_from_then_on, fixture) {
    server.play({send(sse_head()), send(last_chunk(), milliseconds(4999))});
    server.play({send(sse_head()), send(last_chunk(), milliseconds(5000))});
    const auto got = co_await next(4);
    CHECK_LINES(got, {"opened 1", "interrupted early_end next 2 in 1000", "opened 2",
                      "interrupted ended next 1 in 1000"});
}

CO_TEST_CASE(a_connection_of_sixty_seconds_resets_the_count_however_it_ends, fixture) {
    for (int n = 0; n < 3; ++n)
        server.play({test::reset()});
    server.play({send(sse_head()), send(chunk(":"), seconds(30)), test::reset(seconds(30))});
    co_await next(4);
    const auto got = co_await next();
    BOOST_TEST(got == "interrupted cut next 2 in 1000");
}

CO_TEST_CASE(a_shorter_one_that_breaks_does_not, fixture) {
    for (int n = 0; n < 3; ++n)
        server.play({test::reset()});
    server.play({send(sse_head()), send(chunk(":"), seconds(30)), test::reset(milliseconds(29999))});
    co_await next(4);
    const auto got = co_await next();
    BOOST_TEST(got == "interrupted cut next 5 in 8000");
}

CO_TEST_CASE(unlimited_attempts_go_on_at_the_cap, fixture) {
    world.net().stop_listening(place);
    config.policy.max_attempts = retry::unlimited;
    co_await next(100);
    BOOST_TEST(to_line(last) == "interrupted refused next 101 in 30000");
}

CO_TEST_CASE(no_attempts_means_that_the_first_failure_is_the_last, fixture) {
    world.net().stop_listening(place);
    config.policy.max_attempts = 0;
    const auto got = co_await all();
    CHECK_LINES(got, {"gave up refused after 1", "end"});
}

CO_TEST_CASE(the_log_tells_the_first_failure_the_recovery_and_the_end, fixture) {
    server.play({test::reset()});
    server.play({test::reset()});
    server.play({send(sse_head()), test::reset(seconds(1))});
    server.play_ever_after({send(response(404, "text/plain", "no such thing"))});
    config.tag = "mine";
    co_await all();
    // How often it failed is told once, with its end; that it fails again so soon is no news, until it is
    // given up.
    CHECK_LINES(logged(),
                {"warn stream.interrupted cut 1 retry", "debug stream.interrupted cut 2 retry",
                 "info incident.recovered cut 2 recovered", "debug stream.opened  2 read",
                 "debug stream.interrupted cut 3 retry", "error stream.gave_up http_status 4 give_up"});
    for (const auto& record : world.logs()) {
        BOOST_TEST(record.tag == "mine");
        BOOST_TEST(record.endpoint == "http://a.test:80");
    }
}

// --- what the server answers

CO_TEST_CASE(server_errors_are_transient_and_their_body_is_shown, fixture) {
    server.play({send(response(500, "text/plain", "broken"))});
    server.play({send(response(503, "text/plain", "busy", "Retry-After: 5\r\n"))});
    server.play({send(sse_head())});
    const auto first = co_await next();
    BOOST_TEST(first == "interrupted http_status next 2 in 1000");
    BOOST_TEST(last.failure.status == 500);
    BOOST_TEST(last.failure.body == "broken");
    const auto second = co_await next();
    BOOST_TEST(second == "interrupted throttled next 3 in 5000");
    const auto third = co_await next();
    BOOST_TEST(third == "opened 3");
    BOOST_TEST(elapsed_ms() == 6000);
}

CO_TEST_CASE(what_waiting_does_not_heal_is_final_at_once_with_its_body, fixture) {
    for (const int status : {201, 204, 210, 301, 302, 303, 307, 308, 400, 401, 403, 404, 410, 422}) {
        const std::string body = status == 204 ? "" : "because";
        server.play({send(response(status, "text/event-stream", body))});
        told.clear();
        const auto got = co_await all();
        CHECK_LINES(got, {"gave up http_status after 1", "end"});
        BOOST_TEST(last.failure.status == status);
        BOOST_TEST(last.failure.body == body);
        source.reset();
    }
}

CO_TEST_CASE(what_waiting_heals_is_tried_again, fixture) {
    for (const int status : {408, 425, 429, 500, 501, 502, 503, 504, 599}) {
        server.play({send(response(status, "text/plain", "later"))});
        server.play({send(sse_head())});
        const auto got = co_await next(2);
        BOOST_TEST(got[0].ends_with("next 2 in 1000"), status << ": " << got[0]);
        BOOST_TEST(got[1] == "opened 2");
        source.reset();
    }
}

CO_TEST_CASE(a_redirect_is_not_followed_and_its_target_is_told, fixture) {
    server.play({send(response(302, "", "", "Location: http://evil.test/\r\n"))});
    const auto got = co_await next();
    BOOST_TEST(got == "gave up http_status after 1");
    BOOST_TEST(last.failure.message.find("http://evil.test/") != std::string::npos, last.failure.message);
}

CO_TEST_CASE(a_wrong_content_type_is_final_and_its_body_is_shown, fixture) {
    server.play({send(response(200, "text/html", "<html>not you</html>"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"gave up content_type after 1", "end"});
    BOOST_TEST(last.failure.status == 200);
    BOOST_TEST(last.failure.body == "<html>not you</html>");
    BOOST_TEST(last.failure.message.find("text/html") != std::string::npos, last.failure.message);
}

CO_TEST_CASE(an_error_body_without_end_costs_a_second_at_most, fixture) {
    server.play({send("HTTP/1.1 404 X\r\nContent-Length: 100\r\n\r\nslow")});
    const auto got = co_await next();
    BOOST_TEST(got == "gave up http_status after 1");
    BOOST_TEST(last.failure.body == "slow");
    BOOST_TEST(elapsed_ms() == 1000);
}

CO_TEST_CASE(garbage_is_a_protocol_failure, fixture) {
    server.play({send("no http at all\r\n\r\n")});
    const auto got = co_await next();
    BOOST_TEST(got == "interrupted protocol next 2 in 1000");
}

CO_TEST_CASE(a_limit_of_the_parser_ends_the_stream_as_too_large_and_is_not_retried, fixture) {
    config.limits.event = 100;
    server.play({send(sse_response("data: fine\n\ndata: " + std::string(200, 'x') + "\n\ndata: never\n\n"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"opened 1", "event fine", "gave up too_large after 1", "end"});
    BOOST_TEST(last.failure.code == error_code(errc::event_too_large));
    BOOST_TEST(attempts() == 1u);
}

CO_TEST_CASE(a_head_over_its_limit_is_final, fixture) {
    config.header_limit = 200;
    server.play({send(response(200, "text/event-stream", "", "X: " + std::string(300, 'x') + "\r\n"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"gave up too_large after 1", "end"});
}

CO_TEST_CASE(an_event_cut_off_is_never_handed_out, fixture) {
    server.play({send(sse_response("data: 1\n\ndata: 2\n")), test::reset(seconds(1))});
    server.play({send(sse_response("\ndata: 3\n\n"))});
    const auto got = co_await next(5);
    CHECK_LINES(got, {"opened 1", "event 1", "interrupted cut next 2 in 1000", "opened 2", "event 3"});
}

// --- what is asked

CO_TEST_CASE(the_request_asks_for_an_event_stream_and_carries_the_owners_headers, fixture) {
    config.headers = {{"X-Mine", "yes"}};
    server.play({test::reset()});
    co_await next(2);
    BOOST_TEST_REQUIRE(server.requests().size() == 2u);
    for (const auto& request : server.requests()) {
        BOOST_TEST(request.text.starts_with("GET /event HTTP/1.1\r\n"));
        BOOST_TEST(request.header("Accept") == "text/event-stream");
        BOOST_TEST(request.header("Cache-Control") == "no-cache");
        BOOST_TEST(request.header("X-Mine") == "yes");
        BOOST_TEST(!request.has_header("Last-Event-ID"));
    }
}

CO_TEST_CASE(last_event_ids_come_back_byte_exact, fixture) {
    // Browsers ask a CORS preflight for such ids; here they are simply sent.
    for (const auto& id : {"abc"s, "e5p3n<3k0k0s"s, std::string(255, 'a'), "\xE2\x80\xA6"s}) {
        server.play({send(sse_response("id: " + id + "\ndata: x\n\n")), test::reset(seconds(1))});
        server.play({send(sse_response("data: y\n\n"))});
        co_await next(5);
        BOOST_TEST(server.requests().back().header("Last-Event-ID") == id);
        BOOST_TEST(last.event.id == id);
        source.reset();
    }
}

CO_TEST_CASE(an_id_given_by_the_owner_is_sent_at_the_first_connect, fixture) {
    begin();
    source->last_event_id("41");
    server.play({send(sse_head())});
    co_await next();
    BOOST_TEST(server.requests()[0].header("Last-Event-ID") == "41");
}

CO_TEST_CASE(retry_is_the_wait_after_health_and_the_least_wait_after_a_failure, fixture) {
    struct row {
        std::string asked, after_health, after_failure;
    };
    const std::vector<row> rows{{"200", "200", "1000"},
                                {"0", "10", "1000"},
                                {"9", "10", "1000"},
                                {"7000", "7000", "7000"},
                                {"99999999", "600000", "600000"},
                                {"99999999999999999999999", "600000", "600000"},
                                {"1e3", "1000", "1000"},
                                {"-5", "1000", "1000"}};
    for (const auto& each : rows) {
        server.play({send(sse_response("retry: " + each.asked + "\n\n")), test::reset(seconds(1))});
        server.play({send(sse_response("data: x\n\n")), send(last_chunk(), seconds(2))});
        co_await next();
        const auto failed = co_await next();
        BOOST_TEST(failed == "interrupted cut next 2 in " + each.after_failure, each.asked);
        co_await next(2);
        const auto healthy = co_await next();
        BOOST_TEST(healthy == "interrupted ended next 1 in " + each.after_health, each.asked);
        source.reset();
    }
}

// --- liveness

CO_TEST_CASE(a_silence_of_sixty_seconds_is_a_stall, fixture) {
    server.play({send(sse_response("data: 1\n\n"))});
    server.play({send(sse_head())});
    const auto got = co_await next(4);
    CHECK_LINES(got, {"opened 1", "event 1", "interrupted stall next 2 in 1000", "opened 2"});
    BOOST_TEST(elapsed_ms() == 61000);
}

CO_TEST_CASE(any_byte_is_life_comments_and_parts_of_lines_too, fixture) {
    server.play({send(sse_head()), send(chunk(": heartbeat\n\n"), seconds(59)), send(chunk("d"), seconds(59)),
                 send(chunk("ata: x\n\n"), seconds(59))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "event x"});
    BOOST_TEST(elapsed_ms() == 177000);
}

CO_TEST_CASE(no_stall_clock_runs_while_the_owner_is_busy, fixture) {
    server.play({send(sse_response("data: 1\n\n")), send(chunk("data: 2\n\n"), seconds(30))});
    co_await next(2);
    co_await rt.sleep_for(std::chrono::hours(1));
    const auto got = co_await next();
    BOOST_TEST(got == "event 2");
}

CO_TEST_CASE(a_stall_timeout_of_zero_is_none, fixture) {
    config.stall_timeout = duration::zero();
    server.play({send(sse_head()), send(chunk("data: late\n\n"), std::chrono::hours(5))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "event late"});
}

CO_TEST_CASE(an_expected_greeting_must_come_in_time_and_comments_are_none, fixture) {
    config.greeting_timeout = seconds(15);
    server.play(
        {send(sse_head()), send(chunk(": alive\n\n"), seconds(10)), send(chunk(": alive\n\n"), seconds(4))});
    server.play({send(sse_head()), send(chunk("data: hello\n\n"), milliseconds(14999))});
    const auto got = co_await next(4);
    CHECK_LINES(got, {"opened 1", "interrupted timeout next 2 in 1000", "opened 2", "event hello"});
    BOOST_TEST(elapsed_ms() == 15000 + 1000 + 14999);
}

CO_TEST_CASE(after_the_greeting_only_bytes_count, fixture) {
    config.greeting_timeout = seconds(15);
    server.play({send(sse_response("data: hello\n\n")), send(chunk("data: x\n\n"), seconds(50))});
    const auto got = co_await next(3);
    CHECK_LINES(got, {"opened 1", "event hello", "event x"});
}

CO_TEST_CASE(a_stall_before_the_greeting_is_due_is_a_stall, fixture) {
    config.greeting_timeout = seconds(15);
    config.stall_timeout = seconds(5);
    server.play({send(sse_head())});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "interrupted stall next 2 in 1000"});
}

CO_TEST_CASE(connect_and_header_have_deadlines_of_their_own, fixture) {
    config.greeting_timeout = seconds(15);
    world.net().behave(place, behaviour::hang);
    const auto first = co_await next();
    BOOST_TEST(first == "interrupted timeout next 2 in 1000");
    BOOST_TEST(last.failure.code == error_code(errc::connect_timeout));
    BOOST_TEST(elapsed_ms() == 10000);
    world.net().behave(place, behaviour::accept);
    const auto second = co_await next();
    BOOST_TEST(second == "interrupted timeout next 3 in 2000");
    BOOST_TEST(last.failure.code == error_code(errc::header_timeout));
    BOOST_TEST(elapsed_ms() == 21000);
}

// --- the location

CO_TEST_CASE(while_the_server_is_known_to_be_down_nothing_is_tried_or_counted_and_it_is_logged_once,
             fixture) {
    state = location::state::down;
    scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(60));
    BOOST_TEST(attempts() == 0u);
    BOOST_TEST(told.empty());
    BOOST_TEST(logged().size() == 1u);
    BOOST_TEST(asked_where >= 60u);
    server.play({send(sse_head())});
    state = location::state::up;
    co_await rt.sleep_for(seconds(1));
    CHECK_LINES(told, {"opened 1"});
    source->close();
    co_await scope.join();
}

CO_TEST_CASE(a_server_that_is_gone_ends_the_stream_without_a_word, fixture) {
    server.play({send(sse_head()), test::reset(seconds(1))});
    co_await next(2);
    state = location::state::gone;
    const auto got = co_await next();
    BOOST_TEST(got == "end");
    BOOST_TEST(elapsed_ms() == 1000);
    BOOST_TEST(attempts() == 1u);
}

CO_TEST_CASE(a_moved_server_starts_with_a_clean_count_and_waits_out_no_old_backoff, fixture) {
    test::scripted_server other(world, elsewhere);
    other.play({send(sse_head())});
    world.net().stop_listening(place);
    co_await next(5); // the next attempt would be in 16 s
    url = http::parse_url("http://b.test/event").value();
    const auto before = elapsed_ms();
    const auto got = co_await next();
    BOOST_TEST(got == "opened 1");
    BOOST_TEST(elapsed_ms() == before);
    source.reset();
}

CO_TEST_CASE(a_server_that_moves_during_the_backoff_is_found_at_once_after_wake, fixture) {
    test::scripted_server other(world, elsewhere);
    other.play({send(sse_head())});
    world.net().stop_listening(place);
    scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(20));
    told.clear();
    url = http::parse_url("http://b.test/event").value();
    source->wake();
    co_await turn();
    CHECK_LINES(told, {"opened 1"});
    BOOST_TEST(elapsed_ms() == 20000);
    BOOST_TEST(attempts() == 5u);
    source->close();
    co_await scope.join();
    source.reset();
}

CO_TEST_CASE(another_path_at_the_same_server_is_the_same_endpoint, fixture) {
    world.net().stop_listening(place);
    co_await next();
    url = http::parse_url("http://a.test/event?directory=other").value();
    const auto got = co_await next();
    BOOST_TEST(got == "interrupted refused next 3 in 2000");
}

CO_TEST_CASE(a_location_function_that_throws_is_told_and_taken_for_down, fixture) {
    bool broken = true;
    config.locate = [&broken, here = config.locate] {
        if (broken)
            throw std::runtime_error("no idea");
        return here();
    };
    server.play({send(sse_head())});
    scope.spawn(tell_all());
    co_await turn();
    BOOST_TEST(world.logs().at(0).event == "stream.locate_threw");
    BOOST_TEST(world.logs().at(0).error_message.find("no idea") != std::string::npos);
    broken = false;
    co_await rt.sleep_for(seconds(1));
    co_await turn();
    CHECK_LINES(told, {"opened 1"});
    source->close();
    co_await scope.join();
}

CO_TEST_CASE(wake_ends_a_backoff_and_keeps_the_count, fixture) {
    world.net().stop_listening(place);
    scope.spawn(tell_all());
    co_await rt.sleep_for(milliseconds(3500));
    BOOST_TEST(attempts() == 3u);
    source->wake();
    co_await turn();
    BOOST_TEST(attempts() == 4u);
    BOOST_TEST(told.back() == "interrupted refused next 5 in 8000");
    BOOST_TEST(elapsed_ms() == 3500);
    source->close();
    co_await scope.join();
}

// --- every phase that a next() can be parked in

namespace {

struct phases : fixture {
    struct phase {
        const char* name;
        void (*arrange)(phases&);
        duration strike; ///< when it is parked there
        lines before;    ///< what was told by then
        lines then;      ///< what the next call tells when the server is well again
        long long resumed_at_ms;
        bool keeps_connection = false;
    };

    net::awaitable<void> hold_the_breaker() {
        auto first = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::stream, rt.now(), false);
        first.failed(make_failure(errc::refused));
        auto probe = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::stream, rt.now(), false);
        co_await rt.sleep_for(seconds(10));
    }

    static const std::vector<phase>& all_phases() {
        static const std::vector<phase> list{
            {"breaker",
             [](phases& f) { f.scope.spawn(f.hold_the_breaker()); },
             seconds(1),
             {},
             {"opened 1", "event x"},
             10000},
            {"down",
             [](phases& f) { f.state = location::state::down; },
             milliseconds(1500),
             {},
             {"opened 1", "event x"},
             1500},
            {"backoff",
             [](phases& f) { f.server.play({test::reset()}); },
             milliseconds(500),
             {"interrupted cut next 2 in 1000"},
             {"opened 2", "event x"},
             1000},
            {"connect",
             [](phases& f) { f.world.net().behave(place, behaviour::hang); },
             seconds(1),
             {},
             {"opened 1", "event x"},
             1000},
            {"header", [](phases& f) { f.server.play({}); }, seconds(1), {}, {"opened 1", "event x"}, 1000},
            {"error body",
             [](phases& f) { f.server.play({send("HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n")}); },
             milliseconds(500),
             {},
             {"opened 1", "event x"},
             500},
            {"body",
             [](phases& f) { f.server.play({send(sse_head()), send(chunk("data: x\n\n"), seconds(30))}); },
             seconds(1),
             {"opened 1"},
             {"event x"},
             30000,
             true},
        };
        return list;
    }

    void heal() {
        state = location::state::up;
        world.net().behave(place, behaviour::accept);
        server.play_ever_after({send(sse_response("data: x\n\n"))});
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(
    a_cancelled_next_ends_at_once_in_every_phase_and_the_next_call_goes_on_as_if_nothing_had_been) {
    for (const auto& phase : phases::all_phases()) {
        BOOST_TEST_CONTEXT(phase.name) {
            phases f;
            phase.arrange(f);
            f.world.settle();
            const auto reader = f.scope.spawn(f.tell_all());
            f.world.run_for(phase.strike);
            BOOST_TEST(f.told == phase.before, boost::test_tools::per_element());
            f.scope.cancel(reader);
            f.world.settle();
            BOOST_TEST_REQUIRE(!f.told.empty());
            BOOST_TEST(f.told.back() == "aborted");
            BOOST_TEST(f.elapsed_ms() == to_ms(phase.strike));
            BOOST_TEST(f.world.net().open_connections() == (phase.keeps_connection ? 1u : 0u));

            f.told.clear();
            f.heal();
            f.scope.spawn(f.tell_all());
            f.world.run_until([&] { return f.told.size() >= phase.then.size(); });
            BOOST_TEST(f.told == phase.then, boost::test_tools::per_element());
            BOOST_TEST(f.elapsed_ms() == phase.resumed_at_ms);

            f.source->close();
            f.world.run_for(seconds(20)); // who held the breaker is done
            f.finish();
            test::check_nothing_is_left(f.world);
        }
    }
}

BOOST_AUTO_TEST_CASE(a_close_ends_a_next_at_once_in_every_phase_and_nothing_reconnects_afterwards) {
    for (const auto& phase : phases::all_phases()) {
        BOOST_TEST_CONTEXT(phase.name) {
            phases f;
            phase.arrange(f);
            f.world.settle();
            f.scope.spawn(f.tell_all());
            f.world.run_for(phase.strike);
            f.told.clear();
            f.source->close();
            f.world.settle();
            BOOST_TEST(f.told == lines{"end"}, boost::test_tools::per_element());
            BOOST_TEST(f.elapsed_ms() == to_ms(phase.strike));
            BOOST_TEST(!f.source->is_open());
            const auto tried = f.attempts();
            f.heal();
            f.source->wake();
            f.world.run_for(std::chrono::hours(1));
            BOOST_TEST(f.attempts() == tried);
            f.finish();
            test::check_nothing_is_left(f.world);
        }
    }
}

CO_TEST_CASE(a_cancellation_that_meets_an_item_loses_neither, fixture) {
    server.play({send(sse_response("data: 1\n\n"))});
    co_await next(2);
    const auto reader = scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(1));
    server.send_now(chunk("data: 2\n\ndata: 3\n\n"));
    scope.cancel(reader);
    co_await turn();
    BOOST_TEST(told.back() == "aborted");
    told.pop_back();
    const auto rest = co_await next(2 - told.size());
    told.insert(told.end(), rest.begin(), rest.end());
    CHECK_LINES(told, {"event 2", "event 3"});
    co_await scope.join();
}

CO_TEST_CASE(a_cancellation_that_meets_the_response_head_loses_neither, fixture) {
    server.play({});
    const auto reader = scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(1));
    server.send_now(sse_response("data: 1\n\n"));
    scope.cancel(reader);
    server.play_ever_after({send(sse_response("data: 1\n\n"))});
    co_await turn();
    BOOST_TEST(told.back() == "aborted");
    told.pop_back();
    const auto rest = co_await next(2 - told.size());
    told.insert(told.end(), rest.begin(), rest.end());
    CHECK_LINES(told, {"opened 1", "event 1"});
    co_await scope.join();
}

CO_TEST_CASE(after_close_not_even_the_rest_of_a_batch_is_handed_out, fixture) {
    server.play({send(sse_response("data: 1\n\ndata: 2\n\n"))});
    co_await next(2);
    source->close();
    source->close();
    BOOST_TEST(last.event.data == "1"); // what was handed out stays
    const auto got = co_await next();
    BOOST_TEST(got == "end");
    BOOST_TEST(!source->try_next().has_value());
    BOOST_TEST(world.net().open_connections() == 0u);
}

CO_TEST_CASE(after_close_right_after_opened_no_event_comes, fixture) {
    server.play({send(sse_response("data: 1\n\n"))});
    co_await next();
    source->close();
    const auto got = co_await next();
    BOOST_TEST(got == "end");
}

CO_TEST_CASE(a_source_closed_before_its_first_next_never_connects, fixture) {
    begin();
    source->close();
    const auto got = co_await next();
    BOOST_TEST(got == "end");
    BOOST_TEST(attempts() == 0u);
}

CO_TEST_CASE(a_close_that_meets_the_answer_ends_the_stream_all_the_same, fixture) {
    const lines answers{sse_response("data: 1\n\n"), response(500, "text/plain", "broken"),
                        "garbage\r\n\r\n"};
    for (const auto& answer : answers) {
        server.play({});
        scope.spawn(tell_all());
        co_await rt.sleep_for(seconds(1));
        told.clear();
        const auto tried = attempts();
        server.send_now(answer);
        source->close();
        co_await rt.sleep_for(seconds(60));
        CHECK_LINES(told, {"end"});
        BOOST_TEST(attempts() == tried);
        BOOST_TEST(world.net().open_connections() == 0u);
        BOOST_TEST(world.logs().empty());
        source->close();
        co_await scope.join();
        source.reset();
    }
}

CO_TEST_CASE(a_close_from_within_the_location_function_is_heeded, fixture) {
    config.locate = [this, here = config.locate] {
        source->close();
        return here();
    };
    begin();
    const auto got = co_await next();
    BOOST_TEST(got == "end");
    BOOST_TEST(attempts() == 0u);
}

// --- many on one endpoint

namespace {

struct many : fixture {
    struct one {
        std::unique_ptr<event_source> source;
        lines told;
        std::vector<long long> at;
    };
    std::vector<std::unique_ptr<one>> all_of_them;

    net::awaitable<void> read(one& me) {
        while (const auto got = co_await me.source->next()) {
            me.told.push_back(to_line(*got));
            me.at.push_back(elapsed_ms());
        }
    }

    void add(int count) {
        for (int n = 0; n < count; ++n) {
            auto& me = *all_of_them.emplace_back(std::make_unique<one>());
            me.source = std::make_unique<event_source>(rt, config);
            scope.spawn(read(me));
        }
    }

    void finish() { all_of_them.clear(); }
};

} // namespace

CO_TEST_CASE(many_on_one_dead_endpoint_probe_one_at_a_time_and_give_up_together, many) {
    world.net().stop_listening(place);
    add(20);
    co_await scope.join();
    BOOST_TEST(attempts() ==
               20u + 6u); // all were under way when the endpoint proved dead; then one probe a round
    for (const auto& each : all_of_them) {
        BOOST_TEST(each->told.size() == 7u);
        BOOST_TEST(each->told == all_of_them[0]->told, boost::test_tools::per_element());
        BOOST_TEST(each->told.back() == "gave up refused after 7");
        BOOST_TEST(each->at.back() == 61000);
    }
}

CO_TEST_CASE(who_comes_to_a_dead_endpoint_rides_on_the_probes_of_others, many) {
    world.net().stop_listening(place);
    add(1);
    co_await rt.sleep_for(milliseconds(500));
    add(19); // one of them is the probe, the others and the first share its failure
    co_await turn();
    BOOST_TEST(attempts() == 2u);
    for (const auto& each : all_of_them)
        BOOST_TEST(each->told.size() == (each == all_of_them[0] ? 2u : 1u));
    co_await scope.join();
    BOOST_TEST(attempts() <= 2u + 7u);
    for (const auto& each : all_of_them)
        BOOST_TEST(each->told.back() == "gave up refused after 7");
}

CO_TEST_CASE(the_recovery_lets_all_go_at_once, many) {
    world.net().stop_listening(place);
    add(20);
    co_await rt.sleep_for(seconds(20));
    world.net().listen(place, server);
    world.net().latency(milliseconds(100)); // a connect and an answer take 200 ms
    server.play_ever_after({send(sse_head())});
    co_await rt.sleep_for(seconds(12)); // the probe after 16 s comes at 31 s
    std::multiset<long long> opened_at;
    for (const auto& each : all_of_them) {
        BOOST_TEST(each->told.back() == "opened 6");
        opened_at.insert(each->at.back());
    }
    BOOST_TEST(opened_at.count(31200) == 1u);
    BOOST_TEST(opened_at.count(31400) == 19u);
    BOOST_TEST(server.accepted_connections() == 20u);
    for (const auto& each : all_of_them)
        each->source->close();
    co_await scope.join();
}

CO_TEST_CASE(one_wake_wakes_all_on_the_endpoint, many) {
    world.net().stop_listening(place);
    add(3);
    co_await rt.sleep_for(seconds(20));
    world.net().listen(place, server);
    server.play_ever_after({send(sse_head())});
    all_of_them[1]->source->wake();
    co_await turn();
    for (const auto& each : all_of_them)
        BOOST_TEST(each->told.back() == "opened 6");
    for (const auto& each : all_of_them)
        each->source->close();
    co_await scope.join();
}

CO_TEST_CASE(the_failure_of_one_stream_alone_touches_no_other, many) {
    server.play({send(sse_head()), test::reset(seconds(1))});
    server.play_ever_after({send(sse_head()), send(chunk(":"), seconds(30))});
    add(2);
    co_await rt.sleep_for(seconds(5));
    CHECK_LINES(all_of_them[0]->told, {"opened 1", "interrupted cut next 2 in 1000", "opened 2"});
    CHECK_LINES(all_of_them[1]->told, {"opened 1"});
    BOOST_TEST(!rt.breaker_of(place)->open);
    for (const auto& each : all_of_them)
        each->source->close();
    co_await scope.join();
}

CO_TEST_CASE(a_call_that_succeeds_lets_no_stream_go_that_was_refused_by_a_status, many) {
    // The stream is refused, but the server answers: the stream keeps to its own schedule.
    server.play({send(response(503, "text/plain", "no streams"))});
    server.play({send(response(200, "application/json", "{}"))});
    add(1);
    co_await rt.sleep_for(milliseconds(500));
    BOOST_TEST(rt.breaker_of(place)->open);
    auto pass = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::call, rt.now(), false);
    BOOST_TEST(!pass.shared_failure().has_value());
    http::request request;
    http::transport how;
    http::response_limits bounds;
    const auto answer = co_await http::fetch(rt, url, request, how, bounds);
    BOOST_TEST_REQUIRE(answer.has_value());
    pass.succeeded();
    co_await turn();
    BOOST_TEST(server.accepted_connections() == 2u);
    co_await rt.sleep_for(milliseconds(500));
    co_await turn();
    BOOST_TEST(server.accepted_connections() == 3u);
    all_of_them[0]->source->close();
    co_await scope.join();
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_run_and_jitter_stays_within_its_bounds) {
    auto run = [](std::uint64_t seed) {
        testing::world world(seed);
        stream::source_config config;
        config.policy.jitter = retry::jitter::equal;
        config.locate = [] {
            location here;
            here.url = http::parse_url("http://a.test/").value();
            return here;
        };
        event_source source(world.rt(), config);
        auto read = [](event_source& from) -> net::awaitable<std::vector<long long>> {
            std::vector<long long> delays;
            while (const auto got = co_await from.next())
                delays.push_back(to_ms(got->retry_in));
            co_return delays;
        };
        return world.run(read(source));
    };
    const auto first = run(1);
    BOOST_TEST(first == run(1), boost::test_tools::per_element());
    BOOST_TEST((first != run(2)));
    const std::vector<long long> full{1000, 2000, 4000, 8000, 16000, 30000, 0};
    BOOST_TEST_REQUIRE(first.size() == full.size());
    for (std::size_t n = 0; n < full.size(); ++n)
        BOOST_TEST((first[n] >= full[n] / 2 && first[n] <= full[n]));
}
