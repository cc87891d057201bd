// Compressed streams in an event source: flushed events, limits, failures, answers. In virtual time.
#include <boost/test/unit_test.hpp>

#include "support/deflate.hpp"
#include "support/streams.hpp"

#include <holdfast/stream/inflate.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using test::chunk;
using test::coding;
using test::compressed;
using test::compressor;
using test::send;

namespace {

const std::vector<std::pair<coding, std::string>> codings{
    {coding::gzip, "gzip"}, {coding::zlib, "deflate"}, {coding::raw, "deflate"}};

using fixture = test::source_fixture;

struct compressing : fixture {
    compressing() { stream::accept_compressed(config); }
};

std::string head(std::string_view name, std::string_view more = "Transfer-Encoding: chunked\r\n") {
    return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: " + std::string(name) +
           "\r\n" + std::string(more) + "\r\n";
}

} // namespace

CO_TEST_CASE(events_come_as_they_are_flushed_and_what_was_asked_for_says_so, compressing) {
    for (const auto& [by, name] : codings) {
        compressor zip(by);
        server.play({send(head(name)), send(chunk(zip.put("data: a\n\n")), seconds(1)),
                     send(chunk(zip.put("data: b\n\ndata: ")), seconds(1)),
                     send(chunk(zip.put("c\n\n")), seconds(1)), send(chunk(zip.end()) + test::last_chunk())});
        const auto begin = rt.now();
        const auto got = co_await next(3);
        CHECK_LINES(got, {"opened 1", "event a", "event b"});
        BOOST_TEST(to_ms(rt.now() - begin) == 2000);
        const auto rest = co_await next(2);
        CHECK_LINES(rest, {"event c", "interrupted ended next 1 in 1000"});
        BOOST_TEST(server.requests().back().header("Accept-Encoding") == "gzip, deflate");
        source.reset();
    }
}

CO_TEST_CASE(what_is_recorded_is_what_was_inflated_and_what_is_counted_what_was_sent, compressing) {
    std::string seen;
    config.tap = [&](std::string_view piece) {
        seen += piece;
    };
    const auto text = test::events({std::string(5000, 'x')});
    const auto bytes = compressed(coding::gzip, text);
    server.play({send(head("gzip") + chunk(bytes))});
    co_await next(2);
    BOOST_TEST((seen == text));
    BOOST_TEST(source->statistics().bytes == bytes.size());
}

CO_TEST_CASE(a_tap_may_close_a_compressed_stream_and_nothing_comes_any_more, compressing) {
    config.tap = [&](std::string_view) {
        source->close();
    };
    server.play({send(head("gzip") + chunk(compressed(coding::gzip, "data: x\n\n")))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "end"});
}

CO_TEST_CASE(a_server_that_compresses_nothing_is_read_as_ever, compressing) {
    server.play({send(test::sse_response("data: x\n\n"))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "event x"});
}

CO_TEST_CASE(other_codings_are_refused_still_and_two_of_them_too, compressing) {
    for (const std::string name : {"br", "gzip, br", "gzip, gzip", "zstd"}) {
        server.play({send(head(name)), test::finish()});
        const auto got = co_await next();
        BOOST_TEST(got == "gave up content_type after 1", name);
        source.reset();
    }
}

CO_TEST_CASE(an_accept_encoding_of_the_owners_own_is_sent_in_its_place, fixture) {
    config.headers.emplace_back("accept-encoding", "gzip;q=0.5");
    stream::accept_compressed(config);
    server.play({send(head("gzip") + chunk(compressed(coding::gzip, "data: x\n\n")))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "event x"});
    BOOST_TEST(server.requests().back().header("Accept-Encoding") == "gzip;q=0.5");
}

CO_TEST_CASE(events_are_limited_as_ever_behind_the_coding, compressing) {
    config.limits.event = 1000;
    server.play(
        {send(head("gzip") + chunk(compressed(coding::gzip, test::events({std::string(2000, 'x')}))))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "gave up too_large after 1"});
}

CO_TEST_CASE(a_bomb_is_the_end_of_the_stream, compressing) {
    config.oversized = stream::oversized::skip;
    server.play(
        {send(head("gzip") + chunk(compressed(coding::gzip, "data: a\n\n" + std::string(64u << 20, ':'))))});
    auto got = co_await next(3);
    if (got.back().starts_with("skipped"))
        got.back() = co_await next();
    BOOST_TEST(got.at(1) == "event a");
    BOOST_TEST(got.back() == "gave up too_large after 1");
    BOOST_TEST(last.failure.message.find("it inflates to more than 100 times its size") != std::string::npos,
               last.failure.message);
}

CO_TEST_CASE(a_clean_end_before_that_of_the_data_is_a_cut, compressing) {
    compressor zip(coding::gzip);
    server.play({send(head("gzip") + chunk(zip.put("data: a\n\ndata: b")) + test::last_chunk())});
    config.flush_at_end = true;
    config.clean_end = stream::clean_end::done;
    const auto got = co_await next(3);
    CHECK_LINES(got, {"opened 1", "event a", "interrupted cut next 2 in 1000"});
}

CO_TEST_CASE(broken_data_is_a_failure_behind_the_events_before_it, compressing) {
    compressor zip(coding::gzip);
    server.play(
        {send(head("gzip")), send(chunk(zip.put("data: a\n\n"))), send(chunk("\xff\xff"), seconds(1))});
    const auto got = co_await next(3);
    CHECK_LINES(got, {"opened 1", "event a", "interrupted protocol next 2 in 1000"});
}

CO_TEST_CASE(the_last_codes_of_raw_data_are_read_at_its_end, compressing) {
    config.flush_at_end = true;
    config.clean_end = stream::clean_end::done;
    for (const auto& text : {"data: x\n\n"s, "data: y"s}) {
        const auto raw = compressed(coding::raw, text);
        server.play({send(head("deflate", "Content-Length: " + std::to_string(raw.size()) + "\r\n") + raw)});
        const auto got = co_await next(3);
        CHECK_LINES(got, {"opened 1", "event " + std::string(1, text[6]), "done"});
        source.reset();
    }
}

CO_TEST_CASE(bodies_of_errors_and_answers_are_inflated_too, compressing) {
    config.answers = stream::answers::json;
    const auto answer = [](int status, const std::string& text) {
        return test::response(status, "application/json", compressed(coding::gzip, text),
                              "Content-Encoding: gzip\r\n");
    };
    server.play({send(answer(400, "{\"error\":1}"))});
    const auto refused = co_await next();
    BOOST_TEST(refused == "gave up http_status after 1");
    BOOST_TEST(last.failure.body == "{\"error\":1}");
    source.reset();
    server.play({send(answer(400, std::string(9000, 'x')))});
    co_await next();
    BOOST_TEST((last.failure.body == std::string(4096, 'x')));
    source.reset();
    server.play({send(answer(200, "{\"id\":1}"))});
    const auto told = co_await next();
    BOOST_TEST(told == "answered 200 {\"id\":1}");
    source.reset();
    config.answer_limit = 5000;
    server.play({send(answer(200, std::string(5000, 'x')))});
    const auto fits = co_await next();
    BOOST_TEST((fits == "answered 200 " + std::string(5000, 'x')));
    source.reset();
    server.play({send(answer(200, std::string(5001, 'x')))});
    const auto large = co_await next();
    BOOST_TEST(large == "gave up too_large after 1");
    source.reset();
    const auto half = compressed(coding::gzip, "{\"id\":1}").substr(0, 20);
    server.play({send(test::response(200, "application/json", half, "Content-Encoding: gzip\r\n"))});
    const auto cut = co_await next();
    BOOST_TEST(cut == "interrupted cut next 2 in 1000");
    source.reset();
    server.play({send(test::response(200, "application/json", "{}", "Content-Encoding: gzip\r\n"))});
    const auto broken = co_await next();
    BOOST_TEST(broken == "interrupted protocol next 2 in 1000");
}
