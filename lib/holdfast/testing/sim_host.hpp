// A simulated OpenCode server on the in-memory network, in virtual time.
#pragma once

#include <holdfast/testing/memory_network.hpp>
#include <holdfast/testing/opencode_sim.hpp>
#include <holdfast/testing/world.hpp>

#include <map>
#include <memory>

namespace holdfast::testing {

/// Lets `opencode_sim` be reached at an endpoint of a world. Control the model through model(), then call
/// pump(). Thread safety: as the world's. Must not outlive the world.
class sim_host final : public simulated_server {
public:
    sim_host(world& where, endpoint at, opencode_sim::options options = {});
    ~sim_host() override;

    [[nodiscard]] opencode_sim& model() noexcept { return model_; }
    [[nodiscard]] const endpoint& at() const noexcept { return at_; }

    /// Hands on what the model has to say, and sees to its next wake-up. To be called after the model was
    /// told something through model().
    void pump();

    /// Listens at another endpoint from now on: the process moved.
    void move_to(endpoint at);

    /// Ends all waiting: the server says nothing more.
    void shut_down();

    // simulated_server
    void accepted(wire_id wire) override;
    void received(wire_id wire, std::string_view bytes) override;
    void closed(wire_id wire) override;

private:
    struct waker;

    world& world_;
    endpoint at_;
    opencode_sim model_;
    std::map<wire_id, opencode_sim::connection_id> connections_;
    std::map<opencode_sim::connection_id, wire_id> wires_;
    std::shared_ptr<waker> waker_;
};

} // namespace holdfast::testing
