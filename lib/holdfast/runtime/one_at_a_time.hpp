// Calls of which one may be pending at a time. Included by headers that users include.
#pragma once

#include <stdexcept>

namespace holdfast::detail {

class one_at_a_time {
public:
    /// Held while the call is pending. Throws std::logic_error when another one is.
    class call {
    public:
        call(one_at_a_time& of, const char* otherwise) : of_(of) {
            if (of.taken_)
                throw std::logic_error(otherwise);
            of.taken_ = true;
        }
        ~call() { of_.taken_ = false; }
        call(const call&) = delete;
        call& operator=(const call&) = delete;

    private:
        one_at_a_time& of_;
    };

    [[nodiscard]] bool pending() const noexcept { return taken_; }

private:
    bool taken_ = false;
};

} // namespace holdfast::detail
