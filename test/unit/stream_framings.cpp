// How bodies become events where they are no event streams: JSON lines.
#include <boost/test/unit_test.hpp>

#include <holdfast/stream/ndjson.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;

namespace {

using lines = std::vector<std::string>;

const sse::limits no_limits;

// All that is told, of pieces that are gone when the next one comes.
lines tell(const std::vector<std::string_view>& pieces, const sse::limits& bounds = no_limits,
           const sse::options& wanted = {}, bool flush = false) {
    const auto parser = stream::ndjson(bounds, wanted);
    lines all;
    const auto note = [&] {
        all.push_back(parser->what() == sse::found::skipped
                          ? "skipped " + parser->skipped().message()
                          : std::string(parser->event().type) + ' ' + std::string(parser->event().data));
    };
    for (const auto piece : pieces) {
        const auto own = std::make_unique<std::string>(piece);
        std::string_view input = *own;
        while (parser->next(input))
            note();
        if (parser->error()) {
            all.push_back("error " + parser->error().message());
            return all;
        }
        BOOST_TEST(input.empty());
    }
    if (const auto left = parser->left(); !left.empty())
        all.push_back("left " + left);
    while (flush && parser->finish())
        note();
    return all;
}

lines tell_everywhere(const std::string& text, const sse::limits& bounds = no_limits,
                      const sse::options& wanted = {}) {
    const auto whole = tell({text}, bounds, wanted);
    for (std::size_t at = 0; at <= text.size(); ++at)
        for (std::size_t then = at; then <= text.size(); ++then) {
            const std::string_view view = text;
            const auto cut =
                tell({view.substr(0, at), view.substr(at, then - at), view.substr(then)}, bounds, wanted);
            BOOST_TEST(cut == whole, "cut at " << at << " and " << then << ": " << text);
            if (cut != whole)
                return whole;
        }
    return whole;
}

void check(const lines& found, const lines& expected) {
    BOOST_TEST(found == expected, boost::test_tools::per_element());
}

sse::limits at_most(std::size_t line, std::size_t event) {
    sse::limits bounds;
    bounds.line = line;
    bounds.event = event;
    return bounds;
}

const auto line_over = error_code(errc::line_too_long).message();
const auto event_over = error_code(errc::event_too_large).message();

} // namespace

BOOST_AUTO_TEST_CASE(each_line_is_an_event_wherever_it_is_cut) {
    check(tell_everywhere("{\"a\":1}\n[2]\r\n\"\xC3\xA9\"\n"),
          {"message {\"a\":1}", "message [2]", "message \"\xC3\xA9\""});
}

BOOST_AUTO_TEST_CASE(lines_of_blanks_and_a_byte_order_mark_are_passed_over) {
    check(tell_everywhere("\xEF\xBB\xBF{}\n\n \t\r\n\r\n1\n"), {"message {}", "message 1"});
    check(tell_everywhere("\xEF\xBB{}\n\xEF\xBB\xBF\n"), {"message \xEF\xBB{}", "message \xEF\xBB\xBF"});
}

BOOST_AUTO_TEST_CASE(a_cr_within_a_line_is_a_part_of_it) {
    check(tell_everywhere("a\rb\r\r\n"), {"message a\rb\r"});
}

BOOST_AUTO_TEST_CASE(a_last_line_without_its_end_is_left_or_flushed) {
    check(tell_everywhere("1\n{\"error\":"), {"message 1", "left {\"error\":"});
    check(tell({"1\n{\"a\":", "2}\r"}, no_limits, {}, true),
          {"message 1", "left {\"a\":2}\r", "message {\"a\":2}"});
    check(tell({"1\n \t"}, no_limits, {}, true), {"message 1"});
    check(tell({std::string(300, 'x')}), {"left " + std::string(200, 'x')});
}

BOOST_AUTO_TEST_CASE(a_line_over_its_limit_is_an_error_the_same_at_every_cut) {
    check(tell_everywhere("abc\nabc\r\nabcd\nx\n", at_most(3, 9)),
          {"message abc", "message abc", "error " + line_over});
    check(tell_everywhere("abc\nabcd\n", at_most(9, 3)), {"message abc", "error " + event_over});
    check(tell_everywhere("abc\rx\n", at_most(3, 9)), {"error " + line_over});
    check(tell_everywhere("abc\r\r\n", at_most(3, 9)), {"error " + line_over});
    check(tell_everywhere("    \n", at_most(3, 9)), {"error " + line_over});
}

BOOST_AUTO_TEST_CASE(a_line_over_its_limit_is_found_with_its_first_byte_too_many) {
    check(tell({"abcd"}, at_most(3, 9)), {"error " + line_over});
    check(tell({"abc\r"}, at_most(3, 9)), {"left abc\r"});
    check(tell({"abc\r "}, at_most(3, 9)), {"error " + line_over});
}

BOOST_AUTO_TEST_CASE(a_line_over_its_limit_is_left_out_where_so_asked) {
    sse::options skipping;
    skipping.skip_oversized = true;
    check(tell_everywhere("abcd\nabcdefghij\nabc\nabcd", at_most(3, 9), skipping),
          {"skipped " + line_over, "skipped " + line_over, "message abc", "skipped " + line_over});
}

BOOST_AUTO_TEST_CASE(without_limits_a_line_is_as_long_as_it_is) {
    const auto most = static_cast<std::size_t>(-1);
    const std::string text(3u << 20, 'x');
    const auto got = tell({text, text, "\n", "y\n"}, at_most(most, most));
    BOOST_TEST_REQUIRE(got.size() == 2u);
    BOOST_TEST((got[0] == "message " + text + text));
    BOOST_TEST(got[1] == "message y");
}

BOOST_AUTO_TEST_CASE(a_new_connection_begins_with_a_new_line_and_keeps_the_id) {
    const auto parser = stream::ndjson({}, {});
    parser->last_event_id("41");
    std::string_view input = "\xEF\xBB\xBF{\"cut";
    BOOST_TEST(!parser->next(input));
    parser->reset();
    input = "\xEF\xBB\xBF{}\n";
    BOOST_TEST(parser->next(input));
    BOOST_TEST(parser->event().data == "{}");
    BOOST_TEST(parser->event().id == "41");
    BOOST_TEST(parser->last_event_id() == "41");
}

BOOST_AUTO_TEST_CASE(an_error_stays_until_the_next_connection) {
    const auto parser = stream::ndjson(at_most(1, 1), {});
    std::string_view input = "ab\nc\n";
    BOOST_TEST(!parser->next(input));
    BOOST_TEST(!parser->next(input));
    BOOST_TEST(parser->error().failed());
    BOOST_TEST(!parser->finish());
    parser->reset();
    input = "c\n";
    BOOST_TEST(parser->next(input));
}

BOOST_AUTO_TEST_CASE(json_lines_come_by_several_names) {
    for (const char* type : {"application/x-ndjson", "application/ndjson", "application/jsonl",
                             "application/x-jsonlines", "application/stream+json", "application/json"})
        BOOST_TEST(stream::is_ndjson_type(type), type);
    for (const char* type : {"", "text/event-stream", "text/html", "application/jsonlines2"})
        BOOST_TEST(!stream::is_ndjson_type(type), type);
}
