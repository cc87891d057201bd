// One stream for many: acknowledged, repaired, flushed, live; and nothing that a handler does harms the
// stream.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using stream::event_hub;
using stream::item;
using stream::routing;
using test::chunk;
using test::event_chunk;
using test::events;
using test::last_chunk;
using test::lines;
using test::place;
using test::recorder;
using test::send;
using test::sse_head;
using test::sse_response;

using fixture = test::hub_fixture;

// --- the order

CO_TEST_CASE(a_subscriber_is_attached_repaired_told_what_was_kept_back_and_then_live, fixture) {
    server.play({send(sse_head()), send(event_chunk("hello"), seconds(1)),
                 send(event_chunk("a: 1"), seconds(1)), send(event_chunk("a: 2"), seconds(1)),
                 send(event_chunk("a: 3"), seconds(10))});
    subscribe("a", seconds(5));
    start_hub();
    co_await at(seconds(1));
    CHECK_LINES(take(), {"a attached", "a repair"});
    BOOST_TEST(the_hub().acknowledged());
    co_await at(seconds(5));
    BOOST_TEST(told.empty());
    co_await at(seconds(6));
    CHECK_LINES(take(), {"a repaired", "a event a: 1", "a event a: 2", "a live"});
    co_await at(seconds(13));
    CHECK_LINES(take(), {"a event a: 3"});
    co_await end();
}

CO_TEST_CASE(before_the_greeting_nothing_is_told, fixture) {
    server.play({send(sse_response(events({"a: early", "hello", "a: 1"})))});
    subscribe("a");
    start_hub();
    co_await at(seconds(1));
    CHECK_LINES(take(), {"a attached", "a repair", "a repaired", "a event a: 1", "a live"});
    co_await end();
}

CO_TEST_CASE(each_event_goes_where_it_belongs, fixture) {
    server.play({send(sse_response(events({"hello"}))),
                 send(chunk(events({"a: 1", "b: 2", "c: 3", "all: 4", "noise", "other"})), seconds(1))});
    subscribe("a");
    subscribe("b");
    start_hub();
    co_await at(milliseconds(500));
    take();
    co_await at(seconds(1));
    CHECK_LINES(take(), {"a event a: 1", "b event b: 2", "observer c: 3", "a event all: 4", "b event all: 4",
                         "observer all: 4", "observer other"});
    co_await end();
}

CO_TEST_CASE(a_second_greeting_on_the_same_connection_changes_nothing, fixture) {
    server.play({send(sse_response(events({"hello"}))), send(event_chunk("hello"), seconds(1))});
    subscribe("a");
    start_hub();
    co_await at(milliseconds(500));
    take();
    co_await at(seconds(2));
    BOOST_TEST(told.empty());
    co_await end();
}

CO_TEST_CASE(a_slow_repair_of_one_does_not_delay_another, fixture) {
    server.play(
        {send(sse_response(events({"hello"}))), send(chunk(events({"slow: 1", "quick: 1"})), seconds(1))});
    subscribe("slow", seconds(30));
    subscribe("quick");
    start_hub();
    co_await at(seconds(1));
    CHECK_LINES(told_to("quick"), {"attached", "repair", "repaired", "live", "event quick: 1"});
    CHECK_LINES(told_to("slow"), {"attached", "repair"});
    co_await at(seconds(30));
    CHECK_LINES(told_to("slow"), {"attached", "repair", "repaired", "event slow: 1", "live"});
    co_await end();
}

CO_TEST_CASE(a_late_subscriber_is_attached_at_once, fixture) {
    server.play({send(sse_response(events({"hello"})))});
    start_hub();
    co_await at(seconds(1));
    subscribe("a");
    CHECK_LINES(take(), {"a attached"});
    co_await at(seconds(1));
    CHECK_LINES(take(), {"a repair", "a repaired", "a live"});
    co_await end();
}

CO_TEST_CASE(a_subscriber_before_the_greeting_waits_for_it, fixture) {
    server.play({send(sse_head()), send(event_chunk("hello"), seconds(2))});
    start_hub();
    co_await at(seconds(1));
    subscribe("a");
    BOOST_TEST(told.empty());
    co_await at(seconds(2));
    BOOST_TEST(told.back() == "a live");
    co_await end();
}

// --- interruptions

CO_TEST_CASE(an_interruption_ends_the_repair_and_forgets_what_was_kept_back, fixture) {
    server.play({send(sse_response(events({"hello"}))), send(event_chunk("a: lost"), seconds(1)),
                 test::reset(seconds(1))});
    server.play({send(sse_response(events({"hello", "a: new"})))});
    subscribe("a", seconds(5));
    start_hub();
    co_await at(milliseconds(2500));
    CHECK_LINES(take(), {"a attached", "a repair", "a interrupted cut"});
    BOOST_TEST(!the_hub().acknowledged());
    co_await at(seconds(20));
    CHECK_LINES(take(), {"a attached", "a repair", "a repaired", "a event a: new", "a live"});
    co_await end();
}

CO_TEST_CASE(a_repair_that_ends_in_the_turn_of_the_interruption_makes_nobody_live, fixture) {
    server.play({send(sse_response(events({"hello"}))), test::reset(seconds(5))});
    server.play_ever_after({});
    auto a = subscribe("a", seconds(5));
    start_hub();
    co_await at(seconds(5));
    co_await at(milliseconds(5500));
    const auto interrupted = std::find(told.begin(), told.end(), "a interrupted cut");
    BOOST_TEST_REQUIRE((interrupted != told.end()));
    BOOST_TEST((std::find(interrupted, told.end(), "a live") == told.end()));
    co_await end();
}

CO_TEST_CASE(a_close_from_within_a_repair_makes_nobody_live, fixture) {
    server.play({send(sse_response(events({"hello"}))), send(event_chunk("a: 1"), seconds(1))});
    server.play_ever_after({});
    auto a = subscribe("a");
    a->on["repaired"] = [this] {
        the_hub().close();
    };
    start_hub();
    co_await at(seconds(2));
    CHECK_LINES(take(), {"a attached", "a repair", "a repaired"});
    co_await end();
}

CO_TEST_CASE(past_the_bound_the_repair_is_done_again_and_covers_what_was_not_kept, fixture) {
    config.held_back_bytes = 20;
    server.play({send(sse_response(events({"hello"}))),
                 send(chunk(events({"a: 1234567890", "a: 2234567890", "a: 3234567890"})), seconds(1)),
                 send(event_chunk("a: 4"), seconds(5))});
    auto a = subscribe("a", seconds(5));
    start_hub();
    co_await at(seconds(20));
    CHECK_LINES(take(),
                {"a attached", "a repair", "a repaired", "a repair", "a repaired", "a event a: 4", "a live"});
    co_await end();
}

CO_TEST_CASE(the_stream_goes_on_after_its_interruptions_as_the_source_does, fixture) {
    server.play({send(sse_response(events({"hello"}))), send(last_chunk(), seconds(10))});
    server.play({send(sse_response(events({"hello"})))});
    subscribe("a");
    start_hub();
    co_await at(seconds(11));
    CHECK_LINES(take(), {"a attached", "a repair", "a repaired", "a live", "a interrupted ended",
                         "a attached", "a repair", "a repaired", "a live"});
    co_await end();
}

// --- what handlers throw

CO_TEST_CASE(whatever_a_handler_throws_is_reported_and_is_no_failure_of_the_stream, fixture) {
    server.play({send(sse_response(events({"hello"}))),
                 send(chunk(events({"unroutable", "a: 1", "b: 1", "other", "all: 2"})), seconds(1)),
                 send(last_chunk(), seconds(9))});
    server.play_ever_after({});
    config.observe = [](std::string_view) {
        throw 42;
    };
    auto a = subscribe("a");
    subscribe("b");
    for (const char* when : {"attached", "repair", "live", "event a: 1", "event all: 2", "interrupted ended"})
        a->on[when] = [when] {
            throw std::runtime_error(when);
        };
    start_hub();
    co_await at(milliseconds(10500));
    CHECK_LINES(told_to("a"),
                {"attached", "repair", "live", "event a: 1", "event all: 2", "interrupted ended"});
    CHECK_LINES(told_to("b"), {"attached", "repair", "repaired", "live", "event b: 1", "event all: 2",
                               "interrupted ended"});
    auto got = reported();
    std::sort(got.begin(), got.end());
    CHECK_LINES(got, {"observe: not a std::exception", "observe: not a std::exception",
                      "observe: not a std::exception", "on_attached: attached", "on_event: event a: 1",
                      "on_event: event all: 2", "on_interrupted: interrupted ended", "on_live: live",
                      "repair: repair", "route: cannot route"});
    BOOST_TEST(stream_failures() == 1u); // the clean end itself
    for (const auto& record : world.logs())
        BOOST_TEST(record.tag == "mine");
    co_await end();
}

CO_TEST_CASE(a_repair_that_throws_what_is_no_exception_or_aborts_by_itself_is_contained_too, fixture) {
    server.play({send(sse_response(events({"hello", "a: 1", "b: 1"})))});
    auto a = subscribe("a");
    a->on["repair"] = [] {
        throw 42;
    };
    auto b = subscribe("b");
    b->on["repair"] = [] {
        throw boost::system::system_error(net::error::operation_aborted);
    };
    start_hub();
    co_await at(seconds(1));
    CHECK_LINES(told_to("a"), {"attached", "repair", "event a: 1", "live"});
    CHECK_LINES(told_to("b"), {"attached", "repair", "event b: 1", "live"});
    BOOST_TEST(reported().size() == 2u);
    co_await end();
}

// --- give-up

CO_TEST_CASE(the_give_up_is_told_to_all_once_and_awaited, fixture) {
    world.net().stop_listening(place);
    auto a = subscribe("a");
    a->give_up_takes = seconds(5);
    auto b = subscribe("b");
    b->on["gave up refused"] = [] {
        throw std::runtime_error("cannot take it");
    };
    start_hub();
    co_await at(seconds(62));
    BOOST_TEST(!over);
    co_await at(seconds(66));
    BOOST_TEST(over);
    CHECK_LINES(told_to("a"), {"interrupted refused", "interrupted refused", "interrupted refused",
                               "interrupted refused", "interrupted refused", "interrupted refused",
                               "interrupted refused", "gave up refused", "done with it"});
    BOOST_TEST(told_to("b").back() == "gave up refused");
    CHECK_LINES(reported(), {"on_give_up: cannot take it"});
    BOOST_TEST(!the_hub().running());
    co_await end();
}

CO_TEST_CASE(a_stream_that_is_done_is_told_to_all_as_the_end, fixture) {
    config.source.clean_end = stream::clean_end::done;
    config.source.comments = true;
    server.play(
        {send(test::sse_response(test::events({"hello", "a: 1"}) + ": a comment\n") + test::last_chunk())});
    auto a = subscribe("a");
    start_hub();
    co_await at(seconds(1));
    BOOST_TEST(over);
    BOOST_TEST_REQUIRE(!told_to("a").empty());
    BOOST_TEST(told_to("a").back() == "done with it");
    BOOST_TEST(server.accepted_connections() == 1u);
}

CO_TEST_CASE(a_give_up_without_subscribers_ends_at_once, fixture) {
    world.net().stop_listening(place);
    config.source.policy.max_attempts = 0;
    start_hub();
    co_await at(duration::zero());
    BOOST_TEST(over);
}

CO_TEST_CASE(a_give_up_ends_also_when_its_scope_is_cancelled_meanwhile, fixture) {
    world.net().stop_listening(place);
    config.source.policy.max_attempts = 0;
    auto a = subscribe("a");
    a->give_up_takes = std::chrono::hours(1);
    a->on["gave up refused"] = [this] {
        scope.cancel();
    };
    auto b = subscribe("b"); // its own call has not begun by then
    // Not in the scope: nobody cancels it.
    net::co_spawn(rt.executor(), run(), [](std::exception_ptr) {});
    co_await at(seconds(1));
    BOOST_TEST(over);
    co_await scope.join();
}

// --- the ends

CO_TEST_CASE(a_second_run_while_one_runs_is_a_no_op, fixture) {
    server.play({send(sse_response(events({"hello", "a: 1"})))});
    subscribe("a");
    start_hub();
    co_await at(seconds(1));
    BOOST_TEST(the_hub().running());
    co_await the_hub().run();
    BOOST_TEST(the_hub().running());
    BOOST_TEST(world.net().attempts(place) == 1u);
    BOOST_TEST(std::count(told.begin(), told.end(), "a event a: 1") == 1);
    co_await end();
}

CO_TEST_CASE(cancelling_run_ends_it_and_all_repairs_at_once_and_closes_the_stream, fixture) {
    server.play({send(sse_response(events({"hello"})))});
    subscribe("a", seconds(30));
    start_hub();
    co_await at(seconds(1));
    scope.cancel(runner);
    co_await at(seconds(1));
    BOOST_TEST(over);
    BOOST_TEST(scope.size() == 0u);
    BOOST_TEST(world.net().open_connections() == 0u);
    CHECK_LINES(take(), {"a attached", "a repair"});
    co_await at(std::chrono::hours(1));
    BOOST_TEST(world.net().attempts(place) == 1u);
}

CO_TEST_CASE(after_close_from_a_handler_not_even_the_rest_of_the_batch_is_told, fixture) {
    server.play(
        {send(sse_response(events({"hello"}))), send(chunk(events({"a: 1", "a: 2", "other"})), seconds(1))});
    auto a = subscribe("a");
    a->on["event a: 1"] = [this] {
        the_hub().close();
    };
    start_hub();
    co_await at(seconds(2));
    CHECK_LINES(take(), {"a attached", "a repair", "a repaired", "a live", "a event a: 1"});
    BOOST_TEST(over);
    co_await end();
}

CO_TEST_CASE(after_close_from_a_handler_nothing_that_was_kept_back_is_told, fixture) {
    server.play({send(sse_response(events({"hello", "a: 1", "a: 2"})))});
    auto a = subscribe("a", seconds(1));
    a->on["event a: 1"] = [this] {
        the_hub().close();
    };
    start_hub();
    co_await at(seconds(2));
    CHECK_LINES(take(), {"a attached", "a repair", "a repaired", "a event a: 1"});
    co_await end();
}

CO_TEST_CASE(who_unsubscribes_is_told_nothing_more, fixture) {
    server.play(
        {send(sse_response(events({"hello", "a: 1", "a: 2"}))), send(event_chunk("all: 3"), seconds(5))});
    auto a = subscribe("a", seconds(1));
    a->on["event a: 1"] = [this] {
        the_hub().unsubscribe("a");
    };
    auto b = subscribe("b");
    auto c = subscribe("c");
    b->on["event all: 3"] = [this] {
        the_hub().unsubscribe("c");
    };
    start_hub();
    co_await at(seconds(6));
    CHECK_LINES(told_to("a"), {"attached", "repair", "repaired", "event a: 1"});
    CHECK_LINES(told_to("c"), {"attached", "repair", "repaired", "live"});
    BOOST_TEST(told_to("b").back() == "event all: 3");
    BOOST_TEST(the_hub().size() == 1u);
    co_await end();
}

CO_TEST_CASE(unsubscribing_ends_a_repair, fixture) {
    server.play({send(sse_response(events({"hello"})))});
    subscribe("a", seconds(30));
    start_hub();
    co_await at(seconds(1));
    the_hub().unsubscribe("a");
    the_hub().unsubscribe("nobody");
    co_await at(seconds(40));
    CHECK_LINES(take(), {"a attached", "a repair"});
    co_await end();
}

CO_TEST_CASE(a_subscriber_may_unsubscribe_from_within_its_repair, fixture) {
    server.play({send(sse_response(events({"hello", "a: 1"})))});
    auto a = subscribe("a", seconds(1));
    a->on["repaired"] = [this] {
        the_hub().unsubscribe("a");
    };
    start_hub();
    co_await at(seconds(5));
    CHECK_LINES(take(), {"a attached", "a repair", "a repaired"});
    co_await end();
}

CO_TEST_CASE(a_new_subscriber_under_the_same_key_takes_the_place_of_the_old_one, fixture) {
    server.play({send(sse_response(events({"hello"}))), send(event_chunk("a: 1"), seconds(2))});
    subscribe("a");
    start_hub();
    co_await at(seconds(1));
    auto second = std::make_shared<recorder>(*this, "second");
    the_hub().subscribe("a", second);
    co_await at(seconds(2));
    CHECK_LINES(told_to("a"), {"attached", "repair", "repaired", "live"});
    CHECK_LINES(told_to("second"), {"attached", "repair", "repaired", "live", "event a: 1"});
    co_await end();
}

CO_TEST_CASE(wake_ends_the_streams_backoff, fixture) {
    world.net().stop_listening(place);
    start_hub();
    co_await at(milliseconds(100));
    BOOST_TEST(world.net().attempts(place) == 1u);
    the_hub().wake();
    co_await at(milliseconds(100));
    BOOST_TEST(world.net().attempts(place) == 2u);
    co_await end();
}
