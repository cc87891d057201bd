// The table of holdfast watch: lines of exact width, and what they say.
#include <boost/test/unit_test.hpp>

#include "watch/table.hpp"
#include "watch/text_width.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::app;

const time_point t0{seconds(1000)};

board_row row_of(const std::string& name, run_state state = run_state::idle) {
    board_row row;
    row.server = "alpha";
    row.name = name;
    row.state = state;
    row.streamed = true;
    row.since = t0;
    return row;
}

board_row in_trouble(duration retry_in, unsigned failures = 5, int status = 0) {
    auto row = row_of("x");
    row.trouble = {status ? retry::failure_class::http_status : retry::failure_class::refused, status,
                   "refused", failures, t0 + retry_in};
    return row;
}

std::vector<std::string> lines_of(const std::vector<board_row>& rows, std::size_t width = 100,
                                  std::size_t height = 24, std::vector<std::string> log = {},
                                  bool filled = true) {
    board_totals totals;
    totals.servers = 2;
    totals.runs = rows.size();
    table_look look;
    look.width = width;
    look.height = height;
    look.filled = filled;
    return table_lines(rows, totals, log, t0 - seconds(300), t0 + seconds(12), look);
}

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_CASE(ages_are_whole_and_short) {
    const std::vector<std::pair<duration, std::string>> rows{
        {seconds(0), "0 s"},       {milliseconds(1999), "1 s"}, {seconds(119), "119 s"},
        {seconds(120), "2 min"},   {minutes(119), "119 min"},   {minutes(120), "2 h"},
        {minutes(48 * 60), "2 d"}, {seconds(-5), "0 s"}};
    for (const auto& [lasted, text] : rows)
        BOOST_TEST(age(lasted) == text);
}

BOOST_AUTO_TEST_CASE(the_connection_is_told_with_the_countdown) {
    BOOST_TEST(connection_words(in_trouble(milliseconds(11'200)), t0) == "retry in 12 s (refused, 5th)");
    BOOST_TEST(connection_words(in_trouble(seconds(12)), t0 + seconds(2)) == "retry in 10 s (refused, 5th)");
    BOOST_TEST(connection_words(in_trouble(seconds(12)), t0 + seconds(12)) == "trying again (refused, 5th)");
    BOOST_TEST(connection_words(in_trouble(seconds(30), 1, 401), t0) == "authentication failed");
    for (const auto& [n, word] : std::vector<std::pair<unsigned, std::string>>{{1, "1st"},
                                                                               {2, "2nd"},
                                                                               {3, "3rd"},
                                                                               {4, "4th"},
                                                                               {11, "11th"},
                                                                               {12, "12th"},
                                                                               {13, "13th"},
                                                                               {21, "21st"},
                                                                               {112, "112th"}})
        BOOST_TEST(has(connection_words(in_trouble(seconds(1), n), t0), ", " + word + ")"), word);
    auto row = row_of("x");
    BOOST_TEST(connection_words(row, t0) == "stream");
    row.streamed = false;
    BOOST_TEST(connection_words(row, t0) == "connecting");
    row.captured = true;
    row.seen = t0 - seconds(3);
    BOOST_TEST(connection_words(row, t0) == "capture");
    row.seen = t0 - seconds(20);
    BOOST_TEST(connection_words(row, t0) == "capture, 20 s ago");
}

BOOST_AUTO_TEST_CASE(no_line_is_wider_or_higher_than_the_screen) {
    std::vector<board_row> rows;
    for (int i = 0; i < 30; ++i) {
        auto row =
            row_of("a long name that goes on, 漢字かな交じり文 " + std::to_string(i), run_state::working);
        row.doing =
            "e\u0301a\u0308 👩‍💻 日本語 text that streams and has no end in sight, as it goes on "
            "and on";
        row.ends = i % 2 == 0;
        rows.push_back(row);
    }
    rows.push_back(in_trouble(seconds(70)));
    for (std::size_t width = 1; width < 160; width += 3)
        for (std::size_t height : {1, 2, 3, 4, 6, 16, 24, 40}) {
            const auto lines = lines_of(rows, width, height, {"one", "two", "three", "four"});
            BOOST_TEST(lines.size() <= height);
            for (const auto& line : lines)
                BOOST_TEST(width_of(line) <= width, width << "x" << height << ": " << line);
        }
}

BOOST_AUTO_TEST_CASE(the_columns_hold_whatever_the_text_is_wide) {
    auto narrow = row_of("plain");
    auto wide = row_of("漢字 e\u0301");
    const auto lines = lines_of({narrow, wide});
    const auto column = [](const std::string& line, const std::string& word) {
        return width_of(line.substr(0, line.find(word)));
    };
    BOOST_TEST(column(lines.at(2), "alpha") == column(lines.at(3), "alpha"));
    BOOST_TEST(column(lines.at(2), "12 s") == column(lines.at(3), "12 s"));
    BOOST_TEST(column(lines.at(1), "SERVER") == column(lines.at(2), "alpha"));
}

BOOST_AUTO_TEST_CASE(of_streaming_text_the_end_is_shown_and_of_all_else_the_beginning) {
    auto row = row_of("x", run_state::working);
    row.doing = "It began well\nand " + std::string(300, '.') + " the end";
    BOOST_TEST(has(lines_of({row}).at(2), "It began well and"));
    row.ends = true;
    BOOST_TEST(has(lines_of({row}).at(2), ". the end "));
    BOOST_TEST(!has(lines_of({row}).at(2), "began"));
}

BOOST_AUTO_TEST_CASE(nothing_untrusted_reaches_the_terminal) {
    auto row = row_of("\x1b[2Jname\x07");
    row.server = "\x1b]0;tag\x07";
    row.doing = "\x1b[31mred\x9b"
                "0m\xe2\x80\xae";
    for (const auto& line : lines_of({row}, 150, 24, {"\x1b[Hlog\r"}))
        for (const char c : line)
            BOOST_TEST((static_cast<unsigned char>(c) >= 0x20 && c != 0x7f));
}

BOOST_AUTO_TEST_CASE(with_more_runs_than_lines_those_that_matter_are_shown_in_their_order) {
    std::vector<board_row> rows;
    for (int i = 0; i < 40; ++i)
        rows.push_back(row_of("idle" + std::to_string(i)));
    rows[7] = row_of("worker", run_state::working);
    rows[20] = row_of("asker", run_state::waiting);
    rows[33] = in_trouble(seconds(5));
    const auto lines = lines_of(rows, 100, 10);
    BOOST_TEST(lines.size() == 10U);
    const auto line_with = [&](std::string_view word) {
        return std::find_if(lines.begin(), lines.end(), [&](const auto& line) { return has(line, word); }) -
               lines.begin();
    };
    BOOST_TEST(line_with("worker") < line_with("asker"));
    BOOST_TEST(line_with("asker") < line_with("retry in"));
    BOOST_TEST(has(lines.back(), "and 33 more: 33 idle"));
}

BOOST_AUTO_TEST_CASE(the_foot_stands_at_the_bottom_and_has_the_newest_lines) {
    const auto lines = lines_of({row_of("x")}, 80, 20, {"one", "two", "three", "four"});
    BOOST_REQUIRE(lines.size() == 20U);
    BOOST_TEST(has(lines[17], "two"));
    BOOST_TEST(has(lines[19], "four"));
    const auto left = lines_of({row_of("x")}, 80, 20, {"one"}, false);
    BOOST_TEST(left.size() == 5U);
}

BOOST_AUTO_TEST_CASE(the_head_counts_what_there_is) {
    board_totals totals;
    totals.servers = 3;
    totals.servers_in_trouble = 1;
    totals.runs = 12;
    totals.working = 4;
    totals.waiting = 1;
    totals.turns = 9;
    table_look look;
    look.width = 120;
    const auto lines = table_lines({}, totals, {}, t0, t0 + minutes(5), look);
    BOOST_TEST(has(lines[0], "holdfast watch  3 servers (1 down), 12 runs (4 working, 1 waiting), "
                             "9 turns settled, up 5 min"));
}

BOOST_AUTO_TEST_CASE(colour_is_asked_for_by_the_piece_and_changes_no_width) {
    table_look look;
    look.paint = [](style, std::string_view text) {
        return "<" + std::string(text) + ">";
    };
    const auto painted = table_lines({row_of("x", run_state::failed)}, {}, {}, t0, t0, look);
    BOOST_TEST(has(painted.at(2), "<failed  >"));
}

BOOST_AUTO_TEST_CASE(widths_are_those_of_a_terminal) {
    const std::vector<std::pair<std::string, std::size_t>> rows{
        {"", 0}, {"abc", 3}, {"漢字", 4}, {"e\u0301", 1}, {"😀", 2}, {"ä€", 2}, {"\uFF21", 2}};
    for (const auto& [text, width] : rows)
        BOOST_TEST(width_of(text) == width, text);
}

BOOST_AUTO_TEST_CASE(fitted_text_is_exactly_as_wide_as_asked) {
    for (const std::string text :
         {"", "a", "short", "漢字漢字漢字", "e\u0301e\u0301e\u0301e\u0301e\u0301", "a漢b字c"})
        for (std::size_t width = 0; width < 14; ++width) {
            BOOST_TEST(width_of(fitted(text, width)) == width, text);
            BOOST_TEST(width_of(fitted_end(text, width)) == width, text);
            BOOST_TEST(width_of(fitted_right(text, width)) == width, text);
        }
    BOOST_TEST(fitted("abcdef", 4) == "abc…");
    BOOST_TEST(fitted_end("abcdef", 4) == "…def");
    BOOST_TEST(fitted_right("ab", 4) == "  ab");
}
