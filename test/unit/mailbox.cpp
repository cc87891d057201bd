// The mailbox: order, closing, and that a cancelled taker loses nothing.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"

#include <holdfast/runtime/mailbox.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/runtime/with_deadline.hpp>

using namespace holdfast;
using fixture = test::in_simulated_world;

CO_TEST_CASE(items_come_in_the_order_in_which_they_were_put, fixture) {
    mailbox<int> box(world.rt());
    for (int i = 0; i < 3; ++i)
        box.put(i);
    for (int i = 0; i < 3; ++i)
        BOOST_TEST((co_await box.take()).value() == i);
    BOOST_TEST(!box.try_take().has_value());
}

CO_TEST_CASE(a_taker_waits_for_an_item, fixture) {
    mailbox<int> box(world.rt());
    task_scope scope(world.rt(), {});
    scope.spawn([](runtime& rt, mailbox<int>& to) -> net::awaitable<void> {
        co_await rt.sleep_for(seconds(3));
        to.put(7);
    }(world.rt(), box));
    const auto begun = world.rt().now();
    BOOST_TEST((co_await box.take()).value() == 7);
    BOOST_TEST((world.rt().now() - begun == seconds(3)));
    co_await scope.join();
}

CO_TEST_CASE(a_closed_mailbox_is_drained_before_it_ends, fixture) {
    mailbox<int> box(world.rt());
    box.put(1);
    box.close();
    box.put(2);
    BOOST_TEST((co_await box.take()).value() == 1);
    BOOST_TEST(!(co_await box.take()).has_value());
    BOOST_TEST(!(co_await box.take()).has_value());
}

CO_TEST_CASE(closing_ends_a_pending_take, fixture) {
    mailbox<int> box(world.rt());
    task_scope scope(world.rt(), {});
    scope.spawn([](runtime& rt, mailbox<int>& to) -> net::awaitable<void> {
        co_await rt.sleep_for(seconds(1));
        to.close();
    }(world.rt(), box));
    BOOST_TEST(!(co_await box.take()).has_value());
    co_await scope.join();
}

// The item is put at the very moment at which the take is cancelled: it must be the next taker's.
CO_TEST_CASE(an_item_that_comes_with_a_cancellation_is_not_lost, fixture) {
    mailbox<int> box(world.rt());
    task_scope scope(world.rt(), {});
    const auto when = world.rt().now() + seconds(1);
    scope.spawn([](runtime& rt, mailbox<int>& to, time_point at) -> net::awaitable<void> {
        co_await rt.sleep_until(at);
        to.put(42);
    }(world.rt(), box, when));
    auto take = box.take();
    const auto first = co_await with_deadline(world.rt(), when, std::move(take));
    const bool came_first = first && first->has_value();
    if (!came_first) {
        BOOST_TEST((co_await box.take()).value() == 42);
    } else {
        BOOST_TEST(**first == 42);
    }
    co_await scope.join();
}
