// The simulated server of 2.x against the recordings of the preview: for each that holds a turn, some seed
// gives the same order of events in each session, with the same numbers.
#include <boost/test/unit_test.hpp>

#include "support/played_recordings.hpp"
#include "support/recordings.hpp"
#include "support/sim2_player.hpp"

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace json = boost::json;
using namespace holdfast;
using namespace std::chrono_literals;
using namespace test;

namespace {

std::vector<json::object> recorded(const std::string& name) {
    return events_in(read_file(data_folder() / "opencode2" / (name + ".sse")));
}

using actions = std::function<void(player_2&)>;

actions one_turn(std::string tag) {
    return [tag](player_2& p) {
        p.begin(tag);
        p.plain_end();
    };
}

actions with_reply(std::string tag, std::string reply, std::string more = {}) {
    return [tag, reply, more](player_2& p) {
        p.begin(tag);
        p.reply(reply, more);
        p.plain_end();
    };
}

actions with_form(std::string end, std::string body) {
    return [end, body](player_2& p) {
        p.begin("#question");
        const auto id = text(p.asked(true).at("id"));
        p.call("POST", p.path(p.session, "/form/" + id + end), body);
        p.plain_end();
    };
}

/// Interrupted once the events have been seen so often.
actions interrupted(std::string tag, std::string type, std::size_t times = 1) {
    return [tag, type, times](player_2& p) {
        p.begin(tag);
        p.until_seen(type, times);
        p.interrupt();
        p.plain_end();
    };
}

actions of_unknown(std::string body) {
    return [body](player_2& p) {
        p.begin("#plain", {}, body);
        p.plain_end();
    };
}

/// A prompt while the first one streams.
actions while_streaming(std::string delivery) {
    return [delivery](player_2& p) {
        p.begin("#slow:40");
        p.until_seen("session.text.delta", 5);
        p.post(p.session, "#plain", ",\"delivery\":\"" + delivery + "\"");
        p.plain_end();
    };
}

enum class half { before, after };

/// The process is stopped in mid-turn; what is listened to is the stream before it, or the one behind it.
actions restarted(half which, opencode_sim::stop how, std::function<void(player_2&)> begin,
                  std::function<void(player_2&)> then) {
    return [=](player_2& p) {
        begin(p);
        if (how == opencode_sim::stop::kill)
            p.sim.kill(p.now);
        else
            p.sim.terminate(p.now);
        p.pump();
        if (which == half::before)
            return;
        p.tap.clear();
        p.start_tap();
        p.sim.start(p.now);
        then(p);
    };
}

void stream_a_while(player_2& p) {
    p.begin("#slow:60");
    p.until_seen("session.text.delta", 8);
}

void listen_and_prompt(player_2& p) {
    p.run_for(1s);
    p.listen();
    p.post(p.session, "after #plain");
    p.plain_end();
}

/// Between the execution that began by itself and its first step.
void listen_while_it_goes_on(player_2& p) {
    p.until([&] { return p.tapped("session.execution.started") == 1; });
    p.listen();
}

void idle_minute(player_2& p) {
    p.begin("#plain");
    p.run_for(16s);
    p.post(p.session, "#reason");
    p.run_for(16s);
    const auto second = p.create_2();
    p.post(second, "#plain");
    p.run_for(16s);
    p.call("DELETE", p.path(second));
    p.create_2();
    p.begin("#plain");
    p.plain_end();
    for (int i = 0; i < 3; ++i)
        p.create_2();
}

void same_id(player_2& p) {
    p.session = p.create_2();
    const auto repost = [&](std::string_view more) {
        return p.post(p.session, "mine #plain", ",\"id\":\"msg_mine\"" + std::string(more)).status;
    };
    BOOST_TEST(repost("") == 200);
    BOOST_TEST(repost("") == 200);
    p.plain_end();
    BOOST_TEST(repost("") == 200);
    BOOST_TEST(p.post(p.session, "other #plain", ",\"id\":\"msg_mine\"").status == 409);
    p.plain_end();
    BOOST_TEST(repost(",\"delivery\":\"queue\"") == 200);
    p.plain_end();
    BOOST_TEST(p.post(p.create_2(), "mine #plain", ",\"id\":\"msg_mine\"").status == 409);
}

struct played_recording {
    std::string name;
    actions play;
    bool service = false;
    bool titles = true;
};

const std::vector<played_recording>& played() {
    using stop = opencode_sim::stop;
    const auto ask_and_wait = [](player_2& p) {
        p.begin("#ask");
        p.asked();
    };
    const auto stream_and_queue = [](player_2& p) {
        p.begin("#slow:60");
        p.until_seen("session.text.delta", 3);
        p.post(p.session, "queued #plain", ",\"delivery\":\"queue\"");
        p.until_seen("session.text.delta", 6);
    };
    const auto steer_what_goes_on = [](player_2& p) {
        listen_while_it_goes_on(p);
        p.until_seen("session.text.delta", 2);
        p.post(p.session, "after #plain");
        p.plain_end();
    };
    const auto prompt_behind_it = [](player_2& p) {
        listen_while_it_goes_on(p);
        p.plain_end();
        p.post(p.session, "after #plain");
        p.plain_end();
    };
    static const std::vector<played_recording> all = {
        {"01-plain-turn", one_turn("#plain")},
        {"02-second-session-warm", one_turn("#plain")},
        {"03-reasoning", one_turn("#reason")},
        {"04-tool-read", one_turn("#tool")},
        {"05-permission-once", with_reply("#ask", "once")},
        {"06-permission-always-then-again",
         [](player_2& p) {
             p.begin("#ask");
             p.reply("always");
             p.plain_end();
             p.post(p.session, "#ask");
             p.plain_end();
         }},
        {"07-permission-reject", with_reply("#ask", "reject")},
        {"08-permission-reject-with-message", with_reply("#ask", "reject", ",\"message\":\"no\"")},
        {"09-two-tools-two-permissions",
         [](player_2& p) {
             p.begin("#two-asks");
             p.until_seen("permission.asked", 2);
             p.reply("once");
             p.until_seen("session.tool.progress", 1);
             p.reply("once");
             p.plain_end();
         }},
        {"10-question-answered", with_form("/reply", "{\"answer\":{\"q0\":\"Blue\"}}")},
        {"10b-question-invalid-answer-then-ok",
         [](player_2& p) {
             p.begin("#question");
             const auto form = p.path(p.session, "/form/" + text(p.asked(true).at("id")));
             BOOST_TEST(p.call("POST", form + "/reply", "{\"answer\":{\"nope\":1}}").status == 400);
             BOOST_TEST(p.call("POST", form + "/reply", "{\"answer\":{}}").status == 204);
             BOOST_TEST(p.call("POST", form + "/reply", "{\"answer\":{}}").status == 409);
             p.plain_end();
         }},
        {"11-question-cancelled", with_form("/cancel", "{}")},
        {"20-interrupt-while-streaming", interrupted("#slow:200", "session.text.delta", 7)},
        {"21-interrupt-before-first-byte",
         [](player_2& p) {
             p.begin("#silent");
             p.run_for(1s);
             p.interrupt();
         }},
        {"22-interrupt-right-after-prompt",
         [](player_2& p) {
             p.begin("#slow:60");
             p.interrupt();
             p.plain_end();
         }},
        {"23-interrupt-when-idle",
         [](player_2& p) {
             p.begin("#plain");
             p.plain_end();
             p.interrupt();
             p.plain_end();
         }},
        {"25-interrupt-while-permission-pending", interrupted("#ask", "permission.asked")},
        {"26-interrupt-while-question-pending", interrupted("#question", "form.created")},
        {"27-interrupt-while-shell-runs",
         [](player_2& p) {
             p.begin("#ask:20000");
             p.reply("once");
             p.until_seen("session.tool.progress");
             p.interrupt();
         }},
        {"28-interrupt-then-new-prompt",
         [](player_2& p) {
             p.begin("#slow:200");
             p.until_seen("session.text.delta", 5);
             p.interrupt();
             p.post(p.session, "#plain");
             p.plain_end();
         }},
        {"30-prompt-while-streaming-steer", while_streaming("steer")},
        {"31-prompt-while-streaming-queue", while_streaming("queue")},
        {"32-two-prompts-at-once-steer",
         [](player_2& p) {
             p.begin("first #plain");
             p.until_seen("session.execution.started");
             p.post(p.session, "second #reason");
             p.plain_end();
         }},
        {"34-steer-while-tool-runs",
         [](player_2& p) {
             p.begin("#ask:1000");
             p.reply("once");
             p.until_seen("session.tool.progress");
             p.post(p.session, "#plain");
             p.run_for(4s);
         }},
        {"36-interrupt-with-a-queued-prompt",
         [](player_2& p) {
             p.begin("#slow:200");
             p.until_seen("session.text.delta", 3);
             p.post(p.session, "#plain");
             p.until_seen("session.text.delta", 6);
             p.post(p.session, "#plain", ",\"delivery\":\"queue\"");
             p.until_seen("session.text.delta", 9);
             p.interrupt();
             p.plain_end();
         }},
        {"40-prompt-id-reuse", same_id},
        {"41-bad-prompts", one_turn("")},
        {"42-prompt-resume-false",
         [](player_2& p) {
             p.begin("later #plain", ",\"resume\":false");
             p.run_for(1s);
             p.post(p.session, "now #plain");
             p.plain_end();
         }},
        {"43-wait",
         [](player_2& p) {
             p.begin("#slow:20");
             BOOST_TEST(p.call("POST", p.path(p.session, "/wait")).status == 204);
             p.plain_end();
         }},
        {"50-model-400", one_turn("#error")},
        {"51-model-401", one_turn("#error:401")},
        {"52-model-500-once-recovers",
         [](player_2& p) {
             p.begin("#e500once");
             p.run_for(5s);
         }},
        {"53-model-429-retry-after-2-recovers",
         [](player_2& p) {
             p.begin("#throttle:2");
             p.run_for(5s);
         }},
        {"54-model-500-retrying-then-interrupt", interrupted("#e500", "session.retry.scheduled")},
        {"56-model-stream-cut-once", one_turn("#cutonce")},
        {"57-model-garbage-chunk", one_turn("#garbage")},
        {"59-finish-length", one_turn("#length")},
        {"60-finish-content-filter", one_turn("#filter")},
        {"61-empty-answer", one_turn("#empty")},
        {"62-unknown-tool", one_turn("#unknown-tool")},
        {"64-context-overflow-compaction-works",
         [](player_2& p) {
             p.begin("#plain");
             p.plain_end();
             p.post(p.session, "#overflow-ok");
             p.plain_end();
         }},
        {"65-compact-manually",
         [](player_2& p) {
             p.begin("#plain");
             p.plain_end();
             p.call("POST", p.path(p.session, "/compact"), "{}");
             p.plain_end();
         }},
        {"66-unknown-model", of_unknown(R"({"model":{"id":"nope","providerID":"mock"}})")},
        {"67-unknown-provider", of_unknown(R"({"model":{"id":"nope","providerID":"nope"}})")},
        {"68-unknown-agent", of_unknown(R"({"agent":"nope"})")},
        {"70-subagent", one_turn("#task")},
        {"71-subagent-permission", with_reply("#task:ask", "once")},
        {"73-subagent-interrupt-parent", interrupted("#task:slow:200", "session.text.delta", 5)},
        {"80-delete-session-mid-turn",
         [](player_2& p) {
             p.begin("#slow:100");
             p.until_seen("session.text.delta", 5);
             p.call("DELETE", p.path(p.session));
             p.plain_end();
         }},
        {"81-location-evict-mid-turn", one_turn("#slow:20"), false, false},
        {"82-rename-agent-model",
         [](player_2& p) {
             p.begin("#plain");
             p.plain_end();
             p.call("POST", p.path(p.session, "/rename"), R"({"title":"T"})");
             p.call("POST", p.path(p.session, "/agent"), R"({"agent":"plan"})");
             p.call("POST", p.path(p.session, "/model"), R"({"model":{"id":"mock-1","providerID":"mock"}})");
         }},
        {"83-session-shell",
         [](player_2& p) {
             p.session = p.create_2();
             p.call("POST", p.path(p.session, "/shell"), R"({"command":"echo shelled"})");
             p.plain_end();
         }},
        {"84-synthetic",
         [](player_2& p) {
             p.session = p.create_2();
             p.call("POST", p.path(p.session, "/synthetic"), R"({"text":"syn #plain","description":"d"})");
             p.plain_end();
         }},
        {"86-active-right-after-prompt",
         [](player_2& p) {
             p.begin("#plain");
             BOOST_TEST(p.data("/api/session/active").as_object().contains(p.session));
             p.plain_end();
         }},
        {"90-idle-66s", idle_minute},
        {"92-log-turn",
         [](player_2& p) {
             p.begin("#plain");
             p.plain_end();
             p.post(p.session, "#reason");
             p.plain_end();
         }},
        {"92-log-turn-persisted",
         [](player_2& p) {
             p.begin("#ask");
             p.reply("once");
             p.plain_end();
             p.post(p.session, "#plain");
             p.plain_end();
         }},
        {"94-two-directories",
         [](player_2& p) {
             p.create_2();
             p.begin("#plain", {}, R"({"location":{"directory":"/other"}})");
             p.plain_end();
             for (int i = 0; i < 3; ++i)
                 p.create_2();
         }},
        {"97-default-SIGKILL-stream-before", restarted(half::before, stop::kill, stream_a_while, {})},
        {"97-default-SIGKILL-stream-after",
         restarted(half::after, stop::kill, stream_a_while, listen_and_prompt)},
        {"97-service-SIGTERM-stream-before", restarted(half::before, stop::terminate, stream_a_while, {}),
         true},
        {"97-service-SIGTERM-stream-after",
         restarted(half::after, stop::terminate, stream_a_while, steer_what_goes_on), true},
        {"99-default-SIGTERM-stream-before", restarted(half::before, stop::terminate, stream_a_while, {})},
        {"99-default-SIGTERM-stream-after",
         restarted(half::after, stop::terminate, stream_a_while, listen_and_prompt)},
        {"100-default-SIGKILL-queued-before", restarted(half::before, stop::kill, stream_and_queue, {})},
        {"100-default-SIGKILL-queued-after",
         restarted(half::after, stop::kill, stream_and_queue, listen_and_prompt)},
        {"102-service-SIGTERM-permission-before", restarted(half::before, stop::terminate, ask_and_wait, {}),
         true},
        {"102-service-SIGTERM-permission-after",
         restarted(half::after, stop::terminate, ask_and_wait, prompt_behind_it), true},
    };
    return all;
}

/// What the model cannot play, and why.
const std::map<std::string, std::string>& not_played() {
    static const std::string why = "of the route of the durable log, which no client here reads";
    static const std::map<std::string, std::string> all = {
        {"92-log-persisted-full", why},
        {"92-log-persisted-follow-after-15", why},
    };
    return all;
}

std::vector<json::object> play(const played_recording& r, std::uint64_t seed) {
    opencode_sim::options settings;
    settings.seed = seed;
    settings.version = "2.0.0-lab";
    settings.service = r.service;
    settings.titles = r.titles;
    settings.startup_hang = settings.starting = 0ms;
    player_2 p(settings);
    p.form_route = "/api/form/request";
    p.decision = "reply";
    p.listen();
    r.play(p);
    return p.events(p.stream);
}

void add_shapes(const std::vector<json::object>& events, shapes& into) {
    for (const auto& e : events) {
        const auto type = text(e.at("type"));
        if (is_noise_of_2(type))
            continue;
        into[type].insert(keys(e));
        into["data of " + type].insert(keys(e.at("data").as_object()));
    }
}

} // namespace

BOOST_AUTO_TEST_CASE(every_recording_of_2_x_is_played_or_it_is_said_why_not) {
    check_each_is_named_once(played(), not_played(), recordings_of_2());
}

BOOST_AUTO_TEST_CASE(for_every_recorded_turn_of_2_x_some_seed_gives_the_same_events_in_each_session) {
    check_some_seed_gives_the_same(
        played(), [](const auto& r) { return tokens_of_2(recorded(r.name)); },
        [](const auto& r, std::uint64_t seed) { return tokens_of_2(play(r, seed)); });
}

BOOST_AUTO_TEST_CASE(events_of_2_x_carry_the_members_that_the_real_ones_carry) {
    shapes real;
    shapes simulated;
    for (const auto& r : played()) {
        add_shapes(recorded(r.name), real);
        add_shapes(play(r, 1), simulated);
    }
    for (const auto& [kind, sets] : simulated) {
        BOOST_TEST_REQUIRE(real.contains(kind), kind);
        check_sets(kind, real[kind], sets);
    }
}
