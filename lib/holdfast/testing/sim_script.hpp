// Which turn the simulated model plays: chosen by the first tag that the prompt's text holds.
// Not for users.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

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
    };
    script::kind what = kind::plain;
    std::uint64_t number = 0; ///< the argument as a number, or the tag's default
    std::string argument;     ///< the argument as text
};

[[nodiscard]] script choose_script(std::string_view prompt);

} // namespace holdfast::testing::detail
