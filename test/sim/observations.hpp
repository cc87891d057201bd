// What was seen of one run: all that the invariants look at. Plain data, so that a test can make a bad one.
#pragma once

#include "scenario.hpp"

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::sim {

using truth = testing::opencode_sim::turn_truth;
using truth_outcome = testing::opencode_sim::outcome;

/// Moments are durations since the run began.
struct told_event {
    duration at{};
    opencode::agent_event event;
};

/// One turn as its owner saw it.
struct turn_record {
    std::size_t session = 0; ///< of the plan
    std::string session_id;
    std::string message;
    prompt_plan plan;
    bool adopted = false;
    bool had = false; ///< prompt() or adopt() gave a turn
    duration began{};
    std::optional<duration> abort_called; ///< through this turn: nothing but the settlement may follow
    bool let_go = false; ///< its owner was cancelled, or detached it: nobody waits for its end
    std::vector<told_event> told;
    bool ended = false; ///< next() said that nothing follows
    bool told_after_end = false;
    std::size_t longest_queue = 0; ///< how many events were there at once
    std::optional<truth>
        when_told; ///< what the server knew when the settlement was taken; nothing: not the prompt
};

/// The library said in its log how a turn ended: the moment of the decision.
struct decision {
    duration at{};
    std::string message;
    std::string how; ///< "completed by message_finished"
    std::optional<truth> then;
};

/// A stream was given up: the server is asked once more what became of its turns, while they go on.
struct give_up {
    duration at{};
    std::vector<std::string> over; ///< the prompts, of any server, that had ended by then
};

/// One feed as its reader saw it.
struct feed_record {
    std::size_t follower = 0;
    std::size_t session = 0; ///< of the plan
    std::string session_id;
    duration began{};                  ///< follow() was called
    std::optional<duration> known;     ///< the first look was taken: what was over by then is history
    std::set<std::string> over_before; ///< prompts that were over when follow() was called
    std::set<std::string> over_when_known;
    struct told_event {
        duration at{};
        opencode::session_event event;
    };
    std::vector<told_event> told;
    std::map<std::string, truth> when_told; ///< by prompt: what the server knew when its settlement was taken
    bool ended = false;                     ///< next() said that nothing follows
    duration ended_at{};
    bool told_after_end = false;
    std::optional<duration> let_go;
    bool quiet = false;                ///< it was still there when all was over
    std::optional<error_code> trouble; ///< then
};

/// While all is over and well, what one follower asks of the server.
struct quiet_requests {
    duration lasted{};
    std::size_t sessions = 0;    ///< captured
    std::size_t directories = 0; ///< theirs
    std::size_t streamed = 0;    ///< sessions
    std::size_t requests = 0;
};

struct follower_facts {
    std::size_t server = 0;
    retry::policy policy;
    opencode::capture_config capture;
    std::vector<decision> decisions;
    std::vector<give_up> give_ups;
    std::optional<duration> stopped; ///< by a user, before the end
    std::size_t requests = 0;        ///< streams not counted
    std::size_t streams = 0;         ///< requests for one
    std::optional<quiet_requests> quiet;
};

struct session_facts {
    std::string id;
    std::size_t server = 0;
    std::vector<duration> aborts; ///< asked for by anybody, in any way
    std::optional<duration> deleted;
    std::vector<duration> moves; ///< to another directory, by somebody else
};

struct server_facts {
    retry::policy policy;
    std::size_t queue_items = 1024;
    std::optional<duration> stopped;
    std::vector<duration> disposals;
};

/// While something was wrong with a server.
struct trouble_window {
    std::size_t server = 0;
    duration from{};
    duration to{};
    bool harms_calls = false; ///< not only streams
    bool said_gone = false;   ///< nothing but that locate() said so
    bool mute = false;        ///< events are swallowed, and the stream goes on
};

/// One attempt to connect.
struct attempt_record {
    endpoint where;
    duration at{};
    bool connected = false;
};

struct leftovers {
    std::size_t timers = 0;
    std::size_t connections = 0;
    bool handlers = false;
    std::vector<std::string> coroutines; ///< of the users: those that never ended
    std::vector<std::string> gauges;     ///< that are not zero
};

struct observations {
    std::deque<turn_record> turns; ///< references to them stay good
    std::deque<feed_record> feeds;
    std::vector<follower_facts> followers;
    std::vector<decision> decisions;
    std::vector<give_up> give_ups;
    std::map<std::string, truth> truths; ///< at the end, by prompt
    std::vector<std::string> truth_order;
    std::vector<session_facts> sessions; ///< as planned
    std::vector<server_facts> servers;
    std::vector<trouble_window> windows;
    std::vector<attempt_record> attempts;
    std::vector<log_record> logs;
    std::vector<std::string> escaped; ///< exceptions that reached a user, other than operation_aborted
    std::optional<leftovers> left;
    std::size_t calls = 0; ///< made by users
    duration lasted{};
};

/// What a follower's log records begin their tag with; its number follows.
inline constexpr std::string_view follower_tag = "follower ";

/// What is looked at after every step, with nothing ready to run any more.
struct step_view {
    duration at{};
    std::size_t unread = 0; ///< bytes that arrived and that nobody read
};

/// An attempt to connect begins.
struct attempt_view {
    duration at{};
    std::string where;
    bool open = false;                ///< the endpoint's breaker
    std::size_t probes_under_way = 0; ///< begun while it was open, this one not counted
};

/// A prompt whose feed was not told its end, though its server knows it.
struct waiting_feed {
    std::string message;
    std::size_t feed = 0;
    duration for_{};
};

/// A turn that is open since its server knows how it ended, or since all is well again, whichever is later.
struct waiting_turn {
    std::string message;
    duration for_{};
};

} // namespace holdfast::sim
