// JSON as servers send it, in as many pieces as is convenient: mended where Boost.JSON would refuse what
// others take, and bounded. Pure. Not for users.
#pragma once

#include <holdfast/error.hpp>
#include <holdfast/retry/failure.hpp>

#include <boost/json/storage_ptr.hpp>
#include <boost/json/value.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace holdfast::opencode {

/// What one document may hold: "[0,0,0,...]" takes 12 times its size in memory.
inline constexpr std::size_t max_json_values = 300'000;
inline constexpr std::size_t max_json_members = 50'000; ///< of one object

/// Puts U+FFFD where the escape of a surrogate has no partner.
class surrogate_mender {
public:
    /// Appends `text`, mended, to `out`, but for an escape at its end that may go on, unless this is the
    /// `last` piece. Returns how many bytes those are: they belong before the next piece.
    [[nodiscard]] static std::size_t put(std::string_view text, bool last, std::string& out);
};

/// Shortens exponents that Boost.JSON refuses. They occur only in what a model wrote, which nobody reads
/// here.
class exponent_mender {
public:
    [[nodiscard]] std::string put(std::string_view piece);

private:
    bool in_string_ = false;
    bool escaped_ = false;
    bool in_exponent_ = false;
    bool may_be_signed_ = false;
    std::size_t digits_ = 0;
    char last_ = 0;
};

/// Parses one document. Errors: Boost.JSON's own; array_too_large for too many values.
class json_text_parser {
public:
    json_text_parser(boost::json::storage_ptr memory, bool mend_exponents);
    ~json_text_parser();

    /// Returns how many bytes of the end were not taken, which belong before the next piece.
    [[nodiscard]] std::size_t put(std::string_view piece, bool last, error_code& ec);
    /// After the last piece.
    [[nodiscard]] boost::json::value finish(error_code& ec);

private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

/// What the error of a parser means: body_too_large where a bound was passed, else bad_json.
[[nodiscard]] failure json_failure(const error_code& ec);

} // namespace holdfast::opencode
