// What a life was worth: health, the guard against hammering, and what a server asks by retry:.
#include <boost/test/unit_test.hpp>

#include <holdfast/retry/policy.hpp>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

using namespace holdfast;
using namespace holdfast::retry;

namespace {

const failure ended = make_failure(errc::ended, {}, true);
const failure early = make_failure(errc::early_end, {}, true);
const failure cut = make_failure(errc::cut, {}, true);
const failure stalled = make_failure(errc::stalled, {}, true);
const failure refused = make_failure(errc::refused);
constexpr time_point t0{};

schedule::decision end(schedule& s, const failure& f, const life& was, std::uint64_t random = 0) {
    return s.on_end(f, was, t0, random);
}

void same(const schedule::decision& got, duration delay, unsigned attempt) {
    BOOST_TEST(!got.give_up);
    BOOST_TEST(to_ms(got.delay) == to_ms(delay));
    BOOST_TEST(got.attempt == attempt);
}

policy spread_by(jitter kind) {
    policy p;
    p.jitter = kind;
    return p;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_life_is_healthy_by_progress_by_its_length_or_by_a_clean_end_late_enough) {
    const policy p;
    struct row {
        life was;
        bool clean, cut;
    };
    for (const row& each : std::vector<row>{{life(), false, false},
                                            {life(duration(0), true), true, true},
                                            {life(milliseconds(4999)), false, false},
                                            {life(seconds(5)), true, false},
                                            {life(milliseconds(59999)), true, false},
                                            {life(seconds(60)), true, true}}) {
        BOOST_TEST(is_healthy(p, each.was, true) == each.clean, to_ms(each.was.lived));
        BOOST_TEST(is_healthy(p, each.was, false) == each.cut, to_ms(each.was.lived));
    }
    policy never;
    never.stable_after = duration::zero();
    BOOST_TEST(!is_healthy(never, life(seconds(3600)), false));
}

BOOST_AUTO_TEST_CASE(a_failure_after_progress_is_the_first_of_a_new_run) {
    for (const auto& f : {cut, stalled, make_status_failure(503, "", {})}) {
        schedule s(session_stream());
        for (int i = 0; i < 6; ++i)
            end(s, refused, {});
        for (int i = 0; i < 1000; ++i)
            same(end(s, f, life(seconds(2), true)), seconds(1), 2);
        BOOST_TEST((s.failing_since() == t0));
        // From there on as ever.
        unsigned next = 3;
        for (const int wait : {2, 4, 8, 16, 30})
            same(end(s, refused, {}), seconds(wait), next++);
        BOOST_TEST(end(s, refused, {}).give_up);
    }
}

BOOST_AUTO_TEST_CASE(a_head_alone_is_given_up_at_the_seventh_failure_whatever_the_server_asks) {
    for (const auto asked : {duration::zero(), duration(milliseconds(300)), duration(minutes(60))})
        for (const auto& f : {early, cut, stalled}) {
            schedule s(session_stream());
            s.server_retry(asked);
            for (int i = 0; i < 6; ++i)
                BOOST_TEST(!end(s, f, life(duration(0))).give_up);
            BOOST_TEST(end(s, f, life(duration(0))).give_up);
        }
}

BOOST_AUTO_TEST_CASE(what_is_final_is_final_also_after_progress) {
    schedule s(session_stream());
    BOOST_TEST(end(s, make_failure(errc::event_too_large), life(seconds(2), true)).give_up);
}

BOOST_AUTO_TEST_CASE(without_attempts_progress_is_followed_by_a_clean_end_alone) {
    policy p;
    p.max_attempts = 0;
    schedule s(p);
    same(end(s, ended, life(duration(0), true)), seconds(1), 1);
    BOOST_TEST(end(s, cut, life(seconds(2), true)).give_up);
}

// --- the guard

BOOST_AUTO_TEST_CASE(lives_with_progress_that_are_too_short_wait_ever_longer_and_are_never_given_up) {
    for (const auto& f : {ended, cut}) {
        schedule s(session_stream());
        const unsigned next = f == ended ? 1 : 2;
        for (const int wait : {1, 2, 4, 8, 16, 30, 30})
            same(end(s, f, life(milliseconds(999), true)), seconds(wait), next);
        for (int i = 0; i < 100000; ++i)
            same(end(s, f, life(duration(0), true)), seconds(30), next);
        same(end(s, f, life(seconds(1), true)), seconds(1), next); // one longer life clears it
        same(end(s, f, life(duration(0), true)), seconds(1), next);
        same(end(s, f, life(duration(0), true)), seconds(2), next);
    }
}

BOOST_AUTO_TEST_CASE(what_fails_between_short_lives_neither_clears_the_guard_nor_waits_by_it) {
    schedule s(session_stream());
    for (int i = 0; i < 4; ++i)
        end(s, cut, life(duration(0), true));
    same(end(s, refused, {}), seconds(2), 3);
    same(end(s, early, life(duration(0))), seconds(4), 4);
    same(end(s, cut, life(duration(0), true)), seconds(16), 2);
    s.reset(); // a wake() does not, either
    same(end(s, cut, life(duration(0), true)), seconds(30), 2);
}

BOOST_AUTO_TEST_CASE(a_longer_life_without_progress_clears_the_guard_too) {
    schedule s(session_stream());
    for (int i = 0; i < 4; ++i)
        end(s, ended, life(duration(0), true));
    end(s, cut, life(seconds(1)));
    same(end(s, ended, life(duration(0), true)), seconds(1), 1);
}

BOOST_AUTO_TEST_CASE(the_guard_is_off_where_the_server_asked_for_a_wait_and_on_where_that_is_ignored) {
    schedule asked(session_stream());
    asked.server_retry(milliseconds(300));
    for (int i = 0; i < 100; ++i) {
        same(end(asked, ended, life(duration(0), true)), milliseconds(300), 1);
        same(end(asked, cut, life(duration(0), true)), seconds(1), 2);
    }
    policy p;
    p.heed_retry_field = false;
    schedule ignored(p);
    ignored.server_retry(milliseconds(300));
    end(ignored, ended, life(duration(0), true));
    same(end(ignored, ended, life(duration(0), true)), seconds(2), 1);
}

BOOST_AUTO_TEST_CASE(the_guard_gives_nothing_up_by_the_elapsed_time) {
    policy p;
    p.max_elapsed = seconds(3);
    schedule s(p);
    for (const int wait : {1, 2, 4, 8, 16, 30, 30})
        same(end(s, cut, life(duration(0), true)), seconds(wait), 2);
}

BOOST_AUTO_TEST_CASE(the_guard_is_spread_as_any_delay) {
    std::mt19937_64 random(7);
    for (const auto kind : {jitter::equal, jitter::full}) {
        schedule s(spread_by(kind));
        duration exact = seconds(1), longest{};
        for (int i = 0; i < 1000; ++i) {
            const auto delay = end(s, ended, life(duration(0), true), random()).delay;
            BOOST_TEST_REQUIRE(
                (delay <= exact && delay >= (kind == jitter::equal ? exact / 2 : duration(0))));
            longest = std::max(longest, delay);
            exact = std::min<duration>(exact * 2, seconds(30));
        }
        BOOST_TEST((longest > seconds(29)));
    }
}

BOOST_AUTO_TEST_CASE(a_base_delay_of_zero_has_no_guard) {
    policy p;
    p.base_delay = duration::zero();
    schedule s(p);
    for (int i = 0; i < 10; ++i)
        same(end(s, ended, life(duration(0), true)), duration::zero(), 1);
}

// --- what the server asks

BOOST_AUTO_TEST_CASE(jitter_only_lengthens_what_the_server_asks) {
    std::mt19937_64 random(8);
    for (const auto kind : {jitter::none, jitter::equal, jitter::full}) {
        schedule s(spread_by(kind));
        s.server_retry(seconds(10));
        duration least = duration::max(), most{};
        for (int i = 0; i < 20000; ++i) {
            const auto clean = end(s, ended, life(seconds(5)), random()).delay;
            const auto failed = end(s, cut, life(seconds(5), true), random()).delay;
            BOOST_TEST_REQUIRE((failed >= seconds(10) && failed <= seconds(20)));
            least = std::min(least, clean);
            most = std::max(most, clean);
        }
        BOOST_TEST((least >= seconds(10) && least < milliseconds(10010)));
        const auto longest = kind == jitter::none    ? seconds(10)
                             : kind == jitter::equal ? seconds(15)
                                                     : seconds(20);
        BOOST_TEST((most <= longest && most > longest - milliseconds(10)));
    }
}

BOOST_AUTO_TEST_CASE(what_a_server_asks_beyond_all_bounds_is_capped_and_never_overflows) {
    for (const auto kind : {jitter::none, jitter::equal, jitter::full})
        for (const auto random : {std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max()}) {
            auto p = spread_by(kind);
            p.max_retry_after = duration::max();
            schedule s(p);
            s.server_retry(duration::max());
            BOOST_TEST((end(s, ended, life(seconds(5)), random).delay == duration::max()));
            auto capped = schedule(spread_by(kind));
            capped.server_retry(duration::max());
            const auto delay = end(capped, ended, life(seconds(5)), random).delay;
            BOOST_TEST((delay >= minutes(10) && delay <= minutes(20)));
        }
}

BOOST_AUTO_TEST_CASE(a_wait_that_was_asked_adds_to_no_other_but_the_longest_counts) {
    schedule s(session_stream());
    s.server_retry(seconds(7));
    same(end(s, make_status_failure(503, "", seconds(5)), {}), seconds(7), 2);
    same(end(s, make_status_failure(503, "", seconds(40)), {}), seconds(40), 3);
    s.server_retry(milliseconds(50)); // the last counts
    same(end(s, refused, {}), seconds(4), 4);
}

BOOST_AUTO_TEST_CASE(a_new_endpoint_owes_nothing_to_what_the_last_one_asked_or_did) {
    schedule s(session_stream());
    s.on_open();
    s.server_retry(minutes(5));
    end(s, cut, life(duration(0), true));
    s.at_new_endpoint();
    BOOST_TEST(s.attempt() == 1u);
    same(end(s, ended, life(seconds(5))), seconds(1), 1);
    for (int i = 0; i < 4; ++i)
        end(s, ended, life(duration(0), true));
    s.at_new_endpoint();
    same(end(s, ended, life(duration(0), true)), seconds(1), 1);
    // A wake is at the same endpoint.
    s.server_retry(minutes(5));
    s.reset();
    same(end(s, ended, life(seconds(5))), minutes(5), 1);
}
