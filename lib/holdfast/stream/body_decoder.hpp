// How the coding of a body (Content-Encoding) is undone. event_source undoes none by default; what there is
// has a header of its own (stream/inflate.hpp).
#pragma once

#include <holdfast/retry/failure.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

namespace holdfast::stream {

/// Decodes one body, piece by piece: wherever it is cut, the same comes out, and all that can be known by
/// then.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
class body_decoder {
public:
    virtual ~body_decoder() = default;

    /// Takes bytes from the front of `input`, and gives what they stand for: a view that holds until the next
    /// call. Nothing: all was taken, and more input is needed, or error().
    [[nodiscard]] virtual std::string_view decode(std::string_view& input) = 0;
    /// There is no more input: what comes of that; to be called until it gives nothing.
    [[nodiscard]] virtual std::string_view finish() = 0;
    /// Behind all that decode() and finish() give: whether the body may end here.
    [[nodiscard]] virtual bool complete() const noexcept = 0;
    /// What was wrong with the input, behind what was given before; nothing is given any more.
    [[nodiscard]] virtual const std::optional<failure>& error() const noexcept = 0;
};

/// Makes the decoder of one body; null: this coding (lower case; of several, all of them, apart by ", ") is
/// none that it can undo, so the answer is refused.
using make_body_decoder = std::function<std::unique_ptr<body_decoder>(std::string_view coding)>;

} // namespace holdfast::stream
