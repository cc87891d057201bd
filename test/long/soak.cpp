// soak MINUTES [--seed N] [--sessions N]: sessions that prompt without a rest on simulated servers, through
// proxies that break things all the while. Nothing may grow, every turn must be settled and right.
#include "long/figures.hpp"
#include "support/fault_proxy.hpp"
#include "support/sim_process.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using namespace std::chrono_literals;
using opencode::outcome;
using steady = std::chrono::steady_clock;

constexpr std::size_t servers = 3;
constexpr int turns_of_a_session = 20; // then it is deleted and another takes its place
constexpr std::chrono::seconds turn_patience{120};

/// One turn that the simulated model plays, and what it says.
struct scenario {
    std::string tag;
    std::string text;
};

std::string words(unsigned count) {
    std::string text;
    for (unsigned i = 0; i < count; ++i)
        text += "w" + std::to_string(i) + ' ';
    return text;
}

scenario draw_scenario(std::mt19937_64& random) {
    switch (random() % 8) {
    case 0: return {"#reason", "Answer is 42."};
    case 1: return {"#ask", "Tool said hi."};
    case 2: return {"#todo", "Todo made."};
    case 3: return {"#task", "Subagent finished."};
    case 4: return {"#big:20000", std::string(20000, 'x')};
    case 5: return {"#plain", "Hello from the simulated model."};
    default: {
        const auto count = static_cast<unsigned>(20 + random() % 100);
        return {"#slow:" + std::to_string(count), words(count)};
    }
    }
}

/// What the soak counts; from any thread.
class tally {
public:
    void add(const std::string& what) {
        const std::lock_guard lock(mutex_);
        ++counts_[what];
    }
    void wrong(const std::string& words) {
        const std::lock_guard lock(mutex_);
        ++wrong_;
        if (wrong_ <= 50)
            std::cerr << "WRONG: " << words << std::endl;
    }
    std::map<std::string, std::size_t> counts() const {
        const std::lock_guard lock(mutex_);
        return counts_;
    }
    std::size_t wrong() const {
        const std::lock_guard lock(mutex_);
        return wrong_;
    }

private:
    mutable std::mutex mutex_;
    std::map<std::string, std::size_t> counts_;
    std::size_t wrong_ = 0;
};

/// A simulated server behind a proxy. A new process has none of the sessions of the one before.
struct breakable_server {
    std::unique_ptr<sim_process> sim = std::make_unique<sim_process>();
    fault_proxy proxy{sim->port()};
    std::atomic<unsigned> deaths = 0;

    void kill_and_replace() {
        ++deaths; // before: what is lost from now on may be lost
        sim->child().signal(SIGKILL);
        sim->child().wait(10s);
        sim = std::make_unique<sim_process>();
        proxy.target(sim->port());
        ++deaths; // and once more: what was begun while it was down may be lost, too
    }
};

opencode::server_config soak_config() {
    opencode::server_config config;
    config.policy.base_delay = milliseconds(100);
    config.policy.max_delay = seconds(1);
    config.policy.max_attempts = retry::unlimited;
    config.stall_timeout = seconds(5);
    config.greeting_timeout = seconds(3);
    config.rest.transport.deadlines.connect = seconds(2);
    config.rest.transport.deadlines.header = seconds(2);
    config.rest.transport.deadlines.exchange = seconds(5);
    return config;
}

/// What was told of one turn.
struct told_turn {
    std::string text;
    bool missing = false;
    bool aborted_by_us = false;
    unsigned deaths_before = 0; ///< when its session was made
    std::optional<opencode::settlement> how;
    unsigned settlements = 0;
    bool late_event = false; ///< after the settlement
};

/// Checks a turn against what the model is known to say.
void judge(const told_turn& told, const scenario& played, unsigned deaths_after, tally& counts) {
    const auto name = "turn " + played.tag + ": ";
    if (told.settlements != 1 || told.late_event || !told.how) {
        counts.wrong(name + std::to_string(told.settlements) + " settlements");
        return;
    }
    const auto& how = *told.how;
    const bool server_died = deaths_after != told.deaths_before;
    counts.add(std::string(to_string(how.outcome)));
    const auto complain = [&](const std::string& words) {
        counts.wrong(name + words + "; " + std::string(to_string(how.outcome)) + " by " +
                     std::string(to_string(how.rule)) + ", text '" + how.text.substr(0, 200) + "', told '" +
                     told.text.substr(0, 200) + "'" + (how.error ? ", error " + how.error->message : "") +
                     (told.aborted_by_us ? ", we aborted it" : "") + (told.missing ? ", text missing" : ""));
    };
    switch (how.outcome) {
    case outcome::completed:
        if (how.text != played.text)
            complain("completed with another text than the model's");
        if (!told.aborted_by_us && !told.text.ends_with(played.text))
            complain(told.missing ? "text is missing though the server has it" : "told another text");
        break;
    case outcome::aborted:
        if (!told.aborted_by_us)
            complain("nobody aborted it");
        break;
    case outcome::lost:
    case outcome::failed: // not posted
        if (!server_died)
            complain("its server lived");
        break;
    case outcome::rejected:
    case outcome::detached: complain("nobody did that"); break;
    }
}

/// Sessions of one server, each with a coroutine that prompts without a rest.
class workload {
public:
    workload(runtime& world, breakable_server& at, std::uint64_t seed, tally& counts)
        : world_(world), at_(at), random_(seed), counts_(counts),
          server_(world, at.proxy.url(), soak_config()),
          tasks_(world, [this](std::exception_ptr e) { counts_.wrong("exception: " + what_of(e)); }) {}

    void start(std::size_t sessions) {
        tasks_.spawn(server_.run());
        for (std::size_t i = 0; i < sessions; ++i) {
            ++working_;
            tasks_.spawn(work(i));
        }
    }

    /// No further turn begins. From any thread.
    void wind_down() { winding_down_ = true; }

    /// Returns when all has ended.
    net::awaitable<void> join() { co_await tasks_.join(); }

    /// When each turn that is open now was begun. From any thread.
    std::size_t overdue() const { return overdue_; }

private:
    net::awaitable<void> work(std::size_t index) {
        const std::string directory = index % 2 == 0 ? "/soak/even" : "/soak/odd";
        while (!winding_down_)
            co_await work_in_one_session(directory);
        if (--working_ == 0)
            server_.stop();
    }

    net::awaitable<void> work_in_one_session(std::string directory) {
        const auto deaths = at_.deaths.load();
        opencode::session_request how;
        auto made = co_await server_.create_session(how, directory);
        if (!made) {
            co_await world_.sleep_for(milliseconds(200));
            co_return;
        }
        const auto session = *made;
        for (int i = 0; i < turns_of_a_session && !winding_down_; ++i) {
            co_await play_turn(session, deaths);
            if (deaths != at_.deaths)
                co_return; // the session is gone
            co_await world_.sleep_for(milliseconds(random_() % 3000));
        }
        auto rest = server_.rest();
        static_cast<void>(co_await rest.delete_session(session.id()));
    }

    net::awaitable<void> play_turn(opencode::session session, unsigned deaths_before) {
        const auto played = draw_scenario(random_);
        told_turn told;
        told.deaths_before = deaths_before;
        const bool shall_abort = random_() % 10 == 0;
        const auto begun = world_.now();
        auto turn = co_await session.prompt("soak " + played.tag);
        task_scope helpers(world_, [this](std::exception_ptr e) { counts_.wrong("helper: " + what_of(e)); });
        helpers.spawn(watch(begun));
        if (shall_abort) {
            told.aborted_by_us = true;
            helpers.spawn(abort_later(turn, milliseconds(random_() % 1500)));
        }
        while (auto event = co_await turn.next()) {
            told.late_event = told.late_event || told.settlements > 0;
            if (const auto* text = std::get_if<opencode::text_event>(&*event))
                told.text += text->delta;
            else if (const auto* ask = std::get_if<opencode::permission_event>(&*event); ask && !ask->reply)
                helpers.spawn(allow(turn, ask->request.id));
            else if (const auto* gap = std::get_if<opencode::gap_event>(&*event); gap && gap->missing)
                told.missing = true;
            else if (const auto* broken = std::get_if<opencode::interrupted_event>(&*event))
                counts_.add("interrupted: " + std::string(to_string(broken->failure.cls)));
            else if (const auto* end = std::get_if<opencode::settlement>(&*event)) {
                told.how = *end;
                ++told.settlements;
            }
        }
        helpers.cancel();
        co_await helpers.join();
        judge(told, played, at_.deaths, counts_);
    }

    /// Counts turns that are open for too long, whatever comes of them.
    net::awaitable<void> watch(time_point begun) {
        co_await world_.sleep_until(begun + turn_patience);
        ++overdue_;
        counts_.wrong("a turn is open for too long");
    }

    net::awaitable<void> abort_later(opencode::turn turn, duration when) {
        co_await world_.sleep_for(when);
        for (;;) {
            const auto done = co_await turn.abort();
            if (done)
                co_return;
            co_await world_.sleep_for(milliseconds(200));
        }
    }

    net::awaitable<void> allow(opencode::turn turn, std::string ask) {
        const std::string once = "once";
        for (;;) {
            const auto done = co_await turn.reply_permission(ask, once);
            if (done || done.error().status == 404)
                co_return;
            co_await world_.sleep_for(milliseconds(200));
        }
    }

    runtime& world_;
    breakable_server& at_;
    std::mt19937_64 random_;
    tally& counts_;
    opencode::server server_;
    task_scope tasks_;
    std::size_t working_ = 0;
    std::atomic<bool> winding_down_ = false;
    std::atomic<std::size_t> overdue_ = 0;
};

// --- faults

/// Breaks one thing at this server for a while and mends it again.
void break_something(breakable_server& at, std::mt19937_64& random, tally& counts) {
    using scope = fault_proxy::scope;
    using ending = fault_proxy::ending;
    const auto what = random() % 64;
    const auto for_a_while = [&] {
        std::this_thread::sleep_for(milliseconds(200 + random() % 7000));
    };
    const auto which = random() % 2 == 0 ? scope::all : scope::streams;
    const auto count = [&](const char* name) {
        counts.add(std::string("fault: ") + name);
    };
    if (what == 0) {
        count("SIGKILL");
        at.kill_and_replace();
    } else if (what < 6) {
        count("SIGSTOP");
        at.sim->child().signal(SIGSTOP);
        for_a_while();
        at.sim->child().signal(SIGCONT);
    } else if (what < 16) {
        count("reset");
        at.proxy.cut(ending::reset, which);
    } else if (what < 24) {
        count("end");
        at.proxy.cut(ending::clean, which);
    } else if (what < 28) {
        count("half-close");
        at.proxy.half_close(fault_proxy::side::client, which);
    } else if (what < 34) {
        count("cut after bytes");
        at.proxy.cut_stream_after(random() % 5000, random() % 2 == 0 ? ending::reset : ending::clean);
    } else if (what < 38) {
        count("stall");
        at.proxy.stall(true, which);
        for_a_while();
        at.proxy.stall(false, which);
    } else if (what < 42) {
        count("black hole");
        at.proxy.black_hole(true, which);
        for_a_while();
        at.proxy.black_hole(false, which);
    } else if (what < 46) {
        count("refused");
        at.proxy.refuse(true);
        at.proxy.cut();
        for_a_while();
        at.proxy.refuse(false);
    } else if (what < 49) {
        count("streams refused");
        at.proxy.refuse_streams(true);
        at.proxy.cut(ending::reset, scope::streams);
        for_a_while();
        at.proxy.refuse_streams(false);
    } else if (what < 52) {
        count("streams answered 503");
        at.proxy.answer_streams(503);
        at.proxy.cut(ending::reset, scope::streams);
        for_a_while();
        at.proxy.answer_streams(0);
    } else if (what < 55) {
        count("latency");
        at.proxy.latency(milliseconds(random() % 400));
        for_a_while();
        at.proxy.latency(0ms);
    } else if (what < 58) {
        count("slices");
        at.proxy.slice(1 + random() % 30);
        for_a_while();
        at.proxy.slice(0);
    } else if (what < 61) {
        count("bandwidth");
        at.proxy.bandwidth(5000 + random() % 50000);
        for_a_while();
        at.proxy.bandwidth(0);
    } else {
        count("slow close");
        at.proxy.slow_close(milliseconds(random() % 3000));
        for_a_while();
        at.proxy.slow_close(0ms);
    }
}

// --- what is measured

std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator("/proc/self/fd"))
        ++count;
    return count - 1; // the directory's own
}

/// Resident memory of a process, in KiB.
double resident(pid_t id) {
    std::ifstream file("/proc/" + std::to_string(id) + "/statm");
    double all = 0, pages = 0;
    file >> all >> pages;
    return pages * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1024;
}

/// What the program has allocated and not freed, in KiB.
double in_use() {
    const auto info = ::mallinfo2();
    return static_cast<double>(info.uordblks + info.hblkhd) / 1024;
}

struct samples {
    std::vector<double> descriptors, resident_kib, in_use_kib;

    /// Room for all, so that what is measured does not grow by being measured.
    void reserve(double minutes) {
        for (auto* each : {&descriptors, &resident_kib, &in_use_kib})
            each->resize(static_cast<std::size_t>(minutes * 60) + 60);
        for (auto* each : {&descriptors, &resident_kib, &in_use_kib})
            each->clear();
    }

    void take() {
        ::malloc_trim(0); // else a burst's pages, free again, count as resident for ever
        descriptors.push_back(static_cast<double>(open_descriptors()));
        resident_kib.push_back(resident(::getpid()));
        in_use_kib.push_back(in_use());
    }

    /// All but the first third, in which caches and pools fill.
    static std::vector<double> warm(const std::vector<double>& all) {
        return {all.begin() + static_cast<std::ptrdiff_t>(all.size() / 3), all.end()};
    }
};

/// Shorter runs are still warming up when they end.
constexpr double tells_growth_from = 10; // minutes

/// Prints a line of the table. @return whether it does not grow by more than `allowed` a minute.
bool report_trend(const char* what, const std::vector<double>& all, double allowed, bool judged) {
    const auto warm = samples::warm(all);
    // Some thirty blocks, of a minute at most: neighbouring samples are not independent.
    const auto block = std::clamp<std::size_t>(warm.size() / 30, 1, 60);
    const auto least = block_least(warm, block);
    const auto found = trend_of(least);
    const double a_minute = 60.0 / static_cast<double>(block);
    const bool flat = !judged || !grows(least, allowed / a_minute);
    std::printf("| %s | %.0f | %.0f | %.0f | %+.2f (%+.2f .. %+.2f) | %.1f | %s |\n", what,
                percentile(warm, 0), percentile(warm, 50), percentile(warm, 100), found.slope * a_minute,
                found.low * a_minute, found.high * a_minute, allowed,
                !judged ? "too short a run to say"
                : flat  ? "flat"
                        : "GROWS");
    return flat;
}

struct settings {
    double minutes = 1;
    std::uint64_t seed = std::random_device{}();
    std::size_t sessions = 50;
};

/// The whole run, between two counts of open descriptors.
void run(const settings& chosen, tally& counts, samples& taken,
         std::vector<std::pair<double, double>>& sims) {
    std::mt19937_64 random(chosen.seed);
    std::vector<std::unique_ptr<breakable_server>> places;
    for (std::size_t i = 0; i < servers; ++i)
        places.push_back(std::make_unique<breakable_server>());

    net::io_context io(1);
    runtime world(io.get_executor(), [&](const log_record& record) {
        if (record.level >= log_level::warn)
            counts.add("log: " + record.event);
    });
    std::vector<std::unique_ptr<workload>> loads;
    for (std::size_t i = 0; i < servers; ++i) {
        loads.push_back(std::make_unique<workload>(world, *places[i], random(), counts));
        loads[i]->start(chosen.sessions / servers + (i < chosen.sessions % servers ? 1 : 0));
    }
    std::vector<std::future<void>> ends;
    for (const auto& each : loads)
        ends.push_back(net::co_spawn(io, each->join(), net::use_future));
    std::thread library([&] { io.run(); });

    for (const auto& each : places)
        sims.emplace_back(resident(each->sim->child().id()), 0);
    std::atomic<bool> over = false;
    std::vector<std::thread> vandals;
    for (std::size_t i = 0; i < servers; ++i)
        vandals.emplace_back([&, i, own = std::mt19937_64(random())]() mutable {
            while (!over) {
                std::this_thread::sleep_for(milliseconds(500 + own() % 6000));
                break_something(*places[i], own, counts);
            }
        });
    const auto end = steady::now() + std::chrono::duration_cast<steady::duration>(
                                         std::chrono::duration<double, std::ratio<60>>(chosen.minutes));
    for (auto next = steady::now(); next < end; next += 1s) {
        std::this_thread::sleep_until(next);
        taken.take();
        if (taken.descriptors.size() % 60 == 0)
            std::cerr << taken.descriptors.size() / 60 << " min: " << taken.resident_kib.back() << " KiB, "
                      << taken.descriptors.back() << " descriptors, " << counts.counts()["completed"]
                      << " completed, " << counts.wrong() << " wrong" << std::endl;
    }
    over = true;
    for (auto& each : vandals)
        each.join();
    for (const auto& each : loads)
        each->wind_down();
    bool ended = true;
    for (auto& each : ends)
        ended = each.wait_for(2 * turn_patience) == std::future_status::ready && ended;
    for (std::size_t i = 0; i < servers; ++i)
        sims[i].second = resident(places[i]->sim->child().id());
    if (!ended) {
        counts.wrong("work does not end");
        io.stop();
    }
    library.join();
}

int soak(const settings& chosen) {
    std::cout << "seed " << chosen.seed << ", " << chosen.sessions << " sessions on " << servers
              << " simulated servers, " << chosen.minutes << " minutes" << std::endl;
    const auto before = open_descriptors();
    tally counts;
    samples taken;
    taken.reserve(chosen.minutes);
    std::vector<std::pair<double, double>> sims;
    run(chosen, counts, taken, sims);
    const auto after = open_descriptors();

    std::printf(
        "\n| each second, first third left out | least | median | most | slope a minute of the least of each "
        "block (two standard errors) | allowed | |\n|---|---|---|---|---|---|---|\n");
    const bool judged = chosen.minutes >= tells_growth_from;
    // What is allocated shows a leak: 16 KiB a minute are 23 MiB a day. Resident memory wanders by more than
    // that, as the heap is cut up and trimmed.
    const bool resident_flat = report_trend("resident, KiB", taken.resident_kib, 64, judged);
    const bool in_use_flat = report_trend("allocated, KiB", taken.in_use_kib, 16, judged);
    const bool descriptors_flat = report_trend("descriptors", taken.descriptors, 0.2, judged);
    std::printf("\n| descriptors before | after |\n|---|---|\n| %zu | %zu |\n\n| what | count |\n|---|---|\n",
                before, after);
    std::size_t turns = 0;
    for (const auto& [what, count] : counts.counts()) {
        std::printf("| %s | %zu |\n", what.c_str(), count);
        if (what.find(':') == std::string::npos)
            turns += count;
    }
    std::printf("| all turns | %zu |\n| wrong | %zu |\n", turns, counts.wrong());
    for (const auto& [first, last] : sims)
        std::printf("| simulated server, KiB at first and last (it keeps what was said) | %.0f %.0f |\n",
                    first, last);
    const bool held = counts.wrong() == 0 && turns > 0 && after == before && resident_flat && in_use_flat &&
                      descriptors_flat;
    std::printf("\n%s\n", held ? "held" : "BROKE");
    return held ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    settings chosen;
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    try {
        for (std::size_t i = 0; i < arguments.size(); ++i) {
            if (arguments[i] == "--seed")
                chosen.seed = std::stoull(arguments.at(++i));
            else if (arguments[i] == "--sessions")
                chosen.sessions = std::stoul(arguments.at(++i));
            else
                chosen.minutes = std::stod(arguments[i]);
        }
    } catch (const std::exception&) {
        std::cerr << "soak [MINUTES] [--seed N] [--sessions N]\n";
        return 2;
    }
    ::mallopt(M_ARENA_MAX, 1); // one heap: its size depends less on which thread frees what
    return soak(chosen);
}
