// An in-memory network in virtual time: byte streams between the library and simulated servers, with faults.
#pragma once

#include <holdfast/runtime/network.hpp>
#include <holdfast/testing/virtual_clock.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
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
        refuse, ///< the default where nobody listens
        unreachable,
        hang, ///< neither accepts nor refuses
    };

    memory_network(virtual_clock& time, net::any_io_executor executor);
    ~memory_network() override;

    void listen(endpoint where, simulated_server& server);
    void stop_listening(const endpoint& where);
    void behave(endpoint where, behaviour how);
    /// What befalls the endpoint from outside (a cable, a firewall): goes before whatever listens there,
    /// until it is taken back by nullopt.
    void outage(endpoint where, std::optional<behaviour> how);

    /// How a connection is broken under way.
    struct harm {
        enum class kind {
            fin,   ///< the peer seems to have ended it; what it sends afterwards is lost
            rst,   ///< reset; what was sent and not read is lost
            stall, ///< nothing more arrives, and it stays open
            deaf,  ///< from the beginning on nothing reaches the server
        };
        harm::kind what = kind::fin;
        std::size_t after = 0; ///< so many bytes arrive at the library before it strikes
    };
    /// Befalls the next connection made to `where`; of several, each connection takes one.
    void harm_next(endpoint where, harm what);
    /// Befalls every open connection to `where` now; the offset counts from here.
    void harm_open(const endpoint& where, harm what);
    /// Forgets what has not struck yet.
    void forget_harm();

    /// How long a connect, and each segment, takes. Zero at first.
    void latency(duration d) noexcept;
    /// No read returns more than so many bytes; 0: no limit.
    void slice(std::size_t bytes) noexcept;

    // What a simulated server does with a connection.
    void send(wire_id wire, std::string_view bytes);
    void finish(wire_id wire); ///< FIN, after what was sent
    void reset(wire_id wire);  ///< RST: what was sent and not read is lost

    // For tests that watch, or that break what the library does next.

    enum class connect_step { begun, connected, failed, abandoned };
    /// Told of each step of every connect.
    void watch_connects(std::function<void(const endpoint&, connect_step)> told);

    enum class operation { connect, read, write };
    /// Asked before each operation of the library. True: it fails, a connect as refused, others as cut.
    void break_if(std::function<bool(operation)> ask);

    /// Connects tried so far, also refused ones.
    [[nodiscard]] std::size_t attempts(const endpoint& where) const;
    /// Connections that the library holds open.
    [[nodiscard]] std::size_t open_connections() const noexcept;
    /// Bytes that have arrived and that the library has not read.
    [[nodiscard]] std::size_t unread() const noexcept;

    [[nodiscard]] net::awaitable<result<std::unique_ptr<connection>>> connect(endpoint where) override;

    struct state;

private:
    std::shared_ptr<state> state_;
};

} // namespace holdfast::testing
