// What a stream asks for: fields, methods, hooks, redirects, and what is never asked twice. In virtual time.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using stream::location;
using test::chunk;
using test::elsewhere;
using test::last_chunk;
using test::lines;
using test::place;
using test::response;
using test::send;
using test::sse_head;
using test::sse_response;
using behaviour = testing::memory_network::behaviour;

using fixture = test::source_fixture;

namespace {

std::string redirect(int status, const std::string& target) {
    return response(status, "text/plain", "over there", "Location: " + target + "\r\n");
}

std::size_t count(std::string_view text, std::string_view part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1))
        ++found;
    return found;
}

bool contains(const std::string& text, std::string_view part) {
    return count(text, part) > 0;
}

// Two servers, and redirects between them.
struct two_servers : fixture {
    test::scripted_server other{world, elsewhere};

    two_servers() { config.max_redirects = 3; }
    void finish() { source.reset(); }

    [[nodiscard]] lines asked(const test::scripted_server& who) const {
        lines all;
        for (const auto& each : who.requests())
            all.push_back(each.text.substr(0, each.text.find(" HTTP/1.1")));
        return all;
    }

    [[nodiscard]] bool is_open(const endpoint& where) const {
        const auto breaker = rt.breaker_of(where);
        return breaker && breaker->open;
    }
};

} // namespace

// --- fields

CO_TEST_CASE(four_fields_are_sent_by_default_and_no_id, fixture) {
    server.play({send(sse_head())});
    co_await next();
    BOOST_TEST(server.requests()[0].text ==
               "GET /event HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n"
               "Cache-Control: no-cache\r\nAccept-Encoding: identity\r\nUser-Agent: " +
                   std::string(http::user_agent()) + "\r\n\r\n");
}

CO_TEST_CASE(a_field_of_the_owners_replaces_the_default_of_that_name, fixture) {
    config.headers = {{"accept", "text/event-stream, */*"},
                      {"CACHE-CONTROL", "no-store"},
                      {"Accept-encoding", "gzip"},
                      {"user-agent", "me"}};
    server.play({send(sse_head())});
    co_await next();
    const auto& text = server.requests()[0].text;
    BOOST_TEST(contains(text, "accept: text/event-stream, */*\r\n"));
    BOOST_TEST(contains(text, "CACHE-CONTROL: no-store\r\n"));
    BOOST_TEST(contains(text, "Accept-encoding: gzip\r\n"));
    BOOST_TEST(!contains(text, "Accept:"));
    BOOST_TEST(!contains(text, "Cache-Control:"));
    BOOST_TEST(!contains(text, "Accept-Encoding:"));
    BOOST_TEST(contains(text, "user-agent: me\r\n"));
    BOOST_TEST(!contains(text, "User-Agent:"));
}

CO_TEST_CASE(any_method_and_body_is_sent, fixture) {
    const std::vector<std::pair<std::string, std::string>> rows{{"POST", "{\"a\":1}"}, {"POST", ""},
                                                                {"PUT", "x"},          {"DELETE", ""},
                                                                {"REPORT", "<x/>"},    {"GET", "odd"}};
    for (const auto& [method, body] : rows) {
        config.method = method;
        config.body = body;
        server.play({send(sse_head())});
        const auto got = co_await next();
        BOOST_TEST(got == "opened 1");
        const auto& text = server.requests().back().text;
        BOOST_TEST(text.starts_with(method + " /event HTTP/1.1\r\n"));
        BOOST_TEST(text.ends_with("\r\n\r\n" + body));
        source.reset();
    }
}

CO_TEST_CASE(an_id_among_the_fields_is_the_one_to_begin_with, fixture) {
    config.headers = {{"last-event-id", "41"}, {"X-Mine", "yes"}};
    server.play({send(sse_response("data: a\n\nid: 42\ndata: b\n\n")), test::reset(seconds(1))});
    server.play({send(sse_response("id\ndata: c\n\n")), test::reset(seconds(1))});
    server.play({send(sse_head())});
    co_await next(8);
    const auto& asked = server.requests();
    BOOST_TEST(asked.at(0).header("Last-Event-ID") == "41");
    BOOST_TEST(asked.at(1).header("Last-Event-ID") == "42");
    BOOST_TEST(!asked.at(2).has_header("Last-Event-ID"));
    BOOST_TEST(count(asked.at(0).text, "41") == 1u);
    BOOST_TEST(asked.at(2).header("X-Mine") == "yes");
}

CO_TEST_CASE(an_id_that_no_field_can_carry_is_not_sent_and_ends_nothing, fixture) {
    server.play({send(sse_response("id: a\x01z\ndata: x\n\n")), test::reset(seconds(1))});
    server.play({send(sse_response("data: y\n\n"))});
    const auto got = co_await next(5);
    BOOST_TEST(got.back() == "event y");
    BOOST_TEST(last.event.id == "a\x01z");
    BOOST_TEST(!server.requests()[1].has_header("Last-Event-ID"));
}

CO_TEST_CASE(a_compressed_answer_is_refused_in_words, fixture) {
    for (const char* coding : {"gzip", "br", "GZIP, identity"}) {
        server.play(
            {send(response(200, "text/event-stream", "\x1F\x8B", "Content-Encoding: "s + coding + "\r\n"))});
        const auto got = co_await next(2);
        CHECK_LINES(got, {"gave up content_type after 1", "end"});
        BOOST_TEST(last.failure.code == error_code(errc::compressed));
        BOOST_TEST(last.failure.status == 200);
        BOOST_TEST(contains(last.failure.message, "compressed"), last.failure.message);
        source.reset();
    }
    server.play({send(response(200, "text/event-stream", "data: x\n\n", "Content-Encoding: identity\r\n"))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "event x"});
}

// --- next_request

CO_TEST_CASE(next_request_gives_each_attempt_a_fresh_token, fixture) {
    int calls = 0;
    config.next_request = [&calls](std::string_view, const sse::event&,
                                   http::request& what) -> net::awaitable<result<void>> {
        what.headers.push_back({"Authorization", "Bearer " + std::to_string(++calls)});
        co_return result<void>();
    };
    server.play({test::reset()});
    server.play({send(sse_head())});
    co_await next(2);
    BOOST_TEST(server.requests().at(0).header("Authorization") == "Bearer 1");
    BOOST_TEST(server.requests().at(1).header("Authorization") == "Bearer 2");
    BOOST_TEST(count(server.requests().at(1).text, "Bearer") == 1u);
}

CO_TEST_CASE(next_request_sees_the_whole_request_and_may_change_all_of_it, fixture) {
    http::request seen;
    config.headers = {{"X-Mine", "yes"}};
    config.next_request = [&seen](std::string_view, const sse::event&,
                                  http::request& what) -> net::awaitable<result<void>> {
        seen = what;
        what.method = "POST";
        what.target = "/elsewhere?x";
        what.headers = {{"X", "y"}};
        what.body = "body";
        co_return result<void>();
    };
    server.play({send(sse_head())});
    co_await next();
    BOOST_TEST(seen.method == "GET");
    BOOST_TEST(seen.target == "/event");
    BOOST_TEST_REQUIRE(seen.headers.size() == 6u);
    BOOST_TEST((seen.headers[0] == header{"Host", "a.test"}));
    BOOST_TEST((seen.headers[1] == header{"Accept", "text/event-stream"}));
    BOOST_TEST((seen.headers[5] == header{"X-Mine", "yes"}));
    const auto& asked = server.requests()[0];
    BOOST_TEST(asked.text.starts_with("POST /elsewhere?x HTTP/1.1\r\nHost: a.test\r\nX: y\r\n"), asked.text);
    BOOST_TEST(asked.text.ends_with("\r\n\r\nbody"));
}

CO_TEST_CASE(next_request_may_take_its_time_and_ends_with_a_close, fixture) {
    config.next_request = [this](std::string_view, const sse::event&,
                                 http::request&) -> net::awaitable<result<void>> {
        co_await rt.sleep_for(seconds(5));
        co_return result<void>();
    };
    server.play({send(sse_head())});
    const auto got = co_await next();
    BOOST_TEST(got == "opened 1");
    BOOST_TEST(elapsed_ms() == 5000);
    source.reset();
    scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(2));
    source->close();
    co_await turn();
    CHECK_LINES(told, {"end"});
    BOOST_TEST(elapsed_ms() == 7000);
    BOOST_TEST(attempts() == 1u);
    co_await scope.join();
}

CO_TEST_CASE(what_next_request_says_went_wrong_is_the_attempts_failure_and_nothing_is_asked, fixture) {
    std::vector<errc> wrong{errc::refused, errc::header_timeout, errc::gone};
    config.next_request = [&wrong](std::string_view, const sse::event&,
                                   http::request&) -> net::awaitable<result<void>> {
        const auto why = wrong.front();
        wrong.erase(wrong.begin());
        co_return make_failure(why, "no token");
    };
    const auto got = co_await all();
    CHECK_LINES(got, {"interrupted refused next 2 in 1000", "interrupted timeout next 3 in 2000",
                      "gave up local after 3", "end"});
    BOOST_TEST(contains(last.failure.message, "no token"));
    BOOST_TEST(attempts() == 0u);
    BOOST_TEST(elapsed_ms() == 3000);
    const auto breaker = rt.breaker_of(place); // whoever refused was not this endpoint
    BOOST_TEST((!breaker || !breaker->open));
}

CO_TEST_CASE(what_next_request_throws_is_told_and_counts_as_a_failure, fixture) {
    for (const bool at_once : {true, false}) {
        world.logs().clear();
        int calls = 0;
        config.next_request = [&calls, at_once](std::string_view, const sse::event&,
                                                http::request&) -> net::awaitable<result<void>> {
            if (at_once && ++calls == 1)
                throw std::runtime_error("no idea");
            auto later = [](int& n, bool now) -> net::awaitable<result<void>> {
                if (!now && ++n == 1)
                    throw std::runtime_error("no idea");
                co_return result<void>();
            };
            return later(calls, at_once);
        };
        server.play({send(sse_head())});
        const auto got = co_await next(2);
        CHECK_LINES(got, {"interrupted local next 2 in 1000", "opened 2"});
        BOOST_TEST(world.logs().at(0).event == "stream.next_request_threw");
        BOOST_TEST(contains(world.logs().at(0).error_message, "no idea"));
        source.reset();
    }
}

// --- inspect

CO_TEST_CASE(inspect_sees_each_head_of_any_status, two_servers) {
    std::vector<int> seen;
    config.inspect = [&seen](const http::response_head& head) {
        seen.push_back(head.status);
        return result<void>();
    };
    server.play({send(response(503, "text/plain", "busy"))});
    server.play({send(redirect(302, "http://b.test/x"))});
    other.play({send(response(200, "text/event-stream", "data: x\n\n"))});
    const auto got = co_await next(3);
    CHECK_LINES(got, {"interrupted http_status next 2 in 1000", "opened 2", "event x"});
    const std::vector<int> expected{503, 302, 200};
    BOOST_TEST(seen == expected, boost::test_tools::per_element());
}

CO_TEST_CASE(what_inspect_refuses_fails_in_place_of_what_the_head_would_mean, fixture) {
    config.inspect = [](const http::response_head& head) -> result<void> {
        if (head.find("X-Server") != "mine")
            return make_failure(head.status == 200 ? errc::not_opencode : errc::stalled, "not my server");
        return result<void>();
    };
    server.play({send(response(404, "text/plain", "nope"))});
    server.play({send(response(200, "text/event-stream", "data: x\n\n", "X-Server: other\r\n"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"interrupted stall next 2 in 1000", "gave up protocol after 2", "end"});
    BOOST_TEST(last.failure.status == 200);
    BOOST_TEST(last.failure.body == "data: x\n\n");
    BOOST_TEST(contains(last.failure.message, "not my server"));
    BOOST_TEST((std::find(last.failure.headers.begin(), last.failure.headers.end(),
                          header{"X-Server", "other"}) != last.failure.headers.end()));
}

CO_TEST_CASE(what_inspect_throws_is_told_and_counts_as_a_failure, fixture) {
    bool broken = true;
    config.inspect = [&broken](const http::response_head&) -> result<void> {
        if (std::exchange(broken, false))
            throw std::runtime_error("no idea");
        return result<void>();
    };
    server.play({send(sse_head() + last_chunk())});
    server.play({send(sse_head())});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"interrupted local next 2 in 1000", "opened 2"});
    BOOST_TEST(world.logs().at(0).event == "stream.inspect_threw");
}

CO_TEST_CASE(a_close_from_within_any_function_is_heeded, two_servers) {
    const auto close = [this] {
        source->close();
    };
    for (const std::string_view from : {"next_request", "inspect", "inspect a redirect", "tap"}) {
        config.next_request = nullptr;
        config.inspect = nullptr;
        config.tap = nullptr;
        if (from == "next_request")
            config.next_request = [close](std::string_view, const sse::event&,
                                          http::request&) -> net::awaitable<result<void>> {
                close();
                co_return result<void>();
            };
        else if (from == "tap")
            config.tap = [close](std::string_view) {
                close();
            };
        else
            config.inspect = [close](const http::response_head&) {
                close();
                return result<void>();
            };
        const bool asks = from != "next_request";
        if (asks)
            server.play({send(from == "inspect a redirect" ? redirect(302, "http://b.test/")
                                                           : sse_response("data: x\n\n"))});
        told.clear();
        const auto asked_before = attempts();
        const auto got = co_await all();
        BOOST_TEST(got.back() == "end", from);
        BOOST_TEST(got.size() == (from == "tap" ? 2u : 1u), from);
        co_await rt.sleep_for(seconds(60));
        BOOST_TEST(attempts() == asked_before + (asks ? 1 : 0), from);
        BOOST_TEST(attempts(elsewhere) == 0u);
        BOOST_TEST(world.net().open_connections() == 0u);
        source.reset();
    }
}

// --- redirects

CO_TEST_CASE(a_redirect_is_not_followed_unless_asked_and_the_failure_shows_its_target, two_servers) {
    config.max_redirects = 0;
    server.play({send(redirect(302, "http://b.test/x"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"gave up http_status after 1", "end"});
    BOOST_TEST(
        last.failure.message ==
        "the server answered with status 302, a redirect to http://b.test/x; redirects are not followed");
    BOOST_TEST(last.failure.status == 302);
    BOOST_TEST(last.failure.body == "over there");
    BOOST_TEST(attempts(elsewhere) == 0u);
}

CO_TEST_CASE(redirects_are_followed_to_the_stream, two_servers) {
    server.play({send(redirect(301, "/one"))});
    server.play({send(redirect(307, "two?x=%2F"))});
    server.play({send(redirect(308, "//b.test/three"))});
    other.play({send(sse_response("data: x\n\n"))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "event x"});
    CHECK_LINES(asked(server), {"GET /event", "GET /one", "GET /two?x=%2F"});
    CHECK_LINES(asked(other), {"GET /three"});
    BOOST_TEST(source->statistics().redirects == 3u);
    BOOST_TEST(source->statistics().attempts == 1u);
    BOOST_TEST(world.net().open_connections() == 1u);
}

CO_TEST_CASE(one_redirect_more_than_allowed_is_final, two_servers) {
    for (const char* target : {"/1", "/2", "/3", "/4"})
        server.play({send(redirect(302, target))});
    const auto got = co_await all();
    CHECK_LINES(got, {"gave up http_status after 1", "end"});
    BOOST_TEST(contains(last.failure.message, "after 3 others"), last.failure.message);
    BOOST_TEST(attempts() == 4u);
}

CO_TEST_CASE(redirects_that_lead_nowhere_are_final_in_words, two_servers) {
    const std::vector<std::pair<std::string, std::string>> rows{
        {response(302, "", ""), "without a Location"},
        {redirect(302, ""), "without a Location"},
        {redirect(302, "/a\\b"), "cannot be asked"},
        {redirect(302, "mailto:a@b.test"), "cannot be asked"},
        {redirect(302, "/event"), "circles"},
        {redirect(302, "http://a.test:80/event#top"), "circles"},
    };
    for (const auto& [answer, words] : rows) {
        server.play({send(answer)});
        const auto got = co_await next(2);
        CHECK_LINES(got, {"gave up http_status after 1", "end"});
        BOOST_TEST(contains(last.failure.message, words), last.failure.message);
        source.reset();
    }
}

CO_TEST_CASE(no_secret_goes_to_another_origin_and_all_of_them_to_the_same, two_servers) {
    url = http::parse_url("http://me:secret@a.test/event").value();
    config.headers = {{"Cookie", "secret=1"}, {"X-Api-Key", "secret2"}, {"User-Agent", "mine"}};
    server.play({send(redirect(302, "/here"))});
    server.play({send(redirect(302, "http://you:too@b.test/there"))});
    other.play({send(redirect(302, "http://a.test/back"))});
    server.play({send(sse_head())});
    const auto got = co_await next();
    BOOST_TEST(got == "opened 1");
    const auto& here = server.requests().at(1);
    BOOST_TEST(here.header("Authorization") == http::basic_authorization("me", "secret"));
    BOOST_TEST(here.header("Cookie") == "secret=1");
    BOOST_TEST(here.header("X-Api-Key") == "secret2");
    BOOST_TEST(other.requests().at(0).text ==
               "GET /there HTTP/1.1\r\nHost: b.test\r\nAccept: text/event-stream\r\n"
               "Cache-Control: no-cache\r\nAccept-Encoding: identity\r\n"
               "User-Agent: mine\r\n\r\n");
    const auto& back = server.requests().at(2);
    BOOST_TEST(!contains(back.text, "secret"));
    BOOST_TEST(!back.has_header("Authorization"));
}

CO_TEST_CASE(next_request_is_called_for_each_step_and_gives_no_secret_to_another_origin, two_servers) {
    lines seen;
    config.next_request = [&seen](std::string_view, const sse::event&,
                                  http::request& what) -> net::awaitable<result<void>> {
        seen.push_back(what.headers.at(0).value + what.target);
        what.headers.push_back({"Authorization", "Bearer " + std::to_string(seen.size())});
        co_return result<void>();
    };
    server.play({send(redirect(302, "/one"))});
    server.play({send(redirect(302, "http://b.test/two"))});
    other.play({send(sse_head())});
    co_await next();
    CHECK_LINES(seen, {"a.test/event", "a.test/one", "b.test/two"});
    BOOST_TEST(server.requests().at(1).header("Authorization") == "Bearer 2");
    BOOST_TEST(count(server.requests().at(1).text, "Bearer") == 1u);
    BOOST_TEST(!other.requests().at(0).has_header("Authorization"));
}

CO_TEST_CASE(methods_and_bodies_go_along_by_the_rules, two_servers) {
    config.method = "POST";
    config.body = "body";
    config.headers = {{"Content-Type", "text/plain"}};
    for (const int status : {301, 302, 303, 307, 308}) {
        const bool kept = status >= 307;
        server.play({send(redirect(status, "http://b.test/x"))});
        other.play({send(sse_head())});
        co_await next();
        const auto& then = other.requests().back();
        BOOST_TEST(then.text.starts_with(kept ? "POST /x " : "GET /x "), status);
        BOOST_TEST(then.text.ends_with(kept ? "\r\n\r\nbody" : "\r\n\r\n"), status);
        BOOST_TEST(then.has_header("Content-Type") == kept, status);
        source.reset();
    }
}

CO_TEST_CASE(each_reconnect_begins_at_the_configured_url_again, two_servers) {
    for (int n = 0; n < 2; ++n) {
        server.play({send(redirect(301, "http://b.test/x"))});
        other.play({send(sse_response("id: 7\ndata: x\n\n")), test::reset(seconds(1))});
    }
    co_await next(6);
    CHECK_LINES(asked(server), {"GET /event", "GET /event"});
    CHECK_LINES(asked(other), {"GET /x", "GET /x"});
    BOOST_TEST(other.requests().at(1).header("Last-Event-ID") == "7");
    BOOST_TEST(source->statistics().redirects == 2u);
}

CO_TEST_CASE(a_target_that_cannot_be_reached_opens_the_breaker_of_its_own_endpoint_alone, two_servers) {
    world.net().stop_listening(elsewhere);
    server.play_ever_after({send(redirect(302, "http://b.test/x"))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"interrupted refused next 2 in 1000", "interrupted refused next 3 in 2000"});
    BOOST_TEST(!is_open(place));
    BOOST_TEST(is_open(elsewhere));
    BOOST_TEST(attempts() == 2u);
    BOOST_TEST(attempts(elsewhere) == 2u);
}

CO_TEST_CASE(a_backoff_after_a_target_failed_is_not_ended_by_the_first_endpoints_recovery, two_servers) {
    world.net().stop_listening(elsewhere);
    server.play_ever_after({send(redirect(302, "http://b.test/x"))});
    scope.spawn(tell_all());
    co_await rt.sleep_for(milliseconds(100));
    for (const bool well : {false, true}) {
        auto pass = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::call, rt.now(), false);
        if (well)
            pass.succeeded();
        else
            pass.failed(make_failure(errc::refused));
    }
    co_await turn();
    BOOST_TEST(attempts() == 1u);
    co_await rt.sleep_for(milliseconds(900));
    co_await turn();
    BOOST_TEST(attempts() == 2u);
    source->close();
    co_await scope.join();
}

CO_TEST_CASE(a_shared_failure_of_the_first_endpoint_is_ended_by_its_recovery, two_servers) {
    world.net().stop_listening(elsewhere);
    server.play_ever_after({send(redirect(302, "http://b.test/x"))});
    scope.spawn(tell_all());
    co_await rt.sleep_for(milliseconds(100));
    auto failing = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::stream, rt.now(), false);
    failing.failed(make_failure(errc::refused));
    auto probe = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::stream, rt.now(), false);
    co_await rt.sleep_for(seconds(1));
    probe.failed(make_failure(errc::refused));
    co_await turn();
    CHECK_LINES(told, {"interrupted refused next 2 in 1000", "interrupted refused next 3 in 2000"});
    BOOST_TEST(attempts() == 1u);
    auto well = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::call, rt.now(), false);
    well.succeeded();
    co_await turn();
    BOOST_TEST(attempts() == 2u);
    source->close();
    co_await scope.join();
}

CO_TEST_CASE(a_target_that_is_being_probed_is_not_asked_as_well, two_servers) {
    auto failing =
        co_await rt.begin_attempt(elsewhere, retry::endpoint_breaker::kind::stream, rt.now(), false);
    failing.failed(make_failure(errc::refused));
    auto probe = co_await rt.begin_attempt(elsewhere, retry::endpoint_breaker::kind::stream, rt.now(), false);
    server.play({send(redirect(302, "http://b.test/x"))});
    scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(3));
    BOOST_TEST(told.empty());
    BOOST_TEST(attempts(elsewhere) == 0u);
    probe.failed(make_failure(errc::refused));
    co_await turn();
    CHECK_LINES(told, {"interrupted refused next 2 in 1000"});
    BOOST_TEST(attempts(elsewhere) == 0u);
    BOOST_TEST(!is_open(place));
    source->close();
    co_await scope.join();
}

CO_TEST_CASE(an_error_of_the_target_is_the_attempts_failure_with_what_it_said, two_servers) {
    server.play({send(redirect(302, "http://b.test/x"))});
    other.play({send(response(404, "text/plain", "no such thing"))});
    const auto got = co_await all();
    CHECK_LINES(got, {"gave up http_status after 1", "end"});
    BOOST_TEST(last.failure.status == 404);
    BOOST_TEST(last.failure.body == "no such thing");
}

CO_TEST_CASE(a_cancelled_next_ends_at_once_also_at_the_target, two_servers) {
    server.play_ever_after({send(redirect(302, "http://b.test/x"))});
    world.net().behave(elsewhere, behaviour::hang);
    const auto reader = scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(1));
    BOOST_TEST(attempts(elsewhere) == 1u);
    scope.cancel(reader);
    co_await turn();
    CHECK_LINES(told, {"aborted"});
    BOOST_TEST(world.net().open_connections() == 0u);
    world.net().behave(elsewhere, behaviour::accept);
    other.play({send(sse_head())});
    const auto got = co_await next();
    BOOST_TEST(got == "opened 1");
    BOOST_TEST(elapsed_ms() == 1000);
}

// --- what may change something is asked once

namespace {

struct unsafe : fixture {
    struct failing {
        const char* name;
        void (*arrange)(unsafe&);
        lines before; ///< what is told first
        const char* cls;
        bool sent;
    };

    static const std::vector<failing>& all_failures() {
        static const std::vector<failing> list{
            {"refused", [](unsafe& f) { f.world.net().stop_listening(place); }, {}, "refused", false},
            {"no connection",
             [](unsafe& f) { f.world.net().behave(place, behaviour::hang); },
             {},
             "timeout",
             false},
            {"cut", [](unsafe& f) { f.server.play({test::reset()}); }, {}, "cut", true},
            {"no answer", [](unsafe& f) { f.server.play({}); }, {}, "timeout", true},
            {"500", [](unsafe& f) { f.server.play({send(response(500, "", ""))}); }, {}, "http_status", true},
            {"429",
             [](unsafe& f) { f.server.play({send(response(429, "", "", "Retry-After: 1\r\n"))}); },
             {},
             "throttled",
             true},
            {"garbage", [](unsafe& f) { f.server.play({send("no http\r\n\r\n")}); }, {}, "protocol", true},
            {"cut later",
             [](unsafe& f) { f.server.play({send(sse_head()), test::reset(seconds(99))}); },
             {"opened 1"},
             "stall",
             true},
            {"early end",
             [](unsafe& f) { f.server.play({send(sse_head() + last_chunk())}); },
             {"opened 1"},
             "early_end",
             true},
            {"end",
             [](unsafe& f) { f.server.play({send(sse_head()), send(last_chunk(), seconds(9))}); },
             {"opened 1"},
             "ended",
             true},
        };
        return list;
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(what_may_change_something_is_not_sent_again_once_it_may_have_arrived) {
    for (const auto& each : unsafe::all_failures())
        for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "QUERY", "get"})
            for (const bool repeat : {false, true}) {
                BOOST_TEST_CONTEXT(each.name << ' ' << method << ", repeated " << repeat) {
                    unsafe f;
                    f.config.method = method;
                    f.config.repeat_unsafe = repeat;
                    each.arrange(f);
                    const auto got = f.world.run(f.next(each.before.size() + 1));
                    auto expected = each.before;
                    const bool last = each.sent && !repeat;
                    const auto next = each.cls == "ended"s ? " next 1 in 1000" : " next 2 in 1000";
                    expected.push_back(last ? "gave up "s + each.cls + " after 1"
                                            : "interrupted "s + each.cls + next);
                    BOOST_TEST(got == expected, boost::test_tools::per_element());
                    BOOST_TEST(contains(f.last.failure.message,
                                        "not sent again, as "s + method + " may change something") == last,
                               f.last.failure.message);
                    f.finish();
                }
            }
}

BOOST_AUTO_TEST_CASE(what_changes_nothing_is_sent_again) {
    for (const auto& each : unsafe::all_failures())
        for (const char* method : {"GET", "OPTIONS", "TRACE"}) {
            BOOST_TEST_CONTEXT(each.name << ' ' << method) {
                unsafe f;
                f.config.method = method;
                each.arrange(f);
                const auto got = f.world.run(f.next(each.before.size() + 1));
                BOOST_TEST(got.back().starts_with("interrupted "));
                f.finish();
            }
        }
}

CO_TEST_CASE(a_final_failure_of_a_post_speaks_for_itself, fixture) {
    config.method = "POST";
    server.play({send(response(404, "", ""))});
    co_await next();
    BOOST_TEST(last.failure.message == "the server answered with status 404");
}

CO_TEST_CASE(the_method_that_next_request_gave_is_the_one_that_counts, fixture) {
    config.next_request = [](std::string_view, const sse::event&,
                             http::request& what) -> net::awaitable<result<void>> {
        what.method = "POST";
        co_return result<void>();
    };
    server.play({test::reset()});
    const auto got = co_await next();
    BOOST_TEST(got == "gave up cut after 1");
}

CO_TEST_CASE(a_post_that_became_a_get_on_the_way_is_not_sent_again_either, two_servers) {
    config.method = "POST";
    server.play({send(redirect(303, "http://b.test/x"))});
    other.play({send(sse_head()), test::reset(seconds(1))});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"opened 1", "gave up cut after 1"});
}

CO_TEST_CASE(a_post_whose_target_cannot_be_reached_is_not_sent_again_either, two_servers) {
    config.method = "POST";
    world.net().stop_listening(elsewhere);
    server.play({send(redirect(307, "http://b.test/x"))});
    const auto got = co_await next();
    BOOST_TEST(got == "gave up refused after 1");
}

CO_TEST_CASE(a_post_that_was_cancelled_before_its_answer_is_not_sent_again, fixture) {
    config.method = "POST";
    server.play({});
    const auto reader = scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(1));
    scope.cancel(reader);
    co_await turn();
    CHECK_LINES(told, {"aborted"});
    server.play_ever_after({send(sse_head())});
    const auto got = co_await next(2);
    CHECK_LINES(got, {"gave up cut after 1", "end"});
    BOOST_TEST(server.requests().size() == 1u);
}

CO_TEST_CASE(a_post_that_was_cancelled_before_it_was_sent_is_sent, fixture) {
    config.method = "POST";
    config.next_request = [this](std::string_view, const sse::event&,
                                 http::request&) -> net::awaitable<result<void>> {
        co_await rt.sleep_for(seconds(5));
        co_return result<void>();
    };
    const auto reader = scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(1));
    scope.cancel(reader);
    co_await turn();
    server.play({send(sse_head())});
    const auto got = co_await next();
    BOOST_TEST(got == "opened 1");
}

CO_TEST_CASE(a_post_rides_on_the_failures_of_others_without_being_sent, fixture) {
    config.method = "POST";
    auto failing = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::stream, rt.now(), false);
    failing.failed(make_failure(errc::header_timeout, {}, true));
    auto probe = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::stream, rt.now(), false);
    scope.spawn(tell_all());
    co_await turn();
    probe.failed(make_failure(errc::header_timeout, {}, true));
    co_await turn();
    CHECK_LINES(told, {"interrupted timeout next 2 in 1000"});
    source->close();
    co_await scope.join();
}
