// What a stream counts in its runtime: each thing once, and what is open only while it is.
#include <boost/test/unit_test.hpp>

#include "support/streams.hpp"

using namespace holdfast;
using test::events;
using test::response;
using test::send;
using test::sse_head;
using test::sse_response;

namespace {

struct fixture : test::source_fixture {
    [[nodiscard]] std::uint64_t value(metric which) const { return rt.value(which); }
    [[nodiscard]] std::uint64_t open() const { return value(metric::streams_open); }
};

} // namespace

CO_TEST_CASE(a_stream_is_counted_as_open_until_it_breaks_and_is_opened_anew, fixture) {
    server.play({send(sse_response(events({"one", "two"}))), test::reset(seconds(1))});
    server.play({send(sse_head())});
    co_await next(3);
    BOOST_TEST(open() == 1u);
    BOOST_TEST(value(metric::stream_events) == 2u);
    BOOST_TEST(value(metric::stream_bytes) == events({"one", "two"}).size());
    co_await next();
    BOOST_TEST(open() == 0u);
    BOOST_TEST(value(metric::stream_interruptions) == 1u);
    co_await next();
    BOOST_TEST(open() == 1u);
    BOOST_TEST(value(metric::streams_opened) == 2u);
    BOOST_TEST(value(metric::connections_opened) == 2u);
    source->close();
    BOOST_TEST(open() == 0u);
    source->close();
    source.reset();
    BOOST_TEST(open() == 0u);
}

CO_TEST_CASE(an_open_stream_that_is_destroyed_is_open_no_more, fixture) {
    server.play({send(sse_head())});
    co_await next();
    BOOST_TEST(open() == 1u);
    source.reset();
    BOOST_TEST(open() == 0u);
}

CO_TEST_CASE(a_read_that_is_cancelled_leaves_the_stream_open_and_counted_once, fixture) {
    server.play({send(sse_head())});
    co_await next();
    const auto reader = scope.spawn(tell_all());
    co_await rt.sleep_for(seconds(1));
    scope.cancel(reader);
    co_await scope.join();
    BOOST_TEST(open() == 1u);
    source.reset();
    BOOST_TEST(open() == 0u);
}

CO_TEST_CASE(what_is_given_up_is_no_interruption_and_was_never_open, fixture) {
    server.play({send(response(404, "text/plain", "no such thing"))});
    co_await all();
    BOOST_TEST(value(metric::streams_given_up) == 1u);
    BOOST_TEST(value(metric::stream_interruptions) == 0u);
    BOOST_TEST(value(metric::streams_opened) == 0u);
    BOOST_TEST(open() == 0u);
}
