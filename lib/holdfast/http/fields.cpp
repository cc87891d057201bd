#include <holdfast/http/fields.hpp>

#include <holdfast/http/ascii.hpp>
#include <holdfast/http/request.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <span>
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

/// Digits with at most one point among them, in units of `Unit`; a fraction counts as a whole one more.
template <class Unit>
std::optional<duration> parse_count(std::string_view text) {
    const auto point = std::min(text.find('.'), text.size());
    const auto whole = text.substr(0, point);
    const auto fraction = text.substr(std::min(point + 1, text.size()));
    const auto are_digits = [](std::string_view part) {
        return std::all_of(part.begin(), part.end(), is_digit);
    };
    if (whole.size() + fraction.size() == 0 || !are_digits(whole) || !are_digits(fraction))
        return std::nullopt;
    const bool more = fraction.find_first_not_of('0') != std::string_view::npos;
    constexpr auto longest = std::chrono::floor<Unit>(duration::max()).count();
    long long count = 0;
    const auto parsed = std::from_chars(whole.data(), whole.data() + whole.size(), count);
    const bool fits = whole.empty() || (parsed.ec == std::errc() && count < longest);
    return fits ? duration(Unit(count + (more ? 1 : 0))) : duration::max();
}

using names = std::span<const std::string_view>;

/// The first element of the list that is one of `known`, or, if not `wanted`, that is none of them; or empty.
std::string_view first_element(std::string_view list, names known, bool wanted) {
    while (!list.empty()) {
        const auto comma = std::min(list.find(','), list.size());
        const auto element = trim(list.substr(0, comma));
        const auto is_it = [&](std::string_view each) {
            return iequals(element, each);
        };
        if (!element.empty() && std::any_of(known.begin(), known.end(), is_it) == wanted)
            return element;
        list.remove_prefix(std::min(comma + 1, list.size()));
    }
    return {};
}

constexpr std::array<std::string_view, 7> compressions{"gzip", "x-gzip",   "deflate",   "br",
                                                       "zstd", "compress", "x-compress"};
constexpr std::array<std::string_view, 2> plain_transfers{"identity", "chunked"};

std::string_view coding_in(const header& field) {
    if (iequals(field.name, "Content-Encoding"))
        return first_element(field.value, compressions, true);
    if (iequals(field.name, "Transfer-Encoding"))
        return first_element(field.value, plain_transfers, false);
    return {};
}

/// The next element of the list up to a comma that is in no quoted string; `list` loses it (Fetch, "get,
/// decode, and split").
std::string_view take_element(std::string_view& list) {
    bool quoted = false;
    std::size_t end = 0;
    for (; end < list.size() && (quoted || list[end] != ','); ++end) {
        if (quoted && list[end] == '\\')
            ++end;
        else if (list[end] == '"')
            quoted = !quoted;
    }
    end = std::min(end, list.size());
    const auto element = trim(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
    return element;
}

/// Type and subtype of a valid media type, or empty (MIME Sniffing, section 4.4).
std::string_view essence_of(std::string_view media_type) {
    const auto essence = trim(media_type.substr(0, media_type.find(';')));
    const auto slash = essence.find('/');
    const bool valid = slash != std::string_view::npos && is_token(essence.substr(0, slash)) &&
                       is_token(essence.substr(slash + 1));
    return valid ? essence : std::string_view();
}

/// Fit for a message: what a server sent may be anything.
std::string named(std::string_view text) {
    constexpr std::size_t longest = 40;
    std::string safe(text.substr(0, longest));
    std::replace_if(safe.begin(), safe.end(), [](char c) { return !is_graphic(c); }, '?');
    return safe;
}

} // namespace

std::string compression_of(const std::vector<header>& response_fields) {
    std::string all;
    for (const auto& each : response_fields) {
        if (!iequals(each.name, "Content-Encoding"))
            continue;
        std::string_view list = each.value;
        for (auto one = first_element(list, compressions, true); !one.empty();
             one = first_element(list, compressions, true)) {
            all += (all.empty() ? "" : ", ") + to_lower(one);
            list.remove_prefix(static_cast<std::size_t>(one.data() - list.data()) + one.size());
        }
    }
    return all;
}

std::optional<failure> refuse_compressed(const std::vector<header>& response_fields,
                                         std::string_view undone) {
    const bool is_undone = !undone.empty() && compression_of(response_fields) == undone;
    for (const auto& each : response_fields) {
        if (is_undone && iequals(each.name, "Content-Encoding"))
            continue;
        if (const auto coding = coding_in(each); !coding.empty())
            return make_failure(errc::compressed, each.name + ": " + named(coding), true);
    }
    return std::nullopt;
}

std::string media_type_of(const std::vector<header>& fields) {
    std::string_view last;
    for (const auto& each : fields) {
        if (!iequals(each.name, "Content-Type"))
            continue;
        for (std::string_view list = each.value; !list.empty();) {
            const auto essence = essence_of(take_element(list));
            if (!essence.empty() && essence != "*/*")
                last = essence;
        }
    }
    return to_lower(last);
}

bool is_media_type(std::string_view content_type, std::string_view expected) noexcept {
    return iequals(trim(content_type.substr(0, content_type.find(';'))), expected);
}

std::optional<duration> parse_retry_after(std::string_view value, wall_time now) noexcept {
    value = trim(value);
    if (const auto count = parse_count<std::chrono::seconds>(value))
        return count;
    const date today(std::chrono::floor<std::chrono::days>(now));
    const auto when = parse_date(value, today.year());
    if (!when)
        return std::nullopt;
    const auto wait = *when - std::chrono::floor<std::chrono::seconds>(now);
    return saturated(std::max(wait, std::chrono::seconds(0)));
}

std::optional<duration> retry_wait(const std::vector<header>& response_fields, wall_time now) noexcept {
    for (const std::string_view exact : {"retry-after-ms", "x-ms-retry-after-ms"})
        if (const auto* const field = find_header(response_fields, exact))
            if (const auto wait = parse_count<std::chrono::milliseconds>(trim(field->value)))
                return wait;
    const auto* const field = find_header(response_fields, "Retry-After");
    return field ? parse_retry_after(field->value, now) : std::nullopt;
}

std::optional<wall_time> parse_date(std::string_view value, wall_time now) noexcept {
    const date today(std::chrono::floor<std::chrono::days>(now));
    const auto when = parse_date(trim(value), today.year());
    constexpr auto first = std::chrono::ceil<std::chrono::seconds>(wall_time::min());
    constexpr auto last = std::chrono::floor<std::chrono::seconds>(wall_time::max());
    return when && *when >= first && *when <= last ? std::optional<wall_time>(*when) : std::nullopt;
}

} // namespace holdfast::http
