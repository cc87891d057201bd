// holdfast follow: what happens in one session, whoever prompts it.
#include "command.hpp"
#include "credentials.hpp"
#include "options.hpp"
#include "rows.hpp"
#include "signals.hpp"
#include "stream_options.hpp"
#include "turn_text.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <csignal>
#include <exception>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>

namespace holdfast::app {
namespace {

struct follow_options {
    std::string server = "http://127.0.0.1:4096";
    std::string session;
    std::string user;
    bool capture = false;
    bool global_stream = false;
    opencode::protocol protocol = opencode::protocol::automatic;
    std::size_t turns = 0; ///< 0: no end
    http::tls_options tls;
    stream_options stream;

    follow_options() { stream.policy.max_attempts = retry::unlimited; }
};

class follower {
public:
    follower(const follow_options& options, http::url base, std::shared_ptr<const http::tls_context> tls,
             command_context& context)
        : options_(options), context_(context), log_(context.log()),
          world_(io_.get_executor(), [this](const log_record& record) { on_log(record); }),
          server_(world_, std::move(base), config_of(options, std::move(tls))),
          work_(world_, [this](std::exception_ptr e) { on_error(e); }),
          text_(context.out, [this] { return world_.wall_now(); }),
          signals_(io_, [this](int number) { on_signal(number); }), woken_(io_) {
        end_within(longest_end, nullptr);
        wait_for_no_reader(context_, "\n");
    }

    command_result run() {
        work_.spawn(server_.run());
        work_.spawn(world_.write_incidents());
        work_.spawn(tell_the_story());
        work_.spawn(notice_closed_output());
        woken_.add(SIGUSR1);
        wait_for_wake_up();
        io_.run();
        if (error_)
            std::rethrow_exception(error_);
        return result_;
    }

private:
    static opencode::server_config config_of(const follow_options& options,
                                             std::shared_ptr<const http::tls_context> tls) {
        opencode::server_config config;
        config.global_stream = options.global_stream;
        config.protocol = options.protocol;
        config.rest.transport.tls = std::move(tls);
        config.policy = options.stream.policy;
        config.stall_timeout = options.stream.stall_timeout;
        return config;
    }

    net::awaitable<void> notice_closed_output() {
        while (context_.out.ok())
            co_await world_.sleep_for(seconds(1));
        end();
    }

    // SIGUSR1: its sender knows that the server is back.
    void wait_for_wake_up() {
        woken_.async_wait([this](boost::system::error_code ec, int) {
            if (ec)
                return;
            server_.wake();
            wait_for_wake_up();
        });
    }

    net::awaitable<void> tell_the_story() {
        const auto ready = co_await server_.ready();
        if (!ready) {
            result_ = failed(ready.error().message);
            co_return end();
        }
        auto feed = server_.follow(options_.session, options_.capture ? opencode::follow_by::capture
                                                                      : opencode::follow_by::stream);
        bool enough = false;
        while (!enough && context_.out.ok()) {
            const auto event = co_await feed.next();
            if (!event)
                break;
            tell(*event);
            enough = options_.turns > 0 && settled_ >= options_.turns;
        }
        if (!enough && context_.out.ok())
            conclude_end(feed.view().seen.has_value());
        end();
    }

    // The session is not there any more, or never was.
    void conclude_end(bool was_there) {
        if (!was_there)
            result_ = failed("the server does not know the session " + options_.session);
        else if (options_.turns > 0)
            result_ = failed("the session was deleted");
        else if (context_.format == output_format::text)
            text_.note("the session was deleted");
    }

    void tell(const opencode::session_event& event) {
        if (context_.format == output_format::text)
            show(event);
        else
            write(event);
        if (const auto* how = std::get_if<opencode::settlement>(&event.event))
            conclude(*how);
    }

    // One row begins a turn and one ends it, though two turns take turns. What is no turn's has no message.
    void write(const opencode::session_event& event) {
        if (!event.message.empty() && open_.insert(event.message).second)
            context_.out.row(with_turn(turn_row(event.session, event.message), event.session, event.message));
        if (std::holds_alternative<opencode::settlement>(event.event))
            open_.erase(event.message);
        if (auto row = agent_row(event.event))
            context_.out.row(with_turn(std::move(*row), event.session, event.message));
    }

    void show(const opencode::session_event& event) {
        if (begun_ != event.message)
            text_.heading((event.message.empty() ? "in the background" : event.message) + " of " +
                          event.session);
        begun_ = event.message;
        text_.show(event.event);
        if (const auto* ask = std::get_if<opencode::permission_event>(&event.event); ask && !ask->reply)
            text_.note("asks for permission: " + what_for(ask->request));
        if (const auto* ask = std::get_if<opencode::question_event>(&event.event); ask && !ask->reply)
            for (const auto& each : ask->request.questions)
                text_.note("asks: " + each.text);
    }

    // Turns that are not waited for by number do not matter to the exit code.
    void conclude(const opencode::settlement& how) {
        ++settled_;
        if (options_.turns > 0 && how.outcome != opencode::outcome::completed)
            result_ = failed(why_not_completed(how));
    }

    // A person reads here why nothing comes; the log tells a program.
    void on_log(const log_record& record) {
        const bool trouble = record.event == "stream.interrupted" || record.event == "server.not_ready";
        const bool goes_on = record.event.starts_with("incident.");
        if (context_.format != output_format::text || !(trouble || goes_on))
            return log_(record);
        if (trouble)
            text_.trouble(record.error_message, milliseconds(record.retry_in_ms.value_or(0)));
        else
            text_.note(record.error_message);
        log_(lowered(record));
    }

    void on_signal(int number) {
        result_ = {exit_code_of(number), {}};
        if (number == SIGINT && context_.format == output_format::text)
            text_.interrupted_at_keyboard();
        if (std::exchange(ending_, true))
            std::_Exit(result_.code); // whatever is still awaited, it is awaited no longer
        end();
    }

    void on_error(std::exception_ptr e) {
        error_ = e;
        end();
    }

    void end() {
        signals_.stop();
        woken_.cancel();
        work_.cancel();
    }

    const follow_options& options_;
    command_context& context_;
    log_sink log_;
    net::io_context io_{1};
    runtime world_;
    opencode::server server_;
    task_scope work_;
    turn_text text_;
    signals signals_;
    net::signal_set woken_;
    command_result result_;
    std::exception_ptr error_;
    std::string begun_;          // the turn whose text comes
    std::set<std::string> open_; // the turns whose rows have begun
    std::size_t settled_ = 0;
    bool ending_ = false;
};

command_result follow(const follow_options& options, command_context& context) {
    server_access server;
    if (auto wrong = find_access(options.server, options.user, options.tls, context.notes, server);
        !wrong.empty())
        return misused(std::move(wrong));
    command_result result;
    {
        follower one(options, std::move(server.base), std::move(server.tls), context);
        result = one.run();
    }
    drain_output(context);
    return result;
}

} // namespace

void add_follow(CLI::App& program, command_context& context) {
    const auto options = std::make_shared<follow_options>();
    CLI::App* const command =
        program.add_subcommand("follow", "Follow one session of an OpenCode server, whoever prompts it.");
    command->add_option("SESSION", options->session, "The session's id")->required()->type_name("");
    command->add_option("--server", options->server, "The server's URL")
        ->capture_default_str()
        ->type_name("URL");
    command->add_option("--user", options->user, user_help)->type_name("USER");
    add_count(*command, "--turns", options->turns,
              "End when N turns have ended; 1 if the last was not completed");
    command->add_flag("--capture", options->capture,
                      "Look at it now and then, instead of by its event stream");
    command->add_flag("--global-stream", options->global_stream,
                      "Listen to the whole server; OpenCode before 1.15 needs it");
    add_protocol(*command, options->protocol);
    add_tls_options(*command, options->tls);
    add_stream_options(*command, options->stream);
    add_common_options(*command, context);
    command->footer("A reader who is too slow for stdout misses output, and is told how much.\n"
                    "SIGUSR1 ends every wait for the server.\n");
    command->callback([options, &context] {
        context.run = [options, &context] {
            return follow(*options, context);
        };
    });
}

} // namespace holdfast::app
