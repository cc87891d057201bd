// --connect-to: a server that is meant by its URL, and reached somewhere else.
#pragma once

#include <holdfast/runtime/network.hpp>

#include <memory>
#include <optional>
#include <string_view>

namespace holdfast::app {

/// "HOST:PORT", IPv6 literals in brackets. Nullopt for anything else.
[[nodiscard]] std::optional<endpoint> parse_place(std::string_view text);

/// Connects to the host and port of `to` where `from` is asked for, and to all else as `inner` does.
[[nodiscard]] std::unique_ptr<network> connecting_to(std::unique_ptr<network> inner, endpoint from,
                                                     endpoint to);

} // namespace holdfast::app
