// When something must happen by itself: the end of a turn's grace period, the check after a quiet time, the
// next abort of a turn that keeps running, the next attempt at a snapshot that failed. Not for users.
#pragma once

#include <holdfast/opencode/ledger/transcript.hpp>
#include <holdfast/time.hpp>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::opencode::ledger {

class deadlines {
public:
    explicit deadlines(duration quiet_after) : quiet_after_(quiet_after) {}

    // --- the grace of a turn: how long something new of it is waited for
    void wait_for(const std::string& turn, time_point now, duration grace);
    void stop_waiting(const std::string& turn) { waits_.erase(turn); }
    /// Another grace for a turn that is waited for; one that was over is not, if this one is longer.
    void set_grace(const std::string& turn, time_point now, duration grace);
    /// Something of the session itself happened, or the turn is waited for anew.
    void restart_all(time_point now);
    void restart(const std::string& turn, time_point now);
    /// The same, but what is over stays over.
    void shift_all(time_point now);
    /// When its grace was over; zero: it is not, or there is none.
    [[nodiscard]] position grace_over(const std::string& turn) const;

    // --- quiet
    void progressed(time_point now);
    void quiet_told(time_point now);
    void forget_quiet() { quiet_due_ = false; }
    [[nodiscard]] bool is_quiet() const noexcept { return quiet_due_; }
    [[nodiscard]] duration quiet_for(time_point now) const { return now - progress_; }

    // --- aborts
    void abort_again(const std::string& turn, time_point when) { aborts_.insert_or_assign(turn, when); }
    /// The turns whose abort is due.
    [[nodiscard]] std::vector<std::string> aborts_due(time_point now) const;

    // --- snapshots
    void no_snapshot_before(time_point when) { no_snapshot_before_ = when; }
    void snapshot_had() { no_snapshot_before_.reset(); }
    [[nodiscard]] bool may_fetch() const noexcept { return !no_snapshot_before_; }

    void forget(const std::string& turn);
    void forget_all();

    /// Lets time pass; `watches_quiet`: somebody waits on a stream that is attached.
    void tick(time_point now, position at, bool watches_quiet);
    [[nodiscard]] std::optional<time_point>
    next(bool watches_quiet, const std::function<bool(const std::string&)>& is_heard) const;

private:
    struct grace {
        time_point since{};
        duration lasts{};
        position over = 0;
    };
    [[nodiscard]] bool waits_for_quiet(bool watches) const {
        return watches && quiet_after_ > duration::zero() && !quiet_due_;
    }

    duration quiet_after_;
    std::map<std::string, grace> waits_;
    std::map<std::string, time_point> aborts_;
    std::optional<time_point> no_snapshot_before_;
    time_point progress_{};
    time_point quiet_check_{};
    bool quiet_due_ = false;
};

} // namespace holdfast::opencode::ledger
