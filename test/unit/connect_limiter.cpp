#include <boost/test/unit_test.hpp>

#include <holdfast/retry/connect_limiter.hpp>

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

/// When `count` that ask at once may connect.
std::vector<time_point> ask(connect_limiter& limiter, std::size_t count, time_point now) {
    std::vector<time_point> times;
    while (times.size() < count) {
        auto mine = limiter.reserve(now);
        times.push_back(limiter.ready_at(mine, now));
    }
    return times;
}

/// The most of these (sorted) in any span of `width`, its end not counted.
std::size_t most_within(const std::vector<time_point>& times, duration width) {
    std::size_t most = 0;
    std::size_t end = 0;
    for (std::size_t begin = 0; begin < times.size(); ++begin) {
        while (end < times.size() && times[end] < times[begin] + width)
            ++end;
        most = std::max(most, end - begin);
    }
    return most;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_hundred_connect_at_once_and_then_five_hundred_a_second) {
    connect_limiter limiter;
    const auto times = ask(limiter, 1100, t0);
    BOOST_TEST((times[0] == t0));
    BOOST_TEST((times[99] == t0));
    BOOST_TEST((times[100] == after(2)));
    BOOST_TEST((times[101] == after(4)));
    BOOST_TEST((times[599] == after(1000)));
    BOOST_TEST((times[1099] == after(2000)));
}

BOOST_AUTO_TEST_CASE(rate_and_burst_are_settings) {
    struct row {
        unsigned per_second, burst;
        std::vector<long long> ms;
    };
    for (const auto& [per_second, burst, ms] :
         {row{10, 3, {0, 0, 0, 100, 200}}, row{10, 1, {0, 100, 200, 300}}, row{10, 0, {0, 100, 200, 300}},
          row{1, 2, {0, 0, 1000, 2000}}, row{0, 5, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}) {
        connect_limits limits;
        limits.per_second = per_second;
        limits.burst = burst;
        connect_limiter limiter(limits);
        const auto times = ask(limiter, ms.size(), t0);
        for (std::size_t i = 0; i < ms.size(); ++i)
            BOOST_TEST((times[i] == after(ms[i])), per_second << "/s, burst " << burst << ", place " << i);
    }
}

BOOST_AUTO_TEST_CASE(a_rate_that_does_not_divide_the_second_is_not_passed) {
    connect_limits limits;
    limits.per_second = 3;
    limits.burst = 1;
    connect_limiter limiter(limits);
    BOOST_TEST((ask(limiter, 4, t0).back() >= t0 + seconds(1)));
}

BOOST_AUTO_TEST_CASE(a_quiet_while_saves_up_one_burst_and_no_more) {
    connect_limiter limiter;
    ask(limiter, 600, t0);
    const auto times = ask(limiter, 102, t0 + seconds(3600));
    BOOST_TEST((times[99] == t0 + seconds(3600)));
    BOOST_TEST((times[100] > t0 + seconds(3600)));
}

BOOST_AUTO_TEST_CASE(half_a_burst_is_saved_up_in_half_the_time) {
    connect_limiter limiter;
    ask(limiter, 100, t0);
    const auto times = ask(limiter, 51, after(100));
    BOOST_TEST((times[49] == after(100)));
    BOOST_TEST((times[50] == after(102)));
}

BOOST_AUTO_TEST_CASE(a_place_that_is_given_back_goes_to_the_next_who_asks) {
    connect_limiter limiter;
    ask(limiter, 100, t0);
    const auto first = limiter.reserve(t0);
    auto second = limiter.reserve(t0);
    limiter.give_back(first);
    auto third = limiter.reserve(t0);
    BOOST_TEST((limiter.ready_at(third, t0) == after(2)));
    BOOST_TEST((limiter.ready_at(second, t0) == after(4)));
    auto fourth = limiter.reserve(t0);
    BOOST_TEST((limiter.ready_at(fourth, t0) == after(6)));
}

BOOST_AUTO_TEST_CASE(when_all_who_wait_give_up_it_is_as_if_they_had_never_asked) {
    connect_limiter limiter;
    ask(limiter, 100, t0);
    std::vector<connect_limiter::reservation> waiting;
    for (int i = 0; i < 1000; ++i)
        waiting.push_back(limiter.reserve(t0));
    std::shuffle(waiting.begin(), waiting.end(), std::mt19937_64(1));
    for (const auto& each : waiting)
        limiter.give_back(each);
    BOOST_TEST((ask(limiter, 1, t0).front() == after(2)));
    // And a burst is saved up again.
    BOOST_TEST((ask(limiter, 99, after(200)).back() == after(200)));
}

BOOST_AUTO_TEST_CASE(a_place_that_is_past_is_not_given_out_again) {
    connect_limiter limiter;
    ask(limiter, 100, t0);
    const auto one = limiter.reserve(t0);
    ask(limiter, 50, t0);
    limiter.give_back(one);
    BOOST_TEST((ask(limiter, 1, after(203)).front() == after(203)));
    BOOST_TEST(most_within(ask(limiter, 200, after(203)), milliseconds(1)) <= 100u);
}

BOOST_AUTO_TEST_CASE(a_pause_holds_back_all_who_have_a_place_and_all_who_ask) {
    connect_limiter limiter;
    ask(limiter, 100, t0);
    auto waiting = limiter.reserve(t0);
    limiter.pause_until(after(500), t0);
    BOOST_TEST((limiter.paused_until() == after(500)));
    BOOST_TEST((limiter.ready_at(waiting, after(2)) == after(500)));
    auto newcomer = limiter.reserve(after(3));
    BOOST_TEST((limiter.ready_at(newcomer, after(3)) == after(502)));
    BOOST_TEST((limiter.ready_at(waiting, after(500)) == after(500)));
}

BOOST_AUTO_TEST_CASE(after_a_pause_they_come_one_by_one) {
    connect_limiter limiter;
    limiter.pause_until(after(500), t0);
    BOOST_TEST((ask(limiter, 3, t0) == std::vector{after(500), after(502), after(504)}));
}

BOOST_AUTO_TEST_CASE(a_pause_is_never_shortened) {
    connect_limiter limiter;
    limiter.pause_until(after(500), t0);
    limiter.pause_until(after(300), t0);
    limiter.pause_until(after(-1), t0);
    BOOST_TEST((limiter.paused_until() == after(500)));
}

BOOST_AUTO_TEST_CASE(a_place_from_before_a_pause_is_not_given_out_again) {
    connect_limiter limiter;
    ask(limiter, 600, t0);
    const auto before = limiter.reserve(t0); // for after a second
    limiter.pause_until(after(500), t0);
    limiter.give_back(before);
    BOOST_TEST((ask(limiter, 1, t0).front() == after(500)));
}

BOOST_AUTO_TEST_CASE(local_faults_pause_twice_as_long_each_time_up_to_their_cap) {
    connect_limiter limiter;
    time_point now = t0;
    for (const int ms : {250, 500, 1000, 2000, 4000, 8000, 10000, 10000}) {
        limiter.local_fault(now);
        BOOST_TEST((limiter.paused_until() == now + milliseconds(ms)), ms);
        now = limiter.paused_until();
    }
    limiter.local_success();
    limiter.local_fault(now);
    BOOST_TEST((limiter.paused_until() == now + milliseconds(250)));
}

BOOST_AUTO_TEST_CASE(many_faults_at_once_are_one_pause) {
    connect_limiter limiter;
    for (int i = 0; i < 100; ++i)
        limiter.local_fault(t0 + duration(i));
    BOOST_TEST((limiter.paused_until() == after(250)));
}

BOOST_AUTO_TEST_CASE(no_pause_is_longer_than_the_longest) {
    connect_limits limits;
    limits.longest_local_pause = milliseconds(100);
    connect_limiter limiter(limits);
    limiter.local_fault(t0);
    BOOST_TEST((limiter.paused_until() == after(100)));
}

BOOST_AUTO_TEST_CASE(a_pause_of_zero_is_none) {
    connect_limits limits;
    limits.local_pause = duration::zero();
    connect_limiter limiter(limits);
    limiter.local_fault(t0);
    BOOST_TEST((ask(limiter, 1, t0).front() == t0));
}

BOOST_AUTO_TEST_CASE(the_longest_pauses_do_not_overflow) {
    connect_limits limits;
    limits.longest_local_pause = duration::max();
    connect_limiter limiter(limits);
    for (time_point now = t0; now < time_point::max(); now = limiter.paused_until())
        limiter.local_fault(now);
    auto mine = limiter.reserve(t0);
    BOOST_TEST((limiter.ready_at(mine, t0) == time_point::max()));
}

// Any mixture of asking, waiting, giving up and faults, with any settings.
BOOST_AUTO_TEST_CASE(no_span_of_time_ever_sees_more_than_the_burst_and_the_rate_allow) {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        std::mt19937_64 random(seed);
        const auto draw = [&](std::size_t n) {
            return static_cast<unsigned>(random() % n);
        };
        connect_limits limits;
        limits.per_second = 1 + draw(700);
        limits.burst = draw(150);
        connect_limiter limiter(limits);
        std::vector<connect_limiter::reservation> waiting;
        std::vector<time_point> connects;
        for (time_point now = t0; now < t0 + seconds(3);
             now += milliseconds(draw(draw(10) == 0 ? 200 : 10))) {
            if (waiting.size() < 300)
                for (auto n = draw(60); n > 0; --n)
                    waiting.push_back(limiter.reserve(now));
            for (auto n = draw(10); n > 0 && !waiting.empty(); --n) {
                std::swap(waiting[draw(waiting.size())], waiting.back());
                limiter.give_back(waiting.back());
                waiting.pop_back();
            }
            if (draw(200) == 0)
                limiter.local_fault(now);
            std::erase_if(waiting, [&](auto& each) {
                const auto at = limiter.ready_at(each, now);
                if (at <= now)
                    connects.push_back(at);
                return at <= now;
            });
        }
        std::sort(connects.begin(), connects.end());
        for (const int ms : {1, 10, 100, 1000}) {
            const auto bound = std::max(limits.burst, 1u) + limits.per_second * ms / 1000.0;
            BOOST_TEST(static_cast<double>(most_within(connects, milliseconds(ms))) <= bound + 1e-6,
                       "seed " << seed << ", " << ms << " ms");
        }
    }
}
