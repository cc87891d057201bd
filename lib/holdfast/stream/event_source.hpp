// stream: subscribe, read, reconnect. event_source is one stream held for ever; event_hub shares one among
// many. Neither knows what an event means.
//
//     stream::source_config config;
//     config.locate = [url] {
//         stream::location here;
//         here.url = url; // of http::parse_url()
//         return here;
//     };
//     stream::event_source source(world, config);
//     while (auto item = co_await source.next()) {
//         if (item->what == stream::item::kind::event) use(item->event.data);
//     }
#pragma once

#include <holdfast/http/cookies.hpp>
#include <holdfast/http/exchange.hpp>
#include <holdfast/http/url.hpp>
#include <holdfast/retry/policy.hpp>
#include <holdfast/runtime/runtime.hpp>
#include <holdfast/sse/parser.hpp>
#include <holdfast/stream/body_decoder.hpp>
#include <holdfast/stream/framing.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::stream {

class id_store; // stream/id_store.hpp

/// Where the stream is to be had just now, as its owner knows it.
struct location {
    enum class state {
        up,   ///< connect to `url`
        down, ///< known to be down: ask again after the base delay, count nothing
        gone, ///< gone for good: the stream ends
    };
    location() = default; // no aggregate, see header
    location(state now, http::url where) : what(now), url(std::move(where)) {}

    state what = state::up;
    http::url url;
    /// The path of a Unix socket where it listens; the URL stays as it is (http://localhost/event). A part of
    /// the endpoint: other paths are other endpoints. No proxy is asked. Empty: it is reached by the URL.
    std::string unix_socket;
};

/// What it means that a response ends as it should: with its last chunk, at its Content-Length, or, where it
/// has neither, with its connection.
enum class clean_end {
    reconnect, ///< the stream is to be had again: class `ended` or `early_end`, see retry::is_healthy()
    done,      ///< all has been said, as with a model's answer: `done` is told, and nothing is asked again
};

/// Which answers to the request are results.
enum class answers {
    stream, ///< a stream alone: any other answer is a failure
    /// Also an answer of success (2xx) that is one JSON text (application/json, or a type that ends in
    /// `+json`), or has no content (202, 204, or a Content-Length of 0): `answered` is told, and nothing is
    /// asked again. What `framing` reads is the stream all the same, and with `any_type` each 2xx is.
    json,
};

/// What becomes of an event, or a line, over one of `sse::limits`.
enum class oversized {
    fail, ///< the stream gives up with a failure of class too_large: to ask again would fetch the same again
    skip, ///< it is left out, and `skipped` told; see sse::parser for what exactly is left out
};

/// One stream's configuration, a value. Every member has a default but `locate`. Functions are called on the
/// runtime's executor, never after the source is destroyed; from within one, close() may be called, next()
/// and destruction may not.
struct source_config {
    source_config() = default; // no aggregate, see header

    /// Asked before each attempt, and again when its backoff is over. A URL of another endpoint than before
    /// starts with a clean count and no backoff. What it throws is logged and taken for `down`.
    std::function<location()> locate;

    /// Any token, in its own case. GET, HEAD, OPTIONS and TRACE are safe to repeat (RFC 9110, section 9.2.1);
    /// see `repeat_unsafe` for all others.
    std::string method = "GET";
    /// Sent with what is sent by default: Accept as `framing` says it (`text/event-stream`), with
    /// `application/json` where that is a result (`answers`), `Cache-Control: no-cache` (HTML Standard,
    /// section 9.2.2, and Fetch for the cache mode it sets), `Accept-Encoding: identity` (a compressed answer
    /// is refused, class content_type; but see `decoder`), `User-Agent: holdfast/VERSION`. One of the same
    /// name, in any case, replaces the default. A Last-Event-ID is taken as the id to begin with: from then
    /// on the stream's own are sent. Host, and Authorization from the URL's userinfo, are added when not
    /// given; Content-Length may not be given.
    std::vector<header> headers;
    std::string body; ///< the same for each attempt; with its Content-Length, but no Content-Type of its own

    /// Makes each request, right before its connect, those of redirects too: fresh headers, a token, a
    /// signature, or, where the stream is to be resumed, another request altogether. `last_id` is what
    /// last_event_id() says, `last_event` the last event of any connection, its type empty before the first;
    /// both hold until it returns. The request is the whole of what would be sent, `target` and Host as well,
    /// each time without what was set before. Where it changes target, method or body, redirects go on from
    /// that. An error counts as the attempt's failure, by its class, and blames no endpoint; what it throws
    /// is logged, a failure of class local. It may take its time: a deadline is its own business; it is
    /// cancelled with next() and by close(). While it is set, a copy of the last event is kept.
    std::function<net::awaitable<result<void>>(std::string_view last_id, const sse::event& last_event,
                                               http::request& request)>
        next_request;
    /// Sees the head of each answer, of any status, redirects too, before the stream is trusted. An error
    /// counts as the attempt's failure, in place of what the head would mean: its class decides whether there
    /// is another attempt (is_final()). What it throws is logged, a failure of class local. It
    /// should be quick.
    std::function<result<void>(const http::response_head&)> inspect;
    /// Sees each event: what it returns says that the event is the connection's failure, as with an error in
    /// a stream of status 200. The event is handed out, and is no progress; the next item is that failure, by
    /// its class: `interrupted` or, where it is final (is_final()) or the policy allows no more, `gave_up`.
    /// Of class `ended` it is no failure behind a healthy life, and
    /// `early_end` otherwise. What comes behind the event is dropped. What it throws is logged, a failure of
    /// class local. It should be quick.
    std::function<std::optional<retry::failure>(const sse::event&)> judge;
    /// Where the last event id outlives the source, see stream/id_store.hpp; null: nowhere. A source begins
    /// with the id that is there, unless `headers` give a Last-Event-ID. An event's id is stored by the call
    /// of next(), try_next() or commit() that comes after the event was handed out, that is, once it has been
    /// dealt with: each event comes at least once. What goes wrong is logged, and the stream goes on.
    std::shared_ptr<id_store> ids;
    /// Sees each piece of the body, decompressed, before it is parsed, after `opened` was handed out. What it
    /// throws is logged and contained.
    std::function<void(std::string_view)> tap;

    /// Whether a request that may change something is sent again after it may have reached the server. False:
    /// its first failure past the connect is the last, of any class, also a clean end (unless `clean_end` is
    /// `done`) and 429; the failure's message says so. A next() that is cancelled while it is being sent is
    /// such a failure, told by the next call. What fails before anything was sent is tried again by the
    /// policy in any case. With `next_request`, and an id or an event to resume from, the failure is
    /// `interrupted`, and the next request decides: when its method is safe it is sent, else the stream gives
    /// up then, with the last failure.
    bool repeat_unsafe = false;
    /// How many redirects (301 302 303 307 308) one attempt may follow; 0: none, and the failure, a final
    /// one, shows the target. Each attempt begins at `locate`'s URL again. By the rules of http::redirects:
    /// POST becomes GET for 301 and 302, all but HEAD for 303; to another origin (scheme, host, port) go no
    /// credentials and none but a short list of harmless fields; never from https to http; never the same
    /// twice; userinfo in a Location is ignored. Default: a server that moves says so to its owner first.
    unsigned max_redirects = 0;
    /// Whether redirects take the credentials, and all other fields but Host, to other origins too: for
    /// servers that belong together. False: see `max_redirects`.
    bool redirects_trusted = false;
    /// Whether cookies are kept, while the source lives, and how many: each goes back to the very origin that
    /// set it, see http::cookie_jar, behind those of a Cookie in `headers`, in the same field. A redirect may
    /// then lead to where it came from, when it has set a cookie. None: none are.
    std::optional<http::cookie_limits> cookies;
    /// Whether an answer counts as the stream whatever its Content-Type and with any status of success (2xx),
    /// for servers that name it wrongly. False: it must be a 200 of a type that `framing` reads.
    bool any_type = false;
    /// Which answers are results: MCP answers a POST by a stream, by one JSON text, or by 202 without a body.
    stream::answers answers = stream::answers::stream;
    /// The most bytes of an answer that is no stream, as it is sent, and decompressed. A longer one is a
    /// final failure (errc::body_too_large); and one that is not whole within `transport.deadlines.exchange`
    /// from its head is a failure, too (errc::exchange_timeout).
    std::size_t answer_limit = 1u << 20;
    /// HTML Standard, section 9.2.3: the end of a body reestablishes the connection.
    stream::clean_end clean_end = stream::clean_end::reconnect;
    /// Whether a clean end completes the event under way, as some servers end right behind their last `data:`
    /// line. False: HTML Standard, section 9.2.6: it is discarded, and `item::left` shows it.
    bool flush_at_end = false;
    stream::oversized oversized = stream::oversized::fail;
    bool comments = false; ///< told as items; they count as life in any case

    retry::policy policy = retry::session_stream(); ///< when to try again and when to stop
    /// Deadlines, TLS, proxies. Where `transport.deadlines.header` is not set, the head of a stream that
    /// begins with a greeting must come within http::default_header_deadline, and the endpoint is to blame
    /// when it does not. Any other server may send its head with its first event, as browsers allow: it has
    /// the stall timeout, at least that default, and no limit where that is zero; and its silence blames
    /// nobody.
    http::transport transport;
    /// No byte for so long, comments counted: torn down and had again (class stall); zero: never. 60 s:
    /// servers send something every 10 to 30 s, and gaps of 27 s have been seen on healthy streams. It does
    /// not run between calls of next().
    duration stall_timeout = seconds(60);
    /// Where a greeting is expected, that is a first event at once: by then after the head (class timeout,
    /// errc::no_greeting); zero: none is.
    duration greeting_timeout{};
    /// How bodies are cut into events: event_stream, the standard's, or ndjson (stream/ndjson.hpp), or the
    /// owner's own.
    make_framing framing = event_stream;
    /// Undoes the Content-Encoding of answers, see accept_compressed() of stream/inflate.hpp; empty: a
    /// compressed answer is refused.
    make_body_decoder decoder;
    sse::limits limits;                   ///< of lines and events
    std::size_t header_limit = 16u << 10; ///< bytes of a response head, and of trailers and chunk extensions
    std::string tag;                      ///< the owner's name for this stream, in log records
};

/// Whether the stream is to begin with a greeting.
[[nodiscard]] inline bool expects_greeting(const source_config& config) noexcept {
    return config.greeting_timeout != duration::zero();
}

/// What a stream tells, in order. Views and pointers hold until the next call of next() or try_next(), and no
/// longer than the source.
///
/// Order: each attempt tells `opened`, then events, comments and skips, then one of `interrupted`, `done` and
/// `gave_up`; or one of `interrupted`, `gave_up` and `answered` alone.
struct item {
    item() = default; // no aggregate, see header

    enum class kind {
        opened, ///< connected, and the response is an event stream
        event,
        comment,     ///< where asked for: `event.data` is its text, without the colon and one space
        skipped,     ///< something oversized was left out, where so asked; `failure` says which limit
        interrupted, ///< it broke or could not be had; the next attempt is `attempt`, in `retry_in`
        done,        ///< it ended as it should, where that is the end; nothing follows
        answered,    ///< it was answered without a stream, where that is a result; nothing follows
        gave_up,     ///< the policy allows no further attempt, or the failure is final; nothing follows
    };
    kind what = kind::event;
    sse::event event; ///< event, comment
    /// opened: the attempt that succeeded, counted from 1 since health; interrupted: the next; gave_up: how
    /// many there were.
    unsigned attempt = 0;
    const http::response_head* head = nullptr; ///< opened, answered: status, reason, fields; else null
    std::string_view body;                     ///< answered: the whole of it, untrusted; empty: it had none
    duration retry_in{}; ///< interrupted: from now; less if others' recovery or wake() ends it
    /// interrupted, gave_up, done, by a clean end: what came behind the last event and is none, as an event
    /// without its blank line, or a JSON error in place of a stream. At most 200 bytes, untrusted; empty:
    /// nothing. The failure's message says so too.
    std::string left;
    /// skipped, interrupted, gave_up: class and code; of an answer that was no stream also its status, its
    /// fields and the first 4 KiB of its body.
    retry::failure failure;
};

/// What one source has done since it was made.
struct source_statistics {
    source_statistics() = default; // no aggregate, see header

    std::uint64_t attempts = 0;      ///< in which something was asked; those of redirects not counted
    std::uint64_t opened = 0;        ///< of these, those that became an event stream
    std::uint64_t redirects = 0;     ///< followed
    std::uint64_t interruptions = 0; ///< interrupted and gave_up, also those that another's probe met for us
    std::uint64_t events = 0;        ///< told
    std::uint64_t comments = 0;      ///< told
    std::uint64_t skipped = 0;       ///< told
    std::uint64_t long_ids = 0;      ///< over their limit, so not stored; the log reports the first
    std::uint64_t bytes = 0;         ///< of the streams' bodies as sent, without HTTP's framing
    std::optional<time_point> open_since;       ///< while it is open
    time_point last_byte{};                     ///< of a stream's body; the epoch: none yet
    std::optional<retry::failure> last_failure; ///< that of the last interrupted or gave_up, also `ended`
};

class source_core; // the stream itself

/// One event stream, held: pull-based, so TCP is the backpressure and nothing runs while the owner is busy.
///
/// A connection makes progress, which is health (see retry::is_healthy()), by any event, and by an id that
/// moves the last event id without one. Where a greeting is
/// expected, the greeting is none: there it takes an event that the owner takes for progress, see
/// note_progress(), or, once the greeting came, an event or a comment later than `policy::healthy_after`
/// after the head.
///
/// Destruction closes the stream; a next() that is pending then returns nullopt. Thread safety: confined to
/// its runtime's executor.
class event_source {
public:
    /// Throws std::logic_error when `config.locate` or `config.framing` is empty, or the latter returns null.
    event_source(const runtime& world, source_config config);
    ~event_source();
    event_source(const event_source&) = delete;
    event_source& operator=(const event_source&) = delete;

    /// The next item; waits, connects and reads for it as needed. nullopt after done, after answered, after
    /// gave_up, after close(), and when the location is gone. One call at a time: another one throws
    /// std::logic_error. Cancellation (terminal): at once in every phase (breaker, backoff, `next_request`,
    /// name look-up, connect, header, body), as operation_aborted; no item is lost, and the connection and
    /// the schedule stay: the next call goes on; an attempt that was under way is made anew (but see
    /// `repeat_unsafe`). Throws nothing else.
    [[nodiscard]] net::awaitable<std::optional<item>> next();

    /// The next item that is there without waiting: what is left of the last read.
    [[nodiscard]] std::optional<item> try_next();

    /// What was handed out has been dealt with: stores its id, where `config.ids` is set, as next() would.
    void commit();

    /// Ends the stream: the connection is closed, nothing more is handed out, a pending next() returns
    /// nullopt. Idempotent.
    void close() noexcept;

    /// Ends a backoff: the next attempt is made now. Of all who wait at the endpoint of `locate`'s URL. The
    /// schedule of a policy without an end starts over; another keeps its count.
    void wake();

    /// What was handed out last is what the stream is held for, and not a greeting alone. Needed only where a
    /// greeting is expected.
    void note_progress() noexcept;

    /// Counted up to the last item handed out; valid as long as the source.
    [[nodiscard]] const source_statistics& statistics() const noexcept;

    /// The stream is connected and its response was accepted.
    [[nodiscard]] bool is_open() const noexcept;
    /// What the next connect sends as Last-Event-ID, unless it is empty or no field can carry it (a control
    /// character).
    [[nodiscard]] const std::string& last_event_id() const noexcept;
    void last_event_id(std::string id);

private:
    std::shared_ptr<source_core> core_;
};

} // namespace holdfast::stream
