// Where a redirect leads, and what may go there. Pure; needs no Asio.
#pragma once

#include <holdfast/http/request.hpp>
#include <holdfast/http/url.hpp>
#include <holdfast/retry/failure.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::http {

/// True for the statuses that ask for another URL: 301, 302, 303, 307 and 308 (RFC 9110, section 15.4).
[[nodiscard]] bool is_redirect(int status) noexcept;

/// The URL that `location` means when it comes from `from`: a reference resolved by RFC 3986, section 5,
/// without its fragment. In its path and query, what may not stand in a request (blanks, quotes, non-ASCII
/// bytes) is percent-encoded as browsers do it (URL Standard, path and special-query percent-encode sets);
/// all else goes on byte for byte, also what RFC 3986 would have encoded. Not taken, as clients differ on it:
/// a backslash, a control character. On a Unix socket the same origin stays there; any other one is reached
/// by the network. Userinfo in `location` is ignored: whoever answers does not choose the credentials that
/// are sent. Those of `from` stay for the same origin (scheme, host and port), and are gone for any other.
/// Errors: invalid_url, also when `location` is empty, and unsupported_scheme.
[[nodiscard]] result<url> resolve(const url& from, std::string_view location);

/// `what` as it is asked again after a redirect with `status`, of the URL's own target.
/// - 303: GET, unless it was HEAD; 301 and 302: POST becomes GET, as everywhere; 307 and 308: the same method
/// and body
///   (RFC 9110, sections 15.4.2 to 15.4.9). What becomes GET loses its body, and the fields that described
///   it: Content-Type, Content-Encoding, Content-Language, Content-Location.
/// - To the same origin all other fields stay. To another one only these do, whatever else there may be being
/// a
///   secret: Accept, Accept-Encoding, Accept-Language, Cache-Control, Content-Encoding, Content-Language,
///   Content-Type, Last-Event-ID, Pragma, User-Agent. So Authorization, Cookie, Proxy-Authorization and Host
///   do not. A body that is kept goes along.
[[nodiscard]] request redirected(request what, int status, bool same_origin);

/// One exchange and the redirects it is led through. For each step: take() the request, ask where(), and, if
/// the answer is_redirect(), follow() it.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class redirects {
public:
    /// Begins at `start` with `what`. At most `most` redirects are followed. `trusted`: other origins get all
    /// fields but Host, and the credentials of `start`'s URL, too.
    redirects(url start, request what, unsigned most, bool trusted = false);

    /// Where to ask now. The target of a request that was taken is in it.
    [[nodiscard]] const url& where() const noexcept { return where_; }

    /// What to ask there, before anyone prepares it for this one step.
    [[nodiscard]] const request& what() const noexcept { return what_; }

    [[nodiscard]] unsigned followed() const noexcept { return followed_; }

    /// What someone made of what(), to be asked now: its target, method and body count for the steps that
    /// follow as well, its fields for this one alone. Gives it back, without the fields that may not go to
    /// where() if that is, or was once on the way, another origin than the first: what was left out does not
    /// come back.
    [[nodiscard]] request take(request prepared);

    /// The next request differs from earlier ones by more than its URL and method, for example by a cookie.
    /// A redirect to a URL that was asked before is therefore no loop.
    void start_over() noexcept { asked_.clear(); }

    /// Goes where the answer to what was taken leads: a status for which is_redirect(), and the value of its
    /// Location field.
    ///
    /// Errors: bad_status, of class http_status, final as a rule, with the status and in words, the target
    /// shown without its userinfo: redirects are not followed (`most` is 0), more than `most`, no Location or
    /// an empty one or one that is no URL, from https to http, a URL that was asked before with the same
    /// method.
    [[nodiscard]] result<void> follow(int status, std::string_view location);

private:
    void trust(url& target);

    url where_;
    request what_;
    unsigned most_;
    bool trusted_;
    unsigned followed_ = 0;
    bool elsewhere_ = false;                         // another origin than the first was on the way
    std::vector<std::pair<std::string, url>> asked_; // method and URL
};

} // namespace holdfast::http
