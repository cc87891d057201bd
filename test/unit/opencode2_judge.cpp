#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/protocol/v2/turn_tracker.hpp>

#include <set>
#include <sstream>
#include <string>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;
using namespace holdfast::opencode::v2;

namespace {

const std::string root = "ses_1";
constexpr time_point start{};

time_point after(int s) {
    return start + seconds(s);
}

execution_ended succeeded() {
    return {};
}
execution_ended failed(std::string type) {
    return {execution_ended::how::failed, {}, api_error{std::move(type), "why", 0}};
}
execution_ended interrupted(std::string reason) {
    return {execution_ended::how::interrupted, std::move(reason), {}};
}
api_error aborted() {
    return {"aborted", "Step interrupted", 0};
}

message_row prompt_row(std::string id) {
    message_row r;
    r.id = std::move(id);
    r.what = message_row::kind::prompt;
    return r;
}
message_row nobodys_row(std::string id) {
    auto r = prompt_row(std::move(id));
    r.what = message_row::kind::synthetic;
    return r;
}
message_row answer_row(std::string id, std::string finish = {}, std::string error = {},
                       bool completed = true) {
    message_row r;
    r.id = std::move(id);
    r.what = message_row::kind::answer;
    r.finish = std::move(finish);
    if (!error.empty())
        r.error = api_error{std::move(error), "why", 0};
    if (completed)
        r.completed_ms = 1;
    return r;
}
message_row open_row(std::string id) {
    return answer_row(std::move(id), {}, {}, false);
}
message_row idle_row(std::string outcome) {
    message_row r;
    r.id = "idl_" + outcome;
    r.what = message_row::kind::idle;
    r.outcome = std::move(outcome);
    return r;
}

/// Inputs of a tracker, and what it wants done, as lines.
struct told_session {
    tracker_options options;
    turn_tracker tracker{root, options};
    std::vector<std::string> done;
    time_point now = start;
    std::int64_t created = 0; ///< of what is heard next

    explicit told_session(tracker_options o = {}) : options(o), tracker(root, o) {
        take(tracker.attached(now));
    }

    void take(const ledger::actions& all) {
        for (const auto& each : all)
            done.push_back(ledger::describe(each));
    }
    void prompts(const std::string& id) {
        take(tracker.open(id));
        take(tracker.posted(id, now));
    }
    void hear(fact what, const std::string& session = root) {
        take(tracker.hear({"e", session, {}, std::move(what), created}, now));
    }
    void admits(const std::string& id, const std::string& delivery = "steer") {
        hear(input_admitted{id, input_kind::prompt, delivery});
    }
    void promotes(const std::string& id) { hear(input_promoted{id}); }
    void starts(const std::string& id) {
        prompts(id);
        admits(id);
        hear(execution_started{});
        promotes(id);
    }
    void steps(const std::string& id, const std::string& finish = {}) {
        hear(step_started{id});
        if (!finish.empty())
            hear(step_ended{id, finish, {}, 0});
    }
    void ends(execution_ended how) { hear(std::move(how)); }
    void breaks() { take(tracker.interrupted({}, 1, {}, now)); }
    void greets() { take(tracker.attached(now)); }
    void looks(snapshot s, time_point at) {
        now = at;
        take(tracker.tick(now));
        take(tracker.merge(s, tracker.begin_snapshot(), now, now));
    }
    void looks(std::vector<message_row> rows, time_point at, bool active = false,
               std::vector<inbox_item> inbox = {}) {
        snapshot s;
        s.rows = std::move(rows);
        s.active = active;
        s.inbox = std::move(inbox);
        looks(s, at);
    }
    void waits(time_point until) {
        now = until;
        take(tracker.tick(now));
    }
    /// The settlements, without what led to them.
    [[nodiscard]] std::string settled() const {
        std::string text;
        for (const auto& line : done)
            if (line.starts_with("deliver ") && line.find(" by ") != std::string::npos)
                text += (text.empty() ? "" : "; ") + line.substr(8);
        return text;
    }
    [[nodiscard]] std::string last() const { return done.empty() ? std::string() : done.back(); }
    [[nodiscard]] bool did(const std::string& line) const {
        return std::find(done.begin(), done.end(), line) != done.end();
    }
    [[nodiscard]] std::string judged(const std::string& id) const {
        std::ostringstream out;
        out << judge(tracker.facts(), {}, options.can_cancel_queued)
                   .decide(*tracker.facts().find_input(id), now);
        return out.str();
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(each_rule_has_a_name_and_a_row_of_the_protocol) {
    std::set<std::string_view> names;
    for (const auto& each : turn_rules()) {
        BOOST_TEST(!each.protocol.empty(), each.name);
        BOOST_TEST(names.insert(each.name).second, each.name);
    }
}

// --- the terminal

BOOST_AUTO_TEST_CASE(a_terminal_heard_since_the_promotion_decides) {
    struct row {
        execution_ended end;
        const char* expected;
    };
    const row without_step[] = {{succeeded(), "p1 completed by message_finished"},
                                {failed("provider.no-route"), "p1 failed by session_error"},
                                {interrupted("user"), "p1 aborted by session_aborted"},
                                {interrupted("superseded"), "p1 aborted by session_aborted"},
                                {interrupted("inactivity"), "p1 aborted by session_aborted"},
                                {interrupted("something new"), "p1 aborted by session_aborted"}};
    for (const auto& each : without_step) {
        told_session s;
        s.starts("p1");
        s.ends(each.end);
        BOOST_TEST(s.settled() == each.expected);
    }
    const row open_step[] = {{interrupted("user"), "p1 aborted by message_interrupted"},
                             {failed("provider.auth"), "p1 failed by session_error"}};
    for (const auto& each : open_step) {
        told_session s;
        s.starts("p1");
        s.steps("a1");
        s.ends(each.end);
        BOOST_TEST(s.settled() == each.expected);
    }
}

BOOST_AUTO_TEST_CASE(a_finished_answer_stays_one_whatever_the_terminal_says) {
    for (const auto& end : {succeeded(), failed("unknown"), interrupted("user"), interrupted("shutdown")}) {
        told_session s;
        s.starts("p1");
        s.steps("a1", "stop");
        BOOST_TEST(s.settled() == "");
        s.ends(end);
        BOOST_TEST(s.settled() == "p1 completed by message_finished");
    }
}

BOOST_AUTO_TEST_CASE(a_failed_step_says_why_its_execution_failed) {
    told_session s;
    s.starts("p1");
    s.steps("a1");
    s.hear(step_failed{"a1", {"provider.auth", "no", 401}});
    s.ends(failed("provider.auth"));
    BOOST_TEST(s.settled() == "p1 failed by message_error");

    told_session overflow;
    overflow.starts("p1");
    overflow.hear(compaction_failed{});
    overflow.steps("a1");
    overflow.hear(step_failed{"a1", {"provider.invalid-request", "too long", 400}});
    overflow.ends(failed("provider.invalid-request"));
    BOOST_TEST(overflow.settled() == "p1 failed by compaction_failed");
}

BOOST_AUTO_TEST_CASE(a_rejection_of_the_sessions_own_with_no_later_step_is_rejected) {
    for (const bool by_form : {false, true}) {
        told_session s;
        s.starts("p1");
        s.steps("a1");
        if (by_form)
            s.hear(form_answered{"frm_1", true});
        else
            s.hear(permission_replied{"per_1", "reject"});
        s.hear(step_failed{"a1", aborted()});
        s.ends(interrupted("shutdown"));
        BOOST_TEST(s.settled() == "p1 rejected by tool_rejected");
    }
}

BOOST_AUTO_TEST_CASE(a_childs_rejection_or_one_before_a_later_step_is_not_the_turns) {
    for (const bool of_child : {false, true}) {
        told_session s;
        s.starts("p1");
        s.steps("a1");
        if (of_child) {
            s.hear(session_created{root, "/p"}, "ses_2");
            s.hear(permission_replied{"per_1", "reject"}, "ses_2");
        } else {
            s.hear(permission_replied{"per_1", "reject"});
            s.steps("a2");
        }
        s.hear(step_failed{of_child ? "a1" : "a2", aborted()});
        s.ends(interrupted("shutdown"));
        BOOST_TEST(s.settled() == "", s.settled());
        s.looks(
            {prompt_row("p1"), answer_row("a1", "error", "aborted"), answer_row("a2", "error", "aborted")},
            after(11));
        s.looks({prompt_row("p1")}, after(20));
        BOOST_TEST(s.settled() == "p1 aborted by session_aborted");
    }
}

BOOST_AUTO_TEST_CASE(a_childs_terminal_is_not_the_parents) {
    told_session s;
    s.starts("p1");
    s.steps("a1");
    s.hear(session_created{root, "/p"}, "ses_2");
    s.hear(execution_ended{}, "ses_2");
    BOOST_TEST(s.settled() == "");
    BOOST_TEST(s.tracker.owns("ses_2"));
    BOOST_TEST(!s.tracker.owns("ses_3"));
}

BOOST_AUTO_TEST_CASE(a_judgement_is_written_with_all_that_it_says) {
    const auto text = [](const judgement& j) {
        std::ostringstream out;
        out << j;
        return out.str();
    };
    judgement ends;
    ends.what = judgement::kind::ends;
    ends.outcome = outcome::completed;
    ends.why = rule::message_finished;
    ends.by = "answered";
    BOOST_TEST(text(ends) == "ends completed message_finished (answered)");
    judgement wait;
    wait.what = judgement::kind::wait;
    wait.until = after(10);
    wait.by = "its grace is not over";
    BOOST_TEST(text(wait) == "wait until 10000 (its grace is not over)");
}

BOOST_AUTO_TEST_CASE(a_greeting_changes_nothing) {
    told_session s;
    s.starts("p1");
    const auto before = s.done.size();
    s.hear(greeting{});
    BOOST_TEST(s.done.size() == before);
    BOOST_TEST(s.judged("p1").starts_with("open"));
}

BOOST_AUTO_TEST_CASE(a_deletion_settles_what_is_open_alone) {
    told_session s;
    s.starts("p1");
    s.steps("a1", "stop");
    s.ends(succeeded());
    s.starts("p2");
    s.hear(session_deleted{});
    BOOST_TEST(s.settled() == "p1 completed by message_finished; p2 lost by session_deleted");
}

// --- several prompts

BOOST_AUTO_TEST_CASE(prompts_promoted_together_are_answered_by_one_step) {
    told_session s;
    s.starts("p1");
    s.prompts("p2");
    s.admits("p2");
    s.promotes("p2");
    s.steps("a1", "stop");
    BOOST_TEST(s.judged("p1") == "joined into p2 (answered together)");
    s.ends(succeeded());
    BOOST_TEST(s.settled() == "p2 completed by message_finished; p1 completed by merged");
}

BOOST_AUTO_TEST_CASE(prompts_promoted_later_are_answered_each_by_its_own_steps) {
    told_session s;
    s.starts("p1");
    s.prompts("p2");
    s.admits("p2", "queue");
    s.steps("a1", "stop");
    s.promotes("p2");
    BOOST_TEST(s.settled() == "p1 completed by superseded");
    s.steps("a2");
    s.hear(step_failed{"a2", {"provider.auth", "no", 401}});
    s.ends(failed("provider.auth"));
    BOOST_TEST(s.settled() == "p1 completed by superseded; p2 failed by message_error");
}

BOOST_AUTO_TEST_CASE(three_steered_into_tools_end_together) {
    told_session s;
    s.starts("p1");
    s.steps("a1", "tool-calls");
    for (const char* id : {"p2", "p3"}) {
        s.prompts(id);
        s.admits(id);
        s.promotes(id);
        s.steps(std::string("a_") + id, "tool-calls");
    }
    s.ends(interrupted("user"));
    BOOST_TEST(s.settled() ==
               "p3 aborted by message_interrupted; p2 aborted by merged; p1 aborted by merged");
}

BOOST_AUTO_TEST_CASE(what_is_answered_with_a_prompt_of_somebody_else_ends_with_it) {
    told_session s;
    s.starts("p1");
    s.admits("x1");
    s.promotes("x1");
    s.steps("a1", "stop");
    s.ends(succeeded());
    BOOST_TEST(s.settled() == "p1 completed by merged");
}

BOOST_AUTO_TEST_CASE(a_step_that_will_be_asked_again_does_not_end_the_turn_before_it) {
    told_session s;
    s.starts("p1");
    s.steps("a1");
    s.hear(step_failed{"a1", {"provider.internal", "cut", 0}});
    s.hear(retry_scheduled{"a1", 2, 5, "cut"});
    s.prompts("p2");
    s.admits("p2");
    s.promotes("p2");
    BOOST_TEST(s.judged("p1") == "joined into p2 (answered together)");
    BOOST_TEST(s.did("deliver p1 retry"));
}

BOOST_AUTO_TEST_CASE(an_execution_of_nobodys_settles_nobody) {
    told_session s;
    s.starts("p1");
    s.steps("a1", "stop");
    s.ends(succeeded());
    s.prompts("p2");
    s.hear(input_admitted{"syn_1", input_kind::synthetic, "steer"});
    s.hear(execution_started{});
    s.promotes("syn_1");
    s.steps("a2", "stop");
    s.ends(succeeded());
    BOOST_TEST(s.settled() == "p1 completed by message_finished");
    s.hear(execution_started{});
    s.ends(succeeded());
    BOOST_TEST(s.settled() == "p1 completed by message_finished");
}

BOOST_AUTO_TEST_CASE(what_follows_a_finished_answer_for_nobodys_input_is_not_the_turns) {
    told_session s;
    s.starts("p1");
    s.breaks();
    s.greets();
    s.looks({prompt_row("p1"), answer_row("a1", "stop"), nobodys_row("syn_1"), open_row("a2")}, after(1),
            true);
    BOOST_TEST(s.settled() == "p1 completed by message_finished");
}

// --- the inbox

BOOST_AUTO_TEST_CASE(an_interrupt_or_a_failure_leaves_a_waiting_prompt_parked) {
    for (const auto& end : {interrupted("user"), failed("unknown")}) {
        told_session s;
        s.prompts("p1");
        s.admits("p1");
        BOOST_TEST(s.judged("p1") == "open (waits)");
        s.ends(end);
        BOOST_TEST(s.judged("p1") == "parked (parked)");
        BOOST_TEST(s.last() == "deliver p1 quiet");
        s.waits(after(3600));
        BOOST_TEST(s.settled() == "");
        s.starts("p2");
        s.promotes("p1");
        s.steps("a1", "stop");
        s.ends(succeeded());
        BOOST_TEST(s.settled() == "p1 completed by message_finished; p2 completed by merged");
    }
}

BOOST_AUTO_TEST_CASE(a_prompt_behind_an_execution_that_succeeded_is_about_to_run) {
    told_session s;
    s.prompts("p1");
    s.admits("p1");
    s.ends(succeeded());
    BOOST_TEST(s.judged("p1") == "open (waits)");
}

BOOST_AUTO_TEST_CASE(an_abort_takes_what_waits_out_of_the_inbox) {
    told_session s;
    s.starts("p1");
    s.prompts("p2");
    s.admits("p2", "queue");
    s.take(s.tracker.abort_requested());
    BOOST_TEST(s.tracker.to_cancel() == std::vector<std::string>{"p2"});
    s.prompts("p3");
    BOOST_TEST(s.tracker.to_cancel() == std::vector<std::string>{"p2"});
    s.hear(input_cancelled{"p2"});
    BOOST_TEST(s.settled() == "p2 aborted by abort_requested");
    BOOST_TEST(s.tracker.to_cancel().empty());
    s.take(s.tracker.abort_accepted(s.now));
    s.ends(interrupted("user"));
    BOOST_TEST(s.settled() == "p2 aborted by abort_requested; p1 aborted by abort_requested");
}

BOOST_AUTO_TEST_CASE(what_an_abort_took_out_unheard_is_aborted_and_may_be_sent_again) {
    told_session s;
    s.prompts("p1");
    s.admits("p1");
    s.take(s.tracker.abort_requested());
    s.take(s.tracker.abort_accepted(s.now));
    s.looks(snapshot(), after(1));
    BOOST_TEST(s.settled() == "p1 aborted by abort_requested");
}

BOOST_AUTO_TEST_CASE(where_nothing_can_be_cancelled_an_aborted_prompt_that_waits_may_not_be_sent_again) {
    tracker_options o;
    o.can_cancel_queued = false;
    told_session s(o);
    s.prompts("p1");
    s.admits("p1");
    s.take(s.tracker.abort_requested());
    s.take(s.tracker.abort_accepted(s.now));
    ledger::actions last = s.tracker.hear({"e", root, {}, interrupted("user"), 0}, s.now);
    BOOST_TEST_REQUIRE(!last.empty());
    const auto& how = std::get<settlement>(std::get<ledger::deliver>(last.front()).event);
    BOOST_TEST((how.outcome == outcome::aborted));
    BOOST_TEST((how.safe_to_reprompt == reprompt::no));
}

BOOST_AUTO_TEST_CASE(a_prompt_that_is_neither_in_the_inbox_nor_among_the_messages_was_not_accepted) {
    told_session s;
    s.prompts("p1");
    s.looks(snapshot(), after(1));
    BOOST_TEST(s.settled() == "");
    BOOST_TEST(s.last() == "wake_at 5000");
    s.looks(snapshot(), after(5));
    BOOST_TEST(s.settled() == "p1 lost by not_accepted");
}

BOOST_AUTO_TEST_CASE(a_prompt_in_the_inbox_is_there) {
    told_session s;
    s.prompts("p1");
    s.looks({}, after(60), false, {{"p1", input_kind::prompt, "steer"}});
    BOOST_TEST(s.judged("p1") == "open (waits)");
}

BOOST_AUTO_TEST_CASE(a_snapshot_begun_before_the_post_does_not_miss_the_prompt) {
    told_session s;
    const auto begun = s.tracker.begin_snapshot();
    s.prompts("p1");
    s.now = after(60);
    s.take(s.tracker.merge({}, begun, s.now, s.now));
    BOOST_TEST(s.judged("p1") == "open (waits)");
}

// --- by REST, when no terminal was heard

namespace {

/// A turn that streamed when its stream broke at 0 s; the greeting came at 2 s.
struct after_a_gap : told_session {
    explicit after_a_gap(bool had_step = true) {
        starts("p1");
        if (had_step)
            steps("a1");
        breaks();
        BOOST_TEST(last() == "deliver p1 interrupted");
        now = after(2);
        greets();
        BOOST_TEST(last() == "fetch_snapshot");
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(what_is_finished_or_failed_is_said_at_once) {
    after_a_gap finished;
    finished.looks({prompt_row("p1"), answer_row("a1", "length")}, after(3));
    BOOST_TEST(finished.settled() == "p1 completed by message_finished");
    after_a_gap failing;
    failing.looks({prompt_row("p1"), answer_row("a1", "error", "provider.auth")}, after(3));
    BOOST_TEST(failing.settled() == "p1 failed by message_error");
}

BOOST_AUTO_TEST_CASE(a_turn_that_is_active_goes_on_and_its_next_terminal_settles_it) {
    after_a_gap s;
    s.looks({prompt_row("p1"), answer_row("a1", "error", "aborted")}, after(3), true);
    BOOST_TEST(s.did("deliver p1 gap"));
    BOOST_TEST(s.judged("p1") == "open (at work)");
    s.waits(after(600));
    s.steps("a2", "stop"); // no execution.started was heard
    s.ends(succeeded());
    BOOST_TEST(s.settled() == "p1 completed by message_finished");
}

BOOST_AUTO_TEST_CASE(a_service_may_take_a_turn_up_until_ten_seconds_after_the_greeting) {
    after_a_gap s;
    s.looks({prompt_row("p1"), open_row("a1")}, after(3));
    BOOST_TEST(s.settled() == "");
    BOOST_TEST(s.last() == "wake_at 12000");
    s.looks({prompt_row("p1"), open_row("a1")}, after(9)); // its terminal would have come by now
    BOOST_TEST(s.settled() == "");
    s.waits(after(12));
    BOOST_TEST(s.last() == "fetch_snapshot");
    s.hear(execution_started{});
    s.steps("a1");
    s.looks({prompt_row("p1"), open_row("a1")}, after(17), true);
    BOOST_TEST(s.judged("p1") == "open (at work)");
    BOOST_TEST(s.settled() == "");
}

BOOST_AUTO_TEST_CASE(what_nobody_is_at_work_on_is_lost_or_aborted_after_the_grace) {
    struct row {
        std::vector<message_row> rows;
        const char* expected;
    };
    auto declined = answer_row("a1", "error", "aborted");
    declined.parts.push_back(
        {message_part::kind::tool, 0, {}, "call_1", "shell", "error", "The user declined this tool call"});
    const row rows[] = {
        {{prompt_row("p1"), open_row("a1")}, "p1 lost by unfinished"},
        {{prompt_row("p1"), answer_row("a1")}, "p1 lost by unfinished"},
        {{prompt_row("p1"), answer_row("a1", "tool-calls")}, "p1 lost by unfinished"},
        {{prompt_row("p1"), answer_row("a1", "error", "aborted")}, "p1 aborted by session_aborted"},
        {{prompt_row("p1"), declined}, "p1 rejected by tool_rejected"},
        {{prompt_row("p1"), open_row("a1"), idle_row("interrupted")}, "p1 aborted by message_interrupted"},
        {{prompt_row("p1"), open_row("a1"), idle_row("failed")}, "p1 failed by session_error"},
        {{prompt_row("p1"), open_row("a1"), idle_row("succeeded")}, "p1 completed by message_finished"},
    };
    for (const auto& each : rows) {
        after_a_gap s;
        s.looks(each.rows, after(3));
        s.looks(each.rows, after(12));
        BOOST_TEST(s.settled() == each.expected);
    }
    after_a_gap without(false);
    without.looks({prompt_row("p1")}, after(3));
    without.looks({prompt_row("p1")}, after(12));
    BOOST_TEST(without.settled() == "p1 lost by never_answered");
}

BOOST_AUTO_TEST_CASE(an_interrupt_of_ours_explains_an_open_answer) {
    for (const bool aborted_step : {false, true}) {
        told_session s;
        s.starts("p1");
        s.steps("a1");
        s.take(s.tracker.abort_accepted(s.now));
        s.breaks();
        s.greets();
        const auto row = aborted_step ? answer_row("a1", "error", "aborted") : open_row("a1");
        s.looks({prompt_row("p1"), row}, after(1));
        s.looks({prompt_row("p1"), row}, after(10));
        BOOST_TEST(s.settled() ==
                   (aborted_step ? "p1 aborted by message_error" : "p1 aborted by abort_requested"));
    }
}

BOOST_AUTO_TEST_CASE(the_terminal_that_comes_after_rest_says_idle_gets_a_grace_period) {
    told_session s;
    s.starts("p1");
    s.steps("a1", "stop");
    s.looks({prompt_row("p1"), answer_row("a1", "stop")}, after(30));
    BOOST_TEST(s.settled() == "");
    BOOST_TEST(s.last() == "wake_at 35000");
    s.looks({prompt_row("p1"), answer_row("a1", "stop")}, after(35));
    BOOST_TEST(s.settled() == "p1 completed by message_finished");
}

BOOST_AUTO_TEST_CASE(a_prompt_after_a_restart_does_not_carry_the_one_before) {
    struct row {
        message_row before;
        const char* expected;
    };
    auto declined = answer_row("a1", "error", "aborted");
    declined.parts.push_back(
        {message_part::kind::tool, 0, {}, "call_1", "q", "error", "The user dismissed this question"});
    const row rows[] = {{answer_row("a1"), "p1 lost by unfinished"},
                        {answer_row("a1", "error", "aborted"), "p1 aborted by session_aborted"},
                        {answer_row("a1", "error", "provider.auth"), "p1 failed by message_error"},
                        {declined, "p1 rejected by tool_rejected"},
                        {answer_row("a1", "stop"), "p1 completed by superseded"}};
    for (const auto& each : rows) {
        after_a_gap s;
        s.looks({prompt_row("p1"), each.before, prompt_row("x1"), open_row("a2")}, after(3), true);
        BOOST_TEST(s.settled() == each.expected);
    }
    after_a_gap heard;
    heard.looks({prompt_row("p1"), open_row("a1")}, after(3));
    heard.hear(execution_started{});
    heard.promotes("x1");
    BOOST_TEST(heard.settled() == "p1 lost by unfinished");
    after_a_gap none(false);
    none.looks({prompt_row("p1")}, after(3));
    none.hear(execution_started{});
    none.promotes("x1");
    BOOST_TEST(none.settled() == "p1 lost by never_answered");
    told_session ours;
    ours.starts("p1");
    ours.take(ours.tracker.abort_accepted(ours.now));
    ours.hear(execution_started{});
    ours.promotes("x1");
    BOOST_TEST(ours.settled() == "p1 aborted by abort_requested");
}

BOOST_AUTO_TEST_CASE(a_row_that_nobody_heard_of_stands_behind_the_terminals_that_were) {
    told_session s;
    s.starts("p1");
    s.steps("a1", "stop");
    s.prompts("p2");
    s.admits("p2");
    s.ends(succeeded());
    s.breaks();
    s.greets();
    s.looks({prompt_row("p1"), answer_row("a1", "stop"), prompt_row("p2"), open_row("a2")}, after(1), true);
    BOOST_TEST(s.settled() == "p1 completed by message_finished");
    BOOST_TEST(s.judged("p2") == "open (at work)");
}

BOOST_AUTO_TEST_CASE(what_is_heard_late_stands_where_it_happened) {
    told_session s;
    s.starts("p1");
    s.prompts("p2");
    s.breaks();
    s.greets();
    auto rows = std::vector<message_row>{prompt_row("p1"), answer_row("a1", "tool-calls"), prompt_row("p2"),
                                         open_row("a2")};
    for (std::size_t i = 0; i < rows.size(); ++i)
        rows[i].created_ms = static_cast<std::int64_t>(10 * (i + 1));
    s.looks(rows, after(1), true);
    s.created = 25; // between the first answer and the second prompt
    s.ends(succeeded());
    BOOST_TEST(s.settled() == "p1 completed by message_finished");
    BOOST_TEST(s.judged("p2") == "open (at work)");
    s.created = 45;
    s.ends(interrupted("user"));
    BOOST_TEST(s.settled() == "p1 completed by message_finished; p2 aborted by message_interrupted");
}

BOOST_AUTO_TEST_CASE(while_the_stream_is_down_nothing_is_decided_and_nothing_asked_for) {
    told_session s;
    s.starts("p1");
    s.breaks();
    s.waits(after(60));
    BOOST_TEST(s.last() == "deliver p1 interrupted");
    BOOST_TEST(s.judged("p1") == "open (not looked at yet)");
}

BOOST_AUTO_TEST_CASE(a_snapshot_begun_before_the_greeting_repairs_nothing) {
    told_session s;
    s.starts("p1");
    s.breaks();
    const auto begun = s.tracker.begin_snapshot();
    s.greets();
    snapshot old;
    old.rows = {prompt_row("p1"), answer_row("a1", "stop")};
    s.take(s.tracker.merge(old, begun, s.now, s.now));
    BOOST_TEST(s.settled() == "");
    BOOST_TEST(s.last() == "fetch_snapshot");
}

BOOST_AUTO_TEST_CASE(events_that_come_before_the_repair_are_taken_after_it) {
    after_a_gap s;
    s.ends(succeeded());
    BOOST_TEST(s.settled() == "");
    s.looks({prompt_row("p1"), answer_row("a1", "stop")}, after(3));
    BOOST_TEST(s.settled() == "p1 completed by message_finished");
}

BOOST_AUTO_TEST_CASE(too_many_events_before_the_repair_are_as_another_break) {
    tracker_options o;
    o.max_held = 2;
    told_session s(o);
    s.starts("p1");
    s.breaks();
    s.greets();
    const auto begun = s.tracker.begin_snapshot();
    for (int n = 0; n < 3; ++n)
        s.hear(step_started{"a1"});
    snapshot old;
    old.rows = {prompt_row("p1"), answer_row("a1", "stop")};
    s.take(s.tracker.merge(old, begun, s.now, s.now));
    BOOST_TEST(s.settled() == "");
    BOOST_TEST(s.last() == "fetch_snapshot");
    s.looks(old, after(1));
    BOOST_TEST(s.settled() == "p1 completed by message_finished");
}

// --- the rest

BOOST_AUTO_TEST_CASE(a_session_that_is_gone_settles_its_turns) {
    told_session by_event;
    by_event.starts("p1");
    by_event.hear(session_deleted{});
    BOOST_TEST(by_event.settled() == "p1 lost by session_deleted");
    told_session by_rest;
    by_rest.starts("p1");
    snapshot s;
    s.session_known = false;
    by_rest.looks(s, after(1));
    BOOST_TEST(by_rest.settled() == "p1 lost by session_deleted");
}

BOOST_AUTO_TEST_CASE(a_turn_is_closed_by_its_owner_once) {
    told_session s;
    s.starts("p1");
    settlement how;
    how.outcome = outcome::detached;
    how.rule = rule::detached;
    s.take(s.tracker.close("p1", how));
    s.take(s.tracker.close("p1", how));
    s.ends(succeeded());
    BOOST_TEST(s.settled() == "p1 detached by detached");
    BOOST_TEST(!s.tracker.has_open_turns());
}

BOOST_AUTO_TEST_CASE(an_event_with_a_number_that_was_had_is_not_taken_again) {
    told_session s;
    s.starts("p1");
    s.take(s.tracker.hear({"e", root, 7, step_started{"a1"}, 0}, s.now));
    s.take(s.tracker.hear({"e", root, 7, step_ended{"a1", "stop", {}, 0}, 0}, s.now));
    BOOST_TEST(!s.tracker.facts().find_step("a1")->answers());
    s.take(s.tracker.hear({"e", root, 12, step_ended{"a1", "stop", {}, 0}, 0}, s.now)); // holes are normal
    BOOST_TEST(s.tracker.facts().find_step("a1")->answers());
}

// --- approvals

BOOST_AUTO_TEST_CASE(approvals_that_a_snapshot_has_or_lacks_are_asked_or_withdrawn) {
    told_session s;
    s.starts("p1");
    s.hear(session_created{root, "/p"}, "ses_2");
    s.hear(permission_asked{{"per_1", "ses_2", "shell", {}, ""}}, "ses_2");
    s.hear(form_created{{{"frm_1", "ses_2", {}, ""}, {}}}, "ses_2");
    s.hear(permission_replied{"per_9", "once"}, "ses_2");
    s.done.clear();
    snapshot now;
    now.rows = {prompt_row("p1")};
    now.active = true;
    now.permissions = {{"per_2", root, "edit", {}, ""}};
    now.forms = {{{"frm_1", "ses_2", {}, ""}, {}}, {{"frm_2", root, {}, ""}, {}}};
    now.children.emplace_back();
    now.children.back().id = "ses_4";
    now.children.back().parent_id = "ses_2";
    s.looks(now, after(1));
    BOOST_TEST(s.done == (std::vector<std::string>{"deliver p1 permission", "deliver p1 permission",
                                                   "deliver p1 question"}),
               boost::test_tools::per_element());
    BOOST_TEST(s.tracker.owns("ses_4"));
    s.done.clear();
    s.hear(form_answered{"frm_1", false}, "ses_2");
    s.hear(execution_ended{}, "ses_2");
    s.hear(session_deleted{}, "ses_3");
    BOOST_TEST(s.done == std::vector<std::string>{"deliver p1 question"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(no_more_approvals_wait_than_their_limit) {
    tracker_options o;
    o.max_asks = 1;
    told_session s(o);
    s.starts("p1");
    s.done.clear();
    for (const char* id : {"per_1", "per_1", "per_2"})
        s.hear(permission_asked{{id, root, "shell", {}, ""}});
    BOOST_TEST(s.done == std::vector<std::string>{"deliver p1 permission"}, boost::test_tools::per_element());
}
