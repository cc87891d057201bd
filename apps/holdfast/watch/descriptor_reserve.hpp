// Descriptors kept back for the moment when the process has no others left.
#pragma once

#include <cstddef>
#include <vector>

namespace holdfast::app {

/// Holds up to `most` descriptors open for nothing, so that one of them can be exchanged for a connection
/// while every other descriptor of the process is in use.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class descriptor_reserve {
public:
    explicit descriptor_reserve(std::size_t most);
    ~descriptor_reserve();
    descriptor_reserve(const descriptor_reserve&) = delete;
    descriptor_reserve& operator=(const descriptor_reserve&) = delete;

    /// Closes one of them. @return false: there is none
    bool release() noexcept;
    /// Opens as many again as the system allows.
    void fill();

    [[nodiscard]] std::size_t size() const noexcept { return held_.size(); }

private:
    std::size_t most_;
    std::vector<int> held_;
};

/// Raises the soft limit of open descriptors to the hard one, at most to 65,536.
void raise_descriptor_limit() noexcept;

} // namespace holdfast::app
