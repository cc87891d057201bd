#include <holdfast/opencode/ledger/session_ledger.hpp>

#include <holdfast/opencode/wire.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::opencode::ledger {

namespace {

using user_kind = message_record::user_kind;

constexpr std::size_t max_settled = 4096;
constexpr std::size_t max_claimed = 64;
constexpr std::size_t max_facts = 256; ///< errors, and aborts, that open turns may depend on

bool has_begun(std::string_view tool_state) {
    return !tool_state.empty() && tool_state != wire::tool::pending;
}

} // namespace

void recent_ids::insert(const std::string& id, std::string prompt) {
    if (!ids_.emplace(id, std::move(prompt)).second)
        return;
    order_.push_back(id);
    if (order_.size() <= max_settled)
        return;
    ids_.erase(order_.front());
    order_.pop_front();
}

void recent_ids::erase_those_of(const std::string& prompt) {
    std::erase_if(ids_, [&](const auto& each) { return each.second == prompt; });
}

std::string recent_ids::prompt_of(const std::string& id) const {
    const auto found = ids_.find(id);
    return found == ids_.end() ? std::string() : found->second;
}

session_ledger::session_ledger(std::string root, limits l)
    : limits_(l), family_(std::move(root), l.max_children) {}

// --- turns

turn_facts* session_ledger::find_turn(std::string_view id) {
    const auto found =
        std::find_if(turns_.begin(), turns_.end(), [&](const turn_facts& t) { return t.id == id; });
    return found == turns_.end() ? nullptr : &*found;
}

const turn_facts* session_ledger::find_turn(std::string_view id) const {
    return const_cast<session_ledger*>(this)->find_turn(id);
}

turn_facts& session_ledger::open(std::string id, turn_facts::origin from) {
    auto& t = turns_.emplace_back();
    t.id = std::move(id);
    t.from = from;
    t.opened = at_;
    if (is_busy())
        status_.working = at_;
    settled_.erase(t.id);
    // A turn in flight is adopted: what came of it before is known, but was told to nobody.
    for (const auto& m : said_.in_order())
        if (m->info.id == t.id || m->info.parent_id == t.id)
            m->owner = t.id;
    if (auto* prompt = said_.find(t.id))
        prompt->kind = user_kind::prompt;
    return t;
}

void session_ledger::forget(const std::string& id) {
    std::erase_if(turns_, [&](const turn_facts& t) { return t.id == id; });
    std::vector<std::string> gone;
    for (const auto& m : said_.in_order()) {
        if (m->owner != id)
            continue;
        m->owner.clear();
        if (m->kind != user_kind::prompt)
            gone.push_back(m->info.id);
        if (is_over_with_its_turn(*m))
            remember_settled(m->info.id);
    }
    for (const auto& m : gone)
        said_.erase(m);
}

void session_ledger::set_aside(const std::string& id) {
    forget(id);
    remember_settled(id);
    history_.insert(id, id);
    if (auto* prompt = said_.find(id))
        prompt->set_aside = at_;
}

/// All but the prompts of others that are still to become turns.
void session_ledger::forget_all() {
    std::set<std::string> pending;
    for (const auto& t : turns_)
        if (is_to_be_told(t) && !has_work(t))
            pending.insert(t.id);
        else if (limits_.follows) // one that was told, and followed once more for another's sake, stays told
            remember_settled(t.id);
    std::erase_if(turns_, [&](const turn_facts& t) { return !pending.contains(t.id); });
    for (const auto& m : said_.in_order())
        if (!pending.contains(m->info.id) && is_over_with_its_turn(*m))
            remember_settled(m->info.id);
    said_.keep(pending);
    errors_ = {};
    aborts_.seen.clear();
    let_go_.clear();
}

/// Where every prompt is told, one of the server's own must not be taken for somebody's later.
bool session_ledger::is_over_with_its_turn(const message_record& m) const {
    return m.answers() || (limits_.follows && m.known != 0 && m.kind != user_kind::unclassed);
}

void session_ledger::let_go_unseen(const std::string& id) {
    forget(id);
    settled_.erase(id); // should the server have it nevertheless, it is like somebody else's
    let_go_.insert(id);
}

bool session_ledger::is_to_be_told(const turn_facts& t) const {
    using origin = turn_facts::origin;
    const bool all = limits_.follows || limits_.recorded;
    return t.released == 0 && (t.from == origin::ours || (t.from == origin::others && all));
}

// --- the stream

void session_ledger::attach() {
    if (stream_.attached)
        break_stream(false);
    stream_.attached = true;
    stream_.begun = at_;
}

void session_ledger::break_stream(bool by_server) {
    stream_.attached = false;
    stream_.broken = at_;
    if (by_server)
        stream_.disposed = at_;
    for (const auto& m : said_.in_order())
        for (auto& p : m->parts)
            if (p.heard == part_record::hearing::live)
                p.heard = part_record::hearing::unheard;
}

void session_ledger::note_busy(const session_status& s) {
    if (s.state != session_status::kind::idle)
        status_.busy = status_.working = at_;
}

void session_ledger::note_status(const session_status& s) {
    status_.told = at_;
    note_busy(s);
}

void session_ledger::note_idle() {
    status_.told = at_;
    for (auto& e : errors_.told)
        if (e.idle == 0)
            e.idle = at_;
}

bool session_ledger::set_status(const session_status& s) {
    if (status_.now == s)
        return false;
    if (s.state != session_status::kind::idle && !is_busy())
        status_.begun = at_;
    status_.now = s;
    return true;
}

// --- errors

void session_ledger::note_error(const api_error& error, bool own) {
    if (is_claimed(error) || errors_.told.size() == max_facts)
        return;
    error_fact e;
    e.at = at_;
    e.error = error;
    if (own && error.name == overflow_error) {
        e.about = error_fact::scope::overflow;
    } else if (own && is_busy()) {
        const auto* last = said_.last_answer_of_all();
        // One that stopped with an earlier stream may have died with the server's process.
        const bool answering = last && !last->info.finished() && last->heard >= stream_.begun;
        const bool one_is_unknown =
            !let_go_.empty() || std::any_of(turns_.begin(), turns_.end(), [&](const turn_facts& t) {
                return t.released == 0 && !prompt_seen(t);
            });
        e.sure = !one_is_unknown;
        // While an answer is written it may be about the unknown one; an answer that fails tells its error
        // itself.
        if (e.sure || !answering)
            e.about = error_fact::scope::work;
        if (answering)
            e.writing = last->info.id;
    }
    errors_.told.push_back(std::move(e));
}

bool session_ledger::is_claimed(const api_error& error) const {
    return std::any_of(errors_.claimed.begin(), errors_.claimed.end(),
                       [&](const auto& c) { return c.first == error; });
}

void session_ledger::claim(const api_error& error, const std::string& owner) {
    if (!is_claimed(error))
        errors_.claimed.emplace_back(error, owner);
    if (errors_.claimed.size() > max_claimed)
        errors_.claimed.pop_front();
    for (auto& e : errors_.told)
        if (e.error == error && !e.claimed) {
            e.claimed = true;
            e.claimed_by = owner;
        }
}

const error_fact* session_ledger::first_error(const turn_facts& t) const {
    const auto found = std::find_if(errors_.told.begin(), errors_.told.end(), [&](const error_fact& e) {
        return e.at > t.opened && (!e.claimed || e.claimed_by == t.id);
    });
    return found == errors_.told.end() ? nullptr : &*found;
}

const error_fact* session_ledger::own_error(const turn_facts& t) const {
    const auto found = std::find_if(errors_.told.begin(), errors_.told.end(),
                                    [&](const error_fact& e) { return e.at > t.opened && is_about(e, t); });
    return found == errors_.told.end() ? nullptr : &*found;
}

bool session_ledger::is_about(const error_fact& e, const turn_facts& t) const {
    if (e.about != error_fact::scope::work || (e.claimed && e.claimed_by != t.id))
        return false;
    if (!e.writing.empty()) {
        const auto* writing = said_.find(e.writing);
        return writing && writing->owner == t.id;
    }
    const auto* prompt = said_.find(t.id);
    if (!prompt || prompt->known == 0 || prompt->known > e.at)
        return false;
    const message_record* answered = nullptr; // by then
    for (const auto& m : said_.in_order())
        if (m->answers() && m->owner == t.id && m->known <= e.at)
            answered = m.get();
    if (answered)
        return answered->finished != 0 && answered->finished <= e.at;
    return !e.was_survived() || !came_before_abort(e, t);
}

bool session_ledger::has_overflowed(const turn_facts& t) const {
    const auto* prompt = said_.find(t.id);
    return prompt && prompt->known != 0 &&
           std::any_of(errors_.told.begin(), errors_.told.end(), [&](const error_fact& e) {
               return e.about == error_fact::scope::overflow && e.at > t.opened && prompt->known <= e.at &&
                      std::none_of(said_.in_order().begin(), said_.in_order().end(), [&](const auto& m) {
                          return m->answers() && m->owner == t.id && m->is_summary() && m->known > e.at;
                      });
           });
}

// --- aborts

void session_ledger::note_abort(std::optional<std::int64_t> before_ms, bool guessed) {
    if (aborts_.seen.size() == max_facts)
        aborts_.seen.erase(aborts_.seen.begin());
    aborts_.seen.push_back({at_, before_ms, guessed});
}

void session_ledger::note_interruption(const message_record& last) {
    note_abort(last.info.completed_ms.value_or(last.info.created_ms));
}

bool session_ledger::matches(const abort_fact& a, const turn_facts& t, position by) const {
    const auto* prompt = said_.find(t.id);
    if (!prompt || prompt->known == 0 || prompt->known > a.at || t.opened > a.at || a.at > by)
        return false;
    if (a.before_ms && prompt->info.created_ms >= *a.before_ms)
        return false;
    // It came too early for what was begun later.
    return std::none_of(said_.in_order().begin(), said_.in_order().end(),
                        [&](const auto& m) { return m->owner == t.id && m->begun > a.at && m->begun <= by; });
}

bool session_ledger::was_aborted(const turn_facts& t, position by) const {
    return std::any_of(aborts_.seen.begin(), aborts_.seen.end(),
                       [&](const abort_fact& a) { return !a.guessed && matches(a, t, by); });
}

bool session_ledger::was_perhaps_aborted(const turn_facts& t) const {
    return std::any_of(aborts_.seen.begin(), aborts_.seen.end(), [&](const abort_fact& a) {
        return matches(a, t, std::numeric_limits<position>::max());
    });
}

// --- queries

bool session_ledger::prompt_seen(const turn_facts& t) const {
    const auto* m = said_.find(t.id);
    return m && m->known != 0;
}

bool session_ledger::server_knows(const turn_facts& t) const {
    return prompt_seen(t) || said_.last_answer(t.id);
}

bool session_ledger::is_unbroken(const turn_facts& t) const {
    const auto& s = stream_;
    auto missed = std::max(t.missed, t.adopted);
    if (s.broken >= t.opened)
        missed = std::max(missed, s.broken);
    // What was not even posted yet when the stream began can have missed nothing.
    else if (!s.attached || (t.opened < s.begun && t.posted != 0 && t.posted < s.begun))
        missed = std::max(missed, t.opened);
    return s.repaired >= missed;
}

bool session_ledger::is_whole(const turn_facts& t) const {
    return is_unbroken(t) && (stream_.shown >= t.opened || prompt_seen(t));
}

bool session_ledger::was_heard_throughout(const turn_facts& t) const {
    return stream_.attached && t.opened >= stream_.begun && t.adopted == 0;
}

bool session_ledger::has_work(const turn_facts& t) const {
    if (t.from == turn_facts::origin::ours || limits_.recorded || t.adopted != 0 || said_.last_answer(t.id) ||
        overtaking(t))
        return true;
    const auto* prompt = said_.find(t.id);
    if (!prompt || prompt->known == 0 || said_.has_later_prompt(*prompt))
        return false;
    const auto* last = said_.last_answer_of_all();
    const bool at_another = last && !last->info.finished();
    return (status_.begun >= prompt->known && !at_another) || own_error(t) || was_aborted(t);
}

bool session_ledger::is_unbegun(const turn_facts& t) const {
    return prompt_seen(t) && !said_.last_answer(t.id) && !was_at_work(t) && status_.begun < t.opened &&
           !was_disposed(t) && !first_error(t) && !abort_asked(t) && !was_perhaps_aborted(t);
}

bool session_ledger::ran_a_tool(const turn_facts& t) const {
    return std::any_of(said_.in_order().begin(), said_.in_order().end(), [&](const auto& m) {
        return m->owner == t.id && std::any_of(m->parts.begin(), m->parts.end(),
                                               [](const part_record& p) { return has_begun(p.tool.state); });
    });
}

bool session_ledger::was_rejected(const turn_facts& t, const message_record& m) const {
    return std::any_of(m.parts.begin(), m.parts.end(), [&](const part_record& p) {
        return p.rejected || (p.what == part_record::kind::tool && t.rejected_calls.contains(p.tool.id));
    });
}

const message_record* session_ledger::overtaking(const turn_facts& t) const {
    const auto* prompt = said_.find(t.id);
    if (!prompt || prompt->known == 0)
        return nullptr;
    const auto* own = said_.last_answer(t.id);
    for (const auto& m : said_.in_order()) {
        if (!m->answers() || m->owner.empty() || m->owner == t.id || (own && m->index < own->index))
            continue;
        const auto* under = said_.find(m->info.parent_id);
        if (under && under->index > prompt->index && find_turn(m->owner))
            return m.get();
    }
    return nullptr;
}

} // namespace holdfast::opencode::ledger
