// What holdfast watch knows of servers and runs: states, news, totals, and /status.
#include <boost/test/unit_test.hpp>

#include "watch/board.hpp"

#include <boost/json/serialize.hpp>

#include <string>
#include <utility>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::app;
using namespace holdfast::opencode;
namespace json = boost::json;

const time_point t0{seconds(1000)};
const wall_time w0{seconds(1'700'000'000)}; // 2023-11-14T22:13:20Z

session_view view_of(const std::string& id,
                     std::optional<session_status::kind> state = session_status::kind::idle) {
    session_view view;
    view.info.id = id;
    view.info.title = "title of " + id;
    view.captured = true;
    view.seen = t0;
    if (state) {
        view.status.emplace();
        view.status->state = *state;
    }
    return view;
}

retry::failure refused() {
    return retry::make_failure(errc::refused);
}

permission_event ask_for(const std::string& id, std::optional<std::string> reply = {}) {
    permission_event event;
    event.request.id = id;
    event.request.session_id = "child";
    event.request.permission = "bash";
    event.request.patterns = {"git push"};
    event.reply = std::move(reply);
    return event;
}

settlement ended(outcome how, rule why = rule::message_finished) {
    settlement end;
    end.outcome = how;
    end.rule = why;
    end.text = "all that was said";
    return end;
}

struct watched {
    watch_board board{t0, w0};
    time_point now = t0;

    watched() {
        board.add_server("http://one:1", "one");
        see("s");
        (void)board.take_news();
    }
    void see(const std::string& id, std::optional<session_status::kind> state = session_status::kind::idle) {
        board.see(0, view_of(id, state), now);
    }
    void hear(agent_event event, const std::string& message = "m", const std::string& id = "s") {
        board.hear(0, {id, message, std::move(event)}, now);
    }
    board_row row(std::size_t i = 0) const { return board.rows().at(i); }
    std::string state(std::size_t i = 0) const { return std::string(to_string(row(i).state)); }
    /// "turn ask settled"
    std::string news() {
        std::string names;
        for (const auto& each : board.take_news())
            names += (names.empty() ? "" : " ") + each.name;
        return names;
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(the_state_follows_the_turn) {
    watched w;
    BOOST_TEST(w.state() == "idle");
    w.hear(text_event{"p", "Hello"});
    BOOST_TEST(w.state() == "working");
    w.hear(ask_for("a"));
    BOOST_TEST(w.state() == "waiting");
    w.hear(ask_for("a", "once"));
    BOOST_TEST(w.state() == "working");
    w.hear(retry_event{2, "overloaded", 0});
    BOOST_TEST(w.state() == "retrying");
    w.hear(text_event{"p", " again"});
    BOOST_TEST(w.state() == "working");
    w.hear(ended(outcome::completed));
    BOOST_TEST(w.state() == "done");
    BOOST_TEST(w.news() == "turn ask ask settled");
}

BOOST_AUTO_TEST_CASE(a_settlement_says_whether_the_text_of_its_turn_was_cut) {
    for (const std::size_t dropped : {0, 5}) {
        watched w;
        auto end = ended(outcome::completed);
        end.text_dropped = dropped;
        w.hear(std::move(end));
        const auto news = w.board.take_news();
        BOOST_TEST_REQUIRE(!news.empty());
        BOOST_TEST(news.back().name == "settled");
        BOOST_TEST(news.back().what.at("text_cut").as_bool() == (dropped != 0));
        BOOST_TEST(w.board.status(t0).at("sessions").at(0).at("last").at("text_cut").as_bool() ==
                   (dropped != 0));
    }
}

BOOST_AUTO_TEST_CASE(of_a_long_text_the_end_is_shown_however_it_comes) {
    std::string all;
    for (int i = 0; i < 1000; ++i)
        all += "\xe2\x82\xac" + std::to_string(i);
    watched whole;
    whole.hear(text_event{"p", all});
    watched in_pieces;
    for (std::size_t at = 0; at < all.size(); at += 7)
        in_pieces.hear(text_event{"p", all.substr(at, 7)});
    BOOST_TEST(all.ends_with(whole.row().doing));
    BOOST_TEST(whole.row().doing.size() > 230u);
    BOOST_TEST(whole.row().doing == in_pieces.row().doing);
}

BOOST_AUTO_TEST_CASE(every_outcome_has_its_state) {
    const std::vector<std::pair<outcome, std::string>> rows{
        {outcome::completed, "done"},    {outcome::failed, "failed"}, {outcome::aborted, "aborted"},
        {outcome::rejected, "rejected"}, {outcome::lost, "lost"},     {outcome::detached, "detached"}};
    for (const auto& [how, state] : rows) {
        watched w;
        w.hear(ended(how));
        BOOST_TEST(w.state() == state);
    }
}

BOOST_AUTO_TEST_CASE(without_a_turn_the_status_tells) {
    watched w;
    w.see("s", session_status::kind::busy);
    BOOST_TEST(w.state() == "working");
    w.see("s", session_status::kind::retry);
    BOOST_TEST(w.state() == "retrying");
    auto never_seen = view_of("new", std::nullopt);
    never_seen.seen.reset();
    w.board.see(0, never_seen, t0);
    BOOST_TEST(w.state(1) == "unknown");
}

BOOST_AUTO_TEST_CASE(what_it_does_now_is_the_tool_that_runs_else_the_last_words) {
    watched w;
    w.hear(text_event{"p", "Let me see."});
    BOOST_TEST(w.row().doing == "Let me see.");
    BOOST_TEST(w.row().ends);
    w.hear(tool_event{"c1", "bash", "running", "git status"});
    BOOST_TEST(w.row().doing == "bash: git status");
    BOOST_TEST(!w.row().ends);
    w.hear(tool_event{"c2", "read", "pending", ""});
    BOOST_TEST(w.row().doing == "read");
    w.hear(tool_event{"c2", "read", "completed", "a.cpp"});
    w.hear(tool_event{"c1", "bash", "error", "git status"});
    BOOST_TEST(w.row().doing == "Let me see.");
    w.hear(text_event{"q", "Done."});
    BOOST_TEST(w.row().doing == "Let me see. Done.");
    w.hear(reasoning_event{"r", "why though"});
    BOOST_TEST(w.row().doing == "thinks: why though");
    w.hear(quiet_event{seconds(30), "busy"});
    BOOST_TEST(w.row().doing == "quiet for 30 s; the server says busy");
}

BOOST_AUTO_TEST_CASE(what_it_asks_stands_before_all_else) {
    watched w;
    w.hear(text_event{"p", "May I?"});
    w.hear(ask_for("a"));
    question_event question;
    question.request.id = "b";
    question.request.questions.emplace_back();
    question.request.questions[0].text = "Red or blue?";
    w.hear(question);
    BOOST_TEST(w.row().doing == "asks: bash (git push)");
    BOOST_TEST(w.row().asks == 2U);
    w.hear(ask_for("a", "once"));
    BOOST_TEST(w.row().doing == "asks: Red or blue?");
    BOOST_TEST(w.board.totals().asks == 1U);
}

BOOST_AUTO_TEST_CASE(a_turn_that_ended_badly_says_why) {
    watched w;
    auto end = ended(outcome::failed, rule::message_error);
    end.error = settlement_error{"server", "APIError", "no credit", 402};
    w.hear(end);
    BOOST_TEST(w.row().doing == "APIError: no credit");
    w.hear(ended(outcome::lost, rule::unfinished), "m2");
    BOOST_TEST(w.row().doing == "unfinished");
    auto limited = ended(outcome::aborted, rule::abort_requested);
    limited.limit = turn_limit::deadline;
    w.hear(limited, "m3");
    BOOST_TEST(w.row().doing == "passed its limit: " + std::string(to_string(turn_limit::deadline)));
}

BOOST_AUTO_TEST_CASE(asks_that_nobody_answered_end_with_the_turn) {
    watched w;
    w.hear(ask_for("a"));
    w.hear(ended(outcome::aborted));
    BOOST_TEST(w.row().asks == 0U);
    BOOST_TEST(w.state() == "aborted");
}

BOOST_AUTO_TEST_CASE(a_turn_is_as_old_as_the_work_though_its_words_come_late) {
    watched w;
    w.now = t0 + seconds(1);
    w.see("s", session_status::kind::busy);
    w.now = t0 + seconds(9);
    BOOST_TEST((w.row().since == t0 + seconds(1)));
    w.hear(text_event{"p", "at last"});
    BOOST_TEST((w.row().since == t0 + seconds(1)));
    w.see("s", session_status::kind::idle);
    w.hear(ended(outcome::completed));
    BOOST_TEST(w.board.take_news().back().what.at("took_ms").as_int64() == 8000);
    w.now = t0 + seconds(20);
    w.hear(text_event{"p", "the next"}, "m2");
    BOOST_TEST((w.row().since == t0 + seconds(20)));
}

BOOST_AUTO_TEST_CASE(work_of_which_nothing_is_heard_is_told_once_after_a_second) {
    watched w;
    w.see("s", session_status::kind::busy);
    w.board.pass(t0 + milliseconds(900));
    BOOST_TEST(w.news() == "");
    w.board.pass(t0 + seconds(1));
    w.board.pass(t0 + seconds(2));
    BOOST_TEST(w.news() == "turn");
    w.hear(text_event{"p", "at last"});
    BOOST_TEST(w.news() == "");
    w.hear(ended(outcome::completed));
    w.board.pass(t0 + seconds(9));
    w.hear(text_event{"p", "the next"}, "m2");
    BOOST_TEST(w.news() == "settled turn");
}

BOOST_AUTO_TEST_CASE(of_two_open_turns_the_later_one_is_shown_and_both_settle) {
    watched w;
    w.hear(text_event{"p", "first"}, "m1");
    w.hear(text_event{"q", "second"}, "m2");
    BOOST_TEST(w.row().doing == "second");
    w.hear(ended(outcome::completed), "m2");
    BOOST_TEST(w.row().doing == "first");
    w.hear(ended(outcome::completed), "m1");
    BOOST_TEST(w.state() == "done");
    BOOST_TEST(w.board.totals().turns == 2U);
    BOOST_TEST(w.news() == "turn turn settled settled");
}

BOOST_AUTO_TEST_CASE(a_server_out_of_reach_is_told_once_whoever_is_on_it) {
    watched w;
    w.see("t");
    (void)w.news();
    w.board.see_server(0, {"1.18", {}, 0, {}}, t0);
    BOOST_TEST(w.news() == "");
    for (int i = 1; i <= 3; ++i) {
        w.board.see_server(0, {{}, refused(), static_cast<unsigned>(i), t0 + seconds(i)}, t0 + seconds(i));
        auto view = view_of("s");
        view.trouble = refused();
        view.failures = static_cast<unsigned>(i);
        w.board.see(0, view, t0 + seconds(i));
    }
    BOOST_TEST(w.news() == "trouble");
    BOOST_TEST(w.board.totals().servers_in_trouble == 1U);
    BOOST_TEST(w.row(0).is_server);
    BOOST_TEST(w.row(1).trouble.has_value());
    w.board.see_server(0, {}, t0 + seconds(9));
    w.see("s");
    const auto news = w.board.take_news();
    BOOST_REQUIRE(news.size() == 1U);
    BOOST_TEST(news[0].name == "recovered");
    BOOST_TEST(news[0].what.at("after_ms").as_int64() == 8000);
    BOOST_TEST(!w.row(0).is_server);
}

BOOST_AUTO_TEST_CASE(the_countdown_of_a_run_is_its_servers_where_that_is_out_of_reach) {
    watched w;
    auto view = view_of("s");
    view.trouble = refused();
    view.failures = 1;
    view.next_try = t0 + seconds(20);
    w.board.see(0, view, t0);
    BOOST_TEST((w.row().trouble->next_try == t0 + seconds(20)));
    w.board.see_server(0, {{}, refused(), 4, t0 + seconds(2)}, t0);
    BOOST_TEST((w.row(1).trouble->next_try == t0 + seconds(2)));
    BOOST_TEST(w.row(1).trouble->failures == 4U);
}

BOOST_AUTO_TEST_CASE(a_server_that_is_down_matters_most) {
    watched w;
    w.hear(text_event{"p", "at work"});
    w.board.see_server(0, {{}, refused(), 4, t0 + seconds(2)}, t0);
    BOOST_TEST(rank_of(w.row(0)) < rank_of(w.row(1)));
}

BOOST_AUTO_TEST_CASE(trouble_of_one_session_is_told_as_its_own) {
    watched w;
    auto view = view_of("s");
    view.trouble = retry::make_failure(errc::stalled);
    view.failures = 1;
    view.next_try = t0 + seconds(4);
    w.board.see(0, view, t0);
    view.failures = 2;
    w.board.see(0, view, t0 + seconds(1));
    const auto news = w.board.take_news();
    BOOST_REQUIRE(news.size() == 1U);
    BOOST_TEST(news[0].name == "trouble");
    BOOST_TEST(news[0].what.at("session").as_string() == "s");
    BOOST_TEST(news[0].what.at("retry_in_ms").as_int64() == 4000);
    w.see("s");
    BOOST_TEST(w.news() == "recovered");
}

BOOST_AUTO_TEST_CASE(what_was_deleted_is_shown_for_a_minute) {
    watched w;
    w.board.gone(0, "s", t0);
    BOOST_TEST(w.state() == "deleted");
    w.board.pass(t0 + seconds(59));
    BOOST_TEST(w.state() == "deleted");
    w.board.pass(t0 + seconds(60));
    BOOST_TEST(w.board.totals().runs == 0U);
}

BOOST_AUTO_TEST_CASE(a_session_that_no_server_knows_has_a_row_until_one_does) {
    watched w;
    w.board.miss(std::nullopt, "lost-one", {}, t0);
    BOOST_TEST(w.row(1).name == "lost-one");
    BOOST_TEST(w.state(1) == "unknown");
    w.board.forget(std::nullopt, "lost-one");
    BOOST_TEST(w.board.rows().size() == 1U);
}

BOOST_AUTO_TEST_CASE(nothing_seen_anew_changes_nothing) {
    watched w;
    const auto before = w.board.version();
    w.see("s");
    BOOST_TEST(w.board.version() == before);
    w.see("s", session_status::kind::busy);
    BOOST_TEST(w.board.version() != before);
}

BOOST_AUTO_TEST_CASE(status_tells_servers_sessions_and_dates) {
    watched w;
    w.board.see_server(0, {"1.18.34", {}, 0, {}}, t0);
    w.board.see_streams(0, 2);
    w.now = t0 + milliseconds(1500);
    w.hear(text_event{"p", "Hello"});
    w.hear(tool_event{"c", "bash", "running", "ls"});
    w.hear(ask_for("a"));
    w.hear(ended(outcome::completed), "earlier");
    const auto status = w.board.status(t0 + seconds(2));
    const auto& server = status.at("servers").at(0);
    BOOST_TEST(server.at("version").as_string() == "1.18.34");
    BOOST_TEST(server.at("streams").to_number<int>() == 2);
    BOOST_TEST(server.at("state").as_string() == "up");
    const auto& session = status.at("sessions").at(0);
    BOOST_TEST(session.at("state").as_string() == "waiting");
    BOOST_TEST(session.at("seen_ms_ago").as_int64() == 2000);
    BOOST_TEST(session.at("seen_at").as_string() == "2023-11-14T22:13:20.000Z");
    BOOST_TEST(session.at("turn").at("since").as_string() == "2023-11-14T22:13:21.500Z");
    BOOST_TEST(session.at("turn").at("text").as_string() == "Hello");
    BOOST_TEST(session.at("turn").at("tool").as_string() == "bash: ls");
    BOOST_TEST(session.at("asks").as_array().size() == 1U);
    BOOST_TEST(session.at("last").at("outcome").as_string() == "completed");
    BOOST_TEST(status.at("totals").at("waiting").to_number<int>() == 1);
}

BOOST_AUTO_TEST_CASE(status_is_bounded_and_names_those_that_matter_first) {
    watched w;
    for (int i = 0; i < 50; ++i)
        w.see("idle" + std::to_string(i));
    w.see("busy", session_status::kind::busy);
    const auto status = w.board.status(t0, 3);
    BOOST_TEST(status.at("sessions").as_array().size() == 3U);
    BOOST_TEST(status.at("sessions").at(0).at("id").as_string() == "busy");
    BOOST_TEST(status.at("totals").at("sessions").to_number<int>() == 52);
}

BOOST_AUTO_TEST_CASE(however_much_is_told_little_is_kept) {
    watched w;
    for (int i = 0; i < 2000; ++i) {
        w.hear(text_event{"p", "äöü€ and so on, "});
        w.hear(tool_event{"c" + std::to_string(i), "bash", "running", std::string(5000, 'x')});
        w.hear(ask_for("a" + std::to_string(i)));
        (void)w.board.take_news();
    }
    const auto size = json::serialize(w.board.status(t0)).size();
    BOOST_TEST(size < 32'000U, size);
}

// --- work in the background

BOOST_AUTO_TEST_CASE(work_in_the_background_is_shown_in_the_row_and_the_status) {
    watched w;
    w.hear(ended(outcome::completed));
    BOOST_TEST(w.row().doing == "");
    for (const std::size_t children : {1, 2}) {
        auto view = view_of("s");
        view.background = children;
        const auto before = w.board.version();
        w.board.see(0, view, w.now);
        BOOST_TEST(w.board.version() != before);
        BOOST_TEST(w.row().doing == (children == 1 ? "in the background: 1 child session at work"
                                                   : "in the background: 2 child sessions at work"));
        BOOST_TEST(w.board.status(t0).at("sessions").at(0).at("background").to_number<std::size_t>() ==
                   children);
    }
}

BOOST_AUTO_TEST_CASE(prompts_that_wait_are_shown_in_the_row_and_the_status) {
    watched w;
    w.hear(ended(outcome::completed));
    for (const std::size_t prompts : {1, 2}) {
        auto view = view_of("s");
        view.waiting = prompts;
        const auto before = w.board.version();
        w.board.see(0, view, w.now);
        BOOST_TEST(w.board.version() != before);
        BOOST_TEST(w.row().doing == (prompts == 1 ? "1 prompt waits" : "2 prompts wait"));
        BOOST_TEST(w.board.status(t0).at("sessions").at(0).at("waiting").to_number<std::size_t>() == prompts);
        view.background = 1;
        w.board.see(0, view, w.now);
        BOOST_TEST(w.row().doing.ends_with(": in the background: 1 child session at work"), w.row().doing);
    }
}

BOOST_AUTO_TEST_CASE(what_a_child_in_the_background_asks_begins_no_turn_and_outlives_the_next_one) {
    watched w;
    w.hear(ask_for("a"), "");
    BOOST_TEST(w.state() == "waiting");
    BOOST_TEST(w.news() == "ask");
    w.hear(text_event{"p", "Hello"}, "m2");
    w.hear(ask_for("b"), "m2");
    w.hear(ended(outcome::completed), "m2");
    BOOST_TEST(w.row().asks == 1u);
    w.hear(ask_for("a", "once"), "");
    BOOST_TEST(w.state() == "done");
}
