#include <holdfast/opencode/ledger/approvals.hpp>

#include <holdfast/opencode/ledger/weight.hpp>
#include <holdfast/opencode/turn_tracker.hpp>
#include <holdfast/opencode/wire.hpp>

#include <iterator>
#include <utility>
#include <vector>

namespace holdfast::opencode::ledger {

namespace {

constexpr std::size_t max_answered = 4096;

const std::string& id_of(const approvals::request& r) {
    return std::visit([](const auto& each) -> const std::string& { return each.id; }, r);
}
const std::string& session_of(const approvals::request& r) {
    return std::visit([](const auto& each) -> const std::string& { return each.session_id; }, r);
}
const std::string& call_of(const approvals::request& r) {
    return std::visit([](const auto& each) -> const std::string& { return each.call_id; }, r);
}

agent_event event_of(const approvals::request& r, std::optional<std::string> reply) {
    if (const auto* p = std::get_if<permission_request>(&r))
        return permission_event{*p, std::move(reply)};
    return question_event{std::get<question_request>(r), std::move(reply)};
}

/// A tool that may wait for a reply.
bool may_wait(std::string_view tool_state) {
    return tool_state.empty() || tool_state == wire::tool::pending || tool_state == wire::tool::running;
}

} // namespace

bool approvals::has_room_for(const request& r) const {
    const auto bytes = std::visit([](const auto& each) { return weight_of(each); }, r);
    const bool is_too_much = limits_.bytes != 0 && !waiting_.empty() && bytes_ + bytes > limits_.bytes;
    return waiting_.size() < limits_.number && !is_too_much;
}

void approvals::asked(const request& r) {
    if (by_id_.contains(id_of(r)) || answered_.contains(id_of(r)))
        return;
    if (!has_room_for(r)) {
        left_out_ = true;
        return;
    }
    auto by = who_asks(r);
    auto turn = audience_.has(by.turn) ? by.turn : std::string();
    ledger_.note_news();
    put({std::move(turn), std::move(by), ledger_.at(), r});
}

void approvals::put(waiting w) {
    bytes_ += std::visit([](const auto& each) { return weight_of(each); }, w.request);
    waiting_.push_back(std::move(w));
    by_id_.emplace(id_of(waiting_.back().request), std::prev(waiting_.end()));
    tell(waiting_.back(), std::nullopt);
}

approvals::waiting approvals::take(list::iterator w) {
    auto taken = std::move(*w);
    waiting_.erase(w);
    by_id_.erase(id_of(taken.request));
    bytes_ -= std::visit([](const auto& each) { return weight_of(each); }, taken.request);
    return taken;
}

void approvals::tell(const waiting& w, std::optional<std::string> reply) {
    if (w.turn.empty() || audience_.has(w.turn))
        narrator_.out().push_back(deliver{w.turn, event_of(w.request, std::move(reply)), w.by.ours});
}

bool approvals::answered(std::string_view id, const std::string& how, bool rejected) {
    const auto found = by_id_.find(id);
    if (found == by_id_.end())
        return false;
    const auto w = take(found->second);
    if (answered_.size() >= max_answered)
        answered_.clear();
    answered_.insert(std::string(id));
    tell(w, how);
    auto* t = ledger_.find_turn(w.by.turn);
    if (rejected && t && session_of(w.request) == ledger_.sessions().root())
        t->rejected_calls.insert(call_of(w.request));
    return std::exchange(left_out_, false);
}

template <class Which>
void approvals::withdraw_if(Which which) {
    for (auto w = waiting_.begin(); w != waiting_.end();) {
        const auto each = w++;
        if (which(*each))
            tell(take(each), "withdrawn");
    }
}

void approvals::withdraw_those_of(const std::string& turn) {
    const auto& sessions = ledger_.sessions();
    for (const auto& w : waiting_)
        if (w.turn == turn && sessions.is_at_work(session_of(w.request)) &&
            session_of(w.request) != sessions.root())
            passed_.push_back(w);
    withdraw_if([&](const waiting& w) { return w.turn == turn; });
}

void approvals::pass_on() {
    for (auto& w : std::exchange(passed_, {})) {
        w.turn.clear();
        put(std::move(w));
    }
}

void approvals::withdraw_those_of_idle(std::string_view session) {
    const bool own = session == ledger_.sessions().root();
    withdraw_if(
        [&](const waiting& w) { return session_of(w.request) == session && (!own || w.turn.empty()); });
}

void approvals::withdraw_all() {
    withdraw_if([](const waiting&) { return true; });
}

void approvals::clear() {
    answered_.clear();
    left_out_ = false;
}

void approvals::tell_again(actions& into) const {
    for (const auto& w : waiting_)
        if (w.turn.empty() || audience_.has(w.turn))
            into.push_back(deliver{w.turn, event_of(w.request, std::nullopt), w.by.ours});
}

/// The answer whose tool waits for the reply; for a child's request, the one that started the child. What is
/// asked before the tool is told is asked by the answer that was begun last.
const message_record* approvals::message_of(const request& r) const {
    const bool own = session_of(r) == ledger_.sessions().root();
    const auto child = own ? std::string() : ledger_.sessions().top_child(session_of(r));
    for (const auto& m : ledger_.said().in_order())
        for (const auto& p : m->parts)
            if (p.what == part_record::kind::tool &&
                (own ? !call_of(r).empty() && p.tool.id == call_of(r) : p.child_session == child))
                return m.get();
    return ledger_.said().last_answer_of_all();
}

approvals::asker approvals::who_is_at_work_for(const request& r) const {
    const auto* m = message_of(r);
    const auto* t = m ? ledger_.find_turn(m->owner) : narrator_.at_work();
    return t ? asker{t->id, t->from == turn_facts::origin::ours} : asker{};
}

approvals::asker approvals::who_asks(const request& r) const {
    const auto* start =
        session_of(r) == ledger_.sessions().root() ? nullptr : ledger_.sessions().start_of(session_of(r));
    return start ? asker{start->turn, start->ours} : who_is_at_work_for(r);
}

/// The ledger's word on a call comes before the snapshot's; of a child's calls the latest counts.
approvals::tool_needs approvals::needs_by(const snapshot& s) const {
    const auto says = [](std::string_view state) {
        return may_wait(state) ? need::waits : need::over;
    };
    tool_needs all;
    const auto& root = ledger_.sessions().root();
    for (const auto& m : ledger_.said().in_order())
        for (const auto& p : m->parts)
            if (p.what == part_record::kind::tool)
                all.emplace(call{root, p.tool.id}, says(p.tool.state));
    for (const auto& m : s.messages)
        for (const auto& p : m.parts)
            if (p.type == wire::part::tool)
                all.emplace(call{root, p.call_id}, m.info.finished() ? need::over : says(p.state));
    for (const auto& p : s.child_tools)
        if (p.session_id != root)
            all.insert_or_assign(call{p.session_id, p.call_id}, says(p.state));
    return all;
}

approvals::need approvals::need_of(const request& r, const tool_needs& tools) {
    if (call_of(r).empty())
        return need::waits;
    const auto found = tools.find(call{session_of(r), call_of(r)});
    return found == tools.end() ? need::unknown : found->second;
}

bool approvals::is_at_work(const request& r, const snapshot& s) const {
    if (session_of(r) == ledger_.sessions().root())
        return s.status.state != session_status::kind::idle;
    return s.is_at_work(session_of(r));
}

/// After an abort the server keeps listing a request: it is live only while its session is at work, and its
/// tool waits for a reply.
void approvals::merge(const snapshot& s, position begun) {
    std::vector<request> listed(s.permissions.begin(), s.permissions.end());
    listed.insert(listed.end(), s.questions.begin(), s.questions.end());
    if (listed.empty() && waiting_.empty())
        return;
    std::set<std::string_view> ids;
    for (const auto& r : listed)
        ids.insert(id_of(r));
    const auto tools = needs_by(s);
    withdraw_if([&](const waiting& w) {
        return w.at <= begun && (!ids.contains(id_of(w.request)) || !is_at_work(w.request, s) ||
                                 need_of(w.request, tools) == need::over);
    });
    for (const auto& r : listed)
        if (ledger_.sessions().owns(session_of(r)) && is_at_work(r, s) && need_of(r, tools) == need::waits &&
            (session_of(r) != ledger_.sessions().root() || ledger_.is_busy()))
            asked(r);
}

} // namespace holdfast::opencode::ledger
