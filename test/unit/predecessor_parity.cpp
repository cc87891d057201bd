// What holdfast's predecessors did, one case for each sentence that says so, and what they failed at, one
// case for each failure: the part of it that a stream shows without knowing what its events mean.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <holdfast/opencode/capture_state.hpp>
#include <holdfast/retry/endpoint_breaker.hpp>
#include <holdfast/retry/policy.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using namespace holdfast;
using test::chunk;
using test::elsewhere;
using test::event_chunk;
using test::events;
using test::last_chunk;
using test::lines;
using test::place;
using test::recorder;
using test::response;
using test::send;
using test::sse_head;
using test::sse_response;

using one_stream = test::source_fixture;
using sessions = test::hub_fixture;

BOOST_AUTO_TEST_SUITE(session_event_loop)

// --- what it does

CO_TEST_CASE(the_directory_is_read_anew_at_every_subscribe, one_stream) {
    server.play({test::reset()});
    server.play({send(sse_head()), send(last_chunk(), seconds(5))});
    for (const char* directory : {"one", "two", "three"}) {
        url = http::parse_url(std::string("http://a.test/event?directory=") + directory).value();
        co_await next(directory == std::string("two") ? 2 : 1);
    }
    BOOST_TEST_REQUIRE(server.requests().size() == 3u);
    BOOST_TEST(server.requests()[0].target() == "/event?directory=one");
    BOOST_TEST(server.requests()[1].target() == "/event?directory=two");
    BOOST_TEST(server.requests()[2].target() == "/event?directory=three");
}

CO_TEST_CASE(starting_a_running_loop_is_a_no_op, sessions) {
    server.play({send(sse_response(events({"hello"})))});
    start_hub();
    co_await at(seconds(1));
    co_await the_hub().run();
    BOOST_TEST(the_hub().running());
    BOOST_TEST(server.accepted_connections() == 1u);
    co_await end();
}

CO_TEST_CASE(an_abort_tears_down_a_parked_stream, sessions) {
    server.play({send(sse_response(events({"hello"})))});
    start_hub();
    co_await at(seconds(1));
    scope.cancel(runner);
    co_await at(seconds(1));
    BOOST_TEST(over);
    BOOST_TEST(world.net().open_connections() == 0u);
}

CO_TEST_CASE(an_event_is_dropped_only_if_it_has_a_session_and_it_is_another_sessions, sessions) {
    server.play({send(sse_response(events({"hello"}))),
                 send(chunk(events({"a: 1", "b: 2", "no session"})), seconds(1))});
    subscribe("a");
    subscribe("b");
    start_hub();
    co_await at(milliseconds(500));
    take();
    co_await at(seconds(1));
    CHECK_LINES(told_to("a"), {"event a: 1"});
    CHECK_LINES(told_to("b"), {"event b: 2"});
    CHECK_LINES(told_to("observer"), {"no session"});
    co_await end();
}

CO_TEST_CASE(an_error_without_a_session_reaches_every_session_of_the_directory, sessions) {
    server.play({send(sse_response(events({"hello"}))), send(event_chunk("all: error"), seconds(1))});
    subscribe("a");
    subscribe("b");
    start_hub();
    co_await at(seconds(1));
    BOOST_TEST(told_to("a").back() == "event all: error");
    BOOST_TEST(told_to("b").back() == "event all: error");
    co_await end();
}

CO_TEST_CASE(after_a_clean_end_the_count_is_zero_and_it_resubscribes_after_the_base_delay_and_repairs,
             sessions) {
    server.play({test::reset()});
    server.play({send(sse_response(events({"hello"}))), send(last_chunk(), seconds(10))});
    server.play({send(sse_response(events({"hello"})))});
    subscribe("a");
    start_hub();
    co_await at(seconds(11));
    BOOST_TEST(server.accepted_connections() == 2u);
    take();
    co_await at(seconds(12));
    BOOST_TEST(server.accepted_connections() == 3u);
    CHECK_LINES(told_to("a"), {"attached", "repair", "repaired", "live"});
    co_await end();
}

CO_TEST_CASE(each_failure_is_counted_and_warned_of_and_waits_twice_as_long_up_to_the_cap_then_it_gives_up,
             one_stream) {
    world.net().stop_listening(place);
    const auto got = co_await all();
    CHECK_LINES(got, {"interrupted refused next 2 in 1000", "interrupted refused next 3 in 2000",
                      "interrupted refused next 4 in 4000", "interrupted refused next 5 in 8000",
                      "interrupted refused next 6 in 16000", "interrupted refused next 7 in 30000",
                      "gave up refused after 7", "end"});
    BOOST_TEST(world.logs().size() == 7u);
}

CO_TEST_CASE(the_breaker_calls_back_so_that_an_open_turn_is_settled, sessions) {
    world.net().stop_listening(place);
    subscribe("a");
    start_hub();
    co_await at(seconds(62));
    BOOST_TEST(over);
    BOOST_TEST(std::count(told.begin(), told.end(), "a gave up refused") == 1);
}

CO_TEST_CASE(before_each_round_it_is_asked_whether_the_server_is_up, one_stream) {
    server.play({test::reset()});
    server.play({test::reset()});
    server.play({send(sse_head())});
    unsigned before = 0;
    for (int round = 0; round < 3; ++round) {
        co_await next();
        BOOST_TEST(asked_where > before);
        before = asked_where;
    }
}

CO_TEST_CASE(before_each_round_it_is_asked_which_server_to_use_and_it_may_be_a_new_one, one_stream) {
    test::scripted_server other(world, elsewhere);
    other.play({send(sse_head())});
    server.play({test::reset()});
    co_await next();
    url = http::parse_url("http://b.test/event").value();
    const auto got = co_await next();
    BOOST_TEST(got == "opened 1");
    source.reset();
}

CO_TEST_CASE(while_there_is_no_server_it_waits_and_counts_nothing, one_stream) {
    state = stream::location::state::down;
    scope.spawn(tell_all());
    co_await rt.sleep_for(std::chrono::hours(1));
    BOOST_TEST(attempts() == 0u);
    BOOST_TEST(told.empty());
    BOOST_TEST(world.logs().size() == 1u);
    source->close();
    co_await scope.join();
}

CO_TEST_CASE(it_stops_silently_when_the_server_is_known_to_be_gone, one_stream) {
    state = stream::location::state::gone;
    const auto got = co_await all();
    CHECK_LINES(got, {"end"});
    BOOST_TEST(world.logs().empty());
}

CO_TEST_CASE(policy_and_sleep_are_injectable, one_stream) {
    world.net().stop_listening(place);
    config.policy.base_delay = seconds(2);
    config.policy.max_delay = seconds(5);
    config.policy.max_attempts = 3;
    const auto got = co_await all();
    CHECK_LINES(got, {"interrupted refused next 2 in 2000", "interrupted refused next 3 in 4000",
                      "interrupted refused next 4 in 5000", "gave up refused after 4", "end"});
    BOOST_TEST(elapsed_ms() == 11000); // of virtual time: none of it was slept
}

BOOST_AUTO_TEST_CASE(the_decision_is_a_pure_function_counted_from_one) {
    const auto policy = retry::session_stream();
    const std::vector<seconds> delays{seconds(1), seconds(2),  seconds(4),
                                      seconds(8), seconds(16), seconds(30)};
    for (unsigned failures = 1; failures <= delays.size(); ++failures)
        BOOST_TEST((retry::delay_after(policy, failures) == delays[failures - 1]), failures);
    BOOST_TEST(!retry::delay_after(policy, 7).has_value());
}

BOOST_AUTO_TEST_CASE(the_exponent_saturates) {
    auto policy = retry::session_stream();
    policy.max_attempts = retry::unlimited;
    for (const unsigned failures : {31u, 32u, 63u, 64u, 65u, 1000000u, 4000000000u})
        BOOST_TEST((retry::delay_after(policy, failures) == seconds(30)), failures);
}

BOOST_AUTO_TEST_CASE(no_attempts_and_unlimited_ones_have_meanings) {
    auto policy = retry::session_stream();
    policy.max_attempts = 0;
    BOOST_TEST(!retry::delay_after(policy, 1).has_value());
    policy.max_attempts = retry::unlimited;
    BOOST_TEST(retry::delay_after(policy, 1000000).has_value());
}

CO_TEST_CASE(the_end_of_an_old_loop_leaves_a_new_one_alone, sessions) {
    server.play({send(sse_response(events({"hello"})))});
    server.play({send(sse_response(events({"hello"})))});
    start_hub();
    co_await at(seconds(1));
    const auto old = std::exchange(hub, nullptr);
    old->close();
    start_hub(); // in the same turn, before the old one has ended
    co_await at(seconds(2));
    BOOST_TEST(!old->running());
    BOOST_TEST(the_hub().running());
    BOOST_TEST(world.net().open_connections() == 1u);
    co_await end();
}

CO_TEST_CASE(after_an_abort_not_even_the_rest_of_a_batch_is_dispatched, sessions) {
    server.play(
        {send(sse_response(events({"hello"}))), send(chunk(events({"a: 1", "a: 2", "a: 3"})), seconds(1))});
    auto a = subscribe("a");
    a->on["event a: 1"] = [this] {
        scope.cancel(runner);
    };
    a->on["event a: 2"] = [this] {
        the_hub().close();
    };
    start_hub();
    co_await at(seconds(2));
    BOOST_TEST(std::count(told.begin(), told.end(), "a event a: 3") == 0);
    BOOST_TEST(over);
    co_await scope.join();
}

CO_TEST_CASE(dispatch_reconcile_and_give_up_are_handed_in_and_the_give_up_is_awaited, sessions) {
    server.play(
        {send(sse_response(events({"hello", "a: anything at all"}))), send(last_chunk(), seconds(1))});
    server.play_ever_after({send(response(404, "text/plain", "no"))});
    auto a = subscribe("a");
    a->give_up_takes = seconds(3);
    start_hub();
    co_await at(seconds(4));
    BOOST_TEST(!over);
    co_await at(seconds(5));
    BOOST_TEST(over);
    CHECK_LINES(told_to("a"),
                {"attached", "repair", "repaired", "event a: anything at all", "live", "interrupted ended",
                 "interrupted http_status", "gave up http_status", "done with it"});
}

CO_TEST_CASE(a_warning_carries_the_error_whose_it_is_the_failures_and_what_is_done, one_stream) {
    world.net().stop_listening(place);
    config.tag = "session ses_1";
    co_await next();
    BOOST_TEST_REQUIRE(world.logs().size() == 1u);
    const auto& record = world.logs()[0];
    BOOST_TEST((record.level == log_level::warn));
    BOOST_TEST(record.error_class == "refused");
    BOOST_TEST(!record.error_message.empty());
    BOOST_TEST(record.tag == "session ses_1");
    BOOST_TEST(record.failures == 1u);
    BOOST_TEST(record.action == "retry");
    BOOST_TEST((record.retry_in_ms == 1000));
}

// --- where it failed, numbered as in the record of its failures

CO_TEST_CASE(failure_1_a_dead_port_is_told_and_given_up_not_retried_in_silence_for_ever, sessions) {
    world.net().stop_listening(place);
    subscribe("a");
    start_hub();
    co_await at(seconds(25)); // where it had given no sign at all
    BOOST_TEST(told_to("a").size() == 5u);
    BOOST_TEST(world.logs().size() == 5u);
    co_await at(seconds(62));
    BOOST_TEST(told_to("a").back() == "done with it");
    BOOST_TEST(world.net().attempts(place) == 7u);
}

CO_TEST_CASE(failure_1_a_stream_is_judged_by_the_bytes_received, one_stream) {
    server.play({send(sse_head())}); // "200, connected", and then nothing ever
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "interrupted stall next 2 in 1000"});
}

CO_TEST_CASE(failure_2_what_happens_between_the_subscribe_and_the_repair_is_not_lost, sessions) {
    server.play({send(sse_response(events({"hello"}))), send(event_chunk("a: meanwhile"), seconds(1))});
    subscribe("a", seconds(2));
    start_hub();
    co_await at(seconds(3));
    CHECK_LINES(take(), {"a attached", "a repair", "a repaired", "a event a: meanwhile", "a live"});
    co_await end();
}

CO_TEST_CASE(failure_3_streams_that_end_at_once_for_ever_are_given_up, one_stream) {
    for (int n = 0; n < 6; ++n)
        server.play({test::reset()});
    server.play_ever_after({send(sse_head() + last_chunk())});
    const auto got = co_await all();
    BOOST_TEST(got[got.size() - 2] == "gave up early_end after 7");
}

CO_TEST_CASE(failure_3_healthy_streams_that_each_end_with_an_error_are_never_given_up, one_stream) {
    for (int n = 0; n < 20; ++n) {
        server.play(
            {send(sse_response("data: x\n\n")), send(chunk(":"), seconds(50)), test::reset(seconds(50))});
        const auto got = co_await next(3);
        CHECK_LINES(
            got, {"opened " + std::to_string(n == 0 ? 1 : 2), "event x", "interrupted cut next 2 in 1000"});
    }
}

CO_TEST_CASE(failure_4_a_repair_that_throws_kills_nothing_and_is_reported, sessions) {
    server.play({send(sse_response(events({"hello", "a: 1"})))});
    auto a = subscribe("a");
    a->on["repair"] = [] {
        throw std::runtime_error("no snapshot");
    };
    start_hub();
    co_await at(seconds(1));
    CHECK_LINES(told_to("a"), {"attached", "repair", "event a: 1", "live"});
    CHECK_LINES(reported(), {"repair: no snapshot"});
    co_await end();
}

CO_TEST_CASE(failure_4_a_handler_that_throws_is_no_failure_of_the_stream, sessions) {
    server.play({send(sse_response(events({"hello"}))), send(chunk(events({"a: 1", "a: 2"})), seconds(1))});
    auto a = subscribe("a");
    a->on["event a: 1"] = [] {
        throw std::runtime_error("broken handler");
    };
    start_hub();
    co_await at(seconds(2));
    BOOST_TEST(told_to("a").back() == "event a: 2");
    BOOST_TEST(stream_failures() == 0u);
    BOOST_TEST(reported().size() == 1u);
    co_await end();
}

CO_TEST_CASE(failure_5_an_abort_ends_the_backoff_sleep_and_a_new_start_begins_at_once, sessions) {
    world.net().stop_listening(place);
    start_hub();
    co_await at(seconds(32)); // the next attempt would be at 61 s
    const auto tried = world.net().attempts(place);
    scope.cancel(runner);
    co_await at(seconds(32));
    BOOST_TEST(over);
    world.net().listen(place, server);
    server.play({send(sse_response(events({"hello"})))});
    hub.reset();
    subscribe("a");
    start_hub();
    co_await at(seconds(32));
    BOOST_TEST(world.net().attempts(place) == tried + 1);
    BOOST_TEST(told_to("a").back() == "live");
    co_await end();
}

CO_TEST_CASE(failure_5_a_new_loop_started_while_the_old_one_gives_up_has_its_stream, sessions) {
    world.net().stop_listening(place);
    config.source.policy.max_attempts = 0;
    auto a = subscribe("a");
    a->give_up_takes = seconds(5);
    start_hub();
    co_await at(seconds(1));
    const auto old = std::exchange(hub, nullptr);
    BOOST_TEST(old->running());
    world.net().listen(place, server);
    server.play({send(sse_response(events({"hello"})))});
    subscribe("b");
    start_hub();
    co_await at(seconds(6));
    BOOST_TEST(!old->running());
    BOOST_TEST(the_hub().running());
    BOOST_TEST(told_to("b").back() == "live");
    co_await end();
}

CO_TEST_CASE(failure_6_a_server_that_accepts_and_never_answers_is_found_by_deadlines, one_stream) {
    config.greeting_timeout = seconds(15);
    server.play({});
    server.play({send(sse_head())});
    const auto got = co_await next(3);
    CHECK_LINES(got,
                {"interrupted timeout next 2 in 1000", "opened 2", "interrupted timeout next 3 in 2000"});
    BOOST_TEST(elapsed_ms() == 10000 + 1000 + 15000);
}

CO_TEST_CASE(failure_6_it_is_told_when_the_stream_is_ready_before_anything_is_asked_of_the_server, sessions) {
    server.play({send(sse_head()), send(event_chunk("hello"), seconds(2))});
    subscribe("a");
    start_hub();
    co_await at(seconds(1));
    BOOST_TEST(!the_hub().acknowledged());
    BOOST_TEST(told.empty());
    co_await at(seconds(2));
    BOOST_TEST(the_hub().acknowledged());
    BOOST_TEST(told_to("a").back() == "live");
    co_await end();
}

CO_TEST_CASE(failure_9_many_sessions_of_one_directory_share_one_stream_and_each_event_is_judged_once,
             sessions) {
    unsigned judged = 0;
    config.route = [&judged](std::string_view data) {
        ++judged;
        return test::route_by_name(data);
    };
    server.play({send(sse_response(events({"hello", "s1: x", "s2: x", "s3: x"})))});
    for (int n = 0; n < 50; ++n)
        subscribe("s" + std::to_string(n));
    start_hub();
    co_await at(seconds(1));
    BOOST_TEST(judged == 4u);
    BOOST_TEST(server.accepted_connections() == 1u);
    co_await end();
}

BOOST_AUTO_TEST_CASE(failure_10_delays_are_spread_so_that_many_do_not_come_back_in_step) {
    std::set<long long> delays;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        testing::world world(seed);
        stream::source_config config;
        config.policy.jitter = retry::jitter::full;
        config.locate = [] {
            stream::location here;
            here.url = http::parse_url("http://a.test/").value();
            return here;
        };
        stream::event_source source(world.rt(), config);
        const auto first = world.run(source.next());
        BOOST_TEST_REQUIRE(first.has_value());
        BOOST_TEST((first->retry_in >= duration::zero() && first->retry_in <= seconds(1)));
        delays.insert(first->retry_in.count());
    }
    BOOST_TEST(delays.size() > 15u);
}

CO_TEST_CASE(failure_10_after_a_give_up_the_next_attempt_is_a_probe_and_its_success_is_for_all, sessions) {
    world.net().stop_listening(place);
    config.source.policy.max_attempts = 0;
    start_hub();
    co_await at(seconds(1));
    BOOST_TEST(over);
    BOOST_TEST(rt.breaker_of(place)->open);
    world.net().listen(place, server);
    server.play({send(sse_head())});
    hub.reset();
    start_hub();
    co_await at(seconds(2));
    BOOST_TEST(!rt.breaker_of(place)->open);
    co_await end();
}

CO_TEST_CASE(failure_10_before_a_give_up_is_final_there_is_time_to_ask_the_server_once_more, sessions) {
    // The stream is refused, but the server answers.
    server.play({send(response(404, "text/plain", "no stream here"))});
    server.play({send(response(200, "application/json", "{}"))});
    auto a = subscribe("a");
    int status = 0;
    auto ask = [](sessions& f, int& answer) -> net::awaitable<void> {
        auto where = http::parse_url("http://a.test/session/status").value();
        http::request request;
        http::transport how;
        http::response_limits bounds;
        const auto got = co_await http::fetch(f.rt, where, request, how, bounds);
        answer = got ? got->head.status : 0;
    };
    a->give_up_takes = seconds(1);
    a->on["gave up http_status"] = [&] {
        scope.spawn(ask(*this, status));
    };
    start_hub();
    co_await at(seconds(2));
    BOOST_TEST(over);
    BOOST_TEST(status == 200);
}

CO_TEST_CASE(failure_10_an_event_without_a_session_goes_to_observers_not_to_every_session, sessions) {
    server.play({send(sse_response(events({"hello"}))), send(event_chunk("heartbeat"), seconds(1))});
    subscribe("a");
    subscribe("b");
    start_hub();
    co_await at(milliseconds(500));
    take();
    co_await at(seconds(1));
    CHECK_LINES(take(), {"observer heartbeat"});
    co_await end();
}

BOOST_AUTO_TEST_SUITE_END()

// The pure parts.
BOOST_AUTO_TEST_SUITE(capture_throttle)

using retry::endpoint_breaker;
using verdict = endpoint_breaker::answer::verdict;
using opencode::capture_state;
const time_point t0{};
const endpoint port_4096("http", "127.0.0.1", 4096);
const failure refused = make_failure(errc::refused);
const failure timed_out = make_failure(errc::exchange_timeout);

/// The delays, in seconds, of a capture that fails by these one after another, each time as soon as it may be
/// tried.
std::vector<long long> delays_after(const std::vector<failure>& failures) {
    capture_state state;
    std::vector<long long> delays;
    time_point now = t0;
    for (const auto& each : failures) {
        const auto delay = state.failed(each, now, 0).delay;
        delays.push_back(to_ms(delay) / 1000);
        now += delay;
    }
    return delays;
}

// --- the tests that it had

BOOST_AUTO_TEST_CASE(it_is_not_skipped_without_state) {
    const capture_state state;
    BOOST_TEST(state.may_try(t0));
    BOOST_TEST(state.may_try(time_point::min()));
}

BOOST_AUTO_TEST_CASE(it_is_skipped_with_a_future_retry_time) {
    capture_state state;
    state.failed(timed_out, t0, 0);
    for (const duration later : {duration(0), duration(seconds(1)), seconds(10) - duration(1)})
        BOOST_TEST(!state.may_try(t0 + later));
}

BOOST_AUTO_TEST_CASE(it_is_not_skipped_with_a_past_retry_time_nor_exactly_then) {
    capture_state state;
    state.failed(timed_out, t0, 0);
    for (const duration later : {duration(seconds(10)), seconds(10) + duration(1), duration(minutes(60))})
        BOOST_TEST(state.may_try(t0 + later));
}

BOOST_AUTO_TEST_CASE(the_first_failure_waits_10_seconds) {
    BOOST_TEST((delays_after({timed_out}) == std::vector<long long>{10}));
}

BOOST_AUTO_TEST_CASE(the_delay_grows_twofold) {
    BOOST_TEST((delays_after(std::vector<failure>(3, timed_out)) == std::vector<long long>{10, 20, 40}));
}

BOOST_AUTO_TEST_CASE(the_delay_is_capped_at_60_seconds) {
    for (const auto& why : {timed_out, make_failure(errc::cut), make_failure(errc::unreachable),
                            make_status_failure(500, "", std::nullopt)})
        BOOST_TEST(
            (delays_after(std::vector<failure>(6, why)) == std::vector<long long>{10, 20, 40, 60, 60, 60}),
            why.message);
    BOOST_TEST(delays_after(std::vector<failure>(1000, timed_out)).back() == 60);
}

BOOST_AUTO_TEST_CASE(connection_refused_is_doubled_and_capped_again) {
    BOOST_TEST(
        (delays_after(std::vector<failure>(5, refused)) == std::vector<long long>{20, 40, 60, 60, 60}));
}

BOOST_AUTO_TEST_CASE(the_first_error_sets_the_state) {
    capture_state state;
    BOOST_TEST(state.failures() == 0u);
    BOOST_TEST(!state.last().has_value());
    BOOST_TEST((state.failed(refused, t0, 0).what == capture_state::news::first));
    BOOST_TEST(state.failures() == 1u);
    BOOST_TEST((state.failing_since() == t0));
    BOOST_TEST((state.last()->when == t0));
    BOOST_TEST((state.last()->why.cls == failure_class::refused));
    BOOST_TEST((state.next_try() == t0 + seconds(20)));
}

BOOST_AUTO_TEST_CASE(consecutive_errors_count_up) {
    capture_state state;
    for (unsigned n = 1; n <= 5; ++n) {
        state.failed(refused, t0 + n * seconds(60), 0);
        BOOST_TEST(state.failures() == n);
        BOOST_TEST((state.last()->when == t0 + n * seconds(60)));
        BOOST_TEST((state.failing_since() == t0 + seconds(60)));
    }
}

BOOST_AUTO_TEST_CASE(a_success_resets_it) {
    capture_state state;
    for (int n = 0; n < 5; ++n)
        state.failed(refused, t0, 0);
    state.succeeded();
    BOOST_TEST(state.may_try(t0));
    BOOST_TEST(state.failures() == 0u);
    BOOST_TEST(!state.last().has_value());
    const auto next = state.failed(refused, t0, 0);
    BOOST_TEST((next.what == capture_state::news::first));
    BOOST_TEST((next.delay == seconds(20)));
}

BOOST_AUTO_TEST_CASE(refused_is_recognised_by_its_code_also_when_it_is_wrapped_and_never_by_its_text) {
    const result<int> wrapped =
        make_failure(errc::refused, "http://127.0.0.1:4096: while asking for messages");
    const result<std::string> wrapped_again = wrapped.error();
    for (const auto& each : {refused, wrapped.error(), wrapped_again.error()}) {
        BOOST_TEST((each.cls == failure_class::refused));
        BOOST_TEST((each.code == error_code(errc::refused)));
        BOOST_TEST((delays_after({each}) == std::vector<long long>{20}), each.message);
    }
    const auto by_text = make_failure(errc::exchange_timeout, "dial tcp 127.0.0.1:4096: connection refused");
    BOOST_TEST((delays_after({by_text}) == std::vector<long long>{10}));
}

// --- at the edges

BOOST_AUTO_TEST_CASE(a_change_of_class_counts_on_and_decides_whether_the_delay_is_doubled) {
    BOOST_TEST(
        (delays_after({refused, timed_out, refused, timed_out}) == std::vector<long long>{20, 20, 60, 60}));
}

BOOST_AUTO_TEST_CASE(a_change_of_class_is_news_and_a_change_of_text_is_not) {
    using news = capture_state::news;
    capture_state state;
    const auto other_text = make_failure(errc::refused, "from port 54321");
    for (const auto& [why, what] : {std::pair{refused, news::first},
                                    {refused, news::repeat},
                                    {other_text, news::repeat},
                                    {timed_out, news::changed},
                                    {timed_out, news::repeat},
                                    {refused, news::changed}})
        BOOST_TEST((state.failed(why, t0, 0).what == what), why.message);
}

BOOST_AUTO_TEST_CASE(a_server_that_came_back_on_a_new_port_does_not_wait_out_the_backoff_of_the_old_one) {
    capture_state state;
    state.at(port_4096);
    for (int n = 0; n < 5; ++n)
        state.failed(refused, t0, 0);
    state.at(port_4096);
    BOOST_TEST(!state.may_try(t0));
    state.at(endpoint("http", "127.0.0.1", 4097));
    BOOST_TEST(state.may_try(t0));
    BOOST_TEST(state.failures() == 0u);
    BOOST_TEST(!state.last().has_value());
    BOOST_TEST((state.failed(refused, t0, 0).delay == seconds(20)));
}

BOOST_AUTO_TEST_CASE(what_waiting_cannot_heal_stops_it) {
    for (const int status : {401, 404}) {
        capture_state state;
        BOOST_TEST(state.failed(make_status_failure(status, "", std::nullopt), t0, 0).stop, status);
        BOOST_TEST(!state.may_try(t0 + minutes(100000)), status);
    }
}

// --- by the breaker of the endpoint, which streams and calls share

BOOST_AUTO_TEST_CASE(without_a_past_nothing_is_held_back) {
    endpoint_breaker g;
    const auto ticket = g.enter(endpoint_breaker::kind::call, t0, false);
    BOOST_TEST((g.ask(ticket, t0).kind == verdict::go));
}

BOOST_AUTO_TEST_CASE(before_its_time_it_is_held_back_after_it_not_and_exactly_then_it_is_allowed) {
    endpoint_breaker g;
    const auto due = t0 + seconds(10);
    const auto early = g.enter(endpoint_breaker::kind::stream, due, false);
    BOOST_TEST((g.ask(early, due - duration(1)).kind == verdict::wait));
    BOOST_TEST((g.ask(early, due).kind == verdict::go));
    const auto late = g.enter(endpoint_breaker::kind::stream, due, false);
    BOOST_TEST((g.ask(late, due + seconds(1)).kind == verdict::go));
}

BOOST_AUTO_TEST_CASE(a_success_lets_all_go) {
    endpoint_breaker g;
    const auto failing = g.enter(endpoint_breaker::kind::call, t0, false);
    std::ignore = g.ask(failing, t0);
    g.failed(failing, make_failure(errc::refused), t0);
    BOOST_TEST(g.is_open());
    const auto probe = g.enter(endpoint_breaker::kind::call, t0, false);
    const auto held = g.enter(endpoint_breaker::kind::stream, t0 + seconds(60), true);
    BOOST_TEST((g.ask(probe, t0).kind == verdict::go));
    g.succeeded(probe, t0);
    BOOST_TEST(!g.is_open());
    BOOST_TEST((g.ask(held, t0).kind == verdict::go));
}

CO_TEST_CASE(repeats_and_changing_texts_of_one_class_are_no_news, one_stream) {
    for (const char* text : {"garbage one\r\n\r\n", "garbage two\r\n\r\n", "garbage three\r\n\r\n"})
        server.play({send(text)});
    co_await next(3);
    unsigned warned = 0;
    for (const auto& record : world.logs())
        warned += record.level >= log_level::warn ? 1 : 0;
    BOOST_TEST(warned == 1u);
}

CO_TEST_CASE(a_recovery_is_told, one_stream) {
    server.play({test::reset()});
    server.play({send(sse_head())});
    co_await next(2);
    // In one line for all that failed there; that this stream opened is a detail.
    const auto& logs = world.logs();
    BOOST_TEST(std::count_if(logs.begin(), logs.end(), [](const log_record& each) {
                   return each.event == "incident.recovered" && each.level == log_level::info;
               }) == 1);
    BOOST_TEST(logs.back().event == "stream.opened");
    BOOST_TEST((logs.back().level == log_level::debug));
}

CO_TEST_CASE(while_it_is_held_back_nothing_is_written, one_stream) {
    world.net().stop_listening(place);
    co_await next(5);
    const auto written = world.logs().size();
    const auto reader = scope.spawn(tell_all()); // waits 16 s
    co_await rt.sleep_for(seconds(15));
    BOOST_TEST(world.logs().size() == written);
    scope.cancel(reader);
    co_await scope.join();
}

BOOST_AUTO_TEST_CASE(what_waiting_cannot_heal_is_not_on_the_schedule_of_a_timeout) {
    for (const int status : {401, 404}) {
        retry::schedule schedule(retry::session_stream());
        const auto decision =
            schedule.on_end(make_status_failure(status, "", std::nullopt), duration::zero(), t0, 0);
        BOOST_TEST(decision.give_up, status);
    }
}

BOOST_AUTO_TEST_CASE(one_endpoints_failures_delay_no_other) {
    testing::world world;
    auto fail = [](runtime& rt) -> net::awaitable<void> {
        auto pass = co_await rt.begin_attempt(place, endpoint_breaker::kind::call, rt.now(), false);
        pass.failed(make_failure(errc::refused));
        auto other = co_await rt.begin_attempt(elsewhere, endpoint_breaker::kind::call, rt.now(), false);
        BOOST_TEST(!other.shared_failure().has_value());
        other.succeeded();
    };
    const auto before = world.time().now();
    world.run(fail(world.rt()));
    BOOST_TEST((world.time().now() == before));
    BOOST_TEST(world.rt().breaker_of(place)->open);
    BOOST_TEST(!world.rt().breaker_of(elsewhere)->open);
}

BOOST_AUTO_TEST_SUITE_END()
