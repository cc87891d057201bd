#include <holdfast/opencode/protocol/v1/server.hpp>

#include <holdfast/opencode/json_slices.hpp>
#include <holdfast/opencode/protocol/v1/session.hpp>
#include <holdfast/opencode/wire.hpp>

#include <utility>

namespace holdfast::opencode::v1 {
namespace {

using detail::directory_stream;
using detail::prepared_event;

constexpr std::size_t longest_creation = 64u << 10; // bytes of the event; of a longer one snapshots tell

class server final : public detail::server_protocol {
public:
    [[nodiscard]] std::string_view name() const noexcept override { return "1.x"; }
    [[nodiscard]] bool has_one_stream() const noexcept override { return false; }
    [[nodiscard]] bool has_directory_views() const noexcept override { return true; }
    [[nodiscard]] bool is_to_be_checked() const noexcept override { return false; }

    [[nodiscard]] http::url event_url(const client& at, bool of_all) const override {
        return of_all ? at.global_event_url() : at.event_url();
    }

    [[nodiscard]] stream::routing route(directory_stream& of, std::string_view data) const override;

    [[nodiscard]] net::awaitable<prepared_event> prepare(runtime world, std::string data) const override {
        auto parsed = co_await parse_event_in_slices(world, std::move(data));
        const auto event = std::make_shared<result<opencode::event>>(std::move(parsed));
        prepared_event made;
        made.event = event;
        // One that names no session, as a plugin's: it ends no turn by itself.
        const auto* told = *event ? std::get_if<session_error>(&**event) : nullptr;
        if (told && told->session_id.empty() && told->error.name != aborted_error)
            made.stray = told->error;
        co_return made;
    }

    [[nodiscard]] net::awaitable<result<session_info>> create_session(client at, session_request what,
                                                                      std::string directory) const override {
        co_return co_await at.create_session(std::move(what), std::move(directory));
    }
    [[nodiscard]] net::awaitable<result<session_info>> get_session(client at, std::string id) const override {
        co_return co_await at.get_session(std::move(id));
    }
    [[nodiscard]] net::awaitable<result<session_list>> list_sessions(client at,
                                                                     session_query which) const override {
        co_return co_await at.list_sessions(std::move(which));
    }
    [[nodiscard]] std::shared_ptr<detail::session_protocol> hold(detail::session_host& host) const override {
        return std::make_shared<session>(host);
    }
};

stream::routing server::route(directory_stream& of, std::string_view data) const {
    using target = stream::routing::target;
    const auto head = peek(data);
    if (head.sync_twin || head.type == wire::type::server_heartbeat)
        return {target::nobody, {}};
    if (head.type == wire::type::server_connected)
        return {target::acknowledge, {}};
    if (head.session_id.empty()) {
        const bool concerns_all =
            head.type == wire::type::session_error || head.type == wire::type::instance_disposed;
        stream::routing to(concerns_all ? target::everyone : target::observer, {});
        to.part = head.body;
        return to;
    }
    if (head.type == wire::type::session_created && head.body.size() <= longest_creation) {
        const auto event = parse_event(head.body);
        const auto* created = event ? std::get_if<session_created>(&*event) : nullptr;
        if (created && !created->info.parent_id.empty())
            of.learn_below(head.session_id, created->info.parent_id);
    }
    stream::routing to{target::subscriber, of.root_of(head.session_id)};
    to.part = head.body;
    if (head.type == wire::type::session_deleted)
        of.roots.erase(head.session_id);
    return to;
}

} // namespace

std::shared_ptr<const detail::server_protocol> make_server_protocol() {
    return std::make_shared<server>();
}

} // namespace holdfast::opencode::v1
