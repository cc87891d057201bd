// The turns of the simulated server of 2.x: the rows of WIRE.md, section 5, and of section 8, of current
// servers. What the recordings of the preview have is in opencode2_sim_recordings.cpp.
#include <boost/test/unit_test.hpp>

#include "support/sim2_player.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace json = boost::json;
using namespace holdfast;
using namespace std::chrono_literals;
using namespace test;

namespace {

/// Listens from the beginning.
struct listening : player_2 {
    explicit listening(opencode_sim::options settings = {}) : player_2(std::move(settings)) { listen(); }
};

/// The only session that is below another one.
std::string child_of(player_2& p) {
    const auto all = p.data("/api/session");
    for (const auto& s : all.as_array())
        if (s.as_object().contains("parentID"))
            return text(s.at("id"));
    return {};
}

std::string tag_of(const response& r) {
    return r.body.empty() ? "" : text(r.parsed().at("_tag"));
}

std::size_t retries_until_it_fails(const std::string& version) {
    opencode_sim::options settings;
    settings.version = version;
    listening p(settings);
    p.begin("#e500");
    p.run_for(10min);
    BOOST_TEST(p.outcomes() == "failed");
    return p.seen("session.retry.scheduled");
}

} // namespace

// normal (01), finish length (59)

BOOST_AUTO_TEST_CASE(an_execution_of_a_current_server_is_closed_by_a_row_of_type_idle) {
    listening p;
    p.begin("#plain");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step ended:stop succeeded");
    BOOST_TEST(p.row_words() == "user assistant:stop idle:succeeded");
    const auto info = p.data(p.path(p.session)).as_object();
    BOOST_TEST(text(info.at("outcome")) == "succeeded");
    BOOST_TEST(info.at("time").as_object().contains("idle"));
    BOOST_TEST(p.outcomes() == "completed");
}

BOOST_AUTO_TEST_CASE(while_a_part_runs_its_text_is_empty_in_the_list_of_messages) {
    listening p;
    p.begin("#slow:20");
    p.until_seen("session.text.delta", 5);
    BOOST_TEST(text(p.rows().back().at("content").at(0).at("text")) == "");
    p.plain_end();
    BOOST_TEST(text(p.rows().at(1).at("content").at(0).at("text")).starts_with("w0 w1 w2 "));
}

BOOST_AUTO_TEST_CASE(before_its_promotion_a_prompt_is_in_the_inbox_and_no_message) {
    listening p;
    p.begin("#plain", ",\"id\":\"msg_1\"");
    BOOST_TEST(p.is_active()); // before its post is answered: section 6
    BOOST_TEST(p.inbox_texts() == "#plain");
    BOOST_TEST(p.call("GET", p.path(p.session, "/message/msg_1")).status == 404);
    p.plain_end();
    BOOST_TEST(p.inbox_texts() == "");
    BOOST_TEST(p.call("GET", p.path(p.session, "/message/msg_1")).status == 200);
    BOOST_TEST(!p.is_active());
}

// reject (07), form cancelled (11)

BOOST_AUTO_TEST_CASE(a_rejection_ends_as_a_shutdown_without_a_row_of_type_idle) {
    listening p;
    p.begin("#ask");
    p.reply("reject");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step asked replied:reject tool-failed:aborted "
                           "broken:aborted interrupted:shutdown");
    BOOST_TEST(p.row_words() == "user assistant:error");
    BOOST_TEST(!p.data(p.path(p.session)).as_object().contains("outcome"));
    BOOST_TEST(p.outcomes() == "rejected");
}

BOOST_AUTO_TEST_CASE(a_form_is_cancelled_by_delete_and_that_is_a_rejection) {
    listening p;
    p.begin("#question");
    const auto id = text(p.asked(true).at("id"));
    const auto form = p.path(p.session, "/form/" + id);
    BOOST_TEST(text(p.data(form).at("state").at("status")) == "pending");
    BOOST_TEST(p.call("DELETE", form).status == 204);
    p.plain_end();
    BOOST_TEST(text(p.data(form).at("state").at("status")) == "cancelled");
    BOOST_TEST(tag_of(p.call("POST", form + "/reply", R"({"answer":{}})")) == "FormAlreadySettledError");
    BOOST_TEST(p.told() == "enqueued started delivered step form form-cancelled tool-failed:aborted "
                           "broken:aborted interrupted:shutdown");
    BOOST_TEST(p.outcomes() == "rejected");
}

BOOST_AUTO_TEST_CASE(a_rejection_rejects_what_else_the_session_asks) {
    listening p;
    p.begin("#two-asks");
    p.until_seen("permission.asked", 2);
    p.reply("reject");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step asked asked replied:reject replied:reject "
                           "tool-failed:aborted tool-failed:aborted broken:aborted interrupted:shutdown");
}

BOOST_AUTO_TEST_CASE(a_rejection_with_a_message_lets_the_turn_go_on) {
    listening p;
    p.begin("#ask");
    p.reply("reject", ",\"message\":\"not here\"");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step asked replied:reject tool-failed:tool.execution "
                           "ended:tool-calls step ended:stop succeeded");
    BOOST_TEST(p.outcomes() == "completed");
}

BOOST_AUTO_TEST_CASE(always_grants_what_else_is_asked_and_what_is_asked_later) {
    listening p;
    p.begin("#two-asks");
    p.until_seen("permission.asked", 2);
    p.reply("always");
    p.plain_end();
    p.post(p.session, "#ask");
    p.plain_end();
    BOOST_TEST(p.seen("permission.asked") == 2u);
    BOOST_TEST(p.outcomes() == "completed completed");
    BOOST_TEST(p.data("/api/permission/saved").as_array().size() == 1u);
}

// interrupt

BOOST_AUTO_TEST_CASE(a_current_server_accepts_an_interrupt_before_it_is_settled) {
    listening p;
    p.begin("#slow:200");
    p.until_seen("session.text.delta", 5);
    const auto answer = p.interrupt(p.session);
    BOOST_TEST(answer.body == R"({"interrupted":true})");
    BOOST_TEST(p.told() == "enqueued started delivered step");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step broken:aborted interrupted:user");
    BOOST_TEST(p.row_words() == "user assistant:error idle:interrupted");
    BOOST_TEST(p.outcomes() == "aborted");
}

BOOST_AUTO_TEST_CASE(an_interrupt_of_an_idle_session_sends_nothing) {
    listening p;
    p.begin("#plain");
    p.plain_end();
    const auto before = p.told();
    BOOST_TEST(p.interrupt(p.session).body == R"({"interrupted":false})");
    p.plain_end();
    BOOST_TEST(p.told() == before);
}

BOOST_AUTO_TEST_CASE(two_interrupts_have_one_terminal) {
    listening p;
    p.begin("#slow:200");
    p.until_seen("session.text.delta", 5);
    p.interrupt();
    p.interrupt();
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step broken:aborted interrupted:user");
}

BOOST_AUTO_TEST_CASE(an_interrupt_right_after_the_prompt_leaves_it_parked_and_the_next_one_takes_it_along) {
    listening p;
    p.begin("first #plain");
    p.interrupt();
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued interrupted:user");
    BOOST_TEST(p.inbox_texts() == "first #plain");
    BOOST_TEST(!p.is_active());
    BOOST_TEST(p.outcomes() == "pending");
    p.post(p.session, "second #plain");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued interrupted:user enqueued started delivered delivered step ended:stop "
                           "succeeded");
    BOOST_TEST(p.outcomes() == "completed(merged) completed");
}

BOOST_AUTO_TEST_CASE(an_open_permission_of_an_interrupted_session_is_gone_without_a_word) {
    listening p;
    p.begin("#ask");
    const auto id = text(p.asked().at("id"));
    p.interrupt();
    BOOST_TEST(p.data(p.path(p.session, "/permission")).as_array().empty());
    BOOST_TEST(tag_of(p.call("POST", p.path(p.session, "/permission/" + id + "/reply"),
                             R"({"decision":"once"})")) == "PermissionNotFoundError");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step asked tool-failed:aborted broken:aborted "
                           "interrupted:user");
}

BOOST_AUTO_TEST_CASE(interrupted_in_the_retry_wait_an_answer_stays_open_and_only_the_terminal_is_told) {
    listening p;
    p.begin("#e500");
    p.until_seen("session.retry.scheduled");
    BOOST_TEST(p.rows().back().as_object().contains("retry"));
    p.interrupt();
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step retry:provider.internal interrupted:user");
    BOOST_TEST(p.row_words() == "user assistant:open idle:interrupted");
    BOOST_TEST(p.outcomes() == "aborted");
}

BOOST_AUTO_TEST_CASE(a_prompt_that_comes_while_an_interrupt_settles_begins_an_execution_of_its_own) {
    listening p;
    p.begin("#slow:200");
    p.until_seen("session.text.delta", 5);
    p.interrupt();
    p.post(p.session, "#plain");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step enqueued broken:aborted interrupted:user started "
                           "delivered step ended:stop succeeded");
    BOOST_TEST(p.outcomes() == "aborted completed");
}

BOOST_AUTO_TEST_CASE(an_interrupt_that_resumes_goes_on_with_what_steers) {
    listening p;
    p.begin("#slow:200");
    p.until_seen("session.text.delta", 5);
    p.post(p.session, "#plain");
    p.call("POST", p.path(p.session, "/interrupt?resume=true"));
    p.plain_end();
    BOOST_TEST(p.outcomes() == "aborted completed");
}

// several prompts

BOOST_AUTO_TEST_CASE(two_that_queue_are_answered_one_after_the_other_in_one_execution) {
    listening p;
    p.begin("#slow:5", ",\"delivery\":\"queue\"");
    p.post(p.session, "#slow:5", ",\"delivery\":\"queue\"");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued enqueued started delivered step ended:stop delivered step ended:stop "
                           "succeeded");
    BOOST_TEST(p.outcomes() == "completed completed");
}

BOOST_AUTO_TEST_CASE(what_steers_comes_before_what_queues_however_they_were_posted) {
    listening p;
    p.begin("#slow:20");
    p.until_seen("session.text.delta", 2);
    p.post(p.session, "queued #plain", ",\"id\":\"msg_q\",\"delivery\":\"queue\"");
    p.post(p.session, "steered #plain", ",\"id\":\"msg_s\"");
    p.plain_end();
    std::vector<std::string> order;
    for (const auto& row : p.rows())
        if (row.at("type") == "user")
            order.push_back(text(row.at("text")));
    const std::vector<std::string> expected{"#slow:20", "steered #plain", "queued #plain"};
    BOOST_TEST(order == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_queues_waits_for_the_last_step_and_what_steers_for_the_next_one) {
    for (const std::string delivery : {"queue", "steer"}) {
        listening p;
        p.begin("#ask:500");
        p.reply("once");
        p.post(p.session, "#plain", ",\"delivery\":\"" + delivery + "\"");
        p.plain_end();
        const std::string before =
            "enqueued started delivered step asked replied:once enqueued tool ended:tool-calls ";
        BOOST_TEST(p.told() == before + (delivery == "queue" ? "step ended:stop delivered " : "delivered ") +
                                   "step ended:stop succeeded");
        BOOST_TEST(p.outcomes() ==
                   (delivery == "queue" ? "completed completed" : "completed(merged) completed"));
    }
}

BOOST_AUTO_TEST_CASE(after_an_interrupt_the_next_prompt_takes_along_what_steers_and_then_what_queues) {
    listening p;
    p.begin("#slow:200");
    p.until_seen("session.text.delta", 2);
    p.post(p.session, "queued #plain", ",\"delivery\":\"queue\"");
    p.post(p.session, "steered #plain");
    p.interrupt();
    p.plain_end();
    BOOST_TEST(p.inbox_texts() == "queued #plain, steered #plain");
    p.post(p.session, "next #plain");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step enqueued enqueued broken:aborted "
                           "interrupted:user enqueued started delivered delivered step ended:stop delivered "
                           "step ended:stop succeeded");
    BOOST_TEST(p.outcomes() == "aborted completed completed(merged) completed");
}

BOOST_AUTO_TEST_CASE(what_waits_can_be_cancelled_or_told_to_steer) {
    listening p;
    p.begin("#slow:20");
    p.until_seen("session.text.delta", 2);
    p.post(p.session, "a #plain", ",\"id\":\"msg_a\",\"delivery\":\"queue\"");
    p.post(p.session, "b #plain", ",\"id\":\"msg_b\",\"delivery\":\"queue\"");
    BOOST_TEST(p.call("PATCH", p.path(p.session, "/inbox/msg_b"), R"({"delivery":"steer"})").status == 204);
    BOOST_TEST(p.call("DELETE", p.path(p.session, "/inbox/msg_a")).status == 204);
    BOOST_TEST(p.call("DELETE", p.path(p.session, "/inbox/msg_a")).status == 204); // it is gone
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step enqueued enqueued cancelled ended:stop "
                           "delivered step ended:stop succeeded");
    BOOST_TEST(p.outcomes() == "completed aborted completed");
}

BOOST_AUTO_TEST_CASE(a_prompt_that_does_not_resume_waits_until_the_session_is_told_to) {
    listening p;
    p.begin("#plain", ",\"resume\":false");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued");
    BOOST_TEST(!p.is_active());
    BOOST_TEST(p.call("POST", p.path(p.session, "/resume")).status == 204); // at the end of the run
    BOOST_TEST(p.told() == "enqueued started delivered step ended:stop succeeded");
}

BOOST_AUTO_TEST_CASE(one_id_posted_often_at_once_is_one_prompt) {
    listening p;
    p.session = p.create_2();
    for (int i = 0; i < 5; ++i)
        BOOST_TEST(p.post(p.session, "#plain", ",\"id\":\"msg_1\"").status == 200);
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step ended:stop succeeded");
}

BOOST_AUTO_TEST_CASE(a_finished_id_posted_again_runs_an_empty_execution_that_overwrites_the_outcome) {
    listening p;
    p.begin("#error", ",\"id\":\"msg_1\"");
    p.plain_end();
    BOOST_TEST(text(p.data(p.path(p.session)).at("outcome")) == "failed");
    const auto answer = p.post(p.session, "another text", ",\"id\":\"msg_1\"");
    BOOST_TEST(answer.status == 200); // with the stored one
    BOOST_TEST(text(answer.parsed().at("data").at("payload").at("text")) == "#error");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step broken:provider.invalid-request "
                           "failed:provider.invalid-request started succeeded");
    BOOST_TEST(text(p.data(p.path(p.session)).at("outcome")) == "succeeded");
    BOOST_TEST(p.outcomes() == "failed");
    BOOST_TEST(tag_of(p.post(p.create_2(), "#error", ",\"id\":\"msg_1\"")) == "ConflictError");
}

// errors of the model

BOOST_AUTO_TEST_CASE(a_server_that_fails_is_asked_again_ten_times_by_a_current_server) {
    BOOST_TEST(retries_until_it_fails("2.0.26") == 10u);
    BOOST_TEST(retries_until_it_fails("2.0.3") == 4u);
}

BOOST_AUTO_TEST_CASE(a_retry_after_of_a_day_is_a_quarter_of_an_hour_for_a_current_server) {
    listening p;
    p.begin("#throttle:86400");
    p.run_for(16min);
    BOOST_TEST(p.outcomes() == "completed");
    opencode_sim::options settings;
    settings.version = "2.0.0-lab";
    listening preview(settings);
    preview.begin("#throttle:86400");
    preview.run_for(16min);
    BOOST_TEST(preview.outcomes() == "pending");
    BOOST_TEST(preview.is_active());
}

BOOST_AUTO_TEST_CASE(an_answer_that_broke_off_is_continued_in_another_message_by_a_current_server) {
    listening p;
    p.begin("#cutonce");
    p.run_for(10s);
    BOOST_TEST(p.told() == "enqueued started delivered step broken:provider.invalid-output "
                           "retry:provider.invalid-output synthetic step ended:stop succeeded");
    BOOST_TEST(p.row_words() == "user assistant:error synthetic assistant:stop idle:succeeded");
    BOOST_TEST(p.sim.truth().front().said == "partial whole.");
    BOOST_TEST(p.outcomes() == "completed");
}

BOOST_AUTO_TEST_CASE(a_compaction_that_fails_fails_the_turn) {
    listening p;
    p.begin("#overflow");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered compaction:auto "
                           "compaction-failed:auto:provider.invalid-request step "
                           "broken:provider.invalid-request failed:provider.invalid-request");
    BOOST_TEST(p.row_words() == "user compaction:failed assistant:error idle:failed");
}

BOOST_AUTO_TEST_CASE(an_error_inside_the_models_stream_ends_the_turn) {
    listening p;
    p.begin("#errchunk");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step broken:provider.unknown failed:provider.unknown");
}

BOOST_AUTO_TEST_CASE(an_unknown_model_fails_without_a_step_and_an_unknown_agent_before_the_promotion) {
    listening p;
    p.begin("#plain", {}, R"({"model":{"id":"nope","providerID":"mock"}})");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered failed:provider.no-route");
    BOOST_TEST(p.row_words() == "user idle:failed");
    BOOST_TEST(p.outcomes() == "failed");
    listening q;
    q.begin("#plain", {}, R"({"agent":"nope"})");
    q.plain_end();
    BOOST_TEST(q.told() == "enqueued started failed:unknown");
    BOOST_TEST(q.inbox_texts() == "#plain");
    BOOST_TEST(q.outcomes() == "pending");
}

// children

BOOST_AUTO_TEST_CASE(a_childs_permission_is_answered_by_way_of_the_child_alone) {
    listening p;
    p.begin("#task:ask");
    const auto asked = p.asked();
    const auto child = child_of(p);
    BOOST_TEST(text(asked.at("sessionID")) == child);
    BOOST_TEST(p.data(p.path(p.session, "/permission")).as_array().empty());
    const auto reply = "/permission/" + text(asked.at("id")) + "/reply";
    BOOST_TEST(p.call("POST", p.path(p.session, reply), R"({"decision":"once"})").status == 404);
    BOOST_TEST(p.call("POST", p.path(child, reply), R"({"decision":"reject"})").status == 204);
    p.plain_end();
    BOOST_TEST(p.told(child) == "enqueued started delivered step asked replied:reject tool-failed:aborted "
                                "broken:aborted interrupted:shutdown");
    BOOST_TEST(p.told() == "enqueued started delivered step tool-failed:tool.execution ended:tool-calls step "
                           "ended:stop succeeded");
    BOOST_TEST(p.outcomes() == "completed rejected");
}

BOOST_AUTO_TEST_CASE(a_child_can_be_interrupted_alone_and_its_parent_goes_on) {
    listening p;
    p.begin("#task:slow:200");
    p.until_seen("session.text.delta", 5);
    (void)p.interrupt(child_of(p));
    p.plain_end();
    BOOST_TEST(p.told(child_of(p)) == "enqueued started delivered step broken:aborted interrupted:user");
    BOOST_TEST(p.outcomes() == "completed aborted");
}

BOOST_AUTO_TEST_CASE(an_interrupt_of_the_parent_ends_the_child_first) {
    listening p;
    p.begin("#task:slow:200");
    p.until_seen("session.text.delta", 5);
    p.interrupt();
    p.plain_end();
    std::string order;
    for (const auto& e : p.events(p.stream))
        if (e.at("type") == "session.execution.interrupted")
            order += session_of_2(e.at("data").as_object()) == p.session ? "parent " : "child ";
    BOOST_TEST(order == "child parent ");
    BOOST_TEST(p.outcomes() == "aborted aborted");
}

BOOST_AUTO_TEST_CASE(a_subagent_in_the_background_starts_its_parent_again_when_it_ends) {
    listening p;
    p.begin("#background");
    p.until([&] { return p.told().ends_with("succeeded"); });
    BOOST_TEST(!p.is_active());
    BOOST_TEST(p.data("/api/session/active").as_object().contains(child_of(p)));
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step tool ended:tool-calls step ended:stop succeeded "
                           "enqueued started delivered step ended:stop succeeded");
    BOOST_TEST(p.row_words() == "user assistant:tool-calls assistant:stop idle:succeeded synthetic "
                                "assistant:stop idle:succeeded");
    BOOST_TEST(p.outcomes() == "completed completed"); // the parent's prompt, and the child's
}

// deletion

BOOST_AUTO_TEST_CASE(a_session_deleted_in_mid_turn_is_interrupted_and_its_children_go_with_it) {
    listening p;
    p.begin("#task:slow:200");
    p.until_seen("session.text.delta", 5);
    const auto child = child_of(p);
    BOOST_TEST(p.call("DELETE", p.path(p.session)).status == 204);
    BOOST_TEST(p.call("GET", p.path(p.session, "/message")).status == 404);
    BOOST_TEST(p.call("GET", p.path(child)).status == 404);
    BOOST_TEST(p.data("/api/session/active").as_object().empty());
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step tool-failed:aborted broken:aborted "
                           "interrupted:user deleted");
    BOOST_TEST(p.told(child).ends_with("interrupted:user deleted"));
}

// REST is ahead of the stream: section 8

BOOST_AUTO_TEST_CASE(rest_may_say_idle_before_the_terminal_is_told) {
    opencode_sim::options settings;
    settings.late_terminal = 1;
    listening p(settings);
    p.begin("#plain");
    p.until([&] { return p.seen("session.step.ended") == 1; });
    p.until([&] { return !p.is_active(); });
    BOOST_TEST(p.told() == "enqueued started delivered step ended:stop");
    BOOST_TEST(p.row_words() == "user assistant:stop idle:succeeded");
    p.run_for(130ms);
    BOOST_TEST(p.told().ends_with("succeeded"));
}

BOOST_AUTO_TEST_CASE(a_prompt_may_be_stored_before_its_event_is_told) {
    opencode_sim::options settings;
    settings.late_events = 1;
    listening p(settings);
    p.begin("#plain");
    BOOST_TEST(p.told() == "");
    BOOST_TEST(p.inbox_texts() == "#plain");
    p.plain_end();
    BOOST_TEST(p.told() == "enqueued started delivered step ended:stop succeeded");
}
