// Sessions followed, whoever prompts them: by their stream, by captures, by their activity; in virtual time,
// against the simulated OpenCode server.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/held_sim.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/testing/sim_host.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

using namespace holdfast;
using opencode::follow_by;
using opencode::outcome;
using opencode::session_event;
using opencode::settlement;
using opencode::turn_limit;
using testing::memory_network;
using testing::opencode_sim;

namespace {

const endpoint here{"http", "127.0.0.1", 4096};
const endpoint elsewhere{"http", "127.0.0.1", 4097};
const endpoint aside{"http", "127.0.0.1", 4098};

http::url url_of(const endpoint& where) {
    return *http::parse_url(to_string(where));
}

/// What a feed told, and that it ended.
struct heard {
    std::vector<session_event> events;
    bool ended = false;

    template <class E>
    std::vector<E> all(const std::string& message = {}) const {
        std::vector<E> found;
        for (const auto& each : events)
            if (const auto* one = std::get_if<E>(&each.event);
                one && (message.empty() || each.message == message))
                found.push_back(*one);
        return found;
    }
    std::string text(const std::string& message = {}) const {
        std::string text;
        for (const auto& each : all<opencode::text_event>(message))
            text += each.delta;
        return text;
    }
    std::string endings() const {
        std::string text;
        for (const auto& each : events)
            if (const auto* how = std::get_if<settlement>(&each.event))
                text += each.message + ' ' + std::string(to_string(how->outcome)) + ' ';
        return text;
    }
};

struct a_followed_server : test::held_sim {
    std::optional<testing::sim_host> other; ///< another server, which knows none of the sessions
    std::map<std::string, std::shared_ptr<heard>> told;

    a_followed_server() { config.policy.max_attempts = retry::unlimited; }

    opencode::client rest() { return opencode::client(world.rt(), url_of(host->at())); }

    net::awaitable<std::string> new_session(std::string directory = {}) {
        auto client = rest();
        auto made = co_await client.create_session({}, std::move(directory));
        BOOST_TEST_REQUIRE(made.has_value());
        co_return made->id;
    }

    /// Somebody else prompts.
    net::awaitable<void> somebody_prompts(std::string session, std::string id, std::string text) {
        auto client = rest();
        auto what = test::text_prompt(std::move(id), std::move(text));
        const auto done = co_await client.prompt_async(std::move(session), std::move(what));
        BOOST_TEST_REQUIRE(done.has_value());
    }

    net::awaitable<void> hear(opencode::feed feed, std::shared_ptr<heard> into) {
        while (auto event = co_await feed.next())
            into->events.push_back(std::move(*event));
        into->ended = true;
    }

    opencode::feed follow(const std::string& session, follow_by how) {
        auto feed = server->follow(session, how);
        auto& into = told[session];
        if (!into)
            into = std::make_shared<heard>();
        tasks->spawn(hear(feed, into));
        return feed;
    }

    /// A server goes to another endpoint; where it was nobody listens.
    void leave(testing::sim_host& who, const endpoint& to) {
        who.move_to(to);
        who.model().cut_streams(world.time().now());
        who.pump();
    }

    /// Lets everything end: to be awaited last.
    net::awaitable<void> end() {
        server->stop();
        co_await tasks->join();
        for (const auto& [session, all] : told)
            BOOST_TEST(all->ended, "the feed of " << session << " goes on after the server was stopped");
    }

    void finish() {
        server.reset();
        if (host)
            host->shut_down();
        host.reset();
        if (other)
            other->shut_down();
        other.reset();
        world.settle();
    }

    std::uint64_t count(metric which) { return world.rt().value(which); }
};

std::string words(int n) {
    std::string text;
    for (int i = 0; i < n; ++i)
        text += 'w' + std::to_string(i) + ' ';
    return text;
}

} // namespace

// --- what is told

CO_TEST_CASE(what_somebody_else_prompts_is_told_live_by_the_stream, a_followed_server) {
    start();
    const auto id = co_await new_session();
    const auto feed = follow(id, follow_by::stream);
    co_await pass(seconds(1));
    BOOST_TEST(feed.view().streamed);
    co_await somebody_prompts(id, "msg_1", "#slow:10");
    co_await pass(milliseconds(200));
    BOOST_TEST(!told[id]->text().empty());
    co_await pass(seconds(5));
    BOOST_TEST(told[id]->text("msg_1") == words(10));
    BOOST_TEST(told[id]->endings() == "msg_1 completed ");
    BOOST_TEST(count(metric::captures) == 1u); // which found where it is
    co_await end();
}

CO_TEST_CASE(captures_alone_tell_progress_and_the_end_of_every_turn_and_open_no_stream, a_followed_server) {
    opencode::ask_rule allow;
    allow.answer = opencode::ask_answer::once;
    config.ask_rules.push_back(allow);
    start();
    const auto id = co_await new_session();
    follow(id, follow_by::capture);
    co_await pass(seconds(1));
    co_await somebody_prompts(id, "msg_1", "#ask:12000");
    co_await pass(seconds(8));
    BOOST_TEST(!told[id]->all<opencode::tool_event>("msg_1").empty(), "nothing was told while the tool runs");
    co_await pass(seconds(20));
    BOOST_TEST(told[id]->endings() == "msg_1 completed ");
    co_await somebody_prompts(id, "msg_2", "#plain");
    co_await pass(seconds(20));
    BOOST_TEST(told[id]->endings() == "msg_1 completed msg_2 completed ");
    BOOST_TEST(told[id]->text("msg_2") == "Hello from the simulated model.");
    BOOST_TEST(host->model().stats().stream_requests == 0u);
    co_await end();
}

CO_TEST_CASE(turns_that_were_over_before_are_not_told_by_stream_or_capture, a_followed_server) {
    start();
    for (const auto how : {follow_by::stream, follow_by::capture, follow_by::activity}) {
        const auto id = co_await new_session();
        const auto mark = "msg_" + id;
        co_await somebody_prompts(id, mark + "a", "#plain");
        co_await pass(seconds(5));
        co_await somebody_prompts(id, mark + "b", "#tool");
        co_await pass(seconds(5));
        follow(id, how);
        co_await pass(seconds(70));
        BOOST_TEST(told[id]->events.size() == 0u);
        co_await somebody_prompts(id, mark + "c", "#plain");
        co_await pass(seconds(20));
        BOOST_TEST(told[id]->endings() == mark + "c completed ");
    }
    co_await end();
}

CO_TEST_CASE(a_turn_that_runs_already_is_told_from_its_beginning, a_followed_server) {
    start();
    for (const auto how : {follow_by::stream, follow_by::capture, follow_by::activity}) {
        const auto id = co_await new_session();
        co_await somebody_prompts(id, "msg_" + id, "#slow:100"); // 2 s
        co_await pass(milliseconds(500));
        follow(id, how);
        co_await pass(seconds(20));
        BOOST_TEST(told[id]->text() == words(100));
        BOOST_TEST(told[id]->endings() == "msg_" + id + " completed ");
    }
    co_await end();
}

CO_TEST_CASE(turns_wait_and_merge_as_they_do_for_their_owner, a_followed_server) {
    start();
    const auto id = co_await new_session();
    follow(id, follow_by::capture);
    co_await pass(seconds(1));
    co_await somebody_prompts(id, "msg_1", "#slow:400");
    co_await pass(seconds(1));
    co_await somebody_prompts(id, "msg_2", "#plain");
    co_await pass(seconds(40));
    const auto endings = told[id]->endings();
    BOOST_TEST(told[id]->all<settlement>("msg_1").size() == 1u, endings);
    BOOST_TEST(told[id]->all<settlement>("msg_2").size() == 1u, endings);
    co_await end();
}

CO_TEST_CASE(a_session_is_followed_to_its_stream_while_it_is_at_work_and_leaves_it_afterwards,
             a_followed_server) {
    start();
    const auto id = co_await new_session();
    const auto feed = follow(id, follow_by::activity);
    co_await pass(seconds(90));
    BOOST_TEST(!feed.view().streamed);
    BOOST_TEST(feed.view().captured);
    co_await somebody_prompts(id, "msg_1", "#slow:1500");
    co_await pass(seconds(8));
    BOOST_TEST(feed.view().streamed);
    co_await pass(seconds(30));
    BOOST_TEST(told[id]->endings() == "msg_1 completed ");
    co_await pass(seconds(70));
    BOOST_TEST(!feed.view().streamed);
    BOOST_TEST(host->model().stats().open_streams == 0u);
    co_await somebody_prompts(id, "msg_2", "#slow:1500");
    co_await pass(seconds(45));
    BOOST_TEST(told[id]->endings() == "msg_1 completed msg_2 completed ");
    co_await end();
}

CO_TEST_CASE(an_ask_is_told_by_a_capture_once_also_one_of_a_child, a_followed_server) {
    start();
    for (const std::string script : {"#ask", "#task:ask", "#task:task:ask"}) {
        const auto id = co_await new_session();
        const auto feed = follow(id, follow_by::capture);
        co_await pass(seconds(1));
        co_await somebody_prompts(id, "msg_" + id, script);
        co_await pass(seconds(25));
        BOOST_TEST_CONTEXT(script) {
            const auto asks = told[id]->all<opencode::permission_event>();
            BOOST_TEST_REQUIRE(asks.size() == 1u);
            auto client = rest();
            const auto done = co_await client.reply_permission(asks[0].request.id, "once", {}, {});
            BOOST_TEST_REQUIRE(done.has_value());
            co_await pass(seconds(15));
            BOOST_TEST(told[id]->endings() == "msg_" + id + " completed ");
        }
    }
    co_await end();
}

CO_TEST_CASE(who_joins_in_mid_turn_is_told_all_of_it, a_followed_server) {
    model.pace = milliseconds(150);
    start();
    for (const std::string script : {"#reason", "#tool", "#ask", "#question"}) {
        const auto id = co_await new_session();
        follow(id, follow_by::stream);
        co_await pass(seconds(1));
        co_await somebody_prompts(id, "msg_" + id, script);
        std::vector<std::shared_ptr<heard>> joined;
        for (int i = 0; i < 15; ++i) {
            co_await pass(milliseconds(150));
            if (!told[id]->all<settlement>().empty())
                break;
            joined.push_back(std::make_shared<heard>());
            tasks->spawn(hear(server->follow(id, follow_by::stream), joined.back()));
        }
        co_await pass(seconds(20));
        BOOST_TEST_CONTEXT(script) {
            BOOST_TEST(!joined.empty());
            const auto reasoning = [](const heard& by) {
                std::string text;
                for (const auto& each : by.all<opencode::reasoning_event>())
                    text += each.delta;
                return text;
            };
            for (const auto& each : joined) {
                BOOST_TEST(each->text() == told[id]->text());
                BOOST_TEST(reasoning(*each) == reasoning(*told[id]));
                BOOST_TEST(each->all<opencode::usage_event>().size() ==
                           told[id]->all<opencode::usage_event>().size());
                BOOST_TEST(each->all<opencode::permission_event>().size() ==
                           told[id]->all<opencode::permission_event>().size());
                BOOST_TEST(each->all<opencode::question_event>().size() ==
                           told[id]->all<opencode::question_event>().size());
                BOOST_TEST(each->endings() == told[id]->endings());
            }
        }
    }
    co_await end();
}

// --- looks that fail

CO_TEST_CASE(a_refused_look_is_tried_again_after_20_40_and_60_seconds_exactly, a_followed_server) {
    start();
    const auto id = co_await new_session();
    const auto feed = follow(id, follow_by::capture);
    co_await pass(seconds(12));
    world.net().outage(here, memory_network::behaviour::refuse);
    std::vector<time_point> tries;
    world.net().watch_connects([&](const endpoint&, memory_network::connect_step step) {
        if (step == memory_network::connect_step::begun)
            tries.push_back(world.time().now());
    });
    co_await pass(seconds(300));
    BOOST_TEST_REQUIRE(tries.size() >= 5u);
    const std::vector<duration> gaps{seconds(20), seconds(40), seconds(60), seconds(60)};
    for (std::size_t i = 0; i < gaps.size(); ++i)
        BOOST_TEST(to_ms(tries[i + 1] - tries[i]) == to_ms(gaps[i]));
    BOOST_TEST_REQUIRE(feed.view().trouble.has_value());
    BOOST_TEST((feed.view().trouble->cls == failure_class::refused));
    BOOST_TEST(feed.view().failures == tries.size());
    world.net().outage(here, std::nullopt);
    co_await pass(seconds(60));
    BOOST_TEST(!feed.view().trouble.has_value());
    world.net().watch_connects({});
    co_await end();
}

CO_TEST_CASE(a_wake_ends_the_wait_of_all_looks, a_followed_server) {
    start();
    const auto id = co_await new_session();
    const auto feed = follow(id, follow_by::capture);
    co_await pass(seconds(10));
    world.net().outage(here, memory_network::behaviour::refuse);
    co_await pass(minutes(30));
    world.net().outage(here, std::nullopt);
    BOOST_TEST(feed.view().trouble.has_value());
    server->wake();
    co_await pass(seconds(1));
    BOOST_TEST(!feed.view().trouble.has_value());
    co_await end();
}

CO_TEST_CASE(a_server_that_is_not_there_yet_is_waited_for, a_followed_server) {
    start();
    const auto id = co_await new_session();
    world.net().outage(here, memory_network::behaviour::refuse);
    for (const auto how : {follow_by::stream, follow_by::capture})
        follow(id, how);
    co_await pass(seconds(100));
    world.net().outage(here, std::nullopt);
    co_await pass(seconds(61));
    co_await somebody_prompts(id, "msg_1", "#plain");
    co_await pass(seconds(15));
    BOOST_TEST(told[id]->endings() == "msg_1 completed msg_1 completed "); // both feeds
    co_await end();
}

CO_TEST_CASE(many_sessions_of_one_dead_server_make_one_probe_at_a_time_and_at_most_500_a_day,
             a_followed_server) {
    config.capture.retry.stretches = retry::long_outage_stretches();
    config.policy.stretches = retry::long_outage_stretches();
    start();
    std::vector<std::string> ids;
    for (int i = 0; i < 40; ++i)
        ids.push_back(co_await new_session("/dir" + std::to_string(i % 7)));
    for (int i = 0; i < 40; ++i)
        follow(ids[i], i % 3 == 0   ? follow_by::stream
                       : i % 3 == 1 ? follow_by::capture
                                    : follow_by::activity);
    co_await pass(seconds(30));
    std::size_t under_way = 0;
    std::size_t most = 0;
    std::size_t tries = 0;
    world.net().outage(here, memory_network::behaviour::refuse);
    host->model().cut_streams(world.time().now());
    host->pump();
    world.net().latency(milliseconds(2));
    co_await pass(minutes(5));
    world.net().watch_connects([&](const endpoint&, memory_network::connect_step step) {
        tries += step == memory_network::connect_step::begun;
        under_way = step == memory_network::connect_step::begun ? under_way + 1 : under_way - 1;
        most = std::max(most, under_way);
    });
    co_await pass(std::chrono::hours(24));
    BOOST_TEST(most == 1u);
    BOOST_TEST(tries <= 500u);
    BOOST_TEST(tries >= 400u);
    world.net().watch_connects({});
    world.net().outage(here, std::nullopt);
    server->wake();
    co_await pass(seconds(1));
    for (const auto& id : ids)
        follow(id, follow_by::capture);
    co_await pass(seconds(2));
    for (const auto& id : ids) {
        const auto feed = server->follow(id, follow_by::capture);
        BOOST_TEST(!feed.view().trouble.has_value(), "still in trouble: " << id);
    }
    co_await end();
}

CO_TEST_CASE(a_session_whose_stream_cannot_be_had_is_captured, a_followed_server) {
    start();
    const auto id = co_await new_session();
    const auto feed = follow(id, follow_by::stream);
    co_await pass(seconds(2));
    testing::fault no_stream;
    no_stream.what = testing::fault::kind::status;
    no_stream.status = 500;
    no_stream.times = testing::fault::always;
    host->model().inject(no_stream);
    host->model().cut_streams(world.time().now());
    host->pump();
    co_await somebody_prompts(id, "msg_1", "#plain");
    co_await pass(seconds(20));
    BOOST_TEST(!feed.view().streamed);
    BOOST_TEST(told[id]->endings() == "msg_1 completed ");
    host->model().clear_faults();
    co_await end();
}

CO_TEST_CASE(a_look_that_takes_too_long_fails_and_delays_no_other, a_followed_server) {
    config.capture.concurrent = 4;
    start();
    const auto slow = co_await new_session();
    const auto quick = co_await new_session();
    follow(slow, follow_by::capture);
    follow(quick, follow_by::capture);
    co_await pass(seconds(6));
    host->model().set_frozen(true, world.time().now());
    co_await pass(seconds(11));
    const auto view = server->follow(slow, follow_by::capture).view();
    BOOST_TEST_REQUIRE(view.trouble.has_value());
    BOOST_TEST((view.trouble->cls == failure_class::timeout));
    host->model().set_frozen(false, world.time().now());
    host->pump();
    co_await pass(seconds(30));
    BOOST_TEST(!server->follow(slow, follow_by::capture).view().trouble.has_value());
    co_await end();
}

CO_TEST_CASE(a_server_that_moves_is_looked_at_there_without_waiting_out_the_old_ports_backoff,
             a_followed_server) {
    endpoint at = here;
    config.locate = [&at] {
        stream::location where;
        where.url = url_of(at);
        return where;
    };
    config.policy.max_delay = config.capture.retry.max_delay = minutes(30);
    start();
    const auto streamed = co_await new_session();
    const auto captured = co_await new_session();
    follow(streamed, follow_by::stream);
    follow(captured, follow_by::capture);
    co_await pass(seconds(5));
    leave(*host, elsewhere);
    co_await pass(minutes(20));
    at = elsewhere;
    co_await pass(seconds(6));
    for (const auto& id : {streamed, captured})
        BOOST_TEST(!server->follow(id, follow_by::capture).view().trouble.has_value());
    BOOST_TEST(server->follow(streamed, follow_by::capture).view().streamed);
    co_await end();
}

CO_TEST_CASE(a_stream_that_is_given_up_for_good_is_not_tried_again_before_a_wake, a_followed_server) {
    start();
    const auto id = co_await new_session();
    testing::fault forbidden;
    forbidden.what = testing::fault::kind::status;
    forbidden.status = 403;
    forbidden.times = testing::fault::always;
    host->model().inject(forbidden);
    const auto feed = follow(id, follow_by::stream);
    co_await pass(minutes(10));
    BOOST_TEST(host->model().stats().stream_requests == 1u);
    BOOST_TEST(feed.view().captured);
    host->model().clear_faults();
    server->wake();
    co_await pass(seconds(1));
    BOOST_TEST(feed.view().streamed);
    co_await end();
}

CO_TEST_CASE(where_there_is_no_time_for_all_each_session_has_its_turn, a_followed_server) {
    config.capture.concurrent = 2;
    config.capture.tick = seconds(1);
    start();
    std::vector<opencode::feed> feeds;
    for (int i = 0; i < 60; ++i)
        feeds.push_back(follow(co_await new_session(), follow_by::capture));
    co_await pass(seconds(60));
    world.net().latency(milliseconds(50));
    co_await pass(minutes(2));
    for (const auto& feed : feeds) {
        BOOST_TEST_REQUIRE(feed.view().seen.has_value());
        BOOST_TEST((world.time().now() - *feed.view().seen < seconds(20)));
    }
    world.net().latency({});
    co_await end();
}

CO_TEST_CASE(a_repair_that_failed_is_made_again_though_nothing_was_at_work, a_followed_server) {
    start();
    const auto id = co_await new_session();
    follow(id, follow_by::stream);
    co_await pass(seconds(2));
    host->model().cut_streams(world.time().now());
    host->pump();
    co_await pass(milliseconds(100));
    co_await somebody_prompts(id, "msg_1", "#plain");
    co_await pass(milliseconds(700));
    testing::fault broken;
    broken.what = testing::fault::kind::api_status;
    broken.status = 500;
    broken.times = 1;
    host->model().inject(broken);
    co_await pass(seconds(10));
    BOOST_TEST(told[id]->endings() == "msg_1 completed ");
    co_await end();
}

CO_TEST_CASE(a_server_that_is_gone_for_good_ends_all_feeds, a_followed_server) {
    bool gone = false;
    config.locate = [&gone] {
        stream::location where;
        where.url = url_of(here);
        where.what = gone ? stream::location::state::gone : stream::location::state::up;
        return where;
    };
    start();
    const auto streamed = co_await new_session();
    const auto captured = co_await new_session();
    follow(streamed, follow_by::stream);
    follow(captured, follow_by::capture);
    co_await pass(seconds(2));
    gone = true;
    host->model().cut_streams(world.time().now());
    host->pump();
    co_await pass(seconds(10));
    BOOST_TEST(told[streamed]->ended);
    BOOST_TEST(told[captured]->ended);
    co_await end();
}

CO_TEST_CASE(the_first_look_that_succeeds_ends_the_wait_of_all_others, a_followed_server) {
    start();
    const auto first = co_await new_session();
    const auto second = co_await new_session();
    const auto feed = follow(first, follow_by::capture);
    co_await pass(seconds(10));
    world.net().outage(here, memory_network::behaviour::refuse);
    co_await pass(minutes(5));
    const auto later_feed = follow(second, follow_by::capture);
    co_await pass(seconds(90));
    world.net().outage(here, std::nullopt);
    while (feed.view().trouble && later_feed.view().trouble)
        co_await pass(milliseconds(100));
    co_await pass(seconds(1));
    BOOST_TEST(!feed.view().trouble.has_value());
    BOOST_TEST(!later_feed.view().trouble.has_value());
    co_await end();
}

CO_TEST_CASE(no_more_looks_are_under_way_than_allowed, a_followed_server) {
    config.capture.concurrent = 2;
    start();
    for (int i = 0; i < 20; ++i)
        follow(co_await new_session("/dir" + std::to_string(i % 3)), follow_by::capture);
    world.net().latency(milliseconds(20));
    std::size_t most = 0;
    world.on_handler([&] { most = std::max(most, world.net().open_connections()); });
    co_await pass(seconds(20));
    world.on_handler({});
    BOOST_TEST(most == 2u);
    co_await end();
}

CO_TEST_CASE(what_many_short_turns_said_between_two_looks_is_told_though_another_runs, a_followed_server) {
    config.capture.tick = seconds(60);
    start();
    const auto id = co_await new_session();
    follow(id, follow_by::capture);
    co_await pass(seconds(2));
    for (int i = 0; i < 15; ++i) {
        co_await somebody_prompts(id, "msg_" + std::to_string(10 + i), "#plain");
        co_await pass(seconds(1));
    }
    co_await somebody_prompts(id, "msg_long", "#slow:4000");
    co_await pass(seconds(70));
    BOOST_TEST(told[id]->all<settlement>().size() == 15u);
    co_await end();
}

CO_TEST_CASE(a_stream_that_is_had_again_ends_the_wait_of_all_looks, a_followed_server) {
    config.policy.max_delay = seconds(30);
    start();
    const auto streamed = co_await new_session();
    const auto captured = co_await new_session("/elsewhere");
    const auto stream = follow(streamed, follow_by::stream);
    const auto looks = follow(captured, follow_by::capture);
    co_await pass(seconds(10));
    world.net().outage(here, memory_network::behaviour::refuse);
    host->model().cut_streams(world.time().now());
    host->pump();
    co_await pass(seconds(150));
    world.net().outage(here, std::nullopt);
    while (!stream.view().streamed)
        co_await pass(milliseconds(100));
    co_await pass(milliseconds(500));
    BOOST_TEST(!looks.view().trouble.has_value());
    co_await end();
}

CO_TEST_CASE(in_the_first_hour_a_server_that_is_back_is_noticed_within_the_longest_delay, a_followed_server) {
    config.policy.stretches = config.capture.retry.stretches = retry::long_outage_stretches();
    start();
    const auto id = co_await new_session();
    const auto feed = follow(id, follow_by::stream);
    for (const auto away : {seconds(150), seconds(1500), seconds(3400)}) {
        co_await pass(seconds(70));
        world.net().outage(here, memory_network::behaviour::refuse);
        host->model().cut_streams(world.time().now());
        host->pump();
        co_await pass(away);
        world.net().outage(here, std::nullopt);
        co_await pass(seconds(31));
        BOOST_TEST(feed.view().streamed, "after " << away.count() << " s");
    }
    co_await end();
}

CO_TEST_CASE(who_looks_at_a_session_is_told_no_time_that_is_none, a_followed_server) {
    start();
    const auto id = co_await new_session();
    const auto feed = follow(id, follow_by::capture);
    co_await pass(seconds(6));
    world.net().outage(here, memory_network::behaviour::refuse);
    co_await pass(seconds(30));
    const auto soon = [&](std::optional<time_point> at) {
        return at && *at >= world.time().now() && *at - world.time().now() <= seconds(60);
    };
    BOOST_TEST(soon(feed.view().next_try));
    server->wake();
    BOOST_TEST(soon(feed.view().next_try));
    co_await pass(seconds(5));
    world.net().outage(here, std::nullopt);
    host->model().set_password("another");
    server->wake();
    co_await pass(seconds(10));
    BOOST_TEST_REQUIRE(feed.view().trouble.has_value());
    BOOST_TEST(feed.view().trouble->status == 401);
    BOOST_TEST(!feed.view().next_try.has_value()); // not before a wake
    co_await end();
}

CO_TEST_CASE(a_server_that_restarts_with_another_password_settles_what_is_open_and_says_why,
             a_followed_server) {
    for (const auto how : {follow_by::stream, follow_by::capture, follow_by::activity}) {
        start();
        const auto id = co_await new_session();
        const auto feed = follow(id, how);
        co_await pass(seconds(6));
        co_await somebody_prompts(id, "msg_1", "#slow:4000");
        co_await pass(seconds(7));
        host->model().set_password("another");
        host->model().restart(world.time().now());
        host->pump();
        co_await pass(seconds(61)); // captures, whom the restart refuses first, wait 20 s and then 40 s
        BOOST_TEST(told[id]->endings() == "msg_1 lost ");
        const auto settlements = told[id]->all<settlement>();
        BOOST_TEST_REQUIRE(settlements.size() == 1u);
        BOOST_TEST_REQUIRE(settlements[0].error.has_value());
        BOOST_TEST(settlements[0].error->status == 401);
        BOOST_TEST(settlements[0].error->message ==
                   "authentication failed: the server rejected the user name or password");
        BOOST_TEST_REQUIRE(feed.view().trouble.has_value());
        BOOST_TEST(feed.view().trouble->message == settlements[0].error->message);
        host->model().set_password({}); // somebody puts it right
        server->wake();
        co_await pass(seconds(10));
        BOOST_TEST(!feed.view().trouble.has_value());
        BOOST_TEST(told[id]->endings() == "msg_1 lost ");
        co_await end();
        told.clear();
        server.reset();
        host->shut_down();
    }
}

CO_TEST_CASE(a_turn_at_a_stream_that_brings_heartbeats_only_is_told_within_a_minute, a_followed_server) {
    for (const bool global : {false, true}) {
        config.global_stream = global;
        start();
        const auto id = co_await new_session();
        const auto feed = follow(id, follow_by::stream);
        co_await pass(seconds(5));
        BOOST_TEST(feed.view().streamed);
        host->model().set_mute(true);
        struct row {
            const char* message;
            const char* text; // of 20 ms a word
        };
        for (const auto& each : {row{"msg_1", "#slow:1000"}, row{"msg_2", "#slow:4000"}}) {
            co_await pass(seconds(17));
            co_await somebody_prompts(id, each.message, each.text);
            co_await pass(seconds(61));
            const auto status = feed.view().status; // of one that is not over yet, a snapshot has no text
            const bool works = status && status->state == opencode::session_status::kind::busy;
            BOOST_TEST((works || !told[id]->text(each.message).empty()), each.message);
        }
        co_await pass(seconds(60));
        BOOST_TEST(told[id]->endings() == "msg_1 completed msg_2 completed ");
        BOOST_TEST(feed.view().streamed);
        co_await end();
        told.clear();
        server.reset();
        host->shut_down();
    }
}

CO_TEST_CASE(a_quiet_session_at_a_stream_costs_one_request_a_minute, a_followed_server) {
    start();
    const auto id = co_await new_session();
    const auto feed = follow(id, follow_by::stream);
    co_await pass(minutes(2));
    const auto before = host->model().stats().requests;
    co_await pass(minutes(10));
    BOOST_TEST(host->model().stats().requests - before <= 10u);
    co_await end();
}

CO_TEST_CASE(an_error_that_belongs_to_no_turn_is_in_the_log, a_followed_server) {
    start();
    const auto id = co_await new_session();
    follow(id, follow_by::stream);
    co_await pass(seconds(2));
    co_await somebody_prompts(id, "msg_1", "#error"); // its error is told by its settlement
    co_await pass(seconds(5));
    const auto strays = [&] {
        return std::count_if(world.logs().begin(), world.logs().end(),
                             [](const log_record& each) { return each.event == "session.error"; });
    };
    BOOST_TEST(strays() == 0);
    auto client = rest();
    auto what = test::text_prompt("msg_2", "#plain");
    what.agent = "nobody"; // no message, no status: two errors are all that comes
    const auto done = co_await client.prompt_async(id, std::move(what));
    BOOST_TEST_REQUIRE(done.has_value());
    co_await pass(seconds(5));
    BOOST_TEST(strays() >= 1);
    co_await end();
}

CO_TEST_CASE(that_a_session_was_archived_is_seen, a_followed_server) {
    start();
    const auto id = co_await new_session();
    const auto feed = follow(id, follow_by::stream);
    co_await pass(seconds(2));
    BOOST_TEST(!feed.view().info.archived_ms.has_value());
    host->model().archive_session(id);
    co_await pass(seconds(61));
    BOOST_TEST(feed.view().info.archived_ms.has_value());
    co_await end();
}

// --- who answers

CO_TEST_CASE(a_session_that_the_server_never_knew_ends_its_feed, a_followed_server) {
    start();
    const auto feed = follow("ses_unknown", follow_by::capture);
    co_await pass(seconds(1));
    BOOST_TEST(told["ses_unknown"]->ended);
    BOOST_TEST_REQUIRE(feed.view().trouble.has_value());
    BOOST_TEST((feed.view().trouble->code == errc::not_found));
    co_await end();
}

CO_TEST_CASE(a_session_that_is_deleted_ends_its_feed, a_followed_server) {
    start();
    for (const auto how : {follow_by::stream, follow_by::capture}) {
        const auto id = co_await new_session();
        follow(id, how);
        co_await pass(seconds(2));
        auto client = rest();
        const auto done = co_await client.delete_session(id);
        BOOST_TEST_REQUIRE(done.has_value());
        co_await pass(seconds(8));
        BOOST_TEST(told[id]->ended);
    }
    co_await end();
}

CO_TEST_CASE(another_server_on_the_same_port_is_not_taken_for_ours, a_followed_server) {
    start();
    const auto id = co_await new_session();
    other.emplace(world, aside, model);
    for (const auto how : {follow_by::stream, follow_by::capture}) {
        const auto feed = follow(id, how);
        co_await pass(seconds(3));
        leave(*host, elsewhere); // ours is gone, and then another one is there
        co_await pass(seconds(10));
        other->move_to(here);
        co_await pass(seconds(100));
        BOOST_TEST(!told[id]->ended);
        BOOST_TEST_REQUIRE(feed.view().trouble.has_value());
        BOOST_TEST((feed.view().trouble->code == errc::another_server), feed.view().trouble->message);
        leave(*other, aside);
        co_await pass(seconds(1));
        host->move_to(here);
        co_await pass(seconds(130));
        BOOST_TEST(!feed.view().trouble.has_value());
    }
    co_await end();
}

// --- several feeds

CO_TEST_CASE(who_follows_later_is_told_a_running_turn_from_its_beginning, a_followed_server) {
    start();
    const auto id = co_await new_session();
    const auto first = server->follow(id, follow_by::stream);
    co_await pass(seconds(1));
    co_await somebody_prompts(id, "msg_1", "#slow:100");
    co_await pass(seconds(1));
    follow(id, follow_by::capture);
    co_await pass(seconds(5));
    BOOST_TEST(told[id]->text("msg_1") == words(100));
    BOOST_TEST(told[id]->endings() == "msg_1 completed ");
    co_await end();
}

CO_TEST_CASE(a_feed_that_begins_after_the_server_was_stopped_ends_at_once, a_followed_server) {
    start();
    const auto id = co_await new_session();
    server->stop();
    co_await pass(seconds(1));
    follow(id, follow_by::capture);
    co_await pass(milliseconds(1));
    BOOST_TEST(told[id]->ended);
    co_await end();
}

CO_TEST_CASE(a_session_that_was_moved_while_nothing_ran_is_found_again, a_followed_server) {
    start();
    const auto id = co_await new_session("/one");
    follow(id, follow_by::stream);
    co_await pass(seconds(1));
    host->model().move_session(id, "/two");
    host->pump();
    co_await pass(seconds(61));
    co_await somebody_prompts(id, "msg_1", "#plain");
    co_await pass(seconds(5));
    BOOST_TEST(told[id]->endings() == "msg_1 completed ");
    co_await end();
}

CO_TEST_CASE(a_web_page_in_the_servers_place_ends_no_following, a_followed_server) {
    start();
    const auto id = co_await new_session();
    const auto feed = follow(id, follow_by::capture);
    co_await pass(seconds(6));
    testing::fault page;
    page.what = testing::fault::kind::web_page;
    host->model().inject(page);
    co_await pass(seconds(30));
    BOOST_TEST(!feed.view().trouble.has_value());
    co_await end();
}

// --- asks

CO_TEST_CASE(asks_are_answered_by_rule_for_the_session_and_its_children, a_followed_server) {
    opencode::ask_rule allow;
    allow.permission = "bash";
    allow.answer = opencode::ask_answer::once;
    config.ask_rules.push_back(allow);
    start();
    for (const std::string script : {"#ask", "#task:ask"}) {
        const auto id = co_await new_session();
        follow(id, follow_by::stream);
        co_await pass(seconds(1));
        co_await somebody_prompts(id, "msg_" + id, script);
        co_await pass(seconds(20));
        BOOST_TEST_CONTEXT(script) {
            BOOST_TEST(told[id]->endings() == "msg_" + id + " completed ");
        }
    }
    BOOST_TEST(count(metric::asks_answered_by_rule) == 2u);
    BOOST_TEST(count(metric::asks_waiting) == 0u);
    co_await end();
}

CO_TEST_CASE(a_rule_may_hold_for_children_alone, a_followed_server) {
    opencode::ask_rule allow;
    allow.depth = 1;
    allow.answer = opencode::ask_answer::once;
    config.ask_rules.push_back(allow);
    start();
    const auto own = co_await new_session();
    const auto with_child = co_await new_session();
    for (const auto& id : {own, with_child})
        follow(id, follow_by::stream);
    co_await pass(seconds(1));
    co_await somebody_prompts(own, "msg_own", "#ask");
    co_await somebody_prompts(with_child, "msg_child", "#task:ask");
    co_await pass(seconds(20));
    BOOST_TEST(told[own]->endings() == "");
    BOOST_TEST(told[with_child]->endings() == "msg_child completed ");
    BOOST_TEST(count(metric::asks_waiting) == 1u);
    co_await end();
}

CO_TEST_CASE(an_ask_may_be_rejected_by_rule, a_followed_server) {
    opencode::ask_rule reject;
    reject.answer = opencode::ask_answer::reject;
    config.ask_rules.push_back(reject);
    start();
    const auto id = co_await new_session();
    follow(id, follow_by::stream);
    co_await pass(seconds(1));
    co_await somebody_prompts(id, "msg_1", "#ask");
    co_await pass(seconds(20));
    BOOST_TEST(told[id]->endings() == "msg_1 rejected ");
    co_await end();
}

// --- limits

CO_TEST_CASE(a_turn_that_passes_a_limit_is_aborted_and_its_settlement_names_it, a_followed_server) {
    struct limited {
        opencode::turn_limits limits;
        std::string script;
        turn_limit passed;
    };
    std::vector<limited> table(4);
    table[0] = {{.deadline = seconds(5)}, "#slow:1000", turn_limit::deadline};
    table[1] = {{.no_progress = seconds(5)}, "#silent", turn_limit::no_progress};
    table[2] = {{.tokens = 1}, "#ask", turn_limit::tokens};
    table[3] = {{.deadline = std::chrono::hours(1),
                 .no_progress = std::chrono::hours(1),
                 .tokens = 1'000'000'000,
                 .cost = 1e9},
                "#slow:20",
                turn_limit::none};
    start();
    auto made = co_await server->create_session();
    BOOST_TEST_REQUIRE(made.has_value());
    for (const auto& each : table) {
        auto turn = co_await made->prompt(each.script);
        turn.limit(each.limits);
        std::optional<settlement> end;
        while (auto event = co_await turn.next()) {
            if (auto* ask = std::get_if<opencode::permission_event>(&*event); ask && !ask->reply)
                (void)co_await turn.reply_permission(ask->request.id, "once");
            if (auto* how = std::get_if<settlement>(&*event))
                end = *how;
        }
        BOOST_TEST_CONTEXT(each.script) {
            BOOST_TEST_REQUIRE(end.has_value());
            BOOST_TEST(to_string(end->limit) == to_string(each.passed));
            BOOST_TEST(to_string(end->outcome) ==
                       (each.passed == turn_limit::none ? "completed" : "aborted"));
        }
        co_await pass(seconds(1));
    }
    co_await end();
}

CO_TEST_CASE(a_turn_past_its_deadline_that_cannot_be_aborted_is_lost_after_a_while, a_followed_server) {
    config.limits_of_turns.deadline = seconds(5);
    config.limits_of_turns.abort_patience = seconds(8);
    start();
    auto made = co_await server->create_session();
    BOOST_TEST_REQUIRE(made.has_value());
    auto turn = co_await made->prompt("#slow:3000");
    const auto posted = world.time().now();
    world.net().outage(here, memory_network::behaviour::hang);
    std::optional<settlement> end;
    while (auto event = co_await turn.next())
        if (auto* how = std::get_if<settlement>(&*event))
            end = *how;
    BOOST_TEST_REQUIRE(end.has_value());
    BOOST_TEST(to_string(end->outcome) == "lost");
    BOOST_TEST(to_string(end->limit) == "deadline");
    BOOST_TEST(to_ms(world.time().now() - posted) == 13'000);
    world.net().outage(here, std::nullopt);
    co_await this->end();
}

// A provider that gives no finish reason is asked again and again.
CO_TEST_CASE(a_turn_that_takes_more_steps_than_allowed_is_aborted_and_tells_how_many_it_took,
             a_followed_server) {
    config.limits_of_turns.max_steps = 5;
    start();
    auto made = co_await server->create_session();
    BOOST_TEST_REQUIRE(made.has_value());
    for (const std::string script : {"#nofinish:5", "#nofinish"}) {
        auto turn = co_await made->prompt(script);
        std::optional<settlement> end;
        while (auto event = co_await turn.next())
            if (auto* how = std::get_if<settlement>(&*event))
                end = *how;
        const bool is_endless = script == "#nofinish";
        BOOST_TEST_CONTEXT(script) {
            BOOST_TEST_REQUIRE(end.has_value());
            BOOST_TEST(to_string(end->limit) == (is_endless ? "max_steps" : "none"));
            BOOST_TEST(to_string(end->outcome) == (is_endless ? "aborted" : "completed"));
            BOOST_TEST(end->usage.steps >= (is_endless ? 6u : 5u));
            BOOST_TEST(end->usage.steps <= (is_endless ? 8u : 5u));
            BOOST_TEST(end->usage.tokens.input >= 55u);
        }
        co_await pass(seconds(3));
    }
    co_await end();
}

CO_TEST_CASE(a_wait_of_a_day_for_the_models_provider_ends_a_turn_that_allows_a_minute, a_followed_server) {
    start();
    auto made = co_await server->create_session();
    BOOST_TEST_REQUIRE(made.has_value());
    opencode::turn_limits limits;
    limits.retry_wait = minutes(1);
    for (const auto* script : {"#throttle:59", "#throttle:86400"}) {
        const auto began = world.time().now();
        auto turn = co_await made->prompt(script);
        turn.limit(limits);
        std::optional<settlement> end;
        while (auto event = co_await turn.next())
            if (auto* how = std::get_if<settlement>(&*event))
                end = *how;
        const bool is_long = script == std::string("#throttle:86400");
        BOOST_TEST_CONTEXT(script) {
            BOOST_TEST_REQUIRE(end.has_value());
            BOOST_TEST(to_string(end->limit) == (is_long ? "retry_wait" : "none"));
            BOOST_TEST(to_string(end->outcome) == (is_long ? "aborted" : "completed"));
            BOOST_TEST((world.time().now() - began < minutes(2)));
        }
        co_await pass(seconds(3));
    }
    co_await end();
}

CO_TEST_CASE(limits_hold_for_turns_that_somebody_else_prompts, a_followed_server) {
    config.limits_of_turns.deadline = seconds(5);
    start();
    for (const auto how : {follow_by::stream, follow_by::capture}) {
        const auto id = co_await new_session();
        follow(id, how);
        co_await pass(seconds(1));
        co_await somebody_prompts(id, "msg_" + id, "#slow:3000");
        co_await pass(seconds(25));
        BOOST_TEST(told[id]->endings() == "msg_" + id + " aborted ");
        const auto ends = told[id]->all<settlement>();
        BOOST_TEST_REQUIRE(ends.size() == 1u);
        BOOST_TEST(to_string(ends[0].limit) == "deadline");
    }
    co_await end();
}

// --- ends

CO_TEST_CASE(following_at_a_server_that_was_stopped_ends_at_once, a_followed_server) {
    start();
    const auto id = co_await new_session();
    server->stop();
    co_await pass(seconds(1));
    follow(id, follow_by::stream);
    co_await pass(seconds(1));
    BOOST_TEST(told[id]->ended);
    co_await end();
}

CO_TEST_CASE(a_feed_that_is_let_go_of_ends_its_looks_and_its_stream, a_followed_server) {
    start();
    const auto id = co_await new_session();
    {
        const auto streaming = server->follow(id, follow_by::stream);
        const auto looking = server->follow(id, follow_by::capture);
        co_await pass(seconds(10));
        BOOST_TEST(host->model().stats().open_streams == 1u);
    }
    co_await pass(seconds(1));
    BOOST_TEST(host->model().stats().open_streams == 0u);
    const auto before = host->model().stats().requests;
    co_await pass(seconds(60));
    BOOST_TEST(host->model().stats().requests == before);
    BOOST_TEST(count(metric::sessions_held) == 0u);
    co_await end();
}

CO_TEST_CASE(what_is_begun_after_the_stop_keeps_nothing_alive, a_followed_server) {
    start();
    const auto id = co_await new_session();
    {
        auto opened = co_await server->open_session(id);
        BOOST_TEST_REQUIRE(opened.has_value());
        server->stop();
        co_await pass(seconds(1));
        host->model().move_session(id, "/elsewhere");
        auto turn = co_await opened->prompt("#plain");
        auto again = co_await server->open_session(id);
        BOOST_TEST_REQUIRE(!again.has_value());
        BOOST_TEST((again.error().code == errc::closed));
    }
    co_await end();
    server.reset();
    world.settle();
    BOOST_TEST(count(metric::sessions_held) == 0u);
}

CO_TEST_CASE(gauges_are_zero_when_all_has_ended, a_followed_server) {
    start();
    const auto id = co_await new_session();
    follow(id, follow_by::stream);
    co_await pass(seconds(1));
    co_await somebody_prompts(id, "msg_1", "#ask");
    co_await pass(seconds(2));
    BOOST_TEST(count(metric::turns_open) == 1u);
    BOOST_TEST(count(metric::asks_waiting) == 1u);
    BOOST_TEST(count(metric::sessions_held) == 1u);
    co_await end();
    told.clear();
    server.reset();
    world.settle();
    BOOST_TEST(count(metric::turns_open) == 0u);
    BOOST_TEST(count(metric::asks_waiting) == 0u);
    BOOST_TEST(count(metric::sessions_held) == 0u);
    BOOST_TEST(count(metric::sessions_captured) == 0u);
}
