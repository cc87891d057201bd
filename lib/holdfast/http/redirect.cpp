#include <holdfast/http/redirect.hpp>

#include <holdfast/http/ascii.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>

namespace holdfast::http {
namespace {

constexpr std::size_t longest_shown = 200;

constexpr std::array<std::string_view, 10> harmless_elsewhere{
    "Accept",           "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Encoding",
    "Content-Language", "Content-Type",    "Last-Event-ID",   "Pragma",        "User-Agent"};
constexpr std::array<std::string_view, 4> about_the_body{"Content-Type", "Content-Encoding",
                                                         "Content-Language", "Content-Location"};

template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& names, const header& field) {
    return std::any_of(names.begin(), names.end(),
                       [&](std::string_view name) { return iequals(field.name, name); });
}

bool becomes_get(const std::string& method, int status) {
    return (status == 303 && method != "HEAD") || ((status == 301 || status == 302) && method == "POST");
}

void keep_harmless(std::vector<header>& headers) {
    std::erase_if(headers, [](const header& each) { return !is_one_of(harmless_elsewhere, each); });
}

std::string origin_of(const url& base) {
    return base.where.scheme + "://" + base.host_header();
}

/// RFC 3986, section 5.2.4, for a path that begins with a slash.
std::string without_dot_segments(std::string_view path) {
    std::string kept;
    while (!path.empty()) {
        const auto segment = path.substr(0, path.find('/', 1)); // with its slash
        path.remove_prefix(segment.size());
        if (segment == "/..")
            kept.resize(kept.find_last_of('/') == std::string::npos ? 0 : kept.find_last_of('/'));
        else if (segment != "/.")
            kept += segment;
        if (path.empty() && (segment == "/." || segment == "/.."))
            kept += '/';
    }
    return kept;
}

/// What a Location is made of (RFC 3986, appendix B), its fragment left out.
struct reference {
    std::optional<std::string_view> scheme;
    std::optional<std::string_view> authority;
    std::string_view path;
    std::optional<std::string_view> query;
};

std::string_view take_up_to(std::string_view& rest, std::string_view ends) {
    const auto taken = rest.substr(0, rest.find_first_of(ends));
    rest.remove_prefix(taken.size());
    return taken;
}

reference take_apart(std::string_view location) {
    reference parts;
    auto rest = location.substr(0, location.find('#'));
    if (const auto colon = rest.find_first_of(":/?"); colon != std::string_view::npos && rest[colon] == ':') {
        parts.scheme = rest.substr(0, colon);
        rest.remove_prefix(colon + 1);
    }
    if (rest.starts_with("//")) {
        rest.remove_prefix(2);
        parts.authority = take_up_to(rest, "/?");
    }
    parts.path = take_up_to(rest, "?");
    if (!rest.empty())
        parts.query = rest.substr(1);
    return parts;
}

bool can_be_resolved(std::string_view location, const reference& parts) {
    return !location.empty() && std::none_of(location.begin(), location.end(), is_control) &&
           location.find('\\') == std::string_view::npos && (parts.authority.has_value() || !parts.scheme);
}

/// What browsers encode, and no more: `also` and what is no printable ASCII.
std::string encoded(std::string_view text, std::string_view also) {
    std::string safe;
    for (const char c : text) {
        if (is_graphic(c) && also.find(c) == std::string_view::npos)
            safe += c;
        else
            safe += percent_encode({&c, 1});
    }
    return safe;
}

/// RFC 3986, section 5.2.2: the target of a URL.
std::string target_of(const url& base, const reference& to) {
    const auto path = encoded(to.path, "\"<>^`{}");
    const auto base_path = std::string_view(base.target).substr(0, base.target.find('?'));
    std::string target;
    if (to.authority)
        target = without_dot_segments(path.empty() ? "/" : path);
    else if (path.starts_with('/'))
        target = without_dot_segments(path);
    else if (!path.empty())
        target =
            without_dot_segments(std::string(base_path.substr(0, base_path.rfind('/') + 1)).append(path));
    else
        target = base_path;
    if (to.query)
        return target.append("?").append(encoded(*to.query, "\"'<>"));
    return path.empty() && !to.authority ? base.target : target;
}

bool is_same_server(const endpoint& a, const endpoint& b) {
    return a.scheme == b.scheme && a.host == b.host && a.port == b.port;
}

/// What a server said, fit for a message: without userinfo, printable, and not too long.
std::string shown(std::string_view location) {
    std::string text;
    if (const auto at = location.rfind('@'); at != std::string_view::npos) {
        location.remove_prefix(at);
        text = "***";
    }
    for (const char c : location.substr(0, longest_shown))
        text += is_graphic(c) ? c : '?';
    return location.size() > longest_shown ? text + "..." : text;
}

failure refusal(int status, const std::string& why) {
    auto f = make_status_failure(status, {}, std::nullopt);
    f.message += ", a redirect " + why;
    return f;
}

} // namespace

bool is_redirect(int status) noexcept {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

result<url> resolve(const url& from, std::string_view location) {
    location = trim(location);
    const auto parts = take_apart(location);
    if (!can_be_resolved(location, parts)) {
        const auto absolute = parse_url(location); // says best what is wrong with one that was meant so
        const bool was_meant_so = location.find(':') != std::string_view::npos;
        return !absolute && was_meant_so ? absolute.error()
                                         : make_failure(errc::invalid_url, shown(location));
    }
    std::string origin = origin_of(from);
    if (parts.authority)
        origin = std::string(parts.scheme.value_or(from.where.scheme)).append("://").append(*parts.authority);
    auto to = parse_url(origin + '/');
    if (!to)
        return to;
    to->target = target_of(from, parts);
    const bool at_home = is_same_server(to->where, from.where);
    to->where.unix_socket = at_home ? from.where.unix_socket : std::string();
    to->user = at_home ? from.user : std::string();
    to->password = at_home ? from.password : std::string();
    to->has_userinfo = at_home && from.has_userinfo;
    return to;
}

request redirected(request what, int status, bool same_origin) {
    what.target.clear();
    if (becomes_get(what.method, status)) {
        what.method = "GET";
        what.body.clear();
        std::erase_if(what.headers, [](const header& each) { return is_one_of(about_the_body, each); });
    }
    if (!same_origin)
        keep_harmless(what.headers);
    return what;
}

redirects::redirects(url start, request what, unsigned most, bool trusted)
    : where_(std::move(start)), what_(std::move(what)), most_(most), trusted_(trusted) {}

request redirects::take(request prepared) {
    if (!prepared.target.empty())
        where_.target = std::exchange(prepared.target, {});
    what_.method = prepared.method;
    what_.body = prepared.body;
    asked_.emplace_back(what_.method, where_);
    if (elsewhere_ && !trusted_)
        keep_harmless(prepared.headers);
    return prepared;
}

// Another origin gets all that the present one gets, but the name of that.
void redirects::trust(url& target) {
    std::erase_if(what_.headers, [](const header& each) { return iequals(each.name, "Host"); });
    target.user = where_.user;
    target.password = where_.password;
    target.has_userinfo = where_.has_userinfo;
}

result<void> redirects::follow(int status, std::string_view location) {
    if (location.empty())
        return refusal(status, "without a Location");
    auto target = resolve(where_, location);
    const auto leads_to = "to " + (target ? target->redacted() : shown(location));
    if (most_ == 0)
        return refusal(status, leads_to + "; redirects are not followed");
    if (!target)
        return refusal(status, leads_to + ", which cannot be asked: " + target.error().message);
    if (followed_ == most_)
        return refusal(status,
                       leads_to + ", after " + std::to_string(most_) + " others: no more are followed");
    if (where_.where.scheme == "https" && target->where.scheme == "http")
        return refusal(status,
                       leads_to + ", from https to http: not followed, as it would give up encryption");
    const bool same_origin = target->where == where_.where;
    elsewhere_ = elsewhere_ || !same_origin;
    what_ = redirected(std::move(what_), status, same_origin || trusted_);
    if (trusted_ && !same_origin)
        trust(*target);
    where_ = *std::move(target);
    ++followed_;
    if (std::find(asked_.begin(), asked_.end(), std::pair(what_.method, where_)) != asked_.end())
        return refusal(status, leads_to + ", which was asked before: it goes round in circles");
    return result<void>();
}

} // namespace holdfast::http
