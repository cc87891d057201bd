// holdfast cat: its rows are a contract.
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
    const auto done =
        cat_input("id: 7\nevent: x\ndata: a\ndata: b\n\nretry: 250\ndata: c\n\ndata: never dispatched\n");
    const lines wanted{R"({"event":{"type":"x","data":"a\nb","id":"7"}})",
                       R"({"event":{"type":"message","data":"c","id":"7"}})",
                       R"({"end":{"events":2,"last_event_id":"7","retry_ms":250,"error":null}})"};
    BOOST_TEST(done.output == wanted, boost::test_tools::per_element());
    BOOST_TEST(done.errors.empty());
    BOOST_TEST(done.code() == 0);
}

BOOST_AUTO_TEST_CASE(an_empty_input_has_an_end_row_only) {
    const auto done = cat_input("");
    BOOST_TEST(done.text() ==
               "out: {\"end\":{\"events\":0,\"last_event_id\":\"\",\"retry_ms\":null,\"error\":null}}\n"
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
        BOOST_TEST(whole.code() == 0);
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
        BOOST_TEST(done.code() == 1);
        BOOST_REQUIRE(done.output.size() == 1U);
        BOOST_REQUIRE(done.errors.size() == 1U);
        const auto error = text_of(parse_row(done.output.front()), "error");
        BOOST_TEST(error.starts_with("cannot read " + path + ": "));
        BOOST_TEST(done.errors.front() == "holdfast: " + error);
    }
}

BOOST_AUTO_TEST_CASE(a_limit_that_is_passed_ends_the_decoding_as_a_failure) {
    std::string input = "data: first\n\n";
    for (int n = 0; n <= 1 << 20; ++n) // data lines of one event
        input += "data\n";
    const auto done = cat_input(input);
    BOOST_TEST(done.code() == 1);
    BOOST_REQUIRE(done.output.size() == 2U);
    const auto end = parse_row(done.output.back());
    BOOST_TEST(end.kind == "end");
    BOOST_TEST(end.what.at("events").to_number<int>() == 1);
    BOOST_REQUIRE(done.errors.size() == 1U);
    BOOST_TEST(done.errors.front() == "holdfast: " + text_of(end, "error"));
}

BOOST_AUTO_TEST_CASE(a_closed_pipe_ends_it_quietly) {
    const auto path = recording_path("42-subagent-permission").string();
    const auto done = shell("while cat '" + path +
                            "'; do :; done | \"$1\" cat - --format ndjson | head -n 1 >&2; "
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
        BOOST_TEST(done.code() == 2, done.text());
        BOOST_TEST(done.output.empty(), done.text());
        BOOST_TEST(done.errors.size() == 1U, done.text());
    }
}

BOOST_AUTO_TEST_CASE(help_and_version_are_no_failures) {
    BOOST_TEST(cat({"--help"}).code() == 0);
    const auto version = run_command("holdfast", {"--version"});
    BOOST_TEST(version.code() == 0);
    BOOST_REQUIRE(version.output.size() == 1U);
    BOOST_TEST(version.output.front().starts_with("holdfast "));
    BOOST_TEST(run_command("holdfast", {}).code() == 2);
}

// --- as turns

namespace {

command_result cat_turns(const std::string& path, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {path, "--turns", "--format", "ndjson"});
    return cat(std::move(more));
}

/// A row of `run`, with the session and the prompt that it belongs to beside it; or needs_check, which has
/// them itself.
struct turn_row {
    row told;
    std::string session;
    std::string message; ///< empty: null
};

std::vector<turn_row> parse_turn_rows(const std::vector<std::string>& rows) {
    std::vector<turn_row> all;
    for (const auto& line : rows) {
        const auto object = boost::json::parse(line).as_object();
        turn_row each{{std::string(object.begin()->key()), object.begin()->value().as_object()}, {}, {}};
        const bool check = each.told.kind == "needs_check";
        BOOST_TEST(object.size() == (check ? 1U : 3U));
        const auto& names = check ? each.told.what : object;
        each.session = std::string(names.at("session").as_string());
        if (const auto* message = names.at("message").if_string()) {
            each.message = std::string(*message);
        }
        all.push_back(std::move(each));
    }
    return all;
}

/// "completed message_finished, needs_check": the ends of its turns, in the order in which they are told.
std::string ends_of(const std::vector<turn_row>& rows) {
    std::string all;
    for (const auto& [each, session, message] : rows) {
        std::string end;
        if (each.kind == "settled") {
            end = text_of(each, "outcome") + " " + std::string(each.what.at("why").at("rule").as_string());
        } else if (each.kind == "needs_check") {
            end = "needs_check";
        }
        if (!end.empty()) {
            all += (all.empty() ? "" : ", ") + end;
        }
    }
    return all;
}

} // namespace

BOOST_AUTO_TEST_CASE(each_recording_has_the_ends_that_its_events_tell) {
    // A recording that is in no line here has no prompt of its own.
    const std::map<std::string, std::string> wanted{
        {"01-plain-turn-api-event", "needs_check"},
        {"01-plain-turn-event", "completed message_finished"},
        {"01-plain-turn-global-event", "completed message_finished"},
        {"02-second-turn-warm", "completed message_finished"},
        {"03-reasoning", "completed message_finished"},
        {"04-tool-read", "completed message_finished"},
        {"05-bash-permission-once", "completed message_finished"},
        {"06-bash-permission-reject", "rejected tool_rejected"},
        {"08-bash-permission-legacy-endpoint", "completed message_finished"},
        {"09-question-reply", "completed message_finished"},
        {"10-question-reject", "rejected tool_rejected"},
        {"11-abort-while-streaming", "aborted message_error"},
        {"13-abort-while-permission-pending", "aborted message_error"},
        {"15-abort-while-bash-running", "aborted message_error"},
        {"16-abort-before-first-byte", "aborted message_error"},
        {"17-abort-immediately-after-prompt_async", "needs_check"},
        {"18-abort-when-idle", "completed message_finished"},
        {"20-abort-then-immediately-new-prompt", "aborted message_error, completed message_finished"},
        {"30-model-400", "failed message_error"},
        {"31-model-401", "failed message_error"},
        {"32-model-500-retrying-then-abort", "aborted message_interrupted"},
        {"33-model-500-once-recovers", "completed message_finished"},
        {"34-model-429-retry-after", "completed message_finished"},
        {"36-model-stream-cut-once", "completed message_finished"},
        {"37-model-garbage-chunk", "failed message_error"},
        {"38-model-error-chunk", "needs_check"},
        {"39-finish-length", "completed message_finished"},
        {"40-context-overflow", "failed compaction_failed"},
        {"41-subagent-task", "completed message_finished"},
        {"42-subagent-permission", "completed message_finished"},
        {"44-write-file", "completed message_finished"},
        {"45-todowrite", "completed message_finished"},
        {"47-instance-dispose-mid-turn", "aborted message_error"},
        {"48-unknown-model", "completed message_finished"},
        {"50-unknown-model", "needs_check"},
        {"51-unknown-provider", "needs_check"},
        {"52-unknown-agent", "needs_check"},
        {"53-model-connection-refused", "aborted message_interrupted"},
        {"54-client-chosen-messageID", "completed message_finished"},
        {"55-noReply-prompt", "needs_check"},
        {"62-global", "completed message_finished, completed message_finished, completed message_finished"},
        {"62-other-dir-streamB", "completed message_finished"},
        {"62-two-sessions-same-dir-streamA1", "completed message_finished, completed message_finished"},
        {"62-two-sessions-same-dir-streamA2", "completed message_finished, completed message_finished"},
        {"70-k_SIGHUP_busy", "needs_check"},
        {"70-k_SIGINT_busy", "needs_check"},
        {"70-k_SIGKILL_busy", "needs_check"},
        {"70-k_SIGTERM_busy", "needs_check"},
        {"71-idle-heartbeats-api-event", "needs_check"},
        {"80-idempotent-reposts", "completed message_finished"},
        {"delete", "lost session_deleted"},
        {"overflow-always-second", "completed message_finished, failed compaction_failed"},
        {"overflow-ok-prompt-in-compaction",
         "completed message_finished, completed message_finished, completed merged"},
        {"overflow-ok-second", "completed message_finished, completed message_finished"},
        {"overflow-ok-then-prompt",
         "completed message_finished, completed message_finished, completed merged"},
        {"overflow-ok", "completed message_finished"},
        {"task-bash", "completed message_finished"},
        {"two-abort", "aborted message_error, aborted session_aborted"},
        {"two-prompts-at-once", "completed message_finished, completed merged"},
        {"two-prompts-tool", "completed superseded, completed message_finished"},
        {"two-prompts", "completed superseded, completed message_finished"},
    };
    for (const auto& path : all_recordings()) {
        const auto found = wanted.find(path.stem().string());
        const auto done = cat_turns(path.string());
        BOOST_TEST(ends_of(parse_turn_rows(done.output)) ==
                       (found == wanted.end() ? std::string() : found->second),
                   path.stem().string());
        BOOST_TEST(done.code() == 0);
    }
}

BOOST_AUTO_TEST_CASE(each_prompt_of_a_recording_has_exactly_one_end_after_its_last_row) {
    for (const auto& path : all_recordings()) {
        BOOST_TEST_CONTEXT(path.stem().string()) {
            std::set<std::string> begun, over;
            for (const auto& [each, session, message] : parse_turn_rows(cat_turns(path.string()).output)) {
                BOOST_TEST(each.kind != "event");
                BOOST_TEST(each.kind != "end");
                BOOST_TEST(session.starts_with("ses_"));
                if (message.empty()) { // an error without any prompt
                    BOOST_TEST(each.kind == "needs_check");
                    continue;
                }
                BOOST_TEST(!over.contains(message));
                begun.insert(message);
                if (each.kind == "settled" || each.kind == "needs_check") {
                    over.insert(message);
                }
            }
            BOOST_TEST(begun == over);
        }
    }
}

BOOST_AUTO_TEST_CASE(the_text_rows_of_a_turn_hold_the_text_of_its_settlement) {
    for (const auto& path : all_recordings()) {
        std::map<std::string, std::string> told;
        for (const auto& [each, session, message] : parse_turn_rows(cat_turns(path.string()).output)) {
            if (each.kind == "text") {
                told[message] += text_of(each, "delta");
            } else if (each.kind == "settled") {
                BOOST_TEST(told[message].ends_with(text_of(each, "text")), path.stem().string());
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(the_turns_are_the_same_whatever_the_size_of_the_pieces) {
    const auto path = recording_path("42-subagent-permission").string();
    const auto whole = cat_turns(path).text();
    for (const auto* size : {"1", "7", "4096"}) {
        BOOST_TEST(cat_turns(path, {"--chunk", size}).text() == whole);
    }
}

BOOST_AUTO_TEST_CASE(the_turns_of_one_session_can_be_picked) {
    const auto path = recording_path("62-two-sessions-same-dir-streamA1").string();
    const auto all = cat_turns(path).output;
    std::map<std::string, lines> by_session;
    for (const auto& line : all) {
        by_session[parse_turn_rows({line}).front().session].push_back(line);
    }
    BOOST_TEST(by_session.size() == 2U);
    for (const auto& [session, rows] : by_session) {
        BOOST_TEST(cat_turns(path, {"--session", session}).output == rows, boost::test_tools::per_element());
    }
    BOOST_TEST(cat_turns(path, {"--session", "ses_another"}).output.empty());
}
