// The REST side of an OpenCode 1.x server: typed calls, one connection each.
#pragma once

#include <holdfast/http/exchange.hpp>
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

/// Which sessions GET /session is asked for.
struct session_query {
    session_query() = default;

    std::string directory; ///< empty: the server's own
    bool roots = false;    ///< no children
    std::size_t limit = 0; ///< the newest so many; 0: as many as the server lists by itself (100 of 1.18)
    /// At most so many of the answer are kept, whatever was asked for; 0: `limit`, where that is set. The others are
    /// counted without being looked at.
    std::size_t keep = 0;
};

/// Some of a server's sessions.
struct session_list {
    std::vector<session_info> sessions; ///< the newest first, as the server lists them
    std::size_t left_out = 0;           ///< those that the answer had beyond what is kept
};

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
    std::string variant;
    std::string system;
    bool no_reply = false;
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
    [[nodiscard]] net::awaitable<result<session_list>> list_sessions(session_query which);
    /// As many as the server lists by itself.
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
