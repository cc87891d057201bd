// Whether somebody still reads what a command gives out, while it has nothing to give.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <functional>

namespace holdfast::app {

/// Calls `on_gone` once, when the reader of a pipe (or of a socket, or a terminal) at the other end of
/// `descriptor` is gone; of a file nobody can be gone. Keeps the io_context busy until then, or until stop().
/// It changes nothing of the descriptor, which other processes may share.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class reader_watch {
public:
    reader_watch(boost::asio::io_context& io, int descriptor, std::function<void()> on_gone);
    reader_watch(const reader_watch&) = delete;
    reader_watch& operator=(const reader_watch&) = delete;

    void stop() { events_.close(); }

private:
    boost::asio::posix::stream_descriptor
        events_; // an epoll descriptor, so that `descriptor` need not be made non-blocking
};

} // namespace holdfast::app
