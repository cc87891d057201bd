#include <holdfast/sse/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace holdfast::sse {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

// What a lead byte asks for: how many bytes follow, and the range of the first of them, which is where
// overlong forms, surrogates and too large values are told apart.
struct lead {
    std::size_t following;
    unsigned char lowest = 0x80;
    unsigned char highest = 0xBF;
};

lead lead_of(unsigned char byte) noexcept {
    if (byte >= 0xC2 && byte <= 0xDF)
        return {1};
    if (byte == 0xE0)
        return {2, 0xA0, 0xBF};
    if (byte == 0xED)
        return {2, 0x80, 0x9F};
    if (byte >= 0xE1 && byte <= 0xEF)
        return {2};
    if (byte == 0xF0)
        return {3, 0x90, 0xBF};
    if (byte == 0xF4)
        return {3, 0x80, 0x8F};
    if (byte >= 0xF1 && byte <= 0xF3)
        return {3};
    return {0};
}

// The bytes that stand together at the front, a character or the maximal subpart of an ill-formed one.
struct sequence {
    std::size_t size;
    bool valid;
};

sequence first_sequence(std::string_view bytes) noexcept {
    const auto byte = [&](std::size_t i) {
        return static_cast<unsigned char>(bytes[i]);
    };
    if (byte(0) < 0x80)
        return {1, true};
    const lead l = lead_of(byte(0));
    if (l.following == 0)
        return {1, false};
    unsigned char lowest = l.lowest, highest = l.highest;
    for (std::size_t i = 1; i <= l.following; ++i) {
        if (i == bytes.size() || byte(i) < lowest || byte(i) > highest)
            return {i, false};
        lowest = 0x80;
        highest = 0xBF;
    }
    return {l.following + 1, true};
}

std::size_t ascii_words(std::string_view bytes) noexcept {
    std::size_t size = 0;
    for (std::uint64_t word; bytes.size() - size >= sizeof word; size += sizeof word) {
        std::memcpy(&word, bytes.data() + size, sizeof word);
        if (word & 0x8080808080808080u)
            break;
    }
    return size;
}

std::size_t valid_prefix(std::string_view bytes) noexcept {
    std::size_t size = 0;
    while (size < bytes.size()) {
        size += ascii_words(bytes.substr(size));
        // Up to the next word, so that text of many scripts is not tried as ASCII at each character.
        for (const std::size_t word_end = size + sizeof(std::uint64_t);
             size < word_end && size < bytes.size();) {
            const sequence next = first_sequence(bytes.substr(size));
            if (!next.valid)
                return size;
            size += next.size;
        }
    }
    return size;
}

} // namespace

bool is_valid_utf8(std::string_view bytes) noexcept {
    return valid_prefix(bytes) == bytes.size();
}

std::string to_valid_utf8(std::string_view bytes) {
    std::size_t valid = valid_prefix(bytes);
    std::string text(bytes.substr(0, valid));
    while (valid < bytes.size()) {
        bytes.remove_prefix(valid);
        bytes.remove_prefix(first_sequence(bytes).size);
        text += replacement;
        valid = valid_prefix(bytes);
        text += bytes.substr(0, valid);
    }
    return text;
}

} // namespace holdfast::sse
