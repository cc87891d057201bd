#include <holdfast/http/response_parser.hpp>

#include <holdfast/http/chunk_decoder.hpp>
#include <holdfast/http/head_lines.hpp>
#include <holdfast/http/request.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

namespace holdfast::http {
namespace {

constexpr std::size_t longest_line = 64u << 10; // of a head, whatever its limit

// RFC 9110, section 15.2: other than 101, which nobody asked for, they announce another response.
bool is_interim(int status) {
    return status < 200 && status != 101;
}

// RFC 9112, section 6.3.
bool has_no_body(int status) {
    return status == 101 || status == 204 || status == 304;
}

// Where no HTTP is spoken the first bytes say so, and there may never be a line end.
bool may_begin_head(std::string_view bytes) {
    constexpr std::string_view name = "HTTP/";
    return name.substr(0, bytes.size()) == bytes.substr(0, name.size());
}

} // namespace

std::string_view response_head::find(std::string_view name) const noexcept {
    const auto* const found = find_header(headers, name);
    return found ? std::string_view(found->value) : std::string_view();
}

struct response_parser::impl {
    impl(response_limits l, bool head) : limits(l), head_request(head), chunks(l.header) {}

    enum class state { status_line, fields, length, chunked, up_to_the_end, complete };

    error_code put(std::string_view bytes, std::vector<std::string_view>& body) {
        while (!bytes.empty() && now != state::complete) {
            if (const auto ec = take_some(bytes, body))
                return ec;
        }
        return {};
    }

    error_code take_some(std::string_view& bytes, std::vector<std::string_view>& body) {
        switch (now) {
        case state::chunked: return take_chunk(bytes, body);
        case state::length: {
            const auto piece =
                bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes.size())));
            bytes.remove_prefix(piece.size());
            left -= piece.size();
            if (left == 0)
                now = state::complete;
            return take_payload(piece, body);
        }
        case state::up_to_the_end: return take_payload(std::exchange(bytes, {}), body);
        default: return take_head_line(bytes);
        }
    }

    error_code take_payload(std::string_view piece, std::vector<std::string_view>& body) {
        body_size += piece.size();
        if (limits.body != 0 && body_size > limits.body)
            return errc::body_too_large;
        body.push_back(piece);
        return {};
    }

    error_code take_chunk(std::string_view& bytes, std::vector<std::string_view>& body) {
        switch (chunks.next(bytes)) {
        case chunk_decoder::step::framing: return {};
        case chunk_decoder::step::payload: return take_payload(chunks.piece(), body);
        case chunk_decoder::step::done: now = state::complete; return {};
        case chunk_decoder::step::large: return errc::header_too_large;
        case chunk_decoder::step::broken: break;
        }
        return broken(chunks.complaint());
    }

    error_code take_head_line(std::string_view& bytes) {
        const auto end = bytes.find('\n');
        const auto taken = bytes.substr(0, end == std::string_view::npos ? end : end + 1);
        line.append(taken);
        bytes.remove_prefix(taken.size());
        if (now == state::status_line && !may_begin_head(line))
            return broken("it begins with " + quoted_bytes(line.substr(0, line.find_first_of("\r\n", 1))) +
                          " and not with HTTP/");
        heads_size += taken.size();
        if ((limits.header != 0 && heads_size > limits.header) || line.size() > longest_line)
            return errc::header_too_large;
        if (end == std::string_view::npos)
            return {};
        const auto whole = std::exchange(line, {});
        return on_head_line(
            std::string_view(whole).substr(0, whole.size() - (whole.ends_with("\r\n") ? 2 : 1)));
    }

    error_code on_head_line(std::string_view text) {
        if (now == state::fields && text.empty())
            return on_head();
        const auto why = now == state::status_line ? read_status_line(text, head.status, head.reason)
                                                   : read_field_line(text, head.headers);
        now = state::fields;
        return why ? broken(*why) : error_code();
    }

    error_code on_head() {
        if (is_interim(head.status)) {
            head = {};
            now = state::status_line;
            return {};
        }
        body_framing framing;
        if (const auto why = read_framing(head.headers, framing))
            return broken(*why);
        head_seen = true;
        left = framing.length.value_or(0);
        if (head_request || has_no_body(head.status) || framing.length == 0u)
            now = state::complete;
        else if (framing.length && limits.body != 0 && left > limits.body)
            return errc::body_too_large;
        else
            now = framing.chunked ? state::chunked : framing.length ? state::length : state::up_to_the_end;
        return {};
    }

    error_code broken(std::string why) {
        complaint = std::move(why);
        return errc::malformed;
    }

    response_limits limits;
    bool head_request;
    state now = state::status_line;
    std::size_t heads_size = 0; // with those of interim responses
    std::string line;           // of the head, as far as it has come
    response_head head;
    bool head_seen = false;
    chunk_decoder chunks;
    std::uint64_t left = 0; // of a body of known length
    std::uint64_t body_size = 0;
    std::string complaint;
};

response_parser::response_parser(response_limits limits, bool head_request)
    : impl_(std::make_unique<impl>(limits, head_request)) {}
response_parser::~response_parser() = default;
response_parser::response_parser(response_parser&&) noexcept = default;
response_parser& response_parser::operator=(response_parser&&) noexcept = default;

error_code response_parser::put(std::string_view bytes, std::vector<std::string_view>& body) {
    return impl_->put(bytes, body);
}

error_code response_parser::put_end() {
    if (complete())
        return {};
    if (impl_->now != impl::state::up_to_the_end)
        return errc::cut;
    impl_->now = impl::state::complete;
    return {};
}

const std::string& response_parser::complaint() const noexcept {
    return impl_->complaint;
}

bool response_parser::head_complete() const noexcept {
    return impl_->head_seen;
}

bool response_parser::complete() const noexcept {
    return impl_->now == impl::state::complete;
}

const response_head& response_parser::head() const noexcept {
    return impl_->head;
}

} // namespace holdfast::http
