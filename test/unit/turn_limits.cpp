// When a turn has passed a limit of its own.
#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/turn_limits.hpp>

#include <limits>
#include <ostream>
#include <random>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;

namespace holdfast::opencode {
std::ostream& boost_test_print_type(std::ostream& to, turn_limit l) {
    return to << to_string(l);
}
} // namespace holdfast::opencode

namespace {

const time_point t0{seconds(1000)};
const text_event said{"part", "word"};

time_point at(int s) {
    return t0 + seconds(s);
}

usage_event used(token_usage tokens, double cost = 0) {
    return {"msg", tokens, cost};
}

usage_event used_tokens(std::uint64_t output) {
    token_usage tokens;
    tokens.output = output;
    return used(tokens);
}

turn_limits time_limits(duration deadline, duration no_progress) {
    turn_limits limits;
    limits.deadline = deadline;
    limits.no_progress = no_progress;
    return limits;
}

turn_limits token_limit(std::uint64_t tokens) {
    turn_limits limits;
    limits.tokens = tokens;
    return limits;
}

turn_limits cost_limit(double cost) {
    turn_limits limits;
    limits.cost = cost;
    return limits;
}

/// One event of each kind.
struct kind {
    agent_event event;
    bool progress;
};
const std::vector<kind>& kinds() {
    static const std::vector<kind> all{{said, true},
                                       {reasoning_event{}, true},
                                       {tool_event{}, true},
                                       {permission_event{}, true},
                                       {question_event{}, true},
                                       {retry_event{}, true},
                                       {usage_event{}, true},
                                       {quiet_event{}, false},
                                       {interrupted_event{}, false},
                                       {gap_event{}, false},
                                       {gap_event{failure_class::cut, {}, true}, false},
                                       {settlement{}, false}};
    return all;
}

} // namespace

BOOST_AUTO_TEST_CASE(without_limits_none_is_ever_passed) {
    limit_watch watch({}, t0);
    BOOST_TEST((watch.due() == time_point::max()));
    watch.heard(used({1, 2, 3, 4, 5}, 1e9), at(5));
    for (const auto now : {t0, at(100000), time_point::max()})
        BOOST_TEST(watch.passed(now) == turn_limit::none);
    BOOST_TEST((watch.due() == time_point::max()));
}

BOOST_AUTO_TEST_CASE(a_deadline_counts_from_the_post_whatever_is_told) {
    limit_watch watch(time_limits(seconds(10), {}), t0);
    for (int s = 0; s < 10; ++s) {
        watch.heard(said, at(s));
        BOOST_TEST((watch.due() == at(10)));
    }
    BOOST_TEST(watch.passed(at(10) - duration(1)) == turn_limit::none);
    BOOST_TEST(watch.passed(at(10)) == turn_limit::deadline);
}

BOOST_AUTO_TEST_CASE(no_progress_counts_from_the_post_and_then_from_the_last_progress) {
    limit_watch watch(time_limits({}, seconds(10)), t0);
    BOOST_TEST((watch.due() == at(10)));
    watch.heard(said, at(9));
    BOOST_TEST((watch.due() == at(19)));
    BOOST_TEST(watch.passed(at(19) - duration(1)) == turn_limit::none);
    BOOST_TEST(watch.passed(at(19)) == turn_limit::no_progress);
}

BOOST_AUTO_TEST_CASE(each_kind_of_event_is_progress_or_not) {
    BOOST_TEST(kinds().size() == std::variant_size_v<agent_event> + 1);
    for (const auto& each : kinds()) {
        limit_watch watch(time_limits({}, seconds(10)), t0);
        watch.heard(each.event, at(5));
        BOOST_TEST((watch.due() == (each.progress ? at(15) : at(10))), each.event.index());
        BOOST_TEST(watch.passed(at(10)) == (each.progress ? turn_limit::none : turn_limit::no_progress));
    }
}

BOOST_AUTO_TEST_CASE(each_kind_of_token_counts_and_no_limit_is_passed_by_just_meeting_it) {
    for (const auto& each :
         {token_usage{5, 0, 0, 0, 0}, token_usage{0, 5, 0, 0, 0}, token_usage{0, 0, 5, 0, 0},
          token_usage{0, 0, 0, 5, 0}, token_usage{0, 0, 0, 0, 5}, token_usage{1, 1, 1, 1, 1}}) {
        limit_watch met(token_limit(5), t0);
        met.heard(used(each), at(1));
        BOOST_TEST(met.passed(at(1)) == turn_limit::none);
        limit_watch passed(token_limit(4), t0);
        passed.heard(used(each), at(1));
        BOOST_TEST(passed.passed(at(1)) == turn_limit::tokens);
    }
}

BOOST_AUTO_TEST_CASE(usage_adds_up_over_the_messages_of_a_turn) {
    limit_watch tokens(token_limit(100), t0), cost(cost_limit(1.0), t0);
    for (int n = 1; n <= 5; ++n) {
        tokens.heard(used_tokens(20), at(n));
        BOOST_TEST(tokens.passed(at(n)) == turn_limit::none);
        cost.heard(used({}, 0.25), at(n));
        BOOST_TEST(cost.passed(at(n)) == (n <= 4 ? turn_limit::none : turn_limit::cost), n);
    }
    tokens.heard(used_tokens(1), at(6));
    BOOST_TEST(tokens.passed(at(6)) == turn_limit::tokens);
}

BOOST_AUTO_TEST_CASE(what_is_no_usage_uses_nothing) {
    limit_watch watch(token_limit(1), t0);
    for (const auto& each : kinds())
        watch.heard(each.event, at(1));
    BOOST_TEST(watch.passed(at(1)) == turn_limit::none);
}

BOOST_AUTO_TEST_CASE(absurd_numbers_of_a_server_neither_wrap_nor_pay_back) {
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    limit_watch one(token_limit(1000), t0), many(token_limit(1000), t0), limit_of_all(token_limit(most), t0);
    one.heard(used({most, 1, 0, 0, 0}), at(1));
    BOOST_TEST(one.passed(at(1)) == turn_limit::tokens);
    many.heard(used_tokens(1000), at(1));
    many.heard(used_tokens(most), at(1));
    BOOST_TEST(many.passed(at(1)) == turn_limit::tokens);
    limit_of_all.heard(used({most, most, most, most, most}), at(1));
    BOOST_TEST(limit_of_all.passed(at(1)) == turn_limit::none);

    limit_watch cost(cost_limit(1), t0);
    for (const double each : {1.0, -5.0, std::numeric_limits<double>::quiet_NaN()})
        cost.heard(used({}, each), at(1));
    BOOST_TEST(cost.passed(at(1)) == turn_limit::none);
    cost.heard(used({}, 0.5), at(1));
    BOOST_TEST(cost.passed(at(1)) == turn_limit::cost);
}

BOOST_AUTO_TEST_CASE(usage_that_passes_its_limit_with_the_deadline_comes_after_it) {
    auto limits = time_limits(seconds(10), {});
    limits.tokens = 5;
    limit_watch before(limits, t0), then(limits, t0);
    before.heard(used_tokens(6), at(10) - duration(1));
    then.heard(used_tokens(6), at(10));
    BOOST_TEST(before.passed(at(10)) == turn_limit::tokens);
    BOOST_TEST(then.passed(at(10)) == turn_limit::deadline);
}

BOOST_AUTO_TEST_CASE(of_two_limits_at_once_the_first_in_the_list_is_told) {
    limit_watch times(time_limits(seconds(10), seconds(10)), t0);
    BOOST_TEST(times.passed(at(10)) == turn_limit::deadline);
    auto limits = token_limit(5);
    limits.cost = 1;
    limit_watch usage(limits, t0);
    usage.heard(used({6, 0, 0, 0, 0}, 2), at(1));
    BOOST_TEST(usage.passed(at(1)) == turn_limit::tokens);
}

BOOST_AUTO_TEST_CASE(the_limit_that_passed_first_is_told_however_late_it_is_asked) {
    limit_watch quiet(time_limits(seconds(20), seconds(5)), t0);
    BOOST_TEST(quiet.passed(at(1000)) == turn_limit::no_progress);
    limit_watch lively(time_limits(seconds(20), seconds(15)), t0);
    lively.heard(said, at(10));
    BOOST_TEST(lively.passed(at(1000)) == turn_limit::deadline);
}

BOOST_AUTO_TEST_CASE(a_passed_limit_stays_the_one_that_was) {
    for (const auto& [limits, passed] :
         {std::pair{time_limits(seconds(30), seconds(10)), turn_limit::no_progress},
          {time_limits(seconds(10), seconds(30)), turn_limit::deadline}}) {
        auto all = limits;
        all.tokens = 1;
        all.cost = 1;
        for (const bool asked : {false, true}) {
            limit_watch watch(all, t0);
            if (asked)
                BOOST_TEST(watch.passed(at(10)) == passed);
            watch.heard(said, at(11));
            watch.heard(used({100, 0, 0, 0, 0}, 100), at(12));
            BOOST_TEST(watch.passed(at(12)) == passed);
            BOOST_TEST(watch.passed(at(1000)) == passed);
        }
    }
}

BOOST_AUTO_TEST_CASE(what_is_passed_has_no_time_at_which_it_passes) {
    limit_watch by_time(time_limits(seconds(10), seconds(5)), t0);
    BOOST_TEST((by_time.due() == at(5)));
    std::ignore = by_time.passed(at(5));
    BOOST_TEST((by_time.due() == time_point::max()));
    auto limits = time_limits(seconds(10), {});
    limits.tokens = 1;
    limit_watch by_use(limits, t0);
    by_use.heard(used_tokens(2), at(1));
    BOOST_TEST((by_use.due() == time_point::max()));
}

BOOST_AUTO_TEST_CASE(a_limit_longer_than_time_is_none) {
    limit_watch watch(time_limits(duration::max(), duration::max()), t0);
    BOOST_TEST((watch.due() == time_point::max()));
    BOOST_TEST(watch.passed(time_point::max()) == turn_limit::none);
}

// Asking more often, and at other times, never changes the answer.
BOOST_AUTO_TEST_CASE(how_often_it_is_asked_changes_nothing) {
    std::mt19937 random(1);
    for (int run = 0; run < 20000; ++run) {
        auto limits = time_limits(seconds(random() % 40), seconds(random() % 15));
        limits.tokens = random() % 40;
        limits.cost = static_cast<double>(random() % 40);
        limit_watch asked(limits, t0), unasked(limits, t0);
        int now = 0;
        for (int n = 0; n < 10; ++n) {
            const int before = now;
            now += static_cast<int>(random() % 10);
            for (int s = before; s <= now; ++s)
                std::ignore = asked.passed(at(s));
            agent_event event = kinds()[random() % kinds().size()].event;
            if (random() % 2 == 0)
                event = used({random() % 10, 0, 0, 0, 0}, static_cast<double>(random() % 10));
            asked.heard(event, at(now));
            unasked.heard(event, at(now));
        }
        BOOST_TEST_REQUIRE(asked.passed(at(now)) == unasked.passed(at(now)));
    }
}

// --- steps and retry waits

BOOST_AUTO_TEST_CASE(more_steps_than_allowed_pass_the_limit_whatever_each_used) {
    turn_limits limits;
    limits.max_steps = 3;
    limit_watch watch(limits, t0);
    for (int step = 1; step <= 3; ++step) {
        watch.heard(used({}), at(step));
        watch.heard(said, at(step));
        BOOST_TEST(watch.passed(at(step)) == turn_limit::none);
    }
    BOOST_TEST((watch.due() == time_point::max())); // it is no limit of time
    watch.heard(used({}), at(4));
    BOOST_TEST(watch.passed(at(4)) == turn_limit::max_steps);
    BOOST_TEST(watch.used().steps == 4u);
}

BOOST_AUTO_TEST_CASE(without_a_limit_of_steps_there_may_be_any_number) {
    limit_watch watch(turn_limits{}, t0);
    for (int step = 0; step < 10'000; ++step)
        watch.heard(used({}), at(1));
    BOOST_TEST(watch.passed(at(1)) == turn_limit::none);
    BOOST_TEST(watch.used().steps == 10'000u);
}

BOOST_AUTO_TEST_CASE(a_wait_longer_than_allowed_passes_the_limit_at_once) {
    turn_limits limits;
    limits.retry_wait = minutes(5);
    for (const auto wait : {duration::zero(), duration(-seconds(1)), duration(minutes(5))}) {
        limit_watch watch(limits, t0);
        watch.waits(wait, at(1));
        BOOST_TEST(watch.passed(at(1000)) == turn_limit::none);
    }
    for (const auto wait : {minutes(5) + duration(1), duration(std::chrono::hours(24)), duration::max()}) {
        limit_watch watch(limits, t0);
        watch.waits(wait, at(1));
        BOOST_TEST(watch.passed(at(1)) == turn_limit::retry_wait);
        BOOST_TEST((watch.due() == time_point::max()));
    }
    limit_watch unlimited(turn_limits{}, t0);
    unlimited.waits(duration::max(), at(1));
    BOOST_TEST(unlimited.passed(at(1)) == turn_limit::none);
}

BOOST_AUTO_TEST_CASE(a_wait_after_another_limit_changes_nothing) {
    auto limits = time_limits(seconds(10), {});
    limits.retry_wait = seconds(1);
    limit_watch watch(limits, t0);
    watch.waits(minutes(1), at(10));
    BOOST_TEST(watch.passed(at(10)) == turn_limit::deadline);
}

BOOST_AUTO_TEST_CASE(what_is_used_counts_on_after_a_limit_was_passed) {
    limit_watch watch(token_limit(1), t0);
    watch.heard(used_tokens(5), at(1));
    watch.heard(used_tokens(7), at(2));
    BOOST_TEST(watch.passed(at(2)) == turn_limit::tokens);
    BOOST_TEST(watch.used().tokens.output == 12u);
    BOOST_TEST(watch.used().steps == 2u);
}
