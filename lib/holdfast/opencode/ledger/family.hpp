// The sessions below a root session, each with its parent, and what was said last of each one's status. Not
// for users.
#pragma once

#include <holdfast/opencode/types.hpp>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::opencode::ledger {

class family {
public:
    family(std::string root, std::size_t max_children) : root_(std::move(root)), max_(max_children) {}

    [[nodiscard]] const std::string& root() const noexcept { return root_; }
    [[nodiscard]] bool owns(std::string_view session) const;
    /// 0: the root itself, 1: one of its children, ...; nothing: none of them.
    [[nodiscard]] std::optional<unsigned> depth_of(std::string_view session) const;
    /// The child of the root itself through which a session descends from it.
    [[nodiscard]] std::string top_child(std::string_view session) const;

    /// The server reported this session: it belongs to the family if its parent does.
    void meet(const session_info& s);
    /// False: it is known already, or there are too many.
    bool add(const std::string& id, const std::string& parent);
    void remove(const std::string& id);
    /// False: it said so before.
    bool say(const std::string& id, const session_status& status);

private:
    std::string root_;
    std::size_t max_;
    std::map<std::string, std::string, std::less<>> parents_;
    std::map<std::string, session_status> status_;
};

} // namespace holdfast::opencode::ledger
