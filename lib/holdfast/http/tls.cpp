#include <holdfast/http/tls.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <boost/asio/ip/address.hpp>

#include <array>
#include <string_view>
#include <system_error>
#include <utility>

namespace holdfast::http {
namespace {

template <auto Free>
struct freed_by {
    template <class T>
    void operator()(T* object) const noexcept {
        Free(object);
    }
};
using ssl_ctx = std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>>;
using ssl = std::unique_ptr<SSL, freed_by<SSL_free>>;

/// The first error that OpenSSL has noted on this thread, in its words; empties the list.
std::string what_openssl_says() {
    const unsigned long first = ERR_get_error();
    ERR_clear_error();
    if (ERR_SYSTEM_ERROR(first))
        return std::system_category().message(ERR_GET_REASON(first));
    const char* const reason = first ? ERR_reason_error_string(first) : nullptr;
    return reason ? reason : "no reason is given";
}

failure unusable(const std::string& what, const std::string& file) {
    return retry::make_failure(errc::tls_failed, what + " " + file + ": " + what_openssl_says());
}

bool is_address(const std::string& host) {
    boost::system::error_code ec;
    net::ip::make_address(host, ec);
    return !ec;
}

} // namespace

class tls_context {
public:
    explicit tls_context(ssl_ctx made) : made_(std::move(made)) {}

    /// A session with a server of this name; null when out of memory.
    [[nodiscard]] ssl new_session(const std::string& host) const {
        ssl session(SSL_new(made_.get()));
        return session && names(session.get(), host) ? std::move(session) : nullptr;
    }

private:
    // RFC 6125: the name that was asked for, not one that was looked up. An address is no name, and is not
    // sent as one. A dot at the end is DNS's, not the name's (RFC 6066, section 3).
    static bool names(SSL* session, std::string host) {
        X509_VERIFY_PARAM* const expected = SSL_get0_param(session);
        if (host.ends_with('.'))
            host.pop_back();
        if (is_address(host))
            return X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) == 1;
        X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        return X509_VERIFY_PARAM_set1_host(expected, host.c_str(), host.size()) == 1 &&
               SSL_set_tlsext_host_name(session, host.c_str()) == 1;
    }

    ssl_ctx made_;
};

namespace {

result<void> set_trust(SSL_CTX* context, const tls_options& options) {
    SSL_CTX_set_verify(
        context, options.dangerously_accept_any_certificate ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
    if (options.ca_file.empty()) {
        if (SSL_CTX_set_default_verify_paths(context) != 1)
            return unusable("the system's certificates:", "");
    } else if (SSL_CTX_load_verify_file(context, options.ca_file.c_str()) != 1) {
        return unusable("the CA file", options.ca_file);
    }
    return {};
}

result<void> set_identity(SSL_CTX* context, const tls_options& options) {
    if (options.certificate_file.empty())
        return {};
    if (SSL_CTX_use_certificate_chain_file(context, options.certificate_file.c_str()) != 1)
        return unusable("the certificate file", options.certificate_file);
    // A library asks nobody for a password.
    SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void*) { return 0; });
    const auto& key = options.key_file.empty() ? options.certificate_file : options.key_file;
    if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1)
        return unusable("the key file", key);
    return {};
}

/// The TLS engine between two queues of bytes, and the connection beneath.
class tls_connection final : public connection {
public:
    tls_connection(std::unique_ptr<connection> wire, std::shared_ptr<const tls_context> context, ssl session)
        : wire_(std::move(wire)), context_(std::move(context)), session_(std::move(session)),
          arrived_(BIO_new(BIO_s_mem())), leaving_(BIO_new(BIO_s_mem())) {
        BIO_set_mem_eof_return(arrived_, -1); // empty is "come again", not an end
        BIO_set_mem_eof_return(leaving_, -1);
        SSL_set_bio(session_.get(), arrived_, leaving_); // which owns them from now on
        SSL_set_connect_state(session_.get());
    }

    net::awaitable<result<void>> shake_hands() {
        for (;;) {
            ERR_clear_error();
            const int answer = SSL_do_handshake(session_.get());
            const int why = SSL_get_error(session_.get(), answer);
            const auto refusal = why == SSL_ERROR_SSL ? handshake_failure() : failure();
            const auto sent = co_await flush(); // an alert, too, that says what we do not like
            if (why == SSL_ERROR_SSL)
                co_return refusal;
            if (!sent)
                co_return sent.error();
            if (answer == 1)
                co_return result<void>();
            const auto more = co_await read_wire("the peer left during the TLS handshake");
            if (!more)
                co_return more.error();
        }
    }

    net::awaitable<result<std::size_t>> read_some(net::mutable_buffer into) override {
        for (;;) {
            ERR_clear_error();
            std::size_t size = 0;
            const int answer = SSL_read_ex(session_.get(), into.data(), into.size(), &size);
            const int why = SSL_get_error(session_.get(), answer);
            if (answer == 1) {
                established_ = true;
                co_return size;
            }
            if (why == SSL_ERROR_ZERO_RETURN)
                co_return std::size_t(0);
            // TLS 1.3 tells only after the handshake that it does not like our certificate.
            if (why != SSL_ERROR_WANT_READ)
                co_return retry::make_failure(established_ ? errc::cut : errc::tls_failed,
                                              what_openssl_says(), true);
            const auto more = co_await read_wire("without TLS's close_notify");
            if (!more)
                co_return more.error();
        }
    }

    net::awaitable<result<void>> write(std::string_view bytes) override {
        ERR_clear_error();
        std::size_t size = 0;
        // Into memory it goes as a whole, or TLS is broken.
        if (!bytes.empty() && SSL_write_ex(session_.get(), bytes.data(), bytes.size(), &size) != 1)
            co_return retry::make_failure(errc::cut, what_openssl_says(), true);
        co_return co_await flush();
    }

    void close() noexcept override { wire_->close(); }

private:
    failure handshake_failure() {
        const long verified = SSL_get_verify_result(session_.get());
        const bool untrusted =
            verified != X509_V_OK && (SSL_get_verify_mode(session_.get()) & SSL_VERIFY_PEER);
        auto said = what_openssl_says();
        if (untrusted)
            said = X509_verify_cert_error_string(verified);
        return retry::make_failure(errc::tls_failed, std::move(said), true);
    }

    net::awaitable<result<void>> flush() {
        while (BIO_ctrl_pending(leaving_) > 0) {
            std::string bytes(BIO_ctrl_pending(leaving_), '\0');
            BIO_read(leaving_, bytes.data(), static_cast<int>(bytes.size()));
            const auto sent = co_await wire_->write(bytes);
            if (!sent)
                co_return sent.error();
        }
        co_return result<void>();
    }

    net::awaitable<result<void>> read_wire(const char* what_an_end_means) {
        const auto got = co_await wire_->read_some(net::buffer(buffer_));
        if (!got)
            co_return got.error();
        if (*got == 0)
            co_return retry::make_failure(errc::cut, what_an_end_means, true);
        BIO_write(arrived_, buffer_.data(), static_cast<int>(*got));
        co_return result<void>();
    }

    std::unique_ptr<connection> wire_;
    std::shared_ptr<const tls_context> context_;
    ssl session_;
    BIO* arrived_; // owned by the session
    BIO* leaving_;
    bool established_ = false;                 ///< the server has sent data
    std::array<char, 16 * 1024 + 512> buffer_; // a whole record
};

} // namespace

result<std::shared_ptr<const tls_context>> make_tls_context(const tls_options& options) {
    ERR_clear_error();
    ssl_ctx context(SSL_CTX_new(TLS_client_method()));
    if (!context)
        return retry::make_failure(errc::tls_failed, what_openssl_says());
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    // Without it nothing that is read asks for anything to be sent at once (RFC 8446 4.6.3: new keys can
    // wait).
    SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
    static constexpr unsigned char http_1_1[] = "\x08http/1.1";
    SSL_CTX_set_alpn_protos(context.get(), http_1_1, sizeof http_1_1 - 1);
    if (const auto trusted = set_trust(context.get(), options); !trusted)
        return trusted.error();
    if (const auto named = set_identity(context.get(), options); !named)
        return named.error();
    return std::make_shared<const tls_context>(std::move(context));
}

net::awaitable<result<std::unique_ptr<connection>>>
start_tls(std::unique_ptr<connection> wire, std::shared_ptr<const tls_context> context, std::string host) {
    auto session = context->new_session(host);
    if (!session)
        co_return retry::make_failure(errc::tls_failed,
                                      "no session for " + host + ": " + what_openssl_says());
    auto made = std::make_unique<tls_connection>(std::move(wire), std::move(context), std::move(session));
    const auto shaken = co_await made->shake_hands();
    if (!shaken)
        co_return shaken.error();
    co_return std::unique_ptr<connection>(std::move(made));
}

} // namespace holdfast::http
