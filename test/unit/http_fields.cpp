#include <boost/test/unit_test.hpp>

#include <holdfast/http/fields.hpp>

#include <optional>
#include <string>
#include <vector>

using namespace holdfast;
using http::is_media_type;
using http::parse_retry_after;

namespace {

// Sun, 06 Nov 1994 08:49:37 GMT
const wall_time now{seconds(784111777)};

std::optional<long long> waits(std::string_view value, wall_time at = now) {
    const auto wait = parse_retry_after(value, at);
    return wait ? std::optional(to_ms(*wait)) : std::nullopt;
}

} // namespace

BOOST_AUTO_TEST_CASE(retry_after_in_seconds) {
    BOOST_TEST((waits("0") == 0));
    BOOST_TEST((waits("120") == 120000));
    BOOST_TEST((waits(" \t7 ") == 7000));
    BOOST_TEST((waits("007") == 7000));
}

BOOST_AUTO_TEST_CASE(seconds_beyond_all_bounds_are_the_longest_wait) {
    for (const auto text :
         {"9223372037", "9223372036854775807", "9223372036854775808", "99999999999999999999999999"})
        BOOST_TEST((parse_retry_after(text, now) == duration::max()), text);
}

BOOST_AUTO_TEST_CASE(retry_after_as_a_date_in_any_of_its_three_forms) {
    for (const auto text :
         {"Sun, 06 Nov 1994 08:50:37 GMT", "Sunday, 06-Nov-94 08:50:37 GMT", "Sun Nov  6 08:50:37 1994"})
        BOOST_TEST((waits(text) == 60000), text);
    BOOST_TEST((waits("Wed Nov 16 08:49:37 1994") == 10 * 24 * 3600 * 1000LL));
    BOOST_TEST((waits("Sun, 06 Nov 1994 08:49:60 GMT") == 23000));
}

BOOST_AUTO_TEST_CASE(a_date_in_the_past_is_no_wait) {
    BOOST_TEST((waits("Sun, 06 Nov 1994 08:49:37 GMT") == 0));
    BOOST_TEST((waits("Sat, 05 Nov 1994 08:49:37 GMT") == 0));
    BOOST_TEST((waits("Thu, 01 Jan 1970 00:00:00 GMT") == 0));
}

BOOST_AUTO_TEST_CASE(a_date_beyond_all_bounds_is_the_longest_wait) {
    BOOST_TEST((parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", now) == duration::max()));
}

BOOST_AUTO_TEST_CASE(two_digits_of_a_year_mean_at_most_50_years_ahead) {
    BOOST_TEST((waits("Sunday, 06-Nov-44 08:49:37 GMT").value() > 0));
    BOOST_TEST((waits("Monday, 06-Nov-45 08:49:37 GMT") == 0));
}

BOOST_AUTO_TEST_CASE(a_fraction_of_a_second_does_not_shorten_the_wait) {
    BOOST_TEST((waits("Sun, 06 Nov 1994 08:50:37 GMT", now + milliseconds(999)) == 60000));
}

BOOST_AUTO_TEST_CASE(a_fraction_of_seconds_is_rounded_up) {
    BOOST_TEST((waits("2.6") == 3000));
    BOOST_TEST((waits("2.0") == 2000));
    BOOST_TEST((waits("2.") == 2000));
    BOOST_TEST((waits(" 2.000000000000000000000000001 ") == 3000));
    BOOST_TEST((waits(".5") == 1000));
    BOOST_TEST((waits("0.0") == 0));
    BOOST_TEST((parse_retry_after("99999999999999999999.5", now) == duration::max()));
    BOOST_TEST((parse_retry_after("9223372036.9", now) == duration::max()));
    for (const auto text : {".", "1.2.3", "..", "1. 5", "-1.5", "1.5s", "1.-5", "1,5", "1e3", "1.5e1"})
        BOOST_TEST(!waits(text), text);
}

BOOST_AUTO_TEST_CASE(a_wait_is_taken_from_the_most_exact_field_that_means_one) {
    using fields = std::vector<header>;
    struct row {
        fields given;
        std::optional<long long> ms;
    };
    for (const row& each : std::vector<row>{
             {{}, std::nullopt},
             {{{"Retry-After", "7"}}, 7000},
             {{{"retry-after-ms", "400"}}, 400},
             {{{"Retry-After-Ms", "400.2"}}, 401},
             {{{"x-ms-retry-after-ms", "250"}}, 250},
             {{{"Retry-After", "7"}, {"retry-after-ms", "400"}}, 400},
             {{{"Retry-After", "7"}, {"retry-after-ms", "soon"}}, 7000},
             {{{"Retry-After", "7"}, {"retry-after-ms", ""}}, 7000},
             {{{"Retry-After", "soon"}, {"retry-after-ms", "-1"}}, std::nullopt},
             {{{"X-RateLimit-Reset-After", "7"}}, std::nullopt},
             {{{"retry-after-ms", "0"}, {"Retry-After", "9"}}, 0},
         }) {
        const auto wait = http::retry_wait(each.given, now);
        BOOST_TEST(((wait ? std::optional(to_ms(*wait)) : std::nullopt) == each.ms), each.given.size());
    }
    const fields endless{{"retry-after-ms", "9223372036855"}};
    BOOST_TEST((http::retry_wait(endless, now) == duration::max()));
}

BOOST_AUTO_TEST_CASE(anything_else_is_ignored) {
    for (const std::string& text : std::vector<std::string>{"",
                                                            " ",
                                                            "-1",
                                                            "+1",
                                                            "1s",
                                                            "0x10",
                                                            "1 2",
                                                            "1,2",
                                                            "soon",
                                                            "Sun, 06 Nov 1994 08:49:37",
                                                            "Sun, 06 Nov 1994 08:49:37 UTC",
                                                            "Sun, 06 Nov 1994 08:49:37 GMT x",
                                                            "Sun, 6 Nov 1994 08:49:37 GMT",
                                                            "Sun, 06 nov 1994 08:49:37 GMT",
                                                            "Sun, 00 Nov 1994 08:49:37 GMT",
                                                            "Sun, 31 Nov 1994 08:49:37 GMT",
                                                            "Sun, 06 Nov 1994 24:49:37 GMT",
                                                            "Sun, 06 Nov 1994 08:60:37 GMT",
                                                            "Sun, 06 Nov 1994 08:49:61 GMT",
                                                            "Xxx, 06 Nov 1994 08:49:37 GMT",
                                                            "Sun 06 Nov 1994 08:49:37 GMT",
                                                            "Sun Nov 6 08:49:37 1994",
                                                            "Sunday, 06-Nov-1994 08:49:37 GMT",
                                                            "1994-11-06T08:49:37Z",
                                                            std::string("1\0", 2)})
        BOOST_TEST(!waits(text), text);
}

BOOST_AUTO_TEST_CASE(every_beginning_of_a_date_is_ignored) {
    for (const std::string_view whole :
         {"Sun, 06 Nov 1994 08:50:37 GMT", "Sunday, 06-Nov-94 08:50:37 GMT", "Sun Nov  6 08:50:37 1994"}) {
        for (std::size_t n = 0; n < whole.size(); ++n)
            BOOST_TEST(!waits(whole.substr(0, n)), whole.substr(0, n));
    }
}

BOOST_AUTO_TEST_CASE(a_body_is_read_only_as_it_was_asked_for) {
    struct row {
        const char *name, *value, *why; // none: it is read
    };
    for (const row& each : std::vector<row>{
             {"Content-Encoding", "", nullptr},
             {"Content-Encoding", "identity", nullptr},
             {"content-encoding", "IDENTITY , identity", nullptr},
             {"Content-Encoding", "gzip", "Content-Encoding: gzip"},
             {"content-encoding", "BR", "content-encoding: BR"},
             {"Content-Encoding", "identity, ,deflate,gzip", "Content-Encoding: deflate"},
             {"Content-Encoding", "chunked", nullptr},
             {"Transfer-Encoding", "g\x1b[1mz", "Transfer-Encoding: g?[1mz"},
             {"Transfer-Encoding", "chunked", nullptr},
             {"Transfer-Encoding", "Chunked", nullptr},
             {"Transfer-Encoding", "gzip, chunked", "Transfer-Encoding: gzip"},
             {"X-Content-Encoding", "gzip", nullptr},
         }) {
        const auto refused =
            http::refuse_compressed({{"Content-Type", "text/event-stream"}, {each.name, each.value}});
        BOOST_TEST(refused.has_value() == (each.why != nullptr), each.name << ": " << each.value);
        if (!refused || !each.why)
            continue;
        BOOST_TEST(refused->message ==
                   "the answer is compressed, which nothing here undoes: " + std::string(each.why));
        BOOST_TEST(refused->code == error_code(errc::compressed));
        BOOST_TEST((refused->cls == failure_class::content_type));
        BOOST_TEST(retry::is_final(*refused));
        BOOST_TEST(refused->connected);
    }
    BOOST_TEST(!http::refuse_compressed({}).has_value());
    BOOST_TEST(http::refuse_compressed({{"Content-Encoding", "identity"}, {"Content-Encoding", "gzip"}})
                   .has_value());
}

BOOST_AUTO_TEST_CASE(a_refused_coding_is_shown_cut) {
    const auto refused = http::refuse_compressed({{"Transfer-Encoding", std::string(5000, 'x')}});
    BOOST_TEST_REQUIRE(refused.has_value());
    BOOST_TEST(refused->message.size() < 200u);
}

BOOST_AUTO_TEST_CASE(what_is_no_compression_in_a_content_encoding_changes_nothing) {
    for (const char* coding :
         {"none", "utf-8", "UTF-8", "chunked", "text/event-stream", "aws-chunked", "binary", "8bit"})
        BOOST_TEST(!http::refuse_compressed({{"Content-Encoding", coding}}).has_value(), coding);
    for (const char* coding :
         {"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "none, GZIP", "br,none"})
        BOOST_TEST(http::refuse_compressed({{"Content-Encoding", coding}}).has_value(), coding);
    BOOST_TEST(
        http::refuse_compressed({{"Content-Encoding", "none"}, {"content-encoding", "zstd"}}).has_value());
}

BOOST_AUTO_TEST_CASE(a_date_that_a_wall_time_does_not_reach_is_none) {
    const wall_time now{};
    const auto day = http::parse_date("Thu, 01 Jan 1970 00:00:10 GMT", now);
    BOOST_TEST_REQUIRE(day.has_value());
    BOOST_TEST((*day == wall_time(seconds(10))));
    BOOST_TEST(http::parse_date("Fri, 11 Apr 2262 00:00:00 GMT", now).has_value());
    for (const char* far :
         {"Fri, 31 Dec 9999 23:59:59 GMT", "Sat, 12 Apr 2262 00:00:00 GMT", "Sat, 01 Jan 1600 00:00:00 GMT"})
        BOOST_TEST(!http::parse_date(far, now).has_value(), far);
}

BOOST_AUTO_TEST_CASE(the_compressions_of_all_fields_are_told_in_order_and_what_undoes_them_has_no_complaint) {
    struct row {
        std::vector<header> fields;
        std::string found;
    };
    for (const auto& each : std::vector<row>{
             {{}, ""},
             {{{"Content-Encoding", "none, utf-8"}}, ""},
             {{{"Transfer-Encoding", "gzip"}}, ""},
             {{{"content-encoding", " GZip "}}, "gzip"},
             {{{"Content-Encoding", "identity,deflate, ,br"}}, "deflate, br"},
             {{{"Content-Encoding", "gzip"}, {"Content-Encoding", "gzip"}}, "gzip, gzip"},
         })
        BOOST_TEST(http::compression_of(each.fields) == each.found);
    const std::vector<header> zipped{{"Content-Encoding", "utf-8, GZIP"}};
    BOOST_TEST(!http::refuse_compressed(zipped, "gzip").has_value());
    BOOST_TEST(http::refuse_compressed(zipped, "deflate").has_value());
    BOOST_TEST(http::refuse_compressed(zipped, "").has_value());
    const std::vector<header> twice{{"Content-Encoding", "gzip"}, {"Content-Encoding", "br"}};
    BOOST_TEST(http::refuse_compressed(twice, "gzip").has_value());
    const std::vector<header> both{{"Content-Encoding", "gzip"}, {"Transfer-Encoding", "gzip"}};
    BOOST_TEST(http::refuse_compressed(both, "gzip").has_value());
}

// Fetch, "extract a MIME type" and its examples, as far as the type itself goes.
BOOST_AUTO_TEST_CASE(of_several_media_types_the_last_valid_one_counts) {
    struct row {
        std::vector<const char*> values;
        const char* type;
    };
    for (const auto& each : std::vector<row>{
             {{}, ""},
             {{""}, ""},
             {{"text/event-stream"}, "text/event-stream"},
             {{"Text/Event-Stream ; Charset=\"utf-8\""}, "text/event-stream"},
             {{"application/json, text/event-stream; charset=utf-8"}, "text/event-stream"},
             {{"application/json", "text/event-stream; charset=utf-8"}, "text/event-stream"},
             {{"text/event-stream, application/json"}, "application/json"},
             {{"text/event-stream", "application/json"}, "application/json"},
             {{"text/event-stream, */*"}, "text/event-stream"},
             {{"text/event-stream", "garbage"}, "text/event-stream"},
             {{"text/event-stream,"}, "text/event-stream"},
             {{",,text/event-stream"}, "text/event-stream"},
             {{"text/html;x=\"a,application/json\", text/event-stream"}, "text/event-stream"},
             {{"text/event-stream;charset=\"a, text/html\""}, "text/event-stream"},
             {{"text/event-stream;x=\"\\\", text/html"}, "text/event-stream"},
             {{"text/event-stream; charset=utf-8; charset=utf-8"}, "text/event-stream"},
             {{"text/event-stream charset=utf-8"}, ""},
             {{"text/ event-stream"}, ""},
             {{"text /event-stream"}, ""},
             {{"/event-stream"}, ""},
             {{"text/"}, ""},
             {{"text/event-stream/x"}, ""},
             {{"\"text/event-stream\""}, ""},
         }) {
        std::vector<header> fields{{"Content-Encoding", "text/plain"}};
        std::string all;
        for (const char* value : each.values) {
            fields.push_back({"content-TYPE", value});
            all.append(value).append(" | ");
        }
        BOOST_TEST(http::media_type_of(fields) == each.type, all);
    }
}

BOOST_AUTO_TEST_CASE(a_media_type_is_compared_without_case_and_parameters) {
    for (const auto same :
         {"text/event-stream", "Text/Event-Stream", "text/event-stream;charset=utf-8",
          " text/event-stream ; charset=utf-8", "text/event-stream;", "\ttext/event-stream"})
        BOOST_TEST(is_media_type(same, "text/event-stream"), same);
    for (const auto other :
         {"", ";", "text/html", "text/event-streams", "text/event", "text/html;text/event-stream",
          "text/event-stream, text/html", "text /event-stream"})
        BOOST_TEST(!is_media_type(other, "text/event-stream"), other);
}
