// What a command's arguments tell to others: they are in the process list, for all users to see.
#pragma once

namespace holdfast::app {

/// Overwrites with '*' what may be secret in the arguments: the credentials in URLs, passwords of --user,
/// credentials of
/// --proxy, values of headers, and bodies. To be called when they have been read. Until then, for some
/// milliseconds, they are there to be seen: a file (--user @FILE, -H @FILE) or a variable is not.
void hide_secrets(int argc, char** argv) noexcept;

} // namespace holdfast::app
