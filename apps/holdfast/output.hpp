// What a command gives out on stdout: rows of JSON for programs, text for people. Nothing else goes there.
#pragma once

#include <boost/json/object.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace holdfast::app {

class output_queue;

enum class output_format { text, ndjson };

enum class style { bold, dim, red, green, yellow, cyan };

/// Untrusted text made safe for a terminal: valid UTF-8, and every control character (C0 but LF and TAB, DEL,
/// C1), every character that turns the direction of writing and every one that shows nothing (zero width,
/// fillers, tags, private planes) is shown as \xNN, \uNNNN or \UNNNNNNNN. Joiners and the variation selectors
/// of pictures stay. Each call stands for itself: an escape sequence, or a character, that is split over two
/// calls does no harm either.
[[nodiscard]] std::string printable(std::string_view untrusted);

/// The same on one line, where what is shown must be all that is there (a title, an approval, a log line):
/// LF, joiners and variation selectors are shown as well.
[[nodiscard]] std::string printable_line(std::string_view untrusted);

/// Whether text for this descriptor may have colours: it is a terminal, not a dumb one, and NO_COLOR is unset
/// or empty.
[[nodiscard]] bool wants_colour(int descriptor);

/// Writes to a descriptor that it does not own; SIGPIPE must be ignored. What is given is written at once,
/// all of it, also when the descriptor is non-blocking; a reader who does not read is waited for, but no
/// longer than a second once a signal asked for the end (see signals.hpp). After an error it writes nothing
/// more: a command asks ok() now and then, to end early, and main() makes the exit code of it.
///
/// A command that has other things to do than to wait for a reader calls wait_for_nobody() first.
///
/// Thread safety: distinct objects safe (on distinct descriptors), shared objects unsafe.
class output {
public:
    explicit output(int descriptor);
    ~output();
    output(output&&) noexcept;
    output& operator=(output&&) = delete;

    /// From here on row() and text() never block: what is given is queued, at most `most_bytes` of it, and a
    /// thread writes it. What does not fit is dropped, a call at a time; `gap` says in its place how many
    /// calls were.
    void wait_for_nobody(std::size_t most_bytes, std::function<std::string(std::size_t dropped)> gap);

    /// All that was given is written. After wait_for_nobody() false while the reader does not read.
    [[nodiscard]] bool idle() const;

    /// After wait_for_nobody(): waits for the reader, as every write does without it, and no longer than
    /// `patience` once a signal asked for the end. What is then still not written is an error.
    void drain(std::chrono::milliseconds patience);
    /// The same, but for no longer than `patience` in any case.
    void drain_within(std::chrono::milliseconds patience);

    /// One object, one line, valid UTF-8 whatever bytes its strings hold.
    void row(const boost::json::object& object);

    /// Text as it is. What is untrusted in it has gone through printable().
    void text(std::string_view trusted);

    /// `printable` in a style where colours are wanted, else as it is.
    [[nodiscard]] std::string paint(style s, std::string_view printable) const;

    /// The descriptor is a terminal.
    [[nodiscard]] bool is_terminal() const noexcept { return terminal_; }

    [[nodiscard]] bool ok() const noexcept { return !error().failed(); }

    /// Nobody reads any longer (a closed pipe): time to end, quietly.
    [[nodiscard]] bool closed() const noexcept;

    /// Why nothing more is written; a closed pipe counts too.
    [[nodiscard]] boost::system::error_code error() const noexcept;

private:
    void write(std::string_view bytes);
    void drain(std::chrono::milliseconds patience, bool patient);

    int descriptor_;
    bool terminal_;
    bool coloured_;
    boost::system::error_code error_;
    std::unique_ptr<output_queue> queue_; ///< none: each write waits
};

} // namespace holdfast::app
