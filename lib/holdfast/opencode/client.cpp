#include <holdfast/opencode/client.hpp>

#include <holdfast/http/fields.hpp>
#include <holdfast/sse/utf8.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace holdfast::opencode {
namespace {

namespace json = boost::json;

std::string with_directory(std::string path, std::string_view directory) {
    if (directory.empty())
        return path;
    path += path.find('?') == std::string::npos ? '?' : '&';
    return path + "directory=" + http::percent_encode(directory);
}

std::string session_path(std::string_view session, std::string_view rest = {}) {
    return "/session/" + http::percent_encode(session) + std::string(rest);
}

template <class T, class Parse>
result<std::vector<T>> parse_list(const json::value& v, std::string_view path, Parse parse) {
    const auto* list = v.if_array();
    if (!list)
        return retry::make_failure(errc::missing_field, std::string(path) + " is not an array", true);
    std::vector<T> all;
    for (std::size_t i = 0; i < list->size(); ++i) {
        auto one = parse((*list)[i], std::string(path) + '[' + std::to_string(i) + ']');
        if (!one)
            return one.error();
        all.push_back(std::move(*one));
    }
    return all;
}

json::object part_json(const prompt_part& part) {
    json::object o;
    o["id"] = part.id;
    if (part.what == prompt_part::kind::text) {
        o["type"] = "text";
        o["text"] = part.text;
        return o;
    }
    o["type"] = "file";
    o["mime"] = part.mime;
    o["url"] = part.url;
    if (!part.filename.empty())
        o["filename"] = part.filename;
    return o;
}

// What a user gives may be any bytes, and JSON is UTF-8: mended rather than refused by the server.
std::string body_text(const json::object& body) {
    return sse::to_valid_utf8(json::serialize(body));
}

result<std::string> prompt_json(const prompt& what) {
    json::object body;
    body["messageID"] = what.message_id;
    if (!what.agent.empty())
        body["agent"] = what.agent;
    if (!what.model.empty()) {
        const auto slash = what.model.find('/');
        if (slash == std::string::npos)
            return retry::make_failure(errc::invalid_request, "a model is given as provider/model, not '" + what.model + "'");
        body["model"] = {{"providerID", what.model.substr(0, slash)}, {"modelID", what.model.substr(slash + 1)}};
    }
    if (!what.variant.empty())
        body["variant"] = what.variant;
    if (!what.system.empty())
        body["system"] = what.system;
    if (what.no_reply)
        body["noReply"] = true;
    json::array parts;
    for (const auto& each : what.parts)
        parts.push_back(part_json(each));
    body["parts"] = std::move(parts);
    if (!what.raw_json.empty()) {
        auto extra = parse_json(what.raw_json);
        if (!extra || !extra->is_object())
            return retry::make_failure(errc::invalid_request, "raw_json is not a JSON object");
        for (auto& [key, value] : extra->get_object())
            body[key] = std::move(value);
    }
    return body_text(body);
}

bool is_json(const http::response& answer) {
    return http::is_media_type(answer.head.find("Content-Type"), "application/json");
}

failure not_json(const http::response& answer, std::string_view target) {
    const std::string type(answer.head.find("Content-Type"));
    auto why = retry::make_failure(errc::not_opencode,
                                   std::string(target) + " answered with " + (type.empty() ? "no media type" : type) +
                                       " instead of application/json",
                                   true);
    why.status = answer.head.status;
    why.body = answer.body.substr(0, retry::max_failure_body);
    return why;
}

/// Why a body that should be JSON is not even looked at; nothing when it may be.
std::optional<failure> unreadable(const http::response& answer, std::string_view target) {
    if (auto why = http::refuse_compressed(answer.head.headers)) {
        why->status = answer.head.status;
        return why;
    }
    return is_json(answer) ? std::nullopt : std::optional(not_json(answer, target));
}

} // namespace

failure make_api_failure(const http::response& answer, wall_time now) {
    auto why = retry::make_status_failure(answer.head.status, answer.body.substr(0, retry::max_failure_body),
                                          http::parse_retry_after(answer.head.find("Retry-After"), now));
    if (answer.head.status == 404)
        why.code = errc::not_found;
    if (answer.head.status == 401) {
        why.message += ": it wants a user and a password, and not these";
        return why;
    }
    if (answer.body.empty())
        return why;
    const auto said = parse_error_body(answer.body);
    why.message += ": " + (said.name.empty() ? said.message : said.name + ": " + said.message);
    return why;
}

std::string id_maker::make(std::string_view prefix) {
    static constexpr std::string_view digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const auto ms = std::chrono::duration_cast<milliseconds>(world_.wall_now().time_since_epoch()).count();
    last_ = std::max(last_ + 1, static_cast<std::uint64_t>(ms) * 4096);
    std::string id(prefix);
    id += '_';
    for (int shift = 44; shift >= 0; shift -= 4)
        id += "0123456789abcdef"[(last_ >> shift) & 15];
    for (int i = 0; i < 14; ++i)
        id += digits[world_.random() % digits.size()];
    return id;
}

client::client(runtime& world, http::url base, client_config config)
    : world_(&world), base_(std::move(base)), config_(std::move(config)) {}

net::awaitable<result<http::response>> client::exchange(http::request what) {
    const auto world = world_;
    auto pass = co_await world->pass_gate(base_.where, retry::gate::kind::call, world->now(), false);
    if (pass.ridden()) {
        auto why = *pass.ridden();
        why.connected = false; // another was; this call was not even sent
        co_return why;
    }
    for (auto& each : credentials())
        what.headers.push_back(std::move(each));
    world->count(metric::requests);
    auto got = co_await http::fetch(*world, base_, std::move(what), config_.transport, config_.limits);
    if (!got) {
        world->count(metric::requests_failed);
        pass.failed(got.error());
        co_return got.error();
    }
    if (got->head.status >= 400)
        world->count(metric::requests_failed);
    if (got->head.status >= 500)
        pass.failed(make_api_failure(*got, world->wall_now()));
    else
        pass.succeeded();
    co_return std::move(*got);
}

net::awaitable<result<json::value>> client::call(std::string method, std::string target, std::string body) {
    http::request what;
    what.method = std::move(method);
    what.target = base_.with_path(target).target;
    what.headers.push_back({"Accept", "application/json"});
    if (!body.empty())
        what.headers.push_back({"Content-Type", "application/json"});
    what.body = std::move(body);
    auto got = co_await exchange(std::move(what));
    if (!got)
        co_return got.error();
    if (got->head.status >= 400 || (got->head.status >= 300 && got->head.status < 400))
        co_return make_api_failure(*got, world_->wall_now());
    if (got->head.status == 204)
        co_return json::value();
    if (auto why = unreadable(*got, target))
        co_return *std::move(why);
    auto value = parse_json(got->body);
    if (!value)
        co_return value.error();
    co_return std::move(*value);
}

net::awaitable<result<void>> client::command(std::string method, std::string target, std::string body) {
    auto done = co_await call(std::move(method), std::move(target), std::move(body));
    if (!done)
        co_return done.error();
    co_return result<void>();
}

net::awaitable<result<server_info>> client::health() {
    auto got = co_await call("GET", "/global/health", {});
    if (!got) {
        auto why = got.error();
        if (why.status == 404 || why.status == 405) {
            why = retry::make_failure(errc::not_opencode, "/global/health answered with status " + std::to_string(why.status),
                                      true);
            why.status = got.error().status;
        } else if (why.code == errc::bad_json) {
            why = retry::make_failure(errc::not_opencode, "/global/health did not answer with JSON", true);
        }
        co_return why;
    }
    const auto* object = got->if_object();
    const auto* version = object ? object->if_contains("version") : nullptr;
    if (!version || !version->is_string())
        co_return retry::make_failure(errc::not_opencode, "/global/health told no version", true);
    server_info info{std::string(version->get_string())};
    if (!info.version.starts_with("1."))
        co_return retry::make_failure(errc::unsupported_version, "it says version " + info.version + ", and this speaks 1.x",
                                      true);
    co_return info;
}

net::awaitable<result<session_info>> client::create_session(session_request what, std::string directory) {
    json::object body;
    if (!what.title.empty())
        body["title"] = what.title;
    if (!what.parent_id.empty())
        body["parentID"] = what.parent_id;
    if (!what.agent.empty())
        body["agent"] = what.agent;
    auto text = body_text(body);
    auto got = co_await call("POST", with_directory("/session", directory), std::move(text));
    if (!got)
        co_return got.error();
    co_return parse_session(*got, "session");
}

net::awaitable<result<session_info>> client::get_session(std::string session) {
    auto got = co_await call("GET", session_path(session), {});
    if (!got)
        co_return got.error();
    co_return parse_session(*got, "session");
}

net::awaitable<result<session_list>> client::list_sessions(session_query which) {
    std::string target = "/session";
    if (which.roots)
        target += "?roots=true";
    if (which.limit != 0)
        target += (which.roots ? "&limit=" : "?limit=") + std::to_string(which.limit);
    auto got = co_await call("GET", with_directory(std::move(target), which.directory), {});
    if (!got)
        co_return got.error();
    session_list all;
    const auto keep = which.keep != 0 ? which.keep : which.limit;
    if (auto* items = got->if_array(); items && keep != 0 && items->size() > keep) {
        all.left_out = items->size() - keep;
        items->resize(keep);
    }
    auto kept = parse_list<session_info>(*got, "session", parse_session);
    if (!kept)
        co_return kept.error();
    all.sessions = std::move(*kept);
    co_return all;
}

net::awaitable<result<std::vector<session_info>>> client::list_sessions(std::string directory) {
    session_query which;
    which.directory = std::move(directory);
    auto listed = co_await list_sessions(std::move(which));
    if (!listed)
        co_return listed.error();
    co_return std::move(listed->sessions);
}

net::awaitable<result<std::vector<session_info>>> client::children(std::string session) {
    auto got = co_await call("GET", session_path(session, "/children"), {});
    if (!got)
        co_return got.error();
    co_return parse_list<session_info>(*got, "children", parse_session);
}

net::awaitable<result<void>> client::delete_session(std::string session) {
    return command("DELETE", session_path(session), {});
}

net::awaitable<result<std::map<std::string, session_status>>> client::status(std::string directory) {
    auto got = co_await call("GET", with_directory("/session/status", directory), {});
    if (!got)
        co_return got.error();
    const auto* object = got->if_object();
    if (!object)
        co_return retry::make_failure(errc::missing_field, "status is not an object", true);
    std::map<std::string, session_status> all;
    for (const auto& [id, value] : *object) {
        auto one = parse_status(value, "status." + std::string(id));
        if (!one)
            co_return one.error();
        all.emplace(id, std::move(*one));
    }
    co_return all;
}

net::awaitable<result<message_page>> client::messages(std::string session, unsigned limit, std::string before) {
    std::string target = session_path(session, "/message");
    if (limit != 0)
        target += "?limit=" + std::to_string(limit);
    if (!before.empty())
        target += (limit != 0 ? "&before=" : "?before=") + http::percent_encode(before);
    http::request what;
    what.target = base_.with_path(target).target;
    what.headers.push_back({"Accept", "application/json"});
    auto got = co_await exchange(std::move(what));
    if (!got)
        co_return got.error();
    if (got->head.status >= 300)
        co_return make_api_failure(*got, world_->wall_now());
    if (auto why = unreadable(*got, target))
        co_return *std::move(why);
    const auto value = parse_json(got->body);
    if (!value)
        co_return value.error();
    auto list = parse_list<message>(*value, "message", parse_message);
    if (!list)
        co_return list.error();
    message_page page;
    page.messages = std::move(*list);
    page.before = got->head.find("X-Next-Cursor");
    co_return page;
}

net::awaitable<result<message>> client::get_message(std::string session, std::string id) {
    auto got = co_await call("GET", session_path(session, "/message/") + http::percent_encode(id), {});
    if (!got)
        co_return got.error();
    co_return parse_message(*got, "message");
}

net::awaitable<result<void>> client::prompt_async(std::string session, prompt what) {
    auto body = prompt_json(what);
    if (!body)
        co_return body.error();
    co_return co_await command("POST", session_path(session, "/prompt_async"), std::move(*body));
}

net::awaitable<result<void>> client::abort(std::string session) {
    return command("POST", session_path(session, "/abort"), {});
}

net::awaitable<result<std::vector<permission_request>>> client::permissions(std::string directory) {
    auto got = co_await call("GET", with_directory("/permission", directory), {});
    if (!got)
        co_return got.error();
    co_return parse_list<permission_request>(*got, "permission", parse_permission);
}

net::awaitable<result<void>> client::reply_permission(std::string id, std::string reply, std::string message,
                                                      std::string directory) {
    json::object body{{"reply", reply}};
    if (!message.empty())
        body["message"] = message;
    return command("POST", with_directory("/permission/" + http::percent_encode(id) + "/reply", directory),
                   body_text(body));
}

net::awaitable<result<std::vector<question_request>>> client::questions(std::string directory) {
    auto got = co_await call("GET", with_directory("/question", directory), {});
    if (!got)
        co_return got.error();
    co_return parse_list<question_request>(*got, "question", parse_question);
}

net::awaitable<result<void>> client::reply_question(std::string id, std::vector<std::vector<std::string>> answers,
                                                    std::string directory) {
    json::array list;
    for (const auto& labels : answers) {
        json::array one;
        for (const auto& label : labels)
            one.push_back(json::value(label));
        list.push_back(std::move(one));
    }
    json::object body;
    body["answers"] = std::move(list);
    return command("POST", with_directory("/question/" + http::percent_encode(id) + "/reply", directory),
                   body_text(body));
}

net::awaitable<result<void>> client::reject_question(std::string id, std::string directory) {
    return command("POST", with_directory("/question/" + http::percent_encode(id) + "/reject", directory), "{}");
}

net::awaitable<result<void>> client::dispose(std::string directory) {
    return command("POST", with_directory("/instance/dispose", directory), {});
}

std::vector<http::header> client::credentials() const {
    std::vector<http::header> headers;
    if (!config_.bearer.empty())
        headers.push_back({"Authorization", "Bearer " + config_.bearer});
    return headers;
}

http::url client::event_url(std::string_view directory) const {
    return base_.with_path(with_directory("/event", directory));
}

http::url client::global_event_url() const {
    return base_.with_path("/global/event");
}

} // namespace holdfast::opencode
