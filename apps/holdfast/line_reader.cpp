#include "line_reader.hpp"

#include <boost/asio/post.hpp>

#include <iostream>
#include <mutex>
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
    std::thread([self = shared_] {
        std::string line;
        while (std::getline(std::cin, line))
            if (!shared::hand_over(self, line))
                return;
        shared::hand_over(self, std::nullopt);
    }).detach();
}

} // namespace holdfast::app
