// The read-only port of `holdfast watch`: no refusal lets bytes of a body be read as a request, and whoever
// fills the port with connections keeps nobody from the health checks.
#include <boost/test/unit_test.hpp>

#include "support/eventually.hpp"
#include "support/watched_port.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::test;
using namespace std::chrono_literals;
using app::watch_port_config;

const std::string livez = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

watch_port_config with_token() {
    watch_port_config config;
    config.token = "s3cret";
    return config;
}

std::size_t answers_in(const std::string& all) {
    std::size_t count = 0;
    for (auto at = all.find("HTTP/1.1 "); at != std::string::npos; at = all.find("HTTP/1.1 ", at + 1))
        ++count;
    return count;
}

std::string status_of(const std::string& all) {
    return all.starts_with("HTTP/1.1 ") ? all.substr(9, 3) : "none: " + all;
}

std::string ask(unsigned short port, const std::string& path) {
    talker client(port, "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    return status_of(client.rest());
}

/// Connections whose clients asked for a long answer and do not read it.
std::vector<std::unique_ptr<talker>> readers_who_do_not(watched_port& port, std::size_t n) {
    port.filler = 1u << 20;
    std::vector<std::unique_ptr<talker>> all;
    for (std::size_t i = 0; i < n; ++i)
        all.push_back(
            std::make_unique<talker>(port.number(), "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n", 4096));
    for (const auto& each : all)
        BOOST_TEST_REQUIRE(each->until("HTTP/1.1 200").has_value());
    return all;
}

} // namespace

// A body is written by whoever may write a request through a proxy or a page, and not by the bearer of a
// token behind it on the same connection.
BOOST_AUTO_TEST_CASE(no_refusal_reads_a_body_as_the_next_request) {
    watched_port port(with_token());
    const std::string token = "Authorization: Bearer s3cret\r\n";
    const std::string smuggled = "GET /status HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n";
    const auto in_chunks = "3b\r\n" + smuggled;
    const auto length = std::to_string(smuggled.size());
    const std::vector<std::pair<std::string, std::string>> framings{
        {"Content-Length: " + length + "\r\n", smuggled},
        {"Content-Length: " + length + "\r\nContent-Length: " + length + "\r\n", smuggled},
        {"Transfer-Encoding: chunked\r\n", smuggled},
        {"Transfer-Encoding: chunked\r\n", in_chunks},
        {"Transfer-Encoding: gzip\r\n", smuggled},
        {"Transfer-Encoding: identity\r\n", smuggled},
        {"Content-Length: " + length + "\r\nTransfer-Encoding: chunked\r\n", smuggled},
        {"Transfer-Encoding: chunked\r\nContent-Length: " + length + "\r\n", "0\r\n\r\n" + smuggled},
        {"Content-Length: 1\r\n", "x" + smuggled},
    };
    const std::vector<std::pair<std::string, std::string>> heads{
        {"POST /status HTTP/1.1\r\nHost: localhost\r\n", "401"},
        {"GET /status HTTP/1.1\r\nHost: localhost\r\n", "401"},
        {"GET /events HTTP/1.1\r\nHost: localhost\r\n", "401"},
        {"GET /nothing HTTP/1.1\r\nHost: localhost\r\n", "401"},
        {"GET /status HTTP/1.1\r\nHost: evil.example\r\n", "421"},
        {"GET /livez HTTP/1.1\r\nHost: evil.example\r\n" + token, "421"},
        {"POST /status HTTP/1.1\r\nHost: localhost\r\n" + token, "413"},
        {"DELETE /nothing HTTP/1.1\r\nHost: localhost\r\n" + token, "413"},
        {"GET /livez HTTP/1.1\r\nHost: localhost\r\n", "413"},
        {"HEAD /readyz HTTP/1.1\r\nHost: localhost\r\n", "413"},
        {"GET http://localhost/status HTTP/1.1\r\nHost: localhost\r\n" + token, "400"},
        {"POST /status HTTP/1.1\r\n", "400"},
    };
    for (const auto& [head, status] : heads)
        for (const auto& [fields, body] : framings) {
            talker client(port.number(), head + fields + "\r\n" + body + livez);
            const auto all = client.rest(3s);
            BOOST_TEST(answers_in(all) == 1U, head << fields << all);
            BOOST_TEST(all.find("\r\nConnection: close\r\n") != std::string::npos, head << fields << all);
            const bool two = fields.find("\r\n") + 2 < fields.size();
            BOOST_TEST((status_of(all) == status || (two && status_of(all) == "400")), head << fields << all);
        }
}

BOOST_AUTO_TEST_CASE(a_body_that_comes_later_is_not_read_as_a_request_either) {
    watched_port port(with_token());
    for (const std::string host : {"localhost", "evil.example"}) {
        talker client(port.number(),
                      "POST /status HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 300\r\n\r\n");
        BOOST_TEST(client.until("\r\n\r\n").has_value());
        client.say(livez);
        BOOST_TEST(answers_in(client.rest(3s)) == 0U);
    }
}

BOOST_AUTO_TEST_CASE(a_refusal_without_a_body_keeps_the_connection) {
    watched_port port(with_token());
    talker client(port.number(), "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n" + livez);
    BOOST_TEST(client.until("401").has_value());
    BOOST_TEST(client.until("\r\n\r\nok\n").has_value());
}

// --- many connections

BOOST_AUTO_TEST_CASE(the_connection_that_is_idle_longest_makes_room) {
    watch_port_config config;
    config.viewers = 2;
    watched_port port(config);
    std::vector<std::unique_ptr<talker>> open;
    for (int i = 0; i < 66; ++i) {
        open.push_back(std::make_unique<talker>(port.number(), livez));
        BOOST_TEST_REQUIRE(open.back()->until("ok\n").has_value());
    }
    BOOST_TEST(ask(port.number(), "/status") == "200");
    BOOST_TEST(open.front()->rest(3s) == "");
    open.back()->say(livez);
    BOOST_TEST(open.back()->until("ok\n").has_value());
}

BOOST_AUTO_TEST_CASE(connections_that_never_ask_keep_nobody_out) {
    watched_port port;
    std::vector<std::unique_ptr<talker>> flood;
    for (int i = 0; i < 400; ++i)
        flood.push_back(std::make_unique<talker>(port.number(), i % 2 == 0 ? "" : "GET /livez HT"));
    for (int i = 0; i < 20; ++i)
        BOOST_TEST(ask(port.number(), "/status") == "200");
}

BOOST_AUTO_TEST_CASE(health_checks_are_answered_however_busy_the_port_is) {
    watch_port_config config;
    config.viewers = 2;
    watched_port port(config);
    auto busy = readers_who_do_not(port, 66);
    BOOST_TEST(ask(port.number(), "/status") == "503");
    BOOST_TEST(ask(port.number(), "/livez") == "200");
    std::vector<std::unique_ptr<talker>> flood;
    for (int i = 0; i < 300; ++i)
        flood.push_back(std::make_unique<talker>(port.number()));
    BOOST_TEST(ask(port.number(), "/livez") == "200");
    port.ready = false;
    BOOST_TEST(ask(port.number(), "/readyz") == "503");
}

BOOST_AUTO_TEST_CASE(health_checks_are_answered_without_a_free_descriptor) {
    watched_port port;
    BOOST_TEST(ask(port.number(), "/livez") == "200");
    rlimit before{};
    BOOST_REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    std::unique_ptr<talker> one, other;
    // The port's thread is kept busy meanwhile, so that it finds both connections with no descriptor left.
    port.on_port([&] {
        one = std::make_unique<talker>(port.number(), livez);
        other = std::make_unique<talker>(port.number(), "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
        const int lowest_free = ::dup(STDERR_FILENO);
        ::close(lowest_free);
        rlimit none{static_cast<rlim_t>(lowest_free), before.rlim_max};
        BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    });
    const auto checked = one->until("ok\n", 5s);
    const auto refused = other->until("\r\n\r\n", 5s);
    ::setrlimit(RLIMIT_NOFILE, &before);
    BOOST_TEST(checked.value_or("").starts_with("HTTP/1.1 200"));
    BOOST_TEST(refused.value_or("").starts_with("HTTP/1.1 503"));
    BOOST_TEST(eventually([&] { return ask(port.number(), "/status") == "200"; }, 5s));
}
