// What a session posts beside plain prompts: commands of the server's, and prompts without a reply. In
// virtual time.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/held_sim.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/testing/sim_host.hpp>

#include <optional>
#include <string>
#include <variant>
#include <vector>

using namespace holdfast;
using opencode::reprompt;
using opencode::rule;
using opencode::settlement;

namespace {

const endpoint here{"http", "127.0.0.1", 4096};

opencode::prompt text_prompt(std::string text) {
    opencode::prompt what;
    opencode::prompt_part part;
    part.text = std::move(text);
    what.parts.push_back(std::move(part));
    return what;
}

opencode::prompt command(std::string name, std::string arguments) {
    auto what = text_prompt(std::move(arguments));
    what.command = std::move(name);
    return what;
}

opencode::prompt_part file(std::string mime, std::string base64) {
    opencode::prompt_part part;
    part.what = opencode::prompt_part::kind::file;
    part.mime = std::move(mime);
    part.filename = "notes.txt";
    part.url = "data:" + part.mime + ";base64," + base64;
    return part;
}

struct held_server : test::held_sim {
    /// The settlement; it must be the one and the last.
    net::awaitable<settlement> end_of(opencode::turn& turn) {
        std::optional<settlement> end;
        while (auto event = co_await turn.next()) {
            BOOST_TEST(!end.has_value());
            if (auto* how = std::get_if<settlement>(&*event))
                end = *how;
        }
        BOOST_TEST_REQUIRE(end.has_value());
        co_return *end;
    }

    net::awaitable<std::vector<opencode::message>> messages_of(const opencode::session& session) {
        auto rest = server->rest();
        auto page = co_await rest.messages(session.id(), 0, "");
        BOOST_TEST_REQUIRE(page.has_value());
        co_return page->messages;
    }

    void inject(std::string_view fault) { host->model().inject(testing::parse_fault(fault).value()); }
};

std::string words(const settlement& how) {
    return std::string(to_string(how.outcome)) + " by " + std::string(to_string(how.rule)) + ", " +
           std::string(to_string(how.safe_to_reprompt)) +
           (how.error ? ": " + how.error->message : std::string());
}

} // namespace

// --- commands

CO_TEST_CASE(a_command_is_a_turn_of_the_message_that_its_template_makes, held_server) {
    start();
    auto session = co_await new_session();
    auto what = command("review", "the diff");
    what.parts.push_back(file("text/plain", "aGVsbG8="));
    auto turn = co_await session.prompt(std::move(what));
    const auto how = co_await end_of(turn);
    BOOST_TEST(words(how) == "completed by message_finished, no");
    BOOST_TEST(how.usage.steps == 2u);
    const auto messages = co_await messages_of(session);
    BOOST_TEST_REQUIRE(!messages.empty());
    BOOST_TEST(messages[0].info.id == turn.message_id());
    BOOST_TEST(messages[0].parts[0].text == "Review the diff #tool");
    BOOST_TEST(messages[0].parts.size() == 4u); // the text, the file as the model reads it, the file
    co_await end();
}

CO_TEST_CASE(a_template_that_takes_its_time_is_waited_for_and_filled_in_once, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt(command("build", "#slow:100"));
    const auto how = co_await end_of(turn);
    BOOST_TEST(words(how) == "completed by message_finished, no");
    const auto messages = co_await messages_of(session);
    BOOST_TEST(messages.size() == 2u);
    co_await end();
}

CO_TEST_CASE(a_command_that_the_server_does_not_know_is_failed_in_its_own_words, held_server) {
    start();
    auto session = co_await new_session();
    auto turn = co_await session.prompt(command("nope", ""));
    const auto how = co_await end_of(turn);
    BOOST_TEST(
        words(how) ==
        "failed by not_posted, yes: Command not found: \"nope\". Available commands: say, review, build");
    const auto messages = co_await messages_of(session);
    BOOST_TEST(messages.empty());
    co_await end();
}

// An abort while the template is filled in ends nothing at the server.
CO_TEST_CASE(a_command_that_is_aborted_at_its_template_ends_once_it_is_a_turn, held_server) {
    start();
    auto session = co_await new_session();
    bool aborted = false;
    auto abort = [](runtime& rt, opencode::session of, bool& done) -> net::awaitable<void> {
        co_await rt.sleep_for(milliseconds(500));
        done = (co_await of.abort()).has_value();
    };
    tasks->spawn(abort(world.rt(), session, aborted));
    auto turn = co_await session.prompt(command("build", "#slow:3000"));
    const auto how = co_await end_of(turn);
    BOOST_TEST(aborted);
    BOOST_TEST(to_string(how.outcome) == "aborted", words(how));
    co_await world.rt().sleep_for(seconds(5));
    auto rest = server->rest();
    const auto at_work = co_await rest.status({});
    BOOST_TEST((at_work && at_work->empty()));
    co_await end();
}

CO_TEST_CASE(a_command_whose_answer_is_lost_is_not_run_twice, held_server) {
    for (const auto* fault : {"drop-answer", "cut-answer"}) {
        start();
        auto session = co_await new_session();
        auto first = co_await session.prompt("#plain");
        std::ignore = co_await end_of(first);
        inject(fault);
        auto turn = co_await session.prompt(command("build", "#slow:20"));
        const auto how = co_await end_of(turn);
        BOOST_TEST(to_string(how.outcome) == "completed", fault << ": " << words(how));
        const auto messages = co_await messages_of(session);
        BOOST_TEST(messages.size() == 4u);
        co_await end();
        co_await world.rt().sleep_for(seconds(1));
        server.reset();
        tasks.reset();
        host->shut_down();
        host.reset();
    }
    start();
    co_await end();
}

CO_TEST_CASE(a_command_to_a_dead_server_is_failed_and_safe_to_repeat, held_server) {
    config.policy.max_attempts = 2;
    start();
    auto session = co_await new_session();
    host->model().kill(world.time().now());
    host->pump();
    auto turn = co_await session.prompt(command("say", "#plain"));
    const auto how = co_await end_of(turn);
    BOOST_TEST((how.outcome == opencode::outcome::failed));
    BOOST_TEST((how.rule == rule::not_posted));
    BOOST_TEST((how.safe_to_reprompt == reprompt::yes));
    co_await end();
}

CO_TEST_CASE(a_command_takes_no_system_prompt_and_a_prompt_without_a_reply_is_no_turn, held_server) {
    start();
    auto session = co_await new_session();
    auto odd = command("say", "#plain");
    odd.system = "be brief";
    auto silent = text_prompt("note");
    silent.no_reply = true;
    for (auto& what : {odd, silent}) {
        auto turn = co_await session.prompt(what);
        const auto how = co_await end_of(turn);
        BOOST_TEST((how.rule == rule::not_posted), words(how));
        BOOST_TEST((how.safe_to_reprompt == reprompt::yes));
    }
    co_await end();
}

CO_TEST_CASE(the_servers_commands_are_named, held_server) {
    start();
    auto rest = server->rest();
    const auto names = co_await rest.commands({});
    BOOST_TEST_REQUIRE(names.has_value());
    BOOST_TEST((*names == std::vector<std::string>{"say", "review", "build"}));
    co_await end();
}

// --- prompts without a reply

CO_TEST_CASE(a_prompt_without_a_reply_is_stored_once_and_makes_no_turn, held_server) {
    start();
    auto session = co_await new_session();
    for (const auto* fault : {"", "drop-answer", "api-status@503"}) {
        if (*fault != '\0')
            inject(fault);
        auto note = text_prompt("remember this");
        const auto stored = co_await session.store(note);
        BOOST_TEST_REQUIRE(stored.has_value(), fault);
        const auto messages = co_await messages_of(session);
        BOOST_TEST_REQUIRE(!messages.empty());
        BOOST_TEST(messages.back().info.id == *stored);
        BOOST_TEST(messages.back().parts.size() == 1u);
    }
    BOOST_TEST(host->model().stats().stream_requests == 0u);
    BOOST_TEST(host->model().truth().empty());
    auto turn = co_await session.prompt("#plain");
    const auto how = co_await end_of(turn);
    BOOST_TEST(words(how) == "completed by message_finished, no");
    const auto messages = co_await messages_of(session);
    BOOST_TEST(messages.size() == 5u);
    co_await end();
}

CO_TEST_CASE(what_a_server_refuses_to_store_is_not_offered_again, held_server) {
    start();
    auto session = co_await new_session();
    auto note = text_prompt("note");
    note.agent = "nope";
    const auto began = world.time().now();
    const auto stored = co_await session.store(note);
    BOOST_TEST_REQUIRE(stored.has_error());
    BOOST_TEST(stored.error().status == 500);
    BOOST_TEST((world.time().now() - began < seconds(1)));
    co_await end();
}

CO_TEST_CASE(storing_at_a_server_that_stays_away_gives_up_by_the_policy, held_server) {
    config.policy.max_attempts = 3;
    start();
    auto session = co_await new_session();
    host->model().kill(world.time().now());
    host->pump();
    auto note = text_prompt("note");
    const auto stored = co_await session.store(note);
    BOOST_TEST_REQUIRE(stored.has_error());
    BOOST_TEST((stored.error().cls == retry::failure_class::refused));
    co_await end();
}
