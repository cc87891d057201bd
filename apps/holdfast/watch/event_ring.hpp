// What /events tells: the newest events, with ids, and where each viewer is among them. Pure: no input or
// output, no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::app {

/// A bounded ring of events. An id is "RUN-N": RUN names this run of the program, N counts from 1. Who
/// publishes never waits, whatever viewers do; an event is kept once, for all of them.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class event_ring {
public:
    struct event {
        std::string id;
        std::string name;
        std::string data; ///< JSON on one line

        friend bool operator==(const event&, const event&) = default;
    };

    /// What is kept besides the newest event is bounded in bytes, too.
    static constexpr std::size_t kept_bytes = 16u << 20;

    /// @param kept      how many events there are to be had again; at least 1
    /// @param a_viewer  how many a viewer may be behind, at most `kept`
    /// @param run       the name of this run, without spaces; see name_run()
    explicit event_ring(std::size_t kept = 4096, std::size_t a_viewer = 256, std::string run = {});

    /// To be called before the first event, if at all.
    void name_run(std::string run) { run_ = std::move(run); }
    [[nodiscard]] const std::string& run() const noexcept { return run_; }

    /// `data` is JSON. Line ends in either are made spaces, and what is no UTF-8 is replaced.
    void publish(std::string name, std::string data);

    /// Called at the end of each publish().
    void on_publish(std::function<void()> told) { told_ = std::move(told); }

    /// The id of the newest event; "RUN-0" before the first.
    [[nodiscard]] std::string last_id() const { return id_of(last_); }

    /// One who looks at the ring, which must outlive it.
    ///
    /// It is told each event once, in order. What it cannot be told any more is told as one event `gap`, in
    /// its place: {"from":ID|null,"to":ID|null,"lost":N|null,"why":WORD}, from the first id that is lost to
    /// the last, and how many; null where that is not known, or where nothing of this run is lost. Its own id
    /// is that of `to`, so that a viewer who comes back with it is told the gap once. WORD is one of
    ///   slow         the viewer was more than `a_viewer` events behind
    ///   expired      the id it came with was followed by events that are not kept any more
    ///   another_run  the id is of another run of the program: nobody knows what was missed
    ///   unknown      the id was never given
    class viewer {
    public:
        /// @param last_seen  the id to go on after; nothing, or an empty one: only what comes from now on
        viewer(const event_ring& ring, std::string_view last_seen);

        /// The next one; nothing: there is none yet.
        [[nodiscard]] std::optional<event> next();

        /// After what it has been told: where it would go on if it came back.
        [[nodiscard]] std::string position() const { return ring_->id_of(next_ - 1); }

    private:
        [[nodiscard]] std::optional<event> lost_by_delay();

        const event_ring* ring_;
        std::uint64_t next_;
        bool catching_up_ = false; ///< what it missed is still being told: that may be all that is kept
        std::optional<event> gap_;
    };

private:
    [[nodiscard]] std::string id_of(std::uint64_t n) const { return run_ + '-' + std::to_string(n); }
    [[nodiscard]] std::optional<std::uint64_t> number_of(std::string_view id) const;
    [[nodiscard]] std::uint64_t first() const noexcept { return last_ - events_.size() + 1; }
    [[nodiscard]] event gap(std::optional<std::uint64_t> from, std::uint64_t to, std::string_view why) const;

    std::size_t kept_;
    std::size_t a_viewer_;
    std::string run_;
    std::deque<event> events_; ///< the newest last
    std::uint64_t last_ = 0;
    std::size_t bytes_ = 0;
    std::function<void()> told_;
};

} // namespace holdfast::app
