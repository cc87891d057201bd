#include <holdfast/retry/gate.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::retry {

gate::ticket gate::enter(kind who, time_point due, bool held) {
    const ticket t = next_++;
    waiters_.emplace(t, waiter{who, due, held});
    return t;
}

gate::answer gate::ask(ticket t, time_point now) {
    waiter& w = waiters_.at(t);
    if (w.ride) {
        answer ridden{answer::verdict::ride, now, std::move(w.ride)};
        waiters_.erase(t);
        return ridden;
    }
    if (w.attempting)
        return {answer::verdict::go, now, std::nullopt};
    if (probe_)
        return {};
    if (w.due > now)
        return {answer::verdict::wait, w.due, std::nullopt};
    if (suspect_) {
        if (must_yield(w, now))
            return {};
        probe_ = t;
    }
    w.attempting = true;
    return {answer::verdict::go, now, std::nullopt};
}

void gate::leave(ticket t) noexcept {
    if (waiters_.erase(t) == 0)
        return;
    if (probe_ == t)
        probe_.reset();
    ++version_;
}

void gate::succeeded(ticket t, time_point now) {
    if (!waiters_.contains(t))
        return;
    leave(t);
    if (suspect_)
        open(now);
}

void gate::failed(ticket t, const failure& f, time_point now) {
    const auto found = waiters_.find(t);
    if (found == waiters_.end())
        return;
    const kind who = found->second.who;
    const bool was_probe = probe_ == t;
    leave(t);
    if (suspect_ && shows_endpoint_alive(f))
        open(now);
    if (!blames_endpoint(f))
        return;
    suspect_by(f, now);
    if (was_probe)
        hand_on(f, who, now);
}

void gate::wake(time_point now) noexcept {
    for (auto& [t, w] : waiters_)
        w.held = true;
    open(now);
}

void gate::open(time_point now) noexcept {
    suspect_ = false;
    probe_.reset();
    for (auto& [t, w] : waiters_) {
        // A failure not yet handed out is no longer true.
        w.ride.reset();
        if (w.held)
            w.due = std::min(w.due, now);
    }
    ++version_;
}

void gate::suspect_by(const failure& f, time_point now) {
    if (!suspect_)
        since_ = now;
    suspect_ = true;
    last_ = f;
    last_at_ = now;
}

void gate::hand_on(const failure& f, kind prober, time_point now) {
    for (auto& [t, w] : waiters_) {
        if (w.attempting)
            continue;
        const bool rides = w.who == kind::call || (prober == kind::stream && (w.held || w.due <= now));
        if (rides)
            w.ride = f;
    }
}

bool gate::must_yield(const waiter& w, time_point now) const noexcept {
    // Else calls that follow each other closely could keep the streams from ever probing.
    return w.who == kind::call && std::any_of(waiters_.begin(), waiters_.end(), [&](const auto& each) {
               const waiter& other = each.second;
               return other.who == kind::stream && !other.attempting && !other.ride && other.due <= now;
           });
}

std::size_t gate::waiting() const noexcept {
    return static_cast<std::size_t>(std::count_if(waiters_.begin(), waiters_.end(),
                                                  [](const auto& each) { return !each.second.attempting; }));
}

} // namespace holdfast::retry
