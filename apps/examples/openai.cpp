// A response that OpenAI makes in the background: where its stream breaks, the rest is asked for by
// `starting_after`, and nothing is paid twice.
//
//     OPENAI_API_KEY=... example-openai https://api.openai.com/v1/responses "Say hello."
#include <holdfast/stream/event_source.hpp>
#include <holdfast/stream/resume.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <cstdlib>
#include <iostream>

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

stream::source_config asking(const http::url& where, const char* prompt) {
    stream::source_config config;
    config.locate = [where] {
        return stream::location{stream::location::state::up, where};
    };
    config.method = "POST"; // never sent twice: see `repeat_unsafe`
    config.headers = {{"Content-Type", "application/json"}};
    if (const char* const key = std::getenv("OPENAI_API_KEY"))
        config.headers.emplace_back("Authorization", std::string("Bearer ") + key);
    config.body = json::serialize(
        json::object{{"model", "gpt-5"}, {"input", prompt}, {"background", true}, {"stream", true}});
    config.stall_timeout = minutes(5); // a model may think for long
    stream::resume_by_starting_after(config);
    return config;
}

// Prints the answer. Returns why it is not whole; empty: it is.
net::awaitable<std::string> answer(runtime& world, stream::source_config config) {
    using kind = stream::item::kind;
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next()) {
        const auto& event = item->event;
        if (item->what == kind::interrupted)
            std::cerr << item->failure.message << ", again in " << to_ms(item->retry_in) << " ms\n";
        if (item->what == kind::gave_up)
            co_return item->failure.message;
        if (event.type == "response.output_text.delta")
            std::cout << text_at("/delta", event.data) << std::flush;
        if (event.type == "response.failed")
            co_return text_at("/response/error/message", event.data);
        if (event.type == "response.completed" || event.data == "[DONE]")
            co_return std::string();
    }
    co_return "the server is gone";
}

int main(int argc, char** argv) {
    const auto where = http::parse_url(argc == 3 ? argv[1] : "");
    if (!where) {
        std::cerr << "usage: [OPENAI_API_KEY=...] example-openai URL PROMPT\n";
        return 2;
    }
    net::io_context io;
    runtime world(io.get_executor());
    auto answered = net::co_spawn(io, answer(world, asking(*where, argv[2])), net::use_future);
    io.run();
    const auto why = answered.get();
    std::cout << '\n' << (why.empty() ? "" : "not whole: " + why + '\n');
    return why.empty() ? 0 : 1;
}
