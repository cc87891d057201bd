// How much of a turn's text is kept: of turns that are only followed no more than a limit, and yet all of it
// is told, each byte once and in order; what is held until a gap is repaired is bounded, too.
#include <boost/test/unit_test.hpp>

#include "support/told_story.hpp"

#include <holdfast/opencode/ledger/transcript.hpp>
#include <holdfast/opencode/turn_tracker.hpp>

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;
using namespace holdfast::test::told_story;

namespace {

tracker_options keeping(std::size_t bytes) {
    tracker_options options;
    options.followed_text = bytes;
    return options;
}

/// Followed, with nothing of the past.
struct followed_story : story {
    explicit followed_story(tracker_options options) : story(options) {
        tracker.follow();
        snap(snap_of(idle, {}));
    }

    /// Somebody else's, and its answer begins.
    void begins_turn(const std::string& id, std::int64_t created = 1) {
        says(user(id, created));
        says(text(id, "prt_" + id, "ask " + id, false));
        status(busy);
        says(answer("a_" + id, id, created + 1));
        begins_part(id, "t1");
    }
    void begins_part(const std::string& id, const std::string& part) {
        says(text("a_" + id, part, "", false));
    }
    void ends_turn(const std::string& id, std::int64_t created = 1) {
        says(finished(answer("a_" + id, id, created + 1), "stop"));
        idles();
    }
    /// What is there for one who listens from now on.
    std::string kept() const {
        std::string all_kept;
        for (const auto& each : tracker.told_so_far())
            if (const auto* text = std::get_if<text_event>(&each.event))
                all_kept += text->delta;
            else if (const auto* thought = std::get_if<reasoning_event>(&each.event))
                all_kept += thought->delta;
        return all_kept;
    }
    std::size_t missing() const {
        const auto gaps = all<gap_event>();
        return static_cast<std::size_t>(
            std::count_if(gaps.begin(), gaps.end(), [](const gap_event& each) { return each.missing; }));
    }
};

/// So many bytes, of which each place is told apart from others near it.
std::string counted(std::size_t bytes) {
    std::string all;
    for (std::size_t i = 0; all.size() < bytes; ++i)
        all += std::to_string(i) + (i % 7 == 0 ? "\n " : " ");
    all.resize(bytes);
    return all;
}

void stream(followed_story& s, const std::string& id, const std::string& part, const std::string& all,
            std::size_t piece) {
    for (std::size_t at = 0; at < all.size(); at += piece)
        s.delta("a_" + id, part, all.substr(at, piece));
}

} // namespace

BOOST_AUTO_TEST_CASE(of_a_followed_turn_the_end_of_its_text_is_kept_and_all_of_it_told_once) {
    const auto all = counted(20'000);
    for (const std::size_t piece : {1, 7, 999, 1001, 20'000}) {
        followed_story s(keeping(1000));
        s.begins_turn("p1");
        for (std::size_t at = 0; at < all.size(); at += piece) {
            s.delta("a_p1", "t1", all.substr(at, piece));
            BOOST_TEST_REQUIRE(s.kept().size() <= 1000u);
        }
        s.says(text("a_p1", "t1", all, true));
        BOOST_TEST(s.kept().size() <= 1000u);
        s.ends_turn("p1");
        BOOST_TEST((s.said() == all));
        BOOST_TEST(s.missing() == 0u);
        BOOST_TEST_REQUIRE(s.end("p1") == "completed message_finished");
        const auto how = s.settlements("p1")[0];
        BOOST_TEST(how.text.size() <= 1000u);
        BOOST_TEST(how.text.size() >= 750u);
        BOOST_TEST(how.text.size() + how.text_dropped == all.size());
        BOOST_TEST(all.ends_with(how.text));
    }
}

BOOST_AUTO_TEST_CASE(the_parts_of_all_messages_share_the_limit_and_the_oldest_are_dropped_first) {
    followed_story s(keeping(1000));
    s.begins_turn("p1");
    std::string all;
    for (int i = 0; i < 100; ++i) {
        const auto id = "t" + std::to_string(i + 1);
        if (i > 0)
            s.begins_part("p1", id);
        const auto said = counted(90);
        s.delta("a_p1", id, said);
        s.says(text("a_p1", id, said, true));
        all += said;
        BOOST_TEST_REQUIRE(s.kept().size() <= 1000u);
        BOOST_TEST_REQUIRE(all.ends_with(s.kept()));
    }
    s.ends_turn("p1");
    BOOST_TEST((s.said() == all));
    BOOST_TEST(s.settlements("p1")[0].text_dropped + s.settlements("p1")[0].text.size() == all.size());
}

// Though that part alone is more than is kept, and comes at once.
BOOST_AUTO_TEST_CASE(what_is_kept_has_no_hole_between_a_part_and_a_larger_one) {
    followed_story s(keeping(1000));
    s.begins_turn("p1");
    s.says(text("a_p1", "t1", "little", true));
    const auto all = counted(5000);
    s.says(text("a_p1", "t2", all, true));
    BOOST_TEST((s.said() == "little" + all));
    BOOST_TEST(("little" + all).ends_with(s.kept()));
    s.ends_turn("p1");
    BOOST_TEST(s.settlements("p1")[0].text_dropped + s.settlements("p1")[0].text.size() == all.size() + 6);
    BOOST_TEST(all.ends_with(s.settlements("p1")[0].text));
}

BOOST_AUTO_TEST_CASE(what_is_thought_counts_as_what_is_said) {
    followed_story s(keeping(1000));
    s.begins_turn("p1");
    auto thought = text("a_p1", "r1", "", false);
    thought.type = "reasoning";
    s.says(thought);
    const auto all = counted(5000);
    stream(s, "p1", "r1", all, 100);
    BOOST_TEST(s.kept().size() <= 1000u);
    thought.text = all;
    thought.ended = true;
    s.says(thought);
    std::string told;
    for (const auto& each : s.all<reasoning_event>())
        told += each.delta;
    BOOST_TEST((told == all));
    BOOST_TEST(s.missing() == 0u);
}

BOOST_AUTO_TEST_CASE(turns_that_are_prompted_here_keep_all_of_it) {
    followed_story s(keeping(1000));
    s.prompt("p1");
    s.status(busy);
    const auto all = counted(20'000);
    s.answers_whole("a_p1", "p1", all);
    s.idles();
    BOOST_TEST((s.settlements("p1")[0].text == all));
    BOOST_TEST(s.settlements("p1")[0].text_dropped == 0u);
}

BOOST_AUTO_TEST_CASE(without_a_limit_all_of_it_is_kept) {
    followed_story s(keeping(0));
    s.begins_turn("p1");
    const auto all = counted(20'000);
    stream(s, "p1", "t1", all, 100);
    s.says(text("a_p1", "t1", all, true));
    s.ends_turn("p1");
    BOOST_TEST((s.settlements("p1")[0].text == all));
}

BOOST_AUTO_TEST_CASE(what_is_dropped_ends_between_two_characters) {
    followed_story s(keeping(1000));
    s.begins_turn("p1");
    for (int i = 0; i < 700; ++i)
        s.delta("a_p1", "t1", i % 2 == 0 ? "\xe2\x82\xac" : "\xf0\x9f\x98\x80");
    const auto kept = s.kept();
    BOOST_TEST_REQUIRE(!kept.empty());
    BOOST_TEST((static_cast<unsigned char>(kept[0]) & 0xc0) != 0x80);
}

BOOST_AUTO_TEST_CASE(spaces_that_the_server_tidies_in_what_was_dropped_repeat_nothing) {
    const auto all = counted(5000);
    for (const std::string before : {" ", "\n\n", ""}) {
        followed_story s(keeping(1000));
        s.begins_turn("p1");
        stream(s, "p1", "t1", before + all + "\n", 50);
        s.says(text("a_p1", "t1", all, true));
        BOOST_TEST(s.missing() == 0u);
        s.ends_turn("p1");
        BOOST_TEST((s.said() == before + all + "\n"));
        BOOST_TEST(s.settlements("p1")[0].text_dropped + s.settlements("p1")[0].text.size() == all.size());
    }
}

BOOST_AUTO_TEST_CASE(another_text_at_the_end_is_told_as_missing) {
    const auto all = counted(5000);
    auto other = all;
    other.erase(10, 3); // of what was dropped
    for (const auto& end : {other, all.substr(0, 300), std::string()}) {
        followed_story s(keeping(1000));
        s.begins_turn("p1");
        stream(s, "p1", "t1", all, 50);
        s.says(text("a_p1", "t1", end, true));
        s.ends_turn("p1");
        BOOST_TEST(s.missing() == 1u);
        BOOST_TEST((s.said() == all));
    }
}

BOOST_AUTO_TEST_CASE(a_snapshot_tells_what_is_new_of_a_text_whose_beginning_was_dropped) {
    const auto all = counted(9000);
    followed_story s(keeping(1000));
    s.begins_turn("p1");
    stream(s, "p1", "t1", all.substr(0, 4000), 100);
    s.break_off();
    s.attach();
    const auto at_work = snap_of(busy, {{user("p1"), {text("p1", "prt_p1", "ask p1", false)}},
                                        {answer("a_p1", "p1"), {text("a_p1", "t1", all, true)}}});
    BOOST_TEST(s.snap(at_work));
    BOOST_TEST((s.said() == all));
    BOOST_TEST(s.snap(at_work));
    s.ends_turn("p1");
    BOOST_TEST((s.said() == all));
    BOOST_TEST(s.missing() == 0u);
    BOOST_TEST(s.settlements("p1")[0].text.size() <= 1000u);
}

BOOST_AUTO_TEST_CASE(text_of_a_message_that_nobody_was_told_of_is_not_kept_and_is_had_again) {
    followed_story s(keeping(1000));
    s.says(user("p1"));
    s.says(text("p1", "prt_p1", "ask p1", false));
    s.status(busy);
    // Of an answer, before it is told that there is one.
    s.says(text("a_p1", "t1", "", false));
    const auto all = counted(5000);
    stream(s, "p1", "t1", all, 100);
    BOOST_TEST(s.said().empty());
    const auto now_known = snap_of(busy, {{user("p1"), {text("p1", "prt_p1", "ask p1", false)}},
                                          {answer("a_p1", "p1"), {text("a_p1", "t1", all, true)}}});
    BOOST_TEST(s.snap(now_known));
    s.ends_turn("p1");
    BOOST_TEST((s.said() == all));
    BOOST_TEST(s.missing() == 0u);
}

BOOST_AUTO_TEST_CASE(who_listens_from_now_on_is_told_that_the_beginning_is_missing) {
    followed_story s(keeping(1000));
    s.begins_turn("p1");
    stream(s, "p1", "t1", counted(5000), 100);
    const auto so_far = s.tracker.told_so_far();
    BOOST_TEST_REQUIRE(so_far.size() == 2u);
    const auto* gap = std::get_if<gap_event>(&so_far[0].event);
    BOOST_TEST((gap && gap->missing));
    BOOST_TEST(std::holds_alternative<text_event>(so_far[1].event));
}

BOOST_AUTO_TEST_CASE(a_turn_that_is_taken_up_is_told_from_its_beginning_though_that_was_dropped) {
    const auto all = counted(5000);
    followed_story s(keeping(1000));
    s.begins_turn("p1");
    stream(s, "p1", "t1", all, 100);
    s.says(text("a_p1", "t1", all, true));
    s.tracker.open("p2", s.now); // keeps what is known
    // Nobody follows it any more, and then somebody adopts it.
    s.tracker.close("p1", outcome::detached, rule::detached, std::nullopt, reprompt::no, s.now);
    s.collect();
    s.told.clear();
    s.tracker.adopt("p1", s.now);
    BOOST_TEST(s.snap(snap_of(busy, {{user("p1"), {text("p1", "prt_p1", "ask p1", false)}},
                                     {answer("a_p1", "p1"), {text("a_p1", "t1", all, true)}}})));
    BOOST_TEST((s.said() == all));
    BOOST_TEST(s.missing() == 0u);
}

// The same story, told with a limit and without: nobody hears the difference, but at the end.
BOOST_AUTO_TEST_CASE(whatever_happens_a_limit_changes_nothing_of_what_is_told) {
    for (unsigned seed = 1; seed <= 400; ++seed) {
        std::mt19937 random(seed);
        const auto upto = [&](std::size_t n) {
            return std::uniform_int_distribution<std::size_t>(0, n)(random);
        };
        followed_story limited(keeping(100));
        followed_story whole(keeping(0));
        const auto both = [&](auto act) {
            act(limited);
            act(whole);
        };
        both([](auto& s) { s.begins_turn("p1"); });
        std::vector<std::string> texts(1);
        std::size_t part = 0;
        const auto id = [&] {
            return "t" + std::to_string(part + 1);
        };
        const auto snapshot_of_all = [&](bool last_ended) {
            message said{answer("a_p1", "p1"), {}};
            for (std::size_t i = 0; i < texts.size(); ++i) {
                const bool ended = i + 1 < texts.size() || last_ended;
                said.parts.push_back(text("a_p1", "t" + std::to_string(i + 1), ended ? texts[i] : "", ended));
            }
            return snap_of(busy, {{user("p1"), {text("p1", "prt_p1", "ask p1", false)}}, said});
        };
        bool ended = false;
        for (int step = 0; step < 60; ++step) {
            const auto what = upto(9);
            if (ended || what == 0) { // the next part
                if (!ended)
                    both([&](auto& s) { s.says(text("a_p1", id(), texts[part], true)); });
                ++part;
                texts.emplace_back();
                ended = false;
                both([&](auto& s) { s.begins_part("p1", id()); });
            } else if (what == 1) { // a gap, in which something was said
                both([](auto& s) { s.break_off(); });
                texts[part] += counted(upto(150));
                ended = upto(1) == 0;
                const auto shown = snapshot_of_all(ended);
                both([&](auto& s) {
                    s.attach();
                    static_cast<void>(s.snap(shown));
                });
            } else {
                const auto more = counted(upto(60));
                texts[part] += more;
                both([&](auto& s) { s.delta("a_p1", id(), more); });
            }
            BOOST_TEST_REQUIRE(limited.kept().size() <= 100u);
        }
        if (!ended)
            both([&](auto& s) { s.says(text("a_p1", id(), texts[part], true)); });
        both([](auto& s) { s.ends_turn("p1"); });
        BOOST_TEST_REQUIRE(limited.end("p1") == whole.end("p1"));
        BOOST_TEST_REQUIRE((limited.said() == whole.said()), "seed " << seed);
        BOOST_TEST_REQUIRE(limited.kinds() == whole.kinds(), "seed " << seed);
        const auto cut = limited.settlements("p1")[0];
        const auto uncut = whole.settlements("p1")[0];
        BOOST_TEST_REQUIRE(uncut.text.ends_with(cut.text), "seed " << seed);
        BOOST_TEST_REQUIRE(cut.text.size() + cut.text_dropped == uncut.text.size(), "seed " << seed);
    }
}

// --- what is held until a gap is repaired

BOOST_AUTO_TEST_CASE(what_waits_for_a_repair_is_bounded_in_bytes_and_then_had_by_another_snapshot) {
    tracker_options options;
    options.held_bytes = 10'000;
    followed_story s(options);
    s.begins_turn("p1");
    s.break_off();
    s.attach();
    const auto before = s.tracker.begin_snapshot();
    const auto all = counted(50'000);
    stream(s, "p1", "t1", all, 1000);
    const auto shown = snap_of(busy, {{user("p1"), {text("p1", "prt_p1", "ask p1", false)}},
                                      {answer("a_p1", "p1"), {text("a_p1", "t1", all, true)}}});
    BOOST_TEST(s.tracker.on_snapshot(shown, before, s.now)); // begun before some of it was dropped
    s.collect();
    BOOST_TEST(s.said().empty());
    BOOST_TEST(s.tracker.wants_snapshot());
    BOOST_TEST(s.snap(shown));
    BOOST_TEST((s.said() == all));
    s.ends_turn("p1");
    BOOST_TEST(s.missing() == 0u);
}

BOOST_AUTO_TEST_CASE(one_event_larger_than_what_may_wait_waits_alone) {
    tracker_options options;
    options.held_bytes = 1000;
    followed_story s(options);
    s.begins_turn("p1");
    s.break_off();
    s.attach();
    s.delta("a_p1", "t1", "little");
    s.delta("a_p1", "t1", counted(5000));
    const auto before = s.tracker.begin_snapshot();
    BOOST_TEST(s.tracker.on_snapshot(snap_of(busy, {{user("p1"), {text("p1", "prt_p1", "ask p1", false)}},
                                                    {answer("a_p1", "p1"), {text("a_p1", "t1", "", false)}}}),
                                     before, s.now));
    s.collect();
    s.says(text("a_p1", "t1", "little" + counted(5000), true));
    s.ends_turn("p1");
    BOOST_TEST((s.said() == "little" + counted(5000)));
}

// --- prompts

BOOST_AUTO_TEST_CASE(two_long_prompts_that_differ_at_their_ends_are_told_apart) {
    ledger::transcript said;
    const auto long_one = counted(100'000);
    const auto asked = [&](const std::string& id, const std::string& words) -> ledger::message_record& {
        auto& m = said.append(id);
        m.known = true;
        m.info = user(id);
        said.classify(m, text(id, "prt_" + id, words, false));
        return m;
    };
    auto& prompt = asked("p1", long_one);
    prompt.owner = "p1";
    BOOST_TEST(prompt.first->beginning.size() <= 1024u);
    said.classify(said.append("c1"), compaction("c1"));
    said.find("c1")->known = true;
    auto& sum = said.append("a1");
    sum.known = true;
    sum.info = finished(summary(answer("a1", "c1")), "stop");
    BOOST_TEST((asked("p2", long_one + "?").kind == ledger::message_record::user_kind::prompt));
    said.erase("p2");
    BOOST_TEST((asked("p3", long_one).kind == ledger::message_record::user_kind::continuation));
}
