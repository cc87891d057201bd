// holdfast run: its rows, its answers to asks, its end by signals, and what a person sees.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/plain_http.hpp"
#include "support/ports.hpp"
#include "support/raw_server.hpp"
#include "support/rows.hpp"
#include "support/runs.hpp"
#include "support/sim_process.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using namespace holdfast::test;
using namespace std::chrono_literals;

process::options command(const lines& arguments) {
    return command_of("holdfast", arguments);
}

lines environment_without(std::initializer_list<std::string_view> names) {
    auto all = current_environment();
    std::erase_if(all, [&](const std::string& each) {
        return std::any_of(names.begin(), names.end(),
                           [&](auto name) { return each.starts_with(std::string(name) + "="); });
    });
    return all;
}

std::string words(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) {
        text += "w" + std::to_string(i) + " ";
    }
    return text;
}

/// Passes everything on, and puts one text in another's place, of the same length, in what the server says.
class rewriting_proxy {
public:
    rewriting_proxy(unsigned short server, std::string from, std::string to)
        : server_(asio::ip::address_v4::loopback(), server), from_(std::move(from)), to_(std::move(to)) {
        BOOST_REQUIRE(from_.size() == to_.size());
        accept();
        thread_ = std::thread([this] { io_.run(); });
    }
    ~rewriting_proxy() {
        io_.stop();
        thread_.join();
    }

    [[nodiscard]] std::string url() const {
        return "http://127.0.0.1:" + std::to_string(listener_.local_endpoint().port());
    }

private:
    struct pair {
        pair(tcp::socket socket, asio::io_context& io) : client(std::move(socket)), server(io) {}
        tcp::socket client;
        tcp::socket server;
        std::array<char, 16384> up{};
        std::array<char, 16384> down{};
        std::string held; // the end of what the server said, which may be the beginning of `from_`
    };
    using pair_ptr = std::shared_ptr<pair>;

    void accept() {
        listener_.async_accept([this](boost::system::error_code failed, tcp::socket socket) {
            if (failed)
                return;
            const auto one = std::make_shared<pair>(std::move(socket), io_);
            one->server.connect(server_);
            pass_up(one);
            pass_down(one);
            accept();
        });
    }

    void pass_up(const pair_ptr& one) {
        one->client.async_read_some(asio::buffer(one->up),
                                    [this, one](boost::system::error_code failed, std::size_t n) {
                                        boost::system::error_code ignored;
                                        if (failed) {
                                            one->server.close(ignored);
                                            return;
                                        }
                                        asio::write(one->server, asio::buffer(one->up.data(), n), ignored);
                                        pass_up(one);
                                    });
    }

    void pass_down(const pair_ptr& one) {
        one->server.async_read_some(asio::buffer(one->down),
                                    [this, one](boost::system::error_code failed, std::size_t n) {
                                        boost::system::error_code ignored;
                                        if (failed) {
                                            asio::write(one->client, asio::buffer(one->held), ignored);
                                            one->client.shutdown(tcp::socket::shutdown_send, ignored);
                                            return;
                                        }
                                        one->held.append(one->down.data(), n);
                                        const auto ready = take_rewritten(one->held);
                                        asio::write(one->client, asio::buffer(ready), ignored);
                                        pass_down(one);
                                    });
    }

    std::string take_rewritten(std::string& said) const {
        for (auto at = said.find(from_); at != said.npos; at = said.find(from_, at))
            said.replace(at, from_.size(), to_);
        auto keep = std::min(said.size(), from_.size() - 1);
        while (keep > 0 && !from_.starts_with(said.substr(said.size() - keep)))
            --keep;
        auto ready = said.substr(0, said.size() - keep);
        said.erase(0, ready.size());
        return ready;
    }

    asio::io_context io_{1};
    tcp::acceptor listener_{io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
    tcp::endpoint server_;
    std::string from_;
    std::string to_;
    std::thread thread_;
};

sim_process& shared_sim() {
    static sim_process sim({"--pace", "5"});
    return sim;
}

const std::string& sim_url() {
    return shared_sim().url();
}

std::string new_session() {
    const auto made = http_call(shared_sim().port(), "POST", "/session", "{}");
    return std::string(boost::json::parse(made.body).at("id").as_string());
}

} // namespace

// --- rows

BOOST_AUTO_TEST_CASE(a_turn_is_told_from_its_ids_to_its_settlement) {
    const auto done = run_rows(sim_url(), {"#plain"});
    const auto rows = parse_rows(done.output);
    BOOST_TEST(story(rows) == "turn text settled");
    BOOST_TEST(text_of(rows.front(), "session").starts_with("ses_"));
    BOOST_TEST(text_of(rows.front(), "message").starts_with("msg_"));
    BOOST_TEST(joined_text(rows) == "Hello from the simulated model.");
    BOOST_TEST(
        done.output.back() ==
        R"({"settled":{"outcome":"completed","error":null,"text":"Hello from the simulated model.",)"
        R"("why":{"rule":"message_finished","event":"session.status"},"safe_to_reprompt":"no",)"
        R"("usage":{"steps":1,"tokens":{"input":11,"output":7,"reasoning":0,"cache_read":0,"cache_write":0},)"
        R"("cost":0E0}}})");
    BOOST_TEST(done.errors.empty());
    BOOST_TEST(done.code() == 0);
}

BOOST_AUTO_TEST_CASE(each_kind_of_turn_has_its_rows_its_outcome_and_its_exit_code) {
    struct played {
        std::string tag;
        std::string story;
        std::string text;
        std::string outcome;
        std::string rule;
    };
    const std::vector<played> table{
        {"#reason", "turn reasoning text settled", "Answer is 42.", "completed", "message_finished"},
        {"#tool", "turn tool text settled", "I read it.", "completed", "message_finished"},
        {"#retry", "turn retry text settled", "Recovered.", "completed", "message_finished"},
        {"#error", "turn settled", "", "failed", "message_error"},
        {"#error:401", "turn settled", "", "failed", "message_error"},
    };
    for (const auto& each : table) {
        BOOST_TEST_CONTEXT(each.tag) {
            const auto done = run_rows(sim_url(), {each.tag});
            const auto rows = parse_rows(done.output);
            const auto settled = settlement_of(done.output);
            BOOST_TEST(story(rows) == each.story);
            BOOST_TEST(joined_text(rows) == each.text);
            BOOST_TEST(text_of(settled, "outcome") == each.outcome);
            BOOST_TEST(rule_of(settled) == each.rule);
            BOOST_TEST(done.code() == (each.outcome == "completed" ? 0 : 1));
            BOOST_TEST(done.errors.size() == (each.outcome == "completed" ? 0U : 1U));
        }
    }
}

BOOST_AUTO_TEST_CASE(a_tool_is_told_in_each_of_its_states) {
    const auto rows = rows_of_kind(parse_rows(run_rows(sim_url(), {"#tool"}).output), "tool");
    std::string states;
    for (const auto& each : rows) {
        states += text_of(each, "state") + " ";
        BOOST_TEST(text_of(each, "name") == "read");
        BOOST_TEST(text_of(each, "id") == text_of(rows.front(), "id"));
    }
    BOOST_TEST(states == "pending running completed ");
}

BOOST_AUTO_TEST_CASE(what_the_server_says_of_a_failure_is_told) {
    const auto done = run_rows(sim_url(), {"#error"});
    BOOST_TEST(
        boost::json::serialize(settlement_of(done.output).what.at("error")) ==
        R"({"class":"server","name":"APIError","message":"simulated failure of the model","status":400})");
    BOOST_TEST(done.errors == lines{"holdfast: the turn ended as failed (message_error): APIError: simulated "
                                    "failure of the model"},
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_retry_of_the_server_is_told_with_its_reason_and_its_time) {
    const auto rows = rows_of_kind(parse_rows(run_rows(sim_url(), {"#retry"}).output), "retry");
    BOOST_REQUIRE(rows.size() == 1U);
    BOOST_TEST(rows.front().what.at("attempt").to_number<int>() == 1);
    BOOST_TEST(!text_of(rows.front(), "message").empty());
    BOOST_TEST(rows.front().what.at("next_ms").to_number<long long>() > 1'500'000'000'000);
}

// --- asks

BOOST_AUTO_TEST_CASE(a_permission_is_answered_by_option_or_by_lines_of_stdin) {
    struct asked {
        std::string mode;
        std::string input;
        std::string reply;
        std::string outcome;
    };
    const std::vector<asked> table{{"allow", "", "once", "completed"},
                                   {"reject", "", "reject", "rejected"},
                                   {"ask", "once\n", "once", "completed"},
                                   {"ask", "always\n", "always", "completed"},
                                   {"ask", "reject\n", "reject", "rejected"},
                                   {"ask", "  once \r\n", "once", "completed"},
                                   {"ask", "once", "once", "completed"},
                                   {"ask", "", "reject", "rejected"},
                                   {"ask", "maybe\n\nonce\n", "once", "completed"}};
    for (const auto& each : table) {
        BOOST_TEST_CONTEXT(each.mode << " '" << each.input << "'") {
            sim_process sim({"--pace", "5"}); // its own: "always" outlives a turn
            const auto done = run_rows(sim.url(), {"#ask", "--permissions", each.mode}, each.input);
            const auto asks = rows_of_kind(parse_rows(done.output), "permission");
            BOOST_REQUIRE(asks.size() == 2U);
            BOOST_TEST(asks.at(0).what.at("reply").is_null());
            BOOST_TEST(text_of(asks.at(0), "permission") == "bash");
            BOOST_TEST(boost::json::serialize(asks.at(0).what.at("patterns")) == R"(["echo hi"])");
            BOOST_TEST(text_of(asks.at(0), "session") == text_of(parse_row(done.output.front()), "session"));
            BOOST_TEST(text_of(asks.at(1), "reply") == each.reply);
            BOOST_TEST(outcome_of(done.output) == each.outcome);
            BOOST_TEST(done.code() == (each.outcome == "completed" ? 0 : 1));
            const bool said = some_line_has(done.errors, "no input is left to answer with: rejected");
            BOOST_TEST(said == (each.mode == "ask" && each.input.empty()), done.text());
            BOOST_TEST(some_line_has(done.errors, "'maybe' is none of once, always, reject") ==
                       each.input.starts_with("maybe"));
        }
    }
}

BOOST_AUTO_TEST_CASE(a_question_is_answered_with_labels_and_rejected_where_nobody_can_answer) {
    struct asked {
        std::string mode;
        std::string input;
        std::string reply;
        std::string outcome;
    };
    const std::vector<asked> table{{"ask", "Blue\n", "answered", "completed"},
                                   {"ask", "reject\n", "rejected", "rejected"},
                                   {"ask", "", "rejected", "rejected"},
                                   {"allow", "", "rejected", "rejected"},
                                   {"reject", "", "rejected", "rejected"}};
    for (const auto& each : table) {
        BOOST_TEST_CONTEXT(each.mode << " '" << each.input << "'") {
            const auto done = run_rows(sim_url(), {"#question", "--permissions", each.mode}, each.input);
            const auto asks = rows_of_kind(parse_rows(done.output), "question");
            BOOST_REQUIRE(asks.size() == 2U);
            BOOST_TEST(asks.at(0).what.at("reply").is_null());
            const auto& question = asks.at(0).what.at("questions").at(0);
            BOOST_TEST(question.at("question").as_string() == "Which color?");
            BOOST_TEST(question.at("options").at(1).at("label").as_string() == "Blue");
            BOOST_TEST(text_of(asks.at(1), "reply") == each.reply);
            BOOST_TEST(outcome_of(done.output) == each.outcome);
        }
    }
}

BOOST_AUTO_TEST_CASE(an_ask_of_a_subagent_is_answered_too) {
    sim_process sim({"--pace", "5"});
    const auto done = run_rows(sim.url(), {"#task:ask", "--permissions", "allow"});
    const auto rows = parse_rows(done.output);
    const auto asks = rows_of_kind(rows, "permission");
    BOOST_REQUIRE(asks.size() >= 2U);
    BOOST_TEST(text_of(asks.front(), "session") != text_of(rows.front(), "session"));
    BOOST_TEST(outcome_of(done.output) == "completed");
}

BOOST_AUTO_TEST_CASE(an_ask_that_another_client_answers_is_withdrawn) {
    process child(command(as_rows(sim_url(), {"#ask"})));
    const auto asked = child.wait_line(line_of_kind("permission"), 20s);
    BOOST_REQUIRE(asked.has_value());
    const auto id = text_of(parse_row(*asked), "id");
    http_call(shared_sim().port(), "POST", "/permission/" + id + "/reply", R"({"reply":"once"})");
    BOOST_TEST((child.wait(20s) == exit_status{0, 0}));
    BOOST_TEST(child.wait_end_of_output(2s));
    BOOST_TEST(outcome_of(child.lines()) == "completed");
}

// --- the prompt, the session

BOOST_AUTO_TEST_CASE(a_prompt_from_stdin_is_taken_whole) {
    const auto done = run_rows(sim_url(), {"-"}, "\nfirst #plain\n\n  last\n");
    BOOST_TEST(outcome_of(done.output) == "completed");
    const auto session = text_of(parse_row(done.output.front()), "session");
    const auto messages =
        boost::json::parse(http_call(shared_sim().port(), "GET", "/session/" + session + "/message").body);
    BOOST_TEST(messages.at(0).at("parts").at(0).at("text").as_string() == "\nfirst #plain\n\n  last");
}

BOOST_AUTO_TEST_CASE(an_empty_stdin_is_no_prompt) {
    const auto done = run_rows(sim_url(), {"-"}, "\n");
    BOOST_TEST(kinds(parse_rows(done.output)) == "settled");
    BOOST_TEST(rule_of(settlement_of(done.output)) == "not_posted");
    BOOST_TEST(done.errors == lines{"holdfast: the turn ended as failed (not_posted): stdin held no prompt"},
               boost::test_tools::per_element());
    BOOST_TEST(done.code() == 1);
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_utf_8_do_not_break_the_request) {
    BOOST_TEST(outcome_of(run_rows(sim_url(), {"-"}, "caf\xe9 #plain\n").output) == "completed");
}

BOOST_AUTO_TEST_CASE(a_session_that_exists_is_gone_on_with) {
    const auto session = new_session();
    for (int i = 0; i < 2; ++i) {
        const auto done = run_rows(sim_url(), {"#plain", "--session", session});
        BOOST_TEST(text_of(parse_row(done.output.front()), "session") == session);
        BOOST_TEST(outcome_of(done.output) == "completed");
    }
}

BOOST_AUTO_TEST_CASE(an_unknown_session_is_a_prompt_that_was_not_posted) {
    const auto done = run_rows(sim_url(), {"#plain", "--session", "ses_00000000000000000000000000"});
    BOOST_TEST(kinds(parse_rows(done.output)) == "settled");
    const auto settled = settlement_of(done.output);
    BOOST_TEST(text_of(settled, "outcome") == "failed");
    BOOST_TEST(rule_of(settled) == "not_posted");
    BOOST_TEST(text_of(settled, "safe_to_reprompt") == "yes");
    BOOST_TEST(done.errors.size() == 1U);
    BOOST_TEST(done.code() == 1);
}

BOOST_AUTO_TEST_CASE(a_turn_in_flight_is_adopted_and_told_from_its_beginning) {
    sim_process sim({"--pace", "40"});
    row ids;
    {
        process first(command(as_rows(sim.url(), {"#slow:40"})));
        const auto turn = first.wait_line(line_of_kind("turn"), 20s);
        BOOST_REQUIRE(turn.has_value());
        ids = parse_row(*turn);
        BOOST_TEST(first.wait_line(line_of_kind("text"), 20s).has_value());
        first.signal(SIGKILL);
        first.wait(10s);
    }
    const lines adopt{"--session", text_of(ids, "session"), "--adopt", text_of(ids, "message")};
    for (const auto* when : {"while it runs", "when it is over"}) {
        BOOST_TEST_CONTEXT(when) {
            const auto done = run_rows(sim.url(), adopt);
            const auto rows = parse_rows(done.output);
            BOOST_TEST(text_of(rows.front(), "message") == text_of(ids, "message"));
            BOOST_TEST(joined_text(rows) == words(40));
            BOOST_TEST(outcome_of(done.output) == "completed");
            BOOST_TEST(done.code() == 0);
        }
    }
}

BOOST_AUTO_TEST_CASE(the_turn_timeout_aborts_the_turn) {
    const auto done = run_rows(sim_url(), {"#slow:100000", "--turn-timeout", "500ms"});
    BOOST_TEST(outcome_of(done.output) == "aborted");
    BOOST_TEST(done.code() == 1);
    BOOST_REQUIRE(done.errors.size() == 1U);
    BOOST_TEST(done.errors.front().starts_with("holdfast: the turn timeout was over; "));
}

BOOST_AUTO_TEST_CASE(an_unknown_agent_is_told_with_nothing_that_acts_on_a_terminal) {
    const auto done = run_text(sim_url(), {"#plain", "--agent", "no\x1b[2Jne"});
    BOOST_TEST(done.code() == 1);
    BOOST_TEST(done.text().find('\x1b') == std::string::npos, done.text());
    BOOST_TEST(some_line_has(done.errors, "no\\x1b[2Jne"), done.text());
}

// --- trouble

BOOST_AUTO_TEST_CASE(trouble_with_the_stream_leaves_no_hole_and_no_repeat_in_the_text) {
    const lines faults{"cut@0",       "cut@1200",     "cut@2500",        "cut@4000",     "cut@4001",
                       "reset@3500",  "stall@3500",   "mute@3500",       "garbage@3500", "cut@4000*",
                       "early-end@2", "status@503x2", "refuse@3500:300", "drop-answer"};
    for (const auto& fault : faults) {
        BOOST_TEST_CONTEXT(fault) {
            sim_process sim({"--pace", "10", "--fault", fault});
            const auto done = run_rows(sim.url(), {"#slow:40", "--stall-timeout", "1s"});
            const auto rows = parse_rows(done.output);
            BOOST_TEST(joined_text(rows) == words(40), done.text());
            const auto settled = settlement_of(done.output);
            BOOST_TEST(text_of(settled, "outcome") == "completed");
            BOOST_TEST(text_of(settled, "text") == words(40));
            BOOST_TEST(rows.front().kind == "turn");
            BOOST_TEST(done.code() == 0);
        }
    }
}

BOOST_AUTO_TEST_CASE(a_cut_is_told_as_an_interruption_and_the_repair_as_a_gap) {
    sim_process sim({"--pace", "10", "--fault", "cut@4000"});
    const auto done = run_rows(sim.url(), {"#slow:40"});
    const auto rows = parse_rows(done.output);
    const auto broken = rows_of_kind(rows, "interrupted");
    BOOST_REQUIRE(broken.size() == 1U);
    BOOST_TEST(
        boost::json::serialize(broken.front().what) ==
        R"({"class":"cut","error":"the connection was cut","status":null,"attempt":2,"retry_ms":100})");
    const auto gaps = rows_of_kind(rows, "gap");
    BOOST_REQUIRE(gaps.size() == 1U);
    BOOST_TEST(text_of(gaps.front(), "class") == "cut");
    BOOST_TEST(gaps.front().what.at("missing").as_bool() == false);
    BOOST_TEST(done.errors.empty());
}

BOOST_AUTO_TEST_CASE(a_restart_of_the_server_loses_the_turn_and_the_next_one_works) {
    sim_process sim({"--pace", "10", "--fault", "restart@4000"});
    const lines patient{"--base-delay", "3s"}; // longer than a starting server swallows requests
    auto arguments = with_server(sim.url(), {"#slow:40", "--format", "ndjson"});
    arguments.insert(arguments.end(), patient.begin(), patient.end());
    const auto lost = run_command("holdfast", arguments);
    BOOST_TEST(outcome_of(lost.output) == "lost");
    BOOST_TEST(lost.code() == 1);
    BOOST_TEST(lost.errors.size() == 1U);
    BOOST_TEST(outcome_of(run_rows(sim.url(), {"#plain"}).output) == "completed");
}

BOOST_AUTO_TEST_CASE(a_server_that_stays_away_is_given_up) {
    sim_process sim({"--pace", "10"});
    process child(command(as_rows(sim.url(), {"#slow:10000", "--max-attempts", "2"})));
    BOOST_TEST(child.wait_line(line_of_kind("text"), 20s).has_value());
    sim.child().signal(SIGKILL);
    BOOST_TEST((child.wait(30s) == exit_status{1, 0}));
    BOOST_TEST(child.wait_end_of_output(2s));
    const auto settled = settlement_of(child.lines());
    BOOST_TEST(text_of(settled, "outcome") == "lost");
    BOOST_TEST(rule_of(settled) == "gave_up");
    BOOST_TEST(child.lines(process::stream::errors).size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_dead_port_is_one_line_on_stderr_whatever_the_format_and_the_log_level) {
    const auto url = dead_url();
    for (const std::string format : {"text", "ndjson"}) {
        for (const std::string level : {"debug", "warn", "error"}) {
            const auto done =
                run_text(url, {"hello", "--format", format, "--log-level", level, "--max-attempts", "0"});
            BOOST_TEST(done.code() == 1);
            BOOST_REQUIRE(!done.errors.empty());
            BOOST_TEST(done.errors.back().starts_with(
                           "holdfast: the turn ended as failed (not_posted): connection refused"),
                       done.text());
            BOOST_TEST((level == "debug" || done.errors.size() == 1U), done.text());
            if (format == "ndjson") {
                const auto settled = settlement_of(done.output);
                BOOST_TEST(rule_of(settled) == "not_posted");
                BOOST_TEST(settled.what.at("error").at("class").as_string() == "refused");
                BOOST_TEST(text_of(settled, "safe_to_reprompt") == "yes");
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(a_server_that_is_not_opencode_is_refused_in_words_that_name_what_was_found) {
    struct stranger {
        reply told;
        std::string found;
    };
    const std::vector<stranger> table{
        {answer(200, "text/html", "<html>hello</html>"), "text/html"},
        {answer(404, "text/plain", "nothing here"), "404"},
        {answer(405, "text/plain", ""), "405"},
        {answer(200, "application/json", R"({"healthy":true,"version":"2.0.0"})"), "2.0.0"},
        {answer(200, "application/json", R"({"name":"other"})"), "version"}};
    for (const auto& each : table) {
        raw_server server({each.told});
        const auto done = run_rows(server.url(), {"hello"});
        const auto settled = settlement_of(done.output);
        BOOST_TEST(text_of(settled, "outcome") == "failed");
        BOOST_TEST(rule_of(settled) == "not_posted");
        BOOST_REQUIRE(done.errors.size() == 1U);
        BOOST_TEST(done.errors.front().find(each.found) != std::string::npos, done.text());
        BOOST_TEST(done.code() == 1);
    }
}

BOOST_AUTO_TEST_CASE(a_password_is_taken_from_url_option_or_environment_and_never_printed) {
    auto protected_environment =
        environment_without({"OPENCODE_SERVER_PASSWORD", "OPENCODE_SERVER_USERNAME"});
    const auto plain_environment = protected_environment;
    protected_environment.push_back("OPENCODE_SERVER_PASSWORD=s3cret");
    sim_process sim({"--pace", "5"}, protected_environment);
    const auto with_userinfo = [&](const std::string& userinfo) {
        return "http://" + userinfo + "@" + sim.url().substr(7);
    };
    struct access {
        std::string url;
        lines more;
        bool from_environment;
        bool good;
    };
    const std::vector<access> table{{sim.url(), {}, false, false},
                                    {with_userinfo("opencode:wr0ng"), {}, true, false},
                                    {with_userinfo("opencode:s3cret"), {}, false, true},
                                    {sim.url(), {"--user", "opencode:s3cret"}, false, true},
                                    {sim.url(), {"--user", "opencode"}, true, true},
                                    {sim.url(), {"--user", "other"}, true, false},
                                    {sim.url(), {}, true, true}};
    for (const auto& each : table) {
        for (const std::string format : {"text", "ndjson"}) {
            command_options options;
            options.environment = each.from_environment ? protected_environment : plain_environment;
            lines arguments = with_server(each.url, {"#plain", "--format", format, "--log-level", "debug"});
            arguments.insert(arguments.end(), each.more.begin(), each.more.end());
            const auto done = run_command("holdfast", arguments, options);
            BOOST_TEST(done.code() == (each.good ? 0 : 1), done.text());
            BOOST_TEST((each.good || some_line_has(done.errors, "authentication failed")), done.text());
            for (const auto* secret : {"s3cret", "wr0ng", "b3BlbmNvZGU6"}) {
                BOOST_TEST(done.text().find(secret) == std::string::npos, done.text());
            }
        }
    }
}

// --- the end by a signal

namespace {

/// Sends the signal, and checks that exactly one settlement tells of the end, within the time that is
/// allowed.
void check_end_by(process& child, int number, const std::string& outcome) {
    const auto asked = std::chrono::steady_clock::now();
    child.signal(number);
    const auto ended = child.wait(15s);
    BOOST_TEST((std::chrono::steady_clock::now() - asked < 8s)); // 5 s and what a busy machine takes
    BOOST_TEST((ended == exit_status{number == SIGTERM ? 143 : 130, 0}));
    BOOST_TEST(child.wait_end_of_output(2s));
    BOOST_TEST(outcome_of(child.lines()) == outcome);
}

} // namespace

BOOST_AUTO_TEST_CASE(before_the_prompt_is_posted_a_signal_aborts_at_once) {
    const black_hole hole;
    const raw_server mute({silence()});
    struct phase {
        std::string name;
        std::string url;
        std::string prompt;
    };
    const std::vector<phase> phases{{"connecting", hole.url(), "hello"},
                                    {"waiting for an answer", mute.url(), "hello"},
                                    {"between two tries", dead_url(), "hello"},
                                    {"reading the prompt", sim_url(), "-"}};
    for (const auto& each : phases) {
        for (const int number : {SIGINT, SIGTERM}) {
            BOOST_TEST_CONTEXT(each.name << ", signal " << number) {
                process child(command(with_server(each.url, {each.prompt, "--format", "ndjson",
                                                             "--base-delay", "60s", "--max-delay", "60s"})));
                BOOST_REQUIRE(wait_signal_handler(child.id()));
                std::this_thread::sleep_for(100ms);
                check_end_by(child, number, "aborted");
                BOOST_TEST(text_of(settlement_of(child.lines()), "safe_to_reprompt") == "yes");
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(while_the_stream_cannot_be_had_a_signal_aborts_at_once) {
    sim_process sim({"--fault", "status@500*"});
    process child(command(with_server(
        sim.url(), {"hello", "--format", "ndjson", "--base-delay", "60s", "--max-delay", "60s"})));
    const auto broken = [](std::string_view line) {
        return line.find("stream.interrupted") != line.npos;
    };
    BOOST_TEST(child.wait_line(broken, 20s, process::stream::errors).has_value());
    check_end_by(child, SIGINT, "aborted");
}

BOOST_AUTO_TEST_CASE(while_the_answer_streams_a_signal_aborts_the_turn_on_the_server) {
    for (const int number : {SIGINT, SIGTERM}) {
        process child(command(as_rows(sim_url(), {"#slow:100000"})));
        const auto turn = child.wait_line(line_of_kind("turn"), 20s);
        BOOST_REQUIRE(turn.has_value());
        BOOST_TEST(child.wait_line(line_of_kind("text"), 20s).has_value());
        check_end_by(child, number, "aborted");
        const auto path = "/session/" + text_of(parse_row(*turn), "session") + "/message";
        const auto messages = boost::json::parse(http_call(shared_sim().port(), "GET", path).body);
        BOOST_TEST(messages.as_array().back().at("info").at("error").at("name").as_string() ==
                   "MessageAbortedError");
    }
}

BOOST_AUTO_TEST_CASE(while_an_ask_waits_a_signal_aborts_the_turn) {
    process child(command(as_rows(sim_url(), {"#ask"})));
    BOOST_TEST(child.wait_line(line_of_kind("permission"), 20s).has_value());
    check_end_by(child, SIGINT, "aborted");
}

BOOST_AUTO_TEST_CASE(before_the_first_byte_of_the_model_a_signal_aborts_the_turn) {
    process child(command(as_rows(sim_url(), {"#silent"})));
    BOOST_TEST(child.wait_line(line_of_kind("turn"), 20s).has_value());
    check_end_by(child, SIGINT, "aborted");
}

BOOST_AUTO_TEST_CASE(when_the_server_has_died_a_signal_ends_the_wait_for_it) {
    sim_process sim({"--pace", "10"});
    process child(command(as_rows(sim.url(), {"#slow:100000", "--max-attempts", "unlimited"})));
    BOOST_TEST(child.wait_line(line_of_kind("text"), 20s).has_value());
    sim.child().signal(SIGKILL);
    BOOST_TEST(child.wait_line(line_of_kind("interrupted"), 20s).has_value());
    check_end_by(child, SIGINT, "lost");
}

BOOST_AUTO_TEST_CASE(when_the_server_is_frozen_the_wait_for_the_settlement_is_bounded) {
    sim_process sim({"--pace", "10"});
    process child(command(as_rows(sim.url(), {"#slow:100000"})));
    BOOST_TEST(child.wait_line(line_of_kind("text"), 20s).has_value());
    sim.child().signal(SIGSTOP);
    check_end_by(child, SIGINT, "lost");
    BOOST_TEST(child.lines(process::stream::errors).size() == 1U); // why it is not simply aborted
}

BOOST_AUTO_TEST_CASE(a_second_signal_leaves_at_once) {
    sim_process sim({"--pace", "10"});
    process child(command(as_rows(sim.url(), {"#slow:100000"})));
    BOOST_TEST(child.wait_line(line_of_kind("text"), 20s).has_value());
    sim.child().signal(SIGSTOP);
    const auto first = std::chrono::steady_clock::now();
    child.signal(SIGINT);
    while (child.running() && std::chrono::steady_clock::now() - first < 10s) {
        std::this_thread::sleep_for(300ms); // so that two signals are not taken as one
        child.signal(SIGINT);
    }
    BOOST_TEST((std::chrono::steady_clock::now() - first < 4s));
    BOOST_TEST((child.wait(10s) == exit_status{130, 0}));
    BOOST_TEST(child.wait_end_of_output(2s));
    BOOST_TEST(outcome_of(child.lines()) == "detached");
}

namespace {

/// A pipe that is read only when the test wants to, and a `holdfast run` that has filled it.
class unread_run {
public:
    unread_run() : sim_({"--pace", "1"}) {
        BOOST_REQUIRE(::mkfifo(path_.c_str(), 0600) == 0);
        reader_ = ::open(path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
        BOOST_REQUIRE(reader_ >= 0);
        process::options what;
        what.argv = {"/bin/bash",
                     "-c",
                     "exec \"$1\" run --server \"$2\" --format ndjson '#slow:100000' > \"$3\"",
                     "bash",
                     program_path("holdfast"),
                     sim_.url(),
                     path_};
        what.environment = current_environment();
        child_.emplace(what);
        const auto start = std::chrono::steady_clock::now();
        for (int before = -1, held = 0; held < 60000 || held != before;) {
            BOOST_REQUIRE((std::chrono::steady_clock::now() - start < 30s));
            std::this_thread::sleep_for(50ms);
            before = std::exchange(held, bytes_held());
        }
    }
    ~unread_run() {
        ::close(reader_);
        ::unlink(path_.c_str());
    }

    process& child() { return *child_; }

    /// What the server says of the turn's last message.
    boost::json::value last_error() {
        std::string held(static_cast<std::size_t>(bytes_held()), '\0');
        BOOST_REQUIRE(::read(reader_, held.data(), held.size()) == static_cast<ssize_t>(held.size()));
        const auto turn = parse_row(held.substr(0, held.find('\n')));
        const auto answer =
            http_call(sim_.port(), "GET", "/session/" + text_of(turn, "session") + "/message");
        const auto messages = boost::json::parse(answer.body);
        const auto& info = messages.as_array().back().at("info").as_object();
        return info.contains("error") ? info.at("error").at("name") : boost::json::value();
    }

private:
    int bytes_held() const {
        int count = 0;
        ::ioctl(reader_, FIONREAD, &count);
        return count;
    }

    sim_process sim_;
    std::string path_ = "/tmp/holdfast-unread-" + std::to_string(::getpid());
    int reader_ = -1;
    std::optional<process> child_;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_signal_aborts_the_turn_also_when_nobody_reads_the_output) {
    unread_run run;
    run.child().signal(SIGTERM);
    BOOST_TEST((run.child().wait(8s) == exit_status{143, 0}));
    BOOST_TEST(run.last_error() == "MessageAbortedError");
}

BOOST_AUTO_TEST_CASE(a_second_signal_leaves_at_once_also_when_nobody_reads_the_output) {
    unread_run run;
    const auto first = std::chrono::steady_clock::now();
    run.child().signal(SIGINT);
    std::this_thread::sleep_for(200ms); // so that two signals are not taken as one
    run.child().signal(SIGINT);
    BOOST_TEST((run.child().wait(8s) == exit_status{130, 0}));
    BOOST_TEST((std::chrono::steady_clock::now() - first < 800ms));
}

BOOST_AUTO_TEST_CASE(a_closed_pipe_ends_it_quietly) {
    process::options what;
    what.argv = {"/bin/bash",
                 "-c",
                 "\"$1\" run --server \"$2\" --format ndjson '#slow:100000' | head -n 2 > /dev/null; echo "
                 "${PIPESTATUS[0]}",
                 "bash",
                 program_path("holdfast"),
                 sim_url()};
    what.environment = current_environment();
    process child(what);
    BOOST_TEST((child.wait(30s) == exit_status{0, 0}));
    BOOST_TEST(child.wait_end_of_output(5s));
    BOOST_TEST(child.lines() == lines{"0"}, boost::test_tools::per_element());
    BOOST_TEST(child.lines(process::stream::errors).empty());
}

// --- what a person sees

BOOST_AUTO_TEST_CASE(text_form_is_the_answer_with_everything_else_on_lines_of_its_own) {
    const auto shown = [](const std::string& tag, const std::string& input = {}) {
        return run_text(sim_url(), {tag}, input).output;
    };
    BOOST_TEST(shown("#plain") == (lines{"Hello from the simulated model.", "= completed"}),
               boost::test_tools::per_element());
    BOOST_TEST(shown("#reason") == (lines{"Let me think hard.", "Answer is 42.", "= completed"}),
               boost::test_tools::per_element());
    BOOST_TEST(shown("#tool") == (lines{"> read", "+ read: hello.txt", "I read it.", "= completed"}),
               boost::test_tools::per_element());
    BOOST_TEST(shown("#error") == lines{"= failed; safe to prompt again: yes"},
               boost::test_tools::per_element());
    BOOST_TEST(shown("#question", "Blue\n").front() == "? Which color? (Red, Blue; or reject):");
}

BOOST_AUTO_TEST_CASE(what_the_model_says_is_escaped_in_text_form) {
    rewriting_proxy proxy(shared_sim().port(), "simulated", R"(\u001b[2J)");
    const auto done = run_text(proxy.url(), {"#plain"});
    BOOST_TEST(done.output == (lines{R"(Hello from the \x1b[2J model.)", "= completed"}),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(connection_trouble_is_one_line_each_in_text_form_and_nothing_is_told_twice) {
    sim_process sim({"--pace", "10", "--fault", "cut@4000"});
    const auto done = run_text(sim.url(), {"#slow:40", "--base-delay", "200ms"});
    BOOST_TEST(done.code() == 0);
    BOOST_TEST(done.errors == lines{"holdfast: 1 step: 11 tokens in, 7 out"},
               boost::test_tools::per_element());
    const auto told = std::count_if(done.output.begin(), done.output.end(),
                                    [](const auto& line) { return line.starts_with("~ "); });
    BOOST_TEST(told == 2, done.text());
    BOOST_TEST(some_line_has(done.output, "~ the connection was cut; next try in 200 ms"), done.text());
}

BOOST_AUTO_TEST_CASE(a_server_that_is_not_there_yet_is_told_in_the_text_or_in_the_log) {
    const auto url = dead_url();
    const lines soon{"hello", "--base-delay", "50ms", "--max-attempts", "2"};
    auto rows = soon;
    rows.insert(rows.end(), {"--format", "ndjson"});
    const auto text = run_text(url, soon);
    BOOST_TEST(text.errors.size() == 1U, text.text());
    BOOST_TEST(text.output.size() == 3U, text.text());
    BOOST_TEST(text.output.at(0).starts_with("~ connection refused"));
    BOOST_TEST(text.output.at(0).ends_with("; next try in 50 ms"));
    BOOST_TEST(text.output.at(1).ends_with("; next try in 100 ms"));
    const auto ndjson = run_text(url, rows);
    BOOST_TEST(ndjson.errors.size() == 2U, ndjson.text());
    BOOST_TEST(some_line_has(ndjson.errors, "server.not_ready"));
}

BOOST_AUTO_TEST_CASE(on_a_terminal_there_are_colours_unless_they_are_unwanted) {
    const auto shown = [](const std::string& variable) {
        command_options options;
        options.on_terminal = true;
        options.environment = environment_without({"NO_COLOR", "TERM"});
        options.environment.push_back("TERM=xterm");
        options.environment.push_back(variable);
        return run_command("holdfast", with_server(sim_url(), {"#reason"}), options);
    };
    const auto coloured = shown("COLOURS=yes");
    BOOST_TEST(some_line_has(coloured.output, "\x1b[32m= completed\x1b[0m"), coloured.text());
    BOOST_TEST(shown("NO_COLOR=1").text().find('\x1b') == std::string::npos);
    BOOST_TEST(some_line_has(shown("NO_COLOR=").output, "\x1b["));
}

BOOST_AUTO_TEST_CASE(on_a_terminal_a_permission_is_asked_for_and_given) {
    auto what = command(with_server(sim_url(), {"#ask"}));
    what.standard_input = process::input::terminal;
    what.environment.push_back("NO_COLOR=1");
    process child(what);
    // The question has no line end before the answer brings it, so the tool's line is what shows that it
    // comes.
    const auto tool = [](std::string_view line) {
        return line.find("> bash") != line.npos;
    };
    BOOST_TEST(child.wait_line(tool, 20s).has_value());
    child.write("once\n");
    BOOST_TEST((child.wait(20s) == exit_status{0, 0}));
    BOOST_TEST(child.wait_end_of_output(2s));
    BOOST_TEST(some_line_has(child.lines(), "? may it use bash (echo hi) - once, always or reject:"));
    BOOST_TEST(some_line_has(child.lines(), "= completed"));
}

BOOST_AUTO_TEST_CASE(wrong_usage_is_one_line_and_exit_code_two) {
    const auto url = dead_url();
    BOOST_TEST(run_text("ftp://host", {"hello"}).code() == 2);
    const std::vector<lines> wrong{{},
                                   {""},
                                   {"hello", "another"},
                                   {"--adopt", "msg_1"},
                                   {"hello", "--adopt", "msg_1", "--session", "ses_1"},
                                   {"hello", "--model", "no-slash"},
                                   {"hello", "--permissions", "maybe"},
                                   {"hello", "--turn-timeout", "soon"},
                                   {"hello", "--nonsense"}};
    for (const auto& arguments : wrong) {
        const auto done = run_text(url, arguments);
        BOOST_TEST(done.code() == 2, done.text());
        BOOST_TEST(done.output.empty(), done.text());
        BOOST_TEST(done.errors.size() == 1U, done.text());
    }
}
