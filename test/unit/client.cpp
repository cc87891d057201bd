// What calls and streams say of who we are.
#define BOOST_TEST_MODULE client
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/scripted_server.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
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

CO_TEST_CASE(a_directory_is_told_in_a_field_encoded_once, asked_server) {
    opencode::client server(world.rt(), http::parse_url("http://127.0.0.1:4096").value(), {});
    answers.play_ever_after({test::send(test::response(200, "application/json", "{}"))});
    struct row {
        const char* directory;
        const char* sent;
    };
    for (const auto& each : {row{"/p%41", "%2Fp%2541"}, row{"/a b", "%2Fa%20b"},
                             row{"/caf\xc3\xa9\r\n", "%2Fcaf%C3%A9%0D%0A"}, row{"", ""}}) {
        const auto seen = co_await server.status(each.directory);
        BOOST_TEST(seen.has_value());
        BOOST_TEST(answers.requests().back().header("x-opencode-directory") == each.sent);
        BOOST_TEST(answers.requests().back().target() == "/session/status");
    }
}

CO_TEST_CASE(sessions_of_a_directory_that_no_query_can_name_are_picked_here, asked_server) {
    opencode::client server(world.rt(), http::parse_url("http://127.0.0.1:4096").value(), {});
    answers.play_ever_after({test::send(test::response(
        200, "application/json", R"([{"id":"ses_1","directory":"/pA"},{"id":"ses_2","directory":"/p%41"}])"))});
    const auto listed = co_await server.list_sessions("/p%41");
    BOOST_TEST_REQUIRE(listed.has_value());
    BOOST_TEST_REQUIRE(listed->size() == 1u);
    BOOST_TEST(listed->front().id == "ses_2");
    BOOST_TEST(answers.requests().back().target() == "/session");
}

