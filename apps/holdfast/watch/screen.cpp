#include "watch/screen.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <poll.h>
#include <string_view>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <utility>

namespace holdfast::app {
namespace {

// DEC private modes: 1049 is the alternate screen, 25 the cursor, 7 the wrapping of long lines.
constexpr std::string_view take_screen = "\x1b[?1049h\x1b[?25l\x1b[?7l";
constexpr std::string_view give_back = "\x1b[?7h\x1b[?25h\x1b[0m\x1b[?1049l";

constexpr std::array ending_signals{SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTSTP};

// What the handler may touch.
volatile std::sig_atomic_t taken = 0;
volatile std::sig_atomic_t quiet = 0; // the terminal does not show what is typed
termios before{};

void show_what_is_typed() {
    if (quiet != 0)
        ::tcsetattr(STDIN_FILENO, TCSANOW, &before);
    quiet = 0;
}

void hide_what_is_typed() {
    if (::tcgetattr(STDIN_FILENO, &before) != 0)
        return;
    termios hidden = before;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
    quiet = 1;
    ::tcsetattr(STDIN_FILENO, TCSANOW, &hidden);
}

void give_back_in_handler() {
    if (taken == 0)
        return;
    taken = 0;
    show_what_is_typed();
    pollfd wanted{STDOUT_FILENO, POLLOUT, 0};
    if (::poll(&wanted, 1, 0) <= 0)
        return;
    [[maybe_unused]] const auto written = ::write(STDOUT_FILENO, give_back.data(), give_back.size());
}

extern "C" void give_back_and_end(int number) {
    const int error = errno;
    give_back_in_handler();
    std::signal(number, SIG_DFL);
    std::raise(number); // takes effect when this returns
    errno = error;
}

void watch_signals() {
    for (const int number : ending_signals) {
        struct sigaction how{};
        how.sa_handler = give_back_and_end;
        ::sigaction(number, &how, nullptr);
    }
}

} // namespace

watch_screen::watch_screen(output& out) : out_(out) {
    watch_signals();
    refresh();
}

watch_screen::~watch_screen() {
    leave();
    for (const int number : ending_signals)
        std::signal(number, SIG_DFL);
}

screen_size watch_screen::size() {
    winsize told{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &told) != 0 || told.ws_col < 2 || told.ws_row == 0)
        return {};
    return {told.ws_col - 1u, told.ws_row};
}

void watch_screen::refresh() {
    if (left_)
        return;
    fresh_ = true;
    if (taken != 0)
        return;
    watch_signals();
    hide_what_is_typed();
    taken = 1;
    out_.text(take_screen);
}

void watch_screen::draw(const std::vector<std::string>& lines) {
    if (left_ || !out_.idle())
        return;
    if (std::exchange(fresh_, false)) {
        out_.text("\x1b[H\x1b[J");
        shown_.clear();
    }
    std::string changes;
    const auto put = [&](std::size_t line, const std::string& text) {
        changes += "\x1b[" + std::to_string(line + 1) + ";1H" + text + "\x1b[K";
    };
    for (std::size_t i = 0; i < lines.size(); ++i)
        if (i >= shown_.size() || lines[i] != shown_[i])
            put(i, lines[i]);
    for (auto i = lines.size(); i < shown_.size(); ++i)
        put(i, {});
    out_.text(changes);
    shown_ = lines;
}

void watch_screen::leave_in_handler() noexcept {
    give_back_in_handler();
}

void watch_screen::leave() {
    if (std::exchange(left_, true) || taken == 0)
        return;
    out_.text(give_back);
    taken = 0;
    if (quiet != 0)
        ::tcflush(STDIN_FILENO, TCIFLUSH); // what was typed meanwhile was for nobody
    show_what_is_typed();
}

} // namespace holdfast::app
