// Through an HTTP proxy of real sockets: tunnels with TLS inside, and plain requests.
#include <boost/test/unit_test.hpp>

#include "support/certificates.hpp"
#include "support/raw_server.hpp"
#include "support/real_world.hpp"
#include "support/scripted_server.hpp"
#include "support/tls_server.hpp"

#include <holdfast/http/exchange.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using net::ip::tcp;

/// Opens a tunnel to one and the same port, whatever name it is asked for.
class tunnel_proxy {
public:
    tunnel_proxy(net::io_context& io, std::uint16_t origin)
        : acceptor_(io, {net::ip::address_v4::loopback(), 0}),
          origin_(net::ip::address_v4::loopback(), origin) {
        net::co_spawn(io, serve(), net::detached);
    }

    [[nodiscard]] std::string url(const std::string& userinfo) const {
        return "http://" + userinfo + "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
    }

    std::vector<std::string> heads;
    std::string passed; ///< what clients sent through the tunnel

private:
    static constexpr auto as_result = net::as_tuple(net::use_awaitable);
    using shared_socket = std::shared_ptr<tcp::socket>;

    net::awaitable<void> serve() {
        for (;;) {
            auto [ec, accepted] = co_await acceptor_.async_accept(as_result);
            if (ec)
                co_return;
            const auto client = std::make_shared<tcp::socket>(std::move(accepted));
            co_await open_tunnel(client);
        }
    }

    net::awaitable<void> open_tunnel(shared_socket client) {
        std::string head;
        co_await net::async_read_until(*client, net::dynamic_buffer(head), "\r\n\r\n", as_result);
        heads.push_back(head);
        const auto origin = std::make_shared<tcp::socket>(client->get_executor());
        co_await origin->async_connect(origin_, as_result);
        const std::string answer = "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n";
        co_await net::async_write(*client, net::buffer(answer), as_result);
        net::co_spawn(client->get_executor(), pump(client, origin, &passed), net::detached);
        net::co_spawn(client->get_executor(), pump(origin, client, nullptr), net::detached);
    }

    static net::awaitable<void> pump(shared_socket from, shared_socket to, std::string* seen) {
        std::array<char, 4096> bytes;
        for (;;) {
            const auto [ec, size] = co_await from->async_read_some(net::buffer(bytes), as_result);
            if (ec)
                break;
            if (seen)
                seen->append(bytes.data(), size);
            co_await net::async_write(*to, net::buffer(bytes.data(), size), as_result);
        }
        boost::system::error_code ignored;
        to->shutdown(tcp::socket::shutdown_send, ignored);
    }

    tcp::acceptor acceptor_;
    tcp::endpoint origin_;
};

struct proxied_world : in_the_real_world {
    certificate_authority authority;
    http::transport transport;
    http::request request;

    proxied_world() {
        http::tls_options options;
        options.ca_file = authority.file();
        transport.tls = http::make_tls_context(options).value();
        request.headers = {{"Authorization", "Bearer s3cret"}};
    }

    [[nodiscard]] tls_server::options origin_named(std::string alternative) {
        certificate_request here;
        here.alternative = std::move(alternative);
        tls_server::options setup;
        setup.shown = authority.sign(here);
        setup.answer = response(200, "text/plain", "hello from the origin");
        return setup;
    }

    static std::uint16_t port_of(const tls_server& server) {
        return http::parse_url(server.url())->where.port;
    }

    result<http::response> fetch(const char* url) {
        const auto where = http::parse_url(url).value();
        return run(http::fetch(rt, where, request, transport, http::response_limits()));
    }
};

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

} // namespace

BOOST_FIXTURE_TEST_CASE(a_tunnel_carries_tls_to_an_origin_that_only_the_proxy_can_find, proxied_world) {
    tls_server origin(origin_named("DNS:origin.invalid"));
    tunnel_proxy proxy(io, port_of(origin));
    transport.proxies.for_https = http::parse_proxy(proxy.url("me:pr0xy@")).value();
    const auto got = fetch("https://origin.invalid/path");
    BOOST_TEST_REQUIRE(got.has_value(), got.error().message);
    BOOST_TEST(got->body == "hello from the origin");

    BOOST_TEST_REQUIRE(proxy.heads.size() == 1u);
    BOOST_TEST(proxy.heads.front() == "CONNECT origin.invalid:443 HTTP/1.1\r\nHost: origin.invalid:443\r\n"
                                      "Proxy-Authorization: " +
                                          http::basic_authorization("me", "pr0xy") + "\r\n\r\n");
    BOOST_TEST(!contains(proxy.passed, "s3cret"), "the tunnel is closed to the proxy");
    BOOST_TEST_REQUIRE(origin.requests().size() == 1u);
    BOOST_TEST(origin.requests().front().starts_with("GET /path HTTP/1.1\r\nHost: origin.invalid\r\n"));
    BOOST_TEST(contains(origin.requests().front(), "Bearer s3cret"));
    BOOST_TEST(!contains(origin.requests().front(), "Proxy"));
}

BOOST_FIXTURE_TEST_CASE(the_certificate_in_a_tunnel_is_the_origins_and_not_the_proxys, proxied_world) {
    tls_server origin(origin_named("IP:127.0.0.1,DNS:localhost")); // where the proxy is
    tunnel_proxy proxy(io, port_of(origin));
    transport.proxies.for_https = http::parse_proxy(proxy.url("")).value();
    const auto got = fetch("https://origin.invalid/");
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST((got.error().cls == failure_class::tls));
    BOOST_TEST(contains(got.error().message, "hostname mismatch"), got.error().message);
    BOOST_TEST(origin.requests().empty());
}

BOOST_FIXTURE_TEST_CASE(a_stream_goes_on_through_a_tunnel_and_its_cut_is_a_cut, proxied_world) {
    auto setup = origin_named("DNS:origin.invalid");
    setup.answer = sse_response("data: x\n\n");
    setup.ends_orderly = false;
    tls_server origin(setup);
    tunnel_proxy proxy(io, port_of(origin));
    transport.proxies.for_https = http::parse_proxy(proxy.url("")).value();
    auto reading = [](proxied_world& me) -> net::awaitable<std::string> {
        auto where = http::parse_url("https://origin.invalid/").value();
        auto opened = co_await http::open(me.rt, where, me.request, me.transport, http::response_limits());
        BOOST_TEST_REQUIRE(opened.has_value());
        std::string text;
        for (;;) {
            const auto pieces = co_await opened->read(me.rt.now() + seconds(10));
            if (!pieces)
                co_return text + std::string(retry::to_string(pieces.error().cls));
            for (const auto piece : *pieces)
                text += piece;
        }
    };
    BOOST_TEST(run(reading(*this)) == "data: x\n\ncut");
}

BOOST_FIXTURE_TEST_CASE(a_plain_request_is_passed_on_by_the_proxy, proxied_world) {
    raw_server proxy(
        [](const heard& request) { return answer(200, "text/plain", "for " + request.target()); });
    transport.proxies.for_http = http::parse_proxy("127.0.0.1:" + std::to_string(proxy.port())).value();
    const auto got = fetch("http://origin.invalid:8080/path?x");
    BOOST_TEST_REQUIRE(got.has_value(), got.error().message);
    BOOST_TEST(got->body == "for http://origin.invalid:8080/path?x");
}

BOOST_FIXTURE_TEST_CASE(a_proxy_that_refuses_is_named, proxied_world) {
    raw_server proxy([](const heard&) { return answer(407, "text/plain", "who are you?"); });
    const auto place = "127.0.0.1:" + std::to_string(proxy.port());
    transport.proxies.for_https = http::parse_proxy("me:pr0xy@" + place).value();
    const auto got = fetch("https://origin.invalid/");
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().status == 407);
    BOOST_TEST(got.error().body == "who are you?");
    BOOST_TEST(got.error().message ==
               "the proxy http://" + place +
                   " answered CONNECT with status 407: it wants another user and password");
}
