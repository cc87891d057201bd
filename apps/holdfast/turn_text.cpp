#include "turn_text.hpp"

#include "options.hpp"
#include "rows.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace holdfast::app {
namespace {

/// With as many digits as it takes to be more than nothing.
std::string in_dollars(double cost) {
    std::array<char, 400> text{};
    int digits = 2;
    while (digits < 8 && cost * std::pow(10, digits) < 10)
        ++digits;
    std::snprintf(text.data(), text.size(), "$%.*f", digits, cost);
    return text.data();
}

} // namespace

std::string joined(const std::vector<std::string>& all, std::string_view between) {
    std::string text;
    for (const auto& each : all)
        text.append(text.empty() ? std::string_view() : between).append(each);
    return text;
}

std::string what_for(const opencode::permission_request& ask) {
    return ask.patterns.empty() ? ask.permission : ask.permission + " (" + joined(ask.patterns) + ')';
}

std::string words_for(const opencode::turn_usage& used) {
    const auto& tokens = used.tokens;
    std::string words = std::to_string(used.steps) + (used.steps == 1 ? " step" : " steps");
    words += ": " + std::to_string(tokens.input) + " tokens in, " + std::to_string(tokens.output) + " out";
    const std::pair<std::uint64_t, std::string_view> others[] = {{tokens.reasoning, " for reasoning"},
                                                                 {tokens.cache_read, " from the cache"},
                                                                 {tokens.cache_write, " to the cache"}};
    for (const auto& [count, what] : others)
        if (count > 0)
            words.append(", ").append(std::to_string(count)).append(what);
    return used.cost > 0 ? words + "; " + in_dollars(used.cost) : words;
}

void turn_text::show(const opencode::agent_event& e) {
    retry_shown_ = retry_shown_ && std::holds_alternative<opencode::quiet_event>(e);
    std::visit([this](const auto& one) { show(one); }, e);
}

void turn_text::heading(std::string_view untrusted) {
    line(style::bold, untrusted);
}

void turn_text::note(std::string_view untrusted) {
    line(style::dim, "~ " + std::string(untrusted));
}

void turn_text::stored(std::string_view session, std::string_view message) {
    line(style::green, "= stored as " + std::string(message) + " in " + std::string(session));
}

void turn_text::trouble(std::string_view untrusted, duration retry_in) {
    note(std::string(untrusted) + "; next try in " + about(retry_in));
}

void turn_text::ask(std::string_view untrusted) {
    end_line();
    part_.clear();
    question_ = untrusted;
    put_question();
}

void turn_text::put_question() {
    out_.text(out_.paint(style::yellow, "? " + printable_line(question_)) +
              (out_.is_terminal() ? " " : "\n"));
    asking_ = out_.is_terminal();
}

void turn_text::answered() noexcept {
    question_.clear();
    asking_ = false;
}

void turn_text::interrupted_at_keyboard() {
    if (!out_.is_terminal())
        return;
    line_open_ = true;
    end_line();
}

void turn_text::withdraw() {
    end_line();
    question_.clear();
}

void turn_text::show(const opencode::text_event& e) {
    stream(e.part, e.delta, false);
}

void turn_text::show(const opencode::reasoning_event& e) {
    stream(e.part, e.delta, true);
}

void turn_text::stream(const std::string& part, std::string_view delta, bool dim) {
    if (part != part_)
        end_line();
    part_ = part;
    const auto text = printable(delta);
    out_.text(dim ? out_.paint(style::dim, text) : text);
    line_open_ = !text.empty() && text.back() != '\n';
}

void turn_text::show(const opencode::tool_event& e) {
    const std::string what = e.title.empty() ? e.name : e.name + ": " + e.title;
    if (e.state == "completed")
        line(style::cyan, "+ " + what);
    else if (e.state == "error")
        line(style::red, "x " + what);
    else if (e.state == "running")
        line(style::dim, "> " + what);
}

void turn_text::show(const opencode::permission_event& e) {
    if (e.reply)
        line(style::dim, "? " + what_for(e.request) + ": " + *e.reply + (e.by_rule ? " (by rule)" : ""));
}

void turn_text::show(const opencode::question_event& e) {
    if (e.reply)
        for (const auto& each : e.request.questions)
            line(style::dim, "? " + each.text + ' ' + *e.reply);
}

void turn_text::show(const opencode::retry_event& e) {
    const auto when = now_ ? until(wait_of(e, now_()), now_()) : std::string();
    note("the model's provider failed (" + e.message + "); the server tries again" +
         (when.empty() ? "" : ' ' + when) + ", attempt " + std::to_string(e.attempt));
    retry_shown_ = !when.empty();
}

void turn_text::show(const opencode::quiet_event& e) {
    if (retry_shown_ && e.status == "retry")
        return;
    note("quiet for " + about(e.lasted) + "; the server says " + e.status);
}

void turn_text::show(const opencode::interrupted_event& e) {
    trouble(e.failure.message, e.retry_in);
}

void turn_text::show(const opencode::gap_event& e) {
    if (e.missing)
        line(style::yellow, "~ some of the text was lost on the way, and cannot be had any more");
    else
        note("connected again after " + about(e.lasted) + ", nothing is missing so far");
}

void turn_text::show(const opencode::settlement& e) {
    withdraw();
    if (e.outcome == opencode::outcome::completed)
        return line(style::green,
                    e.merged_into.empty() ? "= completed" : "= completed, answered with a later prompt");
    const bool bad = e.outcome == opencode::outcome::failed || e.outcome == opencode::outcome::lost;
    line(bad ? style::red : style::yellow,
         "= " + std::string(to_string(e.outcome)) +
             "; safe to prompt again: " + std::string(to_string(e.safe_to_reprompt)));
}

void turn_text::end_line() {
    if (line_open_ || asking_)
        out_.text("\n");
    line_open_ = asking_ = false;
}

void turn_text::line(style s, std::string_view untrusted) {
    end_line();
    part_.clear();
    out_.text(out_.paint(s, printable_line(untrusted)) + '\n');
    if (!question_.empty() && out_.is_terminal())
        put_question();
}

} // namespace holdfast::app
