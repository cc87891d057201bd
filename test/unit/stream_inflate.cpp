// Compressed bodies: gzip, zlib and raw deflate, at every cut, within limits, and what is none of them.
#include <boost/test/unit_test.hpp>

#include "support/deflate.hpp"

#include <holdfast/stream/inflate.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;
using stream::inflate_limits;
using test::coding;
using test::compressed;
using test::compressor;

namespace {

struct outcome {
    std::string text;
    std::string end; ///< "whole", "cut", or why it failed
    friend bool operator==(const outcome&, const outcome&) = default;
    friend std::ostream& operator<<(std::ostream& to, const outcome& what) {
        return to << what.text.size() << " bytes \"" << what.text.substr(0, 80) << "\", " << what.end;
    }
};

outcome inflate(std::string_view coding, const std::vector<std::string_view>& pieces,
                const inflate_limits& limits = {}) {
    const auto decoder = stream::make_inflater(coding, limits);
    outcome found;
    for (auto piece : pieces) {
        // Of its own size, so that a look past its end is found.
        const auto own = std::make_unique<char[]>(piece.size());
        std::copy(piece.begin(), piece.end(), own.get());
        std::string_view input(own.get(), piece.size());
        for (auto out = decoder->decode(input); !out.empty(); out = decoder->decode(input))
            found.text += out;
    }
    for (auto out = decoder->finish(); !out.empty(); out = decoder->finish())
        found.text += out;
    found.end = decoder->error() ? decoder->error()->message : decoder->complete() ? "whole" : "cut";
    return found;
}

outcome inflate(std::string_view coding, std::string_view all, const inflate_limits& limits = {}) {
    return inflate(coding, std::vector<std::string_view>{all}, limits);
}

// The same at every cut, and a byte at a time; returns what that is.
outcome at_every_cut(std::string_view coding, std::string_view all, const inflate_limits& limits = {}) {
    const auto found = inflate(coding, all, limits);
    std::vector<std::string_view> bytes;
    for (std::size_t at = 0; at < all.size(); ++at)
        bytes.push_back(all.substr(at, 1));
    BOOST_TEST(inflate(coding, bytes, limits) == found, "a byte at a time");
    for (std::size_t at = 0; at <= all.size(); ++at) {
        const auto cut = inflate(coding, {all.substr(0, at), all.substr(at)}, limits);
        if (!(cut == found))
            BOOST_TEST(cut == found, "cut at " << at);
    }
    return found;
}

outcome whole(std::string text) {
    return {std::move(text), "whole"};
}

// Text in which codes of many lengths and distances come.
std::string some_text(std::size_t size, std::uint32_t state = 7) {
    std::string text;
    while (text.size() < size) {
        state = state * 1664525u + 1013904223u;
        const auto roll = state >> 24;
        if (roll < 40 && text.size() > 300)
            text += text.substr(text.size() - 1 - roll * 7, 3 + roll * 2);
        else
            text += static_cast<char>(roll < 200 ? 'a' + roll % 8 : roll);
    }
    text.resize(size);
    return text;
}

const std::vector<std::pair<coding, std::string>> codings{
    {coding::gzip, "gzip"}, {coding::zlib, "deflate"}, {coding::raw, "deflate"}};

// By other hands than Beast's: Python's, by zlib.
const auto hello = "data: hello\n\n"s;
const std::string raw_hello("\x4b\x49\x2c\x49\xb4\x52\xc8\x48\xcd\xc9\xc9\xe7\xe2\x02\x00", 15);
const std::string
    flushed_hello("\x4a\x49\x2c\x49\xb4\x52\xc8\x48\xcd\xc9\xc9\xe7\xe2\x02\x00\x00\x00\xff\xff", 19);
const std::string zlib_hello = "\x78\xda" + raw_hello + "\x1f\xea\x04\x1d";
const std::string plain_head("\x1f\x8b\x08\0\0\0\0\0\x02\xff", 10);
const std::string gzip_trailer("\x1d\x73\x9d\xd4\x0d\0\0\0", 8);
const std::string gzip_hello = plain_head + raw_hello + gzip_trailer;

std::string head_with(unsigned char flags, const std::string& more) {
    auto head = plain_head;
    head[3] = static_cast<char>(flags);
    return head + more;
}

} // namespace

// --- what is inflated

BOOST_AUTO_TEST_CASE(what_others_compressed_is_inflated_at_every_cut) {
    BOOST_TEST(at_every_cut("gzip", gzip_hello) == whole(hello));
    BOOST_TEST(at_every_cut("x-gzip", gzip_hello) == whole(hello));
    BOOST_TEST(at_every_cut("deflate", zlib_hello) == whole(hello));
    BOOST_TEST(at_every_cut("deflate", raw_hello) == whole(hello));
}

BOOST_AUTO_TEST_CASE(text_of_any_length_is_inflated_at_every_cut) {
    for (const std::size_t size : {0u, 1u, 2u, 3u, 200u, 3000u}) {
        const auto text = some_text(size);
        for (const auto& [by, name] : codings)
            BOOST_TEST(at_every_cut(name, compressed(by, text)) == whole(text));
    }
}

// What is looked at beyond the last code is given back: it belongs to the trailer, or to what comes behind.
BOOST_AUTO_TEST_CASE(the_last_code_may_end_at_any_bit_of_a_byte) {
    std::string text;
    for (int n = 0; n < 10; ++n, text += static_cast<char>(0x90 + n)) // each a code of nine bits
        for (const auto& [by, name] : codings)
            BOOST_TEST(at_every_cut(name, compressed(by, text)) == whole(text));
}

BOOST_AUTO_TEST_CASE(text_of_many_windows_is_inflated_however_it_is_cut) {
    const auto text = some_text(200u << 10);
    inflate_limits small;
    small.at_once = 1024;
    for (const auto& [by, name] : codings) {
        const auto bytes = compressed(by, text);
        for (const std::size_t size : {1u, 2u, 5u, 7u, 300u, 16384u, 1u << 20}) {
            std::vector<std::string_view> pieces;
            for (std::size_t at = 0; at < bytes.size(); at += size)
                pieces.push_back(std::string_view(bytes).substr(at, size));
            for (const auto& limits : {inflate_limits(), small})
                BOOST_TEST((inflate(name, pieces, limits) == whole(text)), name << " by " << size);
        }
    }
}

BOOST_AUTO_TEST_CASE(each_flush_gives_all_that_was_put_before_it) {
    for (const auto& [by, name] : codings) {
        const auto decoder = stream::make_inflater(name);
        compressor server(by);
        for (const std::size_t size : {1u, 7u, 20u, 3u, 1u, 5000u, 1u}) {
            const auto text = some_text(size);
            const auto bytes = server.put(text);
            std::string_view input = bytes;
            std::string got;
            for (auto out = decoder->decode(input); !out.empty(); out = decoder->decode(input))
                got += out;
            BOOST_TEST(got == text, name << ' ' << size);
            BOOST_TEST(!decoder->complete());
        }
    }
    const auto decoder = stream::make_inflater("gzip");
    std::string bytes = plain_head + flushed_hello;
    std::string_view input = bytes;
    BOOST_TEST(decoder->decode(input) == hello);
}

BOOST_AUTO_TEST_CASE(a_gzip_header_may_hold_more) {
    const auto check = "\x12\x34"s;
    const std::string extra("\x03\0abc", 5);
    const std::string none("\0\0", 2);
    const std::string name("n\0", 2);
    for (const auto& head : {head_with(1, ""), head_with(2, check), head_with(4, extra), head_with(4, none),
                             head_with(8, name), head_with(8, name.substr(1)), head_with(16, name),
                             head_with(1 + 2 + 4 + 8 + 16, extra + name + name + check)})
        BOOST_TEST(at_every_cut("gzip", head + raw_hello + gzip_trailer) == whole(hello));
}

BOOST_AUTO_TEST_CASE(several_gzip_members_are_read_one_after_the_other) {
    BOOST_TEST(at_every_cut("gzip", gzip_hello + compressed(coding::gzip, "") + gzip_hello) ==
               whole(hello + hello));
}

BOOST_AUTO_TEST_CASE(nothing_at_all_is_whole) {
    for (const std::string name : {"gzip", "deflate"})
        BOOST_TEST(inflate(name, "") == whole(""));
}

// --- what is none

BOOST_AUTO_TEST_CASE(a_body_that_ends_too_soon_is_cut) {
    for (const auto& [name, bytes] : std::vector<std::pair<std::string, std::string>>{
             {"gzip", gzip_hello}, {"deflate", zlib_hello}, {"deflate", raw_hello}}) {
        for (std::size_t size = 1; size < bytes.size(); ++size) {
            const auto found = inflate(name, bytes.substr(0, size));
            BOOST_TEST(hello.starts_with(found.text), found);
            BOOST_TEST(found.end == "cut", name << ' ' << size << ": " << found);
        }
        BOOST_TEST(inflate(name, bytes).end == "whole");
    }
    const auto text = some_text(2000);
    for (const auto& [by, name] : codings) {
        const auto bytes = compressed(by, text);
        for (std::size_t size = 1; size < bytes.size(); ++size) {
            const auto found = inflate(name, bytes.substr(0, size));
            BOOST_TEST((text.starts_with(found.text) && found.end == "cut"), name << ' ' << size << found);
        }
    }
    const auto flushed = inflate("gzip", plain_head + flushed_hello);
    BOOST_TEST(flushed == (outcome{hello, "cut"}));
}

BOOST_AUTO_TEST_CASE(bytes_behind_the_end_are_refused_after_what_was_whole) {
    const auto behind = "the answer is not valid HTTP: the compressed body: there are bytes behind its end"s;
    for (const std::string& garbage : {"x"s, "\0"s, "\x1fx"s, std::string(5000, 'x')})
        for (const auto& [by, name] : codings) {
            if (garbage.size() < 100)
                BOOST_TEST(at_every_cut(name, compressed(by, hello) + garbage) == (outcome{hello, behind}));
            else
                BOOST_TEST(inflate(name, compressed(by, hello) + garbage) == (outcome{hello, behind}));
        }
}

BOOST_AUTO_TEST_CASE(a_sum_or_size_that_is_another_is_refused) {
    const auto why = "the answer is not valid HTTP: the compressed body: its checksum is another"s;
    for (const auto& [name, bytes, trailer] : std::vector<std::tuple<std::string, std::string, std::size_t>>{
             {"gzip", gzip_hello, 8}, {"deflate", zlib_hello, 4}})
        for (std::size_t at = bytes.size() - trailer; at < bytes.size(); ++at) {
            auto wrong = bytes;
            wrong[at] = static_cast<char>(wrong[at] ^ 1);
            BOOST_TEST(inflate(name, wrong) == (outcome{hello, why}));
        }
}

BOOST_AUTO_TEST_CASE(what_is_no_gzip_data_is_refused) {
    auto zipped = gzip_hello;
    zipped[2] = 7;
    for (const auto& bytes : {hello, "\x1f\x8c"s, zipped, head_with(0x20, ""), zlib_hello}) {
        const auto found = at_every_cut("gzip", bytes);
        BOOST_TEST(found ==
                   (outcome{"", "the answer is not valid HTTP: the compressed body: it is no gzip data"}));
    }
}

BOOST_AUTO_TEST_CASE(broken_data_is_refused_and_nothing_comes_behind_it) {
    // A block of the reserved type, a stored one whose length is another, a distance too far back.
    for (const std::string& bytes : {"\x07"s, "\x01\x05\x01\xfa\xff"s, "\x63\x00\x12\x00\x00\x00\x00"s}) {
        const auto decoder = stream::make_inflater("gzip");
        const auto all = plain_head + bytes + gzip_hello;
        std::string_view input = all;
        std::string text;
        for (auto out = decoder->decode(input); !out.empty(); out = decoder->decode(input))
            text += out;
        BOOST_TEST_REQUIRE(decoder->error().has_value());
        BOOST_TEST(decoder->error()->code == error_code(errc::malformed));
        BOOST_TEST(decoder->error()->message.starts_with(
            "the answer is not valid HTTP: the compressed body: its data is broken: "));
        BOOST_TEST(decoder->decode(input).empty());
        BOOST_TEST(!decoder->complete());
    }
}

BOOST_AUTO_TEST_CASE(no_other_coding_is_undone) {
    for (const std::string name : {"br", "zstd", "compress", "gzip, gzip", "", "GZIP"})
        BOOST_TEST(stream::make_inflater(name) == nullptr, name);
}

// --- limits

BOOST_AUTO_TEST_CASE(a_bomb_is_refused_at_its_limit_wherever_it_is_cut) {
    inflate_limits limits;
    limits.at_once = 1024;
    limits.ratio = 3;
    limits.window = 1000;
    const std::string zeros(20000, '0');
    for (const auto& [by, name] : codings) {
        const auto found = at_every_cut(name, compressed(by, zeros), limits);
        BOOST_TEST(found.text.size() == 3000u);
        BOOST_TEST(found.end.ends_with("it inflates to more than 3 times its size"), found.end);
    }
    BOOST_TEST((inflate("gzip", compressed(coding::gzip, zeros)) == whole(zeros)));
    limits.ratio = 0;
    BOOST_TEST((inflate("gzip", compressed(coding::gzip, zeros), limits) == whole(zeros)));
}

BOOST_AUTO_TEST_CASE(a_real_bomb_is_refused_after_a_hundred_windows_worth) {
    const std::string zeros(64u << 20, '\0');
    const auto found = inflate("gzip", compressed(coding::gzip, zeros));
    BOOST_TEST(found.text.size() == 100u * (64u << 10));
    BOOST_TEST(found.end.ends_with("it inflates to more than 100 times its size"), found.end);
}

BOOST_AUTO_TEST_CASE(each_window_has_a_limit_of_its_own) {
    inflate_limits limits;
    limits.at_once = 1024;
    limits.window = 100;
    limits.ratio = 40;
    // What little a window of dense text leaves is not for a later one, and a burst is over with its window.
    std::string text;
    for (std::uint32_t n = 0; n < 10; ++n)
        text += some_text(4000, n) + std::string(3000, 'x');
    for (const auto& [by, name] : codings)
        BOOST_TEST((inflate(name, compressed(by, text), limits) == whole(text)));
    const auto too_much = inflate("gzip", compressed(coding::gzip, text + std::string(9000, 'x')), limits);
    BOOST_TEST(too_much.end.ends_with("it inflates to more than 40 times its size"), too_much.end);
}

BOOST_AUTO_TEST_CASE(no_more_is_inflated_at_once_than_the_limit_says) {
    inflate_limits limits;
    limits.at_once = 2000;
    const auto bytes = compressed(coding::gzip, std::string(50000, 'x'));
    const auto decoder = stream::make_inflater("gzip", limits);
    std::string_view input = bytes;
    std::size_t times = 0;
    for (auto out = decoder->decode(input); !out.empty(); out = decoder->decode(input), ++times)
        BOOST_TEST(out.size() == 2000u);
    BOOST_TEST(times == 25u);
    BOOST_TEST(decoder->complete());
}

BOOST_AUTO_TEST_CASE(a_gzip_header_has_a_limit) {
    const auto all = head_with(8, std::string(90, 'n') + '\0') + raw_hello + gzip_trailer;
    inflate_limits limits;
    limits.header = 101;
    BOOST_TEST(at_every_cut("gzip", all, limits) == whole(hello));
    limits.header = 100;
    const auto found = at_every_cut("gzip", all, limits);
    BOOST_TEST(found.end ==
               "the response body is over its limit: the compressed body: a gzip header is too long");
}
