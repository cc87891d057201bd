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
    const auto* t = turn_of(session_of(r), call_of(r));
    if (!t)
        return;
    ledger_.note_news();
    waiting_.push_back({t->id, ledger_.at(), r});
    by_id_.emplace(id_of(r), std::prev(waiting_.end()));
    bytes_ += std::visit([](const auto& each) { return weight_of(each); }, r);
    narrator_.tell(t->id, event_of(r, std::nullopt));
}

approvals::waiting approvals::take(list::iterator w) {
    auto taken = std::move(*w);
    waiting_.erase(w);
    by_id_.erase(id_of(taken.request));
    bytes_ -= std::visit([](const auto& each) { return weight_of(each); }, taken.request);
    return taken;
}

void approvals::reply(const waiting& w, const std::string& reply) {
    narrator_.tell(w.turn, event_of(w.request, reply));
}

bool approvals::answered(std::string_view id, const std::string& how, bool rejected) {
    const auto found = by_id_.find(id);
    if (found == by_id_.end())
        return false;
    const auto w = take(found->second);
    if (answered_.size() >= max_answered)
        answered_.clear();
    answered_.insert(std::string(id));
    reply(w, how);
    auto* t = ledger_.find_turn(w.turn);
    if (rejected && t && session_of(w.request) == ledger_.sessions().root())
        t->rejected_calls.insert(call_of(w.request));
    return std::exchange(left_out_, false);
}

template <class Which>
void approvals::withdraw_if(Which which) {
    for (auto w = waiting_.begin(); w != waiting_.end();) {
        const auto each = w++;
        if (which(*each))
            reply(take(each), "withdrawn");
    }
}

void approvals::withdraw_those_of(const std::string& turn) {
    withdraw_if([&](const waiting& w) { return w.turn == turn; });
}

void approvals::clear() {
    waiting_.clear();
    by_id_.clear();
    bytes_ = 0;
    answered_.clear();
    left_out_ = false;
}

void approvals::tell_again(actions& into) const {
    for (const auto& w : waiting_)
        if (audience_.has(w.turn))
            into.push_back(deliver{w.turn, event_of(w.request, std::nullopt)});
}

/// The tool that waits for a reply; for a child's request, the one that started the child.
approvals::asking_tool approvals::find_tool(std::string_view session, std::string_view call) const {
    const bool own = session == ledger_.sessions().root();
    const auto child = own ? std::string() : ledger_.sessions().top_child(session);
    for (const auto& m : ledger_.said().in_order())
        for (const auto& p : m->parts)
            if (p.what == part_record::kind::tool &&
                (child.empty() ? !call.empty() && p.tool.id == call : p.child_session == child))
                return {m.get(), &p};
    return {};
}

const turn_facts* approvals::turn_of(std::string_view session, std::string_view call) const {
    if (const auto tool = find_tool(session, call); tool.part && audience_.has(tool.message->owner))
        return ledger_.find_turn(tool.message->owner);
    return narrator_.at_work();
}

/// After an abort the server keeps listing a request: it is live only while its tool waits for a reply. This
/// includes tools of turns that nobody listens to any more: the turns behind them wait for that reply.
approvals::asking_tools approvals::tools_that_ask(const snapshot& s) const {
    asking_tools all;
    std::set<std::string_view> calls;
    std::set<std::string_view> children;
    for (const auto& m : ledger_.said().in_order()) {
        const bool is_of_turn = ledger_.find_turn(m->owner) != nullptr;
        for (const auto& p : m->parts) {
            if (p.what != part_record::kind::tool)
                continue;
            const bool waits = is_of_turn && may_wait(p.tool.state);
            // Of several with one name, the first counts.
            if (calls.insert(p.tool.id).second && waits)
                all.calls.insert(p.tool.id);
            if (children.insert(p.child_session).second && waits)
                all.children.insert(p.child_session);
        }
    }
    for (const auto& m : s.messages) {
        if (!m.info.assistant || m.info.finished())
            continue;
        for (const auto& p : m.parts) {
            if (p.type != wire::part::tool || !may_wait(p.state))
                continue;
            all.calls.insert(p.call_id);
            all.children.insert(p.child_session);
        }
    }
    all.calls.erase(std::string_view());
    all.children.erase(std::string_view());
    return all;
}

void approvals::merge(const snapshot& s, position begun) {
    std::vector<request> listed(s.permissions.begin(), s.permissions.end());
    listed.insert(listed.end(), s.questions.begin(), s.questions.end());
    std::set<std::string_view> ids;
    for (const auto& r : listed)
        ids.insert(id_of(r));
    withdraw_if([&](const waiting& w) { return w.at <= begun && !ids.contains(id_of(w.request)); });
    if (listed.empty() || !ledger_.is_busy())
        return;
    const auto& sessions = ledger_.sessions();
    const auto asking = tools_that_ask(s);
    const auto is_live = [&](const request& r) {
        if (session_of(r) == sessions.root())
            return call_of(r).empty() || asking.calls.contains(call_of(r));
        return sessions.owns(session_of(r)) && asking.children.contains(sessions.top_child(session_of(r)));
    };
    for (const auto& r : listed)
        if (is_live(r))
            asked(r);
}

} // namespace holdfast::opencode::ledger
