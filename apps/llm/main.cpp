// holdfast-llm: asks a model behind an OpenAI-compatible endpoint, and prints its answer as it comes.
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

/// The text at this place of a JSON document, fit for a terminal; empty when there is none.
std::string text_at(std::string_view place, std::string_view document) {
    boost::system::error_code none;
    const json::value parsed = json::parse(document, none);
    const json::value* const found = parsed.find_pointer(place, none);
    std::string text(found && found->is_string() ? std::string_view(found->as_string()) : "");
    std::erase_if(text, [](unsigned char c) { return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f; });
    return text;
}

/// Prints the answer. Returns why it is not whole; empty: it is.
net::awaitable<std::string> answer(runtime& world, stream::source_config config) {
    using kind = stream::item::kind;
    std::string why = "the answer ended before it was whole";
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next()) {
        const auto refusal = text_at("/error/message", item->failure.body);
        if (item->what == kind::interrupted) // before the model was at work
            std::cerr << item->failure.message << ", next try in " << to_ms(item->retry_in) << " ms\n";
        if (item->what == kind::gave_up)
            why = item->failure.message + (refusal.empty() ? "" : ": " + refusal);
        if (item->event.data == "[DONE]")
            why.clear(), source.close();
        if (const auto error = text_at("/error/message", item->event.data); !error.empty())
            why = error, source.close();
        std::cout << text_at("/choices/0/delta/content", item->event.data) << std::flush;
    }
    std::cout << (source.statistics().events > 0 ? "\n" : "");
    co_return why;
}

int main(int argc, char** argv) try {
    const char* const key = std::getenv("OPENAI_API_KEY"); // no flag: everybody sees a program's arguments
    std::map<std::string, std::string> set{{"--url", "https://api.openai.com/v1"}, {"--model", "gpt-4o"}};
    for (int i = 1; i + 2 < argc; i += 2)
        set[argv[i]] = argv[i + 1];
    const auto base = http::parse_url(set["--url"]);
    if (argc % 2 != 0 || *argv[argc - 1] == '-' || set.size() != 2 || !base) {
        std::cerr << "usage: [OPENAI_API_KEY=...] holdfast-llm [--url http[s]://...] [--model NAME] PROMPT\n";
        return 2;
    }
    stream::source_config config;
    config.locate = [url = base->with_path("/chat/completions")] {
        return stream::location{stream::location::state::up, url};
    };
    config.method = "POST"; // sent once: see `repeat_unsafe`
    config.headers = {{"Content-Type", "application/json"}};
    if (key)
        config.headers.push_back({"Authorization", std::string("Bearer ") + key});
    const json::array ask{json::object{{"role", "user"}, {"content", argv[argc - 1]}}};
    config.body =
        json::serialize(json::object{{"model", set["--model"]}, {"stream", true}, {"messages", ask}});
    config.clean_end = stream::clean_end::done;
    config.transport.deadlines.header = config.stall_timeout = minutes(5); // a model may think for long
    net::io_context io(1);
    runtime world(io.get_executor());
    auto answered = net::co_spawn(io, answer(world, std::move(config)), net::use_future);
    io.run();
    if (const auto why = answered.get(); !why.empty())
        throw std::runtime_error(why);
} catch (const std::exception& e) {
    std::cerr << "holdfast-llm: " << e.what() << '\n';
    return 1;
}
