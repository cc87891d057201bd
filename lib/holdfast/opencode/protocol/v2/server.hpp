// A 2.x server, in its dialect. Not for users.
#pragma once

#include <holdfast/opencode/protocol/server_protocol.hpp>
#include <holdfast/opencode/protocol/v2/dialect.hpp>

namespace holdfast::opencode::v2 {

[[nodiscard]] std::shared_ptr<const detail::server_protocol> make_server_protocol(const dialect& spoken);

} // namespace holdfast::opencode::v2
