// Turns of a session that is followed: whose prompts are turns, what is history, what works on in the
// background, and approvals that no turn waits for.
#include <boost/test/unit_test.hpp>

#include "support/told_story.hpp"

#include <holdfast/opencode/turn_tracker.hpp>

#include <string>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;
using namespace holdfast::test::told_story;

namespace {

/// A session that is followed from its beginning, idle.
struct followed : story {
    std::vector<std::string> opened;

    explicit followed(snapshot first = snap_of(idle, {})) {
        tracker.follow();
        snap(first);
        look();
    }
    void look() {
        for (auto& each : tracker.take_opened())
            opened.push_back(std::move(each));
    }
    /// Somebody else's.
    void stores(const std::string& id, std::int64_t created = 10) {
        says(user(id, created));
        says(text(id, "prt_" + id, "ask " + id, true));
        look();
    }
    std::string turns() {
        look();
        std::string all;
        for (const auto& each : opened)
            all += each + ' ';
        return all;
    }
};

/// One that is followed by captures, idle at first.
struct captured : story {
    captured() {
        break_off();
        tracker.follow();
        look(snap_of(idle, {}));
    }
    void look(snapshot shown) {
        const auto taken = tracker.begin_snapshot();
        BOOST_TEST(tracker.on_capture(std::move(shown), taken, now));
        collect();
    }
};

message stored(const std::string& id, std::int64_t created) {
    return {user(id, created), {text(id, "prt_" + id, "ask " + id, true)}};
}

} // namespace

// --- others' prompts

BOOST_AUTO_TEST_CASE(a_prompt_without_a_reply_is_no_turn_and_never_lost) {
    followed s;
    s.stores("p1");
    s.pass(minutes(10));
    s.snap(snap_of(idle, {stored("p1", 10)}));
    BOOST_TEST(s.turns() == "");
    BOOST_TEST(s.told.empty());
    BOOST_TEST(!s.tracker.has_open_turns());
}

BOOST_AUTO_TEST_CASE(a_prompt_that_asks_for_no_snapshot_as_nobody_answers_it) {
    followed s;
    s.stores("p1");
    BOOST_TEST(!s.tracker.wants_snapshot());
    BOOST_TEST(s.tracker.next_deadline().has_value()); // its grace
    s.pass(seconds(5));
    BOOST_TEST(!s.tracker.wants_snapshot());
    BOOST_TEST(!s.tracker.next_deadline().has_value());
}

BOOST_AUTO_TEST_CASE(a_prompt_without_a_reply_is_no_turn_at_the_next_start_either) {
    for (const bool before_an_answer : {false, true}) {
        std::vector<message> shown{stored("p0", 1), {finished(answer("a0", "p0", 2), "stop"), {}}};
        if (before_an_answer)
            shown.insert(shown.begin(), stored("n0", 0));
        else
            shown.push_back(stored("n0", 3));
        followed s(snap_of(idle, shown));
        s.pass(minutes(2));
        s.snap(snap_of(idle, shown));
        BOOST_TEST(s.turns() == "");
        BOOST_TEST(s.told.empty());
    }
}

BOOST_AUTO_TEST_CASE(the_newest_prompt_without_an_answer_is_a_turn_when_the_session_goes_to_work) {
    followed s;
    s.stores("p1");
    BOOST_TEST(s.turns() == "");
    s.status(busy);
    BOOST_TEST(s.turns() == "p1 ");
    s.answers_whole("a1", "p1", "hello", 11);
    s.idles();
    BOOST_TEST(s.end("p1") == "completed message_finished");
}

BOOST_AUTO_TEST_CASE(a_prompt_is_a_turn_when_an_answer_names_it) {
    followed s;
    s.stores("p1");
    s.answers_whole("a1", "p1", "hello", 11);
    BOOST_TEST(s.turns() == "p1 ");
    BOOST_TEST(s.said() == "hello");
}

BOOST_AUTO_TEST_CASE(a_prompt_is_a_turn_when_an_error_or_an_abort_of_the_session_comes) {
    for (const std::string name : {"UnknownError", "MessageAbortedError"}) {
        followed s;
        s.status(busy);
        s.stores("p1");
        BOOST_TEST(s.turns() == "");
        s.error(name);
        BOOST_TEST(s.turns() == "p1 ", name);
    }
}

BOOST_AUTO_TEST_CASE(older_prompts_without_an_answer_end_with_the_one_that_is_answered) {
    followed s;
    s.stores("p1", 10);
    s.stores("p2", 11);
    s.status(busy);
    BOOST_TEST(s.turns() == "p2 ");
    s.answers_whole("a2", "p2", "both", 12);
    s.idles();
    BOOST_TEST(s.turns() == "p2 p1 ");
    s.snap(
        snap_of(idle, {stored("p1", 10), stored("p2", 11), {finished(answer("a2", "p2", 12), "stop"), {}}}));
    BOOST_TEST(s.end("p1") == "completed merged");
    BOOST_TEST(s.end("p2") == "completed message_finished");
}

BOOST_AUTO_TEST_CASE(context_is_not_told_when_a_later_prompt_is_answered) {
    followed s;
    s.stores("n1", 10);
    s.pass(seconds(5));
    s.stores("p2", 11);
    s.status(busy);
    s.answers_whole("a2", "p2", "hello", 12);
    s.idles();
    BOOST_TEST(s.turns() == "p2 ");
    BOOST_TEST(s.end("n1") == "open");
}

BOOST_AUTO_TEST_CASE(what_was_taken_for_context_is_told_whole_when_an_answer_names_it) {
    followed s;
    s.stores("p1");
    s.pass(seconds(12));
    s.status(busy);
    BOOST_TEST(s.turns() == "");
    s.says(answer("a1", "p1", 11));
    BOOST_TEST(s.turns() == "p1 ");
    BOOST_TEST(s.tracker.wants_snapshot());
    s.says(text("a1", "t1", "", false)); // kept until then
    s.delta("a1", "t1", "hello");
    s.snap(snap_of(busy, {stored("p1", 10), {answer("a1", "p1", 11), {text("a1", "t1", "", false)}}}));
    s.says(text("a1", "t1", "hello", true));
    s.says(finished(answer("a1", "p1", 11), "stop"));
    s.idles();
    BOOST_TEST(s.said() == "hello");
    BOOST_TEST(s.end("p1") == "completed message_finished");
}

BOOST_AUTO_TEST_CASE(what_was_let_fall_ends_with_the_later_prompt_that_was_let_fall_and_is_answered) {
    followed s;
    s.stores("p1", 10);
    s.status(busy);
    s.answers_whole("a1", "p1", "first", 11);
    s.stores("p2", 12);
    s.stores("p3", 13);
    s.idles(); // its loop ended, and left them
    s.pass(seconds(5));
    s.status(busy); // one of them was posted once more
    s.says(answer("a3", "p3", 14));
    BOOST_TEST(s.turns() == "p1 p3 p2 ");
    s.snap(snap_of(idle, {stored("p1", 10),
                          {finished(answer("a1", "p1", 11), "stop"), {}},
                          stored("p2", 12),
                          stored("p3", 13),
                          {finished(answer("a3", "p3", 14), "stop"), {text("a3", "t3", "both", true)}}}));
    BOOST_TEST(s.end("p3") == "completed message_finished");
    BOOST_TEST(s.end("p2") == "completed merged");
    BOOST_TEST(s.settlements("p1").size() == 1u);
}

BOOST_AUTO_TEST_CASE(what_was_let_fall_does_not_end_with_an_earlier_prompt_that_is_answered) {
    followed s;
    s.status(busy);
    s.stores("p1", 10);
    s.stores("p2", 11);
    s.idles();
    s.pass(seconds(5));
    s.says(answer("a1", "p1", 12));
    BOOST_TEST(s.turns() == "p1 ");
}

BOOST_AUTO_TEST_CASE(context_from_before_is_not_told_with_what_was_let_fall_and_is_answered) {
    followed s;
    s.stores("n1", 10);
    s.pass(seconds(5));
    s.stores("p2", 11);
    s.pass(seconds(5));
    s.says(answer("a2", "p2", 12));
    BOOST_TEST(s.turns() == "p2 ");
}

BOOST_AUTO_TEST_CASE(what_was_over_before_is_not_told_with_what_was_let_fall_and_is_answered) {
    followed s(snap_of(idle, {stored("p0", 1), {finished(answer("a0", "p0", 2), "stop"), {}}}));
    s.stores("p1", 3);
    s.says(user("p0", 1)); // reported again
    s.pass(seconds(5));
    s.says(answer("a1", "p1", 4));
    BOOST_TEST(s.turns() == "p1 ");
}

BOOST_AUTO_TEST_CASE(captures_tell_what_was_set_aside_with_the_later_prompt_that_is_answered) {
    captured s;
    s.look(snap_of(idle, {stored("p1", 1)}));
    s.pass(seconds(3));
    s.look(snap_of(idle, {stored("p1", 1), stored("p2", 2)}));
    s.pass(seconds(3));
    s.look(snap_of(idle, {stored("p1", 1), stored("p2", 2)})); // the grace of p1 is over, that of p2 is not
    s.look(snap_of(idle, {stored("p1", 1),
                          stored("p2", 2),
                          {finished(answer("a2", "p2", 3), "stop"), {text("a2", "t2", "both", true)}}}));
    BOOST_TEST(s.end("p2") == "completed message_finished");
    BOOST_TEST(s.end("p1") == "completed merged");
}

BOOST_AUTO_TEST_CASE(only_an_unbroken_idle_stream_makes_context_of_a_prompt) {
    followed s;
    s.stores("p1");
    s.pass(seconds(4));
    s.break_off();
    s.attach();
    s.pass(seconds(4));
    s.snap(snap_of(idle, {stored("p1", 10)}));
    s.pass(seconds(4));
    s.status(busy); // 8 s after the stream began anew, but 4 s after it was repaired
    BOOST_TEST(s.turns() == "p1 ");
}

BOOST_AUTO_TEST_CASE(a_prompt_that_waits_behind_a_turn_is_none_before_it_is_answered) {
    followed s;
    s.stores("p1", 10);
    s.status(busy);
    s.says(answer("a1", "p1", 11));
    s.stores("p2", 12);
    s.status(busy);
    BOOST_TEST(s.turns() == "p1 ");
    s.says(finished(answer("a1", "p1", 11), "stop"));
    s.idles();
    BOOST_TEST(s.end("p1") == "completed message_finished");
    s.pass(seconds(4));
    s.answers_whole("a2", "p2", "hello", 13); // the end of p1 did not forget it
    BOOST_TEST(s.turns() == "p1 p2 ");
    BOOST_TEST(s.said() == "hello");
}

BOOST_AUTO_TEST_CASE(captures_make_context_of_a_prompt_by_a_look_after_its_grace) {
    captured s;
    s.look(snap_of(idle, {stored("n1", 1)}));
    s.pass(seconds(5));
    s.look(snap_of(idle, {stored("n1", 1)}));
    s.look(snap_of(busy, {stored("n1", 1)}));
    BOOST_TEST(s.tracker.take_opened().empty());
    s.look(snap_of(busy, {stored("n1", 1), {answer("a1", "n1", 2), {text("a1", "t1", "hello", true)}}}));
    BOOST_TEST(s.tracker.take_opened() == std::vector<std::string>{"n1"}, boost::test_tools::per_element());
    BOOST_TEST(s.said() == "hello");
}

// --- history

BOOST_AUTO_TEST_CASE(an_answer_that_was_broken_off_is_history_when_nothing_is_at_work) {
    struct row {
        const char* name;
        session_status before;
        std::optional<session_status> after;
        const char* turns;
    };
    const row rows[] = {
        {"idle before and after the messages", idle, idle, ""},
        {"begun between", idle, busy, "p0 "},
        {"not asked again", idle, std::nullopt, "p0 "},
        {"at work", busy, std::nullopt, "p0 "},
    };
    for (const auto& r : rows) {
        auto shown =
            snap_of(r.before, {stored("p0", 1), {answer("a0", "p0", 2), {text("a0", "t0", "half", false)}}});
        shown.status_after = r.after;
        followed s(shown);
        BOOST_TEST(s.turns() == r.turns, r.name);
        if (s.opened.empty()) {
            s.pass(minutes(5));
            shown.status_after.reset();
            s.snap(shown);
            BOOST_TEST(s.turns() == "", r.name);
            BOOST_TEST(s.told.empty(), r.name);
        }
    }
}

namespace {

/// An answer that a kill broke off is the last message.
struct broken_off : followed {
    static snapshot shown(const session_status& status) {
        auto all = snap_of(status, {stored("p0", 1), {answer("a0", "p0", 2), {}}});
        all.status_after = idle;
        return all;
    }
    broken_off() : followed(shown(idle)) {}
    void ends() {
        BOOST_TEST(turns() == "p0 ");
        BOOST_TEST(tracker.wants_snapshot());
        snap(snap_of(idle, {stored("p0", 1),
                            {finished(answer("a0", "p0", 2), "stop"), {text("a0", "t0", "whole", true)}}}));
        BOOST_TEST(said() == "whole");
        BOOST_TEST(end("p0") == "completed message_finished");
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(work_on_history_makes_it_a_turn_that_is_told_whole) {
    {
        broken_off s;
        s.says(answer("a0", "p0", 2)); // it goes on
        s.ends();
    }
    {
        broken_off s;
        s.hear(part_delta{root, "a0", "t0", "text", "ole"});
        s.ends();
    }
    {
        broken_off s;
        s.hear(part_updated{text("a0", "t0", "", false)});
        s.ends();
    }
    {
        broken_off s;
        s.says(answer("a1", "p0", 3)); // another answer
        BOOST_TEST(s.turns() == "p0 ");
    }
}

BOOST_AUTO_TEST_CASE(the_end_of_what_was_history_is_no_work_on_it) {
    broken_off s;
    auto last = text("a0", "t0", "half", true);
    s.hear(part_updated{last});
    s.says(failed(answer("a0", "p0", 2), "MessageAbortedError"));
    s.says(user("p0", 1));
    s.idles();
    BOOST_TEST(s.turns() == "");
    BOOST_TEST(s.told.empty());
}

BOOST_AUTO_TEST_CASE(a_look_that_finds_work_on_history_makes_it_a_turn) {
    broken_off s;
    s.snap(broken_off::shown(idle));
    BOOST_TEST(s.turns() == "");
    s.snap(broken_off::shown(busy));
    BOOST_TEST(s.turns() == "p0 ");

    broken_off another;
    another.snap(snap_of(idle, {stored("p0", 1),
                                {answer("a0", "p0", 2), {}},
                                {finished(answer("a1", "p0", 3), "stop"), {text("a1", "t1", "on", true)}}}));
    BOOST_TEST(another.turns() == "p0 ");
    BOOST_TEST(another.said() == "on");
}

BOOST_AUTO_TEST_CASE(work_behind_what_was_broken_off_does_not_make_that_a_turn) {
    broken_off s;
    s.stores("p1", 10);
    s.status(busy);
    s.snap(snap_of(busy, {stored("p0", 1), {answer("a0", "p0", 2), {}}, stored("p1", 10)}));
    s.answers_whole("a1", "p1", "hello", 11);
    s.idles();
    BOOST_TEST(s.turns() == "p1 ");
    BOOST_TEST(s.said() == "hello");
}

// --- what works on in the background

namespace {

/// p1 starts a child that works on when p1 is settled. `ours`: we prompted it.
struct background : followed {
    explicit background(bool ours = false) {
        if (ours)
            prompt("p1", 10);
        else
            stores("p1");
        status(busy);
        says(answer("a1", "p1", 11));
        auto t = tool("a1", "c1", "running");
        t.child_session = child;
        says(t);
        hear(session_created{{child, root, "/srv", "", ""}});
        hear(status_changed{child, busy});
        t.state = "completed";
        says(t);
        says(finished(answer("a1", "p1", 11), "stop"));
    }
    void settles() {
        idles();
        BOOST_TEST(end("p1") == "completed message_finished");
    }
    std::string asks() const {
        std::string all;
        for (const auto& o : told)
            if (const auto* e = std::get_if<permission_event>(&o.event))
                all += (o.message.empty() ? "session" : o.message) + ':' + e->request.id +
                       (e->reply ? '=' + *e->reply : "") + (o.ours ? " " : " not ours ");
        return all;
    }
    snapshot listed(const std::string& call_state) {
        auto shown = snap_of(idle, {});
        shown.children = {{child, root, "/srv", "", ""}};
        shown.at_work = std::make_shared<session_statuses>(session_statuses{{child, busy}});
        auto t = tool("m1", "c9", call_state);
        t.session_id = child;
        shown.child_tools = {t};
        shown.permissions = {permission("per_1", child, "c9")};
        return shown;
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_synthetic_message_after_its_turn_settled_is_a_turn_of_its_own) {
    background s;
    s.settles();
    s.says(user("s1", 20));
    s.says(synthetic("s1", "the task is done"));
    s.status(busy);
    s.answers_whole("a2", "s1", "woken", 21);
    s.idles();
    BOOST_TEST(s.turns() == "p1 s1 ");
    BOOST_TEST(s.end("s1") == "completed message_finished");
    BOOST_TEST(s.said() == "woken");
}

BOOST_AUTO_TEST_CASE(a_synthetic_message_before_its_turn_settled_goes_on_with_it) {
    background s;
    s.says(user("s1", 20));
    s.says(synthetic("s1", "the task is done"));
    s.answers_whole("a2", "s1", "more", 21);
    s.idles();
    BOOST_TEST(s.turns() == "p1 ");
    BOOST_TEST(s.end("p1") == "completed message_finished");
    BOOST_TEST(s.settlements("p1")[0].text == "more");
}

BOOST_AUTO_TEST_CASE(a_synthetic_message_that_the_stream_missed_is_found_by_its_repair) {
    background s;
    s.settles();
    s.break_off();
    s.attach();
    s.snap(snap_of(idle, {stored("p1", 10),
                          {finished(answer("a1", "p1", 11), "stop"), {}},
                          {user("s1", 20), {synthetic("s1", "the task is done")}},
                          {finished(answer("a2", "s1", 21), "stop"), {text("a2", "t2", "woken", true)}}}));
    BOOST_TEST(s.turns() == "p1 s1 ");
    BOOST_TEST(s.said() == "woken");
}

BOOST_AUTO_TEST_CASE(a_session_is_shown_with_the_children_that_work_while_it_is_idle) {
    background s;
    BOOST_TEST(s.tracker.background() == 0u); // it is at work itself
    s.settles();
    BOOST_TEST(s.tracker.background() == 1u);
    s.hear(session_idle{child});
    BOOST_TEST(s.tracker.background() == 0u);
    s.snap(s.listed("running"));
    BOOST_TEST(s.tracker.background() == 1u);
    s.snap(snap_of(idle, {}));
    BOOST_TEST(s.tracker.background() == 0u);
}

BOOST_AUTO_TEST_CASE(an_event_about_a_child_outranks_a_snapshot_that_was_begun_before_it) {
    background s;
    s.settles();
    const auto begun = s.tracker.begin_snapshot();
    s.hear(session_idle{child});
    BOOST_TEST(s.tracker.on_snapshot(s.listed("running"), begun, s.now));
    BOOST_TEST(s.tracker.background() == 0u);
}

// --- approvals without a turn

BOOST_AUTO_TEST_CASE(what_a_child_asks_when_no_turn_is_open_is_the_sessions) {
    for (const bool ours : {false, true}) {
        background s(ours);
        s.settles();
        s.hear(permission_asked{permission("per_1", child, "c9")});
        s.hear(permission_replied{child, "per_1", "once"});
        BOOST_TEST(s.asks() == (ours ? "session:per_1 session:per_1=once "
                                     : "session:per_1 not ours session:per_1=once not ours "));
    }
}

BOOST_AUTO_TEST_CASE(what_a_child_asks_passes_to_the_session_when_its_turn_settles) {
    background s(true);
    s.hear(permission_asked{permission("per_1", child, "c9")});
    s.settles();
    BOOST_TEST(s.asks() == "p1:per_1 p1:per_1=withdrawn session:per_1 ");
    BOOST_TEST(s.kinds().ends_with("permission settled permission"), s.kinds());
    s.hear(session_idle{child}); // it was aborted
    BOOST_TEST(s.asks() == "p1:per_1 p1:per_1=withdrawn session:per_1 session:per_1=withdrawn ");
}

BOOST_AUTO_TEST_CASE(a_listed_request_is_live_while_its_own_session_works_and_its_tool_waits) {
    struct row {
        const char* state;
        bool at_work;
        bool is_live;
    };
    const row rows[] = {{"running", true, true},
                        {"pending", true, true},
                        {"error", true, false},
                        {"completed", true, false},
                        {"running", false, false}};
    for (const auto& r : rows) {
        background s(true);
        s.settles();
        auto shown = s.listed(r.state);
        if (!r.at_work)
            shown.at_work.reset();
        s.snap(shown);
        BOOST_TEST(s.asks() == (r.is_live ? "session:per_1 " : ""), r.state << ' ' << r.at_work);
    }
}

BOOST_AUTO_TEST_CASE(a_request_of_a_child_whose_tool_nobody_knows_is_a_ghost) {
    background s(true);
    s.settles();
    auto shown = s.listed("running");
    shown.child_tools.clear();
    s.snap(shown);
    BOOST_TEST(s.asks() == "");
}

BOOST_AUTO_TEST_CASE(what_waits_is_withdrawn_by_a_snapshot_that_shows_it_is_a_ghost) {
    for (const char* state : {"error", "running"}) {
        background s(true);
        s.settles();
        s.hear(permission_asked{permission("per_1", child, "c9")});
        auto shown = s.listed(state);
        if (state == std::string("running"))
            shown.at_work.reset();
        s.snap(shown);
        BOOST_TEST(s.asks() == "session:per_1 session:per_1=withdrawn ", state);
    }
}

BOOST_AUTO_TEST_CASE(a_ghost_of_an_aborted_turn_is_not_told_to_the_next_one) {
    story s;
    s.prompt("p1");
    s.status(busy);
    s.says(answer("a1", "p1"));
    s.says(tool("a1", "c1", "running"));
    s.hear(permission_asked{permission("per_1", root, "c1")});
    s.error("MessageAbortedError");
    s.idles();
    s.says(tool("a1", "c1", "error"));
    s.says(failed(answer("a1", "p1"), "MessageAbortedError"));
    s.idles();
    s.prompt("p2", 5);
    s.status(busy);
    s.says(answer("a2", "p2", 6));
    auto shown =
        snap_of(busy, {{user("p1"), {}},
                       {failed(answer("a1", "p1"), "MessageAbortedError"), {tool("a1", "c1", "error")}},
                       {user("p2", 5), {}},
                       {answer("a2", "p2", 6), {}}});
    shown.permissions = {permission("per_1", root, "c1")};
    s.snap(shown);
    BOOST_TEST(s.all<permission_event>().size() == 2u); // asked, and withdrawn with p1
}

BOOST_AUTO_TEST_CASE(what_a_strangers_prompt_asks_is_not_told_to_our_turn_that_waits_behind_it) {
    story s; // held, not followed
    s.says(user("p0", 1));
    s.says(text("p0", "prt_p0", "ask p0", true));
    s.status(busy);
    s.says(answer("a0", "p0", 2));
    s.prompt("p1", 3);
    s.says(tool("a0", "c0", "running"));
    s.hear(permission_asked{permission("per_0", root, "c0")});
    s.snap(snap_of(
        busy, {stored("p0", 1), {answer("a0", "p0", 2), {tool("a0", "c0", "running")}}, stored("p1", 3)}));
    BOOST_TEST_REQUIRE(s.told.size() == 1u);
    BOOST_TEST(s.told[0].message == "");
    BOOST_TEST(!s.told[0].ours);
    s.hear(permission_replied{root, "per_0", "once"});
    s.says(answer("a1", "p1", 4));
    s.says(tool("a1", "c1", "running"));
    s.hear(permission_asked{permission("per_1", root, "c1")});
    BOOST_TEST_REQUIRE(s.told.size() == 4u);
    BOOST_TEST(s.told[3].message == "p1");
    BOOST_TEST(s.told[3].ours);
}

BOOST_AUTO_TEST_CASE(what_a_stranger_was_asked_is_withdrawn_when_the_session_is_idle) {
    story s;
    s.status(busy);
    s.hear(permission_asked{permission("per_0", root, "c0")});
    s.idles();
    const auto asks = s.all<permission_event>();
    BOOST_TEST_REQUIRE(asks.size() == 2u);
    BOOST_TEST(asks[1].reply.value() == "withdrawn");
}

// --- late beginnings

BOOST_AUTO_TEST_CASE(a_stored_prompt_that_nothing_says_will_not_be_begun_is_waited_for_a_minute) {
    story s;
    s.prompt("p1");
    s.snap(snap_of(idle, {{user("p1"), {}}}));
    s.pass(seconds(48));
    BOOST_TEST(s.tracker.wants_snapshot()); // it is quiet
    s.snap(snap_of(idle, {{user("p1"), {}}}));
    BOOST_TEST(s.kinds() == "quiet");
    s.status(busy);
    s.answers_whole("a1", "p1", "late");
    s.idles();
    BOOST_TEST(s.end("p1") == "completed message_finished");
}

BOOST_AUTO_TEST_CASE(a_prompt_that_only_a_snapshot_shows_to_be_stored_is_waited_for_as_long) {
    story s;
    s.open("p1"); // its own message is not told
    s.idles();
    s.pass(seconds(5));
    BOOST_TEST(s.tracker.wants_snapshot());
    s.snap(snap_of(idle, {{user("p1"), {}}}));
    BOOST_TEST(s.end("p1") == "open");
    BOOST_TEST(!s.tracker.wants_snapshot());
    s.pass(seconds(55));
    BOOST_TEST(s.tracker.wants_snapshot());
    s.snap(snap_of(idle, {{user("p1"), {}}}));
    BOOST_TEST(s.end("p1") == "lost never_answered");
}

BOOST_AUTO_TEST_CASE(what_the_long_grace_is_for_and_what_it_is_not) {
    struct row {
        const char* name;
        void (*happens)(story&);
        duration grace;
    };
    const row rows[] = {
        {"stored", [](story& s) { s.prompt("p1"); }, seconds(60)},
        {"stored, and the stream was cut",
         [](story& s) {
             s.prompt("p1");
             s.break_off();
             s.attach();
             s.snap(snap_of(idle, {{user("p1"), {}}}));
         },
         seconds(60)},
        {"stored, and a refusal",
         [](story& s) {
             s.prompt("p1");
             s.break_off(failure_class::refused);
             s.attach();
             s.snap(snap_of(idle, {{user("p1"), {}}}));
         },
         seconds(60)},
        {"unknown to the server", [](story& s) { s.open("p1"); }, seconds(5)},
        {"let fall by a dispose",
         [](story& s) {
             s.prompt("p1");
             s.break_off(failure_class::ended);
             s.attach();
             s.snap(snap_of(idle, {{user("p1"), {}}}));
         },
         seconds(5)},
        {"let fall by a loop that ended",
         [](story& s) {
             s.prompt("p1");
             s.status(busy);
         },
         seconds(5)},
        {"an answer without an end",
         [](story& s) {
             s.prompt("p1");
             s.says(answer("a1", "p1"));
         },
         seconds(5)},
        {"an error", [](story& s) { s.prompt("p1"), s.error("E"); }, seconds(5)},
        {"our abort", [](story& s) { s.prompt("p1"), s.abort(); }, seconds(1)},
        {"at work by a snapshot",
         [](story& s) {
             s.prompt("p1");
             s.snap(snap_of(busy, {{user("p1"), {}}}));
         },
         seconds(5)},
    };
    for (const auto& r : rows) {
        tracker_options o;
        o.quiet_after = duration::zero();
        story s(o);
        r.happens(s);
        s.idles();
        s.pass(r.grace - milliseconds(1));
        BOOST_TEST(!s.tracker.wants_snapshot(), r.name);
        s.pass(milliseconds(1));
        BOOST_TEST(s.tracker.wants_snapshot(), r.name);
    }
}
