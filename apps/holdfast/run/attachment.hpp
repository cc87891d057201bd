// A file on the command line as a part of a prompt.
#pragma once

#include <holdfast/opencode/client.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace holdfast::app {

inline constexpr std::size_t max_attachment = 16u << 20;  ///< bytes of one file
inline constexpr std::size_t max_attachments = 32u << 20; ///< of all files of a prompt together

/// Reads the files and adds a part for each, with its content in a data: URL: the server may be on another
/// machine. The content says what a file is: UTF-8 text goes as text/plain, which OpenCode shows to the model
/// as a file that it has read; PNG, JPEG, GIF, WebP and PDF go as what they are. Anything else is refused,
/// and so are empty files, which providers refuse, and what is no regular file: a pipe may never end.
/// @return why it cannot be done, for a person; empty when it was.
[[nodiscard]] std::string attach(const std::vector<std::string>& paths,
                                 std::vector<opencode::prompt_part>& to);

} // namespace holdfast::app
