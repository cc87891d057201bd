// Requests as text. Written by hand after validation, since Beast 1.81 accepts CR and LF in fields and
// targets. Pure; needs no Asio.
#pragma once

#include <holdfast/http/url.hpp>
#include <holdfast/retry/failure.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::http {

struct header {
    std::string name;
    std::string value;

    friend bool operator==(const header&, const header&) = default;
};

struct request {
    request() = default; // no aggregate: g++ 12 destroys temporaries of those twice beside a co_await

    std::string method = "GET";
    std::string
        target; ///< path and query, percent-encoded, from the first slash; empty: the URL's own target
    std::vector<header> headers;
    std::string body;
};

/// The whole HTTP/1.1 request, head and body, to be sent to `where`.
///
/// Adds what `what.headers` does not give: Host, `Accept-Encoding: identity`, and Authorization (Basic) from
/// the URL's userinfo. Content-Length is added for a body and for POST, PUT and PATCH; giving it, or
/// Transfer-Encoding, is an error, and so is more than one Host.
///
/// Error: invalid_request when the method or a name is no token, when the target is not printable ASCII that
/// begins with a slash, or when a value has a control character other than a tab. The message names the
/// field, never its value.
[[nodiscard]] result<std::string> serialize(const request& what, const url& where);

/// The value of an Authorization field, "Basic ..." (RFC 7617). `user` must not have a colon.
[[nodiscard]] std::string basic_authorization(std::string_view user, std::string_view password);

} // namespace holdfast::http
