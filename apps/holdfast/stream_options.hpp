// The options of a stream that is held: tail and run have the same.
#pragma once

#include <holdfast/http/tls.hpp>
#include <holdfast/retry/policy.hpp>
#include <holdfast/time.hpp>

#include <string>

namespace CLI {
class App;
}

namespace holdfast::app {

/// The command line's defaults: exact delays, so that what is told of them is exact too.
struct stream_options {
    retry::policy policy = retry::session_stream();
    duration stall_timeout = seconds(60);
};

/// Adds --cacert, --cert, --key and --insecure. `target` must outlive the parsing.
void add_tls_options(CLI::App& command, http::tls_options& target);

/// What to say of options that have no use, as the URL is an http:// one; empty: none was given.
[[nodiscard]] std::string tls_options_for_nothing(const http::tls_options& options);

/// The line on stderr that warns of --insecure; empty without it.
[[nodiscard]] std::string tls_warning(const http::tls_options& options);

/// Adds --base-delay, --max-delay, --max-attempts, --stall-timeout and --jitter. `target` must outlive the
/// parsing.
void add_stream_options(CLI::App& command, stream_options& target);

} // namespace holdfast::app
