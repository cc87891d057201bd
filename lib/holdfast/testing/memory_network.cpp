#include <holdfast/testing/memory_network.hpp>

#include <holdfast/runtime/cancellation.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <cstring>
#include <deque>
#include <utility>

namespace holdfast::testing {

namespace {

constexpr auto as_result = net::as_tuple(net::use_awaitable);

struct segment {
    enum class kind { bytes, fin, rst };
    kind what = kind::bytes;
    time_point arrives;
    std::string bytes;
};

} // namespace

struct memory_network::state {
    // One connection; `ready` wakes its reader.
    struct wire {
        wire(clock& time, net::any_io_executor executor, simulated_server& s) : server(&s), ready(time, std::move(executor)) {}

        simulated_server* server;
        timer ready;
        std::deque<segment> segments;
        bool closed = false;
    };

    state(virtual_clock& t, net::any_io_executor e) : time(t), executor(std::move(e)) {}

    virtual_clock& time;
    net::any_io_executor executor;
    std::map<endpoint, simulated_server*> servers;
    std::map<endpoint, behaviour> behaviours;
    std::map<endpoint, std::size_t> attempts;
    std::map<wire_id, std::shared_ptr<wire>> wires;
    wire_id next = 1;
    duration latency{};
    std::size_t slice = 0;

    void deliver(wire_id id, segment::kind what, std::string_view bytes) {
        const auto found = wires.find(id);
        if (found == wires.end())
            return;
        auto& line = *found->second;
        if (what == segment::kind::rst)
            line.segments.clear();
        line.segments.push_back({what, later(time.now(), latency), std::string(bytes)});
        line.ready.cancel();
    }
};

namespace {

class memory_connection final : public connection {
public:
    memory_connection(std::shared_ptr<memory_network::state> world, wire_id id)
        : world_(std::move(world)), id_(id), wire_(world_->wires.at(id)) {}

    ~memory_connection() override { close(); }

    net::awaitable<result<std::size_t>> read_some(net::mutable_buffer into) override {
        const auto line = wire_;
        for (;;) {
            if (line->closed)
                co_return retry::make_failure(errc::closed, {}, true);
            const auto now = world_->time.now();
            if (!line->segments.empty() && line->segments.front().arrives <= now)
                co_return take(into);
            line->ready.expires_at(line->segments.empty() ? time_point::max() : line->segments.front().arrives);
            co_await line->ready.async_wait(as_result);
            co_await throw_if_cancelled();
        }
    }

    net::awaitable<result<void>> write(std::string_view bytes) override {
        if (wire_->closed)
            co_return retry::make_failure(errc::closed, {}, true);
        wire_->server->received(id_, bytes);
        co_return result<void>();
    }

    void close() noexcept override {
        if (std::exchange(wire_->closed, true))
            return;
        wire_->ready.cancel();
        if (world_->wires.erase(id_) != 0)
            wire_->server->closed(id_);
    }

private:
    result<std::size_t> take(net::mutable_buffer into) {
        auto& first = wire_->segments.front();
        if (first.what == segment::kind::fin)
            return std::size_t(0);
        if (first.what == segment::kind::rst)
            return retry::make_failure(errc::cut, "reset by peer", true);
        std::size_t size = std::min(first.bytes.size(), into.size());
        if (world_->slice != 0)
            size = std::min(size, world_->slice);
        std::memcpy(into.data(), first.bytes.data(), size);
        first.bytes.erase(0, size);
        if (first.bytes.empty())
            wire_->segments.pop_front();
        return size;
    }

    std::shared_ptr<memory_network::state> world_;
    wire_id id_;
    std::shared_ptr<memory_network::state::wire> wire_;
};

} // namespace

memory_network::memory_network(virtual_clock& time, net::any_io_executor executor)
    : state_(std::make_shared<state>(time, std::move(executor))) {}

memory_network::~memory_network() = default;

void memory_network::listen(endpoint where, simulated_server& server) {
    state_->behaviours.erase(where);
    state_->servers[std::move(where)] = &server;
}

void memory_network::stop_listening(const endpoint& where) {
    state_->servers.erase(where);
}

void memory_network::behave(endpoint where, behaviour how) {
    state_->behaviours[std::move(where)] = how;
}

void memory_network::latency(duration d) noexcept {
    state_->latency = d;
}

void memory_network::slice(std::size_t bytes) noexcept {
    state_->slice = bytes;
}

void memory_network::send(wire_id wire, std::string_view bytes) {
    if (!bytes.empty())
        state_->deliver(wire, segment::kind::bytes, bytes);
}

void memory_network::finish(wire_id wire) {
    state_->deliver(wire, segment::kind::fin, {});
}

void memory_network::reset(wire_id wire) {
    state_->deliver(wire, segment::kind::rst, {});
}

std::size_t memory_network::attempts(const endpoint& where) const {
    const auto found = state_->attempts.find(where);
    return found == state_->attempts.end() ? 0 : found->second;
}

std::size_t memory_network::open_connections() const noexcept {
    return state_->wires.size();
}

net::awaitable<result<std::unique_ptr<connection>>> memory_network::connect(endpoint where) {
    const auto world = state_;
    ++world->attempts[where];
    timer travel(world->time, world->executor);
    travel.expires_at(later(world->time.now(), world->latency));
    co_await travel.async_wait(as_result);
    co_await throw_if_cancelled();
    const auto server = world->servers.find(where);
    auto how = server == world->servers.end() ? behaviour::refuse : behaviour::accept;
    if (const auto told = world->behaviours.find(where); told != world->behaviours.end())
        how = told->second;
    if (how == behaviour::hang) {
        travel.expires_at(time_point::max());
        co_await travel.async_wait(as_result);
        co_await throw_if_cancelled();
    }
    if (how == behaviour::unreachable)
        co_return retry::make_failure(errc::unreachable, to_string(where));
    if (how == behaviour::refuse || server == world->servers.end())
        co_return retry::make_failure(errc::refused, to_string(where));
    const wire_id id = world->next++;
    world->wires.emplace(id, std::make_shared<state::wire>(world->time, world->executor, *server->second));
    auto made = std::make_unique<memory_connection>(world, id);
    server->second->accepted(id);
    co_return std::unique_ptr<connection>(std::move(made));
}

} // namespace holdfast::testing
