// What the owner of a turn has received of the text of a step: each character once, by message, kind and
// ordinal. Pure. Not for users.
#pragma once

#include <holdfast/opencode/protocol/v2/session_ledger.hpp>

#include <string>
#include <string_view>

namespace holdfast::opencode::v2 {

/// What is to be told now.
struct told {
    std::string delta;
    bool lost = false; ///< what was told before is not what the server has: told once a part
};

/// The part begins, or begins again: the deltas that follow are compared with what was told of it.
void begin_part(part_facts& p, position at);
/// A delta of a part whose beginning was not heard since the stream broke cannot be placed: the part's end
/// will tell. So will it where a character was cut in two.
[[nodiscard]] told take_delta(part_facts& p, std::string_view delta);
/// The part's whole text, by its end or by a snapshot.
[[nodiscard]] told take_whole(part_facts& p, const std::string& text, position at);

/// The ended text parts of a step, joined.
[[nodiscard]] std::string text_of(const step_facts& s);
/// Something was told of a part that no longer can be told whole.
[[nodiscard]] bool has_lost_text(const step_facts& s);

} // namespace holdfast::opencode::v2
