#include <holdfast/http/response_parser.hpp>

#include <holdfast/http/request.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/parser.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>

namespace holdfast::http {
namespace {

namespace beast = boost::beast;

// A body that keeps nothing: its reader hands on where the payload lies.
struct span_body {
    struct value_type {
        std::vector<std::string_view>* out = nullptr;
    };

    class reader {
    public:
        template <bool isRequest, class Fields>
        reader(beast::http::header<isRequest, Fields>&, value_type& body) : body_(body) {}

        void init(const boost::optional<std::uint64_t>&, beast::error_code& ec) { ec = {}; }

        template <class ConstBufferSequence>
        std::size_t put(const ConstBufferSequence& buffers, beast::error_code& ec) {
            ec = {};
            std::size_t size = 0;
            for (auto each = boost::asio::buffer_sequence_begin(buffers);
                 each != boost::asio::buffer_sequence_end(buffers); ++each) {
                const boost::asio::const_buffer piece(*each);
                if (piece.size() != 0)
                    body_.out->emplace_back(static_cast<const char*>(piece.data()), piece.size());
                size += piece.size();
            }
            return size;
        }

        void finish(beast::error_code& ec) { ec = {}; }

    private:
        value_type& body_;
    };
};

using parser_type = beast::http::response_parser<span_body>;

// Beast 1.81 counts on five bytes when it looks at a last chunk again, as though a chunk had come before it. An
// empty body has none, and may come a byte at a time.
bool is_beginning_of_empty_body(std::string_view framing) {
    const auto digits = framing.find_first_not_of("0123456789abcdefABCDEF");
    const auto size = framing.substr(0, digits);
    return framing.size() < 5 && !size.empty() && size.find_first_not_of('0') == std::string_view::npos;
}

// RFC 9110, section 15.2: other than 101, which nobody asked for, they announce another response.
bool is_interim(unsigned status) {
    return status < 200 && status != 101;
}

// Beast waits for the end of a head that does not come as a whole, and so for ever where no HTTP is spoken.
bool may_begin_head(std::string_view bytes) {
    constexpr std::string_view name = "HTTP/";
    return name.substr(0, bytes.size()) == bytes.substr(0, name.size());
}

error_code translate(const beast::error_code& ec) {
    using beast::http::error;
    if (ec == error::header_limit || ec == error::buffer_overflow)
        return errc::header_too_large;
    if (ec == error::body_limit)
        return errc::body_too_large;
    if (ec == error::partial_message || ec == error::end_of_stream)
        return errc::cut;
    return errc::malformed;
}

} // namespace

std::string_view response_head::find(std::string_view name) const noexcept {
    const auto* const found = find_header(headers, name);
    return found ? std::string_view(found->value) : std::string_view();
}

struct response_parser::impl {
    impl(response_limits l, bool head) : limits(l), head_request(head) { begin(nullptr); }

    // At the first response, and at the one after an interim one: what those took is taken from the limit.
    void begin(std::vector<std::string_view>* out) {
        parser.emplace();
        head_begun = false;
        parser->skip(head_request);
        parser->header_limit(
            limits.header ? static_cast<std::uint32_t>(std::min<std::size_t>(limits.header - heads_size, UINT32_MAX))
                          : UINT32_MAX);
        if (limits.body)
            parser->body_limit(limits.body);
        else
            parser->body_limit(boost::none);
        parser->get().body().out = out;
    }

    // Parses what it can of `bytes`; `used` is how much.
    error_code feed(std::string_view bytes, std::size_t& used) {
        used = 0;
        while (used < bytes.size() && !parser->is_done()) {
            const auto rest = bytes.substr(used);
            if (!head_begun && !may_begin_head(rest))
                return errc::malformed;
            beast::error_code ec;
            const std::size_t step = put(rest, ec);
            used += step;
            head_begun = head_begun || step != 0;
            heads_size += head_seen ? 0 : step;
            if (!head_seen && parser->is_header_done()) {
                const auto status = parser->get().result_int();
                if (status < 100) // Beast takes any three digits
                    return errc::malformed;
                // Beast holds the status line and the fields to the limit, but each by itself.
                if (limits.header && heads_size + is_interim(status) > limits.header)
                    return errc::header_too_large;
                if (is_interim(status)) {
                    begin(parser->get().body().out);
                    continue;
                }
                take_head();
            }
            if (ec == beast::http::error::need_more)
                break;
            if (ec)
                return translate(ec);
        }
        return {};
    }

    std::size_t put(std::string_view bytes, beast::error_code& ec) {
        try {
            return parser->put(boost::asio::buffer(bytes), ec);
        } catch (const std::length_error&) { // Beast's fields hold no value over 64 KiB
            ec = beast::http::error::header_limit;
            return 0;
        }
    }

    // Right after its last byte: the fields of a trailer would be found among those of the head.
    void take_head() {
        head_seen = true;
        parser->eager(true);
        const auto& message = parser->get();
        head.status = static_cast<int>(message.result_int());
        head.reason = message.reason();
        for (const auto& field : message)
            head.headers.push_back({std::string(field.name_string()), std::string(field.value())});
    }

    response_limits limits;
    bool head_request;
    std::optional<parser_type> parser;
    std::size_t heads_size = 0; // with those of interim responses
    response_head head;
    bool head_begun = false; // something of the present head was parsed
    bool head_seen = false;
    bool ended = false;
    std::string carry; // what the parser could not take yet: part of a head or of a chunk's framing
};

response_parser::response_parser(response_limits limits, bool head_request)
    : impl_(std::make_unique<impl>(limits, head_request)) {}
response_parser::~response_parser() = default;
response_parser::response_parser(response_parser&&) noexcept = default;
response_parser& response_parser::operator=(response_parser&&) noexcept = default;

error_code response_parser::put(std::string_view bytes, std::vector<std::string_view>& body) {
    auto& me = *impl_;
    me.parser->get().body().out = &body;
    std::size_t used = 0;
    // A head or framing that was cut by a read is completed in `carry`, a line at a time: payload begins
    // after a line end, so it is never copied, and no view of `carry` gets out.
    while (!me.carry.empty() && !bytes.empty() && !me.parser->is_done()) {
        const auto line_end = bytes.find('\n');
        const std::size_t take = line_end == std::string_view::npos ? bytes.size() : line_end + 1;
        const std::size_t before = me.carry.size();
        me.carry.append(bytes.substr(0, take));
        if (me.head_seen && is_beginning_of_empty_body(me.carry)) {
            bytes.remove_prefix(take);
            continue;
        }
        if (const auto ec = me.feed(me.carry, used))
            return ec;
        if (used >= before) {
            bytes.remove_prefix(used - before);
            me.carry.clear();
        } else {
            bytes.remove_prefix(take);
            me.carry.erase(0, used);
        }
        if (me.limits.header && me.carry.size() > me.limits.header)
            return errc::header_too_large;
    }
    if (bytes.empty() || me.parser->is_done())
        return {};
    if (const auto ec = me.feed(bytes, used))
        return ec;
    if (!me.parser->is_done())
        me.carry.assign(bytes.substr(used));
    if (me.limits.header && me.carry.size() > me.limits.header)
        return errc::header_too_large;
    return {};
}

error_code response_parser::put_end() {
    auto& me = *impl_;
    if (complete())
        return {};
    if (!me.parser->got_some())
        return errc::cut;
    beast::error_code ec;
    std::vector<std::string_view> none;
    me.parser->get().body().out = &none;
    me.parser->put_eof(ec);
    if (ec)
        return translate(ec);
    me.ended = true;
    return {};
}

bool response_parser::head_complete() const noexcept {
    return impl_->head_seen;
}

bool response_parser::complete() const noexcept {
    return impl_->ended || (impl_->head_seen && impl_->parser->is_done());
}

const response_head& response_parser::head() const noexcept {
    return impl_->head;
}

} // namespace holdfast::http
