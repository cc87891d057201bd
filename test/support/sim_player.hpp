// The simulated server driven by hand, in virtual time: a client that speaks HTTP byte by byte, and one that
// plays what a recording's client did.
#pragma once

#include "support/event_tokens.hpp"

#include <holdfast/testing/opencode_sim.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::test {

using namespace std::chrono_literals;
using testing::opencode_sim;

struct response {
    int status = 0;
    std::string head;
    std::string body;
    json::value parsed() const { return json::parse(body); }
    json::array list() const { return parsed().as_array(); }
};

/// What came on one connection.
struct wire {
    std::string bytes;
    bool closed = false;
    bool reset = false;
};

/// Takes one response off the front, if it is whole. Chunked bodies are put together; an unfinished one
/// counts as whole when the connection has ended.
inline std::optional<response> take_response(wire& w) {
    const auto head_end = w.bytes.find("\r\n\r\n");
    if (head_end == std::string::npos)
        return std::nullopt;
    response r;
    r.head = w.bytes.substr(0, head_end);
    r.status = std::stoi(r.head.substr(9, 3));
    std::size_t at = head_end + 4;
    const auto length = r.head.find("Content-Length: ");
    if (length != std::string::npos) {
        const auto size = std::stoul(r.head.substr(length + 16));
        if (w.bytes.size() < at + size)
            return std::nullopt;
        r.body = w.bytes.substr(at, size);
        at += size;
    }
    w.bytes.erase(0, at);
    return r;
}

/// The body bytes of a chunked stream as far as they came.
inline std::string stream_body(const wire& w) {
    std::string_view rest = w.bytes;
    rest.remove_prefix(std::min(rest.size(), rest.find("\r\n\r\n") + 4));
    std::string out;
    while (!rest.empty()) {
        const auto end = rest.find("\r\n");
        if (end == std::string_view::npos)
            break;
        const auto size = std::stoul(std::string(rest.substr(0, end)), nullptr, 16);
        out += rest.substr(end + 2, size);
        rest.remove_prefix(std::min(rest.size(), end + 2 + size + 2));
    }
    return out;
}

class world {
public:
    explicit world(opencode_sim::options settings = {}) : sim(std::move(settings)) {}

    opencode_sim sim;
    time_point now{1h};
    std::map<opencode_sim::connection_id, wire> wires;

    void pump() {
        for (auto& out : sim.take_output()) {
            auto& w = wires[out.id];
            w.bytes += out.bytes;
            w.closed = w.closed || out.close;
            w.reset = w.reset || out.reset;
        }
    }

    /// The next thing that happens; false when nothing does before `end`.
    bool step(time_point end) {
        const auto next = sim.next_wakeup();
        if (!next || *next > end)
            return false;
        now = std::max(now, *next);
        sim.advance(now);
        pump();
        return true;
    }

    void run_for(duration d) {
        const auto end = now + d;
        while (step(end)) {
        }
        now = end;
        sim.advance(now);
        pump();
    }

    void until(const std::function<bool()>& holds, duration limit = 10min) {
        const auto end = now + limit;
        while (!holds())
            if (!step(end)) {
                BOOST_TEST_REQUIRE(holds(), "waited in vain");
                return;
            }
    }

    opencode_sim::connection_id connect() {
        const auto id = sim.accept(now);
        wires[id];
        pump();
        return id;
    }

    void send(opencode_sim::connection_id id, std::string_view bytes) {
        sim.receive(id, bytes, now);
        pump();
    }

    static std::string request_text(std::string_view method, std::string_view target,
                                    std::string_view body = {}, std::string_view headers = {}) {
        return std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: sim\r\n" +
               std::string(headers) +
               (body.empty()
                    ? std::string("\r\n")
                    : "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
    }

    opencode_sim::connection_id start_call(std::string_view method, std::string_view target,
                                           std::string_view body = {}) {
        const auto id = connect();
        send(id, request_text(method, target, body));
        return id;
    }

    response finish_call(opencode_sim::connection_id id) {
        std::optional<response> r;
        until([&] { return (r = take_response(wires[id])).has_value(); });
        return *r;
    }

    response call(std::string_view method, std::string_view target, std::string_view body = {},
                  std::string_view headers = {}) {
        const auto id = connect();
        send(id, request_text(method, target, body, headers));
        return finish_call(id);
    }

    opencode_sim::connection_id subscribe(std::string_view target = "/event") {
        const auto id = connect();
        send(id, request_text("GET", target));
        return id;
    }

    std::vector<json::object> events(opencode_sim::connection_id stream) {
        return events_in(stream_body(wires[stream]));
    }

    std::size_t count(opencode_sim::connection_id stream, std::string_view type) {
        const auto all = events(stream);
        return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const json::object& e) {
            return event_of(e).at("type").as_string() == type;
        }));
    }

    std::string create(std::string_view body = "{}") {
        return std::string(call("POST", "/session", body).parsed().at("id").as_string());
    }

    static std::string prompt_body(std::string_view text, std::string_view more = {}) {
        return "{\"parts\":[{\"type\":\"text\",\"text\":" + json::serialize(json::value(text)) + "}]" +
               std::string(more) + "}";
    }

    response prompt(const std::string& session, std::string_view text, std::string_view more = {}) {
        return call("POST", "/session/" + session + "/prompt_async", prompt_body(text, more));
    }

    opencode_sim::connection_id start_abort(const std::string& session) {
        return start_call("POST", "/session/" + session + "/abort");
    }

    json::object ask(std::string_view kind = "permission") {
        json::array list;
        until([&] {
            list = call("GET", "/" + std::string(kind)).list();
            return !list.empty() || (run_for(1ms), false);
        });
        return list.front().as_object();
    }
};

/// Plays a recording's actions on the model.
class player : public world {
public:
    using world::world;

    opencode_sim::connection_id stream = 0;
    std::string session;

    std::size_t seen(std::string_view type) { return count(stream, type); }

    void until_seen(std::string_view type, std::size_t times) {
        until([&] { return seen(type) >= times; });
    }
    void begin(std::string_view tag, std::string_view more = {}) {
        session = create();
        prompt(session, tag, more);
    }
    void plain_end() { run_for(1s); }
    void reply(std::string_view what, std::string_view more = {}) {
        const auto id = text(ask().at("id"));
        run_for(100ms);
        call("POST", "/permission/" + id + "/reply",
             "{\"reply\":\"" + std::string(what) + "\"" + std::string(more) + "}");
    }
    void abort() { finish_call(start_abort(session)); }
    /// The same prompt with the same ids.
    void repost(int times) {
        for (int i = 0; i < times; ++i)
            call("POST", "/session/" + session + "/prompt_async",
                 "{\"messageID\":\"msg_1\",\"parts\":[{\"id\":\"prt_1\",\"type\":\"text\",\"text\":\"idem "
                 "#slow:10\"}]}");
    }
};

} // namespace holdfast::test
