// A TLS server of real sockets: each connection is told the same, on a thread of its own.
#pragma once

#include "support/certificates.hpp"

#include <memory>
#include <string>
#include <vector>

namespace holdfast::test {

class tls_server {
public:
    struct options {
        certificate_authority::files shown;
        std::string wants_clients_of; ///< a CA file: clients without a certificate are refused
        std::string answer;           ///< what every request is told
        bool ends_orderly = true;     ///< with close_notify
    };

    explicit tls_server(options what);
    ~tls_server();
    tls_server(const tls_server&) = delete;
    tls_server& operator=(const tls_server&) = delete;

    /// "https://127.0.0.1:PORT" and the path.
    [[nodiscard]] std::string url(const std::string& path = "/") const;
    /// The heads of the requests that came through TLS.
    [[nodiscard]] std::vector<std::string> requests() const;

private:
    class machine;
    std::unique_ptr<machine> machine_;
};

} // namespace holdfast::test
