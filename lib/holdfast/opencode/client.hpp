// The REST side of an OpenCode 1.x server: typed calls, one connection each.
#pragma once

#include <holdfast/http/exchange.hpp>
#include <holdfast/opencode/call_places.hpp>
#include <holdfast/opencode/turn_tracker.hpp>
#include <holdfast/opencode/types.hpp>
#include <holdfast/runtime/runtime.hpp>

#include <boost/json/fwd.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::opencode {

class json_document;

/// What is taken of one answer, in bytes of its body unless it says otherwise. Over it: body_too_large, in
/// words that say which limit; asked for messages, the server is asked again for fewer, down to one. 0 is no
/// limit, but for `client_config::limits` and for the values that parse_json() takes.
struct body_limits {
    body_limits() = default;

    std::size_t status = 1u << 20;    ///< GET /session/status, and every answer that tells of one thing
    std::size_t list = 16u << 20;     ///< of sessions, children, permissions, questions
    std::size_t messages = 32u << 20; ///< one page of messages, or one message
    std::size_t error = 64u << 10;    ///< of an answer with an error status: what comes beyond is left unread
    std::size_t items = 20'000;       ///< entries of a list: a number, not bytes
    std::size_t parts = 5'000;        ///< in a page of messages, or one message: a number, not bytes
};

struct client_config {
    client_config() = default; // no aggregate, see header

    http::transport transport; ///< deadlines, TLS and proxies: of calls, and of the server's event streams
    http::response_limits limits;
    body_limits bodies;
    std::string bearer; ///< a token for Authorization, instead of the URL's user and password
    /// Where calls to the same server wait for their turn; those of a `server` share one. None: no call
    /// waits.
    std::shared_ptr<call_places> places;
};

/// Which protocol a server speaks.
enum class protocol {
    automatic, ///< found out by asking it
    v1,        ///< 1.x
    v2,        ///< 2.x
};

/// What a server tells of itself.
struct server_info {
    server_info() = default; // no aggregate, see header
    explicit server_info(std::string v) : version(std::move(v)) {}

    std::string version;
    protocol speaks = protocol::v1;
};

namespace v2 {
struct dialect;
}

/// Which server answers. Not for users.
struct server_identity {
    server_identity() = default; // no aggregate, see header
    server_identity(std::string v, const v2::dialect* d) : version(std::move(v)), dialect(d) {}

    std::string version;
    const v2::dialect* dialect = nullptr; ///< null: of 1.x
};

/// Which sessions GET /session is asked for.
struct session_query {
    session_query() = default; // no aggregate, see header

    std::string directory; ///< empty: the server's own
    bool roots = false;    ///< no children
    std::size_t limit = 0; ///< the newest so many; 0: as many as the server lists by itself (100 of 1.18)
    /// At most so many of the answer are kept, whatever was asked for; 0: `limit`, where that is set. The
    /// others are counted without being looked at.
    std::size_t keep = 0;
};

/// Some of a server's sessions.
struct session_list {
    session_list() = default; // no aggregate, see header

    std::vector<session_info> sessions; ///< the newest first, as the server lists them
    std::size_t left_out = 0;           ///< those that the answer had beyond what is kept
};

/// How POST /session makes a session. Empty members are left out.
struct session_request {
    session_request() = default; // no aggregate, see header

    std::string title;
    std::string parent_id;
    std::string agent;
};

/// One part of a prompt.
struct prompt_part {
    prompt_part() = default; // no aggregate, see header

    enum class kind { text, file };
    kind what = kind::text;
    std::string id;   ///< "prt_...": empty: one is made
    std::string text; ///< of a text part
    std::string mime; ///< of a file or an image: "text/plain", "image/png"
    std::string filename;
    std::string url; ///< "file:///..." or "data:image/png;base64,..."
};

/// When a prompt that comes while the session is at work is taken up.
enum class delivery {
    by_server, ///< as the server does by itself: 2.x steers
    steer,     ///< at the next step of what runs
    queue,     ///< when the session would go idle
};
/// "steer", "queue", as a server of 2.x takes it; "": by_server.
[[nodiscard]] std::string_view to_string(delivery d) noexcept;

/// A prompt. With its own message and part ids it may be posted any number of times: the model runs once
/// (protocol/README.md section 4, "Exactly-once prompts").
struct prompt {
    prompt() = default; // no aggregate, see header

    std::string message_id; ///< "msg_...": empty: one is made
    std::vector<prompt_part> parts;
    std::string agent;
    std::string model;   ///< "provider/model", split at the first slash; empty: the session's
    std::string variant; ///< of the model; one that it has not is ignored by the server
    std::string system;
    /// What becomes of it while the session is at work; OpenCode 1.x takes no other than the first.
    delivery how = delivery::by_server;
    bool no_reply = false; ///< context for the next prompt: stored, and not answered; see session::store()
    /// A command of the server's, by its name: the prompt is its template, filled in with the text of
    /// `parts`. It takes no `system` and no `no_reply`. A template may run programs, so that it is posted
    /// only once.
    std::string command;
    std::string raw_json; ///< an object whose members are added to the body, replacing those of the same name
};

/// What a server's clock shows, as far as the `Date` of its answers tells: never later than that clock.
/// Thread safety: distinct objects safe, shared objects unsafe.
class server_clock {
public:
    /// An answer that was received at `now` had this date.
    void told(wall_time date, time_point now) noexcept { told_ = reading{date, now}; }
    /// By the answer told last; it is less than two seconds behind. Nothing: no answer had a date.
    [[nodiscard]] std::optional<wall_time> at_least(time_point now) const noexcept;

private:
    struct reading {
        wall_time date;
        time_point received;
    };
    std::optional<reading> told_;
};

/// Makes an id that a client may choose: a prefix, 12 hex digits of time and count, 14 digits of base 62 from
/// `random`.
///
/// The server answers a prompt by the order of ids: one behind the newest message of its session is never
/// answered, one ahead of the server's clock is answered again and again. So the id is of the server's time
/// (`server_time`, see server_clock; nothing: not known) or next behind `newest`, whichever is later;
/// `newest` is the newest id that is known there, or empty. The clock of this machine decides nothing.
[[nodiscard]] std::string make_id(std::string_view prefix, std::optional<wall_time> server_time,
                                  std::string_view newest, runtime& random);

/// Whether `id` comes after `other` in the server's order. False when `id` has not the form of the server's
/// ids; what has not comes first.
[[nodiscard]] bool is_newer_id(std::string_view id, std::string_view other) noexcept;

/// A page of messages, ascending.
struct message_page {
    message_page() = default; // no aggregate, see header

    std::vector<message> messages;
    std::string before; ///< the cursor of the page before; empty: there is none
};

/// Calls to one server. Cheap to make and to copy.
///
/// Each call: cancellable at once (terminal, operation_aborted); passes the endpoint's circuit breaker, so
/// that a dead server is not hammered; errors are values: those of http::fetch, http_status with the server's
/// own words, not_found, bad_json, missing_field (naming the path; also where an answer is about another
/// session or message than was asked for, or names an id that is none), not_opencode, body_too_large (see
/// body_limits); invalid_request, with nothing sent, for an id that cannot be one (see is_usable_id()).
/// `directory` empty: the server's own. However large an answer is, it is worked through in pieces, with all
/// else that is ready at the loop in between. Thread safety: confined to its runtime's executor.
class client {
public:
    client(const runtime& world, http::url base, client_config config = {});
    /// One that tells `clock` the date of each answer.
    client(const runtime& world, http::url base, client_config config, std::shared_ptr<server_clock> clock);

    [[nodiscard]] const http::url& base() const noexcept { return base_; }

    /// All answers from here on, to this client and its copies, may have no more bytes together; those over
    /// it fail with body_too_large.
    void allow_in_all(std::size_t bytes) { allowance_ = std::make_shared<std::size_t>(bytes); }

    /// Also the check that this is an OpenCode server of major version 1: else not_opencode or
    /// unsupported_version, in words that name what was found. OpenCode 2.x is found by its own routes; while
    /// it starts the failure is the 503 that it answers with, which is transient, in words that say so.
    [[nodiscard]] net::awaitable<result<server_info>> health();
    /// The same of whatever protocol is known, and of 2.x alone. Not for users.
    [[nodiscard]] net::awaitable<result<server_identity>> identify();
    [[nodiscard]] net::awaitable<result<server_identity>> identify_2();

    [[nodiscard]] net::awaitable<result<session_info>> create_session(session_request what,
                                                                      std::string directory);
    [[nodiscard]] net::awaitable<result<session_info>> get_session(std::string session);
    [[nodiscard]] net::awaitable<result<session_list>> list_sessions(session_query which);
    /// As many as the server lists by itself.
    [[nodiscard]] net::awaitable<result<std::vector<session_info>>> list_sessions(std::string directory);
    [[nodiscard]] net::awaitable<result<std::vector<session_info>>> children(std::string session);
    [[nodiscard]] net::awaitable<result<void>> delete_session(std::string session);

    /// Whether the server can read the directory: it has status 500 where it cannot, by which nothing else
    /// tells.
    [[nodiscard]] net::awaitable<result<void>> read_directory(std::string directory);

    /// Sessions that are not idle.
    [[nodiscard]] net::awaitable<result<session_statuses>> status(std::string directory);

    /// The latest `limit` messages (0: all), or those before a cursor.
    [[nodiscard]] net::awaitable<result<message_page>> messages(std::string session, unsigned limit,
                                                                std::string before);
    [[nodiscard]] net::awaitable<result<message>> get_message(std::string session, std::string id);

    /// POST prompt_async; safe to repeat when `what` has its own ids.
    [[nodiscard]] net::awaitable<result<void>> prompt_async(std::string session, prompt what);
    /// Stores a prompt to which no reply is wanted; done when it is there. Safe to repeat when `what` has its
    /// own ids.
    [[nodiscard]] net::awaitable<result<void>> store(std::string session, prompt what);
    /// Runs a command. The server answers when its turn is over: there is no deadline but those of the
    /// connection, and what comes of it says nothing of the endpoint's health. Not safe to repeat.
    [[nodiscard]] net::awaitable<result<void>> run_command(std::string session, prompt what);
    /// The names of the commands that the server has there.
    [[nodiscard]] net::awaitable<result<std::vector<std::string>>> commands(std::string directory);
    [[nodiscard]] net::awaitable<result<void>> abort(std::string session);

    [[nodiscard]] net::awaitable<result<std::vector<permission_request>>> permissions(std::string directory);
    /// `reply`: once, always, or reject. With a message a rejected turn goes on; empty: none.
    [[nodiscard]] net::awaitable<result<void>> reply_permission(std::string id, std::string reply,
                                                                std::string message, std::string directory);
    [[nodiscard]] net::awaitable<result<std::vector<question_request>>> questions(std::string directory);
    /// One list of chosen labels (or free text) for each question of the request.
    [[nodiscard]] net::awaitable<result<void>>
    reply_question(std::string id, std::vector<std::vector<std::string>> answers, std::string directory);
    [[nodiscard]] net::awaitable<result<void>> reject_question(std::string id, std::string directory);

    /// Ends the directory's instance: its turns are aborted, its streams end.
    [[nodiscard]] net::awaitable<result<void>> dispose(std::string directory);

    /// A call in the words of another protocol: path and query, and JSON or nothing as its body. The document
    /// of the answer, whose root is null where it has none. Not for users.
    [[nodiscard]] net::awaitable<result<std::shared_ptr<const json_document>>>
    call_route(std::string method, std::string target, std::string body);

    /// What every request carries: the Authorization of a bearer token, or nothing (the URL's own is added
    /// later).
    [[nodiscard]] std::vector<http::header> credentials() const;
    /// The URL of a directory's event stream, which the field of directory_header() chooses.
    [[nodiscard]] http::url event_url() const;
    /// The URL of the stream of all directories.
    [[nodiscard]] http::url global_event_url() const;

private:
    struct answer; ///< a JSON document, and what came with it
    struct asked;  ///< a request, and what its answer may be
    [[nodiscard]] net::awaitable<result<http::response>> exchange(asked what, place_pool::place& large);
    [[nodiscard]] net::awaitable<result<http::response>> receive(asked what, place_pool::place& large);
    [[nodiscard]] net::awaitable<result<answer>> call(asked what);
    [[nodiscard]] net::awaitable<result<answer>> get(result<std::string> target, std::size_t limit,
                                                     std::string_view kind, std::string directory = {});
    [[nodiscard]] net::awaitable<result<answer>> post(std::string method, result<std::string> target,
                                                      std::string body, std::string directory = {});
    [[nodiscard]] net::awaitable<result<void>> command(std::string method, result<std::string> target,
                                                       std::string body, std::string directory = {});
    [[nodiscard]] net::awaitable<result<message_page>> one_page(std::string session, unsigned limit,
                                                                std::string before);
    [[nodiscard]] std::size_t limit_of(const asked& what, bool is_error) const;
    [[nodiscard]] net::awaitable<result<server_identity>> find_version_2(failure seen);

    runtime world_;
    http::url base_;
    client_config config_;
    std::shared_ptr<std::size_t> allowance_; ///< bytes that may still come; none: any number
    std::shared_ptr<server_clock> clock_;    ///< may be null
};

/// The field that tells a request's directory: a query is decoded twice by the server, this once. None for an
/// empty one.
[[nodiscard]] std::vector<http::header> directory_header(std::string_view directory);

/// The server's answer to an error as a failure: its status, its own words, its body.
[[nodiscard]] failure make_api_failure(const http::response& answer, wall_time now);

} // namespace holdfast::opencode
