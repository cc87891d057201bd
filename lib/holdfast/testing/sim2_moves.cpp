// The small moves of a step of the simulated server of 2.x: each changes what is stored and tells it.
#include <holdfast/testing/sim2_model.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

namespace holdfast::testing::detail::sim2 {

namespace {

json::object tokens_of_a_step() {
    return {{"input", 11}, {"output", 7}, {"reasoning", 0}, {"cache", {{"read", 0}, {"write", 0}}}};
}

json::object text_content(std::string_view text) {
    json::object out;
    out["type"] = "text";
    out["text"] = text;
    return out;
}

json::object part_data(const session& s, const open_part& p) {
    return {{"assistantMessageID", s.run.answer->id}, {"ordinal", p.ordinal}};
}

/// Where the model's provider put it.
void tell_field(json::object& data, std::string_view kind) {
    if (kind == "reasoning")
        data["state"] = {{"reasoningField", "reasoning_content"}};
}

} // namespace

/// The request for the next step. Its message exists once the first byte of the answer has come.
void model::ask_model(session& s) {
    s.run.answer_id = ascending("msg");
    s.run.answer = nullptr;
    s.run.was_metered = false;
    s.run.rejected = false;
    s.run.more = false;
    with_owner(s, [](prompt_record& r) { ++r.model_runs; });
}

/// Told again, with the same message, when the request is repeated.
message& model::begin_step(session& s) {
    if (!s.run.answer) {
        message& m = add_message(s, s.run.answer_id, "assistant");
        m.row["agent"] = s.agent;
        m.row["model"] = {{"id", s.model}, {"providerID", s.provider}};
        m.row["content"] = json::array();
        s.run.answer = &m;
        with_owner(s, [&](prompt_record& r) {
            r.last_answer = m.id;
            r.finished = false;
        });
    }
    json::object data;
    data["assistantMessageID"] = s.run.answer->id;
    data["agent"] = s.agent;
    data["model"] = {{"id", s.model}, {"providerID", s.provider}};
    if (spoken_->is_current)
        data["started"] = wall_ms();
    log(s, "session.step.started", std::move(data));
    return *s.run.answer;
}

void model::open_text(session& s, std::string_view kind) {
    auto& content = s.run.answer->content();
    open_part p;
    p.kind = kind;
    p.at = content.size();
    p.ordinal = static_cast<std::uint64_t>(
        std::count_if(content.begin(), content.end(),
                      [&](const json::value& part) { return text_at(part.as_object(), "type") == kind; }));
    auto stored = text_content("");
    stored["type"] = kind;
    content.push_back(std::move(stored));
    s.run.part = std::move(p);
    with_owner(s, [&](prompt_record& r) {
        opencode_sim::said_part said;
        said.what =
            kind == "text" ? opencode_sim::said_part::kind::text : opencode_sim::said_part::kind::reasoning;
        said.id = s.run.answer->id + "/" + std::string(kind) + "/" + std::to_string(s.run.part->ordinal);
        r.parts.push_back(std::move(said));
    });
    auto data = part_data(s, *s.run.part);
    tell_field(data, kind);
    log(s, "session." + std::string(kind) + ".started", std::move(data));
}

void model::delta(session& s, std::string text) {
    auto& p = *s.run.part;
    p.text += text;
    with_owner(s, [&](prompt_record& r) {
        if (p.kind == "text")
            r.said += text;
        r.parts.back().text += text;
    });
    auto data = part_data(s, p);
    data["delta"] = text;
    tell(s, "session." + p.kind + ".delta", std::move(data));
}

void model::close_text(session& s) {
    if (!s.run.part)
        return;
    const auto p = *std::exchange(s.run.part, std::nullopt);
    s.run.answer->content()[p.at].as_object()["text"] = p.text;
    const auto id = s.run.answer->id + "/" + p.kind + "/" + std::to_string(p.ordinal);
    with_owner(s, [&](prompt_record& r) {
        for (auto& said : r.parts)
            said.ended = said.ended || said.id == id;
    });
    auto data = part_data(s, p);
    data["text"] = p.text;
    tell_field(data, p.kind);
    log(s, "session." + p.kind + ".ended", std::move(data));
}

// Tools.

std::string model::begin_tool(session& s, std::string_view name) {
    const auto call = call_id();
    json::object part;
    part["type"] = "tool";
    part["id"] = call;
    part["name"] = name;
    part["executed"] = false;
    part["state"] = {{"status", "pending"}};
    part["time"] = {{"created", wall_ms()}};
    s.run.answer->content().push_back(std::move(part));
    s.run.tools.push_back({call, {}});
    with_owner(s, [&](prompt_record& r) {
        opencode_sim::said_part said;
        said.what = opencode_sim::said_part::kind::tool;
        said.id = call;
        r.parts.push_back(std::move(said));
    });
    json::object data;
    data["assistantMessageID"] = s.run.answer->id;
    data["id"] = call;
    data["name"] = name;
    log(s, "session.tool.input.started", std::move(data));
    return call;
}

json::object& model::tool_of(message& m, const std::string& call) {
    auto& content = m.content();
    const auto found = std::find_if(content.begin(), content.end(), [&](const json::value& part) {
        return text_at(part.as_object(), "id") == call;
    });
    return found->as_object();
}

void model::tell_input(session& s, const std::string& call, const json::object& input) {
    tell(s, "session.tool.input.delta",
         {{"assistantMessageID", s.run.answer->id}, {"id", call}, {"delta", json::serialize(input)}});
}

/// The input is whole, and the tool begins.
void model::call_tool(session& s, const std::string& call, const json::object& input) {
    log(s, "session.tool.input.ended",
        {{"assistantMessageID", s.run.answer->id}, {"id", call}, {"text", json::serialize(input)}});
    auto& part = tool_of(*s.run.answer, call);
    part["state"] = {{"status", "running"}, {"input", input}};
    part["time"].as_object()["ran"] = wall_ms();
    log(s, "session.tool.called",
        {{"assistantMessageID", s.run.answer->id}, {"id", call}, {"input", input}, {"executed", false}});
}

void model::tool_ended(session& s, const std::string& call) {
    std::erase_if(s.run.tools, [&](const open_tool& t) { return t.call == call; });
    with_owner(s, [&](prompt_record& r) {
        for (auto& said : r.parts)
            said.ended = said.ended || said.id == call;
    });
}

void model::tool_succeeded(session& s, const std::string& call, std::string output) {
    auto& part = tool_of(*s.run.answer, call);
    const json::array content{text_content(output)};
    auto& state = part["state"].as_object();
    state["status"] = "completed";
    state["content"] = content;
    part["time"].as_object()["completed"] = wall_ms();
    tool_ended(s, call);
    log(s, "session.tool.success",
        {{"assistantMessageID", s.run.answer->id},
         {"id", call},
         {"content", content},
         {"metadata", {{"truncated", false}}},
         {"executed", false}},
        2);
}

void model::tool_failed(session& s, const std::string& call, std::string_view type, std::string message) {
    auto& part = tool_of(*s.run.answer, call);
    auto& state = part["state"].as_object();
    state["status"] = "error";
    state["error"] = error_of(type, message);
    part["time"].as_object()["completed"] = wall_ms();
    tool_ended(s, call);
    log(s, "session.tool.failed",
        {{"assistantMessageID", s.run.answer->id},
         {"id", call},
         {"error", error_of(type, message)},
         {"executed", false}},
        2);
}

// Ends of a step.

void model::count_tokens(session& s) {
    s.input_tokens += 11;
    s.output_tokens += 7;
}

void model::tell_usage(session& s) {
    tell(s, "session.usage.updated",
         {{"cost", 0},
          {"tokens",
           {{"input", s.input_tokens},
            {"output", s.output_tokens},
            {"reasoning", 0},
            {"cache", {{"read", 0}, {"write", 0}}}}}});
}

void model::end_step(session& s, std::string_view finish) {
    message& m = *s.run.answer;
    m.row["finish"] = finish;
    m.row["cost"] = 0;
    m.row["tokens"] = tokens_of_a_step();
    m.row["time"].as_object()["completed"] = wall_ms();
    const auto id = m.id;
    s.run.answer = nullptr;
    s.run.answer_id.clear();
    s.run.more = finish == "tool-calls";
    with_owner(s, [&](prompt_record& r) { r.finished = !s.run.more; });
    log(s, "session.step.ended",
        {{"assistantMessageID", id}, {"finish", finish}, {"cost", 0}, {"tokens", tokens_of_a_step()}});
    count_tokens(s);
    tell_usage(s);
    plan_title(s);
}

void model::fail_step(session& s, json::object error) {
    close_text(s);
    message& m = *s.run.answer;
    m.row["finish"] = "error";
    if (s.run.was_metered) {
        m.row["cost"] = 0;
        m.row["tokens"] = tokens_of_a_step();
        count_tokens(s);
    }
    m.row["error"] = error;
    m.row["time"].as_object()["completed"] = wall_ms();
    const auto id = m.id;
    s.run.answer = nullptr;
    s.run.answer_id.clear();
    log(s, "session.step.failed", {{"assistantMessageID", id}, {"error", std::move(error)}});
    if (s.run.was_metered)
        tell_usage(s);
}

/// The step failed, and with it the execution.
void model::fail(session& s, json::object error) {
    fail_step(s, error);
    end_execution(s, {terminal::how::failed, {}, std::move(error)});
}

/// What the user declined interrupts the execution, by the words of a server that stops.
void model::reject_step(session& s) {
    s.run.was_metered = true;
    fail_step(s, error_of("aborted", "Step interrupted"));
    end_execution(s, {terminal::how::interrupted, "shutdown", {}});
}

/// After a new session's first step the model is asked for a title, beside whatever goes on. What it cost
/// takes a number of the log, and is never sent.
void model::plan_title(session& s) {
    const bool is_prompted =
        std::any_of(s.messages.begin(), s.messages.end(), [](const auto& m) { return m->type == "user"; });
    if (s.titled || s.title_planned || !settings_.titles || !is_prompted)
        return;
    s.title_planned = true;
    line_.after(between(milliseconds(5), milliseconds(150)), [this, &s] {
        if (s.deleted || s.titled)
            return;
        ++s.sequence;
        count_tokens(s);
        tell_usage(s);
        rename(s, "Simulated title");
    });
}

} // namespace holdfast::testing::detail::sim2
