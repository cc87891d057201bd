#include <holdfast/testing/sim2_rest.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

namespace holdfast::testing::detail::sim2 {

/// A request on its way through the routes.
struct rest::call {
    const http_request& request;
    std::vector<std::string> path; ///< without "api"
    json::object body;
    reply done;

    [[nodiscard]] bool is(std::string_view method, std::size_t segments) const {
        return request.method == method && path.size() == segments;
    }
    [[nodiscard]] bool is(std::string_view method, std::size_t segments, std::string_view last) const {
        return is(method, segments) && path.back() == last;
    }
    [[nodiscard]] std::string_view query(const std::string& name) const {
        const auto found = request.query.find(name);
        return found == request.query.end() ? std::string_view() : std::string_view(found->second);
    }
    void json(const json::value& value, unsigned status = 200) const {
        done(rest_response{status, "application/json", json::serialize(value), {}});
    }
    void data(json::value value) const {
        json::object out;
        out["data"] = std::move(value);
        json(out);
    }
    void no_content() const { done(rest_response{204, {}, {}, {}}); }
    void nothing_here() const { done(rest_response{404, {}, {}, {}}); }
    void error(unsigned status, std::string_view tag, std::string_view message,
               json::object more = {}) const {
        json::object out;
        out["_tag"] = tag;
        for (auto& [key, value] : more)
            out[key] = std::move(value);
        out["message"] = message;
        json(out, status);
    }
    void invalid(std::string_view message) const {
        error(400, "InvalidRequestError", message, {{"kind", "Payload"}});
    }
};

namespace {

constexpr std::size_t most_messages = 200; // of one page
constexpr std::size_t most_sessions = 50;

std::size_t number_in(std::string_view text, std::size_t otherwise) {
    std::size_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error != std::errc() || end != text.data() + text.size() || value == 0 ? otherwise : value;
}

std::string cursor_at(const message& m, std::string_view order, std::string_view direction) {
    return base64url(json::serialize(json::object{{"id", m.id}, {"order", order}, {"direction", direction}}));
}

rest_response web_application(const http_request& request) {
    if (request.method == "GET" || request.method == "HEAD")
        return {200, "text/html", "<!doctype html><title>OpenCode</title>\n", {}};
    return {405, {}, {}, {}};
}

bool is_api(std::string_view path) {
    return path.starts_with("/api/") || path.starts_with("/auth/") || path == "/openapi.json";
}

} // namespace

std::optional<rest_response> rest::before_credentials(const http_request& request) const {
    if (!model_.spoken().serves_pages || is_api(request.path))
        return std::nullopt;
    return web_application(request);
}

std::optional<rest_response> rest::check_credentials(const http_request& request) const {
    if (carries_credentials(request, "opencode", settings_.password))
        return std::nullopt;
    const bool is_current = model_.spoken().is_current;
    return rest_response{401,
                         is_current ? "application/json" : "",
                         is_current ? R"({"_tag":"UnauthorizedError","message":"Authentication required"})"
                                    : "",
                         {{"WWW-Authenticate", "Basic realm=\"Secure Area\""}}};
}

json::object rest::identity(bool healthy) const {
    json::object out;
    if (!model_.spoken().is_current)
        out["healthy"] = healthy;
    out["version"] = model_.version();
    out["pid"] = 4711;
    if (model_.spoken().is_current) {
        out["urls"] = json::array();
        out["paths"] = {{"tmp", "/tmp"}};
    }
    return out;
}

rest_response rest::starting(const http_request& request) const {
    const bool asks_who = request.path == "/api/" + std::string(model_.spoken().identity);
    const json::object code{{"code", "service_starting"}};
    return {
        503, "application/json", json::serialize(asks_who ? identity(true) : code), {{"Retry-After", "1"}}};
}

bool rest::is_unreadable(const std::string& directory) const {
    const auto& all = settings_.unreadable;
    return std::find(all.begin(), all.end(), directory) != all.end();
}

void rest::handle(const http_request& request, reply done) {
    call c{request, request.segments(), {}, std::move(done)};
    if (c.path.empty() || c.path[0] != "api") {
        c.nothing_here();
        return;
    }
    c.path.erase(c.path.begin());
    if (!request.body.empty()) {
        boost::system::error_code failed;
        auto body = json::parse(request.body, failed);
        if (failed || !body.is_object()) {
            c.invalid("Invalid JSON: SyntaxError: JSON Parse error: Expected '}'");
            return;
        }
        c.body = std::move(body.get_object());
    }
    routes(c);
}

void rest::routes(const call& c) {
    const auto first = c.path.empty() ? std::string() : c.path[0];
    const bool is_current = model_.spoken().is_current;
    if (c.is("GET", 1, model_.spoken().identity))
        c.json(identity(true));
    else if (c.is("GET", 1, "location"))
        c.json({{"directory", settings_.directory}});
    else if (first == "session")
        session_routes(c);
    else if (c.is("GET", 2, "request") && first == "permission")
        asks_of_a_place(c, false);
    else if (c.is("GET", 2, "saved") && first == "permission")
        c.data(model_.saved_rules());
    else if (first == "form" && (is_current ? c.is("GET", 1) : c.is("GET", 2, "request")))
        asks_of_a_place(c, true);
    else if (is_current && c.is("POST", 4, "wait") && first == "experimental" && model_.find(c.path[2]))
        model_.when_idle(*model_.find(c.path[2]), [done = c.done] { done(rest_response{204, {}, {}, {}}); });
    else
        c.nothing_here();
}

void rest::asks_of_a_place(const call& c, bool forms) {
    const auto asked = c.query("location[directory]");
    const auto directory = asked.empty() ? settings_.directory : std::string(asked);
    json::object out;
    out["location"] = {{"directory", directory}};
    out["data"] = model_.asks(nullptr, directory, forms);
    c.json(out);
}

void rest::session_routes(const call& c) {
    if (c.is("GET", 1)) {
        list(c);
        return;
    }
    if (c.is("POST", 1)) {
        create(c);
        return;
    }
    if (c.is("GET", 2, "active")) {
        c.data(model_.active());
        return;
    }
    const auto& id = c.path[1];
    if (!id.starts_with("ses_")) {
        c.error(400, "InvalidRequestError", "Invalid session ID", {{"field", "sessionID"}});
        return;
    }
    session* s = model_.find(id);
    if (!s)
        c.error(404, "SessionNotFoundError", "Session not found: " + id, {{"sessionID", id}});
    else
        one_session(c, *s);
}

void rest::create(const call& c) {
    const auto parent = std::string(text_at(c.body, "parentID"));
    if (!parent.empty() && !model_.find(parent)) {
        c.error(404, "SessionNotFoundError", "Session not found: " + parent, {{"sessionID", parent}});
        return;
    }
    auto directory = settings_.directory;
    if (const auto* location = c.body.if_contains("location"); location && location->is_object())
        directory = text_at(location->get_object(), "directory");
    if (!directory.starts_with('/')) {
        c.done(rest_response{500, {}, {}, {}});
        return;
    }
    const auto id = text_at(c.body, "id");
    session* known = id.empty() ? nullptr : model_.find(id);
    c.data(model_.info(known ? *known : model_.create_session(directory, c.body)));
}

void rest::list(const call& c) {
    auto all = model_.sessions();
    if (c.query("order") != "asc")
        std::reverse(all.begin(), all.end());
    const auto limit = number_in(c.query("limit"), most_sessions);
    json::array out;
    for (const auto* s : all) {
        const bool is_wanted = (c.query("directory").empty() || s->directory == c.query("directory")) &&
                               (c.query("parentID") != "null" || s->parent.empty()) &&
                               s->title.find(c.query("search")) != std::string::npos;
        if (is_wanted && out.size() < limit)
            out.push_back(model_.info(*s));
    }
    json::object answer;
    answer["data"] = std::move(out);
    answer["cursor"] = {{"previous", nullptr}, {"next", nullptr}};
    c.json(answer);
}

void rest::one_session(const call& c, session& s) {
    const auto& spoken = model_.spoken();
    const std::string_view what = c.path.size() > 2 ? std::string_view(c.path[2]) : std::string_view();
    if (c.is("GET", 2))
        c.data(model_.info(s));
    else if (c.is("POST", 3, "prompt"))
        post_prompt(c, s, "user");
    else if (c.is("POST", 3, "synthetic"))
        post_prompt(c, s, "synthetic");
    else if (c.is("POST", 3, "compact"))
        post_prompt(c, s, "compaction");
    else if (c.is("POST", 3, "interrupt"))
        post_interrupt(c, s);
    else if (what == spoken.inbox)
        inbox_routes(c, s);
    else if (what == "message" || what == "context")
        message_routes(c, s);
    else if (what == "permission")
        permission_routes(c, s);
    else if (what == "form")
        form_routes(c, s);
    else if (c.is("GET", 3, "question"))
        c.data(json::array());
    else
        changes(c, s);
}

/// What changes the session itself, or waits for it.
void rest::changes(const call& c, session& s) {
    const bool is_current = model_.spoken().is_current;
    const auto no_content = [done = c.done] {
        done(rest_response{204, {}, {}, {}});
    };
    if (c.is("DELETE", 2)) {
        model_.remove(s);
        c.no_content();
    } else if (is_current ? c.is("PATCH", 2) : c.is("POST", 3, "rename")) {
        model_.rename(s, text_at(c.body, "title"));
        c.no_content();
    } else if (c.is("POST", 3, "agent")) {
        model_.select_agent(s, text_at(c.body, "agent"));
        c.no_content();
    } else if (const auto* chosen = c.body.if_contains("model");
               c.is("POST", 3, "model") && chosen && chosen->is_object()) {
        model_.select_model(s, chosen->get_object());
        c.no_content();
    } else if (c.is("POST", 3, "shell")) {
        model_.shell(s, std::string(text_at(c.body, "command")), no_content);
    } else if (is_current && c.is("POST", 3, "resume")) {
        model_.wake(s);
        model_.when_idle(s, no_content);
    } else if (!is_current && c.is("POST", 3, "wait")) {
        model_.when_idle(s, no_content);
    } else {
        c.nothing_here();
    }
}

void rest::post_prompt(const call& c, session& s, std::string_view type) {
    const bool has_text = type != "compaction";
    if (has_text && (!c.body.contains("text") || !c.body.at("text").is_string())) {
        c.invalid("Missing key\n  at [\"text\"]");
        return;
    }
    const auto id = text_at(c.body, "id");
    if (!id.empty() && !id.starts_with("msg_")) {
        c.invalid("Expected a string starting with \"msg_\", got \"" + std::string(id) + "\"\n  at [\"id\"]");
        return;
    }
    const auto delivery = text_at(c.body, "delivery");
    if (!delivery.empty() && delivery != "steer" && delivery != "queue") {
        c.invalid("Expected \"steer\" | \"queue\", got \"" + std::string(delivery) +
                  "\"\n  at [\"delivery\"]");
        return;
    }
    if (is_unreadable(s.directory)) { // it is not there
        if (model_.spoken().is_current)
            c.error(404, "LocationNotFoundError", "Location not found");
        else
            c.done(rest_response{500, {}, {}, {}});
        return;
    }
    input item{id.empty() ? model_.new_message_id() : std::string(id),
               std::string(type),
               delivery.empty() ? "steer" : std::string(delivery),
               {},
               0};
    for (const auto* key : {"text", "files", "agents", "metadata", "description"})
        if (const auto* value = c.body.if_contains(key))
            item.payload[key] = *value;
    const auto* resume = c.body.if_contains("resume");
    json::object stored;
    const auto posted = model_.prompt(s, item, !resume || *resume != false, stored);
    if (posted == model::posted::stored)
        c.data(std::move(stored));
    else
        c.error(409, "ConflictError",
                "Prompt message ID conflicts with an existing durable record: " + item.id,
                {{"resource", item.id}});
}

/// Current servers answer when it is accepted, the others when it is settled.
void rest::post_interrupt(const call& c, session& s) {
    const bool goes_on = c.query("resume") == "true";
    if (model_.spoken().is_current) {
        const bool any = model_.interrupt(s, goes_on, [] {});
        c.json({{"interrupted", any}});
        return;
    }
    (void)model_.interrupt(s, goes_on, [done = c.done] { done(rest_response{204, {}, {}, {}}); });
}

void rest::inbox_routes(const call& c, session& s) {
    const bool changes = model_.spoken().cancels_queued;
    if (c.is("GET", 3)) {
        c.data(model_.waiting(s));
    } else if (changes && c.is("DELETE", 4)) {
        model_.cancel(s, c.path[3]);
        c.no_content();
    } else if (changes && c.is("PATCH", 4)) {
        model_.set_delivery(s, c.path[3], std::string(text_at(c.body, "delivery")));
        c.no_content();
    } else {
        c.nothing_here();
    }
}

void rest::message_routes(const call& c, session& s) {
    if (c.is("GET", 3)) {
        message_list(c, s);
        return;
    }
    const message* m = c.is("GET", 4) ? model::find_message(s, c.path[3]) : nullptr;
    if (m)
        c.data(m->row);
    else
        c.error(404, "MessageNotFoundError", "Message not found: " + c.path.back(),
                {{"sessionID", s.id}, {"messageID", c.path.back()}});
}

/// Whole pages carry a cursor also where nothing is behind it.
void rest::message_list(const call& c, session& s) {
    std::string order = c.query("order") == "asc" ? "asc" : "desc";
    std::string from;
    if (const auto cursor = c.query("cursor"); !cursor.empty()) {
        boost::system::error_code failed;
        const auto read = json::parse(base64_decode(cursor).value_or(""), failed);
        if (failed || !read.is_object()) {
            c.error(400, "InvalidRequestError", "Invalid cursor", {{"field", "cursor"}});
            return;
        }
        from = text_at(read.get_object(), "id");
        order = text_at(read.get_object(), "order");
    }
    std::vector<const message*> all;
    for (const auto& m : s.messages)
        all.push_back(m.get());
    if (order == "desc")
        std::reverse(all.begin(), all.end());
    auto at = all.begin();
    if (!from.empty()) {
        at = std::find_if(all.begin(), all.end(), [&](const message* m) { return m->id == from; });
        at = at == all.end() ? at : std::next(at);
    }
    const auto left = static_cast<std::size_t>(all.end() - at);
    const auto count = std::min(left, std::min(number_in(c.query("limit"), most_messages), most_messages));
    json::array rows;
    for (auto m = at; m != at + static_cast<std::ptrdiff_t>(count); ++m)
        rows.push_back((*m)->row);
    json::object out;
    out["data"] = std::move(rows);
    out["cursor"] = {{"previous", nullptr}, {"next", nullptr}};
    if (count > 0)
        out["cursor"] = {{"previous", cursor_at(**at, order, "previous")},
                         {"next", cursor_at(*at[static_cast<std::ptrdiff_t>(count) - 1], order, "next")}};
    c.json(out);
}

/// Only by way of the session that asks, never of its parent.
void rest::permission_routes(const call& c, session& s) {
    if (c.is("GET", 3)) {
        c.data(model_.asks(&s, {}, false));
        return;
    }
    if (c.path.size() < 4) {
        c.nothing_here();
        return;
    }
    const auto& id = c.path[3];
    const ask* asked = model_.find_ask(id, false);
    if (!asked || asked->session != s.id) {
        c.error(404, "PermissionNotFoundError", "Permission request not found: " + id, {{"requestID", id}});
    } else if (c.is("GET", 4)) {
        c.data(asked->listed);
    } else if (c.is("POST", 5, "reply")) {
        const auto decision = text_at(c.body, model_.spoken().decision);
        if (decision != "once" && decision != "always" && decision != "reject") {
            c.invalid("Missing key\n  at [\"" + std::string(model_.spoken().decision) + "\"]");
            return;
        }
        model_.reply_permission(id, std::string(decision), std::string(text_at(c.body, "message")));
        c.no_content();
    } else {
        c.nothing_here();
    }
}

void rest::form_routes(const call& c, session& s) {
    if (c.is("GET", 3)) {
        c.data(model_.asks(&s, {}, true));
        return;
    }
    if (c.path.size() < 4) {
        c.nothing_here();
        return;
    }
    const auto& id = c.path[3];
    const bool is_current = model_.spoken().is_current;
    const auto state = model_.form_state(s, id);
    const ask* asked = model_.find_ask(id, true);
    const bool answers = c.is("POST", 5, "reply");
    const bool cancels = is_current ? c.is("DELETE", 4) : c.is("POST", 5, "cancel");
    if (state.empty()) {
        c.error(404, "FormNotFoundError", "Form not found: " + id, {{"id", id}});
    } else if (!is_current && c.is("GET", 5, "state")) {
        c.data({{"status", state}});
    } else if (c.is("GET", 4)) {
        auto form = asked ? asked->listed : json::object{{"id", id}, {"sessionID", s.id}};
        if (is_current)
            form["state"] = {{"status", state}};
        c.data(form);
    } else if ((answers || cancels) && !asked) {
        c.error(409, "FormAlreadySettledError", "Form already settled: " + id, {{"id", id}});
    } else if (answers) {
        answer_form(c, *asked);
    } else if (cancels) {
        model_.cancel_form(id);
        c.no_content();
    } else {
        c.nothing_here();
    }
}

/// A field may stay without an answer; one that is not asked for may not be answered.
void rest::answer_form(const call& c, const ask& asked) {
    const auto* answer = c.body.if_contains("answer");
    if (!answer || !answer->is_object()) {
        c.invalid("Missing key\n  at [\"answer\"]");
        return;
    }
    for (const auto& [key, value] : answer->get_object()) {
        const auto& fields = asked.listed.at("fields").as_array();
        const bool is_asked = std::any_of(fields.begin(), fields.end(),
                                          [&, name = std::string_view(key)](const json::value& field) {
                                              return text_at(field.as_object(), "key") == name;
                                          });
        if (!is_asked) {
            c.error(400, "FormInvalidAnswerError", "Unknown form field: " + std::string(key),
                    {{"id", asked.id}});
            return;
        }
    }
    model_.reply_form(asked.id, answer->get_object());
    c.no_content();
}

} // namespace holdfast::testing::detail::sim2
