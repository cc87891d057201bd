// holdfast watch: many servers and runs at once, for as long as one likes; as a table on a terminal, else
// line by line, and over HTTP.
#include "command.hpp"
#include "credentials.hpp"
#include "options.hpp"
#include "signals.hpp"
#include "stream_options.hpp"
#include "watch/board.hpp"
#include "watch/config.hpp"
#include "watch/descriptor_reserve.hpp"
#include "watch/event_ring.hpp"
#include "watch/files.hpp"
#include "watch/keeper.hpp"
#include "watch/port.hpp"
#include "watch/prometheus.hpp"
#include "watch/screen.hpp"
#include "watch/table.hpp"

#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/version.hpp>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace holdfast::app {
namespace {

constexpr duration end_patience = milliseconds(1800); // for all that is under way, once the end is asked for
constexpr duration abort_patience = milliseconds(1200);
constexpr duration between_frames = milliseconds(250);
constexpr milliseconds last_words_patience{200};
constexpr std::size_t token_file_bytes = 8u << 10;
constexpr std::size_t log_kept = 16;
constexpr screen_size paper{110, 1000}; // of what is no terminal

/// How the watch is told on stdout.
enum class telling { table, lines, rows };

telling telling_of(const command_context& context) {
    if (context.format == output_format::ndjson)
        return telling::rows;
    const auto term = environment("TERM");
    const bool can_move = context.out.is_terminal() && !term.empty() && term != "dumb";
    return can_move ? telling::table : telling::lines;
}

// "12:03:01"
std::string time_of_day(wall_time when) {
    const auto whole = wall_time::clock::to_time_t(when);
    std::tm parts{};
    ::localtime_r(&whole, &parts);
    char text[16];
    return {text, std::strftime(text, sizeof text, "%H:%M:%S", &parts)};
}

std::string words_of(const log_record& record) {
    std::string words = !record.tag.empty() ? record.tag : record.endpoint;
    if (!record.session.empty())
        words += (words.empty() ? "" : " ") + record.session;
    if (!words.empty())
        words += ": ";
    words += record.error_message.empty() ? record.event : record.error_message;
    if (record.retry_in_ms)
        words += "; next try in " + about(milliseconds(*record.retry_in_ms));
    return words;
}

// What a person wants to read of the log: trouble, and its end.
bool matters(const log_record& record) {
    return record.level >= log_level::warn || record.event == "incident.recovered";
}

class watcher {
public:
    watcher(const watch_config& config, std::shared_ptr<const http::tls_context> tls, std::string token,
            command_context& context)
        : config_(config), context_(context), how_(telling_of(context)), log_(context.log()),
          world_(io_.get_executor(), [this](const log_record& record) { on_log(record); }),
          board_(world_.now(), world_.wall_now()), keeper_(world_, config, std::move(tls), board_,
                                                           {[this] { on_change(); },
                                                            [this](std::exception_ptr e) {
                                                                on_error(e);
                                                            }}),
          work_(world_, [this](std::exception_ptr e) { on_error(e); }), changed_(world_), resized_(io_),
          woken_(io_), signals_(io_, [this](int number) { on_signal(number); }) {
        if (!config.listen_host.empty())
            port_.emplace(world_, port_config(config, std::move(token)), sources(), ring_);
        end_within(longest_end, &watch_screen::leave_in_handler);
        wait_for_no_reader(context_, {});
    }

    command_result run() {
        if (port_)
            if (auto wrong = listen(); !wrong.empty())
                return failed(std::move(wrong));
        if (how_ == telling::table) {
            screen_.emplace(context_.out);
            work_.spawn(draw());
            heed_size();
        }
        if (config_.run_for != duration::zero())
            work_.spawn(end_in_time());
        work_.spawn(world_.write_incidents());
        heed_wake_up();
        keeper_.start();
        io_.run();
        tell_last();
        if (error_)
            std::rethrow_exception(error_);
        return result_;
    }

private:
    // --- the port

    static watch_port_config port_config(const watch_config& config, std::string token) {
        watch_port_config port;
        port.host = config.listen_host;
        port.port = config.listen_port;
        port.token = std::move(token);
        port.hosts = config.hosts;
        return port;
    }

    watch_sources sources() {
        watch_sources all;
        all.status = [this] {
            return status();
        };
        all.not_ready = [this] {
            return keeper_.not_ready();
        };
        all.metrics = [this] {
            return prometheus_text(world_);
        };
        return all;
    }

    boost::json::object status() {
        board_.see_clocks(world_.now(), world_.wall_now());
        boost::json::object all{{"version", HOLDFAST_VERSION}};
        for (auto& each : board_.status(world_.now()))
            all[each.key()] = std::move(each.value());
        return all;
    }

    // @return why it cannot
    std::string listen() {
        const auto where = port_->listen();
        if (!where)
            return where.error().message;
        const auto words = "listening on " + to_string(*where);
        context_.notes.text("holdfast: " + printable_line(words) + '\n');
        remember(words);
        work_.spawn(port_->run());
        return {};
    }

    // --- what is told

    void on_change() {
        for (auto& news : board_.take_news()) {
            ring_.publish(news.name, boost::json::serialize(news.what));
            tell(news);
        }
        changed_.notify_all();
        if (!context_.out.ok())
            end();
    }

    // In text, the log tells of trouble: it says each thing once.
    void tell(const watch_news& news) {
        const bool trouble = news.name == "trouble" || news.name == "recovered";
        if (how_ == telling::rows)
            context_.out.row({{news.name, news.what}});
        else if (!trouble && how_ == telling::lines)
            line(news.words, news.grave);
        else if (!trouble && news.name != "session" && news.name != "turn")
            remember(news.words);
    }

    void line(const std::string& words, bool grave) {
        const auto text = time_of_day(world_.wall_now()) + ' ' + printable_line(words);
        context_.out.text((grave ? context_.out.paint(style::red, text) : text) + '\n');
    }

    void remember(const std::string& words) {
        latest_.push_back(time_of_day(world_.wall_now()) + ' ' + words);
        if (latest_.size() > log_kept)
            latest_.erase(latest_.begin());
    }

    void on_log(const log_record& record) {
        if (how_ == telling::rows)
            return log_(record);
        const bool told = matters(record);
        if (told && how_ == telling::lines)
            line(words_of(record), record.level >= log_level::warn);
        if (how_ == telling::table) {
            if (told)
                remember(words_of(record));
            changed_.notify_all();
            if (::isatty(STDERR_FILENO) != 0) // most likely the same terminal
                return;
        }
        log_(told && how_ == telling::lines ? lowered(record) : record);
    }

    // --- the table

    // At most every `between_frames`, and else each second, for the countdowns.
    net::awaitable<void> draw() {
        for (;;) {
            screen_->draw(frame(watch_screen::size(), true));
            if (!context_.out.ok())
                end();
            co_await world_.sleep_for(between_frames);
            co_await changed_.wait(later(world_.now(), seconds(1) - between_frames));
        }
    }

    std::vector<std::string> frame(screen_size size, bool filled) const {
        table_look look;
        look.width = size.width;
        look.height = size.height;
        look.filled = filled;
        look.paint = [this](style s, std::string_view text) {
            return context_.out.paint(s, text);
        };
        return table_lines(board_.rows(), board_.totals(), latest_, board_.begun(), world_.now(), look);
    }

    // Another size, or back from Ctrl-Z.
    void heed_size() {
        resized_.add(SIGWINCH);
        resized_.add(SIGCONT);
        wait_for_size();
    }

    void wait_for_size() {
        resized_.async_wait([this](boost::system::error_code ec, int) {
            if (ec)
                return;
            screen_->refresh();
            changed_.notify_all();
            wait_for_size();
        });
    }

    // SIGUSR1: its sender knows that a server is back.
    void heed_wake_up() {
        woken_.add(SIGUSR1);
        wait_for_wake_up();
    }

    void wait_for_wake_up() {
        woken_.async_wait([this](boost::system::error_code ec, int) {
            if (ec)
                return;
            keeper_.wake_all();
            wait_for_wake_up();
        });
    }

    // What was seen last stays on the terminal; a watch with an end of its own tells it in any case.
    void tell_last() {
        const bool on_terminal = screen_.has_value();
        if (on_terminal)
            screen_->leave();
        screen_.reset();
        if (!on_terminal && (how_ != telling::lines || config_.run_for == duration::zero()))
            return;
        const auto size = on_terminal ? watch_screen::size() : paper;
        for (const auto& each : frame({size.width, size.height - 1}, false))
            context_.out.text(each + '\n');
    }

    // --- the end

    net::awaitable<void> end_in_time() {
        co_await world_.sleep_for(config_.run_for);
        ask_for_the_end();
    }

    void on_signal(int number) {
        result_ = {exit_code_of(number), {}};
        if (ending_)
            return leave_at_once();
        ask_for_the_end();
    }

    void ask_for_the_end() {
        if (std::exchange(ending_, true))
            return;
        work_.spawn(end_with_patience());
        if (config_.abort_on_exit && signal_received() != 0)
            work_.spawn(abort_and_end());
        else
            end();
    }

    net::awaitable<void> abort_and_end() {
        remember("aborting what runs; a second signal leaves at once");
        changed_.notify_all();
        co_await keeper_.abort_all(later(world_.now(), abort_patience));
        end();
    }

    // Whatever it is that does not end must not keep us.
    net::awaitable<void> end_with_patience() {
        co_await world_.sleep_for(end_patience);
        leave_at_once();
    }

    void leave_at_once() {
        tell_last();
        context_.out.drain_within(last_words_patience);
        context_.notes.drain_within(milliseconds(0));
        std::_Exit(result_.code);
    }

    void on_error(std::exception_ptr e) {
        error_ = e;
        end();
    }

    void end() {
        ending_ = true;
        signals_.stop();
        resized_.cancel();
        woken_.cancel();
        keeper_.stop();
        if (port_)
            port_->stop();
        work_.cancel();
    }

    const watch_config& config_;
    command_context& context_;
    const telling how_;
    log_sink log_;
    std::vector<std::string> latest_; // lines of the log, for the table's foot
    event_ring ring_;
    net::io_context io_{1};
    runtime world_;
    watch_board board_;
    watch_keeper keeper_;
    std::optional<watch_port> port_;
    task_scope work_;
    condition_variable changed_;
    std::optional<watch_screen> screen_;
    net::signal_set resized_;
    net::signal_set woken_;
    signals signals_;
    command_result result_;
    std::exception_ptr error_;
    bool ending_ = false;
};

// --- what is to be done

struct watch_options {
    std::string file;
    std::vector<given_setting> flags; ///< in the order in which they were given
};

bool holds_secrets(const watch_config& config) {
    return std::any_of(config.servers.begin(), config.servers.end(), [](const watched_server& each) {
        return !each.bearer.empty() || each.user.find(':') != std::string::npos || !each.url.password.empty();
    });
}

std::string read_config(const watch_options& options, output& notes, watch_config& into) {
    if (!options.file.empty()) {
        std::string text;
        if (auto wrong = read_file(options.file, most_config_bytes, text); !wrong.empty())
            return wrong;
        if (auto wrong = apply_file(text, options.file, into); !wrong.empty())
            return wrong;
        if (holds_secrets(into) && is_world_readable(options.file))
            notes.text("holdfast: warning: " + printable_line(options.file) +
                       " holds passwords or tokens and is readable by every user\n");
    }
    if (auto wrong = apply_flags(options.flags, into); !wrong.empty())
        return wrong;
    if (auto wrong = complete(into); !wrong.empty())
        return wrong;
    for (auto& each : into.servers) {
        if (!each.bearer.empty())
            continue;
        std::string user = each.user.empty() ? into.user : each.user;
        if (auto wrong = read_user(user); !wrong.empty())
            return wrong;
        add_credentials(each.url, user);
    }
    return {};
}

// In a file or the environment, as arguments are there for all to see.
std::string read_token(const watch_config& config, output& notes, std::string& into) {
    const bool in_file = !config.token_file.empty();
    const std::string name = in_file ? config.token_file : "HOLDFAST_WATCH_TOKEN";
    if (!in_file)
        into = environment(name.c_str());
    else if (auto wrong = read_file(name, token_file_bytes, into); !wrong.empty())
        return wrong;
    if (!in_file && into.empty())
        return {};
    into.erase(into.find_last_not_of(" \t\r\n") + 1);
    if (const auto wrong = token_fault(into); !wrong.empty())
        return name + ": " + wrong;
    if (in_file && is_world_readable(name))
        notes.text("holdfast: warning: " + printable_line(name) +
                   " holds the token and is readable by every user\n");
    return {};
}

command_result watch(const watch_options& options, command_context& context) {
    watch_config config;
    if (auto wrong = read_config(options, context.notes, config); !wrong.empty())
        return misused(std::move(wrong));
    std::string token;
    if (auto wrong = read_token(config, context.notes, token); !wrong.empty())
        return misused(std::move(wrong));
    std::shared_ptr<const http::tls_context> tls;
    if (std::any_of(config.servers.begin(), config.servers.end(),
                    [](const watched_server& each) { return each.url.where.scheme == "https"; })) {
        auto made = http::make_tls_context(config.tls);
        if (!made)
            return misused(made.error().message);
        tls = std::move(*made);
        context.notes.text(tls_warning(config.tls));
    }
    raise_descriptor_limit();
    command_result result;
    {
        watcher one(config, std::move(tls), std::move(token), context);
        result = one.run();
    }
    drain_output(context);
    return result;
}

void add_setting(CLI::App& command, const setting_info& info, watch_options& to) {
    const auto flag = flag_of(info.key);
    const std::string help(info.help);
    const std::string key(info.key);
    if (info.what == setting_info::shape::flag) {
        command.add_flag_callback(flag, [&to, key] { to.flags.push_back({key, true}); }, help);
        return;
    }
    const auto take = [&to, key](const CLI::results_t& values) {
        to.flags.push_back({key, boost::json::string(values.back())});
        return true;
    };
    command.add_option(flag, take, help)
        ->trigger_on_parse()
        ->type_name(std::string(info.type))
        ->default_str(info.initial);
}

} // namespace

void add_watch(CLI::App& program, command_context& context) {
    const auto options = std::make_shared<watch_options>();
    CLI::App* const command = program.add_subcommand(
        "watch", "Watch OpenCode servers and their sessions, for as long as you like.");
    command
        ->add_option("--config", options->file, "A JSON file; its keys are the options below, with _ for -")
        ->type_name("FILE");
    for (const auto& each : watch_settings())
        if (each.what != setting_info::shape::file)
            add_setting(*command, each, *options);
    add_common_options(*command, context);
    command->footer(
        "In the file, servers, sessions, hosts, allow and reject are lists. A server is a URL, "
        "or an object:\n"
        "  {\"url\": URL, \"tag\": NAME, \"sessions\": [ID], \"discover\": true, \"user\": USER, "
        "\"bearer\": TOKEN,\n   \"global_stream\": true, \"protocol\": \"auto|1|2\"}\n"
        "and \"rules\" are ask rules of which the last that fits counts:\n"
        "  {\"permission\": \"bash\", \"pattern\": \"git *\", \"depth\": 0, \"answer\": "
        "\"once|always|reject|ask\"}\n"
        "What is given here replaces single values of the file, and adds to its lists.\n"
        "A reader who is too slow for stdout misses rows, and gets {\"gap\": {\"lost\": N}} in their "
        "place.\nSIGUSR1 ends every wait for a server.\n");
    command->callback([options, &context] {
        context.run = [options, &context] {
            return watch(*options, context);
        };
    });
}

} // namespace holdfast::app
