// Sessions held: a server with its streams, its sessions, and their turns.
//
//     opencode::server server(world, "http://127.0.0.1:4096");
//     net::co_spawn(executor, server.run(), net::detached);
//     auto turn = co_await server.prompt("What is in this directory?");
//     while (auto event = co_await turn.next()) ...   // the last one is the settlement
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/opencode/ask_policy.hpp>
#include <holdfast/opencode/client.hpp>
#include <holdfast/opencode/turn_limits.hpp>
#include <holdfast/opencode/turn_tracker.hpp>
#include <holdfast/stream/event_hub.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace holdfast::opencode {

/// The policy of a server's streams: as `session_stream`, with equal jitter.
[[nodiscard]] retry::policy server_policy() noexcept;

/// How sessions are looked at that are followed without a stream, or whose stream is down.
struct capture_config {
    capture_config() = default; // no aggregate, see header

    duration tick = seconds(5);             ///< between two looks at one session
    duration deadline = seconds(5);         ///< of each request of a look
    std::size_t concurrent = 16;            ///< looks at once, of one server
    retry::policy retry = retry::capture(); ///< of each session after a look that failed
};

struct server_config {
    server_config() = default; // no aggregate, see header

    /// Asked before each connect: where the server is now, with its credentials. Empty: always at the given
    /// URL.
    std::function<stream::location()> locate;
    /// By default it is asked for: when the first call fails as those of 1.x do at a server of 2.x, and again
    /// after an outage. Where one is named no other is spoken.
    opencode::protocol protocol = opencode::protocol::automatic;
    retry::policy policy = server_policy();
    /// One /global/event for the whole server instead of one /event a directory; 2.x has but one stream.
    bool global_stream = false;
    duration stall_timeout = seconds(60);
    duration greeting_timeout = seconds(15); ///< for server.connected after the response head
    client_config rest;
    sse::limits limits;
    tracker_options turns;
    capture_config capture;
    turn_limits limits_of_turns; ///< of each turn that is prompted here; none by default
    /// How permissions are answered for their owner, those of children too; what no rule decides is asked.
    std::vector<ask_rule> ask_rules;
    std::size_t queue_items = 1024;     ///< of one turn: past it, text coalesces and progress is thinned
    std::size_t queue_bytes = 8u << 20; ///< as queue_items, in bytes
    duration ask_timeout{}; ///< a permission or question that waits longer is answered for us; zero: none is
    std::string ask_default =
        "reject"; ///< by this, then: once, always or reject; a question is rejected in any case
    /// What belongs to no session held here: heartbeats aside, every other event. May be empty.
    std::function<void(std::string_view data)> observe;
    std::string tag; ///< the caller's name for this server, in log records

    // What keeps one server, whatever it lists and however slowly it answers, from using up what others need,
    // too.
    /// Streams of directories. Beyond them a session that is only followed gets none and is looked at instead
    /// (see follow_by); one that is held goes over to the one stream of all directories, and stays there.
    std::size_t max_streams = 64;
    std::size_t max_reads = 32; ///< calls at once that only ask; prompts, aborts and replies never wait
    std::size_t snapshot_bytes = 128u << 20; ///< of all answers to one look at a session together
};

namespace detail {
class server_core;
class session_core;
class turn_core;
class feed_core;
struct session_lease;
} // namespace detail

/// One turn: a prompt, and what comes of it. A cheap handle; the last one gone means detached: the turn goes
/// on at the server, nobody listens. A next() that is pending counts as one.
///
/// Default constructed, as completion tokens need it, it is empty: its ids are empty, there is no next event,
/// and every other call fails with errc::closed or does nothing. Thread safety: confined to the runtime's
/// executor.
class turn {
public:
    turn() = default;

    [[nodiscard]] const std::string& message_id() const noexcept;
    [[nodiscard]] const std::string& session_id() const noexcept;
    /// The server has the prompt (or may have it). False only when it could not be posted.
    [[nodiscard]] bool posted() const noexcept;

    /// The next event; the settlement is the last, exactly once; then nullopt. One call at a time: another
    /// one throws std::logic_error. Cancellation (terminal): operation_aborted at once; no event is lost.
    [[nodiscard]] net::awaitable<std::optional<agent_event>> next();
    [[nodiscard]] std::optional<agent_event> try_next();

    /// Asks the server to abort. Nothing more is handed out but the settlement. Errors: as client::abort, and
    /// closed once the server was stopped; the turn stays open then, and may be aborted again.
    [[nodiscard]] net::awaitable<result<void>> abort();

    /// Takes back the prompt while it waits behind others (2.x): the turn is settled as aborted. What runs
    /// goes on. Errors: those of client; not_found: it does not wait any more; unsupported_version of a
    /// server that takes none back, closed once the server was stopped. Cancellation (terminal):
    /// operation_aborted; it may have been taken back.
    [[nodiscard]] net::awaitable<result<void>> take_back();

    /// Answers an approval, of the session or of its children. Errors: as those of client, closed once the
    /// server was stopped, and decided for one that a rule answers (server_config::ask_rules).
    [[nodiscard]] net::awaitable<result<void>> reply_permission(std::string id, std::string reply);
    [[nodiscard]] net::awaitable<result<void>> reply_question(std::string id,
                                                              std::vector<std::vector<std::string>> answers);
    [[nodiscard]] net::awaitable<result<void>> reject_question(std::string id);

    /// Other limits than the server's for this turn.
    void limit(const turn_limits& limits);

    /// Stops watching: settled as `detached` at once, unless it is settled already.
    void detach();
    /// Ends waiting for a server that is out of reach: settled as `lost`, unless it is settled already.
    void give_up(std::string why);

private:
    friend class detail::session_core;
    explicit turn(std::shared_ptr<detail::turn_core> core) noexcept : core_(std::move(core)) {}
    std::shared_ptr<detail::turn_core> core_;
};

/// An approval that no turn waits for, see session::next_approval().
using approval_event = std::variant<permission_event, question_event>;

/// One root session, held. A cheap handle. Default constructed it is empty, as an empty turn is: its prompts
/// are empty turns.
class session {
public:
    session() = default;

    [[nodiscard]] const std::string& id() const noexcept;
    [[nodiscard]] const std::string& directory() const noexcept;
    /// The message id of the prompt that was sent last, also when its answer did not come; empty: none yet.
    [[nodiscard]] const std::string& last_sent() const noexcept;

    /// The caller's name for this session, in log records instead of the server's.
    void tag(std::string name);

    /// Posts a prompt once the session's stream is acknowledged and repaired, so that nothing of its turn is
    /// missed. The session's directory is read again first. Always gives a turn: one that could not be posted
    /// is settled as failed (not_posted) or lost; so is one of a server that was stopped, without a request.
    /// One with no_reply makes no turn: not_posted, see store().
    ///
    /// A command (prompt::command) is posted once, and its turn begins when its message is there: until then
    /// the server evaluates its template, however long that takes. Cancellation (terminal):
    /// operation_aborted; the turn, if it was posted, is detached.
    [[nodiscard]] net::awaitable<turn> prompt(opencode::prompt what);
    [[nodiscard]] net::awaitable<turn> prompt(std::string text);

    /// Stores a prompt to which no reply is wanted: context for the next one. It makes no turn and needs no
    /// stream. Completes with its message id once the server has it, by the policy; a server that reports an
    /// error of its own (an unknown agent) is not asked again. Errors: those of client::store(), closed.
    /// Cancellation (terminal): operation_aborted; the server may have stored it.
    [[nodiscard]] net::awaitable<result<std::string>> store(opencode::prompt what);

    /// Takes up the turn of a prompt that is already at the server, from its beginning.
    [[nodiscard]] net::awaitable<turn> adopt(std::string message_id);

    /// Aborts whatever runs in the session, all open turns with it.
    [[nodiscard]] net::awaitable<result<void>> abort();

    /// The next approval of the session that no turn of ours waits for: of a child that works on in the
    /// background though the turn that started it is settled, or of somebody else's prompt. Each is delivered
    /// once while it waits, and once more when it is answered or withdrawn (`reply` is set then); one that
    /// is not taken before that is not delivered at all. What a rule decides (of children that our turns
    /// started, and of followed sessions) comes as answered, `by_rule`; the rest is the caller's to answer.
    ///
    /// Completes when there is one, and with nullopt when the server was stopped or the session was deleted;
    /// an empty session's at once. It sees to the session's stream; while that is interrupted, or the server
    /// is gone, nothing comes, and what was asked meanwhile is found by the stream's repair. No errors. One
    /// call at a time: another one throws std::logic_error. Cancellation (terminal): operation_aborted at
    /// once; no approval is lost. What waits is bounded by tracker_options::max_asks and ask_bytes. The
    /// session is held while a call is pending. Thread safety: confined to the runtime's executor.
    [[nodiscard]] net::awaitable<std::optional<approval_event>> next_approval();

    /// As those of `turn`, for any approval of the session or of its children. Errors: the same.
    [[nodiscard]] net::awaitable<result<void>> reply_permission(std::string id, std::string reply);
    [[nodiscard]] net::awaitable<result<void>> reply_question(std::string id,
                                                              std::vector<std::vector<std::string>> answers);
    [[nodiscard]] net::awaitable<result<void>> reject_question(std::string id);

private:
    friend class detail::server_core;
    explicit session(std::shared_ptr<detail::session_lease> lease) noexcept : lease_(std::move(lease)) {}
    std::shared_ptr<detail::session_lease> lease_;
};

/// By what a session is followed.
enum class follow_by {
    stream, ///< its directory's event stream; captures while that is down though the server answers, or where
            ///< there are max_streams already. Once a minute the server is asked whether the session changed
            ///< without an event
    capture,  ///< captures alone: a snapshot each `capture_config::tick`
    activity, ///< captures, and the stream while a turn is at work in it
};

/// How a followed session is, to be shown.
struct session_view {
    session_view() = default; // no aggregate, see header

    session_info info;
    std::optional<session_status> status; ///< nothing: not known yet
    std::size_t background = 0;     ///< child sessions that are at work though the session itself is idle
    std::size_t waiting = 0;        ///< prompts that the server has stored, and takes up later (2.x)
    bool streamed = false;          ///< its stream is open, and repaired
    bool captured = false;          ///< it is looked at by snapshots
    std::optional<time_point> seen; ///< when the server last told anything of it, by stream or snapshot
    std::optional<retry::failure> trouble; ///< why neither is had just now
    unsigned failures = 0;                 ///< consecutive, of what is in trouble
    std::optional<time_point>
        next_try; ///< while in trouble; nothing: not before a wake(), see retry::is_final()
};

/// A session followed: the turns of whoever prompts it. A cheap handle; what is not taken waits, bounded as
/// the queue of a turn is.
///
/// A turn that runs when the following begins is told from its beginning, one that was over is not told.
/// Default constructed it is empty, as an empty turn is. Thread safety: confined to the runtime's executor.
class feed {
public:
    feed() = default;

    /// The next event of any turn of the session, in the order in which they happened. nullopt: the server
    /// does not know the session (any more), was stopped, or is gone. An approval that no turn waits for (of
    /// a child that works on in the background) comes without a message id. One call at a time: another one
    /// throws std::logic_error. Cancellation (terminal): operation_aborted at once; no event is lost.
    [[nodiscard]] net::awaitable<std::optional<session_event>> next();
    [[nodiscard]] std::optional<session_event> try_next();

    [[nodiscard]] const std::string& session_id() const noexcept;
    [[nodiscard]] session_view view() const;

    [[nodiscard]] net::awaitable<result<void>> abort();
    [[nodiscard]] net::awaitable<result<void>> reply_permission(std::string id, std::string reply);

private:
    friend class detail::server_core;
    explicit feed(std::shared_ptr<detail::feed_core> core) noexcept : core_(std::move(core)) {}
    std::shared_ptr<detail::feed_core> core_;
};

/// One OpenCode server: one stream a directory, shared by all its sessions.
///
/// create_session(), open_session() and prompt() need run(): where it does not run they throw
/// std::logic_error. Once the server was stopped they fail with errc::closed, without a request.
///
/// Destruction stops the server. Thread safety: confined to the runtime's executor, but for stop().
class server {
public:
    server(const runtime& world, http::url base, server_config config);
    /// Throws boost::system::system_error when `base` is no URL, see http::parse_url().
    server(const runtime& world, std::string_view base, server_config config);
    /// As the one above, with the defaults of server_config.
    server(const runtime& world, std::string_view base);
    ~server();
    server(const server&) = delete;
    server& operator=(const server&) = delete;

    /// Owns all that this server starts; returns when it was stopped and all of it has ended. A second run()
    /// while one runs returns at once. Cancellation (terminal): stops, waits for the children, throws
    /// operation_aborted. Turns that are open then settle as detached.
    [[nodiscard]] net::awaitable<void> run();

    /// Ends run(). From any thread; idempotent.
    void stop();

    /// Waits until the server answers, by the policy, and finds out whether it is OpenCode 1.x, and from 1.15
    /// on unless it is held by its global stream, or 2.x. A server that says it is starting is waited for, as
    /// one that accepts connections and does not answer yet. The failure that made it give up, or
    /// not_opencode, unsupported_version (in words that name what was found), 401.
    [[nodiscard]] net::awaitable<result<server_info>> ready();

    /// `directory` empty: the server's own.
    [[nodiscard]] net::awaitable<result<session>> create_session(session_request what, std::string directory);
    [[nodiscard]] net::awaitable<result<session>> create_session();
    /// Holds a session that exists. The same session opened twice is one.
    [[nodiscard]] net::awaitable<result<session>> open_session(std::string id);

    /// Follows a session that exists, whoever prompts it. A server that is out of reach is waited for, by the
    /// schedule of captures; feed::view() tells of it.
    [[nodiscard]] feed follow(std::string id, follow_by how);

    /// A new session in the server's own directory, and its first prompt: session::prompt() with one error
    /// path less. A server that is out of reach is waited for, by the policy. Always gives a turn; without a
    /// session it is settled as failed (not_posted), and its session_id() is empty. A server that dies while
    /// it makes the session may keep one that is never used.
    [[nodiscard]] net::awaitable<turn> prompt(opencode::prompt what);
    [[nodiscard]] net::awaitable<turn> prompt(std::string text);

    // Calls by whatever protocol it speaks. Errors and cancellation: as those of client.

    /// Asks once which server answers.
    [[nodiscard]] net::awaitable<result<server_info>> health();
    /// A session that exists, without holding it.
    [[nodiscard]] net::awaitable<result<session_info>> get_session(std::string id);
    [[nodiscard]] net::awaitable<result<session_list>> list_sessions(session_query which);

    /// Typed calls to this server, at its present location, in the protocol of 1.x.
    [[nodiscard]] client rest() const;

    /// The server is back, or moved: ends every wait for it.
    void wake();

private:
    std::shared_ptr<detail::server_core> core_;
};

} // namespace holdfast::opencode
