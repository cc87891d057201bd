// What waits for the owner of one turn. Bounded: past the bound, text of the same part coalesces and progress is
// thinned; settlements, asks and gaps are never dropped, nor is a character of text. Pure.
#pragma once

#include <holdfast/opencode/agent_event.hpp>

#include <cstddef>
#include <deque>
#include <optional>

namespace holdfast::opencode {

/// Thread safety: distinct objects safe, shared objects unsafe.
class turn_queue {
public:
    turn_queue(std::size_t max_items, std::size_t max_bytes) : max_items_(max_items), max_bytes_(max_bytes) {}

    void push(agent_event event);
    [[nodiscard]] std::optional<agent_event> pop();

    /// Drops everything but a settlement: after an abort.
    void keep_settlement();

    [[nodiscard]] bool empty() const noexcept { return items_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    /// Progress events that were thinned out so far.
    [[nodiscard]] std::size_t thinned() const noexcept { return thinned_; }

private:
    [[nodiscard]] bool full() const noexcept { return items_.size() >= max_items_ || bytes_ >= max_bytes_; }
    bool coalesce(const agent_event& event);
    void thin();

    std::size_t max_items_;
    std::size_t max_bytes_;
    std::deque<agent_event> items_;
    std::size_t bytes_ = 0;
    std::size_t thinned_ = 0;
};

} // namespace holdfast::opencode
