// Requests as text: what is accepted is exactly one request, what is refused deserves it. Input, parted by
// 0x1E: the URL's target or nothing, method, target, body, then names and values of headers in turn.
#include "fuzz.hpp"

#include <holdfast/http/request.hpp>

#include <optional>

namespace {

using namespace holdfast;
using namespace holdfast::fuzz;
using http::header;

std::string lower(std::string text) {
    for (char& c : text)
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return text;
}

std::size_t count(const std::vector<header>& headers, const std::string& name) {
    return static_cast<std::size_t>(std::count_if(
        headers.begin(), headers.end(), [&](const header& h) { return lower(h.name) == lower(name); }));
}

// --- the rules, as RFC 9110 and RFC 9112 have them

bool is_token(std::string_view text) {
    return !text.empty() && text.find_first_not_of("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string_view::npos;
}

bool is_target(std::string_view text) {
    for (const char c : text)
        if (c <= 0x20 || c >= 0x7f || c == '#')
            return false;
    return text.starts_with('/');
}

bool is_value(std::string_view text) {
    for (const char c : text)
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f)
            return false;
    return true;
}

bool is_right(const http::request& what, const http::url& where) {
    for (const auto& h : what.headers)
        if (!is_token(h.name) || !is_value(h.value) || lower(h.name) == "content-length" ||
            lower(h.name) == "transfer-encoding" || lower(h.name) == "proxy-authorization")
            return false;
    return is_token(what.method) && is_target(what.target.empty() ? where.target : what.target) &&
           count(what.headers, "host") <= 1;
}

// --- a server's view of it

struct received {
    std::string method, target;
    std::vector<header> headers;
    std::string body;
};

std::string take_line(std::string_view& text) {
    const auto end = text.find("\r\n");
    hold(end != std::string_view::npos, "every line of a head ends in CRLF", text);
    const std::string line(text.substr(0, end));
    hold(line.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos,
         "no line of a head has a CR, an LF or a NUL", line);
    text.remove_prefix(end + 2);
    return line;
}

received receive(std::string_view text) {
    received r;
    const auto first = take_line(text);
    const auto space = first.find(' ');
    const auto second = first.find(' ', space + 1);
    hold(second != std::string::npos && first.substr(second) == " HTTP/1.1",
         "the request line has three words", first);
    r.method = first.substr(0, space);
    r.target = first.substr(space + 1, second - space - 1);
    for (auto line = take_line(text); !line.empty(); line = take_line(text)) {
        const auto colon = line.find(':');
        hold(colon != std::string::npos && line.substr(colon).starts_with(": "),
             "a field is a name and a value", line);
        r.headers.push_back({line.substr(0, colon), line.substr(colon + 2)});
    }
    r.body = text;
    return r;
}

void check_accepted(const http::request& what, const http::url& where, std::string_view text) {
    const auto r = receive(text);
    same(r.method, what.method, "the method arrives");
    same(r.target, what.target.empty() ? where.target : what.target, "the target arrives");
    same(r.body, what.body, "nothing but the body comes after the head");

    std::vector<header> rest = r.headers;
    for (const auto& h : what.headers) {
        const auto found = std::find(rest.begin(), rest.end(), h);
        hold(found != rest.end(), "every field arrives", h.name + ": " + h.value);
        rest.erase(found);
    }
    for (const auto& h : rest)
        hold(h.name == "Host" || h.name == "Accept-Encoding" || h.name == "Authorization" ||
                 h.name == "Content-Length" || h.name == "User-Agent",
             "nothing else is added", h.name);

    hold(count(r.headers, "Host") == 1, "there is one Host", text);
    hold(count(r.headers, "Accept-Encoding") ==
             std::max<std::size_t>(1, count(what.headers, "Accept-Encoding")),
         "there is an Accept-Encoding", text);
    hold(count(r.headers, "Authorization") == std::max<std::size_t>(1, count(what.headers, "Authorization")),
         "credentials are sent", text);
    hold(count(r.headers, "Transfer-Encoding") == 0, "a body is sent by its length", text);
    hold(count(r.headers, "Content-Length") <= 1, "there is at most one Content-Length", text);
    hold(what.body.empty() || count(r.headers, "Content-Length") == 1, "a body has its length", text);
    for (const auto& h : r.headers)
        if (h.name == "Content-Length")
            same(h.value, std::to_string(what.body.size()), "a length is that of the body");
}

void check_refused(const failure& why, const http::request& what, const http::url& where) {
    hold(why.code == errc::invalid_request, "a request is refused as invalid");
    hold(is_value(why.message), "a refusal is one line", why.message);
    auto other = what;
    for (auto& h : other.headers)
        for (char& c : h.value)
            c = is_value({&c, 1}) ? 'q' : c;
    const auto again = http::serialize(other, where);
    hold(again.has_error() && again.error() == why, "a refusal does not depend on what values say",
         why.message);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto fields = fields_of(as_text(data, size));
    const auto field = [&](std::size_t i) {
        return std::string(i < fields.size() ? fields[i] : std::string_view());
    };

    http::url where = http::parse_url("http://user:secret@[::1]:4096/base?x=1").value();
    if (is_target(field(0)))
        where.target = field(0);
    http::request what;
    what.method = field(1);
    what.target = field(2);
    what.body = field(3);
    for (std::size_t i = 4; i + 1 < fields.size(); i += 2)
        what.headers.push_back({field(i), field(i + 1)});

    const auto text = http::serialize(what, where);
    hold(text.has_value() == is_right(what, where), "a request is refused if, and only if, it breaks a rule",
         as_text(data, size));
    if (text)
        check_accepted(what, where, *text);
    else
        check_refused(text.error(), what, where);
    return 0;
}
