// A recorded stream of a 2.x server, read as the turns that it holds: see opencode/recording.hpp. Pure.
// Not for users.
#pragma once

#include <holdfast/opencode/protocol/v2/event.hpp>
#include <holdfast/opencode/protocol/v2/turn_tracker.hpp>
#include <holdfast/opencode/recording.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::opencode::v2 {

class recording {
public:
    void feed(event e);
    [[nodiscard]] std::vector<recorded_row> take_rows();
    [[nodiscard]] std::vector<recorded_check> needs_check() const;

private:
    turn_tracker& root_of(const std::string& session);

    std::map<std::string, std::string, std::less<>> roots_; ///< of every session seen
    std::map<std::string, turn_tracker, std::less<>> sessions_;
    std::vector<std::string> order_; ///< of the root sessions
    std::vector<recorded_row> rows_;
};

} // namespace holdfast::opencode::v2
