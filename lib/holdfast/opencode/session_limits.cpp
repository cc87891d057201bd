// session_core, as far as it ends turns that pass their limits.
#include <holdfast/opencode/session_core.hpp>

#include <holdfast/runtime/with_deadline.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::opencode::detail {

void session_core::limit(const std::string& message, const turn_limits& limits) {
    const auto mine = open_.find(message);
    if (mine == open_.end())
        return;
    mine->second.used.limit(limits);
    mine->second.patience = limits.abort_patience;
    changed_.notify_all();
}

time_point session_core::next_limit() const {
    auto first = time_point::max();
    for (const auto& [message, turn] : open_)
        first = std::min(first, turn.passed == turn_limit::none ? turn.used.due()
                                                                : std::min(turn.ask_again, turn.give_up));
    return first;
}

void session_core::note_limit(const std::string& message, open_turn& turn) {
    const auto now = world().now();
    if (turn.passed != turn_limit::none || turn.used.passed(now) == turn_limit::none)
        return;
    turn.passed = turn.used.passed(now);
    turn.ask_again = now;
    turn.give_up = later(now, turn.patience);
    world().count(metric::turn_limits_passed);
    auto record = make_record(log_level::warn);
    record.event = "turn.limit_passed";
    record.error_message = std::string(to_string(turn.passed)) + " of " + message;
    record.action = "abort";
    world().log(record);
    changed_.notify_all();
}

// An abort ends all that runs in the session. If it does not succeed in time, the turn settles as lost and
// may still run.
net::awaitable<void> session_core::end_what_passed_a_limit() {
    const auto self = shared_from_this();
    const auto now = world().now();
    auto by = time_point::max();
    std::vector<std::string> given_up;
    for (auto& [message, turn] : open_) {
        note_limit(message, turn);
        if (turn.give_up <= now)
            given_up.push_back(message);
        else if (turn.ask_again <= now)
            by = std::min(by, turn.give_up);
    }
    for (const auto& message : given_up) {
        settlement_error error;
        error.cls = retry::to_string(retry::failure_class::timeout);
        error.message = "it passed a limit, and the server did not abort it in time";
        close_turn(message, outcome::lost, rule::gave_up, std::move(error), reprompt::unknown);
    }
    if (by == time_point::max())
        co_return;
    const auto done = co_await with_deadline<result<void>>(world(), by, abort());
    const auto again = done && *done ? time_point::max() : later(world().now(), snapshot_pause);
    for (auto& [message, turn] : open_)
        if (turn.passed != turn_limit::none)
            turn.ask_again = again;
}

} // namespace holdfast::opencode::detail
