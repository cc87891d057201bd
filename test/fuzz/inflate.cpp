// Compressed bodies: the same at every cut, within their limits, and what was compressed comes out as it went
// in. Input: a byte that says which coding, then a body of it.
#include "fuzz.hpp"

#include "support/deflate.hpp"

#include <holdfast/stream/inflate.hpp>

#include <string>
#include <string_view>

namespace {

using namespace holdfast;
using namespace holdfast::fuzz;

struct outcome {
    std::string text;
    std::string end;
};

outcome inflate(std::string_view coding, const pieces& body, const stream::inflate_limits& limits) {
    const auto decoder = stream::make_inflater(coding, limits);
    outcome all;
    const auto add = [&](std::string_view out) {
        hold(out.size() <= limits.at_once, "no more is inflated at once than the limit says");
        all.text += out;
        return !out.empty();
    };
    for (const auto piece : body) {
        const own_buffer buffer(piece);
        auto input = buffer.view();
        while (add(decoder->decode(input))) {
        }
        hold(input.empty() || decoder->error(), "decode() consumes all, unless something is wrong", input);
    }
    while (add(decoder->finish())) {
    }
    all.end = decoder->error() ? decoder->error()->message : decoder->complete() ? "whole" : "cut";
    return all;
}

// Where data is broken, what was inflated beside it may be lost: so much is the same at every cut.
void check_same(const outcome& found, const outcome& expected) {
    const bool is_broken = expected.end.find("its data is broken") != std::string::npos;
    const auto most = is_broken ? std::min(found.text.size(), expected.text.size()) : std::string::npos;
    same(found.end, expected.end, "a body ends the same wherever it is cut");
    same(std::string_view(found.text).substr(0, most), std::string_view(expected.text).substr(0, most),
         "a body is read the same wherever it is cut");
}

void check(std::string_view coding, std::string_view body, const stream::inflate_limits& limits) {
    const auto found = inflate(coding, whole(body), limits);
    const auto windows = body.size() / limits.window + 1;
    hold(limits.ratio == 0 || found.text.size() <= windows * limits.window * limits.ratio,
         "no more is inflated than the limit says", body);
    for (const auto& cut : cuts_of(body))
        check_same(inflate(coding, cut, limits), found);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    auto text = as_text(data, size);
    if (text.empty())
        return 0;
    const bool gzip = text.front() % 2 == 0;
    const bool raw = text.front() % 4 == 1;
    text.remove_prefix(1);
    stream::inflate_limits usual, tight;
    usual.at_once = 16u << 10; // a sanitizer's allocations cost by their size
    tight.at_once = 1024;
    tight.window = 64;
    tight.ratio = 20;
    tight.header = 40;
    for (const auto& limits : {usual, tight})
        check(gzip ? "gzip" : "deflate", text, limits);
    const auto by = gzip ? test::coding::gzip : raw ? test::coding::raw : test::coding::zlib;
    const auto round = inflate(gzip ? "gzip" : "deflate", whole(test::compressed(by, text)), usual);
    same(round.text, text, "what was compressed comes out as it went in");
    same(round.end, "whole", "what was compressed is whole");
    return 0;
}
