// A runtime, its io_context and all that is made with them are destroyed in every order, while operations are
// pending: in virtual time, and with real sockets and timers. What goes wrong here is for a sanitizer to see.
#include <boost/test/unit_test.hpp>

#include "support/raw_server.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/mailbox.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/stream/event_source.hpp>
#include <holdfast/testing/memory_network.hpp>
#include <holdfast/testing/virtual_clock.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

using namespace holdfast;

namespace {

const std::string a_session =
    R"({"id":"ses_1","directory":"/d","title":"t","version":"1.18.33","projectID":"p","time":{"created":1,"updated":1}})";

/// An OpenCode server that takes every prompt and never comes to it.
test::reply answer_of(const std::string& method, const std::string& target) {
    const auto path = target.substr(0, target.find('?'));
    if (path == "/event" || path == "/global/event")
        return test::event_stream("data: {\"type\":\"server.connected\",\"properties\":{}}\n\n",
                                  test::reply::ending::hold);
    if (path == "/hang")
        return test::silence();
    if (path == "/global/health")
        return test::answer(200, "application/json", R"({"healthy":true,"version":"1.18.33"})");
    if (path == "/session" && method == "POST")
        return test::answer(200, "application/json", a_session);
    if (path == "/session/status")
        return test::answer(200, "application/json", "{}");
    if (path == "/session/ses_1")
        return test::answer(200, "application/json", a_session);
    if (path.ends_with("/prompt_async"))
        return test::answer(204, "application/json", "");
    return test::answer(200, "application/json", "[]");
}

/// The same in an in-memory network.
class simulated final : public testing::simulated_server {
public:
    explicit simulated(testing::memory_network& by) : by_(by) {}

    void accepted(testing::wire_id) override {}
    void received(testing::wire_id wire, std::string_view bytes) override {
        auto& all = heard_[wire];
        all += bytes;
        if (all.find("\r\n\r\n") == std::string::npos)
            return;
        const auto method = all.substr(0, all.find(' '));
        const auto begin = method.size() + 1;
        const auto said = answer_of(method, all.substr(begin, all.find(' ', begin) - begin));
        heard_.erase(wire);
        by_.send(wire, said.bytes);
        if (said.end == test::reply::ending::close)
            by_.finish(wire);
    }
    void closed(testing::wire_id wire) override { heard_.erase(wire); }

private:
    testing::memory_network& by_;
    std::map<testing::wire_id, std::string> heard_;
};

enum class part { io, world, source, server, handles };
using order = std::array<part, 5>;

std::string name_of(const order& all) {
    std::string text;
    for (const auto each : all)
        text += std::string(each == part::io       ? "io"
                            : each == part::world  ? "runtime"
                            : each == part::source ? "source"
                            : each == part::server ? "server"
                                                   : "handles") +
                ' ';
    return text;
}

/// What a main function has on its stack, each part of which can go at any time.
struct house {
    /// What the functions that it gave use: it goes right before the io_context, after all that a main may
    /// have declared behind that.
    std::unique_ptr<std::string> own = std::make_unique<std::string>();
    std::unique_ptr<net::io_context> io = std::make_unique<net::io_context>();
    std::unique_ptr<runtime> world;
    std::unique_ptr<stream::event_source> source;
    std::unique_ptr<opencode::server> server;
    std::unique_ptr<task_scope> tasks;
    std::unique_ptr<mailbox<int>> letters;
    opencode::session session;
    opencode::turn turn;
    opencode::feed feed;
    bool is_over = false;

    void sink(const log_record& record) { *own = record.event; }

    void start(const std::string& url) {
        const auto where = *http::parse_url(url);
        stream::source_config config;
        config.locate = [this, where] {
            *own = "asked";
            return stream::location(stream::location::state::up, where.with_path("/event"));
        };
        config.next_request = [this](std::string_view, const sse::event&,
                                     http::request&) -> net::awaitable<result<void>> {
            co_await world->sleep_for(milliseconds(1));
            co_return result<void>();
        };
        source = std::make_unique<stream::event_source>(*world, std::move(config));
        opencode::server_config settings;
        settings.locate = [this, where] {
            *own = "asked";
            return stream::location(stream::location::state::up, where);
        };
        settings.observe = [this](std::string_view data) {
            *own = data;
        };
        server = std::make_unique<opencode::server>(*world, where, std::move(settings));
        tasks = std::make_unique<task_scope>(*world, [](const std::exception_ptr&) {});
        letters = std::make_unique<mailbox<int>>(*world);
        spawn(server->run());
        spawn(read());
        spawn(prompt_and_read());
        spawn(follow());
        spawn(keep_a_session());
        spawn(sleep());
        spawn(take());
        spawn(fetch(where));
        spawn(look_up());
        spawn(ready());
    }

    void spawn(net::awaitable<void> pending) {
        net::co_spawn(world->executor(), std::move(pending), net::detached);
    }

    net::awaitable<void> read() {
        while (auto item = co_await source->next())
            own->clear();
    }
    net::awaitable<void> prompt_and_read() {
        auto made = co_await server->create_session();
        if (!made)
            co_return;
        session = *made;
        turn = co_await session.prompt("never answered");
        while (auto event = co_await turn.next())
            own->clear();
    }
    net::awaitable<void> keep_a_session() {
        auto mine = co_await server->prompt("never answered");
        co_await world->sleep_for(std::chrono::hours(1));
    }
    net::awaitable<void> follow() {
        feed = server->follow("ses_1", opencode::follow_by::activity);
        while (auto event = co_await feed.next())
            own->clear();
    }
    net::awaitable<void> sleep() {
        co_await world->sleep_for(std::chrono::hours(1));
        own->clear();
    }
    net::awaitable<void> take() { (void)co_await letters->take(); }
    net::awaitable<void> fetch(http::url where) {
        http::request what;
        what.target = "/hang";
        (void)co_await http::fetch(*world, std::move(where), std::move(what), {}, {});
    }
    net::awaitable<void> look_up() {
        endpoint nowhere("http", "a-name-that-nobody-has.invalid", 80);
        (void)co_await world->connect(std::move(nowhere));
    }
    net::awaitable<void> ready() { (void)co_await server->ready(); }

    void destroy(part which) {
        switch (which) {
        case part::io:
            own.reset();
            io.reset();
            is_over = true;
            break;
        case part::world: world.reset(); break;
        case part::source:
            source.reset();
            letters.reset();
            break;
        case part::server: server.reset(); break;
        case part::handles:
            turn = {};
            session = {};
            feed = {};
            break;
        }
    }

    /// What may be called at any time.
    void touch() {
        if (source) {
            source->wake();
            source->close();
            BOOST_TEST(!source->is_open());
            BOOST_TEST(!source->try_next().has_value());
        }
        if (letters)
            letters->put(1);
        if (server) {
            server->wake();
            server->stop();
        }
        turn.limit({});
        turn.give_up("the test ends");
        turn.detach();
        while (turn.try_next())
            ;
        while (feed.try_next())
            ;
        (void)feed.view();
        (void)turn.abort();
        (void)session.abort();
        (void)feed.abort();
        if (is_over && server)
            (void)server->follow("ses_2", opencode::follow_by::stream);
        if (is_over && world)
            BOOST_CHECK_THROW(stream::event_source(*world, locating()), std::logic_error);
    }

    static stream::source_config locating() {
        stream::source_config config;
        config.locate = [] {
            return stream::location();
        };
        return config;
    }
};

std::vector<order> all_orders() {
    std::vector<order> all;
    order each{part::io, part::world, part::source, part::server, part::handles};
    do {
        all.push_back(each);
    } while (std::next_permutation(each.begin(), each.end()));
    return all;
}

void take_down(house& all, const order& in_which) {
    for (const auto each : in_which) {
        all.destroy(each);
        if (all.is_over)
            all.touch();
    }
}

} // namespace

BOOST_AUTO_TEST_CASE(the_parts_of_a_simulated_world_go_in_any_order) {
    for (const auto& each : all_orders())
        for (const int handlers : {0, 10, 60, 300}) {
            BOOST_TEST_CONTEXT(name_of(each) << "after " << handlers << " handlers") {
                std::unique_ptr<simulated> host;
                house all;
                auto clock = std::make_unique<testing::virtual_clock>();
                auto network = std::make_unique<testing::memory_network>(*clock, all.io->get_executor());
                auto& time = *clock;
                host = std::make_unique<simulated>(*network);
                network->listen(endpoint("http", "127.0.0.1", 4096), *host);
                all.world =
                    std::make_unique<runtime>(all.io->get_executor(), std::move(clock), std::move(network), 1,
                                              [&all](const log_record& record) { all.sink(record); });
                all.start("http://127.0.0.1:4096");
                for (int n = 0; n < handlers; ++n)
                    if (all.io->poll_one() == 0) {
                        all.io->restart();
                        if (const auto next = time.next_expiry())
                            time.advance_to(*next);
                    }
                take_down(all, each);
            }
        }
}

BOOST_AUTO_TEST_CASE(the_parts_of_the_real_world_go_in_any_order) {
    test::raw_server host([](const test::heard& asked) { return answer_of(asked.method(), asked.target()); });
    int turn = 0;
    for (const auto& each : all_orders()) {
        BOOST_TEST_CONTEXT(name_of(each)) {
            house all;
            all.world = std::make_unique<runtime>(all.io->get_executor(),
                                                  [&all](const log_record& record) { all.sink(record); });
            all.start(host.url());
            all.io->run_for(std::chrono::milliseconds(++turn % 4 * 7));
            take_down(all, each);
        }
    }
}

// The last strand of a context must not outlive it.
BOOST_AUTO_TEST_CASE(the_parts_of_a_world_on_a_strand_go_in_any_order) {
    test::raw_server host([](const test::heard& asked) { return answer_of(asked.method(), asked.target()); });
    for (const auto& each : all_orders()) {
        BOOST_TEST_CONTEXT(name_of(each)) {
            house all;
            {
                runtime first(all.io->get_executor(), [&all](const log_record& record) { all.sink(record); });
                all.world = std::make_unique<runtime>(first, net::make_strand(*all.io));
            }
            stream::event_source source(*all.world, house::locating());
            all.start(host.url());
            all.io->run_for(std::chrono::milliseconds(5));
            take_down(all, each);
        }
    }
}

BOOST_AUTO_TEST_CASE(what_runs_goes_on_when_its_runtime_and_its_server_object_are_gone) {
    auto clock = std::make_unique<testing::virtual_clock>();
    auto& time = *clock;
    net::io_context io;
    auto network = std::make_unique<testing::memory_network>(time, io.get_executor());
    auto world = std::make_unique<runtime>(io.get_executor(), std::move(clock), std::move(network), 1);
    bool woke = false;
    bool ended = false;
    auto server = std::make_unique<opencode::server>(*world, "http://127.0.0.1:4096");
    net::co_spawn(io, world->sleep_for(seconds(5)), [&](const std::exception_ptr&) { woke = true; });
    net::co_spawn(io, server->run(), [&](const std::exception_ptr& error) { ended = !error; });
    io.poll();
    world.reset();
    io.poll();
    BOOST_TEST(!ended);
    server.reset(); // stops it
    io.restart();
    io.poll();
    BOOST_TEST(ended);
    time.advance_to(time.now() + seconds(5));
    io.restart();
    io.poll();
    BOOST_TEST(woke);
}
