#include <holdfast/stream/event_source.hpp>

#include <holdfast/http/fields.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <algorithm>
#include <exception>
#include <utility>

namespace holdfast::stream {
namespace {

constexpr std::string_view event_stream = "text/event-stream";
constexpr duration error_body_patience = seconds(1);

time_point earliest(time_point from, duration limit, time_point other) {
    return limit == duration::zero() ? other : std::min(later(from, limit), other);
}

} // namespace

event_source::event_source(runtime& world, source_config config)
    : world_(world), config_(std::move(config)), schedule_(config_.policy), parser_(config_.limits),
      due_(world.now()), closing_(world.clock(), world.executor()), woken_(world) {
    closing_.expires_at(time_point::max());
}

event_source::~event_source() = default;

// The story: hand out what is there; else read on; else subscribe, after whatever wait the schedule and the
// endpoint's gate ask for.
net::awaitable<std::optional<item>> event_source::next() {
    for (;;) {
        if (auto ready = try_next())
            co_return ready;
        if (ended_)
            co_return std::nullopt;
        if (body_) {
            co_await read_more();
        } else {
            auto attempt = subscribe();
            co_await until_timer<bool>(closing_, std::move(attempt));
        }
    }
}

std::optional<item> event_source::try_next() {
    if (closed_)
        return std::nullopt;
    if (auto told = take_lifecycle())
        return told;
    return parse_event();
}

net::awaitable<bool> event_source::subscribe() {
    if (!co_await find_location())
        co_return false;
    auto pass = co_await world_.pass_gate(url_->where, retry::gate::kind::stream, due_, held_);
    if (closed_ || has_moved()) // while we waited
        co_return false;
    if (pass.ridden()) {
        on_failure(*pass.ridden());
        co_return false;
    }
    auto body = co_await request_stream();
    if (closed_) // in the same turn: this answer comes too late
        co_return false;
    if (!body) {
        pass.failed(body.error());
        on_failure(body.error());
        co_return false;
    }
    pass.succeeded();
    on_opened(std::move(*body));
    co_return true;
}

net::awaitable<void> event_source::read_more() {
    const auto now = world_.now();
    const auto greeting_by =
        greeted_ ? time_point::max() : earliest(opened_at_, config_.greeting_timeout, time_point::max());
    const auto stalled_at = earliest(now, config_.stall_timeout, time_point::max());
    const auto got = co_await body_->read(std::min(greeting_by, stalled_at));
    if (closed_)
        co_return;
    if (got && !got->empty()) {
        pieces_ = *got;
        co_return;
    }
    if (got) {
        const bool healthy = world_.now() - opened_at_ >= config_.policy.healthy_after;
        on_failure(retry::make_failure(healthy ? errc::ended : errc::early_end, {}, true));
    } else if (got.error().code == errc::stalled && greeting_by < stalled_at) {
        on_failure(retry::make_failure(errc::no_greeting, {}, true));
    } else {
        on_failure(got.error());
    }
}

location event_source::ask_location() {
    try {
        return config_.locate();
    } catch (...) {
        log(log_level::error, "stream.locate_threw",
            retry::make_failure(errc::local, what_of(std::current_exception())), "wait", std::nullopt);
        location nowhere;
        nowhere.what = location::state::down;
        return nowhere;
    }
}

// Also takes up fresh credentials.
bool event_source::has_moved() {
    auto here = ask_location();
    if (here.what != location::state::up || here.url.where != url_->where)
        return true;
    url_ = std::move(here.url);
    return false;
}

net::awaitable<bool> event_source::find_location() {
    auto found = ask_location();
    if (found.what == location::state::gone) {
        ended_ = true;
        co_return false;
    }
    if (found.what == location::state::down) {
        if (!std::exchange(told_down_, true))
            log(log_level::info, "stream.down", retry::make_failure(errc::gone, "known to be down"), "wait",
                std::nullopt);
        co_await woken_.wait(later(world_.now(), config_.policy.base_delay));
        co_return false;
    }
    told_down_ = false;
    if (url_ && url_->where != found.url.where) { // another endpoint owes nothing to this one's failures
        schedule_.reset();
        due_ = world_.now();
        held_ = false;
    }
    url_ = std::move(found.url);
    co_return true;
}

http::request event_source::make_request() const {
    http::request what;
    what.method = config_.method;
    what.headers = {{"Accept", std::string(event_stream)}, {"Cache-Control", "no-cache"}};
    if (!parser_.last_event_id().empty())
        what.headers.push_back({"Last-Event-ID", parser_.last_event_id()});
    what.headers.insert(what.headers.end(), config_.headers.begin(), config_.headers.end());
    what.body = config_.body;
    return what;
}

net::awaitable<result<http::body_stream>> event_source::request_stream() {
    const http::response_limits bounds{config_.header_limit, 0};
    auto what = make_request();
    auto opened = co_await http::open(world_, *url_, std::move(what), config_.deadlines, bounds);
    if (!opened)
        co_return opened.error();
    const auto& head = opened->head();
    if (head.status != 200) {
        const auto retry_after = http::parse_retry_after(head.find("Retry-After"), world_.wall_now());
        auto body = co_await http::read_error_body(world_, *opened, error_body_patience);
        auto why = retry::make_status_failure(head.status, std::move(body), retry_after);
        if (const auto target = head.find("Location"); !target.empty())
            why.message += ", a redirect to " + std::string(target);
        co_return why;
    }
    const std::string type(head.find("Content-Type"));
    if (!http::is_media_type(type, event_stream)) {
        auto why = retry::make_failure(errc::bad_content_type, type.empty() ? "none was given" : type, true);
        why.status = head.status;
        why.body = co_await http::read_error_body(world_, *opened, error_body_patience);
        co_return why;
    }
    co_return std::move(*opened);
}

void event_source::on_opened(http::body_stream body) {
    item told;
    told.what = item::kind::opened;
    told.attempt = schedule_.attempt();
    told.status = body.head().status;
    lifecycle_.push_back(std::move(told));
    if (schedule_.failures() != 0)
        log(log_level::info, "stream.opened", {}, "read", std::nullopt);
    body_ = std::move(body);
    opened_at_ = world_.now();
    greeted_ = false;
    held_ = false;
}

void event_source::on_failure(retry::failure why) {
    const auto now = world_.now();
    if (const auto asked = parser_.retry_ms())
        schedule_.server_base_delay(
            milliseconds(std::min<std::uint64_t>(*asked, to_ms(config_.policy.max_delay))));
    const auto next = schedule_.on_end(why, body_ ? now - opened_at_ : duration::zero(), world_.random());
    body_.reset();
    pieces_ = {};
    unparsed_ = {};
    parser_.reset();
    due_ = later(now, next.delay);
    // A status is an answer: that other calls succeed does not mean that this one would now.
    held_ = retry::blames_endpoint(why) && why.status == 0;
    ended_ = next.give_up;
    const bool first = schedule_.failures() <= 1;
    log(next.give_up ? log_level::error
        : first      ? log_level::warn
                     : log_level::debug,
        next.give_up ? "stream.gave_up" : "stream.interrupted", why, next.give_up ? "give_up" : "retry",
        next.give_up ? std::nullopt : std::optional(next.delay));
    item told;
    told.what = next.give_up ? item::kind::gave_up : item::kind::interrupted;
    told.attempt = next.attempt;
    told.retry_in = next.delay;
    told.failure = std::move(why);
    lifecycle_.push_back(std::move(told));
}

std::optional<item> event_source::take_lifecycle() {
    if (lifecycle_.empty())
        return std::nullopt;
    auto told = std::move(lifecycle_.front());
    lifecycle_.pop_front();
    return told;
}

std::optional<item> event_source::parse_event() {
    while (!unparsed_.empty() || !pieces_.empty()) {
        if (unparsed_.empty()) {
            unparsed_ = pieces_.front();
            pieces_ = pieces_.subspan(1);
        }
        if (parser_.next(unparsed_)) {
            greeted_ = true;
            item told;
            told.event = parser_.event();
            return told;
        }
        if (const auto limit = parser_.error()) {
            on_failure(retry::make_failure(static_cast<errc>(limit.value()), {}, true));
            return take_lifecycle();
        }
    }
    return std::nullopt;
}

void event_source::close() noexcept {
    closed_ = ended_ = true;
    if (body_)
        body_->close();
    closing_.cancel();
    woken_.notify_all();
}

void event_source::wake() {
    due_ = world_.now();
    woken_.notify_all();
    if (url_)
        world_.wake(url_->where);
}

void event_source::log(log_level level, std::string_view event, const retry::failure& why,
                       std::string_view action, std::optional<duration> retry_in) const {
    log_record record;
    record.level = level;
    record.event = event;
    record.endpoint = url_ ? to_string(url_->where) : std::string();
    record.tag = config_.tag;
    if (why.code) {
        record.error_class = retry::to_string(why.cls);
        record.error_message = why.message;
    }
    record.failures = schedule_.failures();
    record.action = action;
    if (retry_in)
        record.retry_in_ms = to_ms(*retry_in);
    world_.log(record);
}

} // namespace holdfast::stream
