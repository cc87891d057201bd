// The sessions below a root session, each with its parent, and what was said last of each one's status.
// Not for users.
#pragma once

#include <holdfast/opencode/types.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

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
    bool say(const std::string& id, const session_status& status, std::uint64_t at);
    /// Which of them a snapshot begun then found at work; of what an event told since, that counts.
    void show(const session_statuses& at_work, std::uint64_t begun);
    [[nodiscard]] bool is_at_work(const std::string& id) const;
    /// How many of them are, the root aside.
    [[nodiscard]] std::size_t at_work() const;

    /// A child of the root was started by this turn.
    void note_start(const std::string& child, const std::string& turn, bool ours);
    /// By the child of the root through which a session descends from it, where that is known.
    struct start {
        std::string turn;
        bool ours = false;
    };
    [[nodiscard]] const start* start_of(std::string_view session) const;

private:
    std::string root_;
    std::size_t max_;
    std::map<std::string, std::string, std::less<>> parents_;
    struct told {
        session_status status;
        std::uint64_t at = 0;
    };
    [[nodiscard]] static bool is_working(const std::pair<const std::string, told>& each);
    std::map<std::string, told> status_;
    std::map<std::string, start, std::less<>> starts_;
};

} // namespace holdfast::opencode::ledger
