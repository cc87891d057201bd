#include "support/certificates.hpp"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <stdexcept>
#include <unistd.h>

namespace holdfast::test {
namespace {

using key_ptr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using certificate_ptr = std::unique_ptr<X509, decltype(&X509_free)>;

void check(bool good, const char* what) {
    if (!good)
        throw std::runtime_error(std::string("cannot make a certificate: ") + what);
}

key_ptr make_key() {
    key_ptr key(EVP_EC_gen("P-256"), EVP_PKEY_free);
    check(key != nullptr, "key");
    return key;
}

void set_name(X509* certificate, X509* issuer, const std::string& name) {
    auto* const subject = X509_get_subject_name(certificate);
    check(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                     reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0) == 1,
          "name");
    X509_set_issuer_name(certificate, issuer ? X509_get_subject_name(issuer) : subject);
}

void extend(X509* certificate, X509* issuer, int what, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer ? issuer : certificate, certificate, nullptr, nullptr, 0);
    auto* const extension = X509V3_EXT_conf_nid(nullptr, &context, what, value.c_str());
    check(extension != nullptr, value.c_str());
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

certificate_ptr make_certificate(const certificate_request& what, EVP_PKEY* key, X509* issuer,
                                 EVP_PKEY* signer, long serial) {
    certificate_ptr made(X509_new(), X509_free);
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), std::chrono::seconds(what.valid_from).count());
    X509_gmtime_adj(X509_getm_notAfter(made.get()), std::chrono::seconds(what.valid_until).count());
    X509_set_pubkey(made.get(), key);
    set_name(made.get(), issuer, what.name);
    extend(made.get(), issuer, NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
    if (!what.alternative.empty())
        extend(made.get(), issuer, NID_subject_alt_name, what.alternative);
    check(X509_sign(made.get(), signer, EVP_sha256()) > 0, "signature");
    return made;
}

template <class Write>
void write_file(const std::string& path, Write write) {
    std::FILE* const file = std::fopen(path.c_str(), "w");
    check(file != nullptr, path.c_str());
    const bool good = write(file) == 1;
    check(std::fclose(file) == 0 && good, path.c_str());
}

void write_certificate(const std::string& path, X509* certificate) {
    write_file(path, [&](std::FILE* file) { return PEM_write_X509(file, certificate); });
}

void write_key(const std::string& path, EVP_PKEY* key) {
    write_file(path, [&](std::FILE* file) {
        return PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    });
}

} // namespace

struct certificate_authority::insides {
    explicit insides(const std::string& name) : key(make_key()), certificate(nullptr, X509_free) {
        std::string pattern = (std::filesystem::temp_directory_path() / "holdfast-ca-XXXXXX").string();
        check(::mkdtemp(pattern.data()) != nullptr, "folder");
        folder = pattern;
        certificate_request self;
        self.name = name;
        self.alternative = {};
        certificate = make_certificate(self, key.get(), nullptr, key.get(), 1);
        write_certificate(folder / "ca.pem", certificate.get());
    }
    ~insides() {
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
    }

    std::filesystem::path folder;
    key_ptr key;
    certificate_ptr certificate;
    long signed_so_far = 1;
};

certificate_authority::certificate_authority(const std::string& name)
    : insides_(std::make_unique<insides>(name)) {}
certificate_authority::~certificate_authority() = default;

std::string certificate_authority::file() const {
    return insides_->folder / "ca.pem";
}

certificate_authority::files certificate_authority::sign(const certificate_request& what) {
    const auto key = make_key();
    const long serial = ++insides_->signed_so_far;
    const auto made =
        make_certificate(what, key.get(), insides_->certificate.get(), insides_->key.get(), serial);
    files written{insides_->folder / (std::to_string(serial) + ".pem"),
                  insides_->folder / (std::to_string(serial) + ".key")};
    write_certificate(written.certificate, made.get());
    write_key(written.key, key.get());
    return written;
}

} // namespace holdfast::test
