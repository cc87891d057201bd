// A stream that goes on where the last run ended: the id of the last change that was dealt with is in a file.
//
//     example-wikimedia https://stream.wikimedia.org/v2/stream/recentchange last_id 5
#include <holdfast/stream/event_source.hpp>
#include <holdfast/stream/id_store.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <iostream>

namespace json = boost::json;
using namespace holdfast;

// Prints the title of a change. The service also sends events of its own, which are to be passed over.
bool print_change(std::string_view data) {
    boost::system::error_code none;
    const auto change = json::parse(data, none);
    const auto* const domain = change.find_pointer("/meta/domain", none);
    const auto* const title = change.find_pointer("/title", none);
    if (!title || (domain && *domain == "canary"))
        return false;
    std::cout << json::serialize(*title) << '\n' << std::flush; // as JSON: titles may hold anything
    return true;
}

net::awaitable<int> follow(runtime& world, stream::source_config config, int most) {
    using kind = stream::item::kind;
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next()) { // which also stores the id of the event before
        if (item->what == kind::interrupted)
            std::cerr << item->failure.message << ", again in " << to_ms(item->retry_in) << " ms\n";
        if (item->what == kind::gave_up)
            std::cerr << item->failure.message << '\n';
        if (item->what == kind::event && print_change(item->event.data) && --most == 0) {
            source.commit(); // the last one was dealt with, too
            co_return 0;
        }
    }
    co_return 1;
}

int main(int argc, char** argv) {
    const auto where = http::parse_url(argc == 4 ? argv[1] : "");
    const int most = argc == 4 ? std::atoi(argv[3]) : 0;
    if (!where || most <= 0) {
        std::cerr << "usage: example-wikimedia URL FILE CHANGES\n";
        return 2;
    }
    stream::source_config config;
    config.locate = [where] {
        return stream::location{stream::location::state::up, *where};
    };
    config.headers = {
        {"User-Agent", "example-wikimedia (https://example.org; me@example.org)"}}; // it asks who you are
    config.ids = stream::make_file_id_store(make_system_files(), argv[2]);
    net::io_context io;
    runtime world(io.get_executor());
    auto code = net::co_spawn(io, follow(world, std::move(config), most), net::use_future);
    io.run();
    return code.get();
}
