#include "arguments.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace holdfast::app {
namespace {

void overwrite(char* begin, const char* end) {
    std::fill(begin, begin + (end - begin), '*');
}

/// All behind the first `mark`.
void hide_behind(char* text, char mark) {
    if (char* const at = std::strchr(text, mark))
        overwrite(at + 1, text + std::strlen(text));
}

/// All up to the last '@', but the scheme: a password may hold any character.
void hide_userinfo(char* text) {
    char* const at = std::strrchr(text, '@');
    if (!at)
        return;
    const char* const authority = std::strstr(text, "://");
    overwrite(authority && authority < at ? text + (authority + 3 - text) : text, at);
}

enum class hiding { nothing, userinfo, behind_colon, all };

struct option {
    std::string_view name;
    hiding how;
};

constexpr option options[] = {
    {"--user", hiding::behind_colon},
    {"-u", hiding::behind_colon},
    {"--proxy", hiding::userinfo},
    {"-x", hiding::userinfo},
    {"--header", hiding::behind_colon},
    {"-H", hiding::behind_colon},
    {"--data", hiding::all},
    {"-d", hiding::all},
};

void hide(char* value, hiding how) {
    if (*value == '@' && how != hiding::userinfo) // a file
        return;
    switch (how) {
    case hiding::nothing: break;
    case hiding::userinfo: return hide_userinfo(value);
    case hiding::behind_colon: return hide_behind(value, ':');
    case hiding::all: overwrite(value, value + std::strlen(value));
    }
}

/// The option that `argument` is, with its value ("--user=me:secret", "-Hname: value") or without; null:
/// none.
const option* option_of(std::string_view argument) {
    const auto* const found = std::find_if(std::begin(options), std::end(options), [&](const option& each) {
        const bool is_long = each.name.starts_with("--");
        const auto rest = argument.substr(std::min(each.name.size(), argument.size()));
        return argument.starts_with(each.name) && (rest.empty() || !is_long || rest.front() == '=');
    });
    return found == std::end(options) ? nullptr : found;
}

} // namespace

void hide_secrets(int argc, char** argv) noexcept {
    for (int n = 1; n < argc; ++n) {
        const option* const known = option_of(argv[n]);
        if (!known) {
            if (std::strstr(argv[n], "://"))
                hide_userinfo(argv[n]);
        } else if (known->name.size() < std::strlen(argv[n])) {
            char* const value = argv[n] + known->name.size();
            hide(*value == '=' ? value + 1 : value, known->how);
        } else if (n + 1 < argc) {
            hide(argv[++n], known->how);
        }
    }
}

} // namespace holdfast::app
