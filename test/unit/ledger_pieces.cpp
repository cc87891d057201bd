// Narrator, approvals, deadlines and actions, each alone.
#include <boost/test/unit_test.hpp>

#include "support/told_story.hpp"

#include <holdfast/opencode/ledger/approvals.hpp>
#include <holdfast/opencode/ledger/deadlines.hpp>
#include <holdfast/opencode/ledger/turn_tracker.hpp>

#include <sstream>

using namespace holdfast;
using namespace holdfast::opencode;
using namespace holdfast::opencode::ledger;
using namespace holdfast::test::told_story;

namespace {

std::string print(const actions& all) {
    std::string text;
    for (const auto& a : all)
        text += (text.empty() ? "" : "; ") + describe(a);
    return text;
}

const time_point start{seconds(1000)};

} // namespace

BOOST_AUTO_TEST_CASE(a_turn_reads_like_a_transcript) {
    ledger::turn_tracker t(root, {});
    BOOST_TEST(print(t.attached()) == "");
    BOOST_TEST(print(t.open("p1", start)) == "opened p1");
    BOOST_TEST(print(t.posted("p1", start, true)) == "wake_at 1005000");
    BOOST_TEST(print(t.hear(message_updated{user("p1")}, start)) == "wake_at 1030000"); // it is stored
    BOOST_TEST(print(t.hear(status_changed{root, busy}, start)) == "wake_at 1030000");
    BOOST_TEST(print(t.hear(message_updated{finished(answer("a1", "p1"), "stop")}, start)) ==
               "deliver p1 usage; wake_at 1030000");
    BOOST_TEST(print(t.hear(session_idle{root}, start)) == "deliver p1 completed by message_finished");
}

BOOST_AUTO_TEST_CASE(silence_is_answered_by_a_snapshot_and_an_unknown_prompt_by_a_repost) {
    ledger::turn_tracker t(root, {});
    (void)t.attached();
    (void)t.open("p1", start);
    (void)t.posted("p1", start, true);
    BOOST_TEST(print(t.hear(status_changed{root, idle}, start)) == "wake_at 1005000");
    BOOST_TEST(print(t.tick(start + seconds(5))) == "fetch_snapshot; wake_at 1030000");
    const auto begun = t.begin_snapshot();
    BOOST_TEST(print(t.merge(snap_of(idle, {}), begun, false, start + seconds(5))) ==
               "repost p1; wake_at 1010000");
    BOOST_TEST(print(t.tick(start + seconds(10))) == "fetch_snapshot; wake_at 1030000");
    BOOST_TEST(print(t.merge(snap_of(idle, {}), begun, false, start + seconds(10))) ==
               "fetch_snapshot; wake_at 1030000"); // begun too early
    BOOST_TEST(print(t.merge(snap_of(idle, {}), t.begin_snapshot(), false, start + seconds(10))) ==
               "deliver p1 lost by never_answered");
}

namespace {

/// What happens to a prompt that the server stored, and for which it has not begun to work.
struct unbegun {
    const char* name;
    void (*happens)(ledger::turn_tracker&);
    duration grace;
};

tracker_options patient() {
    tracker_options o;
    o.unbegun_grace = seconds(60);
    o.quiet_after = duration::zero();
    return o;
}

} // namespace

// A cold instance on a busy machine stores a prompt at once, and begins long after.
BOOST_AUTO_TEST_CASE(a_prompt_that_is_stored_and_not_begun_is_waited_for_longer_than_anything_else) {
    const unbegun rows[] = {
        {"nothing", [](ledger::turn_tracker&) {}, seconds(60)},
        {"the stream is cut",
         [](ledger::turn_tracker& t) {
             (void)t.broken_off(failure_of(failure_class::cut), start);
             (void)t.attached();
             (void)t.merge(snap_of(idle, {{user("p1"), {}}}), t.begin_snapshot(), false, start);
         },
         seconds(60)},
        {"its instance is disposed of",
         [](ledger::turn_tracker& t) {
             (void)t.broken_off(failure_of(failure_class::ended), start);
             (void)t.attached();
             (void)t.merge(snap_of(idle, {{user("p1"), {}}}), t.begin_snapshot(), false, start);
         },
         seconds(5)},
        {"an error",
         [](ledger::turn_tracker& t) { (void)t.hear(session_error{root, {"E", "why", 0}}, start); },
         seconds(5)},
        {"the session was at work",
         [](ledger::turn_tracker& t) {
             (void)t.hear(status_changed{root, busy}, start);
             (void)t.hear(status_changed{root, idle}, start);
         },
         seconds(5)},
        {"an answer without an end",
         [](ledger::turn_tracker& t) { (void)t.hear(message_updated{answer("a1", "p1")}, start); },
         seconds(5)},
        {"perhaps an abort, of a turn that ended as in a retry wait",
         [](ledger::turn_tracker& t) {
             (void)t.hear(instance_disposed{"/srv"}, start);
             (void)t.hear(message_updated{finished(answer("theirs", "before"), "")}, start);
         },
         seconds(5)},
        {"our abort that does not arrive", [](ledger::turn_tracker& t) { (void)t.abort_requested(start); },
         seconds(5)},
        {"our abort",
         [](ledger::turn_tracker& t) {
             (void)t.abort_requested(start);
             (void)t.abort_accepted();
         },
         seconds(1)},
    };
    for (const auto& r : rows) {
        ledger::turn_tracker t(root, patient());
        (void)t.attached();
        (void)t.open("p1", start);
        (void)t.posted("p1", start, true);
        (void)t.hear(message_updated{user("p1")}, start);
        (void)t.hear(status_changed{root, idle}, start);
        r.happens(t);
        const auto wants = [&](time_point now) {
            return print(t.tick(now)).find("fetch_snapshot") != std::string::npos;
        };
        BOOST_TEST(!wants(start + r.grace - milliseconds(1)), r.name);
        BOOST_TEST(wants(start + r.grace), r.name);
    }
}

BOOST_AUTO_TEST_CASE(a_prompt_that_the_server_does_not_know_is_posted_again_without_that_patience) {
    ledger::turn_tracker t(root, patient());
    (void)t.attached();
    (void)t.open("p1", start);
    (void)t.posted("p1", start, true);
    (void)t.hear(status_changed{root, idle}, start);
    (void)t.tick(start + seconds(5));
    BOOST_TEST(print(t.merge(snap_of(idle, {}), t.begin_snapshot(), false, start + seconds(5))) ==
               "repost p1; wake_at 1010000");
}

BOOST_AUTO_TEST_CASE(a_prompt_that_is_begun_after_twelve_seconds_is_told_to_its_end) {
    ledger::turn_tracker t(root, patient());
    (void)t.attached();
    (void)t.open("p1", start);
    (void)t.posted("p1", start, true);
    (void)t.hear(message_updated{user("p1")}, start);
    const auto late = start + seconds(12);
    BOOST_TEST(print(t.tick(late)) == "wake_at 1060000");
    (void)t.hear(status_changed{root, busy}, late);
    (void)t.hear(message_updated{finished(answer("a1", "p1"), "stop")}, late);
    BOOST_TEST(print(t.hear(session_idle{root}, late)) == "deliver p1 completed by message_finished");
}

BOOST_AUTO_TEST_CASE(a_snapshot_is_void_when_the_session_became_busy_after_its_beginning) {
    ledger::turn_tracker t(root, {});
    (void)t.attached();
    (void)t.open("p1", start);
    (void)t.posted("p1", start, true);
    const auto begun = t.begin_snapshot();
    (void)t.hear(status_changed{root, busy}, start);
    BOOST_TEST(print(t.merge(snap_of(idle, {}), begun, false, start)) == "wake_at 1030000; snapshot_void");
}

BOOST_AUTO_TEST_CASE(actions_are_values) {
    BOOST_TEST((action{repost{"p1"}} == action{repost{"p1"}}));
    BOOST_TEST((action{repost{"p1"}} != action{repost{"p2"}}));
    BOOST_TEST((action{fetch_snapshot{}} != action{abort_again{}}));
    std::ostringstream out;
    out << action{abort_again{}} << ' ' << action{snapshot_void{}} << ' '
        << action{deliver{"p1", text_event{"t1", "x"}}};
    BOOST_TEST(out.str() == "abort_again snapshot_void deliver p1 text");
}

// --- deadlines

BOOST_AUTO_TEST_CASE(a_grace_that_is_over_stays_so_until_something_new_comes) {
    deadlines d(duration::zero());
    const auto all = [](const std::string&) {
        return true;
    };
    d.wait_for("p1", start, seconds(5));
    BOOST_TEST((d.next(false, all) == start + seconds(5)));
    d.tick(start + seconds(5) - milliseconds(1), 7, false);
    BOOST_TEST(d.grace_over("p1") == 0u);
    d.tick(start + seconds(5), 8, false);
    d.tick(start + seconds(6), 9, false);
    BOOST_TEST(d.grace_over("p1") == 8u);
    BOOST_TEST(!d.next(false, all).has_value());
    d.wait_for("p1", start + seconds(6), seconds(5)); // it waits already
    BOOST_TEST(d.grace_over("p1") == 8u);
    d.restart_all(start + seconds(6));
    BOOST_TEST(d.grace_over("p1") == 0u);
    BOOST_TEST((d.next(false, all) == start + seconds(11)));
    d.set_grace("p1", start + seconds(6), seconds(1));
    BOOST_TEST((d.next(false, all) == start + seconds(7)));
    d.tick(start + seconds(7), 10, false);
    BOOST_TEST(d.grace_over("p1") == 10u);
    d.set_grace("p1", start + seconds(9), seconds(2)); // that is over, too
    BOOST_TEST(d.grace_over("p1") == 10u);
    d.set_grace("p1", start + seconds(9), seconds(60));
    BOOST_TEST(d.grace_over("p1") == 0u);
    BOOST_TEST((d.next(false, all) == start + seconds(66)));
    d.stop_waiting("p1");
    BOOST_TEST(!d.next(false, all).has_value());
}

BOOST_AUTO_TEST_CASE(aborts_of_turns_that_nobody_hears_wake_nobody) {
    deadlines d(duration::zero());
    d.abort_again("p1", start + seconds(1));
    BOOST_TEST(!d.next(false, [](const std::string&) { return false; }).has_value());
    BOOST_TEST((d.next(false, [](const std::string&) { return true; }) == start + seconds(1)));
    BOOST_TEST(d.aborts_due(start).empty());
    BOOST_TEST(d.aborts_due(start + seconds(1)).size() == 1u);
    d.forget("p1");
    BOOST_TEST(d.aborts_due(start + seconds(1)).empty());
}

BOOST_AUTO_TEST_CASE(quiet_is_due_once_until_it_is_told) {
    deadlines d(seconds(30));
    const auto all = [](const std::string&) {
        return true;
    };
    d.progressed(start);
    d.tick(start + seconds(30), 1, false);
    BOOST_TEST(!d.is_quiet()); // nobody waits
    d.tick(start + seconds(30), 2, true);
    BOOST_TEST(d.is_quiet());
    BOOST_TEST(!d.next(true, all).has_value());
    BOOST_TEST((d.quiet_for(start + seconds(31)) == seconds(31)));
    d.quiet_told(start + seconds(31));
    BOOST_TEST(!d.is_quiet());
    BOOST_TEST((d.next(true, all) == start + seconds(61)));
}

// --- approvals and the narrator

namespace {

struct stage {
    session_ledger ledger{root, {}};
    audience listeners;
    narrator tells{ledger, listeners, 0};
    approvals waits{ledger, listeners, tells, {2, 0}};

    stage() {
        ledger.advance();
        ledger.attach();
        ledger.advance();
        ledger.open("p1", turn_facts::origin::ours).posted = ledger.at();
        listeners.add("p1", ledger.at());
        ledger.advance();
        ledger.note_status(busy);
        ledger.set_status(busy);
    }
    void shows(std::vector<message> messages) {
        ledger.advance();
        ledger.merge_messages(messages, busy);
        ledger.repaired();
    }
    std::string told() { return print(tells.take()); }
};

} // namespace

BOOST_AUTO_TEST_CASE(past_their_limit_approvals_wait_for_a_snapshot) {
    stage s;
    for (const char* id : {"per_1", "per_2", "per_3", "per_2"})
        s.waits.asked(permission(id, root, ""));
    BOOST_TEST(s.told() == "deliver p1 permission; deliver p1 permission");
    BOOST_TEST(!s.waits.answered("per_9", "once", false));
    BOOST_TEST(s.waits.answered("per_1", "once", false)); // there is room for the third
    BOOST_TEST(!s.waits.answered("per_2", "once", false));
    BOOST_TEST(s.told() == "deliver p1 permission; deliver p1 permission");
    s.waits.asked(permission("per_1", root, "")); // it was answered
    BOOST_TEST(s.told() == "");
}

BOOST_AUTO_TEST_CASE(what_was_asked_after_a_snapshot_was_begun_is_not_withdrawn_by_it) {
    stage s;
    s.ledger.advance();
    s.waits.asked(permission("per_1", root, ""));
    const auto begun = s.ledger.at();
    s.ledger.advance();
    s.waits.asked(permission("per_2", root, ""));
    (void)s.told();
    s.waits.merge(snapshot{}, begun);
    actions left;
    s.waits.tell_again(left);
    BOOST_TEST_REQUIRE(left.size() == 1u);
    BOOST_TEST(std::get<permission_event>(std::get<deliver>(left[0]).event).request.id == "per_2");
}

BOOST_AUTO_TEST_CASE(what_is_delivered_is_the_difference_to_what_was) {
    stage s;
    s.shows({{user("p1"), {}}, {answer("a1", "p1"), {text("a1", "t1", "one", true)}}});
    s.tells.flush_all();
    BOOST_TEST(s.told() == "deliver p1 text");
    s.tells.flush_all();
    BOOST_TEST(s.told() == "");
    BOOST_TEST(print(s.tells.told_so_far()) == "deliver p1 text");
    s.tells.begin_anew(*s.ledger.find_turn("p1"));
    BOOST_TEST(print(s.tells.told_so_far()) == "");
    s.tells.flush_all();
    BOOST_TEST(s.told() == "deliver p1 text");
}

BOOST_AUTO_TEST_CASE(after_an_interruption_nothing_is_delivered_before_the_repair) {
    stage s;
    s.shows({{user("p1"), {}}, {answer("a1", "p1"), {text("a1", "t1", "one", true)}}});
    s.ledger.advance();
    s.ledger.break_stream(false);
    s.tells.interrupted(failure_class::cut, start);
    s.ledger.advance();
    s.ledger.attach();
    s.tells.flush_all();
    BOOST_TEST(s.told() == "");
    s.ledger.advance();
    s.ledger.repaired();
    s.tells.repaired(start + seconds(2));
    const auto told = s.tells.take();
    BOOST_TEST(print(told) == "deliver p1 gap; deliver p1 text");
    BOOST_TEST(
        (std::get<deliver>(told[0]).event == agent_event(gap_event{failure_class::cut, seconds(2), false})));
}

// --- what is kept of texts

BOOST_AUTO_TEST_CASE(a_text_that_nobody_is_told_is_not_kept_and_its_end_brings_it_whole) {
    session_ledger ledger(root, {});
    audience nobody;
    kept_text kept(ledger, nobody, 1000);
    ledger.advance();
    ledger.attach();
    ledger.advance();
    ledger.open("p1", turn_facts::origin::ours).posted = ledger.at();
    ledger.merge_info(ledger.said().append("p1"), user("p1"), false);
    auto& m = ledger.said().append("a1");
    ledger.merge_info(m, answer("a1", "p1"), false);
    auto start = text("a1", "stp_1", "", false);
    start.type = "step-start";
    ledger.merge_part(m, start, true);
    auto begun = text("a1", "t1", "", false);
    ledger.merge_part(m, begun, true);
    BOOST_TEST(ledger.merge_delta(m, {"a1", root, "t1", "text", std::string(5000, 'x')}) != nullptr);
    kept.bound();
    BOOST_TEST(m.part("t1").text.empty());
    BOOST_TEST(m.part("t1").may_miss_text());
    auto whole = text("a1", "t1", std::string(6000, 'x'), true);
    ledger.merge_part(m, whole, true);
    BOOST_TEST(m.part("t1").text.size() == 6000u);
}
