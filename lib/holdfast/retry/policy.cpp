#include <holdfast/retry/policy.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::retry {
namespace {

/// min(cap, delay * factor), without overflow.
duration times(duration delay, unsigned factor, duration cap) {
    if (delay <= duration::zero() || factor == 0)
        return duration::zero();
    return delay > cap / factor ? cap : delay * factor;
}

/// min(p.max_delay, p.base_delay * 2^doublings), without overflow for any number of doublings.
duration doubled(const policy& p, unsigned doublings) {
    duration delay = times(p.base_delay, 1, p.max_delay);
    for (; doublings > 0 && delay > duration::zero() && delay < p.max_delay; --doublings)
        delay = times(delay, 2, p.max_delay);
    return delay;
}

/// Uniform in [low, high]. The modulo's bias is far below what a delay can show.
duration between(duration low, duration high, std::uint64_t random) {
    const auto choices = static_cast<std::uint64_t>((high - low).count()) + 1;
    return low + duration(static_cast<duration::rep>(random % choices));
}

// Of what a server asked, earlier is too early: as much is added as spread() may take off.
duration lengthened(duration asked, jitter kind, std::uint64_t random) {
    const duration more = asked - spread(asked, kind, random);
    return more > duration::max() - asked ? duration::max() : asked + more;
}

bool contains(const std::vector<int>& statuses, int status) {
    return std::find(statuses.begin(), statuses.end(), status) != statuses.end();
}

bool is_by_status(const failure& f) {
    return f.cls == failure_class::http_status || f.cls == failure_class::throttled;
}

} // namespace

std::vector<stretch> long_outage_stretches() {
    return {{minutes(60), minutes(2)}, {minutes(6 * 60), minutes(5)}};
}

std::vector<stretch> hourly_stretches() {
    return {{minutes(60), minutes(5)}, {minutes(6 * 60), minutes(20)}};
}

policy session_stream() noexcept {
    return {};
}

policy capture() noexcept {
    policy p;
    p.base_delay = seconds(10);
    p.max_delay = seconds(60);
    p.max_attempts = unlimited;
    p.refused_factor = 2;
    return p;
}

std::optional<duration> delay_after(const policy& p, unsigned failures, failure_class last) noexcept {
    if (failures == 0)
        return doubled(p, 0);
    if (failures > p.max_attempts)
        return std::nullopt;
    const duration delay = doubled(p, failures - 1);
    return last == failure_class::refused ? times(delay, p.refused_factor, p.max_delay) : delay;
}

duration spread(duration delay, jitter kind, std::uint64_t random) noexcept {
    if (delay <= duration::zero())
        return delay;
    switch (kind) {
    case jitter::none: return delay;
    case jitter::equal: return between(delay / 2, delay, random);
    case jitter::full: return between(duration::zero(), delay, random);
    }
    return delay;
}

bool is_final(const policy& p, const failure& f) noexcept {
    if (is_by_status(f) && contains(p.statuses.final_too, f.status))
        return true;
    if (is_by_status(f) && contains(p.statuses.transient_too, f.status))
        return false;
    return is_final(f);
}

bool is_healthy(const policy& p, const life& of, bool clean_end) noexcept {
    const bool stable = p.stable_after > duration::zero() && of.lived >= p.stable_after;
    return of.progress || stable || (clean_end && of.lived >= p.healthy_after);
}

schedule::schedule(retry::policy p) : policy_(std::move(p)) {}

schedule::decision schedule::on_end(const failure& f, const life& was, time_point now, std::uint64_t random) {
    const bool ended = f.cls == failure_class::ended;
    if (ended || is_healthy(policy_, was, false))
        failures_ = 0;
    if (!ended && failures_ == 0)
        failing_since_ = now;
    if (!ended && (std::exchange(reached_, false) || failures_ == 0))
        unreached_since_ = now;
    // The last value is kept free, so that the number of the next attempt never wraps.
    if (!ended && failures_ < unlimited - 1)
        ++failures_;
    const duration guarded = spread(guard(was), policy_.jitter, random);

    const std::optional<duration> computed = delay_after(policy_, failures_, f.cls);
    const bool last = is_final(policy_, f) || (policy_.first_failure_final && !opened_);
    if (last || !computed)
        return {true, duration::zero(), failures_};
    duration delay = std::max(spread(*computed, policy_.jitter, random), stretched(now));
    if (retry_)
        delay = std::max(ended ? duration::zero() : delay, lengthened(*retry_, policy_.jitter, random));
    if (f.retry_after)
        delay = std::max(delay, std::min(*f.retry_after, policy_.max_retry_after));
    const bool in_time = policy_.max_elapsed == duration::zero() || failures_ == 0 ||
                         later(now, delay) <= later(failing_since_, policy_.max_elapsed);
    if (!in_time)
        return {true, duration::zero(), failures_};
    return {false, std::max(delay, guarded), attempt()};
}

// How long the endpoint is spared after this life; zero: it needs no sparing.
duration schedule::guard(const life& was) noexcept {
    if (was.lived >= policy_.base_delay)
        short_lives_ = 0;
    if (!was.progress || was.lived >= policy_.base_delay || retry_)
        return duration::zero();
    if (short_lives_ < unlimited)
        ++short_lives_;
    return doubled(policy_, short_lives_ - 1);
}

std::optional<time_point> schedule::failing_since() const noexcept {
    return failures_ == 0 ? std::nullopt : std::optional(failing_since_);
}

duration schedule::stretched(time_point now) const noexcept {
    duration every{};
    if (failures_ == 0)
        return every;
    for (const auto& each : policy_.stretches)
        if (now >= later(unreached_since_, each.from))
            every = each.every;
    return every;
}

void schedule::server_retry(duration asked) noexcept {
    if (policy_.heed_retry_field)
        retry_ = std::min(std::max(asked, policy_.min_delay), policy_.max_retry_after);
}

void schedule::at_new_endpoint() noexcept {
    reset();
    short_lives_ = 0;
    retry_.reset();
}

} // namespace holdfast::retry
