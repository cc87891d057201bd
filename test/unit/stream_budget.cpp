// How many streams one server may take: so many of directories, and for all that is held beyond them one of
// all directories, in virtual time against the simulated OpenCode server.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"

#include <holdfast/opencode/event.hpp>
#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/testing/sim_host.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

using namespace holdfast;
using opencode::follow_by;
using opencode::outcome;
using testing::opencode_sim;

namespace {

const endpoint here{"http", "127.0.0.1", 4096};

struct held_server : test::in_simulated_world {
    opencode_sim::options model;
    opencode::server_config config;
    std::optional<testing::sim_host> host;
    std::optional<opencode::server> server;
    std::optional<task_scope> tasks;
    std::size_t most_connections = 0;

    void start() {
        world.on_handler(
            [this] { most_connections = std::max(most_connections, world.net().open_connections()); });
        host.emplace(world, here, model);
        server.emplace(world.rt(), *http::parse_url(to_string(here)), config);
        tasks.emplace(world.rt(), [](std::exception_ptr e) { std::rethrow_exception(e); });
        tasks->spawn(server->run());
    }
    net::awaitable<opencode::session> session_in(std::string directory) {
        auto made = co_await server->create_session({}, std::move(directory));
        BOOST_TEST_REQUIRE(made.has_value());
        co_return std::move(*made);
    }
    /// The text, and how it ended: "Hello. completed".
    net::awaitable<std::string> hear(opencode::turn& turn) {
        std::string text;
        while (auto event = co_await turn.next()) {
            if (const auto* said = std::get_if<opencode::text_event>(&*event))
                text += said->delta;
            if (const auto* end = std::get_if<opencode::settlement>(&*event))
                text += ' ' + std::string(to_string(end->outcome));
        }
        co_return text;
    }
    net::awaitable<std::string> run_turn(opencode::session& session, std::string prompt = "#plain") {
        auto turn = co_await session.prompt(std::move(prompt));
        co_return co_await hear(turn);
    }
    std::size_t streams() { return static_cast<std::size_t>(host->model().stats().stream_requests); }

    net::awaitable<void> end() {
        server->stop();
        co_await tasks->join();
        world.on_handler({});
    }
    void finish() {
        server.reset();
        host->shut_down();
        host.reset();
        world.settle();
    }
};

const std::string plain = "Hello from the simulated model. completed";

std::string words(int n) {
    std::string text;
    for (int i = 0; i < n; ++i)
        text += 'w' + std::to_string(i) + ' ';
    return text;
}

std::string directory(std::size_t i) {
    return "/d" + std::to_string(i);
}

} // namespace

CO_TEST_CASE(sessions_held_beyond_the_streams_of_directories_share_one_of_all, held_server) {
    config.max_streams = 2;
    start();
    std::vector<opencode::session> sessions;
    for (std::size_t i = 0; i < 6; ++i) {
        sessions.push_back(co_await session_in(directory(i)));
        BOOST_TEST(co_await run_turn(sessions.back()) == plain);
        BOOST_TEST(streams() == std::min<std::size_t>(i + 1, 3));
    }
    for (auto& each : sessions)
        BOOST_TEST(co_await run_turn(each) == plain);
    BOOST_TEST(streams() == 3u);
    sessions.clear();
    co_await end();
}

CO_TEST_CASE(two_thousand_directories_held_at_once_take_few_connections, held_server) {
    constexpr std::size_t directories = 2000;
    start();
    std::vector<opencode::session> sessions;
    std::vector<opencode::turn> turns;
    for (std::size_t i = 0; i < directories; ++i) {
        sessions.push_back(co_await session_in(directory(i)));
        turns.push_back(co_await sessions.back().prompt("#slow:3"));
    }
    for (auto& each : turns)
        BOOST_TEST_REQUIRE(co_await hear(each) == words(3) + " completed");
    BOOST_TEST(streams() == config.max_streams + 1);
    BOOST_TEST(most_connections <= config.max_streams + 1 + config.max_reads);
    turns.clear();
    sessions.clear();
    co_await end();
}

CO_TEST_CASE(without_streams_of_directories_all_that_is_held_is_told_by_one, held_server) {
    config.max_streams = 0;
    start();
    auto one = co_await session_in("/one");
    auto two = co_await session_in("/two");
    BOOST_TEST(co_await run_turn(one) == plain);
    BOOST_TEST(co_await run_turn(two) == plain);
    BOOST_TEST(streams() == 1u);
    one = two = opencode::session();
    co_await end();
}

CO_TEST_CASE(sessions_that_are_followed_use_up_streams_that_those_held_do_without, held_server) {
    config.max_streams = 2;
    start();
    std::vector<opencode::session> made;
    std::vector<opencode::feed> feeds;
    for (std::size_t i = 0; i < 5; ++i) {
        made.push_back(co_await session_in(directory(i)));
        feeds.push_back(server->follow(made.back().id(), follow_by::stream));
    }
    const auto held = made.back();
    made.clear();
    co_await world.rt().sleep_for(seconds(12));
    BOOST_TEST(streams() == 2u);
    auto session = held;
    BOOST_TEST(co_await run_turn(session) == plain);
    BOOST_TEST(streams() == 3u);
    // Those that are only followed stay as they are.
    co_await world.rt().sleep_for(seconds(12));
    const auto captured =
        std::count_if(feeds.begin(), feeds.end(), [](const auto& each) { return each.view().captured; });
    BOOST_TEST(captured == 2);
    BOOST_TEST(streams() == 3u);
    feeds.clear();
    session = opencode::session();
    co_await end();
}

CO_TEST_CASE(the_stream_of_all_directories_is_left_by_the_last_that_was_there, held_server) {
    config.max_streams = 1;
    start();
    auto first = co_await session_in("/one");
    BOOST_TEST(co_await run_turn(first) == plain);
    {
        auto second = co_await session_in("/two");
        BOOST_TEST(co_await run_turn(second) == plain);
        BOOST_TEST(world.net().open_connections() == 2u);
    }
    co_await world.rt().sleep_for(seconds(1));
    BOOST_TEST(world.net().open_connections() == 1u);
    first = opencode::session();
    co_await world.rt().sleep_for(seconds(1));
    BOOST_TEST(world.net().open_connections() == 0u);
    co_await end();
}

CO_TEST_CASE(wherever_the_stream_of_all_directories_is_cut_the_text_has_no_hole_and_no_repeat, held_server) {
    config.max_streams = 1;
    start();
    auto first = co_await session_in("/one");
    BOOST_TEST(co_await run_turn(first) == plain);
    auto second = co_await session_in("/two");
    for (int delay = 10; delay < 900; delay += 73) {
        auto turn = co_await second.prompt("#slow:30");
        co_await world.rt().sleep_for(milliseconds(delay));
        host->model().cut_streams(world.time().now());
        host->pump();
        BOOST_TEST_CONTEXT("cut after " << delay << " ms")
        BOOST_TEST(co_await hear(turn) == words(30) + " completed");
        co_await world.rt().sleep_for(seconds(61));
    }
    first = second = opencode::session();
    co_await end();
}

CO_TEST_CASE(a_session_on_the_stream_of_all_directories_is_heard_wherever_it_is_moved, held_server) {
    config.max_streams = 1;
    start();
    auto first = co_await session_in("/one");
    BOOST_TEST(co_await run_turn(first) == plain);
    auto second = co_await session_in("/two");
    BOOST_TEST(co_await run_turn(second) == plain);
    for (const auto* where : {"/three", "/one", "/two"}) {
        host->model().move_session(second.id(), where);
        BOOST_TEST(co_await run_turn(second, "#slow:10") == words(10) + " completed");
        BOOST_TEST(second.directory() == where);
    }
    BOOST_TEST(streams() == 2u);
    first = second = opencode::session();
    co_await end();
}

CO_TEST_CASE(a_session_that_moves_where_there_is_no_room_goes_over_and_hears_each_word_once, held_server) {
    config.max_streams = 2;
    start();
    auto first = co_await session_in("/one");
    auto second = co_await session_in("/two");
    BOOST_TEST(co_await run_turn(first) == plain);
    BOOST_TEST(co_await run_turn(second) == plain);
    auto neighbour = co_await session_in("/two"); // keeps that stream open
    BOOST_TEST(co_await run_turn(neighbour) == plain);
    host->model().move_session(second.id(), "/three");
    for (int i = 0; i < 3; ++i)
        BOOST_TEST(co_await run_turn(second, "#slow:10") == words(10) + " completed");
    BOOST_TEST(streams() == 3u);
    first = second = neighbour = opencode::session();
    co_await end();
}

CO_TEST_CASE(what_asks_below_a_session_on_the_stream_of_all_directories_is_delivered, held_server) {
    config.max_streams = 0;
    start();
    auto session = co_await session_in("/one");
    auto turn = co_await session.prompt("#task:ask");
    std::string asked;
    std::string ended;
    while (auto event = co_await turn.next()) {
        if (const auto* ask = std::get_if<opencode::permission_event>(&*event); ask && !ask->reply) {
            asked = ask->request.permission;
            const auto done = co_await turn.reply_permission(ask->request.id, "once");
            BOOST_TEST(done.has_value());
        }
        if (const auto* end = std::get_if<opencode::settlement>(&*event))
            ended = to_string(end->outcome);
    }
    BOOST_TEST(!asked.empty());
    BOOST_TEST(ended == "completed");
    turn = opencode::turn();
    session = opencode::session();
    co_await end();
}

CO_TEST_CASE(who_observes_is_told_of_a_directory_by_one_of_its_streams, held_server) {
    config.max_streams = 1;
    std::vector<std::string> created;
    config.observe = [&](std::string_view data) {
        const auto head = opencode::peek(data);
        if (head.type == "session.created")
            created.push_back(head.session_id);
    };
    start();
    auto first = co_await session_in("/one");
    BOOST_TEST(co_await run_turn(first) == plain);
    auto second = co_await session_in("/two");
    BOOST_TEST(co_await run_turn(second) == plain);
    created.clear();
    auto somebody = server->rest();
    auto of_one = (co_await somebody.create_session({}, "/one")).value();
    auto of_two = (co_await somebody.create_session({}, "/two")).value();
    auto of_three = (co_await somebody.create_session({}, "/three")).value();
    co_await world.rt().sleep_for(seconds(1));
    const std::vector<std::string> wanted{of_one.id, of_two.id, of_three.id};
    BOOST_TEST(created == wanted, boost::test_tools::per_element());
    first = second = opencode::session();
    co_await end();
}

CO_TEST_CASE(a_server_that_is_gone_settles_the_turns_on_the_stream_of_all_directories, held_server) {
    config.max_streams = 0;
    bool gone = false;
    config.locate = [&] {
        stream::location there;
        there.url = *http::parse_url(to_string(here));
        if (gone)
            there.what = stream::location::state::gone;
        return there;
    };
    start();
    auto session = co_await session_in("/one");
    auto turn = co_await session.prompt("#slow:1000");
    co_await world.rt().sleep_for(milliseconds(300));
    gone = true;
    host->model().cut_streams(world.time().now());
    host->pump();
    const auto all = co_await hear(turn);
    BOOST_TEST(all.ends_with(" lost"));
    turn = opencode::turn();
    session = opencode::session();
    co_await end();
}
