#include <holdfast/opencode/protocol/v2/turn_tracker.hpp>

#include <holdfast/opencode/protocol/v2/wire.hpp>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

namespace holdfast::opencode::v2 {

using ledger::actions;

namespace {

std::string_view name_of(session_status::kind k) {
    return k == session_status::kind::idle ? "idle" : k == session_status::kind::busy ? "busy" : "retry";
}

} // namespace

turn_tracker::turn_tracker(std::string session, tracker_options options)
    : ledger_(std::move(session)), options_(options),
      judge_(ledger_, options.grace, options.can_cancel_queued) {}

// --- what the owner does

actions turn_tracker::open(const std::string& prompt) {
    ledger_.advance();
    asked_.emplace(prompt, ledger_.at());
    take_up(ledger_.input(prompt));
    return std::exchange(out_, {});
}

actions turn_tracker::adopt(const std::string& prompt, time_point now) {
    ledger_.advance();
    asked_.emplace(prompt, ledger_.at());
    auto& p = ledger_.input(prompt);
    p.posted = ledger_.at();
    p.settled = 0; // what was nobody's, or was told to others, is told once more
    take_up(p);
    progress_ = now;
    must_look_ = true;
    return done(now);
}

actions turn_tracker::follow(time_point now) {
    ledger_.advance();
    if (std::exchange(follows_, true))
        return done(now);
    unseen_ = must_look_ = true;
    return done(now);
}

actions turn_tracker::posted(const std::string& prompt, time_point now) {
    ledger_.advance();
    ledger_.input(prompt).posted = ledger_.at();
    progress_ = now;
    // The interrupt may have come before it.
    const auto opened = asked_.find(prompt);
    if (opened != asked_.end() && ledger_.interrupt_asked() > opened->second) {
        ledger_.advance();
        ledger_.note_interrupt_asked();
        out_.push_back(ledger::abort_again{});
    }
    return done(now);
}

actions turn_tracker::close(const std::string& prompt, settlement how) {
    ledger_.advance();
    auto& p = ledger_.input(prompt);
    if (p.heard_of && p.settled == 0)
        deliver(p, std::move(how));
    return std::exchange(out_, {});
}

actions turn_tracker::abort_requested() {
    ledger_.advance();
    ledger_.note_interrupt_asked();
    return std::exchange(out_, {});
}

actions turn_tracker::abort_accepted(time_point now) {
    ledger_.advance();
    ledger_.note_interrupt_accepted();
    look_at_ = later(now, options_.grace.terminal);
    return done(now);
}

actions turn_tracker::taken_back(const std::string& prompt, time_point now) {
    ledger_.advance();
    if (auto& p = ledger_.input(prompt); p.promoted == 0)
        p.cancelled = ledger_.at();
    return done(now);
}

std::vector<std::string> turn_tracker::to_cancel() const {
    std::vector<std::string> all;
    for (const auto& p : ledger_.inputs())
        if (p.heard_of && p.settled == 0 && p.promoted == 0 && p.posted != 0 &&
            p.posted < ledger_.interrupt_asked())
            all.push_back(p.id);
    return all;
}

// --- what the stream does

actions turn_tracker::attached(time_point now) {
    ledger_.advance();
    ledger_.attach(now);
    holds_ = ledger_.broken() != 0 && (has_open_turns() || follows_);
    held_.clear();
    return done(now);
}

actions turn_tracker::interrupted(const retry::failure& why, unsigned next_attempt, duration retry_in,
                                  time_point now) {
    break_off(why, now);
    tell_all(interrupted_event{why, next_attempt, retry_in});
    return done(now);
}

actions turn_tracker::broken_off(const retry::failure& why, time_point now) {
    break_off(why, now);
    return done(now);
}

void turn_tracker::break_off(const retry::failure& why, time_point now) {
    ledger_.advance();
    if (ledger_.is_attached() || ledger_.broken() == 0) {
        broken_at_ = now;
        broken_by_ = why.cls;
    }
    ledger_.break_off();
    held_.clear();
    holds_ = false;
}

actions turn_tracker::hear(event e, time_point now) {
    ledger_.advance();
    progress_ = now;
    if (!holds_) {
        take(e);
        return done(now);
    }
    if (held_.size() < options_.max_held) {
        held_.push_back(std::move(e));
        return done(now);
    }
    // As though the stream had broken once more: what was held is in the next snapshot.
    ledger_.break_off();
    ledger_.advance();
    ledger_.attach(now);
    held_.clear();
    return done(now);
}

actions turn_tracker::snapshot_failed(time_point now) {
    ledger_.advance();
    tell_quiet("unreachable", now);
    look_at_.reset();
    return done(now);
}

actions turn_tracker::tick(time_point now) {
    ledger_.advance();
    return done(now);
}

// --- events

/// Takes the facts of the session itself.
struct turn_tracker::taker {
    turn_tracker& to;
    const event& e;

    void operator()(const other&) const {}
    void operator()(const greeting&) const {}
    void operator()(const session_created&) const {}
    void operator()(const session_deleted&) const { to.delete_all(); }
    void operator()(const session_renamed&) const {}
    void operator()(const input_admitted& f) const {
        to.ledger_.admit(f);
        if (to.options_.adopt_prompts && f.kind == input_kind::prompt)
            to.take_up(to.ledger_.input(f.id));
    }
    void operator()(const input_promoted& f) const {
        to.ledger_.promote(f.id);
        auto& p = to.ledger_.input(f.id);
        if (to.options_.adopt_prompts && p.kind == input_kind::prompt)
            to.take_up(p);
        if (to.follows_ && p.kind == input_kind::prompt)
            to.take_up_of_others(p);
    }
    void operator()(const input_cancelled& f) const { to.ledger_.input(f.id).cancelled = to.ledger_.at(); }
    void operator()(const execution_started&) const {
        to.note_status(session_status::kind::busy);
        to.ledger_.start_execution();
    }
    void operator()(const execution_ended& f) const {
        to.note_status(session_status::kind::idle);
        to.withdraw(e.session);
        to.ledger_.end_execution(f);
    }
    void operator()(const step_started& f) const {
        to.note_status(session_status::kind::busy);
        to.ledger_.step(f.message).began = to.ledger_.at();
    }
    void operator()(const step_ended& f) const {
        auto& s = to.ledger_.step(f.message);
        s.closed = to.ledger_.at();
        s.finish = f.finish;
        to.tell_usage(s, f.tokens, f.cost);
    }
    void operator()(const step_failed& f) const {
        auto& s = to.ledger_.step(f.message);
        s.closed = to.ledger_.at();
        s.error = f.error;
    }
    void operator()(const retry_scheduled& f) const {
        to.ledger_.step(f.message).retrying = to.ledger_.at();
        to.note_status(session_status::kind::retry);
        to.status_->attempt = f.attempt;
        to.status_->message = f.why;
        to.status_->next_ms = f.at_ms;
        to.tell(to.owner_of(f.message), retry_event{f.attempt, f.why, f.at_ms});
    }
    void operator()(const part_started& f) const { begin_part(part(f.part), to.ledger_.at()); }
    void operator()(const part_delta& f) const { to.tell_part(f.part, take_delta(part(f.part), f.delta)); }
    void operator()(const part_ended& f) const {
        to.tell_part(f.part, take_whole(part(f.part), f.text, to.ledger_.at()));
    }
    void operator()(const tool_changed& f) const {
        if (f.error == wire::permission_declined || f.error == wire::form_dismissed)
            to.ledger_.step(f.message).declined = to.ledger_.at();
        to.tell_tool(f);
    }
    void operator()(const compaction_failed&) const { to.ledger_.note_compaction_failed(); }
    void operator()(const permission_asked&) const { to.take_approval(e); }
    void operator()(const permission_replied& f) const {
        if (f.reply == wire::reject)
            to.ledger_.note_rejection();
        to.take_approval(e);
    }
    void operator()(const form_created&) const { to.take_approval(e); }
    void operator()(const form_answered& f) const {
        if (f.cancelled)
            to.ledger_.note_rejection();
        to.take_approval(e);
    }

private:
    [[nodiscard]] part_facts& part(const part_key& key) const {
        return to.ledger_.step(key.message).parts[{key.kind, key.ordinal}];
    }
    friend class turn_tracker;
    taker(turn_tracker& t, const event& heard) : to(t), e(heard) {}
};

void turn_tracker::take(const event& e) {
    trigger_ = e.type;
    if (e.session != ledger_.session())
        return take_child(e);
    if (e.seq && seq_ && *e.seq <= *seq_)
        return; // had before
    if (e.seq)
        seq_ = e.seq;
    ledger_.note_work();
    ledger_.date(e.created_ms);
    std::visit(taker(*this, e), e.what);
    ledger_.date(0);
}

// A child's terminal, or a rejection of its, is not the parent's.
void turn_tracker::take_child(const event& e) {
    if (const auto* made = std::get_if<session_created>(&e.what);
        made && owns(made->parent) && parents_.size() < options_.max_children) {
        parents_.emplace(e.session, made->parent);
        if (!asked_.empty() || our_children_.contains(made->parent))
            our_children_.insert(e.session);
    }
    if (!owns(e.session))
        return;
    if (std::holds_alternative<execution_started>(e.what))
        children_at_work_.insert(e.session);
    if (std::holds_alternative<execution_ended>(e.what) || std::holds_alternative<session_deleted>(e.what)) {
        children_at_work_.erase(e.session);
        withdraw(e.session);
    }
    take_approval(e);
}

// Of whatever session it is.
void turn_tracker::take_approval(const event& e) {
    if (const auto* asked = std::get_if<permission_asked>(&e.what))
        ask_for({asked->request, e.session, ledger_.at()});
    if (const auto* asked = std::get_if<form_created>(&e.what))
        ask_for({asked->form.request, e.session, ledger_.at()});
    if (const auto* replied = std::get_if<permission_replied>(&e.what))
        answer(replied->request, replied->reply);
    if (const auto* replied = std::get_if<form_answered>(&e.what))
        answer(replied->request, replied->cancelled ? "rejected" : "answered");
}

void turn_tracker::tell_part(const part_key& key, const told& t) {
    const auto turn = owner_of(key.message);
    if (t.lost)
        tell(turn, gap_event{broken_by_, {}, true});
    if (t.delta.empty())
        return;
    if (key.kind == part_kind::text)
        tell(turn, text_event{to_string(key), t.delta});
    else
        tell(turn, reasoning_event{to_string(key), t.delta});
}

void turn_tracker::tell_tool(const tool_changed& e) {
    auto& tool = ledger_.step(e.message).tools[e.id];
    if (!e.name.empty())
        tool.name = e.name;
    if (std::exchange(tool.state, e.state) != e.state)
        tell(owner_of(e.message), tool_event{e.id, tool.name, e.state, {}});
}

void turn_tracker::tell_usage(step_facts& s, const token_usage& tokens, double cost) {
    if (!std::exchange(s.usage_told, true))
        tell(owner_of(s.message), usage_event{s.message, tokens, cost});
}

// --- approvals

void turn_tracker::tell_ask(const ask& a, std::optional<std::string> reply) {
    agent_event told;
    if (const auto* permission = std::get_if<permission_request>(&a.request))
        told = permission_event{*permission, std::move(reply), false};
    else
        told = question_event{std::get<question_request>(a.request), std::move(reply)};
    if (is_open(a.turn))
        return tell(a.turn, std::move(told));
    if (options_.tell_strays)
        out_.push_back(ledger::deliver{{}, std::move(told), our_children_.contains(a.session)});
}

/// A child works on in the background: the session's holder answers it.
void turn_tracker::tell_asks_left_by(const std::string& turn) {
    for (auto& [id, a] : asks_)
        if (!turn.empty() && a.turn == turn) {
            a.turn.clear();
            tell_ask(a, std::nullopt);
        }
}

void turn_tracker::ask_for(ask a) {
    const auto id = std::visit([](const auto& r) { return r.id; }, a.request);
    if (asks_.size() >= options_.max_asks || asks_.contains(id))
        return;
    a.turn = at_work();
    tell_ask(a, std::nullopt);
    asks_.emplace(id, std::move(a));
}

void turn_tracker::answer(std::string_view request, const std::string& reply) {
    const auto found = asks_.find(request);
    if (found == asks_.end())
        return;
    const auto asked = std::move(found->second);
    asks_.erase(found);
    tell_ask(asked, reply);
}

// An open permission of an interrupted session is gone without a word.
void turn_tracker::withdraw(std::string_view session) {
    std::vector<std::string> gone;
    for (const auto& [id, a] : asks_)
        if (a.session == session)
            gone.push_back(id);
    for (const auto& id : gone)
        answer(id, "withdrawn");
}

void turn_tracker::merge_asks(const snapshot& s, position begun) {
    std::set<std::string_view> listed;
    for (const auto& r : s.permissions)
        listed.insert(r.id);
    for (const auto& f : s.forms)
        listed.insert(f.request.id);
    std::vector<std::string> gone;
    for (const auto& [id, a] : asks_)
        if (a.known <= begun && !listed.contains(id))
            gone.push_back(id);
    for (const auto& id : gone)
        answer(id, "withdrawn");
    for (const auto& r : s.permissions)
        ask_for({r, r.session_id, ledger_.at()});
    for (const auto& f : s.forms)
        ask_for({f.request, f.request.session_id, ledger_.at()});
}

// --- snapshots

actions turn_tracker::merge(const snapshot& s, position begun, time_point begun_at, time_point now) {
    ledger_.advance();
    trigger_ = "snapshot";
    if (begun < ledger_.known_since())
        return done(now); // the stream broke, or began, meanwhile
    if (!s.session_known) {
        delete_all();
        return done(now);
    }
    for (const auto& child : s.children)
        if (parents_.size() < options_.max_children)
            parents_.emplace(child.id, child.parent_id);
    must_look_ = false;
    look_at_.reset();
    ledger_.merge(s, begun, begun_at);
    merge_status(s, begun);
    if (follows_)
        take_up_found(now);
    tell_quiet(name_of(status_->state), now);
    if (holds_)
        tell_all(gap_event{broken_by_, now - broken_at_, false});
    tell_rows(s);
    merge_asks(s, begun);
    if (std::exchange(holds_, false))
        for (const auto& e : std::exchange(held_, {}))
            take(e);
    return done(now);
}

void turn_tracker::note_status(session_status::kind now) {
    status_.emplace();
    status_->state = now;
    status_at_ = ledger_.at();
}

void turn_tracker::merge_status(const snapshot& s, position begun) {
    children_at_work_.clear();
    for (const auto& child : s.active_children)
        if (owns(child))
            children_at_work_.insert(child);
    if (status_at_ > begun)
        return;
    const bool was_busy = status_ && status_->state != session_status::kind::idle;
    if (!s.active)
        note_status(session_status::kind::idle);
    else if (!was_busy) // a retry wait stays one
        note_status(session_status::kind::busy);
}

// What was over when the following began is history; what is found later is a turn.
void turn_tracker::take_up_found(time_point now) {
    const bool first = std::exchange(unseen_, false);
    for (auto& p : ledger_.inputs()) {
        if (p.kind != input_kind::prompt || p.promoted == 0 || known_.contains(p.id))
            continue;
        if (first && was_over(p, now))
            remember(p.id);
        else
            take_up_of_others(p);
    }
}

bool turn_tracker::was_over(const input_facts& p, time_point now) const {
    const auto* by = &p;
    auto j = judge_.decide(p, now);
    while (j.what == judgement::kind::joined) {
        by = ledger_.find_input(j.into);
        j = judge_.decide(*by, now);
    }
    return j.what == judgement::kind::ends || !ledger_.last_snapshot().active;
}

void turn_tracker::tell_rows(const snapshot& s) {
    for (const auto& row : s.rows)
        if (row.what == message_row::kind::answer)
            tell_row(row);
}

// The text of a part is empty there until it ended; in a message that is over it is what is left of it.
void turn_tracker::tell_row(const message_row& row) {
    auto& step = ledger_.step(row.id);
    for (const auto& part : row.parts) {
        if (part.what == message_part::kind::tool) {
            tell_tool({row.id, part.id, part.name, part.state, part.error});
            continue;
        }
        const auto kind = part.what == message_part::kind::text ? part_kind::text : part_kind::reasoning;
        const part_key key{row.id, kind, part.ordinal};
        if (step.closed != 0 || !part.text.empty())
            tell_part(key, take_whole(step.parts[{kind, part.ordinal}], part.text, ledger_.at()));
    }
    if (!row.finish.empty() && !row.error)
        tell_usage(step, row.tokens, row.cost);
}

// --- turns

bool turn_tracker::has_open_turns() const {
    const auto& all = ledger_.inputs();
    return std::any_of(all.begin(), all.end(), [](const auto& p) { return p.heard_of && p.settled == 0; });
}

bool turn_tracker::owns(std::string_view session) const {
    return session == ledger_.session() || parents_.contains(session);
}

void turn_tracker::take_up(input_facts& p) {
    remember(p.id);
    if (std::exchange(p.heard_of, true))
        return;
    out_.push_back(ledger::opened{p.id});
}

void turn_tracker::take_up_of_others(input_facts& p) {
    if (p.heard_of || p.settled != 0)
        return;
    others_.insert(p.id);
    take_up(p);
}

void turn_tracker::remember(const std::string& prompt) {
    constexpr std::size_t most = 4096;
    if (!known_.insert(prompt).second)
        return;
    known_in_order_.push_back(prompt);
    if (known_in_order_.size() > most) {
        known_.erase(known_in_order_.front());
        known_in_order_.pop_front();
    }
}

std::vector<std::string> turn_tracker::children() const {
    std::vector<std::string> all;
    for (const auto& [child, parent] : parents_)
        all.push_back(child);
    return all;
}

std::size_t turn_tracker::background() const {
    const bool is_busy = status_ && status_->state != session_status::kind::idle;
    return is_busy ? 0 : children_at_work_.size();
}

std::size_t turn_tracker::waiting() const {
    const auto& all = ledger_.inputs();
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](const input_facts& p) {
        const bool is_over = p.cancelled != 0 || p.settled != 0 || p.missing > p.admitted;
        return p.kind == input_kind::prompt && p.admitted != 0 && p.promoted == 0 && !is_over;
    }));
}

std::optional<unsigned> turn_tracker::depth_of(std::string_view session) const {
    unsigned depth = 0;
    for (; session != ledger_.session(); ++depth) {
        const auto above = parents_.find(std::string(session));
        if (above == parents_.end() || depth > parents_.size())
            return std::nullopt;
        session = above->second;
    }
    return depth;
}

std::vector<ledger::deliver> turn_tracker::told_so_far() const {
    std::vector<ledger::deliver> all;
    for (const auto& each : ledger_.conversation()) {
        if (each.what != entry::kind::step || !is_open(owner_of(each.id)))
            continue;
        const auto turn = owner_of(each.id);
        const bool ours = !others_.contains(turn);
        const auto& step = *ledger_.find_step(each.id);
        for (const auto& [key, part] : step.parts) {
            const auto name = to_string(part_key{each.id, key.first, key.second});
            if (!part.said.empty() && key.first == part_kind::text)
                all.push_back({turn, text_event{name, part.said}, ours});
            if (!part.said.empty() && key.first == part_kind::reasoning)
                all.push_back({turn, reasoning_event{name, part.said}, ours});
        }
        for (const auto& [id, tool] : step.tools)
            all.push_back({turn, tool_event{id, tool.name, tool.state, {}}, ours});
    }
    for (const auto& [id, a] : asks_) {
        if (const auto* permission = std::get_if<permission_request>(&a.request))
            all.push_back({a.turn, permission_event{*permission, {}, false}, !others_.contains(a.turn)});
        else
            all.push_back({a.turn, question_event{std::get<question_request>(a.request), {}},
                           !others_.contains(a.turn)});
    }
    return all;
}

/// While somebody waits on a stream that is had.
std::optional<time_point> turn_tracker::quiet_at() const {
    if (options_.quiet_after <= duration::zero() || !ledger_.is_attached() || !has_open_turns())
        return std::nullopt;
    return later(std::max(progress_, quiet_told_), options_.quiet_after);
}

void turn_tracker::tell_quiet(std::string_view status, time_point now) {
    const auto due = quiet_at();
    if (!due || *due > now)
        return;
    quiet_told_ = now;
    tell_all(quiet_event{now - progress_, std::string(status)});
}

std::string turn_tracker::owner_of(std::string_view message) const {
    const auto* const by = ledger_.owner_of(message);
    return by ? by->id : std::string();
}

/// The prompt promoted last of those that are open; before any is, the first.
std::string turn_tracker::at_work() const {
    const input_facts* last = nullptr;
    for (const auto& p : ledger_.inputs())
        if (p.heard_of && p.settled == 0 && (!last || p.promoted > last->promoted))
            last = &p;
    return last ? last->id : std::string();
}

void turn_tracker::tell(const std::string& turn, agent_event e) {
    if (!is_open(turn))
        return;
    if (const auto* usage = std::get_if<usage_event>(&e))
        used_[turn].add(*usage);
    out_.push_back(ledger::deliver{turn, std::move(e), !others_.contains(turn)});
}

void turn_tracker::tell_all(const agent_event& e) {
    for (const auto& p : ledger_.inputs())
        tell(p.id, e);
}

void turn_tracker::evaluate(time_point now) {
    wants_.reset();
    while (evaluate_once(now))
        continue;
    ledger_.forget_settled();
}

// What ends together with a prompt that nobody listens to, or that was settled before, is decided by that
// one.
bool turn_tracker::evaluate_once(time_point now) {
    wants_.reset();
    for (auto& p : ledger_.inputs()) {
        if (!p.heard_of || p.settled != 0)
            continue;
        const input_facts* by = &p;
        auto j = judge_.decide(p, now);
        while (j.what == judgement::kind::joined && !is_open(j.into)) {
            by = ledger_.find_input(j.into);
            j = judge_.decide(*by, now);
        }
        if (j.what == judgement::kind::ends) {
            settle(p, j, *by);
            return true;
        }
        if (j.what == judgement::kind::wait)
            wants_ = std::min(j.until, wants_.value_or(j.until));
        if (j.what == judgement::kind::parked &&
            std::exchange(parked_[p.id], ledger_.stopped()) != ledger_.stopped())
            tell(p.id, quiet_event{{}, "parked"});
    }
    return false;
}

bool turn_tracker::is_open(std::string_view prompt) const {
    const auto* const p = ledger_.find_input(prompt);
    return p && p->heard_of && p->settled == 0;
}

settlement turn_tracker::make_settlement(const input_facts& p, const judgement& j) const {
    settlement s;
    s.outcome = j.outcome;
    s.rule = j.why;
    s.event = trigger_;
    s.safe_to_reprompt = j.safe;
    if (j.error)
        s.error = settlement_error{"server", j.error->name, j.error->message, j.error->status};
    if (p.promoted != 0)
        if (const auto work = ledger_.work_of(p); work.last)
            s.text = text_of(*work.last);
    return s;
}

void turn_tracker::settle(input_facts& p, const judgement& j, const input_facts& by) {
    if (by.promoted != 0)
        if (const auto work = ledger_.work_of(by); work.last && has_lost_text(*work.last))
            tell(p.id, gap_event{broken_by_, {}, true});
    const auto end = make_settlement(by, j);
    auto how = end;
    if (&by != &p) {
        how.rule = rule::merged;
        how.merged_into = by.id;
    }
    deliver(p, how);
    settle_joined(p.id, end);
}

// Answered together: by the same step.
void turn_tracker::settle_joined(const std::string& into, const settlement& end) {
    for (auto& p : ledger_.inputs()) {
        if (!p.heard_of || p.settled != 0 || p.promoted == 0)
            continue;
        const auto* const next = ledger_.work_of(p).next;
        if (!next || next->id != into)
            continue;
        auto how = end;
        how.rule = rule::merged;
        how.merged_into = into;
        deliver(p, how);
        settle_joined(p.id, end);
    }
}

void turn_tracker::deliver(input_facts& p, settlement s) {
    if (const auto used = used_.extract(p.id))
        s.usage = used.mapped();
    tell(p.id, std::move(s));
    p.settled = ledger_.at();
    parked_.erase(p.id);
    asked_.erase(p.id);
    others_.erase(p.id);
    tell_asks_left_by(p.id);
}

void turn_tracker::delete_all() {
    for (auto& p : ledger_.inputs()) {
        if (!p.heard_of || p.settled != 0)
            continue;
        judgement j;
        j.outcome = outcome::lost;
        j.why = rule::session_deleted;
        deliver(p, make_settlement(p, j));
    }
}

actions turn_tracker::done(time_point now) {
    evaluate(now);
    schedule(now);
    return std::exchange(out_, {});
}

void turn_tracker::schedule(time_point now) {
    const auto want_by = [this](time_point when) {
        wants_ = std::min(when, wants_.value_or(when));
    };
    if (holds_ || must_look_)
        want_by(now);
    if (look_at_ && has_open_turns())
        want_by(*look_at_);
    if (const auto due = quiet_at())
        want_by(*due);
    if (!wants_)
        return;
    if (*wants_ <= now)
        out_.push_back(ledger::fetch_snapshot{});
    else
        out_.push_back(ledger::wake_at{*wants_});
}

std::vector<turn_tracker::pending_check> turn_tracker::unsettled(time_point now) const {
    std::vector<pending_check> all;
    for (const auto& p : ledger_.inputs())
        if (p.heard_of && p.settled == 0) {
            const auto j = judge_.decide(p, now);
            all.push_back({p.id, j.what == judgement::kind::parked ? "it waits in the inbox, and nothing runs"
                                 : p.promoted == 0                 ? "it waits in the inbox"
                                                                   : "its execution did not end"});
        }
    return all;
}

} // namespace holdfast::opencode::v2
