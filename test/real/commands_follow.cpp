// holdfast follow: one session's events, whoever prompts it.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/sim_process.hpp"
#include "support/sim_sessions.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <csignal>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
using lines = std::vector<std::string>;
namespace json = boost::json;

auto with(std::string_view part) {
    return [part](std::string_view line) {
        return line.find(part) != std::string_view::npos;
    };
}

struct followed {
    sim_process server;
    std::string session;
    process child;

    explicit followed(lines more = {}, const lines& faults = {})
        : server(faults), session(make_session(server.port())),
          child(command_of("holdfast", arguments(std::move(more)))) {
        // What is over by then is not told.
        BOOST_REQUIRE(child.wait_line(with("session.followed"), 30s, process::stream::errors));
    }

    lines arguments(lines more) const {
        more.insert(more.begin(), {"follow", session, "--server", server.url(), "--base-delay", "100ms",
                                   "--log-level", "debug"});
        return more;
    }
    void prompt(const std::string& text) { prompt_session(server.port(), session, text); }
};

} // namespace

BOOST_AUTO_TEST_CASE(turns_that_others_prompt_are_told_as_run_tells_its_own) {
    followed f({"--turns", "2"});
    f.prompt("#tool");
    BOOST_REQUIRE(f.child.wait_line(with("= completed"), 30s));
    f.prompt("#plain");
    const auto status = f.child.wait(30s);
    BOOST_REQUIRE(status.has_value());
    BOOST_TEST(status->code == 0);
    f.child.wait_end_of_output(2s);
    const auto out = f.child.lines();
    BOOST_TEST(std::count(out.begin(), out.end(), "= completed") == 2);
    BOOST_TEST(std::count_if(out.begin(), out.end(), with(" of " + f.session)) == 2);
    BOOST_TEST(std::count_if(out.begin(), out.end(), with("+ read")) == 1);
}

BOOST_AUTO_TEST_CASE(rows_say_whose_they_are) {
    followed f({"--turns", "1", "--format", "ndjson"});
    f.prompt("#plain");
    BOOST_REQUIRE(f.child.wait(30s).has_value());
    f.child.wait_end_of_output(2s);
    const auto out = f.child.lines();
    BOOST_REQUIRE(out.size() >= 3U);
    std::string text;
    for (const auto& line : out) {
        const auto row = json::parse(line).as_object();
        BOOST_TEST(row.at("session").as_string() == f.session);
        BOOST_TEST(!row.at("message").as_string().empty());
        if (const auto* piece = row.if_contains("text"))
            text += piece->at("delta").as_string();
    }
    BOOST_TEST(out.front().starts_with("{\"turn\":"));
    BOOST_TEST(out.back().starts_with("{\"settled\":"));
    BOOST_TEST(text == json::parse(out.back()).at("settled").at("text").as_string());
}

BOOST_AUTO_TEST_CASE(by_looks_alone_the_turn_is_told_too) {
    followed f({"--turns", "1", "--capture"});
    f.prompt("#slow:40");
    const auto status = f.child.wait(40s);
    BOOST_REQUIRE(status.has_value());
    BOOST_TEST(status->code == 0);
    f.child.wait_end_of_output(2s);
    const auto out = f.child.lines();
    BOOST_TEST(std::count(out.begin(), out.end(), "= completed") == 1);
}

BOOST_AUTO_TEST_CASE(a_turn_that_did_not_complete_is_the_exit_code_when_turns_are_waited_for) {
    followed f({"--turns", "1"});
    f.prompt("#error");
    const auto status = f.child.wait(30s);
    BOOST_REQUIRE(status.has_value());
    BOOST_TEST(status->code == 1);
    f.child.wait_end_of_output(2s);
    const auto err = f.child.lines(process::stream::errors);
    BOOST_REQUIRE(!err.empty());
    BOOST_TEST(err.back().starts_with("holdfast: the turn ended as failed"));
}

BOOST_AUTO_TEST_CASE(asks_are_shown_though_not_answered) {
    followed f;
    f.prompt("#ask");
    BOOST_TEST(f.child.wait_line(with("~ asks for permission: bash"), 30s).has_value());
}

BOOST_AUTO_TEST_CASE(through_a_cut_of_the_stream_nothing_is_lost) {
    followed f({"--turns", "1", "--format", "ndjson"}, {"--fault", "cut@3000"});
    f.prompt("#slow:40");
    BOOST_REQUIRE(f.child.wait(40s).has_value());
    f.child.wait_end_of_output(2s);
    std::string text;
    for (const auto& line : f.child.lines()) {
        const auto row = json::parse(line).as_object();
        if (const auto* piece = row.if_contains("text"))
            text += piece->at("delta").as_string();
    }
    BOOST_TEST(text == json::parse(f.child.lines().back()).at("settled").at("text").as_string());
}

BOOST_AUTO_TEST_CASE(it_ends_when_the_session_is_deleted) {
    followed f;
    f.prompt("#plain");
    BOOST_REQUIRE(f.child.wait_line(with("= completed"), 30s));
    delete_session(f.server.port(), f.session);
    const auto status = f.child.wait(30s);
    BOOST_REQUIRE(status.has_value());
    BOOST_TEST(status->code == 0);
}

BOOST_AUTO_TEST_CASE(a_session_that_is_not_there_is_a_failure) {
    sim_process server;
    const auto result = run_command("holdfast", {"follow", "ses_nowhere", "--server", server.url()});
    BOOST_TEST(result.code() == 1, result.text());
    BOOST_TEST(std::any_of(result.errors.begin(), result.errors.end(),
                           with("does not know the session ses_nowhere")),
               result.text());
}

BOOST_AUTO_TEST_CASE(what_is_no_server_url_is_misuse) {
    BOOST_TEST(run_command("holdfast", {"follow", "s", "--server", "nonsense"}).code() == 2);
    BOOST_TEST(run_command("holdfast", {"follow"}).code() == 2);
}

BOOST_AUTO_TEST_CASE(a_signal_ends_it_with_its_code) {
    for (const auto& [signal, code] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
        followed f;
        f.prompt("#slow:200");
        BOOST_REQUIRE(f.child.wait_line(with(" of "), 30s));
        f.child.signal(signal);
        const auto status = f.child.wait(5s);
        BOOST_REQUIRE(status.has_value());
        BOOST_TEST(status->code == code);
    }
}
