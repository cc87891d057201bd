// What the event stream parser gives beside events: comments and what it skipped; and what streams that mean
// no good may cost.
#include <boost/test/unit_test.hpp>

#include "support/counted_allocations.hpp"
#include "support/sse_streams.hpp"

#include <holdfast/sse/parser.hpp>

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace {

namespace sse = holdfast::sse;
using holdfast::errc;
using holdfast::error_code;
using holdfast::test::allocated_bytes;
using holdfast::test::chunks;
using holdfast::test::cut_at_random;
using holdfast::test::cut_every;
using holdfast::test::fastest_of_three;
using holdfast::test::random_stream;
using holdfast::test::repeat;
using namespace std::string_literals;

using lines = std::vector<std::string>;

constexpr std::size_t off = std::numeric_limits<std::size_t>::max();
constexpr sse::options all_of_it{.comments = true, .skip_oversized = true};

std::string name_of(error_code limit) {
    if (limit == errc::line_too_long)
        return "line";
    if (limit == errc::event_too_large)
        return "event";
    if (limit == errc::too_many_lines)
        return "lines";
    return limit == errc::id_too_long ? "id" : "?";
}

std::string told_by(const sse::parser& parser) {
    const sse::event& e = parser.event();
    switch (parser.what()) {
    case sse::found::event:
        return "event " + std::string(e.type) + '|' + std::string(e.data) + '|' + std::string(e.id);
    case sse::found::comment: return "comment " + std::string(e.data);
    case sse::found::skipped: return "skipped " + name_of(parser.skipped());
    }
    return "?";
}

// Each piece in a buffer of its own, gone as soon as it is consumed: a view of it kept any longer is a memory
// error.
lines parse(const chunks& stream, sse::limits bounds = {}, sse::options wanted = all_of_it) {
    sse::parser parser(bounds, wanted);
    lines told;
    for (const std::string_view piece : stream) {
        auto buffer = std::make_unique<char[]>(piece.size());
        std::copy(piece.begin(), piece.end(), buffer.get());
        std::string_view input(buffer.get(), piece.size());
        while (!input.empty() && parser.next(input))
            told.push_back(told_by(parser));
        BOOST_TEST_REQUIRE((input.empty() || parser.error().failed()));
    }
    told.push_back("id " + parser.last_event_id());
    if (parser.error())
        told.push_back("error " + name_of(parser.error()));
    return told;
}

void check_every_cut(std::string_view stream, lines expected, sse::limits bounds = {},
                     sse::options wanted = all_of_it) {
    expected.push_back("id " + (expected.empty() || !expected.back().starts_with("last ")
                                    ? std::string()
                                    : expected.back().substr(5)));
    std::erase_if(expected, [](const std::string& each) { return each.starts_with("last "); });
    BOOST_TEST(parse({stream}, bounds, wanted) == expected, boost::test_tools::per_element());
    BOOST_TEST(parse(cut_every(stream, 1), bounds, wanted) == expected, boost::test_tools::per_element());
    for (std::size_t cut = 0; cut <= stream.size(); ++cut)
        BOOST_TEST((parse({stream.substr(0, cut), stream.substr(cut)}, bounds, wanted) == expected),
                   "cut at " << cut);
}

// The rules as the header words them, one byte at a time and with no thought of memory.
class slow_parser {
public:
    explicit slow_parser(sse::limits bounds) : bounds_(bounds) {}

    lines parse(std::string stream) {
        const std::string bom = "\xEF\xBB\xBF";
        if (stream.starts_with(bom))
            stream.erase(0, bom.size());
        else if (bom.starts_with(stream)) // nothing is known yet
            stream.clear();
        std::string line;
        for (std::size_t i = 0; i < stream.size(); ++i) {
            if (stream[i] != '\r' && stream[i] != '\n') {
                line += stream[i];
                add_byte(line);
                continue;
            }
            if (stream[i] == '\r' && i + 1 < stream.size() && stream[i + 1] == '\n')
                ++i;
            end_line(line);
            line.clear();
        }
        told_.push_back("id " + last_id_);
        return told_;
    }

private:
    static std::string value_of(const std::string& line) {
        const auto colon = line.find(':');
        std::string value = colon == std::string::npos ? "" : line.substr(colon + 1);
        return value.starts_with(' ') ? value.substr(1) : value;
    }

    void add_byte(const std::string& line) {
        if (dropped_)
            return;
        const bool is_data = line.starts_with("data:") && !skipping_;
        const std::size_t joined = lines_ > 0 ? data_.size() + 1 : 0;
        if (line.size() > bounds_.line)
            over("line", line);
        else if (is_data && joined + value_of(line).size() > bounds_.event)
            over("event", line);
        else if (line.starts_with("id:") && value_of(line).size() > bounds_.id)
            over("id", line);
    }

    void over(const std::string& limit, const std::string& line) {
        dropped_ = true;
        if (limit == "id") {
            has_id_ = false;
            return;
        }
        bool of_an_event = limit != "line";
        for (const std::string field : {"data:", "event:", "id:", "retry:"})
            of_an_event = of_an_event || field.starts_with(line) || line.starts_with(field);
        if (of_an_event) {
            lines_ = 0;
            data_.clear();
            if (std::exchange(skipping_, true))
                return;
        }
        told_.push_back("skipped " + limit);
    }

    void end_line(const std::string& line) {
        if (std::exchange(dropped_, false))
            return;
        if (line.empty())
            return end_event();
        const auto field = line.substr(0, line.find(':'));
        const auto value = value_of(line);
        if (field.empty())
            told_.push_back("comment " + value);
        else if (field == "event")
            type_ = value;
        else if (field == "id" && value.find('\0') == std::string::npos) {
            id_ = value;
            has_id_ = true;
        } else if (field == "data" && !skipping_)
            add_data(line, value);
    }

    void add_data(const std::string& line, const std::string& value) {
        if (lines_ >= bounds_.data_lines)
            over("lines", line);
        else if (lines_ > 0 && data_.size() >= bounds_.event)
            over("event", line);
        else
            data_ += (lines_++ > 0 ? "\n" : "") + value;
        dropped_ = false;
    }

    void end_event() {
        if (has_id_)
            last_id_ = id_;
        if (lines_ > 0)
            told_.push_back("event " + (type_.empty() ? "message" : type_) + '|' + data_ + '|' + last_id_);
        has_id_ = skipping_ = false;
        lines_ = 0;
        data_.clear();
        type_.clear();
    }

    sse::limits bounds_;
    lines told_;
    std::string data_, type_, id_, last_id_;
    std::size_t lines_ = 0;
    bool has_id_ = false, skipping_ = false, dropped_ = false;
};

sse::limits tiny(std::mt19937& random) {
    return {.line = random() % 14, .event = random() % 8, .data_lines = random() % 4, .id = random() % 3};
}

bool is_event(const std::string& told) {
    return told.starts_with("event ");
}

std::size_t cost_of(const std::function<void()>& work) {
    const std::size_t before = allocated_bytes;
    work();
    return allocated_bytes - before;
}

// Gives the stream to a parser, in reads of 16 KiB, so many times over.
std::size_t pour(sse::parser& parser, const std::string& stream, std::size_t times) {
    std::size_t found = 0;
    for (; times > 0; --times)
        for (std::string_view rest = stream; !rest.empty();) {
            std::string_view input = rest.substr(0, 16u << 10);
            rest.remove_prefix(input.size());
            while (parser.next(input))
                ++found;
        }
    return found;
}

} // namespace

// --- comments

BOOST_AUTO_TEST_CASE(comments_are_given_without_their_colon_and_one_space) {
    check_every_cut(
        ":\n: \n:a\n: b\n:  c\r\n::\n:data: x\r",
        {"comment ", "comment ", "comment a", "comment b", "comment  c", "comment :", "comment data: x"});
}

BOOST_AUTO_TEST_CASE(a_comment_within_an_event_comes_before_it_and_harms_nothing) {
    check_every_cut("event: e\ndata: one\n: here\ndata: two\nid: 7\n: there\n\n",
                    {"comment here", "comment there", "event e|one\ntwo|7", "last 7"});
}

BOOST_AUTO_TEST_CASE(a_comment_that_has_not_ended_is_not_given) {
    check_every_cut(": a\n: b", {"comment a"});
}

BOOST_AUTO_TEST_CASE(comments_that_are_not_asked_for_are_not_given) {
    check_every_cut(": a\ndata: x\n: b\n\n: c\n", {"event message|x|"}, {}, {});
}

BOOST_AUTO_TEST_CASE(a_stream_of_comments_costs_no_allocation_asked_for_or_not) {
    const std::string stream =
        repeat(": a comment that is longer than any small string could be\n", 1u << 16) +
        "data: " + std::string(100, 'x') + "\n: and one within an event\n\n";
    for (const bool wanted : {false, true})
        for (const std::size_t chunk : {std::size_t{1}, std::size_t{50}, stream.size()}) {
            sse::parser parser({}, {.comments = wanted});
            const auto pieces = cut_every(stream, chunk);
            const auto pass = [&] {
                for (std::string_view piece : pieces)
                    while (parser.next(piece))
                        ;
            };
            pass();
            BOOST_TEST(cost_of(pass) == 0u, "chunks of " << chunk << ", wanted " << wanted);
        }
}

// --- what is over a limit

BOOST_AUTO_TEST_CASE(an_oversized_event_is_left_out_and_those_around_it_are_not) {
    check_every_cut("data: a\n\ndata: 12345\n\ndata: b\n\n",
                    {"event message|a|", "skipped event", "event message|b|"},
                    {.line = off, .event = 4, .data_lines = off, .id = off});
}

BOOST_AUTO_TEST_CASE(nothing_of_a_skipped_event_reaches_the_next) {
    check_every_cut("event: big\ndata: 1\ndata: 234\ndata: 5\n\ndata: b\n\n",
                    {"skipped event", "event message|b|"},
                    {.line = off, .event = 4, .data_lines = off, .id = off});
}

BOOST_AUTO_TEST_CASE(the_id_of_a_skipped_event_is_committed_so_that_it_is_not_fetched_again) {
    check_every_cut("id: 1\ndata: 12345\n\n", {"skipped event", "last 1"}, {.event = 4});
    check_every_cut("data: 12345\nid: 1\n\ndata: b\n\n", {"skipped event", "event message|b|1", "last 1"},
                    {.event = 4});
    check_every_cut("id: 1\ndata: 12345\n", {"skipped event"}, {.event = 4});
}

BOOST_AUTO_TEST_CASE(an_id_over_its_limit_is_not_kept_and_costs_no_event) {
    for (const bool skip : {false, true})
        check_every_cut("id: 1\ndata: a\n\nid: 2\nid: 345\ndata: b\n\ndata: c\n\n",
                        {"event message|a|1", "event message|b|1", "event message|c|1", "last 1"}, {.id = 2},
                        {.comments = true, .skip_oversized = skip});
}

BOOST_AUTO_TEST_CASE(an_id_of_8_kib_is_kept_and_one_byte_more_is_not) {
    const std::string most(8192, 'x');
    sse::parser parser;
    for (const std::string& id : {most, most + 'x', std::string(100'000, 'x'), std::string(8193, '\0')}) {
        const std::string stream = "id: " + id + "\ndata: a\n\n";
        for (const auto size : {std::size_t{1000}, stream.size()}) {
            std::size_t events = 0;
            for (const auto piece : cut_every(stream, size))
                for (std::string_view input = piece; parser.next(input);)
                    ++events;
            BOOST_TEST(events == 1u);
            BOOST_TEST(!parser.error());
            BOOST_TEST((parser.event().id == most));
            BOOST_TEST(parser.pending() == 0u);
        }
    }
    BOOST_TEST(parser.long_ids() == 6u);
    parser.reset();
    BOOST_TEST(parser.long_ids() == 6u);
    BOOST_TEST((parser.last_event_id() == most));
}

namespace {

// What is left behind a stream, wherever it is cut, then what finish() makes of it.
lines at_the_end(const std::string& stream, sse::options wanted = all_of_it) {
    std::vector<lines> all;
    for (const std::size_t size : {std::size_t{1}, std::size_t{3}, std::max<std::size_t>(stream.size(), 1)}) {
        sse::parser parser({}, wanted);
        for (const auto piece : cut_every(stream, size)) {
            const std::string buffer(piece);
            for (std::string_view input = buffer; parser.next(input);) {
            }
        }
        lines told{"left " + parser.left()};
        while (parser.finish())
            told.push_back(told_by(parser));
        BOOST_TEST(!parser.finish());
        BOOST_TEST(parser.pending() == 0u);
        all.push_back(told);
    }
    for (const auto& each : all)
        BOOST_TEST(each == all.front(), boost::test_tools::per_element());
    return all.front();
}

} // namespace

BOOST_AUTO_TEST_CASE(what_a_stream_leaves_behind_its_last_event_is_told_or_taken_for_an_event) {
    struct row {
        std::string stream;
        lines told;
    };
    for (const row& each : std::vector<row>{
             {"", {"left "}},
             {"data: x\n\n", {"left "}},
             {"data: x\n\n: bye", {"left ", "comment bye"}},
             {"data: x\n\n\n\r\n", {"left "}},
             {"data: x\n\n\xEF\xBB", {"left \xEF\xBB"}},
             {"data: x\n\ndata: [DONE]", {"left data: [DONE]", "event message|[DONE]|"}},
             {"data: x\n\ndata: [DONE]\n", {"left data: [DONE]", "event message|[DONE]|"}},
             {"data: x\n\ndata: [DONE]\r", {"left data: [DONE]", "event message|[DONE]|"}},
             {"id: 7\nevent: e\ndata: a\ndata: b", {"left data: a", "event e|a\nb|7"}},
             {"data: a\n: bye", {"left data: a", "comment bye", "event message|a|"}},
             {"data", {"left data", "event message||"}},
             {"event: e", {"left event: e"}},
             {"event: e\n", {"left event: e"}},
             {"id: 7\n", {"left id: 7"}},
             {"retry: 5\n", {"left "}},
             {R"({"error":"no"})", {R"(left {"error":"no"})"}},
             {R"({"error":"no"})"
              "\n\n",
              {R"(left {"error":"no"})"}},
             {"{\n  \"error\": {\r\n    \"code\": 400\n", {R"(left { "error": { "code": 400)"}},
             {"data: x\n\n{}\n\n", {"left {}"}},
             {"foo: bar\ndata: x\n\n", {"left "}},
             {std::string(5000, 'x'), {"left " + std::string(200, 'x')}},
             {std::string(5000, 'x') + '\n', {"left " + std::string(200, 'x')}},
         })
        BOOST_TEST(at_the_end(each.stream) == each.told, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_finished_event_commits_its_id_and_a_reset_leaves_nothing) {
    sse::parser parser;
    std::string_view input = "id: 7\ndata: x";
    BOOST_TEST(!parser.next(input));
    BOOST_TEST(parser.finish());
    BOOST_TEST(parser.event().id == "7");
    BOOST_TEST(parser.last_event_id() == "7");
    input = "{\ndata: y";
    BOOST_TEST(!parser.next(input));
    parser.reset();
    BOOST_TEST(parser.left() == "");
    BOOST_TEST(!parser.finish());
}

BOOST_AUTO_TEST_CASE(of_a_skipped_event_nothing_is_finished) {
    sse::parser parser({.event = 4}, {.skip_oversized = true});
    std::string_view input = "data: 12345\ndata: 1";
    BOOST_TEST(parser.next(input));
    while (parser.next(input)) {
    }
    BOOST_TEST(!parser.finish());
}

BOOST_AUTO_TEST_CASE(too_many_data_lines_skip_the_event) {
    check_every_cut("data: 1\ndata: 2\ndata: 3\ndata: 4\n\ndata: 5\n\n",
                    {"skipped lines", "event message|5|"}, {.data_lines = 2});
}

BOOST_AUTO_TEST_CASE(a_long_line_that_is_no_field_is_skipped_alone) {
    check_every_cut("data: a\n:23456789\ndata: b\n\n", {"skipped line", "event message|a\nb|"}, {.line = 8});
    check_every_cut("data: a\nfoo: 6789\r\ndata: b\r\n\r\n", {"skipped line", "event message|a\nb|"},
                    {.line = 8});
    check_every_cut("data: a\ndatax6789\ndata: b\n\n", {"skipped line", "event message|a\nb|"}, {.line = 8});
}

BOOST_AUTO_TEST_CASE(a_long_line_that_is_a_field_or_may_be_one_skips_the_event) {
    check_every_cut("data: a\ndata: 789\n\ndata: b\n\n", {"skipped line", "event message|b|"}, {.line = 8});
    check_every_cut("data: a\nevent: 89\n\ndata: b\n\n", {"skipped line", "event message|b|"}, {.line = 8});
    check_every_cut("da\ndata\ndata\n\n\n", {"skipped line"}, {.line = 3});
}

BOOST_AUTO_TEST_CASE(each_event_is_told_of_once_however_many_limits_it_passes) {
    check_every_cut("data: 12345\ndata: 12345\nid: 123\ndata: 1\ndata: 1\ndata: 1\nevent: 45678901\n\n",
                    {"skipped event"}, {.line = 12, .event = 4, .data_lines = 2, .id = 2});
}

BOOST_AUTO_TEST_CASE(a_skip_is_told_as_soon_as_it_is_known) {
    sse::parser parser({.event = 4}, {.skip_oversized = true});
    std::string_view input = "data: a\n\ndata: 1234";
    BOOST_TEST(parser.next(input));
    BOOST_TEST(!parser.next(input));
    input = "5";
    BOOST_TEST(parser.next(input));
    BOOST_TEST((parser.what() == sse::found::skipped));
    BOOST_TEST(parser.event().data.empty());
    BOOST_TEST(parser.pending() == 0u);
    BOOST_TEST(!parser.error());
}

BOOST_AUTO_TEST_CASE(without_skipping_a_limit_is_an_error_as_ever) {
    check_every_cut("data: 1\n\n", {"event message|1|"}, {.event = 4}, {.comments = true});
    sse::parser parser({.event = 4}, {.comments = true});
    std::string_view input = ": a\ndata: 12345\n\ndata: 1\n\n";
    BOOST_TEST(parser.next(input));
    BOOST_TEST(!parser.next(input));
    BOOST_TEST(parser.error() == error_code(errc::event_too_large));
}

BOOST_AUTO_TEST_CASE(a_reset_ends_a_skip_in_a_line_and_in_an_event) {
    for (const std::string_view cut_off : {"data: 12345", "data: 12345\n", ":234567890", ":234567890\n"}) {
        sse::parser parser({.line = 9, .event = 4}, all_of_it);
        std::string_view input = cut_off;
        BOOST_TEST(parser.next(input));
        std::ignore = parser.next(input);
        parser.reset();
        input = "data: a\n\n";
        BOOST_TEST_REQUIRE(parser.next(input), cut_off);
        BOOST_TEST(told_by(parser) == "event message|a|");
    }
}

BOOST_AUTO_TEST_CASE(what_is_told_of_a_random_stream_is_as_the_rules_word_it_wherever_it_is_cut) {
    std::mt19937 random(11);
    std::size_t skips = 0, events = 0, comments = 0;
    for (int round = 0; round < 8000; ++round) {
        const std::string stream = random_stream(random);
        const sse::limits bounds = tiny(random);
        const lines expected = slow_parser(bounds).parse(stream);
        const bool same = parse({stream}, bounds) == expected &&
                          parse(cut_every(stream, 1), bounds) == expected &&
                          parse(cut_at_random(stream, random), bounds) == expected;
        if (!same) {
            BOOST_TEST(parse({stream}, bounds) == expected, boost::test_tools::per_element());
            BOOST_TEST(parse(cut_every(stream, 1), bounds) == expected, boost::test_tools::per_element());
        }
        BOOST_TEST_REQUIRE(same, "round " << round << " line " << bounds.line << " event " << bounds.event
                                          << " lines " << bounds.data_lines << " id " << bounds.id << ": "
                                          << stream);
        for (const auto& each : expected) {
            skips += each.starts_with("skipped ");
            comments += each.starts_with("comment ");
            events += is_event(each);
        }
    }
    BOOST_TEST(skips > 4000u);
    BOOST_TEST(events > 1000u);
    BOOST_TEST(comments > 500u);
}

BOOST_AUTO_TEST_CASE(with_limits_that_are_not_passed_nothing_is_skipped) {
    std::mt19937 random(12);
    for (int round = 0; round < 2000; ++round) {
        const std::string stream = random_stream(random);
        BOOST_TEST_REQUIRE((parse({stream}) == slow_parser({}).parse(stream)));
        lines events_only = parse({stream});
        std::erase_if(events_only, [](const std::string& each) { return each.starts_with("comment "); });
        BOOST_TEST_REQUIRE((parse({stream}, {}, {}) == events_only));
    }
}

// --- streams that mean no good

BOOST_AUTO_TEST_CASE(an_oversized_event_of_any_size_is_skipped_in_the_same_memory) {
    const sse::limits bounds{.line = 1u << 12, .event = 1u << 12, .data_lines = 100, .id = 10};
    const std::string piece(16u << 10, 'x');
    for (const std::string_view beginning : {"data: ", ":", "junk", "data: x\ndata: y\nid: "}) {
        sse::parser parser(bounds, all_of_it);
        std::size_t found = 0;
        const auto spent = cost_of([&] {
            found += pour(parser, std::string(beginning) + piece, 1);
            found += pour(parser, piece, 4096); // 64 MiB
        });
        BOOST_TEST(found == (beginning.ends_with("id: ") ? 0u : 1u)); // such an id costs no event
        BOOST_TEST(spent < 200000u, beginning);                       // the pieces themselves, and one line
        std::string_view rest = "\n\ndata: on\n\n";
        lines told;
        while (parser.next(rest))
            told.push_back(told_by(parser));
        BOOST_TEST(told.back() == "event message|on|");
    }
}

BOOST_AUTO_TEST_CASE(an_endless_line_in_one_read_costs_no_more_than_its_limit) {
    const std::string flood(1u << 20, 'x');
    for (const sse::options wanted : {sse::options{}, all_of_it})
        for (const std::string_view first : {"", "data: x", ":"}) {
            sse::parser parser({.line = 1000}, wanted);
            std::string_view input = first;
            BOOST_TEST(!parser.next(input));
            input = flood;
            BOOST_TEST(cost_of([&] { std::ignore = parser.next(input); }) < 4000u, first);
        }
}

BOOST_AUTO_TEST_CASE(junk_lines_and_comments_without_end_cost_no_memory) {
    for (const std::string junk : {"x\n", "\r", ":\n", "junk: of some length\r\n", "event\n",
                                   "retry: 99999999999999\n", "id: abc\n", "event: once more\n"}) {
        const std::string stream = repeat(junk, 1u << 17);
        sse::parser parser;
        pour(parser, stream, 1);
        const auto spent = cost_of([&] { BOOST_TEST(pour(parser, stream, 8) == 0u); });
        BOOST_TEST(spent < 1000u, junk << " cost " << spent);
        BOOST_TEST(parser.pending() < 100u);
    }
}

BOOST_AUTO_TEST_CASE(a_million_tiny_data_lines_pass_and_one_more_than_the_limit_does_not) {
    const std::size_t most = sse::limits().data_lines;
    sse::parser parser;
    const std::string block = repeat("data\n", 5 * 4096);
    const auto spent = cost_of([&] { pour(parser, block, most / 4096); });
    BOOST_TEST(!parser.error());
    BOOST_TEST(parser.pending() == most - 1); // LFs that join nothing
    BOOST_TEST(spent < 8 * most);
    std::string_view one_more = "data\n";
    BOOST_TEST(!parser.next(one_more));
    BOOST_TEST(parser.error() == error_code(errc::too_many_lines));

    sse::parser skipping({}, all_of_it);
    BOOST_TEST(pour(skipping, block, 3 * most / 4096) == 1u);
    BOOST_TEST(skipping.pending() == 0u);
}

BOOST_AUTO_TEST_CASE(streams_that_mean_no_good_take_linear_time) {
    const std::vector<std::pair<std::string, sse::limits>> table{
        {"x\n", {}},
        {"\r", {}},
        {":\n", {}},
        {"data\n", {.data_lines = off}},
        {"data\n", {.data_lines = 10}},
        {"data: 12345\n", {.event = 4}},
        {"data: 12345\n\n", {.event = 4}},
        {":23456789\n", {.line = 8}},
        {"x", {.line = 1000}},
        {"data: 1\n:\n", {.data_lines = off}},
    };
    for (const auto& [unit, bounds] : table) {
        const auto time_of = [&, bounds = bounds, unit = unit](std::size_t bytes) {
            const std::string stream = repeat(unit, bytes);
            return fastest_of_three([&] {
                sse::parser parser(bounds, all_of_it);
                pour(parser, stream, 1);
            });
        };
        // Eight times the bytes: linear takes about 8 times as long, quadratic 64.
        BOOST_TEST(time_of(1u << 19) < 28 * time_of(1u << 16), unit);
    }
}

BOOST_AUTO_TEST_CASE(nothing_is_finished_behind_a_limit) {
    sse::limits small;
    small.line = 8;
    sse::parser parser(small);
    std::string_view input = "data: x\ndata: far too long";
    BOOST_TEST(!parser.next(input));
    BOOST_TEST_REQUIRE(parser.error().failed());
    BOOST_TEST(!parser.finish());
}
