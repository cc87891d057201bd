#include <boost/test/unit_test.hpp>

#include <holdfast/retry/incident_log.hpp>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace holdfast;
using namespace holdfast::retry;

namespace {

const time_point t0{seconds(1000)};
constexpr duration day = minutes(24 * 60);

log_record failure_at(std::string endpoint, std::string cls = "refused", std::string session = {}) {
    log_record record;
    record.level = log_level::warn;
    record.event = "stream.interrupted";
    record.endpoint = std::move(endpoint);
    record.session = std::move(session);
    record.error_message = "the text of " + cls;
    record.error_class = std::move(cls);
    return record;
}

log_record success_at(std::string endpoint, std::string session = {}) {
    log_record record;
    record.endpoint = std::move(endpoint);
    record.session = std::move(session);
    return record;
}

log_record plain(std::string event, log_level level = log_level::info) {
    log_record record;
    record.event = std::move(event);
    record.level = level;
    return record;
}

/// "http://p7.test:4096"
std::string port(std::size_t n) {
    return "http://p" + std::to_string(n) + ".test:4096";
}

/// An incident log in virtual time, and what it wrote.
struct written_log {
    explicit written_log(incident_limits limits = {}) : incidents(limits) {}

    struct entry {
        time_point at;
        log_record line;
    };

    void fail(const log_record& record) { take(incidents.trouble(record, now)); }
    void succeed(const log_record& record) { take(incidents.success(record, now)); }
    void reach(const std::string& endpoint) { take(incidents.reached(endpoint, now)); }
    void leave(const log_record& record) { take(incidents.leave(record, now)); }
    void note(const log_record& record) { take(incidents.note(record, now)); }

    /// Time goes on to `when`; the log is woken whenever it asks for it.
    void until(time_point when) {
        while (incidents.due() <= when) {
            now = incidents.due();
            take(incidents.poll(now));
        }
        now = when;
    }
    void wait(duration d) { until(now + d); }

    /// The same failure every `each`, for `total`.
    void keep_failing(const log_record& record, duration each, duration total) {
        const auto end = now + total;
        for (auto at = now + each; at <= end; at += each) {
            until(at);
            fail(record);
        }
        until(end);
    }

    /// What was written since the last call.
    std::vector<entry> news() { return std::exchange(lines, {}); }

    /// The same, as "60 incident.continues refused"; the time is that since t0, in seconds.
    std::vector<std::string> told() {
        std::vector<std::string> all;
        for (const auto& each : news())
            all.push_back(std::to_string(std::chrono::duration_cast<seconds>(each.at - t0).count()) + ' ' +
                          each.line.event + ' ' + each.line.error_class);
        return all;
    }

    incident_log incidents;
    time_point now = t0;
    std::vector<entry> lines; ///< of level info and graver
    std::size_t debug_lines = 0;

private:
    void take(incident_log::lines got) {
        BOOST_TEST_REQUIRE((incidents.due() > now));
        for (auto& each : got)
            if (each.level == log_level::debug)
                ++debug_lines;
            else
                lines.push_back({now, std::move(each)});
    }
};

void check(const std::vector<std::string>& got, const std::vector<std::string>& wanted) {
    BOOST_TEST(got == wanted, boost::test_tools::per_element());
}

std::string only_text(written_log& log) {
    const auto got = log.news();
    BOOST_TEST_REQUIRE(got.size() == 1u);
    return got.front().line.error_message;
}

} // namespace

BOOST_TEST_DONT_PRINT_LOG_VALUE(time_point)

// --- one incident

BOOST_AUTO_TEST_CASE(the_first_failure_is_written_at_once_as_it_was_given) {
    written_log log;
    auto record = failure_at(port(1));
    record.tag = "mine";
    record.failures = 1;
    record.action = "retry";
    record.retry_in_ms = 1000;
    log.fail(record);
    const auto got = log.news();
    BOOST_TEST_REQUIRE(got.size() == 1u);
    const auto& line = got.front().line;
    BOOST_TEST((line.level == log_level::warn));
    BOOST_TEST(line.event == "stream.interrupted");
    BOOST_TEST(line.endpoint == port(1));
    BOOST_TEST(line.tag == "mine");
    BOOST_TEST(line.error_class == "refused");
    BOOST_TEST(line.error_message == "the text of refused");
    BOOST_TEST(line.failures == 1u);
    BOOST_TEST(line.action == "retry");
    BOOST_TEST(line.retry_in_ms.value() == 1000);
    BOOST_TEST(line.suppressed == 0u);
    BOOST_TEST(log.debug_lines == 0u);
}

BOOST_AUTO_TEST_CASE(a_first_failure_is_a_warning_however_low_its_level) {
    written_log log;
    auto record = failure_at(port(1));
    record.level = log_level::debug;
    log.fail(record);
    BOOST_TEST_REQUIRE(log.lines.size() == 1u);
    BOOST_TEST((log.lines.front().line.level == log_level::warn));
}

BOOST_AUTO_TEST_CASE(repeats_are_debug_records_and_counted_in_the_next_summary) {
    written_log log;
    log.fail(failure_at(port(1)));
    log.keep_failing(failure_at(port(1)), seconds(10), seconds(59));
    BOOST_TEST(log.lines.size() == 1u);
    BOOST_TEST(log.debug_lines == 5u);
    log.news();
    log.wait(seconds(1));
    const auto got = log.news();
    BOOST_TEST_REQUIRE(got.size() == 1u);
    BOOST_TEST(got.front().line.event == "incident.continues");
    BOOST_TEST((got.front().line.level == log_level::warn));
    BOOST_TEST(got.front().line.endpoint == port(1));
    BOOST_TEST(got.front().line.suppressed == 5u);
    BOOST_TEST(got.front().line.failures == 6u);
    BOOST_TEST(got.front().line.error_message == "refused 6 times in 1 min, last: the text of refused");
}

BOOST_AUTO_TEST_CASE(an_incident_is_summed_up_after_1_5_and_15_minutes_and_then_hourly) {
    written_log log;
    log.fail(failure_at(port(1)));
    log.keep_failing(failure_at(port(1)), seconds(7), minutes(200));
    check(log.told(),
          {"0 stream.interrupted refused", "60 incident.continues refused", "300 incident.continues refused",
           "900 incident.continues refused", "4500 incident.continues refused",
           "8100 incident.continues refused", "11700 incident.continues refused"});
}

BOOST_AUTO_TEST_CASE(where_nothing_new_happened_nothing_is_summed_up) {
    written_log log;
    log.fail(failure_at(port(1)));
    log.wait(minutes(100));
    BOOST_TEST(log.lines.size() == 1u);
    log.fail(failure_at(port(1)));
    BOOST_TEST(log.lines.size() == 1u);
    log.news();
    log.wait(minutes(35));
    BOOST_TEST(only_text(log) == "refused 2 times in 2 h 15 min, last: the text of refused");
}

BOOST_AUTO_TEST_CASE(one_line_tells_of_the_end_with_the_duration_and_the_count) {
    written_log log;
    log.fail(failure_at(port(1)));
    log.keep_failing(failure_at(port(1)), seconds(30), minutes(192));
    log.news();
    log.succeed(success_at(port(1)));
    const auto got = log.news();
    BOOST_TEST_REQUIRE(got.size() == 1u);
    BOOST_TEST(got.front().line.event == "incident.recovered");
    BOOST_TEST((got.front().line.level == log_level::info));
    BOOST_TEST(got.front().line.action == "recovered");
    BOOST_TEST(got.front().line.endpoint == port(1));
    BOOST_TEST(got.front().line.failures == 385u);
    BOOST_TEST(got.front().line.error_message == "well again after 3 h 12 min: refused 385 times");
    log.succeed(success_at(port(1)));
    log.wait(day);
    BOOST_TEST(log.lines.size() == 0u);
}

BOOST_AUTO_TEST_CASE(a_success_that_ends_a_failure_is_itself_a_debug_record_and_else_as_it_was_given) {
    written_log log;
    auto opened = success_at(port(1));
    opened.event = "stream.opened";
    log.succeed(opened);
    check(log.told(), {"0 stream.opened "});
    log.fail(failure_at(port(1)));
    log.succeed(opened);
    check(log.told(), {"0 stream.interrupted refused", "0 incident.recovered refused"});
    BOOST_TEST(log.debug_lines == 1u);
}

BOOST_AUTO_TEST_CASE(changing_texts_write_no_more) {
    written_log log;
    log.fail(failure_at(port(1)));
    for (int n = 0; n < 50; ++n) {
        log.wait(seconds(1));
        auto record = failure_at(port(1));
        record.error_message = "from port " + std::to_string(40000 + n);
        log.fail(record);
    }
    BOOST_TEST(log.lines.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_further_class_is_written_at_once_and_alternating_ones_no_more) {
    written_log log;
    for (int n = 0; n < 25; ++n) {
        log.fail(failure_at(port(1), n % 2 == 0 ? "refused" : "timeout"));
        log.wait(seconds(1));
    }
    check(log.told(), {"0 stream.interrupted refused", "1 stream.interrupted timeout"});
    log.wait(seconds(60));
    BOOST_TEST(only_text(log) == "refused 13 times, timeout 12 times in 1 min, last: the text of refused");
}

BOOST_AUTO_TEST_CASE(not_every_of_very_many_classes_gets_a_line) {
    written_log log;
    for (int n = 0; n < 50; ++n)
        log.fail(failure_at("", "class" + std::to_string(n), "ses_1"));
    BOOST_TEST(log.lines.size() == 4u);
    log.wait(minutes(1));
    BOOST_TEST(log.lines.back().line.error_message == "other 19 times, class0 1 time, class1 1 time, class2 "
                                                      "1 time, others 28 times in 1 min, last: the text "
                                                      "of class49");
}

BOOST_AUTO_TEST_CASE(a_graver_record_is_written_at_once) {
    written_log log;
    log.fail(failure_at(port(1)));
    auto given_up = failure_at(port(1));
    given_up.level = log_level::error;
    given_up.event = "stream.gave_up";
    log.wait(seconds(1));
    log.fail(failure_at(port(1)));
    log.wait(seconds(1));
    log.fail(given_up);
    log.fail(given_up);
    log.fail(failure_at(port(1)));
    BOOST_TEST(log.lines.back().line.suppressed == 1u);
    check(log.told(), {"0 stream.interrupted refused", "2 stream.gave_up refused"});
}

BOOST_AUTO_TEST_CASE(after_a_quarter_of_an_hour_of_health_a_failure_is_a_new_incident) {
    for (const auto& [well_for, text] :
         {std::pair{minutes(15), "the text of refused"},
          {minutes(14), "refused 2 times in 15 min, last: the text of refused"}}) {
        written_log log;
        log.fail(failure_at(port(1)));
        log.succeed(success_at(port(1)));
        log.wait(well_for);
        log.news();
        log.fail(failure_at(port(1)));
        log.wait(minutes(1));
        BOOST_TEST(only_text(log) == text);
    }
}

BOOST_AUTO_TEST_CASE(who_is_woken_late_or_never_writes_the_first_line_of_a_new_incident_all_the_same) {
    written_log log;
    log.fail(failure_at(port(1)));
    log.succeed(success_at(port(1)));
    log.news();
    log.now += minutes(20);
    log.fail(failure_at(port(1)));
    check(log.told(), {"1200 stream.interrupted refused"});
}

// --- who fails

BOOST_AUTO_TEST_CASE(an_endpoint_fails_as_one_for_all_its_sessions_in_the_classes_that_are_its_own) {
    for (const char* cls : {"refused", "unreachable", "timeout", "dns", "tls"}) {
        written_log log;
        for (int n = 0; n < 1000; ++n)
            log.fail(failure_at(port(1), cls, "ses_" + std::to_string(n)));
        BOOST_TEST(log.lines.size() == 1u, cls);
        BOOST_TEST(log.incidents.subjects() == 1u);
    }
}

BOOST_AUTO_TEST_CASE(sessions_fail_each_for_itself_in_other_classes) {
    for (const char* cls :
         {"http_status", "cut", "stall", "protocol", "too_large", "throttled", "local", "X"}) {
        written_log log;
        log.fail(failure_at(port(1), cls, "ses_1"));
        log.fail(failure_at(port(1), cls, "ses_2"));
        BOOST_TEST(log.lines.size() == 2u, cls);
    }
}

BOOST_AUTO_TEST_CASE(who_fails_is_the_session_else_the_endpoint_else_the_tag) {
    written_log log;
    auto tagged = failure_at("", "cut");
    tagged.tag = "a tag";
    for (const auto& each : {failure_at(port(1), "cut", "ses_1"), failure_at(port(1), "cut"), tagged}) {
        log.fail(each);
        log.fail(each);
    }
    BOOST_TEST(log.incidents.subjects() == 3u);
    BOOST_TEST(log.lines.size() == 3u);
}

BOOST_AUTO_TEST_CASE(a_success_of_a_session_is_one_of_its_endpoint_but_not_of_its_neighbours) {
    written_log log;
    log.fail(failure_at(port(1), "refused"));
    log.fail(failure_at(port(1), "cut", "ses_1"));
    log.fail(failure_at(port(1), "cut", "ses_2"));
    log.news();
    log.succeed(success_at(port(1), "ses_1"));
    check(log.told(), {"0 incident.recovered refused", "0 incident.recovered cut"});
    log.succeed(success_at(port(1), "ses_2"));
    check(log.told(), {"0 incident.recovered cut"});
}

// --- many at once

BOOST_AUTO_TEST_CASE(that_an_endpoint_is_reached_ends_what_failed_of_it_and_no_stream_or_session_there) {
    written_log log;
    log.fail(failure_at(port(1)));
    log.fail(failure_at(port(1), "http_status"));
    log.fail(failure_at(port(1), "protocol", "ses_1"));
    log.fail(failure_at(port(2)));
    const auto told = log.lines.size();
    log.reach(port(1));
    log.reach(port(1));
    log.reach("http://never-failed.test:1");
    BOOST_TEST_REQUIRE(log.lines.size() == told + 1);
    const auto& end = log.lines.back().line;
    BOOST_TEST(end.event == "incident.recovered");
    BOOST_TEST(end.endpoint == port(1));
    BOOST_TEST(end.error_class == "refused");
}

BOOST_AUTO_TEST_CASE(when_more_than_three_fail_in_one_class_they_share_an_incident) {
    written_log log;
    for (std::size_t n = 1; n <= 1000; ++n)
        log.fail(failure_at(port(n)));
    BOOST_TEST(
        log.lines.back().line.error_message ==
        "4 endpoints fail: refused 4 times in 0 s; worst: http://p1.test:4096 (1), http://p2.test:4096 (1), "
        "http://p3.test:4096 (1)");
    check(log.told(), {"0 stream.interrupted refused", "0 stream.interrupted refused",
                       "0 stream.interrupted refused", "0 incident.shared refused"});
    BOOST_TEST(log.incidents.incidents() == 1u);
}

BOOST_AUTO_TEST_CASE(a_shared_line_names_the_worst_few_and_counts_all) {
    written_log log;
    for (std::size_t n = 1; n <= 10; ++n)
        for (std::size_t times = 0; times < n; ++times)
            log.fail(failure_at(port(n)));
    log.succeed(success_at(port(9)));
    log.succeed(success_at(port(1)));
    log.news();
    log.wait(minutes(1));
    const auto got = log.news();
    BOOST_TEST_REQUIRE(got.size() == 1u);
    BOOST_TEST(got.front().line.endpoint == "");
    BOOST_TEST(got.front().line.failures == 55u);
    BOOST_TEST(
        got.front().line.error_message ==
        "8 endpoints fail, 2 are well again: refused 55 times in 1 min; worst: http://p10.test:4096 (10), "
        "http://p8.test:4096 (8), http://p7.test:4096 (7)");
}

BOOST_AUTO_TEST_CASE(sessions_share_an_incident_as_endpoints_do) {
    written_log log;
    for (int n = 1; n <= 4; ++n)
        log.fail(failure_at(port(1), "http_status", "ses_" + std::to_string(n)));
    BOOST_TEST(log.lines.back().line.error_message ==
               "4 sessions fail: http_status 4 times in 0 s; worst: ses_1 (1), ses_2 (1), ses_3 (1)");
}

BOOST_AUTO_TEST_CASE(a_shared_incident_ends_when_its_last_member_is_well) {
    written_log log;
    for (std::size_t n = 1; n <= 100; ++n)
        log.fail(failure_at(port(n)));
    log.wait(minutes(50));
    log.news();
    for (std::size_t n = 1; n <= 99; ++n)
        log.succeed(success_at(port(n)));
    BOOST_TEST(log.lines.size() == 0u);
    log.succeed(success_at(port(100)));
    BOOST_TEST(only_text(log) == "well again after 50 min: refused 100 times");
    log.wait(day);
    BOOST_TEST(log.lines.size() == 0u);
    BOOST_TEST(log.incidents.incidents() == 0u);
}

BOOST_AUTO_TEST_CASE(a_shared_incident_began_with_the_first_of_its_members) {
    written_log log;
    for (std::size_t n = 1; n <= 4; ++n) {
        log.fail(failure_at(port(n)));
        log.wait(minutes(2));
    }
    BOOST_TEST(
        log.lines.back().line.error_message.starts_with("4 endpoints fail: refused 4 times in 6 min;"));
    BOOST_TEST(log.lines.back().line.suppressed == 1u);
}

BOOST_AUTO_TEST_CASE(what_its_members_had_not_told_yet_a_shared_incident_tells) {
    written_log log;
    for (std::size_t n = 1; n <= 4; ++n) {
        log.fail(failure_at(port(n)));
        log.fail(failure_at(port(n)));
    }
    BOOST_TEST(log.lines.back().line.event == "incident.shared");
    BOOST_TEST(log.lines.back().line.suppressed == 4u);
}

BOOST_AUTO_TEST_CASE(who_fails_alone_joins_those_who_share_the_class_of_its_next_failure) {
    written_log log;
    log.fail(failure_at("", "stall", "ses_0"));
    for (int n = 1; n <= 4; ++n)
        log.fail(failure_at("", "cut", "ses_" + std::to_string(n)));
    BOOST_TEST(log.incidents.incidents() == 2u);
    log.news();
    log.fail(failure_at("", "cut", "ses_0"));
    BOOST_TEST(log.lines.size() == 0u);
    BOOST_TEST(log.incidents.incidents() == 1u);
}

BOOST_AUTO_TEST_CASE(a_level_that_members_were_told_at_is_no_news_of_those_who_share) {
    written_log log;
    auto given_up = failure_at("");
    given_up.level = log_level::error;
    for (std::size_t n = 1; n <= 3; ++n) {
        given_up.endpoint = port(n);
        log.fail(given_up);
    }
    log.fail(failure_at(port(4)));
    log.news();
    given_up.endpoint = port(5);
    log.fail(given_up);
    BOOST_TEST(log.lines.size() == 0u);
}

BOOST_AUTO_TEST_CASE(who_joins_or_leaves_a_shared_incident_is_told_within_a_minute) {
    written_log log;
    for (std::size_t n = 1; n <= 10; ++n)
        log.fail(failure_at(port(n)));
    log.wait(minutes(100));
    log.news();
    log.fail(failure_at(port(11)));
    log.wait(minutes(1));
    BOOST_TEST(only_text(log).starts_with("11 endpoints fail: refused 11 times in 1 h 41 min;"));
    log.wait(minutes(15));
    log.succeed(success_at(port(1)));
    log.wait(minutes(1));
    BOOST_TEST(only_text(log).starts_with("10 endpoints fail, 1 is well again:"));
}

BOOST_AUTO_TEST_CASE(a_further_class_of_those_who_share_an_incident_is_told_within_a_minute) {
    written_log log;
    for (std::size_t n = 1; n <= 10; ++n)
        log.fail(failure_at(port(n)));
    log.wait(minutes(100));
    log.news();
    log.fail(failure_at(port(1), "timeout"));
    log.wait(minutes(1));
    BOOST_TEST(
        only_text(log).starts_with("10 endpoints fail: refused 10 times, timeout 1 time in 1 h 41 min;"));
}

BOOST_AUTO_TEST_CASE(endless_coming_and_going_is_told_ever_less_often) {
    written_log log;
    for (std::size_t n = 0; n < 20000; ++n) {
        log.fail(failure_at(port(n % 50)));
        log.wait(seconds(2));
        log.succeed(success_at(port((n + 25) % 50)));
        log.wait(seconds(2));
    }
    BOOST_TEST(log.lines.size() < 40u);
}

BOOST_AUTO_TEST_CASE(classes_that_alternate_over_many_write_one_line_more) {
    written_log log;
    for (int round = 0; round < 10; ++round)
        for (std::size_t n = 1; n <= 100; ++n)
            log.fail(
                failure_at(port(n), (n + static_cast<unsigned>(round)) % 2 == 0 ? "refused" : "timeout"));
    BOOST_TEST(log.lines.size() <= 10u);
    BOOST_TEST(log.incidents.incidents() == 2u);
}

BOOST_AUTO_TEST_CASE(hourly_summaries_are_one_line) {
    written_log log;
    std::vector<log_record> all{failure_at(port(1)), failure_at(port(1), "cut", "ses_1"),
                                failure_at(port(2), "dns")};
    for (int n = 0; n < 10 * 180; ++n) {
        log.fail(all[static_cast<std::size_t>(n) % 3]);
        log.wait(seconds(6));
    }
    std::size_t late = 0;
    for (const auto& each : log.lines)
        late += each.at > t0 + minutes(16) ? 1 : 0;
    BOOST_TEST(late == 2u);
    BOOST_TEST(log.lines.back().line.error_message ==
               "2 endpoints and 1 session fail: refused 450 times, cut 450 times, dns 450 times in 2 h 15 "
               "min; worst: "
               "http://p1.test:4096 (450), http://p2.test:4096 (450), ses_1 (450)");
}

// --- unsteady

BOOST_AUTO_TEST_CASE(a_failure_soon_after_the_recovery_must_last_a_minute_to_be_told) {
    written_log log;
    log.fail(failure_at(port(1)));
    log.wait(minutes(20));
    log.succeed(success_at(port(1)));
    log.wait(seconds(30));
    log.news();
    log.fail(failure_at(port(1)));
    log.wait(seconds(59));
    BOOST_TEST(log.lines.size() == 0u);
    log.wait(seconds(1));
    check(log.told(), {"1290 incident.continues refused"});
}

BOOST_AUTO_TEST_CASE(an_incident_that_was_steady_of_late_tells_its_end_at_once_again) {
    written_log log;
    log.fail(failure_at(port(1)));
    log.succeed(success_at(port(1)));
    log.fail(failure_at(port(1)));
    log.wait(minutes(14));
    log.news();
    log.succeed(success_at(port(1)));
    BOOST_TEST(log.lines.size() == 0u);
    log.fail(failure_at(port(1)));
    log.wait(minutes(15));
    log.news();
    log.succeed(success_at(port(1)));
    check(log.told(), {"1740 incident.recovered refused"});
}

BOOST_AUTO_TEST_CASE(whatever_its_period_an_endpoint_that_fails_and_recovers_by_turns_writes_few_lines) {
    for (const auto& period :
         {seconds(1), seconds(10), seconds(61), seconds(130), seconds(301), seconds(1000)}) {
        written_log log;
        for (auto at = t0; at < t0 + day; at += 2 * period) {
            log.fail(failure_at(port(1)));
            log.wait(period);
            log.succeed(success_at(port(1)));
            log.wait(period);
        }
        BOOST_TEST(log.lines.size() <= 90u, period.count() << " s: " << log.lines.size());
    }
}

BOOST_AUTO_TEST_CASE(what_failed_shortly_after_a_recovery_is_told_at_last) {
    written_log log;
    log.fail(failure_at(port(1)));
    log.wait(minutes(30));
    log.succeed(success_at(port(1)));
    log.wait(seconds(10));
    log.fail(failure_at(port(1)));
    log.wait(seconds(1));
    log.succeed(success_at(port(1)));
    log.news();
    log.wait(minutes(60));
    BOOST_TEST(only_text(log) == "well again after 30 min 11 s: refused 2 times");
    log.wait(seconds(1));
    BOOST_TEST(log.incidents.incidents() == 0u);
}

// --- its end without health

BOOST_AUTO_TEST_CASE(what_is_left_ends_without_being_well) {
    written_log log;
    log.fail(failure_at(port(1)));
    log.fail(failure_at(port(1), "early_end"));
    log.fail(failure_at(port(1), "cut", "ses_1"));
    log.wait(seconds(1));
    log.news();
    log.leave(success_at(port(1), "ses_1"));
    auto got = log.news();
    BOOST_TEST_REQUIRE(got.size() == 1u);
    BOOST_TEST(got[0].line.session == "ses_1");
    BOOST_TEST(got[0].line.action == "left");
    BOOST_TEST(got[0].line.error_message == "no longer asked, after 1 s: cut 1 time");
    log.leave(success_at(port(1)));
    got = log.news();
    BOOST_TEST_REQUIRE(got.size() == 2u);
    for (const auto& each : got)
        BOOST_TEST(each.line.action == "left");
}

BOOST_AUTO_TEST_CASE(what_is_not_heard_of_for_two_hours_counts_as_left) {
    written_log log;
    log.fail(failure_at(port(1)));
    log.wait(minutes(120) - seconds(1));
    BOOST_TEST(log.lines.size() == 1u);
    log.news();
    log.wait(seconds(1));
    BOOST_TEST(log.lines.back().line.action == "left");
    check(log.told(), {"7200 incident.recovered refused"});
    log.wait(minutes(16));
    BOOST_TEST(log.incidents.subjects() == 0u);
    BOOST_TEST((log.incidents.due() == time_point::max()));
}

// --- the limit of lines

BOOST_AUTO_TEST_CASE(in_no_second_are_there_more_than_twenty_lines_and_what_is_dropped_is_counted) {
    for (const int gap_us : {0, 1, 100, 1000, 20000, 60000}) {
        written_log log;
        std::size_t given = 0;
        for (; log.now < t0 + seconds(10) && given < 5000; ++given) {
            log.note(plain("turn.settled"));
            log.wait(std::chrono::microseconds(gap_us));
        }
        log.wait(seconds(5));
        std::size_t dropped = 0;
        std::size_t written = 0;
        auto told_of_dropped = t0;
        for (std::size_t n = 0; n < log.lines.size(); ++n) {
            const auto& each = log.lines[n];
            if (each.line.event == "log.dropped") {
                dropped += each.line.suppressed;
                BOOST_TEST((each.at - std::exchange(told_of_dropped, each.at) >= seconds(1)));
                BOOST_TEST(each.line.error_message ==
                           std::to_string(each.line.suppressed) + " lines dropped, more than 20 in a second");
            } else {
                ++written;
            }
            if (n >= 20)
                BOOST_TEST_REQUIRE((each.at - log.lines[n - 20].at >= seconds(1)));
        }
        BOOST_TEST(written + dropped == given, gap_us);
        BOOST_TEST((dropped > 0) == (gap_us < 50000));
    }
}

BOOST_AUTO_TEST_CASE(the_count_of_the_dropped_is_one_line_a_second) {
    written_log log;
    for (int n = 0; n < 30; ++n)
        log.note(plain("turn.settled"));
    BOOST_TEST(log.lines.size() == 20u);
    log.news();
    log.wait(seconds(1));
    check(log.told(), {"1 log.dropped "});
    log.wait(day);
    BOOST_TEST(log.lines.size() == 0u);
}

BOOST_AUTO_TEST_CASE(a_line_of_an_incident_is_late_rather_than_dropped) {
    written_log log;
    for (int n = 0; n < 20; ++n)
        log.note(plain("turn.settled"));
    log.fail(failure_at(port(1)));
    log.news();
    log.wait(seconds(1));
    check(log.told(), {"1 stream.interrupted refused"});
    BOOST_TEST(log.debug_lines == 1u);
}

BOOST_AUTO_TEST_CASE(debug_records_take_nobodys_place_and_have_a_limit_of_their_own) {
    incident_limits limits;
    limits.debug_lines_per_second = 50;
    written_log log(limits);
    for (int n = 0; n < 1000; ++n)
        log.note(plain("detail", log_level::debug));
    BOOST_TEST(log.debug_lines == 50u);
    log.note(plain("turn.settled"));
    BOOST_TEST(log.lines.size() == 1u);
    log.wait(seconds(1));
    BOOST_TEST(log.debug_lines == 51u);
}

BOOST_AUTO_TEST_CASE(without_a_limit_all_is_written) {
    incident_limits limits;
    limits.lines_per_second = 0;
    written_log log(limits);
    for (int n = 0; n < 1000; ++n)
        log.note(plain("turn.settled"));
    BOOST_TEST(log.lines.size() == 1000u);
}

// --- memory

BOOST_AUTO_TEST_CASE(no_more_are_told_apart_than_set_and_the_others_write_nothing) {
    incident_limits limits;
    limits.subjects = 100;
    written_log log(limits);
    for (int round = 0; round < 20; ++round)
        for (std::size_t n = 0; n < 500; ++n)
            log.fail(failure_at(port(n)));
    BOOST_TEST(log.incidents.subjects() == 100u);
    BOOST_TEST(log.incidents.incidents() == 1u);
    BOOST_TEST(log.lines.size() == 4u);
    for (std::size_t n = 0; n < 500; ++n)
        log.succeed(success_at(port(n)));
    BOOST_TEST(log.lines.back().line.event == "incident.recovered");
}

BOOST_AUTO_TEST_CASE(one_that_fails_alone_in_its_class_is_not_forgotten_for_the_many) {
    incident_limits limits;
    limits.subjects = 100;
    written_log log(limits);
    log.fail(failure_at("", "cut", "ses_1"));
    for (std::size_t n = 0; n < 500; ++n)
        log.fail(failure_at(port(n)));
    log.wait(seconds(1));
    log.news();
    log.fail(failure_at("", "cut", "ses_1"));
    BOOST_TEST(log.lines.size() == 0u);
}

BOOST_AUTO_TEST_CASE(where_only_one_has_room_it_is_the_newest) {
    incident_limits limits;
    limits.subjects = 1;
    written_log log(limits);
    for (std::size_t n = 0; n < 10; ++n)
        log.fail(failure_at(port(n)));
    BOOST_TEST(log.incidents.subjects() == 1u);
    BOOST_TEST(log.incidents.incidents() == 1u);
}

BOOST_AUTO_TEST_CASE(classes_beyond_count_are_others) {
    written_log log;
    for (int n = 0; n < 1000; ++n)
        log.fail(failure_at("", "class" + std::to_string(n), "ses_" + std::to_string(n)));
    BOOST_TEST(log.incidents.incidents() <= 32u);
}

BOOST_AUTO_TEST_CASE(a_log_that_is_moved_goes_on_where_it_was) {
    incident_log first;
    BOOST_TEST(first.trouble(failure_at(port(1)), t0).size() == 1u);
    incident_log second(std::move(first));
    BOOST_TEST(second.subjects() == 1u);
    incident_log third;
    third = std::move(second);
    BOOST_TEST(third.subjects() == 1u);
    BOOST_TEST(to_string(third.trouble(failure_at(port(1)), t0).front().level) == "debug"); // a repeat
}

BOOST_AUTO_TEST_CASE(a_level_has_a_name) {
    const std::vector<std::pair<log_level, std::string>> names{{log_level::debug, "debug"},
                                                               {log_level::info, "info"},
                                                               {log_level::warn, "warn"},
                                                               {log_level::error, "error"},
                                                               {static_cast<log_level>(99), "?"}};
    for (const auto& [level, name] : names)
        BOOST_TEST(to_string(level) == name);
}

BOOST_AUTO_TEST_CASE(of_each_text_so_much_is_kept) {
    written_log log;
    auto record = failure_at(port(1));
    record.error_message = std::string(5000, 'x');
    log.fail(record);
    BOOST_TEST(log.lines.back().line.error_message.size() <= 256u);
    log.fail(record);
    log.wait(minutes(1));
    BOOST_TEST(log.lines.back().line.error_message.size() < 400u);
}

// --- a day

namespace {

/// How runs on dead ports are tried again: after at most a minute, or ever less often.
duration each_minute(duration) {
    return minutes(1);
}
duration stretched(duration age) {
    return std::clamp<duration>(age, seconds(20), minutes(20));
}

/// Runs whose server is down, and which report each failure for themselves.
struct dead_ports {
    std::size_t runs = 0;
    std::size_t ports = 0;
    duration (*delay_at)(duration age) = each_minute;
    std::string (*cls)(std::size_t run, std::size_t attempt) = nullptr;

    /// A day of it, then all are well.
    written_log day_of() const {
        written_log log;
        std::mt19937_64 random(1);
        std::set<std::pair<time_point, std::size_t>> turns;
        std::vector<std::size_t> attempts(runs, 0);
        for (std::size_t run = 0; run < runs; ++run)
            turns.emplace(t0 + milliseconds(random() % 5000), run);
        while (turns.begin()->first < t0 + day) {
            const auto [at, run] = *turns.begin();
            turns.erase(turns.begin());
            log.until(at);
            auto record =
                failure_at(port(run % ports), cls(run, attempts[run]++), "ses_" + std::to_string(run));
            record.error_message = "connect from port " + std::to_string(random() % 60000);
            log.fail(record);
            turns.emplace(at + delay_at(at - t0) - milliseconds(random() % 2000), run);
        }
        log.until(t0 + day);
        for (std::size_t run = 0; run < runs; ++run)
            log.succeed(success_at(port(run % ports), "ses_" + std::to_string(run)));
        log.wait(minutes(60));
        return log;
    }
};

std::string refused(std::size_t, std::size_t) {
    return "refused";
}

std::string alternating(std::size_t run, std::size_t attempt) {
    return (run + attempt) % 2 == 0 ? "refused" : "cut";
}

std::string of_ten_classes(std::size_t run, std::size_t attempt) {
    static const std::vector<std::string> all{"refused", "unreachable", "timeout", "dns",   "tls",
                                              "stall",   "http_status", "cut",     "local", "protocol"};
    return all[(run * 7 + attempt * 3) % all.size()];
}

} // namespace

namespace {

// As many as the name of the case says where that is quick.
#ifdef __OPTIMIZE__
constexpr std::size_t many = 1000;
#else
constexpr std::size_t many = 200;
#endif

} // namespace

BOOST_AUTO_TEST_CASE(a_day_of_a_thousand_runs_on_dead_ports_stays_quiet) {
    struct row {
        const char* what;
        dead_ports ports;
        std::size_t at_most;
    };
    for (const auto& each : {
             row{"one port", {many, 1, stretched, refused}, 40},
             row{"one port, alternating", {many, 1, stretched, alternating}, 40},
             row{"a thousand ports", {many, many, stretched, refused}, 60},
             row{"a thousand ports, alternating", {many, many, stretched, alternating}, 60},
             row{"one port, each minute", {50, 1, each_minute, refused}, 40},
             row{"one port, each minute, alternating", {50, 1, each_minute, alternating}, 40},
             row{"three ports", {3, 3, each_minute, refused}, 60},
             row{"fifty ports", {50, 50, each_minute, refused}, 60},
             row{"fifty ports, alternating", {50, 50, each_minute, alternating}, 60},
             row{"one port, ten classes", {many, 1, stretched, of_ten_classes}, 80},
             row{"a thousand ports, ten classes", {many, many, stretched, of_ten_classes}, 80},
         }) {
        const auto log = each.ports.day_of();
        BOOST_TEST_MESSAGE(each.what << ": " << log.lines.size() << " lines");
        BOOST_TEST(log.lines.size() <= each.at_most, each.what << ": " << log.lines.size());
        BOOST_TEST(log.lines.back().line.event == "incident.recovered");
        BOOST_TEST(log.incidents.incidents() == 0u);
    }
}

// Any mixture of failures, successes, departures and plain records.
BOOST_AUTO_TEST_CASE(every_failure_is_written_or_counted_once_and_all_is_forgotten_in_the_end) {
    for (std::uint64_t seed = 0; seed < 25; ++seed) {
        std::mt19937_64 random(seed);
        const auto draw = [&](std::size_t n) {
            return static_cast<std::size_t>(random() % n);
        };
        written_log log;
        const std::size_t ports = 1 + draw(60);
        const std::size_t slowness = 1 + draw(60000);
        std::size_t failures = 0;
        std::size_t plain_lines = 0;
        const std::vector<std::string> classes{"refused", "timeout", "cut", "http_status"};
        for (int step = 0; step < 3000; ++step) {
            const auto n = draw(ports);
            const auto session = draw(2) == 0 ? "ses_" + std::to_string(n) : std::string();
            switch (draw(8)) {
            case 0: log.succeed(success_at(port(n), session)); break;
            case 1:
                if (draw(10) == 0)
                    log.leave(success_at(port(n), session));
                break;
            case 2:
                log.note(plain("turn.settled"));
                ++plain_lines;
                break;
            default: log.fail(failure_at(port(n), classes[draw(classes.size())], session)); ++failures;
            }
            log.wait(milliseconds(draw(slowness)));
        }
        log.wait(minutes(240));
        BOOST_TEST(log.incidents.subjects() == 0u, seed);
        BOOST_TEST(log.incidents.incidents() == 0u, seed);
        std::size_t told = 0;
        for (const auto& each : log.lines) {
            const bool record = each.line.event == "stream.interrupted" || each.line.event == "turn.settled";
            told += each.line.suppressed + (record ? 1 : 0);
        }
        BOOST_TEST(told == failures + plain_lines, seed);
    }
}
