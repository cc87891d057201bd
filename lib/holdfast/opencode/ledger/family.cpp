#include <holdfast/opencode/ledger/family.hpp>

namespace holdfast::opencode::ledger {

namespace {

constexpr unsigned max_depth = 64; // below that, nobody can tell what a session descends from

} // namespace

bool family::owns(std::string_view session) const {
    return session == root_ || parents_.contains(session);
}

std::optional<unsigned> family::depth_of(std::string_view session) const {
    std::string id(session);
    for (unsigned depth = 0; depth <= max_depth; ++depth) {
        if (id == root_)
            return depth;
        const auto found = parents_.find(id);
        if (found == parents_.end())
            break;
        id = found->second;
    }
    return std::nullopt;
}

std::string family::top_child(std::string_view session) const {
    std::string id(session);
    for (unsigned depth = 0; depth <= max_depth; ++depth) {
        const auto found = parents_.find(id);
        if (found == parents_.end() || found->second == root_ || found->second.empty())
            break;
        id = found->second;
    }
    return id;
}

void family::meet(const session_info& s) {
    if (!s.parent_id.empty() && owns(s.parent_id))
        add(s.id, s.parent_id);
}

bool family::add(const std::string& id, const std::string& parent) {
    return id != root_ && parents_.size() < max_ && parents_.emplace(id, parent).second;
}

void family::remove(const std::string& id) {
    parents_.erase(id);
    status_.erase(id);
}

bool family::say(const std::string& id, const session_status& status) {
    auto& known = status_[id];
    if (known == status)
        return false;
    known = status;
    return true;
}

} // namespace holdfast::opencode::ledger
