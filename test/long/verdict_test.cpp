// The judge of the campaign itself: it finds each kind of lie.
#include <boost/test/unit_test.hpp>

#include "long/figures.hpp"
#include "long/verdict.hpp"

#include <string>
#include <vector>

namespace {

using namespace holdfast::test;
using holdfast::opencode::outcome;
using holdfast::opencode::reprompt;
using holdfast::opencode::rule;

/// A prompt that was answered "Hello." and a turn that was told so.
struct a_true_turn {
    prompt_facts facts;
    told_facts told;
    std::vector<stored_message> stored;

    a_true_turn() {
        facts.message = "msg_1";
        facts.text = "Hello.";
        facts.runs = 1;
        stored.resize(2);
        stored[0].id = "msg_1";
        stored[1].id = "msg_2";
        stored[1].parent = "msg_1";
        stored[1].finish = "stop";
        stored[1].completed_ms = 1000;
        stored_message::part part;
        part.id = "prt_1";
        part.type = "text";
        part.text = "Hello.";
        stored[1].parts.push_back(part);
        told.settlements = 1;
        told.how.outcome = outcome::completed;
        told.how.rule = rule::message_finished;
        told.how.text = "Hello.";
        told.how.safe_to_reprompt = reprompt::no;
        told.texts["prt_1"] = "Hello.";
    }

    /// The kinds of all complaints.
    std::string verdict() const {
        std::string all;
        for (const auto& each : judge(facts, told, stored))
            all += std::string(all.empty() ? "" : ", ") + std::string(to_string(each.what));
        return all;
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(verdicts, a_true_turn)

BOOST_AUTO_TEST_CASE(the_truth_passes) {
    BOOST_TEST(verdict() == "");
}

BOOST_AUTO_TEST_CASE(completed_for_an_aborted_turn_is_wrong) {
    stored[1].finish.clear();
    stored[1].error = "MessageAbortedError";
    facts.abort_asked = true;
    BOOST_TEST(verdict() == "wrong");
}

BOOST_AUTO_TEST_CASE(aborted_for_a_completed_turn_is_wrong_though_an_abort_was_asked_for) {
    facts.abort_asked = true;
    told.how.outcome = outcome::aborted;
    BOOST_TEST(verdict() == "wrong");
}

BOOST_AUTO_TEST_CASE(lost_is_allowed_only_when_the_server_was_killed_and_has_no_end) {
    told.how.outcome = outcome::lost;
    BOOST_TEST(verdict() == "lost while the server lived");
    facts.killed = true;
    BOOST_TEST(verdict() == "wrong");
    stored[1].finish.clear();
    stored[1].completed_ms.reset();
    BOOST_TEST(verdict() == "");
}

BOOST_AUTO_TEST_CASE(a_second_run_of_the_model_is_double) {
    facts.runs = 2;
    BOOST_TEST(verdict() == "double");
}

BOOST_AUTO_TEST_CASE(no_settlement_is_hung_and_two_are_wrong) {
    told.settlements = 0;
    BOOST_TEST(verdict() == "hung");
    told.settlements = 2;
    BOOST_TEST(verdict() == "wrong");
}

BOOST_AUTO_TEST_CASE(text_with_a_hole_or_a_repeat_is_wrong) {
    for (const char* said : {"Hell", "Hello.Hello.", "Heo.", ""}) {
        told.texts["prt_1"] = said;
        BOOST_TEST(verdict() == "wrong");
    }
}

BOOST_AUTO_TEST_CASE(an_aborted_turn_may_have_told_less_but_nothing_else) {
    stored[1].finish.clear();
    stored[1].error = "MessageAbortedError";
    facts.abort_asked = true;
    told.how.outcome = outcome::aborted;
    told.texts["prt_1"] = "Hel";
    BOOST_TEST(verdict() == "");
    told.texts["prt_1"] = "Hal";
    BOOST_TEST(verdict() == "wrong");
}

BOOST_AUTO_TEST_CASE(a_settlement_with_another_text_is_wrong) {
    told.how.text = "Hello";
    BOOST_TEST(verdict() == "wrong, wrong"); // by the server's store, and by the script
}

BOOST_AUTO_TEST_CASE(an_open_message_of_a_server_that_lives_has_no_true_outcome) {
    stored[1].finish.clear();
    stored[1].completed_ms.reset();
    for (const auto each : {outcome::completed, outcome::aborted, outcome::failed, outcome::rejected}) {
        told.how.outcome = each;
        BOOST_TEST(verdict().starts_with("wrong"));
    }
}

BOOST_AUTO_TEST_CASE(a_prompt_that_was_merged_ends_as_the_later_one) {
    facts.message = "msg_0";
    stored.insert(stored.begin(), stored_message());
    stored[0].id = "msg_0";
    facts.runs = 0;
    told.how.rule = rule::merged;
    told.how.text.clear();
    BOOST_TEST(verdict() == "");
    told.how.outcome = outcome::aborted;
    BOOST_TEST(verdict() == "wrong");
}

BOOST_AUTO_TEST_CASE(a_prompt_that_the_server_dropped_at_a_rejection_may_be_called_lost) {
    stored[1].finish = "tool-calls";
    stored[1].parts[0].tool_failed = true;
    stored.push_back(stored_message());
    stored[2].id = facts.message = "msg_3";
    stored[2].created_ms = 999;
    told.how.outcome = outcome::lost;
    told.how.text.clear();
    told.texts.clear();
    BOOST_TEST(verdict() == "");
    stored[2].created_ms = 1001; // after the rejection: it had to be answered
    BOOST_TEST(verdict() == "lost while the server lived");
}

BOOST_AUTO_TEST_CASE(safe_to_prompt_again_is_wrong_while_the_server_is_at_work) {
    told.how.safe_to_reprompt = reprompt::yes;
    BOOST_TEST(verdict() == "");
    stored[1].finish.clear();
    stored[1].completed_ms.reset();
    told.how.outcome = outcome::aborted;
    facts.abort_asked = true;
    BOOST_TEST(verdict() == "wrong");
}

BOOST_AUTO_TEST_CASE(text_that_is_called_missing_and_is_there_is_wrong) {
    told.missing = true;
    BOOST_TEST(verdict() == "wrong");
}

BOOST_AUTO_TEST_CASE(stored_messages_are_read) {
    const auto read = read_stored(
        R"([{"info":{"id":"msg_1","role":"user","time":{"created":1}},"parts":[]},
            {"info":{"id":"msg_2","role":"assistant","parentID":"msg_1","finish":"stop","time":{"created":2,"completed":3}},
             "parts":[{"id":"prt_1","type":"text","text":"a"},{"id":"prt_2","type":"tool","state":{"status":"error"}},
                      {"id":"prt_3","type":"text","text":"b"}]}])");
    BOOST_REQUIRE(read.size() == 2U);
    BOOST_TEST(read[1].parent == "msg_1");
    BOOST_TEST(read[1].finish == "stop");
    BOOST_TEST(read[1].completed_ms.value_or(0) == 3);
    BOOST_TEST(read[1].text() == "ab");
    BOOST_TEST(read[1].parts[1].tool_failed);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(a_percentile_is_one_of_the_values) {
    BOOST_TEST(percentile({}, 99) == 0);
    BOOST_TEST(percentile({3, 1, 2}, 50) == 2);
    BOOST_TEST(percentile({3, 1, 2}, 99) == 3);
    BOOST_TEST(percentile({3, 1, 2}, 0) == 1);
}

BOOST_AUTO_TEST_CASE(what_grows_has_a_slope_above_zero_and_what_is_noise_may_have_none) {
    std::vector<double> growing, noise;
    for (int i = 0; i < 40; ++i) {
        growing.push_back(100 + 2 * i + (i % 3));
        noise.push_back(100 + (i * 7919) % 13);
    }
    BOOST_TEST(trend_of(growing).low > 1.9);
    BOOST_TEST(trend_of(growing).high < 2.1);
    BOOST_TEST(trend_of(noise).low < 0);
    BOOST_TEST(trend_of(noise).high > 0);
}

BOOST_AUTO_TEST_CASE(a_burst_is_no_growth_and_does_not_hide_it) {
    std::vector<double> level(30, 100.0), growing;
    for (int i = 0; i < 30; ++i)
        growing.push_back(100 + 2 * i);
    for (const std::size_t at : {3U, 27U, 28U})
        level[at] = 5000;
    growing[2] = 5000;
    BOOST_TEST(trend_of(level).slope == 0);
    BOOST_TEST(trend_of(level).low <= 0);
    BOOST_TEST(trend_of(growing).low > 1.9);
}

BOOST_AUTO_TEST_CASE(what_leaks_grows_in_each_half_and_a_step_does_not) {
    std::vector<double> leak, step, little;
    for (int i = 0; i < 30; ++i) {
        const double noise = (i * 7919) % 13;
        leak.push_back(100 + 4 * i + noise);
        step.push_back((i < 14 ? 100 : 400) + noise);
        little.push_back(100 + 2 * i);
    }
    BOOST_TEST(grows(leak, 3));
    BOOST_TEST(!grows(step, 3));
    BOOST_TEST(!grows(little, 3));
    BOOST_TEST(grows(little, 1));
}
