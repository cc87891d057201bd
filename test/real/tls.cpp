// https:// as exchanges and streams see it: OpenSSL's server over real sockets, with certificates of the
// test's own.
#include <boost/test/unit_test.hpp>

#include "support/certificates.hpp"
#include "support/real_world.hpp"
#include "support/scripted_server.hpp"
#include "support/tls_server.hpp"

#include <holdfast/http/exchange.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <cstdlib>
#include <string>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::test;

struct tls_world : in_the_real_world {
    certificate_authority authority;
    http::tls_options options;

    tls_world() { options.ca_file = authority.file(); }

    [[nodiscard]] tls_server::options server_of(std::string alternative) {
        certificate_request here;
        here.alternative = std::move(alternative);
        return server_with(authority.sign(here));
    }

    [[nodiscard]] static tls_server::options server_with(certificate_authority::files shown) {
        tls_server::options setup;
        setup.shown = std::move(shown);
        setup.answer = response(200, "text/plain", "hello");
        return setup;
    }

    static http::url at(const tls_server& server, const std::string& host = "127.0.0.1") {
        auto where = http::parse_url(server.url("/path")).value();
        where.where.host = host;
        return where;
    }

    [[nodiscard]] http::transport trusting() const {
        http::transport how;
        how.tls = http::make_tls_context(options).value();
        return how;
    }

    result<http::response> fetch(const http::url& where) {
        return run(http::fetch(rt, where, http::request(), trusting(), http::response_limits()));
    }

    /// What fetching gives: the body, or the class of the failure and its message.
    std::string told(const http::url& where) {
        const auto got = fetch(where);
        if (got)
            return got->body;
        return std::string(retry::to_string(got.error().cls)) + ": " + got.error().message;
    }

    /// All of an endless body, and how it ended.
    net::awaitable<std::string> read_all(http::url where) {
        auto opened = co_await http::open(rt, where, http::request(), trusting(), http::response_limits());
        BOOST_TEST_REQUIRE(opened.has_value());
        std::string text;
        for (;;) {
            const auto pieces = co_await opened->read(rt.now() + seconds(10));
            if (!pieces)
                co_return text + " and then " + std::string(retry::to_string(pieces.error().cls));
            if (pieces->empty())
                co_return text + " and then the end";
            for (const auto piece : *pieces)
                text += piece;
        }
    }

    void check_refused(const tls_server& server, const http::url& where, std::string_view why) {
        const auto got = fetch(where);
        BOOST_TEST_REQUIRE(got.has_error());
        BOOST_TEST((got.error().cls == failure_class::tls), got.error().message);
        BOOST_TEST(got.error().message.find(why) != std::string::npos, got.error().message);
        BOOST_TEST(got.error().message.find(to_string(where.where)) != std::string::npos,
                   got.error().message);
        BOOST_TEST(!got.error().connected);
        BOOST_TEST(server.requests().empty(), "a server that is not trusted is asked nothing");
    }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(a_certificate_is_good_for_its_addresses_and_its_names, tls_world) {
    tls_server server(server_of("IP:127.0.0.1,DNS:localhost"));
    BOOST_TEST(told(at(server)) == "hello");
    BOOST_TEST(told(at(server, "localhost")) == "hello");
    BOOST_TEST_REQUIRE(server.requests().size() == 2U);
    BOOST_TEST(server.requests().front().starts_with("GET /path HTTP/1.1\r\n"));
}

BOOST_FIXTURE_TEST_CASE(a_certificate_out_of_its_time_is_refused, tls_world) {
    certificate_request old;
    old.alternative = "IP:127.0.0.1";
    old.valid_from = std::chrono::hours(-48);
    old.valid_until = std::chrono::hours(-1);
    tls_server expired(server_with(authority.sign(old)));
    check_refused(expired, at(expired), "certificate has expired");
    certificate_request early;
    early.alternative = "IP:127.0.0.1";
    early.valid_from = std::chrono::hours(1);
    tls_server coming(server_with(authority.sign(early)));
    check_refused(coming, at(coming), "certificate is not yet valid");
}

BOOST_FIXTURE_TEST_CASE(a_certificate_of_another_host_is_refused, tls_world) {
    tls_server other_name(server_of("DNS:other.test,IP:127.0.0.1"));
    check_refused(other_name, at(other_name, "localhost"), "hostname mismatch");
    tls_server other_address(server_of("IP:127.0.0.2,DNS:127.0.0.1,DNS:localhost"));
    check_refused(other_address, at(other_address), "IP address mismatch");
}

BOOST_FIXTURE_TEST_CASE(an_authority_that_nobody_named_is_refused, tls_world) {
    tls_server server(server_of("IP:127.0.0.1"));
    certificate_authority other("Another CA");
    options.ca_file = other.file();
    check_refused(server, at(server), "unable to get local issuer certificate");
    options.ca_file.clear(); // the system's
    check_refused(server, at(server), "unable to get local issuer certificate");
}

BOOST_FIXTURE_TEST_CASE(without_a_context_the_system_is_trusted, tls_world) {
    tls_server server(server_of("IP:127.0.0.1"));
    const auto got =
        run(http::fetch(rt, at(server), http::request(), http::transport(), http::response_limits()));
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST((got.error().cls == failure_class::tls));
    BOOST_TEST(server.requests().empty());
}

BOOST_FIXTURE_TEST_CASE(the_systems_trust_is_where_openssl_has_it_and_its_variable_says_so, tls_world) {
    tls_server server(server_of("IP:127.0.0.1"));
    ::setenv("SSL_CERT_FILE", authority.file().c_str(), 1);
    const auto got =
        run(http::fetch(rt, at(server), http::request(), http::transport(), http::response_limits()));
    ::unsetenv("SSL_CERT_FILE");
    BOOST_TEST_REQUIRE(got.has_value(), got.error().message);
    BOOST_TEST(got->body == "hello");
}

BOOST_FIXTURE_TEST_CASE(anybody_is_accepted_only_where_that_was_asked_for_loudly, tls_world) {
    certificate_authority other("Another CA");
    certificate_request bad;
    bad.alternative = "DNS:other.test";
    bad.valid_from = std::chrono::hours(-48);
    bad.valid_until = std::chrono::hours(-1);
    tls_server server(server_with(other.sign(bad)));
    options.dangerously_accept_any_certificate = true;
    BOOST_TEST(told(at(server)) == "hello");
}

BOOST_FIXTURE_TEST_CASE(a_server_that_wants_to_know_its_clients_is_shown_a_certificate, tls_world) {
    auto setup = server_of("IP:127.0.0.1");
    setup.wants_clients_of = authority.file();
    tls_server server(setup);
    BOOST_TEST(told(at(server)).starts_with("tls: "));
    BOOST_TEST(server.requests().empty());
    const auto mine = authority.sign(certificate_request());
    options.certificate_file = mine.certificate;
    options.key_file = mine.key;
    BOOST_TEST(told(at(server)) == "hello");
}

BOOST_FIXTURE_TEST_CASE(a_server_of_plain_http_is_no_tls, tls_world) {
    net::ip::tcp::acceptor acceptor(io, {net::ip::address_v4::loopback(), 0});
    auto answer = [](net::ip::tcp::acceptor& at) -> net::awaitable<void> {
        auto client = co_await at.async_accept(net::use_awaitable);
        const std::string text = "HTTP/1.1 400 Bad Request\r\n\r\n";
        co_await net::async_write(client, net::buffer(text), net::use_awaitable);
    };
    net::co_spawn(io, answer(acceptor), net::detached);
    const auto port = std::to_string(acceptor.local_endpoint().port());
    BOOST_TEST(told(http::parse_url("https://127.0.0.1:" + port + "/").value()).starts_with("tls: "));
}

// How a body ends over TLS: by its own framing it is whole whatever comes after it; without one only the
// peer's close_notify tells that nothing was cut off.
BOOST_FIXTURE_TEST_CASE(the_end_of_a_body_needs_a_close_notify_unless_its_framing_tells_it, tls_world) {
    const std::string until_end = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n";
    struct row {
        std::string answer;
        bool ends_orderly;
        std::string end;
    };
    const std::vector<row> rows{
        {until_end, true, "the end"},
        {until_end, false, "cut"},
        {sse_response("data: x\n\n"), true, "cut"}, // orderly, but chunks were promised
        {sse_response("data: x\n\n"), false, "cut"},
        {sse_response("data: x\n\n") + last_chunk(), false, "the end"},
        {response(200, "text/event-stream", "data: x\n\n"), false, "the end"},
    };
    for (const auto& each : rows) {
        auto setup = server_of("IP:127.0.0.1");
        setup.answer = each.answer;
        setup.ends_orderly = each.ends_orderly;
        tls_server server(setup);
        BOOST_TEST(run(read_all(at(server))) == "data: x\n\n and then " + each.end, each.answer);
    }
}

BOOST_FIXTURE_TEST_CASE(a_head_that_breaks_off_without_close_notify_is_a_cut, tls_world) {
    auto setup = server_of("IP:127.0.0.1");
    setup.answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    setup.ends_orderly = false;
    tls_server server(setup);
    BOOST_TEST(told(at(server)).starts_with("cut: "));
}
