#include "support/command.hpp"

#include "support/eventually.hpp"
#include "support/paths.hpp"

#include <csignal>
#include <fstream>

namespace holdfast::test {

int command_result::code() const {
    return status && status->signal == 0 ? status->code : -1;
}

std::string command_result::text() const {
    std::string all;
    for (const auto& line : output) {
        all.append("out: ").append(line).append("\n");
    }
    for (const auto& line : errors) {
        all.append("err: ").append(line).append("\n");
    }
    if (!status) {
        all.append("killed at the deadline\n");
    } else if (status->signal != 0) {
        all.append("ended by signal ").append(std::to_string(status->signal)).append("\n");
    } else {
        all.append("exit code ").append(std::to_string(status->code)).append("\n");
    }
    return all;
}

std::string program_path(std::string_view name) {
    return (program_folder() / name).string();
}

command_result run_command(std::string_view name, const std::vector<std::string>& arguments,
                           const command_options& options) {
    auto what = command_of(name, arguments);
    what.environment = options.environment;
    what.directory = options.directory;
    what.standard_input = options.on_terminal ? process::input::terminal : process::input::pipe;

    process child(what);
    if (!options.input.empty()) {
        child.write(options.input);
    }
    if (!options.on_terminal) {
        child.close_input();
    }
    command_result result;
    result.status = child.wait(options.deadline);
    if (!result.status) {
        child.kill_tree();
    }
    child.wait_end_of_output(std::chrono::seconds(2));
    result.output = child.lines(process::stream::output);
    result.errors = child.lines(process::stream::errors);
    return result;
}

process::options command_of(std::string_view name, const std::vector<std::string>& arguments) {
    process::options what;
    what.argv.push_back(program_path(name));
    what.argv.insert(what.argv.end(), arguments.begin(), arguments.end());
    what.environment = current_environment();
    what.standard_input = process::input::pipe;
    return what;
}

bool wait_signal_handler(pid_t id, std::chrono::milliseconds deadline) {
    const auto handled = [id] {
        std::ifstream status("/proc/" + std::to_string(id) + "/status");
        for (std::string line; std::getline(status, line);) {
            if (line.starts_with("SigCgt:")) {
                return (std::stoull(line.substr(7), nullptr, 16) >> (SIGTERM - 1) & 1) != 0;
            }
        }
        return false;
    };
    return eventually(handled, deadline);
}

} // namespace holdfast::test
