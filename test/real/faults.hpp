// Faults between the library and a server, one row each: how soon each is noticed, how soon the stream is had
// again once it is mended, and that the turn under way ends as it should, its text without hole or repeat.
// The same rows for the simulated server and for the real one.
#pragma once

#include "support/fault_proxy.hpp"
#include "support/held_turn.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>

namespace holdfast::test::faults {

using namespace std::chrono_literals;
using opencode::outcome;
using clock = std::chrono::steady_clock;
using ending = fault_proxy::ending;
using scope = fault_proxy::scope;

inline constexpr milliseconds stall_timeout{2000};
inline constexpr milliseconds header_deadline{1000};
inline constexpr milliseconds longest_backoff{200};
/// What every bound leaves to the machine.
inline constexpr milliseconds allowance{1000};
inline constexpr milliseconds at_once{50};

/// A server that can be stopped, killed and started again. A killed simulated server forgets its sessions.
class server_to_break {
public:
    server_to_break() = default;
    server_to_break(const server_to_break&) = delete;
    server_to_break& operator=(const server_to_break&) = delete;
    virtual ~server_to_break() = default;

    [[nodiscard]] virtual unsigned short port() const = 0;
    [[nodiscard]] virtual std::string directory() const = 0;
    [[nodiscard]] virtual std::string slow_tag(unsigned words) const = 0; ///< some 40 words a second
    virtual void suspend() = 0;
    virtual void resume() = 0;
    virtual void kill() = 0;
    virtual void start() = 0; ///< returns when it is ready
};

inline opencode::server_config config_of_faults() {
    auto config = quick_config();
    config.policy.max_delay = longest_backoff;
    config.stall_timeout = stall_timeout;
    config.greeting_timeout = stall_timeout;
    config.rest.transport.deadlines.connect = header_deadline;
    config.rest.transport.deadlines.header = header_deadline;
    config.rest.transport.deadlines.exchange = seconds(5);
    config.turns.start_grace = seconds(2);
    return config;
}

/// A server, two ways to it of which one is the right one, and the library.
class broken_world {
public:
    explicit broken_world(server_to_break& there)
        : server(there), way(there.port()), other_way(there.port()), held(way.url(), config()) {}

    /// The server has moved: it is reached by the other way, and by the first no longer.
    void move() {
        const std::lock_guard lock(mutex_);
        url_ = other_way.url();
    }

    server_to_break& server;
    fault_proxy way;
    fault_proxy other_way;

private:
    opencode::server_config config() {
        auto config = config_of_faults();
        url_ = way.url();
        config.locate = [this] {
            const std::lock_guard lock(mutex_);
            stream::location where;
            where.url = *http::parse_url(url_);
            return where;
        };
        return config;
    }

    std::mutex mutex_; // guards url_
    std::string url_;

public:
    held_server held;
};

/// One fault that breaks the stream.
struct breaking {
    const char* name;
    failure_class cls;            ///< as which it is told
    milliseconds noticed_within;  ///< after it was struck
    milliseconds attached_within; ///< after it was mended, besides backoff and allowance
    outcome end;
    std::function<void(broken_world&)> strike;
    std::function<void(broken_world&)> mend;
};

inline std::vector<breaking> breakings() {
    const auto nothing = [](broken_world&) {
    };
    const auto kill = [](broken_world& w) {
        w.server.kill();
    };
    const milliseconds none{0};
    return {
        {"reset", failure_class::cut, at_once, none, outcome::completed,
         [](broken_world& w) { w.way.cut(ending::reset); }, nothing},
        {"end without the last chunk", failure_class::cut, at_once, none, outcome::completed,
         [](broken_world& w) { w.way.cut(ending::clean); }, nothing},
        {"half-close by the server", failure_class::cut, at_once, none, outcome::completed,
         [](broken_world& w) { w.way.half_close(fault_proxy::side::client, scope::streams); }, nothing},
        {"reset after 1,500 bytes", failure_class::cut, at_once, none, outcome::completed,
         [](broken_world& w) { w.way.cut_stream_after(1500, ending::reset); }, nothing},
        {"end after 1,500 bytes", failure_class::cut, at_once, none, outcome::completed,
         [](broken_world& w) { w.way.cut_stream_after(1500, ending::clean); }, nothing},
        {"refused for a while", failure_class::cut, at_once, none, outcome::completed,
         [](broken_world& w) {
             w.way.refuse(true);
             w.way.cut();
         },
         [](broken_world& w) {
             w.way.refuse(false);
         }},
        {"stall of the stream", failure_class::stall, stall_timeout + allowance, header_deadline,
         outcome::completed, [](broken_world& w) { w.way.stall(true, scope::streams); },
         [](broken_world& w) {
             w.way.stall(false, scope::streams);
         }},
        {"black hole", failure_class::stall, stall_timeout + allowance, header_deadline, outcome::completed,
         [](broken_world& w) { w.way.black_hole(true); },
         [](broken_world& w) {
             w.way.black_hole(false);
         }},
        {"SIGSTOP", failure_class::stall, stall_timeout + allowance, header_deadline, outcome::completed,
         [](broken_world& w) { w.server.suspend(); },
         [](broken_world& w) {
             w.server.resume();
         }},
        {"SIGKILL and a restart", failure_class::cut, at_once, header_deadline, outcome::lost, kill,
         [](broken_world& w) {
             w.server.start();
             w.way.target(w.server.port());
         }},
        {"SIGKILL and a restart on another port", failure_class::cut, at_once, header_deadline, outcome::lost,
         kill,
         [](broken_world& w) {
             w.server.start();
             w.other_way.target(w.server.port());
             w.move();
         }},
    };
}

/// One thing that is slow or odd, and breaks nothing.
struct burden {
    const char* name;
    std::function<void(fault_proxy&)> lay;
};

inline std::vector<burden> burdens() {
    return {
        {"latency of 100 ms",
         [](fault_proxy& way) {
             way.latency(100ms);
         }},
        {"20,000 bytes a second",
         [](fault_proxy& way) {
             way.bandwidth(20000);
         }},
        {"slices of 7 bytes",
         [](fault_proxy& way) {
             way.slice(7);
         }},
        {"connections that end 5 s late",
         [](fault_proxy& way) {
             way.slow_close(5s);
         }},
    };
}

inline std::string words(unsigned count) {
    std::string text;
    for (unsigned i = 0; i < count; ++i)
        text += "w" + std::to_string(i) + ' ';
    return text;
}

inline bool has_broken(const held_turn::events& told) {
    return std::any_of(told.begin(), told.end(), [](const auto& each) {
        return std::holds_alternative<opencode::interrupted_event>(each);
    });
}

inline bool is_repaired(const held_turn::events& told) {
    return std::any_of(told.begin(), told.end(), [](const auto& each) {
        return std::holds_alternative<opencode::gap_event>(each) ||
               std::holds_alternative<opencode::settlement>(each);
    });
}

/// How long a fault took to be noticed, and its end to be used.
struct times {
    clock::duration noticed;
    clock::duration attached;
};

/// Nothing: the machine was so busy that the stream was silent for the stall timeout before anything was
/// struck.
inline std::optional<times> break_one_turn(server_to_break& server, const breaking& row) {
    constexpr unsigned count = 100;
    broken_world world(server);
    auto turn = world.held.prompt(world.held.new_session(server.directory()), server.slow_tag(count));
    BOOST_REQUIRE(turn.wait_text());
    if (has_broken(turn.so_far()))
        return std::nullopt;

    row.strike(world);
    const auto struck = clock::now();
    BOOST_REQUIRE(turn.wait(has_broken));
    times took{clock::now() - world.way.cut_at().value_or(struck), {}};
    const auto first = turn.all<opencode::interrupted_event>().front();
    BOOST_TEST(to_string(first.failure.cls) == to_string(row.cls), first.failure.message);

    row.mend(world);
    const auto mended = clock::now();
    BOOST_REQUIRE(turn.wait(is_repaired));
    took.attached = clock::now() - mended;

    const auto how = turn.settled();
    BOOST_TEST(to_string(how.outcome) == to_string(row.end));
    if (row.end == outcome::completed) {
        BOOST_TEST(how.text == words(count));
        BOOST_TEST(turn.told_text() == words(count));
        BOOST_TEST(!turn.told_missing());
    } else {
        BOOST_TEST(words(count).starts_with(turn.told_text()));
    }
    return took;
}

inline long long in_ms(clock::duration d) {
    return std::chrono::duration_cast<milliseconds>(d).count();
}

/// A machine that is busy with other things may be late, but not time after time.
inline void check_breaking(server_to_break& server, const breaking& row) {
    constexpr int tries = 5;
    const auto attached_within = longest_backoff + row.attached_within + allowance;
    bool in_time = false;
    for (int attempt = 0; attempt < tries && !in_time; ++attempt) {
        const auto took = break_one_turn(server, row);
        if (!took)
            continue;
        in_time = took->noticed <= row.noticed_within && took->attached <= attached_within;
        std::cout << row.name << ": noticed after " << in_ms(took->noticed) << " ms (at most "
                  << row.noticed_within.count() << "), attached after " << in_ms(took->attached)
                  << " ms (at most " << attached_within.count() << ")" << std::endl;
    }
    BOOST_TEST(in_time);
}

inline void check_burden(server_to_break& server, const burden& row) {
    constexpr unsigned count = 40;
    broken_world world(server);
    row.lay(world.way);
    const auto begun = clock::now();
    auto turn = world.held.prompt(world.held.new_session(server.directory()), server.slow_tag(count));
    check_end(turn, outcome::completed, opencode::rule::message_finished, words(count));
    std::cout << row.name << ": a turn took " << in_ms(clock::now() - begun) << " ms" << std::endl;
    BOOST_TEST(turn.told_text() == words(count));
    BOOST_TEST(!has_broken(turn.so_far()));
}

} // namespace holdfast::test::faults
