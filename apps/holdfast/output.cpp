#include "output.hpp"

#include "output_queue.hpp"
#include "signals.hpp"

#include <holdfast/sse/utf8.hpp>

#include <boost/json/serialize.hpp>
#include <boost/system/system_category.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <unistd.h>
#include <utility>

namespace holdfast::app {

namespace {

// The code point at the front of valid UTF-8.
struct character {
    unsigned code;
    std::size_t size;
};

struct code_range {
    unsigned first, last;
};

// Characters that nothing is seen of, or that turn the direction of writing, and the two separators that some
// terminals take for a line end: Unicode's Default_Ignorable_Code_Point, format controls, fillers and the
// empty Braille pattern.
constexpr std::array<code_range, 23> invisible{{
    {0x00AD, 0x00AD},   {0x034F, 0x034F},   {0x0600, 0x0605},    {0x061C, 0x061C},   {0x06DD, 0x06DD},
    {0x070F, 0x070F},   {0x115F, 0x1160},   {0x17B4, 0x17B5},    {0x180B, 0x180F},   {0x200B, 0x200F},
    {0x2028, 0x202E},   {0x2060, 0x206F},   {0x2800, 0x2800},    {0x3164, 0x3164},   {0xFE00, 0xFE0F},
    {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},   {0xFFF0, 0xFFFB},    {0x13430, 0x1345F}, {0x1BCA0, 0x1BCA3},
    {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF}, {0xF0000, 0x10FFFF},
}};

// What joins or chooses the pictures and letters of a text: wanted in what a model writes, and never needed
// to know what is approved.
constexpr std::array<unsigned, 4> joiners{0x200C, 0x200D, 0xFE0E, 0xFE0F};

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
    return {(byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

bool is_control(unsigned code) {
    return code < 0x20 || (code >= 0x7F && code <= 0x9F);
}

bool is_invisible(unsigned code) {
    const auto after = std::find_if(invisible.begin(), invisible.end(),
                                    [code](const code_range& each) { return code <= each.last; });
    return after != invisible.end() && code >= after->first;
}

bool is_joiner(unsigned code) {
    return std::find(joiners.begin(), joiners.end(), code) != joiners.end();
}

void append_escape(std::string& out, unsigned code) {
    const char* const form = code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x";
    char escape[16];
    const int size = std::snprintf(escape, sizeof escape, form, code);
    out.append(escape, static_cast<std::size_t>(size));
}

std::string escape(std::string_view untrusted, std::string_view kept_controls, bool keep_joiners) {
    const std::string valid = sse::to_valid_utf8(untrusted);
    std::string out;
    out.reserve(valid.size());
    for (std::string_view rest = valid; !rest.empty();) {
        const character c = first_character(rest);
        const bool kept = c.size == 1 && kept_controls.find(rest.front()) != std::string_view::npos;
        const bool shown =
            !is_control(c.code) && (!is_invisible(c.code) || (keep_joiners && is_joiner(c.code)));
        if (!kept && !shown)
            append_escape(out, c.code);
        else
            out += rest.substr(0, c.size);
        rest.remove_prefix(c.size);
    }
    return out;
}

std::string_view sgr(style s) {
    switch (s) {
    case style::bold: return "\x1b[1m";
    case style::dim: return "\x1b[2m";
    case style::red: return "\x1b[31m";
    case style::green: return "\x1b[32m";
    case style::yellow: return "\x1b[33m";
    case style::cyan: return "\x1b[36m";
    }
    return "";
}

} // namespace

std::string printable(std::string_view untrusted) {
    return escape(untrusted, "\n\t", true);
}

std::string printable_line(std::string_view untrusted) {
    return escape(untrusted, "\t", false);
}

bool wants_colour(int descriptor) {
    const char* const no_color = std::getenv("NO_COLOR");
    const char* const term = std::getenv("TERM");
    return ::isatty(descriptor) == 1 && (!no_color || *no_color == '\0') && term &&
           std::string_view(term) != "dumb";
}

output::output(int descriptor)
    : descriptor_(descriptor), terminal_(::isatty(descriptor) == 1), coloured_(wants_colour(descriptor)) {}

output::~output() = default;
output::output(output&&) noexcept = default;

void output::wait_for_nobody(std::size_t most_bytes, std::function<std::string(std::size_t dropped)> gap) {
    queue_ = std::make_unique<output_queue>(descriptor_, most_bytes, std::move(gap));
}

bool output::idle() const {
    return !queue_ || queue_->idle();
}

void output::drain(std::chrono::milliseconds patience) {
    drain(patience, true);
}

void output::drain_within(std::chrono::milliseconds patience) {
    drain(patience, false);
}

void output::drain(std::chrono::milliseconds patience, bool patient) {
    if (!queue_)
        return;
    using clock = std::chrono::steady_clock;
    std::optional<clock::time_point> deadline; // from when a signal asked for the end
    const bool all = queue_->drain([&] {
        if ((!patient || signal_received() != 0) && !deadline)
            deadline = clock::now() + patience;
        return !deadline || clock::now() < *deadline;
    });
    error_ = all ? queue_->error() : make_error_code(boost::system::errc::timed_out);
    queue_.reset();
}

boost::system::error_code output::error() const noexcept {
    return queue_ ? queue_->error() : error_;
}

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
    return error() == boost::system::errc::broken_pipe;
}

void output::write(std::string_view bytes) {
    if (queue_)
        return queue_->push(bytes);
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
        else if (errno != EINTR &&
                 errno != EAGAIN) // somebody may make a terminal non-blocking, which we share
            error_.assign(errno, boost::system::system_category());
    }
}

} // namespace holdfast::app
