// A day on which servers do not answer: how few lines are written and how few attempts are made for 1,000
// runs, and how soon they are all seen again. In virtual time, with the whole library.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/testing/sim_host.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

using namespace holdfast;
using opencode::follow_by;
using testing::memory_network;
using testing::opencode_sim;

namespace {

// As many as the names of the cases say where that is quick: this is about numbers, which are the same with
// fewer.
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr std::size_t runs = 1000;
#else
constexpr std::size_t runs = 8;
#endif
constexpr auto day = std::chrono::hours(24);

endpoint port(std::size_t n) {
    return {"http", "127.0.0.1", static_cast<unsigned short>(10'000 + n)};
}

opencode::server_config patient() {
    opencode::server_config config;
    config.policy.max_attempts = retry::unlimited;
    config.policy.jitter = retry::jitter::equal;
    config.policy.stretches = retry::long_outage_stretches();
    config.capture.tick = minutes(1); // what is well is not the matter here
    config.capture.retry.jitter = retry::jitter::equal;
    config.capture.retry.stretches = retry::long_outage_stretches();
    return config;
}

/// So many servers, each with as many sessions, all of them followed by their activity.
struct followed_runs : test::in_simulated_world {
    std::vector<std::unique_ptr<testing::sim_host>> hosts;
    std::vector<std::unique_ptr<opencode::server>> servers;
    std::vector<opencode::feed> feeds;
    std::optional<task_scope> tasks;

    net::awaitable<void> begin(std::size_t ports) {
        tasks.emplace(world.rt(), [](std::exception_ptr e) { std::rethrow_exception(e); });
        for (std::size_t n = 0; n < ports; ++n) {
            opencode_sim::options model;
            model.seed = n + 1;
            hosts.push_back(std::make_unique<testing::sim_host>(world, port(n), model));
            servers.push_back(std::make_unique<opencode::server>(world.rt(), to_string(port(n)), patient()));
            tasks->spawn(servers.back()->run());
            auto client = servers.back()->rest();
            for (std::size_t i = 0; i < runs / ports; ++i) {
                const auto made = co_await client.create_session({}, {});
                BOOST_TEST_REQUIRE(made.has_value());
                feeds.push_back(servers.back()->follow(made->id, follow_by::activity));
            }
        }
        co_await world.rt().sleep_for(seconds(20));
        BOOST_TEST(in_trouble() == 0u);
    }

    std::size_t in_trouble() const {
        return static_cast<std::size_t>(std::count_if(
            feeds.begin(), feeds.end(), [](const auto& each) { return each.view().trouble.has_value(); }));
    }

    void outage(std::optional<memory_network::behaviour> how) {
        for (std::size_t n = 0; n < hosts.size(); ++n)
            world.net().outage(port(n), how);
    }

    void wake() {
        for (const auto& each : servers)
            each->wake();
    }

    std::size_t lines() {
        return static_cast<std::size_t>(
            std::count_if(world.logs().begin(), world.logs().end(),
                          [](const log_record& r) { return r.level >= log_level::info; }));
    }

    std::size_t most_attempts() {
        std::size_t most = 0;
        for (std::size_t n = 0; n < hosts.size(); ++n)
            most = std::max(most, world.net().attempts(port(n)));
        return most;
    }

    void tell_lines() {
        for (const auto& r : world.logs())
            if (r.level >= log_level::info)
                BOOST_TEST_MESSAGE(r.event << ' ' << r.endpoint << ' ' << r.session << ' ' << r.error_class
                                           << ' ' << r.error_message << ' ' << r.failures << ' ' << r.action);
    }

    net::awaitable<void> end() {
        feeds.clear();
        for (const auto& each : servers)
            each->stop();
        co_await tasks->join();
    }

    void finish() {
        servers.clear();
        for (const auto& each : hosts)
            each->shut_down();
        hosts.clear();
        world.settle();
    }
};

} // namespace

CO_TEST_CASE(a_thousand_runs_on_one_dead_port_write_40_lines_a_day_at_most_and_try_it_500_times,
             followed_runs) {
    co_await begin(1);
    world.logs().clear();
    const auto before = most_attempts();
    outage(memory_network::behaviour::refuse);
    co_await world.rt().sleep_for(day);
    BOOST_TEST(in_trouble() == runs);
    BOOST_TEST(most_attempts() - before <= 500u);
    BOOST_TEST(most_attempts() - before >= 400u); // and it is tried
    outage(std::nullopt);
    wake();
    co_await world.rt().sleep_for(seconds(1));
    BOOST_TEST(servers[0]->follow(feeds[0].session_id(), follow_by::capture).view().seen.has_value());
    co_await world.rt().sleep_for(seconds(4)); // by 500 connects a second
    BOOST_TEST(in_trouble() == 0u);
    co_await world.rt().sleep_for(minutes(2));
    BOOST_TEST(lines() <= 40u);
    BOOST_TEST(lines() >= 2u);
    tell_lines();
    co_await end();
}

CO_TEST_CASE(a_thousand_runs_on_a_thousand_dead_ports_write_60_lines_a_day_at_most_and_try_each_500_times,
             followed_runs) {
    co_await begin(runs);
    world.logs().clear();
    const auto before = most_attempts();
    outage(memory_network::behaviour::refuse);
    co_await world.rt().sleep_for(day);
    BOOST_TEST(in_trouble() == runs);
    BOOST_TEST(most_attempts() - before <= 500u);
    BOOST_TEST(most_attempts() - before >= 400u);
    outage(std::nullopt);
    wake();
    co_await world.rt().sleep_for(seconds(12)); // six requests each, by 500 connects a second
    BOOST_TEST(in_trouble() == 0u);
    co_await world.rt().sleep_for(minutes(2));
    BOOST_TEST(lines() <= 60u);
    BOOST_TEST(lines() >= 2u);
    tell_lines();
    co_await end();
}

CO_TEST_CASE(one_run_is_seen_again_within_a_second_of_a_wake_after_a_day, followed_runs) {
    co_await begin(std::min<std::size_t>(runs, 50));
    feeds.resize(std::min<std::size_t>(runs, 50), feeds.front());
    outage(memory_network::behaviour::unreachable);
    co_await world.rt().sleep_for(day);
    outage(std::nullopt);
    wake();
    co_await world.rt().sleep_for(seconds(1));
    BOOST_TEST(in_trouble() == 0u);
    co_await end();
}

CO_TEST_CASE(failures_of_changing_kinds_write_no_more, followed_runs) {
    co_await begin(std::min<std::size_t>(runs, 100));
    world.logs().clear();
    const std::vector<memory_network::behaviour> kinds{memory_network::behaviour::refuse,
                                                       memory_network::behaviour::unreachable,
                                                       memory_network::behaviour::hang};
    for (int hour = 0; hour < 24; ++hour)
        for (int part = 0; part < 4; ++part) {
            outage(kinds[static_cast<std::size_t>(part) % kinds.size()]);
            co_await world.rt().sleep_for(minutes(15));
        }
    BOOST_TEST(lines() <= 60u);
    tell_lines();
    outage(std::nullopt);
    wake();
    co_await world.rt().sleep_for(seconds(10));
    BOOST_TEST(in_trouble() == 0u);
    co_await end();
}
