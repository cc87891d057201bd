#include <boost/test/unit_test.hpp>

#include <holdfast/http/request.hpp>

#include <string>
#include <vector>

using namespace holdfast;
using http::basic_authorization;
using http::request;
using http::serialize;

namespace {

const std::string user_agent(http::user_agent());

http::url at(std::string_view text) {
    return http::parse_url(text).value();
}

std::string text_of(const request& what, std::string_view url = "http://h/x") {
    const auto text = serialize(what, at(url));
    BOOST_TEST_REQUIRE(text.has_value(), "refused: " << (text ? "" : text.error().message));
    return *text;
}

/// The message of the refusal.
std::string refused(const request& what) {
    const auto text = serialize(what, at("http://h/x"));
    BOOST_TEST_REQUIRE(text.has_error(), "accepted: " << (text ? *text : ""));
    BOOST_TEST((text.error().code == errc::invalid_request));
    return text.error().message;
}

request with_header(std::string name, std::string value) {
    request what;
    what.headers.push_back({std::move(name), std::move(value)});
    return what;
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

std::size_t count(std::string_view text, std::string_view part) {
    std::size_t n = 0;
    for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1))
        ++n;
    return n;
}

} // namespace

BOOST_AUTO_TEST_CASE(methods_that_ask_for_no_change_are_safe) {
    for (const char* method : {"GET", "HEAD", "OPTIONS", "TRACE"})
        BOOST_TEST(http::is_safe(method), method);
    for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "CONNECT", "QUERY", "get", "GETS", ""})
        BOOST_TEST(!http::is_safe(method), method);
}

BOOST_AUTO_TEST_CASE(the_first_header_of_a_name_is_found_whatever_its_case) {
    const std::vector<header> headers{
        {"Accept", "a"}, {"X-One", ""}, {"x-ONE", "second"}, {"Accept-Encoding", "b"}};
    BOOST_TEST((http::find_header(headers, "accept") == &headers[0]));
    BOOST_TEST((http::find_header(headers, "x-oNe") == &headers[1]));
    BOOST_TEST((http::find_header(headers, "ACCEPT-ENCODING") == &headers[3]));
    for (const char* absent : {"", "Accep", "Accept-", "Host"})
        BOOST_TEST(!http::find_header(headers, absent), absent);
    BOOST_TEST(!http::find_header({}, "Accept"));
}

BOOST_AUTO_TEST_CASE(a_plain_get_is_written_whole) {
    BOOST_TEST(text_of({}, "http://127.0.0.1:4096/event?directory=%2Ftmp") ==
               "GET /event?directory=%2Ftmp HTTP/1.1\r\n"
               "Host: 127.0.0.1:4096\r\n"
               "Accept-Encoding: identity\r\n"
               "User-Agent: " +
                   user_agent +
                   "\r\n"
                   "\r\n");
}

BOOST_AUTO_TEST_CASE(a_post_is_written_whole) {
    request what;
    what.method = "POST";
    what.target = "/session/s/prompt_async";
    what.headers = {{"Content-Type", "application/json"}, {"Accept", "application/json"}};
    what.body = "{\"a\":\"\r\n\r\n\"}";
    BOOST_TEST(text_of(what, "http://user:pass@[::1]:81/ignored") ==
               "POST /session/s/prompt_async HTTP/1.1\r\n"
               "Host: [::1]:81\r\n"
               "Content-Type: application/json\r\n"
               "Accept: application/json\r\n"
               "Accept-Encoding: identity\r\n"
               "User-Agent: " +
                   user_agent +
                   "\r\n"
                   "Authorization: Basic dXNlcjpwYXNz\r\n"
                   "Content-Length: 12\r\n"
                   "\r\n"
                   "{\"a\":\"\r\n\r\n\"}");
}

BOOST_AUTO_TEST_CASE(content_length_is_sent_with_a_body_and_by_methods_that_expect_one) {
    for (const auto method : {"POST", "PUT", "PATCH"}) {
        request what;
        what.method = method;
        BOOST_TEST(contains(text_of(what), "Content-Length: 0\r\n"));
    }
    for (const auto method : {"GET", "HEAD", "DELETE", "OPTIONS"}) {
        request what;
        what.method = method;
        BOOST_TEST(!contains(text_of(what), "Content-Length"));
        what.body = "abc";
        BOOST_TEST(contains(text_of(what), "Content-Length: 3\r\n\r\nabc"));
    }
}

BOOST_AUTO_TEST_CASE(what_the_caller_gives_is_not_added_again) {
    struct row {
        std::string name, value;
    };
    for (const row& each : std::vector<row>{
             {"host", "other.example"}, {"ACCEPT-ENCODING", "gzip"}, {"authorization", "Bearer token"}}) {
        const auto text = text_of(with_header(each.name, each.value), "http://u:p@h/");
        BOOST_TEST(contains(text, "\r\n" + each.name + ": " + each.value + "\r\n"));
        BOOST_TEST(count(text, "\r\n") == 6u);
    }
}

BOOST_AUTO_TEST_CASE(the_password_of_the_url_goes_into_its_field_and_nowhere_else) {
    const auto text = text_of({}, "http://u:s3cret@h/x");
    BOOST_TEST(!contains(text, "s3cret"));
    BOOST_TEST(contains(text, "\r\nAuthorization: " + basic_authorization("u", "s3cret") + "\r\n"));
    BOOST_TEST(!contains(text_of({}), "Authorization"));
}

BOOST_AUTO_TEST_CASE(encoded_line_ends_stay_encoded) {
    request what;
    what.target = "/x?a=%0d%0aX-Evil:%20y";
    const auto text = text_of(what);
    BOOST_TEST(text.starts_with("GET /x?a=%0d%0aX-Evil:%20y HTTP/1.1\r\n"));
    BOOST_TEST(count(text, "\r\n") == 5u);
}

BOOST_AUTO_TEST_CASE(a_method_that_is_no_token_is_refused) {
    for (const std::string& method :
         {std::string(), std::string("GET "), std::string("GET /evil HTTP/1.1\r\nX:"), std::string("G\0T", 3),
          std::string("G:T"), std::string("G\xc3\xa4T"), std::string("\n"), std::string("(GET)")}) {
        request what;
        what.method = method;
        BOOST_TEST(contains(refused(what), "method"));
    }
}

BOOST_AUTO_TEST_CASE(a_target_that_could_break_the_request_line_is_refused) {
    for (const std::string& target :
         {std::string("/a b"), std::string("/a\r\nX: y"), std::string("/a\n"), std::string("/a\r"),
          std::string("/a\0b", 4), std::string("/a\tb"), std::string("/\x7f"), std::string("/\xc3\xa4"),
          std::string("/a#b"), std::string("a"), std::string("?a"), std::string("*"),
          std::string("http://evil/"), std::string(" /a")}) {
        request what;
        what.target = target;
        BOOST_TEST(contains(refused(what), "target"));
    }
}

BOOST_AUTO_TEST_CASE(a_target_may_hold_every_other_printable_character) {
    request what;
    what.target = "/!\"$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~";
    BOOST_TEST(contains(text_of(what), "GET " + what.target + " HTTP/1.1\r\n"));
}

BOOST_AUTO_TEST_CASE(a_header_name_is_a_token) {
    for (int c = 0; c < 256; ++c) {
        const char ch = static_cast<char>(c);
        const bool token = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                           (c != 0 && contains("!#$%&'*+-.^_`|~", std::string_view(&ch, 1)));
        const auto text = serialize(with_header(std::string("X") + ch + "Y", "v"), at("http://h/"));
        BOOST_TEST(text.has_value() == token, "character " << c);
    }
    refused(with_header("", "v"));
}

BOOST_AUTO_TEST_CASE(a_header_value_has_no_control_character_but_tab) {
    for (int c = 0; c < 256; ++c) {
        const bool control = (c < 0x20 && c != '\t') || c == 0x7f;
        const auto what = with_header("X-Y", std::string("a") + static_cast<char>(c) + "b");
        BOOST_TEST(serialize(what, at("http://h/")).has_value() == !control, "character " << c);
    }
}

BOOST_AUTO_TEST_CASE(a_refusal_names_the_header_and_never_a_secret) {
    const auto bad_value = refused(with_header("Authorization", "Bearer s3cret\r\nX: y"));
    BOOST_TEST(contains(bad_value, "\"Authorization\""));
    BOOST_TEST(!contains(bad_value, "s3cret"));
    const auto bad_name = refused(with_header("Authorization: Bearer s3cret", ""));
    BOOST_TEST(contains(bad_name, "\"Authorization\""));
    BOOST_TEST(!contains(bad_name, "s3cret"));
    request what;
    what.target = "/?token=s3cret\r\n";
    BOOST_TEST(!contains(refused(what), "s3cret"));
}

BOOST_AUTO_TEST_CASE(the_framing_of_the_body_is_not_the_callers_to_set) {
    BOOST_TEST(contains(refused(with_header("content-length", "0")), "content-length"));
    BOOST_TEST(contains(refused(with_header("Transfer-Encoding", "chunked")), "Transfer-Encoding"));
}

BOOST_AUTO_TEST_CASE(a_proxys_credentials_are_no_header_as_they_might_reach_an_origin) {
    const auto why = refused(with_header("proxy-authorization", "Basic s3cret"));
    BOOST_TEST(contains(why, "proxy-authorization"));
    BOOST_TEST(!contains(why, "s3cret"));
    const auto by_proxy =
        http::serialize_for_proxy(with_header("Proxy-Authorization", "x"), at("http://h/"), at("http://p:1"));
    BOOST_TEST(by_proxy.has_error());
}

BOOST_AUTO_TEST_CASE(a_request_for_a_proxy_names_the_origin_and_bears_the_credentials_of_both) {
    const auto text = http::serialize_for_proxy(with_header("X-Y", "z"), at("http://me:mine@h:81/x?y"),
                                                at("http://proxy:secret@p.test:3128"));
    BOOST_TEST_REQUIRE(text.has_value());
    BOOST_TEST(*text == "GET http://h:81/x?y HTTP/1.1\r\n"
                        "Host: h:81\r\n"
                        "Proxy-Authorization: " +
                            basic_authorization("proxy", "secret") +
                            "\r\n"
                            "X-Y: z\r\n"
                            "Accept-Encoding: identity\r\n"
                            "User-Agent: " +
                            user_agent +
                            "\r\n"
                            "Authorization: " +
                            basic_authorization("me", "mine") +
                            "\r\n"
                            "\r\n");
    const auto plain = http::serialize_for_proxy({}, at("http://[::1]/"), at("http://p.test:3128"));
    BOOST_TEST_REQUIRE(plain.has_value());
    BOOST_TEST(plain->starts_with("GET http://[::1]/ HTTP/1.1\r\nHost: [::1]\r\n"));
    BOOST_TEST(!contains(*plain, "Authorization"));
}

BOOST_AUTO_TEST_CASE(a_tunnel_is_asked_for_by_name_and_port_and_nothing_else) {
    BOOST_TEST(
        http::serialize_connect(at("https://me:mine@h/x").where, at("http://proxy:secret@p.test:3128")) ==
        "CONNECT h:443 HTTP/1.1\r\n"
        "Host: h:443\r\n"
        "Proxy-Authorization: " +
            basic_authorization("proxy", "secret") +
            "\r\n"
            "\r\n");
    BOOST_TEST(http::serialize_connect(at("https://[::1]:8443/").where, at("http://p.test:3128")) ==
               "CONNECT [::1]:8443 HTTP/1.1\r\n"
               "Host: [::1]:8443\r\n"
               "\r\n");
}

BOOST_AUTO_TEST_CASE(more_than_one_host_is_refused) {
    auto what = with_header("Host", "a");
    what.headers.push_back({"host", "b"});
    BOOST_TEST(contains(refused(what), "Host"));
}

BOOST_AUTO_TEST_CASE(basic_credentials_are_base64) {
    struct row {
        std::string_view user, password, value;
    };
    // The first is RFC 7617's, section 2.
    for (const row& each : std::vector<row>{{"Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
                                            {"", "", "Basic Og=="},
                                            {"a", "", "Basic YTo="},
                                            {"a", "b", "Basic YTpi"},
                                            {"a", "bc", "Basic YTpiYw=="},
                                            {"\xff\xfe", "\xfb", "Basic //46+w=="}})
        BOOST_TEST(basic_authorization(each.user, each.password) == each.value);
}

BOOST_AUTO_TEST_CASE(a_request_names_the_library_and_its_version_unless_it_names_another) {
    BOOST_TEST(user_agent.starts_with("holdfast/"));
    BOOST_TEST((user_agent.size() > 9 && user_agent[9] >= '0' && user_agent[9] <= '9'));
    BOOST_TEST(contains(text_of({}), "\r\nUser-Agent: " + user_agent + "\r\n"));
    const auto other = text_of(with_header("user-agent", "me"));
    BOOST_TEST(contains(other, "\r\nuser-agent: me\r\n"));
    BOOST_TEST(!contains(other, "holdfast"));
}
