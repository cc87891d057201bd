// What the simulated server of 2.x is after it died: the rows of WIRE.md, section 7.
#include <boost/test/unit_test.hpp>

#include "support/sim2_player.hpp"

#include <string>
#include <vector>

namespace json = boost::json;
using namespace holdfast;
using namespace std::chrono_literals;
using namespace test;

namespace {

using stop = opencode_sim::stop;

opencode_sim::options service(std::string version = {}) {
    opencode_sim::options settings;
    settings.service = true;
    settings.version = std::move(version);
    return settings;
}

/// Stopped in mid-text, and started again.
struct stopped : player_2 {
    stopped(stop how, opencode_sim::options settings = {}, std::string tag = "#slow:60")
        : player_2(std::move(settings)) {
        listen();
        begin(tag);
        until_seen("session.text.delta", 2);
        if (tag == "#ask")
            asked();
        restart(how);
        end_of_first = told();
        listen();
    }
    std::string end_of_first; ///< what the stream said before
};

} // namespace

// SIGKILL (97, 98)

BOOST_AUTO_TEST_CASE(a_kill_leaves_an_open_answer_whose_running_text_is_gone) {
    stopped p(stop::kill);
    BOOST_TEST(p.end_of_first == "enqueued started delivered step");
    BOOST_TEST(!p.wires.begin()->second.bytes.ends_with("0\r\n\r\n"));
    BOOST_TEST(!p.is_active());
    BOOST_TEST(p.row_words() == "user assistant:open");
    BOOST_TEST(text(p.rows().back().at("content").at(0).at("text")) == "");
    BOOST_TEST(p.outcomes() == "interrupted");
    p.run_for(1min);
    BOOST_TEST(p.told() == ""); // nothing resumes
}

BOOST_AUTO_TEST_CASE(the_next_prompt_completes_what_a_kill_left_with_neither_finish_nor_error) {
    stopped p(stop::kill);
    p.post(p.session, "#plain");
    p.plain_end();
    const auto row = p.rows().at(1).as_object();
    BOOST_TEST(row.at("time").as_object().contains("completed"));
    BOOST_TEST(!row.contains("finish"));
    BOOST_TEST(!row.contains("error"));
    BOOST_TEST(p.outcomes() == "interrupted completed");
}

BOOST_AUTO_TEST_CASE(nobody_runs_what_waited_when_the_server_was_killed) {
    player_2 p;
    p.listen();
    p.begin("#slow:60");
    p.until_seen("session.text.delta", 2);
    p.post(p.session, "queued #plain", ",\"delivery\":\"queue\"");
    p.restart();
    p.run_for(1min);
    BOOST_TEST(p.inbox_texts() == "queued #plain");
    BOOST_TEST(p.outcomes() == "interrupted pending");
    p.post(p.session, "next #plain");
    p.plain_end();
    BOOST_TEST(p.outcomes() == "interrupted completed completed");
}

BOOST_AUTO_TEST_CASE(a_tool_that_ran_runs_for_ever_until_the_next_execution_tells_its_failure) {
    stopped p(stop::kill, {}, "#ask");
    BOOST_TEST(p.data(p.path(p.session, "/permission")).as_array().empty());
    BOOST_TEST(text(p.rows().back().at("content").at(1).at("state").at("status")) == "running");
    p.post(p.session, "#plain");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started tool-failed:aborted delivered step ended:stop succeeded");
}

// SIGTERM, default mode (99)

BOOST_AUTO_TEST_CASE(a_server_that_is_terminated_stores_an_abort_that_nobody_hears) {
    stopped p(stop::terminate);
    BOOST_TEST(p.end_of_first == "enqueued started delivered step");
    BOOST_TEST(p.row_words() == "user assistant:error");
    const auto row = p.rows().back();
    BOOST_TEST(text(row.at("error").at("message")) == "Step interrupted");
    BOOST_TEST(text(row.at("content").at(0).at("text")).starts_with("w0 w1 ")); // what was streamed
    BOOST_TEST(!p.is_active());
    BOOST_TEST(p.outcomes() == "aborted");
    p.run_for(1min);
    BOOST_TEST(p.told() == "");
}

// service mode: resumed by itself (97-service)

BOOST_AUTO_TEST_CASE(a_service_takes_up_what_it_was_at_before_any_client_is_back) {
    auto settings = service("2.0.0-lab");
    settings.startup_hang = settings.starting = 0ms;
    stopped p(stop::terminate, settings, "#slow:400");
    BOOST_TEST(p.is_active());
    BOOST_TEST(p.outcomes() == "pending");
    p.run_for(10s);
    BOOST_TEST(p.told() == "ended:stop succeeded");
    BOOST_TEST(p.row_words() == "user assistant:error assistant:stop");
    BOOST_TEST(p.outcomes() == "completed");
}

BOOST_AUTO_TEST_CASE(a_service_goes_on_without_the_answer_to_what_it_had_asked) {
    stopped p(stop::terminate, service(), "#ask");
    p.run_for(10s);
    BOOST_TEST(p.row_words() == "user assistant:error synthetic assistant:stop idle:succeeded");
    BOOST_TEST(p.outcomes() == "completed");
}

BOOST_AUTO_TEST_CASE(a_current_service_goes_on_after_a_kill_too_and_a_preview_does_not) {
    stopped p(stop::kill, service());
    p.run_for(10s);
    BOOST_TEST(p.outcomes() == "completed");
    BOOST_TEST(p.sim.truth().front().text.starts_with("w0 w1 ")); // the same prompt, answered anew
    stopped q(stop::kill, service("2.0.0-lab"));
    q.run_for(10s);
    BOOST_TEST(q.outcomes() == "interrupted");
}

BOOST_AUTO_TEST_CASE(a_service_may_take_its_time_to_go_on) {
    auto settings = service();
    settings.resume_delay = 12s;
    stopped p(stop::terminate, settings);
    BOOST_TEST(p.is_active()); // it is listed, and has not begun
    p.run_for(10s);
    BOOST_TEST(p.told() == "started synthetic step ended:stop succeeded");
}

BOOST_AUTO_TEST_CASE(a_service_takes_a_turn_up_ten_times_at_most) {
    player_2 p(service());
    p.begin("#silent");
    p.run_for(1s);
    for (int i = 0; i < 10; ++i) {
        p.restart();
        BOOST_TEST(p.is_active());
    }
    p.restart();
    BOOST_TEST(!p.is_active());
    BOOST_TEST(p.outcomes() == "interrupted");
}

BOOST_AUTO_TEST_CASE(a_service_takes_up_again_what_ended_by_a_rejection) {
    player_2 p(service());
    p.begin("#ask");
    p.reply("reject");
    p.plain_end();
    BOOST_TEST(p.outcomes() == "rejected");
    p.restart();
    BOOST_TEST(p.row_words() == "user assistant:error synthetic assistant:stop idle:succeeded");
    BOOST_TEST(p.outcomes() == "rejected"); // what was settled stays so
    p.restart();
    BOOST_TEST(p.rows().size() == 5u); // once
}

BOOST_AUTO_TEST_CASE(a_plain_server_takes_up_nothing) {
    for (const auto how : {stop::kill, stop::terminate}) {
        player_2 p;
        p.begin("#ask");
        p.reply("reject");
        p.plain_end();
        p.post(p.session, "#slow:200");
        p.run_for(1s);
        p.restart(how);
        p.run_for(1min);
        BOOST_TEST(!p.is_active());
    }
}

BOOST_AUTO_TEST_CASE(a_fault_kills_or_terminates_at_a_number_of_bytes) {
    for (const auto& [spec, rows] : {std::pair("restart@3000", "user assistant:open"),
                                     std::pair("terminate@3000", "user assistant:error")}) {
        opencode_sim::options settings;
        settings.faults = {*testing::parse_fault(spec)};
        player_2 p(settings);
        p.listen();
        p.begin("#slow:60");
        p.run_for(5s);
        BOOST_TEST(p.row_words() == rows, spec);
        BOOST_TEST(p.sim.stats().restarts == 1u);
    }
}

BOOST_AUTO_TEST_CASE(a_settled_turn_stays_settled_over_a_restart) {
    for (const auto how : {stop::kill, stop::terminate}) {
        player_2 p;
        p.begin("#plain");
        p.plain_end();
        p.restart(how);
        BOOST_TEST(p.row_words() == "user assistant:stop idle:succeeded");
        BOOST_TEST(p.outcomes() == "completed");
    }
}
