// The REST side of an OpenCode 1.x server: typed calls, one connection each.
#pragma once

#include <holdfast/http/exchange.hpp>
#include <holdfast/opencode/turn_tracker.hpp>
#include <holdfast/opencode/types.hpp>
#include <holdfast/runtime/runtime.hpp>

#include <boost/json/fwd.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::opencode {

struct client_config {
    http::transport transport; ///< deadlines, TLS and proxies: of calls, and of the server's event streams
    http::response_limits limits;
    std::string bearer; ///< a token for Authorization, instead of the URL's user and password
};

/// What GET /global/health tells.
struct server_info {
    std::string version;
};

// The constructors below keep what is passed to an awaitable from being an aggregate: g++ 12 destroys temporaries of
// those twice when they stand in one expression with co_await.

/// How POST /session makes a session. Empty members are left out.
struct session_request {
    session_request() = default;

    std::string title;
    std::string parent_id;
    std::string agent;
};

/// One part of a prompt.
struct prompt_part {
    prompt_part() = default;

    enum class kind { text, file };
    kind what = kind::text;
    std::string id;       ///< "prt_...": empty: one is made
    std::string text;     ///< of a text part
    std::string mime;     ///< of a file or an image: "text/plain", "image/png"
    std::string filename;
    std::string url;      ///< "file:///..." or "data:image/png;base64,..."
};

/// A prompt. With its own message and part ids it may be posted any number of times: the model runs once
/// (PROTOCOL.md section 4, "Exactly-once prompts").
struct prompt {
    prompt() = default;

    std::string message_id; ///< "msg_...": empty: one is made
    std::vector<prompt_part> parts;
    std::string agent;
    std::string model; ///< "provider/model", split at the first slash; empty: the session's
    std::string variant; ///< of the model; one that it has not is ignored by the server
    std::string system;
    bool no_reply = false; ///< context for the next prompt: stored, and not answered; see session::store()
    /// A command of the server's, by its name: the prompt is its template, filled in with the text of `parts`. It
    /// takes no `system` and no `no_reply`. A template may run programs, so that it is posted only once.
    std::string command;
    std::string raw_json; ///< an object whose members are added to the body, replacing those of the same name
};

/// Makes the ids that clients may choose: a prefix, 12 hex digits of time and count, 14 random base-62 digits.
/// They ascend within one maker. Thread safety: confined to its runtime's executor.
class id_maker {
public:
    explicit id_maker(runtime& world) : world_(world) {}
    [[nodiscard]] std::string make(std::string_view prefix);

private:
    runtime& world_;
    std::uint64_t last_ = 0;
};

/// A page of messages, ascending.
struct message_page {
    std::vector<message> messages;
    std::string before; ///< the cursor of the page before; empty: there is none
};

/// Calls to one server. Cheap to make and to copy.
///
/// Each call: cancellable at once (terminal, operation_aborted); passes the endpoint's gate, so that a dead server
/// is not hammered; errors are values: those of http::fetch, http_status with the server's own words, not_found,
/// bad_json, missing_field (naming the path), not_opencode. `directory` empty: the server's own.
/// Thread safety: confined to its runtime's executor.
class client {
public:
    client(runtime& world, http::url base, client_config config = {});

    [[nodiscard]] const http::url& base() const noexcept { return base_; }

    /// Also the check that this is an OpenCode server of major version 1: else not_opencode or
    /// unsupported_version, in words that name what was found.
    [[nodiscard]] net::awaitable<result<server_info>> health();

    [[nodiscard]] net::awaitable<result<session_info>> create_session(session_request what, std::string directory);
    [[nodiscard]] net::awaitable<result<session_info>> get_session(std::string session);
    [[nodiscard]] net::awaitable<result<std::vector<session_info>>> list_sessions(std::string directory);
    [[nodiscard]] net::awaitable<result<std::vector<session_info>>> children(std::string session);
    [[nodiscard]] net::awaitable<result<void>> delete_session(std::string session);

    /// Sessions that are not idle.
    [[nodiscard]] net::awaitable<result<std::map<std::string, session_status>>> status(std::string directory);

    /// The latest `limit` messages (0: all), or those before a cursor.
    [[nodiscard]] net::awaitable<result<message_page>> messages(std::string session, unsigned limit, std::string before);
    [[nodiscard]] net::awaitable<result<message>> get_message(std::string session, std::string id);

    /// POST prompt_async; safe to repeat when `what` has its own ids.
    [[nodiscard]] net::awaitable<result<void>> prompt_async(std::string session, prompt what);
    /// Stores a prompt to which no reply is wanted; done when it is there. Safe to repeat when `what` has its own ids.
    [[nodiscard]] net::awaitable<result<void>> store(std::string session, prompt what);
    /// Runs a command. The server answers when its turn is over: there is no deadline but those of the connection, and
    /// what comes of it says nothing of the endpoint's health. Not safe to repeat.
    [[nodiscard]] net::awaitable<result<void>> run_command(std::string session, prompt what);
    /// The names of the commands that the server has there.
    [[nodiscard]] net::awaitable<result<std::vector<std::string>>> commands(std::string directory);
    [[nodiscard]] net::awaitable<result<void>> abort(std::string session);

    [[nodiscard]] net::awaitable<result<std::vector<permission_request>>> permissions(std::string directory);
    /// `reply`: once, always, or reject. With a message a rejected turn goes on; empty: none.
    [[nodiscard]] net::awaitable<result<void>> reply_permission(std::string id, std::string reply, std::string message,
                                                                std::string directory);
    [[nodiscard]] net::awaitable<result<std::vector<question_request>>> questions(std::string directory);
    /// One list of chosen labels (or free text) for each question of the request.
    [[nodiscard]] net::awaitable<result<void>> reply_question(std::string id, std::vector<std::vector<std::string>> answers,
                                                              std::string directory);
    [[nodiscard]] net::awaitable<result<void>> reject_question(std::string id, std::string directory);

    /// Ends the directory's instance: its turns are aborted, its streams end.
    [[nodiscard]] net::awaitable<result<void>> dispose(std::string directory);

    /// What every request carries: the Authorization of a bearer token, or nothing (the URL's own is added later).
    [[nodiscard]] std::vector<http::header> credentials() const;
    /// The URL of the directory's event stream.
    [[nodiscard]] http::url event_url(std::string_view directory) const;
    /// The URL of the stream of all directories.
    [[nodiscard]] http::url global_event_url() const;

private:
    [[nodiscard]] net::awaitable<result<http::response>> exchange(http::request what);
    [[nodiscard]] net::awaitable<result<boost::json::value>> call(std::string method, std::string target,
                                                                  std::string body);
    [[nodiscard]] net::awaitable<result<void>> command(std::string method, std::string target, std::string body);

    runtime* world_;
    http::url base_;
    client_config config_;
};

/// The server's answer to an error as a failure: its status, its own words, its body.
[[nodiscard]] failure make_api_failure(const http::response& answer, wall_time now);

} // namespace holdfast::opencode
