// Cookies in an event source: what comes back, and where to. In virtual time.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <string>

using namespace holdfast;
using test::lines;
using test::send;

namespace {

struct fixture : test::source_fixture {
    test::scripted_server other{world, test::elsewhere};

    fixture() {
        config.cookies.emplace();
        config.max_redirects = 3;
    }

    [[nodiscard]] std::string sent(std::size_t n) const { return server.requests().at(n).header("Cookie"); }
};

std::string stream_with(const std::string& cookie) {
    return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\nSet-Cookie: " +
           cookie + "\r\n\r\ndata: x\n\n";
}

std::string redirect_to(const std::string& where, const std::string& more = {}) {
    return "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + where + "\r\n" + more + "\r\n";
}

} // namespace

CO_TEST_CASE(a_balancers_cookie_comes_back_with_each_connect, fixture) {
    server.play({send(stream_with("node=7; Path=/; Max-Age=5"))});
    server.play_ever_after({send(stream_with("other=1"))});
    co_await next(3);
    co_await next(3);
    BOOST_TEST(sent(0) == "");
    BOOST_TEST(sent(1) == "node=7");
    co_await rt.sleep_for(seconds(10));
    co_await next(3);
    BOOST_TEST(sent(2) == "other=1");
}

CO_TEST_CASE(without_a_jar_nothing_comes_back, fixture) {
    config.cookies.reset();
    server.play_ever_after({send(stream_with("node=7"))});
    co_await next(6);
    BOOST_TEST(sent(1) == "");
}

CO_TEST_CASE(a_gate_that_sets_a_cookie_and_leads_back_is_passed, fixture) {
    server.play({send(redirect_to("/event", "Set-Cookie: pass=1\r\n"))});
    server.play({send(stream_with("x=1"))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "event x"});
    BOOST_TEST(sent(1) == "pass=1");
}

CO_TEST_CASE(a_gate_that_sets_the_same_cookie_again_is_a_circle, fixture) {
    server.play_ever_after({send(redirect_to("/event", "Set-Cookie: pass=1\r\n"))});
    const auto got = co_await next();
    BOOST_TEST(got == "gave up http_status after 1");
    BOOST_TEST(last.failure.message.find("round in circles") != std::string::npos, last.failure.message);
    BOOST_TEST(server.requests().size() == 2u);
}

CO_TEST_CASE(a_failures_cookies_are_kept_too, fixture) {
    server.play({send("HTTP/1.1 503 No\r\nContent-Length: 0\r\nSet-Cookie: node=8\r\n\r\n")});
    server.play({send(stream_with("x=1"))});
    co_await next(2);
    BOOST_TEST(sent(1) == "node=8");
}

CO_TEST_CASE(no_cookie_goes_to_another_origin_even_where_redirects_are_trusted, fixture) {
    for (const bool trusted : {false, true}) {
        config.redirects_trusted = trusted;
        server.play({send(redirect_to("http://b.test/event", "Set-Cookie: mine=1; Path=/\r\n"))});
        other.play({send(stream_with("theirs=2; Path=/"))});
        server.play({send(stream_with("x=1"))});
        co_await next(4);
        BOOST_TEST(other.requests().back().header("Cookie") == "");
        BOOST_TEST(server.requests().back().header("Cookie") == "mine=1");
        source.reset();
    }
}

CO_TEST_CASE(a_cookie_of_the_owners_own_comes_first_in_the_same_field, fixture) {
    config.headers = {{"cookie", "own=1"}};
    server.play_ever_after({send(stream_with("node=7"))});
    co_await next(6);
    BOOST_TEST(sent(0) == "own=1");
    BOOST_TEST(sent(1) == "own=1; node=7");
}

CO_TEST_CASE(next_request_sees_the_cookies_that_are_sent, fixture) {
    lines seen;
    config.next_request = [&](std::string_view, const sse::event&,
                              http::request& what) -> net::awaitable<result<void>> {
        const auto* const given = http::find_header(what.headers, "Cookie");
        seen.push_back(given ? given->value : "none");
        co_return result<void>();
    };
    server.play_ever_after({send(stream_with("node=7"))});
    co_await next(6);
    CHECK_LINES(seen, {"none", "node=7"});
}
