// A 1.x server. Not for users.
#pragma once

#include <holdfast/opencode/protocol/server_protocol.hpp>

namespace holdfast::opencode::v1 {

[[nodiscard]] std::shared_ptr<const detail::server_protocol> make_server_protocol();

} // namespace holdfast::opencode::v1
