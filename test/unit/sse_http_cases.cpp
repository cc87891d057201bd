// The published cases about HTTP, each driven through an event_source. Where a case speaks for browsers
// alone, the policy by which we differ is named beside what we do.
#include <boost/test/unit_test.hpp>

#include "support/paths.hpp"
#include "support/streams.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <cstddef>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using test::last_chunk;
using test::lines;
using test::place;
using test::response;
using test::send;
using test::sse_response;

namespace {

namespace json = boost::json;

using fixture = test::source_fixture;

json::array published_cases() {
    std::ifstream file(holdfast::test::data_folder() / "cases.json", std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    return json::parse(text).as_object().at("http").as_array();
}

// In the file, each character stands for one byte.
std::string bytes_of(std::string_view text) {
    std::string bytes;
    for (std::size_t n = 0; n < text.size(); ++n) {
        const auto lead = static_cast<unsigned char>(text[n]);
        if (lead < 0x80)
            bytes += text[n];
        else
            bytes += static_cast<char>(((lead & 0x03) << 6) | (static_cast<unsigned char>(text[++n]) & 0x3F));
    }
    return bytes;
}

std::string text_at(const json::object& of, const char* key) {
    const auto* found = of.if_contains(key);
    return found ? bytes_of(found->as_string()) : std::string();
}

test::step answer_of(const json::object& told) {
    std::string more;
    if (const auto target = text_at(told, "location"); !target.empty())
        more = "Location: " + target + "\r\n";
    const auto* delay = told.if_contains("delay_ms");
    return send(response(static_cast<int>(told.at("status").as_int64()), text_at(told, "content_type"),
                         text_at(told, "body"), more),
                milliseconds(delay ? delay->as_int64() : 0));
}

/// One case as we hold it.
struct held_case {
    /// What is told until the script is over and a last 404 ends it; each answer ends right after its body.
    /// By policy the delay then grows without `retry:`, where browsers wait the same each time.
    lines told{};
    /// What else is to be done before, and to hold after it.
    std::function<void(fixture&)> before{};
    std::function<void(fixture&)> after{};
    /// In place of reading to the end.
    std::function<void(fixture&, const json::object&)> instead{};
};

void follow_redirects(fixture& f) {
    f.config.max_redirects = 3;
}

void asked_always(fixture& f, const std::string& name, const std::string& value) {
    BOOST_TEST(f.server.requests().size() >= 2u);
    for (const auto& each : f.server.requests())
        BOOST_TEST(each.header(name) == value);
}

void no_url(const std::string& text) {
    const auto parsed = http::parse_url(text);
    BOOST_TEST_REQUIRE(!parsed.has_value());
    BOOST_TEST((parsed.error().code == errc::invalid_url || parsed.error().code == errc::unsupported_scheme));
    BOOST_TEST(retry::is_final(parsed.error()));
    // The same when a server sends us there.
    fixture f;
    follow_redirects(f);
    f.server.play({send(response(302, "", "", "Location: " + text + "\r\n"))});
    const auto got = f.world.run(f.all());
    CHECK_LINES(got, {"gave up http_status after 1", "end"});
    f.finish();
}

// What an id with NUL is, in each of the case's variants.
void no_id_with_nul(fixture&, const json::object&) {
    for (const auto& id : {"\0\0"s, "x\0"s, "\0x"s, "x\0x"s, " \0"s}) {
        fixture f;
        f.server.play({send(sse_response("id: " + id + "\nretry: 200\ndata: hello\n\n") + last_chunk())});
        f.server.play_ever_after({send(response(404, "text/plain", ""))});
        const auto got = f.world.run(f.all());
        CHECK_LINES(got, {"opened 1", "event hello", "interrupted ended next 1 in 200",
                          "gave up http_status after 1", "end"});
        BOOST_TEST(!f.server.requests().at(1).has_header("Last-Event-ID"));
        f.finish();
    }
}

void close_when_opened(fixture& f, const json::object&) {
    auto got = f.world.run(f.next(1));
    CHECK_LINES(got, {"opened 1"});
    f.source->close();
    BOOST_TEST(!f.source->is_open());
    got = f.world.run(f.next(2));
    CHECK_LINES(got, {"end", "end"});
}

void close_at_once(fixture& f, const json::object&) {
    f.begin();
    f.source->close();
    const auto got = f.world.run(f.next(1));
    CHECK_LINES(got, {"end"});
    BOOST_TEST(f.attempts() == 0u);
}

void close_before_the_head(fixture& f, const json::object&) {
    f.scope.spawn(f.tell_all());
    f.world.run_for(milliseconds(500));
    f.source->close();
    f.world.run_for(milliseconds(1500));
    CHECK_LINES(f.told, {"end"});
    BOOST_TEST(f.attempts() == 1u);
}

void ids_come_back(fixture&, const json::object&) {
    for (const auto& id : {"abc"s, "e5p3n<3k0k0s"s, std::string(255, 'a')}) {
        fixture f;
        f.server.play({send(sse_response("id: " + id + "\ndata: x\n\n") + last_chunk())});
        f.server.play_ever_after({send(response(404, "text/plain", ""))});
        f.world.run(f.all());
        BOOST_TEST(f.server.requests().at(1).header("Last-Event-ID") == id);
        f.finish();
    }
}

// Policy: a name is asked for as it is written, and must be written in punycode: to map it is the caller's
// business.
void names_are_in_punycode(fixture&, const json::object&) {
    no_url("http://\xC3\xA9l\xC3\xA8ve.test/");
    const auto written = http::parse_url("http://xn--lve-6lad.test/");
    BOOST_TEST_REQUIRE(written.has_value());
    BOOST_TEST(written->host_header() == "xn--lve-6lad.test");
}

void every_url_is_refused(fixture&, const json::object& one) {
    for (const auto& each : one.at("urls").as_array())
        no_url(std::string(each.as_string()));
}

void ends_once(fixture&, const json::object&) {
    // Without a reconnect: no attempts after a failure, or a clean end that is the end.
    for (const bool cut : {false, true})
        for (const bool done : {false, true}) {
            fixture f;
            f.config.policy.max_attempts = 0;
            f.config.clean_end = done ? stream::clean_end::done : stream::clean_end::reconnect;
            // A clean end that is not the end is no failure where an event came.
            const auto body = cut || done ? "data: x\n\n" : ": x\n\n";
            f.server.play({send(sse_response(body) + (cut ? "" : last_chunk())), test::reset(seconds(1))});
            auto got = f.world.run(f.all());
            std::erase(got, "event x");
            const auto last = cut ? "gave up cut after 1" : done ? "done" : "gave up early_end after 1";
            CHECK_LINES(got, {"opened 1", last, "end"});
            f.world.run_for(seconds(10));
            BOOST_TEST(f.attempts() == 1u);
            f.finish();
        }
}

void asks_again(fixture& f) {
    for (int n = 0; n < 2; ++n)
        f.server.play({send(sse_response("data: x\n\n") + last_chunk())});
}

held_case told(lines what) {
    held_case made;
    made.told = std::move(what);
    return made;
}

held_case done_by(std::function<void(fixture&, const json::object&)> instead) {
    held_case made;
    made.instead = std::move(instead);
    return made;
}

held_case told_and(lines what, std::function<void(fixture&)> before, std::function<void(fixture&)> after) {
    held_case made;
    made.told = std::move(what);
    made.before = std::move(before);
    made.after = std::move(after);
    return made;
}

std::map<std::string, held_case> all_cases() {
    const lines once{"opened 1", "event data", "interrupted ended next 1 in 1000",
                     "gave up http_status after 1"};
    const lines twice{"opened 1",
                      "event x",
                      "interrupted ended next 1 in 1000",
                      "opened 1",
                      "event x",
                      "interrupted ended next 1 in 2000",
                      "gave up http_status after 1"};
    return {
        {"mime-bogus", told({"gave up content_type after 1"})},
        {"mime-valid-bogus", told({"gave up content_type after 1"})},
        {"mime-trailing-semicolon", told(once)},
        {"mime-charset-ignored", told({"opened 1", "event ok\xE2\x80\xA6", "interrupted ended next 1 in 1000",
                                       "gave up http_status after 1"})},
        {"status-204", told({"gave up http_status after 1"})},
        {"status-210", told({"gave up http_status after 1"})},
        {"status-404", told({"gave up http_status after 1"})},
        // Policy: 5xx are transient here, where browsers give up; policy::statuses has them final.
        {"status-503", told({"interrupted http_status next 2 in 1000", "gave up http_status after 2"})},
        // Policy: redirects are off by default (the test below); on, they are followed as browsers do.
        {"redirect-302", told_and(once, follow_redirects,
                                  [](fixture& f) {
                                      BOOST_TEST(f.server.requests().at(1).target() ==
                                                 "/eventsource/resources/message.py");
                                  })},
        {"redirect-303", told_and(once, follow_redirects,
                                  [](fixture& f) {
                                      BOOST_TEST(f.server.requests().at(1).target() ==
                                                 "/eventsource/resources/message.py");
                                  })},
        {"accept-header",
         told_and(twice, asks_again, [](fixture& f) { asked_always(f, "Accept", "text/event-stream"); })},
        {"cache-control-header",
         told_and(twice, asks_again, [](fixture& f) { asked_always(f, "Cache-Control", "no-cache"); })},
        {"last-event-id-roundtrip",
         told_and({"opened 1", "event hello", "interrupted ended next 1 in 200", "opened 1",
                   "event \xE2\x80\xA6", "interrupted ended next 1 in 200", "gave up http_status after 1"},
                  {},
                  [](fixture& f) {
                      for (std::size_t n = 1; n < 3; ++n)
                          BOOST_TEST(f.server.requests().at(n).header("Last-Event-ID") == "\xE2\x80\xA6");
                  })},
        {"last-event-id-null-ignored", done_by(no_id_with_nul)},
        {"partial-event-id-not-sent",
         told_and(
             {"opened 1", "event test1", "interrupted ended next 1 in 1000", "gave up http_status after 1"},
             {}, [](fixture& f) { BOOST_TEST(!f.server.requests().at(1).has_header("Last-Event-ID")); })},
        {"retry-3000",
         told({"opened 1", "event x", "interrupted ended next 1 in 3000", "gave up http_status after 1"})},
        {"retry-bogus-3000",
         told({"opened 1", "event x", "interrupted ended next 1 in 3000", "gave up http_status after 1"})},
        // Policy: no delay below min_delay, 10 ms, where browsers take the 2 ms at their word.
        {"reconnect-then-204",
         told({"opened 1", "event opened", "interrupted ended next 1 in 10", "opened 1", "event reconnected",
               "interrupted ended next 1 in 10", "gave up http_status after 1"})},
        {"close-in-open-handler", done_by(close_when_opened)},
        {"close-before-connected", done_by(close_at_once)},
        {"cancel-while-waiting-headers", done_by(close_before_the_head)},
        {"bad-scheme", done_by(every_url_is_refused)},
        {"bad-url", done_by(every_url_is_refused)},
        {"idn-host", done_by(names_are_in_punycode)},
        {"final-state-eof-no-reconnect-mode", done_by(ends_once)},
        // Policy: no origin, so no preflight: such ids are simply sent.
        {"cors-unsafe-last-event-id", done_by(ids_come_back)},
    };
}

void play(fixture& f, const json::object& one) {
    f.server.play_ever_after({send(response(404, "text/plain", ""))});
    if (const auto* answers = one.if_contains("responses"))
        for (const auto& each : answers->as_array())
            f.server.play({answer_of(each.as_object())});
}

} // namespace

BOOST_AUTO_TEST_CASE(every_published_case_about_http_does_what_it_says_or_what_our_policy_says) {
    const auto held = all_cases();
    std::set<std::string> seen;
    for (const auto& each : published_cases()) {
        const auto& one = each.as_object();
        const std::string id(one.at("id").as_string());
        BOOST_TEST_CONTEXT(id) {
            BOOST_TEST(seen.insert(id).second);
            const auto mine = held.find(id);
            BOOST_TEST_REQUIRE((mine != held.end()), "the case is not held");
            fixture f;
            if (mine->second.before)
                mine->second.before(f);
            play(f, one);
            if (mine->second.instead) {
                mine->second.instead(f, one);
            } else {
                auto told = f.world.run(f.all());
                BOOST_TEST(told.back() == "end");
                told.pop_back();
                BOOST_TEST(told == mine->second.told, boost::test_tools::per_element());
            }
            if (mine->second.after)
                mine->second.after(f);
            f.finish();
        }
    }
    BOOST_TEST(seen.size() == held.size());
}

BOOST_AUTO_TEST_CASE(redirects_are_not_followed_by_default_and_their_target_is_shown) {
    for (const auto& each : published_cases()) {
        const auto& one = each.as_object();
        if (!std::string_view(one.at("id").as_string()).starts_with("redirect-"))
            continue;
        fixture f;
        play(f, one);
        const auto got = f.world.run(f.all());
        CHECK_LINES(got, {"gave up http_status after 1", "end"});
        BOOST_TEST(f.last.failure.message.find("http://a.test/eventsource/resources/message.py") !=
                   std::string::npos);
        f.finish();
    }
}
