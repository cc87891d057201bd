// A unit test in virtual time: code that asks again is tried through an outage of an hour, in milliseconds.
//
//     example-virtual_time
#include <holdfast/opencode/server.hpp>
#include <holdfast/testing/sim_host.hpp>

#include <boost/asio/co_spawn.hpp>

#include <iostream>

using namespace holdfast;

// What is tested: a turn, asked for again as long as that cannot run the prompt twice.
net::awaitable<opencode::settlement> patient_turn(runtime& world, opencode::server& server) {
    for (;;) {
        opencode::settlement last;
        auto turn = co_await server.prompt("#plain Please say hello.");
        while (auto event = co_await turn.next())
            if (auto* end = std::get_if<opencode::settlement>(&*event))
                last = std::move(*end);
        if (last.safe_to_reprompt != opencode::reprompt::yes)
            co_return last;
        std::cout << to_string(last.outcome) << ", asked again in 5 minutes\n";
        co_await world.sleep_for(minutes(5));
    }
}

int main() {
    testing::world world;
    const endpoint here("http", "127.0.0.1", 4096);
    testing::sim_host host(world, here);
    opencode::server server(world.rt(), to_string(here));
    bool ended = false;
    net::co_spawn(world.io(), server.run(), [&](std::exception_ptr) { ended = true; });

    std::optional<opencode::settlement> end;
    world.net().outage(here, testing::memory_network::behaviour::refuse);
    net::co_spawn(world.io(), patient_turn(world.rt(), server),
                  [&](std::exception_ptr, opencode::settlement how) { end = std::move(how); });
    world.run_for(minutes(60));
    const bool waited = !end;

    world.net().outage(here, std::nullopt);
    world.run_until([&] { return end.has_value(); }); // throws `stuck` when it never is
    std::cout << to_string(end->outcome) << ", prompted " << host.model().truth().size() << " times\n";

    server.stop();
    world.run_until([&] { return ended; });
    host.shut_down();
    return waited && end->outcome == opencode::outcome::completed ? 0 : 1;
}
