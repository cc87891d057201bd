// What a server that lies, lists without end or sends more than anybody can hold does to us: it is refused,
// or bounded, and the loop goes on.
#include <boost/test/unit_test.hpp>

#include "support/hostile_server.hpp"

#include <holdfast/opencode/event.hpp>

#include <algorithm>
#include <ctime>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using opencode::follow_by;
using namespace holdfast::test;

// --- ids

CO_TEST_CASE(an_id_that_would_lead_elsewhere_is_not_asked_for, a_hostile_server) {
    auto server = rest();
    const std::vector<std::string> ids{"", ".", "..", std::string(257, 'x')};
    for (const auto& id : ids) {
        const auto got = co_await server.get_session(id);
        check_refused(got, errc::invalid_request, "a session id");
        check_refused(co_await server.children(id), errc::invalid_request, "a session id");
        check_refused(co_await server.messages(id, 1, {}), errc::invalid_request, "a session id");
        check_refused(co_await server.get_message("ses_1", id), errc::invalid_request, "a message id");
        check_refused(co_await server.abort(id), errc::invalid_request, "a session id");
        check_refused(co_await server.delete_session(id), errc::invalid_request, "a session id");
        check_refused(co_await server.reply_permission(id, "once", {}, {}), errc::invalid_request,
                      "a permission id");
        check_refused(co_await server.reject_question(id, {}), errc::invalid_request, "a question id");
    }
    BOOST_TEST(there.targets.empty());
}

CO_TEST_CASE(an_odd_id_is_one_segment_of_a_path, a_hostile_server) {
    auto server = rest();
    const std::string odd("a/../b%2f\0\n\xf0\x9f\x98\x80", 15);
    const auto got = co_await server.get_session(odd);
    BOOST_TEST(got.has_error());
    BOOST_TEST(there.asked("/session/a%2F..%2Fb%252f%00%0A%F0%9F%98%80") == 1u);
}

CO_TEST_CASE(an_answer_about_another_session_is_refused, a_hostile_server) {
    auto server = rest();
    there.json("/session/ses_1", session("ses_2"));
    check_refused(co_await server.get_session("ses_1"), errc::missing_field,
                  "'ses_2', and 'ses_1' was asked for");
    there.json("/session/ses_1/message", '[' + user_message("msg_1", "ses_2") + ']');
    check_refused(co_await server.messages("ses_1", 5, {}), errc::missing_field, "message[0].info.sessionID");
    there.json("/session/ses_1/message/msg_1", user_message("msg_2", "ses_1"));
    check_refused(co_await server.get_message("ses_1", "msg_1"), errc::missing_field, "message.info.id");
    there.json("/session/ses_1/message/msg_1", user_message("msg_1", "ses_2"));
    check_refused(co_await server.get_message("ses_1", "msg_1"), errc::missing_field,
                  "message.info.sessionID");
    there.json("/session/ses_1/children", '[' + session("ses_3", "ses_2") + ']');
    check_refused(co_await server.children("ses_1"), errc::missing_field, "children[0].parentID");
}

CO_TEST_CASE(a_list_with_an_id_that_is_none_is_refused, a_hostile_server) {
    auto server = rest();
    for (const auto& id : {std::string(), std::string(".."), std::string(257, 'x')}) {
        there.json("/session", '[' + session("ses_1") + ',' + session(id) + ']');
        const auto listed = co_await server.list_sessions(std::string());
        check_refused(listed, errc::missing_field, "session[1].id");
        there.json("/permission",
                   R"([{"id":)" + quoted(id) + R"(,"sessionID":"ses_1","permission":"bash"}])");
        const auto asked = co_await server.permissions({});
        check_refused(asked, errc::missing_field, "permission[0].id");
        there.json("/session/ses_1/children", '[' + session("ses_2", id.empty() ? "." : id) + ']');
        const auto children = co_await server.children("ses_1");
        check_refused(children, errc::missing_field, "children[0].parentID");
    }
}

// --- bodies

CO_TEST_CASE(each_kind_of_answer_has_a_limit_that_is_named, a_hostile_server) {
    how.bodies.status = 1000;
    how.bodies.list = 2000;
    how.bodies.messages = 3000;
    auto server = rest();
    there.json("/session/status", '{' + std::string(1000, ' ') + '}');
    there.json("/session", '[' + std::string(2000, ' ') + ']');
    there.json("/session/ses_1/message", '[' + std::string(3000, ' ') + ']');
    check_refused(co_await server.status({}), errc::body_too_large, "/session/status: more than 1000 bytes");
    check_refused(co_await server.list_sessions(std::string()), errc::body_too_large,
                  "a list of sessions: more than 2000 bytes");
    check_refused(co_await server.messages("ses_1", 1, {}), errc::body_too_large,
                  "a page of messages: more than 3000 bytes");
    there.json("/session", '[' + std::string(1998, ' ') + ']');
    BOOST_TEST((co_await server.list_sessions(std::string())).has_value());
}

CO_TEST_CASE(messages_that_are_too_many_bytes_are_asked_for_in_smaller_pages, a_hostile_server) {
    how.bodies.messages = 10'000;
    auto server = rest();
    const auto long_text = R"(,{"id":"prt_x","messageID":"msg","sessionID":"ses_1","type":"text","text":")" +
                           std::string(4000, 'x') + R"("})";
    there.on("/session/ses_1/message", [&](const std::string& target) {
        const auto asked = target.find("limit=");
        const auto limit = asked == std::string::npos ? 200 : std::stoul(target.substr(asked + 6));
        return test::response(200, "application/json", list(limit, [&](std::size_t i) {
                                  return user_message("msg_" + std::to_string(i), "ses_1", long_text);
                              }));
    });
    const auto some = co_await server.messages("ses_1", 20, {});
    BOOST_TEST_REQUIRE(some.has_value());
    BOOST_TEST(some->messages.size() == 1u);
    const std::vector<std::string> wanted{"/session/ses_1/message?limit=20", "/session/ses_1/message?limit=5",
                                          "/session/ses_1/message?limit=1"};
    BOOST_TEST(there.targets == wanted, boost::test_tools::per_element());

    there.targets.clear();
    how.bodies.messages = 1000;
    auto stricter = rest();
    check_refused(co_await stricter.messages("ses_1", 0, {}), errc::body_too_large, "more than 1000 bytes");
    BOOST_TEST(there.targets.size() <= 5u);
}

CO_TEST_CASE(a_server_that_gives_more_messages_than_asked_for_is_believed_the_latest, a_hostile_server) {
    there.json("/session/ses_1/message",
               list(1000, [](std::size_t i) { return user_message("msg_" + std::to_string(i), "ses_1"); }));
    auto server = rest();
    const auto page = co_await server.messages("ses_1", 3, {});
    BOOST_TEST_REQUIRE(page.has_value());
    BOOST_TEST_REQUIRE(page->messages.size() == 3u);
    BOOST_TEST(page->messages.back().info.id == "msg_999");
}

CO_TEST_CASE(an_error_whose_body_never_ends_is_told_by_its_status, a_hostile_server) {
    const auto begin = world.time().now();
    there.on("/session/ses_1", [](const std::string&) {
        return "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n" +
               test::chunk(std::string(100'000, 'x'));
    });
    auto server = rest();
    const auto got = co_await server.get_session("ses_1");
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().status == 500);
    BOOST_TEST((got.error().code == errc::bad_status), got.error().message);
    BOOST_TEST((world.time().now() - begin == duration::zero()));
}

BOOST_AUTO_TEST_CASE(of_the_text_of_an_error_no_more_is_kept_than_a_person_reads) {
    const auto endless = std::string(200'000, 'x') + "\xe2\x82\xac";
    const auto kept_of = [](std::string_view type, const std::string& properties) {
        const auto event =
            opencode::parse_event(R"({"type":)" + quoted(type) + R"(,"properties":)" + properties + '}');
        BOOST_TEST_REQUIRE(event.has_value());
        if (const auto* error = std::get_if<opencode::session_error>(&*event))
            return error->error.message;
        if (const auto* status = std::get_if<opencode::status_changed>(&*event))
            return status->status.message;
        return std::get<opencode::part_updated>(*event).part.error;
    };
    const auto most = opencode::max_error_text;
    for (const auto& told :
         {R"({"error":{"name":"x","data":{"message":)" + quoted(endless) + "}}}",
          R"({"error":)" + quoted(endless) + '}', R"({"error":[)" + quoted(endless) + "]}"})
        BOOST_TEST(kept_of("session.error", told).size() == most);
    BOOST_TEST(kept_of("session.status",
                       R"({"sessionID":"ses_1","status":{"type":"retry","message":)" + quoted(endless) + "}}")
                   .size() == most);
    BOOST_TEST(
        kept_of(
            "message.part.updated",
            R"({"part":{"id":"p","messageID":"m","sessionID":"s","type":"tool","tool":"bash","state":{"status":"error","error":)" +
                quoted(endless) + "}}}")
            .size() == most);
    // Between two characters.
    const auto euros = kept_of("session.error", R"({"error":)" + quoted([] {
                                                    std::string all;
                                                    for (int i = 0; i < 40'000; ++i)
                                                        all += "\xe2\x82\xac";
                                                    return all;
                                                }()) +
                                                    '}');
    BOOST_TEST(euros.size() == most / 3 * 3);
}

CO_TEST_CASE(all_answers_to_one_look_have_a_limit_together, a_hostile_server) {
    auto server = rest();
    server.allow_in_all(5000);
    there.json("/session/ses_1/message", '[' + std::string(1998, ' ') + ']');
    BOOST_TEST((co_await server.messages("ses_1", 1, {})).has_value());
    BOOST_TEST((co_await server.messages("ses_1", 1, {})).has_value());
    check_refused(co_await server.messages("ses_1", 1, {}), errc::body_too_large, "together");
    BOOST_TEST((co_await rest().messages("ses_1", 1, {})).has_value());
}

CO_TEST_CASE(a_list_of_more_entries_than_anybody_needs_is_refused, a_hostile_server) {
    how.bodies.items = 100;
    auto server = rest();
    there.json("/permission", list(101, [](std::size_t i) {
                   return R"({"id":"per_)" + std::to_string(i) +
                          R"(","sessionID":"ses_1","permission":"bash"})";
               }));
    check_refused(co_await server.permissions({}), errc::body_too_large, "permission: more than 100 entries");
    there.json("/session", list(150, [](std::size_t i) { return session("ses_" + std::to_string(i)); }));
    opencode::session_query which;
    const auto some = co_await server.list_sessions(which);
    BOOST_TEST_REQUIRE(some.has_value());
    BOOST_TEST(some->sessions.size() == 100u);
    BOOST_TEST(some->left_out == 50u);
}

// --- the loop goes on

namespace {

std::string large_list_of_sessions(std::size_t bytes) {
    const auto one = session("ses_" + std::string(100, 'x'));
    return list(bytes / one.size(), [&](std::size_t) { return one; });
}

} // namespace

CO_TEST_CASE(a_large_answer_is_worked_through_while_others_have_their_turns, a_hostile_server) {
    constexpr std::size_t size = 8u << 20;
    std::map<std::string, std::string> bodies;
    bodies["sessions"] = large_list_of_sessions(size);
    bodies["one string"] = R"([{"id":"ses_1","directory":"/d","title":")" + std::string(size, 'x') + "\"}]";
    bodies["escapes"] = R"([{"id":"ses_1","directory":"/d","title":")" + std::string(size / 2, '\\') +
                        std::string(size / 2, 'x') + "\"}]";
    bodies["no value"] = '[' + std::string(size, ' ') + ']';
    bodies["not JSON"] = '[' + std::string(size, ' ') + 'x';
    how.bodies.items = 0;
    auto server = rest();
    for (const auto& [name, body] : bodies) {
        there.json("/session", body);
        bystander others(world);
        const auto got = co_await server.list_sessions(std::string());
        BOOST_TEST_CONTEXT(name) {
            BOOST_TEST(got.has_value() == (name != "not JSON"));
            BOOST_TEST(others.handlers >= body.size() / (64u << 10));
        }
    }
}

CO_TEST_CASE(values_without_end_are_refused_before_they_take_memory, a_hostile_server) {
    auto server = rest();
    std::string nulls = "[";
    for (int i = 0; i < 300'001; ++i)
        nulls += "null,";
    there.json("/session", nulls + "null]");
    check_refused(co_await server.list_sessions(std::string()), errc::body_too_large,
                  "more than 300000 values");
    there.json("/session/status", [] {
        std::string all = "{";
        for (int i = 0; i < 60'000; ++i)
            all += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":1";
        return all + '}';
    }());
    check_refused(co_await server.status({}), errc::body_too_large, "members of one object");
}

CO_TEST_CASE(json_that_is_nested_without_end_is_refused, a_hostile_server) {
    auto server = rest();
    there.json("/session", std::string(1'000'000, '['));
    check_refused(co_await server.list_sessions(std::string()), errc::bad_json, "");
    std::string objects;
    for (int i = 0; i < 100'000; ++i)
        objects += R"({"id":)";
    there.json("/session/ses_1", objects);
    check_refused(co_await server.get_session("ses_1"), errc::bad_json, "");
}

// Where the pieces of an answer meet, what is mended is not cut in two.
CO_TEST_CASE(what_is_mended_is_mended_wherever_the_pieces_meet, a_hostile_server) {
    auto server = rest();
    for (std::size_t before = (64u << 10) - 80; before < (64u << 10) + 4; ++before) {
        const auto text =
            R"([{"id":"ses_1","directory":"/d","x":")" + std::string(before - 30, 'x') +
            R"(","y":[1e99999999999,"e1\"e9",-2E-77777777777],"title":"\ud83d\ude00\ud83d\\\udc00"}])" +
            std::string(100, ' ');
        there.json("/session", text);
        const auto got = co_await server.list_sessions(std::string());
        BOOST_TEST_REQUIRE(got.has_value(), got.error().message << " at " << before);
        BOOST_TEST_REQUIRE(got->front().title == "\xf0\x9f\x98\x80\xef\xbf\xbd\\\xef\xbf\xbd");
    }
}

// --- walks

CO_TEST_CASE(children_in_a_circle_are_asked_for_once_each, a_followed_hostile_server) {
    is_at_work("ses_a");
    there.json("/session/status", R"({"ses_a":{"type":"busy"},"ses_b":{"type":"busy"}})");
    there.json("/session/ses_a/children",
               '[' + session("ses_b", "ses_a") + ',' + session("ses_a", "ses_a") + ']');
    there.json("/session/ses_b/children",
               '[' + session("ses_a", "ses_b") + ',' + session("ses_b", "ses_b") + ']');
    start();
    auto feed = server->follow("ses_a", follow_by::capture);
    co_await world.rt().sleep_for(seconds(2));
    BOOST_TEST(feed.view().seen.has_value());
    BOOST_TEST(there.asked("/session/ses_a/children") == 1u);
    BOOST_TEST(there.asked("/session/ses_b/children") == 1u);
    co_await end();
}

CO_TEST_CASE(children_are_looked_at_to_a_depth_and_a_number, a_followed_hostile_server) {
    is_at_work("ses_0");
    config.turns.max_children = 50;
    std::string status = R"({"ses_0":{"type":"busy"})";
    for (int i = 1; i < 100; ++i)
        status += R"(,"ses_)" + std::to_string(i) + R"(":{"type":"busy"})";
    there.json("/session/status", status + '}');
    there.fallback = [](const std::string& target) { // each has one child, for ever
        const auto id = std::stoi(target.substr(std::string("/session/ses_").size()));
        return test::response(200, "application/json",
                              '[' + session("ses_" + std::to_string(id + 1), "ses_" + std::to_string(id)) +
                                  ']');
    };
    there.on("/session/ses_0/children", there.fallback);
    start();
    auto feed = server->follow("ses_0", follow_by::capture);
    co_await world.rt().sleep_for(seconds(2));
    BOOST_TEST(feed.view().seen.has_value());
    BOOST_TEST(there.asked_below("/session/ses_15/children").size() == 1u);
    BOOST_TEST(there.asked_below("/session/ses_16/children").empty());

    co_await end();
}

CO_TEST_CASE(children_beyond_a_number_are_not_looked_at_which_is_told_once, a_followed_hostile_server) {
    is_at_work("ses_0");
    config.turns.max_children = 50;
    there.json("/session/ses_0/children",
               list(1000, [](std::size_t i) { return session("ses_c" + std::to_string(i), "ses_0"); }));
    start();
    auto feed = server->follow("ses_0", follow_by::capture);
    co_await world.rt().sleep_for(seconds(2));
    BOOST_TEST(feed.view().seen.has_value());
    const auto told = std::count_if(world.logs().begin(), world.logs().end(), [](const log_record& r) {
        return r.event == "session.too_many_children";
    });
    BOOST_TEST(told == 1);
    co_await end();
}

CO_TEST_CASE(pages_that_repeat_their_cursor_are_not_asked_for_for_ever, a_followed_hostile_server) {
    is_at_work("ses_1");
    there.json("/session/status", R"({"ses_1":{"type":"busy"}})");
    // The last answer answers a prompt that no page has: it is reached back for.
    const std::string page =
        R"([{"info":{"id":"msg_9","sessionID":"ses_1","role":"assistant","parentID":"msg_0","time":{"created":2}},"parts":[]}])";
    there.json("/session/ses_1/message/msg_0", user_message("msg_0", "ses_1"));
    there.on("/session/ses_1/message", [&](const std::string&) {
        return test::response(200, "application/json", page, "X-Next-Cursor: again\r\n");
    });
    start();
    auto feed = server->follow("ses_1", follow_by::capture);
    co_await world.rt().sleep_for(seconds(1));
    BOOST_TEST(feed.view().seen.has_value());
    BOOST_TEST(there.asked_below("/session/ses_1/message?limit=100").size() <= 3u);
    co_await end();
}

CO_TEST_CASE(sessions_that_ask_are_looked_up_so_many_at_a_time_and_once, a_followed_hostile_server) {
    is_at_work("ses_1");
    there.json("/session/status", R"({"ses_1":{"type":"busy"}})");
    there.json("/permission", list(500, [](std::size_t i) {
                   return R"({"id":"per_)" + std::to_string(i) + R"(","sessionID":"ses_x)" +
                          std::to_string(i) + R"(","permission":"bash"})";
               }));
    start();
    auto feed = server->follow("ses_1", follow_by::capture);
    co_await world.rt().sleep_for(seconds(4));
    const auto asked_at_first = there.asked_below("/session/ses_x").size();
    BOOST_TEST(asked_at_first > 0u);
    BOOST_TEST(asked_at_first <= 64u);
    co_await world.rt().sleep_for(seconds(60));
    auto all = there.asked_below("/session/ses_x");
    BOOST_TEST(all.size() == 500u);
    std::sort(all.begin(), all.end());
    BOOST_TEST((std::adjacent_find(all.begin(), all.end()) == all.end()));
    co_await end();
}

// A page of one message with more parts than a person ever saw is no answer; one with fewer is asked for in
// its place.
CO_TEST_CASE(parts_without_end_are_refused, a_hostile_server) {
    how.bodies.parts = 100;
    auto server = rest();
    std::string parts;
    for (int i = 0; i < 30; ++i)
        parts += R"(,{"id":"prt_)" + std::to_string(i) +
                 R"(","messageID":"msg","sessionID":"ses_1","type":"text","text":"x"})";
    there.on("/session/ses_1/message", [&](const std::string& target) {
        const auto limit = std::stoul(target.substr(target.find("limit=") + 6));
        return test::response(200, "application/json", list(limit, [&](std::size_t i) {
                                  return user_message("msg_" + std::to_string(i), "ses_1", parts);
                              }));
    });
    const auto some = co_await server.messages("ses_1", 10, {});
    BOOST_TEST_REQUIRE(some.has_value());
    BOOST_TEST(some->messages.size() == 2u);
    how.bodies.parts = 10;
    auto stricter = rest();
    check_refused(co_await stricter.messages("ses_1", 10, {}), errc::body_too_large, "more than 10 parts");
}

// --- turns and asks without end

namespace {

opencode::message message_of(std::string id, std::string answered, std::int64_t at) {
    opencode::message m;
    m.info.id = std::move(id);
    m.info.session_id = "ses_1";
    m.info.created_ms = at;
    m.info.assistant = !answered.empty();
    m.info.parent_id = std::move(answered);
    if (m.info.assistant) {
        m.info.completed_ms = at;
        m.info.finish = "stop";
    }
    opencode::part text;
    text.id = "prt_" + m.info.id;
    text.message_id = m.info.id;
    text.session_id = "ses_1";
    text.type = "text";
    text.text = m.info.id;
    text.ended = true;
    m.parts.push_back(std::move(text));
    return m;
}

} // namespace

BOOST_AUTO_TEST_CASE(more_turns_than_can_be_told_at_once_are_told_one_look_after_the_other) {
    opencode::tracker_options options;
    options.max_turns = 3;
    opencode::turn_tracker tracker("ses_1", options);
    tracker.follow();
    opencode::snapshot seen;
    time_point now{};
    BOOST_TEST(tracker.on_capture(seen, tracker.begin_snapshot(), now));
    for (int i = 0; i < 8; ++i) {
        seen.messages.push_back(message_of("msg_u" + std::to_string(i), {}, 2 * i));
        seen.messages.push_back(
            message_of("msg_a" + std::to_string(i), "msg_u" + std::to_string(i), 2 * i + 1));
    }
    std::vector<std::string> settled;
    for (int look = 0; look < 3; ++look) {
        BOOST_TEST(tracker.on_capture(seen, tracker.begin_snapshot(), now += seconds(5)));
        BOOST_TEST(tracker.left_turns_out() == (look < 2));
        for (const auto& each : tracker.take_outputs())
            if (const auto* how = std::get_if<opencode::settlement>(&each.event)) {
                settled.push_back(each.message);
                BOOST_TEST(how->text == "msg_a" + each.message.substr(5));
            }
    }
    const std::vector<std::string> all{"msg_u0", "msg_u1", "msg_u2", "msg_u3",
                                       "msg_u4", "msg_u5", "msg_u6", "msg_u7"};
    BOOST_TEST(settled == all, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(more_asks_than_can_be_told_at_once_are_told_when_others_are_answered) {
    opencode::tracker_options options;
    options.max_asks = 2;
    options.max_children = 3;
    opencode::turn_tracker tracker("ses_1", options);
    time_point now{};
    tracker.attached(now);
    tracker.adopt("msg_u", now);
    opencode::snapshot seen;
    seen.status.state = opencode::session_status::kind::busy;
    seen.messages.push_back(message_of("msg_u", {}, 1));
    for (int i = 0; i < 5; ++i) {
        opencode::permission_request asks;
        asks.id = "per_" + std::to_string(i);
        asks.session_id = "ses_1";
        asks.permission = "bash";
        seen.permissions.push_back(asks);
        opencode::session_info child;
        child.id = "ses_c" + std::to_string(i);
        child.parent_id = "ses_c" + std::to_string((i + 1) % 5); // in a circle
        seen.children.push_back(child);
    }
    BOOST_TEST(tracker.on_snapshot(seen, tracker.begin_snapshot(), now));
    const auto asked = [&] {
        std::string ids;
        for (const auto& each : tracker.take_outputs())
            if (const auto* ask = std::get_if<opencode::permission_event>(&each.event); ask && !ask->reply)
                ids += ask->request.id + ' ';
        return ids;
    };
    BOOST_TEST(asked() == "per_0 per_1 ");
    BOOST_TEST(tracker.owns_session("ses_c2"));
    BOOST_TEST(!tracker.owns_session("ses_c3"));
    BOOST_TEST(!tracker.depth_of("ses_c1").has_value()); // in no end of time
    BOOST_TEST(!tracker.wants_snapshot());

    opencode::permission_replied replied;
    replied.session_id = "ses_1";
    replied.request_id = "per_0";
    replied.reply = "once";
    tracker.on_event(replied, now);
    static_cast<void>(asked());
    BOOST_TEST(tracker.wants_snapshot());
    seen.permissions.erase(seen.permissions.begin());
    BOOST_TEST(tracker.on_snapshot(seen, tracker.begin_snapshot(), now));
    BOOST_TEST(asked() == "per_2 ");
}

namespace {

/// A turn that was adopted while it ran: its prompt is in the snapshot, and its answer has no end.
struct adopted_turn {
    time_point now{};
    opencode::turn_tracker tracker{"ses_1"};
    opencode::snapshot seen;
    opencode::message answer = message_of("msg_a", "msg_u", 2);

    adopted_turn() {
        tracker.attached(now);
        tracker.adopt("msg_u", now);
        seen.status.state = opencode::session_status::kind::busy;
        seen.messages.push_back(message_of("msg_u", {}, 1));
        answer.info.completed_ms.reset();
        answer.info.finish.clear();
    }
};

} // namespace

// As many as a list may have, of a message with as many parts as a page may have: to compare each with each
// takes a minute.
BOOST_AUTO_TEST_CASE(very_many_asks_are_found_among_very_many_tools_without_a_search_for_each) {
    adopted_turn turn;
    auto& [now, tracker, seen, answer] = turn;
    const auto part = answer.parts.front();
    for (int i = 0; i < 5000; ++i) {
        auto tool = part;
        tool.id = "prt_" + std::to_string(i);
        tool.type = "tool";
        tool.tool = "bash";
        tool.call_id = "call_" + std::to_string(i);
        tool.state = i == 4999 ? "running" : "completed";
        answer.parts.push_back(std::move(tool));
    }
    seen.messages.push_back(std::move(answer));
    for (int i = 0; i < 20'000; ++i) {
        opencode::permission_request asks;
        asks.id = "per_" + std::to_string(i);
        asks.session_id = "ses_1";
        asks.permission = "bash";
        asks.call_id = "call_" + std::to_string(i);
        seen.permissions.push_back(std::move(asks));
    }
    const auto begun = std::clock();
    BOOST_TEST(tracker.on_snapshot(seen, tracker.begin_snapshot(), now));
    const auto took = static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC;
    std::string asked;
    for (const auto& each : tracker.take_outputs())
        if (const auto* ask = std::get_if<opencode::permission_event>(&each.event))
            asked += ask->request.id + ' ';
    BOOST_TEST(asked == "per_4999 ");
    BOOST_TEST(took < 3, took << " s");
}

BOOST_AUTO_TEST_CASE(asks_for_more_than_may_be_held_are_told_one_after_the_other) {
    opencode::tracker_options options;
    options.ask_bytes = 10'000;
    opencode::turn_tracker tracker("ses_1", options);
    time_point now{};
    tracker.attached(now);
    tracker.adopt("msg_u", now);
    opencode::snapshot seen;
    seen.status.state = opencode::session_status::kind::busy;
    seen.messages.push_back(message_of("msg_u", {}, 1));
    for (const std::size_t bytes : {20'000, 4000, 4000, 4000}) {
        opencode::permission_request asks;
        asks.id = "per_" + std::to_string(seen.permissions.size());
        asks.session_id = "ses_1";
        asks.permission = "bash";
        asks.patterns.emplace_back(bytes, 'x');
        seen.permissions.push_back(std::move(asks));
    }
    const auto asked = [&] {
        BOOST_TEST(tracker.on_snapshot(seen, tracker.begin_snapshot(), now));
        std::string ids;
        for (const auto& each : tracker.take_outputs())
            if (const auto* ask = std::get_if<opencode::permission_event>(&each.event); ask && !ask->reply)
                ids += ask->request.id + ' ';
        return ids;
    };
    BOOST_TEST(asked() == "per_0 "); // alone, however large
    seen.permissions.erase(seen.permissions.begin());
    BOOST_TEST(asked() == "per_1 per_2 ");
    seen.permissions.erase(seen.permissions.begin());
    BOOST_TEST(asked() == "per_3 ");
}

BOOST_AUTO_TEST_CASE(asks_are_withdrawn_in_the_order_in_which_they_were_told) {
    opencode::turn_tracker tracker("ses_1");
    time_point now{};
    tracker.attached(now);
    tracker.adopt("msg_u", now);
    opencode::snapshot seen;
    seen.status.state = opencode::session_status::kind::busy;
    seen.messages.push_back(message_of("msg_u", {}, 1));
    for (const std::string id : {"per_b", "per_c", "per_a"}) {
        opencode::permission_request asks;
        asks.id = id;
        asks.session_id = "ses_1";
        asks.permission = "bash";
        seen.permissions.push_back(std::move(asks));
    }
    BOOST_TEST(tracker.on_snapshot(seen, tracker.begin_snapshot(), now));
    static_cast<void>(tracker.take_outputs());
    tracker.close("msg_u", opencode::outcome::detached, opencode::rule::detached, std::nullopt,
                  opencode::reprompt::no, now);
    std::string withdrawn;
    for (const auto& each : tracker.take_outputs())
        if (const auto* ask = std::get_if<opencode::permission_event>(&each.event))
            withdrawn += ask->request.id + ':' + ask->reply.value_or("") + ' ';
    BOOST_TEST(withdrawn == "per_b:withdrawn per_c:withdrawn per_a:withdrawn ");
}

BOOST_AUTO_TEST_CASE(parts_listed_twice_are_one_and_those_of_the_last_look_are_found_at_once) {
    adopted_turn turn;
    auto& [now, tracker, seen, answer] = turn;
    const auto part = answer.parts.front();
    answer.parts.clear();
    for (int i = 0; i < 5000; ++i) {
        answer.parts.push_back(part);
        answer.parts.back().id = i < 2500 ? "prt_" + std::to_string(i) : "prt_twice";
    }
    seen.messages.push_back(answer);
    BOOST_TEST(tracker.on_snapshot(seen, tracker.begin_snapshot(), now));
    BOOST_TEST(tracker.take_outputs().size() == 2501u);
    std::reverse(seen.messages.back().parts.begin(), seen.messages.back().parts.end());
    BOOST_TEST(tracker.on_snapshot(seen, tracker.begin_snapshot(), now));
    BOOST_TEST(tracker.take_outputs().empty());
}

// --- streams and connections

CO_TEST_CASE(following_alone_opens_so_many_streams_and_looks_at_the_rest, a_followed_hostile_server) {
    config.max_streams = 5;
    there.on("/event", [](const std::string&) {
        return test::sse_response("data: {\"type\":\"server.connected\",\"properties\":{}}\n\n");
    });
    there.on("/global/event", [](const std::string&) {
        return test::sse_response(
            "data: {\"payload\":{\"type\":\"server.connected\",\"properties\":{}}}\n\n");
    });
    for (int i = 0; i < 40; ++i)
        is_at_work("ses_" + std::to_string(i), "/d" + std::to_string(i));
    start();
    std::vector<opencode::feed> feeds;
    for (int i = 0; i < 40; ++i)
        feeds.push_back(server->follow("ses_" + std::to_string(i), follow_by::stream));
    co_await world.rt().sleep_for(seconds(12));
    const auto streamed =
        std::count_if(feeds.begin(), feeds.end(), [](const auto& f) { return f.view().streamed; });
    const auto captured =
        std::count_if(feeds.begin(), feeds.end(), [](const auto& f) { return f.view().captured; });
    BOOST_TEST(streamed == 5);
    BOOST_TEST(captured == 35);
    BOOST_TEST(there.asked_below("/event").size() == 5u);

    // A session that is held gets one.
    auto held = (co_await server->open_session("ses_39")).value();
    there.json("/session/ses_39/prompt_async", "{}");
    auto turn = co_await held.prompt("hello");
    BOOST_TEST(turn.posted());
    BOOST_TEST(there.asked_below("/event").size() + there.asked("/global/event") == 6u);
    turn.detach();
    feeds.clear();
    co_await end();
}

CO_TEST_CASE(a_server_that_answers_nothing_holds_so_many_connections, a_followed_hostile_server) {
    config.max_reads = 8;
    config.capture.concurrent = 100;
    there.fallback = [](const std::string&) {
        return std::string();
    };
    start();
    std::vector<opencode::feed> feeds;
    for (int i = 0; i < 100; ++i)
        feeds.push_back(server->follow("ses_" + std::to_string(i), follow_by::capture));
    co_await world.rt().sleep_for(seconds(3));
    BOOST_TEST(there.open.size() == 8u);
    // A prompt is not one of those.
    there.json("/session/ses_1/abort", "true");
    auto server_calls = server->rest();
    const auto aborted = co_await server_calls.abort("ses_1");
    BOOST_TEST(aborted.has_value());
    BOOST_TEST(there.most_at_once == 9u);
    co_await end();
}

CO_TEST_CASE(few_large_answers_are_taken_at_once, a_hostile_server) {
    how.places = std::make_shared<opencode::call_places>(world.rt(), 10, 2);
    const auto large = large_list_of_sessions(3u << 20);
    there.json("/session", large);
    task_scope tasks(world.rt(), [](std::exception_ptr e) { std::rethrow_exception(e); });
    std::size_t most_unread = 0;
    std::size_t done = 0;
    const auto call = [&]() -> net::awaitable<void> {
        auto server = rest();
        opencode::session_query which;
        which.keep = 1;
        const auto got = co_await server.list_sessions(which);
        BOOST_TEST(got.has_value());
        ++done;
    };
    for (int i = 0; i < 6; ++i)
        tasks.spawn(call());
    // Who waits for its turn reads no more: what it was sent stays where it is.
    world.on_handler([&] { most_unread = std::max(most_unread, world.net().unread()); });
    while (done < 2)
        co_await world.rt().sleep_for(milliseconds(0));
    BOOST_TEST(world.net().unread() >= 4 * (large.size() - (2u << 20)));
    co_await tasks.join();
    world.on_handler({});
    BOOST_TEST(done == 6u);
}
