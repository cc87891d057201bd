// One request, one response: the parser at every cut, and the exchange in virtual time.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/scripted_server.hpp"

#include <holdfast/http/exchange.hpp>
#include <holdfast/http/response_parser.hpp>
#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using namespace std::string_view_literals;
using test::chunk;
using test::finish;
using test::last_chunk;
using test::send;

namespace {

// --- the parser alone

struct parsed {
    int status = 0;
    std::string body;
    bool complete = false;
    error_code error;
    friend bool operator==(const parsed&, const parsed&) = default;
    friend std::ostream& operator<<(std::ostream& os, const parsed& p) {
        return os << p.status << " '" << p.body << "' " << (p.complete ? "complete" : "open") << ' '
                  << (p.error ? p.error.message() : "ok");
    }
};

struct reading {
    http::response_limits limits;
    bool head_request = false;
    bool then_end = false; ///< the peer ends the connection
};

// Each piece is a buffer of its own, gone before the next: what the parser keeps of it would be found.
parsed parse_pieces(const std::vector<std::string_view>& pieces, const reading& how) {
    http::response_parser parser(how.limits, how.head_request);
    parsed result;
    for (const auto piece : pieces) {
        const std::vector<char> buffer(piece.begin(), piece.end());
        std::vector<std::string_view> body;
        result.error = parser.put({buffer.data(), buffer.size()}, body);
        for (const auto view : body) {
            BOOST_TEST(
                (view.data() >= buffer.data() && view.data() + view.size() <= buffer.data() + buffer.size()),
                "the payload is a view of the bytes given");
            result.body += view;
        }
        if (result.error)
            return result;
    }
    if (how.then_end)
        result.error = parser.put_end();
    result.complete = parser.complete();
    if (parser.head_complete())
        result.status = parser.head().status;
    return result;
}

// The result, which must be the same whole, at every cut in two, and a byte at a time.
parsed parse(std::string_view text, const reading& how = {}) {
    const auto whole = parse_pieces({text}, how);
    for (std::size_t cut = 1; cut < text.size(); ++cut)
        BOOST_TEST(parse_pieces({text.substr(0, cut), text.substr(cut)}, how) == whole, "cut at " << cut);
    std::vector<std::string_view> bytes;
    for (std::size_t n = 0; n < text.size(); ++n)
        bytes.push_back(text.substr(n, 1));
    BOOST_TEST(parse_pieces(bytes, how) == whole);
    return whole;
}

parsed ok(int status, std::string body) {
    return {status, std::move(body), true, {}};
}

} // namespace

BOOST_AUTO_TEST_CASE(a_content_length_bounds_the_body) {
    BOOST_TEST(parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") == ok(200, "hello"));
    BOOST_TEST(parse("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") == ok(200, ""));
}

BOOST_AUTO_TEST_CASE(bytes_after_a_whole_response_are_ignored) {
    BOOST_TEST(parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 500 X\r\n\r\n") ==
               ok(200, "hello"));
}

BOOST_AUTO_TEST_CASE(chunks_are_put_together_whatever_their_extensions_and_trailers) {
    const auto head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"s;
    BOOST_TEST(parse(head + "5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n") == ok(200, "hello, world"));
    BOOST_TEST(parse(head + "5;a=b;c=\"d e\"\r\nhello\r\n0;x\r\n\r\n") == ok(200, "hello"));
    BOOST_TEST(parse(head + "5\r\nhello\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n") == ok(200, "hello"));
    BOOST_TEST(parse(head + "00a\r\n0123456789\r\nA\r\nabcdefghij\r\n0\r\n\r\n") ==
               ok(200, "0123456789abcdefghij"));
    BOOST_TEST(parse(head + "6\r\na\r\n\r\nb\r\n0\r\n\r\n") == ok(200, "a\r\n\r\nb"));
}

BOOST_AUTO_TEST_CASE(a_body_of_no_chunks_is_empty_wherever_it_is_cut) {
    const auto head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"s;
    for (const auto last : {"0\r\n\r\n"sv, "0\r\nA: b\r\n\r\n"sv, "00\r\na: b\r\n\r\n"sv, "0;x\r\n\r\n"sv})
        BOOST_TEST(parse(head + std::string(last)) == ok(200, ""), last);
}

BOOST_AUTO_TEST_CASE(a_trailers_fields_are_none_of_the_heads_wherever_it_is_cut) {
    const auto text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nRetry-After: 9\r\n\r\n"s;
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        http::response_parser parser({});
        std::vector<std::string_view> body;
        BOOST_TEST(!parser.put(std::string_view(text).substr(0, cut), body));
        BOOST_TEST(!parser.put(std::string_view(text).substr(cut), body));
        BOOST_TEST(parser.complete());
        BOOST_TEST(parser.head().headers.size() == 1u, "cut at " << cut);
        BOOST_TEST(parser.head().find("Retry-After") == "");
    }
}

BOOST_AUTO_TEST_CASE(a_chunks_payload_is_out_as_soon_as_it_is_in) {
    http::response_parser parser({});
    std::vector<std::string_view> body;
    BOOST_TEST(!parser.put("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"sv, body));
    BOOST_TEST(body == (std::vector{"ab"sv}), boost::test_tools::per_element());
    BOOST_TEST(parser.head_complete());
    BOOST_TEST(!parser.complete());
}

BOOST_AUTO_TEST_CASE(a_body_without_a_length_lasts_until_the_connection_ends) {
    BOOST_TEST(parse("HTTP/1.1 200 OK\r\n\r\nhello", {.limits = {}, .then_end = true}) == ok(200, "hello"));
    BOOST_TEST(!parse("HTTP/1.1 200 OK\r\n\r\nhello").complete);
}

BOOST_AUTO_TEST_CASE(what_can_have_no_body_has_none) {
    BOOST_TEST(parse("HTTP/1.1 204 No Content\r\n\r\n") == ok(204, ""));
    BOOST_TEST(parse("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n") == ok(304, ""));
    BOOST_TEST(parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", {.limits = {}, .head_request = true}) ==
               ok(200, ""));
}

BOOST_AUTO_TEST_CASE(the_heads_fields_are_found_whatever_their_case) {
    http::response_parser parser({});
    std::vector<std::string_view> body;
    BOOST_TEST(
        !parser.put("HTTP/1.1 418 I'm a teapot\r\nX-One: 1\r\nx-two:  2 \r\nX-One: again\r\n\r\n"sv, body));
    BOOST_TEST(parser.head().status == 418);
    BOOST_TEST(parser.head().reason == "I'm a teapot");
    BOOST_TEST(parser.head().find("x-ONE") == "1");
    BOOST_TEST(parser.head().find("X-Two") == "2");
    BOOST_TEST(parser.head().find("x-three").empty());
}

BOOST_AUTO_TEST_CASE(an_end_in_the_middle_is_a_cut_wherever_it_comes) {
    const auto text =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"sv;
    for (std::size_t cut = 0; cut < text.size(); ++cut) {
        const auto result = parse_pieces({text.substr(0, cut)}, {.limits = {}, .then_end = true});
        BOOST_TEST(result.error == error_code(errc::cut), "cut at " << cut);
        BOOST_TEST(!result.complete);
    }
    const auto with_length =
        parse("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", {.limits = {}, .then_end = true});
    BOOST_TEST(with_length.error == error_code(errc::cut));
}

BOOST_AUTO_TEST_CASE(another_protocol_is_found_out_by_its_first_bytes_however_they_come) {
    for (const auto text : {"S"sv, "SSH-2.0-OpenSSH_9.2\r\n"sv, "HTTQ"sv, "http/1.1 200 OK\r\n"sv,
                            "\r\nHTTP/1.1"sv, "HTTP/1.1 100 Continue\r\n\r\n220 "sv})
        BOOST_TEST(parse(text).error == error_code(errc::malformed), text);
    for (const auto text : {"H"sv, "HTTP"sv, "HTTP/1"sv, "HTTP/1.1 100 Continue\r\n\r\nHT"sv})
        BOOST_TEST(parse(text).error == error_code(), text);
}

BOOST_AUTO_TEST_CASE(what_is_not_http_is_malformed) {
    for (const auto text : {"garbage\r\n\r\n"sv, "HTTP/9.9 200 OK\r\n\r\n"sv, "HTTP/1.1 abc OK\r\n\r\n"sv,
                            "HTTP/1.1 099 OK\r\n\r\n"sv, "\x16\x03\x01\x02\x00 tls\r\n\r\n"sv,
                            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"sv,
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"sv,
                            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"sv,
                            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"sv,
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"sv})
        BOOST_TEST(parse(text).error == error_code(errc::malformed), text);
}

BOOST_AUTO_TEST_CASE(interim_responses_are_passed_over) {
    const auto interim =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"s;
    BOOST_TEST(parse(interim + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") == ok(200, "hello"));
    BOOST_TEST(parse(interim + "HTTP/1.1 204 No Content\r\n\r\n") == ok(204, ""));
    BOOST_TEST(parse(interim, {.limits = {}, .then_end = true}).error == error_code(errc::cut));
    BOOST_TEST(parse(interim + "garbage\r\n\r\n").error == error_code(errc::malformed));
    BOOST_TEST(parse("HTTP/1.1 101 Switching Protocols\r\n\r\n") == ok(101, ""));
    http::response_parser parser({});
    std::vector<std::string_view> body;
    BOOST_TEST(!parser.put(interim, body));
    BOOST_TEST(!parser.head_complete());
    BOOST_TEST(!parser.put("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", body));
    BOOST_TEST(parser.head().headers == (std::vector<header>{{"A", "b"}}));
}

namespace {

const http::response_limits small{.header = 256, .body = 64};

error_code error_of(std::string_view text) {
    // Large enough that it is not the size of one piece that decides.
    const auto whole = parse_pieces({text}, {.limits = small});
    std::vector<std::string_view> pieces;
    for (std::size_t n = 0; n < text.size(); n += 10)
        pieces.push_back(text.substr(n, 10));
    BOOST_TEST(parse_pieces(pieces, {.limits = small}).error == whole.error);
    return whole.error;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_head_without_end_is_too_large) {
    BOOST_TEST(error_of("HTTP/1.1 200 OK\r\nX: " + std::string(400, 'x')) ==
               error_code(errc::header_too_large));
    std::string many = "HTTP/1.1 200 OK\r\n";
    for (int n = 0; n < 60; ++n)
        many += "X: y\r\n";
    BOOST_TEST(error_of(many) == error_code(errc::header_too_large));
    BOOST_TEST(error_of(many + "\r\n") == error_code(errc::header_too_large));
}

BOOST_AUTO_TEST_CASE(a_head_may_be_as_large_as_its_limit_and_no_larger) {
    const auto head = "HTTP/1.1 200 OK\r\nA: "s;
    const std::string enough(small.header - head.size() - 4, 'a');
    BOOST_TEST(error_of(head + enough + "\r\n\r\n") == error_code());
    BOOST_TEST(error_of(head + enough + "a\r\n\r\n") == error_code(errc::header_too_large));
}

BOOST_AUTO_TEST_CASE(interim_responses_count_as_the_head_that_they_come_before) {
    std::string many;
    while (many.size() < small.header - 80)
        many += "HTTP/1.1 100 Continue\r\n\r\n";
    const auto last = "HTTP/1.1 200 OK\r\nA: "s;
    const std::string enough(small.header - many.size() - last.size() - 4, 'a');
    BOOST_TEST(error_of(many + last + enough + "\r\n\r\n") == error_code());
    BOOST_TEST(error_of(many + last + enough + "a\r\n\r\n") == error_code(errc::header_too_large));
    for (int n = 0; n < 20; ++n)
        many += "HTTP/1.1 100 Continue\r\n\r\n";
    BOOST_TEST(error_of(many) == error_code(errc::header_too_large));
}

BOOST_AUTO_TEST_CASE(a_body_over_its_limit_is_too_large_however_its_length_is_told) {
    const std::string body(65, 'x');
    BOOST_TEST(error_of("HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n" + body) ==
               error_code(errc::body_too_large));
    BOOST_TEST(error_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(body.substr(0, 40)) +
                        chunk(body.substr(0, 25))) == error_code(errc::body_too_large));
    BOOST_TEST(error_of("HTTP/1.1 200 OK\r\n\r\n" + body) == error_code(errc::body_too_large));
    BOOST_TEST(
        parse_pieces({"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n"sv, std::string_view(body).substr(1)},
                     {.limits = small})
            .complete);
}

BOOST_AUTO_TEST_CASE(chunk_extensions_and_trailers_without_end_are_too_large) {
    const auto head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"s;
    BOOST_TEST(error_of(head + "5;" + std::string(400, 'x')) == error_code(errc::header_too_large));
    BOOST_TEST(error_of(head + "1\r\na\r\n0\r\nX: " + std::string(400, 'x')) ==
               error_code(errc::header_too_large));
    std::string trailers = head + "1\r\na\r\n0\r\n";
    for (int n = 0; n < 60; ++n)
        trailers += "X: y\r\n";
    BOOST_TEST(error_of(trailers) == error_code(errc::header_too_large));
}

BOOST_AUTO_TEST_CASE(a_limit_of_zero_is_none) {
    const std::string body(1 << 16, 'x');
    const http::response_limits none{.header = 0, .body = 0};
    const std::string field = "X: " + std::string(60000, 'h') + "\r\n";
    BOOST_TEST((parse_pieces({"HTTP/1.1 200 OK\r\n", field, field, "\r\n", body},
                             {.limits = none, .then_end = true}) == ok(200, body)));
}

BOOST_AUTO_TEST_CASE(a_field_over_64_KiB_is_too_large_whatever_the_limit) {
    const http::response_limits none{.header = 0, .body = 0};
    const auto text = "HTTP/1.1 200 OK\r\nX: " + std::string(1 << 16, 'h') + "\r\n\r\n";
    BOOST_TEST(parse_pieces({text}, {.limits = none}).error == error_code(errc::header_too_large));
}

// --- the exchange

namespace {

const endpoint place{"http", "a.test", 80};

struct fixture : test::in_simulated_world {
    runtime& rt = world.rt();
    test::scripted_server server{world, place};
    http::url url = http::parse_url("http://a.test/path").value();
    http::request request;
    http::transport transport;
    http::deadlines& deadlines = transport.deadlines;
    http::response_limits limits;
    const time_point start = rt.now();

    [[nodiscard]] long long elapsed_ms() const { return to_ms(rt.now() - start); }

    net::awaitable<result<http::response>> fetch() {
        co_return co_await http::fetch(rt, url, request, transport, limits);
    }
    net::awaitable<result<http::body_stream>> open() {
        co_return co_await http::open(rt, url, request, transport, limits);
    }

    // Cancels `op` after `delay`; how it ended.
    std::string ended_by;
    template <class T>
    net::awaitable<void> cancel_after(duration delay, net::awaitable<T> op) {
        net::cancellation_signal stop;
        auto on_end = [this](std::exception_ptr e, const T&) {
            ended_by = !e ? "value" : detail::is_abort(e) ? "aborted" : "failed";
        };
        net::co_spawn(rt.executor(), std::move(op),
                      net::bind_cancellation_slot(stop.slot(), std::move(on_end)));
        co_await rt.sleep_for(delay);
        BOOST_TEST(ended_by.empty());
        stop.emit(net::cancellation_type::terminal);
        for (int turn = 0; turn < 5; ++turn)
            co_await rt.sleep_for(duration::zero());
    }
};

} // namespace

CO_TEST_CASE(fetch_sends_the_request_and_returns_the_whole_response, fixture) {
    server.play({send(test::response(201, "text/plain", "hello"), seconds(1))});
    request.method = "POST";
    request.body = "ask";
    const auto got = co_await fetch();
    BOOST_TEST_REQUIRE(got.has_value());
    BOOST_TEST(got->head.status == 201);
    BOOST_TEST(got->body == "hello");
    BOOST_TEST(server.requests().size() == 1u);
    BOOST_TEST(server.requests()[0].text.starts_with("POST /path HTTP/1.1\r\n"));
    BOOST_TEST(server.requests()[0].text.ends_with("\r\n\r\nask"));
    BOOST_TEST(elapsed_ms() == 1000);
}

CO_TEST_CASE(any_slicing_of_the_network_gives_the_same_response, fixture) {
    for (const std::size_t slice : {1u, 2u, 7u, 100u, 100000u}) {
        world.net().slice(slice);
        const std::string body(20000, 'x');
        server.play({send(test::sse_head() + chunk(body)), send(chunk("y") + last_chunk(), seconds(1))});
        const auto got = co_await fetch();
        BOOST_TEST_REQUIRE(got.has_value());
        BOOST_TEST((got->body == body + "y"));
    }
}

CO_TEST_CASE(an_error_status_is_a_response_like_any, fixture) {
    server.play({send(test::response(500, "text/plain", "broken"))});
    const auto got = co_await fetch();
    BOOST_TEST_REQUIRE(got.has_value());
    BOOST_TEST(got->head.status == 500);
    BOOST_TEST(got->body == "broken");
}

CO_TEST_CASE(nobody_listening_is_refused, fixture) {
    world.net().stop_listening(place);
    const auto got = co_await fetch();
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST((got.error().cls == failure_class::refused));
    BOOST_TEST(!got.error().connected);
}

CO_TEST_CASE(a_connect_that_hangs_ends_at_its_deadline, fixture) {
    world.net().behave(place, testing::memory_network::behaviour::hang);
    deadlines.connect = seconds(3);
    const auto got = co_await fetch();
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().code == error_code(errc::connect_timeout));
    BOOST_TEST(elapsed_ms() == 3000);
}

CO_TEST_CASE(a_server_that_never_answers_is_a_header_timeout, fixture) {
    deadlines.header = seconds(4);
    const auto got = co_await open();
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().code == error_code(errc::header_timeout));
    BOOST_TEST(got.error().connected);
    BOOST_TEST(elapsed_ms() == 4000);
}

CO_TEST_CASE(a_head_that_drips_is_a_header_timeout_too, fixture) {
    test::script drip;
    for (const char c : test::response(200, "text/plain", "hello"))
        drip.push_back(send(std::string(1, c), seconds(1)));
    server.play(drip);
    deadlines.header = seconds(10);
    const auto got = co_await open();
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().code == error_code(errc::header_timeout));
    BOOST_TEST(elapsed_ms() == 10000);
}

CO_TEST_CASE(a_body_that_drips_ends_at_the_exchange_deadline, fixture) {
    test::script drip{send(test::sse_head())};
    for (int n = 0; n < 100; ++n)
        drip.push_back(send(chunk("x"), seconds(1)));
    server.play(drip);
    const auto got = co_await fetch();
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().code == error_code(errc::exchange_timeout));
    BOOST_TEST(got.error().status == 200);
    BOOST_TEST(elapsed_ms() == 30000);
}

CO_TEST_CASE(the_exchange_deadline_holds_from_the_start, fixture) {
    world.net().latency(seconds(2));
    server.play({send(test::sse_head(), seconds(2))});
    deadlines.exchange = seconds(5);
    const auto got = co_await fetch();
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(elapsed_ms() == 5000);
}

CO_TEST_CASE(deadlines_of_zero_are_none, fixture) {
    deadlines = {duration::zero(), duration::zero(), duration::zero(), duration::zero()};
    server.play({send(test::response(200, "text/plain", "late"), std::chrono::hours(2))});
    const auto got = co_await fetch();
    BOOST_TEST_REQUIRE(got.has_value());
    BOOST_TEST(got->body == "late");
}

CO_TEST_CASE(an_end_before_the_head_is_whole_is_a_cut, fixture) {
    server.play({finish()});
    server.play({send("HTTP/1.1 200 OK\r\nConte"), finish()});
    server.play({test::reset()});
    server.play({send("HTTP/1.1 200 OK\r\nConte", {}), test::reset(seconds(1))});
    for (int n = 0; n < 4; ++n) {
        const auto got = co_await fetch();
        BOOST_TEST_REQUIRE(got.has_error());
        BOOST_TEST(got.error().code == error_code(errc::cut));
        BOOST_TEST(got.error().connected);
        BOOST_TEST(!retry::blames_endpoint(got.error()));
    }
}

CO_TEST_CASE(an_end_in_the_middle_of_the_body_is_a_cut, fixture) {
    server.play({send(test::sse_response("some")), finish()});
    server.play({send(test::sse_response("some")), test::reset(seconds(1))});
    for (int n = 0; n < 2; ++n) {
        const auto got = co_await fetch();
        BOOST_TEST_REQUIRE(got.has_error());
        BOOST_TEST(got.error().code == error_code(errc::cut));
    }
}

CO_TEST_CASE(a_server_that_closes_right_after_its_answer_has_answered, fixture) {
    server.play({send(test::response(200, "text/plain", "bye")), finish()});
    server.play({send("HTTP/1.1 200 OK\r\n\r\nbye"), finish()});
    for (int n = 0; n < 2; ++n) {
        const auto got = co_await fetch();
        BOOST_TEST_REQUIRE(got.has_value());
        BOOST_TEST(got->body == "bye");
    }
}

CO_TEST_CASE(garbage_is_a_protocol_failure, fixture) {
    server.play({send("SSH-2.0-OpenSSH_9.2\r\n\r\n")});
    const auto got = co_await fetch();
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST((got.error().cls == failure_class::protocol));
}

CO_TEST_CASE(limits_hold_on_the_wire, fixture) {
    limits.body = 100;
    limits.header = 300;
    server.play({send(test::response(200, "text/plain", std::string(101, 'x')))});
    server.play({send(test::response(200, "text/plain", "x", "X: " + std::string(400, 'x') + "\r\n"))});
    const auto body = co_await fetch();
    BOOST_TEST_REQUIRE(body.has_error());
    BOOST_TEST(body.error().code == error_code(errc::body_too_large));
    const auto head = co_await fetch();
    BOOST_TEST_REQUIRE(head.has_error());
    BOOST_TEST(head.error().code == error_code(errc::header_too_large));
}

// --- servers that never come to an end: bounded time, and what is read of them bounded by a limit

namespace {

/// `first`, then `piece` after piece, for longer than any limit holds.
test::script for_ever(std::string first, const std::string& piece, duration every) {
    test::script steps{send(std::move(first))};
    for (int n = 0; n < 2000; ++n)
        steps.push_back(send(piece, every));
    return steps;
}

const std::string chunked_head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
/// A kilobyte each millisecond: so many milliseconds, so many kilobytes were read.
const std::string kilobyte(1000, 'x');
constexpr long long header_limit_in_kilobytes = 17;

} // namespace

CO_TEST_CASE(a_head_that_comes_a_byte_a_second_ends_at_the_header_deadline, fixture) {
    for (const char* first : {"HTTP/1.", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nX: "}) {
        const auto began = rt.now();
        server.play(for_ever(first, "H", seconds(1)));
        const auto got = co_await open();
        BOOST_TEST_REQUIRE(got.has_error());
        BOOST_TEST(got.error().code == error_code(errc::header_timeout));
        BOOST_TEST(to_ms(rt.now() - began) == 10000);
    }
}

CO_TEST_CASE(interim_responses_one_a_second_end_at_the_header_deadline, fixture) {
    server.play(for_ever("", "HTTP/1.1 102 Processing\r\n\r\n", seconds(1)));
    const auto got = co_await open();
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().code == error_code(errc::header_timeout));
    BOOST_TEST(elapsed_ms() == 10000);
}

CO_TEST_CASE(a_head_without_end_is_read_no_further_than_its_limit, fixture) {
    for (const auto& [first, piece] : std::vector<std::pair<std::string, std::string>>{
             {"HTTP/1.1 200 ", kilobyte},                                  // a line without end
             {"HTTP/1.1 200 OK\r\nX: ", kilobyte},                         // a field without end
             {"HTTP/1.1 200 OK\r\n", "X: " + kilobyte + "\r\n"},           // fields without end
             {"", "HTTP/1.1 100 Continue\r\nX: " + kilobyte + "\r\n\r\n"}, // heads without end
         }) {
        const auto began = rt.now();
        server.play(for_ever(first, piece, milliseconds(1)));
        const auto got = co_await open();
        BOOST_TEST_REQUIRE(got.has_error());
        BOOST_TEST(got.error().code == error_code(errc::header_too_large), got.error().message);
        BOOST_TEST(to_ms(rt.now() - began) <= header_limit_in_kilobytes, first);
    }
}

CO_TEST_CASE(junk_without_a_line_end_is_found_out_at_once, fixture) {
    server.play(for_ever("", kilobyte, milliseconds(1)));
    const auto got = co_await open();
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().code == error_code(errc::malformed));
    BOOST_TEST(elapsed_ms() == 1);
}

CO_TEST_CASE(chunk_extensions_and_trailers_without_end_are_read_no_further_than_their_limit, fixture) {
    for (const auto& [first, piece] : std::vector<std::pair<std::string, std::string>>{
             {"5", ";" + kilobyte},
             {"5;a=", kilobyte},
             {"5;a=\"", kilobyte},
             {chunk("hello") + "0\r\n", "X: " + kilobyte + "\r\n"},
             {chunk("hello") + "0\r\nX: ", kilobyte},
         }) {
        const auto began = rt.now();
        server.play(for_ever(chunked_head + first, piece, milliseconds(1)));
        const auto got = co_await fetch();
        BOOST_TEST_REQUIRE(got.has_error());
        BOOST_TEST(got.error().code == error_code(errc::header_too_large), got.error().message);
        BOOST_TEST(to_ms(rt.now() - began) <= header_limit_in_kilobytes, first);
    }
}

CO_TEST_CASE(framing_that_comes_a_byte_a_second_is_no_sign_of_life, fixture) {
    for (const std::string& framing : {std::string("5;a="), chunk("x") + "0\r\nX: "}) {
        server.play(for_ever(chunked_head + framing, "x", seconds(1)));
        auto stream = co_await open();
        BOOST_TEST_REQUIRE(stream.has_value());
        const auto began = rt.now();
        result<std::span<const std::string_view>> got = co_await stream->read(began + seconds(60));
        if (got)
            got = co_await stream->read(began + seconds(60));
        BOOST_TEST_REQUIRE(got.has_error());
        BOOST_TEST(got.error().code == error_code(errc::stalled));
        BOOST_TEST(to_ms(rt.now() - began) == 60000);
    }
}

CO_TEST_CASE(a_body_that_drips_ends_at_the_exchange_deadline_and_one_that_gushes_at_its_limit, fixture) {
    server.play(for_ever(chunked_head, chunk("x"), seconds(1)));
    const auto slow = co_await fetch();
    BOOST_TEST_REQUIRE(slow.has_error());
    BOOST_TEST(slow.error().code == error_code(errc::exchange_timeout));
    BOOST_TEST(elapsed_ms() == 30000);
    limits.body = 100000;
    server.play(for_ever("HTTP/1.1 200 OK\r\n\r\n", kilobyte, milliseconds(1)));
    const auto fast = co_await fetch();
    BOOST_TEST_REQUIRE(fast.has_error());
    BOOST_TEST(fast.error().code == error_code(errc::body_too_large));
    BOOST_TEST(elapsed_ms() == 30101);
}

CO_TEST_CASE(extensions_of_many_chunks_are_not_added_up, fixture) {
    std::string body;
    for (int n = 0; n < 100; ++n)
        body += "1;" + kilobyte + "\r\nx\r\n";
    server.play({send(chunked_head + body + last_chunk())});
    const auto got = co_await fetch();
    BOOST_TEST_REQUIRE(got.has_value());
    BOOST_TEST(got->body == std::string(100, 'x'));
}

namespace {

struct without_tls : fixture {
    test::scripted_server plain{world, endpoint("https", "a.test", 443)};
    without_tls() { url = http::parse_url("https://a.test/").value(); }
};

} // namespace

CO_TEST_CASE(a_handshake_has_a_deadline_of_its_own, without_tls) {
    deadlines.tls = seconds(3);
    const auto got = co_await fetch();
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().code == error_code(errc::tls_timeout));
    BOOST_TEST(!got.error().connected);
    BOOST_TEST(elapsed_ms() == 3000);
    BOOST_TEST(world.net().open_connections() == 0u);
}

CO_TEST_CASE(an_invalid_request_is_refused_before_any_io, fixture) {
    request.headers = {{"X", "a\r\nEvil: b"}};
    const auto got = co_await fetch();
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().code == error_code(errc::invalid_request));
    BOOST_TEST(server.accepted_connections() == 0u);
}

CO_TEST_CASE(fetch_is_cancelled_at_once_while_it_connects, fixture) {
    world.net().behave(place, testing::memory_network::behaviour::hang);
    co_await cancel_after(seconds(1), fetch());
    BOOST_TEST(ended_by == "aborted");
    BOOST_TEST(elapsed_ms() == 1000);
}

CO_TEST_CASE(fetch_is_cancelled_at_once_while_it_waits_for_the_head, fixture) {
    co_await cancel_after(seconds(1), fetch());
    BOOST_TEST(ended_by == "aborted");
    BOOST_TEST(world.net().open_connections() == 0u);
    BOOST_TEST(elapsed_ms() == 1000);
}

CO_TEST_CASE(fetch_is_cancelled_at_once_while_it_reads_the_body, fixture) {
    server.play({send(test::sse_response("some"))});
    co_await cancel_after(seconds(1), fetch());
    BOOST_TEST(ended_by == "aborted");
    BOOST_TEST(world.net().open_connections() == 0u);
    BOOST_TEST(elapsed_ms() == 1000);
}

// --- the endless body

namespace {

struct streaming : fixture {
    std::optional<http::body_stream> stream;
    void finish() { stream.reset(); }
    net::awaitable<void> begin() {
        auto got = co_await open();
        BOOST_TEST_REQUIRE(got.has_value());
        stream = std::move(*got);
    }
    // What the next read brings, or the name of its failure's class.
    net::awaitable<std::string> read(duration within = std::chrono::hours(1)) {
        const auto got = co_await stream->read(rt.now() + within);
        if (!got)
            co_return std::string(retry::to_string(got.error().cls));
        std::string text;
        for (const auto piece : *got)
            text += piece;
        co_return text;
    }
};

} // namespace

CO_TEST_CASE(what_came_with_the_head_is_read_first_and_an_end_is_no_piece, streaming) {
    server.play({send(test::sse_response("one")), send(chunk("two") + last_chunk(), seconds(1))});
    co_await begin();
    const auto first = co_await read();
    const auto second = co_await read();
    const auto third = co_await read();
    const auto fourth = co_await read();
    BOOST_TEST(first == "one");
    BOOST_TEST(second == "two");
    BOOST_TEST(third.empty());
    BOOST_TEST(fourth.empty());
}

CO_TEST_CASE(a_read_ends_as_stalled_at_its_deadline, streaming) {
    server.play({send(test::sse_head())});
    co_await begin();
    const auto got = co_await read(seconds(60));
    BOOST_TEST(got == "stall");
    BOOST_TEST(elapsed_ms() == 60000);
}

CO_TEST_CASE(no_clock_runs_between_reads, streaming) {
    server.play({send(test::sse_response("one")), send(chunk("two"), seconds(1))});
    co_await begin();
    const auto first = co_await read(seconds(60));
    BOOST_TEST(first == "one");
    co_await rt.sleep_for(std::chrono::hours(1));
    const auto second = co_await read(seconds(60));
    BOOST_TEST(second == "two");
}

CO_TEST_CASE(no_clock_runs_after_a_cancelled_read_and_nothing_is_lost, streaming) {
    server.play({send(test::sse_head()), send(chunk("one"), std::chrono::minutes(5))});
    co_await begin();
    auto bounded = [](streaming& s) -> net::awaitable<int> {
        co_await s.read(seconds(60));
        co_return 1;
    };
    co_await cancel_after(seconds(1), bounded(*this));
    BOOST_TEST(ended_by == "aborted");
    co_await rt.sleep_for(std::chrono::minutes(10));
    const auto first = co_await read(seconds(60));
    BOOST_TEST(first == "one");
}

CO_TEST_CASE(a_later_read_may_have_an_earlier_deadline, streaming) {
    server.play({send(test::sse_head()), send(chunk("one"), seconds(1))});
    co_await begin();
    const auto first = co_await read(seconds(60));
    BOOST_TEST(first == "one");
    const auto second = co_await read(seconds(5));
    BOOST_TEST(second == "stall");
    BOOST_TEST(elapsed_ms() == 6000);
}

CO_TEST_CASE(close_ends_a_pending_read, streaming) {
    server.play({send(test::sse_head())});
    co_await begin();
    task_scope scope(rt, {});
    auto closing = [](streaming& s) -> net::awaitable<void> {
        co_await s.rt.sleep_for(seconds(1));
        s.stream->close();
        s.stream->close();
    };
    scope.spawn(closing(*this));
    const auto got = co_await stream->read(time_point::max());
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().code == error_code(errc::closed));
    BOOST_TEST(elapsed_ms() == 1000);
    co_await scope.join();
}

CO_TEST_CASE(an_errors_body_is_read_within_bounds_of_size_and_time, streaming) {
    server.play({send(test::sse_response(std::string(10000, 'x')))});
    co_await begin();
    const auto text = co_await http::read_error_body(rt, *stream, seconds(1));
    BOOST_TEST(text == std::string(retry::max_failure_body, 'x'));
    server.play({send(test::sse_response("slow"))});
    co_await begin();
    const auto slow = co_await http::read_error_body(rt, *stream, seconds(1));
    BOOST_TEST(slow == "slow");
    BOOST_TEST(elapsed_ms() == 1000);
}

BOOST_AUTO_TEST_CASE(a_response_parser_can_be_moved_in_the_middle_of_a_response) {
    std::vector<std::string_view> body;
    http::response_parser first({});
    BOOST_TEST(!first.put("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", body));
    http::response_parser second(std::move(first));
    BOOST_TEST(!second.put("c", body));
    http::response_parser third({});
    third = std::move(second);
    BOOST_TEST(!third.put("de", body));
    BOOST_TEST(third.complete());
    BOOST_TEST(!third.put_end()); // whole already
    std::string all;
    for (const auto piece : body)
        all += piece;
    BOOST_TEST(all == "abcde");
}
