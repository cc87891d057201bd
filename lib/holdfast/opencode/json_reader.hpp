// Reads the members of one JSON object and remembers the first that the protocol promises and that is not
// there. Not for users.
#pragma once

#include <holdfast/opencode/types.hpp>
#include <holdfast/retry/failure.hpp>

#include <boost/json/value.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::opencode {

/// An integer of whatever kind of JSON number; what does not fit becomes the nearest that does.
[[nodiscard]] inline std::optional<std::int64_t> to_integer(const boost::json::value& v) {
    using limits = std::numeric_limits<std::int64_t>;
    if (const auto* i = v.if_int64())
        return *i;
    if (v.is_uint64())
        return limits::max();
    const auto* d = v.if_double();
    if (!d)
        return std::nullopt;
    if (std::isnan(*d)) // see to_double()
        return 0;
    if (*d >= 9.2e18)
        return limits::max();
    if (*d <= -9.2e18)
        return limits::min();
    return static_cast<std::int64_t>(*d);
}

/// A finite number of whatever kind of JSON number; what does not fit becomes the nearest that does.
[[nodiscard]] inline double to_double(const boost::json::value& v) {
    using limits = std::numeric_limits<double>;
    const auto* d = v.if_double();
    if (!d)
        return static_cast<double>(to_integer(v).value_or(0));
    // Of "0e400" Boost.JSON makes 0 times infinity, which is the only way to have no number in JSON.
    return std::isnan(*d) ? 0 : std::clamp(*d, limits::lowest(), limits::max());
}

/// The path of a list's element.
[[nodiscard]] inline std::string indexed(std::string_view path, std::size_t i) {
    return std::string(path) + '[' + std::to_string(i) + ']';
}

class json_reader {
public:
    json_reader(const boost::json::value& v, std::string_view path) : path_(path), object_(v.if_object()) {
        if (!object_)
            missing_ = path_.empty() ? "an object" : path_;
    }

    [[nodiscard]] bool ok() const noexcept { return missing_.empty(); }
    [[nodiscard]] failure error() const { return retry::make_failure(errc::missing_field, missing_); }
    [[nodiscard]] std::string path_of(std::string_view name) const {
        return path_.empty() ? std::string(name) : path_ + '.' + std::string(name);
    }
    void missing(std::string_view name) {
        if (missing_.empty())
            missing_ = path_of(name);
    }

    [[nodiscard]] const boost::json::value* find(std::string_view name) const {
        return object_ ? object_->if_contains(name) : nullptr;
    }
    /// What is there under the name, if it is an object or an array; else null.
    [[nodiscard]] const boost::json::object* object(std::string_view name) const {
        const auto* v = find(name);
        return v ? v->if_object() : nullptr;
    }
    [[nodiscard]] const boost::json::array* array(std::string_view name) const {
        const auto* v = find(name);
        return v ? v->if_array() : nullptr;
    }
    /// The string under the name; empty when there is none.
    [[nodiscard]] std::string string(std::string_view name) const {
        const auto* v = find(name);
        const auto* s = v ? v->if_string() : nullptr;
        return s ? std::string(s->data(), s->size()) : std::string();
    }
    [[nodiscard]] std::string required_string(std::string_view name) {
        const auto* v = find(name);
        if (!v || !v->is_string())
            missing(name);
        return string(name);
    }
    /// An id, which will be a path segment: see is_usable_id().
    [[nodiscard]] std::string required_id(std::string_view name) {
        auto id = required_string(name);
        if (!is_usable_id(id))
            missing(name);
        return id;
    }
    /// The same where it may be absent or empty.
    [[nodiscard]] std::string id(std::string_view name) {
        auto id = string(name);
        if (!id.empty() && !is_usable_id(id))
            missing(name);
        return id;
    }
    [[nodiscard]] bool boolean(std::string_view name) const {
        const auto* v = find(name);
        return v && v->is_bool() && v->get_bool();
    }
    [[nodiscard]] std::optional<std::int64_t> integer(std::string_view name) const {
        const auto* v = find(name);
        return v ? to_integer(*v) : std::nullopt;
    }
    [[nodiscard]] std::uint64_t count(std::string_view name) const {
        const auto i = integer(name);
        return i && *i > 0 ? static_cast<std::uint64_t>(*i) : 0;
    }
    [[nodiscard]] double number(std::string_view name) const {
        const auto* v = find(name);
        return v ? to_double(*v) : 0;
    }
    /// A reader of the object under the name; when that is not an object, all its members are absent.
    [[nodiscard]] json_reader nested(std::string_view name) const {
        static const boost::json::value nothing;
        const auto* v = find(name);
        return json_reader(v ? *v : nothing, path_of(name));
    }

    template <class T>
    [[nodiscard]] result<T> finish(T value) const {
        if (!ok())
            return error();
        return value;
    }

private:
    std::string path_;
    const boost::json::object* object_;
    std::string missing_;
};

/// The value of that name; null where there is none.
[[nodiscard]] inline const boost::json::value& value_at(const json_reader& in, std::string_view name) {
    static const boost::json::value nothing;
    const auto* v = in.find(name);
    return v ? *v : nothing;
}

/// What is kept of an error's text: a character is not cut.
[[nodiscard]] inline std::string beginning_of(std::string_view text) {
    if (text.size() <= max_error_text)
        return std::string(text);
    auto end = max_error_text;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
        --end;
    return std::string(text.substr(0, end));
}

[[nodiscard]] inline std::string beginning_of(const json_reader& in, std::string_view name) {
    const auto* v = in.find(name);
    const auto* text = v ? v->if_string() : nullptr;
    return text ? beginning_of(std::string_view(text->data(), text->size())) : std::string();
}

/// Both protocols count tokens alike.
[[nodiscard]] inline token_usage tokens_in(const json_reader& in) {
    const auto cache = in.nested("cache");
    token_usage t;
    t.input = in.count("input");
    t.output = in.count("output");
    t.reasoning = in.count("reasoning");
    t.cache_read = cache.count("read");
    t.cache_write = cache.count("write");
    return t;
}

} // namespace holdfast::opencode
