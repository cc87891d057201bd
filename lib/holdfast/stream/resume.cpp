#include <holdfast/stream/resume.hpp>

#include <holdfast/http/ascii.hpp>
#include <holdfast/http/request.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::stream {
namespace {

using request_maker = decltype(source_config::next_request);

// `before`, then `change`, which may not fail.
template <class Change>
request_maker then(request_maker before, Change change) {
    return [before = std::move(before),
            change = std::move(change)](std::string_view last_id, const sse::event& last,
                                        http::request& what) -> net::awaitable<result<void>> {
        if (before) {
            auto making = before(last_id, last, what);
            auto made = co_await std::move(making);
            if (!made)
                co_return made;
        }
        change(last_id, last, what);
        co_return result<void>();
    };
}

// What was sent becomes a question for more of its answer.
void become_get(http::request& what) {
    what.method = "GET";
    what.body.clear();
    std::erase_if(what.headers, [](const header& each) {
        return each.name.size() > 8 && http::iequals(std::string_view(each.name).substr(0, 8), "Content-");
    });
}

// --- the little of JSON that is needed: members of one object, without building anything

std::size_t end_of_string(std::string_view text, std::size_t at) {
    for (++at; at < text.size() && text[at] != '"'; ++at)
        at += text[at] == '\\' ? 1 : 0;
    return std::min(at + 1, text.size());
}

std::size_t skip_blanks(std::string_view text, std::size_t at) {
    return std::min(text.find_first_not_of(" \t\r\n", at), text.size());
}

// Behind the value that begins there.
std::size_t end_of_value(std::string_view text, std::size_t at) {
    std::size_t depth = 0;
    while (at < text.size()) {
        const char c = text[at];
        if (c == '"') {
            at = end_of_string(text, at);
            if (depth == 0)
                return at;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            return at;
        if (c == '{' || c == '[')
            ++depth;
        else if ((c == '}' || c == ']') && --depth == 0)
            return at + 1;
        ++at;
    }
    return at;
}

// The text of a member of this object; empty: it has none, or is none.
std::string_view member(std::string_view object, std::string_view name) {
    std::size_t at = skip_blanks(object, 0);
    if (at == object.size() || object[at] != '{')
        return {};
    for (at = skip_blanks(object, at + 1); at < object.size() && object[at] == '"';) {
        const auto key_end = end_of_string(object, at);
        const auto key = object.substr(at + 1, key_end - at - 2);
        at = skip_blanks(object, key_end);
        if (at == object.size() || object[at] != ':')
            return {};
        at = skip_blanks(object, at + 1);
        const auto end = end_of_value(object, at);
        if (key == name)
            return object.substr(at, end - at);
        at = skip_blanks(object, end);
        if (at < object.size() && object[at] == ',')
            at = skip_blanks(object, at + 1);
    }
    return {};
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_id_char(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.';
}

template <class Allowed>
bool is_all(std::string_view text, Allowed allowed) {
    return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}

std::string_view sequence_number_of(const sse::event& what) {
    auto number = member(what.data, "sequence_number");
    number = number.substr(0, number.find_last_not_of(" \t\r\n") + 1);
    return is_all(number, is_digit) ? number : std::string_view();
}

std::string_view response_id_of(const sse::event& what) {
    const auto id = member(member(what.data, "response"), "id");
    if (id.size() < 2 || id.front() != '"' || id.back() != '"')
        return {};
    const auto text = id.substr(1, id.size() - 2);
    return is_all(text, is_id_char) && !is_all(text, [](char c) { return c == '.'; }) ? text
                                                                                      : std::string_view();
}

} // namespace

void resume_by_get(source_config& config) {
    config.next_request = then(std::move(config.next_request),
                               [](std::string_view last_id, const sse::event&, http::request& what) {
                                   if (!last_id.empty() && what.method == "POST")
                                       become_get(what);
                               });
}

void resume_by_starting_after(source_config& config) {
    const auto response = std::make_shared<std::string>();
    config.judge = [response, before = std::move(config.judge)](
                       const sse::event& what) -> std::optional<retry::failure> {
        if (const auto id = response_id_of(what); !id.empty())
            *response = id;
        return before ? before(what) : std::nullopt;
    };
    config.next_request = then(std::move(config.next_request),
                               [response](std::string_view, const sse::event& last, http::request& what) {
                                   const auto number = sequence_number_of(last);
                                   if (response->empty() || number.empty() || what.method != "POST")
                                       return;
                                   become_get(what);
                                   const auto query = std::min(what.target.find('?'), what.target.size());
                                   const auto given = query < what.target.size()
                                                          ? what.target.substr(query + 1) + '&'
                                                          : std::string();
                                   what.target = what.target.substr(0, query) + '/' + *response + '?' +
                                                 given + "stream=true&starting_after=" + std::string(number);
                               });
}

} // namespace holdfast::stream
