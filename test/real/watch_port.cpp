// The read-only port of `holdfast watch`: who may ask, what is answered, what hostile clients can do. Its
// events have their tests in watch_events.
#include <boost/test/unit_test.hpp>

#include "support/eventually.hpp"
#include "support/watched_port.hpp"

#include <boost/json/parse.hpp>

#include <arpa/inet.h>
#include <ifaddrs.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using namespace std::chrono_literals;
using app::watch_port_config;

struct heard {
    int status = 0;
    std::string head;
    std::string body;
};

heard parse(const std::string& all) {
    const auto end = all.find("\r\n\r\n");
    if (end == std::string::npos || !all.starts_with("HTTP/1.1 "))
        return {-1, all, {}};
    return {std::stoi(all.substr(9, 3)), all.substr(0, end + 2), all.substr(end + 4)};
}

/// A request on a connection of its own; `fields` are whole lines.
heard ask(unsigned short port, const std::string& method, const std::string& target,
          const std::string& fields = {}, const std::string& host = "127.0.0.1") {
    talker client(port, method + ' ' + target + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n" +
                            fields + "\r\n");
    return parse(client.rest());
}

bool has_line(const heard& answer, const std::string& line) {
    return answer.head.find("\r\n" + line + "\r\n") != std::string::npos;
}

void check_still_serves(const watched_port& port) {
    BOOST_TEST(ask(port.number(), "GET", "/livez").status == 200);
}

const std::string request = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

watch_port_config quick() {
    watch_port_config config;
    config.head_deadline = 300ms;
    return config;
}

/// One that is not loopback, if there is one.
net::ip::address address_of_this_machine() {
    ifaddrs* all = nullptr;
    net::ip::address found = net::ip::address_v4::loopback();
    if (::getifaddrs(&all) != 0)
        return found;
    for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
        if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET)
            continue;
        const auto* bytes = reinterpret_cast<const sockaddr_in*>(each->ifa_addr);
        const net::ip::address_v4 address(ntohl(bytes->sin_addr.s_addr));
        if (!address.is_loopback())
            found = address;
    }
    ::freeifaddrs(all);
    return found;
}

std::string refusal(const watch_port_config& config) {
    net::io_context io;
    runtime world(io.get_executor());
    app::event_ring ring;
    app::watch_port port(world, config, {}, ring);
    const auto where = port.listen();
    return where ? "listens" : where.error().message;
}

} // namespace

// --- pages

BOOST_AUTO_TEST_CASE(each_page_says_what_it_is_for) {
    watched_port port;
    const auto status = ask(port.number(), "GET", "/status");
    BOOST_TEST(status.status == 200);
    BOOST_TEST(has_line(status, "Content-Type: application/json"), status.head);
    const boost::json::value shown{{"runs", 3}, {"name", "caf\xef\xbf\xbd"}};
    BOOST_TEST(boost::json::parse(status.body) == shown);

    const auto metrics = ask(port.number(), "GET", "/metrics");
    BOOST_TEST(metrics.status == 200);
    BOOST_TEST(has_line(metrics, "Content-Type: text/plain; version=0.0.4; charset=utf-8"), metrics.head);
    BOOST_TEST(metrics.body.find("\nholdfast_turns_open 0\n") != std::string::npos, metrics.body);

    BOOST_TEST(ask(port.number(), "GET", "/livez").body == "ok\n");
    BOOST_TEST(ask(port.number(), "GET", "/status?pretty=1").status == 200);
}

BOOST_AUTO_TEST_CASE(the_front_page_names_every_path) {
    watched_port port;
    const auto front = ask(port.number(), "GET", "/");
    BOOST_TEST(front.status == 200);
    for (const char* path : {"/status", "/metrics", "/livez", "/readyz", "/events"})
        BOOST_TEST(front.body.find(path) != std::string::npos, path);
}

BOOST_AUTO_TEST_CASE(readiness_is_asked_for_each_time) {
    watched_port port;
    BOOST_TEST(ask(port.number(), "GET", "/readyz").status == 200);
    port.ready = false;
    BOOST_TEST(ask(port.number(), "GET", "/readyz").status == 503);
    BOOST_TEST(ask(port.number(), "GET", "/livez").status == 200);
    port.ready = true;
    BOOST_TEST(ask(port.number(), "GET", "/readyz").status == 200);
}

BOOST_AUTO_TEST_CASE(head_is_answered_as_get_but_without_a_body) {
    watched_port port;
    for (const char* path : {"/", "/status", "/metrics", "/livez", "/readyz", "/nothing"}) {
        const auto get = ask(port.number(), "GET", path);
        const auto head = ask(port.number(), "HEAD", path);
        BOOST_TEST(head.head == get.head);
        BOOST_TEST(head.body.empty(), path);
        BOOST_TEST(!get.body.empty(), path);
    }
    const auto events = ask(port.number(), "HEAD", "/events");
    BOOST_TEST(has_line(events, "Content-Type: text/event-stream"), events.head);
    BOOST_TEST(events.body.empty());
}

BOOST_AUTO_TEST_CASE(an_unknown_path_is_told_the_known_ones_in_one_line) {
    watched_port port;
    for (const char* path : {"/nothing", "/status/", "/STATUS", "//", "/../status"}) {
        const auto answer = ask(port.number(), "GET", path);
        BOOST_TEST(answer.status == 404, path);
        BOOST_TEST(answer.body == "there are only / /status /metrics /livez /readyz /events\n");
    }
}

BOOST_AUTO_TEST_CASE(nothing_can_be_changed) {
    watched_port port;
    for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"}) {
        const auto answer = ask(port.number(), method, "/status");
        BOOST_TEST(answer.status == 405, method);
        BOOST_TEST(has_line(answer, "Allow: GET, HEAD"), answer.head);
    }
}

BOOST_AUTO_TEST_CASE(a_body_is_refused_and_the_connection_ended) {
    watched_port port;
    for (const std::string fields :
         {"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n0\r\n"}) {
        talker client(port.number(),
                      "GET /status HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n" + request);
        const auto all = client.rest();
        BOOST_TEST(parse(all).status == 413, all);
        BOOST_TEST(all.find("HTTP/1.1", 1) == std::string::npos, all);
    }
    BOOST_TEST(ask(port.number(), "GET", "/status", "Content-Length: 0\r\n").status == 200);
}

BOOST_AUTO_TEST_CASE(a_page_that_throws_is_an_error_of_its_own_and_logged) {
    watched_port port;
    port.status_throws = true;
    BOOST_TEST(ask(port.number(), "GET", "/status").status == 500);
    BOOST_TEST(port.errors() == std::vector<std::string>{"port.error: no status today"},
               boost::test_tools::per_element());
    check_still_serves(port);
}

BOOST_AUTO_TEST_CASE(no_other_site_is_let_in_and_nothing_is_cached_or_guessed) {
    watched_port port;
    for (const char* path : {"/", "/status", "/metrics", "/livez", "/nothing"})
        for (const char* method : {"GET", "OPTIONS"}) {
            const auto answer = ask(port.number(), method, path,
                                    "Origin: http://evil.example\r\nAccess-Control-Request-Method: GET\r\n");
            BOOST_TEST(answer.head.find("Access-Control") == std::string::npos, answer.head);
            BOOST_TEST(has_line(answer, "Cache-Control: no-store"), answer.head);
            BOOST_TEST(has_line(answer, "X-Content-Type-Options: nosniff"), answer.head);
        }
}

// --- who may ask

BOOST_AUTO_TEST_CASE(only_names_that_are_ours_are_answered) {
    watch_port_config config;
    config.hosts = {"Watch.example", "tunnel.example:9000", "[fe80::1]"};
    watched_port port(config);
    const auto right = std::to_string(port.number());
    const auto wrong = std::to_string(port.number() ^ 1);
    for (const auto& host :
         {std::string("localhost"), "LOCALHOST:" + right, std::string("127.0.0.1"), "127.0.0.1:" + right,
          std::string("127.0.0.9"), std::string("[::1]"), "[::1]:" + right, std::string("watch.example"),
          "WATCH.EXAMPLE:" + right, std::string("tunnel.example:9000"), "[fe80::1]:" + right})
        BOOST_TEST(ask(port.number(), "GET", "/status", {}, host).status == 200, host);
    for (const auto& host :
         {std::string("evil.example"), "evil.example:" + right, "localhost:" + wrong, "127.0.0.1:" + wrong,
          std::string("localhost.evil.example"), std::string("127.0.0.1.evil.example"),
          std::string("10.0.0.1"), std::string("::1"), std::string("[127.0.0.1]"), std::string("[::2]"),
          std::string(""), "watch.example:" + wrong, std::string("tunnel.example"), "tunnel.example:" + right,
          "localhost:" + right + "0", std::string("localhost:x"), std::string("user@localhost"),
          std::string("0.0.0.0"), std::string("[")})
        for (const char* path : {"/status", "/livez", "/events"})
            BOOST_TEST(ask(port.number(), "GET", path, {}, host).status == 421, host << path);
}

BOOST_AUTO_TEST_CASE(a_request_must_name_one_host_and_no_other_in_its_target) {
    watched_port port;
    for (const std::string each : {"GET /livez HTTP/1.1\r\n\r\n",
                                   "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
                                   "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
                                   "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n"}) {
        talker client(port.number(), each);
        BOOST_TEST(parse(client.rest()).status == 400, each);
    }
}

BOOST_AUTO_TEST_CASE(with_a_token_all_but_the_health_checks_need_it) {
    watch_port_config config;
    config.token = "s3cret";
    watched_port port(config);
    for (const char* path : {"/", "/status", "/metrics", "/events", "/nothing"}) {
        for (const char* wrong :
             {"", "Authorization: Bearer s3cre\r\n", "Authorization: Bearer s3cret2\r\n",
              "Authorization: Bearer S3cret\r\n", "Authorization: Bearer\r\n", "Authorization: Bearer \r\n",
              "Authorization: s3cret\r\n", "Authorization: Basic s3cret\r\n", "X-Token: s3cret\r\n"}) {
            const auto answer = ask(port.number(), "GET", path, wrong);
            BOOST_TEST(answer.status == 401, path << wrong);
            BOOST_TEST(has_line(answer, "WWW-Authenticate: Bearer realm=\"holdfast\""), answer.head);
        }
        BOOST_TEST(ask(port.number(), "HEAD", path, "Authorization: Bearer s3cret\r\n").status != 401, path);
        BOOST_TEST(ask(port.number(), "HEAD", path, "authorization: bEARER  s3cret\r\n").status != 401, path);
    }
    BOOST_TEST(ask(port.number(), "POST", "/status").status == 401);
    BOOST_TEST(ask(port.number(), "GET", "/livez").status == 200);
    BOOST_TEST(ask(port.number(), "GET", "/readyz").status == 200);
}

BOOST_AUTO_TEST_CASE(an_address_that_others_reach_needs_a_token) {
    watch_port_config config;
    for (const char* host : {"0.0.0.0", "::", "192.0.2.1"}) {
        config.host = host;
        BOOST_TEST(refusal(config) == std::string("refusing to listen on ") + host +
                                          " without a token: others can reach that address");
    }
    for (const char* host : {"127.0.0.1", "127.1.2.3", "localhost"}) {
        config.host = host;
        BOOST_TEST(refusal(config) == "listens");
    }
    config.host = "0.0.0.0";
    config.token = "s3cret";
    BOOST_TEST(refusal(config) == "listens");
}

BOOST_AUTO_TEST_CASE(an_address_on_which_it_cannot_listen_is_told_in_words) {
    watch_port_config config;
    config.host = "nowhere.example";
    BOOST_TEST(refusal(config) == "nowhere.example is not an address, as 127.0.0.1, ::1 or localhost");
    config.host = "";
    BOOST_TEST(refusal(config).find("is not an address") != std::string::npos);
    watched_port taken;
    config.host = "127.0.0.1";
    config.port = taken.number();
    BOOST_TEST(refusal(config) == "cannot listen on 127.0.0.1 port " + std::to_string(taken.number()) +
                                      ": Address already in use");
}

// A program in a container is asked by the container's address.
BOOST_AUTO_TEST_CASE(the_address_that_a_connection_came_in_at_is_a_name_of_ours) {
    watch_port_config config;
    config.host = "0.0.0.0";
    config.token = "s3cret";
    watched_port port(config);
    const auto ours = address_of_this_machine();
    for (const auto& [host, status] : {std::pair(ours.to_string(), 200),
                                       {ours.to_string() + ':' + std::to_string(port.number()), 200},
                                       {std::string("203.0.113.9"), 421},
                                       {std::string("0.0.0.0"), 421}}) {
        talker client({ours, port.number()}, "GET /livez HTTP/1.0\r\nHost: " + host + "\r\n\r\n");
        BOOST_TEST(parse(client.rest()).status == status, host);
    }
    BOOST_TEST(ask(port.number(), "GET", "/livez", {}, "127.0.0.1").status == 200);
}

// --- connections

BOOST_AUTO_TEST_CASE(a_connection_serves_one_request_after_the_other) {
    watched_port port;
    talker client(port.number());
    for (int i = 0; i < 5; ++i) {
        client.say(request);
        BOOST_TEST(client.until("ok\n").has_value());
    }
}

BOOST_AUTO_TEST_CASE(requests_that_come_at_once_are_answered_in_order) {
    watched_port port;
    std::string all;
    for (const char* path : {"/livez", "/nothing", "/metrics", "/readyz"})
        all += std::string("GET ") + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
    talker client(port.number(), all + "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    const auto told = client.rest();
    std::string statuses;
    for (auto at = told.find("HTTP/1.1 "); at != std::string::npos; at = told.find("HTTP/1.1 ", at + 1))
        statuses += told.substr(at + 9, 3) + ' ';
    BOOST_TEST(statuses == "200 404 200 200 200 ");
}

BOOST_AUTO_TEST_CASE(a_request_may_come_byte_by_byte) {
    watched_port port;
    talker client(port.number());
    for (const char c : request)
        client.say(std::string(1, c));
    BOOST_TEST(client.until("ok\n").has_value());
}

BOOST_AUTO_TEST_CASE(http_1_0_is_answered_without_a_host_and_ended) {
    watched_port port;
    for (const char* fields : {"\r\n", "Connection: keep-alive\r\n\r\n"}) {
        talker client(port.number(), std::string("GET /livez HTTP/1.0\r\n") + fields);
        const auto answer = parse(client.rest(3s));
        BOOST_TEST(answer.status == 200);
        BOOST_TEST(answer.body == "ok\n");
    }
    talker client(port.number(), "GET /livez HTTP/1.0\r\nHost: evil.example\r\n\r\n");
    BOOST_TEST(parse(client.rest()).status == 421);
}

BOOST_AUTO_TEST_CASE(one_who_ends_its_side_is_answered_all_that_it_asked) {
    watched_port port;
    talker client(port.number(), request + request);
    client.end_of_speech();
    const auto all = client.rest();
    BOOST_TEST(all.find("ok\n", all.find("ok\n") + 1) != std::string::npos, all);
    talker half(port.number(), "GET /livez HTT");
    half.end_of_speech();
    BOOST_TEST(half.rest() == "");
}

BOOST_AUTO_TEST_CASE(a_head_of_8_kib_is_taken_and_a_larger_one_is_not) {
    watched_port port;
    const auto with_head_of = [](std::size_t size) {
        const std::string begin = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: ",
                          end = "\r\n\r\n";
        return begin + std::string(size - begin.size() - end.size(), 'x') + end;
    };
    BOOST_TEST(parse(talker(port.number(), with_head_of(8192)).rest()).status == 200);
    BOOST_TEST(parse(talker(port.number(), with_head_of(8193)).rest()).status == 431);
    talker much(port.number(), with_head_of(200'000));
    BOOST_TEST(parse(much.rest()).status == 431);
    BOOST_TEST(!much.was_reset(), "what it was told might not have reached it");
    check_still_serves(port);
}

BOOST_AUTO_TEST_CASE(a_head_that_never_ends_is_cut_at_the_limit) {
    watched_port port;
    talker client(port.number(), "GET / HTTP/1.1\r\n");
    int said = 0;
    while (said < 20'000 && client.say("X-Junk: " + std::string(1000, 'x') + "\r\n"))
        ++said;
    BOOST_TEST(said < 20'000);
    check_still_serves(port);
}

BOOST_AUTO_TEST_CASE(what_is_no_http_is_told_so_and_ended) {
    watched_port port;
    std::string every_byte;
    for (int c = 0; c < 256; ++c)
        every_byte += static_cast<char>(c);
    for (const std::string& junk :
         {std::string("hello\r\n\r\n"), every_byte + "\r\n\r\n", std::string("\r\n\r\n"),
          std::string("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n"),
          std::string("GET / HTTP/1.1\r\nHo st: x\r\n\r\n"), std::string("GET /\r\n\r\n"),
          std::string("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n"),
          std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")}) {
        talker client(port.number(), junk + request);
        const auto all = client.rest();
        BOOST_TEST(parse(all).status == 400, all);
        BOOST_TEST(all.find("HTTP/1.1", 1) == std::string::npos, all);
    }
    check_still_serves(port);
}

BOOST_AUTO_TEST_CASE(one_who_says_nothing_is_left_and_one_who_does_not_finish_is_told) {
    watched_port port(quick());
    talker silent(port.number()), halting(port.number(), "GET /livez HTTP/1.1\r\nHo");
    BOOST_TEST(silent.rest() == "");
    BOOST_TEST(parse(halting.rest()).status == 408);
}

BOOST_AUTO_TEST_CASE(a_slow_loris_is_cut_at_the_deadline_and_hinders_nobody) {
    watched_port port(quick());
    std::vector<std::unique_ptr<talker>> lorises;
    for (int i = 0; i < 40; ++i)
        lorises.push_back(std::make_unique<talker>(port.number(), "GET /livez HTTP/1.1\r\n"));
    const auto begun = std::chrono::steady_clock::now();
    std::size_t left = lorises.size();
    while (left > 0 && std::chrono::steady_clock::now() - begun < 5s) {
        check_still_serves(port);
        left = 0;
        for (const auto& each : lorises)
            left += each->say("X: y\r\n") ? 1 : 0;
        std::this_thread::sleep_for(20ms);
    }
    BOOST_TEST(left == 0U);
}

BOOST_AUTO_TEST_CASE(beyond_the_limit_connections_are_told_so_until_one_ends) {
    watch_port_config config;
    config.viewers = 2;
    watched_port port(config);
    port.filler = 1u << 20; // more than a client who does not read takes
    std::vector<std::unique_ptr<talker>> open;
    for (int i = 0; i < 66; ++i) {
        open.push_back(
            std::make_unique<talker>(port.number(), "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n", 4096));
        BOOST_TEST_REQUIRE(open.back()->until("HTTP/1.1 200").has_value());
    }
    const auto refused = ask(port.number(), "GET", "/status");
    BOOST_TEST(refused.status == 503);
    BOOST_TEST(has_line(refused, "Retry-After: 5"), refused.head);
    std::vector<std::unique_ptr<talker>> flood;
    for (int i = 0; i < 300; ++i)
        flood.push_back(std::make_unique<talker>(port.number()));
    flood.clear();
    port.filler = 0;
    open.clear();
    BOOST_TEST(eventually([&] { return ask(port.number(), "GET", "/status").status == 200; }, 5s));
}

// --- the end

BOOST_AUTO_TEST_CASE(it_ends_within_a_second_whoever_is_there) {
    for (const bool by_cancellation : {false, true}) {
        watched_port port;
        talker idle(port.number(), request), silent(port.number()), loris(port.number(), "GET /li");
        talker told(port.number(), "nonsense\r\n\r\n"); // and does not hang up
        BOOST_TEST(idle.until("ok\n").has_value());
        BOOST_TEST(told.until("request\n").has_value());
        BOOST_TEST((port.end(by_cancellation) < 1s));
        BOOST_TEST(idle.rest(100ms) == "");
        BOOST_TEST(loris.rest(100ms) == "");
        BOOST_TEST(silent.rest(100ms) == "");
        BOOST_CHECK_THROW(talker(port.number(), request), boost::system::system_error);
        BOOST_TEST(port.errors().empty());
    }
}

BOOST_AUTO_TEST_CASE(with_nobody_there_whom_something_is_told_it_ends_at_once) {
    watched_port port;
    talker idle(port.number(), request), loris(port.number(), "GET /li");
    BOOST_TEST(idle.until("ok\n").has_value());
    check_still_serves(port);
    BOOST_TEST((port.end() < 400ms));
}
