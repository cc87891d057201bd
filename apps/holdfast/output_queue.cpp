#include "output_queue.hpp"

#include <boost/system/system_category.hpp>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <poll.h>
#include <pthread.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace holdfast::app {

struct output_queue::shared {
    shared(int to, std::size_t bytes, gap_words words) : descriptor(to), most(bytes), gap(std::move(words)) {}

    const int descriptor;
    const std::size_t most;
    const gap_words gap;

    std::mutex mutex;
    std::condition_variable pushed;
    std::condition_variable written;
    std::deque<std::string> pieces; // what is being written is the first one still
    std::size_t bytes = 0;
    std::size_t dropped = 0; // since the last gap
    bool ended = false;
    boost::system::error_code error;

    [[nodiscard]] bool is_idle() const { return error.failed() || (pieces.empty() && dropped == 0); }
};

namespace {

bool reader_is_gone(int descriptor) {
    pollfd wanted{descriptor, 0, 0};
    return ::poll(&wanted, 1, 0) > 0 && (wanted.revents & (POLLERR | POLLNVAL)) != 0;
}

// Blocks as long as the reader does, also where the descriptor is non-blocking.
boost::system::error_code write_whole(int descriptor, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t size = ::write(descriptor, bytes.data(), bytes.size());
        if (size >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(size));
        } else if (errno == EAGAIN) {
            pollfd wanted{descriptor, POLLOUT, 0};
            ::poll(&wanted, 1, -1);
        } else if (errno != EINTR) {
            return {errno, boost::system::system_category()};
        }
    }
    return {};
}

} // namespace

output_queue::output_queue(int descriptor, std::size_t most_bytes, gap_words gap)
    : shared_(std::make_shared<shared>(descriptor, most_bytes, std::move(gap))) {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread([state = shared_] { write_all(state); }).detach();
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

output_queue::~output_queue() {
    const std::lock_guard lock(shared_->mutex);
    shared_->ended = true;
    shared_->pushed.notify_all();
}

void output_queue::push(std::string_view piece) {
    if (piece.empty())
        return;
    auto& my = *shared_;
    const std::lock_guard lock(my.mutex);
    if (my.error.failed())
        return;
    const bool full = my.bytes + piece.size() > my.most && !my.pieces.empty();
    if (full || (my.dropped > 0 && my.bytes > my.most / 2)) {
        ++my.dropped;
        return;
    }
    if (const auto dropped = std::exchange(my.dropped, 0); dropped > 0) {
        my.pieces.push_back(my.gap(dropped));
        my.bytes += my.pieces.back().size();
    }
    my.pieces.emplace_back(piece);
    my.bytes += piece.size();
    my.pushed.notify_all();
}

bool output_queue::idle() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->is_idle();
}

bool output_queue::drain(const std::function<bool()>& go_on) {
    auto& my = *shared_;
    std::unique_lock lock(my.mutex);
    while (!my.is_idle() && go_on()) {
        my.pushed.notify_all(); // what was dropped last is told now
        my.written.wait_for(lock, std::chrono::milliseconds(20));
    }
    return my.is_idle();
}

boost::system::error_code output_queue::error() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->error;
}

void output_queue::write_all(const std::shared_ptr<shared>& state) {
    auto& my = *state;
    std::unique_lock lock(my.mutex);
    while (!my.ended && !my.error.failed()) {
        if (my.pieces.empty() && my.dropped > 0) { // nothing came behind the gap
            my.pieces.push_back(my.gap(std::exchange(my.dropped, 0)));
            my.bytes += my.pieces.back().size();
        }
        if (my.pieces.empty()) {
            my.pushed.wait_for(lock, std::chrono::seconds(1));
            if (my.pieces.empty() && reader_is_gone(my.descriptor))
                my.error = make_error_code(boost::system::errc::broken_pipe);
            continue;
        }
        const auto& piece = my.pieces.front(); // stays where it is, whatever is pushed behind it
        lock.unlock();
        const auto failed = write_whole(my.descriptor, piece);
        lock.lock();
        my.error = failed;
        my.bytes -= my.pieces.front().size();
        my.pieces.pop_front();
        my.written.notify_all();
    }
    my.written.notify_all();
}

} // namespace holdfast::app
