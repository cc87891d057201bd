// What a session said: the order of its messages, and what a user message is.
#include <boost/test/unit_test.hpp>

#include "support/told_story.hpp"

#include <holdfast/opencode/ledger/transcript.hpp>
#include <holdfast/opencode/wire.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;
using namespace holdfast::opencode::ledger;
using namespace holdfast::test::told_story;

using user_kind = message_record::user_kind;
using hearing = part_record::hearing;

namespace {

/// The ids in order; and each knows its place.
std::string order_of(const transcript& said) {
    std::string all;
    std::size_t index = 0;
    for (const auto& m : said.in_order()) {
        all += (all.empty() ? "" : " ") + m->info.id;
        BOOST_TEST(m->index == index++);
        BOOST_TEST(said.find(m->info.id) == m.get());
    }
    return all;
}

message_record& known(message_record& m, message_info info) {
    m.known = 1;
    m.info = std::move(info);
    return m;
}

message_record& answered(transcript& said, const message_info& info, std::string owner) {
    auto& m = known(said.append(info.id), info);
    m.owner = std::move(owner);
    return m;
}

/// A user message with its first part.
message_record& asked(transcript& said, const std::string& id, const part& first) {
    auto& m = known(said.append(id), user(id));
    said.classify(m, first);
    if (m.kind == user_kind::prompt)
        m.owner = id;
    return m;
}

/// A prompt, and a compaction after its answer, summed up.
transcript summed_up() {
    transcript said;
    asked(said, "p1", text("p1", "x1", "ask", false));
    answered(said, finished(answer("a1", "p1"), ""), "p1");
    asked(said, "c1", compaction("c1"));
    answered(said, finished(summary(answer("s1", "c1")), "stop"), "p1");
    return said;
}

std::string kind_name(user_kind k) {
    switch (k) {
    case user_kind::unclassed: return "unclassed";
    case user_kind::prompt: return "prompt";
    case user_kind::compaction: return "compaction";
    case user_kind::continuation: return "continuation";
    case user_kind::shell: return "shell";
    }
    return "?";
}

} // namespace

// --- the order

BOOST_AUTO_TEST_CASE(what_the_stream_brings_comes_last_and_once) {
    transcript said;
    auto& b = said.append("b");
    said.append("a");
    BOOST_TEST(&said.append("b") == &b);
    BOOST_TEST(order_of(said) == "b a");
    BOOST_TEST(said.find("c") == nullptr);
}

BOOST_AUTO_TEST_CASE(what_a_snapshot_brings_takes_its_place_by_time) {
    transcript said;
    known(said.place("m20", 20), user("m20", 20));
    known(said.place("m40", 40), user("m40", 40));
    known(said.place("m10", 10), user("m10", 10));
    known(said.place("m30", 30), user("m30", 30));
    known(said.place("again", 30), user("again", 30)); // of the same moment: in the order of coming
    known(said.place("m50", 50), user("m50", 50));
    BOOST_TEST(order_of(said) == "m10 m20 m30 again m40 m50");
    auto* m30 = said.find("m30");
    BOOST_TEST(&said.place("m30", 5) == m30);
    BOOST_TEST(order_of(said) == "m10 m20 m30 again m40 m50");
}

BOOST_AUTO_TEST_CASE(what_a_snapshot_brings_stands_before_the_first_that_is_later_whatever_came_between) {
    transcript said;
    known(said.append("late"), user("late", 40));
    said.append("unknown");
    known(said.append("later"), user("later", 50));
    said.place("early", 10);
    BOOST_TEST(order_of(said) == "early late unknown later");
}

BOOST_AUTO_TEST_CASE(those_after_an_erased_message_move_up) {
    transcript said;
    for (const char* id : {"a", "b", "c", "d"})
        said.append(id);
    said.erase("b");
    said.erase("nobody");
    BOOST_TEST(order_of(said) == "a c d");
    BOOST_TEST(said.find("b") == nullptr);
    said.erase("a");
    said.erase("d");
    BOOST_TEST(order_of(said) == "c");
    said.keep({});
    BOOST_TEST(order_of(said) == "");
    BOOST_TEST(said.find("c") == nullptr);
}

// --- answers

BOOST_AUTO_TEST_CASE(the_last_answer_is_an_assistants_and_of_that_owner) {
    transcript said;
    BOOST_TEST(said.last_answer("p1") == nullptr);
    known(said.append("p1"), user("p1")).owner = "p1";
    BOOST_TEST(said.last_answer("p1") == nullptr);
    answered(said, answer("a1", "p1"), "p1");
    auto& last = answered(said, answer("a2", "p1"), "p1");
    answered(said, answer("b1", "p2"), "p2");
    said.append("half").owner = "p1"; // its own info has not come
    known(said.append("u2"), user("u2")).owner = "p1";
    BOOST_TEST(said.last_answer("p1") == &last);
    BOOST_TEST(said.last_own_answer("p1") == &last);
    BOOST_TEST(said.last_own_answer("p3") == nullptr);
}

BOOST_AUTO_TEST_CASE(a_summary_is_an_answer_but_nobodys_own) {
    auto by_mode = answer("a2", "p1");
    by_mode.mode = wire::mode_compaction;
    auto by_flag = answer("a2", "p1");
    by_flag.summary = true;
    for (const auto& info : {by_mode, by_flag, summary(answer("a2", "p1"))}) {
        transcript said;
        auto& own = answered(said, answer("a1", "p1"), "p1");
        auto& sum = answered(said, info, "p1");
        BOOST_TEST(sum.is_summary());
        BOOST_TEST(!own.is_summary());
        BOOST_TEST(said.last_answer("p1") == &sum);
        BOOST_TEST(said.last_own_answer("p1") == &own);
    }
}

BOOST_AUTO_TEST_CASE(a_part_is_found_or_made) {
    message_record m;
    BOOST_TEST(m.find_part("x") == nullptr);
    m.part("x").text = "one";
    m.part("y").text = "two";
    BOOST_TEST(m.parts.size() == 2u);
    BOOST_TEST(m.part("x").text == "one");
    BOOST_TEST(m.find_part("y")->text == "two");
    BOOST_TEST(m.find_part("z") == nullptr);
    BOOST_TEST(m.parts.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_part_may_miss_text_if_it_speaks_and_nobody_heard_all_of_it) {
    using kind = part_record::kind;
    const auto misses = [](
                            kind what,
                            const std::function<void(part_record&)>& change = [](part_record&) {}) {
        part_record p;
        p.what = what;
        change(p);
        return p.may_miss_text();
    };
    BOOST_TEST(misses(kind::text));
    BOOST_TEST(misses(kind::reasoning));
    BOOST_TEST(!misses(kind::tool));
    BOOST_TEST(!misses(kind::other));
    BOOST_TEST(!misses(kind::unknown));
    BOOST_TEST(misses(kind::unknown, [](part_record& p) { p.heard = hearing::withheld; }));
    BOOST_TEST(!misses(kind::other, [](part_record& p) { p.heard = hearing::withheld; }));
    BOOST_TEST(!misses(kind::text, [](part_record& p) { p.heard = hearing::ended; }));
    BOOST_TEST(!misses(kind::text, [](part_record& p) { p.heard = hearing::live; }));
    BOOST_TEST(!misses(kind::text, [](part_record& p) { p.heard = hearing::abandoned; }));
}

// --- what a user message is

BOOST_AUTO_TEST_CASE(the_first_part_says_what_a_user_message_is) {
    auto synthetic_other = synthetic("u");
    synthetic_other.type = "file";
    auto shell_by_hand = text("u", "x", std::string(wire::shell_text), false);
    const std::pair<part, const char*> rows[] = {
        {text("u", "x", "hello", false), "prompt"},
        {tool("u", "c", "pending"), "prompt"}, // whatever else it may be
        {shell_by_hand, "prompt"},             // only the server's own words make it that
        {compaction("u"), "compaction"},
        {synthetic("u"), "continuation"},
        {synthetic_other, "continuation"},
        {synthetic("u", std::string(wire::shell_text) + " and more"), "shell"},
    };
    for (const auto& [first, expected] : rows) {
        transcript said;
        const auto& m = asked(said, "u", first);
        BOOST_TEST(kind_name(m.kind) == expected);
        BOOST_TEST(m.parted);
        BOOST_TEST(m.first.has_value() == (first.type == "text"));
        BOOST_TEST((m.first ? m.first->beginning : "") == (first.type == "text" ? first.text : ""));
        BOOST_TEST(m.automatic == (first.type == "compaction"));
    }
}

BOOST_AUTO_TEST_CASE(one_of_the_servers_own_that_belongs_to_no_turn_may_begin_one) {
    for (const bool may_wake : {false, true}) {
        transcript said;
        auto& m = known(said.append("s1"), user("s1"));
        said.classify(m, synthetic("s1"), may_wake);
        BOOST_TEST(kind_name(m.kind) == (may_wake ? "prompt" : "continuation"));
    }
    transcript said;
    asked(said, "p1", text("p1", "x1", "one", false));
    auto& m = known(said.append("s1"), user("s1"));
    said.classify(m, synthetic("s1"), true);
    BOOST_TEST(kind_name(m.kind) == "continuation");
    BOOST_TEST(m.owner == "p1");
}

BOOST_AUTO_TEST_CASE(what_is_classed_already_stays_so_and_its_text_is_noted) {
    transcript said;
    auto& m = known(said.append("p1"), user("p1"));
    m.kind = user_kind::prompt;
    said.classify(m, compaction("p1"));
    BOOST_TEST(kind_name(m.kind) == "prompt");
    BOOST_TEST(m.parted);
    BOOST_TEST(!m.first);
    said.classify(m, text("p1", "x", "ask", false));
    BOOST_TEST((m.first ? m.first->beginning : "") == "ask");
}

BOOST_AUTO_TEST_CASE(what_is_no_prompt_belongs_to_the_last_prompt_before_it) {
    transcript said;
    asked(said, "p1", text("p1", "x1", "one", false));
    asked(said, "p2", text("p2", "x2", "two", false));
    answered(said, answer("a2", "p2"), "p2");
    BOOST_TEST(asked(said, "c", compaction("c")).owner == "p2");
    BOOST_TEST(asked(said, "go_on", synthetic("go_on")).owner == "p2");
    asked(said, "p3", text("p3", "x3", "three", false));
    auto& early = said.place("early", 0); // placed last: the times of the others are the same or later
    BOOST_TEST(early.index == 0u);
    known(early, user("early", 0));
    said.classify(early, synthetic("early"));
    BOOST_TEST(early.owner == ""); // there is no prompt before it
    said.append("half").owner = "nobody";
    BOOST_TEST(asked(said, "c2", compaction("c2")).owner == "p3");
}

BOOST_AUTO_TEST_CASE(after_a_summary_that_the_server_asked_for_a_copy_goes_on) {
    auto said = summed_up();
    const auto& copy = asked(said, "u2", text("u2", "x2", "ask", false));
    BOOST_TEST(kind_name(copy.kind) == "continuation");
    BOOST_TEST(copy.owner == "p1");
    // It has gone on: the same words again are a prompt.
    BOOST_TEST(kind_name(asked(said, "u3", text("u3", "x3", "ask", false)).kind) == "prompt");
}

BOOST_AUTO_TEST_CASE(only_two_different_texts_prove_that_a_message_is_no_copy) {
    auto file = text("u2", "x2", "", false);
    file.type = "file";
    auto said = summed_up();
    BOOST_TEST(kind_name(asked(said, "u2", text("u2", "x2", "another", false)).kind) == "prompt");
    said = summed_up();
    BOOST_TEST(kind_name(asked(said, "u2", file).kind) == "continuation");
    said = summed_up();
    said.find("p1")->first.reset();
    BOOST_TEST(kind_name(asked(said, "u2", text("u2", "x2", "another", false)).kind) == "continuation");
    said = summed_up();
    said.erase("p1");
    BOOST_TEST(kind_name(asked(said, "u2", text("u2", "x2", "another", false)).kind) == "continuation");
}

BOOST_AUTO_TEST_CASE(a_copy_goes_on_only_after_an_automatic_compaction_that_came_to_its_end) {
    const auto kind_after = [](const std::function<void(transcript&)>& change) {
        auto said = summed_up();
        change(said);
        return kind_name(asked(said, "u2", text("u2", "x2", "ask", false)).kind);
    };
    BOOST_TEST(kind_after([](transcript&) {}) == "continuation");
    BOOST_TEST(kind_after([](transcript& said) { said.find("c1")->automatic = false; }) == "prompt");
    BOOST_TEST(kind_after([](transcript& said) {
                   said.find("s1")->info = summary(answer("s1", "c1")); // not finished
               }) == "prompt");
    BOOST_TEST(kind_after([](transcript& said) {
                   said.find("s1")->info = failed(summary(answer("s1", "c1")), "APIError");
               }) == "prompt");
    BOOST_TEST(kind_after([](transcript& said) { said.find("s1")->info.parent_id = "unknown"; }) == "prompt");
    BOOST_TEST(kind_after([](transcript& said) {
                   answered(said, finished(answer("a2", "p1"), "stop"), "p1"); // it went on already
               }) == "prompt");
    BOOST_TEST(kind_after([](transcript& said) { said.erase("s1"); }) == "prompt");
    // What is no answer says nothing.
    BOOST_TEST(kind_after([](transcript& said) { known(said.append("u"), user("u")); }) == "continuation");
    BOOST_TEST(kind_after([](transcript& said) { said.append("half"); }) == "continuation");
}

BOOST_AUTO_TEST_CASE(a_compaction_lies_between_two_messages_or_it_does_not) {
    auto said = summed_up();
    const auto at = [&](const char* id) -> const message_record& {
        return *said.find(id);
    };
    BOOST_TEST(said.compacted_between(at("a1"), at("s1")));
    BOOST_TEST(said.compacted_between(at("p1"), at("s1")));
    BOOST_TEST(!said.compacted_between(at("p1"), at("a1")));
    BOOST_TEST(!said.compacted_between(at("p1"), at("c1")));
    BOOST_TEST(!said.compacted_between(at("c1"), at("s1")));
    BOOST_TEST(!said.compacted_between(at("s1"), at("p1")));
}

BOOST_AUTO_TEST_CASE(a_message_heard_only_by_its_parts_finds_its_place_once_its_time_is_known) {
    const std::pair<std::int64_t, std::string> rows[] = {
        {1, "x a b c"}, {2, "a x b c"}, {3, "a x b c"}, {4, "a b x c"}, {5, "a b x c"}, {7, "a b c x"},
    };
    for (const auto& [created, expected] : rows) {
        transcript said;
        known(said.append("a"), user("a", 2));
        said.append("x");
        known(said.append("b"), user("b", 4));
        known(said.append("c"), user("c", 6));
        BOOST_TEST(&said.place("x", created) == said.find("x"));
        BOOST_TEST(order_of(said) == expected, created);
    }
}

BOOST_AUTO_TEST_CASE(no_character_is_cut_in_two_where_the_beginning_of_a_text_is_dropped) {
    part_record p;
    p.text = "x\xc3\xa9y";
    p.delivered.text = p.size();
    BOOST_TEST(p.take_all_but(2) == "x\xc3\xa9y");
    BOOST_TEST(p.text == "y");
    BOOST_TEST(p.size() == 4u);
    p = {};
    p.text = "x\xc3\xa9y";
    p.delivered.text = p.size();
    p.drop_delivered(2);
    BOOST_TEST(p.text == "y");
    BOOST_TEST(p.dropped.ink == 3u);
}
