// The examples that show how to embed: each run, and what it prints compared.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/paths.hpp"
#include "support/ports.hpp"
#include "support/raw_server.hpp"
#include "support/sim_process.hpp"
#include "support/temporary_folder.hpp"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using lines = std::vector<std::string>;

command_result run(const std::string& name, const lines& arguments) {
    return run_command("example-" + name, arguments);
}

/// A line of its own, somewhere in what it printed.
bool printed(const command_result& done, const std::string& line) {
    return std::find(done.output.begin(), done.output.end(), line) != done.output.end();
}

lines sorted(lines all) {
    std::sort(all.begin(), all.end());
    return all;
}

} // namespace

BOOST_AUTO_TEST_CASE(each_says_how_it_is_used_and_fits_on_a_page) {
    std::size_t found = 0;
    for (const auto& entry : std::filesystem::directory_iterator(data_folder().parent_path().parent_path() /
                                                                 "apps" / "examples")) {
        const auto name = "example-" + entry.path().stem().string();
        std::ifstream file(entry.path());
        std::size_t count = 0;
        for (std::string line; std::getline(file, line); ++count) {
        }
        BOOST_TEST(count < 80u, entry.path());
        ++found;
        if (name == "example-virtual_time") // it takes nothing
            continue;
        const auto done = run_command(name, {});
        BOOST_TEST(done.code() == 2, done.text());
        BOOST_TEST(done.text().find(name) != std::string::npos, done.text());
    }
    BOOST_TEST(found == 18u);
}

BOOST_AUTO_TEST_CASE(hold_stream_reads_until_it_fails_three_times) {
    const auto nobody = dead_url();
    const auto done = run("hold_stream", {nobody});
    BOOST_TEST(done.code() == 1, done.text());
    BOOST_TEST_REQUIRE(done.output.size() == 3u, done.text());
    BOOST_TEST(done.output[1].ends_with("again in 2000 ms"), done.text());
    BOOST_TEST(done.output[2].starts_with("gave up: connection refused"), done.text());
}

BOOST_AUTO_TEST_CASE(token_refresh_answers_a_401_with_a_new_token) {
    raw_server server([](const heard& request) {
        if (request.header("Authorization") != "Bearer token-2")
            return answer(401, "text/plain", "expired");
        return event_stream("event: hello\ndata: 1\n\n", reply::ending::hold);
    });
    const temporary_folder folder;
    const auto count = folder / "count";
    const auto command = "echo x >> " + count + "; echo token-$(wc -l < " + count + ")";
    const auto done = run("token_refresh", {server.url(), command, "1"});
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST(done.output == lines{"hello"}, done.text());
    BOOST_TEST(server.requests().size() == 2u);
}

BOOST_AUTO_TEST_CASE(one_turn_prints_its_text_and_how_it_ended) {
    sim_process server({"--pace", "5"});
    const auto done = run("one_turn", {server.url(), "#plain"});
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST((done.output == lines{"Hello from the simulated model.", "[completed]"}), done.text());
    BOOST_TEST(run("one_turn", {server.url(), "#ask"}).output.back() == "[rejected]");
}

BOOST_AUTO_TEST_CASE(many_turns_keep_to_rules_and_limits) {
    sim_process server({"--pace", "5"});
    const auto done = run("many_turns", {server.url(), "#plain", "#ask"});
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST((sorted(done.output) == lines{"1: completed", "2: a rule says reject", "2: rejected"}),
               done.text());
}

BOOST_AUTO_TEST_CASE(follow_tells_of_turns_that_others_prompt) {
    sim_process server({"--pace", "5"});
    const auto begun =
        run_command("holdfast", {"run", "--server", server.url(), "--format", "ndjson", "#plain"});
    const auto at = begun.text().find("ses_");
    BOOST_TEST_REQUIRE(at != std::string::npos, begun.text());
    const auto text = begun.text();
    const auto session = text.substr(at, text.find('"', at) - at);
    process following(command_of("example-follow", {server.url(), session, "1"}));
    // It may not listen yet: what is over by then is history. So there are prompts until it has heard one.
    std::optional<exit_status> ended;
    for (int n = 0; n < 40 && !ended; ++n) {
        std::ignore =
            run_command("holdfast", {"run", "--server", server.url(), "--session", session, "#plain"});
        ended = following.wait(100ms);
    }
    BOOST_TEST_REQUIRE(ended.has_value());
    BOOST_TEST(ended->code == 0);
    BOOST_TEST(following.lines() == lines{"a turn completed, 31 bytes of text"});
}

BOOST_AUTO_TEST_CASE(callbacks_and_futures_receive_the_same) {
    sim_process server({"--pace", "5"});
    const auto done = run("callbacks", {server.url(), "#plain"});
    BOOST_TEST((done.output == lines{"by callbacks: completed", "by a future: completed"}), done.text());
}

BOOST_AUTO_TEST_CASE(threads_run_a_turn_each) {
    sim_process server({"--pace", "5"});
    const auto done = run("threads", {server.url(), "3", "#plain"});
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST_REQUIRE(done.output.size() == 1u, done.text());
    BOOST_TEST(done.output[0].starts_with("3 of 3 turns completed, "), done.text());
}

BOOST_AUTO_TEST_CASE(log_and_metrics_name_what_failed) {
    const auto nobody = dead_url();
    const auto done = run("log_and_metrics", {nobody});
    BOOST_TEST_REQUIRE(done.errors.size() == 2u, done.text());
    BOOST_TEST(done.errors[1].starts_with("error stream.gave_up http://127.0.0.1:"), done.text());
    BOOST_TEST(printed(done, "holdfast_connections_failed_total 2"), done.text());
}

BOOST_AUTO_TEST_CASE(tunnel_connects_elsewhere_and_keeps_the_name) {
    raw_server near({event_stream("event: hello\ndata: 1\n\n", reply::ending::hold)});
    const auto done =
        run("tunnel", {"http://build-box:4096/event", "127.0.0.1", std::to_string(near.port())});
    BOOST_TEST(done.output == lines{"hello"}, done.text());
    BOOST_TEST(near.requests().at(0).header("Host") == "build-box:4096");
}

BOOST_AUTO_TEST_CASE(fast_clock_gives_up_a_minute_later_in_a_moment) {
    const auto nobody = dead_url();
    const auto done = run("fast_clock", {nobody, "600"});
    BOOST_TEST_REQUIRE(done.output.size() == 7u, done.text());
    BOOST_TEST(std::stoi(done.output.back()) >= 61, done.text()); // 1, 2, 4, 8, 16 and 30 s
}

BOOST_AUTO_TEST_CASE(virtual_time_passes_an_hour_in_no_time) {
    const auto done = run("virtual_time", {});
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST_REQUIRE(!done.output.empty());
    BOOST_TEST(done.output.back() == "completed, prompted 1 times", done.text());
}

BOOST_AUTO_TEST_CASE(shut_down_ends_by_a_signal_with_nothing_left) {
    sim_process server({"--pace", "20"});
    process running(command_of("example-shut_down", {server.url(), "#slow:1000"}));
    BOOST_TEST_REQUIRE(
        running.wait_line([](std::string_view line) { return line == "prompted"; }, 20s).has_value());
    running.signal(SIGTERM);
    const auto ended = running.wait(20s);
    BOOST_TEST_REQUIRE(ended.has_value());
    BOOST_TEST(ended->code == 0);
    BOOST_TEST(running.wait_end_of_output(20s));
    BOOST_TEST((running.lines() == lines{"prompted", "detached", "ended"}));
}
