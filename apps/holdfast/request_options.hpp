// What is asked for, and how it is reached, as a curl user would write it.
#pragma once

#include <holdfast/http/tls.hpp>
#include <holdfast/stream/event_source.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace holdfast::app {

struct request_options {
    std::vector<std::string> headers; ///< "K: V", or @FILE
    std::string method;               ///< empty: GET, or POST with data
    std::optional<std::string> data;  ///< itself, @FILE, or - for stdin
    std::string last_event_id;
    bool repeat = false;
    bool location = false;
    std::size_t max_redirects = 3; ///< with `location`
    bool location_trusted = false;
    std::string user; ///< NAME[:PASSWORD] or @FILE; empty: that of the URL
    std::string connect_to;
    std::string unix_socket;
    http::deadlines deadlines = stream::source_config().transport.deadlines;
    bool any_type = false;
    bool compressed = false;
    bool cookies = false;
    std::vector<int> retry_status;
    std::size_t header_limit = stream::source_config().header_limit;
    http::tls_options tls;
    std::string proxy;
    bool proxy_from_environment = false;
};

/// Adds the options. `target` must outlive the parsing.
void add_request_options(CLI::App& command, request_options& target);

/// Makes `config` ask for `where` with these options, which may give that credentials; reads the files they
/// name.
/// @return what is wrong with the options, for misused(); empty: nothing
[[nodiscard]] std::string apply(const request_options& options, http::url& where,
                                stream::source_config& config);

/// How connections are made by these options, which were found right.
[[nodiscard]] std::unique_ptr<network> network_of(const request_options& options, const http::url& where);

} // namespace holdfast::app
