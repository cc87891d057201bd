// The simulated server of 2.x: which server it says it is, who may speak to it, its stream and its routes.
#include <boost/test/unit_test.hpp>

#include "support/sim2_player.hpp"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace json = boost::json;
using namespace holdfast;
using namespace std::chrono_literals;
using namespace test;

namespace {

opencode_sim::options of_version(std::string version) {
    opencode_sim::options settings;
    settings.version = std::move(version);
    return settings;
}

std::string content_type(const response& r) {
    const auto at = r.head.find("Content-Type: ");
    return at == std::string::npos ? "" : r.head.substr(at + 14, r.head.find("\r\n", at) - at - 14);
}

/// "200 application/json".
std::string probe(player_2& p, std::string_view target) {
    const auto r = p.call("GET", target);
    return std::to_string(r.status) + (r.body.empty() ? "" : " " + content_type(r));
}

std::string tag_of(const response& r) {
    return r.body.empty() ? "" : text(r.parsed().at("_tag"));
}

} // namespace

// Which server it is: section 1.

BOOST_AUTO_TEST_CASE(a_current_server_tells_its_version_at_info_and_serves_pages_elsewhere) {
    player_2 p;
    BOOST_TEST(probe(p, "/api/info") == "200 application/json");
    BOOST_TEST(text(p.get("/api/info").at("version")) == "2.0.26");
    BOOST_TEST(probe(p, "/api/health") == "404");
    BOOST_TEST(probe(p, "/global/health") == "200 text/html");
    BOOST_TEST(p.call("POST", "/session").status == 405);
}

BOOST_AUTO_TEST_CASE(an_early_server_tells_its_version_at_health_and_serves_pages) {
    player_2 p(of_version("2.0.3"));
    BOOST_TEST(probe(p, "/api/info") == "404");
    BOOST_TEST(text(p.get("/api/health").at("version")) == "2.0.3");
    BOOST_TEST(probe(p, "/global/health") == "200 text/html");
}

BOOST_AUTO_TEST_CASE(a_preview_tells_its_version_at_health_and_has_no_pages) {
    player_2 p(of_version("2.0.0-lab"));
    BOOST_TEST(probe(p, "/api/info") == "404");
    BOOST_TEST(text(p.get("/api/health").at("version")) == "2.0.0-lab");
    BOOST_TEST(probe(p, "/global/health") == "404");
}

BOOST_AUTO_TEST_CASE(after_a_restart_the_port_accepts_then_says_that_it_starts_then_answers) {
    opencode_sim::options settings;
    settings.restart_down = 500ms;
    settings.startup_hang = 700ms;
    settings.starting = 300ms;
    player_2 p(settings);
    p.sim.restart(p.now);
    p.pump();
    p.run_for(100ms);
    BOOST_TEST(!p.sim.listening());
    p.run_for(500ms);
    const auto trapped = p.start_call("GET", "/api/info");
    p.run_for(650ms);
    const auto starting = p.call("GET", "/api/session/active");
    BOOST_TEST(starting.status == 503);
    BOOST_TEST(text(starting.parsed().at("code")) == "service_starting");
    BOOST_TEST((starting.head.find("Retry-After: 1") != std::string::npos));
    BOOST_TEST(p.call("GET", "/api/info").status == 503);
    p.run_for(300ms);
    BOOST_TEST(p.call("GET", "/api/info").status == 200);
    BOOST_TEST(p.wires[trapped].bytes == "");
}

BOOST_AUTO_TEST_CASE(another_program_may_start_at_the_same_port) {
    opencode_sim::options settings;
    player_2 two(settings);
    two.begin("#plain");
    two.plain_end();
    two.sim.upgrade(1, "1.18.33");
    two.restart();
    BOOST_TEST(probe(two, "/global/health") == "200 application/json");
    two.sim.upgrade(2, "2.0.3");
    two.restart();
    BOOST_TEST(text(two.get("/api/health").at("version")) == "2.0.3");
    BOOST_TEST(two.data(two.path(two.session)).at("id").as_string() == two.session);
    two.sim.upgrade(2, "2.0.26");
    two.restart();
    BOOST_TEST(text(two.get("/api/info").at("version")) == "2.0.26");
}

// Authentication: section 2.

BOOST_AUTO_TEST_CASE(a_password_is_asked_for_under_api_and_never_for_the_pages) {
    auto settings = of_version("");
    settings.password = "secret";
    settings.username = "somebody"; // of 1.x
    player_2 p(settings);
    const auto none = p.call("GET", "/api/info");
    BOOST_TEST(none.status == 401);
    BOOST_TEST(tag_of(none) == "UnauthorizedError");
    BOOST_TEST((none.head.find("WWW-Authenticate: Basic realm=\"Secure Area\"") != std::string::npos));
    BOOST_TEST(probe(p, "/global/health") == "200 text/html");
    const auto with = [&](std::string_view user_and_password_in_base64) {
        return p
            .call("GET", "/api/info", {},
                  "Authorization: Basic " + std::string(user_and_password_in_base64) + "\r\n")
            .status;
    };
    BOOST_TEST(with("b3BlbmNvZGU6c2VjcmV0") == 200);     // opencode:secret
    BOOST_TEST(with("c29tZWJvZHk6c2VjcmV0") == 401);     // somebody:secret
    BOOST_TEST(with("b3BlbmNvZGU6bm90aGluZw==") == 401); // opencode:nothing
    BOOST_TEST(p.call("GET", "/api/info?auth_token=b3BlbmNvZGU6c2VjcmV0").status == 200);
    player_2 preview([&] {
        auto s = settings;
        s.version = "2.0.0-lab";
        return s;
    }());
    BOOST_TEST(preview.call("GET", "/api/health").body == "");
}

// The stream: section 3.

BOOST_AUTO_TEST_CASE(a_stream_is_greeted_and_comments_tell_that_it_lives) {
    player_2 p;
    p.listen();
    p.run_for(46s);
    const auto body = stream_body(p.wires[p.stream]);
    BOOST_TEST(body.starts_with("data: {\"id\":\"evt_"));
    BOOST_TEST(body.find("\"type\":\"server.connected\",\"data\":{}}\n\n: heartbeat\n\n") !=
               std::string::npos);
    std::size_t beats = 0;
    for (auto at = body.find(": heartbeat"); at != std::string::npos; at = body.find(": heartbeat", at + 1))
        ++beats;
    BOOST_TEST(beats == 4u); // at once, and every 15 s
    BOOST_TEST(p.events(p.stream).size() == 1u);
}

BOOST_AUTO_TEST_CASE(one_stream_carries_every_directory_and_executions_name_none) {
    player_2 p;
    p.listen();
    p.begin("#plain", {}, R"({"location":{"directory":"/one"}})");
    p.begin("#plain", {}, R"({"location":{"directory":"/two"}})");
    p.plain_end();
    std::set<std::string> places;
    for (const auto& e : p.events(p.stream)) {
        const auto type = text(e.at("type"));
        const bool is_placeless = type.starts_with("session.execution.") || type == "session.usage.updated" ||
                                  type == "server.connected";
        BOOST_TEST(e.contains("location") == !is_placeless, type);
        if (e.contains("location"))
            places.insert(text(e.at("location").at("directory")));
    }
    BOOST_TEST(places.size() == 2u);
}

BOOST_AUTO_TEST_CASE(the_numbers_of_a_sessions_log_grow_and_have_a_hole_at_its_title) {
    player_2 p;
    p.listen();
    p.begin("#plain");
    p.plain_end();
    std::vector<std::int64_t> numbers;
    for (const auto& e : p.events(p.stream))
        if (e.contains("durable"))
            numbers.push_back(e.at("durable").at("seq").as_int64());
    BOOST_TEST(std::is_sorted(numbers.begin(), numbers.end()));
    BOOST_TEST(numbers.front() == 0);
    BOOST_TEST(numbers.back() == static_cast<std::int64_t>(numbers.size()));
}

BOOST_AUTO_TEST_CASE(nothing_is_told_twice_to_who_comes_back) {
    player_2 p;
    p.listen();
    p.begin("#slow:20");
    p.until_seen("session.text.delta", 5);
    p.sim.cut_streams(p.now);
    p.pump();
    BOOST_TEST(p.wires[p.stream].closed);
    p.listen();
    p.plain_end();
    BOOST_TEST(p.told() == "ended:stop succeeded");
}

BOOST_AUTO_TEST_CASE(a_reader_that_is_too_slow_gets_the_last_chunk_and_keeps_its_connection) {
    opencode_sim::options settings;
    settings.faults = {*testing::parse_fault("drop@2000")};
    player_2 p(settings);
    p.listen();
    p.begin("#slow:200");
    p.run_for(20s);
    const auto& wire = p.wires[p.stream];
    BOOST_TEST(wire.bytes.ends_with("0\r\n\r\n"));
    BOOST_TEST(!wire.closed);
    BOOST_TEST(p.told().find("succeeded") == std::string::npos);
    BOOST_TEST(!p.is_active());
    p.listen();
    p.sim.end_streams(p.now);
    p.pump();
    BOOST_TEST(p.wires[p.stream].bytes.ends_with("0\r\n\r\n"));
}

// Routes: section 4.

BOOST_AUTO_TEST_CASE(a_session_is_made_found_renamed_and_deleted) {
    player_2 p;
    p.listen();
    p.session = p.create_2(R"({"title":"T","location":{"directory":"/p/sub/.."}})");
    const auto info = p.data(p.path(p.session));
    BOOST_TEST(text(info.at("title")) == "T");
    BOOST_TEST(text(info.at("location").at("directory")) == "/p/sub/.."); // as it was given
    BOOST_TEST(p.call("PATCH", p.path(p.session), R"({"title":"U"})").status == 204);
    BOOST_TEST(text(p.data(p.path(p.session)).at("title")) == "U");
    BOOST_TEST(p.data("/api/session?directory=%2Fp%2Fsub%2F..").as_array().size() == 1u);
    BOOST_TEST(p.data("/api/session?directory=%2Fother").as_array().empty());
    BOOST_TEST(p.call("DELETE", p.path(p.session)).status == 204);
    BOOST_TEST(tag_of(p.call("GET", p.path(p.session))) == "SessionNotFoundError");
    BOOST_TEST(p.told() == "deleted");
}

BOOST_AUTO_TEST_CASE(the_list_of_sessions_can_leave_children_out) {
    player_2 p;
    p.begin("#task");
    p.plain_end();
    BOOST_TEST(p.data("/api/session").as_array().size() == 2u);
    BOOST_TEST(p.data("/api/session?parentID=null").as_array().size() == 1u);
    BOOST_TEST(p.data("/api/session?limit=1").as_array().size() == 1u);
}

BOOST_AUTO_TEST_CASE(errors_have_a_tag_and_unknown_paths_an_empty_body) {
    player_2 p;
    p.session = p.create_2();
    const auto prompt = p.path(p.session, "/prompt");
    BOOST_TEST(tag_of(p.call("POST", prompt, R"({"id":"hello","text":"x"})")) == "InvalidRequestError");
    BOOST_TEST(tag_of(p.call("POST", prompt, "{}")) == "InvalidRequestError");
    BOOST_TEST(tag_of(p.call("POST", prompt, R"({"text":"x","delivery":"nope"})")) == "InvalidRequestError");
    BOOST_TEST(p.call("POST", prompt, "{bad json").status == 400);
    BOOST_TEST(p.call("GET", "/api/session/xyz").status == 400);
    BOOST_TEST(tag_of(p.call("GET", "/api/session/ses_nope")) == "SessionNotFoundError");
    BOOST_TEST(tag_of(p.call("GET", p.path(p.session, "/message/msg_nope"))) == "MessageNotFoundError");
    BOOST_TEST(tag_of(p.call("POST", p.path(p.session, "/permission/per_nope/reply"), "{}")) ==
               "PermissionNotFoundError");
    BOOST_TEST(tag_of(p.call("DELETE", p.path(p.session, "/form/frm_nope"))) == "FormNotFoundError");
    BOOST_TEST(p.call("GET", "/api/nosuch").status == 404);
    BOOST_TEST(p.call("GET", "/api/nosuch").body == "");
}

BOOST_AUTO_TEST_CASE(a_directory_that_is_not_there_takes_sessions_and_no_prompts) {
    opencode_sim::options settings;
    settings.unreadable = {"/gone"};
    player_2 p(settings);
    const auto id = p.create_2(R"({"location":{"directory":"/gone"}})");
    BOOST_TEST(tag_of(p.post(id, "#plain")) == "LocationNotFoundError");
    settings.version = "2.0.0-lab";
    player_2 preview(settings);
    const auto other = preview.create_2(R"({"location":{"directory":"/gone"}})");
    BOOST_TEST(preview.post(other, "#plain").status == 500);
    BOOST_TEST(preview.call("POST", "/api/session", R"({"location":{"directory":"relative"}})").status ==
               500);
}

BOOST_AUTO_TEST_CASE(messages_come_in_pages_each_with_a_cursor_and_the_newest_first) {
    player_2 p(of_version("2.0.0-lab"));
    p.begin("#plain");
    p.plain_end();
    p.post(p.session, "#plain");
    p.plain_end();
    std::vector<std::string> ids;
    auto page = p.get(p.path(p.session, "/message?limit=3"));
    while (!page.at("data").as_array().empty()) {
        for (const auto& row : page.at("data").as_array())
            ids.push_back(text(row.at("id")));
        page = p.get(p.path(p.session, "/message?limit=3&cursor=") + text(page.at("cursor").at("next")));
    }
    BOOST_TEST(page.at("cursor").at("next").is_null());
    auto all = std::vector<std::string>();
    for (const auto& row : p.rows())
        all.insert(all.begin(), text(row.at("id")));
    BOOST_TEST(ids == all, boost::test_tools::per_element());
    BOOST_TEST(p.call("GET", p.path(p.session, "/message?cursor=x")).status == 400);
}

BOOST_AUTO_TEST_CASE(an_early_server_has_the_inbox_and_the_older_spellings_of_the_rest) {
    player_2 p(of_version("2.0.3"));
    p.decision = "reply";
    p.listen();
    p.begin("#ask");
    BOOST_TEST(p.reply("once").status == 204);
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step asked replied:once tool ended:tool-calls step "
                           "ended:stop succeeded");
    BOOST_TEST(p.row_words() == "user assistant:tool-calls assistant:stop"); // no idle rows
    BOOST_TEST(p.interrupt(p.session).status == 204);
    BOOST_TEST(p.call("PATCH", p.path(p.session), "{}").status == 404);
    BOOST_TEST(p.call("POST", p.path(p.session, "/rename"), R"({"title":"T"})").status == 204);
    BOOST_TEST(p.call("GET", p.path(p.session, "/inbox")).status == 200);
}

BOOST_AUTO_TEST_CASE(faults_of_requests_befall_a_server_of_2_x_too) {
    opencode_sim::options settings;
    settings.faults = {*testing::parse_fault("drop-answer"), *testing::parse_fault("bad-json@0")};
    player_2 p(settings);
    p.session = p.create_2();
    const auto id = p.start_call("POST", p.path(p.session, "/prompt"), R"({"id":"msg_1","text":"#plain"})");
    p.run_for(2s);
    BOOST_TEST(p.wires[id].closed);
    BOOST_TEST(p.wires[id].bytes == "");
    BOOST_TEST(p.row_words() == "user assistant:stop idle:succeeded");
}
