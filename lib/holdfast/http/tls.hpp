// TLS as a client, by OpenSSL over memory BIOs: it does no I/O itself, but reads and writes through any `connection`.
#pragma once

#include <holdfast/runtime/network.hpp>

#include <memory>
#include <string>

namespace holdfast::http {

/// Whom to trust, and as whom to show oneself. TLS 1.2 or later, the server's certificate verified against its name or
/// IP address, always; what can be set is below.
struct tls_options {
    tls_options() = default; // no aggregate, see request

    std::string ca_file;          ///< PEM; trusted instead of the system's certificates. Empty: those
    std::string certificate_file; ///< PEM, with its chain: shown to a server that asks for one. Empty: none
    std::string key_file;         ///< PEM; the certificate's. Empty: it is in certificate_file
    /// Talks to anybody who answers: what is sent and received can be read and changed on its way.
    bool dangerously_accept_any_certificate = false;
};

/// The options, read and checked. Immutable: any number of connections, on any threads, may share it.
class tls_context;

/// Reads the files. Error: tls_failed, naming the file and what is wrong with it.
[[nodiscard]] result<std::shared_ptr<const tls_context>> make_tls_context(const tls_options& options = {});

/// Makes `wire` a TLS connection with `host`, a name or an IP literal. No deadline of its own.
/// Errors: tls_failed (what failed, in OpenSSL's words), cut (the peer left during the handshake), those of `wire`.
/// Of the connection then: an orderly end is the peer's close_notify; an end without one is `errc::cut`, as somebody
/// may have cut the rest off; close() closes at once and sends no close_notify, since HTTP tells the end itself.
/// Cancellation (terminal): as `wire`; the connection is closed.
[[nodiscard]] net::awaitable<result<std::unique_ptr<connection>>>
start_tls(std::unique_ptr<connection> wire, std::shared_ptr<const tls_context> context, std::string host);

} // namespace holdfast::http
