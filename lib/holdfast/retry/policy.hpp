// When to try again, and when to stop trying. Pure: time and randomness are arguments.
#pragma once

#include <holdfast/retry/failure.hpp>
#include <holdfast/time.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace holdfast::retry {

/// How delays are spread, so that many clients do not come back in step.
enum class jitter {
    none,  ///< exact delays
    equal, ///< uniform in [delay/2, delay]
    full,  ///< uniform in [0, delay]
};

inline constexpr unsigned unlimited = std::numeric_limits<unsigned>::max();

/// Exceptions to is_final(), by the HTTP status. Both are empty by default, which costs nothing; a status in
/// both is final.
struct status_rules {
    status_rules() = default; // no aggregate, see header

    std::vector<int> final_too;     ///< given up at once, though waiting might heal it: a 503, a 429
    std::vector<int> transient_too; ///< tried again, though waiting does not heal it as a rule: a 404, a 401

    friend bool operator==(const status_rules&, const status_rules&) = default;
};

/// An outage that has lasted for `from` is tried no more often than `every`.
struct stretch {
    duration from{};
    duration every{};

    friend bool operator==(const stretch&, const stretch&) = default;
};

/// For daemons: the first hour is the policy's own, from an hour on an outage is tried every 2 minutes, from
/// six hours on every 5. Without jitter at most 500 attempts in a day, of session_stream() and of capture()
/// without end.
[[nodiscard]] std::vector<stretch> long_outage_stretches();

/// From an hour on every 5 minutes, from six hours on every 20: at most 180 attempts in a day, of capture()
/// as it is. The first hour is the policy's own.
[[nodiscard]] std::vector<stretch> hourly_stretches();

/// The policy of one stream, a plain value. Defaults are the preset `session_stream`; where each comes from
/// is said beside it.
struct policy {
    policy() = default; // no aggregate, see header

    /// Before the first retry; doubled for each further one. 1 s: the HTML Standard leaves it to the client,
    /// "in the region of a few seconds" (section 9.2.3); gRPC's and the predecessor's base is 1 s.
    duration base_delay = seconds(1);
    /// No computed delay is longer. 30 s: the predecessor's and the Kubernetes reflector's cap (gRPC: 120 s).
    duration max_delay = seconds(30);
    unsigned refused_factor = 1; ///< a refused connection waits so many times the delay, then capped again
    /// Retries after the first failure; `unlimited` for daemons; 0: none. 6: the predecessor's.
    unsigned max_attempts = 6;
    /// Gives up as soon as the next attempt would come later than this after the first failure of the run;
    /// zero: no such limit. A run begins with the first failure after health, and goes on while the location
    /// is down. Zero: the count alone decides, the predecessor's rule.
    duration max_elapsed{};
    /// A failure before the stream was ever opened is the last. False: a server may still be starting, and
    /// the HTML Standard reestablishes after a network error, be it the first (section 9.2.3).
    bool first_failure_final = false;
    /// None: one stream's delays are exact. For many clients of one server take `full` (AWS) or `equal`.
    retry::jitter jitter = jitter::none;
    /// A clean end so long after the head is healthy, also without progress, see is_healthy(). 5 s: a server
    /// that is up but ends each stream at once must not be asked for ever.
    duration healthy_after = seconds(5);
    /// A connection that lived so long was healthy, however it ended; zero: none is by its life alone. 60 s:
    /// LaunchDarkly's (the Kubernetes reflector: 2 min).
    duration stable_after = seconds(60);
    /// `retry:` in a stream (HTML Standard, section 9.2.6), from `min_delay` to `max_retry_after`, is the
    /// wait after a healthy clean end and the least wait after a failure, of the endpoint that sent it. It
    /// does not change how delays grow, and jitter only lengthens it. False: it is ignored.
    bool heed_retry_field = true;
    duration min_delay = milliseconds(10); ///< the floor for what `retry:` asks; so that 0 is no busy loop
    /// The cap for what Retry-After (RFC 9110, section 10.2.3) and `retry:` ask.
    duration max_retry_after = minutes(10);
    status_rules statuses; ///< which are final, in other ways than is_final() says
    /// By rising `from`: the last that applies counts, and jitter does not spread it. An outage is a run of
    /// failures without a stream between them, however short. None: the delay is never longer than max_delay.
    std::vector<stretch> stretches;
};

/// 1 2 4 8 16 30 s, then give up when the seventh consecutive attempt fails; no jitter.
[[nodiscard]] policy session_stream() noexcept;

/// For runs that are looked at now and then: 10 20 40 60 60 ... s, after refused connections 20 40 60 60 ...
/// s, without end; no jitter.
[[nodiscard]] policy capture() noexcept;

/// The bare rule: after the n-th consecutive failure (1-based), the last one of this class, the delay before
/// the next attempt, or nullopt to give up. min(max_delay, base_delay * 2^(n-1)) with a saturating exponent,
/// for `refused` min(max_delay, that * refused_factor); gives up when n > max_attempts. `failures` 0 stands
/// for a clean, healthy end: the base delay (at most max_delay), and never a give-up.
[[nodiscard]] std::optional<duration> delay_after(const policy& p, unsigned failures,
                                                  failure_class last = failure_class::cut) noexcept;

/// Whether `f` is the last by this policy, whatever the count: is_final() with the exceptions of
/// `p.statuses`, which are about failures by a status (classes http_status and throttled) alone.
[[nodiscard]] bool is_final(const policy& p, const failure& f) noexcept;

/// How a connection lived.
struct life {
    life() = default;
    template <class Rep, class Period>
    life(std::chrono::duration<Rep, Period> lived_for, bool made_progress = false) noexcept
        : lived(lived_for), progress(made_progress) {}

    duration lived{};      ///< from the response head to the last byte; zero: there was none
    bool progress = false; ///< it brought what it is held for: an event, as a rule
};

/// Whether a connection was healthy, after which the count of failures starts over: it made progress, lived
/// `stable_after`, or ended cleanly after `healthy_after`. A clean end of a healthy one is of class `ended`,
/// of any other `early_end`.
[[nodiscard]] bool is_healthy(const policy& p, const life& of, bool clean_end) noexcept;

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

    /// Judges the end of an attempt at `now`, own or shared. After a healthy life, see is_healthy(), the
    /// count starts over: `ended` is no failure, and waits the base delay, or what `retry:` asked; anything
    /// else is the first failure of a new run. A final failure (is_final() by the policy), one before
    /// on_open() where the policy says `first_failure_final`, and one whose next attempt would come after
    /// `max_elapsed`, give up at once. The delay is no shorter than the stretch of an outage so long asks.
    /// Retry-After is honoured, at least the computed delay, at most `max_retry_after`, once for the
    /// failure that carried it; it is not spread, as earlier is too early.
    ///
    /// A server that makes progress but hangs up at once must not be hammered: while connections with
    /// progress live shorter than the base delay, and the server asked nothing by `retry:`, the wait is also
    /// at least base_delay, then doubled for each further one up to max_delay. This has a count of its own,
    /// which gives nothing up, not even by `max_elapsed`; one longer life clears it.
    decision on_end(const failure& f, const life& was, time_point now, std::uint64_t random);

    /// The attempt became a stream: from now on no failure is the first, and the next begins another outage.
    void on_open() noexcept { opened_ = reached_ = true; }

    /// `retry:` from the stream, clamped to min_delay .. max_retry_after, where the policy heeds it. In force
    /// until the next, or at_new_endpoint().
    void server_retry(duration asked) noexcept;

    /// When the first of these failures was; nothing when there are none.
    [[nodiscard]] std::optional<time_point> failing_since() const noexcept;

    /// Starts over with the count, and the time, of a fresh stream (a wake(), a success). What `retry:` asked
    /// stays, the guard against hammering too, and whether it was ever open.
    void reset() noexcept { failures_ = 0; }

    /// The next attempt is at another endpoint: starts over, also with what this one asked and how it was
    /// guarded.
    void at_new_endpoint() noexcept;

    [[nodiscard]] const retry::policy& policy() const noexcept { return policy_; }

private:
    [[nodiscard]] duration stretched(time_point now) const noexcept;
    [[nodiscard]] duration guard(const life& was) noexcept;

    retry::policy policy_;
    unsigned failures_ = 0;
    unsigned short_lives_ = 0;      // with progress, since the last longer one
    std::optional<duration> retry_; // what the endpoint asked
    time_point failing_since_{};    // meaningful while there are failures
    time_point unreached_since_{};  // the same: the first of them since the last stream
    bool reached_ = false;          // since the last failure
    bool opened_ = false;
};

} // namespace holdfast::retry
