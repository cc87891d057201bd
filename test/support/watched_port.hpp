// The read-only port of `holdfast watch`, served on a thread of its own, and a client that says exactly what
// a test wants said.
#pragma once

#include "watch/event_ring.hpp"
#include "watch/port.hpp"
#include "watch/prometheus.hpp"

#include <holdfast/runtime/runtime.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include <poll.h>

#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace holdfast::test {

/// A port that serves from construction to end(). What is watched is made up.
class watched_port {
public:
    explicit watched_port(app::watch_port_config config = {},
                          std::shared_ptr<app::event_ring> shared_ring = {})
        : ring(shared_ring ? std::move(shared_ring) : std::make_shared<app::event_ring>(4096, 256, "run")),
          port_(world_, std::move(config), sources(), *ring) {
        const auto where = port_.listen();
        if (!where)
            throw std::runtime_error(where.error().message);
        number_ = where->port;
        scope_.spawn(port_.run());
        thread_ = std::thread([this] { io_.run(); });
    }
    ~watched_port() { end(); }
    watched_port(const watched_port&) = delete;
    watched_port& operator=(const watched_port&) = delete;

    [[nodiscard]] unsigned short number() const noexcept { return number_; }

    /// Runs `what` on the port's thread, and waits for it.
    template <class F>
    auto on_port(F what) {
        std::packaged_task<decltype(what())()> task(std::move(what));
        auto done = task.get_future();
        boost::asio::post(io_, [&task] { task(); });
        return done.get();
    }

    void publish(const std::string& name, const std::string& data) {
        on_port([&] { ring->publish(name, data); });
    }
    [[nodiscard]] std::size_t viewers() {
        return on_port([this] { return port_.viewers(); });
    }
    void count(metric which, std::uint64_t n) { world_.count(which, n); }
    [[nodiscard]] std::vector<std::string> errors() const {
        const std::lock_guard lock(mutex_);
        return errors_;
    }

    /// Asks for the end and waits for it. @return how long that took. Idempotent.
    std::chrono::milliseconds end(bool by_cancellation = false) {
        const auto begun = std::chrono::steady_clock::now();
        if (thread_.joinable()) {
            boost::asio::post(io_, [this, by_cancellation] {
                if (by_cancellation)
                    scope_.cancel();
                else
                    port_.stop();
            });
            thread_.join();
        }
        return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                     begun);
    }

    std::atomic<bool> ready = true;
    std::atomic<bool> status_throws = false;
    std::atomic<std::size_t> filler = 0; ///< bytes more in /status
    std::shared_ptr<app::event_ring> ring;

private:
    app::watch_sources sources() {
        app::watch_sources all;
        all.status = [this] {
            if (status_throws)
                throw std::runtime_error("no status today");
            boost::json::object shown{{"runs", 3}, {"name", "caf\xe9"}};
            if (filler > 0)
                shown["filler"] = std::string(filler, 'x');
            return shown;
        };
        all.not_ready = [this] {
            return std::string(ready ? "" : "a server was not asked yet");
        };
        all.metrics = [this] {
            return app::prometheus_text(world_);
        };
        return all;
    }

    void note(const log_record& record) {
        const std::lock_guard lock(mutex_);
        errors_.push_back(record.event + ": " + record.error_message);
    }

    mutable std::mutex mutex_;
    std::vector<std::string> errors_;
    boost::asio::io_context io_{1};
    runtime world_{io_.get_executor(), [this](const log_record& record) {
                       note(record);
                   }};
    app::watch_port port_;
    task_scope scope_{world_, [](const std::exception_ptr& error) {
                          std::rethrow_exception(error);
                      }};
    unsigned short number_ = 0;
    std::thread thread_;
};

/// One connection, to a port of 127.0.0.1 where nothing else is said.
class talker {
public:
    using milliseconds = std::chrono::milliseconds;
    using endpoint = boost::asio::ip::tcp::endpoint;

    explicit talker(unsigned short port, std::string_view said = {}, int receive_buffer = 0)
        : talker(endpoint{boost::asio::ip::address_v4::loopback(), port}, said, receive_buffer) {}

    talker(const endpoint& where, std::string_view said, int receive_buffer = 0) {
        socket_.open(where.protocol());
        if (receive_buffer > 0)
            socket_.set_option(boost::asio::socket_base::receive_buffer_size(receive_buffer));
        socket_.connect(where);
        say(said);
    }

    /// @return false when the other side takes nothing more.
    bool say(std::string_view text) {
        boost::system::error_code failed;
        boost::asio::write(socket_, boost::asio::buffer(text), failed);
        return !failed;
    }
    void end_of_speech() { socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send); }

    /// What comes up to `mark`, mark included; nothing when it does not come before the end or the deadline.
    std::optional<std::string> until(std::string_view mark,
                                     milliseconds deadline = std::chrono::seconds(10)) {
        for (;;) {
            if (const auto at = unread_.find(mark); at != std::string::npos) {
                auto found = unread_.substr(0, at + mark.size());
                unread_.erase(0, at + mark.size());
                return found;
            }
            if (!read_more(deadline))
                return std::nullopt;
        }
    }

    /// All that comes before the other side ends; throws when that does not come in time.
    std::string rest(milliseconds deadline = std::chrono::seconds(10)) {
        while (read_more(deadline)) {
        }
        if (!ended_)
            throw std::runtime_error("the other side does not end: " + unread_);
        return std::exchange(unread_, {});
    }

    /// Whether rest() met a reset.
    [[nodiscard]] bool was_reset() const noexcept { return reset_; }

private:
    bool read_more(milliseconds deadline) {
        pollfd wait{socket_.native_handle(), POLLIN, 0};
        if (ended_ || ::poll(&wait, 1, static_cast<int>(deadline.count())) == 0)
            return false;
        std::array<char, 65536> block{};
        boost::system::error_code failed;
        unread_.append(block.data(), socket_.read_some(boost::asio::buffer(block), failed));
        ended_ = failed.failed();
        reset_ = failed && failed != boost::asio::error::eof;
        return !ended_;
    }

    boost::asio::io_context context_;
    boost::asio::ip::tcp::socket socket_{context_};
    std::string unread_;
    bool ended_ = false;
    bool reset_ = false;
};

} // namespace holdfast::test
