#include <boost/test/unit_test.hpp>

#include <holdfast/retry/failure.hpp>

#include <boost/system/system_error.hpp>

#include <set>
#include <string>
#include <vector>

using namespace holdfast;
using namespace holdfast::retry;

namespace {

enum class blame { endpoint, nobody, alive };

struct code_case {
    errc code;
    failure_class cls;
    bool final;
    blame tells;
};

using c = failure_class;
const std::vector<code_case> code_cases{
    {errc::refused, c::refused, false, blame::endpoint},
    {errc::unreachable, c::unreachable, false, blame::endpoint},
    {errc::connect_timeout, c::timeout, false, blame::endpoint},
    {errc::header_timeout, c::timeout, false, blame::endpoint},
    {errc::exchange_timeout, c::timeout, false, blame::nobody},
    {errc::name_not_found, c::dns, false, blame::endpoint},
    {errc::name_timeout, c::dns, false, blame::endpoint},
    {errc::tls_failed, c::tls, false, blame::endpoint},
    {errc::tls_timeout, c::timeout, false, blame::endpoint},
    {errc::local, c::local, false, blame::nobody},
    {errc::bad_status, c::http_status, true, blame::alive},
    {errc::throttled, c::throttled, false, blame::alive},
    {errc::no_content, c::http_status, true, blame::alive},
    {errc::compressed, c::content_type, true, blame::alive},
    {errc::bad_content_type, c::content_type, true, blame::alive},
    {errc::early_end, c::early_end, false, blame::alive},
    {errc::ended, c::ended, false, blame::alive},
    {errc::cut, c::cut, false, blame::nobody},
    {errc::stalled, c::stall, false, blame::alive},
    {errc::no_greeting, c::timeout, false, blame::alive},
    {errc::malformed, c::protocol, false, blame::alive},
    {errc::header_too_large, c::too_large, true, blame::alive},
    {errc::body_too_large, c::too_large, true, blame::alive},
    {errc::line_too_long, c::too_large, true, blame::alive},
    {errc::event_too_large, c::too_large, true, blame::alive},
    {errc::too_many_lines, c::too_large, true, blame::alive},
    {errc::id_too_long, c::too_large, true, blame::alive},
    {errc::error_event, c::protocol, false, blame::alive},
    {errc::invalid_url, c::local, true, blame::nobody},
    {errc::unsupported_scheme, c::local, true, blame::nobody},
    {errc::invalid_request, c::local, true, blame::nobody},
    {errc::not_opencode, c::protocol, true, blame::alive},
    {errc::another_server, c::protocol, false, blame::alive},
    {errc::unsupported_version, c::protocol, true, blame::alive},
    {errc::bad_json, c::protocol, true, blame::alive},
    {errc::missing_field, c::protocol, true, blame::alive},
    {errc::not_found, c::http_status, true, blame::alive},
    {errc::gave_up, c::local, true, blame::nobody},
    {errc::closed, c::local, true, blame::nobody},
    {errc::gone, c::local, true, blame::nobody},
    {errc::decided, c::local, true, blame::nobody},
};

struct status_case {
    int status;
    bool retry_after;
    failure_class cls;
    errc code;
    bool final;
    blame tells;
};

const std::vector<status_case> status_cases{
    {204, false, c::http_status, errc::no_content, true, blame::alive},
    {206, false, c::http_status, errc::bad_status, true, blame::alive},
    {302, false, c::http_status, errc::bad_status, true, blame::alive},
    {400, false, c::http_status, errc::bad_status, true, blame::alive},
    {401, false, c::http_status, errc::bad_status, true, blame::alive},
    {403, true, c::http_status, errc::bad_status, true, blame::alive},
    {404, false, c::http_status, errc::bad_status, true, blame::alive},
    {408, false, c::http_status, errc::bad_status, false, blame::alive},
    {418, false, c::http_status, errc::bad_status, true, blame::alive},
    {499, false, c::http_status, errc::bad_status, true, blame::alive},
    {425, false, c::http_status, errc::bad_status, false, blame::alive},
    {429, false, c::throttled, errc::throttled, false, blame::alive},
    {429, true, c::throttled, errc::throttled, false, blame::alive},
    {500, false, c::http_status, errc::bad_status, false, blame::alive},
    {500, true, c::http_status, errc::bad_status, false, blame::alive},
    {501, false, c::http_status, errc::bad_status, false, blame::alive},
    {502, false, c::http_status, errc::bad_status, false, blame::endpoint},
    {503, false, c::http_status, errc::bad_status, false, blame::endpoint},
    {503, true, c::throttled, errc::throttled, false, blame::endpoint},
    {504, true, c::http_status, errc::bad_status, false, blame::endpoint},
};

void check(const failure& f, failure_class cls, bool final, blame tells) {
    BOOST_TEST(to_string(f.cls) == to_string(cls));
    BOOST_TEST(is_final(f) == final);
    BOOST_TEST(blames_endpoint(f) == (tells == blame::endpoint));
    BOOST_TEST(shows_endpoint_alive(f) == (tells == blame::alive));
}

} // namespace

BOOST_AUTO_TEST_CASE(the_table_of_codes_has_every_code) {
    std::set<int> listed;
    for (const auto& each : code_cases)
        listed.insert(static_cast<int>(each.code));
    const std::string unknown = category().message(0);
    for (int value = 1; category().message(value) != unknown; ++value)
        BOOST_TEST(listed.contains(value), "no case for code " << value);
}

BOOST_AUTO_TEST_CASE(every_code_has_its_class_and_its_judgement) {
    for (const auto& each : code_cases) {
        BOOST_TEST_CONTEXT(error_code(each.code).message()) {
            check(make_failure(each.code), each.cls, each.final, each.tells);
        }
    }
}

BOOST_AUTO_TEST_CASE(every_status_has_its_class_and_its_judgement) {
    for (const auto& each : status_cases) {
        BOOST_TEST_CONTEXT("status " << each.status << ", Retry-After " << each.retry_after) {
            const auto asked = each.retry_after ? std::optional<duration>(seconds(7)) : std::nullopt;
            const failure f = make_status_failure(each.status, "the body", asked);
            check(f, each.cls, each.final, each.tells);
            BOOST_TEST((f.code == each.code));
            BOOST_TEST(f.status == each.status);
            BOOST_TEST(f.body == "the body");
            BOOST_TEST((f.retry_after == asked));
            BOOST_TEST(f.connected);
            BOOST_TEST(f.message.find(std::to_string(each.status)) != std::string::npos);
        }
    }
}

BOOST_AUTO_TEST_CASE(an_exchange_that_times_out_after_its_status_shows_the_endpoint_alive) {
    failure f = make_failure(errc::exchange_timeout, {}, true);
    f.status = 200;
    BOOST_TEST(shows_endpoint_alive(f));
}

BOOST_AUTO_TEST_CASE(a_header_timeout_blames_the_endpoint_only_where_an_answer_was_due) {
    failure f = make_failure(errc::header_timeout, {}, true);
    check(f, failure_class::timeout, false, blame::endpoint);
    f.answer_was_due = false;
    check(f, failure_class::timeout, false, blame::nobody);
    // Of another failure it says nothing.
    for (const auto& each : code_cases) {
        failure other = make_failure(each.code);
        other.answer_was_due = false;
        if (each.code != errc::header_timeout)
            check(other, each.cls, each.final, each.tells);
    }
}

BOOST_AUTO_TEST_CASE(a_cut_tells_nothing_about_the_endpoint_even_after_a_status) {
    failure f = make_failure(errc::cut, {}, true);
    f.status = 200;
    BOOST_TEST(!shows_endpoint_alive(f));
    BOOST_TEST(!blames_endpoint(f));
}

BOOST_AUTO_TEST_CASE(a_foreign_code_is_local_and_transient) {
    failure f;
    f.code = boost::system::errc::make_error_code(boost::system::errc::too_many_files_open);
    f.cls = classify(f.code);
    check(f, failure_class::local, false, blame::nobody);
}

BOOST_AUTO_TEST_CASE(a_negative_retry_after_counts_as_zero) {
    BOOST_TEST((make_status_failure(429, "", seconds(-3)).retry_after == duration::zero()));
}

BOOST_AUTO_TEST_CASE(a_failure_keeps_only_the_first_4_kib_of_a_body) {
    std::string body(max_failure_body, 'a');
    BOOST_TEST(make_status_failure(500, body + "b", {}).body == body);
}

BOOST_AUTO_TEST_CASE(a_message_is_the_codes_with_the_detail_behind_it) {
    BOOST_TEST(make_failure(errc::cut).message == error_code(errc::cut).message());
    BOOST_TEST(make_failure(errc::cut, "in the head", true).message ==
               error_code(errc::cut).message() + ": in the head");
    BOOST_TEST(make_failure(errc::cut, "in the head", true).connected);
    BOOST_TEST(!make_failure(errc::cut).connected);
}

BOOST_AUTO_TEST_CASE(classes_have_the_names_of_their_enumerators) {
    const std::vector<std::string_view> names{"refused",   "unreachable", "timeout",   "dns",
                                              "tls",       "http_status", "throttled", "content_type",
                                              "early_end", "ended",       "cut",       "stall",
                                              "protocol",  "too_large",   "local"};
    for (std::size_t i = 0; i < names.size(); ++i)
        BOOST_TEST(to_string(static_cast<failure_class>(i)) == names[i]);
}

BOOST_AUTO_TEST_CASE(asking_a_failed_result_for_its_value_throws_its_code) {
    const result<int> failed = make_failure(errc::gone);
    BOOST_CHECK_EXCEPTION((void)failed.value(), boost::system::system_error,
                          [](const auto& e) { return e.code() == errc::gone; });
}

BOOST_AUTO_TEST_CASE(what_is_no_code_and_no_class_is_still_named_and_judged) {
    BOOST_TEST(to_string(static_cast<failure_class>(99)) == "unknown");
    const error_code none(9999, category());
    BOOST_TEST((classify(none) == failure_class::local));
    BOOST_TEST(none.message() == "unknown holdfast error");
}

BOOST_AUTO_TEST_CASE(the_conditions_say_what_they_mean) {
    const auto transient = make_error_condition(condition::transient);
    const auto permanent = make_error_condition(condition::permanent);
    BOOST_TEST(transient.message().find("again later") != std::string::npos);
    BOOST_TEST(permanent.message().find("will not help") != std::string::npos);
    BOOST_TEST(std::string(transient.category().name()) == "holdfast.condition");
    BOOST_TEST(std::string(category().name()) == "holdfast");
}
