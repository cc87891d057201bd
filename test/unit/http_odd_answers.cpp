// Answers that are written oddly: those that curl, Node and browsers all read, and those that a recipient may
// read by RFC 9112, are read; those that can be read in two ways are refused, and the refusal says by which
// rule.
#include <boost/test/unit_test.hpp>

#include <holdfast/http/response_parser.hpp>

#include <string>
#include <string_view>
#include <vector>

using namespace holdfast;
using namespace std::string_literals;

namespace {

/// "200 OK [A: b] body", or the complaint; in pieces of `size` bytes. The connection ends after them.
std::string read_in(std::size_t size, std::string_view text, bool head_request = false) {
    http::response_parser parser({}, head_request);
    std::string body;
    for (std::size_t at = 0; at < text.size(); at += size) {
        const std::string piece(text.substr(at, size));
        std::vector<std::string_view> payload;
        const auto ec = parser.put(piece, payload);
        for (const auto each : payload)
            body += each;
        if (ec)
            return ec == error_code(errc::malformed) ? parser.complaint() : ec.message();
    }
    if (const auto ec = parser.put_end())
        return ec.message();
    std::string told = std::to_string(parser.head().status) + ' ' + parser.head().reason;
    for (const auto& each : parser.head().headers)
        told += " [" + each.name + ": " + each.value + ']';
    return told + ' ' + body;
}

/// The same whole, a byte at a time, and in threes.
std::string read(std::string_view text) {
    const auto whole = read_in(text.size(), text);
    for (const std::size_t size : {1u, 3u}) {
        const auto other = read_in(size, text);
        BOOST_TEST((other == whole || other.substr(0, 10) == whole.substr(0, 10)),
                   other << " is not " << whole);
    }
    return whole;
}

struct row {
    std::string sent;
    std::string told;
};

} // namespace

BOOST_AUTO_TEST_CASE(status_lines_that_are_odd_and_plain) {
    for (const auto& each : std::vector<row>{
             {"HTTP/1.1 200\r\n\r\nx", "200  x"},
             {"HTTP/1.1 200 \r\n\r\nx", "200  x"},
             {"HTTP/1.1 200   \r\n\r\nx", "200  x"},
             {"HTTP/1.0 200 OK\r\n\r\nx", "200 OK x"},
             {"HTTP/1.1  200  OK  then \r\n\r\nx", "200 OK  then x"},
             {"HTTP/1.1 200 d'accord \xC3\xA9t\xC3\xA9\r\n\r\nx", "200 d'accord \xC3\xA9t\xC3\xA9 x"},
             {"HTTP/1.1 200 \xE9\r\n\r\nx", "200 \xE9 x"},
             {"HTTP/1.1 200 a\x01"
              "b\r\n\r\nx",
              "200 a\x01"
              "b x"},
             {"HTTP/1.1 299 Other\r\n\r\nx", "299 Other x"},
             {"HTTP/1.1 200 OK\n\nx", "200 OK x"},
             {"HTTP/1.1 200\n\nx", "200  x"},
             {"HTTP/1.1 200 OK\nA: b\r\n\nx", "200 OK [A: b] x"},
             {"HTTP/1.1 200 OK\r\nA: b\n\r\nx", "200 OK [A: b] x"},
         })
        BOOST_TEST(read(each.sent) == each.told, each.sent);
}

BOOST_AUTO_TEST_CASE(status_lines_that_are_none_say_so) {
    for (const auto& each : std::vector<row>{
             {"ICY 200 OK\r\n\r\n", R"(it begins with "ICY 200 OK" and not with HTTP/)"},
             {"http/1.1 200 OK\r\n\r\n", R"(it begins with "http/1.1 200 OK" and not with HTTP/)"},
             {"\r\nHTTP/1.1 200 OK\r\n\r\n", R"(it begins with "\x0d" and not with HTTP/)"},
             {" HTTP/1.1 200 OK\r\n\r\n", R"(it begins with " HTTP/1.1 200 OK" and not with HTTP/)"},
             {"\x15\x03\x01\r\n", R"(it begins with "\x15\x03\x01" and not with HTTP/)"},
             {"<html>\"\\</html>", R"(it begins with "<html>\"\\</html>" and not with HTTP/)"},
             {"HTTP/2 200\r\n\r\n", R"(a status line begins with HTTP/1.0 or HTTP/1.1, not "HTTP/2 200")"},
             {"HTTP/2.0 200 OK\r\n\r\n",
              R"(a status line begins with HTTP/1.0 or HTTP/1.1, not "HTTP/2.0 200 OK")"},
             {"HTTP/1.x 200 OK\r\n\r\n",
              R"(a status line begins with HTTP/1.0 or HTTP/1.1, not "HTTP/1.x 200 OK")"},
             {"HTTP/1.1\r\n\r\n", R"(a status is three digits from 100 on, behind a blank, not "HTTP/1.1")"},
             {"HTTP/1.1200 OK\r\n\r\n",
              R"(a status is three digits from 100 on, behind a blank, not "HTTP/1.1200 OK")"},
             {"HTTP/1.1 20 OK\r\n\r\n",
              R"(a status is three digits from 100 on, behind a blank, not "HTTP/1.1 20 OK")"},
             {"HTTP/1.1 099 OK\r\n\r\n",
              R"(a status is three digits from 100 on, behind a blank, not "HTTP/1.1 099 OK")"},
             {"HTTP/1.1 2000 OK\r\n\r\n", R"(a status is three digits and no more, not "HTTP/1.1 2000 OK")"},
             {"HTTP/1.1 200OK\r\n\r\n", R"(a status is three digits and no more, not "HTTP/1.1 200OK")"},
             {"HTTP/1.1 200 a\0b\r\n\r\n"s,
              R"(a reason has no CR and no NUL in it, not "HTTP/1.1 200 a\x00b")"},
             {"HTTP/1.1 200 a\rb\r\n\r\n",
              R"(a reason has no CR and no NUL in it, not "HTTP/1.1 200 a\x0db")"},
         })
        BOOST_TEST(read_in(each.sent.size(), each.sent) == each.told);
}

BOOST_AUTO_TEST_CASE(fields_that_are_odd_and_plain) {
    for (const auto& each : std::vector<row>{
             {"A:b\r\n", "[A: b]"},
             {"A: \t b \t \r\n", "[A: b]"},
             {"A:\r\n", "[A: ]"},
             {"A: b\r\n c\r\n\td \r\n", "[A: b c d]"},
             {"A:\r\n b\r\n", "[A: b]"},
             {"A: b\r\n \r\n", "[A: b]"},
             {"A: caf\xC3\xA9 \xE9\r\n", "[A: caf\xC3\xA9 \xE9]"},
             {"!#$%&'*+-.^_`|~9: b:c\r\n", "[!#$%&'*+-.^_`|~9: b:c]"},
             {"A: b\r\nA: c\r\na: d\r\n", "[A: b] [A: c] [a: d]"},
             {"Connection: Close, keep-alive, , x;y=\"\r\n", "[Connection: Close, keep-alive, , x;y=\"]"},
             {"Content-Type: text/event-stream; charset=\"utf-8\"\r\n",
              "[Content-Type: text/event-stream; charset=\"utf-8\"]"},
         })
        BOOST_TEST(read("HTTP/1.1 200 OK\r\n" + each.sent + "\r\nx") == "200 OK " + each.told + " x",
                   each.sent);
}

BOOST_AUTO_TEST_CASE(fields_that_are_none_say_so) {
    for (const auto& each : std::vector<row>{
             {"no colon\r\n", R"(a field without a colon: "no colon")"},
             {"A : b\r\n", R"(a blank between a field's name and its colon: "A : b")"},
             {"Transfer-Encoding\t: chunked\r\n",
              R"(a blank between a field's name and its colon: "Transfer-Encoding\x09: chunked")"},
             {": b\r\n", R"(a field's name that is no token: ": b")"},
             {"A B: c\r\n", R"(a field's name that is no token: "A B: c")"},
             {"\xC3\xA9: c\r\n", R"(a field's name that is no token: "\xc3\xa9: c")"},
             {" A: b\r\n", R"(the first field begins with a blank: " A: b")"},
             {"A: b\rC: d\r\n", R"(a CR that ends no line: "A: b\x0dC: d")"},
             {"A: b\r\r\n", R"(a CR that ends no line: "A: b\x0d")"},
             {"A: \x1B[2J\r\n", R"(a control character in a field: "A: \x1b[2J")"},
             {"A: b\0c\r\n"s, R"(a control character in a field: "A: b\x00c")"},
             {"A: \x7F\r\n", R"(a control character in a field: "A: \x7f")"},
         })
        BOOST_TEST(read("HTTP/1.1 200 OK\r\n" + each.sent + "\r\nx") == each.told);
}

BOOST_AUTO_TEST_CASE(a_long_line_is_shown_in_part) {
    const auto told = read_in(100000, "HTTP/1.1 200 OK\r\n" + std::string(10000, 'x') + "\r\n\r\n");
    BOOST_TEST(told == "a field without a colon: \"" + std::string(60, 'x') + "...\"");
}

// RFC 9110, section 5.3: a list in one field is the same as several fields.
BOOST_AUTO_TEST_CASE(framing_that_is_said_twice_and_agrees_counts_once) {
    const auto chunks = "1\r\nx\r\n0\r\n\r\n"s;
    for (const auto& each : std::vector<row>{
             {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, " x"},
             {"Transfer-Encoding: chunked, chunked\r\n\r\n" + chunks, " x"},
             {"Transfer-Encoding: chunked,\r\n\r\n" + chunks, " x"},
             {"transfer-encoding:  Chunked \t\r\n\r\n" + chunks, " x"},
             {"Transfer-Encoding: identity\r\nTransfer-Encoding: CHUNKED\r\n\r\n" + chunks, " x"},
             {"Transfer-Encoding: chunked\r\n , chunked\r\n\r\n" + chunks, " x"},
             {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
              " x"}, // refused as compressed
             {"Transfer-Encoding: identity\r\n\r\nx", " x"},
             {"Transfer-Encoding:\r\n\r\nx", " x"},
             {"Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nxy", " x"},
             {"Content-Length: 1\r\nContent-Length: 1\r\n\r\nxy", " x"},
             {"Content-Length: 1, 01\r\n\r\nxy", " x"},
             {"Content-Length:   1  \r\n\r\nxy", " x"},
         }) {
        const auto told = read("HTTP/1.1 200 OK\r\n" + each.sent);
        BOOST_TEST(told.ends_with(each.told), told << " of " << each.sent);
        BOOST_TEST(told.starts_with("200 OK ["), told);
    }
}

BOOST_AUTO_TEST_CASE(framing_that_is_ambiguous_is_refused) {
    for (const auto& each : std::vector<row>{
             {"Content-Length: 1\r\nContent-Length: 2\r\n", R"(two lengths, by Content-Length "1" and "2")"},
             {"Content-Length: 1, 2\r\n", R"(two lengths, by Content-Length "1" and "2")"},
             {"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
              R"(a length beside a transfer coding, by Content-Length 1 and Transfer-Encoding "chunked")"},
             {"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
              R"(a length beside a transfer coding, by Content-Length 1 and Transfer-Encoding "chunked")"},
             {"Content-Length: 1\r\nTransfer-Encoding: gzip\r\n",
              R"(a length beside a transfer coding, by Content-Length 1 and Transfer-Encoding "gzip")"},
             {"Transfer-Encoding: chunked, gzip\r\n",
              R"(the last Transfer-Encoding beside chunked is "gzip")"},
             {"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\x80y\r\n",
              R"(the last Transfer-Encoding beside chunked is "x\x80y")"},
             {"Content-Length: -1\r\n", R"(a Content-Length is a number, not "-1")"},
             {"Content-Length: +1\r\n", R"(a Content-Length is a number, not "+1")"},
             {"Content-Length: 0x1\r\n", R"(a Content-Length is a number, not "0x1")"},
             {"Content-Length: 1 1\r\n", R"(a Content-Length is a number, not "1 1")"},
             {"Content-Length: 1,\r\n", R"(a Content-Length is a number, not "")"},
             {"Content-Length:\r\n", R"(a Content-Length is a number, not "")"},
             {"Content-Length: 99999999999999999999\r\n",
              R"(a Content-Length is a number, not "99999999999999999999")"},
         })
        BOOST_TEST(read("HTTP/1.1 200 OK\r\n" + each.sent + "\r\nx") == each.told);
}

BOOST_AUTO_TEST_CASE(chunks_that_are_odd_and_plain) {
    const auto head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"s;
    for (const auto& each : std::vector<row>{
             {"1 \r\nx\r\n0\r\n\r\n", " x"},
             {"1\t;a\r\nx\r\n0 \r\n\r\n", " x"},
             {"1;\r\nx\r\n0\r\n\r\n", " x"},
             {"1;a=\"\\\"\xC3\xA9\r\nx\r\n0\r\n\r\n", " x"},
             {"0000000000000000000000001\r\nx\r\n0\r\n\r\n", " x"},
             {"A\r\n0123456789\r\n0\r\n\r\n", " 0123456789"},
             {"1\nx\n0\n\n", " x"},
             {"1\r\nx\r\n0\r\nA: b\n c\r\n\r\n", " x"},
         })
        BOOST_TEST(read(head + each.sent).ends_with("]" + each.told), each.sent);
    BOOST_TEST(
        read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n").ends_with("] x"));
}

BOOST_AUTO_TEST_CASE(chunks_that_are_none_say_so) {
    const auto head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"s;
    const auto no_size = "a chunk begins with its size in hexadecimal digits: "s;
    for (const auto& each : std::vector<row>{
             {"data: x\n\n", no_size + R"("data: x")"},
             {"\r\n", no_size + R"("")"},
             {"-1\r\n", no_size + R"("-1")"},
             {"0x1\r\n", no_size + R"("0x1")"},
             {"1 2\r\n", no_size + R"("1 2")"},
             {"1\rx\r\n", no_size + R"("1\x0dx")"},
             {"11111111111111111\r\n", no_size + R"("11111111111111111")"},
             {"1\r\nxy\r\n0\r\n\r\n", "a chunk is longer than its size says"},
             {"1\r\nx0\r\n\r\n", "a chunk is longer than its size says"},
             {"1\r\nx\rz", "a chunk is longer than its size says"},
             {"0\r\nno colon\r\n\r\n", R"(a trailer: a field without a colon: "no colon")"},
             {"0\r\nHTTP/1.1 500 X\r\n\r\n", R"(a trailer: a field without a colon: "HTTP/1.1 500 X")"},
         })
        BOOST_TEST(read(head + each.sent).starts_with(each.told), read_in(1000, head + each.sent));
}

BOOST_AUTO_TEST_CASE(the_answer_to_head_may_say_what_a_get_would_have_had) {
    BOOST_TEST(
        read_in(1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true).starts_with("200 OK ["));
    BOOST_TEST(read_in(1, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true).starts_with("200 OK ["));
}
