#include "support/plain_http.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/write.hpp>
#include <boost/system/system_error.hpp>

#include <poll.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace holdfast::test {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using std::chrono::milliseconds;

namespace {

/// What can be read within the deadline; an error code says why nothing could.
std::string read_some(tcp::socket& socket, milliseconds deadline, error_code& error) {
    pollfd wait{socket.native_handle(), POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(deadline.count())) == 0) {
        error = asio::error::timed_out;
        return {};
    }
    std::array<char, 16384> block{};
    const auto got = socket.read_some(asio::buffer(block), error);
    return std::string(block.data(), got);
}

void send_request(tcp::socket& socket, unsigned short port, std::string_view method, std::string_view target,
                  std::string_view body, std::string_view more_fields) {
    std::string request(method);
    request.append(" ").append(target).append(" HTTP/1.1\r\nHost: 127.0.0.1:").append(std::to_string(port));
    request.append("\r\n").append(more_fields);
    if (!body.empty()) {
        request.append("Content-Type: application/json\r\n");
    }
    request.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n\r\n").append(body);
    socket.connect(tcp::endpoint(asio::ip::address_v4::loopback(), port));
    asio::write(socket, asio::buffer(request));
}

int status_of(std::string_view head) {
    int status = 0;
    const auto begin = head.find(' ') + 1;
    std::from_chars(head.data() + begin, head.data() + head.size(), status);
    return status;
}

/// Moves the payload of every whole chunk of `raw` to `text`. @return whether the last chunk was there.
bool unchunk(std::string& raw, std::string& text) {
    for (;;) {
        const auto line_end = raw.find("\r\n");
        if (line_end == std::string::npos) {
            return false;
        }
        std::size_t size = 0;
        std::from_chars(raw.data(), raw.data() + line_end, size, 16);
        const auto whole = line_end + 2 + size + 2;
        if (raw.size() < whole) {
            return false;
        }
        text.append(raw, line_end + 2, size);
        raw.erase(0, whole);
        if (size == 0) {
            return true;
        }
    }
}

std::size_t content_length_of(std::string_view head) {
    constexpr std::string_view name = "\r\ncontent-length: ";
    std::string lower(head);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    std::size_t length = 0;
    if (const auto at = lower.find(name); at != std::string::npos) {
        std::from_chars(lower.data() + at + name.size(), lower.data() + lower.size(), length);
    }
    return length;
}

/// The answer that `all` holds, once it is whole. Every server here says how long its body is, or chunks it.
std::optional<http_answer> whole_answer(const std::string& all) {
    const auto head_end = all.find("\r\n\r\n");
    if (head_end == std::string::npos) {
        return std::nullopt;
    }
    http_answer answer;
    answer.head = all.substr(0, head_end);
    answer.status = status_of(answer.head);
    auto rest = all.substr(head_end + 4);
    if (answer.head.find("chunked") != std::string::npos) {
        return unchunk(rest, answer.body) ? std::optional(answer) : std::nullopt;
    }
    const auto length = content_length_of(answer.head);
    answer.body = rest.substr(0, length);
    return rest.size() >= length ? std::optional(answer) : std::nullopt;
}

} // namespace

http_answer http_call(unsigned short port, std::string_view method, std::string_view target,
                      std::string_view body, std::string_view more_fields, milliseconds deadline) {
    asio::io_context context;
    tcp::socket socket(context);
    send_request(socket, port, method, target, body, std::string(more_fields) + "Connection: close\r\n");
    std::string all;
    error_code error;
    std::optional<http_answer> answer;
    while (!answer) {
        all += read_some(socket, deadline, error);
        if (error && error != asio::error::eof) {
            throw boost::system::system_error(error);
        }
        answer = whole_answer(all);
        if (!answer && error) {
            throw boost::system::system_error(error);
        }
    }
    return *answer;
}

plain_event_stream::plain_event_stream(unsigned short port, std::string_view target,
                                       std::string_view more_fields, milliseconds deadline)
    : socket_(context_) {
    send_request(socket_, port, "GET", target, {}, more_fields);
    while (raw_.find("\r\n\r\n") == std::string::npos) {
        raw_ += read_some(socket_, deadline, error_);
        if (error_) {
            throw boost::system::system_error(error_);
        }
    }
    const auto head_end = raw_.find("\r\n\r\n");
    status_ = status_of(raw_);
    raw_.erase(0, head_end + 4);
    ended_ = unchunk(raw_, text_);
}

int plain_event_stream::status() const noexcept {
    return status_;
}
error_code plain_event_stream::error() const noexcept {
    return error_;
}

void plain_event_stream::read_more(milliseconds deadline) {
    error_.clear();
    raw_ += read_some(socket_, deadline, error_);
    if (unchunk(raw_, text_)) {
        ended_ = true;
    }
}

std::optional<std::string> plain_event_stream::next(milliseconds deadline) {
    constexpr std::string_view prefix = "data: ";
    for (;;) {
        const auto end = text_.find("\n\n");
        if (end == std::string::npos && ended_) {
            error_ = asio::error::eof;
            return std::nullopt;
        }
        if (end == std::string::npos) {
            read_more(deadline);
            if (error_) {
                return std::nullopt;
            }
            continue;
        }
        auto event = text_.substr(0, end);
        text_.erase(0, end + 2);
        if (event.starts_with(prefix)) {
            return event.substr(prefix.size());
        }
    }
}

std::optional<std::string> plain_event_stream::next(const std::function<bool(std::string_view)>& wanted,
                                                    milliseconds deadline) {
    const auto until = std::chrono::steady_clock::now() + deadline;
    for (;;) {
        const auto left = std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
        auto event = left.count() > 0 ? next(left) : std::nullopt;
        if (!event || wanted(*event)) {
            return event;
        }
    }
}

} // namespace holdfast::test
