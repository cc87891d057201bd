// sim: the whole library in virtual time against simulated servers, thousands of outages a second, with what
// must hold checked in each run.
//
// This header: a scenario, which is what one seed stands for. It is a value: who does what and what goes
// wrong, when.
#pragma once

#include <holdfast/opencode/server.hpp>
#include <holdfast/testing/memory_network.hpp>
#include <holdfast/testing/opencode_sim.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace holdfast::sim {

/// Chance out of one seed; the same on every machine, unlike the standard distributions.
class dice {
public:
    explicit dice(std::uint64_t seed) : engine_(seed) {}

    std::uint64_t below(std::uint64_t n) { return engine_() % n; }
    bool percent(unsigned p) { return below(100) < p; }
    std::uint64_t between(std::uint64_t least, std::uint64_t most) { return least + below(most - least + 1); }
    duration ms(std::uint64_t least, std::uint64_t most) {
        return milliseconds(static_cast<std::int64_t>(between(least, most)));
    }
    template <class List>
    auto pick(const List& list) {
        return *(std::begin(list) + static_cast<std::ptrdiff_t>(below(std::size(list))));
    }

private:
    std::mt19937_64 engine_;
};

/// One server, and how the library is told to hold it.
struct server_plan {
    endpoint at;
    testing::opencode_sim::options model;
    retry::policy policy;
    bool global_stream = false;
    bool locates = false;       ///< the library is given a locate() function
    bool says_down = false;     ///< locate() says `down` while the process is known to be killed
    bool gone_for_good = false; ///< once locate() says `gone`, it says so for ever
    duration stall_timeout = seconds(60);
    duration greeting_timeout = seconds(15);
    duration quiet_after = seconds(30);
    std::size_t queue_items = 1024;
};

struct session_plan {
    std::size_t server = 0;
    std::string directory;
};

/// What the reader of one turn is like.
enum class reader { eager, slow, impatient };

/// One prompt, and what its owner does with the turn.
struct prompt_plan {
    std::string text;
    std::string agent;
    std::string model;
    sim::reader reader = sim::reader::eager;
    duration
        pace{}; ///< slow: between two events; impatient: how long one next() may take before it is cancelled
    std::optional<duration> abort_after;  ///< turn.abort(), after prompt() returned
    std::optional<duration> detach_after; ///< turn.detach()
    std::optional<duration>
        cancel_after;                ///< the owner's whole coroutine is cancelled, since prompt() was called
    bool adopted_afterwards = false; ///< once detached or cancelled, somebody takes the turn up again
    std::string reply = "once";      ///< to permissions; questions are answered, or rejected by "reject"
    std::string reply_message;       ///< goes with the "reject" of a permission: the turn goes on then
    duration reply_after{};
    bool reply_twice = false;
};

/// One thing that a user does.
struct action {
    enum class kind {
        prompt,
        abort_session,  ///< session.abort()
        foreign_prompt, ///< by somebody else, who talks to the server itself
        foreign_abort,
        foreign_shell,
        delete_session, ///< by somebody else
        move_session,   ///< by somebody else
        prompt_alone,   ///< as prompt, once the session's other turns are over
        abort_unknown,  ///< by somebody else, of a session that there is not; in the session's directory
        foreign_repost, ///< by somebody else: the session's last prompt, with its ids, where that does no
                        ///< harm
        wake,
        stop,       ///< server.stop()
        cancel_run, ///< server.run() is cancelled
    };
    action::kind what = kind::prompt;
    duration at{};
    std::size_t server = 0;
    std::size_t session = 0; ///< of all sessions; not for wake, stop and cancel_run
    prompt_plan prompt;
    std::string directory; ///< move_session
};

/// One thing that goes wrong, for `lasts`; what has no duration is put right at the end of all troubles.
struct trouble {
    enum class kind {
        inject, ///< `fault` is given to the model
        cut_streams,
        stall_streams,
        mute,
        freeze,
        hang, ///< accepts and answers nothing, as while it starts
        refuse,
        restart,
        restart_elsewhere, ///< killed, and started again on another port
        kill,              ///< killed, and started again afterwards
        dispose,
        unreachable,
        connect_hangs,
        slow_network, ///< `latency`
        harm_next,    ///< `harm` befalls the next connections
        harm_open,    ///< `harm` befalls those that are open
        gone,         ///< locate() says that the server is gone, though it is there
    };
    trouble::kind what = kind::cut_streams;
    duration at{};
    duration lasts{};
    std::size_t server = 0;
    testing::fault fault;
    testing::memory_network::harm harm;
    std::size_t times = 1; ///< harm_next
    duration latency{};
    std::string directory; ///< dispose
};

/// One session followed by somebody who does not prompt it.
struct following {
    std::size_t session = 0;
    opencode::follow_by how = opencode::follow_by::stream;
    duration from{};                ///< once the session was made
    std::optional<duration> let_go; ///< after so long, its feed is let go of
    std::optional<duration> pace;   ///< of a slow reader, between two events
};

/// Somebody who follows sessions: an opencode::server of their own, for a server that others prompt.
struct follower_plan {
    std::size_t server = 0;
    bool own_runtime = false; ///< made from that of the others, which are of another strand then
    bool global_stream = false;
    retry::policy policy; ///< of its streams
    opencode::capture_config capture;
    duration stall_timeout = seconds(60);
    duration quiet_after = seconds(30);
    std::size_t queue_items = 1024;
    std::optional<duration> stopped; ///< or its run() is cancelled
    std::vector<following> follows;
};

struct scenario {
    std::uint64_t seed = 0;
    duration latency{};
    std::size_t slice = 0;
    std::vector<server_plan> servers;
    std::vector<session_plan> sessions;
    std::vector<follower_plan> followers;
    std::vector<action> actions;   ///< by time
    std::vector<trouble> troubles; ///< by time
    duration troubles_end{};       ///< all is well from here on
    bool last_prompts = true;      ///< when all has settled, every session is prompted once more
};

/// From this seed on there are followers, in each: those before it stand for what they always stood for.
inline constexpr std::uint64_t first_with_followers = 1'000'001;

/// What the seed stands for.
[[nodiscard]] scenario make_scenario(std::uint64_t seed);

/// The scenario in lines for a reader.
[[nodiscard]] std::string describe(const scenario& what);
[[nodiscard]] std::string describe(const action& what);
[[nodiscard]] std::string describe(const trouble& what);

} // namespace holdfast::sim
