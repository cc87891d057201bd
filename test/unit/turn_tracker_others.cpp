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

message stored(const std::string& id, std::int64_t created) {
    return {user(id, created), {text(id, "prt_" + id, "ask " + id, true)}};
}

} // namespace

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
