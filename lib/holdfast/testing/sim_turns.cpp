// The turns of the simulated server: the loop that answers prompts, and what the model and the tools play in
// it. The order of events in each story is that of the recordings.
#include <holdfast/testing/sim_engine.hpp>

#include <algorithm>

namespace holdfast::testing::detail {

namespace {

using outcome = opencode_sim::outcome;
using kind = script::kind;

constexpr int retries_allowed = 5;

json::object error_object(std::string_view name, std::string_view message) {
    json::object data;
    data["message"] = message;
    json::object error;
    error["name"] = name;
    error["data"] = std::move(data);
    return error;
}

json::object api_error(std::string_view message, std::uint64_t status) {
    auto error = error_object("APIError", message);
    auto& data = error["data"].as_object();
    data["statusCode"] = status;
    data["isRetryable"] = status >= 500;
    return error;
}

json::object overflow_error() {
    return error_object("ContextOverflowError", "This model's maximum context length is 128000 tokens. "
                                                "However, your messages resulted in 200000 tokens.");
}

/// Steps that were seen to be over before the streams told of their beginning.
bool is_told_when_it_is_over(const script& what) {
    return what.what == kind::early || what.what == kind::todo;
}

json::object text_part(std::string_view text) {
    json::object part;
    part["type"] = "text";
    part["text"] = text;
    return part;
}

/// What a copy of a prompt's part holds.
json::object copied(const json::object& part) {
    auto out = part;
    for (const auto* key : {"id", "messageID", "sessionID"})
        out.erase(key);
    return out;
}

json::object too_large_to_compact() {
    return error_object(
        "ContextOverflowError",
        "Session too large to compact - context exceeds model limit even after stripping media");
}

} // namespace

// The loop.

void engine::begin_loop(session& s, duration delay) {
    if (!warm_.contains(s.directory))
        delay += settings_.cold_start;
    s.run.now = run::phase::starting;
    s.run.stop = false;
    s.run.tale = while_it_exists(s, loop(s, delay));
    s.run.tale.start();
}

/// A story that may find the session's rows gone.
story engine::while_it_exists(session& s, story tale) {
    bool gone = false;
    try {
        co_await tale;
    } catch (const session_gone&) {
        gone = true;
    }
    if (gone)
        co_await fail_to_write(s);
}

/// The server takes the failed write for a failure of the model: it tries again, and fails at each try's
/// first part. Nothing can be stored of the end either, so it stays busy for good.
story engine::fail_to_write(session& s) {
    s.run.text_part.clear();
    for (int attempt = 1; attempt <= retries_allowed; ++attempt)
        co_await retry_wait(s, attempt, "Failed query: insert into \"part\"", retry_delay(attempt));
}

story engine::loop(session& s, duration delay) {
    co_await pause(line_, delay);
    s.run.now = run::phase::working;
    if (happens(settings_.plugin_error))
        plan_plugin_error(s.directory);
    for (bool first = true; !s.run.stop; first = false) {
        set_busy(s);
        if (answered(s))
            break;
        if (first)
            co_await pause(line_, between(milliseconds(2), milliseconds(8)));
        if (!known_model(s)) {
            fail_without_answer(s);
            co_return;
        }
        co_await step(s, first);
    }
    end_run(s);
}

/// The last user message has its answer: one that says why it finished, and not to call tools. A model that
/// gives no reason is asked again and again.
bool engine::answered(session& s) {
    for (auto m = s.messages.rbegin(); m != s.messages.rend() && !(*m)->user; ++m) {
        const auto* finish = (*m)->info.if_contains("finish");
        return finish && *finish != "tool-calls" && *finish != "unknown";
    }
    return false;
}

void engine::end_run(session& s) {
    if (s.deleted)
        return; // for ever busy: there is no row left to end
    become_idle(s);
    for (auto& r : prompts_)
        if (r.session == s.id && r.outcome == outcome::pending && r.merged_into.empty() &&
            !r.last_answer.empty())
            close_by_answer(s, r);
    for (auto& r : prompts_) {
        if (r.session != s.id || r.outcome != outcome::pending)
            continue;
        const auto answer = r.merged_into.empty() ? none : record_of(s, r.merged_into);
        r.outcome = answer == none ? outcome::unanswered : prompts_[answer].outcome;
        if (answer != none)
            r.error = prompts_[answer].error;
    }
    over(s);
}

void engine::fail_without_answer(session& s) {
    const auto text = "Model not found: " + s.provider + "/" + s.model + ".";
    emit_error(s, error_object("UnknownError", text));
    become_idle(s);
    emit_error(s, error_object("UnknownError", "ProviderModelNotFoundError: " + text));
    plan_title(s);
    for (auto& r : prompts_) {
        const message* last = r.last_answer.empty() ? nullptr : find_message(s, r.last_answer);
        if (r.session == s.id && r.outcome == outcome::pending && last && !last->compaction &&
            last->info.contains("finish"))
            close_by_answer(s, r); // answered before the model was changed
    }
    close_merged(s);
    close_records(s, outcome::failed, "UnknownError");
    // It came while an abort settled, and was answered by this.
    if (const auto current = record_of(s, last_user(s).root); current != none) {
        prompts_[current].outcome = outcome::failed;
        prompts_[current].error = "UnknownError";
    }
    over(s);
}

story engine::step(session& s, bool first) {
    message& asked = last_user(s);
    const message* prompt_message = find_message(s, asked.root);
    const script what = choose_script(text_of(*prompt_message));
    if (asked.compaction) {
        co_await compact(s, what);
        co_return;
    }
    const bool after_tool = std::any_of(s.messages.begin(), s.messages.end(), [&](const auto& m) {
        const auto* parent = m->info.if_contains("parentID");
        const auto* finish = m->info.if_contains("finish");
        return parent && parent->as_string() == asked.id && finish && *finish == "tool-calls";
    });
    const bool continued = asked.id != asked.root;
    if (!continued &&
        (is_told_when_it_is_over(what) || (after_tool && what.what == kind::task && draw(2) == 0)))
        fall_behind_for_a_step();
    add_answer(s, asked, s.agent);
    if (first) {
        warm_up(s.directory);
        plan_title(s);
        plan_summary(s, between(milliseconds(1), milliseconds(12)));
    }
    co_await pause(line_, between(milliseconds(10), milliseconds(40)));
    set_busy(s);
    model_called(s);
    co_await pause(line_, between(milliseconds(1), milliseconds(10)));
    if (continued && what.what == kind::overflow)
        overflow_step(s);
    else if (continued)
        co_await say(s, "Recovered after the compaction.");
    else if (after_tool)
        co_await play_after_tool(s, what);
    else
        co_await play(s, what);
}

/// A new session's first turn also asks the model for a title, beside the answer.
void engine::plan_title(session& s) {
    if (s.titled || !settings_.titles)
        return;
    s.titled = true;
    line_.after(between(milliseconds(10), milliseconds(80)), [this, &s] { rename(s, "Simulated title"); });
}

/// Of nobody's session, and nobody's fault.
void engine::plan_plugin_error(const std::string& directory) {
    line_.after(between(milliseconds(0), milliseconds(300)), [this, directory] {
        json::object properties;
        properties["error"] = error_object("UnknownError", "simulated failure of a plugin");
        emit_server(directory, "session.error", std::move(properties));
    });
}

void engine::plan_summary(session& s, duration delay) {
    line_.after(delay, [this, &s] {
        if (s.deleted)
            return;
        s.info["summary"] = {{"additions", 0}, {"deletions", 0}, {"files", 0}};
        emit_session(s, "session.updated");
        emit(s, "session.diff", {{"sessionID", s.id}, {"diff", json::array()}});
    });
}

// What the model plays.

story engine::play(session& s, script what) {
    switch (what.what) {
    case kind::two_asks:
    case kind::background:
    case kind::empty:
    case kind::filter:
    case kind::unknown_tool:
    case kind::plain:
    case kind::early: co_await say(s, "Hello from the simulated model."); break;
    case kind::slow: co_await say(s, numbered_words(what.number)); break;
    case kind::silent:
        co_await pause(line_, milliseconds(what.number));
        co_await say(s, "Hello from the simulated model.");
        break;
    case kind::big:
        step_start(s);
        open_text(s, "text");
        delta(s, std::string(what.number, 'x'));
        close_text(s);
        finish_step(s, "stop");
        break;
    case kind::length:
        step_start(s);
        co_await stream(s, "truncated ans");
        finish_step(s, "length");
        break;
    case kind::no_finish: {
        const auto before = std::count_if(s.messages.begin(), s.messages.end(), [&](const auto& m) {
            const auto* parent = m->info.if_contains("parentID");
            return parent && parent->as_string() == s.run.asked->id && m.get() != s.run.answer;
        });
        step_start(s);
        co_await stream(s, "Once more. ");
        finish_step(s, what.number != 0 && static_cast<std::uint64_t>(before) + 1 >= what.number ? "stop"
                                                                                                 : "unknown");
        break;
    }
    case kind::reason:
        step_start(s);
        open_text(s, "reasoning");
        for (const auto& word : words("Let me think hard.")) {
            co_await pause(line_, settings_.pace);
            delta(s, word);
        }
        close_text(s);
        co_await stream(s, "Answer is 42.");
        finish_step(s, "stop");
        break;
    case kind::read: co_await read_tool(s); break;
    case kind::write: co_await write_tool(s); break;
    case kind::todo: co_await todo_tool(s); break;
    case kind::ask: co_await bash_tool(s, "echo hi", "hi\n", what.number); break;
    case kind::sleep: co_await bash_tool(s, "sleep", "", what.number); break;
    case kind::question: co_await question_tool(s); break;
    case kind::task:
        if (what.argument.empty())
            what.argument = "plain";
        co_await task_tool(s, what.argument);
        break;
    case kind::error: fail_step(s, api_error("simulated failure of the model", what.number)); break;
    case kind::e500: {
        auto error = api_error("simulated model: boom", 500);
        co_await retry_until_it_fails(s, std::move(error), "simulated model: boom", false);
        break;
    }
    case kind::errchunk: {
        auto error = error_object("UnknownError", "stream error");
        co_await retry_until_it_fails(s, std::move(error), "stream error", true);
        break;
    }
    case kind::e500once:
        co_await retry_wait(s, 1, "simulated model: boom once", retry_delay(1));
        co_await say(s, "Recovered.");
        break;
    case kind::throttle:
        co_await retry_wait(s, 1, "rate limited", seconds(what.number));
        co_await say(s, "Recovered.");
        break;
    case kind::cutonce:
        step_start(s);
        open_text(s, "text");
        co_await pause(line_, settings_.pace);
        delta(s, "partial ");
        co_await pause(line_, settings_.pace);
        co_await retry_wait(s, 1, "Connection reset by server", retry_delay(1));
        co_await say(s, "whole.");
        break;
    case kind::garbage:
        step_start(s);
        open_text(s, "text");
        co_await pause(line_, settings_.pace);
        delta(s, "ok ");
        co_await pause(line_, settings_.pace);
        fail_step(s, error_object("UnknownError", "JSON parsing failed: Text: {not json."));
        break;
    case kind::overflow:
    case kind::overflow_ok: overflow_step(s); break;
    }
}

story engine::play_after_tool(session& s, script what) {
    switch (what.what) {
    case kind::ask: co_await say(s, "Tool said hi."); break;
    case kind::sleep: co_await say(s, "Tool said nothing."); break;
    case kind::question: co_await say(s, "Got the answer."); break;
    case kind::write: co_await say(s, "I wrote it."); break;
    case kind::todo: co_await say(s, "Todo made."); break;
    case kind::task: co_await say(s, "Subagent finished."); break;
    default: co_await say(s, "I read it."); break;
    }
}

/// A whole step that says one text.
story engine::say(session& s, std::string text) {
    step_start(s);
    co_await stream(s, std::move(text));
    finish_step(s, "stop");
}

/// One text part, a word at a time.
story engine::stream(session& s, std::string text) {
    open_text(s, "text");
    for (const auto& word : words(text)) {
        co_await pause(line_, settings_.pace);
        delta(s, word);
    }
    close_text(s);
}

/// 2 s doubled each time, up to a quarter more, at most 30 s.
duration engine::retry_delay(int attempt) {
    const milliseconds base(2000LL << (attempt - 1));
    const auto jittered = base + milliseconds(draw(static_cast<std::uint64_t>(base.count()) / 4 + 1));
    return std::min<milliseconds>(jittered, seconds(30));
}

story engine::retry_wait(session& s, int attempt, std::string text, duration wait) {
    s.run.now = run::phase::retrying;
    json::object status;
    status["type"] = "retry";
    status["attempt"] = attempt;
    status["message"] = text;
    status["next"] = wall_ms() + to_ms(wait);
    set_status(s, std::move(status));
    co_await pause(line_, wait);
    s.run.now = run::phase::working;
    throw_text_away(s);
    set_busy(s);
    model_called(s);
    co_await pause(line_, between(milliseconds(1), milliseconds(10)));
}

story engine::retry_until_it_fails(session& s, json::object error, std::string text, bool with_text) {
    for (int attempt = 1;; ++attempt) {
        if (with_text) {
            step_start(s);
            open_text(s, "text");
            co_await pause(line_, settings_.pace);
            delta(s, "ok ");
            co_await pause(line_, settings_.pace);
        }
        if (attempt > retries_allowed)
            break;
        co_await retry_wait(s, attempt, text, retry_delay(attempt));
    }
    fail_step(s, std::move(error));
}

/// The step ends without a finish; the loop goes on with a message of the server's own that asks for a
/// compaction.
void engine::overflow_step(session& s) {
    const message& asked = *s.run.asked;
    emit_error(s, overflow_error());
    complete_answer(s);
    json::object part;
    part["type"] = "compaction";
    part["auto"] = true;
    part["overflow"] = true;
    add_continuation(s, asked, {std::move(part)}, true);
}

story engine::compact(session& s, script what) {
    message& asked = last_user(s);
    // With something before the prompt there is something to summarise, once.
    const message& prompt_message = *find_message(s, asked.root);
    const bool fails = what.what == kind::overflow &&
                       (!has_earlier_prompt(s, prompt_message) || was_compacted(s, prompt_message));
    if (fails && draw(2) == 0)
        fall_behind_for_a_step();
    message& answer = add_answer(s, asked, "compaction");
    set_busy(s);
    model_called(s);
    co_await pause(line_, between(milliseconds(10), milliseconds(40)));
    if (fails) {
        emit_error(s, overflow_error());
        answer.info["error"] = too_large_to_compact();
        answer.info["finish"] = "error";
        complete_answer(s);
        emit_message(s, answer);
        catch_up();
        s.run.stop = true;
        co_return;
    }
    step_start(s);
    co_await stream(s, "Summary of what was said.");
    finish_step(s, "stop");
    go_on_after_compaction(s, asked);
    emit(s, "session.compacted", {{"sessionID", s.id}});
}

/// With a copy of the prompt, when the session has an earlier one, else with words of the server's own.
void engine::go_on_after_compaction(session& s, const message& asked) {
    const message& prompt_message = *find_message(s, asked.root);
    std::vector<json::object> parts;
    if (has_earlier_prompt(s, prompt_message)) {
        for (const auto& part : prompt_message.parts)
            parts.push_back(copied(part));
    } else {
        auto part = text_part("Continue if you have next steps.");
        part["synthetic"] = true;
        part["metadata"] = {{"compaction_continue", true}};
        part["time"] = {{"start", wall_ms()}, {"end", wall_ms()}};
        parts.push_back(std::move(part));
    }
    add_continuation(s, asked, std::move(parts), false);
}

// The tools.

story engine::read_tool(session& s) {
    step_start(s);
    tool_pending(s, "read");
    co_await pause(line_, settings_.pace);
    const json::object input{{"filePath", "hello.txt"}};
    tool_running(s, input);
    co_await pause(line_, settings_.pace);
    tool_ended(s, "completed",
               {{"output", "<content>\n1: hello file content\n</content>"},
                {"title", "hello.txt"},
                {"metadata", {{"preview", "hello file content"}, {"truncated", false}}}});
    finish_step(s, "tool-calls");
}

story engine::write_tool(session& s) {
    step_start(s);
    tool_pending(s, "write");
    co_await pause(line_, settings_.pace);
    const json::object input{{"filePath", "out.txt"}, {"content", "written\n"}};
    tool_running(s, input);
    const auto file = s.directory + "/out.txt";
    emit_server(s.directory, "file.edited", {{"file", file}});
    emit_server(s.directory, "file.watcher.updated", {{"file", file}, {"event", "add"}});
    co_await pause(line_, settings_.pace);
    tool_ended(s, "completed",
               {{"output", "Wrote file successfully."},
                {"title", "out.txt"},
                {"metadata", {{"filepath", file}, {"exists", false}, {"truncated", false}}}});
    finish_step(s, "tool-calls");
}

story engine::todo_tool(session& s) {
    step_start(s);
    tool_pending(s, "todowrite");
    co_await pause(line_, settings_.pace);
    const json::array todos{{{"content", "a"}, {"status", "pending"}, {"priority", "high"}}};
    const json::object input{{"todos", todos}};
    emit(s, "todo.updated", {{"sessionID", s.id}, {"todos", todos}});
    tool_running(s, input);
    co_await pause(line_, settings_.pace);
    tool_ended(s, "completed",
               {{"output", json::serialize(todos)}, {"title", "1 todos"}, {"metadata", {{"todos", todos}}}});
    finish_step(s, "tool-calls");
}

story engine::bash_tool(session& s, std::string command, std::string output, std::uint64_t run_ms) {
    step_start(s);
    open_text(s, "text");
    for (const auto* word : {"Running ", "it. "}) {
        co_await pause(line_, settings_.pace);
        delta(s, word);
    }
    tool_pending(s, "bash");
    co_await pause(line_, settings_.pace);
    const json::object input{{"command", command}, {"description", "say hi"}};
    const std::string message_id = s.run.answer->id;

    // The question may be out before the tool says that it runs.
    reply_to_ask reply(line_);
    const bool granted = always_allowed_.contains(s.directory);
    const bool asked_first = happens(settings_.ask_first);
    const auto put = [&] {
        const auto& state = part_of(*s.run.answer, s.run.tool_part);
        put_ask(s, false,
                {{"permission", "bash"},
                 {"patterns", {command}},
                 {"metadata", {{"command", command}}},
                 {"always", {"echo *"}},
                 {"tool", {{"messageID", message_id}, {"callID", state.at("callID")}}}},
                reply);
    };
    if (!granted && asked_first)
        put();
    tool_running(s, input);
    close_text(s);
    if (!granted) {
        if (!asked_first)
            put();
        co_await reply.given;
    }
    if (reply.reply == "reject") {
        const bool told_why = !reply.message.empty();
        const auto text =
            told_why ? "The user rejected permission to use this specific tool call with the following "
                       "feedback: " +
                           reply.message
                     : std::string("The user rejected permission to use this specific tool call.");
        tool_ended(s, "error", {{"error", text}});
        finish_step(s, "tool-calls");
        s.run.stop = !told_why;
        step_record_for_answer(s, [](prompt_record& r) { r.rejected = true; });
        co_return;
    }
    tool_running(s, input, {{"metadata", {{"output", ""}}}});
    co_await pause(line_, settings_.pace);
    s.run.tool_has_output = !output.empty();
    if (s.run.tool_has_output)
        tool_running(s, input, {{"metadata", {{"output", output}}}});
    co_await pause(line_, milliseconds(run_ms) + settings_.pace);
    tool_ended(s, "completed",
               {{"output", output},
                {"title", command},
                {"metadata", {{"output", output}, {"exit", 0}, {"truncated", false}}}});
    finish_step(s, "tool-calls");
}

story engine::question_tool(session& s) {
    step_start(s);
    tool_pending(s, "question");
    co_await pause(line_, settings_.pace);
    const json::object red{{"label", "Red"}, {"description", "r"}};
    const json::object blue{{"label", "Blue"}, {"description", "b"}};
    json::object question{{"question", "Which color?"}, {"header", "Color"}};
    question["options"] = json::array{red, blue};
    json::array questions;
    questions.push_back(std::move(question));
    json::object input;
    input["questions"] = questions;

    reply_to_ask reply(line_);
    const auto& tool = part_of(*s.run.answer, s.run.tool_part);
    json::object asked;
    asked["questions"] = questions;
    asked["tool"] = {{"messageID", s.run.answer->id}, {"callID", tool.at("callID")}};
    put_ask(s, true, std::move(asked), reply);
    tool_running(s, input);
    co_await reply.given;

    if (reply.reply == "reject") {
        tool_ended(s, "error", {{"error", "The user dismissed this question"}});
        finish_step(s, "tool-calls");
        s.run.stop = true;
        step_record_for_answer(s, [](prompt_record& r) { r.rejected = true; });
        co_return;
    }
    tool_ended(s, "completed",
               {{"output", "User has answered your questions: " + json::serialize(reply.answers)},
                {"title", "Asked 1 question"},
                {"metadata", {{"answers", reply.answers}, {"truncated", false}}}});
    finish_step(s, "tool-calls");
}

story engine::task_tool(session& s, std::string tag) {
    step_start(s);
    tool_pending(s, "task");
    co_await pause(line_, settings_.pace);
    const auto text = "do it #" + tag;
    const json::object input{{"description", "sub job"}, {"prompt", text}, {"subagent_type", "general"}};
    json::object body;
    body["parentID"] = s.id;
    body["title"] = "sub job (@general subagent)";
    body["agent"] = "general";
    session& child = create_session(s.directory, body);
    child.provider = s.provider;
    child.model = s.model;
    json::object shown;
    shown["title"] = "sub job";
    shown["metadata"] = {{"parentSessionId", s.id}, {"sessionId", child.id}};
    tool_running(s, input, shown);
    json::object posted_body;
    posted_body["parts"] = json::array{text_part(text)};
    prompt(child, posted_body, {});
    tool_running(s, input, shown);

    gate child_is_over(line_);
    child.run.watched_by = &child_is_over;
    co_await child_is_over;

    const message* last = last_answer(child);
    shown["output"] = "<task_result>\n" + (last ? text_of(*last) : std::string()) + "\n</task_result>";
    tool_ended(s, "completed", std::move(shown));
    finish_step(s, "tool-calls");
}

// A command of the user's own. No turn: its assistant message never says why it finished.

void engine::shell(session& s, std::string command, done when_over) {
    s.run.when_over.push_back(std::move(when_over));
    s.run.now = run::phase::working;
    s.run.shell = true;
    s.run.tale = while_it_exists(s, run_shell(s, std::move(command)));
    s.run.tale.start();
}

story engine::run_shell(session& s, std::string command) {
    emit_message(s, add_user(s, ascending("msg"), {}));
    emit_session(s, "session.updated");
    co_await pause(line_, between(milliseconds(2), milliseconds(8)));
    set_busy(s);
    message& asked = add_user(s, ascending("msg"), {});
    emit_message(s, asked);
    json::object said;
    said["type"] = "text";
    said["text"] = "The following tool was executed by the user";
    said["synthetic"] = true;
    put_part(s, asked, std::move(said));
    message& answer = add_answer(s, asked, s.agent);
    const json::object input{{"command", command}};
    json::object tool;
    tool["type"] = "tool";
    tool["tool"] = "bash";
    tool["callID"] = call_id();
    tool["state"] = {{"status", "running"}, {"time", {{"start", wall_ms()}}}, {"input", input}};
    s.run.tool_part = put_part(s, answer, std::move(tool)).at("id").as_string();
    s.run.tool_has_output = false;
    co_await pause(line_, settings_.pace);
    tool_running(s, input, {{"metadata", {{"output", "ok\n"}}}});
    s.run.tool_has_output = true;
    co_await pause(line_, settings_.pace);
    complete_answer(s);
    tool_ended(s, "completed", {{"output", "ok\n"}, {"title", ""}, {"metadata", {{"output", "ok\n"}}}});
    become_idle(s);
    over(s);
}

// Small moves.

void engine::model_called(session& s) {
    step_record_for_answer(s, [](prompt_record& r) { ++r.model_runs; });
}

void engine::step_start(session& s) {
    put_part(s, *s.run.answer, {{"type", "step-start"}});
}

void engine::open_text(session& s, std::string_view part_kind) {
    json::object part;
    part["type"] = part_kind;
    part["text"] = "";
    part["time"] = {{"start", wall_ms()}};
    s.run.text.clear();
    const auto& put = put_part(s, *s.run.answer, std::move(part));
    s.run.text_part = put.at("id").as_string();
    record_part(s, put);
}

void engine::delta(session& s, std::string text) {
    s.run.text += text;
    const auto& part = part_of(*s.run.answer, s.run.text_part);
    if (!s.run.answer->compaction)
        step_record_for_answer(s, [&](prompt_record& r) {
            if (part.at("type") == "text")
                r.said += text;
            r.parts.back().text += text;
        });
    emit(s, "message.part.delta",
         {{"sessionID", s.id},
          {"messageID", s.run.answer->id},
          {"partID", s.run.text_part},
          {"field", "text"},
          {"delta", std::move(text)}});
}

void engine::close_text(session& s) {
    if (s.run.text_part.empty())
        return;
    auto& part = part_of(*s.run.answer, s.run.text_part);
    part["text"] = s.run.text;
    part["time"].as_object()["end"] = wall_ms();
    if (!s.run.answer->compaction)
        step_record_for_answer(s, [&](prompt_record& r) {
            for (auto& said : r.parts)
                said.ended = said.ended || said.id == s.run.text_part;
        });
    emit_part(s, part);
    s.run.text_part.clear();
}

/// A try that failed: its part stays as it was stored, empty, and never ends.
void engine::throw_text_away(session& s) {
    s.run.text_part.clear();
}

void engine::tool_pending(session& s, std::string_view name) {
    json::object part;
    part["type"] = "tool";
    part["tool"] = name;
    part["callID"] = call_id();
    part["state"] = {{"status", "pending"}, {"input", json::object()}, {"raw", ""}};
    s.run.tool_has_output = false;
    const auto& put = put_part(s, *s.run.answer, std::move(part));
    s.run.tool_part = put.at("id").as_string();
    record_part(s, put);
}

void engine::tool_running(session& s, const json::object& input, const json::object& more) {
    auto& part = part_of(*s.run.answer, s.run.tool_part);
    auto& old = part["state"].as_object();
    const auto start = old.contains("time") ? old["time"].as_object()["start"] : json::value(wall_ms());
    json::object state = more;
    state["status"] = "running";
    state["input"] = input;
    state["time"] = {{"start", start}};
    old = std::move(state);
    emit_part(s, part);
}

void engine::tool_ended(session& s, std::string_view status, json::object more) {
    auto& part = part_of(*s.run.answer, s.run.tool_part);
    auto& old = part["state"].as_object();
    const auto start = old.contains("time") ? old["time"].as_object()["start"] : json::value(wall_ms());
    json::object state = std::move(more);
    state["status"] = status;
    state["input"] = old["input"];
    state["time"] = {{"start", start}, {"end", wall_ms()}};
    old = std::move(state);
    emit_part(s, part);
    s.run.tool_part.clear();
}

void engine::finish_step(session& s, std::string_view reason) {
    message& m = *s.run.answer;
    json::object part;
    part["type"] = "step-finish";
    part["reason"] = reason;
    part["tokens"] = tokens(11, 7);
    part["cost"] = 0;
    put_part(s, m, std::move(part));
    m.info["tokens"] = tokens(11, 7);
    m.info["finish"] = reason;
    complete_answer(s);
    emit_message(s, m);
    plan_summary(s, between(milliseconds(3), milliseconds(12)));
    if (catches_up_after_a_step_)
        catch_up();
}

/// An error that ends the turn: idle is said here for the first time, and again at the end of the loop.
void engine::fail_step(session& s, json::object error) {
    emit_error(s, error);
    become_idle(s);
    close_text(s);
    s.run.answer->info["error"] = std::move(error);
    complete_answer(s);
    s.run.stop = true;
}

void engine::complete_answer(session& s) {
    s.run.answer->info["time"].as_object()["completed"] = wall_ms();
    emit_message(s, *s.run.answer);
}

} // namespace holdfast::testing::detail
