#include <holdfast/testing/sim_host.hpp>

#include <utility>

namespace holdfast::testing {

// The timer of the model's next wake-up; its handler may be called after the host is gone.
struct sim_host::waker {
    waker(world& where, sim_host& h) : host(&h), next(where.time(), where.io().get_executor()) {}

    sim_host* host;
    timer next;
    time_point set_for = time_point::max();

    void wake_at(const std::shared_ptr<waker>& self, time_point when) {
        if (when == set_for)
            return;
        set_for = when;
        next.expires_at(when); // ends a pending wait
        if (when == time_point::max())
            return;
        next.async_wait([weak = std::weak_ptr(self)](boost::system::error_code ec) {
            const auto alive = weak.lock();
            if (ec || !alive || !alive->host)
                return;
            alive->set_for = time_point::max();
            alive->host->pump();
        });
    }
};

sim_host::sim_host(world& where, endpoint at, opencode_sim::options options)
    : world_(where), at_(std::move(at)), model_(std::move(options)),
      waker_(std::make_shared<waker>(where, *this)) {
    world_.net().listen(at_, *this);
}

sim_host::~sim_host() {
    waker_->host = nullptr;
    world_.net().stop_listening(at_);
}

void sim_host::pump() {
    model_.advance(world_.time().now());
    for (const auto& out : model_.take_output()) {
        const auto found = wires_.find(out.id);
        if (found == wires_.end())
            continue;
        const auto wire = found->second;
        world_.net().send(wire, out.bytes);
        if (out.reset)
            world_.net().reset(wire);
        else if (out.close)
            world_.net().finish(wire);
        if (out.reset || out.close) {
            connections_.erase(wire);
            wires_.erase(found);
        }
    }
    using behaviour = memory_network::behaviour;
    world_.net().behave(at_, model_.listening() ? behaviour::accept : behaviour::refuse);
    waker_->wake_at(waker_, model_.next_wakeup().value_or(time_point::max()));
}

void sim_host::move_to(endpoint at) {
    world_.net().stop_listening(at_);
    world_.net().behave(at_, memory_network::behaviour::refuse);
    at_ = std::move(at);
    world_.net().listen(at_, *this);
}

void sim_host::shut_down() {
    waker_->wake_at(waker_, time_point::max());
}

void sim_host::accepted(wire_id wire) {
    const auto id = model_.accept(world_.time().now());
    connections_[wire] = id;
    wires_[id] = wire;
    pump();
}

void sim_host::received(wire_id wire, std::string_view bytes) {
    const auto found = connections_.find(wire);
    if (found == connections_.end())
        return;
    model_.receive(found->second, bytes, world_.time().now());
    pump();
}

void sim_host::closed(wire_id wire) {
    const auto found = connections_.find(wire);
    if (found == connections_.end())
        return;
    const auto id = found->second;
    wires_.erase(id);
    connections_.erase(found);
    model_.closed(id, world_.time().now());
    pump();
}

} // namespace holdfast::testing
