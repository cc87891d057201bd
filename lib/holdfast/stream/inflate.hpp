// Compressed streams: gzip and deflate, each event as soon as the server has flushed it.
//
//     stream::accept_compressed(config);
#pragma once

#include <holdfast/stream/body_decoder.hpp>
#include <holdfast/stream/event_source.hpp>

#include <cstddef>
#include <memory>
#include <string_view>

namespace holdfast::stream {

/// What compressed bytes may become. What passes a limit is errc::body_too_large, class too_large, so final.
struct inflate_limits {
    inflate_limits() = default; // no aggregate, see header

    /// The most bytes that are inflated before they are read; what else a read holds is inflated afterwards.
    /// It is also the memory that a compressed stream takes. At least 1 KiB.
    std::size_t at_once = 1u << 20;
    /// How many bytes each compressed byte may become, on an average over `window` compressed bytes; 0: any
    /// number. Event streams become 3 to 30, and a bomb 1,000.
    std::size_t ratio = 100;
    std::size_t window = 64u << 10; ///< compressed bytes; at least 1
    std::size_t header = 64u << 10; ///< bytes of one gzip header, which may hold names and comments
};

/// Has streams sent compressed: asks for `Accept-Encoding: gzip, deflate`, unless `config.headers` give one,
/// and undoes the coding of what is answered so, the bodies of errors too. `tap` sees what was inflated, and
/// the limits of events are as ever; `source_statistics::bytes` counts what was sent.
///
/// A server must flush behind each event (Z_SYNC_FLUSH) for it to come at once. A body that ends before its
/// compressed data does is cut; data that is broken, or goes on behind its end, is malformed. Secrets beside
/// text that others choose should not be compressed (BREACH).
void accept_compressed(source_config& config, const inflate_limits& limits = {});

/// The decoder of `gzip` and `x-gzip` (RFC 1952, of several members too) and `deflate` (RFC 1950, or RFC 1951
/// as some servers send it); else null. What it refuses: errc::malformed, errc::body_too_large.
[[nodiscard]] std::unique_ptr<body_decoder> make_inflater(std::string_view coding,
                                                          const inflate_limits& limits = {});

} // namespace holdfast::stream
