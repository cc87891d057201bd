// What the simulated servers do with faults. Not for users.
#pragma once

#include <holdfast/testing/opencode_sim.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::testing::detail {

/// Faults that an event stream takes one of; the others are looked up when their moment comes.
[[nodiscard]] bool befalls_a_stream(const fault& f);
/// Those that wait for a number of bytes, on a stream that was answered.
[[nodiscard]] bool has_offset(const fault& f);
/// The first of those that are left and wanted; it strikes once less.
[[nodiscard]] std::optional<fault> take_fault(std::vector<fault>& from,
                                              const std::function<bool(const fault&)>& wanted);
/// An array for what is none, and an object for an array.
[[nodiscard]] std::string of_another_shape(const std::string& body);

} // namespace holdfast::testing::detail
