// JSON of any size without holding up the loop: read piece by piece, with everything else that is ready in
// between. Not for users.
#pragma once

#include <holdfast/opencode/event.hpp>
#include <holdfast/retry/failure.hpp>
#include <holdfast/runtime/runtime.hpp>

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/value.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace holdfast::opencode {

/// Lets others at the loop while much is worked through:
///
///     if (breath.spent(size))
///         co_await breath.pause();
class breather {
public:
    /// Takes well under 20 ms, also where nothing is optimised.
    static constexpr std::size_t slice = 64u << 10;

    explicit breather(runtime& world) noexcept : world_(world) {}
    breather(const breather&) = delete;
    breather& operator=(const breather&) = delete;

    /// So many bytes, or what takes as long, were worked through. True: it is time to pause().
    [[nodiscard]] bool spent(std::size_t bytes) noexcept { return (spent_ += bytes) >= slice; }
    /// Lets all run that is ready. Cancellation (terminal): operation_aborted.
    [[nodiscard]] net::awaitable<void> pause();

private:
    runtime& world_;
    std::size_t spent_ = 0;
};

/// A document, and the memory that it is in: given back as a whole, however much there is in it.
class json_document {
public:
    json_document() = default;
    json_document(const json_document&) = delete;
    json_document& operator=(const json_document&) = delete;

    [[nodiscard]] const boost::json::value& root() const noexcept { return root_; }
    void root(boost::json::value v) { root_ = std::move(v); }
    [[nodiscard]] boost::json::storage_ptr memory() noexcept { return &memory_; }

private:
    boost::json::monotonic_resource memory_;
    boost::json::value root_ = boost::json::value(boost::json::storage_ptr(&memory_));
};

/// As parse_event(). Cancellation (terminal): operation_aborted.
[[nodiscard]] net::awaitable<result<event>> parse_event_in_slices(runtime& world, std::string text);

/// As parse_json(). Cancellation (terminal): operation_aborted.
[[nodiscard]] net::awaitable<result<std::shared_ptr<const json_document>>>
parse_json_in_slices(runtime& world, std::string text);

} // namespace holdfast::opencode
