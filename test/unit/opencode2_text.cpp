// The text of a step's parts, each character told once.
#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/protocol/v2/told_text.hpp>

#include <string>

using namespace holdfast::opencode::v2;

namespace {

struct listened {
    part_facts part;
    std::string heard;
    bool lost = false;

    void take(const told& t) {
        heard += t.delta;
        lost = lost || t.lost;
    }
    void begins() { begin_part(part, 1); }
    void delta(const std::string& text) { take(take_delta(part, text)); }
    void whole(const std::string& text) { take(take_whole(part, text, 2)); }
    void breaks() { part.followed = 0; }
};

} // namespace

BOOST_AUTO_TEST_CASE(deltas_are_told_as_they_come_and_the_end_adds_what_is_missing) {
    listened l;
    l.begins();
    l.delta("one ");
    l.delta("two ");
    BOOST_TEST(l.heard == "one two ");
    l.whole("one two three");
    BOOST_TEST(l.heard == "one two three");
    l.whole("one two three four");
    l.delta("four");
    BOOST_TEST(l.heard == "one two three");
    BOOST_TEST(!l.lost);
}

BOOST_AUTO_TEST_CASE(deltas_whose_place_is_not_known_wait_for_the_end) {
    listened l;
    l.delta("two ");
    BOOST_TEST(l.heard == "");
    l.begins();
    l.delta("one ");
    l.breaks();
    l.delta("three ");
    BOOST_TEST(l.heard == "one ");
    l.whole("one two three ");
    BOOST_TEST(l.heard == "one two three ");
}

BOOST_AUTO_TEST_CASE(a_part_that_begins_again_is_compared_with_what_was_told) {
    listened l;
    l.begins();
    l.delta("one two");
    l.begins();
    l.delta("one");
    l.delta(" two three");
    BOOST_TEST(l.heard == "one two three");
    l.begins();
    l.delta("one other");
    l.delta(" more");
    BOOST_TEST(l.heard == "one two three");
    l.whole("one other more");
    BOOST_TEST(l.lost);
    BOOST_TEST(l.heard == "one two three");
    l.begins(); // it is over
    l.delta("x");
    BOOST_TEST(l.heard == "one two three");
}

BOOST_AUTO_TEST_CASE(a_character_that_was_cut_in_two_waits_for_the_end) {
    for (const char* half : {"\xef\xbf\xbd", "a\xef\xbf\xbd",
                             "\xef\xbf\xbd"
                             "a"}) {
        listened l;
        l.begins();
        l.delta("one ");
        l.delta(half);
        l.delta("more");
        BOOST_TEST(l.heard == "one ");
        l.whole("one \xf0\x9f\x98\x80");
        BOOST_TEST(l.heard == "one \xf0\x9f\x98\x80");
        BOOST_TEST(!l.lost);
    }
}

BOOST_AUTO_TEST_CASE(text_that_was_told_and_is_not_there_any_more_is_lost) {
    step_facts s;
    auto& open = s.parts[{part_kind::text, 1}];
    begin_part(open, 1);
    (void)take_delta(open, "one");
    BOOST_TEST(!has_lost_text(s));
    open.followed = 0;
    BOOST_TEST(has_lost_text(s));
    BOOST_TEST(take_whole(open, "", 2).lost);
    BOOST_TEST(!has_lost_text(s));
}

BOOST_AUTO_TEST_CASE(the_text_of_a_step_is_its_ended_text_parts_in_order) {
    step_facts s;
    (void)take_whole(s.parts[{part_kind::text, 1}], "second", 1);
    (void)take_whole(s.parts[{part_kind::text, 0}], "first ", 1);
    (void)take_whole(s.parts[{part_kind::reasoning, 0}], "thought", 1);
    begin_part(s.parts[{part_kind::text, 2}], 1);
    BOOST_TEST(text_of(s) == "first second");
}
