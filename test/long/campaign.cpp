// campaign TURNS [--seed N] [--verbose]: turns on a real OpenCode server, through a proxy, while both are
// cut, killed, stopped, disposed of, and while turns are aborted and prompted twice. The judge is
// verdict.hpp. Exit code 0: nothing to complain of; 1: something; 77: there is no OpenCode server to test
// with.
#include "long/at_work.hpp"
#include "long/figures.hpp"
#include "long/verdict.hpp"
#include "support/eventually.hpp"
#include "support/fault_proxy.hpp"
#include "support/opencode_server.hpp"
#include "support/plain_http.hpp"
#include "support/ports.hpp"
#include "support/scripted_model.hpp"

#include <boost/asio/error.hpp>
#include <boost/json.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iomanip>
#include <iostream>
#include <random>
#include <sstream>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using namespace std::chrono_literals;
using opencode::outcome;
using opencode::rule;
using moment = told_turn::moment;
using scope = fault_proxy::scope;
using ending = fault_proxy::ending;

constexpr std::size_t prompts_of_a_session = 12; // then another takes its place, so that it stays short
constexpr std::chrono::seconds hung_after{90};   // after the last fault has ended
constexpr double settled_within_ms = 2000;       // at the 99th percentile

opencode::server_config campaign_config() {
    opencode::server_config config;
    config.policy.base_delay = milliseconds(100);
    config.policy.max_delay = milliseconds(500);
    config.policy.max_attempts = retry::unlimited;
    config.stall_timeout = seconds(3);
    config.greeting_timeout = seconds(2);
    config.rest.transport.deadlines.connect = seconds(1);
    config.rest.transport.deadlines.header = milliseconds(1500);
    config.rest.transport.deadlines.exchange = seconds(5);
    config.turns.quiet_after = seconds(5);
    return config;
}

double ms_between(moment from, moment to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

/// A moment of the wall clock (ms since the epoch) on the steady one.
moment on_steady_clock(std::int64_t wall_ms) {
    const auto ago = std::chrono::system_clock::now().time_since_epoch() - milliseconds(wall_ms);
    return told_turn::clock::now() - std::chrono::duration_cast<told_turn::clock::duration>(ago);
}

// --- what is played

struct scenario {
    std::string tag;
    std::string text; ///< said at last
    std::size_t most_runs = 1;
    std::string reply = "once";
    bool drops_a_try = false;
};

std::string words(std::uint64_t count) {
    std::string text;
    for (std::uint64_t i = 0; i < count; ++i)
        text += "w" + std::to_string(i) + ' ';
    return text;
}

scenario draw_scenario(std::mt19937_64& random, const std::string& key) {
    const std::string hello = "Hello from the mock model.";
    switch (random() % 16) {
    case 0: return {"#plain", hello, 1};
    case 1: return {"#reason", "I have thought.", 1};
    case 2: return {"#bash", "Tool said hi.", 2};
    case 3: return {"#bash", "Running it. ", 1, "reject"};
    case 4: return {"#question", "You have answered.", 2};
    case 5: return {"#todo", "Noted.", 2};
    case 6: return {"#task", "The helper is done.", 2};
    case 7: return {"#big:200000", std::string(200000, 'x'), 1};
    case 8: return {"#cutonce:" + key, "whole.", 2, "once", true};
    case 9: return {"#silent:" + std::to_string(random() % 4000), hello, 1};
    default: {
        const auto count = 10 + random() % 60;
        return {"#slow:" + std::to_string(count) + ":" + std::to_string(10 + random() % 50), words(count), 1};
    }
    }
}

/// One prompt of the campaign.
struct played_prompt {
    std::shared_ptr<told_turn> told;
    scenario script;
    std::string key; ///< in its text, for the model to count
    std::string directory;
};

/// What was done to the server, or to the way there.
struct hit {
    std::string kind;
    moment begun;
    moment ended;
    bool breaks_stream = false; ///< so that the library must notice at once, or after the stall timeout
    std::string disposed;       ///< this directory
    bool killed = false;
};

/// Hears, past the library, when each session of the server became idle.
class idle_watch {
public:
    explicit idle_watch(unsigned short port) : port_(port), thread_([this] { listen(); }) {}
    ~idle_watch() {
        over_ = true;
        thread_.join();
    }
    idle_watch(const idle_watch&) = delete;
    idle_watch& operator=(const idle_watch&) = delete;

    void port(unsigned short now) { port_ = now; }

    /// The last time at or before this moment, give or take what two streams may differ.
    std::optional<moment> last_idle(const std::string& session, moment until) const {
        const std::lock_guard lock(mutex_);
        std::optional<moment> last;
        if (const auto found = idle_.find(session); found != idle_.end())
            for (const auto when : found->second)
                if (when <= until + 50ms)
                    last = when;
        return last;
    }

private:
    void listen() {
        while (!over_)
            try {
                plain_event_stream stream(port_, "/global/event", {}, 1s);
                while (!over_) {
                    if (const auto event = stream.next(1s))
                        note(*event);
                    else if (stream.error() != boost::asio::error::timed_out)
                        break;
                }
            } catch (const boost::system::system_error&) {
                std::this_thread::sleep_for(50ms); // it is down
            }
    }

    void note(const std::string& event) {
        if (event.find(R"("type":"session.idle")") == std::string::npos)
            return;
        const auto now = told_turn::clock::now();
        const auto parsed = boost::json::parse(event);
        const auto& session = parsed.at_pointer("/payload/properties/sessionID").as_string();
        const std::lock_guard lock(mutex_);
        idle_[std::string(session)].push_back(now);
    }

    std::atomic<unsigned short> port_;
    std::atomic<bool> over_ = false;
    mutable std::mutex mutex_;
    std::map<std::string, std::vector<moment>> idle_;
    std::thread thread_;
};

// --- the campaign

class campaign {
public:
    campaign(std::size_t turns, std::uint64_t seed, bool verbose)
        : wanted_(turns), random_(seed), verbose_(verbose), server_(make_server()), proxy_(server_.port()),
          idle_(server_.port()), library_(proxy_.url(), campaign_config()) {
        directories_ = {server_.directory(), server_.directory() + "/another"};
        std::filesystem::create_directories(directories_[1]);
        warm_up();
        sessions_.resize(4);
    }

    void run() {
        while (played_ < wanted_) {
            play_round();
            if (played_ / 25 != reported_) {
                reported_ = played_ / 25;
                std::cerr << played_ << " turns, " << complaints_.size() << " complaints" << std::endl;
            }
        }
    }

    bool report() const;

private:
    struct place {
        std::string session; ///< empty: to be made
        std::string directory;
        std::size_t prompts = 0;
    };

    opencode_server::options make_server() {
        opencode_server::options what;
        what.model_port = model_.port();
        return what;
    }

    std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
    std::chrono::milliseconds some_ms(std::uint64_t least, std::uint64_t most) {
        return std::chrono::milliseconds(least + below(most - least + 1));
    }

    void warm_up();
    void play_round();
    place& ready_place(std::size_t index);
    played_prompt prompt(place& where);
    hit strike(std::uint64_t kind);
    void judge_round(const std::vector<played_prompt>& prompts, const std::vector<hit>& hits);
    void judge_one(const played_prompt& one, const std::vector<played_prompt>& prompts,
                   const std::vector<hit>& hits);
    void measure(const played_prompt& one, const prompt_facts& facts, const told_facts& told,
                 const std::vector<stored_message>& stored, const std::vector<hit>& hits);
    std::vector<stored_message> stored_of(const std::string& session);
    void complain(const played_prompt& one, const std::vector<hit>& hits,
                  const std::vector<complaint>& found);

    const std::size_t wanted_;
    std::mt19937_64 random_;
    const bool verbose_;
    scripted_model model_;
    opencode_server server_;
    fault_proxy proxy_;
    idle_watch idle_;
    library_at_work library_;
    std::array<std::string, 2> directories_;
    std::vector<place> sessions_;

    std::size_t played_ = 0;
    std::size_t reported_ = 0;
    std::size_t rounds_ = 0;
    std::size_t keys_ = 0;
    std::vector<std::string> complaints_;
    std::map<std::string, std::size_t> offences_;
    std::map<std::string, std::size_t> outcomes_;
    std::map<std::string, std::size_t> hits_;
    std::map<std::string, std::vector<double>> detection_ms_;  ///< by kind of hit
    std::map<std::string, std::vector<double>> settlement_ms_; ///< by kind of the last hit
    std::size_t waited_grace_ = 0;
};

/// A prompt in each directory, past the library, so that the first of a cold instance takes its seconds here.
void campaign::warm_up() {
    namespace json = boost::json;
    for (const auto& directory : directories_) {
        const auto created = http_call(server_.port(), "POST", "/session?directory=" + directory, "{}");
        const auto session = std::string(json::parse(created.body).at("id").as_string());
        const std::string key = "warm-up-" + std::to_string(++keys_) + "-";
        http_call(server_.port(), "POST", "/session/" + session + "/prompt_async",
                  R"({"parts":[{"type":"text","text":")" + key + R"( #plain"}]})");
        if (!eventually([&] { return model_.runs(key) > 0; }, 60s))
            throw std::runtime_error("the server does not ask its model; it wrote:\n" + server_.log());
    }
}

campaign::place& campaign::ready_place(std::size_t index) {
    auto& place = sessions_[index];
    if (place.prompts >= prompts_of_a_session) {
        library_.drop(place.session);
        place.session.clear();
    }
    if (place.session.empty()) {
        place.directory = directories_[index % directories_.size()];
        place.session = library_.new_session(place.directory);
        place.prompts = 0;
    }
    return place;
}

played_prompt campaign::prompt(place& where) {
    std::ostringstream key;
    key << "key-" << std::setw(6) << std::setfill('0') << ++keys_ << "-";
    played_prompt one;
    one.key = key.str();
    one.script = draw_scenario(random_, one.key);
    one.directory = where.directory;
    one.told = library_.prompt(where.session, one.key + ' ' + one.script.tag, one.script.reply);
    ++where.prompts;
    return one;
}

/// Some turns at once, something that befalls them, and a look at what came of it.
void campaign::play_round() {
    ++rounds_;
    std::vector<played_prompt> prompts;
    const auto first = below(sessions_.size());
    const auto count = 1 + below(sessions_.size());
    std::vector<place*> places;
    for (std::size_t i = 0; i < count; ++i)
        places.push_back(&ready_place((first + i) % sessions_.size()));
    for (auto* each : places)
        prompts.push_back(prompt(*each));

    // What the user does meanwhile, by the moment at which it is done.
    std::multimap<std::chrono::milliseconds, std::function<void()>> deeds;
    for (std::size_t i = 0; i < count; ++i) {
        if (below(5) == 0)
            deeds.emplace(some_ms(0, 1500), [&, i] { prompts.push_back(prompt(*places[i])); });
        if (below(6) == 0) {
            ++hits_["abort"];
            deeds.emplace(some_ms(0, 2500), [&, told = prompts[i].told] { library_.abort(told); });
        }
    }
    std::vector<hit> hits;
    const auto strikes = below(8) == 0 ? 0 : 1 + below(2);
    for (std::uint64_t i = 0; i < strikes; ++i)
        deeds.emplace(some_ms(0, 2000), [&] { hits.push_back(strike(below(40))); });

    const auto begun = told_turn::clock::now();
    for (const auto& [when, deed] : deeds) {
        std::this_thread::sleep_until(begun + when);
        deed();
    }
    for (const auto& each : prompts)
        each.told->wait_end(hung_after);
    judge_round(prompts, hits);
    played_ += prompts.size();

    const bool cold = std::any_of(hits.begin(), hits.end(),
                                  [](const hit& each) { return each.killed || !each.disposed.empty(); });
    if (cold)
        warm_up();
}

hit campaign::strike(std::uint64_t kind) {
    hit done;
    done.begun = told_turn::clock::now();
    const auto which = below(2) == 0 ? scope::all : scope::streams;
    const auto for_a_while = [&](std::uint64_t most = 6000) {
        std::this_thread::sleep_for(some_ms(200, most));
    };
    const auto lasted_a_stall = [&] {
        return told_turn::clock::now() - done.begun > campaign_config().stall_timeout;
    };
    if (kind < 5) {
        done.kind = "reset";
        done.breaks_stream = proxy_.cut(ending::reset, which) > 0;
    } else if (kind < 10) {
        done.kind = "end";
        done.breaks_stream = proxy_.cut(ending::clean, which) > 0;
    } else if (kind < 12) {
        done.kind = "half-close";
        proxy_.half_close(fault_proxy::side::client, which);
        done.breaks_stream = true;
    } else if (kind < 15) {
        done.kind = "cut after bytes";
        proxy_.cut_stream_after(below(20000), below(2) == 0 ? ending::reset : ending::clean);
    } else if (kind < 17) {
        done.kind = "stall";
        proxy_.stall(true, which);
        for_a_while();
        done.breaks_stream = lasted_a_stall();
        proxy_.stall(false, which);
    } else if (kind < 19) {
        done.kind = "black hole";
        proxy_.black_hole(true, which);
        for_a_while();
        done.breaks_stream = lasted_a_stall();
        proxy_.black_hole(false, which);
    } else if (kind < 22) {
        done.kind = "refused";
        proxy_.refuse(true);
        done.breaks_stream = proxy_.cut() > 0;
        for_a_while();
        proxy_.refuse(false);
    } else if (kind < 24) {
        done.kind = "streams answered 503";
        proxy_.answer_streams(503);
        done.breaks_stream = proxy_.cut(ending::reset, scope::streams) > 0;
        for_a_while();
        proxy_.answer_streams(0);
    } else if (kind < 26) {
        done.kind = "latency, slices";
        proxy_.latency(some_ms(1, 300));
        proxy_.slice(1 + below(2000));
        for_a_while(2000);
        proxy_.slice(0);
        proxy_.latency(0ms);
    } else if (kind < 28) {
        done.kind = "bandwidth";
        proxy_.bandwidth(2000 + below(50000));
        for_a_while(2000);
        proxy_.bandwidth(0);
    } else if (kind < 33) {
        done.kind = "SIGSTOP";
        server_.suspend();
        for_a_while();
        done.breaks_stream = lasted_a_stall();
        server_.resume();
    } else if (kind < 36) {
        done.kind = "SIGKILL";
        done.killed = true;
        done.breaks_stream = true;
        server_.restart(below(2) == 0 ? server_.port() : free_port());
        proxy_.target(server_.port());
        idle_.port(server_.port());
    } else {
        done.kind = "dispose";
        done.breaks_stream = true;
        done.disposed = directories_[below(directories_.size())];
        http_call(server_.port(), "POST", "/instance/dispose?directory=" + done.disposed);
    }
    done.ended = told_turn::clock::now();
    ++hits_[done.kind];
    return done;
}

std::vector<stored_message> campaign::stored_of(const std::string& session) {
    const auto answer = http_call(server_.port(), "GET", "/session/" + session + "/message");
    if (answer.status != 200)
        throw std::runtime_error("the server does not know session " + session + ": " + answer.body);
    return read_stored(answer.body);
}

void campaign::judge_round(const std::vector<played_prompt>& prompts, const std::vector<hit>& hits) {
    if (verbose_) {
        std::cerr << "round " << rounds_ << ":";
        for (const auto& each : hits)
            std::cerr << ' ' << each.kind << " (" << ms_between(each.begun, each.ended) << " ms)";
        std::cerr << std::endl;
    }
    for (const auto& each : prompts)
        judge_one(each, prompts, hits);
}

told_facts told_of(const told_turn& turn) {
    told_facts told;
    for (const auto& [when, event] : turn.events()) {
        told.settlement_last = false;
        if (const auto* text = std::get_if<opencode::text_event>(&event))
            told.texts[text->part] += text->delta;
        else if (const auto* thought = std::get_if<opencode::reasoning_event>(&event))
            told.texts[thought->part] += thought->delta;
        else if (const auto* gap = std::get_if<opencode::gap_event>(&event))
            told.missing = told.missing || gap->missing;
        else if (const auto* how = std::get_if<opencode::settlement>(&event)) {
            told.how = *how;
            ++told.settlements;
            told.settlement_last = true;
        }
    }
    return told;
}

void campaign::judge_one(const played_prompt& one, const std::vector<played_prompt>& prompts,
                         const std::vector<hit>& hits) {
    const auto settled = one.told->settled_at().value_or(told_turn::clock::now());
    prompt_facts facts;
    facts.message = one.told->message();
    facts.text = one.script.text;
    facts.runs = model_.runs(one.key);
    facts.most_runs = one.script.most_runs;
    facts.drops_a_try = one.script.drops_a_try;
    for (const auto& each : hits) {
        const bool meanwhile = each.begun < settled && each.ended > one.told->asked_at();
        facts.killed = facts.killed || (meanwhile && each.killed);
        facts.disposed = facts.disposed || (meanwhile && each.disposed == one.directory);
    }
    for (const auto& other : prompts) {
        if (other.told->session() != one.told->session())
            continue;
        const auto aborted = other.told->abort_asked_at();
        facts.abort_asked = facts.abort_asked || (aborted && *aborted < settled);
    }
    const auto told = told_of(*one.told);
    const auto stored = stored_of(one.told->session());
    ++outcomes_[told.settlements == 0 ? "none" : std::string(to_string(told.how.outcome))];
    complain(one, hits, judge(facts, told, stored));
    measure(one, facts, told, stored, hits);
}

/// When it was noticed, and how long after all was over it was settled.
void campaign::measure(const played_prompt& one, const prompt_facts& facts, const told_facts& told,
                       const std::vector<stored_message>& stored, const std::vector<hit>& hits) {
    const auto settled = one.told->settled_at();
    if (!settled)
        return;
    if (!hits.empty() && hits.front().breaks_stream && hits.front().begun > one.told->asked_at() + 500ms &&
        (hits.front().disposed.empty() || hits.front().disposed == one.directory))
        for (const auto& [when, event] : one.told->events())
            if (std::holds_alternative<opencode::interrupted_event>(event) && when > hits.front().begun) {
                detection_ms_[hits.front().kind].push_back(ms_between(hits.front().begun, when));
                break;
            }
    auto over = one.told->asked_at();
    std::string last = "nothing";
    for (const auto& each : hits) {
        over = std::max(over, each.ended);
        last = each.kind;
    }
    if (*settled < over)
        return; // it did not have to wait for the end of the fault
    if (const auto end = end_of(facts, stored))
        over = std::max(over, on_steady_clock(*end));
    if (const auto idle = idle_.last_idle(one.told->session(), *settled))
        over = std::max(over, *idle);
    if (const auto accepted = one.told->abort_accepted_at())
        over = std::max(over, *accepted);
    auto late = ms_between(over, *settled);
    // Where only silence tells, a grace is waited out first.
    const auto waits = campaign_config().turns;
    const auto grace =
        told.how.rule == rule::unfinished || told.how.rule == rule::never_answered         ? waits.start_grace
        : told.how.rule == rule::abort_requested || told.how.rule == rule::session_aborted ? waits.abort_grace
                                                                                           : duration::zero();
    if (grace != duration::zero()) {
        ++waited_grace_;
        late -= std::chrono::duration<double, std::milli>(grace).count();
    }
    settlement_ms_[last].push_back(std::max(late, 0.0));
    if (verbose_ || late > settled_within_ms)
        std::cerr << one.key << ' ' << one.script.tag << ": " << to_string(told.how.outcome) << " by "
                  << to_string(told.how.rule) << ", " << late << " ms after " << last << std::endl;
}

void campaign::complain(const played_prompt& one, const std::vector<hit>& hits,
                        const std::vector<complaint>& found) {
    for (const auto& each : found) {
        std::ostringstream text;
        text << to_string(each.what) << ": " << one.key << ' ' << one.script.tag << " of "
             << one.told->session() << ": " << each.words << "; after";
        for (const auto& what : hits)
            text << ' ' << what.kind;
        if (const auto aborted = one.told->abort_asked_at())
            text << ", aborted at " << ms_between(one.told->asked_at(), *aborted) << " ms";
        text << ", told:";
        for (const auto& [when, event] : one.told->events()) {
            static const char* const names[] = {"text",        "reasoning", "tool",   "permission",
                                                "question",    "retry",     "usage",  "quiet",
                                                "interrupted", "gap",       "settled"};
            text << ' ' << names[event.index()] << '@'
                 << static_cast<int>(ms_between(one.told->asked_at(), when));
            if (const auto* how = std::get_if<opencode::settlement>(&event))
                text << ' ' << to_string(how->rule) << " by " << how->event;
        }
        complaints_.push_back(text.str());
        ++offences_[std::string(to_string(each.what))];
        std::cerr << complaints_.back() << std::endl;
    }
    if (found.empty())
        return;
    std::istringstream lines(library_.log());
    std::vector<std::string> kept;
    for (std::string line; std::getline(lines, line);)
        if (line.find(one.told->session()) != std::string::npos || line.find("stream") != std::string::npos)
            kept.push_back(line);
    for (std::size_t i = kept.size() > 12 ? kept.size() - 12 : 0; i < kept.size(); ++i)
        std::cerr << "    " << kept[i] << '\n';
}

void print_row(const std::string& name, const std::vector<double>& ms) {
    std::printf("| %s | %zu | %.0f | %.0f | %.0f |\n", name.c_str(), ms.size(), percentile(ms, 50),
                percentile(ms, 99), percentile(ms, 100));
}

/// Prints the tables. @return whether all held.
bool campaign::report() const {
    std::printf("\n| what was done | times |\n|---|---|\n");
    for (const auto& [kind, count] : hits_)
        std::printf("| %s | %zu |\n", kind.c_str(), count);
    std::printf("\n| outcome | turns |\n|---|---|\n");
    for (const auto& [name, count] : outcomes_)
        std::printf("| %s | %zu |\n", name.c_str(), count);
    std::printf("\n| noticed after, ms | turns | median | 99 %% | most |\n|---|---|---|---|---|\n");
    for (const auto& [kind, ms] : detection_ms_)
        print_row(kind, ms);
    std::printf(
        "\n| settled after the fault's end, ms | turns | median | 99 %% | most |\n|---|---|---|---|---|\n");
    std::vector<double> all;
    for (const auto& [kind, ms] : settlement_ms_) {
        print_row(kind, ms);
        all.insert(all.end(), ms.begin(), ms.end());
    }
    print_row("all", all);
    std::printf("\n%zu of them waited out a grace first, which is not counted.\n", waited_grace_);
    std::printf("\n| complaint | turns |\n|---|---|\n");
    for (const auto what : {offence::wrong, offence::doubled, offence::hung, offence::lost_alive}) {
        const auto found = offences_.find(std::string(to_string(what)));
        std::printf("| %s | %zu |\n", std::string(to_string(what)).c_str(),
                    found == offences_.end() ? 0 : found->second);
    }
    // Of a few turns the 99th percentile is the slowest one, and says more of the machine.
    const bool in_time = all.size() < 100 || percentile(all, 99) <= settled_within_ms;
    const bool held = complaints_.empty() && in_time;
    std::printf("\n%zu turns in %zu rounds: %s%s\n", played_, rounds_, held ? "held" : "BROKE",
                in_time ? "" : ", settled too late");
    return held;
}

} // namespace

int main(int argc, char** argv) {
    std::size_t turns = 20;
    std::uint64_t seed = std::random_device{}();
    bool verbose = false;
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    try {
        for (std::size_t i = 0; i < arguments.size(); ++i) {
            if (arguments[i] == "--seed")
                seed = std::stoull(arguments.at(++i));
            else if (arguments[i] == "--verbose")
                verbose = true;
            else
                turns = std::stoul(arguments[i]);
        }
    } catch (const std::exception&) {
        std::cerr << "campaign [TURNS] [--seed N] [--verbose]\n";
        return 2;
    }
    if (!find_opencode()) {
        std::cout << "SKIPPED: no OpenCode server to test with. Set HOLDFAST_OPENCODE to its program."
                  << std::endl;
        return 77;
    }
    std::cout << "campaign: " << turns << " turns, seed " << seed << std::endl;
    try {
        campaign all(turns, seed, verbose);
        all.run();
        return all.report() ? 0 : 1;
    } catch (const std::exception& e) {
        std::cerr << "campaign: " << e.what() << std::endl;
        return 1;
    }
}
