#include "command.hpp"

#include "options.hpp"

namespace holdfast::app {

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
