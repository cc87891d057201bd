// `holdfast run`, run to its end, and its rows read.
#pragma once

#include "support/command.hpp"
#include "support/rows.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::test {

using lines = std::vector<std::string>;

// --- running it

inline lines with_server(const std::string& url, lines more) {
    more.insert(more.begin(), {"run", "--server", url});
    return more;
}

inline lines as_rows(const std::string& url, lines more) {
    more.insert(more.begin(), {"--format", "ndjson", "--base-delay", "100ms"});
    return with_server(url, std::move(more));
}

inline command_result run_rows(const std::string& url, lines more, std::string input = {}) {
    command_options options;
    options.input = std::move(input);
    options.deadline = std::chrono::seconds(60);
    return run_command("holdfast", as_rows(url, std::move(more)), options);
}

inline command_result run_text(const std::string& url, lines more, std::string input = {}) {
    command_options options;
    options.input = std::move(input);
    return run_command("holdfast", with_server(url, std::move(more)), options);
}

// --- reading its rows

/// "turn text settled": the kinds of rows, each run of the same kind once.
inline std::string story(const std::vector<row>& rows) {
    std::string all, last;
    for (const auto& each : rows) {
        if (each.kind != last) {
            all += (all.empty() ? "" : " ") + each.kind;
        }
        last = each.kind;
    }
    return all;
}

inline std::string joined_text(const std::vector<row>& rows) {
    std::string text;
    for (const auto& each : rows_of_kind(rows, "text")) {
        text += text_of(each, "delta");
    }
    return text;
}

/// The settlement, which must be there once, as the last row.
inline row settlement_of(const lines& output) {
    const auto rows = parse_rows(output);
    BOOST_TEST(rows_of_kind(rows, "settled").size() == 1U);
    BOOST_REQUIRE(!rows.empty());
    BOOST_REQUIRE(rows.back().kind == "settled");
    return rows.back();
}

inline std::string outcome_of(const lines& output) {
    return text_of(settlement_of(output), "outcome");
}

inline std::string rule_of(const row& settled) {
    return std::string(settled.what.at("why").at("rule").as_string());
}

inline bool some_line_has(const lines& all, std::string_view part) {
    return std::any_of(all.begin(), all.end(),
                       [&](const auto& line) { return line.find(part) != line.npos; });
}

} // namespace holdfast::test
