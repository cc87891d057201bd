#include <holdfast/testing/sim_rest.hpp>

#include <algorithm>
#include <charconv>

namespace holdfast::testing::detail {

/// A request on its way through the routes.
struct rest::call {
    const http_request& request;
    std::vector<std::string> path;
    std::string directory;
    json::object body;
    reply done;

    [[nodiscard]] bool is(std::string_view method, std::size_t segments) const {
        return request.method == method && path.size() == segments;
    }
    void json(const json::value& value, unsigned status = 200, http_headers headers = {}) const {
        done(rest_response{status, "application/json", json::serialize(value), std::move(headers)});
    }
};

namespace {

json::object named_error(std::string_view name, std::string_view message) {
    json::object data;
    data["message"] = message;
    json::object out;
    out["name"] = name;
    out["data"] = std::move(data);
    return out;
}

void bad_request(const rest::reply& done, std::string_view message) {
    auto error = named_error("BadRequest", message);
    error["data"].as_object()["kind"] = "Body";
    done(rest_response{400, "application/json", json::serialize(error), {}});
}

void not_found(const rest::reply& done, std::string_view message) {
    done(rest_response{404, "application/json", json::serialize(named_error("NotFoundError", message)), {}});
}

/// The shape of errors that nobody foresaw.
void unknown_error(const rest::reply& done, engine& e, std::string_view message) {
    auto error = named_error("UnknownError", message);
    error["data"].as_object()["ref"] = e.error_reference();
    done(rest_response{500, "application/json", json::serialize(error), {}});
}

void no_content(const rest::reply& done) {
    done(rest_response{204, {}, {}, {}});
}

void web_page(const rest::reply& done) {
    done(rest_response{200, "text/html", "<!doctype html><title>OpenCode</title>\n", {}});
}

json::object with_parts(const message& m) {
    json::array parts;
    for (const auto& part : m.parts)
        parts.push_back(part);
    json::object out;
    out["info"] = m.info;
    out["parts"] = std::move(parts);
    return out;
}

std::optional<std::size_t> number(const http_request& request, const std::string& name) {
    const auto found = request.query.find(name);
    if (found == request.query.end())
        return std::nullopt;
    std::size_t value = 0;
    const auto& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

/// Absolute, without "." and "..", doubled slashes and a trailing one.
std::string normalise(std::string_view directory) {
    std::vector<std::string_view> kept;
    while (!directory.empty()) {
        const auto end = directory.find('/');
        const auto name = directory.substr(0, end);
        directory.remove_prefix(end == std::string_view::npos ? directory.size() : end + 1);
        if (name == ".." && !kept.empty())
            kept.pop_back();
        else if (!name.empty() && name != "." && name != "..")
            kept.push_back(name);
    }
    std::string out;
    for (const auto name : kept)
        out.append("/").append(name);
    return out.empty() ? "/" : out;
}

bool parts_are_parts(const json::object& body) {
    const auto* parts = body.if_contains("parts");
    if (!parts || !parts->is_array())
        return false;
    return std::all_of(parts->get_array().begin(), parts->get_array().end(), [](const json::value& part) {
        return part.is_object() && !text_at(part.get_object(), "type").empty();
    });
}

std::optional<std::string> text_of_file(const json::object& part) {
    constexpr std::string_view start = "data:text/plain;base64,";
    const auto url = text_at(part, "url");
    if (text_at(part, "type") != "file" || !url.starts_with(start))
        return std::nullopt;
    return base64_decode(url.substr(start.size()));
}

/// The body with what the server makes of a file of plain text: it is as though the model had read it.
json::object with_files_read(json::object body) {
    auto* given = body.if_contains("parts");
    if (!given || !given->is_array())
        return body;
    json::array parts;
    for (auto& each : given->get_array()) {
        if (const auto text = each.is_object() ? text_of_file(each.get_object()) : std::nullopt) {
            json::object input;
            input["filePath"] = text_at(each.get_object(), "filename");
            for (const auto& said :
                 {"Called the Read tool with the following input: " + json::serialize(input), *text}) {
                json::object part;
                part["type"] = "text";
                part["synthetic"] = true;
                part["text"] = said;
                parts.push_back(std::move(part));
            }
        }
        parts.push_back(std::move(each));
    }
    *given = std::move(parts);
    return body;
}

bool is_array_of_arrays(const json::value* value) {
    return value && value->is_array() &&
           std::all_of(value->get_array().begin(), value->get_array().end(),
                       [](const json::value& inner) { return inner.is_array(); });
}

} // namespace

rest_response rest_true() {
    return {200, "application/json", "true", {}};
}

rest_response rest_fault(unsigned status) {
    rest_response out{status, "application/json", "{\"error\":\"injected fault\"}", {}};
    if (status == 429 || status == 503)
        out.headers.emplace_back("Retry-After", "1");
    if (status == 204)
        out.body.clear();
    return out;
}

rest_response rest_web_page() {
    return {200, "text/html", "<!doctype html><title>Welcome to this network</title>\n", {}};
}

bool carries_credentials(const http_request& request, std::string_view user, std::string_view password) {
    if (password.empty())
        return true;
    const auto wanted = std::string(user) + ":" + std::string(password);
    const auto header = request.header("authorization");
    if (header.starts_with("Basic ") && base64_decode(header.substr(6)) == wanted)
        return true;
    const auto token = request.query.find("auth_token");
    return token != request.query.end() && base64_decode(token->second) == wanted;
}

std::optional<rest_response> rest::check_credentials(const http_request& request) const {
    if (carries_credentials(request, settings_.username, settings_.password))
        return std::nullopt;
    const bool api = request.path.starts_with("/api/");
    return rest_response{401,
                         api ? "application/json" : "",
                         api ? "{\"_tag\":\"UnauthorizedError\"}" : "",
                         {{"WWW-Authenticate", "Basic realm=\"Secure Area\""}}};
}

bool rest::is_unreadable(const std::string& directory) const {
    const auto& all = settings_.unreadable;
    return std::find(all.begin(), all.end(), directory) != all.end();
}

std::string rest::directory_of(const http_request& request) const {
    const auto query = request.query.find("directory");
    if (query != request.query.end() && !query->second.empty())
        return normalise(query->second);
    const auto header = request.header("x-opencode-directory");
    return normalise(header.empty() ? settings_.directory : percent_decode(header));
}

void rest::handle(const http_request& request, reply done) {
    call c{request, request.segments(), directory_of(request), {}, std::move(done)};
    if (c.path.empty() || request.method == "HEAD") {
        web_page(c.done);
        return;
    }
    if (!request.body.empty()) {
        boost::system::error_code failed;
        auto body = json::parse(request.body, failed);
        if (failed) {
            unknown_error(c.done, engine_, "JSON Parse error: Unexpected token");
            return;
        }
        if (!body.is_object()) {
            bad_request(c.done, "Expected object");
            return;
        }
        c.body = std::move(body.get_object());
    }
    const auto& first = c.path[0];
    if (c.is("GET", 2) && first == "global" && c.path[1] == "health")
        c.json({{"healthy", true}, {"version", settings_.version}});
    else if (c.is("GET", 1) && first == "path")
        c.json({{"directory", c.directory}, {"worktree", "/"}});
    else if (c.is("GET", 1) && first == "file" && is_unreadable(c.directory))
        unknown_error(c.done, engine_, "Unexpected server error. Check server logs for details.");
    else if (c.is("GET", 1) && first == "file")
        c.json(json::array());
    else if (c.is("GET", 1) && first == "command")
        c.json(engine::commands());
    else if (first == "session")
        session_routes(c);
    else if (first == "permission" || first == "question")
        ask_routes(c, first == "question");
    else
        web_page(c.done);
}

void rest::session_routes(const call& c) {
    if (c.is("GET", 1)) {
        list_sessions(c);
        return;
    }
    if (c.is("POST", 1)) {
        const auto parent = std::string(text_at(c.body, "parentID"));
        if (!parent.empty() && !engine_.find(parent))
            not_found(c.done, "Session not found: " + parent);
        else
            c.json(engine_.create_session(c.directory, c.body).info);
        return;
    }
    if (c.is("GET", 2) && c.path[1] == "status") {
        c.json(engine_.statuses(c.directory));
        return;
    }
    if (c.path.size() < 2) {
        web_page(c.done);
        return;
    }
    const auto& id = c.path[1];
    if (c.is("POST", 3) && c.path[2] == "abort") {
        engine_.abort(id, c.directory, [done = c.done] { done(rest_true()); });
        return;
    }
    if (!id.starts_with("ses")) {
        if (c.request.method == "GET")
            unknown_error(c.done, engine_, "Expected a string starting with \"ses\", got \"" + id + "\"");
        else
            bad_request(c.done, "Expected a string starting with \"ses\", got \"" + id + "\"");
        return;
    }
    session* s = engine_.find(id);
    if (!s)
        not_found(c.done, "Session not found: " + id);
    else
        one_session(c, *s);
}

void rest::list_sessions(const call& c) {
    auto all = engine_.sessions();
    const auto limit = number(c.request, "limit").value_or(100);
    const auto search = c.request.query.find("search");
    const auto roots = c.request.query.find("roots");
    json::array out;
    for (auto s = all.rbegin(); s != all.rend() && out.size() < limit; ++s) {
        const bool wanted =
            (*s)->directory == c.directory &&
            (roots == c.request.query.end() || roots->second != "true" || (*s)->parent.empty()) &&
            (search == c.request.query.end() ||
             text_at((*s)->info, "title").find(search->second) != std::string_view::npos);
        if (wanted)
            out.push_back((*s)->info);
    }
    c.json(out);
}

void rest::one_session(const call& c, session& s) {
    const std::string_view what = c.path.size() > 2 ? std::string_view(c.path[2]) : std::string_view();
    if (c.is("GET", 2)) {
        c.json(s.info);
    } else if (c.is("PATCH", 2)) {
        if (const auto title = text_at(c.body, "title"); !title.empty())
            engine_.rename(s, title);
        c.json(s.info);
    } else if (c.is("DELETE", 2)) {
        engine_.remove(s);
        c.done(rest_true());
    } else if (c.is("GET", 3) && what == "children") {
        json::array out;
        for (const auto* child : engine_.sessions())
            if (child->parent == s.id)
                out.push_back(child->info);
        c.json(out);
    } else if (c.is("GET", 3) && what == "message") {
        message_list(c, s);
    } else if (c.is("GET", 4) && what == "message") {
        one_message(c, s);
    } else if (c.is("POST", 3) && (what == "prompt_async" || what == "message")) {
        post_prompt(c, s, what == "message");
    } else if (c.is("POST", 3) && what == "command") {
        post_command(c, s);
    } else if (c.is("POST", 3) && what == "shell") {
        if (s.run.now != run::phase::none)
            unknown_error(c.done, engine_, "Session is busy");
        else
            engine_.shell(s, std::string(text_at(c.body, "command")), [&s, done = c.done] {
                done({200, "application/json", json::serialize(with_parts(*s.messages.back())), {}});
            });
    } else if (c.is("POST", 4) && what == "permissions") {
        reply_permission(c, c.path[3], s.directory, "response");
    } else {
        web_page(c.done);
    }
}

void rest::message_list(const call& c, session& s) {
    std::size_t end = s.messages.size();
    if (const auto before = c.request.query.find("before"); before != c.request.query.end()) {
        const auto id = base64_decode(before->second).value_or("");
        end = 0;
        while (end < s.messages.size() && s.messages[end]->id != id)
            ++end;
        if (end == s.messages.size()) {
            bad_request(c.done, "Invalid cursor");
            return;
        }
    }
    const auto limit = number(c.request, "limit");
    const std::size_t begin = limit && *limit > 0 && *limit < end ? end - *limit : 0;
    http_headers headers;
    if (begin > 0) {
        const auto cursor = base64url(s.messages[begin]->id);
        headers.emplace_back("Link", "<" + c.request.path + "?limit=" + std::to_string(*limit) +
                                         "&before=" + cursor + ">; rel=\"next\"");
        headers.emplace_back("X-Next-Cursor", cursor);
    }
    json::array out;
    for (std::size_t i = begin; i < end; ++i)
        out.push_back(with_parts(*s.messages[i]));
    c.json(out, 200, std::move(headers));
}

void rest::one_message(const call& c, session& s) {
    if (const message* m = engine_.find_message(s, c.path[3]))
        c.json(with_parts(*m));
    else
        not_found(c.done, "Message not found: " + c.path[3]);
}

void rest::post_prompt(const call& c, session& s, bool blocking) {
    if (!parts_are_parts(c.body)) {
        bad_request(c.done, "Missing key at [\"parts\"]");
        return;
    }
    const auto id = text_at(c.body, "messageID");
    if (!id.empty() && !id.starts_with("msg")) {
        bad_request(c.done, "Expected a string starting with \"msg\"");
        return;
    }
    auto body = with_files_read(c.body);
    if (!blocking) {
        no_content(c.done);
        if (is_unreadable(s.directory))
            body["noReply"] = true; // it is stored, and its loop dies at its first step
        engine_.prompt(s, body, [] {});
        return;
    }
    const auto* silent = body.if_contains("noReply");
    const bool no_reply = silent && silent->is_bool() && silent->get_bool();
    const auto answered = [this, no_reply, id = s.id, done = c.done] {
        session* now = engine_.find(id);
        if (!now || now->messages.empty()) {
            not_found(done, "Session not found: " + id);
            return;
        }
        // The last answer; without a reply wanted, or with no model to give one, there may be none.
        const auto& messages = now->messages;
        if (!no_reply && !engine_.known_model(*now) && messages.back()->user)
            unknown_error(done, engine_, "ProviderModelNotFoundError: Model not found");
        else
            done({200, "application/json", json::serialize(with_parts(*messages.back())), {}});
    };
    if (engine_.prompt(s, body, answered) == engine::posted::unknown_agent)
        unknown_error(c.done, engine_, "Agent not found: \"" + std::string(text_at(c.body, "agent")) + "\"");
}

void rest::post_command(const call& c, session& s) {
    for (const auto* key : {"command", "arguments"}) {
        const auto* value = c.body.if_contains(key);
        if (!value || !value->is_string())
            return bad_request(c.done, "Missing key at [\"" + std::string(key) + "\"]");
    }
    if (const auto id = text_at(c.body, "messageID"); !id.empty() && !id.starts_with("msg"))
        return bad_request(c.done, "Expected a string starting with \"msg\"");
    if (const auto agent = text_at(c.body, "agent"); !agent.empty() && !engine::known_agent(agent))
        return unknown_error(c.done, engine_, "Unexpected server error. Check server logs for details.");
    const auto answered = [&s, done = c.done] {
        if (s.messages.empty())
            not_found(done, "Session not found: " + s.id);
        else
            done({200, "application/json", json::serialize(with_parts(*s.messages.back())), {}});
    };
    if (!engine_.command(s, with_files_read(c.body), answered))
        unknown_error(c.done, engine_, "Unexpected server error. Check server logs for details.");
}

void rest::ask_routes(const call& c, bool question) {
    if (c.is("GET", 1)) {
        c.json(engine_.asks(c.directory, question));
        return;
    }
    if (c.request.method != "POST" || c.path.size() != 3) {
        web_page(c.done);
        return;
    }
    const auto& id = c.path[1];
    if (!question) {
        if (c.path[2] == "reply")
            reply_permission(c, id, c.directory, "reply");
        else
            web_page(c.done);
        return;
    }
    if (!engine_.find_ask(id, c.directory, true)) {
        c.json({{"_tag", "QuestionNotFoundError"},
                {"requestID", id},
                {"message", "Question request not found: " + id}},
               404);
        return;
    }
    if (c.path[2] == "reject") {
        engine_.reject_question(id);
        c.done(rest_true());
        return;
    }
    const auto* answers = c.body.if_contains("answers");
    if (c.path[2] != "reply" || !is_array_of_arrays(answers)) {
        bad_request(c.done, "Missing key at [\"answers\"]");
        return;
    }
    engine_.reply_question(id, answers->get_array());
    c.done(rest_true());
}

void rest::reply_permission(const call& c, const std::string& id, const std::string& directory,
                            std::string_view key) {
    if (!engine_.find_ask(id, directory, false)) {
        c.json({{"_tag", "PermissionNotFoundError"},
                {"requestID", id},
                {"message", "Permission request not found: " + id}},
               404);
        return;
    }
    const auto reply = text_at(c.body, key);
    if (reply != "once" && reply != "always" && reply != "reject") {
        bad_request(c.done, "Expected \"once\" | \"always\" | \"reject\" at [\"" + std::string(key) + "\"]");
        return;
    }
    engine_.reply_permission(id, std::string(reply), std::string(text_at(c.body, "message")));
    c.done(rest_true());
}

} // namespace holdfast::testing::detail
