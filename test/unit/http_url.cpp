#include <boost/test/unit_test.hpp>

#include <holdfast/http/url.hpp>

#include <random>
#include <string>
#include <vector>

using namespace holdfast;
using http::parse_url;
using http::percent_encode;

namespace {

http::url parsed(std::string_view text) {
    const auto url = parse_url(text);
    BOOST_TEST_REQUIRE(url.has_value(), text << " was refused: " << (url ? "" : url.error().message));
    return *url;
}

/// The message of the refusal.
std::string refused(std::string_view text, errc code = errc::invalid_url) {
    const auto url = parse_url(text);
    BOOST_TEST_REQUIRE(url.has_error(), text << " was accepted");
    BOOST_TEST((url.error().code == code));
    BOOST_TEST(to_string(url.error().cls) == "local");
    return url.error().message;
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

} // namespace

BOOST_AUTO_TEST_CASE(urls_are_taken_apart) {
    struct row {
        std::string_view text, where, host_header, target;
    };
    const std::vector<row> rows{
        {"http://h", "http://h:80", "h", "/"},
        {"http://h/", "http://h:80", "h", "/"},
        {"http://h:80/", "http://h:80", "h", "/"},
        {"http://h:/", "http://h:80", "h", "/"},
        {"https://h", "https://h:443", "h", "/"},
        {"https://h:80", "https://h:80", "h:80", "/"},
        {"HTTP://LocalHost:4096/Event", "http://localhost:4096", "localhost:4096", "/Event"},
        {"http://h:1", "http://h:1", "h:1", "/"},
        {"http://h:65535", "http://h:65535", "h:65535", "/"},
        {"http://h:00080", "http://h:80", "h", "/"},
        {"http://127.0.0.1:4096/event?directory=%2Ftmp", "http://127.0.0.1:4096", "127.0.0.1:4096",
         "/event?directory=%2Ftmp"},
        {"http://[::1]:80", "http://[::1]:80", "[::1]", "/"},
        {"http://[::1]:8080/x", "http://[::1]:8080", "[::1]:8080", "/x"},
        {"http://[2001:DB8:0:0:0:0:0:1]", "http://[2001:db8::1]:80", "[2001:db8::1]", "/"},
        {"http://h?q", "http://h:80", "h", "/?q"},
        {"http://h/?", "http://h:80", "h", "/?"},
        {"http://h/a/../b//c?x=1&y=a%20b#fragment", "http://h:80", "h", "/a/../b//c?x=1&y=a%20b"},
        {"http://h/#f@g", "http://h:80", "h", "/"},
        {"http://a.b-c_d.example./", "http://a.b-c_d.example.:80", "a.b-c_d.example.", "/"},
        {"http://xn--bcher-kva.example/", "http://xn--bcher-kva.example:80", "xn--bcher-kva.example", "/"},
        {"http://h/%0d%0aX:%20y", "http://h:80", "h", "/%0d%0aX:%20y"},
        {"http://h/%00", "http://h:80", "h", "/%00"},
        {"http://h/a@b:c", "http://h:80", "h", "/a@b:c"},
    };
    for (const row& each : rows) {
        BOOST_TEST_CONTEXT(each.text) {
            const auto url = parsed(each.text);
            BOOST_TEST(to_string(url.where) == each.where);
            BOOST_TEST(url.host_header() == each.host_header);
            BOOST_TEST(url.target == each.target);
            BOOST_TEST(!url.has_userinfo);
        }
    }
}

BOOST_AUTO_TEST_CASE(credentials_are_decoded_and_never_shown) {
    struct row {
        std::string_view text, user, password, redacted;
    };
    const std::vector<row> rows{
        {"http://u:p@h/x", "u", "p", "http://u:***@h/x"},
        {"http://u:p%40%3A%2f@h:81/x?q", "u", "p@:/", "http://u:***@h:81/x?q"},
        {"http://u%20v:p@h", "u v", "p", "http://u%20v:***@h/"},
        {"http://:p@h", "", "p", "http://:***@h/"},
        {"http://token@h/x", "token", "", "http://***@h/x"},
        {"http://token:@h/x", "token", "", "http://***@h/x"},
        {"http://u:p:q@[::1]:81", "u", "p:q", "http://u:***@[::1]:81/"},
    };
    for (const row& each : rows) {
        BOOST_TEST_CONTEXT(each.text) {
            const auto url = parsed(each.text);
            BOOST_TEST(url.has_userinfo);
            BOOST_TEST(url.user == each.user);
            BOOST_TEST(url.password == each.password);
            BOOST_TEST(url.redacted() == each.redacted);
            BOOST_TEST(!contains(to_string(url.where), "@"));
            BOOST_TEST(!contains(url.host_header(), "@"));
        }
    }
}

BOOST_AUTO_TEST_CASE(empty_credentials_are_none) {
    for (const auto text : {"http://@h", "http://:@h"}) {
        BOOST_TEST(!parsed(text).has_userinfo);
        BOOST_TEST(parsed(text).redacted() == "http://h/");
    }
}

BOOST_AUTO_TEST_CASE(what_is_no_absolute_url_is_refused) {
    const std::string huge(1 << 20, 'a');
    const std::vector<std::string> bad{
        "",
        "/",
        "h",
        "//h/x",
        "localhost:4096",
        "127.0.0.1:4096",
        "http:",
        "http:/h",
        "http:h",
        "http://",
        "http:///x",
        "http://:80",
        "http://?q",
        "http://h:0",
        "http://h:65536",
        "http://h:99999999999999999999999",
        "http://h:-1",
        "http://h:+80",
        "http://h:8a",
        "http://h: 80",
        "http://a@b@c",
        "http://u:p@h@evil/",
        "http://h\\@evil/",
        "http://[::1",
        "http://::1/",
        "http://[::1]x",
        "http://[::g]",
        "http://[fe80::1%25eth0]/",
        "http://[v1.x]/",
        "http://[127.0.0.1]/",
        "http://ex%61mple/",
        "http://h%00/",
        "http://h%0d%0a/",
        "http://a,b/",
        "http://a!b/",
        "http://h/ x",
        " http://h/",
        "http://h/ ",
        "http://h/\r\nX: y",
        "http://h/\n",
        "http://h/\t",
        "http://h/\x7f",
        std::string("http://h/\0x", 11),
        std::string("http://h\0.evil/", 15),
        "http://b\xc3\xbc"
        "cher.example/",
        "http://h/\xc3\xa4",
        "http://h/%",
        "http://h/%1",
        "http://h/%zz",
        "http://h/<x>",
        "http://a%3ab:p@h/",
        "http://a%0d%0a:p@h/",
        "http://a:p%00@h/",
        "http://" + std::string(256, 'a') + "/",
        "http://" + huge,
        huge,
    };
    for (const std::string& text : bad) {
        BOOST_TEST_CONTEXT(text.substr(0, 80)) {
            const auto message = refused(text);
            BOOST_TEST(message.size() < 500u);
        }
    }
}

BOOST_AUTO_TEST_CASE(other_schemes_are_refused_by_name) {
    for (const auto text : {"ftp://h/", "file:///etc/passwd", "ws://h", "httpx://h", "unix://h", "://h"})
        BOOST_TEST(contains(refused(text, errc::unsupported_scheme), std::string_view(text).substr(0, 4)));
}

BOOST_AUTO_TEST_CASE(a_long_target_is_no_error) {
    const std::string path = "/" + std::string(1 << 20, 'a');
    BOOST_TEST((parsed("http://h" + path).target == path));
}

BOOST_AUTO_TEST_CASE(a_refusal_names_what_was_given) {
    BOOST_TEST(contains(refused("localhost:4096"), "\"localhost:4096\""));
    BOOST_TEST(contains(refused("http://h:65536/x"), "\"http://h:65536/x\""));
}

BOOST_AUTO_TEST_CASE(a_refusal_never_shows_a_password) {
    const std::vector<std::string> bad{
        "http://u:s3cret@h:0/",
        "http://u:s3cret@/",
        "http://u:s3cret@h@evil/",
        "http://u:s3cret/x@h:0/",
        "http://u:s3cret#x@h y/",
        "http://u:s3cret?x@h/",
        "http://u:s3cret@h/\r\n",
        "u:s3cret@h",
        "http//u:s3cret@h",
        "http://u:s3 s3cret@h/",
        "http://u%3a:s3cret@h/",
        "http://s3cret@h:0",
        "http://u:s3cret://@h:0/",
        "http://u@x:s3cret@h:0/",
        "http://[::1]:s3cret@h:0/x@y",
    };
    for (const std::string& text : bad) {
        BOOST_TEST_CONTEXT(text)
        BOOST_TEST(!contains(refused(text), "s3cret"));
    }
    for (const char* text : {"ftp://u:s3cret@h/", "u:s3cret@h/http://x@y/", "u:s3cret@h?http://x@y"})
        BOOST_TEST(!contains(refused(text, errc::unsupported_scheme), "s3cret"), text);
}

BOOST_AUTO_TEST_CASE(a_refusal_is_one_line_of_printable_ascii) {
    std::string all;
    for (int c = 0; c < 256; ++c)
        all += static_cast<char>(c);
    for (const auto& text : {all, "http://" + all, all + "://" + all, "http://h/" + all}) {
        const auto url = parse_url(text);
        BOOST_TEST_REQUIRE(url.has_error());
        for (const char c : url.error().message)
            BOOST_TEST_REQUIRE((c >= 0x20 && c < 0x7f));
    }
}

BOOST_AUTO_TEST_CASE(whatever_is_accepted_is_safe_to_send_and_parses_the_same_again) {
    std::mt19937_64 random(1);
    const std::string_view alphabet = "http://[]:@?#%0aAd.1/\\-_ \r\n\t\x80&=";
    int accepted = 0;
    for (int i = 0; i < 200000; ++i) {
        std::string text = "http://";
        for (auto n = random() % 16; n > 0; --n)
            text += alphabet[random() % alphabet.size()];
        const auto url = parse_url(text);
        if (!url)
            continue;
        ++accepted;
        for (const char c : url->target + url->host_header())
            BOOST_TEST_REQUIRE((c > 0x20 && c < 0x7f && c != '#'));
        BOOST_TEST_REQUIRE(url->target.starts_with('/'));
        BOOST_TEST_REQUIRE(!url->where.host.empty());
        BOOST_TEST_REQUIRE(url->where.port != 0);
        const auto again = parse_url("http://" + url->host_header() + url->target);
        BOOST_TEST_REQUIRE(again.has_value(), text);
        BOOST_TEST_REQUIRE((again->where == url->where && again->target == url->target));
    }
    BOOST_TEST(accepted > 1000);
}

BOOST_AUTO_TEST_CASE(a_path_goes_behind_the_urls_own) {
    struct row {
        std::string_view base, path, target;
    };
    for (const row& each : std::vector<row>{{"http://h", "/event", "/event"},
                                            {"http://h/", "/event?a=b", "/event?a=b"},
                                            {"http://h/proxy", "/event", "/proxy/event"},
                                            {"http://h/proxy/?x=/y", "/event?a=b", "/proxy/event?a=b"}})
        BOOST_TEST(parsed(each.base).with_path(each.path).target == each.target);
    const auto url = parsed("http://u:p@h:81/x").with_path("/y");
    BOOST_TEST(url.user == "u");
    BOOST_TEST(url.password == "p");
    BOOST_TEST(to_string(url.where) == "http://h:81");
}

BOOST_AUTO_TEST_CASE(all_but_unreserved_characters_are_percent_encoded) {
    BOOST_TEST(percent_encode("") == "");
    BOOST_TEST(percent_encode("azAZ09-._~") == "azAZ09-._~");
    BOOST_TEST(percent_encode("/home/me/a b") == "%2Fhome%2Fme%2Fa%20b");
    BOOST_TEST(percent_encode("a&b=c+d#e?%") == "a%26b%3Dc%2Bd%23e%3F%25");
    BOOST_TEST(percent_encode("\r\n\x7f\xc3\xa4") == "%0D%0A%7F%C3%A4");
    BOOST_TEST(percent_encode(std::string_view("\0", 1)) == "%00");
}

BOOST_AUTO_TEST_CASE(what_is_percent_encoded_is_always_fit_for_a_url) {
    for (int c = 0; c < 256; ++c) {
        const std::string value(1, static_cast<char>(c));
        const auto text = "http://h/event?directory=" + percent_encode(value);
        BOOST_TEST("http://h" + parsed(text).target == text);
    }
}
