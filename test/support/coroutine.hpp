// Test cases that are coroutines, in a simulated world:
//
//     CO_TEST_CASE(a_test_name_is_a_sentence, some_fixture) {
//         co_await world.rt().sleep_for(seconds(1));
//         BOOST_TEST(...);
//     }
//
// The fixture derives from `in_simulated_world`; the body is a member of it. A body that can never go on
// fails at once, and so does one that leaves work behind: a pending wait, an open connection, a handler. What
// a fixture itself holds it lets go of in `void finish()`, if it has one.
#pragma once

#include <holdfast/testing/world.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>

namespace holdfast::test {

struct in_simulated_world {
    testing::world world;
};

/// Checks that a world has come to rest. Time does not pass.
inline bool check_nothing_is_left(testing::world& world) {
    world.settle();
    BOOST_TEST(world.net().open_connections() == 0u, "connections are left open");
    BOOST_TEST(world.time().pending() == 0u, "someone still waits for the time");
    BOOST_TEST(world.io().stopped(), "handlers are left");
    return world.net().open_connections() == 0 && world.time().pending() == 0 && world.io().stopped();
}

template <class Case>
void run_case() {
    auto self = std::make_unique<Case>();
    // What a failed case leaves behind cannot be taken apart in order: it is left alone.
    try {
        self->world.run(self->body());
    } catch (...) {
        static_cast<void>(self.release());
        throw;
    }
    if constexpr (requires { self->finish(); })
        self->finish();
    if (!check_nothing_is_left(self->world))
        static_cast<void>(self.release());
}

} // namespace holdfast::test

#define CO_TEST_CASE(name, fixture)                                                                          \
    struct name##_case : fixture {                                                                           \
        holdfast::net::awaitable<void> body();                                                               \
    };                                                                                                       \
    BOOST_AUTO_TEST_CASE(name) {                                                                             \
        holdfast::test::run_case<name##_case>();                                                             \
    }                                                                                                        \
    holdfast::net::awaitable<void> name##_case::body()
