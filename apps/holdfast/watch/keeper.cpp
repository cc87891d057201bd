#include "watch/keeper.hpp"

#include <holdfast/opencode/types.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::app {
namespace {

constexpr duration tending = seconds(1);
constexpr duration between_looks =
    milliseconds(250); // at one server, however often it tells of something new
constexpr duration before_following_again = seconds(30);
constexpr std::size_t longest_observed = 1u << 20; // bytes of an event: what is longer cannot be shown
constexpr std::size_t field_name_bytes = 64;       // of a line, before its data
constexpr std::size_t sessions_at_once = 50;       // taken in one go, before others get their turn

std::string short_name(const watched_server& server) {
    if (!server.tag.empty())
        return server.tag;
    const auto url = to_string(server.url.where);
    return url.substr(url.find("://") + 3);
}

server_sight not_known(std::string words) {
    server_sight why;
    why.trouble = retry::make_failure(errc::not_found);
    why.trouble->message = std::move(words);
    return why;
}

} // namespace

struct watch_keeper::followed {
    followed(std::string session, opencode::feed f) : id(std::move(session)), feed(std::move(f)) {}

    std::string id;
    opencode::feed feed;
    task_scope::id task = 0; // that hears it
    bool listed = false;     // found by discovery, not named
};

struct watch_keeper::held {
    held(runtime& world, const watched_server& w, std::size_t n, opencode::server_config config,
         const retry::policy& policy)
        : what(w), number(n), server(world, w.url, std::move(config)), schedule(policy),
          something_new(world) {}

    const watched_server& what;
    std::size_t number; // on the board
    opencode::server server;
    retry::schedule schedule;
    condition_variable something_new;
    std::map<std::string, std::shared_ptr<followed>> sessions;
    std::map<std::string, time_point> unknown; // sessions, not to be followed again before
    server_sight sight;
    bool asked = false;
    bool answers = false;   // when it was asked last
    time_point failed_at{}; // when that was not so
    bool open = false;      // its breaker, at the last check
    bool look_again = false;
    std::size_t left_out = 0; // sessions that it lists beyond max_runs
};

watch_keeper::watch_keeper(runtime& world, const watch_config& config,
                           std::shared_ptr<const http::tls_context> tls, watch_board& board, hooks what)
    : world_(world), config_(config), board_(board), on_change_(std::move(what.changed)), aborted_(world),
      scope_(world, std::move(what.failed)) {
    for (const auto& each : config.servers) {
        const auto number = board.add_server(each.url.redacted(), short_name(each));
        opencode::server_config settings;
        settings.policy = config.policy;
        settings.stall_timeout = config.stall_timeout;
        settings.global_stream = each.global_stream;
        settings.protocol = each.protocol;
        settings.rest.transport.tls = tls;
        settings.rest.bearer = each.bearer;
        settings.capture = config.capture;
        settings.limits_of_turns = config.limits;
        settings.turns.followed_text = config.turn_text;
        settings.limits.event = config.event_bytes;
        settings.limits.line = config.event_bytes + field_name_bytes;
        settings.ask_rules = config.ask_rules;
        settings.ask_timeout = config.ask_timeout;
        settings.ask_default = config.ask_default;
        settings.tag = each.tag;
        settings.observe = [this, number](std::string_view data) {
            observe(*servers_[number], data);
        };
        servers_.push_back(std::make_unique<held>(world, each, number, std::move(settings), config.policy));
    }
    for (const auto& each : config.sessions)
        wanted_[each];
}

watch_keeper::~watch_keeper() = default;

std::string watch_keeper::not_ready() const {
    for (const auto& each : servers_) {
        if (!each->asked)
            return short_name(each->what) + ": not asked yet";
        if (each->sight.trouble && each->sight.trouble->status == 401)
            return short_name(each->what) + ": authentication failed";
    }
    return {};
}

void watch_keeper::wake_all() {
    for (const auto& each : servers_) {
        world_.wake(each->what.url.where);
        each->server.wake();
        each->unknown.clear();
        each->look_again = true;
        each->something_new.notify_all();
    }
}

// Also tells the board, which dates what it sees.
time_point watch_keeper::now() {
    const auto now = world_.now();
    board_.see_clocks(now, world_.wall_now());
    return now;
}

void watch_keeper::observe(held& where, std::string_view data) {
    if (data.size() > longest_observed)
        return;
    if (data.find("session.created") != std::string_view::npos) {
        where.look_again = true;
        where.something_new.notify_all();
    }
    if (data.find("session.error") == std::string_view::npos)
        return;
    const auto event = opencode::parse_json(data);
    const auto* all = event ? event->if_object() : nullptr;
    const auto* payload = all ? all->if_contains("payload") : nullptr; // of the global stream
    if (payload)
        all = payload->if_object();
    const auto* type = all ? all->if_contains("type") : nullptr;
    const auto* told = all ? all->if_contains("properties") : nullptr;
    if (!type || !type->is_string() || type->get_string() != "session.error" || !told || !told->is_object())
        return;
    const auto* session = told->get_object().if_contains("sessionID");
    const auto* error = told->get_object().if_contains("error");
    board_.see_error(where.number, session && session->is_string() ? std::string(session->get_string()) : "",
                     error ? opencode::parse_api_error(*error) : opencode::api_error{});
    on_change_();
}

void watch_keeper::start() {
    for (const auto& [session, refused] : wanted_)
        board_.miss(std::nullopt, session, {}, world_.now());
    for (const auto& each : servers_) {
        for (const auto& session : each->what.sessions)
            follow(*each, session, opencode::follow_by::stream);
        scope_.spawn(each->server.run());
        scope_.spawn(hold(*each));
    }
    scope_.spawn(tend());
    on_change_();
}

void watch_keeper::stop() {
    scope_.cancel();
}

// --- one server

// Looks at it for ever: by the policy while it does not answer, else now and then, and when something is new.
net::awaitable<void> watch_keeper::hold(held& where) {
    for (;;) {
        where.look_again = false;
        const bool well = co_await look_at(where);
        where.asked = true;
        on_change_();
        const auto now = world_.now();
        const auto soonest = later(now, between_looks);
        const auto due = well ? later(now, config_.discover_every) : where.sight.next_try.value_or(soonest);
        while (!where.look_again && world_.now() < due)
            co_await where.something_new.wait(due);
        co_await world_.sleep_until(soonest);
    }
}

// While a server does not answer, one attempt at a time is enough: what its streams and captures tried since
// counts.
std::optional<retry::failure> watch_keeper::failed_since(const held& where) const {
    const auto breaker = world_.breaker_of(where.what.url.where);
    const bool is_newer =
        breaker && breaker->open && where.sight.trouble && breaker->last_at > where.failed_at;
    return is_newer ? std::optional(breaker->last) : std::nullopt;
}

net::awaitable<bool> watch_keeper::look_at(held& where) {
    if (const auto others = failed_since(where)) {
        on_failure(where, *others);
        co_return false;
    }
    if (!where.answers || !*where.what.discover) {
        const auto info = co_await where.server.health();
        if (!info) {
            on_failure(where, info.error());
            co_return false;
        }
        where.sight.version = info->version;
    }
    if (*where.what.discover && !co_await discover(where))
        co_return false;
    on_success(where);
    for (const auto& session : where.what.sessions)
        follow(where, session, opencode::follow_by::stream);
    co_await find_named(where);
    co_return true;
}

// The newest sessions of all that the server lists; the others are counted.
net::awaitable<bool> watch_keeper::discover(held& where) {
    opencode::session_query query;
    query.roots = true;
    query.limit = config_.max_runs + 1; // one more tells whether there are more
    query.keep = config_.max_runs;
    const auto listed = co_await where.server.list_sessions(query);
    if (!listed) {
        on_failure(where, listed.error());
        co_return false;
    }
    std::size_t taken = 0;
    for (const auto& each : listed->sessions) {
        if (!each.parent_id.empty())
            continue;
        if (++taken % sessions_at_once == 0)
            co_await net::post(world_.executor(), net::use_awaitable);
        take_over(where, each.id);
        follow(where, each.id, opencode::follow_by::activity);
    }
    drop_old(where, listed->sessions);
    see_left_out(where, listed->left_out);
    co_return true;
}

// Newer sessions take the place of those that nothing happens in.
void watch_keeper::drop_old(held& where, const std::vector<opencode::session_info>& newest) {
    if (where.sessions.size() <= config_.max_runs)
        return;
    std::set<std::string> kept;
    for (const auto& each : newest)
        kept.insert(each.id);
    std::vector<std::string> old;
    for (const auto& [id, who] : where.sessions) {
        const auto status = who->feed.view().status;
        const bool idle = !status || status->state == opencode::session_status::kind::idle;
        if (who->listed && idle && !kept.contains(id))
            old.push_back(id);
    }
    for (const auto& each : old)
        drop(where, each);
}

void watch_keeper::see_left_out(held& where, std::size_t sessions) {
    const auto before = std::exchange(where.left_out, sessions);
    board_.see_left_out(where.number, sessions);
    if ((before == 0) == (sessions == 0))
        return;
    log_record record;
    record.level = sessions == 0 ? log_level::info : log_level::warn;
    record.event = "server.sessions_left_out";
    record.endpoint = to_string(where.what.url.where);
    record.tag = short_name(where.what);
    record.error_message = sessions == 0
                               ? "all sessions of the server are watched"
                               : "the server lists more sessions than --max-runs allows: the newest " +
                                     std::to_string(config_.max_runs) + " are watched, at least " +
                                     std::to_string(sessions) + " are not";
    world_.log(record);
}

// The sessions that the first server that knows them is to hold.
net::awaitable<void> watch_keeper::find_named(held& where) {
    std::vector<std::string> open;
    for (const auto& [session, refused] : wanted_)
        open.push_back(session);
    for (const auto& session : open) {
        const auto found = co_await where.server.get_session(session);
        const auto still = wanted_.find(session);
        if (still == wanted_.end()) // another was faster
            continue;
        if (found) {
            wanted_.erase(still);
            board_.forget(std::nullopt, session);
            follow(where, session, opencode::follow_by::stream);
            continue;
        }
        if (found.error().code == errc::not_found)
            still->second.insert(&where);
        if (still->second.size() < servers_.size())
            continue;
        board_.miss(std::nullopt, session, not_known("no server knows this session"), world_.now());
    }
}

void watch_keeper::on_success(held& where) {
    where.answers = true;
    where.schedule.reset();
    const bool was_in_trouble = where.sight.trouble.has_value();
    where.sight.trouble.reset();
    where.sight.failures = 0;
    where.sight.next_try.reset();
    show(where);
    if (!was_in_trouble)
        return;
    where.server.wake(); // its streams and captures need not wait
    log_record record;
    record.endpoint = to_string(where.what.url.where);
    record.tag = short_name(where.what);
    world_.recovered(record);
}

// 401, or something that is no OpenCode server: tried again too, as somebody may put it right.
void watch_keeper::on_failure(held& where, const retry::failure& why) {
    const auto now = world_.now();
    const auto next = where.schedule.on_end(why, duration::zero(), now, world_.random());
    const auto delay = next.give_up ? config_.policy.max_delay : next.delay;
    where.answers = false;
    where.failed_at = now;
    where.sight.trouble = in_words(why);
    where.sight.failures = std::max(1u, where.schedule.failures());
    where.sight.next_try = later(now, delay);
    show(where);
    log_record record;
    record.level = log_level::warn;
    record.event = "server.not_answering";
    record.endpoint = to_string(where.what.url.where);
    record.tag = short_name(where.what);
    record.error_class = retry::to_string(why.cls);
    record.error_message = where.sight.trouble->message;
    record.failures = where.sight.failures;
    record.action = "retry";
    record.retry_in_ms = to_ms(delay);
    world_.report(record);
}

// --- sessions

void watch_keeper::follow(held& where, const std::string& session, opencode::follow_by how) {
    if (where.sessions.contains(session) || where.unknown.contains(session))
        return;
    auto who = std::make_shared<followed>(session, where.server.follow(session, how));
    who->listed = how == opencode::follow_by::activity;
    where.sessions.emplace(session, who);
    who->task = scope_.spawn(hear(where, who));
}

// A server that was started again on another port knows the sessions of before. While the old port does not
// answer, they are here; where both answer, there are two servers, and each has its own.
void watch_keeper::take_over(const held& where, const std::string& session) {
    for (const auto& other : servers_) {
        const auto there = other->sessions.find(session);
        if (other.get() == &where || there == other->sessions.end() || !there->second->listed ||
            !other->sight.trouble || !retry::blames_endpoint(*other->sight.trouble))
            continue;
        board_.moved(other->number, session, now());
        drop(*other, session);
    }
}

void watch_keeper::drop(held& where, const std::string& session) {
    const auto who = where.sessions.extract(session);
    if (who.empty())
        return;
    scope_.cancel(who.mapped()->task);
    board_.forget(where.number, session);
}

net::awaitable<void> watch_keeper::hear(held& where, std::shared_ptr<followed> who) {
    while (auto event = co_await who->feed.next()) {
        const auto when = now();
        board_.see(where.number, who->feed.view(), when);
        board_.hear(where.number, *event, when);
        on_change_();
    }
    end_of(where, *who);
    on_change_();
}

// The server knows it no more, or never did.
void watch_keeper::end_of(held& where, const followed& who) {
    const auto when = now();
    const auto id = who.id;
    const bool forgotten = who.listed || who.feed.view().seen.has_value();
    where.sessions.erase(id);
    where.look_again = where.look_again || where.sessions.empty();
    where.something_new.notify_all();
    where.unknown[id] = later(when, before_following_again);
    if (forgotten)
        return board_.gone(where.number, id, when);
    auto why = not_known("the server does not know this session");
    why.next_try = where.unknown[id];
    board_.miss(where.number, id, why, when);
}

// --- what goes on beside

// Once a second: what is seen without an event.
net::awaitable<void> watch_keeper::tend() {
    for (;;) {
        co_await world_.sleep_for(tending);
        for (const auto& each : servers_) {
            std::erase_if(each->unknown, [&](const auto& one) { return one.second <= world_.now(); });
            co_await see_sessions(*each);
            heed_breaker(*each);
        }
        board_.pass(now());
        on_change_();
    }
}

net::awaitable<void> watch_keeper::see_sessions(held& where) {
    std::set<std::string> streamed;
    std::vector<std::shared_ptr<followed>> all;
    for (const auto& [id, who] : where.sessions)
        all.push_back(who);
    std::size_t seen = 0;
    for (const auto& who : all) {
        if (++seen % sessions_at_once == 0)
            co_await net::post(world_.executor(), net::use_awaitable);
        const auto still = where.sessions.find(who->id);
        if (still == where.sessions.end() || still->second != who)
            continue;
        auto view = who->feed.view();
        view.info.id = who->id;
        if (view.streamed)
            streamed.insert(view.info.directory);
        if (view.trouble && view.trouble->status == 401 && std::exchange(where.answers, false)) {
            where.look_again = true; // the credentials are the server's matter
            where.something_new.notify_all();
        }
        board_.see(where.number, view, now());
    }
    board_.see_streams(where.number, streamed.size());
}

// Streams and captures often find out first that a server is gone, or back.
void watch_keeper::heed_breaker(held& where) {
    const auto breaker = world_.breaker_of(where.what.url.where);
    const bool was_open = std::exchange(where.open, breaker && breaker->open);
    if (where.open && !where.sight.trouble) {
        where.answers = false;
        where.sight.trouble = breaker->last;
    }
    if (where.open || was_open)
        show(where);
    if (was_open != where.open) {
        where.look_again = true;
        where.something_new.notify_all();
    }
}

// While its endpoint fails, whoever is due first tries it for all.
void watch_keeper::show(held& where) {
    auto shown = where.sight;
    if (where.open)
        for (const auto& [id, who] : where.sessions) {
            const auto view = who->feed.view();
            if (!view.trouble)
                continue;
            shown.failures = std::max(shown.failures, view.failures);
            if (view.next_try)
                shown.next_try = shown.next_try ? std::min(*shown.next_try, *view.next_try) : *view.next_try;
        }
    board_.see_server(where.number, shown, world_.now());
}

net::awaitable<void> watch_keeper::abort(std::shared_ptr<followed> who) {
    const auto done = co_await who->feed.abort();
    --aborting_;
    aborted_.notify_all();
    if (done)
        co_return;
    log_record record;
    record.level = log_level::warn;
    record.event = "session.not_aborted";
    record.session = who->id;
    record.error_class = retry::to_string(done.error().cls);
    record.error_message = done.error().message;
    world_.log(record);
}

void watch_keeper::begin_abort(std::shared_ptr<followed> who) {
    ++aborting_;
    scope_.spawn(abort(std::move(who)));
}

net::awaitable<void> watch_keeper::abort_all(time_point deadline) {
    for (const auto& where : servers_)
        for (const auto& [id, who] : where->sessions) {
            const auto view = who->feed.view();
            if (view.status && view.status->state != opencode::session_status::kind::idle)
                begin_abort(who);
        }
    while (aborting_ > 0 && world_.now() < deadline)
        co_await aborted_.wait(deadline);
}

} // namespace holdfast::app
