// holdfast: keeps hold of the event streams of agent servers, from the command line.
#include "arguments.hpp"
#include "command.hpp"
#include "signals.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <sstream>
#include <string>
#include <tuple>
#include <unistd.h>
#include <utility>

namespace {

using namespace holdfast::app;

void write_line_on_stderr(std::string_view why) {
    const std::string line = "holdfast: " + printable_line(why) + '\n';
    if (wait_until_writable(STDERR_FILENO))
        std::fwrite(line.data(), 1, line.size(), stderr);
}

// A reader that went away wanted no more, so all is well, unless a signal asked for the end; any other
// trouble with stdout is a failure, even of a command that got everything right.
command_result judged(command_result result, const output& out) {
    if (out.ok())
        return result;
    if (const int signal = signal_received())
        return {exit_code_of(signal), std::move(result.why)};
    if (out.closed())
        return {};
    return failed("cannot write to stdout: " + out.error().message());
}

// A descriptor that is not open would be given to the next file or connection, and what is meant for stdout
// would be written there. In its place comes one that cannot be used the way that it would be. False: it was
// not open.
[[nodiscard]] bool reserve(int descriptor, int flags) {
    if (::fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF)
        return true;
    [[maybe_unused]] const int opened =
        ::open("/dev/null", flags); // the lowest that is free: those below are open
    return false;
}

// --help and --version arrive here too, as errors that are none.
int end_of_parsing(const CLI::App& program, const CLI::ParseError& error, output& out) {
    if (error.get_exit_code() == 0) {
        std::ostringstream text;
        program.exit(error, text, text);
        out.text(text.str());
        const auto result = judged({}, out);
        if (!result.why.empty())
            write_line_on_stderr(result.why);
        return result.code;
    }
    write_line_on_stderr(std::string(error.what()) + " (--help says more)");
    return exit_usage;
}

command_result run(const command_context& context) {
    try {
        return context.run();
    } catch (const std::exception& error) {
        return failed(error.what());
    }
}

} // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    std::ignore = reserve(STDIN_FILENO, O_WRONLY);
    const bool has_stdout = reserve(STDOUT_FILENO, O_RDONLY);
    std::ignore = reserve(STDERR_FILENO, O_RDWR);
    if (!has_stdout) {
        write_line_on_stderr("stdout is closed (>/dev/null if nobody is to read it)");
        return exit_failure;
    }

    command_context context{.out = output(STDOUT_FILENO), .notes = output(STDERR_FILENO), .run = {}};
    CLI::App program(program_description, "holdfast");
    add_commands(program, context);
    try {
        program.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return end_of_parsing(program, error, context.out);
    }
    hide_secrets(argc, argv);

    const command_result result = judged(run(context), context.out);
    if (!result.why.empty())
        write_line_on_stderr(result.why);
    return result.code;
}
