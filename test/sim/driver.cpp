#include "driver.hpp"

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/with_deadline.hpp>
#include <holdfast/testing/sim_host.hpp>
#include <holdfast/testing/world.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>

namespace holdfast::sim {
namespace {

using opencode::agent_event;
using opencode::settlement;
using testing::memory_network;
using testing::opencode_sim;

constexpr duration tick = seconds(1);            // how often the users look whether all has settled
constexpr duration model_patience = minutes(40); // no scripted turn takes longer, queued ones with it

std::string text_of(const agent_event& e) {
    struct words {
        static std::string quoted(const std::string& s) {
            constexpr std::size_t enough = 40;
            return "\"" + (s.size() > enough ? s.substr(0, enough) + "..." : s) + "\"";
        }
        static std::string answer(const std::optional<std::string>& reply) {
            return reply ? ", answered: " + *reply : std::string();
        }
        std::string operator()(const opencode::text_event& e) const {
            return "text " + e.part + " " + quoted(e.delta);
        }
        std::string operator()(const opencode::reasoning_event& e) const {
            return "reasoning " + e.part + " " + quoted(e.delta);
        }
        std::string operator()(const opencode::tool_event& e) const {
            return "tool " + e.id + " " + e.name + " " + e.state + " " + e.title;
        }
        std::string operator()(const opencode::permission_event& e) const {
            return "permission " + e.request.id + answer(e.reply);
        }
        std::string operator()(const opencode::question_event& e) const {
            return "question " + e.request.id + answer(e.reply);
        }
        std::string operator()(const opencode::retry_event& e) const {
            return "retry " + std::to_string(e.attempt) + " " + e.message;
        }
        std::string operator()(const opencode::usage_event& e) const { return "usage of " + e.message; }
        std::string operator()(const opencode::quiet_event& e) const {
            return "quiet for " + std::to_string(to_ms(e.lasted)) + " ms, " + e.status;
        }
        std::string operator()(const opencode::interrupted_event& e) const {
            return "interrupted by " + std::string(retry::to_string(e.failure.cls)) + ", attempt " +
                   std::to_string(e.attempt) + " in " + std::to_string(to_ms(e.retry_in)) + " ms";
        }
        std::string operator()(const opencode::gap_event& e) const {
            return std::string(e.missing ? "missing text" : "repaired") + " after " +
                   std::to_string(to_ms(e.lasted)) + " ms";
        }
        std::string operator()(const settlement& s) const {
            return "SETTLED " + std::string(to_string(s.outcome)) + " by " + std::string(to_string(s.rule)) +
                   " at \"" + s.event +
                   "\", safe to reprompt: " + std::string(to_string(s.safe_to_reprompt)) +
                   (s.error ? ", error " + s.error->cls + " " + s.error->name + " " + s.error->message
                            : std::string()) +
                   (s.merged_into.empty() ? std::string() : ", merged into " + s.merged_into) + ", text " +
                   quoted(s.text);
        }
    };
    return std::visit(words{}, e);
}

bool harms_calls(const trouble& t) {
    using kind = trouble::kind;
    using fk = testing::fault::kind;
    switch (t.what) {
    case kind::inject:
        return t.fault.what == fk::refuse || t.fault.what == fk::restart || t.fault.what >= fk::api_status;
    case kind::gone:
    case kind::cut_streams:
    case kind::stall_streams:
    case kind::mute:
    case kind::dispose: return false;
    default: return true;
    }
}

/// Lasts until all is put right, whatever its length.
bool is_armed(const trouble& t) {
    using kind = trouble::kind;
    return t.what == kind::inject || t.what == kind::harm_next || t.what == kind::harm_open ||
           t.what == kind::stall_streams;
}

/// Stands before a server, and counts what followers ask it: they give their name as a user's.
class counter final : public testing::simulated_server {
public:
    explicit counter(testing::sim_host& host) : host_(host) {}

    struct asked {
        std::size_t requests = 0;
        std::size_t streams = 0;
    };
    std::map<std::string, asked> by_credentials;

    void accepted(testing::wire_id wire) override { host_.accepted(wire); }
    void received(testing::wire_id wire, std::string_view bytes) override {
        auto& heads = heads_[wire];
        heads += bytes;
        for (std::size_t end; (end = heads.find("\r\n\r\n")) != std::string::npos; heads.erase(0, end + 4))
            count(std::string_view(heads).substr(0, end + 2));
        host_.received(wire, bytes);
    }
    void closed(testing::wire_id wire) override {
        heads_.erase(wire);
        host_.closed(wire);
    }

private:
    void count(std::string_view head) {
        constexpr std::string_view field = "\r\nAuthorization: Basic ";
        const auto found = head.find(field);
        if (found == std::string_view::npos)
            return;
        const auto begin = found + field.size();
        auto& by = by_credentials[std::string(head.substr(begin, head.find('\r', begin) - begin))];
        const bool stream = head.starts_with("GET /event") || head.starts_with("GET /global/event");
        ++(stream ? by.streams : by.requests);
    }

    testing::sim_host& host_;
    std::map<testing::wire_id, std::string> heads_;
};

class play {
public:
    play(const scenario& what, const run_options& how)
        : plan_(what), how_(how), world_(what.seed), begun_(world_.time().now()) {
        world_.net().latency(plan_.latency);
        world_.net().slice(plan_.slice);
        result_.seen.sessions.resize(plan_.sessions.size());
        for (std::size_t i = 0; i < plan_.servers.size(); ++i)
            servers_.push_back(std::make_unique<held>(*this, i));
        sessions_.resize(plan_.sessions.size());
        for (std::size_t i = 0; i < plan_.sessions.size(); ++i)
            result_.seen.sessions[i].server = plan_.sessions[i].server;
        for (std::size_t i = 0; i < plan_.followers.size(); ++i)
            followers_.push_back(std::make_unique<follower>(*this, i));
        watch();
    }

    void run() {
        try {
            for (auto& s : servers_)
                spawn_cancellable("run() of server " + std::to_string(s->number), hold(*s), s->cancel_run);
            for (std::size_t i = 0; i < sessions_.size(); ++i)
                spawn("session " + std::to_string(i), make_session(i));
            for (auto& f : followers_)
                begin_following(*f);
            spawn("the actions", act());
            spawn("the troubles", trouble_all());
            spawn("the end", end());
            world_.run_until([this] { return over_; }, std::chrono::hours(6));
            finish();
        } catch (const std::logic_error& e) {
            result_.complaints.push_back({"every open turn settles in bounded time once all is well",
                                          std::string(e.what()) + whom_it_concerns()});
            broken_down_ = true;
        }
        learn_truths(true);
        result_.seen.lasted = since();
        result_.seen.logs = std::move(world_.logs());
        check_the_end(result_.seen, result_.complaints);
    }

    /// What can never go on cannot be taken apart in order either.
    [[nodiscard]] bool broken_down() const {
        return broken_down_ ||
               (result_.seen.left && (result_.seen.left->timers != 0 || result_.seen.left->handlers));
    }
    run_result take() { return std::move(result_); }

private:
    struct held {
        held(play& p, std::size_t n)
            : number(n), plan(p.plan_.servers[n]), host(p.world_, plan.at, plan.model),
              server(p.world_.rt(), to_string(plan.at), p.config_of(*this)) {
            p.world_.net().listen(plan.at, asked);
            if (p.how_.rows)
                host.model().on_event([this](std::string_view directory, std::string_view payload) {
                    rows.event(directory, payload);
                });
        }

        std::size_t number;
        const server_plan& plan;
        testing::sim_host host;
        counter asked{host};
        opencode::server server;
        net::cancellation_signal cancel_run;
        bool known_down = false;
        bool said_gone = false;
        bool ended = false; ///< stopped by a user before the end
        bool run_over = false;
        std::uint16_t moves = 0;
        test::protocol_rows rows;
    };
    /// Somebody who follows what others prompt.
    struct follower {
        follower(play& p, std::size_t n)
            : number(n), plan(p.plan_.followers[n]),
              own(plan.own_runtime ? std::make_unique<runtime>(p.world_.rt(), p.world_.io().get_executor())
                                   : nullptr),
              server(own ? *own : p.world_.rt(), p.url_for(*this), p.config_of(*this)) {}

        std::size_t number;
        const follower_plan& plan;
        std::unique_ptr<runtime> own;
        opencode::server server;
        net::cancellation_signal cancel_run;
        bool ended = false; ///< stopped before the end
        bool run_over = false;
    };
    struct listener {
        std::optional<opencode::feed> feed;
        std::unique_ptr<net::cancellation_signal> cancel = std::make_unique<net::cancellation_signal>();
    };
    struct held_session {
        std::optional<opencode::session> handle;
        bool given_up = false; ///< its server was stopped before it was made
    };
    struct player {
        std::optional<opencode::turn> turn; ///< for those who act on it beside its reader
        std::unique_ptr<net::cancellation_signal> cancel = std::make_unique<net::cancellation_signal>();
        bool over = false; ///< its reader has ended
    };

    duration since() const { return world_time() - begun_; }
    time_point world_time() const { return const_cast<testing::world&>(world_).time().now(); }

    // --- what is written down

    void note(const std::string& who, const std::string& what) {
        for (const char c : who + what)
            result_.digest = (result_.digest ^ static_cast<unsigned char>(c)) * 1099511628211u;
        result_.digest = (result_.digest ^ static_cast<std::uint64_t>(to_ms(since()))) * 1099511628211u;
        if (!how_.timeline)
            return;
        auto at = std::to_string(to_ms(since()));
        at.insert(0, at.size() < 8 ? 8 - at.size() : 0, ' ');
        result_.timeline.push_back(at + "  " + who + "  " + what);
    }

    void complain_once(complaints found) {
        for (auto& each : found)
            if (std::none_of(result_.complaints.begin(), result_.complaints.end(),
                             [&](const complaint& c) { return c.broken == each.broken; })) {
                note("INVARIANT", each.broken + ": " + each.how);
                result_.complaints.push_back(std::move(each));
            }
    }

    void watch() {
        world_.on_step([this] {
            complaints found;
            the_shared_stream_is_always_drained({since(), world_.net().unread()}, found);
            complain_once(std::move(found));
        });
        world_.on_log([this](const log_record& r) { on_log(r); });
        world_.net().watch_connects(
            [this](const endpoint& where, memory_network::connect_step step) { on_connect(where, step); });
        if (!how_.sabotaged)
            return;
        result_.seen.windows.push_back({0, duration::zero(), duration::max(), true, false, false});
        using kind = sabotage::kind;
        if (how_.sabotaged->what == kind::suspension)
            world_.on_handler([this] {
                if (!players_.empty() && !players_.front().over && strikes(kind::suspension))
                    net::post(world_.io(), [this] { cancel_first(); }); // emitted where the coroutine runs
            });
        else if (how_.sabotaged->what != kind::callback)
            world_.net().break_if([this](memory_network::operation what) {
                return strikes(static_cast<kind>(static_cast<int>(what)));
            });
    }

    void cancel_first() {
        if (!players_.front().over)
            players_.front().cancel->emit(net::cancellation_type::terminal);
    }

    bool strikes(sabotage::kind what) {
        if (!how_.sabotaged || how_.sabotaged->what != what || ++counted_ != how_.sabotaged->nth)
            return false;
        result_.struck = true;
        note("sabotage", "strikes");
        return true;
    }

    void on_callback() {
        if (strikes(sabotage::kind::callback))
            throw std::runtime_error(thrown_on_purpose);
    }

    void on_log(const log_record& r) {
        if (how_.timeline)
            note("log", r.event + " " + r.endpoint + " " + r.session + " " + r.error_class + " " +
                            r.error_message + " " + r.action +
                            (r.retry_in_ms ? " in " + std::to_string(*r.retry_in_ms) + " ms" : ""));
        auto* by = &result_.seen.decisions;
        auto* given_up = &result_.seen.give_ups;
        if (r.tag.starts_with(follower_tag)) {
            auto& facts = result_.seen.followers.at(std::stoul(r.tag.substr(follower_tag.size())));
            by = &facts.decisions;
            given_up = &facts.give_ups;
        }
        if (r.event == "stream.gave_up")
            given_up->push_back({since(), ended_prompts()});
        if (r.event != "turn.settled")
            return;
        decision d;
        d.at = since();
        d.message = r.action.substr(r.action.rfind(' ') + 1);
        d.how = r.action.substr(0, r.action.rfind(" of "));
        for (std::size_t i = 0; i < result_.seen.sessions.size(); ++i)
            if (result_.seen.sessions[i].id == r.session)
                d.then = truth_at(result_.seen.sessions[i].server, d.message);
        by->push_back(std::move(d));
    }

    void on_connect(const endpoint& where, memory_network::connect_step step) {
        using step_kind = memory_network::connect_step;
        auto& probes = probes_[where];
        const auto breaker = world_.rt().breaker_of(where);
        if (step == step_kind::begun) {
            // What was let through at the moment in which another failed was so before it did.
            const bool open = breaker && breaker->open && breaker->since < world_time();
            if (!open || breaker->since != probes.since)
                probes = {};
            complaints found;
            an_open_breaker_admits_one_attempt_at_a_time({since(), to_string(where), open, probes.under_way},
                                                         found);
            complain_once(std::move(found));
            if (open) {
                probes.since = breaker->since;
                ++probes.under_way;
            }
            return;
        }
        if (probes.under_way > 0)
            --probes.under_way;
        result_.seen.attempts.push_back({where, since(), step == step_kind::connected});
        static constexpr const char* names[] = {"begun", "connected", "failed", "abandoned"};
        note("network", "connect to " + to_string(where) + " " + names[static_cast<std::size_t>(step)]);
    }

    std::vector<std::string> ended_prompts() {
        std::vector<std::string> all;
        for (const auto& each : servers_)
            for (auto& known : each->host.model().truth())
                if (known.outcome != testing::opencode_sim::outcome::pending)
                    all.push_back(std::move(known.message));
        return all;
    }

    std::optional<truth> truth_at(std::size_t server, const std::string& message) {
        for (auto& each : servers_[server]->host.model().truth())
            if (each.message == message)
                return std::move(each);
        return std::nullopt;
    }

    void learn_truths(bool) {
        for (auto& s : servers_)
            for (auto& each : s->host.model().truth()) {
                result_.seen.truth_order.push_back(each.message);
                result_.seen.truths.emplace(each.message, std::move(each));
            }
    }

    std::string whom_it_concerns() const {
        std::string all;
        for (const auto& t : result_.seen.turns)
            if (!t.let_go && !t.ended)
                all += "; open: " + t.plan.text + " " + t.message;
        for (const auto& each : alive_)
            all += "; alive: " + each;
        return all;
    }

    // --- coroutines of the users

    void spawn(const std::string& name, net::awaitable<void> what) {
        const auto place = alive_.insert(name);
        net::co_spawn(world_.io(), std::move(what),
                      [this, place](std::exception_ptr e) { on_end(place, e); });
    }
    void spawn_cancellable(const std::string& name, net::awaitable<void> what, net::cancellation_signal& by) {
        const auto place = alive_.insert(name);
        auto on_over = [this, place](std::exception_ptr e) {
            if (holdfast::detail::is_abort(e))
                e = nullptr;
            on_end(place, e);
        };
        net::co_spawn(world_.io(), holdfast::detail::suspended_first<void>(std::move(what)),
                      net::bind_cancellation_slot(by.slot(), std::move(on_over)));
    }
    void on_end(std::multiset<std::string>::iterator place, const std::exception_ptr& e) {
        if (e) {
            note(*place, "threw " + what_of(e));
            result_.seen.escaped.push_back(*place + ": " + what_of(e));
        }
        alive_.erase(place);
    }

    net::awaitable<void> sleep_until(duration at) { return world_.rt().sleep_until(later(begun_, at)); }
    net::awaitable<void> sleep_for(duration d) { return world_.rt().sleep_for(d); }

    // --- servers

    opencode::server_config config_of(held& s) {
        opencode::server_config c;
        c.policy = s.plan.policy;
        c.global_stream = s.plan.global_stream;
        c.max_streams = how_.max_streams.value_or(c.max_streams);
        c.stall_timeout = s.plan.stall_timeout;
        c.greeting_timeout = s.plan.greeting_timeout;
        c.turns.quiet_after = s.plan.quiet_after;
        c.queue_items = s.plan.queue_items;
        if (s.plan.locates)
            c.locate = [this, &s] {
                return locate(s);
            };
        c.observe = [this](std::string_view) {
            on_callback();
        };
        result_.seen.servers.resize(std::max(result_.seen.servers.size(), s.number + 1));
        result_.seen.servers[s.number].policy = s.plan.policy;
        result_.seen.servers[s.number].queue_items = s.plan.queue_items;
        return c;
    }

    stream::location locate(held& s) {
        on_callback();
        stream::location told;
        told.url = *http::parse_url(to_string(s.host.at()));
        if (s.said_gone)
            told.what = stream::location::state::gone;
        else if (s.known_down && s.plan.says_down)
            told.what = stream::location::state::down;
        return told;
    }

    net::awaitable<void> hold(held& s) {
        co_await s.server.run();
        s.run_over = true;
    }

    net::awaitable<void> make_session(std::size_t i) {
        auto& s = *servers_[plan_.sessions[i].server];
        const std::string who = "session " + std::to_string(i);
        while (!s.ended && !sessions_[i].handle) {
            ++result_.seen.calls;
            auto made = co_await s.server.create_session({}, plan_.sessions[i].directory);
            if (made) {
                note(who, "is " + made->id());
                result_.seen.sessions[i].id = made->id();
                sessions_[i].handle = std::move(*made);
                co_return;
            }
            note(who, "cannot be made: " + made.error().message);
            co_await sleep_for(seconds(1));
        }
        sessions_[i].given_up = !sessions_[i].handle;
    }

    // --- followers

    std::string name_of(const follower& f) const {
        return std::string(follower_tag) + std::to_string(f.number);
    }

    /// Its user name tells its requests from those of others.
    http::url url_for(const follower& f) const {
        auto url = *http::parse_url(to_string(servers_[f.plan.server]->host.at()));
        url.user = "follower" + std::to_string(f.number);
        url.password = "x";
        url.has_userinfo = true;
        return url;
    }

    opencode::server_config config_of(follower& f) {
        auto& s = *servers_[f.plan.server];
        opencode::server_config c;
        c.policy = f.plan.policy;
        c.global_stream = f.plan.global_stream;
        c.max_streams = how_.max_streams.value_or(c.max_streams);
        c.stall_timeout = f.plan.stall_timeout;
        c.turns.quiet_after = f.plan.quiet_after;
        c.queue_items = f.plan.queue_items;
        c.capture = f.plan.capture;
        c.tag = name_of(f);
        if (s.plan.locates)
            c.locate = [this, &s, &f] {
                auto told = locate(s);
                told.url = url_for(f);
                return told;
            };
        follower_facts facts;
        facts.server = f.plan.server;
        facts.policy = f.plan.policy;
        facts.capture = f.plan.capture;
        result_.seen.followers.push_back(std::move(facts));
        return c;
    }

    void begin_following(follower& f) {
        spawn_cancellable("run() of " + name_of(f), follow_all(f), f.cancel_run);
        for (const auto& each : f.plan.follows)
            spawn(name_of(f) + " of session " + std::to_string(each.session), follow(f, each));
        if (f.plan.stopped)
            spawn("the stopper of " + name_of(f), stop_follower(f));
    }

    net::awaitable<void> follow_all(follower& f) {
        co_await f.server.run();
        f.run_over = true;
    }

    net::awaitable<void> stop_follower(follower& f) {
        co_await sleep_until(*f.plan.stopped);
        end_follower(f);
    }

    void end_follower(follower& f) {
        if (std::exchange(f.ended, true))
            return;
        note(name_of(f), "is stopped");
        result_.seen.followers[f.number].stopped = since();
        if ((plan_.seed + f.number) % 2 == 0)
            f.server.stop();
        else
            f.cancel_run.emit(net::cancellation_type::terminal);
    }

    net::awaitable<void> follow(follower& f, following plan) {
        co_await sleep_until(plan.from);
        while (!sessions_[plan.session].handle && !sessions_[plan.session].given_up)
            co_await sleep_for(milliseconds(100));
        if (f.ended || ending_ || sessions_[plan.session].given_up)
            co_return;
        const auto number = listeners_.size();
        const std::string who = "feed " + std::to_string(number);
        feed_record r;
        r.follower = f.number;
        r.session = plan.session;
        r.session_id = result_.seen.sessions[plan.session].id;
        r.began = since();
        // To who comes later it is told as it is told to the first.
        const bool is_first =
            std::none_of(result_.seen.feeds.begin(), result_.seen.feeds.end(), [&](const feed_record& o) {
                return o.follower == f.number && o.session == plan.session && !o.ended && !o.let_go;
            });
        for (const auto& each : prompts_of(r))
            if (is_first && is_seen_to_be_over(each))
                r.over_before.insert(each.message);
        note(who, "follows session " + std::to_string(plan.session));
        listeners_.emplace_back();
        listeners_.back().feed = f.server.follow(r.session_id, plan.how);
        result_.seen.feeds.push_back(std::move(r));
        auto feed = *listeners_.back().feed;
        spawn_cancellable(who, read_feed(number, who, std::move(feed), plan.pace), *listeners_.back().cancel);
        spawn("the one who watches " + who, watch_feed(number));
        if (!plan.let_go)
            co_return;
        co_await sleep_for(*plan.let_go);
        let_go_of(number);
    }

    /// One without an answer, or that died with the server's process, looks as though it were still to be
    /// gone on with.
    static bool is_seen_to_be_over(const truth& t) {
        return t.outcome != opencode_sim::outcome::pending &&
               t.outcome != opencode_sim::outcome::interrupted && !t.parts.empty();
    }

    void let_go_of(std::size_t number) {
        auto& f = result_.seen.feeds[number];
        if (!listeners_[number].feed || f.ended)
            return;
        note("feed " + std::to_string(number), "is let go of");
        f.let_go = since();
        listeners_[number].feed.reset();
        listeners_[number].cancel->emit(net::cancellation_type::terminal);
    }

    std::vector<truth> prompts_of(const feed_record& f) {
        auto all = servers_[plan_.sessions[f.session].server]->host.model().truth();
        std::erase_if(all, [&](const truth& each) { return each.session != f.session_id; });
        return all;
    }

    net::awaitable<void> read_feed(std::size_t number, std::string who, opencode::feed feed,
                                   std::optional<duration> pace) {
        while (auto event = co_await feed.next()) {
            take(number, who, std::move(*event));
            if (pace && !all_well_)
                co_await sleep_for(*pace);
        }
        auto& f = result_.seen.feeds[number];
        f.ended = true;
        f.ended_at = since();
        note(who, "ends");
        listeners_[number].feed.reset();
    }

    void take(std::size_t number, const std::string& who, opencode::session_event event) {
        auto& f = result_.seen.feeds[number];
        note(who, event.message + ": " + text_of(event.event));
        f.told_after_end = f.told_after_end || f.ended;
        if (std::holds_alternative<settlement>(event.event))
            if (auto then = truth_at(plan_.sessions[f.session].server, event.message))
                f.when_told.insert_or_assign(event.message, std::move(*then));
        f.told.push_back({since(), std::move(event)});
    }

    /// Finds out when its first look was taken.
    net::awaitable<void> watch_feed(std::size_t number) {
        const auto& listener = listeners_[number];
        while (listener.feed && !listener.feed->view().status)
            co_await sleep_for(milliseconds(20));
        if (!listener.feed)
            co_return;
        auto& f = result_.seen.feeds[number];
        f.known = since();
        for (const auto& each : prompts_of(f))
            if (each.outcome != opencode_sim::outcome::pending)
                f.over_when_known.insert(each.message);
        note("feed " + std::to_string(number), "is known");
    }

    /// Those whose end a feed is still to be told; `running`: and those that are not over.
    std::vector<std::string> awaited_by(std::size_t number, bool running) {
        std::vector<std::string> all;
        const auto& f = result_.seen.feeds[number];
        if (!listeners_[number].feed || !f.known || result_.seen.sessions[f.session].deleted)
            return all;
        const auto server = result_.seen.sessions[f.session].server;
        // Once it is said to be gone for good, nobody asks it.
        if (servers_[server]->said_gone)
            return all;
        const bool mute = std::any_of(result_.seen.windows.begin(), result_.seen.windows.end(),
                                      [&](const trouble_window& w) { return w.server == server && w.mute; });
        for (const auto& each : prompts_of(f)) {
            const bool pending = each.outcome == opencode_sim::outcome::pending;
            // A prompt that nobody worked at is no turn, unless its stream told how it ended.
            const bool without_work = !pending && each.parts.empty() && each.merged_into.empty();
            if (f.over_when_known.contains(each.message) || f.when_told.contains(each.message) ||
                without_work || (pending && !(running && each.running)))
                continue;
            // Of a whole turn that was swallowed, a stream that goes on tells nothing.
            const bool told = std::any_of(f.told.begin(), f.told.end(),
                                          [&](const auto& e) { return e.event.message == each.message; });
            if (mute && !told)
                continue;
            all.push_back(each.message);
        }
        return all;
    }

    net::awaitable<void> all_told() {
        const auto begun = since();
        std::map<std::pair<std::size_t, std::string>, duration> over_since;
        for (bool waiting = true; std::exchange(waiting, false);) {
            for (std::size_t i = 0; i < listeners_.size(); ++i) {
                waiting = waiting || !awaited_by(i, true).empty();
                for (const auto& message : awaited_by(i, false)) {
                    const auto from = over_since.emplace(std::pair(i, message), since()).first->second;
                    complaints found;
                    every_followed_prompt_settles_in_bounded_time_once_all_is_well(
                        {message, i, since() - from}, found);
                    complain_once(std::move(found));
                }
            }
            if (since() - begun > follow_bound + minutes(5))
                break;
            if (waiting)
                co_await sleep_for(tick);
        }
        // A look that failed is taken again after a minute at most, and a session that is unknown needs two.
        if (!listeners_.empty())
            co_await sleep_for(seconds(140));
    }

    /// All is over and well: what is asked of the server now?
    net::awaitable<void> watch_the_quiet() {
        std::map<std::size_t, std::size_t> before;
        for (auto& f : followers_)
            before[f->number] = count_requests(*f);
        const auto begun = since();
        co_await sleep_for(followers_.empty() ? duration::zero() : duration(seconds(30)));
        for (auto& f : followers_) {
            quiet_requests q;
            q.lasted = since() - begun;
            q.requests = count_requests(*f) - before[f->number];
            std::set<std::string> directories;
            std::set<std::string> sessions;
            std::set<std::string> streamed;
            bool in_order = true;
            for (std::size_t i = 0; i < listeners_.size(); ++i) {
                auto& r = result_.seen.feeds[i];
                if (r.follower != f->number || !listeners_[i].feed)
                    continue;
                const auto view = listeners_[i].feed->view();
                r.quiet = true;
                if (view.trouble)
                    r.trouble = view.trouble->code;
                const auto prompts = prompts_of(r);
                in_order =
                    in_order && !view.trouble &&
                    std::none_of(prompts.begin(), prompts.end(), [](const truth& t) {
                        return t.outcome == opencode_sim::outcome::pending; // an ask that nobody answers
                    });
                if (!view.captured) {
                    streamed.insert(r.session_id);
                    continue;
                }
                sessions.insert(r.session_id);
                directories.insert(view.info.directory);
            }
            q.streamed = streamed.size();
            q.sessions = sessions.size();
            q.directories = directories.size();
            if (in_order)
                result_.seen.followers[f->number].quiet = q;
        }
    }

    std::size_t count_requests(const follower& f) {
        auto& facts = result_.seen.followers[f.number];
        static constexpr const char* names[] = {"Zm9sbG93ZXIwOng=", "Zm9sbG93ZXIxOng=", "Zm9sbG93ZXIyOng="};
        const auto& asked = servers_[f.plan.server]->asked.by_credentials[names[f.number]];
        facts.requests = asked.requests;
        facts.streams = asked.streams;
        return asked.requests;
    }

    // --- turns

    std::size_t begin_turn(std::size_t session, prompt_plan plan, std::string adopt = {}) {
        const auto number = players_.size();
        players_.emplace_back();
        turn_record t;
        t.session = session;
        t.plan = std::move(plan);
        t.adopted = !adopt.empty();
        t.message = std::move(adopt);
        t.began = since();
        result_.seen.turns.push_back(std::move(t));
        const std::string who = "turn " + std::to_string(number);
        spawn_cancellable(who, play_turn(number, who), *players_[number].cancel);
        if (result_.seen.turns[number].plan.cancel_after)
            spawn(who + "'s canceller", cancel_turn(number));
        return number;
    }

    turn_record& record(std::size_t number) { return result_.seen.turns[number]; }

    net::awaitable<void> play_turn(std::size_t number, std::string who) {
        struct ending { // also when it is cancelled
            play& me;
            std::size_t number;
            ~ending() { me.on_reader_over(number); }
        } const ending{*this, number};
        const auto session = record(number).session;
        while (!sessions_[session].handle && !sessions_[session].given_up)
            co_await sleep_for(milliseconds(100));
        if (sessions_[session].given_up)
            co_return;
        auto handle = *sessions_[session].handle;
        record(number).session_id = handle.id();
        ++result_.seen.calls;
        std::optional<opencode::turn> turn;
        if (record(number).adopted) {
            const std::string message = record(number).message;
            note(who, "adopts " + message);
            turn = co_await handle.adopt(message);
        } else {
            auto what = prompt_of(record(number).plan);
            note(who, "prompts in session " + std::to_string(session) + ": " + record(number).plan.text);
            turn = co_await handle.prompt(std::move(what));
        }
        note(who, "has " + turn->message_id() + (turn->posted() ? "" : ", not posted"));
        record(number).message = turn->message_id();
        record(number).had = true;
        players_[number].turn = *turn;
        begin_companions(number, who);
        co_await read(number, who, *turn);
    }

    static opencode::prompt prompt_of(const prompt_plan& plan) {
        opencode::prompt what;
        opencode::prompt_part part;
        part.text = plan.text;
        what.parts.push_back(std::move(part));
        what.agent = plan.agent;
        what.model = plan.model;
        return what;
    }

    void begin_companions(std::size_t number, const std::string& who) {
        const auto& plan = record(number).plan;
        if (plan.abort_after)
            spawn(who + "'s aborter", abort_turn(number, who));
        if (plan.detach_after)
            spawn(who + "'s detacher", detach_turn(number, who));
    }

    void on_reader_over(std::size_t number) {
        auto& mine = players_[number];
        mine.over = true;
        mine.turn.reset();
        auto& t = record(number);
        if (!t.ended)
            t.let_go = true;
        const bool again = t.let_go && t.plan.adopted_afterwards && !t.message.empty() && !ending_;
        if (!again)
            return;
        prompt_plan plan = t.plan;
        plan.adopted_afterwards = false;
        plan.cancel_after.reset();
        plan.detach_after.reset();
        begin_turn(t.session, std::move(plan), t.message);
    }

    void take(std::size_t number, const std::string& who, agent_event event) {
        auto& t = record(number);
        note(who, text_of(event));
        if (t.ended)
            t.told_after_end = true;
        if (std::holds_alternative<settlement>(event))
            t.when_told = truth_at(plan_.sessions[t.session].server, t.message);
        if (const auto* ask = std::get_if<opencode::permission_event>(&event); ask && !ask->reply)
            spawn(who + "'s answerer", answer(number, ask->request.id, false));
        if (const auto* ask = std::get_if<opencode::question_event>(&event); ask && !ask->reply)
            spawn(who + "'s answerer", answer(number, ask->request.id, true));
        t.told.push_back({since(), std::move(event)});
    }

    net::awaitable<void> read(std::size_t number, std::string who, opencode::turn turn) {
        for (;;) {
            std::optional<agent_event> event;
            const auto pace = record(number).plan.pace;
            const auto how = all_well_ ? reader::eager : record(number).plan.reader;
            if (how == reader::impatient) {
                auto next = next_of(turn);
                auto in_time =
                    co_await with_deadline(world_.rt(), later(world_time(), pace), std::move(next));
                if (!in_time)
                    continue; // cancelled: nothing is lost
                event = std::move(*in_time);
            } else {
                event = co_await turn.next();
            }
            if (!event)
                break;
            take(number, who, std::move(*event));
            if (how == reader::slow) {
                co_await sleep_for(10 * pace);
                std::size_t waiting = 0;
                while (auto more = turn.try_next()) {
                    take(number, who, std::move(*more));
                    ++waiting;
                }
                record(number).longest_queue = std::max(record(number).longest_queue, waiting);
            }
        }
        record(number).ended = true;
        while (auto more = turn.try_next())
            take(number, who, std::move(*more));
        note(who, "ends");
    }

    // The end of the events is a value too.
    net::awaitable<std::optional<agent_event>> next_of(opencode::turn turn) {
        co_return co_await turn.next();
    }

    net::awaitable<void> cancel_turn(std::size_t number) {
        const duration after = *record(number).plan.cancel_after;
        co_await sleep_for(after);
        if (players_[number].over)
            co_return;
        note("turn " + std::to_string(number), "is cancelled");
        learn_message(number);
        players_[number].cancel->emit(net::cancellation_type::terminal);
    }

    /// Of a prompt whose coroutine is cancelled before it has the turn: unless another's may be the one sent
    /// last.
    void learn_message(std::size_t number) {
        const auto& handle = sessions_[record(number).session].handle;
        if (!record(number).message.empty() || !handle)
            return;
        const auto last = handle->last_sent();
        const auto& mine = record(number);
        for (const auto& t : result_.seen.turns)
            if (&t != &mine && (t.message == last || (t.session == mine.session && t.message.empty())))
                return;
        record(number).message = last;
    }

    net::awaitable<void> abort_turn(std::size_t number, std::string who) {
        const duration after = *record(number).plan.abort_after;
        co_await sleep_for(after);
        while (players_[number].turn) {
            auto turn = *players_[number].turn;
            note(who, "is aborted by its owner");
            if (!record(number).abort_called)
                record(number).abort_called = since();
            on_abort(record(number).session);
            ++result_.seen.calls;
            const auto done = co_await turn.abort();
            if (done)
                co_return;
            note(who, "cannot be aborted: " + done.error().message);
            co_await sleep_for(seconds(1));
        }
    }

    net::awaitable<void> detach_turn(std::size_t number, std::string who) {
        const duration after = *record(number).plan.detach_after;
        co_await sleep_for(after);
        if (!players_[number].turn)
            co_return;
        note(who, "is detached by its owner");
        record(number).let_go = true;
        players_[number].turn->detach();
    }

    net::awaitable<void> answer(std::size_t number, std::string id, bool question) {
        const auto plan = record(number).plan;
        const std::string who = "turn " + std::to_string(number);
        const duration after = all_well_ ? duration::zero() : plan.reply_after;
        co_await sleep_for(after);
        for (int left = plan.reply_twice ? 2 : 1; left > 0 && players_[number].turn;) {
            auto turn = *players_[number].turn;
            ++result_.seen.calls;
            note(who, "answers " + id + " with " + plan.reply);
            result<void> done;
            if (!question && !plan.reply_message.empty()) {
                done = co_await reject_with_message(record(number).session, id, plan.reply_message);
            } else if (!question) {
                done = co_await turn.reply_permission(id, plan.reply);
            } else if (plan.reply == "reject") {
                done = co_await turn.reject_question(id);
            } else {
                std::vector<std::vector<std::string>> answers(1);
                answers[0].push_back("Red");
                done = co_await turn.reply_question(id, std::move(answers));
            }
            // An answer that makes no sense says nothing of whether the reply was taken.
            if (done || (retry::is_final(done.error()) && done.error().cls != retry::failure_class::protocol))
                --left;
            else
                co_await sleep_for(seconds(1));
        }
    }

    /// Where the session is, was, or will be.
    std::set<std::string> directories_of(std::size_t session) const {
        std::set<std::string> all{plan_.sessions[session].directory};
        for (const auto& a : plan_.actions)
            if (a.what == action::kind::move_session && a.session == session)
                all.insert(a.directory);
        return all;
    }

    /// By hand: in whichever directory it was asked.
    net::awaitable<result<void>> reject_with_message(std::size_t session, std::string id,
                                                     std::string message) {
        const std::string reply = "reject";
        auto server = servers_[plan_.sessions[session].server]->server.rest();
        const auto directories = directories_of(session);
        result<void> done;
        for (const auto& directory : directories) {
            done = co_await server.reply_permission(id, reply, message, directory);
            if (done || done.error().code != errc::not_found)
                break;
        }
        co_return done;
    }

    void on_abort(std::size_t session) { result_.seen.sessions[session].aborts.push_back(since()); }

    // --- the scenario's actions

    net::awaitable<void> act() {
        for (const auto& a : plan_.actions) {
            co_await sleep_until(a.at);
            perform(a);
        }
        acted_ = true;
    }

    void perform(const action& a) {
        using kind = action::kind;
        auto& s = *servers_[a.server];
        const std::string who = a.what >= kind::wake ? "server " + std::to_string(a.server)
                                                     : "session " + std::to_string(a.session);
        note(who, describe(a));
        if (a.what == kind::prompt) {
            begin_turn(a.session, a.prompt);
            return;
        }
        if (a.what == kind::wake)
            s.server.wake();
        if (a.what == kind::stop || a.what == kind::cancel_run) {
            s.ended = true;
            result_.seen.servers[a.server].stopped = since();
            if (a.what == kind::stop)
                s.server.stop();
            else
                s.cancel_run.emit(net::cancellation_type::terminal);
        }
        if (a.what == kind::prompt_alone)
            spawn(who + "'s prompter", prompt_alone(a.session, a.prompt));
        if (a.what >= kind::wake || !sessions_[a.session].handle)
            return;
        const std::string id = result_.seen.sessions[a.session].id;
        switch (a.what) {
        case kind::abort_session: spawn(who + "'s aborter", abort_session(a.session)); break;
        case kind::foreign_prompt:
            call(s, "POST", "/session/" + id + "/prompt_async",
                 "{\"parts\":[{\"type\":\"text\",\"text\":\"" + a.prompt.text + "\"}]}");
            break;
        case kind::foreign_abort:
            on_abort(a.session);
            call(s, "POST", "/session/" + id + "/abort", "");
            break;
        case kind::foreign_shell: call(s, "POST", "/session/" + id + "/shell", "{\"command\":\"ls\"}"); break;
        case kind::delete_session:
            if (!result_.seen.sessions[a.session].deleted)
                result_.seen.sessions[a.session].deleted = since();
            call(s, "DELETE", "/session/" + id, "");
            break;
        case kind::move_session:
            result_.seen.sessions[a.session].moves.push_back(since());
            s.host.model().move_session(id, a.directory);
            s.host.pump();
            break;
        case kind::abort_unknown:
            call(s, "POST", "/session/ses_of_nobody/abort?directory=" + plan_.sessions[a.session].directory,
                 "");
            break;
        case kind::foreign_repost: spawn(who + "'s reposter", repost(a.session)); break;
        default: break;
        }
    }

    /// One that failed, was aborted or was never answered would run once more: only a completed one, or one
    /// that is at work for long.
    net::awaitable<void> repost(std::size_t session) {
        auto& s = *servers_[plan_.sessions[session].server];
        const std::string id = result_.seen.sessions[session].id;
        auto server = s.server.rest();
        const auto last_prompt = [&] {
            std::optional<truth> last;
            for (auto& each : s.host.model().truth())
                if (each.session == id)
                    last = std::move(each);
            return last;
        };
        const auto last = last_prompt();
        if (!last)
            co_return;
        const auto known = co_await server.get_message(id, last->message);
        const auto now = last_prompt();
        if (!known || known->parts.empty() || !now || now->message != last->message)
            co_return;
        const auto& words = known->parts.front();
        const bool long_at_work =
            now->running && (words.text.starts_with("#slow") || words.text.starts_with("#silent"));
        if (now->outcome != testing::opencode_sim::outcome::completed && !long_at_work)
            co_return;
        opencode::prompt again;
        again.message_id = last->message;
        opencode::prompt_part part;
        part.id = words.id;
        part.text = words.text;
        again.parts.push_back(std::move(part));
        const auto done = co_await server.prompt_async(id, std::move(again));
        static_cast<void>(done);
    }

    net::awaitable<void> prompt_alone(std::size_t session, prompt_plan plan) {
        const auto others_play = [&] {
            for (std::size_t i = 0; i < players_.size(); ++i)
                if (record(i).session == session && !players_[i].over)
                    return true;
            return false;
        };
        while (others_play())
            co_await sleep_for(milliseconds(100));
        begin_turn(session, std::move(plan));
    }

    net::awaitable<void> abort_session(std::size_t session) {
        auto handle = *sessions_[session].handle;
        on_abort(session);
        ++result_.seen.calls;
        const auto done = co_await handle.abort();
        if (!done)
            note("session " + std::to_string(session), "cannot be aborted: " + done.error().message);
    }

    /// A request of somebody else's, straight to the server.
    void call(held& s, const std::string& method, const std::string& path, const std::string& body) {
        auto& model = s.host.model();
        const auto id = model.accept(world_time());
        model.receive(id,
                      method + " " + path +
                          " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " +
                          std::to_string(body.size()) + "\r\n\r\n" + body,
                      world_time());
        s.host.pump();
    }

    // --- the scenario's troubles

    net::awaitable<void> trouble_all() {
        for (const auto& t : plan_.troubles) {
            co_await sleep_until(t.at);
            begin(t);
            if (t.lasts > duration::zero() || !is_armed(t))
                spawn("a trouble's end", end_later(t));
        }
    }

    void begin(const trouble& t) {
        using kind = trouble::kind;
        auto& s = *servers_[t.server];
        auto& model = s.host.model();
        const auto now = world_time();
        note("server " + std::to_string(t.server), "TROUBLE: " + describe(t));
        const bool for_good = t.what == kind::gone && s.plan.gone_for_good;
        const auto over = for_good ? duration::max() : is_armed(t) ? plan_.troubles_end : since() + t.lasts;
        const bool mute =
            t.what == kind::mute || (t.what == kind::inject && t.fault.what == testing::fault::kind::mute);
        result_.seen.windows.push_back({t.server, since(), over, harms_calls(t), t.what == kind::gone, mute});
        switch (t.what) {
        case kind::inject: model.inject(t.fault); break;
        case kind::cut_streams: model.cut_streams(now); break;
        case kind::stall_streams: model.stall_streams(); break;
        case kind::mute:
            model.set_mute(true);
            s.rows.muted(true);
            break;
        case kind::freeze: model.set_frozen(true, now); break;
        case kind::hang: model.set_hang(true); break;
        case kind::refuse: model.refuse(t.lasts, now); break;
        case kind::restart:
            s.rows.process_killed();
            model.restart(now);
            break;
        case kind::restart_elsewhere:
            s.rows.process_killed();
            model.kill(now);
            s.known_down = true;
            s.host.pump();
            s.host.move_to(
                endpoint("http", "127.0.0.1", static_cast<std::uint16_t>(s.plan.at.port + ++s.moves)));
            world_.net().listen(s.host.at(), s.asked);
            break;
        case kind::kill:
            s.rows.process_killed();
            model.kill(now);
            s.known_down = true;
            break;
        case kind::dispose:
            result_.seen.servers[t.server].disposals.push_back(since());
            model.dispose_instance(t.directory, now);
            break;
        case kind::unreachable:
            world_.net().outage(s.host.at(), memory_network::behaviour::unreachable);
            break;
        case kind::connect_hangs: world_.net().outage(s.host.at(), memory_network::behaviour::hang); break;
        case kind::slow_network: world_.net().latency(t.latency); break;
        case kind::harm_next:
            for (std::size_t i = 0; i < t.times; ++i)
                world_.net().harm_next(s.host.at(), t.harm);
            break;
        case kind::harm_open: world_.net().harm_open(s.host.at(), t.harm); break;
        case kind::gone: s.said_gone = true; break;
        }
        s.host.pump();
    }

    net::awaitable<void> end_later(trouble t) {
        co_await sleep_until(t.at + t.lasts);
        finish(t);
    }

    void finish(const trouble& t) {
        using kind = trouble::kind;
        auto& s = *servers_[t.server];
        auto& model = s.host.model();
        const auto now = world_time();
        switch (t.what) {
        case kind::mute:
            model.set_mute(false);
            s.rows.muted(false);
            break;
        case kind::freeze: model.set_frozen(false, now); break;
        case kind::hang: model.set_hang(false); break;
        case kind::restart_elsewhere:
        case kind::kill:
            if (s.known_down)
                model.start(now);
            s.known_down = false;
            break;
        case kind::unreachable:
        case kind::connect_hangs: world_.net().outage(s.host.at(), std::nullopt); break;
        case kind::slow_network: world_.net().latency(plan_.latency); break;
        case kind::gone:
            if (s.plan.gone_for_good)
                return;
            s.said_gone = false;
            break;
        default: return;
        }
        note("server " + std::to_string(t.server), "is right again: " + describe(t));
        s.host.pump();
    }

    void put_all_right() {
        note("world", "all is well again");
        for (const auto& t : plan_.troubles)
            finish(t);
        for (auto& s : servers_) {
            s->host.model().clear_faults();
            for (std::uint16_t i = 0; i <= s->moves; ++i)
                world_.net().outage(
                    endpoint("http", "127.0.0.1", static_cast<std::uint16_t>(s->plan.at.port + i)),
                    std::nullopt);
        }
        world_.net().forget_harm();
        all_well_ = true;
        for (std::size_t i = 0; i < sessions_.size(); ++i)
            if (sessions_[i].handle)
                spawn("the approvals of session " + std::to_string(i), answer_approvals(i));
    }

    /// What no turn waits for: of one that was let go of, or of somebody else's.
    net::awaitable<void> answer_approvals(std::size_t i) {
        auto session = *sessions_[i].handle;
        while (const auto asked = co_await session.next_approval()) {
            const auto* permission = std::get_if<opencode::permission_event>(&*asked);
            const auto* question = std::get_if<opencode::question_event>(&*asked);
            const std::string id = permission ? permission->request.id : question->request.id;
            if (permission ? permission->reply : question->reply)
                continue;
            note("session " + std::to_string(i), "answers " + id);
            ++result_.seen.calls;
            for (bool waits = true; waits;) { // its connection may be one that trouble has left behind
                auto replying =
                    permission ? session.reply_permission(id, "once") : session.reject_question(id);
                const auto done = co_await std::move(replying);
                waits = !done && !retry::is_final(done.error());
                if (waits)
                    co_await sleep_for(seconds(1));
            }
        }
    }

    // --- the end

    net::awaitable<void> end() {
        co_await sleep_until(plan_.troubles_end);
        put_all_right();
        co_await all_settled();
        if (plan_.last_prompts) {
            for (std::size_t i = 0; i < sessions_.size(); ++i)
                prompt_once_more(i);
            co_await all_settled();
        }
        co_await all_told();
        co_await watch_the_quiet();
        ending_ = true;
        note("world", "ends");
        for (auto& f : followers_)
            end_follower(*f);
        for (auto& each : sessions_)
            each.handle.reset();
        for (auto& s : servers_) {
            if (plan_.seed % 2 == 0)
                s->server.stop();
            else
                s->cancel_run.emit(net::cancellation_type::terminal);
        }
        for (const auto& s : servers_)
            for (int left = 100;
                 left > 0 && !s->run_over && alive_.contains("run() of server " + std::to_string(s->number));
                 --left)
                co_await sleep_for(milliseconds(100));
        for (const auto& f : followers_)
            for (int left = 100; left > 0 && !f->run_over && alive_.contains("run() of " + name_of(*f));
                 --left)
                co_await sleep_for(milliseconds(100));
        for (auto& each : listeners_)
            each.feed.reset();
        over_ = true;
    }

    void prompt_once_more(std::size_t session) {
        if (!sessions_[session].handle || result_.seen.sessions[session].deleted ||
            servers_[plan_.sessions[session].server]->ended)
            return;
        prompt_plan plan;
        plan.text = "#plain";
        plan.model = "mock/mock-1";
        begin_turn(session, std::move(plan));
    }

    net::awaitable<void> all_settled() {
        const auto begun = since();
        std::map<std::size_t, duration> over_since;
        while (!all_over()) {
            co_await sleep_for(tick);
            std::map<std::string, bool> known; // prompt -> it is over
            for (auto& s : servers_)
                for (const auto& each : s->host.model().truth())
                    known[each.message] = each.outcome != opencode_sim::outcome::pending;
            for (std::size_t i = 0; i < players_.size(); ++i) {
                const auto& t = record(i);
                if (players_[i].over)
                    continue;
                const bool running = known.contains(t.message) && !known[t.message];
                if (running) {
                    over_since.erase(i);
                    continue;
                }
                const auto from = over_since.emplace(i, since()).first->second;
                complaints found;
                every_open_turn_settles_in_bounded_time_once_all_is_well({t.message, since() - from}, found);
                if (!found.empty()) {
                    complain_once(std::move(found));
                    throw std::logic_error("given up");
                }
            }
            if (since() - begun > model_patience)
                throw std::logic_error("the model itself comes to no end");
        }
    }

    bool all_over() const {
        return acted_ &&
               std::all_of(players_.begin(), players_.end(), [](const player& p) { return p.over; }) &&
               std::none_of(alive_.begin(), alive_.end(), [](const std::string& name) {
                   return name.find("'s ") != std::string::npos &&
                          name.find("canceller") == std::string::npos;
               });
    }

    void finish() {
        for (auto& s : servers_) {
            s->host.shut_down();
            s->rows.quiet();
            result_.rows.insert(s->rows.seen().begin(), s->rows.seen().end());
        }
        players_.clear();
        for (auto& each : sessions_)
            each.handle.reset(); // one may have been made while the world ended
        world_.settle();
        leftovers left;
        for (const auto& each : metric_table)
            if (each.what == metric_info::kind::gauge && world_.rt().value(each.which) != 0)
                left.gauges.push_back(std::string(each.name) + " is " +
                                      std::to_string(world_.rt().value(each.which)));
        left.coroutines.assign(alive_.begin(), alive_.end());
        left.timers = world_.time().pending();
        left.connections = world_.net().open_connections();
        left.handlers = !world_.io().stopped();
        result_.seen.left = std::move(left);
    }

    struct probing {
        time_point since{};
        std::size_t under_way = 0;
    };

    const scenario& plan_;
    const run_options& how_;
    run_result result_;
    std::multiset<std::string> alive_;
    std::map<endpoint, probing> probes_;
    testing::world world_;
    time_point begun_;
    std::vector<std::unique_ptr<held>> servers_;
    std::vector<held_session> sessions_;
    std::deque<player> players_;
    std::vector<std::unique_ptr<follower>> followers_;
    std::deque<listener> listeners_; ///< as their feed_records
    std::size_t counted_ = 0;
    bool acted_ = false;
    bool all_well_ = false;
    bool ending_ = false;
    bool over_ = false;
    bool broken_down_ = false;
};

} // namespace

run_result run(const scenario& what, const run_options& how) {
    auto one = std::make_unique<play>(what, how);
    one->run();
    auto result = one->take();
    if (one->broken_down())
        static_cast<void>(one.release());
    return result;
}

} // namespace holdfast::sim
