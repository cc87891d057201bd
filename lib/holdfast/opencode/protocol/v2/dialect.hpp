// The spellings of 2.x: what differs between its servers in routes and bodies, as values. Nothing else asks
// for a version. Pure. Not for users.
#pragma once

#include <string_view>

namespace holdfast::opencode::v2 {

/// How one kind of 2.x server is spoken to. Source of each member: WIRE.md, sections 1, 4 and 9.
struct dialect {
    std::string_view name;     ///< in words: "current 2.x"
    std::string_view identity; ///< the route that tells its version
    std::string_view inbox;    ///< behind a session's path: the prompts not yet delivered
    std::string_view decision; ///< the member of a permission's reply
    std::string_view forms;    ///< the forms of a location
    bool deletes_forms;        ///< a form is refused by DELETE; else by POST .../cancel
    bool patches_sessions;     ///< a title is set by PATCH; else by POST .../rename
    bool can_cancel_queued;    ///< DELETE of an item of the inbox
    bool tells_outcome;        ///< rows of type "idle" close each execution in the list of messages
    bool interrupts_at_once;   ///< an interrupt answers when it is accepted; else when it is settled
};

/// 2.0.4 and later.
[[nodiscard]] const dialect& current_dialect() noexcept;
/// 2.0.0 to 2.0.3: by the description alone; no such server was seen.
[[nodiscard]] const dialect& early_dialect() noexcept;
/// What was built from the sources before the release of 2.0.0, which the recordings are of.
[[nodiscard]] const dialect& preview_dialect() noexcept;

/// Which one is spoken by a server that told `version` at `route`; null: none that is known.
[[nodiscard]] const dialect* find_dialect(std::string_view route, std::string_view version) noexcept;

} // namespace holdfast::opencode::v2
