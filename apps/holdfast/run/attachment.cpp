#include "run/attachment.hpp"

#include <holdfast/runtime/descriptor.hpp>
#include <holdfast/sse/utf8.hpp>

#include <array>
#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace holdfast::app {
namespace {

using holdfast::detail::descriptor;

std::string words_of(int error) {
    return std::generic_category().message(error);
}

std::string mebibytes(std::uintmax_t bytes) {
    return std::to_string((bytes + (1u << 20) - 1) >> 20) + " MiB";
}

std::string too_large(std::uintmax_t size) {
    return "is too large (" + mebibytes(size) + "): a file may have " + mebibytes(max_attachment);
}

/// Why it cannot be read; empty: it is in `content`.
std::string read_attachment(const std::string& path, std::string& content) {
    // Without O_NONBLOCK opening a pipe waits for its other end.
    const descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (file.get() < 0)
        return "cannot be read: " + words_of(errno);
    struct stat about{};
    if (::fstat(file.get(), &about) != 0)
        return "cannot be read: " + words_of(errno);
    if (S_ISDIR(about.st_mode))
        return "is a directory";
    if (!S_ISREG(about.st_mode))
        return "is no regular file";
    if (std::cmp_greater(about.st_size, max_attachment))
        return too_large(static_cast<std::uintmax_t>(about.st_size));
    std::array<char, 64 * 1024> block;
    while (content.size() <= max_attachment) { // it may grow, and files of /proc say that they are empty
        const auto size = ::read(file.get(), block.data(), block.size());
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return "cannot be read: " + words_of(errno);
        if (size == 0)
            return content.empty() ? "is empty" : std::string();
        content.append(block.data(), static_cast<std::size_t>(size));
    }
    return too_large(content.size());
}

/// The media type that the content shows; empty: it is none that a model takes.
std::string_view media_type(std::string_view content) {
    using namespace std::string_view_literals;
    if (content.starts_with("\x89PNG\r\n\x1a\n"sv))
        return "image/png";
    if (content.starts_with("\xff\xd8\xff"sv))
        return "image/jpeg";
    if (content.starts_with("GIF87a"sv) || content.starts_with("GIF89a"sv))
        return "image/gif";
    if (content.starts_with("RIFF"sv) && content.substr(0, 12).ends_with("WEBP"sv))
        return "image/webp";
    if (content.starts_with("%PDF-"sv))
        return "application/pdf";
    if (content.find('\0') == std::string_view::npos && sse::is_valid_utf8(content))
        return "text/plain";
    return {};
}

std::string base64(std::string_view bytes) {
    static constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        const auto three = bytes.substr(at, 3);
        std::uint32_t bits = 0;
        for (std::size_t i = 0; i < 3; ++i)
            bits = bits << 8 | (i < three.size() ? static_cast<unsigned char>(three[i]) : 0u);
        for (std::size_t i = 0; i < 4; ++i)
            text += i <= three.size() ? digits[bits >> (18 - 6 * i) & 63] : '=';
    }
    return text;
}

} // namespace

std::string attach(const std::vector<std::string>& paths, std::vector<opencode::prompt_part>& to) {
    std::size_t all = 0;
    for (const auto& path : paths) {
        std::string content;
        const auto named = "--file " + (path.empty() ? "''" : path) + ' ';
        if (auto wrong = read_attachment(path, content); !wrong.empty())
            return named + wrong;
        all += content.size();
        if (all > max_attachments)
            return named + "is one too many: together the files may have " + mebibytes(max_attachments);
        const auto type = media_type(content);
        if (type.empty())
            return named + "is neither UTF-8 text nor an image (PNG, JPEG, GIF, WebP) nor a PDF";
        opencode::prompt_part part;
        part.what = opencode::prompt_part::kind::file;
        part.mime = type;
        part.filename = std::filesystem::path(path).lexically_normal().string();
        part.url = "data:" + part.mime + ";base64," + base64(content);
        to.push_back(std::move(part));
    }
    return {};
}

} // namespace holdfast::app
