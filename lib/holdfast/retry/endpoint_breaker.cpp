#include <holdfast/retry/endpoint_breaker.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::retry {

endpoint_breaker::ticket endpoint_breaker::enter(kind who, time_point due, bool held) {
    const ticket t = next_++;
    waiters_.emplace(t, waiter{who, due, held});
    return t;
}

endpoint_breaker::answer endpoint_breaker::ask(ticket t, time_point now) {
    waiter& w = waiters_.at(t);
    if (w.shared) {
        answer failed{answer::verdict::shared_failure, now, std::move(w.shared)};
        waiters_.erase(t);
        return failed;
    }
    if (w.attempting)
        return {answer::verdict::go, now, std::nullopt};
    if (probe_)
        return {};
    if (w.due > now)
        return {answer::verdict::wait, w.due, std::nullopt};
    if (open_) {
        if (must_yield(w, now))
            return {};
        probe_ = t;
    }
    w.attempting = true;
    return {answer::verdict::go, now, std::nullopt};
}

void endpoint_breaker::leave(ticket t) noexcept {
    if (waiters_.erase(t) == 0)
        return;
    if (probe_ == t)
        probe_.reset();
    ++version_;
}

void endpoint_breaker::succeeded(ticket t, time_point now) {
    if (!waiters_.contains(t))
        return;
    leave(t);
    if (open_)
        close(now);
}

void endpoint_breaker::failed(ticket t, const failure& f, time_point now) {
    const auto found = waiters_.find(t);
    if (found == waiters_.end())
        return;
    const kind who = found->second.who;
    const bool was_probe = probe_ == t;
    leave(t);
    if (open_ && shows_endpoint_alive(f))
        close(now);
    if (!blames_endpoint(f))
        return;
    open_by(f, now);
    if (was_probe)
        share(f, who, now);
}

void endpoint_breaker::wake(time_point now) noexcept {
    for (auto& [t, w] : waiters_)
        w.held = true;
    close(now);
}

void endpoint_breaker::close(time_point now) noexcept {
    open_ = false;
    probe_.reset();
    for (auto& [t, w] : waiters_) {
        // A failure not yet handed out is no longer true.
        w.shared.reset();
        if (w.held)
            w.due = std::min(w.due, now);
    }
    ++version_;
}

void endpoint_breaker::open_by(const failure& f, time_point now) {
    if (!open_)
        since_ = now;
    open_ = true;
    last_ = f;
    last_at_ = now;
}

void endpoint_breaker::share(const failure& f, kind prober, time_point now) {
    for (auto& [t, w] : waiters_) {
        if (w.attempting)
            continue;
        const bool receives = w.who == kind::call || (prober == kind::stream && (w.held || w.due <= now));
        if (receives)
            w.shared = f;
    }
}

bool endpoint_breaker::must_yield(const waiter& w, time_point now) const noexcept {
    // Else calls that follow each other closely could keep the streams from ever probing.
    return w.who == kind::call && std::any_of(waiters_.begin(), waiters_.end(), [&](const auto& each) {
               const waiter& other = each.second;
               return other.who == kind::stream && !other.attempting && !other.shared && other.due <= now;
           });
}

std::size_t endpoint_breaker::waiting() const noexcept {
    return static_cast<std::size_t>(std::count_if(waiters_.begin(), waiters_.end(),
                                                  [](const auto& each) { return !each.second.attempting; }));
}

} // namespace holdfast::retry
