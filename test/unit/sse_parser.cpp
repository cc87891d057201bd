// The event stream parser: the published cases at every cut, and what its contract promises beyond them.
#include <boost/test/unit_test.hpp>

#include "support/counted_allocations.hpp"
#include "support/paths.hpp"
#include "support/sse_streams.hpp"

#include <holdfast/sse/parser.hpp>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace sse = holdfast::sse;
namespace json = boost::json;
using holdfast::errc;
using holdfast::error_code;
using holdfast::test::allocations;
using holdfast::test::chunks;
using holdfast::test::cut_at_random;
using holdfast::test::cut_every;
using holdfast::test::fastest_of_three;
using holdfast::test::random_stream;
using holdfast::test::repeat;
using namespace std::string_literals;
using namespace std::string_view_literals;

struct owned_event {
    std::string type, data, id;
    bool operator==(const owned_event&) const = default;
};

std::ostream& operator<<(std::ostream& os, const owned_event& e) {
    return os << '{' << e.type << '|' << e.data << '|' << e.id << '}';
}

// All that a stream leaves behind.
struct outcome {
    std::vector<owned_event> events;
    std::string last_event_id;
    std::optional<std::uint64_t> retry_ms;
    error_code error;
    bool operator==(const outcome&) const = default;
};

std::ostream& operator<<(std::ostream& os, const outcome& o) {
    for (const owned_event& e : o.events)
        os << e;
    os << " id=" << o.last_event_id << " retry=";
    if (o.retry_ms)
        os << *o.retry_ms;
    else
        os << "none";
    return os << " error=" << o.error.message();
}

void take_events(sse::parser& parser, std::string_view& input, std::vector<owned_event>& into) {
    while (parser.next(input)) {
        const sse::event& e = parser.event();
        into.push_back({std::string(e.type), std::string(e.data), std::string(e.id)});
    }
}

// A buffer of the chunk's own, of its very size, gone right afterwards: a read past its end or a view kept
// too long is a memory error that the sanitizer sees.
void feed(sse::parser& parser, std::string_view chunk, std::vector<owned_event>& into) {
    const auto buffer = std::make_unique<char[]>(chunk.size());
    std::copy(chunk.begin(), chunk.end(), buffer.get());
    std::string_view input(buffer.get(), chunk.size());
    take_events(parser, input, into);
}

outcome parse(const chunks& stream, sse::limits bounds = {}) {
    sse::parser parser(bounds);
    outcome result;
    for (const std::string_view chunk : stream)
        feed(parser, chunk, result.events);
    result.last_event_id = parser.last_event_id();
    result.retry_ms = parser.retry_ms();
    result.error = parser.error();
    return result;
}

// In one piece, a byte at a time, and at every point in two.
void check_every_cut(std::string_view stream, const outcome& expected, sse::limits bounds = {}) {
    BOOST_TEST(parse({stream}, bounds) == expected);
    BOOST_TEST(parse(cut_every(stream, 1), bounds) == expected);
    for (std::size_t cut = 0; cut <= stream.size(); ++cut)
        BOOST_TEST(parse({stream.substr(0, cut), stream.substr(cut)}, bounds) == expected, "cut at " << cut);
}

// The format as the standard words it, with no thought of speed or of cuts.
outcome parse_slowly(std::string stream) {
    if (stream.starts_with("\xEF\xBB\xBF"))
        stream.erase(0, 3);
    std::vector<std::string> lines;
    std::string line;
    for (std::size_t i = 0; i < stream.size(); ++i) {
        if (stream[i] != '\r' && stream[i] != '\n') {
            line += stream[i];
            continue;
        }
        if (stream[i] == '\r' && i + 1 < stream.size() && stream[i + 1] == '\n')
            ++i;
        lines.push_back(line);
        line.clear();
    }

    outcome result;
    std::string data, type, id;
    for (const std::string& l : lines) {
        if (l.empty()) {
            result.last_event_id = id;
            if (!data.empty()) {
                data.pop_back();
                result.events.push_back({type.empty() ? "message" : type, data, id});
            }
            data.clear();
            type.clear();
            continue;
        }
        const std::size_t colon = l.find(':');
        const std::string field = l.substr(0, colon);
        std::string value = colon == std::string::npos ? "" : l.substr(colon + 1);
        if (value.starts_with(' '))
            value.erase(0, 1);
        if (field == "event")
            type = value;
        else if (field == "data")
            data += value + '\n';
        else if (field == "id" && value.find('\0') == std::string::npos)
            id = value;
        else if (field == "retry" && !value.empty() &&
                 value.find_first_not_of("0123456789") == std::string::npos)
            result.retry_ms = std::stoull(value);
    }
    return result;
}

std::string bytes(const json::value& latin1) {
    const json::string& utf8 = latin1.as_string();
    std::string out;
    for (std::size_t i = 0; i < utf8.size(); ++i) {
        const auto c = static_cast<unsigned char>(utf8[i]);
        out += c < 0x80 ? utf8[i] : static_cast<char>((c & 0x03) << 6 | (utf8[++i] & 0x3F));
    }
    return out;
}

const json::object& cases() {
    static const json::value all = [] {
        std::ifstream file(holdfast::test::data_folder() / "cases.json", std::ios::binary);
        return json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
    }();
    return all.as_object();
}

outcome expected_of(const json::object& c) {
    outcome expected;
    for (const json::value& e : c.at("events").as_array())
        expected.events.push_back({bytes(e.at("type")), bytes(e.at("data")), bytes(e.at("id"))});
    expected.last_event_id = bytes(c.at("last_event_id"));
    if (!c.at("retry").is_null())
        expected.retry_ms = c.at("retry").to_number<std::uint64_t>();
    return expected;
}

struct seen {
    std::size_t events = 0, in_buffer = 0;
};

seen count_views(sse::parser& parser, std::string_view stream, std::size_t chunk) {
    seen result;
    for (std::string_view piece : cut_every(stream, chunk)) {
        const std::string_view buffer = piece;
        const std::less_equal<> le;
        while (parser.next(piece)) {
            const std::string_view data = parser.event().data;
            ++result.events;
            if (le(buffer.data(), data.data()) &&
                le(data.data() + data.size(), buffer.data() + buffer.size()))
                ++result.in_buffer;
        }
    }
    return result;
}

// Eight times the bytes: linear takes about 8 times as long, quadratic 64.
void check_linear(const std::function<std::string(std::size_t)>& make_stream, std::size_t chunk) {
    const auto time_of = [&](std::size_t bytes) {
        const std::string stream = make_stream(bytes);
        return fastest_of_three([&] {
            sse::parser parser;
            count_views(parser, stream, chunk);
        });
    };
    BOOST_TEST(time_of(4u << 20) < 28 * time_of(1u << 19));
}

struct limit_case {
    const char* says;
    sse::limits bounds;
    std::string_view passes;
    std::string_view fails;
    errc error;
};

constexpr std::size_t off = std::numeric_limits<std::size_t>::max();

sse::limits line_limit(std::size_t n) {
    return {.line = n, .event = off, .data_lines = off, .id = off};
}
sse::limits event_limit(std::size_t n) {
    return {.line = off, .event = n, .data_lines = off, .id = off};
}

const limit_case limit_cases[] = {
    {"a data line", line_limit(8), "data: xx\n\n", "data: xxx", errc::line_too_long},
    {"a comment", line_limit(8), ":1234567\n", ":12345678", errc::line_too_long},
    {"an unknown field", line_limit(8), "foo: bar\n", "foo: barx", errc::line_too_long},
    {"a line that ends in CR", line_limit(8), ":1234567\r\n", ":12345678\r", errc::line_too_long},
    {"what looked like a BOM", line_limit(3), "\xEF\xBB:\n", "\xEF\xBB::", errc::line_too_long},
    {"a BOM does not count", line_limit(8), "\xEF\xBB\xBF:1234567\n", "\xEF\xBB\xBF:12345678",
     errc::line_too_long},
    {"data with a space", event_limit(4), "data: 1234\n\n", "data: 12345", errc::event_too_large},
    {"data without a space", event_limit(4), "data:1234\n\n", "data:12345", errc::event_too_large},
    {"data of two lines", event_limit(4), "data:1\ndata:23\n\n", "data:1\ndata:234", errc::event_too_large},
    {"data of empty lines", event_limit(2), "data\ndata\ndata\n\n", "data\ndata\ndata\ndata\n",
     errc::event_too_large},
    {"data of empty values", event_limit(1), "data:\ndata:\n\n",
     "data:\ndata:\ndata:", errc::event_too_large},
    {"data lines",
     {.line = off, .event = off, .data_lines = 2, .id = off},
     "data:1\ndata:2\n\ndata:1\n\n",
     "data:1\ndata:2\ndata:3\n",
     errc::too_many_lines},
    {"the event, passed before the line",
     {.line = 10, .event = 4},
     "data:1\n\n",
     "data:1234567",
     errc::event_too_large},
    {"the line, passed before the event",
     {.line = 8, .event = 4},
     "data:1\n\n",
     "data:1234567",
     errc::line_too_long},
    {"the line and the event, passed by the same byte",
     {.line = 9, .event = 4},
     "data:1234\n\n",
     "data:12345",
     errc::line_too_long},
    {"nothing allowed",
     {.line = 3, .event = 0, .data_lines = 1, .id = 0},
     "\n\n:x\n",
     "data",
     errc::line_too_long},
};

} // namespace

BOOST_AUTO_TEST_CASE(every_published_stream_parses_the_same_at_every_cut) {
    BOOST_TEST(cases().at("parse").as_array().size() >= 30u);
    for (const json::value& c : cases().at("parse").as_array()) {
        BOOST_TEST_CONTEXT("case " << c.at("id"))
        check_every_cut(bytes(c.at("in")), expected_of(c.as_object()));
    }
}

BOOST_AUTO_TEST_CASE(every_published_chunked_stream_gives_each_event_with_the_chunk_that_completes_it) {
    BOOST_TEST(cases().at("chunked").as_array().size() >= 60u);
    for (const json::value& c : cases().at("chunked").as_array()) {
        BOOST_TEST_CONTEXT("case " << c.at("id")) {
            sse::parser parser;
            std::vector<owned_event> events;
            std::vector<std::size_t> after, expected_after;
            std::string whole;
            for (const json::value& chunk : c.at("chunks").as_array()) {
                whole += bytes(chunk);
                feed(parser, bytes(chunk), events);
                after.push_back(events.size());
            }
            for (const json::value& n : c.at("after").as_array())
                expected_after.push_back(n.to_number<std::size_t>());
            BOOST_TEST(after == expected_after, boost::test_tools::per_element());
            check_every_cut(whole, expected_of(c.as_object()));
        }
    }
}

BOOST_AUTO_TEST_CASE(random_streams_parse_as_the_standard_words_it_wherever_they_are_cut) {
    std::mt19937 random(20240607);
    for (int round = 0; round < 6000; ++round) {
        const std::string stream = random_stream(random);
        const outcome expected = parse_slowly(stream);
        const bool same = parse({stream}) == expected && parse(cut_every(stream, 1)) == expected &&
                          parse(cut_at_random(stream, random)) == expected &&
                          parse(cut_at_random(stream, random)) == expected;
        BOOST_TEST_REQUIRE(same, "round " << round << ": " << json::serialize(json::value(stream)));
    }
}

BOOST_AUTO_TEST_CASE(the_limit_that_a_random_stream_passes_does_not_depend_on_the_cuts) {
    std::mt19937 random(7);
    std::size_t failed = 0;
    for (int round = 0; round < 6000; ++round) {
        const std::string stream = random_stream(random);
        const sse::limits bounds{
            .line = random() % 12, .event = random() % 8, .data_lines = random() % 4, .id = random() % 3};
        const outcome whole = parse({stream}, bounds);
        failed += whole.error.failed();
        const bool same = parse(cut_every(stream, 1), bounds) == whole &&
                          parse(cut_at_random(stream, random), bounds) == whole;
        BOOST_TEST_REQUIRE(same, "round " << round << ": " << json::serialize(json::value(stream)));
    }
    BOOST_TEST(failed > 1500u);
    BOOST_TEST(failed < 6000u);
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_counts_only_at_the_start_and_only_once) {
    check_every_cut("\xEF\xBB\xBF"
                    "data:1\n\n\xEF\xBB\xBF"
                    "data:2\n\n",
                    {{{"message", "1", ""}}, "", {}, {}});
    check_every_cut("\xEF\xBB\xBF\xEF\xBB\xBF"
                    "data:1\n\ndata:2\n\n",
                    {{{"message", "2", ""}}, "", {}, {}});
}

BOOST_AUTO_TEST_CASE(the_beginning_of_a_byte_order_mark_is_the_beginning_of_a_line) {
    check_every_cut("\xEF"
                    "data:1\ndata:2\n\n",
                    {{{"message", "2", ""}}, "", {}, {}});
    check_every_cut("\xEF\xBB\ndata:2\n\n", {{{"message", "2", ""}}, "", {}, {}});
    check_every_cut("\xEF\xBB\xEF\xBB\xBF"
                    "data:1\n\ndata:2\n\n",
                    {{{"message", "2", ""}}, "", {}, {}});
}

BOOST_AUTO_TEST_CASE(each_limit_lets_the_last_allowed_byte_pass_and_not_one_more_at_every_cut) {
    for (const limit_case& c : limit_cases) {
        BOOST_TEST_CONTEXT(c.says) {
            BOOST_TEST(parse({c.passes}, c.bounds).error == error_code());
            check_every_cut(c.passes, parse_slowly(std::string(c.passes)), c.bounds);
            outcome expected;
            expected.error = c.error;
            check_every_cut(c.fails, expected, c.bounds);
        }
    }
}

BOOST_AUTO_TEST_CASE(after_a_limit_nothing_is_consumed_until_reset) {
    sse::parser parser(line_limit(8));
    std::string_view input = ":123456789";
    BOOST_TEST(!parser.next(input));
    BOOST_TEST(parser.error() == error_code(errc::line_too_long));
    input = "data:x\n\n";
    BOOST_TEST(!parser.next(input));
    BOOST_TEST(input == "data:x\n\n");
    parser.reset();
    BOOST_TEST(!parser.error());
    BOOST_TEST(parser.next(input));
    BOOST_TEST(parser.event().data == "x");
}

BOOST_AUTO_TEST_CASE(an_endless_line_is_refused_without_holding_more_than_the_limit) {
    const std::string flood(1u << 20, 'x');
    for (const std::string_view first : {""sv, "data: x"sv}) {
        sse::parser parser(line_limit(100));
        std::string_view input = first;
        BOOST_TEST(!parser.next(input));
        input = flood;
        BOOST_TEST(!parser.next(input));
        BOOST_TEST(parser.error() == error_code(errc::line_too_long));
        BOOST_TEST(parser.pending() <= 101u);
    }
}

BOOST_AUTO_TEST_CASE(reset_drops_an_incomplete_event_and_its_id_but_keeps_what_was_committed) {
    sse::parser parser;
    std::string_view input = "\xEF\xBB\xBFid: 1\nretry: 5\ndata: x\n\nid: 2\nevent: e\ndata: cut\nda";
    BOOST_TEST(parser.next(input));
    BOOST_TEST(!parser.next(input));
    BOOST_TEST(parser.pending() > 0u);
    parser.reset();
    BOOST_TEST(parser.pending() == 0u);
    BOOST_TEST(parser.last_event_id() == "1");
    BOOST_TEST((parser.retry_ms() == std::uint64_t{5}));
    input = "\xEF\xBB\xBF\ndata: y\n\n";
    BOOST_TEST(parser.next(input));
    BOOST_TEST((parser.event().type == "message" && parser.event().data == "y" && parser.event().id == "1"));
}

BOOST_AUTO_TEST_CASE(an_id_is_committed_at_the_blank_line_also_without_data) {
    sse::parser parser;
    std::string_view input = "id: 7\n";
    BOOST_TEST(!parser.next(input));
    BOOST_TEST(parser.last_event_id() == "");
    input = "\n";
    BOOST_TEST(!parser.next(input));
    BOOST_TEST(parser.last_event_id() == "7");
}

BOOST_AUTO_TEST_CASE(a_last_event_id_given_by_the_caller_is_that_of_events_without_an_id) {
    sse::parser parser;
    parser.last_event_id("given");
    std::string_view input = "data: x\n\nid\ndata: y\n\n";
    BOOST_TEST(parser.next(input));
    BOOST_TEST(parser.event().id == "given");
    BOOST_TEST(parser.next(input));
    BOOST_TEST(parser.event().id == "");
}

BOOST_AUTO_TEST_CASE(a_reconnection_time_too_large_for_its_type_is_the_largest) {
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    const std::pair<std::string_view, std::optional<std::uint64_t>> table[] = {
        {"retry: 0\n", 0},
        {"retry: 00018446744073709551614\n", most - 1},
        {"retry: 18446744073709551615\n", most},
        {"retry: 18446744073709551616\n", most},
        {"retry: 99999999999999999999999\n", most},
        {"retry: 1e3\n", std::nullopt},
        {"retry: 5 \n", std::nullopt},
        {"retry:  5\n", std::nullopt},
        {"retry:\n", std::nullopt},
        {"retry\n", std::nullopt},
        {"retry: \xD9\xA3\n", std::nullopt},
    };
    for (const auto& [stream, expected] : table)
        check_every_cut(stream, {{}, "", expected, {}});
}

BOOST_AUTO_TEST_CASE(pending_counts_what_is_held_for_an_incomplete_event) {
    sse::parser parser;
    std::string_view input = "data: 12345\nevent: abc\nid: 12\n:c";
    BOOST_TEST(!parser.next(input));
    BOOST_TEST(input.empty());
    BOOST_TEST(parser.pending() == 5u + 3u + 2u + 2u);
    input = "\n\n";
    BOOST_TEST(parser.next(input));
    BOOST_TEST(parser.pending() == 0u);
}

BOOST_AUTO_TEST_CASE(a_copy_taken_in_mid_event_goes_on_by_itself) {
    auto original = std::make_unique<sse::parser>();
    std::string_view input = "event: e\ndata: x\nda";
    BOOST_TEST(!original->next(input));
    sse::parser copy = *original;
    original.reset();
    input = "ta: y\n\n";
    BOOST_TEST(copy.next(input));
    BOOST_TEST((copy.event().type == "e" && copy.event().data == "x\ny"));
}

BOOST_AUTO_TEST_CASE(data_on_one_line_of_one_buffer_is_a_view_of_it) {
    const std::string stream = repeat("event: e\nid: 3\ndata: some json\n\ndata: crlf\r\n\r\n", 4096);
    sse::parser parser;
    const seen s = count_views(parser, stream, stream.size());
    BOOST_TEST(s.events > 100u);
    BOOST_TEST(s.in_buffer == s.events);
}

BOOST_AUTO_TEST_CASE(a_steady_stream_costs_no_allocation_per_event) {
    const std::string stream =
        repeat("event: something.longer.than.a.small.string\nid: an-id-longer-than-a-small-string\ndata: " +
                   std::string(300, 'x') + "\n\ndata: two\ndata: lines that are joined by a line feed\n\n",
               1u << 16);
    for (const std::size_t chunk :
         {std::size_t{1}, std::size_t{7}, std::size_t{100}, std::size_t{4096}, stream.size()}) {
        sse::parser parser;
        const chunks pieces = cut_every(stream, chunk);
        const auto pass = [&] {
            std::size_t events = 0;
            for (std::string_view piece : pieces)
                while (parser.next(piece))
                    ++events;
            return events;
        };
        const std::size_t warmed_up = pass();
        const std::size_t before = allocations;
        BOOST_REQUIRE(pass() == warmed_up);
        const std::size_t spent = allocations - before;
        BOOST_TEST(spent == 0u, "chunks of " << chunk);
    }
}

BOOST_AUTO_TEST_CASE(the_memory_of_one_huge_event_is_given_back) {
    const std::string huge = "data: " + std::string(4u << 20, 'x') + "\n";
    sse::parser parser;
    std::string_view input = huge;
    BOOST_TEST(!parser.next(input));
    input = "\n";
    BOOST_TEST(parser.next(input));
    BOOST_TEST(parser.event().data.size() == (4u << 20));
    BOOST_TEST(!parser.next(input));
    // Nothing but a new allocation can hold a second one.
    input = huge;
    const std::size_t before = allocations;
    BOOST_TEST(!parser.next(input));
    BOOST_TEST(allocations > before);
}

BOOST_AUTO_TEST_CASE(the_memory_of_one_huge_line_is_given_back) {
    const std::string huge = ":" + std::string(4u << 20, 'x');
    const auto feed_in_two = [&](sse::parser& parser) {
        for (std::string_view piece : {std::string_view(huge).substr(0, 1), std::string_view(huge).substr(1)})
            BOOST_TEST(!parser.next(piece));
    };
    for (const bool by_reset : {false, true}) {
        sse::parser parser;
        feed_in_two(parser);
        if (by_reset) {
            parser.reset();
        } else {
            std::string_view end = "\n";
            BOOST_TEST(!parser.next(end));
        }
        BOOST_TEST(parser.pending() == 0u);
        const std::size_t before = allocations;
        feed_in_two(parser);
        BOOST_TEST(allocations > before);
    }
}

BOOST_AUTO_TEST_CASE(one_long_line_in_many_small_reads_takes_linear_time) {
    check_linear([](std::size_t n) { return "data: " + std::string(n, 'x') + "\n\n"; }, 64);
}

BOOST_AUTO_TEST_CASE(many_short_lines_that_end_in_cr_take_linear_time_in_one_read) {
    check_linear([](std::size_t n) { return repeat("data: x\r\r", n); },
                 std::numeric_limits<std::size_t>::max());
}

BOOST_AUTO_TEST_CASE(many_data_lines_of_one_event_take_linear_time) {
    check_linear([](std::size_t n) { return repeat("data: 0123456789\n", n) + '\n'; }, 1000);
}

BOOST_AUTO_TEST_CASE(one_long_comment_in_many_small_reads_takes_linear_time) {
    check_linear([](std::size_t n) { return ":" + std::string(n, '\0') + "\n\n"; }, 64);
}

BOOST_AUTO_TEST_CASE(after_reset_a_stream_begins_afresh_wherever_the_old_one_ended) {
    for (const std::string_view old :
         {""sv, "\xEF"sv, "\xEF\xBB\xBF"sv, "x"sv, "data: a\r"sv, "data: a\nda"sv, "data: a\n"sv,
          "event: e\n"sv, "event: e"sv, "id: 2\n"sv, ":"sv, "data: whole\n\n"sv, "data: whole\r\n\r"sv})
        for (const std::string_view fresh : {"\xEF\xBB\xBF"
                                             "data: 1\n\n"sv,
                                             "data: 1\n\n"sv, "\ndata: 1\n\n"sv, "ta: 0\ndata: 1\n\n"sv}) {
            sse::parser parser;
            std::vector<owned_event> events;
            feed(parser, old, events);
            parser.reset();
            BOOST_TEST(parser.event().data.empty());
            BOOST_TEST(parser.pending() == 0u);
            events.clear();
            feed(parser, fresh, events);
            BOOST_TEST_REQUIRE(events.size() == 1u, old << " and then " << fresh);
            BOOST_TEST((events[0] == owned_event{"message", "1", ""}), old << " and then " << fresh);
        }
}

BOOST_AUTO_TEST_CASE(pending_counts_each_thing_alone) {
    const std::pair<std::string_view, std::size_t> table[] = {
        {"", 0},
        {"data: 12345\n", 5},
        {"data: 12\ndata: 3\n", 4},
        {"event: abc\n", 3},
        {"id: 12\n", 2},
        {":comment", 8},
        {":comment\n", 0},
        {"dat", 3},
        {"data", 4},
        {"data\n", 0},
        {"\xEF\xBB", 0},
        {"data: x\n\nid: 7", 5},
        {"event: abc\n\n", 0},
        {"id: 12\n\n", 0},
        {"x: y\n", 0},
    };
    for (const auto& [stream, expected] : table) {
        sse::parser parser;
        std::vector<owned_event> events;
        feed(parser, stream, events);
        BOOST_TEST(parser.pending() == expected, stream);
    }
}
