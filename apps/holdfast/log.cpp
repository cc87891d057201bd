#include "log.hpp"

#include "output.hpp"
#include "signals.hpp"

#include <holdfast/sse/utf8.hpp>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <memory>
#include <string>
#include <unistd.h>

namespace holdfast::app {

namespace {

spdlog::level::level_enum spdlog_level(log_level level) {
    switch (level) {
    case log_level::debug:
        return spdlog::level::debug;
    case log_level::info:
        return spdlog::level::info;
    case log_level::warn:
        return spdlog::level::warn;
    case log_level::error:
        return spdlog::level::err;
    }
    return spdlog::level::err;
}

// What a record says, by the names that it has in both formats; what is absent is left out.
boost::json::object fields_of(const log_record& record) {
    boost::json::object fields;
    const auto text = [&](std::string_view name, const std::string& value) {
        if (!value.empty())
            fields[name] = value;
    };
    text("event", record.event);
    text("endpoint", record.endpoint);
    text("session", record.session);
    text("tag", record.tag);
    text("error.class", record.error_class);
    text("error.message", record.error_message);
    if (record.failures > 0)
        fields["failures"] = record.failures;
    text("action", record.action);
    if (record.retry_in_ms)
        fields["retry_in_ms"] = *record.retry_in_ms;
    if (record.suppressed > 0)
        fields["suppressed"] = record.suppressed;
    return fields;
}

// The members of a JSON object and its closing brace: the pattern opens it, with the time.
std::string json_tail(const log_record& record) {
    boost::json::object object{{"level", to_string(record.level)}};
    for (const auto& field : fields_of(record))
        object.insert(field);
    return sse::to_valid_utf8(boost::json::serialize(object)).substr(1);
}

// `warn stream.interrupted endpoint=http://127.0.0.1:4096 error.message="connection refused"`
std::string text_line(const log_record& record) {
    std::string line = printable_line(record.event);
    for (const auto& field : fields_of(record))
        if (field.key() != "event")
            line +=
                ' ' + std::string(field.key()) + '=' + printable_line(boost::json::serialize(field.value()));
    return line;
}

} // namespace

log_sink stderr_log(log_format format, log_level lowest) {
    auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(
        wants_colour(STDERR_FILENO) ? spdlog::color_mode::always : spdlog::color_mode::never);
    auto logger = std::make_shared<spdlog::logger>("holdfast", std::move(sink));
    logger->set_level(spdlog_level(lowest));
    if (format == log_format::json)
        logger->set_pattern(R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ",%v)", spdlog::pattern_time_type::utc);
    else
        logger->set_pattern("%H:%M:%S.%e %^%l%$ %v");
    return [logger, format](const log_record& record) {
        const auto level = spdlog_level(record.level);
        if (logger->should_log(level) && wait_until_writable(STDERR_FILENO))
            logger->log(level, format == log_format::json ? json_tail(record) : text_line(record));
    };
}

log_record lowered(log_record record) {
    record.level = log_level::debug;
    return record;
}

} // namespace holdfast::app
