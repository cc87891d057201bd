#include <holdfast/testing/sim_http.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>

namespace holdfast::testing::detail {

namespace {

constexpr std::size_t head_limit = 64 * 1024;

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

/// Takes what stands before `separator` off the front of `text`, and the separator with it.
std::string_view take_until(std::string_view& text, std::string_view separator) {
    const auto end = text.find(separator);
    const auto taken = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + separator.size());
    return taken;
}

std::optional<std::size_t> to_size(std::string_view text, int base) {
    std::size_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc() || end != text.data() + text.size() || text.empty())
        return std::nullopt;
    return value;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

std::map<std::string, std::string> parse_query(std::string_view text) {
    std::map<std::string, std::string> query;
    while (!text.empty()) {
        auto value = take_until(text, "&");
        const auto name = take_until(value, "=");
        if (!name.empty())
            query[percent_decode(name, true)] = percent_decode(value, true);
    }
    return query;
}

/// Nothing when the head is not one.
std::optional<http_request> parse_head(std::string_view head) {
    http_request request;
    auto line = take_until(head, "\r\n");
    request.method = take_until(line, " ");
    auto target = take_until(line, " ");
    const auto version = line;
    if (request.method.empty() || target.empty() || target.front() != '/' ||
        (version != "HTTP/1.1" && version != "HTTP/1.0"))
        return std::nullopt;
    request.path = take_until(target, "?");
    request.query = parse_query(target);
    while (!head.empty()) {
        auto value = take_until(head, "\r\n");
        const auto name = take_until(value, ":");
        if (name.empty())
            return std::nullopt;
        request.headers[lower(name)] = trim(value);
    }
    request.http_1_0 = version == "HTTP/1.0";
    const auto connection = lower(request.header("connection"));
    request.keep_alive = request.http_1_0 ? connection == "keep-alive" : connection != "close";
    return request;
}

std::string_view reason(unsigned status) {
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 408: return "Request Timeout";
    case 425: return "Too Early";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "Unknown";
    }
}

} // namespace

std::string_view http_request::header(const std::string& lower_case_name) const {
    const auto found = headers.find(lower_case_name);
    return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

std::vector<std::string> http_request::segments() const {
    std::vector<std::string> out;
    std::string_view rest = path;
    while (!rest.empty()) {
        const auto segment = take_until(rest, "/");
        if (!segment.empty())
            out.push_back(percent_decode(segment));
    }
    return out;
}

std::optional<http_request> http_reader::next() {
    if (broken_ || (!request_ && !read_head()))
        return std::nullopt;
    if (!(chunked_ ? read_chunked_body() : read_plain_body()))
        return std::nullopt;
    auto whole = std::move(request_);
    request_.reset();
    return whole;
}

bool http_reader::read_head() {
    const auto end = buffer_.find("\r\n\r\n");
    if (end == std::string::npos) {
        broken_ = buffer_.size() > head_limit;
        return false;
    }
    request_ = parse_head(std::string_view(buffer_).substr(0, end));
    buffer_.erase(0, end + 4);
    if (!request_) {
        broken_ = true;
        return false;
    }
    chunked_ = lower(request_->header("transfer-encoding")) == "chunked";
    const auto length = request_->header("content-length");
    const auto size = to_size(length, 10);
    broken_ = !length.empty() && !size;
    body_left_ = size.value_or(0);
    wants_continue_ = lower(request_->header("expect")) == "100-continue";
    return !broken_;
}

bool http_reader::read_plain_body() {
    const auto take = std::min(body_left_, buffer_.size());
    request_->body.append(buffer_, 0, take);
    buffer_.erase(0, take);
    body_left_ -= take;
    return body_left_ == 0;
}

bool http_reader::read_chunked_body() {
    for (;;) {
        const auto line_end = buffer_.find("\r\n");
        if (line_end == std::string::npos)
            return false;
        std::string_view line = std::string_view(buffer_).substr(0, line_end);
        const auto size = to_size(trim(take_until(line, ";")), 16);
        if (!size || *size > buffer_.max_size() / 2) {
            broken_ = true;
            return false;
        }
        const auto whole = line_end + 2 + *size + 2;
        if (buffer_.size() < whole)
            return false;
        if (buffer_.compare(whole - 2, 2, "\r\n") != 0) {
            broken_ = true; // also trailers, which no client here sends
            return false;
        }
        request_->body.append(buffer_, line_end + 2, *size);
        buffer_.erase(0, whole);
        if (*size == 0)
            return true;
    }
}

std::string percent_decode(std::string_view text, bool plus_is_space) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
            hex_digit(text[i + 2]) >= 0) {
            out.push_back(static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
            i += 2;
        } else {
            out.push_back(plus_is_space && text[i] == '+' ? ' ' : text[i]);
        }
    }
    return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
    std::string out;
    std::uint32_t bits = 0;
    int count = 0;
    while (!text.empty() && text.back() == '=')
        text.remove_suffix(1);
    for (const char c : text) {
        int value = 0;
        if (c >= 'A' && c <= 'Z')
            value = c - 'A';
        else if (c >= 'a' && c <= 'z')
            value = c - 'a' + 26;
        else if (c >= '0' && c <= '9')
            value = c - '0' + 52;
        else if (c == '+' || c == '-')
            value = 62;
        else if (c == '/' || c == '_')
            value = 63;
        else
            return std::nullopt;
        bits = (bits << 6) | static_cast<std::uint32_t>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out.push_back(static_cast<char>((bits >> count) & 0xff));
        }
    }
    return out;
}

std::string base64url(std::string_view bytes) {
    static constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::string out;
    std::uint32_t bits = 0;
    int count = 0;
    for (const char c : bytes) {
        bits = (bits << 8) | static_cast<unsigned char>(c);
        count += 8;
        while (count >= 6) {
            count -= 6;
            out.push_back(alphabet[(bits >> count) & 63]);
        }
    }
    if (count > 0)
        out.push_back(alphabet[(bits << (6 - count)) & 63]);
    return out;
}

std::string http_date(std::int64_t wall_ms) {
    using namespace std::chrono;
    static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const sys_time<milliseconds> at{milliseconds(wall_ms)};
    const auto day = floor<std::chrono::days>(at);
    const year_month_day date(day);
    const hh_mm_ss time(floor<seconds>(at - day));
    char text[40];
    std::snprintf(text, sizeof text, "%s, %02u %s %04d %02d:%02d:%02d GMT", days[weekday(day).c_encoding()],
                  static_cast<unsigned>(date.day()), months[static_cast<unsigned>(date.month()) - 1],
                  static_cast<int>(date.year()), static_cast<int>(time.hours().count()),
                  static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()));
    return text;
}

std::string http_response(unsigned status, std::string_view content_type, std::string_view body,
                          const http_headers& more, bool keep_alive) {
    std::string out = "HTTP/1.1 " + std::to_string(status) + " ";
    out.append(reason(status)).append("\r\n");
    if (!content_type.empty())
        out.append("Content-Type: ").append(content_type).append("\r\n");
    for (const auto& [name, value] : more)
        out.append(name).append(": ").append(value).append("\r\n");
    if (!keep_alive)
        out.append("Connection: close\r\n");
    if (status != 204)
        out.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
    out.append("\r\n").append(body);
    return out;
}

std::string http_stream_head(bool chunked) {
    std::string out = "HTTP/1.1 200 OK\r\n"
                      "Cache-Control: no-cache, no-transform\r\n"
                      "X-Content-Type-Options: nosniff\r\n"
                      "Content-Type: text/event-stream\r\n"
                      "Vary: Origin\r\n"
                      "x-accel-buffering: no\r\n";
    out.append(chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "Connection: close\r\n\r\n");
    return out;
}

std::string http_chunk_head(std::size_t size) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, size, 16).ptr;
    return std::string(digits, end) + "\r\n";
}

} // namespace holdfast::testing::detail
