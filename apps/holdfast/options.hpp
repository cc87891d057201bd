// Options that several commands have, and how their values are written on the command line.
#pragma once

#include <holdfast/opencode/client.hpp>
#include <holdfast/time.hpp>

#include <CLI/App.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::app {

/// "250ms", "1s", "2m", "1h"; a bare number is seconds, a fraction is allowed, 0 means off. Nullopt for
/// anything else, also for what is less than a millisecond but not 0, or more than 10,000 hours.
[[nodiscard]] std::optional<duration> parse_duration(std::string_view text);

/// As parse_duration() reads it, in the largest unit that needs no fraction.
[[nodiscard]] std::string format_duration(duration d);

/// The same for a person, and only about: "250 ms", "1 s", "1.5 s", "2 min".
[[nodiscard]] std::string about(duration d);

/// What a person's clock shows when a wait that begins at `now` is over: "14:05"; with the date where it is
/// longer than a day.
[[nodiscard]] std::string clock_after(duration wait, wall_time now);

/// The wait itself, and when it is over where that is no matter of seconds: "in 2 s", "in 24 h (at 14:05)".
[[nodiscard]] std::string until(duration wait, wall_time now);

/// "6" or "unlimited" (retry::unlimited).
[[nodiscard]] std::optional<unsigned> parse_attempts(std::string_view text);

/// Adds an option that holds a duration. `target` has the default and must outlive the parsing.
CLI::Option* add_duration(CLI::App& app, const std::string& name, duration& target, const std::string& help);

/// The same of a duration that is not set by default.
CLI::Option* add_duration(CLI::App& app, const std::string& name, std::optional<duration>& target,
                          const std::string& help);

/// Adds an option that holds a number of attempts. `target` as above.
CLI::Option* add_attempts(CLI::App& app, const std::string& name, unsigned& target, const std::string& help);

template <class Enum>
using choices = std::vector<std::pair<std::string, Enum>>;

/// Adds an option that holds one of several words. `target` as above; it is one of the choices.
template <class Enum>
CLI::Option* add_choice(CLI::App& app, const std::string& name, Enum& target, const choices<Enum>& among,
                        const std::string& help) {
    std::string words, chosen;
    for (const auto& [word, value] : among) {
        words += (words.empty() ? "" : "|") + word;
        if (value == target)
            chosen = word;
    }
    const auto value_of = [among](const std::string& given) -> std::optional<Enum> {
        for (const auto& [word, value] : among)
            if (word == given)
                return value;
        return std::nullopt;
    };
    const auto complaint = [value_of, words](const std::string& given) {
        return value_of(given) ? std::string() : given + " is none of " + words;
    };
    return app
        .add_option_function<std::string>(
            name, [&target, value_of](const std::string& given) { target = *value_of(given); }, help)
        ->check(CLI::Validator(complaint, ""))
        ->type_name(words)
        ->default_str(chosen);
}

/// --protocol: which one the server is spoken to in. `target` as above.
CLI::Option* add_protocol(CLI::App& app, opencode::protocol& target);

/// Adds an option that holds a whole number from 1 up. `target` as above; 0 stands for "not given".
CLI::Option* add_count(CLI::App& app, const std::string& name, std::size_t& target, const std::string& help);

/// "404", "404,500-599": statuses from 100 to 599. Nullopt for anything else.
[[nodiscard]] std::optional<std::vector<int>> parse_statuses(std::string_view text);

/// Adds an option that holds statuses. `target` as above.
CLI::Option* add_statuses(CLI::App& app, const std::string& name, std::vector<int>& target,
                          const std::string& help);

} // namespace holdfast::app
