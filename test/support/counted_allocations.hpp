// Counts what `new` gives in the whole program. It defines the global operators: one file of a program has
// it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace holdfast::test {

std::atomic<std::size_t> allocations{0};
std::atomic<std::size_t> allocated_bytes{0};

} // namespace holdfast::test

void* operator new(std::size_t size) {
    ++holdfast::test::allocations;
    holdfast::test::allocated_bytes += size;
    if (void* const p = std::malloc(size > 0 ? size : 1))
        return p;
    throw std::bad_alloc();
}
void operator delete(void* p) noexcept {
    std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
    std::free(p);
}
