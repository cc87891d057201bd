#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/context_bound.hpp>
#include <holdfast/runtime/network.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <netdb.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace holdfast {
namespace {

using boost::system::error_code;
using net::ip::tcp;
constexpr auto as_result = net::as_tuple(net::use_awaitable);

// This machine is at its end, whoever is connected to. Not so where a firewall here forbids one place
// (operation_not_permitted). Out of ports is address_not_available; of IPv6 that rather means that there is
// none here, which stops nobody else.
bool is_exhaustion(const error_code& ec, const tcp::endpoint& at) {
    return ec == boost::system::errc::too_many_files_open ||
           ec == boost::system::errc::too_many_files_open_in_system ||
           ec == boost::system::errc::no_buffer_space || ec == boost::system::errc::not_enough_memory ||
           (ec == boost::system::errc::address_not_available && at.address().is_v4());
}

// An address of a family or a net that this machine is not part of.
bool is_no_way_from_here(const error_code& ec) {
    return ec == boost::system::errc::address_not_available ||
           ec == boost::system::errc::address_family_not_supported ||
           ec == boost::system::errc::network_unreachable;
}

failure connect_failure(const error_code& ec, const tcp::endpoint& at, const endpoint& where) {
    const std::string to = to_string(where);
    if (ec == net::error::connection_refused)
        return retry::make_failure(errc::refused, to);
    if (ec == net::error::timed_out)
        return retry::make_failure(errc::connect_timeout, to);
    if (is_exhaustion(ec, at))
        return retry::make_failure(errc::local, to + ": " + ec.message());
    return retry::make_failure(errc::unreachable, to + ": " + ec.message());
}

// Over TCP, or over a Unix socket.
class socket_connection final : public connection, detail::context_bound {
public:
    using socket = net::generic::stream_protocol::socket;
    explicit socket_connection(socket made)
        : context_bound(made.get_executor()), socket_(std::make_unique<socket>(std::move(made))) {}
    ~socket_connection() override { leave(); }

    net::awaitable<result<std::size_t>> read_some(net::mutable_buffer into) override {
        if (!socket_)
            co_return retry::make_failure(errc::closed, {}, true);
        const auto [ec, size] = co_await socket_->async_read_some(into, as_result);
        if (!ec)
            co_return size;
        if (ec == net::error::eof)
            co_return std::size_t(0);
        co_return co_await ended_by(ec);
    }

    net::awaitable<result<void>> write(std::string_view bytes) override {
        if (!socket_)
            co_return retry::make_failure(errc::closed, {}, true);
        const auto [ec, size] = co_await net::async_write(*socket_, net::buffer(bytes), as_result);
        if (!ec)
            co_return result<void>();
        co_return co_await ended_by(ec);
    }

    void close() noexcept override {
        closed_ = true;
        error_code ignored;
        if (socket_)
            socket_->close(ignored);
    }

private:
    void release() noexcept override {
        closed_ = true;
        const auto released = std::move(socket_);
    }

    net::awaitable<failure> ended_by(error_code ec) {
        if (!closed_ && ec == net::error::operation_aborted)
            co_await throw_if_cancelled();
        if (closed_)
            co_return retry::make_failure(errc::closed, {}, true);
        co_return retry::make_failure(errc::cut, ec.message(), true);
    }

    std::unique_ptr<socket> socket_; ///< null once its context ends
    bool closed_ = false;
};

using addresses = std::vector<tcp::endpoint>;

// One look-up on a thread of its own. Whoever comes first, the answer or a cancellation, completes the
// handler; a late answer finds nobody.
class lookup : public std::enable_shared_from_this<lookup> {
public:
    using handler_type = net::any_completion_handler<void(int, addresses)>;

    lookup(net::any_io_executor executor, handler_type handler)
        : waiting_(waiter{std::move(executor), std::move(handler)}) {}

    void start(std::string host, std::uint16_t port) {
        auto slot = net::get_associated_cancellation_slot(waiting_->handler);
        if (slot.is_connected())
            slot.assign([weak = weak_from_this()](net::cancellation_type) {
                if (const auto self = weak.lock())
                    self->finish(EAI_SYSTEM, {});
            });
        std::thread([self = shared_from_this(), host = std::move(host), port] {
            addresses found;
            const int code = resolve(host, port, found);
            self->finish(code, std::move(found));
        }).detach();
    }

private:
    friend class lookup_guard;

    static int resolve(const std::string& host, std::uint16_t port, addresses& found) {
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* list = nullptr;
        const int code = getaddrinfo(host.c_str(), nullptr, &hints, &list);
        for (const addrinfo* each = list; each; each = each->ai_next) {
            if (each->ai_family != AF_INET && each->ai_family != AF_INET6)
                continue;
            tcp::endpoint place;
            place.resize(each->ai_addrlen);
            std::copy_n(reinterpret_cast<const char*>(each->ai_addr), each->ai_addrlen,
                        reinterpret_cast<char*>(place.data()));
            place.port(port);
            found.push_back(place);
        }
        if (list)
            freeaddrinfo(list);
        return code;
    }

    struct waiter {
        net::any_io_executor executor;
        handler_type handler;
    };

    // Under the lock. Leaves nothing behind: a late answer must not touch an executor whose context is gone.
    // By construction only, as the move assignment of Asio 1.26's any_completion_handler never returns.
    std::optional<waiter> take_waiter() {
        std::optional<waiter> taken(std::move(waiting_));
        waiting_.reset();
        return taken;
    }

    // The context ends: who waits is destroyed with it.
    void abandon() {
        std::unique_lock lock(mutex_);
        const auto waiting = take_waiter();
        lock.unlock();
    }

    // The lock is held until nothing of the executor is in use: abandon() waits for that.
    void finish(int code, addresses found) {
        const std::lock_guard lock(mutex_);
        auto waiting = take_waiter();
        if (!waiting)
            return;
        auto complete = [handler = std::move(waiting->handler), code, found = std::move(found)]() mutable {
            net::get_associated_cancellation_slot(handler).clear();
            std::move(handler)(code, std::move(found));
        };
        net::post(waiting->executor, std::move(complete));
    }

    std::mutex mutex_;
    std::optional<waiter> waiting_;
};

// In the frame of the coroutine that waits for the look-up, which is all that holds that frame.
class lookup_guard final : detail::context_bound {
public:
    explicit lookup_guard(const net::any_io_executor& executor) : context_bound(executor) {}
    ~lookup_guard() override { leave(); }

    void guard(std::shared_ptr<lookup> of) { of_ = std::move(of); }

private:
    void release() noexcept override {
        const auto abandoned = std::move(of_); // this goes with the frame
        if (abandoned)
            abandoned->abandon();
    }

    std::shared_ptr<lookup> of_;
};

addresses at_port(const std::vector<net::ip::address>& hosts, std::uint16_t port) {
    addresses list;
    for (const auto& each : hosts)
        list.emplace_back(each, port);
    return list;
}

/// What needs no look-up.
std::optional<addresses> known_addresses(const known_hosts& known, const endpoint& where) {
    error_code ec;
    const auto literal = net::ip::make_address(where.host, ec);
    if (!ec)
        return at_port({literal}, where.port);
    if (const auto found = known.find(where.host); found != known.end())
        return at_port(found->second, where.port);
    if (where.host == "localhost")
        return at_port({net::ip::address_v4::loopback(), net::ip::address_v6::loopback()}, where.port);
    return std::nullopt;
}

net::awaitable<result<addresses>> looked_up(endpoint where) {
    const net::any_io_executor executor = co_await net::this_coro::executor;
    lookup_guard guard(executor);
    auto initiate = [executor, &guard](auto handler, std::string host, std::uint16_t port) {
        const auto begun = std::make_shared<lookup>(executor, lookup::handler_type(std::move(handler)));
        guard.guard(begun);
        begun->start(std::move(host), port);
    };
    std::tuple<int, addresses> answer;
    auto token = as_result;
    try {
        answer = co_await net::async_initiate<decltype(token), void(int, addresses)>(initiate, token,
                                                                                     where.host, where.port);
    } catch (const std::system_error& e) { // no thread to be had
        co_return retry::make_failure(errc::local, e.what());
    }
    co_await throw_if_cancelled();
    auto& [code, found] = answer;
    if (code == EAI_AGAIN)
        co_return retry::make_failure(errc::name_timeout, where.host);
    if (code != 0 || found.empty())
        co_return retry::make_failure(errc::name_not_found, where.host);
    co_return std::move(found);
}

/// The same addresses, the families taking turns, so that one family that leads nowhere costs one delay.
addresses interleaved(const addresses& list) {
    addresses first, second;
    for (const auto& each : list)
        (each.protocol() == list.front().protocol() ? first : second).push_back(each);
    addresses mixed;
    for (std::size_t n = 0; n < std::max(first.size(), second.size()); ++n) {
        if (n < first.size())
            mixed.push_back(first[n]);
        if (n < second.size())
            mixed.push_back(second[n]);
    }
    return mixed;
}

// RFC 8305, section 5: the Connection Attempt Delay.
constexpr auto attempt_delay = std::chrono::milliseconds(250);

// Attempts at several addresses, begun one after the other; the first to connect ends them all.
class address_race : public std::enable_shared_from_this<address_race> {
public:
    address_race(net::any_io_executor executor, addresses list, endpoint where)
        : executor_(std::move(executor)), list_(std::move(list)), where_(std::move(where)), pace_(executor_),
          end_(executor_, net::steady_timer::time_point::max()) {}

    net::awaitable<result<tcp::socket>> run() {
        begin_next();
        while (!over_) {
            co_await end_.async_wait(as_result);
            co_await throw_if_cancelled();
        }
        if (!winner_)
            co_return worst_;
        co_return std::move(*winner_);
    }

    void stop() noexcept {
        over_ = true;
        pace_.cancel();
        end_.cancel();
        for (const auto& each : under_way_) {
            error_code ignored;
            each->close(ignored);
        }
        under_way_.clear();
    }

private:
    void begin_next() {
        if (over_ || begun_ == list_.size())
            return;
        const auto place = list_[begun_++];
        const auto socket = std::make_shared<tcp::socket>(executor_);
        under_way_.push_back(socket);
        socket->async_connect(place, [self = shared_from_this(), socket, place](const error_code& ec) {
            self->answered(socket, place, ec);
        });
        pace_.expires_after(attempt_delay);
        pace_.async_wait([self = shared_from_this()](const error_code& ec) {
            if (!ec)
                self->begin_next();
        });
    }

    void answered(const std::shared_ptr<tcp::socket>& socket, const tcp::endpoint& at, const error_code& ec) {
        if (over_)
            return;
        std::erase(under_way_, socket);
        if (!ec) {
            winner_ = std::move(*socket);
            return stop();
        }
        note(ec, at);
        if (begun_ < list_.size())
            begin_next();
        else if (under_way_.empty())
            stop();
    }

    // The first failure, but a refusal gives way to any other, and no way from here to everything.
    void note(const error_code& ec, const tcp::endpoint& at) {
        const bool no_way = is_no_way_from_here(ec);
        if (failed_before_ && !no_way_ && (no_way || worst_.cls != failure_class::refused))
            return;
        worst_ = connect_failure(ec, at, where_);
        no_way_ = no_way;
        failed_before_ = true;
    }

    net::any_io_executor executor_;
    addresses list_;
    endpoint where_;
    net::steady_timer pace_; ///< until the next attempt
    net::steady_timer end_;  ///< cancelled at the end
    std::size_t begun_ = 0;
    std::vector<std::shared_ptr<tcp::socket>> under_way_;
    std::optional<tcp::socket> winner_;
    failure worst_;
    bool failed_before_ = false;
    bool no_way_ = false; ///< `worst_` is that there is no way from here
    bool over_ = false;
};

// Where nobody listens: no file, or one that a server left behind.
failure unix_failure(const error_code& ec, const endpoint& where) {
    const std::string to = to_string(where);
    if (ec == net::error::connection_refused || ec == boost::system::errc::no_such_file_or_directory)
        return retry::make_failure(errc::refused, to);
    if (is_exhaustion(ec, tcp::endpoint()))
        return retry::make_failure(errc::local, to + ": " + ec.message());
    return retry::make_failure(errc::unreachable, to + ": " + ec.message());
}

net::awaitable<result<std::unique_ptr<connection>>> connect_unix(endpoint where) {
    using net::local::stream_protocol;
    if (where.unix_socket.size() >= sizeof sockaddr_un().sun_path)
        co_return retry::make_failure(errc::unreachable, to_string(where) + ": the path is too long");
    const stream_protocol::endpoint place(where.unix_socket);
    stream_protocol::socket socket(co_await net::this_coro::executor);
    const auto [ec] = co_await socket.async_connect(place, as_result);
    if (ec == net::error::operation_aborted)
        co_await throw_if_cancelled();
    if (ec)
        co_return unix_failure(ec, where);
    co_return std::unique_ptr<connection>(std::make_unique<socket_connection>(std::move(socket)));
}

class tcp_network final : public network {
public:
    explicit tcp_network(known_hosts known) : known_(std::move(known)) {}

    net::awaitable<result<std::unique_ptr<connection>>> connect(endpoint where) override {
        if (!where.unix_socket.empty()) {
            auto connecting = connect_unix(std::move(where));
            co_return co_await std::move(connecting);
        }
        auto known = known_addresses(known_, where);
        result<addresses> list = addresses();
        if (known)
            list = std::move(*known);
        else
            list = co_await looked_up(where);
        if (!list)
            co_return list.error();
        if (list->empty())
            co_return retry::make_failure(errc::name_not_found, where.host);
        const auto race =
            std::make_shared<address_race>(co_await net::this_coro::executor, interleaved(*list), where);
        // It ends with who waits for it, also when that is cancelled or destroyed.
        struct ending {
            address_race& race;
            ~ending() { race.stop(); }
        } const ending{*race};
        auto socket = co_await race->run();
        if (!socket)
            co_return socket.error();
        error_code ignored;
        socket->set_option(tcp::no_delay(true), ignored);
        co_return std::unique_ptr<connection>(std::make_unique<socket_connection>(std::move(*socket)));
    }

private:
    const known_hosts known_;
};

} // namespace

std::unique_ptr<network> make_tcp_network(known_hosts known) {
    return std::make_unique<tcp_network>(std::move(known));
}

} // namespace holdfast
