// A network of one's own: whatever the URL says, connections go to the near end of a tunnel (`ssh -L`, a
// sidecar), while the Host field, TLS and the log keep the server's own name.
//
//     example-tunnel http://build-box:4096/event 127.0.0.1 14096
#include <holdfast/stream/event_source.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <iostream>
#include <memory>
#include <random>

using namespace holdfast;

class tunnel final : public network {
public:
    explicit tunnel(endpoint near) : near_(std::move(near)), tcp_(make_tcp_network()) {}

    net::awaitable<result<std::unique_ptr<connection>>> connect(endpoint) override {
        co_return co_await tcp_->connect(near_);
    }

private:
    endpoint near_;
    std::unique_ptr<network> tcp_;
};

net::awaitable<int> first_event(runtime& world, stream::source_config config) {
    using kind = stream::item::kind;
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next()) {
        if (item->what == kind::event) {
            std::cout << item->event.type << '\n';
            co_return 0;
        }
        std::cerr << item->failure.message << '\n';
    }
    co_return 1;
}

int main(int argc, char** argv) {
    const auto where = http::parse_url(argc == 4 ? argv[1] : "");
    const int port = argc == 4 ? std::atoi(argv[3]) : 0;
    if (!where || port <= 0 || port > 65535) {
        std::cerr << "usage: example-tunnel URL HOST PORT\n";
        return 2;
    }
    stream::source_config config;
    config.locate = [where] {
        return stream::location{stream::location::state::up, *where};
    };
    config.policy.max_attempts = 0;
    net::io_context io;
    runtime world(io.get_executor(), make_system_clock(),
                  std::make_unique<tunnel>(endpoint("http", argv[2], static_cast<std::uint16_t>(port))),
                  std::random_device()());
    auto code = net::co_spawn(io, first_event(world, std::move(config)), net::use_future);
    io.run();
    return code.get();
}
