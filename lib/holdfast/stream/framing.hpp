// How the bytes of a body are cut into events. event_source reads an event stream by default; what else there
// is has a header of its own (stream/ndjson.hpp).
#pragma once

#include <holdfast/error.hpp>
#include <holdfast/sse/parser.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::stream {

/// A parser of one stream's body, as event_source uses it. Its functions mean what those of sse::parser of
/// the same names mean, also as to lifetimes and limits: fed in pieces cut anywhere, it gives the same for
/// every cut.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class framing {
public:
    virtual ~framing() = default;

    /// The Accept field of requests that give none.
    [[nodiscard]] virtual std::string_view accept() const noexcept = 0;
    /// Whether an answer of this media type (lower case, without parameters) is such a stream.
    [[nodiscard]] virtual bool is_type(std::string_view media_type) const noexcept = 0;

    [[nodiscard]] virtual bool next(std::string_view& input) = 0;
    [[nodiscard]] virtual bool finish() = 0;
    [[nodiscard]] virtual std::string left() const = 0;
    [[nodiscard]] virtual sse::found what() const noexcept = 0;
    [[nodiscard]] virtual const sse::event& event() const noexcept = 0;
    [[nodiscard]] virtual error_code skipped() const noexcept = 0;
    [[nodiscard]] virtual error_code error() const noexcept = 0;
    virtual void reset() = 0;

    [[nodiscard]] virtual const std::string& last_event_id() const noexcept = 0;
    virtual void last_event_id(std::string id) = 0;

    // What a stream that asks for no wait, and has no ids, need not say.
    [[nodiscard]] virtual std::uint64_t long_ids() const noexcept { return 0; }
    [[nodiscard]] virtual std::optional<std::uint64_t> retry_ms() const noexcept { return std::nullopt; }
    virtual void forget_retry() noexcept {}
};

/// Makes the parser of a source, once. Must not return null.
using make_framing = std::function<std::unique_ptr<framing>(const sse::limits&, const sse::options&)>;

/// The WHATWG event stream format, by sse::parser: text/event-stream.
[[nodiscard]] std::unique_ptr<framing> event_stream(const sse::limits& bounds, const sse::options& wanted);

} // namespace holdfast::stream
