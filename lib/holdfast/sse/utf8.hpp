// UTF-8 as the Encoding Standard decodes it: what a stream's bytes mean when they are not what they should
// be.
#pragma once

#include <string>
#include <string_view>

namespace holdfast::sse {

/// Whether the bytes are well-formed UTF-8: no overlong form, no surrogate, nothing above U+10FFFF, nothing
/// cut off. Safe from any thread.
[[nodiscard]] bool is_valid_utf8(std::string_view bytes) noexcept;

/// The bytes as well-formed UTF-8. What is ill-formed becomes U+FFFD, one for each maximal subpart, as the
/// UTF-8 decoder of the Encoding Standard has it (section 8.1.1); a byte order mark stays. Quick when nothing
/// is to be mended. Safe from any thread.
[[nodiscard]] std::string to_valid_utf8(std::string_view bytes);

} // namespace holdfast::sse
