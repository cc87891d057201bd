// Sessions and turns of a server of 2.x in virtual time, through the same interface as those of 1.x.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/held_sim.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/testing/sim_host.hpp>

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

const endpoint elsewhere{"http", "127.0.0.1", 4097};

struct told {
    std::vector<agent_event> events;

    template <class E>
    [[nodiscard]] std::vector<E> all() const {
        std::vector<E> found;
        for (const auto& each : events)
            if (const auto* one = std::get_if<E>(&each))
                found.push_back(*one);
        return found;
    }
    [[nodiscard]] std::string text() const {
        std::string text;
        for (const auto& each : all<opencode::text_event>())
            text += each.delta;
        return text;
    }
    [[nodiscard]] settlement end() const {
        BOOST_TEST_REQUIRE(all<settlement>().size() == 1u);
        BOOST_TEST_REQUIRE(std::holds_alternative<settlement>(events.back()));
        return std::get<settlement>(events.back());
    }
    /// "completed by message_finished".
    [[nodiscard]] std::string ending() const {
        const auto how = end();
        return std::string(to_string(how.outcome)) + " by " + std::string(to_string(how.rule));
    }
};

struct held_2 : test::held_sim {
    held_2() { model.protocol = 2; }

    net::awaitable<told> hear(opencode::turn turn) {
        told all;
        while (auto event = co_await turn.next())
            all.events.push_back(std::move(*event));
        co_return all;
    }
    /// Until an event of that kind came.
    template <class E>
    net::awaitable<E> hear_until(opencode::turn& turn, told& all) {
        while (auto event = co_await turn.next()) {
            all.events.push_back(*event);
            if (const auto* one = std::get_if<E>(&*event))
                co_return *one;
        }
        BOOST_FAIL("the turn ended before that: " << all.ending());
        throw;
    }
    net::awaitable<void> hear_rest(opencode::turn& turn, told& all) {
        while (auto event = co_await turn.next())
            all.events.push_back(std::move(*event));
    }
    net::awaitable<told> run_turn(opencode::session& session, std::string prompt) {
        auto turn = co_await session.prompt(std::move(prompt));
        co_return co_await hear(std::move(turn));
    }
};

std::string words(int n) {
    std::string text;
    for (int i = 0; i < n; ++i)
        text += 'w' + std::to_string(i) + ' ';
    return text;
}

opencode::prompt queued(std::string text) {
    auto what = test::text_prompt({}, std::move(text));
    what.how = opencode::delivery::queue;
    return what;
}

} // namespace

// --- which server

CO_TEST_CASE(a_server_of_2_x_is_found_out_by_ready, held_2) {
    start();
    const auto seen = co_await server->ready();
    BOOST_TEST_REQUIRE(seen.has_value());
    BOOST_TEST(seen->version == "2.0.26");
    BOOST_TEST((seen->speaks == opencode::protocol::v2));
    co_await end();
}

CO_TEST_CASE(a_server_of_2_x_is_found_out_by_the_first_session, held_2) {
    start();
    auto session = co_await new_session();
    BOOST_TEST(session.directory() == "/sim");
    co_await end();
}

CO_TEST_CASE(who_names_the_protocol_of_1_x_is_refused_by_2_x, held_2) {
    config.protocol = opencode::protocol::v1;
    config.policy.max_attempts = 1;
    start();
    const auto seen = co_await server->ready();
    BOOST_TEST_REQUIRE(seen.has_error());
    BOOST_TEST((seen.error().code == errc::unsupported_version), seen.error().message);
    co_await end();
}

// --- turns

CO_TEST_CASE(a_plain_turn_of_2_x_is_told_once_and_completes, held_2) {
    start();
    auto session = co_await new_session();
    const auto all = co_await run_turn(session, "#plain");
    BOOST_TEST(all.text() == "Hello from the simulated model.");
    BOOST_TEST(all.ending() == "completed by message_finished");
    BOOST_TEST(all.end().text == all.text());
    BOOST_TEST(all.end().usage.steps == 1u);
    co_await end();
}

CO_TEST_CASE(a_plain_turn_completes_in_each_dialect_of_2_x, held_2) {
    for (const char* version : {"2.0.3", "2.0.0-lab"}) {
        model.version = version;
        start();
        auto session = co_await new_session();
        const auto all = co_await run_turn(session, "#plain");
        BOOST_TEST_CONTEXT(version) {
            BOOST_TEST(all.text() == "Hello from the simulated model.");
            BOOST_TEST(all.ending() == "completed by message_finished");
        }
        co_await end();
        server.reset();
        host->shut_down();
        host.reset();
    }
    start();
    co_await end();
}

CO_TEST_CASE(two_turns_of_2_x_follow_each_other_in_a_session, held_2) {
    start();
    auto session = co_await new_session();
    BOOST_TEST((co_await run_turn(session, "#plain")).ending() == "completed by message_finished");
    BOOST_TEST((co_await run_turn(session, "#tool")).ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(the_tools_of_a_turn_of_2_x_are_told, held_2) {
    start();
    auto session = co_await new_session();
    const auto all = co_await run_turn(session, "#tool");
    std::string states;
    for (const auto& each : all.all<opencode::tool_event>())
        states += each.name + ' ' + each.state + ", ";
    BOOST_TEST(states == "read pending, read running, read completed, ");
    BOOST_TEST(all.end().usage.steps == 2u);
    co_await end();
}

CO_TEST_CASE(a_retry_of_the_model_of_2_x_is_told, held_2) {
    start();
    auto session = co_await new_session();
    const auto all = co_await run_turn(session, "#retry");
    BOOST_TEST(all.all<opencode::retry_event>().size() == 1u);
    BOOST_TEST(all.ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_model_that_refuses_fails_the_turn_of_2_x, held_2) {
    start();
    auto session = co_await new_session();
    const auto all = co_await run_turn(session, "#error:400");
    BOOST_TEST(all.ending() == "failed by message_error");
    BOOST_TEST_REQUIRE(all.end().error.has_value());
    BOOST_TEST(all.end().error->status == 400);
    co_await end();
}

// --- approvals

CO_TEST_CASE(a_permission_of_2_x_is_asked_for_and_given, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#ask");
    told all;
    const auto ask = co_await hear_until<opencode::permission_event>(turn, all);
    const auto done = co_await turn.reply_permission(ask.request.id, "once");
    BOOST_TEST(done.has_value());
    co_await hear_rest(turn, all);
    BOOST_TEST(all.ending() == "completed by message_finished");
    BOOST_TEST(all.all<opencode::permission_event>().size() == 2u);
    co_await end();
}

CO_TEST_CASE(a_permission_of_2_x_that_is_refused_rejects_the_turn, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#ask");
    told all;
    const auto ask = co_await hear_until<opencode::permission_event>(turn, all);
    const auto done = co_await turn.reply_permission(ask.request.id, "reject");
    BOOST_TEST(done.has_value());
    co_await hear_rest(turn, all);
    BOOST_TEST(all.ending() == "rejected by tool_rejected");
    co_await end();
}

CO_TEST_CASE(a_rule_answers_a_permission_of_2_x, held_2) {
    config.ask_rules.emplace_back("*", "*", std::nullopt, opencode::ask_answer::once);
    start();
    auto session = co_await new_session();
    const auto all = co_await run_turn(session, "#ask");
    BOOST_TEST(all.ending() == "completed by message_finished");
    BOOST_TEST_REQUIRE(all.all<opencode::permission_event>().size() == 1u);
    BOOST_TEST(all.all<opencode::permission_event>().front().by_rule);
    co_await end();
}

CO_TEST_CASE(a_permission_of_2_x_that_waits_too_long_is_refused, held_2) {
    config.ask_timeout = seconds(20);
    start();
    auto session = co_await new_session();
    const auto all = co_await run_turn(session, "#ask");
    BOOST_TEST(all.ending() == "rejected by tool_rejected");
    co_await end();
}

CO_TEST_CASE(a_form_of_2_x_is_a_question, held_2) {
    start();
    auto session = co_await new_session();
    for (const bool answered : {true, false}) {
        auto turn = co_await session.prompt("#question");
        told all;
        const auto ask = co_await hear_until<opencode::question_event>(turn, all);
        BOOST_TEST_REQUIRE(ask.request.questions.size() >= 1u);
        std::vector<std::vector<std::string>> answers(1);
        answers[0].push_back(ask.request.questions[0].options[0].label);
        auto replying =
            answered ? turn.reply_question(ask.request.id, answers) : turn.reject_question(ask.request.id);
        const auto done = co_await std::move(replying);
        BOOST_TEST(done.has_value());
        co_await hear_rest(turn, all);
        BOOST_TEST(all.ending() ==
                   (answered ? "completed by message_finished" : "rejected by tool_rejected"));
    }
    co_await end();
}

CO_TEST_CASE(a_permission_of_a_child_of_2_x_is_told_to_the_turn_that_started_it, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#task:ask");
    told all;
    const auto begun = world.time().now();
    const auto ask = co_await hear_until<opencode::permission_event>(turn, all);
    BOOST_TEST(ask.request.session_id != session.id());
    BOOST_TEST((world.time().now() - begun < seconds(5)), "by a snapshot, not by the stream");
    const auto done = co_await turn.reply_permission(ask.request.id, "once");
    BOOST_TEST(done.has_value());
    co_await hear_rest(turn, all);
    BOOST_TEST(all.ending() == "completed by message_finished");
    co_await end();
}

// --- aborts, and prompts that wait

CO_TEST_CASE(an_abort_ends_a_turn_of_2_x, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:200");
    co_await pass(seconds(1));
    const auto done = co_await turn.abort();
    BOOST_TEST(done.has_value());
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(to_string(all.end().outcome) == "aborted", all.ending());
    co_await end();
}

CO_TEST_CASE(two_steered_prompts_of_2_x_are_both_settled, held_2) {
    start();
    auto session = co_await new_session();
    auto first = co_await session.prompt("#slow:60");
    co_await pass(milliseconds(300));
    auto second = co_await session.prompt("#plain");
    BOOST_TEST((co_await hear(std::move(first))).ending() == "completed by superseded");
    BOOST_TEST((co_await hear(std::move(second))).ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(an_abort_takes_back_a_prompt_of_2_x_that_waits, held_2) {
    start();
    auto session = co_await new_session();
    auto first = co_await session.prompt("#slow:200");
    co_await pass(milliseconds(300));
    auto second = co_await session.prompt(queued("#plain"));
    co_await pass(milliseconds(300));
    const auto done = co_await session.abort();
    BOOST_TEST(done.has_value());
    BOOST_TEST(to_string((co_await hear(std::move(first))).end().outcome) == "aborted");
    const auto all = co_await hear(std::move(second));
    BOOST_TEST(all.ending() == "aborted by abort_requested");
    BOOST_TEST((all.end().safe_to_reprompt == reprompt::yes));
    co_await end();
}

CO_TEST_CASE(a_queued_prompt_of_2_x_is_taken_back_alone, held_2) {
    start();
    auto session = co_await new_session();
    auto first = co_await session.prompt("#slow:60");
    co_await pass(milliseconds(300));
    auto second = co_await session.prompt(queued("#plain"));
    const auto done = co_await second.take_back();
    BOOST_TEST(done.has_value());
    BOOST_TEST((co_await hear(std::move(second))).ending() == "aborted by abort_requested");
    const auto too_late = co_await first.take_back();
    BOOST_TEST_REQUIRE(too_late.has_error());
    BOOST_TEST((too_late.error().code == errc::not_found));
    BOOST_TEST((co_await hear(std::move(first))).ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_prompt_is_not_queued_by_1_x, held_2) {
    model.protocol = 1;
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt(queued("#plain"));
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(all.ending() == "failed by not_posted");
    BOOST_TEST(
        all.end().error->message.ends_with("OpenCode 1.x cannot be told whether a prompt steers or waits"));
    co_await end();
}

// --- what goes wrong

CO_TEST_CASE(a_stream_of_2_x_that_is_cut_in_mid_turn_costs_no_text, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:100");
    co_await pass(seconds(1));
    host->model().cut_streams(world.time().now());
    host->pump();
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(all.text() == words(100));
    BOOST_TEST(all.ending() == "completed by message_finished");
    BOOST_TEST(all.all<opencode::interrupted_event>().size() == 1u);
    BOOST_TEST(all.all<opencode::gap_event>().size() == 1u);
    co_await end();
}

CO_TEST_CASE(a_stream_of_2_x_that_ends_cleanly_is_a_gap_too, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:100");
    co_await pass(seconds(1));
    host->model().end_streams(world.time().now());
    host->pump();
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(all.text() == words(100));
    BOOST_TEST(all.ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_killed_server_of_2_x_loses_the_turn_that_ran, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:200");
    co_await pass(seconds(1));
    host->model().restart(world.time().now());
    host->pump();
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(all.ending() == "lost by unfinished");
    BOOST_TEST((all.end().safe_to_reprompt == reprompt::unknown));
    BOOST_TEST((co_await run_turn(session, "#plain")).ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_service_of_2_x_that_restarts_goes_on_with_the_turn, held_2) {
    model.service = true;
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:100");
    co_await pass(seconds(1));
    host->model().restart(world.time().now(), opencode_sim::stop::terminate);
    host->pump();
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(all.ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_server_of_2_x_is_found_again_at_another_port, held_2) {
    auto now_at = place();
    config.locate = [&now_at] {
        return stream::location(stream::location::state::up, *http::parse_url(to_string(now_at)));
    };
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#plain");
    BOOST_TEST((co_await hear(std::move(turn))).ending() == "completed by message_finished");
    now_at = elsewhere;
    host->model().kill(world.time().now());
    host->pump();
    host->move_to(elsewhere);
    host->model().start(world.time().now());
    host->pump();
    server->wake();
    BOOST_TEST((co_await run_turn(session, "#plain")).ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_session_of_2_x_that_is_deleted_in_mid_turn_loses_the_turn, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:200");
    co_await pass(seconds(1));
    opencode::client calls(world.rt(), base(), {});
    const auto gone = co_await calls.call_route("DELETE", "/api/session/" + session.id(), {});
    BOOST_TEST(gone.has_value());
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST((to_string(all.end().outcome) == "lost" || to_string(all.end().outcome) == "aborted"),
               all.ending());
    co_await end();
}

CO_TEST_CASE(a_turn_of_1_x_is_not_called_deleted_by_the_2_x_that_took_its_port, held_2) {
    model.protocol = 1;
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:200");
    co_await pass(seconds(1));
    host->model().kill(world.time().now());
    host->model().upgrade(2, "2.0.26");
    host->model().start(world.time().now());
    host->pump();
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(all.ending() == "lost by gave_up");
    BOOST_TEST_REQUIRE(all.end().error.has_value());
    BOOST_TEST(all.end().error->message.ends_with("it does not know session " + session.id()));
    auto another = co_await new_session();
    BOOST_TEST((co_await run_turn(another, "#plain")).ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_turn_of_2_x_is_not_called_deleted_by_the_1_x_that_took_its_port, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:200");
    co_await pass(seconds(1));
    host->model().kill(world.time().now());
    host->model().upgrade(1, "1.18.33");
    host->model().start(world.time().now());
    host->pump();
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(all.ending() == "lost by gave_up");
    auto another = co_await new_session();
    BOOST_TEST((co_await run_turn(another, "#plain")).ending() == "completed by message_finished");
    co_await end();
}

// --- taken up, and followed

CO_TEST_CASE(a_turn_of_2_x_is_adopted_from_its_beginning, held_2) {
    start();
    std::string id;
    std::string message;
    {
        auto session = co_await new_session();
        auto turn = co_await session.prompt("#slow:100");
        id = session.id();
        message = turn.message_id();
        co_await pass(seconds(1));
    }
    auto session = co_await server->open_session(id);
    BOOST_TEST_REQUIRE(session.has_value());
    auto turn = co_await session->adopt(message);
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(all.text() == words(100));
    BOOST_TEST(all.ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_session_of_2_x_is_followed_by_stream_and_by_captures, held_2) {
    start();
    auto session = co_await new_session();
    BOOST_TEST((co_await run_turn(session, "#plain")).ending() == "completed by message_finished");
    auto other = std::make_unique<opencode::server>(world.rt(), base(), config);
    tasks->spawn(other->run());
    for (const auto how : {opencode::follow_by::stream, opencode::follow_by::capture}) {
        auto feed = other->follow(session.id(), how);
        co_await pass(seconds(12));
        BOOST_TEST(!feed.try_next().has_value(), "what was over is told");
        auto turn = co_await session.prompt("#slow:40");
        const auto message = turn.message_id();
        BOOST_TEST((co_await hear(std::move(turn))).ending() == "completed by message_finished");
        co_await pass(seconds(30));
        told all;
        while (auto next = feed.try_next()) {
            BOOST_TEST(next->message == message);
            all.events.push_back(std::move(next->event));
        }
        BOOST_TEST_REQUIRE(!all.events.empty());
        BOOST_TEST(all.text() == words(40));
        BOOST_TEST(all.ending() == "completed by message_finished");
    }
    other->stop();
    co_await end();
    other.reset();
}

CO_TEST_CASE(a_named_protocol_finds_the_dialect_by_itself, held_2) {
    config.protocol = opencode::protocol::v2;
    model.version = "2.0.0-lab";
    start();
    auto session = co_await new_session();
    BOOST_TEST((co_await run_turn(session, "#plain")).ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_quiet_turn_of_2_x_is_looked_at, held_2) {
    start();
    auto session = co_await new_session();
    const auto all = co_await run_turn(session, "#silent:100000");
    const auto quiet = all.all<opencode::quiet_event>();
    BOOST_TEST_REQUIRE(quiet.size() == 3u);
    BOOST_TEST(quiet.front().status == "busy");
    BOOST_TEST(all.ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(an_abort_reaches_a_prompt_of_2_x_whose_post_was_under_way, held_2) {
    start();
    auto session = co_await new_session();
    auto first = co_await session.prompt("#plain");
    BOOST_TEST((co_await hear(std::move(first))).ending() == "completed by message_finished");
    testing::fault lost;
    lost.what = testing::fault::kind::drop_answer;
    host->model().inject(lost);
    auto aborted = [](held_2& self, opencode::session in) -> net::awaitable<void> {
        co_await self.pass(milliseconds(1));
        (void)co_await in.abort();
    };
    tasks->spawn(aborted(*this, session));
    auto turn = co_await session.prompt("#slow:400");
    const auto begun = world.time().now();
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(to_string(all.end().outcome) == "aborted", all.ending());
    BOOST_TEST((world.time().now() - begun < seconds(7)), "it ran to its end");
    co_await end();
}

CO_TEST_CASE(a_limit_ends_a_turn_of_2_x, held_2) {
    config.limits_of_turns.deadline = seconds(2);
    start();
    auto session = co_await new_session();
    const auto all = co_await run_turn(session, "#slow:400");
    BOOST_TEST(to_string(all.end().outcome) == "aborted", all.ending());
    BOOST_TEST((all.end().limit == opencode::turn_limit::deadline));
    co_await end();
}

CO_TEST_CASE(a_server_of_2_x_that_stays_away_is_given_up, held_2) {
    config.policy.max_attempts = 3;
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:400");
    co_await pass(seconds(1));
    host->model().kill(world.time().now());
    host->pump();
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(all.ending() == "lost by gave_up");
    co_await end();
}

CO_TEST_CASE(a_prompt_of_2_x_without_a_reply_joins_the_next_one, held_2) {
    start();
    auto session = co_await new_session();
    auto context = test::text_prompt({}, "context");
    const auto stored = co_await session.store(std::move(context));
    BOOST_TEST(stored.has_value());
    BOOST_TEST((co_await run_turn(session, "#plain")).ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(what_2_x_does_not_take_with_a_prompt_is_refused_in_words, held_2) {
    start();
    auto session = co_await new_session();
    const auto refused = [](opencode::prompt what, std::string words) {
        return std::pair(std::move(what), std::move(words));
    };
    std::vector<std::pair<opencode::prompt, std::string>> all;
    for (const std::string words : {"command", "system", "further members", "file"}) {
        auto what = test::text_prompt({}, "#plain");
        if (words == "command")
            what.command = "review";
        if (words == "system")
            what.system = "be brief";
        if (words == "further members")
            what.raw_json = "{}";
        if (words == "file")
            what.parts[0].what = opencode::prompt_part::kind::file;
        all.push_back(refused(std::move(what), words));
    }
    for (auto& [what, words] : all) {
        auto turn = co_await session.prompt(what);
        const auto told = co_await hear(std::move(turn));
        BOOST_TEST(told.ending() == "failed by not_posted");
        BOOST_TEST(told.end().error->message.find("OpenCode 2.x takes no " + words) != std::string::npos,
                   told.end().error->message);
    }
    co_await end();
}

CO_TEST_CASE(the_agent_and_the_model_of_a_prompt_of_2_x_become_the_session_s, held_2) {
    start();
    auto session = co_await new_session();
    auto what = test::text_prompt({}, "#plain");
    what.agent = "plan";
    what.model = "mock/mock-1";
    auto turn = co_await session.prompt(what);
    BOOST_TEST((co_await hear(std::move(turn))).ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(sessions_of_2_x_are_listed, held_2) {
    start();
    auto session = co_await new_session();
    auto another = co_await new_session();
    opencode::session_query which;
    which.roots = true;
    which.keep = 1;
    const auto listed = co_await server->list_sessions(which);
    BOOST_TEST_REQUIRE(listed.has_value());
    BOOST_TEST_REQUIRE(listed->sessions.size() == 1u);
    BOOST_TEST(listed->sessions[0].id == another.id());
    BOOST_TEST(listed->left_out == 1u);
    const auto found = co_await server->get_session(session.id());
    BOOST_TEST_REQUIRE(found.has_value());
    BOOST_TEST(found->directory == "/sim");
    const auto health = co_await server->health();
    BOOST_TEST_REQUIRE(health.has_value());
    BOOST_TEST(health->version == "2.0.26");
    co_await end();
}

CO_TEST_CASE(who_follows_2_x_later_is_told_what_is_at_work_and_what_waits, held_2) {
    start();
    auto session = co_await new_session();
    auto first = co_await session.prompt("#ask");
    told all;
    const auto ask = co_await hear_until<opencode::permission_event>(first, all);
    auto second = co_await session.prompt(queued("#plain"));
    co_await pass(milliseconds(100));
    auto feed = server->follow(session.id(), opencode::follow_by::stream);
    co_await pass(seconds(1));
    BOOST_TEST(feed.view().waiting == 1u);
    BOOST_TEST_REQUIRE(feed.view().status.has_value());
    BOOST_TEST((feed.view().status->state == opencode::session_status::kind::busy));
    bool is_asked = false;
    bool has_tool = false;
    while (auto next = feed.try_next()) {
        BOOST_TEST(next->message == first.message_id());
        has_tool = has_tool || std::holds_alternative<opencode::tool_event>(next->event);
        if (const auto* told = std::get_if<opencode::permission_event>(&next->event))
            is_asked = told->request.id == ask.request.id;
    }
    BOOST_TEST(is_asked);
    BOOST_TEST(has_tool);
    const auto done = co_await feed.reply_permission(ask.request.id, "once");
    BOOST_TEST(done.has_value());
    co_await hear_rest(first, all);
    BOOST_TEST((co_await hear(std::move(second))).ending() == "completed by message_finished");
    BOOST_TEST(feed.view().waiting == 0u);
    co_await end();
}

CO_TEST_CASE(a_child_of_2_x_that_works_on_in_the_background_does_not_end_the_turn, held_2) {
    start();
    auto session = co_await new_session();
    auto feed = server->follow(session.id(), opencode::follow_by::stream);
    const auto all = co_await run_turn(session, "#background");
    BOOST_TEST(all.ending() == "completed by message_finished");
    BOOST_TEST(feed.view().background <= 1u);
    co_await pass(seconds(60));
    BOOST_TEST(feed.view().background == 0u);
    co_await end();
}

CO_TEST_CASE(two_asks_of_2_x_are_answered_each, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#two-asks");
    told all;
    const auto first = co_await hear_until<opencode::permission_event>(turn, all);
    const auto second = co_await hear_until<opencode::permission_event>(turn, all);
    for (const auto& ask : {first, second}) {
        const auto done = co_await turn.reply_permission(ask.request.id, "once");
        BOOST_TEST(done.has_value());
        const auto again = co_await turn.reply_permission(ask.request.id, "once");
        BOOST_TEST_REQUIRE(again.has_error());
        BOOST_TEST((again.error().code == errc::not_found));
    }
    co_await hear_rest(turn, all);
    BOOST_TEST(all.ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_permission_of_2_x_that_a_gap_withheld_is_found_by_the_repair, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#task:ask");
    host->model().set_mute(true);
    co_await pass(seconds(2));
    host->model().cut_streams(world.time().now());
    host->model().set_mute(false);
    host->pump();
    told all;
    const auto ask = co_await hear_until<opencode::permission_event>(turn, all);
    BOOST_TEST(ask.request.session_id != session.id());
    const auto done = co_await turn.reply_permission(ask.request.id, "reject");
    BOOST_TEST(done.has_value());
    co_await hear_rest(turn, all);
    BOOST_TEST(all.ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_mute_stream_of_2_x_is_noticed_by_the_quiet_check, held_2) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt("#slow:40");
    co_await pass(milliseconds(200));
    host->model().set_mute(true);
    const auto all = co_await hear(std::move(turn));
    BOOST_TEST(all.text() == words(40));
    BOOST_TEST(all.ending() == "completed by message_finished");
    co_await end();
}

CO_TEST_CASE(a_session_of_2_x_that_is_renamed_is_shown_so, held_2) {
    start();
    auto session = co_await new_session();
    auto feed = server->follow(session.id(), opencode::follow_by::stream);
    co_await pass(seconds(1));
    opencode::client calls(world.rt(), base(), {});
    const auto done =
        co_await calls.call_route("PATCH", "/api/session/" + session.id(), R"({"title":"Another"})");
    BOOST_TEST(done.has_value());
    co_await pass(seconds(1));
    BOOST_TEST(feed.view().info.title == "Another");
    co_await end();
}

CO_TEST_CASE(a_server_of_2_x_that_was_upgraded_is_spoken_to_in_its_new_dialect, held_2) {
    model.version = "2.0.0-lab";
    start();
    auto session = co_await new_session();
    auto cut = co_await session.prompt("#slow:200");
    co_await pass(seconds(1));
    host->model().kill(world.time().now());
    host->model().upgrade(2, "2.0.26");
    host->model().start(world.time().now());
    host->pump();
    BOOST_TEST((co_await hear(std::move(cut))).ending() == "lost by unfinished");
    auto turn = co_await session.prompt("#ask");
    told all;
    const auto ask = co_await hear_until<opencode::permission_event>(turn, all);
    const auto done = co_await turn.reply_permission(ask.request.id, "once");
    BOOST_TEST(done.has_value());
    co_await hear_rest(turn, all);
    BOOST_TEST(all.ending() == "completed by message_finished");
    co_await end();
}
