#include "support/scripted_server.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace holdfast::test {
namespace {

bool same_name(std::string_view a, std::string_view b) {
    auto lower = [](char c) {
        return std::tolower(static_cast<unsigned char>(c));
    };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [&](char x, char y) { return lower(x) == lower(y); });
}

// Where the value of a header field is in a request's text; npos when there is none.
std::string_view find_header(std::string_view text, std::string_view name, bool& found) {
    text = text.substr(0, text.find("\r\n\r\n"));
    found = false;
    for (auto at = text.find("\r\n"); at != std::string_view::npos; at = text.find("\r\n", at + 2)) {
        const auto line = text.substr(at + 2, text.find("\r\n", at + 2) - at - 2);
        const auto colon = line.find(": ");
        if (colon == std::string_view::npos || !same_name(line.substr(0, colon), name))
            continue;
        found = true;
        return line.substr(colon + 2);
    }
    return {};
}

bool is_whole(std::string_view request) {
    const auto head_end = request.find("\r\n\r\n");
    if (head_end == std::string_view::npos)
        return false;
    bool found = false;
    const auto length = find_header(request, "Content-Length", found);
    std::size_t body = 0;
    std::from_chars(length.data(), length.data() + length.size(), body);
    return request.size() >= head_end + 4 + body;
}

} // namespace

step send(std::string bytes, duration after) {
    return {step::kind::send, std::move(bytes), after};
}

step finish(duration after) {
    return {step::kind::finish, {}, after};
}

step reset(duration after) {
    return {step::kind::reset, {}, after};
}

std::string scripted_server::asked::header(std::string_view name) const {
    bool found = false;
    return std::string(find_header(text, name, found));
}

bool scripted_server::asked::has_header(std::string_view name) const {
    bool found = false;
    find_header(text, name, found);
    return found;
}

std::string scripted_server::asked::target() const {
    const auto begin = text.find(' ') + 1;
    return text.substr(begin, text.find(' ', begin) - begin);
}

scripted_server::scripted_server(testing::world& world, endpoint where)
    : world_(world), where_(std::move(where)) {
    world_.net().listen(where_, *this);
}

scripted_server::~scripted_server() {
    world_.net().stop_listening(where_);
}

void scripted_server::accepted(testing::wire_id wire) {
    ++accepted_;
    newest_ = wire;
    script mine = ever_after_;
    if (!scripts_.empty()) {
        mine = std::move(scripts_.front());
        scripts_.pop_front();
    }
    players_.try_emplace(wire, world_, std::move(mine));
}

void scripted_server::received(testing::wire_id wire, std::string_view bytes) {
    auto& player = players_.at(wire);
    player.request += bytes;
    if (player.asked || !is_whole(player.request))
        return;
    player.asked = true;
    requests_.push_back({wire, world_.time().now(), player.request});
    advance(wire);
}

void scripted_server::closed(testing::wire_id wire) {
    players_.erase(wire);
}

void scripted_server::advance(testing::wire_id wire) {
    auto& player = players_.at(wire);
    while (player.next < player.steps.size()) {
        auto& coming = player.steps[player.next];
        if (coming.after > duration::zero()) {
            player.clock.expires_at(world_.time().now() + std::exchange(coming.after, {}));
            player.clock.async_wait([this, wire](boost::system::error_code ec) {
                if (!ec && players_.contains(wire))
                    advance(wire);
            });
            return;
        }
        ++player.next;
        act(wire, coming);
    }
}

void scripted_server::act(testing::wire_id wire, const step& what) {
    switch (what.what) {
    case step::kind::send: return world_.net().send(wire, what.bytes);
    case step::kind::finish: return world_.net().finish(wire);
    case step::kind::reset: return world_.net().reset(wire);
    }
}

std::string response(int status, std::string_view type, std::string_view body,
                     std::string_view more_headers) {
    std::string text = "HTTP/1.1 " + std::to_string(status) + " Status\r\n";
    if (!type.empty())
        text += "Content-Type: " + std::string(type) + "\r\n";
    text += more_headers;
    if (status != 204)
        text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return text + "\r\n" + std::string(body);
}

std::string sse_head() {
    return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
}

std::string chunk(std::string_view payload) {
    char size[16];
    const auto end = std::to_chars(size, size + sizeof size, payload.size(), 16).ptr;
    return std::string(size, end) + "\r\n" + std::string(payload) + "\r\n";
}

std::string last_chunk() {
    return "0\r\n\r\n";
}

std::string sse_response(std::string_view body) {
    return sse_head() + (body.empty() ? std::string() : chunk(body));
}

} // namespace holdfast::test
