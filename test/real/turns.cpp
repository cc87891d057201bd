// Turns on a real server, as the library tells them: what each case ends as, by which rule, with which text, and that
// the model ran exactly once.
#define BOOST_TEST_MODULE turns
#include <boost/test/unit_test.hpp>

#include "support/eventually.hpp"
#include "support/held_turn.hpp"
#include "support/opencode_server.hpp"

#include <chrono>
#include <string>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using opencode::outcome;
using opencode::rule;
using opencode::reprompt;

BOOST_TEST_GLOBAL_FIXTURE(opencode_world);

const std::string hello = "Hello from the mock model.";

/// One library for all tests of this program, as a program would have it.
struct held_world {
    static inline held_server* server = nullptr;
    held_world() { server = new held_server(opencode_world::server().url()); }
    ~held_world() { delete std::exchange(server, nullptr); }
};
BOOST_TEST_GLOBAL_FIXTURE(held_world);

held_server& held() {
    return *held_world::server;
}

std::size_t runs(std::string_view key) {
    return opencode_world::model().runs(key);
}

std::string new_session() {
    return held().new_session(opencode_world::server().directory());
}

/// A prompt in a session of its own.
held_turn prompt(const std::string& text) {
    return held().prompt(new_session(), text);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_plain_turn_is_completed_with_its_text) {
    auto turn = prompt("plain-key #plain");
    check_end(turn, outcome::completed, rule::message_finished, hello);
    BOOST_TEST(turn.told_text() == hello);
    BOOST_TEST(turn.all<opencode::usage_event>().size() == 1U);
    BOOST_TEST(turn.all<opencode::gap_event>().empty());
    BOOST_TEST(runs("plain-key") == 1U);
}

BOOST_AUTO_TEST_CASE(reasoning_is_told_apart_from_text) {
    auto turn = prompt("reason-key #reason");
    check_end(turn, outcome::completed, rule::message_finished, "I have thought.");
    BOOST_TEST(turn.told_reasoning() == "Let me think about it.");
    BOOST_TEST(turn.told_text() == "I have thought.");
    BOOST_TEST(runs("reason-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_tool_that_is_allowed_once_runs) {
    auto turn = prompt("once-key #bash");
    const auto ask = turn.wait_permission();
    BOOST_TEST(ask.permission == "bash");
    BOOST_TEST(turn.reply_permission(ask.id, "once").has_value());
    check_end(turn, outcome::completed, rule::message_finished, "Tool said hi.");
    BOOST_TEST(turn.told_text() == "Running it. Tool said hi.");
    const auto tools = turn.all<opencode::tool_event>();
    BOOST_REQUIRE(!tools.empty());
    BOOST_TEST(tools.back().name == "bash");
    BOOST_TEST(tools.back().state == "completed");
    const auto asks = turn.all<opencode::permission_event>();
    BOOST_REQUIRE(asks.size() == 2U);
    BOOST_TEST(asks[1].reply.value_or("") == "once");
    BOOST_TEST(runs("once-key") == 2U);
}

BOOST_AUTO_TEST_CASE(an_abort_while_text_streams_ends_the_turn_as_aborted) {
    auto turn = prompt("abort-stream-key #slow:200");
    BOOST_TEST(turn.wait_text());
    BOOST_TEST(turn.abort().has_value());
    const auto how = turn.settled();
    BOOST_TEST(to_string(how.outcome) == "aborted");
    BOOST_TEST(to_string(how.rule) == "message_error");
    BOOST_TEST(runs("abort-stream-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_model_that_refuses_a_request_fails_the_turn) {
    auto turn = prompt("e400-key #e400");
    const auto how = turn.settled();
    BOOST_TEST(to_string(how.outcome) == "failed");
    BOOST_TEST(to_string(how.rule) == "message_error");
    BOOST_REQUIRE(how.error.has_value());
    BOOST_TEST(how.error->name == "APIError");
    BOOST_TEST(how.error->message.find("scripted bad request") != std::string::npos);
    BOOST_TEST(runs("e400-key") == 1U);
}
