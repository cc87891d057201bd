// What the turns of a recording come to, in lines that a test can compare.
#pragma once

#include "support/recordings.hpp"

#include <holdfast/opencode/recording.hpp>

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

namespace holdfast::test {

struct recorded_turns {
    std::vector<opencode::recorded_row> rows;
    std::vector<opencode::recorded_check> checks;
};

inline recorded_turns turns_of(const std::filesystem::path& path) {
    opencode::recording r;
    for (const auto& data : recorded_data(path))
        r.feed(data);
    return {r.take_rows(), r.needs_check()};
}

/// Ids are compared by their last five characters.
inline std::string tail(const std::string& id) {
    return id.size() > 5 ? id.substr(id.size() - 5) : id;
}

/// "K89HP completed message_finished" for each settlement, "? K89HP" for each check.
inline std::vector<std::string> summary(const recorded_turns& r) {
    std::vector<std::string> all;
    for (const auto& row : r.rows)
        if (const auto* s = std::get_if<opencode::settlement>(&row.event)) {
            auto line = tail(row.message) + ' ' + std::string(to_string(s->outcome)) + ' ' +
                        std::string(to_string(s->rule));
            if (!s->merged_into.empty())
                line += " into " + tail(s->merged_into);
            all.push_back(line);
        }
    for (const auto& c : r.checks)
        all.push_back("? " + tail(c.message.value_or("null")));
    return all;
}

} // namespace holdfast::test
