// What the fuzz targets share: how an input is cut, and how a difference is told.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::fuzz {

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

/// The bytes as a C++ string literal would have them.
inline std::string shown(std::string_view bytes) {
    std::string out = "\"";
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        char escaped[8];
        std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(byte));
        if (c == '"' || c == '\\')
            out += {'\\', c};
        else if (byte >= 0x20 && byte < 0x7f)
            out += c;
        else
            out += escaped;
    }
    return out + '"';
}

/// Ends the program with a sentence that says what did not hold; libFuzzer keeps the input.
[[noreturn]] inline void broken(std::string_view rule, const std::string& details = {}) {
    std::fprintf(stderr, "BROKEN: %.*s\n%s\n", static_cast<int>(rule.size()), rule.data(), details.c_str());
    std::abort();
}

inline void hold(bool holds, std::string_view rule, std::string_view about = {}) {
    if (!holds)
        broken(rule, shown(about));
}

/// What was found must be what was expected; `tell` makes a string of either.
template <class T, class Tell>
void same(const T& found, const T& expected, std::string_view rule, Tell tell) {
    if (!(found == expected))
        broken(rule, "found    " + tell(found) + "\nexpected " + tell(expected));
}

inline void same(std::string_view found, std::string_view expected, std::string_view rule) {
    if (found != expected)
        broken(rule, "found    " + shown(found) + "\nexpected " + shown(expected));
}

// --- cuts

using pieces = std::vector<std::string_view>;

inline pieces whole(std::string_view text) {
    return {text};
}

inline pieces byte_by_byte(std::string_view text) {
    pieces all;
    for (std::size_t i = 0; i < text.size(); ++i)
        all.push_back(text.substr(i, 1));
    return all;
}

/// Pieces whose sizes the input itself decides, some of them empty.
inline pieces by_its_own_bytes(std::string_view text) {
    std::uint32_t seed = 2166136261u;
    for (const char c : text)
        seed = (seed ^ static_cast<unsigned char>(c)) * 16777619u;
    std::minstd_rand random(seed | 1u);
    const std::size_t largest = 1 + random() % 24;
    pieces all;
    while (!text.empty()) {
        all.push_back(text.substr(0, random() % (largest + 1)));
        text.remove_prefix(all.back().size());
    }
    return all;
}

/// The ways in which each input is cut: a byte at a time, by its own bytes, and, when it is short, in two at
/// every point.
inline std::vector<pieces> cuts_of(std::string_view text) {
    constexpr std::size_t is_short = 20;
    std::vector<pieces> all{byte_by_byte(text), by_its_own_bytes(text)};
    for (std::size_t at = 0; text.size() <= is_short && at <= text.size(); ++at)
        all.push_back({text.substr(0, at), text.substr(at)});
    return all;
}

/// A buffer of a piece's own, of its very size: a read past its end, or a view that outlives it, is found by
/// the sanitizer.
class own_buffer {
public:
    explicit own_buffer(std::string_view piece) : size_(piece.size()), bytes_(new char[piece.size()]) {
        std::copy(piece.begin(), piece.end(), bytes_);
    }
    ~own_buffer() { delete[] bytes_; }
    own_buffer(const own_buffer&) = delete;
    own_buffer& operator=(const own_buffer&) = delete;

    [[nodiscard]] std::string_view view() const { return {bytes_, size_}; }
    [[nodiscard]] bool holds(std::string_view view) const {
        return view.data() >= bytes_ && view.data() + view.size() <= bytes_ + size_;
    }

private:
    std::size_t size_;
    char* bytes_;
};

// --- inputs of several fields

/// The fields of an input, which the byte 0x1E (the record separator) parts.
inline std::vector<std::string_view> fields_of(std::string_view input) {
    std::vector<std::string_view> all;
    for (;;) {
        const auto end = input.find('\x1e');
        all.push_back(input.substr(0, end));
        if (end == std::string_view::npos)
            return all;
        input.remove_prefix(end + 1);
    }
}

} // namespace holdfast::fuzz
