// A program without coroutines of its own: one turn by callbacks, one by a future.
//
//     example-callbacks http://127.0.0.1:4096 "Say hello."
#include <holdfast/opencode/server.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <thread>

using namespace holdfast;

// Calls `told` with each event, the settlement last. All of it runs on the io_context's thread.
void read_turn(net::io_context& io, opencode::turn turn,
               std::function<void(const opencode::agent_event&)> told) {
    const auto kept = std::make_shared<opencode::turn>(std::move(turn)); // until its last event
    net::co_spawn(io, kept->next(),
                  [&io, kept, told](std::exception_ptr, std::optional<opencode::agent_event> event) {
                      if (!event)
                          return;
                      told(*event);
                      read_turn(io, std::move(*kept), told);
                  });
}

void by_callbacks(net::io_context& io, opencode::server& server, std::string prompt,
                  std::function<void()> then) {
    net::co_spawn(io, server.prompt(std::move(prompt)), [&io, then](std::exception_ptr, opencode::turn turn) {
        read_turn(io, std::move(turn), [then](const opencode::agent_event& event) {
            if (const auto* end = std::get_if<opencode::settlement>(&event)) {
                std::cout << "by callbacks: " << to_string(end->outcome) << '\n';
                then();
            }
        });
    });
}

net::awaitable<opencode::settlement> end_of(opencode::server& server, std::string prompt) {
    opencode::settlement last;
    auto turn = co_await server.prompt(std::move(prompt));
    while (auto event = co_await turn.next())
        if (auto* end = std::get_if<opencode::settlement>(&*event))
            last = std::move(*end);
    co_return last;
}

int main(int argc, char** argv) {
    if (argc != 3 || !http::parse_url(argv[1])) {
        std::cerr << "usage: example-callbacks URL PROMPT\n";
        return 2;
    }
    net::io_context io(1);
    runtime world(io.get_executor());
    opencode::server server(world, argv[1]);
    net::co_spawn(io, server.run(), [](std::exception_ptr) {});
    std::promise<void> first;
    by_callbacks(io, server, argv[2], [&] { first.set_value(); });
    std::thread thread([&] { io.run(); });
    first.get_future().get(); // here, on another thread than the library's
    auto second = net::co_spawn(io, end_of(server, argv[2]), net::use_future);
    std::cout << "by a future: " << to_string(second.get().outcome) << '\n';
    server.stop(); // from any thread
    thread.join();
}
