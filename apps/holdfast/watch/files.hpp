// What `holdfast watch` reads from files: settings and a token.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace holdfast::app {

/// All of a file of at most `most` bytes. @return why not: "NAME: cannot be read", "NAME: larger than ..."
[[nodiscard]] std::string read_file(const std::string& name, std::size_t most, std::string& into);

/// What is wrong with a bearer token, as a part of a sentence; empty: nothing. Tokens are 1 to 4,096
/// printable ASCII characters without spaces.
[[nodiscard]] std::string token_fault(std::string_view token);

/// Whether the file is open to every user of this machine.
[[nodiscard]] bool is_world_readable(const std::string& name);

} // namespace holdfast::app
