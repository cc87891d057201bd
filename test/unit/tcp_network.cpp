// TCP as the library sees it, on loopback: real sockets, so every wait has a deadline, but none is slept.
#include <boost/test/unit_test.hpp>

#include "support/real_world.hpp"

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/runtime.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <chrono>
#include <exception>
#include <list>
#include <memory>
#include <string>
#include <vector>

using namespace holdfast;
using net::ip::tcp;

namespace {

struct fixture : test::in_the_real_world {
    tcp::acceptor acceptor{io, tcp::endpoint(net::ip::address_v4::loopback(), 0)};
    endpoint here{"http", "127.0.0.1", acceptor.local_endpoint().port()};

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
            io.stop();
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

// --- several addresses

namespace {

/// Accepts nothing and refuses nothing: its queue is full, so the system lets every further SYN fall.
class black_hole {
public:
    black_hole(net::io_context& io, const net::ip::address& at, std::uint16_t port) : acceptor_(io) {
        acceptor_.open(at.is_v4() ? tcp::v4() : tcp::v6());
        acceptor_.set_option(tcp::acceptor::reuse_address(true));
        acceptor_.bind(tcp::endpoint(at, port));
        acceptor_.listen(0);
        for (int n = 0; n < 3; ++n) {
            fill_.emplace_back(io);
            fill_.back().async_connect(acceptor_.local_endpoint(), [](const boost::system::error_code&) {});
        }
        io.restart();
        io.run_for(std::chrono::milliseconds(20));
    }
    ~black_hole() {
        for (auto& each : fill_)
            each.close();
    }

private:
    tcp::acceptor acceptor_;
    std::list<tcp::socket> fill_;
};

net::ip::address v4(const char* text) {
    return net::ip::make_address(text);
}
const net::ip::address v6 = net::ip::address_v6::loopback();

struct many_addresses : fixture {
    std::uint16_t port = here.port;

    many_addresses() {
        here.host = "several.test";
        acceptor.close();
    }

    tcp::acceptor listen(const net::ip::address& at) { return {io, tcp::endpoint(at, port)}; }

    std::unique_ptr<network> with(std::vector<net::ip::address> addresses) {
        known_hosts known;
        known["several.test"] = std::move(addresses);
        return make_tcp_network(std::move(known));
    }

    /// Connects, and tells to which of several acceptors.
    std::string reached(std::vector<net::ip::address> addresses, std::vector<tcp::acceptor*> acceptors) {
        const auto wires = with(std::move(addresses));
        const auto made = run(wires->connect(here));
        if (!made)
            return std::string(retry::to_string(made.error().cls));
        std::string who;
        for (auto* each : acceptors) {
            each->non_blocking(true);
            boost::system::error_code ec;
            tcp::socket accepted(io);
            each->accept(accepted, ec);
            if (!ec)
                who += each->local_endpoint().address().to_string() + ' ';
        }
        return who;
    }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(an_address_that_refuses_gives_way_to_the_next, many_addresses) {
    auto second = listen(v4("127.0.0.2"));
    BOOST_TEST(reached({v4("127.0.0.1"), v4("127.0.0.2")}, {&second}) == "127.0.0.2 ");
}

BOOST_FIXTURE_TEST_CASE(localhost_reaches_a_server_of_ipv6_alone, many_addresses) {
    auto only = listen(v6);
    here.host = "localhost";
    BOOST_TEST(reached({}, {&only}) == "::1 ");
}

BOOST_FIXTURE_TEST_CASE(an_address_that_never_answers_costs_little_of_the_callers_time, many_addresses) {
    const black_hole first(io, v4("127.0.0.2"), port);
    auto second = listen(v4("127.0.0.1"));
    const auto before = std::chrono::steady_clock::now();
    BOOST_TEST(reached({v4("127.0.0.2"), v4("127.0.0.1")}, {&second}) == "127.0.0.1 ");
    const auto taken = std::chrono::steady_clock::now() - before;
    BOOST_TEST((taken >= std::chrono::milliseconds(250)));
    BOOST_TEST((taken < std::chrono::seconds(2)));
}

BOOST_FIXTURE_TEST_CASE(a_family_that_leads_nowhere_does_not_hold_up_the_other, many_addresses) {
    const black_hole first(io, v4("127.0.0.2"), port);
    auto same_family = listen(v4("127.0.0.1"));
    auto other_family = listen(v6);
    BOOST_TEST(reached({v4("127.0.0.2"), v4("127.0.0.1"), v6}, {&same_family, &other_family}) == "::1 ");
}

BOOST_FIXTURE_TEST_CASE(the_first_address_is_taken_when_it_answers_at_once, many_addresses) {
    auto first = listen(v4("127.0.0.2"));
    auto second = listen(v4("127.0.0.1"));
    BOOST_TEST(reached({v4("127.0.0.2"), v4("127.0.0.1")}, {&first, &second}) == "127.0.0.2 ");
}

BOOST_FIXTURE_TEST_CASE(it_is_refused_only_when_every_address_refused, many_addresses) {
    BOOST_TEST(reached({v4("127.0.0.1"), v6}, {}) == "refused");
    // A link-local address that does not tell its link is no address to connect to.
    BOOST_TEST(reached({v4("127.0.0.1"), net::ip::make_address("fe80::1")}, {}) == "unreachable");
    BOOST_TEST(reached({net::ip::make_address("fe80::1"), v4("127.0.0.1")}, {}) == "unreachable");
    BOOST_TEST(reached({}, {}) == "dns");
}

BOOST_FIXTURE_TEST_CASE(addresses_that_never_answer_are_left_at_the_callers_deadline, many_addresses) {
    const black_hole first(io, v4("127.0.0.2"), port);
    const black_hole second(io, v4("127.0.0.3"), port);
    const auto wires = with({v4("127.0.0.2"), v4("127.0.0.3")});
    auto connecting = [](many_addresses& f, network& wires) -> net::awaitable<bool> {
        auto connect = wires.connect(f.here);
        const auto made = co_await with_deadline(f.rt, f.rt.now() + milliseconds(400), std::move(connect));
        co_return made.has_value();
    };
    BOOST_TEST(!run(connecting(*this, *wires)));
}

BOOST_FIXTURE_TEST_CASE(connecting_is_cancelled_at_once_and_no_other_address_is_tried, many_addresses) {
    const black_hole first(io, v4("127.0.0.2"), port);
    auto second = listen(v4("127.0.0.1"));
    second.non_blocking(true);
    const auto wires = with({v4("127.0.0.2"), v4("127.0.0.1")});
    BOOST_TEST(cancel_at_once(wires->connect(here)) == "aborted");
    io.restart();
    io.run_for(std::chrono::milliseconds(400)); // in which the second address would have had its turn
    boost::system::error_code ec;
    tcp::socket accepted(io);
    second.accept(accepted, ec);
    BOOST_TEST(ec == net::error::would_block);
}

BOOST_AUTO_TEST_CASE(an_executor_may_go_while_addresses_are_tried) {
    many_addresses f;
    const black_hole first(f.io, v4("127.0.0.2"), f.port);
    const auto wires = f.with({v4("127.0.0.2"), v4("127.0.0.1")});
    net::co_spawn(f.io, wires->connect(f.here), [](std::exception_ptr, const auto&) {});
    f.io.restart();
    f.io.poll();
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
