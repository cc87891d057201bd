// What holdfast watch reads from files: bounded, and odd tokens refused in words.
#include <boost/test/unit_test.hpp>

#include "watch/config.hpp"
#include "watch/files.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace {

using namespace holdfast::app;

struct file {
    std::string name;

    explicit file(const std::string& text, mode_t mode = 0600)
        : name(std::filesystem::temp_directory_path() / ("holdfast-files-" + std::to_string(::getpid()))) {
        std::ofstream(name, std::ios::binary) << text;
        ::chmod(name.c_str(), mode);
    }
    ~file() { std::filesystem::remove(name); }
};

std::string refused(const std::string& text) {
    watch_config config;
    return apply_file(text, "w.json", config);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_file_is_read_up_to_its_limit) {
    std::string text;
    const file exact(std::string(2048, 'x'));
    BOOST_TEST(read_file(exact.name, 2048, text) == "");
    BOOST_TEST(text.size() == 2048U);
    BOOST_TEST(read_file(exact.name, 2047, text) == exact.name + ": larger than 1 KiB");
    BOOST_TEST(text.empty());
    BOOST_TEST(read_file("/dev/zero", 1u << 20, text) == "/dev/zero: larger than 1 MiB");
    BOOST_TEST(read_file("/nonexistent", 10, text) == "/nonexistent: cannot be read");
    BOOST_TEST(read_file("/tmp", 10, text) == "/tmp: cannot be read");
}

BOOST_AUTO_TEST_CASE(a_token_is_one_word_of_printable_ascii) {
    BOOST_TEST(token_fault("s3cret-._~+/=!") == "");
    BOOST_TEST(token_fault(std::string(4096, 'x')) == "");
    BOOST_TEST(token_fault("") == "holds no token");
    BOOST_TEST(token_fault(std::string(4097, 'x')) == "a token has at most 4096 characters");
    for (const std::string& odd : {std::string("a\nb"), std::string("a\r\nX: y"), std::string("a\0b", 3),
                                   std::string("a\x1b[2J"), std::string("\x7f"), std::string("a\tb")})
        BOOST_TEST(token_fault(odd) == "a token must not contain control characters or line ends", odd);
    for (const std::string odd : {"a b", "caf\xc3\xa9", "\xef\xbb\xbftoken", "x\xe2\x80\x8by"})
        BOOST_TEST(token_fault(odd) == "a token is made of printable ASCII characters without spaces", odd);
}

BOOST_AUTO_TEST_CASE(a_file_open_to_all_is_known) {
    const file open("x", 0644);
    BOOST_TEST(is_world_readable(open.name));
    ::chmod(open.name.c_str(), 0640);
    BOOST_TEST(!is_world_readable(open.name));
    BOOST_TEST(!is_world_readable("/dev/null"));
}

BOOST_AUTO_TEST_CASE(settings_are_bounded_in_size_and_depth) {
    const auto nested = [](std::size_t depth) {
        return "{\"hosts\":" + std::string(depth, '[') + std::string(depth, ']') + '}';
    };
    BOOST_TEST(refused(nested(200'000)) == "w.json: nested deeper than 16 levels");
    BOOST_TEST(refused(std::string(500'000, '[')) == "w.json: nested deeper than 16 levels");
    BOOST_TEST(refused(std::string(most_config_bytes + 1, ' ')) == "w.json: larger than 1 MiB");
    BOOST_TEST(refused(R"({"servers": [{"url": "http://a", "bearer": "a\nb"}]})") ==
               "w.json: servers[0].bearer: a token must not contain control characters or line ends");
    BOOST_TEST(refused(R"({"user": "a\r\nb:c"})") == "w.json: user: must not contain control characters");
}
