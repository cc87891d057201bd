#include <holdfast/opencode/ledger/turn_tracker.hpp>

#include <holdfast/opencode/wire.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::opencode::ledger {

namespace {

settlement_error from_server(const api_error& e) {
    return {"server", e.name, e.message, e.status};
}

std::string_view name_of(session_status::kind k) {
    switch (k) {
    case session_status::kind::busy: return wire::status::busy;
    case session_status::kind::retry: return wire::status::retry;
    case session_status::kind::idle: break;
    }
    return wire::status::idle;
}

/// The server did not answer when it was asked for a stream. A stall alone says nothing of that: an idle
/// stream may be silent for longer than its owner waits.
bool is_silence(retry::failure_class c) {
    using retry::failure_class;
    return c == failure_class::timeout || c == failure_class::refused || c == failure_class::unreachable;
}

constexpr std::string_view by_snapshot = "snapshot";

} // namespace

turn_tracker::turn_tracker(const std::string& session_id, const tracker_options& options)
    : options_(options),
      ledger_(session_id, {options.max_children, options.max_turns, false, options.adopt_prompts}),
      narrator_(ledger_, audience_, options.followed_text),
      approvals_(ledger_, audience_, narrator_, {options.max_asks, options.ask_bytes}),
      deadlines_(options.quiet_after), judge_(ledger_, audience_) {}
turn_tracker::~turn_tracker() = default;

actions turn_tracker::done() {
    auto all = narrator_.take();
    if (wants_snapshot())
        all.push_back(fetch_snapshot{});
    if (!audience_.empty() || unseen_ || !ledger_.turns().empty())
        if (const auto when =
                deadlines_.next(watches_quiet(), [&](const auto& id) { return audience_.has(id); }))
            all.push_back(wake_at{*when});
    return all;
}

void turn_tracker::progressed(time_point now) {
    ledger_.note_news();
    deadlines_.progressed(now);
}

// --- turns

/// Those that are turns by what was just learned.
void turn_tracker::admit() {
    for (const auto& t : ledger_.turns()) {
        if (audience_.has(t.id) || !ledger_.is_to_be_told(t) || !ledger_.has_work(t))
            continue;
        if (audience_.empty())
            progressed(input_.now);
        audience_.add(t.id, ledger_.at());
        narrator_.out().push_back(opened{t.id});
        narrator_.flush(t);
    }
}

/// A turn that was let go of is taken up again: what it told before, it told somebody else.
void turn_tracker::take_up(turn_facts& t) {
    if (audience_.has(t.id))
        return;
    t.released = 0;
    t.from = turn_facts::origin::ours;
    audience_.add(t.id, ledger_.at());
    narrator_.out().push_back(opened{t.id});
    narrator_.begin_anew(t);
}

actions turn_tracker::open(const std::string& message, time_point now) {
    ledger_.advance();
    input_.now = now;
    if (auto* known = ledger_.find_turn(message)) {
        take_up(*known);
    } else {
        ledger_.open(message, turn_facts::origin::ours);
        admit();
    }
    return done();
}

actions turn_tracker::adopt(const std::string& message, time_point now) {
    ledger_.advance();
    input_.now = now;
    auto* known = ledger_.find_turn(message);
    auto& t = known ? *known : ledger_.open(message, turn_facts::origin::ours);
    admit();
    take_up(t);
    if (t.posted == 0)
        t.posted = ledger_.at();
    t.adopted = ledger_.at();
    progressed(now);
    return done();
}

actions turn_tracker::posted(std::string_view message, time_point now, bool once) {
    ledger_.advance();
    input_.now = now;
    auto* t = ledger_.find_turn(message);
    if (!t || t->posted != 0)
        return done();
    t->posted = ledger_.at();
    t->posted_twice = !once;
    progressed(now);
    if (auto end = deferred_.extract(t->id))
        settle(std::string(message), std::move(end.mapped()));
    else
        evaluate();
    return done();
}

actions turn_tracker::close(std::string_view message, settlement how) {
    ledger_.advance();
    auto* t = ledger_.find_turn(message);
    if (!t || !audience_.has(t->id))
        return done();
    input_.trigger.clear();
    narrator_.add_final_text(*t, how);
    deliver_end(*t, how, false);
    audience_.remove(t->id);
    // Its messages go on, and others may be answered together with it.
    if (ledger_.prompt_seen(*t) || t->posted != 0) {
        t->released = ledger_.at();
        if (t->posted == 0)
            t->posted = ledger_.at();
    } else {
        deadlines_.forget(t->id);
        ledger_.let_go_unseen(std::string(message));
    }
    if (audience_.empty())
        forget_all();
    return done();
}

actions turn_tracker::abort_requested(time_point now) {
    ledger_.advance();
    input_.now = now;
    ledger_.note_abort_requested();
    for (const auto& t : ledger_.turns())
        if (audience_.has(t.id))
            deadlines_.abort_again(t.id, later(now, options_.abort_grace));
    deadlines_.shift_all(now);
    set_graces();
    return done();
}

actions turn_tracker::abort_accepted() {
    ledger_.advance();
    ledger_.note_abort_accepted();
    set_graces();
    return done();
}

/// What is learned of a prompt may lengthen its grace, or end it.
void turn_tracker::set_graces() {
    for (const auto& t : ledger_.turns())
        deadlines_.set_grace(t.id, input_.now, grace_of(t));
}

actions turn_tracker::follow() {
    unseen_ = unseen_ || (ledger_.stream().attached && !ledger_.follows());
    ledger_.follow();
    return done();
}

actions turn_tracker::moved() {
    moved_ = !audience_.empty();
    return done();
}

duration turn_tracker::grace_of(const turn_facts& t) const {
    if (ledger_.abort_accepted(t))
        return std::min(options_.abort_grace, options_.start_grace);
    return ledger_.is_unbegun(t) && !judge_.is_pending(t)
               ? std::max(options_.unbegun_grace, options_.start_grace)
               : options_.start_grace;
}

// --- how turns end

/// Looks at every open turn, and settles those that can be.
void turn_tracker::evaluate(const occasion& seen) {
    admit();
    set_graces();
    const auto find_overtaken = [&] {
        for (auto& t : ledger_.turns()) {
            const auto* by = ledger_.overtaking(t);
            t.overtaken_by = by ? by->owner : std::string();
        }
    };
    find_overtaken();
    for (bool again = true; again;) {
        again = false;
        for (auto& t : ledger_.turns()) {
            auto said = judge_.decide(t, seen, deadlines_.grace_over(t.id));
            const bool is_over = said.what == judgement::kind::ends || said.what == judgement::kind::aside;
            apply(t, std::move(said));
            if (!is_over)
                continue;
            find_overtaken();
            again = true;
            break;
        }
    }
    watch_unanswered();
}

void turn_tracker::apply(turn_facts& t, judgement j) {
    switch (j.what) {
    case judgement::kind::open: return;
    case judgement::kind::verify: return doubt(t);
    case judgement::kind::repost:
        t.reposted = ledger_.at();
        t.posted_twice = true;
        deadlines_.restart(t.id, input_.now);
        narrator_.out().push_back(repost{t.id});
        return;
    case judgement::kind::aside: deadlines_.forget(t.id); return ledger_.set_aside(std::string(t.id));
    case judgement::kind::ends:
        if (j.why == rule::message_interrupted)
            ledger_.note_interruption(*ledger_.said().last_answer(t.id));
        return settle(std::string(t.id), make_settlement(t, j));
    }
}

void turn_tracker::doubt(turn_facts& t) {
    if (t.doubted == 0)
        t.doubted = ledger_.at();
}

settlement turn_tracker::make_settlement(const turn_facts& t, const judgement& j) const {
    settlement s;
    s.outcome = j.outcome;
    s.rule = j.why;
    if (j.error)
        s.error = from_server(*j.error);
    narrator_.add_final_text(t, s);
    s.event = input_.trigger;
    s.safe_to_reprompt = judge_.safety(t, j.outcome, j.why, moved_);
    return s;
}

/// Tells how a turn ended, after all that it still has to be told; then forgets it, and settles the turns
/// that were answered together with it.
void turn_tracker::settle(const std::string& id, settlement s) {
    auto& t = *ledger_.find_turn(id);
    narrator_.tell_repair(t, input_.now);
    deliver_end(t, s, s.rule == rule::session_deleted && !ledger_.is_unbroken(t));
    audience_.remove(id);
    deferred_.erase(id);
    const bool may_infer = input_.trigger == by_snapshot || ledger_.is_recorded();
    if (!may_infer && ends_one_to_verify(id)) {
        // Perhaps that was missed, though the stream did not break: this one stays until the server has been
        // asked.
        t.released = ledger_.at();
        doubt(t);
    } else {
        deadlines_.forget(id);
        ledger_.forget(id);
        settle_merged(id, s);
    }
    if (audience_.empty())
        forget_all();
}

void turn_tracker::deliver_end(const turn_facts& t, const settlement& s, bool cut_short) {
    narrator_.tell_rest(t);
    if (cut_short || narrator_.misses_text(t))
        narrator_.tell_missing(t.id);
    approvals_.withdraw_those_of(t.id);
    narrator_.tell(t.id, s);
    approvals_.pass_on();
    ledger_.remember_settled(t.id);
}

/// A turn that is to end with another, though nobody heard how its own answer ended, or whether it had one.
bool turn_tracker::ends_one_to_verify(const std::string& by) const {
    return std::any_of(ledger_.turns().begin(), ledger_.turns().end(), [&](const turn_facts& t) {
        const auto* own = ledger_.said().last_own_answer(t.id);
        return t.overtaken_by == by && t.posted != 0 && audience_.has(t.id) &&
               !(own && own->says_how_it_ended());
    });
}

void turn_tracker::settle_merged(const std::string& by, const settlement& end) {
    std::vector<std::string> merged;
    for (const auto& t : ledger_.turns())
        if (t.overtaken_by == by)
            merged.push_back(t.id);
    for (const auto& id : merged) {
        const auto* t = ledger_.find_turn(id);
        if (!t)
            continue; // with the last turn that anybody waits for, all others are forgotten
        const auto* own = ledger_.said().last_own_answer(id);
        if (own && !own->info.finished()) {
            judgement j;
            const bool aborted = ledger_.was_aborted(*t);
            j.outcome = aborted ? outcome::aborted : outcome::lost;
            j.why = aborted ? rule::session_aborted : rule::unfinished;
            settle(id, make_settlement(*t, j));
            continue;
        }
        auto how = end;
        how.text.clear();
        how.text_dropped = 0;
        how.rule = rule::merged;
        how.merged_into = by;
        // The later one may be looked at first: who has an answer of its own ends by that.
        if (own && own->says_how_it_ended()) {
            auto said = judge_.by_own_answer(*t);
            said.why = rule::superseded;
            how = make_settlement(*t, said);
        }
        if (t->posted != 0)
            settle(id, std::move(how));
        else
            deferred_.insert_or_assign(id, std::move(how));
    }
}

void turn_tracker::settle_deleted() {
    approvals_.withdraw_all();
    while (!ledger_.turns().empty()) {
        for (auto& t : ledger_.turns())
            t.overtaken_by.clear(); // each ends by the same cause, none by another's end
        judgement j;
        j.why = rule::session_deleted;
        const auto& t = ledger_.turns().front();
        settle(std::string(t.id), make_settlement(t, j));
    }
}

void turn_tracker::forget_all() {
    ledger_.forget_all();
    approvals_.clear();
    deadlines_.forget_all();
    narrator_.forget_retry();
    deferred_.clear();
    drop_held();
    moved_ = false;
}

/// Starts or stops the grace period of each turn.
void turn_tracker::watch_unanswered() {
    for (const auto& t : ledger_.turns())
        if (ledger_.is_busy() || !judge_.is_unanswered(t))
            deadlines_.stop_waiting(t.id);
        else
            deadlines_.wait_for(t.id, input_.now, grace_of(t));
}

// --- the stream

actions turn_tracker::attached() {
    ledger_.advance();
    ledger_.attach();
    unseen_ = ledger_.follows();
    narrator_.attached();
    return done();
}

actions turn_tracker::interrupted(const retry::failure& why, unsigned next_attempt, duration retry_in,
                                  time_point now) {
    out_of_reach_ = out_of_reach_ || is_silence(why.cls);
    break_off(why, now);
    narrator_.tell_all(interrupted_event{why, next_attempt, retry_in});
    return done();
}

actions turn_tracker::broken_off(const retry::failure& why, time_point now) {
    break_off(why, now);
    return done();
}

void turn_tracker::break_off(const retry::failure& why, time_point now) {
    ledger_.advance();
    ledger_.break_stream(why.cls == failure_class::ended || why.cls == failure_class::early_end);
    narrator_.interrupted(why.cls, now);
    for (const auto& t : ledger_.turns())
        if (judge_.is_pending(t))
            deadlines_.stop_waiting(t.id); // its silence proves nothing now
    drop_held();
}

// --- snapshots

actions turn_tracker::merge(snapshot s, position begun, bool by_capture, time_point now) {
    if (ledger_.status().busy > begun && s.status.state == session_status::kind::idle) {
        auto all = done();
        all.push_back(snapshot_void{});
        return all;
    }
    take(s, begun, by_capture, now);
    narrator_.bound_text();
    return done();
}

void turn_tracker::take(snapshot& s, position begun, bool by_capture, time_point now) {
    const auto& status = ledger_.status();
    ledger_.advance();
    input_ = {std::string(by_snapshot), now};
    deadlines_.snapshot_had();
    if (!s.session_known) {
        return settle_deleted();
    }
    const bool was_quiet = deadlines_.is_quiet();
    const auto news_before = ledger_.news();
    for (const auto& child : s.children)
        if (ledger_.sessions().add(child.id, child.parent_id))
            ledger_.note_news();
    static const session_statuses nobody;
    ledger_.sessions().show(s.at_work ? *s.at_work : nobody, begun);
    ledger_.merge_messages(s.messages, s.status, s.status_after);
    admit();
    narrator_.flush_all();
    const auto& stream = ledger_.stream();
    if (stream.attached && begun >= stream.begun) {
        unseen_ = false;
        ledger_.repaired();
        narrator_.repaired(now);
    } else if (by_capture && !stream.attached) {
        ledger_.captured();
        narrator_.repaired(now);
    }
    if (begun >= status.told)
        set_status(s.status);
    narrator_.tell_retry();
    // What it was silent for proves nothing: it may take up what it has only now.
    if (std::exchange(out_of_reach_, false))
        deadlines_.restart_all(now);
    evaluate({begun});
    for (auto& t : ledger_.turns())
        if (t.doubted <= begun)
            t.doubted = 0; // it is not over after all
    approvals_.merge(s, begun);
    if (!judge_.awaits_repair())
        take_held();
    if (ledger_.news() != news_before)
        progressed(now);
    else if (was_quiet) {
        narrator_.tell_quiet(deadlines_.quiet_for(now), std::string(name_of(s.status.state)));
        deadlines_.quiet_told(now);
    }
}

actions turn_tracker::snapshot_failed(time_point now) {
    ledger_.advance();
    out_of_reach_ = true;
    if (deadlines_.is_quiet()) {
        narrator_.tell_quiet(deadlines_.quiet_for(now), "unreachable");
        deadlines_.quiet_told(now);
    }
    deadlines_.no_snapshot_before(later(now, std::max<duration>(options_.start_grace, seconds(1))));
    return done();
}

// --- time

actions turn_tracker::tick(time_point now) {
    ledger_.advance();
    input_.now = now;
    deadlines_.tick(now, ledger_.at(), watches_quiet());
    set_aside_context();
    // What the server took up after we had it abort runs for nobody, and may ask what nobody answers.
    bool due = false;
    for (const auto& id : deadlines_.aborts_due(now)) {
        deadlines_.abort_again(id, later(now, options_.start_grace));
        const auto* current = narrator_.at_work();
        due = due || (ledger_.is_busy() && ledger_.stream().attached && current && current->id == id);
    }
    if (due)
        narrator_.out().push_back(abort_again{});
    return done();
}

/// Time alone decides about a prompt that is no turn.
void turn_tracker::set_aside_context() {
    std::vector<std::string> aside;
    for (const auto& t : ledger_.turns())
        if (judge_.is_pending(t) &&
            judge_.decide(t, {}, deadlines_.grace_over(t.id)).what == judgement::kind::aside)
            aside.push_back(t.id);
    for (const auto& id : aside)
        apply(*ledger_.find_turn(id), {judgement::kind::aside, {}, {}, {}, {}});
}

bool turn_tracker::watches_quiet() const {
    return ledger_.stream().attached &&
           std::any_of(ledger_.turns().begin(), ledger_.turns().end(),
                       [&](const turn_facts& t) { return t.posted != 0 && audience_.has(t.id); });
}

bool turn_tracker::wants_snapshot() const {
    if (!ledger_.stream().attached || !deadlines_.may_fetch())
        return false;
    const bool may_have_more = ledger_.left_turns_out() && ledger_.has_room();
    return deadlines_.is_quiet() || unseen_ || may_have_more ||
           std::any_of(ledger_.turns().begin(), ledger_.turns().end(), [&](const turn_facts& t) {
               return t.doubted != 0 || (audience_.has(t.id) && !ledger_.is_unbroken(t)) ||
                      (deadlines_.grace_over(t.id) != 0 && !judge_.is_pending(t));
           });
}

// --- what is known

actions turn_tracker::told_so_far() const {
    auto all = narrator_.told_so_far();
    approvals_.tell_again(all);
    return all;
}

std::vector<turn_tracker::pending_check> turn_tracker::unsettled() const {
    std::vector<pending_check> all;
    for (const auto& t : ledger_.turns())
        if (audience_.has(t.id))
            all.push_back({t.id, reason(t)});
    return all;
}

std::string turn_tracker::reason(const turn_facts& t) const {
    if (t.posted == 0)
        return "its prompt is not posted";
    const auto* last = ledger_.said().last_answer(t.id);
    if (!t.overtaken_by.empty())
        return "answered together with a later prompt, which has no end";
    if (!last)
        return ledger_.prompt_seen(t) ? "no assistant message" : "the prompt was not seen";
    if (!last->info.finished())
        return "its last assistant message has no end";
    if (!ledger_.is_unbroken(t))
        return "the stream was interrupted";
    return "the session is not known to be idle";
}

} // namespace holdfast::opencode::ledger
