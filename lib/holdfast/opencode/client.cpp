#include <holdfast/opencode/client.hpp>

#include <holdfast/http/fields.hpp>
#include <holdfast/opencode/json_reader.hpp>
#include <holdfast/opencode/json_slices.hpp>
#include <holdfast/opencode/protocol/v2/answers.hpp>
#include <holdfast/opencode/protocol/v2/dialect.hpp>
#include <holdfast/sse/utf8.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

namespace holdfast::opencode {
namespace {

namespace json = boost::json;

failure not_an_id(std::string_view what, std::string_view id) {
    std::string why(what);
    if (id.empty())
        why += " id is empty";
    else if (id.size() > max_id_size)
        why += " id has more than " + std::to_string(max_id_size) + " bytes";
    else
        why += " id '" + std::string(id) + "' would lead elsewhere";
    return retry::make_failure(errc::invalid_request, std::move(why));
}

constexpr std::uint64_t id_numbers = std::uint64_t(1) << 48; // as many as 12 hex digits tell

// The server's own ids: of their milliseconds times 4096 the lowest 48 bits.
std::uint64_t id_number(wall_time at) {
    const auto ms = std::chrono::duration_cast<milliseconds>(at.time_since_epoch()).count();
    return static_cast<std::uint64_t>(ms) * 4096 % id_numbers;
}

/// The number in an id of the server's form; nothing: it has another form.
std::optional<std::uint64_t> id_number(std::string_view id) {
    const auto digits = id.substr(std::min(id.size(), id.find('_') + 1)).substr(0, 12);
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
    const bool whole = digits.size() == 12 && error == std::errc() && end == digits.data() + digits.size();
    return whole ? std::optional(number) : std::nullopt;
}

/// A path with an id in it, as the one segment that it is.
result<std::string> id_path(std::string_view before, std::string_view what, std::string_view id,
                            std::string_view rest = {}) {
    if (!is_usable_id(id))
        return not_an_id(what, id);
    return std::string(before) + http::percent_encode(id) + std::string(rest);
}

result<std::string> session_path(std::string_view session, std::string_view rest = {}) {
    return id_path("/session/", "a session", session, rest);
}

/// The answer is about something else than was asked for.
failure of_another(std::string_view path, std::string_view told, std::string_view asked) {
    return retry::make_failure(errc::missing_field,
                               std::string(path) + " is '" + std::string(told.substr(0, max_id_size)) +
                                   "', and '" + std::string(asked) + "' was asked for",
                               true);
}

failure too_large(std::string_view what, std::size_t limit, std::string_view unit) {
    return retry::make_failure(
        errc::body_too_large,
        std::string(what) + ": more than " + std::to_string(limit) + ' ' + std::string(unit), true);
}

/// What the parsing of one value is counted as by a breather.
constexpr std::size_t effort = 256;

/// Errors beside those of `parse`: missing_field for what is no array, body_too_large for more than `most`
/// entries.
template <class T>
net::awaitable<result<std::vector<T>>> parse_list(runtime& world, const json::value& v, std::string path,
                                                  std::size_t most,
                                                  result<T> (*parse)(const json::value&, std::string_view)) {
    const auto* list = v.if_array();
    if (!list)
        co_return retry::make_failure(errc::missing_field, path + " is not an array", true);
    if (most != 0 && list->size() > most)
        co_return too_large(path, most, "entries");
    breather breath(world);
    std::vector<T> all;
    for (std::size_t i = 0; i < list->size(); ++i) {
        auto one = parse((*list)[i], indexed(path, i));
        if (!one)
            co_return one.error();
        all.push_back(std::move(*one));
        if (breath.spent(effort))
            co_await breath.pause();
    }
    co_return all;
}

/// As parse_message(). Adds its parts to `parts_in_all`; body_too_large when those are more than `most`.
net::awaitable<result<message>> parse_message_in_slices(breather& breath, const json::value& v,
                                                        std::string path, std::size_t& parts_in_all,
                                                        std::size_t most) {
    const json::array* parts = nullptr;
    auto m = parse_message_head(v, path, parts);
    if (!m)
        co_return m;
    parts_in_all += parts->size();
    if (most != 0 && parts_in_all > most)
        co_return too_large("a page of messages", most, "parts");
    for (std::size_t i = 0; i < parts->size(); ++i) {
        auto one = parse_part((*parts)[i], indexed(path + ".parts", i));
        if (!one)
            co_return one.error();
        const auto size = one->text.size();
        m->parts.push_back(std::move(*one));
        if (breath.spent(effort + size))
            co_await breath.pause();
    }
    if (breath.spent(effort))
        co_await breath.pause();
    co_return m;
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

result<void> check_prompt(const prompt& what) {
    if (!what.model.empty() && what.model.find('/') == std::string::npos)
        return retry::make_failure(errc::invalid_request,
                                   "a model is given as provider/model, not '" + what.model + "'");
    if (!what.command.empty() && (what.no_reply || !what.system.empty()))
        return retry::make_failure(errc::invalid_request,
                                   "a command takes neither no_reply nor a system prompt");
    return {};
}

/// What `what.raw_json` adds to the body.
result<std::string> with_raw_json(json::object body, const prompt& what) {
    if (!what.raw_json.empty()) {
        auto extra = parse_json(what.raw_json);
        if (!extra || !extra->is_object())
            return retry::make_failure(errc::invalid_request, "raw_json is not a JSON object");
        for (auto& [key, value] : extra->get_object())
            body[key] = std::move(value);
    }
    return body_text(body);
}

result<std::string> command_json(const prompt& what) {
    if (auto fit = check_prompt(what); !fit)
        return fit.error();
    json::object body;
    body["messageID"] = what.message_id;
    body["command"] = what.command;
    if (!what.agent.empty())
        body["agent"] = what.agent;
    if (!what.model.empty())
        body["model"] = what.model;
    if (!what.variant.empty())
        body["variant"] = what.variant;
    std::string arguments;
    json::array files;
    for (const auto& each : what.parts) {
        if (each.what == prompt_part::kind::file)
            files.push_back(part_json(each));
        else if (!each.text.empty())
            arguments += (arguments.empty() ? "" : "\n") + each.text;
    }
    body["arguments"] = arguments;
    body["parts"] = std::move(files);
    return with_raw_json(std::move(body), what);
}

result<std::string> prompt_json(const prompt& what) {
    if (auto fit = check_prompt(what); !fit)
        return fit.error();
    if (!what.command.empty())
        return retry::make_failure(errc::invalid_request, "a command is not posted as a prompt");
    json::object body;
    body["messageID"] = what.message_id;
    if (!what.agent.empty())
        body["agent"] = what.agent;
    if (!what.model.empty()) {
        const auto slash = what.model.find('/');
        body["model"] = {{"providerID", what.model.substr(0, slash)},
                         {"modelID", what.model.substr(slash + 1)}};
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
    return with_raw_json(std::move(body), what);
}

bool is_json(const http::response& answer) {
    return http::is_media_type(answer.head.find("Content-Type"), "application/json");
}

failure not_json(const http::response& answer, std::string_view target) {
    const std::string type(answer.head.find("Content-Type"));
    auto why =
        retry::make_failure(errc::not_opencode,
                            std::string(target) + " answered with " +
                                (type.empty() ? "no media type" : type) + " instead of application/json",
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
                                          http::retry_wait(answer.head.headers, now));
    if (answer.head.status == 404)
        why.code = errc::not_found;
    if (answer.head.status == 401) {
        why.message = "authentication failed: the server rejected the user name or password";
        return why;
    }
    if (answer.body.empty())
        return why;
    const auto said = parse_error_body(answer.body);
    why.message += ": " + (said.name.empty() ? said.message : said.name + ": " + said.message);
    return why;
}

std::vector<http::header> directory_header(std::string_view directory) {
    std::vector<http::header> headers;
    if (!directory.empty())
        headers.push_back({"x-opencode-directory", http::percent_encode(directory)});
    return headers;
}

std::optional<wall_time> server_clock::at_least(time_point now) const noexcept {
    if (!told_)
        return std::nullopt;
    return told_->date + std::chrono::duration_cast<wall_time::duration>(now - told_->received);
}

std::string make_id(std::string_view prefix, std::optional<wall_time> server_time, std::string_view newest,
                    runtime& random) {
    static constexpr std::string_view digits =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const auto behind = id_number(newest).value_or(0) + 1;
    const auto number = std::max(server_time ? id_number(*server_time) : 0, behind);
    std::string id(prefix);
    id += '_';
    for (int shift = 44; shift >= 0; shift -= 4)
        id += "0123456789abcdef"[(number >> shift) & 15];
    for (int i = 0; i < 14; ++i)
        id += digits[random.random() % digits.size()];
    return id;
}

bool is_newer_id(std::string_view id, std::string_view other) noexcept {
    const auto number = id_number(id);
    return number && (!id_number(other) || id > other);
}

client::client(const runtime& world, http::url base, client_config config)
    : client(world, std::move(base), std::move(config), nullptr) {}

client::client(const runtime& world, http::url base, client_config config,
               std::shared_ptr<server_clock> clock)
    : world_(world), base_(std::move(base)), config_(std::move(config)), clock_(std::move(clock)) {}

/// A request, and what its answer may be.
struct client::asked {
    asked() = default;

    http::request request;
    std::string target;    ///< without what the base adds
    std::string directory; ///< of the session, or empty
    std::size_t limit = 0;
    std::string_view kind = "an answer"; ///< in words
};

/// A JSON document, and what came with it.
struct client::answer {
    answer() = default;

    std::shared_ptr<const json_document> json;
    http::response_head head;
    place_pool::place large; ///< held as long as the document is

    [[nodiscard]] const json::value& root() const noexcept { return json->root(); }
};

std::size_t client::limit_of(const asked& what, bool is_error) const {
    auto least = std::numeric_limits<std::size_t>::max();
    for (const auto each : {is_error ? config_.bodies.error : what.limit, config_.limits.body})
        if (each != 0)
            least = std::min(least, each);
    return least;
}

net::awaitable<result<http::response>> client::exchange(asked what, place_pool::place& large) {
    auto world = world_;
    place_pool::place mine;
    if (config_.places && what.request.method == "GET")
        mine = co_await config_.places->reads->take();
    auto pass =
        co_await world.begin_attempt(base_.where, retry::endpoint_breaker::kind::call, world.now(), false);
    if (pass.shared_failure()) {
        auto why = *pass.shared_failure();
        why.connected = false; // another was; this call was not even sent
        co_return why;
    }
    for (auto& each : credentials())
        what.request.headers.push_back(std::move(each));
    world.count(metric::requests);
    auto got = co_await receive(std::move(what), large);
    if (!got) {
        world.count(metric::requests_failed);
        pass.failed(got.error());
        co_return got.error();
    }
    if (const auto date = http::parse_date(got->head.find("Date"), world.wall_now()); date && clock_)
        clock_->told(*date, world.now());
    if (got->head.status >= 400)
        world.count(metric::requests_failed);
    if (got->head.status >= 500)
        pass.failed(make_api_failure(*got, world.wall_now()));
    else
        pass.succeeded();
    co_return std::move(*got);
}

// As http::fetch(), with the bounds of what was asked for. Where much comes, others that bring much are
// waited for; the server waits as long.
net::awaitable<result<http::response>> client::receive(asked what, place_pool::place& large) {
    auto world = world_;
    const auto longest = config_.transport.deadlines.exchange;
    auto until = longest == duration::zero() ? time_point::max() : later(world.now(), longest);
    auto opened = co_await http::open_until(world, base_, std::move(what.request), config_.transport,
                                            config_.limits, until);
    if (!opened)
        co_return opened.error();
    http::response whole;
    whole.head = opened->head();
    const bool is_error = whole.head.status >= 300;
    const auto most = limit_of(what, is_error);
    const auto in_all = allowance_ ? *allowance_ : std::numeric_limits<std::size_t>::max();
    for (;;) {
        const auto pieces = co_await opened->read(until);
        if (!pieces) {
            auto why = pieces.error();
            if (why.code == errc::stalled) {
                why = retry::make_failure(errc::exchange_timeout, {}, true);
                why.status = whole.head.status; // the head had come: the endpoint lives
            }
            co_return why;
        }
        for (const auto piece : *pieces) {
            whole.body.append(piece);
            if (allowance_)
                *allowance_ -= std::min(*allowance_, piece.size());
        }
        if (is_error && whole.body.size() >= most)
            whole.body.resize(most);
        if (pieces->empty() || (is_error && whole.body.size() == most))
            co_return std::move(whole);
        if (whole.body.size() > most)
            co_return too_large(what.kind, most, "bytes");
        if (whole.body.size() > in_all)
            co_return too_large("the answers to one look together", in_all, "bytes");
        if (whole.body.size() <= large_answer || !config_.places || large.held())
            continue;
        const auto since = world.now();
        large = co_await config_.places->large->take();
        until = until == time_point::max() ? until : later(until, world.now() - since);
    }
}

net::awaitable<result<client::answer>> client::call(asked what) {
    auto world = world_;
    const auto target = what.target;
    what.request.target = base_.with_path(target).target;
    for (auto& each : directory_header(what.directory))
        what.request.headers.push_back(std::move(each));
    what.request.headers.push_back({"Accept", "application/json"});
    answer told;
    auto got = co_await exchange(std::move(what), told.large);
    if (!got)
        co_return got.error();
    if (got->head.status >= 300)
        co_return make_api_failure(*got, world.wall_now());
    told.head = std::move(got->head);
    if (told.head.status == 204) {
        told.json = std::make_shared<json_document>();
        co_return std::move(told);
    }
    got->head = told.head;
    if (auto why = unreadable(*got, target))
        co_return *std::move(why);
    auto document = co_await parse_json_in_slices(world, std::move(got->body));
    if (!document)
        co_return document.error();
    told.json = std::move(*document);
    co_return std::move(told);
}

net::awaitable<result<client::answer>> client::get(result<std::string> target, std::size_t limit,
                                                   std::string_view kind, std::string directory) {
    if (!target)
        co_return target.error();
    asked what;
    what.target = std::move(*target);
    what.limit = limit;
    what.kind = kind;
    what.directory = std::move(directory);
    co_return co_await call(std::move(what));
}

net::awaitable<result<client::answer>> client::post(std::string method, result<std::string> target,
                                                    std::string body, std::string directory) {
    if (!target)
        co_return target.error();
    asked what;
    what.request.method = std::move(method);
    what.target = std::move(*target);
    what.limit = config_.bodies.status;
    if (!body.empty())
        what.request.headers.push_back({"Content-Type", "application/json"});
    what.request.body = std::move(body);
    what.directory = std::move(directory);
    co_return co_await call(std::move(what));
}

net::awaitable<result<void>> client::command(std::string method, result<std::string> target, std::string body,
                                             std::string directory) {
    auto done = co_await post(std::move(method), std::move(target), std::move(body), std::move(directory));
    if (!done)
        co_return done.error();
    co_return result<void>();
}

net::awaitable<result<std::shared_ptr<const json_document>>>
client::call_route(std::string method, std::string target, std::string body) {
    asked what;
    what.limit = method == "GET" ? config_.bodies.messages : config_.bodies.status;
    what.request.method = std::move(method);
    what.target = std::move(target);
    if (!body.empty())
        what.request.headers.push_back({"Content-Type", "application/json"});
    what.request.body = std::move(body);
    auto got = co_await call(std::move(what));
    if (!got)
        co_return got.error();
    co_return got->json;
}

std::string_view to_string(delivery d) noexcept {
    static constexpr std::string_view words[] = {"", "steer", "queue"};
    return words[static_cast<std::size_t>(d)];
}

namespace {

constexpr std::size_t longest_version = 64;

std::optional<std::string> version_in(const json::value& told) {
    const auto version = v2::parse_version(told);
    return version ? std::optional(version->substr(0, longest_version)) : std::nullopt;
}

/// What was found by `route`, which is not spoken.
failure speaks_another_version(std::string_view route, const std::string& version) {
    std::string what = "an OpenCode server of version " + version;
    if (version.starts_with("2.")) {
        const auto* spoken = v2::find_dialect(route, version);
        const auto kind =
            spoken ? "; " + std::string(spoken->name) + " by " + std::string(route) : std::string();
        what = "OpenCode 2.x (it says version " + version + kind + ')';
    }
    return retry::make_failure(errc::unsupported_version,
                               "this is " + what + ", which these calls do not speak", true);
}

/// Whether the route of 1.x is not there: 2.x serves its web app in its place, or nothing.
bool has_no_such_route(const failure& why) {
    return why.status == 404 || why.status == 405 || (why.code == errc::not_opencode && why.status == 200);
}

/// The same failure, in words where it is that of a server of 2.x which starts, stops, or could not start.
failure in_words_of_2(failure why) {
    const auto body = parse_json(why.body);
    const auto version = body ? version_in(*body) : std::nullopt;
    const auto says = v2::parse_refusal(why.body);
    if (why.status == 503 && (says == v2::refusal::starting || version))
        why.message = "OpenCode 2.x is starting or stopping";
    else if (says == v2::refusal::broken || (why.status == 500 && version))
        why.message = "OpenCode 2.x could not start";
    return why;
}

} // namespace

net::awaitable<result<server_info>> client::health() {
    const auto seen = co_await identify();
    if (!seen)
        co_return seen.error();
    if (seen->dialect)
        co_return speaks_another_version(seen->dialect->identity, seen->version);
    server_info info(seen->version);
    co_return info;
}

net::awaitable<result<server_identity>> client::identify() {
    auto got = co_await get(std::string("/global/health"), config_.bodies.status, "/global/health");
    if (!got) {
        auto why = got.error();
        if (why.status == 404 || why.status == 405) {
            why = retry::make_failure(errc::not_opencode,
                                      "/global/health answered with status " + std::to_string(why.status),
                                      true);
            why.status = got.error().status;
        } else if (why.code == errc::bad_json) {
            why = retry::make_failure(errc::not_opencode, "/global/health did not answer with JSON", true);
        }
        if (has_no_such_route(why))
            co_return co_await find_version_2(std::move(why));
        co_return in_words_of_2(std::move(why));
    }
    const auto version = version_in(got->root());
    if (!version)
        co_return retry::make_failure(errc::not_opencode, "/global/health told no version", true);
    if (!version->starts_with("1."))
        co_return speaks_another_version("/global/health", *version);
    server_identity found(*version, nullptr);
    co_return found;
}

net::awaitable<result<server_identity>> client::identify_2() {
    return find_version_2(
        retry::make_failure(errc::not_opencode, "neither /api/info nor /api/health told a version", true));
}

// /api/info from 2.0.4 on, /api/health before it. That one is answered by 1.x too, without a version. A
// server that is about to start says so in their place.
net::awaitable<result<server_identity>> client::find_version_2(failure seen) {
    for (const auto* const each : {&v2::current_dialect(), &v2::early_dialect()}) {
        const std::string route(each->identity);
        const auto told = co_await get(route, config_.bodies.status, "the version of the server");
        if (!told && (told.error().status == 401 || !retry::is_final(told.error())))
            co_return in_words_of_2(told.error());
        const auto version = told ? version_in(told->root()) : std::nullopt;
        if (!version || version->starts_with("1."))
            continue;
        const auto* const spoken = v2::find_dialect(route, *version);
        if (!spoken)
            co_return speaks_another_version(route, *version);
        server_identity found(*version, spoken);
        co_return found;
    }
    co_return in_words_of_2(std::move(seen));
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
    auto got = co_await post("POST", std::string("/session"), std::move(text), std::move(directory));
    if (!got)
        co_return got.error();
    co_return parse_session(got->root(), "session");
}

net::awaitable<result<session_info>> client::get_session(std::string session) {
    auto got = co_await get(session_path(session), config_.bodies.status, "a session");
    if (!got)
        co_return got.error();
    auto told = parse_session(got->root(), "session");
    if (told && told->id != session)
        co_return of_another("session.id", told->id, session);
    co_return told;
}

net::awaitable<result<session_list>> client::list_sessions(session_query which) {
    // Only a query makes the server leave out the sessions of other directories; one that it would decode
    // wrongly, twice, is done without.
    const bool by_query = !which.directory.empty() && which.directory.find('%') == std::string::npos;
    const bool by_hand = !which.directory.empty() && !by_query;
    std::string target = "/session";
    const auto add = [&](std::string_view member) {
        target += target.find('?') == std::string::npos ? '?' : '&';
        target += member;
    };
    if (which.roots)
        add("roots=true");
    if (which.limit != 0)
        add("limit=" + std::to_string(which.limit));
    if (by_query)
        add("directory=" + http::percent_encode(which.directory));
    auto got = co_await get(std::move(target), config_.bodies.list, "a list of sessions", which.directory);
    if (!got)
        co_return got.error();
    const auto* list = got->root().if_array();
    if (!list)
        co_return retry::make_failure(errc::missing_field, "session is not an array", true);
    const auto asked_for = which.keep != 0 ? which.keep : which.limit;
    const auto keep = std::min(list->size(), asked_for != 0 ? asked_for : config_.bodies.items);
    breather breath(world_);
    session_list all;
    all.left_out = list->size() - keep;
    for (std::size_t i = 0; i < keep; ++i) {
        auto one = parse_session((*list)[i], indexed("session", i));
        if (!one)
            co_return one.error();
        if (!by_hand || one->directory == which.directory)
            all.sessions.push_back(std::move(*one));
        if (breath.spent(effort))
            co_await breath.pause();
    }
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
    auto got = co_await get(session_path(session, "/children"), config_.bodies.list, "a list of children");
    if (!got)
        co_return got.error();
    auto all = co_await parse_list<session_info>(world_, got->root(), "children", config_.bodies.items,
                                                 parse_session);
    if (!all)
        co_return all;
    for (std::size_t i = 0; i < all->size(); ++i)
        if (const auto& parent = (*all)[i].parent_id; !parent.empty() && parent != session)
            co_return of_another(indexed("children", i) + ".parentID", parent, session);
    co_return all;
}

net::awaitable<result<void>> client::delete_session(std::string session) {
    return command("DELETE", session_path(session), {});
}

net::awaitable<result<void>> client::read_directory(std::string directory) {
    return command("GET", "/file?path=.", {}, std::move(directory));
}

net::awaitable<result<session_statuses>> client::status(std::string directory) {
    auto got = co_await get(std::string("/session/status"), config_.bodies.status, "/session/status",
                            std::move(directory));
    if (!got)
        co_return got.error();
    const auto* object = got->root().if_object();
    if (!object)
        co_return retry::make_failure(errc::missing_field, "status is not an object", true);
    breather breath(world_);
    session_statuses all;
    for (const auto& [id, value] : *object) {
        if (!is_usable_id(id))
            continue; // no session that anybody could ask for
        auto one = parse_status(value, "status." + std::string(id));
        if (!one)
            co_return one.error();
        all.emplace(id, std::move(*one));
        if (breath.spent(effort))
            co_await breath.pause();
    }
    co_return all;
}

// Where a page is too large, smaller ones are fetched.
net::awaitable<result<message_page>> client::messages(std::string session, unsigned limit,
                                                      std::string before) {
    constexpr unsigned first_try = 100;
    constexpr unsigned fewer = 4;
    for (unsigned ask = limit;;) {
        auto got = co_await one_page(session, ask, before);
        if (got || got.error().code != errc::body_too_large || ask == 1)
            co_return got;
        ask = ask == 0 ? first_try : std::max(ask / fewer, 1u);
    }
}

net::awaitable<result<message_page>> client::one_page(std::string session, unsigned limit,
                                                      std::string before) {
    auto target = session_path(session, "/message");
    if (target && limit != 0)
        *target += "?limit=" + std::to_string(limit);
    if (target && !before.empty())
        *target += (limit != 0 ? "&before=" : "?before=") + http::percent_encode(before);
    const auto most = config_.bodies.parts;
    auto got = co_await get(std::move(target), config_.bodies.messages, "a page of messages");
    if (!got)
        co_return got.error();
    const auto* list = got->root().if_array();
    if (!list)
        co_return retry::make_failure(errc::missing_field, "message is not an array", true);
    breather breath(world_);
    message_page page;
    std::size_t parts = 0;
    // A server that gives more than it was asked for: the latest, as it was asked.
    for (std::size_t i = limit != 0 && list->size() > limit ? list->size() - limit : 0; i < list->size();
         ++i) {
        auto path = indexed("message", i);
        auto one = co_await parse_message_in_slices(breath, (*list)[i], path, parts, most);
        if (!one)
            co_return one.error();
        if (one->info.session_id != session)
            co_return of_another(path + ".info.sessionID", one->info.session_id, session);
        page.messages.push_back(std::move(*one));
    }
    page.before = got->head.find("X-Next-Cursor");
    co_return page;
}

net::awaitable<result<message>> client::get_message(std::string session, std::string id) {
    auto target = session_path(session, "/message/");
    if (target)
        target = id_path(*target, "a message", id);
    auto got = co_await get(std::move(target), config_.bodies.messages, "a message");
    if (!got)
        co_return got.error();
    breather breath(world_);
    std::size_t parts = 0;
    auto told = co_await parse_message_in_slices(breath, got->root(), "message", parts, config_.bodies.parts);
    if (told && told->info.id != id)
        co_return of_another("message.info.id", told->info.id, id);
    if (told && told->info.session_id != session)
        co_return of_another("message.info.sessionID", told->info.session_id, session);
    co_return told;
}

net::awaitable<result<void>> client::prompt_async(std::string session, prompt what) {
    auto body = prompt_json(what);
    if (!body)
        co_return body.error();
    co_return co_await command("POST", session_path(session, "/prompt_async"), std::move(*body));
}

net::awaitable<result<void>> client::store(std::string session, prompt what) {
    what.no_reply = true;
    auto body = prompt_json(what);
    if (!body)
        co_return body.error();
    co_return co_await command("POST", session_path(session, "/message"), std::move(*body));
}

net::awaitable<result<void>> client::run_command(std::string session, prompt what) {
    auto body = command_json(what);
    if (!body)
        co_return body.error();
    const auto path = session_path(session, "/command");
    if (!path)
        co_return path.error();
    http::request request;
    request.method = "POST";
    request.target = base_.with_path(*path).target;
    request.headers = credentials();
    request.headers.push_back({"Accept", "application/json"});
    request.headers.push_back({"Content-Type", "application/json"});
    request.body = std::move(*body);
    auto how = config_.transport;
    how.deadlines.header = how.deadlines.exchange = duration::zero();
    auto world = world_;
    world.count(metric::requests);
    const auto got = co_await http::fetch(world, base_, std::move(request), std::move(how), config_.limits);
    if (!got || got->head.status >= 400)
        world.count(metric::requests_failed);
    if (!got)
        co_return got.error();
    if (got->head.status >= 300)
        co_return make_api_failure(*got, world.wall_now());
    co_return result<void>();
}

namespace {

result<std::string> parse_command_name(const json::value& v, std::string_view path) {
    json_reader in(v, path);
    auto name = in.required_string("name");
    return in.finish(std::move(name));
}

} // namespace

net::awaitable<result<std::vector<std::string>>> client::commands(std::string directory) {
    auto got = co_await get(std::string("/command"), config_.bodies.list, "a list of commands",
                            std::move(directory));
    if (!got)
        co_return got.error();
    co_return co_await parse_list<std::string>(world_, got->root(), "command", config_.bodies.items,
                                               parse_command_name);
}

net::awaitable<result<void>> client::abort(std::string session) {
    return command("POST", session_path(session, "/abort"), {});
}

net::awaitable<result<std::vector<permission_request>>> client::permissions(std::string directory) {
    auto got = co_await get(std::string("/permission"), config_.bodies.list, "a list of permissions",
                            std::move(directory));
    if (!got)
        co_return got.error();
    co_return co_await parse_list<permission_request>(world_, got->root(), "permission", config_.bodies.items,
                                                      parse_permission);
}

net::awaitable<result<void>> client::reply_permission(std::string id, std::string reply, std::string message,
                                                      std::string directory) {
    json::object body{{"reply", reply}};
    if (!message.empty())
        body["message"] = message;
    return command("POST", id_path("/permission/", "a permission", id, "/reply"), body_text(body),
                   std::move(directory));
}

net::awaitable<result<std::vector<question_request>>> client::questions(std::string directory) {
    auto got = co_await get(std::string("/question"), config_.bodies.list, "a list of questions",
                            std::move(directory));
    if (!got)
        co_return got.error();
    co_return co_await parse_list<question_request>(world_, got->root(), "question", config_.bodies.items,
                                                    parse_question);
}

net::awaitable<result<void>>
client::reply_question(std::string id, std::vector<std::vector<std::string>> answers, std::string directory) {
    json::array list;
    for (const auto& labels : answers) {
        json::array one;
        for (const auto& label : labels)
            one.push_back(json::value(label));
        list.push_back(std::move(one));
    }
    json::object body;
    body["answers"] = std::move(list);
    return command("POST", id_path("/question/", "a question", id, "/reply"), body_text(body),
                   std::move(directory));
}

net::awaitable<result<void>> client::reject_question(std::string id, std::string directory) {
    return command("POST", id_path("/question/", "a question", id, "/reject"), "{}", std::move(directory));
}

net::awaitable<result<void>> client::dispose(std::string directory) {
    return command("POST", std::string("/instance/dispose"), {}, std::move(directory));
}

std::vector<http::header> client::credentials() const {
    std::vector<http::header> headers;
    if (!config_.bearer.empty())
        headers.push_back({"Authorization", "Bearer " + config_.bearer});
    return headers;
}

http::url client::event_url() const {
    return base_.with_path("/event");
}

http::url client::global_event_url() const {
    return base_.with_path("/global/event");
}

} // namespace holdfast::opencode
