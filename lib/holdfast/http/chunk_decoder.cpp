#include <holdfast/http/chunk_decoder.hpp>

#include <holdfast/http/ascii.hpp>
#include <holdfast/http/head_lines.hpp>

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

namespace holdfast::http {

chunk_decoder::step chunk_decoder::next(std::string_view& bytes) {
    if (expected_ == expected::nothing)
        return step::done;
    if (expected_ != expected::payload)
        return take_line(bytes);
    piece_ = bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size())));
    bytes.remove_prefix(piece_.size());
    left_ -= piece_.size();
    if (left_ == 0)
        expected_ = expected::line_end;
    return step::payload;
}

chunk_decoder::step chunk_decoder::take_line(std::string_view& bytes) {
    const auto end = bytes.find('\n');
    const auto taken = bytes.substr(0, end == std::string_view::npos ? end : end + 1);
    line_.append(taken);
    bytes.remove_prefix(taken.size());
    if (longest_ != 0 && trailers_size_ + line_.size() > longest_)
        return step::large;
    // What follows a payload is a line end and nothing else, which is found out without waiting for it.
    if (expected_ == expected::line_end && line_ != "\r" && line_ != "\r\n" && line_ != "\n")
        return broken("a chunk is longer than its size says", line_);
    if (end == std::string_view::npos)
        return step::framing;
    const auto whole = std::exchange(line_, {});
    auto line = std::string_view(whole);
    line.remove_suffix(line.ends_with("\r\n") ? 2 : 1);
    switch (expected_) {
    case expected::size: return on_size(line);
    case expected::line_end: expected_ = expected::size; return step::framing;
    default: trailers_size_ += whole.size(); return on_trailer(line);
    }
}

chunk_decoder::step chunk_decoder::on_size(std::string_view line) {
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), left_, 16);
    const auto digits = static_cast<std::size_t>(end - line.data());
    const auto rest = trim(line.substr(digits));
    if (error != std::errc() || !(rest.empty() || rest.front() == ';') || !is_field_value(rest))
        return broken("a chunk begins with its size in hexadecimal digits", line);
    expected_ = left_ == 0 ? expected::trailer : expected::payload;
    return step::framing;
}

chunk_decoder::step chunk_decoder::on_trailer(std::string_view line) {
    if (line.empty()) {
        expected_ = expected::nothing;
        return step::done;
    }
    if (auto why = read_field_line(line, trailers_)) {
        complaint_ = "a trailer: " + *why;
        return step::broken;
    }
    trailers_.erase(trailers_.begin(), trailers_.end() - 1);
    return step::framing;
}

chunk_decoder::step chunk_decoder::broken(const char* rule, std::string_view bytes) {
    complaint_ = rule + (": " + quoted_bytes(bytes));
    return step::broken;
}

} // namespace holdfast::http
