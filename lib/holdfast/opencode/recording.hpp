// A recorded stream, read as the turns that it holds: what the owner of each would have been told, and how it
// ended, as far as events alone can tell. Pure.
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/opencode/turn_tracker.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::opencode {

/// One thing that the owner of a turn is told.
struct recorded_row {
    std::string session; ///< the root session
    std::string message; ///< the prompt's id
    agent_event event;
    friend bool operator==(const recorded_row&, const recorded_row&) = default;
};

/// A turn that events alone cannot decide; only the server itself could.
struct recorded_check {
    std::string session;
    std::optional<std::string> message; ///< empty: an error without any prompt
    std::string why;
    friend bool operator==(const recorded_check&, const recorded_check&) = default;
};

namespace v2 {
class recording;
}

/// Reads the data of the events of one recorded stream (/event, /global/event or /api/event), in order. Which
/// protocol it is of, 1.x or 2.x, its greeting tells, or the first event behind it that only one of them has.
///
/// A turn is opened for each prompt of a root session whose user message is in the recording. A session is a
/// child only if its creation, with its parent, is in the recording; its work belongs to its root's turn. The
/// stream is taken to be complete, so there are no snapshots, gaps or grace periods.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class recording {
public:
    recording();
    ~recording();
    recording(recording&&) noexcept;
    recording& operator=(recording&&) noexcept;

    /// Takes one event's data. What is no event, or lacks what the protocol promises, is passed over.
    void feed(std::string_view data);

    /// The rows since the last call, in order.
    [[nodiscard]] std::vector<recorded_row> take_rows();

    /// What the end of the recording leaves open: sessions in the order of their first event, in each the
    /// turns in the order of their prompts.
    [[nodiscard]] std::vector<recorded_check> needs_check() const;

private:
    struct root_session {
        turn_tracker tracker;
        bool has_messages = false;
        std::optional<api_error> first_error;
        std::map<std::string, turn_usage> used; // by the open turns
    };

    void feed_v1(std::string_view data);
    root_session& root_of(std::string_view session);
    void deliver(root_session& to, const std::string& session, const event& e);

    std::map<std::string, std::string, std::less<>> roots_; ///< of every session seen
    std::map<std::string, root_session, std::less<>> sessions_;
    std::vector<std::string> order_; ///< of the root sessions
    std::vector<recorded_row> rows_;
    int protocol_ = 0;                  ///< 1 or 2; 0: not known yet
    std::unique_ptr<v2::recording> v2_; ///< of protocol 2
};

} // namespace holdfast::opencode
