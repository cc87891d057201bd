// session_core, as far as it sees to approvals.
#include <holdfast/opencode/session_core.hpp>

#include <utility>
#include <variant>

namespace holdfast::opencode::detail {

// By its owner, who must not answer otherwise than a rule.
net::awaitable<result<void>> session_core::reply_permission(std::string id, std::string reply) {
    return reply_of_owner(shared_from_this(), std::move(id), std::move(reply));
}

net::awaitable<result<void>> session_core::reply_of_owner(std::shared_ptr<session_core> self, std::string id,
                                                          std::string reply) {
    const auto* found = self->asks_.find(id);
    if (found && found->by_rule && !self->is_stopped())
        co_return retry::make_failure(errc::decided, found->answer);
    co_return co_await self->protocol_->reply_permission(std::move(id), std::move(reply));
}

net::awaitable<result<void>> session_core::reply_question(std::string id,
                                                          std::vector<std::vector<std::string>> answers) {
    return protocol_->reply_question(std::move(id), std::move(answers));
}

net::awaitable<result<void>> session_core::reject_question(std::string id) {
    return protocol_->reject_question(std::move(id));
}

// What no turn waits for. Only its stream tells of it.
net::awaitable<std::optional<approval_event>> session_core::next_approval() {
    const auto self = shared_from_this();
    if (is_stopped())
        approvals_.close();
    else if (!live_ && !gave_up_)
        server_->follow(info_.directory, self);
    co_return co_await approvals_.take();
}

// Keeps an approval until it is answered or its turn has settled. One that a rule decides is delivered as
// decided, so that its owner has no time to give another reply. Rules and timeouts do not decide for other
// people's prompts, unless the session is followed.
bool session_core::note_ask(ledger::deliver& out) {
    waiting_ask waits;
    waits.message = out.message;
    waits.answer = to_string(ask_answer::reject);
    if (may_act_on(out.ours))
        waits.due = overdue_at();
    if (const auto* ask = std::get_if<question_event>(&out.event)) {
        if (ask->reply)
            return note_answer(ask->request.id, *ask->reply);
        waits.question = true;
        note_waiting(ask->request.id, std::move(waits));
    } else if (const auto* ask = std::get_if<permission_event>(&out.event)) {
        if (ask->reply)
            return note_answer(ask->request.id, *ask->reply);
        const auto depth = protocol_->depth_of(ask->request.session_id);
        const auto by_rule = depth && may_act_on(out.ours)
                                 ? answer_by(config().ask_rules, ask->request, *depth)
                                 : ask_answer::ask;
        waits.by_rule = by_rule != ask_answer::ask;
        waits.answer = waits.by_rule ? std::string(to_string(by_rule)) : config().ask_default;
        if (waits.by_rule) {
            waits.request = ask->request;
            waits.due = world().now();
        }
        note_waiting(ask->request.id, std::move(waits));
        mark_decided(out.event);
    }
    return true;
}

time_point session_core::overdue_at() const {
    const auto patience = config().ask_timeout;
    return patience > duration::zero() ? later(world().now(), patience) : time_point::max();
}

void session_core::note_waiting(const std::string& id, waiting_ask waits) {
    changed_.notify_all();
    if (!asks_.put(id, std::move(waits)))
        return;
    world().count(metric::asks);
    world().count(metric::asks_waiting);
}

// A decision that became true has been delivered already; so has one that the server accepted, of which a
// snapshot only shows that it waits no longer.
bool session_core::note_answer(const std::string& id, const std::string& reply) {
    changed_.notify_all();
    const auto was = asks_.take(id);
    if (!was)
        return true;
    world().uncount(metric::asks_waiting);
    return !was->by_rule || (reply != was->answer && !(was->answered && reply == "withdrawn"));
}

void session_core::mark_decided(agent_event& event) const {
    auto* ask = std::get_if<permission_event>(&event);
    const auto* found = ask && !ask->reply ? asks_.find(ask->request.id) : nullptr;
    if (!found || !found->by_rule)
        return;
    ask->reply = found->answer;
    ask->by_rule = true;
}

// The server refuses what the rule says: it is the owner's after all.
void session_core::leave_to_owner(const std::string& id) {
    auto waits = *asks_.find(id);
    permission_event again;
    again.request = waits.request;
    waits.by_rule = false;
    waits.answer = config().ask_default;
    waits.due = overdue_at();
    ledger::deliver out{waits.message, std::move(again)};
    note_waiting(id, std::move(waits));
    deliver(std::move(out));
}

net::awaitable<void> session_core::answer_overdue_asks() {
    const auto self = shared_from_this();
    while (asks_.next_due() <= world().now()) {
        const auto id = asks_.first_due();
        const auto ask = *asks_.find(id);
        auto record = make_record(ask.by_rule ? log_level::info : log_level::warn);
        record.event = ask.by_rule ? "session.ask_answered" : "session.ask_timed_out";
        record.action = ask.answer;
        world().log(record);
        world().count(ask.by_rule ? metric::asks_answered_by_rule : metric::asks_timed_out);
        auto answering =
            ask.question ? protocol_->reject_question(id) : protocol_->reply_permission(id, ask.answer);
        const auto done = co_await std::move(answering);
        if (!asks_.find(id))
            continue;
        asks_.answered(id, done.has_value());
        const bool was_told = done || done.error().code == errc::not_found; // the server tells the rest
        if (!was_told && !retry::is_final(done.error()))
            asks_.due(id, later(world().now(), snapshot_pause));
        else if (!was_told && ask.by_rule)
            leave_to_owner(id);
        else
            asks_.due(id, time_point::max());
    }
}

} // namespace holdfast::opencode::detail
