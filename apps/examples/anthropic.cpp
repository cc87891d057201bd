// Failures that come as events: Anthropic says in a stream of status 200 that it is overloaded.
//
//     ANTHROPIC_API_KEY=... example-anthropic https://api.anthropic.com/v1/messages "Say hello."
#include <holdfast/stream/event_source.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <cstdlib>
#include <iostream>
#include <map>

namespace json = boost::json;
using namespace holdfast;

// The text at this place of a JSON document, without what could move a terminal's cursor.
std::string text_at(std::string_view place, std::string_view document) {
    boost::system::error_code none;
    const auto parsed = json::parse(document, none);
    const auto* const found = parsed.find_pointer(place, none);
    std::string text(found && found->is_string() ? std::string_view(found->as_string()) : "");
    std::erase_if(text, [](unsigned char c) { return (c < 0x20 && c != '\n') || c == 0x7f; });
    return text;
}

// The same errors have a status where they come as an answer: by it they are tried again, or not.
std::optional<failure> judge(const sse::event& event) {
    static const std::map<std::string, int> statuses{
        {"overloaded_error", 529}, {"rate_limit_error", 429}, {"api_error", 500}, {"timeout_error", 504}};
    if (event.type != "error")
        return std::nullopt;
    const auto known = statuses.find(text_at("/error/type", event.data));
    return make_status_failure(known == statuses.end() ? 400 : known->second, std::string(event.data), {});
}

// Prints the answer; from its beginning again, where it was interrupted.
net::awaitable<int> answer(runtime& world, stream::source_config config) {
    using kind = stream::item::kind;
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next()) {
        if (item->what == kind::interrupted || item->what == kind::gave_up)
            std::cout << "\n[" << text_at("/error/message", item->failure.body) << "]\n";
        if (item->event.type == "content_block_delta")
            std::cout << text_at("/delta/text", item->event.data) << std::flush;
        if (item->event.type == "message_stop")
            co_return 0;
    }
    co_return 1;
}

int main(int argc, char** argv) {
    const auto where = http::parse_url(argc == 3 ? argv[1] : "");
    if (!where) {
        std::cerr << "usage: [ANTHROPIC_API_KEY=...] example-anthropic URL PROMPT\n";
        return 2;
    }
    stream::source_config config;
    config.locate = [where] {
        return stream::location{stream::location::state::up, *where};
    };
    config.method = "POST";
    config.repeat_unsafe = true; // asked again, it answers again: that costs, and changes nothing
    config.headers = {{"Content-Type", "application/json"}, {"anthropic-version", "2023-06-01"}};
    if (const char* const key = std::getenv("ANTHROPIC_API_KEY"))
        config.headers.emplace_back("x-api-key", key);
    const json::array prompt{json::object{{"role", "user"}, {"content", argv[2]}}};
    config.body = json::serialize(json::object{
        {"model", "claude-sonnet-4-5"}, {"max_tokens", 1024}, {"stream", true}, {"messages", prompt}});
    config.judge = judge;
    net::io_context io;
    runtime world(io.get_executor());
    auto code = net::co_spawn(io, answer(world, std::move(config)), net::use_future);
    io.run();
    return code.get();
}
