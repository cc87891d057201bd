// A real server answers prompts by the order of their ids: each of ours runs the model once, however wrong
// our clock is and however soon it follows the turn before.
#include <boost/test/unit_test.hpp>

#include "support/opencode_server.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::test;

BOOST_TEST_GLOBAL_FIXTURE(opencode_world);

/// The system's clock, but for the time of day.
class wrong_clock final : public holdfast::clock {
public:
    explicit wrong_clock(std::chrono::seconds off) : off_(off) {}
    time_point now() const override { return real_->now(); }
    wall_time wall_now() const override { return real_->wall_now() + off_; }
    std::unique_ptr<timer_base> make_timer(net::any_io_executor executor) override {
        return real_->make_timer(std::move(executor));
    }

private:
    std::unique_ptr<holdfast::clock> real_ = make_system_clock();
    std::chrono::seconds off_;
};

/// Prompts the session, and waits for the end.
net::awaitable<opencode::outcome> run_turn(opencode::session session, std::string text) {
    auto turn = co_await session.prompt(std::move(text));
    auto how = opencode::outcome::lost;
    while (const auto event = co_await turn.next())
        if (const auto* settled = std::get_if<opencode::settlement>(&*event))
            how = settled->outcome;
    co_return how;
}

/// A session taken up anew for each prompt, as by a command that is run again and again.
net::awaitable<void> prompt_again_and_again(runtime& world, std::string key, std::string url,
                                            std::string directory) {
    std::vector<std::unique_ptr<opencode::server>> servers;
    task_scope tasks(world, [](std::exception_ptr e) { std::rethrow_exception(e); });
    opencode::client client(world, http::parse_url(url).value());
    const auto made = co_await client.create_session({}, directory);
    BOOST_TEST_REQUIRE(made.has_value());
    for (int n = 0; n < 3; ++n) {
        auto& server = *servers.emplace_back(std::make_unique<opencode::server>(world, url));
        tasks.spawn(server.run());
        const auto taken = co_await server.open_session(made->id);
        BOOST_TEST_REQUIRE(taken.has_value());
        for (int m = 0; m < 2; ++m) {
            const auto tag = key + '-' + std::to_string(n) + std::to_string(m);
            const auto how = co_await run_turn(*taken, tag + " #plain");
            BOOST_TEST(to_string(how) == "completed", tag);
            BOOST_TEST(opencode_world::model().runs(tag) == 1u, tag);
            co_await world.sleep_for(milliseconds(100));
        }
        server.stop();
    }
    co_await tasks.join();
}

void run(net::io_context& io, net::awaitable<void> body) {
    std::exception_ptr error;
    bool done = false;
    net::co_spawn(io, std::move(body), [&](std::exception_ptr e) {
        error = e;
        done = true;
    });
    io.run_for(std::chrono::minutes(3)); // a new directory's first turn is slow on a busy machine
    BOOST_TEST_REQUIRE(done, "stuck");
    if (error)
        std::rethrow_exception(error);
}

void prompt_with_a_clock_off_by(std::chrono::seconds off) {
    net::io_context io;
    runtime world(io.get_executor(), std::make_unique<wrong_clock>(off), make_tcp_network(), 1);
    run(io, prompt_again_and_again(world, "off" + std::to_string(off.count()), opencode_world::server().url(),
                                   opencode_world::server().directory()));
}

net::awaitable<void> prompt_in(runtime& world, std::string url, std::string directory) {
    opencode::server_config config; // a directory's first request is slow on a busy machine
    config.rest.transport.deadlines.header = config.rest.transport.deadlines.exchange =
        std::chrono::minutes(2);
    opencode::server server(world, url, config);
    task_scope tasks(world, [](std::exception_ptr e) { std::rethrow_exception(e); });
    tasks.spawn(server.run());
    const auto made = co_await server.create_session({}, directory);
    BOOST_TEST_REQUIRE(made.has_value());
    BOOST_TEST(made->directory() == directory);
    auto client = server.rest();
    const auto listed = co_await client.list_sessions(directory);
    BOOST_TEST_REQUIRE(listed.has_value());
    BOOST_TEST(listed->size() == 1u);
    const auto how = co_await run_turn(*made, "percent #plain");
    BOOST_TEST(to_string(how) == "completed");
    const auto readable = co_await client.read_directory(directory);
    BOOST_TEST(readable.has_value(), (readable ? "" : readable.error().message));
    const auto unreadable = co_await client.read_directory(directory + "/gone");
    BOOST_TEST_REQUIRE(unreadable.has_error());
    BOOST_TEST(unreadable.error().status == 500);
    server.stop();
    co_await tasks.join();
}

} // namespace

BOOST_AUTO_TEST_CASE(with_a_clock_that_is_right_each_prompt_runs_the_model_once) {
    prompt_with_a_clock_off_by(std::chrono::seconds(0));
}

BOOST_AUTO_TEST_CASE(with_a_clock_80_s_ahead_each_prompt_runs_the_model_once) {
    prompt_with_a_clock_off_by(std::chrono::seconds(80));
}

BOOST_AUTO_TEST_CASE(with_a_clock_80_s_behind_each_prompt_runs_the_model_once) {
    prompt_with_a_clock_off_by(std::chrono::seconds(-80));
}

BOOST_AUTO_TEST_CASE(a_directory_with_a_percent_sign_is_that_directory) {
    const auto directory = opencode_world::server().directory() + "/p%41";
    std::filesystem::create_directories(directory);
    std::filesystem::create_directories(opencode_world::server().directory() + "/pA");
    net::io_context io;
    runtime world(io.get_executor());
    run(io, prompt_in(world, opencode_world::server().url(), directory));
}
