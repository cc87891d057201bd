#include <holdfast/opencode/ledger/approvals.hpp>

#include <holdfast/opencode/turn_tracker.hpp>
#include <holdfast/opencode/wire.hpp>

#include <algorithm>
#include <utility>

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

bool approvals::is_waiting(std::string_view id) const {
    return std::any_of(waiting_.begin(), waiting_.end(),
                       [&](const waiting& w) { return id_of(w.request) == id; });
}

void approvals::asked(const request& r) {
    if (is_waiting(id_of(r)) || answered_.contains(id_of(r)))
        return;
    if (waiting_.size() >= max_) {
        left_out_ = true;
        return;
    }
    const auto* t = turn_of(session_of(r), call_of(r));
    if (!t)
        return;
    ledger_.note_news();
    waiting_.push_back({t->id, ledger_.at(), r});
    narrator_.tell(t->id, event_of(r, std::nullopt));
}

void approvals::reply(const waiting& w, const std::string& reply) {
    narrator_.tell(w.turn, event_of(w.request, reply));
}

bool approvals::answered(std::string_view id, const std::string& how, bool rejected) {
    const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                    [&](const waiting& w) { return id_of(w.request) == id; });
    if (found == waiting_.end())
        return false;
    const waiting w = std::move(*found);
    waiting_.erase(found);
    if (answered_.size() >= max_answered)
        answered_.clear();
    answered_.insert(std::string(id));
    reply(w, how);
    auto* t = ledger_.find_turn(w.turn);
    if (rejected && t && session_of(w.request) == ledger_.sessions().root())
        t->rejected_calls.insert(call_of(w.request));
    return std::exchange(left_out_, false);
}

void approvals::withdraw_those_of(const std::string& turn) {
    for (const auto& w : waiting_)
        if (w.turn == turn)
            reply(w, "withdrawn");
    std::erase_if(waiting_, [&](const waiting& w) { return w.turn == turn; });
}

void approvals::clear() {
    waiting_.clear();
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

/// After an abort the server lists a request for ever: one whose tool does not wait for it is none. A turn
/// that nobody listens to any more asks too; whoever waits behind it must know, as somebody has to reply.
bool approvals::is_live(const request& r, const snapshot& s) const {
    const auto& session = session_of(r);
    const auto& call = call_of(r);
    const auto& sessions = ledger_.sessions();
    if (!ledger_.is_busy() || !sessions.owns(session))
        return false;
    if (session == sessions.root() && call.empty())
        return true;
    const auto tool = find_tool(session, call);
    if (tool.part && may_wait(tool.part->tool.state) && ledger_.find_turn(tool.message->owner))
        return true;
    const auto child = session == sessions.root() ? std::string() : sessions.top_child(session);
    const auto waits = [&](const part& p) {
        const bool it = child.empty() ? !call.empty() && p.call_id == call : p.child_session == child;
        return it && p.type == wire::part::tool && may_wait(p.state);
    };
    return std::any_of(s.messages.begin(), s.messages.end(), [&](const message& m) {
        return m.info.assistant && !m.info.finished() && std::any_of(m.parts.begin(), m.parts.end(), waits);
    });
}

void approvals::merge(const snapshot& s, position begun) {
    std::vector<request> listed(s.permissions.begin(), s.permissions.end());
    listed.insert(listed.end(), s.questions.begin(), s.questions.end());
    std::set<std::string_view> ids;
    for (const auto& r : listed)
        ids.insert(id_of(r));
    const auto is_gone = [&](const waiting& w) {
        return w.at <= begun && !ids.contains(id_of(w.request));
    };
    for (const auto& w : waiting_)
        if (is_gone(w))
            reply(w, "withdrawn");
    std::erase_if(waiting_, is_gone);
    for (const auto& r : listed)
        if (is_live(r, s))
            asked(r);
}

} // namespace holdfast::opencode::ledger
