#include <holdfast/http/head_lines.hpp>

#include <holdfast/http/ascii.hpp>

#include <algorithm>
#include <charconv>
#include <system_error>

namespace holdfast::http {
namespace {

constexpr std::size_t longest_line_quote = 60;

bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

/// What is in all fields of that name, in order, as one list: without blanks around the elements, the empty
/// ones too.
std::vector<std::string_view> elements_of(const std::vector<header>& fields, std::string_view name) {
    std::vector<std::string_view> all;
    for (const header& each : fields) {
        if (!iequals(each.name, name))
            continue;
        std::string_view rest = each.value;
        for (auto comma = rest.find(','); comma != std::string_view::npos; comma = rest.find(',')) {
            all.push_back(trim(rest.substr(0, comma)));
            rest.remove_prefix(comma + 1);
        }
        all.push_back(trim(rest));
    }
    return all;
}

std::optional<std::uint64_t> parse_length(std::string_view digits) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size())
        return std::nullopt;
    return value;
}

std::optional<std::string> read_length(const std::vector<header>& fields,
                                       std::optional<std::uint64_t>& length) {
    std::string_view first;
    for (const auto each : elements_of(fields, "Content-Length")) {
        const auto value = parse_length(each);
        if (!value)
            return "a Content-Length is a number, not " + quoted_bytes(each);
        if (length && *length != *value)
            return "two lengths, by Content-Length " + quoted_bytes(first) + " and " + quoted_bytes(each);
        length = value;
        first = each;
    }
    return std::nullopt;
}

/// `codings`: those of Transfer-Encoding that change something.
std::optional<std::string> read_codings(const std::vector<header>& fields,
                                        std::vector<std::string_view>& codings) {
    codings = elements_of(fields, "Transfer-Encoding");
    std::erase_if(codings, [](std::string_view each) { return each.empty() || iequals(each, "identity"); });
    const auto is_chunked = [](std::string_view each) {
        return iequals(each, "chunked");
    };
    const auto first = std::find_if(codings.begin(), codings.end(), is_chunked);
    const auto other = std::find_if_not(first, codings.end(), is_chunked);
    if (other != codings.end() && !is_chunked(codings.back()))
        return "the last Transfer-Encoding beside chunked is " + quoted_bytes(codings.back());
    return std::nullopt;
}

} // namespace

std::string quoted_bytes(std::string_view bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text = "\"";
    for (const char c : bytes.substr(0, longest_line_quote)) {
        if (c == '"' || c == '\\')
            text += '\\';
        if (is_graphic(c) || c == ' ') {
            text += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            text.append("\\x") += digits[byte >> 4];
            text += digits[byte & 15];
        }
    }
    return text + (bytes.size() > longest_line_quote ? "...\"" : "\"");
}

std::optional<std::string> read_status_line(std::string_view line, int& status, std::string& reason) {
    constexpr std::string_view version = "HTTP/1.";
    const auto broken = [&](const char* rule) {
        return rule + (", not " + quoted_bytes(line));
    };
    if (!line.starts_with(version) || line.size() == version.size() || !is_digit(line[version.size()]))
        return broken("a status line begins with HTTP/1.0 or HTTP/1.1");
    auto rest = line.substr(version.size() + 1);
    const auto code = trim(rest).substr(0, 3);
    const bool is_number = code.size() == 3 && std::all_of(code.begin(), code.end(), is_digit);
    if (rest.empty() || !is_blank(rest.front()) || !is_number || code < "100")
        return broken("a status is three digits from 100 on, behind a blank");
    rest = trim(rest).substr(code.size());
    if (!rest.empty() && !is_blank(rest.front()))
        return broken("a status is three digits and no more");
    if (rest.find_first_of(std::string_view("\r\0", 2)) != std::string_view::npos)
        return broken("a reason has no CR and no NUL in it");
    std::from_chars(code.data(), code.data() + code.size(), status);
    reason = trim(rest);
    return std::nullopt;
}

std::optional<std::string> read_field_line(std::string_view line, std::vector<header>& fields) {
    const auto broken = [&](const char* rule) {
        return rule + (": " + quoted_bytes(line));
    };
    if (line.find('\r') != std::string_view::npos)
        return broken("a CR that ends no line");
    if (!is_field_value(line))
        return broken("a control character in a field");
    if (is_blank(line.front())) {
        if (fields.empty())
            return broken("the first field begins with a blank");
        auto& value = fields.back().value;
        if (const auto more = trim(line); !more.empty())
            value.append(value.empty() ? "" : " ").append(more);
        return std::nullopt;
    }
    const auto colon = line.find(':');
    if (colon == std::string_view::npos)
        return broken("a field without a colon");
    const auto name = line.substr(0, colon);
    if (!name.empty() && is_blank(name.back()))
        return broken("a blank between a field's name and its colon");
    if (!is_token(name))
        return broken("a field's name that is no token");
    fields.push_back({std::string(name), std::string(trim(line.substr(colon + 1)))});
    return std::nullopt;
}

std::optional<std::string> read_framing(const std::vector<header>& fields, body_framing& framing) {
    std::vector<std::string_view> codings;
    if (auto why = read_length(fields, framing.length))
        return why;
    if (auto why = read_codings(fields, codings))
        return why;
    framing.chunked = !codings.empty() && iequals(codings.back(), "chunked");
    if (framing.length && !codings.empty())
        return "a length beside a transfer coding, by Content-Length " + std::to_string(*framing.length) +
               " and Transfer-Encoding " + quoted_bytes(codings.back());
    return std::nullopt;
}

} // namespace holdfast::http
