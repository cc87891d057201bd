// The event stream format (HTML Standard, section 9.2.6) and UTF-8 decoding (Encoding Standard,
// section 8.1.1) as the standards word them, with no thought of speed, of cuts or of memory: what the parser
// is compared with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::fuzz::reference {

struct event {
    std::string type, data, id;
    bool operator==(const event&) const = default;
};

/// The largest that a stream made a parser hold; what was still open at its end counts as far as it came.
struct largest {
    std::size_t line = 0, event = 0, data_lines = 0, id = 0;
};

struct stream {
    std::vector<event> events;
    std::string last_event_id;
    std::optional<std::uint64_t> retry_ms;
    largest held;
};

/// Lines end with CRLF, LF or CR. The last element is what has no end.
inline std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines(1);
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n')
            ++i;
        if (text[i] == '\n' || text[i] == '\r')
            lines.emplace_back();
        else
            lines.back() += text[i];
    }
    return lines;
}

inline std::uint64_t saturated_number(const std::string& digits) {
    std::uint64_t value = 0;
    for (const char c : digits) {
        const auto digit = static_cast<std::uint64_t>(c - '0');
        if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10)
            return std::numeric_limits<std::uint64_t>::max();
        value = value * 10 + digit;
    }
    return value;
}

inline stream parse(std::string text) {
    stream result;
    // At the end of a stream that is the beginning of a byte order mark, nothing is known yet.
    const std::string bom = "\xEF\xBB\xBF";
    if (bom.starts_with(text))
        return result;
    if (text.starts_with(bom))
        text.erase(0, bom.size());

    std::string data, type, id;
    std::size_t data_lines = 0;
    const auto lines = lines_of(text);
    for (std::size_t n = 0; n < lines.size(); ++n) {
        const std::string& line = lines[n];
        const bool ended = n + 1 < lines.size();
        result.held.line = std::max(result.held.line, line.size());

        if (ended && line.empty()) {
            result.last_event_id = id;
            if (!data.empty()) {
                data.pop_back(); // the LF behind the last line
                result.events.push_back({type.empty() ? "message" : type, data, id});
            }
            data.clear();
            type.clear();
            data_lines = 0;
            continue;
        }

        const auto colon = line.find(':');
        const std::string field = line.substr(0, colon);
        std::string value = colon == std::string::npos ? "" : line.substr(colon + 1);
        if (value.starts_with(' '))
            value.erase(0, 1);
        if (!ended && colon == std::string::npos)
            continue; // the field's name may go on

        if (field == "data")
            result.held.event = std::max(result.held.event, data.size() + value.size());
        if (field == "id")
            result.held.id = std::max(result.held.id, value.size());
        if (!ended)
            continue;

        if (field == "event") {
            type = value;
        } else if (field == "data") {
            data += value + '\n';
            result.held.data_lines = std::max(result.held.data_lines, ++data_lines);
        } else if (field == "id") {
            if (value.find('\0') == std::string::npos)
                id = value;
        } else if (field == "retry") {
            if (!value.empty() && value.find_first_not_of("0123456789") == std::string::npos)
                result.retry_ms = saturated_number(value);
        }
    }
    return result;
}

/// The decoder's steps, a byte at a time; what is ill-formed becomes U+FFFD. A byte order mark stays.
inline std::string decode_utf8(const std::string& bytes) {
    const std::string replacement = "\xEF\xBF\xBD";
    std::string out, seen;
    int needed = 0;
    unsigned lower = 0x80, upper = 0xBF;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const auto byte = static_cast<unsigned char>(bytes[i]);
        if (needed == 0) {
            seen = bytes[i];
            if (byte <= 0x7F) {
                out += seen;
            } else if (byte >= 0xC2 && byte <= 0xDF) {
                needed = 1;
            } else if (byte >= 0xE0 && byte <= 0xEF) {
                lower = byte == 0xE0 ? 0xA0 : 0x80;
                upper = byte == 0xED ? 0x9F : 0xBF;
                needed = 2;
            } else if (byte >= 0xF0 && byte <= 0xF4) {
                lower = byte == 0xF0 ? 0x90 : 0x80;
                upper = byte == 0xF4 ? 0x8F : 0xBF;
                needed = 3;
            } else {
                out += replacement;
            }
            continue;
        }
        const bool continues = byte >= lower && byte <= upper;
        lower = 0x80;
        upper = 0xBF;
        if (!continues) {
            out += replacement;
            needed = 0;
            --i; // the byte is looked at again
            continue;
        }
        seen += bytes[i];
        if (--needed == 0)
            out += seen;
    }
    return needed > 0 ? out + replacement : out;
}

} // namespace holdfast::fuzz::reference
