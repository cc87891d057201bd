#include <holdfast/opencode/json_text.hpp>

#include <holdfast/http/ascii.hpp>
#include <holdfast/opencode/types.hpp>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/error.hpp>
#include <boost/json/value_stack.hpp>

#include <cctype>
#include <cstdint>
#include <optional>
#include <utility>

namespace holdfast::opencode {

namespace json = boost::json;

namespace {

constexpr std::size_t max_depth = 512;
constexpr std::size_t max_exponent_digits = 9; // Boost.JSON refuses exponents that do not fit an int
constexpr std::size_t escape_size = 6;         // "\uXXXX"

using http::is_digit;

/// The code unit of the "\uXXXX" at `at`, if there is one.
std::optional<unsigned> escaped_unit(std::string_view text, std::size_t at) {
    if (at + escape_size > text.size() || text[at] != '\\' || text[at + 1] != 'u')
        return std::nullopt;
    unsigned unit = 0;
    for (const char c : text.substr(at + 2, 4)) {
        if (!std::isxdigit(static_cast<unsigned char>(c)))
            return std::nullopt;
        unit = unit * 16 + static_cast<unsigned>(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return unit;
}

bool is_high_surrogate(unsigned unit) {
    return unit >= 0xd800 && unit <= 0xdbff;
}
bool is_low_surrogate(unsigned unit) {
    return unit >= 0xdc00 && unit <= 0xdfff;
}

bool may_hold_surrogates(std::string_view text) {
    return text.find("\\ud") != std::string_view::npos || text.find("\\uD") != std::string_view::npos;
}

json::parse_options options() {
    json::parse_options o;
    o.max_depth = max_depth;
    o.allow_invalid_utf8 = true; // what is printed is sanitised; an ill-formed byte must not cost an event
    return o;
}

/// Builds the values, and counts them.
struct value_builder {
    static constexpr std::size_t max_object_size = max_json_members;
    static constexpr std::size_t max_array_size = max_json_values;
    static constexpr std::size_t max_key_size = json::string::max_size();
    static constexpr std::size_t max_string_size = json::string::max_size();

    json::value_stack stack;
    std::size_t values = 0;

    bool counted(error_code& ec) {
        if (++values <= max_json_values)
            return true;
        ec = json::error::array_too_large;
        return false;
    }

    bool on_document_begin(error_code&) { return true; }
    bool on_document_end(error_code&) { return true; }
    bool on_object_begin(error_code&) { return true; }
    bool on_object_end(std::size_t n, error_code& ec) {
        stack.push_object(n);
        return counted(ec);
    }
    bool on_array_begin(error_code&) { return true; }
    bool on_array_end(std::size_t n, error_code& ec) {
        stack.push_array(n);
        return counted(ec);
    }
    bool on_key_part(json::string_view s, std::size_t, error_code&) {
        stack.push_chars(s);
        return true;
    }
    bool on_key(json::string_view s, std::size_t, error_code&) {
        stack.push_key(s);
        return true;
    }
    bool on_string_part(json::string_view s, std::size_t, error_code&) {
        stack.push_chars(s);
        return true;
    }
    bool on_string(json::string_view s, std::size_t, error_code& ec) {
        stack.push_string(s);
        return counted(ec);
    }
    bool on_number_part(json::string_view, error_code&) { return true; }
    bool on_int64(std::int64_t i, json::string_view, error_code& ec) {
        stack.push_int64(i);
        return counted(ec);
    }
    bool on_uint64(std::uint64_t u, json::string_view, error_code& ec) {
        stack.push_uint64(u);
        return counted(ec);
    }
    bool on_double(double d, json::string_view, error_code& ec) {
        stack.push_double(d);
        return counted(ec);
    }
    bool on_bool(bool b, error_code& ec) {
        stack.push_bool(b);
        return counted(ec);
    }
    bool on_null(error_code& ec) {
        stack.push_null();
        return counted(ec);
    }
    bool on_comment_part(json::string_view, error_code&) { return true; }
    bool on_comment(json::string_view, error_code&) { return true; }
};

} // namespace

// --- mending

std::size_t surrogate_mender::put(std::string_view text, bool last, std::string& out) {
    std::size_t from = 0; // what is not in `out` yet
    for (std::size_t at = text.find('\\'); at != std::string_view::npos; at = text.find('\\', at)) {
        if (!last && at + 2 * escape_size > text.size()) {
            out.append(text.substr(from, at - from));
            return text.size() - at;
        }
        const auto unit = escaped_unit(text, at);
        if (!unit) {
            at += 2;
            continue;
        }
        const auto next = is_high_surrogate(*unit) ? escaped_unit(text, at + escape_size) : std::nullopt;
        if (next && is_low_surrogate(*next)) {
            at += 2 * escape_size;
            continue;
        }
        if (is_high_surrogate(*unit) || is_low_surrogate(*unit)) {
            out.append(text.substr(from, at + 2 - from));
            out += "fffd";
            from = at + escape_size;
        }
        at += escape_size;
    }
    out.append(text.substr(from));
    return 0;
}

std::string exponent_mender::put(std::string_view piece) {
    std::string mended;
    mended.reserve(piece.size());
    for (const char c : piece) {
        if (in_string_) {
            mended += c;
            if (std::exchange(escaped_, false))
                continue;
            escaped_ = c == '\\';
            in_string_ = c != '"';
            continue;
        }
        if (in_exponent_) {
            if (std::exchange(may_be_signed_, false) && (c == '+' || c == '-')) {
                mended += c;
                continue;
            }
            if (is_digit(c)) {
                if (digits_++ < max_exponent_digits)
                    mended += c;
                continue;
            }
            in_exponent_ = false;
        }
        mended += c;
        in_string_ = c == '"';
        if ((c == 'e' || c == 'E') && is_digit(last_)) {
            in_exponent_ = may_be_signed_ = true;
            digits_ = 0;
        }
        last_ = c;
    }
    return mended;
}

// --- parsing

struct json_text_parser::impl {
    explicit impl(bool exponents) : parser(options()), mends_exponents(exponents) {}

    json::basic_parser<value_builder> parser;
    exponent_mender exponents;
    bool mends_exponents;
    std::string mended;

    void write(std::string_view text, error_code& ec) {
        if (mends_exponents)
            text = mended = exponents.put(text);
        const auto taken = parser.write_some(true, text.data(), text.size(), ec);
        if (!ec && taken < text.size())
            ec = json::error::extra_data;
    }
};

json_text_parser::json_text_parser(json::storage_ptr memory, bool mend_exponents)
    : impl_(std::make_unique<impl>(mend_exponents)) {
    impl_->parser.handler().stack.reset(std::move(memory));
}

json_text_parser::~json_text_parser() = default;

std::size_t json_text_parser::put(std::string_view piece, bool last, error_code& ec) {
    if (last && !may_hold_surrogates(piece)) {
        impl_->write(piece, ec);
        return 0;
    }
    std::string mended;
    const auto kept = surrogate_mender::put(piece, last, mended);
    impl_->write(mended, ec);
    return kept;
}

json::value json_text_parser::finish(error_code& ec) {
    impl_->parser.write_some(false, nullptr, 0, ec);
    return ec ? json::value() : impl_->parser.handler().stack.release();
}

namespace {

json::value parse_whole(std::string_view text, bool exponents, error_code& ec) {
    json_text_parser parser({}, exponents);
    static_cast<void>(parser.put(text, true, ec));
    return ec ? json::value() : parser.finish(ec);
}

} // namespace

failure json_failure(const error_code& ec) {
    if (ec == json::error::array_too_large || ec == json::error::object_too_large)
        return retry::make_failure(errc::body_too_large,
                                   "more than " + std::to_string(max_json_values) + " values, or " +
                                       std::to_string(max_json_members) + " members of one object",
                                   true);
    return retry::make_failure(errc::bad_json, ec.message());
}

result<json::value> parse_json(std::string_view text) {
    error_code ec;
    auto v = parse_whole(text, false, ec);
    if (ec == json::error::exponent_overflow) {
        ec.clear();
        v = parse_whole(text, true, ec);
    }
    if (ec)
        return json_failure(ec);
    return v;
}

} // namespace holdfast::opencode
