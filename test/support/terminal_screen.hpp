// What a terminal shows after these bytes: the few sequences that holdfast writes, and no others.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::test {

class terminal_screen {
public:
    terminal_screen(std::size_t width, std::size_t height) : width_(width), lines_(height), other_(height) {}

    /// Throws std::runtime_error for a sequence that it does not know, and for text past the right edge.
    void feed(std::string_view bytes) {
        while (!bytes.empty()) {
            if (bytes.starts_with("\x1b["))
                bytes.remove_prefix(sequence(bytes));
            else
                bytes.remove_prefix(character(bytes));
        }
    }

    [[nodiscard]] const std::vector<std::string>& lines() const noexcept { return lines_; }
    [[nodiscard]] bool alternate() const noexcept { return alternate_; }
    [[nodiscard]] bool cursor_shown() const noexcept { return cursor_; }
    [[nodiscard]] bool wraps() const noexcept { return wraps_; }

    /// Some line has this in it.
    [[nodiscard]] bool shows(std::string_view part) const {
        return std::any_of(lines_.begin(), lines_.end(),
                           [&](const auto& line) { return line.find(part) != std::string::npos; });
    }

private:
    std::size_t sequence(std::string_view bytes) {
        const auto end = bytes.find_first_not_of("0123456789;?", 2);
        if (end == std::string_view::npos)
            return bytes.size(); // cut off by the end
        const auto arguments = std::string(bytes.substr(2, end - 2));
        switch (bytes[end]) {
        case 'm': break;
        case 'H':
            row_ = arguments.empty() ? 0 : std::stoul(arguments) - 1;
            column_ = 0;
            break;
        case 'K':
            if (column_ == width_)
                throw std::runtime_error("the last character is cleared again: " + lines_.at(row_));
            if (column_ == 0)
                lines_.at(row_).clear();
            break;
        case 'J': lines_.assign(lines_.size(), {}); break;
        case 'h':
        case 'l': mode(arguments, bytes[end] == 'h'); break;
        default: throw std::runtime_error("an unknown sequence: " + std::string(bytes.substr(1, end)));
        }
        return end + 1;
    }

    void mode(const std::string& which, bool on) {
        if (which == "?1049") {
            if (alternate_ != on)
                std::swap(lines_, other_);
            if (on)
                lines_.assign(lines_.size(), {});
            std::swap(row_, other_row_);
            std::swap(column_, other_column_);
            alternate_ = on;
        } else if (which == "?25") {
            cursor_ = on;
        } else if (which == "?7") {
            wraps_ = on;
        } else {
            throw std::runtime_error("an unknown mode: " + which);
        }
    }

    std::size_t character(std::string_view bytes) {
        if (bytes[0] == '\r') {
            column_ = 0;
            return 1;
        }
        if (bytes[0] == '\n') {
            if (++row_ == lines_.size()) {
                lines_.erase(lines_.begin());
                lines_.emplace_back();
                --row_;
            }
            column_ = 0;
            return 1;
        }
        std::size_t size = 1;
        while (size < bytes.size() && (static_cast<unsigned char>(bytes[size]) & 0xC0) == 0x80)
            ++size;
        auto& line = lines_.at(row_);
        if (column_ == 0) // lines are always written whole
            line.clear();
        line += bytes.substr(0, size);
        if (++column_ > width_)
            throw std::runtime_error("past the right edge: " + line);
        return size;
    }

    std::size_t width_;
    std::vector<std::string> lines_;
    std::vector<std::string> other_;
    std::size_t row_ = 0;
    std::size_t other_row_ = 0;
    std::size_t column_ = 0;
    std::size_t other_column_ = 0;
    bool alternate_ = false;
    bool cursor_ = true;
    bool wraps_ = true;
};

} // namespace holdfast::test
