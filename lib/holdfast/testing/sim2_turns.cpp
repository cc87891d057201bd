// Executions of the simulated server of 2.x: what is promoted when, and what the model and the tools play in
// the steps. The order of events in each story is that of the recordings.
#include <holdfast/testing/sim2_model.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::testing::detail::sim2 {

namespace {

using kind = script::kind;

json::object provider_error(std::uint64_t status, std::string_view message) {
    const std::string_view type = status == 401 || status == 403 ? "provider.auth"
                                  : status == 429                ? "provider.rate-limit"
                                  : status >= 500                ? "provider.internal"
                                                                 : "provider.invalid-request";
    auto error = error_of(type, "Provider request failed with HTTP " + std::to_string(status) + ": " +
                                    std::string(message));
    error["status"] = status;
    return error;
}

json::object overflow_error() {
    return provider_error(400, "This model's maximum context length is 128000 tokens. However, your "
                               "messages resulted in 200000 tokens.");
}

constexpr milliseconds longest_retry_after = std::chrono::minutes(15); // of 2.0.26

} // namespace

// The execution.

/// Prompts that come while an interrupt settles begin one of their own; those that come later join.
void model::wake(session& s) {
    if (s.run.now == run::phase::settling)
        s.run.again = true;
    if (s.run.now == run::phase::idle && !s.deleted)
        begin_execution(s, between(milliseconds(5), milliseconds(60)), false);
}

void model::begin_execution(session& s, duration delay, bool resumed) {
    if (warm_.insert(s.directory).second)
        delay += settings_.cold_start;
    s.run.now = run::phase::starting;
    s.run.over = false;
    s.run.tale = execution(s, delay, resumed);
    s.run.tale.start();
}

story model::execution(session& s, duration delay, bool resumed) {
    co_await pause(line_, delay);
    s.run.now = run::phase::working;
    s.claimed = true;
    log(s, "session.execution.started", {});
    if (!known_agent(s)) {
        end_execution(s, {terminal::how::failed, {}, error_of("unknown", "Agent not found: " + s.agent)});
        co_return;
    }
    close_dangling(s);
    if (resumed || !s.inbox.empty())
        co_await instruct(s);
    if (resumed)
        resume_with_words(s);
    co_await work(s, resumed);
}

/// Steps, as long as there is something to answer.
story model::work(session& s, bool more) {
    for (bool first = true;; first = false) {
        if (!first)
            co_await pause(line_, between(milliseconds(0), milliseconds(40)));
        if (!promote(s, !more) && !more)
            break;
        more = false;
        if (const auto& last = *s.messages.back(); last.type == "compaction") {
            co_await compact(s, "manual", true);
            continue;
        }
        if (!has_input(s))
            continue;
        if (!known_model(s)) {
            end_execution(
                s, {terminal::how::failed,
                    {},
                    error_of("provider.no-route", "Model unavailable: " + s.provider + "/" + s.model)});
            co_return;
        }
        co_await pause(line_, between(milliseconds(2), milliseconds(30)));
        co_await step(s);
        if (s.run.over)
            co_return;
        more = s.run.more;
    }
    end_execution(s, {});
}

/// What a process left open when it died is closed by the next execution, with neither finish nor error.
void model::close_dangling(session& s) {
    for (std::size_t i = 0; i < s.messages.size(); ++i) {
        message& m = *s.messages[i];
        if (!m.is_open())
            continue;
        s.run.answer = &m;
        std::vector<std::pair<std::string, std::string>> running;
        for (auto& part : m.content())
            if (part.at("type") == "tool" && part.at("state").at("status") != "completed" &&
                part.at("state").at("status") != "error")
                running.emplace_back(text_at(part.as_object(), "id"), text_at(part.as_object(), "name"));
        for (const auto& [call, name] : running)
            tool_failed(s, call, "aborted", "Tool execution interrupted: " + name);
        m.row["time"].as_object()["completed"] = wall_ms();
        s.run.answer = nullptr;
    }
}

/// Once a session.
story model::instruct(session& s) {
    co_await pause(line_, between(milliseconds(1), milliseconds(20)));
    if (std::exchange(s.instructed, true))
        co_return;
    json::object told;
    told["core/date"] = random_text(16, "0123456789abcdef");
    log(s, "session.instructions.updated", {{"delta", std::move(told)}}, 2,
        {{"instructions", {{"initial", true}}}});
}

/// Since 2.0.26 a service says so to the model when it takes up what it was at.
void model::resume_with_words(session& s) {
    if (!spoken_->is_current)
        return;
    message& m = add_message(s, ascending("msg"), "synthetic");
    m.continues = true;
    m.row["text"] = "The server restarted while you were working. Continue from where you left off.";
    log(s, "session.synthetic", {{"messageID", m.id}, {"text", m.row["text"]}});
}

/// All that is to steer, together; else, where the session would go idle, the first that queues.
bool model::promote(session& s, bool idle) {
    bool any = false;
    for (std::size_t i = 0; i < s.inbox.size();) {
        const auto& next = s.inbox[i];
        if (next.delivery != "steer" || (any && next.type == "compaction")) {
            ++i;
            continue;
        }
        const bool compacts = next.type == "compaction";
        promote_one(s, i);
        any = true;
        if (compacts)
            break;
    }
    if (!any && idle && !s.inbox.empty()) {
        promote_one(s, 0);
        any = true;
    }
    return any;
}

void model::promote_one(session& s, std::size_t at) {
    const auto item = s.inbox[at];
    s.inbox.erase(s.inbox.begin() + static_cast<std::ptrdiff_t>(at));
    message& m = add_message(s, item.id, item.type);
    if (item.type == "compaction") {
        m.row["status"] = "running";
        m.row["reason"] = "manual";
    } else {
        for (const auto& [key, value] : item.payload)
            m.row[key] = value;
    }
    promote_record(s, m);
    if (spoken_->has_inbox_events)
        log(s, "session.inbox.delivered", {{"inboxID", item.id}});
    else if (item.type != "compaction")
        log(s, "session.input.promoted", {{"inputID", item.id}});
}

// A step.

bool model::known_agent(const session& s) {
    return s.agent == "build" || s.agent == "plan" || s.agent == "general";
}

bool model::known_model(const session& s) {
    return s.provider == "mock" && s.model.starts_with("mock-");
}

bool model::has_input(const session& s) {
    return std::any_of(s.messages.begin(), s.messages.end(), [](const auto& m) { return m->is_input(); });
}

/// Of the last input, which the step answers.
std::string model::script_text(const session& s) {
    for (auto m = s.messages.rbegin(); m != s.messages.rend(); ++m)
        if ((*m)->is_input())
            return std::string(text_at((*m)->row, "text"));
    return {};
}

bool model::has_tools_since_input(session& s) {
    for (auto m = s.messages.rbegin(); m != s.messages.rend() && !(*m)->is_input(); ++m)
        if ((*m)->type == "assistant")
            for (const auto& part : (*m)->content())
                if (part.at("type") == "tool")
                    return true;
    return false;
}

/// The answer was cut off before, and the model was asked to go on.
bool model::was_continued(const session& s) {
    for (auto m = s.messages.rbegin(); m != s.messages.rend() && !(*m)->is_input(); ++m)
        if ((*m)->continues)
            return true;
    return false;
}

story model::step(session& s) {
    const auto what = choose_script(script_text(s));
    const bool after_tool = has_tools_since_input(s);
    ask_model(s);
    co_await pause(line_, between(milliseconds(1), milliseconds(10)));
    if (after_tool)
        co_await play_after_tool(s, what);
    else
        co_await play(s, what);
}

story model::play(session& s, script what) {
    switch (what.what) {
    case kind::slow: co_await say(s, numbered_words(what.number)); break;
    case kind::silent:
        co_await pause(line_, milliseconds(what.number));
        co_await say(s, "Hello from the simulated model.");
        break;
    case kind::big:
        begin_step(s);
        open_text(s, "text");
        delta(s, std::string(what.number, 'x'));
        close_text(s);
        end_step(s, "stop");
        break;
    case kind::length: co_await say(s, "truncated ans", "length"); break;
    case kind::no_finish: co_await say(s, "Once more. ", "unknown"); break;
    case kind::empty:
        begin_step(s);
        end_step(s, "stop");
        break;
    case kind::reason:
        begin_step(s);
        co_await stream(s, "reasoning", "Let me think hard.");
        co_await stream(s, "text", "Answer is 42.");
        end_step(s, "stop");
        break;
    case kind::read: co_await simple_tool(s, "read", "a.txt", "hello\n"); break;
    case kind::write: co_await simple_tool(s, "write", "out.txt", "Created file successfully"); break;
    case kind::todo: co_await simple_tool(s, "todowrite", "", "[]"); break;
    case kind::unknown_tool: co_await unknown_tool(s); break;
    case kind::ask: co_await shell_step(s, "hi\n", what.number); break;
    case kind::sleep: co_await shell_step(s, "", what.number); break;
    case kind::two_asks: co_await two_shells(s); break;
    case kind::question: co_await question_tool(s); break;
    case kind::task:
        if (what.argument.empty())
            what.argument = "plain";
        co_await subagent_tool(s, what.argument, false);
        break;
    case kind::background:
        if (what.argument.empty())
            what.argument = "slow";
        co_await subagent_tool(s, what.argument, true);
        break;
    case kind::plain:
    case kind::early: co_await say(s, "Hello from the simulated model."); break;
    default: co_await play_trouble(s, what); break;
    }
}

story model::play_trouble(session& s, script what) {
    switch (what.what) {
    case kind::error:
        begin_step(s);
        fail(s, provider_error(what.number, "simulated failure of the model"));
        break;
    case kind::e500: co_await retry_until_it_fails(s, provider_error(500, "simulated model: boom")); break;
    case kind::e500once:
        begin_step(s);
        co_await retry_wait(s, 1, provider_error(500, "simulated model: boom once"), retry_delay(1));
        co_await say(s, "Recovered.");
        break;
    case kind::throttle: {
        milliseconds wait{seconds(what.number)};
        if (spoken_->is_current)
            wait = std::min(wait, longest_retry_after);
        begin_step(s);
        co_await retry_wait(s, 1, provider_error(429, "rate limited"), wait);
        co_await say(s, "Recovered.");
        break;
    }
    case kind::cutonce: co_await cut_once(s); break;
    case kind::errchunk: co_await say_and_fail(s, "ok ", error_of("provider.unknown", "stream error")); break;
    case kind::garbage:
        co_await say_and_fail(s, "ok ", error_of("provider.invalid-output", "Invalid JSON: {not json."));
        break;
    case kind::filter:
        s.run.was_metered = true;
        co_await say_and_fail(s, "I cannot ", error_of("provider.content-filter", "Content filtered"));
        break;
    case kind::overflow:
        co_await compact(s, "auto", false);
        begin_step(s);
        fail(s, overflow_error());
        break;
    default: // overflow_ok
        co_await compact(s, "auto", true);
        co_await say(s, "Recovered after the compaction.");
        break;
    }
}

story model::play_after_tool(session& s, script what) {
    switch (what.what) {
    case kind::ask:
    case kind::two_asks: co_await say(s, "Tool said hi."); break;
    case kind::sleep: co_await say(s, "Tool said nothing."); break;
    case kind::question: co_await say(s, "Got the answer."); break;
    case kind::write: co_await say(s, "I wrote it."); break;
    case kind::todo: co_await say(s, "Todo made."); break;
    case kind::task: co_await say(s, "Subagent finished."); break;
    case kind::background: co_await say(s, "Continuing."); break;
    case kind::unknown_tool: co_await say(s, "There is no such tool."); break;
    default: co_await say(s, "I read it."); break;
    }
}

/// A whole step that says one text.
story model::say(session& s, std::string text, std::string_view finish) {
    begin_step(s);
    co_await stream(s, "text", std::move(text));
    end_step(s, finish);
}

story model::say_and_fail(session& s, std::string text, json::object error) {
    begin_step(s);
    co_await stream(s, "text", std::move(text));
    fail(s, std::move(error));
}

/// One part, a word at a time.
story model::stream(session& s, std::string_view part_kind, std::string text) {
    open_text(s, part_kind);
    for (const auto& word : words(text)) {
        co_await pause(line_, settings_.pace);
        delta(s, word);
    }
    close_text(s);
}

// Retries.

/// 2 s doubled each time; of 2.0.26 at most 10 s, and a fifth more or less.
duration model::retry_delay(int attempt) {
    const milliseconds doubled(2000LL << std::min(attempt - 1, 20));
    if (!spoken_->is_current)
        return doubled;
    const auto base = std::min<milliseconds>(doubled, seconds(10));
    return between(base * 8 / 10, base * 12 / 10);
}

story model::retry_wait(session& s, int attempt, json::object error, duration wait) {
    s.run.now = run::phase::retrying;
    const auto at = wall_ms() + to_ms(wait);
    if (spoken_->is_current && s.run.answer)
        s.run.answer->row["retry"] = {{"attempt", attempt + 1}, {"at", at}, {"error", error}};
    json::object data;
    data["assistantMessageID"] = s.run.answer ? s.run.answer->id : s.messages.back()->id;
    data["attempt"] = attempt + 1;
    data["at"] = at;
    data["error"] = std::move(error);
    log(s, "session.retry.scheduled", std::move(data));
    co_await pause(line_, wait);
    s.run.now = run::phase::working;
    if (s.run.answer)
        s.run.answer->row.erase("retry");
    with_owner(s, [](prompt_record& r) { ++r.model_runs; });
    co_await pause(line_, between(milliseconds(1), milliseconds(10)));
}

story model::retry_until_it_fails(session& s, json::object error) {
    for (int attempt = 1; attempt <= spoken_->retries; ++attempt) {
        begin_step(s);
        co_await retry_wait(s, attempt, error, retry_delay(attempt));
    }
    begin_step(s);
    fail(s, std::move(error));
}

/// An answer that breaks off fails; 2.0.26 asks for the rest of it in another step.
story model::cut_once(session& s) {
    if (was_continued(s)) {
        co_await say(s, "whole.");
        co_return;
    }
    auto error = error_of("provider.invalid-output", "The stream ended before its last chunk");
    begin_step(s);
    co_await stream(s, "text", "partial ");
    if (!spoken_->is_current) {
        fail(s, std::move(error));
        co_return;
    }
    fail_step(s, error);
    co_await retry_wait(s, 1, std::move(error), retry_delay(1));
    message& m = add_message(s, ascending("msg"), "synthetic");
    m.continues = true;
    m.row["text"] = "Your answer was interrupted. Continue from where you left off.";
    log(s, "session.synthetic", {{"messageID", m.id}, {"text", m.row["text"]}});
    s.run.more = true;
}

/// Asked for by the user, as an input of its own, or because the context is full.
story model::compact(session& s, std::string_view reason, bool works) {
    const bool is_manual = reason == "manual";
    message& m = is_manual ? *s.messages.back() : add_message(s, ascending("msg"), "compaction");
    m.row["status"] = "running";
    m.row["reason"] = reason;
    s.run.compaction = m.id;
    json::object started{{"reason", reason}, {"recent", ""}};
    if (is_manual)
        started["inputID"] = m.id;
    log(s, "session.compaction.started", std::move(started));
    co_await pause(line_, settings_.pace);
    if (!works) {
        auto error = overflow_error();
        m.row["status"] = "failed";
        m.row["error"] = error;
        s.run.compaction.clear();
        log(s, "session.compaction.failed", {{"reason", reason}, {"error", std::move(error)}});
        co_return;
    }
    std::string text;
    for (const auto& word : words("SUMMARY of the conversation so far.")) {
        co_await pause(line_, settings_.pace);
        text += word;
        tell(s, "session.compaction.delta", {{"text", word}});
    }
    ++s.sequence; // what it cost
    count_tokens(s);
    tell_usage(s);
    m.row["status"] = "completed";
    m.row["text"] = text;
    s.run.compaction.clear();
    log(s, "session.compaction.ended", {{"reason", reason}, {"text", std::move(text)}, {"recent", ""}});
}

} // namespace holdfast::testing::detail::sim2
