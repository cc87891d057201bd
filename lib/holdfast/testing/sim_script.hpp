// Which turn the simulated model plays: chosen by the first tag that the prompt's text holds.
// Not for users.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::testing::detail {

struct script {
    enum class kind {
        plain,
        slow,
        reason,
        read,
        ask,
        sleep,
        question,
        write,
        todo,
        task,
        big,
        silent,
        early,
        length,
        no_finish,
        error,
        e500,
        e500once,
        throttle,
        cutonce,
        errchunk,
        garbage,
        overflow,
        overflow_ok,
        // Of 2.x only; 1.x plays them as plain.
        two_asks,
        background,
        empty,
        filter,
        unknown_tool,
    };
    script::kind what = kind::plain;
    std::uint64_t number = 0; ///< the argument as a number, or the tag's default
    std::string argument;     ///< the argument as text
};

[[nodiscard]] script choose_script(std::string_view prompt);

/// "a b c" to "a ", "b ", "c".
[[nodiscard]] std::vector<std::string> words(std::string_view text);
/// "w0 w1 w2 ".
[[nodiscard]] std::string numbered_words(std::uint64_t count);

} // namespace holdfast::testing::detail
