#include <holdfast/opencode/protocol/v2/told_text.hpp>

#include <algorithm>

namespace holdfast::opencode::v2 {

namespace {

constexpr std::string_view replacement = "\xef\xbf\xbd"; // U+FFFD, where half a character stood

bool is_cut(std::string_view delta) {
    return delta.starts_with(replacement) || delta.ends_with(replacement);
}

} // namespace

void begin_part(part_facts& p, position at) {
    if (p.ended != 0)
        return;
    p.followed = at;
    p.agreed = 0;
}

told take_delta(part_facts& p, std::string_view delta) {
    if (p.ended != 0 || p.followed == 0)
        return {};
    const auto repeated = std::min(p.said.size() - p.agreed, delta.size());
    const bool agrees = p.said.compare(p.agreed, repeated, delta, 0, repeated) == 0;
    if (!agrees || is_cut(delta)) {
        p.followed = 0;
        return {};
    }
    p.agreed += delta.size();
    const std::string rest(delta.substr(repeated));
    p.said += rest;
    return {rest, false};
}

told take_whole(part_facts& p, const std::string& text, position at) {
    if (p.ended != 0)
        return {};
    p.ended = at;
    p.text = text;
    if (!text.starts_with(p.said))
        return {{}, true};
    told t{text.substr(p.said.size()), false};
    p.said = text;
    return t;
}

std::string text_of(const step_facts& s) {
    std::string all;
    for (const auto& [key, p] : s.parts)
        if (key.first == part_kind::text && p.ended != 0)
            all += p.text;
    return all;
}

bool has_lost_text(const step_facts& s) {
    return std::any_of(s.parts.begin(), s.parts.end(), [](const auto& each) {
        const part_facts& p = each.second;
        return p.ended == 0 && p.followed == 0 && !p.said.empty();
    });
}

} // namespace holdfast::opencode::v2
