// The examples, each against a server that behaves as the real one is documented to.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/raw_server.hpp"
#include "support/temporary_folder.hpp"

#include <boost/json/parse.hpp>

#include <fstream>
#include <string>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
using namespace std::string_literals;
using lines = std::vector<std::string>;
constexpr auto hold = reply::ending::hold;

std::string event(const std::string& type, const std::string& data) {
    return "event: " + type + "\ndata: " + data + "\n\n";
}

command_result with_key(const char* variable, const std::string& program, const lines& arguments) {
    command_options options;
    options.environment.push_back(variable + "=k-1"s);
    return run_command(program, arguments, options);
}

void check(const command_result& done, int code, const lines& output) {
    BOOST_TEST(done.code() == code, done.text());
    BOOST_TEST(done.output == output, done.text());
}

} // namespace

// --- mcp

namespace {

const auto progress = R"({"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}})"s;
const auto answer_to_1 = R"({"jsonrpc":"2.0","id":1,"result":{"content":[]}})"s;

} // namespace

BOOST_AUTO_TEST_CASE(mcp_of_2025_hangs_up_after_an_id_and_answers_a_get) {
    raw_server server({event_stream("retry: 50\nid: e1\ndata:\n\n"),
                       event_stream("id: e2\ndata: " + progress + "\n\n", reply::ending::reset, 50ms),
                       event_stream("id: e3\ndata: " + answer_to_1 + "\n\n", hold)});
    check(run_command("example-mcp", {"2025", server.url("/mcp")}), 0, {progress, answer_to_1});
    const auto asked = server.requests();
    BOOST_TEST_REQUIRE(asked.size() == 3u);
    BOOST_TEST(asked[0].method() == "POST");
    BOOST_TEST(asked[0].header("Accept") == "text/event-stream, application/json");
    BOOST_TEST(asked[1].method() == "GET");
    BOOST_TEST(asked[1].header("Last-Event-ID") == "e1");
    BOOST_TEST(asked[1].header("MCP-Protocol-Version") == "2025-11-25");
    BOOST_TEST(asked[2].method() == "GET");
    BOOST_TEST(asked[2].header("Last-Event-ID") == "e2");
}

BOOST_AUTO_TEST_CASE(mcp_may_answer_by_json_and_by_nothing) {
    raw_server server({answer(200, "application/json", answer_to_1), answer(202, "text/plain", "")});
    check(run_command("example-mcp", {"2025", server.url("/mcp")}), 0, {answer_to_1});
    check(run_command("example-mcp", {"2025", server.url("/mcp")}), 1, {});
    BOOST_TEST(server.requests().size() == 2u);
}

BOOST_AUTO_TEST_CASE(mcp_of_2026_is_listened_to_by_a_new_post_each_time) {
    raw_server server({event_stream(":\r\n\r\ndata: " + progress + "\n\n", reply::ending::reset, 50ms),
                       event_stream("data: " + answer_to_1 + "\n\n", hold)});
    check(run_command("example-mcp", {"2026", server.url("/mcp")}), 0, {progress, answer_to_1});
    const auto asked = server.requests();
    BOOST_TEST_REQUIRE(asked.size() == 2u);
    for (const int n : {0, 1}) {
        BOOST_TEST(asked[n].method() == "POST");
        BOOST_TEST(boost::json::parse(asked[n].body).at("id").as_int64() == n + 1);
        BOOST_TEST(asked[n].header("Last-Event-ID") == "");
    }
}

// --- openai

BOOST_AUTO_TEST_CASE(openai_goes_on_with_a_response_that_it_makes_in_the_background) {
    const auto delta = [](int number, const std::string& text) {
        return event("response.output_text.delta",
                     R"({"type":"response.output_text.delta","sequence_number":)" + std::to_string(number) +
                         R"(,"delta":")" + text + "\"}");
    };
    const auto created = event("response.created", R"({"type":"response.created","sequence_number":0,)"
                                                   R"("response":{"id":"resp_1","status":"queued"}})");
    const auto completed = event("response.completed", R"({"type":"response.completed","sequence_number":6,)"
                                                       R"("response":{"id":"resp_1","status":"completed"}})");
    raw_server server({event_stream(created + delta(4, "Hel"), reply::ending::reset, 50ms),
                       event_stream(delta(5, "lo.") + completed + "data: [DONE]\n\n", hold)});
    check(with_key("OPENAI_API_KEY", "example-openai", {server.url("/v1/responses"), "Say hello."}), 0,
          {"Hello."});
    const auto asked = server.requests();
    BOOST_TEST_REQUIRE(asked.size() == 2u);
    BOOST_TEST(asked[0].header("Authorization") == "Bearer k-1");
    BOOST_TEST(asked[0].body.find("\"background\":true") != std::string::npos);
    BOOST_TEST(asked[1].method() == "GET");
    BOOST_TEST(asked[1].target() == "/v1/responses/resp_1?stream=true&starting_after=4");
    BOOST_TEST(asked[1].header("Authorization") == "Bearer k-1");
}

BOOST_AUTO_TEST_CASE(openai_says_that_a_response_failed) {
    raw_server server(
        {event_stream(event("response.failed", R"({"type":"response.failed","sequence_number":1,)"
                                               R"("response":{"id":"resp_1","error":{"code":"x",)"
                                               R"("message":"too\u001b[2J large"}}})"),
                      hold)});
    check(with_key("OPENAI_API_KEY", "example-openai", {server.url("/v1/responses"), "x"}), 1,
          {"", "not whole: too[2J large"});
}

// --- anthropic

BOOST_AUTO_TEST_CASE(anthropic_is_asked_again_when_it_is_overloaded_and_not_when_the_request_is_wrong) {
    const auto text = [](const std::string& delta) {
        return event("content_block_delta", R"({"type":"content_block_delta","index":0,"delta":)"
                                            R"({"type":"text_delta","text":")" +
                                                delta + "\"}}");
    };
    const auto error = [](const std::string& type, const std::string& message) {
        return event("error",
                     R"({"type":"error","error":{"type":")" + type + R"(","message":")" + message + "\"}}");
    };
    const auto begin =
        event("message_start", R"({"type":"message_start"})") + event("ping", R"({"type":"ping"})");
    raw_server busy(
        {event_stream(begin + text("Hel") + error("overloaded_error", "Overloaded")),
         event_stream(begin + text("Hello.") + event("message_stop", R"({"type":"message_stop"})"), hold)});
    check(with_key("ANTHROPIC_API_KEY", "example-anthropic", {busy.url("/v1/messages"), "Say hello."}), 0,
          {"Hel", "[Overloaded]", "Hello."});
    BOOST_TEST(busy.requests().size() == 2u);
    BOOST_TEST(busy.requests().at(1).header("x-api-key") == "k-1");
    raw_server wrong({event_stream(error("invalid_request_error", "no such model"), hold)});
    check(with_key("ANTHROPIC_API_KEY", "example-anthropic", {wrong.url("/v1/messages"), "x"}), 1,
          {"", "[no such model]"});
    BOOST_TEST(wrong.requests().size() == 1u);
}

// --- wikimedia

BOOST_AUTO_TEST_CASE(wikimedia_goes_on_after_the_change_that_the_last_run_ended_with) {
    const temporary_folder here;
    const auto id_of = [](int n) {
        auto id =
            R"([{"topic":"eqiad.mediawiki.recentchange","partition":0,"offset":)" + std::to_string(n) + "}";
        return id + std::string(1515 - id.size() - 1, ' ') + ']';
    };
    const auto change = [&](int n, const std::string& domain) {
        return "event: message\nid: " + id_of(n) + "\ndata: {\"title\":\"Page " + std::to_string(n) +
               "\",\"meta\":{\"domain\":\"" + domain + "\"}}\n\n";
    };
    raw_server server([&](const heard& asked) {
        const auto first = asked.header("Last-Event-ID").empty() ? 1 : 3;
        return event_stream(":ok\n\n" + change(first, "en.wikipedia.org") + change(9, "canary") +
                                change(first + 1, "de.wikipedia.org") + change(first + 2, "fr.wikipedia.org"),
                            hold);
    });
    const lines arguments{server.url("/v2/stream/recentchange"), here / "last_id", "2"};
    check(run_command("example-wikimedia", arguments), 0, {"\"Page 1\"", "\"Page 2\""});
    check(run_command("example-wikimedia", arguments), 0, {"\"Page 3\"", "\"Page 4\""});
    BOOST_TEST(server.requests().at(1).header("Last-Event-ID") == id_of(2));
    BOOST_TEST(server.requests().at(0).header("User-Agent").find('@') != std::string::npos);
}

// --- kubernetes

BOOST_AUTO_TEST_CASE(kubernetes_is_watched_from_a_bookmark_and_listed_again_when_that_is_too_old) {
    const auto pod = [](const std::string& type, const std::string& name, int version) {
        return R"({"type":")" + type + R"(","object":{"kind":"Pod","metadata":{"name":")" + name +
               R"(","resourceVersion":")" + std::to_string(version) + "\"}}}\n";
    };
    const auto list_of = [](int version, const std::string& items) {
        return answer(200, "application/json",
                      R"({"kind":"PodList","metadata":{"resourceVersion":")" + std::to_string(version) +
                          R"("},"items":[)" + items + "]}");
    };
    const auto gone = R"({"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired",)"
                      R"("message":"too old resource version","code":410}})"
                      "\n";
    raw_server server({list_of(10, "{},{}"),
                       answer(200, "application/json", pod("ADDED", "a", 11) + pod("BOOKMARK", "", 20)),
                       answer(200, "application/json", gone), list_of(30, "{}"),
                       answer(200, "application/json", pod("MODIFIED", "b", 31))});
    check(run_command("example-kubernetes_watch", {server.url("/api/v1/pods"), "2"}), 0,
          {"listed 2", R"("ADDED" "a")", "listed 1", R"("MODIFIED" "b")"});
    lines targets;
    for (const auto& each : server.requests())
        targets.push_back(each.target());
    const auto watch = "/api/v1/pods?watch=true&allowWatchBookmarks=true&resourceVersion="s;
    const lines expected{"/api/v1/pods", watch + "10", watch + "20", "/api/v1/pods", watch + "30"};
    BOOST_TEST(targets == expected, boost::test_tools::per_element());
}

// --- firebase

BOOST_AUTO_TEST_CASE(firebase_leads_to_another_machine_and_a_new_token_is_sent_when_one_is_revoked) {
    const temporary_folder here;
    const auto token = here / "token";
    const auto write_token = [&](const char* text) {
        std::ofstream(token) << text << '\n';
    };
    const auto put = [](const std::string& data) {
        return event("put", "{\"path\":\"/\",\"data\":" + data + "}");
    };
    write_token("t-1");
    raw_server machine([&](const heard& asked) {
        if (asked.number > 0)
            return event_stream(event("keep-alive", "null") + put("{\"a\":1}"), hold);
        write_token("t-2");
        return event_stream(put("null") + event("auth_revoked", "\"credential is no longer valid\""), hold);
    });
    raw_server front([&](const heard&) {
        return answer(307, "text/plain", "", "Location: " + machine.url("/users.json?ns=p") + "\r\n");
    });
    const auto done = run_command("example-firebase", {front.url("/users.json"), token, "2"});
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST_REQUIRE(done.output.size() == 3u, done.text());
    BOOST_TEST(done.output[0] == R"(put "/" null)");
    BOOST_TEST(done.output[1].ends_with("the token is no longer valid"), done.text());
    BOOST_TEST(done.output[2] == R"(put "/" {"a":1})");
    const auto asked = machine.requests();
    BOOST_TEST(asked.at(0).header("Authorization") == "Bearer t-1");
    BOOST_TEST(asked.at(1).header("Authorization") == "Bearer t-2");
    BOOST_TEST(asked.at(1).target() == "/users.json?ns=p");
}

BOOST_AUTO_TEST_CASE(firebase_may_forbid_it_for_good) {
    const temporary_folder here;
    raw_server server({event_stream(event("cancel", "\"Permission denied\""), hold)});
    const auto done = run_command("example-firebase", {server.url("/users.json"), here / "none", "1"});
    BOOST_TEST(done.code() == 1, done.text());
    BOOST_TEST(done.output.back().starts_with("gave up: "), done.text());
    BOOST_TEST(server.requests().size() == 1u);
}
