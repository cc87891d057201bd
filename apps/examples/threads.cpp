// Several threads: a runtime a strand, which share circuit breakers, limits, log and counters.
//
//     example-threads http://127.0.0.1:4096 4 "Say hello."
#include <holdfast/opencode/server.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <iostream>
#include <memory>
#include <thread>
#include <vector>

using namespace holdfast;

// What one strand does: all that is made with its runtime is used on it alone.
struct shard {
    shard(runtime& first, net::io_context& io, const std::string& url)
        : world(first, net::make_strand(io)), server(world, url) {}
    runtime world;
    opencode::server server;
};

net::awaitable<void> run_turn(shard& mine, std::string prompt, std::atomic<int>& completed) {
    auto turn = co_await mine.server.prompt(std::move(prompt));
    while (auto event = co_await turn.next())
        if (auto* end = std::get_if<opencode::settlement>(&*event))
            completed += end->outcome == opencode::outcome::completed ? 1 : 0;
    mine.server.stop();
}

int main(int argc, char** argv) {
    const int count = argc == 4 ? std::atoi(argv[2]) : 0;
    if (count <= 0 || count > 64 || !http::parse_url(argv[1])) {
        std::cerr << "usage: example-threads URL THREADS PROMPT\n";
        return 2;
    }
    const auto rethrow = [](std::exception_ptr error) {
        if (error)
            std::rethrow_exception(error);
    };
    net::io_context io(count);
    runtime first(net::make_strand(io));
    std::atomic<int> completed = 0;
    std::vector<std::unique_ptr<shard>> shards;
    for (int n = 0; n < count; ++n) {
        auto& each = *shards.emplace_back(std::make_unique<shard>(first, io, argv[1]));
        net::co_spawn(each.world.executor(), each.server.run(), rethrow);
        net::co_spawn(each.world.executor(), run_turn(each, argv[3], completed), rethrow);
    }
    std::vector<std::thread> threads;
    for (int n = 0; n < count; ++n)
        threads.emplace_back([&io] { io.run(); });
    for (auto& each : threads)
        each.join();
    std::cout << completed << " of " << count << " turns completed, " << first.value(metric::requests)
              << " requests\n";
    return completed == count ? 0 : 1;
}
