// What the runtimes of one world share beside the breakers: the log and its incidents, in virtual time.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"

#include <holdfast/runtime/task_scope.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace holdfast;

namespace {

const endpoint place{"http", "a.test", 80};

log_record trouble_at(const endpoint& where, std::string error_class = "refused") {
    log_record record;
    record.level = log_level::warn;
    record.event = "it.failed";
    record.endpoint = to_string(where);
    record.error_class = std::move(error_class);
    return record;
}

log_record well_at(const endpoint& where) {
    log_record record;
    record.level = log_level::debug;
    record.endpoint = to_string(where);
    return record;
}

log_record plain(log_level level = log_level::info) {
    log_record record;
    record.event = "it.happened";
    record.level = level;
    return record;
}

using lines = std::vector<std::string>;

struct logging : test::in_simulated_world {
    runtime& rt = world.rt();
    const time_point start = rt.now();
    task_scope scope{rt, [](std::exception_ptr) {
                         BOOST_ERROR("a child threw");
                     }};

    // "warn it.failed" of all records but those of level debug.
    [[nodiscard]] lines written() {
        lines out;
        for (const auto& each : world.logs())
            if (each.level != log_level::debug)
                out.push_back(std::string(to_string(each.level)) + ' ' + each.event);
        return out;
    }

    [[nodiscard]] bool has_written(const std::string& line) {
        const auto all = written();
        return std::find(all.begin(), all.end(), line) != all.end();
    }

    net::awaitable<void> keep_failing(duration each, duration total) {
        for (const auto end = rt.now() + total; rt.now() < end;) {
            rt.report(trouble_at(place));
            co_await rt.sleep_for(each);
        }
    }

    net::awaitable<void> try_once(bool good, failure why = make_failure(errc::refused)) {
        auto pass = co_await rt.begin_attempt(place, retry::endpoint_breaker::kind::call, rt.now(), false);
        if (good)
            pass.succeeded();
        else
            pass.failed(why);
    }
};

#define CHECK_LINES(actual, ...)                                                                             \
    do {                                                                                                     \
        const lines expected_lines = __VA_ARGS__;                                                            \
        BOOST_TEST(actual == expected_lines, boost::test_tools::per_element());                              \
    } while (false)

} // namespace

// --- lines

BOOST_FIXTURE_TEST_CASE(a_failure_is_written_at_once_and_its_repeats_are_debug_records, logging) {
    rt.report(trouble_at(place));
    rt.report(trouble_at(place));
    CHECK_LINES(written(), {"warn it.failed"});
    BOOST_TEST(world.logs().size() == 2u);
    BOOST_TEST((world.logs().back().level == log_level::debug));
}

BOOST_FIXTURE_TEST_CASE(a_record_of_no_failure_is_written_as_it_is, logging) {
    rt.log(plain());
    rt.log(plain(log_level::error));
    CHECK_LINES(written(), {"info it.happened", "error it.happened"});
}

BOOST_FIXTURE_TEST_CASE(a_recovery_is_written_and_is_no_trouble_any_more_after_a_while, logging) {
    BOOST_TEST(!rt.in_trouble());
    rt.report(trouble_at(place));
    BOOST_TEST(rt.in_trouble());
    rt.recovered(well_at(place));
    CHECK_LINES(written(), {"warn it.failed", "info incident.recovered"});
    BOOST_TEST(rt.in_trouble()); // it may fail again soon
    world.run_for(std::chrono::hours(1));
    rt.recovered(well_at(place));
    BOOST_TEST(!rt.in_trouble());
}

BOOST_FIXTURE_TEST_CASE(while_nothing_fails_a_recovery_without_an_event_writes_nothing_and_one_with_it_does,
                        logging) {
    rt.recovered(well_at(place));
    BOOST_TEST(world.logs().empty());
    auto told = well_at(place);
    told.event = "it.works";
    rt.recovered(told);
    BOOST_TEST(world.logs().size() == 1u);
}

BOOST_FIXTURE_TEST_CASE(what_is_left_ends_without_being_well, logging) {
    rt.left(well_at(place));
    BOOST_TEST(world.logs().empty());
    rt.report(trouble_at(place));
    rt.left(well_at(place));
    CHECK_LINES(written(), {"warn it.failed", "info incident.recovered"});
    BOOST_TEST(world.logs().back().action == "left");
}

BOOST_FIXTURE_TEST_CASE(the_limits_of_the_log_are_settable, logging) {
    shared_limits limits;
    limits.incidents.lines_per_second = 5;
    testing::world narrow(1, limits);
    for (int n = 0; n < 100; ++n)
        narrow.rt().log(plain());
    BOOST_TEST(narrow.logs().size() == 5u);
    for (int n = 0; n < 100; ++n)
        rt.log(plain());
    BOOST_TEST(world.logs().size() == 20u);
}

BOOST_AUTO_TEST_CASE(without_a_sink_nothing_is_kept) {
    net::io_context io;
    runtime rt(io.get_executor());
    rt.report(trouble_at(place));
    rt.recovered(well_at(place));
    rt.left(well_at(place));
    rt.log(plain());
    BOOST_TEST(!rt.in_trouble());
    BOOST_TEST(rt.value(metric::log_lines) == 0u);
}

BOOST_FIXTURE_TEST_CASE(a_sink_may_log, logging) {
    world.on_log([this](const log_record& record) {
        if (record.event == "it.failed")
            rt.log(plain());
    });
    rt.report(trouble_at(place));
    CHECK_LINES(written(), {"warn it.failed", "info it.happened"});
}

BOOST_FIXTURE_TEST_CASE(lines_are_counted_and_so_is_what_they_say_was_suppressed, logging) {
    for (int n = 0; n < 10; ++n)
        rt.report(trouble_at(place));
    rt.recovered(well_at(place)); // "refused 10 times", of which 9 were not written
    BOOST_TEST(rt.value(metric::log_lines) == 2u);
    BOOST_TEST(rt.value(metric::log_lines_suppressed) == 9u);
}

// --- the breaker tells whether the endpoint answers

CO_TEST_CASE(a_success_at_the_breaker_ends_the_endpoints_incident, logging) {
    rt.report(trouble_at(place));
    co_await try_once(true);
    CHECK_LINES(written(), {"warn it.failed", "info incident.recovered"});
}

CO_TEST_CASE(a_success_at_the_breaker_says_nothing_of_streams_and_sessions, logging) {
    rt.report(trouble_at(place, "http_status"));
    auto of_session = trouble_at(place, "bad_json");
    of_session.session = "ses_1";
    rt.report(of_session);
    co_await try_once(true);
    CHECK_LINES(written(), {"warn it.failed", "warn it.failed"});
}

CO_TEST_CASE(an_error_that_only_a_working_endpoint_answers_with_ends_its_incident_too, logging) {
    rt.report(trouble_at(place));
    co_await try_once(false, make_status_failure(404, "", std::nullopt));
    CHECK_LINES(written(), {"warn it.failed", "info incident.recovered"});
}

CO_TEST_CASE(failures_that_tell_nothing_of_the_endpoint_end_no_incident, logging) {
    rt.report(trouble_at(place));
    for (const auto code : {errc::refused, errc::cut, errc::local, errc::header_timeout})
        co_await try_once(false, make_failure(code));
    CHECK_LINES(written(), {"warn it.failed"});
}

// --- what is due later

CO_TEST_CASE(without_a_writer_summaries_come_with_the_next_record, logging) {
    rt.report(trouble_at(place));
    rt.report(trouble_at(place));
    co_await rt.sleep_for(minutes(2));
    CHECK_LINES(written(), {"warn it.failed"});
    rt.log(plain());
    CHECK_LINES(written(), {"warn it.failed", "warn incident.continues", "info it.happened"});
}

CO_TEST_CASE(with_a_writer_summaries_come_when_they_are_due, logging) {
    const auto writer = scope.spawn(rt.write_incidents());
    rt.report(trouble_at(place));
    rt.report(trouble_at(place));
    co_await rt.sleep_for(seconds(59));
    CHECK_LINES(written(), {"warn it.failed"});
    co_await rt.sleep_for(seconds(1) + milliseconds(1));
    CHECK_LINES(written(), {"warn it.failed", "warn incident.continues"});
    scope.cancel(writer);
    co_await scope.join();
}

CO_TEST_CASE(a_writer_that_already_waits_is_woken_when_something_is_due_earlier, logging) {
    scope.spawn(rt.write_incidents());
    co_await rt.sleep_for(seconds(1)); // waits for nothing
    for (int n = 0; n < 21; ++n)
        rt.log(plain());
    co_await rt.sleep_for(seconds(1) + milliseconds(1));
    BOOST_TEST(written().back() == "warn log.dropped");
    BOOST_TEST(world.logs().back().suppressed == 1u);
    scope.cancel();
    co_await scope.join();
}

CO_TEST_CASE(a_writer_does_not_wake_up_for_nothing, logging) {
    scope.spawn(rt.write_incidents());
    co_await rt.sleep_for(seconds(1));
    unsigned steps = 0;
    world.on_handler([&] { ++steps; });
    co_await rt.sleep_for(std::chrono::hours(24));
    BOOST_TEST(steps < 5u);
    world.on_handler({});
    scope.cancel();
    co_await scope.join();
}

CO_TEST_CASE(of_several_writers_one_writes_and_the_next_takes_over, logging) {
    runtime second(rt, rt.executor());
    const auto first = scope.spawn(rt.write_incidents());
    scope.spawn(second.write_incidents());
    co_await rt.sleep_for(seconds(1));
    rt.report(trouble_at(place));
    second.report(trouble_at(place));
    co_await rt.sleep_for(minutes(1) + seconds(1));
    CHECK_LINES(written(), {"warn it.failed", "warn incident.continues"});
    second.report(trouble_at(place));
    scope.cancel(first);
    co_await rt.sleep_for(minutes(5));
    CHECK_LINES(written(), {"warn it.failed", "warn incident.continues", "warn incident.continues"});
    scope.cancel();
    co_await scope.join();
}

CO_TEST_CASE(a_day_of_one_failing_endpoint_is_a_few_lines, logging) {
    scope.spawn(rt.write_incidents());
    co_await keep_failing(seconds(10), std::chrono::hours(24));
    const auto all = written();
    BOOST_TEST(all.size() <= 30u);
    BOOST_TEST(all.size() >= 24u); // it does go on saying so
    scope.cancel();
    co_await scope.join();
}
