// The insides of server, session and turn: who owns what. Not for users.
#pragma once

#include <holdfast/opencode/server.hpp>
#include <holdfast/opencode/turn_queue.hpp>
#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/mailbox.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::opencode::detail {

class server_core;
class session_core;

/// Held by every handle of a session and of its turns; the last one gone lets go of the session.
struct session_lease {
    explicit session_lease(std::shared_ptr<session_core> held) : core(std::move(held)) {}
    session_lease(const session_lease&) = delete;
    ~session_lease();
    std::shared_ptr<session_core> core;
};

/// What a `turn` handle points to.
class turn_core {
public:
    turn_core(std::shared_ptr<session_core> owner, std::shared_ptr<void> lease, std::string message);
    ~turn_core();

    /// The settlement closes the mailbox.
    void push(agent_event event);
    /// After this only the settlement is handed out.
    void mute();

    const std::shared_ptr<session_core> owner;
    const std::string message;
    std::optional<opencode::prompt> sent; ///< what was posted, to be posted again
    bool posted = false;     ///< the server has the prompt
    bool maybe_posted = false; ///< a POST is under way, or its answer was lost
    bool abort_asked = false;  ///< before it was posted: it shall not be
    mailbox<agent_event, turn_queue> events;

private:
    std::shared_ptr<void> lease_;
    bool muted_ = false;
};

/// One root session: its tracker, its turns, and the coroutine that asks the server when events cannot tell.
class session_core final : public std::enable_shared_from_this<session_core> {
public:
    session_core(std::shared_ptr<server_core> server, session_info info);
    ~session_core();

    [[nodiscard]] const session_info& info() const noexcept { return info_; }
    [[nodiscard]] const std::string& left() const noexcept { return left_; }
    [[nodiscard]] const std::string& tag() const noexcept { return tag_.empty() ? config().tag : tag_; }
    void tag(std::string name) { tag_ = std::move(name); }
    /// Where what runs in it, and its asks, may be: its directory, and the last few from which it was moved.
    [[nodiscard]] std::vector<std::string> ask_directories() const;
    /// Asks the server for its directory, and goes there.
    [[nodiscard]] net::awaitable<result<void>> read_directory_again();
    [[nodiscard]] std::shared_ptr<session_lease> lease();
    [[nodiscard]] const std::string& last_sent() const noexcept { return last_sent_; }

    [[nodiscard]] net::awaitable<turn> prompt(opencode::prompt what);
    /// The turn of a prompt that cannot be posted; settled so.
    [[nodiscard]] turn unposted(opencode::prompt what, const failure& why);
    [[nodiscard]] net::awaitable<turn> adopt(std::string message);
    [[nodiscard]] net::awaitable<result<void>> abort();
    [[nodiscard]] net::awaitable<result<void>> reply_permission(std::string id, std::string reply);
    [[nodiscard]] net::awaitable<result<void>> reply_question(std::string id,
                                                              std::vector<std::vector<std::string>> answers);
    [[nodiscard]] net::awaitable<result<void>> reject_question(std::string id);
    void close_turn(const std::string& message, outcome o, rule r, std::optional<settlement_error> error, reprompt safe);
    /// Every open turn, by our own decision.
    void close_all(outcome o, rule r, std::optional<settlement_error> error, reprompt safe);
    void forget(const std::string& message);
    /// The last handle is gone.
    void release();

    [[nodiscard]] client rest() const;
    [[nodiscard]] runtime& world() const noexcept;
    [[nodiscard]] const server_config& config() const noexcept;

    /// Watches over the open turns until cancelled.
    [[nodiscard]] net::awaitable<void> supervise();
    task_scope::id supervisor = 0;

    // What the stream of its directory tells, through a session_link.
    void on_attached();
    [[nodiscard]] net::awaitable<void> repair();
    void on_event(std::string_view data);
    void on_live();
    void on_interrupted(const stream::item& why);
    [[nodiscard]] net::awaitable<void> on_give_up(const stream::item& why);
    /// The stream's loop has ended.
    void on_stream_over();
    /// The location is gone for good.
    void on_gone();

private:
    void name(opencode::prompt& what);
    [[nodiscard]] std::shared_ptr<turn_core> make_turn(std::string message);
    void move_to(const std::string& directory);
    [[nodiscard]] net::awaitable<result<void>> become_live();
    [[nodiscard]] net::awaitable<void> post_in_turn(std::shared_ptr<turn_core> core, opencode::prompt what);
    [[nodiscard]] net::awaitable<void> post_until_known(std::shared_ptr<turn_core> core, opencode::prompt what);
    [[nodiscard]] net::awaitable<result<void>> post_once(std::shared_ptr<turn_core> core, opencode::prompt what);
    [[nodiscard]] net::awaitable<result<void>> is_there(std::string message);
    void settle_unposted(turn_core& core, const failure& why);
    [[nodiscard]] net::awaitable<void> take_snapshot();
    [[nodiscard]] net::awaitable<void> post_again();
    [[nodiscard]] net::awaitable<result<snapshot>> fetch_snapshot();
    [[nodiscard]] net::awaitable<result<void>> fetch_messages(snapshot& into);
    [[nodiscard]] net::awaitable<result<void>> fetch_children(snapshot& into,
                                                              const std::map<std::string, session_status>& at_work);
    [[nodiscard]] net::awaitable<result<void>> fetch_asks(snapshot& into);
    void note_ask(const std::string& message, const agent_event& event);
    [[nodiscard]] time_point next_overdue_ask() const;
    [[nodiscard]] net::awaitable<void> answer_overdue_asks();
    void pump();
    void log_settlement(const std::string& message, const settlement& how) const;

    /// Held while a prompt is on its way: the next one waits for it.
    class place_in_line {
    public:
        place_in_line(session_core& of, std::string message)
            : of_(of), at_(of.posting_.insert(of.posting_.end(), std::move(message))) {}
        ~place_in_line() {
            of_.posting_.erase(at_);
            of_.changed_.notify_all();
        }
        place_in_line(const place_in_line&) = delete;
        place_in_line& operator=(const place_in_line&) = delete;

    private:
        session_core& of_;
        std::list<std::string>::iterator at_;
    };

    /// An ask that waits for its answer, where that has a deadline.
    struct waiting_ask {
        std::string message; ///< of the turn that it was told to
        bool question = false;
        time_point due;
    };

    std::shared_ptr<server_core> server_;
    session_info info_;
    std::string tag_;
    std::map<std::string, waiting_ask> asks_;
    std::string left_; ///< the directory whose stream it leaves once that of its new one is acknowledged
    std::vector<std::string> former_; ///< directories that it was moved from, the latest last
    turn_tracker tracker_;
    std::map<std::string, std::weak_ptr<turn_core>> turns_;
    std::weak_ptr<session_lease> lease_;
    condition_variable changed_;
    time_point armed_for_ = time_point::max();
    bool live_ = false;
    bool repairing_ = false;
    bool ask_rest_ = false;
    std::optional<failure> gave_up_;
    std::string last_sent_;
    std::list<std::string> posting_; ///< prompts on their way, in the order in which they were asked for
    abort_source::registration stopping_;
};

/// A session's place on one directory's stream. While the session moves from one to another it has two, and only that
/// of its present directory counts.
class session_link final : public stream::subscriber {
public:
    session_link(std::shared_ptr<session_core> to, std::string directory)
        : to_(std::move(to)), directory_(std::move(directory)) {}

    void on_attached() override;
    net::awaitable<void> repair() override;
    void on_event(std::string_view data) override;
    void on_live() override;
    void on_interrupted(const stream::item& why) override;
    net::awaitable<void> on_give_up(const stream::item& why) override;

private:
    [[nodiscard]] bool counts() const;
    std::shared_ptr<session_core> to_;
    std::string directory_;
};

/// The failure as a settlement tells it.
[[nodiscard]] settlement_error as_settlement_error(const failure& why);

/// One directory's stream, or the whole server's.
struct directory_stream {
    std::string key; ///< the directory; empty: /global/event
    std::shared_ptr<stream::event_hub> hub;
    std::map<std::string, std::string, std::less<>> roots; ///< child session -> root session

    [[nodiscard]] stream::routing route(std::string_view data);
};

class server_core : public std::enable_shared_from_this<server_core> {
public:
    server_core(runtime& w, http::url b, server_config c);

    [[nodiscard]] net::awaitable<void> run();
    void stop();
    [[nodiscard]] net::awaitable<result<server_info>> ready();
    [[nodiscard]] result<server_info> can_be_held(const server_info& told) const;
    [[nodiscard]] net::awaitable<result<session>> create_session(session_request what, std::string directory);
    [[nodiscard]] net::awaitable<result<session>> open_session(std::string id);
    [[nodiscard]] net::awaitable<turn> prompt(opencode::prompt what);
    [[nodiscard]] client rest() const;
    void wake();

    // What sessions need.
    /// The directory's stream, started if none runs, with `who` subscribed to it.
    void follow(const std::string& directory, const std::shared_ptr<session_core>& who);
    void unfollow(const std::string& directory, const std::string& session);
    void learn_child(const std::string& directory, const std::string& child, const std::string& root);
    void release(const std::shared_ptr<session_core>& session);
    /// A backoff that stop() and wake() end.
    [[nodiscard]] net::awaitable<void> pause(duration d);
    [[nodiscard]] abort_source& stopping() noexcept { return stop_; }

    runtime& world;
    const http::url base;
    const server_config config;
    id_maker ids;

private:
    [[nodiscard]] stream::location locate() const;
    [[nodiscard]] std::string stream_key(const std::string& directory) const;
    [[nodiscard]] session hold(session_info info);
    [[nodiscard]] net::awaitable<void> run_root();
    [[nodiscard]] net::awaitable<void> hold_stream(std::shared_ptr<directory_stream> stream);
    void on_stream_over(const std::shared_ptr<directory_stream>& stream);
    [[nodiscard]] std::shared_ptr<directory_stream> start_stream(const std::string& directory);

    task_scope scope_;
    abort_source stop_;
    condition_variable changed_; ///< stopped, or woken
    mutable http::url last_up_;  ///< where it was when it was up last
    std::map<std::string, std::shared_ptr<session_core>> sessions_;
    std::map<std::string, std::shared_ptr<directory_stream>> streams_;
    bool running_ = false;
};

} // namespace holdfast::opencode::detail
