// Calls to a 2.x server: what is sent, in which order a snapshot is taken, and what becomes of errors.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/scripted_server.hpp"

#include <holdfast/opencode/protocol/v2/client.hpp>

#include <map>
#include <string>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;

namespace {

std::string json_answer(std::string_view body, int status = 200) {
    return test::response(status, "application/json", body);
}

/// Answers "METHOD path" with what is written for it, without the query; any other with an empty 404.
struct server_of_2 : test::in_simulated_world, testing::simulated_server {
    const endpoint where{"http", "127.0.0.1", 4096};
    std::map<std::string, std::vector<std::string>> answers; ///< in turn; the last stays
    std::vector<std::string> asked;

    server_of_2() {
        world.net().listen(where, *this);
        says("GET /api/session/ses_1/inbox", R"({"data":[{"id":"msg_q","type":"user","delivery":"queue"}]})");
        says("GET /api/session/ses_1/message",
             R"({"data":[{"id":"msg_a","type":"assistant"},{"id":"msg_u","type":"user"}]})");
        says(
            "GET /api/session/active",
            R"({"data":{"ses_1":{"type":"running"},"ses_2":{"type":"running"},"ses_3":{"type":"running"}}})");
        for (const char* each : {"ses_1", "ses_2"}) {
            says(std::string("GET /api/session/") + each + "/permission", R"({"data":[]})");
            says(std::string("GET /api/session/") + each + "/form", R"({"data":[]})");
        }
    }
    void says(const std::string& to, std::string_view body, int status = 200) {
        answers[to] = {json_answer(body, status)};
    }
    void accepted(testing::wire_id) override {}
    void closed(testing::wire_id) override {}
    void received(testing::wire_id wire, std::string_view bytes) override {
        const auto line = std::string(bytes.substr(0, bytes.find(" HTTP")));
        const auto body = bytes.substr(bytes.find("\r\n\r\n") + 4);
        asked.push_back(line + (body.empty() ? "" : ' ' + std::string(body)));
        const bool is_json = bytes.find("\r\nContent-Type: application/json\r\n") != std::string_view::npos;
        BOOST_TEST(is_json == !body.empty(), bytes);
        auto& script = answers[line.substr(0, line.find('?'))];
        world.net().send(wire, script.empty() ? test::response(404, "", "") : script.front());
        if (script.size() > 1)
            script.erase(script.begin());
    }
    [[nodiscard]] v2::client client(const v2::dialect& spoken = v2::current_dialect()) {
        return {opencode::client(world.rt(), http::parse_url(to_string(where)).value(), {}), spoken};
    }
    [[nodiscard]] v2::snapshot_query query() const {
        v2::snapshot_query q;
        q.session = "ses_1";
        return q;
    }
};

using lines = std::vector<std::string>;

} // namespace

CO_TEST_CASE(a_snapshot_reads_who_is_active_behind_the_messages, server_of_2) {
    auto q = query();
    q.prompts = {"msg_u", "msg_q"};
    q.children = {"ses_2", "ses_3"}; // the second is gone
    const auto seen = co_await client().take_snapshot(q);
    BOOST_TEST_REQUIRE(seen.has_value());
    BOOST_TEST(seen->session_known);
    BOOST_TEST(seen->active);
    BOOST_TEST(seen->inbox.front().id == "msg_q");
    BOOST_TEST_REQUIRE(seen->rows.size() == 2u);
    BOOST_TEST(seen->rows.front().id == "msg_u");
    BOOST_TEST(
        asked == (lines{"GET /api/session/ses_1/inbox", "GET /api/session/ses_1/message?limit=200&order=desc",
                        "GET /api/session/active", "GET /api/session/ses_1/permission",
                        "GET /api/session/ses_1/form", "GET /api/session/ses_2/permission",
                        "GET /api/session/ses_2/form", "GET /api/session/ses_3/permission"}),
        boost::test_tools::per_element());
}

CO_TEST_CASE(messages_are_fetched_back_to_the_open_prompts_within_a_limit, server_of_2) {
    answers["GET /api/session/ses_1/message"] = {
        json_answer(R"({"data":[{"id":"msg_3","type":"assistant"}],"cursor":{"next":"c1"}})"),
        json_answer(R"({"data":[{"id":"msg_2","type":"user"}],"cursor":{"next":"c2"}})"),
        json_answer(R"({"data":[{"id":"msg_1","type":"user"}],"cursor":{"next":"c3"}})")};
    auto q = query();
    q.prompts = {"msg_2"};
    const auto seen = co_await client().take_snapshot(q);
    BOOST_TEST_REQUIRE(seen.has_value());
    BOOST_TEST(seen->rows.size() == 2u);
    BOOST_TEST(seen->rows.front().id == "msg_2");
    q.prompts = {"msg_unknown"};
    q.max_pages = 3;
    const auto bounded = co_await client().take_snapshot(q);
    BOOST_TEST_REQUIRE(bounded.has_value());
    BOOST_TEST(bounded->rows.size() == 3u);
}

CO_TEST_CASE(a_session_that_is_not_there_is_a_snapshot_that_says_so, server_of_2) {
    says("GET /api/session/ses_1/inbox",
         R"({"_tag":"SessionNotFoundError","message":"Session not found: ses_1"})", 404);
    const auto seen = co_await client().take_snapshot(query());
    BOOST_TEST_REQUIRE(seen.has_value());
    BOOST_TEST(!seen->session_known);
}

CO_TEST_CASE(a_snapshot_that_cannot_be_read_is_a_failure, server_of_2) {
    for (const char* route :
         {"GET /api/session/ses_1/inbox", "GET /api/session/ses_1/message", "GET /api/session/active",
          "GET /api/session/ses_1/permission", "GET /api/session/ses_1/form"}) {
        const auto right = answers[route];
        says(route, "{}");
        const auto odd = co_await client().take_snapshot(query());
        BOOST_TEST_REQUIRE(odd.has_error(), route);
        BOOST_TEST((odd.error().code == errc::missing_field), odd.error().message);
        says(route, R"({"code":"service_stopping"})", 500);
        const auto failed = co_await client().take_snapshot(query());
        BOOST_TEST_REQUIRE(failed.has_error(), route);
        BOOST_TEST(failed.error().status == 500);
        answers[route] = right;
    }
    says("GET /api/session/ses_2/form", "{}", 500);
    auto q = query();
    q.children = {"ses_2"};
    const auto child = co_await client().take_snapshot(q);
    BOOST_TEST(child.has_error());
}

CO_TEST_CASE(a_prompt_is_stored_under_its_own_id, server_of_2) {
    says("POST /api/session/ses_1/prompt", R"({"data":{"id":"msg_1","type":"user","delivery":"steer"}})");
    v2::new_prompt what;
    what.id = "msg_1";
    what.text = "hi";
    const auto stored = co_await client().prompt("ses_1", what);
    BOOST_TEST(stored.has_value());
    BOOST_TEST(asked.back() == R"(POST /api/session/ses_1/prompt {"id":"msg_1","text":"hi"})");
    what.id = "msg_2";
    const auto another = co_await client().prompt("ses_1", what);
    BOOST_TEST_REQUIRE(another.has_error());
    BOOST_TEST((another.error().code == errc::missing_field));
    says("POST /api/session/ses_1/prompt",
         R"({"_tag":"ConflictError","message":"another session's","resource":"msg_2"})", 409);
    const auto conflict = co_await client().prompt("ses_1", what);
    BOOST_TEST_REQUIRE(conflict.has_error());
    BOOST_TEST(conflict.error().status == 409);
    BOOST_TEST(conflict.error().message.ends_with("ConflictError: another session's"),
               conflict.error().message);
    says("POST /api/session/ses_1/prompt", "{}");
    const auto odd = co_await client().prompt("ses_1", what);
    BOOST_TEST(odd.has_error());
}

CO_TEST_CASE(an_interrupt_says_whether_there_was_anything_to_end, server_of_2) {
    says("POST /api/session/ses_1/interrupt", R"({"interrupted":false})");
    const auto idle = co_await client().interrupt("ses_1");
    BOOST_TEST_REQUIRE(idle.has_value());
    BOOST_TEST(!*idle);
    answers["POST /api/session/ses_1/interrupt"] = {test::response(204, "", "")};
    const auto before = co_await client(v2::preview_dialect()).interrupt("ses_1");
    BOOST_TEST_REQUIRE(before.has_value());
    BOOST_TEST(*before);
    const auto gone = co_await client().interrupt("ses_9");
    BOOST_TEST_REQUIRE(gone.has_error());
    BOOST_TEST((gone.error().code == errc::not_found));
}

CO_TEST_CASE(commands_are_spelt_in_the_servers_dialect, server_of_2) {
    const auto nothing = std::vector<std::string>{test::response(204, "", "")};
    for (const char* each :
         {"POST /api/session/ses_1/permission/per_1/reply", "POST /api/session/ses_1/form/frm_1/reply",
          "DELETE /api/session/ses_1/form/frm_1", "DELETE /api/session/ses_1/inbox/msg_q",
          "DELETE /api/session/ses_1"})
        answers[each] = nothing;
    v2::form asked_for;
    asked_for.request.id = "frm_1";
    asked_for.request.session_id = "ses_1";
    asked_for.keys = {"q0"};
    const std::vector<std::vector<std::string>> chosen{{"Blue"}};
    auto server = client();
    const auto replied = co_await server.reply_permission("ses_1", "per_1", "once", "");
    const auto answered = co_await server.reply_form(asked_for, chosen);
    const auto refused = co_await server.cancel_form("ses_1", "frm_1");
    const auto cancelled = co_await server.cancel_queued("ses_1", "msg_q");
    const auto deleted = co_await server.delete_session("ses_1");
    BOOST_TEST((replied && answered && refused && cancelled && deleted));
    BOOST_TEST(asked == (lines{R"(POST /api/session/ses_1/permission/per_1/reply {"decision":"once"})",
                               R"(POST /api/session/ses_1/form/frm_1/reply {"answer":{"q0":"Blue"}})",
                               "DELETE /api/session/ses_1/form/frm_1",
                               "DELETE /api/session/ses_1/inbox/msg_q", "DELETE /api/session/ses_1"}),
               boost::test_tools::per_element());
    asked.clear();
    const auto cannot = co_await client(v2::preview_dialect()).cancel_queued("ses_1", "msg_q");
    BOOST_TEST_REQUIRE(cannot.has_error());
    BOOST_TEST((cannot.error().code == errc::unsupported_version));
    BOOST_TEST(asked.empty());
}

CO_TEST_CASE(a_session_is_made_and_read, server_of_2) {
    says("POST /api/session", R"({"data":{"id":"ses_1","location":{"directory":"/p"}}})");
    says("GET /api/session/ses_1", R"({"data":{"id":"ses_1","outcome":"failed"}})");
    v2::new_session what;
    what.directory = "/p";
    const auto made = co_await client().create_session(what);
    BOOST_TEST_REQUIRE(made.has_value());
    BOOST_TEST(made->info.directory == "/p");
    BOOST_TEST(asked.back() == R"(POST /api/session {"location":{"directory":"/p"}})");
    const auto read = co_await client().get_session("ses_1");
    BOOST_TEST_REQUIRE(read.has_value());
    BOOST_TEST(read->outcome == "failed");
    const auto none = co_await client().get_session("ses_9");
    BOOST_TEST((none.error().code == errc::not_found));
    says("POST /api/session", R"({"_tag":"InvalidRequestError","message":"Missing key"})", 400);
    const auto refused = co_await client().create_session(what);
    BOOST_TEST(refused.error().status == 400);
}
