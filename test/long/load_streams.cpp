// Sessions with turns all the while, each held by its stream, on servers of which some die and come back: how
// soon the streams are live again, and whether each turn is settled once and as the server says.
#include "long/load.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

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

constexpr unsigned words_of_a_turn = 40;
constexpr auto pace_of_a_word = "100ms";
constexpr duration longest_rest = seconds(4); // between two turns of a session
constexpr double live_within_ms = 3000;       // after the port is open again, at the 99th percentile
constexpr double log_lines_a_second = 20;
constexpr auto patience = 60s;

opencode::server_config config_of_streams() {
    opencode::server_config config;
    config.policy.base_delay = milliseconds(100);
    config.policy.max_delay = seconds(1);
    config.policy.max_attempts = retry::unlimited;
    config.rest.transport.deadlines.header =
        milliseconds(1000); // servers come back with an open port and no answer
    config.greeting_timeout = seconds(1);
    return config;
}

/// One turn, as it was told.
struct told_turn {
    std::string message;
    std::string text;
    std::optional<opencode::settlement> how;
    unsigned settlements = 0;
    bool late_event = false; ///< after the settlement
    bool missing = false;    ///< text, by its own account
};

/// One session, as long as it is held, and what was told of it.
struct held_session {
    std::string id;
    std::optional<opencode::session> handle;
    std::optional<opencode::feed> feed;
    bool forgotten = false; ///< its server was killed: the next one knows nothing of it
    bool shaken = false;    ///< its server died, and came back with what it had stored
    std::list<told_turn> turns;
    std::map<std::string, unsigned> settled_by_feed;
};

/// A server, and the library's work with it. Used where the library runs, but for `where`.
struct load_at {
    load_at(runtime& world, std::vector<std::string> arguments)
        : where(std::move(arguments)), server(world, where.url(), config_of_streams()) {}

    sim_place where;
    opencode::server server;
    bool watched = false; ///< its streams' return is waited for: its sessions are held on
    bool killed = false;
    std::size_t working = 0;
    std::list<held_session> sessions;
};

class streams_load {
public:
    explicit streams_load(const settings& chosen) : chosen_(chosen), random_(chosen.seed) {
        for (std::size_t i = 0; i < chosen.servers; ++i) {
            std::vector<std::string> arguments{"--pace", pace_of_a_word, "--seed",
                                               std::to_string(random_() % 1000000)};
            if (dies_by_fault(i))
                add(arguments, sim_place::fault("restart"));
            servers_.push_back(std::make_unique<load_at>(world_, std::move(arguments)));
        }
    }

    bool run() {
        const double before = allocated();
        const consumption first;
        progress("sessions are made");
        start();
        std::thread library([this] { io_.run(); });
        const auto begun = steady::now();
        const bool all_live = wait_live();
        const double ready = std::chrono::duration<double>(steady::now() - begun).count();
        const double warm = allocated();

        const auto part = std::chrono::duration<double>(chosen_.seconds / 4);
        progress("all are live");
        const consumption quiet;
        std::this_thread::sleep_for(part);
        const auto at_work = quiet.since();
        progress("servers are killed");
        const auto killed = strike(0, chosen_.killed, [this](sim_place& where) { kill_and_start(where); });
        std::this_thread::sleep_for(part);
        progress("servers die");
        const auto restarted = strike(chosen_.killed, chosen_.killed + chosen_.restarted,
                                      [](sim_place& where) { where.die_by_fault(); });
        std::this_thread::sleep_for(part);
        progress("the end");
        const bool over = wind_down();
        library.join();
        const auto whole = first.since();
        judge();

        table told("Streams: " + std::to_string(chosen_.sessions) + " sessions with turns on " +
                   std::to_string(chosen_.servers) + " servers, " + machine());
        told.row("all sessions live after", ready, "s");
        told.row("sessions never live", all_live ? 0 : 1, "", 0);
        told.row("work that does not end", over ? 0 : 1, "", 0);
        told.spread("killed and started again: live after the port was open", killed, "ms", live_within_ms);
        told.spread("died and came back with its sessions: live after it answered", restarted, "ms",
                    live_within_ms);
        for (const auto& [what, count] : outcomes_)
            told.row("turns " + what, static_cast<double>(count), "");
        told.row("wrong settlements", wrong_.count(), "", 0);
        report_load(told, at_work, whole);
        told.row("allocated for a session", (warm - before) * 1024 / static_cast<double>(chosen_.sessions),
                 "KiB");
        return told.held();
    }

private:
    bool dies_by_fault(std::size_t i) const {
        return i >= chosen_.killed && i < chosen_.killed + chosen_.restarted;
    }

    void report_load(table& told, const consumption::figures& at_work, const consumption::figures& whole) {
        double sims = 0;
        double resident = 0;
        for (const auto& each : servers_) {
            sims += each->where.cpu_seconds();
            resident = std::max(resident, each->where.resident_mib());
        }
        told.row("looks beside the streams", static_cast<double>(world_.value(metric::captures)), "");
        told.row("snapshots", static_cast<double>(world_.value(metric::snapshots)), "");
        told.row("requests", static_cast<double>(world_.value(metric::requests)), "");
        told.row("connections tried in any second", meter_.most_connects(), "", 600);
        told.row("connections a second, mean", meter_.connects_a_second(), "");
        told.row("log lines in any second", meter_.most_log_lines(), "", log_lines_a_second);
        told.row("cores used by the library, before any death", at_work.own_cpu, "");
        told.row("cores used by all of this machine then", at_work.machine_cpu, "");
        told.row("cores used by the library, all the time", whole.own_cpu, "");
        told.row("cores used by the servers, all the time", sims / whole.seconds, "");
        told.row("timers late by, 99 %", meter_.late_ms(99), "ms");
        told.row("resident at most", peak_resident(), "MiB");
        told.row("of one server, at most", resident, "MiB");
    }

    /// Runs where the library does, and waits for it.
    template <class What>
    void inside(What what) {
        std::promise<void> done;
        net::post(io_, [&] {
            what();
            done.set_value();
        });
        done.get_future().wait();
    }

    void start() {
        metering_ = tasks_.spawn(meter_.run());
        for (auto& each : servers_)
            tasks_.spawn(each->server.run());
        for (std::size_t i = 0; i < chosen_.sessions; ++i) {
            auto& at = *servers_[i % servers_.size()];
            ++at.working;
            tasks_.spawn(
                work(at, "/load/" + std::to_string(i / servers_.size() % chosen_.directories), random_()));
        }
    }

    std::size_t count_live() {
        std::size_t live = 0;
        inside([&] {
            for (const auto& each : servers_)
                live += static_cast<std::size_t>(
                    std::count_if(each->sessions.begin(), each->sessions.end(),
                                  [](const auto& held) { return held.feed && held.feed->view().streamed; }));
        });
        return live;
    }

    bool wait_live() {
        const auto deadline = steady::now() + patience;
        while (count_live() < chosen_.sessions) {
            if (steady::now() > deadline)
                return false;
            std::this_thread::sleep_for(100ms);
        }
        return true;
    }

    void kill_and_start(sim_place& where) {
        where.kill();
        std::this_thread::sleep_for(std::chrono::duration<double>(chosen_.down));
        where.start();
    }

    /// Has some servers die, all at once. @return for each of their sessions, ms from the return of the
    /// server to that of its stream.
    template <class Death>
    std::vector<double> strike(std::size_t first, std::size_t last, Death death) {
        std::vector<double> delays;
        std::list<task_scope::id> watchers;
        std::size_t left = 0;
        const bool kill = first < chosen_.killed;
        inside([&] {
            for (std::size_t i = first; i < last; ++i) {
                auto& at = *servers_[i];
                at.watched = true;
                at.killed = at.killed || kill;
                for (auto& held : at.sessions) {
                    (kill ? held.forgotten : held.shaken) = true;
                    ++left;
                    watchers.push_back(
                        tasks_.spawn(watch(at.where, at.where.deaths(), *held.feed, delays, left)));
                }
            }
        });
        std::vector<std::thread> deaths;
        for (std::size_t i = first; i < last; ++i)
            deaths.emplace_back([this, i, &death] {
                try {
                    death(servers_[i]->where);
                } catch (const std::exception& e) {
                    wrong_.add(e.what());
                }
            });
        for (auto& each : deaths)
            each.join();
        const auto deadline = steady::now() + patience;
        for (bool all = false; !all && steady::now() < deadline; std::this_thread::sleep_for(50ms))
            inside([&] { all = left == 0; });
        inside([&] {
            for (const auto each : watchers)
                tasks_.cancel(each); // those in vain
            for (std::size_t i = first; i < last; ++i)
                servers_[i]->watched = false;
            for (; left > 0; --left)
                wrong_.add("a stream does not come back");
        });
        return delays;
    }

    net::awaitable<void> watch(sim_place& where, unsigned deaths, opencode::feed feed,
                               std::vector<double>& delays, std::size_t& left) {
        while (where.deaths() == deaths || feed.view().streamed)
            co_await world_.sleep_for(milliseconds(5));
        while (!feed.view().streamed)
            co_await world_.sleep_for(milliseconds(5));
        const auto live = steady::now();
        while (!where.opened())
            co_await world_.sleep_for(milliseconds(5)); // the library saw it before we did
        delays.push_back(
            std::max(0.0, std::chrono::duration<double, std::milli>(live - *where.opened()).count()));
        --left;
    }

    // --- the work

    net::awaitable<void> work(load_at& at, std::string directory, std::uint64_t seed) {
        std::mt19937_64 random(seed);
        while (!winding_down_)
            co_await work_in_one_session(at, directory, random);
        if (--at.working == 0)
            at.server.stop();
    }

    net::awaitable<void> work_in_one_session(load_at& at, std::string directory, std::mt19937_64& random) {
        opencode::session_request how;
        auto made = co_await at.server.create_session(how, directory);
        if (!made) {
            co_await world_.sleep_for(milliseconds(200));
            co_return;
        }
        auto& held = at.sessions.emplace_back();
        held.id = made->id();
        held.handle = *made;
        held.feed = at.server.follow(held.id, follow_by::stream);
        const auto hearing = tasks_.spawn(hear(*held.feed, held));
        while (!winding_down_ && !held.forgotten) {
            co_await world_.sleep_for(
                milliseconds(random() % static_cast<std::uint64_t>(to_ms(longest_rest))));
            if (!winding_down_ && !held.forgotten)
                co_await play_turn(held);
        }
        while (at.watched)
            co_await world_.sleep_for(milliseconds(50));
        co_await world_.sleep_for(milliseconds(100)); // what was told last is heard
        tasks_.cancel(hearing);
        held.feed.reset();
        held.handle.reset();
    }

    net::awaitable<void> hear(opencode::feed feed, held_session& held) {
        while (auto told = co_await feed.next())
            if (std::holds_alternative<opencode::settlement>(told->event))
                ++held.settled_by_feed[told->message];
    }

    net::awaitable<void> play_turn(held_session& held) {
        auto& told = held.turns.emplace_back();
        auto session = *held.handle;
        auto turn = co_await session.prompt("load #slow:" + std::to_string(words_of_a_turn));
        told.message = turn.message_id();
        while (auto event = co_await turn.next()) {
            told.late_event = told.late_event || told.settlements > 0;
            if (const auto* text = std::get_if<opencode::text_event>(&*event))
                told.text += text->delta;
            if (const auto* gap = std::get_if<opencode::gap_event>(&*event))
                told.missing = told.missing || gap->missing;
            if (const auto* how = std::get_if<opencode::settlement>(&*event)) {
                ++told.settlements;
                told.how = *how;
            }
        }
    }

    /// @return whether all ended by itself.
    bool wind_down() {
        inside([this] { winding_down_ = true; });
        std::this_thread::sleep_for(100ms);
        const auto deadline = steady::now() + patience;
        std::size_t working = 1;
        while (working > 0 && steady::now() < deadline) {
            std::this_thread::sleep_for(50ms);
            inside([&] {
                working = 0;
                for (const auto& each : servers_)
                    working += each->working;
            });
        }
        inside([&] {
            if (working > 0)
                tasks_.cancel();
            tasks_.cancel(metering_);
        });
        return working == 0;
    }

    // --- the truth

    /// By what the servers have stored, in a world of its own.
    void judge() {
        net::io_context io(1);
        shared_limits none;
        none.connects.per_second = 0;
        runtime world(io.get_executor(), {}, none);
        task_scope judges(world, [this](std::exception_ptr e) { wrong_.add("judge: " + what_of(e)); });
        for (auto& each : servers_)
            judges.spawn(judge_at(world, *each));
        io.run();
    }

    net::awaitable<void> judge_at(runtime& world, load_at& at) {
        opencode::client rest(world, *http::parse_url(at.where.url()));
        for (auto& held : at.sessions) {
            std::vector<opencode::message> stored;
            std::string before;
            do {
                auto page = co_await rest.messages(held.id, 100, before);
                if (!page && page.error().code == errc::not_found)
                    break;
                if (!page) {
                    wrong_.add("cannot be judged: " + page.error().message);
                    co_return;
                }
                stored.insert(stored.end(), page->messages.begin(), page->messages.end());
                before = page->before;
            } while (!before.empty());
            for (const auto& told : held.turns)
                judge_turn(held, told, stored);
        }
    }

    /// The text of an answer that came to its end; nothing: none did.
    static std::optional<std::string> stored_answer(const std::vector<opencode::message>& stored,
                                                    const std::string& prompt) {
        for (const auto& each : stored) {
            if (!each.info.assistant || each.info.parent_id != prompt || each.info.finish != "stop")
                continue;
            std::string text;
            for (const auto& part : each.parts)
                if (part.type == "text" && part.ended)
                    text += part.text;
            return text;
        }
        return std::nullopt;
    }

    void judge_turn(const held_session& held, const told_turn& told,
                    const std::vector<opencode::message>& stored) {
        const auto by_feed = held.settled_by_feed.find(told.message);
        const auto times = by_feed == held.settled_by_feed.end() ? 0U : by_feed->second;
        if (told.settlements != 1 || told.late_event || !told.how || times != 1)
            return wrong_.add(told.message + ": " + std::to_string(told.settlements) + " settlements, " +
                              std::to_string(times) + " by the feed");
        const auto& how = *told.how;
        auto words_told = std::string(to_string(how.outcome)) + " by " + std::string(to_string(how.rule));
        ++outcomes_[words_told + (held.forgotten ? " (killed)" : held.shaken ? " (died and came back)" : "")];
        words_told = told.message + " of " + held.id + ": " + words_told +
                     (how.error ? ", " + how.error->cls + " " + how.error->message : "");
        const auto answer = stored_answer(stored, told.message);
        const bool died = held.forgotten || held.shaken;
        if (how.outcome == outcome::completed) {
            if (how.text != words(words_of_a_turn) || (!told.missing && told.text != how.text))
                wrong_.add(words_told + ", with the text '" + how.text + "', told '" + told.text + "'");
            if (!held.forgotten && answer != how.text)
                wrong_.add(words_told + ", but the server has no such answer");
        } else if (answer || !died ||
                   (how.outcome != outcome::lost && how.rule != opencode::rule::not_posted)) {
            wrong_.add(words_told + (answer ? ", but the server has an answer" : ""));
        }
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
    meter meter_{world_};
    std::vector<std::unique_ptr<load_at>> servers_;
    task_scope tasks_{world_, [this](std::exception_ptr e) {
                          wrong_.add("task: " + what_of(e));
                      }};
    task_scope::id metering_ = 0;
    bool winding_down_ = false; // used where the library runs
    std::map<std::string, std::size_t> outcomes_;
};

} // namespace

bool run_streams(const settings& chosen) {
    return streams_load(chosen).run();
}

} // namespace holdfast::test::load
