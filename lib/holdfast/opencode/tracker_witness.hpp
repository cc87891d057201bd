// Sees what a turn_tracker is told and what it makes of it, call by call: for tests that compare it with
// another.
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/opencode/event.hpp>
#include <holdfast/time.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace holdfast::opencode {

struct snapshot;
struct tracker_options;

/// Each function is that of turn_tracker, called after it. Nothing may be thrown.
class tracker_witness {
public:
    virtual ~tracker_witness() = default;

    virtual void open(const std::string& message, time_point now) = 0;
    virtual void posted(std::string_view message, time_point now, bool once) = 0;
    virtual void adopt(const std::string& message, time_point now) = 0;
    virtual void close(std::string_view message, const settlement& how) = 0;
    virtual void abort_requested(time_point now) = 0;
    virtual void abort_accepted() = 0;
    virtual void follow() = 0;
    virtual void moved() = 0;
    virtual void attached() = 0;
    virtual void interrupted(const retry::failure& why, unsigned next_attempt, duration retry_in,
                             time_point now) = 0;
    virtual void broken_off(const retry::failure& why, time_point now) = 0;
    virtual void on_event(const event& e, time_point now) = 0;
    [[nodiscard]] virtual std::uint64_t
    begin_snapshot() = 0; ///< the number that comes back with the snapshot
    virtual void on_snapshot(const snapshot& s, std::uint64_t begun, bool by_capture, bool merged,
                             time_point now) = 0;
    virtual void snapshot_failed(time_point now) = 0;
    virtual void tick(time_point now) = 0;
    /// What is delivered, when it is taken.
    virtual void delivered(const std::string& message, const agent_event& e) = 0;
    virtual void reposted(const std::string& message) = 0;
};

/// Makes one for the tracker of a session.
using make_witness = std::function<std::shared_ptr<tracker_witness>(const std::string& session,
                                                                    const tracker_options& options)>;

} // namespace holdfast::opencode
