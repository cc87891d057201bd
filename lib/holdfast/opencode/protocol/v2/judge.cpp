#include <holdfast/opencode/protocol/v2/judge.hpp>

#include <holdfast/opencode/protocol/v2/wire.hpp>

#include <algorithm>
#include <iterator>
#include <ostream>
#include <utility>

namespace holdfast::opencode::v2 {

namespace {

using kind = judgement::kind;
using how = execution_ended::how;

judgement ends(outcome o, rule r, std::optional<api_error> error = {}, reprompt safe = reprompt::no) {
    judgement j;
    j.what = kind::ends;
    j.outcome = o;
    j.why = r;
    j.error = std::move(error);
    j.safe = safe;
    return j;
}

judgement only(kind what) {
    judgement j;
    j.what = what;
    return j;
}

judgement open(const turn_case&) {
    return {};
}

judgement wait_until(time_point until) {
    auto j = only(kind::wait);
    j.until = until;
    return j;
}

judgement joined(const turn_case& c) {
    auto j = only(kind::joined);
    j.into = c.work.next->id;
    return j;
}

// --- what is asked of the facts

bool is_promoted(const turn_case& c) {
    return c.turn.promoted != 0;
}

bool has_answer(const turn_case& c) {
    return c.work.last && c.work.last->answers();
}

bool has_failed_step(const turn_case& c) {
    return c.work.last && c.work.last->error && !c.work.last->was_aborted();
}

bool has_aborted_step(const turn_case& c) {
    return c.work.last && c.work.last->was_aborted();
}

/// The server waits before it asks the model again, for this step or in another one.
bool is_in_retry_wait(const turn_case& c) {
    const auto* s = c.work.last;
    return s && s->retrying > std::max(s->began, s->closed);
}

/// An approval of the session's own was rejected, and no later step began.
bool was_rejected(const turn_case& c) {
    const auto* s = c.work.last;
    return s && (s->declined != 0 || c.ledger.rejected() > s->began);
}

/// The same as REST tells it: a form is cancelled by an interrupt too, but the tool's words tell them apart.
bool was_declined(const turn_case& c) {
    return has_aborted_step(c) && c.work.last->declined != 0;
}

bool we_interrupted(const turn_case& c) {
    return c.ledger.interrupt_accepted() > std::max(c.turn.posted, c.turn.admitted);
}

const execution_ended* terminal_of(const turn_case& c) {
    return c.work.end ? &c.work.end->end : nullptr;
}

bool is_terminal(const turn_case& c, how what) {
    const auto* e = terminal_of(c);
    return e && e->what == what;
}

bool is_terminal(const turn_case& c, std::string_view reason) {
    return is_terminal(c, how::interrupted) && terminal_of(c)->reason == reason;
}

/// All that the stream would have told since was heard.
bool is_unbroken(const turn_case& c) {
    return c.ledger.is_attached() && c.ledger.broken() < c.turn.heard;
}

/// The last snapshot was begun after all breaks of the stream.
bool has_snapshot(const turn_case& c) {
    const auto& s = c.ledger.last_snapshot();
    return s.begun != 0 && s.begun >= c.ledger.known_since();
}

bool is_active(const turn_case& c) {
    return c.ledger.last_snapshot().active || !c.ledger.idle_since();
}

/// When a snapshot's silence counts.
time_point grace_over(const turn_case& c) {
    const auto idle = later(*c.ledger.idle_since(), c.grace.terminal);
    return std::max(idle, later(c.ledger.attached_at(), c.grace.restart));
}

bool grace_is_over(const turn_case& c) {
    return c.ledger.last_snapshot().begun_at >= grace_over(c);
}

judgement by_error_of_step(const turn_case& c, outcome o, rule r) {
    return ends(o, r, c.work.last ? c.work.last->error : std::nullopt);
}

// --- the rules

// One terminal covers all that was promoted before it; a step's own finished answer comes before it.
const turn_rule rules[] = {
    {"cancelled", "9: session.inbox.cancelled", [](const turn_case& c) { return c.turn.cancelled != 0; },
     [](const turn_case&) {
         return ends(outcome::aborted, rule::abort_requested, {}, reprompt::yes);
     }},

    // The inbox.
    {"parked, and it cannot be cancelled", "5: interrupt with a waiting prompt (36, 37)",
     [](const turn_case& c) {
         return !is_promoted(c) && !c.can_cancel_queued && we_interrupted(c) &&
                c.ledger.stopped() > c.turn.admitted;
     },
     [](const turn_case&) {
         return ends(outcome::aborted, rule::abort_requested, {}, reprompt::no);
     }},
    {"taken back", "5: DELETE .../inbox/ID, and neither the inbox nor the messages have it",
     [](const turn_case& c) {
         return !is_promoted(c) && c.turn.missing > c.turn.admitted && we_interrupted(c);
     },
     [](const turn_case&) {
         return ends(outcome::aborted, rule::abort_requested, {}, reprompt::yes);
     }},
    {"not there", "6: neither in the inbox nor among the messages",
     [](const turn_case& c) {
         return !is_promoted(c) && c.turn.missing > std::max(c.turn.posted, c.turn.admitted) &&
                has_snapshot(c);
     },
     [](const turn_case& c) {
         const auto until = later(c.ledger.attached_at(), c.grace.terminal);
         return c.ledger.last_snapshot().begun_at >= until
                    ? ends(outcome::lost, rule::not_accepted, {}, reprompt::yes)
                    : wait_until(until);
     }},
    {"parked", "5: interrupt right after the prompt (22), unknown agent (68)",
     [](const turn_case& c) {
         return !is_promoted(c) && c.turn.admitted != 0 && c.ledger.stopped() > c.turn.admitted;
     },
     [](const turn_case&) {
         return only(kind::parked);
     }},
    {"waits", "6: before promotion", [](const turn_case& c) { return !is_promoted(c); }, open},

    // A later prompt of the same execution.
    {"answered before the next prompt", "5: prompt while busy, steer (30), queue (31)",
     [](const turn_case& c) { return c.work.next && has_answer(c); },
     [](const turn_case&) {
         return ends(outcome::completed, rule::superseded);
     }},
    {"answered before nobody's input", "5: background subagent (75)",
     [](const turn_case& c) { return c.work.left; },
     [](const turn_case&) {
         return ends(outcome::completed, rule::message_finished);
     }},
    {"failed before the next prompt", "6: a failed step ends its execution; nothing told the terminal",
     [](const turn_case& c) { return c.work.next && has_failed_step(c) && !is_in_retry_wait(c); },
     [](const turn_case& c) {
         return by_error_of_step(c, outcome::failed, rule::message_error);
     }},
    {"rejected before the next prompt", "6: outcome; 8: 8",
     [](const turn_case& c) { return c.work.next && was_declined(c); },
     [](const turn_case&) {
         return ends(outcome::rejected, rule::tool_rejected);
     }},
    {"aborted before the next prompt", "7: SIGTERM, default mode (99)",
     [](const turn_case& c) { return c.work.next && has_aborted_step(c); },
     [](const turn_case& c) {
         return by_error_of_step(c, outcome::aborted, rule::session_aborted);
     }},
    {"lost before the next prompt", "7: SIGKILL (97): completed with neither finish nor error",
     [](const turn_case& c) {
         const auto* s = c.work.last;
         const bool is_stale = s && s->closed != 0 && s->finish.empty() && !s->error;
         return c.work.next && (is_stale || c.work.cut_off);
     },
     [](const turn_case& c) {
         if (we_interrupted(c))
             return ends(outcome::aborted, rule::abort_requested);
         return ends(outcome::lost, c.work.last ? rule::unfinished : rule::never_answered, {},
                     reprompt::unknown);
     }},
    {"answered together", "5: two at once, steer (32); steer while a tool runs (34)",
     [](const turn_case& c) { return c.work.next != nullptr; }, joined},

    // The terminal.
    {"answered", "5: normal (01), finish length (59); 6: finish = completed",
     [](const turn_case& c) { return terminal_of(c) && has_answer(c); },
     [](const turn_case&) {
         return ends(outcome::completed, rule::message_finished);
     }},
    {"succeeded", "5: execution.succeeded", [](const turn_case& c) { return is_terminal(c, how::succeeded); },
     [](const turn_case&) {
         return ends(outcome::completed, rule::message_finished);
     }},
    {"compaction failed", "5: overflow, compaction fails (63)",
     [](const turn_case& c) {
         return is_terminal(c, how::failed) && c.ledger.compaction_failed() > c.turn.promoted;
     },
     [](const turn_case& c) {
         return ends(outcome::failed, rule::compaction_failed, terminal_of(c)->error);
     }},
    {"failed by its step", "5: model 400, 401 (50, 51), content filter (60)",
     [](const turn_case& c) { return is_terminal(c, how::failed) && has_failed_step(c); },
     [](const turn_case& c) {
         return ends(outcome::failed, rule::message_error, terminal_of(c)->error);
     }},
    {"failed without a step", "5: unknown model, provider (66, 67)",
     [](const turn_case& c) { return is_terminal(c, how::failed); },
     [](const turn_case& c) {
         return ends(outcome::failed, rule::session_error, terminal_of(c)->error);
     }},
    {"rejected", "5: reject (07), form cancelled (11)",
     [](const turn_case& c) { return is_terminal(c, wire::reason_shutdown) && was_rejected(c); },
     [](const turn_case&) {
         return ends(outcome::rejected, rule::tool_rejected);
     }},
    {"superseded, inactive", "9: reason",
     [](const turn_case& c) { return is_terminal(c, "superseded") || is_terminal(c, "inactivity"); },
     [](const turn_case&) {
         return ends(outcome::aborted, rule::session_aborted);
     }},
    {"interrupted while it streamed", "5: interrupt while streaming (20), before the first byte (21)",
     [](const turn_case& c) {
         return is_terminal(c, how::interrupted) && !is_terminal(c, wire::reason_shutdown) &&
                has_aborted_step(c);
     },
     [](const turn_case&) {
         return ends(outcome::aborted, rule::message_error);
     }},
    {"interrupted in the retry wait", "5: in the retry wait (54, 55): no step.failed",
     [](const turn_case& c) {
         return is_terminal(c, how::interrupted) && !is_terminal(c, wire::reason_shutdown) && c.work.last;
     },
     [](const turn_case&) {
         return ends(outcome::aborted, rule::message_interrupted);
     }},
    {"interrupted before a step", "5: interrupt",
     [](const turn_case& c) {
         return is_terminal(c, how::interrupted) && !is_terminal(c, wire::reason_shutdown);
     },
     [](const turn_case& c) {
         return ends(outcome::aborted, we_interrupted(c) ? rule::abort_requested : rule::session_aborted);
     }},

    // By REST: no terminal was heard.
    {"the stream tells", "6: settled, by events",
     [](const turn_case& c) { return is_unbroken(c) && !has_snapshot(c) && !terminal_of(c); }, open},
    {"not looked at yet", "6: settled, by REST", [](const turn_case& c) { return !has_snapshot(c); },
     [](const turn_case& c) {
         return c.ledger.is_attached() ? wait_until(c.ledger.attached_at()) : judgement();
     }},
    {"at work", "6: in /api/session/active", is_active, open},
    {"answered, by REST", "6: outcome: finish",
     [](const turn_case& c) { return has_answer(c) && !is_unbroken(c); },
     [](const turn_case&) {
         return ends(outcome::completed, rule::message_finished);
     }},
    {"failed, by REST", "6: outcome: other error",
     [](const turn_case& c) { return has_failed_step(c) && !is_unbroken(c); },
     [](const turn_case& c) {
         return by_error_of_step(c, outcome::failed, rule::message_error);
     }},
    {"may be taken up, or its terminal come", "7: resumed by itself (97-service); 8: 5",
     [](const turn_case& c) { return !grace_is_over(c); },
     [](const turn_case& c) {
         return wait_until(grace_over(c));
     }},
    {"answered, and its terminal did not come", "6: outcome: finish", has_answer,
     [](const turn_case&) {
         return ends(outcome::completed, rule::message_finished);
     }},
    {"rejected, by REST", "6: outcome; 8: 8", was_declined,
     [](const turn_case&) {
         return ends(outcome::rejected, rule::tool_rejected);
     }},
    {"interrupted by us, by REST", "6: outcome; 8: 7: open for ever", we_interrupted,
     [](const turn_case& c) {
         return ends(outcome::aborted, has_aborted_step(c) ? rule::message_error : rule::abort_requested);
     }},
    {"stopped with its server", "7: SIGTERM, default mode (99)", has_aborted_step,
     [](const turn_case& c) {
         return by_error_of_step(c, outcome::aborted, rule::session_aborted);
     }},
    {"lost without an answer", "7: what a client sees when the server lost the turn",
     [](const turn_case& c) { return c.work.last == nullptr; },
     [](const turn_case&) {
         return ends(outcome::lost, rule::never_answered, {}, reprompt::unknown);
     }},
    {"lost", "7: SIGKILL (97, 98)", [](const turn_case&) { return true; },
     [](const turn_case&) {
         return ends(outcome::lost, rule::unfinished, {}, reprompt::unknown);
     }},
};

} // namespace

std::span<const turn_rule> turn_rules() {
    return rules;
}

judgement judge::decide(const input_facts& turn, time_point now) const {
    turn_case c{ledger_, turn, {}, grace_, now, can_cancel_queued_};
    if (turn.promoted != 0)
        c.work = ledger_.work_of(turn);
    const auto* const r = std::find_if(std::begin(rules), std::end(rules),
                                       [&](const turn_rule& each) { return each.applies(c); });
    auto said = r->says(c); // the last one always applies
    said.by = r->name;
    return said;
}

std::ostream& operator<<(std::ostream& out, const judgement& j) {
    static constexpr std::string_view words[] = {"open", "parked", "ends", "joined", "wait"};
    out << words[static_cast<std::size_t>(j.what)];
    if (j.what == kind::ends)
        out << ' ' << to_string(j.outcome) << ' ' << to_string(j.why);
    if (j.what == kind::joined)
        out << " into " << j.into;
    if (j.what == kind::wait)
        out << " until " << to_ms(j.until.time_since_epoch());
    return out << " (" << j.by << ')';
}

} // namespace holdfast::opencode::v2
