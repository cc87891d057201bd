// The rows that a command tells: lines of one JSON object with one member, whose name is the row's kind.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::test {

struct row {
    std::string kind;
    boost::json::object what;
};

/// Throws when the line is none.
inline row parse_row(std::string_view line) {
    const auto value = boost::json::parse(line);
    const auto& object = value.as_object();
    if (object.size() != 1)
        throw std::runtime_error("not one row: " + std::string(line));
    return {std::string(object.begin()->key()), object.begin()->value().as_object()};
}

inline std::vector<row> parse_rows(const std::vector<std::string>& lines) {
    std::vector<row> all;
    for (const auto& line : lines)
        all.push_back(parse_row(line));
    return all;
}

/// "turn text text settled"
inline std::string kinds(const std::vector<row>& rows) {
    std::string all;
    for (const auto& each : rows)
        all += (all.empty() ? "" : " ") + each.kind;
    return all;
}

inline std::vector<row> rows_of_kind(const std::vector<row>& rows, std::string_view kind) {
    std::vector<row> some;
    for (const auto& each : rows)
        if (each.kind == kind)
            some.push_back(each);
    return some;
}

/// A member that is a string.
inline std::string text_of(const row& from, std::string_view name) {
    return std::string(from.what.at(name).as_string());
}

/// Accepts lines that are rows of this kind; for process::wait_line().
inline auto line_of_kind(std::string_view kind) {
    return [start = "{\"" + std::string(kind) + "\":"](std::string_view line) {
        return line.starts_with(start);
    };
}

} // namespace holdfast::test
