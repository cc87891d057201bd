// /events of the port of `holdfast watch`: what viewers are told, those who come back, those who are slow,
// and holdfast's own event_source as one.
#include <boost/test/unit_test.hpp>

#include "support/eventually.hpp"
#include "support/real_world.hpp"
#include "support/watched_port.hpp"

#include <holdfast/http/url.hpp>
#include <holdfast/stream/event_source.hpp>

#include <boost/algorithm/string/join.hpp>

#include <memory>
#include <string>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using namespace std::chrono_literals;
using app::event_ring;
using app::watch_port_config;

/// A request for /events by HTTP/1.0, whose answer comes without chunks.
std::string events_request(const std::string& last_id = {}) {
    return "GET /events HTTP/1.0\r\n" + (last_id.empty() ? "" : "Last-Event-ID: " + last_id + "\r\n") +
           "\r\n";
}

/// One who is there by the time it is made.
class viewer : public talker {
public:
    explicit viewer(watched_port& port, const std::string& last_id = {}, int receive_buffer = 0)
        : talker(port.number(), events_request(last_id), receive_buffer) {
        head = until("\r\n\r\n").value_or("");
        greeting = until("\n\n").value_or("");
    }

    std::string head;
    std::string greeting;
};

std::string block(const std::string& id, const std::string& name, const std::string& data) {
    return "id: " + id + "\nevent: " + name + "\ndata: " + data + "\n\n";
}

std::string row(int n) {
    return block("run-" + std::to_string(n), "row", std::to_string(n));
}

/// Publishes N, ... for events run-N, ...
void publish_rows(watched_port& port, int from, int to) {
    for (int n = from; n <= to; ++n)
        port.publish("row", std::to_string(n));
}

std::string next(viewer& from) {
    return from.until("\n\n").value_or("nothing");
}

std::string gap(const std::string& from, const std::string& to, const std::string& lost,
                const std::string& why) {
    return R"({"from":)" + from + R"(,"to":)" + to + R"(,"lost":)" + lost + R"(,"why":")" + why + R"("})";
}

} // namespace

BOOST_AUTO_TEST_CASE(a_new_viewer_is_greeted_and_told_each_event_as_it_comes) {
    watched_port port;
    publish_rows(port, 1, 3);
    viewer one(port);
    BOOST_TEST(one.head.find("200 OK\r\nContent-Type: text/event-stream\r\n") != std::string::npos, one.head);
    BOOST_TEST(one.head.find("\r\nCache-Control: no-cache\r\n") != std::string::npos, one.head);
    BOOST_TEST(one.head.find("\r\nX-Accel-Buffering: no\r\n") != std::string::npos, one.head);
    BOOST_TEST(one.head.find("Access-Control") == std::string::npos, one.head);
    BOOST_TEST(one.greeting == "retry: 1000\nid: run-3\n\n");
    for (int n = 4; n < 8; ++n) {
        publish_rows(port, n, n);
        BOOST_TEST(next(one) == row(n));
    }
}

BOOST_AUTO_TEST_CASE(http_1_1_gets_the_stream_in_chunks_and_a_last_one_at_the_end) {
    watched_port port;
    talker one(port.number(), "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    BOOST_TEST(one.until("\r\n\r\n").value().find("\r\nTransfer-Encoding: chunked\r\n") != std::string::npos);
    BOOST_TEST(one.until("\n\n\r\n").value() == "17\r\nretry: 1000\nid: run-0\n\n\r\n");
    publish_rows(port, 1, 1);
    BOOST_TEST(one.until("\n\n\r\n").value() == "1e\r\n" + row(1) + "\r\n");
    port.end();
    BOOST_TEST(one.rest() == "0\r\n\r\n");
    BOOST_TEST(!one.was_reset());
}

BOOST_AUTO_TEST_CASE(heartbeats_come_while_nothing_happens) {
    watch_port_config config;
    config.heartbeat = 50ms;
    watched_port port(config);
    viewer one(port);
    for (int i = 0; i < 3; ++i)
        BOOST_TEST(next(one) == ": heartbeat\n\n");
}

BOOST_AUTO_TEST_CASE(one_who_comes_back_is_told_what_it_missed_once_and_then_what_comes) {
    watched_port port;
    publish_rows(port, 1, 600); // more than a viewer may be behind
    viewer one(port, "run-100");
    BOOST_TEST(one.greeting == "retry: 1000\n\n");
    for (int n = 101; n <= 600; ++n)
        BOOST_TEST_REQUIRE(next(one) == row(n));
    publish_rows(port, 601, 601);
    BOOST_TEST(next(one) == row(601));
}

BOOST_AUTO_TEST_CASE(what_is_not_kept_is_a_gap_and_so_is_another_run) {
    watched_port port({}, std::make_shared<event_ring>(4, 4, "run"));
    publish_rows(port, 1, 10);
    viewer late(port, "run-2");
    BOOST_TEST(next(late) == block("run-6", "gap", gap("\"run-3\"", "\"run-6\"", "4", "expired")));
    BOOST_TEST(next(late) == row(7));
    viewer foreign(port, "other-2");
    BOOST_TEST(next(foreign) == block("run-6", "gap", gap("null", "\"run-6\"", "null", "another_run")));
    BOOST_TEST(next(foreign) == row(7));
}

BOOST_AUTO_TEST_CASE(two_runs_of_the_program_do_not_give_the_same_ids) {
    const auto greeting = [] {
        watched_port port({}, std::make_shared<event_ring>());
        return viewer(port).greeting;
    };
    const auto one = greeting(), another = greeting();
    BOOST_TEST(one.ends_with("-0\n\n"), one);
    BOOST_TEST(one != another);
}

BOOST_AUTO_TEST_CASE(a_slow_viewer_loses_the_oldest_and_is_told_so_while_others_lose_nothing) {
    watched_port port;
    viewer slow(port, {}, 4096), quick(port);
    const std::string big = '"' + std::string(10'000, 'x') + '"';
    const auto begun = std::chrono::steady_clock::now();
    for (int n = 1; n <= 2000; ++n) {
        port.publish("row", big);
        BOOST_TEST_REQUIRE(next(quick) == block("run-" + std::to_string(n), "row", big));
    }
    BOOST_TEST((std::chrono::steady_clock::now() - begun < 20s));

    int last = 0, gaps = 0, lost = 0;
    while (last < 2000) {
        const auto told = next(slow);
        const auto id = std::stoi(told.substr(8));
        if (told.find("\nevent: gap\n") != std::string::npos) {
            ++gaps;
            lost = id - last;
            BOOST_TEST(told == block("run-" + std::to_string(id), "gap",
                                     gap("\"run-" + std::to_string(last + 1) + '"',
                                         "\"run-" + std::to_string(id) + '"', std::to_string(lost), "slow")));
        } else {
            BOOST_TEST_REQUIRE(id == last + 1);
        }
        last = id;
    }
    BOOST_TEST(gaps == 1);
    BOOST_TEST(lost > 1000);
    BOOST_TEST(lost < 2000 - 255);
}

BOOST_AUTO_TEST_CASE(one_who_does_not_read_at_all_is_cut_and_its_place_is_free_again) {
    watch_port_config config;
    config.write_deadline = 200ms;
    config.viewers = 1;
    watched_port port(config);
    viewer stuck(port, {}, 4096);
    talker refused(port.number(), events_request());
    BOOST_TEST(refused.rest().find(" 503 ") != std::string::npos);
    talker other(port.number(), "GET /livez HTTP/1.0\r\n\r\n");
    BOOST_TEST(other.rest().find(" 200 ") != std::string::npos);

    const std::string big = '"' + std::string(100'000, 'x') + '"';
    for (int n = 0; n < 10; ++n)
        port.publish("row", big);
    BOOST_TEST(eventually([&] { return port.viewers() == 0; }, 5s));
    BOOST_TEST(viewer(port).greeting.starts_with("retry"));
}

BOOST_AUTO_TEST_CASE(one_who_reads_slowly_but_steadily_is_not_cut) {
    watch_port_config config;
    config.write_deadline = 1s;
    watched_port port(config);
    const std::string big = '"' + std::string(20'000, 'x') + '"';
    for (int n = 1; n <= 200; ++n)
        port.publish("row", big);
    viewer slow(port, "run-0", 4096); // who has 4 MB to catch up with
    for (int n = 1; n <= 200; ++n) {
        BOOST_TEST_REQUIRE(next(slow) == block("run-" + std::to_string(n), "row", big));
        std::this_thread::sleep_for(10ms);
    }
}

BOOST_AUTO_TEST_CASE(one_who_leaves_or_says_too_much_frees_its_place) {
    watched_port port;
    {
        viewer leaves(port), ends_its_side(port), says_much(port);
        BOOST_TEST(port.viewers() == 3U);
        ends_its_side.end_of_speech();
        BOOST_TEST(ends_its_side.rest() == "");
        BOOST_TEST(says_much.say("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")); // not answered any more
        publish_rows(port, 1, 1);
        BOOST_TEST(next(says_much) == row(1));
        while (says_much.say(std::string(10'000, 'x'))) {
        }
        BOOST_TEST(eventually([&] { return port.viewers() == 1; }, 5s));
    }
    BOOST_TEST(eventually([&] { return port.viewers() == 0; }, 5s));
}

BOOST_AUTO_TEST_CASE(it_ends_within_a_second_and_tells_what_there_is_to_those_who_read) {
    for (const bool by_cancellation : {false, true}) {
        watched_port port;
        viewer reads(port), stuck(port, {}, 4096);
        const std::string big = '"' + std::string(100'000, 'x') + '"';
        for (int n = 1; n <= 10; ++n) {
            port.publish("row", big);
            BOOST_TEST(next(reads) == block("run-" + std::to_string(n), "row", big));
        }
        port.on_port([&] {
            for (int n = 11; n <= 20; ++n)
                port.ring->publish("row", std::to_string(n));
        });
        BOOST_TEST((port.end(by_cancellation) < 1s));
        for (int n = 11; n <= 20; ++n)
            BOOST_TEST(next(reads) == row(n));
        BOOST_TEST(reads.rest() == "");
        BOOST_TEST(!reads.was_reset());
        BOOST_TEST(port.errors().empty());
    }
}

// --- holdfast's own client

namespace {

stream::source_config subscription(unsigned short port) {
    stream::source_config config;
    config.locate = [port] {
        stream::location here;
        here.url = http::parse_url("http://127.0.0.1:" + std::to_string(port) + "/events").value();
        return here;
    };
    config.policy.base_delay = 10ms;
    config.policy.max_delay = 50ms;
    return config;
}

/// Takes events until one has this id. @return each as "NAME DATA"
net::awaitable<std::vector<std::string>> events_until(stream::event_source& source, std::string id) {
    std::vector<std::string> told;
    while (const auto item = co_await source.next()) {
        if (item->what != stream::item::kind::event)
            continue;
        told.push_back(std::string(item->event.type) + ' ' + std::string(item->event.data));
        if (item->event.id == id)
            break;
    }
    co_return told;
}

net::awaitable<bool> opened(stream::event_source& source) {
    while (const auto item = co_await source.next())
        if (item->what == stream::item::kind::opened)
            co_return true;
    co_return false;
}

std::vector<std::string> rows(int from, int to) {
    std::vector<std::string> all;
    for (int n = from; n <= to; ++n)
        all.push_back("row " + std::to_string(n));
    return all;
}

void check_equal(const std::vector<std::string>& told, const std::vector<std::string>& wanted) {
    BOOST_TEST_INFO_SCOPE(boost::algorithm::join(told, " | "));
    BOOST_TEST(told == wanted, boost::test_tools::per_element());
}

} // namespace

// The port goes and comes back, the ring stays: that is a connection that was cut.
BOOST_FIXTURE_TEST_CASE(an_event_source_that_reconnects_is_told_what_it_missed_once, in_the_real_world) {
    const auto ring = std::make_shared<event_ring>(4096, 256, "run");
    auto port = std::make_unique<watched_port>(watch_port_config{}, ring);
    watch_port_config again;
    again.port = port->number();
    stream::event_source source(rt, subscription(again.port));
    BOOST_TEST(run(opened(source)));

    port.reset();
    ring->publish("row", "1"); // missed before it was ever told an event
    port = std::make_unique<watched_port>(again, ring);
    publish_rows(*port, 2, 10);
    check_equal(run(events_until(source, "run-10")), rows(1, 10));

    for (int n = 11; n <= 41; n += 10) {
        port.reset();
        for (int i = n; i < n + 5; ++i)
            ring->publish("row", std::to_string(i));
        port = std::make_unique<watched_port>(again, ring);
        publish_rows(*port, n + 5, n + 9);
        check_equal(run(events_until(source, "run-" + std::to_string(n + 9))), rows(n, n + 9));
    }
    source.close();
}

BOOST_FIXTURE_TEST_CASE(an_event_source_is_told_that_the_program_was_started_anew, in_the_real_world) {
    auto port = std::make_unique<watched_port>();
    watch_port_config again;
    again.port = port->number();
    stream::event_source source(rt, subscription(again.port));
    BOOST_TEST(run(opened(source)));
    publish_rows(*port, 1, 3);
    check_equal(run(events_until(source, "run-3")), rows(1, 3));

    port.reset();
    port = std::make_unique<watched_port>(again, std::make_shared<event_ring>(4096, 256, "new"));
    publish_rows(*port, 1, 2);
    const std::vector<std::string> wanted{"gap " + gap("null", "null", "null", "another_run"), "row 1",
                                          "row 2"};
    check_equal(run(events_until(source, "new-2")), wanted);
    source.close();
}
