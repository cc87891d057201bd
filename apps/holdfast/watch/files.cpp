#include "watch/files.hpp"

#include "input.hpp"

#include <holdfast/http/ascii.hpp>

#include <algorithm>
#include <sys/stat.h>

namespace holdfast::app {
namespace {

constexpr std::size_t longest_token = 4096;

std::string size_words(std::size_t bytes) {
    return bytes >= 1u << 20 ? std::to_string(bytes >> 20) + " MiB" : std::to_string(bytes >> 10) + " KiB";
}

} // namespace

std::string read_file(const std::string& name, std::size_t most, std::string& into) {
    input file(name);
    into.clear();
    while (into.size() <= most) {
        const auto block = file.read();
        if (!file.error().empty())
            return name + ": cannot be read";
        if (block.empty())
            return {};
        into += block;
    }
    into.clear();
    return name + ": larger than " + size_words(most);
}

std::string token_fault(std::string_view token) {
    if (token.empty())
        return "holds no token";
    if (token.size() > longest_token)
        return "a token has at most " + std::to_string(longest_token) + " characters";
    if (std::any_of(token.begin(), token.end(), [](char c) { return http::is_control(c); }))
        return "a token must not contain control characters or line ends";
    if (!std::all_of(token.begin(), token.end(), http::is_graphic))
        return "a token is made of printable ASCII characters without spaces";
    return {};
}

bool is_world_readable(const std::string& name) {
    struct stat told{};
    return ::stat(name.c_str(), &told) == 0 && (told.st_mode & S_IROTH) != 0 && S_ISREG(told.st_mode);
}

} // namespace holdfast::app
