// Which permissions are answered for their owner.
#include <boost/test/unit_test.hpp>

#include <holdfast/opencode/ask_policy.hpp>

#include <algorithm>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using namespace holdfast::opencode;
using namespace std::string_literals;

namespace holdfast::opencode {
std::ostream& boost_test_print_type(std::ostream& to, ask_answer a) {
    return to << to_string(a);
}
} // namespace holdfast::opencode

namespace {

permission_request asks(std::string permission, std::vector<std::string> patterns) {
    permission_request request;
    request.permission = std::move(permission);
    request.patterns = std::move(patterns);
    return request;
}

/// Whether a rule with this pattern decides about this text.
bool matches(std::string pattern, std::string text) {
    const std::vector<ask_rule> rules{{"*", std::move(pattern), {}, ask_answer::once}};
    return answer_by(rules, asks("bash", {std::move(text)}), 0) == ask_answer::once;
}

/// What the wildcards mean, said as plainly as can be.
bool matches_by_definition(std::string_view pattern, std::string_view text) {
    if (pattern.empty())
        return text.empty();
    if (pattern[0] == '*') {
        for (std::size_t n = 0; n <= text.size(); ++n)
            if (matches_by_definition(pattern.substr(1), text.substr(n)))
                return true;
        return pattern == " *";
    }
    if (pattern == " *" && text.empty())
        return true;
    return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) &&
           matches_by_definition(pattern.substr(1), text.substr(1));
}

} // namespace

BOOST_AUTO_TEST_CASE(answers_have_names_which_name_them) {
    for (const auto& [answer, name] : {std::pair{ask_answer::once, "once"},
                                       {ask_answer::always, "always"},
                                       {ask_answer::reject, "reject"},
                                       {ask_answer::ask, "ask"}}) {
        BOOST_TEST(to_string(answer) == name);
        BOOST_TEST((parse_ask_answer(name) == answer));
    }
    BOOST_TEST(to_string(static_cast<ask_answer>(9)) == "unknown");
    for (const char* other : {"", "Once", "once ", "allow", "unknown", "rejec"})
        BOOST_TEST(!parse_ask_answer(other).has_value(), other);
}

BOOST_AUTO_TEST_CASE(wildcards_match_whole_texts) {
    struct row {
        std::string pattern, text;
        bool matched;
    };
    for (const row& each : std::vector<row>{
             {"", "", true},
             {"", "a", false},
             {"*", "", true},
             {"*", "anything / at all", true},
             {"***", "", true},
             {"a", "a", true},
             {"a", "A", false},
             {"a", "ab", false},
             {"b", "ab", false},
             {"a*", "a", true},
             {"a*", "abc", true},
             {"*c", "abc", true},
             {"*c", "abcd", false},
             {"a*c", "abcbc", true},
             {"a*c", "abcb", false},
             {"a*b*c", "a-b-b-c", true},
             {"a*b*c", "a-c-b", false},
             {"?", "", false},
             {"?", "a", true},
             {"?", "ab", false},
             {"*?", "", false},
             {"*?*?*", "ab", true},
             {"*?*?*", "a", false},
             {"a?c", "abc", true},
             {"a?c", "ac", false},
             {"git status*", "git status --short", true},
             {"git status*", "git stash", false},
             {"src/**", "src/a/b.cpp", true},
             {"src/**", "test/src/a", false},
             {"*.cpp", "a/b/c.cpp", true},
             {"echo *", "echo one\ntwo\r\nthree", true}, // over line ends
             {"a?b", "a\nb", true},
             {".+", "aa", false}, // nothing else is special
             {"[ab]", "a", false},
             {"[ab]", "[ab]", true},
             {"a\\*", "a*", false},
             {"a\\*", "a\\b", true},
             {"(a|b)$^", "(a|b)$^", true},
         })
        BOOST_TEST(matches(each.pattern, each.text) == each.matched, each.pattern << " and " << each.text);
}

BOOST_AUTO_TEST_CASE(a_pattern_that_ends_in_any_arguments_stands_for_none_too) {
    struct row {
        std::string pattern, text;
        bool matched;
    };
    for (const row& each : std::vector<row>{{"ls *", "ls", true},
                                            {"ls *", "ls ", true},
                                            {"ls *", "ls -l", true},
                                            {"ls *", "lsof", false},
                                            {"ls*", "lsof", true},
                                            {"git * *", "git log", true},
                                            {"git * *", "git", false},
                                            {"ls * x", "ls x", false},
                                            {" *", "", true}})
        BOOST_TEST(matches(each.pattern, each.text) == each.matched, each.pattern << " and " << each.text);
}

BOOST_AUTO_TEST_CASE(a_question_mark_stands_for_a_character_of_any_length) {
    for (const char* one : {"a", "\u00e9", "\u20ac", "\U0001f600", "\xff", "\x80", "\xc3"}) {
        BOOST_TEST(matches("?", one), one);
        BOOST_TEST(matches("a?b", "a"s + one + "b"), one);
        BOOST_TEST(!matches("??", one), one);
        BOOST_TEST(!matches("*??", one), one);
        BOOST_TEST(matches("*?", "a"s + one), one);
    }
    BOOST_TEST(matches("??", "\u00e9\u20ac"));
}

BOOST_AUTO_TEST_CASE(any_bytes_can_be_matched) {
    std::string all;
    for (int byte = 0; byte < 256; ++byte)
        all.push_back(static_cast<char>(byte));
    BOOST_TEST(matches("*", all));
    BOOST_TEST(matches("\0*"s, all));
    BOOST_TEST(matches("*\0*\xff"s, all));
    BOOST_TEST(!matches("a\0b"s, "a\0c"s));
    BOOST_TEST(matches("*\xa9"s, "\u00e9"s)); // half a character is what the rule says
}

BOOST_AUTO_TEST_CASE(short_patterns_and_texts_match_as_defined) {
    std::mt19937 random(1);
    const auto draw = [&](std::string_view letters, std::size_t most) {
        std::string s(random() % (most + 1), ' ');
        for (auto& each : s)
            each = letters[random() % letters.size()];
        return s;
    };
    unsigned matched = 0;
    for (int i = 0; i < 200000; ++i) {
        const auto pattern = draw("ab*? ", 7), text = draw("aab ", 8);
        const bool got = matches(pattern, text);
        matched += got ? 1 : 0;
        BOOST_TEST_REQUIRE(got == matches_by_definition(pattern, text), pattern << " and " << text);
    }
    BOOST_TEST(matched > 10000u);
}

BOOST_AUTO_TEST_CASE(a_pattern_made_to_be_slow_is_not) {
    const std::string text(1u << 20, 'a');
    std::string pattern;
    for (int i = 0; i < 30; ++i)
        pattern += "*a?*";
    BOOST_TEST(matches(pattern, text));
    BOOST_TEST(!matches(pattern + "b", text));
    BOOST_TEST(!matches("*aaaaaaaaaaaaaaaaaaaaaaaaaaaaab", text));
}

BOOST_AUTO_TEST_CASE(without_a_rule_it_is_asked) {
    BOOST_TEST(answer_by({}, asks("bash", {"ls"}), 0) == ask_answer::ask);
    BOOST_TEST(answer_by({}, asks("", {}), 7) == ask_answer::ask);
    BOOST_TEST(answer_by({{"edit", "*", {}, ask_answer::once}}, asks("bash", {"ls"}), 0) == ask_answer::ask);
}

BOOST_AUTO_TEST_CASE(a_rule_as_it_is_made_matches_all_and_asks) {
    BOOST_TEST(answer_by({{"*", "*", {}, ask_answer::once}, ask_rule()}, asks("bash", {"ls"}), 3) ==
               ask_answer::ask);
    BOOST_TEST((ask_rule() == ask_rule{"*", "*", std::nullopt, ask_answer::ask}));
}

BOOST_AUTO_TEST_CASE(the_last_rule_that_matches_decides) {
    const std::vector<ask_rule> rules{{"*", "*", {}, ask_answer::reject},
                                      {"bash", "*", {}, ask_answer::ask},
                                      {"bash", "git *", {}, ask_answer::always},
                                      {"bash", "git push*", {}, ask_answer::reject},
                                      {"ed?t", "src/*", {}, ask_answer::once}};
    struct row {
        std::string permission, pattern;
        ask_answer answer;
    };
    for (const row& each : std::vector<row>{{"bash", "ls", ask_answer::ask},
                                            {"bash", "git log", ask_answer::always},
                                            {"bash", "git push -f", ask_answer::reject},
                                            {"edit", "src/a", ask_answer::once},
                                            {"edit", "lib/a", ask_answer::reject},
                                            {"webfetch", "http://a.test", ask_answer::reject}})
        BOOST_TEST(answer_by(rules, asks(each.permission, {each.pattern}), 0) == each.answer, each.pattern);
    auto turned = rules;
    std::reverse(turned.begin(), turned.end());
    BOOST_TEST(answer_by(turned, asks("bash", {"git log"}), 0) == ask_answer::reject);
}

BOOST_AUTO_TEST_CASE(a_rule_with_a_depth_is_for_that_depth_alone) {
    const std::vector<ask_rule> rules{{"*", "*", {}, ask_answer::reject},
                                      {"*", "*", 0u, ask_answer::once},
                                      {"*", "*", 2u, ask_answer::always}};
    for (const auto& [depth, answer] : {std::pair{0u, ask_answer::once},
                                        {1u, ask_answer::reject},
                                        {2u, ask_answer::always},
                                        {3u, ask_answer::reject}})
        BOOST_TEST(answer_by(rules, asks("bash", {"ls"}), depth) == answer, depth);
}

BOOST_AUTO_TEST_CASE(of_several_patterns_the_most_careful_answer_counts) {
    const std::vector<ask_rule> rules{{"*", "always", {}, ask_answer::always},
                                      {"*", "once", {}, ask_answer::once},
                                      {"*", "ask", {}, ask_answer::ask},
                                      {"*", "reject", {}, ask_answer::reject}};
    const std::vector<ask_answer> by_care{ask_answer::always, ask_answer::once, ask_answer::ask,
                                          ask_answer::reject};
    const auto answer_to = [&](std::vector<std::string> patterns) {
        return answer_by(rules, asks("bash", std::move(patterns)), 0);
    };
    for (std::size_t a = 0; a < 4; ++a)
        for (std::size_t b = 0; b < 4; ++b) {
            const std::string one(to_string(by_care[a])), other(to_string(by_care[b]));
            BOOST_TEST(answer_to({one, other}) == by_care[std::max(a, b)], one << " and " << other);
            BOOST_TEST(answer_to({"always", one, "always", other}) == by_care[std::max(a, b)]);
        }
    BOOST_TEST(answer_to({"always", "no rule knows this"}) == ask_answer::ask);
}

BOOST_AUTO_TEST_CASE(a_request_without_patterns_is_matched_as_an_empty_one) {
    const auto none = asks("doom_loop", {});
    BOOST_TEST(answer_by({{"*", "*", {}, ask_answer::reject}}, none, 0) == ask_answer::reject);
    BOOST_TEST(answer_by({{"*", "", {}, ask_answer::once}}, none, 0) == ask_answer::once);
    BOOST_TEST(answer_by({{"*", "?*", {}, ask_answer::once}}, none, 0) == ask_answer::ask);
}
