// The guide's snippets (lib/README.md), word for word between the marks: compiled here, and run by main(). A
// unit test compares them.
//
// [guide]
#include <holdfast/stream/event_source.hpp>

#include <iostream>

using namespace holdfast;

net::awaitable<void> hold(runtime& world, http::url url, std::function<std::string()> token) {
    stream::source_config config;
    config.locate = [url] {
        return stream::location(stream::location::state::up, url);
    };
    config.next_request = [token](std::string_view, const sse::event&,
                                  http::request& request) -> net::awaitable<result<void>> {
        request.headers.emplace_back("Authorization", "Bearer " + token()); // asked before each connect
        co_return result<void>();
    };
    config.policy.max_attempts = 2; // retries: the stream gives up at the third failure in a row

    using kind = stream::item::kind;
    stream::event_source source(world, std::move(config));
    while (const auto item = co_await source.next()) {
        if (item->what == kind::event)
            std::cout << item->event.type << ": " << item->event.data.size() << " bytes\n";
        if (item->what == kind::interrupted)
            std::cout << item->failure.message << ", retry in " << to_ms(item->retry_in) << " ms\n";
        if (item->what == kind::gave_up)
            std::cout << item->failure.message << ", gave up\n";
    }
}
// [/guide]

// [guide]
#include <holdfast/opencode/server.hpp>

opencode::server_config careful() {
    using opencode::ask_answer;
    opencode::server_config config;
    config.ask_rules = {{"bash", "git status*", std::nullopt, ask_answer::once},
                        {"edit", "*", 1, ask_answer::reject}}; // 1: asked by a child session
    config.ask_timeout = minutes(5);                           // then `ask_default`: reject
    config.limits_of_turns.deadline = minutes(30);
    config.limits_of_turns.cost = 0.5;
    return config;
}

net::awaitable<opencode::settlement> one_turn(opencode::server& server, std::string text) {
    opencode::settlement end;
    auto turn = co_await server.prompt(std::move(text));
    while (auto event = co_await turn.next()) {
        if (auto* piece = std::get_if<opencode::text_event>(&*event))
            std::cout << piece->delta << std::flush; // untrusted: escape it for a terminal
        if (auto* approval = std::get_if<opencode::permission_event>(&*event); approval && !approval->reply) {
            const auto done = co_await turn.reply_permission(approval->request.id, "once");
            if (!done)
                std::cout << "not replied: " << done.error().message << "\n";
        }
        if (auto* settled = std::get_if<opencode::settlement>(&*event)) // exactly once, last
            end = std::move(*settled);
    }
    co_return end;
}
// [/guide]

// [guide]
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <csignal>

net::awaitable<void> serve(net::io_context& io) {
    runtime world(io.get_executor());
    opencode::server server(world, "http://127.0.0.1:4096", careful());
    task_scope tasks(world, [](const std::exception_ptr& error) { std::cerr << what_of(error) << "\n"; });
    tasks.spawn(server.run());

    net::signal_set signals(io, SIGINT, SIGTERM);
    co_await signals.async_wait(net::use_awaitable);
    server.stop(); // open turns settle as detached; their owners have 5 s to read that
    co_await with_deadline(world, world.now() + seconds(5), tasks.join());
    tasks.cancel();
    co_await tasks.join();
}

void run_until_signal() {
    net::io_context io(1);
    net::co_spawn(io, serve(io), [](std::exception_ptr error) {
        if (error)
            std::rethrow_exception(error);
    });
    io.run(); // returns when serve() has ended: io.stop() is not needed
}
// [/guide]

// [guide]
#include <boost/asio/strand.hpp>

#include <thread>

using work = std::function<net::awaitable<void>(opencode::server&)>;

void run_shards(unsigned threads, const std::string& url, const work& begin) {
    struct shard {
        shard(runtime& first, net::io_context& io, const std::string& at)
            : world(first, net::make_strand(io)), server(world, at) {}
        runtime world;
        opencode::server server;
    };
    const auto rethrow = [](std::exception_ptr error) {
        if (error)
            std::rethrow_exception(error);
    };
    net::io_context io(static_cast<int>(threads));
    runtime first(net::make_strand(io)); // what all shards share: breakers, limits, log, counters
    std::vector<std::unique_ptr<shard>> shards;
    for (unsigned n = 0; n < threads; ++n) {
        auto& each = *shards.emplace_back(std::make_unique<shard>(first, io, url));
        net::co_spawn(each.world.executor(), each.server.run(), rethrow);
        net::co_spawn(each.world.executor(), begin(each.server), rethrow);
    }
    std::vector<std::thread> pool;
    for (unsigned n = 0; n < threads; ++n)
        pool.emplace_back([&io] { io.run(); });
    for (auto& each : pool)
        each.join(); // each returns when all servers were stopped
}
// [/guide]

// [guide]
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/use_future.hpp>

#include <future>

/// `then` is called on `executor`, the one of the server's runtime. To cancel, emit `stop` there.
void with_a_callback(const net::any_io_executor& executor, opencode::server& server,
                     net::cancellation_signal& stop,
                     std::function<void(std::exception_ptr, opencode::settlement)> then) {
    net::co_spawn(executor, one_turn(server, "Say hello."),
                  net::bind_cancellation_slot(stop.slot(), std::move(then)));
}

/// From any thread but those that run `executor`, where get() would wait for ever.
std::future<opencode::settlement> with_a_future(const net::any_io_executor& executor,
                                                opencode::server& server) {
    return net::co_spawn(executor, one_turn(server, "Say hello."), net::use_future);
}
// [/guide]

// [guide]
#include <holdfast/testing/sim_host.hpp>

/// What is tested: asks again after a while, as long as that cannot run the prompt twice.
net::awaitable<opencode::settlement> patient_turn(runtime& world, opencode::server& server) {
    for (;;) {
        const auto end = co_await one_turn(server, "#ask Please run the tests.");
        if (end.safe_to_reprompt != opencode::reprompt::yes)
            co_return end;
        co_await world.sleep_for(minutes(5));
    }
}

/// An outage of an hour, in milliseconds.
void a_turn_is_asked_for_again_until_the_server_is_back() {
    testing::world world;
    const endpoint here("http", "127.0.0.1", 4096);
    testing::sim_host host(world, here);
    opencode::server server(world.rt(), "http://127.0.0.1:4096");
    bool ended = false;
    net::co_spawn(world.io(), server.run(), [&](std::exception_ptr) { ended = true; });

    std::optional<opencode::settlement> end;
    world.net().outage(here, testing::memory_network::behaviour::refuse);
    net::co_spawn(world.io(), patient_turn(world.rt(), server),
                  [&](std::exception_ptr, opencode::settlement how) { end = std::move(how); });
    world.run_for(minutes(60));
    if (end)
        throw std::runtime_error("settled while the server was unreachable");

    world.net().outage(here, std::nullopt);
    world.run_until([&] { return end.has_value(); }); // throws `stuck` when it never is
    if (end->outcome != opencode::outcome::completed || host.model().truth().size() != 1)
        throw std::runtime_error("not completed, or prompted twice");

    server.stop();
    world.run_until([&] { return ended; });
    host.shut_down();
}
// [/guide]

// What runs them.
#include <unistd.h>

#include <atomic>

namespace {

void check(bool holds, const char* what) {
    if (!holds)
        throw std::runtime_error(what);
}

const endpoint here("http", "127.0.0.1", 4096);
const endpoint nobody("http", "127.0.0.1", 1); // refuses: nothing listens there

void a_stream_is_held_until_it_fails_three_times() {
    testing::world world;
    testing::sim_host host(world, here);
    int tokens = 0;
    bool ended = false;
    const auto url = *http::parse_url("http://127.0.0.1:4096/event");
    const auto token = [&] {
        return std::to_string(++tokens);
    };
    net::co_spawn(world.io(), hold(world.rt(), url, token), [&](std::exception_ptr) { ended = true; });
    world.run_for(minutes(1));
    check(tokens == 1 && !ended, "one connection is enough");
    world.net().outage(here, testing::memory_network::behaviour::refuse);
    host.model().cut_streams(world.rt().now());
    host.pump();
    world.run_until([&] { return ended; });
    check(tokens == 3, "one token an attempt");
    host.shut_down();
}

/// A simulated server, and holdfast's server of the guide's settings.
struct a_server {
    a_server() {
        net::co_spawn(world.io(), server.run(), [&](std::exception_ptr) { ended = true; });
    }
    ~a_server() {
        server.stop();
        world.run_until([&] { return ended; });
        host.shut_down();
    }

    testing::world world;
    testing::sim_host host{world, here};
    opencode::server server{world.rt(), to_string(here), careful()};
    bool ended = false;
};

void a_callback_receives_the_settlement() {
    a_server with;
    net::cancellation_signal stop;
    std::optional<opencode::settlement> end;
    const auto then = [&](std::exception_ptr, opencode::settlement how) {
        end = std::move(how);
    };
    with_a_callback(with.world.io().get_executor(), with.server, stop, then);
    with.world.run_until([&] { return end.has_value(); });
    check(end->outcome == opencode::outcome::completed, "completed");
}

void what_is_cancelled_throws() {
    a_server with;
    net::cancellation_signal stop;
    std::exception_ptr thrown;
    const auto then = [&](std::exception_ptr error, opencode::settlement) {
        thrown = error;
    };
    with_a_callback(with.world.io().get_executor(), with.server, stop, then);
    with.world.run_for(milliseconds(50));
    stop.emit(net::cancellation_type::terminal);
    with.world.settle();
    check(thrown != nullptr, "cancelled at once");
}

void a_future_receives_the_settlement() {
    a_server with;
    auto end = with_a_future(with.world.io().get_executor(), with.server);
    with.world.run_until([&] { return end.wait_for(seconds(0)) == std::future_status::ready; });
    check(end.get().outcome == opencode::outcome::completed, "completed");
}

void a_signal_ends_the_program() {
    std::thread sender([] {
        struct sigaction now{};
        while (now.sa_handler == SIG_DFL) // until it is waited for
            sigaction(SIGTERM, nullptr, &now);
        kill(getpid(), SIGTERM);
    });
    run_until_signal();
    sender.join();
}

void all_shards_end() {
    std::atomic<int> begun = 0;
    run_shards(2, to_string(nobody), [&](opencode::server& server) -> net::awaitable<void> {
        ++begun;
        server.stop();
        co_return;
    });
    check(begun == 2, "each shard has its work");
}

} // namespace

int main() {
    a_stream_is_held_until_it_fails_three_times();
    a_callback_receives_the_settlement();
    what_is_cancelled_throws();
    a_future_receives_the_settlement();
    a_turn_is_asked_for_again_until_the_server_is_back();
    a_signal_ends_the_program();
    all_shards_end();
}
