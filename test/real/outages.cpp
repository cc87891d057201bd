// Turns through outages of the stream and of a real server: what is told has no hole and no repeat, and each
// turn is settled once, truthfully.
#include <boost/test/unit_test.hpp>

#include "support/eventually.hpp"
#include "support/fault_proxy.hpp"
#include "support/held_turn.hpp"
#include "support/plain_http.hpp"
#include "support/ports.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using namespace std::chrono_literals;
using opencode::outcome;
using opencode::rule;

struct warm_world {
    opencode_world world;
    warm_world() { warm_up(opencode_world::server()); }
};
BOOST_TEST_GLOBAL_FIXTURE(warm_world);

const std::string hello = "Hello from the mock model.";

opencode_server& real() {
    return opencode_world::server();
}

std::size_t runs(std::string_view key) {
    return opencode_world::model().runs(key);
}

/// The words of #slow:N.
std::string words(unsigned count) {
    std::string text;
    for (unsigned i = 0; i < count; ++i)
        text += "w" + std::to_string(i) + ' ';
    return text;
}

void check_outcome(const opencode::settlement& how, outcome expected) {
    BOOST_TEST(to_string(how.outcome) == to_string(expected));
}

/// Deadlines short enough that a server which hangs is found within a test's time.
opencode::server_config impatient_config() {
    auto config = quick_config();
    config.stall_timeout = seconds(4);
    config.greeting_timeout = seconds(2);
    config.rest.transport.deadlines.connect = seconds(2);
    config.rest.transport.deadlines.header = seconds(2);
    config.rest.transport.deadlines.exchange = seconds(5);
    return config;
}

/// A library that reaches the real server through a proxy, and a session.
struct through_proxy {
    fault_proxy proxy{real().port()};
    held_server held;
    std::string session;

    explicit through_proxy(opencode::server_config config = quick_config())
        : held(proxy.url(), std::move(config)) {
        session = held.new_session(real().directory());
    }

    held_turn prompt_and_wait_for_text(const std::string& text) {
        auto turn = held.prompt(session, text);
        BOOST_TEST(turn.wait_text());
        return turn;
    }
};

/// Waits, past the proxy, until the session is idle and its last message is finished.
bool is_over_at_the_server(const std::string& session) {
    held_server direct(real().url());
    return eventually(
        [&] {
            const auto status = direct.await(direct.rest().status(real().directory()));
            const auto last = direct.await(direct.rest().messages(session, 1, {}));
            return status && !status->contains(session) && last && !last->messages.empty() &&
                   last->messages.back().info.finished();
        },
        patience);
}

/// What holds after an outage in mid-answer through which nothing was lost: `text` is the last message's.
void check_survived(held_turn& turn, const std::string& before, const std::string& text) {
    check_end(turn, outcome::completed, rule::message_finished, text);
    BOOST_TEST(turn.told_text() == before + text);
    BOOST_TEST(!turn.all<opencode::interrupted_event>().empty());
    BOOST_TEST(!turn.all<opencode::gap_event>().empty());
    BOOST_TEST(!turn.told_missing());
}

void check_survived(held_turn& turn, const std::string& text) {
    check_survived(turn, {}, text);
}

/// As the server itself says it, past the library.
std::string version_of(const opencode_server& server) {
    const auto answer = boost::json::parse(http_call(server.port(), "GET", "/global/health").body);
    return std::string(answer.at("version").as_string());
}

void check_next_prompt(held_server& held, const std::string& session) {
    auto next = held.prompt(session, "next #plain");
    check_end(next, outcome::completed, rule::message_finished, hello);
    BOOST_TEST(next.told_text() == hello);
}

} // namespace

BOOST_AUTO_TEST_CASE(an_answer_goes_on_after_its_stream_was_reset) {
    through_proxy world;
    auto turn = world.prompt_and_wait_for_text("reset-key #slow:60");
    BOOST_TEST(world.proxy.cut(fault_proxy::ending::reset) >= 1U);
    check_survived(turn, words(60));
    BOOST_TEST(runs("reset-key") == 1U);
}

BOOST_AUTO_TEST_CASE(an_answer_goes_on_after_its_stream_was_ended) {
    through_proxy world;
    auto turn = world.prompt_and_wait_for_text("end-key #slow:60");
    BOOST_TEST(world.proxy.cut(fault_proxy::ending::clean) >= 1U);
    check_survived(turn, words(60));
    BOOST_TEST(runs("end-key") == 1U);
}

BOOST_AUTO_TEST_CASE(an_answer_goes_on_after_its_stream_was_cut_again_and_again) {
    through_proxy world;
    auto turn = world.prompt_and_wait_for_text("again-key #slow:120");
    for (int i = 0; i < 5; ++i) {
        BOOST_TEST(eventually(
            [&] { return world.proxy.cut(fault_proxy::ending::reset, fault_proxy::scope::streams) > 0; },
            patience));
    }
    check_survived(turn, words(120));
    BOOST_TEST(runs("again-key") == 1U);
}

BOOST_AUTO_TEST_CASE(an_answer_in_several_parts_has_no_hole_when_its_stream_is_cut_between_them) {
    through_proxy world;
    auto turn = world.held.prompt(world.session, "parts-key #bash");
    const auto ask = turn.wait_permission();
    world.proxy.cut();
    BOOST_TEST(turn.wait([](const auto& told) {
        return std::any_of(told.begin(), told.end(),
                           [](const auto& e) { return std::holds_alternative<opencode::gap_event>(e); });
    }));
    BOOST_TEST(turn.reply_permission(ask.id, "once").has_value());
    check_survived(turn, "Running it. ", "Tool said hi.");
}

BOOST_AUTO_TEST_CASE(an_answer_goes_on_after_the_server_could_not_be_reached_for_a_while) {
    through_proxy world;
    auto turn = world.prompt_and_wait_for_text("while-key #slow:120");
    world.proxy.refuse(true);
    world.proxy.cut();
    BOOST_TEST(turn.wait([](const auto& told) {
        return std::count_if(told.begin(), told.end(), [](const auto& e) {
                   return std::holds_alternative<opencode::interrupted_event>(e);
               }) >= 3;
    }));
    world.proxy.refuse(false);
    check_survived(turn, words(120));
    BOOST_TEST(runs("while-key") == 1U);
}

BOOST_AUTO_TEST_CASE(an_end_that_was_missed_is_found_with_all_of_the_text) {
    through_proxy world;
    auto turn = world.prompt_and_wait_for_text("missed-key #slow:30");
    world.proxy.refuse(true);
    world.proxy.cut();
    BOOST_TEST(is_over_at_the_server(world.session));
    world.proxy.refuse(false);
    check_survived(turn, words(30));
    BOOST_TEST(runs("missed-key") == 1U);
    check_next_prompt(world.held, world.session);
}

BOOST_AUTO_TEST_CASE(an_ask_that_was_missed_is_told_after_the_outage) {
    through_proxy world;
    auto turn = world.held.prompt(world.session, "missed-ask-key #slow:20");
    BOOST_TEST(turn.wait_text());
    auto second = world.held.prompt(world.session, "second-ask-key #bash");
    world.proxy.refuse(true);
    world.proxy.cut();
    {
        held_server direct(real().url());
        BOOST_TEST(eventually(
            [&] {
                const auto asks = direct.await(direct.rest().permissions(real().directory()));
                return asks && std::any_of(asks->begin(), asks->end(),
                                           [&](const auto& ask) { return ask.session_id == world.session; });
            },
            patience));
    }
    world.proxy.refuse(false);
    BOOST_TEST(second.reply_permission(second.wait_permission().id, "once").has_value());
    check_outcome(turn.settled(), outcome::completed);
    check_end(second, outcome::completed, rule::message_finished, "Tool said hi.");
    BOOST_TEST(second.told_text() == "Running it. Tool said hi.");
}

BOOST_AUTO_TEST_CASE(a_turn_settles_by_rest_while_the_stream_is_refused) {
    through_proxy world;
    auto turn = world.prompt_and_wait_for_text("rest-only-key #slow:30");
    world.proxy.refuse_streams(true);
    world.proxy.cut(fault_proxy::ending::reset, fault_proxy::scope::streams);
    check_survived(turn, words(30));
    BOOST_TEST(world.proxy.open(fault_proxy::scope::streams) == 0U);
    world.proxy.refuse_streams(false);
    check_next_prompt(world.held, world.session);
}

BOOST_AUTO_TEST_CASE(a_turn_settles_by_rest_while_the_stream_is_answered_with_an_error) {
    through_proxy world;
    auto turn = world.prompt_and_wait_for_text("rest-error-key #slow:30");
    world.proxy.answer_streams(500);
    world.proxy.cut(fault_proxy::ending::reset, fault_proxy::scope::streams);
    check_survived(turn, words(30));
    world.proxy.answer_streams(0);
    check_next_prompt(world.held, world.session);
}

BOOST_AUTO_TEST_CASE(a_server_that_stays_out_of_reach_leaves_the_turn_lost_and_the_library_usable) {
    auto config = quick_config();
    config.policy.max_attempts = 3;
    through_proxy world(config);
    auto turn = world.prompt_and_wait_for_text("out-of-reach-key #slow:20");
    world.proxy.refuse(true);
    world.proxy.cut();
    const auto how = turn.settled();
    check_outcome(how, outcome::lost);
    BOOST_TEST(to_string(how.rule) == "gave_up");
    BOOST_TEST(to_string(how.safe_to_reprompt) == "unknown");
    BOOST_REQUIRE(how.error.has_value());
    BOOST_TEST(how.error->cls == "refused");

    auto none = world.held.prompt(world.session, "never-sent-key #plain");
    const auto unsent = none.settled();
    check_outcome(unsent, outcome::failed);
    BOOST_TEST(to_string(unsent.rule) == "not_posted");
    BOOST_TEST(runs("never-sent-key") == 0U);

    world.proxy.refuse(false);
    check_next_prompt(world.held, world.session);
}

BOOST_AUTO_TEST_CASE(a_prompt_whose_answer_was_lost_runs_once) {
    through_proxy world;
    auto warm = world.held.prompt(world.session, "warm #plain");
    check_end(warm, outcome::completed, rule::message_finished, hello);
    world.proxy.latency(2s);
    auto turn = world.held.begin_prompt(world.session, "lost-answer-key #slow:20");
    BOOST_TEST(eventually([&] { return runs("lost-answer-key") == 1U; }, patience));
    BOOST_WARN_MESSAGE(!turn.is_posted(), "too slow a machine: the answer had come already");
    world.proxy.latency(0ms);
    world.proxy.cut();
    const auto how = turn.settled();
    check_outcome(how, outcome::completed);
    BOOST_TEST(how.text == words(20));
    BOOST_TEST(turn.told_text() == words(20));
    BOOST_TEST(runs("lost-answer-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_turn_of_a_server_that_was_killed_is_lost_and_the_next_prompt_works) {
    held_server held(real().url(), impatient_config());
    const auto session = held.new_session(real().directory());
    auto turn = held.prompt(session, "killed-key #slow:200");
    BOOST_TEST(turn.wait_text());
    real().restart();
    const auto how = turn.settled();
    check_outcome(how, outcome::lost);
    BOOST_TEST(to_string(how.rule) == "unfinished");
    BOOST_TEST(to_string(how.safe_to_reprompt) == "unknown");
    BOOST_TEST(turn.told_missing());
    BOOST_TEST(runs("killed-key") == 1U);
    warm_up(real());
    check_next_prompt(held, session);
}

BOOST_AUTO_TEST_CASE(a_prompt_made_while_the_server_is_down_is_answered_when_it_is_back) {
    auto config = impatient_config();
    config.turns.start_grace = patience; // the first prompt of a server that has just been started
    held_server held(real().url(), config);
    const auto session = held.new_session(real().directory());
    auto warm = held.prompt(session, "warm #plain");
    check_end(warm, outcome::completed, rule::message_finished, hello);
    real().stop();
    auto turn = held.begin_prompt(session, "while-down-key #plain");
    real().restart();
    check_end(turn, outcome::completed, rule::message_finished, hello);
    BOOST_TEST(runs("while-down-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_server_that_comes_back_at_another_port_is_found_there) {
    std::mutex mutex;
    auto url = *http::parse_url(real().url());
    auto state = stream::location::state::up;
    auto config = quick_config();
    config.locate = [&] {
        const std::lock_guard lock(mutex);
        stream::location where;
        where.what = state;
        where.url = url;
        return where;
    };
    const auto move_to = [&](stream::location::state what) {
        const std::lock_guard lock(mutex);
        state = what;
        url = *http::parse_url(real().url());
    };
    held_server held(real().url(), config);
    const auto session = held.new_session(real().directory());
    auto turn = held.prompt(session, "moved-key #slow:200");
    BOOST_TEST(turn.wait_text());
    move_to(stream::location::state::down);
    real().restart(free_port());
    move_to(stream::location::state::up);
    held.wake();
    BOOST_TEST(turn.wait([](const auto& told) {
        return !told.empty() && std::holds_alternative<opencode::settlement>(told.back());
    }));
    check_outcome(turn.settled(), outcome::lost);
    warm_up(real());
    auto next = held.prompt(session, "moved-next-key #plain");
    check_end(next, outcome::completed, rule::message_finished, hello);
    BOOST_TEST(next.told_text() == hello);
    BOOST_TEST(runs("moved-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_server_that_is_gone_leaves_the_turn_lost) {
    std::atomic<bool> gone = false;
    auto config = quick_config();
    fault_proxy proxy(real().port());
    const auto url = *http::parse_url(proxy.url());
    config.locate = [&] {
        stream::location where;
        where.what = gone ? stream::location::state::gone : stream::location::state::up;
        where.url = url;
        return where;
    };
    held_server held(proxy.url(), config);
    const auto session = held.new_session(real().directory());
    auto turn = held.prompt(session, "gone-key #slow:40");
    BOOST_TEST(turn.wait_text());
    gone = true;
    proxy.cut();
    const auto how = turn.settled();
    check_outcome(how, outcome::lost);
    BOOST_TEST(to_string(how.rule) == "server_gone");
}

BOOST_AUTO_TEST_CASE(a_server_that_hangs_is_found_by_deadlines_and_had_again_when_it_goes_on) {
    held_server held(real().url(), impatient_config());
    const auto session = held.new_session(real().directory());
    auto turn = held.prompt(session, "frozen-key #slow:60");
    BOOST_TEST(turn.wait_text());
    real().suspend();
    const auto is_stall = [](const opencode::agent_event& e) {
        const auto* broken = std::get_if<opencode::interrupted_event>(&e);
        return broken && broken->failure.cls == failure_class::stall;
    };
    const auto is_timeout = [](const opencode::agent_event& e) {
        const auto* broken = std::get_if<opencode::interrupted_event>(&e);
        return broken && broken->failure.cls == failure_class::timeout;
    };
    BOOST_TEST(turn.wait([&](const auto& told) { return std::any_of(told.begin(), told.end(), is_stall); }));
    BOOST_TEST(
        turn.wait([&](const auto& told) { return std::any_of(told.begin(), told.end(), is_timeout); }));
    real().resume();
    check_survived(turn, words(60));
    BOOST_TEST(runs("frozen-key") == 1U);
    check_next_prompt(held, session);
}

BOOST_AUTO_TEST_CASE(a_server_that_only_accepts_while_it_starts_is_waited_for) {
    real().stop();
    held_server held(real().url(), impatient_config());
    std::thread starter([] { real().restart(); });
    const auto ready = held.ready();
    starter.join();
    BOOST_REQUIRE(ready.has_value());
    BOOST_TEST(ready->version == version_of(real()));
    warm_up(real());
    const auto session = held.new_session(real().directory());
    check_next_prompt(held, session);
}

BOOST_AUTO_TEST_CASE(a_password_lets_in_who_has_it_and_others_are_told_why_not) {
    opencode_server::options what;
    what.model_port = opencode_world::model().port();
    what.password = "secret";
    opencode_server own(what);
    const auto url_with = [&](const std::string& userinfo) {
        return "http://" + userinfo + "127.0.0.1:" + std::to_string(own.port());
    };
    held_server right(url_with("opencode:secret@"), patient_config());
    BOOST_TEST(right.ready().has_value());
    const auto session = right.new_session(own.directory());
    auto turn = right.prompt(session, "password-key #plain");
    check_end(turn, outcome::completed, rule::message_finished, hello);

    for (const char* userinfo : {"opencode:wrong@", ""}) {
        held_server wrong(url_with(userinfo));
        const auto refused = wrong.ready();
        BOOST_REQUIRE(refused.has_error());
        BOOST_TEST(refused.error().status == 401);
        BOOST_TEST(refused.error().message.find("password") != std::string::npos);
        BOOST_TEST(refused.error().message.find("wrong") == std::string::npos);
    }
}
