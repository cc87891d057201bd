#include <boost/test/unit_test.hpp>

#include <holdfast/retry/policy.hpp>

#include <algorithm>
#include <functional>
#include <random>
#include <utility>
#include <vector>

using namespace holdfast;
using namespace holdfast::retry;

namespace {

const failure refused = make_failure(errc::refused);
const failure ended = make_failure(errc::ended, {}, true);
constexpr duration no_life{};

constexpr time_point t0{};

schedule::decision end(schedule& s, const failure& f = refused, duration lived = no_life) {
    return s.on_end(f, lived, t0, 0);
}

schedule::decision end_at(schedule& s, duration since_t0, const failure& f = refused) {
    return s.on_end(f, no_life, t0 + since_t0, 0);
}

void same(const schedule::decision& got, const schedule::decision& wanted) {
    BOOST_TEST(got.give_up == wanted.give_up);
    BOOST_TEST(to_ms(got.delay) == to_ms(wanted.delay));
    BOOST_TEST(got.attempt == wanted.attempt);
    BOOST_TEST((got == wanted));
}

schedule::decision again(duration delay, unsigned attempt) {
    return {false, delay, attempt};
}
schedule::decision give_up(unsigned attempt) {
    return {true, duration::zero(), attempt};
}

policy unlimited_policy() {
    policy p;
    p.max_attempts = unlimited;
    return p;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_session_stream_waits_1_2_4_8_16_30_seconds_and_gives_up_at_the_seventh_failure) {
    schedule s(session_stream());
    BOOST_TEST(s.attempt() == 1u);
    unsigned next = 2;
    for (const int wait : {1, 2, 4, 8, 16, 30})
        same(end(s), again(seconds(wait), next++));
    same(end(s), give_up(7));
}

BOOST_AUTO_TEST_CASE(the_delay_doubles_up_to_its_cap_and_never_shrinks) {
    const policy p = unlimited_policy();
    duration last{};
    for (unsigned failures = 1; failures < 200; ++failures) {
        const duration delay = delay_after(p, failures).value();
        BOOST_TEST((delay >= last && delay <= p.max_delay));
        last = delay;
    }
    BOOST_TEST((last == p.max_delay));
}

BOOST_AUTO_TEST_CASE(the_exponent_saturates_for_any_policy_and_any_count) {
    std::mt19937_64 random(1);
    for (int i = 0; i < 10000; ++i) {
        policy p = unlimited_policy();
        p.base_delay = duration(static_cast<duration::rep>(random() >> (1 + random() % 63)));
        p.max_delay = duration(static_cast<duration::rep>(random() >> (1 + random() % 63)));
        const auto failures = static_cast<unsigned>(random() >> (32 + random() % 32));
        const auto delay = delay_after(p, std::min(failures, unlimited - 1));
        BOOST_TEST_REQUIRE(delay.has_value());
        BOOST_TEST_REQUIRE((*delay >= std::min(p.base_delay, p.max_delay) && *delay <= p.max_delay));
    }
}

BOOST_AUTO_TEST_CASE(a_refused_connection_waits_the_factor_times_as_long_but_never_longer_than_the_cap) {
    policy p = unlimited_policy();
    p.refused_factor = 3;
    for (unsigned failures = 1; failures < 100; ++failures) {
        const auto plain = delay_after(p, failures).value();
        const auto refused = delay_after(p, failures, failure_class::refused).value();
        BOOST_TEST_REQUIRE((refused == std::min(p.max_delay, plain * 3)));
        BOOST_TEST_REQUIRE((delay_after(p, failures, failure_class::timeout) == plain));
    }
}

BOOST_AUTO_TEST_CASE(zero_failures_wait_the_base_delay_and_never_give_up) {
    policy p;
    p.max_attempts = 0;
    BOOST_TEST((delay_after(p, 0) == p.base_delay));
}

BOOST_AUTO_TEST_CASE(a_base_delay_of_zero_stays_zero) {
    policy p = unlimited_policy();
    p.base_delay = duration::zero();
    BOOST_TEST((delay_after(p, unlimited - 1) == duration::zero()));
}

BOOST_AUTO_TEST_CASE(without_attempts_the_first_failure_gives_up) {
    policy p;
    p.max_attempts = 0;
    schedule s(p);
    same(end(s), give_up(1));
}

BOOST_AUTO_TEST_CASE(without_a_limit_it_never_gives_up) {
    schedule s(unlimited_policy());
    for (unsigned i = 1; i <= 100000; ++i) {
        const auto d = end(s);
        BOOST_TEST_REQUIRE(!d.give_up);
        BOOST_TEST_REQUIRE(d.attempt == i + 1);
    }
}

BOOST_AUTO_TEST_CASE(any_number_of_retries_is_counted_exactly) {
    for (unsigned allowed = 0; allowed < 20; ++allowed) {
        policy p;
        p.max_attempts = allowed;
        schedule s(p);
        unsigned failures = 1;
        while (!end(s).give_up)
            ++failures;
        BOOST_TEST(failures == allowed + 1);
    }
}

BOOST_AUTO_TEST_CASE(a_healthy_end_resets_the_count_and_waits_the_base_delay) {
    schedule s(session_stream());
    end(s);
    end(s);
    same(end(s, ended, seconds(5)), again(seconds(1), 1));
    BOOST_TEST(s.failures() == 0u);
    same(end(s), again(seconds(1), 2));
}

BOOST_AUTO_TEST_CASE(healthy_ends_never_give_up) {
    policy p;
    p.max_attempts = 0;
    schedule s(p);
    for (int i = 0; i < 100; ++i)
        same(end(s, ended, seconds(5)), again(seconds(1), 1));
}

BOOST_AUTO_TEST_CASE(early_ends_count_as_failures) {
    schedule s(session_stream());
    const failure early = make_failure(errc::early_end, {}, true);
    for (int i = 0; i < 6; ++i)
        BOOST_TEST(!end(s, early, milliseconds(4999)).give_up);
    same(end(s, early, milliseconds(4999)), give_up(7));
}

BOOST_AUTO_TEST_CASE(a_stable_life_resets_the_count_before_its_failure_is_counted) {
    schedule s(session_stream());
    const failure cut = make_failure(errc::cut, {}, true);
    for (int i = 0; i < 6; ++i)
        end(s);
    same(end(s, cut, seconds(60)), again(seconds(1), 2));
}

BOOST_AUTO_TEST_CASE(a_shorter_life_resets_nothing) {
    schedule s(session_stream());
    for (int i = 0; i < 6; ++i)
        end(s);
    same(end(s, make_failure(errc::cut), milliseconds(59999)), give_up(7));
}

BOOST_AUTO_TEST_CASE(a_stable_time_of_zero_is_off) {
    policy p;
    p.stable_after = duration::zero();
    p.max_attempts = 1;
    schedule s(p);
    end(s);
    same(end(s, refused, seconds(3600)), give_up(2));
}

BOOST_AUTO_TEST_CASE(a_final_failure_gives_up_at_once_and_names_its_attempt) {
    schedule first(session_stream());
    same(end(first, make_status_failure(401, "", {})), give_up(1));
    schedule third(unlimited_policy());
    end(third);
    end(third);
    same(end(third, make_failure(errc::bad_content_type)), give_up(3));
}

BOOST_AUTO_TEST_CASE(retry_after_is_honoured_from_the_computed_delay_up_to_its_cap) {
    struct row {
        seconds asked, delay;
    };
    for (const row& each : std::vector<row>{{seconds(0), seconds(1)},
                                            {seconds(1), seconds(1)},
                                            {seconds(45), seconds(45)},
                                            {seconds(600), seconds(600)},
                                            {seconds(601), seconds(600)}}) {
        schedule s(session_stream());
        same(end(s, make_status_failure(429, "", each.asked)), again(each.delay, 2));
    }
}

BOOST_AUTO_TEST_CASE(retry_after_holds_once_and_counts_as_any_failure) {
    schedule s(session_stream());
    end(s, make_status_failure(503, "", seconds(100)));
    same(end(s), again(seconds(2), 3));
}

BOOST_AUTO_TEST_CASE(retry_after_is_never_undercut_by_jitter) {
    std::mt19937_64 random(2);
    policy p = unlimited_policy();
    p.jitter = jitter::full;
    schedule s(p);
    for (int i = 0; i < 1000; ++i)
        BOOST_TEST_REQUIRE((
            s.on_end(make_status_failure(429, "", seconds(40)), no_life, t0, random()).delay == seconds(40)));
}

BOOST_AUTO_TEST_CASE(what_the_server_asks_is_the_wait_after_health_and_the_least_wait_after_a_failure) {
    struct row {
        duration asked, heeded;
    };
    const std::vector<row> rows{{milliseconds(0), milliseconds(10)},
                                {milliseconds(9), milliseconds(10)},
                                {milliseconds(250), milliseconds(250)},
                                {seconds(30), seconds(30)},
                                {seconds(31), seconds(31)},
                                {minutes(10), minutes(10)},
                                {minutes(11), minutes(10)},
                                {duration::max(), minutes(10)}};
    for (const row& each : rows) {
        schedule s(session_stream());
        s.server_retry(each.asked);
        unsigned next = 2;
        for (const int wait : {1, 2, 4, 8, 16, 30}) // it changes neither patience nor growth
            same(end(s), again(std::max<duration>(each.heeded, seconds(wait)), next++));
        same(end(s), give_up(7));
        same(end(s, ended, seconds(5)), again(each.heeded, 1));
    }
}

BOOST_AUTO_TEST_CASE(a_reset_starts_the_count_over) {
    schedule s(session_stream());
    for (int i = 0; i < 6; ++i)
        end(s);
    s.reset();
    BOOST_TEST(s.attempt() == 1u);
    same(end(s), again(seconds(1), 2));
}

BOOST_AUTO_TEST_CASE(jitter_spreads_over_its_whole_range_and_never_beyond) {
    struct row {
        jitter kind;
        duration low;
    };
    for (const row& each : std::vector<row>{{jitter::full, duration(0)}, {jitter::equal, duration(50)}}) {
        std::mt19937_64 random(3);
        duration least = duration::max(), most{};
        for (int i = 0; i < 20000; ++i) {
            const duration d = spread(duration(100), each.kind, random());
            least = std::min(least, d);
            most = std::max(most, d);
        }
        BOOST_TEST((least == each.low));
        BOOST_TEST((most == duration(100)));
    }
}

BOOST_AUTO_TEST_CASE(without_jitter_delays_are_exact) {
    BOOST_TEST((spread(seconds(8), jitter::none, 0x123456789abcdefu) == seconds(8)));
}

BOOST_AUTO_TEST_CASE(the_longest_delay_can_be_spread) {
    for (const auto kind : {jitter::none, jitter::equal, jitter::full}) {
        const duration d = spread(duration::max(), kind, ~std::uint64_t{0});
        BOOST_TEST((d >= duration::zero()));
    }
}

BOOST_AUTO_TEST_CASE(every_delay_of_a_jittered_schedule_stays_within_the_exact_one) {
    std::mt19937_64 random(4);
    for (const auto kind : {jitter::equal, jitter::full}) {
        policy p = unlimited_policy();
        p.jitter = kind;
        schedule s(p);
        for (unsigned n = 1; n < 100; ++n) {
            const duration exact = delay_after(p, n).value();
            const duration d = s.on_end(refused, no_life, t0, random()).delay;
            BOOST_TEST_REQUIRE((d <= exact && d >= (kind == jitter::equal ? exact / 2 : duration::zero())));
        }
    }
}

BOOST_AUTO_TEST_CASE(a_delay_is_doubled_exactly_as_long_as_that_does_not_pass_the_cap) {
    policy p;
    p.base_delay = seconds(12);
    p.max_delay = seconds(30);
    p.max_attempts = unlimited;
    BOOST_TEST((delay_after(p, 1) == seconds(12)));
    BOOST_TEST((delay_after(p, 2) == seconds(24)));
    BOOST_TEST((delay_after(p, 3) == seconds(30)));
    p.max_delay = seconds(24);
    BOOST_TEST((delay_after(p, 2) == seconds(24)));
    p.max_delay = seconds(23);
    BOOST_TEST((delay_after(p, 2) == seconds(23)));
}

BOOST_AUTO_TEST_CASE(a_jitter_that_is_none_of_its_kinds_changes_nothing) {
    BOOST_TEST((spread(seconds(7), static_cast<jitter>(99), 3) == seconds(7)));
}

BOOST_AUTO_TEST_CASE(a_delay_that_is_not_positive_is_not_spread) {
    for (const auto kind : {jitter::none, jitter::equal, jitter::full})
        for (const auto delay : {duration::zero(), duration(-1), duration(seconds(-5)), duration::min()})
            for (const std::uint64_t random : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}})
                BOOST_TEST((spread(delay, kind, random) == delay));
}

// --- policies as values

BOOST_AUTO_TEST_CASE(an_elapsed_limit_gives_up_where_the_next_attempt_would_come_after_it) {
    policy p = unlimited_policy();
    p.max_elapsed = seconds(10);
    schedule s(p);
    same(end_at(s, seconds(100)), again(seconds(1), 2));
    same(end_at(s, seconds(101)), again(seconds(2), 3));
    same(end_at(s, seconds(103)), again(seconds(4), 4));
    same(end_at(s, seconds(107)), give_up(4)); // the next one would be after 15 s
}

BOOST_AUTO_TEST_CASE(an_elapsed_limit_that_is_just_met_is_kept) {
    policy p = unlimited_policy();
    p.max_elapsed = seconds(3);
    schedule s(p);
    end_at(s, seconds(0));
    same(end_at(s, seconds(1)), again(seconds(2), 3));
    p.max_elapsed = seconds(3) - duration(1);
    schedule shorter(p);
    end_at(shorter, seconds(0));
    same(end_at(shorter, seconds(1)), give_up(2));
}

BOOST_AUTO_TEST_CASE(the_elapsed_time_counts_from_the_first_failure_of_a_run_alone) {
    policy p = unlimited_policy();
    p.max_elapsed = seconds(5);
    schedule s(p);
    end_at(s, seconds(0));
    s.on_end(ended, seconds(5), t0 + seconds(4), 0);
    same(end_at(s, seconds(1000)), again(seconds(1), 2));
    s.reset();
    same(end_at(s, seconds(2000)), again(seconds(1), 2));
    // A stable life ends the run before; its own end begins the next.
    same(s.on_end(make_failure(errc::cut, {}, true), seconds(60), t0 + seconds(3000), 0),
         again(seconds(1), 2));
    same(end_at(s, seconds(3004)), give_up(2));
}

BOOST_AUTO_TEST_CASE(a_healthy_end_has_no_elapsed_time) {
    policy p;
    p.max_elapsed = milliseconds(1);
    schedule s(p);
    same(s.on_end(ended, seconds(5), t0 + seconds(5), 0), again(seconds(1), 1));
}

BOOST_AUTO_TEST_CASE(what_the_server_asks_to_wait_counts_as_elapsed_time) {
    policy p = unlimited_policy();
    p.max_elapsed = seconds(30);
    schedule s(p);
    same(end_at(s, seconds(0), make_status_failure(429, "", seconds(31))), give_up(1));
}

BOOST_AUTO_TEST_CASE(statuses_are_final_or_not_as_the_policy_says) {
    policy p;
    p.statuses.final_too = {503, 429, 404};
    p.statuses.transient_too = {401, 404, 204};
    const std::vector<std::pair<int, bool>> rows{{503, true},  {429, true},  {401, false}, {204, false},
                                                 {404, true},  {403, true},  {500, false}, {302, true},
                                                 {408, false}, {502, false}, {501, false}};
    for (const auto& [status, final] : rows) {
        const auto f = make_status_failure(status, "", {});
        BOOST_TEST(is_final(p, f) == final, status);
        schedule s(p);
        BOOST_TEST(end(s, f).give_up == final, status);
    }
    BOOST_TEST(is_final(p, make_status_failure(503, "", seconds(1)))); // throttled is a status, too
}

BOOST_AUTO_TEST_CASE(rules_about_statuses_touch_no_other_failure) {
    policy p;
    p.statuses.final_too = {0, 200};
    p.statuses.transient_too = {0, 200};
    BOOST_TEST(!is_final(p, refused));
    failure wrong_type = make_failure(errc::bad_content_type, {}, true);
    wrong_type.status = 200;
    BOOST_TEST(is_final(p, wrong_type));
    p.statuses.final_too.clear();
    BOOST_TEST(is_final(p, wrong_type));
}

BOOST_AUTO_TEST_CASE(without_rules_a_policy_judges_as_is_final_does) {
    for (int status = 200; status < 600; ++status) {
        const auto f = make_status_failure(status, "", {});
        BOOST_TEST(is_final(policy(), f) == is_final(f), status);
    }
}

BOOST_AUTO_TEST_CASE(a_first_failure_is_the_last_where_asked_until_the_stream_was_open_once) {
    policy p;
    p.first_failure_final = true;
    schedule never(p);
    same(end(never), give_up(1));
    schedule once(p);
    once.on_open();
    same(end(once), again(seconds(1), 2));
    once.reset();
    same(end(once), again(seconds(1), 2));
}

BOOST_AUTO_TEST_CASE(the_servers_delay_is_ignored_where_asked) {
    policy p;
    p.heed_retry_field = false;
    schedule s(p);
    s.server_retry(seconds(20));
    same(end(s), again(seconds(1), 2));
}

// --- long outages

namespace {

constexpr duration day = minutes(24 * 60);

/// How often a day of one outage is attempted.
unsigned attempts_in_a_day(const policy& p, const failure& f, const std::function<std::uint64_t()>& random) {
    schedule s(p);
    unsigned attempts = 0;
    for (time_point now = t0; now < t0 + day; ++attempts)
        now += s.on_end(f, no_life, now, random()).delay;
    return attempts;
}

policy stretched(policy p, std::vector<stretch> stretches, retry::jitter kind = jitter::none) {
    p.max_attempts = unlimited;
    p.stretches = std::move(stretches);
    p.jitter = kind;
    return p;
}

} // namespace

BOOST_AUTO_TEST_CASE(no_preset_is_stretched) {
    for (const auto& p : {policy(), session_stream(), capture()})
        BOOST_TEST(p.stretches.empty());
}

BOOST_AUTO_TEST_CASE(stretches_rise) {
    for (const auto& all : {long_outage_stretches(), hourly_stretches()})
        BOOST_TEST(std::is_sorted(all.begin(), all.end(), [](const stretch& a, const stretch& b) {
            return a.from < b.from && a.every < b.every;
        }));
}

BOOST_AUTO_TEST_CASE(
    a_long_outage_is_tried_as_the_policy_says_for_an_hour_then_every_2_minutes_and_after_six_hours_every_5) {
    for (auto p : {session_stream(), capture()}) {
        p.max_delay = seconds(30);
        p = stretched(p, long_outage_stretches());
        for (const auto& [age, delay] : {std::pair{seconds(3599), seconds(30)},
                                         {seconds(3600), seconds(120)},
                                         {seconds(6 * 3600 - 1), seconds(120)},
                                         {seconds(6 * 3600), seconds(300)},
                                         {seconds(48 * 3600), seconds(300)}}) {
            schedule s(p);
            for (int n = 0; n < 7; ++n)
                end_at(s, duration::zero());
            BOOST_TEST((end_at(s, age).delay == delay), age.count());
        }
    }
}

BOOST_AUTO_TEST_CASE(the_last_stretch_that_an_outage_has_reached_is_its_shortest_delay) {
    struct row {
        duration age, delay;
    };
    const auto p = stretched(unlimited_policy(), {{seconds(10), seconds(40)}, {seconds(50), seconds(90)}});
    for (const row& each : std::vector<row>{{seconds(10) - duration(1), seconds(2)},
                                            {seconds(10), seconds(40)},
                                            {seconds(50) - duration(1), seconds(40)},
                                            {seconds(50), seconds(90)},
                                            {365 * day, seconds(90)}}) {
        schedule s(p);
        end_at(s, duration::zero());
        same(end_at(s, each.age), again(each.delay, 3));
    }
}

BOOST_AUTO_TEST_CASE(a_stretch_of_any_outage_holds_from_the_first_failure_on_but_not_after_health) {
    schedule s(stretched(session_stream(), {{duration::zero(), seconds(20)}}));
    same(end(s), again(seconds(20), 2));
    same(end(s, ended, seconds(5)), again(seconds(1), 1));
}

BOOST_AUTO_TEST_CASE(a_stretch_never_shortens_a_delay) {
    schedule s(stretched(session_stream(), {{duration::zero(), seconds(3)}}));
    for (const int wait : {3, 3, 4, 8, 16, 30, 30})
        BOOST_TEST((end(s).delay == seconds(wait)));
    BOOST_TEST((end(s, make_status_failure(503, "", seconds(100))).delay == seconds(100)));
}

BOOST_AUTO_TEST_CASE(a_stretch_is_not_spread) {
    std::mt19937_64 random(5);
    for (const auto kind : {jitter::equal, jitter::full}) {
        schedule s(stretched(session_stream(), {{duration::zero(), minutes(5)}}, kind));
        for (int i = 0; i < 100; ++i)
            BOOST_TEST_REQUIRE((s.on_end(refused, no_life, t0, random()).delay == minutes(5)));
    }
}

BOOST_AUTO_TEST_CASE(a_stretch_lasts_as_long_as_its_outage_and_a_reset_or_health_ends_it) {
    const auto p = stretched(session_stream(), {{seconds(10), minutes(5)}});
    const auto out_for_a_minute = [&] {
        schedule s(p);
        end_at(s, seconds(0));
        same(end_at(s, seconds(60)), again(minutes(5), 3));
        return s;
    };
    auto woken = out_for_a_minute();
    woken.reset();
    same(end_at(woken, seconds(61)), again(seconds(1), 2));
    auto healthy = out_for_a_minute();
    healthy.on_end(ended, seconds(5), t0 + seconds(66), 0);
    same(end_at(healthy, seconds(67)), again(seconds(1), 2));
    auto stable = out_for_a_minute();
    same(stable.on_end(make_failure(errc::cut, {}, true), seconds(60), t0 + seconds(120), 0),
         again(seconds(1), 2));
    auto brief = out_for_a_minute();
    same(brief.on_end(make_failure(errc::cut, {}, true), seconds(59), t0 + seconds(120), 0),
         again(minutes(5), 4));
}

BOOST_AUTO_TEST_CASE(a_stretch_ends_when_a_stream_is_had_however_short_it_lives) {
    schedule s(stretched(session_stream(), {{seconds(10), minutes(5)}}));
    end_at(s, seconds(0));
    same(end_at(s, seconds(10)), again(minutes(5), 3));
    s.on_open();
    same(s.on_end(make_failure(errc::cut, {}, true), seconds(1), t0 + seconds(11), 0), again(seconds(4), 4));
    same(end_at(s, seconds(21)), again(minutes(5), 5));
}

BOOST_AUTO_TEST_CASE(a_stretch_past_the_elapsed_limit_gives_up) {
    auto p = stretched(session_stream(), {{seconds(10), minutes(5)}});
    p.max_elapsed = minutes(5);
    schedule s(p);
    end_at(s, seconds(0));
    same(end_at(s, seconds(9)), again(seconds(2), 3));
    same(end_at(s, seconds(11)), give_up(3));
}

BOOST_AUTO_TEST_CASE(an_outage_is_stretched_to_the_end_of_time) {
    schedule s(stretched(session_stream(), {{duration::max(), minutes(5)}}));
    end_at(s, seconds(1));
    same(s.on_end(refused, no_life, time_point::max(), 0), again(minutes(5), 3));
}

BOOST_AUTO_TEST_CASE(a_run_of_failures_is_failing_since_its_first) {
    schedule s(session_stream());
    BOOST_TEST(!s.failing_since().has_value());
    for (const int at : {3, 4, 9}) {
        end_at(s, seconds(at));
        BOOST_TEST((s.failing_since() == t0 + seconds(3)));
    }
    s.reset();
    BOOST_TEST(!s.failing_since().has_value());
    end_at(s, seconds(20));
    BOOST_TEST((s.failing_since() == t0 + seconds(20)));
    end(s, ended, seconds(5));
    BOOST_TEST(!s.failing_since().has_value());
}

BOOST_AUTO_TEST_CASE(
    a_day_of_a_long_outage_makes_at_most_500_attempts_and_with_the_shortest_delays_of_jitter_610) {
    const auto shortest = [] {
        return std::uint64_t{0};
    };
    std::mt19937_64 random(6);
    for (const auto& preset : {session_stream(), capture()})
        for (const auto kind : {jitter::none, jitter::equal})
            for (const auto& f : {refused, make_failure(errc::cut)}) {
                const auto p = stretched(preset, long_outage_stretches(), kind);
                const auto most = kind == jitter::none ? 500u : 610u;
                BOOST_TEST(attempts_in_a_day(p, f, shortest) <= most);
                for (int i = 0; i < 100; ++i)
                    BOOST_TEST_REQUIRE(attempts_in_a_day(p, f, std::ref(random)) <= most);
            }
}

BOOST_AUTO_TEST_CASE(how_many_attempts_a_day_of_one_outage_takes) {
    struct row {
        policy preset;
        std::vector<stretch> stretches;
        failure f;
        unsigned attempts;
    };
    const failure cut = make_failure(errc::cut);
    for (const row& each : std::vector<row>{{session_stream(), {}, cut, 2884},
                                            {session_stream(), hourly_stretches(), cut, 238},
                                            {session_stream(), long_outage_stretches(), cut, 490},
                                            {capture(), {}, cut, 1442},
                                            {capture(), hourly_stretches(), cut, 176},
                                            {capture(), hourly_stretches(), refused, 175},
                                            {capture(), long_outage_stretches(), cut, 428},
                                            {capture(), long_outage_stretches(), refused, 427}})
        BOOST_TEST(attempts_in_a_day(stretched(each.preset, each.stretches), each.f, std::mt19937_64()) ==
                   each.attempts);
}
