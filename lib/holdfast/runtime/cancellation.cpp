#include <holdfast/runtime/cancellation.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>

namespace holdfast {

net::awaitable<void> throw_if_cancelled() {
    // Named first: g++ 12 miscompiles a member of what is awaited inside a condition.
    const auto state = co_await net::this_coro::cancellation_state;
    if (state.cancelled() != net::cancellation_type::none)
        throw boost::system::system_error(net::error::operation_aborted);
}

bool detail::is_abort(const std::exception_ptr& thrown) noexcept {
    if (!thrown)
        return false;
    try {
        std::rethrow_exception(thrown);
    } catch (const boost::system::system_error& e) {
        return e.code() == net::error::operation_aborted;
    } catch (...) {
        return false;
    }
}

} // namespace holdfast
