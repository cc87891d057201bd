// What the owners of turns have received: the difference between that and the ledger becomes events, without
// a hole or a repeat, with a record of each gap. Not for users.
#pragma once

#include <holdfast/opencode/ledger/action.hpp>
#include <holdfast/opencode/ledger/kept_text.hpp>
#include <holdfast/opencode/ledger/session_ledger.hpp>

#include <map>
#include <optional>
#include <string>
#include <utility>

namespace holdfast::opencode::ledger {

/// The turns that somebody listens to.
class audience {
public:
    struct listener {
        position since = 0; ///< it listens
        position told = 0;  ///< last that its stream was repaired
    };
    void add(const std::string& turn, position at) { listeners_.insert_or_assign(turn, listener{at, 0}); }
    void remove(const std::string& turn) { listeners_.erase(turn); }
    [[nodiscard]] bool has(const std::string& turn) const { return listeners_.contains(turn); }
    [[nodiscard]] bool empty() const noexcept { return listeners_.empty(); }
    [[nodiscard]] listener* find(const std::string& turn) {
        const auto found = listeners_.find(turn);
        return found == listeners_.end() ? nullptr : &found->second;
    }

private:
    std::map<std::string, listener> listeners_;
};

class narrator {
public:
    /// `followed_text`: see tracker_options.
    narrator(session_ledger& ledger, audience& listeners, std::size_t followed_text)
        : ledger_(ledger), audience_(listeners), text_(ledger, listeners, followed_text) {}

    // --- the differences
    void tell(const std::string& turn, agent_event e);
    void tell_all(const agent_event& e);
    void flush(const message_record& m, part_record& p);
    void flush(message_record& m);
    void flush(const turn_facts& t);
    void flush_all();
    /// Of the turn at work: that the server waits before it asks the model again.
    void tell_retry();
    void forget_retry() { retry_told_.reset(); }
    /// Nothing is new since `since`, and the server says this.
    void tell_quiet(duration lasted, std::string status);
    [[nodiscard]] actions told_so_far() const;
    /// To be called when text may have come.
    void bound_text() { text_.bound(); }
    /// What it received before, it told somebody else.
    void begin_anew(const turn_facts& t);

    // --- gaps
    void interrupted(failure_class cls, time_point now);
    void attached();
    /// A snapshot has told what the stream could not. All that is known is delivered, even of a stream that
    /// is broken.
    void repaired(time_point now);
    void tell_repair(const turn_facts& t, time_point now);
    /// That text is lost.
    void tell_missing(const std::string& turn) { tell(turn, gap_event{outage_.cls, outage_.lasted, true}); }
    /// All that is known, whatever may be missing.
    void tell_rest(const turn_facts& t);

    // --- the end
    void add_final_text(const turn_facts& t, settlement& to) const;
    [[nodiscard]] bool misses_text(const turn_facts& t) const;

    /// The turn at work: the one whose answer was begun last, of those that somebody listens to.
    [[nodiscard]] const turn_facts* at_work() const;

    [[nodiscard]] actions take() { return std::exchange(out_, {}); }
    actions& out() noexcept { return out_; }

private:
    struct outage {
        failure_class cls = failure_class::cut;
        time_point began{};
        duration lasted{};
        bool over = true;
    };

    [[nodiscard]] bool gap_pending(const std::string& turn) const;
    [[nodiscard]] bool may_tell(const turn_facts& t) const;
    void flush_known(const turn_facts& t);
    void flush_part(const turn_facts& t, part_record& p);
    void tell_again(const std::string& turn, const part_record& p, actions& into) const;
    void flush_usage(const std::string& turn, message_record& m);

    session_ledger& ledger_;
    audience& audience_;
    kept_text text_;
    actions out_;
    outage outage_;
    position interrupted_ = 0;
    std::optional<session_status> retry_told_;
};

} // namespace holdfast::opencode::ledger
