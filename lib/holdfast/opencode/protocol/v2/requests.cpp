#include <holdfast/opencode/protocol/v2/requests.hpp>

#include <holdfast/http/url.hpp>
#include <holdfast/retry/failure.hpp>
#include <holdfast/sse/utf8.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <initializer_list>
#include <utility>

namespace holdfast::opencode::v2 {

namespace {

namespace json = boost::json;

const std::string sessions = "/api/session";

// What a user gives may be any bytes, and JSON is UTF-8.
std::string text_of(const json::object& body) {
    return sse::to_valid_utf8(json::serialize(body));
}

void add(json::object& body, std::string_view name, std::string_view value) {
    if (!value.empty())
        body[name] = value;
}

/// A path: what stands between the ids, and the ids.
class path {
public:
    explicit path(std::string_view session) : text_(sessions) { id(session); }

    path& then(std::string_view literal) {
        text_ += literal;
        return *this;
    }
    path& id(std::string_view id) {
        if (!is_usable_id(id))
            is_usable_ = false;
        else
            text_ += '/' + http::percent_encode(id);
        return *this;
    }
    [[nodiscard]] result<request> with(std::string_view method, std::string body = {}) {
        if (!is_usable_)
            return retry::make_failure(errc::invalid_request,
                                       "an id is empty, too long, or would lead elsewhere");
        return request{std::string(method), std::move(text_), std::move(body)};
    }

private:
    std::string text_;
    bool is_usable_ = true;
};

std::string in_location(std::string_view route, std::string_view directory) {
    std::string target(route);
    if (!directory.empty())
        target += "?location%5Bdirectory%5D=" + http::percent_encode(directory);
    return target;
}

failure not_spoken(const dialect& d, std::string_view what) {
    return retry::make_failure(errc::unsupported_version,
                               std::string(d.name) + " cannot " + std::string(what));
}

json::object model_of(std::string_view name, std::string_view variant) {
    const auto slash = std::min(name.find('/'), name.size());
    json::object model;
    model["id"] = name.substr(std::min(slash + 1, name.size()));
    model["providerID"] = name.substr(0, slash);
    add(model, "variant", variant);
    return model;
}

json::value answer_of(const std::vector<std::string>& chosen) {
    if (chosen.size() == 1)
        return json::value(chosen.front());
    json::array all;
    for (const auto& each : chosen)
        all.push_back(json::value(each));
    return all;
}

} // namespace

request identity(const dialect& d) {
    return {"GET", std::string(d.identity), {}};
}

request create(const new_session& what) {
    json::object body;
    add(body, "title", what.title);
    add(body, "agent", what.agent);
    if (!what.model.empty())
        body["model"] = model_of(what.model, {});
    add(body, "parentID", what.parent);
    if (!what.directory.empty()) {
        json::object location;
        location["directory"] = what.directory;
        body["location"] = std::move(location);
    }
    return {"POST", sessions, text_of(body)};
}

request list(std::string_view directory, std::size_t limit, bool roots) {
    std::string target = sessions;
    const auto ask = [&](std::string_view member, const std::string& value) {
        target += target.find('?') == std::string::npos ? '?' : '&';
        target += std::string(member) + '=' + value;
    };
    if (limit != 0)
        ask("limit", std::to_string(limit));
    if (!directory.empty())
        ask("directory", http::percent_encode(directory));
    if (roots)
        ask("parentID", "null");
    return {"GET", std::move(target), {}};
}

result<request> children(std::string_view session, std::size_t limit) {
    if (!is_usable_id(session))
        return path(session).with("GET");
    return request{"GET",
                   sessions + "?parentID=" + http::percent_encode(session) +
                       "&limit=" + std::to_string(limit),
                   {}};
}

request active() {
    return {"GET", sessions + "/active", {}};
}

result<request> get(std::string_view session) {
    return path(session).with("GET");
}

result<request> remove(std::string_view session) {
    return path(session).with("DELETE");
}

result<request> rename(const dialect& d, std::string_view session, std::string_view title) {
    json::object body;
    body["title"] = title;
    if (d.patches_sessions)
        return path(session).with("PATCH", text_of(body));
    return path(session).then("/rename").with("POST", text_of(body));
}

result<request> set_agent(std::string_view session, std::string_view agent) {
    json::object body;
    body["agent"] = agent;
    return path(session).then("/agent").with("POST", text_of(body));
}

result<request> set_model(std::string_view session, std::string_view model, std::string_view variant) {
    json::object body;
    body["model"] = model_of(model, variant);
    return path(session).then("/model").with("POST", text_of(body));
}

result<request> prompt(std::string_view session, const new_prompt& what) {
    json::object body;
    add(body, "id", what.id);
    body["text"] = what.text;
    add(body, "delivery", what.delivery);
    if (!what.resume)
        body["resume"] = false;
    return path(session).then("/prompt").with("POST", text_of(body));
}

result<request> inbox(const dialect& d, std::string_view session) {
    return path(session).then(d.inbox).with("GET");
}

result<request> cancel_queued(const dialect& d, std::string_view session, std::string_view prompt) {
    if (!d.can_cancel_queued)
        return not_spoken(d, "cancel a prompt that waits");
    return path(session).then(d.inbox).id(prompt).with("DELETE");
}

result<request> interrupt(std::string_view session) {
    return path(session).then("/interrupt").with("POST");
}

result<request> messages(std::string_view session, const message_query& which) {
    auto query = "?limit=" + std::to_string(std::clamp(which.limit, 1u, message_query::most));
    if (which.cursor.empty())
        query += which.ascending ? "&order=asc" : "&order=desc";
    else
        query += "&cursor=" + http::percent_encode(which.cursor);
    return path(session).then("/message" + query).with("GET");
}

result<request> message(std::string_view session, std::string_view id) {
    return path(session).then("/message").id(id).with("GET");
}

result<request> permissions(std::string_view session) {
    return path(session).then("/permission").with("GET");
}

request permissions_in(std::string_view directory) {
    return {"GET", in_location("/api/permission/request", directory), {}};
}

result<request> reply_permission(const dialect& d, std::string_view session, std::string_view id,
                                 std::string_view decision, std::string_view message) {
    json::object body;
    body[d.decision] = decision;
    add(body, "message", message);
    return path(session).then("/permission").id(id).then("/reply").with("POST", text_of(body));
}

result<request> forms(std::string_view session) {
    return path(session).then("/form").with("GET");
}

request forms_in(const dialect& d, std::string_view directory) {
    return {"GET", in_location(d.forms, directory), {}};
}

result<request> reply_form(const form& asked, const std::vector<std::vector<std::string>>& answers) {
    json::object by_key;
    for (std::size_t i = 0; i < std::min(asked.keys.size(), answers.size()); ++i)
        if (!answers[i].empty())
            by_key[asked.keys[i]] = answer_of(answers[i]);
    json::object body;
    body["answer"] = std::move(by_key);
    return path(asked.request.session_id)
        .then("/form")
        .id(asked.request.id)
        .then("/reply")
        .with("POST", text_of(body));
}

result<request> cancel_form(const dialect& d, std::string_view session, std::string_view id) {
    path target(session);
    target.then("/form").id(id);
    return d.deletes_forms ? target.with("DELETE") : target.then("/cancel").with("POST");
}

} // namespace holdfast::opencode::v2
