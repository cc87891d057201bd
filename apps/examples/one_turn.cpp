// One turn on an OpenCode server: its text as it comes, and how it ended.
//
//     example-one_turn http://127.0.0.1:4096 "Say hello."
#include <holdfast/opencode/server.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <iostream>

using namespace holdfast;

// A server's text, without what could move a terminal's cursor.
std::string printable(std::string text) {
    std::erase_if(text, [](unsigned char c) { return (c < 0x20 && c != '\n') || c == 0x7f; });
    return text;
}

net::awaitable<int> ask(opencode::server& server, std::string what) {
    int code = 1;
    auto turn = co_await server.prompt(std::move(what));
    while (auto event = co_await turn.next()) {
        if (auto* text = std::get_if<opencode::text_event>(&*event))
            std::cout << printable(text->delta) << std::flush;
        if (auto* approval = std::get_if<opencode::permission_event>(&*event); approval && !approval->reply) {
            const auto done = co_await turn.reply_permission(approval->request.id, "reject");
            if (!done)
                std::cerr << done.error().message << '\n';
        }
        if (auto* end = std::get_if<opencode::settlement>(&*event)) { // exactly once, last
            std::cout << "\n[" << to_string(end->outcome)
                      << (end->error ? ": " + printable(end->error->message) : "") << "]\n";
            code = end->outcome == opencode::outcome::completed ? 0 : 1;
        }
    }
    server.stop();
    co_return code;
}

int main(int argc, char** argv) {
    if (argc != 3 || !http::parse_url(argv[1])) {
        std::cerr << "usage: example-one_turn URL PROMPT\n";
        return 2;
    }
    net::io_context io;
    runtime world(io.get_executor());
    opencode::server server(world, argv[1]);
    net::co_spawn(io, server.run(), net::detached); // throws nothing unless it is cancelled
    auto code = net::co_spawn(io, ask(server, argv[2]), net::use_future);
    io.run(); // returns when all has ended
    return code.get();
}
