#include <holdfast/opencode/ledger/narrator.hpp>

#include <utility>

namespace holdfast::opencode::ledger {

using part_kind = part_record::kind;
using hearing = part_record::hearing;

void narrator::tell(const std::string& turn, agent_event e) {
    if (audience_.has(turn))
        out_.push_back(deliver{turn, std::move(e)});
}

void narrator::tell_all(const agent_event& e) {
    for (const auto& t : ledger_.turns())
        tell(t.id, e);
}

bool narrator::gap_pending(const std::string& turn) const {
    const auto* listener = audience_.find(turn);
    return listener && interrupted_ > std::max(listener->since, listener->told);
}

bool narrator::may_tell(const turn_facts& t) const {
    return audience_.has(t.id) && ledger_.is_whole(t) && !gap_pending(t.id);
}

void narrator::flush_part(const turn_facts& t, part_record& p) {
    if (p.what == part_kind::tool) {
        if (p.tool != p.delivered.tool)
            tell(t.id, p.tool);
        p.delivered.tool = p.tool;
        return;
    }
    if (std::exchange(p.delivered.hole, false))
        tell_missing(t.id);
    if (p.delivered.text >= p.size())
        return;
    auto delta = text_.take_undelivered(t, p);
    if (p.what == part_kind::text)
        tell(t.id, text_event{p.id, std::move(delta)});
    else if (p.what == part_kind::reasoning)
        tell(t.id, reasoning_event{p.id, std::move(delta)});
}

void narrator::flush_usage(const std::string& turn, message_record& m) {
    if (!m.info.finished() || std::exchange(m.usage_delivered, true))
        return;
    tell(turn, usage_event{m.info.id, m.info.tokens, m.info.cost});
}

void narrator::flush(const message_record& m, part_record& p) {
    const auto* t = m.answers() && !m.is_summary() ? ledger_.find_turn(m.owner) : nullptr;
    if (t && may_tell(*t))
        flush_part(*t, p);
}

void narrator::flush(message_record& m) {
    const auto* t = m.answers() ? ledger_.find_turn(m.owner) : nullptr;
    if (!t || !may_tell(*t))
        return;
    if (!m.is_summary())
        for (auto& p : m.parts)
            flush_part(*t, p);
    flush_usage(t->id, m);
}

void narrator::flush(const turn_facts& t) {
    if (may_tell(t))
        flush_known(t);
}

void narrator::flush_known(const turn_facts& t) {
    if (!audience_.has(t.id))
        return;
    for (const auto& m : ledger_.said().in_order()) {
        if (m->owner != t.id || !m->answers())
            continue;
        if (!m->is_summary())
            for (auto& p : m->parts)
                flush_part(t, p);
        flush_usage(t.id, *m);
    }
}

void narrator::flush_all() {
    for (const auto& t : ledger_.turns())
        flush(t);
}

void narrator::tell_retry() {
    const auto& status = ledger_.status().now;
    if (!status || status->state != session_status::kind::retry || status == retry_told_)
        return;
    const auto* t = at_work();
    if (!t || !may_tell(*t))
        return;
    retry_told_ = status;
    tell(t->id, retry_event{status->attempt, status->message, status->next_ms});
    // The server begins anew: what was being said stays as it is, and never ends.
    for (const auto& m : ledger_.said().in_order())
        if (m->owner == t->id)
            for (auto& p : m->parts)
                if (p.heard == hearing::live)
                    p.heard = hearing::abandoned;
}

void narrator::tell_quiet(duration lasted, std::string status) {
    tell_all(quiet_event{lasted, std::move(status)});
}

void narrator::tell_again(const std::string& turn, const part_record& p, actions& into) const {
    auto text = p.text.substr(0, p.delivered_of_kept());
    if (p.dropped.bytes > 0)
        into.push_back(deliver{turn, gap_event{outage_.cls, outage_.lasted, true}});
    if (p.what == part_kind::tool && p.delivered.tool != tool_event())
        into.push_back(deliver{turn, p.delivered.tool});
    if (p.what == part_kind::text && !text.empty())
        into.push_back(deliver{turn, text_event{p.id, std::move(text)}});
    else if (p.what == part_kind::reasoning && !text.empty())
        into.push_back(deliver{turn, reasoning_event{p.id, std::move(text)}});
}

actions narrator::told_so_far() const {
    actions all;
    for (const auto& m : ledger_.said().in_order()) {
        if (!m->answers() || !audience_.has(m->owner))
            continue;
        if (!m->is_summary())
            for (const auto& p : m->parts)
                tell_again(m->owner, p, all);
        if (m->usage_delivered)
            all.push_back(deliver{m->owner, usage_event{m->info.id, m->info.tokens, m->info.cost}});
    }
    return all;
}

void narrator::begin_anew(const turn_facts& t) {
    for (const auto& m : ledger_.said().in_order()) {
        if (m->owner != t.id)
            continue;
        m->usage_delivered = false;
        for (auto& p : m->parts)
            p.begin_anew();
    }
}

// --- gaps

void narrator::interrupted(failure_class cls, time_point now) {
    if (outage_.over)
        outage_ = {cls, now, {}, false};
    interrupted_ = ledger_.at();
}

void narrator::attached() {
    if (audience_.empty())
        outage_.over = true;
}

void narrator::repaired(time_point now) {
    for (const auto& t : ledger_.turns()) {
        tell_repair(t, now);
        flush_known(t);
    }
    if (ledger_.stream().attached)
        outage_.over = true;
}

void narrator::tell_repair(const turn_facts& t, time_point now) {
    if (!gap_pending(t.id))
        return;
    audience_.find(t.id)->told = ledger_.at();
    if (!outage_.over)
        outage_.lasted = now - outage_.began;
    tell(t.id, gap_event{outage_.cls, outage_.lasted, false});
}

void narrator::tell_rest(const turn_facts& t) {
    flush_known(t);
}

// --- the end

void narrator::add_final_text(const turn_facts& t, settlement& to) const {
    const auto* m = ledger_.said().last_own_answer(t.id);
    if (!m)
        return;
    for (const auto& p : m->parts) {
        const bool is_final = p.heard == hearing::ended || (p.heard == hearing::live && m->info.error);
        if (p.what != part_kind::text || !is_final)
            continue;
        to.text += p.text;
        to.text_dropped += p.dropped.bytes;
    }
}

bool narrator::misses_text(const turn_facts& t) const {
    for (const auto& m : ledger_.said().in_order())
        if (m->owner == t.id && m->answers() && !m->is_summary())
            for (const auto& p : m->parts)
                if (p.may_miss_text())
                    return true;
    return false;
}

const turn_facts* narrator::at_work() const {
    const auto& order = ledger_.said().in_order();
    for (auto m = order.rbegin(); m != order.rend(); ++m)
        if ((*m)->answers() && audience_.has((*m)->owner))
            return ledger_.find_turn((*m)->owner);
    const turn_facts* first = nullptr;
    const turn_facts* seen = nullptr; // last
    for (const auto& t : ledger_.turns()) {
        const bool is_listened_to = audience_.has(t.id);
        if (is_listened_to && !first)
            first = &t;
        if (is_listened_to && ledger_.prompt_seen(t))
            seen = &t;
    }
    return seen ? seen : first;
}

} // namespace holdfast::opencode::ledger
