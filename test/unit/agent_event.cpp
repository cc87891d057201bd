// What a turn tells: its words, and that two of them are the same only when all of their members are.
#define BOOST_TEST_MODULE agent_event
#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/opencode/recording.hpp>

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
    BOOST_TEST(
        (names_of<turn_limit>(6) == names{"none", "deadline", "no_progress", "tokens", "cost", "unknown"}));
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
