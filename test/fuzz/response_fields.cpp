// What single fields of a response mean: Retry-After and Content-Type. Input: a field's value, then 0x1E and
// a media type.
#include "fuzz.hpp"

#include <holdfast/http/fields.hpp>

#include <chrono>
#include <ctime>
#include <optional>

namespace {

using namespace holdfast;
using namespace holdfast::fuzz;

std::string trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    return first == std::string_view::npos
               ? std::string()
               : std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

bool is_number(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

long long in_seconds(duration d) {
    return std::chrono::duration_cast<std::chrono::seconds>(d).count();
}

void check_seconds(const std::string& digits, const std::optional<duration>& found) {
    hold(found.has_value(), "a number is a wait", digits);
    const auto significant = digits.substr(std::min(digits.find_first_not_of('0'), digits.size() - 1));
    if (*found == duration::max())
        hold(significant.size() >= 10, "only what does not fit is the longest wait", digits);
    else
        same(std::to_string(in_seconds(*found)), significant, "a number is that many seconds");
}

std::string written(const char* form, std::time_t when) {
    std::tm parts{};
    gmtime_r(&when, &parts);
    char text[64];
    std::strftime(text, sizeof text, form, &parts); // the "C" locale: English names
    return text;
}

/// Everything behind the name of the day, which is not looked at.
std::string behind_day(std::string_view date) {
    return std::string(date.substr(std::min(date.find(' '), date.size())));
}

/// Written by the C library, the moment must read as the field does, in one of the three forms.
void check_date(const std::string& value, std::optional<duration> found) {
    if (!found || *found == duration(0) || *found == duration::max())
        return;
    auto when = static_cast<std::time_t>(in_seconds(*found));  // "now" is the epoch
    const bool leap = value.find(":60 ") != std::string::npos; // told as the second after
    const auto text =
        leap ? value.substr(0, value.find(":60 ")) + ":59 " + value.substr(value.find(":60 ") + 4) : value;
    when -= leap ? 1 : 0;
    const auto read = behind_day(text);
    hold(read == behind_day(written("%a, %d %b %Y %H:%M:%S GMT", when)) ||
             read == behind_day(written("%A, %d-%b-%y %H:%M:%S GMT", when)) ||
             read == behind_day(written("%a %b %e %H:%M:%S %Y", when)) ||
             read == behind_day(written("%a %b %d %H:%M:%S %Y", when)),
         "a date is the moment that it names", value);
}

void check_retry_after(std::string_view value) {
    const auto found = http::parse_retry_after(value, wall_time{});
    hold(!found || *found >= duration(0), "no wait is negative", value);
    hold(found == http::parse_retry_after(" \t" + std::string(value) + "\t ", wall_time{}),
         "blanks around a value mean nothing", value);
    const auto text = trimmed(value);
    if (is_number(text))
        check_seconds(text, found);
    else if (text.find_first_not_of("0123456789.") == std::string::npos) // a fraction is rounded up
        hold(!found || *found == duration::max() || *found == std::chrono::ceil<std::chrono::seconds>(*found),
             "a wait is whole seconds", text);
    else
        check_date(text, found);
    // Later, a date is nearer, and a number is the same.
    const auto later = http::parse_retry_after(value, wall_time{} + std::chrono::hours(24 * 365));
    hold(found.has_value() == later.has_value(), "whether a wait is one does not depend on the time", value);
}

std::string lower(std::string text) {
    for (char& c : text)
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return text;
}

void check_media_type(std::string_view value, std::string_view expected) {
    const bool is = lower(trimmed(value.substr(0, value.find(';')))) == lower(std::string(expected));
    hold(http::is_media_type(value, expected) == is, "a media type is compared without case and parameters",
         value);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto fields = fields_of(as_text(data, size));
    check_retry_after(fields[0]);
    check_media_type(fields[0], fields.size() > 1 ? fields[1] : "text/event-stream");
    check_media_type(fields[0], trimmed(fields[0].substr(0, fields[0].find(';'))));
    return 0;
}
