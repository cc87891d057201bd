// -H @FILE: headers that may change while a stream is held, as a token does.
#pragma once

#include <holdfast/stream/event_source.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::app {

/// "Name: value". Nullopt for anything else.
[[nodiscard]] std::optional<header> parse_header(std::string_view text);

/// One "Name: value" a line; empty lines are passed over.
/// @return what is wrong with the file; empty: nothing
[[nodiscard]] std::string read_headers(const std::string& file, std::vector<header>& into);

/// Makes `config` send what the files hold, read anew at each connect, in place of headers of the same names.
/// A file that cannot be read then is a failure like any other of that attempt.
void send_headers_of(std::vector<std::string> files, stream::source_config& config);

} // namespace holdfast::app
