#include "watch/descriptor_reserve.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace holdfast::app {

descriptor_reserve::descriptor_reserve(std::size_t most) : most_(most) {
    held_.reserve(most);
    fill();
}

descriptor_reserve::~descriptor_reserve() {
    while (release()) {
    }
}

bool descriptor_reserve::release() noexcept {
    if (held_.empty())
        return false;
    ::close(held_.back());
    held_.pop_back();
    return true;
}

void descriptor_reserve::fill() {
    while (held_.size() < most_) {
        const int one = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (one < 0)
            return;
        held_.push_back(one);
    }
}

void raise_descriptor_limit() noexcept {
    constexpr rlim_t enough = 65536;
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    const auto wanted = std::min(limit.rlim_max, enough);
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

} // namespace holdfast::app
