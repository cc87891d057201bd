#include <holdfast/retry/failure.hpp>

#include <boost/system/system_error.hpp>
#include <boost/throw_exception.hpp>

#include <algorithm>
#include <utility>

namespace holdfast::retry {
namespace {

// 429 is a class of its own: throttled.
bool is_transient_status(int status) {
    return status >= 500 || status == 408 || status == 425;
}

bool is_gateway_status(int status) {
    return status == 502 || status == 503 || status == 504;
}

} // namespace

std::string_view to_string(failure_class c) noexcept {
    switch (c) {
    case failure_class::refused: return "refused";
    case failure_class::unreachable: return "unreachable";
    case failure_class::timeout: return "timeout";
    case failure_class::dns: return "dns";
    case failure_class::tls: return "tls";
    case failure_class::http_status: return "http_status";
    case failure_class::throttled: return "throttled";
    case failure_class::content_type: return "content_type";
    case failure_class::early_end: return "early_end";
    case failure_class::ended: return "ended";
    case failure_class::cut: return "cut";
    case failure_class::stall: return "stall";
    case failure_class::protocol: return "protocol";
    case failure_class::too_large: return "too_large";
    case failure_class::local: return "local";
    }
    return "unknown";
}

void throw_exception_from_error(const failure& f, const boost::source_location& where) {
    boost::throw_exception(boost::system::system_error(f.code, f.message), where);
}

failure_class classify(error_code code) noexcept {
    if (code.category() != category())
        return failure_class::local;
    switch (static_cast<errc>(code.value())) {
    case errc::refused: return failure_class::refused;
    case errc::unreachable: return failure_class::unreachable;
    case errc::connect_timeout:
    case errc::tls_timeout:
    case errc::header_timeout:
    case errc::exchange_timeout:
    case errc::no_greeting: return failure_class::timeout;
    case errc::name_not_found:
    case errc::name_timeout: return failure_class::dns;
    case errc::tls_failed: return failure_class::tls;
    case errc::bad_status:
    case errc::no_content:
    case errc::not_found: return failure_class::http_status;
    case errc::throttled: return failure_class::throttled;
    case errc::bad_content_type:
    case errc::compressed: return failure_class::content_type;
    case errc::early_end: return failure_class::early_end;
    case errc::ended: return failure_class::ended;
    case errc::cut: return failure_class::cut;
    case errc::stalled: return failure_class::stall;
    case errc::error_event:
    case errc::malformed:
    case errc::not_opencode:
    case errc::another_server:
    case errc::unsupported_version:
    case errc::bad_json:
    case errc::missing_field: return failure_class::protocol;
    case errc::header_too_large:
    case errc::body_too_large:
    case errc::line_too_long:
    case errc::event_too_large:
    case errc::too_many_lines:
    case errc::id_too_long: return failure_class::too_large;
    case errc::local:
    case errc::invalid_url:
    case errc::unsupported_scheme:
    case errc::invalid_request:
    case errc::gave_up:
    case errc::closed:
    case errc::gone:
    case errc::decided: return failure_class::local;
    }
    return failure_class::local;
}

failure make_failure(errc code, std::string detail, bool connected) {
    failure f;
    f.code = code;
    f.cls = classify(f.code);
    f.message = f.code.message();
    if (!detail.empty())
        f.message += ": " + detail;
    f.connected = connected;
    return f;
}

failure make_status_failure(int status, std::string body, std::optional<duration> retry_after,
                            std::vector<header> headers) {
    const bool throttled = status == 429 || (status == 503 && retry_after);
    failure f;
    f.cls = throttled ? failure_class::throttled : failure_class::http_status;
    f.code = throttled ? errc::throttled : status == 204 ? errc::no_content : errc::bad_status;
    f.status = status;
    f.message = "the server answered with status " + std::to_string(status);
    f.headers = std::move(headers);
    f.body = std::move(body);
    f.body.resize(std::min(f.body.size(), max_failure_body));
    if (retry_after)
        f.retry_after = std::max(*retry_after, duration::zero());
    f.connected = true;
    return f;
}

bool is_final(const failure& f) noexcept {
    switch (f.cls) {
    case failure_class::http_status: return !is_transient_status(f.status);
    case failure_class::content_type:
    case failure_class::too_large: return true;
    case failure_class::protocol:
    case failure_class::local: return f.code == condition::permanent;
    default: return false;
    }
}

bool blames_endpoint(const failure& f) noexcept {
    switch (f.cls) {
    case failure_class::refused:
    case failure_class::unreachable:
    case failure_class::dns:
    case failure_class::tls: return true;
    case failure_class::timeout:
        return f.code == errc::connect_timeout || f.code == errc::tls_timeout ||
               (f.code == errc::header_timeout && f.answer_was_due);
    case failure_class::http_status:
    case failure_class::throttled: return is_gateway_status(f.status);
    default: return false;
    }
}

bool shows_endpoint_alive(const failure& f) noexcept {
    switch (f.cls) {
    case failure_class::http_status:
    case failure_class::throttled: return !blames_endpoint(f);
    case failure_class::content_type:
    case failure_class::early_end:
    case failure_class::ended:
    case failure_class::stall:
    case failure_class::protocol:
    case failure_class::too_large: return true;
    case failure_class::timeout:
        return f.code == errc::no_greeting || (f.code == errc::exchange_timeout && f.status != 0);
    default: return false;
    }
}

} // namespace holdfast::retry
