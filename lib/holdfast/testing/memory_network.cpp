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
        wire(clock& time, net::any_io_executor executor, simulated_server& s, endpoint w)
            : server(&s), where(std::move(w)), ready(time, std::move(executor)) {}

        simulated_server* server;
        endpoint where;
        timer ready;
        std::deque<segment> segments;
        bool closed = false;
        std::optional<harm> coming;
        bool silent = false; ///< harmed: nothing more arrives
        bool deaf = false;
    };

    state(virtual_clock& t, net::any_io_executor e) : time(t), executor(std::move(e)) {}

    virtual_clock& time;
    net::any_io_executor executor;
    std::map<endpoint, simulated_server*> servers;
    std::map<endpoint, behaviour> behaviours;
    std::map<endpoint, behaviour> outages;
    std::map<endpoint, std::deque<harm>> harms;
    std::map<endpoint, std::size_t> attempts;
    std::function<void(const endpoint&, connect_step)> told;
    std::function<bool(operation)> breaks;
    std::map<wire_id, std::shared_ptr<wire>> wires;
    wire_id next = 1;
    duration latency{};
    std::size_t slice = 0;

    void deliver(wire_id id, segment::kind what, std::string_view bytes) {
        const auto found = wires.find(id);
        if (found == wires.end() || found->second->silent)
            return;
        auto& line = *found->second;
        if (!line.coming || what == segment::kind::rst)
            return put(line, what, bytes);
        const auto left = bytes.substr(0, line.coming->after);
        line.coming->after -= left.size();
        if (!left.empty())
            put(line, what, left);
        if (line.coming->after == 0)
            strike(line);
        else if (what == segment::kind::fin)
            put(line, what, {});
    }

    void put(wire& line, segment::kind what, std::string_view bytes) {
        if (what == segment::kind::rst)
            line.segments.clear();
        line.segments.push_back({what, later(time.now(), latency), std::string(bytes)});
        line.ready.cancel();
    }

    void harm_wire(wire& line, harm what) {
        line.coming = what;
        line.deaf = what.what == harm::kind::deaf;
        if (what.after == 0)
            strike(line);
    }

    void strike(wire& line) {
        if (std::exchange(line.silent, true))
            return;
        const auto how = line.coming->what;
        if (how == harm::kind::fin)
            put(line, segment::kind::fin, {});
        if (how == harm::kind::rst)
            put(line, segment::kind::rst, {});
    }

    void tell(const endpoint& where, connect_step step) const {
        if (told)
            told(where, step);
    }
    bool breaks_now(operation what) const { return breaks && breaks(what); }
};

namespace {

class memory_connection final : public connection {
public:
    memory_connection(std::shared_ptr<memory_network::state> world, wire_id id)
        : world_(std::move(world)), id_(id), wire_(world_->wires.at(id)) {}

    ~memory_connection() override { close(); }

    net::awaitable<result<std::size_t>> read_some(net::mutable_buffer into) override {
        const auto line = wire_;
        if (world_->breaks_now(memory_network::operation::read))
            co_return retry::make_failure(errc::cut, "broken on purpose", true);
        for (;;) {
            if (line->closed)
                co_return retry::make_failure(errc::closed, {}, true);
            const auto now = world_->time.now();
            if (!line->segments.empty() && line->segments.front().arrives <= now)
                co_return take(into);
            line->ready.expires_at(line->segments.empty() ? time_point::max()
                                                          : line->segments.front().arrives);
            co_await line->ready.async_wait(as_result);
            co_await throw_if_cancelled();
        }
    }

    net::awaitable<result<void>> write(std::string_view bytes) override {
        if (wire_->closed)
            co_return retry::make_failure(errc::closed, {}, true);
        if (world_->breaks_now(memory_network::operation::write))
            co_return retry::make_failure(errc::cut, "broken on purpose", true);
        if (!wire_->deaf)
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

void memory_network::outage(endpoint where, std::optional<behaviour> how) {
    if (how)
        state_->outages[std::move(where)] = *how;
    else
        state_->outages.erase(where);
}

void memory_network::harm_next(endpoint where, harm what) {
    state_->harms[std::move(where)].push_back(what);
}

void memory_network::harm_open(const endpoint& where, harm what) {
    for (const auto& [id, line] : std::map(state_->wires))
        if (line->where == where && !line->silent)
            state_->harm_wire(*line, what);
}

void memory_network::forget_harm() {
    state_->harms.clear();
    for (const auto& [id, line] : state_->wires)
        if (!line->silent)
            line->coming.reset();
}

void memory_network::watch_connects(std::function<void(const endpoint&, connect_step)> told) {
    state_->told = std::move(told);
}

void memory_network::break_if(std::function<bool(operation)> ask) {
    state_->breaks = std::move(ask);
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

std::size_t memory_network::unread() const noexcept {
    std::size_t all = 0;
    for (const auto& [id, line] : state_->wires)
        for (const auto& each : line->segments) {
            if (each.arrives > state_->time.now())
                break; // what is behind it waits for it
            all += each.bytes.size();
        }
    return all;
}

net::awaitable<result<std::unique_ptr<connection>>> memory_network::connect(endpoint where) {
    const auto world = state_;
    ++world->attempts[where];
    // Tells how it ended, also when it is cancelled under way.
    struct report {
        const state& world;
        const endpoint& where;
        connect_step end = connect_step::abandoned;
        ~report() { world.tell(where, end); }
    } told{*world, where};
    world->tell(where, connect_step::begun);
    if (world->breaks_now(operation::connect)) {
        told.end = connect_step::failed;
        co_return retry::make_failure(errc::refused, to_string(where));
    }
    timer travel(world->time, world->executor);
    travel.expires_at(later(world->time.now(), world->latency));
    co_await travel.async_wait(as_result);
    co_await throw_if_cancelled();
    const auto server = world->servers.find(where);
    auto how = server == world->servers.end() ? behaviour::refuse : behaviour::accept;
    if (const auto own = world->behaviours.find(where); own != world->behaviours.end())
        how = own->second;
    if (const auto outside = world->outages.find(where); outside != world->outages.end())
        how = outside->second;
    if (how == behaviour::hang) {
        travel.expires_at(time_point::max());
        co_await travel.async_wait(as_result);
        co_await throw_if_cancelled();
    }
    if (how != behaviour::accept || server == world->servers.end()) {
        told.end = connect_step::failed;
        const auto code = how == behaviour::unreachable ? errc::unreachable : errc::refused;
        co_return retry::make_failure(code, to_string(where));
    }
    const wire_id id = world->next++;
    const auto line = std::make_shared<state::wire>(world->time, world->executor, *server->second, where);
    world->wires.emplace(id, line);
    auto made = std::make_unique<memory_connection>(world, id);
    auto& harms = world->harms[where];
    if (!harms.empty()) {
        world->harm_wire(*line, harms.front());
        harms.pop_front();
    }
    told.end = connect_step::connected;
    server->second->accepted(id);
    co_return std::unique_ptr<connection>(std::move(made));
}

} // namespace holdfast::testing
