// What the runtimes of one world share beside the breakers: the pace of connecting and retrying, and the
// counters.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"

#include <holdfast/runtime/task_scope.hpp>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace holdfast;
using kind = retry::endpoint_breaker::kind;

namespace {

const endpoint place{"http", "a.test", 80};
const endpoint elsewhere{"http", "b.test", 80};

shared_limits with_connects(unsigned per_second, unsigned burst) {
    shared_limits limits;
    limits.connects.per_second = per_second;
    limits.connects.burst = burst;
    return limits;
}

struct fixture {
    explicit fixture(shared_limits limits = {}) : world(1, limits) {}

    testing::world world;
    runtime& rt = world.rt();
    const time_point start = rt.now();
    task_scope scope{rt, [](std::exception_ptr) {
                         BOOST_ERROR("a child threw");
                     }};
    std::vector<long long> went; ///< milliseconds since the start
    unsigned rode = 0;

    net::awaitable<void> go(endpoint where, kind who = kind::stream) {
        auto pass = co_await rt.begin_attempt(std::move(where), who, rt.now(), false);
        if (pass.shared_failure())
            ++rode;
        else
            went.push_back(to_ms(rt.now() - start));
        pass.succeeded();
    }

    net::awaitable<void> go_and_fail(endpoint where, failure why) {
        auto pass = co_await rt.begin_attempt(std::move(where), kind::stream, rt.now(), false);
        co_await rt.sleep_for(milliseconds(10));
        pass.failed(why);
    }
};

struct five_at_once : fixture {
    five_at_once() : fixture(with_connects(10, 5)) {}
};

} // namespace

// --- the connect limiter

CO_TEST_CASE(so_many_connect_at_once_and_the_others_in_turn_whatever_their_endpoint, five_at_once) {
    for (int n = 0; n < 8; ++n)
        scope.spawn(go(n % 2 == 0 ? place : elsewhere));
    co_await scope.join();
    BOOST_TEST(went == (std::vector<long long>{0, 0, 0, 0, 0, 100, 200, 300}),
               boost::test_tools::per_element());
    BOOST_TEST(rt.value(metric::connect_waits) == 3u);
}

CO_TEST_CASE(who_is_cancelled_while_it_waits_gives_its_place_back, five_at_once) {
    for (int n = 0; n < 5; ++n)
        scope.spawn(go(place));
    const auto sixth = scope.spawn(go(place));
    co_await rt.sleep_for(milliseconds(10));
    scope.cancel(sixth);
    co_await scope.join();
    scope.spawn(go(place));
    co_await scope.join();
    BOOST_TEST(went.back() == 100);
}

CO_TEST_CASE(who_waits_to_connect_while_its_endpoint_fails_rides_on_that_and_gives_its_place_back,
             five_at_once) {
    for (int n = 0; n < 4; ++n)
        scope.spawn(go(elsewhere));
    scope.spawn(go_and_fail(place, make_failure(errc::refused)));
    for (int n = 0; n < 50; ++n)
        scope.spawn(go(place));
    co_await scope.join();
    BOOST_TEST(rode == 50u);
    BOOST_TEST(rt.value(metric::shared_failures) == 50u);
    went.clear();
    scope.spawn(go(elsewhere));
    co_await scope.join();
    BOOST_TEST(went.at(0) == 100);
}

CO_TEST_CASE(the_runtimes_of_one_world_share_the_pace, five_at_once) {
    runtime second(rt, rt.executor());
    for (int n = 0; n < 5; ++n)
        scope.spawn(go(place));
    co_await scope.join();
    auto pass = co_await second.begin_attempt(elsewhere, kind::call, rt.now(), false);
    BOOST_TEST(to_ms(rt.now() - start) == 100);
}

CO_TEST_CASE(a_wake_is_known_to_who_waited, fixture) {
    co_await go_and_fail(place, make_failure(errc::refused));
    bool woken = false;
    auto wait = [](fixture& f, bool& told) -> net::awaitable<void> {
        auto pass = co_await f.rt.begin_attempt(place, kind::stream, f.rt.now() + seconds(60), true);
        told = pass.woken();
    };
    scope.spawn(wait(*this, woken));
    co_await rt.sleep_for(seconds(1));
    rt.wake(place);
    co_await scope.join();
    BOOST_TEST(woken);
    BOOST_TEST(to_ms(rt.now() - start) == 1010);
    scope.spawn(wait(*this, woken));
    co_await scope.join();
    BOOST_TEST(!woken);
}

// --- local faults

namespace {

/// A machine that is out of descriptors while `out` says so.
class poor_network final : public network {
public:
    explicit poor_network(const bool& out) : out_(out) {}
    net::awaitable<result<std::unique_ptr<connection>>> connect(endpoint) override {
        ++connects;
        co_return make_failure(out_ ? errc::local : errc::refused);
    }
    unsigned connects = 0;

private:
    const bool& out_;
};

struct out_of_descriptors {
    testing::world world; ///< for its clock's steps alone
    net::io_context& io = world.io();
    bool out = true;
    testing::virtual_clock* time = nullptr;
    std::unique_ptr<runtime> rt = make();

    std::unique_ptr<runtime> make() {
        auto clock = std::make_unique<testing::virtual_clock>();
        time = clock.get();
        return std::make_unique<runtime>(io.get_executor(), std::move(clock),
                                         std::make_unique<poor_network>(out), 1);
    }

    // One attempt: when it was made, since the start of all.
    long long attempt() {
        const auto began = origin;
        long long at = -1;
        auto body = [](runtime& world, long long& made, time_point from) -> net::awaitable<void> {
            auto pass = co_await world.begin_attempt(place, kind::stream, world.now(), false);
            made = to_ms(world.now() - from);
            auto got = co_await world.connect(place);
            pass.failed(got.error());
        };
        bool over = false;
        net::co_spawn(io, body(*rt, at, began), [&](std::exception_ptr) { over = true; });
        for (io.restart(), io.poll(); !over; io.restart(), io.poll())
            time->advance_to(time->next_expiry().value());
        return at;
    }
    const time_point origin = rt->now();
};

} // namespace

BOOST_FIXTURE_TEST_CASE(a_local_fault_pauses_all_connecting_ever_longer_and_blames_no_endpoint,
                        out_of_descriptors) {
    std::vector<long long> at;
    for (int n = 0; n < 5; ++n)
        at.push_back(attempt());
    BOOST_TEST(at == (std::vector<long long>{0, 250, 750, 1750, 3750}), boost::test_tools::per_element());
    BOOST_TEST(!rt->breaker_of(place)->open);
    BOOST_TEST(rt->value(metric::local_pauses) == 5u);
    out = false;
    BOOST_TEST(attempt() == 7750);
    BOOST_TEST(rt->breaker_of(place)->open); // refused, and that is the endpoint's
    BOOST_TEST(rt->value(metric::local_pauses) == 5u);
}

CO_TEST_CASE(a_failure_of_a_hook_pauses_nothing, five_at_once) {
    co_await go_and_fail(place, make_failure(errc::local, "inspect threw"));
    co_await go(elsewhere);
    BOOST_TEST(went.back() == 10);
    BOOST_TEST(rt.value(metric::local_pauses) == 0u);
}

// --- the retry budget

namespace {

shared_limits with_retries(unsigned percent, unsigned per_second) {
    shared_limits limits;
    limits.retries.percent = percent;
    limits.retries.per_second = per_second;
    return limits;
}

struct one_retry_a_second : fixture {
    one_retry_a_second() : fixture(with_retries(50, 1)) {}

    net::awaitable<void> retry() {
        const bool may = co_await rt.may_retry();
        went.push_back(may ? to_ms(rt.now() - start) : -1);
    }
};

struct no_retries : fixture {
    no_retries() : fixture(with_retries(0, 0)) {}
};

} // namespace

CO_TEST_CASE(retries_wait_for_their_place, one_retry_a_second) {
    for (int n = 0; n < 3; ++n)
        scope.spawn(retry());
    co_await scope.join();
    BOOST_TEST(went == (std::vector<long long>{0, 1000, 2000}), boost::test_tools::per_element());
    BOOST_TEST(rt.value(metric::retry_waits) == 2u);
}

CO_TEST_CASE(first_tries_earn_retries, one_retry_a_second) {
    for (int n = 0; n < 6; ++n)
        rt.first_try();
    for (int n = 0; n < 5; ++n)
        scope.spawn(retry());
    co_await scope.join();
    BOOST_TEST(went == (std::vector<long long>{0, 0, 0, 0, 1000}), boost::test_tools::per_element());
}

CO_TEST_CASE(a_retry_that_is_cancelled_gives_its_place_back, one_retry_a_second) {
    co_await retry();
    const auto second = scope.spawn(retry());
    co_await rt.sleep_for(milliseconds(10));
    scope.cancel(second);
    co_await scope.join();
    co_await retry();
    BOOST_TEST(went == (std::vector<long long>{0, 1000}), boost::test_tools::per_element());
}

CO_TEST_CASE(where_there_are_no_retries_at_all_it_says_so, no_retries) {
    const bool may = co_await rt.may_retry();
    BOOST_TEST(!may);
}

// --- metrics

BOOST_AUTO_TEST_CASE(each_metric_has_a_name_after_the_rules_of_prometheus) {
    std::set<std::string> seen;
    std::string_view last;
    for (const auto& each : metric_table) {
        const std::string name(each.name);
        BOOST_TEST(name.starts_with("holdfast_"), name);
        BOOST_TEST(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == name.npos, name);
        BOOST_TEST(name.ends_with("_total") == (each.what == metric_info::kind::counter), name);
        BOOST_TEST(!each.help.empty(), name);
        BOOST_TEST(seen.insert(name + '{' + std::string(each.label) + '}').second, name);
        if (each.name == last)
            BOOST_TEST(!each.label.empty(), name);
        else
            BOOST_TEST(
                (seen.lower_bound(name + '{') == seen.find(name + '{' + std::string(each.label) + '}')),
                name << " does not stand side by side");
        last = each.name;
    }
}

BOOST_FIXTURE_TEST_CASE(metrics_are_counted_from_any_thread_and_shared_by_the_runtimes_of_a_world, fixture) {
    runtime second(rt, rt.executor());
    BOOST_TEST(rt.value(metric::requests) == 0u);
    std::thread other([&] {
        for (int n = 0; n < 1000; ++n)
            second.count(metric::requests);
    });
    for (int n = 0; n < 1000; ++n)
        rt.count(metric::requests, 2);
    other.join();
    BOOST_TEST(rt.value(metric::requests) == 3000u);
    BOOST_TEST(rt.value(metric::requests_failed) == 0u);
}

BOOST_FIXTURE_TEST_CASE(what_counts_in_a_gauge_counts_once_and_for_as_long_as_it_lives, fixture) {
    const auto open = [this] {
        return rt.value(metric::streams_open);
    };
    {
        counted first(rt, metric::streams_open);
        counted second(rt, metric::streams_open);
        BOOST_TEST(open() == 2u);
        counted moved(std::move(first));
        BOOST_TEST(open() == 2u);
        second = std::move(moved);
        BOOST_TEST(open() == 2u);
    }
    BOOST_TEST(open() == 0u);
    rt.count(metric::asks_waiting, 3);
    rt.uncount(metric::asks_waiting, 2);
    BOOST_TEST(rt.value(metric::asks_waiting) == 1u);
}

// --- breakers, for display

CO_TEST_CASE(breakers_are_listed_in_order, fixture) {
    BOOST_TEST(rt.breakers().empty());
    co_await go(elsewhere);
    co_await go_and_fail(place, make_failure(errc::refused));
    const auto all = rt.breakers();
    BOOST_TEST_REQUIRE(all.size() == 2u);
    BOOST_TEST((all[0].first == place));
    BOOST_TEST(all[0].second.open);
    BOOST_TEST((all[0].second.last.cls == failure_class::refused));
    BOOST_TEST((all[1].first == elsewhere));
    BOOST_TEST(!all[1].second.open);
}

CO_TEST_CASE(closed_breakers_without_waiters_are_dropped_and_open_ones_are_kept, fixture) {
    co_await go_and_fail(place, make_failure(errc::refused));
    for (std::uint16_t n = 1; n <= 1000; ++n)
        co_await go(endpoint("http", "many.test", n));
    BOOST_TEST(rt.breakers().size() <= 100u);
    BOOST_TEST(rt.breaker_of(place).has_value());
}
