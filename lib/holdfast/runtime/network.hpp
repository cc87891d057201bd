// Connections, real or simulated, behind one interface.
#pragma once

#include <holdfast/endpoint.hpp>
#include <holdfast/retry/failure.hpp>
#include <holdfast/runtime/clock.hpp>

#include <boost/asio/buffer.hpp>

#include <cstddef>
#include <memory>
#include <string_view>

namespace holdfast {

/// One established byte stream.
///
/// One read and one write at a time. Confined to the executor of the coroutine that uses it.
/// Cancellation (terminal, by slot): surfaces as the exception operation_aborted; only close() is useful then.
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

    /// Connects to `where`, trying its addresses in turn. Failure classes: refused (only if every address
    /// refused), unreachable, dns, local. No deadline of its own: the caller sets one around it.
    /// Cancellation (terminal) ends it at once, also while a name is being resolved.
    [[nodiscard]] virtual net::awaitable<result<std::unique_ptr<connection>>> connect(endpoint where) = 0;
};

/// TCP by Asio. Literals and "localhost" are not looked up; other names are resolved on a thread of their own
/// that is never joined, because getaddrinfo cannot be cancelled.
[[nodiscard]] std::unique_ptr<network> make_tcp_network();

} // namespace holdfast
