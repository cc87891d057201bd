// One event stream of a server, and what it was learned to carry. Not for users.
#pragma once

#include <holdfast/stream/event_hub.hpp>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace holdfast::opencode::detail {

/// One directory's stream, or the whole server's.
struct directory_stream {
    static constexpr std::size_t max_children = 64u << 10;

    std::string
        key; ///< the directory; of one for all: empty, or "*" where directories have streams beside it
    std::shared_ptr<stream::event_hub> hub;
    std::map<std::string, std::string, std::less<>> roots; ///< child session -> root session

    void learn(const std::string& child, const std::string& root) {
        if (roots.size() < max_children || roots.contains(child))
            roots[child] = root;
    }
    /// A session below another was made: where that is held, so is this.
    void learn_below(const std::string& child, const std::string& parent) {
        const auto& root = root_of(parent);
        if (hub->has(root))
            learn(child, root);
    }
    /// The session itself, where it is below none that is known.
    [[nodiscard]] const std::string& root_of(const std::string& session) const {
        const auto found = roots.find(session);
        return found == roots.end() ? session : found->second;
    }
};

} // namespace holdfast::opencode::detail
