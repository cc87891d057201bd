#include <holdfast/http/cookies.hpp>

#include <holdfast/http/ascii.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace holdfast::http {
namespace {

using std::chrono::sys_seconds;

// RFC 6265bis, section 5.5. It also keeps sums of times from overflowing.
constexpr std::chrono::days longest_life(400);

// The text up to `end`, and without it; all of it where there is none.
std::string_view take_up_to(std::string_view& text, char end) {
    const auto size = std::min(text.find(end), text.size());
    const auto taken = text.substr(0, size);
    text.remove_prefix(std::min(size + 1, text.size()));
    return taken;
}

std::string_view path_of(std::string_view target) {
    return target.substr(0, target.find('?'));
}

// RFC 6265, section 5.1.4.
std::string default_path(const url& from) {
    const auto path = path_of(from.target);
    return std::string(path.substr(0, std::max<std::size_t>(path.rfind('/'), 1)));
}

// The same.
bool matches(std::string_view path, std::string_view of_cookie) {
    return path.starts_with(of_cookie) &&
           (path.size() == of_cookie.size() || of_cookie.ends_with('/') || path[of_cookie.size()] == '/');
}

// RFC 6265, section 5.2.2. Nothing: it is none.
std::optional<wall_time> expires_after(std::string_view max_age, wall_time now) {
    const auto digits = max_age.substr(max_age.starts_with('-') ? 1 : 0);
    if (digits.empty() || !std::all_of(digits.begin(), digits.end(), is_digit))
        return std::nullopt;
    if (digits.size() < max_age.size())
        return wall_time::min();
    long long count = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    if (count == 0 && parsed.ec == std::errc())
        return wall_time::min();
    constexpr auto most = std::chrono::seconds(longest_life);
    return now + (parsed.ec == std::errc() ? std::min(std::chrono::seconds(count), most) : most);
}

std::optional<wall_time> expires_at(std::string_view date, wall_time now) {
    const auto when = parse_cookie_date(date);
    if (!when)
        return std::nullopt;
    const auto today = std::chrono::floor<std::chrono::seconds>(now);
    if (*when <= today)
        return wall_time::min();
    return now + std::min(*when - today, std::chrono::seconds(longest_life));
}

void set_if_any(std::optional<wall_time>& to, std::optional<wall_time> what) {
    if (what)
        to = what;
}

bool is_other_domain(std::string_view domain, const url& from) {
    domain.remove_prefix(domain.starts_with('.') ? 1 : 0);
    return !domain.empty() && !iequals(domain, from.where.host);
}

// --- dates

// 0x09, 0x20 to 0x2F, 0x3B to 0x40, 0x5B to 0x60, 0x7B to 0x7E.
bool is_delimiter(char c) {
    return c == '\t' || (is_graphic(c) && !is_alphanumeric(c) && c != ':') || c == ' ';
}

// At least and at most so many digits, behind which no further one comes.
std::optional<int> take_number(std::string_view& text, std::size_t least, std::size_t most) {
    int value = 0;
    std::size_t size = 0;
    for (; size < text.size() && is_digit(text[size]); ++size) {
        if (size == most)
            return std::nullopt;
        value = value * 10 + (text[size] - '0');
    }
    text.remove_prefix(size);
    return size < least ? std::nullopt : std::optional(value);
}

struct cookie_date {
    std::optional<std::chrono::seconds> time;
    std::optional<int> day, month, year;

    // Each part is the first token that looks like it.
    void read(std::string_view token) {
        if ((!time && read_time(token)) || (!day && read_number(token, 1, 2, day)) ||
            (!month && read_month(token)))
            return;
        if (!year)
            read_number(token, 2, 4, year);
    }

    static bool read_number(std::string_view token, std::size_t least, std::size_t most,
                            std::optional<int>& into) {
        into = take_number(token, least, most);
        return into.has_value();
    }

    bool read_time(std::string_view token) {
        int sum = 0;
        for (int n = 0; n < 3; ++n) {
            if (n != 0 && !token.starts_with(':'))
                return false;
            token.remove_prefix(n == 0 ? 0 : 1);
            const auto part = take_number(token, 1, 2);
            if (!part || *part >= (n == 0 ? 24 : 60))
                return false;
            sum = sum * 60 + *part;
        }
        time = std::chrono::seconds(sum);
        return true;
    }

    bool read_month(std::string_view token) {
        static constexpr std::array<std::string_view, 12> names{"jan", "feb", "mar", "apr", "may", "jun",
                                                                "jul", "aug", "sep", "oct", "nov", "dec"};
        for (std::size_t n = 0; n < names.size(); ++n)
            if (iequals(token.substr(0, 3), names[n])) {
                month = static_cast<int>(n) + 1;
                return true;
            }
        return false;
    }
};

} // namespace

std::optional<sys_seconds> parse_cookie_date(std::string_view text) noexcept {
    cookie_date found;
    while (!text.empty()) {
        const auto size =
            static_cast<std::size_t>(std::find_if(text.begin(), text.end(), is_delimiter) - text.begin());
        if (size != 0)
            found.read(text.substr(0, size));
        text.remove_prefix(std::min(size + 1, text.size()));
    }
    if (!found.time || !found.day || !found.month || !found.year)
        return std::nullopt;
    int year = *found.year;
    if (year < 100)
        year += year < 70 ? 2000 : 1900;
    const std::chrono::year_month_day date{std::chrono::year(year),
                                           std::chrono::month(static_cast<unsigned>(*found.month)),
                                           std::chrono::day(static_cast<unsigned>(*found.day))};
    if (year < 1601 || !date.ok())
        return std::nullopt;
    return std::chrono::sys_days(date) + *found.time;
}

cookie_jar::cookie_jar(const cookie_limits& limits) : limits_(limits) {}

bool cookie_jar::take(const std::vector<header>& response_fields, const url& origin, wall_time now) {
    const auto before = cookies_;
    for (const auto& each : response_fields) {
        if (!iequals(each.name, "Set-Cookie"))
            continue;
        auto one = parse(each.value, origin, now);
        if (one && one->size() <= limits_.one)
            put(std::move(*one));
    }
    forget_old(now);
    const auto says_the_same = [](const cookie& a, const cookie& b) {
        return a.origin == b.origin && a.name == b.name && a.value == b.value && a.path == b.path;
    };
    return !std::equal(before.begin(), before.end(), cookies_.begin(), cookies_.end(), says_the_same);
}

// RFC 6265, section 5.2 and 5.3; the last attribute of a name counts.
std::optional<cookie_jar::cookie> cookie_jar::parse(std::string_view text, const url& from, wall_time now) {
    if (std::any_of(text.begin(), text.end(), is_control))
        return std::nullopt;
    auto pair = take_up_to(text, ';');
    const bool is_pair = pair.find('=') != std::string_view::npos;
    cookie one;
    one.origin = from.where;
    one.name = trim(take_up_to(pair, '='));
    one.value = trim(pair);
    one.path = default_path(from);
    if (!is_pair || one.name.empty())
        return std::nullopt;
    std::optional<wall_time> max_age;
    std::string_view domain;
    bool secure = false;
    while (!text.empty()) {
        auto value = take_up_to(text, ';');
        const auto name = trim(take_up_to(value, '='));
        value = trim(value);
        if (iequals(name, "Path"))
            one.path = value.starts_with('/') ? std::string(value) : default_path(from);
        else if (iequals(name, "Max-Age"))
            set_if_any(max_age, expires_after(value, now));
        else if (iequals(name, "Expires"))
            set_if_any(one.expires, expires_at(value, now));
        else if (iequals(name, "Domain"))
            domain = value;
        else if (iequals(name, "Secure"))
            secure = true;
    }
    if (is_other_domain(domain, from) || (secure && from.where.scheme != "https"))
        return std::nullopt;
    if (max_age)
        one.expires = max_age;
    return one;
}

// In the place of one of the same name and path, where there is one.
void cookie_jar::put(cookie one) {
    const auto same = std::find_if(cookies_.begin(), cookies_.end(), [&](const cookie& each) {
        return each.origin == one.origin && each.name == one.name && each.path == one.path;
    });
    if (same == cookies_.end())
        cookies_.push_back(std::move(one));
    else
        *same = std::move(one);
}

void cookie_jar::forget_old(wall_time now) {
    std::erase_if(cookies_, [&](const cookie& each) { return each.expires && *each.expires <= now; });
    std::size_t total = 0, kept = 0;
    for (auto each = cookies_.rbegin(); each != cookies_.rend(); ++each, ++kept) {
        total += each->size();
        if (total > limits_.total || kept == limits_.count)
            break;
    }
    cookies_.erase(cookies_.begin(), cookies_.end() - static_cast<std::ptrdiff_t>(kept));
}

std::string cookie_jar::field_for(const url& where, wall_time now) const {
    std::vector<const cookie*> sent;
    for (const auto& each : cookies_)
        if (each.origin == where.where && (!each.expires || *each.expires > now) &&
            matches(path_of(where.target), each.path))
            sent.push_back(&each);
    std::stable_sort(sent.begin(), sent.end(),
                     [](const cookie* a, const cookie* b) { return a->path.size() > b->path.size(); });
    std::string field;
    for (const auto* each : sent)
        field += (field.empty() ? "" : "; ") + each->name + '=' + each->value;
    return field;
}

} // namespace holdfast::http
