// What must not outlive the execution context that it uses: timers, sockets, strands. Not for users.
#pragma once

#include <boost/asio/any_io_executor.hpp>

#include <memory>

namespace holdfast::detail {

namespace net = boost::asio;

/// Released when its context begins to be destroyed, unless it was destroyed before; it may be held on, but
/// is of no use then.
///
/// Thread safety: distinct objects safe. release() runs in the thread that destroys the context.
class context_bound {
public:
    /// Bound to the context of `executor`, which must be alive.
    explicit context_bound(const net::any_io_executor& executor);
    virtual ~context_bound();
    context_bound(const context_bound&) = delete;
    context_bound& operator=(const context_bound&) = delete;

protected:
    /// The context is about to release all that is bound to it. Must do nothing else than note that.
    virtual void announce() noexcept {}
    /// Lets go of what belongs to the context. The last call; the object may be destroyed within it.
    virtual void release() noexcept = 0;

    /// Neither is called any more. A destructor that destroys something of which they know calls it first.
    void leave() noexcept;

private:
    friend struct bound_objects;
    std::shared_ptr<struct bound_objects> all_;
    context_bound* previous_ = nullptr;
    context_bound* next_ = nullptr;
};

} // namespace holdfast::detail
