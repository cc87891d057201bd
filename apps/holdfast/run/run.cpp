// holdfast run: one turn, from the prompt to its settlement.
#include "command.hpp"
#include "credentials.hpp"
#include "options.hpp"
#include "rows.hpp"
#include "run/attachment.hpp"
#include "run/line_reader.hpp"
#include "signals.hpp"
#include "stream_options.hpp"
#include "turn_text.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <unistd.h>
#include <utility>
#include <variant>
#include <vector>

namespace holdfast::app {
namespace {

constexpr duration settle_patience = seconds(5); // for the settlement, once the end is asked for
constexpr duration patience_before_words = seconds(1);
constexpr duration abort_pause = milliseconds(250);
constexpr unsigned answer_tries = 5;

enum class asks { ask, allow, reject };

struct run_options {
    std::string server = "http://127.0.0.1:4096";
    std::string directory;
    std::string session;
    std::string adopt;
    std::string agent;
    std::string model;
    std::string variant;
    std::string title;
    std::string command;
    std::vector<std::string> files;
    bool no_reply = false;
    bool queue = false;
    asks permissions = asks::ask;
    std::string user;
    duration turn_timeout{};
    duration turn_no_progress{};
    duration retry_limit{};
    std::size_t max_steps = 0;
    std::size_t turn_tokens = 0;
    bool global_stream = false;
    opencode::protocol protocol = opencode::protocol::automatic;
    http::tls_options tls;
    stream_options stream;
    std::string prompt;
};

using pending_ask = std::variant<opencode::permission_request, opencode::question_request>;

const std::string& id_of(const pending_ask& ask) {
    return std::visit([](const auto& request) -> const std::string& { return request.id; }, ask);
}

/// A directory as the server is to have it: a relative one is the caller's.
std::string absolute(const std::string& directory) {
    if (directory.empty())
        return directory;
    auto path = std::filesystem::absolute(directory).lexically_normal();
    return path.has_filename() ? path.string() : path.parent_path().string();
}

class runner {
public:
    runner(const run_options& options, std::vector<opencode::prompt_part> files, http::url base,
           std::shared_ptr<const http::tls_context> tls, command_context& context)
        : options_(options), files_(std::move(files)), context_(context), log_(context.log()),
          world_(io_.get_executor(), [this](const log_record& record) { on_log(record); }),
          server_(world_, std::move(base), config_of(options, std::move(tls))),
          side_work_(world_, [this](std::exception_ptr e) { error_ = e; }),
          text_(context.out, [this] { return world_.wall_now(); }), input_ended_event_(world_),
          stdin_(io_, [this](std::optional<std::string> line) { on_line(std::move(line)); }),
          signals_(io_, [this](int number) { on_signal(number); }) {}

    command_result run() {
        side_work_.spawn(server_.run());
        auto story = tell_the_story();
        net::co_spawn(io_, std::move(story),
                      net::bind_cancellation_slot(story_end_.slot(),
                                                  [this](std::exception_ptr e) { on_story_end(e); }));
        io_.run();
        if (error_)
            std::rethrow_exception(error_);
        return result_;
    }

private:
    static opencode::server_config config_of(const run_options& options,
                                             std::shared_ptr<const http::tls_context> tls) {
        opencode::server_config config;
        config.global_stream = options.global_stream;
        config.protocol = options.protocol;
        config.rest.transport.tls = std::move(tls);
        config.policy = options.stream.policy;
        config.stall_timeout = options.stream.stall_timeout;
        config.limits_of_turns.no_progress = options.turn_no_progress;
        config.limits_of_turns.tokens = options.turn_tokens;
        config.limits_of_turns.max_steps = options.max_steps;
        config.limits_of_turns.retry_wait = options.retry_limit;
        return config;
    }

    // The main line: the server, a session, the prompt, and all that comes of it.
    net::awaitable<void> tell_the_story() {
        co_await net::post(io_.get_executor(), net::use_awaitable); // see with_deadline.hpp
        if (options_.prompt == "-" && !co_await read_prompt())
            co_return settle_unposted(no_prompt());
        const auto ready = co_await server_.ready();
        if (!ready)
            co_return settle_unposted(ready.error());
        auto session = co_await open_session();
        if (!session)
            co_return settle_unposted(session.error());
        session_ = std::move(*session);
        if (options_.no_reply)
            co_return co_await store_prompt();
        if (!options_.command.empty())
            if (auto unknown = co_await look_for_command())
                co_return settle_unposted(*unknown);
        if (!options_.command.empty()) // its template may take for ever
            start_turn_timeout();
        turn_ = co_await begin_turn();
        if (turn_->posted())
            write_row(turn_row(turn_->session_id(), turn_->message_id()));
        start_turn_timeout();
        while (auto event = co_await turn_->next()) {
            handle(*event);
            if (!context_.out.ok() && signal_received() == 0) // else the turn is still to be aborted
                co_return;
        }
    }

    static failure no_prompt() {
        auto why = retry::make_failure(errc::invalid_request);
        why.message = "stdin held no prompt";
        return why;
    }

    // All of stdin, but for the last line's end. @return whether there was any.
    net::awaitable<bool> read_prompt() {
        prompt_.clear();
        stdin_.start();
        while (!input_ended_)
            co_await input_ended_event_.wait();
        if (!prompt_.empty())
            prompt_.pop_back();
        co_return prompt_.find_first_not_of(" \t\r\n") != std::string::npos;
    }

    net::awaitable<result<opencode::session>> open_session() {
        if (options_.session.empty()) {
            opencode::session_request what;
            what.title = options_.title;
            return server_.create_session(std::move(what), absolute(options_.directory));
        }
        return server_.open_session(options_.session);
    }

    net::awaitable<opencode::turn> begin_turn() {
        if (!options_.adopt.empty())
            return session_->adopt(options_.adopt);
        return session_->prompt(make_prompt());
    }

    // The text comes first: what the server makes of a text file would else be taken for words of its own.
    opencode::prompt make_prompt() {
        opencode::prompt what;
        what.agent = options_.agent;
        what.model = options_.model;
        what.variant = options_.variant;
        what.command = options_.command;
        if (options_.queue)
            what.how = opencode::delivery::queue;
        opencode::prompt_part part;
        part.text = prompt_;
        what.parts.push_back(std::move(part));
        for (auto& each : files_)
            what.parts.push_back(std::move(each));
        return what;
    }

    // The server answers an unknown command with no reason. One that does not tell its commands is not asked
    // further.
    net::awaitable<std::optional<failure>> look_for_command() {
        auto server = server_.rest();
        const auto known = co_await server.commands(session_->directory());
        if (!known || std::find(known->begin(), known->end(), options_.command) != known->end())
            co_return std::nullopt;
        std::string names;
        for (const auto& each : *known)
            names += (names.empty() ? "" : ", ") + each;
        auto why = retry::make_failure(errc::not_found);
        why.message = "the server has no command '" + options_.command +
                      "'; it has: " + (names.empty() ? "none" : names);
        co_return why;
    }

    net::awaitable<void> store_prompt() {
        const auto stored = co_await session_->store(make_prompt());
        settled_ = stored.has_value();
        if (!stored) {
            const auto why = stored.error();
            const bool perhaps_there = why.connected && why.status == 0;
            settle(opencode::outcome::failed, opencode::rule::not_posted,
                   opencode::settlement_error(error_of(why)),
                   perhaps_there ? opencode::reprompt::unknown : opencode::reprompt::yes);
        } else if (context_.format == output_format::text) {
            text_.stored(session_->id(), *stored);
        } else {
            context_.out.row(stored_row(session_->id(), *stored));
        }
    }

    void on_story_end(std::exception_ptr e) {
        const bool cut_short = e && ended_by_us_;
        if (e && !cut_short)
            error_ = e;
        if (cut_short && !leaving_) {
            side_work_.spawn(settle_cut_short());
            return;
        }
        end();
    }

    void end() {
        over_ = true;
        signals_.stop();
        side_work_.cancel(); // ends server_.run() too
    }

    // --- what is told

    // Trouble that the turn's own events tell need not be logged as well. Before there is a turn, a person is
    // told here; a program finds it in the log.
    void on_log(const log_record& record) {
        const bool trouble = record.event == "stream.interrupted" || record.event == "server.not_ready";
        const bool before_the_turn = trouble && !turn_;
        if (before_the_turn && context_.format == output_format::text)
            text_.trouble(record.error_message, milliseconds(record.retry_in_ms.value_or(0)));
        const bool repeated = trouble || record.event.starts_with("incident.");
        const bool told = record.event == "stream.gave_up" ||
                          (repeated && (turn_ || context_.format == output_format::text));
        log_(told ? lowered(record) : record);
    }

    void handle(const opencode::agent_event& event) {
        // What is answered is asked no longer before that is shown; what is new is shown before it is asked.
        if (const auto* ask = std::get_if<opencode::permission_event>(&event); ask && ask->reply)
            withdraw(ask->request.id);
        if (const auto* ask = std::get_if<opencode::question_event>(&event); ask && ask->reply)
            withdraw(ask->request.id);
        write(event);
        if (const auto* ask = std::get_if<opencode::permission_event>(&event); ask && !ask->reply)
            take_ask(ask->request);
        if (const auto* ask = std::get_if<opencode::question_event>(&event); ask && !ask->reply)
            take_ask(ask->request);
        if (const auto* how = std::get_if<opencode::settlement>(&event))
            conclude(*how);
    }

    void write(const opencode::agent_event& event) {
        if (context_.format == output_format::text)
            return text_.show(event);
        if (const auto row = agent_row(event))
            context_.out.row(*row);
    }

    void write_row(const boost::json::object& row) {
        if (context_.format == output_format::ndjson)
            context_.out.row(row);
    }

    // Every other outcome than completed is told in words; after a signal only those that it did not ask for.
    void conclude(const opencode::settlement& how) {
        using opencode::outcome;
        settled_ = true;
        if (result_.code != exit_done) {
            if (how.outcome == outcome::failed || how.outcome == outcome::lost)
                result_.why = why_not_completed(how);
        } else if (how.outcome != outcome::completed) {
            result_ = failed((timed_out_ ? "the turn timeout was over; " : "") + why_not_completed(how));
        }
        if (context_.format == output_format::text && how.usage.steps > 0)
            context_.notes.text("holdfast: " + words_for(how.usage) + '\n');
    }

    void settle(opencode::outcome outcome, opencode::rule rule,
                std::optional<opencode::settlement_error> error, opencode::reprompt safe) {
        if (settled_)
            return;
        opencode::settlement how;
        how.outcome = outcome;
        how.rule = rule;
        how.error = std::move(error);
        how.safe_to_reprompt = safe;
        write(how);
        conclude(how);
    }

    static opencode::settlement_error error_of(const failure& why) {
        opencode::settlement_error error;
        error.cls = retry::to_string(why.cls);
        error.message = why.message;
        error.status = why.status;
        return error;
    }

    void settle_unposted(const failure& why) {
        settle(opencode::outcome::failed, opencode::rule::not_posted, error_of(why), opencode::reprompt::yes);
    }

    // --- the end, asked for

    void on_signal(int number) {
        result_ = {exit_code_of(number), {}};
        if (number == SIGINT && context_.format == output_format::text)
            text_.interrupted_at_keyboard();
        if (ended_by_us_ || over_)
            return leave_at_once();
        ask_for_the_end();
    }

    void ask_for_the_end() {
        ended_by_us_ = true;
        side_work_.spawn(ask_for_patience());
        if (turn_)
            side_work_.spawn(abort_turn());
        else if (session_ && !options_.command.empty() && !session_->last_sent().empty())
            side_work_.spawn(abort_command());
        else
            story_end_.emit(net::cancellation_type::terminal);
    }

    net::awaitable<void> ask_for_patience() {
        co_await world_.sleep_for(patience_before_words);
        if (context_.format == output_format::text)
            text_.note("waiting for the server to abort the turn; a second signal leaves at once");
    }

    net::awaitable<void> abort_turn() {
        const auto deadline = later(world_.now(), settle_patience);
        bool told = false;
        while (!told && world_.now() < deadline) {
            auto call = turn_->abort();
            const auto done = co_await with_deadline(world_, deadline, std::move(call));
            told = done && done->has_value();
            if (!told)
                co_await world_.sleep_until(std::min(deadline, later(world_.now(), abort_pause)));
        }
        co_await world_.sleep_until(deadline);
        turn_->give_up("no settlement within 5 s of the abort");
    }

    // A server that is still at the command's template aborts nothing, and goes on with the turn: the story
    // waits for its message, and asks again then.
    net::awaitable<void> abort_command() {
        const auto deadline = later(world_.now(), settle_patience);
        auto call = session_->abort();
        std::ignore = co_await with_deadline(world_, deadline, std::move(call));
        while (!turn_ && world_.now() < deadline)
            co_await world_.sleep_for(abort_pause);
        if (turn_)
            co_await abort_turn();
        else
            story_end_.emit(net::cancellation_type::terminal);
    }

    // The story ended before it had a turn. A prompt that was perhaps posted is aborted, too.
    net::awaitable<void> settle_cut_short() {
        if (!session_ || (options_.adopt.empty() && session_->last_sent().empty())) {
            settle(opencode::outcome::aborted, opencode::rule::abort_requested, std::nullopt,
                   session_ && options_.no_reply ? opencode::reprompt::unknown : opencode::reprompt::yes);
        } else if (!options_.command.empty()) { // the abort is asked for already
            settle(opencode::outcome::lost, opencode::rule::abort_requested, std::nullopt,
                   opencode::reprompt::unknown);
        } else {
            const auto deadline = later(world_.now(), settle_patience);
            auto call = session_->abort();
            const auto done = co_await with_deadline(world_, deadline, std::move(call));
            const bool aborted = done && done->has_value();
            settle(aborted ? opencode::outcome::aborted : opencode::outcome::lost,
                   opencode::rule::abort_requested, std::nullopt, opencode::reprompt::unknown);
        }
        end();
    }

    void leave_at_once() {
        leaving_ = true;
        settle(opencode::outcome::detached, opencode::rule::detached, std::nullopt, opencode::reprompt::no);
        std::_Exit(result_.code); // whatever is still awaited, it is awaited no longer
    }

    void start_turn_timeout() {
        if (options_.turn_timeout != duration::zero() && !std::exchange(timeout_runs_, true))
            side_work_.spawn(watch_turn_timeout());
    }

    net::awaitable<void> watch_turn_timeout() {
        co_await world_.sleep_for(options_.turn_timeout);
        timed_out_ = true;
        if (!ended_by_us_)
            ask_for_the_end();
    }

    // --- asks

    void take_ask(pending_ask ask) {
        const bool permission = std::holds_alternative<opencode::permission_request>(ask);
        const auto* question = std::get_if<opencode::question_request>(&ask);
        if (question && question->questions.empty())
            return answer(std::move(ask), "reject"); // there is nothing to say to it
        if (options_.permissions == asks::ask) {
            asks_.push_back(std::move(ask));
            if (asks_.size() == 1)
                present();
        } else if (permission && options_.permissions == asks::allow) {
            answer(std::move(ask), "once");
        } else {
            answer(std::move(ask), "reject");
        }
    }

    void withdraw(const std::string& id) {
        const bool was_first = !asks_.empty() && id_of(asks_.front()) == id;
        std::erase_if(asks_, [&](const auto& each) { return id_of(each) == id; });
        if (!was_first)
            return;
        answers_.clear();
        text_.withdraw();
        if (!asks_.empty())
            present();
    }

    // Shows what is to be answered next, and sees to it that there will be an answer.
    void present() {
        if (!early_lines_.empty()) {
            auto line = std::move(early_lines_.front());
            early_lines_.pop_front();
            return on_line(std::move(line));
        }
        if (input_ended_)
            return reject_for_want_of_input();
        if (context_.format == output_format::text)
            text_.ask(question_text());
        stdin_.start();
    }

    std::string question_text() const {
        const auto* asked = std::get_if<opencode::question_request>(&asks_.front());
        if (!asked)
            return "may it use " + what_for(std::get<opencode::permission_request>(asks_.front())) +
                   " - once, always or reject:";
        const auto& question = asked->questions[answers_.size()];
        std::string labels;
        for (const auto& each : question.options)
            labels += (labels.empty() ? "" : ", ") + each.label;
        return question.text + " (" + labels + (question.multiple ? "; several with commas" : "") +
               "; or reject):";
    }

    void on_line(std::optional<std::string> line) {
        if (!line) {
            input_ended_ = true;
            input_ended_event_.notify_all();
            if (!asks_.empty())
                reject_for_want_of_input();
            return;
        }
        if (options_.prompt == "-") {
            prompt_ += *line + '\n';
            return;
        }
        if (asks_.empty() || over_) {
            if (::isatty(STDIN_FILENO) == 0)
                early_lines_.push_back(std::move(*line)); // a program may answer before it is asked
            return;
        }
        text_.answered();
        const auto text = trimmed(*line);
        if (text == "reject" || text == "r")
            return answer_first("reject");
        if (std::holds_alternative<opencode::permission_request>(asks_.front())) {
            if (text == "once" || text == "always")
                return answer_first(text);
            say("'" + text + "' is none of once, always, reject");
            return present();
        }
        take_answer(text);
    }

    // One line answers one question of the request.
    void take_answer(const std::string& text) {
        const auto& asked = std::get<opencode::question_request>(asks_.front());
        const auto& question = asked.questions[answers_.size()];
        std::vector<std::string> labels;
        if (question.multiple)
            labels = split_at_commas(text);
        else
            labels.push_back(text);
        answers_.push_back(std::move(labels));
        if (answers_.size() < asked.questions.size())
            return present();
        answer_first({});
    }

    static std::string trimmed(std::string_view text) {
        const auto first = text.find_first_not_of(" \t\r");
        if (first == std::string_view::npos)
            return {};
        return std::string(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
    }

    static std::vector<std::string> split_at_commas(std::string_view text) {
        std::vector<std::string> all;
        for (std::size_t at = 0; at <= text.size();) {
            const auto comma = std::min(text.find(',', at), text.size());
            all.push_back(trimmed(text.substr(at, comma - at)));
            at = comma + 1;
        }
        return all;
    }

    void answer_first(std::string reply) {
        auto first = std::move(asks_.front());
        asks_.pop_front();
        answer(std::move(first), std::move(reply));
        if (!asks_.empty())
            present();
    }

    void reject_for_want_of_input() {
        say("no input is left to answer with: rejected");
        while (!asks_.empty()) {
            auto first = std::move(asks_.front());
            asks_.pop_front();
            answers_.clear();
            answer(std::move(first), "reject");
        }
    }

    // What we say of ourselves: to a person in the text, to a program in the log.
    void say(const std::string& what) {
        if (context_.format == output_format::text)
            return text_.note(what);
        log_record record;
        record.level = log_level::warn;
        record.event = "run.ask";
        record.action = what;
        world_.log(record);
    }

    void answer(pending_ask ask, std::string reply) {
        side_work_.spawn(send_answer(std::move(ask), std::move(reply), std::exchange(answers_, {})));
    }

    net::awaitable<void> send_answer(pending_ask ask, std::string reply,
                                     std::vector<std::vector<std::string>> answers) {
        for (unsigned i = 0; i < answer_tries; ++i) {
            auto done = co_await send_answer_once(ask, reply, answers);
            if (done || done.error().code == errc::not_found) // answered elsewhere
                co_return;
            say("the answer could not be sent: " + done.error().message);
            if (retry::is_final(done.error()))
                co_return;
            co_await world_.sleep_for(seconds(1));
        }
    }

    net::awaitable<result<void>> send_answer_once(const pending_ask& ask, const std::string& reply,
                                                  const std::vector<std::vector<std::string>>& answers) {
        if (std::holds_alternative<opencode::permission_request>(ask))
            return turn_->reply_permission(id_of(ask), reply);
        if (reply == "reject")
            return turn_->reject_question(id_of(ask));
        return turn_->reply_question(id_of(ask), answers);
    }

    const run_options& options_;
    std::vector<opencode::prompt_part> files_;
    command_context& context_;
    log_sink log_;
    net::io_context io_{1};
    runtime world_;
    opencode::server server_;
    task_scope side_work_;
    turn_text text_;
    std::string prompt_ = options_.prompt;
    condition_variable input_ended_event_;
    line_reader stdin_;
    signals signals_;
    net::cancellation_signal story_end_;
    std::optional<opencode::session> session_;
    std::optional<opencode::turn> turn_;
    std::deque<pending_ask> asks_;
    std::vector<std::vector<std::string>> answers_; // of the first ask, a question each
    command_result result_;
    std::exception_ptr error_;
    std::deque<std::string> early_lines_; // of a stdin that is no terminal: for asks to come
    bool input_ended_ = false;
    bool ended_by_us_ = false;
    bool timeout_runs_ = false;
    bool timed_out_ = false;
    bool settled_ = false;
    bool leaving_ = false;
    bool over_ = false;
};

command_result run(const run_options& options, command_context& context) {
    if (options.adopt.empty() && options.prompt.empty() && options.command.empty())
        return misused("a PROMPT is wanted, or - for stdin");
    if (!options.adopt.empty() && !options.prompt.empty())
        return misused("--adopt takes no PROMPT");
    if (!options.adopt.empty() && options.session.empty())
        return misused("--adopt needs --session");
    if (!options.model.empty() && options.model.find('/') == std::string::npos)
        return misused("--model is given as PROVIDER/MODEL");
    std::vector<opencode::prompt_part> files;
    if (auto wrong = attach(options.files, files); !wrong.empty())
        return misused(std::move(wrong));
    server_access server;
    if (auto wrong = find_access(options.server, options.user, options.tls, context.notes, server);
        !wrong.empty())
        return misused(std::move(wrong));
    runner one(options, std::move(files), std::move(server.base), std::move(server.tls), context);
    return one.run();
}

} // namespace

void add_run(CLI::App& program, command_context& context) {
    const auto options = std::make_shared<run_options>();
    CLI::App* const command =
        program.add_subcommand("run", "Run one turn on an OpenCode server, and tell how it ended.");
    command->add_option("PROMPT", options->prompt, "What to say; - reads it from stdin")->type_name("");
    command
        ->add_option("--file", options->files,
                     "Give the model this file: UTF-8 text, PNG, JPEG, GIF, WebP or PDF, up to 16 MiB; may "
                     "be repeated")
        ->type_name("PATH")
        ->allow_extra_args(false);
    auto* const named =
        command
            ->add_option("--command", options->command,
                         "Run a command of the server's; PROMPT, which may be left out, is its arguments")
            ->type_name("NAME");
    CLI::Option* const silent =
        command->add_flag("--no-reply", options->no_reply,
                          "Only store the prompt, as context for the next one; ends when it is stored");
    CLI::Option* const queue =
        command->add_flag("--queue", options->queue,
                          "Wait until the session would go idle, instead of joining what runs (2.x)");
    command->add_option("--server", options->server, "The server's URL")
        ->capture_default_str()
        ->type_name("URL");
    command->add_option("--directory", options->directory, "Where a new session works; else the server's own")
        ->type_name("DIR");
    auto* const session =
        command->add_option("--session", options->session, "Go on in this session; else a new one is made")
            ->type_name("ID");
    command->add_option("--title", options->title, "The title of the new session; else the server makes one")
        ->type_name("TEXT")
        ->excludes(session);
    auto* const adopt =
        command
            ->add_option("--adopt", options->adopt, "Take up the turn of this prompt, which is there already")
            ->type_name("MESSAGE");
    silent->excludes(named)->excludes(adopt);
    queue->excludes(silent)->excludes(named)->excludes(adopt);
    adopt->excludes(named)->excludes("--file");
    command->add_option("--agent", options->agent, "The agent to ask")->type_name("NAME");
    command->add_option("--model", options->model, "The model to ask")->type_name("PROVIDER/MODEL");
    command
        ->add_option("--variant", options->variant,
                     "The variant of the model, such as how hard it thinks; one that "
                     "it has not is ignored by the server")
        ->type_name("NAME")
        ->excludes(adopt);
    add_choice<asks>(*command, "--permissions", options->permissions,
                     {{"ask", asks::ask}, {"allow", asks::allow}, {"reject", asks::reject}},
                     "How permission asks are answered; allow means once, and both others reject questions");
    command->add_option("--user", options->user, user_help)->type_name("USER");
    add_duration(*command, "--turn-timeout", options->turn_timeout, "Abort the turn after so long; 0: never");
    const auto limits = {
        add_duration(*command, "--turn-no-progress", options->turn_no_progress,
                     "Abort the turn when nothing new comes of it for so long; 0: never"),
        add_count(*command, "--turn-tokens", options->turn_tokens,
                  "Abort the turn when it has used more tokens; those of child sessions are not counted"),
        add_count(*command, "--max-steps", options->max_steps,
                  "Abort the turn when it has taken more steps: finished messages of the model"),
        add_duration(
            *command, "--retry-limit", options->retry_limit,
            "Abort the turn when the server would wait longer before it asks the model again; 0: never")};
    for (auto* const limit : limits)
        silent->excludes(limit);
    command->add_flag("--global-stream", options->global_stream,
                      "Listen to the whole server; OpenCode before 1.15 needs it");
    add_protocol(*command, options->protocol);
    add_tls_options(*command, options->tls);
    add_stream_options(*command, options->stream);
    add_common_options(*command, context);
    command->callback([options, &context] {
        context.run = [options, &context] {
            return run(*options, context);
        };
    });
}

} // namespace holdfast::app
