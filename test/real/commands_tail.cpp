// holdfast tail: its rows, its schedule, and how it ends.
#include <boost/test/unit_test.hpp>

#include "support/certificates.hpp"
#include "support/command.hpp"
#include "support/ports.hpp"
#include "support/raw_server.hpp"
#include "support/rows.hpp"
#include "support/temporary_folder.hpp"
#include "support/tls_server.hpp"

#include <holdfast/http/request.hpp>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
using lines = std::vector<std::string>;

constexpr auto one_event = "data: x\n\n";
const std::string user_agent(holdfast::http::user_agent());

command_result tail(const std::string& url, lines more = {}) {
    more.insert(more.begin(), {"tail", url});
    return run_command("holdfast", more);
}

/// As rows, with delays that cost no time.
command_result tail_rows(const std::string& url, lines more = {}) {
    more.insert(more.begin(), {"--format", "ndjson", "--base-delay", "10ms"});
    return tail(url, std::move(more));
}

process::options command(const lines& arguments) {
    return command_of("holdfast", arguments);
}

std::string interrupted(const std::string& cls, const std::string& error, const std::string& status,
                        int attempt, int retry_ms) {
    return R"({"interrupted":{"class":")" + cls + R"(","error":")" + error + R"(","status":)" + status +
           R"(,"attempt":)" + std::to_string(attempt) + R"(,"retry_ms":)" + std::to_string(retry_ms) + "}}";
}

std::string gave_up(const std::string& cls, const std::string& error, const std::string& status,
                    const std::string& body, int attempts) {
    return R"({"gave_up":{"class":")" + cls + R"(","error":")" + error + R"(","status":)" + status +
           R"(,"body":")" + body + R"(","attempts":)" + std::to_string(attempts) + "}}";
}

std::string opened(int attempt) {
    return R"({"opened":{"status":200,"attempt":)" + std::to_string(attempt) + "}}";
}

std::string event(const std::string& data, const std::string& id = {}) {
    return R"({"event":{"type":"message","data":")" + data + R"(","id":")" + id + R"("}})";
}

void write_file(const std::string& path, std::string_view bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// The rows of events alone.
lines events_of(const command_result& done) {
    lines some;
    std::copy_if(done.output.begin(), done.output.end(), std::back_inserter(some), line_of_kind("event"));
    return some;
}

void check_rows(const command_result& done, const lines& wanted) {
    BOOST_TEST(done.output == wanted, boost::test_tools::per_element());
    BOOST_TEST_CONTEXT(done.text()) {
        BOOST_TEST(done.output.size() == wanted.size());
    }
}

} // namespace

// --- rows

BOOST_AUTO_TEST_CASE(a_stream_is_told_as_opened_events_and_interruptions_until_it_gives_up) {
    const auto early = "the stream ended right after it began";
    raw_server server({event_stream("id: 5\nretry: 10\ndata: x\n\n"), event_stream(": no event\n\n")});
    const auto done = tail_rows(server.url("/"), {"--max-attempts", "2"});
    check_rows(done, {opened(1), event("x", "5"), interrupted("ended", "the stream ended", "null", 1, 10),
                      opened(1), interrupted("early_end", early, "null", 2, 10), opened(2),
                      interrupted("early_end", early, "null", 3, 20), opened(3),
                      gave_up("early_end", early, "null", "", 3)});
    BOOST_TEST(done.code() == 1);
}

BOOST_AUTO_TEST_CASE(a_dead_port_is_tried_by_the_schedule_and_then_given_up) {
    const auto url = dead_url();
    const auto done = tail_rows(url, {"--max-attempts", "4", "--max-delay", "35ms"});
    const auto error =
        "connection refused: nothing listens at that address: " + url.substr(0, url.size() - 1);
    check_rows(done,
               {interrupted("refused", error, "null", 2, 10), interrupted("refused", error, "null", 3, 20),
                interrupted("refused", error, "null", 4, 35), interrupted("refused", error, "null", 5, 35),
                gave_up("refused", error, "null", "", 5)});
    BOOST_TEST(done.code() == 1);
}

BOOST_AUTO_TEST_CASE(no_attempts_means_that_the_first_failure_is_the_last) {
    const auto done = tail_rows(dead_url(), {"--max-attempts", "0"});
    BOOST_TEST(kinds(parse_rows(done.output)) == "gave_up");
    BOOST_TEST(parse_row(done.output.at(0)).what.at("attempts").to_number<int>() == 1);
}

BOOST_AUTO_TEST_CASE(unlimited_attempts_never_give_up) {
    process child(command({"tail", dead_url(), "--format", "ndjson", "--base-delay", "1ms", "--max-delay",
                           "2ms", "--max-attempts", "unlimited"}));
    const auto twentieth = [](std::string_view line) {
        return line.find(R"("attempt":20,)") != line.npos;
    };
    BOOST_TEST(child.wait_line(twentieth, 30s).has_value());
    child.signal(SIGINT);
    BOOST_TEST((child.wait(10s) == exit_status{130, 0}));
}

BOOST_AUTO_TEST_CASE(what_does_not_heal_by_waiting_is_given_up_at_once_with_the_body_shown) {
    struct final_answer {
        reply told;
        std::string row;
        std::string line;
    };
    const std::vector<final_answer> table{
        {answer(404, "text/plain", "no \x1b[2Jhe\xff"),
         gave_up("http_status", "the server answered with status 404", "404", "no \\u001b[2Jhe\xef\xbf\xbd",
                 1),
         "holdfast: gave up: the server answered with status 404, and said: no \\x1b[2Jhe\xef\xbf\xbd"},
        {answer(401, "application/json", "{}"),
         gave_up("http_status", "the server answered with status 401", "401", "{}", 1),
         "holdfast: gave up: the server answered with status 401, and said: {}"},
        {answer(204, "", ""), gave_up("http_status", "the server answered with status 204", "204", "", 1),
         "holdfast: gave up: the server answered with status 204"},
        {answer(200, "text/html", "<html>"),
         gave_up("content_type", "the answer is not of the media type that was asked for: text/html", "200",
                 "<html>", 1),
         "holdfast: gave up: the answer is not of the media type that was asked for: text/html, and said: "
         "<html>"},
    };
    for (const auto& each : table) {
        raw_server server({each.told});
        const auto done = tail_rows(server.url("/"));
        check_rows(done, {each.row});
        BOOST_TEST(done.errors == lines{each.line}, boost::test_tools::per_element());
        BOOST_TEST(done.code() == 1);
    }
}

BOOST_AUTO_TEST_CASE(what_may_heal_is_tried_again_and_its_class_is_told) {
    struct transient {
        reply told;
        std::string row;
    };
    reply half_head{.bytes = "HTTP/1.1 200 OK\r\nContent-", .end = reply::ending::close, .lasting = {}};
    reply no_http{.bytes = "NOT HTTP\r\n\r\n", .end = reply::ending::close, .lasting = {}};
    reply mid_chunk{.bytes = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: "
                             "chunked\r\n\r\n40\r\ndata: x\n",
                    .end = reply::ending::close,
                    .lasting = {}};
    const std::string said = "the server answered with status ";
    const std::vector<transient> table{
        {answer(500, "text/plain", "oops"), interrupted("http_status", said + "500", "500", 2, 10)},
        {answer(503, "", ""), interrupted("http_status", said + "503", "503", 2, 10)},
        {answer(503, "", "", "Retry-After: 0\r\n"), interrupted("throttled", said + "503", "503", 2, 10)},
        {answer(429, "", ""), interrupted("throttled", said + "429", "429", 2, 10)},
        {half_head, interrupted("cut", "the connection was cut", "null", 2, 10)},
        {mid_chunk, interrupted("cut", "the connection was cut", "null", 2, 10)},
        {event_stream("", reply::ending::reset, 50ms),
         interrupted("cut", "the connection was cut: Connection reset by peer", "null", 2, 10)},
        {no_http,
         interrupted("protocol",
                     R"(the answer is not valid HTTP: it begins with \"NOT HTTP\" and not with HTTP/)",
                     "null", 2, 10)},
    };
    for (const auto& each : table) {
        raw_server server({each.told, event_stream(one_event, reply::ending::hold)});
        const auto done = tail_rows(server.url("/"), {"--max-events", "1"});
        auto told = done.output;
        std::erase(told, opened(1));
        const lines wanted{each.row, opened(2), event("x")};
        BOOST_TEST(told == wanted, boost::test_tools::per_element());
        BOOST_TEST(done.code() == 0);
    }
}

BOOST_AUTO_TEST_CASE(an_end_after_five_seconds_is_health_and_counts_for_nothing) {
    raw_server server({answer(500, "", ""), event_stream(one_event, reply::ending::close, 5500ms),
                       event_stream(one_event, reply::ending::hold)});
    const auto done = tail_rows(server.url("/"), {"--max-attempts", "1", "--max-events", "2"});
    check_rows(done,
               {interrupted("http_status", "the server answered with status 500", "500", 2, 10), opened(2),
                event("x"), interrupted("ended", "the stream ended", "null", 1, 10), opened(1), event("x")});
}

BOOST_AUTO_TEST_CASE(a_stream_without_a_byte_for_the_stall_timeout_is_had_again) {
    raw_server server({event_stream(": no event\n\n", reply::ending::hold)});
    const auto done = tail_rows(server.url("/"), {"--stall-timeout", "300ms", "--max-attempts", "1"});
    const auto told = parse_rows(done.output);
    BOOST_TEST(kinds(told) == "opened interrupted opened gave_up");
    BOOST_TEST(text_of(told.at(1), "class") == "stall");
    BOOST_TEST(text_of(told.at(3), "class") == "stall");
}

BOOST_AUTO_TEST_CASE(a_retry_field_is_the_least_wait_from_its_floor_on) {
    struct asked {
        std::string field;
        int retry_ms;
    };
    for (const auto& each : {asked{"1", 10}, asked{"33", 33}, asked{"90", 90}, asked{"x", 5}}) {
        raw_server server({event_stream("retry: " + each.field + "\n\n"), answer(404, "", "")});
        const auto done =
            tail(server.url("/"), {"--format", "ndjson", "--base-delay", "5ms", "--max-delay", "70ms"});
        const auto told = rows_of_kind(parse_rows(done.output), "interrupted");
        BOOST_REQUIRE(told.size() == 1U);
        BOOST_TEST(told.front().what.at("retry_ms").to_number<int>() == each.retry_ms, each.field);
    }
}

BOOST_AUTO_TEST_CASE(jitter_shortens_the_delays_and_never_lengthens_them) {
    const auto done = tail(dead_url(), {"--format", "ndjson", "--base-delay", "20ms", "--max-attempts", "3",
                                        "--jitter", "full"});
    int longest = 20;
    for (const auto& each : rows_of_kind(parse_rows(done.output), "interrupted")) {
        BOOST_TEST(each.what.at("retry_ms").to_number<int>() <= longest);
        longest *= 2;
    }
}

BOOST_AUTO_TEST_CASE(it_ends_after_as_many_events_as_were_wanted) {
    raw_server server({event_stream("data: 1\n\ndata: 2\n\ndata: 3\n\n", reply::ending::hold)});
    const auto done = tail_rows(server.url("/"), {"--max-events", "2"});
    check_rows(done, {opened(1), event("1"), event("2")});
    BOOST_TEST(done.errors.empty());
    BOOST_TEST(done.code() == 0);
}

BOOST_AUTO_TEST_CASE(rows_are_valid_utf_8_whatever_comes) {
    raw_server server({event_stream("data: a\xff\xc3\n\n", reply::ending::hold)});
    check_rows(tail_rows(server.url("/"), {"--max-events", "1"}),
               {opened(1), event("a\xef\xbf\xbd\xef\xbf\xbd")});
}

// --- requests

BOOST_AUTO_TEST_CASE(the_request_asks_for_an_event_stream_with_the_headers_that_were_given) {
    raw_server server({event_stream(one_event, reply::ending::hold)});
    tail_rows(server.url("/events?a=b"),
              {"--max-events", "1", "--header", "X-One: 1", "--header", "X-Two:  a b"});
    const auto asked = server.requests().at(0);
    BOOST_TEST(asked.method() == "GET");
    BOOST_TEST(asked.target() == "/events?a=b");
    BOOST_TEST(asked.header("Accept") == "text/event-stream");
    BOOST_TEST(asked.header("X-One") == "1");
    BOOST_TEST(asked.header("X-Two") == "a b");
    BOOST_TEST(asked.header("Last-Event-ID") == "");
}

BOOST_AUTO_TEST_CASE(the_last_event_id_is_sent_when_it_connects_again) {
    raw_server server({event_stream("id: seven\ndata: x\n\n"), event_stream(one_event, reply::ending::hold)});
    tail_rows(server.url("/"), {"--max-events", "2"});
    BOOST_TEST(server.requests().at(1).header("Last-Event-ID") == "seven");
}

BOOST_AUTO_TEST_CASE(credentials_of_the_url_are_used_and_never_printed) {
    const auto with_credentials = [](const std::string& url) {
        return "http://us%65r:s3cr%40t@" + url.substr(7);
    };
    for (const auto* format : {"text", "ndjson"}) {
        for (const auto* log_format : {"text", "json"}) {
            raw_server server(
                {answer(500, "", ""), event_stream(one_event), answer(401, "text/plain", "no")});
            const lines more{"--format",    format,  "--log-format", log_format,
                             "--log-level", "debug", "--base-delay", "10ms"};
            const auto done = tail(with_credentials(server.url("/")), more);
            const auto dead = tail(with_credentials(dead_url()),
                                   {"--format", format, "--log-format", log_format, "--log-level", "debug",
                                    "--max-attempts", "1", "--base-delay", "10ms"});
            BOOST_TEST(server.requests().at(0).header("Authorization") == "Basic dXNlcjpzM2NyQHQ=");
            BOOST_TEST(server.requests().size() == 3U);
            const auto all = done.text() + dead.text();
            for (const auto* secret : {"s3cr", "dXNlcjpz"}) {
                BOOST_TEST(all.find(secret) == std::string::npos, all);
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(a_bad_url_with_a_password_is_refused_without_the_password) {
    for (const auto* url :
         {"ftp://user:s3cret@host/", "http://user:s3cret@ho st/", "http://user:s3cret@host:99999/",
          "http:/user:s3cret@host/", "http://user:s3cret@/", "user:s3cret@host"}) {
        const auto done = tail(url, {"--max-attempts", "0"});
        BOOST_TEST(done.code() == 2, done.text());
        BOOST_TEST(done.errors.size() == 1U, done.text());
        BOOST_TEST(done.text().find("s3cret") == std::string::npos, done.text());
    }
}

BOOST_AUTO_TEST_CASE(a_header_that_is_given_takes_the_place_of_a_default_and_an_event_id_goes_before_all) {
    raw_server server({event_stream(one_event, reply::ending::hold)});
    tail_rows(server.url("/"), {"--max-events", "1", "-H", "accept: text/event-stream, application/json",
                                "--last-event-id", "41"});
    const auto head = server.requests().at(0).head;
    BOOST_TEST(head.find("accept: text/event-stream, application/json\r\n") != std::string::npos, head);
    BOOST_TEST(head.find("Accept:") == std::string::npos, head);
    BOOST_TEST(server.requests().at(0).header("Last-Event-ID") == "41");
}

BOOST_AUTO_TEST_CASE(a_body_is_posted_once_and_the_end_of_its_answer_is_the_end) {
    const temporary_folder here;
    write_file(here / "body", "from\r\na file\n");
    struct given {
        lines options;
        std::string input;
        std::string method;
        std::string body;
    };
    for (const auto& each : {given{{"-d", "a=b\n"}, "", "POST", "a=b\n"}, given{{"-d", ""}, "", "POST", ""},
                             given{{"--data", "@" + (here / "body")}, "", "POST", "from\r\na file\n"},
                             given{{"-d", "-"}, "from\nstdin", "POST", "from\nstdin"},
                             given{{"-d", "x", "-X", "PUT"}, "", "PUT", "x"},
                             given{{"--request", "REPORT"}, "", "REPORT", ""}}) {
        raw_server server({event_stream(one_event)});
        lines arguments{"tail", server.url("/"), "--format", "ndjson"};
        arguments.insert(arguments.end(), each.options.begin(), each.options.end());
        command_options options;
        options.input = each.input;
        const auto done = run_command("holdfast", arguments, options);
        check_rows(done, {opened(1), event("x"), R"({"done":{}})"});
        BOOST_TEST(done.code() == 0);
        BOOST_TEST_REQUIRE(server.requests().size() == 1U);
        BOOST_TEST(server.requests().at(0).method() == each.method);
        BOOST_TEST(server.requests().at(0).body == each.body);
    }
}

BOOST_AUTO_TEST_CASE(a_post_whose_stream_breaks_is_given_up_unless_it_may_be_repeated) {
    const auto broken = event_stream(one_event, reply::ending::reset, 50ms);
    raw_server once({broken});
    const auto done = tail_rows(once.url("/"), {"-d", "x"});
    BOOST_TEST(kinds(parse_rows(done.output)) == "opened event gave_up");
    BOOST_TEST(done.code() == 1);
    BOOST_TEST(once.requests().size() == 1U);

    raw_server again({broken, event_stream(one_event, reply::ending::hold)});
    const auto repeated = tail_rows(again.url("/"), {"-d", "x", "--repeat", "--max-events", "2"});
    BOOST_TEST(kinds(parse_rows(repeated.output)) == "opened event interrupted opened event");
    BOOST_TEST(again.requests().at(1).body == "x");
}

BOOST_AUTO_TEST_CASE(redirects_are_followed_only_when_asked_and_no_more_than_wanted) {
    const auto code_of = [&](const lines& more) {
        std::size_t asked = 0;
        raw_server server([&](const heard&) {
            auto there = answer(302, "", "", "Location: /hop" + std::to_string(++asked) + "\r\n");
            return asked == 5 ? event_stream(one_event, reply::ending::hold) : there;
        });
        auto options = more;
        options.insert(options.end(), {"--max-events", "1", "--max-attempts", "0"});
        const auto done = tail_rows(server.url("/"), options);
        return std::to_string(done.code()) + " after " + std::to_string(server.requests().size());
    };
    BOOST_TEST(code_of({}) == "1 after 1");
    BOOST_TEST(code_of({"--location"}) == "1 after 4");
    BOOST_TEST(code_of({"-L", "--max-redirects", "1"}) == "1 after 2");
    BOOST_TEST(code_of({"-L", "--max-redirects", "4"}) == "0 after 5");
}

BOOST_AUTO_TEST_CASE(a_redirect_that_is_not_followed_is_shown) {
    raw_server server({answer(301, "", "", "Location: /x\r\n")});
    const auto done = tail_rows(server.url("/"));
    const auto why = "the server answered with status 301, a redirect to " + server.url("/x") +
                     "; redirects are not followed";
    check_rows(done, {gave_up("http_status", why, "301", "", 1)});
    BOOST_TEST(done.errors == lines{"holdfast: gave up: " + why}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_proxy_is_asked_when_the_command_line_or_with_its_leave_the_environment_says_so) {
    raw_server proxy({event_stream(one_event, reply::ending::hold)});
    const auto at = "http://us:s3cret@127.0.0.1:" + std::to_string(proxy.port());
    command_options with_variables;
    std::erase_if(with_variables.environment, [](const std::string& each) {
        const auto name = each.substr(0, each.find('='));
        return name.ends_with("_proxy") || name.ends_with("_PROXY");
    });
    with_variables.environment.push_back("http_proxy=" + at);
    const auto asked_by = [&](const lines& more) {
        lines arguments{"tail", "http://origin.invalid/stream", "--max-events", "1", "--max-attempts", "0"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const auto done = run_command("holdfast", arguments, with_variables);
        BOOST_TEST(done.text().find("s3cret") == std::string::npos, done.text());
        return done.code();
    };
    BOOST_TEST(asked_by({"--proxy", at, "-v"}) == 0);
    BOOST_TEST(asked_by({"--proxy-from-environment", "-v"}) == 0);
    BOOST_TEST(proxy.requests().size() == 2U);
    for (const auto& each : proxy.requests()) {
        BOOST_TEST(each.target() == "http://origin.invalid/stream");
        BOOST_TEST(each.header("Proxy-Authorization") == "Basic dXM6czNjcmV0");
        BOOST_TEST(each.header("Host") == "origin.invalid");
    }
    BOOST_TEST(asked_by({}) == 1);
    BOOST_TEST(proxy.requests().size() == 2U);
}

// --- the recording

BOOST_AUTO_TEST_CASE(a_recording_holds_the_bodies_as_they_came_and_cat_reads_what_tail_told) {
    const temporary_folder here;
    const std::string bom = "\xef\xbb\xbf";
    const std::string first = bom + "retry: 10\n: note\n\nid: 1\ndata: a\xff\n\n";
    const std::string second = "data: b\r\n\r\nid: 3\r\n\r\ndata: c\r\rdata: d\n\n";
    raw_server server(
        {event_stream(first + "data: unfinished\n"), event_stream(bom + second, reply::ending::hold)});
    const auto done = tail_rows(server.url("/"), {"--max-events", "4", "--record", here / "stream"});
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST((read_file(here / "stream") == first + second));
    const auto read = run_command("holdfast", {"cat", here / "stream", "--format", "ndjson"});
    BOOST_TEST(events_of(read) == events_of(done), boost::test_tools::per_element());
    BOOST_TEST(events_of(done).size() == 4U);
}

BOOST_AUTO_TEST_CASE(a_recording_keeps_what_the_last_connection_left_unfinished_and_a_signal_loses_nothing) {
    const temporary_folder here;
    const std::string bytes = "data: x\n\ndata: unfin";
    raw_server server({event_stream(bytes, reply::ending::hold)});
    process child(command({"tail", server.url("/"), "--format", "ndjson", "--record", here / "stream"}));
    BOOST_TEST(child.wait_line(line_of_kind("event"), 20s).has_value());
    child.signal(SIGINT);
    BOOST_TEST((child.wait(5s) == exit_status{130, 0}));
    BOOST_TEST(read_file(here / "stream") == bytes);
}

BOOST_AUTO_TEST_CASE(a_recording_that_cannot_be_written_is_an_error_that_names_the_file) {
    raw_server server({event_stream(one_event, reply::ending::hold)});
    const auto nowhere = tail_rows(server.url("/"), {"--record", "/nowhere/at all"});
    BOOST_TEST(nowhere.code() == 2);
    BOOST_TEST(nowhere.errors == lines{"holdfast: cannot write /nowhere/at all: No such file or directory"},
               boost::test_tools::per_element());
    BOOST_TEST(server.requests().empty());

    const auto full = tail_rows(server.url("/"), {"--record", "/dev/full"});
    BOOST_TEST(full.code() == 1);
    BOOST_TEST(full.errors == lines{"holdfast: cannot write /dev/full: No space left on device"},
               boost::test_tools::per_element());
}

// --- what a person sees

BOOST_AUTO_TEST_CASE(comments_are_told_when_asked_for) {
    raw_server server({event_stream(": one\n:\x1b[2Jtwo\ndata: x\n\n", reply::ending::hold)});
    check_rows(
        tail_rows(server.url("/"), {"--comments", "--max-events", "1"}),
        {opened(1), R"({"comment":{"text":"one"}})", R"({"comment":{"text":"\u001b[2Jtwo"}})", event("x")});
    check_rows(tail(server.url("/"), {"--comments", "--max-events", "1"}), {": one", ": \\x1b[2Jtwo", "x"});
    check_rows(tail(server.url("/"), {"--max-events", "1"}), {"x"});
}

BOOST_AUTO_TEST_CASE(verbose_shows_each_request_and_each_head_on_stderr_and_no_secret) {
    raw_server server({answer(307, "", "", "Location: /b?c\r\nSet-Cookie: sid=s3cret\r\n"),
                       answer(500, "text/plain", "oops"), event_stream(one_event, reply::ending::hold)});
    const auto host = "127.0.0.1:" + std::to_string(server.port());
    const auto done = run_command("holdfast", {"tail",
                                               "http://us:s3cret@" + host + "/a",
                                               "-v",
                                               "-L",
                                               "--format",
                                               "ndjson",
                                               "--base-delay",
                                               "10ms",
                                               "--max-events",
                                               "1",
                                               "-d",
                                               "s3cret",
                                               "--repeat",
                                               "-H",
                                               "Cookie: s3cret",
                                               "-H",
                                               "X-Api-Key: s3cret",
                                               "-H",
                                               "X-Plain: a\xff",
                                               "--log-level",
                                               "error"});
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST(kinds(parse_rows(done.output)) == "interrupted opened event");
    BOOST_TEST(done.text().find("s3cret") == std::string::npos, done.text());
    const auto request = [&](const std::string& target) {
        return lines{"> POST " + target + " HTTP/1.1",
                     "> Host: " + host,
                     "> Accept: text/event-stream",
                     "> Cache-Control: no-cache",
                     "> Accept-Encoding: identity",
                     "> User-Agent: " + user_agent,
                     "> Cookie: ***",
                     "> X-Api-Key: ***",
                     "> X-Plain: a\xef\xbf\xbd",
                     "> Authorization: ***",
                     ">",
                     "> (6 bytes)"};
    };
    lines wanted;
    const auto then = [&](const lines& more) {
        wanted.insert(wanted.end(), more.begin(), more.end());
    };
    then(request("/a"));
    then({"< HTTP/1.1 307 Said", "< Location: /b?c", "< Set-Cookie: ***", "< Content-Length: 0",
          "< Connection: close", "<"});
    then(request("/b?c"));
    then({"< HTTP/1.1 500 Said", "< Content-Type: text/plain", "< Content-Length: 4", "< Connection: close",
          "<"});
    then(request("/a"));
    then({"< HTTP/1.1 200 OK", "< Content-Type: text/event-stream", "< Connection: close", "<"});
    BOOST_TEST(done.errors == wanted, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(each_failure_is_one_line_on_stderr_whatever_the_format_and_the_log_level) {
    const auto url = dead_url();
    const auto why = "holdfast: gave up: connection refused: nothing listens at that address: " +
                     url.substr(0, url.size() - 1);
    for (const auto* format : {"text", "ndjson"}) {
        for (const auto* log_format : {"text", "json"}) {
            for (const std::string level : {"debug", "info", "warn", "error"}) {
                const auto done = tail(url, {"--format", format, "--log-format", log_format, "--log-level",
                                             level, "--base-delay", "10ms", "--max-attempts", "1"});
                BOOST_TEST(done.code() == 1);
                BOOST_TEST(std::count(done.errors.begin(), done.errors.end(), why) == 1, done.text());
                BOOST_TEST((level == "debug" || done.errors.size() == 1U), done.text());
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(text_form_tells_each_thing_once_and_escapes_it) {
    raw_server server({event_stream("event: greet\nretry: 20\ndata: \x1b[2Jhi\n\n"), event_stream(one_event),
                       answer(404, "text/plain", "gone")});
    const auto done = tail(server.url("/"), {"--base-delay", "10ms"});
    check_rows(done, {"greet \\x1b[2Jhi", "~ the stream ended; next try in 20 ms", "~ connected", "x",
                      "~ the stream ended; next try in 20 ms", "~ gave up after 1 attempt"});
    BOOST_TEST(done.errors == lines{"holdfast: gave up: the server answered with status 404, and said: gone"},
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(insecure_is_warned_of_whatever_the_format_and_the_log_level) {
    certificate_authority authority;
    tls_server::options setup;
    setup.shown = authority.sign({});
    setup.answer = event_stream(one_event).bytes;
    tls_server server(setup);
    for (const auto* format : {"text", "ndjson"}) {
        const auto done = tail(
            server.url(), {"--insecure", "--format", format, "--log-level", "error", "--max-events", "1"});
        BOOST_TEST(done.code() == 0, done.text());
        BOOST_TEST_REQUIRE(done.errors.size() == 1U, done.text());
        BOOST_TEST(
            done.errors.front().starts_with("holdfast: WARNING: --insecure: no certificate is checked"));
    }
}

BOOST_AUTO_TEST_CASE(colours_are_for_terminals_only_and_not_when_unwanted) {
    const auto shown = [](const lines& more_environment) {
        command_options options;
        options.on_terminal = true;
        std::erase_if(options.environment, [](const auto& each) {
            return each.starts_with("NO_COLOR=") || each.starts_with("TERM=");
        });
        options.environment.insert(options.environment.end(), more_environment.begin(),
                                   more_environment.end());
        return run_command("holdfast", {"tail", dead_url(), "--max-attempts", "1", "--base-delay", "10ms"},
                           options)
            .text();
    };
    BOOST_TEST(shown({"TERM=xterm"}).find("\x1b[2m~ connection refused") != std::string::npos);
    BOOST_TEST(shown({"TERM=xterm", "NO_COLOR=1"}).find('\x1b') == std::string::npos);
    BOOST_TEST(shown({"TERM=dumb"}).find('\x1b') == std::string::npos);
}

BOOST_AUTO_TEST_CASE(durations_are_numbers_with_a_unit_and_a_bare_number_is_seconds) {
    const auto url = dead_url();
    for (const auto* good : {"250ms", "1s", "2m", "1h", "1", "0.5", "0", "1.5s", "0ms"}) {
        BOOST_TEST(tail(url, {"--max-attempts", "0", "--stall-timeout", good}).code() == 1, good);
    }
    for (const auto* bad : {"", "-1", "1x", "1 s", "ms", "1e3", "0.1ms", "99999999h", "1s2", "nan"}) {
        BOOST_TEST(tail(url, {"--max-attempts", "0", "--stall-timeout", bad}).code() == 2, bad);
    }
}

BOOST_AUTO_TEST_CASE(wrong_usage_is_one_line_and_exit_code_two) {
    const auto url = dead_url();
    const std::vector<lines> wrong{{"tail"},
                                   {"tail", url, "another"},
                                   {"tail", url, "--nonsense"},
                                   {"tail", url, "--max-events", "0"},
                                   {"tail", url, "--max-events", "-1"},
                                   {"tail", url, "--max-attempts", "some"},
                                   {"tail", url, "--max-attempts", "-1"},
                                   {"tail", url, "--jitter", "much"},
                                   {"tail", url, "--format", "xml"},
                                   {"tail", url, "--log-level", "loud"},
                                   {"tail", url, "--header", "no colon"},
                                   {"tail", url, "--header", ": no name"},
                                   {"tail", url, "--header", "a b: c"},
                                   {"tail", url, "--header", "X: a\r\nY: b"},
                                   {"tail", url, "--header"},
                                   {"tail", url, "-X", "A B"},
                                   {"tail", url, "-d", "@/nowhere"},
                                   {"tail", url, "-d", "a", "-d", "b"},
                                   {"tail", url, "--last-event-id", "a\nb"},
                                   {"tail", url, "--max-redirects", "2"},
                                   {"tail", url, "--location", "--max-redirects", "0"},
                                   {"tail", url, "--proxy", "ftp://proxy"},
                                   {"tail", url, "--proxy", "proxy:1", "--proxy-from-environment"},
                                   {"tail", url, "--cacert", "ca.pem"},
                                   {"tail", url, "--insecure"},
                                   {"tail", "https://127.0.0.1:1/", "--key", "key.pem"},
                                   {"tail", "http://"},
                                   {"tail", ""},
                                   {"tail", "http://host/a b"},
                                   {"nonsense"}};
    for (const auto& arguments : wrong) {
        const auto done = run_command("holdfast", arguments);
        BOOST_TEST(done.code() == 2, arguments.back() << "\n" << done.text());
        BOOST_TEST(done.output.empty(), done.text());
        BOOST_TEST(done.errors.size() == 1U, done.text());
    }
}

// --- the end

BOOST_AUTO_TEST_CASE(a_signal_ends_it_at_once_in_every_phase) {
    const black_hole hole;
    const raw_server mute({silence()});
    const raw_server greeting({event_stream(one_event, reply::ending::hold)});
    struct phase {
        std::string name;
        std::string url;
        std::string last_row; // when it is reached; empty: nothing tells
    };
    const std::vector<phase> phases{{"connecting", hole.url(), ""},
                                    {"waiting for the head", mute.url("/"), ""},
                                    {"reading", greeting.url("/"), "event"},
                                    {"sleeping", dead_url(), "interrupted"}};
    for (const auto& each : phases) {
        for (const auto& [number, code] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
            BOOST_TEST_CONTEXT(each.name << ", signal " << number) {
                process child(command(
                    {"tail", each.url, "--format", "ndjson", "--base-delay", "60s", "--max-delay", "60s"}));
                BOOST_REQUIRE(wait_signal_handler(child.id()));
                if (each.last_row.empty())
                    std::this_thread::sleep_for(100ms);
                else
                    BOOST_TEST(child.wait_line(line_of_kind(each.last_row), 20s).has_value());
                child.signal(number);
                BOOST_TEST((child.wait(5s) == exit_status{code, 0}));
                BOOST_TEST(child.lines(process::stream::errors).empty());
                BOOST_TEST(rows_of_kind(parse_rows(child.lines()), "gave_up").empty());
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(a_closed_pipe_ends_it_quietly) {
    std::string many;
    for (int i = 0; i < 5000; ++i) {
        many += one_event;
    }
    raw_server server({event_stream(many)});
    process::options what;
    what.argv = {"/bin/bash",
                 "-c",
                 "\"$1\" tail \"$2\" --format ndjson --base-delay 10ms | head -n 2; echo ${PIPESTATUS[0]}",
                 "bash",
                 program_path("holdfast"),
                 server.url("/")};
    what.environment = current_environment();
    process child(what);
    BOOST_TEST((child.wait(30s) == exit_status{0, 0}));
    BOOST_TEST(child.wait_end_of_output(5s));
    BOOST_TEST(child.lines() == (lines{opened(1), event("x"), "0"}), boost::test_tools::per_element());
    BOOST_TEST(child.lines(process::stream::errors).empty());
}
