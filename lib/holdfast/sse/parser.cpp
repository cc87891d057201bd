#include <holdfast/sse/parser.hpp>

#include <algorithm>
#include <cstring>
#include <limits>

namespace holdfast::sse {

namespace {

constexpr std::string_view bom = "\xEF\xBB\xBF";

// Own buffers larger than this are not kept: one huge event must not cost its memory for the life of a
// stream.
constexpr std::size_t largest_kept_buffer = 1u << 20;

// The bytes before the first CR or LF; all of them if there is none. Two passes of memchr beat any loop over
// bytes; in blocks, so that a stream of CRs alone is not searched to its end for an LF at each of its lines.
std::size_t line_length(std::string_view input) {
    constexpr std::size_t block = 1024;
    for (std::size_t from = 0; from < input.size(); from += block) {
        const char* const begin = input.data() + from;
        std::size_t size = std::min(block, input.size() - from);
        const void* const lf = std::memchr(begin, '\n', size);
        if (lf)
            size = static_cast<std::size_t>(static_cast<const char*>(lf) - begin);
        if (const void* const cr = std::memchr(begin, '\r', size))
            return from + static_cast<std::size_t>(static_cast<const char*>(cr) - begin);
        if (lf)
            return from + size;
    }
    return input.size();
}

// True if the line, ended or not, is certain to be of this field with a colon. Never looks further than that.
bool names(std::string_view line, std::string_view name) {
    return line.size() > name.size() && line[name.size()] == ':' && line.starts_with(name);
}

// Where the value of such a line starts.
std::size_t value_start(std::string_view line, std::string_view name) {
    const std::size_t after_colon = name.size() + 1;
    return line.size() > after_colon && line[after_colon] == ' ' ? after_colon + 1 : after_colon;
}

// The value, if the ended line is of this field.
std::optional<std::string_view> value_of(std::string_view line, std::string_view name) {
    if (names(line, name))
        return line.substr(value_start(line, name));
    if (line == name)
        return std::string_view();
    return std::nullopt;
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

void give_back_if_large(std::string& buffer) {
    if (buffer.capacity() > largest_kept_buffer)
        std::string().swap(buffer);
}

} // namespace

void parser::text::view(std::string_view value) noexcept {
    view_ = value;
    viewed_ = true;
}

void parser::text::append_line(std::string_view value) {
    keep();
    own_ += '\n';
    own_ += value;
}

void parser::text::keep() {
    if (!viewed_)
        return;
    own_.assign(view_);
    viewed_ = false;
}

void parser::text::release() noexcept {
    view({});
    give_back_if_large(own_);
}

parser::parser(limits bounds) : bounds_(bounds) {}

bool parser::next(std::string_view& input) {
    if (error_.failed())
        return false;
    skip_bom(input);
    while (true) {
        skip_lf_of_crlf(input);
        const std::size_t length = line_length(input);
        if (length == input.size())
            return keep_rest(input);
        const std::string_view line = take_line(input, length);
        if (line.empty()) {
            if (blank_line())
                return true;
        } else if (!within_limits(line) || !field(line)) {
            return false;
        }
    }
}

std::size_t parser::pending() const noexcept {
    return (line_open_ ? line_.size() : 0) + (data_lines_ > 0 ? data_.get().size() : 0) +
           (has_type_ ? type_.get().size() : 0) + (has_id_ ? id_.size() : 0);
}

void parser::reset() {
    error_ = {};
    bom_bytes_ = 0;
    after_cr_ = false;
    line_open_ = false;
    data_lines_ = 0;
    has_type_ = false;
    has_id_ = false;
    event_ = {};
    give_back_if_large(line_);
    data_.release();
    type_.release();
}

void parser::skip_bom(std::string_view& input) {
    while (bom_bytes_ < bom.size() && !input.empty()) {
        if (input.front() != bom[bom_bytes_]) {
            // What looked like a BOM is how the first line starts.
            line_.assign(bom.substr(0, bom_bytes_));
            line_open_ = bom_bytes_ > 0;
            bom_bytes_ = bom.size();
            return;
        }
        input.remove_prefix(1);
        ++bom_bytes_;
    }
}

void parser::skip_lf_of_crlf(std::string_view& input) {
    if (!after_cr_ || input.empty())
        return;
    after_cr_ = false;
    if (input.front() == '\n')
        input.remove_prefix(1);
}

// Takes the line and its end (of a CRLF: the CR) off the input.
std::string_view parser::take_line(std::string_view& input, std::size_t length) {
    const std::string_view line = input.substr(0, length);
    after_cr_ = input[length] == '\r';
    input.remove_prefix(length + 1);
    if (!line_open_)
        return line;
    continue_line(line);
    line_open_ = false;
    return line_;
}

// Of a line that is too long, no more is copied than shows that it is.
void parser::continue_line(std::string_view more) {
    const std::size_t room = bounds_.line - std::min(bounds_.line, line_.size());
    line_.append(more.data(), more.size() > room ? room + 1 : more.size());
}

// The limit that counts is the one whose byte comes first, so that the answer is the same for every cut.
bool parser::within_limits(std::string_view line) {
    std::size_t most = bounds_.line;
    errc why = errc::line_too_long;
    const auto narrow = [&](std::size_t before_value, std::size_t value, errc reason) {
        if (most > before_value && most - before_value > value) {
            most = before_value + value;
            why = reason;
        }
    };
    if (names(line, "data")) {
        const std::size_t held = data_lines_ > 0 ? data_.get().size() + 1 : 0;
        if (held > bounds_.event) // by the LF that joins, before any value
            return fail(errc::event_too_large);
        narrow(value_start(line, "data"), bounds_.event - held, errc::event_too_large);
    } else if (names(line, "id")) {
        narrow(value_start(line, "id"), bounds_.id, errc::id_too_long);
    }
    return line.size() <= most || fail(why);
}

bool parser::field(std::string_view line) {
    if (const auto data = value_of(line, "data"))
        return data_field(*data);
    if (const auto type = value_of(line, "event")) {
        type_.view(*type);
        has_type_ = true;
    } else if (const auto id = value_of(line, "id")) {
        id_field(*id);
    } else if (const auto retry = value_of(line, "retry")) {
        retry_field(*retry);
    }
    return true;
}

bool parser::data_field(std::string_view value) {
    if (data_lines_ >= bounds_.data_lines)
        return fail(errc::too_many_lines);
    if (data_lines_ == 0)
        data_.view(value);
    else if (data_.get().size() >= bounds_.event) // a "data" without a colon adds an LF all the same
        return fail(errc::event_too_large);
    else
        data_.append_line(value);
    ++data_lines_;
    return true;
}

void parser::id_field(std::string_view value) {
    if (value.find('\0') != std::string_view::npos)
        return;
    id_.assign(value);
    has_id_ = true;
}

void parser::retry_field(std::string_view value) {
    if (value.empty() || !std::all_of(value.begin(), value.end(), is_digit))
        return;
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t ms = 0;
    for (const char c : value) {
        const auto digit = static_cast<std::uint64_t>(c - '0');
        ms = ms > (most - digit) / 10 ? most : ms * 10 + digit;
    }
    retry_ms_ = ms;
}

// Commits the id and dispatches; false if there is no data, which means no event.
bool parser::blank_line() {
    if (has_id_)
        last_event_id_.assign(id_);
    has_id_ = false;
    const std::string_view type = has_type_ ? type_.get() : std::string_view();
    has_type_ = false;
    if (data_lines_ == 0)
        return false;
    data_lines_ = 0;
    event_ = {type.empty() ? std::string_view("message") : type, data_.get(), last_event_id_};
    return true;
}

// Before control goes back for more bytes: nothing may view these any longer.
bool parser::keep_rest(std::string_view& input) {
    if (data_lines_ > 0)
        data_.keep();
    else
        data_.release();
    if (has_type_)
        type_.keep();
    else
        type_.release();
    if (line_open_) {
        continue_line(input);
    } else if (!input.empty()) {
        if (!within_limits(input))
            return false;
        line_.assign(input);
        line_open_ = true;
    } else {
        give_back_if_large(line_);
    }
    input = {};
    if (line_open_)
        within_limits(line_);
    return false;
}

bool parser::fail(errc why) {
    error_ = why;
    return false;
}

} // namespace holdfast::sse
