// The REST routes of a simulated server of 2.x: a request to a response, by way of the model. Not for users.
#pragma once

#include <holdfast/testing/sim2_model.hpp>
#include <holdfast/testing/sim_http.hpp>
#include <holdfast/testing/sim_rest.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::testing::detail::sim2 {

class rest {
public:
    using reply = std::function<void(const rest_response&)>;

    rest(const opencode_sim::options& settings, model& m) : settings_(settings), model_(m) {}

    /// What is answered to anybody, whatever the password: the web application.
    [[nodiscard]] std::optional<rest_response> before_credentials(const http_request& request) const;
    /// A 401 when the request does not carry the password that is set.
    [[nodiscard]] std::optional<rest_response> check_credentials(const http_request& request) const;
    /// While the server starts: of every route.
    [[nodiscard]] rest_response starting(const http_request& request) const;
    /// Every route but the stream. `done` is called once, now or later.
    void handle(const http_request& request, reply done);

private:
    struct call;

    void routes(const call& c);
    void session_routes(const call& c);
    void one_session(const call& c, session& s);
    void changes(const call& c, session& s);
    void inbox_routes(const call& c, session& s);
    void message_routes(const call& c, session& s);
    void permission_routes(const call& c, session& s);
    void form_routes(const call& c, session& s);
    void answer_form(const call& c, const ask& asked);
    void create(const call& c);
    void list(const call& c);
    void post_prompt(const call& c, session& s, std::string_view type);
    void post_interrupt(const call& c, session& s);
    void message_list(const call& c, session& s);
    void asks_of_a_place(const call& c, bool forms);
    [[nodiscard]] json::object identity(bool healthy) const;
    [[nodiscard]] bool is_unreadable(const std::string& directory) const;

    const opencode_sim::options& settings_;
    model& model_;
};

} // namespace holdfast::testing::detail::sim2
