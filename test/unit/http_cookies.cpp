// Cookies by RFC 6265, as far as one client needs them, and within bounds.
#include <boost/test/unit_test.hpp>

#include <holdfast/http/cookies.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using http::cookie_jar;
using std::chrono::sys_days;

namespace {

const wall_time now = sys_days(std::chrono::year(2026) / 5 / 1) + std::chrono::hours(12);

http::url at(const std::string& text) {
    return http::parse_url(text).value();
}

const auto here = at("https://a.test/api/event?x=/y");

std::vector<header> fields(const std::vector<std::string>& cookies) {
    std::vector<header> all;
    for (const auto& each : cookies)
        all.emplace_back("set-cookie", each);
    return all;
}

// What is sent back at once after these.
std::string echo(const std::vector<std::string>& cookies, const http::url& where = here) {
    cookie_jar jar;
    static_cast<void>(jar.take(fields(cookies), here, now));
    return jar.field_for(where, now);
}

} // namespace

// --- what is taken, and what is sent

BOOST_AUTO_TEST_CASE(a_cookie_is_a_name_and_a_value_whatever_is_around_them) {
    for (const auto& [set, sent] : std::vector<std::pair<std::string, std::string>>{
             {"a=b", "a=b"},
             {" a = b ; HttpOnly", "a=b"},
             {"a=", "a="},
             {"a=b=c", "a=b=c"},
             {"a=\"b c\"", "a=\"b c\""},
             {"a=b; SameSite=Strict; Partitioned; x=y; =; ;", "a=b"},
             {"a=b;", "a=b"},
             {"a=\xc3\xa9", "a=\xc3\xa9"},
             {"a", ""},
             {"=b", ""},
             {"", ""},
             {";", ""},
         })
        BOOST_TEST(echo({set}) == sent, set);
    const cookie_jar empty;
    BOOST_TEST(empty.field_for(here, now) == "");
}

BOOST_AUTO_TEST_CASE(what_has_a_control_character_is_not_taken) {
    for (const auto& set : {"a=b\rc"s, "a=b\nc"s, "a=b\0c"s, "a=b\tc"s, "a=b\x7f"s, "a\n=b"s,
                            "a=b; Path=/\r\nX: y"s, "a=b; x=\0"s})
        BOOST_TEST(echo({set}) == "", set);
}

BOOST_AUTO_TEST_CASE(one_of_the_same_name_and_path_is_replaced_and_keeps_its_place) {
    BOOST_TEST(echo({"a=1; Path=/", "b=2; Path=/", "a=3; Path=/"}) == "a=3; b=2");
    BOOST_TEST(echo({"a=1; Path=/", "A=2; Path=/"}) == "a=1; A=2");
}

BOOST_AUTO_TEST_CASE(longer_paths_come_first_and_then_older_ones) {
    BOOST_TEST(echo({"a=1; Path=/", "b=2; Path=/api", "c=3; Path=/", "d=4; Path=/api"}) ==
               "b=2; d=4; a=1; c=3");
}

BOOST_AUTO_TEST_CASE(a_path_is_for_what_is_below_it) {
    struct row {
        std::string path, target;
        bool sent;
    };
    for (const auto& each : std::vector<row>{
             {"", "/api", true},
             {"", "/api/other", true},
             {"", "/apix", false},
             {"", "/", false},
             {"; Path=/", "/", true},
             {"; Path=/x", "/x?q", true},
             {"; Path=/x", "/xy", false},
             {"; Path=/x/", "/x/y", true},
             {"; Path=/x/", "/x", false},
             {"; Path=x", "/api/", true},
             {"; Path", "/api/", true},
             {"; Path=/x; path=/y", "/y", true},
         })
        BOOST_TEST((echo({"a=b" + each.path}, at("https://a.test" + each.target)) == "a=b") == each.sent,
                   each.path << " at " << each.target);
    cookie_jar jar;
    BOOST_TEST(jar.take(fields({"a=b"}), at("https://a.test/event"), now));
    BOOST_TEST(jar.field_for(at("https://a.test/"), now) == "a=b");
}

BOOST_AUTO_TEST_CASE(none_goes_to_another_origin) {
    for (const std::string where :
         {"http://a.test/api/", "https://a.test:444/api/", "https://b.test/api/", "https://x.a.test/api/"})
        BOOST_TEST(echo({"a=b"}, at(where)) == "", where);
    BOOST_TEST(echo({"a=b"}, at("https://A.test:443/api/")) == "a=b");
    auto socket = here;
    socket.where.unix_socket = "/s";
    BOOST_TEST(echo({"a=b"}, socket) == "");
}

BOOST_AUTO_TEST_CASE(a_domain_must_be_the_host_and_what_is_secure_comes_from_https) {
    for (const auto& [attribute, taken] : std::vector<std::pair<std::string, bool>>{
             {"Domain=a.test", true},
             {"Domain=.A.TEST", true},
             {"Domain=", true},
             {"Domain=test", false},
             {"Domain=b.test", false},
             {"Domain=x.a.test", false},
             {"Domain=b.test; Domain=a.test", true},
             {"Secure", true},
         })
        BOOST_TEST((echo({"a=b; " + attribute}) == "a=b") == taken, attribute);
    cookie_jar jar;
    const auto plain = at("http://a.test/");
    BOOST_TEST(!jar.take(fields({"a=b; secure"}), plain, now));
    BOOST_TEST(jar.take(fields({"a=b"}), plain, now));
    BOOST_TEST(jar.field_for(plain, now) == "a=b");
}

// --- how long

BOOST_AUTO_TEST_CASE(a_cookie_lives_as_long_as_it_says) {
    struct row {
        std::string attributes;
        std::chrono::seconds lives; ///< zero: it is not even taken; less: for ever
    };
    using std::chrono::days;
    using std::chrono::seconds;
    for (const auto& each : std::vector<row>{
             {"", seconds(-1)},
             {"Max-Age=10", seconds(10)},
             {"Max-Age=10; Max-Age=20", seconds(20)},
             {"Max-Age=10; Max-Age=x", seconds(10)},
             {"Max-Age=0", seconds(0)},
             {"Max-Age=-5", seconds(0)},
             {"Max-Age=", seconds(-1)},
             {"Max-Age=-", seconds(-1)},
             {"Max-Age=1x", seconds(-1)},
             {"Max-Age=99999999999999999999999", days(400)},
             {"Max-Age=9999999999", days(400)},
             {"Expires=Fri, 01 May 2026 12:00:30 GMT", seconds(30)},
             {"Expires=Fri, 01-May-2026 12:00:30 GMT", seconds(30)},
             {"Expires=Fri May  1 12:00:30 2026", seconds(30)},
             {"Expires=Fri, 01 May 2026 12:00:00 GMT", seconds(0)},
             {"Expires=Thu, 01 Jan 1970 00:00:00 GMT", seconds(0)},
             {"Expires=Fri, 31 Dec 9999 23:59:59 GMT", days(400)},
             {"Expires=soon", seconds(-1)},
             {"Expires=Fri, 01 May 2026 12:00:30 GMT; Max-Age=10", seconds(10)},
             {"Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT", seconds(10)},
         }) {
        cookie_jar jar;
        const bool changed = jar.take(fields({"a=b; " + each.attributes}), here, now);
        BOOST_TEST(changed == (each.lives != seconds(0)), each.attributes);
        if (each.lives > seconds(0)) {
            BOOST_TEST(jar.field_for(here, now + each.lives - seconds(1)) == "a=b", each.attributes);
            BOOST_TEST(jar.field_for(here, now + each.lives) == "", each.attributes);
        } else {
            BOOST_TEST(jar.field_for(here, now + days(4000)) == (changed ? "a=b" : ""), each.attributes);
        }
    }
}

BOOST_AUTO_TEST_CASE(the_jar_says_whether_something_changed) {
    cookie_jar jar;
    const auto take = [&](const std::string& one, wall_time when = now) {
        return jar.take(fields({one}), here, when);
    };
    BOOST_TEST(take("a=1; Max-Age=60"));
    BOOST_TEST(!take("a=1; Max-Age=70"));
    BOOST_TEST(take("a=2; Max-Age=70"));
    BOOST_TEST(!take("b=; Max-Age=0"));
    BOOST_TEST(take("a=; Max-Age=0"));
    BOOST_TEST(jar.size() == 0u);
    BOOST_TEST(take("a=1; Max-Age=60"));
    BOOST_TEST(!jar.take({{"X", "a=5"}}, here, now));
    BOOST_TEST(jar.take({}, here, now + minutes(2)));
}

BOOST_AUTO_TEST_CASE(dates_are_read_by_the_lenient_rules) {
    const auto text_of = [](const std::string& date) {
        const auto found = http::parse_cookie_date(date);
        if (!found)
            return "none"s;
        const std::chrono::year_month_day day(std::chrono::floor<std::chrono::days>(*found));
        return std::to_string(static_cast<int>(day.year())) + '-' +
               std::to_string(static_cast<unsigned>(day.month())) + '-' +
               std::to_string(static_cast<unsigned>(day.day())) + ' ' +
               std::to_string((*found - std::chrono::floor<std::chrono::days>(*found)).count());
    };
    for (const auto& [date, read] : std::vector<std::pair<std::string, std::string>>{
             {"Wed, 09 Jun 2021 10:18:14 GMT", "2021-6-9 37094"},
             {"Wednesday, 09-Jun-21 10:18:14 GMT", "2021-6-9 37094"},
             {"Wed Jun  9 10:18:14 2021", "2021-6-9 37094"},
             {"10:18:14 9 june 2021", "2021-6-9 37094"},
             {"1:2:3 1 Jan 69", "2069-1-1 3723"},
             {"1:2:3 1 Jan 70", "1970-1-1 3723"},
             {"1:2:3x 1y Jan 2000z", "2000-1-1 3723"},
             {"1:2:3 29 Feb 2024", "2024-2-29 3723"},
             {"1:2:3 29 Feb 2023", "none"},
             {"1:2:3 0 Jan 2000", "none"},
             {"24:00:00 1 Jan 2000", "none"},
             {"23:60:00 1 Jan 2000", "none"},
             {"23:00:60 1 Jan 2000", "none"},
             {"23:00 1 Jan 2000", "none"},
             {"123:00:00 1 Jan 2000", "none"},
             {"1:2:3 1 Jan 1600", "none"},
             {"1:2:3 1 Jan 20000", "none"},
             {"1:2:3 1 Foo 2000", "none"},
             {"1:2:3 Jan 2000", "none"},
             {"", "none"},
         })
        BOOST_TEST(text_of(date) == read, date);
}

// --- bounds

BOOST_AUTO_TEST_CASE(a_jar_has_limits_and_the_oldest_cookies_go) {
    http::cookie_limits limits;
    limits.count = 2;
    cookie_jar few(limits);
    BOOST_TEST(few.take(fields({"a=1", "b=2", "c=3"}), here, now));
    BOOST_TEST(few.field_for(here, now) == "b=2; c=3");
    limits = {};
    limits.one = 12; // with "/api"
    cookie_jar small(limits);
    BOOST_TEST(!small.take(fields({"a=12345678"}), here, now));
    BOOST_TEST(small.take(fields({"a=1234567"}), here, now));
    limits = {};
    limits.total = 20;
    cookie_jar tight(limits);
    BOOST_TEST(tight.take(fields({"a=12345", "b=12345"}), here, now));
    BOOST_TEST(tight.size() == 2u);
    BOOST_TEST(tight.take(fields({"c=12345"}), here, now));
    BOOST_TEST(tight.field_for(here, now) == "b=12345; c=12345");
    limits.count = 0;
    cookie_jar none(limits);
    BOOST_TEST(!none.take(fields({"a=1"}), here, now));
    cookie_jar usual;
    for (int n = 0; n < 1000; ++n)
        static_cast<void>(usual.take(fields({std::to_string(n) + "=" + std::string(4000, 'x')}), here, now));
    BOOST_TEST(usual.size() == 2u);
}
