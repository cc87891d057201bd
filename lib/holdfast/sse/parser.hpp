// sse: bytes to events. The WHATWG event stream format (HTML Standard, section 9.2.6), complete and strict,
// without I/O, without a clock, and without an allocation per event.
//
//     sse::parser parser;
//     std::string_view input = bytes_just_read;
//     while (parser.next(input)) use(parser.event());
//     if (parser.error()) ...
#pragma once

#include <holdfast/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::sse {

/// One dispatched event. The views are valid until the next call of next() or reset(), and only while the
/// bytes given to next() are: data that lies in one buffer is a view of that buffer.
struct event {
    std::string_view type; ///< "message" when the stream named none
    std::string_view data;
    std::string_view id; ///< the last event id at dispatch
};

/// Bounds on what a stream may make the parser hold. A limit passed, but that of ids, is an error, see
/// parser::error(), or, where so asked, skipped, see parser::skipped(). It is found as soon as the byte that
/// passes it is in, also in a line that has not ended, also in a comment; so which limit is reported does not
/// depend on where the input is cut.
struct limits {
    std::size_t line =
        64u << 20; ///< bytes of one line, without its end; an OpenCode server sent one of 31 MB
    std::size_t event = 64u << 20;     ///< bytes of one event's data, the joining LFs counted
    std::size_t data_lines = 1u << 20; ///< data lines of one event
    /// Bytes of an event id that is kept; see parser for a longer one. Three ids at once of a stream of
    /// Wikimedia are 4 KiB.
    std::size_t id = 8u << 10;
};

/// What a parser does beside giving events.
struct options {
    bool comments = false;       ///< next() gives comments, too; else they cost nothing but being passed over
    bool skip_oversized = false; ///< what is over a limit is left out and told of, not an error
};

/// What next() found.
enum class found {
    event,
    comment, ///< where asked for
    skipped, ///< something over a limit is left out, where so asked
};

/// An incremental parser of one event stream.
///
/// Feed it bytes as they come, cut anywhere: the events are the same for every cut, and each event is out as
/// soon as the byte that completes it is in (the LF of a CRLF is not waited for). Time is linear in the bytes
/// fed; memory is at most one event and one line. Buffers of up to 1 MiB are kept for the next event, larger
/// ones are given back.
///
/// A line over its limit that is certain to be no field of an event, a comment say, is skipped alone. Any
/// other limit that is passed skips the event it is passed in, up to the blank line that ends it, once for
/// each event, told as soon as that is known; nothing of it is held. Its id is committed at the blank line
/// all the same, if it is within its own limit: the stream goes on behind it, also after a reconnect.
///
/// An id over its limit is neither an error nor a skip: it is not stored, its event is given with the id
/// before it, which a reconnect resumes from, and long_ids() counts it. The rest of its line is passed over,
/// whatever its length.
///
/// A copied or moved parser goes on where the original was, but event() of the new one is not to be used
/// before its own next().
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class parser {
public:
    explicit parser(limits bounds = {}, options wanted = {});

    /// Consumes bytes from the front of `input` until there is something to give, `input` is empty, or a
    /// limit is passed. True: what() it is, and `input` holds what is left. False: all consumed, or error().
    [[nodiscard]] bool next(std::string_view& input);

    /// The stream has ended behind the bytes given so far: takes what is under way as if its line and its
    /// event were complete, which the standard does not. True: there is something to give, as next() says it;
    /// call it until false, then reset().
    [[nodiscard]] bool finish();

    /// What came behind the last event and is none, so far: the beginning of an event under way, or lines
    /// that are no field (a JSON text, say), joined by blanks; at most 200 bytes of it, untrusted. Comments
    /// do not count. Empty: nothing. Where such lines came first, they are told.
    [[nodiscard]] std::string left() const;

    /// What the last successful next() found: always an event, unless options ask for more.
    [[nodiscard]] found what() const noexcept { return what_; }

    /// The event that the last successful next() completed. Of a comment: `data` is its text, without the
    /// colon and one space behind it (as of a field's value), the rest is empty. Of what was skipped: empty.
    [[nodiscard]] const sse::event& event() const noexcept { return event_; }

    /// The limit that was passed by what was skipped last.
    [[nodiscard]] error_code skipped() const noexcept { return skipped_; }

    /// The limit that was passed: line_too_long, event_too_large or too_many_lines. It stays until reset();
    /// next() consumes nothing meanwhile. None where options skip.
    [[nodiscard]] error_code error() const noexcept { return error_; }

    /// How many ids were over their limit since the parser was made. Survives reset().
    [[nodiscard]] std::uint64_t long_ids() const noexcept { return long_ids_; }

    /// The last event id, as committed at the last blank line ("id" without data commits too). Survives
    /// reset(): it is what Last-Event-ID carries at the next connect.
    [[nodiscard]] const std::string& last_event_id() const noexcept { return last_event_id_; }
    void last_event_id(std::string id) { last_event_id_ = std::move(id); }

    /// The reconnection time in milliseconds that the stream asked for last, if any. Survives reset(). A
    /// number too large for the type is its maximum; an empty value, or one with anything but digits, is
    /// ignored.
    [[nodiscard]] std::optional<std::uint64_t> retry_ms() const noexcept { return retry_ms_; }
    /// The next connection is to another server, for which it does not hold.
    void forget_retry() noexcept { retry_ms_.reset(); }

    /// Bytes held for an event that is not complete yet.
    [[nodiscard]] std::size_t pending() const noexcept;

    /// Starts over for a new connection: an incomplete event, its id, an error and a skip under way are
    /// dropped.
    void reset();

private:
    /// Text of the event in the making: a view of the input for as long as that lasts, a copy afterwards.
    class text {
    public:
        [[nodiscard]] std::string_view get() const noexcept {
            return viewed_ ? view_ : std::string_view(own_);
        }
        void view(std::string_view value) noexcept;
        void append_line(std::string_view value);
        void keep();
        void release() noexcept;

    private:
        std::string own_;
        std::string_view view_;
        bool viewed_ = true;
    };

    void skip_bom(std::string_view& input);
    void skip_lf_of_crlf(std::string_view& input);
    void drop_rest_of_line(std::string_view& input);
    std::string_view take_line(std::string_view& input, std::size_t length);
    void continue_line(std::string_view more);
    bool end_line(std::string_view line);
    bool field(std::string_view line);
    bool data_field(std::string_view value);
    void id_field(std::string_view value);
    void retry_field(std::string_view value);
    void other_line(std::string_view line);
    bool comment(std::string_view text);
    bool blank_line();
    bool keep_rest(std::string_view& input);
    [[nodiscard]] std::size_t most_of(std::string_view line, errc& limit) const;
    bool over(errc limit, std::string_view beginning);
    void keep_event();

    limits bounds_;
    options wanted_;
    found what_ = found::event;
    sse::event event_;
    error_code error_;
    error_code skipped_;
    std::string last_event_id_;
    std::optional<std::uint64_t> retry_ms_;
    std::uint64_t long_ids_ = 0;

    std::size_t bom_bytes_ = 0;  // of the byte order mark at the start; all of it once the start is past
    bool after_cr_ = false;      // an LF that comes next belongs to the CR before it
    bool dropping_line_ = false; // of a line over its limit: what is still to come of it
    bool skipping_ = false;      // the event under way is over a limit

    // Views may point into line_ after the line has ended; hence a flag, not a clear(), says that it is over.
    std::string line_;
    bool line_open_ = false;

    text data_;
    std::size_t data_lines_ = 0; // none: data_ means nothing
    text type_;
    bool has_type_ = false;
    std::string id_;
    bool has_id_ = false;
    std::string other_; // the beginning of lines that are no field, since the last event
};

} // namespace holdfast::sse
