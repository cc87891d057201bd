// The whole response path: head, chunks or length, and the event stream in the body. Input: what a server
// sends until it ends the connection.
#include "fuzz.hpp"

#include <holdfast/http/response_parser.hpp>
#include <holdfast/sse/parser.hpp>

namespace {

using namespace holdfast;
using namespace holdfast::fuzz;

struct outcome {
    bool has_head = false;
    int status = 0;
    std::string reason;
    std::vector<http::header> headers;
    std::string body;
    std::string events; ///< what an event stream parser that is fed the same pieces gives
    error_code error;
    bool complete = false;
    bool operator==(const outcome&) const = default;
};

std::string told(const outcome& o) {
    std::string text = std::to_string(o.status) + " " + shown(o.reason);
    for (const auto& h : o.headers)
        text += " " + shown(h.name) + ": " + shown(h.value);
    return text + " body=" + shown(o.body) + " events=" + shown(o.events) +
           " error=" + (o.error ? o.error.message() : "none") + (o.complete ? " complete" : " open");
}

void take_events(sse::parser& parser, std::string_view piece, std::string& into) {
    while (parser.next(piece)) {
        const auto& e = parser.event();
        into.append(e.type).append("|").append(e.data).append("|").append(e.id).append("\n");
    }
}

outcome read(const pieces& sent, const http::response_limits& limits, bool head_request) {
    http::response_parser parser(limits, head_request);
    sse::parser events;
    outcome result;
    for (const auto piece : sent) {
        const own_buffer buffer(piece);
        std::vector<std::string_view> payload;
        result.error = parser.put(buffer.view(), payload);
        for (const auto view : payload) {
            hold(buffer.holds(view), "the payload is a view of the bytes given", view);
            result.body += view;
            take_events(events, view, result.events);
        }
        if (result.error)
            break;
    }
    if (!result.error)
        result.error = parser.put_end();
    result.has_head = parser.head_complete();
    if (result.has_head) {
        result.status = parser.head().status;
        result.reason = parser.head().reason;
        result.headers = parser.head().headers;
    }
    result.complete = parser.complete();
    return result;
}

/// A connection that breaks HTTP is given up; how much of it was understood before depends on the cut.
outcome without_what_a_failure_leaves(outcome o) {
    if (o.error && o.error != errc::cut) {
        const auto error = o.error;
        o = {};
        o.error = error;
    }
    return o;
}

/// What is over a limit and comes in one piece need not be held, and may be taken or found malformed instead.
bool is_over_a_limit(const outcome& o) {
    return o.error == errc::header_too_large || o.error == errc::body_too_large;
}

/// A head that is broken and breaks off may be called either: it is looked at a line at a time, or as a
/// whole.
bool has_no_head(const outcome& o) {
    return !o.has_head && o.error;
}

outcome read_at_every_cut(std::string_view sent, const http::response_limits& limits, bool head_request) {
    const auto found = read(whole(sent), limits, head_request);
    for (const auto& cut : cuts_of(sent)) {
        const auto other = read(cut, limits, head_request);
        if (has_no_head(found) && has_no_head(other))
            continue;
        if (!is_over_a_limit(found) && !is_over_a_limit(other))
            same(without_what_a_failure_leaves(other), without_what_a_failure_leaves(found),
                 "a response is the same wherever it is cut", told);
    }
    return found;
}

void check(const outcome& o, const http::response_limits& limits, bool head_request) {
    hold(o.error || o.complete, "at its end a response is complete, or an error");
    hold(!o.complete || o.has_head, "what is complete has a head");
    hold(!limits.body || o.body.size() <= limits.body, "a body is within its limit", o.body);
    hold(!o.has_head || (o.status >= 100 && o.status <= 999), "a status has three digits");
    hold(!head_request || o.body.empty(), "the answer to HEAD has no body", o.body);
    for (const auto& h : o.headers)
        hold(!h.name.empty() &&
                 (h.name + h.value).find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos,
             "no field has a line end or a NUL", h.name + ": " + h.value);
}

/// The input as a body, sent in each of the three ways: it must come out as it went in.
void check_transport(std::string_view body) {
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
    const auto size = std::to_string(body.size());
    std::string chunks;
    for (const auto piece : by_its_own_bytes(body)) {
        char hex[24];
        std::snprintf(hex, sizeof hex, piece.size() % 2 ? "%zx" : "%04zX;a=b", piece.size());
        if (!piece.empty())
            chunks.append(hex).append("\r\n").append(piece).append("\r\n");
    }
    std::string events;
    sse::parser parser;
    take_events(parser, body, events);
    for (const auto& sent : {head + "Content-Length: " + size + "\r\n\r\n" + std::string(body),
                             head + "\r\n" + std::string(body),
                             head + "Transfer-Encoding: chunked\r\n\r\n" + chunks + "0\r\nA: b\r\n\r\n"}) {
        for (const auto& cut : {whole(sent), by_its_own_bytes(sent), byte_by_byte(sent)}) {
            const auto found = read(cut, {}, false);
            hold(!found.error && found.complete, "a whole response is complete", sent);
            same(found.body, body, "a body comes out as it was sent");
            same(found.events, events, "the events of a body are the same through HTTP");
        }
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto sent = as_text(data, size);
    for (const auto& limits : {http::response_limits{}, http::response_limits{.header = 0, .body = 0},
                               http::response_limits{.header = 96, .body = 24}})
        check(read_at_every_cut(sent, limits, false), limits, false);
    check(read_at_every_cut(sent, {}, true), {}, true);
    check_transport(sent);
    return 0;
}
