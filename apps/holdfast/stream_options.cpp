#include "stream_options.hpp"

#include "options.hpp"

namespace holdfast::app {

void add_stream_options(CLI::App& command, stream_options& target) {
    add_duration(command, "--base-delay", target.policy.base_delay, "Before the first retry; doubled for each further one");
    add_duration(command, "--max-delay", target.policy.max_delay, "The longest wait between two tries");
    add_attempts(command, "--max-attempts", target.policy.max_attempts, "Retries after the first failure, or unlimited");
    add_duration(command, "--stall-timeout", target.stall_timeout, "Without a byte for so long, connect again; 0: never");
    add_choice<retry::jitter>(command, "--jitter", target.policy.jitter,
                              {{"none", retry::jitter::none}, {"equal", retry::jitter::equal}, {"full", retry::jitter::full}},
                              "How delays are spread");
}

} // namespace holdfast::app
