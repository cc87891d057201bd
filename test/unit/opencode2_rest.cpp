#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/protocol/v2/answers.hpp>
#include <holdfast/opencode/protocol/v2/requests.hpp>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <string>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;

namespace {

const v2::dialect& current = v2::current_dialect();
const v2::dialect& early = v2::early_dialect();
const v2::dialect& preview = v2::preview_dialect();

std::string line(const v2::request& r) {
    return r.method + ' ' + r.target + (r.body.empty() ? "" : ' ' + r.body);
}
std::string line(const result<v2::request>& r) {
    return r ? line(*r) : std::string(r.error().code.message()) + ": " + r.error().message;
}

boost::json::value json(std::string_view text) {
    return boost::json::parse(text);
}

} // namespace

// --- which spelling

BOOST_AUTO_TEST_CASE(the_route_that_tells_the_version_tells_the_dialect) {
    BOOST_TEST((v2::find_dialect("/api/info", "2.0.26") == &current));
    BOOST_TEST((v2::find_dialect("/api/info", "2.1.0-beta") == &current));
    BOOST_TEST((v2::find_dialect("/api/health", "2.0.3") == &early));
    BOOST_TEST((v2::find_dialect("/api/health", "2.0.0-lab") == &preview));
    BOOST_TEST((v2::find_dialect("/global/health", "2.0.3") == nullptr));
    BOOST_TEST((v2::find_dialect("/api/info", "1.18.33") == nullptr));
    BOOST_TEST((v2::find_dialect("/api/info", "3.0.0") == nullptr));
}

BOOST_AUTO_TEST_CASE(routes_are_spelt_as_the_server_spells_them) {
    struct row {
        std::string in_current, in_early, in_preview, expected_current, expected_early, expected_preview;
    };
    const row rows[] = {
        {line(v2::identity(current)), line(v2::identity(early)), line(v2::identity(preview)), "GET /api/info",
         "GET /api/health", "GET /api/health"},
        {line(v2::inbox(current, "ses_1")), line(v2::inbox(early, "ses_1")),
         line(v2::inbox(preview, "ses_1")), "GET /api/session/ses_1/inbox", "GET /api/session/ses_1/inbox",
         "GET /api/session/ses_1/pending"},
        {line(v2::forms_in(current, "/p q")), line(v2::forms_in(early, "")), line(v2::forms_in(preview, "")),
         "GET /api/form?location%5Bdirectory%5D=%2Fp%20q", "GET /api/form/request", "GET /api/form/request"},
        {line(v2::cancel_form(current, "ses_1", "frm_1")), line(v2::cancel_form(early, "ses_1", "frm_1")),
         line(v2::cancel_form(preview, "ses_1", "frm_1")), "DELETE /api/session/ses_1/form/frm_1",
         "POST /api/session/ses_1/form/frm_1/cancel", "POST /api/session/ses_1/form/frm_1/cancel"},
        {line(v2::reply_permission(current, "ses_1", "per_1", "once", "")),
         line(v2::reply_permission(early, "ses_1", "per_1", "reject", "no \"way\"")),
         line(v2::reply_permission(preview, "ses_1", "per_1", "always", "")),
         R"(POST /api/session/ses_1/permission/per_1/reply {"decision":"once"})",
         R"(POST /api/session/ses_1/permission/per_1/reply {"reply":"reject","message":"no \"way\""})",
         R"(POST /api/session/ses_1/permission/per_1/reply {"reply":"always"})"},
        {line(v2::rename(current, "ses_1", "T")), line(v2::rename(early, "ses_1", "T")),
         line(v2::rename(preview, "ses_1", "T")), R"(PATCH /api/session/ses_1 {"title":"T"})",
         R"(POST /api/session/ses_1/rename {"title":"T"})",
         R"(POST /api/session/ses_1/rename {"title":"T"})"},
        {line(v2::cancel_queued(current, "ses_1", "msg_1")), line(v2::cancel_queued(early, "ses_1", "msg_1")),
         line(v2::cancel_queued(preview, "ses_1", "msg_1")), "DELETE /api/session/ses_1/inbox/msg_1",
         "DELETE /api/session/ses_1/inbox/msg_1", line(v2::cancel_queued(preview, "ses_1", "msg_1"))},
    };
    for (const auto& each : rows) {
        BOOST_TEST(each.in_current == each.expected_current);
        BOOST_TEST(each.in_early == each.expected_early);
        BOOST_TEST(each.in_preview == each.expected_preview);
    }
    const auto refused = v2::cancel_queued(preview, "ses_1", "msg_1");
    BOOST_TEST_REQUIRE(refused.has_error());
    BOOST_TEST((refused.error().code == errc::unsupported_version));
    BOOST_TEST(refused.error().message.ends_with("a preview of 2.0 cannot cancel a prompt that waits"),
               refused.error().message);
}

BOOST_AUTO_TEST_CASE(what_every_2_x_spells_alike) {
    v2::new_session made;
    BOOST_TEST(line(v2::create(made)) == "POST /api/session {}");
    made = {"T", "plan", "mock/a/b", "/p"};
    BOOST_TEST(
        line(v2::create(made)) ==
        R"(POST /api/session {"title":"T","agent":"plan","model":{"id":"a/b","providerID":"mock"},"location":{"directory":"/p"}})");
    made = {"", "", "mock", ""};
    BOOST_TEST(line(v2::create(made)) == R"(POST /api/session {"model":{"id":"","providerID":"mock"}})");
    made.model.clear();
    made.parent = "ses_0";
    BOOST_TEST(line(v2::create(made)) == R"(POST /api/session {"parentID":"ses_0"})");
    BOOST_TEST(line(v2::list("", 0, false)) == "GET /api/session");
    BOOST_TEST(line(v2::children("ses_1", 7)) == "GET /api/session?parentID=ses_1&limit=7");
    BOOST_TEST(v2::children("..", 7).has_error());
    BOOST_TEST(line(v2::set_agent("ses_1", "plan")) == R"(POST /api/session/ses_1/agent {"agent":"plan"})");
    BOOST_TEST(line(v2::set_model("ses_1", "mock/a", "high")) ==
               R"(POST /api/session/ses_1/model {"model":{"id":"a","providerID":"mock","variant":"high"}})");
    BOOST_TEST(line(v2::list("/a b", 7, true)) ==
               "GET /api/session?limit=7&directory=%2Fa%20b&parentID=null");
    BOOST_TEST(line(v2::active()) == "GET /api/session/active");
    BOOST_TEST(line(v2::get("ses_1")) == "GET /api/session/ses_1");
    BOOST_TEST(line(v2::remove("ses_1")) == "DELETE /api/session/ses_1");
    BOOST_TEST(line(v2::interrupt("ses_1")) == "POST /api/session/ses_1/interrupt");
    BOOST_TEST(line(v2::message("ses_1", "msg_1")) == "GET /api/session/ses_1/message/msg_1");
    BOOST_TEST(line(v2::permissions("ses_1")) == "GET /api/session/ses_1/permission");
    BOOST_TEST(line(v2::permissions_in("")) == "GET /api/permission/request");
    BOOST_TEST(line(v2::forms("ses_1")) == "GET /api/session/ses_1/form");
    BOOST_TEST(line(v2::prompt("ses_1", {"msg_1", "a\xff", "", true})) ==
               "POST /api/session/ses_1/prompt {\"id\":\"msg_1\",\"text\":\"a\xef\xbf\xbd\"}");
    BOOST_TEST(line(v2::prompt("ses_1", {"", "x", "queue", false})) ==
               R"(POST /api/session/ses_1/prompt {"text":"x","delivery":"queue","resume":false})");
}

BOOST_AUTO_TEST_CASE(messages_are_asked_for_by_page) {
    v2::message_query which;
    BOOST_TEST(line(v2::messages("ses_1", which)) == "GET /api/session/ses_1/message?limit=200&order=desc");
    which.limit = 1000;
    which.ascending = true;
    BOOST_TEST(line(v2::messages("ses_1", which)) == "GET /api/session/ses_1/message?limit=200&order=asc");
    which.cursor = "a/b=";
    which.limit = 0;
    BOOST_TEST(line(v2::messages("ses_1", which)) ==
               "GET /api/session/ses_1/message?limit=1&cursor=a%2Fb%3D");
}

BOOST_AUTO_TEST_CASE(a_form_is_answered_under_its_keys) {
    v2::form asked;
    asked.request.id = "frm_1";
    asked.request.session_id = "ses_1";
    asked.keys = {"q0", "q1", "q2"};
    BOOST_TEST(line(v2::reply_form(asked, {{"Blue"}, {"a", "b"}, {}})) ==
               R"(POST /api/session/ses_1/form/frm_1/reply {"answer":{"q0":"Blue","q1":["a","b"]}})");
    BOOST_TEST(line(v2::reply_form(asked, {})) ==
               R"(POST /api/session/ses_1/form/frm_1/reply {"answer":{}})");
}

BOOST_AUTO_TEST_CASE(an_id_that_would_lead_elsewhere_is_not_sent) {
    for (const auto& id : {std::string(), std::string("."), std::string(".."), std::string(300, 'x')}) {
        for (const auto& r : {v2::get(id), v2::interrupt(id), v2::message("ses_1", id),
                              v2::cancel_form(current, "ses_1", id), v2::cancel_queued(current, "ses_1", id),
                              v2::reply_permission(current, "ses_1", id, "once", "")}) {
            BOOST_TEST_REQUIRE(r.has_error());
            BOOST_TEST((r.error().code == errc::invalid_request));
        }
    }
    BOOST_TEST(line(v2::get("a/../b")) == "GET /api/session/a%2F..%2Fb");
}

// --- what comes back

BOOST_AUTO_TEST_CASE(a_session_is_read_with_its_last_outcome) {
    const auto plain = v2::parse_session(json(
        R"({"data":{"id":"ses_1","projectID":"global","time":{"created":1,"updated":2},"location":{"directory":"/p"}}})"));
    BOOST_TEST_REQUIRE(plain.has_value());
    BOOST_TEST(plain->info.id == "ses_1");
    BOOST_TEST(plain->info.directory == "/p");
    BOOST_TEST(plain->info.updated_ms == 2);
    BOOST_TEST(plain->outcome == "");
    BOOST_TEST(plain->idle_ms == 0);
    const auto list = v2::parse_sessions(json(
        R"({"data":[{"id":"ses_1","parentID":"ses_0","title":"T","outcome":"failed","time":{"idle":9,"archived":3}}],"cursor":{}})"));
    BOOST_TEST_REQUIRE(list.has_value());
    BOOST_TEST(list->front().info.parent_id == "ses_0");
    BOOST_TEST(list->front().outcome == "failed");
    BOOST_TEST(list->front().idle_ms == 9);
    BOOST_TEST((list->front().info.archived_ms == 3));
    BOOST_TEST(v2::parse_session(json(R"({"data":{}})")).error().message.ends_with("data.id"));
    BOOST_TEST(
        v2::parse_sessions(json(R"({"data":[{"id":"s"},{}]})")).error().message.ends_with("data[1].id"));
    BOOST_TEST(v2::parse_sessions(json("{}")).error().message.ends_with("data"));
}

BOOST_AUTO_TEST_CASE(who_is_active_and_what_waits) {
    const auto active = v2::parse_active(json(R"({"data":{"ses_1":{"type":"running"},"..":{}}})"));
    BOOST_TEST_REQUIRE(active.has_value());
    BOOST_TEST((*active == std::set<std::string>{"ses_1"}));
    BOOST_TEST(v2::parse_active(json(R"({"data":[]})")).has_error());
    const auto waits = v2::parse_inbox(json(
        R"({"data":[{"id":"msg_1","sessionID":"ses_1","timeCreated":1,"type":"user","data":{"text":"q"},"delivery":"queue"}]})"));
    BOOST_TEST_REQUIRE(waits.has_value());
    BOOST_TEST((waits->front() == v2::inbox_item{"msg_1", v2::input_kind::prompt, "queue"}));
    BOOST_TEST(*v2::parse_accepted(json(R"({"data":{"id":"msg_1","type":"user"}})")) == "msg_1");
    BOOST_TEST(v2::parse_accepted(json("{}")).has_error());
    BOOST_TEST(v2::parse_interrupted(json("null")));
    BOOST_TEST(v2::parse_interrupted(json(R"({"interrupted":true})")));
    BOOST_TEST(!v2::parse_interrupted(json(R"({"interrupted":false})")));
}

BOOST_AUTO_TEST_CASE(messages_are_read_with_their_parts_by_kind_and_ordinal) {
    const auto page = v2::parse_messages(json(R"({"data":[
        {"id":"msg_u","time":{"created":1},"text":"x","type":"user"},
        {"id":"msg_a","time":{"created":2,"completed":5},"type":"assistant","finish":"error","cost":1,
         "tokens":{"input":3},"error":{"type":"aborted","message":"Step interrupted"},
         "content":[{"type":"reasoning","text":"r"},{"type":"text","text":"a"},{"type":"text","text":"b"},
           {"type":"tool","id":"call_1","name":"shell","state":{"status":"error","error":{"message":"declined"}}},
           {"type":"tool","id":"call_2","name":"shell","state":{"status":"streaming"}},
           {"type":"tool"},{"type":"picture"}]},
        {"id":"idl_1","type":"idle","outcome":"failed","error":{"type":"x","message":"y"}},
        {"id":"msg_s","type":"synthetic"},{"id":"msg_c","type":"compaction"}],
        "cursor":{"previous":"p","next":"n"}})"));
    BOOST_TEST_REQUIRE(page.has_value());
    BOOST_TEST(page->previous == "p");
    BOOST_TEST(page->next == "n");
    BOOST_TEST_REQUIRE(page->rows.size() == 5u);
    using kind = v2::message_row::kind;
    for (const auto& [at, what] :
         {std::pair(0, kind::prompt), std::pair(1, kind::answer), std::pair(2, kind::idle),
          std::pair(3, kind::synthetic), std::pair(4, kind::other)})
        BOOST_TEST((page->rows[static_cast<std::size_t>(at)].what == what), at);
    const auto& a = page->rows[1];
    BOOST_TEST((a.completed_ms == 5));
    BOOST_TEST(a.finish == "error");
    BOOST_TEST((a.error == api_error{"aborted", "Step interrupted", 0}));
    BOOST_TEST(a.tokens.input == 3u);
    BOOST_TEST(a.cost == 1.0);
    using part = v2::message_part;
    BOOST_TEST_REQUIRE(a.parts.size() == 5u);
    BOOST_TEST((a.parts[0] == part{part::kind::reasoning, 0, "r", {}, {}, {}, {}}));
    BOOST_TEST((a.parts[1] == part{part::kind::text, 0, "a", {}, {}, {}, {}}));
    BOOST_TEST((a.parts[2] == part{part::kind::text, 1, "b", {}, {}, {}, {}}));
    BOOST_TEST((a.parts[3] == part{part::kind::tool, 0, {}, "call_1", "shell", "error", "declined"}));
    BOOST_TEST(a.parts[4].state == "pending");
    BOOST_TEST(page->rows[2].outcome == "failed");
    BOOST_TEST(v2::parse_message(json(R"({"data":{"id":"msg_u","type":"user"}})"))->id == "msg_u");
    BOOST_TEST(
        v2::parse_messages(json(R"({"data":[{"id":"m"}]})")).error().message.ends_with("data[0].type"));
}

BOOST_AUTO_TEST_CASE(approvals_are_listed) {
    const auto asked =
        v2::parse_permissions(json(R"({"data":[{"id":"per_1","sessionID":"ses_1","action":"edit"}]})"));
    BOOST_TEST_REQUIRE(asked.has_value());
    BOOST_TEST(asked->front().permission == "edit");
    const auto forms = v2::parse_forms(
        json(R"({"data":[{"id":"frm_1","sessionID":"ses_1","fields":[{"key":"q0","type":"string"}]}]})"));
    BOOST_TEST_REQUIRE(forms.has_value());
    BOOST_TEST(forms->front().keys.front() == "q0");
}

BOOST_AUTO_TEST_CASE(an_error_says_what_it_means) {
    const std::pair<const char*, v2::refusal> rows[] = {
        {R"({"_tag":"SessionNotFoundError","sessionID":"ses_nope","message":"Session not found"})",
         v2::refusal::no_session},
        {R"({"_tag":"MessageNotFoundError"})", v2::refusal::no_message},
        {R"({"_tag":"PermissionNotFoundError"})", v2::refusal::no_request},
        {R"({"_tag":"FormNotFoundError"})", v2::refusal::no_request},
        {R"({"_tag":"FormAlreadySettledError"})", v2::refusal::answered},
        {R"({"_tag":"ConflictError","resource":"msg_1"})", v2::refusal::conflict},
        {R"({"_tag":"InvalidRequestError","kind":"Payload"})", v2::refusal::invalid},
        {R"({"_tag":"FormInvalidAnswerError"})", v2::refusal::invalid},
        {R"({"_tag":"LocationNotFoundError"})", v2::refusal::invalid},
        {R"({"_tag":"UnauthorizedError","message":"Authentication required"})", v2::refusal::unauthorized},
        {R"({"code":"service_starting"})", v2::refusal::starting},
        {R"({"code":"service_stopping"})", v2::refusal::starting},
        {R"({"code":"service_failed"})", v2::refusal::broken},
        {R"({"_tag":"SomethingNew"})", v2::refusal::unknown},
        {"", v2::refusal::unknown},
        {"<html>", v2::refusal::unknown},
        {"[]", v2::refusal::unknown},
    };
    for (const auto& [body, means] : rows)
        BOOST_TEST(v2::to_string(v2::parse_refusal(body)) == v2::to_string(means), body);
}
