// When to try again, and when to stop trying. Pure: randomness is an argument.
#pragma once

#include <holdfast/retry/failure.hpp>
#include <holdfast/time.hpp>

#include <cstdint>
#include <limits>
#include <optional>

namespace holdfast::retry {

/// How delays are spread, so that many clients do not come back in step.
enum class jitter {
    none,  ///< exact delays
    equal, ///< uniform in [delay/2, delay]
    full,  ///< uniform in [0, delay]
};

inline constexpr unsigned unlimited = std::numeric_limits<unsigned>::max();

/// The policy of one stream. Defaults are the preset `session_stream`.
struct policy {
    duration base_delay = seconds(1); ///< before the first retry; doubled for each further one
    duration max_delay = seconds(30); ///< no computed delay is longer
    unsigned refused_factor = 1;      ///< a refused connection waits so many times the delay, then capped again
    unsigned max_attempts = 6;        ///< retries after the first failure; `unlimited` for daemons; 0: none
    retry::jitter jitter = jitter::none;
    /// A clean end this long after the head is `ended`, an earlier one `early_end`.
    duration healthy_after = seconds(5);
    /// A connection that lived so long resets the count, however it ended; zero: none does.
    duration stable_after = seconds(60);
    duration min_delay = milliseconds(10);  ///< the floor for what `retry:` asks
    duration max_retry_after = minutes(10); ///< the cap for what Retry-After asks
};

/// 1 2 4 8 16 30 s, then give up when the seventh consecutive attempt fails; no jitter.
[[nodiscard]] policy session_stream() noexcept;

/// For runs that are looked at now and then: 10 20 40 60 60 ... s, after refused connections 20 40 60 60 ... s,
/// without end; no jitter.
[[nodiscard]] policy capture() noexcept;

/// The bare rule: after the n-th consecutive failure (1-based), the last one of this class, the delay before the
/// next attempt, or nullopt to give up. min(max_delay, base_delay * 2^(n-1)) with a saturating exponent, for
/// `refused` min(max_delay, that * refused_factor); gives up when n > max_attempts. `failures` 0 stands for a
/// clean, healthy end: the base delay (at most max_delay), and never a give-up.
[[nodiscard]] std::optional<duration> delay_after(const policy& p, unsigned failures,
                                                  failure_class last = failure_class::cut) noexcept;

/// `delay` spread by `kind`, never longer than `delay`; `random` is uniform over all 64-bit values.
[[nodiscard]] duration spread(duration delay, jitter kind, std::uint64_t random) noexcept;

/// The state of one stream's schedule: feeds failures in, gives decisions out.
class schedule {
public:
    explicit schedule(retry::policy p);

    struct decision {
        bool give_up = false;
        duration delay{};     ///< before the next attempt
        unsigned attempt = 1; ///< the number of the next attempt, 1 after health; of the last one at give-up

        friend bool operator==(const decision&, const decision&) = default;
    };

    /// The number of the attempt that is due or under way: 1 at first and after health.
    [[nodiscard]] unsigned attempt() const noexcept { return failures_ + 1; }
    [[nodiscard]] unsigned failures() const noexcept { return failures_; }

    /// Judges the end of an attempt, own or ridden. `lived` is the time since the response head, zero when
    /// there was none. `ended` resets the count and waits the base delay. A life of `stable_after` resets the
    /// count first. A final failure (`is_final`) gives up at once. Retry-After is honoured, at least the
    /// computed delay, at most `max_retry_after`, once for the failure that carried it; it is not spread, as
    /// earlier is too early.
    decision on_end(const failure& f, duration lived, std::uint64_t random);

    /// `retry:` from the stream: replaces the base delay, clamped to min_delay .. max_delay.
    void server_base_delay(duration d) noexcept;

    /// Starts over with the count of a fresh stream (a wake(), a new endpoint). The base delay stays.
    void reset() noexcept { failures_ = 0; }

    [[nodiscard]] const retry::policy& policy() const noexcept { return policy_; }

private:
    retry::policy policy_;
    unsigned failures_ = 0;
};

} // namespace holdfast::retry
