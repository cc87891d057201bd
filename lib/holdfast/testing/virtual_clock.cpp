#include <holdfast/testing/virtual_clock.hpp>

#include <holdfast/runtime/context_bound.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

namespace holdfast::testing {

using handler_type = net::any_completion_handler<void(boost::system::error_code)>;

// Pending waits by expiry; equal times keep the order in which they began.
struct virtual_clock::state : std::enable_shared_from_this<virtual_clock::state> {
    struct key {
        time_point expiry;
        std::uint64_t order = 0;
        friend auto operator<=>(const key&, const key&) = default;
    };
    struct wait {
        net::any_io_executor executor;
        handler_type handler;
    };

    time_point start{std::chrono::hours(24)};
    time_point now = start;
    wall_time wall_start;
    std::map<key, wait> pending;
    std::uint64_t next = 1;

    // Waits are held here, and not by their context: they must not outlive it.
    class of_context final : holdfast::detail::context_bound {
    public:
        of_context(state& world, const net::any_io_executor& executor)
            : context_bound(executor), world_(world), where_(net::query(executor, net::execution::context)) {}
        ~of_context() override { leave(); }

    private:
        void release() noexcept override { world_.context_ends(where_); }

        state& world_;
        net::execution_context& where_;
    };
    std::map<const net::execution_context*, std::unique_ptr<of_context>> contexts;

    void bind(const net::any_io_executor& executor) {
        auto& bound = contexts[&net::query(executor, net::execution::context)];
        if (!bound)
            bound = std::make_unique<of_context>(*this, executor);
    }

    // Handlers may own what holds this state, and timers that look into it as they go.
    void context_ends(const net::execution_context& which) {
        const auto self = shared_from_this();
        std::map<key, wait> abandoned;
        for (auto each = pending.begin(); each != pending.end();) {
            const auto at = each++;
            if (&net::query(at->second.executor, net::execution::context) == &which)
                abandoned.insert(pending.extract(at));
        }
        const auto ended = contexts.extract(&which);
    }

    // Ends one wait, if it is still there: never inline, the completion is posted.
    void finish(const key& which, boost::system::error_code ec) {
        auto found = pending.extract(which);
        if (!found.empty())
            post(std::move(found.mapped()), ec);
    }

    static void post(wait done, boost::system::error_code ec) {
        auto slot = net::get_associated_cancellation_slot(done.handler);
        if (slot.is_connected())
            slot.clear();
        auto call = [handler = std::move(done.handler), ec]() mutable {
            std::move(handler)(ec);
        };
        net::post(done.executor, std::move(call));
    }
};

namespace {

class virtual_timer final : public timer_base {
public:
    virtual_timer(std::shared_ptr<virtual_clock::state> world, net::any_io_executor executor)
        : world_(std::move(world)), executor_(std::move(executor)) {}

    ~virtual_timer() override { cancel(); }

    void expires_at(time_point when) override {
        cancel();
        expiry_ = when;
    }

    void cancel() noexcept override { world_->finish(waiting_, net::error::operation_aborted); }

    void async_wait(handler_type handler) override {
        auto slot = net::get_associated_cancellation_slot(handler);
        virtual_clock::state::wait mine{executor_, std::move(handler)};
        if (expiry_ <= world_->now)
            return virtual_clock::state::post(std::move(mine), {});
        waiting_ = {expiry_, world_->next++};
        if (slot.is_connected())
            slot.assign([weak = std::weak_ptr(world_), which = waiting_](net::cancellation_type) {
                if (const auto world = weak.lock())
                    world->finish(which, net::error::operation_aborted);
            });
        world_->pending.emplace(waiting_, std::move(mine));
    }

private:
    std::shared_ptr<virtual_clock::state> world_;
    net::any_io_executor executor_;
    time_point expiry_{};
    virtual_clock::state::key waiting_{};
};

} // namespace

virtual_clock::virtual_clock(wall_time wall_start) : state_(std::make_shared<state>()) {
    state_->wall_start = wall_start;
}

virtual_clock::~virtual_clock() {
    // Handlers may own what holds this clock's state, and timers that look into it as they go: let go of all
    // at once.
    const auto abandoned = std::exchange(state_->pending, {});
}

time_point virtual_clock::now() const {
    return state_->now;
}

wall_time virtual_clock::wall_now() const {
    return state_->wall_start + std::chrono::duration_cast<wall_time::duration>(state_->now - state_->start);
}

std::unique_ptr<timer_base> virtual_clock::make_timer(net::any_io_executor executor) {
    if (!executor)
        throw std::logic_error("its io_context was destroyed");
    state_->bind(executor);
    return std::make_unique<virtual_timer>(state_, std::move(executor));
}

std::optional<time_point> virtual_clock::next_expiry() const {
    if (state_->pending.empty() || state_->pending.begin()->first.expiry == time_point::max())
        return std::nullopt;
    return state_->pending.begin()->first.expiry;
}

void virtual_clock::advance_to(time_point when) {
    state_->now = std::max(state_->now, when);
    while (!state_->pending.empty() && state_->pending.begin()->first.expiry <= state_->now)
        state_->finish(state_->pending.begin()->first, {});
}

std::size_t virtual_clock::pending() const noexcept {
    return state_->pending.size();
}

} // namespace holdfast::testing
