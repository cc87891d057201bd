// Which server answers: ready() against servers of 2.x that start, fail, or are something else.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/scripted_server.hpp"

#include <holdfast/opencode/server.hpp>

#include <deque>
#include <map>
#include <string>
#include <tuple>
#include <vector>

using namespace holdfast;

namespace {

std::string json_answer(std::string_view body, int status = 200, std::string_view fields = {}) {
    return test::response(status, "application/json", body, fields);
}
const std::string info = R"({"version":"2.0.26","pid":7,"urls":[],"paths":{"tmp":"/tmp"}})";
const std::string web_app = test::response(200, "text/html", "<html>");
const std::string retry_soon = "Retry-After: 1\r\n";

/// A server whose answers are known by route: those of a route are given in turn, and the last stays. An
/// empty one is never given. What has no answer is the web app.
struct starting_server : test::in_simulated_world, testing::simulated_server {
    const endpoint where{"http", "127.0.0.1", 4096};
    std::map<std::string, std::deque<std::string>> answers;
    std::vector<std::string> asked;
    opencode::server_config config;

    starting_server() { world.net().listen(where, *this); }
    void accepted(testing::wire_id) override {}
    void closed(testing::wire_id) override {}
    void received(testing::wire_id wire, std::string_view bytes) override {
        const auto path = std::string(bytes.substr(4, bytes.find(" HTTP") - 4));
        asked.push_back(path);
        auto& script = answers[path];
        const auto answer = script.empty() ? web_app : script.front();
        if (script.size() > 1)
            script.pop_front();
        if (!answer.empty())
            world.net().send(wire, answer);
    }

    net::awaitable<result<opencode::server_info>> ready() {
        opencode::server server(world.rt(), http::parse_url(to_string(where)).value(), config);
        co_return co_await server.ready();
    }
    net::awaitable<failure> why_not() {
        const auto seen = co_await ready();
        BOOST_TEST_REQUIRE(seen.has_error());
        co_return seen.error();
    }
    [[nodiscard]] std::string verdict(const failure& why) const {
        const auto at = why.message.find("this is ");
        return at == std::string::npos ? why.message : why.message.substr(at);
    }
};

} // namespace

CO_TEST_CASE(the_three_protocols_are_told_apart, starting_server) {
    answers["/global/health"] = {json_answer(R"({"healthy":true,"version":"1.18.33"})")};
    answers["/api/health"] = {json_answer(R"({"healthy":true})")};
    const auto one = co_await ready();
    BOOST_TEST_REQUIRE(one.has_value());
    BOOST_TEST(one->version == "1.18.33");
    BOOST_TEST(asked == std::vector<std::string>{"/global/health"}, boost::test_tools::per_element());

    answers.clear();
    answers["/api/info"] = {json_answer(info)};
    const auto current = co_await ready();
    BOOST_TEST_REQUIRE(current.has_value());
    BOOST_TEST(current->version == "2.0.26");
    BOOST_TEST((current->speaks == opencode::protocol::v2));

    answers.clear(); // its /api/info is the web app, too
    answers["/api/health"] = {json_answer(R"({"healthy":true,"version":"2.0.3","pid":7})")};
    const auto early = co_await ready();
    BOOST_TEST_REQUIRE(early.has_value());
    BOOST_TEST(early->version == "2.0.3");

    answers["/api/health"] = {json_answer(R"({"healthy":true,"version":"2.0.0-next.4"})")};
    const auto preview = co_await ready();
    BOOST_TEST_REQUIRE(preview.has_value());
    BOOST_TEST(preview->version == "2.0.0-next.4");

    answers["/api/info"] = {json_answer(R"({"version":"3.1.0"})")};
    const auto later = co_await why_not();
    BOOST_TEST(verdict(later) ==
               "this is an OpenCode server of version 3.1.0, which these calls do not speak");
}

CO_TEST_CASE(a_web_page_is_no_opencode_of_any_version, starting_server) {
    const auto why = co_await why_not();
    BOOST_TEST((why.code == errc::not_opencode), why.message);
    BOOST_TEST(why.message.find("/global/health answered with text/html") != std::string::npos, why.message);
    // JSON of a wrong type is none.
    answers["/api/info"] = {test::response(200, "text/html", info)};
    const auto page = co_await why_not();
    BOOST_TEST((page.code == errc::not_opencode), page.message);
}

CO_TEST_CASE(a_service_that_starts_is_waited_for, starting_server) {
    const auto not_yet = json_answer(R"({"code":"service_starting"})", 503, retry_soon);
    const auto info_not_yet = json_answer(info, 503, retry_soon);
    answers["/global/health"] = {not_yet, web_app};
    answers["/api/info"] = {info_not_yet, info_not_yet, json_answer(info)};
    const auto begun = world.time().now();
    const auto seen = co_await ready();
    BOOST_TEST(seen.has_value());
    BOOST_TEST((world.time().now() - begun >= seconds(3)), "it did not wait as it was asked to");
    BOOST_TEST((world.time().now() - begun < seconds(30)));
}

CO_TEST_CASE(a_port_that_accepts_and_does_not_answer_yet_is_asked_again, starting_server) {
    answers["/global/health"] = {"", web_app};
    answers["/api/info"] = {"", json_answer(info)};
    const auto seen = co_await ready();
    BOOST_TEST(seen.has_value());
}

CO_TEST_CASE(who_gives_up_on_a_server_that_starts_is_told_that_it_does, starting_server) {
    config.policy.max_attempts = 2;
    answers["/api/info"] = {json_answer(info, 503, retry_soon)};
    const auto why = co_await why_not();
    BOOST_TEST(why.status == 503);
    BOOST_TEST(why.message == "OpenCode 2.x is starting or stopping");
    answers["/global/health"] = {json_answer(R"({"code":"service_stopping"})", 503, retry_soon)};
    const auto stopping = co_await why_not();
    BOOST_TEST(stopping.message == "OpenCode 2.x is starting or stopping");
}

CO_TEST_CASE(a_service_that_could_not_start_is_said_to_have_failed, starting_server) {
    config.policy.max_attempts = 1;
    for (const auto& failed :
         {json_answer(R"({"code":"service_failed","message":"no database"})", 503), json_answer(info, 500)}) {
        answers["/api/info"] = {failed};
        const auto why = co_await why_not();
        BOOST_TEST(why.message == "OpenCode 2.x could not start");
    }
}

CO_TEST_CASE(another_password_than_that_of_2_x_is_not_tried_twice, starting_server) {
    answers["/api/info"] = {json_answer(R"({"_tag":"UnauthorizedError","message":"Authentication required"})",
                                        401, "WWW-Authenticate: Basic realm=\"Secure Area\"\r\n")};
    const auto why = co_await why_not();
    BOOST_TEST(why.status == 401);
    BOOST_TEST(why.message == "authentication failed: the server rejected the user name or password");
    BOOST_TEST(asked == (std::vector<std::string>{"/global/health", "/api/info"}),
               boost::test_tools::per_element());
}

CO_TEST_CASE(the_calls_of_1_x_refuse_2_x_in_words_that_name_it, starting_server) {
    opencode::client calls(world.rt(), http::parse_url(to_string(where)).value(), {});
    for (const auto& [route, version, words] :
         {std::tuple("/api/info", "2.0.26", "current 2.x by /api/info"),
          std::tuple("/api/health", "2.0.3", "early 2.x by /api/health"),
          std::tuple("/api/health", "2.0.0-next.4", "a preview of 2.0 by /api/health")}) {
        answers.clear();
        answers[route] = {json_answer(R"({"version":")" + std::string(version) + "\"}")};
        const auto seen = co_await calls.health();
        BOOST_TEST_REQUIRE(seen.has_error());
        BOOST_TEST((seen.error().code == errc::unsupported_version));
        BOOST_TEST(verdict(seen.error()) == "this is OpenCode 2.x (it says version " + std::string(version) +
                                                "; " + words + "), which these calls do not speak");
    }
}

CO_TEST_CASE(a_protocol_that_is_named_is_the_only_one_that_is_asked_for, starting_server) {
    answers["/api/info"] = {json_answer(info)};
    config.protocol = opencode::protocol::v2;
    const auto seen = co_await ready();
    BOOST_TEST(seen.has_value());
    BOOST_TEST(asked == std::vector<std::string>{"/api/info"}, boost::test_tools::per_element());
    config.protocol = opencode::protocol::v1;
    const auto other = co_await why_not();
    BOOST_TEST((other.code == errc::unsupported_version), other.message);
    answers["/api/info"] = {web_app};
    config.protocol = opencode::protocol::v2;
    const auto none = co_await why_not();
    BOOST_TEST((none.code == errc::not_opencode), none.message);
}
