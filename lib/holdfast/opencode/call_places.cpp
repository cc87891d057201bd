#include <holdfast/opencode/call_places.hpp>

namespace holdfast::opencode {

net::awaitable<place_pool::place> place_pool::take() {
    const auto self = shared_from_this();
    if (free_ > 0) {
        --free_;
        co_return place(self);
    }
    const auto me = std::make_shared<waiter>(world_);
    const auto at = waiting_.insert(waiting_.end(), me);
    struct leaving { // also when it is cancelled
        place_pool& pool;
        waiter& me;
        std::list<std::shared_ptr<waiter>>::iterator at;
        bool done = false;
        ~leaving() {
            if (!me.given)
                pool.waiting_.erase(at);
            else if (!done)
                pool.give_back();
        }
    } leave{*this, *me, at};
    while (!me->given)
        co_await me->changed.wait();
    leave.done = true;
    co_return place(self);
}

void place_pool::give_back() noexcept {
    if (waiting_.empty()) {
        ++free_;
        return;
    }
    const auto next = std::move(waiting_.front());
    waiting_.pop_front();
    next->given = true;
    next->changed.notify_all();
}

} // namespace holdfast::opencode
