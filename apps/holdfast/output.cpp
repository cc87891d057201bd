#include "output.hpp"

#include "signals.hpp"

#include <holdfast/sse/utf8.hpp>

#include <boost/json/serialize.hpp>
#include <boost/system/system_category.hpp>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace holdfast::app {

namespace {

// The code point at the front of valid UTF-8, as far as escaping needs it: those of one to three bytes.
struct character {
    unsigned code;
    std::size_t size;
};

character first_character(std::string_view text) {
    const auto byte = [&](std::size_t i) {
        return static_cast<unsigned>(static_cast<unsigned char>(text[i]));
    };
    if (byte(0) < 0x80)
        return {byte(0), 1};
    if (byte(0) < 0xE0)
        return {(byte(0) & 0x1F) << 6 | (byte(1) & 0x3F), 2};
    if (byte(0) < 0xF0)
        return {(byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
    return {0x10000, 4};
}

bool is_control(unsigned code) {
    return code < 0x20 || (code >= 0x7F && code <= 0x9F);
}

// Marks, embeddings, overrides and isolates; and the two separators that some terminals take for a line end.
bool turns_direction(unsigned code) {
    return code == 0x061C || code == 0x200E || code == 0x200F || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069);
}

void append_escape(std::string& out, unsigned code) {
    char escape[8];
    const int size = std::snprintf(escape, sizeof escape, code < 0x100 ? "\\x%02x" : "\\u%04x", code);
    out.append(escape, static_cast<std::size_t>(size));
}

std::string escape(std::string_view untrusted, std::string_view kept_controls) {
    const std::string valid = sse::to_valid_utf8(untrusted);
    std::string out;
    out.reserve(valid.size());
    for (std::string_view rest = valid; !rest.empty();) {
        const character c = first_character(rest);
        const bool kept = c.size == 1 && kept_controls.find(rest.front()) != std::string_view::npos;
        if (!kept && (is_control(c.code) || turns_direction(c.code)))
            append_escape(out, c.code);
        else
            out += rest.substr(0, c.size);
        rest.remove_prefix(c.size);
    }
    return out;
}

std::string_view sgr(style s) {
    switch (s) {
    case style::bold:
        return "\x1b[1m";
    case style::dim:
        return "\x1b[2m";
    case style::red:
        return "\x1b[31m";
    case style::green:
        return "\x1b[32m";
    case style::yellow:
        return "\x1b[33m";
    case style::cyan:
        return "\x1b[36m";
    }
    return "";
}

} // namespace

std::string printable(std::string_view untrusted) {
    return escape(untrusted, "\n\t");
}

std::string printable_line(std::string_view untrusted) {
    return escape(untrusted, "\t");
}

bool wants_colour(int descriptor) {
    const char* const no_color = std::getenv("NO_COLOR");
    const char* const term = std::getenv("TERM");
    return ::isatty(descriptor) == 1 && (!no_color || *no_color == '\0') && term &&
           std::string_view(term) != "dumb";
}

output::output(int descriptor)
    : descriptor_(descriptor), terminal_(::isatty(descriptor) == 1), coloured_(wants_colour(descriptor)) {}

void output::row(const boost::json::object& object) {
    // Mending the whole line mends each string by itself: between two strings there is always ASCII, which
    // ends any ill-formed sequence.
    write(sse::to_valid_utf8(boost::json::serialize(object)) + '\n');
}

void output::text(std::string_view trusted) {
    write(trusted);
}

std::string output::paint(style s, std::string_view printable) const {
    if (!coloured_)
        return std::string(printable);
    return std::string(sgr(s)).append(printable).append("\x1b[0m");
}

bool output::closed() const noexcept {
    return error_ == boost::system::errc::broken_pipe;
}

void output::write(std::string_view bytes) {
    while (!bytes.empty() && ok()) {
        if (!wait_until_writable(descriptor_)) {
            error_ = make_error_code(boost::system::errc::timed_out);
            return;
        }
        // A pipe that is writable takes so many bytes without blocking: the waiting is done above.
        const std::size_t slice = std::min<std::size_t>(bytes.size(), PIPE_BUF);
        const ssize_t written = ::write(descriptor_, bytes.data(), slice);
        if (written >= 0)
            bytes.remove_prefix(static_cast<std::size_t>(written));
        else if (errno != EINTR && errno != EAGAIN) // somebody may make a terminal non-blocking, which we share
            error_.assign(errno, boost::system::system_category());
    }
}

} // namespace holdfast::app
