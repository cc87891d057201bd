#include <holdfast/stream/event_source.hpp>

#include <holdfast/http/ascii.hpp>
#include <holdfast/runtime/with_deadline.hpp>
#include <holdfast/sse/utf8.hpp>
#include <holdfast/stream/handshake.hpp>
#include <holdfast/stream/id_store.hpp>
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
    // A comment may be progress where a greeting is expected.
    return {.comments = config.comments || expects_greeting(config),
            .skip_oversized = config.oversized == oversized::skip};
}

// Where no greeting is expected, silence before the head is as any other.
duration header_deadline(const source_config& config) {
    if (config.transport.deadlines.header)
        return *config.transport.deadlines.header;
    if (expects_greeting(config))
        return http::default_header_deadline;
    return config.stall_timeout == duration::zero()
               ? duration::zero()
               : std::max(config.stall_timeout, http::default_header_deadline);
}

// What a stream left behind its last event, fit for a message: it may be anything.
std::string said_of(const std::string& left) {
    if (left.empty())
        return {};
    std::string shown = sse::to_valid_utf8(left);
    std::replace_if(shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
    return "; it left bytes that are no event: " + shown;
}

std::unique_ptr<framing> parser_of(const source_config& config) {
    auto made = config.framing ? config.framing(config.limits, wanted_of(config)) : nullptr;
    if (!made)
        throw std::logic_error("source_config::framing gives no parser");
    return made;
}

// What a store of the owner's throws is an error like any other.
template <class Act>
auto caught(Act act) -> decltype(act()) {
    try {
        return act();
    } catch (...) {
        return retry::make_failure(errc::local, what_of(std::current_exception()));
    }
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
    : world_(world), config_(std::move(config)), schedule_(config_.policy), parser_(parser_of(config_)),
      due_(world.now()), closing_(world_.clock(), world_.executor()), woken_(world) {
    if (!config_.locate)
        throw std::logic_error("source_config::locate is empty: nobody says where the stream is");
    config_.transport.deadlines.header = header_deadline(config_);
    parser_->last_event_id(take_last_event_id(config_.headers));
    if (config_.ids)
        load_id();
    if (config_.cookies)
        from_.cookies.emplace(*config_.cookies);
    closing_.expires_at(time_point::max());
}

source_core::~source_core() = default;

// The story: hand out what is there; else read on; else subscribe, after whatever wait the schedule and the
// endpoint's breaker ask for.
net::awaitable<std::optional<item>> source_core::next(std::shared_ptr<source_core> self) {
    const detail::one_at_a_time::call mine(self->readers_,
                                           "another call of next() is pending on this stream");
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
    commit();
    auto told = take_next();
    if (told && config_.ids && told->what != item::kind::opened)
        due_id_ = parser_->last_event_id();
    return told;
}

void source_core::load_id() {
    auto held = caught([&] { return config_.ids->load(); });
    if (!held)
        return on_ids(held.error().message);
    stored_id_ = *held;
    if (parser_->last_event_id().empty())
        parser_->last_event_id(std::move(*held));
}

void source_core::commit() {
    if (!due_id_)
        return;
    const auto id = *std::exchange(due_id_, std::nullopt);
    if (id == stored_id_)
        return;
    const auto done = caught([&] { return config_.ids->store(id); });
    if (done)
        stored_id_ = id;
    on_ids(done ? std::string() : done.error().message);
}

// Each outage of the store is told once; empty: it works.
void source_core::on_ids(const std::string& wrong) {
    if (wrong.empty() != ids_broken_)
        return;
    ids_broken_ = !wrong.empty();
    auto record = ids_broken_ ? record_of(log_level::error, "stream.id_not_stored", "read")
                              : record_of(log_level::info, "stream.id_stored", "read");
    if (ids_broken_) {
        record.error_class = retry::to_string(failure_class::local);
        record.error_message = wrong;
    }
    world_.log(record);
}

std::optional<item> source_core::take_next() {
    if (auto told = take_lifecycle())
        return told;
    if (judged_) {
        on_failure(weighed(*std::exchange(judged_, std::nullopt)));
        return take_lifecycle();
    }
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
    auto pass =
        co_await world_.begin_attempt(url_->where, retry::endpoint_breaker::kind::stream, due_, held_);
    if (pass.woken())
        start_over();
    if (closed_ || has_moved()) // while we waited
        co_return false;
    if (pass.shared_failure()) {
        on_failure(*pass.shared_failure());
        co_return false;
    }
    from_.last_id = parser_->last_event_id();
    from_.last_event = last_event_.get();
    handshake_ = std::make_unique<handshake>(world_, config_, statistics_, *parser_, *url_, from_);
    auto body = co_await handshake_->run(std::move(pass));
    if (closed_) // in the same turn: this answer comes too late
        co_return false;
    if (!body && handshake_->repeats()) {
        on_spent(*statistics_.last_failure);
        co_return false;
    }
    if (!body) {
        on_failure(body.error());
        co_return false;
    }
    if (!handshake_->is_answer()) {
        on_opened(std::move(*body));
        co_return true;
    }
    auto answer = co_await handshake_->read_answer(std::move(*body));
    if (closed_)
        co_return false;
    if (answer)
        on_answered(std::move(*answer));
    else
        on_failure(answer.error());
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
    } else if (got) {
        on_clean_end();
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
        if (!found.unix_socket.empty())
            found.url.where.unix_socket = found.unix_socket;
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
        schedule_.at_new_endpoint();
        parser_->forget_retry();
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
    decoder_ = handshake_->take_decoder();
    lifecycle_.back().head = &body_->head();
    schedule_.on_open();
    opened_at_ = last_byte_ = world_.now();
    greeted_ = progress_ = false;
    held_ = false;
    ++statistics_.opened;
    statistics_.open_since = opened_at_;
}

void source_core::on_read(std::span<const std::string_view> pieces) {
    pieces_ = pieces;
    statistics_.last_byte = last_byte_ = world_.now();
    std::size_t size = 0;
    for (const auto piece : pieces)
        size += piece.size();
    statistics_.bytes += size;
    world_.count(metric::stream_bytes, size);
    if (!decoder_) {
        for (const auto piece : pieces)
            tap(piece);
    }
}

void source_core::tap(std::string_view piece) {
    if (!config_.tap)
        return;
    try {
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

// What it completes is handed out first: the end is there to be read again.
void source_core::on_clean_end() {
    if (decoder_) {
        unparsed_ = decoder_->finish();
        if (!unparsed_.empty())
            return tap(unparsed_);
        if (!decoder_->complete())
            return on_failure(retry::make_failure(errc::cut, "before the compressed body was whole", true));
    }
    if (config_.flush_at_end && parser_->finish()) {
        if (auto told = parsed())
            lifecycle_.push_back(std::move(*told));
        return;
    }
    auto left = parser_->left();
    if (config_.clean_end == clean_end::done)
        return on_done(std::move(left));
    auto why = weighed(retry::make_failure(errc::ended, {}, true));
    why.message += said_of(left);
    on_failure(std::move(why), std::move(left));
}

// An end is clean only behind a healthy life.
retry::failure source_core::weighed(retry::failure why) const {
    if (why.cls == failure_class::ended &&
        !retry::is_healthy(config_.policy, life_until(world_.now(), why), true))
        return retry::make_failure(errc::early_end, {}, true);
    return why;
}

void source_core::on_done(std::string left) {
    leave_body();
    ended_ = true;
    auto record = record_of(log_level::info, "stream.done", "end");
    if (!left.empty())
        record.error_message = "the stream ended" + said_of(left);
    world_.log(record);
    item told;
    told.what = item::kind::done;
    told.left = std::move(left);
    lifecycle_.push_back(std::move(told));
}

void source_core::on_answered(http::response answer) {
    answer_ = std::move(answer);
    ended_ = true;
    const auto record = record_of(log_level::info, "stream.answered", "end");
    if (schedule_.failures() != 0 || world_.in_trouble())
        world_.recovered(record);
    else
        world_.log(record);
    item told;
    told.what = item::kind::answered;
    told.head = &answer_->head;
    told.body = answer_->body;
    lifecycle_.push_back(std::move(told));
}

// Silence that we end ourselves is no life, nor is any behind a head alone. But a peer that had said
// something, and then ends the connection, was there until then.
retry::life source_core::life_until(time_point now, const retry::failure& why) const {
    if (!body_)
        return {};
    const bool silent = why.cls == failure_class::stall || why.cls == failure_class::timeout;
    // An id without an event says from where to go on.
    const bool progress =
        progress_ || (!expects_greeting(config_) && parser_->last_event_id() != from_.last_id);
    const bool said_something = progress || last_byte_ != opened_at_;
    const bool clean = why.cls == failure_class::ended;
    return {(clean || (said_something && !silent) ? now : last_byte_) - opened_at_, progress};
}

void source_core::on_failure(retry::failure why, std::string left) {
    const auto now = world_.now();
    if (const auto asked = parser_->retry_ms())
        schedule_.server_retry(
            milliseconds(std::min<std::uint64_t>(*asked, to_ms(config_.policy.max_retry_after))));
    auto next = schedule_.on_end(why, life_until(now, why), now, world_.random());
    if (is_spent()) {
        from_.spent = handshake_->acted();
        if (!next.give_up && !can_resume())
            return on_spent(std::move(why), std::move(left));
    }
    end_attempt(std::move(why), next, std::move(left));
}

// The last: what would be asked next may change something once more.
void source_core::on_spent(retry::failure why, std::string left) {
    why.message += "; not sent again, as " + from_.spent + " may change something";
    end_attempt(std::move(why), {true, duration::zero(), std::max(schedule_.failures(), 1u)},
                std::move(left));
}

void source_core::end_attempt(retry::failure why, const retry::schedule::decision& next, std::string left) {
    leave_body();
    parser_->reset();
    due_ = later(world_.now(), next.delay);
    // A status is an answer: that other calls succeed does not mean that this one would now.
    held_ =
        retry::blames_endpoint(why) && why.status == 0 && (!handshake_ || handshake_->asked() == url_->where);
    ended_ = next.give_up;
    auto record = next.give_up ? record_of(log_level::error, "stream.gave_up", "give_up")
                               : record_of(log_level::warn, "stream.interrupted", "retry");
    record.endpoint = to_string(endpoint_to_blame(why));
    record.error_class = retry::to_string(why.cls);
    record.error_message = why.message;
    if (!next.give_up)
        record.retry_in_ms = to_ms(next.delay);
    if (why.cls == failure_class::ended && !next.give_up) { // no incident
        record.level = log_level::debug;
        world_.log(record);
    } else {
        world_.report(record);
    }
    world_.count(next.give_up ? metric::streams_given_up : metric::stream_interruptions);
    ++statistics_.interruptions;
    statistics_.last_failure = why;
    item told;
    told.what = next.give_up ? item::kind::gave_up : item::kind::interrupted;
    told.attempt = next.attempt;
    told.retry_in = next.delay;
    told.left = std::move(left);
    told.failure = std::move(why);
    lifecycle_.push_back(std::move(told));
    if (is_spent()) // is known by now: what comes next may be another request
        handshake_.reset();
}

// What was asked may have changed something, and must not be asked once more.
bool source_core::is_spent() const {
    return !config_.repeat_unsafe && handshake_ && !handshake_->acted().empty();
}

// Whether the next request may be another one than that which failed.
bool source_core::can_resume() const {
    return config_.next_request && (!parser_->last_event_id().empty() || !last_event_.get().type.empty());
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
    decoder_.reset();
    pieces_ = {};
    coded_ = {};
    unparsed_ = {};
    judged_.reset();
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
    while (has_more()) {
        const bool found = parser_->next(unparsed_);
        note_long_ids();
        if (found) {
            if (auto told = parsed())
                return told;
            continue;
        }
        if (const auto limit = parser_->error()) {
            on_failure(retry::make_failure(static_cast<errc>(limit.value()), {}, true));
            return take_lifecycle();
        }
    }
    if (decoder_ && decoder_->error()) {
        on_failure(*decoder_->error());
        return take_lifecycle();
    }
    return std::nullopt;
}

// Whether there is something to parse, in `unparsed_`.
bool source_core::has_more() {
    while (unparsed_.empty()) {
        if (decoder_) {
            unparsed_ = decoder_->decode(coded_);
            if (!unparsed_.empty())
                tap(unparsed_);
        }
        if (!unparsed_.empty() || pieces_.empty())
            break;
        (decoder_ ? coded_ : unparsed_) = pieces_.front();
        pieces_ = pieces_.subspan(1);
    }
    return !closed_ && !unparsed_.empty(); // a tap may close it
}

// Nothing: a comment that is not asked for.
std::optional<item> source_core::parsed() {
    item told;
    told.event = parser_->event();
    if (parser_->what() == sse::found::event) {
        if (config_.next_request)
            last_event_.keep(told.event);
        judged_ = judge(told.event);
    }
    if (parser_->what() != sse::found::skipped && !judged_)
        note_life();
    switch (parser_->what()) {
    case sse::found::event:
        greeted_ = true;
        ++statistics_.events;
        world_.count(metric::stream_events);
        break;
    case sse::found::comment:
        if (!config_.comments)
            return std::nullopt;
        told.what = item::kind::comment;
        ++statistics_.comments;
        break;
    case sse::found::skipped:
        told.what = item::kind::skipped;
        told.failure = retry::make_failure(static_cast<errc>(parser_->skipped().value()), {}, true);
        on_skipped(told.failure);
        break;
    }
    return told;
}

std::optional<retry::failure> source_core::judge(const sse::event& what) {
    if (!config_.judge)
        return std::nullopt;
    try {
        auto why = config_.judge(what);
        if (why)
            why->connected = true;
        return why;
    } catch (...) {
        return contained("judge");
    }
}

// Called while it is handled.
retry::failure source_core::contained(std::string_view hook) {
    auto why = retry::make_failure(errc::local,
                                   std::string(hook) + " threw: " + what_of(std::current_exception()), true);
    auto record = record_of(log_level::error, "stream." + std::string(hook) + "_threw", "fail");
    record.error_class = retry::to_string(why.cls);
    record.error_message = why.message;
    world_.report(record);
    return why;
}

// An event or a comment came; not noted yet, it is the greeting if it is the first event.
void source_core::note_life() noexcept {
    if (!expects_greeting(config_))
        progress_ = progress_ || parser_->what() == sse::found::event;
    else if (greeted_ && world_.now() - opened_at_ > config_.policy.healthy_after)
        progress_ = true;
}

void source_core::note_long_ids() {
    if (parser_->long_ids() == statistics_.long_ids)
        return;
    if (statistics_.long_ids == 0) {
        const auto why =
            retry::make_failure(errc::id_too_long, "it is not stored, so a reconnect resumes before it");
        auto record = record_of(log_level::warn, "stream.id_too_long", "skip");
        record.error_class = retry::to_string(why.cls);
        record.error_message = why.message;
        world_.log(record);
    }
    statistics_.long_ids = parser_->long_ids();
}

void source_core::on_skipped(const retry::failure& why) {
    auto record =
        record_of(statistics_.skipped == 0 ? log_level::warn : log_level::debug, "stream.skipped", "skip");
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

// After a wake the outage counts as a new one; but a stream that gives up at last is not kept from it by
// being woken.
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

void event_source::commit() {
    core_->commit();
}

void event_source::close() noexcept {
    core_->close();
}

void event_source::wake() {
    core_->wake();
}

void event_source::note_progress() noexcept {
    core_->note_progress();
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
