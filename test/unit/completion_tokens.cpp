// What returns an awaitable, with other completion tokens, through co_spawn: callbacks, futures, detached,
// tuples; and the empty handles that this needs.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/stream/event_source.hpp>
#include <holdfast/testing/sim_host.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <chrono>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

using namespace holdfast;
using opencode::settlement;

namespace {

/// co_spawn() hands an exception over beside a value, which must be made of nothing then.
template <class T>
constexpr bool fits_all_tokens = std::is_default_constructible_v<T> && std::is_move_constructible_v<T>;

static_assert(fits_all_tokens<opencode::turn> && fits_all_tokens<opencode::session> &&
              fits_all_tokens<opencode::feed>);
static_assert(fits_all_tokens<result<opencode::session>> && fits_all_tokens<result<opencode::server_info>>);
static_assert(fits_all_tokens<result<void>> && fits_all_tokens<std::optional<opencode::agent_event>>);
static_assert(fits_all_tokens<std::optional<opencode::session_event>> &&
              fits_all_tokens<std::optional<stream::item>>);
static_assert(fits_all_tokens<runtime::attempt> && fits_all_tokens<result<http::body_stream>>);
static_assert(fits_all_tokens<result<http::response>> &&
              fits_all_tokens<result<std::unique_ptr<connection>>>);

constexpr auto soon = std::chrono::seconds(0);

struct a_server {
    testing::world world;
    testing::sim_host host{world, endpoint("http", "127.0.0.1", 4096)};
    std::optional<opencode::server> server;
    bool ended = false;

    a_server() {
        server.emplace(world.rt(), "http://127.0.0.1:4096");
        net::co_spawn(world.io(), server->run(), [this](const std::exception_ptr& error) { ended = !error; });
    }
    ~a_server() {
        server->stop();
        world.run_until([this] { return ended; });
        host.shut_down();
    }

    template <class T>
    T wait_for(std::future<T> future) {
        world.run_until([&] { return future.wait_for(soon) == std::future_status::ready; });
        return future.get();
    }

    opencode::session new_session() {
        return wait_for(net::co_spawn(world.io(), server->create_session(), net::use_future)).value();
    }

    std::string text_of(opencode::turn& turn) {
        for (;;) {
            const auto event = wait_for(net::co_spawn(world.io(), turn.next(), net::use_future));
            BOOST_TEST_REQUIRE(event.has_value());
            if (const auto* how = std::get_if<settlement>(&*event))
                return how->text;
        }
    }
};

const std::string said = "Hello from the simulated model.";

} // namespace

BOOST_FIXTURE_TEST_CASE(a_prompt_completes_a_callback, a_server) {
    auto session = new_session();
    std::optional<opencode::turn> got;
    net::co_spawn(world.io(), session.prompt("#plain"),
                  [&](const std::exception_ptr& error, opencode::turn turn) {
                      BOOST_TEST(!error);
                      got = std::move(turn);
                  });
    world.run_until([&] { return got.has_value(); });
    BOOST_TEST(text_of(*got) == said);
}

BOOST_FIXTURE_TEST_CASE(a_prompt_completes_a_future, a_server) {
    auto session = new_session();
    auto turn = wait_for(net::co_spawn(world.io(), session.prompt("#plain"), net::use_future));
    BOOST_TEST(text_of(turn) == said);
    auto first = wait_for(net::co_spawn(world.io(), server->prompt("#plain"), net::use_future));
    BOOST_TEST(text_of(first) == said);
}

BOOST_FIXTURE_TEST_CASE(a_prompt_may_be_left_to_itself, a_server) {
    auto session = new_session();
    net::co_spawn(world.io(), session.prompt("#plain"), net::detached);
    world.run_for(seconds(10));
    BOOST_TEST(host.model().truth().size() == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_prompt_completes_a_tuple, a_server) {
    auto session = new_session();
    bool done = false;
    auto body = [&]() -> net::awaitable<void> {
        auto op = net::co_spawn(world.io(), session.prompt("#plain"), net::deferred);
        auto [error, turn] = co_await std::move(op)(net::as_tuple(net::use_awaitable));
        BOOST_TEST(!error);
        BOOST_TEST(!turn.message_id().empty());
        done = true;
    };
    net::co_spawn(world.io(), body(), net::detached);
    world.run_until([&] { return done; });
}

// What was called holds what it needs.
BOOST_FIXTURE_TEST_CASE(what_was_called_outlives_its_handle, a_server) {
    auto session = new_session();
    auto turn = wait_for(net::co_spawn(world.io(), session.prompt("#slow:300"), net::use_future));
    auto feed = server->follow(session.id(), opencode::follow_by::capture);
    auto replied = net::co_spawn(world.io(), turn.reply_permission("per_none", "once"), net::use_future);
    auto aborted = net::co_spawn(world.io(), feed.abort(), net::use_future);
    auto next = net::co_spawn(world.io(), turn.next(), net::use_future);
    session = {};
    turn = {};
    feed = {};
    BOOST_TEST(!wait_for(std::move(replied)).has_value());
    BOOST_TEST(wait_for(std::move(aborted)).has_value());
    BOOST_TEST(wait_for(std::move(next)).has_value());
}

// --- empty handles

CO_TEST_CASE(an_empty_turn_is_closed, test::in_simulated_world) {
    opencode::turn turn;
    BOOST_TEST(turn.message_id().empty());
    BOOST_TEST(turn.session_id().empty());
    BOOST_TEST(!turn.posted());
    BOOST_TEST(!(co_await turn.next()).has_value());
    BOOST_TEST(!turn.try_next().has_value());
    auto done = co_await turn.abort();
    BOOST_TEST((done.error().code == errc::closed));
    done = co_await turn.reply_permission("per_1", "once");
    BOOST_TEST((done.error().code == errc::closed));
    done = co_await turn.reply_question("que_1", {});
    BOOST_TEST((done.error().code == errc::closed));
    done = co_await turn.reject_question("que_1");
    BOOST_TEST((done.error().code == errc::closed));
    turn.limit({});
    turn.give_up("nothing");
    turn.detach();
}

CO_TEST_CASE(an_empty_session_is_closed, test::in_simulated_world) {
    opencode::session session;
    BOOST_TEST(session.id().empty());
    BOOST_TEST(session.directory().empty());
    BOOST_TEST(session.last_sent().empty());
    session.tag("nothing");
    const auto aborted = co_await session.abort();
    BOOST_TEST((aborted.error().code == errc::closed));
    auto turn = co_await session.prompt("nothing");
    BOOST_TEST(!(co_await turn.next()).has_value());
    auto adopted = co_await session.adopt("msg_1");
    BOOST_TEST(!(co_await adopted.next()).has_value());
}

CO_TEST_CASE(an_empty_feed_is_closed, test::in_simulated_world) {
    opencode::feed feed;
    BOOST_TEST(feed.session_id().empty());
    BOOST_TEST(feed.view().info.id.empty());
    BOOST_TEST(!(co_await feed.next()).has_value());
    BOOST_TEST(!feed.try_next().has_value());
    const auto aborted = co_await feed.abort();
    BOOST_TEST((aborted.error().code == errc::closed));
    const auto replied = co_await feed.reply_permission("per_1", "once");
    BOOST_TEST((replied.error().code == errc::closed));
}
