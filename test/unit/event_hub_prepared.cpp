// Events that are worked through before they are told: once for all, with others' turns in between, in order,
// and never told to anybody who has left meanwhile.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace holdfast;
using stream::item;
using test::chunk;
using test::events;
using test::lines;
using test::send;
using test::sse_response;

namespace {

/// Notes what was prepared for it, and whether it has that to itself.
struct listener final : stream::subscriber {
    explicit listener(lines& told) : told_(told) {}
    void on_attached() override {}
    net::awaitable<void> repair() override { co_return; }
    void on_event(std::string_view data) override { told_.push_back("event " + std::string(data)); }
    void on_prepared(std::string_view, std::shared_ptr<void> prepared) override {
        const auto text = std::static_pointer_cast<std::string>(std::move(prepared));
        told_.push_back("prepared " + *text + (text.use_count() == 1 ? "" : " shared"));
    }
    void on_live() override { told_.push_back("live"); }
    void on_interrupted(const item&) override { told_.push_back("interrupted"); }
    net::awaitable<void> on_give_up(const item&) override { co_return; }

private:
    lines& told_;
};

struct preparing : test::hub_fixture {
    duration takes{};
    bool fails = false;
    std::size_t prepared = 0;
    lines of_a;
    lines of_b;

    preparing() {
        config.large = 10;
        config.prepare = [this](std::string data) {
            return prepare(std::move(data));
        };
    }
    net::awaitable<std::shared_ptr<void>> prepare(std::string data) {
        ++prepared;
        if (takes != duration::zero())
            co_await rt.sleep_for(takes);
        if (fails)
            throw std::runtime_error("cannot prepare");
        co_return std::make_shared<std::string>(data + '!');
    }
    void listen() {
        the_hub().subscribe("a", std::make_shared<listener>(of_a));
        the_hub().subscribe("b", std::make_shared<listener>(of_b));
    }
};

} // namespace

CO_TEST_CASE(what_is_large_is_prepared_and_what_is_small_is_told_as_it_is, preparing) {
    server.play({send(sse_response(events({"hello"}))),
                 send(chunk(events({"a: 1", "a: a large one", "a: 2"})), seconds(1))});
    listen();
    start_hub();
    co_await at(seconds(2));
    CHECK_LINES(of_a, {"live", "event a: 1", "prepared a: a large one!", "event a: 2"});
    BOOST_TEST(prepared == 1u);
    co_await end();
}

CO_TEST_CASE(what_is_for_everyone_is_prepared_once_for_all, preparing) {
    server.play({send(sse_response(events({"hello"}))), send(chunk(events({"all: 1"})), seconds(1))});
    listen();
    start_hub();
    co_await at(seconds(2));
    CHECK_LINES(of_a, {"live", "prepared all: 1! shared"});
    CHECK_LINES(of_b, {"live", "prepared all: 1! shared"});
    BOOST_TEST(prepared == 1u);
    co_await end();
}

CO_TEST_CASE(what_comes_behind_one_that_is_being_prepared_waits_for_it, preparing) {
    takes = seconds(5);
    server.play({send(sse_response(events({"hello"}))),
                 send(chunk(events({"a: a large one", "a: 2", "b: 3"})), seconds(1))});
    listen();
    start_hub();
    co_await at(seconds(5));
    CHECK_LINES(of_a, {"live"});
    CHECK_LINES(of_b, {"live"});
    co_await at(seconds(7));
    CHECK_LINES(of_a, {"live", "prepared a: a large one!", "event a: 2"});
    CHECK_LINES(of_b, {"live", "event b: 3"});
    co_await end();
}

CO_TEST_CASE(what_is_for_nobody_or_kept_back_is_not_prepared, preparing) {
    server.play({send(sse_response(
        events({"hello", "a: a large one", "c: another large one", "something large of all"})))});
    auto slow = subscribe("a", seconds(5));
    start_hub();
    co_await at(seconds(6));
    CHECK_LINES(told_to("a"), {"attached", "repair", "repaired", "event a: a large one", "live"});
    BOOST_TEST(prepared == 0u);
    co_await end();
}

CO_TEST_CASE(what_cannot_be_prepared_is_told_as_any_other_and_reported, preparing) {
    fails = true;
    server.play(
        {send(sse_response(events({"hello"}))), send(chunk(events({"a: a large one", "a: 2"})), seconds(1))});
    listen();
    start_hub();
    co_await at(seconds(2));
    CHECK_LINES(of_a, {"live", "event a: a large one", "event a: 2"});
    CHECK_LINES(reported(), {"prepare: cannot prepare"});
    BOOST_TEST(stream_failures() == 0u);
    co_await end();
}

CO_TEST_CASE(who_has_left_when_it_is_prepared_is_told_nothing, preparing) {
    takes = seconds(5);
    server.play({send(sse_response(events({"hello"}))), send(chunk(events({"all: 1"})), seconds(1))});
    listen();
    start_hub();
    co_await at(seconds(2));
    the_hub().unsubscribe("a");
    co_await at(seconds(7));
    CHECK_LINES(of_a, {"live"});
    CHECK_LINES(of_b, {"live", "prepared all: 1!" + std::string(" shared")});
    co_await end();
}

CO_TEST_CASE(after_a_close_meanwhile_nobody_is_told_anything, preparing) {
    takes = seconds(5);
    server.play({send(sse_response(events({"hello"}))),
                 send(chunk(events({"all: 1", "noise of everybody"})), seconds(1))});
    listen();
    start_hub();
    co_await at(seconds(2));
    the_hub().close();
    co_await at(seconds(8));
    CHECK_LINES(of_a, {"live"});
    BOOST_TEST(told.empty());
    BOOST_TEST(over);
    co_await end();
}

CO_TEST_CASE(cancelling_run_ends_a_preparation_at_once, preparing) {
    takes = minutes(5);
    server.play({send(sse_response(events({"hello"}))), send(chunk(events({"all: 1"})), seconds(1))});
    listen();
    start_hub();
    co_await at(seconds(2));
    scope.cancel(runner);
    co_await at(seconds(3));
    BOOST_TEST(over);
    CHECK_LINES(of_a, {"live"});
    co_await end();
}

CO_TEST_CASE(subscribers_are_told_the_part_that_concerns_them_and_the_observer_all, preparing) {
    config.route = [](std::string_view data) {
        auto where = test::route_by_name(data);
        if (const auto at = data.find('|'); at != std::string_view::npos)
            where.part = data.substr(at + 1);
        return where;
    };
    config.large = 1000;
    server.play({send(sse_response(events({"hello"}))),
                 send(chunk(events({"a: 1|one", "all: 2|two", "c: 3|three"})), seconds(1))});
    listen();
    start_hub();
    co_await at(seconds(2));
    CHECK_LINES(of_a, {"live", "event one", "prepared two! shared"});
    CHECK_LINES(take(), {"observer all: 2|two", "observer c: 3|three"});
    co_await end();
}
