// As whom a command asks an OpenCode server.
#pragma once

#include <holdfast/http/url.hpp>

#include <string>

namespace holdfast::app {

/// An environment variable; empty: there is none.
[[nodiscard]] std::string environment(const char* name);

/// Those of the URL, else `user` ("NAME" or "NAME:PASSWORD"), else the environment's, as OpenCode itself
/// reads it.
void add_credentials(http::url& base, const std::string& user);

} // namespace holdfast::app
