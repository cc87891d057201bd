#include <holdfast/opencode/agent_event.hpp>

namespace holdfast::opencode {

std::string_view to_string(outcome o) noexcept {
    switch (o) {
    case outcome::completed:
        return "completed";
    case outcome::failed:
        return "failed";
    case outcome::aborted:
        return "aborted";
    case outcome::rejected:
        return "rejected";
    case outcome::lost:
        return "lost";
    case outcome::detached:
        return "detached";
    }
    return "unknown";
}

std::string_view to_string(rule r) noexcept {
    switch (r) {
    case rule::message_finished:
        return "message_finished";
    case rule::message_error:
        return "message_error";
    case rule::message_interrupted:
        return "message_interrupted";
    case rule::compaction_failed:
        return "compaction_failed";
    case rule::tool_rejected:
        return "tool_rejected";
    case rule::superseded:
        return "superseded";
    case rule::merged:
        return "merged";
    case rule::abort_requested:
        return "abort_requested";
    case rule::session_aborted:
        return "session_aborted";
    case rule::session_error:
        return "session_error";
    case rule::not_accepted:
        return "not_accepted";
    case rule::never_answered:
        return "never_answered";
    case rule::unfinished:
        return "unfinished";
    case rule::session_deleted:
        return "session_deleted";
    case rule::gave_up:
        return "gave_up";
    case rule::server_gone:
        return "server_gone";
    case rule::not_posted:
        return "not_posted";
    case rule::detached:
        return "detached";
    }
    return "unknown";
}

std::string_view to_string(reprompt r) noexcept {
    switch (r) {
    case reprompt::yes:
        return "yes";
    case reprompt::no:
        return "no";
    case reprompt::unknown:
        return "unknown";
    }
    return "unknown";
}

std::string_view to_string(turn_limit l) noexcept {
    switch (l) {
    case turn_limit::none:
        return "none";
    case turn_limit::deadline:
        return "deadline";
    case turn_limit::no_progress:
        return "no_progress";
    case turn_limit::tokens:
        return "tokens";
    case turn_limit::cost:
        return "cost";
    }
    return "unknown";
}

} // namespace holdfast::opencode
