#include <holdfast/stream/ndjson.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace holdfast::stream {
namespace {

constexpr std::string_view bom = "\xEF\xBB\xBF";

// A buffer larger than this is not kept, as in sse::parser.
constexpr std::size_t largest_kept_buffer = 1u << 20;
constexpr std::size_t most_left = 200;

std::string_view without_cr(std::string_view line) {
    return line.substr(0, line.size() - (line.ends_with('\r') ? 1 : 0));
}

bool is_blank(std::string_view line) {
    return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

class json_lines final : public framing {
public:
    json_lines(const sse::limits& bounds, const sse::options& wanted)
        : most_(std::min({bounds.line, bounds.event, std::numeric_limits<std::size_t>::max() - 2})),
          limit_(bounds.event < bounds.line ? errc::event_too_large : errc::line_too_long),
          skips_(wanted.skip_oversized) {}

    std::string_view accept() const noexcept override { return "application/x-ndjson, application/json"; }
    bool is_type(std::string_view media_type) const noexcept override { return is_ndjson_type(media_type); }
    sse::found what() const noexcept override { return what_; }
    const sse::event& event() const noexcept override { return event_; }
    error_code skipped() const noexcept override { return limit_; }
    error_code error() const noexcept override { return error_; }
    const std::string& last_event_id() const noexcept override { return last_event_id_; }
    void last_event_id(std::string id) override { last_event_id_ = std::move(id); }

    bool next(std::string_view& input) override {
        if (error_)
            return false;
        skip_bom(input);
        while (!input.empty()) {
            const auto length = std::min(input.find('\n'), input.size());
            const bool ends = length < input.size();
            const auto part = input.substr(0, length);
            input.remove_prefix(length + (ends ? 1 : 0));
            if (dropping_) {
                dropping_ = !ends;
                continue;
            }
            const auto line = ends && !open_ ? part : append(part);
            open_ = !ends;
            if (is_over(line, ends)) {
                dropping_ = !ends;
                open_ = false;
                return pass_limit();
            }
            if (ends && tell(line))
                return true;
        }
        return false;
    }

    bool finish() override {
        dropping_ = false;
        return !error_ && std::exchange(open_, false) && tell(line_);
    }

    std::string left() const override {
        return open_ && !is_blank(line_) ? line_.substr(0, most_left) : std::string();
    }

    void reset() override {
        error_ = {};
        event_ = {};
        bom_bytes_ = 0;
        dropping_ = open_ = false;
    }

private:
    // As in sse::parser.
    void skip_bom(std::string_view& input) {
        while (bom_bytes_ < bom.size() && !input.empty()) {
            if (input.front() != bom[bom_bytes_]) {
                if (bom_bytes_ > 0)
                    open_ = !append(bom.substr(0, bom_bytes_)).empty();
                bom_bytes_ = bom.size();
                return;
            }
            input.remove_prefix(1);
            ++bom_bytes_;
        }
    }

    // Adds to the line under way; of one that is too long, no more than shows that it is.
    std::string_view append(std::string_view part) {
        if (!open_) {
            if (line_.capacity() > largest_kept_buffer)
                std::string().swap(line_);
            line_.clear();
        }
        line_.append(part.substr(0, most_ + 2 - std::min(most_ + 2, line_.size())));
        return line_;
    }

    // A CR at its end may belong to the end of the line.
    bool is_over(std::string_view line, bool ends) const {
        if (ends || line.size() == most_ + 1)
            return without_cr(line).size() > most_;
        return line.size() > most_;
    }

    bool pass_limit() {
        event_ = {};
        if (skips_)
            what_ = sse::found::skipped;
        else
            error_ = limit_;
        return skips_;
    }

    bool tell(std::string_view line) {
        if (is_blank(line))
            return false;
        event_ = {"message", without_cr(line), last_event_id_};
        what_ = sse::found::event;
        return true;
    }

    std::size_t most_; // bytes of a line
    error_code limit_;
    bool skips_;
    sse::found what_ = sse::found::event;
    sse::event event_;
    error_code error_;
    std::string last_event_id_;
    std::string line_; // the line under way while it is open; event_ may be a view of it afterwards
    std::size_t bom_bytes_ = 0;
    bool open_ = false;
    bool dropping_ = false; // the rest of a line over its limit
};

} // namespace

std::unique_ptr<framing> ndjson(const sse::limits& bounds, const sse::options& wanted) {
    return std::make_unique<json_lines>(bounds, wanted);
}

bool is_ndjson_type(std::string_view media_type) noexcept {
    constexpr std::array<std::string_view, 6> all{"application/x-ndjson",    "application/ndjson",
                                                  "application/jsonl",       "application/x-jsonlines",
                                                  "application/stream+json", "application/json"};
    return std::find(all.begin(), all.end(), media_type) != all.end();
}

} // namespace holdfast::stream
