// holdfast tail: the options that say how a stream is reached, read and left, and what it may write where.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/deflate.hpp"
#include "support/eventually.hpp"
#include "support/ports.hpp"
#include "support/raw_server.hpp"
#include "support/rows.hpp"
#include "support/temporary_folder.hpp"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
using lines = std::vector<std::string>;

constexpr auto one_event = "data: x\n\n";

command_result tail_rows(const std::string& url, lines more = {}) {
    more.insert(more.begin(), {"tail", url, "--format", "ndjson", "--base-delay", "10ms"});
    return run_command("holdfast", more);
}

/// The command line, by a shell that closes or diverts descriptors; "$0" is the program, "$1" the URL.
command_result by_shell(const std::string& line, const std::string& url,
                        std::chrono::milliseconds deadline = 20s) {
    process::options what;
    what.argv = {"/bin/bash", "-c", line, program_path("holdfast"), url};
    what.environment = current_environment();
    process child(what);
    command_result result;
    result.status = child.wait(deadline);
    if (!result.status)
        child.kill_tree();
    child.wait_end_of_output(2s);
    result.output = child.lines();
    result.errors = child.lines(process::stream::errors);
    return result;
}

std::string kinds_of(const command_result& done) {
    return kinds(parse_rows(done.output));
}

void write_file(const std::string& path, std::string_view bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// One connection at a Unix socket, which is told one event.
class unix_server {
public:
    explicit unix_server(const std::string& path)
        : listening_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un place{};
        place.sun_family = AF_UNIX;
        path.copy(place.sun_path, sizeof place.sun_path - 1);
        if (::bind(listening_, reinterpret_cast<const sockaddr*>(&place), sizeof place) != 0 ||
            ::listen(listening_, 1) != 0)
            throw std::runtime_error("no socket at " + path);
        thread_ = std::thread([this] {
            const int wire = ::accept(listening_, nullptr, nullptr);
            char buffer[4096];
            while (heard.find("\r\n\r\n") == std::string::npos) {
                const auto size = ::read(wire, buffer, sizeof buffer);
                if (size <= 0)
                    break;
                heard.append(buffer, static_cast<std::size_t>(size));
            }
            const auto told = event_stream(one_event).bytes;
            [[maybe_unused]] const auto written = ::write(wire, told.data(), told.size());
            ::close(wire);
        });
    }
    ~unix_server() {
        ::shutdown(listening_, SHUT_RDWR);
        thread_.join();
        ::close(listening_);
    }
    unix_server(const unix_server&) = delete;
    unix_server& operator=(const unix_server&) = delete;

    std::string heard; ///< to be read when the client has ended

private:
    int listening_;
    std::thread thread_;
};

} // namespace

// --- the end

BOOST_AUTO_TEST_CASE(once_takes_a_clean_end_for_the_end_and_a_cut_for_none) {
    raw_server server({event_stream(one_event, reply::ending::reset, 50ms), event_stream(one_event)});
    const auto done = tail_rows(server.url("/"), {"--once"});
    BOOST_TEST(kinds_of(done) == "opened event interrupted opened event done");
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST(server.requests().size() == 2U);
}

BOOST_AUTO_TEST_CASE(until_ends_it_after_the_event_that_is_named) {
    const std::string events =
        "data: [DONE\n\nevent: delta\ndata: [DONE]x\n\nevent: finish\ndata: a\ndata: b\n\ndata: [DONE]\n\n"
        "data: more\n\n";
    raw_server server([&](const heard&) { return event_stream(events, reply::ending::hold); });
    struct row {
        lines options;
        std::size_t events;
    };
    for (const auto& each : std::vector<row>{{{"--until", "=[DONE]"}, 4},
                                             {{"--until", "finish"}, 3},
                                             {{"--until", "=a\nb"}, 3},
                                             {{"--until", "delta", "--until", "=[DONE]"}, 2},
                                             {{"--until", "message"}, 1}}) {
        const auto done = tail_rows(server.url("/"), each.options);
        BOOST_TEST(done.code() == 0, done.text());
        BOOST_TEST(done.output.size() == each.events + 1, done.text());
    }
}

BOOST_AUTO_TEST_CASE(an_end_without_what_is_waited_for_is_a_failure) {
    raw_server server({event_stream(one_event)});
    const auto done = tail_rows(server.url("/"), {"--once", "--until", "=[DONE]"});
    BOOST_TEST(kinds_of(done) == "opened event done");
    BOOST_TEST(done.code() == 1, done.text());
    BOOST_TEST(done.errors == lines{"holdfast: the stream ended before what --until waits for"},
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(json_lines_are_read_as_events) {
    raw_server server({answer(200, "application/json", "{\"a\":1}\n\n[2]\r\n")});
    const auto done = tail_rows(server.url("/"), {"--ndjson", "--once"});
    BOOST_TEST(done.code() == 0, done.text());
    const auto events = rows_of_kind(parse_rows(done.output), "event");
    BOOST_TEST_REQUIRE(events.size() == 2u, done.text());
    BOOST_TEST(text_of(events[0], "data") == "{\"a\":1}");
    BOOST_TEST(text_of(events[1], "data") == "[2]");
    BOOST_TEST(server.requests().at(0).header("Accept") == "application/x-ndjson, application/json");
    const auto shown = run_command("holdfast", {"tail", server.url("/"), "--ndjson", "--once"});
    BOOST_TEST(shown.output.at(0) == "{\"a\":1}");
    const auto wrong = tail_rows(server.url("/"), {"--once"});
    BOOST_TEST(wrong.code() == 1, wrong.text());
}

BOOST_AUTO_TEST_CASE(an_event_that_is_named_fails_the_connection) {
    for (const auto& [option, events] : std::vector<std::pair<std::string, std::string>>{
             {"error", "event: error\ndata: busy\n\n"}, {"=busy", "data: busy\n\n"}}) {
        raw_server server({event_stream(events + one_event, reply::ending::hold),
                           event_stream(one_event, reply::ending::hold)});
        const auto done = tail_rows(server.url("/"), {"--fail-on", option, "--max-events", "2"});
        BOOST_TEST(done.code() == 0, done.text());
        BOOST_TEST(kinds_of(done) == "opened event interrupted opened event", done.text());
        raw_server ever({event_stream(events, reply::ending::hold)});
        const auto given_up = tail_rows(ever.url("/"), {"--fail-on", option, "--max-attempts", "1"});
        BOOST_TEST(given_up.code() == 1, given_up.text());
        BOOST_TEST(given_up.errors.back().find("and said: busy") != std::string::npos, given_up.text());
    }
}

BOOST_AUTO_TEST_CASE(a_file_keeps_the_last_id_from_one_run_to_the_next) {
    const temporary_folder here;
    const auto file = here / "id";
    raw_server server([](const heard&) {
        return event_stream("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n", reply::ending::hold);
    });
    for (const auto& [most, held] :
         std::vector<std::pair<std::string, std::string>>{{"1", "1\n"}, {"3", "3\n"}}) {
        const auto done = tail_rows(server.url("/"), {"--resume-file", file, "--max-events", most});
        BOOST_TEST(done.code() == 0, done.text());
        BOOST_TEST(read_file(file) == held);
    }
    struct stat seen{};
    BOOST_TEST(::stat(file.c_str(), &seen) == 0);
    BOOST_TEST((seen.st_mode & 0777) == 0600u);
    BOOST_TEST(server.requests().at(0).header("Last-Event-ID") == "");
    BOOST_TEST(server.requests().at(1).header("Last-Event-ID") == "1");
    const auto both = tail_rows(server.url("/"), {"--resume-file", file, "--last-event-id", "7"});
    BOOST_TEST(both.code() == 2, both.text());
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_keep_an_id_is_an_error_before_anything_is_asked) {
    const temporary_folder here;
    raw_server server({event_stream(one_event, reply::ending::hold)});
    write_file(here / "odd", "two\nlines\n");
    for (const auto& [file, why] : std::vector<std::pair<std::string, std::string>>{
             {here / "odd", "holds something else than an event id"}, {here / "none/id", "cannot create"}}) {
        const auto done = tail_rows(server.url("/"), {"--resume-file", file});
        BOOST_TEST(done.code() == 2, done.text());
        BOOST_TEST(done.text().find(why) != std::string::npos, done.text());
    }
    BOOST_TEST(read_file(here / "odd") == "two\nlines\n");
    BOOST_TEST(server.requests().empty());
}

BOOST_AUTO_TEST_CASE(a_reader_that_leaves_is_noticed_while_the_stream_is_quiet) {
    raw_server server({event_stream(one_event, reply::ending::hold)});
    for (const auto* format : {"text", "ndjson"}) {
        const auto done = by_shell(std::string(R"("$0" tail "$1" --format )") + format +
                                       R"( --stall-timeout 0 | head -n 1; echo ${PIPESTATUS[0]})",
                                   server.url("/"));
        BOOST_TEST_REQUIRE(!done.output.empty(), done.text());
        BOOST_TEST(done.output.back() == "0", done.text());
        BOOST_TEST(done.errors.empty(), done.text());
    }
    // Before anything came, and while a connection is waited for.
    const auto mute =
        by_shell(R"("$0" tail "$1" --base-delay 60s | sleep 0.2; echo ${PIPESTATUS[0]})", dead_url());
    BOOST_TEST_REQUIRE(!mute.output.empty(), mute.text());
    BOOST_TEST(mute.output.back() == "0", mute.text());
}

BOOST_AUTO_TEST_CASE(a_reader_that_waits_gets_all_of_it_and_so_does_one_at_a_file) {
    const temporary_folder here;
    std::string many;
    for (int n = 0; n < 20000; ++n)
        many += "data: " + std::to_string(n) + "\n\n";
    raw_server server([&](const heard&) { return event_stream(many); });
    const auto slow = by_shell(R"("$0" tail "$1" --once | (sleep 1; tail -n 1))", server.url("/"));
    BOOST_TEST(slow.output == lines{"~ the stream ended"}, boost::test_tools::per_element());
    const auto file = here / "out";
    const auto kept = by_shell(R"("$0" tail "$1" --once > )" + file, server.url("/"));
    BOOST_TEST(kept.code() == 0, kept.text());
    const auto text = read_file(file);
    BOOST_TEST(std::count(text.begin(), text.end(), '\n') == 20001);
}

// --- closed descriptors

BOOST_AUTO_TEST_CASE(a_closed_stdout_is_an_error_and_never_becomes_the_recording) {
    const temporary_folder here;
    raw_server server({event_stream(one_event, reply::ending::hold)});
    const auto file = here / "f";
    for (const std::string closed : {">&-", "<&- >&-", ">&- <&-"}) {
        for (const std::string& more : {std::string(), " --record " + file}) {
            const auto done = by_shell(
                R"("$0" tail "$1" --format ndjson --max-events 1)" + more + ' ' + closed, server.url("/"));
            BOOST_TEST(done.code() == 1, closed << more << '\n' << done.text());
            BOOST_TEST(done.errors ==
                           lines{"holdfast: stdout is closed (>/dev/null if nobody is to read it)"},
                       boost::test_tools::per_element());
            BOOST_TEST(!std::filesystem::exists(file));
        }
    }
    BOOST_TEST(server.requests().empty());
    const auto silent = by_shell(R"("$0" tail "$1" >&- 2>&- <&-)", server.url("/"));
    BOOST_TEST(silent.code() == 1);
}

BOOST_AUTO_TEST_CASE(closed_inputs_and_errors_do_no_harm) {
    const temporary_folder here;
    raw_server server([&](const heard&) { return event_stream(one_event, reply::ending::hold); });
    const auto file = here / "f";
    for (const std::string closed : {"<&-", "2>&-", "<&- 2>&-"}) {
        std::filesystem::remove(file);
        const auto done =
            by_shell(R"("$0" tail "$1" --max-events 1 -v --record )" + file + ' ' + closed, server.url("/"));
        BOOST_TEST(done.code() == 0, closed << '\n' << done.text());
        BOOST_TEST(done.output == lines{"x"}, boost::test_tools::per_element());
        BOOST_TEST(read_file(file) == one_event);
    }
    const auto no_body = by_shell(R"("$0" tail "$1" -d - <&-)", server.url("/"));
    BOOST_TEST(no_body.code() == 2, no_body.text());
    BOOST_TEST(no_body.errors == lines{"holdfast: cannot read stdin: Bad file descriptor"},
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(help_that_cannot_be_written_is_a_failure) {
    for (const std::string command : {"--help", "--version", "tail --help", "cat --help", "follow --help",
                                      "run --help", "sim --help", "watch --help"}) {
        const auto full = by_shell("\"$0\" " + command + " >/dev/full", "");
        BOOST_TEST(full.code() == 1, command << '\n' << full.text());
        BOOST_TEST(full.errors == lines{"holdfast: cannot write to stdout: No space left on device"},
                   boost::test_tools::per_element());
        const auto good = by_shell("\"$0\" " + command, "");
        BOOST_TEST(good.code() == 0, command);
        BOOST_TEST(!good.output.empty());
        BOOST_TEST(good.errors.empty(), good.text());
    }
}

// --- how it is reached

BOOST_AUTO_TEST_CASE(the_timeouts_are_those_that_are_given) {
    const black_hole hole;
    const auto unreached = tail_rows(hole.url(), {"--connect-timeout", "50ms", "--max-attempts", "0"});
    BOOST_TEST(text_of(parse_rows(unreached.output).at(0), "class") == "timeout", unreached.text());

    raw_server mute({silence()});
    const auto unanswered = tail_rows(mute.url("/"), {"--header-timeout", "50ms", "--max-attempts", "0"});
    BOOST_TEST(text_of(parse_rows(unanswered.output).at(0), "class") == "timeout", unanswered.text());
}

BOOST_AUTO_TEST_CASE(connect_to_reaches_the_urls_server_elsewhere) {
    raw_server server({event_stream(one_event, reply::ending::hold)});
    const auto place = "127.0.0.1:" + std::to_string(server.port());
    const auto done = tail_rows("http://far.invalid:81/x", {"--connect-to", place, "--max-events", "1"});
    BOOST_TEST(kinds_of(done) == "opened event", done.text());
    BOOST_TEST(server.requests().at(0).header("Host") == "far.invalid:81");
    for (const auto* wrong :
         {"nowhere", "127.0.0.1", "http://a:1", "a:1/", "a:0", "u@a:1", "a:99999", ":1", "::1:80"})
        BOOST_TEST(tail_rows("http://far.invalid/", {"--connect-to", wrong}).code() == 2, wrong);
}

BOOST_AUTO_TEST_CASE(a_unix_socket_is_reached_by_its_path) {
    const temporary_folder here;
    {
        unix_server server(here / "s");
        const auto done =
            tail_rows("http://localhost/event", {"--unix-socket", here / "s", "--max-events", "1", "-x", ""});
        BOOST_TEST(done.code() == 2, "a proxy and a socket exclude each other");
        const auto read =
            tail_rows("http://localhost/event", {"--unix-socket", here / "s", "--max-events", "1"});
        BOOST_TEST(kinds_of(read) == "opened event", read.text());
        BOOST_TEST(server.heard.starts_with("GET /event HTTP/1.1\r\nHost: localhost\r\n"), server.heard);
    }
    const auto gone = tail_rows("http://localhost/", {"--unix-socket", here / "none", "--max-attempts", "0"});
    BOOST_TEST(text_of(parse_rows(gone.output).at(0), "class") == "refused", gone.text());
    BOOST_TEST(text_of(parse_rows(gone.output).at(0), "error").find("(unix:" + (here / "none") + ")") !=
               std::string::npos);
    BOOST_TEST(tail_rows("http://localhost/", {"--unix-socket", std::string(200, 'x')}).code() == 2);
}

BOOST_AUTO_TEST_CASE(credentials_go_with_a_redirect_to_another_server_only_where_it_is_trusted) {
    raw_server there([](const heard&) { return event_stream(one_event, reply::ending::hold); });
    raw_server here(
        [&](const heard&) { return answer(307, "", "", "Location: " + there.url("/x") + "\r\n"); });
    for (const bool trusted : {false, true}) {
        lines options{"-L", "--max-events", "1", "-H", "X-Api-Key: k", "--user", "me:secret"};
        if (trusted)
            options.push_back("--location-trusted");
        const auto done = tail_rows(here.url("/"), options);
        BOOST_TEST(done.code() == 0, done.text());
        BOOST_TEST(there.requests().back().header("Authorization") == (trusted ? "Basic bWU6c2VjcmV0" : ""));
        BOOST_TEST(there.requests().back().header("X-Api-Key") == (trusted ? "k" : ""));
    }
    BOOST_TEST(tail_rows(here.url("/"), {"--location-trusted"}).code() == 2,
               "it is nothing without --location");
}

// --- what is sent

BOOST_AUTO_TEST_CASE(the_user_agent_is_the_programs_name_and_version_unless_another_is_given) {
    raw_server server([](const heard& asked) {
        return asked.header("User-Agent").empty() ? answer(403, "", "")
                                                  : event_stream(one_event, reply::ending::hold);
    });
    const auto version = run_command("holdfast", {"--version"}).output.at(0);
    BOOST_TEST(tail_rows(server.url("/"), {"--max-events", "1"}).code() == 0);
    BOOST_TEST(server.requests().back().header("User-Agent") ==
               "holdfast/" + version.substr(version.find(' ') + 1));
    BOOST_TEST(tail_rows(server.url("/"), {"--max-events", "1", "-H", "user-agent: me"}).code() == 0);
    BOOST_TEST(server.requests().back().header("User-Agent") == "me");
}

BOOST_AUTO_TEST_CASE(headers_of_a_file_are_read_anew_at_each_connect) {
    const temporary_folder here;
    const auto file = here / "headers";
    write_file(file, "Authorization: Bearer one\r\n\r\nAccept: text/event-stream, x/y\n");
    std::size_t asked = 0;
    raw_server server([&](const heard&) {
        write_file(file, ++asked == 1 ? "X-Token: two" : "X-Token: three\nX-Token: four\n");
        return event_stream(one_event, reply::ending::reset, 50ms);
    });
    const auto done =
        tail_rows(server.url("/"), {"-H", "@" + file, "-H", "X-Token: zero", "--max-events", "3", "-v"});
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST(done.text().find("Bearer one") == std::string::npos, done.text());
    const auto all = server.requests();
    BOOST_TEST_REQUIRE(all.size() == 3U);
    BOOST_TEST(all[0].header("Authorization") == "Bearer one");
    BOOST_TEST(all[0].header("Accept") == "text/event-stream, x/y");
    BOOST_TEST(all[0].header("X-Token") == "zero");
    BOOST_TEST(all[1].header("Authorization") == "");
    BOOST_TEST(all[1].header("Accept") == "text/event-stream");
    BOOST_TEST(all[1].header("X-Token") == "two");
    BOOST_TEST(all[2].head.find("X-Token: three\r\nX-Token: four\r\n") != std::string::npos, all[2].head);
}

BOOST_AUTO_TEST_CASE(a_file_of_headers_that_is_wrong_is_refused_at_once_and_one_that_is_lost_is_waited_for) {
    const temporary_folder here;
    const auto file = here / "headers";
    raw_server server([&](const heard&) {
        std::filesystem::remove(file);
        return event_stream(one_event, reply::ending::reset, 50ms);
    });
    for (const std::string wrong : {"no colon\n", ": x\n", "A B: c\n", "X: a\x01\n", "Content-Length: 1\n"}) {
        write_file(file, wrong);
        const auto done = tail_rows(server.url("/"), {"-H", "@" + file});
        BOOST_TEST(done.code() == 2, wrong << done.text());
        BOOST_TEST(done.errors.size() == 1U, done.text());
    }
    BOOST_TEST(tail_rows(server.url("/"), {"-H", "@" + here / "none"}).code() == 2);
    BOOST_TEST(tail_rows(server.url("/"), {"-H", "@/dev/zero"}).code() == 2);
    BOOST_TEST(server.requests().empty());

    write_file(file, "X: y\n");
    process child(command_of("holdfast", {"tail", server.url("/"), "-H", "@" + file, "--format", "ndjson",
                                          "--base-delay", "10ms", "--max-delay", "20ms", "--max-attempts",
                                          "unlimited", "--max-events", "2"}));
    const auto lost = [](std::string_view line) {
        return line.find("cannot read") != line.npos;
    };
    BOOST_TEST(child.wait_line(lost, 20s).has_value());
    write_file(file, "X: z\n");
    BOOST_TEST((child.wait(20s) == exit_status{0, 0}));
    BOOST_TEST(server.requests().back().header("X") == "z");
}

BOOST_AUTO_TEST_CASE(credentials_come_from_a_file_or_an_option_and_are_not_left_in_the_process_list) {
    const temporary_folder here;
    write_file(here / "user", "me:s3c:ret\nmore\n");
    raw_server server([](const heard&) { return event_stream(one_event, reply::ending::hold); });
    const auto base = "//127.0.0.1:" + std::to_string(server.port()) + "/";
    struct row {
        lines options;
        std::string authorization;
    };
    for (const auto& each :
         std::vector<row>{{{"http:" + base, "--user", "@" + (here / "user")}, "Basic bWU6czNjOnJldA=="},
                          {{"http:" + base, "-u", "me:s3cret"}, "Basic bWU6czNjcmV0"},
                          {{"http:" + base, "--user=me:s3cret"}, "Basic bWU6czNjcmV0"},
                          {{"http://me:s3cret@" + base.substr(2)}, "Basic bWU6czNjcmV0"},
                          {{"http:" + base, "-H", "Authorization: s3cret"}, "s3cret"},
                          {{"http:" + base, "-HAuthorization: s3cret"}, "s3cret"},
                          {{"http:" + base, "--header=Authorization: s3cret"}, "s3cret"}}) {
        lines arguments{"tail", "--format", "ndjson"};
        arguments.insert(arguments.end(), each.options.begin(), each.options.end());
        process child(command_of("holdfast", arguments));
        BOOST_TEST(child.wait_line(line_of_kind("event"), 20s).has_value());
        const auto shown = read_file("/proc/" + std::to_string(child.id()) + "/cmdline");
        BOOST_TEST(shown.find("s3c") == std::string::npos, each.options.back());
        BOOST_TEST(shown.find("ndjson") != std::string::npos);
        BOOST_TEST(server.requests().back().header("Authorization") == each.authorization);
        child.signal(SIGTERM);
        child.wait(20s);
    }
    write_file(here / "empty", "\n");
    for (const std::string& wrong : {here / "empty", here / "none", std::string("/dev/zero")})
        BOOST_TEST(tail_rows(server.url("/"), {"--user", "@" + wrong}).code() == 2, wrong);
}

BOOST_AUTO_TEST_CASE(a_body_has_a_limit_that_is_named) {
    raw_server server({event_stream(one_event)});
    for (const auto* from : {"@/dev/zero", "-"}) {
        const auto done =
            by_shell(std::string(R"("$0" tail "$1" -d )") + from + " < /dev/zero", server.url("/"));
        BOOST_TEST(done.code() == 2, done.text());
        BOOST_TEST_REQUIRE(done.errors.size() == 1U, done.text());
        BOOST_TEST(done.errors[0].ends_with(" holds more than 64 MiB"), done.errors[0]);
    }
    BOOST_TEST(server.requests().empty());
}

// --- what is read

BOOST_AUTO_TEST_CASE(any_type_reads_any_answer_of_success_and_says_what_it_is) {
    raw_server server([](const heard& asked) {
        return asked.target() == "/404" ? answer(404, "text/event-stream", one_event)
                                        : answer(201, "application/json", one_event);
    });
    const auto done = tail_rows(server.url("/"), {"--any-type", "--once"});
    BOOST_TEST(done.output.at(0) ==
                   R"({"opened":{"status":201,"attempt":1,"content_type":"application/json"}})",
               done.text());
    BOOST_TEST(kinds_of(done) == "opened event done");
    const auto text = run_command("holdfast", {"tail", server.url("/"), "--any-type", "--once"});
    BOOST_TEST(text.output ==
                   (lines{"~ connected; read as an event stream: status 201, content type application/json",
                          "x", "~ the stream ended"}),
               boost::test_tools::per_element());
    BOOST_TEST(tail_rows(server.url("/"), {"--once"}).code() == 1);
    BOOST_TEST(tail_rows(server.url("/404"), {"--any-type", "--once"}).code() == 1);
}

BOOST_AUTO_TEST_CASE(a_compressed_stream_is_inflated_and_recorded_as_it_reads_where_that_is_asked_for) {
    const temporary_folder here;
    auto zipped = event_stream(compressed(coding::gzip, one_event), reply::ending::hold);
    zipped.bytes.insert(zipped.bytes.find("\r\n") + 2, "Content-Encoding: gzip\r\n");
    raw_server server({zipped});
    const auto done =
        tail_rows(server.url("/"), {"--compressed", "--max-events", "1", "--record", here / "all"});
    BOOST_TEST(done.code() == 0, done.text());
    BOOST_TEST(kinds_of(done) == "opened event", done.text());
    BOOST_TEST(read_file(here / "all").find(one_event) != std::string::npos);
    BOOST_TEST(server.requests().at(0).header("Accept-Encoding") == "gzip, deflate");
    const auto refused = tail_rows(server.url("/"), {"--max-events", "1"});
    BOOST_TEST(refused.code() == 1, refused.text());
    BOOST_TEST(refused.text().find("compressed") != std::string::npos, refused.text());
    BOOST_TEST(server.requests().at(1).header("Accept-Encoding") == "identity");
}

BOOST_AUTO_TEST_CASE(cookies_come_back_where_that_is_asked_for) {
    auto sticky = event_stream(one_event);
    sticky.bytes.insert(sticky.bytes.find("\r\n") + 2, "Set-Cookie: node=7; Path=/\r\n");
    for (const bool asked : {false, true}) {
        raw_server server({sticky});
        const auto done = tail_rows(server.url("/"), asked ? lines{"--max-events", "2", "--cookies"}
                                                           : lines{"--max-events", "2"});
        BOOST_TEST(done.code() == 0, done.text());
        BOOST_TEST(server.requests().at(0).header("Cookie") == "");
        BOOST_TEST(server.requests().at(1).header("Cookie") == (asked ? "node=7" : ""));
    }
}

BOOST_AUTO_TEST_CASE(statuses_to_try_again_after_are_tried_again) {
    raw_server server({answer(404, "", ""), answer(401, "", ""), answer(451, "", ""),
                       event_stream(one_event, reply::ending::hold)});
    const auto done = tail_rows(server.url("/"), {"--retry-status", "404,401,450-452", "--max-events", "1"});
    BOOST_TEST(kinds_of(done) == "interrupted interrupted interrupted opened event", done.text());
    raw_server other({answer(403, "", "")});
    BOOST_TEST(kinds_of(tail_rows(other.url("/"), {"--retry-status", "404"})) == "gave_up");
    for (const auto* wrong : {"", "abc", "99", "600", "404,", ",404", "405-404", "404-", "-404", "404 401"})
        BOOST_TEST(tail_rows(other.url("/"), {"--retry-status", wrong}).code() == 2, wrong);
}

BOOST_AUTO_TEST_CASE(the_limit_of_a_head_is_the_one_that_is_given) {
    raw_server server([](const heard&) {
        auto told = event_stream(one_event, reply::ending::hold);
        told.bytes.insert(told.bytes.find("\r\n") + 2, "X: " + std::string(20000, 'x') + "\r\n");
        return told;
    });
    const auto refused = tail_rows(server.url("/"), {"--max-events", "1"});
    BOOST_TEST(text_of(parse_rows(refused.output).at(0), "class") == "too_large", refused.text());
    BOOST_TEST(tail_rows(server.url("/"), {"--max-events", "1", "--header-limit", "30000"}).code() == 0);
}

// --- the recording

BOOST_AUTO_TEST_CASE(a_recording_is_for_its_owner_and_replaces_nothing_unless_forced) {
    const temporary_folder here;
    raw_server server([](const heard&) { return event_stream(one_event, reply::ending::hold); });
    const auto record = [&](const std::string& file, const lines& more = {}) {
        lines options{"--max-events", "1", "--record", file};
        options.insert(options.end(), more.begin(), more.end());
        return tail_rows(server.url("/"), options);
    };
    const auto file = here / "f";
    const auto made = record(file);
    BOOST_TEST(made.code() == 0, made.text());
    struct stat is{};
    BOOST_TEST_REQUIRE(::stat(file.c_str(), &is) == 0);
    BOOST_TEST((is.st_mode & 0777) == 0600);

    write_file(file, "mine");
    const auto kept = record(file);
    BOOST_TEST(kept.code() == 2);
    BOOST_TEST(kept.errors == lines{"holdfast: " + file + " holds something already; --force replaces it"},
               boost::test_tools::per_element());
    BOOST_TEST(read_file(file) == "mine");
    BOOST_TEST(record(file, {"--force"}).code() == 0);
    BOOST_TEST(read_file(file) == one_event);

    write_file(here / "empty", "");
    BOOST_TEST(record(here / "empty").code() == 0);
    BOOST_TEST(read_file(here / "empty") == one_event);

    write_file(here / "target", "mine");
    std::filesystem::create_symlink(here / "target", here / "link");
    std::filesystem::create_symlink(here / "nothing", here / "dangling");
    for (const auto* name : {"link", "dangling"})
        for (const lines& more : {lines{}, lines{"--force"}}) {
            const auto followed = record(here / name, more);
            BOOST_TEST(followed.code() == 2);
            BOOST_TEST(followed.errors == lines{"holdfast: cannot write " + (here / name) +
                                                ": it is a symbolic link, which is not followed"},
                       boost::test_tools::per_element());
        }
    BOOST_TEST(read_file(here / "target") == "mine");
    BOOST_TEST(!std::filesystem::exists(here / "nothing"));
    BOOST_TEST(run_command("holdfast", {"tail", server.url("/"), "--force"}).code() == 2);
}

// --- what is shown

BOOST_AUTO_TEST_CASE(verbose_hides_what_the_query_names_like_a_secret) {
    raw_server server([](const heard& asked) {
        return asked.target().starts_with("/a")
                   ? answer(307, "", "", "Location: http://u:s3cret@127.0.0.1/../b?sig=s3cret&n=1\r\n")
                   : event_stream(one_event, reply::ending::hold);
    });
    const auto done = tail_rows(
        server.url("/a?x=1&token=s3cret&API_KEY=s3cret;acc%65ss_t%6fken=s3cret&y&passwd=s3cret=&z="),
        {"-v", "--max-events", "1", "--max-attempts", "0"});
    BOOST_TEST_REQUIRE(!done.errors.empty());
    BOOST_TEST(done.errors[0] ==
               "> GET /a?x=1&token=***&API_KEY=***;acc%65ss_t%6fken=***&y&passwd=***&z= HTTP/1.1");
    const auto location = std::find_if(done.errors.begin(), done.errors.end(), [](const std::string& each) {
        return each.starts_with("< Location");
    });
    BOOST_TEST_REQUIRE((location != done.errors.end()), done.text());
    BOOST_TEST(*location == "< Location: http://***@127.0.0.1/../b?sig=***&n=1");
}
