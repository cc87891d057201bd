// How a stream comes to be, as event_source has it: one attempt, from the request to a body that is a stream.
// Not for users.
#pragma once

#include <holdfast/http/exchange.hpp>
#include <holdfast/http/redirect.hpp>
#include <holdfast/stream/event_source.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::stream {

/// What a request may be made of, after what came before.
struct resume_point {
    std::string last_id;
    sse::event last_event; ///< views of what its owner keeps
    /// The method of a request that may have changed something, and may not be sent again; else empty.
    std::string spent;
    std::optional<http::cookie_jar> cookies; ///< where they are kept
};

/// One attempt: the request is made and sent, redirects are followed, and the answer is judged. Part of
/// event_source, not for use by itself.
///
/// Thread safety: confined to its runtime's executor. Must not be destroyed while run() is pending.
class handshake {
public:
    /// `config`, `statistics`, `format` and `from` are the source's, and outlive this; `start` is the
    /// configured URL.
    handshake(runtime& world, source_config& config, source_statistics& statistics, const framing& format,
              http::url start, resume_point& from);

    /// `pass` is the one of the configured URL's endpoint; a redirect's target has a breaker of
    /// its own, passed here. Each breaker is told how it went at its endpoint, and nothing of what went wrong
    /// elsewhere, in `next_request` say. Errors: all that `item::failure` of an attempt can be. Cancellation
    /// (terminal): at once, as operation_aborted.
    [[nodiscard]] net::awaitable<result<http::body_stream>> run(runtime::attempt pass);

    /// Whether what run() gave is an answer without a stream; see stream::answers.
    [[nodiscard]] bool is_answer() const noexcept { return is_answer_; }

    /// Reads the whole of such an answer. Errors: those of http::read_whole(), and of its decoder.
    /// Cancellation (terminal): at once, as operation_aborted.
    [[nodiscard]] net::awaitable<result<http::response>> read_answer(http::body_stream body);

    /// What undoes the coding of the answer that run() gave; null: it has none.
    [[nodiscard]] std::unique_ptr<body_decoder> take_decoder() noexcept { return std::move(decoder_); }

    /// The method of a request that may have reached a server and may have changed something there; else
    /// empty. Known from the moment of its sending, also after a cancellation.
    [[nodiscard]] const std::string& acted() const noexcept { return acted_; }

    /// The request would have sent again what `resume_point::spent` says may not be: nothing was sent.
    [[nodiscard]] bool repeats() const noexcept { return repeats_; }

    /// The endpoint that was asked last, so the one that a failure is about; none: nothing was asked yet.
    [[nodiscard]] const std::optional<endpoint>& asked() const noexcept { return asked_; }

private:
    [[nodiscard]] net::awaitable<result<http::request>> next_request();
    [[nodiscard]] net::awaitable<result<http::body_stream>> ask(http::request what);
    [[nodiscard]] std::optional<retry::failure> judge(const http::response_head& head);
    void add_cookies(http::request& what) const;
    void take_cookies(const http::response_head& head);
    [[nodiscard]] net::awaitable<void> add_answer(retry::failure& why, http::body_stream& answer);
    [[nodiscard]] std::optional<retry::failure> inspect(const http::response_head& head);
    [[nodiscard]] retry::failure contained(std::string_view hook, const std::exception_ptr& thrown) const;

    runtime& world_;
    source_config& config_;
    source_statistics& statistics_;
    const framing& format_;
    resume_point& from_;
    http::redirects way_;
    std::string acted_;
    bool repeats_ = false;
    bool is_answer_ = false;
    std::unique_ptr<body_decoder> decoder_; // of the answer that is judged now
    std::optional<endpoint> asked_;
};

} // namespace holdfast::stream
