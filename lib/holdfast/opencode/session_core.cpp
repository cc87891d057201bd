#include <holdfast/opencode/session_core.hpp>

#include <holdfast/runtime/cancellation.hpp>

#include <algorithm>
#include <set>
#include <utility>

namespace holdfast::opencode::detail {
namespace {

constexpr std::size_t max_former_directories = 4;

metric metric_of(outcome o) {
    switch (o) {
    case outcome::completed: return metric::turns_completed;
    case outcome::failed: return metric::turns_failed;
    case outcome::aborted: return metric::turns_aborted;
    case outcome::rejected: return metric::turns_rejected;
    case outcome::lost: return metric::turns_lost;
    case outcome::detached: break;
    }
    return metric::turns_detached;
}

} // namespace

failure stopped_failure() {
    return retry::make_failure(errc::closed, "the server was stopped");
}

settlement_error as_settlement_error(const failure& why) {
    settlement_error told;
    told.cls = retry::to_string(why.cls);
    told.message = why.message;
    told.status = why.status;
    return told;
}

session_lease::~session_lease() {
    core->close_all(outcome::detached, rule::detached, std::nullopt, reprompt::no);
    core->release();
}

// --- turn_core

turn_core::turn_core(std::shared_ptr<session_core> session, std::shared_ptr<void> lease, std::string id)
    : owner(std::move(session)), message(std::move(id)),
      events(owner->world(), turn_queue(owner->config().queue_items, owner->config().queue_bytes)),
      lease_(std::move(lease)) {}

turn_core::~turn_core() {
    owner->forget(message);
}

void turn_core::push(agent_event event) {
    const bool last = std::holds_alternative<settlement>(event);
    if (muted_ && !last)
        return;
    events.put(std::move(event));
    if (last)
        events.close();
}

void turn_core::mute() {
    muted_ = true;
    events.queue().keep_settlement();
}

// --- session_core: what its owner does

session_core::session_core(std::shared_ptr<server_core> server, session_info info)
    : server_(std::move(server)), info_(std::move(info)), protocol_(server_->speech().hold(*this)),
      changed_(server_->world), approvals_(server_->world, approval_queue(server_->config.turns.max_asks)),
      capture_(server_->config.capture.retry),
      stopping_(server_->stopping().on_request([this] { changed_.notify_all(); })) {
    world().count(metric::sessions_held);
}

session_core::~session_core() {
    world().uncount(metric::sessions_held);
    world().uncount(metric::turns_open, open_.size());
    world().uncount(metric::asks_waiting, asks_.size());
}

std::vector<std::string> session_core::open_prompts() const {
    std::vector<std::string> all;
    for (const auto& [message, used] : open_)
        if (protocol_->is_open(message))
            all.push_back(message);
    return all;
}

void session_core::learn_child(const std::string& child) {
    server_->learn_child(info_.directory, child, info_.id);
}

client session_core::rest() const {
    return looking_ ? server_->rest_for_looks() : server_->rest();
}

bool session_core::is_stopped() const noexcept {
    return server_->stopped();
}

runtime& session_core::world() const noexcept {
    return server_->world;
}

const server_config& session_core::config() const noexcept {
    return server_->config;
}

std::shared_ptr<session_lease> session_core::lease() {
    auto held = lease_.lock();
    if (!held) {
        held = std::make_shared<session_lease>(shared_from_this());
        lease_ = held;
    }
    return held;
}

void session_core::release() {
    server_->release(shared_from_this());
}

// One handle's state a prompt: whoever takes it up again while it is open shares it.
std::shared_ptr<turn_core> session_core::make_turn(std::string message) {
    if (auto held = turns_[message].lock(); held && !held->events.closed())
        return held;
    auto core = std::make_shared<turn_core>(shared_from_this(), lease(), std::move(message));
    turns_[core->message] = core;
    return core;
}

void session_core::name(opencode::prompt& what) const {
    protocol_->name(what, server_->server_time->at_least(world().now()));
}

// The server answers by the order of ids: the id is made when nothing can come between it and the post.
net::awaitable<result<void>> session_core::name_in_line(std::shared_ptr<turn_core> core,
                                                        opencode::prompt& what) {
    const auto self = shared_from_this();
    while (posting_.front() != core.get() && !core->abort_asked && !server_->stopping().requested())
        co_await changed_.wait();
    // While it waited, or asked, its stream may have been given up.
    for (bool asked = false; !asked || !live_;) {
        const auto live = co_await become_live();
        if (!live)
            co_return live;
        asked = true;
        if (core->abort_asked || knows_newest())
            break;
        const auto known = co_await learn_newest();
        if (!known)
            co_return known;
    }
    if (server_->stopping().requested())
        co_return retry::make_failure(errc::closed, "the server was stopped");
    turns_.erase(core->message);
    name(what);
    core->message = what.message_id;
    turns_[core->message] = core;
    protocol_->is_newest(core->message);
    co_return result<void>();
}

// Nothing is asked where prompts are not ordered by their ids.
bool session_core::knows_newest() const {
    return knows_newest_ || !protocol_->can().orders_by_id;
}

net::awaitable<result<void>> session_core::learn_newest() {
    const auto self = shared_from_this();
    retry::schedule schedule(config().policy);
    while (!server_->stopping().requested()) {
        const auto latest = co_await protocol_->learn_newest();
        if (latest)
            knows_newest_ = live_;
        if (latest || latest.error().code == errc::not_found)
            break; // the post says the same
        const auto next = schedule.on_end(latest.error(), duration::zero(), world().now(), world().random());
        if (next.give_up)
            co_return latest.error();
        co_await server_->pause(next.delay);
    }
    co_return result<void>();
}

turn session_core::unposted(opencode::prompt what, const failure& why) {
    name(what);
    const auto core = make_turn(what.message_id);
    protocol_->open(core->message, world().now());
    settle_unposted(*core, why);
    return turn(core);
}

net::awaitable<turn> session_core::prompt(opencode::prompt what) {
    if (what.no_reply)
        co_return unposted(std::move(what), retry::make_failure(errc::invalid_request,
                                                                "a prompt without a reply makes no turn"));
    const bool is_unnamed = what.message_id.empty();
    const auto core = make_turn(is_unnamed ? make_id("msg", std::nullopt, {}, world())
                                           : what.message_id); // until its turn comes
    if (!is_unnamed)
        name(what);
    if (protocol_->is_open(core->message))
        co_return turn(core); // it is on its way already
    const place_in_line place(*this, core.get());
    auto there = co_await read_directory_again();
    // Whether a server that is out of reach stays so is the stream's to find out, and an answer that is
    // damaged says nothing.
    if (there || there.error().status < 400 || !retry::is_final(there.error()))
        there = co_await become_live();
    if (there && is_unnamed)
        there = co_await name_in_line(core, what);
    if (const auto why = protocol_->why_not(what); there && why)
        there = *why;
    protocol_->open(core->message, world().now());
    if (there)
        co_await post_in_turn(core, std::move(what));
    else
        settle_unposted(*core, there.error());
    pump();
    co_return turn(core);
}

net::awaitable<turn> session_core::adopt(std::string message) {
    const auto core = make_turn(std::move(message));
    if (protocol_->is_open(core->message))
        co_return turn(core); // it is held already
    core->posted = core->maybe_posted = true;
    const auto live = co_await become_live();
    protocol_->adopt(core->message, world().now());
    if (live)
        co_await take_snapshot();
    else if (live.error().code == errc::closed)
        close_turn(core->message, outcome::detached, rule::detached, as_settlement_error(live.error()),
                   reprompt::no);
    else
        settle_unposted(*core, live.error());
    pump();
    changed_.notify_all();
    co_return turn(core);
}

net::awaitable<result<void>> session_core::abort() {
    const auto self = shared_from_this();
    if (server_->stopped())
        co_return stopped_failure();
    protocol_->abort_requested(world().now());
    for (const auto& [message, weak] : turns_)
        if (const auto core = weak.lock())
            core->abort_asked = true; // what is not posted yet shall not be
    changed_.notify_all();
    const auto done = co_await protocol_->abort();
    if (done)
        protocol_->abort_accepted(world().now());
    changed_.notify_all();
    co_return done;
}

net::awaitable<result<void>> session_core::take_back(std::string message) {
    const auto self = shared_from_this();
    if (server_->stopped())
        co_return stopped_failure();
    const auto done = co_await protocol_->cancel_queued(std::move(message));
    pump();
    changed_.notify_all();
    co_return done;
}

void session_core::close_turn(const std::string& message, outcome o, rule r,
                              std::optional<settlement_error> error, reprompt safe) {
    settlement how;
    how.outcome = o;
    how.rule = r;
    how.error = std::move(error);
    how.safe_to_reprompt = safe;
    protocol_->close(message, std::move(how), world().now());
    pump();
}

void session_core::close_all(outcome o, rule r, std::optional<settlement_error> error, reprompt safe) {
    deliver_unexplained();
    std::vector<std::string> open;
    for (const auto& [message, core] : turns_)
        if (protocol_->is_open(message))
            open.push_back(message);
    for (const auto& message : open)
        close_turn(message, o, r, error, safe);
}

void session_core::forget(const std::string& message) {
    const auto found = turns_.find(message);
    if (found == turns_.end() || !found->second.expired())
        return; // another handle has taken its place
    turns_.erase(found);
    close_turn(message, outcome::detached, rule::detached, std::nullopt, reprompt::no);
}

// A session's directory may be changed by others: its events then come elsewhere.
net::awaitable<result<void>> session_core::read_directory_again() {
    const auto self = shared_from_this();
    if (server_->stopped())
        co_return stopped_failure();
    auto now_told = co_await server_->speech().get_session(rest(), info_.id);
    const auto why = why_failed(now_told);
    const bool is_other = co_await server_->is_another(why);
    if (is_other)
        now_told = co_await server_->speech().get_session(rest(), info_.id);
    if (!now_told)
        co_return now_told.error();
    located_at_ = world().now();
    updated_ms_ = now_told->updated_ms;
    if (is_located()) {
        info_.archived_ms = now_told->archived_ms;
        move_to(now_told->directory);
    } else {
        info_ = *now_told;
    }
    co_return result<void>();
}

void session_core::locate(session_info found) {
    if (!is_located())
        info_ = std::move(found);
}

// Goes over to another directory's stream; the old one is left when the new one is acknowledged.
void session_core::move_to(const std::string& directory) {
    const auto left = std::exchange(info_.directory, directory);
    if (left == info_.directory)
        return;
    protocol_->moved();
    std::erase(former_, left);
    former_.push_back(left);
    if (former_.size() > max_former_directories)
        former_.erase(former_.begin());
    const bool only_looked_at = is_followed() && !wants_stream() && !server_->streams_to(left, info_.id);
    if (server_->hears_everywhere(info_.id) || only_looked_at)
        return;
    if (is_only_followed() &&
        !server_->has_room_for(info_.directory)) { // a look takes it up where there is room
        server_->unfollow(left, info_.id);
        live_ = repairing_ = false;
        server_->look_soon();
        return;
    }
    left_ = left;
    live_ = repairing_ = false;
    server_->follow(info_.directory, shared_from_this());
    changed_.notify_all();
}

// A turn that runs stays with the instance in which it began, and so do its asks.
std::vector<std::string> session_core::ask_directories() const {
    std::vector<std::string> all{info_.directory};
    for (const auto& each : former_)
        if (each != info_.directory)
            all.push_back(each);
    return all;
}

net::awaitable<result<void>> session_core::become_live() {
    const auto self = shared_from_this();
    gave_up_.reset();
    while (!live_ || server_->stopped()) {
        if (server_->stopped())
            co_return stopped_failure();
        if (gave_up_)
            co_return *gave_up_;
        // Each time: a stream that is just being given up for others' sake is followed by a new one for us.
        server_->follow(info_.directory, self);
        co_await changed_.wait();
    }
    co_return result<void>();
}

// The server answers prompts in the order of their ids, which is that of the calls: one that came late would
// make it run a later one again.
net::awaitable<void> session_core::post_in_turn(std::shared_ptr<turn_core> core, opencode::prompt what) {
    const auto self = shared_from_this();
    while (posting_.front() != core.get() && !core->abort_asked && protocol_->is_open(core->message))
        co_await changed_.wait();
    if (what.command.empty())
        co_await post_until_known(core, std::move(what));
    else
        co_await post_command(core, std::move(what));
}

void session_core::on_posted(turn_core& core, bool once) {
    core.posted = true;
    if (const auto mine = open_.find(core.message); mine != open_.end())
        mine->second.used.posted(world().now());
    protocol_->posted(core.message, world().now(), once);
    changed_.notify_all();
}

// Posts until the server has the prompt for sure, or cannot have it. The prompt carries its own ids, so that
// a repost is harmless. Once it is to be aborted it is posted no more, and only a server that may have it is
// asked.
net::awaitable<void> session_core::post_until_known(std::shared_ptr<turn_core> core, opencode::prompt what) {
    const auto self = shared_from_this();
    retry::schedule schedule(config().policy);
    while (protocol_->is_open(core->message)) {
        const bool before = core->maybe_posted;
        if (core->abort_asked && !before)
            co_return close_turn(core->message, outcome::aborted, rule::abort_requested, std::nullopt,
                                 reprompt::yes);
        auto asking = core->abort_asked ? is_there(core->message) : post_once(core, what);
        const auto done = co_await std::move(asking);
        if (done) {
            core->sent = std::move(what);
            co_return on_posted(*core, !before);
        }
        if (core->abort_asked && done.error().code == errc::not_found)
            co_return close_turn(core->message, outcome::aborted, rule::abort_requested, std::nullopt,
                                 reprompt::unknown);
        const auto next = schedule.on_end(done.error(), duration::zero(), world().now(), world().random());
        if (next.give_up)
            co_return settle_unposted(*core, done.error());
        co_await server_->pause(next.delay);
    }
}

// After a lost answer the server is asked whether it has it, and it is posted again only if not: a prompt
// that failed meanwhile would run once more.
net::awaitable<result<void>> session_core::post_once(std::shared_ptr<turn_core> core, opencode::prompt what) {
    const auto self = shared_from_this();
    if (core->maybe_posted) {
        const auto seen = co_await is_there(core->message);
        if (seen || seen.error().code != errc::not_found)
            co_return seen;
    }
    last_sent_ = core->message;
    // While it is under way, whoever gives up must not call it safe to repeat.
    const bool before = std::exchange(core->maybe_posted, true);
    const auto done = co_await protocol_->post(what);
    if (done)
        co_return done;
    if (!done.error().connected || retry::is_final(done.error()))
        core->maybe_posted = before;
    if (core->maybe_posted) {
        const auto seen = co_await is_there(core->message);
        if (seen)
            co_return seen;
    }
    co_return done;
}

net::awaitable<result<void>> session_core::is_there(std::string message) {
    return protocol_->is_there(std::move(message));
}

void session_core::settle_unposted(turn_core& core, const failure& why) {
    const auto error = as_settlement_error(why);
    if (core.maybe_posted)
        close_turn(core.message, outcome::lost, rule::gave_up, error, reprompt::unknown);
    else
        close_turn(core.message, outcome::failed, rule::not_posted, error, reprompt::yes);
}

// --- session_core: what the stream does

void session_core::on_attached() {
    knows_newest_ = false;
    if (const auto left = std::exchange(left_, {}); !left.empty())
        server_->unfollow(left, info_.id);
    repairing_ = true;
    unreadable_told_ = false;
    protocol_->attached(world().now());
}

net::awaitable<void> session_core::repair() {
    const auto self = shared_from_this();
    const auto with = protocol_;
    co_await server_->make_sure();
    if (with != protocol_)
        co_return; // another stream, which has its own
    if (protocol_->has_open_turns() || is_followed() || protocol_->background() != 0 || asks_.size() != 0)
        co_await take_snapshot();
}

void session_core::on_event(std::string_view data) {
    seen_ = world().now();
    const bool was_at_work = protocol_->has_open_turns();
    on_heard(protocol_->hear(data, *seen_), was_at_work);
}

void session_core::on_prepared(std::shared_ptr<void> prepared) {
    seen_ = world().now();
    const bool was_at_work = protocol_->has_open_turns();
    on_heard(protocol_->hear(std::move(prepared), *seen_), was_at_work);
}

void session_core::on_heard(const heard& told, bool was_at_work) {
    if (told.unreadable)
        return log_unreadable(*told.unreadable);
    if (told.info) {
        info_.title = told.info->title;
        info_.updated_ms = told.info->updated_ms;
        info_.archived_ms = told.info->archived_ms;
    }
    if (told.error) {
        if (!was_at_work)
            log_stray(*told.error);
        reported_ = told.error;
    }
    pump();
    if (told.is_deleted)
        close_feeds();
    if (protocol_->wants_snapshot() || protocol_->next_deadline() < armed_for_)
        changed_.notify_all();
}

/// Told once a stream.
void session_core::log_unreadable(const failure& why) {
    if (std::exchange(unreadable_told_, true))
        return;
    auto record = make_record(log_level::warn);
    record.event = "session.event_unreadable";
    record.error_class = retry::to_string(why.cls);
    record.error_message = why.message;
    world().log(record);
}

void session_core::on_live() {
    live_ = true;
    repairing_ = false;
    stream_trouble_.reset();
    if (world().in_trouble())
        server_->endpoint_answers();
    if (!stranger_) {
        contact_lost_ = false;
        capture_.succeeded();
        recovered();
    }
    pump();
    changed_.notify_all();
}

void session_core::on_interrupted(const stream::item& why) {
    live_ = repairing_ = false;
    contact_lost_ = true;
    server_->is_unsure();
    stream_trouble_ = {why.failure, why.attempt > 0 ? why.attempt - 1 : 0, std::nullopt};
    if (why.what != stream::item::kind::gave_up)
        stream_trouble_->next_try = later(world().now(), why.retry_in);
    server_->look_soon();
    if (why.what == stream::item::kind::gave_up) // on_give_up() asks, and the settlement tells it
        return protocol_->broken_off(why.failure, world().now());
    protocol_->interrupted(why.failure, why.attempt, why.retry_in, world().now());
    // A stream that cannot be had is not a server that cannot be asked.
    ask_rest_ = why.failure.connected && protocol_->has_open_turns();
    pump();
    changed_.notify_all();
}

net::awaitable<void> session_core::on_give_up(const stream::item& why) {
    const auto self = shared_from_this();
    const auto last = why.failure;
    const auto stream = server_->stream_key(*this);
    const auto with = protocol_;
    const std::optional<failure> why_over(last);
    const bool is_other = co_await server_->is_another(why_over);
    if (is_other || with != protocol_)
        co_return; // and its stream is had
    if (protocol_->has_open_turns())
        co_await take_snapshot();
    if (!belongs_to(stream))
        co_return; // elsewhere now, where the stream is another
    const auto error = as_settlement_error(last);
    for (const auto& [message, weak] : std::map(turns_)) {
        const auto core = weak.lock();
        if (!core || !protocol_->is_open(message))
            continue;
        core->maybe_posted = core->maybe_posted || core->posted;
        settle_unposted(*core, last);
    }
    gave_up_ = last;
    if (last.status == 401) // no look will tell more
        give_up_turns(last);
    changed_.notify_all();
}

// Ours and others': no more is learned of them before a wake.
void session_core::give_up_turns(const failure& why) {
    const auto error = as_settlement_error(why);
    for (const auto& [message, used] : std::map(open_))
        close_turn(message, outcome::lost, rule::gave_up, error, reprompt::unknown);
}

void session_core::on_stream_over() {
    live_ = repairing_ = false;
    changed_.notify_all();
}

void session_core::on_gone() {
    live_ = false;
    gave_up_ = retry::make_failure(errc::gone);
    close_all(outcome::lost, rule::server_gone, as_settlement_error(*gave_up_), reprompt::unknown);
    end_feeds();
    changed_.notify_all();
}

bool session_core::belongs_to(const std::string& stream) const {
    return server_->stream_key(*this) == stream;
}

// --- session_link

bool session_link::counts() const {
    return to_->belongs_to(stream_);
}

void session_link::on_attached() {
    if (counts())
        to_->on_attached();
}

net::awaitable<void> session_link::repair() {
    const auto to = to_;
    if (counts())
        co_await to->repair();
}

void session_link::on_event(std::string_view data) {
    if (counts())
        to_->on_event(data);
}

void session_link::on_prepared(std::string_view, std::shared_ptr<void> prepared) {
    if (counts())
        to_->on_prepared(std::move(prepared));
}

void session_link::on_live() {
    if (counts())
        to_->on_live();
}

void session_link::on_interrupted(const stream::item& why) {
    if (counts())
        to_->on_interrupted(why);
}

net::awaitable<void> session_link::on_give_up(const stream::item& why) {
    const auto to = to_;
    if (counts())
        co_await to->on_give_up(why);
}

// --- session_core: asking the server

net::awaitable<void> session_core::supervise() {
    const auto self = shared_from_this();
    time_point not_before = world().now();
    for (;;) {
        protocol_->tick(world().now());
        pump();
        if (!unexplained_.empty()) {
            co_await explain_endings();
            continue;
        }
        if (asks_.next_due() <= world().now()) {
            co_await answer_overdue_asks();
            continue;
        }
        if (next_limit() <= world().now()) {
            co_await end_what_passed_a_limit();
            continue;
        }
        if (leave_stream_at() <= world().now())
            leave_stream();
        if (protocol_->take_abort()) {
            const auto done = co_await protocol_->abort();
            static_cast<void>(done); // it is asked again while the server is at it
            continue;
        }
        if (next_place_check() <= world().now()) {
            co_await check_place();
            continue;
        }
        const bool due = !repairing_ && (ask_rest_ || protocol_->wants_snapshot());
        if (due && world().now() >= not_before) {
            ask_rest_ = false;
            co_await take_snapshot();
            not_before = later(world().now(), snapshot_pause);
            continue;
        }
        armed_for_ = std::min({protocol_->next_deadline(), due ? not_before : time_point::max(),
                               asks_.next_due(), next_limit(), leave_stream_at(), next_place_check()});
        co_await changed_.wait(armed_for_);
    }
}

// --- session_core: what its turns tell

// From the tracker to the turns' queues, and to who follows.
void session_core::pump() {
    for (const auto& message : protocol_->take_opened())
        on_opened(message);
    for (auto& out : protocol_->take_outputs())
        hand_out(std::move(out));
}

void session_core::on_opened(const std::string& message) {
    const auto now = world().now();
    active_at_ = now;
    const auto& limits = config().limits_of_turns;
    if (!open_.emplace(message, open_turn{limit_watch(limits, now), limits.abort_patience}).second)
        return;
    world().count(metric::turns_opened);
    world().count(metric::turns_open);
    changed_.notify_all();
}

// About some ends the server is asked first.
void session_core::hand_out(ledger::deliver out) {
    const auto* how = std::get_if<settlement>(&out.event);
    const bool ends_without_an_end =
        how && (how->rule == rule::never_answered || how->rule == rule::unfinished) && !how->error;
    if (!ends_without_an_end || info_.directory.empty() || server_->stopping().requested())
        return hand_on(std::move(out));
    unexplained_.push_back(std::move(out));
    changed_.notify_all();
}

net::awaitable<void> session_core::explain_endings() {
    const auto self = shared_from_this();
    const auto why = co_await protocol_->explain_ending(server_->rest_for_looks());
    if (why)
        for (auto& out : unexplained_)
            std::get<settlement>(out.event).error = why;
    deliver_unexplained();
}

void session_core::deliver_unexplained() {
    for (auto& out : std::exchange(unexplained_, {}))
        hand_on(std::move(out));
}

void session_core::hand_on(ledger::deliver out) {
    const bool is_news = note_ask(out);
    if (const auto mine = open_.find(out.message); mine != open_.end()) {
        mine->second.used.heard(out.event, world().now());
        if (const auto* waits = std::get_if<retry_event>(&out.event))
            mine->second.used.waits(wait_of(*waits, world().wall_now()), world().now());
        note_limit(out.message, mine->second);
    }
    if (auto* how = std::get_if<settlement>(&out.event))
        on_settled(out.message, *how);
    if (is_news && !is_told_by_its_end(out))
        deliver(std::move(out));
}

/// Of a turn that the server went on with in another protocol.
bool session_core::is_told_by_its_end(const ledger::deliver& out) const {
    const bool is_text = std::holds_alternative<text_event>(out.event) ||
                         std::holds_alternative<reasoning_event>(out.event) ||
                         std::holds_alternative<tool_event>(out.event);
    return is_text && handed_over_.contains(out.message);
}

// The last who is told gets the event itself: it may be large.
void session_core::deliver(ledger::deliver out) {
    const auto found = turns_.find(out.message);
    const auto core = found == turns_.end() ? nullptr : found->second.lock();
    std::vector<std::shared_ptr<feed_core>> feeds;
    if (out.message.empty())
        put_approval(out.event);
    for (const auto& each : feeds_)
        if (auto feed = each.lock())
            feeds.push_back(std::move(feed));
    for (std::size_t i = 0; i < feeds.size(); ++i) {
        const bool last = !core && i + 1 == feeds.size();
        feeds[i]->events.put({info_.id, out.message, last ? std::move(out.event) : out.event});
    }
    if (core)
        core->push(std::move(out.event));
}

/// Of the session itself: to who holds it.
void session_core::put_approval(const agent_event& event) {
    if (const auto* permission = std::get_if<permission_event>(&event))
        approvals_.put(*permission);
    if (const auto* question = std::get_if<question_event>(&event))
        approvals_.put(*question);
}

void session_core::on_settled(const std::string& message, settlement& how) {
    active_at_ = world().now();
    last_error_ = how.error;
    if (const auto mine = open_.find(message); mine != open_.end()) {
        how.limit = mine->second.passed;
        how.usage = mine->second.used.used();
        open_.erase(mine);
        world().uncount(metric::turns_open);
    }
    handed_over_.erase(message);
    world().count(metric_of(how.outcome));
    world().uncount(metric::asks_waiting, asks_.forget_those_of(message));
    log_settlement(message, how);
}

// Told once: it will have as many at the next look.
void session_core::found_too_many_children() {
    if (std::exchange(children_told_, true))
        return;
    auto record = make_record(log_level::warn);
    record.event = "session.too_many_children";
    record.error_message =
        "more than " + std::to_string(config().turns.max_children) + ": the others are not looked at";
    world().log(record);
}

// One that ended a turn is told by its settlement; some are sent twice.
void session_core::log_stray(const api_error& error) const {
    const bool is_told =
        last_error_ && last_error_->name == error.name && last_error_->message == error.message;
    if (is_told || error.name == aborted_error)
        return;
    server_->log_stray(info_.id, tag(), error);
}

log_record session_core::make_record(log_level level) const {
    log_record record;
    record.level = level;
    record.session = info_.id;
    record.tag = tag();
    return record;
}

void session_core::log_followed() const {
    auto record = make_record(log_level::debug);
    record.event = "session.followed";
    world().log(record);
}

void session_core::log_settlement(const std::string& message, const settlement& how) const {
    auto record = make_record(log_level::info);
    record.event = "turn.settled";
    record.action =
        std::string(to_string(how.outcome)) + " by " + std::string(to_string(how.rule)) + " of " + message;
    if (how.limit != turn_limit::none)
        record.action += ", for its limit: " + std::string(to_string(how.limit));
    if (how.error) {
        record.error_class = how.error->cls;
        record.error_message = how.error->message;
    }
    world().log(record);
}

} // namespace holdfast::opencode::detail
