// The permissions and questions of a session and its children that wait for a reply, each delivered once. Not
// for users.
#pragma once

#include <holdfast/opencode/ledger/narrator.hpp>

#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace holdfast::opencode {
struct snapshot;
}

namespace holdfast::opencode::ledger {

class approvals {
public:
    using request = std::variant<permission_request, question_request>;

    approvals(session_ledger& ledger, audience& listeners, narrator& to, std::size_t max_waiting)
        : ledger_(ledger), audience_(listeners), narrator_(to), max_(max_waiting) {}

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

    void reply(const waiting& w, const std::string& reply);
    [[nodiscard]] bool is_waiting(std::string_view id) const;
    [[nodiscard]] asking_tool find_tool(std::string_view session, std::string_view call) const;
    [[nodiscard]] const turn_facts* turn_of(std::string_view session, std::string_view call) const;
    [[nodiscard]] bool is_live(const request& r, const snapshot& s) const;

    session_ledger& ledger_;
    audience& audience_;
    narrator& narrator_;
    std::size_t max_;
    std::vector<waiting> waiting_;
    std::set<std::string, std::less<>> answered_; ///< while turns are open
    bool left_out_ = false;                       ///< there were more than may wait at once
};

} // namespace holdfast::opencode::ledger
