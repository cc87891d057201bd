#include "watch/port.hpp"

#include "watch/descriptor_reserve.hpp"
#include "watch/request.hpp"

#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/runtime/with_deadline.hpp>
#include <holdfast/sse/utf8.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/json/serialize.hpp>

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

namespace holdfast::app {

namespace {

using boost::system::error_code;
using net::ip::tcp;
constexpr auto as_result = net::as_tuple(net::use_awaitable);

constexpr std::size_t other_connections = 64;   // besides the viewers
constexpr std::size_t refused_at_once = 64;     // connections that get a health check or 503 at most
constexpr std::size_t reserved_descriptors = 8; // for those, when the process has no others left
constexpr duration refusal_patience = seconds(1);
constexpr std::size_t piece_size = 32u << 10;    // of /events, about; an event is not split
constexpr std::size_t ignored_input = 64u << 10; // of one who has nothing to say any more
constexpr int send_buffer = 64 << 10;            // the system's would hold megabytes for each slow viewer
constexpr duration lingering = milliseconds(500);

constexpr std::string_view paths = "/ /status /metrics /livez /readyz /events";
constexpr std::string_view plain_text = "text/plain; charset=utf-8";

// --- what is answered

struct answer {
    int status = 200;
    std::string_view type = plain_text;
    std::string body;
    std::string_view more_fields = {}; ///< whole lines
    bool hang_up = false;
};

std::string_view reason(int status) {
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 421: return "Misdirected Request";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    default: return "Service Unavailable";
    }
}

answer refusal(int status, std::string why, std::string_view more_fields = {}) {
    return {status, plain_text, std::move(why) + '\n', more_fields};
}

/// For a client whose next request cannot be found in what it sends.
answer last_refusal(int status, std::string why) {
    return {status, plain_text, std::move(why) + '\n', {}, true};
}

answer too_many() {
    return refusal(503, "too many connections", "Retry-After: 5\r\n");
}

std::string status_line(int status) {
    return "HTTP/1.1 " + std::to_string(status) + ' ' + std::string(reason(status)) + "\r\n";
}

std::string to_text(const answer& told, bool head_only, bool keep_alive) {
    std::string text = status_line(told.status);
    text.append("Content-Type: ").append(told.type);
    text.append("\r\nContent-Length: ").append(std::to_string(told.body.size()));
    text.append("\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n")
        .append(told.more_fields);
    text.append(keep_alive ? "\r\n" : "Connection: close\r\n\r\n");
    if (!head_only)
        text += told.body;
    return text;
}

std::string events_head(bool chunks) {
    return status_line(200) +
           "Content-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"
           "X-Content-Type-Options: nosniff\r\n" +
           (chunks ? "Transfer-Encoding: chunked\r\n" : "") + "Connection: close\r\n\r\n";
}

std::string chunk(std::string_view piece) {
    std::array<char, 16> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), piece.size(), 16).ptr;
    return std::string(digits.data(), end).append("\r\n").append(piece).append("\r\n");
}

std::string to_sse(const event_ring::event& each) {
    return "id: " + each.id + "\nevent: " + each.name + "\ndata: " + each.data + "\n\n";
}

/// As much as is there, and about as much as one piece takes.
std::string next_piece(event_ring::viewer& viewer) {
    std::string piece;
    while (piece.size() < piece_size) {
        const auto event = viewer.next();
        if (!event)
            break;
        piece += to_sse(*event);
    }
    return piece;
}

/// For people who look with a browser or curl.
answer front_page() {
    return {200, plain_text,
            "holdfast watch\n\n"
            "/status   what is watched, as JSON\n"
            "/metrics  for Prometheus\n"
            "/livez    200 while this program runs\n"
            "/readyz   200 when it does what it is for, else 503\n"
            "/events   what happens, as an event stream\n"};
}

} // namespace

class watch_port::machine {
public:
    machine(runtime& world, watch_port_config config, watch_sources sources, event_ring& ring)
        : world_(world), config_(std::move(config)), sources_(std::move(sources)), ring_(ring),
          listener_(world.executor()), changed_(world), stopped_(world),
          tasks_(world, [&world](const std::exception_ptr& error) { log(world, error); }) {
        ring_.on_publish([this] { changed_.notify_all(); });
    }
    ~machine() { ring_.on_publish({}); }
    machine(const machine&) = delete;
    machine& operator=(const machine&) = delete;

    result<endpoint> listen() {
        const auto address = config_.host == "localhost" ? net::ip::address(net::ip::address_v4::loopback())
                                                         : address_of(config_.host);
        if (address.is_unspecified() && config_.host != "0.0.0.0" && config_.host != "::")
            return unusable(config_.host + " is not an address, as 127.0.0.1, ::1 or localhost");
        if (!address.is_loopback() && config_.token.empty())
            return unusable("refusing to listen on " + config_.host +
                            " without a token: others can reach that address");
        if (const auto failed = bind({address, config_.port}))
            return unusable("cannot listen on " + config_.host + " port " + std::to_string(config_.port) +
                            ": " + failed.message());
        return endpoint("http", address.to_string(), listener_.local_endpoint().port());
    }

    /// A root: it may reset its cancellation state.
    net::awaitable<void> run() {
        co_await net::post(world_.executor(), net::use_awaitable); // see with_deadline.hpp
        tasks_.spawn(accept());
        try {
            while (!stopping_)
                co_await stopped_.wait();
        } catch (const boost::system::system_error&) {
            stopping_ = true;
        }
        co_await net::this_coro::reset_cancellation_state(net::disable_cancellation());
        end_what_waits();
        auto ended = tasks_.join();
        co_await with_deadline(world_, world_.now() + lingering, std::move(ended));
        tasks_.cancel();
        co_await tasks_.join();
    }

    void stop() {
        stopping_ = true;
        stopped_.notify_all();
    }

    [[nodiscard]] std::size_t viewers() const noexcept { return viewers_; }
    [[nodiscard]] runtime& world() const noexcept { return world_; }

private:
    struct client {
        client(std::set<client*>& all, tcp::socket s) : socket(std::move(s)), among(all) {
            among.insert(this);
        }
        ~client() { among.erase(this); }
        client(const client&) = delete;
        client& operator=(const client&) = delete;

        tcp::socket socket;
        std::set<client*>& among;
        std::string input; ///< read, and not used yet
        watch_request asked;
        enum class phase { answering, waiting, leaving };
        phase now = phase::answering;
        std::uint64_t waits_since = 0; ///< in the order of all waits: the lower, the longer
        bool ended = false;            ///< its side has ended, or ours was closed
    };
    using client_ptr = std::shared_ptr<client>;

    /// Counts for as long as it lives.
    class tally {
    public:
        explicit tally(std::size_t& count) : count_(count) { ++count_; }
        ~tally() { --count_; }
        tally(const tally&) = delete;
        tally& operator=(const tally&) = delete;

    private:
        std::size_t& count_;
    };

    static failure unusable(std::string why) {
        failure f = make_failure(errc::local);
        f.message = std::move(why);
        return f;
    }

    static net::ip::address address_of(const std::string& host) {
        error_code failed;
        return net::ip::make_address(host, failed);
    }

    error_code bind(const tcp::endpoint& where) {
        error_code failed;
        listener_.open(where.protocol(), failed);
        if (!failed)
            listener_.set_option(tcp::acceptor::reuse_address(true), failed);
        if (!failed)
            listener_.bind(where, failed);
        if (!failed)
            listener_.listen(net::socket_base::max_listen_connections, failed);
        if (!failed)
            listener_.non_blocking(true, failed);
        return failed;
    }

    static void log(const runtime& world, const std::exception_ptr& error) {
        log_record record;
        record.level = log_level::error;
        record.event = "port.error";
        record.error_message = what_of(error);
        world.log(record);
    }

    void end_what_waits() {
        error_code ignored;
        listener_.close(ignored);
        changed_.notify_all();
        for (const auto* all : {&clients_, &refused_})
            for (const auto& each : *all)
                if (each->now == client::phase::waiting)
                    each->socket.close(ignored);
    }

    // --- connections

    net::awaitable<void> accept() {
        while (!stopping_) {
            auto [failed, socket] = co_await listener_.async_accept(as_result);
            reserve_.fill();
            if (!failed)
                admit(std::move(socket));
            else if (listener_.is_open() && !accept_in_need())
                co_await world_.sleep_for(milliseconds(50));
        }
    }

    /// Out of descriptors: one from the reserve serves a health check, or says that there are too many
    /// connections.
    bool accept_in_need() {
        if (!reserve_.release())
            return evict(refused_) || evict(clients_);
        error_code failed;
        auto socket = listener_.accept(failed); // does not block, see bind()
        if (!failed)
            refuse_or_check(std::move(socket));
        reserve_.fill(); // where it was something else that failed
        return !failed;
    }

    void admit(tcp::socket socket) {
        const auto most = other_connections + config_.viewers;
        if (clients_.size() < most || evict(clients_))
            tasks_.spawn(serve(client_of(clients_, std::move(socket))));
        else
            refuse_or_check(std::move(socket));
    }

    void refuse_or_check(tcp::socket socket) {
        if (refused_.size() < refused_at_once || evict(refused_))
            tasks_.spawn(refuse(client_of(refused_, std::move(socket))));
    }

    static client_ptr client_of(std::set<client*>& among, tcp::socket socket) {
        error_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);
        socket.set_option(net::socket_base::send_buffer_size(send_buffer), ignored);
        return std::make_shared<client>(among, std::move(socket));
    }

    /// Ends the connection that waits for its client longest. @return false: something is being done for each
    static bool evict(std::set<client*>& among) {
        client* longest = nullptr;
        for (auto* const each : among)
            if (each->now != client::phase::answering &&
                (!longest || each->waits_since < longest->waits_since))
                longest = each;
        if (!longest)
            return false;
        error_code ignored;
        longest->ended = true;
        longest->socket.close(ignored);
        among.erase(longest);
        return true;
    }

    void begin_wait(client& who, client::phase how) {
        who.now = how;
        who.waits_since = ++waits_;
    }

    /// Answers a health check, and everything else with 503.
    net::awaitable<void> refuse(client_ptr who) {
        begin_wait(*who, client::phase::waiting);
        auto reading = read_head(who);
        const auto came =
            co_await with_deadline<heard>(world_, later(world_.now(), refusal_patience), std::move(reading));
        who->now = client::phase::answering;
        const bool silent = came == heard::nothing && who->input.empty();
        const bool checks = came == heard::request && who->asked.is_health_check();
        auto told = checks ? answer_to(*who) : too_many();
        const bool head_only = came == heard::request && who->asked.head_only();
        if (!silent && !who->ended)
            co_await write(who, to_text(told, head_only, false));
        if (!who->ended)
            co_await hang_up(who);
        reserve_.fill();
    }

    net::awaitable<void> serve(client_ptr who) {
        bool more = true;
        while (more && !stopping_)
            more = co_await serve_request(who);
        if (!who->ended)
            co_await hang_up(who);
    }

    enum class heard { nothing, request, garbage, too_much };

    /// @return whether the client may ask once more
    net::awaitable<bool> serve_request(client_ptr who) {
        auto reading = read_head(who);
        begin_wait(*who, client::phase::waiting);
        const auto came = co_await with_deadline<heard>(world_, later(world_.now(), config_.head_deadline),
                                                        std::move(reading));
        who->now = client::phase::answering;
        if (came != heard::request)
            co_return co_await answer_no_request(who, came);
        const auto told = answer_to(*who);
        if (told.status == 200 && who->asked.path == "/events") {
            co_await show_events(who);
            co_return false;
        }
        const bool more = who->asked.may_be_followed() && !told.hang_up && !stopping_;
        if (!co_await write(who, to_text(told, who->asked.head_only(), more)))
            co_return false;
        co_return more;
    }

    /// @return false
    net::awaitable<bool> answer_no_request(client_ptr who, std::optional<heard> came) {
        const bool silent = came ? *came == heard::nothing : who->input.empty();
        if (!silent && !who->ended)
            co_await write(who, to_text(answer_to_no_request(came), false, false));
        co_return false;
    }

    /// Into `asked`; what follows the head stays in `input`.
    net::awaitable<heard> read_head(client_ptr from) {
        constexpr std::string_view mark = "\r\n\r\n";
        std::size_t searched = 0;
        for (;;) {
            const auto end = from->input.find(mark, searched);
            if (end != std::string::npos && end + mark.size() <= watch_head_limit)
                co_return take_head(*from, end + mark.size());
            if (from->input.size() >= watch_head_limit)
                co_return heard::too_much;
            searched = from->input.size() < mark.size() ? 0 : from->input.size() - mark.size() + 1;
            if (!co_await read_more(*from))
                co_return heard::nothing;
        }
    }

    static heard take_head(client& from, std::size_t size) {
        auto asked = parse_watch_request(std::string_view(from.input).substr(0, size));
        from.input.erase(0, size);
        if (!asked)
            return heard::garbage;
        from.asked = std::move(*asked);
        return heard::request;
    }

    /// Appends to `input`. @return false at the end of the client's side, or after our own close()
    net::awaitable<bool> read_more(client& from) {
        std::array<char, 4096> block;
        const auto [failed, size] = co_await from.socket.async_read_some(net::buffer(block), as_result);
        from.input.append(block.data(), size);
        if (failed == net::error::operation_aborted)
            co_await throw_if_cancelled(); // at a deadline
        from.ended = from.ended || failed.failed();
        co_return !failed;
    }

    /// Reads and drops what the client says, until it ends or says too much.
    net::awaitable<void> ignore_input(client_ptr from) {
        for (std::size_t ignored = 0; ignored < ignored_input && co_await read_more(*from);) {
            ignored += from->input.size();
            from->input.clear();
        }
    }

    /// Lets the client read what it was told: a close while it still writes would discard that (RFC
    /// 9112, 9.6).
    net::awaitable<void> hang_up(client_ptr who) {
        error_code ignored;
        who->socket.shutdown(tcp::socket::shutdown_send, ignored);
        begin_wait(*who, client::phase::leaving);
        auto ending = ignore_input(who);
        co_await with_deadline(world_, world_.now() + seconds(1), std::move(ending));
        who->socket.close(ignored);
    }

    /// @return whether all of it was taken, in time
    net::awaitable<bool> write(client_ptr to, std::string text) {
        auto writing = write_all(std::move(to), std::move(text));
        const auto done = co_await with_deadline<bool>(world_, later(world_.now(), config_.write_deadline),
                                                       std::move(writing));
        co_return done && *done;
    }

    net::awaitable<bool> write_all(client_ptr to, std::string text) {
        const auto [failed, size] = co_await net::async_write(to->socket, net::buffer(text), as_result);
        co_return !failed;
    }

    // --- answers

    answer answer_to(const client& who) {
        const auto& asked = who.asked;
        error_code failed;
        const auto here = who.socket.local_endpoint(failed);
        if (asked.host && !answers_to(*asked.host, config_.hosts, here))
            return last_refusal(421, "this is not the server of that name");
        if (!config_.token.empty() && !asked.is_health_check() && !bears(asked.authorization, config_.token))
            return refusal(401, "a token is needed", "WWW-Authenticate: Bearer realm=\"holdfast\"\r\n");
        if (asked.has_body)
            return last_refusal(413, "no body is taken");
        if (asked.method != "GET" && !asked.head_only())
            return refusal(405, "there is only GET and HEAD", "Allow: GET, HEAD\r\n");
        try {
            return page(asked.path);
        } catch (...) {
            log(world_, std::current_exception());
            return refusal(500, "this could not be told");
        }
    }

    static answer answer_to_no_request(std::optional<heard> came) {
        if (!came)
            return last_refusal(408, "the request did not come in time");
        if (*came == heard::too_much)
            return last_refusal(431, "the request's head is over 8 KiB");
        return last_refusal(400, "this is no HTTP request");
    }

    answer page(std::string_view path) {
        if (path == "/")
            return front_page();
        if (path == "/status")
            return {200, "application/json",
                    sse::to_valid_utf8(boost::json::serialize(sources_.status())) + '\n'};
        if (path == "/metrics")
            return {200, "text/plain; version=0.0.4; charset=utf-8", sources_.metrics()};
        if (path == "/livez")
            return {200, plain_text, "ok\n"};
        if (path == "/readyz")
            return readiness();
        if (path == "/events")
            return viewers_ < config_.viewers ? answer{200, "text/event-stream", {}} : too_many();
        return refusal(404, "there are only " + std::string(paths));
    }

    answer readiness() {
        const auto why = sources_.not_ready();
        return why.empty() ? answer{200, plain_text, "ok\n"}
                           : refusal(503, "not ready: " + sse::to_valid_utf8(why));
    }

    // --- /events

    net::awaitable<void> show_events(client_ptr who) {
        const tally here(viewers_);
        const bool chunks = who->asked.chunks;
        // Before the head: who sees that is told all that happens from then on.
        event_ring::viewer viewer(ring_, who->asked.last_event_id);
        bool taken = co_await write(who, events_head(chunks));
        if (who->asked.head_only())
            co_return;
        tasks_.spawn(notice_hang_up(who));
        std::string piece = greeting(viewer, who->asked.last_event_id.empty());
        while (taken && !piece.empty()) {
            taken = co_await write(who, framed(std::move(piece), chunks));
            piece = co_await wait_piece(who, viewer);
        }
        if (taken && chunks)
            taken = co_await write(who, "0\r\n\r\n");
        end_viewer(*who, taken);
    }

    /// One who is new is told its position, so that it misses nothing, should it be cut before the first
    /// event.
    static std::string greeting(const event_ring::viewer& viewer, bool is_new) {
        return "retry: 1000\n" + (is_new ? "id: " + viewer.position() + '\n' : "") + '\n';
    }

    /// Ends notice_hang_up(), too.
    static void end_viewer(client& who, bool took_all) {
        error_code ignored;
        if (!took_all) // nor will it: the system need not keep it
            who.socket.set_option(net::socket_base::linger(true, 0), ignored);
        who.ended = true;
        who.socket.close(ignored);
    }

    static std::string framed(std::string piece, bool chunks) {
        return chunks ? chunk(piece) : std::move(piece);
    }

    /// Nothing: there is no more to come, or nobody to tell it.
    net::awaitable<std::string> wait_piece(client_ptr who, event_ring::viewer& viewer) {
        const auto due = later(world_.now(), config_.heartbeat);
        while (!who->ended) {
            auto piece = next_piece(viewer);
            if (!piece.empty() || stopping_)
                co_return piece;
            if (world_.now() >= due)
                co_return ": heartbeat\n\n";
            co_await changed_.wait(due);
        }
        co_return std::string();
    }

    net::awaitable<void> notice_hang_up(client_ptr who) {
        co_await ignore_input(who);
        error_code ignored;
        who->ended = true;
        who->socket.close(ignored); // ends a write, too
        changed_.notify_all();
    }

    runtime& world_;
    watch_port_config config_;
    watch_sources sources_;
    event_ring& ring_;
    tcp::acceptor listener_;
    condition_variable changed_; // the ring, or what a viewer waits for
    condition_variable stopped_;
    bool stopping_ = false;
    std::set<client*> clients_;
    std::set<client*> refused_; // get a health check or 503
    std::uint64_t waits_ = 0;
    descriptor_reserve reserve_{reserved_descriptors};
    std::size_t viewers_ = 0;
    task_scope tasks_;
};

watch_port::watch_port(runtime& world, watch_port_config config, watch_sources sources, event_ring& ring) {
    if (ring.run().empty()) {
        std::array<char, 16> digits{};
        const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), world.random(), 16).ptr;
        ring.name_run({digits.data(), end});
    }
    machine_ = std::make_unique<machine>(world, std::move(config), std::move(sources), ring);
}

watch_port::~watch_port() = default;

result<endpoint> watch_port::listen() {
    return machine_->listen();
}

net::awaitable<void> watch_port::run() {
    auto root = machine_->run();
    co_await net::co_spawn(machine_->world().executor(), std::move(root), net::use_awaitable);
    co_await throw_if_cancelled();
}

void watch_port::stop() {
    machine_->stop();
}

std::size_t watch_port::viewers() const noexcept {
    return machine_->viewers();
}

} // namespace holdfast::app
