#include <holdfast/http/exchange.hpp>

#include <holdfast/http/fields.hpp>
#include <holdfast/runtime/cancellation.hpp>
#include <holdfast/runtime/one_at_a_time.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

namespace holdfast::http {
namespace {

constexpr std::size_t read_size = 16u << 10;
constexpr int proxy_authentication_required = 407;
constexpr duration patience_with_proxy = seconds(1); // for the text beside a status that decides anyway

time_point deadline_after(time_point from, duration limit) {
    return limit == duration::zero() ? time_point::max() : later(from, limit);
}

} // namespace

// The connection and its watchdog: one timer, re-armed lazily, that closes the connection when a step takes
// too long. The step then sees its read or write fail, and says why.
struct body_stream::impl : std::enable_shared_from_this<impl> {
    impl(const runtime& w, std::unique_ptr<connection> c, response_limits bounds, bool head_request,
         std::size_t at_a_time = read_size)
        : world(w), wire(std::move(c)), parser(bounds, head_request),
          watchdog(world.clock(), world.executor()), buffer(at_a_time) {}

    runtime world;
    detail::one_at_a_time readers;
    std::unique_ptr<connection> wire;
    response_parser parser;
    timer watchdog;
    std::vector<char> buffer;
    std::vector<std::string_view> pieces;
    bool pieces_fresh = false; // body bytes that came with the head, not yet handed out
    time_point limit = time_point::max();
    time_point armed_for = time_point::max();
    bool watching = false;
    bool expired = false;
    bool closed = false;

    void close() noexcept {
        closed = true;
        if (wire)
            wire->close();
        watchdog.cancel();
    }

    // The connection for another use: this is closed without it.
    std::unique_ptr<connection> release() noexcept {
        auto taken = std::move(wire);
        close();
        return taken;
    }

    // Sets the moment by which the pending step must be done.
    void guard(time_point until) {
        limit = until;
        if (limit == time_point::max() || (watching && armed_for <= limit))
            return;
        armed_for = limit;
        watchdog.expires_at(limit);
        if (!watching)
            watch();
    }

    void watch() {
        watching = true;
        watchdog.async_wait([weak = weak_from_this()](boost::system::error_code) {
            if (const auto self = weak.lock())
                self->on_watchdog();
        });
    }

    void on_watchdog() {
        watching = false;
        if (closed || limit == time_point::max())
            return;
        if (world.now() < limit) {
            armed_for = limit;
            watchdog.expires_at(limit);
            watch();
            return;
        }
        expired = true;
        wire->close();
    }

    failure explain(failure f, errc when_expired) const {
        if (expired)
            return retry::make_failure(when_expired, {}, true);
        f.connected = true;
        return f;
    }

    // Reads once; what came of the body is in `pieces`. False: the peer has ended the connection.
    net::awaitable<result<bool>> read_once(errc when_expired) {
        const auto got = co_await wire->read_some(net::buffer(buffer));
        if (!got)
            co_return explain(got.error(), when_expired);
        error_code ec;
        if (*got == 0)
            ec = parser.put_end();
        else
            ec = parser.put(std::string_view(buffer.data(), *got), pieces);
        if (ec)
            co_return retry::make_failure(static_cast<errc>(ec.value()), parser.complaint(), true);
        co_return *got != 0;
    }

    net::awaitable<result<void>> exchange_heads(std::string bytes, time_point until, errc when_expired) {
        guard(until);
        const auto sent = co_await wire->write(bytes);
        // A server may answer and close before it has read everything: its answer counts, not our write.
        if (!sent && (expired || closed))
            co_return explain(sent.error(), when_expired);
        while (!parser.head_complete()) {
            const auto more = co_await read_once(when_expired);
            if (!more)
                co_return more.error();
            if (!*more && !parser.head_complete())
                co_return retry::make_failure(errc::cut, "before the response head was whole", true);
        }
        limit = time_point::max();
        pieces_fresh = true;
        co_return result<void>();
    }
};

struct exchange_access {
    static body_stream make(std::shared_ptr<body_stream::impl> state) {
        return body_stream(std::move(state));
    }
    using impl = body_stream::impl;
};

body_stream::body_stream(std::shared_ptr<impl> state) noexcept : impl_(std::move(state)) {}
body_stream::body_stream(body_stream&&) noexcept = default;
body_stream& body_stream::operator=(body_stream&& other) noexcept {
    std::swap(impl_, other.impl_);
    return *this;
}
body_stream::~body_stream() {
    close();
}

const response_head& body_stream::head() const noexcept {
    return impl_->parser.head();
}

void body_stream::close() noexcept {
    if (impl_)
        impl_->close();
}

net::awaitable<result<std::span<const std::string_view>>> body_stream::read(time_point deadline) {
    const auto me = impl_;
    const detail::one_at_a_time::call mine(me->readers, "another call reads this body already");
    // No clock runs between reads, however this one ends.
    struct at_rest {
        impl& me;
        ~at_rest() { me.limit = time_point::max(); }
    } const at_rest{*me};
    if (!std::exchange(me->pieces_fresh, false))
        me->pieces.clear();
    me->guard(deadline);
    while (me->pieces.empty() && !me->parser.complete()) {
        const auto more = co_await me->read_once(errc::stalled);
        if (!more)
            co_return more.error();
    }
    co_return std::span<const std::string_view>(me->pieces);
}

namespace {

using made_connection = result<std::unique_ptr<connection>>;

net::awaitable<made_connection> connect(runtime& world, endpoint where, time_point until) {
    auto connecting = world.connect(where);
    auto wire = co_await with_deadline(world, until, std::move(connecting));
    if (wire)
        co_return std::move(*wire);
    world.count(metric::connections_failed);
    co_return retry::make_failure(errc::connect_timeout, to_string(where));
}

// What a proxy answered instead of serving: its own failure, as the origin was not reached.
net::awaitable<failure> refusal(runtime& world, body_stream answer, url proxy, std::string asked,
                                time_point until) {
    const auto patience = std::min(patience_with_proxy, until - world.now());
    auto body = co_await read_error_body(world, answer, patience);
    const auto& head = answer.head();
    const auto retry_after = retry_wait(head.headers, world.wall_now());
    auto why = retry::make_status_failure(head.status, std::move(body), retry_after, head.headers);
    why.message = "the proxy " + to_string(proxy.where) + " answered " + asked + " with status " +
                  std::to_string(head.status);
    if (head.status == proxy_authentication_required)
        why.message +=
            proxy.has_userinfo ? ": it wants another user and password" : ": it wants a user and a password";
    why.connected = false;
    co_return why;
}

// Asks the proxy for a tunnel to the origin, whose bytes the connection then carries.
net::awaitable<made_connection> open_tunnel(runtime& world, std::unique_ptr<connection> wire, endpoint origin,
                                            url proxy, time_point until) {
    // What follows the head is the tunnel's, so not a byte more is read.
    constexpr std::size_t at_a_time = 1;
    const auto state = std::make_shared<exchange_access::impl>(world, std::move(wire), response_limits(),
                                                               /*head_request*/ false, at_a_time);
    auto answer = exchange_access::make(state);
    auto bytes = serialize_connect(origin, proxy);
    const auto heads = co_await state->exchange_heads(std::move(bytes), until, errc::connect_timeout);
    if (!heads) {
        auto why = heads.error();
        why.message += ": from the proxy " + to_string(proxy.where) + ", asked for " + to_string(origin);
        why.connected = false;
        co_return why;
    }
    if (answer.head().status / 100 == 2)
        co_return state->release();
    co_return co_await refusal(world, std::move(answer), std::move(proxy), "CONNECT", until);
}

// Connects to the origin, or to who stands for it; all of it must be done by `until`.
net::awaitable<made_connection> reach(runtime& world, endpoint origin, std::optional<url> proxy,
                                      time_point until) {
    if (!proxy)
        co_return co_await connect(world, std::move(origin), until);
    auto wire = co_await connect(world, proxy->where, until);
    if (!wire) {
        auto why = wire.error();
        why.message += ", the proxy for " + to_string(origin);
        co_return why;
    }
    if (origin.scheme != "https")
        co_return std::move(*wire);
    co_return co_await open_tunnel(world, std::move(*wire), std::move(origin), std::move(*proxy), until);
}

net::awaitable<made_connection> secure(runtime& world, std::unique_ptr<connection> wire, endpoint where,
                                       std::shared_ptr<const tls_context> tls, deadlines limits,
                                       time_point until) {
    auto shaking = start_tls(std::move(wire), std::move(tls), where.host);
    const auto by = std::min(until, deadline_after(world.now(), limits.tls));
    auto secured = co_await with_deadline(world, by, std::move(shaking));
    if (!secured)
        co_return retry::make_failure(errc::tls_timeout, to_string(where));
    if (*secured)
        co_return std::move(*secured);
    auto why = secured->error();
    why.message += ": " + to_string(where);
    why.connected = false; // nothing was asked
    co_return why;
}

} // namespace

net::awaitable<result<body_stream>> open_until(runtime world, url where, request what, transport how,
                                               response_limits bounds, time_point until) {
    const bool is_secure = where.where.scheme == "https";
    std::optional<url> proxy;
    if (where.where.unix_socket.empty())
        proxy = how.proxies.proxy_for(where.where);
    auto bytes = proxy && !is_secure ? serialize_for_proxy(what, where, *proxy) : serialize(what, where);
    if (!bytes)
        co_return bytes.error();
    const auto reached_by = std::min(until, deadline_after(world.now(), how.deadlines.connect));
    auto wire = co_await reach(world, where.where, proxy, reached_by);
    if (!wire)
        co_return wire.error();
    if (is_secure) {
        if (const auto trusting = see_to_trust(how, where.where); !trusting)
            co_return trusting.error();
        wire = co_await secure(world, std::move(*wire), where.where, how.tls, how.deadlines, until);
    }
    if (!wire)
        co_return wire.error();
    const auto state =
        std::make_shared<exchange_access::impl>(world, std::move(*wire), bounds, what.method == "HEAD");
    auto stream = exchange_access::make(state); // closes the connection on every way out
    const auto header = how.deadlines.header.value_or(default_header_deadline);
    const auto answered_by = std::min(until, deadline_after(world.now(), header));
    const auto heads = co_await state->exchange_heads(std::move(*bytes), answered_by, errc::header_timeout);
    if (!heads)
        co_return heads.error();
    if (proxy && !is_secure && stream.head().status == proxy_authentication_required)
        co_return co_await refusal(world, std::move(stream), *proxy, what.method, answered_by);
    co_return std::move(stream);
}

result<void> see_to_trust(transport& how, const endpoint& origin) {
    if (origin.scheme != "https" || how.tls)
        return {};
    auto made = make_tls_context();
    if (!made)
        return made.error();
    how.tls = std::move(*made);
    return {};
}

net::awaitable<result<body_stream>> open(runtime world, url where, request what, transport how,
                                         response_limits bounds) {
    return open_until(world, std::move(where), std::move(what), std::move(how), bounds, time_point::max());
}

net::awaitable<result<response>> fetch(runtime world, url where, request what, transport how,
                                       response_limits bounds) {
    const auto until = deadline_after(world.now(), how.deadlines.exchange);
    auto opened =
        co_await open_until(world, std::move(where), std::move(what), std::move(how), bounds, until);
    if (!opened)
        co_return opened.error();
    auto body = co_await read_whole(*opened, std::numeric_limits<std::size_t>::max(), until);
    if (!body)
        co_return body.error();
    response whole;
    whole.head = opened->head();
    whole.body = std::move(*body);
    co_return std::move(whole);
}

net::awaitable<result<std::string>> read_whole(body_stream& body, std::size_t most, time_point until) {
    std::string whole;
    for (;;) {
        const auto pieces = co_await body.read(until);
        if (!pieces) {
            failure f = pieces.error();
            if (f.code == errc::stalled) {
                f = retry::make_failure(errc::exchange_timeout, {}, true);
                f.status = body.head().status; // the head had come: the endpoint lives
            }
            co_return f;
        }
        if (pieces->empty())
            co_return std::move(whole);
        for (const auto piece : *pieces) {
            if (piece.size() > most - whole.size())
                co_return retry::make_failure(errc::body_too_large, {}, true);
            whole.append(piece);
        }
    }
}

net::awaitable<std::string> read_error_body(runtime& world, body_stream& body, duration patience) {
    constexpr std::size_t enough = retry::max_failure_body;
    const auto until = later(world.now(), patience);
    std::string text;
    while (text.size() < enough) {
        const auto pieces = co_await body.read(until);
        if (!pieces || pieces->empty())
            break;
        for (const auto piece : *pieces)
            text.append(piece.substr(0, enough - text.size()));
    }
    co_return text;
}

} // namespace holdfast::http
