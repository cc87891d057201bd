#include <holdfast/opencode/ledger/judge.hpp>

#include <holdfast/opencode/wire.hpp>

#include <algorithm>
#include <iterator>

namespace holdfast::opencode::ledger {

namespace {

using kind = judgement::kind;
using proof = turn_rule::proof;

judgement ends(outcome o, rule r, std::optional<api_error> error = {}) {
    return {kind::ends, o, r, std::move(error), {}};
}
judgement ends_by(const turn_case& c, rule r) {
    const auto* e = c.ledger.own_error(c.turn);
    return ends(outcome::failed, r, e ? std::optional(e->error) : std::nullopt);
}
judgement open(const turn_case&) {
    return {};
}

// --- what a finished message stands for

bool failed_by_an_error_before(const turn_case& c) {
    const auto* e = c.ledger.own_error(c.turn);
    return e && e->sure && c.ledger.came_before_abort(*e, c.turn);
}

const message_rule of_messages[] = {
    {"aborted", "4: abort while running",
     [](const turn_case&, const message_record& m) {
         return m.info.error && m.info.error->name == aborted_error;
     },
     [](const turn_case&, const message_record&) {
         return ends(outcome::aborted, rule::message_error);
     }},
    {"compaction failed", "4: context overflow (40)",
     [](const turn_case&, const message_record& m) { return m.info.error && m.is_summary(); },
     [](const turn_case&, const message_record& m) {
         return ends(outcome::failed, rule::compaction_failed, m.info.error);
     }},
    {"failed", "4: model error",
     [](const turn_case&, const message_record& m) { return m.info.error.has_value(); },
     [](const turn_case&, const message_record& m) {
         return ends(outcome::failed, rule::message_error, m.info.error);
     }},
    {"failed by the session's error", "4: unknown model/provider",
     [](const turn_case& c, const message_record& m) {
         return m.info.finish.empty() && failed_by_an_error_before(c);
     },
     [](const turn_case& c, const message_record&) {
         return ends_by(c, rule::session_error);
     }},
    {"interrupted", "4: abort in retry wait; completed with neither finish nor error",
     [](const turn_case&, const message_record& m) { return m.info.finish.empty(); },
     [](const turn_case&, const message_record&) {
         return ends(outcome::aborted, rule::message_interrupted);
     }},
    {"finish error", "4: `finish` seen",
     [](const turn_case&, const message_record& m) { return m.info.finish == wire::finish_error; },
     [](const turn_case& c, const message_record&) {
         return ends_by(c, rule::message_error);
     }},
    {"rejected", "4: permission rejected / question rejected",
     [](const turn_case& c, const message_record& m) {
         return m.info.finish == wire::finish_tool_calls && c.ledger.was_rejected(c.turn, m);
     },
     [](const turn_case&, const message_record&) {
         return ends(outcome::rejected, rule::tool_rejected);
     }},
    {"finished", "4: normal", [](const turn_case&, const message_record&) { return true; },
     [](const turn_case&, const message_record&) {
         return ends(outcome::completed, rule::message_finished);
     }},
};

/// A summary that succeeded says nothing of the turn; what came before it does.
judgement by_message(const turn_case& c, const message_record* m) {
    if (m->is_summary() && !m->info.error && c.own)
        m = c.own;
    const auto* const r = std::find_if(std::begin(of_messages), std::end(of_messages),
                                       [&](const message_rule& each) { return each.applies(c, *m); });
    auto said = r->says(c, *m); // the last one always applies
    said.by = r->name;
    return said;
}

// --- when a turn is over

bool is_overtaken(const turn_case& c) {
    return !c.turn.overtaken_by.empty();
}

/// A turn that is overtaken, and has a finished answer, is closed by it, unless a compaction carried it on.
bool has_own_end(const turn_case& c) {
    if (!is_overtaken(c) || !c.own || !c.own->info.finished())
        return false;
    if (c.own->says_how_it_ended())
        return true;
    const auto* later = c.ledger.said().last_answer(c.turn.overtaken_by);
    return !later || !c.ledger.said().compacted_between(*c.own, *later);
}

judgement superseded(const turn_case& c) {
    auto said = by_message(c, c.own);
    said.why = rule::superseded;
    return said;
}

/// The session was idle after the error, and only then was a later prompt's answer begun.
bool was_over_by_error(const turn_case& c) {
    const auto* e = c.last ? nullptr : c.ledger.own_error(c.turn);
    const auto* later = c.ledger.overtaking(c.turn);
    return e && e->idle != 0 && !e->was_survived() && c.ledger.came_before_abort(*e, c.turn) && later &&
           later->known > e->idle;
}

/// It was aborted before it had an answer, while what is answered now was asked for after that.
bool was_given_up(const turn_case& c) {
    const auto* later = c.ledger.find_turn(c.turn.overtaken_by);
    // One that was taken up again may have been answered together with somebody's long before.
    const bool is_past = c.turn.adopted != 0 && later && !c.listeners.has(later->id);
    return later && !is_past && later->doubted == 0 && c.ledger.abort_accepted(c.turn) &&
           !c.ledger.abort_asked(*later) && !c.own;
}

/// After a tool, and after a compaction of the server's own, the model is asked again: a session that is idle
/// then was stopped, or the rest was missed; unless it was a later prompt that it went on with.
bool was_stopped_in_between(const turn_case& c) {
    if (!c.last || c.last->info.error || c.ledger.is_recorded())
        return false;
    const auto* prompt = c.ledger.said().find(c.turn.id);
    if (prompt && c.ledger.said().has_later_prompt(*prompt))
        return false;
    if (c.last->is_summary())
        return c.ledger.said().own_compaction_of(*c.last) != nullptr;
    if (c.last->info.finish.empty())
        return c.ledger.has_overflowed(c.turn);
    return c.last->info.finish == wire::finish_tool_calls && !c.ledger.was_rejected(c.turn, *c.last);
}

bool has_ended(const turn_case& c) {
    return c.last && c.last->info.finished() && !was_stopped_in_between(c);
}

bool any_answer_is_open(const turn_case& c) {
    return std::any_of(c.ledger.turns().begin(), c.ledger.turns().end(), [&](const turn_facts& t) {
        const auto* last = c.ledger.said().last_answer(t.id);
        return last && !last->info.finished();
    });
}

/// Answered together with that one, perhaps by way of others.
bool ends_with(const session_ledger& ledger, const turn_facts& t, const std::string& later) {
    const auto* next = &t;
    for (std::size_t steps = 0; next && steps < ledger.turns().size(); ++steps) {
        if (next->overtaken_by == later)
            return true;
        next = ledger.find_turn(next->overtaken_by);
    }
    return false;
}

/// Somebody waits for its end: its owner, or that of a turn which ends with it.
bool is_waited_for(const turn_case& c) {
    return c.listeners.has(c.turn.id) ||
           std::any_of(c.ledger.turns().begin(), c.ledger.turns().end(), [&](const turn_facts& other) {
               return c.listeners.has(other.id) && ends_with(c.ledger, other, c.turn.id);
           });
}

bool is_without_end(const turn_case& c) {
    return c.turn.posted != 0 && is_waited_for(c) && !is_overtaken(c) && !has_ended(c);
}

/// It told its owner its end already, or is to end with one that did, and waits for a snapshot.
bool waits_for_proof(const turn_case& c) {
    for (const auto* end : {&c.turn, c.ledger.find_turn(c.turn.overtaken_by)})
        if (end && !c.listeners.has(end->id) && end->doubted != 0)
            return !c.seen.answers(end->doubted);
    return false;
}

/// They are told in their order: one that is answered before it waits for a snapshot.
bool comes_after_one_in_doubt(const turn_case& c) {
    return std::any_of(c.ledger.turns().begin(), c.ledger.turns().end(), [&](const turn_facts& other) {
        return other.doubted != 0 && c.listeners.has(other.id) && ends_with(c.ledger, other, c.turn.id) &&
               !c.seen.answers(other.doubted);
    });
}

bool awaits_repair_of(const session_ledger& ledger, const audience& listeners) {
    return ledger.stream().attached &&
           std::any_of(ledger.turns().begin(), ledger.turns().end(),
                       [&](const turn_facts& t) { return listeners.has(t.id) && !ledger.is_unbroken(t); });
}

bool is_pending_in(const session_ledger& ledger, const audience& listeners, const turn_facts& t) {
    return !listeners.has(t.id) && ledger.is_to_be_told(t) && !ledger.has_work(t);
}

/// An unbroken stream showed the session idle for its grace, or a snapshot does after that.
bool is_context(const turn_case& c) {
    return c.grace_over != 0 && is_pending_in(c.ledger, c.listeners, c.turn) && c.ledger.is_idle() &&
           (c.ledger.stream().attached || c.seen.answers(c.grace_over));
}

bool is_not_heard_whole(const turn_case& c) {
    return !c.seen.snapshot_begun && (!c.ledger.stream().attached || !c.ledger.is_whole(c.turn) ||
                                      awaits_repair_of(c.ledger, c.listeners));
}

/// Its grace was over before the snapshot was begun, and that shows no work.
bool is_silent(const turn_case& c) {
    return c.grace_over != 0 && c.seen.answers(c.grace_over) && is_without_end(c);
}

/// An accepted prompt that the server does not know, or that it let fall when the loop in which it waited
/// came to its end, without an error or an abort to explain it.
bool is_to_be_posted_again(const turn_case& c) {
    const auto& l = c.ledger;
    const auto& t = c.turn;
    const bool let_fall = !c.last && (l.was_disposed(t) || (l.was_heard_throughout(t) && l.was_at_work(t)));
    return (let_fall || !l.server_knows(t)) && t.reposted == 0 && !l.first_error(t) && !l.abort_asked(t) &&
           !l.was_perhaps_aborted(t);
}

/// An answer that fails tells its error: one that did not may have been about a prompt that the server did
/// not take.
bool is_trusted(const turn_case& c, const error_fact* e) {
    return e && (e->sure || !c.last);
}

const turn_rule of_turns[] = {
    // When to say nothing.
    {"its post is not answered", "5: prompt_async 204", [](const turn_case& c) { return c.turn.posted == 0; },
     open},
    {"stored, and nobody is to answer it", "4: noReply prompt", is_context,
     [](const turn_case&) {
         return judgement{kind::aside, {}, {}, {}, {}};
     }},
    {"no turn yet", "4: noReply prompt",
     [](const turn_case& c) { return is_pending_in(c.ledger, c.listeners, c.turn); }, open},
    {"something of it may have been missed", "3: gap events are gone", is_not_heard_whole, open},
    {"it waits for a proof of what it told", "4: several prompts", waits_for_proof, open},
    {"an earlier one waits for a proof", "4: several prompts", comes_after_one_in_doubt, open},
    // Another turn's answer was begun after its own.
    {"superseded after its tools", "4: several prompts: a tool of the first runs",
     [](const turn_case& c) { return has_own_end(c) && c.own->info.finish == wire::finish_tool_calls; },
     superseded, proof::snapshot},
    {"superseded", "4: several prompts: the first streams", has_own_end, superseded},
    {"failed before a later prompt", "4: unknown model/provider",
     [](const turn_case& c) { return is_overtaken(c) && was_over_by_error(c); },
     [](const turn_case& c) {
         return ends_by(c, rule::session_error);
     }},
    {"aborted before a later prompt", "4: abort before the loop started", was_given_up,
     [](const turn_case&) { return ends(outcome::aborted, rule::abort_requested); }, proof::snapshot},
    {"it ends with a later one", "4: prompt while busy", is_overtaken, open},
    // Its own last answer decides, once the session is idle.
    {"the session is at work", "4: correlate by message",
     [](const turn_case& c) { return !c.ledger.is_idle(); }, open},
    {"interrupted", "4: abort in retry wait",
     [](const turn_case& c) {
         return has_ended(c) && by_message(c, c.last).why == rule::message_interrupted;
     },
     [](const turn_case& c) { return by_message(c, c.last); }, proof::second},
    {"its last answer ended", "4: correlate by message", has_ended,
     [](const turn_case& c) {
         return by_message(c, c.last);
     }},
    {"aborted before its answer", "4: aborted with two open",
     [](const turn_case& c) { return !c.last && c.ledger.was_aborted(c.turn) && !any_answer_is_open(c); },
     [](const turn_case&) { return ends(outcome::aborted, rule::session_aborted); }, proof::snapshot},
    // Silence, after its grace, and a snapshot begun after that.
    {"its grace is not over", "4: prompt_async 204 -> busy", [](const turn_case& c) { return !is_silent(c); },
     open},
    {"unknown to the server, or let fall", "8: #21524", is_to_be_posted_again,
     [](const turn_case&) {
         return judgement{kind::repost, {}, {}, {}, {}};
     }},
    {"not accepted", "4: unknown agent",
     [](const turn_case& c) { return !c.ledger.server_knows(c.turn) && c.ledger.first_error(c.turn); },
     [](const turn_case& c) {
         return ends(outcome::failed, rule::not_accepted, c.ledger.first_error(c.turn)->error);
     }},
    {"failed, then perhaps aborted", "4: unknown model/provider",
     [](const turn_case& c) {
         const auto* e = c.ledger.own_error(c.turn);
         return is_trusted(c, e) && c.ledger.came_before_abort(*e, c.turn);
     },
     [](const turn_case& c) {
         return ends_by(c, rule::session_error);
     }},
    {"aborted by us", "4: abort before the loop started",
     [](const turn_case& c) { return c.ledger.abort_asked(c.turn); },
     [](const turn_case&) {
         return ends(outcome::aborted, rule::abort_requested);
     }},
    {"aborted by somebody", "4: abort before the loop started; aborted with two open",
     [](const turn_case& c) { return c.ledger.was_perhaps_aborted(c.turn); },
     [](const turn_case&) {
         return ends(outcome::aborted, rule::session_aborted);
     }},
    {"failed", "4: unknown model/provider",
     [](const turn_case& c) { return is_trusted(c, c.ledger.own_error(c.turn)); },
     [](const turn_case& c) {
         return ends_by(c, rule::session_error);
     }},
    {"its answer has no end", "4: server killed", [](const turn_case& c) { return c.last != nullptr; },
     [](const turn_case&) {
         return ends(outcome::lost, rule::unfinished);
     }},
    {"never answered", "4: abort before the loop started; 8: #21524", [](const turn_case&) { return true; },
     [](const turn_case&) {
         return ends(outcome::lost, rule::never_answered);
     }},
};

/// Whether what was inferred is proved.
bool is_proved(const turn_rule& r, const turn_case& c) {
    const auto doubted = c.turn.doubted;
    if (r.needs == proof::second && c.seen.snapshot_begun)
        return doubted != 0 && c.seen.answers(doubted);
    if (r.needs != proof::snapshot || c.ledger.is_recorded())
        return true;
    return c.seen.snapshot_begun && (doubted == 0 || c.seen.answers(doubted));
}

} // namespace

std::span<const turn_rule> turn_rules() {
    return of_turns;
}

std::span<const message_rule> message_rules() {
    return of_messages;
}

turn_case judge::look_at(const turn_facts& t, const occasion& seen, position grace_over) const {
    return {ledger_,
            audience_,
            t,
            seen,
            grace_over,
            ledger_.said().last_answer(t.id),
            ledger_.said().last_own_answer(t.id)};
}

judgement judge::decide(const turn_facts& t, const occasion& seen, position grace_over) const {
    const auto c = look_at(t, seen, grace_over);
    const auto* const r = std::find_if(std::begin(of_turns), std::end(of_turns),
                                       [&](const turn_rule& each) { return each.applies(c); });
    auto said = r->says(c); // the last one always applies
    said.by = r->name;
    if (said.what == kind::ends && !is_proved(*r, c))
        said.what = kind::verify;
    return said;
}

judgement judge::by_own_answer(const turn_facts& t) const {
    const auto c = look_at(t, {}, 0);
    return by_message(c, c.own);
}

bool judge::is_unanswered(const turn_facts& t) const {
    return is_pending(t) || is_without_end(look_at(t, {}, 0));
}

bool judge::is_pending(const turn_facts& t) const {
    return is_pending_in(ledger_, audience_, t);
}

bool judge::awaits_repair() const {
    return awaits_repair_of(ledger_, audience_);
}

reprompt judge::safety(const turn_facts& t, outcome o, rule r, bool moved) const {
    if (o == outcome::completed || o == outcome::rejected || o == outcome::detached)
        return reprompt::no;
    if (r == rule::session_deleted || ledger_.ran_a_tool(t))
        return reprompt::no; // a deleted session's loop goes on
    return o == outcome::lost || t.posted_twice || moved ? reprompt::unknown : reprompt::yes;
}

} // namespace holdfast::opencode::ledger
