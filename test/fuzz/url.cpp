// URLs. Input: a URL, then 0x1E and any text.
#include "fuzz.hpp"

#include <holdfast/http/url.hpp>

namespace {

using namespace holdfast;
using namespace holdfast::fuzz;
using http::url;

bool is_graphic(char c) {
    return c > 0x20 && c < 0x7f;
}
bool all_graphic(std::string_view text) {
    return std::all_of(text.begin(), text.end(), is_graphic);
}
std::string lower(std::string_view text) {
    std::string out;
    for (const char c : text)
        out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return out;
}

std::string percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size()) {
            out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
            i += 2;
        } else {
            out += text[i];
        }
    }
    return out;
}

/// A URL as RFC 3986's appendix B takes it apart, without any judgement.
struct components {
    std::string_view scheme, userinfo, host, port, path, query;
    bool has_query = false;
};

components take_apart(std::string_view text) {
    components c;
    text = text.substr(0, text.find('#'));
    c.scheme = text.substr(0, text.find(':'));
    text.remove_prefix(c.scheme.size() + 3); // "://"
    auto authority = text.substr(0, text.find_first_of("/?"));
    text.remove_prefix(authority.size());
    c.path = text.substr(0, text.find('?'));
    c.has_query = c.path.size() < text.size();
    c.query = c.has_query ? text.substr(c.path.size() + 1) : std::string_view();
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
        c.userinfo = authority.substr(0, at);
        authority.remove_prefix(at + 1);
    }
    const auto bracket = authority.find(']');
    const auto colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
    c.host = authority.substr(0, colon);
    c.port = colon == std::string_view::npos ? std::string_view() : authority.substr(colon + 1);
    return c;
}

void check_parts(const url& found, std::string_view text) {
    const auto c = take_apart(text);
    same(found.where.scheme, lower(c.scheme), "the scheme is that of the URL");
    if (!c.host.starts_with('[')) // an IPv6 literal is normalised
        same(found.where.host, lower(c.host), "the host is that of the URL");
    if (c.port.empty())
        hold(found.where.port == (found.where.scheme == "https" ? 443 : 80), "no port is the default", text);
    else
        hold(std::to_string(found.where.port) ==
                 c.port.substr(std::min(c.port.find_first_not_of('0'), c.port.size())),
             "the port is that of the URL", text);
    const auto target =
        (c.path.empty() ? "/" : std::string(c.path)) + (c.has_query ? '?' + std::string(c.query) : "");
    same(found.target, target, "the target is the path and the query of the URL");
    const auto colon = c.userinfo.find(':');
    same(found.user, percent_decoded(c.userinfo.substr(0, colon)), "the user is that of the URL");
    same(found.password, colon == std::string_view::npos ? "" : percent_decoded(c.userinfo.substr(colon + 1)),
         "the password is that of the URL");
}

/// What goes on the wire and into logs.
void check_safe(const url& found) {
    hold(found.where.scheme == "http" || found.where.scheme == "https", "only http and https",
         found.where.scheme);
    hold(!found.where.host.empty() && all_graphic(found.where.host) &&
             found.where.host.find_first_of("/?#@\\%[]<>\"") == std::string::npos,
         "a host is a plain name or an IP address", found.where.host);
    hold(found.where.port != 0, "a port is from 1 to 65535");
    hold(found.target.starts_with('/') && all_graphic(found.target) &&
             found.target.find('#') == std::string::npos,
         "a target is printable and without a fragment", found.target);
    hold(all_graphic(found.host_header()), "a Host field is printable", found.host_header());
    hold(all_graphic(found.redacted()), "a URL for logs is one printable word", found.redacted());
    hold(found.user.find(':') == std::string::npos, "a user has no colon", found.user);
    for (const char c : found.user + found.password)
        hold(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "credentials have no control characters",
             found.user + found.password);
    hold(found.has_userinfo == !(found.user + found.password).empty(), "userinfo is a user or a password");
}

std::string written(const url& u) {
    std::string text = u.where.scheme + "://";
    if (u.has_userinfo)
        text += http::percent_encode(u.user) + ':' + http::percent_encode(u.password) + '@';
    return text + u.host_header() + u.target;
}

void check_round_trip(const url& found) {
    const auto again = http::parse_url(written(found));
    hold(again.has_value(), "what a URL was parsed into can be written as one", written(found));
    hold(*again == found, "a URL that is written and parsed again is the same", written(found));
    hold(to_string(found.where) == to_string(again->where), "an endpoint is written the same",
         written(found));
}

void check_redaction(const url& found) {
    auto other = found;
    if (!other.password.empty())
        other.password += "other";
    else if (other.has_userinfo)
        other.user += "other";
    same(found.redacted(), other.redacted(), "a URL for logs does not depend on its secret");
}

void check_with_path(const url& found, std::string_view text) {
    const auto encoded = http::percent_encode(text);
    hold(all_graphic(encoded), "what is percent-encoded is printable", encoded);
    same(percent_decoded(encoded), text, "what is percent-encoded is decoded to the same");
    auto expected = found;
    expected.target = found.target.substr(0, found.target.find('?'));
    if (expected.target.ends_with('/'))
        expected.target.pop_back();
    expected.target += "/p?q=" + encoded;
    const auto moved = found.with_path("/p?q=" + encoded);
    hold(moved == expected, "a path goes behind the URL's own and changes nothing else", moved.target);
    check_safe(moved);
    check_round_trip(moved);
}

bool is_scheme(std::string_view text) {
    return text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") ==
           std::string_view::npos;
}

/// A password may be anywhere between the scheme and the last "@".
void check_shows_no_credentials(const failure& why, std::string_view text) {
    const auto at = text.rfind('@');
    if (at == std::string_view::npos)
        return;
    const auto scheme = text.find("://");
    const bool has_scheme = scheme < at && is_scheme(text.substr(0, scheme));
    const auto shown = '"' + std::string(has_scheme ? text.substr(0, scheme + 3) : "") + "***@";
    hold(why.message.find(shown.substr(0, 200)) != std::string::npos, "a refusal shows no credentials",
         why.message);
}

void check_refusal(const failure& why, std::string_view text) {
    hold(why.code == errc::invalid_url || why.code == errc::unsupported_scheme,
         "a URL is refused as invalid or for its scheme", text);
    hold(std::all_of(why.message.begin(), why.message.end(),
                     [](char c) { return is_graphic(c) || c == ' '; }) &&
             why.message.size() < 1000,
         "a refusal is one short printable line", why.message);
    check_shows_no_credentials(why, text);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto fields = fields_of(as_text(data, size));
    const auto text = fields.front();
    const auto found = http::parse_url(text);
    if (!found) {
        check_refusal(found.error(), text);
        return 0;
    }
    check_safe(*found);
    check_parts(*found, text);
    check_round_trip(*found);
    check_redaction(*found);
    check_with_path(*found, fields.size() > 1 ? fields[1] : std::string_view());
    return 0;
}
