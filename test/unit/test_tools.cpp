// The tests' own tools: processes, commands, and a proxy before the scripted model.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/eventually.hpp"
#include "support/fault_proxy.hpp"
#include "support/opencode_server.hpp"
#include "support/plain_http.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"
#include "support/scripted_model.hpp"

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

using namespace holdfast::test;
using namespace std::chrono_literals;

namespace {

process::options shell(const std::string& script, process::input input = process::input::nothing) {
    process::options what;
    what.argv = {"/bin/sh", "-c", script};
    what.environment = {"PATH=/usr/bin:/bin", "COLOUR=red"};
    what.directory = "/";
    what.standard_input = input;
    return what;
}

bool any_line(std::string_view) {
    return true;
}

bool is_gone(pid_t id) {
    return eventually([id] { return ::kill(id, 0) != 0; }, 5s);
}

pid_t number_in(const std::optional<std::string>& line) {
    return line ? std::stoi(*line) : 0;
}

int models_status(unsigned short port) {
    return http_call(port, "GET", "/v1/models", {}, {}, 2s).status;
}

} // namespace

BOOST_AUTO_TEST_SUITE(processes)

BOOST_AUTO_TEST_CASE(a_process_has_exactly_the_given_environment_and_directory) {
    process child(shell("pwd; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= | sort"));
    BOOST_TEST(child.wait_end_of_output(5s));
    const std::vector<std::string> expected{"/", "COLOUR=red", "PATH=/usr/bin:/bin"};
    BOOST_TEST(child.lines() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(output_and_errors_come_apart_and_a_last_line_needs_no_line_end) {
    process child(shell("echo out; printf err >&2; exit 3"));
    BOOST_TEST(child.wait_end_of_output(5s));
    BOOST_TEST(child.lines().at(0) == "out");
    BOOST_TEST(child.lines(process::stream::errors).at(0) == "err");
    const auto status = child.wait(5s);
    BOOST_REQUIRE(status.has_value());
    BOOST_TEST(status->code == 3);
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read_and_closing_the_input_ends_it) {
    process child(shell("cat; echo end", process::input::pipe));
    BOOST_TEST(child.write("one\n"));
    BOOST_TEST(child.wait_line(any_line, 5s).value_or("") == "one");
    BOOST_TEST(child.running());
    child.close_input();
    BOOST_TEST(child.wait_line([](std::string_view line) { return line == "end"; }, 5s).has_value());
    BOOST_TEST(child.wait(5s).has_value());
    BOOST_TEST(!child.write("two\n"));
}

BOOST_AUTO_TEST_CASE(on_a_terminal_a_process_knows_it_is_on_one) {
    process child(shell("test -t 0 && test -t 1 && test -t 2 && read word && echo got $word",
                        process::input::terminal));
    child.write("word\n");
    BOOST_TEST(child.wait_line([](std::string_view line) { return line == "got word"; }, 5s).has_value());
    BOOST_TEST(child.wait(5s)->code == 0);
}

BOOST_AUTO_TEST_CASE(a_signal_that_ended_a_process_is_told) {
    process child(shell("echo ready; sleep 600"));
    BOOST_TEST(child.wait_line(any_line, 5s).has_value());
    child.signal(SIGTERM);
    const auto status = child.wait(5s);
    BOOST_REQUIRE(status.has_value());
    BOOST_TEST(status->signal == SIGTERM);
}

BOOST_AUTO_TEST_CASE(waiting_for_a_line_or_an_end_that_does_not_come_stops_at_the_deadline) {
    process child(shell("sleep 600"));
    BOOST_TEST(!child.wait_line(any_line, 20ms).has_value());
    BOOST_TEST(!child.wait(20ms).has_value());
    BOOST_TEST(!child.wait_end_of_output(20ms));
}

BOOST_AUTO_TEST_CASE(a_program_that_is_not_there_is_an_exception) {
    process::options what;
    what.argv = {"/nowhere/program"};
    BOOST_CHECK_THROW(process{what}, std::system_error);
}

BOOST_AUTO_TEST_CASE(killing_the_tree_reaches_descendants_in_sessions_of_their_own) {
    process child(shell("setsid sh -c 'echo $$; sleep 600' & sleep 600"));
    const auto descendant = number_in(child.wait_line(any_line, 5s));
    BOOST_REQUIRE(::kill(descendant, 0) == 0);
    child.kill_tree();
    BOOST_TEST(is_gone(descendant));
    BOOST_TEST(child.wait(5s)->signal == SIGKILL);
}

BOOST_AUTO_TEST_CASE(an_orphan_is_found_by_its_environment) {
    auto what = shell("setsid sh -c 'echo $$; sleep 600' & sleep 0.1");
    what.environment.emplace_back("HOLDFAST_ORPHAN=this-one");
    pid_t orphan = 0;
    {
        process child(what);
        orphan = number_in(child.wait_line(any_line, 5s));
        BOOST_TEST(child.wait(5s).has_value());
    }
    BOOST_REQUIRE(::kill(orphan, 0) == 0);
    kill_by_environment("HOLDFAST_ORPHAN=this-one");
    BOOST_TEST(is_gone(orphan));
}

BOOST_AUTO_TEST_CASE(a_process_outlives_the_thread_that_started_it_and_not_its_object) {
    std::unique_ptr<process> child;
    std::thread([&child] { child = std::make_unique<process>(shell("echo ready; sleep 600")); }).join();
    BOOST_TEST(child->wait_line(any_line, 5s).has_value());
    BOOST_TEST(!child->wait(50ms).has_value());
    const auto id = child->id();
    child.reset();
    BOOST_TEST(is_gone(id));
}

BOOST_AUTO_TEST_CASE(a_command_that_cannot_be_started_is_an_exception) {
    BOOST_CHECK_THROW(run_command("no-such-program", {}), std::system_error);
}

BOOST_AUTO_TEST_CASE(a_command_runs_to_its_end_with_its_output_and_exit_code) {
    const auto result = run_command("unit-test_tools", {"--list_content"});
    BOOST_REQUIRE(result.status.has_value());
    BOOST_TEST(result.status->code == 0, result.text());
    BOOST_TEST(!result.errors.empty());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(proxy)

struct proxied_model {
    scripted_model model;
    fault_proxy proxy{model.port()};
};

BOOST_FIXTURE_TEST_CASE(it_forwards_and_counts_by_path, proxied_model) {
    BOOST_TEST(models_status(proxy.port()) == 200);
    BOOST_TEST(models_status(proxy.port()) == 200);
    BOOST_TEST(proxy.accepted() == 2U);
    BOOST_TEST(proxy.requests("/v1/models") == 2U);
    BOOST_TEST(proxy.requests("/event") == 0U);
    BOOST_TEST(eventually([this] { return proxy.open() == 0; }, 5s));
}

BOOST_FIXTURE_TEST_CASE(it_refuses_and_is_back_on_the_same_port, proxied_model) {
    proxy.refuse(true);
    BOOST_CHECK_EXCEPTION(models_status(proxy.port()), boost::system::system_error, [](const auto& error) {
        return error.code() == boost::asio::error::connection_refused;
    });
    proxy.refuse(false);
    BOOST_TEST(models_status(proxy.port()) == 200);
}

BOOST_FIXTURE_TEST_CASE(a_closed_listener_refuses_though_a_child_was_started_while_it_was_open,
                        proxied_model) {
    const process child(shell("sleep 600"));
    proxy.refuse(true);
    BOOST_CHECK_EXCEPTION(models_status(proxy.port()), boost::system::system_error, [](const auto& error) {
        return error.code() == boost::asio::error::connection_refused;
    });
}

BOOST_FIXTURE_TEST_CASE(a_black_hole_accepts_and_answers_nothing, proxied_model) {
    proxy.black_hole(true);
    BOOST_CHECK_EXCEPTION(http_call(proxy.port(), "GET", "/v1/models", {}, {}, 100ms),
                          boost::system::system_error,
                          [](const auto& error) { return error.code() == boost::asio::error::timed_out; });
    proxy.black_hole(false);
    BOOST_TEST(models_status(proxy.port()) == 200);
}

BOOST_FIXTURE_TEST_CASE(latency_delays_every_answer, proxied_model) {
    proxy.latency(100ms);
    const auto before = std::chrono::steady_clock::now();
    BOOST_TEST(models_status(proxy.port()) == 200);
    BOOST_TEST((std::chrono::steady_clock::now() - before >= 100ms));
}

BOOST_FIXTURE_TEST_CASE(a_new_target_is_for_new_connections, proxied_model) {
    scripted_model other;
    proxy.target(dead_port());
    BOOST_CHECK_THROW(models_status(proxy.port()), boost::system::system_error);
    proxy.target(other.port());
    BOOST_TEST(models_status(proxy.port()) == 200);
}

BOOST_FIXTURE_TEST_CASE(one_byte_at_a_time_carries_the_same_answer, proxied_model) {
    const auto whole = http_call(proxy.port(), "GET", "/v1/models");
    proxy.slice(1);
    proxy.latency(1ms); // for each slice, so the time shows how many there were
    const auto before = std::chrono::steady_clock::now();
    BOOST_TEST(http_call(proxy.port(), "GET", "/v1/models").body == whole.body);
    BOOST_TEST((std::chrono::steady_clock::now() - before >= whole.body.size() * 1ms));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(model)

BOOST_AUTO_TEST_CASE(steps_are_counted_by_the_tool_results_after_the_last_user_message) {
    scripted_model model;
    const auto ask = [&model](const std::string& messages) {
        return http_call(model.port(), "POST", "/v1/chat/completions",
                         R"({"stream":true,"messages":[)" + messages + "]}")
            .body;
    };
    const std::string user = R"({"role":"user","content":[{"type":"text","text":"#bash"}]})";
    const std::string tool = R"({"role":"tool","tool_call_id":"call_1","content":"hi"})";
    BOOST_TEST(ask(user).find("tool_calls") != std::string::npos);
    BOOST_TEST(ask(user + "," + tool).find("Tool said hi.") != std::string::npos);
    BOOST_TEST(ask(user + "," + tool + "," + user).find("tool_calls") != std::string::npos);
    BOOST_TEST(model.runs("#bash") == 3U);
}

BOOST_AUTO_TEST_CASE(what_fails_once_fails_once_for_each_key) {
    scripted_model model;
    const auto ask = [&model](const std::string& prompt) {
        return http_call(model.port(), "POST", "/v1/chat/completions",
                         R"({"stream":true,"messages":[{"role":"user","content":")" + prompt + "\"}]}")
            .status;
    };
    BOOST_TEST(ask("#e500once:a") == 500);
    BOOST_TEST(ask("#e500once:a") == 200);
    BOOST_TEST(ask("#e500once:b") == 500);
}

BOOST_AUTO_TEST_CASE(a_title_takes_no_step_and_is_no_run) {
    scripted_model model;
    const auto answer = http_call(model.port(), "POST", "/v1/chat/completions",
                                  R"({"messages":[{"role":"system","content":"You are a title generator."},)"
                                  R"({"role":"user","content":"#e500once:a"}]})");
    BOOST_TEST(answer.body.find("Mock Title") != std::string::npos);
    BOOST_TEST(model.runs("#e500once") == 0U);
}

BOOST_AUTO_TEST_SUITE_END()
