// The event stream parser: the same at every cut, as the standard words it, and within its limits. Input: a
// stream.
#include "fuzz.hpp"
#include "reference_sse.hpp"

#include <holdfast/sse/parser.hpp>
#include <holdfast/sse/utf8.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::fuzz;

/// All that a stream leaves behind.
struct outcome {
    std::vector<reference::event> events;
    std::string last_event_id;
    std::optional<std::uint64_t> retry_ms;
    error_code error;
    std::size_t pending = 0;
    bool operator==(const outcome&) const = default;
};

std::string told(const outcome& o) {
    std::string text;
    for (const auto& e : o.events)
        text += "{" + shown(e.type) + ", " + shown(e.data) + ", " + shown(e.id) + "} ";
    return text + "id=" + shown(o.last_event_id) +
           " retry=" + (o.retry_ms ? std::to_string(*o.retry_ms) : "none") +
           " error=" + (o.error ? o.error.message() : "none") + " pending=" + std::to_string(o.pending);
}

outcome parse(const pieces& stream, sse::limits bounds) {
    sse::parser parser(bounds);
    outcome result;
    for (const auto piece : stream) {
        const own_buffer buffer(piece);
        auto input = buffer.view();
        while (parser.next(input)) {
            const auto& e = parser.event();
            result.events.push_back({std::string(e.type), std::string(e.data), std::string(e.id)});
        }
        hold(input.empty() || parser.error(), "next() consumes all, unless a limit was passed", input);
    }
    result.last_event_id = parser.last_event_id();
    result.retry_ms = parser.retry_ms();
    result.error = parser.error();
    // What a line over its limit leaves behind depends on the cut.
    result.pending = result.error ? 0 : parser.pending();
    return result;
}

outcome parse_at_every_cut(std::string_view stream, sse::limits bounds) {
    const auto found = parse(whole(stream), bounds);
    for (const auto& cut : cuts_of(stream))
        same(parse(cut, bounds), found, "a stream is parsed the same wherever it is cut", told);
    return found;
}

outcome expected_of(const reference::stream& r, const outcome& found) {
    return {r.events, r.last_event_id, r.retry_ms, {}, found.pending};
}

bool passed(const error_code& why, const reference::largest& held, const sse::limits& bounds) {
    return (why == errc::line_too_long && held.line > bounds.line) ||
           (why == errc::event_too_large && held.event > bounds.event) ||
           (why == errc::too_many_lines && held.data_lines > bounds.data_lines);
}

void check_within(const sse::limits& bounds, std::string_view stream, const reference::stream& expected) {
    const auto found = parse_at_every_cut(stream, bounds);
    const auto& held = expected.held;
    const auto same_but_ids = [](const reference::event& a, const reference::event& b) {
        return a.type == b.type && a.data == b.data;
    };
    if (!found.error) {
        if (held.id <= bounds.id)
            same(found, expected_of(expected, found), "limits that are not passed change nothing", told);
        else // what follows an id that is not stored has the id before it
            hold(std::equal(found.events.begin(), found.events.end(), expected.events.begin(),
                            expected.events.end(), same_but_ids),
                 "an id over its limit costs no event", stream);
        hold(held.event <= bounds.event && held.data_lines <= bounds.data_lines &&
                 (held.line <= bounds.line || held.id > bounds.id),
             "a limit that is passed is an error", stream);
        return;
    }
    hold(passed(found.error, held, bounds), "a limit is an error only when it is passed", stream);
    hold(found.events.size() <= expected.events.size() &&
             std::equal(found.events.begin(), found.events.end(), expected.events.begin(),
                        [&](const auto& a, const auto& b) {
                            return same_but_ids(a, b) && (a.id == b.id || held.id > bounds.id);
                        }),
         "what came before the limit was passed is as without it", stream);
}

/// With skipping there is no error, and what is told is the same wherever the stream is cut; of the events,
/// none is invented, and those that were within all limits are told as without any.
struct reported {
    std::vector<std::string> all;
    std::vector<reference::event> events;
    std::string last_event_id;
    bool operator==(const reported&) const = default;
};

std::string told_of(const reported& r) {
    std::string text;
    for (const auto& each : r.all)
        text += shown(each) + ' ';
    return text + "id=" + shown(r.last_event_id);
}

reported report(const pieces& stream, sse::limits bounds) {
    sse::parser parser(bounds, {.comments = true, .skip_oversized = true});
    reported result;
    for (const auto piece : stream) {
        const own_buffer buffer(piece);
        auto input = buffer.view();
        while (parser.next(input)) {
            const auto& e = parser.event();
            result.all.push_back(std::string(1, "ecs"[static_cast<int>(parser.what())]) +
                                 std::string(e.data));
            if (parser.what() == sse::found::event)
                result.events.push_back({std::string(e.type), std::string(e.data), std::string(e.id)});
        }
        hold(input.empty() && !parser.error(), "with skipping all is consumed", input);
    }
    result.last_event_id = parser.last_event_id();
    return result;
}

void check_skipping(const sse::limits& bounds, std::string_view stream, const reference::stream& expected) {
    const auto found = report(whole(stream), bounds);
    for (const auto& cut : cuts_of(stream))
        same(report(cut, bounds), found, "what is told of a stream is the same wherever it is cut", told_of);
    auto next = expected.events.begin();
    for (const auto& each : found.events) {
        next = std::find_if(next, expected.events.end(),
                            [&](const auto& e) { return e.type == each.type && e.data == each.data; });
        if (next == expected.events.end())
            broken("skipping invents no event and keeps the order", shown(stream));
        ++next;
    }
}

void check_text(std::string_view stream) {
    const auto decoded = reference::decode_utf8(std::string(stream));
    same(sse::to_valid_utf8(stream), decoded, "ill-formed UTF-8 is mended as the standard says");
    hold(sse::is_valid_utf8(stream) == (decoded == stream), "UTF-8 is valid when decoding keeps it", stream);
}

/// The standard decodes before it parses; the parser leaves that to whoever shows the text.
void check_decoding(const reference::stream& raw, std::string_view stream) {
    const auto decoded = reference::parse(reference::decode_utf8(std::string(stream)));
    // At the very start, a broken byte order mark is not known to be one yet.
    if (raw.events.size() != decoded.events.size())
        broken("decoding first gives as many events", shown(stream));
    for (std::size_t i = 0; i < raw.events.size(); ++i)
        same(sse::to_valid_utf8(raw.events[i].data), decoded.events[i].data,
             "it does not matter whether a stream or its data is decoded");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto stream = as_text(data, size);
    const auto expected = reference::parse(std::string(stream));

    const auto found = parse_at_every_cut(stream, {});
    same(found, expected_of(expected, found), "a stream is parsed as the standard words it", told);
    check_within({.line = 24, .event = 12, .data_lines = 3, .id = 4}, stream, expected);
    check_within({.line = 9, .event = 1000, .data_lines = 1, .id = 1000}, stream, expected);
    check_skipping({}, stream, expected);
    check_skipping({.line = 24, .event = 12, .data_lines = 3, .id = 4}, stream, expected);
    check_skipping({.line = 9, .event = 1000, .data_lines = 1, .id = 1000}, stream, expected);
    check_text(stream);
    check_decoding(expected, stream);
    return 0;
}
