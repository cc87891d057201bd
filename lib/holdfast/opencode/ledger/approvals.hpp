// The permissions and questions of a session and its children that wait for a reply, each delivered once. Not
// for users.
#pragma once

#include <holdfast/opencode/ledger/narrator.hpp>

#include <cstddef>
#include <list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <variant>

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
    void withdraw_those_of(const std::string& turn);
    /// What it lists; what it lists no more and was asked before it was begun is withdrawn.
    void merge(const snapshot& s, position begun);
    void tell_again(actions& into) const;
    void clear();

private:
    struct waiting {
        std::string turn;
        position at = 0;
        approvals::request request;
    };
    struct asking_tool {
        const message_record* message = nullptr;
        const part_record* part = nullptr;
    };

    using list = std::list<waiting>;
    /// The calls that wait for a reply, and the children of the root in which something may.
    struct asking_tools {
        std::set<std::string_view> calls;
        std::set<std::string_view> children;
    };

    void reply(const waiting& w, const std::string& reply);
    waiting take(list::iterator w);
    template <class Which>
    void withdraw_if(Which which);
    [[nodiscard]] bool has_room_for(const request& r) const;
    [[nodiscard]] asking_tool find_tool(std::string_view session, std::string_view call) const;
    [[nodiscard]] const turn_facts* turn_of(std::string_view session, std::string_view call) const;
    [[nodiscard]] asking_tools tools_that_ask(const snapshot& s) const;

    session_ledger& ledger_;
    audience& audience_;
    narrator& narrator_;
    limits limits_;
    list waiting_; ///< in the order in which they were delivered
    std::map<std::string, list::iterator, std::less<>> by_id_;
    std::size_t bytes_ = 0;                       ///< what all of them ask for
    std::set<std::string, std::less<>> answered_; ///< while turns are open
    bool left_out_ = false;                       ///< there were more than may wait at once
};

} // namespace holdfast::opencode::ledger
