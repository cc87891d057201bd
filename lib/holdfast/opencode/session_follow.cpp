// session_core, as far as it is followed: its feeds, and the looks at it where its stream is not had.
#include <holdfast/opencode/session_core.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::opencode::detail {
namespace {

/// How long the stream of a session that is followed by its activity is kept after the last.
constexpr duration linger = seconds(60);
/// How often the server is asked where a session is that is followed by a directory's stream.
constexpr duration place_check = seconds(60);

} // namespace

feed_core::feed_core(std::shared_ptr<session_core> session, std::shared_ptr<void> lease, follow_by by)
    : owner(std::move(session)), how(by),
      events(owner->world(), feed_queue(owner->config().queue_items, owner->config().queue_bytes)),
      lease_(std::move(lease)) {}

std::shared_ptr<feed_core> session_core::follow(follow_by how) {
    const auto made = std::make_shared<feed_core>(shared_from_this(), lease(), how);
    if (server_->stopped()) {
        made->events.close();
        return made;
    }
    // What is at work was told to others: from its beginning, it is told once more.
    pump();
    for (auto& out : protocol_->told_so_far()) {
        mark_decided(out.event);
        made->events.put({info_.id, std::move(out.message), std::move(out.event)});
    }
    std::erase_if(feeds_, [](const auto& each) { return each.expired(); });
    feeds_.push_back(made);
    if (capture_.next_try() == time_point::max())
        wake_look(); // who comes after it was given up shall be told so too
    protocol_->follow();
    if (server_->stopping().requested())
        close_feeds();
    server_->look_soon();
    return made;
}

bool session_core::is_followed() const {
    return std::any_of(feeds_.begin(), feeds_.end(), [](const auto& each) { return !each.expired(); });
}

void session_core::end_feeds() {
    deliver_unexplained();
    for (const auto& each : feeds_)
        if (const auto feed = each.lock())
            feed->events.close();
    feeds_.clear();
}

void session_core::close_feeds() {
    end_feeds();
    approvals_.close();
}

session_view session_core::view() const {
    session_view shown;
    shown.info = info_;
    shown.status = protocol_->status();
    shown.background = protocol_->background();
    shown.waiting = protocol_->waiting();
    shown.streamed = live_;
    shown.captured = is_captured();
    shown.seen = seen_;
    if (capture_.last()) {
        shown.trouble = capture_.last()->why;
        shown.failures = capture_.failures();
        if (capture_.next_try() != time_point::max())
            shown.next_try = std::max(capture_.next_try(), world().now());
    } else if (stream_trouble_) {
        shown.trouble = stream_trouble_->why;
        shown.failures = stream_trouble_->failures;
        shown.next_try = stream_trouble_->next_try;
    }
    return shown;
}

// --- the stream of one that is followed

bool session_core::wants_stream() const {
    const bool active = protocol_->has_open_turns() || world().now() < later(active_at_, linger);
    return std::any_of(feeds_.begin(), feeds_.end(), [&](const auto& each) {
        const auto feed = each.lock();
        return feed && (feed->how == follow_by::stream || (feed->how == follow_by::activity && active));
    });
}

bool session_core::is_only_followed() const {
    const auto feeds =
        std::count_if(feeds_.begin(), feeds_.end(), [](const auto& each) { return !each.expired(); });
    return feeds != 0 && lease_.use_count() == feeds && posting_.empty();
}

/// When the stream is no longer needed: never, where a session or a turn is held beside the feeds.
time_point session_core::leave_stream_at() const {
    const bool by_stream = std::any_of(feeds_.begin(), feeds_.end(), [](const auto& each) {
        const auto feed = each.lock();
        return feed && feed->how == follow_by::stream;
    });
    if (!is_only_followed() || by_stream || protocol_->has_open_turns() ||
        !server_->streams_to(info_.directory, info_.id))
        return time_point::max();
    return later(active_at_, linger);
}

// Where it was, nobody tells that a session was moved; and a stream may be open and tell nothing (OpenCode
// #46733).
time_point session_core::next_place_check() const {
    if (!live_ || !is_followed())
        return time_point::max();
    return later(server_->hears_everywhere(info_.id) ? std::max(located_at_, seen_.value_or(located_at_))
                                                     : located_at_,
                 place_check);
}

// One request tells both: the server notes when a session is prompted.
net::awaitable<void> session_core::check_place() {
    const auto self = shared_from_this();
    const auto there = co_await read_directory_again();
    located_at_ = world().now();
    const bool is_gone = !there && there.error().code == errc::not_found;
    const bool is_untold = there && std::exchange(info_.updated_ms, updated_ms_) != updated_ms_;
    if (is_gone || is_untold)
        co_await take_snapshot();
}

void session_core::leave_stream() {
    server_->unfollow(*this);
    live_ = repairing_ = false;
    stream_trouble_.reset();
    server_->look_soon();
}

// --- captures

bool session_core::is_captured() const {
    return is_followed() && (!live_ || stranger_);
}

time_point session_core::next_look() const {
    if (looking_ || repairing_ || !is_captured())
        return time_point::max();
    return capture_.failures() > 0 ? capture_.next_try() : next_look_;
}

void session_core::mark_look(std::uint64_t number) {
    marked_ = number;
    mark_ = protocol_->begin_snapshot();
}

void session_core::look_begins(time_point next) {
    looking_ = true;
    next_look_ = next;
    auto server = rest();
    capture_.at(server.base().where);
}

// The first look, and one that finds it idle with something still open, is as thorough as a repair; else its
// last messages are enough.
net::awaitable<result<void>> session_core::look(std::shared_ptr<const directory_view> seen) {
    const auto self = shared_from_this();
    if (!is_located()) {
        auto found = co_await read_directory_again();
        if (found && !is_located())
            co_return retry::make_failure(errc::missing_field, "the session has no directory", true);
        if (found) // its stream, where it has one, may tell the rest
            next_look_ = wants_stream() ? later(world().now(), config().capture.tick) : world().now();
        if (found || found.error().code != errc::not_found)
            co_return found;
        on_unknown();
        co_return who_is_this(found.error());
    }
    auto done = co_await look_briefly(std::move(seen));
    if (!done && done.error().code == errc::not_found)
        done = co_await merge_snapshot(true); // deleted in the middle of it: the next one begins with that
    co_return done;
}

net::awaitable<result<void>> session_core::look_briefly(std::shared_ptr<const directory_view> seen) {
    const auto self = shared_from_this();
    const auto with = protocol_;
    const auto taken = mark_;
    const auto glanced = co_await with->glance(std::move(seen));
    if (!glanced)
        co_return glanced.error();
    if (!*glanced || with != protocol_ || !merge(**glanced, taken, true))
        co_return co_await merge_snapshot(true);
    pump();
    co_return result<void>();
}

failure session_core::who_is_this(const failure& seen) const {
    return stranger_ ? unknown_here() : seen;
}

void session_core::look_succeeded() {
    looking_ = false;
    contact_lost_ = false;
    seen_ = world().now();
    if (capture_.last())
        recovered();
    capture_.succeeded();
    const bool no_stream = gave_up_ && !retry::blames_endpoint(*gave_up_); // not before a wake
    if (is_followed() && wants_stream() && is_located() && !no_stream &&
        server_->has_room_for(info_.directory))
        server_->follow(info_.directory, shared_from_this());
    changed_.notify_all();
}

void session_core::look_failed(const failure& why, std::uint64_t random) {
    looking_ = false;
    contact_lost_ = true;
    const auto next = capture_.failed(why, world().now(), random);
    protocol_->snapshot_failed(world().now());
    if (next.stop)
        give_up_turns(why);
}

void session_core::endpoint_answers() {
    if (capture_.last() && retry::blames_endpoint(capture_.last()->why))
        wake_look();
}

void session_core::wake_look() {
    capture_.wake();
    gave_up_.reset();
    next_look_ = world().now();
}

// After an unbroken contact it was deleted. Else it may be another server that has got this port: ours may
// come back.
void session_core::on_unknown() {
    if (!contact_lost_)
        return close_feeds();
    if (!std::exchange(stranger_, true))
        live_ = false;
}

void session_core::report_look() const {
    const auto& why = capture_.last()->why;
    auto server = rest();
    auto record = make_record(log_level::warn);
    record.event = "capture.failed";
    record.endpoint = to_string(server.base().where);
    record.error_class = retry::to_string(why.cls);
    record.error_message = why.message;
    record.failures = capture_.failures();
    const bool stopped = capture_.next_try() == time_point::max();
    record.action = stopped ? "stop" : "retry";
    if (!stopped)
        record.retry_in_ms = to_ms(capture_.next_try() - world().now());
    world().report(record);
}

void session_core::recovered() const {
    if (!world().in_trouble())
        return;
    auto server = rest();
    auto record = make_record(log_level::debug);
    record.event = "session.reached";
    record.endpoint = to_string(server.base().where);
    world().recovered(record);
}

} // namespace holdfast::opencode::detail
