// The permissions and questions of a session and its children that wait for a reply, each delivered once: to
// the turn whose work asks, else to who holds or follows the session. Not for users.
#pragma once

#include <holdfast/opencode/ledger/narrator.hpp>

#include <cstddef>
#include <list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace holdfast::opencode {
struct snapshot;
}

namespace holdfast::opencode::ledger {

class approvals {
public:
    using request = std::variant<permission_request, question_request>;

    /// Of those that wait at once; see tracker_options.
    struct limits {
        std::size_t number = 0;
        std::size_t bytes = 0;
    };

    approvals(session_ledger& ledger, audience& listeners, narrator& to, limits l)
        : ledger_(ledger), audience_(listeners), narrator_(to), limits_(l) {}

    void asked(const request& r);
    /// True: there were more than may wait at once, and a snapshot can tell the others now.
    bool answered(std::string_view id, const std::string& reply, bool rejected);
    /// Its turn is being settled. What children ask that work on passes to the session, see pass_on().
    void withdraw_those_of(const std::string& turn);
    /// To be called when the settlement is told.
    void pass_on();
    /// A session has nothing to do: what it asked for waits no longer. Of the root: what no turn waits for.
    void withdraw_those_of_idle(std::string_view session);
    void withdraw_all();
    /// What it lists; what it lists no more, or of which the session is not at work, or the tool is over, and
    /// was asked before it was begun is withdrawn.
    void merge(const snapshot& s, position begun);
    void tell_again(actions& into) const;
    /// Nobody listens to a turn any more: what waits is the session's own.
    void clear();

private:
    struct asker {
        std::string turn;  ///< whose work asks; empty: not known
        bool ours = false; ///< it is a turn of ours, or a child that one started
    };
    struct waiting {
        std::string turn; ///< it was delivered to; empty: to who holds or follows the session
        asker by;
        position at = 0;
        approvals::request request;
    };
    /// By what a snapshot says of its tool.
    enum class need { unknown, waits, over };
    using call = std::pair<std::string_view, std::string_view>; ///< session, call
    using tool_needs = std::map<call, need>;

    using list = std::list<waiting>;
    void tell(const waiting& w, std::optional<std::string> reply);
    void put(waiting w);
    waiting take(list::iterator w);
    template <class Which>
    void withdraw_if(Which which);
    [[nodiscard]] bool has_room_for(const request& r) const;
    [[nodiscard]] const message_record* message_of(const request& r) const;
    [[nodiscard]] asker who_asks(const request& r) const;
    [[nodiscard]] asker who_is_at_work_for(const request& r) const;
    [[nodiscard]] tool_needs needs_by(const snapshot& s) const;
    [[nodiscard]] static need need_of(const request& r, const tool_needs& tools);
    [[nodiscard]] bool is_at_work(const request& r, const snapshot& s) const;

    session_ledger& ledger_;
    audience& audience_;
    narrator& narrator_;
    limits limits_;
    list waiting_; ///< in the order in which they were delivered
    std::map<std::string, list::iterator, std::less<>> by_id_;
    std::size_t bytes_ = 0;                       ///< what all of them ask for
    std::set<std::string, std::less<>> answered_; ///< while turns are open
    bool left_out_ = false;                       ///< there were more than may wait at once
    std::vector<waiting> passed_;                 ///< by the turn that is being settled
};

} // namespace holdfast::opencode::ledger
