// The simulated world is installed for users, too.
#include <holdfast/testing/world.hpp>

int main() {
    holdfast::testing::world world;
    const auto before = world.rt().now();
    world.run(world.rt().sleep_for(holdfast::seconds(3600)));
    return world.rt().now() - before == holdfast::seconds(3600) ? 0 : 1;
}
