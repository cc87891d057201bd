// Child processes of tests: started with exactly the environment that is given, read line by line under a
// deadline, and never left behind.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::test {

/// How a process ended.
struct exit_status {
    int code = 0;   ///< its exit code, when `signal` is 0
    int signal = 0; ///< the signal that ended it, or 0

    friend bool operator==(const exit_status&, const exit_status&) = default;
};

/// A child process in a session of its own.
///
/// The kernel kills it when the test program dies; the destructor kills it and all of its descendants.
/// Its output is read always, so it never blocks on a full pipe; lines are kept for its whole life.
///
/// Thread safety: every member may be called from any thread; the destructor from one, last.
class process {
public:
    using milliseconds = std::chrono::milliseconds;

    /// What the child's standard input is.
    enum class input {
        nothing, ///< /dev/null
        pipe,    ///< what write() gives
        terminal ///< a pseudo-terminal, which its output and errors are too: all lines are then in `output`
    };

    enum class stream { output, errors };

    struct options {
        std::vector<std::string> argv;        ///< the first is the path of the program
        std::vector<std::string> environment; ///< "NAME=value", all of it
        std::filesystem::path directory;      ///< where it starts; empty: where the test runs
        input standard_input = input::nothing;
    };

    /// Starts the child. Throws std::system_error when the program cannot be run.
    explicit process(options what);
    ~process();
    process(const process&) = delete;
    process& operator=(const process&) = delete;

    [[nodiscard]] pid_t id() const noexcept;

    /// The first line, from the beginning, that `wanted` accepts; nothing when the deadline passes or the
    /// stream ends without one. A line comes without its line end; a last one that has none counts once the
    /// stream has ended. `wanted` is called with the lines locked: it must not call this object.
    [[nodiscard]] std::optional<std::string> wait_line(const std::function<bool(std::string_view)>& wanted,
                                                       milliseconds deadline,
                                                       stream from = stream::output) const;

    /// Every whole line so far.
    [[nodiscard]] std::vector<std::string> lines(stream from = stream::output) const;

    /// Waits until everything that holds a stream open is gone, and all that was written has been read.
    /// @return whether that came within the deadline.
    bool wait_end_of_output(milliseconds deadline) const;

    /// Writes all of `text` to the child's input. @return false when the child no longer reads.
    bool write(std::string_view text);

    /// Ends the child's input; on a terminal by sending Ctrl-D.
    void close_input();

    /// Sends a signal to the child alone, unless it has ended.
    void signal(int number);

    /// @return how it ended, or nothing when the deadline passed first.
    std::optional<exit_status> wait(milliseconds deadline) const;

    [[nodiscard]] bool running() const;

    /// Kills the child, its process group, and every descendant, whatever group or session that is in.
    /// A descendant whose parent has died before is not found: see kill_by_environment().
    void kill_tree();

private:
    class child;
    std::unique_ptr<child> child_;
};

/// Kills every process that was started with this "NAME=value" in its environment, this one excepted.
void kill_by_environment(std::string_view variable);

/// The test program's own environment, as `process::options` wants it.
std::vector<std::string> current_environment();

} // namespace holdfast::test
