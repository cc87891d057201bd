#include <holdfast/opencode/turn_queue.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::opencode {
namespace {

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

bool is_progress(const agent_event& e) {
    return std::holds_alternative<tool_event>(e) || std::holds_alternative<retry_event>(e) ||
           std::holds_alternative<usage_event>(e) || std::holds_alternative<quiet_event>(e) ||
           std::holds_alternative<interrupted_event>(e);
}

// Appends to the last waiting piece of the same part.
template <class Piece>
bool append_to_last(std::deque<agent_event>& items, const Piece& piece) {
    for (auto each = items.rbegin(); each != items.rend(); ++each) {
        auto* before = std::get_if<Piece>(&*each);
        if (before && before->part == piece.part) {
            before->delta += piece.delta;
            return true;
        }
        // Not across a gap: what is reported missing is missing there.
        if (std::holds_alternative<gap_event>(*each))
            return false;
    }
    return false;
}

} // namespace

void turn_queue::push(agent_event event) {
    if (full()) {
        if (coalesce(event))
            return;
        thin();
    }
    bytes_ += std::visit(size_of{}, event);
    items_.push_back(std::move(event));
}

bool turn_queue::coalesce(const agent_event& event) {
    if (const auto* text = std::get_if<text_event>(&event); text && append_to_last(items_, *text)) {
        bytes_ += text->delta.size();
        return true;
    }
    if (const auto* text = std::get_if<reasoning_event>(&event); text && append_to_last(items_, *text)) {
        bytes_ += text->delta.size();
        return true;
    }
    return false;
}

void turn_queue::thin() {
    const auto oldest = std::find_if(items_.begin(), items_.end(), is_progress);
    if (oldest == items_.end())
        return;
    bytes_ -= std::visit(size_of{}, *oldest);
    items_.erase(oldest);
    ++thinned_;
}

std::optional<agent_event> turn_queue::pop() {
    if (items_.empty())
        return std::nullopt;
    auto event = std::move(items_.front());
    items_.pop_front();
    bytes_ = items_.empty() ? 0 : bytes_ - std::visit(size_of{}, event);
    return event;
}

void turn_queue::keep_settlement() {
    std::deque<agent_event> kept;
    for (auto& each : items_)
        if (std::holds_alternative<settlement>(each))
            kept.push_back(std::move(each));
    items_ = std::move(kept);
    bytes_ = 0;
    for (const auto& each : items_)
        bytes_ += std::visit(size_of{}, each);
}

} // namespace holdfast::opencode
