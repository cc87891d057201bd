// Which proxy serves which origin, in tables; and exchanges through one, in virtual time.
#include <boost/test/unit_test.hpp>

#include "support/coroutine.hpp"
#include "support/scripted_server.hpp"

#include <holdfast/http/exchange.hpp>
#include <holdfast/http/proxy.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace holdfast;
using http::parse_proxy;
using http::proxies_of;
using http::proxy_rules;

BOOST_AUTO_TEST_CASE(a_proxy_is_understood_as_people_write_it) {
    struct row {
        const char *text, *where, *user, *password;
    };
    for (const row& each :
         std::vector<row>{{"http://proxy.test:3128", "http://proxy.test:3128", "", ""},
                          {"proxy.test:3128", "http://proxy.test:3128", "", ""},
                          {"PROXY.test:3128", "http://proxy.test:3128", "", ""},
                          {"proxy.test", "http://proxy.test:1080", "", ""},
                          {"proxy.test:", "http://proxy.test:1080", "", ""},
                          {"http://proxy.test", "http://proxy.test:1080", "", ""},
                          {"http://proxy.test/", "http://proxy.test:1080", "", ""},
                          {"http://proxy.test:80", "http://proxy.test:80", "", ""},
                          {"http://proxy.test:80/pac?x#y", "http://proxy.test:80", "", ""},
                          {"http://proxy.test/a:80", "http://proxy.test:1080", "", ""},
                          {"http://me:s%3Acret@proxy.test:80/", "http://proxy.test:80", "me", "s:cret"},
                          {"me:1234@proxy.test", "http://proxy.test:1080", "me", "1234"},
                          {"127.0.0.1:8080", "http://127.0.0.1:8080", "", ""},
                          {"[::1]:8080", "http://[::1]:8080", "", ""},
                          {"http://[::1]", "http://[::1]:1080", "", ""}}) {
        const auto proxy = parse_proxy(each.text);
        BOOST_TEST_REQUIRE(proxy.has_value(), each.text);
        BOOST_TEST(to_string(proxy->where) == each.where, each.text);
        BOOST_TEST(proxy->user == each.user);
        BOOST_TEST(proxy->password == each.password);
        BOOST_TEST(proxy->target == "/");
    }
}

BOOST_AUTO_TEST_CASE(what_is_no_proxy_is_refused_without_its_password) {
    struct row {
        const char* text;
        errc code;
    };
    for (const row& each :
         std::vector<row>{{"", errc::invalid_url},
                          {"http://", errc::invalid_url},
                          {"me:s3cret@", errc::invalid_url},
                          {"http://me:s3cret@a b", errc::invalid_url},
                          {"proxy.test:70000", errc::invalid_url},
                          {"https://me:s3cret@proxy.test", errc::unsupported_scheme},
                          {"socks5://me:s3cret@proxy.test:1080", errc::unsupported_scheme}}) {
        const auto proxy = parse_proxy(each.text);
        BOOST_TEST_REQUIRE(proxy.has_error(), each.text);
        BOOST_TEST(proxy.error().code == error_code(each.code), proxy.error().message);
        BOOST_TEST(proxy.error().message.find("s3cret") == std::string::npos, proxy.error().message);
    }
}

namespace {

proxy_rules two_proxies() {
    proxy_rules rules;
    rules.for_http = parse_proxy("plain.test:1").value();
    rules.for_https = parse_proxy("secure.test:2").value();
    return rules;
}

bool is_direct(const std::string& rule, const endpoint& origin) {
    auto rules = two_proxies();
    rules.bypass = {"nothing.like.it", rule};
    return !rules.proxy_for(origin);
}

} // namespace

BOOST_AUTO_TEST_CASE(the_scheme_of_the_origin_chooses_the_proxy) {
    const auto rules = two_proxies();
    BOOST_TEST(rules.proxy_for({"http", "a.test", 80})->where.host == "plain.test");
    BOOST_TEST(rules.proxy_for({"https", "a.test", 443})->where.host == "secure.test");
    BOOST_TEST(!proxy_rules().proxy_for({"http", "a.test", 80}).has_value());
    BOOST_TEST(!proxy_rules().proxy_for({"https", "a.test", 443}).has_value());
}

BOOST_AUTO_TEST_CASE(what_a_rule_exempts_is_reached_directly) {
    struct row {
        const char *rule, *host;
        std::uint16_t port;
        bool direct;
    };
    for (const row& each : std::vector<row>{
             {"*", "a.test", 80, true},
             {"*", "::1", 80, true},
             {"a.test", "a.test", 80, true},
             {"A.TEST", "a.test", 80, true},
             {"a.test.", "a.test", 80, true},
             {"a.test", "a.test.", 80, true},
             {"a.test", "b.a.test", 80, true},
             {"a.test", "aa.test", 80, false},
             {"a.test", "test", 80, false},
             {"a.test", "a.test.org", 80, false},
             {".a.test", "a.test", 80, true},
             {".a.test", "b.a.test", 80, true},
             {".a.test", "ba.test", 80, false},
             {"*.a.test", "b.a.test", 80, true},
             {"*.a.test", "b.test", 80, false},
             {"a.test:81", "a.test", 81, true},
             {"a.test:81", "b.a.test", 81, true},
             {"a.test:81", "a.test", 80, false},
             {"a.test:", "a.test", 80, false},
             {"a.test:x", "a.test", 80, false},
             {"", "a.test", 80, false},
             {".", "a.test", 80, false},
             {"*.", "a.test", 80, false},
             {":80", "a.test", 80, false},
             {"127.0.0.1", "127.0.0.1", 80, true},
             {"127.0.0.1:80", "127.0.0.1", 80, true},
             {"127.0.0.1:81", "127.0.0.1", 80, false},
             {"0.0.1", "127.0.0.1", 80, false}, // an address has no domain
             {"1", "127.0.0.1", 80, false},
             {"::1", "::1", 80, true},
             {"0:0::1", "::1", 80, true},
             {"[::1]", "::1", 80, true},
             {"[::1]:80", "::1", 80, true},
             {"[::1]:81", "::1", 80, false},
             {"::2", "::1", 80, false},
             {"[::1", "::1", 80, false},
             {"[]:80", "::1", 80, false},
             {":", "::1", 80, false},
             {"[", "a.test", 80, false},
             {"10.0.0.0/8", "10.255.1.2", 80, true},
             {"10.0.0.0/8", "11.0.0.1", 80, false},
             {"192.168.4.0/22", "192.168.7.9", 80, true},
             {"192.168.4.0/22", "192.168.8.1", 80, false},
             {"10.1.2.3/32", "10.1.2.3", 80, true},
             {"10.1.2.3/32", "10.1.2.2", 80, false},
             {"0.0.0.0/0", "10.1.2.2", 80, true},
             {"0.0.0.0/0", "::1", 80, false},
             {"10.0.0.0/8", "ten.test", 80, false},
             {"fd00::/8", "fd12::1", 80, true},
             {"fd00::/8", "fe80::1", 80, false},
             {"10.0.0.0/33", "10.0.0.0", 80, false},
             {"10.0.0.0/", "10.0.0.0", 80, false},
             {"10.0.0.0/x", "10.0.0.0", 80, false},
             {"a.test/8", "a.test", 80, false},
             {"/8", "10.0.0.0", 80, false},
         }) {
        for (const char* scheme : {"http", "https"})
            BOOST_TEST(is_direct(each.rule, {scheme, each.host, each.port}) == each.direct,
                       each.rule << " for " << each.host << ':' << each.port);
    }
}

namespace {

using variables = std::map<std::string, std::string>;

result<proxy_rules> rules_of(const variables& set) {
    return proxies_of([&](const char* name) -> std::optional<std::string> {
        const auto found = set.find(name);
        return found == set.end() ? std::nullopt : std::optional(found->second);
    });
}

std::string host_of(const std::optional<http::url>& proxy) {
    return proxy ? proxy->where.host : "none";
}

} // namespace

BOOST_AUTO_TEST_CASE(the_environment_gives_the_rules) {
    struct row {
        variables set;
        std::string for_http, for_https;
    };
    for (const row& each : std::vector<row>{
             {{}, "none", "none"},
             {{{"http_proxy", "a:1"}}, "a", "none"},
             {{{"HTTP_PROXY", "a:1"}}, "none", "none"}, // may come from a request
             {{{"https_proxy", "a:1"}}, "none", "a"},
             {{{"HTTPS_PROXY", "a:1"}}, "none", "a"},
             {{{"https_proxy", "a:1"}, {"HTTPS_PROXY", "b:1"}}, "none", "a"},
             {{{"https_proxy", ""}, {"HTTPS_PROXY", "b:1"}}, "none", "b"},
             {{{"all_proxy", "a:1"}}, "a", "a"},
             {{{"ALL_PROXY", "a:1"}}, "a", "a"},
             {{{"all_proxy", "a:1"}, {"ALL_PROXY", "b:1"}}, "a", "a"},
             {{{"http_proxy", "b:1"}, {"ALL_PROXY", "a:1"}}, "b", "a"},
             {{{"https_proxy", "b:1"}, {"all_proxy", "a:1"}}, "a", "b"},
             // What is not used need not be understood.
             {{{"https_proxy", "b:1"}, {"http_proxy", "a:1"}, {"all_proxy", "socks5://c"}}, "a", "b"},
         }) {
        const auto rules = rules_of(each.set);
        BOOST_TEST_REQUIRE(rules.has_value());
        BOOST_TEST(host_of(rules->for_http) == each.for_http);
        BOOST_TEST(host_of(rules->for_https) == each.for_https);
        BOOST_TEST(rules->bypass.empty());
    }
}

BOOST_AUTO_TEST_CASE(no_proxy_is_a_list_apart_by_commas_or_blanks) {
    const std::vector<std::string> expected{"localhost", ".a.test", "10.0.0.0/8"};
    for (const char* list : {"localhost,.a.test,10.0.0.0/8", " localhost , .a.test\t10.0.0.0/8,",
                             "localhost .a.test 10.0.0.0/8"}) {
        BOOST_TEST(rules_of({{"no_proxy", list}})->bypass == expected, boost::test_tools::per_element());
        BOOST_TEST(rules_of({{"NO_PROXY", list}})->bypass == expected, boost::test_tools::per_element());
    }
    BOOST_TEST(rules_of({{"no_proxy", "*"}, {"NO_PROXY", "a"}})->bypass == std::vector<std::string>{"*"},
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_variable_that_is_not_understood_is_named_without_its_password) {
    for (const char* name : {"https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"}) {
        const auto rules = rules_of({{name, "socks5://me:s3cret@proxy.test"}});
        BOOST_TEST_REQUIRE(rules.has_error());
        BOOST_TEST(rules.error().code == error_code(errc::unsupported_scheme));
        BOOST_TEST(rules.error().message.find(name) != std::string::npos, rules.error().message);
        BOOST_TEST(rules.error().message.find("s3cret") == std::string::npos, rules.error().message);
    }
}

// --- what is said to a proxy, and to whom it leads

namespace {

/// Tells each connection the same once a request's head has come, and keeps all that it hears.
class scripted_proxy final : public testing::simulated_server {
public:
    scripted_proxy(testing::world& world, endpoint where) : world_(world), where_(std::move(where)) {
        world_.net().listen(where_, *this);
    }
    ~scripted_proxy() override { world_.net().stop_listening(where_); }

    std::string answer; ///< empty: none
    bool leaves = false;
    std::size_t accepted_so_far = 0;
    std::string heard; ///< of the last connection

    void accepted(testing::wire_id) override {
        ++accepted_so_far;
        heard.clear();
    }
    void received(testing::wire_id wire, std::string_view bytes) override {
        const bool before = has_head();
        heard += bytes;
        if (before || !has_head())
            return;
        world_.net().send(wire, answer);
        if (leaves)
            world_.net().finish(wire);
    }
    void closed(testing::wire_id) override {}

    /// What came after the first head.
    [[nodiscard]] std::string later() const { return heard.substr(heard.find("\r\n\r\n") + 4); }

private:
    [[nodiscard]] bool has_head() const { return heard.find("\r\n\r\n") != std::string::npos; }

    testing::world& world_;
    endpoint where_;
};

const std::string tunnel = "HTTP/1.1 200 Connection established\r\n\r\n";

struct behind_proxy : test::in_simulated_world {
    runtime& rt = world.rt();
    scripted_proxy proxy{world, endpoint("http", "proxy.test", 3128)};
    http::transport transport;
    http::request request;
    const time_point start = rt.now();

    behind_proxy() {
        transport.proxies.for_http = parse_proxy("http://pu:pr0xypass@proxy.test:3128").value();
        transport.proxies.for_https = transport.proxies.for_http;
    }

    [[nodiscard]] long long elapsed_ms() const { return to_ms(rt.now() - start); }

    net::awaitable<result<http::response>> fetch(const char* url) {
        auto where = http::parse_url(url).value();
        co_return co_await http::fetch(rt, std::move(where), request, transport, http::response_limits());
    }

    net::awaitable<failure> failure_of(const char* url) {
        const auto got = co_await fetch(url);
        BOOST_TEST_REQUIRE(got.has_error());
        BOOST_TEST(got.error().message.find("http://proxy.test:3128") != std::string::npos,
                   got.error().message);
        BOOST_TEST(got.error().message.find("pr0xypass") == std::string::npos, got.error().message);
        BOOST_TEST(!got.error().connected);
        co_return got.error();
    }
};

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

const std::string credentials =
    "Proxy-Authorization: " + http::basic_authorization("pu", "pr0xypass") + "\r\n";
const char* const secure_url = "https://me:mine@a.test/x?token=1";

} // namespace

CO_TEST_CASE(a_plain_request_goes_to_the_proxy_in_absolute_form, behind_proxy) {
    proxy.answer = test::response(200, "text/plain", "hello");
    const auto got = co_await fetch("http://me:mine@a.test:8080/x?y");
    BOOST_TEST_REQUIRE(got.has_value());
    BOOST_TEST(got->body == "hello");
    BOOST_TEST(proxy.heard ==
               "GET http://a.test:8080/x?y HTTP/1.1\r\nHost: a.test:8080\r\n" + credentials +
                   "Accept-Encoding: identity\r\nUser-Agent: " + std::string(http::user_agent()) +
                   "\r\nAuthorization: " + http::basic_authorization("me", "mine") + "\r\n\r\n");
    BOOST_TEST(world.net().attempts({"http", "a.test", 8080}) == 0u);
}

CO_TEST_CASE(an_error_of_the_origin_is_a_response_through_a_proxy_too, behind_proxy) {
    proxy.answer = test::response(503, "text/plain", "later");
    const auto got = co_await fetch("http://a.test/");
    BOOST_TEST_REQUIRE(got.has_value());
    BOOST_TEST(got->head.status == 503);
}

CO_TEST_CASE(a_secure_request_asks_for_a_tunnel_and_tells_the_proxy_nothing_else, behind_proxy) {
    proxy.answer = tunnel;
    request.method = "POST";
    request.headers = {{"Cookie", "c00kie"}, {"Authorization", "Bearer t0ken"}};
    request.body = "b0dy";
    const auto got = co_await fetch(secure_url);
    BOOST_TEST_REQUIRE(got.has_error());
    BOOST_TEST(got.error().code == error_code(errc::tls_timeout)); // the tunnel is deaf
    BOOST_TEST(proxy.heard.starts_with("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n" + credentials +
                                       "\r\n"));
    const auto hello = proxy.later();
    BOOST_TEST(hello.starts_with("\x16\x03"), "TLS begins at once");
    BOOST_TEST(contains(hello, "a.test"), "with the origin's name");
    for (const char* secret : {"c00kie", "t0ken", "b0dy", "mine", "token=1", "Proxy-Authorization"})
        BOOST_TEST(!contains(hello, secret), secret);
    BOOST_TEST(!contains(proxy.heard, "token=1"));
    BOOST_TEST(world.net().attempts({"https", "a.test", 443}) == 0u);
}

CO_TEST_CASE(an_origin_that_a_rule_exempts_is_reached_directly_and_hears_nothing_of_the_proxy, behind_proxy) {
    transport.proxies.bypass = {".test"};
    test::scripted_server origin(world, {"http", "a.test", 80});
    origin.play({test::send(test::response(200, "text/plain", "direct"))});
    const auto got = co_await fetch("http://a.test/");
    BOOST_TEST_REQUIRE(got.has_value());
    BOOST_TEST(got->body == "direct");
    BOOST_TEST(proxy.accepted_so_far == 0u);
    BOOST_TEST(!origin.requests().front().has_header("Proxy-Authorization"));
    BOOST_TEST(origin.requests().front().target() == "/");
}

CO_TEST_CASE(a_proxys_credentials_given_as_a_header_are_refused_before_any_io, behind_proxy) {
    request.headers = {{"Proxy-Authorization", "Basic s3cret"}};
    for (const char* url : {"http://a.test/", "https://a.test/"}) {
        const auto got = co_await fetch(url);
        BOOST_TEST_REQUIRE(got.has_error());
        BOOST_TEST(got.error().code == error_code(errc::invalid_request));
    }
    BOOST_TEST(proxy.accepted_so_far == 0u);
}

CO_TEST_CASE(what_a_proxy_answers_to_connect_instead_of_a_tunnel_is_judged_as_a_status, behind_proxy) {
    struct row {
        int status;
        const char* headers;
        failure_class cls;
        bool is_final, blames_endpoint;
    };
    const std::vector<row> rows{
        {407, "Proxy-Authenticate: Basic\r\n", failure_class::http_status, true, false},
        {403, "", failure_class::http_status, true, false},
        {302, "Location: http://login.test/\r\n", failure_class::http_status, true, false},
        {429, "", failure_class::throttled, false, false},
        {500, "", failure_class::http_status, false, false},
        {502, "", failure_class::http_status, false, true},
        {503, "", failure_class::http_status, false, true},
        {503, "Retry-After: 7\r\n", failure_class::throttled, false, true},
        {504, "", failure_class::http_status, false, true},
    };
    for (const row& each : rows) {
        proxy.answer = test::response(each.status, "text/plain", "because", each.headers);
        const auto why = co_await failure_of(secure_url);
        BOOST_TEST(why.status == each.status);
        BOOST_TEST((why.cls == each.cls), each.status);
        BOOST_TEST(retry::is_final(why) == each.is_final, each.status);
        BOOST_TEST(retry::blames_endpoint(why) == each.blames_endpoint, each.status);
        BOOST_TEST(contains(why.message, "the proxy http://proxy.test:3128 answered CONNECT with status " +
                                             std::to_string(each.status)));
        BOOST_TEST(why.body == "because");
        BOOST_TEST(!why.headers.empty());
        BOOST_TEST(why.retry_after.has_value() == contains(each.headers, "Retry-After"));
    }
    BOOST_TEST(elapsed_ms() == 0);
}

CO_TEST_CASE(a_407_is_the_proxys_own_for_a_plain_request_too_and_says_what_is_missing, behind_proxy) {
    proxy.answer = test::response(407, "text/plain", "who are you?");
    const auto wrong = co_await failure_of("http://a.test/");
    BOOST_TEST(wrong.status == 407);
    BOOST_TEST(retry::is_final(wrong));
    BOOST_TEST(
        wrong.message ==
        "the proxy http://proxy.test:3128 answered GET with status 407: it wants another user and password");
    transport.proxies.for_http = parse_proxy("proxy.test:3128").value();
    const auto none = co_await failure_of("http://a.test/");
    BOOST_TEST(
        none.message ==
        "the proxy http://proxy.test:3128 answered GET with status 407: it wants a user and a password");
}

CO_TEST_CASE(a_proxys_text_is_waited_for_a_second_at_most, behind_proxy) {
    proxy.answer = "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n" + test::chunk("because");
    const auto why = co_await failure_of(secure_url);
    BOOST_TEST(why.body == "because");
    BOOST_TEST(elapsed_ms() == 1000);
}

CO_TEST_CASE(what_follows_the_head_is_the_tunnels_whatever_the_head_says_of_a_body, behind_proxy) {
    for (const char* more : {"", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"}) {
        for (const char* before : {"", "HTTP/1.1 100 Continue\r\n\r\n"}) {
            proxy.answer = before + std::string("HTTP/1.1 200 OK\r\n") + more + "\r\nthis is no TLS";
            const auto got = co_await fetch(secure_url);
            BOOST_TEST_REQUIRE(got.has_error());
            // TLS has read it: without it TLS would still wait.
            BOOST_TEST((got.error().cls == failure_class::tls), got.error().message);
        }
    }
    BOOST_TEST(elapsed_ms() == 0);
}

CO_TEST_CASE(a_tunnel_is_part_of_the_connect_deadline, behind_proxy) {
    transport.deadlines.connect = seconds(3);
    world.net().latency(seconds(2));
    const auto silent = co_await failure_of(secure_url);
    BOOST_TEST(silent.code == error_code(errc::connect_timeout));
    BOOST_TEST(elapsed_ms() == 3000);
    proxy.answer = "HTTP/1.1 200 OK\r\nX: ";
    const auto slow = co_await failure_of(secure_url);
    BOOST_TEST(slow.code == error_code(errc::connect_timeout));
    BOOST_TEST(elapsed_ms() == 6000);
    proxy.answer = "HTTP/1.1 403 No\r\n\r\nbecau";
    transport.deadlines.connect = milliseconds(4500);
    const auto refused = co_await failure_of(secure_url);
    BOOST_TEST(refused.status == 403);
    BOOST_TEST(elapsed_ms() == 10500);
}

CO_TEST_CASE(a_proxy_that_is_not_there_is_named, behind_proxy) {
    world.net().stop_listening({"http", "proxy.test", 3128});
    for (const char* url : {"http://me:mine@a.test/", secure_url}) {
        const auto why = co_await failure_of(url);
        BOOST_TEST((why.cls == failure_class::refused));
        BOOST_TEST(contains(why.message, "the proxy for http"), why.message);
        BOOST_TEST(contains(why.message, "a.test"), why.message);
        BOOST_TEST(!contains(why.message, "mine"), why.message);
    }
    world.net().behave({"http", "proxy.test", 3128}, testing::memory_network::behaviour::hang);
    const auto why = co_await failure_of(secure_url);
    BOOST_TEST(why.code == error_code(errc::connect_timeout));
}

CO_TEST_CASE(a_proxy_that_does_not_speak_http_is_named, behind_proxy) {
    struct row {
        std::string answer;
        bool leaves;
        errc code;
    };
    const std::vector<row> rows{
        {"", true, errc::cut},
        {"HTTP/1.1 200 OK\r\n", true, errc::cut},
        {"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", false, errc::malformed},
        {"HTTP/1.1 200 OK\r\nX: " + std::string(20000, 'x'), false, errc::header_too_large},
    };
    for (const row& each : rows) {
        proxy.answer = each.answer;
        proxy.leaves = each.leaves;
        const auto why = co_await failure_of(secure_url);
        BOOST_TEST(why.code == error_code(each.code), why.message);
    }
    BOOST_TEST(elapsed_ms() == 0);
}

CO_TEST_CASE(a_tunnel_that_is_waited_for_is_cancelled_at_once, behind_proxy) {
    auto bounded = [](behind_proxy& me) -> net::awaitable<bool> {
        auto fetching = me.fetch(secure_url);
        const auto got = co_await with_deadline(me.rt, me.rt.now() + seconds(1), std::move(fetching));
        co_return got.has_value();
    };
    const bool done = co_await bounded(*this);
    BOOST_TEST(!done);
    BOOST_TEST(elapsed_ms() == 1000);
    BOOST_TEST(world.net().open_connections() == 0u);
}
