// A request to the port of holdfast watch: what is read as one, and what is refused.
#include <boost/test/unit_test.hpp>

#include "watch/request.hpp"

#include <string>
#include <utility>
#include <vector>

namespace {

using namespace holdfast::app;

std::optional<watch_request> with_fields(const std::string& fields,
                                         const std::string& line = "GET /status HTTP/1.1") {
    return parse_watch_request(line + "\r\nHost: localhost\r\n" + fields + "\r\n");
}

} // namespace

BOOST_AUTO_TEST_CASE(a_plain_request_may_be_followed) {
    const auto asked =
        with_fields("Authorization: Bearer x\r\nLast-Event-ID: run-7\r\n", "GET /status?a=b HTTP/1.1");
    BOOST_REQUIRE(asked);
    BOOST_TEST(asked->method == "GET");
    BOOST_TEST(asked->path == "/status");
    BOOST_TEST(asked->host.value() == "localhost");
    BOOST_TEST(asked->authorization == "Bearer x");
    BOOST_TEST(asked->last_event_id == "run-7");
    BOOST_TEST(asked->may_be_followed());
    BOOST_TEST(with_fields("Content-Length: 0\r\n")->may_be_followed());
    BOOST_TEST(!with_fields("Connection: close\r\n")->may_be_followed());
    BOOST_TEST(!with_fields("", "GET / HTTP/1.0")->may_be_followed());
}

BOOST_AUTO_TEST_CASE(a_request_with_a_body_or_perhaps_one_is_never_followed) {
    for (const std::string fields :
         {"Content-Length: 1\r\n", "Content-Length: 99999999999\r\n",
          "Content-Length: 18446744073709551615\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n",
          "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: CHUNKED\r\n",
          "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: gzip\r\n",
          "Transfer-Encoding: identity\r\n", "Transfer-Encoding:\r\n", "Transfer-Encoding: x\r\n",
          "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
          "Transfer-Encoding: chunked, gzip\r\n", "Transfer-Encoding:\r\n chunked\r\n",
          "tRANSFER-eNCODING:\tchunked\r\n", "Connection: keep-alive\r\nContent-Length: 5\r\n"})
        for (const std::string line : {"GET /livez HTTP/1.1", "POST /status HTTP/1.1", "HEAD / HTTP/1.1"}) {
            const auto asked = with_fields(fields, line);
            BOOST_TEST((!asked || asked->has_body), line << ' ' << fields);
            BOOST_TEST((!asked || !asked->may_be_followed()), line << ' ' << fields);
        }
}

BOOST_AUTO_TEST_CASE(what_is_ambiguous_is_no_request) {
    for (const std::string fields : {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                                     "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                                     "Content-Length: 5\r\nContent-Length: 6\r\n",
                                     "Content-Length: +5\r\n",
                                     "Content-Length: -5\r\n",
                                     "Content-Length: 0x5\r\n",
                                     "Content-Length: 5 5\r\n",
                                     "Content-Length:\r\n",
                                     "Content-Length: 5,6\r\n",
                                     "Content-Length: 99999999999999999999\r\n",
                                     "Content-Length : 5\r\n",
                                     "Transfer-Encoding : chunked\r\n",
                                     "Content-Length\r\n",
                                     "Content Length: 5\r\n",
                                     "Host: localhost\r\n",
                                     "Host: evil.example\r\n",
                                     "host:\r\n",
                                     "X: a\nContent-Length: 5\r\n",
                                     "X: a\rContent-Length: 5\r\n",
                                     "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n",
                                     ": x\r\n",
                                     "X\x01: y\r\n"})
        BOOST_TEST(!with_fields(fields).has_value(), fields);
    BOOST_TEST(!with_fields(std::string("X: a\0b\r\n", 8)).has_value());
}

BOOST_AUTO_TEST_CASE(a_target_that_is_no_path_is_no_request) {
    for (const std::string line :
         {"GET http://localhost/status HTTP/1.1", "GET http://evil.example/ HTTP/1.1", "GET * HTTP/1.1",
          "OPTIONS * HTTP/1.1", "CONNECT localhost:80 HTTP/1.1", "GET status HTTP/1.1",
          "GET  /status HTTP/1.1", "GET /status", "GET /status HTTP/1.2", "GET /status HTTP/2.0",
          "GET /status HTTP/0.9", "GET /a b HTTP/1.1", "G\x01T / HTTP/1.1", " GET / HTTP/1.1",
          "GET\t/ HTTP/1.1", "get", ""})
        BOOST_TEST(!with_fields("", line).has_value(), line);
    BOOST_TEST(!parse_watch_request("GET / HTTP/1.1\r\n\r\n").has_value());
    BOOST_TEST(!parse_watch_request("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").has_value());
    BOOST_TEST(!parse_watch_request("GET / HTTP/1.1\r\nHost: a\r\n").has_value());
    BOOST_TEST(!parse_watch_request("GET / HTTP/1.1\nHost: a\n\n").has_value());
    BOOST_TEST(!parse_watch_request("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET").has_value());
}

BOOST_AUTO_TEST_CASE(a_folded_field_hides_nothing) {
    const auto asked = with_fields("X: y\r\n Authorization: Bearer x\r\n Content-Length: 5\r\n");
    BOOST_TEST((!asked || (asked->authorization.empty() && !asked->has_body)));
}

BOOST_AUTO_TEST_CASE(a_token_is_borne_exactly) {
    for (const std::string right : {"Bearer s3cret", "bEARER  s3cret", "Bearer s3cret\t"})
        BOOST_TEST(bears(right, "s3cret"), right);
    for (const std::string wrong :
         {"", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Bearer S3cret", "Basic s3cret",
          "s3cret", "Bearer s3cret, Bearer s3cret"})
        BOOST_TEST(!bears(wrong, "s3cret"), wrong);
}
