#include <holdfast/opencode/protocol/v2/server.hpp>

#include <holdfast/opencode/event.hpp>
#include <holdfast/opencode/json_slices.hpp>
#include <holdfast/opencode/protocol/v2/client.hpp>
#include <holdfast/opencode/protocol/v2/session.hpp>
#include <holdfast/opencode/protocol/v2/wire.hpp>

#include <utility>

namespace holdfast::opencode::v2 {
namespace {

using detail::directory_stream;
using detail::prepared_event;

constexpr std::size_t longest_creation = 64u << 10; // bytes of the event; of a longer one snapshots tell

class server final : public detail::server_protocol {
public:
    explicit server(const dialect& spoken) : spoken_(spoken) {}

    [[nodiscard]] std::string_view name() const noexcept override { return spoken_.name; }
    [[nodiscard]] bool has_one_stream() const noexcept override { return true; }
    [[nodiscard]] bool has_directory_views() const noexcept override { return false; }
    [[nodiscard]] bool is_to_be_checked() const noexcept override { return true; }

    [[nodiscard]] http::url event_url(const opencode::client& at, bool) const override {
        return at.base().with_path(event_route);
    }

    [[nodiscard]] stream::routing route(directory_stream& of, std::string_view data) const override;

    [[nodiscard]] net::awaitable<prepared_event> prepare(runtime world, std::string data) const override {
        const auto document = co_await parse_json_in_slices(world, std::move(data));
        auto parsed = document ? read_event((*document)->root()) : result<event>(document.error());
        prepared_event made;
        made.event = std::make_shared<result<event>>(std::move(parsed));
        co_return made;
    }

    [[nodiscard]] net::awaitable<result<session_info>>
    create_session(opencode::client at, session_request what, std::string directory) const override {
        client calls(std::move(at), spoken_);
        new_session wanted;
        wanted.title = std::move(what.title);
        wanted.agent = std::move(what.agent);
        wanted.parent = std::move(what.parent_id);
        wanted.directory = std::move(directory);
        auto made = co_await calls.create_session(std::move(wanted));
        if (!made)
            co_return made.error();
        co_return std::move(made->info);
    }
    [[nodiscard]] net::awaitable<result<session_info>> get_session(opencode::client at,
                                                                   std::string id) const override {
        client calls(std::move(at), spoken_);
        auto seen = co_await calls.get_session(std::move(id));
        if (!seen)
            co_return seen.error();
        co_return std::move(seen->info);
    }
    [[nodiscard]] net::awaitable<result<session_list>> list_sessions(opencode::client at,
                                                                     session_query which) const override {
        client calls(std::move(at), spoken_);
        co_return co_await calls.list_sessions(std::move(which));
    }
    [[nodiscard]] std::shared_ptr<detail::session_protocol> hold(detail::session_host& host) const override {
        return std::make_shared<session>(host, spoken_);
    }

private:
    const dialect& spoken_;
};

// By the session alone: many events name no location.
stream::routing server::route(directory_stream& of, std::string_view data) const {
    using target = stream::routing::target;
    const auto head = peek_2(data);
    if (head.type == wire::type::server_connected)
        return {target::acknowledge, {}};
    if (head.session_id.empty())
        return {target::observer, {}};
    if (head.type == wire::type::created && data.size() <= longest_creation) {
        const auto event = parse_event(data);
        const auto* made = event ? std::get_if<session_created>(&event->what) : nullptr;
        if (made && !made->parent.empty())
            of.learn_below(head.session_id, made->parent);
    }
    stream::routing to{target::subscriber, of.root_of(head.session_id)};
    if (head.type == wire::type::deleted)
        of.roots.erase(head.session_id);
    return to;
}

} // namespace

std::shared_ptr<const detail::server_protocol> make_server_protocol(const dialect& spoken) {
    return std::make_shared<server>(spoken);
}

} // namespace holdfast::opencode::v2
