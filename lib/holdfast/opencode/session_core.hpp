// The insides of server, session and turn: who owns what. Not for users.
#pragma once

#include <holdfast/opencode/approval_queue.hpp>
#include <holdfast/opencode/capture.hpp>
#include <holdfast/opencode/capture_state.hpp>
#include <holdfast/opencode/directory_stream.hpp>
#include <holdfast/opencode/protocol/server_protocol.hpp>
#include <holdfast/opencode/server.hpp>
#include <holdfast/opencode/turn_limits.hpp>
#include <holdfast/opencode/turn_queue.hpp>
#include <holdfast/opencode/waiting_asks.hpp>
#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/mailbox.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
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
    std::string message;                  ///< fixed once its prompt is posted
    std::optional<opencode::prompt> sent; ///< what was posted, to be posted again
    bool posted = false;                  ///< the server has the prompt
    bool maybe_posted = false;            ///< a POST is under way, or its answer was lost
    bool abort_asked = false;             ///< before it was posted: it shall not be
    mailbox<agent_event, turn_queue> events;

private:
    std::shared_ptr<void> lease_;
    bool muted_ = false;
};

/// What a `feed` handle points to.
class feed_core {
public:
    feed_core(std::shared_ptr<session_core> session, std::shared_ptr<void> lease, follow_by how);

    const std::shared_ptr<session_core> owner;
    const follow_by how;
    mailbox<session_event, feed_queue> events;

private:
    std::shared_ptr<void> lease_;
};

/// One root session: its tracker, its turns, and the coroutine that asks the server when events cannot tell.
class session_core final : public session_host, public std::enable_shared_from_this<session_core> {
public:
    session_core(std::shared_ptr<server_core> server, session_info info);
    ~session_core() override;

    [[nodiscard]] const session_info& info() const noexcept override { return info_; }
    [[nodiscard]] const std::string& left() const noexcept { return left_; }
    [[nodiscard]] const std::string& tag() const noexcept { return tag_.empty() ? config().tag : tag_; }
    void tag(std::string name) { tag_ = std::move(name); }
    /// Where what runs in it, and its asks, may be: its directory, and the last few from which it was moved.
    [[nodiscard]] std::vector<std::string> ask_directories() const override;
    /// Asks the server for its directory, and goes there.
    [[nodiscard]] net::awaitable<result<void>> read_directory_again() override;
    [[nodiscard]] std::shared_ptr<session_lease> lease();
    [[nodiscard]] bool is_stopped() const noexcept override;
    [[nodiscard]] const std::string& last_sent() const noexcept { return last_sent_; }

    [[nodiscard]] net::awaitable<turn> prompt(opencode::prompt what);
    /// The turn of a prompt that cannot be posted; settled so.
    [[nodiscard]] turn unposted(opencode::prompt what, const failure& why);
    [[nodiscard]] net::awaitable<turn> adopt(std::string message);
    [[nodiscard]] net::awaitable<result<std::string>> store(opencode::prompt what);
    [[nodiscard]] net::awaitable<result<void>> abort();
    [[nodiscard]] net::awaitable<result<void>> take_back(std::string message);
    [[nodiscard]] net::awaitable<result<void>> reply_permission(std::string id, std::string reply);
    [[nodiscard]] net::awaitable<result<void>> reply_question(std::string id,
                                                              std::vector<std::vector<std::string>> answers);
    [[nodiscard]] net::awaitable<result<void>> reject_question(std::string id);
    [[nodiscard]] net::awaitable<std::optional<approval_event>> next_approval();
    void close_turn(const std::string& message, outcome o, rule r, std::optional<settlement_error> error,
                    reprompt safe);
    /// Every open turn, by our own decision.
    void close_all(outcome o, rule r, std::optional<settlement_error> error, reprompt safe);
    void forget(const std::string& message);
    /// The last handle is gone.
    void release();

    [[nodiscard]] client rest() const override;
    [[nodiscard]] runtime& world() const noexcept override;
    [[nodiscard]] const server_config& config() const noexcept override;
    [[nodiscard]] bool is_followed() const override;
    [[nodiscard]] std::vector<std::string> open_prompts() const override;
    void learn_child(const std::string& child) override;
    void found_too_many_children() override;
    /// Whether this stream, by its key, is the one that tells of the session where it is now.
    [[nodiscard]] bool belongs_to(const std::string& stream) const;

    // Followed: see session_follow.cpp.
    [[nodiscard]] std::shared_ptr<feed_core> follow(follow_by how);
    [[nodiscard]] session_view view() const;
    /// Nothing more is told to who follows it.
    void end_feeds();
    /// The same, and nothing more is asked in it.
    void close_feeds();
    /// When it is to be looked at without its stream; time_point::max(): it is not, or one is under way.
    [[nodiscard]] time_point next_look() const;
    /// What is asked for from here on is newer than all that is known: the `number`-th view of its directory.
    void mark_look(std::uint64_t number);
    [[nodiscard]] bool is_marked(std::uint64_t number) const { return marked_ == number; }
    /// Looks at it; by what was seen of its directory since mark_look(), once it is known which that is.
    [[nodiscard]] net::awaitable<result<void>> look(std::shared_ptr<const directory_view> seen);
    void look_begins(time_point next);
    void look_ends() noexcept { looking_ = false; }
    void look_succeeded();
    void look_failed(const failure& why, std::uint64_t random);
    /// Tells of the last one that did.
    void report_look() const;
    /// Due some time, and no look at it failed.
    [[nodiscard]] bool is_untroubled() const {
        return capture_.failures() == 0 && next_look() != time_point::max();
    }
    /// Not now: others see to the endpoint.
    void put_off_look(time_point next) { next_look_ = next; }
    /// The endpoint answers again: one that waits for it need not.
    void endpoint_answers();
    void wake_look();
    [[nodiscard]] const capture_state& capture() const noexcept { return capture_; }
    /// Its directory is known.
    [[nodiscard]] bool is_located() const noexcept { return !info_.directory.empty(); }
    void locate(session_info found);
    void limit(const std::string& message, const turn_limits& limits);
    [[nodiscard]] bool is_captured() const;

    /// The server speaks another protocol now: what is open goes on in that.
    void speak_anew();

    /// Watches over the open turns until cancelled.
    [[nodiscard]] net::awaitable<void> supervise();
    task_scope::id supervisor = 0;

    // What the stream of its directory tells, through a session_link.
    void on_attached();
    [[nodiscard]] net::awaitable<void> repair();
    void on_event(std::string_view data);
    void on_prepared(std::shared_ptr<void> prepared);
    void on_live();
    void on_interrupted(const stream::item& why);
    [[nodiscard]] net::awaitable<void> on_give_up(const stream::item& why);
    /// The stream's loop has ended.
    void on_stream_over();
    /// The location is gone for good.
    void on_gone();

private:
    struct open_turn;

    void name(opencode::prompt& what) const;
    [[nodiscard]] net::awaitable<result<void>> name_in_line(std::shared_ptr<turn_core> core,
                                                            opencode::prompt& what);
    [[nodiscard]] net::awaitable<result<void>> learn_newest();
    [[nodiscard]] bool knows_newest() const;
    void on_heard(const heard& told, bool was_at_work);
    void log_unreadable(const failure& why);
    [[nodiscard]] std::shared_ptr<turn_core> make_turn(std::string message);
    void move_to(const std::string& directory);
    [[nodiscard]] net::awaitable<result<void>> become_live();
    [[nodiscard]] net::awaitable<void> post_in_turn(std::shared_ptr<turn_core> core, opencode::prompt what);
    [[nodiscard]] net::awaitable<void> post_until_known(std::shared_ptr<turn_core> core,
                                                        opencode::prompt what);
    [[nodiscard]] net::awaitable<result<void>> post_once(std::shared_ptr<turn_core> core,
                                                         opencode::prompt what);
    // Commands and what is only stored: see session_command.cpp.
    struct command_call;
    [[nodiscard]] net::awaitable<void> post_command(std::shared_ptr<turn_core> core, opencode::prompt what);
    [[nodiscard]] net::awaitable<void> call_command(std::shared_ptr<command_call> call,
                                                    opencode::prompt what);
    void settle_refused_command(turn_core& core, const failure& why);
    void on_posted(turn_core& core, bool once);
    [[nodiscard]] net::awaitable<result<void>> is_there(std::string message);
    void settle_unposted(turn_core& core, const failure& why);
    [[nodiscard]] net::awaitable<void> take_snapshot();
    /// Fetches and merges one; the failure for which it could not be had.
    [[nodiscard]] net::awaitable<result<void>> merge_snapshot(bool by_capture);
    [[nodiscard]] bool merge(sight& seen, session_protocol::mark taken, bool by_capture);
    [[nodiscard]] net::awaitable<result<void>> look_briefly(std::shared_ptr<const directory_view> seen);
    void on_unknown();
    [[nodiscard]] static std::optional<failure> why_unknown(const result<std::shared_ptr<sight>>& seen);
    void close_strangers_turns();
    [[nodiscard]] failure unknown_here() const;
    [[nodiscard]] bool is_told_by_its_end(const ledger::deliver& out) const;
    [[nodiscard]] failure who_is_this(const failure& seen) const;
    void recovered() const;
    [[nodiscard]] bool may_act_on(bool ours) const { return ours || is_followed(); }
    /// Nobody holds it, or a turn of it, beside the feeds.
    [[nodiscard]] bool is_only_followed() const;
    [[nodiscard]] time_point next_place_check() const;
    [[nodiscard]] net::awaitable<void> check_place();
    [[nodiscard]] bool wants_stream() const;
    [[nodiscard]] time_point leave_stream_at() const;
    void leave_stream();
    [[nodiscard]] net::awaitable<void> post_again();
    [[nodiscard]] static net::awaitable<result<void>> reply_of_owner(std::shared_ptr<session_core> self,
                                                                     std::string id, std::string reply);
    /// False: it has been delivered as what it is now.
    [[nodiscard]] bool note_ask(ledger::deliver& out);
    [[nodiscard]] bool note_answer(const std::string& id, const std::string& reply);
    void note_waiting(const std::string& id, waiting_ask waits);
    /// When what is asked now is to be answered by itself.
    [[nodiscard]] time_point overdue_at() const;
    void mark_decided(agent_event& event) const;
    void leave_to_owner(const std::string& id);
    void deliver(ledger::deliver out);
    void put_approval(const agent_event& event);
    [[nodiscard]] net::awaitable<void> answer_overdue_asks();
    [[nodiscard]] time_point next_limit() const;
    void note_limit(const std::string& message, open_turn& turn);
    [[nodiscard]] net::awaitable<void> end_what_passed_a_limit();
    void pump();
    void hand_out(ledger::deliver out);
    [[nodiscard]] net::awaitable<void> explain_endings();
    void deliver_unexplained();
    void hand_on(ledger::deliver out);
    void give_up_turns(const failure& why);
    void log_stray(const api_error& error) const;
    void on_opened(const std::string& message);
    void on_settled(const std::string& message, settlement& how);
    /// Of this session, to be filled in and written.
    [[nodiscard]] log_record make_record(log_level level) const;
    void log_followed() const;
    void log_settlement(const std::string& message, const settlement& how) const;

    /// Held while a prompt is on its way: the next one waits for it.
    class place_in_line {
    public:
        place_in_line(session_core& of, const void* what)
            : of_(of), at_(of.posting_.insert(of.posting_.end(), what)) {}
        ~place_in_line() {
            of_.posting_.erase(at_);
            of_.changed_.notify_all();
        }
        place_in_line(const place_in_line&) = delete;
        place_in_line& operator=(const place_in_line&) = delete;

    private:
        session_core& of_;
        std::list<const void*>::iterator at_;
    };

    /// What a turn that is told to somebody has used of its limits.
    struct open_turn {
        limit_watch used;
        duration patience;
        turn_limit passed = turn_limit::none; ///< for which the server is asked to abort it
        time_point ask_again = time_point::max();
        time_point give_up = time_point::max();
    };

    struct stream_trouble {
        failure why;
        unsigned failures = 0;
        std::optional<time_point> next_try;
    };

    std::shared_ptr<server_core> server_;
    session_info info_;
    std::string tag_;
    waiting_asks asks_;
    std::string left_; ///< the directory whose stream it leaves once that of its new one is acknowledged
    std::vector<std::string> former_; ///< directories that it was moved from, the latest last
    std::shared_ptr<session_protocol> protocol_;
    std::map<std::string, std::weak_ptr<turn_core>> turns_;
    std::weak_ptr<session_lease> lease_;
    condition_variable changed_;
    time_point armed_for_ = time_point::max();
    bool live_ = false;
    bool repairing_ = false;
    bool ask_rest_ = false;
    std::optional<failure> gave_up_;
    std::string last_sent_;
    std::optional<api_error> reported_; ///< by the server, of this session, since a command was posted
    std::map<std::string, open_turn> open_;
    std::vector<std::weak_ptr<feed_core>> feeds_;
    mailbox<approval_event, approval_queue> approvals_;
    capture_state capture_;
    time_point next_look_ = time_point::min();
    bool looking_ = false;
    std::uint64_t marked_ = 0;
    session_protocol::mark mark_;
    bool contact_lost_ = false; ///< something failed since the server last showed that it knows the session
    bool unreadable_told_ = false;      ///< that an event of this stream could not be read
    bool children_told_ = false;        ///< that there are too many of them
    bool stranger_ = false;             ///< what answers there does not know it
    bool respoken_ = false;             ///< the server spoke another protocol before
    std::set<std::string> handed_over_; ///< turns that were open then: the rest is told by their settlement
    time_point located_at_{};           ///< when the server last told its directory
    std::int64_t updated_ms_ = 0;       ///< as it was asked for then; that of info_ is what the stream told
    time_point active_at_{};            ///< when something was last at work in it
    std::optional<time_point> seen_;
    std::optional<stream_trouble> stream_trouble_;
    std::list<const void*>
        posting_;               ///< prompts on their way (their turns, if any), in the order of the calls
    bool knows_newest_ = false; ///< nothing can be newer: all since is told by the stream
    std::vector<ledger::deliver> unexplained_;   ///< settlements about which the server is asked first
    std::optional<settlement_error> last_error_; ///< of the last settlement
    abort_source::registration stopping_;
};

/// A session's place on one directory's stream. While the session moves from one to another it has two, and
/// only that of its present directory counts.
class session_link final : public stream::subscriber {
public:
    session_link(std::shared_ptr<session_core> to, std::string stream)
        : to_(std::move(to)), stream_(std::move(stream)) {}

    void on_attached() override;
    net::awaitable<void> repair() override;
    void on_event(std::string_view data) override;
    void on_prepared(std::string_view data, std::shared_ptr<void> prepared) override;
    void on_live() override;
    void on_interrupted(const stream::item& why) override;
    net::awaitable<void> on_give_up(const stream::item& why) override;

private:
    [[nodiscard]] bool counts() const;
    std::shared_ptr<session_core> to_;
    std::string stream_; ///< its key
};

/// After a snapshot that failed, or was void too often, and before whatever failed is tried again.
inline constexpr duration snapshot_pause = seconds(1);

/// Of all that is asked for after the server was stopped.
[[nodiscard]] failure stopped_failure();
/// Nothing: it did not.
template <class T>
[[nodiscard]] std::optional<failure> why_failed(const result<T>& r) {
    if (r)
        return std::nullopt;
    return r.error();
}
/// The failure as a settlement tells it.
[[nodiscard]] settlement_error as_settlement_error(const failure& why);

class server_core : public std::enable_shared_from_this<server_core> {
public:
    server_core(const runtime& w, http::url b, server_config c);

    [[nodiscard]] net::awaitable<void> run();
    void stop();
    [[nodiscard]] net::awaitable<result<server_info>> ready();
    [[nodiscard]] result<server_info> can_be_held(const server_identity& seen) const;
    [[nodiscard]] net::awaitable<result<session>> create_session(session_request what, std::string directory);
    [[nodiscard]] net::awaitable<result<session>> open_session(std::string id);
    [[nodiscard]] net::awaitable<turn> prompt(opencode::prompt what);
    [[nodiscard]] net::awaitable<result<server_info>> health();
    [[nodiscard]] net::awaitable<result<session_info>> get_session(std::string id);
    [[nodiscard]] net::awaitable<result<session_list>> list_sessions(session_query which);
    [[nodiscard]] client rest() const;
    [[nodiscard]] client rest_for_looks() const;
    void wake();

    // Which protocol it speaks.
    [[nodiscard]] const server_protocol& speech() const noexcept { return *speech_; }
    /// Asks the server itself, one for all who wonder, and goes on in its protocol.
    [[nodiscard]] net::awaitable<result<server_identity>> identify(client asked);
    /// The same, where it may be another since it was last heard; a failure tells nothing new.
    [[nodiscard]] net::awaitable<void> make_sure();
    /// Something broke: another server may answer next.
    void is_unsure() noexcept { sure_ = false; }
    /// What failed so may be of a server of another protocol: asks it. True: it was, and that is spoken now.
    /// `why` must outlive the call.
    [[nodiscard]] net::awaitable<bool> is_another(const std::optional<failure>& why);
    /// A call in one protocol or another.
    template <class T>
    using call_of = std::function<net::awaitable<result<T>>(const server_protocol&, client)>;
    /// Makes it, and once more where a server of another protocol was found to answer.
    template <class T>
    [[nodiscard]] net::awaitable<result<T>> make_call(call_of<T> call) {
        auto speech = speech_; // a call uses it to its end
        auto answered = co_await call(*speech, rest());
        const auto why = why_failed(answered);
        const bool is_other = co_await is_another(why);
        if (is_other) {
            speech = speech_;
            answered = co_await call(*speech, rest());
        }
        co_return answered;
    }

    // What sessions need.
    /// The directory's stream, started if none runs, with `who` subscribed to it; or the one of all
    /// directories, where there are max_streams already.
    void follow(const std::string& directory, const std::shared_ptr<session_core>& who);
    [[nodiscard]] bool streams_to(const std::string& directory, const std::string& session) const;
    /// There is a stream of this directory, or may be one more.
    [[nodiscard]] bool has_room_for(const std::string& directory) const;
    [[nodiscard]] feed follow(std::string id, follow_by how);
    /// A session is to be looked at, or sooner.
    void look_soon();
    /// An error of the server that ends no turn; `session` may be empty. The same one is written once a
    /// minute.
    void log_stray(const std::string& session, const std::string& tag, const api_error& error);
    /// A stream is had again: who waits to look at the endpoint need not.
    void endpoint_answers() { captures_.endpoint_answers(); }
    [[nodiscard]] std::vector<std::shared_ptr<session_core>> captured() const;
    /// A stream of ours sees to the endpoint, which does not answer.
    [[nodiscard]] bool streams_probe() const;
    [[nodiscard]] bool is_up() const { return locate().what == stream::location::state::up; }
    [[nodiscard]] bool is_gone() const {
        return config.locate && locate().what == stream::location::state::gone;
    }
    void unfollow(const std::string& directory, const std::string& session);
    /// From all streams but that of a directory which it left.
    void unfollow(const session_core& session);
    /// Its stream tells of all directories.
    [[nodiscard]] bool hears_everywhere(const std::string& session) const;
    /// Of the stream that tells of the session, or would.
    [[nodiscard]] std::string stream_key(const session_core& session) const;
    void learn_child(const std::string& directory, const std::string& child, const std::string& root);
    void release(const std::shared_ptr<session_core>& session);
    /// Runs until it ends, or run() does.
    void spawn(net::awaitable<void> work) { scope_.spawn(std::move(work)); }
    /// A backoff that stop() and wake() end.
    [[nodiscard]] net::awaitable<void> pause(duration d);
    [[nodiscard]] abort_source& stopping() noexcept { return stop_; }
    /// stop() was called, or the io_context ends: nothing is asked for any more.
    [[nodiscard]] bool stopped() const noexcept { return stop_asked_ || stop_.requested() || world.ended(); }

    runtime world;
    const http::url base;
    const server_config config;
    const std::shared_ptr<server_clock> server_time = std::make_shared<server_clock>();

private:
    [[nodiscard]] net::awaitable<result<void>> can_hold();
    [[nodiscard]] stream::location locate() const;
    void move_to(const http::url& there) const;
    [[nodiscard]] net::awaitable<std::shared_ptr<void>>
    prepare_event(std::shared_ptr<const server_protocol> speech, std::string data);
    void log_elsewhere(const session_info& made, const std::string& asked) const;
    [[nodiscard]] std::string stream_key(const std::string& directory) const;
    [[nodiscard]] bool has_one_stream() const { return config.global_stream || speech_->has_one_stream(); }
    [[nodiscard]] bool has_stream() const;
    void speak(const server_identity& found);
    [[nodiscard]] net::awaitable<result<server_identity>> ask_who_answers(client server) const;
    [[nodiscard]] std::shared_ptr<session_core> hold(session_info info);
    [[nodiscard]] net::awaitable<void> run_root();
    [[nodiscard]] net::awaitable<void> hold_stream(std::shared_ptr<directory_stream> stream);
    void on_stream_over(const std::shared_ptr<directory_stream>& stream);
    [[nodiscard]] std::shared_ptr<directory_stream> start_stream(const std::string& key);
    void leave(const std::string& key, const std::string& session);

    std::shared_ptr<const server_protocol> speech_;
    bool sure_; ///< that it is spoken there
    bool identifying_ = false;
    std::string version_; ///< as it was told last
    task_scope scope_;
    captures captures_;
    bool capturing_ = false;
    abort_source stop_;
    std::atomic<bool> stop_asked_ = false;
    condition_variable changed_; ///< stopped, or woken
    mutable http::url last_up_;  ///< where it was when it was up last
    std::map<std::string, std::shared_ptr<session_core>> sessions_;
    std::map<std::string, std::shared_ptr<directory_stream>> streams_;
    bool running_ = false;
    std::string stray_; ///< the error that log_stray() wrote last
    time_point stray_at_{};
};

} // namespace holdfast::opencode::detail
