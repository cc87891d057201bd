// A log of one's own, by spdlog, and the library's counters as Prometheus reads them.
//
//     example-log_and_metrics https://example.org/events
#include <holdfast/stream/event_source.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <iostream>

using namespace holdfast;

// What a record says of a server may be the server's own words: quoted, they cannot forge a line.
std::string quoted(const std::string& text) {
    return boost::json::serialize(boost::json::string(text));
}

log_sink log_to(std::shared_ptr<spdlog::logger> logger) {
    return [logger](const log_record& record) {
        static constexpr spdlog::level::level_enum levels[] = {spdlog::level::debug, spdlog::level::info,
                                                               spdlog::level::warn, spdlog::level::err};
        logger->log(levels[static_cast<int>(record.level)], "{} {} {}{}", record.event, record.endpoint,
                    quoted(record.error_message),
                    record.suppressed != 0 ? ", and " + std::to_string(record.suppressed) + " more" : "");
    };
}

void print_metrics(const runtime& world) {
    for (const auto& each : metric_table)
        if (const auto value = world.value(each.which))
            std::cout << each.name << (each.label.empty() ? "" : "{" + std::string(each.label) + "}") << ' '
                      << value << '\n';
}

net::awaitable<void> hold(runtime& world, stream::source_config config) {
    stream::event_source source(world, std::move(config));
    for (bool open = true; open;)
        open = (co_await source.next()).has_value();
}

int main(int argc, char** argv) {
    const auto where = http::parse_url(argc == 2 ? argv[1] : "");
    if (!where) {
        std::cerr << "usage: example-log_and_metrics URL\n";
        return 2;
    }
    const auto logger = spdlog::stderr_logger_mt("holdfast");
    logger->set_pattern("%l %v");
    stream::source_config config;
    config.locate = [where] {
        return stream::location{stream::location::state::up, *where};
    };
    config.policy.max_attempts = 1;
    config.policy.base_delay = milliseconds(100);
    net::io_context io;
    runtime world(io.get_executor(), log_to(logger));
    net::co_spawn(io, hold(world, std::move(config)), [&](std::exception_ptr) { print_metrics(world); });
    io.run();
}
