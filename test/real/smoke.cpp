// The tools of the real tests themselves: server, model and proxy work together as they promise.
#include <boost/test/unit_test.hpp>

#include "support/eventually.hpp"
#include "support/fault_proxy.hpp"
#include "support/opencode_server.hpp"
#include "support/plain_http.hpp"

#include <boost/asio/error.hpp>
#include <boost/json.hpp>
#include <boost/system/system_error.hpp>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

namespace json = boost::json;
using namespace holdfast::test;
using namespace std::chrono_literals;

BOOST_TEST_GLOBAL_FIXTURE(opencode_world);

opencode_server& server() {
    return opencode_world::server();
}

std::string in_directory(const std::string& path) {
    return path + "?directory=" + server().directory();
}

std::string new_session() {
    const auto answer = http_call(server().port(), "POST", in_directory("/session"), "{}");
    return std::string(json::parse(answer.body).at("id").as_string());
}

int prompt(const std::string& session, const std::string& text) {
    const json::object part{{"type", "text"}, {"text", text}};
    const json::object body{{"parts", json::array{part}}};
    return http_call(server().port(), "POST", "/session/" + session + "/prompt_async", json::serialize(body))
        .status;
}

/// Accepts events of this type and session.
auto event_of(const std::string& type, const std::string& session) {
    return [type, session](std::string_view data) {
        const auto event = json::parse(data);
        const auto& properties = event.at("properties").as_object();
        const auto* id = properties.if_contains("sessionID");
        return event.at("type").as_string() == type &&
               (session.empty() || (id != nullptr && id->as_string() == session));
    };
}

/// The text of the last message of a session.
std::string last_text(const std::string& session) {
    const auto answer = http_call(server().port(), "GET", "/session/" + session + "/message");
    const auto messages = json::parse(answer.body);
    std::string text;
    for (const auto& part : messages.as_array().back().at("parts").as_array()) {
        if (part.at("type").as_string() == "text") {
            text += part.at("text").as_string();
        }
    }
    return text;
}

struct stream_through_proxy {
    fault_proxy proxy{server().port()};
    plain_event_stream stream{proxy.port(), in_directory("/event")};
    std::string session = new_session();

    stream_through_proxy() { BOOST_TEST(stream.next(event_of("server.connected", "")).has_value()); }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_prompt_is_answered_with_what_the_script_says_and_ends_in_an_idle_event) {
    plain_event_stream stream(server().port(), in_directory("/event"));
    BOOST_TEST(stream.status() == 200);
    BOOST_TEST(stream.next(event_of("server.connected", "")).has_value());
    const auto session = new_session();

    BOOST_TEST(prompt(session, "greet-me #plain") == 204);

    BOOST_TEST(stream.next(event_of("session.idle", session)).has_value());
    BOOST_TEST(last_text(session) == "Hello from the mock model.");
    BOOST_TEST(opencode_world::model().runs("greet-me") == 1U);
}

BOOST_AUTO_TEST_CASE(a_tool_runs_when_its_permission_is_given) {
    plain_event_stream stream(server().port(), in_directory("/event"));
    const auto session = new_session();
    prompt(session, "run-it #bash");

    const auto asked = stream.next(event_of("permission.asked", session));
    BOOST_REQUIRE(asked.has_value());
    const auto id = std::string(json::parse(*asked).at("properties").at("id").as_string());
    const auto reply = http_call(server().port(), "POST", in_directory("/permission/" + id + "/reply"),
                                 R"({"reply":"once"})");

    BOOST_TEST(reply.status == 200);
    BOOST_TEST(stream.next(event_of("session.idle", session)).has_value());
    BOOST_TEST(last_text(session) == "Tool said hi.");
    BOOST_TEST(opencode_world::model().runs("run-it") == 2U);
}

BOOST_AUTO_TEST_CASE(a_stream_that_the_proxy_cuts_ends_with_a_reset_while_the_turn_goes_on) {
    stream_through_proxy world;
    plain_event_stream direct(server().port(), in_directory("/event"));
    prompt(world.session, "cut #slow:20");
    BOOST_TEST(world.stream.next(event_of("message.part.delta", world.session)).has_value());

    BOOST_TEST(world.proxy.cut(fault_proxy::ending::reset, fault_proxy::scope::streams) == 1U);

    while (world.stream.next(5s)) {
    }
    BOOST_TEST(world.stream.error() == boost::asio::error::connection_reset);
    BOOST_TEST(direct.next(event_of("session.idle", world.session)).has_value());
}

BOOST_AUTO_TEST_CASE(streams_can_be_refused_while_rest_works) {
    fault_proxy proxy(server().port());
    proxy.refuse_streams(true);
    BOOST_CHECK_THROW(plain_event_stream(proxy.port(), in_directory("/event")), boost::system::system_error);
    BOOST_TEST(http_call(proxy.port(), "GET", "/global/health").status == 200);
    proxy.refuse_streams(false);
    BOOST_TEST(plain_event_stream(proxy.port(), in_directory("/event")).status() == 200);
    BOOST_TEST(proxy.requests("/event") == 2U);
}

BOOST_AUTO_TEST_CASE(streams_can_be_answered_with_a_status) {
    fault_proxy proxy(server().port());
    proxy.answer_streams(503);
    BOOST_TEST(plain_event_stream(proxy.port(), in_directory("/event")).status() == 503);
    BOOST_TEST(http_call(proxy.port(), "GET", "/global/health").status == 200);
}

BOOST_AUTO_TEST_CASE(a_stream_can_be_cut_after_so_many_bytes_of_its_body) {
    fault_proxy proxy(server().port());
    proxy.cut_stream_after(10, fault_proxy::ending::clean);
    plain_event_stream stream(proxy.port(), in_directory("/event"));
    BOOST_TEST(!stream.next(5s).has_value());
    BOOST_TEST(stream.error() == boost::asio::error::eof);
    plain_event_stream next(proxy.port(), in_directory("/event"));
    BOOST_TEST(next.next(event_of("server.connected", "")).has_value());
}

BOOST_AUTO_TEST_CASE(what_a_stalled_stream_held_back_comes_when_the_stall_ends) {
    stream_through_proxy world;
    world.proxy.stall(true, fault_proxy::scope::streams);
    plain_event_stream direct(server().port(), in_directory("/event"));
    prompt(world.session, "stall #plain");
    BOOST_TEST(direct.next(event_of("session.idle", world.session)).has_value());

    // What was told of the session's creation may have come before the stall.
    BOOST_TEST(!world.stream.next(event_of("session.idle", world.session), 200ms).has_value());
    BOOST_TEST(world.stream.error() == boost::asio::error::timed_out);

    world.proxy.stall(false, fault_proxy::scope::streams);
    BOOST_TEST(world.stream.next(event_of("session.idle", world.session)).has_value());
}

BOOST_AUTO_TEST_CASE(a_stream_in_slices_of_seven_bytes_holds_the_same_events) {
    stream_through_proxy world;
    world.proxy.slice(7);
    prompt(world.session, "slices #plain");
    BOOST_TEST(world.stream.next(event_of("session.idle", world.session)).has_value());
}

BOOST_AUTO_TEST_CASE(a_half_closed_stream_ends_cleanly_for_the_client_and_stays_open_for_the_server) {
    stream_through_proxy world;
    world.proxy.half_close(fault_proxy::side::client, fault_proxy::scope::streams);
    while (world.stream.next(5s)) {
    }
    BOOST_TEST(world.stream.error() == boost::asio::error::eof);
    BOOST_TEST(world.proxy.open(fault_proxy::scope::streams) == 1U);
}

BOOST_AUTO_TEST_CASE(a_server_of_ones_own_keeps_its_sessions_over_a_kill_and_a_restart) {
    opencode_server::options what;
    what.model_port = opencode_world::model().port();
    what.password = "secret";
    opencode_server own(what);
    const std::string auth = "Authorization: Basic b3BlbmNvZGU6c2VjcmV0\r\n";
    const auto path = "/session?directory=" + own.directory();
    BOOST_TEST(http_call(own.port(), "GET", path).status == 401);
    BOOST_TEST(http_call(own.port(), "POST", path, "{}", auth).status == 200);

    own.stop();
    BOOST_CHECK_THROW(http_call(own.port(), "GET", path, {}, auth), boost::system::system_error);
    own.restart();

    const auto sessions = http_call(own.port(), "GET", path, {}, auth);
    BOOST_TEST(json::parse(sessions.body).as_array().size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_suspended_server_answers_nothing_until_it_is_resumed) {
    server().suspend();
    BOOST_CHECK_THROW(http_call(server().port(), "GET", "/global/health", {}, {}, 300ms),
                      boost::system::system_error);
    server().resume();
    BOOST_TEST(http_call(server().port(), "GET", "/global/health").status == 200);
}

BOOST_AUTO_TEST_CASE(stopping_a_server_ends_the_commands_that_its_tools_run) {
    opencode_server::options what;
    what.model_port = opencode_world::model().port();
    what.permission = R"({"bash":"allow"})";
    opencode_server own(what);
    plain_event_stream stream(own.port(), "/event?directory=" + own.directory());
    const auto created = http_call(own.port(), "POST", "/session?directory=" + own.directory(), "{}");
    const auto session = std::string(json::parse(created.body).at("id").as_string());
    // echo $$ > pid; sleep 600
    http_call(own.port(), "POST", "/session/" + session + "/prompt_async",
              R"({"parts":[{"type":"text","text":"#bash:ZWNobyAkJCA+IHBpZDsgc2xlZXAgNjAw"}]})");
    const auto pid_file = std::filesystem::path(own.directory()) / "pid";
    pid_t tool = 0;
    BOOST_REQUIRE(eventually(
        [&] {
            std::ifstream file(pid_file);
            return static_cast<bool>(file >> tool);
        },
        20s));
    BOOST_TEST(::kill(tool, 0) == 0);

    own.stop();

    BOOST_TEST(eventually([&] { return ::kill(tool, 0) != 0; }, 5s));
}
