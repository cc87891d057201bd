#include <holdfast/opencode/protocol/v2/dialect.hpp>

namespace holdfast::opencode::v2 {

namespace {

constexpr dialect current{"current 2.x", "/api/info", "/inbox", "decision", "/api/form",
                          true,          true,        true,     true,       true};
// What is not told of it is as in the server from whose sources it was made, but for the inbox.
constexpr dialect early{"early 2.x", "/api/health", "/inbox", "reply", "/api/form/request",
                        false,       false,         true,     false,   false};
constexpr dialect preview{"a preview of 2.0",
                          "/api/health",
                          "/pending",
                          "reply",
                          "/api/form/request",
                          false,
                          false,
                          false,
                          false,
                          false};

} // namespace

const dialect& current_dialect() noexcept {
    return current;
}

const dialect& early_dialect() noexcept {
    return early;
}

const dialect& preview_dialect() noexcept {
    return preview;
}

const dialect* find_dialect(std::string_view route, std::string_view version) noexcept {
    if (!version.starts_with("2."))
        return nullptr;
    if (route == current.identity)
        return &current;
    if (route != early.identity)
        return nullptr;
    return version.find('-') == std::string_view::npos ? &early : &preview;
}

} // namespace holdfast::opencode::v2
