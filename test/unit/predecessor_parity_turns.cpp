// The predecessor's rules about turns, and where it fails: a named case each. (The loop's own are in
// predecessor_parity.cpp.)
#include <boost/test/unit_test.hpp>

#include "support/told_story.hpp"

using namespace holdfast;
using namespace holdfast::opencode;
using namespace holdfast::test::told_story;

// --- what it does

BOOST_AUTO_TEST_CASE(what_was_streamed_of_a_part_is_not_repeated_when_its_final_text_comes) {
    story s;
    s.prompt("p1");
    s.status(busy);
    s.says(answer("a1", "p1"));
    s.says(text("a1", "prt_1", "", false));
    s.delta("a1", "prt_1", "one ");
    s.delta("a1", "prt_1", "two");
    BOOST_TEST(s.said() == "one two");
    s.says(text("a1", "prt_1", "one two", true));
    BOOST_TEST(s.said() == "one two");
}

BOOST_AUTO_TEST_CASE(a_delta_is_text_or_reasoning_by_its_part_not_by_its_field) {
    story s;
    s.prompt("p1");
    s.status(busy);
    s.says(answer("a1", "p1"));
    auto thought = text("a1", "prt_1", "", false);
    thought.type = "reasoning";
    s.says(thought);
    s.delta("a1", "prt_1", "hmm"); // its field is "text", too
    s.says(text("a1", "prt_2", "", false));
    s.delta("a1", "prt_2", "well");
    BOOST_TEST(s.said() == "well");
    BOOST_TEST_REQUIRE(s.all<reasoning_event>().size() == 1u);
    BOOST_TEST(s.all<reasoning_event>()[0].delta == "hmm");
}

BOOST_AUTO_TEST_CASE(a_turn_without_progress_is_verified_and_told_of_as_quiet_and_goes_on) {
    tracker_options options;
    options.quiet_after = seconds(30);
    story s(options);
    s.prompt("p1");
    s.status(busy);
    s.pass(seconds(29));
    BOOST_TEST(!s.tracker.wants_snapshot());
    s.pass(seconds(1));
    BOOST_TEST(s.tracker.wants_snapshot());
    auto asked = user("p1");
    s.snap(snap_of(busy, {message{asked, {}}}));
    BOOST_TEST_REQUIRE(s.all<quiet_event>().size() == 1u);
    BOOST_TEST((s.all<quiet_event>()[0].lasted == seconds(30)));
    BOOST_TEST(s.all<quiet_event>()[0].status == "busy");
    BOOST_TEST(s.end("p1") == "open");
}

BOOST_AUTO_TEST_CASE(without_a_turn_there_is_no_watchdog) {
    story s;
    s.status(busy);
    BOOST_TEST(!s.tracker.next_deadline().has_value());
}

BOOST_AUTO_TEST_CASE(terminals_left_over_from_an_abort_do_not_settle_the_next_turn) {
    story s;
    s.prompt("p1");
    s.status(busy);
    s.says(answer("a1", "p1"));
    s.abort();
    s.error(std::string(aborted_error));
    s.idles();
    s.says(failed(answer("a1", "p1"), std::string(aborted_error)));
    BOOST_TEST(s.end("p1") == "aborted message_error");
    s.prompt("p2", 5);
    s.idles(); // the late twin
    BOOST_TEST(s.end("p2") == "open");
    s.status(busy);
    s.answers_whole("a2", "p2", "well", 6);
    s.idles();
    BOOST_TEST(s.end("p2") == "completed message_finished");
}

// --- where it fails

BOOST_AUTO_TEST_CASE(failure_7_however_many_terminals_an_abort_brings_each_turn_is_settled_by_itself) {
    for (int idles = 1; idles <= 3; ++idles)
        for (const bool with_error : {false, true})
            for (int before_the_message = 0; before_the_message <= idles; ++before_the_message) {
                story s;
                s.prompt("p1");
                s.status(busy);
                s.says(answer("a1", "p1"));
                s.abort();
                if (with_error)
                    s.error(std::string(aborted_error));
                for (int i = 0; i < before_the_message; ++i)
                    s.idles();
                s.says(failed(answer("a1", "p1"), std::string(aborted_error)));
                for (int i = before_the_message; i < idles; ++i)
                    s.idles();
                s.idles();
                BOOST_TEST_CONTEXT(idles << " idles, " << before_the_message << " of them early, error "
                                         << with_error) {
                    BOOST_TEST(s.end("p1") == "aborted message_error");
                    s.prompt("p2", 5);
                    s.status(busy);
                    s.answers_whole("a2", "p2", "well", 6);
                    s.idles();
                    BOOST_TEST(s.end("p2") == "completed message_finished");
                }
            }
}

BOOST_AUTO_TEST_CASE(failure_8_an_ask_of_a_child_session_is_told_to_the_parents_owner) {
    story s;
    s.prompt("p1");
    s.status(busy);
    s.says(answer("a1", "p1"));
    session_info made;
    made.id = child;
    made.parent_id = root;
    s.hear(session_created{made});
    s.hear(permission_asked{permission("per_1", child, "call_1")});
    BOOST_TEST_REQUIRE(s.all<permission_event>().size() == 1u);
    BOOST_TEST(s.all<permission_event>()[0].request.session_id == child);
}

BOOST_AUTO_TEST_CASE(failure_11_the_middle_of_a_part_that_was_half_streamed_before_a_gap_is_delivered) {
    story s;
    s.prompt("p1");
    s.status(busy);
    s.says(answer("a1", "p1"));
    s.says(text("a1", "prt_1", "", false));
    s.delta("a1", "prt_1", "one ");
    s.break_off();
    s.attach(); // "two " was said meanwhile
    s.snap(snap_of(busy,
                   {message{user("p1"), {}}, message{answer("a1", "p1"), {text("a1", "prt_1", "", false)}}}));
    s.delta("a1", "prt_1", "three");
    BOOST_TEST(s.said() == "one "); // where "three" belongs is not known yet
    s.says(text("a1", "prt_1", "one two three", true));
    BOOST_TEST(s.said() == "one two three");
    s.says(finished(answer("a1", "p1"), "stop"));
    s.idles();
    BOOST_TEST(s.end("p1") == "completed message_finished");
    for (const auto& gap : s.all<gap_event>())
        BOOST_TEST(!gap.missing);
}
