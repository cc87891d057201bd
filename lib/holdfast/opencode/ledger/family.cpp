#include <holdfast/opencode/ledger/family.hpp>

#include <algorithm>

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
    starts_.erase(id);
}

bool family::say(const std::string& id, const session_status& status, std::uint64_t at) {
    auto& known = status_[id];
    const bool is_new = known.status != status;
    known = {status, at};
    return is_new;
}

void family::show(const session_statuses& at_work, std::uint64_t begun) {
    for (const auto& [id, parent] : parents_) {
        const auto known = status_.find(id);
        const bool works = at_work.contains(id);
        if (known == status_.end() ? works : known->second.at <= begun && works != is_at_work(id))
            status_[id] = {{works ? session_status::kind::busy : session_status::kind::idle, 0, {}, 0},
                           begun};
    }
}

bool family::is_at_work(const std::string& id) const {
    const auto found = status_.find(id);
    return found != status_.end() && is_working(*found);
}

std::size_t family::at_work() const {
    return static_cast<std::size_t>(std::count_if(status_.begin(), status_.end(), is_working));
}

bool family::is_working(const std::pair<const std::string, told>& each) {
    return each.second.status.state != session_status::kind::idle;
}

void family::note_start(const std::string& child, const std::string& turn, bool ours) {
    if (parents_.contains(child))
        starts_.insert_or_assign(child, start{turn, ours});
}

const family::start* family::start_of(std::string_view session) const {
    const auto found = starts_.find(top_child(session));
    return found == starts_.end() ? nullptr : &found->second;
}

} // namespace holdfast::opencode::ledger
