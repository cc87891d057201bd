#include <holdfast/stream/event_source.hpp>

#include <holdfast/http/ascii.hpp>
#include <holdfast/runtime/with_deadline.hpp>
#include <holdfast/stream/handshake.hpp>
#include <holdfast/stream/source_core.hpp>

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <utility>

namespace holdfast::stream {
namespace {

time_point earliest(time_point from, duration limit, time_point other) {
    return limit == duration::zero() ? other : std::min(later(from, limit), other);
}

sse::options wanted_of(const source_config& config) {
    return {.comments = config.comments, .skip_oversized = config.oversized == oversized::skip};
}

// What a field gives as an id is where to begin: it must not outlive the ids that the stream gives.
std::string take_last_event_id(std::vector<header>& fields) {
    std::string id;
    std::erase_if(fields, [&](const header& each) {
        const bool is_id = http::iequals(each.name, "Last-Event-ID");
        if (is_id)
            id = each.value;
        return is_id;
    });
    return id;
}

} // namespace

source_core::source_core(const runtime& world, source_config config)
    : world_(world), config_(std::move(config)), schedule_(config_.policy),
      parser_(config_.limits, wanted_of(config_)), due_(world.now()),
      closing_(world_.clock(), world_.executor()), woken_(world) {
    if (!config_.locate)
        throw std::logic_error("source_config::locate is empty: nobody says where the stream is");
    parser_.last_event_id(take_last_event_id(config_.headers));
    closing_.expires_at(time_point::max());
}

source_core::~source_core() = default;

// The story: hand out what is there; else read on; else subscribe, after whatever wait the schedule and the
// endpoint's gate ask for.
net::awaitable<std::optional<item>> source_core::next(std::shared_ptr<source_core> self) {
    const detail::one_at_a_time::call mine(self->readers_, "another call of next() is pending on this stream");
    for (;;) {
        if (auto ready = self->try_next())
            co_return ready;
        if (self->ended_)
            co_return std::nullopt;
        if (self->body_) {
            co_await self->read_more();
        } else {
            auto attempt = self->subscribe();
            co_await until_timer<bool>(self->closing_, std::move(attempt));
        }
    }
}

std::optional<item> source_core::try_next() {
    if (closed_)
        return std::nullopt;
    if (auto told = take_lifecycle())
        return told;
    return parse_event();
}

net::awaitable<bool> source_core::subscribe() {
    if (is_spent()) { // the call that was sending it was cancelled
        on_failure(retry::make_failure(errc::cut, "cancelled before the answer came", true));
        co_return false;
    }
    handshake_.reset();
    if (!co_await find_location())
        co_return false;
    auto pass = co_await world_.pass_gate(url_->where, retry::gate::kind::stream, due_, held_);
    if (pass.woken())
        start_over();
    if (closed_ || has_moved()) // while we waited
        co_return false;
    if (pass.ridden()) {
        on_failure(*pass.ridden());
        co_return false;
    }
    handshake_ = std::make_unique<handshake>(world_, config_, statistics_, *url_, parser_.last_event_id());
    auto body = co_await handshake_->run(std::move(pass));
    if (closed_) // in the same turn: this answer comes too late
        co_return false;
    if (!body) {
        on_failure(body.error());
        co_return false;
    }
    on_opened(std::move(*body));
    co_return true;
}

net::awaitable<void> source_core::read_more() {
    const auto now = world_.now();
    const auto greeting_by =
        greeted_ ? time_point::max() : earliest(opened_at_, config_.greeting_timeout, time_point::max());
    const auto stalled_at = earliest(now, config_.stall_timeout, time_point::max());
    const auto got = co_await body_->read(std::min(greeting_by, stalled_at));
    if (closed_)
        co_return;
    if (got && !got->empty()) {
        on_read(*got);
    } else if (got && config_.clean_end == clean_end::done) {
        on_done();
    } else if (got) {
        const bool healthy = world_.now() - opened_at_ >= config_.policy.healthy_after;
        on_failure(retry::make_failure(healthy ? errc::ended : errc::early_end, {}, true));
    } else if (got.error().code == errc::stalled && greeting_by < stalled_at) {
        on_failure(retry::make_failure(errc::no_greeting, {}, true));
    } else {
        on_failure(got.error());
    }
}

location source_core::ask_location() {
    // It fails as a thing of its owner's, and not of the endpoint that it told of last.
    log_record record;
    record.tag = config_.tag;
    try {
        auto found = config_.locate();
        if (std::exchange(locate_broken_, false))
            world_.recovered(record);
        return found;
    } catch (...) {
        locate_broken_ = true;
        record.level = log_level::error;
        record.event = "stream.locate_threw";
        record.error_class = retry::to_string(retry::failure_class::local);
        record.error_message = what_of(std::current_exception());
        record.action = "wait";
        world_.report(record);
        location nowhere;
        nowhere.what = location::state::down;
        return nowhere;
    }
}

// Also takes up fresh credentials.
bool source_core::has_moved() {
    auto here = ask_location();
    if (here.what != location::state::up || here.url.where != url_->where)
        return true;
    url_ = std::move(here.url);
    return false;
}

net::awaitable<bool> source_core::find_location() {
    auto found = ask_location();
    if (found.what == location::state::gone) {
        stop_asking_here();
        ended_ = true;
        co_return false;
    }
    if (found.what == location::state::down) {
        if (!std::exchange(told_down_, true)) {
            auto record = record_of(log_level::info, "stream.down", "wait");
            record.error_class = retry::to_string(retry::failure_class::local);
            record.error_message = retry::make_failure(errc::gone, "known to be down").message;
            world_.log(record);
        }
        co_await woken_.wait(later(world_.now(), config_.policy.base_delay));
        co_return false;
    }
    told_down_ = false;
    if (url_ && url_->where != found.url.where) { // another endpoint owes nothing to this one's failures
        stop_asking_here();
        schedule_.reset();
        due_ = world_.now();
        held_ = false;
    }
    url_ = std::move(found.url);
    co_return true;
}

void source_core::on_opened(http::body_stream body) {
    item told;
    told.what = item::kind::opened;
    told.attempt = schedule_.attempt();
    lifecycle_.push_back(std::move(told));
    // A recovery has a line of its own; to tell of each of very many that open would be noise.
    if (schedule_.failures() != 0 || world_.in_trouble())
        world_.recovered(record_of(log_level::debug, "stream.opened", "read"));
    world_.count(metric::streams_opened);
    open_.emplace(world_, metric::streams_open);
    body_ = std::move(body);
    lifecycle_.back().head = &body_->head();
    schedule_.on_open();
    opened_at_ = world_.now();
    greeted_ = false;
    held_ = false;
    ++statistics_.opened;
    statistics_.open_since = opened_at_;
}

void source_core::on_read(std::span<const std::string_view> pieces) {
    pieces_ = pieces;
    statistics_.last_byte = world_.now();
    std::size_t size = 0;
    for (const auto piece : pieces)
        size += piece.size();
    statistics_.bytes += size;
    world_.count(metric::stream_bytes, size);
    if (!config_.tap)
        return;
    try {
        for (const auto piece : pieces)
            config_.tap(piece);
        tap_broken_ = false;
    } catch (...) {
        const auto level = std::exchange(tap_broken_, true) ? log_level::debug : log_level::error;
        auto record = record_of(level, "stream.tap_threw", "read");
        record.error_class = retry::to_string(retry::failure_class::local);
        record.error_message = what_of(std::current_exception());
        world_.log(record);
    }
}

void source_core::on_done() {
    leave_body();
    ended_ = true;
    world_.log(record_of(log_level::info, "stream.done", "end"));
    item told;
    told.what = item::kind::done;
    lifecycle_.push_back(std::move(told));
}

void source_core::on_failure(retry::failure why) {
    const auto now = world_.now();
    if (const auto asked = parser_.retry_ms())
        schedule_.server_base_delay(
            milliseconds(std::min<std::uint64_t>(*asked, to_ms(config_.policy.max_delay))));
    const auto lived = body_ ? now - opened_at_ : duration::zero();
    auto next = schedule_.on_end(why, lived, now, world_.random());
    if (!next.give_up && is_spent()) {
        next = {true, duration::zero(), std::max(schedule_.failures(), 1u)};
        why.message += "; not sent again, as " + handshake_->acted() + " may change something";
    }
    leave_body();
    parser_.reset();
    due_ = later(now, next.delay);
    // A status is an answer: that other calls succeed does not mean that this one would now.
    held_ = retry::blames_endpoint(why) && why.status == 0 &&
            (!handshake_ || handshake_->asked() == url_->where);
    ended_ = next.give_up;
    auto record = next.give_up ? record_of(log_level::error, "stream.gave_up", "give_up")
                               : record_of(log_level::warn, "stream.interrupted", "retry");
    record.endpoint = to_string(endpoint_to_blame(why));
    record.error_class = retry::to_string(why.cls);
    record.error_message = why.message;
    if (!next.give_up)
        record.retry_in_ms = to_ms(next.delay);
    world_.report(record);
    world_.count(next.give_up ? metric::streams_given_up : metric::stream_interruptions);
    ++statistics_.interruptions;
    statistics_.last_failure = why;
    item told;
    told.what = next.give_up ? item::kind::gave_up : item::kind::interrupted;
    told.attempt = next.attempt;
    told.retry_in = next.delay;
    told.failure = std::move(why);
    lifecycle_.push_back(std::move(told));
}

// What was asked may have changed something, and must not be asked once more.
bool source_core::is_spent() const {
    return !config_.repeat_unsafe && handshake_ && !handshake_->acted().empty();
}

// Where it redirects to may be what fails, and not the endpoint that it is known by.
endpoint source_core::endpoint_to_blame(const retry::failure& why) const {
    const bool is_unreached = retry::blames_endpoint(why) && why.status == 0;
    return is_unreached && handshake_ && handshake_->asked() ? *handshake_->asked() : url_->where;
}

// What failed there ends without being well.
void source_core::stop_asking_here() {
    if (url_ && schedule_.failures() != 0)
        world_.left(record_of(log_level::info, {}, {}));
}

void source_core::leave_body() noexcept {
    open_.reset();
    body_.reset();
    pieces_ = {};
    unparsed_ = {};
    statistics_.open_since.reset();
}

std::optional<item> source_core::take_lifecycle() {
    if (lifecycle_.empty())
        return std::nullopt;
    auto told = std::move(lifecycle_.front());
    lifecycle_.pop_front();
    return told;
}

std::optional<item> source_core::parse_event() {
    while (!unparsed_.empty() || !pieces_.empty()) {
        if (unparsed_.empty()) {
            unparsed_ = pieces_.front();
            pieces_ = pieces_.subspan(1);
        }
        if (parser_.next(unparsed_))
            return parsed();
        if (const auto limit = parser_.error()) {
            on_failure(retry::make_failure(static_cast<errc>(limit.value()), {}, true));
            return take_lifecycle();
        }
    }
    return std::nullopt;
}

item source_core::parsed() {
    item told;
    told.event = parser_.event();
    switch (parser_.what()) {
    case sse::found::event:
        greeted_ = true;
        ++statistics_.events;
        world_.count(metric::stream_events);
        break;
    case sse::found::comment:
        told.what = item::kind::comment;
        ++statistics_.comments;
        break;
    case sse::found::skipped:
        told.what = item::kind::skipped;
        told.failure = retry::make_failure(static_cast<errc>(parser_.skipped().value()), {}, true);
        on_skipped(told.failure);
        break;
    }
    return told;
}

void source_core::on_skipped(const retry::failure& why) {
    auto record = record_of(statistics_.skipped == 0 ? log_level::warn : log_level::debug, "stream.skipped", "skip");
    record.error_class = retry::to_string(why.cls);
    record.error_message = why.message;
    world_.log(record);
    ++statistics_.skipped;
    world_.count(metric::stream_events_skipped);
}

void source_core::close() noexcept {
    closed_ = ended_ = true;
    statistics_.open_since.reset();
    open_.reset();
    if (body_)
        body_->close();
    closing_.cancel();
    woken_.notify_all();
}

// After a wake the outage counts as a new one; but a stream that gives up at last is not kept from it by being woken.
void source_core::start_over() {
    if (config_.policy.max_attempts == retry::unlimited && config_.policy.max_elapsed == duration::zero())
        schedule_.reset();
}

void source_core::wake() {
    start_over();
    due_ = world_.now();
    woken_.notify_all();
    if (url_)
        world_.wake(url_->where);
}

log_record source_core::record_of(log_level level, std::string_view event, std::string_view action) const {
    log_record record;
    record.level = level;
    record.event = event;
    record.endpoint = url_ ? to_string(url_->where) : std::string();
    record.tag = config_.tag;
    record.failures = schedule_.failures();
    record.action = action;
    return record;
}

// --- the handle

event_source::event_source(const runtime& world, source_config config)
    : core_(std::make_shared<source_core>(world, std::move(config))) {}

event_source::~event_source() {
    core_->close();
}

net::awaitable<std::optional<item>> event_source::next() {
    return source_core::next(core_);
}

std::optional<item> event_source::try_next() {
    return core_->try_next();
}

void event_source::close() noexcept {
    core_->close();
}

void event_source::wake() {
    core_->wake();
}

const source_statistics& event_source::statistics() const noexcept {
    return core_->statistics();
}

bool event_source::is_open() const noexcept {
    return core_->is_open();
}

const std::string& event_source::last_event_id() const noexcept {
    return core_->last_event_id();
}

void event_source::last_event_id(std::string id) {
    core_->last_event_id(std::move(id));
}

} // namespace holdfast::stream
