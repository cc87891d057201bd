// Where the last event id outlives the process.
//
//     config.ids = stream::make_file_id_store(make_system_files(), "/var/lib/mine/last_id");
#pragma once

#include <holdfast/retry/failure.hpp>
#include <holdfast/runtime/files.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace holdfast::stream {

/// Keeps one stream's last event id; see source_config::ids for when. Confined to the source's executor, on
/// which its functions are called; they may block, and the stream waits meanwhile.
class id_store {
public:
    virtual ~id_store() = default;

    /// The id to begin with; empty: there is none.
    [[nodiscard]] virtual result<std::string> load() = 0;
    /// Returns when `id` would be load()ed even after a loss of power. Empty: the stream has none any more.
    [[nodiscard]] virtual result<void> store(const std::string& id) = 0;
};

/// The most bytes that a file of an id may have.
inline constexpr std::size_t max_id_file = 64u << 10;

/// A file that holds the id and an LF, by replace_file(): mode 0600, the old id or the new whatever happens.
/// No file, or one of an LF alone, is no id. Errors: errc::local, also for a file that holds no id (a line
/// end or a NUL within, more than `max_id_file` bytes), which is never taken for one.
///
/// Each store() blocks the executor for two syncs, of the file and of its folder. Where ids come by the
/// hundred a second, or others wait on that executor, let a store of your own keep every n-th id, or hand it
/// to a thread.
[[nodiscard]] std::shared_ptr<id_store> make_file_id_store(std::unique_ptr<files> by, std::string path);

} // namespace holdfast::stream
