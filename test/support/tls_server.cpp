#include "support/tls_server.hpp"

#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace holdfast::test {

class tls_server::machine {
public:
    explicit machine(options what)
        : what_(std::move(what)), context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {
        std::signal(SIGPIPE, SIG_IGN); // OpenSSL writes without MSG_NOSIGNAL
        check(SSL_CTX_use_certificate_chain_file(context_.get(), what_.shown.certificate.c_str()) == 1,
              "certificate");
        check(SSL_CTX_use_PrivateKey_file(context_.get(), what_.shown.key.c_str(), SSL_FILETYPE_PEM) == 1,
              "key");
        if (!what_.wants_clients_of.empty()) {
            SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
            check(SSL_CTX_load_verify_file(context_.get(), what_.wants_clients_of.c_str()) == 1, "CA file");
        }
        listen();
        thread_ = std::thread([this] { serve(); });
    }

    ~machine() {
        ::shutdown(listener_, SHUT_RDWR); // ends accept()
        thread_.join();
        ::close(listener_);
    }

    unsigned short port = 0;

    std::vector<std::string> requests() {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

private:
    static void check(bool good, const char* what) {
        if (!good)
            throw std::runtime_error(std::string("the TLS server cannot start: ") + what);
    }

    void listen() {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        check(::bind(listener_, reinterpret_cast<sockaddr*>(&at), size) == 0 && ::listen(listener_, 16) == 0,
              "listen");
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
        port = ntohs(at.sin_port);
    }

    void serve() {
        for (int client; (client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
            const timeval patience{5, 0}; // no client keeps the others waiting for ever
            ::setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            talk(client);
            ::close(client);
        }
    }

    void talk(int client) {
        const std::unique_ptr<SSL, decltype(&SSL_free)> session(SSL_new(context_.get()), SSL_free);
        SSL_set_fd(session.get(), client);
        if (SSL_accept(session.get()) != 1)
            return;
        std::string head;
        char bytes[4096];
        for (int size; head.find("\r\n\r\n") == std::string::npos &&
                       (size = SSL_read(session.get(), bytes, sizeof bytes)) > 0;)
            head.append(bytes, static_cast<std::size_t>(size));
        if (head.empty())
            return;
        {
            const std::lock_guard lock(mutex_);
            requests_.push_back(head);
        }
        SSL_write(session.get(), what_.answer.data(), static_cast<int>(what_.answer.size()));
        if (what_.ends_orderly)
            SSL_shutdown(session.get());
    }

    const options what_;
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
    int listener_ = -1;
    std::thread thread_;
    std::mutex mutex_;
    std::vector<std::string> requests_;
};

tls_server::tls_server(options what) : machine_(std::make_unique<machine>(std::move(what))) {}
tls_server::~tls_server() = default;

std::string tls_server::url(const std::string& path) const {
    return "https://127.0.0.1:" + std::to_string(machine_->port) + path;
}

std::vector<std::string> tls_server::requests() const {
    return machine_->requests();
}

} // namespace holdfast::test
