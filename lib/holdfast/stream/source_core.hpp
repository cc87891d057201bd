// One event stream: what an event_source handle points to. Not for users.
#pragma once

#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/one_at_a_time.hpp>
#include <holdfast/stream/event_source.hpp>
#include <holdfast/stream/handshake.hpp>

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::stream {

/// The last event, kept over the reads that follow it.
class kept_event {
public:
    void keep(const sse::event& what) {
        type_ = what.type;
        data_ = what.data;
        id_ = what.id;
    }
    [[nodiscard]] sse::event get() const noexcept { return {type_, data_, id_}; }

private:
    std::string type_, data_, id_;
};

/// See event_source.
class source_core {
public:
    source_core(const runtime& world, source_config config);
    ~source_core();

    /// Who waits holds the stream: its handle may be destroyed meanwhile.
    [[nodiscard]] static net::awaitable<std::optional<item>> next(std::shared_ptr<source_core> self);
    [[nodiscard]] std::optional<item> try_next();
    void commit();
    void close() noexcept;
    void wake();
    void note_progress() noexcept { progress_ = true; }
    [[nodiscard]] const source_statistics& statistics() const noexcept { return statistics_; }
    [[nodiscard]] bool is_open() const noexcept { return body_.has_value() && !closed_; }
    [[nodiscard]] const std::string& last_event_id() const noexcept { return parser_->last_event_id(); }
    void last_event_id(std::string id) { parser_->last_event_id(std::move(id)); }

private:
    [[nodiscard]] net::awaitable<bool> subscribe();
    [[nodiscard]] net::awaitable<void> read_more();
    [[nodiscard]] net::awaitable<bool> find_location();
    [[nodiscard]] location ask_location();
    [[nodiscard]] bool has_moved();
    [[nodiscard]] bool is_spent() const;
    [[nodiscard]] bool can_resume() const;
    [[nodiscard]] std::optional<item> take_next();
    void load_id();
    void on_ids(const std::string& wrong);
    [[nodiscard]] std::optional<item> parse_event();
    [[nodiscard]] std::optional<item> parsed();
    [[nodiscard]] std::optional<item> take_lifecycle();
    void on_opened(http::body_stream body);
    [[nodiscard]] bool has_more();
    void tap(std::string_view piece);
    void on_read(std::span<const std::string_view> pieces);
    void on_clean_end();
    void on_done(std::string left);
    void on_answered(http::response answer);
    void on_failure(retry::failure why, std::string left = {});
    void on_spent(retry::failure why, std::string left = {});
    void end_attempt(retry::failure why, const retry::schedule::decision& next, std::string left);
    [[nodiscard]] std::optional<retry::failure> judge(const sse::event& what);
    [[nodiscard]] retry::failure contained(std::string_view hook);
    void note_life() noexcept;
    void note_long_ids();
    [[nodiscard]] retry::life life_until(time_point now, const retry::failure& why) const;
    [[nodiscard]] retry::failure weighed(retry::failure why) const;
    void on_skipped(const retry::failure& why);
    void leave_body() noexcept;
    [[nodiscard]] log_record record_of(log_level level, std::string_view event,
                                       std::string_view action) const;
    [[nodiscard]] endpoint endpoint_to_blame(const retry::failure& why) const;
    void stop_asking_here();
    void start_over();

    runtime world_;
    detail::one_at_a_time readers_;
    source_config config_;
    source_statistics statistics_;
    retry::schedule schedule_;
    std::unique_ptr<framing> parser_;
    std::unique_ptr<handshake>
        handshake_; // of the attempt under way, or the last; none: that was not our own
    std::optional<http::body_stream> body_;
    std::optional<http::response> answer_;     // where that is the end
    std::unique_ptr<body_decoder> decoder_;    // of this body, where it has a coding
    std::span<const std::string_view> pieces_; // of the last read, not parsed yet
    std::string_view coded_;                   // of the piece under way, where there is a decoder
    std::string_view unparsed_;                // of the piece under way
    std::deque<item> lifecycle_;
    std::optional<retry::failure> judged_; // by the last event: told behind it
    kept_event last_event_;                // where next_request is set
    resume_point from_;                    // of the attempt under way, or the last; its `spent` for good
    std::optional<std::string> due_id_;    // handed out, and not dealt with yet
    std::string stored_id_;
    bool ids_broken_ = false;
    std::optional<http::url> url_;
    time_point due_{};  // the backoff: no attempt before this
    bool held_ = false; // the last failure blamed the endpoint
    bool ended_ = false;
    bool closed_ = false;
    bool greeted_ = false; // an event came on this connection
    bool progress_ = false;
    bool told_down_ = false;
    bool locate_broken_ = false;
    bool tap_broken_ = false;
    time_point opened_at_{};
    time_point last_byte_{};      // on this connection
    std::optional<counted> open_; // while the stream is open
    timer closing_;               // cancelled by close(): ends a pending subscribe()
    condition_variable woken_;
};

} // namespace holdfast::stream
