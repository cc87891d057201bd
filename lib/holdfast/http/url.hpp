// http: one request, one response or one endless body. URLs, requests and what response fields mean are pure.
//
// This header: URLs. Needs no Asio.
#pragma once

#include <holdfast/endpoint.hpp>
#include <holdfast/retry/failure.hpp>

#include <string>
#include <string_view>

namespace holdfast::http {

/// An absolute http or https URL, taken apart.
struct url {
    url() = default; // no aggregate, see request

    endpoint where;            ///< lower case; the scheme's default port when the URL names none
    std::string target = "/";  ///< path and query as they go on the wire, percent-encoded; no fragment
    std::string user;          ///< percent-decoded, without control characters and colons
    std::string password;      ///< percent-decoded, without control characters
    bool has_userinfo = false; ///< there is a user or a password

    /// The value of the Host field: the port is left out when it is the scheme's default.
    [[nodiscard]] std::string host_header() const;

    /// The URL for people and logs: the user is shown only beside a password, which is shown as "***". A user
    /// alone may be a token and becomes "***". The query is shown: keep secrets out of it.
    [[nodiscard]] std::string redacted() const;

    /// This URL as a base: same server and credentials, `path_and_query` behind this URL's own path, whose
    /// query is dropped. "http://h/proxy/?x=1" with "/event?directory=d" has the target
    /// "/proxy/event?directory=d". `path_and_query` begins with a slash and is already percent-encoded.
    [[nodiscard]] url with_path(std::string_view path_and_query) const;

    friend bool operator==(const url&, const url&) = default;
};

/// Parses by RFC 3986, strictly: spaces, control characters and non-ASCII text must come percent-encoded, a
/// host is a plain name of letters, digits, "-", "_" and ".", or an IP literal. IPv6 literals are normalised.
/// Errors: invalid_url, unsupported_scheme. Their messages name what was given, escaped and without its
/// userinfo.
[[nodiscard]] result<url> parse_url(std::string_view text);

/// Everything but RFC 3986's unreserved characters as %XX: for a value in a query, or one segment of a path.
[[nodiscard]] std::string percent_encode(std::string_view text);

} // namespace holdfast::http
