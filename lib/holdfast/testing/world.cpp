#include <holdfast/testing/world.hpp>

#include <algorithm>

namespace holdfast::testing {

world::parts::parts(net::io_context& io)
    : clock(std::make_unique<virtual_clock>()),
      network(std::make_unique<memory_network>(*clock, io.get_executor())) {}

world::world(std::uint64_t seed, shared_limits limits)
    : parts_(io_), clock_(parts_.clock.get()), network_(parts_.network.get()),
      runtime_(
          io_.get_executor(), std::move(parts_.clock), std::move(parts_.network), seed,
          [this](const log_record& record) {
              logs_.push_back(record);
              if (log_)
                  log_(record);
          },
          limits) {}

world::~world() = default;

void world::settle() {
    constexpr std::size_t for_ever = 5'000'000;
    io_.restart();
    for (std::size_t handlers = 0; io_.poll_one() != 0; ++handlers) {
        if (handlers == for_ever)
            throw restless();
        if (handler_)
            handler_();
    }
    if (step_)
        step_();
}

void world::run_until(const std::function<bool()>& done, duration limit) {
    const auto end = later(clock_->now(), limit);
    for (settle(); !done(); settle()) {
        const auto next = clock_->next_expiry();
        if (!next || *next > end)
            throw stuck();
        clock_->advance_to(*next);
    }
}

void world::run_for(duration d) {
    const auto end = later(clock_->now(), d);
    for (settle();; settle()) {
        const auto next = clock_->next_expiry();
        clock_->advance_to(next ? std::min(*next, end) : end);
        if (!next || *next > end)
            break;
    }
    settle();
}

void world::run(net::awaitable<void> body) {
    std::exception_ptr error;
    bool done = false;
    net::co_spawn(io_, std::move(body), [&](std::exception_ptr e) {
        error = e;
        done = true;
    });
    run_until([&] { return done; });
    if (error)
        std::rethrow_exception(error);
}

} // namespace holdfast::testing
