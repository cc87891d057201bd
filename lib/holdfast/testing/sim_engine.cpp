#include <holdfast/testing/sim_engine.hpp>

#include <algorithm>

namespace holdfast::testing::detail {

namespace {

using outcome = opencode_sim::outcome;

/// 2026-01-01T00:00:00.000Z
std::string iso_date(std::int64_t wall_ms) {
    using namespace std::chrono;
    const sys_time<milliseconds> at{milliseconds(wall_ms)};
    const auto day = floor<days>(at);
    const year_month_day date(day);
    const hh_mm_ss<milliseconds> time(at - day);
    char out[48];
    std::snprintf(out, sizeof out, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", int(date.year()),
                  unsigned(date.month()), unsigned(date.day()), int(time.hours().count()),
                  int(time.minutes().count()), int(time.seconds().count()), int(time.subseconds().count()));
    return out;
}

std::string without_leading_slash(std::string_view directory) {
    return std::string(directory.substr(!directory.empty() && directory.front() == '/' ? 1 : 0));
}

} // namespace

engine::engine(const opencode_sim::options& settings, timeline& line,
               std::function<void(const sim_event&)> sink)
    : chance(settings.seed, settings.epoch, line), settings_(settings), line_(line), sink_(std::move(sink)) {}

duration engine::heartbeat_delay() {
    return happens(settings_.late_heartbeat) ? between(milliseconds(0), seconds(17)) : duration::zero();
}

// What the streams make of an event.

std::string api_event(const sim_event& e) {
    auto plain = json::parse(e.payload).as_object();
    json::object out;
    out["id"] = plain["id"];
    out["type"] = plain["type"];
    if (!e.sync.empty()) {
        const auto twin = json::parse(e.sync).at("syncEvent").as_object();
        out["durable"] = {{"aggregateID", twin.at("aggregateID")}, {"seq", twin.at("seq")}, {"version", 1}};
    }
    if (!e.directory.empty())
        out["location"] = {{"directory", e.directory}};
    out["data"] = plain["properties"];
    return json::serialize(out);
}

std::string global_event(const sim_event& e, const std::string& payload) {
    std::string out = "{\"directory\":" + json::serialize(json::value(e.directory));
    if (e.directory != "global")
        out += ",\"project\":\"global\"";
    return out + ",\"payload\":" + payload + "}";
}

// Events.

std::string engine::event(std::string_view type, json::object properties) {
    json::object out;
    out["id"] = ascending("evt");
    out["type"] = type;
    out["properties"] = std::move(properties);
    return json::serialize(out);
}

void engine::emit(session& s, std::string_view type, json::object properties, bool durable,
                  const message* late) {
    // Once a session is deleted its rows are gone: what would be stored does not get through.
    if (s.deleted && durable && type != "session.deleted")
        return;
    pending_event e;
    e.directory = s.directory;
    e.type = type;
    e.id = ascending("evt");
    e.properties = std::move(properties);
    e.as_it_is_then = late;
    e.session = s.id;
    if (durable)
        e.sequence = s.sequence++;
    tell(std::move(e));
}

void engine::emit_server(const std::string& directory, std::string_view type, json::object properties) {
    pending_event e;
    e.directory = directory;
    e.type = type;
    e.id = ascending("evt");
    e.properties = std::move(properties);
    tell(std::move(e));
}

void engine::tell(pending_event e) {
    if (catches_up_)
        behind_.push_back(std::move(e));
    else
        write(std::move(e));
}

void engine::write(pending_event e) {
    if (e.as_it_is_then)
        e.properties["info"] = e.as_it_is_then->info;
    sim_event out;
    out.directory = e.directory;
    if (e.sequence) {
        json::object inner;
        inner["id"] = e.id;
        inner["type"] = e.type + ".1";
        inner["seq"] = *e.sequence;
        inner["aggregateID"] = e.session;
        inner["data"] = e.properties;
        json::object twin;
        twin["type"] = "sync";
        twin["syncEvent"] = std::move(inner);
        twin["id"] = e.id;
        out.sync = json::serialize(twin);
    }
    json::object plain;
    plain["id"] = e.id;
    plain["type"] = e.type;
    plain["properties"] = std::move(e.properties);
    out.payload = json::serialize(plain);
    sink_(out);
}

/// The writer of the streams lags behind what happens.
void engine::fall_behind(duration at_most) {
    if (catches_up_)
        return;
    catches_up_ = line_.after(at_most, [this] { catch_up(); });
}

/// Until a step is over, if that is soon.
void engine::fall_behind_for_a_step() {
    fall_behind(seconds(1) + 10 * settings_.pace);
    catches_up_after_a_step_ = true;
}

void engine::catch_up() {
    catches_up_after_a_step_ = false;
    if (!catches_up_)
        return;
    line_.cancel(*catches_up_);
    catches_up_.reset();
    for (auto& e : std::exchange(behind_, {}))
        write(std::move(e));
}

void engine::emit_session(session& s, std::string_view type) {
    if (type == "session.updated")
        s.info["time"].as_object()["updated"] = wall_ms();
    json::object properties;
    properties["sessionID"] = s.id;
    properties["info"] = s.info;
    emit(s, type, std::move(properties), true);
}

void engine::emit_message(session& s, const message& m) {
    json::object properties;
    properties["sessionID"] = s.id;
    properties["info"] = m.info;
    if (s.deleted)
        throw session_gone();
    emit(s, "message.updated", std::move(properties), true, &m);
}

void engine::emit_part(session& s, const json::object& part) {
    json::object properties;
    properties["sessionID"] = s.id;
    properties["part"] = part;
    properties["time"] = wall_ms();
    if (s.deleted)
        throw session_gone();
    emit(s, "message.part.updated", std::move(properties), true);
}

void engine::emit_error(session& s, json::object error) {
    json::object properties;
    properties["sessionID"] = s.id;
    properties["error"] = std::move(error);
    emit(s, "session.error", std::move(properties));
}

void engine::set_status(session& s, json::object status) {
    json::object properties;
    properties["sessionID"] = s.id;
    properties["status"] = status;
    s.status = std::move(status);
    emit(s, "session.status", std::move(properties));
}

void engine::set_busy(session& s) {
    set_status(s, {{"type", "busy"}});
}

void engine::become_idle(session& s) {
    set_status(s, {{"type", "idle"}});
    s.status.clear();
    emit(s, "session.idle", {{"sessionID", s.id}});
}

void engine::warm_up(const std::string& directory) {
    if (!warm_.insert(directory).second)
        return;
    for (const auto* plugin : {"openai", "anthropic", "mock"})
        emit_server(directory, "plugin.added", {{"id", plugin}});
    for (const auto* type : {"catalog.updated", "reference.updated", "integration.updated"})
        emit_server(directory, type, {});
}

// Sessions.

session& engine::create_session(const std::string& directory, const json::object& body) {
    auto fresh = std::make_unique<session>();
    session& s = *fresh;
    s.id = descending("ses");
    s.directory = directory;
    s.parent = text_at(body, "parentID");
    const auto title = text_at(body, "title");
    s.titled = !title.empty() || !s.parent.empty();
    s.info["id"] = s.id;
    s.info["slug"] = "quiet-" + random_text(5, "bcdfghklmnprst");
    s.info["version"] = settings_.version;
    s.info["projectID"] = "global";
    s.info["directory"] = directory;
    s.info["path"] = without_leading_slash(directory);
    if (!s.parent.empty())
        s.info["parentID"] = s.parent;
    s.info["title"] = title.empty() ? "New session - " + iso_date(wall_ms()) : std::string(title);
    for (const auto* key : {"agent", "permission"})
        if (const auto* value = body.if_contains(key))
            s.info[key] = *value;
    s.info["cost"] = 0;
    s.info["tokens"] = tokens(0, 0);
    s.info["time"] = {{"created", wall_ms()}, {"updated", wall_ms()}};
    if (const auto agent = text_at(body, "agent"); !agent.empty())
        s.agent = agent;
    sessions_.push_back(std::move(fresh));
    emit_session(s, "session.created");
    return s;
}

session* engine::find(const std::string& id) {
    const auto found = std::find_if(sessions_.begin(), sessions_.end(),
                                    [&](const auto& s) { return s->id == id && !s->deleted; });
    return found == sessions_.end() ? nullptr : found->get();
}

std::vector<session*> engine::sessions() {
    std::vector<session*> out;
    for (const auto& s : sessions_)
        if (!s->deleted)
            out.push_back(s.get());
    return out;
}

void engine::rename(session& s, std::string_view title) {
    s.titled = true;
    s.info["title"] = title;
    emit_session(s, "session.updated");
}

void engine::remove(session& s) {
    for (const auto& child : sessions_)
        if (child->parent == s.id && !child->deleted)
            remove(*child);
    s.deleted = true;
    emit_session(s, "session.deleted");
    close_records(s, outcome::interrupted, {});
    for (auto& r : prompts_)
        r.deleted = r.deleted || r.session == s.id;
}

message* engine::find_message(session& s, std::string_view id) {
    for (const auto& m : s.messages)
        if (m->id == id)
            return m.get();
    return nullptr;
}

json::object engine::statuses(const std::string& directory) {
    json::object out;
    for (const auto& s : sessions_) // a deleted session that still runs stays listed
        if (s->directory == directory && !s->status.empty())
            out[s->id] = s->status;
    return out;
}

// Messages and parts.

json::object engine::tokens(int input, int output) {
    json::object out;
    if (input + output > 0)
        out["total"] = input + output;
    out["input"] = input;
    out["output"] = output;
    out["reasoning"] = 0;
    out["cache"] = {{"read", 0}, {"write", 0}};
    return out;
}

json::object& engine::part_of(message& m, const std::string& id) {
    return *std::find_if(m.parts.begin(), m.parts.end(),
                         [&](const json::object& part) { return text_at(part, "id") == id; });
}

/// Stores a part, in place of the one with the same id if there is one, and tells the subscribers.
json::object& engine::put_part(session& s, message& m, json::object part) {
    if (text_at(part, "id").empty())
        part["id"] = ascending("prt");
    part["messageID"] = m.id;
    part["sessionID"] = s.id;
    const auto id = std::string(text_at(part, "id"));
    auto found = std::find_if(m.parts.begin(), m.parts.end(),
                              [&](const json::object& old) { return text_at(old, "id") == id; });
    if (found == m.parts.end())
        found = m.parts.insert(found, std::move(part));
    else
        *found = std::move(part);
    emit_part(s, *found);
    return *found;
}

message& engine::add_message(session& s, std::string id, bool user) {
    auto fresh = std::make_unique<message>();
    fresh->id = std::move(id);
    fresh->user = user;
    fresh->info["id"] = fresh->id;
    s.messages.push_back(std::move(fresh));
    return *s.messages.back();
}

message& engine::add_user(session& s, std::string id, const json::object& body) {
    message& m = add_message(s, std::move(id), true);
    m.root = m.id;
    m.info["role"] = "user";
    m.info["sessionID"] = s.id;
    m.info["time"] = {{"created", wall_ms()}};
    m.info["agent"] = s.agent;
    m.info["model"] = {{"providerID", s.provider}, {"modelID", s.model}};
    if (const auto variant = text_at(body, "variant"); !variant.empty())
        m.info["model"].as_object()["variant"] = variant;
    for (const auto* key : {"system", "tools"})
        if (const auto* value = body.if_contains(key))
            m.info[key] = *value;
    return m;
}

/// A user message that the server writes itself, inside the turn of `asked`.
message& engine::add_continuation(session& s, const message& asked, std::vector<json::object> parts,
                                  bool compaction) {
    const auto root = asked.root;
    message& m = add_user(s, ascending("msg"), {});
    m.root = root;
    m.compaction = compaction;
    emit_message(s, m);
    for (auto& part : parts)
        put_part(s, m, std::move(part));
    return m;
}

bool engine::has_earlier_prompt(const session& s, const message& prompt) const {
    for (const auto& m : s.messages) {
        if (m.get() == &prompt)
            return false;
        if (m->user && m->root == m->id && record_of(s, m->id) != none)
            return true;
    }
    return false;
}

/// The turn of this prompt has a compaction that worked.
bool engine::was_compacted(const session& s, const message& prompt) const {
    return std::any_of(s.messages.begin(), s.messages.end(), [&](const auto& m) {
        return m->user && !m->compaction && m->root == prompt.id && m->id != prompt.id;
    });
}

/// The assistant message of one step.
message& engine::add_answer(session& s, message& asked, std::string_view mode) {
    message& m = add_message(s, ascending("msg"), false);
    m.compaction = asked.compaction;
    m.info["parentID"] = asked.id;
    m.info["role"] = "assistant";
    m.info["mode"] = mode;
    m.info["agent"] = mode;
    if (m.compaction)
        m.info["summary"] = true;
    m.info["path"] = {{"cwd", s.directory}, {"root", "/"}};
    m.info["cost"] = 0;
    m.info["tokens"] = tokens(0, 0);
    m.info["modelID"] = s.model;
    m.info["providerID"] = s.provider;
    m.info["time"] = {{"created", wall_ms()}};
    m.info["sessionID"] = s.id;
    s.run.answer = &m;
    s.run.asked = &asked;
    begin_record(s, asked, m);
    if (happens(settings_.late_events))
        fall_behind(between(milliseconds(1), std::chrono::duration_cast<milliseconds>(settings_.lag)));
    emit_message(s, m);
    return m;
}

message& engine::last_user(session& s) {
    return **std::find_if(s.messages.rbegin(), s.messages.rend(), [](const auto& m) { return m->user; });
}

message* engine::last_answer(session& s) {
    const auto found =
        std::find_if(s.messages.rbegin(), s.messages.rend(), [](const auto& m) { return !m->user; });
    return found == s.messages.rend() ? nullptr : found->get();
}

std::string engine::text_of(const message& m) {
    std::string out;
    for (const auto& part : m.parts)
        if (text_at(part, "type") == "text")
            out += text_at(part, "text");
    return out;
}

// Prompts.

namespace {

struct known_command {
    std::string_view name;
    std::string_view description;
    std::string_view text;
    duration takes; // to fill it in: a template may run programs
};

constexpr known_command known_commands[] = {
    {"say", "prompts with its arguments", "$ARGUMENTS", duration::zero()},
    {"review", "reviews what is named", "Review $ARGUMENTS #tool", duration::zero()},
    {"build", "builds first, which takes two seconds", "Built. $ARGUMENTS", seconds(2)},
};

} // namespace

bool engine::known_agent(std::string_view name) {
    return name == "build" || name == "plan" || name == "general" || name == "explore";
}

bool engine::known_model(const session& s) const {
    return s.provider == "mock" && s.model.starts_with("mock-");
}

engine::posted engine::prompt(session& s, const json::object& body, done when_over) {
    if (const auto agent = text_at(body, "agent"); !agent.empty()) {
        if (!known_agent(agent)) {
            for (const auto& text : {"Agent not found: \"" + std::string(agent) +
                                         "\". Available agents: build, explore, general, plan",
                                     std::string("UnknownError: UnknownError")})
                emit_error(s, {{"name", "UnknownError"}, {"data", {{"message", text}}}});
            return posted::unknown_agent;
        }
        s.agent = agent;
    }
    if (const auto* model = body.if_contains("model"); model && model->is_object()) {
        s.provider = text_at(model->get_object(), "providerID");
        s.model = text_at(model->get_object(), "modelID");
    }
    json::object model{{"id", s.model}, {"providerID", s.provider}, {"variant", "default"}};
    if (text_at(s.info, "agent") != s.agent || !s.info.contains("model") || s.info["model"] != model) {
        s.info["agent"] = s.agent;
        s.info["model"] = std::move(model);
        emit_session(s, "session.updated");
    }

    auto id = std::string(text_at(body, "messageID"));
    message* m = id.empty() ? nullptr : find_message(s, id);
    const bool repeated = m != nullptr;
    if (!m)
        m = &add_user(s, id.empty() ? ascending("msg") : std::move(id), body);
    emit_message(s, *m);
    if (const auto* parts = body.if_contains("parts"))
        for (const auto& part : parts->as_array())
            put_part(s, *m, part.as_object());
    emit_session(s, "session.updated");

    const auto* silent = body.if_contains("noReply");
    if (silent && silent->is_bool() && silent->get_bool()) {
        line_.after(duration::zero(), std::move(when_over));
        return posted::taken;
    }
    if (!repeated) {
        prompt_record r;
        r.session = s.id;
        r.message = m->id;
        r.parent = s.parent;
        r.child = !s.parent.empty();
        prompts_.push_back(std::move(r));
    } else {
        reopen_record(m->id);
    }
    if (when_over)
        s.run.when_over.push_back(std::move(when_over));
    if (s.run.now == run::phase::none)
        begin_loop(s, between(milliseconds(15), milliseconds(60)));
    else if (s.run.now == run::phase::settling || s.run.shell)
        s.run.again = true;
    return posted::taken;
}

json::array engine::commands() {
    json::array all;
    for (const auto& each : known_commands) {
        json::object one;
        one["name"] = each.name;
        one["description"] = each.description;
        one["template"] = each.text;
        one["source"] = "command";
        one["hints"] = json::array{"$ARGUMENTS"};
        all.push_back(std::move(one));
    }
    return all;
}

bool engine::command(session& s, const json::object& body, done when_over) {
    const auto name = text_at(body, "command");
    const auto* known = std::find_if(std::begin(known_commands), std::end(known_commands),
                                     [&](const auto& each) { return each.name == name; });
    if (known == std::end(known_commands)) {
        std::string names;
        for (const auto& each : known_commands)
            names.append(names.empty() ? "" : ", ").append(each.name);
        const auto text = "Command not found: \"" + std::string(name) + "\". Available commands: " + names;
        emit_error(s, {{"name", "UnknownError"}, {"data", {{"message", text}}}});
        return false;
    }
    std::string text(known->text);
    if (const auto at = text.find("$ARGUMENTS"); at != std::string::npos)
        text.replace(at, std::string_view("$ARGUMENTS").size(), text_at(body, "arguments"));
    json::object prompt_body;
    for (const auto* key : {"messageID", "agent", "variant"})
        if (const auto* value = body.if_contains(key))
            prompt_body[key] = *value;
    if (const auto model = text_at(body, "model"); !model.empty()) {
        const auto slash = std::min(model.find('/'), model.size() - 1);
        prompt_body["model"] = {{"providerID", model.substr(0, slash)}, {"modelID", model.substr(slash + 1)}};
    }
    json::object said;
    said["type"] = "text";
    said["text"] = text;
    json::array parts;
    parts.push_back(std::move(said));
    if (const auto* files = body.if_contains("parts"); files && files->is_array())
        parts.insert(parts.end(), files->get_array().begin(), files->get_array().end());
    prompt_body["parts"] = std::move(parts);
    // An abort meanwhile does not keep it from prompting.
    auto prompts = [this, &s, prompt_body = std::move(prompt_body),
                    arguments = std::string(text_at(body, "arguments")), name = std::string(name),
                    when_over = std::move(when_over)]() mutable {
        if (s.deleted)
            return when_over();
        prompt(s, prompt_body, [this, &s, arguments, name, when_over = std::move(when_over)] {
            const auto last = s.messages.empty() ? std::string() : s.messages.back()->id;
            emit(s, "command.executed",
                 {{"name", name}, {"sessionID", s.id}, {"arguments", arguments}, {"messageID", last}});
            when_over();
        });
    };
    if (known->takes == duration::zero())
        prompts();
    else
        line_.after(known->takes, std::move(prompts));
    return true;
}

std::size_t engine::record_of(const session& s, const std::string& message_id) const {
    for (std::size_t i = 0; i < prompts_.size(); ++i)
        if (prompts_[i].session == s.id && prompts_[i].message == message_id)
            return i;
    return none;
}

bool engine::stands_before(const session& s, const std::string& message_id, const message& later_one) {
    for (const auto& m : s.messages) {
        if (m.get() == &later_one)
            return false;
        if (m->id == message_id)
            return true;
    }
    return false;
}

/// An assistant message under a prompt ends what was open before it, and opens the prompt again if it had
/// ended. What stands before the message that is answered, and has no answer, shares this one.
void engine::begin_record(session& s, const message& asked, const message& answer) {
    const auto current = record_of(s, asked.root);
    if (current == none)
        return;
    for (auto& other : prompts_) {
        const bool open = other.session == s.id && other.outcome == outcome::pending;
        if (!open || &other == &prompts_[current] || !stands_before(s, other.message, asked))
            continue;
        if (!other.last_answer.empty())
            close_by_answer(s, other);
        else if (other.merged_into.empty())
            other.merged_into = prompts_[current].message;
    }
    close_merged(s);
    if (!s.deleted)
        prompts_[current].outcome = outcome::pending;
    prompts_[current].last_answer = answer.id;
}

/// Whoever was answered together with a later prompt ends as that one ends.
void engine::close_merged(session& s) {
    for (auto& r : prompts_) {
        if (r.session != s.id || r.outcome != outcome::pending || r.merged_into.empty())
            continue;
        const auto answer = record_of(s, r.merged_into);
        if (answer == none || prompts_[answer].outcome == outcome::pending)
            continue;
        r.outcome = prompts_[answer].outcome;
        r.error = prompts_[answer].error;
    }
}

/// What the turn's own last message says.
void engine::close_by_answer(session& s, prompt_record& r) {
    const message* last = find_message(s, r.last_answer);
    if (!last) {
        r.outcome = outcome::unanswered;
        return;
    }
    if (const auto* error = last->info.if_contains("error")) {
        r.error = text_at(error->as_object(), "name");
        r.outcome = r.error == "MessageAbortedError" ? outcome::aborted : outcome::failed;
        return;
    }
    const auto finish = text_at(last->info, "finish");
    if (finish.empty())
        r.outcome = outcome::aborted;
    else
        r.outcome = finish == "tool-calls" && r.rejected ? outcome::rejected : outcome::completed;
}

void engine::close_records(session& s, opencode_sim::outcome how, std::string_view error) {
    for (auto& r : prompts_) {
        if (r.session != s.id || r.outcome != outcome::pending)
            continue;
        r.outcome = how;
        r.error = error;
    }
}

/// Posted once more, after it was let fall.
void engine::reopen_record(const std::string& message) {
    for (auto& r : prompts_)
        if (r.message == message && r.outcome == outcome::unanswered)
            r.outcome = outcome::pending;
}

void engine::step_record_for_answer(session& s, const std::function<void(prompt_record&)>& change) {
    const auto current = s.run.asked ? record_of(s, s.run.asked->root) : none;
    if (current != none)
        change(prompts_[current]);
}

/// A part of the answer begins.
void engine::record_part(session& s, const json::object& part) {
    if (s.run.answer->compaction)
        return;
    using kind = opencode_sim::said_part::kind;
    const auto type = text_at(part, "type");
    opencode_sim::said_part said;
    said.what = type == "tool" ? kind::tool : type == "reasoning" ? kind::reasoning : kind::text;
    said.id = text_at(part, said.what == kind::tool ? "callID" : "id");
    step_record_for_answer(s, [&](prompt_record& r) { r.parts.push_back(std::move(said)); });
}

std::vector<opencode_sim::turn_truth> engine::truth() {
    std::vector<opencode_sim::turn_truth> out;
    for (const auto& r : prompts_) {
        opencode_sim::turn_truth t = r;
        const auto s = std::find_if(sessions_.begin(), sessions_.end(),
                                    [&](const auto& candidate) { return candidate->id == r.session; });
        if (s != sessions_.end()) {
            const run& now = (*s)->run;
            const bool at_work = now.now == run::phase::working || now.now == run::phase::retrying;
            t.running = at_work && now.asked && now.asked->root == r.message && now.answer;
            if (const auto* last = find_message(**s, r.last_answer))
                t.text = text_of(*last);
        }
        out.push_back(std::move(t));
    }
    return out;
}

// Asks.

ask& engine::put_ask(session& s, bool question, json::object asked, reply_to_ask& waiting) {
    auto fresh = std::make_unique<ask>();
    fresh->id = ascending(question ? "que" : "per");
    fresh->session = s.id;
    fresh->directory = s.directory;
    fresh->question = question;
    fresh->waiting = &waiting;
    fresh->listed["id"] = fresh->id;
    fresh->listed["sessionID"] = s.id;
    for (auto& [key, value] : asked)
        fresh->listed[key] = value;
    asks_.push_back(std::move(fresh));
    emit(s, question ? "question.asked" : "permission.asked", asks_.back()->listed);
    return *asks_.back();
}

json::array engine::asks(const std::string& directory, bool questions) const {
    json::array out;
    for (const auto& a : asks_)
        if (a->directory == directory && a->question == questions)
            out.push_back(a->listed);
    return out;
}

const ask* engine::find_ask(const std::string& id, const std::string& directory, bool question) const {
    for (const auto& a : asks_)
        if (a->id == id && a->question == question && (directory.empty() || a->directory == directory))
            return a.get();
    return nullptr;
}

void engine::reply_permission(const std::string& id, std::string reply, std::string text) {
    const auto a = take_by_id(asks_, id);
    if (session* s = find(a->session))
        emit(*s, "permission.replied", {{"sessionID", a->session}, {"requestID", id}, {"reply", reply}});
    if (!a->waiting)
        return; // a ghost: accepted, and nothing more
    if (reply == "always")
        always_allowed_.insert(a->directory);
    a->waiting->reply = std::move(reply);
    a->waiting->message = std::move(text);
    a->waiting->given.open();
}

void engine::reply_question(const std::string& id, json::array answers) {
    const auto a = take_by_id(asks_, id);
    if (session* s = find(a->session))
        emit(*s, "question.replied", {{"sessionID", a->session}, {"requestID", id}, {"answers", answers}});
    if (!a->waiting)
        return;
    a->waiting->reply = "answer";
    a->waiting->answers = std::move(answers);
    a->waiting->given.open();
}

void engine::reject_question(const std::string& id) {
    const auto a = take_by_id(asks_, id);
    if (session* s = find(a->session))
        emit(*s, "question.rejected", {{"sessionID", a->session}, {"requestID", id}});
    if (!a->waiting)
        return;
    a->waiting->reply = "reject";
    a->waiting->given.open();
}

// Endings from outside.

/// Takes the running story away, wherever it waits; its asks become ghosts.
void engine::drop_story(session& s) {
    for (const auto& a : asks_)
        if (a->session == s.id)
            a->waiting = nullptr;
    for (const auto& child : sessions_)
        if (child->parent == s.id)
            child->run.watched_by = nullptr;
    s.run.tale = story();
}

/// The loop has ended, however it did.
void engine::over(session& s) {
    s.run.now = run::phase::none;
    s.run.shell = false;
    s.run.answer = nullptr;
    s.run.asked = nullptr;
    s.run.text_part.clear();
    s.run.tool_part.clear();
    for (auto& callback : std::exchange(s.run.when_over, {}))
        line_.after(duration::zero(), std::move(callback));
    if (s.run.watched_by)
        std::exchange(s.run.watched_by, nullptr)->open();
    // From the list, since it may be the story itself that says that it is over.
    if (std::exchange(s.run.again, false))
        line_.after(duration::zero(), [this, &s] {
            if (s.run.now == run::phase::none && !s.deleted)
                begin_loop(s, between(milliseconds(15), milliseconds(60)));
        });
}

void engine::abort(const std::string& id, const std::string& directory, done when_settled) {
    const auto found =
        std::find_if(sessions_.begin(), sessions_.end(), [&](const auto& s) { return s->id == id; });
    if (found != sessions_.end()) {
        abort_work(**found, std::move(when_settled), false);
        return;
    }
    emit_server(directory, "session.status", {{"sessionID", id}, {"status", {{"type", "idle"}}}});
    emit_server(directory, "session.idle", {{"sessionID", id}});
    when_settled();
}

void engine::abort_work(session& s, done when_settled, bool at_once) {
    switch (s.run.now) {
    case run::phase::none:
    case run::phase::settling:
        if (s.run.now == run::phase::none || !at_once)
            become_idle(s);
        break;
    case run::phase::starting:
        drop_story(s);
        become_idle(s);
        close_records(s, outcome::unanswered, {});
        over(s);
        break;
    case run::phase::retrying:
        if (s.deleted)
            abort_deleted(s);
        else
            abort_retry(s);
        break;
    case run::phase::working:
        s.run.again = false; // prompts that wait for the end of a command end with it
        abort_children(s);
        if (s.deleted) {
            abort_deleted(s);
            break;
        }
        if (!s.run.answer) { // busy, but no message yet
            drop_story(s);
            become_idle(s);
            close_records(s, outcome::unanswered, {});
            over(s);
            break;
        }
        const bool asking = std::any_of(asks_.begin(), asks_.end(),
                                        [&](const auto& a) { return a->session == s.id && a->waiting; });
        drop_story(s);
        s.run.now = run::phase::settling;
        emit_error(s, {{"name", "MessageAbortedError"}, {"data", {{"message", "Aborted"}}}});
        become_idle(s);
        if (at_once) {
            settle_abort(s);
            break;
        }
        // With something to ask or to kill the real server needs up to 260 ms, else only a few.
        const bool slow = asking || !s.run.tool_part.empty() || happens(settings_.late_idle);
        const auto wait =
            slow ? between(milliseconds(100), milliseconds(260)) : between(milliseconds(3), milliseconds(30));
        line_.after(wait, [this, &s, when_settled = std::move(when_settled)] {
            settle_abort(s);
            if (when_settled)
                when_settled();
        });
        return;
    }
    if (when_settled)
        when_settled();
}

void engine::abort_children(session& s) {
    for (std::size_t i = 0; i < sessions_.size();
         ++i) { // settling may add none, but indices stay good if it does
        session& child = *sessions_[i];
        if (child.parent == s.id && child.run.now != run::phase::none) {
            child.run.watched_by = nullptr;
            abort_work(child, {}, true);
        }
    }
}

void engine::settle_abort(session& s) {
    if (s.run.now != run::phase::settling)
        return; // the instance was disposed meanwhile
    if (s.deleted) {
        end_deleted(s);
        return;
    }
    close_text(s);
    if (!s.run.tool_part.empty()) {
        auto& state = part_of(*s.run.answer, s.run.tool_part).at("state").as_object();
        if (s.run.tool_has_output) {
            const auto output = std::string(text_at(state["metadata"].as_object(), "output"));
            tool_ended(
                s, "completed",
                {{"output", output + "\n\n<shell_metadata>\nUser aborted the command\n</shell_metadata>"},
                 {"title", "bash"},
                 {"metadata", {{"output", output}, {"exit", nullptr}, {"truncated", false}}}});
        } else {
            tool_ended(s, "error",
                       {{"error", "Tool execution aborted"}, {"metadata", {{"interrupted", true}}}});
        }
    }
    s.run.answer->info["error"] = {{"name", "MessageAbortedError"}, {"data", {{"message", "Aborted"}}}};
    complete_answer(s);
    become_idle(s);
    close_records(s, outcome::aborted, "MessageAbortedError");
    over(s);
}

/// In a retry wait there is no error: the message just ends, with neither finish nor error.
void engine::abort_retry(session& s) {
    drop_story(s);
    close_text(s);
    complete_answer(s);
    become_idle(s);
    close_records(s, outcome::aborted, {});
    over(s);
}

/// The turn of a deleted session: its rows are gone, so the end fails too.
void engine::abort_deleted(session& s) {
    drop_story(s);
    emit_error(s, {{"name", "MessageAbortedError"}, {"data", {{"message", "Aborted"}}}});
    become_idle(s);
    end_deleted(s);
}

void engine::end_deleted(session& s) {
    become_idle(s);
    emit_error(s, {{"name", "UnknownError"},
                   {"data", {{"message", "EffectDrizzleQueryError: Failed query: insert into \"part\""}}}});
    over(s);
}

void engine::dispose(const std::string& directory) {
    catch_up();
    for (std::size_t i = 0; i < sessions_.size(); ++i) {
        session& s = *sessions_[i];
        const bool asks_here = std::any_of(asks_.begin(), asks_.end(), [&](const auto& a) {
            return a->session == s.id && a->directory == directory; // it was moved while it waited
        });
        if ((s.directory != directory && !asks_here) || s.run.now == run::phase::none)
            continue;
        s.run.again = false;
        if (s.run.now == run::phase::settling)
            settle_abort(s);
        else
            abort_work(s, {}, true);
    }
    std::erase_if(asks_, [&](const auto& a) { return a->directory == directory; });
    always_allowed_.erase(directory);
    warm_.erase(directory);
    emit_server(directory, "server.instance.disposed", {{"directory", directory}});
}

void engine::kill() {
    catches_up_.reset();
    behind_.clear();
    for (const auto& s : sessions_) {
        drop_story(*s);
        s->run.when_over.clear();
    }
    for (const auto& s : sessions_) {
        s->run = run();
        s->status.clear();
        close_records(*s, outcome::interrupted, {});
    }
    std::erase_if(sessions_, [](const auto& s) { return s->deleted; });
    asks_.clear();
    always_allowed_.clear();
    warm_.clear();
}

} // namespace holdfast::testing::detail
