// SIGINT and SIGTERM, as a command takes them: each asks for the end, once more means at once. That holds too
// while the command waits for a reader of its output who does not read.
#pragma once

#include "command.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <chrono>
#include <functional>

namespace holdfast::app {

[[nodiscard]] exit_code exit_code_of(int signal) noexcept;

/// Calls `on_signal` for each SIGINT and SIGTERM until stop(). Keeps the io_context busy meanwhile. One at a
/// time in a process, as signals are the process's.
class signals {
public:
    signals(boost::asio::io_context& io, std::function<void(int)> on_signal);
    ~signals();
    signals(const signals&) = delete;
    signals& operator=(const signals&) = delete;

    void stop() { arriving_.cancel(); }

private:
    void wait();

    boost::asio::posix::stream_descriptor arriving_;
    char number_ = 0;
    std::function<void(int)> on_signal_;
};

/// The signal that asked for the end, the last one; 0: none did.
[[nodiscard]] int signal_received() noexcept;

/// How long a command may take to end after a signal, whatever it is busy with.
inline constexpr std::chrono::milliseconds longest_end{1900};

/// From here on, a signal alone ends the process, whatever it is busy with: `patience` after the first one,
/// and at once at a second one that comes before the first was passed on. `before` is called then, in a
/// signal handler; may be null. Uses SIGALRM.
void end_within(std::chrono::milliseconds patience, void (*before)()) noexcept;

/// Waits until `descriptor` takes bytes: as long as that takes while nobody asked for the end, then one
/// second more. At a second signal the program ends in here, as nobody is there to be told.
/// @return false: the end was asked for, and the reader does not read
[[nodiscard]] bool wait_until_writable(int descriptor) noexcept;

} // namespace holdfast::app
