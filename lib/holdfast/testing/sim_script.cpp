#include <holdfast/testing/opencode_sim.hpp>
#include <holdfast/testing/sim_script.hpp>

#include <algorithm>
#include <charconv>

namespace holdfast::testing {

namespace detail {

namespace {

using kind = script::kind;

struct tag {
    std::string_view name;
    kind what;
    std::uint64_t number; // when no argument is given
};

constexpr tag tags[] = {
    {"plain", kind::plain, 0},
    {"slow", kind::slow, 20},
    {"reason", kind::reason, 0},
    {"tool", kind::read, 0},
    {"ask", kind::ask, 0},
    {"sleep", kind::sleep, 0},
    {"question", kind::question, 0},
    {"write", kind::write, 0},
    {"todo", kind::todo, 0},
    {"task", kind::task, 0},
    {"big", kind::big, 1'000'000},
    {"silent", kind::silent, 60'000},
    {"early", kind::early, 0},
    {"length", kind::length, 0},
    {"nofinish", kind::no_finish, 0},
    {"error", kind::error, 400},
    {"e500", kind::e500, 0},
    {"e500once", kind::e500once, 0},
    {"retry", kind::e500once, 0},
    {"throttle", kind::throttle, 2},
    {"cutonce", kind::cutonce, 0},
    {"errchunk", kind::errchunk, 0},
    {"garbage", kind::garbage, 0},
    {"overflow", kind::overflow, 0},
    {"overflow-ok", kind::overflow_ok, 0},
    {"two-asks", kind::two_asks, 0},
    {"background", kind::background, 0},
    {"empty", kind::empty, 0},
    {"filter", kind::filter, 0},
    {"unknown-tool", kind::unknown_tool, 0},
};

std::string_view take_while(std::string_view& text, std::string_view allowed) {
    const auto end = text.find_first_not_of(allowed);
    const auto taken = text.substr(0, end);
    text.remove_prefix(taken.size());
    return taken;
}

} // namespace

script choose_script(std::string_view prompt) {
    for (auto at = prompt.find('#'); at != std::string_view::npos; at = prompt.find('#', at + 1)) {
        auto rest = prompt.substr(at + 1);
        const auto name = take_while(rest, "abcdefghijklmnopqrstuvwxyz0123456789-");
        const auto found = std::find_if(std::begin(tags), std::end(tags),
                                        [&](const tag& candidate) { return candidate.name == name; });
        if (found == std::end(tags))
            continue;
        script out{found->what, found->number, {}};
        if (!rest.empty() && rest.front() == ':') {
            rest.remove_prefix(1);
            out.argument = take_while(rest, "abcdefghijklmnopqrstuvwxyz0123456789-:");
            std::from_chars(out.argument.data(), out.argument.data() + out.argument.size(), out.number);
        }
        return out;
    }
    return {};
}

std::vector<std::string> words(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const auto end = text.find(' ');
        const auto size = end == std::string_view::npos ? text.size() : end + 1;
        out.emplace_back(text.substr(0, size));
        text.remove_prefix(size);
    }
    return out;
}

std::string numbered_words(std::uint64_t count) {
    std::string out;
    for (std::uint64_t i = 0; i < count; ++i)
        out += "w" + std::to_string(i) + " ";
    return out;
}

} // namespace detail

std::string_view script_help() {
    return "  #plain        five words (also played when the prompt has no tag)\n"
           "  #slow[:N]     N words (20), one every --pace\n"
           "  #reason       a reasoning part, then the answer\n"
           "  #tool         a read tool, then the answer in a second message\n"
           "  #ask[:MS]     bash, which needs a permission; once granted it runs for MS ms (0)\n"
           "  #sleep[:MS]   the same, and the command prints nothing\n"
           "  #question     a question with two options\n"
           "  #write  #todo a write or todowrite tool; after #todo the message says finished before its "
           "first part\n"
           "  #task[:TAG]   a subagent in a child session, which plays #TAG (#plain); #task:ask asks in the "
           "child\n"
           "  #big[:N]      one delta of N bytes (1000000)\n"
           "  #silent[:MS]  no byte from the model for MS ms (60000), then #plain\n"
           "  #early        the message says finished before its first part\n"
           "  #length       stopped by the output limit\n"
           "  #nofinish[:N] N steps for whose end the model gives no reason (without N: for ever), then an "
           "end\n"
           "  #error[:CODE] the model answers CODE (400), which ends the turn\n"
           "  #e500         the model answers 500 until the five retries are used up (about 68 s)\n"
           "  #e500once  #retry  500 once, then an answer\n"
           "  #throttle[:S] 429 with Retry-After S (2) once, then an answer\n"
           "  #cutonce      the model's connection breaks once in the middle of the text\n"
           "  #errchunk     an error inside the model's stream, at every try\n"
           "  #garbage      bytes that are no JSON inside the model's stream, which ends the turn\n"
           "  #overflow     the context is full and the compaction fails (after a first turn: the second "
           "one)\n"
           "  #overflow-ok  the context is full, the compaction works, the turn goes on\n"
           "  Of 2.x only, and #plain on 1.x:\n"
           "  #two-asks     two commands at once, each of which needs a permission\n"
           "  #background[:TAG]  a subagent in the background (#slow); its end starts the session again\n"
           "  #empty        an answer without a word\n"
           "  #filter       stopped by the provider's filter, which ends the turn\n"
           "  #unknown-tool a tool that there is not, then the answer\n"
           "  An unknown agent, and a model that is not mock/mock-..., fail as on the real server.\n";
}

} // namespace holdfast::testing
