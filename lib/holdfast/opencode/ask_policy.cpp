#include <holdfast/opencode/ask_policy.hpp>

#include <algorithm>

namespace holdfast::opencode {
namespace {

/// Behind the UTF-8 character at `i`. What is ill-formed is a character, too: a byte with the continuation
/// bytes that follow it.
std::size_t after_character(std::string_view text, std::size_t i) noexcept {
    const auto continues = [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
    };
    do
        ++i;
    while (i < text.size() && continues(text[i]));
    return i;
}

/// Only the last `*` is ever widened: where what follows it can match at all, it can from the first place on
/// that the part before it leaves. So the time is at most the product of the lengths, whatever the pattern.
bool matches_whole(std::string_view pattern, std::string_view text) noexcept {
    constexpr auto none = std::string_view::npos;
    std::size_t p = 0, t = 0;
    std::size_t star = none, taken_up_to = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            taken_up_to = t;
        } else if (p < pattern.size() && pattern[p] == '?') {
            ++p;
            t = after_character(text, t);
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p;
            ++t;
        } else if (star != none) {
            p = star + 1;
            t = ++taken_up_to;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', p) == none;
}

bool matches(std::string_view pattern, std::string_view text) noexcept {
    constexpr std::string_view arguments = " *";
    if (matches_whole(pattern, text))
        return true;
    return pattern.ends_with(arguments) &&
           matches_whole(pattern.substr(0, pattern.size() - arguments.size()), text);
}

ask_answer answer_for(const std::vector<ask_rule>& rules, std::string_view permission,
                      std::string_view pattern, unsigned depth) noexcept {
    const auto applies = [&](const ask_rule& each) {
        return (!each.depth || *each.depth == depth) && matches(each.permission, permission) &&
               matches(each.pattern, pattern);
    };
    const auto last = std::find_if(rules.rbegin(), rules.rend(), applies);
    return last == rules.rend() ? ask_answer::ask : last->answer;
}

ask_answer more_careful(ask_answer a, ask_answer b) noexcept {
    for (const auto careful : {ask_answer::reject, ask_answer::ask, ask_answer::once})
        if (a == careful || b == careful)
            return careful;
    return ask_answer::always;
}

} // namespace

std::string_view to_string(ask_answer a) noexcept {
    switch (a) {
    case ask_answer::once: return "once";
    case ask_answer::always: return "always";
    case ask_answer::reject: return "reject";
    case ask_answer::ask: return "ask";
    }
    return "unknown";
}

std::optional<ask_answer> parse_ask_answer(std::string_view text) noexcept {
    for (const auto each : {ask_answer::once, ask_answer::always, ask_answer::reject, ask_answer::ask})
        if (text == to_string(each))
            return each;
    return std::nullopt;
}

ask_answer answer_by(const std::vector<ask_rule>& rules, const permission_request& request, unsigned depth) {
    if (request.patterns.empty())
        return answer_for(rules, request.permission, "", depth);
    auto answer = ask_answer::always;
    for (const auto& each : request.patterns)
        answer = more_careful(answer, answer_for(rules, request.permission, each, depth));
    return answer;
}

} // namespace holdfast::opencode
