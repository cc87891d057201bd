// The simulated server against the recordings of the real one: for each that holds a turn, some seed gives
// the same order of events in each session.
#include <boost/test/unit_test.hpp>

#include "support/played_recordings.hpp"
#include "support/recordings.hpp"
#include "support/sim_player.hpp"

#include <algorithm>
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

std::vector<json::object> recording(const std::string& name) {
    return events_in(read_file(recording_path(name)));
}

using actions = std::function<void(player&)>;

actions one_turn(std::string tag) {
    return [tag](player& p) {
        p.begin(tag);
        p.plain_end();
    };
}

actions with_reply(std::string tag, std::string reply) {
    return [tag, reply](player& p) {
        p.begin(tag);
        p.reply(reply);
        p.plain_end();
    };
}

actions killed_in_mid_turn(std::size_t deltas) {
    return [deltas](player& p) {
        p.begin("#slow:200");
        p.until_seen("message.part.delta", deltas);
        p.sim.kill(p.now);
        p.pump();
    };
}

actions second_turn(std::string tag) {
    return [tag](player& p) {
        p.begin("#plain");
        p.plain_end();
        p.prompt(p.session, tag);
        p.plain_end();
    };
}

void two_sessions(player& p) {
    const auto first = p.create();
    const auto second = p.create();
    p.prompt(second, "#plain");
    p.prompt(first, "#plain");
    p.plain_end();
}

/// Before anybody listens.
void warm_five_directories(player& p) {
    for (const char* directory : {"/1", "/2", "/3", "/4", "/5"}) {
        const auto at = "?directory=" + std::string(directory);
        p.prompt(text(p.call("POST", "/session" + at, "{}").parsed().at("id")), "#plain");
    }
    p.plain_end();
    p.stream = p.subscribe("/global/event");
}

struct played_recording {
    std::string name;
    actions play;
    std::string stream = "/event";
};

const std::vector<played_recording>& played() {
    static const std::vector<played_recording> all = {
        {"01-plain-turn-event", one_turn("#plain")},
        {"01-plain-turn-global-event", one_turn("#plain"), "/global/event"},
        {"01-plain-turn-api-event", one_turn("#plain"), "/api/event"},
        {"02-second-turn-warm", one_turn("#plain")},
        {"03-reasoning", one_turn("#reason")},
        {"04-tool-read", one_turn("#tool")},
        {"05-bash-permission-once", with_reply("#ask", "once")},
        {"06-bash-permission-reject", with_reply("#ask", "reject")},
        {"08-bash-permission-legacy-endpoint",
         [](player& p) {
             p.begin("#ask");
             const auto id = text(p.ask().at("id"));
             p.call("POST", "/session/" + p.session + "/permissions/" + id, "{\"response\":\"once\"}");
             p.plain_end();
         }},
        {"09-question-reply",
         [](player& p) {
             p.begin("#question");
             const auto id = text(p.ask("question").at("id"));
             p.call("POST", "/question/" + id + "/reply", "{\"answers\":[[\"Blue\"]]}");
             p.plain_end();
         }},
        {"10-question-reject",
         [](player& p) {
             p.begin("#question");
             const auto id = text(p.ask("question").at("id"));
             p.call("POST", "/question/" + id + "/reject");
             p.plain_end();
         }},
        {"11-abort-while-streaming",
         [](player& p) {
             p.begin("#slow:200");
             p.until_seen("message.part.delta", 7);
             p.abort();
         }},
        {"13-abort-while-permission-pending",
         [](player& p) {
             p.begin("#ask");
             p.ask();
             p.run_for(300ms);
             p.abort();
         }},
        {"15-abort-while-bash-running",
         [](player& p) {
             p.begin("#ask:20000");
             p.reply("once");
             p.run_for(500ms);
             p.abort();
         }},
        {"16-abort-before-first-byte",
         [](player& p) {
             p.begin("#silent");
             p.run_for(1s);
             p.abort();
         }},
        {"17-abort-immediately-after-prompt_async",
         [](player& p) {
             p.begin("#slow:100");
             p.abort();
             p.plain_end();
         }},
        {"18-abort-when-idle",
         [](player& p) {
             p.begin("#plain");
             p.plain_end();
             p.abort();
         }},
        {"20-abort-then-immediately-new-prompt",
         [](player& p) {
             p.begin("#slow:200");
             p.until_seen("message.part.delta", 1);
             p.abort();
             p.prompt(p.session, "#plain");
             p.plain_end();
         }},
        {"30-model-400", one_turn("#error")},
        {"31-model-401", one_turn("#error:401")},
        {"32-model-500-retrying-then-abort",
         [](player& p) {
             p.begin("#e500");
             p.run_for(3500ms);
             p.abort();
         }},
        {"33-model-500-once-recovers",
         [](player& p) {
             p.begin("#e500once");
             p.run_for(5s);
         }},
        {"34-model-429-retry-after",
         [](player& p) {
             p.begin("#throttle:2");
             p.run_for(5s);
         }},
        {"36-model-stream-cut-once",
         [](player& p) {
             p.begin("#cutonce");
             p.run_for(5s);
         }},
        {"37-model-garbage-chunk", one_turn("#garbage")},
        {"38-model-error-chunk",
         [](player& p) {
             p.begin("#errchunk");
             p.until_seen("message.part.delta", 3);
             p.run_for(1s);
         }},
        {"39-finish-length", one_turn("#length")},
        {"40-context-overflow", one_turn("#overflow")},
        {"41-subagent-task", one_turn("#task")},
        {"42-subagent-permission", with_reply("#task:ask", "once")},
        {"44-write-file", one_turn("#write")},
        {"45-todowrite", one_turn("#todo")},
        {"47-instance-dispose-mid-turn",
         [](player& p) {
             p.begin("#slow:200");
             p.until_seen("message.part.delta", 3);
             p.call("POST", "/instance/dispose");
         }},
        {"48-unknown-model", one_turn("#plain")},
        {"50-unknown-model",
         [](player& p) {
             p.begin("x", ",\"model\":{\"providerID\":\"mock\",\"modelID\":\"nope\"}");
             p.plain_end();
         }},
        {"51-unknown-provider",
         [](player& p) {
             p.begin("x", ",\"model\":{\"providerID\":\"nope\",\"modelID\":\"nope\"}");
             p.plain_end();
         }},
        {"52-unknown-agent",
         [](player& p) {
             p.begin("x", ",\"agent\":\"nope\"");
             p.plain_end();
         }},
        {"53-model-connection-refused",
         [](player& p) {
             p.begin("#e500");
             p.run_for(3500ms);
             p.abort();
         }},
        {"54-client-chosen-messageID",
         [](player& p) {
             p.begin("#plain", ",\"messageID\":\"msg_chosen\"");
             p.plain_end();
         }},
        {"55-noReply-prompt",
         [](player& p) {
             p.begin("#plain", ",\"noReply\":true");
             p.plain_end();
         }},
        {"57-shell",
         [](player& p) {
             p.session = p.create();
             p.call("POST", "/session/" + p.session + "/shell",
                    "{\"agent\":\"build\",\"command\":\"echo hi\"}");
         }},
        {"62-two-sessions-same-dir-streamA1", two_sessions},
        {"62-two-sessions-same-dir-streamA2", two_sessions},
        {"62-other-dir-streamB", one_turn("#plain")},
        {"62-global",
         [](player& p) {
             const auto first = p.create();
             const auto second = p.create();
             const auto other = text(p.call("POST", "/session?directory=/other", "{}").parsed().at("id"));
             p.prompt(second, "#plain");
             p.prompt(first, "#plain");
             p.prompt(other, "#plain");
             p.plain_end();
         },
         "/global/event"},
        {"62-no-dir-stream",
         [](player& p) {
             const auto id = text(p.call("POST", "/session?directory=/elsewhere", "{}").parsed().at("id"));
             p.prompt(id, "#plain");
             p.plain_end();
         }},
        {"70-k_SIGHUP_busy", killed_in_mid_turn(2)},
        {"70-k_SIGINT_busy", killed_in_mid_turn(2)},
        {"70-k_SIGKILL_busy", killed_in_mid_turn(2)},
        {"70-k_SIGTERM_busy", killed_in_mid_turn(2)},
        {"70-k_SIGTERM_idle",
         [](player& p) {
             p.sim.kill(p.now);
         }},
        {"71-idle-heartbeats-event",
         [](player& p) {
             p.run_for(60s);
         }},
        {"71-idle-heartbeats-api-event", one_turn("#slow:200"), "/api/event"},
        {"80-idempotent-reposts",
         [](player& p) {
             p.session = p.create();
             p.repost(1);
             p.until([&] { return p.count(p.stream, "message.updated") == 2; });
             p.repost(2);
             p.until_seen("message.part.delta", 5);
             p.repost(1);
             p.plain_end();
             p.repost(1);
             p.plain_end();
         }},
        {"81-config-patch",
         [](player& p) {
             p.call("PATCH", "/config", "{}");
         }},
        {"81-config-patch-global",
         [](player& p) {
             warm_five_directories(p);
             p.call("PATCH", "/config?directory=/1", "{}");
         },
         "/global/event"},
        {"82-global-dispose",
         [](player& p) {
             p.call("POST", "/global/dispose");
         }},
        {"82-global-dispose-global",
         [](player& p) {
             warm_five_directories(p);
             p.call("POST", "/global/dispose");
         },
         "/global/event"},
        {"delete",
         [](player& p) {
             p.begin("#slow:60");
             p.until_seen("message.part.delta", 5);
             p.call("DELETE", "/session/" + p.session);
             p.run_for(6s);
         }},
        {"overflow-ok", one_turn("#overflow-ok")},
        {"overflow-ok-second", second_turn("#overflow-ok")},
        {"overflow-always-second", second_turn("#overflow")},
        {"overflow-ok-prompt-in-compaction",
         [](player& p) {
             p.begin("#plain");
             p.plain_end();
             p.prompt(p.session, "#overflow-ok");
             p.until([&] { return p.sim.truth().back().model_runs == 2; });
             p.prompt(p.session, "#slow:5");
             p.plain_end();
         }},
        {"overflow-ok-then-prompt",
         [](player& p) {
             p.begin("#plain");
             p.plain_end();
             p.prompt(p.session, "#overflow-ok");
             p.prompt(p.session, "#slow:5");
             p.plain_end();
         }},
        {"task-bash", with_reply("#task:ask", "once")},
        {"two-abort",
         [](player& p) {
             p.begin("#slow:100");
             p.until_seen("message.part.delta", 5);
             p.prompt(p.session, "#plain");
             p.run_for(50ms);
             p.abort();
         }},
        {"two-prompts",
         [](player& p) {
             p.begin("#slow:20");
             p.until_seen("message.part.delta", 5);
             p.prompt(p.session, "#plain");
             p.plain_end();
         }},
        {"two-prompts-at-once",
         [](player& p) {
             p.begin("#plain");
             p.prompt(p.session, "#plain");
             p.plain_end();
         }},
        {"two-prompts-tool",
         [](player& p) {
             p.begin("#sleep:1000");
             p.reply("once");
             p.run_for(300ms);
             p.prompt(p.session, "#plain");
             p.run_for(2s);
         }},
    };
    return all;
}

/// What the model cannot play, and why.
const std::map<std::string, std::string>& not_played() {
    static const std::string why =
        "a turn of the experimental session routes, which has another protocol: neither "
        "status nor idle, and events of its own";
    static const std::map<std::string, std::string> all = {
        {"60-v2-session-durable-event", why}, {"60-v2-turn-api-event", why},
        {"60-v2-turn-global-event", why},     {"60-v2-turn-seen-on-v1-event", why},
        {"61-v2-session-durable-event", why}, {"61-v2-turn-api-event", why},
        {"61-v2-turn-global-event", why},     {"61-v2-turn-seen-on-v1-event", why},
    };
    return all;
}

std::vector<json::object> play(const played_recording& r, std::uint64_t seed) {
    opencode_sim::options settings;
    settings.seed = seed;
    player p(settings);
    p.stream = p.subscribe(r.stream);
    r.play(p);
    return p.events(p.stream);
}

// The keys that an event of each kind may have.
void add_shapes(const std::vector<json::object>& events, shapes& into) {
    for (const auto& outer : events) {
        const auto& e = event_of(outer);
        const auto type = text(e.at("type"));
        if (type == "sync" || type == "session.updated" || !e.contains("properties"))
            continue;
        const auto& properties = e.at("properties").as_object();
        into[type].insert(keys(properties));
        if (type == "message.updated") {
            const auto& info = properties.at("info").as_object();
            into["info " + describe_message(info)].insert(keys(info));
        }
        if (type == "session.status")
            into["status " + text(properties.at("status").at("type"))].insert(
                keys(properties.at("status").as_object()));
        if (type != "message.part.updated")
            continue;
        const auto& part = properties.at("part").as_object();
        into[describe_part(part)].insert(keys(part));
        if (part.contains("state"))
            into["state " + describe_part(part)].insert(keys(part.at("state").as_object()));
    }
}

} // namespace

BOOST_AUTO_TEST_CASE(every_recording_is_played_or_it_is_said_why_not) {
    check_each_is_named_once(played(), not_played(), all_recordings());
}

BOOST_AUTO_TEST_CASE(for_every_recorded_turn_some_seed_gives_the_same_order_of_events_in_each_session) {
    check_some_seed_gives_the_same(
        played(), [](const auto& r) { return by_session(tokens_of(recording(r.name))); },
        [](const auto& r, std::uint64_t seed) { return by_session(tokens_of(play(r, seed))); });
}

BOOST_AUTO_TEST_CASE(events_carry_the_properties_that_the_real_ones_carry) {
    shapes real;
    shapes simulated;
    for (const auto& r : played()) {
        add_shapes(recording(r.name), real);
        add_shapes(play(r, 1), simulated);
    }
    for (const auto& [kind, sets] : simulated) {
        if (!real.contains(kind)) {
            BOOST_TEST_MESSAGE("no recorded counterpart: " << kind);
            continue;
        }
        check_sets(kind, real[kind], sets);
    }
}
