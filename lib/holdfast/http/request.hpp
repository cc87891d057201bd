// Requests as text. Written by hand after validation, since Beast 1.81 accepts CR and LF in fields and
// targets. Pure; needs no Asio.
#pragma once

#include <holdfast/header.hpp>
#include <holdfast/http/url.hpp>
#include <holdfast/retry/failure.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::http {

/// What is asked of a server. A value: nothing is checked before serialize().
struct request {
    request() = default; // no aggregate: g++ 12 destroys temporaries of those twice beside a co_await

    std::string method = "GET"; ///< any token, sent as it is: methods are case-sensitive
    /// Path and query, percent-encoded, from the first slash. Empty: the URL's own target.
    std::string target;
    std::vector<header> headers; ///< sent in this order; what may not be among them: see serialize()
    std::string body;            ///< any bytes, sent as they are
};

/// The first header of that name (ASCII case ignored); null: there is none. It lives as long as `headers`.
[[nodiscard]] const header* find_header(const std::vector<header>& headers, std::string_view name) noexcept;

/// Whether a request by this method asks for no change, so that it may be sent again (RFC 9110, section
/// 9.2.1).
[[nodiscard]] bool is_safe(std::string_view method) noexcept;

/// "holdfast/" and this library's version: the User-Agent of requests that give none.
[[nodiscard]] std::string_view user_agent() noexcept;

/// The whole HTTP/1.1 request, head and body, to be sent to `where`.
///
/// Adds what `what.headers` does not give: Host, `Accept-Encoding: identity`, User-Agent (user_agent()), and
/// Authorization (Basic) from the URL's userinfo. Content-Length is added for a body and for POST, PUT and
/// PATCH; giving it, or Transfer-Encoding, is an error, and so is more than one Host. Proxy-Authorization is
/// an error too, as it would reach the origin wherever no proxy is: a proxy's credentials belong in its URL.
///
/// Error: invalid_request when the method or a name is no token, when the target is not printable ASCII that
/// begins with a slash, or when a value has a control character other than a tab. The message names the
/// field, never its value.
[[nodiscard]] result<std::string> serialize(const request& what, const url& where);

/// The same request for `proxy`, which passes it on to `where`: the target in absolute form, and the proxy's
/// credentials as Proxy-Authorization (Basic). Errors: as above.
[[nodiscard]] result<std::string> serialize_for_proxy(const request& what, const url& where,
                                                      const url& proxy);

/// What asks `proxy` for a tunnel to `origin` (RFC 9110, section 9.3.6): the origin's name and port, the
/// proxy's credentials, and nothing else.
[[nodiscard]] std::string serialize_connect(const endpoint& origin, const url& proxy);

/// The value of an Authorization field, "Basic ..." (RFC 7617). `user` must not have a colon.
[[nodiscard]] std::string basic_authorization(std::string_view user, std::string_view password);

} // namespace holdfast::http
