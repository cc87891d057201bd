// Sessions held: a server with its streams, its sessions, and their turns.
//
//     opencode::server server(world, "http://127.0.0.1:4096");
//     net::co_spawn(executor, server.run(), net::detached);
//     auto turn = co_await server.prompt("What is in this directory?");
//     while (auto event = co_await turn.next()) ...   // the last one is the settlement
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/opencode/client.hpp>
#include <holdfast/opencode/turn_tracker.hpp>
#include <holdfast/stream/event_hub.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::opencode {

/// The policy of a server's streams: as `session_stream`, with equal jitter.
[[nodiscard]] retry::policy server_policy() noexcept;

struct server_config {
    /// Asked before each connect: where the server is now, with its credentials. Empty: always at the given URL.
    std::function<stream::location()> locate;
    retry::policy policy = server_policy();
    bool global_stream = false; ///< one /global/event for the whole server instead of one /event a directory
    duration stall_timeout = seconds(60);
    duration greeting_timeout = seconds(15); ///< for server.connected after the response head
    client_config rest;
    sse::limits limits;
    tracker_options turns;
    std::size_t queue_items = 1024;     ///< of one turn: past it, text coalesces and progress is thinned
    std::size_t queue_bytes = 8u << 20; ///< as queue_items, in bytes
    duration ask_timeout{};             ///< a permission or question that waits longer is answered for us; zero: none is
    std::string ask_default = "reject"; ///< by this, then: once, always or reject; a question is rejected in any case
    /// What belongs to no session held here: heartbeats aside, every other event. May be empty.
    std::function<void(std::string_view data)> observe;
    std::string tag; ///< the caller's name for this server, in log records
};

namespace detail {
class server_core;
class session_core;
class turn_core;
struct session_lease;
} // namespace detail

/// One turn: a prompt, and what comes of it. A cheap handle; the last one gone means detached: the turn goes on at
/// the server, nobody listens.
///
/// Thread safety: confined to the runtime's executor.
class turn {
public:
    [[nodiscard]] const std::string& message_id() const noexcept;
    [[nodiscard]] const std::string& session_id() const noexcept;
    /// The server has the prompt (or may have it). False only when it could not be posted.
    [[nodiscard]] bool posted() const noexcept;

    /// The next event; the settlement is the last, exactly once; then nullopt. One call at a time.
    /// Cancellation (terminal): operation_aborted at once; no event is lost.
    [[nodiscard]] net::awaitable<std::optional<agent_event>> next();
    [[nodiscard]] std::optional<agent_event> try_next();

    /// Asks the server to abort. Nothing more is handed out but the settlement. Errors: as client::abort; the turn
    /// stays open then, and may be aborted again.
    [[nodiscard]] net::awaitable<result<void>> abort();

    /// Answers asks, of the session or of its children.
    [[nodiscard]] net::awaitable<result<void>> reply_permission(std::string id, std::string reply);
    [[nodiscard]] net::awaitable<result<void>> reply_question(std::string id, std::vector<std::vector<std::string>> answers);
    [[nodiscard]] net::awaitable<result<void>> reject_question(std::string id);

    /// Stops watching: settled as `detached` at once, unless it is settled already.
    void detach();
    /// Ends waiting for a server that is out of reach: settled as `lost`, unless it is settled already.
    void give_up(std::string why);

private:
    friend class detail::session_core;
    explicit turn(std::shared_ptr<detail::turn_core> core) noexcept : core_(std::move(core)) {}
    std::shared_ptr<detail::turn_core> core_;
};

/// One root session, held. A cheap handle.
class session {
public:
    [[nodiscard]] const std::string& id() const noexcept;
    [[nodiscard]] const std::string& directory() const noexcept;
    /// The message id of the prompt that was sent last, also when its answer did not come; empty: none yet.
    [[nodiscard]] const std::string& last_sent() const noexcept;

    /// The caller's name for this session, in log records instead of the server's.
    void tag(std::string name);

    /// Posts a prompt once the session's stream is acknowledged and repaired, so that nothing of its turn is missed.
    /// The session's directory is read again first. Always gives a turn: one that could not be posted is settled as
    /// failed (not_posted) or lost.
    /// Cancellation (terminal): operation_aborted; the turn, if it was posted, is detached.
    [[nodiscard]] net::awaitable<turn> prompt(opencode::prompt what);
    [[nodiscard]] net::awaitable<turn> prompt(std::string text);

    /// Takes up the turn of a prompt that is already at the server, from its beginning.
    [[nodiscard]] net::awaitable<turn> adopt(std::string message_id);

    /// Aborts whatever runs in the session, all open turns with it.
    [[nodiscard]] net::awaitable<result<void>> abort();

private:
    friend class detail::server_core;
    explicit session(std::shared_ptr<detail::session_lease> lease) noexcept : lease_(std::move(lease)) {}
    std::shared_ptr<detail::session_lease> lease_;
};

/// One OpenCode server: one stream a directory, shared by all its sessions.
///
/// Thread safety: confined to the runtime's executor, but for stop(). run() must have returned before destruction.
class server {
public:
    server(runtime& world, http::url base, server_config config);
    /// Throws boost::system::system_error when `base` is no URL, see http::parse_url().
    server(runtime& world, std::string_view base, server_config config);
    /// As the one above, with the defaults of server_config.
    server(runtime& world, std::string_view base);
    ~server();
    server(const server&) = delete;
    server& operator=(const server&) = delete;

    /// Owns all that this server starts; returns when it was stopped and all of it has ended. A second run() while
    /// one runs returns at once. Cancellation (terminal): stops, waits for the children, throws operation_aborted.
    /// Turns that are open then settle as detached.
    [[nodiscard]] net::awaitable<void> run();

    /// Ends run(). From any thread; idempotent.
    void stop();

    /// Waits until the server answers, by the policy, and checks that it is OpenCode 1.x, and from 1.15 on unless it is
    /// held by its global stream. The failure that made it give up, or not_opencode, unsupported_version, 401.
    [[nodiscard]] net::awaitable<result<server_info>> ready();

    /// `directory` empty: the server's own.
    [[nodiscard]] net::awaitable<result<session>> create_session(session_request what, std::string directory);
    [[nodiscard]] net::awaitable<result<session>> create_session();
    /// Holds a session that exists. The same session opened twice is one.
    [[nodiscard]] net::awaitable<result<session>> open_session(std::string id);

    /// A new session in the server's own directory, and its first prompt: session::prompt() with one error path less.
    /// Always gives a turn; without a session it is settled as failed (not_posted), and its session_id() is empty.
    [[nodiscard]] net::awaitable<turn> prompt(opencode::prompt what);
    [[nodiscard]] net::awaitable<turn> prompt(std::string text);

    /// Typed calls to this server, at its present location.
    [[nodiscard]] client rest() const;

    /// The server is back, or moved: ends every wait for it.
    void wake();

private:
    std::shared_ptr<detail::server_core> core_;
};

} // namespace holdfast::opencode
