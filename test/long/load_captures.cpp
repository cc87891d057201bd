// Sessions that somebody else prompts now and then, followed by captures and by their activity, on servers of
// which some are away for a while: how often each is looked at, what that costs, and how soon it is seen
// again.
#include "long/load.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <future>
#include <iostream>
#include <list>
#include <map>
#include <random>
#include <thread>

namespace holdfast::test::load {
namespace {

using namespace std::chrono_literals;
using opencode::follow_by;
using opencode::outcome;

constexpr unsigned words_of_a_turn = 60;
constexpr auto pace_of_a_word = "100ms";
constexpr double prompts_a_second = 2;
constexpr double log_lines_a_second = 20;
constexpr auto patience = 120s;

duration seconds_of(double n) {
    return std::chrono::duration_cast<duration>(std::chrono::duration<double>(n));
}

double ms_between(moment from, moment to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

opencode::server_config config_of_captures(const settings& chosen) {
    opencode::server_config config;
    config.policy.max_attempts = retry::unlimited;
    config.capture.tick = seconds_of(chosen.tick);
    const double scale = chosen.tick / 5; // of the schedule as it is for a tick of 5 s
    config.capture.retry.base_delay = seconds_of(10 * scale);
    config.capture.retry.max_delay = seconds_of(60 * scale);
    return config;
}

/// One session, and what was told of it. Used where the library runs.
struct followed {
    std::string id;
    std::optional<opencode::feed> feed;
    std::optional<time_point> seen; ///< by the library, when last
    bool known = false;             ///< what it is doing
    bool recovered = false;
    std::map<std::string, std::vector<opencode::settlement>> settled; ///< by the prompt's message id
};

struct capture_at {
    capture_at(runtime& world, std::vector<std::string> arguments, const settings& chosen)
        : where(std::move(arguments)), server(world, where.url(), config_of_captures(chosen)) {}

    sim_place where;
    opencode::server server;
    bool killed = false; ///< it knows nothing of its sessions afterwards
    bool away = false;   ///< it was, or will be, killed or out of reach
    bool woken = false;  ///< the library is told when it is back
    std::list<followed> sessions;
};

/// A prompt that somebody else sent.
struct foreign_prompt {
    const followed* to = nullptr;
    std::string message;
};

class captures_load {
public:
    explicit captures_load(const settings& chosen) : chosen_(chosen), random_(chosen.seed) {
        for (std::size_t i = 0; i < chosen.servers; ++i) {
            std::vector<std::string> arguments{"--pace", pace_of_a_word, "--seed",
                                               std::to_string(random_() % 1000000)};
            const bool refuses = i >= chosen.killed && i < chosen.killed + chosen.restarted;
            if (refuses)
                add(arguments,
                    sim_place::fault("refuse", ':' + std::to_string(static_cast<long>(chosen.down * 1000))));
            servers_.push_back(std::make_unique<capture_at>(world_, std::move(arguments), chosen));
            servers_.back()->killed = i < chosen.killed;
            servers_.back()->away = servers_.back()->killed || refuses;
            servers_.back()->woken = servers_.back()->away && i % 2 == 0;
        }
    }

    bool run() {
        progress("sessions are made");
        make_sessions();
        const double before = allocated();
        const consumption first;
        progress("they are followed");
        start();
        std::thread library([this] { io_.run(); });
        const auto begun = steady::now();
        const bool all_seen = wait_seen();
        const double ready = std::chrono::duration<double>(steady::now() - begun).count();
        const double warm = allocated();

        const auto part = std::chrono::duration<double>(chosen_.seconds / 4);
        progress("nothing happens");
        const auto idle = cost_of(part);
        progress("somebody prompts");
        inside([this] { prompting_ = tasks_.spawn(prompt_now_and_then()); });
        const auto at_work = cost_of(part);
        progress("servers die");
        inside([this] { gaps_ = &gaps_away_; });
        strike();
        progress("they are there again");
        const bool all_back = wait_recovered();
        progress("all sessions are seen again");
        inside([this] {
            gaps_ = &gaps_back_;
            tasks_.cancel(prompting_);
        });
        std::this_thread::sleep_for(part);
        const bool all_settled = wait_settled();
        progress("the end");
        inside([this] { end(); });
        library.join();
        const auto whole = first.since();

        table told("Captures: " + std::to_string(chosen_.sessions) + " sessions on " +
                   std::to_string(chosen_.servers) + " servers, a tick of " +
                   std::to_string(static_cast<int>(chosen_.tick)) + " s, " + machine());
        const double two_ticks = 2 * chosen_.tick * 1000;
        told.row("all sessions seen after", ready, "s");
        told.row("sessions never seen", all_seen ? 0 : 1, "", 0);
        told.spread("from one look at a session to the next, all well", gaps_well_, "ms", two_ticks);
        told.spread("the same, while some servers are away", gaps_away_, "ms", two_ticks);
        told.spread("the same, when all are back", gaps_back_, "ms", two_ticks);
        told.row("sessions never seen again", all_back ? 0 : 1, "", 0);
        told.spread("seen again after the server was, the library being told", woken_, "ms", 2 * two_ticks);
        told.spread("seen again after the server was, by the schedule", by_schedule_, "ms",
                    13 * chosen_.tick * 1000);
        told.row("turns told", static_cast<double>(told_), "");
        told.row("turns not told, twice, or wrongly", wrong_.count() + (all_settled ? 0 : 1), "", 0);
        report_load(told, idle, at_work, whole);
        told.row("allocated for a session", (warm - before) * 1024 / static_cast<double>(chosen_.sessions),
                 "KiB");
        return told.held();
    }

private:
    template <class What>
    void inside(What what) {
        std::promise<void> done;
        net::post(io_, [&] {
            what();
            done.set_value();
        });
        done.get_future().wait();
    }

    template <class Rep>
    consumption::figures cost_of(std::chrono::duration<Rep> time) {
        const consumption begun;
        std::this_thread::sleep_for(time);
        return begun.since();
    }

    void report_load(table& told, const consumption::figures& idle, const consumption::figures& at_work,
                     const consumption::figures& whole) {
        double sims = 0;
        for (const auto& each : servers_)
            sims += each->where.cpu_seconds();
        told.row("connections tried in any second", meter_.most_connects(), "", 600);
        told.row("connections a second, mean", meter_.connects_a_second(), "");
        told.row("log lines in any second", meter_.most_log_lines(), "", log_lines_a_second);
        told.row("looks that failed", static_cast<double>(world_.value(metric::captures_failed)), "");
        told.row("looks", static_cast<double>(world_.value(metric::captures)), "");
        told.row("cores used by the library, nothing being prompted", idle.own_cpu, "");
        told.row("cores used by the library, with prompts", at_work.own_cpu, "");
        told.row("cores used by all of this machine then", at_work.machine_cpu, "");
        told.row("cores used by the library, all the time", whole.own_cpu, "");
        told.row("cores used by the servers, all the time", sims / whole.seconds, "");
        told.row("timers late by, 99 %", meter_.late_ms(99), "ms");
        told.row("resident at most", peak_resident(), "MiB");
    }

    // --- what somebody else does, in a world of its own that nothing limits

    static shared_limits no_limits() {
        shared_limits none;
        none.connects.per_second = 0;
        return none;
    }

    void make_sessions() {
        net::io_context io(1);
        runtime world(io.get_executor(), {}, no_limits());
        task_scope makers(world, [this](std::exception_ptr e) { wrong_.add("sessions: " + what_of(e)); });
        for (std::size_t i = 0; i < servers_.size(); ++i)
            makers.spawn(make_sessions_at(world, *servers_[i],
                                          chosen_.sessions / servers_.size() +
                                              (i < chosen_.sessions % servers_.size())));
        io.run();
    }

    net::awaitable<void> make_sessions_at(runtime& world, capture_at& at, std::size_t count) {
        opencode::client rest(world, *http::parse_url(at.where.url()));
        const opencode::session_request how;
        for (std::size_t i = 0; i < count; ++i) {
            auto made = co_await rest.create_session(how, "/load/" + std::to_string(i % chosen_.directories));
            if (made)
                at.sessions.emplace_back().id = made->id;
            else
                wrong_.add("no session: " + made.error().message);
        }
    }

    net::awaitable<void> prompt_now_and_then() {
        const auto name = [&] {
            return opencode::make_id("msg", others_.wall_now(), {}, others_);
        };
        for (std::size_t n = 0;; ++n) {
            co_await world_.sleep_for(seconds_of(1 / prompts_a_second));
            auto& at = *servers_[random_() % servers_.size()];
            if (at.killed)
                continue; // whose truth nobody knows afterwards
            auto to = at.sessions.begin();
            std::advance(to, static_cast<std::ptrdiff_t>(random_() % at.sessions.size()));
            opencode::prompt what;
            what.message_id = name();
            opencode::prompt_part part;
            part.text = "#slow:" + std::to_string(words_of_a_turn);
            what.parts.push_back(std::move(part));
            opencode::client rest(others_, *http::parse_url(at.where.url()));
            const bool busy = std::any_of(prompts_.begin(), prompts_.end(),
                                          [&](const auto& each) { return each.to == &*to; });
            if (busy)
                continue; // so that none is answered together with another
            const auto message = what.message_id;
            const auto done = co_await rest.prompt_async(to->id, what);
            if (done)
                prompts_.push_back({&*to, message});
        }
    }

    // --- the library's work

    void start() {
        tasks_.spawn(meter_.run());
        tasks_.spawn(look_around());
        for (auto& at : servers_) {
            tasks_.spawn(at->server.run());
            std::size_t n = 0;
            for (auto& each : at->sessions) {
                each.feed =
                    at->server.follow(each.id, n++ % 2 == 0 ? follow_by::capture : follow_by::activity);
                tasks_.spawn(hear(each));
            }
        }
    }

    net::awaitable<void> hear(followed& session) {
        auto feed = *session.feed;
        while (auto told = co_await feed.next())
            if (const auto* how = std::get_if<opencode::settlement>(&told->event))
                session.settled[told->message].push_back(*how);
    }

    /// Notes when each session was seen.
    net::awaitable<void> look_around() {
        const auto step = seconds_of(chosen_.tick / 20);
        for (;;) {
            co_await world_.sleep_for(step);
            for (auto& at : servers_)
                for (auto& each : at->sessions)
                    look_at(*at, each);
        }
    }

    void look_at(capture_at& at, followed& session) {
        const auto view = session.feed->view();
        session.known = view.status.has_value();
        const auto last = session.seen;
        const auto now_seen = view.streamed ? world_.now() : view.seen;
        if (now_seen && (!last || *now_seen > *last))
            session.seen = now_seen;
        const auto opened = at.where.opened();
        if (at.away && at.where.deaths() > 0) {
            const bool reached = opened && ((view.seen && *view.seen > *opened) ||
                                            (view.trouble && view.trouble->code == errc::another_server));
            if (reached && !session.recovered)
                (at.woken ? woken_ : by_schedule_).push_back(ms_between(*opened, world_.now()));
            session.recovered = session.recovered || reached;
        }
        if (!at.away && !view.streamed && last && session.seen && *session.seen > *last)
            gaps_->push_back(ms_between(*last, *session.seen));
    }

    template <class Holds>
    bool wait_all(Holds holds) {
        const auto deadline = steady::now() + patience;
        for (bool all = false; steady::now() < deadline; std::this_thread::sleep_for(100ms)) {
            inside([&] {
                all = std::all_of(servers_.begin(), servers_.end(), [&](const auto& at) {
                    return std::all_of(at->sessions.begin(), at->sessions.end(),
                                       [&](const auto& each) { return holds(*at, each); });
                });
            });
            if (all)
                return true;
        }
        return false;
    }

    bool wait_seen() {
        const bool seen = wait_all([](const auto&, const auto& each) { return each.known; });
        inside([this] { gaps_ = &gaps_well_; });
        return seen;
    }

    bool wait_recovered() {
        return wait_all([](const auto& at, const auto& each) { return !at.away || each.recovered; });
    }

    void strike() {
        std::vector<std::thread> deaths;
        for (auto& at : servers_)
            if (at->away)
                deaths.emplace_back([this, &at] {
                    try {
                        be_away(*at);
                    } catch (const std::exception& e) {
                        wrong_.add(e.what());
                    }
                });
        for (auto& each : deaths)
            each.join();
    }

    void be_away(capture_at& at) {
        if (at.killed) {
            at.where.kill();
            std::this_thread::sleep_for(std::chrono::duration<double>(chosen_.down));
            at.where.start();
        } else {
            at.where.die_by_fault();
        }
        if (at.woken)
            inside([&] { at.server.wake(); });
    }

    /// Each prompt is told once and as it was, or will be soon.
    bool wait_settled() {
        const auto deadline = steady::now() + patience;
        bool all = false;
        for (; !all && steady::now() < deadline; std::this_thread::sleep_for(100ms))
            inside([&] {
                all = std::all_of(prompts_.begin(), prompts_.end(),
                                  [](const auto& each) { return each.to->settled.contains(each.message); });
            });
        inside([this] { judge(); });
        return all;
    }

    void judge() {
        told_ = prompts_.size();
        for (const auto& each : prompts_) {
            const auto found = each.to->settled.find(each.message);
            if (found == each.to->settled.end()) {
                wrong_.add(each.message + " of " + each.to->id + " is not told");
                continue;
            }
            const auto& how = found->second.front();
            if (found->second.size() != 1 || how.outcome != outcome::completed ||
                how.text != words(words_of_a_turn))
                wrong_.add(each.message + " of " + each.to->id + ": told " +
                           std::to_string(found->second.size()) + " times, " +
                           std::string(to_string(how.outcome)) + " by " + std::string(to_string(how.rule)) +
                           ", with the text '" + how.text + "'");
        }
    }

    void end() {
        for (auto& at : servers_) {
            for (const auto& each : at->sessions)
                if (!at->away && each.seen)
                    gaps_->push_back(ms_between(*each.seen, world_.now()));
            at->server.stop();
        }
        tasks_.cancel();
    }

    const settings& chosen_;
    std::mt19937_64 random_;
    complaints wrong_;
    net::io_context io_{1};
    runtime world_{io_.get_executor(), [this](const log_record& record) {
                       if (chosen_.verbose && record.level != log_level::debug)
                           std::cerr << record.event << ' ' << record.endpoint << ' ' << record.session << ' '
                                     << record.error_class << ' ' << record.error_message << ' '
                                     << record.action << std::endl;
                   }};
    runtime others_{io_.get_executor(), {}, no_limits()};
    meter meter_{world_};
    std::vector<std::unique_ptr<capture_at>> servers_;
    task_scope tasks_{world_, [this](std::exception_ptr e) {
                          wrong_.add("task: " + what_of(e));
                      }};
    // Used where the library runs:
    task_scope::id prompting_ = 0;
    std::list<foreign_prompt> prompts_;
    std::size_t told_ = 0;
    std::vector<double> gaps_before_;
    std::vector<double> gaps_well_;
    std::vector<double> gaps_away_;
    std::vector<double> gaps_back_;
    std::vector<double>* gaps_ = &gaps_before_;
    std::vector<double> woken_;
    std::vector<double> by_schedule_;
};

} // namespace

bool run_captures(const settings& chosen) {
    return captures_load(chosen).run();
}

} // namespace holdfast::test::load
