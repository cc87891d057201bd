// TLS as a client, by OpenSSL over memory BIOs: it does no I/O itself, but reads and writes through any
// `connection`.
#pragma once

#include <holdfast/runtime/network.hpp>

#include <memory>
#include <string>

namespace holdfast::http {

/// Whom to trust, and as whom to show oneself. TLS 1.2 or later, and the server's certificate verified: its
/// chain, its dates, and the host among its alternative names (RFC 6125: a DNS name or an IP address, each
/// looked for among its own kind; a wildcard stands for one whole label). No revocation lists are asked for.
/// What can be set is below.
struct tls_options {
    tls_options() = default; // no aggregate, see request

    /// PEM; trusted instead of the system's certificates. Empty: those that OpenSSL was built to use, or that
    /// its variables SSL_CERT_FILE and SSL_CERT_DIR name.
    std::string ca_file;
    std::string certificate_file; ///< PEM, with its chain: shown to a server that asks for one. Empty: none
    std::string key_file;         ///< PEM; the certificate's. Empty: it is in certificate_file
    /// Talks to anybody who answers: what is sent and received can be read and changed on its way.
    bool dangerously_accept_any_certificate = false;
};

/// The options, read and checked. Immutable: any number of connections, on any threads, may share it; the
/// files are not read again. Make one and keep it: the system's certificates take some 20 ms to read.
class tls_context;

/// Reads the files, blocking. Error: tls_failed, naming the file and what is wrong with it. A key behind a
/// password is an error too: nobody is asked for one.
[[nodiscard]] result<std::shared_ptr<const tls_context>> make_tls_context(const tls_options& options = {});

/// Makes `wire` a TLS connection with `host`, a name or an IP literal, which the server is told (SNI, names
/// only) and must prove to be. `context` must not be null. No deadline of its own: http::deadlines::tls is
/// the exchange's.
///
/// Errors: tls_failed (what failed, in OpenSSL's words), cut (the peer left during the handshake), those of
/// `wire`. A server that does not like our certificate says so during the handshake, or, with TLS 1.3, at the
/// first read: tls_failed too. Cancellation (terminal): as `wire`; the connection is closed.
///
/// Of the connection then: an orderly end is the peer's close_notify; an end without one is `errc::cut`, as
/// somebody may have cut the rest off. So a body that lasts until the connection ends is whole only with it,
/// and one with a length or chunks needs none. close() closes at once: it sends no close_notify and waits for
/// none, since HTTP tells the end itself.
[[nodiscard]] net::awaitable<result<std::unique_ptr<connection>>>
start_tls(std::unique_ptr<connection> wire, std::shared_ptr<const tls_context> context, std::string host);

} // namespace holdfast::http
