// Cookies, as far as one client of few servers needs them: sticky balancers, gates that set one and redirect.
// Pure; needs no Asio.
#pragma once

#include <holdfast/header.hpp>
#include <holdfast/http/url.hpp>
#include <holdfast/time.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::http {

/// Bounds of a jar; a cookie's bytes are those of its name, value and path.
struct cookie_limits {
    cookie_limits() = default; // no aggregate, see header

    std::size_t count = 50;       ///< cookies; RFC 6265, section 6.1: at least 50 for one server
    std::size_t one = 4u << 10;   ///< bytes of one; a larger one is ignored (RFC 6265, section 6.1)
    std::size_t total = 8u << 10; ///< bytes of all: servers take heads of 8 to 16 KiB
};

/// Cookies by RFC 6265, in memory, each for the very origin (scheme, host and port) that set it: none goes to
/// another one. So a Domain must be the host itself, and a cookie that is Secure is taken from https alone;
/// other ones are ignored. What has a control character is ignored, too. HttpOnly and SameSite, which are for
/// browsers, change nothing. Where a limit is passed, the oldest ones go; none is kept for more than 400
/// days.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class cookie_jar {
public:
    explicit cookie_jar(const cookie_limits& limits = {});

    /// Takes what the Set-Cookie fields of an answer from `origin` say. Returns whether a request to it would
    /// have other cookies now.
    bool take(const std::vector<header>& response_fields, const url& origin, wall_time now);

    /// The value of the Cookie field for a request of `where`; empty: there is none for it.
    [[nodiscard]] std::string field_for(const url& where, wall_time now) const;

    [[nodiscard]] std::size_t size() const noexcept { return cookies_.size(); }

private:
    struct cookie {
        endpoint origin;
        std::string name, value, path;
        std::optional<wall_time> expires; ///< none: with the jar

        [[nodiscard]] std::size_t size() const { return name.size() + value.size() + path.size(); }
    };

    [[nodiscard]] static std::optional<cookie> parse(std::string_view text, const url& from, wall_time now);
    void put(cookie one);
    void forget_old(wall_time now);

    cookie_limits limits_;
    std::vector<cookie> cookies_; // the oldest first
};

/// A cookie's Expires, by the lenient rules of RFC 6265, section 5.1.1: a time, a day, a month and a year, in
/// any order. Nothing: it is none.
[[nodiscard]] std::optional<std::chrono::sys_seconds> parse_cookie_date(std::string_view text) noexcept;

} // namespace holdfast::http
