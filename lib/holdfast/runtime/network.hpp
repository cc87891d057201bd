// Connections, real or simulated, behind one interface.
#pragma once

#include <holdfast/endpoint.hpp>
#include <holdfast/retry/failure.hpp>
#include <holdfast/runtime/clock.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/address.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast {

/// One established byte stream.
///
/// One read and one write at a time. Confined to the executor of the coroutine that uses it.
/// Cancellation (terminal, by slot): surfaces as the exception operation_aborted; only close() is useful
/// then.
class connection {
public:
    virtual ~connection() = default;

    /// Reads at least one byte, or 0 at the peer's orderly end (FIN). A reset is `errc::cut`; after close() a
    /// pending read fails with `errc::closed`. Bytes that arrived are never lost to a cancellation: they are
    /// returned, and the next wait throws.
    [[nodiscard]] virtual net::awaitable<result<std::size_t>> read_some(net::mutable_buffer into) = 0;

    /// Writes all of it. `bytes` must stay valid until done.
    [[nodiscard]] virtual net::awaitable<result<void>> write(std::string_view bytes) = 0;

    /// Closes at once; pending operations end with `errc::closed`. Idempotent, callable from within the
    /// executor at any time.
    virtual void close() noexcept = 0;
};

/// Makes connections.
class network {
public:
    virtual ~network() = default;

    /// Connects to `where`. Failure classes: refused, unreachable, dns, timeout (the system's own patience
    /// with an address), local. No deadline of its own: the caller sets one around it. Cancellation
    /// (terminal) ends it at once, also while a name is being resolved.
    [[nodiscard]] virtual net::awaitable<result<std::unique_ptr<connection>>> connect(endpoint where) = 0;
};

/// Names whose addresses are told instead of being looked up; the names in lower case.
using known_hosts = std::map<std::string, std::vector<net::ip::address>>;

/// TCP, and Unix sockets where the endpoint names one, by Asio.
///
/// The addresses of a name are tried in turn (RFC 8305): in the resolver's order, but IPv6 and IPv4
/// alternating; the next one as soon as one has failed, or when the last one begun has not answered for 250
/// ms. The first to connect is taken and the others are closed, so an address that never answers costs 250 ms
/// and not the caller's deadline. When all have failed the failure is refused only if every address refused;
/// those that this machine has no way to (IPv6 where there is none) do not count beside others.
///
/// Literals, `known` names and "localhost" (127.0.0.1, then ::1) are not looked up; other names are resolved
/// on a thread of their own that is never joined, because getaddrinfo cannot be cancelled. A Unix socket that
/// is not there, or that nobody listens to, is refused. Thread safety: connect() may be called on several
/// threads at once.
[[nodiscard]] std::unique_ptr<network> make_tcp_network(known_hosts known = {});

} // namespace holdfast
