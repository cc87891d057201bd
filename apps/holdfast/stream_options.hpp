// The options of a stream that is held: tail and run have the same.
#pragma once

#include <holdfast/retry/policy.hpp>
#include <holdfast/time.hpp>

namespace CLI {
class App;
}

namespace holdfast::app {

/// The command line's defaults: exact delays, so that what is told of them is exact too.
struct stream_options {
    retry::policy policy = retry::session_stream();
    duration stall_timeout = seconds(60);
};

/// Adds --base-delay, --max-delay, --max-attempts, --stall-timeout and --jitter. `target` must outlive the parsing.
void add_stream_options(CLI::App& command, stream_options& target);

} // namespace holdfast::app
