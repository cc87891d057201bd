// Redirects: where they lead, what goes along, and when they are not followed.
#include <boost/test/unit_test.hpp>

#include <holdfast/http/redirect.hpp>

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

using namespace holdfast;
using http::redirects;
using http::request;
using http::url;

namespace {

url at(std::string_view text) {
    return http::parse_url(text).value();
}

std::string text_of(const url& u) {
    return u.where.scheme + "://" + u.host_header() + u.target;
}

std::string resolved(std::string_view from, std::string_view location) {
    const auto to = http::resolve(at(from), location);
    return to ? text_of(*to) : "none";
}

request asking(std::string method, std::vector<header> headers = {}, std::string body = {}) {
    request what;
    what.method = std::move(method);
    what.headers = std::move(headers);
    what.body = std::move(body);
    return what;
}

std::string names(const request& what) {
    std::string all;
    for (const auto& each : what.headers)
        all += (all.empty() ? "" : " ") + each.name;
    return all;
}

// What is asked after a chain of redirects, or why it is not.
std::string after(redirects chain, const std::vector<std::pair<int, std::string>>& answers) {
    for (const auto& [status, location] : answers) {
        std::ignore = chain.take(chain.what());
        if (const auto done = chain.follow(status, location); !done)
            return done.error().message;
    }
    return chain.what().method + ' ' + text_of(chain.where());
}

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_CASE(five_statuses_are_redirects) {
    for (int status = 100; status < 600; ++status) {
        const bool is = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
        BOOST_TEST(http::is_redirect(status) == is, status);
    }
}

// RFC 3986, section 5.4; what is there without a fragment.
BOOST_AUTO_TEST_CASE(references_are_resolved_as_the_rfc_shows) {
    const std::vector<std::pair<std::string, std::string>> table{
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g/"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q"},
        {"g#s", "http://a/b/c/g"},
        {"g?y#s", "http://a/b/c/g?y"},
        {";x", "http://a/b/c/;x"},
        {"g;x", "http://a/b/c/g;x"},
        {"g;x?y#s", "http://a/b/c/g;x?y"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../", "http://a/"},
        {"../../g", "http://a/g"},
        {"../../../g", "http://a/g"},
        {"../../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {".g", "http://a/b/c/.g"},
        {"g..", "http://a/b/c/g.."},
        {"..g", "http://a/b/c/..g"},
        {"./../g", "http://a/b/g"},
        {"./g/.", "http://a/b/c/g/"},
        {"g/./h", "http://a/b/c/g/h"},
        {"g/../h", "http://a/b/c/h"},
        {"g;x=1/./y", "http://a/b/c/g;x=1/y"},
        {"g;x=1/../y", "http://a/b/c/y"},
        {"g?y/./x", "http://a/b/c/g?y/./x"},
        {"g?y/../x", "http://a/b/c/g?y/../x"},
    };
    for (const auto& [reference, expected] : table)
        BOOST_TEST(resolved("http://a/b/c/d;p?q", reference) == expected, reference);
}

BOOST_AUTO_TEST_CASE(absolute_locations_and_those_of_another_server_are_taken_as_they_are) {
    const std::vector<std::pair<std::string, std::string>> table{
        {"http://b.test/x", "http://b.test/x"},
        {"HTTP://B.Test:80", "http://b.test/"},
        {"https://b.test:8443/x?y=%20", "https://b.test:8443/x?y=%20"},
        {"//b.test:81/x", "http://b.test:81/x"},
        {"http://[::1]:81/x", "http://[::1]:81/x"},
        {"/%41%2F%2e%2E/?%41", "http://a.test/%41%2F%2e%2E/?%41"},
        {"http://b.test/%2F%2F/../x%2F", "http://b.test/x%2F"},
        {"http://b.test:x@c/", "http://c/"},
        {"http://b.test/a/./../../x?/../y", "http://b.test/x?/../y"},
        {"http://b.test?x", "http://b.test/?x"},
        {"//b.test", "http://b.test/"},
        {"//b.test#x", "http://b.test/"},
        {"/..x/..", "http://a.test/"},
        {"../..?x", "http://a.test/?x"},
        {"/../..", "http://a.test/"},
        {"/../../..x", "http://a.test/..x"},
        {"/a//b", "http://a.test/a//b"},
        {"/a//../b", "http://a.test/a/b"},
        {"?", "http://a.test/event?"},
    };
    for (const auto& [location, expected] : table)
        BOOST_TEST(resolved("http://a.test/event", location) == expected, location);
}

// URL Standard: the path and the special-query percent-encode set. What a browser sends as it is goes as it
// is.
BOOST_AUTO_TEST_CASE(what_no_request_can_carry_is_encoded_as_browsers_do) {
    const std::vector<std::pair<std::string, std::string>> table{
        {"/caf\xC3\xA9 stream/{x}", "/caf%C3%A9%20stream/%7Bx%7D"},
        {"caf\xC3\xA9?q=\xC3\xA9 {x}", "/caf%C3%A9?q=%C3%A9%20{x}"},
        {"/caf\xE9", "/caf%E9"},
        {"/\xE2\x82\xAC/\xF0\x9F\x98\x80", "/%E2%82%AC/%F0%9F%98%80"},
        {"  /a  ", "/a"},
        {"/a b#c d", "/a%20b"},
        {"/\"<>`^{}", "/%22%3C%3E%60%5E%7B%7D"},
        {"/'|[]@:!$&()*+,;=", "/'|[]@:!$&()*+,;="},
        {"/?\"'<>", "/?%22%27%3C%3E"},
        {"/?`^{}|[]?/", "/?`^{}|[]?/"},
        {"/%zz%", "/%zz%"},
        {"/%C3%A9%20", "/%C3%A9%20"},
        {"?a b", "/event?a%20b"},
        {"../\xC3\xA9/./x", "/%C3%A9/x"},
        {"/a/@me:x", "/a/@me:x"},
    };
    for (const auto& [location, target] : table)
        BOOST_TEST(resolved("http://a.test/event", location) == "http://a.test" + target, location);
    BOOST_TEST(resolved("http://a.test/", "//b.test/\xC3\xA9 ") == "http://b.test/%C3%A9");
    BOOST_TEST(resolved("http://a.test/", "https://b.test:81/a b?c d") == "https://b.test:81/a%20b?c%20d");
}

BOOST_AUTO_TEST_CASE(what_is_no_url_that_can_be_asked_is_refused) {
    for (const char* location :
         {"", " ", "http://", "http:///x", "http://b.test:0/", "http://b.test:99999/",
          "http://\xC3\xA9.test/", "ftp://b.test/", "mailto:a@b.test", "javascript:alert(1)", "about:blank",
          "http:g", "/a\tb", "http://b.test\\@c.test/", "/a\\b", "http://a@b@c.test/", "//b.test:-1/", "1:2"})
        BOOST_TEST(resolved("http://a.test/", location) == "none", location);
}

BOOST_AUTO_TEST_CASE(a_relative_location_keeps_the_port_and_an_ipv6_host) {
    BOOST_TEST(resolved("http://a.test:4096/b/c", "d") == "http://a.test:4096/b/d");
    BOOST_TEST(resolved("https://[::1]:4096/b", "/d") == "https://[::1]:4096/d");
}

BOOST_AUTO_TEST_CASE(credentials_of_the_url_stay_with_its_origin_and_those_of_a_location_are_ignored) {
    struct row {
        const char* location;
        const char* user;
        const char* password;
    };
    for (const auto& each : std::vector<row>{{"/x", "me", "secret"},
                                             {"http://a.test/x", "me", "secret"},
                                             {"http://a.test:80/x", "me", "secret"},
                                             {"http://you:evil@a.test/x", "me", "secret"},
                                             {"http://you@b.test/x", "", ""},
                                             {"http://b.test/x", "", ""},
                                             {"http://a.test:81/x", "", ""},
                                             {"https://a.test/x", "", ""}}) {
        const auto to = http::resolve(at("http://me:secret@a.test/"), each.location).value();
        BOOST_TEST(to.user == each.user, each.location);
        BOOST_TEST(to.password == each.password);
        BOOST_TEST(to.has_userinfo == !to.user.empty());
    }
}

BOOST_AUTO_TEST_CASE(the_method_and_the_body_go_on_by_the_rules) {
    struct row {
        int status;
        const char* method;
        const char* then;
        bool with_body;
    };
    for (const auto& each : std::vector<row>{{301, "GET", "GET", true},
                                             {301, "POST", "GET", false},
                                             {301, "PUT", "PUT", true},
                                             {301, "HEAD", "HEAD", true},
                                             {302, "GET", "GET", true},
                                             {302, "POST", "GET", false},
                                             {302, "DELETE", "DELETE", true},
                                             {302, "PATCH", "PATCH", true},
                                             {303, "GET", "GET", false},
                                             {303, "POST", "GET", false},
                                             {303, "PUT", "GET", false},
                                             {303, "HEAD", "HEAD", true},
                                             {307, "POST", "POST", true},
                                             {307, "GET", "GET", true},
                                             {307, "HEAD", "HEAD", true},
                                             {308, "POST", "POST", true},
                                             {308, "DELETE", "DELETE", true}}) {
        BOOST_TEST_CONTEXT(each.status << ' ' << each.method) {
            auto before =
                asking(each.method, {{"content-type", "a/b"}, {"Content-Encoding", "x"}, {"X", "y"}}, "body");
            before.target = "/before";
            const auto got = http::redirected(before, each.status, true);
            BOOST_TEST(got.target.empty());
            BOOST_TEST(got.method == each.then);
            BOOST_TEST(got.body == (each.with_body ? "body" : ""));
            BOOST_TEST(names(got) == (each.with_body ? "content-type Content-Encoding X" : "X"));
        }
    }
}

BOOST_AUTO_TEST_CASE(only_harmless_fields_go_to_another_origin) {
    const std::vector<header> all{{"Authorization", "Bearer x"},
                                  {"accept", "text/event-stream"},
                                  {"Cookie", "a=b"},
                                  {"ACCEPT-LANGUAGE", "en"},
                                  {"Proxy-Authorization", "Basic x"},
                                  {"Cache-Control", "no-cache"},
                                  {"X-Api-Key", "secret"},
                                  {"User-Agent", "me"},
                                  {"Host", "a.test"},
                                  {"Content-Type", "application/json"},
                                  {"Last-Event-ID", "7"},
                                  {"Referer", "http://a.test/secret"},
                                  {"Origin", "http://a.test"},
                                  {"Accept-Encoding", "identity"},
                                  {"Pragma", "no-cache"}};
    const auto there = http::redirected(asking("POST", all, "body"), 307, false);
    BOOST_TEST(names(there) == "accept ACCEPT-LANGUAGE Cache-Control User-Agent Content-Type Last-Event-ID "
                               "Accept-Encoding Pragma");
    BOOST_TEST(there.body == "body");
    const auto here = http::redirected(asking("POST", all, "body"), 307, true);
    BOOST_TEST((here.headers == all));
}

BOOST_AUTO_TEST_CASE(a_chain_is_followed_to_its_end) {
    redirects chain(at("http://a.test/one"), asking("POST", {{"X", "y"}}, "body"), 3);
    BOOST_TEST(after(chain, {}) == "POST http://a.test/one");
    BOOST_TEST(after(chain, {{307, "two"}, {302, "/three?x"}, {301, "http://b.test/four"}}) ==
               "GET http://b.test/four");
    BOOST_TEST(chain.follow(308, "/two").has_value());
    BOOST_TEST(chain.followed() == 1u);
    BOOST_TEST(chain.what().method == "POST");
    BOOST_TEST(chain.what().body == "body");
}

BOOST_AUTO_TEST_CASE(a_target_given_in_the_request_is_where_the_chain_begins) {
    auto what = asking("GET");
    what.target = "/deep/one?x";
    redirects chain(at("http://a.test/event"), what, 1);
    BOOST_TEST(chain.take(what).target.empty());
    BOOST_TEST(text_of(chain.where()) == "http://a.test/deep/one?x");
    BOOST_TEST(after(chain, {{302, "two"}}) == "GET http://a.test/deep/two");
}

BOOST_AUTO_TEST_CASE(what_prepares_one_step_gives_the_method_and_body_of_the_next_but_not_its_fields) {
    redirects chain(at("http://a.test/x"), asking("GET", {{"X", "y"}}), 3);
    const auto sent = chain.take(asking("POST", {{"X", "y"}, {"Authorization", "one"}}, "body"));
    BOOST_TEST(names(sent) == "X Authorization");
    BOOST_TEST(chain.follow(307, "/y").has_value());
    BOOST_TEST(chain.what().method == "POST");
    BOOST_TEST(chain.what().body == "body");
    BOOST_TEST(names(chain.what()) == "X");
}

BOOST_AUTO_TEST_CASE(what_is_prepared_for_another_origin_loses_what_may_not_go_there) {
    redirects chain(at("http://a.test/x"), asking("GET"), 3);
    const auto prepared = asking("GET", {{"Authorization", "one"}, {"Accept", "x"}, {"Host", "c.test"}});
    BOOST_TEST(names(chain.take(prepared)) == "Authorization Accept Host");
    std::ignore = chain.follow(302, "http://b.test/");
    BOOST_TEST(names(chain.take(prepared)) == "Accept");
    std::ignore = chain.follow(302, "http://b.test/y");
    BOOST_TEST(names(chain.take(prepared)) == "Accept");
    std::ignore = chain.follow(302, "http://a.test/y");
    BOOST_TEST(names(chain.take(prepared)) == "Accept");
}

BOOST_AUTO_TEST_CASE(what_is_not_followed_says_why_and_shows_the_target) {
    const auto ask = [](const char* from, unsigned most) {
        return redirects(at(from), asking("GET"), most);
    };
    const auto refused = [](const std::string& said, std::vector<std::string_view> parts) {
        BOOST_TEST(said.starts_with("the server answered with status 302, a redirect "), said);
        for (const auto part : parts)
            BOOST_TEST(contains(said, part), said << ": no " << part);
    };
    refused(after(ask("http://a.test/x", 0), {{302, "/y"}}), {"http://a.test/y", "not followed"});
    refused(after(ask("http://a.test/x", 0), {{302, "http://me:secret@b.test/y"}}),
            {"http://b.test/y", "not followed"});
    refused(after(ask("http://a.test/x", 0), {{302, "\x1B[31m"}}), {"?[31m", "not followed"});
    refused(after(ask("http://a.test/x", 3), {{302, ""}}), {"without a Location"});
    refused(after(ask("http://a.test/x", 0), {{302, ""}}), {"without a Location"});
    refused(after(ask("http://a.test/x", 3), {{302, "/a \\b"}}), {"/a?\\b", "cannot be asked"});
    refused(after(ask("http://a.test/x", 3), {{302, "http://b.test:0/"}}), {"port must be"});
    refused(after(ask("http://a.test/x", 3), {{302, "http://me:secret@b.test:0/"}}), {"***@b.test:0/"});
    refused(after(ask("http://a.test/x", 3), {{302, "ftp://b.test/"}}), {"only http:// and https://"});
    refused(after(ask("http://a.test/x", 2), {{301, "/1"}, {301, "/2"}, {302, "/3"}}),
            {"/3", "after 2 others"});
    refused(after(ask("https://a.test/x", 3), {{302, "http://a.test/y"}}),
            {"http://a.test/y", "from https to http"});
    refused(after(ask("http://a.test/x", 3), {{302, "https://a.test/"}, {302, "http://a.test/"}}),
            {"from https to http"});
    refused(after(ask("http://a.test/x", 9), {{302, "/x"}}), {"http://a.test/x", "circles"});
    refused(after(ask("http://a.test/x", 9), {{301, "/y"}, {301, "/z"}, {302, "http://A.test:80/y#there"}}),
            {"circles"});
}

BOOST_AUTO_TEST_CASE(a_refusal_is_final_and_blames_no_endpoint) {
    redirects chain(at("http://a.test/"), asking("GET"), 0);
    const auto why = chain.follow(302, "http://b.test/").error();
    BOOST_TEST(retry::is_final(why));
    BOOST_TEST(!retry::blames_endpoint(why));
    BOOST_TEST(why.status == 302);
    BOOST_TEST(why.connected);
}

BOOST_AUTO_TEST_CASE(a_secret_in_a_location_is_not_shown) {
    for (const char* location :
         {"http://me:secret@b.test/", "http://secret@", "//me:secret@b.test:0/", "secret@x\\y"})
        for (const unsigned most : {0u, 3u}) {
            const auto said = after(redirects(at("http://a.test/"), asking("GET"), most),
                                    {{302, location}, {302, "/"}, {302, ""}});
            BOOST_TEST(!contains(said, "secret"), said);
        }
}

BOOST_AUTO_TEST_CASE(a_long_location_is_shown_in_part) {
    const auto said =
        after(redirects(at("http://a.test/"), asking("GET"), 1), {{302, "/\\" + std::string(60000, 'x')}});
    BOOST_TEST(said.size() < 1000u);
}

BOOST_AUTO_TEST_CASE(the_same_url_with_another_method_is_no_circle) {
    BOOST_TEST(after(redirects(at("http://a.test/x"), asking("POST"), 3), {{303, "/x"}}) ==
               "GET http://a.test/x");
}

BOOST_AUTO_TEST_CASE(what_was_left_out_for_another_origin_does_not_come_back) {
    redirects chain(at("http://me:secret@a.test/x"), asking("GET", {{"Cookie", "a=b"}, {"Accept", "x"}}), 3);
    std::ignore = chain.follow(302, "/y");
    BOOST_TEST(names(chain.what()) == "Cookie Accept");
    BOOST_TEST(chain.where().user == "me");
    std::ignore = chain.follow(302, "http://b.test/");
    std::ignore = chain.follow(302, "http://a.test/z");
    BOOST_TEST(chain.followed() == 3u);
    BOOST_TEST(names(chain.what()) == "Accept");
    BOOST_TEST(!chain.where().has_userinfo);
}

BOOST_AUTO_TEST_CASE(what_is_trusted_goes_to_another_origin_but_for_the_name_of_the_first) {
    redirects chain(at("http://me:secret@a.test/x"),
                    asking("POST", {{"Cookie", "a=b"}, {"Host", "c.test"}, {"Accept", "x"}}, "body"), 3,
                    true);
    std::ignore = chain.follow(307, "https://b.test/y");
    BOOST_TEST(names(chain.what()) == "Cookie Accept");
    BOOST_TEST(chain.where().user == "me");
    BOOST_TEST(chain.where().password == "secret");
    BOOST_TEST(names(chain.take(asking("POST", {{"Authorization", "x"}, {"Accept", "x"}}))) ==
               "Authorization Accept");
    BOOST_TEST(chain.follow(302, "http://b.test/z").error().message.find("from https to http") !=
               std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_unix_socket_is_kept_for_its_origin_and_for_no_other) {
    auto from = at("http://a.test/x");
    from.where.unix_socket = "/run/x";
    for (const char* same : {"/y", "//a.test/y", "http://a.test:80/y"})
        BOOST_TEST(http::resolve(from, same).value().where.unix_socket == "/run/x", same);
    for (const char* other : {"//b.test/y", "http://a.test:81/y", "https://a.test/y"})
        BOOST_TEST(http::resolve(from, other).value().where.unix_socket.empty(), other);
}
