// The terminal, as `holdfast watch` has it: a screen of its own, given back at every end.
#pragma once

#include "output.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace holdfast::app {

struct screen_size {
    std::size_t width = 80;
    std::size_t height = 24;
};

/// Takes the terminal of stdout: its alternate screen, without a cursor; what is typed is not shown. Gives it
/// back when it is left or destroyed, when a signal ends the program (SIGINT and SIGTERM aside: they are the
/// command's), and while it is stopped by Ctrl-Z.
///
/// One at a time. Thread safety: unsafe.
class watch_screen {
public:
    explicit watch_screen(output& out);
    ~watch_screen();
    watch_screen(const watch_screen&) = delete;
    watch_screen& operator=(const watch_screen&) = delete;

    /// What may be drawn on: the last column is left free, as it cannot be cleared behind.
    [[nodiscard]] static screen_size size();

    /// Shows these lines, each no wider than the screen. Writes only what has changed, and nothing while the
    /// terminal has not taken what it was given before (Ctrl-S, a slow line): the next call then shows the
    /// newest.
    void draw(const std::vector<std::string>& lines);

    /// The terminal may show anything now (another size, back from Ctrl-Z): the next draw() writes all.
    void refresh();

    /// Gives the terminal back. Idempotent; draw() does nothing from then on.
    void leave();

    /// The same in a signal handler, as far as the terminal takes it without blocking.
    static void leave_in_handler() noexcept;

private:
    output& out_;
    std::vector<std::string> shown_;
    bool fresh_ = true; // nothing of ours is there
    bool left_ = false;
};

} // namespace holdfast::app
