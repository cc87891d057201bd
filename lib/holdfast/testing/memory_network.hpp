// An in-memory network in virtual time: byte streams between the library and simulated servers, with faults.
#pragma once

#include <holdfast/runtime/network.hpp>
#include <holdfast/testing/virtual_clock.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace holdfast::testing {

/// Names one connection at a simulated server.
using wire_id = std::uint64_t;

/// What listens at an endpoint of the memory network. The calls come inside the library's own: answer through
/// memory_network, never by calling back.
class simulated_server {
public:
    virtual ~simulated_server() = default;
    virtual void accepted(wire_id wire) = 0;
    virtual void received(wire_id wire, std::string_view bytes) = 0;
    virtual void closed(wire_id wire) = 0; ///< the library closed it
};

/// Thread safety: none; confined to the executor it was made with.
class memory_network final : public network {
public:
    /// How an endpoint answers to a connect.
    enum class behaviour {
        accept,
        refuse,      ///< the default where nobody listens
        unreachable,
        hang,        ///< neither accepts nor refuses
    };

    memory_network(virtual_clock& time, net::any_io_executor executor);
    ~memory_network() override;

    void listen(endpoint where, simulated_server& server);
    void stop_listening(const endpoint& where);
    void behave(endpoint where, behaviour how);
    /// How long a connect, and each segment, takes. Zero at first.
    void latency(duration d) noexcept;
    /// No read returns more than so many bytes; 0: no limit.
    void slice(std::size_t bytes) noexcept;

    // What a simulated server does with a connection.
    void send(wire_id wire, std::string_view bytes);
    void finish(wire_id wire); ///< FIN, after what was sent
    void reset(wire_id wire);  ///< RST: what was sent and not read is lost

    /// Connects tried so far, also refused ones.
    [[nodiscard]] std::size_t attempts(const endpoint& where) const;
    /// Connections that the library holds open.
    [[nodiscard]] std::size_t open_connections() const noexcept;

    [[nodiscard]] net::awaitable<result<std::unique_ptr<connection>>> connect(endpoint where) override;

    struct state;

private:
    std::shared_ptr<state> state_;
};

} // namespace holdfast::testing
