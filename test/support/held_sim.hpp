// A simulated server, held, in virtual time: what the tests of sessions share.
#pragma once

#include "support/coroutine.hpp"

#include <holdfast/http/url.hpp>
#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/testing/opencode_sim.hpp>
#include <holdfast/testing/sim_host.hpp>

#include <boost/test/unit_test.hpp>

#include <exception>
#include <optional>
#include <string>
#include <utility>

namespace holdfast::test {

struct held_sim : in_simulated_world {
    testing::opencode_sim::options model;
    opencode::server_config config;
    std::optional<testing::sim_host> host;
    std::optional<opencode::server> server;
    std::optional<task_scope> tasks;

    held_sim() { config.policy = retry::session_stream(); }

    static endpoint place() { return {"http", "127.0.0.1", 4096}; }
    static http::url base() { return *http::parse_url(to_string(place())); }

    void start() {
        host.emplace(world, place(), model);
        tasks.emplace(world.rt(), [](std::exception_ptr e) { std::rethrow_exception(e); });
        hold();
    }
    /// Once more, where an earlier holder was reset.
    void hold() {
        server.emplace(world.rt(), base(), config);
        tasks->spawn(server->run());
    }

    net::awaitable<opencode::session> new_session() {
        auto made = co_await server->create_session();
        BOOST_TEST_REQUIRE(made.has_value());
        co_return std::move(*made);
    }

    net::awaitable<void> pass(duration d) { co_await world.rt().sleep_for(d); }

    /// Lets everything end: to be awaited last.
    net::awaitable<void> end() {
        server->stop();
        co_await tasks->join();
    }

    void finish() {
        server.reset();
        host->shut_down();
        host.reset();
        world.settle();
    }
};

/// A prompt of one text, with its own message id.
inline opencode::prompt text_prompt(std::string id, std::string text) {
    opencode::prompt what;
    what.message_id = std::move(id);
    opencode::prompt_part part;
    part.text = std::move(text);
    what.parts.push_back(std::move(part));
    return what;
}

} // namespace holdfast::test
