// holdfast run: what its options come to at a real OpenCode server, and at the model behind it.
#include <boost/test/unit_test.hpp>

#include "support/opencode_server.hpp"
#include "support/plain_http.hpp"
#include "support/runs.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
namespace json = boost::json;

BOOST_TEST_GLOBAL_FIXTURE(opencode_world);

opencode_server& server() {
    return opencode_world::server();
}

command_result run(lines more) {
    return run_rows(server().url(), std::move(more));
}

std::string session_of(const command_result& done) {
    return text_of(parse_row(done.output.at(0)), "session");
}

json::array messages_of(const std::string& session) {
    return json::parse(http_call(server().port(), "GET", "/session/" + session + "/message").body).as_array();
}

/// A file in the project.
std::string put(std::string_view name, std::string_view content) {
    const auto path = std::filesystem::path(server().directory()) / name;
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
}

/// One pixel, as PNG: the server decodes what it is given.
constexpr std::string_view red_dot = "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000"
                                     "000d4944415478da6364f8cf500f00038601805a347d6b0000000049454e44ae426082";

std::string bytes_of(std::string_view hexadecimal) {
    std::string bytes;
    for (std::size_t i = 0; i + 1 < hexadecimal.size(); i += 2)
        bytes += static_cast<char>(std::stoi(std::string(hexadecimal.substr(i, 2)), nullptr, 16));
    return bytes;
}

/// Whether the session comes to rest.
bool rests(const std::string& session) {
    for (int i = 0; i < 50; ++i) {
        if (http_call(server().port(), "GET", "/session/status").body.find(session) == std::string::npos)
            return true;
        std::this_thread::sleep_for(100ms);
    }
    return false;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_model_sees_the_files_of_a_prompt) {
    const auto image = bytes_of(red_dot);
    const auto done = run({"What is in these? #plain", "--file",
                           put("notes.txt", "caf\xc3\xa9 in the notes\n"), "--file", put("dot.png", image)});
    BOOST_TEST(outcome_of(done.output) == "completed", done.text());
    const auto request = opencode_world::model().last_request();
    for (const auto* part : {"What is in these? #plain", "notes.txt", "in the notes",
                             "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"})
        BOOST_TEST(request.find(part) != std::string::npos, part);
}

BOOST_AUTO_TEST_CASE(a_command_is_one_turn_also_where_a_subagent_answers_it) {
    const auto greeted = run({"--command", "greet", "Bob"});
    BOOST_TEST(outcome_of(greeted.output) == "completed", greeted.text());
    BOOST_TEST(joined_text(parse_rows(greeted.output)) == "Hello from the mock model.");
    BOOST_TEST(opencode_world::model().last_request().find("Greet Bob #plain") != std::string::npos);
    const auto messages = messages_of(session_of(greeted));
    BOOST_TEST(messages.size() == 2U);
    BOOST_TEST(messages.at(0).at("info").at("id").as_string() ==
               text_of(parse_row(greeted.output[0]), "message"));

    const auto helped = run({"--command", "helper"});
    BOOST_TEST(outcome_of(helped.output) == "completed", helped.text());
    BOOST_TEST(settlement_of(helped.output).what.at("usage").at("steps").to_number<int>() == 2);
}

BOOST_AUTO_TEST_CASE(a_command_that_is_not_there_or_asks_for_what_is_not_there_is_refused) {
    const auto unknown = run({"--command", "nope"});
    BOOST_TEST(some_line_has(unknown.errors, "the server has no command 'nope'; it has: "), unknown.text());
    BOOST_TEST(some_line_has(unknown.errors, "greet"), unknown.text());
    const auto agent = run({"--command", "greet", "Bob", "--agent", "nobody"});
    BOOST_TEST(outcome_of(agent.output) == "failed", agent.text());
    BOOST_TEST(some_line_has(agent.errors, "nobody"), agent.text());
    BOOST_TEST(agent.code() == 1);
}

BOOST_AUTO_TEST_CASE(a_signal_at_a_commands_template_aborts_the_turn_that_comes_of_it) {
    const auto made = json::parse(http_call(server().port(), "POST", "/session", "{}").body);
    const std::string session(made.at("id").as_string());
    process child(command_of(
        "holdfast", as_rows(server().url(), {"--session", session, "--command", "build", "#slow:2000"})));
    BOOST_REQUIRE(wait_signal_handler(child.id()));
    std::this_thread::sleep_for(1s);
    child.signal(SIGINT);
    BOOST_TEST((child.wait(30s) == exit_status{130, 0}));
    BOOST_TEST(child.wait_end_of_output(2s));
    BOOST_TEST(rests(session));
}

BOOST_AUTO_TEST_CASE(a_prompt_without_a_reply_is_context_for_the_next) {
    const auto stored = run({"--no-reply", "My name is Bob."});
    BOOST_TEST(kinds(parse_rows(stored.output)) == "stored", stored.text());
    const auto session = session_of(stored);
    BOOST_TEST(messages_of(session).size() == 1U);
    const auto asked = run({"--session", session, "Who am I? #plain"});
    BOOST_TEST(outcome_of(asked.output) == "completed", asked.text());
    BOOST_TEST(opencode_world::model().last_request().find("My name is Bob.") != std::string::npos);
    const auto refused = run({"--session", session, "--no-reply", "x", "--agent", "nobody"});
    BOOST_TEST(outcome_of(refused.output) == "failed");
    BOOST_TEST(messages_of(session).size() == 3U);
}

BOOST_AUTO_TEST_CASE(a_title_stays_and_a_variant_reaches_the_model) {
    const auto done = run({"#plain", "--title", "My title", "--variant", "hard"});
    BOOST_TEST(outcome_of(done.output) == "completed", done.text());
    const auto session = json::parse(http_call(server().port(), "GET", "/session/" + session_of(done)).body);
    BOOST_TEST(session.at("title").as_string() == "My title");
    BOOST_TEST(opencode_world::model().last_request().find("\"reasoning_effort\":\"high\"") !=
               std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_model_that_never_says_why_it_finished_is_ended_by_the_limit_of_steps) {
    const auto done = run({"#nofinish", "--max-steps", "4"});
    const auto settled = settlement_of(done.output);
    BOOST_TEST(text_of(settled, "outcome") == "aborted", done.text());
    BOOST_TEST(text_of(settled, "limit") == "max_steps");
    BOOST_TEST(settled.what.at("usage").at("steps").to_number<int>() >= 5);
    BOOST_TEST(rests(session_of(done)));
}

BOOST_AUTO_TEST_CASE(a_provider_that_asks_for_a_day_is_told_and_ended_by_the_limit_of_waits) {
    const auto done = run({"#e429:day:86400", "--retry-limit", "10m"});
    const auto settled = settlement_of(done.output);
    BOOST_TEST(rows_of_kind(parse_rows(done.output), "retry").size() == 1U);
    BOOST_TEST(text_of(settled, "outcome") == "aborted", done.text());
    BOOST_TEST(text_of(settled, "limit") == "retry_wait");
    BOOST_TEST(rests(session_of(done)));
    const auto text = run_text(server().url(), {"#e429:another:86400", "--turn-timeout", "5s"});
    BOOST_TEST(some_line_has(text.output, "the server tries again in 24 h (at "), text.text());
}

BOOST_AUTO_TEST_CASE(what_a_turn_used_is_what_the_server_says_that_it_cost) {
    const auto done = run({"#read:README.md"});
    const auto settled = settlement_of(done.output);
    const auto& usage = settled.what.at("usage");
    const auto messages = messages_of(session_of(done));
    double cost = 0;
    std::uint64_t input = 0, steps = 0;
    for (const auto& each : messages) {
        if (each.at("info").at("role").as_string() != "assistant")
            continue;
        ++steps;
        cost += each.at("info").at("cost").to_number<double>();
        input += each.at("info").at("tokens").at("input").to_number<std::uint64_t>();
    }
    BOOST_TEST(steps == 2U);
    BOOST_TEST(usage.at("steps").to_number<std::uint64_t>() == steps);
    BOOST_TEST(usage.at("tokens").at("input").to_number<std::uint64_t>() == input);
    BOOST_TEST(cost > 0);
    BOOST_TEST(usage.at("cost").to_number<double>() == cost);
}
