// What happens in a session that other clients prompt, until so many of its turns have ended.
//
//     example-follow http://127.0.0.1:4096 ses_... 2
#include <holdfast/opencode/server.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <iostream>

using namespace holdfast;

net::awaitable<int> follow(opencode::server& server, std::string session, int most) {
    auto feed = server.follow(std::move(session), opencode::follow_by::activity);
    while (auto told = co_await feed.next()) {
        if (std::holds_alternative<opencode::text_event>(told->event))
            continue; // of the turn that told->message names
        if (auto* end = std::get_if<opencode::settlement>(&told->event)) {
            std::cout << "a turn " << to_string(end->outcome) << ", " << end->text.size()
                      << " bytes of text\n"
                      << std::flush;
            if (--most == 0)
                break;
        }
    }
    server.stop();
    co_return most == 0 ? 0 : 1; // a feed ends when its session is deleted, or the server gives up
}

int main(int argc, char** argv) {
    const int most = argc == 4 ? std::atoi(argv[3]) : 0;
    if (most <= 0 || !http::parse_url(argv[1])) {
        std::cerr << "usage: example-follow URL SESSION TURNS\n";
        return 2;
    }
    net::io_context io;
    runtime world(io.get_executor());
    opencode::server server(world, argv[1]);
    net::co_spawn(io, server.run(), net::detached); // throws nothing unless it is cancelled
    auto code = net::co_spawn(io, follow(server, argv[2], most), net::use_future);
    io.run();
    return code.get();
}
