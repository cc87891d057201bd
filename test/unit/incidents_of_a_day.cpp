// A thousand streams whose servers are gone for a day, in virtual time: what the log says, how often they
// ask, and how soon they are back.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

using namespace holdfast;
using test::place;

namespace {

// As many as the name of the case says where that is quick; a sanitizer at -O0 says the same with fewer.
#ifdef __OPTIMIZE__
constexpr std::size_t many = 1000;
#else
constexpr std::size_t many = 15;
#endif
constexpr auto day = std::chrono::hours(24);

/// Answers each connection with the head of an event stream, which it holds.
class holding_server final : public testing::simulated_server {
public:
    explicit holding_server(testing::memory_network& net) : net_(net) {}
    void accepted(testing::wire_id) override {}
    void received(testing::wire_id wire, std::string_view) override { net_.send(wire, test::sse_head()); }
    void closed(testing::wire_id) override {}

private:
    testing::memory_network& net_;
};

struct thousand_streams {
    explicit thousand_streams(std::size_t ports) {
        for (std::size_t n = 0; n < many; ++n) {
            const endpoint where("http", "p" + std::to_string(n % ports) + ".test", 4096);
            if (n < ports)
                places.push_back(where);
            stream::source_config config;
            config.policy.max_attempts = retry::unlimited;
            config.policy.jitter = retry::jitter::equal;
            config.policy.stretches = retry::long_outage_stretches();
            config.stall_timeout = duration::zero();
            config.locate = [url = http::parse_url(to_string(where) + "/event").value()] {
                stream::location here;
                here.url = url;
                return here;
            };
            sources.push_back(std::make_unique<stream::event_source>(rt, config));
        }
        for (const auto& each : sources)
            scope.spawn(hold(*each));
        scope.spawn(rt.write_incidents());
    }

    ~thousand_streams() {
        scope.cancel();
        world.run(scope.join());
        sources.clear();
    }

    static net::awaitable<void> hold(stream::event_source& source) {
        bool more = true;
        while (more) {
            const auto item = co_await source.next();
            more = item.has_value();
        }
    }

    void behave(testing::memory_network::behaviour how) {
        for (const auto& each : places)
            world.net().behave(each, how);
    }

    void open_ports() {
        for (const auto& each : places)
            world.net().listen(each, server);
    }

    void wake() {
        for (const auto& each : places)
            rt.wake(each);
    }

    [[nodiscard]] std::size_t lines() {
        return static_cast<std::size_t>(
            std::count_if(world.logs().begin(), world.logs().end(),
                          [](const log_record& each) { return each.level != log_level::debug; }));
    }

    [[nodiscard]] std::size_t most_attempts() {
        std::size_t most = 0;
        for (const auto& each : places)
            most = std::max(most, world.net().attempts(each));
        return most;
    }

    [[nodiscard]] std::uint64_t open() { return rt.value(metric::streams_open); }

    testing::world world;
    runtime& rt = world.rt();
    holding_server server{world.net()};
    std::vector<endpoint> places;
    std::vector<std::unique_ptr<stream::event_source>> sources;
    task_scope scope{rt, [](std::exception_ptr) {
                         BOOST_ERROR("a child threw");
                     }};
};

// Debug records are not what is counted, and a million of them need not be kept.
void forget_debug(thousand_streams& all) {
    std::erase_if(all.world.logs(), [](const log_record& each) { return each.level == log_level::debug; });
}

void let_pass(thousand_streams& all, duration how_long) {
    for (auto passed = duration::zero(); passed < how_long; passed += minutes(30)) {
        all.world.run_for(minutes(30));
        forget_debug(all);
    }
}

// The first is back within a second of the wake; then they are as quick as the connect limiter lets them: a
// hundred at once and five hundred a second.
void check_recovery(thousand_streams& all) {
    const auto before = all.lines();
    all.open_ports();
    all.wake();
    all.world.settle();
    BOOST_TEST(all.open() == std::min<std::size_t>(many, 100));
    all.world.run_for(seconds(1));
    BOOST_TEST(all.open() >= std::min<std::size_t>(many, 599));
    all.world.run_for(milliseconds(801));
    BOOST_TEST(all.open() == many);
    BOOST_TEST(all.lines() >= before + 1);
    all.world.run_for(minutes(2));
    BOOST_TEST(all.lines() <= before + 4);
    forget_debug(all);
    BOOST_TEST(all.world.logs().back().event == "incident.recovered");
}

} // namespace

BOOST_AUTO_TEST_CASE(a_thousand_streams_at_one_dead_port_write_at_most_40_lines_a_day_and_are_back_at_once) {
    thousand_streams all(1);
    let_pass(all, day);
    BOOST_TEST(all.lines() <= 40u);
    BOOST_TEST(all.lines() >= 20u);
    BOOST_TEST(all.most_attempts() <=
               700u); // whoever is due first asks for all: the shortest delays of jitter
    check_recovery(all);
}

BOOST_AUTO_TEST_CASE(
    a_thousand_streams_at_dead_ports_of_their_own_write_at_most_60_lines_a_day_and_are_back_at_once) {
    thousand_streams all(many);
    let_pass(all, day);
    BOOST_TEST(all.lines() <= 60u);
    BOOST_TEST(all.lines() >= 20u);
    BOOST_TEST(all.most_attempts() <= 610u);
    check_recovery(all);
}

BOOST_AUTO_TEST_CASE(errors_that_change_all_the_time_write_no_more) {
    using behaviour = testing::memory_network::behaviour;
    thousand_streams all(many);
    for (int n = 0; n < 12; ++n) {
        all.behave(n % 2 == 0 ? behaviour::unreachable : behaviour::refuse);
        let_pass(all, minutes(30));
    }
    BOOST_TEST(all.lines() <= 60u);
    check_recovery(all);
}

BOOST_AUTO_TEST_CASE(a_wake_that_comes_too_early_does_not_make_them_wait_as_long_as_the_outage_was) {
    thousand_streams all(10);
    let_pass(all, std::chrono::hours(3));
    all.wake(); // the servers are only starting
    all.world.run_for(seconds(3));
    all.open_ports();
    all.world.run_for(seconds(10));
    BOOST_TEST(all.open() == many);
}

BOOST_AUTO_TEST_CASE(when_a_moved_endpoint_is_asked_no_more_its_incident_ends_as_left) {
    testing::world world;
    runtime& rt = world.rt();
    holding_server server{world.net()};
    task_scope scope{rt, {}};
    world.net().listen(test::elsewhere, server);
    auto url = http::parse_url("http://a.test/event").value();
    stream::source_config config;
    config.locate = [&url] {
        stream::location here;
        here.url = url;
        return here;
    };
    stream::event_source source(rt, config);
    scope.spawn(thousand_streams::hold(source));
    world.run_for(seconds(5));
    url = http::parse_url("http://b.test/event").value();
    world.run_for(seconds(5));
    BOOST_TEST(source.is_open());
    const auto& logs = world.logs();
    const auto end = std::find_if(logs.begin(), logs.end(),
                                  [](const log_record& each) { return each.event == "incident.recovered"; });
    BOOST_TEST_REQUIRE((end != logs.end()));
    BOOST_TEST(end->action == "left");
    BOOST_TEST(end->endpoint == "http://a.test:80");
    scope.cancel();
    world.run(scope.join());
}
