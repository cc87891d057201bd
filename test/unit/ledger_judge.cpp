#include <boost/test/unit_test.hpp>

#include "support/told_story.hpp"

#include <holdfast/opencode/ledger/judge.hpp>

#include <optional>
#include <set>
#include <string>

using namespace holdfast;
using namespace holdfast::opencode;
using namespace holdfast::opencode::ledger;
using namespace holdfast::test::told_story;

namespace {

/// Facts as they are learned, and what the judge says of them.
struct facts {
    session_ledger ledger{root, {}};
    audience listeners;
    judge rules{ledger, listeners};

    facts() {
        ledger.advance();
        ledger.attach();
    }

    position next() { return ledger.advance(); }
    turn_facts& opens(const std::string& id) {
        next();
        auto& t = ledger.open(id, turn_facts::origin::ours);
        listeners.add(id, ledger.at());
        return t;
    }
    turn_facts& posts(const std::string& id) {
        auto& t = opens(id);
        next();
        t.posted = ledger.at();
        return t;
    }
    /// Posted, and its own message came.
    turn_facts& prompts(const std::string& id, std::int64_t created = 1) {
        auto& t = posts(id);
        says(user(id, created));
        return t;
    }
    /// Somebody else's, in a session that is followed.
    turn_facts& stores(const std::string& id, std::int64_t created = 1) {
        ledger.follow();
        says(user(id, created));
        says(text(id, "prt_" + id, "ask " + id, true));
        return *ledger.find_turn(id);
    }
    void says(const message_info& m) {
        next();
        auto& record = ledger.said().append(m.id);
        record.heard = ledger.at();
        ledger.merge_info(record, m, false);
        for (auto& t : ledger.turns())
            if (const auto* by = ledger.overtaking(t))
                t.overtaken_by = by->owner;
    }
    void says(part p) {
        next();
        auto& record = ledger.said().append(p.message_id);
        if (record.info.assistant && record.parts.empty()) {
            auto start = text(p.message_id, "stp_" + p.message_id, "", false);
            start.type = wire::part::step_start;
            ledger.merge_part(record, start, true);
        }
        ledger.merge_part(record, p, true);
    }
    void status(const session_status& s) {
        next();
        ledger.note_status(s);
        ledger.set_status(s);
    }
    void idles() {
        next();
        ledger.note_idle();
        ledger.set_status(idle);
    }
    void error(std::string name, bool own = true) {
        next();
        ledger.note_error({std::move(name), "why", 0}, own);
    }
    void aborts() {
        next();
        ledger.note_abort();
    }

    judgement judged(const std::string& id, const occasion& seen = {}, position grace_over = 0) const {
        return rules.decide(*ledger.find_turn(id), seen, grace_over);
    }
    /// "ends completed message_finished", "open", "verify aborted session_aborted", "repost", "aside".
    static std::string describe(const judgement& j) {
        static const char* const kinds[] = {"open", "ends ", "verify ", "repost", "aside"};
        std::string what = kinds[static_cast<std::size_t>(j.what)];
        if (j.what == judgement::kind::ends || j.what == judgement::kind::verify)
            what += std::string(to_string(j.outcome)) + ' ' + std::string(to_string(j.why));
        return what;
    }
    std::string says_of(const std::string& id) const { return describe(judged(id)); }
    /// After its grace, by a snapshot begun after that which brought nothing new.
    std::string after_grace(const std::string& id) {
        const auto over = next();
        next();
        return describe(judged(id, {over}, over));
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(each_rule_of_the_table_names_itself_once_and_the_row_it_comes_from) {
    std::set<std::string_view> names;
    for (const auto& r : turn_rules()) {
        BOOST_TEST(names.insert(r.name).second, r.name);
        BOOST_TEST(!r.protocol.empty(), r.name);
    }
    for (const auto& r : message_rules())
        BOOST_TEST((!r.name.empty() && !r.protocol.empty()), r.name);
}

BOOST_AUTO_TEST_CASE(nothing_is_said_of_a_prompt_whose_post_is_not_answered) {
    facts f;
    f.opens("p1");
    f.says(user("p1"));
    f.says(finished(answer("a1", "p1"), "stop"));
    f.status(idle);
    BOOST_TEST(f.says_of("p1") == "open");
    f.ledger.find_turn("p1")->posted = f.next();
    BOOST_TEST(f.says_of("p1") == "ends completed message_finished");
}

BOOST_AUTO_TEST_CASE(nothing_is_said_of_a_turn_of_which_something_may_have_been_missed) {
    facts f;
    f.prompts("p1");
    f.says(finished(answer("a1", "p1"), "stop"));
    f.next();
    f.ledger.break_stream(false);
    f.next();
    f.ledger.attach();
    f.status(idle);
    BOOST_TEST(f.says_of("p1") == "open");
    f.next();
    f.ledger.repaired();
    BOOST_TEST(f.says_of("p1") == "ends completed message_finished");
}

BOOST_AUTO_TEST_CASE(a_finished_answer_ends_its_turn_once_the_session_is_idle) {
    facts f;
    f.prompts("p1");
    f.status(busy);
    f.says(finished(answer("a1", "p1"), "stop"));
    BOOST_TEST(f.says_of("p1") == "open");
    f.status(idle);
    BOOST_TEST(f.says_of("p1") == "ends completed message_finished");
}

BOOST_AUTO_TEST_CASE(what_a_message_without_finish_and_error_says_is_believed_of_a_second_snapshot) {
    facts f;
    auto& t = f.prompts("p1");
    f.says(finished(answer("a1", "p1"), ""));
    f.status(idle);
    BOOST_TEST(f.says_of("p1") == "ends aborted message_interrupted");
    const auto first = f.next();
    f.next();
    BOOST_TEST(f.describe(f.judged("p1", {first})) == "verify aborted message_interrupted");
    t.doubted = f.ledger.at();
    const auto second = f.next();
    f.next();
    BOOST_TEST(f.describe(f.judged("p1", {first})) == "verify aborted message_interrupted");
    BOOST_TEST(f.describe(f.judged("p1", {second})) == "ends aborted message_interrupted");
}

BOOST_AUTO_TEST_CASE(an_answer_that_a_later_one_follows_ends_by_its_own_words) {
    for (const char* finish : {"stop", "tool-calls"}) {
        facts f;
        f.prompts("p1", 1);
        f.status(busy);
        f.says(answer("a1", "p1", 2));
        f.prompts("p2", 3);
        f.says(finished(answer("a1", "p1", 2), finish));
        f.says(answer("a2", "p2", 4));
        // After its tools the model is asked again: that may have been missed.
        BOOST_TEST(f.says_of("p1") == (finish == std::string("stop") ? "ends completed superseded"
                                                                     : "verify completed superseded"));
        BOOST_TEST(f.says_of("p2") == "open");
    }
}

BOOST_AUTO_TEST_CASE(an_unanswered_prompt_ends_with_the_later_one_that_is_answered) {
    facts f;
    f.prompts("p1", 1);
    f.prompts("p2", 2);
    f.says(finished(answer("a2", "p2", 3), "stop"));
    f.status(idle);
    BOOST_TEST(f.says_of("p1") == "open");
    BOOST_TEST(f.ledger.find_turn("p1")->overtaken_by == "p2");
    BOOST_TEST(f.says_of("p2") == "ends completed message_finished");
}

BOOST_AUTO_TEST_CASE(a_prompt_that_failed_before_the_session_was_idle_is_not_answered_by_a_later_one) {
    for (const bool idle_between : {true, false}) {
        facts f;
        f.prompts("p1", 1);
        f.status(busy);
        f.error("APIError");
        if (idle_between)
            f.idles();
        f.prompts("p2", 3);
        f.says(answer("a2", "p2", 4));
        BOOST_TEST(f.says_of("p1") == (idle_between ? "ends failed session_error" : "open"));
    }
}

BOOST_AUTO_TEST_CASE(an_error_after_the_answer_that_overtook_a_prompt_is_not_about_that_prompt) {
    facts f;
    f.prompts("p1", 1);
    f.prompts("p2", 2);
    f.status(busy);
    f.says(finished(answer("a2", "p2", 3), "stop")); // for both
    f.prompts("p3", 4);
    f.error("UnknownError");
    f.idles();
    BOOST_TEST(f.says_of("p1") == "open"); // it ends with p2
    BOOST_TEST(f.says_of("p2") == "ends completed message_finished");
}

BOOST_AUTO_TEST_CASE(
    an_answer_that_a_snapshot_brings_before_the_session_is_idle_after_an_error_overtakes_too) {
    facts f;
    f.prompts("p1", 1);
    f.prompts("p2", 2);
    f.status(busy);
    f.error("UnknownError");
    f.next();
    std::vector<message> shown{
        {user("p1", 1), {}}, {user("p2", 2), {}}, {finished(answer("a2", "p2", 3), "stop"), {}}};
    f.ledger.merge_messages(shown, busy);
    f.idles();
    f.says(user("p3", 5));
    BOOST_TEST(f.ledger.find_turn("p1")->overtaken_by == "p2");
    BOOST_TEST(f.says_of("p1") == "open");
}

BOOST_AUTO_TEST_CASE(what_was_aborted_before_its_answer_is_verified) {
    facts f;
    f.prompts("p1");
    f.aborts();
    f.idles();
    BOOST_TEST(f.says_of("p1") == "verify aborted session_aborted");
    const auto begun = f.next();
    f.next();
    BOOST_TEST(f.describe(f.judged("p1", {begun})) == "ends aborted session_aborted");
}

BOOST_AUTO_TEST_CASE(an_abort_ends_only_what_was_there_and_was_not_begun_later) {
    facts f;
    f.posts("p1");
    f.aborts();
    f.says(user("p1"));
    BOOST_TEST(!f.ledger.was_aborted(*f.ledger.find_turn("p1"))); // it came after
    f.aborts();
    BOOST_TEST(f.ledger.was_aborted(*f.ledger.find_turn("p1")));
    const auto then = f.ledger.at();
    f.says(answer("a1", "p1"));
    BOOST_TEST(!f.ledger.was_aborted(*f.ledger.find_turn("p1"))); // it is answered nevertheless
    BOOST_TEST(f.ledger.was_aborted(*f.ledger.find_turn("p1"), then));
}

BOOST_AUTO_TEST_CASE(silence_decides_after_its_grace_by_a_snapshot_begun_after_that) {
    facts f;
    f.prompts("p1");
    f.status(idle);
    const auto early = f.next();
    const auto over = f.next();
    const auto late = f.next();
    f.next();
    BOOST_TEST(f.describe(f.judged("p1", {early}, 0)) == "open");
    BOOST_TEST(f.describe(f.judged("p1", {early}, over)) == "open");
    BOOST_TEST(f.describe(f.judged("p1", {}, over)) == "open");
    BOOST_TEST(f.describe(f.judged("p1", {late}, over)) == "ends lost never_answered");
}

BOOST_AUTO_TEST_CASE(what_silence_means_depends_on_what_came_before_it) {
    struct row {
        const char* name;
        void (*happens)(facts&);
        const char* expected;
    };
    const row rows[] = {
        {"the server knows it", [](facts& f) { f.prompts("p1"); }, "ends lost never_answered"},
        {"the server does not know it", [](facts& f) { f.posts("p1"); }, "repost"},
        {"it was posted again", [](facts& f) { f.posts("p1").reposted = f.next(); },
         "ends lost never_answered"},
        {"unknown, and an error", [](facts& f) { f.posts("p1"), f.error("E"); }, "ends failed not_accepted"},
        {"unknown, and an error of nobody's", [](facts& f) { f.posts("p1"), f.error("E", false); },
         "ends failed not_accepted"},
        {"an error at work", [](facts& f) { f.prompts("p1"), f.status(busy), f.error("E"); },
         "ends failed session_error"},
        {"an error at work, then our abort",
         [](facts& f) {
             f.prompts("p1");
             f.status(busy);
             f.error("E");
             f.next();
             f.ledger.note_abort_requested();
         },
         "ends failed session_error"},
        {"an error while idle", [](facts& f) { f.prompts("p1"), f.error("E"); }, "ends lost never_answered"},
        {"our abort",
         [](facts& f) {
             f.prompts("p1");
             f.next();
             f.ledger.note_abort_requested();
         },
         "ends aborted abort_requested"},
        {"perhaps an abort",
         [](facts& f) {
             f.prompts("p1");
             f.next();
             f.ledger.note_abort({}, true);
         },
         "ends aborted session_aborted"},
        {"it was at work on it, and let it fall", [](facts& f) { f.prompts("p1"), f.status(busy); },
         "repost"},
        {"its instance was disposed of",
         [](facts& f) {
             f.prompts("p1");
             f.next();
             f.ledger.break_stream(true);
             f.next();
             f.ledger.attach();
         },
         "repost"},
        {"its answer has no end", [](facts& f) { f.prompts("p1"), f.says(answer("a1", "p1")); },
         "ends lost unfinished"},
    };
    for (const auto& r : rows) {
        facts f;
        r.happens(f);
        f.idles();
        BOOST_TEST(f.after_grace("p1") == r.expected, r.name);
    }
}

BOOST_AUTO_TEST_CASE(an_error_is_about_what_is_at_work_unless_a_prompt_is_unknown_to_the_server) {
    facts f;
    f.prompts("p1", 1);
    f.status(busy);
    f.says(answer("a1", "p1", 2));
    f.prompts("p2", 3);
    f.error("E1");
    const auto& p1 = *f.ledger.find_turn("p1");
    const auto& p2 = *f.ledger.find_turn("p2");
    BOOST_TEST_REQUIRE(f.ledger.own_error(p1));
    BOOST_TEST(f.ledger.own_error(p1)->sure);
    BOOST_TEST(!f.ledger.own_error(p2)); // it waits
    const auto& p3 = f.posts("p3");
    f.error("E2");
    BOOST_TEST(f.ledger.first_error(p3)->error.name == "E2"); // it may be about that one
    BOOST_TEST(f.ledger.own_error(p1)->error.name == "E1");
}

BOOST_AUTO_TEST_CASE(an_error_belongs_to_the_answer_that_claims_it) {
    facts f;
    f.prompts("p1", 1);
    f.status(busy);
    f.says(answer("a1", "p1", 2));
    f.posts("p2");
    f.error("E");
    BOOST_TEST(f.ledger.first_error(*f.ledger.find_turn("p2")));
    f.says(failed(answer("a1", "p1", 2), "E"));
    BOOST_TEST(!f.ledger.first_error(*f.ledger.find_turn("p2")));
    f.error("E"); // sent once more
    BOOST_TEST(!f.ledger.first_error(*f.ledger.find_turn("p2")));
}

BOOST_AUTO_TEST_CASE(an_overflow_is_over_when_its_summary_begins) {
    facts f;
    f.prompts("p1");
    f.status(busy);
    f.says(answer("a1", "p1"));
    f.error(std::string(overflow_error));
    f.says(finished(answer("a1", "p1"), ""));
    f.idles();
    BOOST_TEST(f.ledger.has_overflowed(*f.ledger.find_turn("p1")));
    BOOST_TEST(f.says_of("p1") == "open");
    f.says(user("c1", 3));
    f.says(compaction("c1"));
    f.says(summary(answer("s1", "c1", 4)));
    BOOST_TEST(!f.ledger.has_overflowed(*f.ledger.find_turn("p1")));
}

// --- the facts that rules ask for

BOOST_AUTO_TEST_CASE(an_error_before_a_prompt_is_known_is_not_that_prompts_own) {
    facts f;
    const auto& t = f.posts("p1");
    f.status(busy);
    f.error("APIError");
    BOOST_TEST(!f.ledger.own_error(t));
    f.says(user("p1"));
    BOOST_TEST(!f.ledger.own_error(t));
    f.error("APIError2");
    BOOST_TEST_REQUIRE(f.ledger.own_error(t));
    BOOST_TEST(f.ledger.own_error(t)->error.name == "APIError2");
}

BOOST_AUTO_TEST_CASE(
    an_error_between_two_answers_is_the_turns_own_and_one_after_an_answer_that_stopped_is_not) {
    for (const bool stopped : {false, true}) {
        facts f;
        const auto& t = f.prompts("p1");
        f.status(busy);
        f.says(stopped ? answer("a1", "p1") : finished(answer("a1", "p1"), "tool-calls"));
        f.next();
        f.ledger.break_stream(false);
        f.next();
        f.ledger.attach();
        f.error("APIError");
        BOOST_TEST((f.ledger.own_error(t) == nullptr) == stopped);
    }
}

BOOST_AUTO_TEST_CASE(of_aborts_the_last_256_are_kept) {
    facts f;
    const auto& t = f.prompts("p1");
    f.aborts();
    const auto first = f.ledger.at();
    for (int i = 0; i < 255; ++i)
        f.aborts();
    BOOST_TEST(f.ledger.was_aborted(t, first));
    f.aborts();
    BOOST_TEST(!f.ledger.was_aborted(t, first));
    BOOST_TEST(f.ledger.was_aborted(t));
}

// --- whose prompts are turns

BOOST_AUTO_TEST_CASE(a_prompt_of_others_is_a_turn_by_the_work_on_it) {
    struct row {
        const char* name;
        void (*happens)(facts&);
        bool has_work;
    };
    const row rows[] = {
        {"stored", [](facts& f) { f.stores("p1"); }, false},
        {"ours", [](facts& f) { f.prompts("p1"); }, true},
        {"the session goes to work", [](facts& f) { f.idles(), f.stores("p1"), f.status(busy); }, true},
        {"nothing was known of the session", [](facts& f) { f.stores("p1"), f.status(busy); }, true},
        {"it was at work before", [](facts& f) { f.status(busy), f.stores("p1"), f.status(busy); }, false},
        {"an answer names it", [](facts& f) { f.stores("p1"), f.says(answer("a1", "p1")); }, true},
        {"an error at work", [](facts& f) { f.status(busy), f.stores("p1"), f.error("E"); }, true},
        {"an error while idle", [](facts& f) { f.idles(), f.stores("p1"), f.error("E"); }, false},
        {"an abort", [](facts& f) { f.status(busy), f.stores("p1"), f.aborts(); }, true},
        {"an abort before it", [](facts& f) { f.aborts(), f.stores("p1"); }, false},
        {"a later one is stored",
         [](facts& f) { f.idles(), f.stores("p1"), f.stores("p2", 2), f.status(busy); }, false},
        {"a later one is answered",
         [](facts& f) { f.stores("p1"), f.stores("p2", 2), f.says(answer("a2", "p2", 3)); }, true},
        {"another is being answered",
         [](facts& f) {
             f.stores("p0");
             f.status(busy);
             f.says(answer("a0", "p0"));
             f.ledger.lose_status();
             f.stores("p1", 3);
             f.status(busy);
         },
         false},
    };
    for (const auto& r : rows) {
        facts f;
        r.happens(f);
        BOOST_TEST(f.ledger.has_work(*f.ledger.find_turn("p1")) == r.has_work, r.name);
    }
}

BOOST_AUTO_TEST_CASE(a_prompt_of_others_is_set_aside_after_its_grace_in_an_idle_session) {
    facts f;
    f.stores("p1");
    BOOST_TEST(f.says_of("p1") == "open");
    const auto over = f.next();
    BOOST_TEST(f.describe(f.judged("p1", {}, over)) == "open"); // how the session is is not known
    f.idles();
    BOOST_TEST(f.describe(f.judged("p1", {}, 0)) == "open");
    BOOST_TEST(f.describe(f.judged("p1", {}, over)) == "aside");
    BOOST_TEST(f.judged("p1", {}, over).by == "stored, and nobody is to answer it");
    f.status(busy);
    BOOST_TEST(f.describe(f.judged("p1", {}, over)) == "open");
}

BOOST_AUTO_TEST_CASE(without_a_stream_a_prompt_of_others_is_set_aside_by_a_snapshot_begun_after_its_grace) {
    facts f;
    f.stores("p1");
    f.idles();
    f.ledger.break_stream(false);
    const auto early = f.next();
    const auto over = f.next();
    BOOST_TEST(f.describe(f.judged("p1", {}, over)) == "open");
    BOOST_TEST(f.describe(f.judged("p1", {early}, over)) == "open");
    BOOST_TEST(f.describe(f.judged("p1", {over}, over)) == "aside");
}

BOOST_AUTO_TEST_CASE(in_a_session_that_is_merely_held_no_prompt_of_others_is_set_aside) {
    facts f;
    f.says(user("p1"));
    f.says(text("p1", "prt_p1", "ask", true));
    f.idles();
    BOOST_TEST(f.describe(f.judged("p1", {}, f.next())) == "open");
}

// --- late beginnings

BOOST_AUTO_TEST_CASE(a_prompt_is_unbegun_while_it_is_stored_and_nothing_says_that_it_will_not_be) {
    struct row {
        const char* name;
        void (*happens)(facts&);
        bool unbegun;
    };
    const row rows[] = {
        {"stored", [](facts& f) { f.prompts("p1"); }, true},
        {"the stream was cut", [](facts& f) { f.prompts("p1"), f.next(), f.ledger.break_stream(false); },
         true},
        {"unknown to the server", [](facts& f) { f.posts("p1"); }, false},
        {"answered", [](facts& f) { f.prompts("p1"), f.says(answer("a1", "p1")); }, false},
        {"at work since", [](facts& f) { f.prompts("p1"), f.status(busy), f.idles(); }, false},
        {"at work by a snapshot", [](facts& f) { f.prompts("p1"), f.next(), f.ledger.set_status(busy); },
         false},
        {"at work before", [](facts& f) { f.status(busy), f.idles(), f.prompts("p1"); }, true},
        {"disposed of", [](facts& f) { f.prompts("p1"), f.next(), f.ledger.break_stream(true); }, false},
        {"an error", [](facts& f) { f.prompts("p1"), f.error("E", false); }, false},
        {"our abort", [](facts& f) { f.prompts("p1"), f.next(), f.ledger.note_abort_requested(); }, false},
        {"perhaps an abort", [](facts& f) { f.prompts("p1"), f.next(), f.ledger.note_abort({}, true); },
         false},
    };
    for (const auto& r : rows) {
        facts f;
        r.happens(f);
        BOOST_TEST(f.ledger.is_unbegun(*f.ledger.find_turn("p1")) == r.unbegun, r.name);
    }
}
