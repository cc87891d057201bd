// What all sessions of a directory have in common, as one look at it shows. Not for users.
#pragma once

#include <holdfast/opencode/types.hpp>

#include <map>
#include <string>
#include <vector>

namespace holdfast::opencode::detail {

/// Asked for once for all sessions that are due.
struct directory_view {
    /// What waits for an answer in a root session, or below it.
    struct asked {
        std::vector<permission_request> permissions;
        std::vector<question_request> questions;
        std::vector<session_info> children; ///< those that ask, and those above them
    };

    session_statuses status;
    std::map<std::string, asked> asks; ///< by root; of what it is not known what it is below: by itself
};

} // namespace holdfast::opencode::detail
