// Servers, sessions and turns in virtual time, against the simulated OpenCode server.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/held_sim.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/runtime/with_deadline.hpp>
#include <holdfast/testing/sim_host.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <variant>
#include <vector>

using namespace holdfast;
using opencode::agent_event;
using opencode::outcome;
using opencode::reprompt;
using opencode::rule;
using opencode::settlement;
using testing::opencode_sim;

namespace {

const endpoint here{"http", "127.0.0.1", 4096};
const endpoint elsewhere{"http", "127.0.0.1", 4097};

http::url url_of(const endpoint& where) {
    return *http::parse_url(to_string(where));
}

/// All that the owner of a turn was told.
struct told {
    std::vector<agent_event> events;

    template <class E>
    std::vector<E> all() const {
        std::vector<E> found;
        for (const auto& each : events)
            if (const auto* one = std::get_if<E>(&each))
                found.push_back(*one);
        return found;
    }
    std::string text() const {
        std::string text;
        for (const auto& each : all<opencode::text_event>())
            text += each.delta;
        return text;
    }
    /// How it ended, in words for a failed check.
    std::string ending() const {
        const auto how = end();
        return std::string(to_string(how.outcome)) + " by " + std::string(to_string(how.rule)) + " at " +
               how.event;
    }
    /// The one settlement, which must be the last.
    settlement end() const {
        BOOST_TEST_REQUIRE(all<settlement>().size() == 1u);
        BOOST_TEST_REQUIRE(std::holds_alternative<settlement>(events.back()));
        return std::get<settlement>(events.back());
    }
};

struct held_server : test::held_sim {
    net::awaitable<told> hear(opencode::turn& turn) {
        told all;
        while (auto event = co_await turn.next())
            all.events.push_back(std::move(*event));
        co_return all;
    }

    net::awaitable<told> run_turn(opencode::session& session, std::string prompt) {
        auto turn = co_await session.prompt(std::move(prompt));
        co_return co_await hear(turn);
    }

    net::awaitable<bool> post(opencode::session& session) {
        (void)co_await session.prompt("#slow:30");
        co_return true;
    }

    const opencode_sim::turn_truth truth_of(const std::string& message) {
        for (auto& each : host->model().truth())
            if (each.message == message)
                return each;
        BOOST_FAIL("the server knows no prompt " << message);
        throw;
    }
};

std::string words(int n) {
    std::string text;
    for (int i = 0; i < n; ++i)
        text += 'w' + std::to_string(i) + ' ';
    return text;
}

} // namespace

// --- plain turns

CO_TEST_CASE(a_plain_turn_is_told_once_and_completes, held_server) {
    start();
    auto session = co_await new_session();
    const auto all = co_await run_turn(session, "#plain");
    BOOST_TEST(all.text() == "Hello from the simulated model.");
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    BOOST_TEST((all.end().rule == rule::message_finished));
    BOOST_TEST(all.end().text == all.text());
    co_await end();
}

CO_TEST_CASE(a_prompt_without_a_session_gets_one_of_its_own, held_server) {
    start();
    auto turn = co_await server->prompt("#plain");
    BOOST_TEST(!turn.session_id().empty());
    const auto all = co_await hear(turn);
    BOOST_TEST(all.text() == "Hello from the simulated model.");
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    co_await end();
}

CO_TEST_CASE(a_prompt_that_can_have_no_session_is_a_turn_that_was_not_posted, held_server) {
    start();
    world.net().behave(here, testing::memory_network::behaviour::refuse);
    auto turn = co_await server->prompt("#plain");
    BOOST_TEST(turn.session_id().empty());
    BOOST_TEST(!turn.posted());
    const auto all = co_await hear(turn);
    BOOST_TEST(all.events.size() == 1u);
    BOOST_TEST(to_string(all.end().outcome) == "failed", all.ending());
    BOOST_TEST((all.end().rule == rule::not_posted));
    BOOST_TEST((all.end().safe_to_reprompt == reprompt::yes));
    BOOST_TEST(all.end().error->cls == "refused");
    co_await end();
}

CO_TEST_CASE(a_session_holds_one_turn_after_another_on_one_stream, held_server) {
    start();
    auto session = co_await new_session();
    for (int i = 0; i < 5; ++i)
        BOOST_TEST(((co_await run_turn(session, "#plain")).end().outcome == outcome::completed));
    BOOST_TEST(host->model().stats().stream_requests == 1u);
    co_await end();
}

CO_TEST_CASE(sessions_of_one_directory_share_one_stream_and_hear_only_their_own, held_server) {
    start();
    std::vector<opencode::session> sessions;
    std::vector<opencode::turn> turns;
    for (int i = 0; i < 8; ++i)
        sessions.push_back(co_await new_session());
    for (int i = 0; i < 8; ++i) {
        auto turn = co_await sessions[i].prompt("#slow:" + std::to_string(10 + i));
        turns.push_back(std::move(turn));
    }
    for (int i = 0; i < 8; ++i)
        BOOST_TEST((co_await hear(turns[i])).text() == words(10 + i));
    BOOST_TEST(host->model().stats().stream_requests == 1u);
    turns.clear();
    sessions.clear();
    co_await end();
}

CO_TEST_CASE(one_global_stream_serves_all_directories, held_server) {
    config.global_stream = true;
    start();
    auto first = (co_await server->create_session({}, "/one")).value();
    auto second = (co_await server->create_session({}, "/two")).value();
    BOOST_TEST((co_await run_turn(first, "#plain")).text() == "Hello from the simulated model.");
    BOOST_TEST((co_await run_turn(second, "#plain")).text() == "Hello from the simulated model.");
    BOOST_TEST(host->model().stats().stream_requests == 1u);
    co_await end();
}

// --- outages

CO_TEST_CASE(wherever_the_stream_is_cut_the_text_has_no_hole_and_no_repeat, held_server) {
    start();
    auto session = co_await new_session();
    for (int delay = 10; delay < 900; delay += 37) {
        auto turn = co_await session.prompt("#slow:30");
        co_await world.rt().sleep_for(milliseconds(delay));
        host->model().cut_streams(world.time().now());
        host->pump();
        const auto all = co_await hear(turn);
        BOOST_TEST_CONTEXT("cut after " << delay << " ms") {
            BOOST_TEST(all.text() == words(30));
            BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
            BOOST_TEST(truth_of(turn.message_id()).model_runs == 1);
        }
        co_await world.rt().sleep_for(seconds(61)); // stable again: the cuts do not add up
    }
    co_await end();
}

CO_TEST_CASE(an_end_that_is_missed_is_had_by_a_snapshot, held_server) {
    config.policy.base_delay = seconds(4);
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:20");
    co_await world.rt().sleep_for(milliseconds(150));
    host->model().cut_streams(world.time().now());
    host->model().refuse(seconds(3), world.time().now());
    host->pump();
    const auto all = co_await hear(turn);
    BOOST_TEST(all.text() == words(20));
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    BOOST_TEST(all.end().event == "snapshot");
    BOOST_TEST(!all.all<opencode::gap_event>().empty());
    co_await end();
}

CO_TEST_CASE(a_server_that_restarts_in_mid_turn_loses_it_and_takes_the_next, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:200");
    co_await world.rt().sleep_for(milliseconds(300));
    host->model().restart(world.time().now());
    host->pump();
    const auto all = co_await hear(turn);
    BOOST_TEST(to_string(all.end().outcome) == "lost", all.ending());
    BOOST_TEST((all.end().rule == rule::unfinished));
    BOOST_TEST(((co_await run_turn(session, "#plain")).end().outcome == outcome::completed));
    co_await end();
}

CO_TEST_CASE(a_silent_server_is_found_by_the_stall_timeout, held_server) {
    config.stall_timeout = seconds(20);
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:30");
    co_await world.rt().sleep_for(milliseconds(200));
    host->model().stall_streams();
    const auto begun = world.time().now();
    const auto all = co_await hear(turn);
    BOOST_TEST(all.text() == words(30));
    BOOST_TEST((all.all<opencode::interrupted_event>().front().failure.cls == failure_class::stall));
    BOOST_TEST((world.time().now() - begun < seconds(23)));
    co_await end();
}

CO_TEST_CASE(a_mute_stream_is_caught_by_asking_the_server, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:30");
    co_await world.rt().sleep_for(milliseconds(200));
    host->model().set_mute(true); // heartbeats go on
    const auto all = co_await hear(turn);
    BOOST_TEST(all.text() == words(30));
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    BOOST_TEST(all.end().event == "snapshot");
    co_await end();
}

CO_TEST_CASE(a_frozen_server_is_found_by_deadlines_and_goes_on_afterwards, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:30");
    co_await world.rt().sleep_for(milliseconds(200));
    host->model().set_frozen(true, world.time().now());
    co_await world.rt().sleep_for(seconds(75));
    host->model().set_frozen(false, world.time().now());
    host->pump();
    const auto all = co_await hear(turn);
    BOOST_TEST(all.text() == words(30));
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    co_await end();
}

CO_TEST_CASE(a_server_that_stays_away_is_given_up_after_the_schedule_and_the_turn_is_lost, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:100");
    co_await world.rt().sleep_for(milliseconds(200));
    const auto killed = world.time().now();
    host->model().kill(killed);
    host->pump();
    const auto all = co_await hear(turn);
    BOOST_TEST(to_string(all.end().outcome) == "lost", all.ending());
    BOOST_TEST((all.end().rule == rule::gave_up));
    BOOST_TEST((all.end().safe_to_reprompt == reprompt::unknown));
    BOOST_TEST(all.all<opencode::interrupted_event>().size() >= 6u);
    const auto took = world.time().now() - killed;
    BOOST_TEST((took >= seconds(61) && took < seconds(63)), "gave up after " << to_ms(took) << " ms");
    // The next prompt makes a new stream when the server is back.
    host->model().start(world.time().now());
    host->pump();
    co_await world.rt().sleep_for(seconds(5));
    BOOST_TEST(((co_await run_turn(session, "#plain")).end().outcome == outcome::completed));
    co_await end();
}

CO_TEST_CASE(a_stream_that_cannot_be_had_is_not_a_server_that_cannot_be_asked, held_server) {
    config.policy.base_delay = seconds(20);
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:20");
    co_await world.rt().sleep_for(milliseconds(200));
    for (int i = 0; i < 20; ++i)
        host->model().inject(testing::parse_fault("status@500").value());
    host->model().cut_streams(world.time().now());
    host->pump();
    const auto all = co_await hear(turn);
    BOOST_TEST(all.text() == words(20));
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    BOOST_TEST(all.end().event == "snapshot");
    co_await end();
}

CO_TEST_CASE(a_server_that_moves_is_found_where_the_caller_says, held_server) {
    endpoint where = here;
    config.locate = [&where] {
        stream::location told;
        told.url = url_of(where);
        return told;
    };
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:30");
    co_await world.rt().sleep_for(milliseconds(200));
    host->model().cut_streams(world.time().now());
    host->pump();
    host->move_to(elsewhere);
    where = elsewhere;
    const auto all = co_await hear(turn);
    BOOST_TEST(all.text() == words(30));
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    co_await end();
}

CO_TEST_CASE(a_server_that_is_gone_settles_its_turns_as_lost, held_server) {
    auto state = stream::location::state::up;
    config.locate = [&state] {
        return stream::location{state, url_of(here)};
    };
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:100");
    co_await world.rt().sleep_for(milliseconds(200));
    state = stream::location::state::gone;
    host->model().kill(world.time().now());
    host->pump();
    const auto all = co_await hear(turn);
    BOOST_TEST(to_string(all.end().outcome) == "lost", all.ending());
    BOOST_TEST((all.end().rule == rule::server_gone));
    co_await end();
}

// --- posting

CO_TEST_CASE(a_prompt_whose_answer_was_lost_runs_the_model_once, held_server) {
    start();
    auto session = co_await new_session();
    (void)co_await run_turn(session, "#plain");
    host->model().inject(testing::parse_fault("drop-answer").value());
    auto turn = co_await session.prompt("#slow:10");
    const auto all = co_await hear(turn);
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    BOOST_TEST(truth_of(turn.message_id()).model_runs == 1);
    co_await end();
}

CO_TEST_CASE(a_prompt_to_a_dead_server_is_failed_and_safe_to_repeat, held_server) {
    config.policy.max_attempts = 2;
    start();
    auto session = co_await new_session();
    host->model().kill(world.time().now());
    host->pump();
    auto turn = co_await session.prompt("#plain");
    BOOST_TEST(!turn.posted());
    const auto end_of_it = (co_await hear(turn)).end();
    BOOST_TEST((end_of_it.outcome == outcome::failed));
    BOOST_TEST((end_of_it.rule == rule::not_posted));
    BOOST_TEST((end_of_it.safe_to_reprompt == reprompt::yes));
    co_await end();
}

// --- aborts, asks, children

CO_TEST_CASE(after_an_abort_nothing_is_handed_out_but_the_settlement, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:200");
    co_await world.rt().sleep_for(milliseconds(500));
    BOOST_TEST((co_await turn.abort()).has_value());
    const auto all = co_await hear(turn);
    BOOST_TEST(all.events.size() == 1u);
    BOOST_TEST(to_string(all.end().outcome) == "aborted", all.ending());
    co_await end();
}

// Also where the server was stopped meanwhile, so that nobody can be asked to abort it.
CO_TEST_CASE(after_an_abort_that_comes_too_late_nothing_else_is_handed_out_either, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:200");
    co_await world.rt().sleep_for(milliseconds(500));
    server->stop();
    BOOST_TEST((co_await turn.abort()).error().code == make_error_code(errc::closed));
    const auto all = co_await hear(turn);
    BOOST_TEST(all.events.size() == 1u);
    BOOST_TEST(to_string(all.end().outcome) == "detached", all.ending());
    co_await end();
}

CO_TEST_CASE(an_abort_and_at_once_a_new_prompt_settle_each_as_itself, held_server) {
    start();
    auto session = co_await new_session();
    for (int delay : {0, 1, 5, 30, 100, 400}) {
        auto first = co_await session.prompt("#slow:100");
        co_await world.rt().sleep_for(milliseconds(delay));
        BOOST_TEST((co_await first.abort()).has_value());
        auto second = co_await session.prompt("#plain");
        BOOST_TEST_CONTEXT("aborted after " << delay << " ms") {
            const auto aborted = co_await hear(first);
            BOOST_TEST(to_string(aborted.end().outcome) == "aborted", aborted.ending());
            const auto all = co_await hear(second);
            BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
            BOOST_TEST(all.text() == "Hello from the simulated model.");
        }
    }
    co_await end();
}

CO_TEST_CASE(an_ask_of_a_child_session_reaches_the_owner_and_is_answered, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#task:ask");
    told all;
    while (auto event = co_await turn.next()) {
        if (const auto* ask = std::get_if<opencode::permission_event>(&*event); ask && !ask->reply) {
            BOOST_TEST(ask->request.session_id != session.id());
            const std::string id = ask->request.id;
            BOOST_TEST((co_await turn.reply_permission(id, "once")).has_value());
        }
        all.events.push_back(std::move(*event));
    }
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    BOOST_TEST(all.all<opencode::permission_event>().size() == 2u);
    co_await end();
}

CO_TEST_CASE(an_ask_that_is_missed_in_an_outage_is_told_after_it, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#ask");
    host->model().cut_streams(world.time().now());
    host->model().refuse(milliseconds(800), world.time().now());
    host->pump();
    bool asked = false;
    told all;
    while (auto event = co_await turn.next()) {
        if (const auto* ask = std::get_if<opencode::permission_event>(&*event); ask && !ask->reply) {
            asked = true;
            const std::string id = ask->request.id;
            BOOST_TEST((co_await turn.reply_permission(id, "reject")).has_value());
        }
        all.events.push_back(std::move(*event));
    }
    BOOST_TEST(asked);
    BOOST_TEST(to_string(all.end().outcome) == "rejected", all.ending());
    co_await end();
}

// --- owners that are slow, or leave

CO_TEST_CASE(a_slow_owner_delays_nobody_and_loses_no_text, held_server) {
    config.queue_items = 16;
    start();
    auto slow = co_await new_session();
    auto quick = co_await new_session();
    auto slow_turn = co_await slow.prompt("#slow:300");
    auto quick_turn = co_await quick.prompt("#slow:300");
    const auto begun = world.time().now();
    BOOST_TEST((co_await hear(quick_turn)).text() == words(300));
    BOOST_TEST((world.time().now() - begun < seconds(10)));
    const auto all = co_await hear(slow_turn);
    BOOST_TEST(all.events.size() <= 20u);
    BOOST_TEST(all.text() == words(300));
    co_await end();
}

CO_TEST_CASE(stopping_the_server_settles_open_turns_as_detached, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:100");
    co_await world.rt().sleep_for(milliseconds(300));
    server->stop();
    const auto all = co_await hear(turn);
    BOOST_TEST(to_string(all.end().outcome) == "detached", all.ending());
    co_await tasks->join();
    const auto after = co_await session.prompt("#plain");
    BOOST_TEST(!after.posted());
}

CO_TEST_CASE(a_session_whose_handles_are_gone_is_let_go_of_and_its_stream_closed, held_server) {
    start();
    {
        auto session = co_await new_session();
        (void)co_await run_turn(session, "#plain");
        BOOST_TEST(host->model().stats().open_streams == 1u);
    }
    co_await world.rt().sleep_for(seconds(1));
    BOOST_TEST(host->model().stats().open_streams == 0u);
    co_await end();
}

CO_TEST_CASE(a_second_run_while_one_runs_returns_at_once, held_server) {
    start();
    co_await world.rt().sleep_for(seconds(1));
    co_await server->run();
    co_await end();
}

CO_TEST_CASE(a_prompt_can_be_adopted_in_mid_turn_and_after_it, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:40");
    const auto message = turn.message_id();
    co_await world.rt().sleep_for(milliseconds(300));
    turn.detach();
    auto again = co_await session.adopt(message);
    const auto all = co_await hear(again);
    BOOST_TEST(all.text() == words(40));
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    auto after = co_await session.adopt(message);
    const auto later_on = co_await hear(after);
    BOOST_TEST(later_on.text() == words(40));
    BOOST_TEST(to_string(later_on.end().outcome) == "completed", later_on.ending());
    co_await end();
}

CO_TEST_CASE(cancelling_a_prompt_in_any_phase_leaves_nothing_behind, held_server) {
    start();
    for (int after = 0; after < 60; after += 3) {
        auto session = co_await new_session();
        auto posting = post(session);
        (void)co_await with_deadline(world.rt(), world.rt().now() + milliseconds(after), std::move(posting));
    }
    co_await world.rt().sleep_for(seconds(60));
    co_await end();
}

// --- what a hostile reader found

CO_TEST_CASE(a_prompt_taken_up_twice_is_one_turn_and_ends_for_both_holders, held_server) {
    start();
    auto session = co_await new_session();
    auto first = co_await session.prompt("#slow:20");
    auto second = co_await session.adopt(first.message_id());
    told all;
    while (auto event = co_await second.next())
        all.events.push_back(std::move(*event));
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    BOOST_TEST(!(co_await first.next()).has_value());
    co_await end();
}

CO_TEST_CASE(adopting_what_the_server_does_not_know_ends_as_lost, held_server) {
    start();
    auto session = co_await new_session();
    (void)co_await run_turn(session, "#plain");
    co_await world.rt().sleep_for(seconds(90));
    auto turn = co_await session.adopt("msg_0123456789ab00000000000000");
    const auto all = co_await hear(turn);
    BOOST_TEST(to_string(all.end().outcome) == "lost", all.ending());
    co_await end();
}

CO_TEST_CASE(stopping_ends_the_wait_for_a_server_that_is_not_ready, held_server) {
    config.policy.max_attempts = retry::unlimited;
    start();
    host->model().kill(world.time().now());
    host->pump();
    tasks->spawn([](runtime& rt, opencode::server& one) -> net::awaitable<void> {
        co_await rt.sleep_for(seconds(100));
        one.stop();
    }(world.rt(), *server));
    const auto begun = world.time().now();
    const auto ready = co_await server->ready();
    BOOST_TEST(!ready.has_value());
    BOOST_TEST((world.time().now() - begun == seconds(100)));
    co_await end();
}

CO_TEST_CASE(a_version_whose_event_streams_end_at_once_is_held_by_its_global_stream_only, held_server) {
    struct row {
        const char* version;
        bool global;
        bool can;
    };
    for (const auto& r : {row{"1.14.48", false, false}, row{"1.14.48", true, true},
                          row{"1.15.0", false, true}, row{"1.18.33", false, true}, row{"1.x", false, true}}) {
        model.version = r.version;
        config.global_stream = r.global;
        start();
        const auto ready = co_await server->ready();
        BOOST_TEST(ready.has_value() == r.can, r.version);
        if (!ready)
            BOOST_TEST((ready.error().code == error_code(errc::unsupported_version)), ready.error().message);
        co_await end();
    }
}

CO_TEST_CASE(waking_ends_the_wait_for_a_server_that_is_back, held_server) {
    start();
    host->model().kill(world.time().now());
    host->pump();
    tasks->spawn([](held_server& me) -> net::awaitable<void> {
        co_await me.world.rt().sleep_for(seconds(20)); // in the middle of a backoff of 16 s
        me.host->model().start(me.world.time().now());
        me.host->pump();
        co_await me.world.rt().sleep_for(seconds(3));
        me.server->wake();
    }(*this));
    const auto begun = world.time().now();
    const auto ready = co_await server->ready();
    BOOST_TEST(ready.has_value());
    BOOST_TEST((world.time().now() - begun < seconds(24)),
               "after " << to_ms(world.time().now() - begun) << " ms");
    co_await end();
}

CO_TEST_CASE(stopping_ends_a_prompt_that_waits_to_be_posted_again, held_server) {
    config.policy.base_delay = seconds(30);
    start();
    auto session = co_await new_session();
    (void)co_await run_turn(session, "#plain");
    tasks->spawn([](held_server& me) -> net::awaitable<void> {
        co_await me.world.rt().sleep_for(seconds(5));
        me.server->stop();
    }(*this));
    host->model().inject(testing::parse_fault("api-status@503*").value());
    const auto begun = world.time().now();
    auto turn = co_await session.prompt("#plain");
    BOOST_TEST((world.time().now() - begun <= seconds(6)),
               "after " << to_ms(world.time().now() - begun) << " ms");
    const auto all = co_await hear(turn);
    BOOST_TEST(all.all<settlement>().size() == 1u);
    co_await tasks->join();
}

CO_TEST_CASE(credentials_that_change_at_each_asking_hinder_nothing, held_server) {
    int asked = 0;
    config.locate = [&asked] {
        stream::location told;
        told.url = url_of(here);
        told.url.user = "opencode";
        told.url.password = std::to_string(++asked);
        told.url.has_userinfo = true;
        return told;
    };
    start();
    auto session = co_await new_session();
    const auto all = co_await run_turn(session, "#plain");
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    BOOST_TEST(asked < 100);
    co_await end();
}

CO_TEST_CASE(an_error_status_before_the_prompt_does_not_keep_it_from_being_posted, held_server) {
    start();
    auto session = co_await new_session();
    (void)co_await run_turn(session, "#plain");
    host->model().inject(testing::parse_fault("api-status@502").value());
    const auto all = co_await run_turn(session, "#plain");
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    co_await end();
}

CO_TEST_CASE(at_give_up_no_next_try_is_told, held_server) {
    config.policy.max_attempts = 1;
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:100");
    co_await world.rt().sleep_for(milliseconds(200));
    host->model().kill(world.time().now());
    host->pump();
    const auto all = co_await hear(turn);
    BOOST_TEST(all.all<opencode::interrupted_event>().size() == 1u);
    BOOST_TEST(to_string(all.end().outcome) == "lost", all.ending());
    co_await end();
}

// --- a session that moves

CO_TEST_CASE(a_session_that_was_moved_between_turns_is_followed_to_its_new_directory, held_server) {
    start();
    auto session = (co_await server->create_session({}, "/one")).value();
    (void)co_await run_turn(session, "#plain");
    host->model().move_session(session.id(), "/two");
    const auto all = co_await run_turn(session, "#plain");
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    BOOST_TEST(all.text() == "Hello from the simulated model.");
    BOOST_TEST(session.directory() == "/two");
    co_await world.rt().sleep_for(seconds(1));
    BOOST_TEST(host->model().stats().open_streams == 1u); // the old one was left
    co_await end();
}

CO_TEST_CASE(a_session_that_is_moved_in_mid_turn_is_found_again_at_the_next_subscribe, held_server) {
    start();
    auto session = (co_await server->create_session({}, "/one")).value();
    auto turn = co_await session.prompt("#slow:60");
    co_await world.rt().sleep_for(milliseconds(300));
    host->model().move_session(session.id(), "/two");
    co_await world.rt().sleep_for(milliseconds(200));
    host->model().cut_streams(world.time().now());
    host->pump();
    const auto all = co_await hear(turn);
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    BOOST_TEST(all.text() == words(60));
    co_await world.rt().sleep_for(seconds(1));
    BOOST_TEST(host->model().stats().open_streams == 1u);
    co_await end();
}

CO_TEST_CASE(a_session_that_is_moved_in_mid_turn_is_missed_and_found_again_when_it_falls_silent,
             held_server) {
    start();
    auto session = (co_await server->create_session({}, "/one")).value();
    auto turn = co_await session.prompt("#slow:3000"); // a minute's answer
    co_await world.rt().sleep_for(milliseconds(300));
    host->model().move_session(session.id(), "/two");
    const auto all = co_await hear(turn);
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    BOOST_TEST(all.text() == words(3000));
    co_await end();
}

CO_TEST_CASE(one_of_two_sessions_moves_and_the_other_stays, held_server) {
    start();
    auto moving = (co_await server->create_session({}, "/one")).value();
    auto staying = (co_await server->create_session({}, "/one")).value();
    auto stays = co_await staying.prompt("#slow:40");
    auto moves = co_await moving.prompt("#slow:40");
    co_await world.rt().sleep_for(milliseconds(300));
    host->model().move_session(moving.id(), "/two");
    host->model().cut_streams(world.time().now());
    host->pump();
    BOOST_TEST((co_await hear(moves)).text() == words(40));
    BOOST_TEST((co_await hear(stays)).text() == words(40));
    BOOST_TEST(host->model().stats().open_streams == 2u);
    co_await end();
}

// --- asks that nobody answers

CO_TEST_CASE(an_ask_that_nobody_answers_waits_for_ever_where_no_time_was_set, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#ask");
    co_await world.rt().sleep_for(std::chrono::hours(3));
    std::size_t ends = 0;
    while (const auto event = turn.try_next())
        ends += std::holds_alternative<opencode::settlement>(*event) ? 1 : 0;
    BOOST_TEST(ends == 0u);
    co_await end();
}

CO_TEST_CASE(an_ask_that_nobody_answers_in_time_is_answered_by_the_default, held_server) {
    config.ask_timeout = seconds(30);
    start();
    struct kind {
        std::string prompt;
        std::string reply; ///< to a permission; empty: it is a question
        std::string outcome;
    };
    // The children's too.
    const std::vector<kind> kinds{
        {"#ask", "reject", "rejected"}, {"#question", "", "rejected"}, {"#task:ask", "reject", ""}};
    for (const auto& each : kinds) {
        auto session = co_await new_session();
        const auto asked = world.rt().now();
        const auto all = co_await run_turn(session, each.prompt);
        BOOST_TEST(to_ms(world.rt().now() - asked) >= 30000, each.prompt);
        BOOST_TEST(to_ms(world.rt().now() - asked) < 60000, each.prompt);
        if (!each.outcome.empty())
            BOOST_TEST(to_string(all.end().outcome) == each.outcome, all.ending());
        if (!each.reply.empty())
            BOOST_TEST(all.all<opencode::permission_event>().back().reply.value() == each.reply);
    }
    co_await end();
}

CO_TEST_CASE(a_reply_to_what_the_server_does_not_know_is_tried_once_where_the_session_is, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#ask");
    const auto before = host->model().stats().requests;
    const auto done = co_await turn.reply_permission("per_unknown", "once");
    BOOST_TEST_REQUIRE(!done.has_value());
    BOOST_TEST((done.error().code == error_code(errc::not_found)), done.error().message);
    BOOST_TEST(host->model().stats().requests - before == 2u); // the reply, and where the session is by now
    co_await end();
}

CO_TEST_CASE(the_default_may_be_to_allow_it, held_server) {
    config.ask_timeout = seconds(30);
    config.ask_default = "once";
    start();
    auto session = co_await new_session();
    const auto all = co_await run_turn(session, "#ask");
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    co_await end();
}

CO_TEST_CASE(a_session_is_named_in_the_log_as_its_owner_calls_it, held_server) {
    config.tag = "the server";
    start();
    auto named = co_await new_session();
    named.tag("run 17");
    auto other = co_await new_session();
    const auto first = co_await run_turn(named, "#plain");
    const auto second = co_await run_turn(other, "#plain");
    std::vector<std::string> tags;
    for (const auto& record : world.logs())
        if (record.event == "turn.settled")
            tags.push_back(record.tag);
    BOOST_TEST(tags == (std::vector<std::string>{"run 17", "the server"}), boost::test_tools::per_element());
    co_await end();
}

// --- the ids of prompts

namespace {

std::string number_of(const std::string& id) {
    return id.substr(id.find('_') + 1, 12);
}

/// The ids of a session's messages, in the order in which the server has them.
net::awaitable<std::vector<std::string>> message_numbers(opencode::client client, std::string session) {
    const auto page = co_await client.messages(session, 0, {});
    BOOST_TEST_REQUIRE(page.has_value());
    std::vector<std::string> all;
    for (const auto& each : page->messages)
        all.push_back(number_of(each.info.id));
    co_return all;
}

} // namespace

CO_TEST_CASE(ids_are_of_the_servers_time_however_wrong_our_clock_is, held_server) {
    const auto ours = world.rt().wall_now();
    for (const auto off : {seconds(-80), seconds(0), seconds(80)}) {
        model.epoch = ours + off;
        start();
        auto session = co_await new_session();
        for (int n = 0; n < 3; ++n) {
            const auto all = co_await run_turn(session, "#plain");
            BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
            co_await world.rt().sleep_for(milliseconds(100));
        }
        const auto numbers = co_await message_numbers(server->rest(), session.id());
        BOOST_TEST(numbers.size() == 6u);
        BOOST_TEST(std::is_sorted(numbers.begin(), numbers.end()));
        BOOST_TEST((std::adjacent_find(numbers.begin(), numbers.end()) == numbers.end()));
        co_await end();
        server.reset();
        host->shut_down();
    }
}

CO_TEST_CASE(an_id_follows_the_newest_message_of_the_session_though_the_servers_clock_went_back,
             held_server) {
    start();
    auto session = co_await new_session();
    auto client = server->rest();
    opencode::prompt ahead; // by a client whose clock is an hour ahead
    ahead.message_id =
        opencode::make_id("msg", world.rt().wall_now() + std::chrono::hours(1), {}, world.rt());
    ahead.no_reply = true;
    ahead.parts.emplace_back().text = "context";
    ahead.parts.back().id = "prt_1";
    const auto done = co_await client.prompt_async(session.id(), ahead);
    BOOST_TEST_REQUIRE(done.has_value());
    co_await world.rt().sleep_for(milliseconds(100));
    auto turn = co_await session.prompt("#plain");
    BOOST_TEST(number_of(turn.message_id()) > number_of(ahead.message_id));
    const auto all = co_await hear(turn);
    co_await end();
}

CO_TEST_CASE(prompts_that_are_asked_for_at_once_have_ids_in_that_order, held_server) {
    start();
    auto session = co_await new_session();
    std::vector<std::string> ids;
    for (int n = 0; n < 5; ++n)
        tasks->spawn([](opencode::session which, std::vector<std::string>& into) -> net::awaitable<void> {
            auto turn = co_await which.prompt("#plain");
            into.push_back(turn.message_id());
            while (co_await turn.next()) {
            }
        }(session, ids));
    co_await world.rt().sleep_for(seconds(20));
    BOOST_TEST(ids.size() == 5u);
    BOOST_TEST(std::is_sorted(ids.begin(), ids.end()));
    co_await end();
}

// --- directories

CO_TEST_CASE(a_session_in_a_directory_with_a_percent_sign_is_held_there, held_server) {
    start();
    auto made = co_await server->create_session({}, "/p%41");
    BOOST_TEST_REQUIRE(made.has_value());
    BOOST_TEST(made->directory() == "/p%41");
    const auto all = co_await run_turn(*made, "#plain");
    BOOST_TEST(to_string(all.end().outcome) == "completed", all.ending());
    co_await end();
}

CO_TEST_CASE(a_session_that_the_server_makes_elsewhere_is_reported, held_server) {
    start();
    for (const char* const asked : {"/a/../b", "/b/"}) {
        const auto made = co_await server->create_session({}, asked);
        BOOST_TEST_REQUIRE(made.has_value());
        BOOST_TEST(made->directory() == "/b");
    }
    const auto relative = co_await server->create_session({}, "c");
    BOOST_TEST_REQUIRE(relative.has_value());
    std::vector<std::string> told;
    for (const auto& record : world.logs())
        if (record.event == "session.elsewhere")
            told.push_back(record.error_message);
    BOOST_TEST(told == std::vector<std::string>{"the session is in directory /c, not in c as requested"},
               boost::test_tools::per_element());
    co_await end();
}

CO_TEST_CASE(a_turn_that_dies_in_a_directory_that_cannot_be_read_says_so, held_server) {
    model.unreadable = {"/gone"};
    start();
    auto made = co_await server->create_session({}, "/gone");
    BOOST_TEST_REQUIRE(made.has_value());
    const auto all = co_await run_turn(*made, "#plain");
    BOOST_TEST(to_string(all.end().outcome) == "lost", all.ending());
    BOOST_TEST_REQUIRE(all.end().error.has_value());
    BOOST_TEST(all.end().error->message == "the server cannot read the directory /gone");
    co_await end();
}

CO_TEST_CASE(a_turn_whose_directory_can_be_read_ends_as_before, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:100");
    co_await world.rt().sleep_for(milliseconds(500));
    host->model().restart(world.time().now());
    host->pump();
    const auto all = co_await hear(turn);
    BOOST_TEST((all.end().rule == rule::unfinished), all.ending());
    BOOST_TEST(!all.end().error.has_value());
    co_await end();
}
