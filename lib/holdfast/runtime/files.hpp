// Files, real or simulated, behind one interface: small ones, read and replaced as a whole.
#pragma once

#include <holdfast/retry/failure.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast {

/// The steps that replace_file() is made of. All of them block, for as long as the disk takes. Errors are of
/// errc::local, and name the path and the system's reason.
///
/// Thread safety: that of the system's: different paths on different threads.
class files {
public:
    virtual ~files() = default;

    /// The whole of a file; nothing: there is none. A file of more than `most` bytes is an error.
    [[nodiscard]] virtual result<std::optional<std::string>> read(const std::string& path,
                                                                  std::size_t most) = 0;
    /// Makes a file, for its owner alone (mode 0600), and returns when its bytes are on the disk. That it is
    /// there already is an error. One that failed may leave a part.
    [[nodiscard]] virtual result<void> create(const std::string& path, std::string_view bytes) = 0;
    /// Gives a file another name in the same folder, in place of what has it.
    [[nodiscard]] virtual result<void> rename(const std::string& from, const std::string& to) = 0;
    /// Returns when the names in the folder of `path` are on the disk.
    [[nodiscard]] virtual result<void> sync_folder_of(const std::string& path) = 0;
    /// Removes a file, where there is one.
    virtual void remove(const std::string& path) noexcept = 0;
};

/// Those of the system.
[[nodiscard]] std::unique_ptr<files> make_system_files();

/// Replaces the content of a file: whatever happens, a loss of power too, it holds the old content or the
/// new, and, once this has returned without an error, the new. It is written to `path`.tmp first; what a
/// process that ended left there is removed. Errors: those of the steps; the old content stays, unless the
/// last step, the sync of the folder, is what failed.
[[nodiscard]] result<void> replace_file(files& by, const std::string& path, std::string_view bytes);

} // namespace holdfast
