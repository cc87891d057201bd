#include "log.hpp"

#include "output.hpp"

#include <holdfast/sse/utf8.hpp>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::app {

namespace {

spdlog::level::level_enum spdlog_level(log_level level) {
    switch (level) {
    case log_level::debug: return spdlog::level::debug;
    case log_level::info: return spdlog::level::info;
    case log_level::warn: return spdlog::level::warn;
    case log_level::error: return spdlog::level::err;
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

style style_of(spdlog::level::level_enum level) {
    switch (level) {
    case spdlog::level::info: return style::green;
    case spdlog::level::warn: return style::yellow;
    case spdlog::level::err: return style::red;
    default: return style::cyan;
    }
}

class output_sink : public spdlog::sinks::base_sink<std::mutex> {
public:
    explicit output_sink(output& to) : to_(to) {}

private:
    void sink_it_(const spdlog::details::log_msg& record) override {
        spdlog::memory_buf_t text;
        formatter_->format(record, text);
        const std::string_view all(text.data(), text.size());
        const auto begin = record.color_range_start, end = record.color_range_end;
        if (begin >= end)
            return to_.text(all);
        to_.text(std::string(all.substr(0, begin)) +
                 to_.paint(style_of(record.level), all.substr(begin, end - begin)) +
                 std::string(all.substr(end)));
    }
    void flush_() override {}

    output& to_;
};

} // namespace

log_sink log_to(output& to, log_format format, log_level lowest) {
    auto sink = std::make_shared<output_sink>(to);
    auto logger = std::make_shared<spdlog::logger>("holdfast", std::move(sink));
    logger->set_level(spdlog_level(lowest));
    if (format == log_format::json)
        logger->set_pattern(R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ",%v)", spdlog::pattern_time_type::utc);
    else
        logger->set_pattern("%H:%M:%S.%e %^%l%$ %v");
    return [logger, format](const log_record& record) {
        const auto level = spdlog_level(record.level);
        if (logger->should_log(level))
            logger->log(level, format == log_format::json ? json_tail(record) : text_line(record));
    };
}

log_record lowered(log_record record) {
    record.level = log_level::debug;
    return record;
}

} // namespace holdfast::app
