// The calls to a 2.x server, in its dialect. Not for users.
#pragma once

#include <holdfast/opencode/client.hpp>
#include <holdfast/opencode/protocol/v2/answers.hpp>
#include <holdfast/opencode/protocol/v2/dialect.hpp>
#include <holdfast/opencode/protocol/v2/requests.hpp>
#include <holdfast/opencode/protocol/v2/session_ledger.hpp>

#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace holdfast::opencode::v2 {

/// What a snapshot is asked for.
struct snapshot_query {
    snapshot_query() = default; // no aggregate: it is awaited with

    std::string session;
    std::vector<std::string> prompts;  ///< open: messages are fetched back to the first of them
    std::vector<std::string> children; ///< the known sessions below it
    unsigned page = message_query::most;
    std::size_t max_pages = 50; ///< of messages; what is older is left out
    bool find_children = false; ///< there may be some right below it that are not known
    std::size_t max_children = 1000;
};

/// Cheap to make and to copy. Each call: cancellable at once, and with the errors of opencode::client, which
/// it is made by. not_found: the server knows no such session, or no such request any more.
///
/// Thread safety: confined to the executor of that client.
class client {
public:
    client(opencode::client calls, const dialect& spoken) : calls_(std::move(calls)), spoken_(&spoken) {}

    [[nodiscard]] const dialect& spoken() const noexcept { return *spoken_; }

    [[nodiscard]] net::awaitable<result<session_row>> create_session(new_session what);
    [[nodiscard]] net::awaitable<result<session_row>> get_session(std::string session);
    [[nodiscard]] net::awaitable<result<void>> delete_session(std::string session);
    /// The newest first.
    [[nodiscard]] net::awaitable<result<session_list>> list_sessions(session_query which);

    /// Done when it is stored. Safe to repeat with its own id while it has not ended; not afterwards: the
    /// server runs an empty execution for it.
    [[nodiscard]] net::awaitable<result<void>> prompt(std::string session, new_prompt what);
    /// What the session's prompts run with from then on. `model`: "provider/model".
    [[nodiscard]] net::awaitable<result<void>> set_agent(std::string session, std::string agent);
    [[nodiscard]] net::awaitable<result<void>> set_model(std::string session, std::string model,
                                                         std::string variant);
    /// Among the messages, or in the inbox; else not_found.
    [[nodiscard]] net::awaitable<result<void>> is_there(std::string session, std::string prompt);
    /// unsupported_version where the dialect cannot.
    [[nodiscard]] net::awaitable<result<void>> cancel_queued(std::string session, std::string prompt);
    /// Whether there was anything to end. Where the dialect interrupts at once, the end is still to come.
    [[nodiscard]] net::awaitable<result<bool>> interrupt(std::string session);

    [[nodiscard]] net::awaitable<result<void>> reply_permission(std::string session, std::string id,
                                                                std::string decision, std::string message);
    [[nodiscard]] net::awaitable<result<void>> reply_form(form asked,
                                                          std::vector<std::vector<std::string>> answers);
    [[nodiscard]] net::awaitable<result<void>> cancel_form(std::string session, std::string id);

    /// What the server says of a session: the inbox, the messages, and only then whether it is active, so
    /// that nothing falls between them. A session that it does not know is a snapshot that says so.
    [[nodiscard]] net::awaitable<result<snapshot>> take_snapshot(snapshot_query which);

private:
    using document = std::shared_ptr<const json_document>;
    template <class T>
    using parser = result<T> (*)(const boost::json::value&);
    [[nodiscard]] net::awaitable<result<document>> call(result<request> what);
    template <class T>
    [[nodiscard]] net::awaitable<result<T>> ask(result<request> what, parser<T> parse);
    [[nodiscard]] net::awaitable<result<void>> command(result<request> what);
    [[nodiscard]] net::awaitable<result<void>> fetch_messages(const snapshot_query& which, snapshot& into);
    [[nodiscard]] net::awaitable<result<void>> fetch_children(const snapshot_query& which, snapshot& into);
    [[nodiscard]] net::awaitable<result<void>> fetch_asks(std::string session, snapshot& into);
    [[nodiscard]] net::awaitable<result<void>> fetch(const snapshot_query& which, snapshot& into);

    opencode::client calls_;
    const dialect* spoken_;
};

} // namespace holdfast::opencode::v2
