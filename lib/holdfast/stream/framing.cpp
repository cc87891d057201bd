#include <holdfast/stream/framing.hpp>

#include <utility>

namespace holdfast::stream {
namespace {

constexpr std::string_view type = "text/event-stream";

class event_stream_framing final : public framing {
public:
    event_stream_framing(const sse::limits& bounds, const sse::options& wanted) : parser_(bounds, wanted) {}

    std::string_view accept() const noexcept override { return type; }
    bool is_type(std::string_view media_type) const noexcept override { return media_type == type; }
    bool next(std::string_view& input) override { return parser_.next(input); }
    bool finish() override { return parser_.finish(); }
    std::string left() const override { return parser_.left(); }
    sse::found what() const noexcept override { return parser_.what(); }
    const sse::event& event() const noexcept override { return parser_.event(); }
    error_code skipped() const noexcept override { return parser_.skipped(); }
    error_code error() const noexcept override { return parser_.error(); }
    void reset() override { parser_.reset(); }
    const std::string& last_event_id() const noexcept override { return parser_.last_event_id(); }
    void last_event_id(std::string id) override { parser_.last_event_id(std::move(id)); }
    std::uint64_t long_ids() const noexcept override { return parser_.long_ids(); }
    std::optional<std::uint64_t> retry_ms() const noexcept override { return parser_.retry_ms(); }
    void forget_retry() noexcept override { parser_.forget_retry(); }

private:
    sse::parser parser_;
};

} // namespace

std::unique_ptr<framing> event_stream(const sse::limits& bounds, const sse::options& wanted) {
    return std::make_unique<event_stream_framing>(bounds, wanted);
}

} // namespace holdfast::stream
