// testing: the simulated world, for the library's own tests and for its users': virtual time, an in-memory
// network with faults, a model of an OpenCode server. A whole hour of outages runs in milliseconds, the same
// for the same seed.
//
// This header: time that passes only when nothing else is left to do.
#pragma once

#include <holdfast/runtime/clock.hpp>

#include <cstddef>
#include <memory>
#include <optional>

namespace holdfast::testing {

/// A clock whose time stands still until advance_to(). Thread safety: none, one thread owns it and its
/// timers.
class virtual_clock final : public clock {
public:
    /// The steady clock starts one day after its epoch, so that "a while ago" can be told.
    explicit virtual_clock(wall_time wall_start = wall_time(std::chrono::sys_days(std::chrono::January / 1 /
                                                                                  2026)));
    ~virtual_clock() override;

    [[nodiscard]] time_point now() const override;
    [[nodiscard]] wall_time wall_now() const override;
    [[nodiscard]] std::unique_ptr<timer_base> make_timer(net::any_io_executor executor) override;

    /// The earliest moment that someone waits for; nullopt when nobody does (waits without an end do not
    /// count).
    [[nodiscard]] std::optional<time_point> next_expiry() const;
    /// Lets time pass to `when` and posts the completions of all waits that are over, in order of expiry.
    void advance_to(time_point when);
    /// Pending waits, also those without an end.
    [[nodiscard]] std::size_t pending() const noexcept;

    struct state;

private:
    std::shared_ptr<state> state_;
};

} // namespace holdfast::testing
