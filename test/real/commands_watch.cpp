// holdfast watch: what it tells of servers that live and fail, its table, its port, and its end.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/eventually.hpp"
#include "support/ports.hpp"
#include "support/sim_process.hpp"
#include "support/sim_sessions.hpp"
#include "support/terminal_screen.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/json/parse.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
using lines = std::vector<std::string>;
namespace json = boost::json;

constexpr auto ever = 60s; // the machine may be busy

auto with(std::string part) {
    return [part](std::string_view line) {
        return line.find(part) != std::string_view::npos;
    };
}

auto with_both(std::string one, std::string other) {
    return [one, other](std::string_view line) {
        return line.find(one) != std::string_view::npos && line.find(other) != std::string_view::npos;
    };
}

lines environment_with(const lines& more) {
    auto all = current_environment();
    std::erase_if(all, [](const std::string& each) {
        return each.starts_with("TERM=") || each.starts_with("NO_COLOR=") ||
               each.starts_with("HOLDFAST_WATCH_TOKEN=") || each.starts_with("OPENCODE_SERVER_");
    });
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

/// A watch that runs, quick to look and to try again.
class watcher {
public:
    explicit watcher(lines more, process::input input = process::input::pipe,
                     const lines& environment = {"TERM=xterm-256color"})
        : child_(options_of(std::move(more), input, environment)) {}

    process& child() { return child_; }

    [[nodiscard]] bool told(const std::function<bool(std::string_view)>& wanted) const {
        return child_.wait_line(wanted, ever).has_value();
    }

    /// The exit code after the signal; -1: not within the deadline.
    int end_by(int signal, std::chrono::milliseconds deadline = 2s) {
        child_.signal(signal);
        const auto status = child_.wait(deadline);
        child_.wait_end_of_output(2s);
        return status && status->signal == 0 ? status->code : -1;
    }

    /// Where its port listens, as it told on stderr.
    unsigned short port() const {
        const auto line = child_.wait_line(with("listening on "), ever, process::stream::errors);
        if (!line)
            throw std::runtime_error("the watch does not say where it listens");
        return static_cast<unsigned short>(std::stoi(line->substr(line->rfind(':') + 1)));
    }

private:
    static process::options options_of(lines more, process::input input, const lines& environment) {
        more.insert(more.begin(), {"watch", "--discover-every", "200ms", "--capture-every", "200ms",
                                   "--base-delay", "100ms", "--max-delay", "1s"});
        auto what = command_of("holdfast", more);
        what.standard_input = input;
        what.environment = environment_with(environment);
        return what;
    }

    process child_;
};

json::object status_of(const watcher& w) {
    return json::parse(http_call(w.port(), "GET", "/status").body).as_object();
}

/// What the terminal of a watch shows at the end, with its size as the tests' terminals have it.
terminal_screen screen_after(const process& child) {
    terminal_screen screen(120, 24);
    for (const auto& line : child.lines())
        screen.feed(line + '\n');
    return screen;
}

/// One viewer of /events.
class viewer {
public:
    explicit viewer(unsigned short port) : socket_(io_) {
        socket_.connect({boost::asio::ip::address_v4::loopback(), port});
        boost::asio::write(
            socket_, boost::asio::buffer(std::string("GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")));
        timeval patience{30, 0};
        ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }

    /// Reads on until this has come. @return whether it has before the stream's end, or 30 s of silence
    bool sees(std::string_view part) {
        while (all_.find(part) == std::string::npos) {
            char piece[4096];
            const auto size = ::recv(socket_.native_handle(), piece, sizeof piece, 0);
            if (size <= 0)
                return false;
            all_.append(piece, static_cast<std::size_t>(size));
        }
        return true;
    }

private:
    boost::asio::io_context io_;
    boost::asio::ip::tcp::socket socket_;
    std::string all_;
};

std::string temporary_file(const std::string& name, const std::string& text) {
    const auto path =
        std::filesystem::temp_directory_path() / ("holdfast-" + std::to_string(::getpid()) + '-' + name);
    std::ofstream(path) << text;
    return path.string();
}

} // namespace

// --- line by line

BOOST_AUTO_TEST_CASE(what_matters_of_a_run_is_a_line_each) {
    sim_process server;
    const auto session = make_session(server.port(), "the parser");
    watcher w({"--server", server.url()});
    BOOST_REQUIRE(w.told(with("the parser: is watched")));
    prompt_session(server.port(), session, "#ask");
    BOOST_TEST(w.told(with("the parser: turn begun")));
    BOOST_REQUIRE(w.told(with("the parser: asks: bash")));
    http_call(server.port(), "POST", "/session/" + session + "/abort");
    BOOST_TEST(w.told(with("the parser: aborted")));
    BOOST_TEST(w.end_by(SIGTERM) == 143);
}

BOOST_AUTO_TEST_CASE(sessions_that_are_made_later_are_found) {
    sim_process server;
    watcher w({"--server", server.url(), "--format", "ndjson"});
    make_session(server.port(), "early");
    BOOST_REQUIRE(w.told(with_both("{\"session\":", "early")));
    const auto late = make_session(server.port(), "late");
    BOOST_REQUIRE(w.told(with_both("{\"session\":", "late")));
    prompt_session(server.port(), late, "#slow:30");
    BOOST_TEST(w.told(with_both("{\"turn\":", late)));
    const auto settled = w.child().wait_line(with("{\"settled\":"), ever);
    BOOST_REQUIRE(settled.has_value());
    const auto row = json::parse(*settled).at("settled").as_object();
    BOOST_TEST(row.at("outcome").as_string() == "completed");
    BOOST_TEST(row.at("session").as_string() == late);
    delete_session(server.port(), late);
    BOOST_TEST(w.told(with_both("\"deleted\":true", late)));
}

BOOST_AUTO_TEST_CASE(rules_answer_for_the_owner) {
    sim_process server;
    const auto session = make_session(server.port());
    watcher w({"--server", server.url(), "--format", "ndjson", "--allow", "bash"});
    BOOST_REQUIRE(w.told(with("{\"session\":")));
    prompt_session(server.port(), session, "#ask");
    const auto settled = w.child().wait_line(with("{\"settled\":"), ever);
    BOOST_REQUIRE(settled.has_value());
    BOOST_TEST(settled->find("\"outcome\":\"completed\"") != std::string::npos, *settled);
}

BOOST_AUTO_TEST_CASE(an_ask_that_waits_too_long_is_rejected) {
    sim_process server;
    const auto session = make_session(server.port());
    watcher w({"--server", server.url(), "--format", "ndjson", "--ask-timeout", "500ms"});
    BOOST_REQUIRE(w.told(with("{\"session\":")));
    prompt_session(server.port(), session, "#ask");
    BOOST_TEST(w.told(with_both("{\"ask\":", "\"reply\":null")));
    const auto settled = w.child().wait_line(with("{\"settled\":"), ever);
    BOOST_REQUIRE(settled.has_value());
    BOOST_TEST(settled->find("\"outcome\":\"rejected\"") != std::string::npos, *settled);
}

BOOST_AUTO_TEST_CASE(a_turn_that_passes_its_limit_is_aborted_and_says_so) {
    sim_process server;
    const auto session = make_session(server.port());
    watcher w({"--server", server.url(), "--format", "ndjson", "--turn-deadline", "2s"});
    BOOST_REQUIRE(w.told(with("{\"session\":")));
    prompt_session(server.port(), session, "#slow:1000");
    const auto settled = w.child().wait_line(with("{\"settled\":"), ever);
    BOOST_REQUIRE(settled.has_value());
    BOOST_TEST(settled->find("\"outcome\":\"aborted\"") != std::string::npos, *settled);
    BOOST_TEST(settled->find("\"limit\":\"deadline\"") != std::string::npos, *settled);
}

BOOST_AUTO_TEST_CASE(servers_that_fail_hurt_no_other) {
    sim_process good;
    const auto session = make_session(good.port());
    sim_process closed({}, environment_with({"OPENCODE_SERVER_PASSWORD=secret"}));
    const auto dead = "http://127.0.0.1:" + std::to_string(dead_port());
    watcher w({"--server", dead, "--server", closed.url(), "--server", good.url(), "--format", "ndjson"});
    BOOST_TEST(w.told(with_both("{\"trouble\":", dead)));
    BOOST_TEST(w.told(with_both("{\"trouble\":", closed.url())));
    BOOST_REQUIRE(w.told(with_both("{\"session\":", good.url())));
    prompt_session(good.port(), session, "#plain");
    BOOST_TEST(w.told(with_both("{\"settled\":", "completed")));
}

BOOST_AUTO_TEST_CASE(a_server_that_comes_back_is_told_and_its_turns_go_on) {
    sim_process server({"--fault", "refuse@4000:1500"});
    const auto session = make_session(server.port());
    watcher w({"--server", server.url(), "--session", session, "--format", "ndjson"});
    BOOST_REQUIRE(w.told(with("{\"session\":")));
    prompt_session(server.port(), session, "#slow:100");
    BOOST_TEST(w.told(with("{\"trouble\":")));
    BOOST_TEST(w.told(with("{\"recovered\":")));
    const auto settled = w.child().wait_line(with("{\"settled\":"), ever);
    BOOST_REQUIRE(settled.has_value());
    BOOST_TEST(settled->find("\"outcome\":\"completed\"") != std::string::npos, *settled);
}

BOOST_AUTO_TEST_CASE(a_session_is_held_at_the_server_that_knows_it) {
    sim_process one, other({"--seed", "2"});
    const auto session = make_session(other.port(), "over there");
    watcher w({"--server", one.url(), "--server", other.url(), "--session", session, "--session",
               "ses_nowhere", "--format", "ndjson"});
    BOOST_TEST(w.told(with_both("over there", other.url())));
    BOOST_TEST(w.told(with_both("{\"trouble\":", "ses_nowhere")));
}

// --- how it is told what to do

BOOST_AUTO_TEST_CASE(a_file_says_what_to_watch) {
    sim_process server;
    make_session(server.port(), "by file");
    const auto file = temporary_file("watch.json", R"({"servers": [{"url": ")" + server.url() +
                                                       R"(", "tag": "alpha"}], "for": "3s"})");
    const auto result = run_command("holdfast", {"watch", "--config", file, "--format", "ndjson"});
    BOOST_TEST(result.code() == 0, result.text());
    BOOST_TEST(
        std::any_of(result.output.begin(), result.output.end(), with_both("\"tag\":\"alpha\"", "by file")),
        result.text());
    std::filesystem::remove(file);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_meant_is_misuse) {
    const auto file = temporary_file("bad.json", R"({"servers": [{"url": "http://a", "sesions": []}]})");
    const std::vector<std::pair<lines, std::string>> rows{
        {{"--config", file}, "servers[0].sesions: there is no such key"},
        {{"--config", "/nonexistent/w.json"}, "/nonexistent/w.json: cannot be read"},
        {{"--server", "nonsense"}, "--server: "},
        {{"--ask-default", "maybe"}, "--ask-default: maybe is none of once|always|reject"},
        {{"--token-file", "/nonexistent/token"}, "cannot be read"},
    };
    for (const auto& [arguments, why] : rows) {
        lines all{"watch"};
        all.insert(all.end(), arguments.begin(), arguments.end());
        const auto result = run_command("holdfast", all);
        BOOST_TEST(result.code() == 2, result.text());
        BOOST_TEST(std::any_of(result.errors.begin(), result.errors.end(), with(why)), result.text());
    }
    std::filesystem::remove(file);
}

// --- the port

BOOST_AUTO_TEST_CASE(the_port_tells_status_readiness_metrics_and_events) {
    sim_process server;
    const auto session = make_session(server.port(), "on the port");
    watcher w({"--server", server.url(), "--listen", "127.0.0.1:0"});
    BOOST_REQUIRE(w.told(with("on the port: is watched")));
    viewer events(w.port());
    BOOST_REQUIRE(events.sees("retry: "));
    prompt_session(server.port(), session, "#ask");
    BOOST_REQUIRE(w.told(with("asks: bash")));
    BOOST_TEST(events.sees("event: turn"));
    BOOST_TEST(events.sees("event: ask"));
    BOOST_TEST(events.sees(session));
    const auto status = status_of(w);
    BOOST_TEST(status.at("servers").at(0).at("state").as_string() == "up");
    const auto& row = status.at("sessions").at(0);
    BOOST_TEST(row.at("id").as_string() == session);
    BOOST_TEST(row.at("state").as_string() == "waiting");
    BOOST_TEST(row.at("asks").as_array().size() == 1U);
    BOOST_TEST(http_call(w.port(), "GET", "/readyz").status == 200);
    BOOST_TEST(http_call(w.port(), "GET", "/livez").status == 200);
    BOOST_TEST(http_call(w.port(), "GET", "/metrics").body.find("# TYPE holdfast_") != std::string::npos);
    BOOST_TEST(w.end_by(SIGINT) == 130);
}

BOOST_AUTO_TEST_CASE(without_a_token_it_listens_on_loopback_alone) {
    const auto result =
        run_command("holdfast", {"watch", "--server", "http://127.0.0.1:1", "--listen", "0.0.0.0:0"});
    BOOST_TEST(result.code() == 1, result.text());
}

BOOST_AUTO_TEST_CASE(the_token_comes_from_a_file_or_the_environment) {
    const auto file = temporary_file("token", "secret\n");
    watcher by_file({"--server", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--token-file", file});
    watcher by_environment({"--server", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"},
                           process::input::pipe, {"HOLDFAST_WATCH_TOKEN=secret"});
    for (const auto* w : {&by_file, &by_environment}) {
        BOOST_TEST(http_call(w->port(), "GET", "/status").status == 401);
        BOOST_TEST(http_call(w->port(), "GET", "/status", {}, "Authorization: Bearer secret\r\n").status ==
                   200);
    }
    std::filesystem::remove(file);
}

// --- its end

BOOST_AUTO_TEST_CASE(a_signal_ends_it_within_two_seconds_whatever_the_servers_do) {
    sim_process good, frozen, silent({"--fault", "hang*"});
    make_session(good.port());
    make_session(frozen.port());
    make_session(silent.port());
    for (const auto& [signal, code] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
        watcher w({"--server", good.url(), "--server", frozen.url(), "--server", silent.url(), "--format",
                   "ndjson"});
        BOOST_REQUIRE(w.told(with_both("{\"session\":", frozen.url())));
        frozen.child().signal(SIGSTOP);
        std::this_thread::sleep_for(500ms);
        BOOST_TEST(w.end_by(signal) == code);
        frozen.child().signal(SIGCONT);
    }
}

BOOST_AUTO_TEST_CASE(turns_are_aborted_at_the_end_only_when_asked_for) {
    for (const bool asked : {false, true}) {
        sim_process server;
        const auto session = make_session(server.port());
        lines arguments{"--server", server.url(), "--format", "ndjson"};
        if (asked)
            arguments.push_back("--abort-on-exit");
        watcher w(std::move(arguments));
        BOOST_REQUIRE(w.told(with("{\"session\":")));
        prompt_session(server.port(), session, "#slow:2000");
        BOOST_REQUIRE(w.told(with("{\"turn\":")));
        BOOST_TEST(w.end_by(SIGTERM) == 143);
        const auto status = http_call(server.port(), "GET", "/session/status").body;
        BOOST_TEST((status.find("busy") == std::string::npos) == asked, status);
    }
}

BOOST_AUTO_TEST_CASE(it_ends_by_itself_when_told_to) {
    const auto begun = std::chrono::steady_clock::now();
    const auto result = run_command("holdfast", {"watch", "--server", "http://127.0.0.1:1", "--for", "1"});
    BOOST_TEST(result.code() == 0, result.text());
    BOOST_TEST((std::chrono::steady_clock::now() - begun >= 1s));
}

// --- on a terminal

BOOST_AUTO_TEST_CASE(a_terminal_has_a_table_and_gets_itself_back) {
    sim_process server;
    const auto session = make_session(server.port(), "the parser");
    watcher w({"--server", server.url(), "--server", dead_url()}, process::input::terminal);
    BOOST_REQUIRE(wait_signal_handler(w.child().id()));
    std::this_thread::sleep_for(1s);
    prompt_session(server.port(), session, "#ask");
    std::this_thread::sleep_for(3s);
    BOOST_TEST(w.end_by(SIGINT) == 130);
    const auto screen = screen_after(w.child());
    BOOST_TEST(!screen.alternate());
    BOOST_TEST(screen.cursor_shown());
    BOOST_TEST(screen.wraps());
    // The last table is left there.
    BOOST_TEST(screen.shows("holdfast watch  2 servers (1 down), 1 run"));
    BOOST_TEST(screen.shows("asks: bash"));
    BOOST_TEST(screen.shows("(refused, "));
}

BOOST_AUTO_TEST_CASE(every_signal_gives_the_terminal_back) {
    for (const int signal : {SIGHUP, SIGQUIT, SIGSEGV, SIGABRT}) {
        watcher w({"--server", "http://127.0.0.1:1"}, process::input::terminal);
        BOOST_REQUIRE(wait_signal_handler(w.child().id()));
        std::this_thread::sleep_for(500ms);
        w.child().signal(signal);
        const auto status = w.child().wait(5s);
        BOOST_REQUIRE(status.has_value());
        BOOST_TEST(status->signal == signal);
        w.child().wait_end_of_output(2s);
        const auto screen = screen_after(w.child());
        BOOST_TEST(!screen.alternate());
        BOOST_TEST(screen.cursor_shown());
    }
}

BOOST_AUTO_TEST_CASE(a_calm_watch_writes_next_to_nothing) {
    sim_process server;
    make_session(server.port());
    watcher w({"--server", server.url()}, process::input::terminal);
    BOOST_REQUIRE(wait_signal_handler(w.child().id()));
    std::this_thread::sleep_for(5s);
    w.end_by(SIGTERM);
    std::size_t bytes = 0;
    for (const auto& line : w.child().lines())
        bytes += line.size() + 1;
    BOOST_TEST(bytes < 8'000U, bytes); // two whole screens of 120 x 24 would be 5,760
}

BOOST_AUTO_TEST_CASE(a_dumb_terminal_has_lines) {
    sim_process server;
    make_session(server.port(), "the parser");
    watcher w({"--server", server.url()}, process::input::terminal, {"TERM=dumb"});
    BOOST_TEST(w.told(with("the parser: is watched")));
    BOOST_TEST(w.end_by(SIGTERM) == 143);
    for (const auto& line : w.child().lines())
        BOOST_TEST(line.find('\x1b') == std::string::npos, line);
}

BOOST_AUTO_TEST_CASE(without_colours_only_the_cursor_is_moved) {
    watcher w({"--server", "http://127.0.0.1:1"}, process::input::terminal, {"TERM=xterm", "NO_COLOR=1"});
    BOOST_REQUIRE(wait_signal_handler(w.child().id()));
    std::this_thread::sleep_for(1s);
    w.end_by(SIGTERM);
    for (const auto& line : w.child().lines())
        for (const std::string colour : {"\x1b[1m", "\x1b[2m", "\x1b[31m"})
            BOOST_TEST(line.find(colour) == std::string::npos);
}
