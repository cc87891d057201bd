#include "recorder.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace holdfast::app {

namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

} // namespace

recorder::recorder(std::string path, bool replace) : path_(std::move(path)) {
    open(replace);
}

void recorder::open(bool replace) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat file{};
    if (descriptor_ < 0 && errno == ELOOP) {
        error_ = "cannot write " + path_ + ": it is a symbolic link, which is not followed";
        return;
    }
    if (descriptor_ < 0 || ::fstat(descriptor_, &file) != 0)
        return fail(errno);
    if (!S_ISREG(file.st_mode))
        return;
    if (file.st_size != 0 && !replace)
        error_ = path_ + " holds something already; --force replaces it";
    else if (::ftruncate(descriptor_, 0) != 0)
        fail(errno);
}

recorder::~recorder() {
    if (descriptor_ >= 0)
        ::close(descriptor_);
}

void recorder::begin() {
    kept_.clear();
    whole_ = 0;
    blank_ = at_start_ = true;
    after_cr_ = false;
}

void recorder::add(std::string_view piece) {
    scan(piece);
    if (whole_ == 0)
        return;
    std::string_view ready = std::string_view(kept_).substr(0, whole_);
    if (std::exchange(at_start_, false) && !empty_ && ready.starts_with(byte_order_mark))
        ready.remove_prefix(byte_order_mark.size());
    empty_ = false;
    write(ready);
    kept_.erase(0, whole_);
    whole_ = 0;
}

void recorder::end() {
    write(kept_);
    kept_.clear();
}

// A blank line ends an event, or nothing; an LF after its CR is a part of it.
void recorder::scan(std::string_view piece) {
    for (const char c : piece) {
        const std::size_t begin = kept_.size();
        kept_ += c;
        if (c == '\n' && std::exchange(after_cr_, false)) {
            if (whole_ == begin)
                whole_ = begin + 1;
            continue;
        }
        after_cr_ = c == '\r';
        const bool ends_line = c == '\n' || c == '\r';
        if (ends_line && blank_)
            whole_ = begin + 1;
        blank_ = ends_line;
    }
}

void recorder::write(std::string_view bytes) {
    while (error_.empty() && !bytes.empty()) {
        const ssize_t size = ::write(descriptor_, bytes.data(), bytes.size());
        if (size >= 0)
            bytes.remove_prefix(static_cast<std::size_t>(size));
        else if (errno != EINTR)
            fail(errno);
    }
}

void recorder::fail(int why) {
    error_ = "cannot write " + path_ + ": " + std::generic_category().message(why);
}

} // namespace holdfast::app
