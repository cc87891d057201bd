// The simulated server: its HTTP side, its turns and their truth, its process and its faults.
#include <boost/test/unit_test.hpp>

#include "support/protocol_rows.hpp"
#include "support/sim_player.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace json = boost::json;
using namespace holdfast;
using namespace std::chrono_literals;
using namespace test;
using testing::fault;
using outcome = opencode_sim::outcome;

BOOST_AUTO_TEST_SUITE(http)

namespace {

/// Everything that the server sends when it gets these bytes in these pieces.
std::string answer_to(const std::vector<std::string_view>& pieces) {
    world w;
    const auto id = w.connect();
    for (const auto piece : pieces)
        w.send(id, piece);
    w.run_for(1s);
    return w.wires[id].bytes;
}

std::string chunked_request(std::string_view target, const std::vector<std::string_view>& chunks) {
    std::string out =
        "POST " + std::string(target) + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (const auto chunk : chunks) {
        char size[20];
        std::snprintf(size, sizeof size, "%zx;ext=1\r\n", chunk.size());
        out += size + std::string(chunk) + "\r\n";
    }
    return out + "0\r\n\r\n";
}

} // namespace

BOOST_AUTO_TEST_CASE(requests_mean_the_same_however_they_are_cut) {
    const auto all = world::request_text("POST", "/session", "{\"title\":\"a title\"}") +
                     chunked_request("/session", {"{\"title\"", ":\"another\"}"}) +
                     world::request_text("GET", "/session?limit=1") +
                     world::request_text("GET", "/session/nothing");
    const std::string_view text = all;
    const auto whole = answer_to({text});
    BOOST_TEST(whole.find("a title") != std::string::npos);
    BOOST_TEST(whole.find("another") != std::string::npos);
    BOOST_TEST(whole.find("UnknownError") != std::string::npos);
    for (std::size_t cut = 1; cut < text.size(); ++cut)
        BOOST_TEST(answer_to({text.substr(0, cut), text.substr(cut)}) == whole, "cut at " << cut);
    std::vector<std::string_view> bytes;
    for (std::size_t i = 0; i < text.size(); ++i)
        bytes.push_back(text.substr(i, 1));
    BOOST_TEST(answer_to(bytes) == whole);
}

BOOST_AUTO_TEST_CASE(a_connection_serves_one_request_after_the_other) {
    world w;
    const auto id = w.connect();
    for (int i = 0; i < 3; ++i) {
        w.send(id, world::request_text("GET", "/global/health"));
        BOOST_TEST(w.finish_call(id).body == "{\"healthy\":true,\"version\":\"1.18.33\"}");
    }
    BOOST_TEST(!w.wires[id].closed);
}

BOOST_AUTO_TEST_CASE(a_connection_that_is_to_be_closed_is_closed) {
    world w;
    const auto id = w.connect();
    w.send(id, world::request_text("GET", "/global/health", {}, "Connection: close\r\n"));
    BOOST_TEST(w.finish_call(id).status == 200);
    BOOST_TEST(w.wires[id].closed);
}

BOOST_AUTO_TEST_CASE(a_client_that_waits_for_100_continue_gets_it) {
    world w;
    const auto id = w.connect();
    w.send(id, "POST /session HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    BOOST_TEST(w.wires[id].bytes == "HTTP/1.1 100 Continue\r\n\r\n");
    w.wires[id].bytes.clear();
    w.send(id, "{}");
    BOOST_TEST(w.finish_call(id).status == 200);
}

BOOST_AUTO_TEST_CASE(what_is_not_http_is_refused_and_the_connection_closed) {
    for (const auto* bytes : {"hello\r\n\r\n", "GET / HTTP/3.0\r\n\r\n", "GET / HTTP/1.1\r\n: x\r\n\r\n",
                              "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                              "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
        world w;
        const auto id = w.connect();
        w.send(id, bytes);
        BOOST_TEST(w.wires[id].bytes.starts_with("HTTP/1.1 400 "), bytes);
        BOOST_TEST(w.wires[id].closed, bytes);
    }
}

BOOST_AUTO_TEST_CASE(a_password_is_asked_for_on_every_route) {
    opencode_sim::options settings;
    settings.password = "secret";
    world w(settings);
    for (const auto* target : {"/global/health", "/event", "/session", "/doc"}) {
        const auto r = w.call("GET", target);
        BOOST_TEST(r.status == 401);
        BOOST_TEST(r.body.empty());
        BOOST_TEST(r.head.find("WWW-Authenticate: Basic realm=\"Secure Area\"") != std::string::npos);
    }
    BOOST_TEST(w.call("GET", "/api/session").body == "{\"_tag\":\"UnauthorizedError\"}");
    // base64 of opencode:secret and of opencode:wrong
    BOOST_TEST(w.call("GET", "/session", {}, "Authorization: Basic b3BlbmNvZGU6c2VjcmV0\r\n").status == 200);
    BOOST_TEST(w.call("GET", "/session", {}, "Authorization: Basic b3BlbmNvZGU6d3Jvbmc=\r\n").status == 401);
    BOOST_TEST(w.call("GET", "/session?auth_token=b3BlbmNvZGU6c2VjcmV0").status == 200);
}

BOOST_AUTO_TEST_CASE(errors_have_the_shapes_of_the_real_server) {
    world w;
    const auto session = w.create();
    struct row {
        std::string method, target, body;
        int status;
        std::string holds;
    };
    const std::vector<row> rows = {
        {"GET", "/session/ses_none", "", 404, R"({"name":"NotFoundError","data":{"message")"},
        {"GET", "/session/ses_none/message", "", 404, "NotFoundError"},
        {"POST", "/session/ses_none/prompt_async", "{\"parts\":[]}", 404, "NotFoundError"},
        {"GET", "/session/" + session + "/message/msg_none", "", 404, "NotFoundError"},
        {"GET", "/session/none", "", 500, R"({"name":"UnknownError","data":{"message")"},
        {"POST", "/session", "{not json", 500, R"("ref":"err_)"},
        {"POST", "/session/" + session + "/prompt_async", "{}", 400,
         R"({"name":"BadRequest","data":{"message")"},
        {"POST", "/session/" + session + "/prompt_async", "{\"parts\":[1]}", 400, R"("kind":"Body")"},
        {"POST", "/session/" + session + "/prompt_async", "{\"messageID\":\"x\",\"parts\":[]}", 400,
         "BadRequest"},
        {"POST", "/permission/per_none/reply", "{\"reply\":\"once\"}", 404,
         R"({"_tag":"PermissionNotFoundError","requestID":"per_none","message")"},
        {"POST", "/question/que_none/reply", "{\"answers\":[]}", 404,
         R"({"_tag":"QuestionNotFoundError","requestID":"que_none","message")"},
        {"POST", "/question/que_none/reject", "", 404, "QuestionNotFoundError"},
    };
    for (const auto& r : rows) {
        const auto got = w.call(r.method, r.target, r.body);
        BOOST_TEST(got.status == r.status, r.method << " " << r.target);
        BOOST_TEST(got.body.find(r.holds) != std::string::npos, got.body);
    }
}

BOOST_AUTO_TEST_CASE(unknown_routes_are_the_web_page) {
    world w;
    const std::vector<std::pair<std::string, std::string>> routes = {
        {"GET", "/"}, {"GET", "/nothing"}, {"HEAD", "/event"}, {"POST", "/no/such"}, {"PUT", "/session"}};
    for (const auto& [method, target] : routes) {
        const auto r = w.call(method, target);
        BOOST_TEST(r.status == 200);
        BOOST_TEST(r.head.find("Content-Type: text/html") != std::string::npos);
    }
}

BOOST_AUTO_TEST_CASE(messages_are_paged_backwards_by_cursor) {
    world w;
    const auto session = w.create();
    for (int i = 0; i < 5; ++i)
        w.prompt(session, std::to_string(i), ",\"noReply\":true");
    const auto texts = [](const response& r) {
        std::string out;
        for (const auto& m : r.list())
            out += text(m.at("parts").at(0).at("text"));
        return out;
    };
    const auto cursor = [](const response& r) {
        const auto at = r.head.find("X-Next-Cursor: ");
        return at == std::string::npos ? std::string()
                                       : r.head.substr(at + 15, r.head.find("\r\n", at) - at - 15);
    };
    const auto base = "/session/" + session + "/message";
    BOOST_TEST(texts(w.call("GET", base)) == "01234");
    auto page = w.call("GET", base + "?limit=2");
    BOOST_TEST(texts(page) == "34");
    BOOST_TEST(page.head.find("Link: <" + base + "?limit=2&before=" + cursor(page) + ">; rel=\"next\"") !=
               std::string::npos);
    page = w.call("GET", base + "?limit=2&before=" + cursor(page));
    BOOST_TEST(texts(page) == "12");
    page = w.call("GET", base + "?limit=2&before=" + cursor(page));
    BOOST_TEST(texts(page) == "0");
    BOOST_TEST(cursor(page).empty());
    BOOST_TEST(w.call("GET", base + "?limit=2&before=zzz").status == 400);
}

BOOST_AUTO_TEST_CASE(a_stream_greets_and_beats_every_ten_seconds) {
    world w;
    const auto stream = w.subscribe();
    BOOST_TEST(w.wires[stream].bytes.find("Content-Type: text/event-stream") != std::string::npos);
    BOOST_TEST(w.count(stream, "server.connected") == 1u);
    w.run_for(9999ms);
    BOOST_TEST(w.count(stream, "server.heartbeat") == 0u);
    w.run_for(20s);
    BOOST_TEST(w.count(stream, "server.heartbeat") == 2u);
}

BOOST_AUTO_TEST_CASE(each_event_is_one_chunk) {
    world w;
    const auto stream = w.subscribe();
    w.prompt(w.create(), "#plain");
    w.run_for(2s);
    std::string_view rest = w.wires[stream].bytes;
    rest.remove_prefix(rest.find("\r\n\r\n") + 4);
    while (!rest.empty()) {
        const auto line_end = rest.find("\r\n");
        const auto size = std::stoul(std::string(rest.substr(0, line_end)), nullptr, 16);
        const auto chunk = rest.substr(line_end + 2, size);
        BOOST_TEST_REQUIRE(chunk.starts_with("data: {"));
        BOOST_TEST_REQUIRE(chunk.find("\n\n") == chunk.size() - 2);
        rest.remove_prefix(line_end + 2 + size + 2);
    }
}

BOOST_AUTO_TEST_CASE(a_client_of_http_1_0_gets_a_stream_without_chunks) {
    world w;
    const auto id = w.connect();
    w.send(id, "GET /event HTTP/1.0\r\n\r\n");
    const auto& bytes = w.wires[id].bytes;
    BOOST_TEST(bytes.find("chunked") == std::string::npos);
    BOOST_TEST(bytes.substr(bytes.find("\r\n\r\n") + 4).starts_with("data: {"));
}

BOOST_AUTO_TEST_CASE(a_stream_has_the_events_of_its_directory_alone_after_normalising) {
    world w;
    const auto sees = [&](std::string_view stream_target, std::string_view headers,
                          std::string_view session_target) {
        const auto id = w.connect();
        w.send(id, world::request_text("GET", stream_target, {}, headers));
        w.call("POST", session_target, "{}");
        return w.count(id, "session.created") == 1;
    };
    BOOST_TEST(sees("/event", "", "/session"));
    BOOST_TEST(sees("/event?directory=/sim", "", "/session"));
    BOOST_TEST(sees("/event?directory=/a", "", "/session?directory=/a/"));
    BOOST_TEST(sees("/event?directory=%2Fa%2Fx%2F..", "", "/session?directory=/a"));
    BOOST_TEST(sees("/event", "x-opencode-directory: %2Fa\r\n", "/session?directory=/a"));
    BOOST_TEST(sees("/event?directory=/b", "x-opencode-directory: /a\r\n", "/session?directory=/b"));
    BOOST_TEST(sees("/global/event", "", "/session?directory=/anywhere"));
    BOOST_TEST(!sees("/event", "", "/session?directory=/a"));
    BOOST_TEST(!sees("/event?directory=/a", "", "/session?directory=/a/sub"));
    BOOST_TEST(!sees("/event?directory=/a/sub", "", "/session?directory=/a"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(turns)

namespace {

opencode_sim::turn_truth only_truth(const world& w) {
    const auto all = w.sim.truth();
    BOOST_TEST_REQUIRE(all.size() == 1u);
    return all.front();
}

json::array messages(world& w, const std::string& session) {
    return w.call("GET", "/session/" + session + "/message").list();
}

std::string status_of(world& w, const std::string& session) {
    const auto all = w.call("GET", "/session/status").parsed().as_object();
    return all.contains(session) ? text(all.at(session).at("type")) : "";
}

} // namespace

BOOST_AUTO_TEST_CASE(the_truth_says_how_each_script_ends) {
    struct row {
        std::string tag;
        outcome how;
        std::string text, said, error;
        int runs;
    };
    const std::string hello = "Hello from the simulated model.";
    const std::vector<row> rows = {
        {"no tag", outcome::completed, hello, hello, "", 1},
        {"#plain", outcome::completed, hello, hello, "", 1},
        {"see #1, then #slow:3", outcome::completed, "w0 w1 w2 ", "w0 w1 w2 ", "", 1},
        {"#reason", outcome::completed, "Answer is 42.", "Answer is 42.", "", 1},
        {"#tool", outcome::completed, "I read it.", "I read it.", "", 2},
        {"#write", outcome::completed, "I wrote it.", "I wrote it.", "", 2},
        {"#todo", outcome::completed, "Todo made.", "Todo made.", "", 2},
        {"#early", outcome::completed, hello, hello, "", 1},
        {"#silent:5000", outcome::completed, hello, hello, "", 1},
        {"#big:10", outcome::completed, "xxxxxxxxxx", "xxxxxxxxxx", "", 1},
        {"#length", outcome::completed, "truncated ans", "truncated ans", "", 1},
        {"#error", outcome::failed, "", "", "APIError", 1},
        {"#e500", outcome::failed, "", "", "APIError", 6},
        {"#e500once", outcome::completed, "Recovered.", "Recovered.", "", 2},
        {"#retry", outcome::completed, "Recovered.", "Recovered.", "", 2},
        {"#throttle:100", outcome::completed, "Recovered.", "Recovered.", "", 2},
        {"#cutonce", outcome::completed, "whole.", "partial whole.", "", 2},
        {"#errchunk", outcome::failed, "ok ", "ok ok ok ok ok ok ", "UnknownError", 6},
        {"#garbage", outcome::failed, "ok ", "ok ", "UnknownError", 1},
        {"#overflow", outcome::failed, "", "", "ContextOverflowError", 2},
        {"#overflow-ok", outcome::completed, "Recovered after the compaction.",
         "Recovered after the compaction.", "", 3},
    };
    for (const auto& r : rows) {
        BOOST_TEST_CONTEXT(r.tag) {
            world w;
            w.prompt(w.create(), r.tag);
            BOOST_TEST((only_truth(w).outcome == outcome::pending));
            w.run_for(5min);
            const auto t = only_truth(w);
            BOOST_TEST(to_string(t.outcome) == to_string(r.how));
            BOOST_TEST(t.text == r.text);
            BOOST_TEST(t.said == r.said);
            BOOST_TEST(t.error == r.error);
            BOOST_TEST(t.model_runs == r.runs);
            BOOST_TEST(!t.running);
        }
    }
}

BOOST_AUTO_TEST_CASE(a_rejection_without_a_word_ends_the_turn_and_one_with_a_word_does_not) {
    for (const bool told : {false, true}) {
        player p;
        p.stream = p.subscribe();
        p.begin("#ask");
        p.reply("reject", told ? ",\"message\":\"use ls\"" : "");
        p.plain_end();
        BOOST_TEST((only_truth(p).outcome == (told ? outcome::completed : outcome::rejected)));
        BOOST_TEST(only_truth(p).text == (told ? "Tool said hi." : "Running it. "));
        BOOST_TEST(p.seen("session.idle") == 1u);
    }
}

BOOST_AUTO_TEST_CASE(always_asks_no_more_until_the_process_is_another) {
    player p;
    p.stream = p.subscribe();
    p.begin("#ask");
    p.reply("always");
    p.plain_end();
    p.prompt(p.session, "#ask");
    p.plain_end();
    BOOST_TEST(p.seen("permission.asked") == 1u);
    p.sim.restart(p.now);
    p.run_for(5s);
    p.prompt(p.session, "#ask");
    p.plain_end();
    BOOST_TEST(p.call("GET", "/permission").list().size() == 1u);
}

BOOST_AUTO_TEST_CASE(the_wait_between_retries_doubles_up_to_thirty_seconds_five_times) {
    world w;
    const auto stream = w.subscribe();
    w.prompt(w.create(), "#e500");
    w.run_for(5min);
    std::vector<long> waits;
    for (const auto& e : w.events(stream)) {
        if (e.at("type").as_string() != "session.status" ||
            e.at("properties").at("status").at("type").as_string() != "retry")
            continue;
        BOOST_TEST(e.at("properties").at("status").at("attempt").as_int64() ==
                   static_cast<long>(waits.size()) + 1);
        // the id carries the time of the event: 12 hex digits of ms * 4096 + n, of which the upper bits are
        // cut off
        const auto id = text(e.at("id"));
        const auto at = std::stoull(id.substr(4, 12), nullptr, 16) / 4096;
        const auto next =
            static_cast<unsigned long long>(e.at("properties").at("status").at("next").as_int64());
        waits.push_back(static_cast<long>((next & ((1ULL << 36) - 1)) - at));
    }
    BOOST_TEST_REQUIRE(waits.size() == 5u);
    const long least[] = {2000, 4000, 8000, 16000, 30000};
    for (std::size_t i = 0; i < 5; ++i) {
        BOOST_TEST(waits[i] >= least[i]);
        BOOST_TEST(waits[i] <= std::min(least[i] * 5 / 4, 30000L));
    }
}

BOOST_AUTO_TEST_CASE(prompts_posted_before_the_loop_began_are_answered_by_the_last_one_alone) {
    player p;
    p.stream = p.subscribe();
    p.begin("#slow:3");
    p.prompt(p.session, "#plain");
    p.plain_end();
    const auto all = p.sim.truth();
    BOOST_TEST(all[0].merged_into == all[1].message);
    BOOST_TEST((all[0].outcome == outcome::completed));
    BOOST_TEST(all[0].text == "");
    BOOST_TEST(all[1].text == "Hello from the simulated model.");
    BOOST_TEST(all[0].model_runs == 0);
    BOOST_TEST(p.seen("session.idle") == 1u);
}

BOOST_AUTO_TEST_CASE(a_prompt_posted_while_a_tool_runs_takes_the_next_step) {
    player p;
    p.stream = p.subscribe();
    p.begin("#ask");
    p.ask();
    p.prompt(p.session, "#plain");
    p.reply("once");
    p.plain_end();
    const auto all = p.sim.truth();
    BOOST_TEST((all[0].outcome == outcome::completed));
    BOOST_TEST(all[0].text == "Running it. ");
    BOOST_TEST(all[0].merged_into == "");
    BOOST_TEST(all[1].text == "Hello from the simulated model.");
    BOOST_TEST(p.seen("session.idle") == 1u);
}

BOOST_AUTO_TEST_CASE(a_prompt_posted_while_the_first_streams_is_answered_after_it_with_one_idle_at_the_end) {
    player p;
    p.stream = p.subscribe();
    p.begin("#slow:10");
    p.until_seen("message.part.delta", 3);
    p.prompt(p.session, "#plain");
    p.plain_end();
    const auto all = p.sim.truth();
    BOOST_TEST(all[0].text == "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 ");
    BOOST_TEST(all[1].text == "Hello from the simulated model.");
    BOOST_TEST(p.seen("session.idle") == 1u);
}

BOOST_AUTO_TEST_CASE(an_abort_with_two_prompts_open_ends_both_and_only_the_first_has_a_message) {
    player p;
    p.stream = p.subscribe();
    p.begin("#slow:100");
    p.until_seen("message.part.delta", 3);
    p.prompt(p.session, "#plain");
    p.abort();
    p.plain_end();
    const auto all = p.sim.truth();
    BOOST_TEST((all[0].outcome == outcome::aborted));
    BOOST_TEST((all[1].outcome == outcome::aborted));
    BOOST_TEST(messages(p, p.session).size() == 3u);
}

BOOST_AUTO_TEST_CASE(an_abort_is_answered_with_the_second_idle_at_most_260_ms_after_the_first) {
    for (const auto* tag : {"#slow:200", "#ask", "#question", "#silent"}) {
        for (std::uint64_t seed = 1; seed <= 20; ++seed) {
            opencode_sim::options settings;
            settings.seed = seed;
            player p(settings);
            p.stream = p.subscribe();
            p.begin(tag);
            p.run_for(500ms);
            const auto call = p.start_abort(p.session);
            BOOST_TEST(p.seen("session.idle") == 1u);
            BOOST_TEST(status_of(p, p.session) == "");
            const auto began = p.now;
            p.until_seen("session.idle", 2);
            BOOST_TEST(to_ms(p.now - began) <= 260);
            BOOST_TEST(take_response(p.wires[call]).value().body == "true");
            BOOST_TEST((only_truth(p).outcome == outcome::aborted));
        }
    }
}

BOOST_AUTO_TEST_CASE(a_second_abort_gives_a_third_idle) {
    player p;
    p.stream = p.subscribe();
    p.begin("#ask");
    p.ask();
    const auto first = p.start_abort(p.session);
    const auto second = p.start_abort(p.session);
    p.finish_call(first);
    p.finish_call(second);
    p.plain_end();
    BOOST_TEST(p.seen("session.idle") == 3u);
}

BOOST_AUTO_TEST_CASE(an_abort_of_an_unknown_session_says_true_and_emits_an_idle) {
    world w;
    const auto stream = w.subscribe();
    BOOST_TEST(w.finish_call(w.start_abort("ses_unknown")).body == "true");
    BOOST_TEST(w.count(stream, "session.idle") == 1u);
}

BOOST_AUTO_TEST_CASE(a_prompt_posted_while_an_abort_settles_runs_afterwards) {
    player p;
    p.begin("#ask");
    p.ask();
    const auto call = p.start_abort(p.session);
    p.prompt(p.session, "#plain");
    p.finish_call(call);
    p.plain_end();
    const auto all = p.sim.truth();
    BOOST_TEST((all[0].outcome == outcome::aborted));
    BOOST_TEST((all[1].outcome == outcome::completed));
}

BOOST_AUTO_TEST_CASE(an_ask_outlives_the_abort_of_its_turn_and_takes_one_reply) {
    player p;
    p.stream = p.subscribe();
    p.begin("#ask");
    const auto id = text(p.ask().at("id"));
    p.abort();
    BOOST_TEST(p.call("GET", "/permission").list().size() == 1u);
    BOOST_TEST(p.call("POST", "/permission/" + id + "/reply", "{\"reply\":\"once\"}").status == 200);
    BOOST_TEST(p.seen("permission.replied") == 1u);
    BOOST_TEST(p.call("POST", "/permission/" + id + "/reply", "{\"reply\":\"once\"}").status == 404);
    p.plain_end();
    BOOST_TEST(p.sim.truth().front().model_runs == 1);
}

BOOST_AUTO_TEST_CASE(an_abort_of_a_parent_ends_the_child_first) {
    player p;
    p.stream = p.subscribe();
    p.begin("#task:ask");
    const auto asked = p.ask();
    const auto child = text(asked.at("sessionID"));
    BOOST_TEST(child != p.session);
    BOOST_TEST(p.call("GET", "/session/" + p.session + "/children").list().size() == 1u);
    p.abort();
    std::vector<std::string> idles;
    for (const auto& e : p.events(p.stream))
        if (e.at("type").as_string() == "session.idle")
            idles.push_back(text(e.at("properties").at("sessionID")));
    BOOST_TEST((idles == std::vector<std::string>{child, child, p.session, p.session}));
    for (const auto& t : p.sim.truth())
        BOOST_TEST((t.outcome == outcome::aborted));
}

BOOST_AUTO_TEST_CASE(the_turn_of_a_deleted_session_goes_on_and_never_ends) {
    player p;
    p.stream = p.subscribe();
    p.begin("#slow:50");
    p.until_seen("message.part.delta", 5);
    BOOST_TEST(p.call("DELETE", "/session/" + p.session).body == "true");
    BOOST_TEST(p.seen("session.deleted") == 1u);
    p.run_for(1min);
    BOOST_TEST(p.seen("message.part.delta") == 50u);
    BOOST_TEST(p.seen("session.idle") == 0u);
    // After it come deltas alone, and then the tries that fail to write.
    const auto tokens = tokens_of(p.events(p.stream));
    auto at = std::find_if(tokens.begin(), tokens.end(),
                           [](const token& t) { return t.what == "session.deleted"; });
    for (++at; at != tokens.end(); ++at)
        BOOST_TEST(at->what.starts_with("session.status "), at->what);
    BOOST_TEST(status_of(p, p.session) != "");
    BOOST_TEST(p.call("GET", "/session/" + p.session).status == 404);
    BOOST_TEST(only_truth(p).deleted);
    BOOST_TEST((only_truth(p).outcome == outcome::interrupted));
}

BOOST_AUTO_TEST_CASE(rest_gives_a_running_part_and_one_thrown_away_as_empty) {
    player p;
    p.stream = p.subscribe();
    p.begin("#cutonce");
    p.until_seen("message.part.delta", 1);
    const auto texts = [&] {
        std::string out;
        const auto all = messages(p, p.session);
        for (const auto& part : all.at(1).at("parts").as_array())
            if (part.at("type").as_string() == "text")
                out += "[" + text(part.at("text")) + "]";
        return out;
    };
    BOOST_TEST(texts() == "[]");
    p.run_for(10s);
    BOOST_TEST(texts() == "[][whole.]");
}

BOOST_AUTO_TEST_CASE(a_compaction_that_works_goes_on_under_messages_of_the_servers_own) {
    player p;
    p.stream = p.subscribe();
    p.begin("#overflow-ok");
    p.plain_end();
    const auto all = messages(p, p.session);
    BOOST_TEST_REQUIRE(all.size() == 6u);
    const auto id = [&](std::size_t i) {
        return all.at(i).at("info").at("id");
    };
    const auto parent = [&](std::size_t i) {
        return all.at(i).at("info").at("parentID");
    };
    BOOST_TEST((parent(1) == id(0)));
    BOOST_TEST(!all.at(1).at("info").as_object().contains("finish"));
    BOOST_TEST(!all.at(1).at("info").as_object().contains("error"));
    BOOST_TEST(all.at(2).at("parts").at(0).at("type").as_string() == "compaction");
    BOOST_TEST((parent(3) == id(2)));
    BOOST_TEST(all.at(3).at("info").at("mode").as_string() == "compaction");
    BOOST_TEST(all.at(3).at("info").at("summary").as_bool());
    BOOST_TEST(all.at(4).at("parts").at(0).at("synthetic").as_bool());
    BOOST_TEST((parent(5) == id(4)));
    BOOST_TEST(p.seen("session.compacted") == 1u);
    BOOST_TEST(p.seen("session.error") == 1u);
    BOOST_TEST(p.seen("session.idle") == 1u);
}

BOOST_AUTO_TEST_CASE(a_message_may_say_finished_before_its_first_part) {
    player p;
    p.stream = p.subscribe();
    p.begin("#early");
    p.plain_end();
    const auto tokens = tokens_of(p.events(p.stream));
    const auto at = [&](std::string_view what) {
        return std::find_if(tokens.begin(), tokens.end(),
                            [&](const token& t) { return t.what.starts_with(what); });
    };
    BOOST_TEST((at("message.updated assistant finish=stop completed") < at("part step-start")));
    BOOST_TEST((at("message.updated assistant m2") == tokens.end()));
}

BOOST_AUTO_TEST_CASE(streams_that_are_behind_tell_a_message_as_it_has_become_and_lose_nothing) {
    const auto told = [](double late_events) {
        opencode_sim::options settings;
        settings.late_events = late_events;
        settings.lag = 400ms;
        player p(settings);
        p.stream = p.subscribe();
        p.begin("#slow:30");
        bool ahead = false;
        p.until([&] {
            const auto all = messages(p, p.session);
            ahead = ahead || (all.size() > 1 && p.seen("message.updated") < 2);
            return p.seen("session.idle") == 1;
        });
        std::string text_of_deltas;
        for (const auto& e : p.events(p.stream))
            if (e.at("type").as_string() == "message.part.delta")
                text_of_deltas += text(e.at("properties").at("delta"));
        BOOST_TEST(text_of_deltas == p.sim.truth().front().said);
        return ahead;
    };
    BOOST_TEST(told(1));
    BOOST_TEST(!told(0));
}

BOOST_AUTO_TEST_CASE(an_abort_is_answered_before_its_events_when_the_streams_are_behind) {
    opencode_sim::options settings;
    settings.late_events = 1;
    settings.lag = 400ms;
    bool answered_first = false;
    for (settings.seed = 1; settings.seed <= 20; ++settings.seed) {
        player p(settings);
        p.stream = p.subscribe();
        p.begin("#silent");
        p.until([&] { return messages(p, p.session).size() > 1; });
        p.abort();
        answered_first = answered_first || p.seen("session.error") == 0;
        p.plain_end();
        BOOST_TEST(p.seen("session.idle") == 2u);
        BOOST_TEST((only_truth(p).outcome == outcome::aborted));
    }
    BOOST_TEST(answered_first);
}

BOOST_AUTO_TEST_CASE(a_new_stream_has_nothing_that_was_before_it) {
    opencode_sim::options settings;
    settings.late_events = 1;
    settings.lag = 400ms;
    for (settings.seed = 1; settings.seed <= 20; ++settings.seed) {
        player p(settings);
        p.begin("#slow:30");
        p.until([&] { return messages(p, p.session).size() > 1; });
        p.stream = p.subscribe();
        const auto said = p.sim.truth().front().said;
        p.run_for(5s);
        std::string text_of_deltas;
        for (const auto& e : p.events(p.stream))
            if (e.at("type").as_string() == "message.part.delta")
                text_of_deltas += text(e.at("properties").at("delta"));
        BOOST_TEST(said + text_of_deltas == p.sim.truth().front().said);
    }
}

BOOST_AUTO_TEST_CASE(a_bad_model_sticks_to_the_session) {
    player p;
    p.begin("x", ",\"model\":{\"providerID\":\"nope\",\"modelID\":\"nope\"}");
    p.plain_end();
    p.prompt(p.session, "#plain");
    p.plain_end();
    for (const auto& t : p.sim.truth())
        BOOST_TEST((t.outcome == outcome::failed));
}

BOOST_AUTO_TEST_CASE(a_blocking_prompt_is_answered_with_the_last_message) {
    world w;
    const auto session = w.create();
    const auto target = "/session/" + session + "/message";
    BOOST_TEST(
        text(w.call("POST", target, world::prompt_body("#tool")).parsed().at("parts").at(1).at("text")) ==
        "I read it.");
    const auto failed = w.call("POST", target, world::prompt_body("#error"));
    BOOST_TEST(failed.status == 200);
    BOOST_TEST(failed.parsed().at("info").at("error").at("name").as_string() == "APIError");
    const auto blocked = w.start_call("POST", target, world::prompt_body("#slow:100"));
    w.run_for(500ms);
    w.finish_call(w.start_abort(session));
    BOOST_TEST(w.finish_call(blocked).parsed().at("info").at("error").at("name").as_string() ==
               "MessageAbortedError");
    BOOST_TEST(w.call("POST", target, world::prompt_body("x", ",\"agent\":\"nope\"")).status == 500);
    BOOST_TEST(
        w.call("POST", target, world::prompt_body("x", ",\"model\":{\"providerID\":\"n\",\"modelID\":\"n\"}"))
            .status == 500);
}

BOOST_AUTO_TEST_CASE(a_prompt_without_a_reply_is_answered_with_itself) {
    world w;
    const auto session = w.create();
    const auto target = "/session/" + session + "/message";
    for (const auto* model : {"mock", "nobody"}) {
        const auto got =
            w.call("POST", target,
                   world::prompt_body("note", ",\"noReply\":true,\"model\":{\"providerID\":\"" +
                                                  std::string(model) + "\",\"modelID\":\"mock-1\"}"));
        BOOST_TEST(got.status == 200);
        BOOST_TEST(got.parsed().at("info").at("role").as_string() == "user");
    }
    BOOST_TEST(
        w.call("POST", target, world::prompt_body("x", ",\"noReply\":true,\"agent\":\"nope\"")).status ==
        500);
    BOOST_TEST(w.call("GET", target).list().size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_file_of_plain_text_is_shown_to_the_model_as_one_that_was_read) {
    world w;
    const auto session = w.create();
    const auto target = "/session/" + session + "/message";
    w.call("POST", target,
           R"({"noReply":true,"parts":[{"type":"text","text":"look"},)"
           R"({"type":"file","mime":"text/plain","filename":"a.txt","url":"data:text/plain;base64,aGk="},)"
           R"({"type":"file","mime":"image/png","filename":"a.png","url":"data:image/png;base64,aGk="}]})");
    const auto parts = w.call("GET", target).list().at(0).at("parts").as_array();
    BOOST_TEST_REQUIRE(parts.size() == 5u);
    BOOST_TEST(text(parts[1].at("text")) ==
               R"(Called the Read tool with the following input: {"filePath":"a.txt"})");
    BOOST_TEST(parts[1].at("synthetic").as_bool());
    BOOST_TEST(text(parts[2].at("text")) == "hi");
    BOOST_TEST(text(parts[3].at("mime")) == "text/plain");
    BOOST_TEST(text(parts[4].at("mime")) == "image/png");
}

BOOST_AUTO_TEST_CASE(a_command_prompts_with_its_template_and_answers_when_the_turn_is_over) {
    world w;
    const auto session = w.create();
    const auto target = "/session/" + session + "/command";
    const auto got = w.call(
        "POST", target, R"({"command":"review","arguments":"it","messageID":"msg_1","model":"mock/mock-1"})");
    BOOST_TEST(got.status == 200);
    BOOST_TEST(got.parsed().at("info").at("finish").as_string() == "stop");
    const auto messages = w.call("GET", "/session/" + session + "/message").list();
    BOOST_TEST(text(messages.at(0).at("info").at("id")) == "msg_1");
    BOOST_TEST(text(messages.at(0).at("parts").at(0).at("text")) == "Review it #tool");
    BOOST_TEST(w.call("POST", target, R"({"command":"nope","arguments":""})").status == 500);
    BOOST_TEST(w.call("POST", target, R"({"command":"say","arguments":"","agent":"nope"})").status == 500);
    BOOST_TEST(w.call("POST", target, R"({"command":"say"})").status == 400);
    BOOST_TEST(w.call("POST", target, R"({"command":"say","arguments":"","messageID":"x"})").status == 400);
    BOOST_TEST(w.call("GET", "/command").list().size() == 3u);
}

BOOST_AUTO_TEST_CASE(an_abort_while_a_template_is_filled_in_does_not_keep_the_command_from_prompting) {
    world w;
    const auto session = w.create();
    const auto asked =
        w.start_call("POST", "/session/" + session + "/command", R"({"command":"build","arguments":"x"})");
    w.run_for(500ms);
    BOOST_TEST(w.call("GET", "/session/" + session + "/message").list().empty());
    w.finish_call(w.start_abort(session));
    BOOST_TEST(w.finish_call(asked).status == 200);
    BOOST_TEST((only_truth(w).outcome == outcome::completed));
}

BOOST_AUTO_TEST_CASE(a_model_that_gives_no_reason_to_finish_is_asked_again_and_again) {
    world w;
    const auto session = w.create();
    const auto target = "/session/" + session + "/message";
    w.call("POST", target, world::prompt_body("#nofinish:4"));
    BOOST_TEST(w.call("GET", target).list().size() == 5u);
    w.start_call("POST", target, world::prompt_body("#nofinish"));
    w.run_for(20s);
    BOOST_TEST(w.call("GET", target).list().size() > 50u);
    w.finish_call(w.start_abort(session));
    BOOST_TEST(w.call("GET", "/session/status").body == "{}");
}

BOOST_AUTO_TEST_CASE(a_client_that_leaves_does_not_stop_a_blocking_prompt) {
    world w;
    const auto session = w.create();
    const auto blocked =
        w.start_call("POST", "/session/" + session + "/message", world::prompt_body("#plain"));
    w.sim.closed(blocked, w.now);
    w.run_for(1s);
    BOOST_TEST((only_truth(w).outcome == outcome::completed));
}

BOOST_AUTO_TEST_CASE(the_same_prompt_posted_again_and_again_runs_the_model_once) {
    player p;
    p.session = p.create();
    p.repost(3);
    p.run_for(200ms);
    p.repost(2);
    p.plain_end();
    p.repost(1);
    p.plain_end();
    BOOST_TEST(only_truth(p).model_runs == 1);
    BOOST_TEST(messages(p, p.session).at(0).at("parts").as_array().size() == 1u);
}

BOOST_AUTO_TEST_CASE(the_first_turn_renames_the_session_and_a_later_one_does_not) {
    player p;
    p.begin("#plain");
    p.plain_end();
    const auto title = [&] {
        return text(p.call("GET", "/session/" + p.session).parsed().at("title"));
    };
    BOOST_TEST(title() == "Simulated title");
    p.call("PATCH", "/session/" + p.session, "{\"title\":\"mine\"}");
    p.prompt(p.session, "#plain");
    p.plain_end();
    BOOST_TEST(title() == "mine");
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_bytes_and_another_gives_others) {
    const auto bytes = [](std::uint64_t seed) {
        opencode_sim::options settings;
        settings.seed = seed;
        player p(settings);
        p.stream = p.subscribe("/global/event");
        p.begin("#task:ask");
        p.reply("once");
        p.plain_end();
        return p.wires[p.stream].bytes;
    };
    BOOST_TEST(bytes(7) == bytes(7));
    BOOST_TEST(bytes(7) != bytes(8));
}

BOOST_AUTO_TEST_CASE(a_late_host_changes_no_event) {
    const auto bytes = [](duration lateness) {
        player p;
        p.stream = p.subscribe();
        p.begin("#tool");
        for (int i = 0; i < 100; ++i) {
            p.now += lateness;
            p.sim.advance(p.now);
        }
        p.pump();
        return p.wires[p.stream].bytes;
    };
    BOOST_TEST(bytes(70ms) == bytes(90ms));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(process)

BOOST_AUTO_TEST_CASE(a_restart_resets_connections_refuses_hangs_and_then_serves) {
    player p;
    p.stream = p.subscribe();
    p.begin("#slow:100");
    p.until_seen("message.part.delta", 3);
    p.sim.restart(p.now);
    p.pump();
    BOOST_TEST(p.wires[p.stream].reset);
    BOOST_TEST(!p.sim.listening());
    BOOST_TEST(p.wires[p.connect()].reset);
    p.run_for(500ms);
    BOOST_TEST(p.sim.listening());
    const auto trapped = p.start_call("GET", "/global/health");
    p.run_for(700ms);
    BOOST_TEST(p.call("GET", "/global/health").status == 200);
    p.send(trapped, world::request_text("GET", "/global/health"));
    p.run_for(10min);
    BOOST_TEST(p.wires[trapped].bytes.empty());
}

BOOST_AUTO_TEST_CASE(a_killed_process_refuses_until_it_is_started) {
    world w;
    w.sim.kill(w.now);
    w.run_for(1h);
    BOOST_TEST(!w.sim.listening());
    w.sim.start(w.now);
    w.run_for(700ms);
    BOOST_TEST(w.call("GET", "/global/health").status == 200);
}

BOOST_AUTO_TEST_CASE(a_hanging_server_never_answers_what_came_meanwhile) {
    world w;
    w.sim.set_hang(true);
    const auto trapped = w.start_call("GET", "/global/health");
    w.sim.set_hang(false);
    w.run_for(1h);
    BOOST_TEST(w.wires[trapped].bytes.empty());
    BOOST_TEST(w.call("GET", "/global/health").status == 200);
}

BOOST_AUTO_TEST_CASE(streams_can_be_cut_or_stalled_while_calls_go_on) {
    world w;
    const auto first = w.subscribe();
    const auto idle = w.connect();
    w.sim.cut_streams(w.now);
    w.pump();
    BOOST_TEST(w.wires[first].closed);
    BOOST_TEST(!w.wires[idle].closed);
    const auto second = w.subscribe();
    w.sim.stall_streams();
    w.run_for(1min);
    BOOST_TEST(w.events(second).size() == 1u);
    BOOST_TEST(!w.wires[second].closed);
    BOOST_TEST(w.call("GET", "/global/health").status == 200);
    BOOST_TEST(w.sim.stats().open_streams == 1u);
}

BOOST_AUTO_TEST_CASE(a_server_that_refuses_keeps_the_connections_it_has) {
    world w;
    const auto kept = w.subscribe();
    w.sim.refuse(1s, w.now);
    BOOST_TEST(w.wires[w.connect()].reset);
    w.run_for(999ms);
    BOOST_TEST(!w.sim.listening());
    w.run_for(1ms);
    BOOST_TEST(w.sim.listening());
    BOOST_TEST(!w.wires[kept].closed);
}

BOOST_AUTO_TEST_CASE(a_killed_turn_leaves_a_message_without_an_end_and_a_part_without_text) {
    player p;
    p.stream = p.subscribe();
    p.begin("#slow:100");
    p.until_seen("message.part.delta", 3);
    p.sim.restart(p.now);
    p.run_for(5s);
    BOOST_TEST(p.call("GET", "/session/status").body == "{}");
    const auto answer = p.call("GET", "/session/" + p.session + "/message").parsed().at(1).as_object();
    const auto& info = answer.at("info").as_object();
    BOOST_TEST(!info.contains("finish"));
    BOOST_TEST(!info.contains("error"));
    BOOST_TEST(!info.at("time").as_object().contains("completed"));
    BOOST_TEST(answer.at("parts").at(1).at("text").as_string() == "");
    BOOST_TEST((p.sim.truth().front().outcome == outcome::interrupted));
    p.prompt(p.session, "#plain");
    p.plain_end();
    BOOST_TEST((p.sim.truth().back().outcome == outcome::completed));
}

BOOST_AUTO_TEST_CASE(a_frozen_process_answers_when_it_goes_on) {
    player p;
    p.stream = p.subscribe();
    p.begin("#slow:100");
    p.sim.set_frozen(true, p.now);
    const auto call = p.start_call("GET", "/global/health");
    p.run_for(1min);
    BOOST_TEST(p.wires[call].bytes.empty());
    BOOST_TEST(p.seen("message.part.delta") == 0u);
    p.sim.set_frozen(false, p.now);
    p.pump();
    BOOST_TEST(p.finish_call(call).status == 200);
    p.run_for(10s);
    BOOST_TEST(p.seen("message.part.delta") == 100u);
}

BOOST_AUTO_TEST_CASE(a_mute_server_sends_heartbeats_alone) {
    player p;
    p.stream = p.subscribe();
    p.sim.set_mute(true);
    p.begin("#plain");
    p.run_for(25s);
    BOOST_TEST(p.events(p.stream).size() == 3u);
    BOOST_TEST(p.seen("server.heartbeat") == 2u);
}

BOOST_AUTO_TEST_CASE(a_disposed_instance_ends_its_turns_and_then_its_streams_and_comes_back) {
    player p;
    p.stream = p.subscribe();
    const auto global = p.subscribe("/global/event");
    const auto other = p.subscribe("/event?directory=/other");
    p.begin("#ask");
    p.ask();
    BOOST_TEST(p.call("POST", "/instance/dispose").body == "true");
    BOOST_TEST(p.events(p.stream).back().at("type").as_string() == "server.instance.disposed");
    BOOST_TEST(p.wires[p.stream].bytes.ends_with("\r\n0\r\n\r\n"));
    BOOST_TEST(p.wires[p.stream].closed);
    BOOST_TEST(!p.wires[other].closed);
    BOOST_TEST(!p.wires[global].closed);
    BOOST_TEST(p.call("GET", "/permission").body == "[]");
    BOOST_TEST((p.sim.truth().front().outcome == outcome::aborted));
    p.stream = p.subscribe();
    p.prompt(p.session, "#plain");
    p.plain_end();
    BOOST_TEST(p.seen("session.idle") == 1u);
    p.call("POST", "/global/dispose");
    BOOST_TEST(p.wires[other].closed);
    BOOST_TEST(!p.wires[global].closed);
    const auto last = p.events(global).back();
    BOOST_TEST(last.at("directory").as_string() == "global");
    BOOST_TEST(last.at("payload").at("type").as_string() == "global.disposed");
}

namespace {

/// Clients that do whatever, whenever, to a server that is as it may be; then leave it alone until nothing is
/// under way. All by the seed.
class restless {
public:
    explicit restless(std::uint64_t seed) : w(opencode_sim::options_from(seed)), chance_(seed) {
        w.sim.on_event([this](std::string_view directory, std::string_view payload) {
            events.push_back(json::parse(payload).as_object());
            rows.event(directory, payload);
        });
        for (int i = 0; i < 2; ++i)
            sessions.push_back(w.create());
        w.subscribe();
    }

    void live() {
        for (int i = 0; i < 40; ++i) {
            w.run_for(milliseconds(below(300)));
            if (w.sim.listening())
                act();
        }
        for (int i = 0; i < 10; ++i) {
            w.run_for(20s);
            answer_asks();
        }
        w.run_for(3min);
        rows.quiet();
    }

    world w;
    std::vector<std::string> sessions;
    std::set<std::string> prompts;
    std::vector<json::object> events;
    test::protocol_rows rows;

private:
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(chance_() % n); }
    const std::string& any() { return sessions[below(sessions.size())]; }

    void act() {
        switch (below(11)) {
        case 0:
        case 1:
        case 2: post(any(), "/prompt_async"); break;
        case 3: post(any(), "/message"); break;
        case 4:
        case 5: w.start_abort(any()); break;
        case 6: answer_asks(); break;
        case 7:
            if (below(4) == 0)
                restart();
            break;
        case 8:
            if (below(3) == 0)
                w.call("POST", "/instance/dispose");
            break;
        case 9:
            if (below(3) == 0) {
                w.call("DELETE", "/session/" + any());
                sessions.push_back(w.create());
            }
            break;
        case 10: odd_request(); break;
        }
    }

    void restart() {
        rows.process_killed();
        w.sim.restart(w.now);
        w.run_for(4s);
    }

    void odd_request() {
        static const std::vector<std::string> bodies = {R"(,"agent":"nope")", R"(,"noReply":true)",
                                                        R"(,"model":{"providerID":"no","modelID":"no"})"};
        switch (below(6)) {
        case 0:
        case 1: w.prompt(any(), "#plain", bodies[below(bodies.size())] + new_id()); break;
        case 2:
            w.call("POST", "/session/" + any() + "/shell", R"({"agent":"build","command":"echo hi"})");
            break;
        case 3: w.finish_call(w.start_abort("ses_unknown" + std::to_string(below(1000)))); break;
        case 4:
            if (!last_.empty())
                w.call("POST", last_target_, last_);
            break;
        case 5:
            rows.muted(true);
            w.sim.set_mute(true);
            w.run_for(3s);
            w.sim.set_mute(false);
            rows.muted(false);
            break;
        }
    }

    std::string new_id() {
        const auto id = "msg_" + std::to_string(1000 + prompts.size());
        prompts.insert(id);
        return ",\"messageID\":\"" + id + "\"";
    }

    void post(const std::string& session, std::string_view route) {
        static const std::vector<std::string> tags = {
            "#plain",           "#slow:10",  "#slow:10",  "#tool",   "#ask:50",   "#question",    "#task",
            "#task:ask",        "#e500once", "#cutonce",  "#e500",   "#overflow", "#overflow-ok", "#error",
            "#early",           "#todo",     "#sleep:50", "#reason", "#garbage",  "#length",      "#throttle",
            "#task:overflow-ok"};
        last_target_ = "/session/" + session + "/prompt_async";
        last_ = world::prompt_body(tags[below(tags.size())],
                                   R"(,"model":{"providerID":"mock","modelID":"mock-1"})" + new_id());
        w.start_call("POST", "/session/" + session + std::string(route), last_);
    }

    void answer_asks() {
        static const std::vector<std::string> replies = {R"({"reply":"once"})", R"({"reply":"reject"})",
                                                         R"({"reply":"reject","message":"use ls"})"};
        for (const auto& a : w.call("GET", "/permission").list())
            w.call("POST", "/permission/" + text(a.at("id")) + "/reply", replies[below(replies.size())]);
        for (const auto& a : w.call("GET", "/question").list())
            w.call("POST", "/question/" + text(a.at("id")) + "/reject");
    }

    std::mt19937_64 chance_;
    std::string last_target_; // of the last prompt, to post it again
    std::string last_;
};

/// What the events and the stored messages of a session say of its prompts; an account of its own, beside
/// truth().
class account {
public:
    account(const json::array& stored, const std::set<std::string>& prompts,
            const std::vector<json::object>& events) {
        std::string root;
        bool compacted = false; // the last answer is a summary
        for (const auto& m : stored) {
            const auto& info = m.at("info").as_object();
            const auto id = text(info.at("id"));
            if (info.at("role") == "user") {
                // One of the server's own belongs to the turn in which it stands.
                const bool own = !prompts.contains(id) && (compacted || asks_for_a_compaction(m.as_object()));
                roots_[id] = own ? root : id;
                continue;
            }
            root = roots_[text(info.at("parentID"))];
            turns_[root].last = m.as_object();
            compacted = info.contains("summary") && !info.contains("error");
            if (!info.contains("summary"))
                answers_[id] = root;
        }
        for (const auto& e : events)
            read(e);
    }

    struct turn {
        std::optional<json::object> last; ///< assistant message
        std::string said;
    };
    [[nodiscard]] turn of(const std::string& prompt) const {
        const auto found = turns_.find(prompt);
        return found == turns_.end() ? turn() : found->second;
    }

    static std::string ended_texts(const json::object& m) {
        std::string out;
        for (const auto& part : m.at("parts").as_array())
            if (part.at("type").as_string() == "text")
                out += text(part.at("text"));
        return out;
    }

    /// How the turn ended, as far as its last message can tell.
    static std::set<outcome> possible(const json::object& m) {
        const auto& info = m.at("info").as_object();
        if (const auto* error = info.if_contains("error"))
            return {error->at("name").as_string() == "MessageAbortedError" ? outcome::aborted
                                                                           : outcome::failed};
        if (!info.contains("finish"))
            return {info.at("time").as_object().contains("completed") ? outcome::aborted
                                                                      : outcome::interrupted};
        if (info.at("finish") == "tool-calls")
            return {outcome::completed, outcome::rejected, outcome::interrupted, outcome::failed};
        return {outcome::completed};
    }

private:
    static bool asks_for_a_compaction(const json::object& m) {
        const auto& parts = m.at("parts").as_array();
        return !parts.empty() && parts.front().at("type").as_string() == "compaction";
    }

    void read(const json::object& e) {
        const auto& properties = e.at("properties").as_object();
        if (e.at("type") == "message.part.updated") {
            const auto& part = properties.at("part").as_object();
            kinds_[text(part.at("id"))] = text(part.at("type"));
        } else if (e.at("type") == "message.part.delta") {
            const auto answer = answers_.find(text(properties.at("messageID")));
            if (answer != answers_.end() && kinds_[text(properties.at("partID"))] == "text")
                turns_[answer->second].said += text(properties.at("delta"));
        }
    }

    std::map<std::string, std::string> roots_;   // of user messages
    std::map<std::string, std::string> answers_; // to their roots
    std::map<std::string, std::string> kinds_;   // of parts
    std::map<std::string, turn> turns_;
};

constexpr std::uint64_t restless_seeds = 150;

} // namespace

BOOST_AUTO_TEST_CASE(every_prompt_comes_to_an_end_once_clients_leave_the_server_alone) {
    for (std::uint64_t seed = 1; seed <= restless_seeds; ++seed) {
        BOOST_TEST_CONTEXT("seed " << seed) {
            restless r(seed);
            r.live();
            for (const auto& t : r.w.sim.truth()) {
                BOOST_TEST((t.outcome != outcome::pending), t.message);
                BOOST_TEST((!t.running || t.deleted), t.message);
            }
            const auto left = r.w.call("GET", "/session/status").parsed().as_object();
            for (const auto& s : r.sessions)
                BOOST_TEST((!left.contains(s) || r.w.call("GET", "/session/" + s).status == 404));
        }
    }
}

BOOST_AUTO_TEST_CASE(the_truth_is_what_the_events_and_the_stored_messages_say) {
    std::map<std::string, int> seen;
    for (std::uint64_t seed = 1; seed <= restless_seeds; ++seed) {
        restless r(seed);
        r.live();
        std::map<std::string, account> accounts;
        for (const auto& t : r.w.sim.truth()) {
            if (t.deleted)
                continue;
            if (!accounts.contains(t.session))
                accounts.emplace(t.session, account(turns::messages(r.w, t.session), r.prompts, r.events));
            const auto told = accounts.at(t.session).of(t.message);
            ++seen[to_string(t.outcome)];
            BOOST_TEST_CONTEXT("seed " << seed << " " << t.message << " " << to_string(t.outcome)) {
                // A killed process takes what it was behind with along.
                if (t.outcome == outcome::interrupted)
                    BOOST_TEST(t.said.starts_with(told.said));
                else
                    BOOST_TEST(t.said == told.said);
                if (!told.last) {
                    BOOST_TEST(t.text == "");
                    BOOST_TEST((t.outcome != outcome::completed || !t.merged_into.empty()));
                    continue;
                }
                BOOST_TEST(t.text == account::ended_texts(*told.last));
                BOOST_TEST(account::possible(*told.last).contains(t.outcome));
                BOOST_TEST(t.merged_into == "");
            }
        }
    }
    for (const auto* how : {"completed", "failed", "aborted", "rejected", "unanswered", "interrupted"})
        BOOST_TEST(seen[how] > 0, how << " was never seen");
}

BOOST_AUTO_TEST_CASE(between_them_the_seeds_show_every_row_of_the_protocol) {
    std::map<test::row, std::size_t> counts;
    for (std::uint64_t seed = 1; seed <= restless_seeds; ++seed) {
        restless r(seed);
        r.live();
        for (const auto row : r.rows.seen())
            ++counts[row];
    }
    for (const auto& one : test::all_rows())
        BOOST_TEST(counts[one.row] > 0, one.name << " was never seen");
    BOOST_TEST_MESSAGE(test::row_table(counts));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(faults)

namespace {

opencode_sim::options with_faults(const std::vector<std::string>& specs) {
    opencode_sim::options settings;
    for (const auto& spec : specs)
        settings.faults.push_back(testing::parse_fault(spec).value());
    return settings;
}

/// Events stream while a long turn runs.
struct streaming : player {
    explicit streaming(const std::vector<std::string>& specs) : player(with_faults(specs)) {
        stream = subscribe();
        begin("#slow:200");
    }
};

} // namespace

BOOST_AUTO_TEST_CASE(specs_are_read_as_they_are_documented) {
    struct row {
        std::string spec;
        fault::kind what;
        std::uint64_t after;
        unsigned status;
        long for_ms;
        std::size_t times;
    };
    using kind = fault::kind;
    const std::vector<row> rows = {
        {"cut@0", kind::cut, 0, 503, 3000, 1},
        {"cut@700*", kind::cut, 700, 503, 3000, fault::always},
        {"reset@1", kind::reset, 1, 503, 3000, 1},
        {"stall@5*", kind::stall, 5, 503, 3000, fault::always},
        {"mute@5", kind::mute, 5, 503, 3000, 1},
        {"garbage@9", kind::garbage, 9, 503, 3000, 1},
        {"refuse", kind::refuse, 0, 503, 3000, 1},
        {"refuse@10", kind::refuse, 10, 503, 3000, 1},
        {"refuse@10:250", kind::refuse, 10, 503, 250, 1},
        {"restart@4096", kind::restart, 4096, 503, 3000, 1},
        {"early-end", kind::early_end, 0, 503, 3000, 1},
        {"early-end@3", kind::early_end, 0, 503, 3000, 3},
        {"early-end*", kind::early_end, 0, 503, 3000, fault::always},
        {"status@502", kind::status, 0, 502, 3000, 1},
        {"status@502x4", kind::status, 0, 502, 3000, 4},
        {"status@401*", kind::status, 0, 401, 3000, fault::always},
        {"hang@2", kind::hang, 0, 503, 3000, 2},
        {"api-status@503x2", kind::api_status, 0, 503, 3000, 2},
        {"drop-answer", kind::drop_answer, 0, 503, 3000, 1},
        {"cut-answer@2", kind::cut_answer, 0, 503, 3000, 2},
        {"bad-json", kind::bad_json, 0, 503, 3000, 1},
        {"odd-json*", kind::odd_json, 0, 503, 3000, fault::always},
        {"web-page", kind::web_page, 0, 503, 3000, 1},
    };
    for (const auto& r : rows) {
        const auto f = testing::parse_fault(r.spec);
        BOOST_TEST_REQUIRE(f.has_value(), r.spec);
        BOOST_TEST((f->what == r.what), r.spec);
        BOOST_TEST(f->after == r.after, r.spec);
        BOOST_TEST(f->status == r.status, r.spec);
        BOOST_TEST(to_ms(f->for_) == r.for_ms, r.spec);
        BOOST_TEST(f->times == r.times, r.spec);
    }
}

BOOST_AUTO_TEST_CASE(a_wrong_spec_is_refused_in_one_line_that_names_it) {
    for (const auto* spec : {"",
                             "cut",
                             "cut@",
                             "cut@x",
                             "cut@-1",
                             "cut@1x",
                             "cut@1**",
                             "cut@99999999999999999999",
                             "refuse@1:",
                             "refuse@1:x",
                             "restart",
                             "restart@1*",
                             "early-end@",
                             "early-end@1*",
                             "status",
                             "status@99",
                             "status@600",
                             "status@503x",
                             "status@503y",
                             "hang@x",
                             "drop-answer@1x",
                             "cuts@1",
                             "CUT@1"}) {
        std::string why;
        BOOST_TEST(testing::parse_fault(spec, &why).has_error(), spec);
        BOOST_TEST(why.find("\"" + std::string(spec) + "\"") != std::string::npos, why);
        BOOST_TEST(why.find('\n') == std::string::npos);
    }
}

BOOST_AUTO_TEST_CASE(every_fault_and_every_tag_is_in_the_help) {
    for (const auto* name :
         {"cut@", "reset@", "stall@", "mute@", "garbage@", "refuse", "restart@", "early-end", "status@",
          "hang", "api-status@", "drop-answer", "cut-answer", "bad-json", "odd-json", "web-page"})
        BOOST_TEST(testing::fault_help().find(name) != std::string_view::npos, name);
    for (const auto* tag : {"#plain",   "#slow",     "#reason",  "#tool",      "#ask",        "#question",
                            "#write",   "#todo",     "#task",    "#big",       "#silent",     "#early",
                            "#length",  "#error",    "#e500 ",   "#e500once",  "#retry",      "#throttle",
                            "#cutonce", "#errchunk", "#garbage", "#overflow ", "#overflow-ok"})
        BOOST_TEST(testing::script_help().find(tag) != std::string_view::npos, tag);
}

BOOST_AUTO_TEST_CASE(a_cut_comes_after_exactly_so_many_body_bytes_and_without_a_last_chunk) {
    const auto uncut = [] {
        streaming s({});
        s.run_for(3s);
        return stream_body(s.wires[s.stream]);
    }();
    for (const std::size_t after : {0, 1, 50, 88, 89, 90, 2000, 2001, 5000}) {
        streaming s({"cut@" + std::to_string(after)});
        s.run_for(3s);
        const auto& w = s.wires[s.stream];
        BOOST_TEST(w.closed);
        BOOST_TEST(!w.bytes.ends_with("0\r\n\r\n"));
        BOOST_TEST(stream_body(w) == uncut.substr(0, after), after);
        const auto second = s.subscribe();
        s.run_for(3s);
        BOOST_TEST(!s.wires[second].closed);
    }
}

BOOST_AUTO_TEST_CASE(a_starred_cut_befalls_every_stream) {
    streaming s({"cut@500*"});
    for (int i = 0; i < 4; ++i) {
        s.run_for(1s);
        BOOST_TEST(s.wires[s.stream].closed);
        BOOST_TEST(stream_body(s.wires[s.stream]).size() == 500u);
        s.stream = s.subscribe();
    }
}

BOOST_AUTO_TEST_CASE(streams_take_the_faults_in_the_order_given) {
    streaming s({"cut@300", "status@503", "early-end", "stall@100"});
    s.run_for(1s);
    BOOST_TEST(stream_body(s.wires[s.stream]).size() == 300u);
    const auto refused = s.call("GET", "/event");
    BOOST_TEST(refused.status == 503);
    const auto ended = s.subscribe();
    BOOST_TEST(s.wires[ended].closed);
    BOOST_TEST(s.wires[ended].bytes.ends_with("\r\n\r\n0\r\n\r\n"));
    const auto stalled = s.subscribe();
    s.run_for(1min);
    BOOST_TEST(!s.wires[stalled].closed);
    BOOST_TEST(stream_body(s.wires[stalled]).size() == 100u);
    const auto healthy = s.subscribe();
    s.run_for(1min);
    BOOST_TEST(s.count(healthy, "server.heartbeat") == 6u);
}

BOOST_AUTO_TEST_CASE(a_reset_comes_after_the_bytes) {
    streaming s({"reset@700"});
    s.run_for(1s);
    BOOST_TEST(s.wires[s.stream].reset);
    BOOST_TEST(stream_body(s.wires[s.stream]).size() == 700u);
}

BOOST_AUTO_TEST_CASE(a_muted_stream_has_heartbeats_alone_from_there_on) {
    streaming s({"mute@0"});
    s.run_for(21s);
    BOOST_TEST(s.seen("server.heartbeat") == 2u);
    BOOST_TEST(s.seen("session.status") == 0u);
}

BOOST_AUTO_TEST_CASE(garbage_is_no_chunk) {
    streaming s({"garbage@700"});
    s.run_for(1s);
    BOOST_TEST(s.wires[s.stream].bytes.find("no chunk") != std::string::npos);
    BOOST_TEST(s.wires[s.stream].closed);
}

BOOST_AUTO_TEST_CASE(a_refusal_cuts_the_stream_and_refuses_for_its_time) {
    streaming s({"refuse@700:400"});
    s.until([&] { return !s.sim.listening(); });
    BOOST_TEST(s.wires[s.stream].closed);
    BOOST_TEST(s.wires[s.connect()].reset);
    s.run_for(399ms);
    BOOST_TEST(!s.sim.listening());
    s.run_for(1ms);
    BOOST_TEST(s.call("GET", "/global/health").status == 200);
}

BOOST_AUTO_TEST_CASE(a_restart_comes_once_after_so_many_bytes_on_all_streams) {
    streaming s({"restart@3000"});
    s.until([&] { return s.sim.stats().restarts == 1; });
    BOOST_TEST(s.sim.stats().stream_bytes >= 3000u);
    BOOST_TEST(s.wires[s.stream].reset);
    s.run_for(5s);
    s.stream = s.subscribe();
    s.prompt(s.session, "#slow:100");
    s.run_for(1min);
    BOOST_TEST(s.sim.stats().restarts == 1u);
    BOOST_TEST((s.sim.truth().back().outcome == outcome::completed));
}

BOOST_AUTO_TEST_CASE(a_hanging_stream_is_never_answered) {
    world w(with_faults({"hang"}));
    const auto first = w.subscribe();
    w.run_for(10min);
    BOOST_TEST(w.wires[first].bytes.empty());
    BOOST_TEST(!w.wires[first].closed);
    BOOST_TEST(w.count(w.subscribe(), "server.connected") == 1u);
}

BOOST_AUTO_TEST_CASE(a_prompt_with_a_dropped_answer_was_taken) {
    world w(with_faults({"drop-answer"}));
    const auto session = w.create();
    const auto call =
        w.start_call("POST", "/session/" + session + "/prompt_async", world::prompt_body("#plain"));
    w.run_for(1s);
    BOOST_TEST(w.wires[call].closed);
    BOOST_TEST(w.wires[call].bytes.empty());
    BOOST_TEST((w.sim.truth().front().outcome == outcome::completed));
}

BOOST_AUTO_TEST_CASE(an_api_fault_spares_the_streams) {
    world w(with_faults({"api-status@503x2"}));
    BOOST_TEST(w.count(w.subscribe(), "server.connected") == 1u);
    BOOST_TEST(w.call("GET", "/session").status == 503);
    BOOST_TEST(w.call("GET", "/session").status == 503);
    BOOST_TEST(w.call("GET", "/session").status == 200);
}

BOOST_AUTO_TEST_CASE(a_damaged_answer_is_one_of_a_request_that_was_taken) {
    world w(with_faults({"cut-answer"}));
    const auto cut = w.start_call("POST", "/session", "{}");
    w.run_for(1s);
    BOOST_TEST(w.wires[cut].closed);
    BOOST_TEST(w.wires[cut].bytes.find("HTTP/1.1 200 OK") == 0u);
    BOOST_TEST(w.wires[cut].bytes.find("\"id\":\"ses") != std::string::npos);
    BOOST_TEST(!take_response(w.wires[cut]).has_value());
    w.sim.inject(testing::parse_fault("bad-json").value());
    boost::system::error_code failed;
    json::parse(w.call("POST", "/session", "{}").body, failed);
    BOOST_TEST(failed.failed());
    w.sim.inject(testing::parse_fault("odd-json@2").value());
    BOOST_TEST(w.call("POST", "/session", "{}").parsed().is_array());
    BOOST_TEST(w.call("GET", "/session").parsed().is_object());
    BOOST_TEST(w.call("GET", "/session").list().size() == 3u);
}

BOOST_AUTO_TEST_CASE(an_answer_without_a_body_and_a_stream_are_not_damaged) {
    world w(with_faults({"cut-answer", "bad-json", "odd-json"}));
    BOOST_TEST(w.count(w.subscribe(), "server.connected") == 1u);
    w.sim.clear_faults();
    const auto session = w.create();
    w.sim.inject(testing::parse_fault("cut-answer").value());
    BOOST_TEST(w.call("POST", "/session/" + session + "/prompt_async", world::prompt_body("#plain")).status ==
               204);
}

BOOST_AUTO_TEST_CASE(a_web_page_stands_in_the_way_of_a_request) {
    world w(with_faults({"web-page"}));
    BOOST_TEST(w.count(w.subscribe(), "server.connected") == 1u);
    const auto page = w.call("POST", "/session", "{}");
    BOOST_TEST(page.status == 200);
    BOOST_TEST(page.head.find("Content-Type: text/html") != std::string::npos);
    BOOST_TEST(w.call("GET", "/session").list().empty());
}

BOOST_AUTO_TEST_CASE(a_fault_may_be_injected_into_an_open_stream) {
    streaming s({});
    s.run_for(500ms);
    s.sim.inject(testing::parse_fault("cut@0").value());
    s.run_for(100ms);
    BOOST_TEST(s.wires[s.stream].closed);
}

BOOST_AUTO_TEST_SUITE_END()
