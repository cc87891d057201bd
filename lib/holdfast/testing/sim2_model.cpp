#include <holdfast/testing/sim2_model.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::testing::detail::sim2 {

namespace {

using outcome = opencode_sim::outcome;

bool tells_no_place(std::string_view type) {
    return type.starts_with("session.execution.") || type == "session.usage.updated";
}

/// `more` behind the session's id.
json::object of_session(const session& s, json::object more) {
    json::object data;
    data["sessionID"] = s.id;
    for (auto& [key, value] : more)
        data[key] = std::move(value);
    return data;
}

json::object usage_of(const session& s) {
    json::object out;
    out["input"] = s.input_tokens;
    out["output"] = s.output_tokens;
    out["reasoning"] = 0;
    out["cache"] = {{"read", 0}, {"write", 0}};
    return out;
}

std::string without_leading_slash(std::string_view directory) {
    return std::string(directory.substr(directory.starts_with('/') ? 1 : 0));
}

} // namespace

json::object error_of(std::string_view type, std::string_view message) {
    json::object error;
    error["type"] = type;
    error["message"] = message;
    return error;
}

bool message::is_open() const {
    return type == "assistant" && !row.at("time").as_object().contains("completed");
}

model::model(const opencode_sim::options& settings, timeline& line,
             std::function<void(const sim_event&)> sink)
    : chance(settings.seed, settings.epoch, line), settings_(settings), line_(line), sink_(std::move(sink)),
      spoken_(&current) {}

void model::speak(const std::string& version) {
    version_ = version;
    spoken_ = &dialect_of(version);
}

// Events.

/// A fact of the session's log: it takes a number.
void model::log(session& s, std::string_view type, json::object data, int version, json::object metadata) {
    json::object event;
    event["id"] = ascending("evt");
    event["created"] = wall_ms();
    if (!metadata.empty())
        event["metadata"] = std::move(metadata);
    event["type"] = type;
    event["durable"] = {{"aggregateID", s.id}, {"seq", s.sequence++}, {"version", version}};
    if (!tells_no_place(type))
        event["location"] = {{"directory", s.directory}};
    event["data"] = of_session(s, std::move(data));
    s.updated = wall_ms();
    send(s.directory, std::move(event));
}

void model::tell(session& s, std::string_view type, json::object data) {
    json::object event;
    event["id"] = ascending("evt");
    event["created"] = wall_ms();
    event["type"] = type;
    if (!tells_no_place(type))
        event["location"] = {{"directory", s.directory}};
    event["data"] = of_session(s, std::move(data));
    send(s.directory, std::move(event));
}

/// What names no session.
void model::tell_of_place(const std::string& directory, std::string_view type, json::object data) {
    json::object event;
    event["id"] = ascending("evt");
    event["created"] = wall_ms();
    event["type"] = type;
    event["location"] = {{"directory", directory}};
    event["data"] = std::move(data);
    send(directory, std::move(event));
}

/// Of the stream itself.
std::string model::event(std::string_view type) {
    json::object event;
    event["id"] = ascending("evt");
    event["type"] = type;
    event["data"] = json::object();
    return json::serialize(event);
}

void model::send(const std::string& directory, json::object event) {
    sim_event out{directory, json::serialize(event), {}};
    if (catches_up_)
        behind_.push_back(std::move(out));
    else
        sink_(out);
}

/// The writer of the streams lags behind what happens: REST is ahead of them.
void model::fall_behind(duration at_most) {
    if (!catches_up_)
        catches_up_ = line_.after(at_most, [this] { catch_up(); });
}

void model::may_fall_behind(double probability, milliseconds at_most) {
    if (happens(probability))
        fall_behind(between(milliseconds(1), at_most));
}

void model::catch_up() {
    if (!catches_up_)
        return;
    line_.cancel(*catches_up_);
    catches_up_.reset();
    for (const auto& e : std::exchange(behind_, {}))
        sink_(e);
}

// Sessions.

session& model::create_session(const std::string& directory, const json::object& body) {
    auto fresh = std::make_unique<session>();
    session& s = *fresh;
    s.id = text_at(body, "id").empty() ? descending("ses") : std::string(text_at(body, "id"));
    s.directory = directory;
    s.parent = text_at(body, "parentID");
    s.title = text_at(body, "title");
    s.titled = !s.title.empty();
    s.slug = "quiet-" + random_text(5, "bcdfghklmnprst");
    s.created = s.updated = wall_ms();
    if (const auto agent = text_at(body, "agent"); !agent.empty())
        s.agent = agent;
    if (const auto* chosen = body.if_contains("model"); chosen && chosen->is_object()) {
        s.model = text_at(chosen->get_object(), "id");
        s.provider = text_at(chosen->get_object(), "providerID");
    }
    sessions_.push_back(std::move(fresh));
    may_fall_behind(settings_.late_events, milliseconds(150));
    json::object data;
    data["projectID"] = "global";
    data["location"] = {{"directory", directory}};
    data["subpath"] = without_leading_slash(directory);
    if (!s.parent.empty())
        data["parentID"] = s.parent;
    data["slug"] = s.slug;
    if (s.titled)
        data["title"] = s.title;
    if (body.contains("agent"))
        data["agent"] = s.agent;
    data["version"] = version_;
    log(s, "session.created", std::move(data));
    return s;
}

session* model::find(std::string_view id) {
    const auto found = std::find_if(sessions_.begin(), sessions_.end(),
                                    [&](const auto& s) { return s->id == id && !s->deleted; });
    return found == sessions_.end() ? nullptr : found->get();
}

std::vector<session*> model::sessions() {
    std::vector<session*> out;
    for (const auto& s : sessions_)
        if (!s->deleted)
            out.push_back(s.get());
    return out;
}

json::object model::info(const session& s) const {
    json::object out;
    out["id"] = s.id;
    out["projectID"] = "global";
    if (!s.parent.empty())
        out["parentID"] = s.parent;
    out["cost"] = 0;
    out["tokens"] = usage_of(s);
    json::object time{{"created", s.created}, {"updated", s.updated}};
    if (s.archived != 0)
        time["archived"] = s.archived;
    if (s.idle_ms != 0)
        time["idle"] = s.idle_ms;
    out["time"] = std::move(time);
    if (!s.title.empty())
        out["title"] = s.title;
    out["agent"] = s.agent;
    out["model"] = {{"id", s.model}, {"providerID", s.provider}};
    out["location"] = {{"directory", s.directory}};
    out["subpath"] = without_leading_slash(s.directory);
    if (!s.outcome.empty())
        out["outcome"] = s.outcome;
    return out;
}

message* model::find_message(session& s, std::string_view id) {
    for (const auto& m : s.messages)
        if (m->id == id)
            return m.get();
    return nullptr;
}

/// Who is at work, from the moment at which a prompt is stored.
json::object model::active() const {
    json::object out;
    for (const auto& s : sessions_)
        if (s->run.now != run::phase::idle && !s->deleted)
            out[s->id] = {{"type", "running"}};
    return out;
}

void model::rename(session& s, std::string_view title) {
    s.titled = true;
    s.title = title;
    log(s, "session.renamed", {{"title", title}});
}

void model::select_agent(session& s, std::string_view agent) {
    s.agent = agent;
    log(s, "session.agent.selected", {{"agent", agent}});
}

void model::select_model(session& s, const json::object& chosen) {
    s.model = text_at(chosen, "id");
    s.provider = text_at(chosen, "providerID");
    log(s, "session.model.selected", {{"model", chosen}});
}

/// An execution is interrupted first; it tells so once the session is gone for REST.
void model::remove(session& s) {
    may_fall_behind(settings_.late_events, milliseconds(75));
    if (s.run.now != run::phase::idle) {
        drop_story(s);
        settle(s, "user");
    }
    for (std::size_t i = 0; i < sessions_.size(); ++i)
        if (sessions_[i]->parent == s.id && !sessions_[i]->deleted)
            remove(*sessions_[i]);
    s.inbox.clear();
    s.run.again = false;
    s.claimed = false;
    log(s, "session.deleted", {}, 2);
    s.deleted = true;
    for (auto& r : prompts_) {
        if (r.session != s.id)
            continue;
        r.deleted = true;
        close_record(r, outcome::interrupted);
    }
}

message& model::add_message(session& s, std::string id, std::string_view type) {
    auto fresh = std::make_unique<message>();
    fresh->id = std::move(id);
    fresh->type = type;
    fresh->row["id"] = fresh->id;
    fresh->row["time"] = {{"created", wall_ms()}};
    fresh->row["type"] = type;
    s.messages.push_back(std::move(fresh));
    return *s.messages.back();
}

// The inbox.

namespace {

/// What the routes tell of something that waits, or waited.
json::object stored_item(const session& s, const input& i, const dialect& spoken) {
    json::object out;
    out["id"] = i.id;
    out["sessionID"] = s.id;
    if (spoken.is_current)
        out["time"] = {{"created", i.created}};
    else
        out["timeCreated"] = i.created;
    out["type"] = i.type;
    out[spoken.is_current ? "payload" : "data"] = i.payload;
    out["delivery"] = i.delivery;
    return out;
}

input from_row(const message& m, std::string delivery) {
    input i{m.id, m.type, std::move(delivery), {}, m.row.at("time").at("created").as_int64()};
    i.payload["text"] = m.row.at("text");
    return i;
}

} // namespace

model::posted model::prompt(session& s, input item, bool resume, json::object& stored) {
    for (const auto& other : sessions_) {
        const auto waits = std::find_if(other->inbox.begin(), other->inbox.end(),
                                        [&](const input& i) { return i.id == item.id; });
        const message* there = find_message(*other, item.id);
        if (waits == other->inbox.end() && !there)
            continue;
        if (other.get() != &s || (there && !there->is_input()))
            return posted::conflict;
        const auto known = there ? from_row(*there, item.delivery) : *waits;
        const bool is_same = text_at(known.payload, "text") == text_at(item.payload, "text");
        if (!is_same && !spoken_->is_current)
            return posted::conflict;
        stored = stored_item(s, known, *spoken_);
        if (resume)
            wake(s);
        return posted::stored;
    }
    item.created = wall_ms();
    stored = stored_item(s, item, *spoken_);
    may_fall_behind(settings_.late_events, milliseconds(400));
    if (item.type == "user") {
        prompt_record r;
        r.session = s.id;
        r.parent = s.parent;
        r.message = item.id;
        r.child = !s.parent.empty();
        std::erase_if(prompts_, [&](const prompt_record& old) { return old.message == item.id; });
        prompts_.push_back(std::move(r));
    }
    if (item.type == "compaction" && !spoken_->has_inbox_events) {
        log(s, "session.compaction.admitted", {{"inputID", item.id}});
    } else {
        json::object told{{"type", item.type}};
        told[spoken_->has_inbox_events ? "payload" : "data"] = item.payload;
        told["delivery"] = item.delivery;
        json::object data;
        data[spoken_->has_inbox_events ? "inboxID" : "inputID"] = item.id;
        data[spoken_->has_inbox_events ? "item" : "input"] = std::move(told);
        log(s, spoken_->has_inbox_events ? "session.inbox.enqueued" : "session.input.admitted",
            std::move(data));
    }
    s.inbox.push_back(std::move(item));
    if (resume)
        wake(s);
    return posted::stored;
}

json::array model::waiting(const session& s) const {
    json::array out;
    for (const auto& i : s.inbox)
        out.push_back(stored_item(s, i, *spoken_));
    return out;
}

void model::cancel(session& s, std::string_view id) {
    if (std::erase_if(s.inbox, [&](const input& i) { return i.id == id; }) == 0)
        return;
    log(s, "session.inbox.cancelled", {{"inboxID", id}});
    if (const auto r = record_of(std::string(id)); r != none)
        close_record(prompts_[r], outcome::aborted);
}

void model::set_delivery(session& s, std::string_view id, std::string delivery) {
    for (auto& i : s.inbox)
        if (i.id == id) {
            i.delivery = delivery;
            log(s, "session.inbox.delivery.changed", {{"inboxID", id}, {"delivery", delivery}});
        }
}

// Asks.

ask& model::put_ask(session& s, bool form, json::object asked, answer_to_ask& waiting) {
    auto fresh = std::make_unique<ask>();
    ask& a = *fresh;
    a.id = ascending(form ? "frm" : "per");
    a.session = s.id;
    a.form = form;
    a.waiting = &waiting;
    a.listed["id"] = a.id;
    a.listed["sessionID"] = s.id;
    for (auto& [key, value] : asked)
        a.listed[key] = std::move(value);
    asks_.push_back(std::move(fresh));
    if (form)
        tell_of_place(s.directory, "form.created", {{"form", a.listed}});
    else
        tell_of_place(s.directory, "permission.asked", a.listed);
    return a;
}

const ask* model::find_ask(std::string_view id, bool form) const {
    for (const auto& a : asks_)
        if (a->id == id && a->form == form && a->waiting)
            return a.get();
    return nullptr;
}

json::array model::asks(const session* s, const std::string& directory, bool forms) {
    json::array out;
    for (const auto& a : asks_) {
        const session* asking = find(a->session);
        if (a->form == forms && a->waiting && asking && (s ? asking == s : asking->directory == directory))
            out.push_back(a->listed);
    }
    return out;
}

/// A rejection rejects all that the session asks; "always" grants what else it covers.
void model::reply_permission(const std::string& id, std::string reply, std::string text) {
    const auto a = take_by_id(asks_, id);
    session& s = *find(a->session);
    tell(s, "permission.replied", {{"requestID", id}, {"reply", reply}});
    a->waiting->reply = reply;
    a->waiting->message = text;
    a->waiting->given.open();
    std::vector<std::string> others;
    for (const auto& other : asks_) {
        const session* asking = find(other->session);
        const bool falls_with_it = reply == "reject" && text.empty() && other->session == s.id;
        const bool is_covered = reply == "always" && asking && asking->directory == s.directory;
        if (!other->form && other->waiting && (falls_with_it || is_covered))
            others.push_back(other->id);
    }
    if (reply == "always")
        saved_.push_back({{"id", ascending("prm")},
                          {"action", "shell"},
                          {"resource", "echo *"},
                          {"directory", s.directory}});
    for (const auto& other : others) {
        const auto b = take_by_id(asks_, other);
        tell(*find(b->session), "permission.replied", {{"requestID", other}, {"reply", reply}});
        b->waiting->reply = reply;
        b->waiting->given.open();
    }
}

void model::reply_form(const std::string& id, json::object answer) {
    const auto a = take_by_id(asks_, id);
    forms_[id] = {a->session, "answered"};
    tell(*find(a->session), "form.replied", {{"id", id}, {"answer", answer}});
    a->waiting->reply = "answered";
    a->waiting->answer = std::move(answer);
    a->waiting->given.open();
}

void model::cancel_form(const std::string& id) {
    const auto a = take_by_id(asks_, id);
    forms_[id] = {a->session, "cancelled"};
    tell(*find(a->session), "form.cancelled", {{"id", id}});
    a->waiting->reply = "cancelled";
    a->waiting->given.open();
}

std::string model::form_state(const session& s, const std::string& id) const {
    if (const auto* a = find_ask(id, true); a && a->session == s.id)
        return "pending";
    const auto settled = forms_.find(id);
    return settled != forms_.end() && settled->second.first == s.id ? settled->second.second : "";
}

} // namespace holdfast::testing::detail::sim2
