// An honest server beside a hostile one, in one runtime: its turns are told and settled in time, whatever the
// other does.
#include <boost/test/unit_test.hpp>

#include "support/hostile_server.hpp"

#include <holdfast/testing/sim_host.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

using namespace holdfast;
using namespace holdfast::test;
using opencode::follow_by;

namespace {

const endpoint honest_port{"http", "127.0.0.1", 4097};

/// The longest that a turn of half a second may take beside a hostile server, by stream and by captures.
constexpr duration by_stream = seconds(2);
constexpr duration by_capture = seconds(12);

struct both_servers : a_followed_hostile_server {
    std::optional<testing::sim_host> host;
    std::optional<opencode::server> honest;

    /// Both are held; of the hostile one these sessions are followed.
    std::vector<opencode::feed> start_both(std::size_t sessions, follow_by how) {
        start();
        host.emplace(world, honest_port);
        honest.emplace(world.rt(), *http::parse_url(to_string(honest_port)), opencode::server_config());
        tasks->spawn(honest->run());
        std::vector<opencode::feed> all;
        for (std::size_t i = 0; i < sessions; ++i)
            all.push_back(server->follow("ses_" + std::to_string(i), how));
        return all;
    }

    struct took {
        duration longest{};
        std::string ends; ///< of those that did not complete
    };
    /// One turn after the other for so long: one prompted here, and one that is followed, by captures alone.
    net::awaitable<took> run_turns(duration lasting) {
        took all;
        const auto until = later(world.rt().now(), lasting);
        auto session = (co_await honest->create_session()).value();
        auto other = (co_await honest->create_session()).value();
        auto feed = honest->follow(other.id(), follow_by::capture);
        auto somebody = honest->rest();
        while (world.rt().now() < until) {
            auto begun = world.rt().now();
            auto turn = co_await session.prompt("#slow:20");
            while (auto event = co_await turn.next())
                note(all, *event, world.rt().now() - begun, by_stream);
            begun = world.rt().now();
            opencode::prompt what;
            opencode::prompt_part part;
            part.text = "#slow:20";
            what.parts.push_back(std::move(part));
            const auto posted = co_await somebody.prompt_async(other.id(), what);
            BOOST_TEST(posted.has_value());
            for (bool ended = false; !ended;) {
                const auto event = co_await feed.next();
                BOOST_TEST_REQUIRE(event.has_value());
                ended = note(all, event->event, world.rt().now() - begun, by_capture);
            }
        }
        co_return all;
    }
    static bool note(took& all, const opencode::agent_event& event, duration lasted, duration longest) {
        const auto* end = std::get_if<opencode::settlement>(&event);
        if (!end)
            return false;
        all.longest = std::max(all.longest, lasted);
        if (end->outcome != opencode::outcome::completed)
            all.ends += std::string(to_string(end->outcome)) + ' ';
        BOOST_TEST(lasted <= longest, to_ms(lasted) << " ms");
        return true;
    }

    net::awaitable<void> check_in_time(duration lasting) {
        const auto told = co_await run_turns(lasting);
        BOOST_TEST_MESSAGE("the longest turn took " << to_ms(told.longest) << " ms");
        BOOST_TEST(told.ends.empty(), told.ends);
    }
    net::awaitable<void> end_both() {
        honest->stop();
        server->stop();
        co_await tasks->join();
        co_await world.rt().sleep_for(seconds(2));
    }
    void finish() {
        honest.reset();
        host->shut_down();
        host.reset();
        world.net().watch_connects({});
        a_followed_hostile_server::finish();
    }
};

std::string large_page(const std::string& id, std::size_t bytes) {
    return '[' + user_message("msg_1", id) + R"(,{"info":{"id":"msg_2","sessionID":)" + quoted(id) +
           R"(,"role":"assistant","parentID":"msg_1","time":{"created":2}},"parts":[{"id":"prt_2","messageID":"msg_2","sessionID":)" +
           quoted(id) + R"(,"type":"text","text":")" + std::string(bytes, 'x') + R"("}]}])";
}

} // namespace

CO_TEST_CASE(beside_a_server_with_two_thousand_directories, both_servers) {
    constexpr std::size_t sessions = 2000;
    there.on("/event", [](const std::string&) {
        return sse_response("data: {\"type\":\"server.connected\",\"properties\":{}}\n\n");
    });
    for (std::size_t i = 0; i < sessions; ++i)
        is_at_work("ses_" + std::to_string(i), "/d" + std::to_string(i));
    const auto feeds = start_both(sessions, follow_by::stream);
    co_await check_in_time(seconds(20));
    BOOST_TEST(there.most_at_once <= config.max_streams + config.max_reads);
    co_await end_both();
}

CO_TEST_CASE(beside_a_server_with_children_without_end, both_servers) {
    config.turns.max_children = 200;
    is_at_work("ses_0");
    std::string status = R"({"ses_0":{"type":"busy"})";
    for (int i = 1; i < 3000; ++i)
        status += R"(,"ses_)" + std::to_string(i) + R"(":{"type":"busy"})";
    there.json("/session/status", status + '}');
    // Each has a hundred more.
    const auto children = [](const std::string& target) {
        const auto id = target.substr(0, target.rfind('/')).substr(std::string("/session/").size());
        return response(200, "application/json", list(100, [&](std::size_t i) {
                            return session(
                                "ses_" + std::to_string((std::stoul(id.substr(4)) * 100 + i + 1) % 3000), id);
                        }));
    };
    there.fallback = children;
    there.on("/session/ses_0/children", children);
    const auto feeds = start_both(1, follow_by::capture);
    co_await check_in_time(seconds(20));
    BOOST_TEST(there.asked_below("/session/ses_").size() > 10u);
    co_await end_both();
}

CO_TEST_CASE(beside_a_server_with_huge_bodies, both_servers) {
    for (int i = 0; i < 8; ++i) {
        const auto id = "ses_" + std::to_string(i);
        is_at_work(id);
        there.json("/session/" + id + "/message", large_page(id, 4u << 20));
    }
    there.json("/session/status", R"({"ses_0":{"type":"busy"},"ses_1":{"type":"busy"}})");
    const auto feeds = start_both(8, follow_by::capture);
    co_await check_in_time(seconds(20));
    co_await end_both();
}

CO_TEST_CASE(beside_a_server_whose_answers_drip, both_servers) {
    for (int i = 0; i < 100; ++i)
        is_at_work("ses_" + std::to_string(i));
    const auto dripping = response(200, "application/json", std::string(100'000, ' '));
    there.drips("/session/status", dripping);
    there.drips("/global/health", dripping);
    for (int i = 0; i < 100; ++i) {
        there.drips("/session/ses_" + std::to_string(i), dripping);
        there.drips("/session/ses_" + std::to_string(i) + "/message", dripping);
    }
    const auto feeds = start_both(100, follow_by::stream);
    co_await check_in_time(minutes(1));
    BOOST_TEST(there.most_at_once <= config.max_reads + 1);
    co_await end_both();
}

// One byte a second would take a day: there is a deadline of each answer as a whole.
CO_TEST_CASE(an_answer_that_drips_is_given_up_at_its_deadline, a_hostile_server) {
    there.drips("/session/ses_1", response(200, "application/json", std::string(100'000, ' ')));
    there.drips("/session/ses_2", response(500, "application/json", std::string(100'000, ' ')));
    auto server = rest();
    for (const std::string id : {"ses_1", "ses_2"}) {
        const auto begun = world.rt().now();
        check_refused(co_await server.get_session(id), errc::exchange_timeout, "");
        BOOST_TEST(to_ms(world.rt().now() - begun) == to_ms(how.transport.deadlines.exchange));
    }
    co_await world.rt().sleep_for(seconds(2));
}

CO_TEST_CASE(beside_a_server_that_refuses_half_of_its_connections, both_servers) {
    for (int i = 0; i < 100; ++i)
        is_at_work("ses_" + std::to_string(i), "/d" + std::to_string(i));
    there.json("/session/status", R"({"ses_0":{"type":"busy"},"ses_1":{"type":"busy"}})");
    std::size_t connects = 0;
    world.net().watch_connects([&](const endpoint& where, testing::memory_network::connect_step step) {
        if (where != hostile_port || step != testing::memory_network::connect_step::begun)
            return;
        using behaviour = testing::memory_network::behaviour;
        world.net().outage(where, ++connects % 2 == 0 ? std::optional(behaviour::refuse) : std::nullopt);
    });
    const auto feeds = start_both(100, follow_by::stream);
    co_await check_in_time(minutes(1));
    BOOST_TEST(connects > 10u);
    co_await end_both();
}

CO_TEST_CASE(beside_a_server_whose_streams_bring_events_without_end, both_servers) {
    is_at_work("ses_0");
    there.json("/session/status", R"({"ses_0":{"type":"busy"}})");
    there.on("/event", [](const std::string&) {
        std::string all = "data: {\"type\":\"server.connected\",\"properties\":{}}\n\n";
        for (int i = 0; i < 20'000; ++i)
            all += "data: "
                   "{\"type\":\"session.status\",\"properties\":{\"sessionID\":\"ses_0\",\"status\":{"
                   "\"type\":\"" +
                   std::string(i % 2 == 0 ? "busy" : "idle") + "\"}}}\n\n";
        return sse_response(all) + last_chunk();
    });
    const auto feeds = start_both(1, follow_by::stream);
    co_await check_in_time(seconds(20));
    co_await end_both();
}
