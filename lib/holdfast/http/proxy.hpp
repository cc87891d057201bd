// Through which proxy an origin is reached. Pure; needs no Asio.
#pragma once

#include <holdfast/http/url.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::http {

/// Which proxy serves which origin. An https:// origin is reached by CONNECT, so that the proxy sees its name
/// and port alone; an http:// one by a request in absolute form (RFC 9112, section 3.2.2), which the proxy
/// reads and passes on whole, the origin's credentials too. The proxies themselves are spoken to by plain
/// HTTP, and look up the origin's name themselves. Their URL's userinfo is sent to them alone, as
/// Proxy-Authorization (Basic): never to an origin, and never inside a tunnel. A value; thread safety:
/// distinct objects safe, shared objects unsafe.
struct proxy_rules {
    proxy_rules() = default; // no aggregate, see request

    std::optional<url> for_http;  ///< as parse_proxy() gives it. None: http:// origins are reached directly
    std::optional<url> for_https; ///< the same for https:// origins
    /// Origins reached directly: "host", ".domain" and "domain" (the host itself and what ends in ".domain"),
    /// "*.domain" (the same), an IP literal, a block as "10.0.0.0/8" or "fd00::/8" (of literals: no name is
    /// looked up), each also with a port ("host:8080", "[::1]:8080"), or "*" for all. ASCII case and a last
    /// dot are ignored; what is none of these matches nothing.
    std::vector<std::string> bypass;

    /// The proxy for an origin; nothing: directly.
    [[nodiscard]] std::optional<url> proxy_for(const endpoint& origin) const;
};

/// A proxy as people write it: "http://user:password@host:3128", or "host:3128" for short; port 1080 when
/// none is given, as with curl; a path is dropped. Errors: invalid_url, unsupported_scheme (a proxy is spoken
/// to by plain HTTP); no message shows a password.
[[nodiscard]] result<url> parse_proxy(std::string_view text);

/// What one variable of the environment holds; empty or nothing: not set. The library itself reads none.
using environment = std::function<std::optional<std::string>(const char* name)>;

/// The rules that the environment gives: https_proxy or HTTPS_PROXY, http_proxy (lower case only: a CGI
/// server sets the other from a request's field), all_proxy or ALL_PROXY for what these leave open, no_proxy
/// or NO_PROXY (apart by commas or blanks). Where both cases are set the lower one counts, as with curl.
/// Errors: those of parse_proxy(), naming the variable.
[[nodiscard]] result<proxy_rules> proxies_of(const environment& variables);

} // namespace holdfast::http
