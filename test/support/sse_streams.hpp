// What tests of the event stream parser share: streams, and ways to cut them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <ctime>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::test {

using chunks = std::vector<std::string_view>;

inline chunks cut_every(std::string_view stream, std::size_t size) {
    chunks pieces;
    for (; stream.size() > size; stream.remove_prefix(size))
        pieces.push_back(stream.substr(0, size));
    pieces.push_back(stream);
    return pieces;
}

inline chunks cut_at_random(std::string_view stream, std::mt19937& random) {
    std::uniform_int_distribution<std::size_t> size(1, 1 + random() % 12);
    chunks pieces;
    while (!stream.empty()) {
        pieces.push_back(stream.substr(0, size(random)));
        stream.remove_prefix(pieces.back().size());
    }
    return pieces;
}

inline std::string repeat(std::string_view text, std::size_t bytes) {
    std::string out;
    while (out.size() < bytes)
        out += text;
    return out;
}

inline std::string random_stream(std::mt19937& random) {
    using namespace std::string_literals;
    static const std::vector<std::string> pieces = {"\n",
                                                    "\n",
                                                    "\r",
                                                    "\r",
                                                    "\r\n",
                                                    "\r\n",
                                                    "\n\n",
                                                    "\r\r",
                                                    ":",
                                                    " ",
                                                    "\0"s,
                                                    "data",
                                                    "data:",
                                                    "data: x",
                                                    "data:y\n",
                                                    "event:",
                                                    "event",
                                                    "event: e",
                                                    "id",
                                                    "id:",
                                                    "id: 7",
                                                    "id:\0"s,
                                                    "retry:",
                                                    "retry: 12",
                                                    "retry",
                                                    "x",
                                                    "datax:",
                                                    "\xEF\xBB\xBF",
                                                    "\xEF",
                                                    "\xBB",
                                                    ":comment",
                                                    " data: z",
                                                    "data: a\ndata: b\n\n",
                                                    "5",
                                                    "Data:q",
                                                    "\xFF"};
    std::uniform_int_distribution<std::size_t> piece(0, pieces.size() - 1);
    std::string stream = random() % 4 == 0 ? "\xEF\xBB\xBF" : "";
    for (auto n = random() % 40; n > 0; --n)
        stream += pieces[piece(random)];
    return stream;
}

// The time of this process alone: others may keep the machine busy.
inline double fastest_of_three(const std::function<void()>& work) {
    double best = std::numeric_limits<double>::max();
    for (int i = 0; i < 3; ++i) {
        const std::clock_t start = std::clock();
        work();
        best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    }
    return best;
}

} // namespace holdfast::test
