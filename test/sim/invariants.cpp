#include "invariants.hpp"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>
#include <variant>

namespace holdfast::sim {
namespace {

using opencode::outcome;
using opencode::reprompt;
using opencode::rule;
using opencode::settlement;
using testing::opencode_sim;
using part_kind = opencode_sim::said_part::kind;

std::string in_ms(duration d) {
    return std::to_string(to_ms(d)) + " ms";
}

std::string name_of(const turn_record& t) {
    return t.plan.text + " (" + t.message + ", session " + std::to_string(t.session) + ")";
}

const settlement* end_of(const turn_record& t) {
    for (const auto& each : t.told)
        if (const auto* s = std::get_if<settlement>(&each.event))
            return s;
    return nullptr;
}

duration end_moment(const turn_record& t) {
    for (const auto& each : t.told)
        if (std::holds_alternative<settlement>(each.event))
            return each.at;
    return duration::max();
}

/// The same prompt may be taken up, and settled, more than once.
const decision* decision_on(const observations& seen, const turn_record& t) {
    const auto* end = end_of(t);
    if (!end)
        return nullptr;
    const auto how = std::string(to_string(end->outcome)) + " by " + std::string(to_string(end->rule));
    for (const auto& d : seen.decisions)
        if (d.message == t.message && d.how == how && d.at >= t.began && d.at <= end_moment(t))
            return &d;
    return nullptr;
}

/// What the server knew when the library decided; else when its owner was told; else at the end.
const truth* truth_then(const observations& seen, const turn_record& t) {
    if (const auto* made = decision_on(seen, t))
        return made->then ? &*made->then : nullptr;
    return t.when_told ? &*t.when_told : nullptr;
}

duration decided_at(const observations& seen, const turn_record& t) {
    const auto* made = decision_on(seen, t);
    return made ? made->at : end_moment(t);
}

const truth* truth_of(const observations& seen, const turn_record& t) {
    const auto found = seen.truths.find(t.message);
    return found == seen.truths.end() ? nullptr : &found->second;
}

std::string words_of(const settlement& s) {
    return std::string(to_string(s.outcome)) + " by " + std::string(to_string(s.rule)) + " at " + s.event;
}

std::string words_of(const truth* t) {
    return t ? std::string(testing::to_string(t->outcome)) : "a prompt that it does not know";
}

bool aborted_by_anybody(const observations& seen, const turn_record& t, duration by) {
    const auto& aborts = seen.sessions.at(t.session).aborts;
    return std::any_of(aborts.begin(), aborts.end(),
                       [&](duration at) { return (t.adopted || at >= t.began) && at <= by; });
}

bool disposed(const observations& seen, const turn_record& t) {
    return !seen.servers.at(seen.sessions.at(t.session).server).disposals.empty();
}

bool was_stopped(const observations& seen, const turn_record& t) {
    return seen.servers.at(seen.sessions.at(t.session).server).stopped.has_value();
}

bool in_trouble(const observations& seen, const turn_record& t, duration from, duration to, bool calls) {
    const auto server = seen.sessions.at(t.session).server;
    return std::any_of(seen.windows.begin(), seen.windows.end(), [&](const trouble_window& w) {
        return w.server == server && (w.harms_calls || !calls) && w.from <= to && w.to >= from;
    });
}

bool said_gone(const observations& seen, const turn_record& t, duration from, duration to) {
    const auto server = seen.sessions.at(t.session).server;
    return std::any_of(seen.windows.begin(), seen.windows.end(), [&](const trouble_window& w) {
        return w.server == server && w.said_gone && w.from <= to && w.to >= from;
    });
}

bool was_mute(const observations& seen, const turn_record& t) {
    const auto server = seen.sessions.at(t.session).server;
    return std::any_of(seen.windows.begin(), seen.windows.end(), [&](const trouble_window& w) {
        return w.server == server && w.mute && w.from <= end_moment(t);
    });
}

/// While a session moves, what is said of it may be said where nobody listens any more, or not yet.
bool moved(const observations& seen, const turn_record& t, duration by) {
    const auto& moves = seen.sessions.at(t.session).moves;
    return std::any_of(moves.begin(), moves.end(), [&](duration at) { return at <= by; });
}

/// It ended only while the last look at the server was taken.
bool ended_during_the_last_look(const observations& seen, const turn_record& t, duration by) {
    const auto last = std::find_if(seen.give_ups.rbegin(), seen.give_ups.rend(),
                                   [&](const give_up& each) { return each.at <= by; });
    return last != seen.give_ups.rend() &&
           std::find(last->over.begin(), last->over.end(), t.message) == last->over.end();
}

bool deleted(const observations& seen, const turn_record& t, duration by) {
    const auto& at = seen.sessions.at(t.session).deleted;
    return at && *at <= by;
}

/// Another prompt of the session failed without an answer.
bool another_failed(const observations& seen, const turn_record& t) {
    return std::any_of(seen.truths.begin(), seen.truths.end(), [&](const auto& each) {
        const truth& other = each.second;
        return other.session == t.session_id && other.message != t.message &&
               other.outcome == truth_outcome::failed && other.parts.empty();
    });
}

/// The same, or one that names an agent which nobody is: that one the server does not even keep.
bool anybody_failed(const observations& seen, const turn_record& t) {
    return another_failed(seen, t) ||
           std::any_of(seen.turns.begin(), seen.turns.end(), [&](const turn_record& other) {
               return other.session == t.session && !other.plan.agent.empty();
           });
}

bool told_missing(const turn_record& t) {
    return std::any_of(t.told.begin(), t.told.end(), [](const told_event& e) {
        const auto* gap = std::get_if<opencode::gap_event>(&e.event);
        return gap && gap->missing;
    });
}

/// The deltas told of one part, in order.
std::vector<std::string_view> deltas_of(const turn_record& t, std::string_view part) {
    std::vector<std::string_view> all;
    for (const auto& each : t.told) {
        if (const auto* text = std::get_if<opencode::text_event>(&each.event); text && text->part == part)
            all.push_back(text->delta);
        if (const auto* text = std::get_if<opencode::reasoning_event>(&each.event);
            text && text->part == part)
            all.push_back(text->delta);
    }
    return all;
}

std::string joined(const std::vector<std::string_view>& pieces) {
    std::string all;
    for (const auto piece : pieces)
        all += piece;
    return all;
}

/// Each piece stands in `text`, after the one before it.
bool stand_in_order(const std::vector<std::string_view>& pieces, std::string_view text) {
    std::size_t from = 0;
    for (const auto piece : pieces) {
        const auto at = text.find(piece, from);
        if (at == std::string_view::npos)
            return false;
        from = at + piece.size();
    }
    return true;
}

/// `text` is `whole` without some of it.
bool left_out_of(std::string_view text, std::string_view whole) {
    std::size_t at = 0;
    for (const char c : whole)
        at += at < text.size() && text[at] == c ? 1 : 0;
    return at == text.size();
}

std::string shortened(std::string_view text) {
    constexpr std::size_t enough = 120;
    if (text.size() <= enough)
        return "\"" + std::string(text) + "\"";
    return "\"" + std::string(text.substr(0, enough)) + "...\" (" + std::to_string(text.size()) + " bytes)";
}

/// Its owner heard all of it: nobody stopped listening, nothing was held back on purpose.
bool heard_out(const turn_record& t) {
    const auto* end = end_of(t);
    return end && !t.abort_called && !t.let_go && end->outcome != outcome::lost &&
           end->outcome != outcome::detached;
}

template <class Each>
void for_each_settled(const observations& seen, Each each) {
    for (const auto& t : seen.turns)
        if (const auto* end = end_of(t))
            each(t, *end);
}

} // namespace

// --- after each step

/// Whatever arrives is read at once: a reader that is slow must not slow the stream that others share.
void the_shared_stream_is_always_drained(const step_view& seen, complaints& out) {
    if (seen.unread != 0)
        out.push_back({"the shared stream is always drained",
                       std::to_string(seen.unread) + " bytes lie unread at " + in_ms(seen.at)});
}

/// While the breaker is open, one attempt is the probe and the others share its failure.
void an_open_breaker_admits_one_attempt_at_a_time(const attempt_view& seen, complaints& out) {
    if (seen.open && seen.probes_under_way != 0)
        out.push_back({"an open breaker admits one attempt at a time",
                       "at " + in_ms(seen.at) + " another attempt at " + seen.where + " begins beside " +
                           std::to_string(seen.probes_under_way)});
}

/// Liveness.
void every_open_turn_settles_in_bounded_time_once_all_is_well(const waiting_turn& seen, complaints& out) {
    if (seen.for_ > settle_bound)
        out.push_back({"every open turn settles in bounded time once all is well",
                       seen.message + " is open for " + in_ms(seen.for_)});
}

void every_followed_prompt_settles_in_bounded_time_once_all_is_well(const waiting_feed& seen,
                                                                    complaints& out) {
    if (seen.for_ > follow_bound)
        out.push_back({"every followed prompt settles in bounded time once all is well",
                       "feed " + std::to_string(seen.feed) + " waits for " + seen.message + " for " +
                           in_ms(seen.for_)});
}

// --- at the end

void every_prompt_settles_exactly_once(const observations& seen, complaints& out) {
    for (const auto& t : seen.turns) {
        const auto count = std::count_if(t.told.begin(), t.told.end(), [](const told_event& e) {
            return std::holds_alternative<settlement>(e.event);
        });
        const bool wants_one = t.had && !t.let_go;
        if (count > 1 || (wants_one && count != 1))
            out.push_back({"every prompt settles exactly once",
                           name_of(t) + " has " + std::to_string(count) + " settlements"});
        if (wants_one && count == 1 && !t.ended)
            out.push_back({"every prompt settles exactly once", name_of(t) + " is settled, and not ended"});
    }
}

void the_settlement_is_the_last_thing_told(const observations& seen, complaints& out) {
    for_each_settled(seen, [&](const turn_record& t, const settlement&) {
        if (!std::holds_alternative<settlement>(t.told.back().event) || t.told_after_end)
            out.push_back({"the settlement is the last thing told", name_of(t) + " is told more after it"});
    });
}

/// An outcome that claims to know: completed, rejected, failed, aborted, detached.
void an_outcome_is_what_the_server_knows_to_be_true(const observations& seen, complaints& out) {
    for_each_settled(seen, [&](const turn_record& t, const settlement& end) {
        const auto* then = truth_then(seen, t);
        const auto is = [&](truth_outcome o) {
            return then && then->outcome == o;
        };
        const auto by = end_moment(t);
        bool right = true;
        // A prompt that never had an answer stands before the model again when a later one is answered: it
        // may be told as answered together with that, unless the stream showed how it had ended before.
        const bool with_a_later =
            end.rule == rule::merged && then && then->parts.empty() &&
            (is(truth_outcome::unanswered) || is(truth_outcome::interrupted) || is(truth_outcome::aborted) ||
             (is(truth_outcome::failed) &&
              (t.adopted || another_failed(seen, t) || in_trouble(seen, t, t.began, by, false))));
        switch (end.outcome) {
        case outcome::completed: right = is(truth_outcome::completed) || with_a_later; break;
        case outcome::rejected: right = is(truth_outcome::rejected) || with_a_later; break;
        case outcome::failed:
            if (with_a_later)
                break;
            // An error says not to which prompt it belongs: it may be to any that still waits for an answer.
            if (end.rule == rule::session_error && then && then->parts.empty() && anybody_failed(seen, t) &&
                (is(truth_outcome::unanswered) || is(truth_outcome::interrupted) ||
                 is(truth_outcome::aborted)))
                break;
            // Or it was never there: it could not be posted, or nobody is that agent.
            right = is(truth_outcome::failed) ||
                    (!then && (end.rule == rule::not_posted ||
                               (end.rule == rule::not_accepted && anybody_failed(seen, t))));
            break;
        case outcome::aborted: {
            // Between an abort and its end the prompts that wait are as good as aborted; a process that was
            // killed meanwhile has ended the turn too; and how one without an answer failed cannot be had
            // once it was missed.
            const auto* last = truth_of(seen, t);
            const bool as_good_as =
                is(truth_outcome::pending) && last && last->outcome == truth_outcome::aborted;
            const bool missed = then && then->outcome != truth_outcome::pending && then->parts.empty() &&
                                (t.adopted || moved(seen, t, by) || in_trouble(seen, t, t.began, by, false));
            right = is(truth_outcome::aborted) || with_a_later ||
                    ((as_good_as || missed || is(truth_outcome::unanswered) ||
                      is(truth_outcome::interrupted) || !then) &&
                     (aborted_by_anybody(seen, t, by) || disposed(seen, t)));
            break;
        }
        case outcome::detached: right = t.let_go || was_stopped(seen, t); break;
        case outcome::lost: break;
        }
        if (!right)
            out.push_back({"an outcome is what the server knows to be true",
                           name_of(t) + " is settled as " + words_of(end) +
                               ", and the server knows: " + words_of(then)});
    });
}

/// The process was killed or the session deleted in mid-turn; nothing ever came of it; or the server was out
/// of reach.
void lost_is_said_only_where_the_truth_cannot_be_had(const observations& seen, complaints& out) {
    for_each_settled(seen, [&](const turn_record& t, const settlement& end) {
        if (end.outcome != outcome::lost)
            return;
        const auto* then = truth_then(seen, t);
        const auto at = decided_at(seen, t);
        const bool open = !then || then->outcome == truth_outcome::pending;
        bool right = false;
        switch (end.rule) {
        case rule::unfinished: right = then && then->outcome == truth_outcome::interrupted; break;
        case rule::merged:
            right = then && (then->outcome == truth_outcome::interrupted ||
                             then->outcome == truth_outcome::unanswered ||
                             (then->parts.empty() && !open && in_trouble(seen, t, t.began, at, false)));
            break;
        case rule::never_answered:
            // How a prompt without an answer ended is not stored: once it was missed it cannot be had.
            right = !then || then->outcome == truth_outcome::interrupted ||
                    (then->outcome == truth_outcome::unanswered && !t.abort_called) ||
                    (then->parts.empty() && then->merged_into.empty() && !open &&
                     (t.adopted || moved(seen, t, at) || was_mute(seen, t) ||
                      in_trouble(seen, t, t.began, at, false)));
            break;
        case rule::session_deleted: right = deleted(seen, t, at); break;
        case rule::gave_up:
            // Where it was over, only a server that cannot be asked either may keep us from knowing, or one
            // of which its owner says that it is gone.
            right = in_trouble(seen, t, at - seconds(200), at, false) &&
                    (open || then->outcome == truth_outcome::interrupted ||
                     ended_during_the_last_look(seen, t, at) ||
                     (then->parts.empty() && then->merged_into.empty()) || // how it ended is not stored
                     in_trouble(seen, t, at - seconds(45), at, true) || said_gone(seen, t, t.began, at));
            break;
        case rule::server_gone: right = said_gone(seen, t, at, at); break;
        default: break;
        }
        if (!right)
            out.push_back({"lost is said only where the truth cannot be had",
                           name_of(t) + " is settled as " + words_of(end) + " at " + in_ms(at) +
                               ", and the server knows: " + words_of(then)});
    });
}

/// Not at the decision, and not ever after it.
void nothing_is_safe_to_reprompt_that_runs_or_will_run(const observations& seen, complaints& out) {
    for_each_settled(seen, [&](const turn_record& t, const settlement& end) {
        if (end.safe_to_reprompt != reprompt::yes)
            return;
        const auto* then = truth_then(seen, t);
        const auto* last = truth_of(seen, t);
        const int runs_then = then ? then->model_runs : 0;
        const int runs_last = last ? last->model_runs : 0;
        if ((then && then->running) || (last && last->running) || runs_last > runs_then)
            out.push_back({"nothing is safe to reprompt that runs or will run",
                           name_of(t) + ", " + words_of(end) + ": the model ran " +
                               std::to_string(runs_then) + " times by then, " + std::to_string(runs_last) +
                               " in all" + (then && then->running ? ", and was at it" : "")});
    });
}

/// Part by part. A part that never ended (thrown away, or killed) may be told as far as it got; what was
/// swallowed in the middle of one that nobody heard the end of, nobody can know.
void text_is_told_with_no_hole_and_no_repeat(const observations& seen, complaints& out) {
    for (const auto& t : seen.turns) {
        const auto* known = truth_of(seen, t);
        if (!known)
            continue;
        for (const auto& part : known->parts) {
            if (part.what == part_kind::tool)
                continue;
            const auto pieces = deltas_of(t, part.id);
            const auto text = joined(pieces);
            const bool all_wanted = part.ended && heard_out(t);
            // Who takes a turn up is told all that is known in one piece, with what was swallowed left out of
            // it.
            const bool right =
                told_missing(t) ? stand_in_order(pieces, part.text) ||
                                      (t.adopted && was_mute(seen, t) && left_out_of(text, part.text))
                : all_wanted
                    ? text == part.text
                    : part.text.starts_with(text) || (was_mute(seen, t) && stand_in_order(pieces, part.text));
            if (!right)
                out.push_back({"text is told with no hole and no repeat",
                               name_of(t) + " is told " + shortened(text) + " of " + shortened(part.text)});
        }
    }
}

void what_a_gap_row_calls_missing_is_missing(const observations& seen, complaints& out) {
    for (const auto& t : seen.turns) {
        const auto* known = truth_of(seen, t);
        if (!known || !told_missing(t) || !heard_out(t))
            continue;
        // How much there was of a part that never ended, nobody can know.
        if (std::any_of(known->parts.begin(), known->parts.end(),
                        [](const auto& part) { return !part.ended; }))
            continue;
        const bool all_told = std::all_of(known->parts.begin(), known->parts.end(), [&](const auto& part) {
            return part.what == part_kind::tool || joined(deltas_of(t, part.id)) == part.text;
        });
        if (all_told)
            out.push_back(
                {"what a gap row calls missing is missing", name_of(t) + " was told all of its text"});
    }
}

void the_settled_text_is_the_last_answers(const observations& seen, complaints& out) {
    for_each_settled(seen, [&](const turn_record& t, const settlement& end) {
        const auto* known = truth_then(seen, t); // a session that is deleted later has no text any more
        const bool knows = end.outcome == outcome::completed || end.outcome == outcome::rejected ||
                           end.outcome == outcome::failed;
        if (!known || !knows)
            return;
        const std::string expected = end.rule == rule::merged ? std::string() : known->text;
        if (end.text != expected)
            out.push_back(
                {"the settled text is the last answer's",
                 name_of(t) + " ends with " + shortened(end.text) + " instead of " + shortened(expected)});
    });
}

/// Parts are told in the order in which they began, and turns that were answered end in the order of their
/// prompts.
void order_holds_within_a_session(const observations& seen, complaints& out) {
    for (const auto& t : seen.turns) {
        const auto* known = truth_of(seen, t);
        if (!known)
            continue;
        std::size_t last = 0;
        std::set<std::string> met;
        for (const auto& each : t.told) {
            std::string id;
            if (const auto* text = std::get_if<opencode::text_event>(&each.event))
                id = text->part;
            if (const auto* text = std::get_if<opencode::reasoning_event>(&each.event))
                id = text->part;
            if (id.empty() || !met.insert(id).second)
                continue;
            const auto place = std::find_if(known->parts.begin(), known->parts.end(),
                                            [&](const auto& part) { return part.id == id; }) -
                               known->parts.begin();
            // One that was swallowed whole is told when it is found.
            if (static_cast<std::size_t>(place) < last && !was_mute(seen, t))
                out.push_back(
                    {"order holds within a session", name_of(t) + " is told part " + id + " too late"});
            last = static_cast<std::size_t>(place);
        }
    }
    std::map<std::string, std::size_t> place;
    for (const auto& message : seen.truth_order)
        place.emplace(message, place.size());
    std::map<std::string, std::pair<std::size_t, duration>> latest; // by session: the last prompt that ended
    const auto answered = [](const settlement& s) {
        return s.outcome == outcome::completed || s.outcome == outcome::failed ||
               s.outcome == outcome::rejected;
    };
    std::vector<const turn_record*> ends;
    for_each_settled(seen, [&](const turn_record& t, const settlement& end) {
        // What was missed is found out when it is asked for.
        if (in_trouble(seen, t, t.began, end_moment(t), false))
            return;
        if (answered(end) && !t.adopted && end.rule != rule::merged && place.contains(t.message) &&
            !end.event.empty())
            ends.push_back(&t);
    });
    std::sort(ends.begin(), ends.end(), [&](const turn_record* a, const turn_record* b) {
        return place[a->message] < place[b->message];
    });
    for (const auto* t : ends) {
        const auto at = decided_at(seen, *t);
        auto& before = latest[t->session_id];
        if (at < before.second)
            out.push_back({"order holds within a session", name_of(*t) + " ended before an earlier prompt"});
        before = {place[t->message], std::max(at, before.second)};
    }
}

void nothing_of_one_session_reaches_another(const observations& seen, complaints& out) {
    std::map<std::string, std::string> parent;
    for (const auto& [message, each] : seen.truths)
        parent[each.session] = each.parent;
    const auto root_of = [&](std::string session) {
        while (parent.contains(session) && !parent[session].empty())
            session = parent[session];
        return session;
    };
    for (const auto& t : seen.turns) {
        const auto* known = truth_of(seen, t);
        const auto has_part = [&](std::string_view id, bool tool) {
            return known && std::any_of(known->parts.begin(), known->parts.end(), [&](const auto& part) {
                       return part.id == id && (part.what == part_kind::tool) == tool;
                   });
        };
        const auto complain = [&](const std::string& what) {
            out.push_back({"nothing of one session reaches another", name_of(t) + " is told of " + what});
        };
        for (const auto& each : t.told) {
            if (const auto* e = std::get_if<opencode::text_event>(&each.event);
                e && !has_part(e->part, false))
                complain("text part " + e->part);
            if (const auto* e = std::get_if<opencode::reasoning_event>(&each.event);
                e && !has_part(e->part, false))
                complain("reasoning part " + e->part);
            if (const auto* e = std::get_if<opencode::tool_event>(&each.event); e && !has_part(e->id, true))
                complain("tool call " + e->id);
            if (const auto* e = std::get_if<opencode::permission_event>(&each.event);
                e && root_of(e->request.session_id) != t.session_id)
                complain("permission " + e->request.id);
            if (const auto* e = std::get_if<opencode::question_event>(&each.event);
                e && root_of(e->request.session_id) != t.session_id)
                complain("question " + e->request.id);
        }
    }
}

void nothing_is_told_twice(const observations& seen, complaints& out) {
    std::map<std::string, const turn_record*> asked; // the turn that an ask was told to
    for (const auto& t : seen.turns) {
        const auto complain = [&](const std::string& what) {
            out.push_back({"nothing is told twice", name_of(t) + ": " + what});
        };
        std::set<std::string> once;
        const auto first = [&](const std::string& what) {
            if (!once.insert(what).second)
                complain(what);
        };
        const auto on_ask = [&](duration at, const std::string& id, const std::optional<std::string>& reply) {
            first((reply ? "the reply to " : "the ask ") + id);
            if (reply && !once.contains("the ask " + id))
                complain("a reply to " + id + " that was not asked");
            // Once nobody listens there any more, whoever waits behind that turn must know.
            const auto* owner = std::exchange(asked[id], &t);
            const bool left_alone = owner && (owner->let_go || decided_at(seen, *owner) <= at);
            if (owner && owner != &t && owner->message != t.message && !left_alone)
                complain("the ask " + id + ", which is another's too");
        };
        std::size_t interruptions = 0;
        std::size_t repairs = 0;
        std::map<std::string, int> progress;
        for (const auto& each : t.told) {
            if (const auto* e = std::get_if<opencode::permission_event>(&each.event))
                on_ask(each.at, e->request.id, e->reply);
            if (const auto* e = std::get_if<opencode::question_event>(&each.event))
                on_ask(each.at, e->request.id, e->reply);
            if (const auto* e = std::get_if<opencode::usage_event>(&each.event))
                first("usage of " + e->message);
            if (const auto* e = std::get_if<opencode::tool_event>(&each.event)) {
                first("tool " + e->id + " " + e->state + " " + e->title);
                const int now = e->state == "pending" ? 1 : e->state == "running" ? 2 : 3;
                if (now < progress[e->id])
                    complain("tool " + e->id + " goes back to " + e->state);
                progress[e->id] = now;
            }
            if (std::holds_alternative<opencode::interrupted_event>(each.event))
                ++interruptions;
            if (const auto* e = std::get_if<opencode::gap_event>(&each.event); e && !e->missing)
                ++repairs;
        }
        // A queue that is full drops rows of interruptions, the last one of a give-up is not told, and who
        // takes a turn up hears only of its repair.
        if (repairs > interruptions + 1 && t.longest_queue < 4 && !t.adopted)
            complain("a gap row without an interruption");
    }
}

void attempts_stay_within_the_policy(const observations& seen, complaints& out) {
    for (const auto& t : seen.turns) {
        const auto& policy = seen.servers.at(seen.sessions.at(t.session).server).policy;
        for (const auto& each : t.told) {
            const auto* e = std::get_if<opencode::interrupted_event>(&each.event);
            if (!e)
                continue;
            const auto longest = retry::delay_after(policy, e->attempt - 1);
            const bool counted = e->attempt >= 1 && (policy.max_attempts == retry::unlimited ||
                                                     e->attempt <= policy.max_attempts + 1);
            if (!counted || !longest) {
                out.push_back(
                    {"attempts stay within the policy",
                     name_of(t) + ": attempt " + std::to_string(e->attempt) + " at " + in_ms(each.at)});
                continue;
            }
            const auto shortest = policy.jitter == retry::jitter::none    ? *longest
                                  : policy.jitter == retry::jitter::equal ? *longest / 2
                                                                          : duration::zero();
            // The guard against hammering waits longer after a short life with progress, whose end is at most
            // the first failure of a run.
            const auto guarded = e->attempt <= 2 ? policy.max_delay : *longest;
            const auto most = std::max(
                {*longest, guarded,
                 std::min(e->failure.retry_after.value_or(duration::zero()), policy.max_retry_after)});
            if (e->retry_in < shortest || e->retry_in > most)
                out.push_back({"attempts stay within the policy", name_of(t) + ": attempt " +
                                                                      std::to_string(e->attempt) +
                                                                      " comes in " + in_ms(e->retry_in)});
        }
    }
}

/// From the first connect that fails to the next one that succeeds: a few for everyone who wants something,
/// and one a second for each.
void a_dead_endpoint_is_not_hammered(const observations& seen, complaints& out) {
    struct outage {
        duration since{};
        std::size_t attempts = 0;
    };
    std::map<endpoint, outage> dead;
    const auto users = seen.sessions.size() + seen.turns.size() + seen.feeds.size();
    for (const auto& a : seen.attempts) {
        if (a.connected) {
            dead.erase(a.where);
            continue;
        }
        auto& now = dead[a.where];
        if (now.attempts++ == 0)
            now.since = a.at;
        const auto lasted = static_cast<std::size_t>(to_ms(a.at - now.since) / 1000);
        if (now.attempts > 10 + users * (4 + lasted)) {
            out.push_back({"a dead endpoint is not hammered", std::to_string(now.attempts) + " attempts at " +
                                                                  to_string(a.where) + " in " +
                                                                  in_ms(a.at - now.since)});
            return;
        }
    }
}

/// Past the bound only text of another part and what may not be dropped is added.
void a_queue_stays_within_its_bound(const observations& seen, complaints& out) {
    for (const auto& t : seen.turns) {
        std::size_t kept = 0;
        std::set<std::string> parts;
        for (const auto& each : t.told) {
            if (const auto* e = std::get_if<opencode::text_event>(&each.event))
                parts.insert(e->part);
            else if (const auto* r = std::get_if<opencode::reasoning_event>(&each.event))
                parts.insert(r->part);
            else if (!std::holds_alternative<opencode::tool_event>(each.event) &&
                     !std::holds_alternative<opencode::retry_event>(each.event) &&
                     !std::holds_alternative<opencode::usage_event>(each.event) &&
                     !std::holds_alternative<opencode::quiet_event>(each.event) &&
                     !std::holds_alternative<opencode::interrupted_event>(each.event))
                ++kept;
        }
        const auto bound =
            seen.servers.at(seen.sessions.at(t.session).server).queue_items + kept + 2 * parts.size() + 1;
        if (t.longest_queue > bound)
            out.push_back({"a queue stays within its bound",
                           name_of(t) + " had " + std::to_string(t.longest_queue) +
                               " events waiting, of at most " + std::to_string(bound)});
    }
}

/// Until incidents are summed up: no more than some lines for each attempt, each turn and each call.
void the_log_says_no_more_than_happened(const observations& seen, complaints& out) {
    const auto lines =
        static_cast<std::size_t>(std::count_if(seen.logs.begin(), seen.logs.end(), [](const log_record& r) {
            return r.level != log_level::debug && !r.tag.starts_with(follower_tag);
        }));
    const auto most = 10 + seen.attempts.size() + 2 * seen.turns.size() + seen.calls;
    if (lines > most)
        out.push_back({"the log says no more than happened",
                       std::to_string(lines) + " lines, of at most " + std::to_string(most)});
    for (const auto& r : seen.logs)
        if (r.error_message == thrown_on_purpose)
            continue;
        else if (r.event == "hub.handler_threw" || r.event == "server.task_failed" ||
                 r.event == "session.event_unreadable")
            out.push_back({"the log says no more than happened", r.event + ": " + r.error_message});
}

void after_an_abort_only_the_settlement_is_handed_out(const observations& seen, complaints& out) {
    for (const auto& t : seen.turns) {
        if (!t.abort_called)
            continue;
        for (const auto& each : t.told)
            if (each.at > *t.abort_called && !std::holds_alternative<settlement>(each.event))
                out.push_back({"after an abort only the settlement is handed out",
                               name_of(t) + " is told more at " + in_ms(each.at) + ", aborted at " +
                                   in_ms(*t.abort_called)});
    }
}

void no_exception_escapes(const observations& seen, complaints& out) {
    for (const auto& each : seen.escaped)
        out.push_back({"no exception escapes", each});
}

void nothing_is_left_when_all_has_stopped(const observations& seen, complaints& out) {
    if (!seen.left)
        return;
    const auto complain = [&](const std::string& what) {
        out.push_back({"nothing is left when all has stopped", what});
    };
    for (const auto& each : seen.left->coroutines)
        complain("a coroutine: " + each);
    if (seen.left->timers != 0)
        complain(std::to_string(seen.left->timers) + " timers");
    if (seen.left->connections != 0)
        complain(std::to_string(seen.left->connections) + " connections");
    if (seen.left->handlers)
        complain("handlers");
    for (const auto& each : seen.left->gauges)
        complain("a gauge: " + each);
}

// --- of feeds

namespace {

std::string name_of(const observations& seen, const feed_record& f) {
    std::size_t number = 0;
    while (&seen.feeds[number] != &f)
        ++number;
    return "feed " + std::to_string(number) + " (session " + std::to_string(f.session) + ", follower " +
           std::to_string(f.follower) + ")";
}

/// What the others did, as far as it explains what a follower sees; no turns.
observations seen_by(const observations& seen, const follower_facts& by) {
    observations view;
    view.decisions = by.decisions;
    view.give_ups = by.give_ups;
    view.truths = seen.truths;
    view.truth_order = seen.truth_order;
    view.sessions = seen.sessions;
    view.servers = seen.servers;
    view.servers.at(by.server).policy = by.policy;
    view.windows = seen.windows;
    return view;
}

/// The turns that a feed was told of, as though each had been taken up by an owner.
std::deque<turn_record> turns_of(const observations& seen, const feed_record& f) {
    std::deque<turn_record> all;
    for (const auto& each : f.told) {
        auto t = std::find_if(all.begin(), all.end(),
                              [&](const turn_record& known) { return known.message == each.event.message; });
        if (t == all.end()) {
            turn_record made;
            made.session = f.session;
            made.session_id = f.session_id;
            made.message = each.event.message;
            made.plan.text = "followed";
            made.adopted = made.had = made.let_go = true;
            made.began = f.began;
            if (const auto then = f.when_told.find(made.message); then != f.when_told.end())
                made.when_told = then->second;
            t = all.insert(all.end(), std::move(made));
        }
        if (std::holds_alternative<settlement>(each.event.event)) {
            t->ended = true;
            t->let_go = false;
        }
        t->told.push_back({each.at, each.event.event});
    }
    for (const auto& t : seen.turns) { // those that explain errors of the session
        if (t.plan.agent.empty())
            continue;
        auto other = t;
        other.told.clear();
        other.let_go = true;
        all.push_back(std::move(other));
    }
    return all;
}

} // namespace

void what_a_feed_tells_is_as_its_owner_would_be_told(const observations& seen, complaints& out) {
    for (std::size_t i = 0; i < seen.followers.size(); ++i) {
        auto view = seen_by(seen, seen.followers[i]);
        for (const auto& f : seen.feeds) {
            if (f.follower != i)
                continue;
            view.turns = turns_of(seen, f);
            complaints found;
            every_prompt_settles_exactly_once(view, found);
            the_settlement_is_the_last_thing_told(view, found);
            an_outcome_is_what_the_server_knows_to_be_true(view, found);
            lost_is_said_only_where_the_truth_cannot_be_had(view, found);
            nothing_is_safe_to_reprompt_that_runs_or_will_run(view, found);
            text_is_told_with_no_hole_and_no_repeat(view, found);
            what_a_gap_row_calls_missing_is_missing(view, found);
            the_settled_text_is_the_last_answers(view, found);
            order_holds_within_a_session(view, found);
            nothing_of_one_session_reaches_another(view, found);
            nothing_is_told_twice(view, found);
            attempts_stay_within_the_policy(view, found);
            for (auto& each : found)
                out.push_back({each.broken, name_of(seen, f) + ": " + each.how});
        }
    }
}

void nothing_is_told_of_turns_that_were_over_when_the_following_began(const observations& seen,
                                                                      complaints& out) {
    for (const auto& f : seen.feeds)
        for (const auto& each : f.told)
            if (f.over_before.contains(each.event.message)) {
                out.push_back(
                    {"nothing is told of turns that were over when the following began",
                     name_of(seen, f) + " is told of " + each.event.message + " at " + in_ms(each.at)});
                break;
            }
}

void a_feed_ends_when_its_session_or_its_server_does(const observations& seen, complaints& out) {
    for (const auto& f : seen.feeds) {
        const auto complain = [&](const std::string& what) {
            out.push_back({"a feed ends when its session or its server does", name_of(seen, f) + " " + what});
        };
        const auto& by = seen.followers.at(f.follower);
        const auto& deleted = seen.sessions.at(f.session).deleted;
        const bool gone = std::any_of(seen.windows.begin(), seen.windows.end(), [&](const trouble_window& w) {
            return w.server == by.server && w.said_gone && w.from <= f.ended_at;
        });
        const bool stopped = by.stopped && *by.stopped <= f.ended_at;
        if (f.ended && !f.quiet && !f.let_go && !(deleted && *deleted <= f.ended_at) && !gone && !stopped)
            complain("ended at " + in_ms(f.ended_at));
        if (!f.ended && !f.let_go)
            complain("goes on after its server was stopped");
        if (f.told_after_end)
            complain("is told more after its end");
        // What does not know it after an outage may be another server.
        // A server that is just down does not hear that it is to be deleted.
        const bool was_deleted = std::any_of(seen.truths.begin(), seen.truths.end(), [&](const auto& each) {
            return each.second.session == f.session_id && each.second.deleted;
        });
        if (f.quiet && was_deleted && !(f.trouble && *f.trouble == errc::another_server))
            complain("goes on, and its session was deleted at " + in_ms(*deleted) +
                     ", in trouble: " + (f.trouble ? f.trouble->message() : "no"));
        if (f.quiet && !deleted && f.trouble)
            complain("is in trouble though all is well");
    }
}

/// All is over and well: what the sessions of a directory have in common is asked for once a tick (three
/// requests), and each session that is captured for its last message. Where one is that has a stream is asked
/// for once a minute.
void followers_do_not_hammer(const observations& seen, complaints& out) {
    for (std::size_t i = 0; i < seen.followers.size(); ++i) {
        const auto& by = seen.followers[i];
        if (!by.quiet)
            continue;
        const auto looks = static_cast<std::size_t>(by.quiet->lasted / by.capture.tick) + 2;
        const auto most = looks * (3 * by.quiet->directories + by.quiet->sessions) + by.quiet->streamed;
        if (by.quiet->requests > most)
            out.push_back({"followers do not hammer", "follower " + std::to_string(i) + " makes " +
                                                          std::to_string(by.quiet->requests) +
                                                          " requests in " + in_ms(by.quiet->lasted) +
                                                          ", of at most " + std::to_string(most)});
    }
}

void check_the_end(const observations& seen, complaints& out) {
    every_prompt_settles_exactly_once(seen, out);
    the_settlement_is_the_last_thing_told(seen, out);
    an_outcome_is_what_the_server_knows_to_be_true(seen, out);
    lost_is_said_only_where_the_truth_cannot_be_had(seen, out);
    nothing_is_safe_to_reprompt_that_runs_or_will_run(seen, out);
    text_is_told_with_no_hole_and_no_repeat(seen, out);
    what_a_gap_row_calls_missing_is_missing(seen, out);
    the_settled_text_is_the_last_answers(seen, out);
    order_holds_within_a_session(seen, out);
    nothing_of_one_session_reaches_another(seen, out);
    nothing_is_told_twice(seen, out);
    attempts_stay_within_the_policy(seen, out);
    a_dead_endpoint_is_not_hammered(seen, out);
    a_queue_stays_within_its_bound(seen, out);
    the_log_says_no_more_than_happened(seen, out);
    after_an_abort_only_the_settlement_is_handed_out(seen, out);
    no_exception_escapes(seen, out);
    nothing_is_left_when_all_has_stopped(seen, out);
    what_a_feed_tells_is_as_its_owner_would_be_told(seen, out);
    nothing_is_told_of_turns_that_were_over_when_the_following_began(seen, out);
    a_feed_ends_when_its_session_or_its_server_does(seen, out);
    followers_do_not_hammer(seen, out);
}

} // namespace holdfast::sim
