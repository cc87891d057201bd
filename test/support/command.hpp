// Runs one of the build's own programs to its end.
#pragma once

#include "support/process.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::test {

struct command_options {
    std::vector<std::string> environment = current_environment();
    std::filesystem::path directory;           ///< empty: where the test runs
    std::string input;                         ///< what its standard input holds
    bool on_terminal = false;                  ///< input and both outputs are a terminal
    std::chrono::milliseconds deadline{30000}; ///< it is killed when this passes
};

struct command_result {
    std::vector<std::string> output;
    std::vector<std::string> errors;   ///< empty on a terminal, where they are in `output`
    std::optional<exit_status> status; ///< nothing: killed at the deadline

    /// The exit code; -1 when a signal or the deadline ended it.
    [[nodiscard]] int code() const;

    /// All of it, for a failed test's message.
    [[nodiscard]] std::string text() const;
};

/// The path of a program of this build.
std::string program_path(std::string_view name);

/// Runs `name` of this build with these arguments. Throws std::system_error when it cannot be started.
command_result run_command(std::string_view name, const std::vector<std::string>& arguments,
                           const command_options& options = {});

/// How to start `name` of this build, its input a pipe, for a test that wants to meet it while it runs.
process::options command_of(std::string_view name, const std::vector<std::string>& arguments);

/// Waits until the process has a handler for SIGTERM: before that, a signal ends it unheard.
/// @return whether that came within the deadline.
bool wait_signal_handler(pid_t id, std::chrono::milliseconds deadline = std::chrono::seconds(20));

} // namespace holdfast::test
