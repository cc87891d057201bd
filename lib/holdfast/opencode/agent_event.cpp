#include <holdfast/opencode/agent_event.hpp>

#include <algorithm>
#include <chrono>
#include <limits>

namespace holdfast::opencode {
namespace {

/// The numbers are the server's: they may be anything.
void add_to(std::uint64_t& sum, std::uint64_t more) noexcept {
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    sum = sum > most - more ? most : sum + more;
}

} // namespace

duration wait_of(const retry_event& e, wall_time now) noexcept {
    constexpr auto most = std::chrono::duration_cast<milliseconds>(duration::max()).count();
    const auto now_ms = std::chrono::duration_cast<milliseconds>(now.time_since_epoch()).count();
    if (e.next_ms <= now_ms)
        return duration::zero();
    const bool fits = now_ms >= 0 || e.next_ms <= most + now_ms;
    return milliseconds(fits ? std::min(e.next_ms - now_ms, most) : most);
}

void turn_usage::add(const usage_event& message) noexcept {
    add_to(steps, 1);
    add_to(tokens.input, message.tokens.input);
    add_to(tokens.output, message.tokens.output);
    add_to(tokens.reasoning, message.tokens.reasoning);
    add_to(tokens.cache_read, message.tokens.cache_read);
    add_to(tokens.cache_write, message.tokens.cache_write);
    if (message.cost > 0)
        cost += message.cost;
}

std::string_view to_string(outcome o) noexcept {
    switch (o) {
    case outcome::completed: return "completed";
    case outcome::failed: return "failed";
    case outcome::aborted: return "aborted";
    case outcome::rejected: return "rejected";
    case outcome::lost: return "lost";
    case outcome::detached: return "detached";
    }
    return "unknown";
}

std::string_view to_string(rule r) noexcept {
    switch (r) {
    case rule::message_finished: return "message_finished";
    case rule::message_error: return "message_error";
    case rule::message_interrupted: return "message_interrupted";
    case rule::compaction_failed: return "compaction_failed";
    case rule::tool_rejected: return "tool_rejected";
    case rule::superseded: return "superseded";
    case rule::merged: return "merged";
    case rule::abort_requested: return "abort_requested";
    case rule::session_aborted: return "session_aborted";
    case rule::session_error: return "session_error";
    case rule::not_accepted: return "not_accepted";
    case rule::never_answered: return "never_answered";
    case rule::unfinished: return "unfinished";
    case rule::session_deleted: return "session_deleted";
    case rule::gave_up: return "gave_up";
    case rule::server_gone: return "server_gone";
    case rule::not_posted: return "not_posted";
    case rule::detached: return "detached";
    }
    return "unknown";
}

std::string_view to_string(reprompt r) noexcept {
    switch (r) {
    case reprompt::yes: return "yes";
    case reprompt::no: return "no";
    case reprompt::unknown: return "unknown";
    }
    return "unknown";
}

std::string_view to_string(turn_limit l) noexcept {
    switch (l) {
    case turn_limit::none: return "none";
    case turn_limit::deadline: return "deadline";
    case turn_limit::no_progress: return "no_progress";
    case turn_limit::tokens: return "tokens";
    case turn_limit::cost: return "cost";
    case turn_limit::max_steps: return "max_steps";
    case turn_limit::retry_wait: return "retry_wait";
    }
    return "unknown";
}

} // namespace holdfast::opencode
