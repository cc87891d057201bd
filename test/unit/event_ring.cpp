// The ring of events behind /events: what a viewer is told, at which place, and what it is told of what it
// missed.
#include <boost/test/unit_test.hpp>

#include "watch/event_ring.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace {

using holdfast::app::event_ring;
using lines = std::vector<std::string>;

/// Publishes `{"n":N}`, N going on from the last.
void publish(event_ring& ring, int count) {
    const auto last = ring.last_id();
    int n = std::stoi(last.substr(last.find('-') + 1));
    for (int i = 0; i < count; ++i)
        ring.publish("row", "{\"n\":" + std::to_string(++n) + "}");
}

/// Each as "ID" or "gap:DATA@ID".
lines rest(event_ring::viewer& viewer) {
    lines all;
    while (const auto event = viewer.next())
        all.push_back(event->name == "gap" ? "gap:" + event->data + '@' + event->id : event->id);
    return all;
}

lines ids(int from, int to) {
    lines all;
    for (int n = from; n <= to; ++n)
        all.push_back("run-" + std::to_string(n));
    return all;
}

std::string gap(const std::string& from, const std::string& to, int lost, const std::string& why) {
    return R"(gap:{"from":")" + from + R"(","to":")" + to + R"(","lost":)" + std::to_string(lost) +
           R"(,"why":")" + why + R"("}@)" + to;
}

lines joined(lines first, const lines& then) {
    first.insert(first.end(), then.begin(), then.end());
    return first;
}

void check_equal(const lines& told, const lines& wanted) {
    BOOST_TEST(told == wanted, boost::test_tools::per_element());
}

} // namespace

BOOST_AUTO_TEST_CASE(a_new_viewer_is_told_what_comes_from_now_on_each_once_and_in_order) {
    event_ring ring(8, 8, "run");
    publish(ring, 3);
    event_ring::viewer viewer(ring, "");
    BOOST_TEST(!viewer.next().has_value());
    publish(ring, 2);
    check_equal(rest(viewer), ids(4, 5));
    BOOST_TEST(!viewer.next().has_value());
    publish(ring, 1);
    check_equal(rest(viewer), ids(6, 6));
}

BOOST_AUTO_TEST_CASE(an_event_is_told_as_it_was_published) {
    event_ring ring(8, 8, "run");
    event_ring::viewer viewer(ring, "");
    ring.publish("settled", R"({"a":1})");
    BOOST_TEST((viewer.next() == event_ring::event{"run-1", "settled", R"({"a":1})"}));
}

BOOST_AUTO_TEST_CASE(no_event_can_hold_a_line_of_its_own_or_break_the_encoding) {
    event_ring ring(8, 8, "run");
    event_ring::viewer viewer(ring, "");
    ring.publish("a\nid: 7", "{\r\n\"b\":\"\xff\"}");
    BOOST_TEST((viewer.next() == event_ring::event{"run-1", "a id: 7", "{  \"b\":\"\xef\xbf\xbd\"}"}));
}

BOOST_AUTO_TEST_CASE(one_who_comes_back_is_told_what_it_missed_from_any_place) {
    event_ring ring(8, 8, "run");
    publish(ring, 8);
    for (int seen = 0; seen <= 8; ++seen) {
        event_ring::viewer viewer(ring, "run-" + std::to_string(seen));
        check_equal(rest(viewer), ids(seen + 1, 8));
    }
}

BOOST_AUTO_TEST_CASE(what_is_not_kept_any_more_is_told_as_a_gap_and_then_what_there_is) {
    event_ring ring(8, 8, "run");
    publish(ring, 20);
    event_ring::viewer viewer(ring, "run-5");
    check_equal(rest(viewer), joined({gap("run-6", "run-12", 7, "expired")}, ids(13, 20)));
}

BOOST_AUTO_TEST_CASE(one_whose_next_event_is_the_oldest_that_is_kept_missed_nothing) {
    event_ring ring(8, 8, "run");
    publish(ring, 20);
    event_ring::viewer viewer(ring, "run-12");
    check_equal(rest(viewer), ids(13, 20));
}

BOOST_AUTO_TEST_CASE(one_who_comes_back_with_the_id_of_a_gap_is_told_the_gap_no_more) {
    event_ring ring(8, 8, "run");
    publish(ring, 20);
    const auto first = event_ring::viewer(ring, "run-5").next();
    event_ring::viewer again(ring, first->id);
    check_equal(rest(again), ids(13, 20));
}

BOOST_AUTO_TEST_CASE(an_id_of_another_run_is_told_so_and_then_all_that_is_kept) {
    for (const char* id : {"other-3", "run", "run2-1", "3", "-3", "\xff"}) {
        event_ring ring(8, 8, "run");
        publish(ring, 2);
        event_ring::viewer viewer(ring, id);
        const std::string told = R"(gap:{"from":null,"to":null,"lost":null,"why":"another_run"}@run-0)";
        check_equal(rest(viewer), joined({told}, ids(1, 2)));
    }
}

BOOST_AUTO_TEST_CASE(an_id_of_another_run_is_told_up_to_where_nothing_is_kept) {
    event_ring ring(8, 8, "run");
    publish(ring, 10);
    event_ring::viewer viewer(ring, "other-3");
    const std::string told = R"(gap:{"from":null,"to":"run-2","lost":null,"why":"another_run"}@run-2)";
    check_equal(rest(viewer), joined({told}, ids(3, 10)));
}

BOOST_AUTO_TEST_CASE(an_id_that_was_never_given_is_told_so) {
    for (const char* id : {"run-3", "run-", "run-x", "run-1x", "run--1", "run-99999999999999999999999"}) {
        event_ring ring(8, 8, "run");
        publish(ring, 2);
        event_ring::viewer viewer(ring, id);
        const std::string told = R"(gap:{"from":null,"to":null,"lost":null,"why":"unknown"}@run-0)";
        check_equal(rest(viewer), joined({told}, ids(1, 2)));
    }
}

BOOST_AUTO_TEST_CASE(a_slow_viewer_loses_the_oldest_and_is_told_once_how_many) {
    event_ring ring(100, 4, "run");
    event_ring::viewer viewer(ring, "");
    publish(ring, 4);
    BOOST_TEST(viewer.next()->id == "run-1");
    publish(ring, 7);
    check_equal(rest(viewer), joined({gap("run-2", "run-7", 6, "slow")}, ids(8, 11)));
    publish(ring, 4);
    check_equal(rest(viewer), ids(12, 15));
}

BOOST_AUTO_TEST_CASE(a_slow_viewer_takes_nothing_from_the_others) {
    event_ring ring(100, 4, "run");
    event_ring::viewer slow(ring, ""), quick(ring, "");
    for (int n = 1; n <= 50; ++n) {
        publish(ring, 1);
        check_equal(rest(quick), ids(n, n));
    }
    check_equal(rest(slow), joined({gap("run-1", "run-46", 46, "slow")}, ids(47, 50)));
}

BOOST_AUTO_TEST_CASE(one_who_catches_up_may_take_its_time_for_all_that_is_kept) {
    event_ring ring(20, 4, "run");
    publish(ring, 10);
    event_ring::viewer viewer(ring, "run-0");
    BOOST_TEST(viewer.next()->id == "run-1");
    publish(ring, 10);
    check_equal(rest(viewer), ids(2, 20));
    publish(ring, 6); // it has caught up: from now on it is as the others
    check_equal(rest(viewer), joined({gap("run-21", "run-22", 2, "slow")}, ids(23, 26)));
}

BOOST_AUTO_TEST_CASE(one_who_catches_up_too_slowly_loses_what_is_not_kept_any_more) {
    event_ring ring(20, 4, "run");
    publish(ring, 20);
    event_ring::viewer viewer(ring, "run-0");
    BOOST_TEST(viewer.next()->id == "run-1");
    publish(ring, 5);
    check_equal(rest(viewer), joined({gap("run-2", "run-5", 4, "slow")}, ids(6, 25)));
}

// Whatever the sizes and whoever is slow: each number is told once, as an event or within a gap, in order.
BOOST_AUTO_TEST_CASE(every_event_is_told_or_lies_in_a_gap) {
    unsigned random = 7;
    const auto draw = [&random](unsigned below) {
        random = random * 1664525u + 1013904223u;
        return static_cast<int>((random >> 8) % below);
    };
    for (int round = 0; round < 500; ++round) {
        event_ring ring(1 + static_cast<unsigned>(draw(12)), 1 + static_cast<unsigned>(draw(12)), "run");
        std::string last = "run-0";
        event_ring::viewer viewer(ring, "");
        for (int step = 0; step < 30; ++step) {
            publish(ring, draw(6));
            if (draw(8) == 0)
                viewer = event_ring::viewer(ring, last);
            for (int take = draw(8); take > 0; --take) {
                const auto event = viewer.next();
                if (!event)
                    break;
                const int before = std::stoi(last.substr(4)), now = std::stoi(event->id.substr(4));
                if (event->name == "gap") {
                    const auto from = "\"from\":\"run-" + std::to_string(before + 1) + '"';
                    const auto lost = "\"lost\":" + std::to_string(now - before) + ',';
                    BOOST_TEST_REQUIRE(event->data.find(from) != std::string::npos,
                                       event->data << " " << last);
                    BOOST_TEST_REQUIRE(event->data.find(lost) != std::string::npos,
                                       event->data << " " << last);
                } else {
                    BOOST_TEST_REQUIRE(now == before + 1);
                    BOOST_TEST_REQUIRE(event->data == "{\"n\":" + std::to_string(now) + "}");
                }
                last = event->id;
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(what_is_kept_is_bounded_in_bytes_too_but_the_newest_is_always_there) {
    event_ring ring(100, 100, "run");
    event_ring::viewer viewer(ring, "");
    const std::string big = '"' + std::string(event_ring::kept_bytes / 2, 'x') + '"';
    for (int i = 0; i < 3; ++i)
        ring.publish("row", big);
    check_equal(rest(viewer), joined({gap("run-1", "run-2", 2, "slow")}, ids(3, 3)));
    ring.publish("row", big + big + big);
    check_equal(rest(viewer), ids(4, 4));
    publish(ring, 5);
    check_equal(rest(viewer), ids(5, 9));
}

BOOST_AUTO_TEST_CASE(who_asked_for_it_hears_of_each_event) {
    event_ring ring(2, 2, "run");
    lines heard;
    ring.on_publish([&] { heard.push_back(ring.last_id()); });
    publish(ring, 3);
    check_equal(heard, ids(1, 3));
}
