// When a turn is ended for its owner. Pure: `now` is an argument.
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/time.hpp>

#include <cstdint>
#include <optional>

namespace holdfast::opencode {

/// A turn that passes one of these is aborted, and its settlement names the limit. Zero: there is no such
/// limit.
struct turn_limits {
    duration deadline{};      ///< since its prompt was posted
    duration no_progress{};   ///< nothing new for so long, even while the server says that it is busy
    std::uint64_t tokens = 0; ///< of its finished messages: input, output, reasoning, cache writes and reads
    double cost = 0;          ///< of its finished messages, in the server's currency (US dollars)
    /// Its finished messages: each is one request to the model. A step is known once it is finished, so that
    /// the one past the limit is still paid for. A server may go on for ever with a model that gives no
    /// reason to finish.
    std::uint64_t max_steps = 0;
    /// A wait of the server before it asks the model again, as it announces it: a provider's Retry-After may
    /// be a day.
    duration retry_wait{};
    /// How long the abort may take; then the turn is settled as lost, the server may still be at it.
    duration abort_patience = seconds(10);

    friend bool operator==(const turn_limits&, const turn_limits&) = default;
};

/// What one turn has used of its limits. A limit of time is passed when all of it is over, one of tokens,
/// cost or steps when more than it was used, that of a retry wait when a longer one is announced. What child
/// sessions use does not count. The first that is passed stays the one that was; progress that comes after it
/// changes nothing, however late passed() is asked. Of two at once it is the first in turn_limits.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class limit_watch {
public:
    limit_watch(turn_limits limits, time_point posted) noexcept;

    /// Its time begins anew: it was posted only now.
    void posted(time_point now) noexcept;
    /// Other limits from now on.
    void limit(const turn_limits& limits) noexcept { limits_ = limits; }

    /// Everything that the turn tells its owner: usage counts, and all that the turn itself did is progress.
    /// What is told of the stream (interrupted, gap), of our own asking (quiet) and of the end is none.
    void heard(const agent_event& event, time_point now) noexcept;

    /// The server announced that it waits so long before it asks the model again.
    void waits(duration wait, time_point now) noexcept;

    /// What heard() has counted.
    [[nodiscard]] const turn_usage& used() const noexcept { return used_; }

    /// The limit that is passed by `now`; none: none is.
    [[nodiscard]] turn_limit passed(time_point now) noexcept;

    /// When passed() may next say something new; time_point::max(): not by time alone.
    [[nodiscard]] time_point due() const noexcept;

private:
    void judge_use() noexcept;

    turn_limits limits_;
    time_point posted_;
    time_point progress_;
    turn_usage used_;
    turn_limit passed_ = turn_limit::none;
};

} // namespace holdfast::opencode
