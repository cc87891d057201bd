// TCP as the library sees it, on loopback: real sockets, so every wait has a deadline, but none is slept.
#define BOOST_TEST_MODULE tcp_network
#include <boost/test/unit_test.hpp>

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/runtime.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>

using namespace holdfast;
using net::ip::tcp;

namespace {

struct fixture {
    net::io_context io;
    runtime rt{io.get_executor()};
    tcp::acceptor acceptor{io, tcp::endpoint(net::ip::address_v4::loopback(), 0)};
    endpoint here{"http", "127.0.0.1", acceptor.local_endpoint().port()};

    /// Runs a coroutine to its end, within a deadline of real time.
    template <class T>
    T run(net::awaitable<T> body) {
        std::optional<T> value;
        std::exception_ptr error;
        bool done = false;
        net::co_spawn(io, std::move(body), [&](std::exception_ptr e, T v) {
            done = true;
            error = e;
            if (!e)
                value = std::move(v);
        });
        io.restart();
        io.run_for(std::chrono::seconds(20));
        BOOST_TEST_REQUIRE(done, "stuck");
        if (error)
            std::rethrow_exception(error);
        return std::move(*value);
    }

    struct pair {
        std::unique_ptr<connection> ours;
        std::unique_ptr<tcp::socket> theirs;
    };
    net::awaitable<pair> connected() {
        auto made = co_await rt.network().connect(here);
        BOOST_TEST_REQUIRE(made.has_value());
        pair both;
        both.ours = std::move(*made);
        both.theirs = std::make_unique<tcp::socket>(io);
        co_await acceptor.async_accept(*both.theirs, net::use_awaitable);
        co_return both;
    }

    /// What reading gives: the bytes, "end", or the class of the failure.
    net::awaitable<std::string> read(connection& from) {
        char buffer[64];
        const auto got = co_await from.read_some(net::buffer(buffer));
        if (!got)
            co_return std::string(retry::to_string(got.error().cls)) + ' ' + got.error().code.message();
        if (*got == 0)
            co_return "end";
        co_return std::string(buffer, *got);
    }

    /// Starts `op`, cancels it at the next turn, and tells how it ended.
    template <class T>
    std::string cancel_at_once(net::awaitable<T> op) {
        net::cancellation_signal stop;
        std::string ended;
        auto on_end = [&](std::exception_ptr e, const T&) {
            ended = !e ? "value" : detail::is_abort(e) ? "aborted" : "failed";
        };
        net::co_spawn(io, std::move(op), net::bind_cancellation_slot(stop.slot(), std::move(on_end)));
        io.restart();
        io.poll();
        stop.emit(net::cancellation_type::terminal);
        io.restart();
        io.run_for(std::chrono::seconds(20));
        return ended;
    }
};

std::string class_of(const result<std::unique_ptr<connection>>& made) {
    return made ? "connected" : std::string(retry::to_string(made.error().cls));
}

} // namespace

BOOST_FIXTURE_TEST_CASE(bytes_go_both_ways_and_an_orderly_end_is_no_failure, fixture) {
    auto body = [](fixture& f) -> net::awaitable<std::string> {
        auto both = co_await f.connected();
        const auto sent = co_await both.ours->write("ping");
        BOOST_TEST(sent.has_value());
        char buffer[4];
        co_await both.theirs->async_read_some(net::buffer(buffer), net::use_awaitable);
        co_await net::async_write(*both.theirs, net::buffer("pong", 4), net::use_awaitable);
        const auto answer = co_await f.read(*both.ours);
        both.theirs->shutdown(tcp::socket::shutdown_send);
        const auto end = co_await f.read(*both.ours);
        co_return std::string(buffer, 4) + ' ' + answer + ' ' + end;
    };
    BOOST_TEST(run(body(*this)) == "ping pong end");
}

BOOST_FIXTURE_TEST_CASE(a_reset_is_a_cut, fixture) {
    auto body = [](fixture& f) -> net::awaitable<std::string> {
        auto both = co_await f.connected();
        both.theirs->set_option(tcp::socket::linger(true, 0));
        both.theirs->close();
        const auto got = co_await f.read(*both.ours);
        co_return got;
    };
    BOOST_TEST(run(body(*this)).starts_with("cut "));
}

BOOST_FIXTURE_TEST_CASE(a_port_where_nobody_listens_is_refused_by_literal_and_by_name, fixture) {
    acceptor.close();
    for (const char* host : {"127.0.0.1", "localhost"}) {
        here.host = host;
        BOOST_TEST(class_of(run(rt.network().connect(here))) == "refused", host);
    }
}

BOOST_FIXTURE_TEST_CASE(localhost_is_found_without_a_look_up, fixture) {
    here.host = "localhost";
    BOOST_TEST(class_of(run(rt.network().connect(here))) == "connected");
}

BOOST_FIXTURE_TEST_CASE(close_ends_a_pending_read_and_what_comes_after_it_fails_as_closed, fixture) {
    auto body = [](fixture& f) -> net::awaitable<std::string> {
        auto both = co_await f.connected();
        net::post(f.io, [&] { both.ours->close(); });
        const auto got = co_await both.ours->write("x");
        BOOST_TEST(got.has_value());
        char buffer[4];
        const auto read = co_await both.ours->read_some(net::buffer(buffer));
        BOOST_TEST_REQUIRE(read.has_error());
        BOOST_TEST(read.error().code == error_code(errc::closed));
        both.ours->close();
        const auto late = co_await both.ours->write("x");
        BOOST_TEST_REQUIRE(late.has_error());
        BOOST_TEST(late.error().code == error_code(errc::closed));
        co_return "done";
    };
    BOOST_TEST(run(body(*this)) == "done");
}

BOOST_FIXTURE_TEST_CASE(a_cancelled_read_ends_at_once_as_operation_aborted, fixture) {
    const auto both = run(connected());
    BOOST_TEST(cancel_at_once(read(*both.ours)) == "aborted");
}

BOOST_FIXTURE_TEST_CASE(a_look_up_is_cancelled_at_once, fixture) {
    // It goes on by itself, on its own thread, for as long as the resolver likes; a late answer finds nobody.
    // An answer that came first is one.
    here.host = "nobody.invalid";
    const auto before = std::chrono::steady_clock::now();
    const auto ended = cancel_at_once(rt.network().connect(here));
    BOOST_TEST((ended == "aborted" || ended == "value"), ended);
    BOOST_TEST((std::chrono::steady_clock::now() - before < std::chrono::seconds(2)));
}

BOOST_FIXTURE_TEST_CASE(a_name_that_does_not_resolve_is_a_dns_failure, fixture) {
    here.host = "a host name with blanks";
    BOOST_TEST(class_of(run(rt.network().connect(here))) == "dns");
}

BOOST_AUTO_TEST_CASE(a_look_up_may_outlive_the_executor_that_asked_for_it) {
    for (int n = 0; n < 20; ++n) {
        fixture f;
        f.here.host = "nobody.invalid";
        BOOST_TEST(!f.cancel_at_once(f.rt.network().connect(f.here)).empty());
    }
}

BOOST_FIXTURE_TEST_CASE(the_systems_clock_waits_and_can_be_cancelled, fixture) {
    auto sleep = [](fixture& f) -> net::awaitable<int> {
        co_await f.rt.sleep_for(std::chrono::hours(1));
        co_return 1;
    };
    BOOST_TEST(cancel_at_once(sleep(*this)) == "aborted");
    auto past = [](fixture& f) -> net::awaitable<int> {
        co_await f.rt.sleep_until(f.rt.now() - seconds(1));
        co_return 1;
    };
    BOOST_TEST(run(past(*this)) == 1);
}

BOOST_AUTO_TEST_CASE(each_runtime_draws_numbers_of_its_own) {
    net::io_context io;
    runtime a(io.get_executor()), b(io.get_executor());
    BOOST_TEST((a.random() != b.random() || a.random() != b.random()));
}
