#include <holdfast/opencode/turn_limits.hpp>

#include <algorithm>
#include <limits>
#include <variant>

namespace holdfast::opencode {
namespace {

/// What the turn itself did; the rest tells of the stream, of our own asking, or of the end.
bool is_progress(const agent_event& event) noexcept {
    return !std::holds_alternative<quiet_event>(event) && !std::holds_alternative<interrupted_event>(event) &&
           !std::holds_alternative<gap_event>(event) && !std::holds_alternative<settlement>(event);
}

/// The numbers are the server's: they may be anything.
std::uint64_t sum(std::uint64_t a, std::uint64_t b) noexcept {
    return a > std::numeric_limits<std::uint64_t>::max() - b ? std::numeric_limits<std::uint64_t>::max()
                                                             : a + b;
}

std::uint64_t total(const token_usage& tokens) noexcept {
    std::uint64_t all = 0;
    for (const auto each :
         {tokens.input, tokens.output, tokens.reasoning, tokens.cache_write, tokens.cache_read})
        all = sum(all, each);
    return all;
}

/// When a limit of time passes.
time_point end_of(duration limit, time_point since) noexcept {
    return limit > duration::zero() ? later(since, limit) : time_point::max();
}

} // namespace

limit_watch::limit_watch(turn_limits limits, time_point posted) noexcept
    : limits_(limits), posted_(posted), progress_(posted) {}

void limit_watch::posted(time_point now) noexcept {
    posted_ = progress_ = now;
}

void limit_watch::heard(const agent_event& event, time_point now) noexcept {
    const bool open = passed(now) == turn_limit::none;
    if (open && is_progress(event))
        progress_ = now;
    if (const auto* usage = std::get_if<usage_event>(&event)) {
        used_.add(*usage);
        if (open)
            judge_use();
    }
}

void limit_watch::waits(duration wait, time_point now) noexcept {
    if (passed(now) == turn_limit::none && limits_.retry_wait > duration::zero() && wait > limits_.retry_wait)
        passed_ = turn_limit::retry_wait;
}

void limit_watch::judge_use() noexcept {
    if (limits_.tokens > 0 && total(used_.tokens) > limits_.tokens)
        passed_ = turn_limit::tokens;
    else if (limits_.cost > 0 && used_.cost > limits_.cost)
        passed_ = turn_limit::cost;
    else if (limits_.max_steps > 0 && used_.steps > limits_.max_steps)
        passed_ = turn_limit::max_steps;
}

turn_limit limit_watch::passed(time_point now) noexcept {
    if (passed_ == turn_limit::none && due() != time_point::max() && now >= due())
        passed_ = due() == end_of(limits_.deadline, posted_) ? turn_limit::deadline : turn_limit::no_progress;
    return passed_;
}

time_point limit_watch::due() const noexcept {
    if (passed_ != turn_limit::none)
        return time_point::max();
    return std::min(end_of(limits_.deadline, posted_), end_of(limits_.no_progress, progress_));
}

} // namespace holdfast::opencode
