#include <holdfast/runtime/task_scope.hpp>

#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>

#include <cassert>
#include <map>
#include <utility>
#include <vector>

namespace holdfast {

struct task_scope::shared {
    struct child_state {
        std::unique_ptr<net::cancellation_signal> signal = std::make_unique<net::cancellation_signal>();
        bool cancelled = false;
    };

    shared(const runtime& w, error_handler h) : world(w), on_error(std::move(h)), empty(w) {}

    runtime world;
    error_handler on_error;
    condition_variable empty;
    std::map<id, child_state> children;
    id next = 1;
    bool cancelled = false;

    void ended(id child, std::exception_ptr error) {
        const auto found = children.extract(child);
        const bool as_asked = found.mapped().cancelled && detail::is_abort(error);
        if (children.empty())
            empty.notify_all();
        if (error && !as_asked && on_error)
            on_error(std::move(error));
    }

    // One that is destroyed with its context ends without being called.
    void lost(id child) noexcept {
        if (children.erase(child) != 0 && children.empty())
            empty.notify_all();
    }
};

task_scope::task_scope(const runtime& world, error_handler on_error)
    : shared_(std::make_shared<shared>(world, std::move(on_error))) {}

task_scope::~task_scope() {
    assert(shared_->children.empty() || shared_->world.ended());
}

task_scope::id task_scope::spawn(net::awaitable<void> child) {
    if (shared_->cancelled || shared_->world.ended())
        return 0;
    const id name = shared_->next++;
    const auto slot = shared_->children[name].signal->slot();
    std::shared_ptr<void> presence(nullptr, [state = shared_, name](std::nullptr_t) { state->lost(name); });
    auto on_end = [state = shared_, name, presence = std::move(presence)](std::exception_ptr error) {
        state->ended(name, error);
    };
    net::co_spawn(shared_->world.executor(), detail::suspended_first<void>(std::move(child)),
                  net::bind_cancellation_slot(slot, std::move(on_end)));
    return name;
}

void task_scope::cancel(id child) {
    const auto found = shared_->children.find(child);
    if (found == shared_->children.end() || shared_->world.ended())
        return;
    found->second.cancelled = true;
    found->second.signal->emit(net::cancellation_type::terminal);
}

void task_scope::cancel() noexcept {
    shared_->cancelled = true;
    std::vector<id> names;
    for (const auto& [name, state] : shared_->children)
        names.push_back(name);
    for (const id name : names)
        cancel(name);
}

net::awaitable<void> task_scope::join() {
    const auto state = shared_;
    while (!state->children.empty())
        co_await state->empty.wait();
}

std::size_t task_scope::size() const noexcept {
    return shared_->children.size();
}

} // namespace holdfast
