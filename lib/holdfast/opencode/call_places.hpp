// How many calls to one server are under way at once, and how many of those bring much: what keeps one
// server, whatever it does, from using up the descriptors and the memory of all.
#pragma once

#include <holdfast/runtime/condition_variable.hpp>

#include <cstddef>
#include <list>
#include <memory>
#include <utility>

namespace holdfast::opencode {

/// So many places; who finds none waits for one, in the order of coming.
///
/// Thread safety: confined to its runtime's executor. Owned by shared_ptr: places keep it alive.
class place_pool : public std::enable_shared_from_this<place_pool> {
public:
    /// At least one.
    place_pool(const runtime& world, std::size_t places) : world_(world), free_(places == 0 ? 1 : places) {}

    /// Given back when it is destroyed.
    class place {
    public:
        place() = default;
        explicit place(std::shared_ptr<place_pool> of) noexcept : of_(std::move(of)) {}
        place(place&& other) noexcept : of_(std::move(other.of_)) {}
        place& operator=(place&& other) noexcept {
            std::swap(of_, other.of_);
            return *this;
        }
        ~place() {
            if (of_)
                of_->give_back();
        }
        [[nodiscard]] bool held() const noexcept { return of_ != nullptr; }

    private:
        std::shared_ptr<place_pool> of_;
    };

    /// Cancellation (terminal): operation_aborted; no place is lost.
    [[nodiscard]] net::awaitable<place> take();

private:
    struct waiter {
        explicit waiter(const runtime& world) : changed(world) {}
        condition_variable changed;
        bool given = false;
    };

    void give_back() noexcept;

    runtime world_;
    std::size_t free_;
    std::list<std::shared_ptr<waiter>> waiting_;
};

/// What all calls to one server share.
struct call_places {
    call_places(const runtime& world, std::size_t reads_at_once, std::size_t large_at_once)
        : reads(std::make_shared<place_pool>(world, reads_at_once)),
          large(std::make_shared<place_pool>(world, large_at_once)) {}

    std::shared_ptr<place_pool> reads; ///< of calls that only ask; the others never wait
    std::shared_ptr<place_pool> large; ///< of those, whose answer has more than large_answer bytes
};

inline constexpr std::size_t large_answer = 1u << 20;

} // namespace holdfast::opencode
