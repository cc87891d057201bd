// What calls and streams say of who we are.
#define BOOST_TEST_MODULE client
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/scripted_server.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <string>
#include <vector>

using namespace holdfast;

namespace {

struct asked_server : test::in_simulated_world {
    test::scripted_server answers{world, endpoint("http", "127.0.0.1", 4096)};

    asked_server() {
        answers.play_ever_after({test::send(test::response(200, "application/json", R"({"healthy":true,"version":"1.18.33"})"))});
    }

    net::awaitable<std::string> authorization_of(std::string url, opencode::client_config config) {
        opencode::client server(world.rt(), http::parse_url(url).value(), std::move(config));
        const auto seen = co_await server.health();
        BOOST_TEST(seen.has_value());
        co_return answers.requests().back().header("Authorization");
    }
};

} // namespace

CO_TEST_CASE(a_bearer_token_is_sent_instead_of_the_urls_credentials, asked_server) {
    opencode::client_config config;
    config.bearer = "token";
    const auto sent = co_await authorization_of("http://user:secret@127.0.0.1:4096", config);
    BOOST_TEST(sent == "Bearer token");
}

CO_TEST_CASE(without_a_token_the_urls_credentials_are_sent, asked_server) {
    opencode::client_config config;
    const auto sent = co_await authorization_of("http://user:secret@127.0.0.1:4096", config);
    BOOST_TEST(sent == http::basic_authorization("user", "secret"));
}

CO_TEST_CASE(without_any_nothing_is_sent, asked_server) {
    opencode::client_config config;
    const auto sent = co_await authorization_of("http://127.0.0.1:4096", config);
    BOOST_TEST(sent.empty());
}

CO_TEST_CASE(a_compressed_answer_is_refused_in_words_and_for_good, asked_server) {
    opencode::client server(world.rt(), http::parse_url("http://127.0.0.1:4096").value(), {});
    const auto zipped = test::response(200, "application/json", "\x1f\x8b", "Content-Encoding: gzip\r\n");
    answers.play_ever_after({test::send(zipped)});
    const auto called = co_await server.health();
    const auto listed = co_await server.messages("ses_1", 0, "");
    BOOST_TEST_REQUIRE(called.has_error());
    BOOST_TEST_REQUIRE(listed.has_error());
    const std::vector<failure> refusals{called.error(), listed.error()};
    for (const auto& each : refusals) {
        BOOST_TEST(each.code == error_code(errc::compressed));
        BOOST_TEST(each.status == 200);
        BOOST_TEST(retry::is_final(each));
        BOOST_TEST(each.message.ends_with("Content-Encoding: gzip"), each.message);
    }
    BOOST_TEST(answers.requests().back().header("Accept-Encoding") == "identity");
}

CO_TEST_CASE(calls_go_by_the_proxy_that_the_transport_names, asked_server) {
    opencode::client_config config;
    config.transport.proxies.for_http = http::parse_proxy("127.0.0.1:4096").value();
    opencode::client server(world.rt(), http::parse_url("http://far.test/").value(), std::move(config));
    const auto seen = co_await server.health();
    BOOST_TEST(seen.has_value());
    BOOST_TEST(answers.requests().back().target() == "http://far.test/global/health");
}

// --- lists

CO_TEST_CASE(the_newest_sessions_are_asked_for_and_what_comes_beyond_is_only_counted, asked_server) {
    opencode::client server(world.rt(), http::parse_url("http://127.0.0.1:4096").value(), {});
    answers.play_ever_after({test::send(test::response(
        200, "application/json", R"([{"id":"ses_3","directory":"/d"},{"id":"ses_2","directory":"/d"},{"id":4}])"))});
    opencode::session_query which;
    which.directory = "/a b";
    which.roots = true;
    which.limit = 5;
    which.keep = 2;
    const auto listed = co_await server.list_sessions(which);
    BOOST_TEST_REQUIRE(listed.has_value());
    BOOST_TEST(answers.requests().back().target() == "/session?roots=true&limit=5&directory=%2Fa%20b");
    BOOST_TEST_REQUIRE(listed->sessions.size() == 2u);
    BOOST_TEST(listed->sessions.front().id == "ses_3");
    BOOST_TEST(listed->left_out == 1u);

    which = {};
    which.limit = 1;
    const auto newest = co_await server.list_sessions(which);
    BOOST_TEST_REQUIRE(newest.has_value());
    BOOST_TEST(answers.requests().back().target() == "/session?limit=1");
    BOOST_TEST(newest->sessions.size() == 1u);
    BOOST_TEST(newest->left_out == 2u);
}
