#include <holdfast/runtime/files.hpp>

#include <holdfast/runtime/descriptor.hpp>

#include <boost/system/error_code.hpp>

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holdfast {
namespace {

failure by_errno(const char* what, const std::string& path) {
    const error_code why(errno, boost::system::system_category());
    auto f = retry::make_failure(errc::local);
    f.message = std::string("cannot ") + what + ' ' + path + ": " + why.message();
    return f;
}

using detail::descriptor;

std::string folder_of(const std::string& path) {
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos)
        return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

class system_files final : public files {
public:
    result<std::optional<std::string>> read(const std::string& path, std::size_t most) override {
        const descriptor file(
            ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)); // never waits for a FIFO
        if (file.get() < 0 && errno == ENOENT)
            return std::optional<std::string>();
        if (file.get() < 0)
            return by_errno("read", path);
        std::string all;
        char piece[4096];
        for (;;) {
            const auto got = ::read(file.get(), piece, sizeof piece);
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                return by_errno("read", path);
            if (got == 0)
                return std::optional(std::move(all));
            all.append(piece, static_cast<std::size_t>(got));
            if (all.size() > most) {
                errno = EFBIG;
                return by_errno("read", path);
            }
        }
    }

    result<void> create(const std::string& path, std::string_view bytes) override {
        const descriptor file(
            ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
        if (file.get() < 0)
            return by_errno("create", path);
        while (!bytes.empty()) {
            const auto put = ::write(file.get(), bytes.data(), bytes.size());
            if (put < 0 && errno != EINTR)
                return by_errno("write", path);
            if (put > 0)
                bytes.remove_prefix(static_cast<std::size_t>(put));
        }
        if (::fsync(file.get()) != 0)
            return by_errno("write", path);
        return {};
    }

    result<void> rename(const std::string& from, const std::string& to) override {
        if (::rename(from.c_str(), to.c_str()) != 0)
            return by_errno("replace", to);
        return {};
    }

    result<void> sync_folder_of(const std::string& path) override {
        const auto folder = folder_of(path);
        const descriptor open(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (open.get() < 0 || ::fsync(open.get()) != 0)
            return by_errno("sync the folder of", path);
        return {};
    }

    void remove(const std::string& path) noexcept override { ::unlink(path.c_str()); }
};

} // namespace

std::unique_ptr<files> make_system_files() {
    return std::make_unique<system_files>();
}

result<void> replace_file(files& by, const std::string& path, std::string_view bytes) {
    const auto fresh = path + ".tmp";
    by.remove(fresh);
    auto done = by.create(fresh, bytes);
    if (done)
        done = by.rename(fresh, path);
    if (!done) {
        by.remove(fresh);
        return done;
    }
    return by.sync_folder_of(path);
}

} // namespace holdfast
