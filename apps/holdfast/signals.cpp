#include "signals.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/system/error_code.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace holdfast::app {
namespace {

constexpr std::chrono::milliseconds reader_patience{1000};

// What the handler may touch.
volatile std::sig_atomic_t signals_received = 0;
volatile std::sig_atomic_t last_signal = 0;
volatile std::sig_atomic_t waiting_for_reader = 0;
volatile std::sig_atomic_t signals_passed_on = 0;
volatile std::sig_atomic_t end_within_ms = 0; // 0: the command sees to its end itself
void (*before_end)() = nullptr;
int wake_pipe[2] = {-1, -1};

extern "C" void end_now(int) {
    if (before_end)
        before_end();
    ::_exit(exit_code_of(last_signal));
}

void end_later() {
    itimerval when{};
    when.it_value.tv_sec = end_within_ms / 1000;
    when.it_value.tv_usec = end_within_ms % 1000 * 1000;
    ::setitimer(ITIMER_REAL, &when, nullptr);
}

extern "C" void take_signal(int number) {
    const int error = errno;
    signals_received = signals_received + 1;
    last_signal = number;
    if (signals_received > 1 && waiting_for_reader != 0)
        ::_exit(exit_code_of(number));
    if (end_within_ms != 0) {
        if (signals_received > 1 && signals_passed_on == 0)
            end_now(number);
        if (signals_received == 1)
            end_later();
    }
    const char byte = static_cast<char>(number);
    [[maybe_unused]] const auto written = ::write(wake_pipe[1], &byte, 1);
    errno = error;
}

void handle_with(void (*handler)(int)) {
    struct sigaction how{};
    how.sa_handler = handler;
    sigaddset(&how.sa_mask, SIGINT);
    sigaddset(&how.sa_mask, SIGTERM);
    how.sa_flags = SA_RESTART;
    ::sigaction(SIGINT, &how, nullptr);
    ::sigaction(SIGTERM, &how, nullptr);
}

bool ready(int descriptor) {
    pollfd wanted{descriptor, POLLOUT, 0};
    return ::poll(&wanted, 1, 0) > 0;
}

// While nobody asked for the end: until it is writable, or somebody does.
bool writable_before_a_signal(int descriptor) {
    pollfd wanted[2] = {{descriptor, POLLOUT, 0}, {wake_pipe[0], POLLIN, 0}};
    while (signals_received == 0)
        if (::poll(wanted, 2, -1) > 0 && wanted[0].revents != 0)
            return true;
    return false;
}

bool writable_within_patience(int descriptor) {
    using clock = std::chrono::steady_clock;
    const auto deadline = clock::now() + reader_patience;
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now());
        pollfd wanted{descriptor, POLLOUT, 0};
        const int answer = ::poll(&wanted, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
        if (answer > 0 || left.count() <= 0)
            return answer > 0;
    }
}

} // namespace

exit_code exit_code_of(int signal) noexcept {
    return signal == SIGTERM ? exit_terminated : exit_interrupted;
}

signals::signals(boost::asio::io_context& io, std::function<void(int)> on_signal)
    : arriving_(io), on_signal_(std::move(on_signal)) {
    if (::pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        throw std::system_error(errno, std::system_category(), "pipe");
    arriving_.assign(wake_pipe[0]);
    handle_with(take_signal);
    wait();
}

signals::~signals() {
    handle_with(SIG_DFL);
    ::close(std::exchange(wake_pipe[1], -1));
    wake_pipe[0] = -1; // closed by arriving_
}

void signals::wait() {
    arriving_.async_read_some(boost::asio::buffer(&number_, 1),
                              [this](boost::system::error_code ec, std::size_t) {
                                  if (ec)
                                      return;
                                  const int number = static_cast<unsigned char>(number_);
                                  signals_passed_on = 1;
                                  wait();
                                  on_signal_(number);
                              });
}

int signal_received() noexcept {
    return last_signal;
}

void end_within(std::chrono::milliseconds patience, void (*before)()) noexcept {
    before_end = before;
    struct sigaction how{};
    how.sa_handler = end_now;
    ::sigaction(SIGALRM, &how, nullptr);
    end_within_ms = static_cast<std::sig_atomic_t>(patience.count());
}

bool wait_until_writable(int descriptor) noexcept {
    if (ready(descriptor))
        return true;
    waiting_for_reader = 1;
    if (signals_received > 1)
        ::_exit(exit_code_of(last_signal));
    const bool writable = writable_before_a_signal(descriptor) || writable_within_patience(descriptor);
    waiting_for_reader = 0;
    return writable;
}

} // namespace holdfast::app
