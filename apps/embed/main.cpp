// holdfast-embed: the smallest async server that embeds holdfast. POST /ask with a prompt as its body starts
// a turn on OpenCode and streams it back as server-sent events, `settled` last. Hanging up aborts the turn.
#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/json/serialize.hpp>

#include <iostream>

namespace net = boost::asio;
namespace http = boost::beast::http;
namespace opencode = holdfast::opencode;
using net::ip::tcp;
using namespace std::chrono_literals;
constexpr auto no_throw = net::as_tuple(net::use_awaitable);

/// Who asked, and the turn that answers while it is open.
struct caller {
    tcp::socket socket;
    std::optional<opencode::turn> turn{};
};

std::string sse(std::string_view event, const boost::json::object& data) {
    return "event: " + std::string(event) + "\ndata: " + boost::json::serialize(data) + "\n\n";
}

/// What a caller is told of an event; empty: nothing.
std::string to_sse(const opencode::agent_event& event) {
    if (const auto* text = std::get_if<opencode::text_event>(&event))
        return sse("text", {{"delta", text->delta}});
    if (const auto* ask = std::get_if<opencode::permission_event>(&event); ask && !ask->reply)
        return sse("permission", {{"id", ask->request.id}, {"permission", ask->request.permission}});
    if (const auto* end = std::get_if<opencode::settlement>(&event))
        return sse("settled", {{"outcome", std::string(to_string(end->outcome))},
                               {"error", end->error ? end->error->message : ""}});
    return {};
}

class ask_server {
public:
    ask_server(net::io_context& io, const tcp::endpoint& at, std::string_view server)
        : world_(io.get_executor()), agent_(world_, server), acceptor_(io, at) {}

    /// Serves until a signal asks for the end. All that was started has ended when this returns.
    net::awaitable<void> run() {
        std::cout << "listening on http://" << acceptor_.local_endpoint() << '\n' << std::flush;
        tasks_.spawn(agent_.run());
        tasks_.spawn(accept());
        co_await signals_.async_wait(net::use_awaitable);
        acceptor_.close();
        agent_.stop(); // open turns settle as detached; their callers have a second to hear of it
        co_await holdfast::with_deadline(world_, world_.now() + 1s, tasks_.join());
        tasks_.cancel();
        co_await tasks_.join();
    }

private:
    net::awaitable<void> accept() {
        while (acceptor_.is_open()) {
            auto [failed, socket] = co_await acceptor_.async_accept(no_throw);
            if (!failed)
                tasks_.spawn(serve(std::make_shared<caller>(std::move(socket))));
            else
                co_await world_.sleep_for(50ms); // out of descriptors, or closed
        }
    }

    net::awaitable<void> serve(std::shared_ptr<caller> who) {
        boost::beast::flat_buffer buffer;
        http::request<http::string_body> request;
        auto reading = http::async_read(who->socket, buffer, request, no_throw);
        const auto read = co_await holdfast::with_deadline(world_, world_.now() + 10s, std::move(reading));
        if (!read || std::get<0>(*read))
            co_return;
        if (request.method() == http::verb::post && request.target() == "/ask")
            co_await answer(who, std::move(request.body()));
        else
            co_await write(*who, "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nPOST to /ask\n");
        who->turn.reset();
        who->socket.close(); // which ends abort_on_hang_up(), too
    }

    net::awaitable<void> answer(std::shared_ptr<caller> who, std::string question) {
        co_await write(*who, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                             "Cache-Control: no-cache\r\nConnection: close\r\n\r\n");
        who->turn = co_await agent_.prompt(std::move(question));
        tasks_.spawn(abort_on_hang_up(who));
        while (const auto event = co_await who->turn->next())
            co_await write(*who, to_sse(*event));
    }

    /// A caller has nothing more to say while it waits: when its side ends, it has hung up.
    net::awaitable<void> abort_on_hang_up(std::shared_ptr<caller> who) {
        char ignored[4096];
        co_await net::async_read(who->socket, net::buffer(ignored), no_throw);
        while (who->turn) {
            if (const auto asked = co_await who->turn->abort())
                co_return;
            co_await world_.sleep_for(1s); // OpenCode is out of reach
        }
    }

    net::awaitable<void> write(caller& to, std::string text) {
        co_await net::async_write(to.socket, net::buffer(text), no_throw); // fails when it has hung up
    }

    static void end_program(std::exception_ptr error) noexcept { std::rethrow_exception(error); }
    holdfast::runtime world_;
    opencode::server agent_;
    tcp::acceptor acceptor_;
    net::signal_set signals_{world_.executor(), SIGINT, SIGTERM};
    holdfast::task_scope tasks_{world_, end_program};
};

int main(int argc, char** argv) try {
    std::string listen = "127.0.0.1:4097", server = "http://127.0.0.1:4096";
    for (int i = 1; i < argc; i += 2) {
        const std::string_view name = argv[i];
        if (i + 1 == argc || (name != "--listen" && name != "--server"))
            throw std::invalid_argument("usage: holdfast-embed [--listen ADDRESS:PORT] [--server URL]");
        (name == "--listen" ? listen : server) = argv[i + 1];
    }
    const auto end = listen.rfind(':');
    const tcp::endpoint at(net::ip::make_address(listen.substr(0, end)), std::stoi(listen.substr(end + 1)));
    net::io_context io(1);
    ask_server asks(io, at, server);
    net::co_spawn(io, asks.run(), net::detached);
    io.run();
} catch (const std::exception& e) {
    std::cerr << "holdfast-embed: " << e.what() << "\n";
    return 2;
}
