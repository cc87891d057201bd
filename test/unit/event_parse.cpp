#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/event.hpp>
#include <support/recordings.hpp>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <functional>
#include <set>
#include <tuple>

namespace json = boost::json;
using namespace holdfast;
using namespace holdfast::opencode;
using namespace holdfast::test;

namespace {

template <class E>
E parsed(std::string_view text) {
    auto e = parse_event(text);
    BOOST_TEST_REQUIRE(e.has_value(), text << ": " << (e ? "" : e.error().message));
    BOOST_TEST_REQUIRE(std::holds_alternative<E>(*e), text);
    return std::get<E>(*e);
}

std::string complaint(std::string_view text) {
    const auto e = parse_event(text);
    if (e)
        return "none";
    BOOST_TEST((e.error().cls == failure_class::protocol));
    return e.error().message;
}

bool names(const std::string& message, std::string_view path) {
    return message.find(path) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_CASE(every_recorded_event_parses_and_agrees_with_its_head) {
    std::set<std::size_t> kinds;
    for (const auto& path : all_recordings()) {
        if (path.stem().string().find("durable") != std::string::npos)
            continue; // other shapes
        for (const auto& data : recorded_data(path)) {
            const auto head = peek(data);
            if (head.sync_twin)
                continue;
            const auto e = parse_event(head.body);
            BOOST_TEST_REQUIRE(e.has_value(), data);
            BOOST_TEST(type_of(*e) == head.type);
            if (data.find("\"properties\"") != std::string::npos)
                BOOST_TEST(session_of(*e) == head.session_id);
            kinds.insert(e->index());
        }
    }
    BOOST_TEST(kinds.size() >= 17u); // nearly every kind occurs
}

BOOST_AUTO_TEST_CASE(a_delta_is_read) {
    const auto d = parsed<part_delta>(
        R"({"id":"evt","type":"message.part.delta","properties":{"sessionID":"s","messageID":"m","partID":"p","field":"text","delta":"w\u00e4 "}})");
    BOOST_TEST(d.session_id == "s");
    BOOST_TEST(d.message_id == "m");
    BOOST_TEST(d.part_id == "p");
    BOOST_TEST(d.field == "text");
    BOOST_TEST(d.delta == "w\xc3\xa4 ");
}

BOOST_AUTO_TEST_CASE(status_idle_busy_and_retry_are_read) {
    const auto status = [](std::string_view s) {
        return parsed<status_changed>(R"({"type":"session.status","properties":{"sessionID":"s","status":)" +
                                      std::string(s) + "}}")
            .status;
    };
    BOOST_TEST((status(R"({"type":"idle"})").state == session_status::kind::idle));
    BOOST_TEST((status(R"({"type":"busy"})").state == session_status::kind::busy));
    BOOST_TEST((status(R"({"type":"something new"})").state == session_status::kind::busy));
    const auto retry = status(R"({"type":"retry","attempt":2,"message":"boom","next":1795289137265})");
    BOOST_TEST((retry == session_status{session_status::kind::retry, 2, "boom", 1795289137265}));
}

BOOST_AUTO_TEST_CASE(an_error_may_lack_its_session_and_its_reason) {
    const auto e = parsed<session_error>(R"({"type":"session.error","properties":{}})");
    BOOST_TEST(e.session_id == "");
    BOOST_TEST(e.error.name == "UnknownError");
    const auto f = parsed<session_error>(
        R"({"type":"session.error","properties":{"sessionID":"s","error":{"name":"APIError","data":{"message":"no","statusCode":401}}}})");
    BOOST_TEST((f.error == api_error{"APIError", "no", 401}));
}

BOOST_AUTO_TEST_CASE(asks_and_their_answers_are_read) {
    const auto p = parsed<permission_asked>(
        R"({"type":"permission.asked","properties":{"id":"per_1","sessionID":"s","permission":"bash","patterns":["a","b"],"metadata":{},"always":[],"tool":{"messageID":"m","callID":"c"}}})");
    BOOST_TEST((p.request == permission_request{"per_1", "s", "bash", {"a", "b"}, "c"}));
    const auto q = parsed<question_asked>(
        R"({"type":"question.asked","properties":{"id":"que_1","sessionID":"s","questions":[{"question":"Which?","header":"H","options":[{"label":"Red","description":"r"}],"multiple":true}],"tool":{"callID":"c"}}})");
    BOOST_TEST((q.request == question_request{"que_1", "s", {{"Which?", "H", true, {{"Red", "r"}}}}, "c"}));
    const auto r = parsed<permission_replied>(
        R"({"type":"permission.replied","properties":{"sessionID":"s","requestID":"per_1","reply":"once"}})");
    BOOST_TEST(r.request_id == "per_1");
    BOOST_TEST(r.reply == "once");
    BOOST_TEST(parsed<question_answered>(
                   R"({"type":"question.rejected","properties":{"sessionID":"s","requestID":"q"}})")
                   .rejected);
    BOOST_TEST(
        !parsed<question_answered>(
             R"({"type":"question.replied","properties":{"sessionID":"s","requestID":"q","answers":[["a"]]}})")
             .rejected);
}

BOOST_AUTO_TEST_CASE(older_servers_shapes_are_understood) {
    BOOST_TEST(parsed<session_deleted>(
                   R"({"type":"session.deleted","properties":{"info":{"id":"s","directory":"/d"}}})")
                   .session_id == "s");
    const auto p = parsed<part_updated>(
        R"({"type":"message.part.updated","properties":{"part":{"id":"p","messageID":"m","sessionID":"s","type":"text","text":"so far"},"delta":"far"}})");
    BOOST_TEST(p.part.text == "so far");
    const auto a = parsed<permission_asked>(
        R"({"type":"permission.updated","properties":{"id":"per_1","type":"bash","pattern":"echo","sessionID":"s","messageID":"m","callID":"c","title":"t"}})");
    BOOST_TEST((a.request == permission_request{"per_1", "s", "bash", {"echo"}, "c"}));
    const auto r = parsed<permission_replied>(
        R"({"type":"permission.replied","properties":{"sessionID":"s","permissionID":"per_1","response":"always"}})");
    BOOST_TEST(r.request_id == "per_1");
    BOOST_TEST(r.reply == "always");
}

BOOST_AUTO_TEST_CASE(an_unknown_type_is_passed_on_with_its_session) {
    const auto o =
        parsed<other_event>(R"({"type":"todo.updated","properties":{"sessionID":"s","todos":[]}})");
    BOOST_TEST(o.type == "todo.updated");
    BOOST_TEST(o.session_id == "s");
    BOOST_TEST(parsed<other_event>(R"({"type":"session.brand.new"})").session_id == "");
}

BOOST_AUTO_TEST_CASE(what_is_missing_is_named_by_its_path) {
    BOOST_TEST(names(complaint(R"({"type":"message.updated","properties":{"sessionID":"s"}})"), "info"));
    BOOST_TEST(names(
        complaint(
            R"({"type":"message.updated","properties":{"info":{"sessionID":"s","role":"user","time":{"created":1}}}})"),
        "info.id"));
    BOOST_TEST(names(
        complaint(
            R"({"type":"message.updated","properties":{"info":{"id":"m","sessionID":"s","role":"user","time":{}}}})"),
        "properties.info.time.created"));
    BOOST_TEST(names(complaint(R"({"type":"session.status","properties":{"sessionID":"s","status":{}}})"),
                     "status.type"));
    BOOST_TEST(names(complaint(R"({"type":"session.idle","properties":{}})"), "properties.sessionID"));
    BOOST_TEST(names(
        complaint(
            R"({"type":"message.part.delta","properties":{"sessionID":"s","messageID":"m","partID":"p"}})"),
        "properties.delta"));
    BOOST_TEST(names(complaint(R"({"properties":{}})"), "type"));
    BOOST_TEST(complaint("{") != "none");
    BOOST_TEST(complaint("[1]") != "none");
}

namespace {

/// Every value of a JSON text, replaced in turn by something else or taken away.
void mangle(json::value& whole, json::value& at, const std::function<void(const json::value&)>& use) {
    if (auto* o = at.if_object()) {
        std::vector<std::string> keys;
        for (const auto& m : *o)
            keys.emplace_back(m.key());
        for (const auto& key : keys) {
            mangle(whole, (*o)[key], use);
            const json::value kept = (*o)[key];
            for (const json::value& other :
                 {json::value(nullptr), json::value(5), json::value("x"), json::value(json::object()),
                  json::value(json::array({1, "y", nullptr}))}) {
                (*o)[key] = other;
                use(whole);
            }
            o->erase(key);
            use(whole);
            (*o)[key] = kept;
        }
    }
    if (auto* a = at.if_array())
        for (auto& item : *a)
            mangle(whole, item, use);
}

} // namespace

BOOST_AUTO_TEST_CASE(whatever_is_changed_or_missing_an_event_parses_or_says_what_is_missing) {
    std::size_t tried = 0;
    for (const char* name : {"42-subagent-permission", "09-question-reply", "40-context-overflow",
                             "32-model-500-retrying-then-abort"})
        for (const auto& data : recorded_data(recording_path(name))) {
            auto parsed_data = parse_json(data);
            BOOST_TEST_REQUIRE(parsed_data.has_value());
            auto whole = std::move(*parsed_data);
            mangle(whole, whole, [&](const json::value& v) {
                const auto e = parse_event(json::serialize(v));
                if (!e && e.error().message.empty())
                    BOOST_ERROR("no reason given for " << v);
                ++tried;
            });
        }
    BOOST_TEST(tried > 10000u);
}

BOOST_AUTO_TEST_CASE(removals_are_read) {
    const auto m = parsed<message_removed>(
        R"({"type":"message.removed","properties":{"sessionID":"s","messageID":"m"}})");
    BOOST_TEST(m.session_id == "s");
    BOOST_TEST(m.message_id == "m");
    const auto p = parsed<part_removed>(
        R"({"type":"message.part.removed","properties":{"sessionID":"s","messageID":"m","partID":"p"}})");
    BOOST_TEST(p.session_id == "s");
    BOOST_TEST(p.message_id == "m");
    BOOST_TEST(p.part_id == "p");
    BOOST_TEST(names(complaint(R"({"type":"message.removed","properties":{"sessionID":"s"}})"), "messageID"));
    BOOST_TEST(
        names(complaint(R"({"type":"message.part.removed","properties":{"sessionID":"s","messageID":"m"}})"),
              "partID"));
}

BOOST_AUTO_TEST_CASE(an_event_under_data_is_read_as_one_under_properties) {
    BOOST_TEST(parsed<session_idle>(R"({"type":"session.idle","data":{"sessionID":"s"}})").session_id == "s");
    // The newer name alone counts where both are.
    BOOST_TEST(parsed<session_idle>(
                   R"({"type":"session.idle","properties":{"sessionID":"s"},"data":{"sessionID":"t"}})")
                   .session_id == "s");
}

BOOST_AUTO_TEST_CASE(what_a_reply_lacks_is_named) {
    BOOST_TEST(
        names(complaint(R"({"type":"permission.replied","properties":{"sessionID":"s","reply":"once"}})"),
              "requestID"));
    BOOST_TEST(
        names(complaint(R"({"type":"permission.replied","properties":{"sessionID":"s","requestID":"r"}})"),
              "reply"));
    BOOST_TEST(
        names(complaint(R"({"type":"question.replied","properties":{"sessionID":"s"}})"), "requestID"));
    BOOST_TEST(
        names(complaint(R"({"type":"question.replied","properties":{"requestID":"r"}})"), "sessionID"));
}

BOOST_AUTO_TEST_CASE(every_kind_of_event_has_its_type_and_its_session) {
    message_updated message;
    message.info.session_id = "s";
    part_updated part;
    part.part.session_id = "s";
    session_created created;
    created.info.id = "s";
    session_updated updated;
    updated.info.id = "s";
    permission_asked permission;
    permission.request.session_id = "s";
    question_asked question;
    question.request.session_id = "s";
    const std::tuple<event, const char*, const char*> rows[] = {
        {other_event{"todo.updated", "s"}, "todo.updated", "s"},
        {server_connected{}, "server.connected", ""},
        {server_heartbeat{}, "server.heartbeat", ""},
        {instance_disposed{"/d"}, "server.instance.disposed", ""},
        {created, "session.created", "s"},
        {updated, "session.updated", "s"},
        {session_deleted{"s"}, "session.deleted", "s"},
        {status_changed{"s", {}}, "session.status", "s"},
        {session_idle{"s"}, "session.idle", "s"},
        {session_error{"s", {}}, "session.error", "s"},
        {session_compacted{"s"}, "session.compacted", "s"},
        {message, "message.updated", "s"},
        {message_removed{"s", "m"}, "message.removed", "s"},
        {part, "message.part.updated", "s"},
        {part_delta{"s", "m", "p", "text", "x"}, "message.part.delta", "s"},
        {part_removed{"s", "m", "p"}, "message.part.removed", "s"},
        {permission, "permission.asked", "s"},
        {permission_replied{"s", "r", "once"}, "permission.replied", "s"},
        {question, "question.asked", "s"},
        {question_answered{"s", "r", false}, "question.replied", "s"},
        {question_answered{"s", "r", true}, "question.rejected", "s"},
    };
    for (const auto& [e, type, session] : rows) {
        BOOST_TEST(type_of(e) == type);
        BOOST_TEST(session_of(e) == session, type);
    }
}

// --- characters that the server cuts in two

namespace {

/// The text of a part whose deltas are written so, in JSON.
std::string joined(const std::vector<std::string>& deltas) {
    delta_joiner joiner;
    std::string text;
    for (const auto& each : deltas) {
        const auto e = parse_event(
            R"({"id":"e","type":"message.part.delta","properties":{"sessionID":"s","messageID":"m",)"
            R"("partID":"p","field":"text","delta":")" +
            each + "\"}}");
        BOOST_TEST_REQUIRE(e.has_value(), each);
        text += joiner.join(std::get<part_delta>(*e));
    }
    return text;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_character_whose_halves_come_in_two_deltas_is_whole) {
    const std::string smile = "\xf0\x9f\x98\x80";
    const std::string lost = "\xef\xbf\xbd";
    BOOST_TEST(joined({R"(\ud83d)", R"(\ude00)"}) == smile);
    BOOST_TEST(joined({R"(a\ud83d)", R"(\uDE00b)"}) == "a" + smile + "b");
    BOOST_TEST(joined({R"(\ud83d\ude00\ud83d)", R"(\ude00\ud83d)", R"(\ude00)"}) == smile + smile + smile);
    BOOST_TEST(joined({R"(a\ud83d)", "b"}) == "a" + lost + "b");
    BOOST_TEST(joined({"a", R"(\ude00b)"}) == "a" + lost + "b");
    BOOST_TEST(joined({R"(\ud83d)", R"(\ud83d)", R"(\ude00)"}) == lost + smile);
    BOOST_TEST(joined({R"(\ud83dx\ud83d)", R"(\ude00)"}) == lost + "x" + smile);
    BOOST_TEST(joined({R"(\\ud83d)", R"(\ude00)"}) == "\\ud83d" + lost);
    BOOST_TEST(joined({R"(\\\ud83d)", R"(\ude00)"}) == "\\" + smile);
    BOOST_TEST(joined({R"(\ud83d\ude00)", R"(\u00e9)"}) == smile + "\xc3\xa9");
    BOOST_TEST(joined({R"(\ud83d)", "", R"(\ude00)"}) == smile);
}

BOOST_AUTO_TEST_CASE(halves_of_different_parts_do_not_meet) {
    delta_joiner joiner;
    part_delta first;
    first.part_id = "p1";
    first.high = 0xd83d;
    part_delta second;
    second.part_id = "p2";
    second.low = 0xde00;
    BOOST_TEST(joiner.join(first).empty());
    BOOST_TEST(joiner.join(second) == "\xef\xbf\xbd");
    second.part_id = "p1";
    BOOST_TEST(joiner.join(second) == "\xf0\x9f\x98\x80");
}

BOOST_AUTO_TEST_CASE(a_delta_without_escapes_beside_ones_that_has_them_is_as_it_is) {
    const auto e =
        parse_event(R"({"id":"e","type":"message.part.delta","properties":{"sessionID":"s","messageID":"m",)"
                    "\"partID\":\"p\\u0031\",\"field\":\"text\",\"delta\":\"\xef\xbf\xbdx\"}}");
    BOOST_TEST_REQUIRE(e.has_value());
    delta_joiner joiner;
    BOOST_TEST(joiner.join(std::get<part_delta>(*e)) == "\xef\xbf\xbdx");
}

BOOST_AUTO_TEST_CASE(halves_that_nothing_follows_are_not_kept_for_ever) {
    delta_joiner joiner;
    part_delta half;
    half.high = 0xd83d;
    for (int n = 0; n <= 64; ++n) {
        half.part_id = "p" + std::to_string(n);
        BOOST_TEST(joiner.join(half).empty());
    }
    part_delta rest;
    rest.low = 0xde00;
    rest.part_id = "p0";
    BOOST_TEST(joiner.join(rest) == "\xef\xbf\xbd");
    rest.part_id = "p64";
    BOOST_TEST(joiner.join(rest) == "\xf0\x9f\x98\x80");
}
