#include "support/raw_server.hpp"

#include "support/eventually.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <mutex>
#include <netinet/in.h>
#include <set>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

namespace holdfast::test {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

namespace {

std::string word(std::string_view line, std::size_t index) {
    for (; index > 0; --index) {
        line.remove_prefix(std::min(line.find(' ') + 1, line.size()));
    }
    return std::string(line.substr(0, line.find_first_of(" \r")));
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return out;
}

std::size_t body_size(const heard& request) {
    const auto text = request.header("Content-Length");
    std::size_t size = 0;
    std::from_chars(text.data(), text.data() + text.size(), size);
    return size;
}

raw_server::handler in_turn(std::vector<reply> script) {
    return [script = std::move(script)](const heard& request) {
        return script[std::min(request.number, script.size() - 1)];
    };
}

} // namespace

std::string heard::method() const {
    return word(head, 0);
}

std::string heard::target() const {
    return word(head, 1);
}

std::string heard::header(std::string_view name) const {
    const auto field = "\r\n" + lower(name) + ":";
    const auto at = lower(head).find(field);
    if (at == std::string::npos) {
        return {};
    }
    const auto value = head.find_first_not_of(' ', at + field.size());
    return head.substr(value, head.find('\r', value) - value);
}

reply answer(int status, std::string_view type, std::string_view body, std::string_view more_fields) {
    reply told;
    told.bytes = "HTTP/1.1 " + std::to_string(status) + " Said\r\n";
    if (!type.empty()) {
        told.bytes.append("Content-Type: ").append(type).append("\r\n");
    }
    told.bytes.append(more_fields);
    if (status != 204) {
        told.bytes.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
    }
    told.bytes.append("Connection: close\r\n\r\n").append(body);
    return told;
}

reply event_stream(std::string_view events, reply::ending end, std::chrono::milliseconds lasting) {
    reply told;
    told.bytes.append("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        .append(events);
    told.end = end;
    told.lasting = lasting;
    return told;
}

reply silence() {
    reply told;
    told.end = reply::ending::hold;
    return told;
}

class raw_server::machine {
public:
    explicit machine(handler what) : handler_(std::move(what)) {
        accept();
        thread_ = std::thread([this] { io_.run(); });
    }

    ~machine() {
        io_.stop();
        thread_.join();
    }

    unsigned short port() const noexcept { return port_; }

    std::vector<heard> requests() const {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

    void stop() {
        asio::post(io_, [this] {
            boost::system::error_code ignored;
            acceptor_.close(ignored);
            for (const auto& each : open_) {
                each->socket.close(ignored);
            }
        });
    }

private:
    struct client {
        client(tcp::socket s, std::size_t number) : socket(std::move(s)), clock(socket.get_executor()) {
            request.number = number;
        }
        tcp::socket socket;
        asio::steady_timer clock;
        std::string input;
        heard request;
        reply told;
        std::array<char, 512> dropped{};
    };
    using client_ptr = std::shared_ptr<client>;

    void accept() {
        acceptor_.async_accept([this](boost::system::error_code failed, tcp::socket socket) {
            if (failed) {
                return;
            }
            const auto one = std::make_shared<client>(std::move(socket), accepted_++);
            open_.insert(one);
            read_head(one);
            accept();
        });
    }

    void read_head(const client_ptr& one) {
        asio::async_read_until(one->socket, asio::dynamic_buffer(one->input), "\r\n\r\n",
                               [this, one](boost::system::error_code failed, std::size_t size) {
                                   if (failed) {
                                       return leave(one);
                                   }
                                   one->request.head = one->input.substr(0, size);
                                   one->input.erase(0, size);
                                   read_body(one);
                               });
    }

    void read_body(const client_ptr& one) {
        const auto size = body_size(one->request);
        const auto missing = size - std::min(size, one->input.size());
        asio::async_read(one->socket, asio::dynamic_buffer(one->input), asio::transfer_exactly(missing),
                         [this, one](boost::system::error_code failed, std::size_t) {
                             if (failed) {
                                 return leave(one);
                             }
                             one->request.body = one->input;
                             tell(one);
                         });
    }

    void tell(const client_ptr& one) {
        {
            const std::lock_guard lock(mutex_);
            requests_.push_back(one->request);
        }
        one->told = handler_(one->request);
        asio::async_write(one->socket, asio::buffer(one->told.bytes),
                          [this, one](boost::system::error_code failed, std::size_t) {
                              if (failed) {
                                  return leave(one);
                              }
                              one->clock.expires_after(one->told.lasting);
                              one->clock.async_wait([this, one](boost::system::error_code) { end(one); });
                          });
    }

    void end(const client_ptr& one) {
        boost::system::error_code ignored;
        if (one->told.end == reply::ending::reset) {
            one->socket.set_option(asio::socket_base::linger(true, 0), ignored);
            return leave(one);
        }
        if (one->told.end == reply::ending::close) {
            one->socket.shutdown(tcp::socket::shutdown_send, ignored);
        }
        drop_input(one);
    }

    // Until the client leaves: a socket that is closed with unread input is reset, not ended.
    void drop_input(const client_ptr& one) {
        one->socket.async_read_some(asio::buffer(one->dropped),
                                    [this, one](boost::system::error_code failed, std::size_t) {
                                        failed ? leave(one) : drop_input(one);
                                    });
    }

    void leave(const client_ptr& one) {
        boost::system::error_code ignored;
        one->socket.close(ignored);
        open_.erase(one);
    }

    handler handler_;
    asio::io_context io_{1};
    tcp::acceptor acceptor_{io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
    unsigned short port_ = acceptor_.local_endpoint().port();
    std::size_t accepted_ = 0;
    std::set<client_ptr> open_;
    mutable std::mutex mutex_;
    std::vector<heard> requests_; // guarded by mutex_
    std::thread thread_;
};

raw_server::raw_server(handler what) : machine_(std::make_unique<machine>(std::move(what))) {}

raw_server::raw_server(std::vector<reply> script) : raw_server(in_turn(std::move(script))) {}

raw_server::~raw_server() = default;

unsigned short raw_server::port() const noexcept {
    return machine_->port();
}

std::string raw_server::url(std::string_view path) const {
    return "http://127.0.0.1:" + std::to_string(port()) + std::string(path);
}

std::vector<heard> raw_server::requests() const {
    return machine_->requests();
}

bool raw_server::wait_requests(std::size_t count, std::chrono::milliseconds deadline) const {
    return eventually([&] { return requests().size() >= count; }, deadline);
}

void raw_server::stop() {
    machine_->stop();
}

black_hole::black_hole() {
    const auto checked = [](int result) {
        if (result < 0) {
            throw std::system_error(errno, std::generic_category(), "black_hole");
        }
        return result;
    };
    sockets_.push_back(checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof where;
    auto* const address = reinterpret_cast<sockaddr*>(&where);
    checked(::bind(sockets_.front(), address, size));
    checked(::listen(sockets_.front(), 0));
    checked(::getsockname(sockets_.front(), address, &size));
    port_ = ntohs(where.sin_port);
    // Its queue is filled and never emptied: the kernel drops whatever comes then.
    for (int i = 0; i < 3; ++i) {
        sockets_.push_back(checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
        ::connect(sockets_.back(), address, size);
    }
}

black_hole::~black_hole() {
    for (const int each : sockets_) {
        ::close(each);
    }
}

std::string black_hole::url() const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/";
}

} // namespace holdfast::test
