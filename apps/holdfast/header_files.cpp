#include "header_files.hpp"

#include "input.hpp"

#include <holdfast/http/ascii.hpp>

#include <utility>

namespace holdfast::app {
namespace {

constexpr std::size_t longest_file = 64u << 10;

} // namespace

std::optional<header> parse_header(std::string_view text) {
    const auto colon = text.find(':');
    if (colon == std::string_view::npos || colon == 0)
        return std::nullopt;
    return header{std::string(text.substr(0, colon)), std::string(http::trim(text.substr(colon + 1)))};
}

std::string read_headers(const std::string& file, std::vector<header>& into) {
    std::string text;
    if (auto wrong = read_all(file, longest_file, text); !wrong.empty())
        return wrong;
    for (std::string_view rest = text; !rest.empty();) {
        auto line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        if (line.ends_with('\r'))
            line.remove_suffix(1);
        if (http::trim(line).empty())
            continue;
        auto parsed = parse_header(line);
        if (!parsed)
            return file + ": holds a line that is not 'Name: value'";
        into.push_back(std::move(*parsed));
    }
    return {};
}

void send_headers_of(std::vector<std::string> files, stream::source_config& config) {
    config.next_request = [files = std::move(files)](std::string_view, const sse::event&,
                                                     http::request& what) -> net::awaitable<result<void>> {
        std::vector<header> fresh;
        for (const auto& each : files) {
            if (auto wrong = read_headers(each, fresh); !wrong.empty()) {
                auto why = retry::make_failure(errc::local);
                why.message = std::move(wrong);
                co_return why;
            }
        }
        std::erase_if(what.headers, [&](const header& each) { return http::find_header(fresh, each.name); });
        what.headers.insert(what.headers.end(), fresh.begin(), fresh.end());
        co_return result<void>();
    };
}

} // namespace holdfast::app
