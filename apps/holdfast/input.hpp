// A file or stdin, read in blocks.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::app {

/// Thread safety: distinct objects safe, shared objects unsafe.
class input {
public:
    /// Opens a file; "-" is stdin. Whether that worked shows at the first read().
    explicit input(const std::string& path);
    ~input();
    input(const input&) = delete;
    input& operator=(const input&) = delete;

    /// The next bytes, as many as are there, valid until the next call. Empty at the end and after an error.
    [[nodiscard]] std::string_view read();

    /// Why the input cannot be read, in words for a person; empty as long as it can.
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

private:
    void fail(int why);

    std::string name_;
    int descriptor_;
    std::string error_;
    std::vector<char> block_;
};

/// Reads a file ("-": stdin) whole. @return why it cannot be read, also when it holds more than `most` bytes;
/// empty: it was read
[[nodiscard]] std::string read_all(const std::string& path, std::size_t most, std::string& into);

} // namespace holdfast::app
