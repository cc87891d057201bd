// A token that expires: it is asked for before each connect, and a 401 is tried again with a new one.
//
//     example-token_refresh https://example.org/events ./print-a-token 3
#include <holdfast/stream/event_source.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

using namespace holdfast;

// The first line that a command prints. A server would ask another service, with `co_await`.
std::string first_line_of(const std::string& command) {
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
    char line[4096] = {};
    if (!pipe || !std::fgets(line, sizeof line, pipe.get()))
        return {};
    const std::string all = line;
    return all.substr(0, all.find('\n'));
}

net::awaitable<result<void>> add_token(std::string command, http::request& request) {
    const auto token = first_line_of(command);
    if (token.empty())
        co_return make_failure(errc::local, "no token: " + command + " printed nothing");
    request.headers.emplace_back("Authorization", "Bearer " + token);
    co_return result<void>();
}

net::awaitable<int> hold(runtime& world, stream::source_config config, int most) {
    using kind = stream::item::kind;
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next()) {
        if (item->what == kind::interrupted || item->what == kind::gave_up)
            std::cerr << item->failure.message << '\n';
        if (item->what == kind::event) {
            std::cout << item->event.type << '\n' << std::flush;
            if (--most == 0)
                co_return 0;
        }
    }
    co_return 1;
}

int main(int argc, char** argv) {
    const auto where = http::parse_url(argc == 4 ? argv[1] : "");
    const int most = argc == 4 ? std::atoi(argv[3]) : 0;
    if (!where || most <= 0) {
        std::cerr << "usage: example-token_refresh URL COMMAND EVENTS\n";
        return 2;
    }
    stream::source_config config;
    config.locate = [where] {
        return stream::location{stream::location::state::up, *where};
    };
    config.next_request = [command = std::string(argv[2])](std::string_view, const sse::event&,
                                                           http::request& request) {
        return add_token(command, request);
    };
    config.policy.statuses.transient_too = {401}; // final otherwise: the same token would be refused again
    net::io_context io;
    runtime world(io.get_executor());
    auto code = net::co_spawn(io, hold(world, std::move(config), most), net::use_future);
    io.run();
    return code.get();
}
