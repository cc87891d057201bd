// holdfast-embed, and the README's example, against the simulated server.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/eventually.hpp"
#include "support/opencode_server.hpp"
#include "support/plain_http.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"
#include "support/raw_server.hpp"
#include "support/sim_process.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <poll.h>

#include <array>
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast::test;
using namespace std::chrono_literals;
namespace asio = boost::asio;
namespace json = boost::json;
using tcp = asio::ip::tcp;

namespace {

struct sse_event {
    std::string name;
    json::value data;
};

/// holdfast-embed on a free port.
class embed_process {
public:
    explicit embed_process(const std::string& server) : child_(options_for(server)) {
        const auto line = child_.wait_line([](std::string_view) { return true; }, 10s);
        if (!line || !line->starts_with("listening on http://127.0.0.1:"))
            throw std::runtime_error("holdfast-embed does not say where it listens");
        port_ = static_cast<unsigned short>(std::stoi(line->substr(line->rfind(':') + 1)));
    }

    [[nodiscard]] unsigned short port() const noexcept { return port_; }
    [[nodiscard]] process& child() noexcept { return child_; }

private:
    static process::options options_for(const std::string& server) {
        process::options what;
        what.argv = {program_path("holdfast-embed"), "--listen", "127.0.0.1:0", "--server", server};
        what.environment = current_environment();
        return what;
    }

    process child_;
    unsigned short port_ = 0;
};

/// A simulated OpenCode server and the embedding one before it.
struct embedded {
    sim_process sim;
    embed_process embed{sim.url()};
};

/// POST /ask, and the events that come back as they are asked for. Destroying it hangs up.
class asking {
public:
    asking(unsigned short port, std::string_view prompt) {
        const std::string request =
            "POST /ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + std::to_string(prompt.size()) +
            "\r\n\r\n" + std::string(prompt);
        socket_.connect(tcp::endpoint(asio::ip::address_v4::loopback(), port));
        asio::write(socket_, asio::buffer(request));
        head_ = read_until("\r\n\r\n").value_or("");
    }

    [[nodiscard]] const std::string& head() const { return head_; }

    /// The next event; nothing when the stream has ended.
    std::optional<sse_event> next() {
        const auto block = read_until("\n\n");
        if (!block)
            return std::nullopt;
        const auto line_end = block->find('\n');
        sse_event event;
        event.name = block->substr(7, line_end - 7);           // "event: "
        event.data = json::parse(block->substr(line_end + 7)); // "data: "
        return event;
    }

    /// The next event's name; "" when the stream has ended.
    std::string next_name() {
        const auto event = next();
        return event ? event->name : std::string();
    }

    std::vector<sse_event> rest() {
        std::vector<sse_event> all;
        while (auto event = next())
            all.push_back(std::move(*event));
        return all;
    }

private:
    /// What comes before `mark`, mark excluded; nothing at the end of the stream. Throws after silence, which
    /// is longest where there is no server: the default policy tries for a minute.
    std::optional<std::string> read_until(std::string_view mark) {
        std::array<char, 4096> block{};
        for (;;) {
            if (const auto at = unread_.find(mark); at != std::string::npos) {
                auto found = unread_.substr(0, at);
                unread_.erase(0, at + mark.size());
                return found;
            }
            pollfd wait{socket_.native_handle(), POLLIN, 0};
            if (::poll(&wait, 1, 180'000) == 0)
                throw std::runtime_error("no byte for three minutes");
            boost::system::error_code ended;
            unread_.append(block.data(), socket_.read_some(asio::buffer(block), ended));
            if (ended)
                return std::nullopt;
        }
    }

    asio::io_context context_;
    tcp::socket socket_{context_};
    std::string unread_;
    std::string head_;
};

std::string text_of(const std::vector<sse_event>& events) {
    std::string text;
    for (const auto& event : events)
        if (event.name == "text")
            text += event.data.at("delta").as_string();
    return text;
}

std::string outcome_of(const std::vector<sse_event>& events) {
    if (events.empty() || events.back().name != "settled")
        return "not settled";
    return std::string(events.back().data.at("outcome").as_string());
}

/// The first assistant message of the server's only session, or null.
json::value answer_at(unsigned short sim) {
    const auto sessions = json::parse(http_call(sim, "GET", "/session").body).as_array();
    if (sessions.empty())
        return nullptr;
    const auto id = std::string(sessions.front().at("id").as_string());
    const auto messages = json::parse(http_call(sim, "GET", "/session/" + id + "/message").body);
    for (const auto& message : messages.as_array())
        if (message.at("info").at("role").as_string() == "assistant")
            return message.at("info");
    return nullptr;
}

} // namespace

BOOST_FIXTURE_TEST_CASE(a_caller_is_streamed_the_text_and_then_told_the_outcome, embedded) {
    asking caller(embed.port(), "#plain");
    const auto events = caller.rest();

    BOOST_TEST(caller.head().find("200 OK") != std::string::npos);
    BOOST_TEST(caller.head().find("text/event-stream") != std::string::npos);
    BOOST_TEST(text_of(events) == "Hello from the simulated model.");
    BOOST_TEST(outcome_of(events) == "completed");
}

BOOST_FIXTURE_TEST_CASE(one_connection_after_the_other_is_served, embedded) {
    for (int i = 0; i < 5; ++i)
        BOOST_TEST(outcome_of(asking(embed.port(), "#plain").rest()) == "completed");
}

BOOST_FIXTURE_TEST_CASE(hanging_up_aborts_the_turn, embedded) {
    {
        asking caller(embed.port(), "#slow:200");
        BOOST_TEST(caller.next_name() == "text");
    }
    json::value error;
    BOOST_TEST(eventually(
        [&] {
            const auto answer = answer_at(sim.port());
            const auto* found = answer.is_object() ? answer.get_object().if_contains("error") : nullptr;
            error = found ? found->at("name") : json::value();
            return found != nullptr;
        },
        5s));
    BOOST_TEST(error == json::value("MessageAbortedError"));
    BOOST_TEST(embed.child().running());
}

BOOST_FIXTURE_TEST_CASE(two_callers_at_once_each_get_their_own_answer, embedded) {
    asking slow(embed.port(), "#slow:50");
    BOOST_TEST(slow.next_name() == "text");
    asking plain(embed.port(), "#plain");

    const auto of_plain = plain.rest();
    const auto of_slow = slow.rest();
    BOOST_TEST(text_of(of_plain) == "Hello from the simulated model.");
    BOOST_TEST(outcome_of(of_plain) == "completed");
    BOOST_TEST(outcome_of(of_slow) == "completed");
    BOOST_TEST(of_slow.size() > 40U);
}

BOOST_AUTO_TEST_CASE(without_a_server_the_caller_is_told_that_it_failed) {
    embed_process embed(dead_url());
    const auto events = asking(embed.port(), "#plain").rest();

    BOOST_TEST(outcome_of(events) == "failed");
    BOOST_TEST(events.size() == 1U);
    BOOST_TEST(std::string(events.back().data.at("error").as_string()).find("refused") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(anything_but_a_post_to_ask_is_not_found, embedded) {
    BOOST_TEST(http_call(embed.port(), "GET", "/ask").status == 404);
    BOOST_TEST(http_call(embed.port(), "POST", "/other", "text").status == 404);
}

BOOST_FIXTURE_TEST_CASE(a_signal_ends_it_within_two_seconds_and_open_turns_are_told, embedded) {
    asking caller(embed.port(), "#slow:500");
    BOOST_TEST(caller.next_name() == "text");
    asking idle(embed.port(), "#silent");

    embed.child().signal(SIGTERM);

    BOOST_TEST(outcome_of(caller.rest()) == "detached");
    const auto ended = embed.child().wait(2s);
    BOOST_TEST(ended.has_value());
    BOOST_TEST((ended == exit_status{0, 0}));
}

BOOST_AUTO_TEST_CASE(a_caller_that_never_finishes_its_request_does_not_delay_the_end) {
    embedded servers;
    asio::io_context context;
    tcp::socket socket(context);
    socket.connect(tcp::endpoint(asio::ip::address_v4::loopback(), servers.embed.port()));
    asio::write(socket, asio::buffer(std::string_view("POST /ask HTTP/1.1\r\n")));
    BOOST_TEST(http_call(servers.embed.port(), "GET", "/").status == 404); // it was accepted before this one

    servers.embed.child().signal(SIGINT);

    BOOST_TEST((servers.embed.child().wait(2s) == exit_status{0, 0}));
}

BOOST_AUTO_TEST_CASE(a_port_that_is_taken_and_bad_arguments_are_told_in_one_line) {
    embedded servers;
    const auto taken =
        run_command("holdfast-embed", {"--listen", "127.0.0.1:" + std::to_string(servers.embed.port())});
    BOOST_TEST((taken.status == exit_status{2, 0}));
    BOOST_TEST(taken.errors.size() == 1U);
    for (const auto& arguments : std::vector<std::vector<std::string>>{
             {"--listen"}, {"--other", "1"}, {"--listen", "nowhere"}, {"--server", "no url"}}) {
        const auto refused = run_command("holdfast-embed", arguments);
        BOOST_TEST((refused.status == exit_status{2, 0}), refused.text());
        BOOST_TEST(refused.errors.size() == 1U, refused.text());
    }
}

BOOST_AUTO_TEST_CASE(the_readme_example_prints_the_answer_and_how_the_turn_ended) {
    sim_process sim;
    const auto ran = run_command("readme-example", {sim.url()});

    BOOST_TEST((ran.status == exit_status{0, 0}), ran.text());
    const std::vector<std::string> expected{"Hello from the simulated model.", "[completed]"};
    BOOST_TEST(ran.output == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_readme_example_says_why_when_there_is_no_server) {
    command_options options;
    options.deadline = 180s; // the default policy tries for a minute
    const auto ran = run_command("readme-example", {dead_url()}, options);
    BOOST_TEST((ran.status == exit_status{0, 0}), ran.text());
    BOOST_REQUIRE(ran.output.size() == 2U);
    BOOST_TEST(ran.output.back().starts_with("[failed: "), ran.text());
}
