// What is asked of a 2.x server: method, path and body of every route that a supervisor needs, in the
// spelling of a dialect. Pure. Not for users.
#pragma once

#include <holdfast/opencode/protocol/v2/dialect.hpp>
#include <holdfast/opencode/protocol/v2/event.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::opencode::v2 {

/// Errors of all that return a result: invalid_request for an id that cannot be a path segment (see
/// is_usable_id()), and unsupported_version for what the dialect has no route for.
struct request {
    std::string method;
    std::string target; ///< path and query
    std::string body;   ///< JSON; empty: none
    friend bool operator==(const request&, const request&) = default;
};

/// Of POST /api/session. Empty members are left out.
struct new_session {
    std::string title;
    std::string agent;
    std::string model; ///< "provider/model"
    std::string directory;
    std::string parent{}; ///< since 2.0.4
};

/// Of POST .../prompt. Posted any number of times with its id before it has ended, it runs once.
struct new_prompt {
    std::string id; ///< "msg_..."
    std::string text;
    std::string delivery; ///< "steer", "queue"; empty: the server's default, steer
    bool resume = true;   ///< false: stored only, and runs with the next prompt
};

/// Which messages GET .../message is asked for.
struct message_query {
    static constexpr unsigned most = 200; ///< of one page, of 2.0.26
    unsigned limit = most;
    bool ascending = false; ///< the default of the server is the newest first
    std::string cursor;     ///< of the page before; it tells the order too
};

[[nodiscard]] request identity(const dialect& d);
[[nodiscard]] request create(const new_session& what);
[[nodiscard]] request list(std::string_view directory, std::size_t limit, bool roots);
/// The sessions right below one.
[[nodiscard]] result<request> children(std::string_view session, std::size_t limit);
[[nodiscard]] request active();
[[nodiscard]] result<request> get(std::string_view session);
[[nodiscard]] result<request> remove(std::string_view session);
[[nodiscard]] result<request> rename(const dialect& d, std::string_view session, std::string_view title);

/// What the session's prompts run with from then on.
[[nodiscard]] result<request> set_agent(std::string_view session, std::string_view agent);
/// `model`: "provider/model".
[[nodiscard]] result<request> set_model(std::string_view session, std::string_view model,
                                        std::string_view variant);
[[nodiscard]] result<request> prompt(std::string_view session, const new_prompt& what);
[[nodiscard]] result<request> inbox(const dialect& d, std::string_view session);
/// 204, also where it is no longer there.
[[nodiscard]] result<request> cancel_queued(const dialect& d, std::string_view session,
                                            std::string_view prompt);
/// Without a body. With interrupts_at_once it answers {"interrupted":bool}, see parse_interrupted().
[[nodiscard]] result<request> interrupt(std::string_view session);
[[nodiscard]] result<request> messages(std::string_view session, const message_query& which);
[[nodiscard]] result<request> message(std::string_view session, std::string_view id);

[[nodiscard]] result<request> permissions(std::string_view session);
/// Those of all sessions of a location, children too. An empty directory: the server's own.
[[nodiscard]] request permissions_in(std::string_view directory);
/// `decision`: once, always, reject. With a message a rejected turn goes on; empty: none.
[[nodiscard]] result<request> reply_permission(const dialect& d, std::string_view session,
                                               std::string_view id, std::string_view decision,
                                               std::string_view message);
[[nodiscard]] result<request> forms(std::string_view session);
[[nodiscard]] request forms_in(const dialect& d, std::string_view directory);
/// `answers`: one list for each field; an empty one leaves the field out.
[[nodiscard]] result<request> reply_form(const form& asked,
                                         const std::vector<std::vector<std::string>>& answers);
[[nodiscard]] result<request> cancel_form(const dialect& d, std::string_view session, std::string_view id);

/// The stream of all sessions.
inline constexpr std::string_view event_route = "/api/event";

} // namespace holdfast::opencode::v2
