/// Ports of 127.0.0.1 for tests that run beside one another.
#pragma once

#include <string>

namespace holdfast::test {

/// A port that a server may listen on, later or again. It is not one of those that the system gives out by
/// itself, so neither another test's server nor a connection takes it meanwhile.
[[nodiscard]] unsigned short free_port();

/// A port of its own for each caller that refuses connections as long as this process lives:
/// it is bound, and nobody listens.
[[nodiscard]] unsigned short dead_port();

/// Likewise, as "http://127.0.0.1:PORT/".
[[nodiscard]] std::string dead_url();

} // namespace holdfast::test
