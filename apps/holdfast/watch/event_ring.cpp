#include "watch/event_ring.hpp"

#include <holdfast/sse/utf8.hpp>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

namespace holdfast::app {

namespace {

std::string one_line(std::string text) {
    std::replace_if(text.begin(), text.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
    return sse::to_valid_utf8(text);
}

std::size_t size_of(const event_ring::event& each) {
    return each.id.size() + each.name.size() + each.data.size();
}

} // namespace

event_ring::event_ring(std::size_t kept, std::size_t a_viewer, std::string run)
    : kept_(std::max<std::size_t>(kept, 1)), a_viewer_(std::clamp<std::size_t>(a_viewer, 1, kept_)),
      run_(std::move(run)) {}

void event_ring::publish(std::string name, std::string data) {
    const auto& newest =
        events_.emplace_back(event{id_of(++last_), one_line(std::move(name)), one_line(std::move(data))});
    bytes_ += size_of(newest);
    while (events_.size() > kept_ || (bytes_ > kept_bytes && events_.size() > 1)) {
        bytes_ -= size_of(events_.front());
        events_.pop_front();
    }
    if (told_)
        told_();
}

std::optional<std::uint64_t> event_ring::number_of(std::string_view id) const {
    const auto digits = id.substr(run_.size() + 1);
    std::uint64_t n = 0;
    const auto [stop, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
    if (digits.empty() || bad != std::errc() || stop != digits.data() + digits.size() || n > last_)
        return std::nullopt;
    return n;
}

event_ring::event event_ring::gap(std::optional<std::uint64_t> from, std::uint64_t to,
                                  std::string_view why) const {
    boost::json::object data{{"from", nullptr}, {"to", nullptr}, {"lost", nullptr}, {"why", why}};
    if (from) {
        data["from"] = id_of(*from);
        data["lost"] = to - *from + 1;
    }
    if (to > 0)
        data["to"] = id_of(to);
    return {id_of(to), "gap", boost::json::serialize(data)};
}

event_ring::viewer::viewer(const event_ring& ring, std::string_view last_seen)
    : ring_(&ring), next_(ring.last_ + 1) {
    if (last_seen.empty())
        return;
    catching_up_ = true;
    const auto seen = last_seen.starts_with(ring.run_ + '-') ? ring.number_of(last_seen) : std::nullopt;
    next_ = seen ? std::max(*seen + 1, ring.first()) : ring.first();
    if (!seen)
        gap_ = ring.gap(std::nullopt, next_ - 1,
                        last_seen.starts_with(ring.run_ + '-') ? "unknown" : "another_run");
    else if (next_ > *seen + 1)
        gap_ = ring.gap(*seen + 1, next_ - 1, "expired");
}

std::optional<event_ring::event> event_ring::viewer::lost_by_delay() {
    const auto behind = ring_->last_ + 1 - next_;
    catching_up_ = catching_up_ && behind > ring_->a_viewer_;
    const auto oldest =
        catching_up_ ? ring_->first()
                     : std::max(ring_->first(),
                                ring_->last_ + 1 - std::min<std::uint64_t>(ring_->a_viewer_, ring_->last_));
    if (next_ >= oldest)
        return std::nullopt;
    const auto from = std::exchange(next_, oldest);
    return ring_->gap(from, oldest - 1, "slow");
}

std::optional<event_ring::event> event_ring::viewer::next() {
    if (gap_)
        return std::exchange(gap_, std::nullopt);
    if (auto gap = lost_by_delay())
        return gap;
    if (next_ > ring_->last_)
        return std::nullopt;
    return ring_->events_[next_++ - ring_->first()];
}

} // namespace holdfast::app
