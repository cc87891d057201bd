// holdfast-contract-service: lets an SSE contract suite drive holdfast::stream. The suite says by HTTP what
// to subscribe to, and is told by HTTP what came of it. README.md has the protocol.
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/runtime/with_deadline.hpp>
#include <holdfast/sse/utf8.hpp>
#include <holdfast/stream/event_source.hpp>
#include <holdfast/stream/inflate.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <charconv>
#include <iostream>
#include <map>
#include <stdexcept>

namespace {

namespace net = boost::asio;
namespace json = boost::json;
namespace http = holdfast::http;
namespace stream = holdfast::stream;
using holdfast::milliseconds;
using holdfast::runtime;
using net::ip::tcp;
constexpr auto no_throw = net::as_tuple(net::use_awaitable);

using beast_request = boost::beast::http::request<boost::beast::http::string_body>;
using verb = boost::beast::http::verb;

// --- what a suite asks for

/// One stream to be held, and where its owner wants to hear of it.
struct wish {
    stream::source_config config;
    http::url callbacks;
    std::string last_event_id;
};

/// A member that is there and not null.
const json::value* member(const json::object& in, std::string_view name) {
    const json::value* const found = in.if_contains(name);
    return found && !found->is_null() ? found : nullptr;
}

std::string text(const json::object& in, std::string_view name, std::string_view otherwise) {
    const json::value* const given = member(in, name);
    return std::string(given ? std::string_view(given->as_string()) : otherwise);
}

holdfast::duration delay(const json::object& in, std::string_view name, holdfast::duration otherwise) {
    const json::value* const given = member(in, name);
    return given ? milliseconds(given->to_number<std::uint32_t>()) : otherwise;
}

bool flag(const json::object& in, std::string_view name) {
    const json::value* const given = member(in, name);
    return given && given->as_bool();
}

http::url url(const json::object& in, std::string_view name) {
    auto parsed = http::parse_url(text(in, name, {}));
    if (!parsed)
        throw std::invalid_argument(std::string(name) + ": " + parsed.error().message);
    return std::move(*parsed);
}

/// Throws what says why it is none.
wish parse_wish(std::string_view body) {
    const json::object asked = json::parse(body).as_object();
    wish parsed;
    parsed.callbacks = url(asked, "callbackUrl");
    parsed.last_event_id = text(asked, "lastEventId", {});
    auto& config = parsed.config;
    config.locate = [where = url(asked, "streamUrl")] {
        return stream::location{stream::location::state::up, where};
    };
    config.tag = text(asked, "tag", {});
    config.method = text(asked, "method", config.method);
    config.body = text(asked, "body", {});
    if (const json::value* const headers = member(asked, "headers"))
        for (const auto& each : headers->as_object())
            config.headers.push_back({std::string(each.key()), std::string(each.value().as_string())});
    config.repeat_unsafe = true; // the suites want a body sent again
    config.max_redirects = 3;
    config.comments = true;
    config.policy.max_attempts = holdfast::retry::unlimited;
    config.policy.base_delay = std::max<holdfast::duration>(
        delay(asked, "initialDelayMs", config.policy.base_delay), milliseconds(1)); // 0 would never grow
    if (flag(asked, "compressed"))
        stream::accept_compressed(config);
    if (flag(asked, "cookies"))
        config.cookies.emplace();
    config.stall_timeout = delay(asked, "readTimeoutMs", config.stall_timeout);
    return parsed;
}

// --- what it is told

/// The message that tells of an item; an empty one: nothing is told.
json::object message_of(const stream::item& item) {
    using kind = stream::item::kind;
    switch (item.what) {
    case kind::event:
        return {{"kind", "event"},
                {"event", {{"type", item.event.type}, {"data", item.event.data}, {"id", item.event.id}}}};
    case kind::comment: return {{"kind", "comment"}, {"comment", item.event.data}};
    case kind::skipped:
    case kind::interrupted:
    case kind::gave_up: return {{"kind", "error"}, {"error", item.failure.message}};
    case kind::opened:
    case kind::answered:
    case kind::done: break;
    }
    return {};
}

/// A stream that is held until close(), with one callback at a time.
class subscription {
public:
    subscription(runtime& world, wish what) : world_(world), wish_(std::move(what)) { subscribe(); }

    net::awaitable<void> run() {
        for (;;) {
            while (const auto item = co_await source_->next())
                co_await tell(message_of(*item));
            if (!restarting_)
                co_return;
            wish_.last_event_id = source_->last_event_id();
            subscribe();
        }
    }

    /// Subscribes anew, as if the server had hung up, but nothing is told of it.
    void restart() {
        restarting_ = true;
        source_->close();
    }

    void close() {
        restarting_ = false;
        source_->close();
    }

private:
    void subscribe() {
        restarting_ = false;
        source_.emplace(world_, wish_.config);
        source_->last_event_id(wish_.last_event_id);
    }

    net::awaitable<void> tell(json::object message) {
        if (message.empty())
            co_return;
        http::request request;
        request.method = "POST";
        request.headers.push_back({"Content-Type", "application/json"});
        request.body = holdfast::sse::to_valid_utf8(json::serialize(message));
        const auto where = wish_.callbacks.with_path('/' + std::to_string(++told_));
        const http::transport how;
        const http::response_limits bounds;
        const auto answered = co_await http::fetch(world_, where, std::move(request), how, bounds);
        if (!answered)
            std::cerr << "callback " << told_ << " of \"" << wish_.config.tag
                      << "\": " << answered.error().message << std::endl;
    }

    runtime& world_;
    wish wish_;
    std::optional<stream::event_source> source_;
    std::size_t told_ = 0;
    bool restarting_ = false;
};

// --- the service

struct reply {
    int status;
    std::string fields; ///< lines, each with its CRLF
    std::string body;

    [[nodiscard]] std::string bytes() const {
        return "HTTP/1.1 " + std::to_string(status) + " \r\n" + fields +
               (status == 204 ? std::string() : "Content-Length: " + std::to_string(body.size()) + "\r\n") +
               "Connection: close\r\n\r\n" + body;
    }
};

reply json_reply(int status, const json::object& body) {
    return {status, "Content-Type: application/json\r\n", json::serialize(body) + '\n'};
}

const json::object self{{"name", "holdfast"},
                        {"capabilities",
                         {"bom", "comments", "compressed", "cookies", "headers", "last-event-id", "post",
                          "read-timeout", "report", "restart", "server-directed-shutdown-request"}}};

class service {
public:
    service(net::io_context& io, unsigned short port)
        : world_(io.get_executor()), acceptor_(io, tcp::endpoint(net::ip::address_v4::loopback(), port)) {}

    /// Serves until it is asked to quit, by DELETE / or a signal.
    net::awaitable<void> run() {
        std::cout << "listening on http://" << acceptor_.local_endpoint() << std::endl;
        tasks_.spawn(accept());
        co_await quit_.async_wait(no_throw);
        acceptor_.close();
        for (const auto& [id, each] : subscriptions_)
            each->close();
        co_await holdfast::with_deadline(world_, world_.now() + holdfast::seconds(1), tasks_.join());
        tasks_.cancel();
        co_await tasks_.join();
    }

private:
    net::awaitable<void> accept() {
        while (acceptor_.is_open()) {
            auto [failed, socket] = co_await acceptor_.async_accept(no_throw);
            if (!failed)
                tasks_.spawn(serve(std::make_shared<tcp::socket>(std::move(socket))));
            else
                co_await world_.sleep_for(milliseconds(50)); // out of descriptors, or closed
        }
    }

    net::awaitable<void> serve(std::shared_ptr<tcp::socket> socket) {
        boost::beast::flat_buffer buffer;
        beast_request request;
        auto reading = boost::beast::http::async_read(*socket, buffer, request, no_throw);
        const auto read = co_await holdfast::with_deadline(world_, world_.now() + holdfast::seconds(10),
                                                           std::move(reading));
        if (!read || std::get<0>(*read))
            co_return;
        const std::string bytes = answer(request).bytes();
        co_await net::async_write(*socket, net::buffer(bytes), no_throw);
        if (quitting_)
            quit_.cancel();
    }

    reply answer(const beast_request& request) {
        try {
            return request.target() == "/" ? about_service(request) : about_stream(request);
        } catch (const std::exception& e) { // of parsing
            return json_reply(400, {{"error", e.what()}});
        }
    }

    reply about_service(const beast_request& request) {
        if (request.method() == verb::get)
            return json_reply(200, self);
        if (request.method() == verb::post)
            return subscribe(request);
        if (request.method() != verb::delete_)
            return {405, {}, {}};
        quitting_ = true;
        return {204, {}, {}};
    }

    reply subscribe(const beast_request& request) {
        const auto one = std::make_shared<subscription>(world_, parse_wish(request.body()));
        const auto id = ++last_id_;
        subscriptions_[id] = one;
        tasks_.spawn(hold(one));
        const std::string host(request[boost::beast::http::field::host]);
        const std::string location =
            (host.empty() ? "" : "http://" + host) + "/streams/" + std::to_string(id);
        return {201, "Location: " + location + "\r\n", {}};
    }

    static net::awaitable<void> hold(std::shared_ptr<subscription> one) { co_await one->run(); }

    reply about_stream(const beast_request& request) {
        const auto found = find(request.target());
        if (found == subscriptions_.end())
            return {404, {}, {}};
        if (request.method() == verb::post)
            return command(*found->second, request.body());
        if (request.method() != verb::delete_)
            return {405, {}, {}};
        found->second->close();
        subscriptions_.erase(found);
        return {204, {}, {}};
    }

    static reply command(subscription& one, std::string_view body) {
        const auto asked = text(json::parse(body).as_object(), "command", {});
        if (asked != "restart")
            throw std::runtime_error("unknown command: " + asked);
        one.restart();
        return {202, {}, {}};
    }

    using subscriptions = std::map<unsigned, std::shared_ptr<subscription>>;

    subscriptions::iterator find(std::string_view target) {
        constexpr std::string_view folder = "/streams/";
        unsigned id = 0;
        if (target.starts_with(folder))
            std::from_chars(target.data() + folder.size(), target.data() + target.size(), id);
        return subscriptions_.find(id);
    }

    static void end_program(std::exception_ptr error) noexcept { std::rethrow_exception(error); }

    runtime world_;
    tcp::acceptor acceptor_;
    net::signal_set quit_{world_.executor(), SIGINT, SIGTERM};
    bool quitting_ = false;
    unsigned last_id_ = 0;
    subscriptions subscriptions_;
    holdfast::task_scope tasks_{world_, end_program};
};

std::optional<unsigned short> parse_port(int argc, char** argv) {
    unsigned short port = 0;
    if (argc != 3 || std::string_view(argv[1]) != "--port")
        return std::nullopt;
    const std::string_view given = argv[2];
    const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), port);
    return error == std::errc() && end == given.data() + given.size() ? std::optional(port) : std::nullopt;
}

} // namespace

int main(int argc, char** argv) try {
    const auto port = parse_port(argc, argv);
    if (!port) {
        std::cerr << "usage: holdfast-contract-service --port N   (0: any that is free)\n";
        return 2;
    }
    net::io_context io(1);
    service one(io, *port);
    net::co_spawn(io, one.run(), net::detached);
    io.run();
} catch (const boost::system::system_error& e) {
    std::cerr << "holdfast-contract-service: " << e.code().message() << "\n";
    return 1;
} catch (const std::exception& e) {
    std::cerr << "holdfast-contract-service: " << e.what() << "\n";
    return 1;
}
