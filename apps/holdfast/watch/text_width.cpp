#include "watch/text_width.hpp"

#include "output.hpp"

#include <clocale>
#include <cwchar>
#include <vector>

namespace holdfast::app {
namespace {

struct glyph {
    std::string_view bytes;
    std::size_t width;
};

// wcwidth() goes by the locale, and the program has none but "C": one for characters alone is enough.
std::size_t width_of_code(char32_t code) {
    static const locale_t utf8 = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    if (code < 0x7F || !utf8)
        return 1;
    const locale_t before = ::uselocale(utf8);
    const int width = ::wcwidth(static_cast<wchar_t>(code));
    ::uselocale(before);
    return width < 0 ? 1 : static_cast<std::size_t>(width);
}

// The first character of valid UTF-8.
glyph first_of(std::string_view text) {
    const auto byte = [&](std::size_t i) {
        return static_cast<unsigned char>(text[i]);
    };
    const std::size_t size = byte(0) < 0x80 ? 1 : byte(0) < 0xE0 ? 2 : byte(0) < 0xF0 ? 3 : 4;
    if (size == 1 || size > text.size())
        return {text.substr(0, 1), 1};
    char32_t code = byte(0) & (0xFFu >> (size + 1));
    for (std::size_t i = 1; i < size; ++i)
        code = code << 6 | (byte(i) & 0x3Fu);
    return {text.substr(0, size), width_of_code(code)};
}

std::vector<glyph> glyphs_of(std::string_view text) {
    std::vector<glyph> all;
    for (; !text.empty(); text.remove_prefix(all.back().bytes.size()))
        all.push_back(first_of(text));
    return all;
}

constexpr std::string_view ellipsis = "…";

} // namespace

std::string one_line(std::string_view untrusted) {
    std::string spaced;
    for (const char c : untrusted) {
        const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
        if (!space)
            spaced += c;
        else if (!spaced.empty() && spaced.back() != ' ')
            spaced += ' ';
    }
    return printable_line(spaced);
}

std::size_t width_of(std::string_view printable) {
    std::size_t width = 0;
    for (; !printable.empty();) {
        const auto next = first_of(printable);
        width += next.width;
        printable.remove_prefix(next.bytes.size());
    }
    return width;
}

std::string fitted(std::string_view printable, std::size_t width) {
    if (const auto own = width_of(printable); own <= width)
        return std::string(printable) + std::string(width - own, ' ');
    if (width == 0)
        return {};
    std::string cut;
    std::size_t taken = 0;
    for (const auto& each : glyphs_of(printable)) {
        if (taken + each.width > width - 1)
            break;
        cut += each.bytes;
        taken += each.width;
    }
    return cut.append(ellipsis) + std::string(width - 1 - taken, ' ');
}

std::string fitted_end(std::string_view printable, std::size_t width) {
    if (width_of(printable) <= width || width == 0)
        return fitted(printable, width);
    const auto all = glyphs_of(printable);
    std::size_t taken = 0;
    auto from = all.size();
    while (from > 0 && taken + all[from - 1].width <= width - 1)
        taken += all[--from].width;
    while (from < all.size() && all[from].width == 0) // without what it stood on
        ++from;
    std::string cut(ellipsis);
    for (; from < all.size(); ++from)
        cut += all[from].bytes;
    return cut + std::string(width - 1 - taken, ' ');
}

std::string fitted_right(std::string_view printable, std::size_t width) {
    const auto own = width_of(printable);
    return own < width ? std::string(width - own, ' ') + std::string(printable) : fitted(printable, width);
}

} // namespace holdfast::app
