// What holdfast watch tells of turns, errors and servers, where the field is odd: rows that pair, dates that
// hold, and no number that is none.
#include <boost/test/unit_test.hpp>

#include "watch/board.hpp"
#include "watch/table.hpp"

#include <boost/json/serialize.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::app;
using namespace holdfast::opencode;
namespace json = boost::json;

const time_point t0{seconds(1000)};
const wall_time w0{seconds(1'700'000'000)}; // 2023-11-14T22:13:20Z

session_view view_of(const std::string& id, session_status::kind state = session_status::kind::idle) {
    session_view view;
    view.info.id = id;
    view.info.title = "title of " + id;
    view.captured = true;
    view.seen = t0;
    view.status.emplace();
    view.status->state = state;
    return view;
}

settlement ended(outcome how, rule why = rule::message_finished) {
    settlement end;
    end.outcome = how;
    end.rule = why;
    return end;
}

struct watched {
    watch_board board{t0, w0};

    watched() {
        board.add_server("http://one:1", "one");
        board.see(0, view_of("s"), t0);
        (void)board.take_news();
    }
    void hear(agent_event event, const std::string& message = "m", const std::string& id = "s",
              time_point now = t0) {
        board.hear(0, {id, message, std::move(event)}, now);
    }
    /// "turn(m) settled(m)"
    std::string news() {
        std::string names;
        for (const auto& each : board.take_news()) {
            names += (names.empty() ? "" : " ") + each.name;
            if (const auto* message = each.what.if_contains("message"); message && message->is_string())
                names += '(' + std::string(message->get_string()) + ')';
        }
        return names;
    }
};

retry::failure unauthorized() {
    return retry::make_status_failure(401, "", {});
}

} // namespace

BOOST_AUTO_TEST_CASE(each_settled_row_follows_a_turn_row_of_its_own) {
    watched w;
    w.hear(ended(outcome::completed), "m1"); // nothing else was heard of it
    BOOST_TEST(w.news() == "turn(m1) settled(m1)");
    w.board.see(0, view_of("s", session_status::kind::busy), t0);
    w.board.pass(t0 + seconds(2));
    BOOST_TEST(w.news() == "turn"); // at work, though nobody knows yet at what
    w.hear(text_event{"p", "at last"}, "m2");
    w.hear(text_event{"q", "and"}, "m3");
    w.hear(ended(outcome::completed), "m3");
    w.hear(ended(outcome::completed), "m2");
    BOOST_TEST(w.news() == "turn(m3) settled(m3) settled(m2)");
}

BOOST_AUTO_TEST_CASE(turns_of_a_session_that_is_gone_or_moved_are_lost) {
    watched w;
    w.hear(text_event{"p", "one"}, "m1");
    w.hear(text_event{"p", "two"}, "m2");
    w.board.gone(0, "s", t0);
    BOOST_TEST(w.news() == "turn(m1) turn(m2) settled(m1) settled(m2) session");
    w.board.see(0, view_of("t"), t0);
    w.hear(text_event{"p", "one"}, "m3", "t");
    (void)w.news();
    w.board.moved(0, "t", t0);
    const auto told = w.board.take_news();
    BOOST_REQUIRE(told.size() == 1U);
    BOOST_TEST(told[0].what.at("outcome").as_string() == "lost");
    BOOST_TEST(told[0].what.at("message").as_string() == "m3");
    BOOST_TEST(w.board.totals().runs == 1U); // the deleted one, for a minute
}

BOOST_AUTO_TEST_CASE(a_session_that_vanished_before_it_was_seen_leaves_nothing) {
    watched w;
    w.board.gone(0, "never-seen", t0);
    BOOST_TEST(w.board.rows().size() == 1U);
    BOOST_TEST(w.news() == "");
}

BOOST_AUTO_TEST_CASE(an_error_of_no_turn_is_a_row) {
    watched w;
    w.board.see_error(0, "", {"ProviderAuthError", "no key", 0});
    w.board.see_error(0, "ses_other", {"", std::string(5000, 'x'), 500});
    const auto told = w.board.take_news();
    BOOST_REQUIRE(told.size() == 2U);
    BOOST_TEST(told[0].name == "error");
    BOOST_TEST(told[0].grave);
    BOOST_TEST(told[0].words == "one: error: ProviderAuthError: no key");
    BOOST_TEST(told[0].what.at("session").is_null());
    BOOST_TEST(told[0].what.at("message").as_string() == "no key");
    BOOST_TEST(told[1].what.at("session").as_string() == "ses_other");
    BOOST_TEST(json::serialize(told[1].what).size() < 1000U);
}

BOOST_AUTO_TEST_CASE(a_server_that_rejects_the_credentials_says_so_everywhere) {
    watched w;
    w.board.see_server(0, {"1.18", {}, 0, {}}, t0);
    w.hear(text_event{"p", "at work"});
    w.board.see(0, view_of("s", session_status::kind::busy), t0);
    w.board.see_server(0, {{}, retry::make_failure(errc::refused), 1, t0 + seconds(1)}, t0);
    (void)w.news();
    w.board.see_server(0, {{}, unauthorized(), 2, t0 + seconds(30)}, t0 + seconds(1));
    auto view = view_of("s", session_status::kind::busy);
    view.trouble = unauthorized();
    w.board.see(0, view, t0 + seconds(1));
    const auto told = w.board.take_news();
    BOOST_REQUIRE(told.size() == 1U); // not for each session
    BOOST_TEST(told[0].name == "trouble");
    BOOST_TEST(told[0].what.at("message").as_string().starts_with("authentication failed"));
    for (const auto& row : w.board.rows()) {
        BOOST_TEST(std::string(to_string(row.state)) == "unknown");
        BOOST_TEST(row.doing.starts_with("authentication failed"), row.doing);
        BOOST_TEST(connection_words(row, t0 + seconds(1)) == "authentication failed");
    }
    BOOST_TEST(w.board.totals().working == 0U);
    const auto status = json::serialize(w.board.status(t0 + seconds(1)));
    BOOST_TEST(status.find("\"message\":\"authentication failed") != std::string::npos, status);
    BOOST_TEST(status.find("\"state\":\"working\"") == std::string::npos, status);
    w.board.see_server(0, {"1.18", {}, 0, {}}, t0 + seconds(9));
    BOOST_TEST(w.news() == "recovered");
}

BOOST_AUTO_TEST_CASE(an_archived_session_is_shown_as_archived_until_it_works) {
    watched w;
    auto view = view_of("s");
    view.info.archived_ms = 1'700'000'000'000;
    w.board.see(0, view, t0);
    BOOST_TEST(std::string(to_string(w.board.rows()[0].state)) == "archived");
    BOOST_TEST(w.board.status(t0).at("sessions").at(0).at("archived").as_bool());
    w.hear(text_event{"p", "at work"});
    BOOST_TEST(std::string(to_string(w.board.rows()[0].state)) == "working");
    w.hear(ended(outcome::completed));
    BOOST_TEST(std::string(to_string(w.board.rows()[0].state)) == "archived");
}

BOOST_AUTO_TEST_CASE(a_wait_without_an_end_is_no_number) {
    watched w;
    w.board.see_server(0, {{}, retry::make_failure(errc::refused), 3, time_point::max()}, t0);
    auto view = view_of("s");
    view.trouble = retry::make_failure(errc::stalled);
    view.next_try = time_point::max();
    w.board.see(0, view, t0);
    for (const auto& each : w.board.take_news())
        BOOST_TEST(each.what.at("retry_in_ms").is_null(), json::serialize(each.what));
    const auto status = json::serialize(w.board.status(t0));
    BOOST_TEST(status.find("\"retry_in_ms\":9") == std::string::npos, status);
    BOOST_TEST(connection_words(w.board.rows()[0], t0) == "trying again (refused, 3rd)");
}

BOOST_AUTO_TEST_CASE(dates_hold_when_one_clock_moves_against_the_other) {
    watched w;
    const auto since = [&](time_point now) {
        return std::string(w.board.status(now).at("sessions").at(0).at("since").as_string());
    };
    w.hear(text_event{"p", "one"}, "m1", "s", t0 + seconds(1));
    BOOST_TEST(since(t0 + seconds(2)) == "2023-11-14T22:13:21.000Z");
    // The machine slept for an hour: the steady clock did not see it.
    w.board.see_clocks(t0 + seconds(3), w0 + seconds(3 + 3600));
    BOOST_TEST(since(t0 + seconds(4)) == "2023-11-14T22:13:21.000Z");
    BOOST_TEST(w.board.status(t0 + seconds(4)).at("now").as_string() == "2023-11-14T23:13:24.000Z");
    w.hear(ended(outcome::completed), "m1", "s", t0 + seconds(5));
    const auto status = w.board.status(t0 + seconds(6));
    BOOST_TEST(status.at("since").as_string() == "2023-11-14T22:13:20.000Z");
    BOOST_TEST(status.at("sessions").at(0).at("last").at("at").as_string() == "2023-11-14T23:13:25.000Z");
    // Somebody sets the clock back by a day.
    w.board.see_clocks(t0 + seconds(7), w0 + seconds(7 - 86400));
    w.hear(text_event{"p", "two"}, "m2", "s", t0 + seconds(8));
    BOOST_TEST(since(t0 + seconds(9)) == "2023-11-13T22:13:28.000Z");
    // A clock that is slewed all the time costs little.
    for (int i = 0; i < 100'000; ++i)
        w.board.see_clocks(t0 + seconds(10 + i), w0 + seconds(10 + i) + milliseconds(500L * i));
    BOOST_TEST(w.board.status(t0 + seconds(200'000)).at("now").as_string().size() == 24U);
}

BOOST_AUTO_TEST_CASE(sessions_beyond_the_limit_are_a_count) {
    watched w;
    w.board.see_left_out(0, 98'000);
    BOOST_TEST(w.board.totals().left_out == 98'000U);
    const auto status = w.board.status(t0);
    BOOST_TEST(status.at("totals").at("sessions_left_out").to_number<int>() == 98'000);
    BOOST_TEST(status.at("servers").at(0).at("sessions_left_out").to_number<int>() == 98'000);
    const auto lines = table_lines(w.board.rows(), w.board.totals(), {}, t0, t0, {});
    BOOST_TEST(lines[0].find("98000 more not watched") != std::string::npos, lines[0]);
}
