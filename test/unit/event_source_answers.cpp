// Which answers are the stream, however oddly they say so; in virtual time.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <string>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using test::elsewhere;
using test::lines;
using test::place;
using test::response;
using test::send;

using fixture = test::source_fixture;

namespace {

const auto one_event = "data: x\n\n"s;

std::string with_head(const std::string& head) {
    return head + "\r\n" + one_event;
}

struct two_servers : fixture {
    test::scripted_server other{world, elsewhere};

    two_servers() { config.max_redirects = 3; }
};

} // namespace

CO_TEST_CASE(answers_that_the_field_sends_are_read, fixture) {
    const auto plain = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"s;
    for (const std::string& head : std::vector<std::string>{
             plain + "Content-Encoding: none\r\n",
             plain + "Content-Encoding: utf-8\r\n",
             plain + "Content-Encoding: chunked\r\n",
             "HTTP/1.1 200\r\nContent-Type: text/event-stream\r\n",
             "HTTP/1.0 200 OK\nContent-Type: text/event-stream\n",
             "HTTP/1.1 200 OK\r\nContent-Type: application/json, text/event-stream; charset=utf-8\r\n",
             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Type: text/event-stream\r\n",
             "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=\"utf-8\"\r\n",
         }) {
        server.play({send(with_head(head))});
        const auto got = co_await next(2);
        CHECK_LINES(got, {"opened 1", "event x"});
        source.reset();
    }
    for (const std::string codings : {"chunked\r\nTransfer-Encoding: chunked", "chunked, chunked"}) {
        server.play({send(plain + "Transfer-Encoding: " + codings + "\r\n\r\n" + test::chunk(one_event))});
        const auto got = co_await next(2);
        CHECK_LINES(got, {"opened 1", "event x"});
        source.reset();
    }
}

CO_TEST_CASE(answers_that_are_no_stream_are_not_read, fixture) {
    const auto plain = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"s;
    const std::vector<std::pair<std::string, std::string>> rows{
        {plain + "Content-Encoding: gzip\r\n", "Content-Encoding: gzip"},
        {plain + "Content-Encoding: utf-8, br\r\n", "Content-Encoding: br"},
        {plain + "Content-Type: application/json\r\n", "asked for: text/event-stream, application/json"},
        {"HTTP/1.1 201 OK\r\nContent-Type: text/event-stream\r\n", "status 201"},
    };
    for (const auto& [head, words] : rows) {
        server.play({send(with_head(head)), test::finish()});
        const auto got = co_await next();
        BOOST_TEST(got.starts_with("gave up"), got);
        BOOST_TEST(last.failure.message.find(words) != std::string::npos, last.failure.message);
        source.reset();
    }
}

CO_TEST_CASE(what_is_no_http_says_which_rule_is_broken_and_shows_the_bytes, fixture) {
    server.play({send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")});
    server.play({send("\x15\x03\x01\r\n")});
    server.play({send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: "
                      "chunked\r\n\r\ndata: x\r\n")});
    for (const char* words :
         {R"(: two lengths, by Content-Length "1" and "2")", R"(: it begins with "\x15\x03\x01" and)",
          R"(: a chunk begins with its size in hexadecimal digits: "data: x")"}) {
        auto got = co_await next();
        if (got.starts_with("opened"))
            got = co_await next();
        BOOST_TEST(got.starts_with("interrupted protocol"), got);
        BOOST_TEST(last.failure.message.starts_with("the answer is not valid HTTP"s + words),
                   last.failure.message);
    }
}

CO_TEST_CASE(any_answer_of_success_is_the_stream_where_so_asked, fixture) {
    config.any_type = true;
    for (const char* head : {"HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
                             "HTTP/1.1 202 Accepted\r\nContent-Type: text/event-stream\r\n"}) {
        server.play({send(with_head(head))});
        const auto got = co_await next(2);
        CHECK_LINES(got, {"opened 1", "event x"});
        source.reset();
    }
    server.play({send(with_head("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n")), test::finish()});
    const auto compressed = co_await next();
    BOOST_TEST(compressed == "gave up content_type after 1");
    source.reset();
    server.play({send(response(404, "text/event-stream", "no"))});
    const auto missing = co_await next();
    BOOST_TEST(missing == "gave up http_status after 1");
}

CO_TEST_CASE(credentials_go_with_a_redirect_only_where_it_is_trusted, two_servers) {
    url = http::parse_url("http://me:secret@a.test/event").value();
    config.headers = {{"Cookie", "a=b"}};
    for (const bool trusted : {false, true}) {
        config.redirects_trusted = trusted;
        server.play({send(response(307, "", "", "Location: http://b.test/there\r\n"))});
        other.play({send(test::sse_head())});
        const auto got = co_await next();
        BOOST_TEST(got == "opened 1");
        const auto& asked = other.requests().back();
        BOOST_TEST(asked.header("Authorization") ==
                   (trusted ? http::basic_authorization("me", "secret") : ""));
        BOOST_TEST(asked.header("Cookie") == (trusted ? "a=b" : ""));
        BOOST_TEST(asked.header("Host") == "b.test");
        source.reset();
    }
}

CO_TEST_CASE(a_redirect_in_raw_utf_8_is_followed_and_one_to_two_places_is_not, two_servers) {
    server.play({send(response(302, "", "", "Location: /caf\xC3\xA9 stream/{x}\r\n"))});
    server.play({send(test::sse_head())});
    const auto got = co_await next();
    BOOST_TEST(got == "opened 1");
    BOOST_TEST(server.requests().back().target() == "/caf%C3%A9%20stream/%7Bx%7D");
    source.reset();
    server.play({send(response(302, "", "", "Location: /a\r\nLocation: /a\r\n"))});
    server.play({send(test::sse_head())});
    const auto same = co_await next();
    BOOST_TEST(same == "opened 1");
    source.reset();
    server.play({send(response(302, "", "", "Location: /a\r\nLocation: /b\r\n"))});
    const auto two = co_await next();
    BOOST_TEST(two.starts_with("interrupted protocol"), two);
    BOOST_TEST(last.failure.message.find(R"(a redirect to two places, "/a" and "/b")") != std::string::npos);
}

// The memory network knows it by the same endpoint.
CO_TEST_CASE(a_unix_socket_is_an_endpoint_of_its_own, fixture) {
    endpoint there = place;
    there.unix_socket = "/run/agent.sock";
    test::scripted_server behind(world, there);
    config.locate = [this] {
        stream::location here;
        here.url = url;
        here.unix_socket = "/run/agent.sock";
        return here;
    };
    behind.play({send(test::sse_response(one_event))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "event x"});
    BOOST_TEST(behind.requests().at(0).header("Host") == "a.test");
    BOOST_TEST(attempts() == 0u);
    world.net().reset(behind.newest());
    world.net().stop_listening(there);
    const auto cut = co_await next();
    BOOST_TEST(cut.starts_with("interrupted cut"), cut);
    const auto refused = co_await next();
    BOOST_TEST(refused.starts_with("interrupted refused"), refused);
    BOOST_TEST((rt.breaker_of(there) && rt.breaker_of(there)->open));
    BOOST_TEST(!rt.breaker_of(place).has_value());
    BOOST_TEST(last.failure.message.find("http://a.test:80 (unix:/run/agent.sock)") != std::string::npos,
               last.failure.message);
}
