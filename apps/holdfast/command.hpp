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
    output notes; ///< on stderr: the log, warnings, and what -v asks for
    output_format format = output_format::text;
    log_format logs = log_format::text;
    log_level lowest = log_level::warn;
    std::function<command_result()> run; ///< set by the chosen command's callback

    /// The sink that the options ask for.
    [[nodiscard]] log_sink log() { return log_to(notes, logs, lowest); }
};

/// For a command that has other things to do than to wait for readers: from here on stdout and stderr keep at
/// most 1 MiB each for a slow one, and drop what does not fit. Rows then have {"gap":{"lost":N,"why":"slow"}}
/// in its place, text a line, which begins with `before_gap`.
void wait_for_no_reader(command_context& context, std::string before_gap);
/// The end of that: waits for the readers, but no longer than a second once a signal asked for the end.
void drain_output(command_context& context);

/// Adds --format, --log-format and --log-level to a command.
void add_common_options(CLI::App& command, command_context& context);

/// What the program is for, in a sentence.
inline constexpr auto program_description = "Keeps hold of the event streams of agent servers.";
/// The version, and each of these.
void add_commands(CLI::App& program, command_context& context);

void add_cat(CLI::App& program, command_context& context);
void add_follow(CLI::App& program, command_context& context);
void add_run(CLI::App& program, command_context& context);
void add_sim(CLI::App& program, command_context& context);
void add_tail(CLI::App& program, command_context& context);
void add_watch(CLI::App& program, command_context& context);

} // namespace holdfast::app
