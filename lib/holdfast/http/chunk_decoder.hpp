// The chunked transfer coding (RFC 9112, section 7.1), undone without a copy. Pure. Not for users.
#pragma once

#include <holdfast/header.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::http {

/// Takes the framing off a body that comes piece by piece; a part of response_parser. Of the framing nothing
/// is kept but the line that is not yet whole. Lines may end with LF alone, and blanks may follow a size;
/// extensions and trailers are passed over.
class chunk_decoder {
public:
    enum class step {
        framing, ///< some of the framing was taken
        payload, ///< `piece()` is some of a chunk's payload
        done,    ///< the body has ended
        broken,  ///< `complaint()` says how
        large,   ///< one line, or the trailers, are over `longest`
    };

    /// `longest`: bytes of one chunk's framing line and of the trailers, each; 0: no limit.
    explicit chunk_decoder(std::size_t longest) : longest_(longest) {}

    /// Takes some of `bytes`, of which there are some, off their front.
    [[nodiscard]] step next(std::string_view& bytes);

    /// A part of the bytes that next() was given.
    [[nodiscard]] std::string_view piece() const noexcept { return piece_; }
    [[nodiscard]] const std::string& complaint() const noexcept { return complaint_; }

private:
    enum class expected { size, payload, line_end, trailer, nothing };

    [[nodiscard]] step take_line(std::string_view& bytes);
    [[nodiscard]] step on_size(std::string_view line);
    [[nodiscard]] step on_trailer(std::string_view line);
    [[nodiscard]] step broken(const char* rule, std::string_view bytes);

    std::size_t longest_;
    expected expected_ = expected::size;
    std::string line_;              // as far as it has come
    std::size_t trailers_size_ = 0; // without the line under way
    std::vector<header> trailers_;  // the last one, so that a further line of it is known as such
    std::uint64_t left_ = 0;        // of the chunk's payload
    std::string_view piece_;
    std::string complaint_;
};

} // namespace holdfast::http
