// stream: subscribe, read, reconnect. event_source is one stream held for ever; event_hub shares one among
// many. Neither knows what an event means.
//
//     stream::event_source source(world, config);
//     while (auto item = co_await source.next()) {
//         if (item->what == stream::item::kind::event) use(item->event.data);
//     }
#pragma once

#include <holdfast/http/exchange.hpp>
#include <holdfast/http/url.hpp>
#include <holdfast/retry/policy.hpp>
#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/runtime.hpp>
#include <holdfast/sse/parser.hpp>

#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::stream {

/// Where the stream is to be had just now, as its owner knows it.
struct location {
    enum class state {
        up,   ///< connect to `url`
        down, ///< known to be down: ask again after the base delay, count nothing
        gone, ///< gone for good: the stream ends
    };
    state what = state::up;
    http::url url;
};

/// One stream's configuration. Every member has a default but `locate`.
struct source_config {
    /// Asked before each connect. A URL of another endpoint than before starts with a clean count.
    std::function<location()> locate;
    std::string method = "GET";
    std::vector<http::header> headers; ///< added to Accept, Cache-Control and Last-Event-ID
    std::string body;
    retry::policy policy = retry::session_stream();
    http::deadlines deadlines;
    duration stall_timeout = seconds(60); ///< no byte for so long: torn down and had again; zero: never
    duration greeting_timeout{};          ///< where a first event is expected: by then; zero: none is
    sse::limits limits;
    std::size_t header_limit = 16u << 10;
    std::string tag; ///< the owner's name for this stream, in log records
};

/// What a stream tells, in order. Views hold until the next call of next() or try_next().
struct item {
    enum class kind {
        opened, ///< connected, and the response is an event stream
        event,
        interrupted, ///< it broke or could not be had; the next attempt is `attempt`, in `retry_in`
        gave_up,     ///< the policy allows no further attempt, or the failure is final; nothing follows
    };
    kind what = kind::event;
    sse::event event;
    unsigned attempt =
        0; ///< opened: the attempt that succeeded; interrupted: the next; gave_up: how many there were
    int status = 0;         ///< opened: the response's
    duration retry_in{};    ///< interrupted
    retry::failure failure; ///< interrupted, gave_up
};

/// One event stream, held: pull-based, so TCP is the backpressure and nothing runs while the owner is busy.
///
/// Thread safety: confined to its runtime's executor. Must not be destroyed while a next() is pending.
class event_source {
public:
    event_source(runtime& world, source_config config);
    ~event_source();

    /// The next item; nullopt after gave_up, after close(), and when the location is gone.
    /// One call at a time. Cancellation (terminal): at once in every phase (gate, backoff, name look-up,
    /// connect, header, body), as operation_aborted; no item is lost, and the connection and the schedule
    /// stay: the next call goes on. Throws nothing else.
    [[nodiscard]] net::awaitable<std::optional<item>> next();

    /// The next item that is there without waiting: what is left of the last read.
    [[nodiscard]] std::optional<item> try_next();

    /// Ends the stream: the connection is closed, nothing more is handed out, a pending next() returns
    /// nullopt. Idempotent.
    void close() noexcept;

    /// Ends a backoff: the next attempt is made now.
    void wake();

    /// The stream is connected and its response was accepted.
    [[nodiscard]] bool is_open() const noexcept { return body_.has_value() && !closed_; }
    [[nodiscard]] const std::string& last_event_id() const noexcept { return parser_.last_event_id(); }
    void last_event_id(std::string id) { parser_.last_event_id(std::move(id)); }

private:
    [[nodiscard]] net::awaitable<bool> subscribe();
    [[nodiscard]] net::awaitable<void> read_more();
    [[nodiscard]] net::awaitable<bool> find_location();
    [[nodiscard]] net::awaitable<result<http::body_stream>> request_stream();
    [[nodiscard]] location ask_location();
    [[nodiscard]] bool has_moved();
    [[nodiscard]] http::request make_request() const;
    [[nodiscard]] std::optional<item> parse_event();
    [[nodiscard]] std::optional<item> take_lifecycle();
    void on_opened(http::body_stream body);
    void on_failure(retry::failure why);
    void log(log_level level, std::string_view event, const retry::failure& why, std::string_view action,
             std::optional<duration> retry_in) const;

    runtime& world_;
    source_config config_;
    retry::schedule schedule_;
    sse::parser parser_;
    std::optional<http::body_stream> body_;
    std::span<const std::string_view> pieces_; // of the last read, not parsed yet
    std::string_view unparsed_;                // of the piece under way
    std::deque<item> lifecycle_;
    std::optional<http::url> url_;
    time_point due_{};  // the backoff: no attempt before this
    bool held_ = false; // the last failure blamed the endpoint
    bool ended_ = false;
    bool closed_ = false;
    bool greeted_ = false; // an event came on this connection
    bool told_down_ = false;
    time_point opened_at_{};
    timer closing_; // cancelled by close(): ends a pending subscribe()
    condition_variable woken_;
};

} // namespace holdfast::stream
