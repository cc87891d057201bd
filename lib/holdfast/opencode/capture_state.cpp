#include <holdfast/opencode/capture_state.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::opencode {

std::vector<capture_stretch> doubling_stretches() {
    return {{minutes(1), minutes(1)}, {minutes(2), minutes(2)},   {minutes(4), minutes(4)},
            {minutes(8), minutes(8)}, {minutes(16), minutes(16)}, {minutes(32), minutes(20)}};
}

std::vector<capture_stretch> hourly_stretches() {
    return {{minutes(60), minutes(5)}, {minutes(6 * 60), minutes(20)}};
}

capture_state::capture_state(capture_policy policy)
    : stretches_(std::move(policy.stretches)), schedule_(std::move(policy.retry)) {}

void capture_state::at(const endpoint& where) {
    if (where_ && *where_ != where)
        succeeded();
    where_ = where;
}

void capture_state::succeeded() noexcept {
    wake();
    last_.reset();
}

void capture_state::wake() noexcept {
    schedule_.reset();
    failing_since_.reset();
    next_try_ = time_point::min();
}

capture_state::verdict capture_state::failed(const retry::failure& f, time_point now, std::uint64_t random) {
    verdict told;
    if (last_)
        told.what = last_->why.cls == f.cls ? news::repeat : news::changed;
    last_ = last_failure{f, now};
    last_->why.headers.clear();
    last_->why.body.clear();
    if (!failing_since_)
        failing_since_ = now;

    const auto next = schedule_.on_end(f, duration::zero(), now, random);
    told.stop = next.give_up;
    if (told.stop) {
        next_try_ = time_point::max();
        return told;
    }
    told.delay = std::max(next.delay, stretched(now - *failing_since_));
    next_try_ = later(now, told.delay);
    return told;
}

duration capture_state::stretched(duration age) const noexcept {
    duration every{};
    for (const auto& each : stretches_)
        if (age >= each.from)
            every = each.every;
    return every;
}

} // namespace holdfast::opencode
