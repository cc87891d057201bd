#include <holdfast/opencode/protocol/v2/session_ledger.hpp>

#include <holdfast/opencode/protocol/v2/wire.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

namespace holdfast::opencode::v2 {

bool step_facts::answers() const noexcept {
    return !finish.empty() && finish != wire::tool_calls && finish != wire::finish_error && !error;
}

bool step_facts::was_aborted() const noexcept {
    return error && error->name == wire::aborted;
}

// --- what is learned

input_facts& session_ledger::input(const std::string& id) {
    const auto found =
        std::find_if(inputs_.begin(), inputs_.end(), [&](const auto& each) { return each.id == id; });
    if (found != inputs_.end())
        return *found;
    inputs_.emplace_back();
    inputs_.back().id = id;
    return inputs_.back();
}

void session_ledger::admit(const input_admitted& e) {
    auto& i = input(e.id);
    i.kind = e.kind;
    i.admitted = at_;
}

void session_ledger::promote(const std::string& id) {
    auto& i = input(id);
    i.heard = at_;
    if (i.promoted != 0)
        return; // a snapshot had it before
    i.promoted = at_;
    insert({entry::kind::input, id, {}, 0});
}

void session_ledger::start_execution() {
    insert({entry::kind::started, {}, {}, 0});
}

void session_ledger::end_execution(const execution_ended& e) {
    insert({entry::kind::terminal, {}, {at_, e}, 0});
}

// What is heard behind a greeting may be older than what a snapshot had told by then.
void session_ledger::insert(entry e) {
    e.created_ms = created_ms_;
    auto place = conversation_.end();
    while (created_ms_ != 0 && place != conversation_.begin() && std::prev(place)->created_ms > created_ms_)
        --place;
    conversation_.insert(place, std::move(e));
}

step_facts& session_ledger::step(const std::string& message) {
    const auto known = steps_.find(message);
    if (known != steps_.end())
        return known->second;
    insert({entry::kind::step, message, {}, 0});
    auto& s = steps_[message];
    s.message = message;
    return s;
}

void session_ledger::attach(time_point now) noexcept {
    attached_ = at_;
    attached_at_ = now;
    idle_since_.reset();
}

// What has begun is no longer followed: the deltas that come next may not be the next ones.
void session_ledger::break_off() noexcept {
    broken_ = at_;
    for (auto& [id, s] : steps_)
        for (auto& [key, p] : s.parts)
            p.followed = 0;
}

std::size_t session_ledger::place_of(entry::kind what, std::string_view id) const noexcept {
    const auto found = std::find_if(conversation_.begin(), conversation_.end(),
                                    [&](const entry& each) { return each.what == what && each.id == id; });
    return static_cast<std::size_t>(found - conversation_.begin());
}

std::size_t session_ledger::place_of(const message_row& row) const noexcept {
    const auto what = row.what == message_row::kind::answer ? entry::kind::step
                      : row.what == message_row::kind::idle ? entry::kind::terminal
                                                            : entry::kind::input;
    return place_of(what, row.id);
}

namespace {

execution_ended end_of(const message_row& row) {
    using how = execution_ended::how;
    execution_ended e;
    e.what = row.outcome == "failed"        ? how::failed
             : row.outcome == "interrupted" ? how::interrupted
                                            : how::succeeded;
    e.error = row.error;
    return e;
}

input_kind kind_of(const message_row& row) {
    if (row.what == message_row::kind::prompt)
        return input_kind::prompt;
    return row.what == message_row::kind::synthetic ? input_kind::synthetic : input_kind::other;
}

} // namespace

entry session_ledger::entry_for(const message_row& row) const {
    if (row.what == message_row::kind::answer)
        return {entry::kind::step, row.id, {}, row.created_ms};
    if (row.what == message_row::kind::idle)
        return {entry::kind::terminal, row.id, {at_, end_of(row)}, row.created_ms};
    return {entry::kind::input, row.id, {}, row.created_ms};
}

void session_ledger::merge_row(const message_row& row) {
    if (row.what == message_row::kind::idle)
        return;
    if (row.what != message_row::kind::answer) {
        auto& i = input(row.id);
        i.kind = kind_of(row);
        if (i.promoted == 0)
            i.promoted = at_;
        return;
    }
    auto& s = steps_[row.id];
    s.message = row.id;
    if (s.began == 0)
        s.began = at_;
    if (s.closed == 0 && (row.completed_ms || row.error || !row.finish.empty()))
        s.closed = at_;
    // What was finished stays so, whatever an older snapshot says.
    if (!row.finish.empty())
        s.finish = row.finish;
    if (row.error)
        s.error = row.error;
    for (const auto& part : row.parts)
        if (part.error == wire::permission_declined || part.error == wire::form_dismissed)
            s.declined = at_;
}

// A row that nobody heard of lies in a gap: behind what was known before it, and behind the terminals that
// were heard there.
void session_ledger::merge_rows(const std::vector<message_row>& rows) {
    const auto known = std::find_if(rows.begin(), rows.end(), [&](const message_row& row) {
        return place_of(row) < conversation_.size();
    });
    auto cursor = known == rows.end() ? conversation_.size() : place_of(*known);
    for (const auto& row : rows) {
        const auto place = place_of(row);
        if (place < conversation_.size()) {
            cursor = place + 1;
        } else {
            while (cursor < conversation_.size() && conversation_[cursor].id.empty())
                ++cursor;
            conversation_.insert(conversation_.begin() + static_cast<std::ptrdiff_t>(cursor), entry_for(row));
            ++cursor;
        }
        merge_row(row);
    }
}

void session_ledger::merge(const snapshot& s, position begun, time_point begun_at) {
    merge_rows(s.rows);
    for (const auto& item : s.inbox) {
        auto& i = input(item.id);
        i.kind = item.kind;
        if (i.admitted == 0)
            i.admitted = at_;
    }
    for (auto& i : inputs_) {
        const auto waits =
            std::any_of(s.inbox.begin(), s.inbox.end(), [&](const auto& each) { return each.id == i.id; });
        if (i.promoted == 0 && !waits && std::max(i.posted, i.admitted) <= begun)
            i.missing = at_;
    }
    snapshot_ = {begun, begun_at, s.active};
    if (s.active)
        idle_since_.reset();
    else if (!idle_since_)
        idle_since_ = begun_at;
}

void session_ledger::forget_settled() {
    const bool needed = std::any_of(inputs_.begin(), inputs_.end(), [](const input_facts& each) {
        const bool is_open = each.heard_of && each.settled == 0;
        const bool waits =
            each.promoted == 0 && each.cancelled == 0 && each.missing == 0 && each.settled == 0;
        return is_open || waits;
    });
    if (needed)
        return;
    inputs_.clear();
    steps_.clear();
    conversation_.clear();
}

// --- what is known

const input_facts* session_ledger::find_input(std::string_view id) const {
    const auto found =
        std::find_if(inputs_.begin(), inputs_.end(), [&](const auto& each) { return each.id == id; });
    return found == inputs_.end() ? nullptr : &*found;
}

const step_facts* session_ledger::find_step(std::string_view message) const {
    const auto found = steps_.find(message);
    return found == steps_.end() ? nullptr : &found->second;
}

position session_ledger::stopped() const noexcept {
    if (conversation_.empty() || conversation_.back().what != entry::kind::terminal)
        return 0;
    const auto& last = conversation_.back().end;
    return last.end.what == execution_ended::how::succeeded ? 0 : last.at;
}

session_ledger::work session_ledger::work_of(const input_facts& p) const {
    work w;
    w.at = place_of(entry::kind::input, p.id);
    for (auto i = w.at + 1; i < conversation_.size(); ++i) {
        const auto& each = conversation_[i];
        if (each.what == entry::kind::step) {
            w.last = find_step(each.id);
            w.cut_off = false; // what began was this, taken up again
        } else if (each.what == entry::kind::terminal) {
            w.cut_off = false;
            w.end = &each.end;
            return w;
        } else if (each.what == entry::kind::started) {
            w.cut_off = true;
        } else if (const auto* next = find_input(each.id); next->kind == input_kind::prompt) {
            w.next = next;
            return w;
        } else if (w.last && w.last->answers()) {
            w.left = true;
            return w;
        }
    }
    w.cut_off = false; // what has begun may still be this, taken up again
    return w;
}

const input_facts* session_ledger::owner_of(std::string_view message) const {
    auto at = place_of(entry::kind::step, message);
    while (at > 0) {
        const auto& each = conversation_[--at];
        if (each.what == entry::kind::terminal)
            return nullptr;
        if (each.what != entry::kind::input)
            continue;
        const auto* const by = find_input(each.id);
        if (by->kind == input_kind::prompt)
            return work_of(*by).left && work_of(*by).last->message != message ? nullptr : by;
    }
    return nullptr;
}

} // namespace holdfast::opencode::v2
