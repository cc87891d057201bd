// Several servers on several threads, one strand each, one world: what they share is safe. Run with TSan too.
#include <boost/test/unit_test.hpp>

#include "support/ports.hpp"
#include "support/sim_process.hpp"

#include <holdfast/http/url.hpp>
#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_future.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using namespace std::chrono_literals;

/// An io_context run by several threads, and the first runtime of a world.
struct threads {
    net::io_context io;
    net::executor_work_guard<net::io_context::executor_type> work{io.get_executor()};
    std::atomic<unsigned> logged{0};
    runtime first{net::make_strand(io), [this](const log_record&) {
                      ++logged;
                  }};
    std::vector<std::thread> running;

    threads() {
        for (int i = 0; i < 4; ++i)
            running.emplace_back([this] { io.run(); });
    }
    ~threads() {
        work.reset();
        for (auto& each : running)
            each.join();
    }
};

/// One server on a strand of its own.
struct strand {
    net::any_io_executor executor;
    runtime world;
    opencode::server server;

    strand(threads& all, const std::string& url, opencode::server_config config)
        : executor(net::make_strand(all.io)), world(all.first, executor),
          server(world, url, std::move(config)) {}
};

net::awaitable<std::string> one_turn(opencode::session session, std::string prompt) {
    auto turn = co_await session.prompt(std::move(prompt));
    std::string text;
    while (auto event = co_await turn.next()) {
        if (const auto* more = std::get_if<opencode::text_event>(&*event))
            text += more->delta;
        if (const auto* end = std::get_if<opencode::settlement>(&*event))
            text += '[' + std::string(to_string(end->outcome)) + ']';
    }
    co_return text;
}

net::awaitable<std::vector<std::string>> turns(strand& on, int count) {
    std::vector<std::string> told;
    for (int i = 0; i < count; ++i) {
        auto session = co_await on.server.create_session();
        if (!session) {
            told.push_back(session.error().message);
            continue;
        }
        told.push_back(co_await one_turn(*session, "#plain"));
    }
    co_return told;
}

opencode::server_config quick() {
    opencode::server_config config;
    config.policy.base_delay = 20ms;
    config.policy.max_delay = 200ms;
    config.policy.max_attempts = retry::unlimited;
    return config;
}

} // namespace

BOOST_FIXTURE_TEST_CASE(servers_on_several_strands_hold_their_turns_through_cuts, threads) {
    sim_process steady({"--pace", "1"});
    sim_process cut({"--pace", "1", "--fault", "cut@4000*"});
    std::vector<std::unique_ptr<strand>> strands;
    for (int i = 0; i < 6; ++i) // three a server: they share its breaker
        strands.push_back(std::make_unique<strand>(*this, (i % 2 ? cut : steady).url(), quick()));
    std::vector<std::future<void>> ends;
    std::vector<std::future<std::vector<std::string>>> told;
    for (auto& each : strands) {
        ends.push_back(net::co_spawn(each->executor, each->server.run(), net::use_future));
        told.push_back(net::co_spawn(each->executor, turns(*each, 4), net::use_future));
    }
    const std::vector<std::string> expected(4, "Hello from the simulated model.[completed]");
    for (auto& each : told)
        BOOST_TEST(each.get() == expected, boost::test_tools::per_element());
    for (auto& each : strands)
        each->server.stop(); // from this thread
    for (auto& each : ends)
        each.get();
}

BOOST_FIXTURE_TEST_CASE(a_breaker_is_shared_by_strands_and_woken_from_any_thread, threads) {
    const auto url = http::parse_url(dead_url()).value();
    auto config = quick();
    config.policy.base_delay = config.policy.max_delay = 1h;
    std::vector<std::unique_ptr<strand>> strands;
    std::vector<std::future<void>> ends;
    for (int i = 0; i < 4; ++i) {
        strands.push_back(std::make_unique<strand>(*this, dead_url(), config));
        ends.push_back(
            net::co_spawn(strands.back()->executor, strands.back()->server.run(), net::use_future));
    }
    const auto hold = [&](strand& each) -> net::awaitable<bool> {
        const auto pass = co_await each.world.begin_attempt(url.where, retry::endpoint_breaker::kind::stream,
                                                            later(each.world.now(), 1h), true);
        co_return !pass.shared_failure().has_value();
    };
    const auto blame = [&]() -> net::awaitable<void> {
        auto pass =
            co_await first.begin_attempt(url.where, retry::endpoint_breaker::kind::call, first.now(), false);
        pass.failed(retry::make_failure(errc::refused));
    };
    net::co_spawn(first.executor(), blame(), net::use_future).get();
    BOOST_TEST_REQUIRE(first.breaker_of(url.where).has_value());
    BOOST_TEST(first.breaker_of(url.where)->open);
    std::vector<std::future<bool>> held;
    for (auto& each : strands)
        held.push_back(net::co_spawn(each->executor, hold(*each), net::use_future));
    const auto start = std::chrono::steady_clock::now();
    while (first.breaker_of(url.where)->waiting < strands.size() &&
           std::chrono::steady_clock::now() - start < 20s)
        std::this_thread::yield();
    BOOST_TEST(first.breaker_of(url.where)->waiting == strands.size());
    first.wake(url.where); // from this thread
    for (auto& each : held) {
        BOOST_TEST_REQUIRE((each.wait_for(20s) == std::future_status::ready));
        BOOST_TEST(each.get());
    }
    for (auto& each : strands)
        each->server.stop();
    for (auto& each : ends)
        each.get();
}
