// What a turn tells: its words, and that two of them are the same only when all of their members are.
#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/opencode/recording.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;

namespace {

template <class Enum>
std::vector<std::string_view> names_of(int count) {
    std::vector<std::string_view> names;
    for (int i = 0; i < count; ++i)
        names.push_back(to_string(static_cast<Enum>(i)));
    return names;
}

} // namespace

BOOST_AUTO_TEST_CASE(outcomes_rules_advice_and_limits_have_the_names_of_their_enumerators) {
    using names = std::vector<std::string_view>;
    BOOST_TEST((names_of<outcome>(7) ==
                names{"completed", "failed", "aborted", "rejected", "lost", "detached", "unknown"}));
    BOOST_TEST((names_of<rule>(19) == names{"message_finished", "message_error", "message_interrupted",
                                            "compaction_failed", "tool_rejected", "superseded", "merged",
                                            "abort_requested", "session_aborted", "session_error",
                                            "not_accepted", "never_answered", "unfinished", "session_deleted",
                                            "gave_up", "server_gone", "not_posted", "detached", "unknown"}));
    BOOST_TEST((names_of<reprompt>(4) == names{"yes", "no", "unknown", "unknown"}));
    BOOST_TEST((names_of<turn_limit>(8) == names{"none", "deadline", "no_progress", "tokens", "cost",
                                                 "max_steps", "retry_wait", "unknown"}));
}

BOOST_AUTO_TEST_CASE(each_member_tells_two_events_apart) {
    permission_request permission;
    permission.id = "per_1";
    question_request question;
    question.id = "que_1";
    retry::failure why;
    why.cls = failure_class::refused;
    token_usage tokens;
    tokens.input = 1;
    settlement failed;
    failed.error = settlement_error{"server", "E", "why", 500};
    settlement failed_otherwise;
    failed_otherwise.error = settlement_error{"server", "E", "why", 501};
    settlement over_its_limit;
    over_its_limit.limit = turn_limit::tokens;
    const std::vector<agent_event> all = {
        text_event{"p", "d"},
        text_event{"q", "d"},
        text_event{"p", "e"},
        reasoning_event{"p", "d"},
        reasoning_event{"q", "d"},
        reasoning_event{"p", "e"},
        tool_event{"i", "n", "s", "t"},
        tool_event{"j", "n", "s", "t"},
        tool_event{"i", "m", "s", "t"},
        tool_event{"i", "n", "r", "t"},
        tool_event{"i", "n", "s", "u"},
        permission_event{permission, {}},
        permission_event{permission, "once"},
        permission_event{{}, {}},
        question_event{question, {}},
        question_event{question, "answered"},
        question_event{{}, {}},
        retry_event{1, "m", 2},
        retry_event{2, "m", 2},
        retry_event{1, "n", 2},
        retry_event{1, "m", 3},
        usage_event{"m", tokens, 1},
        usage_event{"n", tokens, 1},
        usage_event{"m", {}, 1},
        usage_event{"m", tokens, 2},
        quiet_event{seconds(1), "busy"},
        quiet_event{seconds(2), "busy"},
        quiet_event{seconds(1), "idle"},
        interrupted_event{why, 1, seconds(1)},
        interrupted_event{{}, 1, seconds(1)},
        interrupted_event{why, 2, seconds(1)},
        interrupted_event{why, 1, seconds(2)},
        gap_event{failure_class::cut, seconds(1), false},
        gap_event{failure_class::stall, seconds(1), false},
        gap_event{failure_class::cut, seconds(2), false},
        gap_event{failure_class::cut, seconds(1), true},
        settlement{},
        failed,
        failed_otherwise,
        over_its_limit,
    };
    for (std::size_t i = 0; i < all.size(); ++i)
        for (std::size_t j = 0; j < all.size(); ++j)
            BOOST_TEST((all[i] == all[j]) == (i == j), i << " and " << j);
}

BOOST_AUTO_TEST_CASE(rows_and_checks_of_a_recording_compare_by_their_members) {
    const recorded_row row{"s", "m", text_event{"p", "d"}};
    BOOST_TEST((row == recorded_row{"s", "m", text_event{"p", "d"}}));
    BOOST_TEST((row != recorded_row{"s", "m", text_event{"p", "e"}}));
    const recorded_check check{"s", "m", "why"};
    BOOST_TEST((check == recorded_check{"s", "m", "why"}));
    BOOST_TEST((check != recorded_check{"s", {}, "why"}));
}

BOOST_AUTO_TEST_CASE(what_a_session_tells_compares_by_its_members) {
    const session_event told{"s", "m", text_event{"p", "d"}};
    BOOST_TEST((told == session_event{"s", "m", text_event{"p", "d"}}));
    for (const auto& other : {session_event{"r", "m", told.event}, session_event{"s", "n", told.event},
                              session_event{"s", "m", text_event{"p", "e"}}})
        BOOST_TEST((told != other));
}

BOOST_AUTO_TEST_CASE(usage_is_summed_member_by_member_and_never_wraps) {
    turn_usage used;
    usage_event one{"msg_1", {1, 2, 3, 4, 5}, 0.5};
    used.add(one);
    used.add(one);
    BOOST_TEST(used.steps == 2u);
    BOOST_TEST((used.tokens == token_usage{2, 4, 6, 8, 10}));
    BOOST_TEST(used.cost == 1.0);
    one.tokens.input = std::numeric_limits<std::uint64_t>::max();
    one.cost = -3;
    used.add(one);
    BOOST_TEST(used.tokens.input == std::numeric_limits<std::uint64_t>::max());
    BOOST_TEST(used.tokens.output == 6u);
    BOOST_TEST(used.cost == 1.0);
}

BOOST_AUTO_TEST_CASE(a_retrys_wait_is_that_from_now_on_whatever_numbers_the_server_sends) {
    constexpr auto least = std::numeric_limits<std::int64_t>::min();
    constexpr auto most = std::numeric_limits<std::int64_t>::max();
    const auto wait = [](std::int64_t next_ms, std::int64_t now_ms) {
        retry_event e;
        e.next_ms = next_ms;
        return wait_of(e, wall_time(std::chrono::duration_cast<wall_time::duration>(milliseconds(now_ms))));
    };
    const std::int64_t now = 1'800'000'000'000;
    BOOST_TEST(to_ms(wait(now + 86'400'000, now)) == 86'400'000);
    BOOST_TEST(to_ms(wait(now + 1, now)) == 1);
    for (const auto past : {now, now - 1, std::int64_t(0), std::int64_t(-1), least})
        BOOST_TEST(to_ms(wait(past, now)) == 0);
    const auto longest = to_ms(duration::max());
    for (const auto then : {now, std::int64_t(0), std::int64_t(-5000)})
        BOOST_TEST(to_ms(wait(most, then)) == longest);
    BOOST_TEST(to_ms(wait(0, -5000)) == 5000);
}

BOOST_AUTO_TEST_CASE(a_recordings_settlement_tells_what_its_turn_used) {
    const auto event = [](std::string_view type, std::string_view properties) {
        return "{\"id\":\"evt_1\",\"type\":\"" + std::string(type) +
               "\",\"properties\":{\"sessionID\":\"ses_1\"," + std::string(properties) + "}}";
    };
    const auto message = [&](std::string_view id, std::string_view more) {
        return event("message.updated", "\"info\":{\"id\":\"" + std::string(id) +
                                            "\",\"sessionID\":\"ses_1\"," + std::string(more) + "}");
    };
    const std::string answer =
        R"("role":"assistant","parentID":"msg_1","cost":0.25,"time":{"created":2,"completed":3},)"
        R"("tokens":{"input":10,"output":5,"reasoning":0,"cache":{"read":2,"write":0}},"finish":)";
    recording all;
    all.feed(message("msg_1", R"("role":"user","time":{"created":1})"));
    all.feed(
        event("message.part.updated",
              R"("part":{"id":"prt_1","messageID":"msg_1","sessionID":"ses_1","type":"text","text":"go"})"));
    all.feed(event("session.status", R"("status":{"type":"busy"})"));
    all.feed(message("msg_2", answer + "\"tool-calls\""));
    all.feed(message("msg_3", answer + "\"stop\""));
    all.feed(event("session.status", R"("status":{"type":"idle"})"));
    const auto rows = all.take_rows();
    BOOST_TEST_REQUIRE(!rows.empty());
    const auto* end = std::get_if<settlement>(&rows.back().event);
    BOOST_TEST_REQUIRE(end != nullptr);
    BOOST_TEST(end->usage.steps == 2u);
    BOOST_TEST((end->usage.tokens == token_usage{20, 10, 0, 4, 0}));
    BOOST_TEST(end->usage.cost == 0.5);
}
