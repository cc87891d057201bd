// Output that waits for nobody: a bounded queue, written by a thread of its own.
#pragma once

#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace holdfast::app {

/// Queues pieces of output for a descriptor that it does not own; SIGPIPE must be ignored. push() never
/// blocks: what does not fit is dropped, a whole piece at a time, until half of the queue is free again; what
/// `gap` makes of the number of dropped pieces is then written in their place.
///
/// The thread outlives the queue only while a write() in it blocks, and takes no signals.
///
/// Thread safety: confined to one thread.
class output_queue {
public:
    using gap_words = std::function<std::string(std::size_t dropped)>;

    output_queue(int descriptor, std::size_t most_bytes, gap_words gap);
    /// Does not wait for what is still queued: see drain().
    ~output_queue();
    output_queue(const output_queue&) = delete;
    output_queue& operator=(const output_queue&) = delete;

    /// After an error it does nothing.
    void push(std::string_view piece);

    /// All that was pushed has been written, or never will be.
    [[nodiscard]] bool idle() const;

    /// Waits until idle(), while `go_on` says so; it is asked every 20 ms. @return idle()
    bool drain(const std::function<bool()>& go_on);

    /// Why nothing more is written. A reader that went away is noticed within a second, also when nothing is
    /// pushed.
    [[nodiscard]] boost::system::error_code error() const;

private:
    struct shared;
    static void write_all(const std::shared_ptr<shared>& state);

    std::shared_ptr<shared> shared_;
};

} // namespace holdfast::app
