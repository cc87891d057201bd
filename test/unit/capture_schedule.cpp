// The schedule of a captured run.
#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/capture_state.hpp>

#include <algorithm>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace holdfast;
using opencode::capture_state;
using news = capture_state::news;

namespace {

const time_point t0{seconds(1000)};
constexpr duration hour = minutes(60);
constexpr duration day = 24 * hour;
const endpoint here("http", "127.0.0.1", 4096);

const failure refused = make_failure(errc::refused);
const failure timed_out = make_failure(errc::exchange_timeout);
const failure unavailable = make_status_failure(500, "", std::nullopt);

retry::policy stretched(std::vector<retry::stretch> stretches, retry::jitter jitter = retry::jitter::none) {
    auto policy = retry::capture();
    policy.stretches = std::move(stretches);
    policy.jitter = jitter;
    return policy;
}

long long in_s(duration d) {
    return std::chrono::duration_cast<seconds>(d).count();
}

/// A run that is tried as soon as it may be.
struct captured {
    explicit captured(retry::policy policy = retry::capture()) : state(std::move(policy)) { state.at(here); }

    capture_state::verdict fail(const failure& f) { return state.failed(f, now, random()); }

    /// The delays after each failure, in seconds.
    std::vector<long long> delays(const failure& f, std::size_t count) {
        std::vector<long long> all;
        while (all.size() < count) {
            const auto delay = fail(f).delay;
            all.push_back(in_s(delay));
            now += delay;
        }
        return all;
    }

    /// How often it is tried in so long a time, all in vain, on a tick of 5 s.
    std::size_t attempts_within(duration span, const failure& f) {
        std::size_t attempts = 0;
        for (const auto end = now + span; now < end; now += to_next_tick()) {
            BOOST_TEST_REQUIRE(state.may_try(now));
            ++attempts;
            fail(f);
        }
        return attempts;
    }

    /// The first tick at which it may be tried again.
    [[nodiscard]] duration to_next_tick() const {
        const duration tick = seconds(5);
        return (state.next_try() - now + tick - duration(1)) / tick * tick;
    }

    capture_state state;
    time_point now = t0;
    std::mt19937_64 random{1};
};

using longs = std::vector<long long>;

void check(const longs& got, const longs& wanted) {
    BOOST_TEST(got == wanted, boost::test_tools::per_element());
}

} // namespace

namespace holdfast::opencode {
std::ostream& boost_test_print_type(std::ostream& to, news what) {
    return to << (what == news::first ? "first" : what == news::changed ? "changed" : "repeat");
}
} // namespace holdfast::opencode

BOOST_AUTO_TEST_CASE(without_state_nothing_is_skipped) {
    const capture_state state;
    for (const auto now : {time_point::min(), time_point{}, t0, time_point::max()})
        BOOST_TEST(state.may_try(now));
}

BOOST_AUTO_TEST_CASE(with_a_future_retry_time_it_is_skipped) {
    captured run;
    const auto due = t0 + run.fail(refused).delay;
    for (const auto now : {t0, t0 + seconds(1), due - seconds(1), due - duration(1)})
        BOOST_TEST(!run.state.may_try(now));
}

BOOST_AUTO_TEST_CASE(with_a_past_retry_time_it_is_not_skipped_nor_exactly_then) {
    captured run;
    const auto due = t0 + run.fail(refused).delay;
    BOOST_TEST((run.state.next_try() == due));
    for (const auto now : {due, due + duration(1), due + day})
        BOOST_TEST(run.state.may_try(now));
}

BOOST_AUTO_TEST_CASE(the_delays_grow_from_the_first_failure_to_the_cap) {
    check(captured().delays(timed_out, 7), {10, 20, 40, 60, 60, 60, 60});
    check(captured().delays(unavailable, 5), {10, 20, 40, 60, 60});
}

BOOST_AUTO_TEST_CASE(refused_connections_wait_twice_as_long_under_the_same_cap) {
    check(captured().delays(refused, 6), {20, 40, 60, 60, 60, 60});
}

BOOST_AUTO_TEST_CASE(the_cap_holds_for_ever) {
    for (const auto& f : {refused, timed_out}) {
        const auto delays = captured().delays(f, 5000);
        BOOST_TEST(*std::max_element(delays.begin(), delays.end()) == 60);
        BOOST_TEST(delays.back() == 60);
    }
}

BOOST_AUTO_TEST_CASE(the_first_error_sets_the_state) {
    captured run;
    BOOST_TEST(run.state.failures() == 0u);
    BOOST_TEST(!run.state.last().has_value());
    BOOST_TEST(!run.state.failing_since().has_value());
    run.fail(refused);
    BOOST_TEST(run.state.failures() == 1u);
    BOOST_TEST((run.state.failing_since() == t0));
    BOOST_TEST((run.state.last()->when == t0));
    BOOST_TEST((run.state.last()->why.cls == failure_class::refused));
    BOOST_TEST(run.state.last()->why.message == refused.message);
}

BOOST_AUTO_TEST_CASE(consecutive_errors_count_up) {
    captured run;
    for (unsigned n = 1; n <= 10; ++n) {
        run.fail(refused);
        BOOST_TEST(run.state.failures() == n);
        BOOST_TEST((run.state.last()->when == run.now));
        BOOST_TEST((run.state.failing_since() == t0));
        run.now += seconds(60);
    }
}

BOOST_AUTO_TEST_CASE(a_success_clears_all) {
    captured run;
    run.delays(refused, 4);
    run.state.succeeded();
    BOOST_TEST(run.state.failures() == 0u);
    BOOST_TEST(!run.state.last().has_value());
    BOOST_TEST(!run.state.failing_since().has_value());
    BOOST_TEST(run.state.may_try(time_point::min()));
    const auto next = run.fail(refused);
    BOOST_TEST(next.what == news::first);
    BOOST_TEST(in_s(next.delay) == 20);
}

BOOST_AUTO_TEST_CASE(a_success_without_a_failure_changes_nothing) {
    captured run;
    run.state.succeeded();
    BOOST_TEST(run.state.may_try(t0));
    check(run.delays(timed_out, 2), {10, 20});
}

BOOST_AUTO_TEST_CASE(refused_is_recognised_by_its_code_however_it_is_wrapped_and_never_by_its_text) {
    const result<int> wrapped = make_failure(errc::refused, "GET /session/ses_1/message");
    const result<std::string> wrapped_again = wrapped.error();
    for (const auto& f : {refused, wrapped.error(), wrapped_again.error()})
        BOOST_TEST(in_s(captured().fail(f).delay) == 20, f.message);
    auto by_text = timed_out;
    by_text.message = "dial tcp 127.0.0.1:4096: connect: connection refused";
    BOOST_TEST(in_s(captured().fail(by_text).delay) == 10);
}

BOOST_AUTO_TEST_CASE(first_and_changed_errors_are_news_and_repeats_are_not) {
    captured run;
    struct row {
        failure f;
        news what;
    };
    auto other_text = refused;
    other_text.message = "from port 54321";
    for (const auto& each :
         {row{refused, news::first}, row{refused, news::repeat}, row{other_text, news::repeat},
          row{timed_out, news::changed}, row{timed_out, news::repeat}, row{refused, news::changed}})
        BOOST_TEST(run.fail(each.f).what == each.what);
}

BOOST_AUTO_TEST_CASE(a_change_of_class_goes_on_counting_and_the_last_class_decides_the_delay) {
    captured run;
    longs got;
    for (const auto& f : {timed_out, refused, timed_out, refused, timed_out, timed_out})
        got.push_back(in_s(run.fail(f).delay));
    check(got, {10, 40, 40, 60, 60, 60});
}

BOOST_AUTO_TEST_CASE(another_endpoint_clears_all_and_the_same_one_nothing) {
    for (const auto& [where, cleared] : {std::pair{here, false},
                                         {endpoint("http", "127.0.0.1", 4097), true},
                                         {endpoint("http", "localhost", 4096), true},
                                         {endpoint("https", "127.0.0.1", 4096), true}}) {
        captured run;
        run.delays(refused, 3);
        run.state.at(where);
        BOOST_TEST(run.state.may_try(t0) == cleared);
        BOOST_TEST(run.state.failures() == (cleared ? 0u : 3u));
        BOOST_TEST(run.state.last().has_value() == !cleared);
        const auto next = run.fail(refused);
        BOOST_TEST(next.what == (cleared ? news::first : news::repeat));
        BOOST_TEST(in_s(next.delay) == (cleared ? 20 : 60));
    }
}

BOOST_AUTO_TEST_CASE(the_first_endpoint_is_no_change) {
    capture_state state;
    state.failed(refused, t0, 0);
    state.at(here);
    BOOST_TEST(state.failures() == 1u);
}

BOOST_AUTO_TEST_CASE(a_wake_lets_it_be_tried_at_once_and_the_schedule_begin_anew) {
    captured run;
    run.delays(refused, 5);
    run.fail(refused);
    BOOST_TEST(!run.state.may_try(run.now));
    run.state.wake();
    BOOST_TEST(run.state.may_try(run.now));
    BOOST_TEST(run.state.failures() == 0u);
    BOOST_TEST(!run.state.failing_since().has_value());
    BOOST_TEST(run.state.last().has_value());
    const auto next = run.fail(refused);
    BOOST_TEST(next.what == news::repeat);
    BOOST_TEST(in_s(next.delay) == 20);
}

BOOST_AUTO_TEST_CASE(what_waiting_does_not_heal_stops_it_until_it_is_woken_or_moves_or_succeeds) {
    for (const int status : {400, 401, 403, 404, 410}) {
        captured run;
        const auto f = make_status_failure(status, "no", std::nullopt);
        BOOST_TEST(run.fail(f).stop, status);
        BOOST_TEST(!run.state.may_try(t0 + 365 * day), status);
        auto woken = run.state;
        woken.wake();
        BOOST_TEST(woken.may_try(t0));
        auto moved = run.state;
        moved.at(endpoint("http", "127.0.0.1", 5000));
        BOOST_TEST(moved.may_try(t0));
        run.state.succeeded();
        BOOST_TEST(run.state.may_try(t0));
    }
}

BOOST_AUTO_TEST_CASE(what_waiting_may_heal_does_not_stop_it) {
    for (const int status : {408, 425, 429, 500, 502, 503, 504})
        BOOST_TEST(!captured().fail(make_status_failure(status, "", std::nullopt)).stop, status);
}

BOOST_AUTO_TEST_CASE(an_answer_that_makes_no_sense_is_waited_for_as_any_failure_and_told_as_what_it_is) {
    for (const auto code : {errc::bad_content_type, errc::malformed, errc::body_too_large}) {
        captured run;
        const auto f = make_failure(code, {}, true);
        check(run.delays(f, 5), {10, 20, 40, 60, 60});
        BOOST_TEST((run.state.last()->why == f), f.message);
    }
}

BOOST_AUTO_TEST_CASE(retry_after_is_heeded) {
    captured run;
    BOOST_TEST(in_s(run.fail(make_status_failure(429, "", seconds(90))).delay) == 90);
    BOOST_TEST(in_s(run.fail(make_status_failure(503, "", seconds(1))).delay) == 20);
}

BOOST_AUTO_TEST_CASE(what_the_server_said_is_not_kept) {
    captured run;
    auto f = make_status_failure(500, std::string(4000, 'x'), std::nullopt, {{"a", "b"}});
    run.fail(f);
    BOOST_TEST(run.state.last()->why.status == 500);
    BOOST_TEST(run.state.last()->why.body.empty());
    BOOST_TEST(run.state.last()->why.headers.empty());
}

BOOST_AUTO_TEST_CASE(jitter_is_an_option_and_only_shortens) {
    const longs exact{20, 40, 60, 60, 60, 60};
    std::set<longs> different;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        captured run(stretched({}, retry::jitter::equal));
        run.random.seed(seed);
        const auto got = run.delays(refused, exact.size());
        for (std::size_t n = 0; n < exact.size(); ++n)
            BOOST_TEST((got[n] >= exact[n] / 2 && got[n] <= exact[n]));
        different.insert(got);
    }
    BOOST_TEST(different.size() > 40u);
}

// --- long outages

BOOST_AUTO_TEST_CASE(a_long_outage_leaves_the_first_hour_exact_then_waits_2_minutes_and_after_six_hours_5) {
    const captured run(stretched(retry::long_outage_stretches()));
    for (const auto& [age, delay] : {std::pair{60 * 60 - 1, 60},
                                     {60 * 60, 120},
                                     {6 * 60 * 60 - 1, 120},
                                     {6 * 60 * 60, 300},
                                     {48 * 60 * 60, 300}}) {
        captured one = run;
        one.delays(refused, 5);
        one.now = t0 + seconds(age);
        BOOST_TEST(in_s(one.fail(refused).delay) == delay, age);
    }
}

BOOST_AUTO_TEST_CASE(hourly_leaves_the_first_hour_exact_then_waits_5_minutes_and_after_six_hours_20) {
    captured run(stretched(retry::hourly_stretches()));
    for (const auto& [age, delay] : {std::pair{60 * 60 - 1, 60},
                                     {60 * 60, 300},
                                     {6 * 60 * 60 - 1, 300},
                                     {6 * 60 * 60, 1200},
                                     {48 * 60 * 60, 1200}}) {
        captured one = run;
        one.delays(refused, 5);
        one.now = t0 + seconds(age);
        BOOST_TEST(in_s(one.fail(refused).delay) == delay, age);
    }
}

BOOST_AUTO_TEST_CASE(a_success_a_wake_and_a_move_end_the_stretch) {
    const auto end_it = {+[](capture_state& state) { state.succeeded(); },
                         +[](capture_state& state) { state.wake(); },
                         +[](capture_state& state) {
                             state.at(endpoint("http", "b.test", 1));
                         }};
    for (const auto& stretches : {retry::long_outage_stretches(), retry::hourly_stretches()})
        for (const auto end : end_it) {
            captured run(stretched(stretches));
            run.attempts_within(7 * hour, refused);
            BOOST_TEST(in_s(run.fail(refused).delay) >= 300);
            end(run.state);
            BOOST_TEST(run.state.may_try(run.now));
            check(run.delays(refused, 3), {20, 40, 60});
        }
}

BOOST_AUTO_TEST_CASE(a_stretch_never_shortens_a_delay) {
    captured run(stretched({{duration::zero(), seconds(1)}}));
    check(run.delays(refused, 3), {20, 40, 60});
    BOOST_TEST(in_s(run.fail(make_status_failure(503, "", minutes(9))).delay) == 540);
}

BOOST_AUTO_TEST_CASE(a_day_of_a_thousand_dead_ports_makes_at_most_500_probes_of_each) {
    for (const auto jitter : {retry::jitter::none, retry::jitter::equal})
        for (const auto& f : {refused, timed_out})
            for (std::uint64_t seed = 0; seed < 200; ++seed) {
                captured run(stretched(retry::long_outage_stretches(), jitter));
                run.random.seed(seed);
                BOOST_TEST_REQUIRE(run.attempts_within(day, f) <= 500u, f.message);
            }
}

BOOST_AUTO_TEST_CASE(not_even_the_shortest_delays_that_jitter_can_draw_make_more_than_500_probes) {
    for (const auto& f : {refused, timed_out}) {
        capture_state state(stretched(retry::long_outage_stretches(), retry::jitter::equal));
        std::size_t attempts = 0;
        for (auto now = t0; now < t0 + day; now = state.next_try(), ++attempts)
            state.failed(f, now, 0);
        BOOST_TEST(attempts <= 500u, f.message << attempts);
    }
}

BOOST_AUTO_TEST_CASE(how_many_probes_a_day_takes_by_policy) {
    struct row {
        std::vector<retry::stretch> stretches;
        std::size_t refused, timed_out;
    };
    for (const auto& each : {row{{}, 1441, 1442}, row{retry::hourly_stretches(), 175, 176},
                             row{retry::long_outage_stretches(), 427, 428}}) {
        BOOST_TEST(captured(stretched(each.stretches)).attempts_within(day, refused) == each.refused);
        BOOST_TEST(captured(stretched(each.stretches)).attempts_within(day, timed_out) == each.timed_out);
    }
}
