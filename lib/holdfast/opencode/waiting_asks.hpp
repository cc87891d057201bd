// The approvals of one session that wait for an answer: found by id, and by when they are due. Pure.
// Not for users.
#pragma once

#include <holdfast/opencode/types.hpp>
#include <holdfast/time.hpp>

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace holdfast::opencode::detail {

/// An approval that waits for its answer.
struct waiting_ask {
    std::string message; ///< of the turn that it was told to
    bool question = false;
    std::string answer; ///< what we say when it is due
    bool by_rule = false;
    bool answered = false;      ///< the server has accepted our answer
    permission_request request; ///< of one that a rule decides
    time_point due = time_point::max();
};

/// However many there are: what is due first, and one of an id, are found without looking at the others.
class waiting_asks {
public:
    [[nodiscard]] std::size_t size() const noexcept { return asks_.size(); }
    /// Null: there is none.
    [[nodiscard]] const waiting_ask* find(const std::string& id) const {
        const auto found = asks_.find(id);
        return found == asks_.end() ? nullptr : &found->second;
    }
    /// @return whether it is new; else it takes the place of the one with that id.
    bool put(const std::string& id, waiting_ask ask) {
        const bool is_new = !take(id);
        if (ask.due != time_point::max())
            dues_.emplace(ask.due, id);
        asks_.emplace(id, std::move(ask));
        return is_new;
    }
    std::optional<waiting_ask> take(const std::string& id) {
        auto found = asks_.extract(id);
        if (found.empty())
            return std::nullopt;
        dues_.erase({found.mapped().due, id});
        return std::move(found.mapped());
    }
    void answered(const std::string& id, bool accepted) {
        if (const auto found = asks_.find(id); found != asks_.end())
            found->second.answered = accepted;
    }
    void due(const std::string& id, time_point when) {
        if (auto ask = take(id)) {
            ask->due = when;
            put(id, std::move(*ask));
        }
    }
    /// When the first is due; time_point::max(): none is.
    [[nodiscard]] time_point next_due() const noexcept {
        return dues_.empty() ? time_point::max() : dues_.begin()->first;
    }
    /// Which one that is. Needs one that is due some time.
    [[nodiscard]] const std::string& first_due() const { return dues_.begin()->second; }
    /// @return how many of this turn there were
    std::size_t forget_those_of(const std::string& message) {
        std::size_t gone = 0;
        for (auto each = asks_.begin(); each != asks_.end();) {
            if (each->second.message != message) {
                ++each;
                continue;
            }
            dues_.erase({each->second.due, each->first});
            each = asks_.erase(each);
            ++gone;
        }
        return gone;
    }

private:
    std::map<std::string, waiting_ask> asks_;
    std::set<std::pair<time_point, std::string>> dues_;
};

} // namespace holdfast::opencode::detail
