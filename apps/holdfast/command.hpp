// What every command of the holdfast program shares. A command is a file of its own: add_NAME() declares its
// options, and on parsing leaves in the context what is to be run.
#pragma once

#include "log.hpp"
#include "output.hpp"

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace holdfast::app {

/// The exit codes of the program.
enum exit_code : int {
    exit_done = 0,
    exit_failure = 1,
    exit_usage = 2,
    exit_interrupted = 130, ///< SIGINT asked for the end
    exit_terminated = 143,  ///< SIGTERM asked for the end
};

/// How a command ended. `why` is a sentence for a person, untrusted; main() writes it as one line on stderr,
/// whatever the format and the log level. A command itself writes there through its log, and `notes`.
struct command_result {
    exit_code code = exit_done;
    std::string why;
};

[[nodiscard]] inline command_result failed(std::string why) {
    return {exit_failure, std::move(why)};
}
[[nodiscard]] inline command_result misused(std::string why) {
    return {exit_usage, std::move(why)};
}

/// What main() and the chosen command share. It outlives both the parsing and the run.
struct command_context {
    output out;
    output notes; ///< on stderr: warnings, and what -v asks for
    output_format format = output_format::text;
    log_format logs = log_format::text;
    log_level lowest = log_level::warn;
    std::function<command_result()> run; ///< set by the chosen command's callback

    /// The sink that the options ask for.
    [[nodiscard]] log_sink log() const { return stderr_log(logs, lowest); }
};

/// Adds --format, --log-format and --log-level to a command.
void add_common_options(CLI::App& command, command_context& context);

void add_cat(CLI::App& program, command_context& context);
void add_follow(CLI::App& program, command_context& context);
void add_run(CLI::App& program, command_context& context);
void add_sim(CLI::App& program, command_context& context);
void add_tail(CLI::App& program, command_context& context);
void add_watch(CLI::App& program, command_context& context);

} // namespace holdfast::app
