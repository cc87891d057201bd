// --record: what came, as it came, for `holdfast cat`.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace holdfast::app {

/// Writes the bodies of one stream's connections to a file, one after the other. An event that a connection
/// leaves unfinished is dropped when the next one begins, and so is the byte order mark of that: reading the
/// file tells the events that the stream told.
class recorder {
public:
    /// Makes the file, for its owner alone to read. One that holds something is not touched, unless
    /// `replace`: then it is emptied. A symbolic link is not followed. A device or a pipe is written to as it
    /// is.
    explicit recorder(std::string path, bool replace = false);
    ~recorder();
    recorder(const recorder&) = delete;
    recorder& operator=(const recorder&) = delete;

    /// Another body begins.
    void begin();
    void add(std::string_view piece);
    /// The last body has ended: what it left unfinished is written too.
    void end();

    /// Why the file cannot be written, in words for a person; empty as long as it can.
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

private:
    void open(bool replace);
    void scan(std::string_view piece);
    void write(std::string_view bytes);
    void fail(int why);

    std::string path_;
    int descriptor_ = -1;
    std::string error_;

    std::string kept_;      // not written yet
    std::size_t whole_ = 0; // of these, up to the end of the last blank line
    bool blank_ = true;     // nothing has come on this line
    bool after_cr_ = false; // an LF that comes next belongs to the CR before it
    bool at_start_ = true;  // nothing of this body was written
    bool empty_ = true;     // nothing at all was
};

} // namespace holdfast::app
