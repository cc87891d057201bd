#include <holdfast/opencode/turn_queue.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::opencode {
namespace {

agent_event& event_of(agent_event& item) {
    return item;
}
agent_event& event_of(session_event& item) {
    return item.event;
}

struct size_of {
    std::size_t operator()(const text_event& e) const { return e.part.size() + e.delta.size(); }
    std::size_t operator()(const reasoning_event& e) const { return e.part.size() + e.delta.size(); }
    std::size_t operator()(const settlement& e) const { return e.text.size(); }
    std::size_t operator()(const retry_event& e) const { return e.message.size(); }
    std::size_t operator()(const tool_event& e) const { return e.id.size() + e.title.size(); }
    template <class Other>
    std::size_t operator()(const Other&) const {
        return sizeof(Other);
    }
};

bool may_be_thinned(const agent_event& e) {
    return std::holds_alternative<tool_event>(e) || std::holds_alternative<retry_event>(e) ||
           std::holds_alternative<usage_event>(e) || std::holds_alternative<quiet_event>(e) ||
           std::holds_alternative<interrupted_event>(e);
}

} // namespace

template <class Item>
void event_queue<Item>::push(Item item) {
    if (full()) {
        if (coalesce(event_of(item)))
            return;
        thin();
    }
    bytes_ += std::visit(size_of{}, event_of(item));
    items_.push_back(std::move(item));
}

// To the last waiting piece of the same part.
template <class Item>
template <class Piece>
bool event_queue<Item>::append_to_last(const Piece& piece) {
    for (auto each = items_.rbegin(); each != items_.rend(); ++each) {
        auto* before = std::get_if<Piece>(&event_of(*each));
        if (before && before->part == piece.part) {
            before->delta += piece.delta;
            bytes_ += piece.delta.size();
            return true;
        }
        // Not across a gap: what is reported missing is missing there.
        if (std::holds_alternative<gap_event>(event_of(*each)))
            return false;
    }
    return false;
}

template <class Item>
bool event_queue<Item>::coalesce(const agent_event& event) {
    if (const auto* text = std::get_if<text_event>(&event))
        return append_to_last(*text);
    if (const auto* text = std::get_if<reasoning_event>(&event))
        return append_to_last(*text);
    return false;
}

template <class Item>
void event_queue<Item>::thin() {
    const auto oldest =
        std::find_if(items_.begin(), items_.end(), [](Item& each) { return may_be_thinned(event_of(each)); });
    if (oldest == items_.end())
        return;
    bytes_ -= std::visit(size_of{}, event_of(*oldest));
    items_.erase(oldest);
    ++thinned_;
}

template <class Item>
std::optional<Item> event_queue<Item>::pop() {
    if (items_.empty())
        return std::nullopt;
    auto item = std::move(items_.front());
    items_.pop_front();
    bytes_ = items_.empty() ? 0 : bytes_ - std::visit(size_of{}, event_of(item));
    return item;
}

template <class Item>
void event_queue<Item>::keep_settlement() {
    std::deque<Item> kept;
    for (auto& each : items_)
        if (std::holds_alternative<settlement>(event_of(each)))
            kept.push_back(std::move(each));
    items_ = std::move(kept);
    bytes_ = 0;
    for (auto& each : items_)
        bytes_ += std::visit(size_of{}, event_of(each));
}

template class event_queue<agent_event>;
template class event_queue<session_event>;

} // namespace holdfast::opencode
