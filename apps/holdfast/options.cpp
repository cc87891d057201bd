#include "options.hpp"

#include <holdfast/retry/policy.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <ctime>
#include <limits>

namespace holdfast::app {

namespace {

constexpr double longest_ms = 10'000.0 * 3'600'000;

std::optional<double> ms_of_unit(std::string_view unit) {
    if (unit == "ms")
        return 1;
    if (unit == "s" || unit.empty())
        return 1'000;
    if (unit == "m")
        return 60'000;
    if (unit == "h")
        return 3'600'000;
    return std::nullopt;
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

std::optional<std::size_t> parse_whole(std::string_view text, std::size_t most) {
    std::size_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [after, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || after != end || number > most)
        return std::nullopt;
    return number;
}

std::optional<std::size_t> parse_count(std::string_view text) {
    const auto number = parse_whole(text, std::numeric_limits<std::size_t>::max());
    return number && *number > 0 ? number : std::nullopt;
}

// An option whose text is read by `parse` (to an optional); `wanted` says in words what it takes.
template <class Target, class Parse>
CLI::Option* add_parsed(CLI::App& app, const std::string& name, Target& target, Parse parse,
                        const std::string& wanted, const std::string& help) {
    const auto complaint = [parse, wanted](const std::string& text) {
        return parse(text) ? std::string() : text + " is not " + wanted;
    };
    return app
        .add_option_function<std::string>(
            name, [&target, parse](const std::string& text) { target = *parse(text); }, help)
        ->check(CLI::Validator(complaint, ""));
}

} // namespace

std::optional<duration> parse_duration(std::string_view text) {
    if (text.empty() || !is_digit(text.front()))
        return std::nullopt;
    double number = 0;
    const char* const end = text.data() + text.size();
    const auto [after, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
    const auto unit_ms = ms_of_unit({after, static_cast<std::size_t>(end - after)});
    if (error != std::errc() || !unit_ms)
        return std::nullopt;
    const double ms = std::round(number * *unit_ms);
    if (ms > longest_ms || (ms < 1 && number > 0))
        return std::nullopt;
    return milliseconds(static_cast<long long>(ms));
}

std::string format_duration(duration d) {
    const long long ms = to_ms(d);
    if (ms == 0)
        return "0";
    if (ms % 3'600'000 == 0)
        return std::to_string(ms / 3'600'000) + "h";
    if (ms % 60'000 == 0)
        return std::to_string(ms / 60'000) + "m";
    if (ms % 1'000 == 0)
        return std::to_string(ms / 1'000) + "s";
    return std::to_string(ms) + "ms";
}

std::string about(duration d) {
    const long long ms = to_ms(d);
    if (ms < 1'000)
        return std::to_string(ms) + " ms";
    if (ms >= 120'000)
        return std::to_string(ms / 60'000) + " min";
    const auto tenths = std::to_string(ms / 100 % 10);
    return std::to_string(ms / 1'000) + (tenths == "0" ? "" : '.' + tenths) + " s";
}

namespace {

/// To the nearest unit that a person still wants to know.
std::string rounded(duration d) {
    const auto ms = to_ms(d);
    const auto s = (ms + 500) / 1'000;
    if (s < 120)
        return ms < 1'000 ? about(d) : std::to_string(s) + " s";
    const auto min = (s + 30) / 60;
    if (min < 120)
        return std::to_string(min) + " min";
    const auto hours = std::to_string(min / 60) + " h";
    return min % 60 == 0 || min >= 48 * 60 ? hours : hours + ' ' + std::to_string(min % 60) + " min";
}

} // namespace

std::string clock_after(duration wait, wall_time now) {
    constexpr auto longest = std::chrono::hours(24 * 365 * 10); // then the clock may not go that far
    const auto end = std::chrono::system_clock::to_time_t(
        now + std::chrono::floor<seconds>(std::min<duration>(wait, longest)));
    std::tm local{};
    if (wait > longest || ::localtime_r(&end, &local) == nullptr)
        return "some later year";
    const bool another_day = wait > std::chrono::hours(24) + minutes(1);
    std::array<char, 64> text{};
    const auto size =
        std::strftime(text.data(), text.size(), another_day ? "%Y-%m-%d %H:%M" : "%H:%M", &local);
    return std::string(text.data(), size);
}

std::string until(duration wait, wall_time now) {
    const auto in = "in " + rounded(wait);
    return wait < minutes(1) ? in : in + " (at " + clock_after(wait, now) + ')';
}

std::optional<unsigned> parse_attempts(std::string_view text) {
    if (text == "unlimited")
        return retry::unlimited;
    const auto number = parse_whole(text, retry::unlimited - 1);
    return number ? std::optional(static_cast<unsigned>(*number)) : std::nullopt;
}

namespace {

constexpr auto wanted_duration = "a duration (250ms, 1s, 2m, 1h; a bare number is seconds, 0 is off)";

} // namespace

CLI::Option* add_duration(CLI::App& app, const std::string& name, duration& target, const std::string& help) {
    return add_parsed(app, name, target, parse_duration, wanted_duration, help)
        ->type_name("DURATION")
        ->default_str(format_duration(target));
}

CLI::Option* add_duration(CLI::App& app, const std::string& name, std::optional<duration>& target,
                          const std::string& help) {
    return add_parsed(app, name, target, parse_duration, wanted_duration, help)->type_name("DURATION");
}

CLI::Option* add_attempts(CLI::App& app, const std::string& name, unsigned& target, const std::string& help) {
    return add_parsed(app, name, target, parse_attempts, "a whole number or \"unlimited\"", help)
        ->type_name("N|unlimited")
        ->default_str(target == retry::unlimited ? "unlimited" : std::to_string(target));
}

CLI::Option* add_protocol(CLI::App& app, opencode::protocol& target) {
    return add_choice<opencode::protocol>(app, "--protocol", target,
                                          {{"auto", opencode::protocol::automatic},
                                           {"1", opencode::protocol::v1},
                                           {"2", opencode::protocol::v2}},
                                          "Which OpenCode the server is, 1.x or 2.x; auto asks it");
}

CLI::Option* add_count(CLI::App& app, const std::string& name, std::size_t& target, const std::string& help) {
    return add_parsed(app, name, target, parse_count, "a whole number from 1 up", help)->type_name("N");
}

std::optional<std::vector<int>> parse_statuses(std::string_view text) {
    constexpr std::size_t first = 100, last = 599;
    std::vector<int> all;
    for (bool more = true; more;) {
        const auto comma = text.find(',');
        const auto part = text.substr(0, comma);
        const auto dash = part.find('-');
        const auto from = parse_whole(part.substr(0, dash), last);
        const auto to = dash == std::string_view::npos ? from : parse_whole(part.substr(dash + 1), last);
        if (!from || !to || *from < first || *to < *from)
            return std::nullopt;
        for (auto status = *from; status <= *to; ++status)
            all.push_back(static_cast<int>(status));
        more = comma != std::string_view::npos;
        text.remove_prefix(more ? comma + 1 : text.size());
    }
    return all;
}

CLI::Option* add_statuses(CLI::App& app, const std::string& name, std::vector<int>& target,
                          const std::string& help) {
    return add_parsed(app, name, target, parse_statuses, "a list of statuses (404,500-599)", help)
        ->type_name("LIST");
}

} // namespace holdfast::app
