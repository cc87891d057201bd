// How fast a stream is read: bytes to events, events to their addressee, and to what they mean. Beside
// them what the machine itself can do: finding the line ends in the same bytes.
#include <holdfast/opencode/event.hpp>
#include <holdfast/sse/parser.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace {

using namespace holdfast;

constexpr std::size_t read_size = 64u << 10;

/// A delta of a running turn as OpenCode sends it, made to `length` bytes of data.
std::string json_of(std::size_t length) {
    const std::string begin =
        R"({"id":"evt_0c1d2e3f4001AbCdEfGhIjKlMn","type":"message.part.delta","properties":{"sessionID":"ses_4892e1647142gUNgcrLr2LpD8y",)"
        R"("messageID":"msg_b76dabc40000eYh6m8eoki904X","partID":"prt_b76d1fd51003eDL1E2GNLrCAPu","field":"text","delta":")";
    const std::string end = R"("}})";
    return begin + std::string(length - std::min(length, begin.size() + end.size()), 'x') + end;
}

std::string events_of(std::size_t length, std::size_t total) {
    const auto one = "data: " + json_of(length) + "\n\n";
    std::string all;
    while (all.size() < total)
        all += one;
    return all;
}

void count_bytes(benchmark::State& state, std::size_t bytes_each) {
    state.SetBytesProcessed(static_cast<std::int64_t>(bytes_each) *
                            static_cast<std::int64_t>(state.iterations()));
}

void line_ends_alone(benchmark::State& state) {
    const auto bytes = events_of(static_cast<std::size_t>(state.range(0)), 4u << 20);
    for (auto _ : state) {
        std::size_t lines = 0;
        const char* at = bytes.data();
        const char* const end = at + bytes.size();
        while (at != end) {
            const auto* found =
                static_cast<const char*>(std::memchr(at, '\n', static_cast<std::size_t>(end - at)));
            at = found ? found + 1 : end;
            ++lines;
        }
        benchmark::DoNotOptimize(lines);
    }
    count_bytes(state, bytes.size());
}

template <class Use>
std::size_t parse(std::string_view bytes, sse::parser& parser, Use use) {
    std::size_t events = 0;
    for (std::size_t at = 0; at < bytes.size(); at += read_size) {
        auto input = bytes.substr(at, read_size);
        while (parser.next(input)) {
            use(parser.event());
            ++events;
        }
    }
    return events;
}

template <class Use>
void parse_all(benchmark::State& state, Use use) {
    const auto bytes = events_of(static_cast<std::size_t>(state.range(0)), 4u << 20);
    sse::parser parser;
    std::size_t events = 0;
    for (auto _ : state)
        events += parse(bytes, parser, use);
    count_bytes(state, bytes.size());
    state.counters["events/s"] = benchmark::Counter(static_cast<double>(events), benchmark::Counter::kIsRate);
}

void events_as_views(benchmark::State& state) {
    parse_all(state, [](const sse::event& e) { benchmark::DoNotOptimize(e.data.data()); });
}

void events_as_strings(benchmark::State& state) {
    parse_all(state, [](const sse::event& e) {
        std::string own(e.data);
        benchmark::DoNotOptimize(own.data());
    });
}

void events_routed(benchmark::State& state) {
    parse_all(state, [](const sse::event& e) {
        const auto head = opencode::peek(e.data);
        benchmark::DoNotOptimize(head.session_id.data());
    });
}

void events_understood(benchmark::State& state) {
    parse_all(state, [](const sse::event& e) {
        const auto event = opencode::parse_event(e.data);
        benchmark::DoNotOptimize(event.has_value());
    });
}

BENCHMARK(line_ends_alone)->Arg(300);
BENCHMARK(events_as_views)->Arg(300)->Arg(16 << 20);
BENCHMARK(events_as_strings)->Arg(300);
BENCHMARK(events_routed)->Arg(300);
BENCHMARK(events_understood)->Arg(300);

} // namespace

BENCHMARK_MAIN();
