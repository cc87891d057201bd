// Compressed bodies, as servers send them: flushed behind each piece.
#pragma once

#include <boost/beast/zlib/deflate_stream.hpp>
#include <boost/crc.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::test {

enum class coding { gzip, zlib, raw };

class compressor {
public:
    explicit compressor(coding by) : by_(by) {}

    /// The bytes from which all of `text` can be read.
    std::string put(std::string_view text) {
        note(text);
        return head() + deflate(text, boost::beast::zlib::Flush::sync);
    }

    /// The rest of the bytes; `text` is the last of it, not flushed.
    std::string end(std::string_view text = {}) {
        note(text);
        auto bytes = head() + deflate(text, boost::beast::zlib::Flush::finish);
        if (by_ == coding::gzip)
            for (const auto word : {static_cast<std::uint32_t>(crc_.checksum()), size_})
                for (int shift = 0; shift < 32; shift += 8)
                    bytes += static_cast<char>(word >> shift);
        if (by_ == coding::zlib)
            for (int shift = 24; shift >= 0; shift -= 8)
                bytes += static_cast<char>((b_ << 16 | a_) >> shift);
        return bytes;
    }

private:
    void note(std::string_view text) {
        crc_.process_bytes(text.data(), text.size());
        size_ += static_cast<std::uint32_t>(text.size());
        for (const char c : text) {
            a_ = (a_ + static_cast<unsigned char>(c)) % 65521;
            b_ = (b_ + a_) % 65521;
        }
    }

    std::string head() {
        if (begun_ || by_ == coding::raw)
            return {};
        begun_ = true;
        return by_ == coding::gzip ? std::string("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10)
                                   : std::string("\x78\x9c");
    }

    std::string deflate(std::string_view text, boost::beast::zlib::Flush flush) {
        std::string bytes(deflate_.upper_bound(text.size()) + 64, '\0');
        boost::beast::zlib::z_params now;
        now.next_in = text.data();
        now.avail_in = text.size();
        now.next_out = bytes.data();
        now.avail_out = bytes.size();
        boost::system::error_code ec;
        deflate_.write(now, flush, ec);
        bytes.resize(bytes.size() - now.avail_out);
        return bytes;
    }

    coding by_;
    bool begun_ = false;
    boost::beast::zlib::deflate_stream deflate_;
    boost::crc_32_type crc_;
    std::uint32_t size_ = 0, a_ = 1, b_ = 0;
};

inline std::string compressed(coding by, std::string_view text) {
    return compressor(by).end(text);
}

} // namespace holdfast::test
