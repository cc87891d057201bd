// The typed REST calls against a real server.
#include <boost/test/unit_test.hpp>

#include "support/eventually.hpp"
#include "support/held_turn.hpp"

#include <algorithm>
#include <string>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using opencode::outcome;
using opencode::rule;

BOOST_TEST_GLOBAL_FIXTURE(held_world);

const std::string hello = "Hello from the mock model.";

held_server& held() {
    return held_world::held();
}
opencode::client& rest() {
    return held().rest();
}
std::string directory() {
    return opencode_world::server().directory();
}

opencode::session_info made(opencode::session_request what) {
    auto info = held().await(rest().create_session(std::move(what), directory()));
    BOOST_REQUIRE(info.has_value());
    return *info;
}

template <class List, class Id>
bool holds(const List& list, const Id& id) {
    return std::any_of(list.begin(), list.end(), [&](const auto& each) { return each.id == id; });
}

void check_failure(const failure& why, int status, std::string_view words) {
    BOOST_TEST(why.status == status);
    BOOST_TEST(why.message.find(words) != std::string::npos, why.message << " has no '" << words << "'");
    BOOST_TEST(why.connected);
}

} // namespace

BOOST_AUTO_TEST_CASE(health_tells_the_version) {
    const auto info = held().await(rest().health());
    BOOST_REQUIRE(info.has_value());
    BOOST_TEST(info->version == opencode_version);
}

BOOST_AUTO_TEST_CASE(a_session_is_made_found_listed_and_deleted) {
    opencode::session_request what;
    what.title = "A title of ours";
    const auto info = made(what);
    BOOST_TEST(info.title == "A title of ours");
    BOOST_TEST(info.directory == directory());
    BOOST_TEST(info.version == opencode_version);
    BOOST_TEST(info.parent_id.empty());

    const auto found = held().await(rest().get_session(info.id));
    BOOST_REQUIRE(found.has_value());
    BOOST_TEST((*found == info));
    const auto listed = held().await(rest().list_sessions(directory()));
    BOOST_REQUIRE(listed.has_value());
    BOOST_TEST(holds(*listed, info.id));

    BOOST_TEST(held().await(rest().delete_session(info.id)).has_value());
    const auto gone = held().await(rest().get_session(info.id));
    BOOST_REQUIRE(gone.has_error());
    BOOST_TEST((gone.error().code == errc::not_found));
}

BOOST_AUTO_TEST_CASE(children_are_listed_under_their_parent) {
    const auto parent = made({});
    opencode::session_request what;
    what.parent_id = parent.id;
    const auto child = made(what);
    BOOST_TEST(child.parent_id == parent.id);
    const auto listed = held().await(rest().children(parent.id));
    BOOST_REQUIRE(listed.has_value());
    BOOST_REQUIRE(listed->size() == 1U);
    BOOST_TEST(listed->front().id == child.id);
}

BOOST_AUTO_TEST_CASE(status_lists_the_sessions_that_are_busy) {
    const auto info = made({});
    BOOST_TEST(held()
                   .await(rest().prompt_async(info.id,
                                              [] {
                                                  auto what = text_prompt("status-key #hang");
                                                  what.message_id = "msg_000000000003StatusOfBusy03";
                                                  what.parts[0].id = "prt_000000000003StatusOfBusy03";
                                                  return what;
                                              }()))
                   .has_value());
    const auto is_busy = [&] {
        const auto all = held().await(rest().status(directory()));
        return all && all->contains(info.id) &&
               all->at(info.id).state == opencode::session_status::kind::busy;
    };
    BOOST_TEST(eventually(is_busy, patience));
    BOOST_TEST(held().await(rest().abort(info.id)).has_value());
    BOOST_TEST(eventually([&] { return !is_busy(); }, patience));
}

BOOST_AUTO_TEST_CASE(messages_come_in_pages_that_hold_each_once) {
    const auto session = held().new_session(directory());
    std::vector<std::string> prompts;
    for (int i = 0; i < 3; ++i) {
        auto turn = held().prompt(session, "page #plain");
        check_end(turn, outcome::completed, rule::message_finished, hello);
        prompts.push_back(turn.message_id());
    }
    const auto all = held().await(rest().messages(session, 0, {}));
    BOOST_REQUIRE(all.has_value());
    BOOST_TEST(all->messages.size() == 6U);
    BOOST_TEST(all->before.empty());
    for (const auto& each : prompts)
        BOOST_TEST(std::any_of(all->messages.begin(), all->messages.end(),
                               [&](const auto& m) { return m.info.id == each && !m.info.assistant; }));

    std::vector<std::string> paged;
    std::string before;
    do {
        const auto page = held().await(rest().messages(session, 4, before));
        BOOST_REQUIRE(page.has_value());
        std::vector<std::string> ids;
        for (const auto& each : page->messages)
            ids.push_back(each.info.id);
        paged.insert(paged.begin(), ids.begin(), ids.end());
        before = page->before;
    } while (!before.empty());
    std::vector<std::string> whole;
    for (const auto& each : all->messages)
        whole.push_back(each.info.id);
    BOOST_TEST(paged == whole, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_message_is_read_with_its_parts_and_an_unknown_one_is_not_found) {
    const auto session = held().new_session(directory());
    auto turn = held().prompt(session, "message-key #plain");
    check_end(turn, outcome::completed, rule::message_finished, hello);
    const auto prompt = held().await(rest().get_message(session, turn.message_id()));
    BOOST_REQUIRE(prompt.has_value());
    BOOST_TEST(!prompt->info.assistant);
    BOOST_REQUIRE(prompt->parts.size() == 1U);
    BOOST_TEST(prompt->parts[0].text == "message-key #plain");

    const auto unknown = held().await(rest().get_message(session, "msg_000000000000NobodyKnowsMe0"));
    BOOST_REQUIRE(unknown.has_error());
    BOOST_TEST((unknown.error().code == errc::not_found));
    check_failure(unknown.error(), 404, "NotFoundError");
}

BOOST_AUTO_TEST_CASE(a_prompt_posted_again_with_its_ids_runs_once) {
    const auto info = made({});
    auto what = text_prompt("repost-key #slow:20");
    what.message_id = "msg_000000000004PostedTwice004";
    what.parts[0].id = "prt_000000000004PostedTwice004";
    for (int i = 0; i < 3; ++i)
        BOOST_TEST(held().await(rest().prompt_async(info.id, what)).has_value());
    held().open_session(info.id);
    auto turn = held().adopt(info.id, what.message_id);
    BOOST_TEST(to_string(turn.settled().outcome) == "completed");
    BOOST_TEST(opencode_world::model().runs("repost-key") == 1U);
}

BOOST_AUTO_TEST_CASE(a_prompt_may_hold_a_file_and_a_system_text) {
    const auto session = held().new_session(directory());
    auto what = text_prompt("file-key #plain");
    opencode::prompt_part file;
    file.what = opencode::prompt_part::kind::file;
    file.mime = "text/plain";
    file.filename = "note.txt";
    file.url = "data:text/plain;base64,YSBub3Rl"; // a note
    what.parts.push_back(file);
    what.system = "Answer as the script says.";
    what.raw_json = R"({"tools":{"bash":false}})";
    auto turn = held().prompt(session, what);
    check_end(turn, outcome::completed, rule::message_finished, hello);
    BOOST_TEST(opencode_world::model().last_request().find("Answer as the script says.") !=
               std::string::npos);
}

BOOST_AUTO_TEST_CASE(asks_are_listed_while_they_are_open) {
    auto permission = held().prompt(held().new_session(directory()), "listed-ask-key #bash");
    const auto asked = permission.wait_permission();
    const auto permissions = held().await(rest().permissions(directory()));
    BOOST_REQUIRE(permissions.has_value());
    BOOST_TEST(holds(*permissions, asked.id));
    // With words of ours the rejected tool's turn goes on.
    BOOST_TEST(held().await(rest().reply_permission(asked.id, "reject", "not now", directory())).has_value());
    check_end(permission, outcome::completed, rule::message_finished, "Tool said hi.");

    auto question = held().prompt(held().new_session(directory()), "listed-question-key #question");
    const auto wanted = question.wait_question();
    const auto questions = held().await(rest().questions(directory()));
    BOOST_REQUIRE(questions.has_value());
    BOOST_TEST(holds(*questions, wanted.id));
    BOOST_TEST(held().await(rest().reject_question(wanted.id, directory())).has_value());
    check_end(question, outcome::rejected, rule::tool_rejected, "");
}

BOOST_AUTO_TEST_CASE(errors_of_every_shape_are_told_in_the_servers_words) {
    const auto unknown_session = held().await(rest().get_session("ses_00000000000000000000000000"));
    BOOST_REQUIRE(unknown_session.has_error());
    check_failure(unknown_session.error(), 404, "NotFoundError");

    const auto unknown_ask =
        held().await(rest().reply_permission("per_000000000000", "once", {}, directory()));
    BOOST_REQUIRE(unknown_ask.has_error());
    check_failure(unknown_ask.error(), 404, "PermissionNotFoundError");

    const auto bad_id = held().await(rest().get_session("nonsense"));
    BOOST_REQUIRE(bad_id.has_error());
    check_failure(bad_id.error(), 500, "UnknownError");

    const auto info = made({});
    auto what = text_prompt("never");
    what.message_id = "msg_000000000005BadRequest0005";
    what.raw_json = R"({"parts":5})";
    const auto bad = held().await(rest().prompt_async(info.id, what));
    BOOST_REQUIRE(bad.has_error());
    check_failure(bad.error(), 400, "BadRequest");
}

BOOST_AUTO_TEST_CASE(a_prompt_for_a_session_that_is_gone_is_not_posted) {
    const auto session = held().new_session(directory());
    BOOST_TEST(held().await(rest().delete_session(session)).has_value());
    auto turn = held().prompt(session, "gone-session-key #plain");
    const auto how = turn.settled();
    BOOST_TEST(to_string(how.outcome) == "failed");
    BOOST_TEST(to_string(how.rule) == "not_posted");
    BOOST_TEST(to_string(how.safe_to_reprompt) == "yes");
    BOOST_TEST(opencode_world::model().runs("gone-session-key") == 0U);
}

BOOST_AUTO_TEST_CASE(an_instance_is_disposed_and_made_again_by_the_next_call) {
    BOOST_TEST(held().await(rest().dispose(directory())).has_value());
    const auto status = held().await(rest().status(directory()));
    BOOST_REQUIRE(status.has_value());
    BOOST_TEST(status->empty());
}
