// Models' answers as event streams: holdfast-llm against a scripted OpenAI-compatible endpoint, and named
// events as Anthropic sends them through event_source.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/ports.hpp"
#include "support/raw_server.hpp"

#include <holdfast/stream/event_source.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <string>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
namespace json = boost::json;
using lines = std::vector<std::string>;

std::string data(const json::object& chunk) {
    return "data: " + json::serialize(chunk) + "\n\n";
}

std::string delta(std::string_view text) {
    const json::object choice{
        {"index", 0}, {"delta", json::object{{"content", text}}}, {"finish_reason", nullptr}};
    return data({{"object", "chat.completion.chunk"}, {"choices", json::array{choice}}});
}

std::string refusal(std::string_view why) {
    return json::serialize(json::object{{"error", {{"message", why}, {"type", "invalid_request_error"}}}});
}

const std::string hello = delta("Hel") + ": keep-alive\n\n" + delta("lo.") + "data: [DONE]\n\n";

command_result ask(const std::string& base, const std::string& prompt = "Say hello.",
                   const std::string& key = "k-1") {
    command_options options;
    std::erase_if(options.environment, [](const auto& each) { return each.starts_with("OPENAI_"); });
    if (!key.empty())
        options.environment.push_back("OPENAI_API_KEY=" + key);
    return run_command("holdfast-llm", {"--url", base, "--model", "m-1", prompt}, options);
}

void check(const command_result& done, int code, const lines& output, const lines& errors) {
    BOOST_TEST(done.code() == code, done.text());
    BOOST_TEST(done.output == output, done.text());
    BOOST_TEST(done.errors == errors, done.text());
}

} // namespace

// --- holdfast-llm

BOOST_AUTO_TEST_CASE(an_answer_is_printed_until_its_done_mark) {
    raw_server server({event_stream(hello, reply::ending::hold)});
    check(ask(server.url("/v1")), 0, {"Hello."}, {});
    const auto asked = server.requests().at(0);
    BOOST_TEST(asked.method() == "POST");
    BOOST_TEST(asked.target() == "/v1/chat/completions");
    BOOST_TEST(asked.header("Authorization") == "Bearer k-1");
    BOOST_TEST(asked.header("Content-Type") == "application/json");
    BOOST_TEST(asked.body ==
               R"({"model":"m-1","stream":true,"messages":[{"role":"user","content":"Say hello."}]})");
}

BOOST_AUTO_TEST_CASE(without_a_key_none_is_sent) {
    raw_server server({event_stream(hello, reply::ending::hold)});
    check(ask(server.url("/v1/"), "x", ""), 0, {"Hello."}, {});
    BOOST_TEST(server.requests().at(0).head.find("Authorization") == std::string::npos);
    BOOST_TEST(server.requests().at(0).target() == "/v1/chat/completions");
}

BOOST_AUTO_TEST_CASE(a_refusal_is_told_in_the_servers_words_and_nothing_is_asked_again) {
    for (const int status : {400, 401, 404, 429, 500, 503}) {
        raw_server server({answer(status, "application/json", refusal("Incorrect API key\x1b[2J provided"),
                                  "Retry-After: 0\r\n")});
        const auto done = ask(server.url());
        BOOST_TEST(done.code() == 1, done.text());
        BOOST_TEST(done.output.empty(), done.text());
        BOOST_TEST_REQUIRE(done.errors.size() == 1U, done.text());
        const std::string begin = "holdfast-llm: the server answered with status " + std::to_string(status);
        BOOST_TEST(done.errors.front().starts_with(begin), done.text());
        BOOST_TEST(done.errors.front().ends_with(": Incorrect API key[2J provided"), done.text());
        BOOST_TEST(server.requests().size() == 1U);
    }
}

BOOST_AUTO_TEST_CASE(an_answer_that_is_cut_is_an_error_and_is_not_asked_for_again) {
    for (const auto ending : {reply::ending::close, reply::ending::reset}) {
        auto half = event_stream(delta("Hel"), ending, 100ms);
        half.bytes.replace(half.bytes.find("Connection: close"), 17, "Content-Length: 1000");
        raw_server server({half, event_stream(hello, reply::ending::hold)});
        const auto done = ask(server.url());
        BOOST_TEST(done.code() == 1);
        BOOST_TEST(done.output == lines{"Hel"}, done.text());
        BOOST_TEST_REQUIRE(done.errors.size() == 1U, done.text());
        BOOST_TEST(done.errors.front().starts_with("holdfast-llm: the connection was cut"), done.text());
        BOOST_TEST(server.requests().size() == 1U);
    }
}

BOOST_AUTO_TEST_CASE(an_end_without_the_done_mark_is_no_whole_answer) {
    raw_server server({event_stream(delta("Hel"))});
    check(ask(server.url()), 1, {"Hel"}, {"holdfast-llm: the answer ended before it was whole"});
    BOOST_TEST(server.requests().size() == 1U);
}

BOOST_AUTO_TEST_CASE(an_error_in_mid_answer_is_told) {
    raw_server server(
        {event_stream(delta("Hel") + "data: " + refusal("overloaded") + "\n\n", reply::ending::hold)});
    check(ask(server.url()), 1, {"Hel"}, {"holdfast-llm: overloaded"});
}

BOOST_AUTO_TEST_CASE(what_a_model_says_cannot_move_the_cursor) {
    raw_server server({event_stream(delta("a\x1b[2J\r\tb\nc") + "data: [DONE]\n\n", reply::ending::hold)});
    check(ask(server.url()), 0, {"a[2J\tb", "c"}, {});
}

BOOST_AUTO_TEST_CASE(wrong_usage_is_one_line_and_exit_code_two) {
    const auto url = dead_url();
    for (const lines& wrong : {lines{},
                               {"--help"},
                               {"--url", url},
                               {"--url", "ftp://x", "hello"},
                               {"--key", "k", "hello"},
                               {"a", "b"}}) {
        const auto done = run_command("holdfast-llm", wrong);
        BOOST_TEST(done.code() == 2, done.text());
        BOOST_TEST(done.errors.size() == 1U, done.text());
        BOOST_TEST(done.errors.front().starts_with("usage: "), done.text());
    }
}

// --- named events

BOOST_AUTO_TEST_CASE(named_events_come_with_their_names_and_the_end_of_the_answer_is_the_end) {
    raw_server server({event_stream(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"role\":\"assistant\"}}\n\n"
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0}\n\n"
        "event: ping\ndata: {\"type\":\"ping\"}\n\n"
        "event: content_block_delta\ndata: {\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel\"}}\n\n"
        "event: content_block_delta\ndata: {\"delta\":{\"type\":\"text_delta\",\"text\":\"lo.\"}}\n\n"
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")});
    using namespace holdfast;
    stream::source_config config;
    config.locate = [url = http::parse_url(server.url("/v1/messages")).value()] {
        return stream::location{stream::location::state::up, url};
    };
    config.method = "POST";
    config.headers = {
        {"x-api-key", "k-1"}, {"anthropic-version", "2023-06-01"}, {"content-type", "application/json"}};
    config.body = R"({"model":"m-1","stream":true})";
    config.clean_end = stream::clean_end::done;

    net::io_context io(1);
    runtime world(io.get_executor());
    std::string names, text;
    const auto listen = [&]() -> net::awaitable<void> {
        using kind = stream::item::kind;
        stream::event_source source(world, config);
        while (const auto item = co_await source.next()) {
            if (item->what == kind::event)
                names += std::string(item->event.type) + ' ';
            if (item->what == kind::done)
                names += "done";
            if (item->event.type == "content_block_delta")
                text += json::parse(item->event.data).at("delta").at("text").as_string();
        }
    };
    std::exception_ptr thrown;
    net::co_spawn(io, listen(), [&](std::exception_ptr e) { thrown = e; });
    io.run();
    if (thrown)
        std::rethrow_exception(thrown);

    BOOST_TEST(names == "message_start content_block_start ping content_block_delta content_block_delta "
                        "content_block_stop message_stop done");
    BOOST_TEST(text == "Hello.");
    const auto asked = server.requests().at(0);
    BOOST_TEST(asked.header("x-api-key") == "k-1");
    BOOST_TEST(asked.header("Accept") == "text/event-stream");
    BOOST_TEST(asked.body == config.body);
}
