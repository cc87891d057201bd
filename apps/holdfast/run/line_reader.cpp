#include "run/line_reader.hpp"

#include "input.hpp"

#include <boost/asio/post.hpp>

#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

namespace holdfast::app {

struct line_reader::shared {
    std::mutex mutex;
    boost::asio::io_context* io = nullptr; // null: the reader is gone
    std::function<void(std::optional<std::string>)> on_line;
    bool started = false;

    // Called by the thread, which may outlive the io_context: blocked in a read, it cannot be joined.
    static bool hand_over(const std::shared_ptr<shared>& self, std::optional<std::string> line) {
        const std::lock_guard lock(self->mutex);
        if (!self->io)
            return false;
        auto call = [self, line = std::move(line)]() mutable {
            if (self->io)
                self->on_line(std::move(line));
        };
        boost::asio::post(*self->io, std::move(call));
        return true;
    }

    // Not by std::cin: a program that ends while a thread waits in it may wait for that thread's lock.
    static void read(const std::shared_ptr<shared>& self) {
        input in("-");
        std::string line;
        for (auto block = in.read(); !block.empty(); block = in.read()) {
            for (auto end = block.find('\n'); end != std::string_view::npos; end = block.find('\n')) {
                line += block.substr(0, end);
                block.remove_prefix(end + 1);
                if (!hand_over(self, std::exchange(line, {})))
                    return;
            }
            line += block;
        }
        if (line.empty() || hand_over(self, std::move(line)))
            hand_over(self, std::nullopt);
    }
};

line_reader::line_reader(boost::asio::io_context& io, std::function<void(std::optional<std::string>)> on_line)
    : shared_(std::make_shared<shared>()) {
    shared_->io = &io;
    shared_->on_line = std::move(on_line);
}

line_reader::~line_reader() {
    const std::lock_guard lock(shared_->mutex);
    shared_->io = nullptr;
}

void line_reader::start() {
    if (std::exchange(shared_->started, true))
        return;
    std::thread([self = shared_] { shared::read(self); }).detach();
}

} // namespace holdfast::app
