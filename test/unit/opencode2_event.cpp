#include <boost/test/unit_test.hpp>

#include "support/recordings.hpp"

#include <holdfast/opencode/protocol/v2/event.hpp>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <map>
#include <set>
#include <string>

using namespace holdfast;
using namespace holdfast::opencode::v2;

namespace {

std::string envelope(const std::string& type, const std::string& data) {
    return R"({"id":"evt_1","created":1,"type":")" + type +
           R"(","durable":{"aggregateID":"ses_1","seq":4,"version":1},"location":{"directory":"/p"},"data":)" +
           data + "}";
}

/// The fact in an event of one type.
template <class Fact>
Fact read(const std::string& type, const std::string& data) {
    const auto e = parse_event(envelope(type, data));
    BOOST_TEST_REQUIRE(e.has_value(), type << ": " << (e ? "" : e.error().message));
    BOOST_TEST(e->session == "ses_1");
    BOOST_TEST((e->seq == 4));
    BOOST_TEST_REQUIRE(std::holds_alternative<Fact>(e->what), type);
    return std::get<Fact>(e->what);
}

std::string why_not(const std::string& type, const std::string& data) {
    const auto e = parse_event(envelope(type, data));
    return e ? "read" : e.error().message;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_prompt_is_admitted_and_promoted_in_both_spellings) {
    const auto before = read<input_admitted>(
        "session.input.admitted",
        R"({"sessionID":"ses_1","inputID":"msg_1","input":{"type":"user","data":{"text":"hi"},"delivery":"steer"}})");
    BOOST_TEST(before.id == "msg_1");
    BOOST_TEST((before.kind == input_kind::prompt));
    BOOST_TEST(before.delivery == "steer");
    const auto since = read<input_admitted>(
        "session.inbox.enqueued",
        R"({"sessionID":"ses_1","inboxID":"msg_2","item":{"type":"synthetic","payload":{"text":"hi"},"delivery":"queue"}})");
    BOOST_TEST(since.id == "msg_2");
    BOOST_TEST((since.kind == input_kind::synthetic));
    BOOST_TEST(since.delivery == "queue");
    for (const auto* type : {"session.input.promoted", "session.inbox.delivered"})
        BOOST_TEST(read<input_promoted>(type, R"({"sessionID":"ses_1","inboxID":"msg_1"})").id == "msg_1");
    BOOST_TEST(
        read<input_cancelled>("session.inbox.cancelled", R"({"sessionID":"ses_1","inboxID":"msg_1"})").id ==
        "msg_1");
    BOOST_TEST((kind_of_input("compaction") == input_kind::compaction));
    BOOST_TEST((kind_of_input("move") == input_kind::other));
}

BOOST_AUTO_TEST_CASE(an_execution_has_one_of_three_terminals) {
    using how = execution_ended::how;
    (void)read<execution_started>("session.execution.started", R"({"sessionID":"ses_1"})");
    BOOST_TEST((read<execution_ended>("session.execution.succeeded", R"({"sessionID":"ses_1"})").what ==
                how::succeeded));
    const auto failed = read<execution_ended>(
        "session.execution.failed",
        R"({"sessionID":"ses_1","error":{"type":"provider.auth","message":"no","status":401}})");
    BOOST_TEST((failed.what == how::failed));
    BOOST_TEST((failed.error == opencode::api_error{"provider.auth", "no", 401}));
    const auto interrupted =
        read<execution_ended>("session.execution.interrupted", R"({"sessionID":"ses_1","reason":"user"})");
    BOOST_TEST((interrupted.what == how::interrupted));
    BOOST_TEST(interrupted.reason == "user");
}

BOOST_AUTO_TEST_CASE(a_step_tells_its_message_its_finish_and_what_it_used) {
    BOOST_TEST(
        read<step_started>("session.step.started", R"({"sessionID":"ses_1","assistantMessageID":"msg_a"})")
            .message == "msg_a");
    const auto ended =
        read<step_ended>("session.step.ended",
                         R"({"sessionID":"ses_1","assistantMessageID":"msg_a","finish":"stop","cost":0.5,)"
                         R"("tokens":{"input":11,"output":7,"reasoning":3,"cache":{"read":2,"write":1}}})");
    BOOST_TEST(ended.finish == "stop");
    BOOST_TEST(ended.cost == 0.5);
    BOOST_TEST((ended.tokens == opencode::token_usage{11, 7, 3, 2, 1}));
    const auto failed = read<step_failed>(
        "session.step.failed",
        R"({"sessionID":"ses_1","assistantMessageID":"msg_a","error":{"type":"aborted","message":"Step interrupted","status":7}})");
    BOOST_TEST((failed.error == opencode::api_error{"aborted", "Step interrupted", 0}));
    const auto retry = read<retry_scheduled>(
        "session.retry.scheduled",
        R"({"sessionID":"ses_1","assistantMessageID":"msg_a","attempt":2,"at":1796039911277,"error":{"message":"boom"}})");
    BOOST_TEST(retry.attempt == 2u);
    BOOST_TEST(retry.at_ms == 1796039911277);
    BOOST_TEST(retry.why == "boom");
    BOOST_TEST(read<compaction_failed>("session.compaction.failed",
                                       R"({"sessionID":"ses_1","error":{"type":"x","message":"full"}})")
                   .error.message == "full");
}

BOOST_AUTO_TEST_CASE(text_and_reasoning_are_told_by_message_kind_and_ordinal) {
    const std::string at = R"({"sessionID":"ses_1","assistantMessageID":"msg_a","ordinal":1)";
    BOOST_TEST(to_string(read<part_started>("session.text.started", at + "}").part) == "msg_a/text/1");
    const auto delta = read<part_delta>("session.reasoning.delta", at + R"(,"delta":"a\u00e9"})");
    BOOST_TEST(to_string(delta.part) == "msg_a/reasoning/1");
    BOOST_TEST(delta.delta == "a\xc3\xa9");
    BOOST_TEST(read<part_ended>("session.text.ended", at + R"(,"text":"whole"})").text == "whole");
    (void)read<other>("session.text.sometimes", at + "}");
    BOOST_TEST(read<part_delta>("session.text.delta", at + R"(,"delta":"\ud83d"})").delta == "\xef\xbf\xbd");
}

BOOST_AUTO_TEST_CASE(a_tool_goes_through_the_states_of_1_x) {
    const std::string at = R"({"sessionID":"ses_1","assistantMessageID":"msg_a","id":"call_1")";
    const auto begun = read<tool_changed>("session.tool.input.started", at + R"(,"name":"read"})");
    BOOST_TEST(begun.name == "read");
    BOOST_TEST(begun.state == "pending");
    BOOST_TEST(read<tool_changed>("session.tool.called", at + "}").state == "running");
    BOOST_TEST(read<tool_changed>("session.tool.success", at + "}").state == "completed");
    const auto failed = read<tool_changed>("session.tool.failed", at + R"(,"error":{"message":"no"}})");
    BOOST_TEST(failed.state == "error");
    BOOST_TEST(failed.error == "no");
}

BOOST_AUTO_TEST_CASE(a_session_tells_its_parent_and_its_directory) {
    const auto made = read<session_created>(
        "session.created",
        R"({"sessionID":"ses_1","parentID":"ses_0","location":{"directory":"/p/sub/.."}})");
    BOOST_TEST(made.parent == "ses_0");
    BOOST_TEST(made.directory == "/p/sub/..");
    (void)read<session_deleted>("session.deleted", R"({"sessionID":"ses_1"})");
}

BOOST_AUTO_TEST_CASE(a_permission_names_the_session_that_asks) {
    const auto asked = read<permission_asked>(
        "permission.asked",
        R"({"id":"per_1","sessionID":"ses_1","action":"shell","resources":["echo hi",5],"save":["echo *"],)"
        R"("source":{"type":"tool","messageID":"msg_a","id":"call_1"}})");
    BOOST_TEST(
        (asked.request == opencode::permission_request{"per_1", "ses_1", "shell", {"echo hi"}, "call_1"}));
    const auto replied = read<permission_replied>(
        "permission.replied", R"({"sessionID":"ses_1","requestID":"per_1","reply":"reject"})");
    BOOST_TEST(replied.request == "per_1");
    BOOST_TEST(replied.reply == "reject");
}

BOOST_AUTO_TEST_CASE(a_form_is_questions_with_keys) {
    const auto made = read<form_created>(
        "form.created",
        R"({"form":{"id":"frm_1","sessionID":"ses_1","title":"Questions","metadata":{"kind":"question","tool":{"id":"call_1"}},)"
        R"("fields":[{"key":"q0","title":"Color","description":"Which?","type":"string","custom":true,)"
        R"("options":[{"value":"Red","label":"Red","description":"r"}]},{"key":"q1","type":"array"}]}})");
    const auto& asked = made.form.request;
    BOOST_TEST(asked.id == "frm_1");
    BOOST_TEST(asked.call_id == "call_1");
    BOOST_TEST_REQUIRE(asked.questions.size() == 2u);
    BOOST_TEST((asked.questions[0] == opencode::question{"Which?", "Color", false, {{"Red", "r"}}}));
    BOOST_TEST(asked.questions[1].multiple);
    BOOST_TEST((made.form.keys == std::vector<std::string>{"q0", "q1"}));
    BOOST_TEST(!read<form_answered>("form.replied", R"({"sessionID":"ses_1","id":"frm_1"})").cancelled);
    BOOST_TEST(read<form_answered>("form.cancelled", R"({"sessionID":"ses_1","id":"frm_1"})").cancelled);
}

BOOST_AUTO_TEST_CASE(what_a_known_event_lacks_is_named) {
    BOOST_TEST(
        why_not("session.step.started", R"({"sessionID":"ses_1"})").ends_with("data.assistantMessageID"));
    BOOST_TEST(why_not("session.execution.started", "{}").ends_with("data.sessionID"));
    BOOST_TEST(why_not("session.execution.started", R"({"sessionID":".."})").ends_with("data.sessionID"));
    BOOST_TEST(why_not("session.text.delta", R"({"sessionID":"ses_1","assistantMessageID":"m"})")
                   .ends_with("data.delta"));
    BOOST_TEST(why_not("session.input.promoted", R"({"sessionID":"ses_1"})").ends_with("data.inputID"));
    BOOST_TEST(why_not("permission.asked", R"({"id":"per_1","sessionID":"ses_1"})").ends_with("data.action"));
    BOOST_TEST(why_not("form.created", R"({"form":{"id":"f","sessionID":"s","fields":[{}]}})")
                   .ends_with("data.form.fields[0].key"));
    BOOST_TEST(parse_event("[]").has_error());
    BOOST_TEST(parse_event("{").has_error());
    BOOST_TEST(parse_event(R"({"type":7})").has_error());
}

BOOST_AUTO_TEST_CASE(what_is_not_known_is_passed_over) {
    const auto e = parse_event(R"({"type":"session.viewed","data":{"sessionID":"ses_1","more":[1]}})");
    BOOST_TEST_REQUIRE(e.has_value());
    BOOST_TEST(std::holds_alternative<other>(e->what));
    BOOST_TEST(e->session == "ses_1");
    BOOST_TEST(!e->seq.has_value());
    const auto hello = parse_event(R"({"id":"evt_1","type":"server.connected","data":{}})");
    BOOST_TEST(std::holds_alternative<greeting>(hello->what));
}

BOOST_AUTO_TEST_CASE(an_event_tells_which_protocol_it_is_of_where_it_can) {
    const auto of = [](std::string_view text) {
        return protocol_of(boost::json::parse(text));
    };
    BOOST_TEST(of(R"({"type":"server.connected","properties":{}})") == 1);
    BOOST_TEST(of(R"({"type":"server.connected","data":{}})") == 0);
    BOOST_TEST(of(R"({"directory":"/p","payload":{}})") == 1);
    BOOST_TEST(of(R"({"type":"session.created","data":{"info":{}}})") == 1);
    BOOST_TEST(of(R"({"type":"session.created","data":{}})") == 2);
    BOOST_TEST(of(R"({"type":"permission.asked","data":{"permission":"bash"}})") == 1);
    BOOST_TEST(of(R"({"type":"permission.asked","data":{"action":"shell"}})") == 2);
    BOOST_TEST(of(R"({"type":"session.next.step.started","data":{}})") == 1);
    BOOST_TEST(of(R"({"type":"message.updated","data":{}})") == 1);
    BOOST_TEST(of(R"({"type":"session.deleted","data":{}})") == 0);
    BOOST_TEST(of(R"({"type":"session.text.delta","data":{}})") == 2);
    BOOST_TEST(of(R"({"type":"form.created","data":{}})") == 2);
    BOOST_TEST(of(R"({"type":"session.inbox.enqueued","data":{}})") == 2);
    BOOST_TEST(of("5") == 0);
}

BOOST_AUTO_TEST_CASE(every_event_of_every_recording_is_read) {
    std::set<std::string> known;
    for (const auto& path : test::recordings_of_2()) {
        std::map<std::string, std::int64_t> last;
        for (const auto& data : test::recorded_data(path)) {
            const auto e = parse_event(data);
            BOOST_TEST_REQUIRE(e.has_value(), path.stem() << ": " << data);
            if (!std::holds_alternative<other>(e->what))
                known.insert(e->type);
            if (!e->seq)
                continue;
            BOOST_TEST((!last.contains(e->session) || last[e->session] < *e->seq), path.stem()
                                                                                       << ": " << data);
            last[e->session] = *e->seq;
        }
    }
    BOOST_TEST(known.size() == 29u); // all but the three of later servers and a failed compaction
}

BOOST_AUTO_TEST_CASE(of_the_text_of_an_error_whole_characters_are_kept) {
    boost::json::object error;
    error["message"] = std::string(opencode::max_error_text - 1, 'a') + "\xc3\xa9";
    BOOST_TEST(parse_error(error).message.size() == opencode::max_error_text - 1);
}
