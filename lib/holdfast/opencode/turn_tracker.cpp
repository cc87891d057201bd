#include <holdfast/opencode/turn_tracker.hpp>

#include <holdfast/opencode/conversation.hpp>
#include <holdfast/opencode/wire.hpp>

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

namespace holdfast::opencode {

namespace {

using user_kind = message_record::user_kind;

struct turn {
    std::string id;
    bool adopted = false; ///< it has a past that was told to nobody here
    bool silent =
        false; ///< somebody else's prompt, or one that we let go: followed only for the sake of others
    bool posted = false;

    bool trusted = true;      ///< nothing was missed since its prompt
    bool asked_for = false;   ///< a snapshot has told of it
    bool cut_short = false;   ///< it ends without anybody knowing what was missed
    bool gap_pending = false; ///< its stream broke, and that it was repaired is still to be told

    bool heard_out = true; ///< since it was opened no stream broke
    bool was_disposed =
        false; ///< the server ended a stream after its post: its instance, and whatever waited there
    bool was_at_work = false;  ///< the session, since it was opened
    bool repost_asked = false; ///< it was, or is to be, posted once more
    std::optional<std::uint64_t>
        doubt; ///< how it ended is only inferred: the number of the question to the server
    std::optional<time_point> abort_again; ///< when it is to be aborted once more, should it be at work then
    std::optional<time_point> idle_since;  ///< unanswered, the session not busy, and nothing new
    std::optional<std::uint64_t>
        grace_over; ///< number of the grace period, of those that passed, that was its own

    std::optional<api_error> error;     ///< the first one since it was opened, also without a session id
    std::optional<api_error> own_error; ///< the first one with its session's id
    bool error_came_first = false;      ///< that one, before the session was aborted
    bool error_is_sure = false; ///< there was no prompt unknown to the server that it may have been about
    bool over_by_error = false; ///< and then the session was idle, with no answer begun
    bool overflowed = false;    ///< the context was full, and the compaction that follows has not begun
    bool abort_asked = false;
    bool abort_accepted = false; ///< the server has heard of that
    bool abort_seen = false;
    bool abort_guessed =
        false;               ///< somebody's turn before it ended as one does that is aborted in a retry wait
    bool sent_again = false; ///< more than one POST of it was under way: the later one may run it once more
    std::string covered_by;  ///< the later turn whose answer also answers this one
    std::set<std::string> rejected_calls;
    std::optional<settlement> deferred; ///< it ended with a later one before its own post was answered
};

struct ask {
    std::string turn;
    std::uint64_t number = 0;
    std::variant<permission_request, question_request> request;
};

/// What a message decides about its turn, once the session is not busy.
struct verdict {
    outcome what = outcome::completed;
    rule why = rule::message_finished;
    std::optional<api_error> error;
    bool inferred = false; ///< from silence: no message of its own says so
};

settlement_error from_server(const api_error& e) {
    return {"server", e.name, e.message, e.status};
}

/// The texts of the two ways in which a tool fails because somebody said no.
bool says_rejected(const part& p) {
    return p.state == wire::tool::error && (p.error.starts_with(wire::permission_rejected_text) ||
                                            p.error.starts_with(wire::question_dismissed_text));
}

bool same_but_for_space(std::string_view a, std::string_view b) {
    const auto is_space = [](char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
    };
    auto from = b.begin();
    for (const char c : a) {
        if (is_space(c))
            continue;
        from = std::find_if_not(from, b.end(), is_space);
        if (from == b.end() || *from++ != c)
            return false;
    }
    return std::all_of(from, b.end(), is_space);
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

std::string_view name_of(session_status::kind k) {
    switch (k) {
    case session_status::kind::busy: return wire::status::busy;
    case session_status::kind::retry: return wire::status::retry;
    case session_status::kind::idle: break;
    }
    return wire::status::idle;
}

const std::string& id_of(const ask& a) {
    return std::visit([](const auto& r) -> const std::string& { return r.id; }, a.request);
}

} // namespace

struct turn_tracker::state {
    state(std::string session_id, tracker_options chosen) : root(std::move(session_id)), options(chosen) {}

    // --- what is known
    std::string root;
    tracker_options options;
    std::map<std::string, std::string> children; ///< each with its parent
    std::map<std::string, session_status> child_status;
    std::vector<turn> turns; ///< the open ones, in the order in which they were opened
    conversation said;
    std::optional<session_status> status;  ///< empty: not known
    std::vector<ask> asks;                 ///< told and not answered
    bool turns_left_out = false;           ///< there were more prompts of others than may be turns at once
    bool asks_left_out = false;            ///< there were more than may be told at once
    std::set<std::string> answered_asks;   ///< told and answered, while turns are open
    std::set<std::string> closed_messages; ///< of turns that were settled: heard of again, they are no news
    std::deque<std::string> closed_order;  ///< the same, oldest first
    std::set<std::string> left_unseen;     ///< prompts let go of before the server told of them
    std::optional<session_status> retry_told;
    std::vector<event> held; ///< of a stream whose gap is not repaired yet
    delta_joiner joiner;

    bool attached = false;
    bool out_of_reach = false; ///< the server did not answer since it last told anything by a snapshot
    mark seen;
    std::uint64_t news = 0; ///< things that were new

    struct outage {
        failure_class cls = failure_class::cut;
        time_point began{};
        duration lasted{};
        bool over = true;
    };
    outage last_outage;

    time_point progress_at{};
    time_point quiet_check_at{};
    bool quiet_due = false;
    std::optional<time_point> no_snapshot_before; ///< after one that could not be had

    std::vector<api_error> explained;       ///< errors that an answer told to be its own
    std::vector<std::int64_t> aborts_found; ///< when the aborted messages of a snapshot being merged ended

    std::string trigger; ///< what is being looked at: an event's type, or "snapshot"
    std::vector<output> outputs;
    std::vector<std::string> reposts;
    bool abort_due = false;
    bool moved =
        false; ///< while turns are open: an abort reaches the session where it is, not what it left behind
    bool following = false;     ///< every prompt is a turn of its own
    bool unseen = false;        ///< and what happened before this stream began is not known yet
    bool history_known = false; ///< what was over when that began has been told apart
    std::vector<std::string> opened;
    bool merging = false; ///< a message of a snapshot: its parts are told together, in their order

    // --- turns

    turn* find_turn(std::string_view id) {
        for (auto& t : turns)
            if (t.id == id)
                return &t;
        return nullptr;
    }
    const turn* find_turn(std::string_view id) const { return const_cast<state*>(this)->find_turn(id); }

    bool any_visible() const {
        return std::any_of(turns.begin(), turns.end(), [](const turn& t) { return !t.silent; });
    }
    bool prompt_seen(const turn& t) const {
        const auto* m = said.find(t.id);
        return m && m->known;
    }
    bool server_knows(const turn& t) const { return prompt_seen(t) || said.last_answer(t.id); }
    /// All of it up to now is known. A turn in flight that is adopted has a past: it is told after that.
    bool is_whole(const turn& t) const { return t.trusted && (t.asked_for || prompt_seen(t)); }
    bool may_tell(const turn& t) const { return !merging && !t.silent && is_whole(t) && !t.gap_pending; }

    void tell(const turn& t, agent_event e) {
        if (!t.silent)
            outputs.push_back({t.id, std::move(e)});
    }
    template <class E>
    void tell_all(const E& e) {
        for (const auto& t : turns)
            tell(t, e);
    }

    turn& open(std::string id, time_point now, bool silent = false) {
        if (!any_visible())
            progressed(now);
        closed_messages.erase(id);
        turn t;
        t.id = std::move(id);
        t.silent = silent;
        t.trusted = t.heard_out = attached;
        t.was_at_work = busy();
        if (!silent)
            opened.push_back(t.id);
        turns.push_back(std::move(t));
        auto& made = turns.back();
        // A turn in flight is adopted: what came of it before is known, but was told to nobody.
        for (const auto& m : said.in_order())
            if (m->info.id == made.id || m->info.parent_id == made.id)
                m->owner = made.id;
        if (auto* prompt = said.find(made.id))
            prompt->kind = user_kind::prompt;
        return made;
    }

    /// The turn at work: the one whose answer was begun last.
    turn* current_turn() {
        const auto& order = said.in_order();
        for (auto m = order.rbegin(); m != order.rend(); ++m)
            if (auto* t = (*m)->answers() ? find_turn((*m)->owner) : nullptr; t && !t->silent)
                return t;
        for (auto t = turns.rbegin(); t != turns.rend(); ++t)
            if (!t->silent && prompt_seen(*t))
                return &*t;
        for (auto& t : turns)
            if (!t.silent)
                return &t;
        return nullptr;
    }

    // --- telling

    void flush_part(const turn& t, part_record& p) {
        if (!may_tell(t))
            return;
        if (p.what == part_record::kind::tool) {
            if (p.tool == p.tool_told)
                return;
            p.tool_told = p.tool;
            tell(t, p.tool);
            return;
        }
        if (std::exchange(p.lost, false))
            tell_missing(t);
        if (p.told >= p.text.size())
            return;
        auto delta = p.text.substr(p.told);
        p.told = p.text.size();
        if (p.what == part_record::kind::text)
            tell(t, text_event{p.id, std::move(delta)});
        if (p.what == part_record::kind::reasoning)
            tell(t, reasoning_event{p.id, std::move(delta)});
    }

    void flush_usage(const turn& t, message_record& m) {
        if (!may_tell(t) || m.usage_told || !m.info.finished())
            return;
        m.usage_told = true;
        tell(t, usage_event{m.info.id, m.info.tokens, m.info.cost});
    }

    void flush_message(message_record& m) {
        const auto* t = m.answers() ? find_turn(m.owner) : nullptr;
        if (!t)
            return;
        if (!m.is_summary())
            for (auto& p : m.parts)
                flush_part(*t, p);
        flush_usage(*t, m);
    }

    void flush_turn(const turn& t) {
        for (const auto& m : said.in_order())
            if (m->owner == t.id)
                flush_message(*m);
    }

    std::vector<output> told_so_far() const {
        std::vector<output> all;
        for (const auto& m : said.in_order()) {
            const auto* t = m->answers() ? find_turn(m->owner) : nullptr;
            if (!t || t->silent)
                continue;
            if (!m->is_summary())
                for (const auto& p : m->parts)
                    tell_again(*t, p, all);
            if (m->usage_told)
                all.push_back({t->id, usage_event{m->info.id, m->info.tokens, m->info.cost}});
        }
        for (const auto& a : asks)
            if (const auto* t = find_turn(a.turn); t && !t->silent)
                tell_again(a, all);
        return all;
    }
    static void tell_again(const turn& t, const part_record& p, std::vector<output>& into) {
        const auto text = p.text.substr(0, p.told);
        if (p.what == part_record::kind::tool && p.tool_told != tool_event())
            into.push_back({t.id, p.tool_told});
        if (p.what == part_record::kind::text && !text.empty())
            into.push_back({t.id, text_event{p.id, text}});
        if (p.what == part_record::kind::reasoning && !text.empty())
            into.push_back({t.id, reasoning_event{p.id, text}});
    }
    static void tell_again(const ask& a, std::vector<output>& into) {
        if (const auto* p = std::get_if<permission_request>(&a.request))
            into.push_back({a.turn, permission_event{*p, std::nullopt}});
        else
            into.push_back({a.turn, question_event{std::get<question_request>(a.request), std::nullopt}});
    }

    void tell_missing(const turn& t) { tell(t, gap_event{last_outage.cls, last_outage.lasted, true}); }

    void tell_repair(turn& t, time_point now) {
        if (!t.gap_pending)
            return;
        t.gap_pending = false;
        if (!last_outage.over)
            last_outage.lasted = now - last_outage.began;
        tell(t, gap_event{last_outage.cls, last_outage.lasted, false});
    }

    // --- asks

    template <class Event, class Request>
    void tell_reply(const ask& a, const Request& r, std::string reply) {
        if (const auto* t = find_turn(a.turn))
            tell(*t, Event{r, std::move(reply)});
    }
    void tell_reply(const ask& a, const std::string& reply) {
        if (const auto* p = std::get_if<permission_request>(&a.request))
            tell_reply<permission_event>(a, *p, reply);
        else
            tell_reply<question_event>(a, std::get<question_request>(a.request), reply);
    }
    void withdraw_asks_of(const turn& t) {
        for (const auto& a : asks)
            if (a.turn == t.id)
                tell_reply(a, "withdrawn");
        std::erase_if(asks, [&](const ask& a) { return a.turn == t.id; });
    }

    bool is_told(std::string_view request) const {
        return std::any_of(asks.begin(), asks.end(), [&](const ask& a) { return id_of(a) == request; });
    }

    template <class Event, class Request>
    void tell_ask(const Request& r) {
        if (is_told(r.id) || answered_asks.contains(r.id))
            return;
        if (asks.size() >= options.max_asks) {
            asks_left_out = true;
            return;
        }
        auto* t = turn_of_ask(r.session_id, r.call_id);
        if (!t)
            return;
        ++news;
        asks.push_back({t->id, ++seen.asks_seen, r});
        tell(*t, Event{r, std::nullopt});
    }

    /// The tool part that waits for an answer; for a child's request, the one that started the child.
    const part_record* waiting_tool(std::string_view session, std::string_view call,
                                    const message_record** where) const {
        const std::string child = session == root ? std::string() : top_child(session);
        for (const auto& m : said.in_order())
            for (const auto& p : m->parts) {
                const bool it = child.empty() ? !call.empty() && p.tool.id == call : p.child_session == child;
                if (p.what != part_record::kind::tool || !it)
                    continue;
                if (where)
                    *where = m.get();
                return &p;
            }
        return nullptr;
    }

    turn* turn_of_ask(std::string_view session, std::string_view call) {
        const message_record* where = nullptr;
        if (waiting_tool(session, call, &where))
            if (auto* t = find_turn(where->owner); t && !t->silent)
                return t;
        return current_turn();
    }

    /// The child of the root itself through which a session descends from it.
    std::string top_child(std::string_view session) const {
        std::string id(session);
        for (std::size_t guard = 0; guard <= children.size(); ++guard) {
            const auto found = children.find(id);
            if (found == children.end() || found->second == root || found->second.empty())
                break;
            id = found->second;
        }
        return id;
    }

    std::optional<unsigned> depth_of(std::string_view session) const {
        std::string id(session);
        for (unsigned depth = 0; depth <= children.size(); ++depth) {
            if (id == root)
                return depth;
            const auto found = children.find(id);
            if (found == children.end())
                break;
            id = found->second;
        }
        return std::nullopt;
    }

    // --- the end of a turn

    std::string final_text(const turn& t) const {
        std::string text;
        if (const auto* m = said.last_own_answer(t.id))
            for (const auto& p : m->parts)
                if (p.what == part_record::kind::text &&
                    (p.ended || (p.live && !p.abandoned && m->info.error)))
                    text += p.text;
        return text;
    }

    bool misses_text(const turn& t) const {
        for (const auto& m : said.in_order())
            if (m->owner == t.id && m->answers() && !m->is_summary())
                for (const auto& p : m->parts)
                    if (p.may_miss_text())
                        return true;
        return false;
    }

    bool ran_a_tool(const turn& t) const {
        for (const auto& m : said.in_order())
            if (m->owner == t.id)
                for (const auto& p : m->parts)
                    if (progress_of(p.tool.state) > 1)
                        return true;
        return false;
    }

    reprompt safety(const turn& t, outcome o, rule r) const {
        if (o == outcome::completed || o == outcome::rejected || o == outcome::detached)
            return reprompt::no;
        if (r == rule::session_deleted || ran_a_tool(t))
            return reprompt::no; // a deleted session's loop goes on
        return o == outcome::lost || t.sent_again || moved ? reprompt::unknown : reprompt::yes;
    }

    settlement make_settlement(const turn& t, verdict v) const {
        settlement s;
        s.outcome = v.what;
        s.rule = v.why;
        if (v.error)
            s.error = from_server(*v.error);
        s.text = final_text(t);
        s.event = trigger;
        s.safe_to_reprompt = safety(t, v.what, v.why);
        return s;
    }

    /// Tells how a turn ended, after all that it still has to be told; then forgets it, and settles the turns
    /// that were answered together with it.
    void settle(const std::string& id, settlement s, time_point now) {
        {
            auto& t = *find_turn(id);
            tell_repair(t, now);
            tell_end(t, s);
        }
        if (!may_infer() && covers_one_to_ask_about(id)) {
            ask_about_those_with(id);
        } else {
            forget(id);
            settle_covered(id, s, now);
        }
        if (!any_visible())
            forget_all();
    }
    void tell_end(turn& t, const settlement& s) {
        t.gap_pending = false;
        t.trusted = t.asked_for = true;
        flush_turn(t);
        if (t.cut_short || misses_text(t))
            tell_missing(t);
        withdraw_asks_of(t);
        tell(t, s);
        remember_closed(t.id);
    }
    void settle(const std::string& id, verdict v, time_point now) {
        settle(id, make_settlement(*find_turn(id), std::move(v)), now);
    }

    /// A message says how it ended by its finish, or by its error; one that is only completed does not.
    static bool says_how_it_ended(const message_record* m) {
        return m && m->info.finished() && (!m->info.finish.empty() || m->info.error);
    }

    /// A turn that is to end with another, though nobody heard how its own answer ended, or whether it had
    /// one.
    bool covers_one_to_ask_about(const std::string& by) const {
        return std::any_of(turns.begin(), turns.end(), [&](const turn& t) {
            return t.covered_by == by && t.posted && !t.silent &&
                   !says_how_it_ended(said.last_own_answer(t.id));
        });
    }
    /// Perhaps that was missed, though the stream did not break: the one that was told its end stays until
    /// the server has been asked.
    void ask_about_those_with(const std::string& by) {
        find_turn(by)->silent = true;
        ask_about(by);
    }

    void settle_covered(const std::string& by, const settlement& end, time_point now) {
        std::vector<std::string> covered;
        for (const auto& t : turns)
            if (t.covered_by == by)
                covered.push_back(t.id);
        for (const auto& id : covered) {
            const auto* found = find_turn(id);
            if (!found)
                continue; // with the last turn that anybody waits for, all others are forgotten
            const auto& t = *found;
            const auto* last = said.last_own_answer(id);
            if (last && !last->info.finished()) {
                const auto v = t.abort_seen ? verdict{outcome::aborted, rule::session_aborted, {}}
                                            : verdict{outcome::lost, rule::unfinished, {}};
                settle(id, v, now);
                continue;
            }
            auto merged = end;
            merged.text.clear();
            merged.rule = rule::merged;
            merged.merged_into = by;
            // The later one may be looked at first: who has an answer of its own ends by that.
            if (says_how_it_ended(last)) {
                auto own = judge(t, last);
                own.why = rule::superseded;
                merged = make_settlement(t, std::move(own));
            }
            if (t.posted)
                settle(id, std::move(merged), now);
            else
                find_turn(id)->deferred = std::move(merged);
        }
    }

    void forget(const std::string& id) {
        std::erase_if(turns, [&](const turn& t) { return t.id == id; });
        std::vector<std::string> gone;
        for (const auto& m : said.in_order()) {
            if (m->owner != id)
                continue;
            m->owner.clear();
            // Its prompt stays, as a place in the order, while others are open.
            if (m->kind != user_kind::prompt)
                gone.push_back(m->info.id);
            if (is_over_with_its_turn(*m))
                remember_closed(m->info.id);
        }
        for (const auto& m : gone)
            said.erase(m);
    }

    /// Where every prompt is told, one of the server's own must not be taken for somebody's later.
    bool is_over_with_its_turn(const message_record& m) const {
        return m.answers() || (following && m.known && m.kind != user_kind::unclassed);
    }

    void remember_closed(const std::string& id) {
        constexpr std::size_t enough = 4096;
        if (!closed_messages.insert(id).second)
            return;
        closed_order.push_back(id);
        if (closed_order.size() <= enough)
            return;
        closed_messages.erase(closed_order.front());
        closed_order.pop_front();
    }

    void forget_all() {
        if (following) // one that was told, and followed once more for another's sake, stays told
            for (const auto& t : turns)
                remember_closed(t.id);
        turns.clear();
        for (const auto& m : said.in_order())
            if (is_over_with_its_turn(*m))
                remember_closed(m->info.id);
        said.clear();
        asks.clear();
        asks_left_out = false;
        answered_asks.clear();
        left_unseen.clear();
        explained.clear();
        held.clear();
        retry_told.reset();
        quiet_due = false;
        no_snapshot_before.reset();
        moved = false;
    }

    // --- what decides

    bool rejected(const turn& t, const message_record& m) const {
        return std::any_of(m.parts.begin(), m.parts.end(), [&](const part_record& p) {
            return p.rejected || (p.what == part_record::kind::tool && t.rejected_calls.contains(p.tool.id));
        });
    }

    /// The outcome that a turn's last message, finished, stands for.
    verdict judge(const turn& t, const message_record* last) const {
        if (last->info.error) {
            if (last->info.error->name == aborted_error)
                return {outcome::aborted, rule::message_error, {}};
            return {outcome::failed, last->is_summary() ? rule::compaction_failed : rule::message_error,
                    last->info.error};
        }
        // A summary that succeeded says nothing of the turn; what came before it does.
        if (last->is_summary())
            if (const auto* own = said.last_own_answer(t.id))
                last = own;
        const auto& finish = last->info.finish;
        if (finish.empty() && t.error_came_first && t.error_is_sure)
            return {outcome::failed, rule::session_error, t.own_error};
        if (finish.empty())
            return {outcome::aborted, rule::message_interrupted, {}};
        if (finish == wire::finish_error)
            return {outcome::failed, rule::message_error, t.own_error};
        if (finish == wire::finish_tool_calls && rejected(t, *last))
            return {outcome::rejected, rule::tool_rejected, {}};
        return {outcome::completed, rule::message_finished, {}};
    }

    bool idle() const { return status && status->state == session_status::kind::idle; }
    bool busy() const { return status && status->state != session_status::kind::idle; }

    /// Finds for each turn the first later one whose answer, begun after its own last, closes it.
    void find_covered() {
        for (auto& t : turns) {
            const auto* prompt = said.find(t.id);
            if (!prompt || !prompt->known)
                continue;
            const auto* own = said.last_answer(t.id);
            t.covered_by.clear();
            for (const auto& m : said.in_order()) {
                if (!t.covered_by.empty())
                    break;
                if (!m->answers() || m->owner.empty() || m->owner == t.id || (own && m->index < own->index))
                    continue;
                const auto* under = said.find(m->info.parent_id);
                if (under && under->index > prompt->index && find_turn(m->owner))
                    t.covered_by = m->owner;
            }
        }
    }

    /// A covered turn that has a finished answer is closed by it, unless a compaction carried it on to the
    /// later one.
    bool closed_by_own_answer(const turn& t) const {
        const auto* last = said.last_own_answer(t.id);
        if (t.covered_by.empty() || !last || !last->info.finished())
            return false;
        if (says_how_it_ended(last))
            return true;
        const auto* later = said.last_answer(t.covered_by);
        return !later || !said.compacted_between(*last, *later);
    }

    /// Aborted before it had an answer, while what is answered now was asked for after that: the later turn's
    /// answer is none to it.
    bool given_up_by_abort(const turn& t) const {
        const auto* later = t.covered_by.empty() ? nullptr : find_turn(t.covered_by);
        // One that was taken up again may have been answered together with somebody's long before.
        const bool is_past = t.adopted && later && later->silent;
        return later && !is_past && !later->doubt && t.abort_accepted && !later->abort_asked &&
               !said.last_own_answer(t.id);
    }

    const message_record* last_answer_of_all() const {
        const auto& order = said.in_order();
        const auto last =
            std::find_if(order.rbegin(), order.rend(), [](const auto& m) { return m->answers(); });
        return last == order.rend() ? nullptr : last->get();
    }

    bool any_unfinished_answer() const {
        return std::any_of(turns.begin(), turns.end(), [&](const turn& t) {
            const auto* last = said.last_answer(t.id);
            return last && !last->info.finished();
        });
    }

    /// After a tool, and after a compaction of the server's own, the model is asked again: a session that is
    /// idle then was stopped, or the rest was missed; unless it was a later prompt that it went on with.
    bool stopped_in_between(const turn& t, const message_record* last) const {
        if (!last || last->info.error || options.adopt_prompts || has_later_prompt(t))
            return false;
        if (last->is_summary())
            return said.own_compaction_of(*last) != nullptr;
        if (last->info.finish.empty())
            return t.overflowed;
        return last->info.finish == wire::finish_tool_calls && !rejected(t, *last);
    }
    bool has_later_prompt(const turn& t) const {
        const auto* prompt = said.find(t.id);
        return prompt && std::any_of(said.in_order().begin(), said.in_order().end(), [&](const auto& m) {
                   return m->kind == user_kind::prompt && m->index > prompt->index;
               });
    }

    /// What a turn waits for that was told its end already, or one that is to end with it.
    const turn* end_in_doubt(const turn& t) const {
        for (const auto* end : {&t, find_turn(t.covered_by)})
            if (end && end->silent && end->doubt)
                return end;
        return nullptr;
    }

    static bool was_asked_about(const turn& t, const mark* asked) {
        return asked && *t.doubt <= asked->doubts;
    }
    /// One that is answered before it waits for a snapshot: they are told in their order.
    bool comes_after_one_in_doubt(const turn& t, const mark* asked) const {
        return std::any_of(turns.begin(), turns.end(), [&](const turn& other) {
            return other.doubt && !other.silent && ends_with(other, t.id) && !was_asked_about(other, asked);
        });
    }

    /// The verdict on a turn that the stream, or a snapshot just taken, allows now.
    std::optional<verdict> decide(const turn& t) const {
        if (closed_by_own_answer(t)) {
            const auto* last = said.last_own_answer(t.id);
            auto v = judge(t, last);
            v.why = rule::superseded;
            v.inferred = last->info.finish ==
                         wire::finish_tool_calls; // what came after the tools may have been missed
            return v;
        }
        if (!t.covered_by.empty() && t.over_by_error)
            return verdict{outcome::failed, rule::session_error, t.own_error};
        if (given_up_by_abort(t))
            return verdict{outcome::aborted, rule::abort_requested, {}, true};
        if (!t.covered_by.empty() || !idle())
            return std::nullopt;
        const auto* last = said.last_answer(t.id);
        if (last && last->info.finished() && !stopped_in_between(t, last))
            return judge(t, last);
        if (!last && t.abort_seen && !any_unfinished_answer())
            return verdict{outcome::aborted, rule::session_aborted, {}, true};
        return std::nullopt;
    }

    /// What no message says is believed when a snapshot has just been merged; a recording has none.
    bool may_infer() const { return trigger == "snapshot" || options.adopt_prompts; }

    bool is_sure(const turn& t, const verdict& v, const mark* asked) const {
        // A snapshot's messages may be newer than its status: this message may be about to be gone on with.
        if (v.why == rule::message_interrupted && asked)
            return t.doubt && *t.doubt <= asked->doubts;
        if (!v.inferred || options.adopt_prompts)
            return true;
        return asked && (!t.doubt || *t.doubt <= asked->doubts);
    }

    /// The verdict on a turn without a finished answer, the session not busy, its grace over and asked for
    /// since.
    verdict decide_unanswered(const turn& t) const {
        if (!server_knows(t) && t.error)
            return {outcome::failed, rule::not_accepted, t.error};
        // An answer that fails tells its error: one that did not may have been about a prompt that the server
        // did not take.
        if (t.error_came_first && (t.error_is_sure || !said.last_answer(t.id)))
            return {outcome::failed, rule::session_error, t.own_error};
        if (t.abort_asked)
            return {outcome::aborted, rule::abort_requested, {}};
        if (t.abort_seen || t.abort_guessed)
            return {outcome::aborted, rule::session_aborted, {}};
        if (t.own_error && (t.error_is_sure || !said.last_answer(t.id)))
            return {outcome::failed, rule::session_error, t.own_error};
        return {outcome::lost, said.last_answer(t.id) ? rule::unfinished : rule::never_answered, {}};
    }

    /// Looks at every open turn, and settles those that can be. `asked` is set by a snapshot: when it was
    /// begun.
    void evaluate(time_point now, const mark* asked = nullptr) {
        find_covered();
        for (bool again = true; again;) {
            again = false;
            for (const auto& t : turns) {
                if (!t.posted || !(asked || (attached && is_whole(t) && !awaits_repair())))
                    continue;
                if (const auto* end = end_in_doubt(t); end && !was_asked_about(*end, asked))
                    continue;
                if (comes_after_one_in_doubt(t, asked))
                    continue;
                auto v = decide(t);
                if (!v && asked && t.grace_over && *t.grace_over <= asked->graces && idle() &&
                    is_unanswered(t) && !asks_for_repost(t.id, now))
                    v = decide_unanswered(t);
                if (!v)
                    continue;
                if (!is_sure(t, *v, asked)) {
                    ask_about(t.id);
                    continue;
                }
                if (v->why == rule::message_interrupted)
                    interrupted_by_abort(*said.last_answer(t.id));
                settle(std::string(t.id), std::move(*v), now);
                find_covered();
                again = true;
                break;
            }
        }
        watch_unanswered(now);
    }

    void ask_about(const std::string& id) {
        auto& t = *find_turn(id);
        if (!t.doubt)
            t.doubt = ++seen.doubts;
    }

    /// An accepted prompt that the server does not know, or that it let fall when the loop in which it waited
    /// came to its end, without an error or an abort to explain it, is posted once more, and waited for anew.
    bool asks_for_repost(const std::string& id, time_point now) {
        auto& t = *find_turn(id);
        const bool let_fall = (t.was_disposed || (t.heard_out && t.was_at_work)) && !said.last_answer(id);
        if (server_knows(t) && !let_fall)
            return false;
        if (t.error || t.abort_asked || t.abort_seen || t.abort_guessed || t.repost_asked)
            return false;
        t.repost_asked = t.sent_again = true;
        t.idle_since = now;
        t.grace_over.reset();
        reposts.push_back(id);
        return true;
    }

    /// Answered together with that one, perhaps by way of others.
    bool ends_with(const turn& t, const std::string& later) const {
        const auto* next = &t;
        for (std::size_t steps = 0; next && steps < turns.size(); ++steps) {
            if (next->covered_by == later)
                return true;
            next = find_turn(next->covered_by);
        }
        return false;
    }

    /// Somebody waits for its end: its owner, or that of a turn which ends with it.
    bool is_waited_for(const turn& t) const {
        return !t.silent || std::any_of(turns.begin(), turns.end(), [&](const turn& other) {
            return !other.silent && ends_with(other, t.id);
        });
    }

    bool is_unanswered(const turn& t) const {
        const auto* last = said.last_answer(t.id);
        const bool ended = last && last->info.finished() && !stopped_in_between(t, last);
        return t.posted && is_waited_for(t) && t.covered_by.empty() && !ended;
    }

    /// Starts or stops the grace period of each turn.
    void watch_unanswered(time_point now) {
        for (auto& t : turns) {
            if (busy() || !is_unanswered(t)) {
                t.idle_since.reset();
                t.grace_over.reset();
            } else if (!t.idle_since) {
                t.idle_since = now;
            }
        }
    }

    duration grace_of(const turn& t) const {
        return t.abort_accepted ? std::min(options.abort_grace, options.start_grace) : options.start_grace;
    }

    // --- what comes in

    /// Something of the session itself happened: whoever waits for something new waits anew.
    void restart_grace(time_point now) {
        for (auto& t : turns)
            if (t.idle_since) {
                t.idle_since = now;
                t.grace_over.reset();
            }
    }

    void progressed(time_point now) {
        ++news;
        progress_at = now;
        quiet_check_at = later(now, options.quiet_after);
        quiet_due = false;
    }

    bool owns(std::string_view session) const {
        return session == root || children.contains(std::string(session));
    }

    void adopt_child(const session_info& s) {
        if (!s.parent_id.empty() && owns(s.parent_id))
            know_child(s.id, s.parent_id);
    }

    /// False: it is known already, or there are too many.
    bool know_child(const std::string& id, const std::string& parent) {
        return id != root && children.size() < options.max_children && children.emplace(id, parent).second;
    }

    void on_event(const event& e, time_point now) {
        if (const auto* created = std::get_if<session_created>(&e))
            adopt_child(created->info);
        if (const auto* updated = std::get_if<session_updated>(&e))
            adopt_child(updated->info);
        if (awaits_repair())
            hold(e, now);
        else
            take(e, now);
    }

    /// The stream goes on, but what happened before it does is not known yet.
    bool awaits_repair() const {
        return attached &&
               std::any_of(turns.begin(), turns.end(), [](const turn& t) { return !t.silent && !t.trusted; });
    }

    /// Keeps an event until the snapshot has told what came before it.
    void hold(const event& e, time_point now) {
        const auto session = session_of(e);
        if (!session.empty() && !owns(session))
            return;
        if (session == root && std::holds_alternative<session_deleted>(e)) {
            take(e, now);
            return;
        }
        // What decides about snapshots and about prompts that are never seen must not be lost with them.
        if (const auto* s = std::get_if<status_changed>(&e); s && session == root)
            count_busy(s->status);
        if (const auto* error = std::get_if<session_error>(&e); error && error->error.name != aborted_error)
            note_error(error->error, session == root);
        constexpr std::size_t enough = 8192;
        if (held.size() == enough) {
            // As though the stream had broken here once more.
            held.clear();
            ++seen.epoch;
        }
        held.push_back(e);
        progressed(now);
    }

    void take_held(time_point now) {
        for (const auto& e : std::exchange(held, {}))
            take(e, now);
    }

    void count_busy(const session_status& s) {
        if (s.state == session_status::kind::idle)
            return;
        ++seen.busy_seen;
        for (auto& t : turns)
            t.was_at_work = true;
    }

    /// An error carries no message id. One of the session's own is about what is at work: the answer that is
    /// being written, else the prompts that wait for one. While nothing is, it can only be about a prompt
    /// that the server does not take.
    void note_error(const api_error& error, bool own) {
        if (is_explained(error))
            return;
        for (auto& t : turns)
            if (!t.error)
                t.error = error;
        // The context being full ends no turn: a compaction follows, and its message says how that went.
        if (own && error.name == overflow_error)
            for (auto& t : turns)
                t.overflowed = t.overflowed || prompt_seen(t);
        if (!own || !busy() || error.name == overflow_error)
            return;
        const auto* writing = last_answer_of_all();
        // One that stopped with an earlier stream may have died with the server's process.
        const bool answering = writing && !writing->info.finished() && writing->heard == seen.epoch;
        // It may also be about one that the server does not take; an answer that fails tells its error
        // itself.
        const bool one_is_unknown =
            !left_unseen.empty() || std::any_of(turns.begin(), turns.end(),
                                                [&](const turn& t) { return !t.silent && !prompt_seen(t); });
        if (answering && one_is_unknown)
            return;
        for (auto& t : turns) {
            const auto* last = said.last_answer(t.id);
            const bool concerned =
                answering ? last == writing : prompt_seen(t) && (!last || last->info.finished());
            if (!concerned || t.own_error)
                continue;
            t.own_error = error;
            t.error_came_first = !t.abort_seen;
            t.error_is_sure = !one_is_unknown;
        }
    }

    bool is_explained(const api_error& error) const {
        return std::find(explained.begin(), explained.end(), error) != explained.end();
    }

    /// An answer tells an error to be its own: it is about no other turn.
    void explain(const api_error& error, const std::string& owner) {
        constexpr std::size_t enough = 64;
        if (!is_explained(error))
            explained.push_back(error);
        if (explained.size() > enough)
            explained.erase(explained.begin());
        for (auto& t : turns) {
            if (t.id == owner)
                continue;
            if (t.error == error)
                t.error.reset();
            if (t.own_error == error && !said.last_answer(t.id))
                forget_error(t);
        }
    }

    static void forget_error(turn& t) {
        t.own_error.reset();
        t.error_came_first = t.over_by_error = false;
    }

    /// The loop goes on after an error: it was not the end of those that wait for an answer.
    void survive_errors() {
        for (auto& t : turns)
            if (t.error_came_first && !t.over_by_error && !said.last_answer(t.id))
                forget_error(t);
    }

    void take(const event& e, time_point now) {
        trigger = type_of(e);
        const auto session = session_of(e);
        if (session.empty()) {
            on_common_event(e, now);
        } else if (session == root) {
            restart_grace(now);
            std::visit([&](const auto& each) { on_own(each, now); }, e);
        } else if (owns(session)) {
            std::visit([&](const auto& each) { on_childs(each, now); }, e);
        }
    }

    /// What carries no session id may be about any: it only makes us look, and an error may be why a prompt
    /// is unknown.
    void on_common_event(const event& e, time_point now) {
        if (const auto* error = std::get_if<session_error>(&e)) {
            note_error(error->error, false);
            evaluate(now);
        }
        if (std::holds_alternative<instance_disposed>(e)) {
            status.reset();
            evaluate(now);
        }
    }

    // the root's own events

    template <class E>
    void on_own(const E&, time_point) {}

    void on_own(const session_deleted&, time_point now) { settle_deleted(now); }

    void settle_deleted(time_point now) {
        for (auto& t : turns)
            t.cut_short = !t.trusted;
        while (!turns.empty()) {
            for (auto& t : turns)
                t.covered_by.clear(); // each ends by the same cause, none by another's end
            settle(std::string(turns.front().id), verdict{outcome::lost, rule::session_deleted, {}}, now);
        }
    }

    void on_own(const status_changed& e, time_point now) {
        ++seen.status_seen;
        count_busy(e.status);
        set_status(e.status, now);
        evaluate(now);
    }

    /// The session is said to be idle: what failed without an answer was no part of a later prompt's loop.
    void end_what_failed() {
        for (auto& t : turns)
            t.over_by_error = t.over_by_error || (t.error_came_first && prompt_seen(t) &&
                                                  t.covered_by.empty() && !said.last_answer(t.id));
    }

    void set_status(const session_status& s, time_point now) {
        const bool is_new = !status || *status != s;
        status = s;
        if (!is_new)
            return;
        progressed(now);
        tell_retry();
    }

    void tell_retry() {
        if (!status || status->state != session_status::kind::retry || status == retry_told)
            return;
        auto* t = current_turn();
        if (!t || !may_tell(*t))
            return;
        retry_told = status;
        tell(*t, retry_event{status->attempt, status->message, status->next_ms});
        // The server begins anew: what was being said stays as it is, and never ends.
        for (const auto& m : said.in_order())
            if (m->owner == t->id)
                for (auto& p : m->parts)
                    p.abandoned = p.abandoned || (p.live && !p.ended);
    }

    void on_own(const session_idle&, time_point now) {
        ++seen.status_seen;
        end_what_failed();
        if (!idle())
            set_status({}, now);
        evaluate(now);
    }

    void on_own(const session_error& e, time_point now) {
        progressed(now);
        if (e.error.name == aborted_error) {
            mark_aborted([](const message_record&) { return true; });
        } else {
            note_error(e.error, true);
        }
        evaluate(now);
    }

    /// An abort in a retry wait says nothing, but ends what waited behind that turn too.
    void interrupted_by_abort(const message_record& last) {
        const auto at = last.info.completed_ms.value_or(last.info.created_ms);
        mark_aborted([&](const message_record& prompt) { return prompt.info.created_ms < at; });
    }

    /// Without an answer and without an error: an abort in a retry wait, or a shell.
    void foreign_turn_ended(const message_record& last) {
        if (status && status->state == session_status::kind::retry)
            interrupted_by_abort(last);
        else if (!status)
            for (auto& t : turns)
                t.abort_guessed = t.abort_guessed || prompt_seen(t);
    }

    /// An abort ends every turn whose prompt the server had by then.
    template <class Predicate>
    void mark_aborted(Predicate had) {
        for (auto& t : turns)
            if (const auto* prompt = said.find(t.id); prompt && prompt->known && had(*prompt))
                t.abort_seen = true;
    }

    void on_own(const message_updated& e, time_point now) {
        if (!follows())
            return;
        progressed(now);
        // A prompt that was settled may be told of once more; it is no news, and belongs before those that
        // came since.
        const bool is_old = closed_messages.contains(e.info.id);
        auto& m = is_old ? said.place(e.info.id, e.info.created_ms) : said.append(e.info.id);
        m.heard = seen.epoch;
        merge_info(m, e.info, now, false);
        evaluate(now);
    }

    void on_own(const message_removed& e, time_point now) {
        progressed(now);
        if (const auto* m = said.find(e.message_id); m && m->kind != user_kind::prompt)
            said.erase(e.message_id);
        evaluate(now);
    }

    void on_own(const part_updated& e, time_point now) {
        if (!follows())
            return;
        progressed(now);
        auto& m = said.append(e.part.message_id);
        m.heard = seen.epoch;
        merge_part(m, e.part, now, true);
        if (e.part.type == wire::part::tool || !m.info.assistant)
            evaluate(now);
    }

    void on_own(const part_delta& e, time_point now) {
        auto* m = said.find(e.message_id);
        if (!m && !follows())
            return;
        progressed(now);
        if (!m)
            m = &said.append(e.message_id);
        m->heard = seen.epoch;
        if (is_foreign(*m))
            return;
        auto& p = m->part(e.part_id);
        if (p.ended || e.field != wire::field::text)
            return;
        if (!p.live) {
            p.withheld = true;
            return;
        }
        p.text += joiner.join(e);
        if (const auto* t = m->answers() && !m->is_summary() ? find_turn(m->owner) : nullptr)
            flush_part(*t, p);
    }

    void on_own(const part_removed& e, time_point now) {
        progressed(now);
        if (auto* m = said.find(e.message_id))
            std::erase_if(m->parts, [&](const part_record& p) { return p.id == e.part_id; });
    }

    void on_own(const session_compacted&, time_point now) { progressed(now); }

    void on_own(const permission_asked& e, time_point now) { on_childs(e, now); }
    void on_own(const question_asked& e, time_point now) { on_childs(e, now); }
    void on_own(const permission_replied& e, time_point now) { on_childs(e, now); }
    void on_own(const question_answered& e, time_point now) { on_childs(e, now); }

    // the children's: they count as progress, and they may ask

    template <class E>
    void on_childs(const E&, time_point now) {
        progressed(now);
    }
    void on_childs(const other_event&, time_point) {}
    void on_childs(const session_idle&, time_point) {}

    void on_childs(const status_changed& e, time_point now) {
        auto& known = child_status[e.session_id];
        if (known == e.status)
            return;
        known = e.status;
        progressed(now);
    }

    void on_childs(const session_deleted& e, time_point now) {
        progressed(now);
        children.erase(e.session_id);
        child_status.erase(e.session_id);
    }

    void on_childs(const permission_asked& e, time_point now) {
        progressed(now);
        tell_ask<permission_event>(e.request);
    }
    void on_childs(const question_asked& e, time_point now) {
        progressed(now);
        tell_ask<question_event>(e.request);
    }
    void on_childs(const permission_replied& e, time_point now) {
        progressed(now);
        answered(e.request_id, e.reply, e.reply == wire::reply_reject);
    }
    void on_childs(const question_answered& e, time_point now) {
        progressed(now);
        answered(e.request_id, e.rejected ? "rejected" : "answered", e.rejected);
    }

    void answered(std::string_view request, const std::string& reply, bool rejected) {
        const auto found =
            std::find_if(asks.begin(), asks.end(), [&](const ask& a) { return id_of(a) == request; });
        if (found == asks.end())
            return;
        const ask a = std::move(*found);
        asks.erase(found);
        remember_answered(id_of(a));
        unseen = unseen || (std::exchange(asks_left_out, false) && attached); // a snapshot tells the others
        tell_reply(a, reply);
        const auto call = std::visit([](const auto& r) { return r.session_id + '/' + r.call_id; }, a.request);
        auto* t = find_turn(a.turn);
        if (rejected && t && call.starts_with(root + '/'))
            t->rejected_calls.insert(call.substr(root.size() + 1));
    }

    void remember_answered(const std::string& id) {
        constexpr std::size_t enough = 4096;
        if (answered_asks.size() >= enough)
            answered_asks.clear();
        answered_asks.insert(id);
    }

    // messages and parts, from the stream and from snapshots

    /// Messages are looked at while there is a turn for which they may matter.
    bool follows() const { return options.adopt_prompts || following || any_visible(); }

    /// An answer to a prompt that is nobody's here.
    bool is_foreign(const message_record& m) const {
        return m.known && (m.info.assistant ? m.owner.empty() : m.kind == user_kind::shell);
    }

    void merge_info(message_record& m, const message_info& info, time_point now, bool from_snapshot) {
        const bool was_known = m.known;
        const bool was_finished = m.known && m.info.finished();
        if (was_known && was_finished && !info.finished())
            return; // older than what is known
        const auto error = m.info.error;
        m.info = info;
        if (!m.info.error)
            m.info.error = error;
        m.known = true;
        left_unseen.erase(m.info.id);
        if (!was_known || was_finished != info.finished())
            ++news;
        if (!info.assistant) {
            know_prompt(m, now);
            return;
        }
        if (!was_known) {
            if (!from_snapshot && !info.finished())
                survive_errors();
            know_answer(m, now);
        }
        if (!was_finished && info.finished())
            know_end(m, from_snapshot);
        flush_message(m);
    }

    void know_prompt(message_record& m, time_point now) {
        auto* t = find_turn(m.info.id);
        if (closed_messages.contains(m.info.id))
            m.kind = user_kind::prompt;
        if (!t)
            return;
        m.kind = user_kind::prompt;
        m.owner = t->id;
        for (const auto& other : said.in_order())
            if (other->answers() && other->info.parent_id == t->id && other->owner.empty())
                know_answer(*other, now);
        flush_turn(*t);
    }

    void know_answer(message_record& m, time_point now) {
        auto* under = said.find(m.info.parent_id);
        if (under && under->known && under->kind == user_kind::unclassed)
            become_prompt(*under, now);
        if (under)
            m.owner = under->owner;
        else if (find_turn(m.info.parent_id))
            m.owner = m.info.parent_id;
        if (auto* t = find_turn(m.owner)) {
            t->overflowed = t->overflowed && !m.is_summary();
            if (!m.info.finished())
                t->abort_seen = t->abort_guessed = false; // it came too early for that abort
        } else {
            m.parts.clear();
        }
    }

    void know_end(message_record& m, bool from_snapshot) {
        if (m.info.error && m.info.error->name != aborted_error)
            explain(*m.info.error, m.owner);
        if (!m.info.error && m.info.finish.empty() && m.owner.empty() && !from_snapshot)
            foreign_turn_ended(m);
        if (!m.info.error || m.info.error->name != aborted_error)
            return;
        const auto* t = find_turn(m.owner);
        if (!t || t->abort_seen)
            return; // told by the session's error, at the right moment
        if (!from_snapshot)
            mark_aborted([](const message_record&) { return true; });
        else
            aborts_found.push_back(m.info.completed_ms.value_or(m.info.created_ms));
    }

    /// A prompt of somebody else's, which is told only where all are, and once.
    void become_prompt(message_record& m, time_point now) {
        if (turns.size() >= options.max_turns) {
            turns_left_out = true;
            m.kind = user_kind::unclassed; // until it is looked at once more
            m.parted = false;
            return;
        }
        m.kind = user_kind::prompt;
        const bool silent = !options.adopt_prompts && (!following || closed_messages.contains(m.info.id));
        auto& t = open(m.info.id, now, silent);
        t.posted = true;
        m.owner = t.id;
    }

    void merge_part(message_record& m, const part& p, time_point now, bool from_stream) {
        if (m.known && !m.info.assistant) {
            if (m.parted)
                return;
            said.classify(m, p);
            if (m.kind == user_kind::prompt && m.owner.empty() && !closed_messages.contains(m.info.id))
                become_prompt(m, now);
            return;
        }
        if (is_foreign(m))
            return;
        if (from_stream && m.parts.empty() && (!m.known || p.type != wire::part::step_start))
            miss_beginning(m);
        auto& record = m.part(p.id);
        record.what = kind_of(p.type);
        if (p.type == wire::part::step_start)
            abandon_before(m, record);
        if (record.what == part_record::kind::tool)
            merge_tool(record, p);
        else if (record.what != part_record::kind::other)
            merge_text(record, p, from_stream);
        const auto* t = m.answers() && !m.is_summary() ? find_turn(m.owner) : nullptr;
        if (t)
            flush_part(*t, record);
    }

    /// A message is told of before its parts, and an answer's first part is the start of a step: the stream
    /// did not break, and yet did not bring that.
    void miss_beginning(const message_record& m) {
        if (!attached || options.adopt_prompts || closed_messages.contains(m.info.id))
            return;
        for (auto& t : turns)
            if (t.id == m.owner || !m.known)
                t.trusted = false;
    }

    /// Each try of the model begins with one: what was being said before it stays as it is, and never ends.
    static void abandon_before(message_record& m, const part_record& start) {
        for (auto& p : m.parts) {
            if (&p == &start)
                break;
            p.abandoned = p.abandoned || (p.live && !p.ended);
        }
    }

    void merge_tool(part_record& record, const part& p) {
        if (is_usable_id(p.child_session) && p.child_session != root) {
            record.child_session = p.child_session;
            know_child(p.child_session, root);
        }
        if (progress_of(p.state) < progress_of(record.tool.state))
            return;
        tool_event now{p.call_id.empty() ? p.id : p.call_id, p.tool, p.state, p.title};
        // A title once known stays: on its way out a tool may lose it.
        if (now.title.empty())
            now.title = record.tool.title;
        if (now != record.tool)
            ++news;
        record.tool = std::move(now);
        record.rejected = record.rejected || says_rejected(p);
    }

    void merge_text(part_record& record, const part& p, bool from_stream) {
        if (record.ended)
            return;
        // A snapshot's view of a running part is older than what was heard.
        if (!from_stream && !p.ended && p.text.size() <= record.text.size())
            return;
        if (p.text.empty() && !p.ended) {
            // Its beginning: from here on nothing of it is missed, if nothing was before.
            if (from_stream && attached && record.text.empty() && !record.withheld)
                record.live = true;
            return;
        }
        if (p.ended)
            ++news;
        record.ended = p.ended;
        const std::string_view told(record.text.data(), record.told);
        if (p.text.starts_with(told)) {
            record.text = p.text;
            record.live = from_stream && attached;
            record.withheld = false;
            return;
        }
        // Where all of it was heard, the server merely tidied its spaces. Else what is missing cannot be
        // placed.
        record.lost = !record.live || !same_but_for_space(record.text, p.text);
        record.told = p.text.size();
        record.text = p.text;
    }

    // --- the stream

    void break_stream() {
        attached = false;
        held.clear();
        for (const auto& m : said.in_order())
            for (auto& p : m->parts)
                if (!p.ended && !p.abandoned)
                    p.live = false;
        for (auto& t : turns)
            t.trusted = t.heard_out = false;
    }

    /// The server did not answer when it was asked for a stream. A stall alone says nothing of that: an idle
    /// stream may be silent for longer than its owner waits.
    static bool is_silence(retry::failure_class c) {
        using retry::failure_class;
        return c == failure_class::timeout || c == failure_class::refused || c == failure_class::unreachable;
    }

    void on_interrupted(const retry::failure& why, unsigned next_attempt, duration retry_in, time_point now) {
        out_of_reach = out_of_reach || is_silence(why.cls);
        on_broken_off(why, now);
        tell_all(interrupted_event{why, next_attempt, retry_in});
    }

    void on_broken_off(const retry::failure& why, time_point now) {
        if (last_outage.over)
            last_outage = {why.cls, now, {}, false};
        break_stream();
        const bool disposed = why.cls == failure_class::ended || why.cls == failure_class::early_end;
        for (auto& t : turns) {
            t.gap_pending = !t.silent;
            t.was_disposed = t.was_disposed || (disposed && t.posted);
        }
    }

    void on_attached() {
        if (attached)
            break_stream();
        attached = true;
        unseen = following;
        ++seen.epoch;
        // What was not even posted yet can have missed nothing.
        for (auto& t : turns)
            if (!t.posted && !t.gap_pending)
                t.trusted = true;
        if (!any_visible())
            last_outage.over = true;
    }

    /// A snapshot has told what the stream could not.
    void repaired(time_point now) {
        for (auto& t : turns) {
            tell_repair(t, now);
            t.trusted = t.asked_for = true;
            flush_turn(t);
        }
        last_outage.over = true;
    }

    /// The same without a stream: what comes after this look may be missed until the next.
    void captured(time_point now) {
        for (auto& t : turns) {
            tell_repair(t, now);
            t.trusted = t.asked_for = true;
            flush_turn(t);
            t.trusted = false;
        }
    }

    // --- snapshots

    bool on_snapshot(const snapshot& s, const mark& taken, time_point now, bool by_capture) {
        const bool says_idle = s.status.state == session_status::kind::idle;
        if (taken.busy_seen != seen.busy_seen && says_idle)
            return false;
        trigger = "snapshot";
        no_snapshot_before.reset();
        if (!s.session_known) {
            settle_deleted(now);
            return true;
        }
        const bool was_quiet = quiet_due;
        const auto news_before = news;
        for (const auto& child : s.children)
            if (know_child(child.id, child.parent_id))
                ++news;
        merge_messages(s, now);
        if (attached && taken.epoch == seen.epoch) {
            unseen = false;
            repaired(now);
        } else if (by_capture && !attached)
            captured(now);
        if (taken.status_seen == seen.status_seen)
            set_status(s.status, now);
        tell_retry();
        // What it was silent for proves nothing: it may take up what it has only now.
        if (std::exchange(out_of_reach, false))
            restart_grace(now);
        evaluate(now, &taken);
        for (auto& t : turns)
            if (t.doubt && *t.doubt <= taken.doubts)
                t.doubt.reset(); // it is not over after all
        merge_asks(s, taken);
        if (!awaits_repair())
            take_held(now);
        if (news != news_before)
            progressed(now);
        else if (was_quiet)
            tell_quiet(name_of(s.status.state), now);
        return true;
    }

    /// The messages from the first that concerns an open turn on: what is older is history.
    void merge_messages(const snapshot& s, time_point now) {
        std::vector<const message*> sorted;
        for (const auto& m : s.messages)
            if (m.info.session_id == root)
                sorted.push_back(&m);
        std::stable_sort(sorted.begin(), sorted.end(), [](const message* a, const message* b) {
            return a->info.created_ms < b->info.created_ms;
        });
        if (following && !std::exchange(history_known, true))
            remember_history(sorted, s.status);
        turns_left_out = false;
        const auto first = std::find_if(sorted.begin(), sorted.end(), [&](const message* m) {
            return find_turn(m->info.id) || find_turn(m->info.parent_id) || said.find(m->info.id) ||
                   (following && is_new_prompt(*m));
        });
        for (auto m = first; m != sorted.end(); ++m)
            merge_message(**m, now);
        for (const auto at : std::exchange(aborts_found, {}))
            mark_aborted([&](const message_record& prompt) { return prompt.info.created_ms < at; });
    }

    bool is_new_prompt(const message& m) const {
        return may_be_prompt(m) && !closed_messages.contains(m.info.id);
    }
    static bool may_be_prompt(const message& m) {
        const bool by_server =
            !m.parts.empty() && (m.parts.front().synthetic || m.parts.front().type == wire::part::compaction);
        return !m.info.assistant && !by_server;
    }

    static bool ends_turn(const message_info& m) {
        return m.finished() && (m.error || m.finish != wire::finish_tool_calls);
    }

    /// Every message before the prompt that is at work, or still to be answered.
    void remember_history(const std::vector<const message*>& sorted, const session_status& status) {
        auto present = sorted.end();
        const auto last =
            std::find_if(sorted.rbegin(), sorted.rend(), [](const message* m) { return m->info.assistant; });
        const bool at_work = status.state != session_status::kind::idle;
        const bool prompted_since =
            std::any_of(last.base(), sorted.end(), [](const message* m) { return may_be_prompt(*m); });
        if (last == sorted.rend())
            present = sorted.begin();
        else if (!(*last)->info.finished() || (at_work && !(prompted_since && ends_turn((*last)->info))))
            present = std::find_if(sorted.begin(), sorted.end(),
                                   [&](const message* m) { return m->info.id == (*last)->info.parent_id; });
        else
            present = last.base();
        while (present != sorted.begin() && present != sorted.end() && !may_be_prompt(**present))
            --present;
        // What waited when that was begun is answered together with it.
        while (present != sorted.begin() && present != sorted.end() && !(*std::prev(present))->info.assistant)
            --present;
        for (auto m = sorted.begin(); m != present; ++m)
            remember_closed((*m)->info.id);
    }

    void merge_message(const message& m, time_point now) {
        auto& record = said.place(m.info.id, m.info.created_ms);
        merging = true;
        merge_info(record, m.info, now, true);
        said.own_again(record);
        if (record.answers() && record.owner.empty())
            know_answer(record, now); // its prompt may be known by now
        if (record.answers() && !is_foreign(record))
            record.arrange_as(m.parts);
        for (const auto& p : m.parts)
            merge_part(record, p, now, false);
        if (may_answer_an_earlier(record))
            become_prompt(record, now);
        merging = false;
        if (const auto* t = find_turn(record.owner))
            flush_turn(*t);
    }

    /// A prompt that was settled here before, and with which an earlier one that is still open may have been
    /// answered.
    bool may_answer_an_earlier(const message_record& m) const {
        return !m.info.assistant && closed_messages.contains(m.info.id) && m.owner.empty() &&
               std::any_of(turns.begin(), turns.end(), [&](const turn& t) {
                   const auto* prompt = said.find(t.id);
                   return !t.silent && prompt && prompt->index < m.index && !said.last_own_answer(t.id);
               });
    }

    /// After an abort the server lists a request for ever: one whose tool does not wait for it is not told.
    bool is_awaited(std::string_view session, std::string_view call) const {
        if (!busy() || !owns(session))
            return false;
        if (session == root && call.empty())
            return true;
        const message_record* where = nullptr;
        const auto* tool = waiting_tool(session, call, &where);
        return tool && progress_of(tool->tool.state) <= 2 && find_turn(where->owner);
    }

    /// A turn that nobody here follows any more asks; whoever waits behind it must know, as somebody has to
    /// answer.
    bool waits_in(const snapshot& s, std::string_view session, std::string_view call) const {
        if (!busy() || !owns(session))
            return false;
        const std::string child = session == root ? std::string() : top_child(session);
        const auto waits = [&](const part& p) {
            const bool it = child.empty() ? !call.empty() && p.call_id == call : p.child_session == child;
            return it && p.type == wire::part::tool && progress_of(p.state) <= 2;
        };
        return std::any_of(s.messages.begin(), s.messages.end(), [&](const message& m) {
            return m.info.assistant && !m.info.finished() &&
                   std::any_of(m.parts.begin(), m.parts.end(), waits);
        });
    }

    void merge_asks(const snapshot& s, const mark& taken) {
        std::set<std::string> listed;
        for (const auto& r : s.permissions)
            listed.insert(r.id);
        for (const auto& r : s.questions)
            listed.insert(r.id);
        const auto is_gone = [&](const ask& a) {
            return a.number <= taken.asks_seen && !listed.contains(id_of(a));
        };
        for (const auto& a : asks)
            if (is_gone(a))
                tell_reply(a, "withdrawn");
        std::erase_if(asks, is_gone);
        for (const auto& r : s.permissions)
            if (is_awaited(r.session_id, r.call_id) || waits_in(s, r.session_id, r.call_id))
                tell_ask<permission_event>(r);
        for (const auto& r : s.questions)
            if (is_awaited(r.session_id, r.call_id) || waits_in(s, r.session_id, r.call_id))
                tell_ask<question_event>(r);
    }

    void tell_quiet(std::string_view what, time_point now) {
        quiet_due = false;
        quiet_check_at = later(now, options.quiet_after);
        tell_all(quiet_event{now - progress_at, std::string(what)});
    }

    void snapshot_failed(time_point now) {
        out_of_reach = true;
        if (quiet_due)
            tell_quiet("unreachable", now);
        no_snapshot_before = later(now, std::max<duration>(options.start_grace, seconds(1)));
    }

    // --- time

    bool watches_quiet() const {
        return attached && options.quiet_after > duration::zero() && !quiet_due &&
               std::any_of(turns.begin(), turns.end(), [](const turn& t) { return t.posted && !t.silent; });
    }
    static bool waits(const turn& t) { return t.idle_since && !t.grace_over; }

    void tick(time_point now) {
        if (no_snapshot_before && now >= *no_snapshot_before)
            no_snapshot_before.reset();
        for (auto& t : turns)
            if (waits(t) && now >= later(*t.idle_since, grace_of(t)))
                t.grace_over = ++seen.graces;
        if (watches_quiet() && now >= quiet_check_at)
            quiet_due = true;
        abort_again(now);
    }

    /// What the server took up after we had it abort runs for nobody, and may ask what nobody answers.
    void abort_again(time_point now) {
        for (auto& t : turns) {
            if (!t.abort_again || now < *t.abort_again)
                continue;
            t.abort_again = later(now, options.start_grace);
            abort_due = abort_due || (busy() && attached && &t == current_turn());
        }
    }

    std::optional<time_point> next_deadline() const {
        std::optional<time_point> next;
        const auto consider = [&](time_point t) {
            next = next ? std::min(*next, t) : t;
        };
        if (!any_visible() && !unseen)
            return next;
        if (no_snapshot_before)
            consider(*no_snapshot_before);
        for (const auto& t : turns) {
            if (waits(t))
                consider(later(*t.idle_since, grace_of(t)));
            if (t.abort_again && !t.silent)
                consider(*t.abort_again);
        }
        if (watches_quiet())
            consider(quiet_check_at);
        return next;
    }

    bool wants_snapshot() const {
        if (!attached || no_snapshot_before)
            return false;
        const bool may_have_more = turns_left_out && turns.size() < options.max_turns;
        return quiet_due || unseen || may_have_more ||
               std::any_of(turns.begin(), turns.end(), [](const turn& t) {
                   return t.grace_over || t.doubt || (!t.silent && !t.trusted);
               });
    }

    // --- the owner

    /// A turn that was let go of is taken up again: what it told before, it told somebody else.
    void take_up(turn& t) {
        if (!std::exchange(t.silent, false))
            return;
        opened.push_back(t.id);
        for (const auto& m : said.in_order()) {
            if (m->owner != t.id)
                continue;
            m->usage_told = false;
            for (auto& p : m->parts) {
                p.told = 0;
                p.tool_told = {};
                p.lost = false;
            }
        }
    }

    void adopt(std::string id, time_point now) {
        auto* known = find_turn(id);
        auto& t = known ? *known : open(std::move(id), now);
        take_up(t);
        t.posted = t.adopted = true;
        t.trusted = t.heard_out = false;
        progressed(now);
    }

    void posted(std::string_view id, bool once, time_point now) {
        auto* t = find_turn(id);
        if (!t || t->posted)
            return;
        t->posted = true;
        t->sent_again = !once;
        progressed(now);
        if (t->deferred) {
            auto end = std::move(*t->deferred);
            settle(std::string(id), std::move(end), now);
            return;
        }
        evaluate(now);
    }

    void close(const std::string& id, settlement s) {
        auto* t = find_turn(id);
        if (!t || t->silent)
            return;
        trigger.clear();
        s.text = final_text(*t);
        tell_end(*t, s);
        // Its messages go on, and others may be answered together with it.
        if (prompt_seen(*t) || t->posted)
            t->silent = t->posted = true;
        else {
            forget(id);
            closed_messages.erase(id); // should the server have it nevertheless, it is like somebody else's
            left_unseen.insert(id);
        }
        if (!any_visible())
            forget_all();
    }

    void abort_requested(time_point now) {
        for (auto& t : turns) {
            t.abort_asked = true;
            if (!t.silent)
                t.abort_again = later(now, options.abort_grace);
            if (t.idle_since)
                t.idle_since = now;
        }
    }

    void abort_accepted() {
        for (auto& t : turns)
            t.abort_accepted = t.abort_asked;
    }

    std::string reason(const turn& t) const {
        if (!t.posted)
            return "its prompt is not posted";
        const auto* last = said.last_answer(t.id);
        if (!t.covered_by.empty())
            return "answered together with a later prompt, which has no end";
        if (!last)
            return prompt_seen(t) ? "no assistant message" : "the prompt was not seen";
        if (!last->info.finished())
            return "its last assistant message has no end";
        if (!t.trusted)
            return "the stream was interrupted";
        return "the session is not known to be idle";
    }
};

turn_tracker::turn_tracker(std::string session_id, tracker_options options)
    : state_(std::make_unique<state>(session_id, options)) {
    if (options.witness)
        witness_ = options.witness(session_id, options);
}
turn_tracker::~turn_tracker() = default;
turn_tracker::turn_tracker(turn_tracker&&) noexcept = default;
turn_tracker& turn_tracker::operator=(turn_tracker&&) noexcept = default;

void turn_tracker::open(std::string message_id, time_point now) {
    if (auto* known = state_->find_turn(message_id))
        state_->take_up(*known);
    else
        state_->open(message_id, now);
    if (witness_)
        witness_->open(message_id, now);
}

void turn_tracker::adopt(std::string message_id, time_point now) {
    state_->adopt(message_id, now);
    if (witness_)
        witness_->adopt(message_id, now);
}

void turn_tracker::posted(std::string_view message_id, time_point now, bool once) {
    state_->posted(message_id, once, now);
    if (witness_)
        witness_->posted(message_id, now, once);
}

void turn_tracker::close(std::string_view message_id, outcome o, rule r,
                         std::optional<settlement_error> error, reprompt safe, time_point) {
    settlement s;
    s.outcome = o;
    s.rule = r;
    s.error = std::move(error);
    s.safe_to_reprompt = safe;
    state_->close(std::string(message_id), s);
    if (witness_)
        witness_->close(message_id, s);
}

void turn_tracker::abort_requested(time_point now) {
    state_->abort_requested(now);
    if (witness_)
        witness_->abort_requested(now);
}

void turn_tracker::abort_accepted() {
    state_->abort_accepted();
    if (witness_)
        witness_->abort_accepted();
}

void turn_tracker::follow() {
    state_->unseen = state_->unseen || (state_->attached && !state_->following);
    state_->following = true;
    if (witness_)
        witness_->follow();
}

void turn_tracker::moved() {
    state_->moved = state_->any_visible();
    if (witness_)
        witness_->moved();
}

void turn_tracker::attached(time_point) {
    state_->on_attached();
    if (witness_)
        witness_->attached();
}

void turn_tracker::interrupted(const retry::failure& why, unsigned next_attempt, duration retry_in,
                               time_point now) {
    state_->on_interrupted(why, next_attempt, retry_in, now);
    if (witness_)
        witness_->interrupted(why, next_attempt, retry_in, now);
}

void turn_tracker::broken_off(const retry::failure& why, time_point now) {
    state_->on_broken_off(why, now);
    if (witness_)
        witness_->broken_off(why, now);
}

void turn_tracker::on_event(const event& e, time_point now) {
    state_->on_event(e, now);
    if (witness_)
        witness_->on_event(e, now);
}

turn_tracker::mark turn_tracker::begin_snapshot() const noexcept {
    auto taken = state_->seen;
    if (witness_)
        taken.witness = witness_->begin_snapshot();
    return taken;
}

bool turn_tracker::on_snapshot(const snapshot& s, mark taken, time_point now) {
    return merge(s, taken, false, now);
}

bool turn_tracker::on_capture(const snapshot& s, mark taken, time_point now) {
    return merge(s, taken, true, now);
}

bool turn_tracker::merge(const snapshot& s, const mark& taken, bool by_capture, time_point now) {
    const bool merged = state_->on_snapshot(s, taken, now, by_capture);
    if (witness_)
        witness_->on_snapshot(s, taken.witness, by_capture, merged, now);
    return merged;
}

void turn_tracker::snapshot_failed(const retry::failure&, time_point now) {
    state_->snapshot_failed(now);
    if (witness_)
        witness_->snapshot_failed(now);
}

void turn_tracker::tick(time_point now) {
    state_->tick(now);
    if (witness_)
        witness_->tick(now);
}

bool turn_tracker::wants_snapshot() const noexcept {
    return state_->wants_snapshot();
}

std::optional<time_point> turn_tracker::next_deadline() const noexcept {
    return state_->next_deadline();
}

std::vector<turn_tracker::output> turn_tracker::take_outputs() {
    auto all = std::exchange(state_->outputs, {});
    if (witness_)
        for (const auto& each : all)
            witness_->delivered(each.message, each.event);
    return all;
}

std::vector<std::string> turn_tracker::take_reposts() {
    auto all = std::exchange(state_->reposts, {});
    if (witness_)
        for (const auto& each : all)
            witness_->reposted(each);
    return all;
}

bool turn_tracker::take_abort() {
    return std::exchange(state_->abort_due, false);
}

std::vector<std::string> turn_tracker::take_opened() {
    return std::exchange(state_->opened, {});
}

std::vector<turn_tracker::output> turn_tracker::told_so_far() const {
    return state_->told_so_far();
}

bool turn_tracker::knows_history() const noexcept {
    return state_->history_known;
}

bool turn_tracker::left_turns_out() const noexcept {
    return state_->turns_left_out;
}

std::optional<session_status> turn_tracker::status() const {
    return state_->status;
}

std::optional<unsigned> turn_tracker::depth_of(std::string_view session_id) const {
    return state_->depth_of(session_id);
}

bool turn_tracker::has_open_turns() const noexcept {
    return state_->any_visible();
}

bool turn_tracker::is_open(std::string_view message_id) const noexcept {
    const auto* t = state_->find_turn(message_id);
    return t && !t->silent;
}

bool turn_tracker::owns_session(std::string_view session_id) const noexcept {
    return state_->owns(session_id);
}

std::vector<turn_tracker::pending_check> turn_tracker::unsettled() const {
    std::vector<pending_check> all;
    for (const auto& t : state_->turns)
        if (!t.silent)
            all.push_back({t.id, state_->reason(t)});
    return all;
}

} // namespace holdfast::opencode
