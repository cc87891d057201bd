#include <holdfast/error.hpp>

namespace holdfast {
namespace {

bool is_transient(errc e) {
    switch (e) {
    case errc::refused:
    case errc::unreachable:
    case errc::connect_timeout:
    case errc::header_timeout:
    case errc::exchange_timeout:
    case errc::name_not_found:
    case errc::name_timeout:
    case errc::tls_failed:
    case errc::tls_timeout:
    case errc::local:
    case errc::throttled:
    case errc::early_end:
    case errc::ended:
    case errc::cut:
    case errc::stalled:
    case errc::no_greeting:
    case errc::error_event:
    case errc::malformed:
    case errc::another_server: return true;
    default: return false;
    }
}

class holdfast_category final : public boost::system::error_category {
public:
    const char* name() const noexcept override { return "holdfast"; }

    std::string message(int value) const override {
        switch (static_cast<errc>(value)) {
        case errc::refused: return "connection refused: nothing listens at that address";
        case errc::unreachable: return "host unreachable";
        case errc::connect_timeout: return "no connection within the connect deadline";
        case errc::header_timeout: return "connected, but no response head within its deadline";
        case errc::exchange_timeout: return "the exchange took longer than its deadline";
        case errc::name_not_found: return "the host name does not resolve";
        case errc::name_timeout: return "the host name did not resolve in time";
        case errc::tls_failed: return "TLS could not be established";
        case errc::tls_timeout: return "connected, but no TLS within its deadline";
        case errc::local: return "a resource of this machine is exhausted";
        case errc::bad_status: return "the server answered with an error status";
        case errc::throttled: return "the server asks to come back later";
        case errc::no_content: return "the server answered 204: it asks not to come back";
        case errc::bad_content_type: return "the answer is not of the media type that was asked for";
        case errc::compressed: return "the answer is compressed, which nothing here undoes";
        case errc::early_end: return "the stream ended right after it began";
        case errc::ended: return "the stream ended";
        case errc::cut: return "the connection was cut";
        case errc::stalled: return "no byte came for the stall timeout";
        case errc::no_greeting: return "the stream opened, but its first event did not come in time";
        case errc::malformed: return "the answer is not valid HTTP";
        case errc::header_too_large: return "the response head is over its limit";
        case errc::body_too_large: return "the response body is over its limit";
        case errc::line_too_long: return "a line of the stream is over its limit";
        case errc::event_too_large: return "an event of the stream is over its limit";
        case errc::too_many_lines: return "an event of the stream has more lines than allowed";
        case errc::id_too_long: return "an event id is over its limit";
        case errc::error_event: return "an event tells of a failure";
        case errc::invalid_url: return "not an absolute URL";
        case errc::unsupported_scheme: return "only http:// and https:// URLs are understood";
        case errc::invalid_request: return "a control character or a space where none may be";
        case errc::not_opencode: return "what answers there is not an OpenCode server";
        case errc::another_server: return "what answers there is another server than before";
        case errc::unsupported_version: return "an OpenCode server of a version that this cannot hold";
        case errc::bad_json: return "the answer is not JSON";
        case errc::missing_field: return "the answer lacks a field that the protocol promises";
        case errc::not_found: return "the server knows no such thing";
        case errc::gave_up: return "gave up: the retry policy allows no further attempt";
        case errc::closed: return "closed";
        case errc::gone: return "the server is gone";
        case errc::decided: return "a rule answers this approval";
        }
        return "unknown holdfast error";
    }
};

class condition_category final : public boost::system::error_category {
public:
    const char* name() const noexcept override { return "holdfast.condition"; }

    std::string message(int value) const override {
        return static_cast<condition>(value) == condition::transient
                   ? "transient: try again later"
                   : "permanent: trying again will not help";
    }

    bool equivalent(const error_code& code, int value) const noexcept override {
        if (code.category() != category() || !code.failed())
            return false;
        return is_transient(static_cast<errc>(code.value())) ==
               (static_cast<condition>(value) == condition::transient);
    }
};

} // namespace

const boost::system::error_category& category() noexcept {
    static const holdfast_category instance;
    return instance;
}

error_code make_error_code(errc e) noexcept {
    return {static_cast<int>(e), category()};
}

boost::system::error_condition make_error_condition(condition c) noexcept {
    static const condition_category instance;
    return {static_cast<int>(c), instance};
}

} // namespace holdfast
