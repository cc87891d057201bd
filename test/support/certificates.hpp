// Certificates that a test makes for itself, as PEM files in a folder that goes with the object.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

namespace holdfast::test {

/// What stands in a certificate.
struct certificate_request {
    std::string name = "server.test";            ///< its subject, and what it is called below
    std::string alternative = "DNS:server.test"; ///< "DNS:name", "IP:address", with commas; empty: none
    std::chrono::hours valid_from{-1};           ///< from now
    std::chrono::hours valid_until{24};          ///< from now
};

/// One authority and what it has signed.
class certificate_authority {
public:
    explicit certificate_authority(const std::string& name = "Test CA");
    ~certificate_authority();
    certificate_authority(const certificate_authority&) = delete;
    certificate_authority& operator=(const certificate_authority&) = delete;

    /// The authority's own certificate.
    [[nodiscard]] std::string file() const;

    struct files {
        std::string certificate;
        std::string key;
    };
    [[nodiscard]] files sign(const certificate_request& what);

private:
    struct insides;
    std::unique_ptr<insides> insides_;
};

} // namespace holdfast::test
