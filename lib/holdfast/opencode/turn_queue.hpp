// What waits for the owner of one turn, or for who follows a session. Bounded: past the bound, text of the
// same part coalesces and progress is thinned; settlements, asks and gaps are never dropped, nor is a
// character of text. Pure. Not for users.
#pragma once

#include <holdfast/opencode/agent_event.hpp>

#include <cstddef>
#include <deque>
#include <optional>

namespace holdfast::opencode {

/// `Item` is agent_event (turn_queue) or session_event (feed_queue).
///
/// Thread safety: distinct objects safe, shared objects unsafe.
template <class Item>
class event_queue {
public:
    event_queue(std::size_t max_items, std::size_t max_bytes)
        : max_items_(max_items), max_bytes_(max_bytes) {}

    void push(Item item);
    [[nodiscard]] std::optional<Item> pop();

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
    template <class Piece>
    bool append_to_last(const Piece& piece);
    void thin();

    std::size_t max_items_;
    std::size_t max_bytes_;
    std::deque<Item> items_;
    std::size_t bytes_ = 0;
    std::size_t thinned_ = 0;
};

extern template class event_queue<agent_event>;
extern template class event_queue<session_event>;
using turn_queue = event_queue<agent_event>;
using feed_queue = event_queue<session_event>;

} // namespace holdfast::opencode
