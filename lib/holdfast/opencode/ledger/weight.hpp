// How much events and approvals hold in memory, without what is small in any case. Not for users.
#pragma once

#include <holdfast/opencode/event.hpp>

#include <cstddef>

namespace holdfast::opencode::ledger {

[[nodiscard]] std::size_t weight_of(const permission_request& r) noexcept;
[[nodiscard]] std::size_t weight_of(const question_request& r) noexcept;
[[nodiscard]] std::size_t weight_of(const event& e) noexcept;

} // namespace holdfast::opencode::ledger
