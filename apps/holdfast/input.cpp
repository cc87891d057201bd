#include "input.hpp"

#include <cerrno>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>

namespace holdfast::app {
namespace {

std::string size_text(std::size_t bytes) {
    return bytes % (1u << 20) == 0 ? std::to_string(bytes >> 20) + " MiB"
                                   : std::to_string(bytes >> 10) + " KiB";
}

} // namespace

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

std::string read_all(const std::string& path, std::size_t most, std::string& into) {
    input in(path);
    for (auto block = in.read(); !block.empty(); block = in.read()) {
        if (block.size() > most - into.size())
            return (path == "-" ? "stdin" : path) + " holds more than " + size_text(most);
        into += block;
    }
    return in.error();
}

} // namespace holdfast::app
