#include <holdfast/sse/parser.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

namespace holdfast::sse {

namespace {

constexpr std::string_view bom = "\xEF\xBB\xBF";

// Own buffers larger than this are not kept: one huge event must not cost its memory for the life of a
// stream.
constexpr std::size_t largest_kept_buffer = 1u << 20;

// So much is told of what a stream leaves behind.
constexpr std::size_t most_left = 200;

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

// False if the line, of which this is the beginning, is certain to be none that an event is made of.
bool may_be_field(std::string_view beginning) {
    for (const std::string_view name : {"data", "event", "id", "retry"})
        if (beginning.size() <= name.size() ? name.starts_with(beginning) : names(beginning, name))
            return true;
    return false;
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

parser::parser(limits bounds, options wanted) : bounds_(bounds), wanted_(wanted) {}

bool parser::next(std::string_view& input) {
    if (error_.failed())
        return false;
    skip_bom(input);
    if (dropping_line_)
        drop_rest_of_line(input);
    while (true) {
        skip_lf_of_crlf(input);
        const std::size_t length = line_length(input);
        if (length == input.size())
            return keep_rest(input);
        const std::string_view line = take_line(input, length);
        if (line.empty() ? blank_line() : end_line(line))
            return !error_.failed();
    }
}

bool parser::finish() {
    if (error_.failed())
        return false;
    after_cr_ = false;
    dropping_line_ = false;
    if (std::exchange(line_open_, false) && !line_.empty() && end_line(line_))
        return !error_.failed();
    return blank_line();
}

std::string parser::left() const {
    const auto cut = [](std::string_view text) {
        return std::string(text.substr(0, most_left));
    };
    if (!other_.empty())
        return other_;
    if (data_lines_ > 0) {
        const auto data = data_.get();
        return cut("data: " + std::string(data.substr(0, std::min(data.find('\n'), most_left))));
    }
    if (has_type_)
        return cut("event: " + std::string(type_.get().substr(0, most_left)));
    if (has_id_)
        return cut("id: " + id_.substr(0, most_left));
    return line_open_ && !line_.starts_with(':') ? cut(line_) : std::string();
}

std::size_t parser::pending() const noexcept {
    return (line_open_ ? line_.size() : 0) + (data_lines_ > 0 ? data_.get().size() : 0) +
           (has_type_ ? type_.get().size() : 0) + (has_id_ ? id_.size() : 0);
}

void parser::reset() {
    error_ = {};
    bom_bytes_ = 0;
    after_cr_ = false;
    dropping_line_ = false;
    skipping_ = false;
    line_open_ = false;
    data_lines_ = 0;
    has_type_ = false;
    has_id_ = false;
    other_.clear();
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

void parser::drop_rest_of_line(std::string_view& input) {
    const std::size_t length = line_length(input);
    dropping_line_ = length == input.size();
    if (dropping_line_)
        input = {};
    else
        take_line(input, length);
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

// True: there is something to tell, or a limit was passed.
bool parser::end_line(std::string_view line) {
    errc limit{};
    const std::size_t most = most_of(line, limit);
    return line.size() > most ? over(limit, line.substr(0, most + 1)) : field(line);
}

// How long the line, ended or not, may be, and the limit that it passes with one byte more: the one whose
// byte comes first, so that the answer is the same for every cut.
std::size_t parser::most_of(std::string_view line, errc& limit) const {
    std::size_t most = bounds_.line;
    limit = errc::line_too_long;
    const auto narrow = [&](std::size_t before_value, std::size_t value, errc reason) {
        if (most > before_value && most - before_value > value) {
            most = before_value + value;
            limit = reason;
        }
    };
    if (names(line, "data")) {
        const std::size_t held = data_lines_ > 0 ? data_.get().size() + 1 : 0;
        if (held > bounds_.event) // by the LF that joins, before any value
            narrow(std::string_view("data").size(), 0, errc::event_too_large);
        else
            narrow(value_start(line, "data"), bounds_.event - held, errc::event_too_large);
    } else if (names(line, "id")) {
        narrow(value_start(line, "id"), bounds_.id, errc::id_too_long);
    }
    return most;
}

// A limit was passed by the last byte of this beginning of a line. True: that is to be told.
bool parser::over(errc limit, std::string_view beginning) {
    if (limit == errc::id_too_long) { // a stream that cannot be resumed there is better than none
        has_id_ = false;
        ++long_ids_;
        return false;
    }
    if (!wanted_.skip_oversized) {
        error_ = limit;
        return true;
    }
    const bool line_alone = limit == errc::line_too_long && !may_be_field(beginning);
    if (line_alone) {
        keep_event();
    } else {
        data_lines_ = 0;
        data_.release();
        if (std::exchange(skipping_, true))
            return false;
    }
    skipped_ = limit;
    event_ = {};
    what_ = found::skipped;
    return true;
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
    } else if (line.front() != ':') {
        other_line(line);
    } else if (wanted_.comments) {
        return comment(line.substr(value_start(line, "")));
    }
    return false;
}

// A text over several lines says more than its first, which may be a brace alone.
void parser::other_line(std::string_view line) {
    if (other_.size() >= most_left)
        return;
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    if (!other_.empty())
        other_ += ' ';
    other_ += line.substr(0, most_left - other_.size());
}

bool parser::data_field(std::string_view value) {
    if (skipping_)
        return false;
    if (data_lines_ >= bounds_.data_lines)
        return over(errc::too_many_lines, value);
    if (data_lines_ == 0)
        data_.view(value);
    else if (data_.get().size() >= bounds_.event) // a "data" without a colon adds an LF all the same
        return over(errc::event_too_large, value);
    else
        data_.append_line(value);
    ++data_lines_;
    return false;
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

bool parser::comment(std::string_view text) {
    keep_event();
    event_ = {{}, text, {}};
    what_ = found::comment;
    return true;
}

// Commits the id and dispatches; false if there is no data, which means no event.
bool parser::blank_line() {
    if (has_id_)
        last_event_id_.assign(id_);
    has_id_ = false;
    skipping_ = false;
    const std::string_view type = has_type_ ? type_.get() : std::string_view();
    has_type_ = false;
    if (data_lines_ == 0)
        return false;
    data_lines_ = 0;
    other_.clear();
    event_ = {type.empty() ? std::string_view("message") : type, data_.get(), last_event_id_};
    what_ = found::event;
    return true;
}

// Before control goes back: nothing of an event under way may view the input any longer.
void parser::keep_event() {
    if (data_lines_ > 0)
        data_.keep();
    else
        data_.release();
    if (has_type_)
        type_.keep();
    else
        type_.release();
}

bool parser::keep_rest(std::string_view& input) {
    keep_event();
    std::string_view line = std::exchange(input, {});
    if (line_open_) {
        continue_line(line);
        line = line_;
    }
    errc limit{};
    const std::size_t most = most_of(line, limit);
    if (line.size() > most) {
        dropping_line_ = true;
        line_open_ = false;
        const bool tell = over(limit, line.substr(0, most + 1));
        give_back_if_large(line_);
        return tell && !error_.failed();
    }
    if (line.empty()) {
        give_back_if_large(line_);
    } else if (!line_open_) {
        line_.assign(line);
        line_open_ = true;
    }
    return false;
}

} // namespace holdfast::sse
