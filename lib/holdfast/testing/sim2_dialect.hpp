// What differs between the servers of 2.x that are simulated, by their version. Its own table, not that of
// the library: what is wrong in one is then seen. Not for users.
#pragma once

#include <string>
#include <string_view>

namespace holdfast::testing::detail::sim2 {

/// Source of each member: protocol/v2/WIRE.md, sections 1, 4 and 9.
struct dialect {
    std::string_view identity; ///< the route that tells the version
    std::string_view inbox;    ///< the last segment of the route of what waits
    std::string_view decision; ///< the member of a permission's reply
    bool has_inbox_events;     ///< "inbox" for "input" in the names of events
    bool cancels_queued;       ///< DELETE and PATCH of what waits
    bool serves_pages;         ///< the web application, before authentication
    bool is_current;           ///< 2.0.4 and later in all that was read of 2.0.26 alone
    int retries;               ///< of a request that failed
};

inline constexpr dialect current{"info", "inbox", "decision", true, true, true, true, 10};
inline constexpr dialect early{"health", "inbox", "reply", true, true, true, false, 4};
inline constexpr dialect preview{"health", "pending", "reply", false, false, false, false, 4};

/// 2.0.0 to 2.0.3 are early; with a word behind the number, as "2.0.0-lab", it is the preview.
[[nodiscard]] inline const dialect& dialect_of(std::string_view version) {
    if (version.find('-') != std::string_view::npos)
        return preview;
    const bool is_early =
        version == "2.0.0" || version == "2.0.1" || version == "2.0.2" || version == "2.0.3";
    return is_early ? early : current;
}

} // namespace holdfast::testing::detail::sim2
