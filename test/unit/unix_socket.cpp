// Unix sockets as the library sees them: real sockets in a folder of their own, so every wait has a deadline.
#include <boost/test/unit_test.hpp>

#include "support/real_world.hpp"
#include "support/temporary_folder.hpp"

#include <holdfast/runtime/runtime.hpp>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>
#include <string>

using namespace holdfast;
using net::local::stream_protocol;

namespace {

struct fixture : test::in_the_real_world {
    test::temporary_folder here;

    net::awaitable<std::string> connect(std::string path) {
        endpoint where("http", "localhost", 80);
        where.unix_socket = std::move(path);
        const auto made = co_await rt.network().connect(where);
        co_return made ? "connected"
                       : std::string(retry::to_string(made.error().cls)) + ' ' + made.error().message;
    }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(bytes_go_both_ways, fixture) {
    stream_protocol::acceptor acceptor(io, stream_protocol::endpoint(here / "s"));
    auto body = [&]() -> net::awaitable<bool> {
        endpoint where("http", "localhost", 80);
        where.unix_socket = here / "s";
        auto made = co_await rt.network().connect(where);
        BOOST_TEST_REQUIRE(made.has_value());
        stream_protocol::socket theirs(io);
        co_await acceptor.async_accept(theirs, net::use_awaitable);
        const auto sent = co_await (*made)->write("hello");
        BOOST_TEST(sent.has_value());
        char buffer[16];
        const auto size = co_await theirs.async_read_some(net::buffer(buffer), net::use_awaitable);
        BOOST_TEST(std::string(buffer, size) == "hello");
        theirs.close();
        const auto end = co_await (*made)->read_some(net::buffer(buffer));
        BOOST_TEST_REQUIRE(end.has_value());
        BOOST_TEST(*end == 0u);
        co_return true;
    };
    BOOST_TEST(run(body()));
}

BOOST_FIXTURE_TEST_CASE(where_nobody_listens_it_is_refused_and_other_trouble_is_named, fixture) {
    {
        const stream_protocol::acceptor left(io, stream_protocol::endpoint(here / "left"));
    }
    auto body = [&]() -> net::awaitable<bool> {
        const auto missing = co_await connect(here / "missing");
        BOOST_TEST(missing.starts_with("refused "), missing);
        BOOST_TEST(missing.find("(unix:" + (here / "missing") + ")") != std::string::npos, missing);
        const auto left = co_await connect(here / "left");
        BOOST_TEST(left.starts_with("refused "), left);
        const auto way_too_long = co_await connect(std::string(200, 'x'));
        BOOST_TEST(way_too_long.starts_with("unreachable "), way_too_long);
        BOOST_TEST(way_too_long.find("the path is too long") != std::string::npos, way_too_long);
        co_return true;
    };
    BOOST_TEST(run(body()));
}
