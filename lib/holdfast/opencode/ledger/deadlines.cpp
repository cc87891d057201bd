#include <holdfast/opencode/ledger/deadlines.hpp>

#include <algorithm>

namespace holdfast::opencode::ledger {

void deadlines::wait_for(const std::string& turn, time_point now, duration lasts) {
    waits_.try_emplace(turn, grace{now, lasts, 0});
    set_grace(turn, now, lasts);
}

void deadlines::set_grace(const std::string& turn, time_point now, duration lasts) {
    const auto found = waits_.find(turn);
    if (found == waits_.end())
        return;
    auto& wait = found->second;
    if (lasts > wait.lasts && now < later(wait.since, lasts))
        wait.over = 0;
    wait.lasts = lasts;
}

void deadlines::restart_all(time_point now) {
    for (auto& [turn, wait] : waits_)
        wait = {now, wait.lasts, 0};
}

void deadlines::restart(const std::string& turn, time_point now) {
    if (const auto found = waits_.find(turn); found != waits_.end())
        found->second = {now, found->second.lasts, 0};
}

void deadlines::shift_all(time_point now) {
    for (auto& [turn, wait] : waits_)
        wait.since = now;
}

position deadlines::grace_over(const std::string& turn) const {
    const auto found = waits_.find(turn);
    return found == waits_.end() ? 0 : found->second.over;
}

void deadlines::progressed(time_point now) {
    progress_ = now;
    quiet_told(now);
}

void deadlines::quiet_told(time_point now) {
    quiet_check_ = later(now, quiet_after_);
    quiet_due_ = false;
}

std::vector<std::string> deadlines::aborts_due(time_point now) const {
    std::vector<std::string> due;
    for (const auto& [turn, when] : aborts_)
        if (when <= now)
            due.push_back(turn);
    return due;
}

void deadlines::forget(const std::string& turn) {
    waits_.erase(turn);
    aborts_.erase(turn);
}

void deadlines::forget_all() {
    waits_.clear();
    aborts_.clear();
    no_snapshot_before_.reset();
    quiet_due_ = false;
}

void deadlines::tick(time_point now, position at, bool watches_quiet) {
    if (no_snapshot_before_ && now >= *no_snapshot_before_)
        no_snapshot_before_.reset();
    for (auto& [turn, wait] : waits_)
        if (wait.over == 0 && now >= later(wait.since, wait.lasts))
            wait.over = at;
    if (waits_for_quiet(watches_quiet) && now >= quiet_check_)
        quiet_due_ = true;
}

std::optional<time_point> deadlines::next(bool watches_quiet,
                                          const std::function<bool(const std::string&)>& is_heard) const {
    auto next = no_snapshot_before_.value_or(time_point::max());
    for (const auto& [turn, wait] : waits_)
        if (wait.over == 0)
            next = std::min(next, later(wait.since, wait.lasts));
    for (const auto& [turn, when] : aborts_)
        if (is_heard(turn))
            next = std::min(next, when);
    if (waits_for_quiet(watches_quiet))
        next = std::min(next, quiet_check_);
    return next == time_point::max() ? std::nullopt : std::optional(next);
}

} // namespace holdfast::opencode::ledger
