#include "input.hpp"

#include <cerrno>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>

namespace holdfast::app {

input::input(const std::string& path)
    : name_(path == "-" ? "stdin" : path),
      descriptor_(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC)),
      block_(64 * 1024) {
    if (descriptor_ < 0)
        fail(errno);
}

input::~input() {
    if (descriptor_ > STDIN_FILENO)
        ::close(descriptor_);
}

std::string_view input::read() {
    while (error_.empty()) {
        const ssize_t size = ::read(descriptor_, block_.data(), block_.size());
        if (size >= 0)
            return {block_.data(), static_cast<std::size_t>(size)};
        if (errno != EINTR)
            fail(errno);
    }
    return {};
}

void input::fail(int why) {
    error_ = "cannot read " + name_ + ": " + std::generic_category().message(why);
}

} // namespace holdfast::app
