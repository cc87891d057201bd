#include <holdfast/runtime/context_bound.hpp>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/query.hpp>

#include <mutex>
#include <stdexcept>

namespace holdfast::detail {

// A list through the objects themselves, the oldest first: timers come and go with each wait.
struct bound_objects {
    std::mutex mutex;
    context_bound* first = nullptr;
    context_bound* last = nullptr;

    void add(context_bound& one) noexcept {
        const std::lock_guard lock(mutex);
        one.previous_ = last;
        (last ? last->next_ : first) = &one;
        last = &one;
    }

    /// Under the lock.
    void unlink(context_bound& one) noexcept {
        if (!one.previous_ && first != &one)
            return; // released already
        (one.previous_ ? one.previous_->next_ : first) = one.next_;
        (one.next_ ? one.next_->previous_ : last) = one.previous_;
        one.previous_ = one.next_ = nullptr;
    }

    void remove(context_bound& one) noexcept {
        const std::lock_guard lock(mutex);
        unlink(one);
    }

    context_bound* take() noexcept {
        const std::lock_guard lock(mutex);
        const auto one = first;
        if (one)
            unlink(*one);
        return one;
    }

    void release_all() noexcept {
        {
            const std::lock_guard lock(mutex);
            for (auto* each = first; each; each = each->next_)
                each->announce();
        }
        while (auto* one = take())
            one->release();
    }
};

namespace {

class release_service final : public net::execution_context::service {
public:
    static inline net::execution_context::id id;

    explicit release_service(net::execution_context& context) : service(context) {}

    std::shared_ptr<bound_objects> all = std::make_shared<bound_objects>();

private:
    void shutdown() override { all->release_all(); }
};

net::execution_context& context_of(const net::any_io_executor& executor) {
    if (!executor)
        throw std::logic_error("its io_context was destroyed");
    return net::query(executor, net::execution::context);
}

} // namespace

context_bound::context_bound(const net::any_io_executor& executor)
    : all_(net::use_service<release_service>(context_of(executor)).all) {
    all_->add(*this);
}

context_bound::~context_bound() {
    leave();
}

void context_bound::leave() noexcept {
    all_->remove(*this);
}

} // namespace holdfast::detail
