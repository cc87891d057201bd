// A real OpenCode server for tests: offline, in a home and a project of its own, gone without a trace.
#pragma once

#include "support/process.hpp"
#include "support/scripted_model.hpp"

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::test {

/// The version of the server that the tests are written for.
inline constexpr const char* opencode_version = "1.18.33";

/// Where the server's program is: what HOLDFAST_OPENCODE names, else the npm package unpacked below
/// $XDG_CACHE_HOME (or ~/.cache) in holdfast/opencode/VERSION. Nothing when no such file is there.
std::optional<std::filesystem::path> find_opencode();

/// One server process, its home and its project directory. Its sessions survive a restart.
///
/// Thread safety: distinct objects are safe, one object is not.
class opencode_server {
public:
    struct options {
        unsigned short model_port = 0; ///< where the scripted model listens
        std::string password;          ///< when not empty, asked of every client (user "opencode")
        std::string permission = R"({"bash":"ask","edit":"allow"})"; ///< JSON
        std::vector<std::string> more_environment;                   ///< "NAME=value"
        std::chrono::seconds start_deadline{60};
    };

    /// Starts the server on a free port and waits until it listens. Throws std::runtime_error, with what the
    /// server wrote, when it does not come up or find_opencode() finds nothing.
    explicit opencode_server(options what);

    /// Kills the server and all that its tools started, and removes its directories.
    ~opencode_server();
    opencode_server(const opencode_server&) = delete;
    opencode_server& operator=(const opencode_server&) = delete;

    [[nodiscard]] unsigned short port() const noexcept;
    [[nodiscard]] std::string url() const; ///< without a slash at the end

    /// The project directory, canonical.
    [[nodiscard]] std::string directory() const;

    /// The process id of the running server, or of the last that ran.
    [[nodiscard]] pid_t id() const;

    /// SIGKILL to the server and to all that its tools started.
    void stop();

    /// Sends a signal to the server alone and waits until it has ended.
    void stop_by(int signal);

    /// Stops the server if it runs and starts it again, on the same port.
    void restart();

    /// The same, on this port.
    void restart(unsigned short port);

    /// SIGSTOP: connections are still accepted by the kernel, and nothing is answered.
    void suspend();
    void resume();

    /// What every server process of this object wrote, to both streams.
    [[nodiscard]] std::string log() const;

private:
    class home;
    void start(unsigned short port);
    [[nodiscard]] bool comes_up(unsigned short port);
    [[nodiscard]] std::vector<std::string> environment() const;
    [[nodiscard]] std::string configuration() const;

    options options_;
    std::string program_;
    std::unique_ptr<home> home_;
    unsigned short port_ = 0;
    pid_t id_ = 0;
    std::string old_log_;
    std::unique_ptr<process> process_;
};

/// A scripted model and a server that uses it, as a Boost.Test global fixture: one for all tests of a
/// program, each of which makes sessions of its own. Without a server's program the test program ends at
/// once, with exit code 77 and the reason. The server's log is printed when a test has failed.
class opencode_world {
public:
    opencode_world();
    ~opencode_world();
    opencode_world(const opencode_world&) = delete;
    opencode_world& operator=(const opencode_world&) = delete;

    static opencode_server& server();
    static scripted_model& model();

private:
    std::unique_ptr<scripted_model> model_;
    std::unique_ptr<opencode_server> server_;
};

} // namespace holdfast::test
