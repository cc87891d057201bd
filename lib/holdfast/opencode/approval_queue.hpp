// The approvals of one session that no turn waits for, until its holder takes them. Pure. Not for users.
#pragma once

#include <holdfast/opencode/server.hpp>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <utility>

namespace holdfast::opencode::detail {

/// One that is answered or withdrawn before it was taken is not delivered. Those that a rule answered are
/// bounded in number, the oldest first; the others by what may wait at once.
class approval_queue {
public:
    explicit approval_queue(std::size_t max_answered) : max_answered_(max_answered) {}

    void push(approval_event e) {
        if (is_answered(e) && !is_by_rule(e) && erase(id_of(e)))
            return;
        items_.push_back(std::move(e));
        const auto answered = std::count_if(items_.begin(), items_.end(), is_answered);
        if (static_cast<std::size_t>(answered) > max_answered_)
            items_.erase(std::find_if(items_.begin(), items_.end(), is_answered));
    }
    [[nodiscard]] std::optional<approval_event> pop() {
        if (items_.empty())
            return std::nullopt;
        std::optional<approval_event> first(std::move(items_.front()));
        items_.pop_front();
        return first;
    }

private:
    [[nodiscard]] static const std::string& id_of(const approval_event& e) {
        return std::visit([](const auto& each) -> const std::string& { return each.request.id; }, e);
    }
    [[nodiscard]] static bool is_answered(const approval_event& e) {
        return std::visit([](const auto& each) { return each.reply.has_value(); }, e);
    }
    [[nodiscard]] static bool is_by_rule(const approval_event& e) {
        const auto* asked = std::get_if<permission_event>(&e);
        return asked && asked->by_rule;
    }
    bool erase(const std::string& id) {
        return std::erase_if(items_,
                             [&](const auto& each) { return id_of(each) == id && !is_answered(each); }) != 0;
    }

    std::size_t max_answered_;
    std::deque<approval_event> items_;
};

} // namespace holdfast::opencode::detail
