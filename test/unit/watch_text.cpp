// Untrusted text as the commands show it: what a person approves is what is shown.
#include <boost/test/unit_test.hpp>

#include "output.hpp"
#include "turn_text.hpp"
#include "watch/text_width.hpp"

#include <cstdio>
#include <string>

namespace {

using namespace holdfast::app;

std::string utf8(unsigned code) {
    std::string out;
    if (code < 0x80)
        return {static_cast<char>(code)};
    if (code < 0x800)
        return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
    if (code < 0x10000)
        return {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
                static_cast<char>(0x80 | (code & 0x3F))};
    return {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 0x3F)),
            static_cast<char>(0x80 | (code >> 6 & 0x3F)), static_cast<char>(0x80 | (code & 0x3F))};
}

std::string escaped(unsigned code) {
    char text[16];
    std::snprintf(text, sizeof text, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
    return text;
}

} // namespace

BOOST_AUTO_TEST_CASE(what_shows_nothing_is_made_visible_on_a_line) {
    for (const unsigned code :
         {0x00ADu,  0x034Fu,  0x061Cu,   0x115Fu,  0x1160u,  0x17B4u,  0x180Bu,  0x180Eu,  0x200Bu,
          0x200Cu,  0x200Du,  0x200Eu,   0x200Fu,  0x2028u,  0x2029u,  0x202Au,  0x202Eu,  0x2060u,
          0x2061u,  0x2064u,  0x2066u,   0x2069u,  0x206Fu,  0x2800u,  0x3164u,  0xFE00u,  0xFE0Fu,
          0xFEFFu,  0xFFA0u,  0xFFF9u,   0x1D173u, 0x1BCA0u, 0xE0001u, 0xE0041u, 0xE007Fu, 0xE0100u,
          0xE01EFu, 0xF0000u, 0x10FFFDu, 0x1bu,    0x7fu,    0x9bu}) {
        BOOST_TEST(printable_line("git" + utf8(code) + "push") == "git" + escaped(code) + "push");
        BOOST_TEST(one_line("git" + utf8(code) + "push") == "git" + escaped(code) + "push");
    }
}

BOOST_AUTO_TEST_CASE(what_shows_itself_stays) {
    for (const unsigned code :
         {0x20u, 0xA0u, 0xE9u, 0x0301u, 0x0627u, 0x1100u, 0x1161u, 0x2010u, 0x2027u, 0x2070u, 0x3000u,
          0x3042u, 0x3163u, 0x3165u, 0xFDFFu, 0xFE10u, 0xFFFDu, 0x1F600u, 0x2A700u})
        BOOST_TEST(printable_line("a" + utf8(code) + "b") == "a" + utf8(code) + "b", escaped(code));
}

BOOST_AUTO_TEST_CASE(streamed_text_keeps_its_joined_pictures_and_nothing_else_that_is_invisible) {
    const auto family = utf8(0x1F468) + utf8(0x200D) + utf8(0x1F469) + utf8(0x2764) + utf8(0xFE0F);
    BOOST_TEST(printable(family) == family);
    for (const unsigned code : {0x3164u, 0x200Bu, 0x202Eu, 0xE0041u, 0x115Fu})
        BOOST_TEST(printable(utf8(code)) == escaped(code));
}

BOOST_AUTO_TEST_CASE(an_approval_shows_all_that_is_asked_for) {
    holdfast::opencode::permission_request asked;
    asked.permission = "bash";
    asked.patterns = {"ls" + utf8(0x3164) + ";curl evil" + utf8(0x202E), "x" + utf8(0xE0072)};
    BOOST_TEST(printable_line(what_for(asked)) == "bash (ls\\u3164;curl evil\\u202e, x\\U000e0072)");
}
