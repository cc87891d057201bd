// turn_tracker, as far as it takes in the events of a stream.
#include <holdfast/opencode/ledger/turn_tracker.hpp>
#include <holdfast/opencode/ledger/weight.hpp>

#include <holdfast/opencode/wire.hpp>

#include <utility>

namespace holdfast::opencode::ledger {

namespace {

constexpr std::size_t max_held = 8192;

} // namespace

/// What the children tell is progress, and they may ask; the rest is their own.
struct turn_tracker::common_events {
    turn_tracker& self;

    template <class E>
    void operator()(const E&) const {
        self.progressed(self.input_.now);
    }
    void operator()(const other_event&) const {}
    void operator()(const session_idle& e) const { said(e.session_id, {}); }
    void operator()(const status_changed& e) const {
        if (said(e.session_id, e.status))
            self.progressed(self.input_.now);
    }
    void operator()(const session_deleted& e) const {
        self.progressed(self.input_.now);
        self.approvals_.withdraw_those_of_idle(e.session_id);
        self.ledger_.sessions().remove(e.session_id);
    }
    bool said(const std::string& session, const session_status& s) const {
        if (s.state == session_status::kind::idle)
            self.approvals_.withdraw_those_of_idle(session);
        return self.ledger_.sessions().say(session, s, self.ledger_.at());
    }
    void operator()(const permission_asked& e) const {
        self.progressed(self.input_.now);
        self.approvals_.asked(e.request);
    }
    void operator()(const question_asked& e) const {
        self.progressed(self.input_.now);
        self.approvals_.asked(e.request);
    }
    void operator()(const permission_replied& e) const {
        self.progressed(self.input_.now);
        self.approval_answered(e.request_id, e.reply, e.reply == wire::reply_reject);
    }
    void operator()(const question_answered& e) const {
        self.progressed(self.input_.now);
        self.approval_answered(e.request_id, e.rejected ? "rejected" : "answered", e.rejected);
    }
};

/// The root session's own.
struct turn_tracker::own_events {
    turn_tracker& self;
    session_ledger& ledger = self.ledger_;
    narrator& tell = self.narrator_;

    template <class E>
    void operator()(const E&) const {}

    /// Messages are looked at while there is a turn for which they may matter.
    [[nodiscard]] bool follows() const {
        return ledger.is_recorded() || ledger.follows() || !self.audience_.empty();
    }
    void progressed() const { self.progressed(self.input_.now); }

    void operator()(const session_deleted&) const { self.settle_deleted(); }
    void operator()(const status_changed& e) const {
        ledger.note_status(e.status);
        self.set_status(e.status);
        self.evaluate();
    }
    void operator()(const session_idle&) const {
        ledger.note_idle();
        if (!ledger.is_idle())
            self.set_status({});
        self.evaluate();
    }
    void operator()(const session_error& e) const {
        progressed();
        if (e.error.name == aborted_error)
            ledger.note_abort();
        else
            ledger.note_error(e.error, true);
        self.evaluate();
    }
    void operator()(const message_updated& e) const {
        if (!follows())
            return;
        progressed();
        // The server may report a settled prompt again. That is no news, and its place in the order is before
        // the prompts that came later.
        auto& m = ledger.was_settled(e.info.id) ? ledger.said().place(e.info.id, e.info.created_ms)
                                                : ledger.said().append(e.info.id);
        m.heard = ledger.at();
        ledger.merge_info(m, e.info, false);
        self.admit();
        if (const auto* t = m.info.assistant ? nullptr : ledger.find_turn(m.info.id))
            tell.flush(*t);
        tell.flush(m);
        self.evaluate();
    }
    void operator()(const message_removed& e) const {
        progressed();
        if (const auto* m = ledger.said().find(e.message_id);
            m && m->kind != message_record::user_kind::prompt)
            ledger.said().erase(e.message_id);
        self.evaluate();
    }
    void operator()(part_updated& e) const {
        if (!follows())
            return;
        progressed();
        if (!e.part.ended)
            ledger.note_work_on(e.part.message_id);
        auto& m = ledger.said().append(e.part.message_id);
        m.heard = ledger.at();
        if (auto* p = ledger.merge_part(m, e.part, true))
            tell.flush(m, *p);
        self.admit();
        if (e.part.type == wire::part::tool || !m.info.assistant)
            self.evaluate();
    }
    void operator()(part_delta& e) const {
        auto* m = ledger.said().find(e.message_id);
        if (!m && !follows())
            return;
        progressed();
        if (!m) {
            ledger.note_work_on(e.message_id);
            self.admit();
            m = &ledger.said().append(e.message_id);
        }
        m->heard = ledger.at();
        if (m->is_foreign())
            return;
        if (auto* p = ledger.merge_delta(*m, std::move(e)))
            tell.flush(*m, *p);
    }
    void operator()(const part_removed& e) const {
        progressed();
        if (auto* m = ledger.said().find(e.message_id))
            std::erase_if(m->parts, [&](const part_record& p) { return p.id == e.part_id; });
    }
    void operator()(const session_compacted&) const { progressed(); }
    void operator()(const permission_asked& e) const { common_events{self}(e); }
    void operator()(const question_asked& e) const { common_events{self}(e); }
    void operator()(const permission_replied& e) const { common_events{self}(e); }
    void operator()(const question_answered& e) const { common_events{self}(e); }
};

actions turn_tracker::hear(event e, time_point now) {
    input_.now = now;
    if (const auto* created = std::get_if<session_created>(&e))
        ledger_.sessions().meet(created->info);
    if (const auto* updated = std::get_if<session_updated>(&e))
        ledger_.sessions().meet(updated->info);
    if (judge_.awaits_repair())
        hold(e);
    else
        take(e);
    return done();
}

/// Keeps an event until the snapshot has told what came before it.
void turn_tracker::hold(event& e) {
    const auto session = session_of(e);
    const auto& root = ledger_.sessions().root();
    if (!session.empty() && !ledger_.sessions().owns(session))
        return;
    if (session == root && std::holds_alternative<session_deleted>(e))
        return take(e);
    ledger_.advance();
    // What decides about snapshots and about prompts that are never seen must not be lost with them.
    if (const auto* s = std::get_if<status_changed>(&e); s && session == root)
        ledger_.note_busy(s->status);
    if (const auto* error = std::get_if<session_error>(&e); error && error->error.name != aborted_error)
        ledger_.note_error(error->error, session == root);
    const auto weight = weight_of(e);
    const bool is_too_much = options_.held_bytes != 0 && held_bytes_ + weight > options_.held_bytes;
    if (held_.size() == max_held || (is_too_much && !held_.empty())) {
        drop_held();
        ledger_.overflow_held();
    }
    held_bytes_ += weight;
    held_.push_back(std::move(e));
    progressed(input_.now);
}

void turn_tracker::take_held() {
    held_bytes_ = 0;
    for (auto& e : std::exchange(held_, {}))
        take(e);
}

void turn_tracker::drop_held() {
    held_.clear();
    held_bytes_ = 0;
}

void turn_tracker::take(event& e) {
    dispatch(e);
    narrator_.bound_text();
}

void turn_tracker::dispatch(event& e) {
    ledger_.advance();
    input_.trigger = type_of(e);
    const auto session = session_of(e);
    if (session == ledger_.sessions().root()) {
        deadlines_.restart_all(input_.now);
        return std::visit(own_events{*this}, e);
    }
    if (!session.empty()) {
        if (ledger_.sessions().owns(session))
            std::visit(common_events{*this}, e);
        return;
    }
    // What carries no session id may be about any: it only makes us look, and an error may be why a prompt is
    // unknown.
    if (const auto* error = std::get_if<session_error>(&e))
        ledger_.note_error(error->error, false);
    else if (std::holds_alternative<instance_disposed>(e))
        ledger_.lose_status();
    else
        return;
    evaluate();
}

void turn_tracker::set_status(const session_status& s) {
    // That it is idle is no news of what nothing was known of: a turn may be quiet meanwhile.
    const bool is_news = ledger_.status().now || s.state != session_status::kind::idle;
    if (!ledger_.set_status(s))
        return;
    if (ledger_.is_idle())
        approvals_.withdraw_those_of_idle(ledger_.sessions().root());
    if (is_news)
        progressed(input_.now);
    narrator_.tell_retry();
}

void turn_tracker::approval_answered(std::string_view request, const std::string& reply, bool rejected) {
    const bool left_out = approvals_.answered(request, reply, rejected);
    unseen_ = unseen_ || (left_out && ledger_.stream().attached); // a snapshot tells the others
}

} // namespace holdfast::opencode::ledger
