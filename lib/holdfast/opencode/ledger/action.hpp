// What a turn_tracker wants done: values that a test can compare and print. Not for users.
#pragma once

#include <holdfast/opencode/agent_event.hpp>
#include <holdfast/time.hpp>

#include <iosfwd>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace holdfast::opencode::ledger {

/// A turn begins to be told to somebody.
struct opened {
    std::string message;
    friend bool operator==(const opened&, const opened&) = default;
};
/// An event of a turn, named by its prompt's id, for its owner. A settlement is the last one. Without a
/// message it is an approval for who holds or follows the session.
struct deliver {
    std::string message;
    agent_event event;
    bool ours = true; ///< of our turn, or of a child that it started: rules and timeouts may act
    friend bool operator==(const deliver&, const deliver&) = default;
};
/// The prompt is to be posted once more, with the same ids.
struct repost {
    std::string message;
    friend bool operator==(const repost&, const repost&) = default;
};
/// The server is to be asked once more to abort the session.
struct abort_again {
    friend bool operator==(const abort_again&, const abort_again&) = default;
};
/// A snapshot is wanted; after each input, as long as it is.
struct fetch_snapshot {
    friend bool operator==(const fetch_snapshot&, const fetch_snapshot&) = default;
};
/// The snapshot was void: the session became busy meanwhile.
struct snapshot_void {
    friend bool operator==(const snapshot_void&, const snapshot_void&) = default;
};
/// tick() is to be called then, if nothing else comes before; after each input, as long as there is a
/// deadline.
struct wake_at {
    time_point when;
    friend bool operator==(const wake_at&, const wake_at&) = default;
};

using action = std::variant<opened, deliver, repost, abort_again, fetch_snapshot, snapshot_void, wake_at>;
using actions = std::vector<action>;

/// "deliver msg_1 text", "fetch_snapshot", ...
[[nodiscard]] std::string describe(const action& a);
std::ostream& operator<<(std::ostream& out, const action& a);

} // namespace holdfast::opencode::ledger
