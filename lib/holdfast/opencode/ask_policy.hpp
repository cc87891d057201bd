// Which permissions are given or refused without asking. Pure.
#pragma once

#include <holdfast/opencode/types.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::opencode {

/// What is answered for the owner; `ask`: nothing, it is put to them.
enum class ask_answer { once, always, reject, ask };
/// "once", "always", "reject": what the server takes; and "ask".
[[nodiscard]] std::string_view to_string(ask_answer a) noexcept;
[[nodiscard]] std::optional<ask_answer> parse_ask_answer(std::string_view text) noexcept;

/// One rule. As in OpenCode's own permission lists `*` stands for any characters, line ends and `/` too, `?`
/// for one, and a pattern that ends in " *" stands also for what has nothing there: "ls *" for "ls".
struct ask_rule {
    ask_rule() = default; // no aggregate, see header
    ask_rule(std::string what, std::string of, std::optional<unsigned> at, ask_answer a)
        : permission(std::move(what)), pattern(std::move(of)), depth(at), answer(a) {}

    std::string permission = "*";  ///< "bash", "edit", ...
    std::string pattern = "*";     ///< of what is asked for: "git status*", "src/**"
    std::optional<unsigned> depth; ///< 0: of the session itself, 1: of its children, ...; nothing: of all
    ask_answer answer = ask_answer::ask;

    friend bool operator==(const ask_rule&, const ask_rule&) = default;
};

/// The last rule that matches decides, as in OpenCode's lists; none: ask. A request for several patterns gets
/// the most careful answer that one of them gets: reject, then ask, once, always. One without patterns is
/// matched as "".
[[nodiscard]] ask_answer answer_by(const std::vector<ask_rule>& rules, const permission_request& request,
                                   unsigned depth);

} // namespace holdfast::opencode
