// What a program that embeds the library may get wrong, or ask for late: each has an answer, and none is a
// request to a server that is stopped, or a hammer on one that is dead. In virtual time.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/mailbox.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/stream/event_hub.hpp>
#include <holdfast/testing/sim_host.hpp>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

using namespace holdfast;
using opencode::permission_event;
using opencode::settlement;
using testing::opencode_sim;

namespace {

const endpoint here("http", "127.0.0.1", 4096);
const endpoint silent("http", "127.0.0.1", 4097);

struct an_embedder : test::in_simulated_world {
    opencode::server_config config;
    std::optional<testing::sim_host> host;
    std::optional<opencode::server> server;
    std::optional<task_scope> tasks;
    std::size_t misuses = 0;

    /// A server that is there; `run` spawns its run().
    void start(bool run = true) {
        world.net().latency(milliseconds(5));
        host.emplace(world, here);
        server.emplace(world.rt(), to_string(here), config);
        tasks.emplace(world.rt(), [this](const std::exception_ptr& error) {
            try {
                std::rethrow_exception(error);
            } catch (const std::logic_error& e) {
                BOOST_TEST(std::string(e.what()).size() > 20u);
                ++misuses;
            }
        });
        if (run)
            tasks->spawn(server->run());
    }

    net::awaitable<void> end() {
        server->stop();
        co_await tasks->join();
    }

    void finish() {
        server.reset();
        if (host)
            host->shut_down();
        host.reset();
        world.settle();
    }

    net::awaitable<opencode::session> new_session() {
        auto made = co_await server->create_session();
        BOOST_TEST_REQUIRE(made.has_value());
        co_return std::move(*made);
    }

    net::awaitable<settlement> ending_of(opencode::turn& turn) {
        settlement how;
        while (auto event = co_await turn.next())
            if (auto* end = std::get_if<settlement>(&*event))
                how = std::move(*end);
        co_return how;
    }

    std::size_t attempts() { return world.net().attempts(here); }

    template <class Handle>
    static net::awaitable<void> wait_for(Handle& who) {
        (void)co_await who.next();
    }
};

void check_closed(const failure& why) {
    BOOST_TEST((why.code == errc::closed), why.message);
}

} // namespace

// --- what a rule decides

CO_TEST_CASE(what_a_rule_decides_is_delivered_once_and_its_owner_cannot_reply_otherwise, an_embedder) {
    opencode::ask_rule reject;
    reject.answer = opencode::ask_answer::reject;
    config.ask_rules.push_back(reject);
    start();
    auto session = co_await new_session();
    for (int n = 0; n < 20; ++n) {
        const std::string text = n % 2 == 0 ? "#ask" : "#task:ask";
        auto turn = co_await session.prompt(text);
        std::vector<permission_event> all;
        settlement how;
        while (auto event = co_await turn.next()) {
            if (auto* end = std::get_if<settlement>(&*event))
                how = std::move(*end);
            if (auto* ask = std::get_if<permission_event>(&*event)) {
                all.push_back(*ask);
                const auto done = co_await turn.reply_permission(ask->request.id, "once");
                BOOST_TEST_REQUIRE(!done.has_value());
                BOOST_TEST((done.error().code == errc::decided), done.error().message);
            }
        }
        BOOST_TEST_REQUIRE(all.size() == 1u);
        BOOST_TEST(all[0].by_rule);
        BOOST_TEST((all[0].reply == "reject"));
        if (n % 2 == 0)
            BOOST_TEST(to_string(how.outcome) == "rejected");
    }
    BOOST_TEST(world.rt().value(metric::asks_answered_by_rule) == 20u);
    BOOST_TEST(world.rt().value(metric::asks_waiting) == 0u);
    co_await end();
}

CO_TEST_CASE(who_follows_receives_a_decision_once_too, an_embedder) {
    opencode::ask_rule allow;
    allow.answer = opencode::ask_answer::once;
    config.ask_rules.push_back(allow);
    start();
    auto session = co_await new_session();
    auto feed = server->follow(session.id(), opencode::follow_by::stream);
    auto turn = co_await session.prompt("#ask");
    const auto how = co_await ending_of(turn);
    BOOST_TEST(to_string(how.outcome) == "completed");
    std::size_t asks = 0;
    while (auto event = feed.try_next())
        if (const auto* ask = std::get_if<permission_event>(&event->event)) {
            ++asks;
            BOOST_TEST(ask->by_rule);
            BOOST_TEST((ask->reply == "once"));
        }
    BOOST_TEST(asks == 1u);
    co_await end();
}

CO_TEST_CASE(what_no_rule_decides_is_the_owners, an_embedder) {
    opencode::ask_rule rule;
    rule.permission = "no_such_permission";
    rule.answer = opencode::ask_answer::reject;
    config.ask_rules.push_back(rule);
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#ask");
    std::size_t told = 0;
    while (auto event = co_await turn.next())
        if (auto* ask = std::get_if<permission_event>(&*event)) {
            ++told;
            BOOST_TEST(!ask->by_rule);
            if (ask->reply)
                continue;
            const auto done = co_await turn.reply_permission(ask->request.id, "once");
            BOOST_TEST(done.has_value());
        }
    BOOST_TEST(told == 2u);
    co_await end();
}

// --- a dead server

CO_TEST_CASE(who_reprompts_as_the_settlement_allows_does_not_hammer_a_dead_server, an_embedder) {
    start();
    world.net().behave(here, testing::memory_network::behaviour::refuse);
    const auto before = attempts();
    const auto begun = world.rt().now();
    std::size_t prompts = 0;
    for (; world.rt().now() - begun < std::chrono::minutes(60) && prompts < 1000; ++prompts) {
        auto turn = co_await server->prompt("#plain");
        const auto how = co_await ending_of(turn);
        BOOST_TEST((how.safe_to_reprompt == opencode::reprompt::yes));
        BOOST_TEST(how.error->cls == "refused");
    }
    BOOST_TEST(prompts < 100u);
    BOOST_TEST(attempts() - before < 600u);
    co_await end();
}

CO_TEST_CASE(a_prompt_waits_for_a_server_that_comes_back, an_embedder) {
    start();
    host->model().kill(world.time().now());
    host->pump();
    tasks->spawn([](an_embedder& me) -> net::awaitable<void> {
        co_await me.world.rt().sleep_for(seconds(20));
        me.host->model().start(me.world.time().now());
        me.host->pump();
    }(*this));
    auto turn = co_await server->prompt("#plain");
    const auto how = co_await ending_of(turn);
    BOOST_TEST(to_string(how.outcome) == "completed");
    co_await end();
}

CO_TEST_CASE(stopping_ends_the_wait_of_a_prompt, an_embedder) {
    start();
    world.net().behave(here, testing::memory_network::behaviour::refuse);
    tasks->spawn([](an_embedder& me) -> net::awaitable<void> {
        co_await me.world.rt().sleep_for(seconds(20));
        me.server->stop();
    }(*this));
    const auto begun = world.rt().now();
    auto turn = co_await server->prompt("#plain");
    BOOST_TEST((world.rt().now() - begun == seconds(20)));
    const auto how = co_await ending_of(turn);
    BOOST_TEST((how.rule == opencode::rule::not_posted));
    BOOST_TEST(how.error->message.find("stopped") != std::string::npos);
    co_await end();
}

// --- after stop()

CO_TEST_CASE(nothing_is_asked_for_after_stop, an_embedder) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#ask");
    auto feed = server->follow(session.id(), opencode::follow_by::stream);
    co_await world.rt().sleep_for(seconds(2));
    for (const bool at_once : {true, false}) {
        server->stop();
        if (!at_once)
            co_await tasks->join();
        const auto before = attempts();
        auto done = co_await turn.abort();
        check_closed(done.error());
        done = co_await turn.reply_permission("per_1", "once");
        check_closed(done.error());
        done = co_await turn.reply_question("que_1", {});
        check_closed(done.error());
        done = co_await turn.reject_question("que_1");
        check_closed(done.error());
        done = co_await session.abort();
        check_closed(done.error());
        done = co_await feed.abort();
        check_closed(done.error());
        done = co_await feed.reply_permission("per_1", "once");
        check_closed(done.error());
        const auto made = co_await server->create_session();
        check_closed(made.error());
        const auto opened = co_await server->open_session(session.id());
        check_closed(opened.error());
        const auto ready = co_await server->ready();
        check_closed(ready.error());
        auto late = co_await session.prompt("#plain");
        auto how = co_await ending_of(late);
        BOOST_TEST((how.rule == opencode::rule::not_posted));
        auto later = co_await server->prompt("#plain");
        how = co_await ending_of(later);
        BOOST_TEST((how.rule == opencode::rule::not_posted));
        auto adopted = co_await session.adopt("msg_1");
        how = co_await ending_of(adopted);
        BOOST_TEST(to_string(how.outcome) == "detached");
        BOOST_TEST(attempts() == before);
    }
    co_await end();
}

CO_TEST_CASE(destroying_the_server_object_stops_the_server, an_embedder) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:1000");
    server.reset();
    co_await tasks->join();
    const auto how = co_await ending_of(turn);
    BOOST_TEST(to_string(how.outcome) == "detached");
}

// --- misuse

CO_TEST_CASE(a_server_that_does_not_run_says_so, an_embedder) {
    start(false);
    tasks->spawn([](opencode::server& one) -> net::awaitable<void> {
        (void)co_await one.prompt("#plain");
    }(*server));
    tasks->spawn([](opencode::server& one) -> net::awaitable<void> {
        (void)co_await one.create_session();
    }(*server));
    tasks->spawn([](opencode::server& one) -> net::awaitable<void> {
        (void)co_await one.open_session("ses_1");
    }(*server));
    co_await tasks->join();
    BOOST_TEST(misuses == 3u);
    BOOST_TEST(attempts() == 0u);
}

CO_TEST_CASE(run_may_be_spawned_after_what_needs_it, an_embedder) {
    start(false);
    std::optional<opencode::turn> turn;
    tasks->spawn([](opencode::server& one, std::optional<opencode::turn>& into) -> net::awaitable<void> {
        auto made = co_await one.prompt("#plain");
        into = std::move(made);
    }(*server, turn));
    tasks->spawn(server->run());
    co_await world.rt().sleep_for(seconds(10));
    BOOST_TEST(misuses == 0u);
    BOOST_TEST_REQUIRE(turn.has_value());
    const auto how = co_await ending_of(*turn);
    BOOST_TEST(to_string(how.outcome) == "completed");
    co_await end();
}

CO_TEST_CASE(a_second_call_of_next_says_so, an_embedder) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#silent");
    auto feed = server->follow(session.id(), opencode::follow_by::stream);
    stream::source_config at;
    at.locate = [] {
        stream::location now;
        now.url = *http::parse_url(to_string(here) + "/event");
        return now;
    };
    std::optional<stream::event_source> source;
    source.emplace(world.rt(), at);
    co_await world.rt().sleep_for(seconds(2));
    while (turn.try_next() || feed.try_next())
        ;
    while (source->try_next())
        ;
    for (int n = 0; n < 2; ++n) {
        tasks->spawn(wait_for(turn));
        tasks->spawn(wait_for(feed));
        tasks->spawn(wait_for(*source));
    }
    co_await world.rt().sleep_for(milliseconds(1));
    BOOST_TEST(misuses == 3u);
    source.reset(); // with a call pending, which ends
    co_await end();
    BOOST_TEST(misuses == 3u);
}

CO_TEST_CASE(a_source_or_a_mailbox_may_be_destroyed_while_a_call_is_pending, an_embedder) {
    for (const auto how :
         {testing::memory_network::behaviour::hang, testing::memory_network::behaviour::refuse}) {
        world.net().behave(silent, how);
        stream::source_config at;
        at.locate = [] {
            stream::location now;
            now.url = *http::parse_url(to_string(silent) + "/event");
            return now;
        };
        std::optional<stream::event_source> source;
        source.emplace(world.rt(), at);
        std::optional<mailbox<int>> letters;
        letters.emplace(world.rt());
        std::size_t nothing = 0;
        task_scope readers(world.rt(),
                           [](const std::exception_ptr& error) { std::rethrow_exception(error); });
        readers.spawn([](stream::event_source& from, std::size_t& count) -> net::awaitable<void> {
            auto pending = from.next();
            auto item = co_await std::move(pending);
            while (item && item->what == stream::item::kind::interrupted) {
                auto again = from.next();
                item = co_await std::move(again);
            }
            count += item ? 0 : 1;
        }(*source, nothing));
        readers.spawn([](mailbox<int>& from, std::size_t& count) -> net::awaitable<void> {
            count += (co_await from.take()) ? 0 : 1;
        }(*letters, nothing));
        co_await world.rt().sleep_for(milliseconds(1500));
        source.reset();
        letters.reset();
        co_await readers.join();
        BOOST_TEST(nothing == 2u);
    }
}

BOOST_FIXTURE_TEST_CASE(what_cannot_work_is_refused_at_construction, test::in_simulated_world) {
    BOOST_CHECK_THROW(stream::event_source(world.rt(), stream::source_config()), std::logic_error);
    task_scope scope(world.rt(), {});
    stream::hub_config config;
    BOOST_CHECK_THROW(stream::event_hub(world.rt(), scope, config), std::logic_error);
    config.source.locate = [] {
        return stream::location();
    };
    BOOST_CHECK_THROW(stream::event_hub(world.rt(), scope, config), std::logic_error);
    BOOST_CHECK_THROW(runtime(world.io().get_executor(), nullptr, nullptr, 1), std::logic_error);
    BOOST_CHECK_THROW(runtime(net::any_io_executor(), log_sink()), std::logic_error);
    BOOST_CHECK_THROW(opencode::server(world.rt(), "no URL"), boost::system::system_error);
}
