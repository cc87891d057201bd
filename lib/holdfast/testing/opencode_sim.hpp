// testing: the simulated world. This header is the simulated OpenCode server: a model of version 1.18.33 as
// it was observed, and one of 2.x, observed before its release and read in 2.0.26; without I/O, without a
// clock and without threads. Bytes from clients go in, bytes to clients come out, `now` is always an
// argument, and one seed decides every id, delay and jitter. `holdfast sim` puts it behind real sockets;
// tests put it on an in-memory network in virtual time.
#pragma once

#include <holdfast/error.hpp>
#include <holdfast/time.hpp>

#include <boost/system/result.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::testing {

/// One thing that goes wrong, once or always. Offsets count body bytes of event streams, without HTTP
/// framing.
struct fault {
    enum class kind {
        cut,     ///< an event stream ends without its last chunk (FIN) after `after` bytes
        reset,   ///< the same with RST
        stall,   ///< nothing more is sent on the stream after `after` bytes; it stays open
        mute,    ///< only heartbeats are sent on the stream after `after` bytes
        garbage, ///< after `after` bytes, bytes that are no chunk
        refuse,  ///< after `after` bytes the stream is cut and connections are refused for `for_`
        restart, ///< after `after` bytes sent on all streams together the process is killed and started again
        early_end,   ///< an event stream is answered 200 and ends cleanly at once
        status,      ///< an event stream is answered with `status`
        hang,        ///< an event stream is never answered
        api_status,  ///< a request that is no event stream is answered with `status`
        drop_answer, ///< a prompt is taken, but its connection is cut before the answer
        cut_answer,  ///< an answer in JSON, not of an event stream, is cut in the middle of its body
        bad_json,    ///< the body of such an answer is no JSON
        odd_json,  ///< it is JSON of another shape: an array for an object or a value, an object for an array
        web_page,  ///< a request that is no event stream gets 200 and a web page from a proxy, and is not
                   ///< handed on
        drop,      ///< a reader counts as too slow after `after` bytes: its stream ends with the last chunk
        terminate, ///< as restart, by SIGTERM
    };
    fault::kind what = kind::cut;
    std::uint64_t after = 0;
    unsigned status = 503;
    duration for_ = seconds(3);
    std::size_t times = 1; ///< how many streams or requests it befalls; `always` for every one

    static constexpr std::size_t always = std::numeric_limits<std::size_t>::max();
};

/// Reads a fault spec: `cut@N`, `reset@N`, `stall@N`, `mute@N`, `garbage@N` (the first event stream; with `*`
/// at the end every one), `drop@N`, `refuse[@N[:MS]]`, `restart@N`, `terminate@N`, `early-end[@TIMES|*]`,
/// `status@CODE[xTIMES|*]`, `hang[@TIMES|*]`, `api-status@CODE[xTIMES|*]`, `drop-answer[@TIMES|*]`,
/// `cut-answer[@TIMES|*]`, `bad-json[@TIMES|*]`, `odd-json[@TIMES|*]`, `web-page[@TIMES|*]`. On failure
/// `why`, if given, is set to one line that names what is wrong; the code is invalid_request.
[[nodiscard]] boost::system::result<fault> parse_fault(std::string_view spec, std::string* why = nullptr);

/// What parse_fault() reads, one spec a line with its use; for a command's help.
[[nodiscard]] std::string_view fault_help();

/// The tags that choose a scripted turn, one a line with what it plays; for a command's help.
[[nodiscard]] std::string_view script_help();

/// The simulated server. See the top of this file.
///
/// A host calls accept(), receive() and closed() as things happen, advance() when next_wakeup() is reached,
/// and after each of these take_output() for what is to be sent. `now` never goes backwards. Everything that
/// is due at or before `now` happens first, at its own time and in its order, so a late host changes nothing
/// but the moment at which bytes leave.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class opencode_sim {
public:
    struct options {
        options() = default; // no aggregate, see header

        std::uint64_t seed = 1;
        duration pace = milliseconds(20); ///< between two deltas of the model
        int protocol = 1;                 ///< 1 or 2
        /// Empty: 1.18.33 or 2.0.26. Of 2.x it decides how it is spoken to: 2.0.0 to 2.0.3 as the early
        /// servers, with a word behind the number, as 2.0.0-lab, as the preview of August 2026.
        std::string version;
        std::string password; ///< empty: no authentication
        std::string username = "opencode";
        std::string directory = "/sim";                      ///< the server's own working directory
        wall_time epoch = wall_time(seconds(1'767'225'600)); ///< the wall clock at the first `now`
        std::vector<fault> faults;
        duration cold_start = duration::zero();    ///< added before the first turn of a directory's instance
        duration restart_down = milliseconds(500); ///< after a kill: connections are refused
        duration startup_hang = milliseconds(700); ///< then: accepted and never answered, the start-up trap
        duration heartbeat = seconds(10);
        std::vector<std::string>
            unreadable; ///< directories where prompts are taken and dropped without a word
        bool titles =
            true; ///< a session's first turn also renames it, as the real server's title request does

        // How often, of 0 to 1, the model does what the real server does now and then.

        /// A new assistant message finds the writer of the streams behind: its events and all that follow
        /// leave up to `lag` later, and a message.updated tells the message as it is by then. REST is ahead
        /// of the streams meanwhile.
        double late_events = 0;
        duration lag = milliseconds(300);
        double ask_first = 0.5;    ///< permission.asked comes before the tool part says running
        double plugin_error = 0;   ///< a loop is joined by a session.error without a session id
        double late_heartbeat = 0; ///< a heartbeat comes up to 17 s late
        double late_idle = 0; ///< the second idle of an abort of a streaming turn takes 100-260 ms, not 3-30

        // Of 2.x alone. The name of its user is always "opencode".

        duration heartbeat_2 = seconds(15);
        /// After a restart, once it answers: 503, service_starting.
        duration starting = milliseconds(300);
        /// A service takes up by itself what it was at when it was stopped, `resume_delay` after its start.
        bool service = false;
        duration resume_delay = milliseconds(50);
        double late_terminal = 0; ///< REST says idle up to 130 ms before the terminal is told
    };

    /// Options of a server as it may be met: how fast, how cold and how orderly it is, all drawn from the
    /// seed within what was observed. No faults, and the names and the epoch as by default.
    [[nodiscard]] static options options_from(std::uint64_t seed);

    using connection_id = std::uint64_t;

    explicit opencode_sim(options settings);
    opencode_sim(opencode_sim&&) noexcept;
    opencode_sim& operator=(opencode_sim&&) noexcept;
    ~opencode_sim();

    /// A client connected. When the server does not listen at `now`, the connection is reset in the next
    /// output.
    connection_id accept(time_point now);
    /// Bytes from the client: HTTP/1.1 requests, cut anywhere, pipelined or not. Unknown ids are ignored.
    void receive(connection_id id, std::string_view bytes, time_point now);
    /// The client is gone (closed, reset, or half-closed: the server answers nothing after that).
    void closed(connection_id id, time_point now);
    /// Runs all that is due.
    void advance(time_point now);
    /// When advance() has something to do next; nothing while frozen or with nothing planned.
    [[nodiscard]] std::optional<time_point> next_wakeup() const;

    struct output {
        connection_id id = 0;
        std::string bytes;
        bool close = false; ///< after the bytes: orderly end. The id is then forgotten by the model
        bool reset = false; ///< at once, bytes not yet sent are lost. The id is then forgotten by the model
    };
    /// What is to be sent since the last call, in order; consecutive bytes of one connection are one output.
    [[nodiscard]] std::vector<output> take_output();

    /// False while connections are refused (after a kill, or by a fault): a host with real sockets closes its
    /// listener then.
    [[nodiscard]] bool listening() const;

    // Control, for tests and simulations.

    enum class stop { kill, terminate };

    /// The process is killed and started again: every connection is reset, what was volatile (status, asks,
    /// running turns, grants of "always") is gone; sessions and stored messages stay, a running assistant
    /// message without finish, completed and error, a running text part as "". Refuses for restart_down,
    /// hangs for startup_hang; 2.x then answers 503 for `starting`.
    void restart(time_point now, stop how = stop::kill);
    /// The process is killed and stays down until start().
    void kill(time_point now);
    /// SIGTERM; it stays down until start(). 2.x cuts the streams, then interrupts what runs, and stores
    /// that: nobody hears of it. For 1.x the same as kill().
    void terminate(time_point now);
    /// The process that starts next is another program: protocol 1 or 2, and its version. What the two
    /// protocols store is not shared.
    void upgrade(int protocol, std::string version);
    void start(time_point now);
    /// While true, requests are taken and never answered, not even later (the start-up trap).
    void set_hang(bool on);
    /// While true the process stands still (SIGSTOP): connections are accepted by the kernel, nothing is
    /// answered. Afterwards all that came is answered and all that was due happens, from `now` on.
    void set_frozen(bool on, time_point now);
    /// While true event streams carry heartbeats only; events meanwhile are lost for their subscribers.
    void set_mute(bool on);
    /// Every open event stream is cut without its last chunk.
    void cut_streams(time_point now);
    /// Every open event stream ends as that of a reader that is too slow: with the last chunk, and the
    /// connection stays.
    void end_streams(time_point now);
    /// Every open event stream goes silent and stays open, heartbeats included.
    void stall_streams();
    /// Connections are refused for `d`; those that are open stay.
    void refuse(duration d, time_point now);
    /// POST /instance/dispose of a directory. Of 1.x alone.
    void dispose_instance(std::string_view directory, time_point now);
    /// A session is moved to another directory by somebody else: its events then belong to that one's
    /// streams.
    void move_session(std::string_view session, std::string directory);
    /// A session is archived by somebody else. Its next session.updated tells it, and whoever asks for it.
    void archive_session(std::string_view session);
    /// From now on requests need this password, or none if it is empty: as after a restart with another one.
    void set_password(std::string password);
    /// Adds a fault; the offsets of streams already open count.
    void inject(fault f);
    /// Forgets every fault that has not struck yet. What has struck stays: a muted stream stays mute.
    void clear_faults();

    /// `tap` is called with every event of the server, once each, in the order in which streams get them,
    /// whoever listens and also while streams are mute: for tests and tools. `payload` is
    /// {"id","type","properties"}, of 2.x the event as it stands on the stream; `directory` is the instance
    /// that it belongs to, "global" for the server's own. Greetings and heartbeats belong to a stream and are
    /// not told. The tap must not call back into the model. An empty one ends it.
    void on_event(std::function<void(std::string_view directory, std::string_view payload)> tap);

    // The truth, for invariants.

    enum class outcome {
        pending, ///< not over: running, or waiting for its turn in a running loop
        completed,
        failed,
        aborted,
        rejected,    ///< its last message ended at a rejected tool
        unanswered,  ///< over without an assistant message (aborted before the loop began, unknown model)
        interrupted, ///< the process was killed, or the session deleted, in mid-turn
    };

    /// One part of what a turn's own assistant messages held: compaction summaries are not in it.
    struct said_part {
        enum class kind { text, reasoning, tool };
        std::string id; ///< of a tool: the call's
        said_part::kind what = kind::text;
        std::string text;   ///< every delta of it, joined
        bool ended = false; ///< false: still running, or of a try that was thrown away
    };

    /// What became of one prompt. Child sessions' prompts are listed too.
    struct turn_truth {
        std::string session;
        std::string parent;  ///< the session's parent; empty: a root session
        std::string message; ///< the prompt's id
        opencode_sim::outcome outcome = outcome::pending;
        std::string text; ///< ended text parts of the turn's last assistant message, joined
        std::string said; ///< every text delta of the turn's own assistant messages, joined: compaction
                          ///< summaries and continuations' user texts are not in it, tries thrown away are
        std::vector<said_part> parts; ///< in the order in which they began
        std::string merged_into; ///< the prompt whose answer answers this one, when it has none of its own
        std::string error;       ///< name of the error, when failed
        int model_runs = 0;      ///< requests made to the model for it, retries counted, title requests not
        bool running = false;    ///< the model or a tool is at work for it now
        bool child = false;      ///< in a session that has a parent
        bool deleted = false;    ///< its session was deleted
    };
    /// All prompts that asked for a reply, in the order in which they came.
    [[nodiscard]] std::vector<turn_truth> truth() const;

    /// Numbers that tests compare with bounds.
    struct counters {
        std::uint64_t connections = 0; ///< accepted in all
        std::size_t open_connections = 0;
        std::size_t open_streams = 0;
        std::uint64_t requests = 0; ///< whole requests read
        std::uint64_t stream_requests = 0;
        std::uint64_t stream_bytes = 0; ///< body bytes sent on event streams
        std::uint64_t restarts = 0;
    };
    [[nodiscard]] counters stats() const;

private:
    class impl;
    std::unique_ptr<impl> impl_;
};

[[nodiscard]] const char* to_string(opencode_sim::outcome o) noexcept;

} // namespace holdfast::testing
