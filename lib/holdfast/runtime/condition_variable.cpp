#include <holdfast/runtime/condition_variable.hpp>

#include <holdfast/runtime/cancellation.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>
#include <utility>

namespace holdfast {

net::awaitable<void> condition_variable::wait(time_point until) {
    return wait_in(world_, waiting_, until);
}

net::awaitable<void> condition_variable::wait_in(runtime world, std::shared_ptr<waiters> all,
                                                 time_point until) {
    const auto me = all->emplace(all->end(), world.clock(), world.executor());
    // The place in the list goes with the coroutine's frame, also when that is destroyed while it waits.
    struct departure {
        waiters& all;
        waiters::iterator me;
        ~departure() { all.erase(me); }
    } const departure{*all, me};
    me->expires_at(until);
    co_await me->async_wait(net::as_tuple(net::use_awaitable));
    co_await throw_if_cancelled();
}

void condition_variable::notify_all() noexcept {
    for (auto& each : *waiting_)
        each.cancel();
}

} // namespace holdfast
