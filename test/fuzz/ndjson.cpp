// JSON lines: the same at every cut, as a plain split says, and within their limits. Input: a stream.
#include "fuzz.hpp"

#include <holdfast/stream/ndjson.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace holdfast;
using namespace holdfast::fuzz;

/// All that is told of a stream, the last of it how it ends.
using outcome = std::vector<std::string>;

std::string told(const outcome& all) {
    std::string text;
    for (const auto& each : all)
        text += shown(each) + ' ';
    return text;
}

outcome parse(const pieces& stream, const sse::limits& bounds, bool skips) {
    sse::options wanted;
    wanted.skip_oversized = skips;
    const auto parser = stream::ndjson(bounds, wanted);
    outcome all;
    const auto note = [&] {
        all.push_back(parser->what() == sse::found::skipped ? "skipped"
                                                            : "event " + std::string(parser->event().data));
    };
    for (const auto piece : stream) {
        const own_buffer buffer(piece);
        auto input = buffer.view();
        while (parser->next(input))
            note();
        hold(input.empty() || parser->error(), "next() consumes all, unless a limit was passed", input);
    }
    if (parser->error()) {
        all.push_back("error");
        return all;
    }
    if (parser->finish())
        note();
    return all;
}

// The whole of it, line by line.
outcome split(std::string_view text, std::size_t most, bool skips) {
    outcome all;
    constexpr std::string_view bom = "\xEF\xBB\xBF";
    if (bom.starts_with(text))
        return all;
    if (text.starts_with(bom))
        text.remove_prefix(bom.size());
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        auto line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.ends_with('\r'))
            line.remove_suffix(1);
        if (line.size() > most) {
            all.push_back(skips ? "skipped" : "error");
            if (!skips)
                return all;
        } else if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
            all.push_back("event " + std::string(line));
        }
    }
    return all;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto text = as_text(data, size);
    for (const std::size_t most : {std::size_t{1}, std::size_t{7}, std::size_t{64u << 20}})
        for (const bool skips : {false, true}) {
            sse::limits bounds;
            bounds.line = most;
            const auto found = parse(whole(text), bounds, skips);
            for (const auto& cut : cuts_of(text))
                same(parse(cut, bounds, skips), found, "a stream is read the same wherever it is cut", told);
            same(found, split(text, most, skips), "each line is an event", told);
        }
    return 0;
}
