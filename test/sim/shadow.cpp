#include "shadow.hpp"

#include <holdfast/opencode/ledger/turn_tracker.hpp>

#include <map>
#include <utility>

namespace holdfast::sim {

namespace {

using namespace opencode;

std::string describe(const settlement& s) {
    auto text = std::string(to_string(s.outcome)) + " by " + std::string(to_string(s.rule)) + ", reprompt " +
                std::string(to_string(s.safe_to_reprompt));
    if (s.error)
        text += ", error " + s.error->name + ' ' + s.error->message;
    if (!s.merged_into.empty())
        text += ", into " + s.merged_into;
    return text + ", text '" + s.text + '\'';
}

/// What the owner of a turn was told.
struct told {
    std::vector<settlement> ends;
    std::map<std::string, std::string> parts;
    std::vector<std::string> others; ///< approvals, tools, retries, gaps, in order
    std::size_t snapshots = 0;       ///< merged by the time of the last end
    std::size_t reposts = 0;

    void hear(const agent_event& e, std::size_t merged) {
        if (const auto* s = std::get_if<settlement>(&e)) {
            ends.push_back(*s);
            snapshots = merged;
        } else if (const auto* t = std::get_if<text_event>(&e)) {
            parts[t->part] += t->delta;
        } else if (const auto* r = std::get_if<reasoning_event>(&e)) {
            parts[r->part] += r->delta;
        } else if (const auto* p = std::get_if<permission_event>(&e)) {
            others.push_back("permission " + p->request.id + ' ' + p->reply.value_or("asked"));
        } else if (const auto* q = std::get_if<question_event>(&e)) {
            others.push_back("question " + q->request.id + ' ' + q->reply.value_or("asked"));
        } else if (const auto* u = std::get_if<tool_event>(&e)) {
            others.push_back("tool " + u->id + ' ' + u->state + ' ' + u->title);
        } else {
            others.push_back(ledger::describe(ledger::deliver{{}, e}));
        }
    }
};

/// What differs first; empty: nothing.
std::string difference(const told& driver, const told& shadow) {
    if (driver.ends.size() != shadow.ends.size())
        return std::to_string(driver.ends.size()) +
               " settlements, shadow: " + std::to_string(shadow.ends.size()) +
               (driver.ends.empty() ? "" : "; " + describe(driver.ends.back())) +
               (shadow.ends.empty() ? "" : "; shadow: " + describe(shadow.ends.back()));
    for (std::size_t i = 0; i < driver.ends.size(); ++i)
        if (describe(driver.ends[i]) != describe(shadow.ends[i]))
            return describe(driver.ends[i]) + "; shadow: " + describe(shadow.ends[i]);
    for (const auto& [id, text] : driver.parts)
        if (const auto found = shadow.parts.find(id); found == shadow.parts.end() || found->second != text)
            return "part " + id + " is '" + text + "'; shadow: '" +
                   (found == shadow.parts.end() ? "" : found->second) + '\'';
    if (shadow.parts.size() != driver.parts.size())
        return "the shadow has more parts";
    if (driver.reposts != shadow.reposts)
        return std::to_string(driver.reposts) + " reposts, shadow: " + std::to_string(shadow.reposts);
    for (std::size_t i = 0; i < std::max(driver.others.size(), shadow.others.size()); ++i) {
        const auto at = [i](const told& t) {
            return i < t.others.size() ? t.others[i] : std::string("nothing");
        };
        if (at(driver) != at(shadow))
            return "number " + std::to_string(i) + " is '" + at(driver) + "'; shadow: '" + at(shadow) + '\'';
    }
    return {};
}

class shadow final : public tracker_witness {
public:
    shadow(std::shared_ptr<shadow_report> into, std::string session, const tracker_options& options)
        : into_(std::move(into)), session_(std::move(session)), tracker_(session_, options) {}

    ~shadow() override {
        for (const auto& [message, t] : driver_) {
            ++into_->turns;
            const auto what = difference(t, shadow_[message]);
            if (what.empty())
                ++into_->equal;
            else
                into_->differences.push_back(session_ + ' ' + message + ": " + what);
        }
        for (const auto& [message, t] : shadow_)
            if (!driver_.contains(message))
                into_->differences.push_back(session_ + ' ' + message + ": only the shadow tells of it");
    }

    void open(const std::string& m, time_point now) override { take("open " + m, tracker_.open(m, now)); }
    void posted(std::string_view m, time_point now, bool once) override {
        take("posted " + std::string(m), tracker_.posted(m, now, once));
    }
    void adopt(const std::string& m, time_point now) override { take("adopt " + m, tracker_.adopt(m, now)); }
    void close(std::string_view m, const settlement& how) override {
        take("close " + std::string(m), tracker_.close(m, how));
    }
    void abort_requested(time_point now) override { take("abort_requested", tracker_.abort_requested(now)); }
    void abort_accepted() override { take("abort_accepted", tracker_.abort_accepted()); }
    void follow() override { take("follow", tracker_.follow()); }
    void moved() override { take("moved", tracker_.moved()); }
    void attached() override { take("attached", tracker_.attached()); }
    void interrupted(const retry::failure& why, unsigned next, duration in, time_point now) override {
        take("interrupted", tracker_.interrupted(why, next, in, now));
    }
    void broken_off(const retry::failure& why, time_point now) override {
        take("broken_off", tracker_.broken_off(why, now));
    }
    void on_event(const event& e, time_point now) override { take(name_of(e), tracker_.hear(e, now)); }
    std::uint64_t begin_snapshot() override { return tracker_.begin_snapshot(); }
    void on_snapshot(const snapshot& s, std::uint64_t begun, bool by_capture, bool merged,
                     time_point now) override {
        merged_ += merged ? 1 : 0;
        take((merged ? "snapshot, begun at " : "void snapshot, begun at ") + std::to_string(begun) + shown(s),
             tracker_.merge(s, begun, by_capture, now));
    }
    void snapshot_failed(time_point now) override { take("snapshot_failed", tracker_.snapshot_failed(now)); }
    void tick(time_point now) override { take("", tracker_.tick(now)); }

    void delivered(const std::string& message, const agent_event& e) override {
        driver_[message].hear(e, merged_);
        if (into_->tracing)
            trace("    driver: " + ledger::describe(ledger::deliver{message, e}));
    }
    void reposted(const std::string& message) override { ++driver_[message].reposts; }

private:
    static std::string name_of(const event& e) {
        auto text = std::string(type_of(e)) + ' ' + std::string(opencode::session_of(e));
        if (const auto* m = std::get_if<message_updated>(&e))
            text += ' ' + m->info.id + (m->info.assistant ? " answers " + m->info.parent_id : "") +
                    (m->info.finished() ? " finished " + m->info.finish : "");
        if (const auto* p = std::get_if<part_updated>(&e))
            text += ' ' + p->part.message_id + ' ' + p->part.id + ' ' + p->part.type + ' ' + p->part.state;
        if (const auto* s = std::get_if<status_changed>(&e))
            text += s->status.state == session_status::kind::idle ? " idle" : " busy";
        if (const auto* s = std::get_if<session_error>(&e))
            text += ' ' + s->error.name;
        return text;
    }
    static std::string shown(const snapshot& s) {
        std::string text = s.status.state == session_status::kind::idle ? ", idle:" : ", busy:";
        for (const auto& m : s.messages)
            text += ' ' + m.info.id + (m.info.finished() ? "." : "");
        return text;
    }

    void take(const std::string& what, const ledger::actions& all) {
        const bool shown = into_->tracing && (!what.empty() || !all.empty());
        if (shown && !what.empty())
            trace(std::to_string(tracker_.facts().at()) + ' ' + what);
        for (const auto& a : all) {
            if (const auto* d = std::get_if<ledger::deliver>(&a))
                shadow_[d->message].hear(d->event, merged_);
            if (const auto* r = std::get_if<ledger::repost>(&a))
                ++shadow_[r->message].reposts;
            if (shown && !std::holds_alternative<ledger::wake_at>(a))
                trace("    shadow: " + ledger::describe(a));
        }
    }
    void trace(const std::string& line) { into_->trace.push_back(session_ + ' ' + line); }

    std::shared_ptr<shadow_report> into_;
    std::string session_;
    ledger::turn_tracker tracker_;
    std::map<std::string, told> driver_;
    std::map<std::string, told> shadow_;
    std::size_t merged_ = 0; ///< snapshots
};

} // namespace

opencode::make_witness make_shadow(std::shared_ptr<shadow_report> into) {
    return [into](const std::string& session, const tracker_options& options) {
        return std::make_shared<shadow>(into, session, options);
    };
}

} // namespace holdfast::sim
