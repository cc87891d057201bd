// A file descriptor that closes itself. Not for users.
#pragma once

#include <unistd.h>

#include <utility>

namespace holdfast::detail {

class descriptor {
public:
    descriptor() = default;
    explicit descriptor(int number) noexcept : number_(number) {}
    descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    descriptor& operator=(descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~descriptor() { close(); }

    /// Negative: there is none.
    [[nodiscard]] int get() const noexcept { return number_; }
    void close() noexcept {
        if (number_ >= 0)
            ::close(std::exchange(number_, -1));
    }

private:
    int number_ = -1;
};

} // namespace holdfast::detail
