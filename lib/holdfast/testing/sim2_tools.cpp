// The tools that the model of the simulated server of 2.x calls.
#include <holdfast/testing/sim2_model.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::testing::detail::sim2 {

namespace {

json::object source_of(const session& s, const std::string& call) {
    return {{"type", "tool"}, {"messageID", s.run.answer->id}, {"id", call}};
}

json::object color_field() {
    json::object field{
        {"key", "q0"}, {"title", "Color"}, {"description", "Which color?"}, {"type", "string"}};
    const json::object red{{"value", "Red"}, {"label", "Red"}, {"description", "r"}};
    const json::object blue{{"value", "Blue"}, {"label", "Blue"}, {"description", "b"}};
    field["options"] = json::array{red, blue};
    field["custom"] = true;
    return field;
}

} // namespace

/// One that asks nobody.
story model::simple_tool(session& s, std::string_view name, std::string_view path, std::string output) {
    json::object input;
    input["path"] = path;
    begin_step(s);
    const auto call = begin_tool(s, name);
    co_await pause(line_, settings_.pace);
    tell_input(s, call, input);
    call_tool(s, call, input);
    co_await pause(line_, between(milliseconds(1), milliseconds(30)));
    tool_succeeded(s, call, std::move(output));
    end_step(s, "tool-calls");
}

story model::unknown_tool(session& s) {
    begin_step(s);
    const auto call = begin_tool(s, "nosuchtool");
    co_await pause(line_, settings_.pace);
    tell_input(s, call, {{"x", 1}});
    call_tool(s, call, {{"x", 1}});
    tool_failed(s, call, "tool.execution", "Unknown tool: nosuchtool");
    end_step(s, "tool-calls");
}

/// Some words, and then a command.
story model::shell_step(session& s, std::string output, std::uint64_t run_ms) {
    const json::object input{{"command", output.empty() ? "sleep" : "echo hi"}};
    begin_step(s);
    open_text(s, "text");
    for (const auto* word : {"Running ", "it. "}) {
        co_await pause(line_, settings_.pace);
        delta(s, word);
    }
    const auto call = begin_tool(s, "shell");
    co_await pause(line_, settings_.pace);
    tell_input(s, call, input);
    call_tool(s, call, input);
    close_text(s);
    co_await shell_tool(s, call, std::move(output), run_ms);
    if (s.run.rejected)
        reject_step(s);
    else
        end_step(s, "tool-calls");
}

story model::two_shells(session& s) {
    const json::object input{{"command", "echo hi"}};
    begin_step(s);
    const auto first = begin_tool(s, "shell");
    co_await pause(line_, settings_.pace);
    tell_input(s, first, input);
    const auto second = begin_tool(s, "shell");
    co_await pause(line_, settings_.pace);
    tell_input(s, second, input);
    call_tool(s, first, input);
    call_tool(s, second, input);
    gate second_is_over(line_);
    s.run.beside.push_back(shell_tool_then(s, second, second_is_over));
    s.run.beside.back().start();
    co_await shell_tool(s, first, "hi\n", 0);
    co_await second_is_over;
    if (s.run.rejected)
        reject_step(s);
    else
        end_step(s, "tool-calls");
}

story model::shell_tool_then(session& s, std::string call, gate& told) {
    co_await pause(line_, milliseconds(1)); // the other one asks first
    co_await shell_tool(s, std::move(call), "hi\n", 0);
    told.open();
}

/// Asks, unless a rule grants it, and runs.
story model::shell_tool(session& s, std::string call, std::string output, std::uint64_t run_ms) {
    const std::string command = output.empty() ? "sleep" : "echo hi";
    const bool granted = std::any_of(saved_.begin(), saved_.end(), [&](const json::value& rule) {
        return text_at(rule.as_object(), "directory") == s.directory;
    });
    answer_to_ask reply(line_);
    if (!granted) {
        json::object asked{{"action", "shell"}};
        asked["resources"] = json::array{json::value(command)};
        asked["save"] = json::array{json::value(output.empty() ? "sleep *" : "echo *")};
        asked["source"] = source_of(s, call);
        put_ask(s, false, std::move(asked), reply);
        co_await reply.given;
    }
    if (reply.reply == "reject") {
        s.run.rejected = s.run.rejected || reply.message.empty();
        if (reply.message.empty())
            tool_failed(s, call, "aborted", "The user declined this tool call");
        else
            tool_failed(s, call, "tool.execution", reply.message);
        co_return;
    }
    const auto shell = ascending("sh");
    for (auto& tool : s.run.tools)
        if (tool.call == call)
            tool.shell = shell;
    tell_of_place(
        s.directory, "shell.created",
        {{"info", {{"id", shell}, {"status", "running"}, {"command", command}, {"cwd", s.directory}}}});
    json::object progress{{"assistantMessageID", s.run.answer->id}, {"id", call}};
    progress["metadata"] = {{"shellID", shell}};
    tell(s, "session.tool.progress", std::move(progress));
    co_await pause(line_, milliseconds(run_ms) + settings_.pace);
    tell_of_place(s.directory, "shell.exited", {{"id", shell}, {"exit", 0}, {"status", "exited"}});
    tool_succeeded(s, call, std::move(output));
}

/// The question tool makes a form.
story model::question_tool(session& s) {
    json::object question{{"question", "Which color?"}, {"header", "Color"}};
    json::object input;
    input["questions"] = json::array{question};
    begin_step(s);
    const auto call = begin_tool(s, "question");
    co_await pause(line_, settings_.pace);
    tell_input(s, call, input);
    call_tool(s, call, input);
    co_await pause(line_, between(milliseconds(1), milliseconds(10)));
    answer_to_ask reply(line_);
    json::object form{{"title", "Questions"}};
    form["metadata"] = {{"kind", "question"}, {"tool", {{"messageID", s.run.answer->id}, {"id", call}}}};
    form["fields"] = json::array{color_field()};
    put_ask(s, true, std::move(form), reply);
    co_await reply.given;
    if (reply.reply == "cancelled") {
        s.run.rejected = true;
        tool_failed(s, call, "aborted", "The user dismissed this question");
        reject_step(s);
        co_return;
    }
    tool_succeeded(s, call, "User has answered your questions: " + json::serialize(reply.answer));
    end_step(s, "tool-calls");
}

session& model::spawn_child(session& s, const std::string& tag, const std::string& call) {
    json::object body{{"parentID", s.id}, {"title", "sub job"}, {"agent", "general"}};
    body["model"] = {{"id", s.model}, {"providerID", s.provider}};
    session& child = create_session(s.directory, body);
    json::object progress{{"assistantMessageID", s.run.answer->id}, {"id", call}};
    progress["metadata"] = {{"metadata", {{"sessionID", child.id}, {"status", "running"}}}};
    tell(s, "session.tool.progress", std::move(progress));
    input asked{ascending("msg"), "user", "steer", {}, 0};
    asked.payload["text"] = "You are a subagent spawned by another session.\ndo it #" + tag;
    json::object ignored;
    prompt(child, std::move(asked), true, ignored);
    return child;
}

story model::subagent_tool(session& s, std::string tag, bool background) {
    json::object input{{"agent", "general"}, {"description", "sub job"}, {"prompt", "do it #" + tag}};
    if (background)
        input["background"] = true;
    begin_step(s);
    const auto call = begin_tool(s, "subagent");
    co_await pause(line_, settings_.pace);
    tell_input(s, call, input);
    call_tool(s, call, input);
    co_await pause(line_, between(milliseconds(1), milliseconds(10)));
    session& child = spawn_child(s, tag, call);
    if (background) {
        child.background_of = s.id;
        tool_succeeded(s, call, "The subagent is working in the background (id: " + child.id + ").");
        end_step(s, "tool-calls");
        co_return;
    }
    gate child_is_over(line_);
    s.run.child = child.id;
    child.run.watched_by = &child_is_over;
    co_await child_is_over;
    s.run.child.clear();
    if (child.last_end.what == terminal::how::interrupted)
        tool_failed(s, call, "tool.execution", "Subagent cancelled");
    else if (child.last_end.what == terminal::how::failed)
        tool_failed(s, call, "tool.execution", std::string(text_at(child.last_end.error, "message")));
    else
        tool_succeeded(s, call, "<subagent id=\"" + child.id + "\" state=\"completed\">\n</subagent>");
    end_step(s, "tool-calls");
}

// A command of the user's own. No turn: it ends with an execution without a step.

void model::shell(session& s, std::string command, done when_over) {
    const auto id = ascending("sh");
    message& m = add_message(s, ascending("msg"), "shell");
    m.row["shellID"] = id;
    m.row["command"] = command;
    m.row["status"] = "running";
    json::object shell{{"id", id}, {"status", "running"}, {"command", command}, {"cwd", s.directory}};
    tell_of_place(s.directory, "shell.created", {{"info", shell}});
    log(s, "session.shell.started", {{"shell", shell}});
    line_.after(settings_.pace, [this, &s, id, shell, message = m.id, when_over] {
        if (s.deleted)
            return;
        auto ended = shell;
        ended["status"] = "exited";
        ended["exit"] = 0;
        tell_of_place(s.directory, "shell.exited", {{"id", id}, {"exit", 0}, {"status", "exited"}});
        message_ended(*find_message(s, message));
        log(s, "session.shell.ended", {{"shell", ended}, {"output", {{"output", "ok\n"}}}});
        when_over();
        wake(s);
    });
}

void model::message_ended(message& m) {
    m.row["status"] = "exited";
    m.row["exit"] = 0;
    m.row["time"].as_object()["completed"] = wall_ms();
}

} // namespace holdfast::testing::detail::sim2
