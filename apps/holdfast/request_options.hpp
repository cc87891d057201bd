// What is asked for, and how it is reached, as a curl user would write it.
#pragma once

#include <holdfast/http/tls.hpp>
#include <holdfast/stream/event_source.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace holdfast::app {

struct request_options {
    std::vector<std::string> headers;
    std::string method;              ///< empty: GET, or POST with data
    std::optional<std::string> data; ///< itself, @FILE, or - for stdin
    std::string last_event_id;
    bool repeat = false;
    bool location = false;
    std::size_t max_redirects = 3; ///< with `location`
    http::tls_options tls;
    std::string proxy;
    bool proxy_from_environment = false;
};

/// Adds the options. `target` must outlive the parsing.
void add_request_options(CLI::App& command, request_options& target);

/// Makes `config` ask for `where` with these options; reads the files they name.
/// @return what is wrong with the options, for misused(); empty: nothing
[[nodiscard]] std::string apply(const request_options& options, const http::url& where,
                                stream::source_config& config);

} // namespace holdfast::app
