// As whom a command asks an OpenCode server.
#pragma once

#include "output.hpp"

#include <holdfast/http/tls.hpp>
#include <holdfast/http/url.hpp>

#include <memory>
#include <string>

namespace holdfast::app {

/// What the help says of a user's option.
inline constexpr const char* user_help =
    "NAME, NAME:PASSWORD, or @FILE that holds that; else OPENCODE_PASSWORD, or "
    "OPENCODE_SERVER_USERNAME and _PASSWORD";

/// An environment variable; empty: there is none.
[[nodiscard]] std::string environment(const char* name);

/// Where `user` is "@FILE", makes it what the first line of that file says. Arguments are there for all to
/// see, a file need not be. @return why it cannot be read; empty: nothing is wrong
[[nodiscard]] std::string read_user(std::string& user);

/// Those of the URL, else `user` ("NAME" or "NAME:PASSWORD"), else the environment's, as OpenCode itself
/// reads it.
void add_credentials(http::url& base, const std::string& user);

/// How one OpenCode server is reached.
struct server_access {
    http::url base;                               ///< with its credentials
    std::shared_ptr<const http::tls_context> tls; ///< null: it is not https
};

/// By a command's options (`user` may be "@FILE"); what they make unsafe is told in `notes`. @return why it
/// cannot be; empty: it can
[[nodiscard]] std::string find_access(const std::string& server, const std::string& user,
                                      const http::tls_options& tls, output& notes, server_access& into);

} // namespace holdfast::app
