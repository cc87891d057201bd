// Holds any event stream: reads it, and connects again when it breaks, until Ctrl-C.
//
//     example-hold_stream https://example.org/events
#include <holdfast/stream/event_source.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <iostream>

using namespace holdfast;

net::awaitable<int> hold(runtime& world, stream::source_config config) {
    using kind = stream::item::kind;
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next()) {
        if (item->what == kind::event) // its data is untrusted: only its size is shown
            std::cout << item->event.type << ", " << item->event.data.size() << " bytes\n" << std::flush;
        if (item->what == kind::interrupted)
            std::cout << item->failure.message << ", again in " << to_ms(item->retry_in) << " ms\n"
                      << std::flush;
        if (item->what == kind::gave_up)
            std::cout << "gave up: " << item->failure.message << '\n';
    }
    co_return 1;
}

int main(int argc, char** argv) {
    const auto where = http::parse_url(argc == 2 ? argv[1] : "");
    if (!where) {
        std::cerr << "usage: example-hold_stream URL\n";
        return 2;
    }
    stream::source_config config;
    config.locate = [where] {
        return stream::location{stream::location::state::up, *where};
    };
    config.policy.max_attempts = 2; // retries: it gives up at the third failure in a row
    net::io_context io;
    runtime world(io.get_executor());
    auto code = net::co_spawn(io, hold(world, std::move(config)), net::use_future);
    io.run();
    return code.get();
}
