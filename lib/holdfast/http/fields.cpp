#include <holdfast/http/fields.hpp>

#include <holdfast/http/ascii.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <system_error>

namespace holdfast::http {
namespace {

using seconds_since_epoch = std::chrono::sys_seconds;

duration saturated(std::chrono::seconds wait) {
    constexpr auto longest = std::chrono::floor<std::chrono::seconds>(duration::max());
    return wait > longest ? duration::max() : duration(wait);
}

/// Reads a date from front to back. The first thing that is not as expected spoils it: ok() is false from
/// then on.
class date_reader {
public:
    explicit date_reader(std::string_view text) : rest_(text) {}

    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] bool at_end() const { return rest_.empty(); }

    void expect(std::string_view text) {
        ok_ = ok_ && rest_.starts_with(text);
        rest_.remove_prefix(ok_ ? text.size() : 0);
    }

    int number(std::size_t digits) {
        int value = 0;
        ok_ = ok_ && rest_.size() >= digits && std::all_of(rest_.begin(), rest_.begin() + digits, is_digit);
        for (std::size_t i = 0; ok_ && i < digits; ++i)
            value = value * 10 + (rest_[i] - '0');
        rest_.remove_prefix(ok_ ? digits : 0);
        return value;
    }

    /// The position of the one of `names` that comes next; names are told apart by their beginnings.
    template <std::size_t N>
    unsigned one_of(const std::array<std::string_view, N>& names) {
        const auto found = std::find_if(names.begin(), names.end(),
                                        [&](std::string_view name) { return rest_.starts_with(name); });
        ok_ = ok_ && found != names.end();
        rest_.remove_prefix(ok_ ? found->size() : 0);
        return ok_ ? static_cast<unsigned>(found - names.begin()) : 0;
    }

    std::chrono::month month() {
        static constexpr std::array<std::string_view, 12> names{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        return std::chrono::month(one_of(names) + 1);
    }

    std::chrono::seconds time_of_day() {
        const int hour = number(2);
        expect(":");
        const int minute = number(2);
        expect(":");
        const int second = number(2); // 60 is a leap second
        ok_ = ok_ && hour < 24 && minute < 60 && second <= 60;
        return std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
    }

private:
    std::string_view rest_;
    bool ok_ = true;
};

using date = std::chrono::year_month_day;

std::optional<seconds_since_epoch> finish(const date_reader& in, date day, std::chrono::seconds time) {
    if (!in.ok() || !in.at_end() || !day.ok())
        return std::nullopt;
    return std::chrono::sys_days(day) + time;
}

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::optional<seconds_since_epoch> imf_date(date_reader in) {
    const std::chrono::day day(static_cast<unsigned>(in.number(2)));
    in.expect(" ");
    const auto month = in.month();
    in.expect(" ");
    const std::chrono::year year(in.number(4));
    in.expect(" ");
    const auto time = in.time_of_day();
    in.expect(" GMT");
    return finish(in, {year, month, day}, time);
}

// "Sunday, 06-Nov-94 08:49:37 GMT"
std::optional<seconds_since_epoch> rfc850_date(date_reader in, std::chrono::year this_year) {
    const std::chrono::day day(static_cast<unsigned>(in.number(2)));
    in.expect("-");
    const auto month = in.month();
    in.expect("-");
    const int two_digits = in.number(2);
    in.expect(" ");
    const auto time = in.time_of_day();
    in.expect(" GMT");
    // RFC 9110: never more than 50 years ahead; what would be is the most recent past year with these digits.
    const int now = static_cast<int>(this_year);
    int year = now - now % 100 + 100 + two_digits;
    while (year > now + 50)
        year -= 100;
    return finish(in, {std::chrono::year(year), month, day}, time);
}

// "Sun Nov  6 08:49:37 1994"
std::optional<seconds_since_epoch> asctime_date(date_reader in) {
    const auto month = in.month();
    in.expect(" ");
    date_reader padded = in;
    padded.expect(" ");
    const int day_number = padded.ok() ? padded.number(1) : in.number(2);
    if (padded.ok())
        in = padded;
    in.expect(" ");
    const auto time = in.time_of_day();
    in.expect(" ");
    const std::chrono::year year(in.number(4));
    return finish(in, {year, month, std::chrono::day(static_cast<unsigned>(day_number))}, time);
}

/// A date in any of the three forms; the day's name tells which.
std::optional<seconds_since_epoch> parse_date(std::string_view text, std::chrono::year this_year) {
    static constexpr std::array<std::string_view, 7> long_names{
        "Monday, ", "Tuesday, ", "Wednesday, ", "Thursday, ", "Friday, ", "Saturday, ", "Sunday, "};
    static constexpr std::array<std::string_view, 7> imf_names{"Mon, ", "Tue, ", "Wed, ", "Thu, ",
                                                               "Fri, ", "Sat, ", "Sun, "};
    static constexpr std::array<std::string_view, 7> short_names{"Mon ", "Tue ", "Wed ", "Thu ",
                                                                 "Fri ", "Sat ", "Sun "};
    date_reader imf(text);
    imf.one_of(imf_names);
    if (imf.ok())
        return imf_date(imf);
    date_reader rfc850(text);
    rfc850.one_of(long_names);
    if (rfc850.ok())
        return rfc850_date(rfc850, this_year);
    date_reader asctime(text);
    asctime.one_of(short_names);
    return asctime.ok() ? asctime_date(asctime) : std::nullopt;
}

duration parse_seconds(std::string_view digits) {
    long long count = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    return parsed.ec == std::errc() ? saturated(std::chrono::seconds(count)) : duration::max();
}

/// The first element of the list that is none of those allowed, or empty.
std::string_view first_other(std::string_view list, std::initializer_list<std::string_view> allowed) {
    while (!list.empty()) {
        const auto comma = std::min(list.find(','), list.size());
        const auto element = trim(list.substr(0, comma));
        const auto is_it = [&](std::string_view each) { return iequals(element, each); };
        if (!element.empty() && std::none_of(allowed.begin(), allowed.end(), is_it))
            return element;
        list.remove_prefix(std::min(comma + 1, list.size()));
    }
    return {};
}

std::string_view coding_in(const header& field) {
    if (iequals(field.name, "Content-Encoding"))
        return first_other(field.value, {"identity"});
    if (iequals(field.name, "Transfer-Encoding"))
        return first_other(field.value, {"identity", "chunked"});
    return {};
}

/// Fit for a message: what a server sent may be anything.
std::string shown(std::string_view text) {
    constexpr std::size_t longest = 40;
    std::string safe(text.substr(0, longest));
    std::replace_if(safe.begin(), safe.end(), [](char c) { return !is_graphic(c); }, '?');
    return safe;
}

} // namespace

std::optional<failure> refuse_compressed(const std::vector<header>& response_fields) {
    for (const auto& each : response_fields) {
        if (const auto coding = coding_in(each); !coding.empty())
            return make_failure(errc::compressed, each.name + ": " + shown(coding), true);
    }
    return std::nullopt;
}

bool is_media_type(std::string_view content_type, std::string_view expected) noexcept {
    return iequals(trim(content_type.substr(0, content_type.find(';'))), expected);
}

std::optional<duration> parse_retry_after(std::string_view value, wall_time now) noexcept {
    value = trim(value);
    if (!value.empty() && std::all_of(value.begin(), value.end(), is_digit))
        return parse_seconds(value);
    const date today(std::chrono::floor<std::chrono::days>(now));
    const auto when = parse_date(value, today.year());
    if (!when)
        return std::nullopt;
    const auto wait = *when - std::chrono::floor<std::chrono::seconds>(now);
    return saturated(std::max(wait, std::chrono::seconds(0)));
}

std::optional<wall_time> parse_date(std::string_view value, wall_time now) noexcept {
    const date today(std::chrono::floor<std::chrono::days>(now));
    const auto when = parse_date(trim(value), today.year());
    return when ? std::optional<wall_time>(*when) : std::nullopt;
}

} // namespace holdfast::http
