// How a program ends: on Ctrl-C its turns settle as detached, each owner reads that, and nothing is left.
//
//     example-shut_down http://127.0.0.1:4096 "#slow:1000"
#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <csignal>
#include <iostream>

using namespace holdfast;

net::awaitable<void> run_turn(opencode::server& server, std::string prompt) {
    auto turn = co_await server.prompt(std::move(prompt));
    std::cout << "prompted\n" << std::flush;
    while (auto event = co_await turn.next())
        if (auto* end = std::get_if<opencode::settlement>(&*event))
            std::cout << to_string(end->outcome) << '\n';
}

net::awaitable<void> serve(net::io_context& io, std::string url, std::string prompt) {
    runtime world(io.get_executor());
    opencode::server server(world, url);
    task_scope tasks(world, [](const std::exception_ptr& error) { std::cerr << what_of(error) << '\n'; });
    tasks.spawn(server.run());
    tasks.spawn(run_turn(server, std::move(prompt)));

    net::signal_set signals(io, SIGINT, SIGTERM);
    co_await signals.async_wait(net::use_awaitable);
    server.stop(); // to end turns at the server too, call turn.abort() before
    co_await with_deadline(world, world.now() + seconds(5), tasks.join());
    tasks.cancel();
    co_await tasks.join();
    std::cout << "ended\n";
}

int main(int argc, char** argv) {
    if (argc != 3 || !http::parse_url(argv[1])) {
        std::cerr << "usage: example-shut_down URL PROMPT\n";
        return 2;
    }
    net::io_context io(1);
    net::co_spawn(io, serve(io, argv[1], argv[2]), [](std::exception_ptr error) {
        if (error)
            std::rethrow_exception(error);
    });
    io.run(); // returns by itself: io.stop() is not needed
}
