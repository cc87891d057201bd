#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/network.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <netdb.h>

#include <algorithm>
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

bool is_exhaustion(const error_code& ec) {
    return ec == boost::system::errc::too_many_files_open ||
           ec == boost::system::errc::too_many_files_open_in_system ||
           ec == boost::system::errc::no_buffer_space || ec == boost::system::errc::not_enough_memory ||
           ec == boost::system::errc::address_not_available || ec == boost::system::errc::permission_denied ||
           ec == boost::system::errc::operation_not_permitted;
}

failure connect_failure(const error_code& ec, const endpoint& where) {
    const std::string to = to_string(where);
    if (ec == net::error::connection_refused)
        return retry::make_failure(errc::refused, to);
    if (ec == net::error::timed_out)
        return retry::make_failure(errc::connect_timeout, to);
    if (is_exhaustion(ec))
        return retry::make_failure(errc::local, to + ": " + ec.message());
    return retry::make_failure(errc::unreachable, to + ": " + ec.message());
}

class tcp_connection final : public connection {
public:
    explicit tcp_connection(tcp::socket socket) : socket_(std::move(socket)) {}

    net::awaitable<result<std::size_t>> read_some(net::mutable_buffer into) override {
        const auto [ec, size] = co_await socket_.async_read_some(into, as_result);
        if (!ec)
            co_return size;
        if (ec == net::error::eof)
            co_return std::size_t(0);
        co_return co_await ended_by(ec);
    }

    net::awaitable<result<void>> write(std::string_view bytes) override {
        const auto [ec, size] = co_await net::async_write(socket_, net::buffer(bytes), as_result);
        if (!ec)
            co_return result<void>();
        co_return co_await ended_by(ec);
    }

    void close() noexcept override {
        closed_ = true;
        error_code ignored;
        socket_.close(ignored);
    }

private:
    net::awaitable<failure> ended_by(error_code ec) {
        if (!closed_ && ec == net::error::operation_aborted)
            co_await throw_if_cancelled();
        if (closed_)
            co_return retry::make_failure(errc::closed, {}, true);
        co_return retry::make_failure(errc::cut, ec.message(), true);
    }

    tcp::socket socket_;
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

    // Leaves nothing behind: a late answer must not touch an executor whose context is gone. By construction
    // only, as the move assignment of Asio 1.26's any_completion_handler never returns.
    std::optional<waiter> take_waiter() {
        const std::lock_guard lock(mutex_);
        std::optional<waiter> taken(std::move(waiting_));
        waiting_.reset();
        return taken;
    }

    void finish(int code, addresses found) {
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

net::awaitable<result<addresses>> addresses_of(endpoint where) {
    addresses list;
    error_code ec;
    const auto literal = net::ip::make_address(where.host, ec);
    if (!ec) {
        list.emplace_back(literal, where.port);
        co_return list;
    }
    if (where.host == "localhost") {
        list.emplace_back(net::ip::address_v4::loopback(), where.port);
        list.emplace_back(net::ip::address_v6::loopback(), where.port);
        co_return list;
    }
    const net::any_io_executor executor = co_await net::this_coro::executor;
    auto initiate = [executor](auto handler, std::string host, std::uint16_t port) {
        std::make_shared<lookup>(executor, lookup::handler_type(std::move(handler)))
            ->start(std::move(host), port);
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

class tcp_network final : public network {
public:
    net::awaitable<result<std::unique_ptr<connection>>> connect(endpoint where) override {
        auto list = co_await addresses_of(where);
        if (!list)
            co_return list.error();
        std::optional<failure> worst;
        for (const auto& place : *list) {
            tcp::socket socket(co_await net::this_coro::executor);
            const auto [ec] = co_await socket.async_connect(place, as_result);
            co_await throw_if_cancelled();
            if (!ec) {
                error_code ignored;
                socket.set_option(tcp::no_delay(true), ignored);
                co_return std::unique_ptr<connection>(std::make_unique<tcp_connection>(std::move(socket)));
            }
            auto why = connect_failure(ec, where);
            // Refused only if every address refused.
            if (!worst || worst->cls == failure_class::refused)
                worst = std::move(why);
        }
        co_return std::move(*worst);
    }
};

} // namespace

std::unique_ptr<network> make_tcp_network() {
    return std::make_unique<tcp_network>();
}

} // namespace holdfast
