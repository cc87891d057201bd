// session_ledger, as far as it takes in messages and parts, from the stream and from snapshots.
#include <holdfast/opencode/ledger/session_ledger.hpp>

#include <holdfast/opencode/wire.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::opencode::ledger {

namespace {

using user_kind = message_record::user_kind;
using hearing = part_record::hearing;

/// The texts of the two ways in which a tool fails because somebody said no.
bool says_rejected(const part& p) {
    return p.state == wire::tool::error && (p.error.starts_with(wire::permission_rejected_text) ||
                                            p.error.starts_with(wire::question_dismissed_text));
}

int progress_of(std::string_view tool_state) {
    if (tool_state == wire::tool::pending)
        return 1;
    if (tool_state == wire::tool::running)
        return 2;
    return tool_state.empty() ? 0 : 3;
}

part_record::kind kind_of(std::string_view part_type) {
    if (part_type == wire::part::text)
        return part_record::kind::text;
    if (part_type == wire::part::reasoning)
        return part_record::kind::reasoning;
    if (part_type == wire::part::tool)
        return part_record::kind::tool;
    return part_record::kind::other;
}

/// Each try of the model begins with one: what was being said before it stays as it is, and never ends.
void abandon_before(message_record& m, const part_record& start) {
    for (auto& p : m.parts) {
        if (&p == &start)
            break;
        if (p.heard == hearing::live)
            p.heard = hearing::abandoned;
    }
}

bool may_be_prompt(const message& m) {
    const bool by_server =
        !m.parts.empty() && (m.parts.front().synthetic || m.parts.front().type == wire::part::compaction);
    return !m.info.assistant && !by_server;
}

/// It may be one of the server's own that begins a turn.
bool may_wake(const message& m) {
    return !m.info.assistant && !m.parts.empty() && m.parts.front().synthetic &&
           !m.parts.front().text.starts_with(wire::shell_text);
}

bool ends_turn(const message_info& m) {
    return m.finished() && (m.error || m.finish != wire::finish_tool_calls);
}

} // namespace

// --- messages

void session_ledger::merge_info(message_record& m, const message_info& info, bool from_snapshot) {
    const bool was_known = m.known != 0;
    const bool was_finished = was_known && m.info.finished();
    if (was_finished && !info.finished())
        return; // older than what is known
    const auto error = m.info.error;
    m.info = info;
    if (!m.info.error)
        m.info.error = error;
    let_go_.erase(m.info.id);
    if (!was_known)
        m.known = at_;
    if (!was_finished && info.finished())
        m.finished = at_;
    if (!was_known || was_finished != info.finished())
        ++news_;
    if (!info.assistant)
        return know_prompt(m);
    if (!was_known) {
        if (!from_snapshot && !info.finished())
            for (auto& e : errors_.told)
                if (e.answer == 0)
                    e.answer = at_;
        know_answer(m, from_snapshot);
    }
    if (!was_finished && info.finished())
        know_end(m, from_snapshot);
}

void session_ledger::know_prompt(message_record& m) {
    const auto* t = find_turn(m.info.id);
    if (t || was_settled(m.info.id))
        m.kind = user_kind::prompt;
    if (!t)
        return;
    m.owner = t->id;
    for (const auto& other : said_.in_order())
        if (other->answers() && other->info.parent_id == t->id && other->owner.empty())
            know_answer(*other, true);
}

void session_ledger::know_answer(message_record& m, bool from_snapshot) {
    const bool is_new = !history_.contains(m.info.id);
    if (is_new || (!from_snapshot && !m.info.finished()))
        resume(history_.prompt_of(m.info.parent_id));
    auto* under = said_.find(m.info.parent_id);
    if (under && under->known != 0 && under->kind == user_kind::unclassed)
        become_prompt(*under);
    if (under)
        m.owner = under->owner;
    else if (find_turn(m.info.parent_id))
        m.owner = m.info.parent_id;
    if (!find_turn(m.owner))
        return m.parts.clear();
    if (!m.info.finished())
        m.begun = at_;
    if (under)
        resume_those_let_fall_with(*under);
}

/// What was set aside while this one waited too was left by the same loop, and is answered together with it.
void session_ledger::resume_those_let_fall_with(const message_record& prompt) {
    for (const auto& m : said_.in_order())
        if (m->index < prompt.index && m->set_aside > prompt.known)
            resume(history_.prompt_of(m->info.id));
}

void session_ledger::know_end(message_record& m, bool from_snapshot) {
    const bool aborted = m.info.error && m.info.error->name == aborted_error;
    if (m.info.error && !aborted)
        claim(*m.info.error, m.owner);
    if (!m.info.error && m.info.finish.empty() && m.owner.empty() && !from_snapshot) {
        // Somebody's, without an answer and without an error: an abort in a retry wait, or a shell.
        if (status_.now && status_.now->state == session_status::kind::retry)
            note_interruption(m);
        else if (!status_.now)
            note_abort({}, true);
    }
    const auto* t = find_turn(m.owner);
    if (!aborted || !t || was_aborted(*t))
        return; // it was told by the session's error, at the right moment
    if (from_snapshot)
        note_interruption(m);
    else
        note_abort();
}

/// A prompt of somebody else's, which is told only where all are, and once.
void session_ledger::become_prompt(message_record& m) {
    if (!has_room()) {
        left_turns_out_ = true;
        m.kind = user_kind::unclassed; // until it is looked at once more
        m.parted = false;
        return;
    }
    m.kind = user_kind::prompt;
    const bool again = was_settled(m.info.id) && !limits_.recorded;
    auto& t = open(m.info.id, again ? turn_facts::origin::settled : turn_facts::origin::others);
    t.posted = at_;
    m.owner = t.id;
}

void session_ledger::merge_message(message& m) {
    auto& record = said_.place(m.info.id, m.info.created_ms);
    merge_info(record, m.info, true);
    said_.own_again(record);
    if (record.answers() && record.owner.empty())
        know_answer(record, true); // its prompt may be known by now
    if (record.answers() && !record.is_foreign())
        record.arrange_as(m.parts);
    for (auto& p : m.parts)
        merge_part(record, p, false);
    if (may_answer_an_earlier(record))
        become_prompt(record);
}

/// A prompt that was settled here before, and with which an earlier one that is still open may have been
/// answered.
bool session_ledger::may_answer_an_earlier(const message_record& m) const {
    return !m.info.assistant && was_settled(m.info.id) && m.owner.empty() &&
           std::any_of(turns_.begin(), turns_.end(), [&](const turn_facts& t) {
               const auto* prompt = said_.find(t.id);
               return is_to_be_told(t) && prompt && prompt->index < m.index && !said_.last_own_answer(t.id);
           });
}

void session_ledger::merge_messages(std::vector<message>& messages, const session_status& status,
                                    const std::optional<session_status>& after) {
    std::vector<message*> sorted;
    for (auto& m : messages)
        if (m.info.session_id == family_.root())
            sorted.push_back(&m);
    std::stable_sort(sorted.begin(), sorted.end(), [](const message* a, const message* b) {
        return a->info.created_ms < b->info.created_ms;
    });
    if (history_known_)
        resume_those_at_work(sorted, status);
    else if (limits_.follows)
        remember_history(sorted, status, after);
    left_turns_out_ = false;
    const auto first = std::find_if(sorted.begin(), sorted.end(), [&](const message* m) {
        return find_turn(m->info.id) || find_turn(m->info.parent_id) || said_.find(m->info.id) ||
               (limits_.follows && (may_be_prompt(*m) || may_wake(*m)) && !was_settled(m->info.id));
    });
    for (auto m = first; m != sorted.end(); ++m)
        merge_message(**m);
}

/// Every message before the prompt that is at work, or still to be answered. What has no end, while nothing
/// is at work before it was read and after that, was broken off.
void session_ledger::remember_history(const std::vector<message*>& sorted, const session_status& status,
                                      const std::optional<session_status>& after) {
    history_known_ = true;
    auto present = sorted.end();
    const auto last =
        std::find_if(sorted.rbegin(), sorted.rend(), [](const message* m) { return m->info.assistant; });
    const bool at_work = status.state != session_status::kind::idle;
    const bool is_idle = !at_work && after && after->state == session_status::kind::idle;
    const bool prompted_since =
        std::any_of(last.base(), sorted.end(), [](const message* m) { return may_be_prompt(*m); });
    if (last == sorted.rend())
        present = sorted.begin();
    else if ((!(*last)->info.finished() && !is_idle) ||
             (at_work && !(prompted_since && ends_turn((*last)->info))))
        present = std::find_if(sorted.begin(), sorted.end(),
                               [&](const message* m) { return m->info.id == (*last)->info.parent_id; });
    else
        present = last.base();
    while (present != sorted.begin() && present != sorted.end() && !may_be_prompt(**present))
        --present;
    // What waited when that was begun is answered together with it.
    while (present != sorted.begin() && present != sorted.end() && !(*std::prev(present))->info.assistant)
        --present;
    std::string prompt;
    for (auto m = sorted.begin(); m != present; ++m) {
        if (may_be_prompt(**m))
            prompt = (*m)->info.id;
        remember_settled((*m)->info.id);
        history_.insert((*m)->info.id, prompt);
    }
}

/// A new answer to what was over, or one of which the session is at work now.
void session_ledger::resume_those_at_work(const std::vector<message*>& sorted, const session_status& status) {
    for (const auto* m : sorted)
        if (m->info.assistant && !history_.contains(m->info.id))
            resume(history_.prompt_of(m->info.parent_id));
    const auto last = std::find_if(sorted.rbegin(), sorted.rend(),
                                   [](const message* m) { return m->info.assistant || may_be_prompt(*m); });
    if (status.state != session_status::kind::idle && last != sorted.rend() && (*last)->info.assistant &&
        !(*last)->info.finished())
        resume(history_.prompt_of((*last)->info.id));
}

void session_ledger::note_work_on(const std::string& message) {
    if (!said_.find(message))
        resume(history_.prompt_of(message));
}

/// What was thought to be over, or to be no turn, is worked at: a turn of which nothing is told before the
/// next snapshot.
void session_ledger::resume(const std::string& prompt) {
    if (prompt.empty() || find_turn(prompt) || !has_room())
        return;
    history_.erase_those_of(prompt);
    auto& t = open(prompt, turn_facts::origin::others);
    t.posted = t.adopted = at_;
}

// --- parts

part_record* session_ledger::merge_part(message_record& m, part& p, bool from_stream) {
    if (m.known != 0 && !m.info.assistant) {
        if (m.parted)
            return nullptr;
        // Of a turn whose prompt was missed, what comes may go on with it.
        const bool all_seen =
            std::all_of(turns_.begin(), turns_.end(), [&](const turn_facts& t) { return prompt_seen(t); });
        said_.classify(m, p, all_seen);
        if (m.kind == user_kind::prompt && m.owner.empty() && !was_settled(m.info.id))
            become_prompt(m);
        return nullptr;
    }
    if (m.is_foreign())
        return nullptr;
    if (from_stream && m.parts.empty() && (m.known == 0 || p.type != wire::part::step_start))
        miss_beginning(m);
    auto& record = m.part(p.id);
    record.what = kind_of(p.type);
    if (p.type == wire::part::step_start)
        abandon_before(m, record);
    if (record.what == part_record::kind::tool)
        merge_tool(record, p, m.owner);
    else if (record.what != part_record::kind::other)
        merge_text(record, p, from_stream);
    return &record;
}

/// The server reports a message before its parts, and an answer begins with a step-start part. If either is
/// missing, the stream dropped events although it did not break.
void session_ledger::miss_beginning(const message_record& m) {
    if (!stream_.attached || limits_.recorded || was_settled(m.info.id))
        return;
    for (auto& t : turns_)
        if (t.id == m.owner || m.known == 0)
            t.missed = at_;
}

void session_ledger::merge_tool(part_record& record, const part& p, const std::string& turn) {
    if (is_usable_id(p.child_session) && p.child_session != family_.root()) {
        record.child_session = p.child_session;
        family_.add(p.child_session, family_.root());
        if (const auto* t = find_turn(turn))
            family_.note_start(p.child_session, turn, t->from == turn_facts::origin::ours);
    }
    if (progress_of(p.state) < progress_of(record.tool.state))
        return;
    tool_event now{p.call_id.empty() ? p.id : p.call_id, p.tool, p.state, p.title};
    // A title once known stays: on its way out a tool may lose it.
    if (now.title.empty())
        now.title = record.tool.title;
    if (now != record.tool)
        ++news_;
    record.tool = std::move(now);
    record.rejected = record.rejected || says_rejected(p);
}

void session_ledger::merge_text(part_record& record, part& p, bool from_stream) {
    if (record.heard == hearing::ended)
        return;
    // A snapshot's view of a running part is older than what was heard.
    if (!from_stream && !p.ended && p.text.size() <= record.size())
        return;
    if (p.text.empty() && !p.ended) {
        // Its beginning: from here on nothing of it is missed, if nothing was before.
        if (stream_.attached && record.size() == 0 && record.heard == hearing::unheard)
            record.heard = hearing::live;
        return;
    }
    if (p.ended)
        ++news_;
    text_merged_ += p.text.size();
    if (record.goes_on_in(p.text)) {
        if (record.dropped.bytes == 0)
            record.text = std::move(p.text);
        else
            record.text.assign(p.text, record.dropped.bytes);
        if (record.heard != hearing::abandoned)
            record.heard = from_stream && stream_.attached ? hearing::live : hearing::unheard;
    } else {
        replace_text(record, std::move(p.text));
    }
    if (p.ended)
        record.heard = hearing::ended;
}

/// By one that does not continue what was delivered. Where all of it was heard, the server merely tidied its
/// spaces. Else what is missing cannot be placed.
void session_ledger::replace_text(part_record& record, std::string text) {
    record.delivered.hole = !record.is_live() || !record.is_but_for_space(text);
    record.delivered.text = text.size();
    record.text = std::move(text);
    const auto dropped = std::exchange(record.dropped, {}).bytes;
    record.drop_delivered(dropped); // what is kept behind it has no hole before it
}

part_record* session_ledger::merge_delta(message_record& m, part_delta e) {
    auto& p = m.part(e.part_id);
    if (p.heard == hearing::ended || e.field != wire::field::text)
        return nullptr;
    if (!p.is_live()) {
        p.heard = hearing::withheld;
        return nullptr;
    }
    auto more = joiner_.join(std::move(e));
    text_merged_ += more.size();
    if (p.text.empty())
        p.text = std::move(more);
    else
        p.text += more;
    return &p;
}

} // namespace holdfast::opencode::ledger
