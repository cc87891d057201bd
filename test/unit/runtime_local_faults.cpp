// A process that is out of descriptors, for real: connecting pauses and goes on, and no server is blamed.
#include <boost/test/unit_test.hpp>

#include "support/real_world.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <utility>

using namespace holdfast;

namespace {

// UBSan opens a pipe for some of its checks, and calls what it cannot look at without one an error.
#ifdef __SANITIZE_ADDRESS__
constexpr bool may_have_none = false;
#else
constexpr bool may_have_none = true;
#endif

/// While it lives no file can be opened.
class no_descriptors {
public:
    no_descriptors() {
        getrlimit(RLIMIT_NOFILE, &before_);
        const int next_free = dup(0);
        close(next_free);
        rlimit none = before_;
        none.rlim_cur = static_cast<rlim_t>(next_free);
        BOOST_TEST_REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
        BOOST_TEST_REQUIRE(dup(0) == -1);
    }
    ~no_descriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

struct fixture : test::in_the_real_world {
    net::ip::tcp::acceptor acceptor{io, {net::ip::address_v4::loopback(), 0}};
    endpoint here{"http", "127.0.0.1", acceptor.local_endpoint().port()};

    // What became of it, and how long it had to wait.
    std::pair<result<void>, duration> attempt() {
        auto body = [](runtime& world, endpoint where) -> net::awaitable<std::pair<result<void>, duration>> {
            const auto asked = world.now();
            auto pass =
                co_await world.begin_attempt(where, retry::endpoint_breaker::kind::call, asked, false);
            const auto waited = world.now() - asked;
            auto wire = co_await world.connect(where);
            if (wire) {
                pass.succeeded();
                (*wire)->close();
                co_return std::make_pair(result<void>(), waited);
            }
            pass.failed(wire.error());
            co_return std::make_pair(result<void>(wire.error()), waited);
        };
        return run(body(rt, here));
    }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(without_descriptors_connecting_pauses_no_breaker_opens_and_then_it_goes_on, fixture,
                        *boost::unit_test::enable_if<may_have_none>()) {
    BOOST_TEST(attempt().first.has_value()); // all that opens something for the first time has done so
    {
        const no_descriptors poor;
        const auto first = attempt();
        BOOST_TEST((first.first.error().code == errc::local));
        BOOST_TEST(to_ms(first.second) < 200);
        const auto second = attempt();
        BOOST_TEST((second.first.error().code == errc::local));
        BOOST_TEST(to_ms(second.second) >= 240);
    }
    BOOST_TEST(!rt.breaker_of(here)->open);
    const auto third = attempt();
    BOOST_TEST(third.first.has_value());
    BOOST_TEST(to_ms(third.second) >= 480); // of the second pause
    BOOST_TEST(to_ms(attempt().second) < 200);
    BOOST_TEST(rt.value(metric::local_pauses) == 2u);
    BOOST_TEST(rt.value(metric::connections_opened) == 3u);
    BOOST_TEST(rt.value(metric::connections_failed) == 2u);
}

BOOST_FIXTURE_TEST_CASE(that_there_is_no_ipv6_here_stops_nobody_else, fixture) {
    here.host = "::1"; // where there is IPv6, nobody listens
    BOOST_TEST(!attempt().first.has_value());
    BOOST_TEST(rt.value(metric::local_pauses) == 0u);
}
