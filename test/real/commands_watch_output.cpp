// holdfast watch and follow before readers who do not read: nothing else waits for them.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/eventually.hpp"
#include "support/ports.hpp"
#include "support/sim_process.hpp"
#include "support/sim_sessions.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
using lines = std::vector<std::string>;

/// The command with outputs that nobody reads until read() is called: small pipes, or one terminal.
class unread {
public:
    enum class where { pipes, terminal };

    unread(lines arguments, where to) {
        int out[2], err[2];
        if (to == where::terminal) {
            winsize size{24, 120, 0, 0};
            BOOST_REQUIRE(::openpty(&out[0], &out[1], nullptr, nullptr, &size) == 0);
            err[0] = err[1] = -1;
        } else {
            BOOST_REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
            BOOST_REQUIRE(::pipe2(err, O_CLOEXEC) == 0);
            ::fcntl(out[1], F_SETPIPE_SZ, 4096);
            ::fcntl(err[1], F_SETPIPE_SZ, 4096);
        }
        const auto program = program_path("holdfast");
        arguments.insert(arguments.begin(), program);
        std::vector<char*> argv;
        for (auto& each : arguments)
            argv.push_back(each.data());
        argv.push_back(nullptr);
        id_ = ::fork();
        if (id_ == 0) {
            ::setsid();
            ::dup2(to == where::terminal ? out[1] : ::open("/dev/null", O_RDONLY), 0);
            ::dup2(out[1], 1);
            ::dup2(to == where::terminal ? out[1] : err[1], 2);
            ::setenv("TERM", "xterm", 1);
            ::execv(program.c_str(), argv.data());
            ::_exit(127);
        }
        if (to == where::terminal) {
            terminal_ = out[1];
        } else {
            ::close(out[1]);
            ::close(err[1]);
            errors_ = err[0];
        }
        output_ = out[0];
    }
    ~unread() {
        if (!wait(0ms)) {
            ::kill(id_, SIGKILL);
            ::waitpid(id_, nullptr, 0);
        }
        for (const int each : {output_, errors_, terminal_})
            if (each >= 0)
                ::close(each);
    }
    unread(const unread&) = delete;
    unread& operator=(const unread&) = delete;

    void signal(int number) const { ::kill(id_, number); }
    [[nodiscard]] int terminal() const { return terminal_; }

    /// The exit code; 128 and more: by a signal.
    std::optional<int> wait(std::chrono::milliseconds deadline) {
        const auto over = [this] {
            int status = 0;
            if (!code_ && ::waitpid(id_, &status, WNOHANG) == id_)
                code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            return code_.has_value();
        };
        eventually(over, deadline);
        return code_;
    }

    /// Reads until `mark` comes. @return all that was read
    std::string read(const std::string& mark) {
        std::string all;
        pollfd wanted{output_, POLLIN, 0};
        while (all.find(mark) == std::string::npos && ::poll(&wanted, 1, 20'000) > 0) {
            char bytes[65536];
            const auto size = ::read(output_, bytes, sizeof bytes);
            if (size <= 0)
                break;
            all.append(bytes, static_cast<std::size_t>(size));
        }
        return all;
    }

private:
    pid_t id_ = -1;
    int output_ = -1;
    int errors_ = -1;
    int terminal_ = -1;
    std::optional<int> code_;
};

lines watch_arguments(const sim_process& server, unsigned short port, lines more = {}) {
    lines all{"watch",
              "--server",
              server.url(),
              "--discover-every",
              "200ms",
              "--capture-every",
              "200ms",
              "--base-delay",
              "100ms",
              "--max-delay",
              "1s",
              "--listen",
              "127.0.0.1:" + std::to_string(port)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

int status_at(unsigned short port, const std::string& path) {
    try {
        return http_call(port, "GET", path).status;
    } catch (const std::exception&) {
        return 0;
    }
}

bool is_ready(unsigned short port) {
    return eventually([&] { return status_at(port, "/readyz") == 200; }, 60s);
}

bool is_idle(const sim_process& server) {
    return http_call(server.port(), "GET", "/session/status").body.find("busy") == std::string::npos;
}

/// More rows than a small pipe takes.
void fill_output(const sim_process& server) {
    for (int i = 0; i < 40; ++i)
        make_session(server.port(), std::string(200, 'x'));
}

} // namespace

BOOST_AUTO_TEST_CASE(a_pipe_that_nobody_reads_stops_no_approval_no_port_and_no_end) {
    for (const std::string format : {"ndjson", "text"}) {
        sim_process server;
        const auto port = free_port();
        const auto session = make_session(server.port(), "asks");
        unread w(watch_arguments(
                     server, port,
                     {"--format", format, "--log-level", "debug", "--allow", "bash", "--abort-on-exit"}),
                 unread::where::pipes);
        BOOST_REQUIRE(is_ready(port));
        fill_output(server);
        std::this_thread::sleep_for(2s); // by then it has more to say than the pipes take
        BOOST_TEST(status_at(port, "/livez") == 200);
        prompt_session(server.port(), session, "#ask");
        BOOST_TEST(eventually([&] { return is_idle(server); }, 20s), "the approval was not answered");
        prompt_session(server.port(), session, "#slow:2000");
        BOOST_TEST(eventually([&] { return !is_idle(server); }, 20s));
        std::this_thread::sleep_for(1s); // until it knows of that
        BOOST_TEST(status_at(port, "/status") == 200);
        w.signal(SIGTERM);
        BOOST_TEST(w.wait(3s).value_or(-1) == 143);
        BOOST_TEST(is_idle(server), "the turn was not aborted");
    }
}

BOOST_AUTO_TEST_CASE(a_reader_who_comes_back_goes_on_where_it_was) {
    sim_process server;
    const auto port = free_port();
    unread w(watch_arguments(server, port, {"--format", "ndjson"}), unread::where::pipes);
    BOOST_REQUIRE(is_ready(port));
    fill_output(server);
    make_session(server.port(), "the last one");
    std::this_thread::sleep_for(2s);
    const auto all = w.read("the last one");
    BOOST_TEST(all.find("the last one") != std::string::npos);
    BOOST_TEST(all.find("{\"gap\"") == std::string::npos);
    w.signal(SIGINT);
    BOOST_TEST(w.wait(3s).value_or(-1) == 130);
}

BOOST_AUTO_TEST_CASE(a_terminal_stopped_by_ctrl_s_stops_nothing_else) {
    sim_process server;
    const auto port = free_port();
    const auto session = make_session(server.port(), "asks");
    unread w(watch_arguments(server, port, {"--allow", "bash", "--abort-on-exit"}), unread::where::terminal);
    BOOST_REQUIRE(is_ready(port));
    w.read("holdfast watch");
    BOOST_REQUIRE(::tcflow(w.terminal(), TCOOFF) == 0);
    fill_output(server);
    std::this_thread::sleep_for(2s);
    BOOST_TEST(status_at(port, "/livez") == 200);
    prompt_session(server.port(), session, "#ask");
    BOOST_TEST(eventually([&] { return is_idle(server); }, 20s), "the approval was not answered");
    BOOST_REQUIRE(::tcflow(w.terminal(), TCOON) == 0);
    BOOST_TEST(w.read("41 runs").find("41 runs") != std::string::npos);
    BOOST_REQUIRE(::tcflow(w.terminal(), TCOOFF) == 0);
    std::this_thread::sleep_for(1500ms);
    w.signal(SIGTERM);
    BOOST_TEST(w.wait(3s).value_or(-1) == 143);
    BOOST_TEST(status_at(port, "/livez") == 0);
}

BOOST_AUTO_TEST_CASE(follow_before_a_pipe_that_nobody_reads_drops_and_says_how_much) {
    sim_process server;
    const auto session = make_session(server.port());
    unread f({"follow", session, "--server", server.url(), "--format", "ndjson", "--log-level", "debug"},
             unread::where::pipes);
    std::this_thread::sleep_for(2s);
    for (int i = 0; i < 3; ++i) {
        prompt_session(server.port(), session, "#big:600000"); // twice in its rows
        std::this_thread::sleep_for(500ms);
        BOOST_TEST(eventually([&] { return is_idle(server); }, 60s));
    }
    std::this_thread::sleep_for(1s);
    BOOST_TEST(f.read("{\"gap\":{\"lost\":").find("{\"gap\":{\"lost\":") != std::string::npos);
    f.signal(SIGTERM);
    BOOST_TEST(f.wait(3s).value_or(-1) == 143);
}
