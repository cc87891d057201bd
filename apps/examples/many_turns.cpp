// Several turns at once, each in a session of its own, with limits, and permissions that rules answer.
//
//     example-many_turns http://127.0.0.1:4096 "Count the files." "Run the tests." "Say hello."
#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <iostream>

using namespace holdfast;

opencode::server_config careful() {
    using opencode::ask_answer;
    opencode::server_config config;
    config.ask_rules = {{"*", "*", std::nullopt, ask_answer::reject}, // the last rule that matches decides
                        {"bash", "git status*", std::nullopt, ask_answer::once}};
    config.limits_of_turns.deadline = minutes(10);
    config.limits_of_turns.no_progress = minutes(2);
    config.limits_of_turns.cost = 0.5;
    return config;
}

net::awaitable<void> run_turn(opencode::server& server, std::string text, int number) {
    auto turn = co_await server.prompt(std::move(text));
    while (auto event = co_await turn.next()) {
        if (auto* asked = std::get_if<opencode::permission_event>(&*event); asked && asked->by_rule)
            std::cout << number << ": a rule says " << *asked->reply << '\n';
        if (auto* end = std::get_if<opencode::settlement>(&*event)) {
            std::cout << number << ": " << to_string(end->outcome);
            if (end->limit != opencode::turn_limit::none)
                std::cout << ", for its limit: " << to_string(end->limit);
            std::cout << '\n';
        }
    }
}

net::awaitable<void> run_all(runtime& world, std::string url, std::vector<std::string> prompts) {
    opencode::server server(world, url, careful());
    const auto report = [](const std::exception_ptr& error) {
        std::cerr << what_of(error) << '\n';
    };
    task_scope serving(world, report);
    task_scope turns(world, report);
    serving.spawn(server.run());
    int number = 0;
    for (auto& each : prompts)
        turns.spawn(run_turn(server, std::move(each), ++number));
    co_await turns.join();
    server.stop();
    co_await serving.join();
}

int main(int argc, char** argv) {
    if (argc < 3 || !http::parse_url(argv[1])) {
        std::cerr << "usage: example-many_turns URL PROMPT...\n";
        return 2;
    }
    net::io_context io;
    runtime world(io.get_executor());
    auto done = net::co_spawn(io, run_all(world, argv[1], {argv + 2, argv + argc}), net::use_future);
    io.run();
    done.get();
}
