#include "support/fault_proxy.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <future>
#include <iterator>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace holdfast::test {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t block_size = 16384;
constexpr std::size_t pieces_a_second = 50; // of a connection whose bandwidth is limited
constexpr std::size_t most_paths = 100;

/// What is to go wrong now.
struct faults {
    bool refuse_streams = false;
    int stream_status = 0;
    std::array<bool, 2> black_hole{}; ///< by scope
    std::array<bool, 2> stall{};      ///< by scope
    milliseconds latency{0};
    std::size_t slice = 0;
    std::size_t bandwidth = 0;
    milliseconds slow_close{0};
    std::optional<std::size_t> cut_after;
    fault_proxy::ending cut_how = fault_proxy::ending::reset;
};

/// A client's connection and the server's that belongs to it.
struct link {
    link(asio::io_context& context, tcp::socket from)
        : client(std::move(from)), server(context), changed(context, asio::steady_timer::time_point::max()) {}

    void close(fault_proxy::ending how) {
        error_code ignored;
        if (how == fault_proxy::ending::reset && client.is_open()) {
            client.set_option(asio::socket_base::linger(true, 0), ignored);
        }
        client.close(ignored);
        server.close(ignored);
        closed = true;
        changed.cancel();
    }

    tcp::socket client;
    tcp::socket server;
    asio::steady_timer changed; ///< never expires; cancelled to wake whoever waits for a fault to end
    bool closed = false;
    bool stream = false;
    std::string request_line;    ///< as far as it has come
    bool in_request_line = true; ///< the next bytes of the client belong to one
    std::string response_head;   ///< as far as it has come
    bool in_response_head = true;
    std::size_t body_bytes = 0; ///< forwarded since the cut was ordered
    int directions_ended = 0;
    std::array<bool, 2> ended_towards{}; ///< by order, by side
};

using link_ptr = std::shared_ptr<link>;

bool is_stream_path(std::string_view path) {
    return path == "/event" || path == "/global/event";
}

/// The path of "GET /event?x=y HTTP/1.1".
std::string path_of(std::string_view line) {
    const auto begin = line.find(' ') + 1;
    const auto end = line.find_first_of(" ?", begin);
    return std::string(line.substr(begin, end - begin));
}

} // namespace

class fault_proxy::relay {
public:
    explicit relay(unsigned short target_port)
        : acceptor_(context_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
          endpoint_(acceptor_.local_endpoint()), target_(target_port) {
        asio::co_spawn(context_, accept(), asio::detached);
        thread_ = std::thread([this] { context_.run(); });
    }

    ~relay() {
        context_.stop();
        thread_.join();
    }

    relay(const relay&) = delete;
    relay& operator=(const relay&) = delete;

    unsigned short port() const noexcept { return endpoint_.port(); }

    /// Runs `action` on the proxy's thread and returns what it returns.
    template <typename Action>
    auto on_thread(Action action) {
        std::packaged_task<decltype(action())()> task(std::move(action));
        auto done = task.get_future();
        asio::post(context_, [&task] { task(); });
        return done.get();
    }

    /// Changes the rules and lets everything that waits look at them again.
    template <typename Change>
    void change(Change make) {
        on_thread([&] {
            make(faults_);
            for (const auto& each : links_) {
                each->changed.cancel();
            }
        });
    }

    void target(unsigned short port) {
        on_thread([&] { target_ = port; });
    }

    std::size_t cut(ending how, scope what) {
        return on_thread([&] {
            const auto chosen = links_in(what);
            for (const auto& each : chosen) {
                each->close(how);
            }
            return chosen.size();
        });
    }

    void refuse(bool on) {
        on_thread([&] {
            if (on) {
                acceptor_.close();
            } else if (!acceptor_.is_open()) {
                acceptor_ = tcp::acceptor(context_, endpoint_);
                asio::co_spawn(context_, accept(), asio::detached);
            }
        });
    }

    void cut_stream_after(std::size_t bytes, ending how) {
        change([&](faults& now) {
            now.cut_after = bytes;
            now.cut_how = how;
            for (const auto& each : links_) {
                each->body_bytes = 0;
            }
        });
    }

    void half_close(side towards, scope what) {
        on_thread([&] {
            for (const auto& each : links_in(what)) {
                each->ended_towards[static_cast<std::size_t>(towards)] = true;
                error_code ignored;
                (towards == side::client ? each->client : each->server)
                    .shutdown(tcp::socket::shutdown_send, ignored);
            }
        });
    }

    std::optional<std::chrono::steady_clock::time_point> cut_at() {
        return on_thread([&] { return cut_at_; });
    }
    std::size_t accepted() {
        return on_thread([&] { return accepted_; });
    }
    std::size_t requests(std::string_view path) {
        return on_thread([&] {
            const auto found = requests_.find(path);
            return found == requests_.end() ? 0 : found->second;
        });
    }
    std::size_t open(scope what) {
        return on_thread([&] { return links_in(what).size(); });
    }

private:
    std::vector<link_ptr> links_in(scope what) const {
        std::vector<link_ptr> result;
        std::copy_if(links_.begin(), links_.end(), std::back_inserter(result), [what](const link_ptr& each) {
            return !each->closed && (what == scope::all || each->stream);
        });
        return result;
    }

    asio::awaitable<void> accept() {
        for (;;) {
            auto socket = co_await acceptor_.async_accept(asio::use_awaitable);
            ++accepted_;
            socket.set_option(tcp::no_delay(true));
            auto connection = std::make_shared<link>(context_, std::move(socket));
            links_.push_back(connection);
            asio::co_spawn(context_, forward(connection), asio::detached);
        }
    }

    asio::awaitable<void> forward(link_ptr connection) {
        co_await allowed(*connection, side::server);
        error_code error;
        const tcp::endpoint server(asio::ip::address_v4::loopback(), target_);
        if (!connection->closed) {
            co_await connection->server.async_connect(server,
                                                      asio::redirect_error(asio::use_awaitable, error));
        }
        if (error || connection->closed) {
            connection->close(ending::reset);
            forget(connection);
            co_return;
        }
        connection->server.set_option(tcp::no_delay(true));
        asio::co_spawn(context_, forward_requests(connection), asio::detached);
        asio::co_spawn(context_, forward_responses(connection), asio::detached);
    }

    asio::awaitable<void> forward_requests(link_ptr connection) {
        std::array<char, block_size> block{};
        error_code error;
        while (!error) {
            const auto got = co_await connection->client.async_read_some(
                asio::buffer(block.data(), piece_size(side::server)),
                asio::redirect_error(asio::use_awaitable, error));
            if (error) {
                break;
            }
            note_request(*connection, std::string_view(block.data(), got));
            if (connection->stream && (faults_.refuse_streams || faults_.stream_status != 0)) {
                co_await turn_away(*connection);
                break;
            }
            co_await allowed(*connection, side::server);
            error = co_await write(*connection, side::server, std::string_view(block.data(), got));
        }
        co_await pause_before_end(error);
        end_direction(connection, side::server, error);
    }

    asio::awaitable<void> forward_responses(link_ptr connection) {
        std::array<char, block_size> block{};
        error_code error;
        while (!error) {
            const auto got = co_await connection->server.async_read_some(
                asio::buffer(block.data(), piece_size(side::client)),
                asio::redirect_error(asio::use_awaitable, error));
            if (error) {
                break;
            }
            co_await pause(faults_.latency);
            co_await allowed(*connection, side::client);
            const auto piece = up_to_the_cut(*connection, std::string_view(block.data(), got));
            const bool cut_now = is_cut_due(*connection);
            if (cut_now) {
                faults_.cut_after.reset();
                cut_at_ = std::chrono::steady_clock::now();
            }
            error = co_await write(*connection, side::client, piece);
            if (cut_now) {
                connection->close(faults_.cut_how);
            }
            if (faults_.bandwidth != 0) {
                co_await pause(milliseconds(1000 * piece.size() / faults_.bandwidth));
            }
        }
        co_await pause_before_end(error);
        end_direction(connection, side::client, error);
    }

    asio::awaitable<void> pause(milliseconds time) {
        if (time.count() > 0) {
            asio::steady_timer timer(context_, time);
            co_await timer.async_wait(asio::use_awaitable);
        }
    }

    asio::awaitable<void> pause_before_end(error_code why) {
        if (why == asio::error::eof) {
            co_await pause(faults_.slow_close);
        }
    }

    /// Forwards `data`, or drops it where that direction has been ended.
    static asio::awaitable<error_code> write(link& connection, side towards, std::string_view data) {
        error_code error;
        if (!connection.ended_towards[static_cast<std::size_t>(towards)]) {
            auto& socket = towards == side::client ? connection.client : connection.server;
            co_await asio::async_write(socket, asio::buffer(data),
                                       asio::redirect_error(asio::use_awaitable, error));
        }
        co_return error;
    }

    std::size_t piece_size(side towards) const {
        auto size = faults_.slice == 0 ? block_size : std::min(faults_.slice, block_size);
        if (towards == side::client && faults_.bandwidth != 0) {
            size = std::min(size, std::max<std::size_t>(faults_.bandwidth / pieces_a_second, 1));
        }
        return size;
    }

    bool is_blocked(const link& connection, side towards) const {
        const auto applies = [&connection](const std::array<bool, 2>& fault) {
            return fault[static_cast<std::size_t>(scope::all)] ||
                   (connection.stream && fault[static_cast<std::size_t>(scope::streams)]);
        };
        return applies(faults_.black_hole) || (towards == side::client && applies(faults_.stall));
    }

    /// Waits until this connection may forward towards that side, or is closed.
    asio::awaitable<void> allowed(link& connection, side towards) {
        while (!connection.closed && is_blocked(connection, towards)) {
            error_code woken;
            co_await connection.changed.async_wait(asio::redirect_error(asio::use_awaitable, woken));
        }
    }

    void note_request(link& connection, std::string_view data) {
        if (!connection.in_request_line) {
            return;
        }
        connection.request_line.append(data);
        const auto end = connection.request_line.find("\r\n");
        if (end == std::string::npos) {
            return;
        }
        const auto path = path_of(std::string_view(connection.request_line).substr(0, end));
        if (requests_.size() < most_paths || requests_.contains(path)) {
            ++requests_[path];
        }
        connection.stream = is_stream_path(path);
        connection.in_request_line = false;
        connection.request_line.clear();
        connection.in_response_head = true;
        connection.response_head.clear();
        connection.body_bytes = 0;
    }

    asio::awaitable<void> turn_away(link& connection) {
        if (faults_.stream_status == 0) {
            connection.close(ending::reset);
            co_return;
        }
        const auto answer = "HTTP/1.1 " + std::to_string(faults_.stream_status) +
                            " Scripted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        error_code ignored;
        co_await asio::async_write(connection.client, asio::buffer(answer),
                                   asio::redirect_error(asio::use_awaitable, ignored));
        connection.close(ending::clean);
    }

    /// What of `data` may be forwarded before the ordered cut; counts the bytes of the body.
    std::string_view up_to_the_cut(link& connection, std::string_view data) {
        connection.in_request_line = true;
        const auto head = connection.in_response_head ? skip_head(connection, data) : 0;
        auto body = data.size() - head;
        if (connection.stream && faults_.cut_after) {
            body = std::min(body, *faults_.cut_after - connection.body_bytes);
        }
        connection.body_bytes += body;
        return data.substr(0, head + body);
    }

    bool is_cut_due(const link& connection) const {
        return connection.stream && !connection.in_response_head && faults_.cut_after &&
               connection.body_bytes >= *faults_.cut_after;
    }

    /// @return how many bytes of `data` belong to the response head.
    static std::size_t skip_head(link& connection, std::string_view data) {
        const auto before = connection.response_head.size();
        connection.response_head.append(data);
        const auto end = connection.response_head.find("\r\n\r\n");
        if (end == std::string::npos) {
            return data.size();
        }
        connection.in_response_head = false;
        return end + 4 - before;
    }

    /// Passes on how the direction towards this side ended; forgets the connection when both have.
    void end_direction(const link_ptr& connection, side towards, error_code why) {
        ++connection->directions_ended;
        error_code ignored;
        const auto other = towards == side::client ? side::server : side::client;
        if (why == asio::error::eof && connection->ended_towards[static_cast<std::size_t>(other)]) {
            connection->close(ending::clean); // it left because it was told the end
        } else if (why == asio::error::eof) {
            (towards == side::client ? connection->client : connection->server)
                .shutdown(tcp::socket::shutdown_send, ignored);
        } else if (!connection->closed) {
            connection->close(ending::reset);
        }
        if (connection->directions_ended == 2) {
            connection->close(ending::clean);
            forget(connection);
        }
    }

    void forget(const link_ptr& connection) { std::erase(links_, connection); }

    asio::io_context context_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
    tcp::acceptor acceptor_;
    tcp::endpoint endpoint_;
    // Confined to the thread:
    unsigned short target_;
    faults faults_;
    std::vector<link_ptr> links_;
    std::size_t accepted_ = 0;
    std::optional<std::chrono::steady_clock::time_point> cut_at_;
    std::map<std::string, std::size_t, std::less<>> requests_;
    std::thread thread_;
};

fault_proxy::fault_proxy(unsigned short target_port) : relay_(std::make_unique<relay>(target_port)) {}
fault_proxy::~fault_proxy() = default;

unsigned short fault_proxy::port() const noexcept {
    return relay_->port();
}
std::string fault_proxy::url() const {
    return "http://127.0.0.1:" + std::to_string(port());
}
void fault_proxy::target(unsigned short port) {
    relay_->target(port);
}
std::size_t fault_proxy::cut(ending how, scope what) {
    return relay_->cut(how, what);
}
void fault_proxy::refuse(bool on) {
    relay_->refuse(on);
}

void fault_proxy::refuse_streams(bool on) {
    relay_->change([on](faults& now) { now.refuse_streams = on; });
}

void fault_proxy::answer_streams(int status) {
    relay_->change([status](faults& now) { now.stream_status = status; });
}

void fault_proxy::black_hole(bool on, scope what) {
    relay_->change([on, what](faults& now) { now.black_hole[static_cast<std::size_t>(what)] = on; });
}

void fault_proxy::stall(bool on, scope what) {
    relay_->change([on, what](faults& now) { now.stall[static_cast<std::size_t>(what)] = on; });
}

void fault_proxy::cut_stream_after(std::size_t bytes, ending how) {
    relay_->cut_stream_after(bytes, how);
}
void fault_proxy::half_close(side towards, scope what) {
    relay_->half_close(towards, what);
}

void fault_proxy::latency(std::chrono::milliseconds time) {
    relay_->change([time](faults& now) { now.latency = time; });
}

void fault_proxy::bandwidth(std::size_t bytes_per_second) {
    relay_->change([bytes_per_second](faults& now) { now.bandwidth = bytes_per_second; });
}

void fault_proxy::slow_close(std::chrono::milliseconds time) {
    relay_->change([time](faults& now) { now.slow_close = time; });
}

void fault_proxy::slice(std::size_t bytes) {
    relay_->change([bytes](faults& now) { now.slice = bytes; });
}

std::optional<std::chrono::steady_clock::time_point> fault_proxy::cut_at() const {
    return relay_->cut_at();
}

std::size_t fault_proxy::accepted() const {
    return relay_->accepted();
}
std::size_t fault_proxy::requests(std::string_view path) const {
    return relay_->requests(path);
}
std::size_t fault_proxy::open(scope what) const {
    return relay_->open(what);
}

} // namespace holdfast::test
