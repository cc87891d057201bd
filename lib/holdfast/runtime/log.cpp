#include <holdfast/runtime/log.hpp>

#include <exception>

namespace holdfast {

std::string what_of(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "not a std::exception";
    }
}

} // namespace holdfast
