#include "reader_watch.hpp"

#include <boost/system/error_code.hpp>

#include <cerrno>
#include <sys/epoll.h>
#include <system_error>
#include <utility>

namespace holdfast::app {

reader_watch::reader_watch(boost::asio::io_context& io, int descriptor, std::function<void()> on_gone)
    : events_(io) {
    const int events = ::epoll_create1(EPOLL_CLOEXEC);
    if (events < 0)
        throw std::system_error(errno, std::system_category(), "epoll");
    events_.assign(events);
    epoll_event errors_alone{}; // EPOLLERR and EPOLLHUP, which are always told
    if (::epoll_ctl(events, EPOLL_CTL_ADD, descriptor, &errors_alone) != 0)
        return; // a file
    events_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                       [on_gone = std::move(on_gone)](boost::system::error_code ec) {
                           if (!ec)
                               on_gone();
                       });
}

} // namespace holdfast::app
