// holdfast run: what its options make of a prompt, of a session and of the limits of a turn; against the
// simulated server.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/plain_http.hpp"
#include "support/process.hpp"
#include "support/runs.hpp"
#include "support/sim_process.hpp"
#include "support/temporary_folder.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;
namespace json = boost::json;

sim_process& sim() {
    static sim_process one({"--pace", "5"});
    return one;
}

/// A directory of files, removed with them.
class folder : public temporary_folder {
public:
    [[nodiscard]] std::string put(std::string_view name, std::string_view content) const {
        const auto where = path() / name;
        std::ofstream(where, std::ios::binary) << content;
        return where.string();
    }
    /// A file of zeros that takes no room.
    [[nodiscard]] std::string put_hole(std::string_view name, std::uintmax_t size) const {
        const auto path = put(name, "");
        fs::resize_file(path, size);
        return path;
    }
};

json::value get(const std::string& target) {
    return json::parse(http_call(sim().port(), "GET", target).body);
}

json::array messages_of(const std::string& session) {
    return get("/session/" + session + "/message").as_array();
}

std::string session_of(const command_result& done) {
    return text_of(parse_row(done.output.at(0)), "session");
}

std::string text_at(const json::value& object, std::string_view key) {
    const auto* value = object.as_object().if_contains(key);
    return value && value->is_string() ? std::string(value->get_string()) : "";
}

const std::string png("\x89PNG\r\n\x1a\n and more", 17);

} // namespace

// --- files

BOOST_AUTO_TEST_CASE(files_go_with_the_prompt_behind_its_text_as_what_they_are) {
    const folder files;
    const auto done =
        run_rows(sim().url(), {"look #plain", "--file", files.put("a.txt", "caf\xc3\xa9\n"), "--file",
                               files.put("b.bin", png), "--file", files.put("c", "%PDF-1.4 x")});
    BOOST_TEST(outcome_of(done.output) == "completed", done.text());
    const auto messages = messages_of(session_of(done));
    const auto& parts = messages.at(0).at("parts").as_array();
    BOOST_TEST_REQUIRE(parts.size() == 6U); // a text is shown to the model as a file that was read
    BOOST_TEST(text_at(parts[0], "text") == "look #plain");
    BOOST_TEST(text_at(parts[2], "text") == "caf\xc3\xa9\n");
    BOOST_TEST(text_at(parts[3], "mime") == "text/plain");
    BOOST_TEST(text_at(parts[3], "url") == "data:text/plain;base64,Y2Fmw6kK");
    BOOST_TEST(text_at(parts[3], "filename").ends_with("/a.txt"));
    BOOST_TEST(text_at(parts[4], "mime") == "image/png");
    BOOST_TEST(text_at(parts[5], "mime") == "application/pdf");
}

BOOST_AUTO_TEST_CASE(a_file_of_any_length_is_encoded_as_base64_has_it) {
    const folder files;
    for (const auto& [content, encoded] :
         {std::pair{"a", "YQ=="}, {"ab", "YWI="}, {"abc", "YWJj"}, {"abcd", "YWJjZA=="}}) {
        const auto done = run_rows(sim().url(), {"#plain", "--file", files.put("f", content)});
        const auto messages = messages_of(session_of(done));
        BOOST_TEST(text_at(messages.at(0).at("parts").as_array().back(), "url") ==
                   "data:text/plain;base64," + std::string(encoded));
    }
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_go_with_a_prompt_is_named_with_the_reason_before_anything_is_asked) {
    const folder files;
    const auto fifo = (files.path() / "fifo").string();
    BOOST_REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    struct refused {
        std::string path;
        std::string why;
    };
    const std::vector<refused> table{
        {(files.path() / "none").string(), "cannot be read: No such file or directory"},
        {"", "cannot be read: No such file or directory"},
        {files.path().string(), "is a directory"},
        {fifo, "is no regular file"},
        {"/dev/null", "is no regular file"},
        {files.put("empty", ""), "is empty"},
        {files.put("latin1", "caf\xe9"),
         "is neither UTF-8 text nor an image (PNG, JPEG, GIF, WebP) nor a PDF"},
        {files.put("nul", std::string("a\0b", 3)), "is neither UTF-8 text"},
        {files.put("elf", "\x7f"
                          "ELF\x02\xff"),
         "is neither UTF-8 text"},
        {files.put_hole("huge", 1u << 30), "is too large (1024 MiB): a file may have 16 MiB"},
        {files.put_hole("large", (16u << 20) + 1), "is too large (17 MiB): a file may have 16 MiB"},
    };
    for (const auto& each : table) {
        BOOST_TEST_CONTEXT(each.path) {
            const auto done = run_rows("http://127.0.0.1:1", {"#plain", "--file", each.path});
            BOOST_TEST(done.code() == 2, done.text());
            BOOST_TEST(done.output.empty());
            BOOST_TEST_REQUIRE(done.errors.size() == 1U);
            BOOST_TEST(done.errors[0].starts_with("holdfast: --file "), done.errors[0]);
            BOOST_TEST(some_line_has(done.errors, each.why), done.errors[0]);
        }
    }
}

BOOST_AUTO_TEST_CASE(the_files_of_a_prompt_are_bounded_together) {
    const folder files;
    const auto large = files.put("large", std::string(11u << 20, 'x'));
    const auto done =
        run_rows("http://127.0.0.1:1", {"#plain", "--file", large, "--file", large, "--file", large});
    BOOST_TEST(done.code() == 2);
    BOOST_TEST(some_line_has(done.errors, "is one too many: together the files may have 32 MiB"),
               done.text());
}

// --- commands

BOOST_AUTO_TEST_CASE(a_command_of_the_server_is_run_with_the_prompt_as_its_arguments) {
    const auto done = run_rows(sim().url(), {"--command", "review", "the diff"});
    const auto rows = parse_rows(done.output);
    BOOST_TEST(story(rows) == "turn tool text settled");
    BOOST_TEST(outcome_of(done.output) == "completed");
    BOOST_TEST(done.code() == 0);
    const auto messages = messages_of(session_of(done));
    BOOST_TEST(text_at(messages.at(0).at("info"), "id") == text_of(rows.front(), "message"));
    BOOST_TEST(text_at(messages.at(0).at("parts").at(0), "text") == "Review the diff #tool");
}

BOOST_AUTO_TEST_CASE(a_command_needs_no_prompt) {
    const auto done = run_rows(sim().url(), {"--command", "say"});
    BOOST_TEST(outcome_of(done.output) == "completed", done.text());
}

BOOST_AUTO_TEST_CASE(a_command_that_the_server_has_not_is_refused_with_those_that_it_has) {
    const auto done = run_rows(sim().url(), {"--command", "reveiw", "x"});
    BOOST_TEST(done.errors ==
                   lines{"holdfast: the turn ended as failed (not_posted): the server has no command "
                         "'reveiw'; it has: say, review, build"},
               boost::test_tools::per_element());
    BOOST_TEST(kinds(parse_rows(done.output)) == "settled");
    BOOST_TEST(text_of(settlement_of(done.output), "safe_to_reprompt") == "yes");
    BOOST_TEST(done.code() == 1);
}

// The server aborts nothing while it fills in a template, and goes on with the turn.
BOOST_AUTO_TEST_CASE(a_signal_at_a_commands_template_aborts_the_turn_that_comes_of_it) {
    sim_process own({"--pace", "5"});
    process child(command_of("holdfast", as_rows(own.url(), {"--command", "build", "#slow:5000"})));
    BOOST_REQUIRE(wait_signal_handler(child.id()));
    std::this_thread::sleep_for(1s); // the template takes two
    child.signal(SIGINT);
    BOOST_TEST((child.wait(20s) == exit_status{130, 0}));
    BOOST_TEST(child.wait_end_of_output(2s));
    BOOST_TEST(outcome_of(child.lines()) == "aborted");
    BOOST_TEST(http_call(own.port(), "GET", "/session/status").body == "{}");
}

// --- prompts without a reply

BOOST_AUTO_TEST_CASE(a_prompt_without_a_reply_is_stored_and_that_is_all) {
    const folder files;
    const auto done = run_rows(sim().url(), {"--no-reply", "note", "--file", files.put("f", "content")});
    BOOST_TEST(kinds(parse_rows(done.output)) == "stored", done.text());
    BOOST_TEST(done.code() == 0);
    BOOST_TEST(done.errors.empty());
    const auto session = session_of(done);
    auto messages = messages_of(session);
    BOOST_TEST_REQUIRE(messages.size() == 1U);
    BOOST_TEST(text_at(messages.at(0).at("info"), "id") == text_of(parse_row(done.output[0]), "message"));
    const auto next = run_rows(sim().url(), {"--session", session, "#plain"});
    BOOST_TEST(outcome_of(next.output) == "completed");
    BOOST_TEST(messages_of(session).size() == 3U);
    const auto text = run_text(sim().url(), {"--session", session, "--no-reply", "another note"});
    BOOST_TEST_REQUIRE(text.output.size() == 1U);
    BOOST_TEST(text.output[0].starts_with("= stored as msg_"), text.output[0]);
    BOOST_TEST(text.output[0].ends_with(" in " + session));
    BOOST_TEST(text.errors.empty());
}

BOOST_AUTO_TEST_CASE(a_prompt_without_a_reply_that_cannot_be_stored_is_a_failure) {
    const auto refused = run_rows(sim().url(), {"--no-reply", "note", "--agent", "nobody"});
    BOOST_TEST(outcome_of(refused.output) == "failed");
    BOOST_TEST(refused.code() == 1);
    const auto dead = run_rows("http://127.0.0.1:1", {"--no-reply", "note", "--max-attempts", "2"});
    BOOST_TEST(outcome_of(dead.output) == "failed");
    BOOST_TEST(text_of(settlement_of(dead.output), "safe_to_reprompt") == "yes");
    BOOST_TEST(dead.code() == 1);
}

// --- the session and the model

BOOST_AUTO_TEST_CASE(a_title_and_a_variant_are_what_the_server_gets) {
    const auto done = run_rows(sim().url(), {"#plain", "--title", "My \"own\" title", "--model",
                                             "mock/mock-1", "--variant", "hard"});
    const auto session = session_of(done);
    BOOST_TEST(text_at(get("/session/" + session), "title") == "My \"own\" title");
    BOOST_TEST(text_at(messages_of(session).at(0).at("info").at("model"), "variant") == "hard");
}

BOOST_AUTO_TEST_CASE(a_relative_directory_is_the_callers) {
    const folder here;
    fs::create_directory(here.path() / "p%41 q");
    const std::vector<std::pair<std::string, std::string>> table{
        {".", ""}, {"./", ""}, {"p%41 q", "/p%41 q"}, {"p%41 q/..", ""}, {"none/at/all", "/none/at/all"}};
    for (const auto& [given, wanted] : table) {
        command_options options;
        options.directory = here.path();
        const auto done =
            run_command("holdfast", as_rows(sim().url(), {"#plain", "--directory", given}), options);
        BOOST_TEST(outcome_of(done.output) == "completed", done.text());
        BOOST_TEST(text_at(get("/session/" + session_of(done)), "directory") ==
                   here.path().string() + wanted);
    }
}

// --- limits

BOOST_AUTO_TEST_CASE(a_turn_past_one_of_its_limits_is_aborted_and_the_limit_is_named) {
    struct limited {
        std::string prompt;
        lines options;
        std::string limit;
    };
    const std::vector<limited> table{{"#nofinish", {"--max-steps", "3"}, "max_steps"},
                                     {"#nofinish", {"--turn-tokens", "40"}, "tokens"},
                                     {"#silent", {"--turn-no-progress", "500ms"}, "no_progress"},
                                     {"#throttle:86400", {"--retry-limit", "1h"}, "retry_wait"}};
    for (const auto& each : table) {
        BOOST_TEST_CONTEXT(each.limit) {
            auto arguments = each.options;
            arguments.push_back(each.prompt);
            const auto done = run_rows(sim().url(), arguments);
            const auto settled = settlement_of(done.output);
            BOOST_TEST(text_of(settled, "outcome") == "aborted");
            BOOST_TEST(text_of(settled, "limit") == each.limit);
            BOOST_TEST(done.code() == 1);
            BOOST_TEST(some_line_has(done.errors, "it passed its limit (" + each.limit + ")"), done.text());
        }
    }
}

BOOST_AUTO_TEST_CASE(a_turn_within_its_limits_is_left_alone) {
    const auto done = run_rows(sim().url(), {"#nofinish:3", "--max-steps", "3", "--turn-tokens", "54",
                                             "--retry-limit", "1h", "--turn-no-progress", "30s"});
    BOOST_TEST(outcome_of(done.output) == "completed", done.text());
}

// --- what it used, and what it waits for

BOOST_AUTO_TEST_CASE(what_a_turn_used_is_told_with_its_settlement) {
    const auto done = run_rows(sim().url(), {"#nofinish:3"});
    const auto settled = settlement_of(done.output);
    const auto& usage = settled.what.at("usage");
    BOOST_TEST(
        json::serialize(usage) ==
        R"({"steps":3,"tokens":{"input":33,"output":21,"reasoning":0,"cache_read":0,"cache_write":0},"cost":0E0})");
    BOOST_TEST(done.errors.empty());
    const auto text = run_text(sim().url(), {"#nofinish:3"});
    BOOST_TEST(text.errors == lines{"holdfast: 3 steps: 33 tokens in, 21 out"},
               boost::test_tools::per_element());
    const auto one = run_text(sim().url(), {"#plain"});
    BOOST_TEST(one.errors == lines{"holdfast: 1 step: 11 tokens in, 7 out"},
               boost::test_tools::per_element());
    const auto none = run_text("http://127.0.0.1:1", {"#plain", "--max-attempts", "1"});
    BOOST_TEST(!some_line_has(none.errors, "step"), none.text());
}

BOOST_AUTO_TEST_CASE(a_person_reads_how_long_the_server_waits_for_the_models_provider_and_until_when) {
    const auto of_a_day = run_text(sim().url(), {"#throttle:86400", "--turn-timeout", "2s"});
    const std::regex a_day(
        "~ .*rate limited.*; the server tries again in 24 h \\(at \\d\\d:\\d\\d\\), attempt 1");
    BOOST_TEST(std::any_of(of_a_day.output.begin(), of_a_day.output.end(),
                           [&](const auto& line) { return std::regex_match(line, a_day); }),
               of_a_day.text());
    const auto of_seconds = run_text(sim().url(), {"#throttle:2"});
    BOOST_TEST((some_line_has(of_seconds.output, "; the server tries again in 2 s, attempt 1") ||
                some_line_has(of_seconds.output,
                              "; the server tries again in 1 s, attempt 1")), // some of it has passed
               of_seconds.text());
}

// --- wrong usage

BOOST_AUTO_TEST_CASE(options_that_do_not_go_together_and_values_that_are_none_are_told_in_one_line) {
    struct wrong {
        lines arguments;
        std::string told;
    };
    const std::vector<wrong> table{
        {{"hi", "--title", "t", "--session", "ses_1"}, "--session excludes --title"},
        {{"hi", "--no-reply", "--command", "say"}, "--command excludes --no-reply"},
        {{"--no-reply"}, "a PROMPT is wanted"},
        {{"--file", "/etc/hostname"}, "a PROMPT is wanted"},
        {{"--session", "ses_1", "--adopt", "msg_1", "--command", "say"}, "--command excludes --adopt"},
        {{"--session", "ses_1", "--adopt", "msg_1", "--file", "/etc/hostname"}, "--file excludes --adopt"},
        {{"--session", "ses_1", "--adopt", "msg_1", "--no-reply"}, "--no-reply excludes --adopt"},
        {{"--session", "ses_1", "--adopt", "msg_1", "--variant", "v"}, "--adopt excludes --variant"},
        {{"hi", "--no-reply", "--max-steps", "3"}, "--no-reply excludes --max-steps"},
        {{"hi", "--no-reply", "--retry-limit", "3"}, "--no-reply excludes --retry-limit"},
        {{"hi", "--max-steps", "0"}, "--max-steps: 0 is not a whole number from 1 up"},
        {{"hi", "--max-steps", "-1"}, "--max-steps: -1 is not a whole number from 1 up"},
        {{"hi", "--max-steps", "1.5"}, "--max-steps: 1.5 is not a whole number from 1 up"},
        {{"hi", "--max-steps", "99999999999999999999"},
         "--max-steps: 99999999999999999999 is not a whole number"},
        {{"hi", "--turn-tokens", "many"}, "--turn-tokens: many is not a whole number from 1 up"},
        {{"hi", "--retry-limit", "1d"}, "--retry-limit: 1d is not a duration"},
        {{"hi", "--retry-limit", "-1s"}, "--retry-limit: -1s is not a duration"},
        {{"hi", "--turn-no-progress", "soon"}, "--turn-no-progress: soon is not a duration"},
        {{"hi", "--file"}, "--file: 1 required PATH missing"},
        {{"hi", "--command"}, "--command: 1 required NAME missing"},
    };
    for (const auto& each : table) {
        BOOST_TEST_CONTEXT(each.told) {
            const auto done = run_rows("http://127.0.0.1:1", each.arguments);
            BOOST_TEST(done.code() == 2, done.text());
            BOOST_TEST(done.output.empty());
            BOOST_TEST_REQUIRE(done.errors.size() == 1U);
            BOOST_TEST(some_line_has(done.errors, each.told), done.errors[0]);
        }
    }
}
