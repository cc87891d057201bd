// A Firebase Realtime Database, held: it redirects to the machine that has the data (307), and says by an
// event when its token is too old.
//
//     example-firebase https://PROJECT.firebaseio.com/users.json token_file 10
#include <holdfast/stream/event_source.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/parse.hpp>

#include <fstream>
#include <iostream>

namespace json = boost::json;
using namespace holdfast;

// Of what the rules forbid there is no more; a new token is had by another request.
std::optional<failure> judge(const sse::event& event) {
    if (event.type == "cancel")
        return make_status_failure(403, std::string(event.data), {});
    if (event.type == "auth_revoked")
        return make_failure(errc::error_event, "the token is no longer valid", true);
    return std::nullopt;
}

stream::source_config database(const http::url& where, const std::string& token_file) {
    stream::source_config config;
    config.locate = [where] {
        return stream::location{stream::location::state::up, where};
    };
    config.max_redirects = 3;
    config.redirects_trusted = true; // its machines belong together: the token goes along
    config.judge = judge;
    config.next_request = [token_file](std::string_view, const sse::event&,
                                       http::request& what) -> net::awaitable<result<void>> {
        std::string token; // your code that renews the token writes it here
        std::ifstream(token_file) >> token;
        what.headers.emplace_back("Authorization", "Bearer " + token);
        co_return result<void>();
    };
    return config;
}

net::awaitable<int> follow(runtime& world, stream::source_config config, int most) {
    using kind = stream::item::kind;
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next()) {
        if (item->what == kind::gave_up)
            std::cout << "gave up: ";
        if (item->what == kind::interrupted || item->what == kind::gave_up)
            std::cout << item->failure.message << '\n' << std::flush;
        if (item->event.type != "put" && item->event.type != "patch")
            continue; // keep-alive
        const auto change = json::parse(item->event.data);
        std::cout << item->event.type << ' ' << change.at("path") << ' ' << change.at("data") << '\n'
                  << std::flush;
        if (--most == 0)
            co_return 0;
    }
    co_return 1;
}

int main(int argc, char** argv) {
    const auto where = http::parse_url(argc == 4 ? argv[1] : "");
    const int most = argc == 4 ? std::atoi(argv[3]) : 0;
    if (!where || most <= 0) {
        std::cerr << "usage: example-firebase URL TOKEN_FILE CHANGES\n";
        return 2;
    }
    net::io_context io;
    runtime world(io.get_executor());
    auto code = net::co_spawn(io, follow(world, database(*where, argv[2]), most), net::use_future);
    io.run();
    return code.get();
}
