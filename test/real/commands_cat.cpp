// holdfast cat: its rows are a contract.
#define BOOST_TEST_MODULE commands_cat
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/recordings.hpp"
#include "support/rows.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace holdfast::test;
using lines = std::vector<std::string>;

command_result cat(std::vector<std::string> arguments, std::string input = {}) {
    arguments.insert(arguments.begin(), "cat");
    command_options options;
    options.input = std::move(input);
    return run_command("holdfast", arguments, options);
}

command_result cat_input(std::string input, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"-", "--format", "ndjson"});
    return cat(std::move(more), std::move(input));
}

int code_of(const command_result& done) {
    return done.status && done.status->signal == 0 ? done.status->code : -1;
}

/// In a shell, as a pipe is closed by its reader there.
command_result shell(const std::string& script) {
    command_options options;
    process::options what;
    what.argv = {"/bin/bash", "-c", script, "bash", program_path("holdfast")};
    what.environment = current_environment();
    process child(what);
    command_result done;
    done.status = child.wait(options.deadline);
    child.wait_end_of_output(std::chrono::seconds(2));
    done.output = child.lines();
    done.errors = child.lines(process::stream::errors);
    return done;
}

} // namespace

BOOST_AUTO_TEST_CASE(each_event_is_a_row_and_the_end_is_the_last_one) {
    const auto done = cat_input("id: 7\nevent: x\ndata: a\ndata: b\n\nretry: 250\ndata: c\n\ndata: never dispatched\n");
    const lines wanted{R"({"event":{"type":"x","data":"a\nb","id":"7"}})",
                       R"({"event":{"type":"message","data":"c","id":"7"}})",
                       R"({"end":{"events":2,"last_event_id":"7","retry_ms":250,"error":null}})"};
    BOOST_TEST(done.output == wanted, boost::test_tools::per_element());
    BOOST_TEST(done.errors.empty());
    BOOST_TEST(code_of(done) == 0);
}

BOOST_AUTO_TEST_CASE(an_empty_input_has_an_end_row_only) {
    const auto done = cat_input("");
    BOOST_TEST(done.text() == "out: {\"end\":{\"events\":0,\"last_event_id\":\"\",\"retry_ms\":null,\"error\":null}}\n"
                              "exit code 0\n");
}

BOOST_AUTO_TEST_CASE(a_block_with_an_id_and_no_data_still_commits_the_id) {
    const auto done = cat_input("id: 9\n\n");
    BOOST_REQUIRE(done.output.size() == 1U);
    BOOST_TEST(text_of(parse_row(done.output.front()), "last_event_id") == "9");
}

BOOST_AUTO_TEST_CASE(ill_formed_bytes_become_replacement_characters) {
    const auto done = cat_input("id: \xfe\ndata: a\xff"
                                "b\xe2\x82 \xf0\x9f\x98\x80\n\n");
    BOOST_REQUIRE(done.output.size() == 2U);
    BOOST_TEST(done.output.front() == "{\"event\":{\"type\":\"message\",\"data\":\"a\xef\xbf\xbd"
                                      "b\xef\xbf\xbd \xf0\x9f\x98\x80\",\"id\":\"\xef\xbf\xbd\"}}");
}

BOOST_AUTO_TEST_CASE(the_rows_are_the_same_whatever_the_size_of_the_pieces) {
    for (const auto* name : {"01-plain-turn-event", "42-subagent-permission", "62-no-dir-stream", "delete"}) {
        const auto path = recording_path(name).string();
        const auto whole = cat({path, "--format", "ndjson"});
        BOOST_TEST(code_of(whole) == 0);
        BOOST_TEST(whole.output.size() == recorded_data(path).size() + 1);
        for (int size = 1; size <= 9; ++size) {
            const auto pieces = cat({path, "--format", "ndjson", "--chunk", std::to_string(size)});
            BOOST_TEST(pieces.text() == whole.text(), name << " in pieces of " << size);
        }
    }
}

BOOST_AUTO_TEST_CASE(every_case_of_the_format_is_decoded_the_same_byte_by_byte) {
    const auto input = read_file(recording_path("41-subagent-task"));
    BOOST_TEST(cat_input(input, {"--chunk", "1"}).text() == cat_input(input).text());
}

BOOST_AUTO_TEST_CASE(what_cannot_be_read_is_told_in_the_end_row_and_on_stderr_and_is_a_failure) {
    for (const std::string path : {"no-such-file", "/"}) {
        const auto done = cat({path, "--format", "ndjson", "--log-level", "error"});
        BOOST_TEST(code_of(done) == 1);
        BOOST_REQUIRE(done.output.size() == 1U);
        BOOST_REQUIRE(done.errors.size() == 1U);
        const auto error = text_of(parse_row(done.output.front()), "error");
        BOOST_TEST(error.starts_with("cannot read " + path + ": "));
        BOOST_TEST(done.errors.front() == "holdfast: " + error);
    }
}

BOOST_AUTO_TEST_CASE(a_limit_that_is_passed_ends_the_decoding_as_a_failure) {
    const auto done = cat_input("data: first\n\nid: " + std::string(2000, 'x') + "\ndata: second\n\n");
    BOOST_TEST(code_of(done) == 1);
    BOOST_REQUIRE(done.output.size() == 2U);
    const auto end = parse_row(done.output.back());
    BOOST_TEST(end.kind == "end");
    BOOST_TEST(end.what.at("events").to_number<int>() == 1);
    BOOST_REQUIRE(done.errors.size() == 1U);
    BOOST_TEST(done.errors.front() == "holdfast: " + text_of(end, "error"));
}

BOOST_AUTO_TEST_CASE(a_closed_pipe_ends_it_quietly) {
    const auto path = recording_path("42-subagent-permission").string();
    const auto done = shell("while cat '" + path + "'; do :; done | \"$1\" cat - --format ndjson | head -n 1 >&2; "
                            "echo ${PIPESTATUS[1]}");
    BOOST_TEST(done.output == lines{"0"}, boost::test_tools::per_element());
    const auto by_holdfast = std::any_of(done.errors.begin(), done.errors.end(),
                                         [](const auto& line) { return line.starts_with("holdfast"); });
    BOOST_TEST(!by_holdfast, done.text());
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_a_failure_in_words) {
    const auto done = shell("echo 'data: x\n' | \"$1\" cat - > /dev/full; echo ${PIPESTATUS[1]}");
    BOOST_TEST(done.output.back() == "1", done.text());
    BOOST_REQUIRE(done.errors.size() == 1U);
    BOOST_TEST(done.errors.front() == "holdfast: cannot write to stdout: No space left on device");
}

BOOST_AUTO_TEST_CASE(text_form_escapes_what_would_act_on_a_terminal) {
    const auto done = cat({"-"}, "event: \x1b[2J\ndata: \x1b]0;title\x07 \xc2\x9b \xe2\x80\xae tail\n\n");
    const lines wanted{"\\x1b[2J", "  \\x1b]0;title\\x07 \\x9b \\u202e tail", "1 event"};
    BOOST_TEST(done.output == wanted, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(wrong_usage_is_one_line_and_exit_code_two) {
    const std::vector<lines> wrong{{},
                                   {"-", "--chunk", "0"},
                                   {"-", "--chunk", "x"},
                                   {"-", "--format", "xml"},
                                   {"-", "--nonsense"},
                                   {"-", "another"},
                                   {"-", "--session", "ses_1"}};
    for (const auto& arguments : wrong) {
        const auto done = cat(arguments);
        BOOST_TEST(code_of(done) == 2, done.text());
        BOOST_TEST(done.output.empty(), done.text());
        BOOST_TEST(done.errors.size() == 1U, done.text());
    }
}

BOOST_AUTO_TEST_CASE(help_and_version_are_no_failures) {
    BOOST_TEST(code_of(cat({"--help"})) == 0);
    const auto version = run_command("holdfast", {"--version"});
    BOOST_TEST(code_of(version) == 0);
    BOOST_REQUIRE(version.output.size() == 1U);
    BOOST_TEST(version.output.front().starts_with("holdfast "));
    BOOST_TEST(code_of(run_command("holdfast", {})) == 2);
}
