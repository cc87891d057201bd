// What services ask beyond the standard: streams resumed by another request, failures told inside a stream,
// other framings, and ids that outlive the process. In virtual time.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <holdfast/stream/id_store.hpp>
#include <holdfast/stream/ndjson.hpp>
#include <holdfast/stream/resume.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using test::chunk;
using test::last_chunk;
using test::lines;
using test::place;
using test::response;
using test::send;
using test::sse_head;
using test::sse_response;

namespace {

struct fixture : test::source_fixture {
    lines resumed_from; // what each next_request was given: id, type, data

    // As MCP of 2025 resumes: a POST, then a GET with its id.
    void resume_by_get() {
        config.method = "POST";
        config.body = "{}";
        config.next_request = [this](std::string_view last_id, const sse::event& last,
                                     http::request& what) -> net::awaitable<result<void>> {
            resumed_from.push_back(std::string(last_id) + ' ' + std::string(last.type) + ' ' +
                                   std::string(last.data));
            if (!last_id.empty()) {
                what.method = "GET";
                what.body.clear();
            }
            co_return result<void>();
        };
    }

    // As services tell of failures in a stream.
    void fail_on_errors() {
        config.judge = [](const sse::event& what) -> std::optional<retry::failure> {
            if (what.type == "error")
                return retry::make_status_failure(529, std::string(what.data), {});
            if (what.type == "wait")
                return retry::make_status_failure(429, {}, seconds(20));
            if (what.type == "auth_revoked")
                return retry::make_failure(errc::stalled, "revoked", true);
            if (what.type == "bad")
                return retry::make_status_failure(400, std::string(what.data), {});
            return std::nullopt;
        };
    }

    [[nodiscard]] std::string request_line(std::size_t n) const {
        const auto& text = server.requests().at(n).text;
        return text.substr(0, text.find(' '));
    }
};

test::script then_end(std::string bytes) {
    return {send(std::move(bytes)), send(last_chunk())};
}

test::script then_cut(std::string bytes) {
    return {send(std::move(bytes)), test::reset(milliseconds(1))};
}

} // namespace

// --- next_request resumes

CO_TEST_CASE(a_post_is_resumed_by_a_get_with_its_last_id, fixture) {
    resume_by_get();
    server.play(then_end(sse_response("retry: 40\nid: 7\ndata:\n\n")));
    server.play({send(sse_response("id: 8\ndata: answer\n\n"))});
    const auto got = co_await next(5);
    CHECK_LINES(got, {"opened 1", "event ", "interrupted ended next 1 in 40", "opened 1", "event answer"});
    BOOST_TEST(request_line(0) == "POST");
    BOOST_TEST(request_line(1) == "GET");
    BOOST_TEST(server.requests().at(1).header("Last-Event-ID") == "7");
    BOOST_TEST(!server.requests().at(1).has_header("Content-Length"));
}

CO_TEST_CASE(a_stream_that_was_resumed_once_is_resumed_for_ever, fixture) {
    resume_by_get();
    for (int n = 1; n <= 20; ++n)
        server.play(then_cut(sse_response("id: " + std::to_string(n) + "\ndata: x\n\n")));
    for (int n = 1; n <= 20; ++n) {
        const auto got = co_await next(3);
        BOOST_TEST(got.back().starts_with("interrupted cut"), got.back());
    }
    for (std::size_t n = 1; n < 20; ++n)
        BOOST_TEST(server.requests().at(n).header("Last-Event-ID") == std::to_string(n));
}

CO_TEST_CASE(a_post_without_anything_to_resume_from_is_not_sent_again, fixture) {
    resume_by_get();
    server.play(then_cut(sse_head()));
    const auto got = co_await all();
    CHECK_LINES(got, {"opened 1", "gave up cut after 1", "end"});
    BOOST_TEST(server.requests().size() == 1u);
}

CO_TEST_CASE(a_post_that_is_not_resumed_otherwise_gives_up_with_what_failed_and_is_not_sent, fixture) {
    config.method = "POST";
    unsigned calls = 0;
    config.next_request = [&calls](std::string_view, const sse::event&,
                                   http::request& what) -> net::awaitable<result<void>> {
        ++calls;
        what.headers.emplace_back("X-Call", std::to_string(calls));
        co_return result<void>();
    };
    server.play(then_cut(sse_response("data: x\n\n")));
    const auto got = co_await all();
    CHECK_LINES(got, {"opened 1", "event x", "interrupted cut next 2 in 1000", "gave up cut after 1", "end"});
    BOOST_TEST(last.failure.message.ends_with("; not sent again, as POST may change something"),
               last.failure.message);
    BOOST_TEST(calls == 2u);
    BOOST_TEST(server.requests().size() == 1u);
    BOOST_TEST(attempts() == 1u);
}

CO_TEST_CASE(a_resumed_stream_never_goes_back_to_the_post, fixture) {
    bool resumes = false;
    config.method = "POST";
    config.next_request = [&resumes](std::string_view, const sse::event&,
                                     http::request& what) -> net::awaitable<result<void>> {
        if (resumes)
            what.method = "GET";
        co_return result<void>();
    };
    server.play(then_cut(sse_response("id: 1\ndata: x\n\n")));
    server.play(then_cut(sse_response("id: 2\ndata: y\n\n")));
    co_await next(2);
    resumes = true;
    co_await next(3);
    resumes = false;
    const auto got = co_await next(3);
    CHECK_LINES(got, {"interrupted cut next 2 in 2000", "gave up cut after 1", "end"});
    BOOST_TEST(server.requests().size() == 2u);
}

CO_TEST_CASE(an_unsafe_request_that_may_be_repeated_is, fixture) {
    resume_by_get();
    config.repeat_unsafe = true;
    server.play(then_cut(sse_head()));
    server.play({send(sse_head())});
    const auto got = co_await next(3);
    CHECK_LINES(got, {"opened 1", "interrupted cut next 2 in 1000", "opened 2"});
    BOOST_TEST(request_line(1) == "POST");
}

CO_TEST_CASE(a_post_that_was_cancelled_is_resumed_where_there_is_an_id, fixture) {
    resume_by_get();
    config.headers = {{"Last-Event-ID", "5"}};
    config.next_request = [](std::string_view, const sse::event&,
                             http::request& what) -> net::awaitable<result<void>> {
        static bool again = false;
        if (again)
            what.method = "GET";
        again = true;
        co_return result<void>();
    };
    server.play({});
    const auto reader = scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(1));
    scope.cancel(reader);
    co_await turn();
    server.play({send(sse_head())});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"interrupted cut next 2 in 1000", "opened 2"});
    BOOST_TEST(request_line(1) == "GET");
}

CO_TEST_CASE(next_request_is_given_the_last_id_and_the_last_event_as_a_copy, fixture) {
    resume_by_get();
    const std::string large(3u << 20, 'x');
    server.play(then_cut(
        sse_response("id: a\nevent: one\ndata: 1\n\nid: b\nevent: two\ndata: " + large + "\n\nid: c\n\n")));
    server.play(then_cut(sse_head()));
    server.play({send(sse_head())});
    co_await next(4);
    co_await next(3);
    BOOST_TEST_REQUIRE(resumed_from.size() == 3u);
    BOOST_TEST(resumed_from[0] == "  ");
    BOOST_TEST((resumed_from[1] == "c two " + large));
    BOOST_TEST((resumed_from[2] == "c two " + large));
}

CO_TEST_CASE(another_target_resumes_a_stream_by_a_number_in_its_events, fixture) {
    config.next_request = [](std::string_view, const sse::event& last,
                             http::request& what) -> net::awaitable<result<void>> {
        if (!last.type.empty())
            what.target = "/responses/r1?stream=true&starting_after=" + std::string(last.data);
        co_return result<void>();
    };
    server.play(then_cut(sse_response("data: 1\n\ndata: 2\n\n")));
    server.play({send(sse_head())});
    co_await next(5);
    BOOST_TEST(server.requests().at(0).target() == "/event");
    BOOST_TEST(server.requests().at(1).target() == "/responses/r1?stream=true&starting_after=2");
}

// --- judge

CO_TEST_CASE(an_event_that_is_a_failure_is_handed_out_and_then_fails_by_its_class, fixture) {
    struct row {
        std::string type, then;
    };
    for (const auto& [type, then] : std::vector<row>{{"error", "interrupted http_status next 2 in 1000"},
                                                     {"wait", "interrupted throttled next 2 in 20000"},
                                                     {"auth_revoked", "interrupted stall next 2 in 1000"},
                                                     {"bad", "gave up http_status after 1"}}) {
        fail_on_errors();
        server.play({send(sse_response("data: a\n\nevent: " + type + "\ndata: why\n\ndata: dropped\n\n"))});
        const auto got = co_await next(4);
        CHECK_LINES(got, {"opened 1", "event a", "event why", then});
        BOOST_TEST(last.failure.connected);
        BOOST_TEST(!source->is_open());
        BOOST_TEST(source->statistics().events == 2u);
        source.reset();
    }
}

CO_TEST_CASE(an_event_that_is_a_failure_is_the_same_wherever_its_bytes_are_cut, fixture) {
    const std::string stream = "id: 4\nevent: error\ndata: {\"error\":1}\n\ndata: dropped\n\n";
    for (std::size_t at = 1; at < stream.size(); ++at) {
        fail_on_errors();
        server.play({send(sse_head() + chunk(stream.substr(0, at))),
                     send(chunk(stream.substr(at)), milliseconds(1))});
        const auto got = co_await next(3);
        CHECK_LINES(got, {"opened 1", "event {\"error\":1}", "interrupted http_status next 2 in 1000"});
        BOOST_TEST(last.failure.body == "{\"error\":1}");
        BOOST_TEST(source->last_event_id() == "4");
        source.reset();
    }
}

CO_TEST_CASE(a_stream_of_failures_alone_is_given_up_by_the_policy, fixture) {
    fail_on_errors();
    server.play_ever_after({send(sse_response("event: error\ndata: overloaded\n\n"))});
    const auto got = co_await all();
    BOOST_TEST(got.size() == 22u);
    BOOST_TEST(got.at(got.size() - 2) == "gave up http_status after 7");
    BOOST_TEST(attempts() == 7u);
}

CO_TEST_CASE(a_failure_behind_progress_is_the_first_of_a_new_run, fixture) {
    fail_on_errors();
    server.play_ever_after({send(sse_response("data: x\n\nevent: error\ndata: overloaded\n\n"))});
    for (int n = 0; n < 20; ++n) {
        const auto got = co_await next(4);
        BOOST_TEST(got.back().starts_with("interrupted http_status next 2"), got.back());
    }
}

CO_TEST_CASE(an_event_that_asks_to_connect_again_is_an_end_and_not_asked_for_ever_without_progress, fixture) {
    config.judge = [](const sse::event& what) -> std::optional<retry::failure> {
        if (what.type == "bye")
            return retry::make_failure(errc::ended);
        return std::nullopt;
    };
    server.play({send(sse_response("data: x\n\nevent: bye\ndata: 1\n\n"))});
    server.play_ever_after({send(sse_response("event: bye\ndata: 1\n\n"))});
    const auto got = co_await all();
    BOOST_TEST(got.at(3) == "interrupted ended next 1 in 1000");
    BOOST_TEST(got.at(got.size() - 2) == "gave up early_end after 7");
}

CO_TEST_CASE(an_event_that_a_clean_end_completes_is_judged_too, fixture) {
    for (const auto end : {stream::clean_end::reconnect, stream::clean_end::done}) {
        fail_on_errors();
        config.flush_at_end = true;
        config.clean_end = end;
        server.play(then_end(sse_response("event: error\ndata: why")));
        const auto got = co_await next(3);
        CHECK_LINES(got, {"opened 1", "event why", "interrupted http_status next 2 in 1000"});
        source.reset();
    }
}

CO_TEST_CASE(a_post_that_failed_inside_its_stream_is_not_sent_again, fixture) {
    fail_on_errors();
    config.method = "POST";
    server.play({send(sse_response("event: error\ndata: overloaded\n\n"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"opened 1", "event overloaded", "gave up http_status after 1", "end"});
}

CO_TEST_CASE(what_judge_throws_is_told_and_counts_as_a_failure, fixture) {
    config.judge = [](const sse::event&) -> std::optional<retry::failure> {
        throw std::runtime_error("no idea");
    };
    server.play({send(sse_response("data: x\n\n"))});
    const auto got = co_await next(3);
    CHECK_LINES(got, {"opened 1", "event x", "interrupted local next 2 in 1000"});
    BOOST_TEST(last.failure.message.find("judge threw: no idea") != std::string::npos, last.failure.message);
    BOOST_TEST(world.logs().at(0).event == "stream.judge_threw");
}

CO_TEST_CASE(a_close_from_within_judge_is_heeded, fixture) {
    config.judge = [this](const sse::event&) -> std::optional<retry::failure> {
        source->close();
        return retry::make_failure(errc::stalled);
    };
    server.play({send(sse_response("data: x\n\ndata: y\n\n"))});
    const auto got = co_await all();
    BOOST_TEST(got.back() == "end");
    BOOST_TEST(attempts() == 1u);
}

CO_TEST_CASE(the_judgement_waits_for_the_next_call_and_survives_its_cancellation, fixture) {
    fail_on_errors();
    server.play({send(sse_response("event: error\ndata: why\n\n"))});
    co_await next(2);
    BOOST_TEST(source->is_open());
    BOOST_TEST(last.event.data == "why");
    const auto told_next = source->try_next();
    BOOST_TEST_REQUIRE(told_next.has_value());
    BOOST_TEST(test::to_line(*told_next) == "interrupted http_status next 2 in 1000");
}

// --- framings

CO_TEST_CASE(json_lines_are_read_as_events_and_resumed_by_the_last_one, fixture) {
    config.framing = stream::ndjson;
    config.next_request = [](std::string_view, const sse::event& last,
                             http::request& what) -> net::awaitable<result<void>> {
        if (!last.type.empty())
            what.target = "/watch?after=" + std::string(last.data);
        co_return result<void>();
    };
    const auto head = "HTTP/1.1 200 OK\r\nContent-Type: application/json;stream=watch\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n"s;
    server.play({send(head + chunk("1\n2") + chunk("2\n3")), test::reset(milliseconds(1))});
    server.play({send(head + chunk("4\n"))});
    const auto got = co_await next(6);
    CHECK_LINES(got,
                {"opened 1", "event 1", "event 22", "interrupted cut next 2 in 1000", "opened 2", "event 4"});
    BOOST_TEST(server.requests().at(0).header("Accept") == "application/x-ndjson, application/json");
    BOOST_TEST(server.requests().at(1).target() == "/watch?after=22");
}

CO_TEST_CASE(an_event_stream_is_none_of_json_lines_and_the_other_way_round, fixture) {
    server.play({send(response(200, "application/x-ndjson", "{}\n"))});
    const auto as_events = co_await all();
    CHECK_LINES(as_events, {"gave up content_type after 1", "end"});
    source.reset();
    told.clear();
    config.framing = stream::ndjson;
    server.play({send(sse_head())});
    const auto as_lines = co_await all();
    CHECK_LINES(as_lines, {"gave up content_type after 1", "end"});
}

CO_TEST_CASE(limits_skips_and_a_last_line_are_those_of_event_streams, fixture) {
    config.framing = stream::ndjson;
    config.limits.line = 3;
    config.oversized = stream::oversized::skip;
    config.flush_at_end = true;
    config.clean_end = stream::clean_end::done;
    server.play({send(response(200, "application/x-ndjson", "1\n12345\n2\n3"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"opened 1", "event 1", "skipped " + error_code(errc::line_too_long).message(),
                      "event 2", "event 3", "done", "end"});
}

CO_TEST_CASE(a_source_without_a_parser_is_misuse, fixture) {
    config.framing = nullptr;
    BOOST_CHECK_THROW(begin(), std::logic_error);
    config.framing = [](const sse::limits&, const sse::options&) {
        return std::unique_ptr<stream::framing>();
    };
    BOOST_CHECK_THROW(begin(), std::logic_error);
    co_return;
}

// --- resumptions

CO_TEST_CASE(an_mcp_answer_goes_on_by_a_get_without_what_described_the_body, fixture) {
    config.method = "POST";
    config.body = "{}";
    config.headers = {{"Content-Type", "application/json"},
                      {"content-language", "en"},
                      {"Accept", "application/json, text/event-stream"},
                      {"Mcp-Session-Id", "s1"}};
    stream::resume_by_get(config);
    server.play(then_end(sse_response("id: 1/0\nretry: 10\ndata:\n\n")));
    server.play({send(sse_response("id: 1/1\ndata: {\"result\":{}}\n\n"))});
    const auto got = co_await next(5);
    CHECK_LINES(
        got, {"opened 1", "event ", "interrupted ended next 1 in 10", "opened 1", "event {\"result\":{}}"});
    const auto& asked = server.requests().at(1);
    BOOST_TEST(asked.text.starts_with("GET /event HTTP/1.1\r\n"), asked.text);
    BOOST_TEST(asked.text.ends_with("\r\n\r\n"), asked.text);
    for (const char* gone : {"Content-Type", "Content-Language", "Content-Length"})
        BOOST_TEST(!asked.has_header(gone), gone);
    BOOST_TEST(asked.header("Mcp-Session-Id") == "s1");
    BOOST_TEST(asked.header("Accept") == "application/json, text/event-stream");
    BOOST_TEST(asked.header("Last-Event-ID") == "1/0");
}

CO_TEST_CASE(a_next_request_that_was_there_makes_the_resumed_request_too_and_may_fail_it, fixture) {
    for (const bool fails : {false, true}) {
        config.method = "POST";
        unsigned calls = 0;
        config.next_request = [&calls, fails](std::string_view, const sse::event&,
                                              http::request& what) -> net::awaitable<result<void>> {
            what.headers.emplace_back("Authorization", "token " + std::to_string(++calls));
            if (fails && calls == 2)
                co_return retry::make_failure(errc::gone, "no token");
            co_return result<void>();
        };
        stream::resume_by_get(config);
        server.play(then_cut(sse_response("id: 1\ndata: x\n\n")));
        if (!fails)
            server.play({send(sse_head())});
        const auto got = co_await next(4);
        BOOST_TEST(got.back() == (fails ? "gave up local after 2" : "opened 2"));
        if (!fails)
            BOOST_TEST(server.requests().back().header("Authorization") == "token 2");
        source.reset();
    }
}

namespace {

std::string numbered(const std::string& type, int n, const std::string& more = {}) {
    return "event: " + type + "\ndata: {\"type\":\"" + type + "\"," + more +
           "\"sequence_number\":" + std::to_string(n) + "}\n\n";
}

} // namespace

CO_TEST_CASE(a_background_response_goes_on_after_its_last_number, fixture) {
    struct row {
        std::string target, id, then;
    };
    const std::string created = R"("response":{"object":"response","note":"a \"}{\" b","id":")";
    for (const auto& [target, id, then] : std::vector<row>{
             {"/v1/responses", "resp_1-a.b", "/v1/responses/resp_1-a.b?stream=true&starting_after=12"},
             {"/responses?api-version=1", "r", "/responses/r?api-version=1&stream=true&starting_after=12"}}) {
        config = {};
        config.locate = [target = target] {
            return stream::location(stream::location::state::up,
                                    http::parse_url("http://a.test" + target).value());
        };
        config.method = "POST";
        config.body = "{\"background\":true,\"stream\":true}";
        stream::resume_by_starting_after(config);
        server.play(then_cut(sse_response(numbered("response.created", 0, created + id + "\"},") +
                                          numbered("response.output_text.delta", 12))));
        server.play({send(sse_response(numbered("response.completed", 13)))});
        co_await next(6);
        const auto& asked = server.requests().back();
        BOOST_TEST(asked.text.starts_with("GET " + then + " HTTP/1.1\r\n"), asked.text);
        BOOST_TEST(asked.text.ends_with("\r\n\r\n"), asked.text);
        source.reset();
    }
}

CO_TEST_CASE(without_an_id_and_a_number_nothing_is_resumed_nor_sent_again, fixture) {
    const lines all_said{
        "{\"sequence_number\":3}"s,
        "{\"response\":{\"id\":\"r\"}}"s,
        "{\"response\":{\"id\":\"r\"},\"sequence_number\":\"3\"}"s,
        "{\"response\":{\"id\":\"r\"},\"sequence_number\":-1}"s,
        "{\"response\":{\"id\":\"../r\"},\"sequence_number\":3}"s,
        "{\"response\":{\"id\":\"..\"},\"sequence_number\":3}"s,
        "{\"response\":{\"id\":\"\"},\"sequence_number\":3}"s,
        "{\"response\":{\"id\":\"r"s,
        "{\"response\":{\"id\":7},\"sequence_number\":3}"s,
        "{\"other\":{\"response\":{\"id\":\"r\"}},\"sequence_number\":3}"s,
        "{\"other\":\"\\\"response\\\":{\\\"id\\\":\\\"r\\\"}\",\"sequence_number\":3}"s,
        "[{\"response\":{\"id\":\"r\"},\"sequence_number\":3}]"s,
        "{"s,
        "{\""s,
        "{\"a"s,
        "{\"a\\"s,
        "{\"a\":"s,
        "{\"a\":[}"s,
        "}"s,
        "[DONE]"s,
    };
    for (const auto& said : all_said) {
        config = {};
        config.locate = [this] {
            return stream::location(stream::location::state::up, url);
        };
        config.method = "POST";
        stream::resume_by_starting_after(config);
        server.play(then_cut(sse_response("data: " + said + "\n\n")));
        const auto before = attempts();
        const auto got = co_await next(4);
        BOOST_TEST(got.back() == "gave up cut after 1", said << ": " << got.back());
        BOOST_TEST(attempts() - before == 1u);
        source.reset();
    }
}

CO_TEST_CASE(a_judge_that_was_there_judges_as_before, fixture) {
    fail_on_errors();
    stream::resume_by_starting_after(config);
    server.play({send(sse_response("event: bad\ndata: {\"response\":{\"id\":\"r\"}}\n\n"))});
    const auto got = co_await all();
    BOOST_TEST(got.at(2) == "gave up http_status after 1");
}

// --- id stores

namespace {

struct memory_store final : stream::id_store {
    std::string held;
    lines stored;
    bool broken = false;
    bool throws = false;

    result<std::string> load() override {
        if (throws)
            throw std::runtime_error("no idea");
        if (broken)
            return retry::make_failure(errc::local, "no disk");
        return held;
    }
    result<void> store(const std::string& id) override {
        if (throws)
            throw std::runtime_error("no idea");
        if (broken)
            return retry::make_failure(errc::local, "no disk");
        stored.push_back(id);
        held = id;
        return {};
    }
};

struct storing : fixture {
    std::shared_ptr<memory_store> ids = std::make_shared<memory_store>();
    storing() { config.ids = ids; }
};

} // namespace

CO_TEST_CASE(an_id_is_stored_by_the_call_after_its_event, storing) {
    server.play({send(sse_response("id: 1\ndata: a\n\ndata: same id\n\nid: 2\ndata: b\n\n"))});
    co_await next(2);
    CHECK_LINES(ids->stored, {});
    co_await next();
    CHECK_LINES(ids->stored, {"1"});
    const auto got = source->try_next();
    BOOST_TEST((got && got->event.data == "b"));
    CHECK_LINES(ids->stored, {"1"});
    BOOST_TEST(!source->try_next().has_value());
    CHECK_LINES(ids->stored, {"1", "2"});
}

CO_TEST_CASE(a_commit_stores_an_id_and_a_close_does_not, storing) {
    server.play({send(sse_response("id: 1\ndata: a\n\nid: 2\ndata: b\n\n"))});
    co_await next(2);
    source->commit();
    CHECK_LINES(ids->stored, {"1"});
    source->commit();
    CHECK_LINES(ids->stored, {"1"});
    co_await next();
    source->close();
    co_await next();
    CHECK_LINES(ids->stored, {"1"});
}

CO_TEST_CASE(a_source_begins_with_the_id_that_is_stored_and_its_owners_before_that, storing) {
    const std::string long_id(1515, 'w');
    ids->held = long_id;
    server.play_ever_after({send(sse_head())});
    co_await next();
    BOOST_TEST(server.requests().back().header("Last-Event-ID") == long_id);
    source.reset();
    config.headers = {{"Last-Event-ID", "mine"}};
    co_await next();
    BOOST_TEST(server.requests().back().header("Last-Event-ID") == "mine");
    CHECK_LINES(ids->stored, {});
}

CO_TEST_CASE(each_event_comes_at_least_once_over_any_restart, storing) {
    for (std::size_t dies_after = 1; dies_after <= 4; ++dies_after) {
        ids->held.clear();
        server.play({send(sse_response("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n"))});
        co_await next(dies_after);
        source.reset(); // as a process that dies with its last event in hand
        server.play({send(sse_head())});
        co_await next();
        const auto resumes = server.requests().back().header("Last-Event-ID");
        BOOST_TEST(resumes == (dies_after < 3 ? "" : std::to_string(dies_after - 2)));
        source.reset();
    }
}

CO_TEST_CASE(an_event_that_the_end_completed_is_not_stored_before_it_was_handed_out, storing) {
    config.flush_at_end = true;
    config.clean_end = stream::clean_end::done;
    server.play(then_end(sse_response("id: 1\ndata: a\n\nid: 2\ndata: b")));
    co_await next(3);
    BOOST_TEST(last.event.data == "b");
    CHECK_LINES(ids->stored, {"1"});
    co_await next(2);
    CHECK_LINES(ids->stored, {"1", "2"});
}

CO_TEST_CASE(an_id_without_an_event_is_stored_once_its_connection_has_ended, storing) {
    server.play(then_end(sse_response("id: 7\n\n")));
    server.play({send(sse_head())});
    co_await next(2);
    CHECK_LINES(ids->stored, {});
    co_await next();
    CHECK_LINES(ids->stored, {"7"});
}

CO_TEST_CASE(an_id_that_is_taken_back_is_stored_as_none, storing) {
    ids->held = "5";
    server.play({send(sse_response("id\ndata: a\n\ndata: b\n\n"))});
    co_await next(3);
    CHECK_LINES(ids->stored, {""});
}

CO_TEST_CASE(a_store_that_fails_is_told_once_and_the_stream_goes_on, storing) {
    ids->broken = true;
    server.play(
        {send(sse_response("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\nid: 4\ndata: d\n\n"))});
    const auto got = co_await next(4);
    CHECK_LINES(got, {"opened 1", "event a", "event b", "event c"});
    const auto count = [this](std::string_view event) {
        return std::count_if(world.logs().begin(), world.logs().end(),
                             [&](const log_record& each) { return each.event == event; });
    };
    BOOST_TEST(count("stream.id_not_stored") == 1);
    ids->broken = false;
    co_await next();
    CHECK_LINES(ids->stored, {"3"});
    BOOST_TEST(count("stream.id_stored") == 1);
}

CO_TEST_CASE(what_a_store_throws_is_told_as_an_error_and_ends_nothing, storing) {
    ids->throws = true;
    server.play({send(sse_response("id: 1\ndata: a\n\nid: 2\ndata: b\n\n"))});
    const auto got = co_await next(3);
    CHECK_LINES(got, {"opened 1", "event a", "event b"});
    BOOST_TEST(world.logs().at(0).event == "stream.id_not_stored");
    BOOST_TEST(world.logs().at(0).error_message.find("no idea") != std::string::npos);
}
