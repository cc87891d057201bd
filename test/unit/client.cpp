// What calls and streams say of who we are.
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
        answers.play_ever_after(
            {test::send(test::response(200, "application/json", R"({"healthy":true,"version":"1.18.33"})"))});
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
    answers.play_ever_after({test::send(
        test::response(200, "application/json",
                       R"([{"id":"ses_3","directory":"/d"},{"id":"ses_2","directory":"/d"},{"id":4}])"))});
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
    answers.play_ever_after({test::send(
        test::response(200, "application/json",
                       R"([{"id":"ses_1","directory":"/pA"},{"id":"ses_2","directory":"/p%41"}])"))});
    const auto listed = co_await server.list_sessions("/p%41");
    BOOST_TEST_REQUIRE(listed.has_value());
    BOOST_TEST_REQUIRE(listed->size() == 1u);
    BOOST_TEST(listed->front().id == "ses_2");
    BOOST_TEST(answers.requests().back().target() == "/session");
}

CO_TEST_CASE(a_rejected_password_is_said_in_words, asked_server) {
    opencode::client server(world.rt(), http::parse_url("http://127.0.0.1:4096").value(), {});
    answers.play_ever_after(
        {test::send(test::response(401, "", "", "WWW-Authenticate: Basic realm=\"x\"\r\n"))});
    const auto seen = co_await server.health();
    BOOST_TEST_REQUIRE(seen.has_error());
    BOOST_TEST(seen.error().status == 401);
    BOOST_TEST(seen.error().message ==
               "authentication failed: the server rejected the user name or password");
}

namespace {

/// Answers each route with what is written for it, any other with the web app of 2.x.
struct routes : test::in_simulated_world, testing::simulated_server {
    const endpoint where{"http", "127.0.0.1", 4096};
    std::map<std::string, std::string> answers;
    std::string otherwise = test::response(200, "text/html", "<html>");
    std::vector<std::string> asked;

    routes() { world.net().listen(where, *this); }
    void accepted(testing::wire_id) override {}
    void closed(testing::wire_id) override {}
    void received(testing::wire_id wire, std::string_view bytes) override {
        const auto path = std::string(bytes.substr(4, bytes.find(" HTTP") - 4));
        asked.push_back(path);
        const auto found = answers.find(path);
        world.net().send(wire, found == answers.end() ? otherwise : found->second);
    }
    net::awaitable<failure> why_not() {
        opencode::client server(world.rt(), http::parse_url(to_string(where)).value(), {});
        const auto seen = co_await server.health();
        BOOST_TEST_REQUIRE(seen.has_error());
        co_return seen.error();
    }
};

} // namespace

namespace {

std::string json_answer(std::string_view body, int status = 200) {
    return test::response(status, "application/json", body);
}

// What 2.x says where 1.x tells its version.
const std::vector<std::string> no_version_1{test::response(200, "text/html", "<html>"),
                                            test::response(404, "", ""), test::response(405, "", ""),
                                            json_answer(R"({"version":"2.0.1"})")};
const std::vector<std::string> no_version_2{test::response(404, "", ""), json_answer(R"({"healthy":true})"),
                                            json_answer("[2]"),
                                            test::response(200, "text/html", R"({"version":"2.0.1"})")};

} // namespace

CO_TEST_CASE(a_server_of_version_2_is_called_so_whichever_of_its_routes_tells_it, routes) {
    for (const char* const route : {"/api/info", "/api/health"})
        for (const auto& old : no_version_1) {
            answers.clear();
            answers["/global/health"] = old;
            answers[route] = json_answer(R"({"version":"2.0.1","pid":7})");
            const auto why = co_await why_not();
            BOOST_TEST((why.code == errc::unsupported_version), why.message);
            const std::string kind = route == std::string("/api/info") ? "current" : "early";
            const auto named = old == no_version_1.back() ? "" : "; " + kind + " 2.x by " + route;
            BOOST_TEST(why.message.ends_with("this is OpenCode 2.x (it says version 2.0.1" + named +
                                             "), which these calls do not speak"),
                       why.message);
        }
}

CO_TEST_CASE(what_is_no_opencode_is_not_called_one, routes) {
    for (const auto& odd : no_version_2) {
        answers.clear();
        answers["/api/info"] = answers["/api/health"] = odd;
        const auto why = co_await why_not();
        BOOST_TEST((why.code == errc::not_opencode), why.message);
    }
}

CO_TEST_CASE(version_2_with_another_password_says_that, routes) {
    answers["/api/info"] = test::response(401, "", "");
    const auto why = co_await why_not();
    BOOST_TEST(why.status == 401);
}

CO_TEST_CASE(a_server_that_fails_is_not_asked_for_version_2, routes) {
    otherwise = test::response(500, "application/json", "{}");
    const auto why = co_await why_not();
    BOOST_TEST(why.status == 500);
    BOOST_TEST(asked.size() == 1u);
}

// --- ids and the server's clock

BOOST_AUTO_TEST_CASE(an_id_is_of_the_servers_time_or_next_to_the_newest_whichever_is_later) {
    testing::world world;
    const auto at = [](long long ms) {
        return wall_time(milliseconds(ms));
    };
    const auto number = [&](std::optional<wall_time> time, std::string_view newest) {
        const auto id = opencode::make_id("msg", time, newest, world.rt());
        BOOST_TEST(id.size() == 30u);
        BOOST_TEST(id.starts_with("msg_"));
        return id.substr(4, 12);
    };
    BOOST_TEST(number(at(0x100), {}) == "000000100000");
    BOOST_TEST(number(at(0x100), "msg_0000000fffffabc") == "000000100000");
    BOOST_TEST(number(at(0x100), "msg_000000100000abc") == "000000100001");
    BOOST_TEST(number(at(0x100), "msg_0000ffffffffabc") == "000100000000");
    BOOST_TEST(number(std::nullopt, "msg_000000100000abc") == "000000100001");
    BOOST_TEST(number(std::nullopt, {}) == "000000000001");
    for (const char* const odd : {"msg_1", "msg_", "msg", "msg_00000010000g", "msg_ 00000100000"})
        BOOST_TEST(number(at(0x100), odd) == "000000100000", odd);
    BOOST_TEST(number(at(1'796'047'489'201), {}) == "22cc5c8b1000");
}

BOOST_AUTO_TEST_CASE(ids_of_the_servers_form_are_compared_as_it_compares_them) {
    using opencode::is_newer_id;
    BOOST_TEST(is_newer_id("msg_000000000002a", "msg_000000000001z"));
    BOOST_TEST(is_newer_id("msg_000000000001b", "msg_000000000001a"));
    BOOST_TEST(!is_newer_id("msg_000000000001a", "msg_000000000001a"));
    BOOST_TEST(!is_newer_id("msg_zz", "msg_000000000001a"));
    BOOST_TEST(is_newer_id("msg_000000000001a", "msg_zz"));
    BOOST_TEST(is_newer_id("msg_000000000001a", ""));
}

CO_TEST_CASE(the_servers_clock_is_what_its_last_answer_says_and_the_time_since, asked_server) {
    const auto clock = std::make_shared<opencode::server_clock>();
    opencode::client server(world.rt(), http::parse_url("http://127.0.0.1:4096").value(), {}, clock);
    BOOST_TEST(!clock->at_least(world.time().now()).has_value());
    for (const char* const odd : {"", "Date: yesterday\r\n"}) {
        answers.play_ever_after({test::send(test::response(200, "application/json", "{}", odd))});
        const auto seen = co_await server.status({});
        BOOST_TEST(seen.has_value());
        BOOST_TEST(!clock->at_least(world.time().now()).has_value());
    }
    answers.play_ever_after({test::send(
        test::response(200, "application/json", "{}", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"))});
    const auto seen = co_await server.status({});
    BOOST_TEST(seen.has_value());
    co_await world.rt().sleep_for(seconds(5));
    const auto told = clock->at_least(world.time().now());
    BOOST_TEST_REQUIRE(told.has_value());
    BOOST_TEST((*told == wall_time(seconds(784'111'777 + 5))));
}
