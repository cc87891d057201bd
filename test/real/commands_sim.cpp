// holdfast sim as a command: its first line, its options, its end. What it serves has its tests with the
// model.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/plain_http.hpp"
#include "support/sim_process.hpp"

#include <csignal>
#include <regex>
#include <string>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
using lines = std::vector<std::string>;

command_result sim(lines arguments) {
    arguments.insert(arguments.begin(), "sim");
    return run_command("holdfast", arguments);
}

} // namespace

BOOST_AUTO_TEST_CASE(its_first_line_says_where_it_listens_and_it_is_ready_by_then) {
    sim_process server;
    const auto line = server.child().lines().at(0);
    BOOST_TEST(
        std::regex_match(line, std::regex(R"(opencode server listening on http://127\.0\.0\.1:[1-9][0-9]*)")),
        line);
    BOOST_TEST(http_call(server.port(), "GET", "/global/health").status == 200);
}

BOOST_AUTO_TEST_CASE(a_server_of_2_x_says_so_where_2_x_is_asked_and_plays_turns) {
    sim_process server({"--protocol", "2"});
    const auto line = server.child().lines().at(0);
    BOOST_TEST(std::regex_match(line, std::regex(R"(server listening on http://127\.0\.0\.1:[1-9][0-9]*)")),
               line);
    BOOST_TEST(http_call(server.port(), "GET", "/api/info").body.find("\"version\":\"2.0.26\"") !=
               std::string::npos);
    plain_event_stream stream(server.port(), "/api/event");
    BOOST_TEST(stream.status() == 200);
    const auto made = http_call(server.port(), "POST", "/api/session", "{}").body;
    const auto id = made.substr(made.find("ses_"), 30);
    BOOST_TEST(
        http_call(server.port(), "POST", "/api/session/" + id + "/prompt", R"({"text":"#plain"})").status ==
        200);
    BOOST_TEST(stream
                   .next([](std::string_view data) {
                       return data.find("session.execution.succeeded") != std::string_view::npos;
                   })
                   .has_value());
}

BOOST_AUTO_TEST_CASE(a_server_of_2_x_may_be_an_early_one_and_takes_its_password_from_the_environment) {
    auto environment = current_environment();
    environment.push_back("OPENCODE_PASSWORD=secret");
    sim_process server({"--protocol", "2", "--says-version", "2.0.3"}, environment);
    BOOST_TEST(http_call(server.port(), "GET", "/api/health").status == 401);
    BOOST_TEST(http_call(server.port(), "GET", "/api/health?auth_token=b3BlbmNvZGU6c2VjcmV0").status == 200);
}

BOOST_AUTO_TEST_CASE(port_0_is_a_free_port_each_time) {
    sim_process one, another;
    BOOST_TEST(one.port() != another.port());
}

BOOST_AUTO_TEST_CASE(a_taken_port_is_a_failure_in_words) {
    sim_process first;
    const auto done = sim({"--listen", first.url().substr(7)});
    BOOST_TEST(done.code() == 1);
    BOOST_TEST(done.output.empty());
    BOOST_REQUIRE(done.errors.size() == 1U);
    BOOST_TEST(done.errors.front() == "holdfast: cannot listen on 127.0.0.1 port " +
                                          std::to_string(first.port()) + ": Address already in use");
}

BOOST_AUTO_TEST_CASE(signals_end_it_with_their_codes_also_while_a_stream_is_open) {
    for (const auto& [number, code] : {std::pair(SIGTERM, 143), std::pair(SIGINT, 130)}) {
        sim_process server;
        plain_event_stream stream(server.port(), "/event");
        BOOST_TEST(stream.status() == 200);
        server.child().signal(number);
        BOOST_TEST((server.child().wait(10s) == exit_status{code, 0}));
        BOOST_TEST(server.child().lines(process::stream::errors).empty());
    }
}

BOOST_AUTO_TEST_CASE(help_names_every_tag_and_every_fault) {
    const auto done = sim({"--help"});
    BOOST_TEST(done.code() == 0);
    const auto text = done.text();
    for (const auto* name : {"#plain",
                             "#slow",
                             "#reason",
                             "#tool",
                             "#ask",
                             "#question",
                             "#write",
                             "#todo",
                             "#task",
                             "#big",
                             "#silent",
                             "#early",
                             "#length",
                             "#error",
                             "#e500",
                             "#e500once",
                             "#retry",
                             "#throttle",
                             "#cutonce",
                             "#errchunk",
                             "#garbage",
                             "#overflow",
                             "#overflow-ok",
                             "cut@N",
                             "reset@N",
                             "stall@N",
                             "mute@N",
                             "garbage@N",
                             "refuse",
                             "restart@N",
                             "early-end",
                             "status@CODE",
                             "hang",
                             "api-status@CODE",
                             "drop-answer",
                             "--listen",
                             "--pace",
                             "--seed",
                             "#two-asks",
                             "#background",
                             "#empty",
                             "#filter",
                             "#unknown-tool",
                             "drop@N",
                             "terminate@N",
                             "--protocol",
                             "--says-version",
                             "--service",
                             "OPENCODE_PASSWORD",
                             "OPENCODE_SERVER_PASSWORD"}) {
        BOOST_TEST(text.find(name) != std::string::npos, name);
    }
}

BOOST_AUTO_TEST_CASE(wrong_usage_is_one_line_and_exit_code_two) {
    for (const lines& wrong :
         {lines{"--fault", "cut"}, lines{"--fault", "nonsense@1"}, lines{"--fault", "cut@1x"},
          lines{"--fault", "status@42"}, lines{"--fault", ""}, lines{"--pace", "fast"}, lines{"--seed", "x"},
          lines{"--listen", "4096"}, lines{"--listen", "127.0.0.1:70000"}, lines{"--listen", "nowhere:1"},
          lines{"--protocol", "3"}, lines{"--protocol", "2", "--says-version", "1.18.33"}, lines{"--service"},
          lines{"--nonsense"}, lines{"more"}}) {
        const auto done = sim(wrong);
        BOOST_TEST(done.code() == 2, wrong.back() << ": " << done.text());
        BOOST_TEST(done.output.empty(), done.text());
        BOOST_TEST(done.errors.size() == 1U, wrong.back() << ": " << done.text());
    }
}
