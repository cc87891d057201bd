// How the library lives in the world: waits, deadlines, scopes and requests to stop, all in virtual time.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

using namespace holdfast;

namespace {

using error = boost::system::system_error;

bool is_abort(const error& e) {
    return e.code() == net::error::operation_aborted;
}

struct fixture : test::in_simulated_world {
    runtime& rt = world.rt();
    const time_point start = rt.now();
    std::vector<std::string> happened;

    [[nodiscard]] auto elapsed() const { return rt.now() - start; }
    void note(std::string what) { happened.push_back(std::move(what)); }
    [[nodiscard]] bool has_happened(std::string_view what) const {
        return std::find(happened.begin(), happened.end(), what) != happened.end();
    }

    // Runs an operation beside the test that can be cancelled; notes how it ended.
    net::cancellation_signal stop;
    bool running = false;
    void start_beside(net::awaitable<void> op) {
        running = true;
        auto on_end = [this](std::exception_ptr e) {
            running = false;
            try {
                if (e)
                    std::rethrow_exception(e);
                note("ended");
            } catch (const error& failure) {
                note(is_abort(failure) ? "aborted" : "failed");
            } catch (const std::exception& failure) {
                note(failure.what());
            }
        };
        net::co_spawn(rt.executor(), detail::suspended_first<void>(std::move(op)),
                      net::bind_cancellation_slot(stop.slot(), std::move(on_end)));
    }

    // Notes its end whatever it is: an operation that leaves no doubt about when it is over.
    net::awaitable<int> value_after(duration d, int value) {
        struct over {
            fixture& f;
            ~over() { f.note("op over"); }
        } const over{*this};
        co_await rt.sleep_for(d);
        co_return value;
    }

    net::awaitable<void> wait_at(condition_variable& cv, std::string name,
                                 time_point until = time_point::max()) {
        co_await cv.wait(until);
        note(std::move(name));
    }

    net::awaitable<void> sleep_and_note(duration d, std::string name) {
        co_await rt.sleep_for(d);
        note(std::move(name));
    }

    net::awaitable<void> throw_after(duration d, std::string what) {
        co_await rt.sleep_for(d);
        throw std::runtime_error(what);
    }

    net::awaitable<void> abort_after(duration d) {
        co_await rt.sleep_for(d);
        throw error(net::error::operation_aborted);
    }

    std::vector<std::string> errors;
    task_scope scope{rt, [this](std::exception_ptr e) {
                         try {
                             std::rethrow_exception(std::move(e));
                         } catch (const std::exception& failure) {
                             errors.emplace_back(failure.what());
                         }
                     }};
};

} // namespace

// --- the test kit itself

BOOST_AUTO_TEST_CASE(a_coroutine_that_nothing_can_wake_fails_at_once) {
    auto world = std::make_unique<testing::world>();
    condition_variable never(world->rt());
    BOOST_CHECK_THROW(world->run(never.wait()), testing::stuck);
    world.reset(); // its frame goes with it, while `never` is still there
}

BOOST_AUTO_TEST_CASE(virtual_time_does_not_pass_by_itself_and_keeps_order) {
    testing::world world;
    std::vector<int> order;
    auto sleeper = [](testing::world& w, std::vector<int>& out, duration d,
                      int name) -> net::awaitable<void> {
        co_await w.rt().sleep_for(d);
        out.push_back(name);
    };
    const auto start = world.time().now();
    for (const int name : {3, 1, 2})
        net::co_spawn(world.io(), sleeper(world, order, seconds(name), name), [](std::exception_ptr) {});
    world.settle();
    BOOST_TEST((world.time().now() == start));
    BOOST_TEST(order.empty());
    world.run_for(seconds(10));
    BOOST_TEST(order == (std::vector{1, 2, 3}), boost::test_tools::per_element());
    BOOST_TEST((world.time().now() == start + seconds(10)));
}

// --- sleep

CO_TEST_CASE(a_sleep_takes_its_time, fixture) {
    co_await rt.sleep_for(milliseconds(1500));
    BOOST_TEST(to_ms(elapsed()) == 1500);
}

CO_TEST_CASE(a_sleep_into_the_past_ends_without_time_passing, fixture) {
    co_await rt.sleep_until(start - seconds(1));
    BOOST_TEST(to_ms(elapsed()) == 0);
}

CO_TEST_CASE(a_cancelled_sleep_ends_at_once_as_operation_aborted, fixture) {
    start_beside(rt.sleep_for(seconds(30)));
    co_await rt.sleep_for(seconds(1));
    stop.emit(net::cancellation_type::terminal);
    BOOST_TEST(running); // never inline
    co_await rt.sleep_for(duration::zero());
    BOOST_TEST(has_happened("aborted"));
    BOOST_TEST(to_ms(elapsed()) == 1000);
}

CO_TEST_CASE(a_far_future_does_not_overflow, fixture) {
    start_beside(rt.sleep_for(duration::max()));
    co_await rt.sleep_for(std::chrono::hours(1));
    BOOST_TEST(running);
    stop.emit(net::cancellation_type::terminal);
}

// --- condition_variable

CO_TEST_CASE(notify_all_wakes_all_who_wait_in_order, fixture) {
    condition_variable changed(rt);
    scope.spawn(wait_at(changed, "first"));
    scope.spawn(wait_at(changed, "second"));
    co_await rt.sleep_for(seconds(1));
    BOOST_TEST(changed.has_waiters());
    changed.notify_all();
    co_await scope.join();
    BOOST_TEST(happened == (std::vector<std::string>{"first", "second"}), boost::test_tools::per_element());
    BOOST_TEST(!changed.has_waiters());
    BOOST_TEST(to_ms(elapsed()) == 1000);
}

CO_TEST_CASE(a_wait_ends_at_its_deadline, fixture) {
    condition_variable changed(rt);
    co_await changed.wait(start + seconds(2));
    BOOST_TEST(to_ms(elapsed()) == 2000);
}

CO_TEST_CASE(a_notification_is_not_kept_for_who_comes_later, fixture) {
    condition_variable changed(rt);
    changed.notify_all();
    co_await changed.wait(start + seconds(2));
    BOOST_TEST(to_ms(elapsed()) == 2000);
}

CO_TEST_CASE(a_cancelled_wait_leaves_the_others_waiting, fixture) {
    condition_variable changed(rt);
    const auto first = scope.spawn(wait_at(changed, "first"));
    scope.spawn(wait_at(changed, "second"));
    co_await rt.sleep_for(seconds(1));
    scope.cancel(first);
    co_await rt.sleep_for(seconds(1));
    BOOST_TEST(happened.empty());
    changed.notify_all();
    co_await scope.join();
    BOOST_TEST(happened == (std::vector<std::string>{"second"}), boost::test_tools::per_element());
}

// --- with_deadline

CO_TEST_CASE(with_deadline_hands_on_the_value_and_leaves_no_timer, fixture) {
    auto op = value_after(seconds(1), 42);
    const auto value = co_await with_deadline(rt, start + seconds(5), std::move(op));
    BOOST_TEST_REQUIRE(value.has_value());
    BOOST_TEST(*value == 42);
    BOOST_TEST(to_ms(elapsed()) == 1000);
    BOOST_TEST(world.time().pending() == 0u);
}

CO_TEST_CASE(with_deadline_gives_nothing_when_the_deadline_comes_first_and_the_operation_is_over, fixture) {
    auto op = value_after(seconds(9), 42);
    const auto value = co_await with_deadline(rt, start + seconds(5), std::move(op));
    BOOST_TEST(!value.has_value());
    BOOST_TEST(to_ms(elapsed()) == 5000);
    BOOST_TEST(has_happened("op over"));
}

namespace {

// Over when its wait is, cancelled or not: as an operation whose completion is already under way.
net::awaitable<int> stubborn(runtime& rt, time_point when, bool broken) {
    timer wait(rt.clock(), rt.executor());
    wait.expires_at(when);
    co_await wait.async_wait(net::as_tuple(net::use_awaitable));
    if (broken)
        throw std::runtime_error("broken");
    co_return 42;
}

} // namespace

CO_TEST_CASE(with_deadline_loses_no_value_when_both_are_done_in_one_turn, fixture) {
    auto op = stubborn(rt, start + seconds(5), false);
    const auto value = co_await with_deadline(rt, start + seconds(5), std::move(op));
    BOOST_TEST_REQUIRE(value.has_value());
    BOOST_TEST(*value == 42);
}

CO_TEST_CASE(with_deadline_throws_what_the_operation_throws_also_when_both_are_done_in_one_turn, fixture) {
    for (const auto deadline : {seconds(2), seconds(1)}) {
        auto op = stubborn(rt, rt.now() + seconds(1), true);
        std::string thrown;
        try {
            std::ignore = co_await with_deadline(rt, rt.now() + deadline, std::move(op));
        } catch (const std::runtime_error& e) {
            thrown = e.what();
        }
        BOOST_TEST(thrown == "broken");
    }
}

CO_TEST_CASE(with_deadline_in_the_past_still_ends_the_operation, fixture) {
    auto op = value_after(seconds(5), 42);
    const auto value = co_await with_deadline(rt, start - seconds(1), std::move(op));
    BOOST_TEST(!value.has_value());
    BOOST_TEST(to_ms(elapsed()) == 0);
    BOOST_TEST(has_happened("op over") == true);
}

CO_TEST_CASE(cancelling_the_parent_of_with_deadline_surfaces_as_operation_aborted_after_the_operation_ended,
             fixture) {
    auto parent = [](fixture& f) -> net::awaitable<void> {
        auto op = f.value_after(seconds(9), 42);
        std::ignore = co_await with_deadline(f.rt, f.start + seconds(5), std::move(op));
    };
    start_beside(parent(*this));
    co_await rt.sleep_for(seconds(1));
    stop.emit(net::cancellation_type::terminal);
    co_await rt.sleep_for(duration::zero());
    co_await rt.sleep_for(milliseconds(1));
    BOOST_TEST(happened == (std::vector<std::string>{"op over", "aborted"}),
               boost::test_tools::per_element());
    BOOST_TEST(to_ms(elapsed()) == 1001);
}

CO_TEST_CASE(a_deadline_without_end_is_none, fixture) {
    auto op = value_after(std::chrono::hours(3), 42);
    const auto value = co_await with_deadline(rt, time_point::max(), std::move(op));
    BOOST_TEST(value.has_value());
}

// --- task_scope

CO_TEST_CASE(join_waits_for_all_children, fixture) {
    scope.spawn(sleep_and_note(seconds(2), "slow"));
    scope.spawn(sleep_and_note(seconds(1), "quick"));
    BOOST_TEST(scope.size() == 2u);
    BOOST_TEST(happened.empty());
    co_await scope.join();
    BOOST_TEST(happened == (std::vector<std::string>{"quick", "slow"}), boost::test_tools::per_element());
    BOOST_TEST(scope.size() == 0u);
}

CO_TEST_CASE(join_of_an_empty_scope_returns_at_once, fixture) {
    co_await scope.join();
    BOOST_TEST(to_ms(elapsed()) == 0);
}

CO_TEST_CASE(a_child_that_throws_is_reported_and_disturbs_no_other, fixture) {
    scope.spawn(throw_after(seconds(1), "broken"));
    scope.spawn(sleep_and_note(seconds(2), "fine"));
    co_await scope.join();
    BOOST_TEST(errors == (std::vector<std::string>{"broken"}), boost::test_tools::per_element());
    BOOST_TEST(has_happened("fine"));
}

CO_TEST_CASE(cancelling_one_child_ends_it_alone_and_is_no_error, fixture) {
    const auto first = scope.spawn(sleep_and_note(seconds(30), "first"));
    scope.spawn(sleep_and_note(seconds(2), "second"));
    co_await rt.sleep_for(seconds(1));
    scope.cancel(first);
    co_await scope.join();
    BOOST_TEST(happened == (std::vector<std::string>{"second"}), boost::test_tools::per_element());
    BOOST_TEST(errors.empty());
    BOOST_TEST(to_ms(elapsed()) == 2000);
}

CO_TEST_CASE(an_abort_that_nobody_asked_for_is_reported, fixture) {
    scope.spawn(abort_after(seconds(1)));
    co_await scope.join();
    BOOST_TEST(errors.size() == 1u);
}

CO_TEST_CASE(cancelling_the_scope_ends_all_and_nothing_starts_any_more, fixture) {
    scope.spawn(sleep_and_note(seconds(30), "first"));
    scope.spawn(sleep_and_note(seconds(30), "second"));
    co_await rt.sleep_for(seconds(1));
    scope.cancel();
    scope.cancel();
    scope.spawn(sleep_and_note(seconds(0), "late"));
    co_await scope.join();
    BOOST_TEST(happened.empty());
    BOOST_TEST(errors.empty());
    BOOST_TEST(to_ms(elapsed()) == 1000);
}

CO_TEST_CASE(a_child_cancelled_before_it_began_never_begins, fixture) {
    scope.spawn(sleep_and_note(seconds(0), "begun"));
    scope.cancel();
    co_await scope.join();
    BOOST_TEST(happened.empty());
}

CO_TEST_CASE(a_child_may_cancel_its_own_scope_and_spawn_in_it, fixture) {
    auto child = [](fixture& f) -> net::awaitable<void> {
        f.scope.spawn(f.sleep_and_note(seconds(30), "grandchild"));
        f.scope.cancel();
        f.note("child");
        co_await f.rt.sleep_for(seconds(30));
        f.note("never");
    };
    scope.spawn(child(*this));
    co_await scope.join();
    BOOST_TEST(happened == (std::vector<std::string>{"child"}), boost::test_tools::per_element());
}

CO_TEST_CASE(a_cancelled_join_leaves_the_children_running, fixture) {
    scope.spawn(sleep_and_note(seconds(5), "child"));
    start_beside(scope.join());
    co_await rt.sleep_for(seconds(1));
    stop.emit(net::cancellation_type::terminal);
    co_await rt.sleep_for(seconds(1));
    BOOST_TEST(has_happened("aborted"));
    BOOST_TEST(scope.size() == 1u);
    co_await scope.join();
    BOOST_TEST(has_happened("child"));
}

// --- abort_source

BOOST_AUTO_TEST_CASE(a_request_is_latched_and_told_once_to_each) {
    abort_source source;
    int told = 0;
    const auto first = source.on_request([&] { ++told; });
    const auto second = source.on_request([&] { ++told; });
    BOOST_TEST(!source.requested());
    source.request();
    source.request();
    BOOST_TEST(source.requested());
    BOOST_TEST(told == 2);
}

BOOST_AUTO_TEST_CASE(who_registers_late_is_told_at_once) {
    abort_source source;
    source.request();
    int told = 0;
    const auto late = source.on_request([&] { ++told; });
    BOOST_TEST(told == 1);
}

BOOST_AUTO_TEST_CASE(a_released_listener_is_not_told) {
    abort_source source;
    int told = 0;
    auto kept = source.on_request([&] { ++told; });
    {
        const auto gone = source.on_request([&] { ++told; });
    }
    kept.release();
    kept.release();
    source.request();
    BOOST_TEST(told == 0);
}

BOOST_AUTO_TEST_CASE(a_listener_may_remove_another_and_register_a_new_one_during_the_request) {
    abort_source source;
    std::string told;
    abort_source::registration second, third;
    const auto first = source.on_request([&] {
        told += "1";
        second.release();
        third = source.on_request([&] { told += "3"; });
    });
    second = source.on_request([&] { told += "2"; });
    source.request();
    BOOST_TEST(told == "13");
}

BOOST_AUTO_TEST_CASE(a_listener_may_end_its_own_registration_and_the_source_during_the_request) {
    auto source = std::make_unique<abort_source>();
    std::string told;
    abort_source::registration first;
    first = source->on_request([&] {
        told += "1";
        first.release();
        source.reset();
    });
    const auto second = source->on_request([&] { told += "2"; });
    source->request();
    BOOST_TEST(told == "12");
}

BOOST_AUTO_TEST_CASE(a_moved_registration_goes_on_and_a_replaced_one_ends) {
    abort_source source;
    std::string told;
    auto first = source.on_request([&] { told += "1"; });
    auto moved = std::move(first);
    moved = source.on_request([&] { told += "2"; });
    source.request();
    BOOST_TEST(told == "2");
}

// --- the breaker, shared

namespace {

const endpoint place{"http", "a.test", 80};
using kind = retry::endpoint_breaker::kind;

struct breaker_fixture : fixture {
    void open_breaker(duration since = {}) {
        auto fail = [](fixture& f, time_point due) -> net::awaitable<void> {
            auto pass = co_await f.rt.begin_attempt(place, kind::stream, due, false);
            f.note("failed");
            pass.failed(make_failure(errc::refused));
        };
        scope.spawn(fail(*this, start + since));
    }

    net::awaitable<void> probe(duration due, duration takes, bool good) {
        auto pass = co_await rt.begin_attempt(place, kind::stream, start + due, true);
        if (pass.shared_failure()) {
            note("rode");
            co_return;
        }
        note("went at " + std::to_string(to_ms(elapsed())));
        co_await rt.sleep_for(takes);
        if (good)
            pass.succeeded();
        else
            pass.failed(make_failure(errc::refused));
    }
};

} // namespace

CO_TEST_CASE(a_closed_breaker_lets_an_attempt_go_at_its_time, breaker_fixture) {
    auto pass = co_await rt.begin_attempt(place, kind::stream, start + seconds(3), false);
    BOOST_TEST(!pass.shared_failure().has_value());
    BOOST_TEST(to_ms(elapsed()) == 3000);
}

CO_TEST_CASE(those_who_wait_share_the_failure_of_anothers_probe, breaker_fixture) {
    open_breaker();
    co_await scope.join();
    happened.clear();
    scope.spawn(probe(seconds(1), seconds(2), false));
    scope.spawn(probe(seconds(10), {}, true));
    co_await scope.join();
    BOOST_TEST(happened == (std::vector<std::string>{"went at 1000", "rode"}),
               boost::test_tools::per_element());
    BOOST_TEST(to_ms(elapsed()) == 3000);
}

CO_TEST_CASE(a_success_lets_those_who_are_held_go_at_once, breaker_fixture) {
    open_breaker();
    co_await scope.join();
    happened.clear();
    scope.spawn(probe(seconds(1), seconds(2), true));
    scope.spawn(probe(seconds(10), {}, true));
    co_await scope.join();
    BOOST_TEST(happened == (std::vector<std::string>{"went at 1000", "went at 3000"}),
               boost::test_tools::per_element());
}

CO_TEST_CASE(who_is_held_and_comes_after_the_recovery_goes_at_once, breaker_fixture) {
    open_breaker();
    co_await scope.join();
    happened.clear();
    co_await probe(seconds(1), {}, true);
    co_await probe(seconds(30), {}, true); // its owner was busy while the endpoint came back
    BOOST_TEST(happened == (std::vector<std::string>{"went at 1000", "went at 1000"}),
               boost::test_tools::per_element());
}

CO_TEST_CASE(cancelling_a_wait_for_the_breaker_frees_its_place, breaker_fixture) {
    open_breaker();
    co_await scope.join();
    const auto waiting = scope.spawn(probe(seconds(10), {}, true));
    co_await rt.sleep_for(seconds(1));
    BOOST_TEST_REQUIRE(rt.breaker_of(place).has_value());
    BOOST_TEST(rt.breaker_of(place)->waiting == 1u);
    scope.cancel(waiting);
    co_await scope.join();
    BOOST_TEST(rt.breaker_of(place)->waiting == 0u);
    BOOST_TEST(to_ms(elapsed()) == 1000);
}

CO_TEST_CASE(cancelling_the_probe_lets_another_be_it, breaker_fixture) {
    open_breaker();
    co_await scope.join();
    happened.clear();
    const auto first = scope.spawn(probe(seconds(1), seconds(60), true));
    scope.spawn(probe(seconds(2), {}, true));
    co_await rt.sleep_for(seconds(5));
    BOOST_TEST(rt.breaker_of(place)->probing);
    scope.cancel(first);
    co_await scope.join();
    BOOST_TEST(happened == (std::vector<std::string>{"went at 1000", "went at 5000"}),
               boost::test_tools::per_element());
    BOOST_TEST(!rt.breaker_of(place)->open);
}

CO_TEST_CASE(wake_ends_every_wait_for_the_breaker, breaker_fixture) {
    open_breaker();
    co_await scope.join();
    happened.clear();
    scope.spawn(probe(seconds(10), {}, true));
    scope.spawn(probe(seconds(20), {}, true));
    co_await rt.sleep_for(seconds(1));
    rt.wake(place);
    co_await scope.join();
    BOOST_TEST(happened == (std::vector<std::string>{"went at 1000", "went at 1000"}),
               boost::test_tools::per_element());
}

CO_TEST_CASE(each_endpoint_has_a_breaker_of_its_own, breaker_fixture) {
    open_breaker();
    co_await scope.join();
    const endpoint other{"http", "a.test", 81};
    BOOST_TEST(!rt.breaker_of(other).has_value());
    auto pass = co_await rt.begin_attempt(other, kind::stream, start, false);
    BOOST_TEST(!pass.shared_failure().has_value());
    BOOST_TEST(!rt.breaker_of(other)->open);
    BOOST_TEST(rt.breaker_of(place)->open);
    rt.wake(endpoint{"http", "nobody.test", 1});
}

// --- randomness

BOOST_AUTO_TEST_CASE(the_same_seed_draws_the_same_numbers) {
    testing::world a(7), b(7), c(8);
    std::vector<std::uint64_t> drawn_a, drawn_b, drawn_c;
    for (int n = 0; n < 5; ++n) {
        drawn_a.push_back(a.rt().random());
        drawn_b.push_back(b.rt().random());
        drawn_c.push_back(c.rt().random());
    }
    BOOST_TEST(drawn_a == drawn_b, boost::test_tools::per_element());
    BOOST_TEST((drawn_a != drawn_c));
}
