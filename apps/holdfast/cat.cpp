// holdfast cat: decodes a recorded event stream.
#include "command.hpp"
#include "input.hpp"
#include "options.hpp"
#include "rows.hpp"
#include "turns.hpp"

#include <holdfast/sse/parser.hpp>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json/object.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::app {

namespace {

struct cat_options {
    std::string file;
    std::size_t chunk = 0; ///< bytes fed at a time; 0: as they are read
    bool turns = false;    ///< read it as an OpenCode recording
    std::string session;   ///< with `turns`: of this root session only
};

/// How the stream ended: what the last row tells.
struct stream_end {
    std::size_t events = 0;
    std::string last_event_id;
    std::optional<std::uint64_t> retry_ms;
    std::string error; ///< empty when all was read and decoded
};

boost::json::object end_row(const stream_end& end) {
    boost::json::object row{{"events", end.events}, {"last_event_id", end.last_event_id}};
    row["retry_ms"] = nullptr;
    if (end.retry_ms)
        row["retry_ms"] = *end.retry_ms;
    row["error"] = nullptr;
    if (!end.error.empty())
        row["error"] = end.error;
    return {{"end", std::move(row)}};
}

std::string indented(std::string_view text) {
    std::string out = "  ";
    for (const char c : text) {
        out += c;
        if (c == '\n')
            out += "  ";
    }
    return out + '\n';
}

std::string recorded_text(const sse::event& e, const output& out) {
    std::string text = out.paint(style::bold, printable_line(e.type));
    if (!e.id.empty())
        text += ' ' + out.paint(style::dim, "id " + printable_line(e.id));
    return text + '\n' + indented(printable(e.data));
}

std::string end_text(const stream_end& end, const output& out) {
    std::string text = std::to_string(end.events) + (end.events == 1 ? " event" : " events");
    if (!end.last_event_id.empty())
        text += ", last event id " + printable_line(end.last_event_id);
    if (end.retry_ms)
        text += ", retry after " + std::to_string(*end.retry_ms) + " ms";
    return out.paint(style::dim, text) + '\n';
}

void write_event(const sse::event& e, command_context& context) {
    if (context.format == output_format::ndjson)
        context.out.row(event_row(e));
    else
        context.out.text(recorded_text(e, context.out));
}

void write_end(const stream_end& end, command_context& context) {
    if (context.format == output_format::ndjson)
        context.out.row(end_row(end));
    else
        context.out.text(end_text(end, context.out));
}

std::string_view front_of(std::string_view& bytes, std::size_t size) {
    const std::string_view front = bytes.substr(0, size);
    bytes.remove_prefix(front.size());
    return front;
}

// Returns the number of events.
std::size_t decode(std::string_view bytes, sse::parser& parser, const cat_options& options,
                   turn_writer& turns, command_context& context) {
    std::size_t events = 0;
    while (context.out.ok() && parser.next(bytes)) {
        if (options.turns)
            turns.feed(parser.event().data);
        else
            write_event(parser.event(), context);
        ++events;
    }
    return events;
}

command_result cat(const cat_options& options, command_context& context) {
    if (!options.session.empty() && !options.turns)
        return misused("--session goes with --turns");
    input in(options.file);
    sse::parser parser;
    turn_writer turns(context, options.session);
    stream_end end;
    const auto wanted = [&] {
        return context.out.ok() && !parser.error();
    };
    for (std::string_view block = in.read(); !block.empty() && wanted(); block = in.read())
        while (!block.empty() && wanted())
            end.events += decode(front_of(block, options.chunk > 0 ? options.chunk : block.size()), parser,
                                 options, turns, context);

    end.last_event_id = parser.last_event_id();
    end.retry_ms = parser.retry_ms();
    end.error = parser.error() ? parser.error().message() : in.error();
    if (options.turns)
        turns.end();
    else
        write_end(end, context);
    return end.error.empty() ? command_result{} : failed(end.error);
}

} // namespace

void add_cat(CLI::App& program, command_context& context) {
    const auto options = std::make_shared<cat_options>();
    CLI::App* const command = program.add_subcommand("cat", "Decode a recorded event stream.");
    command->add_option("FILE", options->file, "The recording; - is stdin")->required()->type_name("");
    add_count(*command, "--chunk", options->chunk, "Feed the decoder N bytes at a time");
    command->add_flag("--turns", options->turns, "Read it as an OpenCode recording, and tell its turns");
    command->add_option("--session", options->session, "With --turns: of this root session only")
        ->type_name("ID");
    add_common_options(*command, context);
    command->callback([options, &context] {
        context.run = [options, &context] {
            return cat(*options, context);
        };
    });
}

} // namespace holdfast::app
