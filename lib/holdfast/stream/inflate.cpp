#include <holdfast/stream/inflate.hpp>

#include <holdfast/http/request.hpp>

#include <boost/beast/zlib/inflate_stream.hpp>
#include <boost/crc.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace holdfast::stream {
namespace {

namespace zlib = boost::beast::zlib;

// --- the frames around deflated data

/// RFC 1950, section 8.2.
class adler32 {
public:
    void put(const unsigned char* bytes, std::size_t size) {
        constexpr std::size_t before_overflow = 5552;
        while (size != 0) {
            const auto* const end = bytes + std::min(size, before_overflow);
            size -= static_cast<std::size_t>(end - bytes);
            for (; bytes != end; ++bytes)
                b_ += a_ += *bytes;
            a_ %= 65521;
            b_ %= 65521;
        }
    }
    [[nodiscard]] std::uint32_t value() const { return b_ << 16 | a_; }

private:
    std::uint32_t a_ = 1, b_ = 0;
};

/// RFC 1952, section 2.3: the header of a gzip member, a byte at a time.
class gzip_header {
public:
    /// False: it is none.
    bool put(unsigned char byte) {
        ++size_;
        switch (part_) {
        case part::fixed: return put_fixed(byte);
        case part::extra_size:
            extra_ |= static_cast<unsigned>(byte) << (8 * in_part_);
            if (++in_part_ == 2)
                begin(extra_ == 0 ? part::name : part::extra);
            break;
        case part::extra:
            if (++in_part_ == extra_)
                begin(part::name);
            break;
        case part::name:
            if (byte == 0)
                begin(part::comment);
            break;
        case part::comment:
            if (byte == 0)
                begin(part::check);
            break;
        case part::check:
            if (++in_part_ == 2)
                begin(part::whole);
            break;
        case part::whole: break;
        }
        return true;
    }

    [[nodiscard]] bool whole() const { return part_ == part::whole; }
    [[nodiscard]] std::size_t size() const { return size_; }

private:
    enum class part { fixed, extra_size, extra, name, comment, check, whole };
    static constexpr unsigned has_check = 2, has_extra = 4, has_name = 8, has_comment = 16, reserved = 0xe0;

    bool put_fixed(unsigned char byte) {
        constexpr std::array<unsigned char, 3> deflated{0x1f, 0x8b, 8};
        if (size_ <= deflated.size())
            return byte == deflated[size_ - 1];
        if (size_ == 4)
            flags_ = byte;
        if (size_ == 10)
            begin(part::extra_size);
        return (flags_ & reserved) == 0;
    }

    // That part, or the next one that there is.
    void begin(part next) {
        in_part_ = 0;
        if (next == part::extra_size && !(flags_ & has_extra))
            next = part::name;
        if (next == part::name && !(flags_ & has_name))
            next = part::comment;
        if (next == part::comment && !(flags_ & has_comment))
            next = part::check;
        if (next == part::check && !(flags_ & has_check))
            next = part::whole;
        part_ = next;
    }

    part part_ = part::fixed;
    unsigned flags_ = 0;
    unsigned extra_ = 0;
    std::size_t in_part_ = 0;
    std::size_t size_ = 0;
};

// RFC 1950, section 2.2, without a preset dictionary. No encoder begins raw deflated data so.
bool is_zlib_header(unsigned char first, unsigned char second) {
    return (first & 0x0f) == 8 && first >> 4 <= 7 && (second & 0x20) == 0 && (first * 256 + second) % 31 == 0;
}

// --- the decoder

class inflater final : public body_decoder {
public:
    inflater(bool gzip, const inflate_limits& limits)
        : limits_(bounded(limits)), stage_(gzip ? stage::gzip_head : stage::which), gzip_(gzip),
          out_(std::make_unique_for_overwrite<unsigned char[]>(limits_.at_once)) {}

    std::string_view decode(std::string_view& input) override {
        produced_ = 0;
        while (!error_ && produced_ < limits_.at_once) {
            take_some(input);
            if (!step())
                break;
        }
        return given();
    }

    // The last code of raw data may be shorter than what Beast wants to see before it looks at it. What is
    // added for that must all be left then.
    std::string_view finish() override {
        constexpr std::string_view padding("\0\0", 2);
        produced_ = 0;
        if (error_ || stage_ != stage::data || gzip_ || checked_ || std::exchange(padded_, true))
            return {};
        auto input = padding;
        take_some(input);
        while (!error_ && stage_ == stage::data && inflate_some()) {
        }
        if (error_ && error_->code == errc::malformed) // by what was added
            error_.reset();
        if (stage_ == stage::end && end_ - at_ == padding.size())
            return given();
        stage_ = stage::data; // cut
        return {};
    }

    bool complete() const noexcept override {
        const bool at_start =
            (stage_ == stage::gzip_head && head_.size() == 0) || (stage_ == stage::which && !begun_);
        return !error_ && (stage_ == stage::end || at_start);
    }

    const std::optional<failure>& error() const noexcept override { return error_; }

private:
    enum class stage { which, gzip_head, data, trailer, end };

    // Beast 1.81 may step back by some bytes that it took in an earlier call, even out of the input that it
    // has now: there must always be those before it. It also gives back so what it took behind the end.
    static constexpr std::size_t behind = 8;
    static constexpr std::size_t chunk = 4096;

    // finish() gives what two codes stand for, at most, and all of it at once.
    static inflate_limits bounded(inflate_limits limits) {
        limits.at_once = std::max(limits.at_once, std::size_t{1024});
        limits.window = std::max(limits.window, std::size_t{1});
        return limits;
    }

    std::string_view given() const { return {reinterpret_cast<const char*>(out_.get()), produced_}; }

    void take_some(std::string_view& input) {
        if (at_ != end_ || input.empty())
            return;
        const auto size = std::min(input.size(), chunk);
        std::memmove(in_.data(), in_.data() + end_ - behind, behind);
        std::memcpy(in_.data() + behind, input.data(), size);
        input.remove_prefix(size);
        at_ = behind;
        end_ = behind + size;
    }

    // False: nothing happens any more without more input.
    bool step() {
        if (stage_ == stage::data)
            return inflate_some();
        if (at_ == end_)
            return false;
        const auto byte = in_[at_++];
        switch (stage_) {
        case stage::which: on_first(byte); break;
        case stage::gzip_head: on_head(byte); break;
        case stage::trailer: on_trailer(byte); break;
        default: fail("there are bytes behind its end"); break;
        }
        return true;
    }

    void on_first(unsigned char byte) {
        if (!std::exchange(begun_, true)) {
            first_ = byte;
            return;
        }
        checked_ = is_zlib_header(first_, byte);
        if (!checked_)
            at_ -= 2; // they are data
        stage_ = stage::data;
    }

    void on_head(unsigned char byte) {
        if (!head_.put(byte))
            return fail(members_ == 0 ? "it is no gzip data" : "there are bytes behind its end");
        if (head_.size() > limits_.header)
            return pass_limit("a gzip header is too long");
        if (!head_.whole())
            return;
        checked_ = true;
        head_ = {};
        ++members_;
        stage_ = stage::data;
    }

    bool inflate_some() {
        const auto before = static_cast<std::ptrdiff_t>(at_);
        const auto room = room_now();
        zlib::z_params now;
        now.next_in = in_.data() + at_;
        now.avail_in = std::min(end_ - at_, static_cast<std::size_t>(window_ - taken_));
        now.next_out = out_.get() + produced_;
        now.avail_out = room;
        boost::system::error_code ec;
        inflate_.write(now, zlib::Flush::sync, ec);
        const bool ended = ec == zlib::error::end_of_stream;
        if (ec && !ended && ec != zlib::error::need_buffers) {
            fail("its data is broken: " + ec.message());
            return false;
        }
        at_ = static_cast<std::size_t>(static_cast<const unsigned char*>(now.next_in) - in_.data());
        const auto taken = static_cast<std::ptrdiff_t>(at_) - before;
        const auto given = room - now.avail_out;
        count(taken, given);
        if (ended)
            on_data_end(now.data_type);
        return taken != 0 || given != 0 || ended || at_ != end_; // in the last case in another window
    }

    // By one more than is allowed: what comes then is too much.
    std::size_t room_now() const {
        const auto room = limits_.at_once - produced_;
        return limits_.ratio == 0 ? room : std::min(room, allowed_ + 1 - inflated_);
    }

    void count(std::ptrdiff_t taken, std::size_t given) {
        const bool was_full = given == limits_.at_once - produced_;
        taken_ += taken;
        inflated_ += given;
        if (limits_.ratio != 0 && inflated_ > allowed_) {
            --given;
            pass_limit("it inflates to more than " + std::to_string(limits_.ratio) + " times its size");
        }
        check(out_.get() + produced_, given);
        produced_ += given;
        if (taken_ == window_ && !was_full) { // nothing of this window is still to come
            taken_ = 0;
            inflated_ = 0;
        }
    }

    void check(const unsigned char* bytes, std::size_t size) {
        if (gzip_)
            crc_.process_bytes(bytes, size);
        else if (checked_)
            adler_.put(bytes, size);
        size_ += static_cast<std::uint32_t>(size);
    }

    void on_data_end(int data_type) {
        const auto unused_bits = static_cast<unsigned>(data_type) & 63u;
        at_ -= unused_bits / 8;
        taken_ -= static_cast<std::ptrdiff_t>(unused_bits / 8);
        trailer_size_ = 0;
        stage_ = checked_ ? stage::trailer : stage::end;
    }

    // gzip: CRC-32 and size, their least byte first; zlib: Adler-32, its greatest byte first.
    void on_trailer(unsigned char byte) {
        const auto n = trailer_size_++;
        const std::uint32_t sum = gzip_ ? crc_.checksum() : adler_.value();
        const auto expected = !gzip_ ? sum >> (24 - 8 * n) : n < 4 ? sum >> (8 * n) : size_ >> (8 * (n - 4));
        if (byte != (expected & 0xff))
            return fail("its checksum is another");
        if (trailer_size_ == (gzip_ ? 8u : 4u))
            on_member_end();
    }

    void on_member_end() {
        stage_ = gzip_ ? stage::gzip_head : stage::end;
        crc_.reset();
        size_ = 0;
        inflate_.reset();
    }

    void fail(std::string_view why) {
        error_ = retry::make_failure(errc::malformed, "the compressed body: " + std::string(why), true);
    }
    void pass_limit(std::string_view why) {
        error_ = retry::make_failure(errc::body_too_large, "the compressed body: " + std::string(why), true);
    }

    inflate_limits limits_;
    std::ptrdiff_t window_ = static_cast<std::ptrdiff_t>(limits_.window);
    std::size_t allowed_ = limits_.ratio * limits_.window; // inflated bytes a window
    stage stage_;
    bool gzip_;
    bool checked_ = false; // a trailer follows
    bool begun_ = false;
    bool padded_ = false;
    unsigned char first_ = 0;
    std::size_t members_ = 0;
    gzip_header head_;
    zlib::inflate_stream inflate_;
    boost::crc_32_type crc_;
    adler32 adler_;
    std::uint32_t size_ = 0; // of this member
    std::size_t trailer_size_ = 0;
    std::ptrdiff_t taken_ = 0; // of this window
    std::size_t inflated_ = 0; // of this window
    std::array<unsigned char, behind + chunk> in_{};
    std::size_t at_ = behind, end_ = behind;
    std::unique_ptr<unsigned char[]> out_;
    std::size_t produced_ = 0;
    std::optional<failure> error_;
};

} // namespace

std::unique_ptr<body_decoder> make_inflater(std::string_view coding, const inflate_limits& limits) {
    const bool gzip = coding == "gzip" || coding == "x-gzip";
    if (!gzip && coding != "deflate")
        return nullptr;
    return std::make_unique<inflater>(gzip, limits);
}

void accept_compressed(source_config& config, const inflate_limits& limits) {
    config.decoder = [limits](std::string_view coding) {
        return make_inflater(coding, limits);
    };
    if (!http::find_header(config.headers, "Accept-Encoding"))
        config.headers.emplace_back("Accept-Encoding", "gzip, deflate");
}

} // namespace holdfast::stream
