// The README's example, word for word between the marks: the consumers build it, a test runs it.
//
// [readme]
#include <holdfast/opencode/server.hpp>

#include <boost/asio.hpp>
#include <iostream>

using namespace holdfast;

net::awaitable<void> ask(opencode::server& server) {
    auto turn = co_await server.prompt("Say hello.");
    while (auto event = co_await turn.next()) {
        if (auto* text = std::get_if<opencode::text_event>(&*event))
            std::cout << text->delta << std::flush;
        if (auto* end = std::get_if<opencode::settlement>(&*event)) // told once, last
            std::cout << "\n[" << to_string(end->outcome) << (end->error ? ": " + end->error->message : "")
                      << "]\n";
    }
    server.stop(); // run() returns when all that it started has ended
}

int main(int argc, char** argv) {
    net::io_context io;
    runtime world(io.get_executor());
    opencode::server server(world, argc > 1 ? argv[1] : "http://127.0.0.1:4096");
    net::co_spawn(io, server.run(), net::detached);
    net::co_spawn(io, ask(server), net::detached);
    io.run();
}
// [/readme]
