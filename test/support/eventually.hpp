// Waiting for what another thread or process will bring about.
#pragma once

#include <chrono>
#include <thread>

namespace holdfast::test {

/// Asks every 5 ms. @return whether `condition()` became true within the deadline.
template <typename Condition>
bool eventually(Condition condition, std::chrono::milliseconds deadline) {
    const auto until = std::chrono::steady_clock::now() + deadline;
    while (!condition()) {
        if (std::chrono::steady_clock::now() >= until) {
            return false;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

} // namespace holdfast::test
