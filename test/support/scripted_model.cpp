#include "support/scripted_model.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

namespace holdfast::test {

namespace asio = boost::asio;
namespace json = boost::json;
using tcp = asio::ip::tcp;
using std::chrono::milliseconds;

namespace {

// --- What was asked -------------------------------------------------------------------------------------

struct request_head {
    std::string method;
    std::string target;
    std::size_t content_length = 0;
};

request_head parse_head(std::string_view head) {
    request_head result;
    const auto method_end = head.find(' ');
    const auto target_end = head.find(' ', method_end + 1);
    result.method = head.substr(0, method_end);
    result.target = head.substr(method_end + 1, target_end - method_end - 1);
    std::string lower(head);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    constexpr std::string_view name = "\r\ncontent-length:";
    if (const auto at = lower.find(name); at != std::string::npos) {
        const auto digits = lower.find_first_of("0123456789", at + name.size());
        std::from_chars(lower.data() + digits, lower.data() + lower.size(), result.content_length);
    }
    return result;
}

/// The text of a message, whose content is a string or a list of parts.
std::string text_of(const json::object& message) {
    const auto* content = message.if_contains("content");
    if (content == nullptr) {
        return {};
    }
    if (const auto* text = content->if_string()) {
        return std::string(*text);
    }
    std::string joined;
    if (const auto* parts = content->if_array()) {
        for (const auto& part : *parts) {
            const auto* object = part.if_object();
            const auto* text = object != nullptr ? object->if_contains("text") : nullptr;
            if (text != nullptr && text->is_string()) {
                joined.append(text->get_string()).append("\n");
            }
        }
    }
    return joined;
}

std::string_view role_of(const json::object& message) {
    const auto* role = message.if_contains("role");
    return role != nullptr && role->is_string() ? std::string_view(role->get_string()) : std::string_view();
}

struct scenario_tag {
    std::string name = "plain";         ///< without the #
    std::vector<std::string> arguments; ///< what stood between colons after it

    std::string whole() const {
        std::string text = name;
        for (const auto& argument : arguments) {
            text.append(":").append(argument);
        }
        return text;
    }
    std::size_t number(std::size_t index, std::size_t otherwise) const {
        std::size_t value = otherwise;
        if (index < arguments.size()) {
            const auto& text = arguments[index];
            std::from_chars(text.data(), text.data() + text.size(), value);
        }
        return value;
    }
};

bool is_known(std::string_view name) {
    static const std::set<std::string_view> names{
        "plain",   "slow",     "reason",      "big",  "finish-length", "read",     "bash", "question",
        "todo",    "task",     "e400",        "e401", "e500",          "e500once", "e429", "cutonce",
        "garbage", "overflow", "overflow-ok", "hang", "silent",        "nofinish"};
    return names.contains(name);
}

/// The last known tag of a text. The text may be wrapped in words of the server's own.
scenario_tag find_tag(std::string_view text) {
    for (auto at = text.rfind('#'); at != std::string_view::npos; at = text.rfind('#', at - 1)) {
        const auto end = text.find_first_of(" \t\r\n\"<", at);
        std::string_view word = text.substr(at + 1, end == std::string_view::npos ? end : end - at - 1);
        scenario_tag tag;
        tag.name = word.substr(0, word.find(':'));
        while (word.find(':') != std::string_view::npos) {
            word.remove_prefix(word.find(':') + 1);
            tag.arguments.emplace_back(word.substr(0, word.find(':')));
        }
        if (is_known(tag.name)) {
            return tag;
        }
        if (at == 0) {
            break;
        }
    }
    return {};
}

std::string decode_base64(std::string_view text) {
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string decoded;
    unsigned bits = 0;
    int count = 0;
    for (const char c : text.substr(0, text.find('='))) {
        bits = (bits << 6U) | static_cast<unsigned>(alphabet.find(c));
        count += 6;
        if (count >= 8) {
            count -= 8;
            decoded.push_back(static_cast<char>((bits >> static_cast<unsigned>(count)) & 0xFFU));
        }
    }
    return decoded;
}

enum class purpose { turn, title, compaction };

/// One chat completion request, as far as the script cares.
struct chat_request {
    purpose kind = purpose::turn;
    std::string prompt; ///< the last user message
    scenario_tag tag;
    std::size_t tool_results = 0; ///< that follow the last user message
    bool overflows = false;       ///< a user message of the conversation says #overflow
};

/// In the message by which the server itself goes on after a compaction.
constexpr const char* continuation_words = "Continue if you have next steps";

purpose purpose_of(const std::string& instructions, const std::string& last_user_text) {
    if (instructions.find("title generator") != std::string::npos) {
        return purpose::title;
    }
    if (instructions.find("summarization assistant") != std::string::npos ||
        last_user_text.find("anchored summary") != std::string::npos) {
        return purpose::compaction;
    }
    return purpose::turn;
}

chat_request read_chat_request(const std::string& body) {
    json::parse_options options;
    options.max_depth = 512; // tool schemas nest deeply
    const auto document = json::parse(body, {}, options);
    chat_request request;
    std::string instructions;
    for (const auto& value : document.at("messages").as_array()) {
        const auto& message = value.as_object();
        const auto role = role_of(message);
        if (role == "system") {
            instructions += text_of(message);
        } else if (role == "user") {
            request.prompt = text_of(message);
            request.tool_results = 0;
            request.overflows = request.overflows || find_tag(request.prompt).name == "overflow";
        } else if (role == "tool") {
            ++request.tool_results;
        }
    }
    request.tag = find_tag(request.prompt);
    if (request.prompt.find(continuation_words) != std::string::npos) {
        request.tag.name = "continued";
    }
    request.kind = purpose_of(instructions, request.prompt);
    return request;
}

// --- What is answered -----------------------------------------------------------------------------------

std::string chunk_of(const json::object& delta, const char* finish) {
    json::object choice{{"index", 0}, {"delta", delta}, {"finish_reason", nullptr}};
    if (finish != nullptr) {
        choice["finish_reason"] = finish;
    }
    const json::object chunk{{"id", "chatcmpl-mock"},
                             {"object", "chat.completion.chunk"},
                             {"created", 1},
                             {"model", "mock-1"},
                             {"choices", json::array{choice}}};
    return json::serialize(chunk);
}

std::string usage_chunk() {
    const json::object usage{{"prompt_tokens", 12}, {"completion_tokens", 5}, {"total_tokens", 17}};
    const json::object chunk{{"id", "chatcmpl-mock"}, {"object", "chat.completion.chunk"}, {"created", 1},
                             {"model", "mock-1"},     {"choices", json::array{}},          {"usage", usage}};
    return json::serialize(chunk);
}

std::string whole_response(int status, std::string_view reason, const json::object& body,
                           std::string_view more_fields = {}) {
    const auto text = json::serialize(body);
    return "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason) +
           "\r\nContent-Type: application/json\r\n" + std::string(more_fields) +
           "Content-Length: " + std::to_string(text.size()) + "\r\n\r\n" + text;
}

std::string error_response(int status, std::string_view message, std::string_view code,
                           std::string_view more_fields = {}) {
    const json::object error{{"message", message}, {"type", "mock_error"}, {"code", code}};
    return whole_response(status, "Scripted", json::object{{"error", error}}, more_fields);
}

std::string overflow_response() {
    return error_response(
        400,
        "This model's maximum context length is 128000 tokens. However, your messages resulted "
        "in 200000 tokens.",
        "context_length_exceeded");
}

/// A tool call of the script: which tool, and what it is told.
struct tool_call {
    const char* name;
    json::object arguments;
};

std::optional<tool_call> tool_call_of(const scenario_tag& tag) {
    const bool has_argument = !tag.arguments.empty();
    if (tag.name == "read") {
        return tool_call{"read", {{"filePath", has_argument ? tag.arguments[0] : "README.md"}}};
    }
    if (tag.name == "bash") {
        const auto command = has_argument ? decode_base64(tag.arguments[0]) : "echo hi";
        return tool_call{"bash", {{"command", command}, {"description", "Runs what the script says"}}};
    }
    if (tag.name == "question") {
        const json::array options{{{"label", "Red"}, {"description", "like a rose"}},
                                  {{"label", "Blue"}, {"description", "like the sea"}}};
        const json::object question{
            {"question", "Which colour?"}, {"header", "Colour"}, {"options", options}};
        return tool_call{"question", {{"questions", json::array{question}}}};
    }
    if (tag.name == "todo") {
        const json::object todo{
            {"content", "Do it"}, {"status", "pending"}, {"priority", "high"}, {"id", "1"}};
        return tool_call{"todowrite", {{"todos", json::array{todo}}}};
    }
    if (tag.name == "task") {
        const auto* prompt = has_argument && tag.arguments[0] == "bash" ? "do it #bash" : "do it #plain";
        return tool_call{"task",
                         {{"description", "A helper"}, {"prompt", prompt}, {"subagent_type", "general"}}};
    }
    return std::nullopt;
}

/// What is said once the scenario's tool has answered, or its trouble is over.
const char* last_words(std::string_view name) {
    if (name == "read") {
        return "I have read it.";
    }
    if (name == "bash") {
        return "Tool said hi.";
    }
    if (name == "question") {
        return "You have answered.";
    }
    if (name == "todo") {
        return "Noted.";
    }
    if (name == "task") {
        return "The helper is done.";
    }
    if (name == "e500once") {
        return "Back again.";
    }
    if (name == "e429") {
        return "Within the limit.";
    }
    if (name == "cutonce") {
        return "whole.";
    }
    return "After the summary.";
}

/// One connection's answers: writes whole responses, or a streamed one piece by piece.
class answer {
public:
    explicit answer(tcp::socket& socket) : socket_(socket) {}

    asio::awaitable<void> whole(std::string response) {
        co_await asio::async_write(socket_, asio::buffer(response), asio::use_awaitable);
    }

    asio::awaitable<void> begin() {
        co_await whole("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n");
        const json::object role{{"role", "assistant"}, {"content", ""}};
        co_await data(chunk_of(role, nullptr));
    }

    /// One server-sent event, in an HTTP chunk of its own.
    asio::awaitable<void> data(std::string payload) {
        const std::string event = "data: " + payload + "\n\n";
        std::array<char, 20> size{};
        const auto end = std::to_chars(size.data(), size.data() + size.size(), event.size(), 16).ptr;
        std::string chunk(size.data(), end);
        chunk.append("\r\n").append(event).append("\r\n");
        co_await whole(std::move(chunk));
    }

    asio::awaitable<void> delta(const char* field, std::string text) {
        json::object delta;
        delta[field] = text;
        co_await data(chunk_of(delta, nullptr));
    }

    asio::awaitable<void> text(std::string text) { co_await delta("content", std::move(text)); }

    /// A call whose arguments come in two pieces, as real models send them.
    asio::awaitable<void> call(tool_call call, std::size_t number) {
        const auto arguments = json::serialize(call.arguments);
        const auto half = arguments.size() / 2;
        const json::object first_function{{"name", call.name}, {"arguments", arguments.substr(0, half)}};
        const json::object first{{"index", 0},
                                 {"id", "call_" + std::to_string(number)},
                                 {"type", "function"},
                                 {"function", first_function}};
        const json::object second{{"index", 0},
                                  {"function", json::object{{"arguments", arguments.substr(half)}}}};
        const json::object first_delta{{"tool_calls", json::array{first}}};
        const json::object second_delta{{"tool_calls", json::array{second}}};
        co_await data(chunk_of(first_delta, nullptr));
        co_await data(chunk_of(second_delta, nullptr));
    }

    asio::awaitable<void> end(const char* finish) {
        const json::object nothing;
        co_await data(chunk_of(nothing, finish));
        co_await data(usage_chunk());
        co_await data("[DONE]");
        co_await whole("0\r\n\r\n");
    }

    asio::awaitable<void> pause(milliseconds time) {
        asio::steady_timer timer(socket_.get_executor(), time);
        co_await timer.async_wait(asio::use_awaitable);
    }

    /// Waits until the client goes away.
    asio::awaitable<void> hang() {
        std::array<char, 256> ignored{};
        for (;;) {
            co_await socket_.async_read_some(asio::buffer(ignored), asio::use_awaitable);
        }
    }

    void reset() {
        socket_.set_option(asio::socket_base::linger(true, 0));
        socket_.close();
    }

private:
    tcp::socket& socket_;
};

} // namespace

class scripted_model::server {
public:
    server() : acceptor_(context_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {
        port_ = acceptor_.local_endpoint().port();
        asio::co_spawn(context_, accept(), asio::detached);
        thread_ = std::thread([this] { context_.run(); });
    }

    ~server() {
        context_.stop();
        thread_.join();
    }

    server(const server&) = delete;
    server& operator=(const server&) = delete;

    unsigned short port() const noexcept { return port_; }

    std::size_t runs(std::string_view key) const {
        const std::lock_guard lock(mutex_);
        return static_cast<std::size_t>(
            std::count_if(prompts_.begin(), prompts_.end(),
                          [key](const auto& prompt) { return prompt.find(key) != std::string::npos; }));
    }

    std::string last_request() const {
        const std::lock_guard lock(mutex_);
        return last_request_;
    }

private:
    asio::awaitable<void> accept() {
        for (;;) {
            auto socket = co_await acceptor_.async_accept(asio::use_awaitable);
            socket.set_option(tcp::no_delay(true));
            asio::co_spawn(context_, serve(std::move(socket)), asio::detached);
        }
    }

    asio::awaitable<void> serve(tcp::socket socket) {
        std::string buffer;
        while (socket.is_open()) {
            const auto head_size = co_await asio::async_read_until(socket, asio::dynamic_buffer(buffer),
                                                                   "\r\n\r\n", asio::use_awaitable);
            const auto head = parse_head(std::string_view(buffer).substr(0, head_size));
            const auto whole_size = head_size + head.content_length;
            if (buffer.size() < whole_size) {
                co_await asio::async_read(socket, asio::dynamic_buffer(buffer),
                                          asio::transfer_exactly(whole_size - buffer.size()),
                                          asio::use_awaitable);
            }
            const auto body = buffer.substr(head_size, head.content_length);
            buffer.erase(0, whole_size);
            answer reply(socket);
            if (head.method == "POST" && head.target.ends_with("/chat/completions")) {
                co_await complete(body, reply);
            } else {
                co_await list_models(reply);
            }
        }
    }

    asio::awaitable<void> list_models(answer& reply) {
        const json::object model{{"id", "mock-1"}, {"object", "model"}};
        const json::object list{{"object", "list"}, {"data", json::array{model}}};
        co_await reply.whole(whole_response(200, "OK", list));
    }

    asio::awaitable<void> complete(const std::string& body, answer& reply) {
        const auto request = read_chat_request(body);
        note(request, body);
        if (request.kind == purpose::title) {
            co_await say(reply, "Mock Title");
        } else if (request.kind == purpose::compaction && request.overflows) {
            co_await reply.whole(overflow_response());
        } else if (request.kind == purpose::compaction) {
            co_await say(reply, "A short summary.");
        } else if (request.tag.name.starts_with("e4") || request.tag.name.starts_with("e5") ||
                   request.tag.name.starts_with("overflow")) {
            co_await refuse(request, reply);
        } else {
            co_await play(request, reply);
        }
    }

    void note(const chat_request& request, const std::string& body) {
        const std::lock_guard lock(mutex_);
        if (request.kind == purpose::turn) {
            prompts_.push_back(request.prompt);
        }
        if (request.kind != purpose::title) {
            last_request_ = body;
        }
    }

    /// Whether this very tag comes for the first time.
    bool first_time(const scenario_tag& tag) { return seen_.insert(tag.whole()).second; }

    asio::awaitable<void> say(answer& reply, std::string text) {
        co_await reply.begin();
        co_await reply.text(std::move(text));
        co_await reply.end("stop");
    }

    asio::awaitable<void> refuse(const chat_request& request, answer& reply) {
        const auto& name = request.tag.name;
        const bool only_once = name == "e500once" || name == "e429" || name == "overflow-ok";
        if (only_once && !first_time(request.tag)) {
            co_await say(reply, last_words(name));
        } else if (name.starts_with("overflow")) {
            co_await reply.whole(overflow_response());
        } else if (name == "e400") {
            co_await reply.whole(error_response(400, "scripted bad request", "bad_request"));
        } else if (name == "e401") {
            co_await reply.whole(error_response(401, "scripted bad key", "invalid_api_key"));
        } else if (name == "e429") {
            co_await reply.whole(
                error_response(429, "scripted rate limit", "rate_limit_exceeded",
                               "Retry-After: " + std::to_string(request.tag.number(1, 2)) + "\r\n"));
        } else {
            co_await reply.whole(error_response(500, "scripted server error", "server_error"));
        }
    }

    asio::awaitable<void> play(const chat_request& request, answer& reply) {
        const auto& tag = request.tag;
        if (tag.name == "slow") {
            co_await play_slow(tag, reply);
        } else if (tag.name == "continued") {
            co_await say(reply, last_words(tag.name));
        } else if (tag.name == "reason") {
            co_await play_reason(reply);
        } else if (tag.name == "big") {
            co_await say(reply, std::string(tag.number(0, 1024), 'x'));
        } else if (tag.name == "finish-length") {
            co_await reply.begin();
            co_await reply.text("cut short");
            co_await reply.end("length");
        } else if (tag.name == "nofinish") {
            co_await reply.begin();
            co_await reply.text("Once more. ");
            co_await reply.end(nullptr);
        } else if (tag.name == "garbage") {
            co_await reply.begin();
            co_await reply.data("{this is not JSON");
            co_await reply.end("stop");
        } else if (tag.name == "cutonce") {
            co_await play_cut(tag, reply);
        } else if (tag.name == "hang") {
            co_await reply.hang();
        } else if (const auto call = tool_call_of(tag)) {
            co_await play_tool(request, *call, reply);
        } else {
            co_await reply.pause(milliseconds(tag.number(0, 0)));
            co_await play_plain(reply);
        }
    }

    asio::awaitable<void> play_plain(answer& reply) {
        co_await reply.begin();
        for (const char* piece : {"Hello ", "from ", "the ", "mock ", "model."}) {
            co_await reply.text(piece);
        }
        co_await reply.end("stop");
    }

    asio::awaitable<void> play_slow(const scenario_tag& tag, answer& reply) {
        const auto words = tag.number(0, 20);
        const milliseconds pace(tag.number(1, 45));
        co_await reply.begin();
        for (std::size_t word = 0; word < words; ++word) {
            co_await reply.text("w" + std::to_string(word) + " ");
            co_await reply.pause(pace);
        }
        co_await reply.end("stop");
    }

    asio::awaitable<void> play_reason(answer& reply) {
        co_await reply.begin();
        for (const char* piece : {"Let me ", "think ", "about it."}) {
            co_await reply.delta("reasoning_content", piece);
        }
        for (const char* piece : {"I have ", "thought."}) {
            co_await reply.text(piece);
        }
        co_await reply.end("stop");
    }

    asio::awaitable<void> play_cut(const scenario_tag& tag, answer& reply) {
        if (!first_time(tag)) {
            co_await say(reply, last_words(tag.name));
            co_return;
        }
        co_await reply.begin();
        co_await reply.text("partial ");
        // A reset overtakes what the client has not yet read, and the words must arrive.
        co_await reply.pause(milliseconds(200));
        reply.reset();
    }

    asio::awaitable<void> play_tool(const chat_request& request, const tool_call& call, answer& reply) {
        if (request.tool_results > 0) {
            co_await say(reply, last_words(request.tag.name));
            co_return;
        }
        co_await reply.begin();
        if (request.tag.name == "bash") {
            co_await reply.text("Running it. ");
        }
        co_await reply.call(call, ++calls_);
        co_await reply.end("tool_calls");
    }

    asio::io_context context_{1};
    tcp::acceptor acceptor_;
    unsigned short port_ = 0;
    std::set<std::string> seen_; // confined to the thread, as is calls_
    std::size_t calls_ = 0;
    mutable std::mutex mutex_; // guards what follows
    std::vector<std::string> prompts_;
    std::string last_request_;
    std::thread thread_;
};

scripted_model::scripted_model() : server_(std::make_unique<server>()) {}
scripted_model::~scripted_model() = default;

unsigned short scripted_model::port() const noexcept {
    return server_->port();
}
std::size_t scripted_model::runs(std::string_view key) const {
    return server_->runs(key);
}
std::string scripted_model::last_request() const {
    return server_->last_request();
}

} // namespace holdfast::test
