#include <boost/test/unit_test.hpp>

#include <holdfast/retry/retry_budget.hpp>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

using namespace holdfast;
using namespace holdfast::retry;

namespace {

const time_point t0{seconds(1000)};

time_point after(long long ms) {
    return t0 + milliseconds(ms);
}

void try_first(retry_budget& budget, int times) {
    for (; times > 0; --times)
        budget.first_try();
}

/// How many of `wanted` retries may be sent at once.
int at_once(retry_budget& budget, int wanted, time_point now) {
    int count = 0;
    for (; wanted > 0; --wanted)
        count += budget.retry(now).ready <= now ? 1 : 0;
    return count;
}

retry_allowance earned_only() {
    retry_allowance allowance;
    allowance.per_second = 0;
    return allowance;
}

} // namespace

BOOST_AUTO_TEST_CASE(without_any_first_try_ten_retries_a_second_are_free) {
    retry_budget budget;
    for (int i = 0; i < 10; ++i)
        BOOST_TEST((budget.retry(t0).ready == t0));
    BOOST_TEST((budget.retry(t0).ready == after(100)));
    BOOST_TEST((budget.retry(t0).ready == after(200)));
}

BOOST_AUTO_TEST_CASE(five_first_tries_earn_one_retry) {
    for (const auto& [tries, retries] : {std::pair{0, 0}, {4, 0}, {5, 1}, {9, 1}, {10, 2}, {1000, 200}}) {
        retry_budget budget(earned_only());
        try_first(budget, tries);
        BOOST_TEST(at_once(budget, 1000, t0) == retries, tries);
    }
}

BOOST_AUTO_TEST_CASE(the_first_tries_of_a_thousand_that_all_fail_allow_a_fifth_and_ten_more_at_once) {
    retry_budget budget;
    try_first(budget, 1000);
    BOOST_TEST(at_once(budget, 1000, t0) == 210);
    // The 790 others wait for ten a second.
    BOOST_TEST((budget.retry(t0).ready == after(79100)));
}

BOOST_AUTO_TEST_CASE(what_is_earned_is_used_before_what_is_free) {
    retry_budget budget;
    try_first(budget, 5);
    BOOST_TEST(budget.retry(t0).earned);
    BOOST_TEST(!budget.retry(t0).earned);
}

BOOST_AUTO_TEST_CASE(without_free_ones_an_empty_budget_says_never_and_takes_nothing) {
    retry_budget budget(earned_only());
    const auto none = budget.retry(t0);
    BOOST_TEST((none.ready == time_point::max()));
    budget.give_back(none);
    BOOST_TEST((budget.retry(t0).ready == time_point::max()));
    try_first(budget, 5);
    BOOST_TEST((budget.retry(t0).ready == t0));
}

BOOST_AUTO_TEST_CASE(a_retry_that_is_not_sent_goes_back_to_where_it_came_from) {
    retry_budget budget;
    try_first(budget, 5);
    budget.give_back(budget.retry(t0));
    BOOST_TEST(at_once(budget, 100, t0) == 11);
    const auto waiting = budget.retry(after(50));
    budget.give_back(waiting);
    BOOST_TEST((budget.retry(after(50)).ready == waiting.ready));
}

BOOST_AUTO_TEST_CASE(no_more_is_saved_than_is_set) {
    retry_budget budget(earned_only());
    try_first(budget, 1000000);
    BOOST_TEST(at_once(budget, 2000, t0) == 1000);
    try_first(budget, 5000);
    const auto one = budget.retry(t0);
    try_first(budget, 5);
    budget.give_back(one);
    BOOST_TEST(at_once(budget, 2000, t0) == 1000);
}

BOOST_AUTO_TEST_CASE(the_share_and_the_free_ones_are_settings) {
    retry_allowance allowance;
    allowance.percent = 50;
    allowance.per_second = 2;
    allowance.most_saved = 3;
    retry_budget budget(allowance);
    try_first(budget, 100);
    BOOST_TEST(at_once(budget, 100, t0) == 5);
    allowance.percent = 0;
    retry_budget nothing_earned(allowance);
    try_first(nothing_earned, 100);
    BOOST_TEST(at_once(nothing_earned, 100, t0) == 2);
}

BOOST_AUTO_TEST_CASE(however_tries_and_retries_come_their_share_holds_from_the_beginning) {
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        std::mt19937_64 random(seed);
        retry_budget budget;
        double tries = 0;
        double retries = 0;
        std::vector<retry_budget::grant> waiting;
        time_point now = t0;
        for (int step = 0; step < 2000; ++step) {
            for (auto n = random() % 8; n > 0; --n, ++tries)
                budget.first_try();
            for (auto n = random() % (seed % 7 + 1); n > 0; --n)
                waiting.push_back(budget.retry(now));
            if (!waiting.empty() && random() % 4 == 0) {
                budget.give_back(waiting.back());
                waiting.pop_back();
            }
            retries += static_cast<double>(
                std::erase_if(waiting, [&](const auto& each) { return each.ready <= now; }));
            const double elapsed = std::chrono::duration<double>(now - t0).count();
            BOOST_TEST_REQUIRE(retries <= 0.2 * tries + 10 * (elapsed + 1) + 1e-6, "seed " << seed);
            now += milliseconds(random() % 40);
        }
    }
}
