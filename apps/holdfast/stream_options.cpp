#include "stream_options.hpp"

#include "options.hpp"

#include <CLI/App.hpp>

namespace holdfast::app {

void add_tls_options(CLI::App& command, http::tls_options& target) {
    command.add_option("--cacert", target.ca_file, "Trust these authorities instead of the system's")
        ->type_name("PEM");
    auto* const certificate =
        command.add_option("-E,--cert", target.certificate_file, "Show this certificate, with its chain");
    certificate->type_name("PEM");
    command.add_option("--key", target.key_file, "The certificate's key; else it is in the same file")
        ->type_name("PEM")
        ->needs(certificate);
    command.add_flag("-k,--insecure", target.dangerously_accept_any_certificate,
                     "Accept any certificate: whoever is on the way can read and change everything");
}

std::string tls_options_for_nothing(const http::tls_options& options) {
    const bool given = !options.ca_file.empty() || !options.certificate_file.empty() ||
                       options.dangerously_accept_any_certificate;
    return given ? "--cacert, --cert and --insecure are for https:// URLs" : std::string();
}

std::string tls_warning(const http::tls_options& options) {
    return options.dangerously_accept_any_certificate ? "holdfast: WARNING: --insecure: no certificate is "
                                                        "checked, so whoever is on the way can read "
                                                        "and change everything\n"
                                                      : std::string();
}

void add_stream_options(CLI::App& command, stream_options& target) {
    add_duration(command, "--base-delay", target.policy.base_delay,
                 "Before the first retry; doubled for each further one");
    add_duration(command, "--max-delay", target.policy.max_delay, "The longest wait between two tries");
    add_attempts(command, "--max-attempts", target.policy.max_attempts,
                 "Retries after the first failure, or unlimited");
    add_duration(command, "--stall-timeout", target.stall_timeout,
                 "Without a byte for so long, connect again; 0: never");
    add_choice<retry::jitter>(
        command, "--jitter", target.policy.jitter,
        {{"none", retry::jitter::none}, {"equal", retry::jitter::equal}, {"full", retry::jitter::full}},
        "How delays are spread");
}

} // namespace holdfast::app
