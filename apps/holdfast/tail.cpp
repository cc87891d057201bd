// holdfast tail: holds one event stream and tells what comes.
#include "command.hpp"
#include "options.hpp"
#include "reader_watch.hpp"
#include "recorder.hpp"
#include "request_options.hpp"
#include "rows.hpp"
#include "signals.hpp"
#include "stream_options.hpp"
#include "trace.hpp"

#include <holdfast/http/fields.hpp>
#include <holdfast/http/url.hpp>
#include <holdfast/runtime/runtime.hpp>
#include <holdfast/stream/event_source.hpp>
#include <holdfast/stream/id_store.hpp>
#include <holdfast/stream/ndjson.hpp>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

namespace holdfast::app {
namespace {

struct tail_options {
    std::string url;
    request_options request;
    std::size_t max_events = 0;       ///< 0: no end
    std::vector<std::string> until;   ///< event types, and data behind a "="
    std::vector<std::string> fail_on; ///< the same
    bool ndjson = false;              ///< what is read, not what is written
    bool once = false;
    bool comments = false;
    bool verbose = false;
    std::string resume_file; ///< empty: none
    std::string record;      ///< empty: nothing is
    bool force = false;      ///< the recording may replace what is there
    stream_options stream;
};

std::string event_text(const sse::event& e, const output& out) {
    std::string text;
    if (e.type != "message")
        text += out.paint(style::bold, printable_line(e.type)) + ' ';
    return text + printable(e.data) + '\n';
}

std::string interrupted_text(const stream::item& item, const output& out) {
    const auto text = printable_line(item.failure.message) + "; next try in " + about(item.retry_in);
    return out.paint(style::dim, "~ " + text) + '\n';
}

// Why is told on stderr, as for each command that fails.
std::string gave_up_text(const stream::item& item, const output& out) {
    const auto text =
        "gave up after " + std::to_string(item.attempt) + (item.attempt == 1 ? " attempt" : " attempts");
    return out.paint(style::red, "~ " + text) + '\n';
}

// The answer is taken for a stream though it names itself otherwise.
std::string odd_answer(const http::response_head& head, bool ndjson) {
    const auto type = head.find("Content-Type");
    const auto read = http::media_type_of(head.headers);
    if (head.status == 200 && (ndjson ? stream::is_ndjson_type(read) : read == "text/event-stream"))
        return {};
    return "status " + std::to_string(head.status) + ", " +
           (type.empty() ? "no content type" : "content type " + std::string(type));
}

std::string opened_text(const stream::item& item, bool broken, bool ndjson, const output& out) {
    const auto odd = odd_answer(*item.head, ndjson);
    if (!odd.empty())
        return out.paint(style::dim, "~ connected; read as " +
                                         std::string(ndjson ? "JSON lines" : "an event stream") + ": " +
                                         printable_line(odd)) +
               '\n';
    return broken ? out.paint(style::dim, "~ connected") + '\n' : std::string();
}

// `broken`: the item before this one told of trouble.
std::string item_text(const stream::item& item, bool broken, bool ndjson, const output& out) {
    using kind = stream::item::kind;
    switch (item.what) {
    case kind::opened: return opened_text(item, broken, ndjson, out);
    case kind::event: return event_text(item.event, out);
    case kind::comment: return out.paint(style::dim, ": " + printable_line(item.event.data)) + '\n';
    case kind::skipped:
        return out.paint(style::dim, "~ skipped: " + printable_line(item.failure.message)) + '\n';
    case kind::interrupted: return interrupted_text(item, out);
    case kind::answered: return printable(item.body) + '\n';
    case kind::done: return out.paint(style::dim, "~ the stream ended") + '\n';
    case kind::gave_up: break;
    }
    return gave_up_text(item, out);
}

void write(const stream::item& item, bool broken, bool ndjson, command_context& context) {
    if (context.format == output_format::ndjson)
        context.out.row(stream_row(item));
    else
        context.out.text(item_text(item, broken, ndjson, context.out));
}

std::string gave_up_line(const stream::item& item) {
    std::string why = "gave up: " + item.failure.message;
    if (!item.failure.body.empty())
        why += ", and said: " + item.failure.body.substr(0, 200);
    return why;
}

// Whether this is one of those that --until or --fail-on names.
bool is_among(const sse::event& event, const std::vector<std::string>& named) {
    return std::any_of(named.begin(), named.end(), [&](std::string_view each) {
        return each.starts_with('=') ? event.data == each.substr(1) : event.type == each;
    });
}

net::awaitable<void> follow(stream::event_source& source, const tail_options& options,
                            std::optional<recorder>& record, command_context& context,
                            command_result& result) {
    using kind = stream::item::kind;
    std::size_t events = 0;
    bool broken = false;
    while (auto item = co_await source.next()) {
        if (record && item->what == kind::opened)
            record->begin();
        write(*item, broken, options.ndjson, context);
        broken = item->what == kind::interrupted;
        if (!context.out.ok() || (record && !record->error().empty()))
            co_return;
        if (item->what == kind::gave_up)
            result = failed(gave_up_line(*item));
        if (item->what == kind::done && !options.until.empty())
            result = failed("the stream ended before what --until waits for");
        if (item->what == kind::event &&
            (++events == options.max_events || is_among(item->event, options.until))) {
            source.commit();
            co_return;
        }
    }
}

// The rows tell of trouble with the stream, so the log need not.
log_sink log_beside_rows(command_context& context) {
    return [log = context.log()](const log_record& record) {
        const bool told = record.event == "stream.interrupted" || record.event == "stream.gave_up" ||
                          record.event.starts_with("incident.");
        log(told ? lowered(record) : record);
    };
}

// What -v shows: each request as it is sent, and each answer's head.
void trace(stream::source_config& config, const http::url& where, output& notes) {
    config.next_request = [where, &notes, before = std::move(config.next_request)](
                              std::string_view last_id, const sse::event& last_event,
                              http::request& what) -> net::awaitable<result<void>> {
        if (before) {
            auto making = before(last_id, last_event, what);
            const auto made = co_await std::move(making);
            if (!made)
                co_return made.error();
        }
        notes.text(notes.paint(style::dim, request_lines(what, where)));
        co_return result<void>();
    };
    config.inspect = [&notes](const http::response_head& head) {
        notes.text(notes.paint(style::dim, head_lines(head)));
        return result<void>();
    };
}

command_result tail(const tail_options& options, command_context& context) {
    auto url = http::parse_url(options.url);
    if (!url)
        return misused(url.error().message);
    stream::source_config config;
    if (auto wrong = apply(options.request, *url, config); !wrong.empty())
        return misused(std::move(wrong));
    config.comments = options.comments;
    if (options.once)
        config.clean_end = stream::clean_end::done;
    if (options.ndjson)
        config.framing = stream::ndjson;
    if (!options.fail_on.empty())
        config.judge = [named = options.fail_on](const sse::event& event) -> std::optional<retry::failure> {
            if (!is_among(event, named))
                return std::nullopt;
            auto why = retry::make_failure(errc::error_event, printable_line(event.type), true);
            why.body = event.data.substr(0, retry::max_failure_body);
            return why;
        };
    config.policy = options.stream.policy;
    config.policy.statuses.transient_too = options.request.retry_status;
    config.stall_timeout = options.stream.stall_timeout;
    if (options.verbose)
        trace(config, *url, context.notes);
    if (!options.resume_file.empty()) {
        config.ids = stream::make_file_id_store(make_system_files(), options.resume_file);
        const auto held = config.ids->load();
        if (!held)
            return misused(held.error().message);
        if (const auto can_be_written = config.ids->store(*held); !can_be_written)
            return misused(can_be_written.error().message);
    }
    std::optional<recorder> record;
    if (!options.record.empty()) {
        record.emplace(options.record, options.force);
        if (!record->error().empty())
            return misused(record->error());
        config.tap = [&record](std::string_view piece) {
            record->add(piece);
        };
    }
    context.notes.text(tls_warning(options.request.tls));

    net::io_context io(1);
    std::random_device entropy;
    const auto seed = std::uint64_t(entropy()) << 32 | entropy();
    runtime world(io.get_executor(), make_system_clock(), network_of(options.request, *url), seed,
                  log_beside_rows(context));
    stream::event_source source(world, std::move(config));
    command_result result;
    signals ends(io, [&](int number) {
        result.code = exit_code_of(number);
        source.close();
    });
    // Who reads stdout may leave while there is nothing to write, which would not be noticed by writing.
    reader_watch reader(io, STDOUT_FILENO, [&] { source.close(); });
    std::exception_ptr error;
    net::co_spawn(io, follow(source, options, record, context, result), [&](std::exception_ptr e) {
        error = e;
        ends.stop();
        reader.stop();
        source.close();
    });
    io.run();
    if (error)
        std::rethrow_exception(error);
    if (record)
        record->end();
    return record && !record->error().empty() ? failed(record->error()) : result;
}

} // namespace

void add_tail(CLI::App& program, command_context& context) {
    const auto options = std::make_shared<tail_options>();
    CLI::App* const command = program.add_subcommand("tail", "Hold an event stream, and tell what comes.");
    command->add_option("URL", options->url, "http[s]://[USER:PASSWORD@]HOST[:PORT]/PATH")
        ->required()
        ->type_name("");
    add_request_options(*command, options->request);
    add_count(*command, "--max-events", options->max_events, "End after N events");
    command
        ->add_option("--until", options->until,
                     "End after an event of this type, or one whose whole data is DATA (=[DONE]), which is "
                     "told too; 1 if "
                     "the stream ends before; may be given again")
        ->type_name("EVENT|=DATA")
        ->expected(1)
        ->take_all();
    command
        ->add_option("--fail-on", options->fail_on,
                     "Take an event of this type, or one whose whole data is DATA, for a failure of the "
                     "connection, and connect again by the schedule; may be given again")
        ->type_name("EVENT|=DATA")
        ->expected(1)
        ->take_all();
    command->add_flag("--ndjson", options->ndjson,
                      "Read JSON lines, each of which is an event, instead of an event stream");
    command->add_flag("--once", options->once,
                      "End when the stream ends as it should, and do not ask for it again");
    command->add_flag("--comments", options->comments, "Tell comments too");
    command->add_flag("-v,--verbose", options->verbose,
                      "Show each request and each answer's head on stderr, without what may be secret");
    command
        ->add_option("--resume-file", options->resume_file,
                     "Keep the last event id in this file, and go on after the one that it holds")
        ->type_name("FILE")
        ->excludes("--last-event-id");
    auto* const record = command->add_option("--record", options->record,
                                             "Write what comes to this file too, for holdfast cat");
    record->type_name("FILE");
    command->add_flag("--force", options->force, "With --record: replace what the file holds")->needs(record);
    add_stream_options(*command, options->stream);
    add_common_options(*command, context);
    command->callback([options, &context] {
        context.run = [options, &context] {
            return tail(*options, context);
        };
    });
}

} // namespace holdfast::app
