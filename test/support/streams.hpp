// What tests of streams share: a source or a hub in a simulated world, and what they tell as lines of text.
#pragma once

#include "support/coroutine.hpp"
#include "support/scripted_server.hpp"

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/stream/event_hub.hpp>
#include <holdfast/stream/event_source.hpp>

#include <algorithm>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#define CHECK_LINES(actual, ...)                                                                             \
    do {                                                                                                     \
        const holdfast::test::lines expected_lines = __VA_ARGS__;                                            \
        BOOST_TEST(actual == expected_lines, boost::test_tools::per_element());                              \
    } while (false)

namespace holdfast::test {

using lines = std::vector<std::string>;

inline const endpoint place{"http", "a.test", 80};
inline const endpoint elsewhere{"http", "b.test", 80};

/// An item in one line, as a person would tell it.
inline std::string to_line(const stream::item& what) {
    const auto cls = std::string(retry::to_string(what.failure.cls));
    switch (what.what) {
    case stream::item::kind::opened: return "opened " + std::to_string(what.attempt);
    case stream::item::kind::event: return "event " + std::string(what.event.data);
    case stream::item::kind::comment: return "comment " + std::string(what.event.data);
    case stream::item::kind::skipped: return "skipped " + what.failure.message;
    case stream::item::kind::done: return "done";
    case stream::item::kind::answered:
        return "answered " + std::to_string(what.head->status) + ' ' + std::string(what.body);
    case stream::item::kind::interrupted:
        return "interrupted " + cls + " next " + std::to_string(what.attempt) + " in " +
               std::to_string(to_ms(what.retry_in));
    case stream::item::kind::gave_up: return "gave up " + cls + " after " + std::to_string(what.attempt);
    }
    return "?";
}

struct source_fixture : in_simulated_world {
    runtime& rt = world.rt();
    scripted_server server{world, place};
    const time_point start = rt.now();
    stream::location::state state = stream::location::state::up;
    http::url url = http::parse_url("http://a.test/event").value();
    unsigned asked_where = 0;
    stream::source_config config;
    std::unique_ptr<stream::event_source> source;
    stream::item last; // views of it hold no longer than the source says
    lines told;
    task_scope scope{rt, [](std::exception_ptr) {
                         BOOST_ERROR("a child threw");
                     }};

    source_fixture() {
        config.locate = [this] {
            ++asked_where;
            stream::location here;
            here.what = state;
            here.url = url;
            return here;
        };
    }

    [[nodiscard]] long long elapsed_ms() const { return to_ms(rt.now() - start); }
    [[nodiscard]] std::size_t attempts(const endpoint& where = place) { return world.net().attempts(where); }

    void begin() {
        if (!source)
            source = std::make_unique<stream::event_source>(rt, config);
    }

    void finish() { source.reset(); }

    // The next item in one line, "end" for none.
    net::awaitable<std::string> next() {
        begin();
        const auto got = co_await source->next();
        if (!got)
            co_return "end";
        last = *got;
        co_return to_line(*got);
    }

    net::awaitable<lines> next(std::size_t count) {
        lines got;
        while (got.size() < count) {
            auto line = co_await next();
            got.push_back(std::move(line));
        }
        co_return got;
    }

    // All there is, up to the end of the stream or a cancellation.
    net::awaitable<void> tell_all() {
        begin();
        for (;;) {
            std::exception_ptr thrown;
            std::string line;
            try {
                line = co_await next();
            } catch (...) {
                thrown = std::current_exception();
            }
            if (thrown) {
                told.push_back(detail::is_abort(thrown) ? "aborted" : "threw");
                co_return;
            }
            told.push_back(line);
            if (line == "end")
                co_return;
        }
    }

    net::awaitable<lines> all() {
        co_await tell_all();
        co_return told;
    }

    // Lets everyone run, without time passing.
    net::awaitable<void> turn() {
        for (int n = 0; n < 8; ++n)
            co_await rt.sleep_for(duration::zero());
    }

    [[nodiscard]] lines logged() {
        lines out;
        for (const auto& record : world.logs())
            out.push_back(std::string(to_string(record.level)) + ' ' + record.event + ' ' +
                          record.error_class + ' ' + std::to_string(record.failures) + ' ' + record.action);
        return out;
    }
};

inline std::string events(const std::vector<std::string>& all) {
    std::string text;
    for (const auto& each : all)
        text += "data: " + each + "\n\n";
    return text;
}

inline std::string event_chunk(const std::string& one) {
    return chunk(events({one}));
}

// "a: text" goes to a, "all: text" to everyone, "hello" is the greeting, "noise" is for nobody.
inline stream::routing route_by_name(std::string_view data) {
    stream::routing where;
    if (data == "unroutable")
        throw std::runtime_error("cannot route");
    if (data == "hello")
        where.to = stream::routing::target::acknowledge;
    else if (data == "noise")
        where.to = stream::routing::target::nobody;
    else if (data.starts_with("all:"))
        where.to = stream::routing::target::everyone;
    else if (const auto colon = data.find(':'); colon != std::string_view::npos) {
        where.to = stream::routing::target::subscriber;
        where.key = data.substr(0, colon);
    }
    return where;
}

struct hub_fixture;

// Notes what it is told, as "name what".
struct recorder final : stream::subscriber {
    recorder(hub_fixture& f, std::string n) : test(f), name(std::move(n)) {}

    void on_attached() override { tell("attached"); }
    net::awaitable<void> repair() override;
    void on_event(std::string_view data) override { tell("event " + std::string(data)); }
    void on_live() override { tell("live"); }
    void on_interrupted(const stream::item& why) override {
        tell("interrupted " + std::string(retry::to_string(why.failure.cls)));
    }
    net::awaitable<void> on_give_up(const stream::item& why) override;

    void tell(const std::string& what);

    hub_fixture& test;
    std::string name;
    std::vector<duration> repairs_take; ///< one each; none: no time
    duration give_up_takes{};
    std::map<std::string, std::function<void()>> on; ///< what to do when told so
};

struct hub_fixture : in_simulated_world {
    runtime& rt = world.rt();
    scripted_server server{world, place};
    const time_point start = rt.now();
    lines told;
    lines errors;
    task_scope scope{rt, [this](std::exception_ptr thrown) {
                         try {
                             std::rethrow_exception(std::move(thrown));
                         } catch (const std::exception& e) {
                             errors.emplace_back(e.what());
                         }
                     }};
    stream::hub_config config;
    std::shared_ptr<stream::event_hub> hub;
    bool over = false;
    task_scope::id runner = 0;

    hub_fixture() {
        config.source.locate = [] {
            stream::location here;
            here.url = http::parse_url("http://a.test/event").value();
            return here;
        };
        config.source.tag = "mine";
        config.route = route_by_name;
        config.observe = [this](std::string_view data) {
            told.push_back("observer " + std::string(data));
        };
    }

    stream::event_hub& the_hub() {
        if (!hub)
            hub = std::make_shared<stream::event_hub>(rt, scope, config);
        return *hub;
    }

    std::shared_ptr<recorder> subscribe(const std::string& name, duration repair_takes = {}) {
        auto made = std::make_shared<recorder>(*this, name);
        if (repair_takes != duration::zero())
            made->repairs_take = {repair_takes, repair_takes, repair_takes};
        the_hub().subscribe(name, made);
        return made;
    }

    net::awaitable<void> run() {
        struct ending {
            hub_fixture& f;
            ~ending() { f.over = true; }
        } const ending{*this};
        co_await the_hub().run();
    }
    void start_hub() { runner = scope.spawn(run()); }

    // Lets time pass up to a moment since the start, and all run that is then ready.
    net::awaitable<void> at(duration since_start) {
        co_await rt.sleep_until(start + since_start);
        for (int n = 0; n < 8; ++n)
            co_await rt.sleep_for(duration::zero());
    }

    lines take() { return std::exchange(told, {}); }

    // What was told to one.
    [[nodiscard]] lines told_to(const std::string& name) const {
        lines out;
        for (const auto& each : told)
            if (each.starts_with(name + ' '))
                out.push_back(each.substr(name.size() + 1));
        return out;
    }

    [[nodiscard]] lines reported() {
        lines out;
        for (const auto& record : world.logs())
            if (record.event == "hub.handler_threw")
                out.push_back(record.action + ": " + record.error_message);
        return out;
    }

    [[nodiscard]] std::size_t stream_failures() {
        return static_cast<std::size_t>(
            std::count_if(world.logs().begin(), world.logs().end(), [](const log_record& record) {
                return record.event == "stream.interrupted" || record.event == "stream.gave_up";
            }));
    }

    net::awaitable<void> end() {
        the_hub().close();
        co_await scope.join();
    }

    void finish() {
        BOOST_TEST(errors.empty());
        hub.reset();
    }
};

inline void recorder::tell(const std::string& what) {
    test.told.push_back(name + ' ' + what);
    if (const auto found = on.find(what); found != on.end())
        found->second();
}

inline net::awaitable<void> recorder::repair() {
    tell("repair");
    duration takes{};
    if (!repairs_take.empty()) {
        takes = repairs_take.front();
        repairs_take.erase(repairs_take.begin());
    }
    if (takes != duration::zero())
        co_await test.rt.sleep_for(takes);
    tell("repaired");
}

inline net::awaitable<void> recorder::on_give_up(const stream::item& why) {
    tell("gave up " + std::string(retry::to_string(why.failure.cls)));
    if (give_up_takes != duration::zero())
        co_await test.rt.sleep_for(give_up_takes);
    tell("done with it");
}

} // namespace holdfast::test
