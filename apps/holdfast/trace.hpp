// -v: each request and each answer's head, for a person.
#pragma once

#include <holdfast/http/exchange.hpp>

#include <string>

namespace holdfast::app {

/// "> " before each line of the request. What may be a secret is shown as "***": the values of fields that
/// carry credentials, and in URLs those in the query that are named like secrets (token, key, sig, ...).
/// `where` is the stream's own URL, whose userinfo is sent as Authorization.
[[nodiscard]] std::string request_lines(const http::request& what, const http::url& where);

/// "< " before each line of the head, secrets as above.
[[nodiscard]] std::string head_lines(const http::response_head& head);

} // namespace holdfast::app
