// Turns on a real server, as the library tells them: what each case ends as, by which rule, with which text,
// and that the model ran exactly once.
#include <boost/test/unit_test.hpp>

#include "support/eventually.hpp"
#include "support/held_turn.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <variant>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using opencode::outcome;
using opencode::rule;

const std::string hello = "Hello from the mock model.";

BOOST_TEST_GLOBAL_FIXTURE(held_world);

held_server& held() {
    return held_world::held();
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

/// A session that has a turn behind it.
std::string session_with_history() {
    const auto session = new_session();
    auto turn = held().prompt(session, "before #plain");
    check_end(turn, outcome::completed, rule::message_finished, hello);
    return session;
}

void check_outcome(const opencode::settlement& how, outcome expected) {
    BOOST_TEST(to_string(how.outcome) == to_string(expected));
}

bool is_retry(const opencode::agent_event& event) {
    return std::holds_alternative<opencode::retry_event>(event);
}

bool waits_for_retry(const held_turn& turn) {
    return turn.wait([](const auto& told) { return std::any_of(told.begin(), told.end(), is_retry); });
}

/// Waits until the model was asked.
bool model_has(const std::string& key, std::size_t count = 1) {
    return eventually([&] { return runs(key) >= count; }, patience);
}

/// A later prompt of the same session is answered as ever.
void check_next_prompt(const std::string& session) {
    auto next = held().prompt(session, "next #plain");
    check_end(next, outcome::completed, rule::message_finished, hello);
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

BOOST_AUTO_TEST_CASE(a_tool_that_is_rejected_ends_the_turn_as_rejected) {
    auto turn = prompt("reject-key #bash");
    const auto ask = turn.wait_permission();
    BOOST_TEST(turn.reply_permission(ask.id, "reject").has_value());
    check_end(turn, outcome::rejected, rule::tool_rejected, "Running it. ");
    BOOST_TEST(turn.all<opencode::tool_event>().back().state == "error");
    BOOST_TEST(runs("reject-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_question_that_is_answered_lets_the_turn_go_on) {
    auto turn = prompt("answer-key #question");
    const auto ask = turn.wait_question();
    BOOST_REQUIRE(ask.questions.size() == 1U);
    BOOST_TEST(ask.questions[0].text == "Which colour?");
    BOOST_REQUIRE(ask.questions[0].options.size() == 2U);
    BOOST_TEST(ask.questions[0].options[1].label == "Blue");
    BOOST_TEST(turn.reply_question(ask.id, {{"Blue"}}).has_value());
    check_end(turn, outcome::completed, rule::message_finished, "You have answered.");
    const auto asks = turn.all<opencode::question_event>();
    BOOST_REQUIRE(asks.size() == 2U);
    BOOST_TEST(asks[1].reply.value_or("") == "answered");
    BOOST_TEST(runs("answer-key") == 2U);
}

BOOST_AUTO_TEST_CASE(a_question_that_is_rejected_ends_the_turn_as_rejected) {
    auto turn = prompt("dismiss-key #question");
    const auto ask = turn.wait_question();
    BOOST_TEST(turn.reject_question(ask.id).has_value());
    check_end(turn, outcome::rejected, rule::tool_rejected, "");
    BOOST_TEST(runs("dismiss-key") == 1U);
}

BOOST_AUTO_TEST_CASE(an_abort_while_text_streams_ends_the_turn_as_aborted) {
    auto turn = prompt("abort-stream-key #slow:200");
    BOOST_TEST(turn.wait_text());
    BOOST_TEST(turn.abort().has_value());
    const auto how = turn.settled();
    check_outcome(how, outcome::aborted);
    BOOST_TEST(to_string(how.rule) == "message_error");
    BOOST_TEST(how.text.starts_with("w0 "));
    BOOST_TEST(runs("abort-stream-key") == 1U);
    check_next_prompt(turn.session_id());
}

BOOST_AUTO_TEST_CASE(an_abort_before_the_models_first_byte_ends_the_turn_as_aborted) {
    auto turn = prompt("abort-mute-key #hang");
    BOOST_TEST(model_has("abort-mute-key"));
    BOOST_TEST(turn.abort().has_value());
    check_end(turn, outcome::aborted, rule::message_error, "");
    BOOST_TEST(runs("abort-mute-key") == 1U);
    check_next_prompt(turn.session_id());
}

BOOST_AUTO_TEST_CASE(an_abort_while_a_permission_is_asked_ends_the_turn_as_aborted) {
    auto turn = prompt("abort-ask-key #bash");
    const auto ask = turn.wait_permission();
    BOOST_TEST(turn.abort().has_value());
    check_end(turn, outcome::aborted, rule::message_error, "Running it. ");
    BOOST_TEST(runs("abort-ask-key") == 1U);

    // The server lists the request for ever: the next turn must not be asked it.
    auto next = held().prompt(turn.session_id(), "next #plain");
    check_end(next, outcome::completed, rule::message_finished, hello);
    BOOST_TEST(next.all<opencode::permission_event>().empty());
}

BOOST_AUTO_TEST_CASE(an_abort_while_the_server_waits_to_retry_ends_the_turn_as_aborted) {
    auto turn = prompt("abort-retry-key #e500");
    BOOST_TEST(waits_for_retry(turn));
    BOOST_TEST(turn.abort().has_value());
    check_end(turn, outcome::aborted, rule::message_interrupted, "");
    check_next_prompt(turn.session_id());
}

BOOST_AUTO_TEST_CASE(an_abort_before_the_loop_has_started_ends_the_turn_as_aborted) {
    auto turn = prompt("abort-early-key #slow:200");
    BOOST_TEST(turn.abort().has_value());
    check_outcome(turn.settled(), outcome::aborted);
    BOOST_TEST(runs("abort-early-key") <= 1U);
    check_next_prompt(turn.session_id());
}

BOOST_AUTO_TEST_CASE(a_prompt_right_after_an_abort_and_the_aborted_one_settle_each_as_itself) {
    auto first = prompt("aborted-key #slow:200");
    BOOST_TEST(first.wait_text());
    BOOST_TEST(first.abort().has_value());
    auto second = held().prompt(first.session_id(), "following-key #plain");
    check_outcome(first.settled(), outcome::aborted);
    check_end(second, outcome::completed, rule::message_finished, hello);
    BOOST_TEST(second.told_text() == hello);
    BOOST_TEST(runs("following-key") == 1U);
}

BOOST_AUTO_TEST_CASE(an_abort_of_an_idle_session_does_not_touch_the_next_prompt) {
    const auto session = session_with_history();
    BOOST_TEST(held().abort(session).has_value());
    check_next_prompt(session);
}

BOOST_AUTO_TEST_CASE(a_prompt_posted_while_another_streams_is_answered_apart) {
    auto first = prompt("streaming-key #slow:40");
    BOOST_TEST(first.wait_text());
    auto second = held().prompt(first.session_id(), "queued-key #plain");
    const auto how = first.settled();
    check_outcome(how, outcome::completed);
    BOOST_TEST(how.text.ends_with("w38 w39 "));
    BOOST_TEST(first.told_text() == how.text);
    check_end(second, outcome::completed, rule::message_finished, hello);
    BOOST_TEST(second.told_text() == hello);
    BOOST_TEST(runs("streaming-key") == 1U);
    BOOST_TEST(runs("queued-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_prompt_posted_while_a_tool_of_another_runs_takes_over_after_it) {
    auto first = prompt("with-tool-key #bash");
    const auto ask = first.wait_permission();
    auto second = held().prompt(first.session_id(), "after-tool-key #plain");
    BOOST_TEST(first.reply_permission(ask.id, "once").has_value());
    check_end(first, outcome::completed, rule::superseded, "Running it. ");
    check_end(second, outcome::completed, rule::message_finished, hello);
    BOOST_TEST(second.told_text() == hello);
    BOOST_TEST(runs("with-tool-key") == 1U);
    BOOST_TEST(runs("after-tool-key") == 1U);
}

BOOST_AUTO_TEST_CASE(of_two_prompts_at_once_each_is_completed_and_the_second_has_the_answer) {
    const auto session = new_session();
    auto first = held().prompt(session, "at-once-1 #plain");
    auto second = held().prompt(session, "at-once-2 #reason");
    const auto how = first.settled();
    check_outcome(how, outcome::completed);
    const bool merged = how.rule == rule::merged;
    BOOST_TEST(how.text == (merged ? "" : hello));
    BOOST_TEST(how.merged_into == (merged ? second.message_id() : ""));
    check_end(second, outcome::completed, rule::message_finished, "I have thought.");
    BOOST_TEST(runs("at-once-1") == (merged ? 0U : 1U));
    BOOST_TEST(runs("at-once-2") == 1U);
}

BOOST_AUTO_TEST_CASE(an_abort_ends_both_of_two_open_turns) {
    auto first = prompt("two-open-1 #slow:200");
    BOOST_TEST(first.wait_text());
    auto second = held().prompt(first.session_id(), "two-open-2 #plain");
    BOOST_TEST(held().abort(first.session_id()).has_value());
    check_outcome(first.settled(), outcome::aborted);
    check_end(second, outcome::aborted, rule::session_aborted, "");
    BOOST_TEST(runs("two-open-2") == 0U);
    check_next_prompt(first.session_id());
}

BOOST_AUTO_TEST_CASE(a_subagents_ask_is_told_to_the_turn_and_its_words_are_not) {
    auto turn = prompt("subagent-key #task:bash");
    const auto ask = turn.wait_permission();
    BOOST_TEST(ask.session_id != turn.session_id());
    BOOST_TEST(turn.reply_permission(ask.id, "once").has_value());
    check_end(turn, outcome::completed, rule::message_finished, "The helper is done.");
    BOOST_TEST(turn.told_text() == "The helper is done.");
    BOOST_TEST(turn.all<opencode::permission_event>().size() == 2U);
    BOOST_TEST(runs("subagent-key") == 2U);
}

BOOST_AUTO_TEST_CASE(an_abort_while_a_subagent_asks_ends_the_turn_as_the_server_says) {
    auto turn = prompt("abort-subagent-key #task:bash");
    BOOST_TEST(!turn.wait_permission().id.empty());
    BOOST_TEST(turn.abort().has_value());
    // The server aborts the child first. Its parent may run on meanwhile, and complete: then that is the
    // truth.
    const auto how = turn.settled();
    const bool ran_on = runs("abort-subagent-key") == 2U;
    BOOST_TEST((how.outcome == outcome::aborted || (ran_on && how.outcome == outcome::completed)));
    BOOST_TEST(how.text == (how.outcome == outcome::completed ? "The helper is done." : ""));
    check_next_prompt(turn.session_id());
}

BOOST_AUTO_TEST_CASE(an_unknown_agent_fails_the_turn_and_it_is_safe_to_prompt_again) {
    auto what = text_prompt("no-agent-key #plain");
    what.agent = "nobody";
    auto turn = held().prompt(new_session(), what);
    const auto how = turn.settled();
    check_outcome(how, outcome::failed);
    BOOST_TEST(to_string(how.rule) == "not_accepted");
    BOOST_REQUIRE(how.error.has_value());
    BOOST_TEST(how.error->message.find("nobody") != std::string::npos);
    BOOST_TEST(to_string(how.safe_to_reprompt) == "yes");
    BOOST_TEST(runs("no-agent-key") == 0U);
    check_next_prompt(turn.session_id());
}

BOOST_AUTO_TEST_CASE(an_unknown_model_fails_the_turn) {
    auto what = text_prompt("no-model-key #plain");
    what.model = "mock/nothing";
    auto turn = held().prompt(new_session(), what);
    const auto how = turn.settled();
    check_outcome(how, outcome::failed);
    BOOST_TEST(to_string(how.rule) == "session_error");
    BOOST_REQUIRE(how.error.has_value());
    BOOST_TEST(how.error->message.find("nothing") != std::string::npos);
    BOOST_TEST(runs("no-model-key") == 0U);

    // The bad model sticks to the session; naming a good one heals it.
    what = text_prompt("good-model-key #plain");
    what.model = "mock/mock-1";
    auto next = held().prompt(turn.session_id(), what);
    check_end(next, outcome::completed, rule::message_finished, hello);
}

BOOST_AUTO_TEST_CASE(an_overflow_of_a_first_prompt_that_compaction_heals_is_completed) {
    auto turn = prompt("overflow-first #overflow-ok:first");
    check_end(turn, outcome::completed, rule::message_finished, "After the summary.");
    BOOST_TEST(turn.told_text() == "After the summary.");
    BOOST_TEST(runs("overflow-first") == 1U);
    check_next_prompt(turn.session_id());
}

BOOST_AUTO_TEST_CASE(an_overflow_of_a_later_prompt_that_compaction_heals_is_completed) {
    auto turn = held().prompt(session_with_history(), "overflow-later #overflow-ok:later");
    check_end(turn, outcome::completed, rule::message_finished, "After the summary.");
    BOOST_TEST(turn.told_text() == "After the summary.");
    BOOST_TEST(runs("overflow-later") == 2U); // the server replays the prompt
    check_next_prompt(turn.session_id());
}

BOOST_AUTO_TEST_CASE(an_overflow_that_cannot_be_compacted_fails_the_turn) {
    auto turn = prompt("overflow-fails #overflow");
    const auto how = turn.settled();
    check_outcome(how, outcome::failed);
    BOOST_TEST(to_string(how.rule) == "compaction_failed");
    BOOST_REQUIRE(how.error.has_value());
    BOOST_TEST(how.error->name == "ContextOverflowError");
    BOOST_TEST(how.text == "");
}

BOOST_AUTO_TEST_CASE(an_overflow_of_a_later_prompt_that_cannot_be_healed_fails_the_turn) {
    auto turn = held().prompt(session_with_history(), "overflow-later-fails #overflow");
    const auto how = turn.settled();
    check_outcome(how, outcome::failed);
    BOOST_REQUIRE(how.error.has_value());
    BOOST_TEST(how.error->name == "ContextOverflowError");
    BOOST_TEST(how.text == "");
}

BOOST_AUTO_TEST_CASE(a_model_that_refuses_a_request_fails_the_turn) {
    auto turn = prompt("e400-key #e400");
    const auto how = turn.settled();
    check_outcome(how, outcome::failed);
    BOOST_TEST(to_string(how.rule) == "message_error");
    BOOST_REQUIRE(how.error.has_value());
    BOOST_TEST(how.error->name == "APIError");
    BOOST_TEST(how.error->cls == "server");
    BOOST_TEST(how.error->message.find("scripted bad request") != std::string::npos);
    BOOST_TEST(how.error->status == 400);
    BOOST_TEST(runs("e400-key") == 1U);
    check_next_prompt(turn.session_id());
}

BOOST_AUTO_TEST_CASE(a_model_that_recovers_after_an_error_completes_the_turn) {
    auto turn = prompt("e500-key #e500once:real");
    check_end(turn, outcome::completed, rule::message_finished, "Back again.");
    const auto retries = turn.all<opencode::retry_event>();
    BOOST_REQUIRE(retries.size() == 1U);
    BOOST_TEST(retries[0].attempt == 1U);
    BOOST_TEST(retries[0].message.find("scripted server error") != std::string::npos);
    BOOST_TEST(runs("e500-key") == 2U);
}

BOOST_AUTO_TEST_CASE(a_model_that_cuts_the_connection_once_completes_the_turn_in_a_second_try) {
    auto turn = prompt("cut-key #cutonce:real");
    check_end(turn, outcome::completed, rule::message_finished, "whole.");
    BOOST_TEST(turn.told_text() == "partial whole.");
    BOOST_TEST(turn.all<opencode::retry_event>().size() == 1U);
    BOOST_TEST(runs("cut-key") == 2U);
}

BOOST_AUTO_TEST_CASE(an_answer_that_ends_at_the_length_limit_is_completed) {
    auto turn = prompt("length-key #finish-length");
    check_end(turn, outcome::completed, rule::message_finished, "cut short");
    BOOST_TEST(runs("length-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_turn_that_is_detached_goes_on_at_the_server) {
    auto turn = prompt("left-alone-key #slow:20");
    BOOST_TEST(turn.wait_text());
    turn.detach();
    check_outcome(turn.settled(), outcome::detached);
    auto next = held().prompt(turn.session_id(), "following-it-key #plain");
    check_end(next, outcome::completed, rule::message_finished, hello);
    BOOST_TEST(next.told_text() == hello);
    BOOST_TEST(runs("left-alone-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_prompt_that_runs_already_is_adopted_with_its_whole_text) {
    const auto session = new_session();
    auto what = text_prompt("adopt-key #slow:60");
    what.message_id = "msg_000000000001AdoptRunning01";
    what.parts[0].id = "prt_000000000001AdoptRunning01";
    BOOST_TEST(held().await(held().rest().prompt_async(session, what)).has_value());
    BOOST_TEST(model_has("adopt-key"));
    auto turn = held().adopt(session, what.message_id);
    const auto how = turn.settled();
    check_outcome(how, outcome::completed);
    BOOST_TEST(how.text.ends_with("w58 w59 "));
    BOOST_TEST(turn.told_text() == how.text);
    BOOST_TEST(runs("adopt-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_prompt_that_is_finished_is_adopted_with_its_text_and_end) {
    const auto session = new_session();
    auto first = held().prompt(session, "adopt-done-key #plain");
    check_end(first, outcome::completed, rule::message_finished, hello);
    auto again = held().adopt(session, first.message_id());
    check_end(again, outcome::completed, rule::message_finished, hello);
    BOOST_TEST(again.told_text() == hello);
    BOOST_TEST(runs("adopt-done-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_prompt_that_waits_for_a_permission_is_adopted_with_the_ask) {
    const auto session = new_session();
    auto what = text_prompt("adopt-ask-key #bash");
    what.message_id = "msg_000000000002AdoptAsking002";
    what.parts[0].id = "prt_000000000002AdoptAsking002";
    BOOST_TEST(held().await(held().rest().prompt_async(session, what)).has_value());
    BOOST_TEST(eventually(
        [&] {
            const auto asks = held().await(held().rest().permissions(opencode_world::server().directory()));
            return asks && std::any_of(asks->begin(), asks->end(),
                                       [&](const auto& ask) { return ask.session_id == session; });
        },
        patience));
    auto turn = held().adopt(session, what.message_id);
    BOOST_TEST(turn.reply_permission(turn.wait_permission().id, "once").has_value());
    check_end(turn, outcome::completed, rule::message_finished, "Tool said hi.");
    BOOST_TEST(turn.told_text() == "Running it. Tool said hi.");
    BOOST_TEST(runs("adopt-ask-key") == 2U);
}

// "always" outlives the turn in the server, and so does a disposed instance's end: these two come last.
BOOST_AUTO_TEST_CASE(a_tool_that_is_allowed_always_is_not_asked_for_again) {
    auto first = prompt("always-1-key #bash");
    BOOST_TEST(first.reply_permission(first.wait_permission().id, "always").has_value());
    check_end(first, outcome::completed, rule::message_finished, "Tool said hi.");
    auto second = held().prompt(first.session_id(), "always-2-key #bash");
    check_end(second, outcome::completed, rule::message_finished, "Tool said hi.");
    BOOST_TEST(second.all<opencode::permission_event>().empty());
    BOOST_TEST(runs("always-2-key") == 2U);
}

BOOST_AUTO_TEST_CASE(a_turn_of_an_instance_that_is_disposed_is_aborted_and_the_next_one_works) {
    auto turn = prompt("dispose-key #slow:200");
    BOOST_TEST(turn.wait_text());
    BOOST_TEST(held().await(held().rest().dispose(opencode_world::server().directory())).has_value());
    check_outcome(turn.settled(), outcome::aborted);
    BOOST_TEST(runs("dispose-key") == 1U);
    warm_up(opencode_world::server());
    check_next_prompt(turn.session_id());
}

BOOST_AUTO_TEST_CASE(a_turn_of_a_session_that_is_deleted_is_lost) {
    auto turn = prompt("delete-key #slow:40");
    BOOST_TEST(turn.wait_text());
    BOOST_TEST(held().await(held().rest().delete_session(turn.session_id())).has_value());
    const auto how = turn.settled();
    check_outcome(how, outcome::lost);
    BOOST_TEST(to_string(how.rule) == "session_deleted");
    BOOST_TEST(to_string(how.safe_to_reprompt) == "no");
}
