// The recogniser of the protocol's cases against the recordings of the real server, and the simulated server
// against the recogniser: it can show every row.
#include <boost/test/unit_test.hpp>

#include "support/protocol_rows.hpp"
#include "support/recordings.hpp"
#include "support/sim_player.hpp"

#include <holdfast/opencode/event.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>

using namespace holdfast;
using namespace std::chrono_literals;
using test::player;
using test::row;
using testing::opencode_sim;

namespace {

using rows = std::set<row>;

/// What each recording shows. Those that are not named show nothing.
const std::map<std::string, rows>& expectations() {
    static const std::map<std::string, rows> all = {
        {"01-plain-turn-event", {row::normal}},
        {"01-plain-turn-global-event", {row::normal}},
        {"02-second-turn-warm", {row::normal}},
        {"03-reasoning", {row::normal}},
        {"04-tool-read", {row::normal}},
        {"05-bash-permission-once", {row::normal}},
        {"06-bash-permission-reject", {row::permission_rejected, row::ask_before_the_tool_runs}},
        {"08-bash-permission-legacy-endpoint", {row::normal, row::ask_before_the_tool_runs}},
        {"09-question-reply", {row::normal, row::ask_before_the_tool_runs}},
        {"10-question-reject", {row::question_rejected, row::ask_before_the_tool_runs}},
        {"11-abort-while-streaming", {row::abort_while_streaming}},
        {"13-abort-while-permission-pending",
         {row::abort_while_asked, row::ask_before_the_tool_runs, row::ghost_left}},
        {"15-abort-while-bash-running", {row::abort_while_a_tool_runs, row::ask_before_the_tool_runs}},
        {"16-abort-before-first-byte", {row::abort_while_streaming}},
        {"17-abort-immediately-after-prompt_async", {row::abort_before_the_loop}},
        {"18-abort-when-idle", {row::normal, row::abort_while_idle}},
        {"20-abort-then-immediately-new-prompt", {row::normal, row::abort_while_streaming}},
        {"30-model-400", {row::model_error}},
        {"31-model-401", {row::model_error}},
        {"32-model-500-retrying-then-abort", {row::abort_in_retry_wait}},
        {"33-model-500-once-recovers", {row::normal, row::retry_recovers}},
        {"34-model-429-retry-after", {row::normal, row::retry_recovers, row::retry_after_header}},
        {"36-model-stream-cut-once", {row::normal, row::retry_recovers, row::thrown_away_try}},
        {"37-model-garbage-chunk", {row::model_error}},
        {"39-finish-length", {row::normal}},
        {"40-context-overflow", {row::overflow_compaction_fails}},
        {"41-subagent-task", {row::normal, row::subagent, row::finish_before_the_first_part}},
        {"42-subagent-permission",
         {row::normal, row::subagent, row::subagent_asks, row::finish_before_the_first_part,
          row::ask_before_the_tool_runs}},
        {"44-write-file", {row::normal}},
        {"45-todowrite", {row::normal, row::finish_before_the_first_part}},
        {"47-instance-dispose-mid-turn",
         {row::abort_while_streaming, row::dispose_in_mid_turn, row::dispose_ends_the_stream}},
        {"48-unknown-model", {row::normal}}, // mislabelled: a plain turn
        {"50-unknown-model", {row::unknown_model, row::error_after_idle}},
        {"51-unknown-provider", {row::unknown_model, row::error_after_idle}},
        {"52-unknown-agent", {row::unknown_agent}},
        {"53-model-connection-refused", {row::abort_in_retry_wait}},
        {"54-client-chosen-messageID", {row::normal}},
        {"55-noReply-prompt", {row::no_reply_prompt}},
        {"57-shell", {row::shell_command}},
        {"62-global", {row::normal}},
        {"62-other-dir-streamB", {row::normal}},
        {"62-two-sessions-same-dir-streamA1", {row::normal}},
        {"62-two-sessions-same-dir-streamA2", {row::normal}},
        {"70-k_SIGHUP_busy", {row::server_killed}},
        {"70-k_SIGINT_busy", {row::server_killed, row::cold_instance}},
        {"70-k_SIGKILL_busy", {row::server_killed, row::cold_instance}},
        {"70-k_SIGTERM_busy", {row::server_killed, row::cold_instance}},
        {"80-idempotent-reposts", {row::normal, row::repost_while_running, row::repost_after_the_end}},
        {"81-config-patch", {row::dispose_ends_the_stream}},
        {"81-config-patch-global", {row::dispose_ends_the_stream}},
        {"82-global-dispose", {row::dispose_ends_the_stream}},
        {"82-global-dispose-global", {row::dispose_ends_the_stream}},
        {"delete", {row::delete_while_running}},
        {"overflow-always-second", {row::normal, row::overflow_compaction_fails, row::continuation_copy}},
        {"overflow-ok", {row::normal, row::overflow_recovers, row::continuation_synthetic}},
        {"overflow-ok-prompt-in-compaction",
         {row::normal, row::overflow_recovers, row::continuation_copy, row::prompt_while_busy,
          row::prompts_merged}},
        {"overflow-ok-second", {row::normal, row::overflow_recovers, row::continuation_copy}},
        {"overflow-ok-then-prompt", {row::normal, row::prompts_merged}},
        {"task-bash", {row::normal, row::subagent, row::subagent_asks}},
        {"two-abort", {row::abort_while_streaming, row::abort_with_two_open}},
        {"two-prompts", {row::normal, row::prompt_while_busy, row::both_prompts_answered}},
        {"two-prompts-at-once", {row::normal, row::prompts_merged}},
        {"two-prompts-tool", {row::normal, row::prompt_while_busy, row::prompt_taken_during_a_tool}},
    };
    return all;
}

rows shown_by(const std::filesystem::path& recording) {
    test::protocol_rows recogniser;
    for (const auto& data : test::recorded_data(recording)) {
        const auto head = opencode::peek(data);
        if (!head.type.empty() && !head.sync_twin)
            recogniser.event(head.directory, head.body);
    }
    // What no event tells: the recordings of a kill end with it, the others when nothing is under way.
    if (recording.stem().string().starts_with("70-"))
        recogniser.process_killed();
    recogniser.quiet();
    return recogniser.seen();
}

std::string list(const rows& which) {
    std::string out;
    for (const auto r : which)
        out.append(out.empty() ? "" : ", ").append(test::name_of(r));
    return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(each_recording_is_recognised_as_what_it_shows_and_as_nothing_else) {
    for (const auto& path : test::all_recordings()) {
        const auto known = expectations().find(path.stem().string());
        const auto expected = known == expectations().end() ? rows() : known->second;
        BOOST_TEST(list(shown_by(path)) == list(expected), path.stem());
    }
}

BOOST_AUTO_TEST_CASE(every_expectation_has_its_recording) {
    for (const auto& [name, shown] : expectations())
        BOOST_TEST(std::filesystem::exists(test::recording_path(name)), name);
}

BOOST_AUTO_TEST_CASE(every_row_has_a_name_and_one_line_and_stands_in_its_place) {
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < test::all_rows().size(); ++i) {
        const auto& one = test::all_rows()[i];
        BOOST_TEST(static_cast<std::size_t>(one.row) == i);
        BOOST_TEST(!one.what.empty());
        BOOST_TEST(one.what.find('\n') == std::string_view::npos);
        BOOST_TEST(test::name_of(one.row) == one.name);
        BOOST_TEST(names.insert(one.name).second, one.name);
    }
    BOOST_TEST((test::all_rows().back().row == row::dispose_ends_the_stream));
}

BOOST_AUTO_TEST_CASE(the_table_has_a_line_for_each_row_with_its_count) {
    const auto table = test::row_table({{row::normal, 12}, {row::unknown_agent, 3}});
    BOOST_TEST(table.starts_with("       12  normal "));
    BOOST_TEST(table.find("        3  unknown agent ") != std::string::npos);
    BOOST_TEST(table.find("        0  abort twice ") != std::string::npos);
    BOOST_TEST(static_cast<std::size_t>(std::count(table.begin(), table.end(), '\n')) ==
               test::all_rows().size());
}

BOOST_AUTO_TEST_CASE(what_is_no_event_is_nothing) {
    test::protocol_rows recogniser;
    for (const auto* payload : {"", "null", "[]", "{}", "{", "{\"type\":1}",
                                "{\"id\":\"evt_x\",\"type\":\"session.idle\",\"properties\":1}"})
        recogniser.event("/srv", payload);
    BOOST_TEST(recogniser.seen().empty());
}

namespace {

/// A server with the recogniser at its tap.
struct watched {
    explicit watched(const opencode_sim::options& settings) : p(settings) {
        p.sim.on_event(
            [this](std::string_view directory, std::string_view payload) { seen.event(directory, payload); });
        p.stream = p.subscribe();
    }
    test::protocol_rows seen;
    player p;
};

using scene = std::function<void(watched&)>;

scene turn(std::string tag, duration length = 10s) {
    return [tag, length](watched& w) {
        w.p.begin(tag);
        w.p.run_for(length);
    };
}

scene turn_with(std::string more) {
    return [more](watched& w) {
        w.p.begin("#plain", more);
        w.p.plain_end();
    };
}

scene second_turn(std::string tag) {
    return [tag](watched& w) {
        turn("#plain")(w);
        w.p.prompt(w.p.session, tag);
        w.p.plain_end();
    };
}

scene second_prompt_after(std::string tag, duration wait) {
    return [tag, wait](watched& w) {
        w.p.begin(tag);
        w.p.run_for(wait);
        w.p.prompt(w.p.session, "#plain");
        w.p.run_for(5s);
    };
}

scene aborted_after(std::string tag, duration wait) {
    return [tag, wait](watched& w) {
        w.p.begin(tag);
        w.p.run_for(wait);
        w.p.abort();
        w.p.plain_end();
    };
}

scene answered(std::string tag, std::string reply, std::string more = {}) {
    return [=](watched& w) {
        w.p.begin(tag);
        w.p.reply(reply, more);
        w.p.plain_end();
    };
}

void reject_a_question(watched& w) {
    w.p.begin("#question");
    w.p.call("POST", "/question/" + test::text(w.p.ask("question").at("id")) + "/reject");
    w.p.plain_end();
}

void abort_a_running_tool(watched& w) {
    w.p.begin("#ask:20000");
    w.p.reply("once");
    w.p.run_for(500ms);
    w.p.abort();
}

void abort_twice(watched& w) {
    w.p.begin("#ask");
    w.p.ask();
    const auto first = w.p.start_abort(w.p.session);
    const auto second = w.p.start_abort(w.p.session);
    w.p.finish_call(first);
    w.p.finish_call(second);
}

void abort_two_prompts(watched& w) {
    w.p.begin("#slow:200");
    w.p.run_for(500ms);
    w.p.prompt(w.p.session, "#plain");
    w.p.abort();
}

void answer_a_ghost(watched& w) {
    w.p.begin("#ask");
    w.p.ask();
    w.p.abort();
    w.p.reply("once");
}

void delete_in_mid_turn(watched& w) {
    w.p.begin("#slow:50");
    w.p.run_for(500ms);
    w.p.call("DELETE", "/session/" + w.p.session);
    w.p.run_for(1s);
}

void kill_in_mid_turn(watched& w) {
    turn("#slow:200", 1s)(w);
    w.p.sim.kill(w.p.now);
    w.seen.process_killed();
}

void take_a_prompt_without_reply(watched& w) {
    turn_with(",\"noReply\":true")(w);
    w.seen.quiet();
}

void run_a_command(watched& w) {
    w.p.session = w.p.create();
    w.p.call("POST", "/session/" + w.p.session + "/shell", "{\"agent\":\"build\",\"command\":\"echo hi\"}");
}

void repost_while_it_runs(watched& w) {
    w.p.session = w.p.create();
    w.p.repost(1);
    w.p.run_for(150ms);
    w.p.repost(1);
    w.p.plain_end();
}

void repost_at_the_end(watched& w) {
    w.p.session = w.p.create();
    w.p.repost(1);
    w.p.plain_end();
    w.p.repost(1);
    w.p.plain_end();
}

void go_mute(watched& w) {
    w.p.sim.set_mute(true);
    w.seen.muted(true);
    turn("#plain")(w);
}

void dispose_in_mid_turn(watched& w) {
    turn("#slow:200", 500ms)(w);
    w.p.call("POST", "/instance/dispose");
}

/// What makes the simulated server show each row.
const std::map<row, scene>& scenes() {
    static const std::map<row, scene> all = {
        {row::normal, turn("#plain")},
        {row::abort_while_streaming, aborted_after("#slow:200", 500ms)},
        {row::abort_while_a_tool_runs, abort_a_running_tool},
        {row::abort_while_asked, aborted_after("#question", 1s)},
        {row::abort_in_retry_wait, aborted_after("#e500", 1s)},
        {row::abort_before_the_loop, aborted_after("#plain", 0s)},
        {row::abort_while_idle, aborted_after("#plain", 1s)},
        {row::abort_of_an_unknown_session,
         [](watched& w) {
             w.p.finish_call(w.p.start_abort("ses_none"));
         }},
        {row::abort_twice, abort_twice},
        {row::model_error, turn("#error")},
        {row::retries_used_up, turn("#e500", 5min)},
        {row::unknown_model, turn_with(",\"model\":{\"providerID\":\"mock\",\"modelID\":\"nope\"}")},
        {row::unknown_agent, turn_with(",\"agent\":\"nope\"")},
        {row::overflow_recovers, turn("#overflow-ok")},
        {row::overflow_compaction_fails, turn("#overflow")},
        {row::permission_rejected, answered("#ask", "reject")},
        {row::question_rejected, reject_a_question},
        {row::rejected_with_a_message, answered("#ask", "reject", ",\"message\":\"use ls\"")},
        {row::prompt_while_busy, second_prompt_after("#slow:20", 300ms)},
        {row::no_reply_prompt, take_a_prompt_without_reply},
        {row::subagent, turn("#task")},
        {row::subagent_asks, answered("#task:ask", "once")},
        {row::abort_parent, aborted_after("#task:slow:200", 1s)},
        {row::delete_while_running, delete_in_mid_turn},
        {row::server_killed, kill_in_mid_turn},
        {row::finish_before_the_first_part, turn("#early")},
        {row::ask_before_the_tool_runs, turn("#question")},
        {row::error_after_idle, turn_with(",\"model\":{\"providerID\":\"x\",\"modelID\":\"x\"}")},
        {row::error_without_session, turn("#plain")},
        {row::cold_instance, turn("#plain")},
        {row::ghost_left, aborted_after("#ask", 1s)},
        {row::ghost_answered, answer_a_ghost},
        {row::retry_recovers, turn("#e500once")},
        {row::retry_after_header, turn("#throttle:100", 3min)},
        {row::thrown_away_try, turn("#cutonce")},
        {row::continuation_synthetic, turn("#overflow-ok")},
        {row::continuation_copy, second_turn("#overflow-ok")},
        {row::prompts_merged, second_prompt_after("#plain", 0s)},
        {row::prompt_taken_during_a_tool,
         [](watched& w) {
             w.p.begin("#ask");
             w.p.ask();
             w.p.prompt(w.p.session, "#plain");
             w.p.reply("once");
             w.p.plain_end();
         }},
        {row::both_prompts_answered, second_prompt_after("#slow:20", 300ms)},
        {row::abort_with_two_open, abort_two_prompts},
        {row::repost_while_running, repost_while_it_runs},
        {row::repost_after_the_end, repost_at_the_end},
        {row::shell_command, run_a_command},
        {row::mute_stream, go_mute},
        {row::dispose_in_mid_turn, dispose_in_mid_turn},
        {row::dispose_ends_the_stream,
         [](watched& w) {
             w.p.call("POST", "/instance/dispose");
         }},
    };
    return all;
}

/// What a row needs of the server, beside what is done to it.
opencode_sim::options server_for(row r) {
    opencode_sim::options out;
    if (r == row::error_without_session)
        out.plugin_error = 1;
    if (r == row::cold_instance)
        out.cold_start = 1500ms;
    return out;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_simulated_server_can_show_every_row) {
    for (const auto& one : test::all_rows()) {
        const auto found = scenes().find(one.row);
        BOOST_TEST_REQUIRE((found != scenes().end()), one.name);
        watched w(server_for(one.row));
        found->second(w);
        BOOST_TEST(w.seen.seen().contains(one.row), one.name << " is not among: " << list(w.seen.seen()));
    }
}

BOOST_AUTO_TEST_CASE(an_orderly_server_shows_a_plain_turn_as_nothing_else) {
    for (const char* tag : {"#plain", "#slow:5", "#reason", "#tool", "#write", "#length"}) {
        watched w({});
        turn(tag)(w);
        w.seen.quiet();
        BOOST_TEST(list(w.seen.seen()) == "normal", tag);
    }
}

BOOST_AUTO_TEST_CASE(the_odds_of_an_oddity_are_those_that_were_asked_for) {
    struct odd {
        row r;
        double opencode_sim::options::* chance;
        scene play;
    };
    const std::vector<odd> rows = {
        {row::ask_before_the_tool_runs, &opencode_sim::options::ask_first, turn("#ask", 1s)},
        {row::error_without_session, &opencode_sim::options::plugin_error, turn("#plain", 1s)},
    };
    for (const auto& one : rows)
        for (const double wanted : {0.0, 0.3, 1.0}) {
            int seen = 0;
            for (std::uint64_t seed = 1; seed <= 100; ++seed) {
                opencode_sim::options settings;
                settings.seed = seed;
                settings.*one.chance = wanted;
                watched w(settings);
                one.play(w);
                seen += w.seen.seen().contains(one.r);
            }
            BOOST_TEST(seen >= wanted * 100 - 15, test::name_of(one.r) << " at " << wanted);
            BOOST_TEST(seen <= wanted * 100 + 15, test::name_of(one.r) << " at " << wanted);
            if (wanted == 0.0 || wanted == 1.0)
                BOOST_TEST(seen == static_cast<int>(wanted * 100));
        }
}

BOOST_AUTO_TEST_CASE(rows_that_are_counted_nowhere_are_named) {
    std::map<row, std::size_t> counts;
    for (const auto& one : test::all_rows())
        counts[one.row] = 1;
    BOOST_TEST(test::rows_without(counts).empty());
    counts[row::normal] = 0;
    counts.erase(row::shell_command);
    const auto missing = test::rows_without(counts);
    BOOST_TEST_REQUIRE(missing.size() == 2u);
    BOOST_TEST((missing[0].row == row::normal));
    BOOST_TEST((missing[1].row == row::shell_command));
}
