// The invariants can fail: each is shown a good record, which it lets pass, and a bad one, of which it
// complains.
#include <boost/test/unit_test.hpp>

#include "invariants.hpp"

#include <string>

using namespace holdfast;
using namespace holdfast::sim;
using opencode::outcome;
using opencode::reprompt;
using opencode::rule;
using opencode::settlement;

namespace {

constexpr auto text = testing::opencode_sim::said_part::kind::text;

settlement end_of(outcome o, rule r) {
    settlement s;
    s.outcome = o;
    s.rule = r;
    s.event = "session.status";
    s.safe_to_reprompt = reprompt::no;
    return s;
}

truth known(std::string message, truth_outcome o) {
    truth t;
    t.session = "ses_1";
    t.message = std::move(message);
    t.outcome = o;
    t.model_runs = 1;
    return t;
}

/// One session with one turn that said "Hello there." in two pieces and completed.
struct record {
    observations seen;
    turn_record* turn = nullptr;

    record() {
        server_facts server;
        server.policy = retry::session_stream();
        seen.servers.push_back(server);
        session_facts session;
        session.id = "ses_1";
        seen.sessions.push_back(session);
        turn = &add_turn("msg_1", truth_outcome::completed);
        auto& t = truth_of("msg_1");
        t.text = "Hello there.";
        t.parts.push_back({"prt_1", text, "Hello there.", true});
        tell(opencode::text_event{"prt_1", "Hello "});
        tell(opencode::text_event{"prt_1", "there."});
        auto end = end_of(outcome::completed, rule::message_finished);
        end.text = "Hello there.";
        settle(end);
        seen.left = leftovers{};
    }

    turn_record& add_turn(const std::string& message, truth_outcome o) {
        turn_record t;
        t.session_id = "ses_1";
        t.message = message;
        t.had = true;
        seen.turns.push_back(t);
        seen.truths[message] = known(message, o);
        seen.truth_order.push_back(message);
        return seen.turns.back();
    }
    truth& truth_of(const std::string& message) { return seen.truths.at(message); }
    void tell(opencode::agent_event e) {
        turn->told.push_back({milliseconds(100 * (turn->told.size() + 1)), std::move(e)});
    }
    void settle(const settlement& s) {
        tell(s);
        turn->ended = true;
        decide();
    }
    /// Writes down what the server knows just now.
    void decide() {
        turn->when_told = truth_of(turn->message);
        const auto& end = std::get<settlement>(turn->told.back().event);
        const auto how = std::string(to_string(end.outcome)) + " by " + std::string(to_string(end.rule));
        seen.decisions.push_back({turn->told.back().at, turn->message, how, turn->when_told});
    }
    /// Instead of the settlement that is there.
    void settle_otherwise(const settlement& s, truth_outcome o) {
        turn->told.pop_back();
        seen.decisions.clear();
        truth_of(turn->message).outcome = o;
        settle(s);
    }
    void before_the_end(opencode::agent_event e) {
        auto end = std::move(turn->told.back());
        turn->told.pop_back();
        tell(std::move(e));
        end.at = milliseconds(100 * (turn->told.size() + 1));
        turn->told.push_back(std::move(end));
    }
};

template <class Check>
std::size_t complaints_of(Check check, const record& r) {
    complaints found;
    check(r.seen, found);
    return found.size();
}

/// The invariant complains of this record, and of no other thing.
template <class Check>
void check_caught(Check check, const record& bad) {
    BOOST_TEST(complaints_of(check, record()) == 0u);
    BOOST_TEST(complaints_of(check, bad) >= 1u);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_good_record_breaks_nothing) {
    complaints found;
    check_the_end(record().seen, found);
    for (const auto& each : found)
        BOOST_ERROR(each.broken << ": " << each.how);
}

BOOST_AUTO_TEST_CASE(bytes_that_lie_unread_are_noticed) {
    complaints found;
    the_shared_stream_is_always_drained({seconds(1), 0}, found);
    BOOST_TEST(found.empty());
    the_shared_stream_is_always_drained({seconds(1), 7}, found);
    BOOST_TEST(found.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_second_probe_is_noticed) {
    complaints found;
    an_open_breaker_admits_one_attempt_at_a_time({seconds(1), "here", true, 0}, found);
    an_open_breaker_admits_one_attempt_at_a_time({seconds(1), "here", false, 3}, found);
    BOOST_TEST(found.empty());
    an_open_breaker_admits_one_attempt_at_a_time({seconds(1), "here", true, 1}, found);
    BOOST_TEST(found.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_turn_that_stays_open_is_noticed) {
    complaints found;
    every_open_turn_settles_in_bounded_time_once_all_is_well({"msg_1", settle_bound}, found);
    BOOST_TEST(found.empty());
    every_open_turn_settles_in_bounded_time_once_all_is_well({"msg_1", settle_bound + seconds(1)}, found);
    BOOST_TEST(found.size() == 1u);
}

BOOST_AUTO_TEST_CASE(two_settlements_and_none_are_noticed) {
    record twice;
    twice.tell(end_of(outcome::lost, rule::never_answered));
    check_caught(every_prompt_settles_exactly_once, twice);
    record never;
    never.turn->told.pop_back();
    check_caught(every_prompt_settles_exactly_once, never);
    record no_end;
    no_end.turn->ended = false;
    check_caught(every_prompt_settles_exactly_once, no_end);
}

BOOST_AUTO_TEST_CASE(a_word_after_the_settlement_is_noticed) {
    record late;
    late.tell(opencode::text_event{"prt_1", "late"});
    check_caught(the_settlement_is_the_last_thing_told, late);
    record after_end;
    after_end.turn->told_after_end = true;
    check_caught(the_settlement_is_the_last_thing_told, after_end);
}

BOOST_AUTO_TEST_CASE(a_false_outcome_is_noticed) {
    for (const auto o : {truth_outcome::pending, truth_outcome::failed, truth_outcome::aborted,
                         truth_outcome::rejected, truth_outcome::unanswered, truth_outcome::interrupted}) {
        record r;
        r.settle_otherwise(end_of(outcome::completed, rule::message_finished), o);
        check_caught(an_outcome_is_what_the_server_knows_to_be_true, r);
    }
    for (const auto o : {outcome::failed, outcome::aborted, outcome::rejected, outcome::detached}) {
        record r;
        r.settle_otherwise(end_of(o, rule::message_error), truth_outcome::completed);
        check_caught(an_outcome_is_what_the_server_knows_to_be_true, r);
    }
    record unasked; // nobody aborted anything
    unasked.settle_otherwise(end_of(outcome::aborted, rule::session_aborted), truth_outcome::unanswered);
    check_caught(an_outcome_is_what_the_server_knows_to_be_true, unasked);
}

BOOST_AUTO_TEST_CASE(a_loss_without_a_reason_is_noticed) {
    for (const auto r : {rule::unfinished, rule::never_answered, rule::session_deleted, rule::gave_up,
                         rule::merged, rule::server_gone}) {
        record lost;
        lost.settle_otherwise(end_of(outcome::lost, r), truth_outcome::completed);
        check_caught(lost_is_said_only_where_the_truth_cannot_be_had, lost);
    }
    record stream_only; // the stream was ill, but the server could have been asked
    stream_only.settle_otherwise(end_of(outcome::lost, rule::gave_up), truth_outcome::completed);
    stream_only.seen.windows.push_back({0, duration::zero(), seconds(60), false});
    check_caught(lost_is_said_only_where_the_truth_cannot_be_had, stream_only);
    record gone;
    gone.settle_otherwise(end_of(outcome::lost, rule::server_gone), truth_outcome::pending);
    gone.seen.windows.push_back({0, duration::zero(), milliseconds(1), false, true});
    check_caught(lost_is_said_only_where_the_truth_cannot_be_had, gone); // it was said to be, and no more
    gone.seen.windows.push_back({0, milliseconds(2), duration::max(), false, true});
    BOOST_TEST(complaints_of(lost_is_said_only_where_the_truth_cannot_be_had, gone) == 0u);
    record killed;
    killed.settle_otherwise(end_of(outcome::lost, rule::unfinished), truth_outcome::interrupted);
    BOOST_TEST(complaints_of(lost_is_said_only_where_the_truth_cannot_be_had, killed) == 0u);
}

BOOST_AUTO_TEST_CASE(a_prompt_called_safe_that_runs_is_noticed) {
    auto safe = end_of(outcome::failed, rule::message_error);
    safe.safe_to_reprompt = reprompt::yes;
    record running;
    running.truth_of("msg_1").running = true;
    running.settle_otherwise(safe, truth_outcome::failed);
    check_caught(nothing_is_safe_to_reprompt_that_runs_or_will_run, running);
    record runs_later;
    runs_later.settle_otherwise(safe, truth_outcome::failed);
    runs_later.truth_of("msg_1").model_runs = 2;
    check_caught(nothing_is_safe_to_reprompt_that_runs_or_will_run, runs_later);
}

BOOST_AUTO_TEST_CASE(a_hole_a_repeat_and_a_wrong_word_are_noticed) {
    for (const auto* delta : {"", "tHere.", "there.there.", "ther"}) {
        record r;
        std::get<opencode::text_event>(r.turn->told[1].event).delta = delta;
        check_caught(text_is_told_with_no_hole_and_no_repeat, r);
    }
    record reported; // the hole is told
    reported.turn->told.erase(reported.turn->told.begin());
    opencode::gap_event gap;
    gap.missing = true;
    reported.before_the_end(gap);
    BOOST_TEST(complaints_of(text_is_told_with_no_hole_and_no_repeat, reported) == 0u);
    reported.before_the_end(opencode::text_event{"prt_1", "there."}); // but a repeat is not
    check_caught(text_is_told_with_no_hole_and_no_repeat, reported);
    record thrown_away; // a try that never ended
    thrown_away.turn->told.erase(thrown_away.turn->told.begin() + 1);
    thrown_away.truth_of("msg_1").parts[0].ended = false;
    BOOST_TEST(complaints_of(text_is_told_with_no_hole_and_no_repeat, thrown_away) == 0u);
}

BOOST_AUTO_TEST_CASE(a_gap_row_that_cries_wolf_is_noticed) {
    record r;
    opencode::gap_event gap;
    gap.missing = true;
    r.before_the_end(gap);
    check_caught(what_a_gap_row_calls_missing_is_missing, r);
}

BOOST_AUTO_TEST_CASE(a_settlement_with_another_text_is_noticed) {
    record r;
    r.truth_of("msg_1").text = "Something else.";
    r.seen.decisions.clear();
    r.decide();
    check_caught(the_settled_text_is_the_last_answers, r);
}

BOOST_AUTO_TEST_CASE(parts_and_turns_out_of_order_are_noticed) {
    record parts;
    parts.truth_of("msg_1").parts.insert(parts.truth_of("msg_1").parts.begin(),
                                         {"prt_0", text, "First.", true});
    parts.before_the_end(opencode::text_event{"prt_0", "First."});
    check_caught(order_holds_within_a_session, parts);
    record turns;
    turns.turn = &turns.add_turn("msg_2", truth_outcome::completed);
    turns.settle(end_of(outcome::completed, rule::message_finished)); // at 100 ms, the first one ended at 300
    check_caught(order_holds_within_a_session, turns);
}

BOOST_AUTO_TEST_CASE(what_belongs_to_another_session_is_noticed) {
    record text_of_another;
    text_of_another.before_the_end(opencode::text_event{"prt_of_another", "x"});
    check_caught(nothing_of_one_session_reaches_another, text_of_another);
    record tool_of_another;
    tool_of_another.before_the_end(opencode::tool_event{"call_of_another", "bash", "running", ""});
    check_caught(nothing_of_one_session_reaches_another, tool_of_another);
    record ask_of_another;
    opencode::permission_event ask;
    ask.request.id = "per_1";
    ask.request.session_id = "ses_2";
    ask_of_another.before_the_end(ask);
    check_caught(nothing_of_one_session_reaches_another, ask_of_another);
}

BOOST_AUTO_TEST_CASE(what_is_told_twice_is_noticed) {
    opencode::permission_event ask;
    ask.request.id = "per_1";
    ask.request.session_id = "ses_1";
    record asked_twice;
    asked_twice.before_the_end(ask);
    BOOST_TEST(complaints_of(nothing_is_told_twice, asked_twice) == 0u);
    asked_twice.before_the_end(ask);
    check_caught(nothing_is_told_twice, asked_twice);
    record answered_unasked;
    auto answered = ask;
    answered.reply = "once";
    answered_unasked.before_the_end(answered);
    check_caught(nothing_is_told_twice, answered_unasked);
    record tool_twice;
    tool_twice.before_the_end(opencode::tool_event{"call_1", "bash", "running", "t"});
    tool_twice.before_the_end(opencode::tool_event{"call_1", "bash", "running", "t"});
    check_caught(nothing_is_told_twice, tool_twice);
    record tool_back;
    tool_back.before_the_end(opencode::tool_event{"call_1", "bash", "completed", "t"});
    tool_back.before_the_end(opencode::tool_event{"call_1", "bash", "running", "t"});
    check_caught(nothing_is_told_twice, tool_back);
    record usage_twice;
    usage_twice.before_the_end(opencode::usage_event{"msg_a", {}, 0});
    usage_twice.before_the_end(opencode::usage_event{"msg_a", {}, 0});
    check_caught(nothing_is_told_twice, usage_twice);
    record repaired_twice;
    repaired_twice.before_the_end(opencode::gap_event{});
    repaired_twice.before_the_end(opencode::gap_event{});
    check_caught(nothing_is_told_twice, repaired_twice);
    record asked_of_two;
    asked_of_two.before_the_end(ask);
    asked_of_two.turn = &asked_of_two.add_turn("msg_2", truth_outcome::completed);
    asked_of_two.settle(end_of(outcome::completed, rule::message_finished));
    asked_of_two.before_the_end(ask); // at 100 ms, while the first is open
    check_caught(nothing_is_told_twice, asked_of_two);
}

BOOST_AUTO_TEST_CASE(an_attempt_too_many_too_early_and_too_late_are_noticed) {
    const auto interrupted = [](unsigned attempt, duration in) {
        record r;
        opencode::interrupted_event e;
        e.failure.cls = retry::failure_class::cut;
        e.attempt = attempt;
        e.retry_in = in;
        r.before_the_end(e);
        return r;
    };
    BOOST_TEST(complaints_of(attempts_stay_within_the_policy, interrupted(3, seconds(2))) == 0u);
    check_caught(attempts_stay_within_the_policy, interrupted(8, seconds(30)));
    check_caught(attempts_stay_within_the_policy, interrupted(3, seconds(1)));
    check_caught(attempts_stay_within_the_policy, interrupted(3, seconds(3)));
}

BOOST_AUTO_TEST_CASE(a_dead_endpoint_that_is_hammered_is_noticed) {
    record r;
    for (int i = 0; i < 100; ++i)
        r.seen.attempts.push_back({endpoint("http", "h", 1), milliseconds(i), false});
    check_caught(a_dead_endpoint_is_not_hammered, r);
    for (auto& each : r.seen.attempts)
        each.connected = true;
    BOOST_TEST(complaints_of(a_dead_endpoint_is_not_hammered, r) == 0u);
}

BOOST_AUTO_TEST_CASE(a_queue_past_its_bound_is_noticed) {
    record r;
    r.turn->longest_queue = 1200;
    check_caught(a_queue_stays_within_its_bound, r);
}

BOOST_AUTO_TEST_CASE(a_log_that_says_too_much_and_a_handler_that_threw_are_noticed) {
    record chatty;
    chatty.seen.logs.resize(100);
    check_caught(the_log_says_no_more_than_happened, chatty);
    record threw;
    log_record line;
    line.event = "hub.handler_threw";
    threw.seen.logs.push_back(line);
    check_caught(the_log_says_no_more_than_happened, threw);
}

BOOST_AUTO_TEST_CASE(a_word_after_an_abort_is_noticed) {
    record r;
    r.turn->abort_called = milliseconds(150); // the second piece came at 200
    check_caught(after_an_abort_only_the_settlement_is_handed_out, r);
}

BOOST_AUTO_TEST_CASE(an_exception_that_escaped_is_noticed) {
    record r;
    r.seen.escaped.push_back("run() of server 0: boom");
    check_caught(no_exception_escapes, r);
}

BOOST_AUTO_TEST_CASE(whatever_is_left_is_noticed) {
    for (int what = 0; what < 4; ++what) {
        record r;
        if (what == 0)
            r.seen.left->timers = 1;
        if (what == 1)
            r.seen.left->connections = 1;
        if (what == 2)
            r.seen.left->handlers = true;
        if (what == 3)
            r.seen.left->coroutines.push_back("turn 1");
        check_caught(nothing_is_left_when_all_has_stopped, r);
    }
}
