// Lines from stdin for an io_context. A thread of its own reads them, since stdin may be a file, a pipe or a
// terminal, and not all of these can be waited for otherwise.
#pragma once

#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace holdfast::app {

class line_reader {
public:
    /// `on_line` is called on `io` for each line, and once with nullopt at the end of input.
    line_reader(boost::asio::io_context& io, std::function<void(std::optional<std::string>)> on_line);
    ~line_reader();

    /// Begins to read. Idempotent.
    void start();

private:
    struct shared;
    std::shared_ptr<shared> shared_;
};

} // namespace holdfast::app
