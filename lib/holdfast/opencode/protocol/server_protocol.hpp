// What differs between protocols where a server is held: its streams, and how its sessions are found. Who
// holds the server knows this alone, and no version. Not for users.
#pragma once

#include <holdfast/opencode/client.hpp>
#include <holdfast/opencode/directory_stream.hpp>
#include <holdfast/opencode/protocol/session_protocol.hpp>
#include <holdfast/stream/event_hub.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::opencode::detail {

/// A parsed event. All sessions that receive it share it.
struct prepared_event {
    std::shared_ptr<void> event;
    std::optional<api_error> stray; ///< an error that names no session
};

/// Stateless: shared by all that is held of one server.
class server_protocol {
public:
    virtual ~server_protocol() = default;

    [[nodiscard]] virtual std::string_view name() const noexcept = 0;
    /// One stream tells of all directories, whatever is configured.
    [[nodiscard]] virtual bool has_one_stream() const noexcept = 0;
    /// A look at a directory tells something of all sessions there.
    [[nodiscard]] virtual bool has_directory_views() const noexcept = 0;
    /// Another server, of another protocol, may answer the same calls: after an outage it is asked which it
    /// is.
    [[nodiscard]] virtual bool is_to_be_checked() const noexcept = 0;

    /// `of_all`: of all directories.
    [[nodiscard]] virtual http::url event_url(const client& server, bool of_all) const = 0;
    [[nodiscard]] virtual stream::routing route(directory_stream& of, std::string_view data) const = 0;
    [[nodiscard]] virtual net::awaitable<prepared_event> prepare(runtime world, std::string data) const = 0;

    [[nodiscard]] virtual net::awaitable<result<session_info>>
    create_session(client server, session_request what, std::string directory) const = 0;
    [[nodiscard]] virtual net::awaitable<result<session_info>> get_session(client server,
                                                                           std::string id) const = 0;
    [[nodiscard]] virtual net::awaitable<result<session_list>> list_sessions(client server,
                                                                             session_query which) const = 0;
    [[nodiscard]] virtual std::shared_ptr<session_protocol> hold(session_host& host) const = 0;
};

} // namespace holdfast::opencode::detail
