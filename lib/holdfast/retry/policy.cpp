#include <holdfast/retry/policy.hpp>

#include <algorithm>

namespace holdfast::retry {
namespace {

/// min(p.max_delay, p.base_delay * 2^doublings), without overflow for any number of doublings.
duration doubled(const policy& p, unsigned doublings) {
    duration delay = std::min(p.base_delay, p.max_delay);
    if (delay <= duration::zero())
        return duration::zero();
    for (; doublings > 0 && delay < p.max_delay; --doublings)
        delay = delay > p.max_delay / 2 ? p.max_delay : delay * 2;
    return delay;
}

/// Uniform in [low, high]. The modulo's bias is far below what a delay can show.
duration between(duration low, duration high, std::uint64_t random) {
    const auto choices = static_cast<std::uint64_t>((high - low).count()) + 1;
    return low + duration(static_cast<duration::rep>(random % choices));
}

} // namespace

policy session_stream() noexcept {
    return {};
}

std::optional<duration> delay_after(const policy& p, unsigned failures) noexcept {
    if (failures == 0)
        return doubled(p, 0);
    if (failures > p.max_attempts)
        return std::nullopt;
    return doubled(p, failures - 1);
}

duration spread(duration delay, jitter kind, std::uint64_t random) noexcept {
    if (delay <= duration::zero())
        return delay;
    switch (kind) {
    case jitter::none:
        return delay;
    case jitter::equal:
        return between(delay / 2, delay, random);
    case jitter::full:
        return between(duration::zero(), delay, random);
    }
    return delay;
}

schedule::schedule(retry::policy p) : policy_(p) {}

schedule::decision schedule::on_end(const failure& f, duration lived, std::uint64_t random) {
    const bool stable = policy_.stable_after > duration::zero() && lived >= policy_.stable_after;
    if (stable || f.cls == failure_class::ended)
        failures_ = 0;
    // The last value is kept free, so that the number of the next attempt never wraps.
    if (f.cls != failure_class::ended && failures_ < unlimited - 1)
        ++failures_;

    const std::optional<duration> computed = delay_after(policy_, failures_);
    if (is_final(f) || !computed)
        return {true, duration::zero(), failures_};
    duration delay = spread(*computed, policy_.jitter, random);
    if (f.retry_after)
        delay = std::max(delay, std::min(*f.retry_after, policy_.max_retry_after));
    return {false, delay, attempt()};
}

void schedule::server_base_delay(duration d) noexcept {
    policy_.base_delay = std::min(std::max(d, policy_.min_delay), policy_.max_delay);
}

} // namespace holdfast::retry
