#include "command.hpp"

#include "options.hpp"

#include <holdfast/version.hpp>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <string>
#include <utility>

namespace holdfast::app {
namespace {

constexpr std::size_t output_kept = 1u << 20;

std::string gap_line(std::size_t dropped, const std::string& before, const std::string& of) {
    return before + "~ " + std::to_string(dropped) + " pieces were dropped: " + of + " was not read\n";
}

} // namespace

void wait_for_no_reader(command_context& context, std::string before_gap) {
    const bool rows = context.format == output_format::ndjson;
    context.out.wait_for_nobody(output_kept, [rows, before = std::move(before_gap)](std::size_t dropped) {
        if (!rows)
            return gap_line(dropped, before, "stdout");
        return "{\"gap\":{\"lost\":" + std::to_string(dropped) + ",\"why\":\"slow\"}}\n";
    });
    const bool json = context.logs == log_format::json;
    context.notes.wait_for_nobody(output_kept, [json](std::size_t dropped) {
        if (!json)
            return gap_line(dropped, {}, "stderr");
        return "{\"level\":\"warn\",\"event\":\"log.gap\",\"suppressed\":" + std::to_string(dropped) + "}\n";
    });
}

void drain_output(command_context& context) {
    context.out.drain(std::chrono::milliseconds(1000));
    context.notes.drain(std::chrono::milliseconds(200));
}

void add_commands(CLI::App& program, command_context& context) {
    program.set_version_flag("--version", "holdfast " HOLDFAST_VERSION);
    program.require_subcommand(1);
    add_cat(program, context);
    add_follow(program, context);
    add_run(program, context);
    add_sim(program, context);
    add_tail(program, context);
    add_watch(program, context);
}

void add_common_options(CLI::App& command, command_context& context) {
    add_choice(command, "--format", context.format,
               {{"text", output_format::text}, {"ndjson", output_format::ndjson}},
               "What stdout gets: text for people, or one JSON object a line");
    add_choice(command, "--log-format", context.logs,
               {{"text", log_format::text}, {"json", log_format::json}},
               "What the log on stderr is written in");
    add_choice(command, "--log-level", context.lowest,
               {{"debug", log_level::debug},
                {"info", log_level::info},
                {"warn", log_level::warn},
                {"error", log_level::error}},
               "The least that is logged");
}

} // namespace holdfast::app
