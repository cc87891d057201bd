// List, then watch by JSON lines: bookmarks move the version on, and 410 (too old) has all listed again.
//     kubectl proxy & example-kubernetes_watch http://localhost:8001/api/v1/pods 10
#include <holdfast/stream/event_source.hpp>
#include <holdfast/stream/ndjson.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/parse.hpp>

#include <iostream>

namespace json = boost::json;
using namespace holdfast;

net::awaitable<std::string> list(runtime& world, http::url where) {
    const auto got =
        co_await http::fetch(world, where, http::request(), http::transport(), http::response_limits());
    const auto all = json::parse(got.value().body);
    std::cout << "listed " << all.at("items").as_array().size() << '\n' << std::flush;
    co_return std::string(all.at("metadata").at("resourceVersion").as_string());
}

// An error is a line of a stream of status 200; one of status 410 is final.
std::optional<failure> judge(const sse::event& line) {
    const auto change = json::parse(line.data);
    if (change.at("type") != "ERROR")
        return std::nullopt;
    return make_status_failure(change.at("object").at("code").to_number<int>(), std::string(line.data), {});
}

// Prints so many changes, and counts them down. Returns the status of what ended it.
net::awaitable<int> watch(runtime& world, http::url where, std::string version, int& changes) {
    stream::source_config config;
    config.locate = [where] {
        return stream::location{stream::location::state::up, where};
    };
    config.framing = stream::ndjson;
    config.judge = judge;
    config.next_request = [&version](auto, const auto&, http::request& what) -> net::awaitable<result<void>> {
        what.target += "?watch=true&allowWatchBookmarks=true&resourceVersion=" + version;
        co_return result<void>();
    };
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next()) {
        if (item->what == stream::item::kind::gave_up)
            co_return item->failure.status;
        if (item->what != stream::item::kind::event || judge(item->event))
            continue;
        const auto change = json::parse(item->event.data);
        const auto& about = change.at("object").at("metadata");
        version = about.at("resourceVersion").as_string();
        if (change.at("type") != "BOOKMARK")
            std::cout << change.at("type") << ' ' << about.at("name") << '\n' << std::flush, --changes;
        if (changes == 0)
            break;
    }
    co_return 0;
}

net::awaitable<int> list_and_watch(runtime& world, http::url where, int changes) {
    for (int status = 410; status == 410;) {
        auto version = co_await list(world, where);
        status = co_await watch(world, where, std::move(version), changes);
    }
    co_return changes == 0 ? 0 : 1;
}

int main(int argc, char** argv) try {
    const auto where = http::parse_url(argc == 3 ? argv[1] : "").value();
    net::io_context io;
    runtime world(io.get_executor());
    auto code = net::co_spawn(io, list_and_watch(world, where, std::stoi(argv[2])), net::use_future);
    io.run();
    return code.get();
} catch (const std::exception& e) {
    std::cerr << "example-kubernetes_watch URL CHANGES: " << e.what() << '\n';
    return 2;
}
