#include "watch/table.hpp"

#include "turn_text.hpp"
#include "watch/text_width.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>
#include <utility>

namespace holdfast::app {
namespace {

constexpr std::size_t gap = 2; // between two columns
constexpr std::size_t state_width = 8;
constexpr std::size_t age_width = 6;
constexpr std::size_t least_doing = 16;
constexpr duration long_ago = seconds(15); // of what is looked at every few seconds

std::string ordinal(unsigned n) {
    const auto tens = n / 10 % 10;
    const auto ones = n % 10;
    const char* const end = tens == 1 ? "th" : ones == 1 ? "st" : ones == 2 ? "nd" : ones == 3 ? "rd" : "th";
    return std::to_string(n) + end;
}

// "HTTP 401" says more than "http_status".
std::string class_words(const board_trouble& why) {
    if (why.status != 0)
        return "HTTP " + std::to_string(why.status);
    std::string words(retry::to_string(why.cls));
    std::replace(words.begin(), words.end(), '_', ' ');
    return words;
}

using painter = std::function<std::string(style, std::string)>;

std::optional<style> style_of(run_state s) {
    switch (s) {
    case run_state::working: return style::cyan;
    case run_state::waiting:
    case run_state::retrying:
    case run_state::aborted:
    case run_state::rejected: return style::yellow;
    case run_state::completed: return style::green;
    case run_state::failed:
    case run_state::lost: return style::red;
    case run_state::idle:
    case run_state::unknown:
    case run_state::detached:
    case run_state::deleted:
    case run_state::archived: break;
    }
    return style::dim;
}

/// The columns, and their widths; a width of 0: there is no place for it.
struct columns {
    std::size_t name = 0;
    std::size_t server = 0;
    std::size_t state = state_width;
    std::size_t doing = 0;
    std::size_t connection = 0;
    std::size_t age = age_width;

    [[nodiscard]] std::size_t all() const {
        std::size_t sum = 0;
        for (const auto each : {name, server, state, doing, connection, age})
            sum += each == 0 ? 0 : each + gap;
        return sum - gap;
    }
};

columns columns_for(const std::vector<board_row>& rows, const std::vector<std::string>& connections,
                    std::size_t servers, std::size_t width) {
    columns widths;
    std::size_t longest_name = 3, longest_server = 6, longest_connection = 10;
    for (const auto& row : rows) {
        longest_name = std::max(longest_name, width_of(one_line(row.name)));
        longest_server = std::max(longest_server, width_of(one_line(row.server)));
    }
    for (const auto& each : connections)
        longest_connection = std::max(longest_connection, each.size());
    widths.name = std::min(longest_name, std::max<std::size_t>(12, width / 4));
    widths.server = servers > 1 ? std::min<std::size_t>(longest_server, 18) : 0;
    // In steps, so that a countdown that loses a digit moves nothing.
    widths.connection = std::min<std::size_t>((longest_connection + 3) / 4 * 4, 32);
    widths.doing = least_doing;
    for (auto* const least_wanted : {&widths.age, &widths.server, &widths.connection, &widths.doing})
        if (widths.all() > width)
            *least_wanted = 0;
    if (widths.doing != 0)
        widths.doing += width - widths.all();
    else if (widths.all() > width)
        widths.name = width > state_width + gap ? width - state_width - gap : 0;
    widths.state = std::min(widths.state, width);
    return widths;
}

std::string head_line(const columns& widths, const painter& paint) {
    std::string line;
    const auto cell = [&](std::string_view title, std::size_t width, bool right = false) {
        if (width != 0)
            line += (line.empty() ? "" : std::string(gap, ' ')) +
                    (right ? fitted_right(title, width) : fitted(title, width));
    };
    cell("RUN", widths.name);
    cell("SERVER", widths.server);
    cell("STATE", widths.state);
    cell("NOW", widths.doing);
    cell("CONNECTION", widths.connection);
    cell("AGE", widths.age, true);
    return paint(style::dim, line);
}

std::string row_line(const board_row& row, const std::string& connection, const columns& widths,
                     time_point now, const painter& paint) {
    std::string line;
    const auto cell = [&](std::string text, std::size_t width, std::optional<style> how = {}) {
        if (width == 0)
            return;
        if (!line.empty())
            line.append(gap, ' ');
        line += how ? paint(*how, std::move(text)) : text;
    };
    auto doing = one_line(row.doing);
    if (row.asks > 1)
        doing = "(" + std::to_string(row.asks) + ") " + doing;
    const auto state =
        row.is_server ? std::string_view(row.trouble ? "down" : "server") : to_string(row.state);
    const auto trouble = row.trouble ? std::optional(style::red) : std::nullopt;
    cell(fitted(one_line(row.name), widths.name), widths.name, row.is_server ? trouble : std::nullopt);
    cell(fitted(one_line(row.server), widths.server), widths.server, style::dim);
    cell(fitted(state, widths.state), widths.state,
         row.is_server && row.trouble ? trouble : style_of(row.state));
    cell(row.ends ? fitted_end(doing, widths.doing) : fitted(doing, widths.doing), widths.doing,
         row.state == run_state::waiting ? std::optional(style::yellow) : std::nullopt);
    cell(fitted(connection, widths.connection), widths.connection, row.trouble ? trouble : style::dim);
    cell(fitted_right(row.since ? age(now - *row.since) : "", widths.age), widths.age, style::dim);
    return line;
}

std::string counted(std::size_t n, const std::string& one, const std::string& many) {
    return std::to_string(n) + ' ' + (n == 1 ? one : many);
}

std::string title_line(const board_totals& totals, time_point begun, time_point now, std::size_t width,
                       const painter& paint) {
    std::vector<std::string> runs;
    if (totals.working > 0)
        runs.push_back(std::to_string(totals.working) + " working");
    if (totals.waiting > 0)
        runs.push_back(std::to_string(totals.waiting) + " waiting");
    if (totals.in_trouble > 0)
        runs.push_back(std::to_string(totals.in_trouble) + " in trouble");
    std::string text = counted(totals.servers, "server", "servers");
    if (totals.servers_in_trouble > 0)
        text += " (" + std::to_string(totals.servers_in_trouble) + " down)";
    text += ", " + counted(totals.runs, "run", "runs");
    if (totals.left_out > 0)
        text += " and " + std::to_string(totals.left_out) + " more not watched";
    if (!runs.empty())
        text += " (" + joined(runs) + ')';
    text += ", " + counted(totals.turns, "turn", "turns") + " settled, up " + age(now - begun);
    const std::string name = "holdfast watch";
    if (width <= name.size() + gap)
        return paint(style::bold, fitted(name, width));
    return paint(style::bold, name) + std::string(gap, ' ') + fitted(text, width - name.size() - gap);
}

// Which rows are shown: in their order those that matter most.
std::vector<std::size_t> chosen(const std::vector<board_row>& rows, std::size_t places) {
    std::vector<std::size_t> all(rows.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    if (rows.size() <= places)
        return all;
    std::stable_sort(all.begin(), all.end(),
                     [&](std::size_t a, std::size_t b) { return rank_of(rows[a]) < rank_of(rows[b]); });
    all.resize(places);
    std::sort(all.begin(), all.end());
    return all;
}

std::string more_line(const std::vector<board_row>& rows, const std::vector<std::size_t>& shown,
                      std::size_t width) {
    const std::set<std::size_t> seen(shown.begin(), shown.end());
    std::vector<std::pair<std::string, std::size_t>> states;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (seen.contains(i))
            continue;
        const std::string word(rows[i].is_server ? "server" : to_string(rows[i].state));
        const auto known =
            std::find_if(states.begin(), states.end(), [&](const auto& each) { return each.first == word; });
        if (known == states.end())
            states.emplace_back(word, 1);
        else
            ++known->second;
    }
    std::vector<std::string> parts;
    for (const auto& [word, count] : states)
        parts.push_back(std::to_string(count) + ' ' + word);
    return fitted("and " + std::to_string(rows.size() - shown.size()) + " more: " + joined(parts), width);
}

std::size_t log_places(std::size_t height) {
    return height < 6 ? 0 : height < 16 ? 1 : 3;
}

} // namespace

std::string age(duration d) {
    const auto s = std::max<long long>(0, to_ms(d) / 1000);
    if (s < 120)
        return std::to_string(s) + " s";
    if (s < 120 * 60)
        return std::to_string(s / 60) + " min";
    if (s < 48 * 3600)
        return std::to_string(s / 3600) + " h";
    return std::to_string(s / 86400) + " d";
}

std::string connection_words(const board_row& row, time_point now) {
    if (row.trouble && row.trouble->status == 401)
        return "authentication failed"; // whenever it is tried again
    if (row.trouble) {
        const auto& why = *row.trouble;
        const auto reason =
            " (" + class_words(why) + (why.failures > 0 ? ", " + ordinal(why.failures) : "") + ')';
        if (!why.next_try || *why.next_try <= now)
            return "trying again" + reason;
        return "retry in " + age(*why.next_try - now + milliseconds(999)) + reason;
    }
    if (row.is_server)
        return row.since ? "up" : "connecting";
    if (row.streamed)
        return "stream";
    if (row.state == run_state::deleted)
        return "";
    if (row.captured)
        return row.seen && now - *row.seen >= long_ago ? "capture, " + age(now - *row.seen) + " ago"
                                                       : "capture";
    return "connecting";
}

std::vector<std::string> table_lines(const std::vector<board_row>& rows, const board_totals& totals,
                                     const std::vector<std::string>& log, time_point begun, time_point now,
                                     const table_look& look) {
    const painter paint = [&look](style s, std::string text) {
        const bool empty = text.find_first_not_of(' ') == std::string::npos;
        return look.paint && !empty ? look.paint(s, text) : text;
    };
    const auto foot = std::min(log.size(), log_places(look.height));
    std::vector<std::string> lines{title_line(totals, begun, now, look.width, paint)};
    const auto used =
        2 + (foot == 0 ? 0 : foot + 1); // with the columns' names, and an empty line before the foot
    auto places = look.height > used ? look.height - used : 0;
    if (rows.size() > places && places > 0)
        --places;
    const auto shown = chosen(rows, places);

    std::vector<board_row> picked;
    std::vector<std::string> connections;
    for (const auto i : shown) {
        picked.push_back(rows[i]);
        connections.push_back(connection_words(rows[i], now));
    }
    const auto widths = columns_for(picked, connections, totals.servers, look.width);
    if (look.height > 1)
        lines.push_back(head_line(widths, paint));
    for (std::size_t i = 0; i < picked.size(); ++i)
        lines.push_back(row_line(picked[i], connections[i], widths, now, paint));
    if (shown.size() < rows.size() && look.height > 2)
        lines.push_back(paint(style::dim, more_line(rows, shown, look.width)));
    if (foot == 0)
        return lines;
    while (look.filled && lines.size() + foot < look.height)
        lines.emplace_back();
    if (!look.filled)
        lines.emplace_back();
    for (auto i = log.size() - foot; i < log.size(); ++i)
        lines.push_back(paint(style::dim, fitted(one_line(log[i]), look.width)));
    return lines;
}

} // namespace holdfast::app
