#include <holdfast/stream/handshake.hpp>

#include <holdfast/http/ascii.hpp>
#include <holdfast/http/fields.hpp>
#include <holdfast/http/head_lines.hpp>
#include <holdfast/runtime/cancellation.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace holdfast::stream {
namespace {

constexpr duration error_body_patience = seconds(1);

// An id that no field can carry is not sent: a stream that cannot be resumed is better than none.
bool can_be_sent(std::string_view id) {
    return !id.empty() && http::is_field_value(id);
}

http::request request_of(const source_config& config, const framing& format,
                         const std::string& last_event_id) {
    const bool takes_json = config.answers == answers::json && !format.is_type("application/json");
    std::vector<header> defaults{
        {"Accept", std::string(format.accept()) + (takes_json ? ", application/json" : "")},
        {"Cache-Control", "no-cache"},
        {"Accept-Encoding", "identity"},
        {"User-Agent", std::string(http::user_agent())}};
    if (can_be_sent(last_event_id))
        defaults.push_back({"Last-Event-ID", last_event_id});
    std::erase_if(defaults, [&](const header& each) { return http::find_header(config.headers, each.name); });
    http::request what;
    what.method = config.method;
    what.headers = std::move(defaults);
    what.headers.insert(what.headers.end(), config.headers.begin(), config.headers.end());
    what.body = config.body;
    return what;
}

/// The values of all fields of that name, apart by ", ".
std::string all_values(const std::vector<header>& fields, std::string_view name) {
    std::string all;
    for (const auto& each : fields) {
        if (http::iequals(each.name, name))
            all += (all.empty() ? "" : ", ") + each.value;
    }
    return all;
}

/// Where a redirect leads; to two places: nowhere, and why.
result<std::string_view> location_of(const http::response_head& head) {
    const auto first = head.find("Location");
    for (const auto& each : head.headers) {
        if (http::iequals(each.name, "Location") && each.value != first)
            return retry::make_failure(errc::malformed,
                                       "a redirect to two places, " + http::quoted_bytes(first) + " and " +
                                           http::quoted_bytes(each.value),
                                       true);
    }
    return first;
}

bool is_json(std::string_view media_type) {
    return media_type == "application/json" || media_type.ends_with("+json");
}

bool has_no_content(const http::response_head& head) {
    return head.status == 202 || head.status == 204 || head.find("Content-Length") == "0";
}

/// What the whole input stands for, or its first `most` bytes.
std::string decoded(body_decoder& by, std::string_view input, std::size_t most) {
    std::string text;
    const auto add = [&](std::string_view piece) {
        text.append(piece.substr(0, most - text.size()));
        return !piece.empty() && text.size() < most;
    };
    while (add(by.decode(input))) {
    }
    while (text.size() < most && add(by.finish())) {
    }
    return text;
}

} // namespace

handshake::handshake(runtime& world, source_config& config, source_statistics& statistics,
                     const framing& format, http::url start, resume_point& from)
    : world_(world), config_(config), statistics_(statistics), format_(format), from_(from),
      way_(std::move(start), request_of(config, format, from.last_id), config.max_redirects,
           config.redirects_trusted) {}

net::awaitable<result<http::body_stream>> handshake::run(runtime::attempt pass) {
    for (;;) {
        auto request = co_await next_request();
        if (!request)
            co_return request.error();
        auto answer = co_await ask(std::move(*request));
        if (!answer) {
            pass.failed(answer.error());
            co_return answer.error();
        }
        take_cookies(answer->head());
        const bool leads_on = http::is_redirect(answer->head().status);
        if (auto why = judge(answer->head())) {
            co_await add_answer(*why, *answer);
            pass.failed(*why);
            co_return std::move(*why);
        }
        pass.succeeded();
        if (!leads_on)
            co_return std::move(*answer);
        ++statistics_.redirects;
        answer->close();
        pass = co_await world_.begin_attempt(way_.where().where, retry::endpoint_breaker::kind::stream,
                                             world_.now(), false);
        if (pass.shared_failure()) {
            asked_ = way_.where().where;
            co_return *pass.shared_failure();
        }
    }
}

void handshake::add_cookies(http::request& what) const {
    auto value = from_.cookies ? from_.cookies->field_for(way_.where(), world_.wall_now()) : std::string();
    if (value.empty())
        return;
    const auto given = std::find_if(what.headers.begin(), what.headers.end(),
                                    [](const header& each) { return http::iequals(each.name, "Cookie"); });
    if (given == what.headers.end())
        what.headers.emplace_back("Cookie", std::move(value));
    else
        given->value += "; " + value;
}

void handshake::take_cookies(const http::response_head& head) {
    if (from_.cookies && from_.cookies->take(head.headers, way_.where(), world_.wall_now()))
        way_.start_over();
}

net::awaitable<void> handshake::add_answer(retry::failure& why, http::body_stream& answer) {
    why.connected = true;
    why.status = answer.head().status;
    why.headers = answer.head().headers;
    why.body = co_await http::read_error_body(world_, answer, error_body_patience);
    if (decoder_)
        why.body = decoded(*decoder_, why.body, retry::max_failure_body);
}

net::awaitable<result<http::response>> handshake::read_answer(http::body_stream body) {
    const auto patience = config_.transport.deadlines.exchange;
    const auto until = patience == duration::zero() ? time_point::max() : later(world_.now(), patience);
    auto whole = co_await http::read_whole(body, config_.answer_limit, until);
    if (!whole)
        co_return whole.error();
    http::response answer;
    answer.head = body.head();
    answer.body = std::move(*whole);
    if (!decoder_)
        co_return std::move(answer);
    answer.body = decoded(*decoder_, answer.body, std::max(config_.answer_limit, config_.answer_limit + 1));
    if (answer.body.size() > config_.answer_limit)
        co_return retry::make_failure(errc::body_too_large, {}, true);
    if (decoder_->error())
        co_return *decoder_->error();
    if (!decoder_->complete())
        co_return retry::make_failure(errc::cut, "before the compressed body was whole", true);
    co_return std::move(answer);
}

net::awaitable<result<http::request>> handshake::next_request() {
    http::request what = way_.what();
    add_cookies(what);
    if (!config_.next_request)
        co_return way_.take(std::move(what));
    what.target = way_.where().target;
    if (!http::find_header(what.headers, "Host"))
        what.headers.insert(what.headers.begin(), {"Host", way_.where().host_header()});
    std::exception_ptr thrown;
    result<void> made;
    try {
        auto making = config_.next_request(from_.last_id, from_.last_event, what);
        made = co_await std::move(making);
    } catch (...) {
        thrown = std::current_exception();
    }
    co_await throw_if_cancelled();
    if (thrown)
        co_return contained("next_request", thrown);
    if (!made)
        co_return made.error();
    repeats_ = !from_.spent.empty() && !http::is_safe(what.method);
    if (repeats_)
        co_return retry::make_failure(errc::gave_up);
    co_return way_.take(std::move(what));
}

net::awaitable<result<http::body_stream>> handshake::ask(http::request what) {
    const auto where = way_.where();
    if (const auto trusting = http::see_to_trust(config_.transport, where.where); !trusting)
        co_return trusting.error();
    statistics_.attempts += way_.followed() == 0 ? 1 : 0;
    asked_ = where.where;
    const auto acted_before = acted_;
    if (!http::is_safe(what.method))
        acted_ = what.method; // until it is known not to have been sent
    http::response_limits bounds;
    bounds.header = config_.header_limit;
    bounds.body = 0;
    auto answer = co_await http::open(world_, where, std::move(what), config_.transport, bounds);
    if (!answer && !answer.error().connected)
        acted_ = acted_before;
    if (answer)
        co_return std::move(answer);
    auto why = answer.error();
    why.answer_was_due = expects_greeting(config_);
    co_return why;
}

// Nothing: it is the stream, or a redirect that was taken.
std::optional<retry::failure> handshake::judge(const http::response_head& head) {
    const auto coding = config_.decoder ? http::compression_of(head.headers) : std::string();
    decoder_ = coding.empty() ? nullptr : config_.decoder(coding);
    if (auto why = inspect(head))
        return why;
    if (http::is_redirect(head.status)) {
        const auto target = location_of(head);
        if (!target)
            return target.error();
        const auto led_on = way_.follow(head.status, *target);
        return led_on ? std::nullopt : std::optional(led_on.error());
    }
    const bool is_success = head.status / 100 == 2;
    const auto media_type = http::media_type_of(head.headers);
    const bool is_stream = config_.any_type ? is_success : head.status == 200 && format_.is_type(media_type);
    is_answer_ = !is_stream && is_success && config_.answers == answers::json &&
                 (is_json(media_type) || has_no_content(head));
    if (is_stream || is_answer_)
        return http::refuse_compressed(head.headers, decoder_ ? coding : std::string());
    if (head.status != 200)
        return retry::make_status_failure(head.status, {}, http::retry_wait(head.headers, world_.wall_now()));
    const auto type = all_values(head.headers, "Content-Type");
    return retry::make_failure(errc::bad_content_type, type.empty() ? "none was given" : type, true);
}

std::optional<retry::failure> handshake::inspect(const http::response_head& head) {
    if (!config_.inspect)
        return std::nullopt;
    try {
        const auto trusted = config_.inspect(head);
        return trusted ? std::nullopt : std::optional(trusted.error());
    } catch (...) {
        return contained("inspect", std::current_exception());
    }
}

retry::failure handshake::contained(std::string_view hook, const std::exception_ptr& thrown) const {
    auto why = retry::make_failure(errc::local, std::string(hook) + " threw: " + what_of(thrown));
    log_record record;
    record.level = log_level::error;
    record.event = "stream." + std::string(hook) + "_threw";
    record.endpoint = to_string(way_.where().where);
    record.tag = config_.tag;
    record.error_class = retry::to_string(why.cls);
    record.error_message = why.message;
    record.action = "fail";
    world_.report(record);
    return why;
}

} // namespace holdfast::stream
