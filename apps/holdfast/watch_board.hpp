// What `holdfast watch` knows: servers and runs, as they were last seen, and what is new. Pure: `now` is an
// argument.
#pragma once

#include <holdfast/opencode/server.hpp>
#include <holdfast/time.hpp>

#include <boost/json/object.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::app {

/// How a server answers.
struct server_sight {
    std::string version;                   ///< empty: not known, or as it was
    std::optional<retry::failure> trouble; ///< why it does not
    unsigned failures = 0;                 ///< consecutive
    std::optional<time_point> next_try;    ///< while in trouble; nothing: it is being tried
};

/// Something new: a row of stdout and of /events. "session", "turn", "ask", "settled", "trouble", "recovered"
/// or "error". Each row "settled" follows one row "turn" of its session; that one's message is null where
/// work was seen before it was known whose it is.
struct watch_news {
    std::string name;
    boost::json::object what;
    std::string words;  ///< for a person, one line, untrusted
    bool grave = false; ///< failed, lost, or in trouble
};

enum class run_state {
    unknown, ///< never seen yet
    idle,    ///< no turn since it is watched
    working,
    retrying, ///< the server waits before it asks the model again
    waiting,  ///< for an answer to an ask
    completed,
    failed,
    aborted,
    rejected,
    lost,
    detached, ///< its last turn is
    deleted,
    archived,
};
[[nodiscard]] std::string_view to_string(run_state s) noexcept;

/// Why something is not had just now, and when it is tried again.
struct board_trouble {
    retry::failure_class cls = retry::failure_class::local;
    int status = 0;
    std::string message;
    unsigned failures = 0;
    std::optional<time_point> next_try;
};

/// A row of the table. All text in it is untrusted.
struct board_row {
    bool is_server = false; ///< a server itself, which has trouble or no runs, and not one of its runs
    std::string server;
    std::string name;
    run_state state = run_state::unknown;
    std::string doing;
    bool ends = false; ///< of `doing` the end matters, as it is text that streams
    std::size_t asks = 0;
    std::optional<board_trouble> trouble;
    bool streamed = false;
    bool captured = false;
    std::optional<time_point> seen;
    std::optional<time_point> since; ///< the state
};

/// The same failure, in words that say so where a server rejects the credentials: waiting does not help then.
[[nodiscard]] retry::failure in_words(retry::failure why);

/// Which rows matter more, when not all can be shown: the lower ones.
[[nodiscard]] int rank_of(const board_row& row);

struct board_totals {
    std::size_t servers = 0;
    std::size_t servers_in_trouble = 0;
    std::size_t runs = 0;
    std::size_t working = 0;
    std::size_t waiting = 0;    ///< for an answer
    std::size_t in_trouble = 0; ///< runs
    std::size_t asks = 0;
    std::size_t left_out = 0; ///< sessions that servers list beyond those that are watched
    std::uint64_t turns = 0;  ///< settled since the beginning
    std::uint64_t completed = 0;
};

/// Thread safety: distinct objects safe, shared objects unsafe.
class watch_board {
public:
    /// The present moment on both clocks, so that it can tell dates.
    watch_board(time_point now, wall_time wall);

    /// The same later on: a suspended machine and somebody who sets its clock move one clock against the
    /// other. What is seen from now on is dated by this, what was seen before keeps its date.
    void see_clocks(time_point now, wall_time wall);
    watch_board(const watch_board&) = delete;
    watch_board& operator=(const watch_board&) = delete;

    /// @param where as it may be shown: without credentials
    /// @return its number, from 0
    std::size_t add_server(std::string where, std::string tag);

    void see_server(std::size_t server, const server_sight& how, time_point now);
    /// How many streams of the server are open.
    void see_streams(std::size_t server, std::size_t open);
    /// How many sessions of the server are not watched, because there are too many.
    void see_left_out(std::size_t server, std::size_t sessions);
    /// An error that belongs to no turn. `session` may be empty.
    void see_error(std::size_t server, const std::string& session, const opencode::api_error& what);

    void see(std::size_t server, const opencode::session_view& how, time_point now);
    void hear(std::size_t server, const opencode::session_event& what, time_point now);
    /// A session that was named cannot be followed. `server` nothing: no server knows it.
    void miss(std::optional<std::size_t> server, const std::string& session, const server_sight& why,
              time_point now);
    /// A session was deleted; it is shown for a while, if it ever was shown.
    void gone(std::size_t server, const std::string& session, time_point now);
    /// A session is not to be shown any more.
    void forget(std::optional<std::size_t> server, const std::string& session);
    /// A session goes on at another server, which the caller shows: what was open here is lost.
    void moved(std::size_t server, const std::string& session, time_point now);
    /// Time passes: what was deleted a minute ago is forgotten, and work of which nothing is heard is told.
    void pass(time_point now);

    /// What is new since the last call, in order.
    [[nodiscard]] std::vector<watch_news> take_news();

    [[nodiscard]] std::vector<board_row> rows() const;
    [[nodiscard]] board_totals totals() const;
    [[nodiscard]] time_point begun() const noexcept { return begun_; }

    /// All of it, for /status. Bounded: long texts are cut, and of more than `most` sessions those at work,
    /// in trouble and waiting come first.
    [[nodiscard]] boost::json::object status(time_point now, std::size_t most = 2000) const;

    /// Changes whenever rows() or totals() may have.
    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }

private:
    struct ask {
        std::string id;
        std::string session; // which asks, perhaps a child
        std::string what;
        bool question = false;
        time_point since;
        std::string message; // of the turn that waits for it; empty: none does
    };
    struct turn {
        std::string message;
        time_point since;
        std::string tail; // the last words of what streams
        std::string part;
        bool thinking = false;
        std::vector<std::pair<std::string, std::string>> tools; // at work: the call, and in words
        std::string remark;                                     // of what holds it up
        bool retrying = false;
    };
    struct settled {
        std::string message;
        opencode::settlement how;
        time_point at;
        duration took{};
    };
    struct clock_reading {
        time_point now;
        wall_time wall;
    };
    struct server;
    struct run {
        const server* where = nullptr;
        opencode::session_view view;
        std::vector<turn> turns;
        std::vector<ask> asks;
        std::optional<settled> last;
        time_point since;                     // it is watched
        std::optional<time_point> busy_since; // and no turn has settled since then
        bool begun_told = false;              // of the work since then
        std::optional<time_point> in_trouble_since;
        std::optional<time_point> gone_at;

        [[nodiscard]] const std::string& id() const noexcept { return view.info.id; }
    };
    struct server {
        std::string where;
        std::string tag;
        server_sight sight;
        std::optional<time_point> since; // up, or in trouble
        std::size_t streams = 0;
        std::size_t left_out = 0;
        std::vector<std::string> order; // of its runs
        std::map<std::string, run> runs;
    };

    server& at(std::optional<std::size_t> number);
    run& run_at(std::optional<std::size_t> server, const std::string& session, time_point now);
    turn& turn_at(run& who, const std::string& message, time_point now);
    void see_trouble(run& who, time_point now);
    void tell_silent_work(run& who, time_point now);
    void take(turn& at, const opencode::agent_event& event, time_point now);
    void take_ask(run& who, ask asked, const std::optional<std::string>& reply);
    void lose_turns(run& who, opencode::rule why, time_point now);
    void settle(run& who, const std::string& message, const opencode::settlement& how, time_point now);
    void tell(std::string name, const run& who, boost::json::object more, const std::string& words,
              bool grave = false);
    void tell_trouble(const server& where, time_point now);

    [[nodiscard]] std::string name_of(const run& who) const;
    [[nodiscard]] board_row row_of(const run& who) const;
    [[nodiscard]] wall_time wall_at(time_point when) const;
    [[nodiscard]] std::string date(time_point when) const;
    [[nodiscard]] boost::json::object status_of(const run& who, time_point now) const;
    [[nodiscard]] boost::json::object status_of(const server& where, time_point now) const;
    template <class Take>
    void each_server(Take take) const;

    time_point begun_;
    std::deque<clock_reading> clocks_; // each holds from its `now` to the next one's
    std::deque<server> servers_;       // runs point to them
    server nowhere_;                   // has the sessions that no server knows
    std::vector<watch_news> news_;
    std::uint64_t turns_ = 0;
    std::uint64_t completed_ = 0;
    std::uint64_t version_ = 0;
};

} // namespace holdfast::app
