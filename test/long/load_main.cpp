// holdfast-load-test [streams|captures] [--short] [--servers N] ...: many sessions on many simulated servers,
// of which some die under way. Exit code 0: all bounds held; 1: one did not.
#include "long/load.hpp"

#include <malloc.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace holdfast::test::load;

settings full_streams() {
    settings s;
    s.servers = 50;
    s.sessions = 500;
    s.directories = 10;
    s.killed = 10;
    s.restarted = 10;
    s.seconds = 60;
    s.down = 4;
    return s;
}

settings full_captures() {
    settings s;
    s.servers = 20;
    s.sessions = 2000;
    s.directories = 4;
    s.killed = 4;
    s.restarted = 2;
    s.seconds = 120;
    s.down = 25;
    s.tick = 5;
    return s;
}

settings short_streams() {
    auto s = full_streams();
    s.servers = 6;
    s.sessions = 30;
    s.directories = 5;
    s.killed = 2;
    s.restarted = 1;
    s.seconds = 8;
    s.down = 1;
    return s;
}

settings short_captures() {
    auto s = full_captures();
    s.servers = 4;
    s.sessions = 80;
    s.killed = 1;
    s.restarted = 1;
    s.seconds = 10;
    s.down = 2;
    s.tick = 1;
    return s;
}

int usage() {
    std::cerr
        << "holdfast-load-test [streams|captures] [--short] [--servers N] [--sessions N] [--directories N]\n"
           "  [--killed N] [--restarted N] [--seconds N] [--down SECONDS] [--tick SECONDS] [--seed N] "
           "[--verbose]\n";
    return 2;
}

} // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const auto has = [&](const std::string& word) {
        return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
    };
    auto streams = has("--short") ? short_streams() : full_streams();
    auto captures = has("--short") ? short_captures() : full_captures();
    for (auto* each : {&streams, &captures}) {
        const std::map<std::string, std::function<void(double)>> numbers{
            {"--servers",
             [&](double n) {
                 each->servers = static_cast<std::size_t>(n);
             }},
            {"--sessions",
             [&](double n) {
                 each->sessions = static_cast<std::size_t>(n);
             }},
            {"--directories",
             [&](double n) {
                 each->directories = static_cast<std::size_t>(n);
             }},
            {"--killed",
             [&](double n) {
                 each->killed = static_cast<std::size_t>(n);
             }},
            {"--restarted",
             [&](double n) {
                 each->restarted = static_cast<std::size_t>(n);
             }},
            {"--seconds",
             [&](double n) {
                 each->seconds = n;
             }},
            {"--down",
             [&](double n) {
                 each->down = n;
             }},
            {"--tick",
             [&](double n) {
                 each->tick = n;
             }},
            {"--seed",
             [&](double n) {
                 each->seed = static_cast<std::uint64_t>(n);
             }},
        };
        each->verbose = has("--verbose");
        try {
            for (std::size_t i = 0; i < arguments.size(); ++i)
                if (const auto number = numbers.find(arguments[i]); number != numbers.end())
                    number->second(std::stod(arguments.at(++i)));
                else if (arguments[i] != "streams" && arguments[i] != "captures" &&
                         arguments[i] != "--short" && arguments[i] != "--verbose")
                    return usage();
        } catch (const std::exception&) {
            return usage();
        }
        if (each->servers == 0 || each->directories == 0 || each->killed + each->restarted > each->servers)
            return usage();
    }
    ::mallopt(M_ARENA_MAX, 1); // one heap: its size depends less on which thread frees what
    bool held = true;
    try {
        if (!has("captures"))
            held = run_streams(streams) && held;
        if (!has("streams"))
            held = run_captures(captures) && held;
    } catch (const std::exception& e) {
        std::cerr << e.what() << '\n';
        held = false;
    }
    std::cout << (held ? "\nheld\n" : "\nBROKE\n");
    return held ? 0 : 1;
}
