// UTF-8 as the Encoding Standard decodes it.
#include <boost/test/unit_test.hpp>

#include <holdfast/sse/utf8.hpp>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <string_view>

namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

#define FFFD "\xEF\xBF\xBD"

// From buffers of their very size, so that the sanitizer sees a read past the end.
std::string mended(std::string_view bytes) {
    const auto buffer = std::make_unique<char[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), buffer.get());
    return holdfast::sse::to_valid_utf8({buffer.get(), bytes.size()});
}

bool is_valid(std::string_view bytes) {
    const auto buffer = std::make_unique<char[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), buffer.get());
    return holdfast::sse::is_valid_utf8({buffer.get(), bytes.size()});
}

// At every offset from the word boundaries that the fast path works by.
template <class Check>
void at_every_offset(std::string_view bytes, Check check) {
    for (std::size_t before = 0; before < 18; ++before)
        for (const std::size_t after : {0, 1, 7, 8, 9})
            check(std::string(before, 'a'), bytes, std::string(after, 'z'));
}

std::string encode(char32_t c) {
    const auto tail = [c](int shift) {
        return static_cast<char>(0x80 | (c >> shift & 0x3F));
    };
    if (c < 0x80)
        return {static_cast<char>(c)};
    if (c < 0x800)
        return {static_cast<char>(0xC0 | c >> 6), tail(0)};
    if (c < 0x10000)
        return {static_cast<char>(0xE0 | c >> 12), tail(6), tail(0)};
    return {static_cast<char>(0xF0 | c >> 18), tail(12), tail(6), tail(0)};
}

struct row {
    std::string_view in, out;
};

const row ill_formed[] = {
    // bytes that begin nothing
    {"\x80", FFFD},
    {"\xBF\x80", FFFD FFFD},
    {"\xC0", FFFD},
    {"\xC1", FFFD},
    {"\xF5", FFFD},
    {"\xF8", FFFD},
    {"\xFE\xFF", FFFD FFFD},
    // overlong forms: their second byte does not continue the first
    {"\xC0\x80", FFFD FFFD},
    {"\xC0\xAF", FFFD FFFD},
    {"\xC1\xBF", FFFD FFFD},
    {"\xE0\x80\x80", FFFD FFFD FFFD},
    {"\xE0\x9F\xBF", FFFD FFFD FFFD},
    {"\xF0\x80\x80\x80", FFFD FFFD FFFD FFFD},
    {"\xF0\x8F\xBF\xBF", FFFD FFFD FFFD FFFD},
    {"\xF8\x88\x80\x80\x80", FFFD FFFD FFFD FFFD FFFD},
    // surrogates, alone and as a pair
    {"\xED\xA0\x80", FFFD FFFD FFFD},
    {"\xED\xBF\xBF", FFFD FFFD FFFD},
    {"\xED\xA0\xBD\xED\xB8\x80", FFFD FFFD FFFD FFFD FFFD FFFD},
    // above U+10FFFF
    {"\xF4\x90\x80\x80", FFFD FFFD FFFD FFFD},
    {"\xF7\xBF\xBF\xBF", FFFD FFFD FFFD FFFD},
    // cut off: one for what is there
    {"\xC2", FFFD},
    {"\xE2", FFFD},
    {"\xE2\x82", FFFD},
    {"\xE0\xA0", FFFD},
    {"\xF0\x9F", FFFD},
    {"\xF0\x9F\x98", FFFD},
    {"\xF4\x8F\xBF", FFFD},
    // cut off by what comes next, which stands for itself
    {"\xC2y", FFFD "y"},
    {"\xE2\x82y", FFFD "y"},
    {"\xF0\x9F\x98y", FFFD "y"},
    {"\xE2\x82\xE2\x82\xAC", FFFD "\xE2\x82\xAC"},
    {"\xF0\x9F\xF0\x9F\x98\x80", FFFD "\xF0\x9F\x98\x80"},
    {"\xE2\xE2\xE2", FFFD FFFD FFFD},
    {"\xC2\xC2\x80", FFFD "\xC2\x80"},
    // the example of the Unicode Standard, table 3-11
    {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
     "A",
     FFFD FFFD FFFD FFFD "A"},
};

const std::string_view well_formed[] = {
    ""sv,
    "a"sv,
    "\0"sv,
    "\x7F"sv,
    "\xC2\x80"sv,
    "\xDF\xBF"sv,
    "\xE0\xA0\x80"sv,
    "\xED\x9F\xBF"sv,
    "\xEE\x80\x80"sv,
    "\xEF\xBF\xBD"sv,
    "\xEF\xBB\xBF"sv,
    "\xEF\xBF\xBF"sv,
    "\xF0\x90\x80\x80"sv,
    "\xF4\x8F\xBF\xBF"sv,
    "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80, and a tail of ASCII"sv,
};

} // namespace

BOOST_AUTO_TEST_CASE(each_maximal_subpart_of_what_is_ill_formed_becomes_one_replacement_character) {
    for (const row& r : ill_formed)
        at_every_offset(r.in, [&](const std::string& before, std::string_view in, const std::string& after) {
            BOOST_TEST(!is_valid(before + std::string(in) + after));
            BOOST_TEST(mended(before + std::string(in) + after) == before + std::string(r.out) + after);
        });
}

BOOST_AUTO_TEST_CASE(well_formed_text_stays_as_it_is) {
    for (const std::string_view text : well_formed)
        at_every_offset(text, [](const std::string& before, std::string_view in, const std::string& after) {
            BOOST_TEST(is_valid(before + std::string(in) + after));
            BOOST_TEST(mended(before + std::string(in) + after) == before + std::string(in) + after);
        });
}

BOOST_AUTO_TEST_CASE(every_character_is_valid_and_no_surrogate_or_larger_value_is) {
    std::size_t wrong = 0;
    for (char32_t c = 0; c < 0x120000; ++c) {
        const bool expected = c < 0xD800 || (c > 0xDFFF && c <= 0x10FFFF);
        wrong += holdfast::sse::is_valid_utf8(encode(c)) != expected;
    }
    BOOST_TEST(wrong == 0u);
}

BOOST_AUTO_TEST_CASE(random_bytes_come_out_valid_and_mending_twice_changes_nothing) {
    static constexpr std::string_view alphabet =
        "a\x80\x8F\x90\x9F\xA0\xBF\xC0\xC2\xDF\xE0\xE2\xED\xEF\xF0\xF3\xF4\xF5\xFF"sv;
    std::mt19937 random(11);
    for (int round = 0; round < 20000; ++round) {
        std::string bytes(random() % 24, '\0');
        for (char& c : bytes)
            c = alphabet[random() % alphabet.size()];
        const std::string text = mended(bytes);
        BOOST_TEST_REQUIRE(is_valid(text));
        BOOST_TEST_REQUIRE(mended(text) == text);
        BOOST_TEST_REQUIRE(is_valid(bytes) == (text == bytes));
    }
}

namespace {

/// Slow and obvious: what the bytes would stand for is encoded again.
bool is_one_character(std::string_view bytes) {
    char32_t c = static_cast<unsigned char>(bytes[0]);
    if (bytes.size() > 1)
        c &= 0x7Fu >> bytes.size();
    for (const char b : bytes.substr(1))
        c = c << 6 | (static_cast<unsigned char>(b) & 0x3Fu);
    const bool is_scalar = c < 0xD800 || (c > 0xDFFF && c <= 0x10FFFF);
    return is_scalar && encode(c) == bytes;
}

bool is_valid_slowly(std::string_view bytes) {
    while (!bytes.empty()) {
        std::size_t size = 1;
        while (size <= std::min<std::size_t>(4, bytes.size()) && !is_one_character(bytes.substr(0, size)))
            ++size;
        if (size > std::min<std::size_t>(4, bytes.size()))
            return false;
        bytes.remove_prefix(size);
    }
    return true;
}

} // namespace

BOOST_AUTO_TEST_CASE(whatever_stands_at_the_edge_of_a_range_is_judged_as_by_encoding_it_again) {
    static constexpr std::string_view edges = "\x00\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE1\xEC"
                                              "\xED\xEE\xEF\xF0\xF1\xF3\xF4\xF5\xFF"sv;
    std::size_t wrong = 0, valid = 0;
    for (const char a : edges)
        for (const char b : edges)
            for (const char c : edges)
                for (const char d : edges) {
                    const std::string bytes{a, b, c, d};
                    const bool expected = is_valid_slowly(bytes);
                    valid += expected;
                    wrong += holdfast::sse::is_valid_utf8(bytes) != expected;
                }
    BOOST_TEST(wrong == 0u);
    BOOST_TEST(valid > 100u);
}
