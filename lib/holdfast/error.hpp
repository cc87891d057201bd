// The library's errors: one category, a closed list of codes, two conditions. Needs no Asio.
#pragma once

#include <holdfast/version.hpp>

#include <boost/system/error_category.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/error_condition.hpp>

#include <string>
#include <type_traits>

namespace holdfast {

using error_code = boost::system::error_code;

/// Every error that the library itself reports. Codes of the system and of Asio are translated into these
/// at the edge (runtime/ and http/); what a server said travels beside the code, in `retry::failure`.
enum class errc {
    // Reaching a server
    refused = 1,      ///< every address refused the connection
    unreachable,      ///< no route, network down, or host down
    connect_timeout,  ///< no connection within the connect deadline
    header_timeout,   ///< connected, but no whole response head within its deadline
    exchange_timeout, ///< a whole request and response took longer than allowed
    name_not_found,   ///< the host name did not resolve
    name_timeout,     ///< the host name did not resolve in time
    tls_failed,       ///< TLS could not be established
    tls_timeout,      ///< no TLS within its deadline
    local,            ///< this machine's own fault: out of descriptors, of memory, of ports

    // What came back
    bad_status,       ///< a status that is not success
    throttled,        ///< 429, or 503 with Retry-After
    no_content,       ///< 204: the server asks not to come back
    bad_content_type, ///< not the media type that was asked for
    compressed,       ///< compressed, which nothing here undoes
    early_end,        ///< the stream ended cleanly, too soon to call it healthy
    ended,            ///< the stream ended cleanly after a healthy while
    cut,              ///< the connection ended in the middle of something
    stalled,          ///< not one byte for the stall timeout
    no_greeting,      ///< the stream opened, but its first event did not come in time
    malformed,        ///< not HTTP, or broken HTTP
    header_too_large, ///< a response head over its limit
    body_too_large,   ///< a response body over its limit

    // Server-sent events
    line_too_long,   ///< one line of a stream over its limit
    event_too_large, ///< one event's data over its limit
    too_many_lines,  ///< more data lines in one event than allowed
    id_too_long,     ///< an event id over its limit
    error_event,     ///< an event that is the stream's failure, by the owner's word

    // What the caller gave
    invalid_url,        ///< not an absolute URL
    unsupported_scheme, ///< neither http nor https
    invalid_request,    ///< CR, LF, NUL or a space where none may be

    // What the server means
    not_opencode,        ///< something answers, but it is not an OpenCode server
    another_server,      ///< an OpenCode server, but not the one that was there before
    unsupported_version, ///< an OpenCode server of a version that this build cannot hold, or not as it was
                         ///< told to
    bad_json,            ///< a body that is not JSON
    missing_field,       ///< JSON without a field that the protocol promises
    not_found,           ///< the server knows no such session, message or request

    // How things end
    gave_up, ///< the retry policy allows no further attempt
    closed,  ///< used after close() or stop()
    gone,    ///< the caller said that the server is gone for good
    decided, ///< an approval that one of the caller's rules answers: nobody else may reply
};

/// Compare an error_code with these: `if (ec == condition::transient)`.
enum class condition {
    transient = 1, ///< trying again later may help
    permanent,     ///< trying again without a change will not help
};

[[nodiscard]] const boost::system::error_category& category() noexcept;
[[nodiscard]] error_code make_error_code(errc e) noexcept;
[[nodiscard]] boost::system::error_condition make_error_condition(condition c) noexcept;

} // namespace holdfast

template <>
struct boost::system::is_error_code_enum<holdfast::errc> : std::true_type {};
template <>
struct boost::system::is_error_condition_enum<holdfast::condition> : std::true_type {};
