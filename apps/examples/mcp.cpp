// An MCP client's two kinds of streams (Streamable HTTP).
//     example-mcp 2025 http://localhost:3000/mcp    # calls a tool, and comes back for its answer by GET
//     example-mcp 2026 http://localhost:3000/mcp    # listens by one long POST, made anew when it breaks
#include <holdfast/stream/event_source.hpp>
#include <holdfast/stream/resume.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <iostream>

namespace json = boost::json;
using namespace holdfast;

std::string request(int id, std::string_view method, const json::object& params) {
    return json::serialize(
        json::object{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}});
}

// 2025-11-25: events have ids. A server may hang up behind the first, an empty one, and say when to ask
// again.
void call_tool(stream::source_config& config) {
    config.headers.emplace_back("MCP-Protocol-Version", "2025-11-25");
    config.body = request(1, "tools/call", {{"name", "echo"}, {"arguments", json::object()}});
    stream::resume_by_get(config);
}

// 2026-07-28: nothing is resumed. What broke is asked for again, by a request with another id.
void listen(stream::source_config& config) {
    config.headers.emplace_back("MCP-Protocol-Version", "2026-07-28");
    config.repeat_unsafe = true; // to listen changes nothing
    config.next_request = [id = 0](auto, const auto&,
                                   http::request& what) mutable -> net::awaitable<result<void>> {
        what.body = request(++id, "subscriptions/listen", {});
        co_return result<void>();
    };
}

// Prints each message, up to the response. A server may also give that as one JSON text, without a stream.
net::awaitable<int> tell(runtime& world, stream::source_config config) {
    using kind = stream::item::kind;
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next()) {
        if (item->what == kind::interrupted || item->what == kind::gave_up)
            std::cerr << item->failure.message << '\n';
        const auto text = item->what == kind::answered ? item->body : item->event.data;
        if (text.empty()) // accepted (202), or an event that gives an id alone
            continue;
        const auto message = json::parse(text);
        std::cout << message << '\n' << std::flush;
        if (message.as_object().contains("result") || message.as_object().contains("error"))
            co_return 0;
    }
    co_return 1;
}

int main(int argc, char** argv) {
    const auto where = http::parse_url(argc == 3 ? argv[2] : "");
    if (!where) {
        std::cerr << "usage: example-mcp 2025|2026 URL\n";
        return 2;
    }
    stream::source_config config;
    config.locate = [where] {
        return stream::location(stream::location::state::up, *where);
    };
    config.method = "POST";
    config.headers = {{"Content-Type", "application/json"}};
    config.answers = stream::answers::json;
    argv[1] == std::string("2025") ? call_tool(config) : listen(config);
    net::io_context io;
    runtime world(io.get_executor());
    auto code = net::co_spawn(io, tell(world, std::move(config)), net::use_future);
    io.run();
    return code.get();
}
