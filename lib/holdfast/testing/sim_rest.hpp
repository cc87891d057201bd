// The simulated server's REST routes: a request to a response, by way of the engine. Not for users.
#pragma once

#include <holdfast/testing/sim_engine.hpp>
#include <holdfast/testing/sim_http.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::testing::detail {

struct rest_response {
    unsigned status = 200;
    std::string content_type = "application/json";
    std::string body;
    http_headers headers;
};

[[nodiscard]] rest_response rest_true();
/// What a proxy or an ailing server answers in the server's place.
[[nodiscard]] rest_response rest_fault(unsigned status);
/// What a proxy answers that wants something of its user first.
[[nodiscard]] rest_response rest_web_page();

/// Whether it carries them, as Basic or in `auth_token`; without a password everybody does.
[[nodiscard]] bool carries_credentials(const http_request& request, std::string_view user,
                                       std::string_view password);

class rest {
public:
    using reply = std::function<void(const rest_response&)>;

    rest(const opencode_sim::options& settings, engine& e) : settings_(settings), engine_(e) {}

    /// A 401 when the request does not carry the password that is set.
    [[nodiscard]] std::optional<rest_response> check_credentials(const http_request& request) const;
    /// The instance directory that a request is about, normalised.
    [[nodiscard]] std::string directory_of(const http_request& request) const;
    /// Every route but the event streams and the disposals. `done` is called once, now or later.
    void handle(const http_request& request, reply done);

private:
    struct call;

    void session_routes(const call& c);
    void one_session(const call& c, session& s);
    void message_list(const call& c, session& s);
    void one_message(const call& c, session& s);
    void post_command(const call& c, session& s);
    void post_prompt(const call& c, session& s, bool blocking);
    void ask_routes(const call& c, bool question);
    void reply_permission(const call& c, const std::string& id, const std::string& directory,
                          std::string_view key);
    void list_sessions(const call& c);
    [[nodiscard]] bool is_unreadable(const std::string& directory) const;

    const opencode_sim::options& settings_;
    engine& engine_;
};

} // namespace holdfast::testing::detail
